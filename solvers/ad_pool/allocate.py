"""Split one advertising pool among videos: fairness and efficiency, floors and caps, one
multiplier.

Belongs here: the two objectives of docs/formulas.md section 2 and the search for their multiplier.
Does not: how a share is measured, when a pool is carried to the next day, and whole micros
(`solvers.apportion`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from solvers.arrays import Floats, refuse
from solvers.errors import InfeasibleError

_EPS = float(np.finfo(np.float64).eps)
_ROUNDING = 4 * _EPS
_BARELY_A_NUMBER = 1e-290
"""Below this a quotient of floats loses digits to underflow, so its stationarity says nothing."""
_MAX_STEPS, _MAX_REFERENCES = 500, 40


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
    objective: Literal["blend", "linear"] = "blend",
    floor: npt.ArrayLike | None = None,
    cap: npt.ArrayLike | None = None,
) -> PoolAllocation:
    r"""Split `pool` among n videos by share, weighing fairness against efficiency.

    With :math:`s_v` the share normalised to sum 1, :math:`w_v = s_v^\alpha` and :math:`y_v = p_v /
    P`,

    .. math:: \max_p \; \lambda_f \sum_v w_v \log p_v + \lambda_e \sum_v s_v p_v / P \qquad \text{("linear")}

    .. math:: \max_p \; \sum_v a_v \log p_v, \quad a_v = \lambda_f w_v / \textstyle\sum_u w_u + \lambda_e s_v \qquad \text{("blend")}

    both subject to :math:`\sum_v p_v = P` and :math:`\text{floor}_v \le p_v \le \text{cap}_v`.
    Solutions:
    :math:`y_v = \text{clip}(\lambda_f w_v / (\nu - \lambda_e s_v))` (at the cap where :math:`\nu
    \le \lambda_e s_v`) and :math:`y_v = \text{clip}(a_v / \nu)`. "blend" has both special cases of
    the document: lambda_eff alone pays P s, lambda_fair alone pays in proportion to w. "linear" is
    the document's own; with lambda_fair = 0 it is a linear program.

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
    pool, shares, lo, hi = _checked(
        pool,
        share,
        alpha=alpha,
        lambda_fair=lambda_fair,
        lambda_eff=lambda_eff,
        objective=objective,
        floor=floor,
        cap=cap,
    )
    n = shares.size
    floors, caps = _sum_near(lo, pool), _sum_near(hi, pool)
    if floors > pool * (1 + _ROUNDING):
        raise InfeasibleError(f"the floors add up to {floors!r}, more than the pool of {pool!r}")
    if caps < pool * (1 - _ROUNDING):
        raise InfeasibleError(f"the caps add up to {caps!r}, less than the pool of {pool!r}")
    if pool == 0 or n == 0:
        return PoolAllocation(np.zeros(n), 0.0, 0.0, 1)

    # the terms of the objective: a_v log p_v + b s_v p_v / pool
    live = hi > 0
    s, a, b = _terms(np.where(live, shares, 0.0), alpha, lambda_fair, lambda_eff, objective)
    earns = (a > 0) | (b * s > 0)
    idle = live & ~earns
    passes = 4.0

    # the feasible set is one point
    if floors >= pool * (1 - _ROUNDING):
        with np.errstate(divide="ignore"):
            prices = a[earns] / (lo[earns] / pool) + b * s[earns]
        return _result(
            lo.copy(), float(prices.max(initial=0.0)), (pool, s, a, b, lo, hi), passes, forced=True
        )
    if caps <= pool * (1 + _ROUNDING):
        prices = a[earns] / (hi[earns] / pool) + b * s[earns]
        nu = 0.0 if idle.any() or not earns.any() else float(prices.min())
        return _result(hi.copy(), nu, (pool, s, a, b, lo, hi), passes, forced=True)

    # money that only rows without share can take
    payout = np.where(earns, hi, lo)
    left_over = pool - float(payout.sum())
    if left_over >= -_ROUNDING * pool:
        if left_over > 0 and idle.any():
            found = _equal(lo[idle], hi[idle], left_over)
            payout[idle] = found.payout
            passes += found.passes * found.payout.size / n
        return _result(payout, 0.0, (pool, s, a, b, lo, hi), passes)

    # the rows with share divide the rest
    room = pool - floors
    if room < 1e-3 * pool:
        room = math.fsum(np.append(-lo, pool))
    every = bool(earns.all())
    a_, s_, lo_, hi_ = (x if every else x[earns] for x in (a, s, lo, hi))
    found = (
        _search(pool * a_, b, s_, lo_, hi_, room=room)
        if a.any()
        else _greedy(b, s_, lo_, hi_, room)
    )
    payout[earns] = found.payout
    return _result(
        payout, found.multiplier, (pool, s, a, b, lo, hi), passes + found.passes * a_.size / n
    )


