"""Files of another layout into the landing folder, as a map of their columns says.

What belongs here: doing what the map says, value by value, and splitting by UTC day. Nothing is
dropped and nothing repaired: a value that cannot be converted goes on as it came, is counted and
shown, and landing puts its row in quarantine with the value in it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb

from pipelines.files import replacing
from pipelines.schema import DAILY, LANDING, Column, Table
from pipelines.sources.errors import SourceError
from pipelines.sources.landing import as_time, cast_value
from pipelines.sources.mapping import TIMES, ColumnMap, From, guess, units_of
from pipelines.sources.records import Delivery, Scan, first_keys, is_json, normal, scanning
from pipelines.sql import MACROS, as_text
from pipelines.store.warehouse import Connection

SAMPLE_ROWS = 1_000
# of a number whose unit is changed: enough for any amount of money and any time
_EXACT = "DECIMAL(38, 18)"
_NUMBER = r"[+-]?([0-9]{1,18}([.][0-9]{0,18})?|[.][0-9]{1,18})"


@dataclass(frozen=True)
class ForeignImport:
    """What was written.

    Attributes
    ----------
    rows : rows written
    days : the same by UTC day
    standing_in : columns that nothing is mapped to, each with what stands in
    unchanged : by column: how many values could not be converted and went on as they came
    examples : by column: one such value
    without_time : rows whose time cannot be read; they are in the first day's file
    unclear_times : times without an offset in the hour that a clock shows twice or skips
    rejected : rows with too few or too many columns, or not JSON; written to the rejects file
    """

    table: str
    rows: int
    days: dict[date, int]
    files: list[str]
    standing_in: dict[str, str]
    unchanged: dict[str, int] = field(default_factory=dict)
    examples: dict[str, str] = field(default_factory=dict)
    without_time: int = 0
    unclear_times: int = 0
    rejected: int = 0


def first_map(table: Table, paths: Sequence[Path], delimiter: str = ",") -> str:
    """A first map, guessed from the header of the first file and a sample of its rows.

    Raises
    ------
    SourceError
        The file cannot be read.
    """
    path = paths[0]
    keys = first_keys(path, SAMPLE_ROWS) if is_json(path) else []
    with duckdb.connect() as con:
        asked = _with_columns(table, keys)
        with scanning(con, asked, Delivery.of(path, path.parent), delimiter) as scan:
            names = list(scan.columns)
            values = ", ".join(f"{scan.columns[name][1]}::VARCHAR" for name in names)
            rows = con.execute(
                f"SELECT {values} FROM {scan.relation} WHERE complaint IS NULL LIMIT {SAMPLE_ROWS}"
            ).fetchall()
    columns = zip(*rows, strict=True) if rows else [()] * len(names)
    sample = {n: [v for v in c if v] for n, c in zip(names, columns, strict=True)}
    return guess(table, sample, delimiter)


def import_files(
    paths: Sequence[Path],
    landing: Path,
    columns: ColumnMap,
    *,
    day: date | None = None,
    name: str | None = None,
    rejects: Path | None = None,
    progress: Callable[[str], None] | None = None,
) -> ForeignImport:
    """Write files as `<landing>/<table>/<UTC day>/<name>.parquet`, as the map says.

    A daily table is split by the UTC day of `ts`; a snapshot goes to `day`. Importing again under
    the same name replaces the files.

    Parameters
    ----------
    day
        Of a snapshot. Default: the first day for which `landing` has rows of a daily table.
    name
        Of the files that are written. Default: the first file's.
    rejects
        Where records go that are no row at all; without it the first of them stops the import.
    progress
        Called with one line per file and day.

    Raises
    ------
    SourceError
        A file cannot be read, lacks a column of the map or has records that are no rows; no row has
        a time; a snapshot has no day. Names the file, and the line or column. Nothing is written.
    """
    table = LANDING[columns.table]
    if table.kind == "snapshot" and day is None:
        day = _first_day(landing)
    landing.mkdir(parents=True, exist_ok=True)
    with (
        TemporaryDirectory(prefix=".import-", dir=landing) as scratch,
        duckdb.connect(f"{scratch}/import.duckdb") as con,
    ):
        con.execute(f"SET TimeZone = 'UTC'; {MACROS}")
        for number, path in enumerate(paths):
            if progress:
                progress(f"{path.name}: reading")
            _stage(con, table, columns, path, first=number == 0)
        rejected = _reject(con, rejects)
        unchanged, examples = _unchanged(con, table, columns)
        days, without_time = _days(con, table, day)
        files = []
        for its_day, rows in days.items():
            target = (
                landing / table.name / its_day.isoformat() / f"{name or _stem(paths[0])}.parquet"
            )
            _write(con, table, columns, target, its_day, min(days), unchanged)
            files.append(target.relative_to(landing).as_posix())
            if progress:
                progress(f"{table.name} {its_day}: {rows:,} rows")
        return ForeignImport(
            table.name,
            sum(days.values()),
            days,
            files,
            columns.standing_in,
            unchanged,
            examples,
            without_time,
            _number(con, "SELECT count(*) FILTER (unclear) FROM stage"),
            rejected,
        )


def _first_day(landing: Path) -> date:
    days = [
        date.fromisoformat(folder.name)
        for table in DAILY
        for folder in (landing / table.name).glob("????-??-??")
        if any(folder.iterdir())
    ]
    if not days:
        raise SourceError(
            f"{landing}: no day yet that a snapshot could hold from: import the events first, or"
            " say --day"
        )
    return min(days)


def _stem(path: Path) -> str:
    return path.name.split(".")[0]


def _with_columns(table: Table, names: Sequence[str]) -> Table:
    """The table as it would be with these columns, any of them text or a list."""
    held = tuple(Column(normal(name), "VARCHAR[]", "of a foreign file") for name in names)
    return replace(table, columns=held, references=())


def _stage(con: Connection, table: Table, columns: ColumnMap, path: Path, *, first: bool) -> None:
    """Append a file's rows, converted; `bad_<column>` is what could not be."""
    asked = _with_columns(table, columns.source_columns)
    with scanning(con, asked, Delivery.of(path, path.parent), columns.delimiter) as scan:
        given = {normal(name): place for name, place in scan.columns.items()}
        if missing := [name for name in columns.source_columns if name not in given]:
            raise SourceError(
                f"{path}: column {', '.join(missing)} is missing (found: {', '.join(given)}); the"
                " map asks for it"
            )
        cells, at = [], "NULL::TIMESTAMP"
        for c in table.landing_columns:
            if c.name not in columns.columns:
                continue
            value, bad = _value(c, columns.columns[c.name], scan, given, json=is_json(path))
            cells += [f"{value} AS {c.name}", f"{bad} AS bad_{c.name}"]
            if c.name == "ts":
                source = columns.columns["ts"]
                at = value if _converts(source) else cast_value(c, *given[source.column or ""])
        unclear = _unclear(columns.columns.get("ts"), given)
        into = "CREATE TABLE stage AS" if first else "INSERT INTO stage BY NAME"
        text = "record" if scan.raw == "record" else "NULL::VARCHAR"
        con.execute(
            f"""{into} SELECT {", ".join(cells)}, {at} AS at_utc, {unclear} AS unclear, complaint,
                {text} AS rejected, {as_text(path.name)} AS file, line FROM {scan.relation}"""
        )


