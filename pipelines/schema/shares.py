"""Tables of who has a part in what a video earns."""

from __future__ import annotations

from pipelines.schema.columns import Column, Table, _id, _source

WHOLE = 1_000_000

SHARES = Table(
    "shares",
    "snapshot",
    "Who has a part in what a video earns: collaborators, music, claims. Applied after everything is"
    " paid to videos, so no pool and no fairness rule knows of it. A video without rows is its"
    " creator's alone. May be left out as a whole.",
    (
        Column("day", "DATE", "first day on which this row holds"),
        _id("share_id", "identifies the row; a later row with the same id takes its place"),
        _id("video_id", "video"),
        _id(
            "party_id", "creator, the account that is paid; the video's own creator needs a row too"
        ),
        Column(
            "part",
            "BIGINT",
            f"part in millionths; the parts in force on a day must sum to {WHOLE}, or all that the"
            " video earns is held in `dispute:<video>`",
            rule=f"part BETWEEN 0 AND {WHOLE}",
            complaint=f"not between 0 and {WHOLE}",
        ),
        Column("role", "VARCHAR", "what for: `author`, `music`, `claim` and the like"),
        Column("first_day", "DATE", "first day of the part; empty: from `day` on", required=False),
        Column(
            "last_day",
            "DATE",
            "last day of it; empty: until further notice",
            required=False,
            rule="last_day >= coalesce(first_day, last_day)",
            complaint="before first_day",
        ),
        Column(
            "disputed",
            "BOOLEAN",
            "somebody contests it: what it earns is held in `dispute:<video>` until a corrected file"
            " ends it, and the days are run or restated",
            default="false",
        ),
        _source(),
    ),
    key=("share_id",),
    references=(("video_id", "videos"), ("party_id", "creators")),
    optional=True,
)
