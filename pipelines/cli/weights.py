"""The commands about adaptive epochs: the weights of viewer groups, and committing them anew."""

from __future__ import annotations

from collections.abc import Sequence
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


@click.command(cls=Command)
@option(
    "--from",
    "first",
    type=DAY,
    required=True,
    help="First day whose weights are computed again; all later ones follow.",
)
@option("--reason", required=True, help="Why; it stands in weight_commits.")
@as_json_option
@click.pass_obj
def recommit(home: Home, first: datetime, reason: str, as_json: bool) -> None:
    """Change committed weights of viewer groups, on purpose.

    The weights of a day are committed before it begins, and no restated day changes them: they were
    really used. This computes them again from what the days before are now, and keeps both on
    record (table weight_commits). Days that were scored under the old weights become stale: run the
    open ones again; closed ones need earnings restate.
    """
    from pipelines.operation.running import record_days
    from pipelines.remake.weights import recommit as recommit_days

    if not reason.strip():
        raise click.UsageError("--reason is empty: say why")
    days, made = recommit_days(home, first.date(), reason=reason)
    record_days(home, made)
    if as_json:
        print_json([d.as_dict() for d in days])
        return
    table = Table("day", "state", "was", "is")
    table.add_column("largest change", justify="right")
    for d in days:
        table.add_row(
            str(d.day),
            "closed" if d.closed else "open",
            d.replaced[:12],
            d.state_hash[:12],
            f"{d.largest_change:.4f}",
        )
    OUT.print(table)
    changed = [d for d in days if d.changed]
    OUT.print(f"{len(changed)} of {len(days)} days have other weights now: {reason}")
    if opened := [d.day for d in changed if not d.closed]:
        OUT.print(
            f"Next: earnings{home_option(home)} run --from {opened[0]} --to ...   (the days that"
            " earnings status calls stale)"
        )
    if closed := [d.day for d in changed if d.closed]:
        OUT.print(
            f"Closed days: earnings{home_option(home)} restate --day {closed[0]} --through"
            f" {closed[-1]} --reason '...'"
        )


EPOCH_COMMANDS: Sequence[click.Command] = (recommit,)
