"""The creator competition game: what creators earn, how well users are served, and what creators do
about it, step by step.

Belongs here: relevance, matching, utilities and welfare; local better response; the mechanisms that
steer creators; a simulation with its curves. Does not: the settings the game is played in and what
is known about its equilibria (`solvers.competition.settings`), the update of the weights
(`solvers.reweighting`), the loops that make a long run fast (`solvers.competition.engine`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np
import numpy.typing as npt

from solvers.arrays import Floats, Ints
from solvers.reweighting import matching_candidates, matching_temperature

Relevance = Callable[[Floats, Floats], Floats]

"""Strategies (n, d) and users (m, d) to scores (n, m), each row from its own strategy alone."""


@dataclass(frozen=True)
class Euclidean:
    """Relevance max(peak - |s - x| / scale, 0).

    Examples
    --------
    >>> Euclidean(scale=2.0)(np.array([[3.0, 4.0]]),
    ...     np.array([[3.0, 4.0], [3.0, 3.0], [0.0, 0.0]])).tolist()
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
    >>> DotProduct(low=-1.0)(np.array([[1.0, 0.0]]),
    ...     np.array([[1.0, 0.0], [0.0, 1.0], [-2.0, 0.0]])).tolist()
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

"""What the platform does with the weights: nothing; multiplies rewards by them (8); temperatures
(9); numbers of candidates (10).

"coordinated" has no creators' interests: a move is accepted when *welfare* does not fall, which
shows what content alone could gain. It too is a local search, so what it reaches is a lower bound:
in the toy setting it gets stuck.
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
    candidates: Ints
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

    .. math:: u_i = \frac1m \sum_j \omega_j R(s_i, x_j) P_i(x_j), \qquad W = \frac1m \sum_j \sum_i
              \sigma(s_i, x_j) P_i(x_j)

    Without a mechanism :math:`\beta_j = \beta, K_j = K, \omega_j = 1`. With weights w, "uir" has
    :math:`\omega_j = w_j` (8), "smt" :math:`\beta_j = \beta w_j` (9), "hmt" :math:`K_j = \min(n,
    \lceil K w_j \rceil)` (10).

    Parameters
    ----------
    users : (m, d)
    strategies : (n, d)
    relevance : any function of strategies and users; `Euclidean` and `DotProduct` are the fast ones
    temperature : beta of the default matching, above 0: the smaller, the more certainly users get
        their most relevant creator
    candidates : K of the default matching, at least 1; more than n counts as n
    reward : "relevance" or "traffic"
    mechanism : see `Mechanism`
    weights : (m,) weight of each user, above 0; None is 1

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
