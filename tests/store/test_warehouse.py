"""The warehouse: a day is written whole or not at all, whatever happens; one writer; a published
copy that is always consistent.
"""

from __future__ import annotations

import signal
from datetime import date, timedelta
from pathlib import Path
from typing import Any, BinaryIO

import duckdb
import pyarrow as pa
import pytest

from pipelines.schema import TABLES
from pipelines.schema.invariants import InvariantError
from pipelines.settings import Home
from pipelines.store import file_store
from pipelines.store.file_store import configuration, delete_spilled, scratch_name
from pipelines.store.warehouse import (
    MissingDayError,
    Warehouse,
    WarehouseError,
    WarehouseLockedError,
    count,
    in_batches,
    require_days,
)
from tests.processes import Process, start

DAY = date(2026, 3, 5)


def creators(*ids: str, day: date = DAY) -> pa.Table:
    n = len(ids)
    columns = {
        "day": [day] * n,
        "creator_id": list(ids),
        "identity_id": [None] * n,
        "followers": [1] * n,
        "source": ["x"] * n,
    }
    types = {"day": pa.date32(), "followers": pa.int64()}
    return pa.table(
        {name: pa.array(values, types.get(name, pa.string())) for name, values in columns.items()}
    )


def write(warehouse: Warehouse, *ids: str, day: date = DAY) -> int:
    with warehouse.open() as con, warehouse.write_day(con, day) as writer:
        return writer.replace("creators", creators(*ids, day=day))


def contents(warehouse: Warehouse) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table."""
    with warehouse.open() as con:
        return {name: con.execute(f"FROM {name} ORDER BY ALL").fetchall() for name in TABLES}


@pytest.fixture
def warehouse(platform) -> Warehouse:
    """A warehouse that holds creators a and b on DAY."""
    platform.settings(lock_timeout_seconds=0.5)
    write(platform.warehouse, "a", "b")
    return platform.warehouse


def in_another_process(home: Path, body: str) -> Process:
    """Run code in a second process, with `warehouse` open as `con`; returns when it printed its
    first line.
    """
    code = f"""
