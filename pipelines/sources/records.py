"""One landing file as a relation of records: Parquet by DuckDB, CSV and JSON lines by the standard
library.

What belongs here: what a record is, on which line it begins, and whether a file can be read at all.
What a record is worth is judged in `landing.py`. Text formats have one parser each, so a row and
its line number have one source.
"""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
import os
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TextIO, cast

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.schema import Column, Table
from pipelines.sources.errors import SourceError
from pipelines.sql import as_text
from pipelines.store.warehouse import Connection

BATCH_ROWS = 20_000
# The longest cell of a CSV file. Longer than any text of a real row, and short enough to say where
# a quote that nobody closed began.
csv.field_size_limit(1 << 20)

_JSON_LINES = (".jsonl", ".ndjson", ".json")
SUFFIXES = (
    ".parquet",
    *(kind + packed for kind in (".csv", *_JSON_LINES) for packed in ("", ".gz", ".zst")),
)

KIND = {
    "BIGINT": "a whole number",
    "DOUBLE": "a number",
    "BOOLEAN": "true or false",
    "TIMESTAMP": "a time",
    "VARCHAR": "text",
    "VARCHAR[]": "a list",
    "DATE": "a day",
}
# between the values of a record on its way to DuckDB; a record that holds one itself is refused
_SEPARATOR = "\0"
_RECORDS = pa.schema(
    [
        ("vals", pa.string()),
        ("line", pa.int64()),
        ("complaint", pa.string()),
        ("record", pa.string()),
    ]
)


@dataclass
class Delivery:
    """One landing file and the columns of it that the table does not have; notices if the file
    changes while it is read.
    """

    path: Path
    name: str
    state: tuple[int, ...]
    sha256: str
    ignored: set[str]

    @classmethod
    def of(cls, path: Path, landing: Path) -> Delivery:
        with naming(path), path.open("rb") as stream:
            state = _state(os.fstat(stream.fileno()))
            return cls(
                path,
                path.relative_to(landing).as_posix(),
                state,
                hashlib.file_digest(stream, "sha256").hexdigest(),
                set(),
            )

    def check_unchanged(self) -> None:
        with naming(self.path):
            if _state(self.path.stat()) != self.state:
                raise SourceError(
                    f"{self.path}: changed while it was read; deliver files by write and rename,"
                    " then start again"
                )


