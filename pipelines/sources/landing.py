"""Landing files into tables: every row is judged, none is lost, and a file that cannot be read stops the run.

What belongs here: reading `landing/<table>/<day>/*.(parquet|csv|csv.gz|jsonl)`, casting, the verdict on each row,
exact duplicates, quarantine. What a row must keep is declared in `schema.py`.

A row ends in exactly one of three places: the table, the count of exact duplicates, or `quarantine` with a reason.
Nothing here depends on the order of rows or files: of rows that share an id and differ, all go to quarantine.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TextIO

import duckdb
import pyarrow as pa

from pipelines.schema import Column, Table
from pipelines.sources.errors import SourceError
from pipelines.warehouse import Connection, DayWriter

SUFFIXES = (".parquet", ".csv", ".csv.gz", ".jsonl")

_TYPED_AS = {  # DuckDB types that need no look at the text before they are cast
    "BIGINT": ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT", "HUGEINT"),
    "DOUBLE": ("FLOAT", "DOUBLE", "TINYINT", "SMALLINT", "INTEGER", "BIGINT"),
    "BOOLEAN": ("BOOLEAN",),
    "TIMESTAMP": ("TIMESTAMP", "TIMESTAMP_NS", "TIMESTAMP_MS", "TIMESTAMP_S", "TIMESTAMP WITH TIME ZONE"),
    "VARCHAR[]": ("VARCHAR[]",),
    "VARCHAR": ("VARCHAR",),
}
_KIND = {
    "BIGINT": "a whole number",
    "DOUBLE": "a number",
    "BOOLEAN": "true or false",
    "TIMESTAMP": "a time",
    "VARCHAR": "text",
    "VARCHAR[]": "a list",
}
_PLACES = pa.schema([("file", pa.string()), ("record", pa.int64()), ("line", pa.int64())])
_CSV_READER = type(csv.reader(()))


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


@dataclass(frozen=True)
class _Scan:
    """How DuckDB reads one file: a FROM clause with column `_record`, and the SQL type of each column it has."""

    path: Path
    relation: str
    types: dict[str, str]
    raw: str
    unreadable: str | None = None


def landing_files(landing: Path, table: str, day: date) -> list[Path]:
    """Files of a table's day, in name order.

    Raises
    ------
    SourceError
        There is no file though the table has a landing folder, or a file has an unknown ending.
    """
    folder = landing / table / day.isoformat()
    paths = sorted(p for p in folder.iterdir() if not p.name.startswith(".")) if folder.is_dir() else []
    for path in paths:
        if not path.name.endswith(SUFFIXES):
            raise SourceError(f"{path}: not one of {', '.join(SUFFIXES)}; rename it or move it out of the landing folder")
    return paths


def load_day(writer: DayWriter, landing: Path, table: Table) -> LoadReport:
    """Replace a table's day by what its landing files say now.

    Raises
    ------
    SourceError
        A file cannot be read, or lacks a column; names the file and, where known, the line. The caller's transaction is
        left to roll back.
    """
    con, day = writer.con, writer.day
    paths = landing_files(landing, table.name, day)
    if not paths and table.kind == "daily" and (landing / table.name).is_dir():
        raise SourceError(
            f"{landing / table.name / day.isoformat()}: no files for {table.name} on {day}. Deliver them; if nothing happened that day,"
            " put a file there that has only the header line."
        )
    _create_stage(con, table, day)
    ignored: set[str] = set()
    for path in paths:
        ignored |= _stage_file(con, table, day, path, landing)
    _judge_repeats(con, table)
    columns = ", ".join(c.name for c in table.landing_columns)
    key = table.key[0]
    loaded = writer.replace(
        table.name,
        f"""SELECT DATE '{day}' AS day, {columns} FROM stage WHERE reason IS NULL AND {key} NOT IN (FROM repeated)
            UNION ALL SELECT DISTINCT DATE '{day}', {columns} FROM stage WHERE reason IS NULL AND {key} IN (FROM repeated)
            ORDER BY {", ".join(r[0] for r in table.references) or key}, {key}""",
    )
    return _record(con, table, day, paths, landing, loaded, sorted(ignored))


def _create_stage(con: Connection, table: Table, day: date) -> None:
    columns = ", ".join(f"{c.name} {c.type}" for c in table.landing_columns)
    con.execute(f"CREATE OR REPLACE TEMP TABLE stage ({columns}, file VARCHAR, record BIGINT, reason VARCHAR, raw VARCHAR)")
    con.execute("CREATE OR REPLACE TEMP TABLE unsplit (file VARCHAR, line BIGINT, reason VARCHAR, raw VARCHAR)")
    for column, target in table.references:
        con.execute(f"CREATE OR REPLACE TEMP TABLE known_{column} AS SELECT DISTINCT {column} FROM {target} WHERE day <= ?", [day])


def _stage_file(con: Connection, table: Table, day: date, path: Path, landing: Path) -> set[str]:
    name = path.relative_to(landing).as_posix()
    try:
        scan = _scan(con, path)
        missing = [c.name for c in table.landing_columns if c.required and c.default is None and c.name not in scan.types]
        if missing and not path.name.endswith(".jsonl"):
            found = ", ".join(scan.types) or "none"
            raise SourceError(f"{path}: line 1: column {', '.join(missing)} is missing (found: {found}); docs/data.md lists the columns")
        con.execute(f"INSERT INTO stage {_select(table, day, scan)}", {"file": name})
        _stage_rejects(con, scan, name)
    except duckdb.Error as error:
        raise SourceError(f"{path}: cannot be read: {str(error).splitlines()[0]}") from error
    return set(scan.types) - {c.name for c in table.columns}


def _scan(con: Connection, path: Path) -> _Scan:
    literal = "'" + str(path).replace("'", "''") + "'"
    if path.name.endswith(".parquet"):
        described = con.execute(f"DESCRIBE FROM read_parquet({literal})").fetchall()
        types = {str(row[0]): str(row[1]) for row in described}
        relation = (
            f"(SELECT * EXCLUDE (file_row_number), file_row_number + 1 AS _record FROM read_parquet({literal}, file_row_number = true))"
        )
        return _Scan(path, relation, types, _raw_json(types))
    if path.name.endswith(".jsonl"):
        relation = f"(SELECT text, row_number() OVER () AS _record FROM {_read_text(literal, ['text'], delimiter='chr(31)', quote='')})"
        return _Scan(path, relation, {}, "text", unreadable="CASE WHEN NOT json_valid(text) THEN 'not JSON' END")
    header = _header(path)
    types = dict.fromkeys(header, "TEXT")
    relation = f"(SELECT *, row_number() OVER () AS _record FROM {_read_text(literal, header)})"
    return _Scan(path, relation, types, _raw_json(types))


def _read_text(literal: str, columns: list[str], *, delimiter: str = "','", quote: str = '"') -> str:
    declared = ", ".join(f"{_string(c)}: 'VARCHAR'" for c in columns)
    return (
        f"read_csv({literal}, auto_detect = false, header = false, skip = {0 if columns == ['text'] else 1}, columns = {{{declared}}},"
        f" delim = {delimiter}, quote = {_string(quote)}, escape = {_string(quote)}, store_rejects = true, rejects_limit = 0,"
        " rejects_table = 'rejects', rejects_scan = 'reject_scans')"
    )


def _header(path: Path) -> list[str]:
    """Column names of a CSV file; reads a compressed file to its end, because DuckDB takes a truncated one for a short one."""
    try:
        if path.name.endswith(".gz"):
            with gzip.open(path) as stream:
                while stream.read(1 << 20):
                    pass
        with _open_text(path) as lines:
            header = [name.strip() for name in next(csv.reader(lines), [])]
    except (OSError, EOFError, UnicodeDecodeError, csv.Error) as error:
        raise SourceError(f"{path}: cannot be read: {error}") from error
    if not header:
        raise SourceError(f"{path}: line 1: empty file; a CSV file begins with a line of column names")
    if twice := {name for name in header if header.count(name) > 1}:
        raise SourceError(f"{path}: line 1: column {', '.join(sorted(twice))} appears twice")
    return header


def _open_text(path: Path) -> TextIO:
    if path.name.endswith(".gz"):
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="")  # type: ignore[return-value]
    return path.open(encoding="utf-8-sig", newline="")


def _stage_rejects(con: Connection, scan: _Scan, name: str) -> None:
    """Lines that do not split into the header's columns go to quarantine; anything worse makes the file unreadable."""
    if scan.path.name.endswith(".parquet"):
        return
    worse = con.execute(
        "SELECT line, error_message FROM rejects WHERE error_type NOT IN ('MISSING COLUMNS', 'TOO MANY COLUMNS') ORDER BY line LIMIT 1"
    ).fetchone()
    if worse:
        raise SourceError(f"{scan.path}: line {worse[0]}: {str(worse[1]).splitlines()[0]}")
    con.execute(
        """INSERT INTO unsplit SELECT ?, line, if(any_value(error_type) = 'TOO MANY COLUMNS', 'too many columns', 'too few columns'),
           any_value(csv_line) FROM rejects GROUP BY line""",
        [name],
    )
    con.execute("DROP TABLE IF EXISTS rejects; DROP TABLE IF EXISTS reject_scans")


