"""Settings of the creator competition: the toy, the synthetic population, populations from data,
and users whose equilibrium is known.

Belongs here: how users, first strategies, actions and groups are made, and theorem 2 as functions
that can be checked. Does not: the game (`solvers.competition`) and reading the data.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from solvers.arrays import Floats, Ints
from solvers.competition.factorisation import factorise
from solvers.competition.game import Competition, DotProduct, Euclidean, Mechanism
from solvers.competition.simulate import Actions, Ball, DiscreteActions, Simulation, simulate

CLUSTERS = (1000, 500, 200, 100, 100, 50, 20, 10, 10, 10)
"""Sizes of the synthetic population's clusters, 2000 users together."""


@dataclass(frozen=True, eq=False)
class Setting:
    """A game at its start, what creators may do in it, the groups (m,) that the platform sees, and
    the clusters (m,) that users were drawn from, where they were drawn.
    """

    game: Competition
    actions: Actions
    groups: Ints
    clusters: Ints | None = None

    def simulate(
        self,
        mechanism: Mechanism = "base",
        *,
        steps: int = 3000,
        seed: int = 0,
        step_size: float = 0.2,
    ) -> Simulation:
        """`solvers.competition.simulate` in this setting."""
        return simulate(
            self.game,
            steps=steps,
            actions=self.actions,
            groups=self.groups,
            mechanism=mechanism,
            seed=seed,
            step_size=step_size,
        )


def toy(seed: int = 0, *, temperature: float = 0.1, project_first: bool = False) -> Setting:
    """Five users in a cross, five creators who start between the middle one and its neighbour on
    the right; every user is a group.

    Relevance is max(2 - |s - x|, 0), K = 3, the plane is free. The printed "beta = 10" is the
    inverse of the temperature: at temperature 0.1 one creator on each user is an equilibrium with
    welfare 1.99994, at temperature 10 it is none.

    Notes
    -----
    Source: Yao et al., section 4.1. The region "between" the two users is read as [0, 1] x [-0.1,
    0.1].

    Examples
    --------
    >>> cross = toy()
    >>> round(Competition(cross.game.users, cross.game.users, cross.game.relevance,
    ...     candidates=3).welfare(), 5)
    1.99994
    """
    users = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]])
    start = np.random.default_rng(seed).uniform([0.0, -0.1], [1.0, 0.1], (5, 2))
    game = Competition(
        users, start, Euclidean(peak=2.0, scale=1.0), temperature=temperature, candidates=3
    )
    return Setting(game, Ball(math.inf, project_first), np.arange(5))


def synthetic(
    seed: int = 0,
    *,
    spread: float = 0.5,
    unit_ball: bool = False,
    initial_spread: float = 0.1,
    project_first: bool = False,
    sizes: Sequence[int] = CLUSTERS,
    dimension: int = 5,
    creators: int = 200,
    temperature: float = 0.1,
    candidates: int = 20,
    groups: int = 20,
) -> Setting:
    """Clusters of users around random points of the unit sphere; creators start near the centre of
    the largest, in the unit ball.

    Parameters
    ----------
    seed : of the population, the start and the grouping
    spread : standard deviation of a cluster in each coordinate
    unit_ball : move users outside the unit ball to its surface, as the document assumes; as printed
        they stay where they are
    initial_spread : standard deviation of the first strategies, which the document does not give
    project_first : reading of algorithm 2, see `solvers.competition.Ball`
    sizes, dimension, creators, temperature, candidates : the printed ones
    groups : number of groups that k-means looks for; those that end up empty are left out

    Notes
    -----
    Source: Yao et al., sections 5.1.1 and 5.1.3.

    Examples
    --------
    >>> setting = synthetic(unit_ball=True)
    >>> longest = float(np.linalg.norm(setting.game.users, axis=1).max())
    >>> setting.game.users.shape, setting.game.strategies.shape, round(longest, 9)
    ((2000, 5), (200, 5), 1.0)
    """
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((len(sizes), dimension))
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    users = np.repeat(centres, sizes, axis=0) + spread * rng.standard_normal(
        (sum(sizes), dimension)
    )
    start = centres[0] + initial_spread * rng.standard_normal((creators, dimension))
    users, start = _into_ball(users) if unit_ball else users, _into_ball(start)
    game = Competition(users, start, temperature=temperature, candidates=candidates)
    return Setting(
        game,
        Ball(project_first=project_first),
        group_users(users, groups, seed=seed),
        np.repeat(np.arange(len(sizes)), sizes),
    )


