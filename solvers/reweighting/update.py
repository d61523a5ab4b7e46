"""Adaptive reweighting: groups of viewers that are served worse than the others gain weight, and
what a recommender makes of a weight.

Belongs here: one update of algorithm 1, and the maps from weight to temperature, number of
candidates and cold-start percentile. Does not: how a group's utility is measured, which day it is,
and the game that creators play (`solvers.competition`).
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from solvers.arrays import Floats, Ints

TABLE_1_BOUNDS = (1.0, 1.19, 1.79, 2.13, 2.36, 2.68)
TABLE_1_PERCENTILES = (0.99, 0.95, 0.90, 0.85, 0.75, 0.70, 0.10)
_ON_AN_EDGE = 1e-9
"""Weights are averaged and divided: one this near a bound is meant to be on it."""


def update_weights(
    weights: npt.ArrayLike,
    utility: npt.ArrayLike,
    *,
    rate: float,
    clip: tuple[float, float] = (0.2, 5.0),
) -> Floats:
    r"""Weights of the next epoch from the weights of this one and how well each group was served.

    .. math:: w_l \leftarrow w_l \, e^{-\alpha u_l}, \qquad w_l \leftarrow L \, w_l /
              \textstyle\sum_k w_k, \qquad
        w_l \leftarrow \min(\max(w_l, w_{\min}), w_{\max})

    The clip comes last, so the mean of the result need not be 1.

    Parameters
    ----------
    weights : (L,) weights in force, above 0
    utility : (L,) utility of each group over the epoch, any finite number; adding a constant to all
        of them changes nothing
    rate : alpha, at least 0; with 0 the weights are only normalised and clipped
    clip : smallest and largest weight, 0 < smallest <= largest

    Returns
    -------
    (L,) array

    Raises
    ------
    ValueError
        a number that is not of the kind asked for; names the group

    Notes
    -----
    Source: Yao et al., algorithm 1, lines 7 to 9.

    Examples
    --------
    >>> update_weights([1, 1, 1, 1], [0.8, 0.7, 0.6, 0.5], rate=0.5).round(4).tolist()
    [0.9263, 0.9738, 1.0237, 1.0762]
    """
    w, u = _weights(weights), np.asarray(utility, dtype=np.float64)
    smallest, largest = clip
    if u.shape != w.shape:
        raise ValueError(f"{w.size} weights but utilities of shape {u.shape}")
    if not np.isfinite(u).all():
        group = int(np.flatnonzero(~np.isfinite(u))[0])
        raise ValueError(f"the utility of group {group} is {u[group]}, not a finite number")
    if not 0 <= rate < np.inf:
        raise ValueError(f"rate is {rate}, not a finite number of at least 0")
    if not 0 < smallest <= largest:
        raise ValueError(
            f"clip is {clip}, not a smallest weight above 0 and a largest one at least as large"
        )
    if w.size == 0:
        return w
    # the same as w exp(-rate u), but the largest is 1 whatever the rate
    exponent = np.log(w) - rate * u
    grown = np.exp(exponent - exponent.max())
    result: Floats = np.clip(w.size * grown / grown.sum(), smallest, largest)
    return result


def matching_temperature(weights: npt.ArrayLike, *, temperature: float) -> Floats:
    """Softmax temperature of each group under soft matching truncation: beta w.

    Parameters
    ----------
    weights : (L,) weights, above 0
    temperature : beta of the default matching, above 0

    Notes
    -----
    Source: Yao et al., equation (9) and section 5.1.3.

    Examples
    --------
    >>> matching_temperature([0.5, 2.0], temperature=0.1).tolist()
    [0.05, 0.2]
    """
    if not 0 < temperature < np.inf:
        raise ValueError(f"temperature is {temperature}, not a finite number above 0")
    return temperature * _weights(weights)


def matching_candidates(
    weights: npt.ArrayLike, *, candidates: int, available: int | None = None
) -> Ints:
    """Number of candidates retrieved for each group under hard matching truncation: ceil(K w), at
    least 1, at most what there is.

    A product that floating point puts less than 1e-9 above a whole number counts as that number: 20
    * 1.1 is 22, not 23.

    Parameters
    ----------
    weights : (L,) weights, above 0
    candidates : K of the default matching, at least 1
    available : how much content there is to retrieve; None is no limit

    Notes
    -----
    Source: Yao et al., equation (10) and section 5.1.3.

    Examples
    --------
    >>> matching_candidates([0.2, 1.1, 5.0], candidates=20, available=60).tolist()
    [4, 22, 60]
    """
    if candidates < 1 or (available is not None and available < 1):
        raise ValueError(
            f"candidates is {candidates} and available is {available}, both must be at least 1"
        )
    product = np.maximum(np.ceil(candidates * _weights(weights) - 1e-9), 1.0)
    limit = np.iinfo(np.int64).max // 2 if available is None else available
    return np.minimum(product, limit).astype(np.int64)


def cold_start_percentile(
    weights: npt.ArrayLike,
    *,
    bounds: npt.ArrayLike = TABLE_1_BOUNDS,
    percentiles: npt.ArrayLike = TABLE_1_PERCENTILES,
    edge: Literal["above", "below"] = "above",
) -> Floats:
    """Relevance percentile that cold-start content must reach to be shown to each group: a
    piecewise-constant map of the weight.

    A weight in [bounds[k-1], bounds[k]) gets percentiles[k]; the higher the weight, the lower the
    bar.

    Parameters
    ----------
    weights : (L,) weights, at least 0
    bounds : (B,) strictly ascending
    percentiles : (B + 1,) in [0, 1]
    edge : the row of a weight on a bound: that above it, as printed, or that below it. With "below"
        a group at weight 1, where all begin and unmeasured ones stay, keeps the first row, which is
        what holds without HMT; a weight within 1e-9 of a bound is on it

    Notes
    -----
    Source: Yao et al., table 1 (the default map).

    Examples
    --------
    >>> cold_start_percentile([0.2, 1.0, 1.2, 5.0]).tolist()
    [0.99, 0.95, 0.9, 0.1]
    >>> cold_start_percentile([0.2, 1.0, 1.2, 5.0], edge="below").tolist()
    [0.99, 0.99, 0.9, 0.1]
    """
    steps, levels = np.asarray(bounds, dtype=np.float64), np.asarray(percentiles, dtype=np.float64)
    if levels.shape != (steps.size + 1,):
        raise ValueError(
            f"{steps.size} bounds need {steps.size + 1} percentiles, not {levels.size}"
        )
    if not (np.diff(steps) > 0).all() or not np.isfinite(steps).all():
        raise ValueError(f"the bounds {steps.tolist()} do not ascend")
    if not ((levels >= 0) & (levels <= 1)).all():
        raise ValueError(f"the percentiles {levels.tolist()} are not all between 0 and 1")
    if edge not in ("above", "below"):
        raise ValueError(f"edge must be 'above' or 'below', not {edge!r}")
    w = _weights(weights, zero=True)
    if edge == "below":
        w = w * (1 - _ON_AN_EDGE)
    result: Floats = levels[np.searchsorted(steps, w, side="right")]
    return result


def _weights(weights: npt.ArrayLike, *, zero: bool = False) -> Floats:
    w = np.asarray(weights, dtype=np.float64)
    if w.ndim != 1:
        raise ValueError(f"weights have shape {w.shape}, not one number a group")
    wrong = ~(np.isfinite(w) & ((w >= 0) if zero else (w > 0)))
    if wrong.any():
        group = int(np.flatnonzero(wrong)[0])
        raise ValueError(
            f"the weight of group {group} is {w[group]}, not a finite number"
            f" {'of at least' if zero else 'above'} 0"
        )
    return w
