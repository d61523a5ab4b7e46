"""Paying for production by a published schedule: that of the next month, and the bonuses of this
one (docs/formulas.md section 6).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.ledger.assets import write_earnings
from pipelines.ledger.entries import keep_policy, latest_revision, post_bonuses
from pipelines.periods import DAY, MONTH
from pipelines.rewards.month import (
    MILLI,
    Plan,
    award,
    has_begun,
    history_days,
    make_plan,
    plan_metadata,
    read_history,
    schedule_policy,
)
from pipelines.runs.daily import Metadata
from pipelines.runs.periodic import Period, periodic_asset
from pipelines.runs.pictures import picture
from pipelines.schema import REWARDS
from pipelines.store.warehouse import DayWriter, Warehouse, count, is_written, require_days


@periodic_asset(
    period=MONTH,
    group="rewards",
    extra_tables=["creator_types", "reward_forecast"],
    afterwards=Warehouse.publish,
)
def reward_schedule(run: Period) -> Metadata:
    """Bonuses of the next month: thresholds and rewards for types that creators' history tells, and
    what other schemes would buy.
    """
    month = run.day + DAY
    policy = run.home.policies.in_force(month)
    begun = has_begun(run.con, month)
    if begun and is_written(run.con, "reward_schedule", run.day):
        with run.write() as writer:
            for table in REWARDS:
                writer.mark(table.name, rows=count(run.con, table.name, run.day), changed=False)
        return {
            "outcome": "fixed: a day of its month is made",
            "rows": count(run.con, "reward_schedule", run.day),
        }
    plan = None
    if policy.bonus.budget_micros:
        days = history_days(run.home.landed(), run.day, policy.bonus)
        require_days(run.con, reward_schedule.required, days)
        plan = make_plan(read_history(run.con, days), month, policy.bonus)
    with run.write() as writer:
        for name, rows in _tables(plan).items():
            writer.write(name, rows, policy_hash=policy.hash)
        keep_policy(run.con, policy)
    if not plan:
        why = (
            "nothing was paid for production, so nobody's costs can be told"
            if policy.bonus.budget_micros
            else "the policy has no budget"
        )
        return {"outcome": f"no bonuses: {why}", "rows": 0}
    return {
        "outcome": (
            "made after its month began" if begun else "made"
        ),  # in a backfill, from days before the month all the same
        **plan_metadata(plan),
        "schedule": picture(lambda axes: _draw(plan, axes), "Schedule and forecast", columns=2),
    }


@periodic_asset(
    period=MONTH,
    group="rewards",
    extra_tables=["ledger_transactions", "ledger_entries", "creator_earnings"],
    afterwards=Warehouse.publish,
)
def creator_bonuses(run: Period) -> Metadata:
    """What creators produced in the month, by the schedule published before it; paid through the
    ledger, never above the budget.
    """
    published_under = schedule_policy(run.con, run.first)
    if published_under is None:
        with run.write() as writer:
            writer.write("creator_bonuses", [], policy_hash=run.policy.hash)
        return {"outcome": "no bonuses: no schedule was published for the month", "rows": 0}
    require_days(run.con, ["creator_earnings"], [run.day])
    paid_under = latest_revision(run.con, run.day, "payout")
    assert paid_under is not None  # creator_earnings is made from the ledger
    awarded = award(run.con, run.first, run.day)
    with _issuing(run) as writer:
        rows = writer.write("creator_bonuses", awarded, policy_hash=published_under)
        posting = post_bonuses(run.con, run.first, run.day, published_under, reason=run.restating)
        writer.mark(
            "ledger_entries",
            rows=count(run.con, "ledger_entries", run.day),
            changed=posting.outcome != "unchanged",
        )
        write_earnings(writer, paid_under[4])
    promised, paid = (sum(awarded[name].to_pylist()) for name in ("promised_micros", "paid_micros"))
    return {
        "outcome": posting.outcome,
        "transaction": posting.txn_id,
        "revision": posting.revision,
        "rows": rows,
        "creators_paid": sum(amount > 0 for amount in awarded["paid_micros"].to_pylist()),
        "promised_micros": promised,
        "paid_micros": paid,
        "part_of_promise": paid / promised if promised else 1.0,
    }


@contextmanager
def _issuing(run: Period) -> Iterator[DayWriter]:
    """The first bonuses of a month may come after its last day was closed: they are booked in the
    open period, and no statement changes.

    Changing them afterwards is changing a day like any other: a closed one refuses, and is
    restated.
    """
    if run.restating or latest_revision(run.con, run.day, "bonus"):
        with run.write() as writer:
            yield writer
    else:
        note = f"bonuses of {run.first} to {run.day}"
        with (
            run.warehouse.transaction(run.con, note),
            run.warehouse.rewrite_day(run.con, run.day, run.policy.hash) as writer,
        ):
            yield writer


def _tables(plan: Plan | None) -> Mapping[str, pa.Table | Sequence[dict[str, Any]]]:
    if not plan:
        return {table.name: () for table in REWARDS}
    return {
        "reward_forecast": plan.forecast(),
        "creator_types": plan.types_table(),
        "reward_schedule": plan.schedule_table(),
    }


def _draw(plan: Plan, axes: Any) -> None:
    """The published steps with the types on them, and what each scheme buys."""
    steps, forecast = axes
    x = np.concatenate([[0.0], plan.published.threshold / MILLI])
    bonus = np.concatenate([[0], plan.published.bonus]) / 1e6
    steps.step(
        [*x, 1.1 * max(float(x[-1]), float(plan.types.production[-1]))],
        [*bonus, bonus[-1]],
        where="post",
    )
    steps.plot(
        plan.types.production, np.zeros(plan.types.mass.size), "k|", label="types without bonuses"
    )
    steps.set(
        xlabel="effective views in the month",
        ylabel="bonus (currency units)",
        title=f"{plan.month:%B %Y}",
    )
    steps.legend(fontsize=7)
    rows = [row for row in plan.forecast() if row["scheme"] != "none"]
    forecast.bar([row["scheme"] for row in rows], [row["bought"] for row in rows])
    forecast.set(title="effective views bought", xlabel="same money")
    forecast.tick_params(axis="x", labelsize=7)
