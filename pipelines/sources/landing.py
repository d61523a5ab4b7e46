"""Landing files into tables: every row is judged, none is lost, and a file that cannot be read stops the run.

What belongs here: reading `landing/<table>/<day>/*.(parquet|csv|csv.gz|jsonl)`, casting, the verdict on each row,
exact duplicates, quarantine. What a row must keep is declared in `schema.py`.

A row ends in exactly one of three places: the table, the count of exact duplicates, or `quarantine` with a reason.
Nothing here depends on the order of rows or files: of rows that share an id and differ, all go to quarantine, and a
row that is bad in itself neither is a duplicate nor makes a conflict.

One rule for all formats: column names count without case and surrounding blanks, values without surrounding blanks. Text
formats hand over every value as the text that stands in the file, so `1e3` in JSON is no more a whole number than in CSV.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import json
import os
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from itertools import islice
from pathlib import Path
from typing import Any, TextIO, cast

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.schema import Column, Table
from pipelines.sources.errors import SourceError
from pipelines.warehouse import Connection, DayWriter

SUFFIXES = (".parquet", ".csv", ".csv.gz", ".jsonl")
BATCH_ROWS = 20_000

_INTEGERS = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT", "UHUGEINT")
_TYPED_AS = {  # types of Parquet columns that need no look at the text before they are cast
    "BIGINT": _INTEGERS,
    "DOUBLE": ("FLOAT", "DOUBLE", *_INTEGERS),
    "BOOLEAN": ("BOOLEAN",),
    "TIMESTAMP": ("TIMESTAMP", "TIMESTAMP_NS", "TIMESTAMP_MS", "TIMESTAMP_S", "TIMESTAMP WITH TIME ZONE"),
}
_KIND = {
    "BIGINT": "a whole number",
    "DOUBLE": "a number",
    "BOOLEAN": "true or false",
    "TIMESTAMP": "a time",
    "VARCHAR": "text",
    "VARCHAR[]": "a list",
    "DATE": "a day",
}
_SEPARATOR = "\0"  # between the values of a record on its way to DuckDB; a record that holds one itself is refused
_RECORDS = pa.schema([("vals", pa.string()), ("line", pa.int64()), ("complaint", pa.string()), ("record", pa.string())])
_DUPLICATE = "duplicate"  # verdict of a good row that is already there; every other verdict is a reason for quarantine


@dataclass(frozen=True)
class LoadReport:
    """What became of a table's day. rows = loaded + duplicates + quarantined."""

    table: str
    day: date
    files: int
    rows: int
    loaded: int
    duplicates: int
    quarantined: int
    reasons: dict[str, int]
    ignored_columns: tuple[str, ...]


def landing_files(landing: Path, table: str, day: date) -> list[Path]:
    """Files of a table's day, in name order; hidden ones are nobody's.

    Raises
    ------
    SourceError
        Something lies in the table's folder that no run would ever read: a folder that is not a day, a loose file, a file
        with an unknown ending, a sub-folder.
    """
    for entry in _visible(landing / table):
        if not (entry.is_dir() and _is_day(entry.name)):
            raise SourceError(f"{entry}: not a folder of a day such as {day}; rename it or move it out of the landing folder")
    paths = _visible(landing / table / day.isoformat())
    for path in paths:
        if not path.name.endswith(SUFFIXES):
            raise SourceError(f"{path}: not one of {', '.join(SUFFIXES)}; rename it or move it out of the landing folder")
        if not path.is_file():
            raise SourceError(f"{path}: not a file; move what it holds up, or the broken link out of the landing folder")
        if not path.name.isprintable():
            raise SourceError(f"{str(path)!a}: a name with unprintable characters; rename it")
    return paths


def _visible(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if not p.name.startswith(".")) if folder.is_dir() else []


def _is_day(name: str) -> bool:
    try:
        return date.fromisoformat(name).isoformat() == name
    except ValueError:
        return False


def load_day(writer: DayWriter, landing: Path, table: Table) -> LoadReport:
    """Replace a table's day by what its landing files say now.

    Raises
    ------
    SourceError
        A file cannot be read, or lacks a column; names the file and, where known, the line. Or there is no file, though the
        table has a landing folder (daily tables) or had files on that day before. The caller's transaction is left to
        roll back.
    """
    con, day = writer.con, writer.day
    paths = landing_files(landing, table.name, day)
    _expect_files(con, landing, table, day, paths)
    _create_stage(con, table, day)
    deliveries = [_Delivery.of(path, landing) for path in paths]
    for delivery in deliveries:
        _stage_file(con, table, day, delivery)
    _judge_repeats(con, table, deliveries)
    for delivery in deliveries:
        delivery.check_unchanged()
    columns = ", ".join(c.name for c in table.landing_columns)
    order = ", ".join([*(column for column, _ in table.references), *table.key])
    loaded = writer.replace(table.name, f"SELECT DATE '{day}' AS day, {columns} FROM stage WHERE verdict IS NULL ORDER BY {order}")
    return _record(con, table, day, deliveries, loaded)


