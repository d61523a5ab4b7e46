"""Tables of what the platform delivers, and of what became of each delivery."""

from __future__ import annotations

from pipelines.schema.columns import (
    ABSURD_COINS,
    ABSURD_MICROS,
    ABSURD_WATCH_MS,
    Column,
    Table,
    _count,
    _day,
    _flag,
    _id,
    _source,
    _unit,
)

VIEWERS = Table(
    "viewers",
    "snapshot",
    "Viewers as known from a day on. A viewer no snapshot knows counts as unverified with trust 1.",
    (
        _day("first day on which this row holds"),
        _id("viewer_id", "viewer"),
        _flag("verified", "identity verified"),
        _unit("trust", "the viewer's own trust score", required=True, default="1.0"),
        Column("region", "VARCHAR", "region", required=False),
        Column("device", "VARCHAR", "device", required=False),
        Column("activity", "VARCHAR", "how active the viewer is, any scale", required=False),
        Column(
            "tenure_days",
            "BIGINT",
            "days since registration",
            required=False,
            rule="tenure_days >= 0",
            complaint="negative",
        ),
        _source(),
    ),
    key=("viewer_id",),
)

CREATORS = Table(
    "creators",
    "snapshot",
    "Creators as known from a day on.",
    (
        _day("first day on which this row holds"),
        _id("creator_id", "creator, the account that is paid"),
        Column(
            "identity_id",
            "VARCHAR",
            "verified identity behind the account; accounts that share one are one unit of"
            " fairness",
            required=False,
            identifies=True,
        ),
        Column(
            "followers",
            "BIGINT",
            "followers",
            required=False,
            rule="followers >= 0",
            complaint="negative",
        ),
        _source(),
    ),
    key=("creator_id",),
)

VIDEOS = Table(
    "videos",
    "snapshot",
    "Videos as known from a day on.",
    (
        _day("first day on which this row holds"),
        _id("video_id", "video"),
        _id("creator_id", "creator who is paid for it"),
        Column(
            "length_ms",
            "BIGINT",
            "length in milliseconds",
            rule="length_ms > 0",
            complaint="length <= 0",
        ),
        Column(
            "categories",
            "VARCHAR[]",
            "ad categories it is labelled with; in CSV separated by `;`. None: it competes in no"
            " pool",
            default="[]",
        ),
        _flag("compliant", "passes the compliance gate C"),
        _unit(
            "s_plus",
            "positive/educational score of a moderation service; the policy's neutral value where"
            " missing",
        ),
        _unit(
            "s_tox",
            "toxicity score of a moderation service; the policy's neutral value where missing",
        ),
        _source(),
    ),
    key=("video_id",),
    references=(("creator_id", "creators"),),
)

VIEWER_EVENTS = Table(
    "viewer_events",
    "daily",
    "One row per session: one viewer, one video, once.",
    (
        _day(),
        _id("event_id", "identifies the event; the same id with other content is a conflict"),
        Column("ts", "TIMESTAMP", "when it began, UTC (ISO 8601; an offset is honoured)"),
        _id("viewer_id", "viewer"),
        _id("video_id", "video"),
        Column(
            "watch_ms",
            "BIGINT",
            "time watched in this session, milliseconds; more than the length is rewatching",
            rule=f"watch_ms BETWEEN 0 AND {ABSURD_WATCH_MS}",
            complaint="negative or longer than a day",
        ),
        _flag("liked", "liked in this session"),
        _flag("commented", "commented"),
        _flag("shared", "shared"),
        _flag("followed", "followed the creator"),
        Column(
            "length_ms",
            "BIGINT",
            "length the player reported, where it reports one; only checked, the score uses"
            " `videos.length_ms`",
            required=False,
            rule="length_ms > 0",
            complaint="length <= 0",
        ),
        _source(),
        Column(
            "repeated",
            "BOOLEAN",
            "the viewer has another session on the video that day; found when the day is loaded, so"
            " that scoring need not",
            required=False,
            computed="count(*) OVER (PARTITION BY video_id, viewer_id) > 1",
        ),
    ),
    key=("event_id",),
    references=(("video_id", "videos"),),
    stored_by=("video_id", "viewer_id"),
)

GIFTS = Table(
    "gifts",
    "daily",
    "Coins a viewer gave on a video.",
    (
        _day(),
        _id("gift_id", "identifies the gift"),
        Column("ts", "TIMESTAMP", "when, UTC"),
        _id("viewer_id", "viewer who gave"),
        _id("video_id", "video it was given on"),
        Column(
            "coins",
            "BIGINT",
            "coins",
            rule=f"coins BETWEEN 1 AND {ABSURD_COINS}",
            complaint=f"not between 1 and {ABSURD_COINS} (a refund is a decision about the gift it"
            " takes back: invalid_traffic)",
        ),
        _flag("premium", "paid from a verified wallet (premium coins); otherwise normal coins"),
        _source(),
        Column(
            "deducted_coins",
            "BIGINT",
            "coins that were given and are not in `coins`: refunded, by `invalid_traffic`",
            computed="deducted",
        ),
    ),
    key=("gift_id",),
    references=(("video_id", "videos"),),
    once=True,
)

