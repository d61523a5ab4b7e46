"""Landing files into tables: every row is judged, none is lost, and a file that cannot be read
stops the run.

What belongs here: which files a table's day has, casting, the verdict on each row, exact
duplicates, quarantine. How a file becomes records is in `records.py`; what a row must keep is
declared in `schema.py`.

A row ends in exactly one of four places: the table, the count of exact duplicates, `deductions`
where a decision takes it out (`decisions.py`), or `quarantine` with a reason. Nothing here depends
on the order of rows or files: of rows that share an id and differ, all go to quarantine, and a row
that is bad in itself neither is a duplicate nor makes a conflict.

One rule for all formats: column names count without case and surrounding blanks, values without
surrounding blanks. Text formats hand over every value as the text that stands in the file, so `1e3`
in JSON is no more a whole number than in CSV.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import pyarrow as pa

from pipelines.runs.figures import Figure, record_figures
from pipelines.schema import LANDING, Column, Table
from pipelines.sources.copies import conflict_on_a_day, judge_copies, record_copies
from pipelines.sources.decisions import MONEY, TAKEN_OUT, take_out
from pipelines.sources.errors import SourceError
from pipelines.sources.inspection import inspect
from pipelines.sources.manifest import check_totals
from pipelines.sources.records import KIND, SUFFIXES, Delivery, Scan, normal, scanning
from pipelines.sql import as_text
from pipelines.store.warehouse import Connection, DayWriter

INTEGERS = (
    "TINYINT",
    "SMALLINT",
    "INTEGER",
    "BIGINT",
    "HUGEINT",
    "UTINYINT",
    "USMALLINT",
    "UINTEGER",
    "UBIGINT",
    "UHUGEINT",
)
_TYPED_AS = {  # types of Parquet columns that need no look at the text before they are cast
    "BIGINT": INTEGERS,
    "DOUBLE": ("FLOAT", "DOUBLE", *INTEGERS),
    "BOOLEAN": ("BOOLEAN",),
    "TIMESTAMP": (
        "TIMESTAMP",
        "TIMESTAMP_NS",
        "TIMESTAMP_MS",
        "TIMESTAMP_S",
        "TIMESTAMP WITH TIME ZONE",
    ),
}
# What exports write where they have no id, in lower case. An id that is one of these would make
# many viewers, creators or payments one.
PLACEHOLDERS = (
    "null", "(null)", "<null>", "none", "nil", "nan", "<na>", "n/a", "#n/a", "na", "undefined",
    "unknown", "-", "0", "0.0",
    "00000000-0000-0000-0000-000000000000", "{00000000-0000-0000-0000-000000000000}", "0" * 32,
)  # fmt: skip
LONGEST_ID = 1_000  # characters
# control and format characters, private ones, and blanks other than a space
_INVISIBLE = (
    r"[\p{Cc}\p{Cf}\p{Co}\p{Zl}\p{Zp}\x{00A0}\x{034F}\x{115F}\x{1160}\x{2000}-\x{200A}\x{202F}\x{205F}"
    r"\x{2800}\x{3000}\x{3164}\x{FE00}-\x{FE0F}\x{FFA0}]"
)
# verdict of a good row that is already there; every other verdict is a reason for quarantine
_DUPLICATE = "duplicate"


@dataclass(frozen=True)
class LoadReport:
    """What became of a table's day. rows = loaded + duplicates + quarantined + taken_out."""

    table: str
    day: date
    files: int
    rows: int
    loaded: int
    duplicates: int
    quarantined: int
    reasons: dict[str, int]
    ignored_columns: tuple[str, ...]
    figures: tuple[Figure, ...] = ()
    taken_out: int = 0


