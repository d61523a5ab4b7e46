"""One ad pool among many rows that are known as a few buckets: so many rows of one share each.

Belongs here: the split of `solvers.ad_pool.allocate_pool`, asked again and again of a sketch of a
pool, for a screen that answers while somebody drags. Nobody is paid by it. Does not: how a day
becomes buckets (`pipelines/studio/sketch.py`).
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from solvers.ad_pool.inputs import Objective
from solvers.ad_pool.problem import ROUNDING, checked_pool, checked_rows
from solvers.arrays import Floats
from solvers.errors import InfeasibleError

_STEPS = 200


def paid_by_bucket(
    pool: float,
    share: npt.ArrayLike,
    rows: npt.ArrayLike,
    *,
    alpha: float = 0.5,
    lambda_fair: float = 0.5,
    lambda_eff: float = 0.5,
    objective: Objective = "blend",
    floor: float = 0.0,
    cap: float = math.inf,
) -> Floats:
    r"""What a row of each bucket is paid where `allocate_pool` splits the pool among all rows.

    .. math:: p_b = \text{clip}(a_b / (\nu - g s_b), lo, hi), \quad \sum_b n_b p_b = P

    Parameters
    ----------
    pool : money to give out, any unit, at least 0
    share : (k,) share of every row of the bucket, finite and at least 0
    rows : (k,) how many rows the bucket has, above 0
    others : as in `solvers.ad_pool.allocate_pool`, the bounds alike for all rows

    Returns
    -------
    (k,) money of a row

    Raises
    ------
    InfeasibleError
        floors above the pool, caps below it, or a floor above its cap
    ValueError
        anything else that is not a number of the kind asked for

    Source: the ad revenue document, section 3; docs/formulas.md section 2.

    Examples
    --------
    >>> paid_by_bucket(100.0, [1.0, 4.0], [2, 1], lambda_eff=0.0).tolist()
    [25.0, 50.0]
    """
    pool = checked_pool(pool, alpha, lambda_fair, lambda_eff, objective)
    shares, n = _checked(pool, share, rows, floor, cap)
    total = float(n @ shares)
    if total == 0:
        return np.full(shares.shape, pool / float(n.sum()))
    s = shares / total
    if objective == "blend":
        raised = s**alpha
        weight = lambda_fair * raised / float(n @ raised) + lambda_eff * s
        gain = 0.0
    else:
        weight, gain = lambda_fair * s**alpha, lambda_eff
        if lambda_fair == 0:
            return _greedy(pool, s, n, floor, cap)
    if gain == 0 and floor == 0 and cap >= pool:
        return np.asarray(pool * weight / float(n @ weight))

    def paid(level: float) -> Floats:
        distance = level - gain * s
        with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
            wish = np.where(distance > 0, pool * weight / np.maximum(distance, 0.0), math.inf)
        return np.clip(np.where(weight > 0, wish, 0.0), floor, cap)

    low = 0.0 if math.isfinite(cap) else gain * float(s.max())  # behind the pole stands the cap
    high = low + 1.0
    while float(n @ paid(high)) > pool:
        high = low + 2 * (high - low)
        if not math.isfinite(high):
            raise ArithmeticError("no multiplier was found")
    least = low
    for _ in range(_STEPS):
        middle = low + (high - low) / 2
        if middle in (low, high):
            break
        low, high = (middle, high) if float(n @ paid(middle)) > pool else (low, middle)
    found = paid(high)
    # rows without share take what nobody else may
    idle = (weight == 0) & (found < cap)
    rest = pool - float(n @ found)
    if idle.any() and rest > ROUNDING * pool and high - least < ROUNDING * max(high, 1.0):
        found = np.where(idle, np.minimum(found + rest / float(n[idle].sum()), cap), found)
    return found


def _checked(
    pool: float, share: npt.ArrayLike, rows: npt.ArrayLike, floor: float, cap: float
) -> tuple[Floats, Floats]:
    shares, _, _ = checked_rows(share, None, None)
    n = np.asarray(rows, dtype=np.float64)
    if n.shape != shares.shape or not (np.isfinite(n) & (n > 0)).all():
        raise ValueError(f"rows must be as many numbers above 0 as shares, not {n!r}")
    if not 0 <= floor <= cap:
        raise InfeasibleError(f"the floor {floor!r} is negative or above its cap {cap!r}")
    count = float(n.sum())
    if count * floor > pool * (1 + ROUNDING) or count * cap < pool * (1 - ROUNDING):
        raise InfeasibleError(
            f"{count:g} rows with floor {floor!r} and cap {cap!r} cannot share {pool!r}"
        )
    return shares, n


def _greedy(pool: float, s: Floats, n: Floats, floor: float, cap: float) -> Floats:
    """The linear program: the largest shares to their caps, equal shares alike."""
    found = np.full(s.shape, floor)
    room = pool - float(n.sum()) * floor
    for value in np.unique(s)[::-1].tolist():
        level = s == value
        takes = min(cap - floor, room / float(n[level].sum()))
        found[level] += takes
        room -= takes * float(n[level].sum())
        if room <= 0:
            break
    return found
