"""The warehouse: one DuckDB file, opened late and closed always, with one way to write a day.

What belongs here: connections, the lock, the write primitive, the published copy. What a table looks like is in
`schema.py`; what must hold of it is in `invariants.py`; what goes into it is decided by the assets.
"""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from importlib.metadata import version
from pathlib import Path

import duckdb
import pyarrow as pa

from pipelines.errors import ExpectedError
from pipelines.invariants import enforce
from pipelines.migrations import is_current, migrate
from pipelines.schema import TABLES
from pipelines.settings import Home

Connection = duckdb.DuckDBPyConnection
CODE_VERSION = version("creator-earnings")


class WarehouseError(ExpectedError, RuntimeError):
    """The warehouse cannot be opened or published: says which file and why."""


class WarehouseLockedError(WarehouseError):
    """Another process writes to the warehouse and did not finish in time."""


class ClosedDayError(ExpectedError, RuntimeError):
    """A day whose statement was issued would change: says which, and how to correct it."""


class MissingDayError(ExpectedError, LookupError):
    """A day that should be in the warehouse is not: names the table, the day and the command that makes it."""


@dataclass(frozen=True)
class DayWriter:
    """Replaces a day of some tables inside one transaction."""

    con: Connection
    day: date
    written: set[str] = field(default_factory=set)
    changed: set[str] = field(default_factory=set)

    def replace(self, table: str, rows: duckdb.DuckDBPyRelation | pa.Table | str) -> int:
        """Make `rows` (a relation, an Arrow table or SQL) the table's day, by column name; returns how many there are.

        Raises
        ------
        ValueError
            The rows lack a column of the table or have one too many, or belong to another day.
        """
        columns = {c.name for c in TABLES[table].columns}
        relation = self.con.sql(rows) if isinstance(rows, str) else self.con.from_arrow(rows) if isinstance(rows, pa.Table) else rows
        if missing := columns - set(relation.columns):
            raise ValueError(f"{table} {self.day}: rows lack {', '.join(sorted(missing))}")
        if unknown := set(relation.columns) - columns:
            raise ValueError(f"{table} {self.day}: rows have {', '.join(sorted(unknown))}, which the table does not")
        before = _digest(self.con, table, self.day)
        self.con.execute(f"DELETE FROM {table} WHERE day = ?", [self.day])
        relation.create_view("incoming_rows", replace=True)
        inserted = self.con.execute(f"INSERT INTO {table} BY NAME FROM incoming_rows").fetchone()
        self.con.execute("DROP VIEW incoming_rows")
        after = _digest(self.con, table, self.day)
        if inserted is None or inserted[0] != after[0]:
            raise ValueError(f"{table} {self.day}: some of the rows are of another day")
        self.mark(table, rows=after[0], changed=after != before)
        return after[0]

    def mark(self, table: str, *, rows: int, changed: bool) -> None:
        """Note that the table's day is written; only one that is not as it was before makes what was made from it stale."""
        self.written.add(table)
        which = [table, self.day]
        before = self.con.execute("SELECT changed FROM written_days WHERE table_name = ? AND day = ?", which).fetchone()
        (now,) = self.con.execute("SELECT coalesce(max(made), 0) + 1 FROM written_days").fetchall()[0]
        if changed or not before:
            self.changed.add(table)
        last_change = before[0] if before and table not in self.changed else now
        self.con.execute("DELETE FROM written_days WHERE table_name = ? AND day = ?", which)
        made_at = datetime.now(UTC).replace(tzinfo=None)
        self.con.execute("INSERT INTO written_days VALUES (?, ?, ?, ?, ?, ?, ?)", [*which, rows, last_change, now, made_at, CODE_VERSION])


