"""Largest remainder inside many groups at once: each group's whole total is handed on to its
members.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
import numpy.typing as npt

from solvers.apportion.quotas import apportion
from solvers.arrays import Floats, Ints

_EPSILON = float(np.finfo(float).eps)
_EXACT_BELOW = 2.0**50


def apportion_groups(
    amounts: npt.ArrayLike,
    totals: npt.ArrayLike,
    group: npt.ArrayLike,
    keys: Sequence[Hashable] | None = None,
) -> npt.NDArray[np.int64]:
    r"""Whole numbers that sum to `totals[g]` in every group g, in proportion to `amounts` inside
    it.

    For every group the method of :func:`solvers.apportion.apportion`: quota :math:`q_v = T_g a_v /
    \sum_{u \in g} a_u`, whole part first, what is left to the largest remainders, ties by a hash of
    the key.

    Parameters
    ----------
    amounts : (n,) floats or integers, finite and at least 0; a group of zeros is split as evenly as
        possible
    totals : (g,) whole numbers, at least 0
    group : (n,) index into `totals`
    keys : (n,) ids for ties; None uses positions

    Returns
    -------
    (n,) int64 array

    Raises
    ------
    ValueError
        Shapes do not fit, or an amount or total is not allowed.
    InfeasibleError
        A group has a total and no members.

    Notes
    -----
    Double precision decides a group when every quota is further from a whole number, and the last
    remainder served further from the next, than rounding errors reach; the other groups are
    apportioned one by one in exact arithmetic.

    Examples
    --------
    >>> apportion_groups([1.0, 1.0, 5.0], [11, 4], [0, 0, 1], ["a", "b", "c"]).sum()
    np.int64(15)
    """
    values, shares, index = (
        np.asarray(amounts),
        np.asarray(totals, dtype=np.int64),
        np.asarray(group, dtype=np.intp),
    )
    if (
        values.ndim != 1
        or values.shape != index.shape
        or (keys is not None and len(keys) != values.size)
    ):
        raise ValueError(
            f"amounts, group and keys must have one length, they have {values.shape}, {index.shape}"
        )
    if (shares < 0).any():
        raise ValueError(
            f"totals must not be negative: that of group {int(np.argmax(shares < 0))} is"
            f" {int(shares.min())}"
        )
    if not (np.isfinite(values) & (values >= 0)).all():
        row = int(np.argmin(np.isfinite(values) & (values >= 0)))
        raise ValueError(f"amounts must be finite and at least 0: row {row} is {values[row]!r}")
    members = np.bincount(index, minlength=shares.size)
    if members.size > shares.size:
        raise ValueError(f"group names {members.size} groups, totals has {shares.size}")
    # --- a group of one takes its total, whatever the amount
    paid = shares[index]
    several = np.flatnonzero(members[index] > 1)
    order = several[np.lexsort((several, index[several]))]
    if order.size:
        paid[order] = _quick(values[order].astype(float), shares, index[order])

    # --- groups that double precision cannot decide (ties above all), and empty ones with money,
    # are done exactly
    starts = np.searchsorted(index[order], np.arange(shares.size + 1))
    undecided = np.unique(index[order[paid[order] < 0]])
    for g in np.concatenate([undecided, np.flatnonzero((members == 0) & (shares > 0))]):
        rows = order[starts[g] : starts[g + 1]]
        paid[rows] = apportion(
            values[rows], int(shares[g]), None if keys is None else [keys[row] for row in rows]
        )
    return paid


def _quick(values: Floats, totals: Ints, group: Ints) -> Ints:
    """Largest remainders in double precision, rows sorted by group; -1 for the rows of every group
    that it cannot decide.
    """
    first = np.flatnonzero(np.concatenate([[True], group[1:] != group[:-1]]))
    size = np.diff(np.append(first, group.size))
    which = np.repeat(np.arange(first.size), size)
    total = totals[group[first]]
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        quota = values * (total / np.add.reduceat(values, first))[which]
    finite = np.isfinite(quota) & (quota < _EXACT_BELOW)
    quota = np.where(finite, quota, 0.0)
    whole = np.floor(quota)
    remainder = quota - whole
    doubt = (size[which] + 8.0) * _EPSILON * (quota + 1.0)
    unsure = ~finite | ((quota > 0) & ((remainder <= doubt) | (remainder >= 1 - doubt)))

    # --- what is left goes to the largest remainders; the last one served must lead the next by
    # more than the doubt
    left = total - np.add.reduceat(whole.astype(np.int64), first)
    ranked = np.lexsort((-remainder, which))
    place = np.arange(group.size) - first[which]
    paid = whole.astype(np.int64)
    paid[ranked] += place < left[which]
    cut = np.flatnonzero((place == left[which] - 1) & (place + 1 < size[which]))
    close = (
        remainder[ranked[cut]] - remainder[ranked[cut + 1]]
        <= 2 * np.maximum.reduceat(doubt, first)[which[cut]]
    )
    undecided = np.zeros(first.size, dtype=bool)
    undecided[which[unsure]] = True
    undecided[which[cut[close]]] = True
    undecided |= (left < 0) | (left > size)
    return np.where(undecided[which], -1, paid)
