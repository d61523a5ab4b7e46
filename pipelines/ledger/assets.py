"""The end of the day: entries in the ledger, and what each creator earned."""

from __future__ import annotations

from pipelines.ledger.entries import post_day
from pipelines.ledger.guard import guarded
from pipelines.runs.daily import Day, Metadata, daily_asset
from pipelines.runs.figures import record_figures
from pipelines.sql import query
from pipelines.store.warehouse import DayWriter, Warehouse, count
from solvers.inequality import gini, top_share


@daily_asset(group="earnings", extra_tables=["ledger_transactions"], in_order=True)
def ledger_entries(run: Day) -> Metadata:
    """Double-entry ledger, append-only: a day that changed is reversed and reissued, one that did
    not is left alone.
    """
    with run.write() as writer:
        if run.home.settings.shadow.policy and not run.restating:
            held = guarded(run.con, run.day, run.policy, run.home)
            record_figures(run.con, "ledger_entries", run.day, held)
        posting = post_day(run.con, run.day, run.policy, reason=run.restating)
        writer.mark(
            "ledger_entries",
            rows=count(run.con, "ledger_entries", run.day),
            changed=posting.outcome != "unchanged",
        )
    return {
        "transaction": posting.txn_id,
        "revision": posting.revision,
        "outcome": posting.outcome,
        "entries": posting.entries,
    }


def write_earnings(writer: DayWriter, policy_hash: str) -> int:
    """Make `creator_earnings` of a day what the ledger owes for it."""
    return writer.replace(
        "creator_earnings",
        query("ledger/creator_earnings"),
        {"day": writer.day, "policy_hash": policy_hash},
    )


@daily_asset(group="earnings", afterwards=Warehouse.publish)
def creator_earnings(run: Day) -> Metadata:
    """What each creator earned on the day, with its parts: Pulse, each ad category, carried-in
    money, coins, a month's bonus.
    """
    with run.write() as writer:
        rows = write_earnings(writer, run.policy.hash)
    totals = run.con.execute(
        "SELECT total_micros FROM creator_earnings WHERE day = ? ORDER BY 1", [run.day]
    ).fetchnumpy()["total_micros"]
    gross, platform, carried = run.con.execute(
        """SELECT coalesce(-sum(amount_micros) FILTER (starts_with(account, 'revenue:')),
            0)::BIGINT,
                  coalesce(sum(amount_micros) FILTER (account = 'platform'), 0)::BIGINT,
                  coalesce(sum(amount_micros) FILTER (starts_with(account, 'carry:')
                  OR starts_with(account, 'dispute:')), 0)::BIGINT
           FROM ledger_entries WHERE day = ? AND part <> 'statement'""",
        [run.day],
    ).fetchall()[0]
    return {
        "rows": rows,
        "creators_micros": int(totals.sum()),
        "platform_micros": int(platform),
        "carried_micros": int(carried),
        "gross_micros": int(gross),
        "gini": gini(totals),
        "top_1_percent_share": top_share(totals),
        "policy": f"{run.policy.name} {run.policy.hash}",
    }