def _expect_files(con: Connection, landing: Path, table: Table, day: date, paths: list[Path]) -> None:
    if paths:
        return
    folder = landing / table.name / day.isoformat()
    before = con.execute("SELECT file FROM landing_files WHERE table_name = ? AND day = ? ORDER BY file", [table.name, day]).fetchall()
    if before:
        gone = ", ".join(str(row[0]) for row in before)
        raise SourceError(f"{folder}: no files, but {gone} was loaded before. Bring it back, or put a corrected file in its place.")
    if table.kind == "daily" and folder.parent.is_dir():
        raise SourceError(
            f"{folder}: no files for {table.name} on {day}. Deliver them; if nothing happened that day,"
            " put a CSV file there that has only the header line."
        )


@dataclass
class _Delivery:
    """One landing file and the columns of it that the table does not have; notices if the file changes while it is read."""

    path: Path
    name: str
    state: tuple[int, ...]
    sha256: str
    ignored: set[str]

    @classmethod
    def of(cls, path: Path, landing: Path) -> _Delivery:
        with _naming(path), path.open("rb") as stream:
            state = _state(os.fstat(stream.fileno()))
            return cls(path, path.relative_to(landing).as_posix(), state, hashlib.file_digest(stream, "sha256").hexdigest(), set())

    def check_unchanged(self) -> None:
        with _naming(self.path):
            if _state(self.path.stat()) != self.state:
                raise SourceError(f"{self.path}: changed while it was read; deliver files by write and rename, then start again")


