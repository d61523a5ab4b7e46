"""The donation market of a week: which part of gifted coins creators should keep, how sure that is,
and what it rests on.
"""

from __future__ import annotations

from pipelines.market.floor import commit, used_on
from pipelines.market.week import WeeklyMarket, study_week
from pipelines.periods import WEEK
from pipelines.runs.daily import Metadata
from pipelines.runs.periodic import Period, periodic_asset
from pipelines.store.warehouse import DayWriter, Warehouse, count


# Days are paid by the market of the week before, and a market is made of its days' splits. Dagster
# allows the loop in one direction only; the other one is `market_floor.floor_on`, which refuses
# where a week is missing.
@periodic_asset(
    period=WEEK,
    group="advice",
    extra_tables=["donation_market_places", "donation_market_profile", "market_commits"],
    afterwards=Warehouse.publish,
)
def donation_market(run: Period) -> Metadata:
    """The week as a donation market: the part creators should keep, its range and bounds, and what
    it leaves the platform next to today's.

    A market that days were paid by is kept as it is, whatever became of its week since: `earnings
    remarket` makes it anew.
    """
    if (used := used_on(run.con, run.day)) and not run.restating:
        with run.write() as writer:
            writer.mark(
                "donation_market", rows=count(run.con, "donation_market", run.day), changed=False
            )
        return {
            "outcome": (
                f"kept: {len(used)} days from {used[0]} were paid by it; earnings remarket --week"
                f" {run.first} --reason '...'"
            )
        }
    week = study_week(run.con, run.first, run.day, run.days, run.policy.market)
    reason = f"made anew: {run.restating}" if run.restating else "made from its week"
    with run.write() as writer:
        changed = write_market(writer, week, run.policy.hash, reason)
    plots = {"market": week.plots()} if week.study else {}
    return {
        "outcome": reason,
        "changed": changed,
        "note": week.market["note"],
        **week.numbers(),
        **plots,
    }


def write_market(writer: DayWriter, found: WeeklyMarket, policy_hash: str, reason: str) -> bool:
    """Replace the week's market and everything it rests on; returns whether it says something else
    than before.
    """
    for name, rows in found.tables().items():
        writer.write(name, rows, policy_hash=policy_hash)
    return commit(writer, policy_hash, reason)
