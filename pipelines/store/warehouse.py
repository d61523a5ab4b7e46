"""The warehouse: tables that are written a day at a time, opened late and closed always, with one
way to write a day.

What belongs here: connections, the write primitive, working through days. Where the tables are kept
is in `store/file_store.py` and `store/lake.py`, what a table looks like in `schema.py`, what must
hold of it in `schema/invariants.py`; what goes into it is decided by the assets.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from functools import cached_property
from importlib.metadata import version
from itertools import count as counting
from pathlib import Path
from typing import Any, TypeVar

import duckdb
import pyarrow as pa

from pipelines.errors import ExpectedError
from pipelines.schema import HOLDING, TABLES, arrow_columns
from pipelines.schema.invariants import enforce
from pipelines.settings import Home
from pipelines.sql import MACROS, as_text
from pipelines.store.contents import EMPTY, LOGGED_WITH, OVER_DAYS, content, contents, rows_of
from pipelines.store.file_store import (
    EVERYTHING,
    QUIET,
    Claim,
    Connection,
    DisturbedError,
    FileStore,
    NothingPublishedError,
    Past,
    Store,
    WarehouseError,
    WarehouseLockedError,
    delete_spilled,
)
from pipelines.store.migrations import is_current, migrate

__all__ = [
    "CODE_VERSION", "ByDay", "ClosedDayError", "Connection", "DayWriter", "DisturbedError",
    "MissingDayError", "Past", "Warehouse", "WarehouseError", "WarehouseLockedError",
    "closed_through", "count", "in_batches", "require_days", "transaction",
]  # fmt: skip

CODE_VERSION = version("creator-earnings")
_T = TypeVar("_T")
_TOGETHER, _AT_ALL = 3, 8  # how often a day is tried beside others, and in all


class ClosedDayError(ExpectedError, RuntimeError):
    """A day whose statement was issued would change: says which, and how to correct it."""


class MissingDayError(ExpectedError, LookupError):
    """A day that should be in the warehouse is not: names the table, the day and the command that
    makes it.
    """


@dataclass(frozen=True)
class DayWriter:
    """Replaces a day of some tables inside one transaction; `policy_hash`: the policy it follows,
    where one has a say.
    """

    con: Connection
    day: date
    policy_hash: str | None = None
    written: set[str] = field(default_factory=set)
    changed: set[str] = field(default_factory=set)

    def replace(
        self,
        table: str,
        rows: duckdb.DuckDBPyRelation | pa.Table | str,
        parameters: Mapping[str, Any] | None = None,
    ) -> int:
        """Make `rows` (SQL with its parameters, a relation or an Arrow table) the table's day, by
        column name; returns how many there are.

        SQL goes into the table as it is computed. A relation made by `con.sql(..., params=...)`
        does not: DuckDB computes it at once, and keeps all of it in memory that its limit does not
        know.

        Raises
        ------
        ValueError
            The rows lack a column of the table or have one too many, or belong to another day.
        """
        columns = {c.name for c in TABLES[table].columns}
        if isinstance(rows, str):
            source = f"({rows}\n)"
        else:
            self.con.register(
                "incoming_rows", rows
            )  # unlike a view that is created, it is in no store
            source = "incoming_rows"
        given = {
            column[0]
            for column in self.con.execute(f"FROM {source} LIMIT 0", parameters).description or ()
        }
        if missing := columns - given:
            raise ValueError(f"{table} {self.day}: rows lack {', '.join(sorted(missing))}")
        if unknown := given - columns:
            raise ValueError(
                f"{table} {self.day}: rows have {', '.join(sorted(unknown))}, which the table"
                " does not"
            )
        before = _content(self.con, table, self.day)
        if holding := TABLES[table] in HOLDING:
            self._keep_hashes(table)
        self.con.execute(f"DELETE FROM {table} WHERE day = ?", [self.day])
        inserted = self.con.execute(
            f"INSERT INTO {table} BY NAME FROM {source}", parameters
        ).fetchone()
        if not isinstance(rows, str):
            self.con.unregister("incoming_rows")
        after = _content(self.con, table, self.day)
        if inserted is None or inserted[0] != rows_of(after):
            raise ValueError(f"{table} {self.day}: some of the rows are of another day")
        now = self.mark(table, rows=rows_of(after), changed=after != before, content=after)
        if holding and after != before:
            self.con.execute(
                "INSERT INTO snapshot_changes VALUES (?, ?, ?, ?)",
                [table, self.day, now, self._reached(table)],
            )
        return rows_of(after)

    def write(
        self,
        table: str,
        rows: pa.Table | Sequence[Mapping[str, Any]] | str,
        *,
        policy_hash: str = "",
    ) -> int:
        """`replace` by rows without the columns that all rows of a day share: each is stamped with
        the day and, where the table has it, the hash of the policy. Rows are an Arrow table,
        mappings, or SQL.

        Raises
        ------
        ValueError
            As `replace`; or the table wants a policy and none is given.
        """
        stamp = f"DATE '{self.day}' AS day"
        if any(c.name == "policy_hash" for c in TABLES[table].columns):
            if not policy_hash:
                raise ValueError(f"{table} {self.day}: no policy is said that its rows are made by")
            stamp += f", {as_text(policy_hash)} AS policy_hash"
        if isinstance(rows, str):
            return self.replace(table, f"SELECT {stamp}, * FROM ({rows}\n)")
        if not isinstance(rows, pa.Table):
            rows = pa.Table.from_pylist(list(rows), schema=arrow_columns(table))
        self.con.register("unstamped_rows", rows)
        try:
            return self.replace(table, f"SELECT {stamp}, * FROM unstamped_rows")
        finally:
            self.con.unregister("unstamped_rows")

    def _keep_hashes(self, table: str) -> None:
        (key,) = TABLES[table].key
        self.con.execute(
            "CREATE OR REPLACE TEMP TABLE hashes_before AS"
            f" SELECT {key} AS id, hash(t) AS was FROM {table} AS t WHERE day = ?",
            [self.day],
        )

    def _reached(self, table: str) -> date | None:
        """Last day on which a row that differs from `hashes_before` holds; None: for good."""
        (key,) = TABLES[table].key
        (through,) = self.con.execute(
            f"""SELECT CASE WHEN count(*) = count(replaced) THEN max(replaced) - 1 END
                FROM (SELECT {key} AS id, hash(t) AS is_now FROM {table} AS t WHERE day = $day)
                FULL JOIN hashes_before USING (id)
                LEFT JOIN (SELECT {key} AS id, min(day) AS replaced FROM {table}
                           WHERE day > $day GROUP BY {key}) USING (id)
                WHERE is_now IS DISTINCT FROM was""",
            {"day": self.day},
        ).fetchall()[0]
        return through  # type: ignore[no-any-return]

    def mark(self, table: str, *, rows: int, changed: bool, content: str | None = None) -> int:
        """Note that the table's day is written, and return the number of the write; only one that
        is not as it was before makes what was made from it stale.

        Without `content`, what was noted of its rows stays: whoever keeps rows does not vouch for
        them.
        """
        self.written.add(table)
        if changed:
            self.changed.add(table)
        return self._note(
            table, self.day, rows=rows, changed=table in self.changed, content=content
        )

    def note_logs(self) -> None:
        """Note what the logs hold that belong to the tables that were written."""
        for log, tables in LOGGED_WITH.items():
            if not self.written & tables:
                continue
            sql = "SELECT day, content FROM written_days WHERE table_name = ?"
            if log in OVER_DAYS:
                noted = dict(self.con.execute(sql, [log]).fetchall())
                there = contents(self.con, log) if noted or self._any(log) else {}
            else:
                noted = dict(self.con.execute(f"{sql} AND day = ?", [log, self.day]).fetchall())
                there = {self.day: _content(self.con, log, self.day)}
            for day in noted.keys() | there.keys():
                now = there.get(day, EMPTY)
                if noted.get(day) != now:
                    self._note(log, day, rows=rows_of(now), changed=True, content=now)

    def _any(self, table: str) -> bool:
        return bool(self.con.execute(f"SELECT 1 FROM {table} LIMIT 1").fetchall())

    def _note(self, table: str, day: date, *, rows: int, changed: bool, content: str | None) -> int:
        which = [table, day]
        sql = (
            "SELECT max(changed) FILTER (table_name = $1 AND day = $2), coalesce(max(made), 0) + 1,"
            " max(content) FILTER (table_name = $1 AND day = $2) FROM written_days"
        )
        before, now, noted = self.con.execute(sql, which).fetchall()[0]
        # a table that came with a later version and has nothing to say of a day changes none
        if before is None and rows and table not in LOGGED_WITH:
            self.changed.add(table)
        last_change = now if changed or before is None else before
        if before is not None:
            self.con.execute("DELETE FROM written_days WHERE table_name = ? AND day = ?", which)
        made_at = datetime.now(UTC).replace(tzinfo=None)
        self.con.execute(
            "INSERT INTO written_days VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [
                *which,
                rows,
                last_change,
                now,
                made_at,
                CODE_VERSION,
                self.policy_hash,
                content or noted,
            ],
        )
        return int(now)


@dataclass(frozen=True)
class Warehouse:
    """The warehouse of one home. `patience`: seconds to wait for another writer of a file, if not
    what the settings say.
    """

    home: Home
    patience: float | None = None

    @cached_property
    def store(self) -> Store:
        """Where the home's settings keep it."""
        if not self.home.lake:
            return FileStore(self.home, self.patience)
        from pipelines.store.lake import LakeStore

        return LakeStore(self.home)

    def exists(self) -> bool:
        """Whether anything was ever written."""
        return self.store.exists()

    @contextmanager
    def open(self, *, read_only: bool = False, past: Past | None = None) -> Iterator[Connection]:
        """A connection; all tables exist, and nobody else writes. Waits for others up to the home's
        `lock_timeout_seconds`.

        Raises
        ------
        WarehouseLockedError
            Others still write after that time; names them.
        WarehouseError
            It cannot be opened for another reason: no permission, no warehouse, tables of no
            version that is known.
        MigrationError
            Its tables are newer than this software, or cannot be brought to it.
        """
        with self._opened(read_only, past) as con:
            if read_only:
                yield con
            else:
                with self.store.claimed(con, EVERYTHING):
                    yield con

    @contextmanager
    def look(self, past: Past | None = None) -> Iterator[Connection]:
        """A connection to look at how things stand, or stood. It does not wait for a run: while one
        writes to a file, it is to the copy that readers have. Only where there is none, or one of
        an earlier version, it waits.
        """
        with ExitStack() as stack:
            try:
                at_once = replace(self, patience=0.0)
                con = stack.enter_context(at_once.open(read_only=True, past=past))
            except WarehouseLockedError:
                con = self._published(stack) or stack.enter_context(self.open(read_only=True))
            yield con

    def _published(self, stack: ExitStack) -> Connection | None:
        try:
            con = stack.enter_context(self.read())
        except NothingPublishedError:
            return None
        return con if is_current(con) else None

    def being_written(self) -> bool:
        """Whether another process has the file, so that `look` shows what was published before."""
        try:
            with replace(self, patience=0.0).open(read_only=True):
                return False
        except WarehouseLockedError:
            return True

    def kept_open(self) -> AbstractContextManager[None]:
        """For a process that opens it again and again: while this lasts, that is quick where the
        store allows it.
        """
        return self.store.kept_open()

    @contextmanager
    def by_day(self) -> Iterator[ByDay]:
        """For work that claims one day after another, so that others can write other days at the
        same time where the store allows it.
        """
        days = ByDay(self)
        try:
            yield days
        finally:
            days.close()

    def read(self, past: Past | None = None) -> AbstractContextManager[Connection]:
        """What readers see: it never waits for a run, nor a run for it. Raises WarehouseError."""
        return self.store.read(past)

    @contextmanager
    def read_current(self) -> Iterator[Connection]:
        """`read`, with the tables of this version. Raises WarehouseError where what readers see
        was published by another one.
        """
        with self.read() as con:
            if not is_current(con):
                raise WarehouseError(
                    "what is published has the tables of another version of this software. Publish"
                    " it anew: earnings migrate, then earnings run"
                )
            yield con

    @contextmanager
    def _opened(self, read_only: bool, past: Past | None = None) -> Iterator[Connection]:
        con = self._connect(read_only, past)
        try:
            if not self.store.tables_known:
                con = self._with_tables(con, read_only, past)
            with _room_to_write():
                yield con
        finally:
            self.store.disconnect(con)

    def _with_tables(self, con: Connection, read_only: bool, past: Past | None) -> Connection:
        """The connection, or another one in its place, when all tables are there and in order."""
        try:
            outdated = not is_current(con)
            if outdated and read_only and not past:
                # made by an earlier version, or by a process that was killed before it had tables
                self.store.disconnect(con)
                with self.open():
                    pass
                con = self._connect(read_only, past)
            elif outdated and not read_only:
                with self.store.claimed(con, EVERYTHING), self.transaction(con, "tables"):
                    migrate(con, CODE_VERSION, constraints=self.store.keeps_constraints)
            keeps = not read_only and self.store.keeps_others_out() and self.home.settings.publish
            if keeps and (outdated or not self.home.published.exists()):
                # who looks at it meanwhile needs something to look at
                self.store.disconnect(con)
                self.publish()
                con = self._connect(read_only, past)
            self._check_columns(_columns(con))
            self.store.know_tables()
            return con
        except BaseException:
            self.store.disconnect(con)
            raise

    def _check_columns(self, found: dict[str, set[str]]) -> None:
        for table in TABLES.values():
            if odd := {c.name for c in table.columns} ^ found.get(table.name, set()):
                raise WarehouseError(
                    f"{self.store}: table {table.name} was made by another version of this software"
                    f" (it differs in {', '.join(sorted(odd))}). Nothing was changed. As long as no"
                    " statement was issued, move the file away and run the days again from"
                    " landing/; afterwards go on with the version that made it."
                )

    def _connect(self, read_only: bool, past: Past | None) -> Connection:
        con = self.store.connect(read_only, past)
        try:
            con.execute("SET TimeZone = 'UTC'; SET preserve_insertion_order = true")
            con.execute(f"{QUIET}; {MACROS}")
        except BaseException:
            con.close()
            raise
        return con

    @contextmanager
    def write_day(
        self, con: Connection, day: date, policy_hash: str | None = None
    ) -> Iterator[DayWriter]:
        """One transaction: everything that is replaced inside becomes visible together, or not at
        all.

        Before the commit the invariants of every table written are checked on that day; a violation
        rolls back. So does a change of a closed day, except in tables of advice: no amount of that
        day follows from them.

        Raises
        ------
        ClosedDayError
            A statement was issued for the day, and a table would not be as it was.
        """
        with transaction(con):
            with self.rewrite_day(con, day, policy_hash) as writer:
                yield writer
                closed = closed_through(con)
                changed = sorted(name for name in writer.changed if TABLES[name].kind != "advice")
                if changed and closed and day <= closed:
                    raise ClosedDayError(
                        f"{day} is closed: statements were issued through {closed}. Its"
                        f" {', '.join(changed)} would change. Nothing was written. To correct it in"
                        f" the open period: earnings restate --day {day} --reason '...'"
                    )
            self.store.before_commit(con, f"{day} {', '.join(sorted(writer.written))}", None)

    @contextmanager
    def rewrite_day(
        self, con: Connection, day: date, policy_hash: str | None = None
    ) -> Iterator[DayWriter]:
        """Like `write_day`, inside a transaction of the caller's, and for closed days too: for
        restatements only.
        """
        writer = DayWriter(con, day, policy_hash)
        yield writer
        writer.note_logs()
        enforce(
            con, sorted(writer.written), day, quarantine_limit=self.home.settings.quarantine_limit
        )

    @contextmanager
    def transaction(
        self, con: Connection, note: str, *, closing: date | None = None
    ) -> Iterator[None]:
        """Everything inside is committed together, or nothing; `note` says what it is, `closing`
        which days it closes.
        """
        with transaction(con):
            yield
            self.store.before_commit(con, note, closing)

    def publish(self) -> Path | None:
        """Let readers see what was committed, unless the home's settings say no; the file they
        read, if it is one.
        """
        return self.store.publish() if self.home.settings.publish else None

    def prune(self, *, dry_run: bool) -> Sequence[str]:
        """Forget what the store keeps of earlier states beyond what the settings say; in words what
        was done, or would be.
        """
        if not dry_run:
            delete_spilled(self.home)
        if not self.store.many_writers or not self.exists():
            return ()
        with self.open() as con:
            return self.store.prune(con, dry_run=dry_run)