def landing_files(landing: Path, table: str, day: date) -> list[Path]:
    """Files of a table's day, in name order; those whose name begins with `.` or `_`, such as
    Spark's `_SUCCESS`, are nobody's data.

    Raises
    ------
    SourceError
        Something lies in the table's folder that no run would ever read: a folder that is not a
        day, a loose file, a file with an unknown ending, a sub-folder.
    """
    for entry in _visible(landing / table):
        if not (entry.is_dir() and _is_day(entry.name)):
            raise SourceError(
                f"{entry}: not a folder of a day such as {day}; rename it or move it out of the"
                " landing folder"
            )
    paths = _visible(landing / table / day.isoformat())
    for path in paths:
        if not path.name.endswith(SUFFIXES):
            raise SourceError(
                f"{path}: not one of {', '.join(SUFFIXES)}; rename it or move it out of the landing"
                " folder"
            )
        if not path.is_file():
            raise SourceError(
                f"{path}: not a file; move what it holds up, or the broken link out of the landing"
                " folder"
            )
        if not path.name.isprintable():
            raise SourceError(f"{str(path)!a}: a name with unprintable characters; rename it")
    return paths


def waiting_files(
    con: Connection,
    landing: Path,
    *,
    tables: Collection[str] = tuple(LANDING),
    days: Collection[date] | None = None,
    read: bool = False,
) -> dict[date, list[str]]:
    """Files that are not as they were loaded, by day: new, with other bytes, or gone.

    A file of the same size, time and inode is taken to have the bytes it had, one of another size
    to have others; any other file is read to know. Files of days that `read` asks for are read
    whatever they look like.
    """
    loaded = {
        (day, file): found
        for day, file, *found in con.execute(
            "SELECT day, file, bytes, stamp, sha256 FROM landing_files"
            " WHERE list_contains(?, table_name)",
            [list(tables)],
        ).fetchall()
    }
    waiting: dict[date, list[str]] = {}
    for day, name, entry in _delivered(landing, tables, days):
        known = loaded.pop((day, name), None)
        if not (known and _is_as_loaded(entry, landing, *known, read=read)):
            waiting.setdefault(day, []).append(name)
    for day, name in loaded:
        waiting.setdefault(day, []).append(name)
    return {day: sorted(files) for day, files in sorted(waiting.items())}


def _delivered(
    landing: Path, tables: Collection[str], only: Collection[date] | None
) -> Iterator[tuple[date, str, os.DirEntry[str]]]:
    """Every visible entry of a day's folder, with its day and its name below `landing`. In years of
    days it is the system calls that cost, so each folder is listed once, and nothing else asked.
    """
    for table in tables:
        if not (landing / table).is_dir():
            continue
        with os.scandir(landing / table) as folders:
            days = [(folder.name, folder.path) for folder in folders if _is_day(folder.name)]
        for name, path in days:
            day = date.fromisoformat(name)
            if only is not None and day not in only:
                continue
            try:
                with os.scandir(path) as entries:
                    found = [entry for entry in entries if not entry.name.startswith((".", "_"))]
            except NotADirectoryError:
                continue
            for entry in found:
                yield day, f"{table}/{name}/{entry.name}", entry


def _is_as_loaded(
    entry: os.DirEntry[str], landing: Path, size: int, stamp: str | None, sha256: str, *, read: bool
) -> bool:
    try:
        state = entry.stat()
        if state.st_size != size:
            return False
        if _stamp(state.st_mtime_ns, state.st_ino) == stamp and not read:
            return True
        return Delivery.of(Path(entry.path), landing).sha256 == sha256
    except (OSError, SourceError):  # a broken link, or nobody may read it: a run will say why
        return False


def _stamp(time_ns: int, inode: int) -> str:
    return f"{time_ns}:{inode}"


