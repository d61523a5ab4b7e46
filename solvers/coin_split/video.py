"""Split the coins gifted to a video between its creator and the platform.

Belongs here: the shares of normal and premium coins that go to the creator. Does not: how coins are
counted, which wallets are verified, what a coin is worth. `split_platform`, for all videos under
one limit, lives in `solvers.coin_split.platform`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from solvers.arrays import Floats, Mask
from solvers.coin_split.gap_chain import gap_chain
from solvers.coin_split.platform import PlatformSplit, split_platform
from solvers.errors import RowError

__all__ = ["PlatformSplit", "VideoSplits", "split_platform", "split_videos"]

_ROUNDING = 4 * float(np.finfo(np.float64).eps)
_ROWS_AT_ONCE = 1 << 15
"""Rows handled together: enough to keep numpy busy, few enough that the temporaries stay in the
processor's cache.
"""


@dataclass(frozen=True, eq=False)
class VideoSplits:
    """The creator's share of each video's coins; infeasible rows are NaN and False.

    Attributes
    ----------
    normal_share : (n,) fraction x_n of the normal coins that the creator gets
    premium_share : (n,) fraction x_p of the premium coins that the creator gets
    payout : (n,) coins to the creator, x_n N_n + x_p N_p
    feasible : (n,) whether any pair of shares satisfies the constraints
    """

    normal_share: Floats
    premium_share: Floats
    payout: Floats
    feasible: Mask


def split_videos(
    normal: npt.ArrayLike,
    premium: npt.ArrayLike,
    quality: npt.ArrayLike,
    *,
    theta: npt.ArrayLike,
    normal_max: npt.ArrayLike,
    premium_max: npt.ArrayLike,
    min_gap: npt.ArrayLike,
    max_gap: npt.ArrayLike,
    revenue_floor: npt.ArrayLike,
    lambda_rev: npt.ArrayLike,
    lambda_util: npt.ArrayLike,
    lambda_inc: npt.ArrayLike,
    epsilon: npt.ArrayLike = 1.0,
    utility: Literal["log", "linear"] = "log",
) -> VideoSplits:
    r"""Best creator shares x_n, x_p of every video by itself, in closed form.

    With :math:`N = N_n + N_p`, pay :math:`y = x_n N_n + x_p N_p`, :math:`f(Q) = 1 + \theta Q` and
    :math:`y_{max} = x_n^{max} N_n + x_p^{max} N_p`, each video solves

    .. math:: \max \; \lambda_{rev} \frac{N - y - R_{min}}{N - R_{min}} + \lambda_{util}
              \frac{f(Q)}{f(1)} u(y)
              + \lambda_{inc} \frac{x_p - x_n - \delta}{\Delta - \delta}

    over :math:`0 \le x_n \le x_n^{max}`, :math:`0 \le x_p \le x_p^{max}`, :math:`\delta \le x_p -
    x_n \le \Delta`, :math:`N - y \ge R_{min}`, with :math:`u(y) = \log(1 + y/\varepsilon) / \log(1
    + y_{max}/\varepsilon)` or :math:`y / y_{max}`.

    For a given pay the widest gap is on a chain of three edges, along which the gap is concave in
    the pay; so the optimal pay is the point of the chain where the marginal objective changes sign.

    Parameters
    ----------
    normal, premium : coins from unverified and from verified wallets, at least 0
    quality : Q in [0, 1]
    theta : quality multiplier, at least 0
    normal_max, premium_max : largest shares, in [0, 1]
    min_gap, max_gap : bounds delta and Delta on x_p - x_n, at least 0
    revenue_floor : R_min, coins that the platform keeps at least
    lambda_rev, lambda_util, lambda_inc : weights of the three normalised terms, at least 0
    epsilon : coins, above 0; where the logarithm bends (unused with linear utility)
    utility : "log" or "linear"

    Returns
    -------
    VideoSplits
        A row is infeasible exactly when delta > min(x_p_max, Delta) or delta N_p > N - R_min.

    Raises
    ------
    ValueError
        a number outside its range, or shapes that do not fit; names the argument and the row

    Notes
    -----
    Every parameter but `utility` is one number or has shape (n,).

    Where the document's normalisation divides by zero, the term is dropped: Delta = delta the
    incentive, N = R_min the revenue, y_max = 0 the utility. U_max is taken at f(1): at f(Q), as
    printed, Q would cancel. Where several shares are equally good (lambda_inc = 0, or coins of one
    kind only), the gap is as wide as allowed; where several payouts are, the creator gets the
    largest.

    Source: the donation document, section 4 (per-video program, normalised objective);
    docs/formulas.md section 3 (closed form, traps).

    Examples
    --------
    >>> best = split_videos([100, 100], [50, 50], [0.2, 0.9], theta=0.5, normal_max=0.6,
    ...     premium_max=0.8, min_gap=0.05, max_gap=0.4,
    ...                     revenue_floor=15, lambda_rev=0.6, lambda_util=0.2, lambda_inc=0.2)
    >>> best.premium_share.round(3).tolist(), best.payout.round(2).tolist()
    ([0.4, 0.4], [20.0, 20.0])
    """
    columns = _checked(
        {
            "normal": normal,
            "premium": premium,
            "quality": quality,
            "theta": theta,
            "normal_max": normal_max,
            "premium_max": premium_max,
            "min_gap": min_gap,
            "max_gap": max_gap,
            "revenue_floor": revenue_floor,
            "lambda_rev": lambda_rev,
            "lambda_util": lambda_util,
            "lambda_inc": lambda_inc,
            "epsilon": epsilon,
        },
        utility,
    )
    n = columns[0].size
    result = VideoSplits(np.empty(n), np.empty(n), np.empty(n), np.empty(n, dtype=np.bool_))
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        for start in range(0, n, _ROWS_AT_ONCE):
            rows = slice(start, start + _ROWS_AT_ONCE)
            _split_rows(
                [column[rows] for column in columns],
                utility == "log",
                VideoSplits(*(x[rows] for x in vars(result).values())),
            )
    return result


def _split_rows(columns: list[Floats], logarithmic: bool, out: VideoSplits) -> None:
    (
        normal,
        premium,
        quality,
        theta,
        normal_max,
        premium_max,
        min_gap,
        max_gap,
        revenue_floor,
        *weights,
        epsilon,
    ) = columns
    lambda_rev, lambda_util, lambda_inc = weights

    # --- normalised weights of the objective -a y + b u(y) + c (x_p - x_n)
    coins = normal + premium
    room = coins - revenue_floor
    a = np.where(room > 0, lambda_rev / room, 0.0)
    most = normal_max * normal + premium_max * premium
    scale = np.log1p(most / epsilon) if logarithmic else most
    b = np.where(scale > 0, lambda_util * (1 + theta * quality) / ((1 + theta) * scale), 0.0)
    c = np.where(max_gap > min_gap, lambda_inc / (max_gap - min_gap), 0.0)

    # --- the chain of widest gaps
    chain = gap_chain(
        normal,
        premium,
        normal_max=normal_max,
        premium_max=premium_max,
        min_gap=min_gap,
        max_gap=max_gap,
    )

    # --- pay where the marginal objective changes sign, along each edge
    rise = np.where(c > 0, c / premium, 0.0)
    fall = np.where(c > 0, c / normal, 0.0)
    if logarithmic:
        turns = [np.where(cost > 0, b / cost - epsilon, np.inf) for cost in (a - rise, a, a + fall)]
    else:
        turns = [np.where(b >= cost, np.inf, -np.inf) for cost in (a - rise, a, a + fall)]
    pay = np.minimum(turns[0], chain.pay_first)
    pay = np.maximum(pay, np.minimum(turns[1], chain.pay_second))
    pay = np.maximum(pay, np.minimum(turns[2], chain.pay_third))
    pay = np.maximum(np.minimum(np.minimum(pay, chain.pay_third), room), chain.pay_least)
    x_n, x_p = chain.shares(pay)

    # --- infeasible rows
    feasible = (min_gap <= chain.first) & (chain.pay_least <= room + _ROUNDING * coins)
    out.feasible[:] = feasible
    for target, values in ((out.normal_share, x_n), (out.premium_share, x_p), (out.payout, pay)):
        target[:] = np.where(feasible, values, np.nan)


_RANGES: dict[str, tuple[float, float]] = {
    "quality": (0.0, 1.0),
    "normal_max": (0.0, 1.0),
    "premium_max": (0.0, 1.0),
}


def _checked(arguments: dict[str, npt.ArrayLike], utility: str) -> list[Floats]:
    if utility not in ("log", "linear"):
        raise ValueError(f"utility must be 'log' or 'linear', not {utility!r}")
    columns = {
        name: np.atleast_1d(np.asarray(value, dtype=np.float64))
        for name, value in arguments.items()
    }
    n = (
        max(column.size for column in columns.values())
        if all(column.size for column in columns.values())
        else 0
    )
    for name, column in columns.items():
        if column.ndim != 1 or column.size not in (1, n):
            raise ValueError(f"{name} must be one number or have shape ({n},), not {column.shape}")
        least, largest = _RANGES.get(name, (0.0, np.inf))
        bad = ~((column >= least) & (column <= largest) & (column < np.inf))
        if name == "epsilon":
            bad |= column == 0
        if bad.any():
            row = int(np.argmax(bad))
            rule = (
                "above 0"
                if name == "epsilon"
                else (
                    "finite and at least 0" if largest == np.inf else f"in [{least:g}, {largest:g}]"
                )
            )
            raise RowError(f"{name} must be {rule}: row {row} is {float(column[row])!r}", row=row)
    return [np.broadcast_to(column, (n,)) for column in columns.values()]
