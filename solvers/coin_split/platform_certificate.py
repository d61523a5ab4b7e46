"""Judge a split of all coins of the platform: is it allowed, and how much better could any other
be, at any total?

Belongs here: the platform's problem, stated anew, and a bound on its optimum over every total. Does
not: any solver. Nothing here knows how a split was found. One video's coins are judged in
`certificate`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from heapq import heappop, heappush

import numpy as np
import numpy.typing as npt

from solvers.arrays import Floats, column_of, refuse
from solvers.coin_split.certificate import checked_videos, largest_violation

_EMPTY = 1e-12
"""An edge whose ends cross by no more than this part is a point."""
_TOLERANCE = 5e-11
"""A bound this near to the value, as a part of what the objective can vary, is near enough."""
_NEXT = 1 + 1e-13
"""Totals nearer to each other than this factor are the same."""
_ENOUGH = 5e-12
"""A price is good enough when another could lower the bound by this part of what the objective can
vary at most.
"""
_ROWS_AT_ONCE = 5_000
"""Videos handled together: few enough that the temporaries stay in the processor's cache."""
_MOST_TOTALS, _MOST_PRICES, _MOST_STEPS = 400, 100, 8


@dataclass(frozen=True, eq=False)
class PlatformCertificate:
    """Whether a split of all coins is allowed, what it is worth, and a proof of how much more any
    other could be.

    Attributes
    ----------
    primal_residual : largest violation: shares in parts of 1, a payout in parts of the video's
        coins, the total in parts of all coins
    value : the objective
    upper_bound : no split that keeps the constraints has a larger value; -inf where none keeps them
    gap : (upper_bound - value) / max(|value|, the most that the objective can vary between two
        splits), at least 0
    total : sum of the payouts
    totals : how many totals the bound was taken at
    """

    primal_residual: float
    value: float
    upper_bound: float
    gap: float
    total: float
    totals: int


def certify_platform_split(
    normal_share: npt.ArrayLike,
    premium_share: npt.ArrayLike,
    normal: npt.ArrayLike,
    premium: npt.ArrayLike,
    *,
    utility_weight: npt.ArrayLike,
    incentive_weight: npt.ArrayLike,
    efficiency_share: npt.ArrayLike,
    lambda_eff: float,
    normal_max: npt.ArrayLike,
    premium_max: npt.ArrayLike,
    min_gap: npt.ArrayLike,
    max_gap: npt.ArrayLike,
    revenue_floor: float,
    payout_cap: float | None = None,
    payout_min: npt.ArrayLike | None = None,
    payout_max: npt.ArrayLike | None = None,
    epsilon: float = 1.0,
) -> PlatformCertificate:
    r"""Judge any split of the platform's coins against the problem of
    `solvers.coin_split.split_platform`.

    Let s be the largest efficiency share less one's own, and D(t, m) the largest value of
    :math:`\sum b \log(\varepsilon + y) + c\,(x_p - x_n) - (m + t s) y` over each video's own
    bounds. D is convex, and falls in t. No split with total T is worth more than

    .. math:: \lambda_{eff} \max_v s_v + D(\lambda_{eff} / T, m) + m T \quad \text{for any } m .

    Between two totals at which (t, m) was chosen, D is at most its chord, and m T moves along it as
    the quotient of two lines: the largest sum is at an end or where its slope is 0. Below the
    smallest total, D is at most what it is there. Whatever (t, m) are, the bound holds; they only
    have to be good for it to be tight. Totals are added where the bound is largest until it is
    within 5e-11 of what some split is worth, or 400 of them are used up.

    Parameters are the shares x_n and x_p of each video, then those of `split_platform`.

    Returns
    -------
    PlatformCertificate

    Raises
    ------
    ValueError
        shapes that do not fit, or a parameter that is negative or not finite; names it

    Source: the donation document, section 5; docs/formulas.md section 3.

    Examples
    --------
    >>> knobs = dict(utility_weight=0.5, incentive_weight=0, efficiency_share=[1, 0], lambda_eff=1,
    ...              normal_max=0.6, premium_max=0.8, min_gap=0, max_gap=0.4, revenue_floor=0)
    >>> judged = certify_platform_split([0.0, 0.0], [0.4, 0.5], 100, 50, **knobs)
    >>> round(judged.value, 3), judged.total, round(judged.primal_residual, 3)
    (3.596, 45.0, 0.1)
    >>> round(judged.upper_bound, 3), round(judged.gap, 3)
    (5.115, 0.271)
    """
    x_n, x_p, column = checked_videos(
        normal_share,
        premium_share,
        normal=normal,
        premium=premium,
        utility_weight=utility_weight,
        incentive_weight=incentive_weight,
        efficiency_share=efficiency_share,
        normal_max=normal_max,
        premium_max=premium_max,
        min_gap=min_gap,
        max_gap=max_gap,
        payout_min=0.0 if payout_min is None else payout_min,
    )
    refuse(np.isnan(x_n + x_p), "shares must be numbers", x_n + x_p)
    most = column_of(math.inf if payout_max is None else payout_max, "payout_max", x_n.size)
    coins = column["normal"] + column["premium"]
    pay = x_n * column["normal"] + x_p * column["premium"]
    total, all_coins = float(pay.sum()), float(coins.sum())
    limit = min(all_coins - revenue_floor, math.inf if payout_cap is None else payout_cap)

    # --- is it allowed, and what is it worth
    outside = np.maximum(column["payout_min"] - pay, pay - most) / np.where(coins > 0, coins, 1.0)
    broken = max(
        float(largest_violation(x_n, x_p, column, coins).max(initial=0.0)),
        float(outside.max(initial=0.0)),
        (total - limit) / all_coins if all_coins > 0 else 0.0,
    )
    value = float(
        (column["utility_weight"] * np.log(epsilon + np.maximum(pay, 0.0))).sum()
        + (column["incentive_weight"] * (x_p - x_n)).sum()
    )
    if total > 0:
        value += lambda_eff * float(column["efficiency_share"] @ pay) / total

    # --- what any other could be worth
    with np.errstate(divide="ignore", invalid="ignore", over="ignore", under="ignore"):
        dual = _Dual(column, most, float(lambda_eff), float(epsilon))
        bound, totals = _highest(dual, total, limit, value)
    return PlatformCertificate(
        primal_residual=broken,
        value=value,
        upper_bound=bound,
        gap=max(bound - value, 0.0) / max(abs(value), dual.span, 1e-150),
        total=total,
        totals=totals,
    )