import sys, time
from datetime import date
from pipelines.settings import Home
from pipelines.store.file_store import delete_spilled, scratch_name
from pipelines.store.warehouse import Warehouse
warehouse = Warehouse(Home.at({str(home)!r}))
with warehouse.open() as con:
{body}
"""
    process = start(code)
    assert process.stdout.readline()
    return process


# --------------------------------------------------------------------------------------------------
# One write primitive


def test_replacing_a_day_leaves_the_others(warehouse):
    write(warehouse, "c", day=DAY + timedelta(days=1))
    assert write(warehouse, "b") == 1
    with warehouse.open() as con:
        assert con.execute("SELECT day, creator_id FROM creators ORDER BY day").fetchall() == [
            (DAY, "b"),
            (DAY + timedelta(days=1), "c"),
        ]
        written = "SELECT day, rows FROM written_days WHERE table_name = 'creators' ORDER BY day"
        assert con.execute(written).fetchall() == [
            (DAY, 1),
            (DAY + timedelta(days=1), 1),
        ]


def test_columns_go_by_name_and_rows_may_come_as_sql_relation_or_arrow(warehouse):
    table = creators("x", "y")
    shuffled = table.select(list(reversed(table.column_names)))
    results = []
    with warehouse.open() as con:
        con.register("source", shuffled)
        for rows in (shuffled, "SELECT * FROM source", con.sql("FROM source")):
            with warehouse.write_day(con, DAY) as writer:
                assert writer.replace("creators", rows) == 2
            results.append(con.execute("FROM creators ORDER BY ALL").fetchall())
        with warehouse.write_day(con, DAY) as writer:
            assert (
                writer.replace(
                    "creators",
                    "SELECT * FROM source -- all but one\nWHERE creator_id <> $other",
                    {"other": "y"},
                )
                == 1
            )
    assert results == [[(DAY, "x", None, 1, "x"), (DAY, "y", None, 1, "x")]] * 3


def test_a_day_without_rows_is_written(warehouse):
    assert write(warehouse) == 0
    with warehouse.open() as con:
        require_days(con, ["creators"], [DAY])
        assert count(con, "creators", DAY) == 0
        with pytest.raises(
            MissingDayError,
            match=r"creators of 2026-03-06 .*earnings run --from 2026-03-06 --to 2026-03-06",
        ):
            require_days(con, ["creators"], [DAY, DAY + timedelta(days=1)])


BAD_ROWS = {
    "column missing": (
        creators("x").drop_columns(["source", "followers"]),
        ValueError,
        "rows lack followers, source",
    ),
    "column too many": (
        creators("x").append_column("more", pa.array([1])),
        ValueError,
        "rows have more, which the table does not",
    ),
    "another day": (
        creators("x", day=DAY + timedelta(days=1)),
        ValueError,
        "some of the rows are of another day",
    ),
    "a null that must not be": (
        creators("x").set_column(4, "source", pa.array([None], pa.string())),
        duckdb.ConstraintException,
        "source",
    ),
    "wrong type": (
        creators("x").set_column(3, "followers", pa.array(["many"])),
        duckdb.ConversionException,
        "many",
    ),
    "key twice": (
        creators("x", "x"),
        InvariantError,
        r"creators 2026-03-05: .*one row per creator_id\. It does not: creator_id = x, n = 2",
    ),
}


@pytest.mark.parametrize(("rows", "error", "message"), BAD_ROWS.values(), ids=BAD_ROWS.keys())
def test_bad_rows_leave_everything_as_it_was(warehouse, rows, error, message):
    before = contents(warehouse)
    with (
        warehouse.open() as con,
        pytest.raises(error, match=message),
        warehouse.write_day(con, DAY) as writer,
    ):
        writer.replace("creators", rows)
    assert contents(warehouse) == before


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, GeneratorExit])
def test_an_exception_inside_a_day_rolls_back_all_its_tables(warehouse, error):
    before = contents(warehouse)

    def fail(con: duckdb.DuckDBPyConnection) -> None:
        with warehouse.write_day(con, DAY) as writer:
            writer.replace("creators", creators("z"))
            con.execute("DELETE FROM written_days")
            con.execute("INSERT INTO quarantine VALUES ('creators', ?, 'f', 1, 'r', 'raw')", [DAY])
            raise error

    with warehouse.open() as con:
        with pytest.raises(error):
            fail(con)
        with warehouse.write_day(
            con, DAY + timedelta(days=1)
        ) as writer:  # the connection is still good
            writer.replace("creators", creators("c", day=DAY + timedelta(days=1)))
    after = contents(warehouse)
    assert [row[1] for row in after["creators"]] == ["a", "b", "c"]
    assert after["quarantine"] == before["quarantine"]
    assert [row for row in after["written_days"] if row[1] == DAY] == before["written_days"]


def test_too_much_quarantine_rolls_back(platform, rows):
    platform.load_known()
    before = contents(platform.warehouse)
    platform.land(
        "viewer_events", [rows.event(f"e{n}", watch_ms=-1 if n < 5 else 1) for n in range(20)]
    )
    with pytest.raises(
        InvariantError, match=r"under the limit.*share = 0\.25.*part\.csv:2 watch_ms"
    ):
        platform.load("viewer_events")
    assert contents(platform.warehouse) == before
    platform.land(
        "viewer_events", [rows.event(f"e{n}", watch_ms=-1 if n == 0 else 1) for n in range(30)]
    )
    assert platform.load("viewer_events").quarantined == 1


def test_nothing_is_visible_before_the_commit(warehouse):
    with warehouse.open() as con:
        other = con.cursor()  # a second transaction on the same file
        with warehouse.write_day(con, DAY) as writer:
            writer.replace("creators", creators("z"))
            assert other.execute("SELECT creator_id FROM creators ORDER BY 1").fetchall() == [
                ("a",),
                ("b",),
            ]
        assert other.execute("SELECT creator_id FROM creators").fetchall() == [("z",)]


def test_a_killed_writer_leaves_the_last_commit(warehouse):
    body = """
    with warehouse.write_day(con, date(2026, 3, 5)) as writer:
        writer.replace("creators", "SELECT DATE '2026-03-05' AS day, 'z' || i AS creator_id,"
                       " NULL::VARCHAR AS identity_id, 1 AS followers, 'x' AS source FROM range(300000) t(i)")
        print("written", flush=True)
        time.sleep(60)