def _converts(source: From) -> bool:
    return bool(
        source.unit or source.times or source.round or source.format or source.zone
        or source.separator or source.positive or source.true or source.false or source.prefix
    )  # fmt: skip


def _value(
    c: Column, source: From, scan: Scan, given: dict[str, tuple[str, str]], *, json: bool
) -> tuple[str, str]:
    """SQL of a column's value, and of what stands in the file where it is none."""
    if source.value is not None:
        listed = [source.value] if isinstance(source.value, str | int) else source.value
        text = ";".join(str(v).lower() if isinstance(v, bool) else str(v) for v in listed)
        return as_text(text), "NULL::VARCHAR"
    if source.hash == "row":
        whole = "record" if json else _joined(place for _, place in given.values())
        return f"md5({whole})", "NULL::VARCHAR"
    if source.hash:
        return f"md5({_joined(given[name][1] for name in source.hash)})", "NULL::VARCHAR"
    found, place = given[source.column or ""]
    text = f"trim({place}::VARCHAR)"
    nothing = ", ".join(map(as_text, ("", r"\N", *source.empty)))
    absent = f"coalesce({text}, '') IN ({nothing})"
    if not _converts(source):
        kept = f"CASE WHEN NOT ({absent}) THEN {place} END" if source.empty else place
        return kept, "NULL::VARCHAR"
    value = f"CASE WHEN NOT ({absent}) THEN {_converted(c, source, found, place, text)} END"
    return value, f"CASE WHEN NOT ({absent}) AND ({value}) IS NULL THEN {text} END"


