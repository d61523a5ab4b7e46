"""Mechanisms of the creator competition side by side: every one with every seed, in parallel, and
what is kept of a run.

What belongs here: which mechanisms and controls are compared, playing them, and averages over runs.
The game is in `solvers.competition`; who plays is in `competition_settings`, what is claimed of the
runs in `competition_claims`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from pipelines.lab.report import progress
from solvers.arrays import Floats

if TYPE_CHECKING:
    from pipelines.lab.report import Report
    from solvers.competition import Setting

Gains = Mapping[str, Mapping[str, tuple[float, float]]]
"""By mechanism and metric ("deployed", "default"): gain over the baseline in percent, and half of
its 95 % interval.
"""

MECHANISMS = {
    "base": "no intervention",
    "UIR": "rewards times the group's weight",
    "SMT": "temperature times the group's weight",
    "HMT": "number of candidates times the group's weight",
    "static K": "the least number of candidates that HMT may use, for everybody, for ever",
    "static beta": "the least temperature that SMT may use, for everybody, for ever",
    "coordinated": "moves are accepted when welfare does not fall: what content alone can gain",
}
ADAPTIVE = ("UIR", "SMT", "HMT")
HALVED = "centre halved"
LEAST = 0.2
SERVED = 1.5


@dataclass(frozen=True)
class Experiment:
    """A setting for each seed, and how long it is played; `data` fills the page with what is to be
    said of where it comes from.
    """

    name: str
    about: str
    build: Callable[[int], Setting]
    seeds: int
    steps: int
    step_size: float = 0.2
    data: Callable[[Report], None] | None = None

    @property
    def is_toy(self) -> bool:
        return self.name == "toy"


@dataclass(frozen=True)
class ByGroup:
    """What groups of users have at the end of a run, the largest group first; `weight` is the mean
    of its users'.
    """

    size: npt.NDArray[np.int64]
    weight: Floats
    utility: Floats
    utility_default: Floats


@dataclass(frozen=True)
class Run:
    """One mechanism in one setting with one seed.

    `seen` are the groups that the platform sees and weighs; `document` those of the document's
    figures: the clusters the users were drawn from, where there are any, else the same.
    """

    mechanism: str
    seed: int
    welfare: Floats
    default: Floats
    seen: ByGroup
    document: ByGroup
    accepted: float
    moved: Floats
    spread: float
    served: bool
    paths: Floats

    def late(self, *, default: bool = False) -> float:
        """Mean welfare over the last tenth of the steps."""
        curve = self.default if default else self.welfare
        return float(curve[-max(1, curve.size // 10) :].mean())


@dataclass(frozen=True)
class _Job:
    setting: Setting
    mechanism: str
    seed: int
    steps: int
    step_size: float


def _play(job: _Job) -> Run:
    from dataclasses import replace

    from solvers.competition import Mechanism, Static, simulate

    game, groups = job.setting.game, job.setting.groups
    mechanism: Mechanism
    weights, rates = None, (0.5, 0.1)
    match job.mechanism:
        case "static K":
            mechanism = Static(candidates=int(np.ceil(LEAST * game.candidates)))
        case "static beta":
            mechanism = Static(temperature=LEAST * game.temperature)
        case "centre halved":
            mechanism, weights, rates = "uir", np.array([0.5, 1, 1, 1, 1]), (0.0, 0.0)
        case name:
            mechanism = name.lower()  # type: ignore[assignment]
    keep = np.unique(np.linspace(0, job.steps, 41).astype(int)).tolist()
    run = simulate(
        game,
        steps=job.steps,
        actions=job.setting.actions,
        groups=groups,
        mechanism=mechanism,
        weights=weights,
        rates=rates,
        step_size=job.step_size,
        seed=job.seed,
        keep=keep,
    )
    weight = run.group_weight[-2][groups]
    last = replace(run.game, weights=weight)
    utility, default = last.user_utilities(), last.user_utilities(default=True)

    def by(labels: npt.NDArray[np.int64]) -> ByGroup:
        size = np.bincount(labels)
        order = np.argsort(-size, kind="stable")
        means = ((np.bincount(labels, weights=x) / size)[order] for x in (weight, utility, default))
        return ByGroup(size[order], *means)

    paths = np.array([run.strategies[t] for t in keep])
    return Run(
        job.mechanism,
        job.seed,
        run.welfare,
        run.welfare_default,
        by(groups),
        by(groups if job.setting.clusters is None else job.setting.clusters),
        float(run.accepted[-max(1, job.steps // 10) :].mean()),
        np.linalg.norm(paths - paths[0], axis=2).mean(axis=1),
        float(np.sqrt(((paths[-1] - paths[-1].mean(axis=0)) ** 2).sum(axis=1).mean())),
        bool((run.game.scores.max(axis=0) > SERVED).all()),
        paths if job.seed == 0 else paths[[0, -1]],
    )


def play(experiment: Experiment, settings: Sequence[Setting], *, workers: int) -> list[Run]:
    """Every mechanism with every seed, in processes of their own; in the same order however many
    there are.
    """
    names = [*MECHANISMS, HALVED] if experiment.is_toy else list(MECHANISMS)
    jobs = [
        _Job(s, name, seed, experiment.steps, experiment.step_size)
        for name in names
        for seed, s in enumerate(settings)
    ]

    def told(runs: Iterable[Run]) -> Iterator[Run]:
        for done, (run, job) in enumerate(zip(runs, jobs, strict=True), 1):
            if job.seed == len(settings) - 1:
                progress(
                    f"{experiment.name}: {job.mechanism}, {done} of {len(jobs)} runs of"
                    f" {experiment.steps} steps"
                )
            yield run

    if workers == 1:
        return list(told(map(_play, jobs)))
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    # not by fork: the parent has threads
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        return list(told(pool.map(_play, jobs)))


def paired(values: npt.ArrayLike, against: npt.ArrayLike) -> tuple[float, float]:
    """Mean difference and half of its 95 % confidence interval (Student), the same seeds in both;
    infinite for a single seed.
    """
    from scipy.special import stdtrit

    difference = np.asarray(values, dtype=np.float64) - np.asarray(against, dtype=np.float64)
    n = difference.size
    half = (
        float(stdtrit(n - 1, 0.975) * difference.std(ddof=1) / np.sqrt(n))
        if n > 1
        else float("inf")
    )
    return float(difference.mean()), half


def by_rank(
    runs: Sequence[Run],
    figure: str,
    over: Callable[..., Floats] = np.mean,
    *,
    of: Literal["seen", "document"] = "seen",
) -> Floats:
    """Mean over seeds (or another figure) by rank of the group, the largest first; as many ranks as
    every seed has.
    """
    return np.asarray(over(each_by_rank(runs, figure, of=of), axis=0))


def each_by_rank(
    runs: Sequence[Run], figure: str, *, of: Literal["seen", "document"] = "document"
) -> Floats:
    """(seeds, ranks): the figure of each run."""
    found = [getattr(r, of) for r in runs]
    shared = min(g.size.size for g in found)
    return np.array([getattr(g, figure)[:shared] for g in found])
