"""Split the coins gifted on the whole platform: every video at once, under one limit on what is paid out.

Belongs here: the program of docs/formulas.md section 5 and the proof that its answer is the best one. Does not: the weights (who counts
how much), how coins are counted, and the split of one video by itself (`solvers.coin_split`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from solvers.errors import InfeasibleError
from solvers.gap_chain import GapChain, gap_chain

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

_EPS = float(np.finfo(np.float64).eps)
_ROUNDING = 4 * _EPS
_NO_WEIGHT, _NO_PRICE = 1e-200, 1e-250
"""Stand-ins for 0 in weight / price: a video without utility weight takes all where its price is not above 0, else nothing."""
_ROWS_AT_ONCE = 1 << 14
"""Rows handled together: enough to keep numpy busy, few enough that the temporaries stay in the processor's cache."""
_LEAST_TOTAL = 1e-12
"""Totals below this part of the largest are not searched (the upper bound covers them)."""
_GAP = 1e-10
"""Where the search stops, as a part of the most that the objective can vary."""
_MAX_SOLVES, _MAX_PASSES, _MAX_POLISH = 400, 400, 12


@dataclass(frozen=True, eq=False)
class PlatformSplit:
    """The creators' shares of all coins, with a bound on what any other split could reach.

    Attributes
    ----------
    payout : (n,) coins to the creator, x_n N_n + x_p N_p
    normal_share, premium_share : (n,) fractions x_n and x_p that go to the creator
    total : sum of the payouts
    value : the objective
    upper_bound : no feasible split has a larger value (up to rounding)
    gap : (upper_bound - value) / max(|value|, the most that the objective can vary between two splits)
    multiplier : how much the objective grows with the next coin that revenue_floor or payout_cap lets go; 0 where neither binds
    local_maxima : (total, value) of the other local maxima that the search met, best first, as exactly as it needed to rule them out
    inner_solves : problems with a fixed total that were solved
    residual : largest violation of the first-order conditions by `payout`, relative to the sum of the terms they compare (about 1 where
        no split is best, see the notes)
    """

    payout: Floats
    normal_share: Floats
    premium_share: Floats
    total: float
    value: float
    upper_bound: float
    gap: float
    multiplier: float
    local_maxima: tuple[tuple[float, float], ...]
    inner_solves: int
    residual: float


def split_platform(
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
) -> PlatformSplit:
    r"""Best creator shares x_n, x_p of n videos together, proved best within 1e-8.

    With pay :math:`y_v = x_{n,v} N_{n,v} + x_{p,v} N_{p,v}`, total :math:`T = \sum_v y_v`, utility weight b, incentive weight c and
    efficiency share s,

    .. math:: \max \; \sum_v b_v \log(\varepsilon + y_v) + \lambda_{eff} \sum_v s_v y_v / T + \sum_v c_v (x_{p,v} - x_{n,v})

    over :math:`0 \le x_n \le x_n^{max}`, :math:`0 \le x_p \le x_p^{max}`, :math:`\delta_v \le x_p - x_n \le \Delta`,
    :math:`y^{min} \le y \le y^{max}`, :math:`T \le P_{max}` and :math:`\sum_v (N_v - y_v) \ge R_{min}`.

    The ratio makes this non-concave: it can have several local maxima. With T fixed it is concave and separable, each video in closed
    form given one multiplier; what remains is a search over T. Two solved totals bound every total between them (see Notes), so the
    search ends with a proof.

    Parameters
    ----------
    normal, premium : (n,) coins from unverified and from verified wallets, at least 0
    utility_weight : b, in the document lambda_fair w f(Q); at least 0
    incentive_weight : c, in the document lambda_inc omega; at least 0
    efficiency_share : s, at least 0; need not sum to 1
    lambda_eff : weight of the efficiency term, at least 0
    normal_max, premium_max : largest shares, in [0, 1]
    min_gap, max_gap : bounds on x_p - x_n, at least 0; min_gap is delta g(Q) where it depends on quality
    revenue_floor : R_min, coins that the platform keeps at least, over all videos
    payout_cap : P_max, coins paid out at most, over all videos; None is no cap
    payout_min, payout_max : coins per video; None is no bound
    epsilon : coins, above 0; where the logarithm bends

    Parameters that belong to a video are one number or have shape (n,).

    Returns
    -------
    PlatformSplit

    Raises
    ------
    InfeasibleError
        a video whose bounds contradict each other, or least payouts that add up to more than the floor and the cap leave
    ValueError
        a number outside its range, or shapes that do not fit; names the argument and the row

    Notes
    -----
    There is no revenue term in this objective, so the total mostly lands on the revenue floor: R_min is the real lever.

    At T = 0 the efficiency term is 0/0 and counts as 0. Where the objective only rises towards T = 0, it has no best split; the answer
    then pays 1e-12 of what it could. Multiplying coins, epsilon, R_min, P_max and the payout bounds by k adds log(k) sum(b) to the value
    and changes no share.

    Where several shares are equally good (no incentive weight, or coins of one kind only), the gap is as wide as the payout allows.

    Let D(t, m) be the largest value of sum b log(eps + y) + c gap + (t s - m) y over each video's own bounds: convex in (t, m). A split
    with total T is worth at most D(lambda_eff / T, m) + m T, with equality at the multiplier of T. Between two solved totals (t, m) may
    move along any straight line, on which D is at most its chord; the videos that stay inside one edge of their chain have a least
    curvature, which is taken off. Two lines are tried: from one solved point to the other, and from the better one in the direction in
    which its multiplier does not react. Below the smallest total solved there is the ray in the direction (1, max s), along which D never
    rises.

    Source: the donation document, section 5 (the program); docs/formulas.md section 5 (search over the total, interval bound, edges).

    Examples
    --------
    Two local maxima: pay the video with the efficiency share and hardly anyone else, or everyone all there is.

    >>> best = split_platform([100, 10000], [100, 10000], utility_weight=0.05, incentive_weight=0, efficiency_share=[1, 0], lambda_eff=1,
    ...                       normal_max=0.8, premium_max=0.8, min_gap=0, max_gap=0.8, revenue_floor=0)
    >>> best.payout.round(3).tolist(), round(best.value, 5), best.gap < 1e-8
    ([160.0, 7.799], 1.31632, True)
    >>> [(round(total), round(value, 5)) for total, value in best.local_maxima]
    [(16160, 0.74799)]
    """
    per_video, numbers = _checked(
        {
            "normal": normal,
            "premium": premium,
            "utility_weight": utility_weight,
            "incentive_weight": incentive_weight,
            "efficiency_share": efficiency_share,
            "normal_max": normal_max,
            "premium_max": premium_max,
            "min_gap": min_gap,
            "max_gap": max_gap,
            "payout_min": 0.0 if payout_min is None else payout_min,
            "payout_max": math.inf if payout_max is None else payout_max,
        },
        {
            "lambda_eff": lambda_eff,
            "revenue_floor": revenue_floor,
            "payout_cap": math.inf if payout_cap is None else payout_cap,
            "epsilon": epsilon,
        },
    )
    lambda_eff, revenue_floor, cap, epsilon = numbers
    with np.errstate(divide="ignore", invalid="ignore", over="ignore", under="ignore"):
        rows = _rows(per_video, epsilon)
        limit = _limit(per_video, rows, revenue_floor, cap)
        found = _search(rows, lambda_eff, min(rows.most, limit))
        return _result(per_video, rows, found, lambda_eff=lambda_eff, limit=limit)