def _joined(places: Iterable[str]) -> str:
    texts = ", ".join(f"coalesce({place}::VARCHAR, '')" for place in places)
    return f"concat_ws(chr(31), {texts})"


def _converted(c: Column, source: From, found: str, place: str, text: str) -> str:
    match c.type:
        case "TIMESTAMP":
            return _time(source, found, place, text)
        case "BIGINT":
            return _whole(c, source, text)
        case "BOOLEAN":
            return _flag(source, text)
        case "VARCHAR[]":
            separator = as_text(source.separator or ";")
            return f"list_transform(string_split({text}, {separator}), lambda t: trim(t))"
        case _:
            return f"{as_text(source.prefix)} || {text}"


def _whole(c: Column, source: From, text: str) -> str:
    """A number times its unit. It is exact: what then is no whole number is refused unless the map
    says how to round.
    """
    factor = source.times or (units_of(c)[source.unit] if source.unit else Decimal(1))
    number = f"TRY(TRY_CAST({_decimal(text)} AS {_EXACT}) * {factor:f})"
    if source.round:
        whole = {"down": "floor", "nearest": "round"}[source.round]
        return f"TRY_CAST({whole}({number}) AS BIGINT)"
    return f"CASE WHEN {number} = trunc({number}) THEN TRY_CAST({number} AS BIGINT) END"


def _decimal(text: str) -> str:
    """The text of a number that fits exactly; `1e-3` is written out if no digit is lost by it."""
    out = f"TRY_CAST(TRY_CAST({text} AS DOUBLE) AS {_EXACT})"
    return (
        f"CASE WHEN regexp_full_match({text}, '{_NUMBER}') THEN {text}"
        f" WHEN regexp_full_match({text}, '{_NUMBER}[eE][+-]?[0-9]+')"
        f" AND {out}::DOUBLE = TRY_CAST({text} AS DOUBLE) THEN {out}::VARCHAR END"
    )


def _flag(source: From, text: str) -> str:
    if source.positive:
        number = f"CASE WHEN regexp_full_match({text}, '[+-]?[0-9]+([.][0-9]*)?') THEN {text} END"
        return f"TRY_CAST({number} AS DOUBLE) > 0"
    true = ", ".join(as_text(t.lower()) for t in source.true or ("1", "true", "t"))
    false = ", ".join(as_text(t.lower()) for t in source.false or ("0", "false", "f"))
    return (
        f"CASE WHEN lower({text}) IN ({true}) THEN true"
        f" WHEN lower({text}) IN ({false}) THEN false END"
    )


def _time(source: From, found: str, place: str, text: str) -> str:
    """UTC, to the microsecond."""
    if source.unit:
        micros = f"TRY_CAST({_decimal(text)} AS {_EXACT}) * {Decimal(TIMES[source.unit]) / 1_000:f}"
        return f"TRY(make_timestamp(TRY_CAST(floor({micros}) AS BIGINT)))"
    if found == "TIMESTAMP WITH TIME ZONE":
        return f"{place}::TIMESTAMP"
    local = _local(source, found, place, text)
    if not source.zone:
        return local
    return f"CASE WHEN {_has_offset(source, text)} THEN {local} ELSE {_in_zone(source, local)} END"


def _local(source: From, found: str, place: str, text: str) -> str:
    if found.startswith("TIMESTAMP"):
        return f"{place}::TIMESTAMP"
    if source.format:
        return f"TRY_STRPTIME({text}, {as_text(source.format)})::TIMESTAMP"
    return as_time(text)


def _in_zone(source: From, local: str) -> str:
    return f"TRY(timezone({as_text(source.zone or 'UTC')}, {local})::TIMESTAMP)"