def _state(stat: os.stat_result) -> tuple[int, ...]:
    return stat.st_size, stat.st_mtime_ns, stat.st_ino, stat.st_dev


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Whatever goes wrong inside is a SourceError that names the file."""
    try:
        yield
    except (OSError, UnicodeError, duckdb.Error, pa.ArrowException) as error:
        raise SourceError(f"{path}: cannot be read: {str(error).splitlines()[0]}") from error


# ----------------------------------------------------------------------------------------------------------------------
# Reading: a file as a relation of records


@dataclass(frozen=True)
class _Scan:
    """One file as DuckDB sees it.

    `relation` follows FROM. It has the columns `line`, `complaint` (why a record cannot be looked at column by column, or NULL)
    and `record` (its text, where the file is text). `columns` maps each name in the file to its type and to the SQL that reads
    it; `raw` is the SQL of the record as it came.
    """

    relation: str
    columns: dict[str, tuple[str, str]]
    raw: str


@contextmanager
def _scanning(con: Connection, table: Table, delivery: _Delivery) -> Iterator[_Scan]:
    path = delivery.path
    if path.name.endswith(".parquet"):
        with _naming(path):
            yield _scan_parquet(con, path)
        return
    if not delivery.state[0]:
        raise SourceError(f"{path}: an empty file; for a day without rows put a CSV file there that has only the header line")
    stopped: list[SourceError] = []  # DuckDB makes an error of its own out of one it meets while it pulls records
    if path.name.endswith(".jsonl"):
        header, records = [c.name for c in table.columns], _json_records(path, table, delivery.ignored)
    else:
        records = _csv_records(path)
        header = str(next(records)[0]).split(_SEPARATOR)
        _refuse_repeated(path, header)

    def batches() -> Iterator[pa.RecordBatch]:
        try:
            while rows := list(islice(records, BATCH_ROWS)):
                columns = zip(*rows, strict=True)
                yield pa.RecordBatch.from_arrays([pa.array(c, f.type) for c, f in zip(columns, _RECORDS, strict=True)], schema=_RECORDS)
        except SourceError as error:
            stopped.append(error)
            raise

    con.register("landing_records", pa.RecordBatchReader.from_batches(_RECORDS, batches()))
    try:
        with _naming(path):
            relation = f"(SELECT string_split(vals, chr({ord(_SEPARATOR)})) AS v, line, complaint, record FROM landing_records)"
            yield _Scan(relation, {name: ("VARCHAR", f"v[{n}]") for n, name in enumerate(header, 1)}, "record")
    except SourceError as error:
        raise stopped[0] if stopped else error from error.__cause__
    finally:
        con.unregister("landing_records")


def _scan_parquet(con: Connection, path: Path) -> _Scan:
    schema = pq.read_schema(path)
    _refuse_repeated(path, schema.names)
    for column in schema:
        if pa.types.is_decimal256(column.type):  # DuckDB would read other numbers than stand there
            raise SourceError(f"{path}: column {column.name}: {column.type} holds numbers too long to be read")
    # `*` and `?` in a path would match other files too, `x=1` would become a column. Reading columns by position keeps
    # the names in the file apart from ours.
    pattern = "".join(f"[{c}]" if c in "*?[" else c for c in str(path))
    source = f"read_parquet({_string(pattern)}, file_row_number = true, hive_partitioning = false)"
    types = [str(row[1]) for row in con.execute(f"DESCRIBE FROM {source}").fetchall()[:-1]]
    places = [f"c{n}" for n in range(len(types))]
    relation = f"(SELECT *, n + 1 AS line, NULL::VARCHAR AS complaint FROM {source} AS f({', '.join([*places, 'n'])}))"
    raw = ", ".join(f"{_string(name)}, {place}" for name, place in zip(schema.names, places, strict=True))
    return _Scan(relation, dict(zip(schema.names, zip(types, places, strict=True), strict=True)), f"json_object({raw})::VARCHAR")


def _refuse_repeated(path: Path, header: Sequence[str]) -> None:
    names = [_normal(name) for name in header]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise SourceError(f"{path}: column {', '.join(map(repr, twice))} appears twice (names count without case and blanks)")


def _normal(name: str) -> str:
    return name.strip().lower()


_TextRecord = tuple[str | None, int, str | None, str]  # a row of _RECORDS


def _text_record(values: Sequence[str], width: int, line: int, text: str, complaint: str | None = None) -> _TextRecord:
    joined = _SEPARATOR.join(values)
    if not complaint and joined.count(_SEPARATOR) != width - 1:
        complaint = "holds a NUL character"
    try:
        joined.encode()
        text.encode()
    except UnicodeEncodeError:
        complaint = "not UTF-8"
        text = text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return None if complaint else joined, line, complaint, text


@contextmanager
def _lines(path: Path) -> Iterator[TextIO]:
    """Lines with their ends, as an editor counts them. Bytes that are not UTF-8 become surrogates, for their row to be refused."""
    opened = gzip.open if path.name.endswith(".gz") else open
    with opened(path, "rt", encoding="utf-8-sig", errors="surrogateescape", newline="") as stream:
        yield cast("TextIO", stream)


def _csv_records(path: Path) -> Iterator[_TextRecord]:
    """The header, then every record that is not a blank line."""
    held: list[str] = []  # lines of the present record
    begins, width = 1, 0

    def held_lines(stream: TextIO) -> Iterator[str]:
        for line in stream:
            held.append(line)
            yield line

    try:
        with _lines(path) as stream:
            for row in csv.reader(held_lines(stream), strict=True):
                text = "".join(held).rstrip("\r\n")
                if not width:
                    width = len(row) or 1
                    header = _text_record(row or [""], width, begins, text, None if text.strip() else "blank")
                    if header[2]:
                        raise SourceError(f"{path}: line 1: {header[2]}; a CSV file begins with a line of column names")
                    yield header
                elif len(row) == width:
                    yield _text_record(row, width, begins, text)
                elif text.strip():
                    yield _text_record(row, width, begins, text, f"too {'few' if len(row) < width else 'many'} columns")
                begins += len(held)
                held.clear()
    except (OSError, EOFError, zlib.error, csv.Error) as error:
        raise SourceError(f"{path}: line {begins}: cannot be read: {error}") from error
    if not width:
        raise SourceError(f"{path}: an empty file; a CSV file begins with a line of column names")


def _json_records(path: Path, table: Table, ignored: set[str]) -> Iterator[_TextRecord]:
    """Every line that is not blank: values of the table's columns, in its order, as the text that stands in the file."""
    decode = json.JSONDecoder(object_pairs_hook=_once, parse_int=str, parse_float=str, parse_constant=str).decode
    layouts: dict[tuple[str, ...], list[str | None]] = {}  # where objects with these keys have the table's columns
    number, width = 0, len(table.columns)
    try:
        with _lines(path) as stream:
            for number, line in enumerate(stream, 1):
                if not (text := line.strip()):
                    continue
                try:
                    found = decode(text)
                    if not isinstance(found, dict):
                        raise ValueError("not a JSON object")
                    if (keys := tuple(found)) not in layouts:
                        layouts[keys] = _layout(table, keys)
                        ignored |= {key.encode(errors="backslashreplace").decode() for key in set(keys) - set(layouts[keys])}
                    values = [_json_text(c, found.get(key)) for c, key in zip(table.columns, layouts[keys], strict=True)]
                    yield _text_record(values, width, number, text)
                except (ValueError, RecursionError) as error:
                    complaint = {json.JSONDecodeError: "not JSON", RecursionError: "nested too deeply"}.get(type(error), str(error))
                    yield _text_record((), width, number, text, complaint)
    except (OSError, EOFError, zlib.error) as error:
        raise SourceError(f"{path}: line {number + 1}: cannot be read: {error}") from error


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key appears twice")
    return found