# ---------------------------------------------------------------------------------------------------------- checks and rows


def _checked(per_video: dict[str, npt.ArrayLike], numbers: dict[str, float]) -> tuple[dict[str, Floats], list[float]]:
    for name, value in numbers.items():
        if name == "epsilon" and not 0 < float(value) < math.inf:
            raise ValueError(f"epsilon must be finite and above 0, not {float(value)!r}")
        if not float(value) >= 0 or (name != "payout_cap" and float(value) == math.inf):
            raise ValueError(f"{name} must be finite and at least 0, not {float(value)!r}")
    columns = {name: np.asarray(value, dtype=np.float64) for name, value in per_video.items()}
    sizes = {column.size for column in columns.values()}
    n = 0 if 0 in sizes else max(sizes)
    for name, column in columns.items():
        if column.shape not in ((), (1,), (n,)):
            raise ValueError(f"{name} must be one number or have shape ({n},), not {column.shape}")
        largest = 1.0 if name in ("normal_max", "premium_max") else math.inf
        bad = np.atleast_1d(~((column >= 0) & (column <= largest) & ((column < math.inf) | (name == "payout_max"))))
        if bad.any():
            row = int(np.argmax(bad))
            rule = "in [0, 1]" if largest == 1 else "at least 0" if name == "payout_max" else "finite and at least 0"
            raise ValueError(f"{name} must be {rule}: row {row} is {float(np.atleast_1d(column)[row])!r}")
    return {name: np.broadcast_to(column, (n,)) for name, column in columns.items()}, [float(value) for value in numbers.values()]


@dataclass(frozen=True, eq=False)
class _Rows:
    """The videos as the search sees them: pay plus epsilon, w, between w_lo and w_hi, with edges of the chain that meet at w_1 and w_2.

    The first edge is worth `rise` per coin, the second nothing, the third costs `fall`; the gap itself, times its weight, is the
    smallest of gap_0 + rise w, gap_1 and gap_2 - fall w. `deficit` is the largest efficiency share less one's own. `last_at_hi` and
    `next_at_lo` are what the last coin at w_hi and the next one at w_lo are worth.
    """

    weight: Floats
    deficit: Floats
    rise: Floats
    fall: Floats
    w_1: Floats
    w_2: Floats
    w_lo: Floats
    w_hi: Floats
    gap_0: Floats
    gap_1: Floats
    gap_2: Floats
    last_at_hi: Floats
    next_at_lo: Floats
    lo: Floats
    hi: Floats
    least: float
    most: float
    epsilon: float
    top_share: float
    price_size: float
    deficit_size: float

    @property
    def size(self) -> int:
        return self.weight.size

    def chunks(self) -> Iterator[tuple[slice, _Rows]]:
        for start in range(0, max(self.size, 1), _ROWS_AT_ONCE):
            part = slice(start, start + _ROWS_AT_ONCE)
            yield part, self if self.size <= _ROWS_AT_ONCE else self.only(part)

    def only(self, part: slice | Mask) -> _Rows:
        columns: dict[str, Any] = {name: values[part] for name, values in vars(self).items() if isinstance(values, np.ndarray)}
        return replace(self, **columns)


