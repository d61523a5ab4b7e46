"""The best split of donations found week by week, without knowing what creators would leave for.

Belongs here: what weeks under different splits say of every other split, and which one to try next
(the outlook of Tang and Huang: an online algorithm for Stage I). Does not: what one week's counts
by location say (`solvers.donation_market.study`), and the market itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from solvers.arrays import Floats
from solvers.donation_market.equilibrium import PowerDonation
from solvers.donation_market.mechanism import DonationMarket

ALPHAS = np.geomspace(0.004, 0.99, 170)
"""Splits among which one is chosen, each 3.3 % above the one before."""
_KNEES = np.geomspace(0.002, 3.0, 72)
_SPREADS = np.array([0.05, 0.3, 0.7, 1.2])
_LEANS = np.array([0.0, 0.04, 0.1, 0.2])
_AT_TOP = np.array([0.0, 0.5])
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(7)
_MISFIT = 0.01
"""No market is quite of the family: the logarithm of its donations is off by this."""
_ENOUGH = 0.005
"""An expected loss below this part is not explored any more; while it is above, exploring may cost
this much.
"""
_OUTCOMES = 24
"""Markets that a look ahead imagines, at quantiles of the best split."""


@dataclass(frozen=True, eq=False)
class SplitBelief:
    r"""What some weeks say of the best split: a family of markets, and how likely each is.

    Donations grow with the creators' share as

    .. math:: T(\alpha) \propto E_K \min\big((\alpha / K)^{s}, (\alpha / K)^{c}\big), \qquad c =
              (1 - b)/b

    Below its knee K a group of creators earns nothing and grows as for creators without number;
    above it all of the group take part and only match the viewers better (s is small). log K is
    uniform up to the last knee, where a part of the groups may lie together. By theorem no market
    of a power donation grows faster than c.

    Attributes
    ----------
    weight : (F,) of each market of the family, sum 1
    share : (F, A) its donations at `ALPHAS`, up to a factor
    part : (F, A) what each split leaves its platform, as a part of its best one
    best : (F,) its best split
    shares_tried : how many different ones the weeks had
    """

    weight: Floats
    share: Floats
    part: Floats
    best: Floats
    shares_tried: int

    @property
    def expected(self) -> Floats:
        """(A,): the part of the best payoff that each split leaves, on average."""
        return np.asarray(self.weight @ self.part)

    def least(self, probability: float = 0.05) -> Floats:
        """(A,): the part it leaves at least, but for this probability."""
        order = np.argsort(self.part, axis=0)
        mass = np.cumsum(self.weight[order], axis=0)
        at = np.argmax(mass >= probability, axis=0)
        columns = np.arange(self.part.shape[1])
        return np.asarray(self.part[order[at, columns], columns])

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """Where the best split lies."""
        order = np.argsort(self.best)
        mass = np.cumsum(self.weight[order])
        low, high = (
            min(int(np.searchsorted(mass, (1 + side * confidence) / 2)), order.size - 1)
            for side in (-1, 1)
        )
        return float(self.best[order[low]]), float(self.best[order[high]])

    def choose(self, *, caution: float = 0.95) -> float:
        """The split with the most expected payoff among those that leave the part `caution` of the
        best one, but for one case of twenty; if none does, the one that comes nearest.
        """
        least, expected = self.least(), self.expected
        safe = least >= caution
        if not safe.any():
            return float(ALPHAS[np.argmax(least)])
        return float(ALPHAS[np.flatnonzero(safe)[np.argmax(expected[safe])]])

    def explore(self, *, noise: float, budget: float, caution: float = 0.0) -> float:
        """The split after which the choice can be expected to be best, among those that are
        expected to lose at most the part `budget` more than the best choice now, and that leave
        `caution` of the best one but for one case of twenty.
        """
        expected, least = self.expected, self.least()
        kept = (expected >= expected.max() - budget) & (least >= min(caution, least.max()))
        open_ = np.flatnonzero(kept)
        if not open_.size:
            return self.choose(caution=caution)
        tries = open_[:: max(1, open_.size // 30)]
        order = np.argsort(self.best)
        mass = np.cumsum(self.weight[order])
        at = np.searchsorted(mass, (np.arange(_OUTCOMES) + 0.5) / _OUTCOMES)
        imagined = order[np.minimum(at, order.size - 1)]
        then = np.zeros(tries.size)
        scale = noise + _MISFIT
        for place, column in enumerate(tries):
            value = np.log(self.share[:, column])
            off = (value[imagined, None] - value) / scale
            weight = self.weight * np.exp(-(off**2) / 2)
            weight /= weight.sum(axis=1, keepdims=True)
            then[place] = (weight @ self.part).max(axis=1).mean()
        return float(ALPHAS[tries[np.argmax(then)]])


def learn_split(
    alphas: npt.ArrayLike, donated: npt.ArrayLike, *, exponent: float, noise: float = 0.03
) -> SplitBelief:
    """What weeks under the splits `alphas` say, in which `donated` was given (on the same viewers:
    divide by what they would give, M^b, where they change).

    Weeks with the same split say nothing of another one, however many there are.

    Parameters
    ----------
    alphas, donated : (t,), t at least 1; splits in (0, 1], donations above 0
    exponent : b of the donation function, in (0, 1)
    noise : standard deviation of the logarithm of a week's donations

    Raises
    ------
    ValueError
        numbers outside these

    Examples
    --------
    >>> belief = learn_split([0.5, 0.1], [100.0, 60.0], exponent=0.6)
    >>> low, high = belief.interval()
    >>> bool(0.1 < low < belief.choose() < high < 0.4)
    True
    >>> learn_split([0.5], [100.0], exponent=0.6).interval()[0] < 0.01
    True
    """
    a, d = np.asarray(alphas, dtype=np.float64), np.asarray(donated, dtype=np.float64)
    if a.ndim != 1 or a.shape != d.shape or not a.size:
        raise ValueError(f"alphas and donated must be as many: shapes {a.shape} and {d.shape}")
    if not (np.all((a > 0) & (a <= 1)) and np.all(np.isfinite(d) & (d > 0))):
        raise ValueError(f"alphas must lie in (0, 1] and donations be above 0: {a!r}, {d!r}")
    if not (0 < exponent < 1 and noise > 0):
        raise ValueError(f"exponent must lie in (0, 1), noise above 0: {exponent!r}, {noise!r}")
    steepest = (1 - exponent) / exponent
    grids = np.meshgrid(_KNEES, _SPREADS, _LEANS * steepest, _AT_TOP, indexing="ij")
    family = np.stack([grid.ravel() for grid in grids])
    share = _grown(ALPHAS, family, steepest)
    # weeks alike say less and less: what the family misses is in all of them
    tried, which, weeks = np.unique(a.round(6), return_inverse=True, return_counts=True)
    told = np.bincount(which, weights=np.log(d)) / weeks
    trust = 1 / (noise**2 / weeks + _MISFIT**2)
    seen = np.log(_grown(tried, family, steepest))
    level = (told - seen) @ trust / trust.sum()
    likely = -((told - seen - level[:, None]) ** 2 @ trust) / 2
    weight = np.exp(likely - likely.max())
    payoff = (1 - ALPHAS) * share
    most = payoff.max(axis=1)
    # on the level that the weeks have, so that markets can be compared
    share = share * np.exp(level[:, None])
    return SplitBelief(
        weight / weight.sum(),
        share,
        payoff / most[:, None],
        ALPHAS[payoff.argmax(axis=1)],
        tried.size,
    )


def _grown(alphas: Floats, family: Floats, steepest: float) -> Floats:
    """(F, len(alphas)): donations of each market of the family (4, F), up to a factor: last knee,
    spread, lean, part at the top.
    """
    last, spread, lean, at_top = family
    knees = np.log(last)[:, None] + spread[:, None] * np.append(_NODES - 1, 0.0)
    weight = np.hstack([(1 - at_top[:, None]) * _WEIGHTS / 2, at_top[:, None]])
    over = np.log(alphas)[None, :, None] - knees[:, None]
    slope = np.where(over > 0, lean[:, None, None], steepest)
    return np.asarray(np.matmul(np.exp(over * slope), weight[:, :, None])[:, :, 0])


@dataclass(frozen=True, eq=False)
class Loop:
    """Some weeks of a platform that learns: the split of each, and what it left as a part of what
    the best one would have left.
    """

    alphas: Floats
    parts: Floats


def play_weeks(
    market: DonationMarket,
    *,
    first: float,
    weeks: int,
    seed: int,
    noise: float = 0.02,
    bold: int = 3,
    budget: float = 0.0,
    caution: float = 0.95,
    exponent: float | None = None,
    told: Callable[[float], float] | None = None,
) -> Loop:
    """A platform that learns, in front of rational creators: every week they are in the equilibrium
    of the split that it chose.

    Parameters
    ----------
    market : the truth, with a power donation
    first : today's split
    weeks : how many, the first under today's split
    seed, noise : of the weeks' donations, standard deviation of their logarithm
    bold : weeks after the first that explore; then every choice is cautious
    budget : part of the payoff that an exploring week may be expected to lose; 0 is no exploring
    caution : as in `SplitBelief.choose`
    exponent : what the platform takes b to be; the true one unless given
    told : total donations under a split; the equilibrium's unless given (to reuse a curve)

    Source: the outlook of Tang and Huang, section VIII.
    """
    assert isinstance(market.donation, PowerDonation)
    rng = np.random.default_rng(seed)
    donated = told or (lambda alpha: float(market.equilibrium(alpha).total_donation))
    best = market.optimal_split().platform_payoff
    alphas: list[float] = []
    seen: list[float] = []
    parts: list[float] = []
    b = market.donation.exponent if exponent is None else exponent
    for week in range(weeks):
        alpha = (
            first
            if week == 0
            else next_split(
                alphas, seen, exponent=b, noise=noise, bold=bold, budget=budget, caution=caution
            )
        )
        truth = donated(alpha)
        alphas.append(alpha)
        seen.append(truth * math.exp(noise * rng.standard_normal() - noise**2 / 2))
        parts.append((1 - alpha) * truth / best)
    return Loop(np.array(alphas), np.array(parts))


def next_split(
    alphas: Sequence[float],
    donated: Sequence[float],
    *,
    exponent: float,
    noise: float = 0.03,
    bold: int = 0,
    budget: float = 0.0,
    caution: float = 0.95,
) -> float:
    """The split of the next week: exploring while at most `bold` weeks came after the first and the
    budget allows it, then the cautious choice. Without a budget, which is the default, nothing is
    explored.
    """
    belief = learn_split(alphas, donated, exponent=exponent, noise=noise)
    if budget > 0 and len(alphas) <= bold:
        return belief.explore(noise=noise, budget=budget)
    if budget > 0 and belief.expected.max() < 1 - _ENOUGH:
        return belief.explore(noise=noise, budget=min(budget, _ENOUGH), caution=caution)
    return belief.choose(caution=caution)
