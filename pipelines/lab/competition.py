"""Do the mechanisms of Yao et al. help users, and why? Side by side on the document's settings, and
on the platform's own viewers.

What belongs here: the tables, plots and page of the study, and its command. Playing is in
`competition_runs`, who plays in `competition_settings`, what the document claims in
`competition_claims`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib.util import find_spec
from itertools import groupby
from pathlib import Path
from typing import Literal

import click
import numpy as np

from pipelines.console import Command, CommandError, as_json_option, option
from pipelines.lab import arms
from pipelines.lab.competition_claims import claims, in_words, theorem_2
from pipelines.lab.competition_runs import (
    ADAPTIVE,
    HALVED,
    MECHANISMS,
    Experiment,
    Gains,
    Run,
    by_rank,
    paired,
    play,
)
from pipelines.lab.competition_settings import SETTINGS, experiments
from pipelines.lab.report import Report, finish, into_folder
from pipelines.settings import Home
from solvers.arrays import Floats

SHOWN = ("base", "HMT", "coordinated")
KINDS: dict[Literal["seen", "document"], str] = {
    "document": "groups of the document",
    "seen": "groups that the platform sees",
}
CROSS = ("centre", "right", "up", "left", "down")


def study(report: Report, experiments: Sequence[Experiment], *, workers: int = 1) -> None:
    """Fill the report: every experiment with every mechanism, then theorem 2."""
    report.say(
        "Creators move one after another by local better response; the platform reweights groups of"
        " users every 5 steps (algorithms 1 and 2). Every result is shown under the matching that"
        " was deployed and, for the same content, under the default matching: a mechanism that only"
        " narrows the matching gains in the first and not in the second. "
        + " ".join(f"{name}: {about}." for name, about in MECHANISMS.items())
    )
    for experiment in experiments:
        settings = [experiment.build(seed) for seed in range(experiment.seeds)]
        [*played] = play(experiment, settings, workers=workers)
        runs = {name: list(of) for name, of in groupby(played, key=lambda r: r.mechanism)}
        game = settings[0].game
        report.section(experiment.name)
        report.say(
            f"{experiment.about} {game.users.shape[0]} users,"
            f" {game.strategies.shape[0]} creators, {len(np.unique(settings[0].groups))} groups"
            f" with seed 0; {experiment.seeds} seeds, {experiment.steps} steps."
        )
        if experiment.data:
            experiment.data(report)
        gain = _compare(report, experiment, runs)
        _figures(report, experiment, runs, game.users)
        claims(report, experiment, runs, gain)
        report.say(in_words(experiment, gain))
    report.section("Theorem 2")
    theorem_2(report)


def _compare(report: Report, experiment: Experiment, runs: dict[str, list[Run]]) -> Gains:
    """The table of welfare and differences from the baseline; gives the differences, deployed and
    default, in percent.
    """
    late = {
        name: {d: np.array([r.late(default=d) for r in of]) for d in (False, True)}
        for name, of in runs.items()
    }
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
        rows.append(
            (name, welfare[False].mean(), *found[:2], welfare[True].mean(), *found[2:], spread)
        )
    report.table(
        f"{experiment.name}_welfare",
        (
            "mechanism",
            "welfare",
            "gain %",
            "+- %",
            "default welfare",
            "default gain %",
            "default +- %",
            "sd over seeds",
        ),
        rows,
        f"{experiment.name}: welfare over the last tenth of {experiment.steps} steps, under the"
        " matching that is deployed and of the same content under the default one; gains over base"
        f" with 95 % intervals, paired by seed ({experiment.seeds} seeds)",
    )
    columns = ("mechanism", "accepted", "distance from start", "spread") + (
        ("all five served",) if experiment.is_toy else ()
    )
    report.table(
        f"{experiment.name}_movement",
        columns,
        [
            (
                name,
                *(
                    float(np.mean(x))
                    for x in (
                        [r.accepted for r in of],
                        [r.moved[-1] for r in of],
                        [r.spread for r in of],
                    )
                ),
                *([float(np.mean([r.served for r in of]))] if experiment.is_toy else []),
            )
            for name, of in runs.items()
        ],
        f"{experiment.name}: share of moves accepted at the end, how far creators went, and how far"
        " apart they ended",
    )
    return gain


def _figures(
    report: Report, experiment: Experiment, runs: dict[str, list[Run]], users: Floats
) -> None:
    for of, kind in KINDS.items():
        report.table(
            f"{experiment.name}_{'groups' if of == 'seen' else 'clusters'}",
            ("mechanism", "rank", "size", "weight", "utility", "default utility"),
            [
                (name, rank + 1, *figures)
                for name, found in runs.items()
                for rank, figures in enumerate(
                    zip(
                        *(
                            by_rank(found, f, of=of).tolist()
                            for f in ("size", "weight", "utility", "utility_default")
                        ),
                        strict=True,
                    )
                )
            ],
            f"{experiment.name}: {kind}, the largest first, at the end of the run",
            most=0,
        )
    colour = {name: f"C{place}" for place, name in enumerate(runs)}
    with report.plot(
        f"{experiment.name}_curves",
        f"{experiment.name}: figures 2(a) and 3(a) of the document, with the same content matched"
        " as before",
        columns=2,
    ) as axes:
        for axis, figure, title in zip(
            axes,
            ("welfare", "default"),
            ("Welfare, deployed matching", "The same content, default matching"),
            strict=True,
        ):
            for name, played in runs.items():
                curves = np.array([getattr(r, figure) for r in played])
                # 200 points are enough for the eye
                mean = np.array(
                    [
                        part.mean()
                        for part in np.array_split(curves.mean(axis=0), min(200, experiment.steps))
                    ]
                )
                x = np.linspace(0, experiment.steps, mean.size)
                [line] = axis.plot(x, mean, label=name, linewidth=1.2, color=colour[name])
                if len(played) > 1 and name in ("base", *ADAPTIVE):
                    sd = np.array(
                        [
                            part.mean()
                            for part in np.array_split(curves.std(axis=0, ddof=1), mean.size)
                        ]
                    )
                    axis.fill_between(x, mean - sd, mean + sd, color=line.get_color(), alpha=0.1)
            axis.set_title(title + ", one sd over seeds")
            axis.set(xlabel="step", ylabel="welfare (mean utility of a user)")
        axes[0].legend(fontsize=7)
    rows: list[tuple[Literal["seen", "document"], str]] = [("document", KINDS["document"])]
    if any(not np.array_equal(r.seen.size, r.document.size) for r in runs["base"]):
        rows.append(("seen", KINDS["seen"]))
    with report.plot(
        f"{experiment.name}_by_group",
        f"{experiment.name}: figures 2(b, c) and 3(b, c) of the document"
        + ("; below, the same by the groups that the platform sees" if len(rows) > 1 else ""),
        rows=len(rows),
        columns=2,
    ) as axes:
        for (of, kind), pair in zip(rows, np.reshape(axes, (len(rows), 2)), strict=True):
            sizes = by_rank(runs["base"], "size", of=of)
            for axis, figure, names in zip(
                pair, ("weight", "utility"), (ADAPTIVE, ("base", *ADAPTIVE)), strict=True
            ):
                for place, name in enumerate(names):
                    values = by_rank(runs[name], figure, of=of)
                    error = by_rank(runs[name], figure, np.std, of=of)
                    at = np.arange(values.size) + (place - (len(names) - 1) / 2) * 0.18
                    axis.errorbar(
                        at,
                        values,
                        yerr=error,
                        fmt="o",
                        markersize=3,
                        elinewidth=0.8,
                        label=name,
                        color=colour[name],
                    )
                axis.set_xticks(
                    range(sizes.size),
                    CROSS if experiment.is_toy else [f"{s:.0f}" for s in sizes],
                    rotation=60,
                    fontsize=7,
                )
                axis.set(
                    xlabel="user" if experiment.is_toy else f"{kind}: users in each",
                    ylabel=f"{figure} at the end (one sd over seeds)",
                )
                axis.margins(y=0.2)
                axis.legend(fontsize=7)
    shown = ("base", HALVED, "HMT") if experiment.is_toy else SHOWN
    with report.plot(
        f"{experiment.name}_movement",
        f"{experiment.name}: creators' strategies (figure 1), seed 0",
        columns=3,
    ) as axes:
        flat = (
            np.eye(2)
            if users.shape[1] == 2
            else np.linalg.svd(users - users.mean(axis=0), full_matrices=False)[2][:2].T
        )
        for axis, name in zip(axes, shown, strict=True):
            seen = (users - (0 if experiment.is_toy else users.mean(axis=0)))[
                :: max(1, users.shape[0] // 400)
            ] @ flat
            paths = (runs[name][0].paths - (0 if experiment.is_toy else users.mean(axis=0))) @ flat
            axis.plot(
                *seen.T,
                "x" if experiment.is_toy else ".",
                color="0.3" if experiment.is_toy else "0.8",
                label="users",
            )
            if paths.shape[1] <= 20:
                for path in paths.transpose(1, 0, 2):
                    axis.plot(*path.T, linewidth=0.8)
            axis.plot(*paths[0].T, "o", markersize=3, color="tab:blue", label="start")
            axis.plot(*paths[-1].T, "^", markersize=4, color="tab:red", label="end")
            axis.set_title(name)
            axis.set_aspect("equal", adjustable="datalim")
        axes[0].legend(fontsize=7)


@click.command("competition", cls=Command)
@option(
    "--setting",
    "names",
    type=click.Choice(SETTINGS),
    multiple=True,
    help=(
        "Who plays; may be given several times. Default: toy and synthetic, and movielens if"
        " --movielens is given. unit-ball and tight are variants of synthetic; platform is your own"
        " viewers, from the home's published copy."
    ),
)
@option(
    "--movielens",
    type=click.Path(exists=True, path_type=Path),
    help="ml-1m.zip of GroupLens, or the folder it unpacks to.",
)
@option(
    "--seeds",
    type=click.IntRange(1),
    help="Populations and games each mechanism is tried on. Default: 3, with --full 10.",
)
@option(
    "--steps",
    type=click.IntRange(10),
    help=(
        "Times that every creator may move, a multiple of 5. Default: 300, with --full 3000;"
        " movielens 1500."
    ),
)
@option(
    "--full",
    is_flag=True,
    help="As long as in the document: 10 seeds, 3000 steps; about an hour a setting.",
)
@option(
    "--workers",
    type=click.IntRange(1),
    default=os.cpu_count() or 1,
    help="Processes that play at the same time.",
)
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
    """Creators chase reward, the platform reweights: who is better off? Yao et al.'s mechanisms
    side by side.

    Plays base, UIR, SMT and HMT beside static controls and a coordinated reference, on several
    seeds; every gain comes under the deployed and the default matching, with an interval paired by
    seed. Then says which claims of the document came out.
    """
    chosen = names or ("toy", "synthetic", *(("movielens",) if movielens else ()))
    movie_steps = steps or 1500
    seeds, steps = seeds or (10 if full else 3), steps or (3000 if full else 300)
    if steps % 5:
        raise click.UsageError(f"--steps {steps} is not a multiple of 5")
    if find_spec("numba") is None:
        raise CommandError(
            "earnings lab competition needs numba, which is not installed: pip install"
            " 'creator-earnings[lab]'. No other command needs it."
        )
    short = seeds < 10 or steps < 3000
    report = Report(
        folder,
        "Creator competition: what the mechanisms do for users",
        mark=f"Short run: {seeds} seeds of {steps} steps (movielens: {movie_steps}); the"
        " document's length is 10 seeds of 3000 steps, 1500 for movielens (--full)."
        if short
        else "",
    )
    try:
        found = experiments(
            chosen,
            home,
            movielens,
            seeds=seeds,
            steps=steps,
            movie_steps=movie_steps,
            toys=40 if full else 10,
        )
    except FileNotFoundError as error:
        raise CommandError(str(error)) from error
    study(report, found, workers=workers)
    if "platform" in chosen:
        arms.add_if_any(report, home)
    finish(report, as_json)