def _visible(folder: Path) -> list[Path]:
    return (
        sorted(p for p in folder.iterdir() if not p.name.startswith((".", "_")))
        if folder.is_dir()
        else []
    )


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
        A file cannot be read, or lacks a column; names the file and, where known, the line. Or
        there is no file, though the table has a landing folder (daily tables) or had files on that
        day before. The caller's transaction is left to roll back.
    """
    con, day = writer.con, writer.day
    paths = landing_files(landing, table.name, day)
    _expect_files(con, landing, table, day, paths)
    _create_stage(con, table, day)
    deliveries = [Delivery.of(path, landing) for path in paths]
    for delivery in deliveries:
        _stage_file(con, table, day, delivery)
    check_totals(con, table, landing / table.name / day.isoformat(), deliveries)
    _judge_repeats(con, table)
    if table.once:
        judge_copies(con, table, day)
    _fetch_records(con, table, deliveries)
    for delivery in deliveries:
        delivery.check_unchanged()
    taken_out = take_out(con, table, day)
    columns = ", ".join(f"{_kept(table, c)} AS {c.name}" for c in table.columns if c.name != "day")
    order = ", ".join([*table.stored_by, *table.key])
    loaded = writer.replace(
        table.name,
        f"SELECT DATE '{day}' AS day, {columns} FROM stage WHERE verdict IS NULL ORDER BY {order}",
    )
    if table.once:
        record_copies(con, table, day)
    return _record(con, table, day, deliveries, loaded, taken_out)


def _kept(table: Table, column: Column) -> str:
    """SQL of a column's value in the table: of an amount, what decisions leave of it."""
    money = MONEY.get(table.name)
    if money and column.name == money.amount:
        return f"{column.name} - deducted"
    return column.computed or column.name


def _expect_files(
    con: Connection, landing: Path, table: Table, day: date, paths: list[Path]
) -> None:
    if paths:
        return
    folder = landing / table.name / day.isoformat()
    before = con.execute(
        "SELECT file FROM landing_files WHERE table_name = ? AND day = ? ORDER BY file",
        [table.name, day],
    ).fetchall()
    if before:
        gone = ", ".join(str(row[0]) for row in before)
        raise SourceError(
            f"{folder}: no files, but {gone} was loaded before. Bring it back, or put a corrected"
            " file in its place."
        )
    if table.kind == "daily" and not table.optional and folder.parent.is_dir():
        raise SourceError(
            f"{folder}: no files for {table.name} on {day}. Deliver them; if nothing happened that"
            " day, put a CSV file there that has only the header line."
        )


# --------------------------------------------------------------------------------------------------
# Judging: records into the stage, each with its verdict


def _create_stage(con: Connection, table: Table, day: date) -> None:
    columns = ", ".join(f"{c.name} {c.type}" for c in table.landing_columns)
    con.execute(
        f"CREATE OR REPLACE TEMP TABLE stage ({columns}, file VARCHAR, line BIGINT, verdict"
        " VARCHAR, emptied VARCHAR, assumed BOOLEAN, deducted BIGINT, raw VARCHAR)"
    )
    for column, target in table.references:
        con.execute(
            f"CREATE OR REPLACE TEMP TABLE known_{column} AS SELECT DISTINCT"
            f" {LANDING[target].key[0]} AS {column} FROM {target} WHERE day <= ?",
            [day],
        )


def _stage_file(con: Connection, table: Table, day: date, delivery: Delivery) -> None:
    with scanning(con, table, delivery) as scan:
        names = {normal(name): name for name in scan.columns}
        missing = [
            c.name
            for c in table.landing_columns
            if c.required and c.default is None and c.name not in names
        ]
        if missing:
            found = ", ".join(scan.columns)
            raise SourceError(
                f"{delivery.path}: column {', '.join(missing)} is missing (found: {found});"
                " docs/data.md lists the columns"
            )
        con.execute(f"INSERT INTO stage {_judged(table, day, scan)}", {"file": delivery.name})
        delivery.ignored |= {
            name for normal, name in names.items() if normal not in {c.name for c in table.columns}
        }


