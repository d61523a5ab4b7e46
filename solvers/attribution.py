"""Take an amount apart: how much of it each factor explains, in parts that add up to the last unit.

Belongs here: exact Shapley values of a few factors, of one game or of many at once, and whole parts
of whole amounts. Does not:
which factors a payout has and what "without a factor" means for it
(`pipelines.ledger.explanation`).
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from solvers.arrays import Floats, Ints, Mask

_MOST_PLAYERS = 20
_WHOLE_BELOW = 2.0**53


def shapley(value: Callable[[Mask], npt.ArrayLike], players: int) -> Floats:
    r"""Shapley value of every player of the set function v.

    .. math:: \phi_i = \sum_{S \not\ni i} \frac{|S|! \, (k - |S| - 1)!}{k!} \, (v(S \cup \{i\}) -
              v(S))

    Switch the players on one after another, from nobody to all: what player i adds depends on who
    is on already. :math:`\phi_i` is that addition averaged over all k! orders, each counted once.
    So the parts do not depend on an order in which anybody lists the players ("order-free"), they
    add up to v(all) - v(nobody), equal players get equal parts, and one that never changes anything
    gets 0. No other rule does all this and adds up over sums of games.

    Parameters
    ----------
    value : v of many coalitions at once; gets every subset as a row of a (2**k, k) boolean array
        and returns (2**k,) numbers
    players : k, from 0 to 20

    Returns
    -------
    (k,) array

    Raises
    ------
    ValueError
        more players than can be enumerated, values of another shape, or one that is not finite

    Notes
    -----
    Source: L. S. Shapley, *A Value for n-Person Games*, 1953; docs/formulas.md (explanations).

    Examples
    --------
    >>> shapley(lambda on: (2.0 + on[:, 0]) * (3.0 + 4.0 * on[:, 1]), 2).tolist()
    [5.0, 10.0]
    """
    if not 0 <= players <= _MOST_PLAYERS:
        raise ValueError(f"players must be from 0 to {_MOST_PLAYERS}, not {players}")
    index = np.arange(1 << players)
    coalitions = (index[:, None] >> np.arange(players)) & 1 == 1
    worth = np.asarray(value(coalitions), dtype=np.float64)
    if worth.shape != index.shape:
        raise ValueError(f"value must return {index.size} numbers, not shape {worth.shape}")
    if not np.isfinite(worth).all():
        row = int(np.argmin(np.isfinite(worth)))
        raise ValueError(
            f"the value of coalition {np.flatnonzero(coalitions[row]).tolist()} is"
            f" {float(worth[row])!r}"
        )
    size = coalitions.sum(axis=1)
    weight = np.array([1.0 / (players * math.comb(players - 1, s)) for s in range(players)])
    parts = np.empty(players)
    for player in range(players):
        without = index[~coalitions[:, player]]
        parts[player] = weight[size[without]] @ (worth[without | 1 << player] - worth[without])
    return parts


def whole_parts(parts: npt.ArrayLike, total: int) -> Ints:
    r"""Whole numbers next to `parts` that sum to `total`: largest remainder on signed parts.

    Every part is rounded down, :math:`\lfloor x_i \rfloor`; the units still missing go to the
    largest :math:`x_i - \lfloor x_i \rfloor`, earlier parts first among equals. So each result is
    one of the two whole numbers around its part, and a whole part, 0 above all, stays what it is. A
    total that differs from the sum by a unit or more cannot be met like this: give that difference
    a name of its own (an explanation calls it rounding).

    Parameters
    ----------
    parts : (n,) finite numbers of any sign, below 2**53
    total : whole number

    Returns
    -------
    (n,) int64 array that sums to `total`

    Raises
    ------
    ValueError
        a part that is not finite or too large, or a total that rounding each part up or down cannot
        reach

    Examples
    --------
    >>> whole_parts([2.5, -1.25, 0.0, 7.75], 9).tolist()
    [2, -1, 0, 8]
    """
    values, total = np.asarray(parts, dtype=np.float64), operator.index(total)
    if values.ndim != 1 or not (np.abs(values) < _WHOLE_BELOW).all():
        raise ValueError(f"parts must be (n,) finite numbers below 2**53, not {values!r}")
    down = np.floor(values)
    remainder = values - down
    whole = down.astype(np.int64)
    units = total - sum(whole.tolist())
    if not 0 <= units <= np.count_nonzero(remainder):
        raise ValueError(
            f"parts that sum to {math.fsum(values)!r} cannot be rounded to sum to {total}"
        )
    whole[np.argsort(-remainder, kind="stable")[:units]] += 1
    return whole


def shapley_weights(players: int) -> Floats:
    r"""The (2**k, k) matrix that turns values of coalitions into Shapley values: for many games at
    once, `values @ shapley_weights(k)`. Row S is the coalition whose players are the bits of S.

    Raises
    ------
    ValueError
        more players than can be enumerated

    Examples
    --------
    >>> values = product_values(np.array([[2.0, 3.0]]), np.array([[3.0, 7.0]]))
    >>> values.tolist(), (values @ shapley_weights(2)).tolist()
    ([[6.0, 9.0, 14.0, 21.0]], [[5.0, 10.0]])
    """
    if not 0 <= players <= _MOST_PLAYERS:
        raise ValueError(f"players must be from 0 to {_MOST_PLAYERS}, not {players}")
    index = np.arange(1 << players)
    inside = (index[:, None] >> np.arange(players)) & 1 == 1
    size = inside.sum(axis=1)
    weight = [1.0 / (players * math.comb(players - 1, s)) for s in range(players)] + [0.0]
    joins = np.array(weight)[np.maximum(size - 1, 0)]
    found: Floats = np.where(inside, joins[:, None], -np.array(weight)[size][:, None])
    return found


def product_values(off: npt.ArrayLike, on: npt.ArrayLike) -> Floats:
    """Values of all coalitions of n games whose value is a product of k factors: a factor is that
    of `on` where its player is in, and that of `off` where not.

    Parameters
    ----------
    off, on : (n, k) factors

    Returns
    -------
    (n, 2**k) array, coalitions as in `shapley_weights`
    """
    without, given = np.asarray(off, dtype=np.float64), np.asarray(on, dtype=np.float64)
    if without.ndim != 2 or without.shape != given.shape:
        raise ValueError(f"factors must both be (n, k), not {without.shape} and {given.shape}")
    values = np.ones((without.shape[0], 1))
    for player in range(without.shape[1]):
        values = np.hstack([values * without[:, player, None], values * given[:, player, None]])
    return values


def whole_rows(parts: npt.ArrayLike, totals: npt.ArrayLike) -> Ints:
    """`whole_parts` of many amounts at once.

    Parameters
    ----------
    parts : (n, k) finite numbers of any sign, below 2**53
    totals : (n,) whole numbers

    Returns
    -------
    (n, k) int64 array whose rows sum to `totals`

    Raises
    ------
    ValueError
        as `whole_parts`; says which row

    Examples
    --------
    >>> whole_rows([[2.5, -1.25, 0.0, 7.75], [0.5, 0.5, 0.0, 0.0]], [9, 1]).tolist()
    [[2, -1, 0, 8], [1, 0, 0, 0]]
    """
    values, sums = np.asarray(parts, dtype=np.float64), np.asarray(totals, dtype=np.int64)
    if values.ndim != 2 or sums.shape != values.shape[:1]:
        raise ValueError(f"parts (n, k) and totals (n,), not {values.shape} and {sums.shape}")
    if not (np.abs(values) < _WHOLE_BELOW).all():
        raise ValueError("parts must be finite numbers below 2**53")
    down = np.floor(values)
    remainder = values - down
    whole: Ints = down.astype(np.int64)
    units = sums - whole.sum(axis=1)
    wrong = (units < 0) | (units > np.count_nonzero(remainder, axis=1))
    if wrong.any():
        row = int(np.argmax(wrong))
        raise ValueError(
            f"row {row}: parts that sum to {math.fsum(values[row])!r} cannot be rounded to sum to"
            f" {int(sums[row])}"
        )
    rank = np.argsort(np.argsort(-remainder, axis=1, kind="stable"), axis=1, kind="stable")
    whole += rank < units[:, None]
    return whole
