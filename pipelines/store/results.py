"""What a query found, for people: as a data frame, or as a file for a spreadsheet or another
program.

What belongs here: types and formats. Amounts are integers in the warehouse and stay integers here,
also where a column has gaps, and sums of them too.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from datetime import date, datetime, time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TextIO, get_args

import duckdb
import pyarrow as pa

from pipelines.errors import ExpectedError
from pipelines.files import replacing
from pipelines.plain import csv_cell, visible

if TYPE_CHECKING:
    import pandas as pd

Format = Literal["csv", "json", "parquet", "xlsx"]
FORMATS: tuple[Format, ...] = get_args(Format)

_AT_ONCE = 10_000
_SHEET_ROWS = 1_048_575  # of a worksheet, below its head
_SHEET_DIGITS = 15  # of a number, all that a spreadsheet keeps


class ResultError(ExpectedError, RuntimeError):
    """A result that cannot be written in a format: says why, and which one to take."""


def as_frame(asked: duckdb.DuckDBPyConnection) -> pd.DataFrame:
    """The result of a query that was executed, as a data frame.

    Whole numbers are `Int64`, which has room for gaps, so that no amount becomes a float, here or
    when frames are joined. Days are `datetime64`, lists and maps Python's own.

    >>> sql = "SELECT sum(i) AS s, NULL::BIGINT AS gap FROM range(4) r(i)"
    >>> frame = as_frame(duckdb.connect().execute(sql))
    >>> int(frame.s[0]), [str(dtype) for dtype in frame.dtypes]
    (6, ['Int64', 'Int64'])
    """
    import pandas as pd

    table = asked.to_arrow_table()
    for place, column in enumerate(table.schema):
        if pa.types.is_decimal(column.type) and column.type.scale == 0:
            # the sum of whole numbers; one too large stays a decimal, which is exact too
            try:
                whole = table[place].cast(pa.int64())
            except pa.ArrowInvalid:
                continue
            table = table.set_column(place, column.name, whole)
    frame: pd.DataFrame = table.to_pandas(
        date_as_object=False,
        maps_as_pydicts="strict",
        types_mapper=lambda of: (
            pd.Int64Dtype()
            if pa.types.is_integer(of)
            else pd.BooleanDtype()
            if pa.types.is_boolean(of)
            else None
        ),
    )
    return frame


def print_csv(asked: duckdb.DuckDBPyConnection, stream: TextIO) -> None:
    """The result as CSV, all digits; text that a spreadsheet would take for a formula is marked."""
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(_names(asked))
    writer.writerows([csv_cell(_plain(value)) for value in row] for row in _rows(asked))


def print_json(asked: duckdb.DuckDBPyConnection, stream: TextIO) -> None:
    """The result as one JSON array, an object a row."""
    names = _names(asked)
    rows = [dict(zip(names, row, strict=True)) for row in _rows(asked)]
    stream.write(json.dumps(rows, indent=2, default=str) + "\n")


def write_file(asked: duckdb.DuckDBPyConnection, path: Path, format: Format) -> None:
    """The result as a file, whole or not at all.

    Raises
    ------
    ResultError
        A worksheet is too small for it, or what writes worksheets is not installed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as partial:
        if format == "parquet":
            _write_parquet(asked, partial)
        elif format == "xlsx":
            _write_sheet(asked, partial)
        else:
            with partial.open("w", newline="", encoding="utf-8") as stream:
                (print_csv if format == "csv" else print_json)(asked, stream)


def _write_parquet(asked: duckdb.DuckDBPyConnection, path: Path) -> None:
    import pyarrow.parquet as pq

    reader = asked.to_arrow_reader()
    with pq.ParquetWriter(path, reader.schema) as writer:
        for batch in reader:
            writer.write_batch(batch)


def _write_sheet(asked: duckdb.DuckDBPyConnection, path: Path) -> None:
    try:
        from openpyxl import Workbook
        from openpyxl.cell import WriteOnlyCell
    except ImportError as error:
        raise ResultError(
            "worksheets need openpyxl: pip install 'creator-earnings[xlsx]'. Without it: --format"
            " csv"
        ) from error
    book = Workbook(write_only=True)
    sheet = book.create_sheet("result")

    def cell(value: object) -> Any:
        """Text as text: what begins with `=` is no formula. Numbers of more digits than a
        spreadsheet keeps are text too."""
        value = _plain(value)
        if isinstance(value, int) and len(str(abs(value))) > _SHEET_DIGITS:
            value = str(value)
        if not isinstance(value, str):
            return value
        made = WriteOnlyCell(sheet)
        made.value = visible(value, lines=True)
        made.data_type = "s"
        return made

    sheet.append([cell(name) for name in _names(asked)])
    for number, row in enumerate(_rows(asked), 1):
        if number > _SHEET_ROWS:
            raise ResultError(
                f"a worksheet holds {_SHEET_ROWS} rows, and the result has more; take --format"
                " parquet or csv, or ask for less"
            )
        sheet.append([cell(value) for value in row])
    book.save(path)


def _names(asked: duckdb.DuckDBPyConnection) -> list[str]:
    return [column[0] for column in asked.description or ()]


def _rows(asked: duckdb.DuckDBPyConnection) -> Iterator[tuple[Any, ...]]:
    while rows := asked.fetchmany(_AT_ONCE):
        yield from rows


def _plain(value: Any) -> Any:
    """What a cell can hold; lists and maps as JSON."""
    if isinstance(value, dict | list | tuple):
        return json.dumps(value, ensure_ascii=False, default=str)
    if value is None or isinstance(value, bool | int | float | str | date | datetime | time):
        return value
    return str(value)