def _chain(v: dict[str, Floats]) -> GapChain:
    return gap_chain(v["normal"], v["premium"], **{name: v[name] for name in ("normal_max", "premium_max", "min_gap", "max_gap")})


def _rows(per_video: dict[str, Floats], epsilon: float) -> _Rows:
    n = per_video["normal"].size
    parts: list[dict[str, Floats]] = []
    for start in range(0, max(n, 1), _ROWS_AT_ONCE):
        part = slice(start, start + _ROWS_AT_ONCE)
        v = {name: column[part] for name, column in per_video.items()}
        chain, c = _chain(v), v["incentive_weight"]

        # --- bounds on the pay, refused where they contradict each other
        lo, hi = np.maximum(chain.pay_least, v["payout_min"]), np.minimum(chain.pay_third, v["payout_max"])
        wrong = v["min_gap"] > chain.first
        if wrong.any():
            row = int(np.argmax(wrong))
            raise InfeasibleError(
                f"min_gap of row {start + row}, {float(v['min_gap'][row])!r}, is above "
                f"max_gap {float(v['max_gap'][row])!r} or premium_max {float(v['premium_max'][row])!r}"
            )
        wrong = lo > hi + _ROUNDING * (v["normal"] + v["premium"])
        if wrong.any():
            row = int(np.argmax(wrong))
            raise InfeasibleError(
                f"row {start + row} must be paid at least {float(lo[row])!r} and at most {float(hi[row])!r}: its shares allow "
                f"{float(chain.pay_least[row])!r} to {float(chain.pay_third[row])!r}, payout_min and payout_max "
                f"{float(v['payout_min'][row])!r} to {float(v['payout_max'][row])!r}"
            )
        lo = np.minimum(lo, hi)

        # --- the three edges; without incentive there is one, and without coins of a kind that kind has none
        has_n, has_p, cares = v["normal"] > 0, v["premium"] > 0, c > 0
        rise, fall = np.where(has_p & cares, c / v["premium"], 0.0), np.where(has_n & cares, c / v["normal"], 0.0)
        top = chain.premium_top
        parts.append(
            {
                "weight": np.maximum(v["utility_weight"], _NO_WEIGHT),
                "deficit": v["efficiency_share"],
                "rise": rise,
                "fall": fall,
                "w_1": np.where(cares, chain.pay_first, lo) + epsilon,
                "w_2": np.where(cares, chain.pay_second, lo) + epsilon,
                "w_lo": lo + epsilon,
                "w_hi": hi + epsilon,
                "gap_0": np.where(has_p, 0.0, c * chain.first) - rise * epsilon,
                "gap_1": c * chain.first,
                "gap_2": np.where(has_n, c * top + fall * top * v["premium"], c * chain.first) + fall * epsilon,
                "lo": lo,
                "hi": hi,
                "last_at_hi": np.empty_like(lo),
                "next_at_lo": np.empty_like(lo),
            }
        )
    columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    top_share = float(columns["deficit"][columns["hi"] > 0].max(initial=0.0))
    columns["deficit"] = np.maximum(top_share - columns["deficit"], 0.0)
    least, most = float(columns["lo"].sum()), float(columns["hi"].sum())
    rows = _Rows(**columns, least=least, most=most, epsilon=epsilon, top_share=top_share, price_size=0.0, deficit_size=0.0)
    size = 0.0
    for part, some in rows.chunks():
        rows.last_at_hi[part], rows.next_at_lo[part] = _slopes(some, some.w_hi)[0], _slopes(some, some.w_lo)[1]
        size = max(size, float((some.weight / some.w_lo + some.rise + some.fall).max(initial=0.0)))
    return replace(rows, price_size=size, deficit_size=float(rows.deficit.max(initial=0.0)))


def _limit(per_video: dict[str, Floats], rows: _Rows, revenue_floor: float, cap: float) -> float:
    """The most that may be paid in all."""
    coins = float(per_video["normal"].sum()) + float(per_video["premium"].sum())
    slack = _ROUNDING * coins
    if coins - revenue_floor < rows.least - slack:
        raise InfeasibleError(
            f"the least payouts add up to {rows.least!r}, more than the {coins - revenue_floor!r} that revenue_floor "
            f"{revenue_floor!r} leaves of {coins!r} coins"
        )
    if cap < rows.least - slack:
        raise InfeasibleError(f"the least payouts add up to {rows.least!r}, more than payout_cap {cap!r}")
    return max(min(coins - revenue_floor, cap), rows.least)