def _layout(table: Table, keys: tuple[str, ...]) -> list[str | None]:
    places = {_normal(key): key for key in keys}
    if len(places) < len(keys):
        raise ValueError("a key appears twice")
    return [places.get(c.name) for c in table.columns]


def _json_text(c: Column, value: Any) -> str:
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list) and c.type == "VARCHAR[]":
        return json.dumps(value, ensure_ascii=False)
    raise ValueError(f"{c.name}: not {_KIND[c.type]}")


# ----------------------------------------------------------------------------------------------------------------------
# Judging: records into the stage, each with its verdict


def _create_stage(con: Connection, table: Table, day: date) -> None:
    columns = ", ".join(f"{c.name} {c.type}" for c in table.landing_columns)
    con.execute(f"CREATE OR REPLACE TEMP TABLE stage ({columns}, file VARCHAR, line BIGINT, verdict VARCHAR, raw VARCHAR)")
    for column, target in table.references:
        con.execute(f"CREATE OR REPLACE TEMP TABLE known_{column} AS SELECT DISTINCT {column} FROM {target} WHERE day <= ?", [day])


def _stage_file(con: Connection, table: Table, day: date, delivery: _Delivery) -> None:
    with _scanning(con, table, delivery) as scan:
        names = {_normal(name): name for name in scan.columns}
        missing = [c.name for c in table.landing_columns if c.required and c.default is None and c.name not in names]
        if missing:
            found = ", ".join(scan.columns)
            raise SourceError(f"{delivery.path}: column {', '.join(missing)} is missing (found: {found}); docs/data.md lists the columns")
        con.execute(f"INSERT INTO stage {_judged(table, day, scan)}", {"file": delivery.name})
        delivery.ignored |= {name for normal, name in names.items() if normal not in {c.name for c in table.columns}}


def _judged(table: Table, day: date, scan: _Scan) -> str:
    """SQL of the stage's rows of one file."""
    given = {_normal(name): place for name, place in scan.columns.items()}
    typed: list[str] = []
    verdicts = ["complaint"]
    for c in table.landing_columns:
        if c.name not in given:
            typed.append(f"NULL::{c.type} AS {c.name}, true AS no_{c.name}")
        else:
            typed.append(f"{_cast(c, *given[c.name])} AS {c.name}, {_is_missing(*given[c.name])} AS no_{c.name}")
        if c.required and c.default is None:
            verdicts.append(f"CASE WHEN no_{c.name} THEN '{c.name}: missing' END")
        verdicts.append(f"CASE WHEN NOT no_{c.name} AND {c.name} IS NULL THEN '{c.name}: not {_KIND[c.type]}' END")
        if c.rule:
            verdicts.append(f"CASE WHEN NOT ({c.rule}) THEN '{c.name}: {c.complaint}' END")
    if "day" in given:
        found = f"TRY_CAST({given['day'][1]}::VARCHAR AS DATE)"
        typed.append(f"NOT {_is_missing(*given['day'])} AND {found} IS DISTINCT FROM DATE '{day}' AS other_day")
        verdicts.append("CASE WHEN other_day THEN 'day: not the day of its folder' END")
    if any(c.name == "ts" for c in table.columns):
        verdicts.append(f"CASE WHEN ts::DATE <> DATE '{day}' THEN 'ts: outside its day' END")
    joins = ""
    for column, target in table.references:
        joins += f" LEFT JOIN (SELECT {column} AS k_{column} FROM known_{column}) ON {column} = k_{column}"
        verdicts.append(f"CASE WHEN {column} IS NOT NULL AND k_{column} IS NULL THEN '{column}: unknown, not in {target}' END")
    values = ", ".join(f"coalesce({c.name}, {c.default})" if c.default else c.name for c in table.landing_columns)
    kept = "record" if scan.raw == "record" else f"CASE WHEN verdict IS NOT NULL THEN {scan.raw} END"
    return f"""
        WITH typed AS (SELECT {", ".join(typed)}, s.* FROM {scan.relation} AS s),
             judged AS (SELECT *, coalesce({", ".join(verdicts)}) AS verdict FROM typed{joins})
        SELECT {values}, $file, line, verdict, {kept} FROM judged"""


