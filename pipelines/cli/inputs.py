"""The commands about files before they are money: judging them, and bringing them in."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipelines.console import (
    DAY,
    ERR,
    OUT,
    Command,
    as_json_option,
    home_option,
    option,
    print_json,
    print_summary,
    print_text,
    styled,
)
from pipelines.schema import LANDING
from pipelines.settings import Home

if TYPE_CHECKING:
    from pipelines.sources.foreign import ForeignImport
    from pipelines.sources.trial import Judged

_SHOWN_DAYS = 8  # of a file with rows of many
_PATH = click.Path(exists=True, path_type=Path)


@click.command(cls=Command)
@click.argument("paths", nargs=-1, required=True, type=_PATH)
@option("--table", type=click.Choice(list(LANDING)), help="What loose files are.")
@option("--day", type=DAY, help="Their day. Default: the one that most of their rows have.")
@as_json_option
@click.pass_obj
def check(
    home: Home, paths: tuple[Path, ...], table: str | None, day: datetime | None, as_json: bool
) -> None:
    """What a run would load, drop and put in quarantine, and why; nothing is written.

    PATHS are files, or folders of a day, a table or a whole landing folder. Ids are judged by the
    snapshots among them, or by those of the home.

    \b
    earnings check landing/
    earnings check events.csv --table viewer_events

    Exit code 1: a run would stop at a day.
    """
    from pipelines.sources.trial import judge_files

    judged = judge_files(
        paths,
        home,
        table=table,
        day=day.date() if day else None,
        progress=None if as_json else lambda text: ERR.print(styled(text, "dim")),
    )
    if as_json:
        print_json([_as_json(one) for one in judged])
    else:
        for one in judged:
            _print_judged(one)
        bad = sum(one.refused is not None for one in judged)
        OUT.print(
            styled(f"A run would stop at {bad} of {len(judged)}.", "bold red")
            if bad
            else styled(f"A run would load all {len(judged)}.", "bold green")
        )
    if any(one.refused for one in judged):
        raise SystemExit(1)


def _as_json(result: Judged | ForeignImport) -> dict[str, Any]:
    return asdict(result) | {"days": {str(day): rows for day, rows in result.days.items()}}


def _print_judged(one: Judged) -> None:
    report = one.report
    what = f"{one.table} {one.day}: "
    if report:
        what += f"{report.rows:,} rows in {report.files} file{'s' * (report.files > 1)},"
        what += f" {report.loaded:,} loaded, {report.duplicates:,} exact duplicates,"
        what += f" {report.quarantined:,} in quarantine"
    OUT.print(styled(what, "bold"))
    if one.refused:
        OUT.print(styled(f"  a run stops here: {one.refused}", "red"))
    if report is None:
        return
    for reason, rows in report.reasons.items():
        OUT.print(f"  {rows:,} in quarantine: {reason}")
        for example in (e for e in one.examples if e.reason == reason):
            OUT.print(styled(f"      {example.file}:{example.line}  {example.raw[:120]}", "dim"))
    if one.days:
        listed = ", ".join(f"{day} ({n:,})" for day, n in list(one.days.items())[:_SHOWN_DAYS])
        more = ", ..." if len(one.days) > _SHOWN_DAYS else ""
        OUT.print(
            f"  rows of {len(one.days)} UTC days: {listed}{more}. earnings import table splits them"
        )
    for figure in report.figures:
        if figure.warning:
            OUT.print(styled(f"  warning: {figure.warning}", "yellow"))
    if report.ignored_columns:
        OUT.print(f"  columns that are not read: {', '.join(report.ignored_columns)}")
    for name, stands in one.left_out.items():
        OUT.print(f"  no column {name}: {stands} in every row")
    if one.not_judged:
        OUT.print(
            f"  not judged: whether {', '.join(one.not_judged)} is known. Give the snapshot too, or"
            " use the home that has it"
        )


@click.group(name="import")
def import_() -> None:
    """Bring files of another layout into landing/."""


@import_.command(cls=Command)
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@option(
    "--seed", default=7, help="Seed of what is modelled: verified flag, advertising, gifts, safety."
)
@as_json_option
@click.pass_obj
def kuairand(home: Home, folder: Path, seed: int, as_json: bool) -> None:
    """The KuaiRand files, as their owners publish them (Zenodo record 10439422).

    What the data set lacks is modelled, seeded, and marked so in the column `source`; docs/data.md
    says how.
    """
    from pipelines.sources.kuairand import import_kuairand

    summary = import_kuairand(
        folder, home.landing, seed=seed, progress=lambda text: ERR.print(styled(text, "dim"))
    )
    print_summary(asdict(summary), as_json)
    if not as_json:
        OUT.print(
            f"\nNext: earnings{home_option(home)} run --from {summary.first_day} --to"
            f" {summary.last_day}"
        )


@import_.command("table", cls=Command)
@click.argument("table", type=click.Choice(list(LANDING)))
@click.argument(
    "files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path)
)
@option("--map", "map_file", type=click.Path(dir_okay=False, path_type=Path), help="The map, TOML.")
@option(
    "--guess",
    is_flag=True,
    help="Show a first map, guessed from the header and a sample; with --map, write it there.",
)
@option("--delimiter", default=",", help="Between the columns of CSV, for --guess.")
@option("--day", type=DAY, help="Of a snapshot. Default: the first day that landing/ has.")
@option("--name", help="Name of the files that are written. Default: the first file's.")
@option(
    "--rejects",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where records go that are no rows; without it the first one stops the import.",
)
@as_json_option
@click.pass_obj
def import_table(
    home: Home,
    table: str,
    files: tuple[Path, ...],
    map_file: Path | None,
    guess: bool,
    delimiter: str,
    day: datetime | None,
    name: str | None,
    rejects: Path | None,
    as_json: bool,
) -> None:
    """Files of another layout into landing/, as a map of their columns says.

    CSV, JSON lines (also .gz, .zst) and Parquet. Rows go to the folder of their UTC day, a snapshot
    to the first day. Nothing is dropped: a value that cannot be converted goes on as it came, and
    its row to quarantine. docs/data.md has the whole of what a map may say.

    \b
    earnings import table viewer_events log.csv --map events.toml --guess
    earnings import table viewer_events log.csv --map events.toml
    """
    from pipelines.sources.foreign import first_map, import_files
    from pipelines.sources.mapping import ColumnMap

    if guess:
        text = first_map(LANDING[table], files, delimiter)
        if map_file:
            if map_file.exists():
                raise click.UsageError(
                    f"{map_file} is there already: --guess writes no map over it"
                )
            map_file.write_text(text + "\n", encoding="utf-8")
        print_text(text)
        if map_file:
            ERR.print(f"Written to {map_file}. Correct it, then the same command without --guess.")
        return
    if not map_file:
        raise click.UsageError("--map FILE says which column is what; --guess makes a first one")
    done = import_files(
        files,
        home.landing,
        ColumnMap.read(map_file, table),
        day=day.date() if day else None,
        name=name,
        rejects=rejects,
        progress=None if as_json else lambda text: ERR.print(styled(text, "dim")),
    )
    if as_json:
        print_json(_as_json(done))
    else:
        _print_import(done, rejects)
        folder = home.landing / table
        OUT.print(f"\nNext: earnings{home_option(home)} check {folder}")


def _print_import(done: ForeignImport, rejects: Path | None) -> None:
    OUT.print(
        f"{done.table}: {done.rows:,} rows, {len(done.files)} file{'s' * (len(done.files) > 1)} from"
        f" {min(done.days)} to {max(done.days)}"
    )
    for column, stands in done.standing_in.items():
        OUT.print(f"  nothing is mapped to {column}: {stands} in every row")
    for column, rows in done.unchanged.items():
        OUT.print(
            styled(
                f"  warning: {column}: {rows:,} values cannot be converted and go on as they came"
                f" ({done.examples[column]}); their rows will be in quarantine",
                "yellow",
            )
        )
    if done.without_time:
        OUT.print(
            styled(
                f"  warning: {done.without_time:,} rows have no time that can be read; they are in"
                f" {min(done.days)}, for quarantine",
                "yellow",
            )
        )
    if done.unclear_times:
        OUT.print(
            styled(
                f"  warning: {done.unclear_times:,} times are in an hour that the clock shows twice"
                " or skips; they were taken as standard time. Deliver times with their offset",
                "yellow",
            )
        )
    if done.rejected:
        OUT.print(styled(f"  warning: {done.rejected:,} records are in {rejects}", "yellow"))


INPUT_COMMANDS = (check, import_)
