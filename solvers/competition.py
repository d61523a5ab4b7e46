"""The creator competition game: what creators earn, how well users are served, and what creators do
about it, step by step.

Belongs here: relevance, matching, utilities and welfare; local better response; the mechanisms that
steer creators; a simulation with its curves. Does not: the settings the game is played in and what
is known about its equilibria (`solvers.competition_settings`), the update of the weights
(`solvers.reweighting`), the loops that make a long run fast (`solvers.competition_engine`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from solvers.reweighting import matching_candidates, matching_temperature, update_weights

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
Relevance = Callable[[Floats, Floats], Floats]
"""Strategies (n, d) and users (m, d) to scores (n, m), each row from its own strategy alone."""


@dataclass(frozen=True)
class Euclidean:
    """Relevance max(peak - |s - x| / scale, 0).

    Examples
    --------
    >>> Euclidean(scale=2.0)(np.array([[3.0, 4.0]]), np.array([[3.0, 4.0], [3.0, 3.0], [0.0, 0.0]])).tolist()
    [[1.0, 0.5, 0.0]]
    """

    peak: float = 1.0
    scale: float = 3.0

    def __call__(self, strategies: Floats, users: Floats) -> Floats:
        """Scores (n, m). The squares are added in the order of the coordinates, as in the compiled
        loop.
        """
        squared = np.zeros((strategies.shape[0], users.shape[0]))
        for k in range(users.shape[1]):
            squared += (strategies[:, k, None] - users[:, k]) ** 2
        scores: Floats = np.maximum(self.peak - np.sqrt(squared) / self.scale, 0.0)
        return scores


@dataclass(frozen=True)
class DotProduct:
    """Relevance (s.x - low) / (high - low), between 0 and 1.

    Examples
    --------
    >>> DotProduct(low=-1.0)(np.array([[1.0, 0.0]]), np.array([[1.0, 0.0], [0.0, 1.0], [-2.0, 0.0]])).tolist()
    [[1.0, 0.5, 0.0]]
    """

    low: float = 0.0
    high: float = 1.0

    def __call__(self, strategies: Floats, users: Floats) -> Floats:
        """Scores (n, m). The products are added in the order of the coordinates, as in the compiled
        loop.
        """
        product = np.zeros((strategies.shape[0], users.shape[0]))
        for k in range(users.shape[1]):
            product += strategies[:, k, None] * users[:, k]
        scores: Floats = np.clip((product - self.low) / (self.high - self.low), 0.0, 1.0)
        return scores


@dataclass(frozen=True)
class Static:
    """A control: the same temperature and number of candidates for everybody, for ever, instead of
    the default ones.
    """

    temperature: float | None = None
    candidates: int | None = None


Mechanism = Literal["base", "uir", "smt", "hmt", "coordinated"] | Static
"""What the platform does with the weights: nothing; multiplies rewards by them (8); temperatures (9); numbers of candidates (10).

