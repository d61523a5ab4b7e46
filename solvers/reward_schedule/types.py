"""How able creators are, from what they produced: output and quality with a prior for short
histories, and types of equal ability.

Belongs here: the estimate, the difficulty that explains it, and how well it predicts. What is paid
to which type: `bonus_schedule`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from solvers.arrays import Floats
from solvers.reward_schedule.schedule import PowerCost


@dataclass(frozen=True, eq=False)
class Ability:
    """Of each creator, a day: output (views), quality (a view's), and their product, production
    (effective views); all (n,).
    """

    output: Floats
    quality: Floats
    production: Floats


@dataclass(frozen=True, eq=False)
class Types:
    """Creators in classes of like production, the most able class last.

    Attributes
    ----------
    member : (n,) class of each creator, from 0
    mass : (m,) creators in each class
    production : (m,) their mean production, strictly rising
    difficulty : (m,) h at which that production is best for a creator who is paid `price` a unit;
        strictly falling
    """

    member: npt.NDArray[np.intp]
    mass: Floats
    production: Floats
    difficulty: Floats


def estimate_ability(
    views: npt.ArrayLike, effective_views: npt.ArrayLike, days: npt.ArrayLike, prior_days: float
) -> Ability:
    r"""Output, quality and production of creators a day; the shorter a history, the nearer to a
    typical creator.

    With :math:`V_i` views and :math:`M_i` effective views in :math:`n_i` days, a typical creator's
    output :math:`\bar o` (the median of :math:`V_i / n_i`) and everybody's quality :math:`\bar q =
    \sum M / \sum V`, a prior of m days adds a typical creator's:

    .. math:: o_i = \frac{V_i + m \bar o}{n_i + m}, \quad q_i = \frac{M_i + m \bar o \bar q}{V_i + m
              \bar o}, \quad
              o_i q_i = \frac{M_i + m \bar o \bar q}{n_i + m}.

    The median, because a few creators produce most: next to the mean every newcomer would look
    able.

    Parameters
    ----------
    views, effective_views : (n,) above 0, and from 0 to that
    days : (n,) length of each history, above 0
    prior_days : m, at least 0

    Raises
    ------
    ValueError
        a number outside its range (names the row)

    Source: docs/formulas.md section 6.

    Examples
    --------
    >>> ability = estimate_ability([100, 10, 40], [50, 10, 10], [10, 1, 4], prior_days=4)
    >>> ability.production.round(3).tolist()
    [4.905, 5.733, 3.583]
    """
    v, e, n = (np.asarray(column, dtype=np.float64) for column in (views, effective_views, days))
    if not v.shape == e.shape == n.shape or v.ndim != 1 or v.size == 0:
        raise ValueError(
            f"views, effective views and days must have one shape (n,) with n >= 1, not {v.shape},"
            f" {e.shape} and {n.shape}"
        )
    for name, column, good in (
        ("views", v, (v > 0) & (v < np.inf)),
        ("effective views", e, (e >= 0) & (e <= v)),
        ("days", n, (n > 0) & (n < np.inf)),
    ):
        if not good.all():
            row = int(np.argmin(good))
            raise ValueError(
                f"{name} of row {row} must be above 0 and finite, effective views from 0 to views:"
                f" {float(column[row])!r}"
            )
    if not 0 <= prior_days < np.inf:
        raise ValueError(f"prior_days must be finite and at least 0, not {prior_days!r}")
    typical = float(np.median(v / n))
    quality = float(e.sum() / v.sum())
    return Ability(
        output=(v + prior_days * typical) / (n + prior_days),
        quality=(e + prior_days * typical * quality) / (v + prior_days * typical),
        production=(e + prior_days * typical * quality) / (n + prior_days),
    )


def group_types(production: npt.ArrayLike, levels: int, cost: PowerCost, price: float) -> Types:
    r"""At most `levels` classes of like production, of about equal numbers, each with the
    difficulty its production reveals.

    A creator who is paid p a unit and chooses x says :math:`h = p / c'(x)`. Creators with equal
    production are of one class.

    Parameters
    ----------
    production : (n,) above 0
    levels : at least 1
    cost, price : PowerCost with an exponent above 1; above 0

    Raises
    ------
    ValueError
        a production, a price or a number of levels outside its range

    Examples
    --------
    >>> types = group_types([1.0, 4.0, 2.0, 4.0], 2, PowerCost(2), price=8.0)
    >>> types.member.tolist(), types.production.tolist(), types.difficulty.round(3).tolist()
    ([0, 1, 0, 1], [1.5, 4.0], [2.667, 1.0])
    """
    x = np.asarray(production, dtype=np.float64)
    if x.ndim != 1 or x.size == 0 or not ((x > 0) & (x < np.inf)).all():
        raise ValueError("production must be one number a creator, finite and above 0")
    if levels < 1 or not 0 < price < np.inf or not cost.k > 1:
        raise ValueError(
            f"levels must be at least 1, the price and the exponent above 0 and 1: {levels!r},"
            f" {price!r}, {cost.k!r}"
        )
    values, place, counts = np.unique(x, return_inverse=True, return_counts=True)
    middle = np.cumsum(counts) - (counts + 1) / 2  # mean rank of the creators with a value
    _, of_value = np.unique((middle * levels / x.size).astype(np.intp), return_inverse=True)
    member = of_value[place]
    mass = np.bincount(member).astype(np.float64)
    mean = np.bincount(of_value, weights=values * counts) / mass
    return Types(member, mass, mean, price / cost.derivative(mean))


def explained(predicted: npt.ArrayLike, realised: npt.ArrayLike) -> float:
    """R squared on the scale of log(1 + x): 1 is a perfect prediction, 0 is as good as everybody's
    mean; NaN if all realised are equal.

    Examples
    --------
    >>> seen = [1.0, 3.0, 9.0]
    >>> explained(seen, seen), round(explained([2.0, 2.0, 2.0], seen), 3)
    (1.0, -0.302)
    """
    seen, said = (
        np.log1p(np.asarray(column, dtype=np.float64)) for column in (realised, predicted)
    )
    spread = float(((seen - seen.mean()) ** 2).sum())
    return 1 - float(((seen - said) ** 2).sum()) / spread if spread > 0 else float("nan")
