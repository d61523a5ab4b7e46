"""Rows of money in quarantine: which of them hold up the closing of their day, and accepting those
that may stay there.

What belongs here: the list of rows that nobody has decided on, and the record of decisions. Why a
row is refused is decided in `landing.py`.

A row of money that is not loaded is money that nobody is paid from. So its day cannot be closed
before a corrected file is delivered, or somebody accepts it by name with a reason. A copy of a row
that counts on another day is no loss and holds up nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime

from pipelines.errors import ExpectedError
from pipelines.schema import DECISIONS, LANDING
from pipelines.settings import Home
from pipelines.sources.inspection import IN_THE_BOOK
from pipelines.store.warehouse import Connection, Warehouse

MONEY = tuple(name for name, table in LANDING.items() if table.once)
DECIDING = (*MONEY, *(table.name for table in DECISIONS))
"""Tables of money, and of what counts: a refused row of one holds up the closing of its day."""


class QuarantineError(ExpectedError, ValueError):
    """Rows that hold up a closing, or that cannot be accepted: says which, and what to do."""


@dataclass(frozen=True)
class OpenRow:
    """A row of money in quarantine that nobody has accepted."""

    table: str
    day: date
    file: str
    line: int
    reason: str
    raw: str

    @property
    def name(self) -> str:
        """What `accept` calls it."""
        return f"{self.file}:{self.line}"

    @property
    def row_hash(self) -> str:
        return hashlib.sha256(self.raw.encode("utf-8", "surrogatepass")).hexdigest()


def open_rows(con: Connection) -> list[OpenRow]:
    """Rows of money in quarantine that were not accepted as they are now, by day, file and line."""
    accepted = set(
        con.execute("SELECT table_name, day, row_hash FROM quarantine_acceptances").fetchall()
    )
    rows = con.execute(
        """SELECT table_name, day, file, line, reason, raw FROM quarantine
           WHERE list_contains($tables, table_name) AND reason NOT LIKE $copy
           ORDER BY day, file, line""",
        {"tables": list(DECIDING), "copy": IN_THE_BOOK},
    ).fetchall()
    waiting = (OpenRow(*row) for row in rows)
    return [row for row in waiting if (row.table, row.day, row.row_hash) not in accepted]


def require_decided(con: Connection, days: Sequence[date]) -> None:
    """Raise QuarantineError if a row of money of one of the days is in quarantine and was not
    accepted.
    """
    rows = [row for row in open_rows(con) if row.day in days]
    if rows:
        row, more = rows[0], f" (and {len(rows) - 1} more rows)" if len(rows) > 1 else ""
        raise QuarantineError(
            f"{row.day}: {row.name} of {row.table} is in quarantine{more}, so money would be paid"
            f" without it: {row.reason}. Deliver a corrected file and run the day again, or accept"
            f" it: earnings quarantine accept {row.name} --reason '...'; all that wait: earnings"
            " quarantine list"
        )


def accept(
    home: Home,
    names: Sequence[str],
    *,
    reason: str,
    actor: str,
    day: date | None = None,
    table: str | None = None,
) -> list[OpenRow]:
    """Record that rows may stay in quarantine: those called `names`, or all of a table's day.

    Raises
    ------
    QuarantineError
        A name is not that of a row that waits, or nothing waits; nothing is recorded.
    """
    if not reason.strip():
        raise QuarantineError("the reason is empty: say why this money may be left out")
    house = Warehouse(home)
    with house.open() as con:
        waiting = open_rows(con)
        by_name = {row.name: row for row in waiting}
        if unknown := sorted(set(names) - by_name.keys()):
            raise QuarantineError(
                f"{', '.join(unknown)}: no row of money waits under that name; see earnings"
                " quarantine list"
            )
        chosen = (
            [by_name[name] for name in dict.fromkeys(names)]
            if names
            else [
                row
                for row in waiting
                if (day is None or row.day == day) and table in (None, row.table)
            ]
        )
        if not chosen:
            raise QuarantineError("no row of money waits there; see earnings quarantine list")
        now = datetime.now(UTC).replace(tzinfo=None)
        with house.transaction(con, f"accepted {len(chosen)} rows in quarantine: {reason}"):
            con.executemany(
                "INSERT INTO quarantine_acceptances VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [
                    (
                        row.table, row.day, row.file, row.line, row.row_hash, row.reason, reason,
                        actor, now,
                    )
                    for row in chosen
                ],
            )  # fmt: skip
    house.publish()
    return chosen