def group_users(users: Floats, groups: int, *, seed: int = 0, starts: int = 10) -> Ints:
    """Group (m,) of each user by k-means, the best of some starts; groups are numbered without
    gaps, so there may be fewer than asked for.

    Starts are spread out (k-means++). With plain random ones most groups begin inside the largest
    cluster and small clusters share one: where clusters are far apart, SMT and HMT then gain about
    a tenth less (`docs/formulas.md`, the creator competition).
    """
    import warnings

    from scipy.cluster.vq import kmeans2

    best, least = np.zeros(users.shape[0], dtype=np.int64), np.inf
    groups = min(groups, np.unique(users.round(9), axis=0).shape[0])
    for start in range(starts):
        with warnings.catch_warnings(action="ignore", category=UserWarning):  # of an empty cluster
            centres, labels = kmeans2(
                users,
                groups,
                iter=50,
                minit="++",
                missing="warn",
                rng=np.random.default_rng([seed, start]),
            )
        inertia = float(((users - centres[labels]) ** 2).sum())
        if inertia < least:
            best, least = np.unique(labels, return_inverse=True)[1].astype(np.int64), inertia
    return best


def from_ratings(
    user: npt.ArrayLike,
    movie: npt.ArrayLike,
    rating: npt.ArrayLike,
    *,
    seed: int = 0,
    dimension: int = 32,
    active: int = 200,
    common: int = 700,
    private: int = 300,
    creators: int = 20,
    groups: int = 15,
) -> Setting:
    """Users with more than `active` ratings; each creator offers one of the `common` most rated
    movies or of `private` others of its own.

    Relevance is the dot product of the embeddings of `factorise`, scaled so that the least and the
    largest over these users and the movies offered are 0 and 1. All creators start from the common
    movie with the highest mean relevance.

    Notes
    -----
    Source: Yao et al., sections 5.1.2 and 5.1.3.
    """
    who, what = np.asarray(user, dtype=np.int64), np.asarray(movie, dtype=np.int64)
    embedded, movies = factorise(who, what, rating, dimension=dimension, seed=seed)
    users = embedded[np.bincount(who) > active]
    popular = np.argsort(-np.bincount(what), kind="stable")
    if not users.size or popular.size < common + private:
        raise ValueError(
            f"{users.shape[0]} users have over {active} ratings and there are {popular.size}"
            f" movies, {common + private} are needed"
        )
    rng = np.random.default_rng(seed)
    own = [rng.choice(popular[common:], private, replace=False) for _ in range(creators)]
    allowed = np.array([np.concatenate([popular[:common], choices]) for choices in own])
    product = movies[np.unique(allowed)] @ users.T
    relevance = DotProduct(float(product.min()), float(product.max()))
    first = popular[:common][relevance(movies[popular[:common]], users).mean(axis=1).argmax()]
    game = Competition(users, np.tile(movies[first], (creators, 1)), relevance)
    return Setting(game, DiscreteActions(movies, allowed), group_users(users, groups, seed=seed))


