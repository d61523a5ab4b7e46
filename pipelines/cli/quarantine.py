"""The commands about rows of money in quarantine: what waits, and accepting it."""

from __future__ import annotations

import getpass
from dataclasses import asdict
from datetime import datetime

import click

from pipelines.console import (
    DAY,
    OUT,
    Command,
    Table,
    as_json_option,
    home_option,
    option,
    print_json,
)
from pipelines.settings import Home
from pipelines.sources.quarantine import DECIDING, OpenRow


@click.group()
def quarantine() -> None:
    """Rows of money that were refused: they hold up the closing of their day until they are
    mended or accepted.
    """


@quarantine.command("list", cls=Command)
@as_json_option
@click.pass_obj
def list_(home: Home, as_json: bool) -> None:
    """Rows of gifts and ad revenue in quarantine that nobody has accepted, as they came.

    All rows in quarantine, of every table, by reason: earnings status --quarantine.
    """
    from pipelines.sources.quarantine import open_rows
    from pipelines.store.warehouse import Warehouse

    house = Warehouse(home)
    rows: list[OpenRow] = []
    if house.exists():
        with house.look() as con:
            rows = open_rows(con)
    _show(rows, as_json)
    if rows and not as_json:
        OUT.print(
            f"To leave one out: earnings{home_option(home)} quarantine accept {rows[0].name}"
            " --reason '...'"
        )


@quarantine.command(cls=Command)
@click.argument("rows", nargs=-1)
@option("--day", type=DAY, help="All rows that wait on this day, instead of naming them.")
@option("--table", type=click.Choice(DECIDING), help="All rows of this table that wait.")
@option("--reason", required=True, help="Why this money may be left out; it is kept for ever.")
@option("--by", "actor", help="Who says so. Default: the user's login name.")
@as_json_option
@click.pass_obj
def accept(
    home: Home,
    rows: tuple[str, ...],
    day: datetime | None,
    table: str | None,
    reason: str,
    actor: str | None,
    as_json: bool,
) -> None:
    """Accept that rows stay in quarantine, by name (FILE:LINE, see earnings quarantine list).

    The decision is added to quarantine_acceptances with reason, name and time. A row that is
    delivered with other content waits again.
    """
    from pipelines.sources.quarantine import accept as accept_rows

    if bool(rows) == bool(day or table):
        raise click.UsageError("name rows as FILE:LINE, or give --day or --table for all of them")
    accepted = accept_rows(
        home,
        rows,
        reason=reason,
        actor=actor or getpass.getuser(),
        day=day.date() if day else None,
        table=table,
    )
    _show(accepted, as_json)
    if not as_json:
        OUT.print(f"{len(accepted)} accepted: {reason}")


def _show(rows: list[OpenRow], as_json: bool) -> None:
    if as_json:
        print_json([{**asdict(row), "day": str(row.day), "name": row.name} for row in rows])
        return
    if not rows:
        OUT.print("No row of money waits in quarantine.")
        return
    table = Table("row", "day", "table", "reason", "as it came")
    for row in rows:
        table.add_row(row.name, row.day, row.table, row.reason, row.raw)
    OUT.print(table)