"coordinated" has no creators' interests: a move is accepted when *welfare* does not fall, which shows what content alone could gain. It too
is a local search, so what it reaches is a lower bound: in the toy setting it gets stuck.
"""
TIE = 1e-12
"""Utilities closer than this, relatively, are equal (welfare: absolutely): where a creator is
indifferent, rounding must not decide.
"""
_MECHANISMS = ("base", "uir", "smt", "hmt", "coordinated")


@dataclass(frozen=True, eq=False)
class Matching:
    """How each user is matched, and what its match is worth: temperature, candidates (its K),
    importance, each (m,).
    """

    temperature: Floats
    candidates: Integers
    importance: Floats

    def shares(self, scores: npt.ArrayLike) -> Floats:
        r"""Probability :math:`P_i(x_j) \propto \exp(\sigma_{ij}/\beta_j)` over the first K_j of
        user j, 0 for the others.

        Creators are ranked by score, descending; equal scores by index, ascending.

        Parameters
        ----------
        scores : (n, m)

        Returns
        -------
        (n, m) array, columns sum to 1
        """
        score = np.asarray(scores, dtype=np.float64)
        order = np.argsort(-score, axis=0, kind="stable")
        ranked = np.take_along_axis(score, order, axis=0)
        first = np.arange(score.shape[0])[:, None] < self.candidates
        e = np.where(first, np.exp((ranked - ranked[0]) / self.temperature), 0.0)
        result = np.empty_like(score)
        np.put_along_axis(result, order, e / e.sum(axis=0), axis=0)
        return result


@dataclass(frozen=True, eq=False)
class Competition:
    r"""n creators, each with one piece of content, in front of m users: a profile of strategies and
    everything that follows from it.

    User j is matched with creator i with probability :math:`P_i(x_j) \propto \exp(\sigma(s_i,
    x_j)/\beta_j)` among its :math:`K_j` most relevant creators. With reward R = sigma ("relevance",
    equation 5) or 1 ("traffic", equation 6) and all users equally many,

    .. math:: u_i = \frac1m \sum_j \omega_j R(s_i, x_j) P_i(x_j), \qquad W = \frac1m \sum_j \sum_i \sigma(s_i, x_j) P_i(x_j)

    Without a mechanism :math:`\beta_j = \beta, K_j = K, \omega_j = 1`. With weights w, "uir" has
    :math:`\omega_j = w_j` (8), "smt" :math:`\beta_j = \beta w_j` (9), "hmt" :math:`K_j = \min(n,
    \lceil K w_j \rceil)` (10).

    Parameters
    ----------
    users : (m, d) strategies : (n, d) relevance : any function of strategies and users; `Euclidean`
    and `DotProduct` are the fast ones temperature : beta of the default matching, above 0: the
    smaller, the more certainly users get their most relevant creator candidates : K of the default
    matching, at least 1; more than n counts as n reward : "relevance" or "traffic" mechanism : see
    `Mechanism` weights : (m,) weight of each user, above 0; None is 1

    Raises
    ------
    ValueError
        shapes that do not fit, numbers out of range

    Notes
    -----
    Source: Yao et al., section 3 and equations (1) to (10).

    Examples
    --------
    Two creators, one on each user; the game is symmetric, and leaving one's user does not pay.

    >>> game = Competition([[0.0], [1.0]], [[0.0], [1.0]], temperature=0.1, candidates=2)
    >>> game.utilities().round(4).tolist(), round(game.welfare(), 4)
    ([0.4943, 0.4943], 0.9885)
    >>> replace(game, strategies=[[0.5], [1.0]]).utilities().round(4).tolist()
    [0.4167, 0.4735]
    """

    users: Floats
    strategies: Floats
    relevance: Relevance = Euclidean()
    temperature: float = 0.1
    candidates: int = 20
    reward: Literal["relevance", "traffic"] = "relevance"
    mechanism: Mechanism = "base"
    weights: Floats | None = None

    def __post_init__(self) -> None:
        """Check, and keep arrays as arrays of floats."""
        users, strategies = (
            np.asarray(self.users, dtype=np.float64),
            np.asarray(self.strategies, dtype=np.float64),
        )
        if (
            users.ndim != 2
            or strategies.ndim != 2
            or users.shape[1] != strategies.shape[1]
            or not users.size
            or not strategies.size
        ):
            raise ValueError(
                f"users have shape {users.shape} and strategies {strategies.shape}, not (m, d) and"
                " (n, d)"
            )
        if not (np.isfinite(users).all() and np.isfinite(strategies).all()):
            raise ValueError("users and strategies must be finite")
        if self.reward not in ("relevance", "traffic"):
            raise ValueError(f"reward is {self.reward!r}, neither 'relevance' nor 'traffic'")
        if not isinstance(self.mechanism, Static) and self.mechanism not in _MECHANISMS:
            raise ValueError(
                f"mechanism is {self.mechanism!r}, neither a Static nor one of {_MECHANISMS}"
            )
        weights = (
            np.ones(users.shape[0])
            if self.weights is None
            else np.asarray(self.weights, dtype=np.float64)
        )
        if weights.shape != users.shape[:1]:
            raise ValueError(
                f"weights have shape {weights.shape}, not one for each of {users.shape[0]} users"
            )
        object.__setattr__(self, "users", users)
        object.__setattr__(self, "strategies", strategies)
        object.__setattr__(self, "weights", weights)
        matching_temperature(weights, temperature=self.temperature)
        matching_candidates(weights, candidates=self.candidates)

    @cached_property
    def default_matching(self) -> Matching:
        """The matching without a mechanism."""
        ones = np.ones(self.users.shape[0])
        return Matching(
            matching_temperature(ones, temperature=self.temperature),
            matching_candidates(
                ones, candidates=self.candidates, available=self.strategies.shape[0]
            ),
            ones,
        )

    @cached_property
    def matching(self) -> Matching:
        """The matching that is deployed."""
        default, weights, n = (
            self.default_matching,
            np.asarray(self.weights),
            self.strategies.shape[0],
        )
        match self.mechanism:
            case Static(temperature, candidates):
                return replace(
                    self,
                    mechanism="base",
                    temperature=self.temperature if temperature is None else temperature,
                    candidates=self.candidates if candidates is None else candidates,
                ).default_matching
            case "uir":
                return replace(default, importance=weights)
            case "smt":
                return replace(
                    default, temperature=matching_temperature(weights, temperature=self.temperature)
                )
            case "hmt":
                return replace(
                    default,
                    candidates=matching_candidates(
                        weights, candidates=self.candidates, available=n
                    ),
                )
            case _:
                return default

    @cached_property
    def scores(self) -> Floats:
        """Relevance (n, m)."""
        scores, shape = (
            self.relevance(self.strategies, self.users),
            (self.strategies.shape[0], self.users.shape[0]),
        )
        if scores.shape != shape or not np.isfinite(scores).all():
            raise ValueError(
                f"the relevance function gives scores of shape {scores.shape}, not finite ones of"
                f" shape {shape}"
            )
        return scores

    def utilities(self) -> Floats:
        """Utility of every creator, (n,), under the deployed matching: equations (5) or (6), with a
        mechanism (8), (9) or (10).
        """
        worth = (
            self.matching.importance
            if self.reward == "traffic"
            else self.matching.importance * self.scores
        )
        return np.asarray((worth * self.matching.shares(self.scores)).mean(axis=1))

    def user_utilities(self, *, default: bool = False) -> Floats:
        """Expected relevance of what each user is matched with, (m,), under the deployed matching
        or the default one.
        """
        matching = self.default_matching if default else self.matching
        return np.asarray((self.scores * matching.shares(self.scores)).sum(axis=0))

    def welfare(self, *, default: bool = False) -> float:
        """Mean of `user_utilities`: equation (3)."""
        return float(self.user_utilities(default=default).mean())


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
    allowed: Integers

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
    game : the game at the start; its weights are not used steps : T, a multiple of epoch actions :
    `Ball`, `DiscreteActions` or anything with their method groups : (m,) group of each user, 0 to L
    - 1; None puts every user in a group of its own mechanism : None is the game's weights : (L,) of
    each group in the first epoch; None is 1. With both rates 0 they stay, but for being normalised
    epoch : M, steps between updates rates : alpha in the first half of the steps and in the second
    clip : smallest and largest weight step_size : eta seed : of the orders and directions keep :
    steps after which to keep the profile, 0 to T engine : "incremental" or, to check it,
    "reference": everything from scratch in numpy for every move

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
        from solvers.competition_engine import Incremental

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

    def step(self, order: Integers, tried: Floats, landed: Floats) -> Mask:
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
