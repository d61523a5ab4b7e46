"""Who plays the creator competition: the document's settings with their variants, MovieLens, and
the platform's own viewers.

What belongs here: reading a population, and how long each setting is played. How a population is
made is in `solvers.competition.settings`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click
import numpy as np

from pipelines.errors import ExpectedError
from pipelines.lab.competition_runs import Experiment
from pipelines.lab.finding import Side, mean
from pipelines.lab.report import Report, progress
from pipelines.settings import Home
from pipelines.store.warehouse import Warehouse

if TYPE_CHECKING:
    from pipelines.lab.movielens import Ratings
    from solvers.competition import Setting


class WatchingError(ExpectedError, LookupError):
    """The home has nothing to embed viewers from: says which file."""


def of_platform(home: Home, seed: int = 0) -> Setting:
    """The home's own viewers and creators, from all the events in its published copy; nothing is
    written.

    Raises
    ------
    WatchingError
        too little was watched
    NothingPublishedError
        there is no published copy yet
    """
    from solvers.competition import from_watching

    with Warehouse(home).read() as con:
        seen = con.execute(
            """WITH known AS (SELECT video_id, arg_max(creator_id, day) AS creator_id,
                arg_max(length_ms, day) AS length_ms
                              FROM videos GROUP BY video_id)
               SELECT dense_rank() OVER (ORDER BY viewer_id) - 1 AS viewer,
               dense_rank() OVER (ORDER BY video_id) - 1 AS video,
                      dense_rank() OVER (ORDER BY creator_id) - 1 AS creator,
                      least(1.0, max(watch_ms) / any_value(known.length_ms)) AS watched
               FROM viewer_events JOIN known USING (video_id)
               GROUP BY viewer_id, video_id, creator_id ORDER BY viewer, video"""
        ).fetchnumpy()
    viewer, video = seen["viewer"].astype(np.int64), seen["video"].astype(np.int64)
    if not viewer.size:
        raise WatchingError(f"{home.root}: there are no events in it")
    creator = np.zeros(video.max() + 1, dtype=np.int64)
    creator[video] = seen["creator"]
    try:
        return from_watching(viewer, video, seen["watched"].astype(np.float64), creator, seed=seed)
    except ValueError as error:
        raise WatchingError(f"{home.root}: {error}") from error


def of_movielens(found: Ratings) -> Setting:
    """The document's second setting, from GroupLens's ratings.

    Raises
    ------
    MovieLensError
        too few movies, or nobody rated enough
    """
    from pipelines.lab.movielens import MovieLensError
    from solvers.competition import from_ratings

    try:
        return from_ratings(found.user, found.movie, found.rating)
    except ValueError as error:
        raise MovieLensError(f"these ratings are no MovieLens-1M: {error}") from error


def movielens_claims(report: Report, found: Ratings, setting: Setting) -> None:
    """What the document says of the data and of its embedding, and where its creators begin."""
    from pipelines.lab.movielens import MOVIES, RATINGS, USERS
    from solvers.competition import DiscreteActions, cross_validated

    progress("movielens: five times factorising four fifths of the ratings")
    errors = cross_validated(found.user, found.movie, found.rating)
    report.counted(
        f"movielens: this is MovieLens-1M, {RATINGS} ratings by {USERS} users of {MOVIES} movies"
        " (ours)",
        found.is_whole,
        f"{found.rating.size} ratings by {found.user_ids.size} users of {found.movie_ids.size}"
        " movies",
    )
    active = int((np.bincount(found.user) > 200).sum())
    report.counted(
        "movielens: 1578 users have more than 200 ratings (5.1.2)",
        active == 1578,
        f"{active} users",
    )
    square, root = float(errors.mean()), float(np.sqrt(errors.mean()))
    figures = (
        f"mean square {square:.3f} (folds {errors.min():.3f} to {errors.max():.3f}), root"
        f" {root:.3f}"
    )
    report.judge(
        "movielens: RMSE .739 on the test sets of 5 folds in 32 dimensions (5.1.2), to .01",
        Side("root mean square", mean(np.sqrt(errors), "folds"), 0.729, 0.749),
        shown=figures,
    )
    report.judge(
        "movielens: the .739 is the mean squared error, not its root (ours), to .01",
        Side("mean square", mean(errors, "folds"), 0.729, 0.749),
        shown=figures,
    )
    report.table(
        "movielens_folds",
        ("fold", "mean squared error"),
        list(enumerate(errors.tolist(), 1)),
        "Ratings not seen, fold by fold",
    )
    actions = setting.actions
    if found.titles and isinstance(actions, DiscreteActions):
        start = int((actions.points == setting.game.strategies[0]).all(axis=1).argmax())
        report.say(
            f"All creators begin with {found.titles[start]}, mean relevance"
            f" {setting.game.scores[0].mean():.3f}."
        )


def experiments(
    names: Iterable[str],
    home: Home,
    movielens: Path | None,
    *,
    seeds: int,
    steps: int,
    movie_steps: int,
    toys: int,
) -> list[Experiment]:
    """The settings asked for, by name. Those from data have one population; seeds are of the
    game.
    """
    from solvers.competition import synthetic, toy

    def once(setting: Setting) -> Callable[[int], Setting]:
        return lambda seed: setting

    found = []
    for name in names:
        match name:
            case "toy":
                about = (
                    "Section 4.1: five users in a cross, creators who start between the middle one"
                    " and its neighbour."
                )
                found.append(Experiment(name, about, toy, toys, 1000, 0.1))
            case "synthetic":
                about = (
                    "Section 5.1.1 as printed: clusters of standard deviation .5, users outside the"
                    " unit ball stay there."
                )
                found.append(Experiment(name, about, synthetic, seeds, steps))
            case "unit-ball":
                about = "Section 5.1.1 with users moved into the unit ball, as section 3 assumes."
                found.append(
                    Experiment(name, about, partial(synthetic, unit_ball=True), seeds, steps)
                )
            case "tight":
                about = "Section 5.1.1 with clusters of standard deviation .25."
                found.append(Experiment(name, about, partial(synthetic, spread=0.25), seeds, steps))
            case "movielens":
                from pipelines.lab.movielens import read_ratings

                if movielens is None:
                    raise click.UsageError("--setting movielens needs --movielens PATH")
                progress("movielens: factorising the ratings")
                ratings = read_ratings(movielens)
                setting = of_movielens(ratings)
                about = "Section 5.1.2: MovieLens-1M, embedded in 32 dimensions."
                data = partial(movielens_claims, found=ratings, setting=setting)
                found.append(Experiment(name, about, once(setting), seeds, movie_steps, data=data))
            case "platform":
                about = (
                    "The home's own viewers and creators, embedded from who watched what and how"
                    " much of it."
                )
                found.append(Experiment(name, about, once(of_platform(home)), seeds, steps))
    return found


SETTINGS = ("toy", "synthetic", "unit-ball", "tight", "movielens", "platform")
