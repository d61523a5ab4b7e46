"""Tables of the audience: groups, their weights, and the quality score made of what they
watched.
"""

from __future__ import annotations

from pipelines.schema.columns import (
    _POLICY_HASH,
    Column,
    Table,
    _count,
    _day,
    _flag,
    _id,
    _maybe,
    _real,
    _sum,
    _unit,
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
        _real(
            "assured",
            "what Pulse ranks by: Q, or of evidence the lower bound that verified viewers leave (0:"
            " too few of them)",
        ),
        Column(
            "safety_source",
            "VARCHAR",
            "`given`; `only s_plus` or `only s_tox` where the policy's neutral value stands in for the other one;"
            " `neutral` where it does for both",
        ),
        _POLICY_HASH,
    ),
    key=("video_id",),
)


_SUMS = (
    _day(),
    _id("video_id", "video"),
    _flag("verified", "of its verified or of its unverified viewers"),
    _count("viewers", "distinct viewers of the day"),
    _count("mass", "their trust, in millionths of a viewer"),
    _sum(
        "watched", "trust times watch time, each at most the video's length (millionths times ms)"
    ),
    _count("liked", "trust of those who stayed and liked (millionths)"),
    _count("commented", "trust of those who stayed and commented (millionths)"),
    _count("shared", "trust of those who stayed and shared (millionths)"),
    _count("followed", "trust of those who stayed and followed (millionths)"),
    _count("rewatched", "trust of those who watched more than one loop (millionths)"),
    _count("passed", "trust of those who left before the watch minimum (millionths)"),
    _sum("passed_watched", "their part of `watched` (millionths times ms)"),
    _count("unweighted", "`counted` without group weights (millionths)"),
    _count("counted", "qualified views: heads or trust, times group weight (millionths)"),
    _POLICY_HASH,
)

VIDEO_EVIDENCE = Table(
    "video_evidence",
    "derived",
    "What a day's viewers did on each video, as sums that add up over days; empty unless the policy"
    " scores by evidence.",
    _SUMS,
    key=("video_id", "verified"),
)

EVIDENCE_HISTORY = Table(
    "evidence_history",
    "derived",
    "What later days know of a day whose sums changed after they were scored: the sums they were"
    " scored with, kept. Empty for most days.",
    _SUMS,
    key=("video_id", "verified"),
)

QUALITY_PRIORS = Table(
    "quality_priors",
    "derived",
    "What the day was scored with besides its own evidence: for each rate, that of the platform and"
    " what it is worth.",
    (
        _day(),
        _id("component", "`watch`, `rewatch`, `like`, `comment`, `share` or `follow`"),
        _real("rate", "the platform's rate, of the day and its history"),
        _real("strength", "viewers' worth of that rate that are mixed into every video's own"),
        _maybe(
            "fitted",
            "the strength that the spread between videos asks for, before the bounds; empty where"
            " none shows",
        ),
        _count("videos", "videos it was fitted on"),
        _real("viewers", "viewers' worth it was fitted on"),
        Column("first_day", "DATE", "first day whose evidence was asked for"),
        _count("history_days", "earlier days from then on of which there was any"),
        _POLICY_HASH,
    ),
    key=("component",),
)
