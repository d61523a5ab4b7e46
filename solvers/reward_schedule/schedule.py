"""Pay for quality under a budget: the reward function of quality alone that buys the most of it.

Belongs here: the optimal schedule, its rounding to whole money, the check that nobody prefers
another level, and the two schemes it is compared with (a price per unit of quality; a pot shared in
proportion). Does not: where the types come from.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from solvers.arrays import Floats, Ints, Mask
from solvers.errors import InfeasibleError

_ROUNDING = 4 * float(np.finfo(np.float64).eps)
_MARGIN = 1e-6
"""By which the brackets that theorems 6 and 9 give are widened, so that rounding cannot push the
answer out of them.
"""


# --------------------------------------------------------------------------------------------------


class Cost(Protocol):
    """Cost of quality x for difficulty 1, on arrays: convex, increasing, value 0 at 0; `derivative`
    is the one to the right.

    Methods `inverse(v)` = sup{x: c(x) <= v} and `inverse_derivative(s)` = inf{x: c'(x) >= s} are
    used where an object has them and found by bisection where it has not (about a hundred times
    slower).
    """

    def value(self, x: Floats) -> Floats: ...

    def derivative(self, x: Floats) -> Floats: ...


@dataclass(frozen=True)
class PowerCost:
    """c(x) = x^k with k >= 1; k = 1 is the linear cost."""

    k: float

    def __post_init__(self) -> None:
        if not 1 <= self.k < math.inf:
            raise ValueError(
                f"the exponent must be finite and at least 1, not {self.k!r}: below 1 the cost is"
                " not convex"
            )

    def value(self, x: Floats) -> Floats:
        """Cost."""
        return np.power(x, self.k)

    def derivative(self, x: Floats) -> Floats:
        """Marginal cost."""
        return self.k * np.power(x, self.k - 1)

    def inverse(self, v: Floats) -> Floats:
        """Quality that costs v."""
        return np.power(v, 1 / self.k)

    def inverse_derivative(self, s: Floats) -> Floats:
        """Smallest quality with marginal cost at least s."""
        return np.asarray(
            np.where(s > 1, np.inf, 0.0) if self.k == 1 else np.power(s / self.k, 1 / (self.k - 1))
        )


@dataclass(frozen=True, eq=False)
class PiecewiseLinearCost:
    """Marginal cost slopes[j] from breaks[j] to breaks[j + 1], the last for ever; breaks rise from
    0, slopes are positive and rise.
    """

    breaks: npt.ArrayLike
    slopes: npt.ArrayLike

    def __post_init__(self) -> None:
        breaks, slopes = (np.asarray(x, dtype=np.float64) for x in (self.breaks, self.slopes))
        if breaks.ndim != 1 or breaks.size == 0 or breaks.shape != slopes.shape:
            raise ValueError(
                f"breaks and slopes must be two lists of one length, not of shapes {breaks.shape}"
                f" and {slopes.shape}"
            )
        if breaks[0] != 0 or not (np.diff(breaks) > 0).all() or not np.isfinite(breaks).all():
            raise ValueError(f"breaks must rise from 0 and be finite: {breaks.tolist()}")
        if not slopes[0] > 0 or not (np.diff(slopes) >= 0).all() or not np.isfinite(slopes).all():
            raise ValueError(
                "slopes must be positive, finite and not fall, or the cost is not convex:"
                f" {slopes.tolist()}"
            )
        for name, given in (("breaks", breaks), ("slopes", slopes)):
            object.__setattr__(self, name, given)

    @property
    def _corners(self) -> tuple[Floats, Floats, Floats]:
        breaks, slopes = np.asarray(self.breaks), np.asarray(self.slopes)
        return breaks, slopes, np.concatenate([[0.0], np.cumsum(slopes[:-1] * np.diff(breaks))])

    def value(self, x: Floats) -> Floats:
        """Cost."""
        breaks, slopes, values = self._corners
        piece = np.searchsorted(breaks, x, side="right") - 1
        return np.asarray(values[piece] + slopes[piece] * (x - breaks[piece]))

    def derivative(self, x: Floats) -> Floats:
        """Marginal cost, at a break that of the piece after it."""
        breaks, slopes, _ = self._corners
        return np.asarray(slopes[np.searchsorted(breaks, x, side="right") - 1])

    def inverse(self, v: Floats) -> Floats:
        """Quality that costs v."""
        breaks, slopes, values = self._corners
        piece = np.searchsorted(values, v, side="right") - 1
        return np.asarray(breaks[piece] + (v - values[piece]) / slopes[piece])

    def inverse_derivative(self, s: Floats) -> Floats:
        """Smallest quality with marginal cost at least s."""
        breaks, slopes, _ = self._corners
        return np.asarray(np.append(breaks, np.inf)[np.searchsorted(slopes, s)])


# --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class StepReward:
    """The published reward function: threshold (L,) strictly rising and above 0, reward (L,) paid
    from that quality on, 0 below.
    """

    threshold: Floats
    reward: Floats | Ints

    def __call__(self, quality: npt.ArrayLike) -> Floats | Ints:
        """Reward of each quality."""
        reached = np.searchsorted(
            self.threshold, np.asarray(quality, dtype=np.float64), side="right"
        )
        return np.append(self.reward, 0)[reached - 1]

    def table(self) -> dict[str, Floats | Ints]:
        """Columns level (from 1), threshold and reward, one row per level."""
        return {
            "level": np.arange(1, self.threshold.size + 1),
            "threshold": self.threshold,
            "reward": self.reward,
        }


@dataclass(frozen=True, eq=False)
class RewardSchedule:
    """What every type does and gets.

    Attributes
    ----------
    quality, reward : (m,) quality x_k that type k produces and its reward R(x_k); int64 rewards
        from `whole_rewards`
    gross_product : sum of mass times quality
    multiplier : quality that one more unit of budget buys (infinite for budget 0 where the first
        unit of quality is free)
    blocks : first type of each ironed block; types of one block share one quality. Types without
        mass do what the next harder type with mass does, and produce nothing where there is none
    budget_residual : |sum of mass times reward - budget| / budget
    incentive_residual : what a type can gain by moving to another level or to none, at most,
        relative to the largest reward
    """

    quality: Floats
    reward: Floats | Ints
    gross_product: float
    multiplier: float
    blocks: npt.NDArray[np.intp]
    budget_residual: float
    incentive_residual: float

    @property
    def steps(self) -> StepReward:
        """The reward function that brings this about."""
        first = np.flatnonzero(np.diff(self.quality, prepend=0.0) > 0)
        return StepReward(self.quality[first], self.reward[first])


@dataclass(frozen=True, eq=False)
class LinearScheme:
    """Best reward `price` x: quality and reward (m,), and |sum of mass times reward - budget| /
    budget.
    """

    price: float
    quality: Floats
    reward: Floats
    gross_product: float
    budget_residual: float


@dataclass(frozen=True, eq=False)
class ProportionalEquilibrium:
    """Nash equilibrium of the shared pot.

    Attributes
    ----------
    quality, reward : (m,) of one creator of each type
    gross_product : sum over all creators
    schedule_reward : (m,) theorem 9: what a step function needs to pay for the same qualities
    schedule_cost : what that comes to; at most the budget
    residual : |sum of the shares - 1|
    """

    quality: Floats
    reward: Floats
    gross_product: float
    schedule_reward: Floats
    schedule_cost: float
    residual: float


# --------------------------------------------------------------------------------------------------


class _Types(NamedTuple):
    """Distinct types with mass: mass and difficulty of each, its first row, and the number of
    rows.
    """

    mass: Floats
    difficulty: Floats
    first: npt.NDArray[np.intp]
    size: int

    def spread(self, values: Floats) -> Floats:
        """From the distinct types with mass to all types."""
        return np.repeat(
            np.insert(values, 0, 0.0), np.diff(np.concatenate([[0], self.first, [self.size]]))
        )


def optimal_schedule(
    mass: npt.ArrayLike, difficulty: npt.ArrayLike, budget: float, cost: Cost
) -> RewardSchedule:
    r"""Quality of each type, and the step reward function, that maximise total quality within the
    budget.

    Type k of mass :math:`f_k` pays :math:`h_k c(x)` for quality x and picks what is best for it.
    With tail sums :math:`F_k = \sum_{l \ge k} f_l` and :math:`\alpha_k = h_k f_k + (h_k - h_{k+1})
    F_{k+1}`, :math:`h_{m+1} = 0`,

    .. math:: \max_x \sum_k f_k x_k \quad \text{s.t.} \quad \sum_k \alpha_k c(x_k) \le B, \quad 0
              \le x_1 \le \dots \le x_m,

    and :math:`R(x_k) = R(x_{k-1}) + (c(x_k) - c(x_{k-1})) h_k` is the cheapest reward for it, of
    expected cost B. Pooling adjacent violators of :math:`f / \alpha` gives blocks of ratio
    :math:`\rho_b` and weight :math:`A_b`; in each
    :math:`x_b = \inf\{x: c'(x) \ge \rho_b / \lambda\}`, and :math:`\lambda` is where the budget is
    met. For :math:`c = x^k`, :math:`x_b = \tau \rho_b^{1/(k-1)}` with :math:`\tau^k = B / \sum A_b
    \rho_b^{k/(k-1)}`.

    Parameters
    ----------
    mass : (m,) expected number of creators of each type, at least 0, not all 0
    difficulty : (m,) h, above 0, never rising: the most able type last; equal types may repeat
    budget : money to give out in expectation, at least 0
    cost : PowerCost, PiecewiseLinearCost or another `Cost`

    Returns
    -------
    RewardSchedule

    Raises
    ------
    ValueError
        a number outside its range (names the row), a cost that is not 0 at 0, falls, or is not
        convex

    Notes
    -----
    Where a flat piece of the marginal cost leaves a choice, the last two candidates are mixed so as
    to meet the budget. The printed algorithm 2 is wrong: the test that builds S is reversed and the
    bracket of lambda holds an index where an average belongs.

    Source: Chen et al., problem P2, equations 1 and 3, algorithm 1, theorem 2, lemma 7;
    docs/formulas.md section 6.

    Examples
    --------
    >>> best = optimal_schedule([1, 1, 1, 1], [4, 2, 1.5, 1], budget=1.0, cost=PowerCost(2))
    >>> best.quality.round(4).tolist(), round(best.gross_product, 4)
    ([0.0719, 0.2397, 0.3596, 0.7192], 1.3904)
    >>> best.steps([0.0, 0.3, 0.5]).round(4).tolist()
    [0.0, 0.1253, 0.233]
    """
    types, budget = _checked(mass, difficulty, budget, cost)
    f, h, first, _ = types

    # --- ironing: pool adjacent violators
    tail = np.append(np.cumsum(f[::-1])[::-1][1:], 0.0)
    alpha = h * f + (h - np.append(h[1:], 0.0)) * tail
    starts = _pooled(f / alpha, alpha)
    weight = np.add.reduceat(alpha, starts)
    ratio = np.maximum.accumulate(np.add.reduceat(f, starts) / weight)

    # --- quality of each block
    if budget == 0:
        x = np.zeros(ratio.size)
        slope = float(_derivative(cost, x[:1])[0])
        multiplier = float(ratio[-1]) / slope if slope > 0 else math.inf
    elif isinstance(cost, PowerCost):
        with np.errstate(under="ignore"):
            x = np.power(ratio / ratio[-1], 1 / (cost.k - 1) if cost.k > 1 else math.inf)
            x *= (budget / float(weight @ x**cost.k)) ** (1 / cost.k)
        multiplier = float(f @ np.repeat(x, np.diff(np.append(starts, f.size)))) / (cost.k * budget)
    else:
        least, most = (
            float(y)
            for y in _inverse(
                cost, np.array([budget / float(weight.sum()), budget / float(weight[-1])])
            )
        )
        _check_convex(cost, most)
        slope_least, slope_most = _derivative(cost, np.array([least, most]))
        multiplier, x = _meet(
            lambda lam, lo, hi: _inverse_derivative(cost, ratio / lam, lo, hi),
            lambda _, x: float(weight @ _value_of_rising(cost, x)) - budget,
            float(ratio[-1] / slope_most) * (1 - _ROUNDING),
            float(ratio[-1] / slope_least) * (1 + _ROUNDING),
            np.full(ratio.size, most),
        )

    # --- rewards, on all types
    types = types._replace(first=first[starts])
    quality, reward = types.spread(x), types.spread(_cheapest_reward(_value(cost, x), h[starts]))
    return _schedule(
        quality,
        reward,
        multiplier,
        types.first,
        np.asarray(mass, dtype=np.float64),
        difficulty,
        budget,
        cost,
    )


def whole_rewards(
    schedule: RewardSchedule,
    mass: npt.ArrayLike,
    difficulty: npt.ArrayLike,
    budget: float,
    cost: Cost,
) -> RewardSchedule:
    """The schedule in whole units of money: rewards rounded down, thresholds moved so that nobody
    comes to prefer another level.

    Rounded rewards at the old thresholds break the indifference of type k between its level and the
    one below. Here the thresholds follow from the rounded rewards, level by level: c(x_k) =
    c(x_{k-1}) + (R_k - R_{k-1}) / h_k, equation 1 read the other way. Levels whose rewards round to
    the same number become one.

    Parameters
    ----------
    schedule : what `optimal_schedule` made of the other four arguments, `budget` in units that
        cannot be divided (cents, micros)

    Returns
    -------
    RewardSchedule
        with int64 rewards; never costs more than the budget, nor less by more than a unit for each
        creator (`budget_residual`)

    Raises
    ------
    ValueError
        as `optimal_schedule`, a schedule for other types, or a reward beyond 64 bits

    Source: Chen et al., equation 1 and lemma 3; docs/formulas.md section 6.

    Examples
    --------
    >>> mass, difficulty = [3, 3, 1], [4, 2, 1]
    >>> exact = optimal_schedule(mass, difficulty, 100.0, PowerCost(2))
    >>> whole = whole_rewards(exact, mass, difficulty, 100.0, PowerCost(2))
    >>> part = whole.gross_product / exact.gross_product
    >>> exact.reward.round(2).tolist(), whole.reward.tolist(), round(part, 3)
    ([3.29, 15.07, 44.91], [3, 15, 44], 0.99)
    """
    types, budget = _checked(mass, difficulty, budget, cost)
    if schedule.quality.size != types.size:
        raise ValueError(
            f"the schedule is for {schedule.quality.size} types, mass and difficulty for"
            f" {types.size}"
        )
    f, starts = np.asarray(mass, dtype=np.float64), schedule.blocks
    types = types._replace(first=starts)
    for slack in (_ROUNDING, -_ROUNDING):
        reward = np.floor(schedule.reward[starts] * (1 + slack))
        if float(f @ types.spread(reward)) <= budget:
            break
    if reward[-1] >= 2.0**63:
        raise ValueError(f"a reward of {float(reward[-1])!r} does not fit into a 64-bit integer")
    x = _inverse(
        cost,
        np.cumsum(np.diff(reward, prepend=0.0) / np.asarray(difficulty, dtype=np.float64)[starts]),
    )
    paid = types.spread(reward).astype(np.int64)
    return _schedule(
        types.spread(x), paid, schedule.multiplier, starts, f, difficulty, budget, cost
    )


def incentive_violations(
    quality: npt.ArrayLike,
    reward: npt.ArrayLike,
    difficulty: npt.ArrayLike,
    cost: Cost,
    *,
    tolerance: float = 1e-12,
) -> npt.NDArray[np.intp]:
    """Types that prefer another published level, or none, to their own by more than `tolerance`
    times the largest reward.

    Parameters
    ----------
    quality, reward, difficulty : (m,) what each type is meant to produce, what that pays, its
        difficulty; in any order

    Notes
    -----
    Source: Chen et al., problem P1 (its first constraint).

    Examples
    --------
    >>> incentive_violations([1.0, 2.0], [1, 3], [1.0, 0.6], PowerCost(2)).tolist()
    []
    >>> incentive_violations([1.0, 2.0], [1, 2], [1.0, 0.6], PowerCost(2)).tolist()
    [1]
    """
    x, r, h = (np.asarray(column, dtype=np.float64) for column in (quality, reward, difficulty))
    if not x.shape == r.shape == h.shape or x.ndim != 1:
        raise ValueError(
            f"quality, reward and difficulty must have one shape (m,), not {x.shape}, {r.shape} and"
            f" {h.shape}"
        )
    if not (np.isfinite(x) & np.isfinite(r) & np.isfinite(h) & (x >= 0)).all():
        raise ValueError("quality, reward and difficulty must be finite, and no quality below 0")
    return np.flatnonzero(_gain(x, r, h, cost) > tolerance * float(r.max(initial=0.0)))


def linear_scheme(
    mass: npt.ArrayLike, difficulty: npt.ArrayLike, budget: float, cost: Cost
) -> LinearScheme:
    r"""The best reward function :math:`R(x) = p x`: the price at which :math:`p \sum_k f_k x_k(p) =
    B`.

    Type k answers with :math:`h_k c'(x_k) = p`; where it is indifferent it produces what meets the
    budget. Buys at least half of what the optimal schedule buys (theorem 6), which brackets p.
    Arguments and errors as `optimal_schedule`.

    Source: Chen et al., section 6.

    Examples
    --------
    >>> scheme = linear_scheme([1, 1, 1, 1], [4, 2, 1.5, 1], budget=1.0, cost=PowerCost(2))
    >>> round(scheme.price, 4), round(scheme.gross_product, 4)
    (0.9097, 1.0992)
    """
    types, budget = _checked(mass, difficulty, budget, cost)
    if budget == 0:
        return LinearScheme(0.0, np.zeros(types.size), np.zeros(types.size), 0.0, 0.0)
    best = optimal_schedule(mass, difficulty, budget, cost).gross_product
    inverse_price, x = _meet(
        lambda q, lo, hi: _inverse_derivative(cost, 1 / (q * types.difficulty), lo, hi),
        lambda q, x: float(types.mass @ x) - budget * q,
        best / budget / 2 * (1 - _MARGIN),
        best / budget * (1 + _MARGIN),
        np.full(types.mass.size, best / float(types.mass[-1]) * (1 + _MARGIN)),
    )
    product = float(types.mass @ x)
    quality = types.spread(x)
    return LinearScheme(
        1 / inverse_price,
        quality,
        quality / inverse_price,
        product,
        abs(product / inverse_price - budget) / budget,
    )


def proportional_equilibrium(
    mass: npt.ArrayLike, difficulty: npt.ArrayLike, budget: float, cost: Cost
) -> ProportionalEquilibrium:
    r"""The one Nash equilibrium, all types known, of a pot shared by quality: :math:`u_i = B x_i /
    S - h_i c(x_i)`.

    With :math:`y = x / S` the share, :math:`B (1 - y) = h S c'(y S)` (0 where :math:`B \le h S
    c'(0)`); every share falls as S grows, and S is where they add up to 1. It is at most what the
    optimal schedule buys (theorem 9), which brackets it.

    Arguments as `optimal_schedule`, but `mass` counts creators in whole numbers, at least two in
    all.

    Raises
    ------
    InfeasibleError
        a single creator, for whom any quality above 0 takes the pot and less is always better
    ValueError
        as `optimal_schedule`, or a mass that is not a whole number

    Source: Chen et al., section 7, theorems 8 and 9.

    Examples
    --------
    >>> pot = proportional_equilibrium([1, 1], [10, 1], budget=1.0, cost=PowerCost(1))
    >>> pot.quality.round(4).tolist(), round(pot.gross_product, 4), round(pot.schedule_cost, 4)
    ([0.0083, 0.0826], 0.0909, 0.2397)
    """
    types, budget = _checked(mass, difficulty, budget, cost)
    f, h, _, size = types
    if (f != np.floor(f)).any():
        raise ValueError(
            "the pot is shared by whole creators: mass adds up to"
            f" {float(f[f != np.floor(f)][0])!r} for one difficulty"
        )
    if f.sum() < 2:
        raise InfeasibleError(
            "a single creator has no equilibrium: any quality above 0 takes the whole pot"
        )
    if budget == 0:
        return ProportionalEquilibrium(
            np.zeros(size), np.zeros(size), 0.0, np.zeros(size), 0.0, 0.0
        )

    def shares(total: float, lo: Floats, hi: Floats) -> Floats:
        return _smallest(
            lambda y: h * total * _derivative(cost, y * total) >= budget * (1 - y), lo, hi
        )

    high = optimal_schedule(mass, difficulty, budget, cost).gross_product * (1 + _MARGIN)
    low, nothing, everything = high / 2, np.zeros(f.size), np.ones(f.size)
    while f @ shares(low, nothing, everything) <= 1:
        low /= 2
    total, y = _meet(shares, lambda _, y: float(f @ y) - 1, low, high, everything)
    needed = _cheapest_reward(_value(cost, y * total), h)
    return ProportionalEquilibrium(
        types.spread(y * total),
        types.spread(y * budget),
        total,
        types.spread(needed),
        float(f @ needed),
        abs(float(f @ y) - 1),
    )


# --------------------------------------------------------------------------------------------------


def _checked(
    mass: npt.ArrayLike, difficulty: npt.ArrayLike, budget: float, cost: Cost
) -> tuple[_Types, float]:
    f, h = (np.atleast_1d(np.asarray(column, dtype=np.float64)) for column in (mass, difficulty))
    if f.ndim != 1 or f.shape != h.shape or f.size == 0:
        raise ValueError(
            f"mass and difficulty must have one shape (m,) with m >= 1, not {f.shape} and {h.shape}"
        )
    for name, bad, rule in (
        ("mass", ~((f >= 0) & (f < np.inf)), "finite and at least 0"),
        ("difficulty", ~((h > 0) & (h < np.inf)), "finite and above 0"),
        (
            "difficulty",
            np.append(False, h[1:] > h[:-1]),
            "in falling order, the most able type last",
        ),
    ):
        if bad.any():
            row = int(np.argmax(bad))
            raise ValueError(
                f"{name} must be {rule}: row {row} is {float((f if name == 'mass' else h)[row])!r}"
            )
    if not f.any():
        raise ValueError("mass must not be 0 for every type")
    if not math.isfinite(float(h[0]) * float(f.sum())):
        raise ValueError(
            f"the largest difficulty {float(h[0])!r} times the total mass {float(f.sum())!r} is no"
            " number any more"
        )
    if not 0 <= budget < math.inf:
        raise ValueError(f"budget must be finite and at least 0, not {budget!r}")
    if not (callable(getattr(cost, "value", None)) and callable(getattr(cost, "derivative", None))):
        raise ValueError(f"cost must have methods value and derivative: {cost!r}")
    at_zero = float(_value(cost, np.zeros(1))[0])
    if at_zero != 0:
        raise ValueError(f"cost.value(0) must be 0, not {at_zero!r}")
    first = np.flatnonzero(np.diff(h, prepend=np.inf) < 0)
    pooled = np.add.reduceat(f, first)
    kept = pooled > 0
    return _Types(pooled[kept], h[first][kept], first[kept], f.size), float(budget)


def _schedule(
    quality: Floats,
    reward: Floats | Ints,
    multiplier: float,
    blocks: npt.NDArray[np.intp],
    mass: Floats,
    difficulty: npt.ArrayLike,
    budget: float,
    cost: Cost,
) -> RewardSchedule:
    spent, top = float(mass @ reward), float(reward[-1])
    gain = float(
        _gain(
            quality,
            np.asarray(reward, dtype=np.float64),
            np.asarray(difficulty, dtype=np.float64),
            cost,
        ).max()
    )
    off, tempted = abs(spent - budget) / (budget or 1.0), max(gain, 0.0) / (top or 1.0)
    return RewardSchedule(quality, reward, float(mass @ quality), multiplier, blocks, off, tempted)


def _cheapest_reward(costs: Floats, difficulty: Floats) -> Floats:
    return np.cumsum(np.diff(costs, prepend=0.0) * difficulty)


def _pooled(values: Floats, weights: Floats, increasing: bool = True) -> npt.NDArray[np.intp]:
    from scipy.optimize import isotonic_regression

    return np.asarray(
        isotonic_regression(values, weights=weights, increasing=increasing).blocks[:-1]
    )


def _gain(quality: Floats, reward: Floats, difficulty: Floats, cost: Cost) -> Floats:
    """What each type gains by its best level: levels on the concave hull of (cost, reward), where
    it passes the type's difficulty.
    """
    own = _value(cost, quality)
    c, r = np.append(own, 0.0), np.append(reward, 0.0)
    order = np.lexsort((r, c))
    c, r = c[order], r[order]
    last = np.append(np.diff(c) > 0, True)
    c, r = c[last], r[last]
    corners, slopes = np.zeros(1, dtype=np.intp), np.zeros(0)
    if c.size > 1:
        corners = np.append(
            _pooled(np.diff(r) / np.diff(c), np.diff(c), increasing=False), c.size - 1
        )
        slopes = np.diff(r[corners]) / np.diff(c[corners])
    best = corners[np.searchsorted(-slopes, -difficulty, side="right")]
    return np.asarray((r[best] - difficulty * c[best]) - (reward - difficulty * own))


def _meet(
    answer: Callable[[float, Floats, Floats], Floats],
    excess: Callable[[float, Floats], float],
    low: float,
    high: float,
    most: Floats,
) -> tuple[float, Floats]:
    """Multiplier, and answer between those of the two adjacent floats around it, at which the
    excess is 0.

    Both fall in the multiplier; the excess is at least 0 at `low` and at most 0 at `high`; `answer`
    is told between which bounds to look.
    """
    at_low = answer(low, np.zeros(most.size), most)
    at_high = answer(high, np.zeros(most.size), at_low)
    while True:
        middle = low * math.sqrt(high / low) if high > 2 * low else low + (high - low) / 2
        if not low < middle < high:
            break
        x = answer(middle, at_high, at_low)
        if excess(middle, x) > 0:
            low, at_low = middle, x
        else:
            high, at_high = middle, x
    over, under = excess(low, at_low), -excess(high, at_high)
    part = min(max(under / (over + under), 0.0), 1.0) if over + under > 0 else 1.0
    return low, np.asarray(at_high + part * (at_low - at_high))


def _smallest(reached: Callable[[Floats], Mask], lo: Floats, hi: Floats) -> Floats:
    """Smallest x between lo and hi that has reached the goal, each by bisection; hi where none
    has.
    """
    hi = np.where(reached(lo), lo, hi)
    while True:
        middle = lo + (hi - lo) / 2
        if not ((lo < middle) & (middle < hi)).any():
            return hi
        there = reached(middle)
        lo, hi = np.where(there, lo, middle), np.where(there, middle, hi)


def _value(cost: Cost, x: Floats) -> Floats:
    return np.broadcast_to(np.asarray(cost.value(x), dtype=np.float64), x.shape)


def _derivative(cost: Cost, x: Floats) -> Floats:
    return np.broadcast_to(np.asarray(cost.derivative(x), dtype=np.float64), x.shape)


def _inverse(cost: Cost, v: Floats) -> Floats:
    if inverse := getattr(cost, "inverse", None):
        return np.asarray(inverse(v), dtype=np.float64)
    most = np.ones(1)
    while _value(cost, most)[0] < v.max():
        most *= 2
        if most[0] > 1e300:
            raise ValueError(f"the cost never reaches {float(v.max())!r}")
    return _smallest(lambda x: ~(_value(cost, x) < v), np.zeros(v.size), np.full(v.size, most[0]))


def _value_of_rising(cost: Cost, x: Floats) -> Floats:
    """Cost of qualities that do not fall: a kinked cost leaves a million types few of them, and
    each is looked up once.
    """
    starts = np.append(0, np.flatnonzero(np.diff(x)) + 1)
    return np.repeat(_value(cost, x[starts]), np.diff(np.append(starts, x.size)))


def _inverse_derivative(cost: Cost, s: Floats, lo: Floats, hi: Floats) -> Floats:
    inverse = getattr(cost, "inverse_derivative", None)
    if not inverse:
        return _smallest(lambda x: ~(_derivative(cost, x) < s), lo, hi)
    reached = lo.copy()
    rows = np.flatnonzero(lo < hi)  # what the bounds leave open: soon few, where the cost is kinked
    reached[rows] = np.clip(np.asarray(inverse(s[rows]), dtype=np.float64), lo[rows], hi[rows])
    return reached


def _check_convex(cost: Cost, most: float) -> None:
    x = np.linspace(0.0, most, 65)
    slope = np.append(0.0, _derivative(cost, x))
    bad = ~((np.diff(slope) >= -1e-9 * slope[:-1]) & np.isfinite(slope[1:]))
    if bad.any():
        row = int(np.argmax(bad))
        before, after = slope[row : row + 2].tolist()
        raise ValueError(
            f"the cost is not convex and increasing: its derivative at {float(x[row])!r} is"
            f" {after!r}, and {before!r} before"
        )