def _select(table: Table, day: date, scan: _Scan) -> str:
    json_lines = scan.path.name.endswith(".jsonl")
    given: dict[str, tuple[str, str]] = {}
    for c in table.landing_columns:
        if json_lines:
            given[c.name] = (f"json_extract_string(CASE WHEN json_valid(text) THEN text END, {_string('$.' + c.name)})", "TEXT")
        elif c.name in scan.types:
            given[c.name] = (f"s.{_name(c.name)}", scan.types[c.name])
    typed = ", ".join(f"{_cast(c, *given[c.name]) if c.name in given else f'NULL::{c.type}'} AS {c.name}" for c in table.landing_columns)
    empty = ", ".join(f"{_is_missing(*given[c.name]) if c.name in given else 'true'} AS empty_{c.name}" for c in table.landing_columns)
    verdicts = [scan.unreadable] if scan.unreadable else []
    for c in table.landing_columns:
        verdicts += _verdicts(c)
    if any(c.name == "ts" for c in table.columns):
        verdicts.append(f"CASE WHEN ts::DATE <> DATE '{day}' THEN 'ts: outside its day' END")
    joins = ""
    for column, target in table.references:
        joins += f" LEFT JOIN known_{column} AS k_{column} USING ({column})"
        verdicts.append(f"CASE WHEN {column} IS NOT NULL AND k_{column}.{column} IS NULL THEN '{column}: unknown, not in {target}' END")
    values = ", ".join(f"coalesce({c.name}, {c.default})" if c.default else c.name for c in table.landing_columns)
    return f"""
        WITH typed AS (SELECT {typed}, {empty}, _record, {scan.raw} AS raw{", text" if json_lines else ""} FROM {scan.relation} AS s),
             judged AS (SELECT typed.*, coalesce({", ".join(verdicts)}) AS reason FROM typed{joins})
        SELECT {values}, $file, _record, reason, CASE WHEN reason IS NOT NULL THEN raw END FROM judged"""


