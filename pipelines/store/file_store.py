"""Where the warehouse's tables are kept: what a store must do, and the one that is a single DuckDB
file.

What belongs here: opening, who may write when, what a reader gets. The other store is in
`store/lake.py`; which of the two a home has is decided by its settings, and nothing but
`store/warehouse.py` and the command line need know.
"""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from datetime import date, datetime
from functools import cache
from pathlib import Path
from socket import gethostname
from typing import Protocol, TypeVar

import duckdb

from pipelines.errors import ExpectedError
from pipelines.settings import Home
from pipelines.sql import as_text

Connection = duckdb.DuckDBPyConnection
_SPILLED = "spilled"
_POOLS = ".pools"
_COPIED_AT_ONCE = 1 << 20  # bytes
WORKERS = (  # in the environment of a worker: how many processes share this machine
    "EARNINGS_WORKERS"
)


class WarehouseError(ExpectedError, RuntimeError):
    """The warehouse cannot be opened or published: says which and why."""


class WarehouseLockedError(WarehouseError):
    """Another process writes to the warehouse and did not finish in time."""


class NothingPublishedError(WarehouseError):
    """Readers have nothing to read yet: says what makes it."""


class DisturbedError(WarehouseError):
    """Another commit, or a lost connection, undid what was being written: doing it again from the
    start helps.
    """


class AwayError(WarehouseError):
    """The server of a lake does not answer: it may be back in a moment."""


@dataclass(frozen=True)
class Past:
    """A state of the warehouse that is over: as it was at a time (UTC), or when the statement that
    closes a day was issued.
    """

    at: datetime | None = None
    issued: date | None = None


@dataclass(frozen=True)
class Claim:
    """What a writer keeps others from: everything, or a day, and with `asset` also all other days
    of that asset.
    """

    day: date | None = None
    asset: str | None = None


EVERYTHING = Claim()


class Store(Protocol):
    """What the warehouse needs of the place where its tables are."""

    home: Home
    keeps_constraints: bool
    many_writers: bool

    def exists(self) -> bool:
        """Whether there is anything to read."""

    def kept_open(self) -> AbstractContextManager[None]:
        """While this lasts, connections of this process share what is slow to set up, if others are
        not kept out by that.
        """

    def connect(self, read_only: bool, past: Past | None) -> Connection:
        """A connection whose default database is the warehouse. Raises WarehouseError."""

    def disconnect(self, con: Connection) -> None:
        """Close what `connect` gave."""

    def keeps_others_out(self) -> bool:
        """Whether nobody else can read what is committed until this process is done with it."""

    @property
    def tables_known(self) -> bool:
        """Whether its tables were found in order, and nobody can have changed them since."""

    def know_tables(self) -> None:
        """Its tables were found in order."""

    def claimed(self, con: Connection, claim: Claim) -> AbstractContextManager[None]:
        """Nobody else writes what is claimed while this lasts. Raises WarehouseLockedError;
        DisturbedError if what is done inside fails for a reason that doing it again removes.
        """

    def before_commit(self, con: Connection, note: str, closing: date | None) -> None:
        """Called last in every transaction: makes sure the claim still stands, and records what the
        commit is.
        """

    def publish(self) -> Path | None:
        """Let readers see what was committed; the file they read, if it is one."""

    def read(self, past: Past | None) -> AbstractContextManager[Connection]:
        """What readers see, without stopping a run or being stopped by one."""

    def prune(self, con: Connection, *, dry_run: bool) -> Sequence[str]:
        """Forget old states; says in words what was, or would be, done."""


class Shared(Protocol):
    """What connections of this process share, and how many asked for that."""

    users: int

    def forget(self) -> None:
        """Close what is shared."""


_Key = TypeVar("_Key")
_Shared = TypeVar("_Shared", bound=Shared)


@contextmanager
def kept_by(kept: dict[_Key, _Shared], key: _Key, new: Callable[[], _Shared]) -> Iterator[None]:
    """Keep what stands under `key` until the last of those who asked for it has left."""
    shared = kept.setdefault(key, new())
    shared.users += 1
    try:
        yield
    finally:
        shared.users -= 1
        if not shared.users:
            shared.forget()
            del kept[key]


