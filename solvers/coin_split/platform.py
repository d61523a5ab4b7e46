"""Split the coins gifted on the whole platform: every video at once, under one limit on what is
paid out.

Belongs here: the program of docs/formulas.md section 5 and the proof that its answer is the best
one. Does not: the weights (who counts how much), how coins are counted, and the split of one video
by itself (`solvers.coin_split`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from solvers.arrays import Floats
from solvers.coin_split.search import Peak, search
from solvers.coin_split.total import ROUNDING, Rows, chain_of, pay_at, rows_of, slopes
from solvers.errors import InfeasibleError, RowError

_LEAST_COINS = 1e-6
"""Fewer coins of a kind than this part of epsilon are refused."""


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
    gap : (upper_bound - value) / max(|value|, the most that the objective can vary between two
        splits)
    multiplier : how much the objective grows with the next coin that revenue_floor or payout_cap
        lets go; 0 where neither binds
    local_maxima : (total, value) of the other local maxima that the search met, best first, as
        exactly as it needed to rule them out
    inner_solves : problems with a fixed total that were solved
    residual : largest violation of the first-order conditions by `payout`, relative to the sum of
        the terms they compare (about 1 where no split is best, see the notes)
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

    With pay :math:`y_v = x_{n,v} N_{n,v} + x_{p,v} N_{p,v}`, total :math:`T = \sum_v y_v`, utility
    weight b, incentive weight c and efficiency share s,

    .. math:: \max \; \sum_v b_v \log(\varepsilon + y_v) + \lambda_{eff} \sum_v s_v y_v / T + \sum_v
              c_v (x_{p,v} - x_{n,v})

    over :math:`0 \le x_n \le x_n^{max}`, :math:`0 \le x_p \le x_p^{max}`, :math:`\delta_v \le x_p -
    x_n \le \Delta`, :math:`y^{min} \le y \le y^{max}`, :math:`T \le P_{max}` and :math:`\sum_v (N_v
    - y_v) \ge R_{min}`.

    The ratio makes this non-concave: it can have several local maxima. With T fixed it is concave
    and separable, each video in closed form given one multiplier; what remains is a search over T.
    Two solved totals bound every total between them (see Notes), so the search ends with a proof.

    Parameters
    ----------
    normal, premium : (n,) coins from unverified and from verified wallets, 0 or at least 1e-6
        epsilon
    utility_weight : b, in the document lambda_fair w f(Q); at least 0
    incentive_weight : c, in the document lambda_inc omega; at least 0
    efficiency_share : s, at least 0; need not sum to 1
    lambda_eff : weight of the efficiency term, at least 0
    normal_max, premium_max : largest shares, in [0, 1]
    min_gap, max_gap : bounds on x_p - x_n, at least 0; min_gap is delta g(Q) where it depends on
        quality
    revenue_floor : R_min, coins that the platform keeps at least, over all videos
    payout_cap : P_max, coins paid out at most, over all videos; None is no cap
    payout_min, payout_max : coins per video; None is no bound
    epsilon : coins, above 0; where the logarithm bends

    Returns
    -------
    PlatformSplit

    Raises
    ------
    InfeasibleError
        a video whose bounds contradict each other, or least payouts that add up to more than the
        floor and the cap leave
    ValueError
        a number outside its range, or shapes that do not fit; names the argument and the row

    Notes
    -----
    Parameters that belong to a video are one number or have shape (n,).

    There is no revenue term in this objective, so the total mostly lands on the revenue floor:
    R_min is the real lever.

    At T = 0 the efficiency term is 0/0 and counts as 0. Where the objective only rises towards T =
    0, it has no best split; the answer then pays next to nothing: 1e-12 of what the videos with the
    largest efficiency share can get, or 1e-13 epsilon. Multiplying coins, epsilon, R_min, P_max and
    the payout bounds by k adds log(k) sum(b) to the value and changes no share.

    Where several shares are equally good (no incentive weight, or coins of one kind only), the gap
    is as wide as the payout allows.

    Let D(t, m) be the largest value of sum b log(eps + y) + c gap + (t s - m) y over each video's
    own bounds: convex in (t, m). A split with total T is worth at most D(lambda_eff / T, m) + m T,
    with equality at the multiplier of T. Between two solved totals (t, m) may move along any
    straight line, on which D is at most its chord; the videos that stay inside one edge of their
    chain have a least curvature, which is taken off. Two lines are tried: from one solved point to
    the other, and from the better one in the direction in which its multiplier does not react.
    Below the smallest total solved there is the ray in the direction (1, max s), along which D
    never rises.

    Source: the donation document, section 5 (the program); docs/formulas.md section 5 (search over
    the total, interval bound, edges).

    Examples
    --------
    Two local maxima: pay the video with the efficiency share and hardly anyone else, or everyone
    all there is.

    >>> best = split_platform([100, 10000], [100, 10000], utility_weight=0.05, incentive_weight=0,
    ...     efficiency_share=[1, 0], lambda_eff=1, normal_max=0.8, premium_max=0.8, min_gap=0,
    ...     max_gap=0.8, revenue_floor=0)
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
        rows = rows_of(per_video, epsilon)
        limit = _limit(per_video, rows, revenue_floor, cap)
        peak = search(rows, lambda_eff, min(rows.most, limit))
        return _result(per_video, rows, peak, lambda_eff=lambda_eff, limit=limit)


# --------------------------------------------------------------------------------------------------


def _checked(
    per_video: dict[str, npt.ArrayLike], numbers: dict[str, float]
) -> tuple[dict[str, Floats], list[float]]:
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
        bad = np.atleast_1d(
            ~((column >= 0) & (column <= largest) & ((column < math.inf) | (name == "payout_max")))
        )
        if bad.any():
            row = int(np.argmax(bad))
            rule = (
                "in [0, 1]"
                if largest == 1
                else "at least 0"
                if name == "payout_max"
                else "finite and at least 0"
            )
            raise RowError(
                f"{name} must be {rule}: row {row} is {float(np.atleast_1d(column)[row])!r}",
                row=row,
            )
    least = _LEAST_COINS * float(numbers["epsilon"])
    for name in ("normal", "premium"):
        tiny = np.atleast_1d((columns[name] > 0) & (columns[name] < least))
        if tiny.any():
            row = int(np.argmax(tiny))
            raise RowError(
                f"{name} must be 0 or at least {least!r}, {_LEAST_COINS} epsilon, or their pay is"
                f" lost in the rounding of epsilon + pay: row {row} is"
                f" {float(np.atleast_1d(columns[name])[row])!r}",
                row=row,
            )
    return {name: np.broadcast_to(column, (n,)) for name, column in columns.items()}, [
        float(value) for value in numbers.values()
    ]


def _limit(per_video: dict[str, Floats], rows: Rows, revenue_floor: float, cap: float) -> float:
    """The most that may be paid in all."""
    coins = float(per_video["normal"].sum()) + float(per_video["premium"].sum())
    slack = ROUNDING * coins
    if coins - revenue_floor < rows.least - slack:
        raise InfeasibleError(
            f"the least payouts add up to {rows.least!r}, more than the {coins - revenue_floor!r}"
            f" that revenue_floor {revenue_floor!r} leaves of {coins!r} coins"
        )
    if cap < rows.least - slack:
        raise InfeasibleError(
            f"the least payouts add up to {rows.least!r}, more than payout_cap {cap!r}"
        )
    return max(min(coins - revenue_floor, cap), rows.least)


# --------------------------------------------------------------------------------------------------


def _result(
    per_video: dict[str, Floats], rows: Rows, peak: Peak, *, lambda_eff: float, limit: float
) -> PlatformSplit:
    best, q, epsilon = peak.best, peak.q, rows.epsilon

    # --- pay, in all not above the limit
    pay = np.empty(rows.size)
    for part, some in rows.chunks:
        pay[part] = pay_at(some, q[part])
    if (excess := float(pay.sum()) - limit) > ROUNDING * limit:
        pay -= (pay - rows.y_lo) * min(excess / max(float((pay - rows.y_lo).sum()), excess), 1.0)
    total = float(pay.sum())

    # --- shares, value, first-order conditions
    x_n, x_p = np.empty(rows.size), np.empty(rows.size)
    limited = limit < rows.most and best.total >= limit * (1 - ROUNDING)
    multiplier = max(best.slope_right, 0.0) if limited and total > 0 else 0.0
    mean = best.t * best.deficit / best.total if total > 0 else 0.0
    value = residual = 0.0
    for part, some in rows.chunks:
        v, y = {name: column[part] for name, column in per_video.items()}, pay[part]
        x_n[part], x_p[part] = chain_of(v).shares(y)
        value += float(
            (v["utility_weight"] * np.log(epsilon + y)).sum()
            + (v["incentive_weight"] * (x_p[part] - x_n[part])).sum()
        )
        last, following = slopes(some, q[part])
        price = multiplier - mean + best.t * some.deficit
        size = multiplier + mean + best.t * some.deficit + q[part] + some.rise + some.fall
        off = np.maximum(price - last, following - price) / np.maximum(
            size, np.finfo(np.float64).tiny
        )
        residual = max(residual, float(off.max(initial=0.0)))
    constant = lambda_eff * rows.top_share if best.total > 0 else 0.0
    value += (
        lambda_eff * float((per_video["efficiency_share"] * pay).sum()) / total
        if total > 0
        else 0.0
    )
    upper_bound = max(value, peak.upper_bound + constant)
    return PlatformSplit(
        payout=pay,
        normal_share=x_n,
        premium_share=x_p,
        total=total,
        value=value,
        upper_bound=upper_bound,
        gap=(upper_bound - value) / max(abs(value), peak.span, 1e-150),
        multiplier=multiplier,
        local_maxima=tuple((t, x + constant) for t, x in peak.local_maxima),
        inner_solves=peak.solves,
        residual=residual if total > 0 else 0.0,
    )
