"""Tables of monthly bonuses."""

from __future__ import annotations

from pipelines.schema.columns import _POLICY_HASH, Column, Table, _count, _day, _id, _micros, _real

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