def from_watching(
    viewer: npt.ArrayLike,
    video: npt.ArrayLike,
    watched: npt.ArrayLike,
    creator: npt.ArrayLike,
    *,
    seed: int = 0,
    dimension: int = 8,
    active: int = 10,
    users: int = 2000,
    creators: int = 200,
    groups: int = 15,
) -> Setting:
    """A platform's own viewers, in front of its own creators: who watched which video, and how much
    of it.

    Viewers and videos are embedded by `factorise`, scaled so that no video is outside the unit
    ball. Users are the `users` viewers with most videos, at least `active` of them; the `creators`
    most watched creators start from the mean of their videos, by views. Relevance is the dot
    product, scaled so that the least and the largest over these users and all videos are 0 and 1.

    Moves are projected before they are tried. With dot products a longer strategy is worth more to
    everybody, so algorithm 2 as printed accepts nearly any step out of the ball and is then thrown
    back somewhere on its surface: a random walk, which also the coordinated reference took (its
    welfare fell).

    Parameters
    ----------
    viewer, video : (R,) whole numbers from 0, a pair at most once
    watched : (R,) part of the video that was watched
    creator : (videos,) whole number of the creator of each video
    seed, dimension : of the embedding
    active, users, creators, groups : see above; fewer where there are fewer

    Raises
    ------
    ValueError
        shapes that do not fit, or nobody watched enough
    """
    who, what, whose = (np.asarray(x, dtype=np.int64) for x in (viewer, video, creator))
    embedded, videos = factorise(who, what, watched, dimension=dimension, seed=seed)
    if whose.shape != videos.shape[:1]:
        raise ValueError(
            f"creators have shape {whose.shape}, not one for each of {videos.shape[0]} videos"
        )
    seen = np.bincount(who)
    chosen = np.argsort(-seen, kind="stable")[:users]
    chosen = np.sort(chosen[seen[chosen] >= active])
    if not chosen.size:
        raise ValueError(f"no viewer watched {active} videos or more")
    length = np.linalg.norm(videos, axis=1).max()
    population, videos, views = embedded[chosen] * length, videos / length, np.bincount(what)
    of_creator = np.bincount(whose, weights=views)
    first = np.argsort(-of_creator, kind="stable")[:creators]
    first = first[of_creator[first] > 0]
    total = np.stack(
        [np.bincount(whose, weights=views * videos[:, k]) for k in range(dimension)], axis=1
    )
    product = videos[views > 0] @ population.T
    game = Competition(
        population,
        total[first] / of_creator[first, None],
        DotProduct(float(product.min()), float(product.max())),
    )
    return Setting(
        game, Ball(project_first=True), group_users(population, min(groups, chosen.size), seed=seed)
    )


def orthogonal(weights: npt.ArrayLike, *, creators: int, temperature: float) -> Competition:
    r"""The game of theorem 2 at its symmetric profile: users are unit vectors, everybody is a
    candidate, traffic weighted by user.

    All creators play :math:`s^* = w / |w|`, where the gradient of each one's utility is normal to
    the sphere.

    Notes
    -----
    Source: Yao et al., theorem 2 and appendix D, with strategies in the unit ball, as section 3
    assumes.
    """
    w = np.asarray(weights, dtype=np.float64)
    profile = np.tile(w / np.linalg.norm(w), (creators, 1))
    return Competition(
        np.eye(w.size), profile, DotProduct(), temperature, creators, "traffic", "uir", w
    )


def is_soft(weights: npt.ArrayLike, temperature: float) -> bool:
    r"""Whether :math:`\beta \ge \max_j w_j / |w|`: with many creators the symmetric profile is then
    a local equilibrium.

    That is enough, not necessary: creators start to specialise where beta falls below the largest
    curvature *along the sphere*, the largest eigenvalue of diag(w) / |w| on the tangent plane at
    s*; the two agree for equal weights.

    Examples
    --------
    >>> is_soft([1, 1, 1, 1], 0.5), is_soft([1, 1, 1, 1], 0.49)
    (True, False)
    """
    w = np.asarray(weights, dtype=np.float64)
    return bool(temperature >= w.max() / np.linalg.norm(w))


