"""Do the mechanisms of Yao et al. help users, and why? Side by side on the document's settings, and on the platform's own viewers.

What belongs here: which mechanisms and settings are compared, over which seeds, and what the document claims of them. The game is in
`solvers.competition`, the settings are in `solvers.competition_settings`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np
import numpy.typing as npt

from pipelines.cli_lab import finish, into_folder, progress
from pipelines.console import as_json_option, option
from pipelines.errors import ExpectedError
from pipelines.lab import arms
from pipelines.lab.published import reading
from pipelines.lab.report import Report
from pipelines.settings import Home

if TYPE_CHECKING:
    from solvers.competition_settings import Setting

Floats = npt.NDArray[np.float64]

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
SHOWN = ("base", "HMT", "coordinated")


@dataclass(frozen=True)
class Experiment:
    """A setting for each seed, and how long it is played."""

    name: str
    about: str
    build: Callable[[int], Setting]
    seeds: int
    steps: int
    step_size: float = 0.2

    @property
    def is_toy(self) -> bool:
        return self.name == "toy"


@dataclass(frozen=True)
class Run:
    """One mechanism in one setting with one seed; by group, the largest first."""

    mechanism: str
    seed: int
    welfare: Floats
    default: Floats
    size: npt.NDArray[np.int64]
    weight: Floats
    utility: Floats
    utility_default: Floats
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
    size = np.bincount(groups)
    order = np.argsort(-size, kind="stable")
    last = replace(run.game, weights=run.group_weight[-2][groups])

    def of_groups(values: Floats) -> Floats:
        return (np.bincount(groups, weights=values) / size)[order]

    paths = np.array([run.strategies[t] for t in keep])
    return Run(
        job.mechanism,
        job.seed,
        run.welfare,
        run.welfare_default,
        size[order],
        run.group_weight[-2][order],
        of_groups(last.user_utilities()),
        of_groups(last.user_utilities(default=True)),
        float(run.accepted[-max(1, job.steps // 10) :].mean()),
        np.linalg.norm(paths - paths[0], axis=2).mean(axis=1),
        float(np.sqrt(((paths[-1] - paths[-1].mean(axis=0)) ** 2).sum(axis=1).mean())),
        bool((run.game.scores.max(axis=0) > SERVED).all()),
        paths if job.seed == 0 else paths[[0, -1]],
    )


def play(experiment: Experiment, settings: Sequence[Setting], *, workers: int) -> list[Run]:
    """Every mechanism with every seed, in processes of their own; in the same order however many there are."""
    names = [*MECHANISMS, HALVED] if experiment.is_toy else list(MECHANISMS)
    jobs = [_Job(s, name, seed, experiment.steps, experiment.step_size) for name in names for seed, s in enumerate(settings)]

    def told(runs: Iterable[Run]) -> Iterator[Run]:
        for done, (run, job) in enumerate(zip(runs, jobs, strict=True), 1):
            if job.seed == len(settings) - 1:
                progress(f"{experiment.name}: {job.mechanism}, {done} of {len(jobs)} runs of {experiment.steps} steps")
            yield run

    if workers == 1:
        return list(told(map(_play, jobs)))
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    # not by fork: the parent has threads
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        return list(told(pool.map(_play, jobs)))


def paired(values: npt.ArrayLike, against: npt.ArrayLike) -> tuple[float, float]:
    """Mean difference and half of its 95 % confidence interval (Student), the same seeds in both; infinite for a single seed."""
    from scipy.special import stdtrit

    difference = np.asarray(values, dtype=np.float64) - np.asarray(against, dtype=np.float64)
    n = difference.size
    half = float(stdtrit(n - 1, 0.975) * difference.std(ddof=1) / np.sqrt(n)) if n > 1 else float("inf")
    return float(difference.mean()), half


def _compare(report: Report, experiment: Experiment, runs: dict[str, list[Run]]) -> dict[str, dict[str, tuple[float, float]]]:
    """The table of welfare and differences from the baseline; gives the differences, deployed and default, in percent."""
    late = {name: {d: np.array([r.late(default=d) for r in of]) for d in (False, True)} for name, of in runs.items()}
    base = late["base"]
    gain: dict[str, dict[str, tuple[float, float]]] = {}
    rows = []
    for name, welfare in late.items():
        gain[name] = {}
        for metric, d in (("deployed", False), ("default", True)):
            mean, half = paired(welfare[d], base[d])
            gain[name][metric] = (100 * mean / base[d].mean(), 100 * half / base[d].mean())
        spread = welfare[False].std(ddof=1) if experiment.seeds > 1 else float("nan")
        found = [x for metric in gain[name].values() for x in metric]
        rows.append((name, welfare[False].mean(), *found[:2], welfare[True].mean(), *found[2:], spread))
    report.table(
        f"{experiment.name}_welfare",
        ("mechanism", "welfare", "gain %", "+- %", "default welfare", "default gain %", "default +- %", "sd over seeds"),
        rows,
        f"{experiment.name}: welfare over the last tenth of {experiment.steps} steps, under the matching that is deployed and of the same"
        f" content under the default one; gains over base with 95 % intervals, paired by seed ({experiment.seeds} seeds)",
    )
    columns = ("mechanism", "accepted", "distance from start", "spread") + (("all five served",) if experiment.is_toy else ())
    report.table(
        f"{experiment.name}_movement",
        columns,
        [
            (
                name,
                *(float(np.mean(x)) for x in ([r.accepted for r in of], [r.moved[-1] for r in of], [r.spread for r in of])),
                *([float(np.mean([r.served for r in of]))] if experiment.is_toy else []),
            )
            for name, of in runs.items()
        ],
        f"{experiment.name}: share of moves accepted at the end, how far creators went, and how far apart they ended",
    )
    return gain


def _by_rank(runs: Sequence[Run], figure: str) -> Floats:
    """Mean over seeds by rank of the group, the largest first; as many ranks as every seed has."""
    shared = min(r.size.size for r in runs)
    return np.asarray(np.mean([getattr(r, figure)[:shared] for r in runs], axis=0))


def _figures(report: Report, experiment: Experiment, runs: dict[str, list[Run]], users: Floats) -> None:
    report.table(
        f"{experiment.name}_groups",
        ("mechanism", "rank", "size", "weight", "utility", "default utility"),
        [
            (name, rank + 1, *figures)
            for name, of in runs.items()
            for rank, figures in enumerate(
                zip(*(_by_rank(of, f).tolist() for f in ("size", "weight", "utility", "utility_default")), strict=True)
            )
        ],
        f"{experiment.name}: groups of users, the largest first, at the end of the run",
        most=0,
    )
    colour = {name: f"C{place}" for place, name in enumerate(runs)}
    with report.plot(f"{experiment.name}_curves", f"{experiment.name}: figures 2 and 3 of the document", rows=2, columns=2) as axes:
        for axis, figure, title in zip(
            axes[0], ("welfare", "default"), ("Welfare, deployed matching", "The same content, default matching"), strict=True
        ):
            for name, of in runs.items():
                curves = np.array([getattr(r, figure) for r in of])
                # 200 points are enough for the eye
                mean = np.array([part.mean() for part in np.array_split(curves.mean(axis=0), min(200, experiment.steps))])
                x = np.linspace(0, experiment.steps, mean.size)
                [line] = axis.plot(x, mean, label=name, linewidth=1.2, color=colour[name])
                if len(of) > 1 and name in ("base", *ADAPTIVE):
                    sd = np.array([part.mean() for part in np.array_split(curves.std(axis=0, ddof=1), mean.size)])
                    axis.fill_between(x, mean - sd, mean + sd, color=line.get_color(), alpha=0.1)
            axis.set_title(title + ", one sd over seeds")
            axis.set_xlabel("step")
        axes[0, 0].legend(fontsize=7)
        for axis, figure, names in zip(axes[1], ("weight", "utility"), (ADAPTIVE, ("base", *ADAPTIVE)), strict=True):
            for place, name in enumerate(names):
                values = _by_rank(runs[name], figure)
                axis.bar(np.arange(values.size) + (place - len(names) / 2) * 0.2 + 0.1, values, width=0.2, label=name, color=colour[name])
            sizes = _by_rank(runs["base"], "size")
            axis.set_xticks(range(sizes.size), [f"{s:.0f}" for s in sizes], rotation=60, fontsize=7)
            axis.set_xlabel("users in the group, mean over seeds")
            axis.set_title(f"Group {figure} at the end")
            axis.legend(fontsize=7, loc="lower left" if figure == "utility" else "upper left")
    shown = ("base", HALVED, "HMT") if experiment.is_toy else SHOWN
    with report.plot(f"{experiment.name}_movement", f"{experiment.name}: creators' strategies (figure 1), seed 0", columns=3) as axes:
        flat = np.eye(2) if users.shape[1] == 2 else np.linalg.svd(users - users.mean(axis=0), full_matrices=False)[2][:2].T
        for axis, name in zip(axes, shown, strict=True):
            seen = (users - (0 if experiment.is_toy else users.mean(axis=0)))[:: max(1, users.shape[0] // 400)] @ flat
            paths = (runs[name][0].paths - (0 if experiment.is_toy else users.mean(axis=0))) @ flat
            axis.plot(*seen.T, "x" if experiment.is_toy else ".", color="0.3" if experiment.is_toy else "0.8", label="users")
            if paths.shape[1] <= 20:
                for path in paths.transpose(1, 0, 2):
                    axis.plot(*path.T, linewidth=0.8)
            axis.plot(*paths[0].T, "o", markersize=3, color="tab:blue", label="start")
            axis.plot(*paths[-1].T, "^", markersize=4, color="tab:red", label="end")
            axis.set_title(name)
            axis.set_aspect("equal", adjustable="datalim")
        axes[0].legend(fontsize=7)


def _shown(gain: dict[str, dict[str, tuple[float, float]]], names: Iterable[str], metric: str = "deployed") -> str:
    return ", ".join(f"{name} {gain[name][metric][0]:+.2f} +- {gain[name][metric][1]:.2f} %" for name in names)


def _claims(report: Report, experiment: Experiment, runs: dict[str, list[Run]], gain: dict[str, dict[str, tuple[float, float]]]) -> None:
    def claim(says: str, holds: bool, shown: str) -> None:
        report.claim(f"{experiment.name}: {says}", holds, shown)

    if experiment.is_toy:
        share = {name: float(np.mean([r.served for r in of])) for name, of in runs.items()}
        claim(
            "without intervention some users stay unserved (4.1)", share["base"] <= 0.5, f"all five served in {share['base']:.0%} of runs"
        )
        claim("halving the weight of the central user leads creators to all (4.1)", share[HALVED] > 0.5, f"{share[HALVED]:.0%} of runs")
        claim(
            "so do the adaptive mechanisms (4.2, 4.3)",
            all(share[name] > 0.5 for name in ADAPTIVE),
            ", ".join(f"{name} {share[name]:.0%}" for name in ADAPTIVE),
        )
        return

    deployed = {name: metrics["deployed"] for name, metrics in gain.items()}
    default = {name: metrics["default"] for name, metrics in gain.items()}
    claim(
        "all three mechanisms outperform the baseline (5.1.4)",
        all(deployed[name][0] > deployed[name][1] for name in ADAPTIVE),
        _shown(gain, ADAPTIVE),
    )
    claim(
        "HMT gains most, SMT moderately, UIR least but something (5.1.4)",
        deployed["HMT"][0] > deployed["SMT"][0] > deployed["UIR"][0] > 0,
        _shown(gain, ("HMT", "SMT", "UIR")),
    )
    claim(
        "the gain is creators serving users better, not a narrower matching (ours): most of it stays under the default matching",
        all(default[name][0] > deployed[name][0] / 2 > 0 for name in ("SMT", "HMT")),
        f"default matching: {_shown(gain, ('SMT', 'HMT'), 'default')}; content alone could gain {_shown(gain, ('coordinated',))}",
    )
    best = max(ADAPTIVE, key=lambda name: deployed[name][0])
    control = max(("static K", "static beta"), key=lambda name: deployed[name][0])
    claim(
        "adapting weights beats narrowing the matching for everybody (ours)",
        deployed[best][0] > deployed[control][0],
        f"{_shown(gain, (best, control))}",
    )
    if experiment.seeds > 1:
        sd = {name: float(np.std([r.late() for r in runs[name]], ddof=1)) for name in ADAPTIVE}
        claim("HMT varies least, SMT most (5.1.4)", sd["HMT"] < sd["UIR"] < sd["SMT"], ", ".join(f"{n} sd {s:.4f}" for n, s in sd.items()))

    def rise(name: str) -> float:
        curve = np.mean([r.welfare for r in runs[name]], axis=0)
        return float(curve[-max(1, curve.size // 10) :].mean() - curve[curve.size // 5])

    claim(
        "the baseline plateaus, the mechanisms rise again (5.1.4), here: after a fifth of the steps",
        all(rise(name) > 2 * max(rise("base"), 0) for name in ADAPTIVE),
        ", ".join(f"{name} {rise(name):+.4f}" for name in ("base", *ADAPTIVE)),
    )

    def with_size(name: str, figure: str) -> float:
        return float(np.mean([np.corrcoef(np.log(r.size), getattr(r, figure))[0, 1] for r in runs[name]]))

    claim(
        "all three give small groups more weight than large ones (figure b)",
        all(with_size(name, "weight") < 0 for name in ADAPTIVE),
        "correlation of weight and log size: " + ", ".join(f"{name} {with_size(name, 'weight'):+.2f}" for name in ADAPTIVE),
    )
    claim(
        "without intervention larger groups are served better (figure c)",
        with_size("base", "utility") > 0,
        f"correlation of utility and log size {with_size('base', 'utility'):+.2f}",
    )
    change = {name: _by_rank(runs[name], "utility") - _by_rank(runs["base"], "utility") for name in ADAPTIVE}
    half = change["HMT"].size // 2
    claim(
        "HMT improves every group (figure c)",
        bool((change["HMT"] > 0).all()),
        f"{int((change['HMT'] > 0).sum())} of {change['HMT'].size} ranks, from {change['HMT'].min():+.4f} to {change['HMT'].max():+.4f}",
    )
    claim(
        "UIR helps small groups and costs large ones a little (figure c)",
        change["UIR"][half:].mean() > 0 > change["UIR"][:half].mean(),
        f"smaller half {change['UIR'][half:].mean():+.4f}, larger half {change['UIR'][:half].mean():+.4f}",
    )
    claim(
        "SMT skews utilities towards large groups (figure c)",
        change["SMT"][:half].mean() > change["SMT"][half:].mean(),
        f"larger half {change['SMT'][:half].mean():+.4f}, smaller half {change['SMT'][half:].mean():+.4f}",
    )


SOFT = ([1, 1, 1, 1], [2, 1], [1, 1, 3], [2, 1, 1, 0.5], [5, 1, 0.2])
SHARP: tuple[tuple[list[float], list[float], float], ...] = (
    ([2, 1], [250, 750], 0.2),
    ([2, 1], [500, 500], 0.3),
    ([2, 1], [667, 333], 0.2),
    ([2, 1, 1, 0.5], [250, 250, 250, 250], 0.2),
    ([2, 1, 1, 0.5], [444, 222, 222, 112], 0.2),
)


def theorem_2(report: Report) -> None:
    """The theorem where its sign is certain, and where its proof does not reach."""
    from solvers.competition_settings import is_soft, orthogonal, sharp_slope, soft_slope

    rows: list[tuple[Any, ...]] = []
    error = 0.0
    for weights in SOFT:
        w, eta = np.array(weights, dtype=np.float64), 1e-5
        bound = float(w.max() / np.linalg.norm(w))
        ahead, behind = (orthogonal(w * np.exp(-t * w / np.linalg.norm(w)), creators=3, temperature=bound).welfare() for t in (eta, -eta))
        slope = soft_slope(w)
        error = max(error, abs(slope - (ahead - behind) / (2 * eta)))
        rows.append((" ".join(map(str, weights)), "together", bound, bound, "soft", slope, slope >= 0))
    for weights, counts, temperature in SHARP:
        w = np.array(weights)
        slope = sharp_slope(w, counts, temperature)
        bound = float(w.max() / np.linalg.norm(w))
        regime = "soft" if is_soft(w, temperature) else "sharp"
        rows.append((" ".join(map(str, weights)), " ".join(map(str, counts)), temperature, bound, regime, slope, slope >= 0))
    report.table(
        "theorem_2",
        ("weights", "creators by user", "temperature", "max w / norm", "regime", "dW/d eta", "improves"),
        rows,
        "Theorem 2: what its step does to welfare. Soft: (S1 S3/S2^2 - 1)/m with S_k = sum of w^k, creators stay together. Sharp: creators"
        " have specialised",
    )
    soft, sharp = [r for r in rows if r[4] == "soft"], [r for r in rows if r[4] == "sharp"]
    report.claim(
        "theorem 2: the step improves welfare, where temperature >= max w / norm of w",
        all(r[6] for r in soft) and error < 1e-8,
        f"{sum(r[6] for r in soft)} of {len(soft)} cases; the formula is the derivative to {error:.0e}",
    )
    report.claim(
        "theorem 2: and where the temperature is small, as its proof assumes",
        all(r[6] for r in sharp),
        f"{sum(r[6] for r in sharp)} of {len(sharp)} cases improve; the worst dW/d eta is {min(r[5] for r in sharp):.2g}",
    )


def study(report: Report, experiments: Sequence[Experiment], *, workers: int = 1) -> None:
    """Fill the report: every experiment with every mechanism, then theorem 2."""
    report.say(
        "Creators move one after another by local better response; the platform reweights groups of users every 5 steps (algorithms 1 and"
        " 2). Every result is shown under the matching that was deployed and, for the same content, under the default matching: a"
        " mechanism that only narrows the matching gains in the first and not in the second. "
        + " ".join(f"{name}: {about}." for name, about in MECHANISMS.items())
    )
    for experiment in experiments:
        settings = [experiment.build(seed) for seed in range(experiment.seeds)]
        [*played] = play(experiment, settings, workers=workers)
        runs = {name: list(of) for name, of in groupby(played, key=lambda r: r.mechanism)}
        game = settings[0].game
        report.say(
            f"## {experiment.name}\n\n{experiment.about} {game.users.shape[0]} users, {game.strategies.shape[0]} creators,"
            f" {len(np.unique(settings[0].groups))} groups with seed 0; {experiment.seeds} seeds, {experiment.steps} steps."
        )
        gain = _compare(report, experiment, runs)
        _figures(report, experiment, runs, game.users)
        _claims(report, experiment, runs, gain)
        report.say(_in_words(experiment, gain))
    report.say("## Theorem 2")
    theorem_2(report)


def _in_words(experiment: Experiment, gain: dict[str, dict[str, tuple[float, float]]]) -> str:
    sure = [name for name in ADAPTIVE if gain[name]["deployed"][0] > gain[name]["deployed"][1]]
    kept = [name for name in sure if gain[name]["default"][0] > gain[name]["default"][1]]
    control = max(("static K", "static beta"), key=lambda name: gain[name]["deployed"][0])
    return (
        f"In words: {', '.join(sure) or 'none of the mechanisms'} certainly gained over doing nothing, and"
        f" {', '.join(kept) or 'none of them'} certainly still does when the same content is matched as before."
        f" {control}, which adapts to nobody, has {_shown(gain, (control,))}; the coordinated reference {_shown(gain, ('coordinated',))}."
        " It too is a local search, so it bounds from below what content can gain."
    )


class WatchingError(ExpectedError, LookupError):
    """The home has nothing to embed viewers from: says which file."""


def of_platform(home: Home, seed: int = 0) -> Setting:
    """The home's own viewers and creators, from all the events in its published copy; nothing is written.

    Raises
    ------
    WatchingError
        too little was watched
    NothingPublishedError
        there is no published copy yet
    """
    from solvers.competition_settings import from_watching

    with reading(home) as con:
        seen = con.execute(
            """WITH known AS (SELECT video_id, arg_max(creator_id, day) AS creator_id, arg_max(length_ms, day) AS length_ms
                              FROM videos GROUP BY video_id)
               SELECT dense_rank() OVER (ORDER BY viewer_id) - 1 AS viewer, dense_rank() OVER (ORDER BY video_id) - 1 AS video,
                      dense_rank() OVER (ORDER BY creator_id) - 1 AS creator,
                      least(1.0, max(watch_ms) / any_value(known.length_ms)) AS watched
               FROM viewer_events JOIN known USING (video_id)
               GROUP BY viewer_id, video_id, creator_id ORDER BY viewer, video"""
        ).fetchnumpy()
    viewer, video = seen["viewer"].astype(np.int64), seen["video"].astype(np.int64)
    if not viewer.size:
        raise WatchingError(f"{home.published}: there are no events in it")
    creator = np.zeros(video.max() + 1, dtype=np.int64)
    creator[video] = seen["creator"]
    try:
        return from_watching(viewer, video, seen["watched"].astype(np.float64), creator, seed=seed)
    except ValueError as error:
        raise WatchingError(f"{home.published}: {error}") from error


def of_movielens(path: Path) -> Setting:
    """The document's second setting, from GroupLens's file."""
    from pipelines.lab.movielens import read_ratings
    from solvers.competition_settings import from_ratings

    progress("movielens: factorising the ratings")
    found = read_ratings(path)
    return from_ratings(found.user, found.movie, found.rating)


def experiments(names: Iterable[str], home: Home, movielens: Path | None, *, seeds: int, steps: int, toys: int) -> list[Experiment]:
    """The settings asked for, by name. Those from data have one population; seeds are of the game."""
    from solvers.competition_settings import synthetic, toy

    def once(build: Callable[[], Setting]) -> Callable[[int], Setting]:
        made = build()
        return lambda seed: made

    found = []
    for name in names:
        match name:
            case "toy":
                about = "Section 4.1: five users in a cross, creators who start between the middle one and its neighbour."
                found.append(Experiment(name, about, toy, toys, 400, 0.1))
            case "synthetic":
                about = "Section 5.1.1 as printed: clusters of standard deviation .5, users outside the unit ball stay there."
                found.append(Experiment(name, about, synthetic, seeds, steps))
            case "unit-ball":
                about = "Section 5.1.1 with users moved into the unit ball, as section 3 assumes."
                found.append(Experiment(name, about, _unit_ball, seeds, steps))
            case "tight":
                about = "Section 5.1.1 with clusters of standard deviation .25."
                found.append(Experiment(name, about, _tight, seeds, steps))
            case "movielens":
                if movielens is None:
                    raise click.UsageError("--setting movielens needs --movielens PATH")
                build = once(lambda path=movielens: of_movielens(path))  # type: ignore[misc]
                found.append(Experiment(name, "Section 5.1.2: MovieLens-1M, embedded in 32 dimensions.", build, seeds, steps))
            case "platform":
                about = "The home's own viewers and creators, embedded from who watched what and how much of it."
                found.append(Experiment(name, about, once(lambda: of_platform(home)), seeds, steps))
    return found


def _unit_ball(seed: int) -> Setting:
    from solvers.competition_settings import synthetic

    return synthetic(seed, unit_ball=True)


def _tight(seed: int) -> Setting:
    from solvers.competition_settings import synthetic

    return synthetic(seed, spread=0.25)


SETTINGS = ("toy", "synthetic", "unit-ball", "tight", "movielens", "platform")


@click.command("competition")
@option(
    "--setting",
    "names",
    type=click.Choice(SETTINGS),
    multiple=True,
    help="Who plays; may be given several times. Default: toy and synthetic, and movielens if --movielens is given. unit-ball and tight are"
    " variants of synthetic; platform is your own viewers, from the home's published copy.",
)
@option("--movielens", type=click.Path(exists=True, path_type=Path), help="ml-1m.zip of GroupLens, or the folder it unpacks to.")
@option("--seeds", type=click.IntRange(1), help="Populations and games each mechanism is tried on. Default: 3, with --full 10.")
@option("--steps", type=click.IntRange(10), help="Times that every creator may move, a multiple of 5. Default: 300, with --full 3000.")
@option("--full", is_flag=True, help="As long as in the document: 10 seeds, 3000 steps; about an hour a setting.")
@option("--workers", type=click.IntRange(1), default=os.cpu_count() or 1, help="Processes that play at the same time.")
@into_folder("competition")
@as_json_option
@click.pass_obj
def command(
    home: Home,
    names: tuple[str, ...],
    movielens: Path | None,
    seeds: int | None,
    steps: int | None,
    full: bool,
    workers: int,
    folder: Path,
    as_json: bool,
) -> None:
    """Creators chase reward, the platform reweights: who is better off? Yao et al.'s mechanisms side by side.

    Plays base, UIR, SMT and HMT beside static controls and a coordinated reference, on several seeds; every gain comes under the
    deployed and the default matching, with an interval paired by seed. Then says which claims of the document came out.
    """
    chosen = names or ("toy", "synthetic", *(("movielens",) if movielens else ()))
    seeds, steps = seeds or (10 if full else 3), steps or (3000 if full else 300)
    if steps % 5:
        raise click.UsageError(f"--steps {steps} is not a multiple of 5")
    report = Report(folder, "Creator competition: what the mechanisms do for users")
    try:
        found = experiments(chosen, home, movielens, seeds=seeds, steps=steps, toys=40 if full else 10)
    except (FileNotFoundError, ValueError) as error:
        raise click.ClickException(str(error)) from error
    study(report, found, workers=workers)
    if "platform" in chosen:
        arms.add_if_any(report, home)
    finish(report, as_json)