@dataclass(frozen=True)
class Warehouse:
    """The DuckDB file of one home."""

    home: Home

    @contextmanager
    def open(self, *, read_only: bool = False) -> Iterator[Connection]:
        """A connection; all tables exist. Waits for another writer up to the home's `lock_timeout_seconds`.

        Raises
        ------
        WarehouseLockedError
            The file is still locked after that time; names the holder.
        WarehouseError
            It cannot be opened for another reason: no permission, no warehouse file, tables of no version that is known.
        MigrationError
            Its tables are newer than this software, or cannot be brought to it.
        """
        con = self._connect(read_only)
        try:
            con.execute("SET TimeZone = 'UTC'; SET preserve_insertion_order = true")
            if not is_current(con):
                if read_only:  # made by an earlier version, or by a process that was killed before it had tables
                    con.close()
                    with self.open():
                        pass
                    con = self._connect(read_only)
                else:
                    with transaction(con):
                        migrate(con, CODE_VERSION)
            self._check_columns(con)
            yield con
        finally:
            con.close()

    def _check_columns(self, con: Connection) -> None:
        found: dict[str, set[str]] = {}
        for table, column in con.execute("SELECT table_name, column_name FROM duckdb_columns() WHERE NOT internal").fetchall():
            found.setdefault(table, set()).add(column)
        for table in TABLES.values():
            if odd := {c.name for c in table.columns} ^ found.get(table.name, set()):
                raise WarehouseError(
                    f"{self.home.warehouse}: table {table.name} was made by another version of this software (it differs in"
                    f" {', '.join(sorted(odd))}). Nothing was changed. As long as no statement was issued, move the file away and run the"
                    " days again from landing/; afterwards go on with the version that made it."
                )

    def _connect(self, read_only: bool) -> Connection:
        settings = self.home.settings
        config: dict[str, str | bool | int | float | list[str]] = {"autoinstall_known_extensions": False}
        if settings.threads:
            config["threads"] = settings.threads
        if settings.memory_limit:
            config["memory_limit"] = settings.memory_limit
        if read_only and not self.home.warehouse.exists():
            raise WarehouseError(f"{self.home.warehouse}: there is no warehouse yet. Make it first: earnings run")
        with _explained(self.home.warehouse, "cannot be opened"):
            self.home.root.mkdir(parents=True, exist_ok=True)
        deadline = time.monotonic() + settings.lock_timeout_seconds
        while True:
            try:
                return duckdb.connect(str(self.home.warehouse), read_only=read_only, config=config)
            except duckdb.Error as error:
                if "set lock" not in str(error):
                    with _explained(self.home.warehouse, "cannot be opened"):
                        raise
                if time.monotonic() >= deadline:
                    raise WarehouseLockedError(
                        f"{self.home.warehouse}: {_holder(str(error))} writes to it and did not finish within"
                        f" {settings.lock_timeout_seconds:g} s. Wait for that run, or stop it, and start again; nothing was changed."
                    ) from error
                time.sleep(0.2)

    @contextmanager
    def write_day(self, con: Connection, day: date) -> Iterator[DayWriter]:
        """One transaction: everything that is replaced inside becomes visible together, or not at all.

        Before the commit the invariants of every table written are checked on that day; a violation rolls back. So does a
        change of a closed day, except in tables of advice: no amount of that day follows from them.

        Raises
        ------
        ClosedDayError
            A statement was issued for the day, and a table would not be as it was.
        """
        with transaction(con), self.rewrite_day(con, day) as writer:
            yield writer
            closed = closed_through(con)
            changed = sorted(name for name in writer.changed if TABLES[name].kind != "advice")
            if changed and closed and day <= closed:
                raise ClosedDayError(
                    f"{day} is closed: statements were issued through {closed}. Its {', '.join(changed)} would change."
                    f" Nothing was written. To correct it in the open period: earnings restate --day {day} --reason '...'"
                )

    @contextmanager
    def rewrite_day(self, con: Connection, day: date) -> Iterator[DayWriter]:
        """Like `write_day`, inside a transaction of the caller's, and for closed days too: for restatements only."""
        writer = DayWriter(con, day)
        yield writer
        enforce(con, sorted(writer.written), day, quarantine_limit=self.home.settings.quarantine_limit)

    def publish(self) -> Path | None:
        """Copy the closed warehouse beside itself, by write and rename, so that readers never meet a run."""
        if not self.home.settings.publish:
            return None
        partial = self.home.published.with_name(f".{self.home.published.name}.{os.getpid()}.partial")
        with self.open() as con, _explained(self.home.published, "cannot be written"):
            try:
                con.execute("CHECKPOINT")  # what is in the log beside the file would be missing from the copy
                shutil.copyfile(self.home.warehouse, partial)
                # Renamed while the warehouse is still held: of two who publish, the later state wins.
                os.replace(partial, self.home.published)
            finally:
                partial.unlink(missing_ok=True)
        return self.home.published


@contextmanager
def transaction(con: Connection) -> Iterator[None]:
    """Everything inside is committed together; any exception leaves what was there before."""
    con.begin()
    try:
        yield
        con.commit()
    except BaseException:
        con.rollback()
        raise


def closed_through(con: Connection) -> date | None:
    """The last day for which statements were issued."""
    (closed,) = con.execute("SELECT max(day) FROM ledger_transactions WHERE kind = 'statement'").fetchall()[0]
    return closed  # type: ignore[no-any-return]


@contextmanager
def _explained(path: Path, what: str) -> Iterator[None]:
    try:
        yield
    except (OSError, duckdb.Error) as error:
        raise WarehouseError(f"{path}: {what}: {str(error).splitlines()[0]}") from error


def count(con: Connection, table: str, day: date) -> int:
    """Rows a table holds for a day."""
    row = con.execute(f"SELECT count(*) FROM {table} WHERE day = ?", [day]).fetchone()
    assert row is not None
    return int(row[0])


def is_written(con: Connection, table: str, day: date) -> bool:
    """The table's day was written, if only without rows."""
    return con.execute("SELECT 1 FROM written_days WHERE table_name = ? AND day = ?", [table, day]).fetchone() is not None


def require_day(con: Connection, table: str, day: date) -> None:
    """Raise MissingDayError if the table's day was never written."""
    if not is_written(con, table, day):
        raise MissingDayError(f"{table} of {day} is not in the warehouse. Make it first: earnings run --from {day} --to {day}")


def _digest(con: Connection, table: str, day: date) -> tuple[int, int | None, int | None]:
    """How many rows there are, and two numbers that are equal for equal rows in any order."""
    found = con.execute(f"SELECT count(*), bit_xor(hash(t)), sum(hash(t) % 4294967296) FROM {table} AS t WHERE day = ?", [day]).fetchone()
    assert found is not None
    return found[0], found[1], found[2]


def _holder(message: str) -> str:
    found = re.search(r"held in (.+?) \(PID (\d+)\)", message)
    return f"process {found[2]} ({found[1]})" if found else "another process"
