"""Failure: whatever kills a run, wherever, the last commit stays, and running again ends with the
ledger of an undisturbed run.
"""

from __future__ import annotations

import gzip
import os
import resource
import shutil
import signal
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, tzinfo
from pathlib import Path
from typing import Any

import duckdb
import pytest

from pipelines.assets import ASSETS
from pipelines.ledger.closing import close
from pipelines.ledger.verification import verify
from pipelines.remake.days import restate
from pipelines.runs.daily import Day
from pipelines.settings import Home
from pipelines.status import day_statuses
from pipelines.store.warehouse import Warehouse, WarehouseError
from tests.cases.five_days import DAYS, FIRST, deliver_late, make_days, rows
from tests.processes import start


def head(home: Home) -> str:
    with Warehouse(home).open(read_only=True) as con:
        found = verify(con)
    assert found.findings == ()
    return found.head


def story(home: Home) -> None:
    """A day made, closed and restated for late files: every way in which the ledger is written.

    Starting it again after a crash is what an operator does: what was done already is recognised,
    or skipped where a person would see it.
    """

    def known(sql: str) -> bool:
        return Warehouse(home).exists() and bool(rows(home, sql))

    if not known("FROM ledger_transactions WHERE kind = 'statement'"):
        make_days(home, [FIRST])
        close(home, FIRST)
    deliver_late(home, [FIRST])
    if not known("FROM ledger_transactions WHERE kind = 'payout' AND revision = 2"):
        shown, _ = restate(home, FIRST, FIRST, reason="late")
        restate(home, FIRST, FIRST, reason="late", expected=shown.digest)


class Watched:
    """A connection that calls `step` before and after every write, begin and commit."""

    def __init__(self, con: duckdb.DuckDBPyConnection, step: Callable[[], None]) -> None:
        self._con, self._step = con, step

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._con, name)
        if name not in ("execute", "executemany", "begin", "commit", "rollback", "close"):
            return attribute

        def call(*arguments: Any, **keywords: Any) -> Any:
            sql = str(arguments[0]).lstrip().upper() if arguments else ""
            if arguments and not sql.startswith(("INSERT", "DELETE", "UPDATE", "CREATE TABLE")):
                return attribute(*arguments, **keywords)
            self._step()
            result = attribute(*arguments, **keywords)
            self._step()
            return result

        return call


def watch(step: Callable[[], None]) -> None:
    """Let every connection of this process be watched."""
    connect = Warehouse._connect
    Warehouse._connect = lambda house, *how: Watched(connect(house, *how), step)  # type: ignore[method-assign, assignment, return-value]