def _state(stat: os.stat_result) -> tuple[int, ...]:
    return stat.st_size, stat.st_mtime_ns, stat.st_ino, stat.st_dev


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Whatever goes wrong inside is a SourceError that names the file."""
    try:
        yield
    except (OSError, UnicodeError, duckdb.Error, pa.ArrowException) as error:
        raise SourceError(
            f"{path}: cannot be read: {str(error).splitlines()[0].rstrip('.')}. Deliver the file"
            " again"
        ) from error


@dataclass(frozen=True)
class Scan:
    """One file as DuckDB sees it.

    `relation` follows FROM. It has the columns `line`, `complaint` (why a record cannot be looked
    at column by column, or NULL) and `record` (its text, where the file is text). `columns` maps
    each name in the file to its type and to the SQL that reads it; `raw` is the SQL of the record
    as it came.
    """

    relation: str
    columns: dict[str, tuple[str, str]]
    raw: str


@contextmanager
def scanning(
    con: Connection, table: Table, delivery: Delivery, delimiter: str = ","
) -> Iterator[Scan]:
    """A file while it is open. `table` says which keys of JSON objects are its columns."""
    path = delivery.path
    if path.name.endswith(".parquet"):
        with naming(path):
            yield _scan_parquet(con, path)
        return
    if not delivery.state[0]:
        raise SourceError(
            f"{path}: an empty file; for a day without rows put a CSV file there that has only the"
            " header line"
        )
    stopped: list[
        SourceError
    ] = []  # DuckDB makes an error of its own out of one it meets while it pulls records
    if is_json(path):
        header, records = (
            [c.name for c in table.columns],
            _json_records(path, table, delivery.ignored),
        )
    else:
        records = _csv_records(path, delimiter)
        header = str(next(records)[0]).split(_SEPARATOR)
        _refuse_repeated(path, header)

    def batches() -> Iterator[pa.RecordBatch]:
        try:
            while rows := list(islice(records, BATCH_ROWS)):
                columns = zip(*rows, strict=True)
                yield pa.RecordBatch.from_arrays(
                    [pa.array(c, f.type) for c, f in zip(columns, _RECORDS, strict=True)],
                    schema=_RECORDS,
                )
        except SourceError as error:
            stopped.append(error)
            raise

    con.register("landing_records", pa.RecordBatchReader.from_batches(_RECORDS, batches()))
    try:
        with naming(path):
            relation = (
                f"(SELECT string_split(vals, chr({ord(_SEPARATOR)})) AS v, line, complaint, record"
                " FROM landing_records)"
            )
            yield Scan(
                relation,
                {name: ("VARCHAR", f"v[{n}]") for n, name in enumerate(header, 1)},
                "record",
            )
    except SourceError as error:
        raise stopped[0] if stopped else error from error.__cause__
    finally:
        con.unregister("landing_records")


def _scan_parquet(con: Connection, path: Path) -> Scan:
    schema = pq.read_schema(path)
    _refuse_repeated(path, schema.names)
    for column in schema:
        if pa.types.is_decimal256(column.type):  # DuckDB would read other numbers than stand there
            raise SourceError(
                f"{path}: column {column.name}: {column.type} holds numbers too long to be read"
            )
    # `*` and `?` in a path would match other files too, `x=1` would become a column. Reading
    # columns by position keeps
    # the names in the file apart from ours.
    pattern = "".join(f"[{c}]" if c in "*?[" else c for c in str(path))
    source = f"read_parquet({as_text(pattern)}, file_row_number = true, hive_partitioning = false)"
    types = [str(row[1]) for row in con.execute(f"DESCRIBE FROM {source}").fetchall()[:-1]]
    places = [f"c{n}" for n in range(len(types))]
    relation = (
        f"(SELECT *, n + 1 AS line, NULL::VARCHAR AS complaint FROM {source} AS"
        f" f({', '.join([*places, 'n'])}))"
    )
    raw = ", ".join(
        f"{as_text(name)}, {place}" for name, place in zip(schema.names, places, strict=True)
    )
    return Scan(
        relation,
        dict(zip(schema.names, zip(types, places, strict=True), strict=True)),
        f"json_object({raw})::VARCHAR",
    )


def _refuse_repeated(path: Path, header: Sequence[str]) -> None:
    names = [normal(name) for name in header]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise SourceError(
            f"{path}: column {', '.join(map(repr, twice))} appears twice (names count without case"
            " and blanks)"
        )


def normal(name: str) -> str:
    return name.strip().lower()


_TextRecord = tuple[str | None, int, str | None, str]  # a row of _RECORDS


def _text_record(
    values: Sequence[str], width: int, line: int, text: str, complaint: str | None = None
) -> _TextRecord:
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


def _unpacked(path: Path) -> str:
    """The name without the ending that says how it is compressed."""
    return path.name.removesuffix(".gz").removesuffix(".zst")


def is_json(path: Path) -> bool:
    """Whether it holds an object a line, going by its name; any other text is CSV."""
    return _unpacked(path).endswith(_JSON_LINES)


def _cut_off(path: Path, line: int) -> SourceError:
    return SourceError(
        f"{path}: line {line}: the last line has no end, so the file may be cut off in the middle of"
        " a row. Deliver it whole, with a line end after the last row"
    )


@contextmanager
def _lines(path: Path) -> Iterator[TextIO]:
    """Lines with their ends, as an editor counts them. Bytes that are not UTF-8 become surrogates,
    for their row to be refused.
    """
    how: dict[str, Any] = {"encoding": "utf-8-sig", "errors": "surrogateescape", "newline": ""}
    if path.name.endswith(".zst"):
        with pa.input_stream(str(path), compression="zstd") as unpacked:
            yield io.TextIOWrapper(io.BufferedReader(cast("Any", unpacked), 1 << 20), **how)
        return
    opened = gzip.open if path.name.endswith(".gz") else open
    with opened(path, "rt", **how) as stream:
        yield cast("TextIO", stream)


def _csv_records(path: Path, delimiter: str) -> Iterator[_TextRecord]:
    """The header, then every record that is not a blank line."""
    held: list[str] = []  # lines of the present record
    begins, width, whole = 1, 0, True

    def held_lines(stream: TextIO) -> Iterator[str]:
        nonlocal whole
        for line in stream:
            held.append(line)
            whole = line.endswith(("\n", "\r"))
            yield line

    try:
        with _lines(path) as stream:
            for row in csv.reader(held_lines(stream), strict=True, delimiter=delimiter):
                text = "".join(held).rstrip("\r\n")
                if not whole and text.strip():  # before it is loaded: any cell may be a part of it
                    raise _cut_off(path, begins)
                if not width:
                    width = len(row) or 1
                    header = _text_record(
                        row or [""], width, begins, text, None if text.strip() else "blank"
                    )
                    if header[2]:
                        raise SourceError(
                            f"{path}: line 1: {header[2]}; a CSV file begins with a line of column"
                            " names"
                        )
                    yield header
                elif len(row) == width:
                    yield _text_record(row, width, begins, text)
                elif text.strip():
                    yield _text_record(
                        row,
                        width,
                        begins,
                        text,
                        f"too {'few' if len(row) < width else 'many'} columns",
                    )
                begins += len(held)
                held.clear()
    except (OSError, EOFError, zlib.error, csv.Error) as error:
        raise SourceError(
            f"{path}: line {begins}: cannot be read: {error}. Deliver the file again"
        ) from error
    if not width:
        raise SourceError(f"{path}: an empty file; a CSV file begins with a line of column names")


def _json_records(path: Path, table: Table, ignored: set[str]) -> Iterator[_TextRecord]:
    """Every line that is not blank: values of the table's columns, in its order, as the text that
    stands in the file.
    """
    decode = json.JSONDecoder(
        object_pairs_hook=_once, parse_int=str, parse_float=str, parse_constant=str
    ).decode
    layouts: dict[
        tuple[str, ...], list[str | None]
    ] = {}  # where objects with these keys have the table's columns
    number, width = 0, len(table.columns)
    try:
        with _lines(path) as stream:
            for number, line in enumerate(stream, 1):
                if not (text := line.strip()):
                    continue
                try:
                    record = decode(text)
                    if not isinstance(record, dict):
                        raise ValueError("not a JSON object")
                    if (keys := tuple(record)) not in layouts:
                        layouts[keys] = _layout(table, keys)
                        ignored |= {
                            key.encode(errors="backslashreplace").decode()
                            for key in set(keys) - set(layouts[keys])
                        }
                    values = [
                        _json_text(c, record.get(key))
                        for c, key in zip(table.columns, layouts[keys], strict=True)
                    ]
                    yield _text_record(values, width, number, text)
                except (ValueError, RecursionError) as error:
                    ended = line.endswith(("\n", "\r"))
                    if isinstance(error, json.JSONDecodeError) and not ended:
                        raise _cut_off(path, number) from error
                    complaint = {
                        json.JSONDecodeError: "not JSON",
                        RecursionError: "nested too deeply",
                    }.get(type(error), str(error))
                    yield _text_record((), width, number, text, complaint)
    except (OSError, EOFError, zlib.error) as error:
        raise SourceError(
            f"{path}: line {number + 1}: cannot be read: {error}. Deliver the file again"
        ) from error


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) < len(pairs):
        raise ValueError("a key appears twice")
    return record


def first_keys(path: Path, rows: int) -> list[str]:
    """Keys of the first objects of a file of JSON lines, in the order they appear; without those
    that hold an object, which no column can.
    """
    keys: dict[str, None] = {}
    nested: set[str] = set()
    with naming(path), _lines(path) as stream:
        for line in islice((line for line in stream if line.strip()), rows):
            try:
                content = dict(json.loads(line))
            except (TypeError, ValueError):  # not an object: it will be said when it is read
                continue
            nested |= {k for k, v in content.items() if isinstance(v, dict)}
            keys |= dict.fromkeys(content)
    return [key for key in keys if key not in nested]


def _layout(table: Table, keys: tuple[str, ...]) -> list[str | None]:
    places = {normal(key): key for key in keys}
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
    raise ValueError(f"{c.name}: not {KIND[c.type]}")
