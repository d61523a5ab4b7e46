"""The analyst's command: another policy over the same days, before anybody is paid by it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from pipelines.cli.completion import policies
from pipelines.console import (
    DAY,
    ERR,
    OUT,
    Command,
    Table,
    as_json_option,
    option,
    print_json,
    short,
    styled,
)
from pipelines.money import money
from pipelines.policy import PolicyBook, read_policy
from pipelines.settings import Home

if TYPE_CHECKING:
    import pandas as pd

    from pipelines.whatif.comparison import Comparison


def book_of(home: Home, policy: str) -> PolicyBook:
    """Versions of the policy that is asked for, by its name or by a file, as they would hold on any
    day: where the first version begins later, it holds before too.
    """
    path = Path(policy)
    book = (
        PolicyBook((read_policy(path),))
        if path.suffix == ".toml"
        else PolicyBook.read(home.policy_folder, policy)
    )
    first = book.versions[0].model_copy(update={"effective_from": date.min})
    return PolicyBook((first, *book.versions[1:]))


def _micros(context: click.Context, parameter: click.Parameter, value: str | None) -> int | None:
    if value is None:
        return None
    from decimal import Decimal, InvalidOperation

    try:
        micros = Decimal(value) * 1_000_000
    except InvalidOperation as error:
        raise click.BadParameter(f"{value!r} is no amount, write e.g. 10.00") from error
    if micros != micros.to_integral_value():
        raise click.BadParameter(f"{value} has more than six digits after the point")
    return int(micros)


@click.command(cls=Command)
@option(
    "--policy",
    "others",
    multiple=True,
    metavar="NAME|FILE",
    shell_complete=policies,
    help="The policy to try: a name, or a TOML file. May be given more than once.",
)
@option(
    "--against", metavar="NAME|FILE", help="What to compare with. Default: the policy that pays."
)
@option("--from", "first", type=DAY, help="First day. Default: the first that is made.")
@option("--to", "last", type=DAY, help="Last day. Default: the last that is made.")
@option(
    "--vary",
    nargs=2,
    multiple=True,
    metavar="FIELD VALUES",
    help="A field of the policy and values to try: ads.lambda_eff 0:1:0.1, or 0.1,0.5. Given more"
    " than once: every combination, and which of them no other one beats.",
)
@option(
    "--about",
    is_flag=True,
    help="With --vary: from a sketch of each day, hundreds of points in seconds, near and not exact;"
    " for fields of ads, pulse and coins.",
)
@option(
    "--threshold",
    callback=_micros,
    metavar="AMOUNT",
    help="Also say who reaches this total under one policy and not under the other.",
)
@option(
    "--out",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for a page (index.html) and the tables.",
)
@option(
    "--format",
    "kind",
    type=click.Choice(["csv", "parquet", "xlsx"]),
    default="csv",
    help="Files of the tables in --out; xlsx needs openpyxl.",
)
@as_json_option
@click.pass_obj
def whatif(
    home: Home,
    others: Sequence[str],
    against: str | None,
    first: datetime | None,
    last: datetime | None,
    vary: Sequence[tuple[str, str]],
    about: bool,
    threshold: int | None,
    folder: Path | None,
    kind: Literal["csv", "parquet", "xlsx"],
    as_json: bool,
) -> None:
    """What if another policy had paid: both over the same days, to the micro; nothing is written.

    The days are paid again in memory by the code that pays, with all that follows from one day to
    the next: carried money, the weekly market, bonuses. What comes out is what a run under the
    policy would post. Only what the policies do not share is made again.

    \b
    earnings whatif --policy printed --from 2026-03-01 --to 2026-03-07
    earnings whatif --policy draft.toml --threshold 10.00 --out whatif
    earnings whatif --vary ads.lambda_eff 0:1:0.25 --vary ads.alpha 0.25,0.5,1
    earnings whatif --about --vary ads.lambda_eff 0:1:0.05 --vary ads.alpha 0.05:1:0.05
    """
    from pipelines.whatif.comparison import Comparison, reconciled
    from pipelines.whatif.frontier import explore, frontier, parse_axis
    from pipelines.whatif.report import tables_of, write_page, write_tables
    from pipelines.whatif.scratch import made_days, scratch

    if not others and not vary:
        raise click.UsageError("name a policy to try (--policy), or fields to vary (--vary)")
    axes = [parse_axis(*pair) for pair in vary]
    if about and (others or not axes):
        raise click.UsageError("--about is for --vary alone: policies are compared exactly")
    base = home.policies if against is None else book_of(home, against)
    books = [(name, book_of(home, name)) for name in others]
    days = made_days(home)
    begin = first.date() if first else days[0]
    end = last.date() if last else days[-1]
    if begin > end:
        raise click.UsageError(f"--from {begin} is after --to {end}")
    if about:
        from pipelines.studio.sketch import explore_about

        chosen = [day for day in days if begin <= day <= end]
        points = frontier(list(explore_about(home, base, chosen, axes)))
        _leave_points(points, [axis.field for axis in axes], folder, kind, as_json)
        return
    history = max(
        max(v.quality.window_days, v.quality.history_days, v.bonus.history_days)
        for _, book in [("", base), *books]
        for v in book.versions
    )
    with scratch(home, begin, end, history_days=history) as room:
        known = room.creators()
        label = against or base.in_force(begin).name
        if room.stale:
            ERR.print(
                styled(
                    f"{len(room.stale)} days are stale and are made anew under both policies, from"
                    " what is loaded; what has landed since is not seen",
                    "dim",
                )
            )
        paid = room.pay(base, label) if books else None
        comparisons = []
        for name, book in books:
            ERR.print(styled(f"{name}, {begin} to {end}", "dim"))
            assert paid is not None
            comparisons.append(Comparison(paid, room.pay(book, Path(name).stem), known))
        reconciled(comparisons)
        points = frontier(list(explore(room, base, axes))) if axes else None
    if folder:
        for found in comparisons:
            place = folder if len(comparisons) == 1 else folder / found.b.name
            write_tables(place, tables_of(found), kind)
        if points is not None:
            write_tables(folder, {"frontier": points}, kind)
        page = write_page(folder, comparisons, points, [axis.field for axis in axes])
        ERR.print(f"{short(page)}: the whole comparison, with charts and tables")
    if as_json:
        print_json(
            {
                "comparisons": [
                    {
                        **found.as_dict(),
                        "crossing": (
                            found.crossing(threshold).reset_index().to_dict("records")
                            if threshold is not None
                            else None
                        ),
                    }
                    for found in comparisons
                ],
                "frontier": None
                if points is None
                else points.astype(object).where(points.notna(), None).to_dict("records"),
            }
        )
        return
    for found in comparisons:
        _print_comparison(found, threshold)
    if points is not None:
        _print_points(points, [axis.field for axis in axes])


def _leave_points(
    points: pd.DataFrame,
    axes: Sequence[str],
    folder: Path | None,
    kind: Literal["csv", "parquet", "xlsx"],
    as_json: bool,
) -> None:
    """A frontier without a comparison, to where it was asked for."""
    from pipelines.whatif.report import write_page, write_tables

    if folder:
        write_tables(folder, {"frontier": points}, kind)
        page = write_page(folder, [], points, axes)
        ERR.print(f"{short(page)}: the frontier, as a chart and a table")
    if as_json:
        plain = points.astype(object).where(points.notna(), None).to_dict("records")
        print_json({"comparisons": [], "frontier": plain})
    else:
        _print_points(points, axes)


def _print_comparison(found: Comparison, threshold: int | None) -> None:
    a, b = found.a.name, found.b.name
    days = found.a.days["day"].to_pylist()
    OUT.print(styled(f"{b} instead of {a}, {days[0]} to {days[-1]}", "bold"))
    OUT.print(f"{found.moved_share:.1%} of the creators' money would go to somebody else.\n")
    _print_amounts("goes to", found.totals, a, b)
    _print_amounts("from", found.parts, a, b)
    measures = Table("measure")
    for side in (a, b):
        measures.add_column(side, justify="right")
    for name, row in found.measures.iterrows():
        measures.add_row(str(name).replace("_", " "), f"{row['a']:.4g}", f"{row['b']:.4g}")
    OUT.print(measures, "")
    for title, table, head in (
        ("by followers", found.by_followers, "followers"),
        ("by pay under " + a, found.by_size, "tenth"),
    ):
        groups = Table(head, title=title)
        for column in ("creators", "gain", "lose", a, b, "change"):
            groups.add_column(column, justify="right")
        for name, row in table.iterrows():
            groups.add_row(
                str(name),
                *(str(row[n]) for n in ("creators", "gain", "lose")),
                *(money(int(row[n])) for n in ("a", "b", "change")),
            )
        OUT.print(groups, "")
    _print_creators("gain most", found.creators.head(10), a, b)
    _print_creators("lose most", found.creators.tail(10).iloc[::-1], a, b)
    if threshold is not None:
        crossing = found.crossing(threshold)
        up = int((crossing["crosses"] == "up").sum())
        OUT.print(
            f"{up} creators reach {money(threshold)} under {b} and not under {a};"
            f" {len(crossing) - up} the other way round"
        )


def _print_amounts(head: str, table: pd.DataFrame, a: str, b: str) -> None:
    shown = Table(head)
    for column in (a, b, "change"):
        shown.add_column(column, justify="right")
    for name, row in table.iterrows():
        shown.add_row(str(name), *(money(int(row[side])) for side in ("a", "b", "change")))
    OUT.print(shown, "")


def _print_creators(title: str, table: pd.DataFrame, a: str, b: str) -> None:
    parts = ("ads", "pulse", "carry", "coins", "bonus")
    shown = Table("creator", title=title)
    for column in (a, b, "change", *parts):
        shown.add_column(column, justify="right")
    for name, row in table.iterrows():
        shown.add_row(
            str(name),
            *(money(int(row[f"total_{side}"])) for side in ("a", "b", "change")),
            *(money(int(row[f"{part}_change"])) for part in parts),
        )
    OUT.print(shown, "")


def _print_points(points: pd.DataFrame, axes: Sequence[str]) -> None:
    every = ("efficiency", "small_creators_share", "gini", "top_1_percent_share", "moved_share")
    shown = Table(*axes, title="frontier")
    names = [name for name in every if name in points]  # a sketch tells fewer of them
    for name in names:
        shown.add_column(name.replace("_", " "), justify="right")
    shown.add_column("")
    for n, row in enumerate(points.to_dict("records")):
        where: list[Any] = ["as it is" if n == 0 else str(row[axis]) for axis in axes]
        if row["problem"]:
            shown.add_row(*where, *([""] * len(names)), row["problem"], style="dim")
        else:
            shown.add_row(
                *where,
                *(f"{row[name]:.4f}" for name in names),
                "beaten" if row["dominated"] else "",
                style="dim" if row["dominated"] else None,
            )
    OUT.print(shown)
