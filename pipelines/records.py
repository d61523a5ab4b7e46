"""Dagster's records of runs in SQLite, in the files where Dagster keeps them by default, with
connections that stay open.

Dagster opens its databases anew for every event, some seven hundred times a run, and pays each time
for an engine, a connection, a statement compiled and, as the last to leave, for merging the log
beside the file. Here each database keeps its engine and a connection. Files and tables are
Dagster's own, so records made with and without this are alike. Between two events no transaction is
open: other processes read and write as before, and a process that is killed leaves what it
committed.

`dagster.yaml` names `KeptRecords`; a home's own `dagster.yaml` may name another storage.
"""

from __future__ import annotations

import sqlite3
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote

from dagster import DagsterInstance
from dagster._config import StringSource
from dagster._core.storage.base_storage import DagsterStorage
from dagster._core.storage.event_log import SqliteEventLogStorage
from dagster._core.storage.event_log.schema import SqlEventLogStorageMetadata
from dagster._core.storage.event_log.sqlite import sqlite_event_log
from dagster._core.storage.event_log.sqlite.sqlite_event_log import INDEX_SHARD_NAME
from dagster._core.storage.runs import SqliteRunStorage
from dagster._core.storage.runs.sqlite import sqlite_run_storage
from dagster._core.storage.schedules import SqliteScheduleStorage
from dagster._core.storage.schedules.sqlite import sqlite_schedule_storage
from dagster._core.storage.sql import create_engine
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS, create_db_conn_string
from dagster._serdes import ConfigurableClass, ConfigurableClassData
from sqlalchemy import Connection, Engine, event
from sqlalchemy.pool import QueuePool

_VERSIONS = (  # as Alembic makes it
    "CREATE TABLE IF NOT EXISTS alembic_version (version_num VARCHAR(32) NOT NULL, "
    "CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num))"
)
SHARDS = 8  # databases of events that are kept open: the web UI looks at one run after the other


def _address(base_dir: str, name: str) -> str:
    """A database as an address. Dagster writes the path into it as it is, where a `?` ends it: the
    records of a home below such a folder would be elsewhere, and shared by all of them.

    >>> _address("/data/what?", "runs")
    'sqlite:////data/what%3F/runs.db'
    """
    return f"sqlite:///{quote(create_db_conn_string(base_dir, name).removeprefix('sqlite:///'))}"


for _module in (sqlite_event_log, sqlite_run_storage, sqlite_schedule_storage):
    setattr(_module, "create_db_conn_string", _address)  # noqa: B010 - not theirs to export


def _engine(address: str) -> Engine:
    """An engine that keeps one connection; who comes while it is taken gets another for a while."""
    engine: Engine = create_engine(
        address,
        poolclass=QueuePool,
        pool_size=1,
        max_overflow=-1,
        connect_args={"timeout": SQLITE_BUSY_TIMEOUT_SECONDS, "check_same_thread": False},
    )

    @event.listens_for(engine, "connect")
    def _do_not_wait_for_the_disk(connection: sqlite3.Connection, _: object) -> None:
        # With the log that Dagster asks for (WAL) no power cut breaks the file, though it may cost
        # the last events; what a process committed before it was killed stays in any case.
        connection.execute("PRAGMA synchronous = NORMAL")

    return engine


def _revision(path: Path, *tables: str) -> str | None:
    """Which of Dagster's revisions a database says it has; None if it says none, or lacks a table.

    Dagster asks too, and each time reads all its migrations to know the newest, though it does
    nothing where there is any.
    """
    if not path.exists():
        return None
    with closing(sqlite3.connect(path, timeout=SQLITE_BUSY_TIMEOUT_SECONDS)) as connection:
        rows = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        if not {"alembic_version", *tables} <= {name for (name,) in rows}:
            return None
        found = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        return str(found[0]) if found else None