def _judged(table: Table, day: date, scan: Scan) -> str:
    """SQL of the stage's rows of one file."""
    given = {normal(name): place for name, place in scan.columns.items()}
    typed: list[str] = []
    verdicts = ["complaint"]
    emptied: list[str] = []  # names of columns with a placeholder where nothing need stand
    for c in table.landing_columns:
        if c.name not in given:
            typed.append(f"NULL::{c.type} AS {c.name}, true AS no_{c.name}")
        else:
            typed.append(
                f"{cast_value(c, *given[c.name])} AS {c.name}, {_is_missing(*given[c.name])} AS"
                f" no_{c.name}"
            )
        if c.required and c.default is None:
            verdicts.append(f"CASE WHEN no_{c.name} THEN '{c.name}: missing' END")
        verdicts.append(
            f"CASE WHEN NOT no_{c.name} AND {c.name} IS NULL THEN '{c.name}: not"
            f" {KIND[c.type]}' END"
        )
        if c.identifies and c.name in given:
            listed = ", ".join(map(as_text, PLACEHOLDERS))
            typed[-1] += f", coalesce(lower({c.name}) IN ({listed}), false) AS void_{c.name}"
            if c.required:
                verdicts.append(f"CASE WHEN void_{c.name} THEN '{c.name}: a placeholder' END")
            else:
                emptied.append(f"CASE WHEN void_{c.name} THEN '{c.name}' ELSE '' END")
            verdicts += [
                f"CASE WHEN regexp_matches({c.name}, '{_INVISIBLE}') THEN '{c.name}: holds an"
                " invisible character' END",
                f"CASE WHEN length({c.name}) > {LONGEST_ID} THEN '{c.name}: longer than"
                f" {LONGEST_ID} characters' END",
            ]
        if c.type == "VARCHAR[]" and c.name in given:
            verdicts.append(
                f"CASE WHEN len(list_filter({c.name}, lambda t: regexp_matches(t, '{_INVISIBLE}')))"
                f" > 0 THEN '{c.name}: holds an invisible character' END"
            )
            emptied.append(
                f"CASE WHEN len({_kept_labels(c.name)}) < len({c.name}) THEN '{c.name}' ELSE '' END"
            )
        if c.rule:
            verdicts.append(f"CASE WHEN NOT ({c.rule}) THEN '{c.name}: {c.complaint}' END")
    if "day" in given:
        found = f"TRY_CAST({given['day'][1]}::VARCHAR AS DATE)"
        typed.append(
            f"NOT {_is_missing(*given['day'])} AND {found} IS DISTINCT FROM DATE '{day}' AS"
            " other_day"
        )
        verdicts.append("CASE WHEN other_day THEN 'day: not the day of its folder' END")
    if any(c.name == "ts" for c in table.columns):
        verdicts.append(f"CASE WHEN ts::DATE <> DATE '{day}' THEN 'ts: outside its day' END")
    joins = ""
    for column, target in table.references:
        joins += (
            f" LEFT JOIN (SELECT {column} AS k_{column} FROM known_{column}) ON {column} ="
            f" k_{column}"
        )
        optional = not next(c for c in table.columns if c.name == column).required
        void = f" AND NOT void_{column}" if optional and column in given else ""
        verdicts.append(
            f"CASE WHEN {column} IS NOT NULL{void} AND k_{column} IS NULL THEN '{column}: unknown, not in"
            f" {target}' END"
        )

    def value(c: Column) -> str:
        if c.identifies and not c.required and c.name in given:
            return f"CASE WHEN NOT void_{c.name} THEN {c.name} END"
        found = _kept_labels(c.name) if c.type == "VARCHAR[]" else c.name
        return f"coalesce({found}, {c.default})" if c.default else found

    values = ", ".join(map(value, table.landing_columns))
    blank = " || ".join(emptied) or "''"
    assumed = " OR ".join(f"no_{c.name}" for c in table.landing_columns if c.counted) or "false"
    kept = (
        "record" if scan.raw == "record" else f"CASE WHEN verdict IS NOT NULL THEN {scan.raw} END"
    )
    return f"""
        WITH typed AS (SELECT {", ".join(typed)}, s.* FROM {scan.relation} AS s),
             judged AS (SELECT *, coalesce({", ".join(verdicts)}) AS verdict FROM typed{joins})
        SELECT {values}, $file, line, verdict, {blank}, {assumed}, 0, {kept} FROM judged"""


