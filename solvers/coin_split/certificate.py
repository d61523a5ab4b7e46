"""Judge a split of coins that somebody else made: is it allowed, and how much better could any
other be?

Belongs here: the problem of one video's coins and a bound on its optimum that is built from the
split alone. Does not: any solver. Nothing here knows how a split was found. The platform's coins
are judged in `platform_certificate`, ad pools in `solvers.ad_pool.certificate`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np
import numpy.typing as npt

from solvers.arrays import Floats, Mask, column_of, refuse

_ROUNDING = 1e-14
"""A corner that breaks the constraints by no more than this is feasible."""


@dataclass(frozen=True, eq=False)
class CoinCertificate:
    """A proof for every video of how much better its split could be.

    Attributes
    ----------
    feasible : (n,) whether any pair of shares keeps the video's constraints
    primal_residual : (n,) largest violation: shares in parts of 1, payouts in parts of the video's
        coins; infinite for a NaN where a split exists, 0 for a NaN where none does
    value : (n,) the objective
    upper_bound : (n,) no feasible pair of shares has a larger value; -inf where there is none
    gap : (n,) (upper_bound - value) / (lambda_rev + lambda_util + lambda_inc), at least 0; 0 where
        nothing is feasible
    """

    feasible: Mask
    primal_residual: Floats
    value: Floats
    upper_bound: Floats
    gap: Floats


def certify_coin_split(
    normal_share: npt.ArrayLike,
    premium_share: npt.ArrayLike,
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
) -> CoinCertificate:
    r"""Judge any split of each video's coins against the concave problem of
    `solvers.coin_split.split_videos`.

    By concavity no pair of shares is worth more than the tangent plane at the given one allows, and
    a plane is highest at a corner of the feasible polygon: upper_bound = value + max over corners
    of gradient @ (corner - shares). All 21 crossings of the seven lines that bound the polygon are
    tried. At the optimum the bound is exact.

    Parameters
    ----------
    normal_share, premium_share : (n,) x_n and x_p of each video
    normal, premium, quality, theta, normal_max, premium_max, min_gap, max_gap, revenue_floor,
        lambda_rev, lambda_util, lambda_inc, epsilon, utility :
        as in `solvers.coin_split.split_videos`, one number or (n,)

    Returns
    -------
    CoinCertificate

    Raises
    ------
    ValueError
        shapes that do not fit, or a parameter that is negative or not finite; names it

    Source: the donation document, section 4; docs/formulas.md section 3.

    Examples
    --------
    >>> judged = certify_coin_split([0.0, 0.1], [0.4, 0.4], 100, 50, [0.2, 0.2], theta=0.5,
    ...     normal_max=0.6, premium_max=0.8, min_gap=0.05, max_gap=0.4, revenue_floor=15,
    ...     lambda_rev=0.6, lambda_util=0.2, lambda_inc=0.2)
    >>> judged.gap.round(3).tolist(), judged.primal_residual.tolist()
    ([0.0, 0.091], [0.0, 0.0])
    """
    if utility not in ("log", "linear"):
        raise ValueError(f"utility must be 'log' or 'linear', not {utility!r}")
    x_n, x_p, column = checked_videos(
        normal_share,
        premium_share,
        normal=normal,
        premium=premium,
        quality=quality,
        theta=theta,
        normal_max=normal_max,
        premium_max=premium_max,
        min_gap=min_gap,
        max_gap=max_gap,
        revenue_floor=revenue_floor,
        lambda_rev=lambda_rev,
        lambda_util=lambda_util,
        lambda_inc=lambda_inc,
        epsilon=epsilon,
    )
    refuse(column["epsilon"] == 0, "epsilon must be above 0", column["epsilon"])
    n_coins, p_coins, eps = column["normal"], column["premium"], column["epsilon"]
    coins, delta, width = n_coins + p_coins, column["min_gap"], column["max_gap"]
    room, most = (
        coins - column["revenue_floor"],
        column["normal_max"] * n_coins + column["premium_max"] * p_coins,
    )

    # --- objective rev (room - y) + util u(y) + inc (x_p - x_n - delta), a term dropped where its
    # scale is 0
    with np.errstate(divide="ignore", invalid="ignore"):
        rev = np.where(room > 0, column["lambda_rev"] / room, 0.0)
        scale = np.log1p(most / eps) if utility == "log" else most
        util = np.where(
            scale > 0,
            column["lambda_util"]
            * (1 + column["theta"] * column["quality"])
            / ((1 + column["theta"]) * scale),
            0.0,
        )
        inc = np.where(width > delta, column["lambda_inc"] / (width - delta), 0.0)
        pay = np.maximum(x_n * n_coins + x_p * p_coins, 0.0)
        u = np.log1p(pay / eps) if utility == "log" else pay
        marginal = util / (eps + pay) - rev if utility == "log" else util - rev
        value = rev * (room - pay) + util * u + inc * (x_p - x_n - delta)

        # --- the tangent plane at the corners
        broken = largest_violation(x_n, x_p, column, room)
        highest = np.full(x_n.size, -math.inf)
        for corner_n, corner_p in _corners(column, room):
            outside = largest_violation(corner_n, corner_p, column, room)
            rise = marginal * ((corner_n - x_n) * n_coins + (corner_p - x_p) * p_coins) + inc * (
                (corner_p - x_p) - (corner_n - x_n)
            )
            np.maximum(highest, np.where(outside <= _ROUNDING, rise, -math.inf), out=highest)
    missing = np.isnan(x_n) | np.isnan(x_p)
    feasible = ~(highest == -math.inf)
    total = column["lambda_rev"] + column["lambda_util"] + column["lambda_inc"]
    gap = np.where(feasible, np.maximum(highest, 0.0), 0.0) / np.where(total > 0, total, 1.0)
    return CoinCertificate(
        feasible=feasible,
        primal_residual=np.where(missing, np.where(feasible, math.inf, 0.0), broken),
        value=value,
        upper_bound=np.where(feasible, value + highest, -math.inf),
        gap=np.where(missing & feasible, math.inf, gap),
    )


def checked_videos(
    normal_share: npt.ArrayLike, premium_share: npt.ArrayLike, **columns: npt.ArrayLike
) -> tuple[Floats, Floats, dict[str, Floats]]:
    """(n,) shares of a split, and everything else as (n,) numbers of at least 0, by name."""
    x_n, x_p = (
        np.asarray(normal_share, dtype=np.float64),
        np.asarray(premium_share, dtype=np.float64),
    )
    if x_n.ndim != 1 or x_n.shape != x_p.shape:
        raise ValueError(
            "normal_share and premium_share must be one-dimensional and alike, not of shapes"
            f" {x_n.shape} and {x_p.shape}"
        )
    checked = {name: column_of(values, name, x_n.size) for name, values in columns.items()}
    for name, values in checked.items():
        refuse(
            ~((values >= 0) & (values < math.inf)), f"{name} must be finite and at least 0", values
        )
    return x_n, x_p, checked


def largest_violation(x_n: Floats, x_p: Floats, column: dict[str, Floats], room: Floats) -> Floats:
    """Largest violation of the video's own constraints, NaN where the shares are."""
    coins = column["normal"] + column["premium"]
    spent = (x_n * column["normal"] + x_p * column["premium"] - room) / np.where(
        coins > 0, coins, 1.0
    )
    gap = x_p - x_n
    sides = (
        -x_n,
        x_n - column["normal_max"],
        -x_p,
        x_p - column["premium_max"],
        column["min_gap"] - gap,
        gap - column["max_gap"],
    )
    worst = np.maximum(spent, 0.0)
    for side in sides:
        np.maximum(worst, side, out=worst)
    return worst


def _corners(column: dict[str, Floats], room: Floats) -> Iterator[tuple[Floats, Floats]]:
    """Where two of the lines c_n x_n + c_p x_p = level cross; not finite where they are
    parallel.
    """
    one, none = np.ones_like(room), np.zeros_like(room)
    lines = [
        (one, none, none),
        (one, none, column["normal_max"]),
        (none, one, none),
        (none, one, column["premium_max"]),
        (-one, one, column["min_gap"]),
        (-one, one, column["max_gap"]),
        (column["normal"], column["premium"], room),
    ]
    for (a_n, a_p, a), (b_n, b_p, b) in combinations(lines, 2):
        determinant = a_n * b_p - b_n * a_p
        yield (a * b_p - b * a_p) / determinant, (a_n * b - b_n * a) / determinant
