"""Bonuses on top of pay by the unit: the step function of output that buys most of it, for creators
who are paid for output already.

Belongs here: the schedule, whole money, and what a higher price or a shared pot would buy instead.
`reward_schedule` is the case in which creators are paid nothing else; where the types come from is
in `creator_types`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from solvers.arrays import Floats, Ints
from solvers.errors import InfeasibleError
from solvers.reward_schedule.schedule import PowerCost, StepReward

_HALVINGS = 200
_CLOSE = 1e-13
_SMALL, _TERMS = 1e-2, 10


@dataclass(frozen=True, eq=False)
class BonusSchedule:
    """What every type produces and gets.

    Attributes
    ----------
    output, bonus : (m,) output x_k of type k and its bonus R(x_k)
    unpaid_output : (m,) what type k produces without any bonus
    gross_product, bought : sum of mass times output, and what of it the bonuses bought
    spend : sum of mass times bonus, at most the budget
    multiplier : output that one more unit of budget buys (infinite for budget 0)
    blocks : first type of each ironed block; types of one block share one output
    budget_residual : |spend - budget| / budget
    incentive_residual : what a type can gain by moving to another level or to none, at most,
        relative to the largest bonus
    """

    output: Floats
    bonus: Floats
    unpaid_output: Floats
    gross_product: float
    bought: float
    spend: float
    multiplier: float
    blocks: npt.NDArray[np.intp]
    budget_residual: float
    incentive_residual: float


@dataclass(frozen=True, eq=False)
class WholeBonuses:
    """A published schedule in integers, and the level (m,) every type picks: 0 is none, n the n-th
    threshold.

    `incentive_residual` as in `BonusSchedule`; `spend` is exact.
    """

    threshold: Ints
    bonus: Ints
    level: npt.NDArray[np.intp]
    spend: int
    gross_product: float
    incentive_residual: float

    @property
    def steps(self) -> StepReward:
        """The published function, on the thresholds' own unit."""
        return StepReward(self.threshold.astype(np.float64), self.bonus)


@dataclass(frozen=True, eq=False)
class OnTop:
    """What another way of spending the same money on top of the price buys: output (m,), payment
    (m,) on top, total output.
    """

    output: Floats
    payment: Floats
    gross_product: float


def schedule_on_top(
    mass: npt.ArrayLike, difficulty: npt.ArrayLike, budget: float, cost: PowerCost, price: float
) -> BonusSchedule:
    r"""The bonus for output that maximises total output within the budget, for creators who are
    paid `price` a unit anyway.

    Type k of mass :math:`f_k` picks x to maximise :math:`p x + R(x) - h_k c(x)`; without a bonus
    that is :math:`c'(x^0_k) = p / h_k`. What it loses by being moved is :math:`L_k(x) = h_k (c(y) -
    c(x^0_k)) - p (y - x^0_k)` with :math:`y = \max(x, x^0_k)`. The cheapest bonus for rising
    outputs is :math:`R_k = R_{k-1} + L_k(x_k) - L_k(x_{k-1})`, so with tail sums :math:`F_k`

    .. math:: \max \sum_k f_k x_k \quad \text{s.t.} \quad \sum_k F_k (L_k(x_k) - L_k(x_{k-1})) \le
              B, \quad x_1 \le \dots \le x_m.

    In the marginal cost :math:`s = c'(x)` the derivative of the spend telescopes over a block a..b
    of equal outputs, whatever the cost:

    .. math:: F_a (h_a s - p)_+ - F_{b+1} (h_{b+1} s - p)_+ = \theta (F_a - F_{b+1}), \qquad \theta
              = 1 / \lambda,

    which has a closed form; adjacent violators are pooled, and :math:`\theta` is where the budget
    is spent. With p = 0 this is `optimal_schedule`.

    Parameters
    ----------
    mass : (m,) creators of each type, above 0
    difficulty : (m,) h, above 0, strictly falling: the most able type last
    budget : money for bonuses, at least 0
    cost : PowerCost with an exponent above 1
    price : money per unit of output that is paid without bonuses, at least 0

    Raises
    ------
    ValueError
        a number outside its range (names the row)

    Source: Chen et al., problem P2 and theorem 2, with a price added; docs/formulas.md section 6.

    Examples
    --------
    >>> schedule = schedule_on_top([1, 1], [2, 1], budget=1.0, cost=PowerCost(2), price=2.0)
    >>> columns = schedule.unpaid_output, schedule.output, schedule.bonus
    >>> tuple(column.round(4).tolist() for column in columns)
    ([0.5, 1.0], [0.7236, 1.8944], [0.1, 0.9])
    """
    f, h = _checked(mass, difficulty, budget, cost, price)
    tail = np.append(np.cumsum(f[::-1])[::-1], 0.0)
    hard = np.append(h, h[-1])
    low, high = 0.0, max(price, float(h[0])) or 1.0
    starts, x = _levels(tail, hard, price, low, cost)
    if budget > 0:
        while _spend(tail, h, price, cost, *_levels(tail, hard, price, high, cost)) < budget:
            high *= 2
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            if not low < middle < high or high - low <= _CLOSE * high:
                break
            if _spend(tail, h, price, cost, *_levels(tail, hard, price, middle, cost)) <= budget:
                low = middle
            else:
                high = middle
        starts, x = _levels(tail, hard, price, low, cost)
    output = np.repeat(x, np.diff(np.append(starts, f.size)))
    bonus = np.repeat(_bonuses(h[starts], x, price, cost), np.diff(np.append(starts, f.size)))
    unpaid = cost.inverse_derivative(price / h)
    product, spend = float(f @ output), float(f @ bonus)
    return BonusSchedule(
        output=output,
        bonus=bonus,
        unpaid_output=unpaid,
        gross_product=product,
        bought=product - float(f @ unpaid),
        spend=spend,
        multiplier=1 / low if low > 0 else math.inf,
        blocks=starts,
        budget_residual=abs(spend - budget) / (budget or 1.0),
        incentive_residual=_temptation(output, bonus, output, bonus, h, price, cost),
    )


