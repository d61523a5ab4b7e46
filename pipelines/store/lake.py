"""The store for many writers: DuckLake, a catalogue in PostgreSQL and Parquet files in a folder or
a bucket.

What belongs here: everything that is different from a file. DuckLake lets two transactions commit
if neither deletes what the other touches, so two that both *append* (to the ledger's chain, or to a
day nobody wrote before) would both go through. Advisory locks of the catalogue's own server keep
them apart; docs/lake.md says which, and what happens when a holder dies.
"""

from __future__ import annotations

import json
import os
import re
import time
import zlib
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from socket import gethostname
from typing import Any

import duckdb

from pipelines.settings import Home, LakeAddress
from pipelines.sql import as_text
from pipelines.store.file_store import (
    AwayError,
    Claim,
    Connection,
    DisturbedError,
    Past,
    WarehouseError,
    WarehouseLockedError,
    configuration,
    kept_by,
    spill_folder,
)

META = "__ducklake_metadata_warehouse"  # what DuckLake calls the catalogue's database
_AWAY = (  # what libpq says of a server that may be back in a moment
    "refused", "starting up", "shutting down", "not yet accepting", "No such file", "timeout",
    "closed the connection", "terminating",
)  # fmt: skip
_WHOLE, _DAYS, _ASSETS = 5_401, 5_402, 5_403  # first half of the locks' keys


@dataclass
class _Kept:
    """A lake that stays attached between connections, and how many asked for that."""

    users: int = 0
    instance: Connection | None = None

    def forget(self) -> None:
        if self.instance is not None:
            self.instance.close()  # cursors that are still open keep what they need
        self.instance = None


_NUMBERS = count()
_SMALL_FILE = 16 << 20  # bytes

_KEPT: dict[LakeAddress, _Kept] = {}  # in this process


