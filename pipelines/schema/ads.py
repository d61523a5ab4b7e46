"""Tables of advertising money: Pulse, pools, payouts, and the proof of each split."""

from __future__ import annotations

from pipelines.schema.columns import (
    _CERTIFIED,
    _POLICY_HASH,
    Column,
    Table,
    _count,
    _day,
    _id,
    _micros,
    _real,
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
            "taken over from other pools: by the policy's weights, or from those nobody could be"
            " paid from (negative: given away)",
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

AD_VIEWS = Table(
    "ad_views",
    "derived",
    "What views count for in the category pools where one account would otherwise move more than"
    " the policy's `account_bound`; a video that is not here competes with the effective views of"
    " `video_quality`.",
    (
        _day(),
        _id("video_id", "video"),
        _real("verified_views", "V, qualified views of verified viewers"),
        _real("unverified_views", "U, qualified views of unverified viewers, after the cap"),
        _real("unverified_weight", "lambda, what a view of U counts for"),
        _real("speaks_for", "1 + rho (1 - lambda), what a view of V counts for"),
        _real("views", "all of them at these weights"),
        _real("effective_views", "times Q: what it competes with"),
        _micros("worth_micros", "what an account may bring the video"),
        _POLICY_HASH,
    ),
    key=("video_id",),
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

MANIPULATION = Table(
    "manipulation",
    "derived",
    "What accounts could have moved for each video in the category pools, everybody else unchanged;"
    " empty unless the policy scores by evidence and pools have no bounds or rules.",
    (
        _day(),
        _id("video_id", "video"),
        _id("creator_id", "creator"),
        _micros(
            "account_micros",
            "gain from one unverified account that watches twice and does everything",
        ),
        _micros("ten_micros", "gain from ten of them"),
        _micros("taken_micros", "what one unverified account can take away by leaving at once"),
        _real("unverified_part", "part of its effective views that rests on unverified viewers"),
        _micros("viewer_day_micros", "what pools pay on the day, a viewer"),
        _real("account_limit", "viewer-days that one account may move, by the policy"),
        _POLICY_HASH,
    ),
    key=("video_id",),
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