def in_child(work: Callable[[], object]) -> int:
    """Run work in a forked process; returns how it ended: 0, or minus the signal that killed it."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


@dataclass(frozen=True)
class Undisturbed:
    """The ledger's head after the story, how many writes it has, and the different states of the
    file before and after them.
    """

    head: str
    steps: int
    states: list[Path]


@pytest.fixture(scope="module")
def undisturbed(small: Path, tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    """A process that is killed leaves what it has written so far: the files as they are. So one run
    of the story shows every crash.
    """
    root = tmp_path_factory.mktemp("undisturbed")
    home = Home.at(shutil.copytree(small, root / "home"))
    states = root / "states"
    states.mkdir()

    def work() -> None:
        seen: dict[tuple[bytes, ...], None] = {}
        steps = 0

        def step() -> None:
            nonlocal steps
            steps += 1
            files = tuple(
                p.read_bytes() if p.exists() else b"" for p in (home.warehouse, wal(home))
            )
            if files not in seen:
                for name, content in zip(("warehouse", "log"), files, strict=True):
                    (states / f"{len(seen):04}-{name}").write_bytes(content)
                seen[files] = None

        watch(step)
        story(home)
        (root / "steps").write_text(str(steps))

    assert in_child(work) == 0
    return Undisturbed(
        head(home), int((root / "steps").read_text()), sorted(states.glob("*-warehouse"))
    )


def wal(home: Home) -> Path:
    return home.warehouse.with_name(home.warehouse.name + ".wal")


@pytest.mark.slow
@pytest.mark.parametrize("part", range(4))
def test_a_run_killed_at_any_write_ends_in_the_same_ledger_when_it_is_started_again(
    landed: Callable[..., Home], undisturbed: Undisturbed, part: int
) -> None:
    assert undisturbed.steps > 150
    assert len(undisturbed.states) > 15
    for state in undisturbed.states[part::4]:
        home = landed(state.name)
        log = state.with_name(state.name.replace("warehouse", "log"))
        for source, target in ((state, home.warehouse), (log, wal(home))):
            if source.stat().st_size:
                shutil.copyfile(source, target)
        story(home)
        assert head(home) == undisturbed.head, state.name


@pytest.mark.slow
@pytest.mark.parametrize("share", [0.55])
def test_a_process_that_is_really_killed(
    landed: Callable[..., Home], undisturbed: Undisturbed, share: float
) -> None:
    home = landed()
    left = int(share * undisturbed.steps)

    def step() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def work() -> None:
        watch(step)
        story(home)

    assert in_child(work) == -signal.SIGKILL
    story(home)
    assert head(home) == undisturbed.head


def test_a_full_disk_stops_the_run_cleanly(
    landed: Callable[..., Home], undisturbed: Undisturbed
) -> None:
    """The file may not grow beyond a limit, which moves: wherever it strikes, what was committed
    stays and the rest can be done later.
    """
    stopped: list[str] = []
    for kilobytes in (50, 400, 1200, 2200):
        home = landed(str(kilobytes))

        def work(home: Home = home, limit: int = kilobytes * 1000) -> None:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
            try:
                story(home)
            except WarehouseError as error:
                (home.root / "stopped").write_text(str(error))

        assert in_child(work) == 0
        stopped += [(home.root / "stopped").read_text()] if (home.root / "stopped").exists() else []
        story(home)
        assert head(home) == undisturbed.head, kilobytes
    assert any(
        "cannot be written" in message and "make room and start again" in message
        for message in stopped
    ), stopped


def test_two_closings_at_once_issue_one(made: Home) -> None:
    results = [in_child(lambda: close(made, FIRST)) for _ in range(2)]
    assert results == [0, 0]
    code = (
        "import sys; from datetime import date; from pipelines.ledger.closing import close; from"
        " pipelines.settings import Home;"
    )
    code += " print(close(Home.at(sys.argv[1]), date(2026, 3, 2)).outcome)"
    settings = made.root / "settings.toml"  # the second waits, however busy the machine is
    settings.write_text(settings.read_text().replace("_seconds = 5", "_seconds = 120"))
    both = [start(code, str(made.root)) for _ in range(2)]
    assert sorted(process.stdout.read().strip() for process in both) == ["already closed", "closed"]
    assert [process.wait() for process in both] == [0, 0]
    assert rows(made, "SELECT count(*) FROM ledger_transactions WHERE kind = 'statement'") == [(2,)]


def test_a_clock_that_is_set_back_hides_nothing(
    made: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What became stale is found by counting writes; the ledger's hashes know no time at all."""

    class Past(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:
            return datetime(2001, 1, 1, tzinfo=tz)

    before = head(made)
    monkeypatch.setattr("pipelines.store.warehouse.datetime", Past)
    make_days(made, [FIRST])
    assert head(made) == before
    assert {d.state for d in day_statuses(made)} == {"complete"}
    deliver_late(made, [FIRST])
    warehouse = Warehouse(made)
    with warehouse.open() as con:
        gifts = next(asset for asset in ASSETS if asset.name == "gifts")
        gifts.make(Day(con, FIRST, warehouse, made.policies.in_force(FIRST)))
    assert day_statuses(made)[0].state == "stale"


def test_days_without_input_and_with_ten_times_the_input(landed: Callable[..., Home]) -> None:
    home = landed()
    make_days(home, DAYS[:1])
    for table, columns in (
        ("viewer_events", "event_id,ts,viewer_id,video_id,watch_ms"),
        ("gifts", "gift_id,ts,viewer_id,video_id,coins"),
    ):
        folder = home.landing / table / str(DAYS[1])
        source = next((home.landing / table / str(DAYS[2])).iterdir())
        for path in folder.iterdir():
            path.unlink()
        (folder / "nothing.csv").write_text(columns + ",liked,commented,shared,followed,premium\n")
        header, *lines = gzip.decompress(source.read_bytes()).decode().splitlines()
        many = [f"copy{n}-{line}" for n in range(9) for line in lines]
        (source.parent / "many.csv").write_text("\n".join([header, *many]) + "\n")
    make_days(home, DAYS[:3])
    events = rows(home, "SELECT day, count(*) FROM viewer_events GROUP BY day ORDER BY day")
    assert [day for day, _ in events] == [DAYS[0], DAYS[2]]
    assert events[1][1] > 5 * events[0][1]
    gross = (
        "SELECT -sum(amount_micros) FROM ledger_entries WHERE day = ? AND starts_with(account,"
        " 'revenue:')"
    )
    assert all(rows(home, gross, day)[0][0] > 0 for day in DAYS[:3])
    close(home, DAYS[2])
    head(home)