class ByDay:
    """Does one day's work after another on a connection that is opened when it is needed, and again
    when it was lost.
    """

    def __init__(self, house: Warehouse) -> None:
        self._house = house
        self._opened: AbstractContextManager[Connection] | None = None
        self._con: Connection | None = None

    def work(self, claim: Claim, job: Callable[[Connection], _T]) -> _T:
        """Do it while nobody else writes what is claimed; again from the start if another commit or
        a lost server undid it.

        Raises
        ------
        DisturbedError
            It was undone again and again, in the end with everything claimed.
        """
        for attempt in counting(1):
            try:
                con = self._connection()
                with self._house.store.claimed(con, claim if attempt <= _TOGETHER else EVERYTHING):
                    return job(con)
            except DisturbedError:
                self.close()
                if attempt == _AT_ALL:
                    raise
                time.sleep(0.05 * 2**attempt * random.uniform(0.5, 1.5))
        raise AssertionError("unreachable")

    def _connection(self) -> Connection:
        if self._con is None:
            self._opened = self._house._opened(read_only=False)
            try:
                self._con = self._opened.__enter__()
            except duckdb.Error as error:
                if not self._house.store.many_writers:
                    raise
                raise DisturbedError(
                    f"{self._house.store}: lost while it was opened: {' '.join(str(error).split())}"
                ) from error
        return self._con

    def close(self) -> None:
        if self._opened and self._con:
            self._opened.__exit__(None, None, None)
        self._opened = self._con = None