def soft_slope(weights: npt.ArrayLike) -> float:
    r"""What theorem 2's step does to welfare where creators stay together: never harm.

    .. math:: \frac{dW}{d\eta}\Big|_0 = \frac1m \Big( \frac{S_1 S_3}{S_2^2} - 1 \Big) \ge 0, \qquad
              S_k = \sum_j w_j^k

    for the step :math:`w_j \leftarrow w_j e^{-\eta \bar\pi_j}` from the symmetric equilibrium,
    :math:`\bar\pi = w/|w|`; 0 only for equal weights (Cauchy and Schwarz).

    Examples
    --------
    >>> soft_slope([1, 1, 1]), soft_slope([1, 2])
    (0.0, 0.04)
    """
    w = np.asarray(weights, dtype=np.float64)
    # the same after multiplying out S1 S3 - S2^2 = sum over pairs of w_i w_j (w_i - w_j)^2: nothing
    # cancels
    pairs = np.multiply.outer(w, w) * np.subtract.outer(w, w) ** 2
    return float(pairs.sum() / 2 / (w * w).sum() ** 2 / w.size)


def specialise(
    weights: npt.ArrayLike,
    counts: npt.ArrayLike,
    temperature: float,
    *,
    start: Floats | None = None,
) -> Floats:
    r"""Strategies (m, m) of a local equilibrium where counts[j] creators lean to user j: row j is
    theirs.

    A fixed point of :math:`s_j \propto \nabla u`, which on the sphere is the first-order condition,
    found by damped iteration from the unit vectors (or `start`); no curvature along the sphere may
    exceed the multiplier, the second-order condition.

    Raises
    ------
    ValueError
        the iteration has not settled, or where it did is not a local equilibrium
    """
    w, c = np.asarray(weights, dtype=np.float64), np.asarray(counts, dtype=np.float64)
    s = np.eye(w.size) if start is None else start
    for _ in range(100_000):
        e = np.exp((s - 1) / temperature)
        share = e / (c @ e)
        gradient = w * share * (1 - share)
        multiplier = np.linalg.norm(gradient, axis=1, keepdims=True)
        step = s + gradient / multiplier
        following: Floats = step / np.linalg.norm(step, axis=1, keepdims=True)
        if np.abs(following - s).max() < 1e-15:
            tangent = np.eye(w.size) - following[:, :, None] * following[:, None, :]
            curvature = tangent @ ((gradient * (1 - 2 * share) / temperature)[:, :, None] * tangent)
            if (np.linalg.eigvalsh(curvature)[:, -1] <= multiplier[:, 0]).all():
                return following
            break
        s = following
    raise ValueError(
        f"found no local equilibrium with counts {c.tolist()} at temperature {temperature}"
    )


def sharp_slope(
    weights: npt.ArrayLike, counts: npt.ArrayLike, temperature: float, *, step: float = 1e-4
) -> float:
    """What theorem 2's step does to welfare where creators have specialised: dW/d eta by central
    differences. Often below 0.

    Nobody moves from one user to another: the creators near a user who loses weight only lean away
    from it, and a well-served user may lose more than the others gain.

    Examples
    --------
    >>> round(sharp_slope([2, 1], [250, 750], 0.2), 6)
    -0.0001
    """
    w, c = np.asarray(weights, dtype=np.float64), np.asarray(counts, dtype=np.float64)
    s = specialise(w, c, temperature)
    served = _served(s, c, temperature)
    ahead, behind = (
        _served(
            specialise(w * np.exp(-eta * served), c, temperature, start=s), c, temperature
        ).mean()
        for eta in (step, -step)
    )
    return float(ahead - behind) / (2 * step)


def _served(strategies: Floats, counts: Floats, temperature: float) -> Floats:
    e = np.exp((strategies - 1) / temperature)
    return np.asarray((counts @ (e * strategies)) / (counts @ e))


def _into_ball(points: Floats) -> Floats:
    return np.asarray(points / np.maximum(np.linalg.norm(points, axis=1, keepdims=True), 1.0))