def _kept_labels(column: str) -> str:
    listed = ", ".join(map(as_text, PLACEHOLDERS))
    return f"list_filter({column}, lambda t: lower(t) NOT IN ({listed}))"


def _is_missing(found: str, value: str) -> str:
    match found:
        case "VARCHAR":
            return f"coalesce(trim({value}), '') IN ('', '\\N')"  # \N: PostgreSQL's COPY
        case "BLOB":
            return f"coalesce(octet_length({value}), 0) = 0"
        case _:
            return f"{value} IS NULL"


def cast_value(c: Column, found: str, value: str) -> str:  # noqa: PLR0911 - a case for each type
    """SQL that gives the value in the column's type, or NULL; never rounds, never guesses."""
    typed = found in _TYPED_AS.get(c.type, ())
    if found == "BLOB":  # what some writers make of text
        value = f"TRY(decode({value}))"
    text = f"trim({value}::VARCHAR)"
    match c.type:
        case "BIGINT" if not typed:
            return (
                f"CASE WHEN regexp_full_match({text}, '[+-]?[0-9]+([.]0*)?') THEN TRY_CAST({text}"
                " AS BIGINT) END"
            )
        case "DOUBLE":
            number = f"TRY_CAST({value} AS DOUBLE)"
            if not typed:
                form = r"[+-]?([0-9]+[.]?[0-9]*|[.][0-9]+)([eE][+-]?[0-9]+)?"
                number = (
                    f"CASE WHEN regexp_full_match({text}, '{form}') THEN TRY_CAST({text} AS"
                    " DOUBLE) END"
                )
            return (  # one zero, not two
                f"CASE WHEN {number} = 0 THEN 0.0 WHEN isfinite({number}) THEN {number} END"
            )
        case "BOOLEAN" if not typed:
            return (
                f"CASE lower({text}) WHEN '1' THEN true WHEN 'true' THEN true WHEN 't' THEN true"
                " WHEN '0' THEN false WHEN 'false' THEN false WHEN 'f' THEN false END"
            )
        case "TIMESTAMP" if not typed:  # a cast to TIMESTAMP would drop the offset without a word
            return as_time(text)
        case "VARCHAR[]":
            return _cast_list(found, value, text)
        case "VARCHAR":
            whole = ("VARCHAR", "BLOB", "UUID", *INTEGERS)
            # An id that went through a float may be another one by now; a nested value is no text.
            if (
                "(" in found.removeprefix("DECIMAL(")
                or "[" in found
                or (found not in whole and c.name.endswith("_id"))
            ):
                return "NULL::VARCHAR"
            return (
                f"CASE WHEN NOT contains({text}, chr(0)) AND {text} NOT IN ('', '\\N')"
                f" THEN {text} END"
            )
        case _:
            return f"TRY_CAST({value} AS {c.type})"


def as_time(text: str) -> str:
    """ISO 8601 in all its spellings, and epoch seconds (10 digits, a fraction allowed) and
    milliseconds (13 digits), which are 2001 to 2286. Names of time zones but UTC are not guessed.
    """
    usual = r"\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}:\d{2}([.]\d+)?(Z|[+-]\d{2}(:\d{2})?)?)?"
    zone = r" ?(Z|z|UTC|[+-]\d{2}(:?\d{2})?)?"
    extended = r"\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}(:\d{2}([.,]\d+)?)?" + zone
    basic = r"\d{8}([Tt]\d{4}(\d{2}([.,]\d+)?)?" + zone + ")?"
    found = f"replace(replace(replace(upper({text}), ',', '.'), ' UTC', 'Z'), 'UTC', 'Z')"
    for form, spelt in (
        (r"^(\d{4})(\d{2})(\d{2})", r"\1-\2-\3"),
        (r"^(.{10})[T ](\d{2})(\d{2})(\d{2})?", r"\1T\2:\3:\4"),
        (r"^(.{10})[T ](\d{2}:\d{2}):?([Z+\- ]|$)", r"\1T\2:00\3"),
        (r" ?([+-]\d{2}):?(\d{2})$", r"\1:\2"),
    ):
        found = f"regexp_replace({found}, '{form}', '{spelt}')"
    return f"""CASE WHEN regexp_full_match({text}, '{usual}')
        THEN TRY_CAST({text} AS TIMESTAMPTZ)::TIMESTAMP
        WHEN regexp_full_match({text}, '{extended}|{basic}')
        THEN TRY_CAST({found} AS TIMESTAMPTZ)::TIMESTAMP
        WHEN regexp_full_match({text}, '[0-9]{{10}}([.][0-9]{{1,9}})?')
        THEN make_timestamp(CAST(CAST({text} AS DECIMAL(20, 9)) * 1000000 AS BIGINT))
        WHEN regexp_full_match({text}, '[0-9]{{13}}')
        THEN make_timestamp(CAST({text} AS BIGINT) * 1000) END"""


