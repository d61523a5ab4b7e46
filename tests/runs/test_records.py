"""Dagster's records by connections that stay open: the same files as Dagster's own, beside other
processes, and after a kill.
"""

from __future__ import annotations

import os
import signal
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
import yaml
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage
from dagster._core.test_utils import create_run_for_test
from sqlalchemy import Engine, event

from pipelines.records import SHARDS, EventRecords, KeptRecords
from pipelines.settings import PROJECT
from tests.processes import start

KEY = dg.AssetKey("creator_earnings")


def note(instance: dg.DagsterInstance, run_id: str, partition: str) -> None:
    """An event that goes to the run's database and to the index."""
    happened = dg.DagsterEvent(
        event_type_value=dg.DagsterEventType.ASSET_MATERIALIZATION.value,
        job_name="daily",
        event_specific_data=dg._core.events.StepMaterializationData(
            dg.AssetMaterialization(KEY, partition=partition)
        ),
    )
    instance.report_dagster_event(happened, run_id)


def noted(instance: dg.DagsterInstance) -> list[str | None]:
    found = instance.fetch_materializations(KEY, limit=1000).records
    return [record.partition_key for record in found]


@pytest.fixture
def at(tmp_path: Path) -> Iterator[Path]:
    """A folder with the configuration that ships, as DAGSTER_HOME."""
    settings = yaml.safe_load((PROJECT / "dagster.yaml").read_text())
    (tmp_path / "dagster.yaml").write_text(yaml.safe_dump({"storage": settings["storage"]}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DAGSTER_HOME", str(tmp_path))
        yield tmp_path


def schema(path: Path) -> set[tuple[str, ...]]:
    with sqlite3.connect(path) as con:
        (mode,) = con.execute("PRAGMA journal_mode").fetchone()
        made = con.execute("SELECT type, name, sql FROM sqlite_master").fetchall()
        (revision,) = con.execute("SELECT version_num FROM alembic_version").fetchone()
    normal = {(kind, name, "".join((sql or "").split())) for kind, name, sql in made}
    return {("mode", mode), ("revision", revision), *normal}


def test_the_files_are_those_of_dagsters_own_storage(tmp_path: Path) -> None:
    ours, own = tmp_path / "ours", tmp_path / "own"
    for storage in (KeptRecords(str(ours)), DagsterSqliteStorage(str(own))):
        with storage.event_log_storage.run_connection("1234"):
            pass
        storage.dispose()
    files = sorted(p.relative_to(own) for p in own.rglob("*.db"))
    assert sorted(p.relative_to(ours) for p in ours.rglob("*.db")) == files
    assert len(files) == 4
    for file in files:
        assert schema(ours / file) == schema(own / file), file


def test_records_made_without_it_are_read_with_it_and_the_other_way(at: Path) -> None:
    settings = (at / "dagster.yaml").read_text()
    run_id = ""
    for n, configuration in enumerate(("", settings, "")):
        (at / "dagster.yaml").write_text(configuration)
        with dg.DagsterInstance.get() as instance:
            kept = isinstance(instance.event_log_storage, EventRecords)
            assert kept == bool(configuration)
            run_id = run_id or create_run_for_test(instance, "daily").run_id
            assert [run.run_id for run in instance.get_runs()] == [run_id]
            note(instance, run_id, f"2026-03-0{n + 1}")
            assert noted(instance) == [f"2026-03-0{m + 1}" for m in reversed(range(n + 1))]
            assert len(instance.all_logs(run_id)) == n + 1


def test_a_database_is_opened_once_however_many_events_there_are(at: Path) -> None:
    opened: list[str] = []

    def opens(connection: sqlite3.Connection, _: object) -> None:
        opened.append(Path(connection.execute("PRAGMA database_list").fetchone()[2]).name)

    event.listen(Engine, "connect", opens)
    try:
        with dg.DagsterInstance.get() as instance:
            run_id = create_run_for_test(instance, "daily").run_id
            note(instance, run_id, "2026-03-01")
            opened.clear()
            for n in range(20):
                note(instance, run_id, f"2026-03-{n + 2:02d}")
                noted(instance)
            assert opened == []
            for _ in range(2 * SHARDS):
                note(instance, create_run_for_test(instance, "daily").run_id, "2026-04-01")
            events = instance.event_log_storage
            assert len(events._engines) == SHARDS  # type: ignore[attr-defined]
            note(instance, run_id, "2026-04-02")  # the one that was closed is opened again
            assert len(instance.all_logs(run_id)) == 22
        assert not list(at.rglob("*.db-wal")), "a log is left beside a file that is closed"
    finally:
        event.remove(Engine, "connect", opens)


def test_what_a_killed_process_noted_stays_and_others_read_and_write_meanwhile(at: Path) -> None:
    with dg.DagsterInstance.get() as instance:
        run_id = create_run_for_test(instance, "daily").run_id
        body = f"""
import sys
import dagster as dg
from tests.runs.test_records import note
with dg.DagsterInstance.get() as instance:
    note(instance, {run_id!r}, "2026-03-01")
    print("noted", flush=True)
    sys.stdin.readline()
    note(instance, {run_id!r}, "2026-03-03")
    print("noted", flush=True)
    sys.stdin.readline()
"""
        process = start(body, environment={**os.environ, "DAGSTER_HOME": str(at)})
        assert process.stdout.readline() == "noted\n"
        note(instance, run_id, "2026-03-02")
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.stdout.readline() == "noted\n"
        assert noted(instance) == ["2026-03-03", "2026-03-02", "2026-03-01"]
        process.kill()
        assert process.wait() == -signal.SIGKILL
        note(instance, run_id, "2026-03-04")
    with dg.DagsterInstance.get() as instance:
        assert noted(instance) == ["2026-03-04", "2026-03-03", "2026-03-02", "2026-03-01"]
        assert len(instance.all_logs(run_id)) == 4


def test_wiping_closes_what_is_deleted(at: Path) -> None:
    with dg.DagsterInstance.get() as instance:
        run_id = create_run_for_test(instance, "daily").run_id
        note(instance, run_id, "2026-03-01")
        instance.wipe()
        assert noted(instance) == []
        assert instance.all_logs(run_id) == []
        note(instance, create_run_for_test(instance, "daily").run_id, "2026-03-02")
        assert noted(instance) == ["2026-03-02"]


def test_records_lie_in_their_home_whatever_its_folder_is_called(tmp_path: Path) -> None:
    """Below a name that means something in an address, in a pattern and to DuckDB."""
    root = tmp_path / "x=1" / "what?*[a] 100%3F"
    for _ in range(2):  # made, and found again
        records = KeptRecords(str(root))
        with dg.DagsterInstance.ephemeral() as instance:
            records.event_log_storage.register_instance(instance)
            assert not records.event_log_storage.all_asset_keys()
        records.dispose()
    assert [path.name for path in (tmp_path / "x=1").iterdir()] == [root.name]
    assert (root / "history" / "runs.db").stat().st_size > 0
    assert (root / "history" / "runs" / "index.db").stat().st_size > 0
    assert (root / "schedules" / "schedules.db").stat().st_size > 0
