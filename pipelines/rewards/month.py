"""Monthly reward schedules: creators' histories into types, types into a published schedule, and a
month's production into bonuses.

What belongs here: reading a history, the tables of a schedule, which schedule holds, and who is
paid what by it. The mathematics is in `solvers.reward_schedule.types` and
`solvers.reward_schedule.bonus`; when it is made is in `rewards/assets.py` (docs/formulas.md section
6).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.periods import MONTH
from pipelines.policy import Bonus, exact
from pipelines.sql import query
from pipelines.store.warehouse import Connection, unwritten
from solvers.apportion import apportion
from solvers.arrays import Floats, Ints
from solvers.reward_schedule import (
    Ability,
    BonusSchedule,
    OnTop,
    PowerCost,
    Types,
    WholeBonuses,
    estimate_ability,
    explained,
    group_types,
    pot_on_top,
    price_on_top,
    schedule_on_top,
    whole_bonuses,
)

MILLI = 1000


@dataclass(frozen=True, eq=False)
class History:
    """What creators produced in the days from `first` to `last`, a row a creator (views and
    effective views, in all and early).
    """

    first: date
    last: date
    creators: tuple[str, ...]
    days: Ints
    views: Floats
    effective: Floats
    early_days: Ints
    early_views: Floats
    early_effective: Floats
    late_days: int
    paid_micros: int

    @property
    def price(self) -> float:
        """What an effective view earned its creator, in micros: all that ad pools and Pulse paid,
        over all effective views.
        """
        produced = float(self.effective.sum())
        return self.paid_micros / produced if produced else 0.0

    def fit(self, prior_days: float) -> tuple[float, float]:
        """R squared of what the first half of the history says of the second, with the prior and
        without.
        """
        seen = self.early_views > 0
        if np.count_nonzero(seen) < 2 or not self.early_effective.any():
            return float("nan"), float("nan")
        late = (self.effective - self.early_effective)[seen] / self.late_days
        early = self.early_views[seen], self.early_effective[seen], self.early_days[seen]
        with_prior, without = (
            explained(estimate_ability(*early, days).production, late) for days in (prior_days, 0.0)
        )
        return with_prior, without


def history_days(home_days: list[date], last: date, bonus: Bonus) -> list[date]:
    """Landed days from which the schedule after `last` is made."""
    return [day for day in home_days if last - timedelta(days=bonus.history_days) < day <= last]


def read_history(con: Connection, days: list[date]) -> History:
    """The history of all creators whom somebody watched on the days."""
    first, last = days[0], days[-1]
    middle = first + ((last - first) - timedelta(days=1)) // 2
    columns = con.execute(
        query("rewards/creator_history"), {"first": first, "last": last, "middle": middle}
    ).fetchnumpy()
    (paid,) = con.execute(
        """SELECT coalesce(sum(payout_micros), 0)::BIGINT FROM
             (SELECT day, payout_micros FROM ad_payouts UNION ALL SELECT day, payout_micros
             FROM pulse_payouts)
           WHERE day BETWEEN ? AND ?""",
        [first, last],
    ).fetchall()[0]
    return History(
        first=first,
        last=last,
        creators=tuple(columns["creator_id"].tolist()),
        days=columns["days"],
        views=columns["milliviews"] / MILLI,
        effective=columns["effective_milliviews"] / MILLI,
        early_days=columns["early_days"],
        early_views=columns["early_milliviews"] / MILLI,
        early_effective=columns["early_effective_milliviews"] / MILLI,
        late_days=(last - middle).days,
        paid_micros=int(paid),
    )


@dataclass(frozen=True, eq=False)
class Plan:
    """A month's schedule and what it was made from."""

    history: History
    month: date
    bonus: Bonus
    ability: Ability
    types: Types
    exact: BonusSchedule
    published: WholeBonuses
    linear: OnTop
    pot: OnTop | None

    def schedule_table(self) -> pa.Table:
        """Rows of `reward_schedule`, without day and policy."""
        levels = np.arange(1, self.published.threshold.size + 1)
        expected = np.bincount(
            self.published.level, weights=self.types.mass, minlength=levels.size + 1
        )[1:]
        return pa.table(
            {
                "month": pa.array([self.month] * levels.size, pa.date32()),
                "level": levels.astype(np.int64),
                "threshold_milliviews": self.published.threshold,
                "bonus_micros": self.published.bonus,
                "creators": expected.astype(np.int64),
                "budget_micros": np.full(levels.size, self.bonus.budget_micros, dtype=np.int64),
            }
        )

    def types_table(self) -> pa.Table:
        """Rows of `creator_types`, without day and policy."""
        member = self.types.member
        return pa.table(
            {
                "creator_id": pa.array(self.history.creators, pa.string()),
                "days": self.history.days.astype(np.int64),
                "output": self.ability.output,
                "quality": self.ability.quality,
                "production": self.ability.production * days_in(self.month),
                "type": (member + 1).astype(np.int64),
                "type_production": self.types.production[member],
                "difficulty": self.types.difficulty[member],
                "level": self.published.level[member].astype(np.int64),
            }
        )

    def forecast(self) -> list[dict[str, Any]]:
        """Rows of `reward_forecast`, without day and policy."""
        without = float(self.types.mass @ self.types.production)
        fit, alone = (
            None if np.isnan(value) else value for value in self.history.fit(self.bonus.prior_days)
        )
        schemes: dict[str, tuple[float, float, float]] = {
            "none": (without, 0.0, 0.0),
            "published": (
                self.published.gross_product,
                float(self.published.spend),
                self.published.incentive_residual,
            ),
            "optimal": (self.exact.gross_product, self.exact.spend, self.exact.incentive_residual),
            "linear": (
                self.linear.gross_product,
                float(self.types.mass @ self.linear.payment),
                0.0,
            ),
        }
        if self.pot is not None:
            schemes["proportional"] = (
                self.pot.gross_product,
                float(self.types.mass @ self.pot.payment),
                0.0,
            )
        return [
            {
                "month": self.month,
                "scheme": scheme,
                "production": production,
                "bought": production - without,
                "expected_micros": spend,
                "largest_gain": gain,
                "price_micros": self.history.price,
                "exponent": self.bonus.exponent,
                "fit": fit,
                "fit_without_prior": alone,
            }
            for scheme, (production, spend, gain) in schemes.items()
        ]