def _verdicts(c: Column) -> Iterator[str]:
    if c.required and c.default is None:
        yield f"CASE WHEN empty_{c.name} THEN '{c.name}: missing' END"
    yield f"CASE WHEN NOT empty_{c.name} AND {c.name} IS NULL THEN '{c.name}: not {_KIND[c.type]}' END"
    if c.rule:
        yield f"CASE WHEN NOT ({c.rule}) THEN '{c.name}: {c.complaint}' END"


def _is_missing(value: str, found: str) -> str:
    return f"{value} IS NULL" if found not in ("TEXT", "VARCHAR") else f"coalesce(trim({value}), '') = ''"


def _cast(c: Column, value: str, found: str) -> str:
    """SQL that gives the value in the column's type, or NULL; never rounds, never guesses."""
    if found in _TYPED_AS[c.type]:
        if c.type == "DOUBLE":
            return f"CASE WHEN isfinite({value}::DOUBLE) THEN {value}::DOUBLE END"
        if c.type != "VARCHAR":
            return f"TRY_CAST({value} AS {c.type})"
    text = f"trim({value}::VARCHAR)"
    match c.type:
        case "BIGINT":
            return f"CASE WHEN regexp_full_match({text}, '[+-]?[0-9]+([.]0*)?') THEN TRY_CAST({text} AS BIGINT) END"
        case "DOUBLE":
            return f"CASE WHEN isfinite(TRY_CAST({text} AS DOUBLE)) THEN TRY_CAST({text} AS DOUBLE) END"
        case "BOOLEAN":
            return f"CASE lower({text}) WHEN '1' THEN true WHEN 'true' THEN true WHEN '0' THEN false WHEN 'false' THEN false END"
        case "TIMESTAMP":
            return f"TRY_CAST({text} AS TIMESTAMPTZ)::TIMESTAMP"
        case "VARCHAR[]":
            listed = f"""CASE WHEN starts_with({text}, '[') THEN TRY(from_json({text}, '["VARCHAR"]')) ELSE string_split({text}, ';') END"""
            return f"list_sort(list_distinct([trim(t) FOR t IN {listed} IF trim(t) <> '']))"
        case _:
            return f"nullif({text}, '')"


def _raw_json(types: dict[str, str]) -> str:
    return "to_json({" + ", ".join(f"{_string(c)}: s.{_name(c)}" for c in types) + "})::VARCHAR"


