"""The command about the weekly donation market: making one anew that days were paid by."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import click

from pipelines.console import DAY, OUT, Command, as_json_option, home_option, option, print_json
from pipelines.settings import Home


@click.command(cls=Command)
@option("--week", "day", type=DAY, required=True, help="Any day of the week.")
@option("--reason", required=True, help="Why; it stands in market_commits.")
@as_json_option
@click.pass_obj
def remarket(home: Home, day: datetime, reason: str, as_json: bool) -> None:
    """Study a week's donation market again, on purpose, although days were paid by it.

    A policy with revenue_floor = "market" takes a day's floor from the latest week before it. That
    market is kept whatever becomes of its week later, for money was paid by it. This makes it anew
    and keeps both on record (table market_commits). Days that were paid by the old one become
    stale: run the open ones again; closed ones need earnings restate.
    """
    from pipelines.operation.running import record_days
    from pipelines.remake.market import remarket as make

    if not reason.strip():
        raise click.UsageError("--reason is empty: say why")
    done, made = make(home, day.date(), reason=reason)
    record_days(home, [made])
    if as_json:
        print_json(done.as_dict())
        return
    floors = " to ".join(
        "no market" if floor is None else f"{floor:g}" for floor in (done.before, done.after)
    )
    OUT.print(
        f"week to {done.week}: revenue floor {floors}{'' if done.changed else ', as it was'}:"
        f" {reason}"
    )
    if done.changed and done.open_days:
        OUT.print(
            f"Next: earnings{home_option(home)} run --from {done.open_days[0]} --to"
            f" {done.open_days[-1]}"
        )
    if done.changed and done.closed_days:
        first, last = done.closed_days[0], done.closed_days[-1]
        OUT.print(
            f"Closed days: earnings{home_option(home)} restate --day {first} --through {last}"
            " --reason '...'"
        )


MARKET_COMMANDS: Sequence[click.Command] = (remarket,)