# ---------------------------------------------------------------------------------------------------- one total: closed form


def _respond(rows: _Rows, t: float, m: float) -> Floats:
    """Every video's best w at the price m + t deficit of a coin."""
    price = rows.deficit * t
    price += m
    w = price - rows.rise
    np.maximum(w, _NO_PRICE, out=w)
    np.divide(rows.weight, w, out=w)
    np.minimum(w, rows.w_1, out=w)
    second = np.maximum(price, _NO_PRICE)
    np.divide(rows.weight, second, out=second)
    np.minimum(second, rows.w_2, out=second)
    np.maximum(w, second, out=w)
    price += rows.fall
    np.maximum(price, _NO_PRICE, out=price)
    np.divide(rows.weight, price, out=price)
    np.maximum(w, price, out=w)
    np.maximum(w, rows.w_lo, out=w)
    return np.minimum(w, rows.w_hi, out=w)


def _worth(rows: _Rows, w: Floats, t: float, m: float) -> float:
    """Value of w when every coin costs m + t deficit."""
    gain = np.log(w)
    gain *= rows.weight
    gain += np.minimum(np.minimum(rows.rise * w + rows.gap_0, rows.gap_1), rows.gap_2 - rows.fall * w)
    gain -= (w - rows.epsilon) * (m + t * rows.deficit)
    return float(gain.sum())


def _free(rows: _Rows, w: Floats) -> Mask:
    """Which videos are inside an edge, so that a small change of the price changes their pay."""
    free: Mask = w > rows.w_lo
    free &= w < rows.w_hi
    free &= w != rows.w_1
    free &= w != rows.w_2
    return free


def _slopes(rows: _Rows, w: Floats) -> tuple[Floats, Floats]:
    """What the last coin of every video was worth to the concave part of the objective, and what the next one would be."""
    marginal = rows.weight / w
    last = marginal + np.where(w <= rows.w_1, rows.rise, np.where(w <= rows.w_2, 0.0, -rows.fall))
    following = marginal + np.where(w < rows.w_1, rows.rise, np.where(w < rows.w_2, 0.0, -rows.fall))
    return np.where(w > rows.w_lo, last, math.inf), np.where(w < rows.w_hi, following, -math.inf)


def _price_range(rows: _Rows, w: Floats, t: float) -> tuple[float, float]:
    """The multipliers at which w is every video's best response."""
    least, largest = -math.inf, math.inf
    for part, some in rows.chunks():
        last, following = _slopes(some, w[part])
        shift = t * some.deficit
        largest = min(largest, float((last - shift).min(initial=math.inf)))
        least = max(least, float((following - shift).max(initial=-math.inf)))
    return least, largest


@dataclass(frozen=True, eq=False)
class _Solved:
    """The best split with one total.

    `value` leaves out the constant lambda_eff max(s), `deficit` is the sum of deficit times pay. The multiplier of the total is unique
    unless every video is at a corner; `m_left` is the largest, `m_right` the least. `spread` is the sum of (1, deficit, deficit^2) times
    the response to the price.
    """

    total: float
    t: float
    m_left: float
    m_right: float
    value: float
    deficit: float
    spread: tuple[float, float, float]

    @property
    def center(self) -> float:
        """Mean deficit of a coin more or less in the total."""
        return self.spread[1] / self.spread[0] if self.spread[0] > 0 else self.deficit / self.total

    @property
    def slope_left(self) -> float:
        """Derivative of the value by the total, from the left."""
        return self.m_left + (self.t * self.deficit / self.total if self.t > 0 else 0.0)

    @property
    def slope_right(self) -> float:
        return self.m_right + (self.t * self.deficit / self.total if self.t > 0 else 0.0)


def _solve(rows: _Rows, total: float, lambda_eff: float, guess: float) -> tuple[_Solved, Floats]:
    """The best split of exactly `total` and its w: one multiplier, found by Newton's method between bounds."""
    t = lambda_eff / total if lambda_eff > 0 else 0.0
    target = total + rows.size * rows.epsilon
    w, m = _multiplier(rows, target, t, guess)
    w = _cornered(rows, w, 4 * _ROUNDING * target)
    value = deficit = s_0 = s_1 = s_2 = 0.0
    for part, some in rows.chunks():
        x = w[part]
        value += _worth(some, x, t, 0.0)
        deficit += float((some.deficit * (x - rows.epsilon)).sum())
        response = np.where(_free(some, x), x * x / some.weight, 0.0)
        s_0 += float(response.sum())
        response *= some.deficit
        s_1 += float(response.sum())
        response *= some.deficit
        s_2 += float(response.sum())
    m_right, m_left = (m, m) if s_0 > 0 else _price_range(rows, w, t)
    if m_right > m_left:
        m_right = m_left = m
    return _Solved(total, t, m_left, m_right, value, deficit, (s_0, s_1, s_2)), w


