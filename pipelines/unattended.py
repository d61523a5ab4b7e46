"""Operation with nobody there: what a tick of a schedule or sensor starts, why it starts nothing,
whether the newest day is there, and whom a failure reaches.

A tick asks what has landed or gone stale and is not made, not which day it is: so late files start
their own run, and nights without a daemon are made up by the first tick after them. A day whose run
failed is not tried again with the same files, except once a night; the days before it go on.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

import dagster as dg

from pipelines.errors import ExpectedError
from pipelines.market.floor import in_turn
from pipelines.periods import DAY, MONTH, SPANS, WEEK
from pipelines.plain import visible
from pipelines.runs.daily import UNATTENDED
from pipelines.schema import LANDING, TABLES
from pipelines.settings import Home
from pipelines.status import day_statuses, is_closed, period_statuses

JOBS = {"day": "daily", WEEK.name: "weekly", MONTH.name: "monthly"}
FINGERPRINTS = "earnings/fingerprints"
RANGE_START = "dagster/asset_partition_range_start"
RANGE_END = "dagster/asset_partition_range_end"
AT_ONCE = 31  # days of one run; what is left is for the next tick
UP_TO_DATE = "newest_day_is_made"
_OPEN = ("landed", "partial", "stale")


class AlertError(ExpectedError, RuntimeError):
    """A message about a failed run reached nobody: says how it was sent, and why not."""


def today() -> date:
    """The day it is, UTC; tests set the clock here."""
    return datetime.now(UTC).date()


@dataclass(frozen=True)
class Work:
    """Partitions to make in one run, each with a fingerprint of what it would be made from."""

    span: str
    prints: Mapping[date, str]

    @property
    def first(self) -> date:
        return min(self.prints)

    @property
    def last(self) -> date:
        return max(self.prints)

    def request(self) -> dg.RunRequest:
        """The run, as Dagster wants it."""
        prints = {str(key): value for key, value in self.prints.items()}
        return dg.RunRequest(
            job_name=JOBS[self.span],
            tags={
                RANGE_START: str(self.first),
                RANGE_END: str(self.last),
                UNATTENDED: "yes",
                FINGERPRINTS: json.dumps(prints),
            },
        )


def work(
    home: Home, instance: dg.DagsterInstance, *, spans: Sequence[str] = (), again: bool = False
) -> Work | str:
    """What to start now, or the reason why nothing: days first, then the weeks and months they end.

    Parameters
    ----------
    spans
        Only `day`, `week` or `month`; all when empty.
    again
        Try what failed with the same files too: for a tick that comes once a night.
    """
    running = instance.get_run_records(
        dg.RunsFilter(statuses=_UNFINISHED), limit=1, order_by="update_timestamp"
    )
    if running:
        return f"run {running[0].dagster_run.run_id} is not over yet"
    failed = {} if again else _failures(instance)
    reasons: list[str] = []
    for span in spans or ("day", *SPANS):
        found = _days(home) if span == "day" else _periods(home, span, reasons)
        if not found:
            continue
        first = min(found)
        if failed.get((span, first), ("", ""))[0] == found[first]:
            reasons.append(
                f"{span} {first} failed in run {failed[span, first][1]}, and nothing it is made"
                " from has changed since; mend it, or run it by hand"
            )
            continue
        good = {
            key: value
            for key, value in found.items()
            if all(
                failed.get((span, before), ("", ""))[0] != found[before]
                for before in found
                if before <= key
            )
        }
        return Work(span, good)
    return "; ".join(reasons) or "everything that has landed is made"


_UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


def _days(home: Home) -> dict[date, str]:
    """Consecutive days from the first that has landed or is stale and is not made, before today."""
    begin, _ = home.calendar()
    end = home.settings.last_day if isinstance(home.settings.last_day, date) else date.max
    found: dict[date, str] = {}
    statuses = [
        s
        for s in day_statuses(home)
        if s.state in _OPEN and not is_closed(s) and begin <= s.day <= min(end, today() - DAY)
    ]
    landed = set(home.landed())
    for status in statuses:
        if status.day not in landed:
            continue
        if found and (status.day != max(found) + DAY or len(found) == AT_ONCE):
            break
        note = status.note if status.state == "stale" else ""
        found[status.day] = _fingerprint(home, status.day, note)
    if not found:
        return {}
    first, last = in_turn(home.policies, min(found), max(found))[0]
    return {day: value for day, value in found.items() if first <= day <= last}


def _periods(home: Home, span: str, reasons: list[str]) -> dict[date, str]:
    """The first week or month of which something is due or stale."""
    for period in period_statuses(home):
        if TABLES[period.asset].span != span:
            continue
        if period.state in ("due", "stale"):
            note = period.note if period.state == "stale" else ""
            return {period.first: _fingerprint(home, period.last, note)}
        if period.state == "waiting":
            reasons.append(f"{span} {period.first} waits for its days: {period.note}")
    return {}


def _fingerprint(home: Home, day: date, note: str) -> str:
    """Of a day's files, the policy in force, and what made the day stale."""
    said: list[object] = [home.policies.in_force(day).hash, note]
    for table in LANDING:
        folder = home.landing / table / day.isoformat()
        for path in sorted(folder.rglob("*")) if folder.is_dir() else ():
            seen = path.stat()
            said.append((path.relative_to(home.landing).as_posix(), seen.st_size, seen.st_mtime_ns))
    return hashlib.sha256(repr(said).encode("utf-8", "surrogatepass")).hexdigest()[:12]


