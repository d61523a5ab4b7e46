"""Split one advertising pool among videos: fairness and efficiency, floors and caps, one
multiplier.

Belongs here: the two objectives of docs/formulas.md section 2 for a pool in memory. Does not: the
search itself (`price_search`), how a share is measured, when a pool is carried to the next day, and
whole micros (`solvers.apportion`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from solvers.ad_pool.inputs import Objective
from solvers.ad_pool.price_search import Price, search
from solvers.ad_pool.problem import (
    BARELY_A_NUMBER,
    ROUNDING,
    checked_pool,
    checked_rows,
    sum_near,
    terms,
)
from solvers.arrays import Floats
from solvers.errors import InfeasibleError


@dataclass(frozen=True, eq=False)
class PoolAllocation:
    """What every video gets from the pool.

    Attributes
    ----------
    payout : (n,) array, in the unit of the pool; sums to the pool
    multiplier : worth of the last unit of the *normalised* pool, nu in the equations of
        `allocate_pool` (0 where money is left over for videos without views, and for an empty pool;
        infinite where a floor of 0 is forced on a video with views)
    residual : largest violation of the optimality conditions by `payout`, relative: |sum -
        pool|/pool, bounds broken / pool, and |gradient - nu| / max(gradient, nu) wherever no bound
        explains the difference
    passes : sweeps over n rows that the search took; a step over the part of the rows that is still
        open counts as that part
    """

    payout: Floats
    multiplier: float
    residual: float
    passes: int


def allocate_pool(
    pool: float,
    share: npt.ArrayLike,
    *,
    alpha: float = 0.5,
    lambda_fair: float = 0.5,
    lambda_eff: float = 0.5,
    objective: Objective = "blend",
    floor: npt.ArrayLike | None = None,
    cap: npt.ArrayLike | None = None,
) -> PoolAllocation:
    r"""Split `pool` among n videos by share, weighing fairness against efficiency.

    With :math:`s_v` the share normalised to sum 1, :math:`w_v = s_v^\alpha` and :math:`y_v = p_v /
    P`,

    .. math:: \max_p \; \lambda_f \sum_v w_v \log p_v + \lambda_e \sum_v s_v p_v / P \qquad
              \text{("linear")}

    .. math:: \max_p \; \sum_v a_v \log p_v, \quad a_v = \lambda_f w_v / \textstyle\sum_u w_u +
              \lambda_e s_v \qquad \text{("blend")}

    both subject to :math:`\sum_v p_v = P` and :math:`\text{floor}_v \le p_v \le \text{cap}_v`.
    Solutions: :math:`y_v = \text{clip}(\lambda_f w_v / (\nu - \lambda_e s_v))` (at the cap where
    :math:`\nu \le \lambda_e s_v`) and :math:`y_v = \text{clip}(a_v / \nu)`. "blend" has both
    special cases of the document: lambda_eff alone pays P s, lambda_fair alone pays in proportion
    to w. "linear" is the document's own; with lambda_fair = 0 it is a linear program.

    Parameters
    ----------
    pool : money to give out, any unit, at least 0
    share : (n,) effective impressions or any multiple of them, at least 0
    alpha : fairness exponent, in (0, 1]
    lambda_fair, lambda_eff : weights of the two goals, at least 0, not both 0; they need not sum to
        1
    objective : "blend" or "linear"
    floor, cap : bounds in money, one number or (n,); None is no bound, and a cap may be infinite

    Returns
    -------
    PoolAllocation

    Raises
    ------
    InfeasibleError
        sum of floors above the pool, sum of caps below it, a floor above its cap, a negative floor
    ValueError
        anything else that is not a number of the kind asked for; names the row

    Notes
    -----
    Rows with cap 0 leave the problem before anything is normalised. Rows without share get their
    floor, and share as equally as their bounds allow only what no other row can absorb (so if every
    share is 0, that is the whole pool). With lambda_fair = 0, "linear" fills the largest share to
    its cap first; equal shares at the margin are paid as equally as their bounds allow, the limit
    for lambda_fair -> 0.

    Source: the ad revenue document, section 3 (the program and its two special cases);
    docs/formulas.md section 2 (blend, edges).

    Examples
    --------
    >>> allocate_pool(100.0, [1, 4, 16], lambda_eff=0.0).payout.round(2).tolist()
    [14.29, 28.57, 57.14]
    >>> allocate_pool(100.0, [1, 4, 16], lambda_eff=0.0, cap=50.0).payout.round(2).tolist()
    [16.67, 33.33, 50.0]
    """
    pool = checked_pool(pool, alpha, lambda_fair, lambda_eff, objective)
    shares, lo, hi = checked_rows(share, floor, cap)
    n = shares.size
    floors, caps = sum_near(lo, pool), sum_near(hi, pool)
    if floors > pool * (1 + ROUNDING):
        raise InfeasibleError(f"the floors add up to {floors!r}, more than the pool of {pool!r}")
    if caps < pool * (1 - ROUNDING):
        raise InfeasibleError(f"the caps add up to {caps!r}, less than the pool of {pool!r}")
    if pool == 0 or n == 0:
        return PoolAllocation(np.zeros(n), 0.0, 0.0, 1)

    # the terms of the objective: a_v log p_v + b s_v p_v / pool
    live = hi > 0
    s, a, b = terms(np.where(live, shares, 0.0), alpha, lambda_fair, lambda_eff, objective)
    earns = (a > 0) | (b * s > 0)
    idle = live & ~earns
    passes = 4.0

    # the feasible set is one point
    if floors >= pool * (1 - ROUNDING):
        with np.errstate(divide="ignore"):
            prices = a[earns] / (lo[earns] / pool) + b * s[earns]
        return _result(
            lo.copy(), float(prices.max(initial=0.0)), (pool, s, a, b, lo, hi), passes, forced=True
        )
    if caps <= pool * (1 + ROUNDING):
        prices = a[earns] / (hi[earns] / pool) + b * s[earns]
        nu = 0.0 if idle.any() or not earns.any() else float(prices.min())
        return _result(hi.copy(), nu, (pool, s, a, b, lo, hi), passes, forced=True)

    # money that only rows without share can take
    payout = np.where(earns, hi, lo)
    left_over = pool - float(payout.sum())
    if left_over >= -ROUNDING * pool:
        if left_over > 0 and idle.any():
            equal = _equal(lo[idle], hi[idle], left_over)
            payout[idle] = equal.payout
            passes += equal.passes * equal.payout.size / n
        return _result(payout, 0.0, (pool, s, a, b, lo, hi), passes)

    # the rows with share divide the rest
    room = pool - floors
    if room < 1e-3 * pool:
        room = math.fsum(np.append(-lo, pool))
    every = bool(earns.all())
    a_, s_, lo_, hi_ = (x if every else x[earns] for x in (a, s, lo, hi))
    split = (
        _search(pool * a_, b, s_, lo_, hi_, room=room)
        if a.any()
        else _greedy(b, s_, lo_, hi_, room)
    )
    payout[earns] = split.payout
    return _result(
        payout, split.multiplier, (pool, s, a, b, lo, hi), passes + split.passes * a_.size / n
    )


# --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Split:
    payout: Floats
    multiplier: float
    passes: float


def _search(a: Floats, b: float, s: Floats, lo: Floats, hi: Floats, *, room: float) -> _Split:
    """Payouts p = clip(a / (nu - b s), lo, hi) with sum(p - lo) = room."""
    rows = _Rows(a, b, s, lo, hi, room)
    price = search(rows)
    return _Split(rows.payout(price), price.multiplier(b), rows.passes)


class _Rows:
    """All rows in memory; counts the sweeps over them."""

    def __init__(self, a: Floats, b: float, s: Floats, lo: Floats, hi: Floats, room: float) -> None:
        self.a, self.gain, self.s, self.lo, self.hi, self.room = a, b, s, lo, hi, room
        self._levels: list[_Level] = []
        self._other_passes = 2

    @property
    def passes(self) -> float:
        return sum(level.passes for level in self._levels) + self._other_passes

    def largest_share(self) -> float:
        return float(self.s.max())

    def about(self, reference: float) -> _Level:
        c = self.gain * (reference - self.s)
        self._levels.append(_Level(self.a, c, self.lo, self.hi, self.room))
        return self._levels[-1]

    def unsettled(self, reference: float, least: float, largest: float) -> float | None:
        self._other_passes += 1
        c = self.gain * (reference - self.s)
        with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
            unsettled = (self.a / self.hi - c <= largest) & ~(self.a / self.lo - c < least)
        return float(self.s[unsettled].max()) if unsettled.any() else None

    def between_bounds(self, price: Price) -> tuple[float, float]:
        payout, free = self._plain = price.plain(self.a, self.s, self.lo, self.hi, self.gain)
        have = float(payout[free].sum())
        return have, (
            self.room - float((payout - self.lo)[~free].sum()) + float(self.lo[free].sum())
        )

    def payout(self, price: Price) -> Floats:
        """What the rows are paid; `between_bounds` was asked about the same price."""
        return price.spread(*self._plain, self.lo, self.hi)


class _Level:
    """The rows about one reference. One is dropped as soon as the bracket shows at which bound it
    ends; middles are medians of the kinks still open, each of which halves them.
    """

    def __init__(self, a: Floats, c: Floats, lo: Floats, hi: Floats, room: float) -> None:
        with np.errstate(divide="ignore", over="ignore"):
            most = np.minimum(hi, lo + room)
            leaves_cap, meets_floor = a / most - c, a / lo - c
        self.room, self.passes = room, 1.0
        self._open = a, c, lo, most, leaves_cap, meets_floor
        self._limited, self._n = most < hi, a.size
        self._kinks, self._inside = -1, [leaves_cap, meets_floor]

    def bracket(self) -> tuple[float, float]:
        a, c, _, _, leaves_cap, _ = self._open
        unlimited = leaves_cap[self._limited]
        left = max(float(leaves_cap.min()), float(unlimited.max(initial=-math.inf)))
        return left, float(a.sum()) / self.room - float(c.min())

    def at(self, d: float, left: float, right: float) -> _Sums:
        a, c, lo, most, leaves_cap, meets_floor = self._open
        self.passes += a.size / self._n
        capped, floored = d <= leaves_cap, d >= meets_floor
        free = ~(capped | floored)
        all_free = bool(free.all())
        distance = d + (c if all_free else c[free])
        p = (a if all_free else a[free]) / distance
        want = (
            self.room
            - float((most[capped] - lo[capped]).sum())
            + float((lo if all_free else lo[free]).sum())
        )
        nearest = float(distance.min(initial=math.inf))
        return _Sums(float(p.sum()), want, float((p * (nearest / distance)).sum()), nearest)

    def narrow(self, left: float, right: float, sums: _Sums) -> int:
        if not self._kinks:
            return 0
        a, _, lo, most, leaves_cap, meets_floor = self._open
        keep = (leaves_cap < right) & (meets_floor > left)
        if np.count_nonzero(keep) < 0.75 * a.size:
            at_cap = leaves_cap >= right
            self.room -= float((most[at_cap] - lo[at_cap]).sum())
            a, c, lo, most, leaves_cap, meets_floor = (column[keep] for column in self._open)
            self._open = a, c, lo, most, leaves_cap, meets_floor
        self._inside = [x[(left < x) & (x < right)] for x in (leaves_cap, meets_floor)]
        self._kinks = self._inside[0].size + self._inside[1].size
        return self._kinks

    def middle(self, left: float, right: float) -> float:
        half = self._kinks // 2
        return float(np.partition(np.concatenate(self._inside), half)[half])


@dataclass(frozen=True)
class _Sums:
    """What free rows are paid at some d and ought to be; `nearest`, the least distance from the
    pole, is taken out of the slope sum(p / distance), which would overflow.
    """

    have: float
    want: float
    bend: float
    nearest: float

    @property
    def gap(self) -> float:
        return self.have - self.want

    def newton(self) -> float:
        if not (self.bend > 0 and self.want > 0):
            return math.nan
        return (self.have / self.want) * (self.gap / self.bend) * self.nearest


def _equal(lo: Floats, hi: Floats, room: float) -> _Split:
    ones = np.ones(lo.size)
    return _search(ones, 0.0, ones, lo, hi, room=room)


def _greedy(b: float, s: Floats, lo: Floats, hi: Floats, room: float) -> _Split:
    """The linear program: the largest shares to their caps, the last level of equal shares paid as
    equally as its bounds allow.
    """
    order = np.argsort(-s, kind="stable")
    filled = np.cumsum(np.minimum(hi - lo, room)[order])
    level = float(s[order[min(int(np.searchsorted(filled, room)), s.size - 1)]])
    payout = np.where(s > level, hi, lo)
    tie = s == level
    left_over = room - float((payout - lo).sum())
    passes = math.log2(s.size + 1) + 4
    if left_over > 0:
        if left_over >= float((hi - lo)[tie].sum()):
            payout[tie] = hi[tie]
        else:
            equal = _equal(lo[tie], hi[tie], left_over)
            payout[tie] = equal.payout
            passes += equal.passes * equal.payout.size / s.size
    return _Split(payout, b * level, passes)


# --------------------------------------------------------------------------------------------------


def _result(
    payout: Floats,
    nu: float,
    problem: tuple[float, Floats, Floats, float, Floats, Floats],
    passes: float,
    forced: bool = False,
) -> PoolAllocation:
    pool, s, a, b, lo, hi = problem
    broken = max(float(np.max(lo - payout, initial=0.0)), float(np.max(payout - hi, initial=0.0)))
    residual = max(abs(float(payout.sum()) - pool), broken) / pool
    if not forced:
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            gradient = np.where(a > 0, a / (payout / pool), 0.0) + b * s
            off = (gradient - nu) / np.maximum(np.maximum(gradient, nu), np.finfo(np.float64).tiny)
        off[(a > 0) & ((a < BARELY_A_NUMBER) | (payout < BARELY_A_NUMBER))] = 0.0
        off[(payout <= lo) & (off < 0)] = 0.0
        off[(payout >= hi) & (off > 0)] = 0.0
        residual = max(residual, float(np.max(np.abs(off), initial=0.0)))
    return PoolAllocation(payout, nu, residual, math.ceil(passes))