# --------------------------------------------------------------------------------------------------


def checked_pool(
    pool: float, alpha: float, lambda_fair: float, lambda_eff: float, objective: str
) -> float:
    """The pool as a float; ValueError names the number that is outside its range. For pools in
    memory and in chunks.

    >>> checked_pool(100, alpha=0.5, lambda_fair=0.5, lambda_eff=0.5, objective="blend")
    100.0
    """
    pool = float(pool)
    if not (math.isfinite(pool) and pool >= 0):
        raise ValueError(f"pool must be finite and at least 0, not {pool!r}")
    if not 0 < alpha <= 1:
        raise ValueError(f"alpha must lie in (0, 1], not {alpha!r}")
    for name, value in (("lambda_fair", lambda_fair), ("lambda_eff", lambda_eff)):
        if not (math.isfinite(value) and value >= 0):
            raise ValueError(f"{name} must be finite and at least 0, not {value!r}")
    if lambda_fair == lambda_eff == 0:
        raise ValueError("lambda_fair and lambda_eff are both 0: nothing to maximise")
    if objective not in ("blend", "linear"):
        raise ValueError(f"objective must be 'blend' or 'linear', not {objective!r}")
    return pool


def _checked(
    pool: float,
    share: npt.ArrayLike,
    *,
    alpha: float,
    lambda_fair: float,
    lambda_eff: float,
    objective: str,
    floor: npt.ArrayLike | None,
    cap: npt.ArrayLike | None,
) -> tuple[float, Floats, Floats, Floats]:
    pool = checked_pool(pool, alpha, lambda_fair, lambda_eff, objective)
    shares = np.asarray(share, dtype=np.float64)
    if shares.ndim != 1:
        raise ValueError(f"share must be one-dimensional, not of shape {shares.shape}")
    refuse(~(np.isfinite(shares) & (shares >= 0)), "share must be finite and at least 0", shares)
    lo, hi = _bound(floor, "floor", 0.0, shares.size), _bound(cap, "cap", math.inf, shares.size)
    if np.any(bad := (lo < 0) | (lo > hi)):
        row = int(np.argmax(bad))
        reason = "negative" if lo[row] < 0 else f"above its cap {float(hi[row])!r}"
        raise InfeasibleError(f"the floor of row {row}, {float(lo[row])!r}, is {reason}")
    return pool, shares, lo, hi


def _bound(bound: npt.ArrayLike | None, name: str, default: float, n: int) -> Floats:
    values = np.asarray(default if bound is None else bound, dtype=np.float64)
    if values.shape not in ((), (n,)):
        raise ValueError(f"{name} must be one number or have shape ({n},), not {values.shape}")
    values = np.broadcast_to(values, (n,))
    refuse(np.isnan(values), f"{name} must not be NaN", values)
    return values


def _sum_near(values: Floats, target: float) -> float:
    """The sum; exactly rounded where the comparison with `target` would otherwise hang on rounding."""
    with np.errstate(over="ignore"):
        total = float(values.sum())
    return math.fsum(values) if abs(total - target) <= 1e-9 * target else total


