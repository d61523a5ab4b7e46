"""Many workers, and whatever kills one or takes server or disk away: nothing is lost or doubled,
and the ledger is that of a quiet run.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from pipelines.ledger.closing import close
from pipelines.ledger.entries import Book, Entries
from pipelines.ledger.verification import verify
from pipelines.operation.running import run_workers
from pipelines.settings import Home
from pipelines.sources.quarantine import accept
from pipelines.store.file_store import (
    EVERYTHING,
    AwayError,
    Claim,
    DisturbedError,
    WarehouseError,
    WarehouseLockedError,
)
from pipelines.store.warehouse import Warehouse
from tests.lake.conftest import DAYS, LAST, PASSWORD, Lakes, Server, head, make

pytestmark = [pytest.mark.lake, pytest.mark.xdist_group("lake faults")]

FIRST = DAYS[0]
# Processes as new as spawned ones, for nothing was opened where they are forked; what they import
# is imported once.
FRESH = multiprocessing.get_context("forkserver")
FRESH.set_forkserver_preload([__name__])


def start(work: Callable[..., None], *arguments: Any) -> Any:
    process = FRESH.Process(target=work, args=arguments)
    process.start()
    return process


def ended(processes: list[Any]) -> list[int]:
    for process in processes:
        process.join(300)
        assert process.exitcode is not None, "hangs"
    return [process.exitcode for process in processes]


def until(condition: Callable[[], object], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.05)


def one_day(root: Path, day: date) -> None:
    make(Home.at(root), [day])


# --------------------------------------------------------------------------------------------------
# Workers side by side


@pytest.mark.slow
def test_two_workers_on_the_same_day_write_it_once(
    lakes: Lakes, landed: Path, undisturbed: str
) -> None:
    """From nothing: they make the catalogue, the tables and the day at the same time."""
    home = lakes.new(landed)
    assert ended([start(one_day, home.root, FIRST) for _ in range(2)]) == [0, 0]
    with Warehouse(home).open(read_only=True) as con:
        assert (
            con.execute("SELECT count(*), count(DISTINCT event_id) FROM viewer_events").fetchall()[
                0
            ][0]
            > 0
        )
        assert (
            con.execute(
                "FROM (SELECT event_id FROM viewer_events GROUP BY ALL HAVING count(*) > 1)"
            ).fetchall()
            == []
        )
        assert (
            con.execute(
                "FROM (SELECT table_name, day FROM written_days GROUP BY ALL HAVING count(*) > 1)"
            ).fetchall()
            == []
        )
    make(home, [DAYS[1]])
    assert head(home) == undisturbed


@pytest.mark.slow
def test_workers_share_the_days_of_a_run_through_dagster(
    lakes: Lakes, landed: Path, undisturbed: str
) -> None:
    home = lakes.new(landed)
    outcomes = run_workers(home, *DAYS, workers=2)
    assert [outcome.failures for outcome in outcomes if not outcome.success] == []
    assert "default_limit" not in (home.dagster / "dagster.yaml").read_text()
    assert head(home) == undisturbed


def close_first(root: Path) -> None:
    close(Home.at(root), FIRST)


def test_two_closings_at_once_issue_one(lakes: Lakes, before_ledger: Home) -> None:
    home = lakes.new(like=before_ledger)
    make(home, [FIRST], only=LAST)
    accept(home, [], reason="rotten on purpose", actor="a test")
    assert ended([start(close_first, home.root) for _ in range(2)]) == [0, 0]
    with Warehouse(home).open(read_only=True) as con:
        assert con.execute(
            "SELECT count(*) FROM ledger_transactions WHERE kind = 'statement'"
        ).fetchall() == [(1,)]
    head(home)


def append(root: Path, first: int, many: int) -> None:
    """Transactions of days of their own, as fast as they go."""
    house = Warehouse(Home.at(root))
    with house.by_day() as by_day:
        for n in range(first, first + many):
            day = FIRST + timedelta(days=n)

            def post(con: duckdb.DuckDBPyConnection, day: date = day) -> None:
                with house.transaction(con, "one more"):
                    con.execute(
                        "CREATE OR REPLACE TEMP TABLE nothing (account VARCHAR, part VARCHAR,"
                        " amount_micros BIGINT)"
                    )
                    Book(con, day, day, "", "p", "").append(
                        Entries.of(con, "nothing"), "payout", 1, "", None
                    )

            by_day.work(Claim(day, "ledger_entries"), post)


def test_a_chain_that_many_append_to_does_not_fork(lakes: Lakes) -> None:
    home = lakes.new()
    with Warehouse(home).open():
        pass
    assert ended([start(append, home.root, 100 * n, 8) for n in range(3)]) == [0, 0, 0]
    with Warehouse(home).open(read_only=True) as con:
        found = verify(con)
        assert found.transactions == 24
        assert [f for f in found.findings if "missing" in f or "hash" in f or "carry" in f] == []


def test_a_commit_in_between_is_noticed_and_the_day_done_again(
    lakes: Lakes, before_ledger: Home
) -> None:
    """Somebody who does not ask for locks deletes rows of a table that the day writes: DuckLake
    refuses the commit.
    """
    home = lakes.new(like=before_ledger)
    house, tries = Warehouse(home), 0

    def job(con: duckdb.DuckDBPyConnection) -> None:
        nonlocal tries
        tries += 1
        with house.write_day(con, FIRST) as writer:
            writer.replace("creators", "FROM creators WHERE day = DATE '2026-03-01'")
            if tries < 6:
                stranger = house._connect(False, None)
                stranger.execute(
                    "INSERT INTO written_days SELECT * REPLACE ('stranger' AS table_name) FROM"
                    " written_days LIMIT 1"
                )
                stranger.execute("DELETE FROM written_days WHERE table_name = 'stranger'")
                stranger.close()

    with house.by_day() as by_day:
        by_day.work(Claim(FIRST), job)
    assert tries == 6


def test_who_holds_a_day_is_named_to_who_waits_for_it(lakes: Lakes, before_ledger: Home) -> None:
    home = lakes.new(like=before_ledger)
    text = (home.root / "settings.toml").read_text()
    (home.root / "settings.toml").write_text(
        text.replace("lock_timeout_seconds = 20", "lock_timeout_seconds = 0.3")
    )
    house = Warehouse(Home.at(home.root))
    with house._opened(False) as one, house._opened(False) as other:
        with house.store.claimed(one, Claim(FIRST)):
            with house.store.claimed(other, Claim(DAYS[1])):
                pass  # another day is nobody's business
            for claim in (Claim(FIRST), Claim(FIRST, "gifts"), EVERYTHING):
                with (
                    pytest.raises(
                        WarehouseLockedError,
                        match=rf"process {os.getpid()} on .* did not finish within 0\.3 s",
                    ),
                    house.store.claimed(other, claim),
                ):
                    pass
        with (
            house.store.claimed(one, Claim(FIRST, "gifts")),
            pytest.raises(WarehouseLockedError),
            house.store.claimed(other, Claim(DAYS[1], "gifts")),
        ):
            pass
        with (
            house.store.claimed(one, EVERYTHING),
            pytest.raises(WarehouseLockedError),
            house.store.claimed(other, Claim(FIRST)),
        ):
            pass
        with house.store.claimed(other, EVERYTHING):
            pass


def test_a_commit_that_a_killed_worker_sent_is_waited_for(
    lakes: Lakes, server: Server, before_ledger: Home
) -> None:
    """Its locks are gone with it; the server may still be at its commit. Whoever comes next must
    not start from the state before.
    """
    home = lakes.new(like=before_ledger)
    dying = duckdb.connect(config={"autoinstall_known_extensions": False})
    house = Warehouse(home)
    with house._opened(False) as con:
        house.store._load(dying)
        dying.execute(f"ATTACH '{home.lake.dsn}' AS catalogue (TYPE postgres)")
        dying.begin()
        sent = "INSERT INTO ducklake_snapshot SELECT max(snapshot_id) + 1 FROM ducklake_snapshot"
        dying.execute(f"CALL postgres_execute('catalogue', '{sent}')")
        threading.Timer(1.0, dying.rollback).start()
        began = time.monotonic()
        with house.store.claimed(con, Claim(FIRST)):
            assert time.monotonic() - began > 0.9


# --------------------------------------------------------------------------------------------------
# Whatever goes away


def killed_in(root: Path, commit: int, milliseconds: float) -> None:
    """Make the ledger of the first day; at the commit of that number send the kill, a little before
    or after the server has it.
    """
    connect = Warehouse._connect
    left = commit

    class Doomed:
        def __init__(self, con: duckdb.DuckDBPyConnection) -> None:
            self._con = con

        def __getattr__(self, name: str) -> Any:
            return getattr(self._con, name)

        def commit(self) -> None:
            nonlocal left
            left -= 1
            if left == 0:
                threading.Timer(milliseconds / 1000, os.kill, (os.getpid(), signal.SIGKILL)).start()
            self._con.commit()
            if left == 0:
                time.sleep(60)

    Warehouse._connect = lambda house, *how: Doomed(connect(house, *how))  # type: ignore[method-assign, assignment, return-value]
    make(Home.at(root), [FIRST], only=LAST)


@pytest.mark.slow
def test_workers_killed_in_mid_commit(lakes: Lakes, before_ledger: Home) -> None:
    quiet = lakes.new(like=before_ledger)
    make(quiet, [FIRST], only=LAST)
    homes = [
        (lakes.new(like=before_ledger), commit, after)
        for commit, after in ((1, 0), (1, 8), (1, 25), (2, 12))
    ]
    for n in range(0, len(homes), 2):
        processes = [
            start(killed_in, home.root, commit, after) for home, commit, after in homes[n : n + 2]
        ]
        assert ended(processes) == [-signal.SIGKILL] * 2
    for home, *_ in homes:
        make(home, [FIRST], only=LAST)
        assert head(home) == head(quiet)


@pytest.mark.slow
def test_a_server_that_stops_and_comes_back_in_mid_run(
    lakes: Lakes, server: Server, before_ledger: Home, undisturbed: str
) -> None:
    home = lakes.new(like=before_ledger)
    make(home, [FIRST], only=LAST)
    worker = start(one_day, home.root, DAYS[1])
    written = (
        "SELECT count(*) FROM ducklake_snapshot_changes WHERE commit_message LIKE '2026-03-02 %'"
    )

    def has_written(enough: int) -> bool:
        nonlocal worker
        if worker.exitcode == -signal.SIGABRT:  # DuckDB's own: docs/lake.md
            worker = start(one_day, home.root, DAYS[1])
        return int(server.ask(written, home.root.name)) >= enough

    for enough in (3, 8):
        until(lambda enough=enough: has_written(enough), 120)
        server.stop()
        time.sleep(0.5)
        server.start()
    if ended([worker]) == [-signal.SIGABRT]:
        worker = start(one_day, home.root, DAYS[1])
    assert ended([worker]) == [0]
    assert head(home) == undisturbed


def test_a_server_that_stays_away_is_named_without_its_password(
    lakes: Lakes, tmp_path: Path
) -> None:
    home = Home.at(tmp_path)
    address = (
        "ducklake:postgres:host=127.0.0.1 port=9 dbname=x user=y"
        " password=${LAKE_PASSWORD}?data=lake"
    )
    (tmp_path / "settings.toml").write_text(
        f'lock_timeout_seconds = 0.5\nwarehouse = "{address}"\n'
    )
    with (
        pytest.raises(AwayError, match="port 9 failed: Connection refused") as error,
        Warehouse(home).open(),
    ):
        pass
    assert PASSWORD not in str(error.value) + str(error.value.__cause__)


def test_a_session_that_lost_its_locks_commits_nothing(
    lakes: Lakes, server: Server, before_ledger: Home
) -> None:
    """An administrator, or a time limit for idle sessions, ends the session that holds the locks
    while the work goes on.
    """
    home = lakes.new(like=before_ledger)
    house = Warehouse(home)

    def lose(con: duckdb.DuckDBPyConnection) -> None:
        with house.store.claimed(con, Claim(FIRST)), house.write_day(con, FIRST) as writer:
            writer.replace("creators", "FROM creators WHERE false")
            server.ask("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'")

    with (
        house._opened(False) as con,
        pytest.raises(DisturbedError, match="ended the session that held the locks"),
    ):
        lose(con)
    with house.open(read_only=True) as con:
        assert con.execute("SELECT count(*) FROM creators").fetchall()[0][0] > 0


def test_a_folder_that_cannot_be_written_stops_the_day_and_spoils_nothing(
    lakes: Lakes, before_ledger: Home, undisturbed: str
) -> None:
    home = lakes.new(like=before_ledger)
    make(home, [FIRST], only=LAST)
    real, away = home.root / "lake", home.root / "elsewhere"
    before = head(home)
    real.rename(away)
    real.write_text("no folder")
    with pytest.raises(WarehouseError, match=r"cannot be read or written: .*lake"):
        make(home, [DAYS[1]])
    real.unlink()
    away.rename(real)
    assert head(home) == before
    make(home, [DAYS[1]])
    assert head(home) == undisturbed