"""
    before = contents(warehouse)
    process = in_another_process(warehouse.home.root, body)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert contents(warehouse) == before
    assert write(warehouse, "c") == 1


# --------------------------------------------------------------------------------------------------
# One writer


def test_a_locked_warehouse_is_waited_for_then_refused_by_the_name_of_the_holder(warehouse):
    process = in_another_process(
        warehouse.home.root, "    print('open', flush=True); time.sleep(60)"
    )
    try:
        bytes_before = warehouse.home.warehouse.read_bytes()
        for read_only in (False, True):
            with (
                pytest.raises(
                    WarehouseLockedError,
                    match=rf"process {process.pid} .*did not finish within 0\.5 s",
                ),
                warehouse.open(read_only=read_only),
            ):
                pass
        assert warehouse.home.warehouse.read_bytes() == bytes_before
    finally:
        process.kill()
        process.wait()
    assert write(warehouse, "c") == 1


def test_a_lock_that_is_released_in_time_is_no_error(platform):
    platform.settings(lock_timeout_seconds=30)
    write(platform.warehouse, "a")
    process = in_another_process(
        platform.home.root, "    print('open', flush=True); time.sleep(0.7)"
    )
    assert write(platform.warehouse, "b") == 1
    assert process.wait() == 0


def test_the_connection_is_closed_whatever_happens(warehouse):
    with pytest.raises(ZeroDivisionError), warehouse.open() as con:
        raise ZeroDivisionError
    with pytest.raises(duckdb.ConnectionException):
        con.execute("SELECT 1")
    process = in_another_process(warehouse.home.root, "    print('open', flush=True)")
    assert process.wait() == 0


def garbage(path: Path) -> None:
    path.write_bytes(b"no warehouse" * 1000)


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("spoil", [garbage, folder])
def test_a_file_that_is_no_warehouse_is_refused_by_name(warehouse, spoil):
    spoil(warehouse.home.warehouse)
    with (
        pytest.raises(WarehouseError, match=rf"{warehouse.home.warehouse}: cannot be opened: "),
        warehouse.open(),
    ):
        pass


def test_reading_where_there_is_nothing_makes_nothing(platform):
    with (
        pytest.raises(WarehouseError, match="there is no warehouse yet"),
        platform.warehouse.open(read_only=True),
    ):
        pass
    assert not platform.home.warehouse.exists()


def test_a_home_that_cannot_be_made_is_refused_by_name(tmp_path, platform_at):
    (tmp_path / "file").write_text("here")
    warehouse = platform_at(tmp_path / "file").warehouse
    with (
        pytest.raises(WarehouseError, match=r"file/warehouse\.duckdb: cannot be opened"),
        warehouse.open(),
    ):
        pass


@pytest.mark.skipif(
    not Path("/sys/kernel").is_dir(), reason="needs a folder that even root may not write in"
)
@pytest.mark.parametrize("root", ["/sys", "/proc/no/such/home"])
def test_a_folder_nobody_may_write_in_is_refused_by_name(platform_at, root):
    warehouse = platform_at(Path(root)).warehouse
    with (
        pytest.raises(WarehouseError, match=rf"{root}/warehouse\.duckdb: cannot be opened"),
        warehouse.open(),
    ):
        pass


def test_a_file_one_may_not_open_is_refused_by_name(warehouse, monkeypatch):
    def refuse(path: str, **_: Any) -> None:
        raise duckdb.IOException(f'IO Error: Cannot open file "{path}": Permission denied')

    monkeypatch.setattr(duckdb, "connect", refuse)  # root is never refused
    with (
        pytest.raises(
            WarehouseError, match=r"cannot be opened: IO Error: .*Permission denied"
        ) as error,
        warehouse.open(),
    ):
        pass
    assert not isinstance(error.value, WarehouseLockedError)


# --------------------------------------------------------------------------------------------------
# A warehouse that a run keeps open


def test_a_file_that_is_kept_open_is_opened_once_and_let_go_at_the_end(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    connect = duckdb.connect
    monkeypatch.setattr(
        duckdb, "connect", lambda path, **o: opened.append(path) or connect(path, **o)
    )
    with warehouse.kept_open():
        for n in range(3):
            assert write(warehouse, *"abc"[: n + 1]) == n + 1
            with warehouse.open(read_only=True) as con:
                assert con.execute("SELECT count(*) FROM creators").fetchall() == [(n + 1,)]
                with pytest.raises(duckdb.Error, match="read-only"):
                    con.execute("DELETE FROM creators")
            with warehouse.kept_open():
                pass  # the end of another that was begun later
    assert opened == [str(warehouse.home.warehouse)] * 2, "once, and once for the first copy"
    process = in_another_process(warehouse.home.root, "    print('open', flush=True)")
    assert process.wait() == 0


def test_nobody_gets_in_between_and_who_looks_sees_what_was_published(
    warehouse: Warehouse,
) -> None:
    body = """
    pass