def _multiplier(rows: _Rows, target: float, t: float, guess: float) -> tuple[Floats, float]:
    """w with sum(w) = target and the multiplier m to which it is the response.

    The sum falls in m. Newton's method on 1 / sum over the free videos is exact where they share one price; where it does not halve the
    miss, the bracket is halved, and now and then the videos on which both of its ends agree leave. Videos with hardly any utility weight
    answer so steeply that the step vanishes although the sum is far off: m then moves by its rounding. Those without weight jump: there
    the bracket shrinks to neighbouring numbers, and w is the mixture of the responses at both that has the right sum.
    """
    left, right = math.inf, -math.inf
    for _, some in rows.chunks():
        shift = t * some.deficit
        left, right = min(left, float((some.last_at_hi - shift).min())), max(right, float((some.next_at_lo - shift).max()))
    if target >= (most := float(rows.w_hi.sum())):
        return rows.w_hi, left
    if target <= (least := float(rows.w_lo.sum())):
        return rows.w_lo, right
    beyond = 4 * _ROUNDING * (rows.price_size + t * rows.deficit_size)
    left, right = left - beyond, right + beyond
    excess, shortage = most - target, target - least
    w, undecided = np.empty(rows.size), None
    m, best, halve = guess if left < guess < right else _halfway(left, right), math.inf, False
    for passes in range(1, _MAX_PASSES):
        # --- sum and slope at m
        everything = have = slope = 0.0
        for _, some in rows.chunks():
            x = _respond(some, t, m)
            everything += float(x.sum())
            x *= _free(some, x)
            have += float(x.sum())
            x *= x
            x /= some.weight
            slope += float(x.sum())
        miss = everything - target
        if miss > 0:
            left, excess = m, miss
        else:
            right, shortage = m, -miss

        # --- next point
        want = have - miss
        step = (miss / slope * (have / want if want > 0 else 1.0)) if slope > 0 else math.nan
        if abs(miss) <= _ROUNDING * target:
            left = right = m
            break
        if abs(step) < _ROUNDING * abs(m):
            step = math.copysign(_ROUNDING * m, step)
        halve = not (left < m + step < right) or (not halve and abs(miss) > best / 2)
        best = min(best, abs(miss))
        following = _halfway(left, right) if halve else m + step
        if not left < following < right:
            break
        m = following

        # --- videos that the bracket has decided leave
        if passes % 8 == 0:
            at_left, at_right = _respond(rows, t, left), _respond(rows, t, right)
            open_ = at_left != at_right
            if np.count_nonzero(open_) < 0.5 * rows.size:
                decided = ~open_ if undecided is None else undecided[~open_]
                undecided = np.flatnonzero(open_) if undecided is None else undecided[open_]
                w[decided] = at_left[~open_]
                target -= float(at_left[~open_].sum())
                rows = rows.only(open_)
    else:
        raise ArithmeticError(f"the multiplier search did not settle in {_MAX_PASSES} passes: between {left!r} and {right!r}")

    # --- what rounding left goes to the free videos in proportion to their response; or the mixture
    rest = w if undecided is None else np.empty(rows.size)
    for part, some in rows.chunks():
        rest[part] = x = _respond(some, t, right)
        if left < right:
            rest[part] += (_respond(some, t, left) - x) * (shortage / (excess + shortage))
        elif slope > 0 and miss != 0:
            np.clip(x - _free(some, x) * (x * x / some.weight) * (miss / slope), some.w_lo, some.w_hi, out=rest[part])
    if undecided is not None:
        w[undecided] = rest
    return w, m


def _cornered(rows: _Rows, w: Floats, slack: float) -> Floats:
    """w with every video on the corner that it is within `slack` of, if that leaves no video inside an edge; else w."""
    snapped = w.copy()
    for part, some in rows.chunks():
        free = np.flatnonzero(_free(some, w[part]))
        x = w[part][free]
        corners = np.stack([some.w_1[free], some.w_2[free], some.w_lo[free], some.w_hi[free]])
        nearest = np.abs(corners - x).argmin(axis=0) if free.size else free
        x_corner = corners[nearest, np.arange(free.size)]
        if (np.abs(x_corner - x) > slack).any():
            return w
        snapped[part][free] = x_corner
    return snapped


def _halfway(left: float, right: float) -> float:
    """The middle of a bracket: of the logarithms where it spans orders of magnitude."""
    if left < 0 < right:
        return 0.0
    if abs(right - left) <= 0.75 * max(abs(left), abs(right)):
        return 0.5 * (left + right)
    small, large = sorted((abs(left), abs(right)))
    return math.copysign(math.sqrt(max(small, 1e-18 * large)) * math.sqrt(large), left + right)


# ------------------------------------------------------------------------------------------------------- the search over totals


