"""Runs from outside Dagster: a range of days, weeks or months in this process, recorded in the
home's Dagster instance.
"""

from __future__ import annotations

import atexit
import fcntl
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.files import replacing
from pipelines.operation.plan import Step
from pipelines.periods import DAY, Span
from pipelines.schema.graph import sources_of
from pipelines.settings import PROJECT, CalendarError, Home
from pipelines.store.file_store import WORKERS, WarehouseError
from pipelines.store.warehouse import Warehouse

if TYPE_CHECKING:
    import dagster as dg

LOCATION = "creator_earnings"  # as workspace.yaml calls it


@dataclass(frozen=True)
class RunOutcome:
    """How a run ended. `failures` says, for each asset or check that failed, why; `warnings` are
    checks that failed and stop nothing. `failed_on` is the first day that something failed on.
    """

    run_id: str
    success: bool
    failures: tuple[str, ...]
    warnings: tuple[str, ...] = ()
    failed_on: date | None = None


def prepare_dagster_home(home: Home) -> Path:
    """Create `<home>/.dagster` with the home's own dagster.yaml or else the project's; point
    DAGSTER_HOME and EARNINGS_HOME here.

    A lake takes many writers, so with the project's file the pool that lets one run write at a time
    has no limit there.
    """
    own = home.root / "dagster.yaml"
    home.refuse_if_unwritable()
    home.dagster.mkdir(parents=True, exist_ok=True)
    configuration = (own if own.exists() else PROJECT / "dagster.yaml").read_text(encoding="utf-8")
    if not own.exists():  # the records are this home's, whichever one the environment names
        configuration = configuration.replace("{env: DAGSTER_HOME}", json.dumps(str(home.dagster)))
    if home.lake and not own.exists():
        configuration = re.sub(r"(?m)^ *default_limit: 1\n", "", configuration)
    with replacing(home.dagster / "dagster.yaml") as partial:  # another process may be reading it
        partial.write_text(configuration, encoding="utf-8")
    os.environ["DAGSTER_HOME"] = str(home.dagster)
    os.environ["EARNINGS_HOME"] = str(home.root)
    os.environ["DAGSTER_DISABLE_TELEMETRY"] = "yes"
    return home.dagster


@contextmanager
def dagster_instance(home: Home) -> Iterator[dg.DagsterInstance]:
    """The home's Dagster instance. Dagster makes its databases without a lock, so of two first runs
    at once one would fail.
    """
    import dagster as dg

    with (home.dagster / ".starting").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        instance = dg.DagsterInstance.get()
    with instance:
        yield instance


def record_days(home: Home, made: Iterable[tuple[str, date, Mapping[str, Any]]]) -> None:
    """Tell Dagster of days that were made outside its runs, so that the web UI shows them as they
    are.
    """
    prepare_dagster_home(home)
    import dagster as dg

    with dagster_instance(home) as instance:
        for asset, day, metadata in made:
            instance.report_runless_asset_event(
                dg.AssetMaterialization(asset, partition=day.isoformat(), metadata=metadata)
            )


def check_days(home: Home, first: date, last: date) -> None:
    """Raise CalendarError unless first <= last are both in the calendar."""
    begin, end = home.calendar()
    if first > last:
        raise CalendarError(f"--from {first} is after --to {last}")
    if first < begin or last > end:
        raise CalendarError(
            f"{first} to {last} is not within the calendar of {home.root}, {begin} to {end}. Land"
            " files for the missing days, or set first_day/last_day in"
            f" {home.root / 'settings.toml'}."
        )


def make(home: Home, step: Step, *, workers: int = 1) -> list[RunOutcome]:
    """Do a step of a plan, its days by several processes if asked to."""
    if step.span:
        return [run_periods(home, step.span, step.first, step.last, assets=step.assets)]
    return run_good_days(home, step.first, step.last, workers=workers, assets=step.assets)


def run_days(home: Home, first: date, last: date, *, assets: Sequence[str] = ()) -> RunOutcome:
    """Materialise a range of days, asset by asset, through Dagster in this process.

    Parameters
    ----------
    assets
        Names to materialise; all of them when empty.

    Raises
    ------
    CalendarError
        The days are not in the calendar.
    """
    check_days(home, first, last)
    return _run(home, "day", first, last, assets)


