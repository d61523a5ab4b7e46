"""How unequally an amount is spread: the two figures everybody asks of a payout."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray


def gini(amounts: ArrayLike) -> float:
    r"""Gini coefficient :math:`\sum_i (2i - n - 1) x_{(i)} / (n \sum x)` of non-negative amounts,
    sorted ascending.

    Parameters
    ----------
    amounts : (n,) Amounts, any unit; NaN and negative amounts are refused.

    Returns
    -------
    float
        0 when everybody has the same, (n - 1)/n when one has it all; 0 when there is nothing to
        spread.

    Raises
    ------
    ValueError
        An amount is negative or NaN.

    Examples
    --------
    >>> gini([1, 1, 1, 1]), gini([0, 0, 0, 8])
    (0.0, 0.75)
    """
    x = _checked(amounts)
    n, total = x.size, math.fsum(x)
    if total == 0:
        return 0.0
    return math.fsum((2 * np.arange(1, n + 1) - n - 1) * x) / (n * total)


def top_share(amounts: ArrayLike, fraction: float = 0.01) -> float:
    """Share of the total that the largest `fraction` of the amounts has (at least one amount; 0
    when there is nothing).

    Examples
    --------
    >>> top_share([1, 1, 2, 4], 0.25)
    0.5
    """
    x = _checked(amounts)
    total = math.fsum(x)
    if total == 0:
        return 0.0
    return math.fsum(x[-max(1, math.floor(fraction * x.size)) :]) / total


def _checked(amounts: ArrayLike) -> NDArray[np.float64]:
    x = np.sort(np.asarray(amounts, dtype=float))
    if x.size and (np.isnan(x).any() or x[0] < 0):
        raise ValueError(f"amounts must not be negative or NaN, the least is {x[0]}")
    return x
