"""What would become of files before they are delivered: the judgement of landing, in memory.

What belongs here: which table and day a file is of, and judging it without a home's warehouse. The
judgement is `landing.load_day` itself, so it cannot be milder here than it is in a run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb

from pipelines.schema import LANDING, SNAPSHOTS, Table
from pipelines.schema.invariants import InvariantError, enforce
from pipelines.settings import Home
from pipelines.sources.errors import SourceError
from pipelines.sources.landing import LoadReport, _is_day, cast_value, landing_files, load_day
from pipelines.sources.records import SUFFIXES, Delivery, normal, scanning
from pipelines.sql import MACROS
from pipelines.store.aside import in_memory
from pipelines.store.warehouse import Connection, DayWriter, transaction

EXAMPLES = 3  # rows shown for each reason


@dataclass(frozen=True)
class Example:
    """A refused row as it came."""

    reason: str
    file: str
    line: int
    raw: str


@dataclass(frozen=True)
class Judged:
    """What a run would make of a table's day.

    Attributes
    ----------
    report : rows loaded, duplicates and quarantined by reason; None where the day stops the run
    refused : why the run would stop at this day, or None
    examples : the first refused rows of each reason
    days : rows by UTC day, of a file whose rows are of several days
    not_judged : columns whose ids no snapshot was there to judge by
    left_out : columns of the table that no file has, each with what stands in
    """

    table: str
    day: date
    files: tuple[str, ...]
    report: LoadReport | None
    refused: str | None
    examples: tuple[Example, ...] = ()
    days: dict[date, int] = field(default_factory=dict)
    not_judged: tuple[str, ...] = ()
    left_out: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class _Part:
    """Files of one table's day."""

    table: Table
    day: date
    paths: tuple[Path, ...]
    loose: bool  # not in a folder of its day


def judge_files(
    paths: Sequence[Path],
    home: Home,
    *,
    table: str | None = None,
    day: date | None = None,
    progress: Callable[[str], None] | None = None,
) -> list[Judged]:
    """Judge files, or folders of them, as a run would, and write nothing.

    Parameters
    ----------
    paths
        Files; days' folders, tables' folders, or a whole landing folder.
    home
        Whose quarantine limit counts, and whose snapshots say which videos and creators there are
        if `paths` hold none.
    table, day
        What loose files are: needed where the folders do not say it. Without `day` it is the day
        that most rows of the file have.
    progress
        Called with one line per table and day.

    Raises
    ------
    SourceError
        It cannot be told which table or day a file is of.
    """
    parts = sorted(
        _parts(paths, table, day), key=lambda part: (part.table not in SNAPSHOTS, part.day)
    )
    with in_memory() as con, TemporaryDirectory() as folder:
        landing = Path(folder)
        known = {part.table.name for part in parts}
        until = max(part.day for part in parts)
        borrowed = [name for name in _references(parts) if name not in known]
        for name in borrowed:
            if _load_snapshots(con, home, LANDING[name], until, progress):
                known.add(name)
        judged = []
        for part in parts:
            if progress:
                progress(f"{part.table.name} {part.day}")
            judged.append(_judge(con, landing, part, known, home.settings.quarantine_limit))
        return judged


def _parts(paths: Sequence[Path], table: str | None, day: date | None) -> Iterator[_Part]:
    found: dict[tuple[str, date, bool], list[Path]] = {}
    for path in paths:
        for file, name, its_day in _files(path.resolve(), table):
            loose = its_day is None
            when = day or its_day or _usual_day(file, LANDING[name])
            found.setdefault((name, when, loose), []).append(file)
    for (name, when, loose), files in found.items():
        yield _Part(LANDING[name], when, tuple(sorted(files)), loose)


def _files(path: Path, table: str | None) -> Iterator[tuple[Path, str, date | None]]:
    """Every file with its table, and its day where the folders say it."""
    if path.is_file():
        yield _one_file(path, table)
    elif _is_day(path.name) and path.parent.name in LANDING:
        day = date.fromisoformat(path.name)
        for file in landing_files(path.parent.parent, path.parent.name, day):
            yield file, path.parent.name, day
    elif path.name in LANDING:
        for folder in sorted(p for p in path.iterdir() if p.is_dir() and _is_day(p.name)):
            yield from _files(folder, table)
    else:
        landing = path / "landing" if (path / "landing").is_dir() else path
        if not (inner := [landing / name for name in LANDING if (landing / name).is_dir()]):
            raise SourceError(
                f"{path}: neither a landing folder nor one of a table or day. Tables:"
                f" {', '.join(LANDING)}"
            )
        for folder in inner:
            yield from _files(folder, table)


