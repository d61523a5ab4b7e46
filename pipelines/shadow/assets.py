"""The policy in shadow: every day is also paid under it, into tables of its own.

What belongs here: which policy that is, what its next day needs of a day, and the figures that the
web UI plots against what was paid. The days are paid by `whatif/scratch.py`; whether a version may
pay after what its shadow moved is decided in `ledger/guard.py`.

Its chain is its own: what its pools carry and, where it scores otherwise, its evidence of earlier
days are kept, and so a day comes to what it would under `earnings whatif` from the first day in
shadow on. Weights of viewer groups, a week's market and a month's bonus are taken as the policy
that pays made them.
"""

from __future__ import annotations

from datetime import date
from typing import Any

from pipelines.ledger.guard import moved_between
from pipelines.policy import Policy, PolicyBook
from pipelines.runs.daily import Day, Metadata, daily_asset
from pipelines.runs.figures import Figure, record_figures
from pipelines.settings import Home
from pipelines.store.warehouse import Connection, Warehouse
from pipelines.whatif.scratch import Scratch, TableDay, copied
from solvers import InfeasibleError
from solvers.inequality import gini

_CHAIN = {"shadow_ad_pools": "ad_pools", "shadow_video_evidence": "video_evidence"}
"""What the next days need of a day in shadow, and of which table it takes the place."""


def in_shadow(home: Home, day: date) -> Policy | None:
    """The policy that `day` is paid under beside the books; None where there is none.

    Named like the policy that pays, it is that one's next version.
    """
    name = home.settings.shadow.policy
    if not name:
        return None
    paying = home.policies
    if name == paying.versions[0].name:
        return next((v for v in paying.versions if v.effective_from > day), None)
    book = PolicyBook.read(home.policy_folder, name)
    return next((v for v in reversed(book.versions) if v.effective_from <= day), book.versions[0])


@daily_asset(
    group="earnings",
    extra_tables=list(_CHAIN),
    in_order=True,
    afterwards=Warehouse.publish,
)
def shadow_earnings(run: Day) -> Metadata:
    """What each creator would have earned on the day under the policy in shadow; it is owed to
    nobody.
    """
    policy = in_shadow(run.home, run.day)
    if policy is None:
        return {"policy": "none in shadow"}
    always = policy.model_copy(update={"effective_from": date.min})
    tables: dict[str, Any] = {}
    failed: str | None = None
    with copied(
        run.con,
        run.home,
        run.day,
        run.day,
        history_days=max(policy.quality.window_days, policy.quality.history_days),
        periods=False,
    ) as room:
        moved = _take_up(room, run.home, run.day)
        try:
            with room.paying(PolicyBook((always,)), moved=moved) as made:
                tables = _come_to(room.con, run.day, policy.hash, made.fresh)
        except InfeasibleError as error:
            failed = f"the policy in shadow, {policy.name}, cannot pay this day: {error}"
    with run.warehouse.write_day(run.con, run.day, policy.hash) as writer:
        for table in ("shadow_earnings", *_CHAIN):
            if table in tables:
                writer.replace(table, tables[table])
            else:
                writer.write(table, [], policy_hash=policy.hash)
        warning = [] if failed is None else [Figure("shadow_failed", 1, warning=failed)]
        record_figures(run.con, "shadow_earnings", run.day, warning)
    if failed is not None:
        return {"policy": f"{policy.name} {policy.hash}", "failed": failed}
    found = moved_between(run.con, [run.day])
    return {
        "rows": tables["shadow_earnings"].num_rows,
        "policy": f"{policy.name} {policy.hash}",
        "creators_micros": found.shadow_micros,
        "paid_micros": found.paid_micros,
        "moved_share": found.share,
        "largest_loss": found.largest_loss(run.home.settings.shadow.least_micros)[1],
        "gini": gini(found.shadow),
        "gini_paid": gini(found.paid),
    }


def _take_up(room: Scratch, home: Home, day: date) -> set[TableDay]:
    """Put what the shadow left in the place of what the paying policy left; says of which days."""
    before = home.day_before(day)
    of = {"ad_pools": ("day = $day", before), "video_evidence": ("day < $day", day)}
    moved = set()
    for shadow, table in _CHAIN.items():
        condition, last = of[table]
        found = room.source.execute(
            f"SELECT * FROM {shadow} WHERE {condition}", {"day": last}
        ).to_arrow_table()
        days = sorted(set(found["day"].to_pylist()))
        if days:
            carried = before and room.carried(before)
            room.con.execute(f"DELETE FROM {table} WHERE day IN (SELECT unnest(?))", [days])
            room.con.register("kept_in_shadow", found)
            room.con.execute(f"INSERT INTO {table} BY NAME FROM kept_in_shadow")
            room.con.unregister("kept_in_shadow")
            if table != "ad_pools" or (before and carried != room.carried(before)):
                moved |= {(table, each) for each in days}
    return moved


def _come_to(con: Connection, day: date, policy_hash: str, fresh: set[TableDay]) -> dict[str, Any]:
    earned = con.execute(
        "SELECT * EXCLUDE (ads_by_category) REPLACE (? AS policy_hash) FROM creator_earnings"
        " WHERE day = ?",
        [policy_hash, day],
    ).to_arrow_table()
    pools = con.execute(
        "SELECT * REPLACE (? AS policy_hash) FROM ad_pools WHERE day = ?", [policy_hash, day]
    ).to_arrow_table()
    tables = {"shadow_earnings": earned, "shadow_ad_pools": pools}
    if ("video_evidence", day) in fresh:
        evidence = "FROM video_evidence WHERE day = ?"
        tables["shadow_video_evidence"] = con.execute(evidence, [day]).to_arrow_table()
    return tables