def run_good_days(
    home: Home, first: date, last: date, *, workers: int = 1, assets: Sequence[str] = ()
) -> list[RunOutcome]:
    """`run_days`, or `run_workers`, of a range; if a day fails, then of the days before it, so that
    one bad file pays nobody less than it must.

    Assets are made one after the other, each for all its days, so what fails on one day stops what
    follows for every day. The days before it are all good: run by themselves they are paid.
    """
    outcomes: list[RunOutcome] = []
    while True:
        found = (
            run_workers(home, first, last, workers, assets=assets)
            if workers > 1
            else [run_days(home, first, last, assets=assets)]
        )
        outcomes += found
        bad = [outcome.failed_on for outcome in found if outcome.failed_on]
        if all(outcome.success for outcome in found) or not bad or min(bad) <= first:
            return outcomes
        last = min(last, *bad) - DAY


def run_periods(
    home: Home, span: Span, first: date, last: date, *, assets: Sequence[str] = ()
) -> RunOutcome:
    """Materialise the weeks or months from the one that begins on `first` to the one that begins on
    `last`, as `run_days` does days.

    Raises
    ------
    CalendarError
        The calendar does not hold one of them wholly.
    """
    offered = span.within(*home.calendar())
    for day in (first, last):
        if day not in offered:
            begin, end = home.calendar()
            raise CalendarError(
                f"no whole {span.name} of the calendar of {home.root}, {begin} to {end}, begins on"
                f" {day}"
            )
    return _run(home, span.name, first, last, assets)


def _as_from_the_ui(instance: dg.DagsterInstance, job: str) -> dg.DagsterInstance:
    """The instance, which gives the runs it makes the origin that runs of the web UI have. Without
    one *Jobs* and *Overview* do not list a run, and no sensor sees it fail.
    """
    from dagster._core.remote_origin import (
        ManagedGrpcPythonEnvCodeLocationOrigin,
        RemoteJobOrigin,
        RemoteRepositoryOrigin,
    )
    from dagster._core.types.loadable_target_origin import LoadableTargetOrigin

    target = LoadableTargetOrigin(module_name="pipelines.definitions")
    location = ManagedGrpcPythonEnvCodeLocationOrigin(target, LOCATION)
    origin = RemoteJobOrigin(RemoteRepositoryOrigin(location, "__repository__"), job)
    create = instance.create_run_for_job

    def create_with_origin(*arguments: Any, **keywords: Any) -> dg.DagsterRun:
        return create(*arguments, **{**keywords, "remote_job_origin": origin})

    instance.create_run_for_job = create_with_origin  # type: ignore[method-assign]
    return instance


def _run(home: Home, span: str, first: date, last: date, assets: Sequence[str]) -> RunOutcome:
    prepare_dagster_home(home)
    import dagster as dg

    from pipelines.definitions import build_definitions
    from pipelines.unattended import JOBS, RANGE_END, RANGE_START, first_failed_day

    job = build_definitions(home).resolve_job_def(JOBS[span])
    known = {key.to_user_string() for key in job.asset_layer.executable_asset_keys}
    if unknown := sorted(set(assets) - known):
        raise CalendarError(
            f"no asset is called {', '.join(unknown)}; there is {', '.join(sorted(known))}"
        )
    with dagster_instance(home) as instance:
        result = job.execute_in_process(
            instance=_as_from_the_ui(instance, JOBS[span]),
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
            tags={RANGE_START: str(first), RANGE_END: str(last)},
            asset_selection=[dg.AssetKey(name) for name in assets] or None,
            raise_on_error=False,
        )
        failed_on = None
        if span == "day" and not result.success:
            failed_on = first_failed_day(instance, result.run_id, first, last)
    failures: list[str] = []
    warnings: list[str] = []
    for event in result.all_events:
        if event.is_step_failure:
            data = event.step_failure_data
            if data.error and data.error.cls_name == "DagsterExecutionInterruptedError":
                raise KeyboardInterrupt  # Dagster ends the run in order, and keeps it to itself
            raised = data.error and (
                data.error.cause or data.error
            )  # Dagster wraps what the asset raised in an error of its own
            expected = data.user_failure_data and data.user_failure_data.description
            failures.append(
                f"{event.step_key}: {expected or (raised and raised.message.strip()) or 'failed'}"
            )
        elif event.event_type_value == "ASSET_CHECK_EVALUATION":
            check = event.asset_check_evaluation_data
            if not check.passed:
                broken = check.metadata.get("broken")
                found = failures if check.blocking else warnings
                found.append(
                    f"check {check.check_name} of {check.asset_key.to_user_string()}:"
                    f" {broken.value if broken else 'failed'}"
                )
    return RunOutcome(
        result.run_id,
        result.success and not failures,
        tuple(failures),
        tuple(warnings),
        failed_on,
    )