@dataclass(frozen=True, eq=False)
class _Interval:
    """Totals between two solved ones, or between 0 and one, and a bound on what they are worth.

    `peak` is the total at which the bound is reached, `refined` whether the videos were looked at for it, `slow` how often in a row a cut
    left more than half.
    """

    below: _Solved | None
    above: _Solved
    bound: float
    peak: float
    refined: bool
    slow: int

    @property
    def width(self) -> float:
        return math.inf if self.below is None else math.log(self.above.total / self.below.total)


@dataclass(frozen=True, eq=False)
class _Found:
    best: _Solved
    w: Floats
    upper_bound: float
    span: float
    local_maxima: tuple[tuple[float, float], ...]
    solves: int


def _search(rows: _Rows, lambda_eff: float, largest: float) -> _Found:
    """Best-first branch and bound over the total; values leave out the constant lambda_eff max(s)."""
    unequal = lambda_eff * float(rows.deficit[rows.hi > 0].max(initial=0.0))
    span = unequal + float((rows.weight * np.log(rows.w_hi / rows.w_lo)).sum()) + float(rows.gap_1.sum())
    if largest <= 0:
        nothing = _Solved(0.0, 0.0, 0.0, 0.0, -math.inf, 0.0, (0.0, 0.0, 0.0))
        return _Found(nothing, rows.w_lo, -math.inf, span, (), 0)
    least = max(rows.least, _LEAST_TOTAL * largest if lambda_eff * rows.top_share > 0 else 0.0)

    # --- efficiency shares that do not differ: concave in the total, which is what the videos want at the price 0
    if unequal == 0:
        wanted = sum(float((_respond(some, 0.0, 0.0) - some.epsilon).sum()) for _, some in rows.chunks())
        best, w = _solve(rows, min(max(wanted, least), largest), 0.0, 0.0)
        below = max(-best.slope_right, 0.0) * (best.total - rows.least) if best.total == least > rows.least else 0.0
        return _Found(best, w, best.value + below, span, (), 1)

    # --- the ends
    mean = float((rows.weight * rows.deficit).sum()) / float(rows.weight.sum())
    guess = float(rows.weight.sum()) / (largest + rows.size * rows.epsilon) - lambda_eff / largest * mean
    best, w = _solve(rows, largest, lambda_eff, guess)
    solved, start = [best], None
    if rows.least > _LEAST_TOTAL * largest and rows.least < largest:
        start, w_start = _solve(rows, rows.least, lambda_eff, 0.0)
        solved.append(start)
        if start.value > best.value:
            best, w = start, w_start
    open_ = [_bounded(start, solved[0])] if rows.least < largest else []

    # --- always the interval with the largest bound: first a better bound, then a cut
    tolerance, bound = _GAP * span, -math.inf
    while open_:
        top = max(open_, key=lambda x: x.bound)
        if top.bound <= max(best.value + tolerance, bound) or len(solved) >= _MAX_SOLVES:
            bound = max(bound, top.bound)
            break
        open_.remove(top)
        if not top.refined:
            open_.append(_refined(rows, top))
            continue
        cut = _cut(rows, top, lambda_eff, least, tolerance)
        if cut is None:
            bound = max(bound, top.bound)
            continue
        new, w_new = _solve(rows, cut, lambda_eff, _between(top, lambda_eff / cut))
        solved.append(new)
        if new.value > best.value:
            best, w = new, w_new
        parts = (_bounded(top.below, new), _bounded(new, top.above))
        open_ += [replace(x, slow=top.slow + 1 if 0.5 * top.width < x.width < math.inf else 0) for x in parts]

    rough, solves = best, len(solved)
    best, w, more = _polished(rows, best, w, lambda_eff, least, largest, 1e-14 * span)
    solved = sorted([best, *(x for x in solved if x is not rough)], key=lambda x: x.total)
    values = [-math.inf, *(x.value for x in solved), -math.inf]
    others = [x for i, x in enumerate(solved) if x is not best and (values[i] < x.value > values[i + 2] or _uphill_end(x, least, largest))]
    local_maxima = tuple((x.total, x.value) for x in sorted(others, key=lambda x: -x.value))
    return _Found(best, w, max(bound, best.value), span, local_maxima, solves + more)


def _uphill_end(x: _Solved, least: float, largest: float) -> bool:
    return (x.total >= largest and x.slope_left > 0) or (x.total <= least and x.slope_right < 0)


def _bounded(below: _Solved | None, above: _Solved) -> _Interval:
    """The interval with the bound that the two ends give, see the notes of `split_platform`."""
    m, at = above.m_left, above.total
    if below is None:
        return _Interval(None, above, *((above.value - m * at, 0.0) if m < 0 else (above.value, at)), True, 0)
    ray = (above.value + m * (below.total - at), below.total) if m < 0 else (above.value, at)
    chord = _highest(above.total, below.total, above.value, below.value, above.m_left, below.m_right, 0.0)
    return _Interval(below, above, *min(ray, chord), False, 0)


