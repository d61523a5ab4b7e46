"""Every table: its columns, what they mean, and the rules a landing row must keep. All DDL comes
from here.

`docs/data.md` is written from this module (`earnings schema`), so a column is described in one
place. What does not belong here: reading files (`sources/landing.py`), writing tables
(`warehouse.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import pyarrow as pa

Kind = Literal["daily", "snapshot", "derived", "advice", "log"]

ABSURD_WATCH_MS = 86_400_000
ABSURD_COINS = 1_000_000_000
ABSURD_MICROS = 1_000_000_000_000_000


@dataclass(frozen=True)
class Column:
    """One column.

    `rule` is SQL that must hold for a landing row; the row is quarantined with `name: complaint` if
    it does not. `computed` is SQL over the rows of the day that are loaded; such a column is not
    read from a file.
    """

    name: str
    type: str
    meaning: str
    required: bool = True
    default: str | None = None
    rule: str | None = None
    complaint: str | None = None
    computed: str | None = None


@dataclass(frozen=True)
class Table:
    """One table.

    `key` identifies a row within a day; `references` maps a column to the snapshot table that must
    know it; a loaded day is stored in the order of `stored_by`, then of the key. `constraints` are
    the database's own, for tables that only grow: DuckDB keeps the index of a key too strictly for
    rows that one transaction deletes and inserts again. A lake has none, so each is an invariant
    too, held with those of the table `written_with` it. `ahead`: the run of a day makes the rows of
    so many days later. `span`: what a run makes at a time; rows of a week or month have its last
    day.

    A table of kind `advice` says what could be paid. It is made after its days are over, so closing
    them, which fixes what was paid, does not fix it; what an amount was paid by is of another kind,
    or looks after itself.
    """

    name: str
    kind: Kind
    meaning: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    references: tuple[tuple[str, str], ...] = ()
    stored_by: tuple[str, ...] = ()
    constraints: tuple[str, ...] = ()
    written_with: str = ""
    ahead: int = 0
    span: Literal["day", "week", "month"] = "day"

    @property
    def landing_columns(self) -> tuple[Column, ...]:
        """Columns a landing file may have (the day comes from the folder)."""
        return tuple(c for c in self.columns if c.name != "day" and not c.computed)

    def ddl(self, *, constraints: bool = True) -> str:
        """`CREATE TABLE IF NOT EXISTS` for this table."""
        lines = [f"{c.name} {c.type}{' NOT NULL' if c.required else ''}" for c in self.columns]
        lines += self.constraints if constraints else ()
        return f"CREATE TABLE IF NOT EXISTS {self.name} (\n    " + ",\n    ".join(lines) + "\n)"


def _source() -> Column:
    return Column(
        "source",
        "VARCHAR",
        "who says so: `landing` unless the file says otherwise; `modelled` marks made-up values",
        default="'landing'",
    )


def _day(meaning: str = "UTC day") -> Column:
    return Column("day", "DATE", meaning)


def _id(name: str, meaning: str) -> Column:
    return Column(name, "VARCHAR", meaning)


def _flag(name: str, meaning: str) -> Column:
    return Column(name, "BOOLEAN", meaning)


def _micros(name: str, meaning: str) -> Column:
    return Column(name, "BIGINT", meaning + " (micros: millionths of the currency unit)")


def _real(name: str, meaning: str) -> Column:
    return Column(name, "DOUBLE", meaning)


def _count(name: str, meaning: str) -> Column:
    return Column(name, "BIGINT", meaning)


def _unit(name: str, meaning: str, *, required: bool = False, default: str | None = None) -> Column:
    return Column(
        name, "DOUBLE", meaning, required, default, f"{name} BETWEEN 0 AND 1", "outside [0, 1]"
    )


_POLICY_HASH = Column("policy_hash", "VARCHAR", "policy that was in force, see `earnings policy`")

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
            complaint=f"not between 1 and {ABSURD_COINS}",
        ),
        _flag("premium", "paid from a verified wallet (premium coins); otherwise normal coins"),
        _source(),
    ),
    key=("gift_id",),
    references=(("video_id", "videos"),),
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
        Column("video_id", "VARCHAR", "video the ad ran next to, where known", required=False),
        Column(
            "amount_micros",
            "BIGINT",
            "revenue in micros (millionths of the currency unit)",
            rule=f"amount_micros BETWEEN 0 AND {ABSURD_MICROS}",
            complaint=f"not between 0 and {ABSURD_MICROS}",
        ),
        _source(),
    ),
    key=("ad_id",),
    references=(("video_id", "videos"),),
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
        _count("rows", "rows read, good and bad"),
        _count("loaded", "rows that are in the table"),
        _count("duplicates", "exact duplicates dropped"),
        _count("quarantined", "rows sent to quarantine"),
        Column("ignored_columns", "VARCHAR[]", "columns the table does not have"),
    ),
    key=("table_name", "day", "file"),
)

VIEWER_GROUPS = Table(
    "viewer_groups",
    "derived",
    "Group of each viewer. Like a snapshot: the latest row on or before a day holds. Empty while no"
    " mechanism is in force.",
    (
        _day("first day on which this row holds"),
        _id("viewer_id", "viewer"),
        _id("group_id", "group: the version it belongs to and a number, largest group first"),
        Column("version", "DATE", "first day of the grouping"),
        Column("arm", "VARCHAR", "arm of the experiment, `all` where the policy has none"),
    ),
    key=("viewer_id",),
)

GROUP_CENTRES = Table(
    "group_centres",
    "derived",
    "Each version of the grouping, from its first day on. Made once and never again, because"
    " weights were committed to its groups.",
    (
        _day("first day on which the version holds"),
        _id("group_id", "group"),
        _count(
            "size",
            "viewers it was made of; a version is made from at most 10,000 viewers, drawn by a hash"
            " of the id",
        ),
        _real("inertia", "sum of squared distances to the nearest centre, of the whole version"),
        Column(
            "centre",
            "DOUBLE[]",
            "its centre, one number a coordinate: a mean, or the share of viewers with a level",
        ),
        Column("coordinates", "VARCHAR", "the coordinates as JSON: feature, level, mean and scale"),
        Column(
            "evidence",
            "VARCHAR",
            "sizes, and the inertia that other numbers of groups leave, as JSON: why so many"
            " groups",
        ),
    ),
    key=("group_id",),
)

GROUP_UTILITY = Table(
    "group_utility",
    "derived",
    "How well each group of viewers was served on the day.",
    (
        _day(),
        _id("group_id", "group"),
        Column("arm", "VARCHAR", "arm of the experiment, `all` where the policy has none"),
        Column(
            "steers", "BOOLEAN", "weights follow this arm: the only one, or the one under treatment"
        ),
        Column("metric", "VARCHAR", "what is measured, per impression (policy `epochs.utility`)"),
        _count("viewers", "viewers who watched"),
        _count("impressions", "sessions"),
        _real("share", "share of the arm's impressions"),
        Column("value", "DOUBLE", "the metric; empty without impressions", required=False),
        Column(
            "low",
            "DOUBLE",
            "lower end of its 95 % confidence interval; viewers, not sessions, are independent",
            required=False,
        ),
        Column("high", "DOUBLE", "upper end", required=False),
        Column(
            "baseline",
            "DOUBLE",
            "mean of the metric over the two days before, of the same viewers in the same groups",
            required=False,
        ),
        Column(
            "utility",
            "DOUBLE",
            "what algorithm 1 takes: the metric, or its relative change over the baseline",
            required=False,
        ),
        Column(
            "enough",
            "BOOLEAN",
            "there were enough impressions for a utility; otherwise the group keeps its weight",
        ),
        _POLICY_HASH,
    ),
    key=("group_id", "arm"),
)

GROUP_WEIGHTS = Table(
    "group_weights",
    "derived",
    "Weights of viewer groups that hold on the day. Committed by the run of the day before; only"
    " `earnings recommit` changes them.",
    (
        _day("day on which the weights hold"),
        _id("group_id", "group"),
        Column("version", "DATE", "first day of the grouping"),
        _real("weight", "weight; 1 is no reweighting"),
        Column(
            "observed",
            "BOOLEAN",
            "the day before had enough data; otherwise the weight is what it was",
        ),
        Column("utility", "DOUBLE", "utility that moved it", required=False),
        _count("epoch", "days since all weights were 1"),
        _real("rate", "alpha of algorithm 1 that was applied"),
        _count("clipped_days", "days in a row that the weight is at an end of the clip"),
        Column(
            "stuck", "BOOLEAN", "for so many that somebody should look (policy `epochs.stuck_days`)"
        ),
        Column(
            "made_from",
            "VARCHAR",
            "state_hash of the day before; empty where all weights begin at 1",
        ),
        Column("state_hash", "VARCHAR", "hash of made_from and of every group's weight"),
        Column("note", "VARCHAR", "what was special, e.g. `keeps its weight: 12 impressions`"),
        _POLICY_HASH,
    ),
    key=("group_id",),
    ahead=1,
)

MATCHING_POLICY = Table(
    "matching_policy",
    "derived",
    "What a recommender does with the weights on the day, under SMT and HMT; also as"
    " `matching_policy/<day>.parquet`.",
    (
        _day("day on which it holds"),
        _id("group_id", "group"),
        Column("arm", "VARCHAR", "arm of the experiment; control gets the defaults"),
        Column("mechanism", "VARCHAR", "`smt` or `hmt`"),
        _real("weight", "weight"),
        _real("temperature", "softmax temperature: beta times the weight under SMT"),
        _count("candidates", "candidates to retrieve: ceil(K times the weight) under HMT"),
        _unit(
            "cold_start_percentile",
            "relevance percentile that new content must reach: Table 1 of the weight under HMT",
        ),
        _POLICY_HASH,
    ),
    key=("group_id", "arm"),
    ahead=1,
)

WEIGHT_COMMITS = Table(
    "weight_commits",
    "log",
    "Append-only. Every set of weights that was ever committed for a day; the latest revision"
    " holds.",
    (
        _day("day on which the weights hold"),
        _count("revision", "1 for the commit, one more for each `earnings recommit`"),
        Column("weights", "MAP(VARCHAR, DOUBLE)", "weight of each group"),
        Column("state_hash", "VARCHAR", "hash of the state"),
        Column("replaced", "VARCHAR", "hash of the state it replaced", required=False),
        Column("reason", "VARCHAR", "why"),
        _POLICY_HASH,
        Column("code_version", "VARCHAR", "version of this software"),
        Column("committed_at", "TIMESTAMP", "when, UTC"),
    ),
    key=("day", "revision"),
    written_with="group_weights",
    constraints=("PRIMARY KEY (day, revision)", "CHECK ((replaced IS NULL) = (revision = 1))"),
)

VIDEO_QUALITY = Table(
    "video_quality",
    "derived",
    "Quality score of every video somebody watched in the window.",
    (
        _day(),
        _id("video_id", "video"),
        _id("creator_id", "creator"),
        Column("compliant", "BOOLEAN", "C"),
        _count("viewers", "distinct viewers in the window"),
        _real(
            "qualified_views",
            "qualified views of the day: heads or trust mass (policy `views.count`), times group"
            " weight",
        ),
        _real("trust_mass", "trust of all viewers in the window, after the unverified cap"),
        _real(
            "unverified_scale", "what the cap leaves of each unverified viewer's trust, in [0, 1]"
        ),
        _real(
            "group_weight",
            "weight of the viewers' groups, as the mean over what their views count for (1: no"
            " reweighting)",
        ),
        _real("watch", "W, watch completion"),
        _real("engagement", "E, engagement rate"),
        _real("diversity", "D, engagement diversity"),
        _real("rewatch", "R, rewatch rate"),
        _real("safety", "S, safety"),
        _real("quality", "Q"),
        _real("effective_views", "M = qualified views times Q"),
        Column(
            "safety_source",
            "VARCHAR",
            "`given`, or `neutral` where the policy's neutral value was used",
        ),
        _POLICY_HASH,
    ),
    key=("video_id",),
)

PULSE_PAYOUTS = Table(
    "pulse_payouts",
    "derived",
    "Pulse videos and the split of the revenue next to them.",
    (
        _day(),
        _id("video_id", "Pulse video"),
        _id("creator_id", "creator"),
        _real("quality", "Q"),
        _real("safety", "S"),
        _micros("revenue_micros", "revenue of ads next to the video"),
        _micros("payout_micros", "creator's part, rounded down"),
        _POLICY_HASH,
    ),
    key=("video_id",),
)

AD_POOLS = Table(
    "ad_pools",
    "derived",
    "Money of each ad category: what came in, what the platform keeps, what is paid, what is"
    " carried.",
    (
        _day(),
        _id("category", "ad category"),
        _micros("revenue_micros", "revenue next to no Pulse video"),
        _micros(
            "platform_micros",
            "kept by the platform: the rest after the creators' part was rounded down",
        ),
        _micros("carry_in_micros", "carried in from the day before"),
        _micros(
            "spread_micros",
            "taken over from pools nobody could be paid from (negative: given away)",
        ),
        _micros("pool_micros", "paid to creators"),
        _micros("carry_out_micros", "carried to the next day"),
        _count("videos", "eligible videos"),
        _count("units", "units of fairness that were paid from it"),
        Column("rule", "VARCHAR", "`split`, `equal`, `carry` or `spread`"),
        _POLICY_HASH,
    ),
    key=("category",),
)

AD_PAYOUTS = Table(
    "ad_payouts",
    "derived",
    "What each video is paid from each ad category.",
    (
        _day(),
        _id("category", "ad category"),
        _id("video_id", "video"),
        _id("creator_id", "creator"),
        _id("unit_id", "unit of fairness: the video, or the creator's identity"),
        _real("share", "s, share of the pool's effective views"),
        _micros("payout_micros", "payout"),
        _micros("carried_micros", "the part of it that came from `carry_in_micros`"),
        _POLICY_HASH,
    ),
    key=("category", "video_id"),
)

_CERTIFIED = (
    _real("primal_residual", "certificate: largest violation of a constraint, relative"),
    _real(
        "stationarity_residual",
        "certificate: largest relative difference between marginal worth and price",
    ),
    _real(
        "complementarity_residual",
        "certificate: largest multiplier times slack, in the unit of the gap",
    ),
    _real(
        "gap",
        "certificate: how much better any other split can be at most, relative to the objective's"
        " scale",
    ),
    _real("value", "the objective"),
    _real("upper_bound", "certificate: no allowed split is worth more"),
)
CERTIFICATE = tuple(c.name for c in _CERTIFIED)

AD_SOLUTIONS = Table(
    "ad_solutions",
    "derived",
    "How each pool was solved, and the certificate of what came out, by a judge that knows no"
    " solver.",
    (
        _day(),
        _id("category", "ad category"),
        Column("objective", "VARCHAR", "`blend` or `linear`"),
        _count("units", "units of fairness"),
        _real("multiplier", "multiplier of the budget"),
        _real("residual", "largest violation of the optimality conditions, relative"),
        _count("passes", "passes over the arrays"),
        _micros("floor_micros", "least pay that was asked for any unit"),
        Column(
            "cap_micros", "BIGINT", "most pay that was allowed any unit (micros)", required=False
        ),
        _micros("least_micros", "least pay of any unit"),
        _micros("most_micros", "most pay of any unit"),
        Column(
            "solver",
            "VARCHAR",
            "`closed form`, `closed form in chunks`, `dual`, or the solver of the model that rules"
            " needed",
        ),
        *_CERTIFIED,
        _real(
            "rounding_micros",
            "largest difference between what a unit is paid and its real-valued optimum (micros)",
        ),
        _POLICY_HASH,
    ),
    key=("category",),
)

AD_RULES = Table(
    "ad_rules",
    "derived",
    "Rules over groups in each pool: what they asked for, what came out, what they cost.",
    (
        _day(),
        _id("category", "ad category of the pool"),
        _id("rule", "name of the rule in the policy"),
        _count("members", "units of fairness in the group"),
        Column("minimum_micros", "BIGINT", "least the group had to get (micros)", required=False),
        Column(
            "maximum_micros",
            "BIGINT",
            "most the group, or each, might get (micros)",
            required=False,
        ),
        _micros("paid_micros", "what the group, or the one paid most, gets"),
        _real(
            "multiplier",
            "how the objective moves when the rule's bound is raised by the whole pool: maximum >="
            " 0, minimum <= 0",
        ),
        Column("note", "VARCHAR", "empty, or why the rule was left alone in this pool"),
        _POLICY_HASH,
    ),
    key=("category", "rule"),
)

DONATION_SPLITS = Table(
    "donation_splits",
    "derived",
    "Gifted coins of each video and how they are split.",
    (
        _day(),
        _id("video_id", "video"),
        _id("creator_id", "creator"),
        Column("compliant", "BOOLEAN", "C; a video that does not comply earns its creator nothing"),
        _count("normal_coins", "coins from unverified wallets"),
        _count("premium_coins", "coins from verified wallets"),
        _real("quality", "Q (0 where nobody watched it that day)"),
        _real("normal_share", "x_n, creator's share of normal coins"),
        _real("premium_share", "x_p, creator's share of premium coins"),
        _micros("revenue_micros", "value of the coins"),
        _micros(
            "payout_micros",
            "creator's part, rounded to the nearest micro, never breaking the platform's floor",
        ),
        _POLICY_HASH,
    ),
    key=("video_id",),
)

ADJUSTMENTS = Table(
    "adjustments",
    "log",
    "What a budget-neutral restatement adds to or takes from creators, so that together they get"
    " what they got before.",
    (
        _day(),
        _id("creator_id", "creator"),
        _micros("amount_micros", "amount; the platform bears the opposite"),
    ),
    key=("creator_id",),
    written_with="ledger_entries",
    constraints=("CHECK (amount_micros <> 0)",),
)

COIN_SOLUTIONS = Table(
    "coin_solutions",
    "derived",
    "How the day's coins were split, and the certificate: the worst video's where each video is its"
    " own problem.",
    (
        _day(),
        Column("scope", "VARCHAR", "`video` or `platform`"),
        _count("videos", "videos that comply and were gifted coins"),
        _real("coins", "their coins"),
        _real("total", "T, coins their creators get"),
        _real(
            "multiplier",
            "platform scope: what the next coin of R_min or P_max is worth; 0 where neither binds",
        ),
        _count("local_maxima", "platform scope: other local maxima that were met and ruled out"),
        _real("primal_residual", "certificate: largest violation of a constraint"),
        _real("gap", "certificate: how much better any other split can be at most, relative"),
        _real("value", "the objective, summed over videos"),
        _real("upper_bound", "certificate: no allowed split is worth more"),
        _real(
            "rounding_micros",
            "largest difference between a payout and its real-valued optimum (micros)",
        ),
        Column(
            "revenue_floor",
            "DOUBLE",
            "R_min that held, as a fraction of the coins; empty only on days older than it",
            required=False,
        ),
        Column(
            "floor_source",
            "VARCHAR",
            "where it came from: `policy` (a number), `market`, or `fallback` (no week has a market"
            " yet)",
        ),
        Column(
            "market_week",
            "DATE",
            "last day of the week whose market it is (`donation_market`)",
            required=False,
        ),
        Column(
            "market_revision",
            "BIGINT",
            "revision of that market (`market_commits`)",
            required=False,
        ),
        _POLICY_HASH,
    ),
    key=("scope",),
)

REWARD_SCHEDULE = Table(
    "reward_schedule",
    "advice",
    "The bonuses of a month: who produces so much gets so much. Made from days before the month,"
    " and fixed once a day of it is made.",
    (
        _day("last day of the month it was made from"),
        Column("month", "DATE", "first day of the month in which it holds"),
        _count("level", "level, from 1; each pays instead of the one before"),
        _count(
            "threshold_milliviews",
            "thousandths of effective views in the month from which on it is reached",
        ),
        _micros("bonus_micros", "bonus"),
        _count("creators", "creators who are expected to pick it"),
        _micros("budget_micros", "money for all bonuses of the month"),
        _POLICY_HASH,
    ),
    key=("level",),
    span="month",
)

CREATOR_TYPES = Table(
    "creator_types",
    "advice",
    "What each creator's history says it can do: the types a reward schedule is made for.",
    (
        _day("last day of its history"),
        _id("creator_id", "creator"),
        _count("days", "length of its history, from the first day on which somebody watched it"),
        _real("output", "qualified views a day, with the prior"),
        _real("quality", "Q of a view, with the prior"),
        _real(
            "production",
            "effective views it is expected to produce in the month without bonuses: output times"
            " quality times days",
        ),
        _count("type", "class of like production, from 1, the most able last"),
        _real("type_production", "mean production of the class"),
        _real("difficulty", "h: micros that an effective view to the power k costs it"),
        _count("level", "level of the schedule that is best for the class; 0 for none"),
        _POLICY_HASH,
    ),
    key=("creator_id",),
    span="month",
)

REWARD_FORECAST = Table(
    "reward_forecast",
    "advice",
    "What the bonus budget is expected to buy, by the published schedule and by others with the"
    " same money.",
    (
        _day("last day of the history"),
        Column("month", "DATE", "first day of the month it is about"),
        Column(
            "scheme",
            "VARCHAR",
            "`none`, `published`, `optimal` (before rounding), `linear` (a higher price),"
            " `proportional` (a shared pot)",
        ),
        _real("production", "effective views all creators are expected to produce"),
        _real("bought", "of which more than without bonuses"),
        _real("expected_micros", "money it is expected to pay (micros)"),
        _real(
            "largest_gain",
            "most that a type gains by another level, as a part of the largest bonus",
        ),
        _real(
            "price_micros", "p: what an effective view earned its creator in the history (micros)"
        ),
        _real("exponent", "k of the cost"),
        Column(
            "fit",
            "DOUBLE",
            "R squared of the second half of the history by the first, on log(1 + x)",
            required=False,
        ),
        Column(
            "fit_without_prior",
            "DOUBLE",
            "the same with each creator's own history alone",
            required=False,
        ),
        _POLICY_HASH,
    ),
    key=("scheme",),
    span="month",
)

CREATOR_BONUSES = Table(
    "creator_bonuses",
    "derived",
    "What each creator produced in a month that had a schedule, the level it reached, and its"
    " bonus.",
    (
        _day("last day of the month"),
        _id("creator_id", "creator"),
        _count(
            "production_milliviews",
            "effective views of the month, in thousandths, rounded a video and day",
        ),
        _count("level", "highest level of the schedule that it reached; 0 for none"),
        _count("threshold_milliviews", "where that level begins"),
        _micros("promised_micros", "what the level pays"),
        _micros(
            "paid_micros",
            "bonus: what was promised, or its part of the budget where all promises exceed it",
        ),
        _micros("budget_micros", "money for all bonuses of the month"),
        _POLICY_HASH,
    ),
    key=("creator_id",),
    span="month",
)

_INTERVAL = "of its 95 % interval; empty where there is none, infinite where nothing is known"


def _maybe(name: str, meaning: str, type: str = "DOUBLE") -> Column:
    return Column(name, type, meaning, required=False)


DONATION_MARKET = Table(
    "donation_market",
    "advice",
    "A week as a donation market (Tang and Huang): which part of gifted coins creators should keep."
    " Amounts are coins of a mean day.",
    (
        _day("last day of the week"),
        _count("days", "days of it that landed"),
        _real("viewers", "distinct viewers"),
        _real("creators", "distinct creators whose videos were watched"),
        _real("coins", "coins gifted"),
        _maybe("alpha_today", "part of them that creators kept; empty without coins"),
        _maybe(
            "served",
            "K, quarter hours in a row that a creator serves: as many as one was seen in, or the"
            " policy's",
            "BIGINT",
        ),
        _count("locations", "times of day at which preferences were fitted"),
        _maybe(
            "b0",
            "donation function: e^b0 (viewers per creator)^b1 coins for each creator of a quarter"
            " hour",
        ),
        _maybe("b0_low", f"lower end {_INTERVAL}"),
        _maybe("b0_high", "upper end"),
        _maybe("b1", "its exponent"),
        _maybe("b1_low", f"lower end {_INTERVAL}"),
        _maybe("b1_high", "upper end"),
        _maybe(
            "donation_source",
            "`estimated`, or `document` (-1.17 and .6): coins are then those of the document",
            "VARCHAR",
        ),
        _maybe("alpha", "best part at the costs that fit best, or alike and are largest"),
        _maybe(
            "alpha_low",
            "least part that may be the best: costs, b1, preferences as the data allow, or 1 % less"
            " for the platform",
        ),
        _maybe("alpha_high", "largest part that may be the best; the revenue floor is 1 minus it"),
        _maybe("lower_bound", "by theorem the best part is at least this, at those costs"),
        _maybe("upper_bound", "and at most this: 1 - b1"),
        _maybe("payoff_today", "coins that the model leaves the platform under alpha_today"),
        _maybe("payoff_best", "coins that it leaves the platform under alpha"),
        _maybe("gain", "payoff_best / payoff_today - 1"),
        _maybe("gain_low", "least gain of those the data allow"),
        _maybe("gain_high", "largest gain"),
        _maybe("c1", "preferences: c1 sin(2 pi l / 96 + c2) + c3 creators prefer quarter hour l"),
        _maybe("c1_low", f"lower end {_INTERVAL}"),
        _maybe("c1_high", "upper end"),
        _maybe("c2", "phase; its interval is around it, and may leave [0, 2 pi)"),
        _maybe("c2_low", "lower end"),
        _maybe("c2_high", "upper end"),
        _maybe("c3", "mean"),
        _maybe("c3_low", "lower end"),
        _maybe("c3_high", "upper end"),
        _maybe("opportunity_cost", "V, coins a creator gives up by taking part for a day"),
        _maybe(
            "opportunity_cost_low", "largest V tried below that does not fit as well; 0 if none"
        ),
        _maybe("opportunity_cost_high", "least V tried above that does not; infinite if none"),
        _maybe(
            "deviation_cost",
            "W, coins a creator loses by a squared distance of 1 day from the preferred time",
        ),
        _maybe("deviation_cost_low", "as for V"),
        _maybe("deviation_cost_high", "as for V"),
        _maybe(
            "revenue_floor",
            "1 - alpha_high: what a policy with revenue_floor = `market` takes, within its"
            " floor_bounds",
        ),
        Column(
            "note",
            "VARCHAR",
            "what is known and what is not, in words; why there is no market, if there is none",
        ),
        _POLICY_HASH,
    ),
    key=("day",),
    span="week",
)

DONATION_MARKET_PLACES = Table(
    "donation_market_places",
    "advice",
    "Who watches and who serves, by quarter hour and by category, and what the market makes of the"
    " quarter hours. All of a mean day.",
    (
        _day("last day of the week"),
        Column("attribute", "VARCHAR", "`time` (UTC), `category`, or `all`"),
        Column(
            "place",
            "VARCHAR",
            "quarter hour as 00:15, or category; a video with several counts in each",
        ),
        _real("viewers", "distinct viewers"),
        _real("creators", "distinct creators whose videos were watched"),
        _real("coins", "coins gifted"),
        _maybe("preferred", "creators who prefer to begin here, as fitted"),
        _maybe("serving_today", "creators who serve here under alpha_today, in the fitted market"),
        _maybe("serving_best", "creators who would serve here under alpha"),
    ),
    key=("attribute", "place"),
    span="week",
)

DONATION_MARKET_PROFILE = Table(
    "donation_market_profile",
    "advice",
    "How well preferences fit for every pair of costs: what the data can tell and what they"
    " cannot.",
    (
        _day("last day of the week"),
        _real("opportunity_cost", "V, coins a day"),
        _real("deviation_cost", "W, coins for a squared distance of 1 day"),
        _real("rmse", "root mean square error of creators by time of day"),
        _real("c1", "fitted preferences"),
        _real("c2", "phase"),
        _real("c3", "mean"),
        Column(
            "everyone_serves", "BOOLEAN", "all fitted creators take part: then V leaves no trace"
        ),
        Column(
            "plausible", "BOOLEAN", "fits as well as the data can tell (95 % likelihood region)"
        ),
        _maybe("alpha", "best part; empty where the pair is not plausible"),
        _maybe("gain", "what it leaves the platform over alpha_today, minus 1"),
    ),
    key=("opportunity_cost", "deviation_cost"),
    span="week",
)

MARKET_COMMITS = Table(
    "market_commits",
    "log",
    "Append-only. Every market that a week ever had; the latest revision holds. One that a day was"
    " paid by only changes by `earnings remarket`.",
    (
        _day("last day of the week"),
        _count("revision", "1 for the first, one more each time it came out otherwise"),
        _maybe("alpha", "best part; empty where there was no market"),
        _maybe("revenue_floor", "1 - alpha_high"),
        Column("reason", "VARCHAR", "why"),
        _POLICY_HASH,
        Column("code_version", "VARCHAR", "version of this software"),
        Column("committed_at", "TIMESTAMP", "when, UTC"),
    ),
    key=("day", "revision"),
    constraints=("PRIMARY KEY (day, revision)",),
)

WRITTEN_DAYS = Table(
    "written_days",
    "log",
    "Which day of which table has been written; a day without rows is written too.",
    (
        Column("table_name", "VARCHAR", "table"),
        _day(),
        _count("rows", "rows the day has"),
        _count(
            "changed",
            "number of the write that changed its rows last; numbers, not times, because clocks can"
            " be set back",
        ),
        _count("made", "number of the write that made it last, with other rows or the same"),
        Column("made_at", "TIMESTAMP", "when that was, UTC"),
        Column("code_version", "VARCHAR", "version of this software that wrote it"),
    ),
    key=("table_name", "day"),
)

SCHEMA_VERSIONS = Table(
    "schema_versions",
    "log",
    "Versions the tables of this warehouse have been brought to; the last one is what they are.",
    (
        Column("version", "BIGINT", "version, from 1"),
        Column("what", "VARCHAR", "what it changed in tables that were there"),
        Column("code_version", "VARCHAR", "version of this software that brought it there"),
    ),
    key=("version",),
    constraints=("PRIMARY KEY (version)",),
)

POLICIES = Table(
    "policies",
    "log",
    "Every policy that money was ever paid under, in full.",
    (
        Column("policy_hash", "VARCHAR", "hash of everything in it that decides an amount"),
        Column("name", "VARCHAR", "name of the policy when it was first paid under"),
        Column("effective_from", "DATE", "first day of that version"),
        Column("content", "VARCHAR", "the policy as JSON"),
    ),
    key=("policy_hash",),
    written_with="ledger_entries",
    constraints=("PRIMARY KEY (policy_hash)",),
)

LEDGER_TRANSACTIONS = Table(
    "ledger_transactions",
    "log",
    "Append-only. A changed day is reversed and reissued, never updated.",
    (
        _count("seq", "position in the chain, from 1"),
        Column("txn_id", "VARCHAR", "a function of day, kind and revision"),
        _day("day the money belongs to; of a statement the day it closes"),
        Column(
            "kind",
            "VARCHAR",
            "`payout`; `bonus`: those of the month that ends on the day; `reversal` and"
            " `bonus-reversal` of an earlier one; or `statement`: what creators are paid when days"
            " are closed",
        ),
        _count(
            "revision", "1 for a day's first payout or bonus, one more each time it is reissued"
        ),
        Column(
            "booked_day",
            "DATE",
            "day it counts towards: its own, or if that was closed before, the first open one",
        ),
        Column("reason", "VARCHAR", "why it was written"),
        Column(
            "link",
            "VARCHAR",
            "the payout or bonus that a reversal takes back, or that a later revision replaces",
            required=False,
        ),
        Column("input_hash", "VARCHAR", "hash of the landing files the day or month was made from"),
        _POLICY_HASH,
        Column("code_version", "VARCHAR", "version of this software"),
        Column("entries_hash", "VARCHAR", "hash of the transaction's entries"),
        Column("prev_hash", "VARCHAR", "hash of the transaction before it"),
        Column("hash", "VARCHAR", "hash of this row and prev_hash"),
    ),
    key=("txn_id",),
    written_with="ledger_entries",
    constraints=(
        "PRIMARY KEY (seq)",
        "UNIQUE (txn_id)",
        "CHECK (kind IN ('payout', 'reversal', 'bonus', 'bonus-reversal', 'statement'))",
        "CHECK (revision >= 1 AND booked_day >= day)",
        (
            "CHECK ((link IS NULL) = (kind = 'statement' OR (kind IN ('payout', 'bonus') AND"
            " revision = 1)))"
        ),
    ),
)

LEDGER_ENTRIES = Table(
    "ledger_entries",
    "log",
    "Every transaction's entries sum to zero. Money enters from `revenue:ads` and `revenue:coins`"
    " (negative entries).",
    (
        Column("txn_id", "VARCHAR", "transaction"),
        _day("day the money belongs to"),
        Column(
            "account",
            "VARCHAR",
            "`platform`, `creator:<id>`, `carry:<category>`, `pool:<category>`, `revenue:<stream>`,"
            " `statement:<creator>` (paid out)",
        ),
        Column(
            "part",
            "VARCHAR",
            "what it is: `intake:`, `carry-in:`, `carry-out:`, `ads:` or `carry:` and the category,"
            " `spread`, `pulse`, `coins`, `adjustment`, `bonus:` and the month, `statement`",
        ),
        _micros("amount_micros", "amount; positive is owed to the account"),
    ),
    key=("txn_id", "account", "part"),
    constraints=("CHECK (amount_micros <> 0)",),
)

STATEMENTS = Table(
    "statements",
    "log",
    "What each creator was told and paid when days were closed, in cents; the rest carries to the"
    " creator's next statement.",
    (
        _day("last day it closes"),
        Column("first_day", "DATE", "first day it closes"),
        _id("creator_id", "creator"),
        _micros(
            "brought_forward_micros",
            "what the statement before left unpaid (negative: was paid too much)",
        ),
        _micros(
            "earned_micros",
            "earned on the days it closes, and bonuses of earlier months that are paid for the"
            " first time",
        ),
        _micros("restated_micros", "changes to days that were closed before"),
        _count("paid_cents", "paid: whole cents, never less than 0"),
        _micros("carried_forward_micros", "left for the next statement"),
    ),
    key=("creator_id",),
    constraints=(
        "CHECK (paid_cents >= 0)",
        (
            "CHECK (brought_forward_micros + earned_micros + restated_micros = 10000 * paid_cents +"
            " carried_forward_micros)"
        ),
    ),
)

CREATOR_EARNINGS = Table(
    "creator_earnings",
    "derived",
    "What each creator earned on the day, by part. The parts add up to the total.",
    (
        _day(),
        _id("creator_id", "creator"),
        _micros("pulse_micros", "from ads next to Pulse videos"),
        _micros("ads_micros", "from ad pools, money of the day"),
        _micros("carry_micros", "from ad pools, money carried in from earlier days"),
        _micros("coins_micros", "from gifts"),
        _micros("adjustment_micros", "from a budget-neutral restatement"),
        _micros("bonus_micros", "from a month's bonuses, on the last day of the month"),
        _micros("total_micros", "sum of the parts"),
        Column(
            "ads_by_category",
            "MAP(VARCHAR, BIGINT)",
            "`ads_micros` taken apart by category (micros)",
        ),
        _POLICY_HASH,
    ),
    key=("creator_id",),
)

SNAPSHOTS = (VIEWERS, CREATORS, VIDEOS)
DAILY = (VIEWER_EVENTS, GIFTS, AD_REVENUE)
AUDIENCE = (VIEWER_GROUPS, GROUP_CENTRES, GROUP_UTILITY, GROUP_WEIGHTS, MATCHING_POLICY)
ADS = (PULSE_PAYOUTS, AD_POOLS, AD_PAYOUTS, AD_SOLUTIONS, AD_RULES)
REWARDS = (REWARD_SCHEDULE, CREATOR_TYPES, REWARD_FORECAST)
MARKET = (DONATION_MARKET, DONATION_MARKET_PLACES, DONATION_MARKET_PROFILE)
DERIVED = (
    *AUDIENCE,
    VIDEO_QUALITY,
    *ADS,
    DONATION_SPLITS,
    COIN_SOLUTIONS,
    CREATOR_EARNINGS,
    *MARKET,
    *REWARDS,
    CREATOR_BONUSES,
)
BOOK = (POLICIES, ADJUSTMENTS, LEDGER_TRANSACTIONS, LEDGER_ENTRIES, STATEMENTS)
LOGS = (
    QUARANTINE,
    LANDING_FILES,
    WRITTEN_DAYS,
    SCHEMA_VERSIONS,
    WEIGHT_COMMITS,
    MARKET_COMMITS,
    *BOOK,
)
TABLES: dict[str, Table] = {t.name: t for t in (*SNAPSHOTS, *DAILY, *DERIVED, *LOGS)}
LANDING: dict[str, Table] = {t.name: t for t in (*SNAPSHOTS, *DAILY)}


def arrow_columns(name: str) -> pa.Schema:
    """Arrow columns of a derived table without the two that every row of a day shares."""
    types = {
        "VARCHAR": pa.string(),
        "BIGINT": pa.int64(),
        "DOUBLE": pa.float64(),
        "DATE": pa.date32(),
        "BOOLEAN": pa.bool_(),
    }
    return pa.schema(
        [
            (c.name, types[c.type])
            for c in TABLES[name].columns
            if c.name not in ("day", "policy_hash")
        ]
    )


def as_markdown(table: Table) -> str:
    """The table's section of docs/data.md."""
    lines = [f"### `{table.name}`", "", table.meaning, ""]
    lines += ["| column | type | required | meaning | rule |", "| --- | --- | --- | --- | --- |"]
    for c in table.columns:
        required = (
            "computed"
            if c.computed
            else (
                f"no, {c.default.strip(chr(39))}"
                if c.default
                else "yes"
                if c.required
                else "no, may be empty"
            )
        )
        lines.append(f"| `{c.name}` | {c.type} | {required} | {c.meaning} | {c.rule or ''} |")
    lines += ["", f"Key within a day: {', '.join(f'`{k}`' for k in table.key)}.", ""]
    return "\n".join(lines)
