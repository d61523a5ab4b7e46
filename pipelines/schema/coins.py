"""Tables of gifted coins: splits, their proof, and the weekly donation market."""

from __future__ import annotations

from pipelines.schema.columns import (
    _INTERVAL,
    _POLICY_HASH,
    Column,
    Table,
    _count,
    _day,
    _id,
    _maybe,
    _micros,
    _real,
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
        _real(
            "quality",
            "what stands in f(Q): Q (0 where nobody watched it that day), or its rank among the day's"
            " compliant videos (the middle where nobody watched), see policy `coins.quality`",
        ),
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
            "1 - alpha_high, where V is known from below (else empty, and `note` says so): what a"
            " policy with revenue_floor = `market` takes, within its"
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
    written_with="donation_market",
    constraints=("PRIMARY KEY (day, revision)",),
)