# --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Point:
    """A point of the dual: D(t, m) = value; `total` is the one that it was chosen for, t = lambda /
    total.
    """

    total: float
    t: float
    m: float
    value: float

    @property
    def bound(self) -> float:
        """On what is worth a split with this total."""
        return self.value + self.m * self.total


class _Dual:
    """D(t, m) of all videos, and the range of the total.

    A video is best off where, at its pay, x_p - x_n is as wide as it can be: x_n lower and x_p
    higher, at equal pay, is allowed until x_n = 0, x_p - x_n = max_gap or x_p = premium_max. So it
    is on one of those three lines, each cut to what the other constraints leave of it; on a line
    the best point is in closed form. A line is pay = start + rate s, gap = level + turn s.
    """

    def __init__(
        self, column: dict[str, Floats], payout_max: Floats, lambda_eff: float, epsilon: float
    ) -> None:
        normal, premium = column["normal"], column["premium"]
        top, widest, narrowest = column["premium_max"], column["max_gap"], column["min_gap"]
        nothing, coins = np.zeros_like(normal), normal + premium
        self.start = np.stack([nothing, widest * premium, top * premium])
        self.rate = np.stack([premium, coins, normal])
        level = np.stack([nothing, widest, top])
        self.turn = np.array([[1.0], [0.0], [-1.0]])
        lo = np.stack([narrowest, nothing, np.maximum(0.0, top - widest)])
        hi = np.stack(
            [
                np.minimum(top, widest),
                np.minimum(column["normal_max"], top - widest),
                np.minimum(column["normal_max"], top - narrowest),
            ]
        )
        hi[1, narrowest > widest] = -math.inf

        # --- bounds on the pay
        least = np.where(
            self.rate > 0,
            (column["payout_min"] - self.start) / self.rate,
            np.where(self.start >= column["payout_min"] - _EMPTY * coins, -math.inf, math.inf),
        )
        most = np.where(
            self.rate > 0,
            (payout_max - self.start) / self.rate,
            np.where(self.start <= payout_max + _EMPTY * coins, math.inf, -math.inf),
        )
        self.lo, hi = np.maximum(lo, least), np.minimum(hi, most)
        alive = hi >= self.lo - _EMPTY
        self.hi = np.maximum(hi, self.lo)
        self.feasible = bool(alive.any(axis=0).all())
        self.lo[~alive] = self.hi[~alive] = 0.0
        self.fixed = np.where(alive, column["incentive_weight"] * level, -math.inf)

        # --- the range of every video's pay, of the total and of the objective
        lowest = np.where(alive, self.start + self.rate * self.lo, math.inf).min(
            axis=0, initial=math.inf
        )
        highest = np.where(alive, self.start + self.rate * self.hi, 0.0).max(axis=0, initial=0.0)
        self.least, self.most = float(lowest.sum()), float(highest.sum())
        self.weight, self.incentive = column["utility_weight"], column["incentive_weight"]
        self.epsilon, self.lambda_eff = epsilon, lambda_eff
        share = column["efficiency_share"]
        top_share = float(share[highest > 0].max(initial=0.0))
        self.short = np.where(highest > 0, top_share - share, 0.0)
        self.constant = lambda_eff * top_share
        self.unequal = lambda_eff * float(self.short.max(initial=0.0))
        varies = self.weight @ np.log((epsilon + highest) / (epsilon + lowest))
        self.span = self.unequal + float(varies) + float(self.incentive @ np.minimum(top, widest))

    def at(self, t: float, m: float) -> tuple[float, float, float]:
        """D, what the videos are paid there in all, and how that changes with m."""
        value = paid = slope = 0.0
        for first in range(0, self.short.size, _ROWS_AT_ONCE):
            rows = slice(first, first + _ROWS_AT_ONCE)
            start, rate, weight = self.start[:, rows], self.rate[:, rows], self.weight[rows]
            own = m + t * self.short[rows]
            price = rate * own - self.turn * self.incentive[rows]
            wish = np.where(
                price > 0, (weight * rate / price - self.epsilon - start) / rate, math.inf
            )
            wish[np.isnan(wish)] = -math.inf
            lo, hi = self.lo[:, rows], self.hi[:, rows]
            s = np.clip(wish, lo, hi)
            pay = start + rate * s
            worth = weight * np.log(self.epsilon + pay) + self.fixed[:, rows]
            worth -= own * start + price * s
            best = worth.argmax(axis=0), np.arange(worth.shape[1])
            value += float(worth[best].sum())
            paid += float(pay[best].sum())
            # on a line the pay is weight rate / price - epsilon, where no end of it stops that
            moves = (lo[best] < wish[best]) & (wish[best] < hi[best])
            slope -= float((weight * (rate[best] / price[best]) ** 2)[moves].sum())
        return value, paid, slope

    def point(
        self, total: float, guess: float, step: float = 0.0, *, best: float = -math.inf
    ) -> _Point:
        """The best m found for a total, looked for within about a step of a guess: every one that
        is tried gives a bound, the least is kept. A bound that is not above `best`, which some
        split is worth, need not be lower.
        """
        t = self.lambda_eff / total if self.unequal > 0 else 0.0
        wanted = min(max(total, self.least * (1 + 1e-15)), self.most * (1 - 1e-15))
        search = _Search(self, total, t, wanted, best)

        # --- steps of Newton, each as long as it at least halves what is off
        off = search.off(guess)
        for _ in range(_MOST_STEPS):
            if off == 0 or not search.slope < 0:
                break
            further = guess - off / search.slope
            still = search.off(further)
            if still == 0 or not abs(still) <= abs(off) / 2:
                off = 0.0 if still == 0 else off
                break
            guess, off = further, still

        # --- else a bracket around the m at which the videos want this total, and then the m
        sizes = (abs(guess), t * float(self.short.max()), self.span / self.most)
        step, other = step or max(sizes) / 8 or 1.0, math.nan
        while off != 0 and step < 1e300:
            further = guess + step if off > 0 else guess - step
            other = search.off(further)
            if other == 0 or (other > 0) != (off > 0):
                break
            guess, step = further, 4 * step
        if off * other < 0:
            from scipy.optimize import brentq

            brentq(
                search.off,
                guess,
                further,
                xtol=1e-300,
                rtol=1e-12,
                maxiter=_MOST_PRICES,
                disp=False,
            )
        return search.best


