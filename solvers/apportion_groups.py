"""Largest remainder inside many groups at once: each group's whole total is handed on to its members."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
import numpy.typing as npt

from solvers.apportion import apportion


def apportion_groups(
    amounts: npt.ArrayLike, totals: npt.ArrayLike, group: npt.ArrayLike, keys: Sequence[Hashable] | None = None
) -> npt.NDArray[np.int64]:
    r"""Whole numbers that sum to `totals[g]` in every group g, in proportion to `amounts` inside it.

    For every group the method of :func:`solvers.apportion.apportion`: quota :math:`q_v = T_g a_v / \sum_{u \in g} a_u`, whole
    part first, what is left to the largest remainders, ties by a hash of the key.

    Parameters
    ----------
    amounts : (n,) floats or integers, finite and at least 0; a group of zeros is split as evenly as possible
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

    Examples
    --------
    >>> apportion_groups([1.0, 1.0, 5.0], [11, 4], [0, 0, 1], ["a", "b", "c"]).sum()
    np.int64(15)
    """
    values, shares, index = np.asarray(amounts), np.asarray(totals, dtype=np.int64), np.asarray(group, dtype=np.intp)
    if values.ndim != 1 or values.shape != index.shape or (keys is not None and len(keys) != values.size):
        raise ValueError(f"amounts, group and keys must have one length, they have {values.shape}, {index.shape}")
    members = np.bincount(index, minlength=shares.size)
    if members.size > shares.size:
        raise ValueError(f"group names {members.size} groups, totals has {shares.size}")
    paid = shares[index]

    # --- a group of one takes its total; the others are apportioned one by one
    order = np.argsort(index, kind="stable")
    starts = np.concatenate([[0], np.cumsum(members)])
    for g in np.flatnonzero((members != 1) & ((members > 1) | (shares > 0))):
        rows = order[starts[g] : starts[g + 1]]
        paid[rows] = apportion(values[rows], int(shares[g]), None if keys is None else [keys[row] for row in rows])
    return paid