def whole_bonuses(
    schedule: BonusSchedule,
    mass: npt.ArrayLike,
    difficulty: npt.ArrayLike,
    cost: PowerCost,
    price: float,
    *,
    units: int = 1,
) -> WholeBonuses:
    """The schedule in whole money and whole `units` of output, so that no type comes to prefer
    another level or none.

    Bonuses are rounded down. Level by level, the threshold is the largest whole one at which the
    type it is meant for still takes it: L_k(x_k) = L_k(x_{k-1}) + R_k - R_{k-1}, rounded down. A
    level that the next harder type would then take too is left out, and its types stay on the one
    before.

    Parameters
    ----------
    schedule : what `schedule_on_top` made of the other arguments
    mass : (m,) whole numbers of creators
    units : thresholds are multiples of 1 / units of output

    Raises
    ------
    ValueError
        as `schedule_on_top`, a mass that is no whole number, or a number beyond 64 bits

    Examples
    --------
    >>> exact = schedule_on_top([3, 2, 1], [4, 2, 1], 1000.0, PowerCost(2), price=100.0)
    >>> whole = whole_bonuses(exact, [3, 2, 1], [4, 2, 1], PowerCost(2), 100.0)
    >>> whole.threshold.tolist(), whole.bonus.tolist(), whole.level.tolist(), whole.spend
    ([15, 32, 72], [30, 139, 629], [1, 2, 3], 997)
    """
    f, h = _checked(mass, difficulty, 0.0, cost, price)
    if (f != np.floor(f)).any():
        raise ValueError(
            f"bonuses are paid to whole creators: mass has {float(f[f != np.floor(f)][0])!r}"
        )
    if max(float(schedule.bonus[-1]), float(schedule.output[-1]) * units) >= 2.0**62:
        raise ValueError("a bonus or a threshold does not fit into a 64-bit integer")
    thresholds: list[int] = []
    bonuses: list[int] = []
    level = np.zeros(f.size, dtype=np.intp)
    borders = [*schedule.blocks.tolist(), f.size]
    for start, end in pairwise(borders):
        before, paid = (thresholds[-1], bonuses[-1]) if thresholds else (0, 0)
        bonus = math.floor(float(schedule.bonus[start]) * (1 + 4 * np.finfo(np.float64).eps))
        if bonus > paid:
            threshold = math.floor(
                _reach(h[start], before / units, bonus - paid, price, cost) * units
            )
            tempted = (
                start > 0
                and _step(h[start - 1], before / units, threshold / units, price, cost)
                < bonus - paid
            )
            if threshold > before and not tempted:
                thresholds.append(threshold)
                bonuses.append(bonus)
        level[start:end] = len(thresholds)
    spend = sum(
        int(count) * (bonuses[at - 1] if at else 0)
        for count, at in zip(f.tolist(), level.tolist(), strict=True)
    )
    published, paid_out = np.array(thresholds, dtype=np.int64), np.array(bonuses, dtype=np.int64)
    x, r = np.append(0.0, published / units), np.append(0.0, paid_out)
    unpaid = cost.inverse_derivative(price / h)
    residual = _temptation(x[level], r[level], x, r, h, price, cost)
    return WholeBonuses(
        published, paid_out, level, spend, float(f @ np.maximum(x[level], unpaid)), residual
    )


