"""Nobody is there: what ticks start and why they start nothing, and who hears of a failure."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import date, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import dagster as dg
import pytest

from pipelines import unattended
from pipelines.definitions import build_definitions
from pipelines.operation.running import dagster_instance, prepare_dagster_home, run_days
from pipelines.runs.daily import UNATTENDED
from pipelines.settings import Home
from pipelines.status import day_statuses
from pipelines.store.warehouse import Warehouse
from tests.conftest import DAY, Platform, Rows

NIGHTS = [DAY + timedelta(days=n) for n in range(4)]


def land(platform: Platform, day: date) -> None:
    platform.known(day)
    platform.land(
        "viewer_events",
        [Rows.event(f"{day}{n}", day=day, viewer_id=u) for n, u in enumerate(("u1", "u1", "u2"))],
        day,
    )
    platform.land("ad_revenue", [Rows.ad(f"a{day}", day=day)], day)
    platform.land("gifts", [Rows.gift(f"g{day}", day=day)], day)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[date], None]:
    """Sets the day it is."""
    return lambda day: monkeypatch.setattr(unattended, "today", lambda: day)


@pytest.fixture
def landed(platform: Platform, clock: Callable[[date], None]) -> Platform:
    """Four days that have landed, on the day after the last."""
    platform.settings(first_day=DAY, last_day="open")
    for day in NIGHTS:
        land(platform, day)
    clock(NIGHTS[-1] + timedelta(days=1))
    return platform


def tick(home: Home, instance: dg.DagsterInstance, cursor: str | None = None) -> dg.SensorResult:
    for sensor in build_definitions(home).sensors or ():
        if sensor.name == "when_files_land":
            break
    assert isinstance(sensor, dg.SensorDefinition)
    found = sensor(dg.build_sensor_context(instance=instance, cursor=cursor))
    assert isinstance(found, dg.SensorResult)
    return found


def night(home: Home, instance: dg.DagsterInstance) -> object:
    schedule = build_definitions(home).resolve_schedule_def("every_day")
    found = schedule.evaluate_tick(dg.build_schedule_context(instance=instance))
    return found.run_requests[0] if found.run_requests else found.skip_message


def tags(result: object) -> dict[str, str]:
    request = result.run_requests[0] if isinstance(result, dg.SensorResult) else result
    assert isinstance(request, dg.RunRequest)
    assert request.job_name == "daily"
    return dict(request.tags)


def reason(result: object) -> str:
    found = result.skip_reason if isinstance(result, dg.SensorResult) else result
    text = found.skip_message if isinstance(found, dg.SkipReason) else found
    assert isinstance(text, str)
    return text


def days_of(found: dict[str, str]) -> tuple[str, str]:
    return found[unattended.RANGE_START], found[unattended.RANGE_END]


def test_a_tick_starts_from_the_first_day_that_is_not_made_to_yesterday(
    landed: Platform, clock: Callable[[date], None]
) -> None:
    with dg.DagsterInstance.local_temp() as instance:
        for found in (tick(landed.home, instance), night(landed.home, instance)):
            assert days_of(tags(found)) == (str(NIGHTS[0]), str(NIGHTS[-1]))
        clock(NIGHTS[2])  # the third day is not over
        assert days_of(tags(tick(landed.home, instance))) == (str(NIGHTS[0]), str(NIGHTS[1]))
        clock(NIGHTS[0])
        assert reason(tick(landed.home, instance)) == "everything that has landed is made"
        assert reason(night(landed.home, instance)) == "everything that has landed is made"


def test_a_run_covers_no_day_that_has_not_landed(landed: Platform) -> None:
    for table in ("viewers", "creators", "videos", "viewer_events", "ad_revenue", "gifts"):
        landed.clear(table, NIGHTS[1])
        (landed.home.landing / table / str(NIGHTS[1])).rmdir()
    with dg.DagsterInstance.ephemeral() as instance:
        assert days_of(tags(tick(landed.home, instance))) == (str(NIGHTS[0]), str(NIGHTS[0]))


def test_a_day_that_failed_waits_for_other_files_and_is_tried_once_a_night(
    landed: Platform,
) -> None:
    home = landed.home
    with dg.DagsterInstance.local_temp() as instance:
        first = tags(tick(home, instance))
        instance.add_run(
            dg.DagsterRun(job_name="daily", tags=first, status=dg.DagsterRunStatus.FAILURE)
        )
        assert f"day {NIGHTS[0]} failed in run" in reason(tick(home, instance))
        assert days_of(tags(night(home, instance)))[0] == str(NIGHTS[0])
        landed.land("gifts", [Rows.gift("another", day=DAY)], DAY, name="late")
        again = tags(tick(home, instance))
        assert days_of(again)[0] == str(NIGHTS[0])
        assert again[unattended.FINGERPRINTS] != first[unattended.FINGERPRINTS]


def test_days_before_one_that_failed_go_on(landed: Platform) -> None:
    home = landed.home
    with dg.DagsterInstance.ephemeral() as instance:
        prints = json.loads(tags(tick(home, instance))[unattended.FINGERPRINTS])
        bad = {str(NIGHTS[2]): prints[str(NIGHTS[2])]}
        instance.add_run(
            dg.DagsterRun(
                job_name="daily",
                tags={UNATTENDED: "yes", unattended.FINGERPRINTS: json.dumps(bad)},
                status=dg.DagsterRunStatus.FAILURE,
            )
        )
        assert days_of(tags(tick(home, instance))) == (str(NIGHTS[0]), str(NIGHTS[1]))


def test_nothing_starts_while_a_run_is_not_over(landed: Platform) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        run = dg.DagsterRun(job_name="daily", status=dg.DagsterRunStatus.STARTED)
        instance.add_run(run)
        assert reason(tick(landed.home, instance)) == f"run {run.run_id} is not over yet"


def test_the_newest_day_that_ought_to_be_there_is_reported_once_per_change(
    landed: Platform, clock: Callable[[date], None]
) -> None:
    with dg.DagsterInstance.ephemeral() as instance:
        found = tick(landed.home, instance)
        (report,) = found.asset_events
        assert isinstance(report, dg.AssetCheckEvaluation)
        assert not report.passed
        assert f"{NIGHTS[-1]} has landed and is not made" in str(report.metadata["found"].value)
        assert tick(landed.home, instance, found.cursor).asset_events == []
        clock(date(2026, 11, 30))  # data eight months old
        (report,) = tick(landed.home, instance, found.cursor).asset_events
        assert not report.passed
        assert "2026-11-29 has not landed" in str(report.metadata["found"].value)


def test_three_nights_without_a_daemon_are_made_up_by_the_next_tick(
    landed: Platform, clock: Callable[[date], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    home = landed.home
    for name in ("EARNINGS_HOME", "DAGSTER_HOME"):
        monkeypatch.setenv(name, str(home.root))
    clock(NIGHTS[1])
    assert run_days(home, NIGHTS[0], NIGHTS[0]).success
    prepare_dagster_home(home)
    with dagster_instance(home) as instance:
        listed = dg.RunsFilter(tags={".dagster/repository": "__repository__@creator_earnings"})
        (made,) = instance.get_runs(listed)  # as *Jobs* and *Overview* ask
        assert made.remote_job_origin is not None
        assert reason(night(home, instance)) == "everything that has landed is made"
        clock(NIGHTS[-1] + timedelta(days=1))
        wanted = tags(night(home, instance))
        assert days_of(wanted) == (str(NIGHTS[1]), str(NIGHTS[3]))
        job = build_definitions(home).resolve_job_def("daily")
        assert job.execute_in_process(instance=instance, tags=wanted).success
        states = [(s.day, s.state) for s in day_statuses(home) if s.day in NIGHTS]
        assert states == [(day, "complete") for day in NIGHTS]
        assert unattended.newest_day(home) == (True, f"{NIGHTS[-1]} is made")
        assert reason(night(home, instance)) == "everything that has landed is made"
        landed.land("gifts", [Rows.gift("late", day=NIGHTS[2])], NIGHTS[2], name="late")
        assert days_of(tags(tick(home, instance))) == (str(NIGHTS[2]), str(NIGHTS[2]))
    with Warehouse(home).look() as con:
        assert con.execute("SELECT count(DISTINCT day) FROM creator_earnings").fetchone() == (4,)
    holder = subprocess.Popen(
        [sys.executable, "-c", "import duckdb, sys; con = duckdb.connect(sys.argv[1]);"
         " print('open', flush=True); sys.stdin.read()", str(home.warehouse)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert holder.stdout
        assert holder.stdout.readline() == "open\n"
        assert Warehouse(home).being_written()
        # at once, of the copy that readers have
        states = [s.state for s in day_statuses(home) if s.day in NIGHTS]
        assert states == ["complete", "complete", "stale", "complete"]
    finally:
        holder.communicate("")


def test_what_may_come_right_is_tried_again_by_a_run_that_nobody_waits_for(
    landed: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipelines.runs import daily
    from pipelines.store.file_store import WarehouseLockedError

    tries = []

    def locked(*_: object, **__: object) -> None:
        tries.append(1)
        raise WarehouseLockedError("process 12 writes to it")

    monkeypatch.setattr(daily.PartitionedAsset, "_make_all", locked)
    monkeypatch.setattr(daily, "RETRIES", 2)
    monkeypatch.setattr(daily, "PAUSE", 0)
    job = build_definitions(landed.home).resolve_job_def("daily")
    range_of = {unattended.RANGE_START: str(DAY), unattended.RANGE_END: str(DAY)}
    with dg.DagsterInstance.ephemeral() as instance:
        for more, expected in (({UNATTENDED: "yes"}, 3), ({}, 1)):
            tries.clear()
            result = job.execute_in_process(
                instance=instance,
                tags={**range_of, **more},
                asset_selection=[dg.AssetKey("creators")],
                raise_on_error=False,
            )
            assert not result.success
            assert len(tries) == expected


class _Received(BaseHTTPRequestHandler):
    bodies: list[dict[str, str]] = []  # noqa: RUF012

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.bodies.append(json.loads(body))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


def test_a_failure_reaches_the_command_and_the_webhook(platform: Platform, tmp_path: Path) -> None:
    server = HTTPServer(("127.0.0.1", 0), _Received)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    told = tmp_path / "told.json"
    (platform.home.root / "settings.toml").write_text(
        f'[alerts]\ncommand = "cat > {told}"\n'
        f'webhook = "http://127.0.0.1:{server.server_port}/hook"\n'
    )
    definitions = build_definitions(platform.home)
    (sensor,) = [s for s in definitions.sensors or () if s.name == "when_a_run_fails"]
    assert isinstance(sensor, dg.RunStatusSensorDefinition)
    assert sensor.default_status == dg.DefaultSensorStatus.RUNNING

    @dg.op
    def gifts() -> None:
        raise dg.Failure("gifts of \x1b[31m 2026-03-07 cannot be read", allow_retries=False)

    @dg.job
    def daily() -> None:
        gifts()

    with dg.DagsterInstance.ephemeral() as instance:
        result = daily.execute_in_process(
            instance=instance,
            raise_on_error=False,
            tags={unattended.RANGE_START: "2026-03-05", unattended.RANGE_END: "2026-03-07"},
        )
        context = dg.build_run_status_sensor_context(
            "when_a_run_fails",
            result.get_run_failure_event(),
            instance,
            result.dagster_run,
        ).for_run_failure()
        sensor(context)
    server.shutdown()
    assert _Received.bodies == [json.loads(told.read_text())]
    message = _Received.bodies[0]
    assert message["days"] == "2026-03-05 to 2026-03-07"
    assert "daily 2026-03-05 to 2026-03-07 failed" in message["text"]
    assert r"gifts of \x1b[31m 2026-03-07 cannot be read" in message["reason"]
    (platform.home.root / "settings.toml").write_text('[alerts]\ncommand = "exit 3"\n')
    with pytest.raises(unattended.AlertError, match="exit"):
        unattended.alert(Home.at(platform.home.root), {"text": "x"})