def _is_missing(found: str, value: str) -> str:
    match found:
        case "VARCHAR":
            return f"coalesce(trim({value}), '') = ''"
        case "BLOB":
            return f"coalesce(octet_length({value}), 0) = 0"
        case _:
            return f"{value} IS NULL"


def _cast(c: Column, found: str, value: str) -> str:
    """SQL that gives the value in the column's type, or NULL; never rounds, never guesses."""
    typed = found in _TYPED_AS.get(c.type, ())
    if found == "BLOB":  # what some writers make of text
        value = f"TRY(decode({value}))"
    text = f"trim({value}::VARCHAR)"
    match c.type:
        case "BIGINT" if not typed:
            return f"CASE WHEN regexp_full_match({text}, '[+-]?[0-9]+([.]0*)?') THEN TRY_CAST({text} AS BIGINT) END"
        case "DOUBLE":
            number = f"TRY_CAST({value} AS DOUBLE)"
            if not typed:
                form = r"[+-]?([0-9]+[.]?[0-9]*|[.][0-9]+)([eE][+-]?[0-9]+)?"
                number = f"CASE WHEN regexp_full_match({text}, '{form}') THEN TRY_CAST({text} AS DOUBLE) END"
            return f"CASE WHEN {number} = 0 THEN 0.0 WHEN isfinite({number}) THEN {number} END"  # one zero, not two
        case "BOOLEAN" if not typed:
            return f"CASE lower({text}) WHEN '1' THEN true WHEN 'true' THEN true WHEN '0' THEN false WHEN 'false' THEN false END"
        case "TIMESTAMP" if not typed:  # a cast to TIMESTAMP would drop the offset without a word
            return f"TRY_CAST({text} AS TIMESTAMPTZ)::TIMESTAMP"
        case "VARCHAR[]":
            return _cast_list(found, value, text)
        case "VARCHAR":
            whole = ("VARCHAR", "BLOB", "UUID", *_INTEGERS)
            # An id that went through a float may be another one by now; a nested value is no text.
            if "(" in found.removeprefix("DECIMAL(") or "[" in found or (found not in whole and c.name.endswith("_id")):
                return "NULL::VARCHAR"
            return f"CASE WHEN NOT contains({text}, chr(0)) THEN nullif({text}, '') END"
        case _:
            return f"TRY_CAST({value} AS {c.type})"


def _cast_list(found: str, value: str, text: str) -> str:
    """A sorted set of texts, from a list column, a JSON list or text with `;`; NULL if an element is missing or nested."""
    if found.endswith("[]"):
        items = f"TRY_CAST({value} AS VARCHAR[])"
    else:
        items = f"""CASE WHEN starts_with({text}, '[') THEN TRY(from_json({text}, '["VARCHAR"]')) ELSE string_split({text}, ';') END"""
    bad = f"list_filter({items}, lambda t: t IS NULL OR contains(t, chr(0)) OR trim(t)[1] IN ('[', '{{'))"
    good = f"list_sort(list_distinct(list_filter(list_transform({items}, lambda t: trim(t)), lambda t: t <> '')))"
    return f"CASE WHEN len({bad}) = 0 THEN {good} END"