def price_on_top(
    mass: npt.ArrayLike, difficulty: npt.ArrayLike, budget: float, cost: PowerCost, price: float
) -> OnTop:
    r"""The same money as a higher price for every unit: :math:`\delta \sum f_k x_k = B`, where
    :math:`h_k c'(x_k) = p + \delta`.

    Arguments and errors as `schedule_on_top`.

    Examples
    --------
    >>> better = price_on_top([1, 1], [2, 1], budget=1.0, cost=PowerCost(2), price=2.0)
    >>> better.output.round(4).tolist(), round(float(better.payment.sum()), 9)
    ([0.6319, 1.2638], 1.0)
    """
    f, h = _checked(mass, difficulty, budget, cost, price)

    def spend(rise: float) -> float:
        return rise * float(f @ cost.inverse_derivative((price + rise) / h))

    rise = _crossing(lambda value: spend(value) - budget) if budget else 0.0
    x = cost.inverse_derivative((price + rise) / h)
    return OnTop(x, rise * x, float(f @ x))


def pot_on_top(
    mass: npt.ArrayLike, difficulty: npt.ArrayLike, budget: float, cost: PowerCost, price: float
) -> OnTop:
    r"""The same money as a pot shared by output, in the equilibrium of creators who know each
    other.

    With :math:`S = \sum f_k x_k`, :math:`p + B (S - x_k) / S^2 = h_k c'(x_k)`. The shares x/S fall
    as S grows, so there is one equilibrium. Arguments and errors as `schedule_on_top`; masses count
    whole creators.

    Raises
    ------
    InfeasibleError
        a single creator, who gets the whole pot for any output

    Examples
    --------
    >>> pot = pot_on_top([1, 1], [2, 1], budget=1.0, cost=PowerCost(2), price=2.0)
    >>> pot.output.round(4).tolist(), round(float(pot.payment.sum()), 9)
    ([0.5956, 1.1032], 1.0)
    """
    f, h = _checked(mass, difficulty, budget, cost, price)
    if (f != np.floor(f)).any():
        raise ValueError(
            f"the pot is shared by whole creators: mass has {float(f[f != np.floor(f)][0])!r}"
        )
    if f.sum() < 2:
        raise InfeasibleError(
            "a single creator has no equilibrium: any output above 0 takes the whole pot"
        )
    if budget == 0:
        unpaid = cost.inverse_derivative(price / h)
        return OnTop(unpaid, np.zeros(f.size), float(f @ unpaid))

    def shares(total: float) -> Floats:
        low, high = np.zeros(f.size), np.ones(f.size)
        for _ in range(_HALVINGS):
            y = (low + high) / 2
            if not ((low < y) & (y < high)).any():
                break
            short = h * cost.derivative(y * total) < price + budget / total * (1 - y)
            low, high = np.where(short, y, low), np.where(short, high, y)
        return low

    total = _crossing(lambda size: 1 - float(f @ shares(size)))
    y = shares(total)
    return OnTop(y * total, y * budget, total)


def _checked(
    mass: npt.ArrayLike, difficulty: npt.ArrayLike, budget: float, cost: PowerCost, price: float
) -> tuple[Floats, Floats]:
    f, h = (np.atleast_1d(np.asarray(column, dtype=np.float64)) for column in (mass, difficulty))
    if f.ndim != 1 or f.shape != h.shape or f.size == 0:
        raise ValueError(
            f"mass and difficulty must have one shape (m,) with m >= 1, not {f.shape} and {h.shape}"
        )
    for name, column, bad, rule in (
        ("mass", f, ~((f > 0) & (f < np.inf)), "finite and above 0"),
        ("difficulty", h, ~((h > 0) & (h < np.inf)), "finite and above 0"),
        (
            "difficulty",
            h,
            np.append(False, h[1:] >= h[:-1]),
            "strictly falling, the most able type last",
        ),
    ):
        if bad.any():
            row = int(np.argmax(bad))
            raise ValueError(f"{name} must be {rule}: row {row} is {float(column[row])!r}")
    for name, value in (("budget", budget), ("price", price)):
        if not 0 <= value < math.inf:
            raise ValueError(f"{name} must be finite and at least 0, not {value!r}")
    if not cost.k > 1:
        raise ValueError(
            f"the exponent of the cost must be above 1, not {cost.k!r}: at a linear cost any price"
            " buys nothing or everything"
        )
    return f, h


