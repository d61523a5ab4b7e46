"""Paying for production by a published schedule: the schedule of the next month (docs/formulas.md section 6)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.assets.daily import Metadata
from pipelines.assets.periodic import Period, periodic_asset
from pipelines.periods import DAY, MONTH
from pipelines.pictures import picture
from pipelines.rewards import MILLI, Plan, history_days, is_fixed, make_plan, plan_metadata, read_history
from pipelines.schema import REWARDS, arrow_columns
from pipelines.warehouse import count, require_day


@periodic_asset(
    period=MONTH, group="rewards", deps=["video_quality", "creator_earnings"], extra_tables=["creator_types", "reward_forecast"]
)
def reward_schedule(run: Period) -> Metadata:
    """Bonuses of the next month: thresholds and rewards for types that creators' history tells, and what other schemes would buy."""
    month = run.day + DAY
    policy = run.home.policies.in_force(month)
    if is_fixed(run.con, run.day):
        with run.write() as writer:
            for table in REWARDS:
                writer.mark(table.name, rows=count(run.con, table.name, run.day), changed=False)
        return {"outcome": "fixed: a day of its month is made", "rows": count(run.con, "reward_schedule", run.day)}
    plan = None
    if policy.bonus.budget_micros:
        days = history_days(run.home.landed(), run.day, policy.bonus)
        for day in days:
            require_day(run.con, "video_quality", day)
            require_day(run.con, "creator_earnings", day)
        plan = make_plan(read_history(run.con, days), month, policy.bonus)
    with run.write() as writer:
        stamp = f"DATE '{run.day}' AS day, '{policy.hash}' AS policy_hash"
        for name, rows in _tables(plan).items():
            run.con.register("planned", rows)
            writer.replace(name, f"SELECT {stamp}, * FROM planned")
        run.con.execute(
            "INSERT OR IGNORE INTO policies VALUES (?, ?, ?, ?)", [policy.hash, policy.name, policy.effective_from, policy.content]
        )
    if not plan:
        why = "nothing was paid for production, so nobody's costs can be told" if policy.bonus.budget_micros else "the policy has no budget"
        return {"outcome": f"no bonuses: {why}", "rows": 0}
    return {
        "outcome": "made",
        **plan_metadata(plan),
        "schedule": picture(lambda axes: _draw(plan, axes), "Schedule and forecast", columns=2),
    }


def _tables(plan: Plan | None) -> dict[str, pa.Table]:
    if not plan:
        return {table.name: arrow_columns(table.name).empty_table() for table in REWARDS}
    return {
        "reward_forecast": pa.Table.from_pylist(plan.forecast(), schema=arrow_columns("reward_forecast")),
        "creator_types": plan.types_table(),
        "reward_schedule": plan.schedule_table(),
    }


def _draw(plan: Plan, axes: Any) -> None:
    """The published steps with the types on them, and what each scheme buys."""
    steps, forecast = axes
    x = np.concatenate([[0.0], plan.published.threshold / MILLI])
    bonus = np.concatenate([[0], plan.published.bonus]) / 1e6
    steps.step([*x, 1.1 * max(float(x[-1]), float(plan.types.production[-1]))], [*bonus, bonus[-1]], where="post")
    steps.plot(plan.types.production, np.zeros(plan.types.mass.size), "k|", label="types without bonuses")
    steps.set(xlabel="effective views in the month", ylabel="bonus (currency units)", title=f"{plan.month:%B %Y}")
    steps.legend(fontsize=7)
    rows = [row for row in plan.forecast() if row["scheme"] != "none"]
    forecast.bar([row["scheme"] for row in rows], [row["bought"] for row in rows])
    forecast.set(title="effective views bought", xlabel="same money")
    forecast.tick_params(axis="x", labelsize=7)
