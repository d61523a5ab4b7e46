"""Tables of the life of revenue: what was decided not to count, what that took out, and what it
changed for videos whose pay had been stated.
"""

from __future__ import annotations

from pipelines.schema.columns import Column, Table, _count, _day, _id, _maybe, _micros, _source

INVALID_TRAFFIC = Table(
    "invalid_traffic",
    "daily",
    "What of a day is decided not to count: viewers, videos, bookings of ads, gifts. A file lies in"
    " the folder of the day it is about, however late it comes. Of several decisions about one"
    " thing the one that was made last holds. May be left out as a whole.",
    (
        _day("day of the traffic or booking"),
        Column(
            "what",
            "VARCHAR",
            "`viewer` (that viewer's sessions), `video` (sessions on it), `ad` (a booking) or"
            " `gift`",
            rule="what IN ('viewer', 'video', 'ad', 'gift')",
            complaint="not one of viewer, video, ad, gift",
        ),
        _id("id", "which: `viewer_id`, `video_id`, `ad_id` or `gift_id`"),
        Column("decided_on", "DATE", "day of the decision"),
        Column(
            "outcome",
            "VARCHAR",
            "`deducted`, or `restored`: an appeal was granted, and it counts again",
            default="'deducted'",
            rule="outcome IN ('deducted', 'restored')",
            complaint="neither deducted nor restored",
        ),
        Column(
            "amount",
            "BIGINT",
            "of an ad or gift: how much is taken back (micros, coins); empty: all of it",
            required=False,
            rule="amount IS NULL OR (amount > 0 AND what IN ('ad', 'gift') AND outcome = 'deducted')",
            complaint="only an ad or a gift that is deducted has one, above 0",
        ),
        Column("reason", "VARCHAR", "why, as creators read it on their statements"),
        _source(),
    ),
    key=("what", "id", "decided_on"),
    optional=True,
)

DEDUCTIONS = Table(
    "deductions",
    "log",
    "What decisions in `invalid_traffic` took out of a day when it was loaded, row by row.",
    (
        Column("table_name", "VARCHAR", "table"),
        _day("day of the traffic or booking"),
        Column("id", "VARCHAR", "the row: `event_id`, `gift_id` or `ad_id`"),
        _maybe("video_id", "video it was on, or ran next to", "VARCHAR"),
        _maybe("category", "ad category", "VARCHAR"),
        _count("amount", "taken out: micros of a booking, coins of a gift, 1 of a session"),
        Column("what", "VARCHAR", "what the decision is about"),
        Column("about", "VARCHAR", "which"),
        Column("decided_on", "DATE", "day of the decision"),
        Column("reason", "VARCHAR", "why"),
    ),
    key=("table_name", "id"),
)

VIDEO_CORRECTIONS = Table(
    "video_corrections",
    "log",
    "Append-only. What a restatement changed for each video of a closed day, reason by reason; for"
    " each creator they sum to what the ledger changed, but for parts in videos (`shares`).",
    (
        _day("day that was restated"),
        Column("txn_id", "VARCHAR", "payout that stands since"),
        _count("number", "steps of the day's restatements under that payout, from 1"),
        Column("booked_day", "DATE", "first open day then, on which it was booked"),
        Column(
            "kind",
            "VARCHAR",
            "`finalised` (estimates became final), `deducted`, `restored` (after an appeal),"
            " `restated` (other inputs), `follows` (from another day)",
        ),
        Column("reason", "VARCHAR", "why: of the decision, or of the restatement"),
        Column("decided_on", "DATE", "day of the decision", required=False),
        _id("video_id", "video"),
        _id("creator_id", "creator"),
        Column("part", "VARCHAR", "`pulse`, `coins`, or `ads:` and the category"),
        _micros("before_micros", "paid before"),
        _micros("after_micros", "paid since"),
    ),
    key=("txn_id", "number", "video_id", "creator_id", "part"),
    written_with="ledger_entries",
    constraints=("CHECK (before_micros <> after_micros)",),
)
