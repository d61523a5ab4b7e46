"""The command about the life of revenue: what is estimated, final, taken out and given back."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

import click

from pipelines.console import (
    DAY,
    OUT,
    Command,
    CommandError,
    Table,
    as_json_option,
    in_order,
    option,
    print_json,
)
from pipelines.money import money
from pipelines.settings import Home
from pipelines.store.warehouse import Warehouse

if TYPE_CHECKING:
    from pipelines.ledger.revenue import RevenueReport


@click.group()
def revenue() -> None:
    """Revenue from its first estimate to the last appeal."""


@revenue.command(cls=Command)
@option("--from", "first", type=DAY, help="First day of revenue. Default: the first there is.")
@option("--to", "last", type=DAY, help="Last day of revenue. Default: the last there is.")
@as_json_option
@click.pass_obj
def report(home: Home, first: datetime | None, last: datetime | None, as_json: bool) -> None:
    """What became of the revenue of some days, as it stands now.

    By category what is final, what is estimated and what was deducted; deductions by category and
    reason; appeals that were granted; and what restatements changed for videos of closed days,
    reason by reason. Decisions come in landing/invalid_traffic/ (docs/payouts.md).
    """
    from pipelines.ledger.revenue import revenue_report

    in_order(first, last)
    with Warehouse(home).look() as con:
        begin, end = con.execute(
            "SELECT min(day), max(day) FROM written_days WHERE table_name = 'ad_revenue'"
        ).fetchall()[0]
        if begin is None:
            raise CommandError("no day of ad_revenue is loaded yet: earnings run")
        found = revenue_report(con, first.date() if first else begin, last.date() if last else end)
    if as_json:
        print_json(found.as_dict())
    else:
        _print(found)


def _print(found: RevenueReport) -> None:
    OUT.print(f"revenue of {found.first_day} to {found.last_day}\n")
    table = Table("category", "delivered", "final", "estimated", "days", "deducted")
    for row in found.categories:
        table.add_row(
            row["category"],
            money(row["delivered_micros"]),
            money(row["final_micros"]),
            money(row["estimated_micros"]),
            row["estimated_days"],
            money(row["deducted_micros"]),
        )
    names = ("delivered", "final", "estimated", "deducted")
    sums = [sum(row[f"{name}_micros"] for row in found.categories) for name in names]
    table.add_row("all", *(money(micros) for micros in sums[:3]), "", money(sums[3]))
    OUT.print(table)
    coins = found.coins
    OUT.print(f"\ngifted coins: {coins['final']:,}; refunded: {coins['deducted']:,}")
    if found.deductions:
        table = Table("deducted", "category", "by", "reason", "how many", "rows", "days", "decided")
        for row in found.deductions:
            amount = row["amount"]
            decided = {row["first_decided"], row["last_decided"]}
            table.add_row(
                money(amount) if row["of"] == "ads" else f"{amount:,} {row['of']}",
                row["category"] or "",
                row["what"],
                row["reason"],
                row["things"],
                row["rows"],
                row["days"],
                " to ".join(sorted(decided)),
            )
        OUT.print("")
        OUT.print(table)
    else:
        OUT.print("nothing is deducted")
    for row in found.restored:
        OUT.print(f"restored: {row['decisions']} of {row['what']}: {row['reason']}")
    if found.corrections:
        table = Table("closed days", "reason", "decided", "days", "videos", "taken", "given")
        for row in found.corrections:
            table.add_row(
                row["kind"],
                row["reason"],
                row["decided_on"] or "",
                row["days"],
                row["videos"],
                money(row["taken_micros"]),
                money(row["given_micros"]),
            )
        OUT.print("")
        OUT.print(table)