def _cast_list(found: str, value: str, text: str) -> str:
    """A sorted set of texts, from a list column, a JSON list or text with `;`; NULL if an element
    is missing or nested.
    """
    if found.endswith("[]"):
        items = f"TRY_CAST({value} AS VARCHAR[])"
    else:
        items = f"""CASE WHEN starts_with({text}, '[') THEN TRY(from_json({text},
            '["VARCHAR"]')) ELSE string_split(nullif({text},
            '\\N'), ';') END"""
    bad = (
        f"list_filter({items}, lambda t: t IS NULL OR contains(t, chr(0)) OR trim(t)[1] IN ('[',"
        " '{'))"
    )
    good = (
        f"list_sort(list_distinct(list_filter(list_transform({items}, lambda t: trim(t)), lambda t:"
        " t <> '')))"
    )
    return f"CASE WHEN len({bad}) = 0 THEN {good} END"


def _judge_repeats(con: Connection, table: Table) -> None:
    """Good rows with one key: all are conflicts if any two differ; otherwise the first by file and
    line stays, the others are duplicates.
    """
    key = ", ".join(table.key)
    content = ", ".join(c.name for c in table.landing_columns)
    con.execute(f"""CREATE OR REPLACE TEMP TABLE repeated AS
            WITH again AS (SELECT hash({key}) FROM stage WHERE verdict IS NULL
            GROUP BY ALL HAVING count(*) > 1),
                 copies AS (SELECT rowid AS place, {key}, file, line,
                 to_json(struct_pack({content}))::VARCHAR AS content
                            FROM stage WHERE verdict IS NULL AND hash({key}) IN (FROM again))
            SELECT place, CASE WHEN min(content) OVER same <> max(content) OVER same
                                 THEN '{conflict_on_a_day(table)}'
                            WHEN row_number() OVER (same ORDER BY file, line) > 1
                            THEN '{_DUPLICATE}' END AS verdict
            FROM copies WINDOW same AS (PARTITION BY {key})""")
    con.execute(
        "UPDATE stage SET verdict = repeated.verdict FROM repeated WHERE stage.rowid = repeated.place"
    )


def _fetch_records(con: Connection, table: Table, deliveries: Sequence[Delivery]) -> None:
    """The records of rows that were refused after they were read. Making JSON of every row of a
    Parquet file in case it will turn out to be a conflict would take longer than all the rest.
    """
    refused = f"verdict <> '{_DUPLICATE}' AND raw IS NULL"
    torn = {
        str(row[0])
        for row in con.execute(f"SELECT DISTINCT file FROM stage WHERE {refused}").fetchall()
    }
    for delivery in deliveries:
        if delivery.name in torn:
            with scanning(con, table, delivery) as scan:
                con.execute(
                    f"""UPDATE stage SET raw = s.raw FROM (SELECT line, {scan.raw} AS raw
                        FROM {scan.relation}
                          WHERE line IN (SELECT line FROM stage WHERE file = $file AND {refused}))
                        AS s WHERE stage.file = $file AND {refused.replace("raw", "stage.raw")}
                        AND stage.line = s.line""",
                    {"file": delivery.name},
                )