def _string(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _judge_repeats(con: Connection, table: Table, deliveries: Sequence[_Delivery]) -> None:
    """Good rows with one id: all are conflicts if any two differ; otherwise the first by file and line stays, the others are duplicates."""
    key = table.key[0]
    content = ", ".join(c.name for c in table.landing_columns)
    conflict = f"{key}: duplicate with different content"
    con.execute(
        f"""CREATE OR REPLACE TEMP TABLE repeated AS
            WITH again AS (SELECT hash({key}) FROM stage WHERE verdict IS NULL GROUP BY ALL HAVING count(*) > 1),
                 copies AS (SELECT rowid AS id, {key}, file, line, to_json(struct_pack({content}))::VARCHAR AS content
                            FROM stage WHERE verdict IS NULL AND hash({key}) IN (FROM again))
            SELECT id, CASE WHEN min(content) OVER same <> max(content) OVER same THEN '{conflict}'
                            WHEN row_number() OVER (same ORDER BY file, line) > 1 THEN '{_DUPLICATE}' END AS verdict
            FROM copies WINDOW same AS (PARTITION BY {key})"""
    )
    con.execute("UPDATE stage SET verdict = repeated.verdict FROM repeated WHERE stage.rowid = repeated.id")
    torn = {str(row[0]) for row in con.execute("SELECT DISTINCT file FROM stage WHERE verdict = ?", [conflict]).fetchall()}
    for delivery in deliveries:
        if delivery.name in torn and delivery.path.name.endswith(".parquet"):
            # Making JSON of every row in case it will turn out to be a conflict would take longer than all the rest.
            with _scanning(con, table, delivery) as scan:
                con.execute(
                    f"""UPDATE stage SET raw = s.raw FROM (SELECT line, {scan.raw} AS raw FROM {scan.relation}
                          WHERE line IN (SELECT line FROM stage WHERE file = $file AND verdict = $conflict)) AS s
                        WHERE stage.file = $file AND stage.verdict = $conflict AND stage.line = s.line""",
                    {"file": delivery.name, "conflict": conflict},
                )


# ----------------------------------------------------------------------------------------------------------------------
# Recording


def _record(con: Connection, table: Table, day: date, deliveries: Sequence[_Delivery], loaded: int) -> LoadReport:
    """Write `quarantine` and `landing_files` from the stage, and drop it."""
    which = [table.name, day]
    con.execute("DELETE FROM quarantine WHERE table_name = ? AND day = ?", which)
    con.execute("DELETE FROM landing_files WHERE table_name = ? AND day = ?", which)
    con.execute(
        f"""INSERT INTO quarantine BY NAME SELECT ? AS table_name, ?::DATE AS day, file, line, verdict AS reason, raw
            FROM stage WHERE verdict <> '{_DUPLICATE}' ORDER BY file, line""",
        which,
    )
    files = [
        [d.name for d in deliveries],
        [d.sha256 for d in deliveries],
        [d.state[0] for d in deliveries],
        [sorted(d.ignored) for d in deliveries],
    ]
    types = [pa.string(), pa.string(), pa.int64(), pa.list_(pa.string())]
    delivered = pa.table([pa.array(v, t) for v, t in zip(files, types, strict=True)], names=["file", "sha256", "bytes", "ignored_columns"])
    con.register("delivered", delivered)
    con.execute(
        f"""INSERT INTO landing_files BY NAME
            SELECT ? AS table_name, ?::DATE AS day, d.*, coalesce(n.rows, 0) AS rows, coalesce(n.loaded, 0) AS loaded,
                   coalesce(n.duplicates, 0) AS duplicates, coalesce(n.rows - n.loaded - n.duplicates, 0) AS quarantined
            FROM delivered d LEFT JOIN (SELECT file, count(*) AS rows, count(*) FILTER (verdict IS NULL) AS loaded,
                                               count(*) FILTER (verdict = '{_DUPLICATE}') AS duplicates FROM stage GROUP BY file) n
            USING (file) ORDER BY file""",
        which,
    )
    con.unregister("delivered")
    reasons = con.execute(
        "SELECT reason, count(*) FROM quarantine WHERE table_name = ? AND day = ? GROUP BY reason ORDER BY 2 DESC, 1", which
    ).fetchall()
    totals = con.execute(
        "SELECT sum(rows), sum(loaded), sum(duplicates), sum(quarantined) FROM landing_files WHERE table_name = ? AND day = ?", which
    ).fetchone()
    rows, judged_good, duplicates, quarantined = (int(n or 0) for n in totals or ())
    if (loaded, rows) != (judged_good, loaded + duplicates + quarantined) or quarantined != sum(n for _, n in reasons):
        raise AssertionError(f"{table.name} {day}: {rows} rows became {loaded} loaded, {duplicates} duplicates, {reasons} quarantined")
    for temporary in ("stage", "repeated", *(f"known_{column}" for column, _ in table.references)):
        con.execute(f"DROP TABLE {temporary}")
    ignored = sorted(set().union(*(d.ignored for d in deliveries)))
    return LoadReport(
        table.name, day, len(deliveries), rows, loaded, duplicates, quarantined, {str(r): int(n) for r, n in reasons}, tuple(ignored)
    )