def _one_file(path: Path, table: str | None) -> tuple[Path, str, date | None]:
    if not path.name.endswith(SUFFIXES):
        raise SourceError(f"{path}: not one of {', '.join(SUFFIXES)}")
    day, name = path.parent.name, path.parent.parent.name
    if _is_day(day) and name in LANDING and table in (None, name):
        return path, name, date.fromisoformat(day)
    if table:
        return path, table, None
    raise SourceError(
        f"{path}: which table is it? Say --table, or put it in landing/TABLE/DAY/. Tables:"
        f" {', '.join(LANDING)}"
    )


def _usual_day(path: Path, table: Table) -> date:
    days = _days_of(path, table)
    return max(sorted(days), key=lambda day: days[day]) if days else datetime.now(UTC).date()


def _days_of(path: Path, table: Table) -> dict[date, int]:
    """Rows by UTC day; none where the table or the file has no time."""
    column = next((c for c in table.landing_columns if c.name == "ts"), None)
    if column is None:
        return {}
    with duckdb.connect() as con:
        con.execute(f"SET TimeZone = 'UTC'; {MACROS}")
        with scanning(con, table, Delivery.of(path, path.parent)) as scan:
            given = {normal(name): place for name, place in scan.columns.items()}
            if "ts" not in given:
                return {}
            rows = con.execute(
                f"SELECT ({cast_value(column, *given['ts'])})::DATE, count(*) FROM {scan.relation}"
                " GROUP BY 1 ORDER BY 1"
            ).fetchall()
    return {day: int(n) for day, n in rows if day}


def _references(parts: Sequence[_Part]) -> list[str]:
    """Snapshots that the parts' ids are judged by, and what those are judged by in turn."""
    needed: list[str] = []
    tables = [part.table for part in parts]
    while tables:
        for _, target in tables.pop().references:
            if target not in needed:
                needed.insert(0, target)
                tables.append(LANDING[target])
    return needed


def _load_snapshots(
    con: Connection,
    home: Home,
    table: Table,
    until: date,
    progress: Callable[[str], None] | None,
) -> bool:
    """Load the home's snapshots of a table up to a day; whether there are any."""
    days = [day for day in home.landing_days(table.name) if day <= until]
    for day in days:
        if progress:
            progress(f"{table.name} {day}, of {home.landing}")
        load_day(DayWriter(con, day), home.landing, table)
    return bool(days)


def _judge(
    con: Connection, landing: Path, part: _Part, known: set[str], quarantine_limit: float
) -> Judged:
    folder = landing / part.table.name / part.day.isoformat()
    folder.mkdir(parents=True)
    real: dict[str, Path] = {}
    for path in part.paths:
        name, n = path.name, 1
        while name in real:
            n, name = n + 1, f"{n}-{path.name}"
        real[name] = path
        (folder / name).symlink_to(path)
    not_judged = tuple(column for column, target in part.table.references if target not in known)
    table = replace(
        part.table,
        references=tuple(pair for pair in part.table.references if pair[0] not in not_judged),
    )
    days = Counter[date]()
    for path in part.paths if part.loose else ():
        days.update(_days_of(path, part.table))
    try:
        with transaction(con):
            report = load_day(DayWriter(con, part.day), landing, table)
        examples, refused = tuple(_examples(con, table, part.day)), None
        untold = [f"known_{column}" for column in not_judged]
        enforce(con, [table.name], part.day, quarantine_limit=quarantine_limit, but=untold)
    except InvariantError as error:
        refused = str(error)
    except SourceError as error:
        report, examples, refused = None, (), str(error)
        for name, path in real.items():
            refused = refused.replace(str(folder / name), str(path))
    return Judged(
        part.table.name,
        part.day,
        tuple(map(str, part.paths)),
        report,
        refused,
        examples,
        dict(sorted(days.items())) if set(days) - {part.day} else {},
        not_judged,
        _left_out(con, part),
    )


def _examples(con: Connection, table: Table, day: date) -> Iterator[Example]:
    rows = con.execute(
        f"""SELECT reason, split_part(file, '/', -1), line, raw FROM quarantine
            WHERE table_name = ? AND day = ?
            QUALIFY row_number() OVER (PARTITION BY reason ORDER BY file, line) <= {EXAMPLES}
            ORDER BY reason, file, line""",
        [table.name, day],
    ).fetchall()
    for reason, file, line, raw in rows:
        yield Example(reason, file, line, raw or "")


def _left_out(con: Connection, part: _Part) -> dict[str, str]:
    """Columns that no file has. A line of JSON may have any, so nothing is told of those files."""
    left = {c.name: c.default for c in part.table.landing_columns}
    for path in part.paths:
        if path.name.endswith(".parquet") or ".csv" in path.suffixes:
            try:
                with scanning(con, part.table, Delivery.of(path, path.parent)) as scan:
                    left = {n: d for n, d in left.items() if n not in map(normal, scan.columns)}
            except SourceError:  # it is what refuses the day, and was said
                return {}
        else:
            return {}
    return {name: (default or "empty").strip("'") for name, default in left.items()}