class LakeStore:
    """The lake of one home."""

    keeps_constraints = False
    many_writers = True

    def __init__(self, home: Home) -> None:
        assert home.lake
        self.home, self.address = home, home.lake

    def __str__(self) -> str:
        return str(self.address)

    # ----------------------------------------------------------------------------------------------

    def exists(self) -> bool:
        try:
            self.connect(read_only=True, past=None).close()
        except NoLakeError:
            return False
        return True

    def kept_open(self) -> AbstractContextManager[None]:
        """Loading the extensions and attaching take longer than most days of most assets."""
        return kept_by(_KEPT, self.address, _Kept)

    def connect(self, read_only: bool, past: Past | None) -> Connection:
        """Waits for a server that is away; a reader sees one state from the first query to the
        last.
        """
        kept = _KEPT.get(self.address)
        if past or not kept or (read_only and not kept.instance):
            return self._attached(read_only, past)
        if kept.instance:
            with suppress(duckdb.Error):  # the server was away since
                return self._another(kept.instance, read_only)
            kept.forget()
        kept.instance = self._attached(False, None)
        return self._another(kept.instance, read_only)

    def disconnect(self, con: Connection) -> None:
        con.close()

    def keeps_others_out(self) -> bool:
        return False

    @property
    def tables_known(self) -> bool:
        return False  # others write too, perhaps of a newer version

    def know_tables(self) -> None:
        pass

    def _another(self, instance: Connection, read_only: bool) -> Connection:
        con = instance.cursor()
        try:
            con.execute("USE warehouse")
            if read_only:
                con.execute("BEGIN TRANSACTION READ ONLY")
            con.execute("FROM ducklake_current_snapshot('warehouse')")  # asks the server
        except BaseException:
            con.close()
            raise
        return con

    def _attached(self, read_only: bool, past: Past | None) -> Connection:
        deadline = time.monotonic() + self.home.settings.lock_timeout_seconds
        self._prepare_environment()
        while True:
            con = duckdb.connect(
                config={
                    **configuration(self.home),
                    "temp_directory": spill_folder(self.home, str(next(_NUMBERS))),
                }
            )
            try:
                self._load(con)
                self._attach(con, read_only, past)
                if read_only:
                    con.begin()
                return con
            except duckdb.Error as error:
                con.close()
                away = any(sign in str(error) for sign in _AWAY)
                if not away or time.monotonic() >= deadline:
                    kind = AwayError if away else WarehouseError
                    raise kind(f"{self}: cannot be opened: {_reason(error)}") from error
                time.sleep(0.3)
            except BaseException:
                con.close()
                raise

    def _prepare_environment(self) -> None:
        """What libpq reads from there: a password, so that it is in no message and no query, and
        the name that others see us by.
        """
        if self.address.password is not None:
            os.environ["PGPASSWORD"] = self.address.password
        os.environ["PGAPPNAME"] = f"earnings, process {os.getpid()} on {gethostname()}"[
            :63
        ]  # PostgreSQL keeps no more

    def _load(self, con: Connection) -> None:
        load_extensions(
            con,
            "ducklake",
            "postgres_scanner",
            *(["httpfs", "aws"] if self.address.data.startswith("s3://") else []),
        )
        if self.address.data.startswith("s3://"):
            try:
                con.execute(_secret(os.environ))
            except duckdb.Error as error:
                raise WarehouseError(
                    f"{self}: nothing says who we are to the bucket: set AWS_ACCESS_KEY_ID and"
                    " AWS_SECRET_ACCESS_KEY, or a profile, or give this machine or pod a role"
                    f" ({_reason(error)})"
                ) from error

    def _attach(self, con: Connection, read_only: bool, past: Past | None) -> None:
        options = ["CREATE_IF_NOT_EXISTS false"]
        if past and past.at:
            options += [f"SNAPSHOT_TIME '{past.at.isoformat(sep=' ')}+00'"]
        if read_only:
            options += ["READ_ONLY"]
        try:
            self._attach_with(con, options)
        except duckdb.InvalidInputException as error:
            if "explicitly disabled" not in str(error):
                raise
            if read_only:
                raise NoLakeError(
                    f"{self}: there is no warehouse yet. Make it first: earnings run"
                ) from error
            self._create(con)
        if past and past.issued:
            version = _version_issued(con, past.issued)
            con.execute("USE memory; DETACH warehouse")
            self._attach_with(con, [*options, f"SNAPSHOT_VERSION {version}"])

    def _attach_with(self, con: Connection, options: Sequence[str]) -> None:
        where = [f"DATA_PATH {as_text(self.address.data)}", *options]
        con.execute(
            f"ATTACH {as_text(f'ducklake:postgres:{self.address.dsn}')} AS warehouse"
            f" ({', '.join(where)}); USE warehouse"
        )

    def _create(self, con: Connection) -> None:
        """Two who make the catalogue's tables at once would stop each other."""
        con.execute(f"ATTACH {as_text(self.address.dsn)} AS catalogue (TYPE postgres)")
        con.begin()
        con.execute(
            f"FROM postgres_query('catalogue', 'SELECT pg_advisory_xact_lock({_WHOLE}, 0)::text')"
        )
        with con.cursor() as other:
            self._attach_with(other, [])
        con.rollback()
        con.execute("DETACH catalogue; USE warehouse")

    # ----------------------------------------------------------------------------------------------

    @contextmanager
    def claimed(self, con: Connection, claim: Claim) -> Iterator[None]:
        """Hold the claim's locks in a transaction of their own on the server, which ends with this
        process at the latest.
        """
        lock = con.cursor()
        try:
            try:
                holder = self._acquire(lock, claim)
                con.execute(f"SET VARIABLE claim = {holder}")
            except duckdb.Error as error:
                kind = (
                    WarehouseError if "permission denied" in str(error) else DisturbedError
                )  # trying again grants nothing
                raise kind(f"{self}: cannot be claimed: {_reason(error)}") from error
            try:
                yield
            except duckdb.Error as error:
                if "conflict" in str(error) or not _still_held(con):
                    raise DisturbedError(
                        f"{self}: nothing was written, start it again: {_reason(error)}"
                    ) from error
                if isinstance(error, duckdb.IOException | duckdb.HTTPException):
                    raise WarehouseError(
                        f"{self}: cannot be read or written: {_reason(error)}"
                    ) from error
                raise
        finally:
            with suppress(duckdb.Error):  # the server may be gone, and the locks with it
                lock.rollback()
            lock.close()
            with suppress(duckdb.Error):
                con.execute("RESET VARIABLE claim")

    def _acquire(self, lock: Connection, claim: Claim) -> int:
        """Take the locks, in one order for everybody; returns the server's process that holds
        them.
        """
        timeout = self.home.settings.lock_timeout_seconds
        keys = [(_WHOLE, 0, "" if claim.day is None else "_shared")]
        keys += [(_DAYS, claim.day.toordinal(), "")] if claim.day else []
        keys += (
            [(_ASSETS, zlib.crc32(claim.asset.encode()) & 0x7FFFFFFF, "")] if claim.asset else []
        )
        lock.begin()
        _tell(lock, f"SET LOCAL lock_timeout = {max(1, round(1000 * timeout))}")
        _tell(lock, "SET LOCAL idle_in_transaction_session_timeout = 0")
        for first, second, mode in keys:
            try:
                _ask(lock, f"SELECT pg_advisory_xact_lock{mode}({first}, {second})::text")
            except duckdb.Error as error:
                if "lock timeout" not in str(error):
                    raise
                raise WarehouseLockedError(
                    f"{self}: {self._holders(lock, first, second)} did not finish within"
                    f" {timeout:g} s with {claim.day or 'what it writes'}. Wait for it, or stop it,"
                    " and start again; nothing was changed."
                ) from error
        # A holder that was killed while its COMMIT was on the way loses its locks before that
        # commit is done. Whoever commits holds a lock on this table; waiting for all of them makes
        # sure that nothing is committed any more by those before us.
        with lock.cursor() as fence:
            _tell(fence, "LOCK TABLE ducklake_snapshot IN SHARE MODE")
        return int(_ask(lock, "SELECT pg_backend_pid()")[0][0])

    def _holders(self, lock: Connection, first: int, second: int) -> str:
        with suppress(duckdb.Error), lock.cursor() as other:
            rows = _ask(
                other,
                "SELECT DISTINCT coalesce(nullif(application_name, ''), 'process ' || l.pid || '"
                " of the server') FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE"
                f" classid = {first} AND objid = {second} AND locktype = 'advisory' AND granted",
            )
            return " and ".join(sorted(str(row[0]) for row in rows)) or "another writer"
        return "another writer"

    def before_commit(self, con: Connection, note: str, closing: date | None) -> None:
        if not _still_held(con):
            raise DisturbedError(
                f"{self}: the server ended the session that held the locks; nothing was written,"
                " start it again"
            )
        extra = json.dumps({"closing": closing.isoformat()}) if closing else None
        con.execute(
            "CALL warehouse.set_commit_message(?, ?, extra_info => ?)",
            [os.environ["PGAPPNAME"], note, extra],
        )

    # ----------------------------------------------------------------------------------------------

    def publish(self) -> Path | None:
        return None  # a reader has its own snapshot

    @contextmanager
    def read(self, past: Past | None) -> Iterator[Connection]:
        con = self.connect(read_only=True, past=past)
        try:
            con.execute("SET TimeZone = 'UTC'")
            # Whoever may ask for tables need not be able to read or write this machine's files, or
            # another bucket: only the lake's own, whose tables are read through the catalogue.
            con.execute(f"SET allowed_directories = [{as_text(self.address.data)}]")
            con.execute("SET enable_external_access = false; SET lock_configuration = true")
            yield con
        finally:
            con.close()

    # ----------------------------------------------------------------------------------------------

    def prune(self, con: Connection, *, dry_run: bool) -> Sequence[str]:
        """Forget snapshots older than `snapshot_days` but for those of closings; merge small files;
        delete those that no snapshot needs.
        """
        before = datetime.now(UTC) - timedelta(days=self.home.settings.snapshot_days)
        old = con.execute(
            """SELECT snapshot_id FROM warehouse.snapshots() WHERE snapshot_time < ?
                AND coalesce(commit_extra_info, '') = ''
               AND snapshot_id < (SELECT max(snapshot_id) FROM warehouse.snapshots()) ORDER BY 1""",
            [before],
        ).fetchall()
        if dry_run:
            return [
                f"would forget {len(old)} states of the lake from before {before:%Y-%m-%d}, make"
                " one of many small files, and delete files that no state needs"
            ]
        # Rows kept in the catalogue go to files: those that were deleted before would otherwise
        # stay there for ever.
        con.execute("CALL ducklake_flush_inlined_data('warehouse')")
        if old:
            con.execute(
                "CALL ducklake_expire_snapshots('warehouse', versions =>"
                f" {[row[0] for row in old]})"
            )
        # A merged file says of each row since which state it is there, so that earlier states see
        # what they saw. A file that is worth reading alone keeps its day to itself.
        merged = con.execute(
            "CALL ducklake_merge_adjacent_files('warehouse', max_file_size => ?)", [_SMALL_FILE]
        ).fetchall()
        unneeded = con.execute(
            "CALL ducklake_cleanup_old_files('warehouse', cleanup_all => true)"
        ).fetchall()
        # What a killed worker wrote and never committed. Nobody is writing now, but a day's grace
        # costs nothing.
        orphans = con.execute(
            "CALL ducklake_delete_orphaned_files('warehouse', older_than => now() - INTERVAL 1 DAY)"
        ).fetchall()
        return [
            f"forgot {len(old)} states of the lake from before {before:%Y-%m-%d}; made"
            f" {sum(made for *_, made in merged)} of {sum(small for *_, small, _ in merged)} small"
            f" files; deleted {len(unneeded)} + {len(orphans)} files"
        ]