@contextmanager
def transaction(con: Connection) -> Iterator[None]:
    """Everything inside is committed together; any exception leaves what was there before."""
    with _room_to_write():
        con.begin()
        try:
            yield
            con.commit()
        except BaseException:
            with suppress(
                duckdb.Error
            ):  # none is open any more: the commit itself failed, or the server is gone
                con.rollback()
            raise


@contextmanager
def _room_to_write() -> Iterator[None]:
    try:
        yield
    except duckdb.Error as error:
        if "Could not write file" not in str(error):
            raise
        raise WarehouseError(
            f"the warehouse cannot be written: {str(error).splitlines()[0]}. What was committed"
            " before stays, and nothing else was written: make room and start again."
        ) from error


def _columns(con: Connection) -> dict[str, set[str]]:
    """Columns of every table there is."""
    found: dict[str, set[str]] = {}
    sql = (
        "SELECT table_name, column_name FROM duckdb_columns() WHERE NOT internal AND database_name"
        " = current_database()"
    )
    for table, column in con.execute(sql).fetchall():
        found.setdefault(table, set()).add(column)
    return found


def in_batches(
    con: Connection, sql: str, parameters: dict[str, Any] | None = None, *, rows: int = 1 << 18
) -> Iterator[pa.RecordBatch]:
    """The rows of a query, so many at a time and never all at once; ask nothing else of the
    connection meanwhile.
    """
    try:
        yield from con.execute(sql, parameters).to_arrow_reader(rows)
    except OSError as error:  # what DuckDB finds while it streams, Arrow says in its own words
        raise duckdb.Error(str(error)) from error