def _terms(
    share: Floats, alpha: float, lambda_fair: float, lambda_eff: float, objective: str
) -> tuple[Floats, Floats, float]:
    """Normalised share s, weight a of the logarithm, and b, the weight of the linear term s p /
    pool.
    """
    top = float(share.max())
    if top == 0:
        return share, np.zeros_like(share), 0.0
    relative = share / top
    s = relative / relative.sum()
    if objective == "linear":
        return s, lambda_fair * s**alpha if lambda_fair > 0 else np.zeros_like(s), lambda_eff
    w = relative**alpha
    return s, (lambda_fair / w.sum()) * w + lambda_eff * s, 0.0


# --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Found:
    payout: Floats
    multiplier: float
    passes: float


def _search(a: Floats, b: float, s: Floats, lo: Floats, hi: Floats, *, room: float) -> _Found:
    """Payouts p = clip(a / (nu - b s), lo, hi) with sum(p - lo) = room; needs a > 0 and 0 < room <
    sum(hi - lo).

    Works in d = nu - b s_ref: nu itself agrees with b s_ref in nearly all digits when b is large.
    The reference is the largest share. Where the caps hold that one down and d + b s_ref cancels,
    the search is run again about the largest share that the digits left cannot place at a bound.
    """
    reference, passes = float(s.max()), 0.0
    probes: list[float] = []
    for _ in range(_MAX_REFERENCES):
        c = b * (reference - s)
        d, least, largest, used = _bracketed_newton(a, c, lo, hi, room=room, probes=probes)
        passes += used
        if d > 0:
            break
        settled, least, largest = (
            least == largest,
            least - 8 * _EPS * abs(least),
            largest + 8 * _EPS * abs(largest),
        )
        with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
            unsettled = (a / hi - c <= largest) & ~(a / lo - c < least)
        highest = float(s[unsettled].max(initial=0.0))
        shift = b * (reference - highest)
        passes += 1
        if shift <= 0 or not unsettled.any() or (settled and d + shift > 1e-3 * shift):
            break
        reference, probes = highest, [least + shift, largest + shift]
    with np.errstate(divide="ignore", over="ignore"):
        wish = np.where(d + c > 0, a / np.maximum(d + c, 0.0), math.inf)
    payout = np.clip(wish, lo, hi)

    # what rounding left is spread over the free rows in proportion
    free = (lo < wish) & (wish < hi)
    have = float(payout[free].sum())
    want = room - float((payout - lo)[~free].sum()) + float(lo[free].sum())
    if have > 0 and (abs(want - have) <= 1e-9 * have or abs(want - have) > _ROUNDING * room):
        payout[free] *= want / have
        payout = np.clip(payout, lo, hi)
    return _Found(payout, d + b * reference, passes + 2)