def _refined(rows: _Rows, interval: _Interval) -> _Interval:
    """The same with what the videos tell: how far D bends below its chord, and a second line, on which D hardly bends.

    That line starts at the better end. The bend of a line, divided by x (1 - x), is at least that of the videos that are inside the same
    edge at both of its ends.
    """
    below, above = interval.below, interval.above
    assert below is not None
    high, low = (above.t, above.m_left), (below.t, below.m_right)
    from_low = below.value > above.value
    step = low[0] - high[0]
    third = (high[0], low[1] + below.center * step) if from_low else (low[0], high[1] - above.center * step)
    bend = bend_third = d_third = 0.0
    for _, some in rows.chunks():
        at_high, at_low, at_third = _respond(some, *high), _respond(some, *low), _respond(some, *third)
        bend += _bend(some, at_high, at_low, step, low[1] - high[1])
        start, (t, m) = (at_low, low) if from_low else (at_high, high)
        bend_third += _bend(some, at_third, start, t - third[0], m - third[1])
        d_third += _worth(some, at_third, *third)
    chord = _highest(above.total, below.total, above.value, below.value, high[1], low[1], bend)
    if from_low:
        line = _highest(above.total, below.total, d_third + third[1] * above.total, below.value, third[1], low[1], bend_third)
    else:
        line = _highest(above.total, below.total, above.value, d_third + third[1] * below.total, high[1], third[1], bend_third)
    bound, peak = min((interval.bound, interval.peak), chord, line)
    return replace(interval, bound=bound, peak=peak, refined=True)


def _bend(rows: _Rows, w: Floats, other: Floats, t_step: float, m_step: float) -> float:
    """Least curvature along a line of the videos that are inside the same edge at both of its ends, where they respond with w and other."""
    same = _free(rows, w)
    same &= _free(rows, other)
    same &= (w < rows.w_1) == (other < rows.w_1)
    same &= (w < rows.w_2) == (other < rows.w_2)
    step = t_step * rows.deficit
    step += m_step
    step *= np.minimum(w, other)
    step *= step
    step /= rows.weight
    step *= same
    return 0.5 * float(step.sum())


def _highest(
    t_above: float, t_below: float, v_above: float, v_below: float, m_above: float, m_below: float, bend: float
) -> tuple[float, float]:
    """The largest value, and its total, of the chord of D less `bend` x (1 - x), plus m T.

    With x in [0, 1] the place of t between the ends and r the ratio of the totals less 1, that is
    (1 - x) V_above + x V_below + x (1 - x) (bump / (1 + r x) - bend), bump = r (m_below T_below - m_above T_above).
    """
    r = t_above / t_below - 1
    bump = r * (m_below * t_below - m_above * t_above)
    rise = v_below - v_above
    plain, bent = [0.0, 1.0], [0.0, 1.0]
    p, q = bump - bend, bump * r / (1 + r)
    if bump > 0:
        plain += _roots(r * (r * rise - bump), 2 * (r * rise - bump), rise + bump)
        bent += _roots(3 * q, -2 * (p + q), rise + p)
    value, x = min(
        max((v_above + x * rise + x * (1 - x) * max(bump, 0.0) / (1 + r * x), x) for x in plain),
        max((v_above + x * rise + x * (1 - x) * (p - q * x), x) for x in bent) if bump > 0 else (math.inf, 0.0),
    )
    return value, t_above / (1 + r * x)


def _roots(a: float, b: float, c: float) -> list[float]:
    """Roots of a x^2 + b x + c strictly between 0 and 1."""
    root = b * b - 4 * a * c
    if root < 0:
        return []
    half = -0.5 * (b + math.copysign(math.sqrt(root), b))
    return [x for x in (half / a if a else math.nan, c / half if half else math.nan) if 0 < x < 1]


def _between(interval: _Interval, t: float) -> float:
    """A first guess of the multiplier: on the line between the ends."""
    below, above = interval.below, interval.above
    if below is None:
        return above.m_left
    return above.m_left + (below.m_right - above.m_left) * (t - above.t) / (below.t - above.t)


def _cut(rows: _Rows, interval: _Interval, lambda_eff: float, least: float, tolerance: float) -> float | None:
    """Where to solve next: at a maximum if there must be one inside, else where the bound is reached, not too near the ends."""
    below, above = interval.below, interval.above
    if below is None:
        if above.total <= least:
            return None
        leaders = float(rows.hi[rows.deficit == 0].sum())
        return leaders if least < leaders < 0.5 * above.total else max(least, above.total / 8)
    if interval.width < 8 * _EPS:
        return None
    distance = above.total - below.total
    if interval.slow < 3 and min(below.slope_right, -above.slope_left) * distance > 0.1 * tolerance:
        total = _stationary(rows, max(below, above, key=lambda x: x.value), lambda_eff)
        if below.total < total < above.total:
            return total
    place = math.log(interval.peak / below.total) / interval.width
    if interval.slow >= 3:
        place = 0.5
    elif not 0.02 < place < 0.98:
        place = 0.25 if below.value > above.value else 0.75
    total = below.total * math.exp(min(max(place, 0.2), 0.8) * interval.width)
    return total if below.total < total < above.total else None