def run_workers(
    home: Home, first: date, last: date, workers: int, *, assets: Sequence[str] = ()
) -> list[RunOutcome]:
    """Materialise a range of days with several processes: each takes consecutive days of
    consecutive assets, as soon as it may.

    Days may be begun when all days up to the last of them are made of the assets before; and of
    assets whose days are made in order, when the days before are made too. So each day finds what
    it would find in `run_days`, and the ledger is, to the hash, the same. When something fails,
    what is going on is finished and nothing else begun.

    Raises
    ------
    CalendarError
        The days are not in the calendar.
    WarehouseError
        The warehouse is a file, which takes one writer.
    """
    from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
    from concurrent.futures.process import BrokenProcessPool
    from multiprocessing import get_context

    check_days(home, first, last)
    if not home.lake:
        raise WarehouseError(
            f"{home.warehouse}: one file takes one writer; several workers need a lake (setting"
            " `warehouse`), docs/lake.md"
        )
    prepare_dagster_home(home)
    from pipelines.definitions import daily_assets

    there = daily_assets(home)
    wanted = [asset for asset in there if not assets or asset.name in assets]
    if unknown := sorted(set(assets) - {asset.name for asset in wanted}):
        raise CalendarError(
            f"no asset is called {', '.join(unknown)}; there is"
            f" {', '.join(sorted(asset.name for asset in there))}"
        )
    groups = [
        (in_order, [asset.name for asset in group])
        for (in_order, _), group in groupby(
            wanted, key=lambda a: (a.in_order, bool(sources_of(a.name).earlier))
        )
    ]
    ranges = _shares(first, last, workers)
    waiting = [(group, share) for group in range(len(groups)) for share in range(len(ranges))]
    running: dict[Future[RunOutcome], tuple[int, int]] = {}
    outcomes: dict[tuple[int, int], RunOutcome] = {}

    def may_begin(group: int, share: int) -> bool:
        needed = [(group - 1, earlier) for earlier in range(share + 1) if group]
        needed += [(group, share - 1)] if groups[group][0] and share else []
        return all(one in outcomes for one in needed)

    def killed(group: int, share: int) -> RunOutcome:
        (begin, end), names = ranges[share], ", ".join(groups[group][1])
        return RunOutcome(
            "", False, (f"{names}, {begin} to {end}: the worker was killed; start it again",)
        )

    with ProcessPoolExecutor(
        workers, get_context("spawn"), _begin_worker, (home, min(workers, len(ranges)))
    ) as pool:
        while waiting or running:
            for task in [task for task in waiting if may_begin(*task)]:
                waiting.remove(task)
                try:
                    running[
                        pool.submit(run_days, home, *ranges[task[1]], assets=groups[task[0]][1])
                    ] = task
                except BrokenProcessPool:
                    outcomes[task] = killed(*task)
            for done in wait(running, return_when=FIRST_COMPLETED).done:
                task = running.pop(done)
                try:
                    outcomes[task] = done.result()
                except BrokenProcessPool:
                    outcomes[task] = killed(*task)
            if not all(outcome.success for outcome in outcomes.values()):
                waiting.clear()
    return [outcomes[task] for task in sorted(outcomes)]


_WORKER = ExitStack()  # what a worker has open to its end


def _begin_worker(home: Home, workers: int) -> None:
    os.environ[WORKERS] = str(workers)
    _WORKER.enter_context(Warehouse(home).kept_open())
    atexit.register(_WORKER.close)


def _shares(first: date, last: date, workers: int) -> list[tuple[date, date]]:
    """Consecutive days for each worker, as equal as can be.

    >>> [(a.day, b.day) for a, b in _shares(date(2026, 3, 1), date(2026, 3, 7), 3)]
    [(1, 3), (4, 5), (6, 7)]
    """
    days = (last - first).days + 1
    sizes = [days // workers + (n < days % workers) for n in range(min(workers, days))]
    begins = [first + timedelta(days=sum(sizes[:n])) for n in range(len(sizes))]
    return [
        (begin, begin + timedelta(days=size - 1)) for begin, size in zip(begins, sizes, strict=True)
    ]