def _bracketed_newton(
    a: Floats, c: Floats, lo: Floats, hi: Floats, *, room: float, probes: list[float]
) -> tuple[float, ...]:
    """The d with sum(clip(a / (d + c), lo, hi) - lo) = room, a bracket around it, and the passes
    used.

    The sum falls in d; its kinks are where a row leaves its cap and where it reaches its floor.
    Between kinks 1 / sum(a / (d + c)) is concave, so Newton's method on it never jumps over the
    root, and for c = 0 it is exact. A row is dropped as soon as the bracket shows at which bound it
    ends. Where Newton does not bring the gap down by a factor of 4, medians of the kinks still open
    take over, each of which halves them; the more often Newton fails, the more of them. `probes`
    are tried first, last one first.

    Below 0 the reference is capped and digits cancel: there, where Newton leaves a bracket without
    kinks, the bracket is the answer.
    """
    n, passes = a.size, 1.0
    with np.errstate(divide="ignore", over="ignore"):
        most = np.minimum(hi, lo + room)
        leaves_cap, meets_floor = a / most - c, a / lo - c
    unlimited = leaves_cap[most < hi]
    left = max(float(leaves_cap.min()), float(unlimited.max(initial=-math.inf)))
    right = float(a.sum()) / room - float(c.min())
    probes = [left, *(x for x in probes if left < x < right)]
    d = probes.pop() if len(probes) > 1 else right
    kinks, best, newton, medians, patience = -1, math.inf, False, 0, 1

    for _ in range(_MAX_STEPS):
        passes += a.size / n

        # --- value and slope at d
        capped, floored = d <= leaves_cap, d >= meets_floor
        free = ~(capped | floored)
        all_free = bool(free.all())
        distance = d + (c if all_free else c[free])
        p = (a if all_free else a[free]) / distance
        want = (
            room
            - float((most[capped] - lo[capped]).sum())
            + float((lo if all_free else lo[free]).sum())
        )
        nearest = float(
            distance.min(initial=math.inf)
        )  # taken out of the slope sum(p / distance), which would overflow
        have, bend = float(p.sum()), float((p * (nearest / distance)).sum())
        gap = have - want
        if abs(gap) <= _ROUNDING * room:
            break
        left, right = (d, right) if gap > 0 else (left, d)

        # --- rows that the bracket has decided leave
        keep = (leaves_cap < right) & (meets_floor > left)
        if kinks and np.count_nonzero(keep) < 0.75 * a.size:
            at_cap = leaves_cap >= right
            room -= float((most[at_cap] - lo[at_cap]).sum())
            a, c, lo, most, leaves_cap, meets_floor = (
                x[keep] for x in (a, c, lo, most, leaves_cap, meets_floor)
            )

        # --- next point
        if kinks:
            inside = [x[(left < x) & (x < right)] for x in (leaves_cap, meets_floor)]
            kinks = inside[0].size + inside[1].size
        if newton and abs(gap) > best / 4:
            medians = patience = 2 * patience
        best = min(best, abs(gap))
        step = (have / want) * (gap / bend) * nearest if bend > 0 and want > 0 else math.nan
        if abs(step) <= _ROUNDING * abs(d):
            break
        following, newton = d + step, False
        if len(probes) > 1:
            following = probes.pop()
        elif following <= left == probes[0]:
            following, probes = left, [math.nan]
        elif kinks and (medians > 0 or not left < following < right):
            following = float(np.partition(np.concatenate(inside), kinks // 2)[kinks // 2])
            medians -= 1
        elif left < following < right:
            newton = True
        elif right <= 0:
            return d, left, right, passes
        else:
            following = _between(left, right)
        if not left <= following < right or following == d:
            break
        d = following
    else:
        raise ArithmeticError(
            f"the multiplier search did not settle in {_MAX_STEPS} steps: between {left!r} and"
            f" {right!r}"
        )
    return d, d, d, passes


def _between(left: float, right: float) -> float:
    if left < 0:
        return 0.0
    return math.sqrt(left) * math.sqrt(right) if left > 0 else 1e-9 * right


def _equal(lo: Floats, hi: Floats, room: float) -> _Found:
    ones = np.ones(lo.size)
    return _search(ones, 0.0, ones, lo, hi, room=room)


def _greedy(b: float, s: Floats, lo: Floats, hi: Floats, room: float) -> _Found:
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
            found = _equal(lo[tie], hi[tie], left_over)
            payout[tie] = found.payout
            passes += found.passes * found.payout.size / s.size
    return _Found(payout, b * level, passes)


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
        off[(a > 0) & ((a < _BARELY_A_NUMBER) | (payout < _BARELY_A_NUMBER))] = 0.0
        off[(payout <= lo) & (off < 0)] = 0.0
        off[(payout >= hi) & (off > 0)] = 0.0
        residual = max(residual, float(np.max(np.abs(off), initial=0.0)))
    return PoolAllocation(payout, nu, residual, math.ceil(passes))