def closed_through(con: Connection) -> date | None:
    """The last day for which statements were issued."""
    (closed,) = con.execute(
        "SELECT max(day) FROM ledger_transactions WHERE kind = 'statement'"
    ).fetchall()[0]
    return closed  # type: ignore[no-any-return]


def count(con: Connection, table: str, day: date) -> int:
    """Rows a table holds for a day."""
    row = con.execute(f"SELECT count(*) FROM {table} WHERE day = ?", [day]).fetchone()
    assert row is not None
    return int(row[0])


def is_written(con: Connection, table: str, day: date) -> bool:
    """The table's day was written, if only without rows."""
    return not unwritten(con, [table], [day])


def unwritten(
    con: Connection, tables: Sequence[str], days: Sequence[date]
) -> list[tuple[date, str]]:
    """Days that were never written, each with its table: by day, then in the order of `tables`. One
    query, for in a lake it is queries that cost, not rows.
    """
    if not tables or not days:
        return []
    found = con.execute(
        "SELECT day, table_name FROM written_days WHERE day BETWEEN ? AND ?", [min(days), max(days)]
    ).fetchall()
    there = set(found)
    return [(day, table) for day in days for table in tables if (day, table) not in there]


def require_days(con: Connection, tables: Sequence[str], days: Sequence[date]) -> None:
    """Raise MissingDayError if a day of one of the tables was never written."""
    for day, table in unwritten(con, tables, days):
        raise MissingDayError(
            f"{table} of {day} is not in the warehouse. Make it first: earnings run --from {day}"
            f" --to {day}"
        )


def _content(con: Connection, table: str, day: date) -> str:
    """What the table holds on the day.

    Counts first: before every query that names all columns of a table that never had a row, a lake
    asks its catalogue twice a column.
    """
    return content(con, table, day) if count(con, table, day) else EMPTY
