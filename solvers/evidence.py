"""How much one more viewing tells about a video: the strength of a prior, from the spread between
videos.

Belongs here: fitting a beta-binomial to sums of successes and trials. Does not: what a success is,
whom to believe, or what is done with a shrunken rate.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import betaln

from solvers.arrays import Floats

__all__ = ["BetaPrior", "fit_prior", "shrunken"]

STEPS = 8
"""Strengths tried a decade: 33 % apart, so that the last bits of a sum do not move one."""

_SAMPLE = 20_000


@dataclass(frozen=True)
class BetaPrior:
    """What is known of a rate before a video has shown anything.

    Attributes
    ----------
    rate : the platform's rate
    strength : trials that it is worth beside a video's own
    fitted : the strength of largest likelihood, before the bounds; infinite where no spread shows
    """

    rate: float
    strength: float
    fitted: float


def fit_prior(
    successes: npt.ArrayLike,
    trials: npt.ArrayLike,
    *,
    reference: float,
    reference_trials: float,
    least_successes: float,
    most_successes: float = math.inf,
    most_trials: float = 1e6,
) -> BetaPrior:
    r"""The beta prior of rates that differ between videos, by maximum likelihood, bounded below.

    Video :math:`v` has :math:`x_v` successes in :math:`n_v` trials (both may be fractions: trust).
    With :math:`p = (\sum x_v + n_0 p_0) / (\sum n_v + n_0)` its rate is taken as drawn from
    Beta(:math:`p m, (1-p) m`), and the strength :math:`m` maximises

    .. math:: \sum_v \log B(pm + x_v, (1-p)m + n_v - x_v) - \log B(pm, (1-p)m)

    on a grid of `STEPS` a decade from 1 to `most_trials`. The likelihood is used and not moments,
    because of rare actions single videos decide a second moment: it came out as 6 trials for
    shares and :math:`2 \cdot 10^9` for comments on one real day. What is returned is at least
    `least_successes` successes' worth, :math:`m \ge k/p`: then one more success moves a shrunken
    rate by at most :math:`1/k` of itself, however rare it is.

    Parameters
    ----------
    successes, trials : (n,) with 0 <= successes <= trials
    reference, reference_trials : p_0 in (0, 1) and n_0 > 0, what is taken for granted
    least_successes : k > 0
    most_successes : at least k; bounds the strength above likewise, because a day that shows no
        spread may just be thin
    most_trials : end of the grid; where the likelihood still grows there, `fitted` is infinite

    Raises
    ------
    ValueError
        a number outside its range, or shapes that do not fit

    Notes
    -----
    Of more than 20,000 videos with trials every so-many-th is used, in the order given.

    Source: docs/formulas.md section 1.5. Gelman et al., Bayesian Data Analysis, section 5.3.

    Examples
    --------
    >>> prior = fit_prior([1, 9, 2, 8], [10, 10, 10, 10], reference=0.5, reference_trials=1,
    ...     least_successes=1)
    >>> round(prior.rate, 3), round(prior.strength, 2)
    (0.5, 2.0)
    >>> shrunken(9, 10, prior).round(3).item()
    0.833
    """
    x = np.asarray(successes, dtype=np.float64)
    n = np.asarray(trials, dtype=np.float64)
    if x.shape != n.shape or x.ndim != 1:
        raise ValueError(f"successes {x.shape} and trials {n.shape} must be vectors of one length")
    if not (np.isfinite(n).all() and (x >= 0).all() and (x <= n * (1 + 1e-9)).all()):
        raise ValueError("successes must lie between 0 and trials, and trials be finite")
    if not (0 < reference < 1 and reference_trials > 0 and least_successes > 0):
        raise ValueError(
            f"reference = {reference:g} must lie in (0, 1), and reference_trials ="
            f" {reference_trials:g} and least_successes = {least_successes:g} be above 0"
        )
    total = math.fsum(n)
    rate = (min(math.fsum(x), total) + reference_trials * reference) / (total + reference_trials)
    seen = np.flatnonzero(n > 0)
    seen = seen[:: -(-seen.size // _SAMPLE) or 1]
    fitted = _likeliest(np.minimum(x, n)[seen], n[seen], rate, most_trials)
    least, most = least_successes / rate, min(most_successes / rate, most_trials)
    return BetaPrior(rate, float(min(max(fitted, least), max(most, least))), fitted)


def _likeliest(x: Floats, n: Floats, rate: float, most: float) -> float:
    if rate >= 1 or not x.size:
        return math.inf
    grid = 10.0 ** (np.arange(round(STEPS * math.log10(most)) + 1) / STEPS)
    worth = []
    for strength in grid.tolist():
        a, b = rate * strength, (1 - rate) * strength
        worth.append(math.fsum(betaln(a + x, b + n - x) - betaln(a, b)))
    best = int(np.argmax(worth))
    return math.inf if best == grid.size - 1 else float(grid[best])


def shrunken(successes: npt.ArrayLike, trials: npt.ArrayLike, prior: BetaPrior) -> Floats:
    """Rates with the prior mixed in: (x + m p) / (n + m)."""
    x, n = np.asarray(successes, dtype=np.float64), np.asarray(trials, dtype=np.float64)
    return np.asarray((x + prior.strength * prior.rate) / (n + prior.strength))