def days_in(month: date) -> int:
    """Days of the month that begins on `month`."""
    return (MONTH.last(month) - month).days + 1


def make_plan(history: History, month: date, bonus: Bonus) -> Plan | None:
    """The schedule that holds in the month; None if nothing was produced or paid, so that no
    difficulty can be told.
    """
    price = history.price
    if not price:
        return None
    cost = PowerCost(bonus.exponent)
    ability = estimate_ability(history.views, history.effective, history.days, bonus.prior_days)
    types = group_types(ability.production * days_in(month), bonus.levels, cost, price)
    f, h, budget = (
        types.mass,
        types.difficulty,
        float(int(exact(bonus.planned) * bonus.budget_micros)),
    )
    best = schedule_on_top(f, h, budget, cost, price)
    published = whole_bonuses(best, f, h, cost, price, units=MILLI)
    pot = pot_on_top(f, h, budget, cost, price) if f.sum() >= 2 else None
    return Plan(
        history,
        month,
        bonus,
        ability,
        types,
        best,
        published,
        price_on_top(f, h, budget, cost, price),
        pot,
    )


def has_begun(con: Connection, month: date) -> bool:
    """A day of the month was made: creators have worked in it."""
    days = [month + timedelta(days=n) for n in range(days_in(month))]
    return len(unwritten(con, ["creator_earnings"], days)) < len(days)


def schedule_policy(con: Connection, month: date) -> str | None:
    """Hash of the policy under which the month's schedule was published; None if it has none."""
    published = con.execute(
        "SELECT any_value(policy_hash) FROM reward_schedule WHERE month = ?", [month]
    ).fetchall()
    return published[0][0]  # type: ignore[no-any-return]


def award(con: Connection, first: date, last: date) -> pa.Table:
    """Rows of `creator_bonuses` of the month from `first` to `last`, which has a schedule; without
    day and policy.

    The budget held in expectation when the schedule was made. If more was reached than it pays for,
    it is shared in proportion to what was promised, by largest remainder, so that never more than
    the budget is paid.
    """
    rows = con.execute(
        query("rewards/creator_bonuses"), {"first": first, "last": last}
    ).to_arrow_table()
    (budget,) = con.execute(
        "SELECT max(budget_micros) FROM reward_schedule WHERE month = ?", [first]
    ).fetchall()[0]
    promised = rows["promised_micros"].to_pylist()
    paid = (
        promised
        if sum(promised) <= budget
        else apportion(promised, budget, keys=rows["creator_id"].to_pylist()).tolist()
    )
    rows = rows.append_column("paid_micros", pa.array(paid, pa.int64()))
    return rows.append_column("budget_micros", pa.array([budget] * len(paid), pa.int64()))


def plan_metadata(plan: Plan) -> Mapping[str, Any]:
    """The figures that the web UI plots over the months."""
    rows = {row["scheme"]: row for row in plan.forecast()}
    fit = rows["none"]["fit"], rows["none"]["fit_without_prior"]
    return {
        "holds_from": plan.month.isoformat(),
        "rows": int(plan.published.threshold.size),
        "creators": len(plan.history.creators),
        "types": int(plan.types.mass.size),
        "price_micros": plan.history.price,
        "budget_micros": plan.bonus.budget_micros,
        "expected_micros": plan.published.spend,
        "largest_gain_by_another_level": plan.published.incentive_residual,
        **{f"bought {scheme}": row["bought"] for scheme, row in rows.items() if scheme != "none"},
        **{
            name: value
            for name, value in zip(("fit", "fit_without_prior"), fit, strict=True)
            if value is not None
        },
    }