class _Search:
    """Prices tried for one total: the best bound of them, and when that is good enough.

    The videos want less at a higher price, so the best price lies between the dearest one at which
    they want too much and the cheapest at which they want too little. D is convex: what the bound
    may still fall is at most that distance times what is off, and near its minimum half the square
    of what is off over the slope.
    """

    def __init__(self, dual: _Dual, total: float, t: float, wanted: float, reached: float) -> None:
        self.dual, self.wanted, self.reached = dual, wanted, reached
        self.best = _Point(total, t, math.nan, math.inf)
        self.slope = math.nan
        self.low, self.high = -math.inf, math.inf

    def off(self, m: float) -> float:
        """How much more than the total is wanted at a price; 0 where that is good enough."""
        value, paid, self.slope = self.dual.at(self.best.t, m)
        if not value + m * self.best.total >= self.best.bound:
            self.best = _Point(self.best.total, self.best.t, m, value)
        off = paid - self.wanted
        if off > 0:
            self.low = max(self.low, m)
        else:
            self.high = min(self.high, m)
        enough = _ENOUGH * self.dual.span
        if self.best.bound <= self.reached:
            return 0.0
        smooth = self.slope < 0 and off * off <= -2 * enough * self.slope
        return 0.0 if smooth or abs(off) * (self.high - self.low) <= enough else off