def _string(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _name(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


def _judge_repeats(con: Connection, table: Table) -> None:
    """Ids that come more than once: equal rows are duplicates, differing ones are all conflicts."""
    key = table.key[0]
    columns = ", ".join(c.name for c in table.landing_columns)
    con.execute(f"CREATE OR REPLACE TEMP TABLE repeated AS SELECT {key} FROM stage WHERE reason IS NULL GROUP BY {key} HAVING count(*) > 1")
    con.execute(
        f"""UPDATE stage SET reason = '{key}: duplicate with different content', raw = to_json(struct_pack({columns}))::VARCHAR
            WHERE reason IS NULL AND {key} IN (SELECT {key} FROM
              (SELECT DISTINCT {columns} FROM stage WHERE reason IS NULL AND {key} IN (FROM repeated)) GROUP BY {key} HAVING count(*) > 1)"""
    )


def _quarantine(con: Connection, table: Table, day: date, paths: list[Path], landing: Path) -> None:
    bad = con.execute("SELECT file, list(record ORDER BY record) FROM stage WHERE reason IS NOT NULL GROUP BY file").fetchall()
    by_name = {path.relative_to(landing).as_posix(): path for path in paths}
    places: list[tuple[str, int, int]] = []
    for name, records in bad:
        unsplit = {row[0] for row in con.execute("SELECT line FROM unsplit WHERE file = ?", [name]).fetchall()}
        lines = _lines_of(by_name[name], set(records), unsplit)
        places += [(name, record, line) for record, line in zip(records, lines, strict=True)]
    places_table = pa.table({k: [p[i] for p in places] for i, k in enumerate(("file", "record", "line"))}, schema=_PLACES)
    con.register("places", places_table)
    con.execute("DELETE FROM quarantine WHERE table_name = ? AND day = ?", [table.name, day])
    con.execute(
        """INSERT INTO quarantine BY NAME SELECT $1 AS table_name, $2::DATE AS day, file, line, reason, coalesce(raw, '') AS raw FROM
           (SELECT file, line, reason, raw FROM stage JOIN places USING (file, record) WHERE reason IS NOT NULL
            UNION ALL FROM unsplit) ORDER BY file, line""",
        [table.name, day],
    )
    con.unregister("places")


def _lines_of(path: Path, records: set[int], unsplit: set[int]) -> list[int]:
    """Lines on which the given records (counted from 1, without blank and unsplit lines) of a file begin; of Parquet, the records."""
    if path.name.endswith(".parquet"):
        return sorted(records)
    lines: list[int] = []
    seen = 0
    with _open_text(path) as stream:
        reader = csv.reader(stream, strict=False) if ".csv" in path.name else ([text] for text in stream)
        before = 0
        for n, row in enumerate(reader, 1):
            line, before = before + 1, reader.line_num if isinstance(reader, _CSV_READER) else n
            header = line == 1 and ".csv" in path.name
            if header or not "".join(row).strip() or line in unsplit:
                continue
            seen += 1
            if seen in records:
                lines.append(line)
    return lines


def _record(con: Connection, table: Table, day: date, paths: list[Path], landing: Path, loaded: int, ignored: list[str]) -> LoadReport:
    _quarantine(con, table, day, paths, landing)
    con.execute("DELETE FROM landing_files WHERE table_name = ? AND day = ?", [table.name, day])
    key = table.key[0]
    con.execute(  # of equal rows the first by file and record is the one that is loaded
        f"""CREATE OR REPLACE TEMP TABLE kept AS SELECT file, count(*) AS n FROM
            (SELECT file FROM stage WHERE reason IS NULL AND {key} NOT IN (FROM repeated)
             UNION ALL SELECT arg_min(file, (file, record)) FROM stage WHERE reason IS NULL AND {key} IN (FROM repeated) GROUP BY {key})
            GROUP BY file"""
    )
    for path in paths:
        name = path.relative_to(landing).as_posix()
        con.execute(
            """INSERT INTO landing_files BY NAME SELECT $1 AS table_name, $2::DATE AS day, $3 AS file, $4 AS sha256, $5 AS bytes,
               good + bad AS rows, kept AS loaded, good - kept AS duplicates, bad AS quarantined, $6::VARCHAR[] AS ignored_columns FROM
               (SELECT (SELECT count(*) FROM stage WHERE file = $3 AND reason IS NULL) AS good,
                       (SELECT count(*) FROM quarantine WHERE table_name = $1 AND day = $2 AND file = $3) AS bad,
                       coalesce((SELECT n FROM kept WHERE file = $3), 0) AS kept)""",
            [table.name, day, name, _sha256(path), path.stat().st_size, ignored],
        )
    totals = con.execute(
        "SELECT coalesce(sum(rows), 0), coalesce(sum(duplicates), 0), coalesce(sum(quarantined), 0) FROM landing_files WHERE table_name = ? AND day = ?",
        [table.name, day],
    ).fetchone()
    assert totals is not None
    reasons = con.execute(
        "SELECT reason, count(*) FROM quarantine WHERE table_name = ? AND day = ? GROUP BY reason ORDER BY 2 DESC, 1", [table.name, day]
    ).fetchall()
    con.execute("DROP TABLE stage; DROP TABLE unsplit; DROP TABLE repeated; DROP TABLE kept")
    rows, duplicates, quarantined = (int(n) for n in totals)
    return LoadReport(
        table.name, day, len(paths), rows, loaded, duplicates, quarantined, {str(r): int(n) for r, n in reasons}, tuple(ignored)
    )


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
