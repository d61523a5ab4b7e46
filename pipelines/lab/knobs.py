"""How much each knob of the policy moves the outcome of a day: by paying the day again, not by
looking at formulas.

What belongs here: which knobs, which values, the table and the plots. Paying is in `trial.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

import click
from pydantic import ValidationError

from pipelines.console import DAY, Command, as_json_option, option
from pipelines.lab.report import Report, finish, into_folder, progress
from pipelines.policy import Policy
from pipelines.settings import Home
from solvers import InfeasibleError

MEASURES = {
    "gini": "Gini coefficient of creators' earnings",
    "top_1_percent_share": "part of the top 1 % of creators",
    "small_creators_share": "part of the half with fewer followers",
    "platform_share": "part of all money that the platform keeps",
}
_UNITS = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0)


@dataclass(frozen=True)
class Knob:
    """A field of the policy (or one that carries another with it), the values to try, and where its
    section is.
    """

    name: str
    values: Sequence[Any]
    also: Callable[[Any], dict[str, Any]] = lambda _: {}

    @property
    def section(self) -> str:
        return self.name.split(".")[0]

    def turned(self, policy: Policy, value: Any) -> Policy:
        """The policy with this knob at `value`. Raises ValidationError where the policy as a whole
        then makes no sense.
        """
        others = {f"{self.section}.{name}": other for name, other in self.also(value).items()}
        return policy.with_fields({self.name: value, **others})


EXPONENTS = tuple(
    dict(zip(("watch", "engagement", "diversity", "rewatch", "safety"), values, strict=True))
    for values in (
        (0.35, 0.25, 0.15, 0.1, 0.15),
        (0.55, 0.2, 0.0, 0.1, 0.15),
        (0.75, 0.0, 0.0, 0.1, 0.15),
        (0.35, 0.4, 0.0, 0.1, 0.15),
    )
)
BETAS = tuple(
    dict(zip(("like", "comment", "share", "follow"), values, strict=True))
    for values in ((0.1, 0.2, 0.4, 0.3), (0.25, 0.25, 0.25, 0.25), (1.0, 0.0, 0.0, 0.0))
)
KNOBS = (
    Knob("ads.lambda_eff", _UNITS, lambda value: {"lambda_fair": 1 - value}),
    Knob("ads.alpha", (0.1, 0.25, 0.5, 0.75, 1.0)),
    Knob("ads.platform_share", (0.1, 0.3, 0.45, 0.55, 0.7, 0.9)),
    Knob("ads.floor_micros", (0, 10, 100, 1_000, 10_000, 100_000)),
    Knob("ads.cap_fraction", (0.02, 0.05, 0.1, 0.2, 0.5, 1.0)),
    Knob("ads.fairness_unit", ("creator", "video")),
    Knob("ads.account_bound", (0.25, 0.5, 0.85, 1.5, 3.0, float("inf"))),
    Knob("pulse.top_fraction", (0.0, 0.02, 0.04, 0.1, 0.25, 0.5)),
    Knob("pulse.creator_share", _UNITS),
    Knob("coins.theta", (0.0, 0.25, 0.5, 1.0, 2.0)),
    Knob("coins.min_gap", (0.0, 0.05, 0.1, 0.2, 0.4)),
    Knob("coins.max_gap", (0.05, 0.1, 0.2, 0.4, 0.8)),
    Knob("coins.revenue_floor", (0.0, 0.1, 0.3, 0.5, 0.7, 0.9)),
    Knob("coins.lambda_rev", (0.1, 0.2, 0.4, 0.8, 1.6)),
    Knob("coins.lambda_util", (0.1, 0.2, 0.4, 0.8, 1.6)),
    Knob("coins.lambda_inc", (0.0, 0.1, 0.2, 0.4, 0.8)),
    Knob("coins.normal_max", (0.2, 0.4, 0.6, 0.8, 1.0)),
    Knob("coins.premium_max", (0.4, 0.6, 0.8, 1.0)),
    Knob("quality.prior_mass", (0.0, 5.0, 20.0, 80.0)),
    Knob("quality.trust_unverified", (0.2, 0.4, 0.6, 0.8, 1.0)),
    Knob("quality.unverified_cap", (0.5, 1.0, 1.5, 3.0, float("inf"))),
    Knob("quality.history_days", (0, 7, 28)),
    Knob("quality.prior_actions", (3.0, 10.0, 30.0)),
    Knob("quality.contrast", (1.0, 2.0, 2.7, 4.0)),
    Knob("quality.unverified_evidence", (0.0, 0.1, 0.5, 1.0)),
    Knob("quality.exponents", EXPONENTS),
    Knob("quality.action_weights", BETAS),
    Knob("quality.toxicity_penalty", (0.0, 0.25, 0.5, 1.0)),
    Knob("views.min_watch_fraction", (0.0, 0.1, 0.3, 0.6)),
)


@dataclass(frozen=True)
class Turn:
    """One knob at one value: what came out, or why nothing did."""

    knob: str
    value: Any
    measures: dict[str, float] | None
    problem: str


def turns(home: Home, day: date, policy: Policy, knobs: Sequence[Knob] = KNOBS) -> Iterator[Turn]:
    """Pay `day` again with every knob at each of its values, the others as `policy` has them; the
    first one is the policy itself.
    """
    from pipelines.lab.trial import trial

    with trial(home, day, window_days=policy.quality.window_days) as room:
        yield Turn("as it is", "", room.keep(policy).measures, "")
        for knob in knobs:
            for value in knob.values:
                try:
                    yield Turn(
                        knob.name,
                        value,
                        room.pay(knob.turned(policy, value), changed=knob.section).measures,
                        "",
                    )
                except (InfeasibleError, ValidationError) as error:
                    said = (
                        error.errors()[0]["msg"]
                        if isinstance(error, ValidationError)
                        else str(error)
                    )
                    yield Turn(
                        knob.name, value, None, said.splitlines()[0].removeprefix("Value error, ")
                    )


def study(
    report: Report, home: Home, day: date, policy: Policy, knobs: Sequence[Knob] = KNOBS
) -> None:
    """Fill the report: what every knob does at every value, and its authority, the range of each
    measure over its values.
    """
    found: list[Turn] = []
    for turn in turns(home, day, policy, knobs):
        if turn.knob != (found[-1].knob if found else ""):
            progress(turn.knob)
        found.append(turn)
    [base, *turned] = found
    assert base.measures is not None
    report.say(
        f"Every knob of policy {policy.name} ({policy.hash}) was turned alone and {day} paid again"
        " with the pipeline's own assets and solvers. The authority of a knob over a measure is"
        " how far apart its extremes are over the values that were tried."
    )
    authority: list[tuple[Any, ...]] = []
    for knob in knobs:
        seen = [t.measures for t in turned if t.knob == knob.name and t.measures is not None] + [
            base.measures
        ]
        refused = sum(t.measures is None for t in turned if t.knob == knob.name)
        authority.append(
            (
                knob.name,
                *(max(m[name] for m in seen) - min(m[name] for m in seen) for name in MEASURES),
                refused,
            )
        )
    authority.sort(key=lambda row: -max(row[1:5]))
    report.table(
        "authority",
        ("knob", *MEASURES, "values refused"),
        authority,
        "Authority of every knob, the strongest first",
    )
    report.table(
        "turns",
        ("knob", "value", *MEASURES, "problem"),
        [
            (t.knob, t.value, *((t.measures or {}).get(name, "") for name in MEASURES), t.problem)
            for t in found
        ],
        "Every knob at every value",
        most=len(found),
    )
    with report.plot(
        "authority", "How far each knob can move each measure on this day", rows=2, columns=2
    ) as axes:
        for axis, (place, name) in zip(axes.flat, enumerate(MEASURES), strict=True):
            axis.barh(
                [row[0] for row in authority][::-1], [row[1 + place] for row in authority][::-1]
            )
            axis.set_title(MEASURES[name])
    strongest = [row[0] for row in authority[:6]]
    with report.plot(
        "curves", "The six strongest knobs; the dot is the policy as it is", rows=2, columns=3
    ) as axes:
        for axis, name in zip(axes.flat, strongest, strict=False):
            kept = [t for t in turned if t.knob == name and t.measures is not None]
            section, key = name.split(".")
            now = str(getattr(getattr(policy, section), key))
            for measure in MEASURES:
                axis.plot(
                    [str(t.value) for t in kept],
                    [(t.measures or {})[measure] for t in kept],
                    marker=".",
                    label=measure,
                )
                if now in [str(t.value) for t in kept]:
                    axis.plot([now], [base.measures[measure]], "ko", markersize=4)
            axis.set_title(name)
        axes.flat[0].legend(fontsize=7)


@click.command("knobs", cls=Command)
@option("--day", type=DAY, required=True, help="Day to pay again; it must have been run.")
@into_folder("knobs")
@as_json_option
@click.pass_obj
def command(home: Home, day: datetime, folder: Path, as_json: bool) -> None:
    """How much each knob of the policy moves a day: Gini, top 1 %, small creators' part, platform's
    part.

    Pays the day again in memory, with the pipeline's own solvers, for some twenty knobs at a
    handful of values each. Values that contradict the rest of the policy, or cannot be paid, are
    listed with the reason.
    """
    policy = home.policies.in_force(day.date())
    report = Report(folder, f"Knob authority on {day:%Y-%m-%d}, policy {policy.name}")
    study(report, home, day.date(), policy)
    finish(report, as_json)