# --------------------------------------------------------------------------------------------------
# Recording


def _record(
    con: Connection,
    table: Table,
    day: date,
    deliveries: Sequence[Delivery],
    loaded: int,
    taken_out: Sequence[Figure],
) -> LoadReport:
    """Write `quarantine` and `landing_files` from the stage, and drop it."""
    which = [table.name, day]
    con.execute("DELETE FROM quarantine WHERE table_name = ? AND day = ?", which)
    con.execute("DELETE FROM landing_files WHERE table_name = ? AND day = ?", which)
    con.execute(
        f"""INSERT INTO quarantine BY NAME SELECT ? AS table_name, ?::DATE AS day, file, line,
            verdict AS reason, raw
            FROM stage WHERE verdict NOT IN ('{_DUPLICATE}', '{TAKEN_OUT}') ORDER BY file, line""",
        which,
    )
    files = [
        [d.name for d in deliveries],
        [d.sha256 for d in deliveries],
        [d.state[0] for d in deliveries],
        [_stamp(*d.state[1:3]) for d in deliveries],
        [sorted(d.ignored) for d in deliveries],
    ]
    types = [pa.string(), pa.string(), pa.int64(), pa.string(), pa.list_(pa.string())]
    delivered = pa.table(
        [pa.array(v, t) for v, t in zip(files, types, strict=True)],
        names=["file", "sha256", "bytes", "stamp", "ignored_columns"],
    )
    con.register("delivered", delivered)
    con.execute(
        f"""INSERT INTO landing_files BY NAME
            SELECT ? AS table_name, ?::DATE AS day, d.*, coalesce(n.rows, 0) AS rows,
            coalesce(n.loaded, 0) AS loaded,
                   coalesce(n.duplicates, 0) AS duplicates,
                   coalesce(n.rows - n.loaded - n.duplicates - n.taken_out, 0) AS quarantined,
                   coalesce(n.taken_out, 0) AS taken_out
            FROM delivered d LEFT JOIN (SELECT file, count(*) AS rows,
            count(*) FILTER (verdict IS NULL) AS loaded,
            count(*) FILTER (verdict = '{_DUPLICATE}') AS duplicates,
            count(*) FILTER (verdict = '{TAKEN_OUT}') AS taken_out FROM stage GROUP BY file) n
            USING (file) ORDER BY file""",
        which,
    )
    con.unregister("delivered")
    figures = [*inspect(con, table, day), *taken_out]
    record_figures(con, table.name, day, figures)
    reasons = con.execute(
        "SELECT reason, count(*) FROM quarantine WHERE table_name = ? AND day = ? GROUP BY reason"
        " ORDER BY 2 DESC, 1",
        which,
    ).fetchall()
    totals = con.execute(
        "SELECT sum(rows), sum(loaded), sum(duplicates), sum(quarantined), sum(taken_out) FROM"
        " landing_files WHERE table_name = ? AND day = ?",
        which,
    ).fetchone()
    rows, judged_good, duplicates, quarantined, out = (int(n or 0) for n in totals or ())
    if (loaded, rows) != (
        judged_good,
        loaded + duplicates + quarantined + out,
    ) or quarantined != sum(n for _, n in reasons):
        raise AssertionError(
            f"{table.name} {day}: {rows} rows became {loaded} loaded, {duplicates} duplicates,"
            f" {out} taken out, {reasons} quarantined"
        )
    for temporary in ("stage", "repeated", *(f"known_{column}" for column, _ in table.references)):
        con.execute(f"DROP TABLE {temporary}")
    ignored = sorted(set().union(*(d.ignored for d in deliveries)))
    return LoadReport(
        table.name,
        day,
        len(deliveries),
        rows,
        loaded,
        duplicates,
        quarantined,
        {str(r): int(n) for r, n in reasons},
        tuple(ignored),
        tuple(figures),
        out,
    )