def _has_offset(source: From, text: str) -> str:
    if source.format:
        return "true" if "%z" in source.format or "%Z" in source.format else "false"
    offset = r"[T ].*[0-9] ?(Z|z|UTC|[+-]\d{2}(:?\d{2})?)$"
    return f"regexp_matches({text}, '{offset}') OR regexp_full_match({text}, '[0-9.]{{9,}}')"


def _unclear(source: From | None, given: dict[str, tuple[str, str]]) -> str:
    """Whether a clock of the zone shows this time twice, or never. What is taken then is the zone's
    standard time.
    """
    if source is None or not source.zone or source.unit or source.column is None:
        return "false"
    found, place = given[source.column]
    if found == "TIMESTAMP WITH TIME ZONE":
        return "false"
    text = f"trim({place}::VARCHAR)"
    local, zone = _local(source, found, place, text), as_text(source.zone)
    moment = f"TRY(timezone({zone}, {local}))"
    same = [f"timezone({zone}, {moment} {shift} INTERVAL 1 HOUR) = {local}" for shift in ("+", "-")]
    never = f"timezone({zone}, {moment}) <> {local}"
    return f"coalesce(NOT ({_has_offset(source, text)}) AND ({' OR '.join([*same, never])}), false)"


def _reject(con: Connection, rejects: Path | None) -> int:
    """Take out records that are no row at all."""
    rows = con.execute(
        "SELECT file, line, complaint, rejected FROM stage WHERE complaint IS NOT NULL"
        " ORDER BY file, line"
    ).fetchall()
    if rows and rejects is None:
        file, line, complaint, _ = rows[0]
        raise SourceError(
            f"{file}: line {line}: {complaint}; {len(rows)} records are no row of the file. Nothing"
            " was written. To set them aside and go on: --rejects FILE"
        )
    if rows and rejects:
        with replacing(rejects) as path:
            path.write_text("".join(f"{raw}\n" for *_, raw in rows), encoding="utf-8")
        con.execute("DELETE FROM stage WHERE complaint IS NOT NULL")
    return len(rows)


def _unchanged(
    con: Connection, table: Table, columns: ColumnMap
) -> tuple[dict[str, int], dict[str, str]]:
    counts, examples = {}, {}
    for name in (c.name for c in table.landing_columns if c.name in columns.columns):
        n, example = con.execute(
            f"""SELECT count(bad_{name}), arg_min(file || ':' || line || ' ' || bad_{name},
                (file, line)) FILTER (bad_{name} IS NOT NULL) FROM stage"""
        ).fetchall()[0]
        if n:
            counts[name], examples[name] = int(n), str(example)
    return counts, examples


def _days(con: Connection, table: Table, day: date | None) -> tuple[dict[date, int], int]:
    """Rows by the day they go to, and how many have no time."""
    total = _number(con, "SELECT count(*) FROM stage")
    if table.kind == "snapshot" and day:
        return {day: total}, 0
    timed = con.execute(
        "SELECT at_utc::DATE, count(*) FROM stage WHERE at_utc IS NOT NULL GROUP BY 1 ORDER BY 1"
    ).fetchall()
    days = {its_day: int(n) for its_day, n in timed}
    lost = total - sum(days.values())
    if not days:
        raise SourceError(
            f"{table.name}: no row has a time that can be read: say its unit, format or zone in the"
            " map (columns.ts). Nothing was written"
        )
    days[min(days)] += lost
    return days, lost


def _write(
    con: Connection,
    table: Table,
    columns: ColumnMap,
    target: Path,
    day: date,
    first: date,
    unchanged: dict[str, int],
) -> None:
    """One file. A column with values that could not be converted is text in it, as they are."""
    names = [c.name for c in table.landing_columns if c.name in columns.columns]
    cells = ", ".join(
        f"coalesce({n}::VARCHAR, bad_{n}) AS {n}" if n in unchanged else n for n in names
    )
    which = "true"
    if table.kind == "daily":
        which = f"coalesce(at_utc::DATE, DATE '{first}') = DATE '{day}'"
    with replacing(target) as path:
        con.execute(
            f"COPY (SELECT {cells} FROM stage WHERE {which}) TO {as_text(path)} (FORMAT parquet)"
        )


def _number(con: Connection, query: str) -> int:
    return int((con.execute(query).fetchone() or (0,))[0])
