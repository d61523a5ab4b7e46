"""Creators move, one after another, towards what pays them more; the platform reweights its
users.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from solvers.arrays import Floats, Ints, Mask
from solvers.competition.game import TIE, Competition, Mechanism
from solvers.reweighting.update import update_weights


class Actions(Protocol):
    """What creators may do: the points that they try, given a direction each, and where they end up
    if they accept.
    """

    def moves(
        self, strategies: Floats, directions: Floats, step_size: float
    ) -> tuple[Floats, Floats]:
        """Points tried (n, d) and points reached (n, d)."""


@dataclass(frozen=True)
class Ball:
    """Strategies of norm at most `radius` (infinite: the whole space).

    Algorithm 2 as printed tries the point one step away and projects it only once accepted; with
    `project_first` the point tried is the projected one.
    """

    radius: float = 1.0
    project_first: bool = False

    def moves(
        self, strategies: Floats, directions: Floats, step_size: float
    ) -> tuple[Floats, Floats]:
        """One step along each direction."""
        tried = strategies + step_size * directions
        landed, norm = tried.copy(), np.linalg.norm(tried, axis=1, keepdims=True)
        outside = norm[:, 0] > self.radius
        landed[outside] *= self.radius / norm[outside]
        return (landed, landed) if self.project_first else (tried, landed)


@dataclass(frozen=True, eq=False)
class DiscreteActions:
    """Creator i may produce points[allowed[i]]. A step is to the one whose direction from the
    present strategy is closest to the drawn one.

    Algorithm 2 taken literally, step and then project to the nearest point, hardly ever leaves the
    present point.
    """

    points: Floats
    allowed: Ints

    def moves(
        self, strategies: Floats, directions: Floats, step_size: float
    ) -> tuple[Floats, Floats]:
        """The point in the direction drawn; the step size does not matter."""
        tried = np.empty_like(strategies)
        for i, choices in enumerate(self.allowed):
            ways = self.points[choices] - strategies[i]
            length = np.linalg.norm(ways, axis=1)
            closeness = np.full(length.shape, -np.inf)
            np.divide(ways @ directions[i], length, out=closeness, where=length > 0)
            best = int(closeness.argmax())
            tried[i] = self.points[choices[best]] if length[best] > 0 else strategies[i]
        return tried, tried


@dataclass(frozen=True, eq=False)
class Simulation:
    """A run of T steps in E epochs over L groups of users.

    Attributes
    ----------
    welfare : (T,) welfare after each step under the matching that was deployed
    welfare_default : (T,) welfare of the same content under the default matching
    accepted : (T,) share of the creators who moved
    group_utility : (E, L) mean utility of each group's users over each epoch, deployed matching
    group_weight : (E + 1, L) weight in force in each epoch, and the one that would come next
    strategies : the profile (n, d) after each step asked for (0 is before the first)
    game : the game at the end, with the weights that would come next
    """

    welfare: Floats
    welfare_default: Floats
    accepted: Floats
    group_utility: Floats
    group_weight: Floats
    strategies: Mapping[int, Floats]
    game: Competition


def simulate(
    game: Competition,
    *,
    steps: int,
    actions: Actions = Ball(),
    groups: npt.ArrayLike | None = None,
    mechanism: Mechanism | None = None,
    weights: npt.ArrayLike | None = None,
    epoch: int = 5,
    rates: tuple[float, float] = (0.5, 0.1),
    clip: tuple[float, float] = (0.2, 5.0),
    step_size: float = 0.2,
    seed: int = 0,
    keep: Collection[int] = (),
    engine: Literal["incremental", "reference"] = "incremental",
) -> Simulation:
    """Play the game: creators move one after another by local better response, the platform
    reweights after every epoch.

    In a step every creator, in a fresh random order, draws a direction and moves if that does not
    lower its utility (algorithm 2). After an epoch the weight of each group is updated from its
    users' mean utility (algorithm 1) and deployed through the mechanism; "base", "coordinated" and
    `Static` leave all weights alone. The same seed gives the same run, whatever the engine.

    Parameters
    ----------
    game : the game at the start; its weights are not used
    steps : T, a multiple of epoch
    actions : `Ball`, `DiscreteActions` or anything with their method
    groups : (m,) group of each user, 0 to L - 1; None puts every user in a group of its own
    mechanism : None is the game's
    weights : (L,) of each group in the first epoch; None is 1. With both rates 0 they stay, but for
        being normalised
    epoch : M, steps between updates
    rates : alpha in the first half of the steps and in the second
    clip : smallest and largest weight
    step_size : eta
    seed : of the orders and directions
    keep : steps after which to keep the profile, 0 to T
    engine : "incremental" or, to check it, "reference": everything from scratch in numpy for every
        move

    Raises
    ------
    ValueError
        shapes that do not fit, numbers out of range

    Notes
    -----
    Source: Yao et al., section 4.3, appendix A and section 5.1.3.

    Examples
    --------
    >>> start = Competition([[0.0], [1.0]], [[0.4], [0.5]], candidates=2)
    >>> run = simulate(start, steps=50, step_size=0.1)
    >>> round(start.welfare(), 3), round(float(run.welfare[-1]), 3)
    (0.836, 0.989)
    """
    n, m = game.strategies.shape[0], game.users.shape[0]
    group = np.arange(m) if groups is None else np.asarray(groups)
    if group.shape != (m,) or not np.issubdtype(group.dtype, np.integer) or group.min() < 0:
        raise ValueError(f"groups must be {m} whole numbers from 0, one a user")
    size = np.bincount(group)
    if not size.all():
        raise ValueError(f"group {int(size.argmin())} has no users")
    if epoch < 1 or steps < 0 or steps % epoch:
        raise ValueError(f"{steps} steps are not a whole number of epochs of {epoch}")
    if engine not in ("incremental", "reference"):
        raise ValueError(f"engine is {engine!r}, neither 'incremental' nor 'reference'")
    if mechanism is not None:
        game = replace(game, mechanism=mechanism)
    adaptive = game.mechanism in ("uir", "smt", "hmt")
    weights = np.ones(size.size) if weights is None else np.asarray(weights, dtype=np.float64)
    if weights.shape != size.shape:
        raise ValueError(
            f"weights have shape {weights.shape}, not one for each of {size.size} groups"
        )
    game = replace(game, weights=weights[group])
    if engine == "incremental":
        from solvers.competition.engine import Incremental

    player = Incremental(game) if engine == "incremental" else _Reference(game)

    rng = np.random.default_rng(seed)
    strategies, window = game.strategies.copy(), np.zeros(size.size)
    welfare, welfare_default, accepted = np.empty(steps), np.empty(steps), np.empty(steps)
    group_utility, group_weight, kept = [], [weights], {0: strategies.copy()} if 0 in keep else {}
    for t in range(steps):
        order, directions = rng.permutation(n), rng.standard_normal(strategies.shape)
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        tried, landed = actions.moves(strategies, directions, step_size)
        moved = player.step(order, tried, landed)
        strategies[moved] = landed[moved]
        deployed, default = player.user_utilities()
        welfare[t], welfare_default[t], accepted[t] = deployed.mean(), default.mean(), moved.mean()
        window += np.bincount(group, weights=deployed) / size
        if t + 1 in keep:
            kept[t + 1] = strategies.copy()
        if (t + 1) % epoch == 0:
            group_utility.append(window / epoch)
            window = np.zeros(size.size)
            if adaptive:
                rate = rates[0] if 2 * (t + 1) <= steps else rates[1]
                weights = update_weights(weights, group_utility[-1], rate=rate, clip=clip)
                game = replace(game, weights=weights[group])
                player.deploy(game)
            group_weight.append(weights)
    final = replace(game, strategies=strategies)
    utility = np.array(group_utility).reshape(-1, size.size)
    return Simulation(
        welfare, welfare_default, accepted, utility, np.array(group_weight), kept, final
    )


def local_better_response(
    game: Competition,
    order: npt.ArrayLike,
    directions: npt.ArrayLike,
    *,
    step_size: float = 0.2,
    actions: Actions = Ball(),
) -> tuple[Competition, Mask]:
    """One step of algorithm 2 with the order and the directions (n, d) given: the game afterwards,
    and who moved.

    Examples
    --------
    >>> game = Competition([[0.0], [1.0]], [[0.4], [0.5]], candidates=2)
    >>> after, moved = local_better_response(game, [0, 1], [[-1.0], [-1.0]])
    >>> after.strategies.round(1).tolist(), moved.tolist()
    ([[0.2], [0.5]], [True, False])
    """
    tried, landed = actions.moves(
        game.strategies, np.asarray(directions, dtype=np.float64), step_size
    )
    moved = _Reference(game).step(np.asarray(order), tried, landed)
    return replace(game, strategies=np.where(moved[:, None], landed, game.strategies)), moved


class _Reference:
    """Both utilities of every move from the definitions, nothing kept from one to the next."""

    def __init__(self, game: Competition) -> None:
        self.game = game

    def deploy(self, game: Competition) -> None:
        self.game = replace(game, strategies=self.game.strategies)

    def step(self, order: Ints, tried: Floats, landed: Floats) -> Mask:
        moved = np.zeros(tried.shape[0], dtype=np.bool_)
        for i in order:
            trial = self._with(i, tried[i])
            if self.game.mechanism == "coordinated":
                better = trial.welfare() >= self.game.welfare() - TIE
            else:
                better = trial.utilities()[i] >= self.game.utilities()[i] * (1 - TIE)
            if better:
                moved[i] = True
                self.game = self._with(i, landed[i])
        return moved

    def user_utilities(self) -> tuple[Floats, Floats]:
        return self.game.user_utilities(), self.game.user_utilities(default=True)

    def _with(self, i: int, strategy: Floats) -> Competition:
        strategies = self.game.strategies.copy()
        strategies[i] = strategy
        return replace(self.game, strategies=strategies)