def _levels(
    tail: Floats, hard: Floats, price: float, theta: float, cost: PowerCost
) -> tuple[npt.NDArray[np.intp], Floats]:
    """First type and output of every block at one theta: adjacent violators pooled."""
    tails, hards = tail.tolist(), hard.tolist()
    size = len(tails) - 1
    starts: list[int] = []
    slopes: list[float] = []
    for k in range(size):
        start, slope = k, _block(tails, hards, price, theta, k, k + 1)
        while slopes and slopes[-1] >= slope:
            start = starts.pop()
            slopes.pop()
            slope = _block(tails, hards, price, theta, start, k + 1)
        starts.append(start)
        slopes.append(slope)
    return np.array(starts, dtype=np.intp), cost.inverse_derivative(np.array(slopes))


def _block(
    tail: list[float], hard: list[float], price: float, theta: float, start: int, end: int
) -> float:
    """Marginal cost of the block of types start..end-1: below where type `end` would go by itself,
    or beyond.
    """
    before, after = tail[start], tail[end]
    slope = (price + theta * (before - after) / before) / hard[start]
    if after == 0 or slope * hard[end] <= price:
        return slope
    return (theta + price) * (before - after) / (before * hard[start] - after * hard[end])


def _loss(h: Floats | float, x: Floats | float, price: float, cost: PowerCost) -> Floats:
    """L: what producing at least x costs a type of difficulty h, beyond what it earns by the price,
    above its own best output.

    With own output o and d = x/o - 1 > 0 this is h o^k ((1 + d)^k - 1 - k d), of order d^2: summed
    as a series where d is small, for there the difference would lose all its digits.
    """
    if price == 0:
        return np.asarray(h * cost.value(np.asarray(x)))
    own = cost.inverse_derivative(np.asarray(price / np.asarray(h)))
    moved = np.maximum(x / own - 1, 0.0)
    small = np.minimum(moved, _SMALL)
    term, series = cost.k * small, np.zeros_like(moved)
    for n in range(2, _TERMS):
        term = term * (cost.k - n + 1) / n * small
        series += term
    beyond = np.where(moved <= _SMALL, series, cost.value(1 + moved) - 1 - cost.k * moved)
    return np.asarray(price * own / cost.k * beyond)


def _bonuses(h: Floats, x: Floats, price: float, cost: PowerCost) -> Floats:
    before = np.append(0.0, x[:-1])
    return np.cumsum(_loss(h, x, price, cost) - _loss(h, before, price, cost))


def _spend(
    tail: Floats, h: Floats, price: float, cost: PowerCost, starts: npt.NDArray[np.intp], x: Floats
) -> float:
    return float(tail[starts] @ np.diff(_bonuses(h[starts], x, price, cost), prepend=0.0))


def _reach(h: float, before: float, money: float, price: float, cost: PowerCost) -> float:
    """Largest output to which `money` moves a type of difficulty h that is at `before` or at its
    own best output.
    """
    own = max(before, float(cost.inverse_derivative(np.asarray(price / h))))
    return _crossing(lambda x: _step(h, before, x, price, cost) - money, own)


def _step(h: float, before: float, after: float, price: float, cost: PowerCost) -> float:
    """What going from one output to another costs a type."""
    return float(_loss(h, after, price, cost) - _loss(h, before, price, cost))


def _temptation(
    own_x: Floats, own_r: Floats, x: Floats, r: Floats, h: Floats, price: float, cost: PowerCost
) -> float:
    """Largest gain of a type by any of the published levels or none, relative to the largest
    bonus.
    """
    own = own_r - _loss(h, own_x, price, cost)
    gain = 0.0
    for level, bonus in [(0.0, 0.0), *zip(x.tolist(), r.tolist(), strict=True)]:
        gain = max(gain, float((bonus - _loss(h, level, price, cost) - own).max()))
    return gain / (float(r.max(initial=0.0)) or 1.0)


def _crossing(excess: Callable[[float], float], low: float = 0.0) -> float:
    """Largest float from `low` on at which a rising function is not above 0 (it is not at
    `low`).
    """
    high = 2 * low or 1.0
    while excess(high) <= 0:
        low, high = high, 2 * high
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if not low < middle < high:
            break
        low, high = (middle, high) if excess(middle) <= 0 else (low, middle)
    return low