AD_REVENUE = Table(
    "ad_revenue",
    "daily",
    "Advertising money taken in.",
    (
        _day(),
        _id("ad_id", "identifies the booking"),
        Column("ts", "TIMESTAMP", "when, UTC"),
        _id("category", "ad category: the pool it belongs to"),
        Column(
            "video_id",
            "VARCHAR",
            "video the ad ran next to, where known",
            required=False,
            identifies=True,
        ),
        Column(
            "amount_micros",
            "BIGINT",
            "revenue in micros (millionths of the currency unit)",
            rule=f"amount_micros BETWEEN 0 AND {ABSURD_MICROS}",
            complaint=f"not between 0 and {ABSURD_MICROS} (a correction is a decision about the"
            " booking it takes from: invalid_traffic)",
        ),
        Column(
            "status",
            "VARCHAR",
            "`estimated` or `final`: an estimate is paid as it is, and a corrected file makes it"
            " final",
            default="'final'",
            rule="status IN ('estimated', 'final')",
            complaint="neither estimated nor final",
            counted=True,
        ),
        _source(),
        Column(
            "deducted_micros",
            "BIGINT",
            "revenue that was booked and is not in `amount_micros`: taken back, by"
            " `invalid_traffic` (micros)",
            computed="deducted",
        ),
    ),
    key=("ad_id",),
    references=(("video_id", "videos"),),
    once=True,
)

QUARANTINE = Table(
    "quarantine",
    "log",
    "Landing rows that were refused, with the reason. Nothing is lost: `raw` is the row as it"
    " came.",
    (
        Column("table_name", "VARCHAR", "table the row was meant for"),
        _day("day of the folder it lay in"),
        Column("file", "VARCHAR", "file, relative to the landing folder"),
        _count(
            "line",
            "line of the file on which the row begins, from 1; in Parquet the number of the row,"
            " from 1",
        ),
        Column("reason", "VARCHAR", "why it was refused"),
        Column("raw", "VARCHAR", "the row as it came: its text; from Parquet, JSON by column name"),
    ),
    key=("table_name", "file", "line"),
)

LANDING_FILES = Table(
    "landing_files",
    "log",
    "Files a table's day was loaded from.",
    (
        Column("table_name", "VARCHAR", "table"),
        _day("day of the folder"),
        Column("file", "VARCHAR", "file, relative to the landing folder"),
        Column("sha256", "VARCHAR", "hash of its bytes"),
        _count("bytes", "size"),
        Column(
            "stamp",
            "VARCHAR",
            "its time (ns) and inode: a file that has both still has the bytes that were hashed",
            required=False,
        ),
        _count("rows", "rows read, good and bad"),
        _count("loaded", "rows that are in the table"),
        _count("duplicates", "exact duplicates dropped"),
        _count("quarantined", "rows sent to quarantine"),
        _count("taken_out", "events that do not count, see `deductions`"),
        Column("ignored_columns", "VARCHAR[]", "columns the table does not have"),
    ),
    key=("table_name", "day", "file"),
)

ID_COPIES = Table(
    "id_copies",
    "log",
    "Ids of money that were delivered on more than one day, or twice on a day with different"
    " content: every copy, and whether it counts.",
    (
        Column("table_name", "VARCHAR", "table"),
        _day("day of the folder it lay in"),
        _id("id", "the id: `gift_id` or `ad_id`"),
        Column("content", "VARCHAR", "the row as JSON, without its time"),
        Column("taken", "BOOLEAN", "it is in the table; the others are in quarantine"),
    ),
    key=("table_name", "id", "content"),
)

FIGURES = Table(
    "figures",
    "log",
    "What a day's input was like: copies, defaults that stood in, money and creators in quarantine."
    " A figure out of the ordinary carries a warning, which stops nothing.",
    (
        Column("table_name", "VARCHAR", "table it is about, and whose asset counted it"),
        _day(),
        Column("figure", "VARCHAR", "what was counted"),
        _count("count", "how many, or how much"),
        Column("total", "BIGINT", "of how many", required=False),
        Column("warning", "VARCHAR", "why somebody should look at it", required=False),
    ),
    key=("table_name", "figure"),
)

QUARANTINE_ACCEPTANCES = Table(
    "quarantine_acceptances",
    "log",
    "Append-only. Rows of money that somebody left in quarantine on purpose, so that their day can"
    " be closed.",
    (
        Column("table_name", "VARCHAR", "table the row was meant for"),
        _day("day of the folder it lay in"),
        Column("file", "VARCHAR", "file it lay in, relative to the landing folder"),
        _count("line", "line on which it began"),
        Column("row_hash", "VARCHAR", "hash of the row as it came; a changed row is not accepted"),
        Column("why_refused", "VARCHAR", "why it is in quarantine"),
        Column("reason", "VARCHAR", "why it may stay there"),
        Column("actor", "VARCHAR", "who says so"),
        Column("accepted_at", "TIMESTAMP", "when, UTC"),
    ),
    key=("table_name", "file", "line", "row_hash", "accepted_at"),
)