def _failures(instance: dg.DagsterInstance) -> dict[tuple[str, date], tuple[str, str]]:
    """The partition on which each of the newest failed runs stopped, with its fingerprint then."""
    found: dict[tuple[str, date], tuple[str, str]] = {}
    stopped = dg.RunsFilter(
        statuses=[dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED],
        tags={UNATTENDED: "yes"},
    )
    for run in instance.get_runs(stopped, limit=20):
        prints = {date.fromisoformat(k): v for k, v in json.loads(run.tags[FINGERPRINTS]).items()}
        span = next(name for name, job in JOBS.items() if job == run.job_name)
        bad = None
        if span == "day":
            bad = first_failed_day(instance, run.run_id, min(prints), max(prints))
        bad = bad if bad in prints else min(prints)
        found.setdefault((span, bad), (prints[bad], run.run_id))
    return found


def first_failed_day(
    instance: dg.DagsterInstance, run_id: str, first: date, last: date
) -> date | None:
    """The first day of a run over days that an asset or a blocking check failed on; None if it did
    not come that far.
    """
    days = [first + n * DAY for n in range((last - first).days + 1)]
    made: set[tuple[str, str | None]] = set()
    steps: list[str] = []
    bad: list[date] = []
    for entry in instance.all_logs(run_id, of_type=_TELLING):
        event = entry.dagster_event
        if event is None:
            continue
        if event.event_type == dg.DagsterEventType.STEP_FAILURE:
            steps.append(event.step_key or "")
        elif event.event_type == dg.DagsterEventType.ASSET_MATERIALIZATION and event.asset_key:
            made.add((event.asset_key.to_user_string(), event.partition))
        elif event.event_type == dg.DagsterEventType.ASSET_CHECK_EVALUATION:
            check = event.asset_check_evaluation_data
            if check.blocking and not check.passed and check.partition:
                bad.append(date.fromisoformat(check.partition))
    for step in steps:
        if step in TABLES:  # an asset makes its days in order
            bad += [day for day in days if (step, str(day)) not in made][:1]
    return min(bad, default=None)


_TELLING = {
    dg.DagsterEventType.STEP_FAILURE,
    dg.DagsterEventType.ASSET_MATERIALIZATION,
    dg.DagsterEventType.ASSET_CHECK_EVALUATION,
}


def newest_day(home: Home) -> tuple[bool, str]:
    """Whether the newest day that ought to be there is made, and in words. That is yesterday, or
    the last day of a calendar that has one.
    """
    end = home.settings.last_day
    wanted = min(end, today() - DAY) if isinstance(end, date) else today() - DAY
    made = [s.day for s in day_statuses(home) if s.state in ("complete", "closed")]
    if wanted in made:
        return True, f"{wanted} is made"
    newest = f"the newest day that is made is {max(made)}" if made else "no day is made"
    landed = "has landed and is not made" if wanted in home.landed() else "has not landed"
    return False, f"{wanted} {landed}; {newest}"