class NoLakeError(WarehouseError):
    """The catalogue has no lake in it yet."""


def load_extensions(con: Connection, *names: str) -> None:
    """Load extensions of DuckDB's from their packages. Raises WarehouseError."""
    for name in names:
        package = find_spec(f"duckdb_extension_{name}")
        if not package or not package.submodule_search_locations:
            raise WarehouseError(
                "a lake needs packages that are not installed: pip install 'creator-earnings[lake]'"
            )
        folder = Path(next(iter(package.submodule_search_locations)))
        con.execute(f"LOAD '{folder}/extensions/v{duckdb.__version__}/{name}.duckdb_extension'")


def _version_issued(con: Connection, day: date) -> int:
    """The snapshot in which the statement that closes a day was issued."""
    version = con.execute(
        """SELECT min_by(snapshot_id, closing) FROM
             (SELECT snapshot_id, (commit_extra_info->>'closing')::DATE AS closing
             FROM warehouse.snapshots() WHERE commit_extra_info <> '')
           WHERE closing >= ?""",
        [day],
    ).fetchall()[0][0]
    if version is None:
        raise WarehouseError(
            f"no statement was issued for {day} yet; earnings status says which days are closed"
        )
    return int(version)


def _still_held(con: Connection) -> bool:
    """Whether the session that took the connection's claim is still there with its locks."""
    try:
        holder = con.execute("SELECT getvariable('claim')").fetchall()[0][0]
        return bool(
            holder
            and _ask(
                con,
                f"SELECT 1 FROM pg_locks WHERE pid = {holder} AND locktype = 'advisory' AND granted"
                " LIMIT 1",
            )
        )
    except duckdb.Error:
        return False