class EventRecords(SqliteEventLogStorage):
    """What happened in runs: a database a run, and an index over all of them."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        self._engines: OrderedDict[str, Engine] = OrderedDict()
        self._tables: set[str] = set()
        super().__init__(base_dir, inst_data)

    @contextmanager
    def _connect(self, shard: str) -> Iterator[Connection]:
        with self._db_lock:
            engine = self._engine_of(shard)
            if shard not in self._initialized_dbs:
                self._initdb(engine)
                self._initialized_dbs.add(shard)
            with engine.begin() as connection:
                yield connection

    def _initdb(self, engine: Engine, for_index_shard: bool = False) -> None:
        """Make the tables of a database that has none. That of a run has the revision of the index,
        which was made first.
        """
        assert engine.url.database
        if _revision(Path(engine.url.database)):
            return
        index = _revision(Path(self.path_for_shard(INDEX_SHARD_NAME)))
        if index and not for_index_shard:
            # Another process may make it too: who comes second finds all there.
            with engine.begin() as connection:
                connection.exec_driver_sql("PRAGMA journal_mode = WAL")
                connection.exec_driver_sql("BEGIN IMMEDIATE")
                SqlEventLogStorageMetadata.create_all(connection)
                connection.exec_driver_sql(_VERSIONS)
                connection.exec_driver_sql(
                    "INSERT OR IGNORE INTO alembic_version VALUES (?)", (index,)
                )
            return
        super()._initdb(engine, for_index_shard)

    def _engine_of(self, shard: str) -> Engine:
        if shard not in self._engines:
            self._engines[shard] = _engine(self.conn_string_for_shard(shard))
        self._engines.move_to_end(shard)
        if len(self._engines) > SHARDS:
            self._engines.popitem(last=False)[1].dispose()
        return self._engines[shard]

    def _close(self) -> None:
        with self._db_lock:
            while self._engines:
                self._engines.popitem()[1].dispose()

    def has_table(self, table_name: str) -> bool:
        """Asked with every event; a table that is there stays."""
        if table_name not in self._tables and super().has_table(table_name):
            self._tables.add(table_name)
        return table_name in self._tables

    def wipe(self) -> None:
        self._close()  # the files are deleted now
        super().wipe()

    def dispose(self) -> None:
        super().dispose()
        self._close()


class _Kept:
    """A storage of one database, with the engine that it keeps."""

    _conn_string: str

    @cached_property
    def _engine(self) -> Engine:
        return _engine(self._conn_string)

    @contextmanager
    def connect(self) -> Iterator[Connection]:
        with self._engine.begin() as connection:
            yield connection

    def dispose(self) -> None:
        self._engine.dispose()


class RunRecords(_Kept, SqliteRunStorage):
    """Which runs there are, and how they stand."""

    @classmethod
    def from_local(cls, base_dir: str, inst_data: ConfigurableClassData | None = None) -> Self:
        if _revision(Path(base_dir, "runs.db"), "instance_info"):
            return cls(_address(base_dir, "runs"), inst_data)
        return super().from_local(base_dir, inst_data)


class ScheduleRecords(_Kept, SqliteScheduleStorage):
    """What schedules and sensors did."""

    @classmethod
    def from_local(
        cls, base_dir: str, inst_data: ConfigurableClassData | None = None
    ) -> ScheduleRecords:
        if not _revision(Path(base_dir, "schedules.db")):
            super().from_local(base_dir, inst_data)  # makes the tables
        return cls(_address(base_dir, "schedules"), inst_data)


class KeptRecords(DagsterStorage[DagsterInstance], ConfigurableClass):
    """The three, laid out below `base_dir` as Dagster's default lays them out."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        self._inst_data = inst_data
        base = Path(base_dir)
        self._runs = RunRecords.from_local(str(base / "history"))
        self._events = EventRecords(str(base / "history" / "runs"))
        self._schedules = ScheduleRecords.from_local(str(base / "schedules"))
        super().__init__()  # type: ignore[no-untyped-call]

    @property
    def inst_data(self) -> ConfigurableClassData | None:
        return self._inst_data

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        return {"base_dir": StringSource}

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> KeptRecords:
        return cls(config_value["base_dir"], inst_data)

    def register_instance(self, instance: DagsterInstance) -> None:
        super().register_instance(instance)
        for part in (self._runs, self._events, self._schedules):
            if not part.has_instance:
                part.register_instance(instance)

    @property
    def event_log_storage(self) -> EventRecords:
        return self._events

    @property
    def run_storage(self) -> RunRecords:
        return self._runs

    @property
    def schedule_storage(self) -> ScheduleRecords:
        return self._schedules

    def dispose(self) -> None:
        for part in (self._events, self._runs, self._schedules):
            part.dispose()
