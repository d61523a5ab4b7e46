"""What a day of a table holds, as one short text that is equal for equal rows in any order: noted
when the day is written, chained into the ledger when it is paid from, computed again to verify.

What belongs here: the text, and which rows of the logs go with which table. It does not change
between versions of DuckDB (whose own `hash` does) or between machines: MD5 of a line a row, whose
first halves are summed as whole numbers, with the number of rows. A sum, not an exclusive or, so
that a row that stands twice counts twice; a row deleted and another one doubled moves it by the
difference of two hashes. That finds whatever happens to a table by accident or by somebody who
does not set out to solve for it: with enough freedom in the ids, rows can be constructed whose
sums are equal. Against that stand the SHA-256 of the landing files, in the same chain, and
`earnings ledger replay`, which makes everything from them again.

A table may gain columns, and what was noted before must stay right: a column that is empty adds
nothing to the line, and one that may not be empty gets an entry in `LATER`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date

import duckdb

from pipelines.schema import DAILY, LANDING, TABLES, Column, Table

# Columns that came to a table after its contents were first noted and are never empty: the SQL of
# the value that earlier rows got. A row that has it reads as if the column were not there.
LATER: Mapping[str, str] = {
    "ad_revenue.status": "'final'",
    "ad_revenue.deducted_micros": "0",
    "gifts.deducted_coins": "0",
    "landing_files.taken_out": "0",
}

# Say when something was done, or where a file lies; nothing follows from them.
CLOCKS = frozenset({"made_at", "committed_at", "stamp"})

# Of logs, which grow or are replaced beside a table: where they stand, and the tables whose writing
# changes them.
LOGGED_WITH: Mapping[str, frozenset[str]] = {
    "landing_files": frozenset({*LANDING, "payees"}),
    "quarantine": frozenset({*LANDING, "payees"}),
    "weight_commits": frozenset({"group_weights"}),
    "market_commits": frozenset({"donation_market"}),
    "adjustments": frozenset({"ledger_entries"}),
    "video_corrections": frozenset({"ledger_entries"}),
    "deductions": frozenset(table.name for table in DAILY),
    "id_copies": frozenset(LANDING),
}
OVER_DAYS = frozenset({"id_copies"})
"""Logs of which writing one day may change others."""

# Proven by the chain itself, not by a note.
CHAINED = frozenset(
    {"ledger_entries", "ledger_transactions", "statements", "policies", "payments", "settlements"}
)

NOTED = tuple(
    table.name for table in TABLES.values() if table.kind != "log" or table.name in LOGGED_WITH
)

EMPTY = "0:0"


def line_of(table: Table) -> str:
    """SQL of a row's line. Texts carry their length, so no two rows of a table read alike.

    >>> print(line_of(TABLES["adjustments"]))
    concat(strlen(creator_id), ':', creator_id, amount_micros, '|')
    """
    columns = [c for c in table.columns if c.name != "day" and c.name not in CLOCKS]
    first = [_text(c) for c in columns if c.required and f"{table.name}.{c.name}" not in LATER]
    since = [
        _named(c, LATER.get(f"{table.name}.{c.name}"))
        for c in sorted(columns, key=lambda c: c.name)
        if not c.required or f"{table.name}.{c.name}" in LATER
    ]
    return f"concat({', '.join([*first, *since])})"


def contents(
    con: duckdb.DuckDBPyConnection, table: str, days: Iterable[date] | None = None
) -> dict[date, str]:
    """What the table holds on each of the days, or on every day it has rows of; days without rows
    are left out.
    """
    which = sorted(set(days)) if days is not None else None
    if which == []:
        return {}
    only = "" if which is None else " WHERE day IN (SELECT unnest($days))"
    rows = con.execute(
        f"""SELECT day, count(*), sum(line) FROM (
              SELECT day, md5_number_lower({line_of(TABLES[table])}) AS line FROM {table}{only}
            ) GROUP BY day""",
        {} if which is None else {"days": which},
    ).fetchall()
    return {day: f"{count}:{int(total):x}" for day, count, total in rows}


def content(con: duckdb.DuckDBPyConnection, table: str, day: date) -> str:
    """What the table holds on a day."""
    count, total = con.execute(
        f"""SELECT count(*), coalesce(sum(md5_number_lower({line_of(TABLES[table])})), 0)
            FROM {table} WHERE day = ?""",
        [day],
    ).fetchall()[0]
    return f"{count}:{int(total):x}"


def rows_of(noted: str) -> int:
    """How many rows a content is of.

    >>> rows_of("12:5f")
    12
    """
    return int(noted.partition(":")[0])


def _text(column: Column) -> str:
    name = column.name
    match column.type:
        case "VARCHAR":
            return f"strlen({name}), ':', {name}"
        case "TIMESTAMP":
            return f"epoch_us({name}), '|'"
        case "DOUBLE":  # stored, a zero may lose its sign, and adding zero takes it away
            return f"{name} + 0.0, '|'"
        case "BIGINT" | "BOOLEAN" | "DATE":
            return f"{name}, '|'"
        case _:  # a list or a map, in its order
            return f"strlen(to_json({name})::VARCHAR), ':', to_json({name})::VARCHAR"


def _named(column: Column, before: str | None) -> str:
    text = f"concat('{column.name}=', {_text(column)})"
    unless = f"{column.name} IS NULL"
    if before is not None:
        unless += f" OR {column.name} = {before}"
    return f"CASE WHEN NOT ({unless}) THEN {text} END"