@dataclass
class _Kept:
    """A file that stays open between connections, and how many asked for that. `known`: its tables
    were looked at; while it is open nobody else changes them.
    """

    users: int = 0
    instance: Connection | None = None
    read_only: bool = False
    known: bool = False

    def forget(self) -> None:
        if self.instance is not None:
            self.instance.close()
        self.instance, self.known = None, False

    def cursor(self, read_only: bool) -> Connection | None:
        """Another connection to it; None if it is not open, not to be written, or broken."""
        if self.instance is not None and (read_only or not self.read_only):
            con = self.instance.cursor()
            with suppress(duckdb.Error):  # a fatal error ends it for all its connections
                con.execute("BEGIN TRANSACTION READ ONLY" if read_only else "SELECT 1")
                return con
            con.close()
        self.forget()
        return None


_KEPT: dict[Path, _Kept] = {}  # in this process
_KEPT_MEMORY = 256 << 20  # bytes that may stay in memory between two connections


class FileStore:
    """One DuckDB file. It takes one writer, which has it to itself from opening to closing; readers
    get a copy.
    """

    keeps_constraints = True
    many_writers = False

    def __init__(self, home: Home, patience: float | None = None) -> None:
        self.home = home
        self.patience = patience  # seconds to wait for another; None: what the settings say

    def __str__(self) -> str:
        return str(self.home.warehouse)

    def exists(self) -> bool:
        return self.home.warehouse.exists()

    def kept_open(self) -> AbstractContextManager[None]:
        """Opening the file, and closing it, takes longer than a small day of most assets. Nobody
        else writes to it from the first connection to the end, or reads it once this process
        writes.
        """
        return kept_by(_KEPT, self.home.warehouse, _Kept)

    def connect(self, read_only: bool, past: Past | None) -> Connection:
        _refuse_past(past)
        kept = _KEPT.get(self.home.warehouse)
        if kept is None:
            return self._opened(read_only)
        if con := kept.cursor(read_only):
            return con
        kept.instance, kept.read_only = self._opened(read_only), read_only
        con = kept.cursor(read_only)
        assert con
        return con

    def disconnect(self, con: Connection) -> None:
        kept = _KEPT.get(self.home.warehouse)
        if kept and kept.instance is not None:
            with suppress(duckdb.Error):
                held = con.execute("SELECT sum(memory_usage_bytes) FROM duckdb_memory()").fetchone()
                # What a large step leaves in memory, its limit does not give to numpy.
                if held and held[0] > _KEPT_MEMORY:
                    kept.forget()
        con.close()

    def keeps_others_out(self) -> bool:
        return self.home.warehouse in _KEPT

    @property
    def tables_known(self) -> bool:
        kept = _KEPT.get(self.home.warehouse)
        return kept is not None and kept.known

    def know_tables(self) -> None:
        kept = _KEPT.get(self.home.warehouse)
        if kept and kept.instance is not None:
            kept.known = True

    def _opened(self, read_only: bool) -> Connection:
        path, timeout = self.home.warehouse, self.patience
        if timeout is None:
            timeout = self.home.settings.lock_timeout_seconds
        if read_only and not path.exists():
            raise WarehouseError(f"{path}: there is no warehouse yet. Make it first: earnings run")
        with explained(path, "cannot be opened"):
            self.home.root.mkdir(parents=True, exist_ok=True)
        deadline = time.monotonic() + timeout
        while True:
            try:
                return duckdb.connect(
                    str(path), read_only=read_only, config=configuration(self.home)
                )
            except duckdb.Error as error:
                if "set lock" not in str(error):
                    with explained(path, "cannot be opened"):
                        raise
                if time.monotonic() >= deadline:
                    raise WarehouseLockedError(
                        f"{path}: {_holder(str(error))} writes to it and did not finish within"
                        f" {timeout:g} s. Wait for that run, or stop it, and start again; nothing"
                        " was changed."
                    ) from error
                time.sleep(0.2)

    def claimed(self, con: Connection, claim: Claim) -> AbstractContextManager[None]:
        return nullcontext()  # whoever has it open has all of it

    def before_commit(self, con: Connection, note: str, closing: date | None) -> None:
        pass

    def publish(self) -> Path | None:
        """Copy the closed file beside itself, by write and rename, so that readers never meet a
        run.
        """
        published = self.home.published
        partial = published.with_name(f".{published.name}.{os.getpid()}.partial")
        kept = _KEPT.get(self.home.warehouse)
        con = self.connect(read_only=False, past=None)
        # Closed last: the system takes a process's locks on a file away as soon as it closes any of
        # its descriptors.
        with ExitStack() as last:
            try:
                with explained(published, "cannot be written"):
                    con.execute(
                        "CHECKPOINT"
                    )  # what is in the log beside the file would be missing from the copy
                    source = last.enter_context(self.home.warehouse.open("rb"))
                    with partial.open("wb") as copy:
                        shutil.copyfileobj(source, copy, _COPIED_AT_ONCE)
                    # Renamed while the warehouse is still held: of two who publish, the later state
                    # wins.
                    os.replace(partial, published)
            finally:
                partial.unlink(missing_ok=True)
                con.close()
                if kept:
                    kept.forget()
        return published

    @contextmanager
    def read(self, past: Past | None) -> Iterator[Connection]:
        _refuse_past(past)
        if not self.home.published.exists():
            raise NothingPublishedError(
                f"{self.home.published}: there is no published copy yet. Make it first:"
                " earnings run"
            )
        with explained(self.home.published, "cannot be opened"):
            # Many may read it at once, and DuckDB would let all of them spill into the folder
            # beside the file.
            config = {
                **configuration(self.home),
                "temp_directory": spill_folder(self.home, "published"),
            }
            # A database of its own for each reader: those of one process would share one, and the
            # second could not set what the first has locked.
            con = duckdb.connect(config=config)
        try:
            with explained(self.home.published, "cannot be opened"):
                con.execute(f"ATTACH {as_text(self.home.published)} AS published (READ_ONLY)")
            con.execute("USE published")
            # Whoever may ask for tables need not be able to read or write this machine's files.
            con.execute(f"{QUIET}; SET TimeZone = 'UTC'; SET enable_external_access = false")
            con.execute("SET lock_configuration = true")
            yield con
        finally:
            con.close()

    def prune(self, con: Connection, *, dry_run: bool) -> Sequence[str]:
        return ()