with warehouse.kept_open():
    for n in range(2):
        with warehouse.open() as con, warehouse.write_day(con, date(2026, 3, 5)) as writer:
            writer.replace("creators", f"SELECT DATE '2026-03-05' AS day, 'z' || i AS creator_id,"
                           f" NULL::VARCHAR AS identity_id, 1 AS followers, 'x' AS source FROM range({n + 3}) t(i)")
    print("written", flush=True)
    time.sleep(60)
"""
    process = in_another_process(warehouse.home.root, body)
    try:
        with (
            pytest.raises(WarehouseLockedError, match=f"process {process.pid} "),
            warehouse.open(),
        ):
            pass
        # nobody had published before: what was there when the run began
        with warehouse.look() as con:
            assert con.execute("SELECT creator_id FROM creators ORDER BY 1").fetchall() == [
                ("a",),
                ("b",),
            ]
    finally:
        process.kill()
        process.wait()
    # killed with the file kept open: what was committed stays
    assert warehouse.exists()
    with warehouse.open(read_only=True) as con:
        assert con.execute("SELECT count(*) FROM creators").fetchall() == [(5 - 1,)]


def test_who_looks_during_the_very_first_run_finds_an_empty_warehouse(platform) -> None:
    platform.settings(lock_timeout_seconds=0.5)
    body = """
    pass
import os
os.remove(warehouse.home.warehouse)
with warehouse.kept_open(), warehouse.open() as con:
    print("open", flush=True)
    time.sleep(60)
"""
    process = in_another_process(platform.home.root, body)
    try:
        assert platform.warehouse.being_written()
        with platform.warehouse.look() as con:
            assert con.execute("SELECT count(*) FROM written_days").fetchall() == [(0,)]
    finally:
        process.kill()
        process.wait()


def test_publishing_in_between_copies_all_and_what_follows_is_locked_again(
    warehouse: Warehouse,
) -> None:
    with warehouse.kept_open():
        write(warehouse, "a", "b", "c")
        warehouse.publish()
        assert published(warehouse) == ["a", "b", "c"]
        assert write(warehouse, "d") == 1
        with pytest.raises(AssertionError):  # it says nothing, for it cannot open it
            in_another_process(warehouse.home.root, "    print('open', flush=True)")
    assert published(warehouse) == ["a", "b", "c"]


def test_what_a_large_step_leaves_in_memory_is_given_back(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_store, "_KEPT_MEMORY", -1)
    with warehouse.kept_open():
        assert write(warehouse, "a") == 1
        process = in_another_process(warehouse.home.root, "    print('open', flush=True)")
        assert process.wait() == 0
        assert write(warehouse, "b") == 1


# --------------------------------------------------------------------------------------------------
# The published copy


def published(warehouse: Warehouse) -> list[str]:
    with duckdb.connect(str(warehouse.home.published), read_only=True) as con:
        return [
            row[0] for row in con.execute("SELECT creator_id FROM creators ORDER BY 1").fetchall()
        ]


def test_processes_that_read_the_copy_never_spill_into_the_same_folder(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DuckDB's files have the same names in every process: two that met in a folder ended both
    processes.
    """
    warehouse.publish()
    monkeypatch.setattr(
        "pipelines.store.file_store.configuration",
        lambda home: {**configuration(home), "memory_limit": "30MB"},
    )
    folders = []
    for pid in (1, 2):
        monkeypatch.setattr("os.getpid", lambda pid=pid: pid)
        with warehouse.read() as con, warehouse.read() as again:
            large = (
                "CREATE TEMP TABLE large AS SELECT md5(n::VARCHAR) AS t FROM range(1_000_000) AS"
                " r (n)"
            )
            con.execute(large)
            folders += [
                Path(folder).name
                for (folder,) in again.execute(
                    "SELECT current_setting('temp_directory')"
                ).fetchall()
            ]
            assert (warehouse.home.root / folders[-1]).is_dir()
    assert len(set(folders)) == 2
    assert not list(warehouse.home.root.glob("spilled-*"))


