"""How much a viewer whom nobody vouches for may decide: weights of views by which no single account
brings a video more than a bound.

Belongs here: the weights, from what pools pay and who competes in them. Does not: whom to trust,
what a view is, or how a pool is split.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from solvers.arrays import Floats, Ints, column_of, refuse

__all__ = ["BoundedViews", "bounded_views"]

LEAST = 0.05
"""No view counts for less than this: somebody who was there is not nobody. Where a pool has no
verified viewers weights would fall without end, since only their ratio matters there.
"""

_STEPS = 24
_PASSES, _SETTLED = 8, 1e-4


@dataclass(frozen=True, eq=False)
class BoundedViews:
    """What views count for, video by video.

    Attributes
    ----------
    weight : (n,) lambda, what a view of an unverified viewer counts for, in whole millionths
    speaks_for : (n,) what a view of a verified viewer counts for, 1 + rho (1 - lambda)
    views : (n,) all views of the video, at these weights
    bounded : (n,) whether the bound binds (lambda < 1)
    """

    weight: Floats
    speaks_for: Floats
    views: Floats
    bounded: npt.NDArray[np.bool_]


def bounded_views(
    money: npt.ArrayLike,
    video: npt.ArrayLike,
    unit: npt.ArrayLike,
    pool: npt.ArrayLike,
    verified: npt.ArrayLike,
    unverified: npt.ArrayLike,
    quality: npt.ArrayLike,
    *,
    account: float,
    worth: float,
    alpha: float = 0.5,
    lambda_fair: float = 0.5,
    lambda_eff: float = 0.5,
) -> BoundedViews:
    r"""Views by which unverified viewers bring a video at most `worth` each.

    There are two estimates of a video's audience. What was counted, :math:`V_v + U_v`, of verified
    and of unverified viewers' trust; and what verified viewers alone say, :math:`(1 + \rho) V_v`,
    where :math:`\rho = \sum U / \sum V` is how many others usually come with one of them. Both are
    right on average for an honest audience; the first is more exact, the second cannot be bought.
    They are mixed,

    .. math:: N_v(\lambda) = (1 + \rho (1 - \lambda)) V_v + \lambda U_v,

    with the largest :math:`\lambda_v \le 1` by which the unverified viewers and one account more
    (trust a) bring the video at most `worth` b each:

    .. math:: \sum_{c \ni v} P_c \bigl[ y_c(x + \lambda (U_v + a) Q_v) - y_c(x) \bigr]
              \le b\, (U_v + a) / a, \qquad x = X - \lambda U_v Q_v,

    where X are the effective views :math:`\sum N Q` of the video's unit in pool c and :math:`y_c`
    the part of the pool that so many effective views are paid by the blend without bounds. Pay is
    concave in views, so a bound on the mean of all unverified viewers, rather than on the last one,
    leaves nothing to gain by coming first. Where an account is worth less anyway :math:`\lambda =
    1`: nothing changes. Sums over a pool move with the weights of everybody in it, so they are
    taken again until weights settle, which they do by a factor of ten a time. With no verified
    viewer anywhere every weight is 1.

    Parameters
    ----------
    money : (pools,) what each pool hands out
    video, unit, pool : (rows,) who competes where, by number; a video once in each of its pools, a
        unit of fairness with a number of its own in each
    verified, unverified : (videos,) views of each kind, in viewers' worth, at least 0
    quality : (videos,) Q, at least 0
    account : a > 0, the trust of one more account
    worth : b >= 0, in the unit of the money; infinite is no bound

    Raises
    ------
    ValueError
        shapes that do not fit, or a number outside its range

    Source: docs/formulas.md section 1.10. Two-sample estimates: Cochran, Sampling Techniques,
    chapter 5; bounded influence: Hampel et al., Robust Statistics, chapter 1.

    Examples
    --------
    Two videos in a dear pool, one of which nobody verified saw: an account may bring it 5.

    >>> found = bounded_views([100.0], [0, 1], [0, 1], [0, 0], [3.0, 0.0], [5.0, 2.0], [1.0, 1.0],
    ...     account=0.8, worth=5.0)
    >>> found.weight.round(3).tolist(), found.views.round(2).tolist()
    ([0.77, 0.314], [8.46, 0.63])
    """
    pools = np.asarray(money, dtype=np.float64)
    of_video, of_unit, of_pool = (np.asarray(x, dtype=np.int64) for x in (video, unit, pool))
    v, u, q = (np.asarray(x, dtype=np.float64) for x in (verified, unverified, quality))
    n = v.size
    u, q = column_of(u, "unverified", n), column_of(q, "quality", n)
    for name, values in (("money", pools), ("verified", v), ("unverified", u), ("quality", q)):
        refuse(~(np.isfinite(values) & (values >= 0)), f"{name} must be finite, at least 0", values)
    if not (of_video.shape == of_unit.shape == of_pool.shape):
        raise ValueError("video, unit and pool must have one length: a row each place to compete")
    if not (account > 0 and worth >= 0):
        raise ValueError(f"account = {account!r} must be above 0, worth = {worth!r} at least 0")
    ratio = math.fsum(u) / math.fsum(v) if v.any() else 0.0
    market = _Market(
        pools, of_video, of_unit, of_pool, v, u, q, ratio, (alpha, lambda_fair, lambda_eff)
    )
    weight = np.ones(n)
    if of_video.size and v.any() and math.isfinite(worth):
        for _ in range(_PASSES):
            before, weight = weight, market.weights(weight, account, worth)
            if float(np.abs(weight / before - 1).max()) < _SETTLED:
                break
    weight = np.maximum(np.floor(weight * 1e6), LEAST * 1e6) / 1e6
    return BoundedViews(
        weight, 1 + ratio * (1 - weight), market.views(weight), np.asarray(weight < 1)
    )


@dataclass(frozen=True, eq=False)
class _Market:
    money: Floats
    video: Ints
    unit: Ints
    pool: Ints
    verified: Floats
    unverified: Floats
    quality: Floats
    ratio: float
    blend: tuple[float, float, float]

    def views(self, weight: Floats) -> Floats:
        return self.verified * (1 + self.ratio * (1 - weight)) + weight * self.unverified

    def weights(self, before: Floats, account: float, worth: float) -> Floats:
        """The weights that sums over pools at the weights `before` ask for."""
        row = (self.views(before) * self.quality)[self.video]
        of_unit = np.bincount(self.unit, row)
        _, first = np.unique(self.unit, return_index=True)
        pool_of_unit, pools = self.pool[first], self.money.size
        alpha, fair, efficient = self.blend
        total = np.bincount(pool_of_unit, of_unit, pools)
        powers = np.bincount(pool_of_unit, of_unit**alpha, pools)
        per_view = self.money * efficient / (fair + efficient) / np.where(total > 0, total, 1.0)
        per_power = self.money * fair / (fair + efficient) / np.where(powers > 0, powers, 1.0)
        others = np.maximum(of_unit[self.unit] - row, 0.0)
        some = self.unverified + account

        def too_much(weight: Floats, rows: Ints, at: Ints, video: Ints) -> npt.NDArray[np.bool_]:
            """Of some videos: whether at these weights their viewers bring more than they may.
            `at` numbers them in the rows.
            """
            v, s, q = (x[video] for x in (self.verified, some, self.quality))
            x = others[rows] + (v * (1 + self.ratio * (1 - weight)) * q)[at]
            more = (weight * s * q)[at]
            c = self.pool[rows]
            brings = per_view[c] * more + per_power[c] * ((x + more) ** alpha - x**alpha)
            return np.asarray(np.bincount(at, brings, video.size) > worth * s / account)

        everybody = np.arange(self.verified.size)
        bad = too_much(np.ones(everybody.size), np.arange(self.video.size), self.video, everybody)
        video = np.flatnonzero(bad)
        rows = np.flatnonzero(bad[self.video])
        at = np.searchsorted(video, self.video[rows])
        low, high = np.full(video.size, math.log(LEAST)), np.zeros(video.size)
        for _ in range(_STEPS):
            middle = (low + high) / 2
            over = too_much(np.exp(middle), rows, at, video)
            low, high = np.where(over, low, middle), np.where(over, middle, high)
        found = np.ones(everybody.size)
        found[video] = np.exp(low)
        return found