def _ask(con: Connection, sql: str) -> list[tuple[Any, ...]]:
    """Rows of a query in the catalogue's server."""
    return con.execute(f"FROM postgres_query('{META}', {as_text(sql)})").fetchall()


def _tell(con: Connection, sql: str) -> None:
    con.execute(f"CALL postgres_execute('{META}', {as_text(sql)})")


def _secret(environment: os._Environ[str]) -> str:
    """What DuckDB needs to read and write a bucket, from the variables that all tools for S3 read.

    Where they name no key, AWS's own library looks for one (profile, web identity, role of the pod
    or machine), and again when it expires.
    """
    endpoint = environment.get("AWS_ENDPOINT_URL", "")
    scheme, _, host = endpoint.rpartition("://")
    options = {
        "KEY_ID": environment.get("AWS_ACCESS_KEY_ID"),
        "SECRET": environment.get("AWS_SECRET_ACCESS_KEY"),
        "SESSION_TOKEN": environment.get("AWS_SESSION_TOKEN"),
        "REGION": environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION"),
        **({"ENDPOINT": host.rstrip("/"), "URL_STYLE": "path"} if endpoint else {}),
    }
    given = [f"{name} {as_text(value)}" for name, value in options.items() if value] + [
        f"USE_SSL {scheme != 'http'}"
    ]
    given += [] if options["KEY_ID"] else ["PROVIDER credential_chain", "REFRESH auto"]
    return f"CREATE SECRET (TYPE s3, {', '.join(given)})"


def _reason(error: Exception) -> str:
    """What PostgreSQL said, or else all of it, in one line.

    >>> _reason(ValueError(
    ...     'cannot run "BEGIN;\\nLOCK TABLE t": ERROR:  permission denied for table t\\n'))
    'permission denied for table t'
    """
    match = re.search(r"(?:ERROR|FATAL): +(.*)", str(error))
    return match[1] if match else " ".join(str(error).split())[:400]