def _highest(dual: _Dual, total: float, limit: float, value: float) -> tuple[float, int]:
    """The bound over all totals, and how many were looked at."""
    largest = min(dual.most, limit)
    if not dual.feasible or largest < dual.least * (1 - _EMPTY):
        return -math.inf, 0
    if largest <= 0:
        return max(dual.at(0.0, 1e30)[0], value), 1  # nobody is paid anything
    if dual.unequal == 0:
        # concave in the total: one price, at least 0, is best for all of them
        point = dual.point(max(largest, dual.least), 0.0)
        bound = point.bound if point.m > 0 else dual.at(0.0, 0.0)[0]
        return max(bound + dual.constant, value), 1
    near, best = _TOLERANCE * max(abs(value), dual.span), value - dual.constant

    # --- always the interval with the largest bound
    nodes: list[_Point] = []
    if dual.least < total < largest * (1 - 1e-12):
        nodes.append(dual.point(total, 0.0))
    nodes.insert(0, dual.point(largest, nodes[0].m if nodes else 0.0, best=best))
    best = max(best, *(point.bound for point in nodes))
    open_: list[tuple[float, float, _Point | None, _Point]] = []
    used = len(nodes)

    def add(below: _Point | None, above: _Point) -> None:
        bound = _chord(dual.lambda_eff, below, above) if below else _ray(dual.least, above)
        heappush(open_, (-bound, above.total, below, above))

    for below, above in zip([*nodes[1:], None], nodes, strict=True):
        add(below, above)
    settled = -math.inf
    while open_ and used < _MOST_TOTALS:
        negative, _, below, above = heappop(open_)
        low = below.total if below else max(dual.least, 1e-3 * above.total)
        middle = math.sqrt(low) * math.sqrt(above.total)
        if -negative <= best + near or not low * _NEXT < middle < above.total / _NEXT:
            settled = max(settled, -negative)
            continue
        guess, step = (
            (above.m, 0.0)
            if below is None
            else ((below.m + above.m) / 2, abs(below.m - above.m) / 8)
        )
        point = dual.point(middle, guess, step, best=best)
        used, best = used + 1, max(best, point.bound)  # some split with its total is worth that
        add(below, point)
        add(point, above)
    bound = max(settled, *(-negative for negative, *_ in open_), -math.inf)
    return max(bound + dual.constant, value), used


def _chord(lambda_eff: float, below: _Point, above: _Point) -> float:
    """The largest, for x in [0, 1], of the chord of D and of m(x) lambda / t(x)."""
    rise = below.value - above.value
    turn = lambda_eff * (below.m * above.t - above.m * below.t)
    candidates = [above.bound, below.bound]
    if turn > 0 > rise:
        t = math.sqrt(turn / -rise)
        x = (t - above.t) / (below.t - above.t)
        if 0 < x < 1:
            m = (1 - x) * above.m + x * below.m
            candidates.append(above.value + x * rise + m * lambda_eff / t)
    return max(candidates)


def _ray(least: float, above: _Point) -> float:
    """Below a total D is at most what it is there."""
    return above.value + max(above.m * above.total, above.m * least)