def _stationary(rows: _Rows, near: _Solved, lambda_eff: float) -> float:
    """A step towards the total where the value has slope 0: Newton's, then what the videos want at the price found there.

    The second half lands exactly on a maximum where every video is at a corner.
    """
    s_0, s_1, s_2 = near.spread
    total, t, deficit = near.total, near.t, near.deficit
    if s_0 > 0:
        m_slope = (t / total * s_1 - 1) / s_0
        deficit_slope = t / total * s_2 - m_slope * s_1
        bend = m_slope + t / total * (deficit_slope - 2 * deficit / total)
        if bend < 0:
            step = min(max(-near.slope_left / bend, -0.9 * total), 9 * total)
            total, deficit = total + step, deficit + deficit_slope * step
    t = lambda_eff / total
    m = -t * deficit / total
    return sum(float((_respond(some, t, m) - some.epsilon).sum()) for _, some in rows.chunks())


def _polished(
    rows: _Rows, best: _Solved, w: Floats, lambda_eff: float, least: float, largest: float, tolerance: float
) -> tuple[_Solved, Floats, int]:
    """The maximum found, to the last digits of its total: there the value is flat, its slope is not."""
    for solves in range(_MAX_POLISH):
        uphill = best.slope_right if best.slope_right > 0 else min(best.slope_left, 0.0)
        if uphill == 0 or (uphill > 0 and best.total >= largest) or (uphill < 0 and best.total <= least):
            return best, w, solves
        total = min(max(_stationary(rows, best, lambda_eff), least), largest)
        if abs(total - best.total) <= _ROUNDING * total:
            return best, w, solves
        new, w_new = _solve(rows, total, lambda_eff, best.m_left if uphill < 0 else best.m_right)
        if new.value < best.value - tolerance or (
            max(abs(new.slope_right), abs(new.slope_left)) > 0.5 * abs(uphill) and not new.slope_left >= 0 >= new.slope_right
        ):
            return best, w, solves + 1
        best, w = new, w_new
    return best, w, _MAX_POLISH


# ---------------------------------------------------------------------------------------------------------- back to the shares


def _result(per_video: dict[str, Floats], rows: _Rows, found: _Found, *, lambda_eff: float, limit: float) -> PlatformSplit:
    best, w, epsilon = found.best, found.w, rows.epsilon

    # --- pay: corners exactly, everything else less epsilon, and in all not above the limit
    pay = np.empty(rows.size)
    for part, some in rows.chunks():
        v, x = {name: column[part] for name, column in per_video.items()}, w[part]
        chain, cares = _chain(v), v["incentive_weight"] > 0
        y = np.where(cares & (x == some.w_1), chain.pay_first, np.where(cares & (x == some.w_2), chain.pay_second, x - epsilon))
        y = np.where(x == some.w_lo, some.lo, np.where(x == some.w_hi, some.hi, y))
        pay[part] = np.clip(y, some.lo, some.hi)
    if (excess := float(pay.sum()) - limit) > _ROUNDING * limit:
        pay -= (pay - rows.lo) * min(excess / max(float((pay - rows.lo).sum()), excess), 1.0)
    total = float(pay.sum())

    # --- shares, value, first-order conditions
    x_n, x_p = np.empty(rows.size), np.empty(rows.size)
    limited = limit < rows.most and best.total >= limit * (1 - _ROUNDING)
    multiplier = max(best.slope_right, 0.0) if limited and total > 0 else 0.0
    mean = best.t * best.deficit / best.total if total > 0 else 0.0
    value = residual = 0.0
    for part, some in rows.chunks():
        v, y = {name: column[part] for name, column in per_video.items()}, pay[part]
        x_n[part], x_p[part] = _chain(v).shares(y)
        value += float((v["utility_weight"] * np.log(epsilon + y)).sum() + (v["incentive_weight"] * (x_p[part] - x_n[part])).sum())
        last, following = _slopes(some, w[part])
        price = multiplier - mean + best.t * some.deficit
        size = multiplier + mean + best.t * some.deficit + some.weight / w[part] + some.rise + some.fall
        off = np.maximum(price - last, following - price) / np.maximum(size, np.finfo(np.float64).tiny)
        residual = max(residual, float(off.max(initial=0.0)))
    constant = lambda_eff * rows.top_share if total > 0 else 0.0
    value += lambda_eff * float((per_video["efficiency_share"] * pay).sum()) / total if total > 0 else 0.0
    upper_bound = max(value, found.upper_bound + constant)
    return PlatformSplit(
        payout=pay,
        normal_share=x_n,
        premium_share=x_p,
        total=total,
        value=value,
        upper_bound=upper_bound,
        gap=(upper_bound - value) / max(abs(value), found.span, 1e-150),
        multiplier=multiplier,
        local_maxima=tuple((t, x + constant) for t, x in found.local_maxima),
        inner_solves=found.solves,
        residual=residual if total > 0 else 0.0,
    )
