"""What the policy's own experiment did: table 2 of Yao et al. on the platform's two arms of
viewers, over all its days.

What belongs here: the period, the tables and plots, and what the document claims. How gains are
measured is in `pipelines.audience.experiment`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import click

from pipelines.audience.experiment import Gain, began, gains, table_2
from pipelines.console import DAY, Command, as_json_option, option
from pipelines.errors import ExpectedError
from pipelines.lab.finding import Side, normal, share
from pipelines.lab.report import Report, finish, into_folder
from pipelines.policy import Epochs
from pipelines.settings import Home
from pipelines.store.warehouse import Connection, Warehouse

SAID = {"ltr": "+1.13 %", "impressions": "+0.76 % of cold-start content", "topics": "+0.71 %"}
"""What the document reports in total."""
_NO_CHANCE = 3.0
"""Standard deviations that chance does not explain."""


class NoExperimentError(ExpectedError, LookupError):
    """There is nothing to compare: says which day, and what is missing."""


def period(home: Home, con: Connection, day: date | None) -> tuple[date, date]:
    """First and last day of the experiment that runs on `day`, or on the last day of the published
    copy that has one.

    Raises
    ------
    NoExperimentError
        no such day has two arms, or a day of the period was not run
    """
    policies = home.policies
    run = [
        d
        for (d,) in con.execute(
            "SELECT day FROM written_days WHERE table_name = 'group_utility' ORDER BY day DESC"
        ).fetchall()
    ]
    last = day or next((d for d in run if began(home, policies, d)), None)
    first = began(home, policies, last) if last else None
    if not last or not first:
        when = f"on {last}" if last else "on any day that was run"
        raise NoExperimentError(
            f"no policy in force {when} has two arms: [epochs.experiment] with a mechanism,"
            " docs/formulas.md section 5"
        )
    landed = home.landed()
    days = [first + timedelta(days=n) for n in range((last - first).days + 1)]
    if missing := [d for d in days if d in landed and d not in run]:
        command = f"earnings run --from {missing[0]} --to {last}"
        raise NoExperimentError(
            f"{missing[0]} is not made, or not published. Make it first: {command}"
        )
    return first, last


def study(report: Report, home: Home, con: Connection, day: date | None = None) -> None:
    """Fill the report: gains by size of the group and by day, whether the arms were drawn as asked,
    and the document's claims.
    """
    first, last = period(home, con, day)
    epochs = home.policies.in_force(last).epochs
    found = gains(con, epochs, first, last)
    if not found:
        raise NoExperimentError(f"one of the two arms has no viewers from {first} to {last}")
    assert epochs.experiment is not None
    report.section(f"Two arms, {first} to {last}")
    report.say(
        f"Arm {epochs.experiment.treatment} under"
        f" {epochs.mechanism.upper()} against arm {epochs.experiment.control},"
        f" {(last - first).days + 1} days. Groups are those of the last day, the one with most"
        " viewers first, in parts of about a quarter of the sessions each. Viewers who were drawn"
        " count whether they watched or not; 95 % intervals take viewers, not their sessions, as"
        " independent; one in twenty misses by chance. What creators make reaches both arms, so an"
        " effect of it shows in neither difference."
    )
    head, rows = table_2(found)
    report.table(
        "table_2",
        head,
        rows,
        "Gains of treatment over control, by rank of the viewers' group (table 2 of the document)",
    )
    columns = (
        "groups",
        "measure",
        "treated",
        "controls",
        "sessions",
        "treatment",
        "control",
        "gain",
        "low",
        "high",
    )
    report.table(
        "arm_gains",
        columns,
        [
            (
                g.label,
                g.measure,
                g.treated,
                g.controls,
                g.sessions,
                g.treatment,
                g.control,
                *(g.interval or ("", "", "")),
            )
            for g in found
        ],
        "The figures behind it: the utility is per session, impressions and topics are per viewer",
    )
    _plots(report, con, epochs, found, first, last)
    _claims(report, epochs, found)


def _plots(
    report: Report, con: Connection, epochs: Epochs, found: Sequence[Gain], first: date, last: date
) -> None:
    with report.plot(
        "table_2",
        "Gains by size of the viewers' group, largest groups first, with 95 % intervals",
        columns=3,
    ) as axes:
        for axis, measure in zip(axes, dict.fromkeys(g.measure for g in found), strict=True):
            shown = [g for g in found if g.measure == measure and g.part] + [
                g for g in found if g.measure == measure and not g.part
            ]
            _intervals(axis, [(g.label, g) for g in shown])
            axis.set_title(f"{measure}, gain in %")
            axis.set_xlabel("groups by rank")
    days = [first + timedelta(days=n) for n in range((last - first).days + 1)]
    by_day = [
        (f"{day:%m-%d}", g)
        for day in days
        for g in gains(con, epochs, day, day)
        if (g.part, g.measure) == (0, epochs.utility)
    ]
    with report.plot(
        "arm_days",
        f"Gain in {epochs.utility} of all groups together, day by day, with 95 % intervals",
    ) as axis:
        _intervals(axis, by_day)
        axis.set_title(f"{epochs.utility}, gain in %")
        axis.tick_params(axis="x", rotation=60)


def _intervals(axis: Any, shown: Sequence[tuple[str, Gain]]) -> None:
    known = [(label, g.interval) for label, g in shown if g.interval]
    middle = [100 * gain for _, (gain, _, _) in known]
    ends = [[100 * abs(x[end] - x[0]) for _, x in known] for end in (1, 2)]
    axis.errorbar([label for label, _ in known], middle, yerr=ends, fmt="o", capsize=3)
    axis.axhline(0, color="0.3", linewidth=0.8)


def _claims(report: Report, epochs: Epochs, found: Sequence[Gain]) -> None:
    total = {g.measure: g for g in found if g.part == 0}
    for measure, g in total.items():
        said = f": there {SAID[measure]}" if measure in SAID else ""
        what = f"{measure} of all viewers" if measure == epochs.utility else f"{measure} a viewer"
        gain = normal(
            None if g.log_gain is None else 100 * g.log_gain,
            None if g.error is None else 100 * g.error,
            g.treated + g.controls,
            "viewers",
            "%",
        )
        report.judge(
            f"arms: {what} rise (5.2.2{said})", Side("gain, log", gain, least=0), shown=g.text
        )
    parts = sorted(
        (g for g in found if g.part and g.measure == epochs.utility), key=lambda g: g.part
    )
    largest, smallest = parts[0], parts[-1]
    if largest is not smallest:
        known = None not in (largest.log_gain, largest.error, smallest.log_gain, smallest.error)
        ahead = smallest.log_gain - largest.log_gain if known else None  # type: ignore[operator]
        error = math.hypot(largest.error, smallest.error) if known else None  # type: ignore[arg-type]
        viewers = sum(g.treated + g.controls for g in (largest, smallest))
        difference = normal(ahead, error, viewers, "viewers")
        low, high = (100 * math.expm1(end) for end in difference.interval)
        text = (
            f"groups {smallest.label} gain {100 * math.expm1(ahead):+.2f} % ({low:+.2f} to"
            f" {high:+.2f}) more than {largest.label}"
            if ahead is not None
            else "unknown"
        )
        report.judge(
            "arms: small groups gain more than large ones (table 2)",
            Side("difference of gains, log", difference, least=0),
            shown=text,
        )
    experiment, everybody = epochs.experiment, total[epochs.utility]
    assert experiment is not None
    drawn = everybody.treated + everybody.controls
    off = (everybody.treated - experiment.share * drawn) / math.sqrt(
        drawn * experiment.share * (1 - experiment.share)
    )
    asked = experiment.share
    drawn_share = share(everybody.treated, drawn, "viewers")
    low, high = drawn_share.interval
    says = "arms: as many viewers were drawn into treatment as the policy asks for (ours, to 5 %)"
    shown = (
        f"{everybody.treated} of {drawn} ({low:.1%} to {high:.1%}), {asked:.0%} asked for:"
        f" {off:+.1f} standard deviations"
    )
    if abs(off) >= _NO_CHANCE:  # however small: something else than the hash drew
        report.counted(says, False, shown)
    else:
        report.judge(
            says, Side("share drawn", drawn_share, 0.95 * asked, 1.05 * asked), shown=shown
        )


def add_if_any(report: Report, home: Home) -> None:
    """The study as a part of another one's page, where any day of the published copy has two
    arms.
    """
    with Warehouse(home).read() as con:
        try:
            period(home, con, None)
        except NoExperimentError:
            return
        study(report, home, con)


@click.command("arms", cls=Command)
@option(
    "--day",
    type=DAY,
    help="Last day to look at; the experiment that runs on it. Default: the last day with one.",
)
@into_folder("arms")
@as_json_option
@click.pass_obj
def command(home: Home, day: datetime | None, folder: Path, as_json: bool) -> None:
    """What your own experiment did: gains of treatment over control, by size of the viewers' group.

    Takes all days of the experiment together ([epochs.experiment] of the policy): the utility that
    steers the weights per session, and sessions and topics a viewer, each with its 95 % interval;
    then the document's claims about them.
    """
    report = Report(folder, "What the experiment's treatment did")
    with Warehouse(home).read() as con:
        study(report, home, con, day.date() if day else None)
    finish(report, as_json)