def test_publishing_copies_every_committed_table(warehouse):
    assert warehouse.publish() == warehouse.home.published
    with (
        warehouse.open() as con,
        duckdb.connect(str(warehouse.home.published), read_only=True) as copy,
    ):
        for name in TABLES:
            assert (
                copy.execute(f"FROM {name} ORDER BY ALL").fetchall()
                == con.execute(f"FROM {name} ORDER BY ALL").fetchall()
            )
    assert sorted(p.name for p in warehouse.home.root.iterdir()) == [
        "settings.toml",
        "warehouse-readonly.duckdb",
        "warehouse.duckdb",
    ]


def test_a_reader_of_the_copy_keeps_what_it_opened_and_does_not_stop_a_run(warehouse):
    warehouse.publish()
    with duckdb.connect(str(warehouse.home.published), read_only=True) as reader:
        write(warehouse, "new")
        warehouse.publish()
        assert reader.execute("SELECT creator_id FROM creators ORDER BY 1").fetchall() == [
            ("a",),
            ("b",),
        ]
    assert published(warehouse) == ["new"]


def test_a_failed_publication_leaves_the_old_copy_and_no_rest(warehouse, monkeypatch):
    warehouse.publish()
    write(warehouse, "new")

    def full(source: BinaryIO, target: BinaryIO, _: int) -> None:
        target.write(source.read(99))
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pipelines.store.file_store.shutil.copyfileobj", full)
    with pytest.raises(
        WarehouseError, match=r"warehouse-readonly\.duckdb: cannot be written: .*No space left"
    ):
        warehouse.publish()
    assert published(warehouse) == ["a", "b"]
    assert sorted(p.name for p in warehouse.home.root.iterdir()) == [
        "settings.toml",
        "warehouse-readonly.duckdb",
        "warehouse.duckdb",
    ]


def test_publishing_can_be_turned_off(platform):
    platform.settings(publish=False)
    write(platform.warehouse, "a")
    assert platform.warehouse.publish() is None
    assert not platform.home.published.exists()


def test_a_warehouse_of_another_version_is_named_and_left_alone(warehouse: Warehouse) -> None:
    with warehouse.open() as con:
        con.execute("ALTER TABLE gifts DROP COLUMN coins")
    with (
        pytest.raises(WarehouseError, match=r"table gifts was made by another version .*coins"),
        warehouse.open(),
    ):
        pass


def test_queries_draw_nothing_and_read_within_the_limits_that_are_set(warehouse: Warehouse) -> None:
    (warehouse.home.root / "settings.toml").write_text('memory_limit = "300MiB"\nthreads = 1\n')
    house = Warehouse(Home.at(warehouse.home.root))
    house.publish()
    asked = (
        "SELECT current_setting('enable_progress_bar'), current_setting('memory_limit'),"
        " current_setting('threads')"
    )
    with house.open() as writing:
        assert writing.execute(asked).fetchall() == [(False, "300.0 MiB", 1)]
    with house.read() as reading:
        assert reading.execute(asked).fetchall() == [(False, "300.0 MiB", 1)]


def test_an_error_in_mid_stream_is_the_databases() -> None:
    """Arrow calls it an OSError, which would pass for a full disk."""
    with duckdb.connect() as con, pytest.raises(duckdb.Error, match="boom"):
        list(
            in_batches(
                con,
                "SELECT CASE WHEN i > $most THEN error('boom') END FROM range(900000) t(i)",
                {"most": 5},
                rows=1000,
            )
        )


@pytest.mark.parametrize(
    "sql",
    [
        "FROM read_text('/etc/hostname')",
        "COPY (SELECT 1) TO 'out.csv'",
        "ATTACH 'other.duckdb'",
        "SET enable_external_access = true",
        "EXPORT DATABASE 'out'",
    ],
)
def test_whoever_may_ask_cannot_read_or_write_files_of_the_machine(platform, sql: str) -> None:
    with platform.warehouse.open():
        pass
    platform.warehouse.publish()
    with platform.warehouse.read() as con:
        assert con.execute("SELECT count(*) FROM gifts").fetchall() == [(0,)]
        with pytest.raises(duckdb.Error):
            con.execute(sql)


def test_pools_of_a_killed_run_are_cleaned_and_those_of_a_live_one_stay(platform) -> None:
    killed, live = platform.home.root / ".pools-abc", platform.home.root / f"{scratch_name()}xyz"
    for folder in (killed, live):
        folder.mkdir(parents=True)
    delete_spilled(platform.home, alone=True)
    assert not killed.exists()
    assert live.exists()