def up_to_date(home: Home) -> dg.AssetChecksDefinition:
    """The check of `newest_day`. No run has it: runs are about their own days. The sensor reports
    it, also when there is no run for it to be part of.
    """

    @dg.asset_check(
        asset="creator_earnings",
        name=UP_TO_DATE,
        description="Yesterday, or the last day of the calendar, is made.",
    )
    def check() -> dg.AssetCheckResult:
        passed, said = newest_day(home)
        return dg.AssetCheckResult(
            passed=passed, severity=dg.AssetCheckSeverity.WARN, metadata={"found": said}
        )

    return check


def schedules(home: Home, jobs: Mapping[str, Any]) -> Iterator[dg.ScheduleDefinition]:
    """One a length of period, at night, when the last of it is over. All are off until switched
    on.
    """
    crons = {"day": "0 2 * * *", WEEK.name: "0 4 * * 1", MONTH.name: "0 4 1 * *"}
    for span, job in jobs.items():

        def tick(
            context: dg.ScheduleEvaluationContext, span: str = span
        ) -> dg.RunRequest | dg.SkipReason:
            found = work(home, context.instance, spans=(span,), again=True)
            return dg.SkipReason(visible(found)) if isinstance(found, str) else found.request()

        yield dg.ScheduleDefinition(
            name=f"every_{span}",
            job=job,
            cron_schedule=crons[span],
            execution_fn=tick,
            description=(
                f"Makes every {span} that has landed or is stale and is not made, the missed ones"
                " too; skips with a reason."
            ),
        )


def sensors(home: Home, jobs: Mapping[str, Any]) -> list[dg.SensorDefinition]:
    """Runs for files as they land, and a message about a run that failed."""

    @dg.sensor(
        name="when_files_land",
        jobs=list(jobs.values()),
        minimum_interval_seconds=60,
        description=(
            "Starts a run when a day that is over has landed, or changed since it was made, and"
            " reports whether the newest day is there."
        ),
    )
    def landing(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        found = work(home, context.instance)
        passed, said = newest_day(home)
        report = dg.AssetCheckEvaluation(
            asset_key=dg.AssetKey("creator_earnings"),
            check_name=UP_TO_DATE,
            passed=passed,
            severity=dg.AssetCheckSeverity.WARN,
            metadata={"found": said},
        )
        return dg.SensorResult(
            run_requests=[] if isinstance(found, str) else [found.request()],
            skip_reason=visible(found) if isinstance(found, str) else None,
            cursor=said,
            asset_events=[] if said == context.cursor else [report],
        )

    alerts = home.settings.alerts

    @dg.run_failure_sensor(
        name="when_a_run_fails",
        minimum_interval_seconds=30,
        default_status=(
            dg.DefaultSensorStatus.RUNNING if alerts.configured else dg.DefaultSensorStatus.STOPPED
        ),
        description="Calls the command or the webhook of [alerts] in settings.toml.",
    )
    def failure(context: dg.RunFailureSensorContext) -> dg.SkipReason | None:
        if not alerts.configured:
            return dg.SkipReason("settings.toml has no [alerts]: nobody is told")
        run = context.dagster_run
        days = " to ".join(
            dict.fromkeys(run.tags[tag] for tag in (RANGE_START, RANGE_END) if tag in run.tags)
        )
        reasons = [
            event.step_failure_data.user_failure_data.description or ""
            for event in context.get_step_failure_events()
            if event.step_failure_data.user_failure_data
        ]
        why = visible("; ".join(filter(None, reasons)) or context.failure_event.message or "")
        alert(
            home,
            {
                "text": f"{run.job_name} {days} failed in {home.root.name}: {why}",
                "home": str(home.root),
                "job": run.job_name,
                "days": days,
                "run_id": run.run_id,
                "reason": why,
            },
        )
        return None

    return [landing, failure]


def alert(home: Home, message: Mapping[str, str]) -> None:
    """Tell the settings' command (JSON on standard input, the text in EARNINGS_ALERT) and webhook
    (a POST of the same JSON).

    Raises
    ------
    AlertError
        The command ended with another code than 0, or the webhook did not take it.
    """
    alerts, body = home.settings.alerts, json.dumps(message)
    try:
        if alerts.command:
            subprocess.run(
                alerts.command, shell=True, input=body, text=True, check=True, timeout=60
            )
        if alerts.webhook:
            request = urllib.request.Request(
                alerts.webhook, body.encode(), {"Content-Type": "application/json"}
            )
            with urllib.request.urlopen(request, timeout=20):
                pass
    except (OSError, subprocess.SubprocessError) as error:
        raise AlertError(f"alert not sent: {visible(error)}") from error