QUIET = "SET enable_progress_bar = false"
"""A query of more than two seconds would draw a bar into what a command prints; no setting of
`configuration` takes it away.
"""


def configuration(home: Home) -> dict[str, str | bool | int | float | list[str]]:
    """DuckDB's settings for a home; nothing is ever downloaded. What the home leaves open, the
    workers of a run share.
    """
    config: dict[str, str | bool | int | float | list[str]] = {
        "autoinstall_known_extensions": False
    }
    workers = int(os.environ.get(WORKERS, "1"))
    threads, memory = _share(workers) if workers > 1 else (None, None)
    if threads := home.settings.threads or threads:
        config["threads"] = threads
    if memory := home.settings.memory_limit or memory:
        config["memory_limit"] = memory
    return config


@cache
def _share(workers: int) -> tuple[int, str]:
    """Threads and memory of each of several processes. DuckDB's own are one a core and 80 % of the
    machine's, or of the container's.
    """
    with duckdb.connect() as con:
        threads, memory = con.execute(
            "SELECT current_setting('threads'), current_setting('memory_limit')"
        ).fetchall()[0]
    number, unit = memory.split()
    return max(1, threads // workers), f"{float(number) / workers:.2f} {unit}"


def spill_folder(home: Home, database: str) -> str:
    """Where a process puts what of a database does not fit into memory. DuckDB gives the files
    fixed names, so two that shared a folder would write into each other's.
    """
    return str(home.root / f"{_SPILLED}-{gethostname()}-{os.getpid()}-{database}")


def scratch_name() -> str:
    """How the name of a folder begins that is this process's while it splits large pools."""
    return f"{_POOLS}-{gethostname()}-{os.getpid()}-"


def delete_spilled(home: Home, *, alone: bool = False) -> None:
    """What killed processes of this machine left behind; DuckDB deletes a folder when its
    connection is closed. `alone`: nobody else writes, so that nobody splits pools either.
    """
    for entry in os.scandir(home.root):
        match = re.fullmatch(
            rf"(?:{_SPILLED}|{re.escape(_POOLS)})-{re.escape(gethostname())}-([0-9]+)-\w+",
            entry.name,
        )
        if match:
            try:
                os.kill(int(match[1]), 0)
            except ProcessLookupError:
                shutil.rmtree(entry.path)
            except PermissionError:
                pass  # another user's, and alive
        elif alone and entry.name.startswith(f"{_POOLS}-"):
            shutil.rmtree(entry.path)


@contextmanager
def explained(path: object, what: str) -> Iterator[None]:
    """Turn errors of the system or the database into one that names the place."""
    try:
        yield
    except (OSError, duckdb.Error) as error:
        raise WarehouseError(f"{path}: {what}: {str(error).splitlines()[0]}") from error


def _refuse_past(past: Past | None) -> None:
    if past:
        raise WarehouseError(
            "a single file keeps no earlier states, only a lake does (setting `warehouse`);"
            " docs/lake.md"
        )


def _holder(message: str) -> str:
    match = re.search(r"held in (.+?) \(PID (\d+)\)", message)
    return f"process {match[2]} ({match[1]})" if match else "another process"
