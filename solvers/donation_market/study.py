"""One platform's donation market from what can be counted: the donation function, the preferences,
and the range of its best split.

Belongs here: the steps of section VII of Tang and Huang in one order, for data of one's own, and
how uncertain what comes out is. Does not: the regression and the fit
(`solvers.donation_market.fit`), the market (`solvers.donation_market`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from solvers.arrays import Floats
from solvers.donation_market.fit import (
    TWITCH_DONATION,
    DonationFit,
    PreferenceFit,
    fit_donation,
    fit_preferences,
    sine_preferences,
)
from solvers.donation_market.mechanism import DonationMarket, PowerDonation, flat_splits

LEAST_LOCATIONS = 24
"""A regression over fewer locations is not believed."""
_ALIKE = 1.01
"""Pairs whose error is within this of the least fit alike: which of them is least is decided by
rounding.
"""
_HUNDREDTHS = np.arange(1, 101) / 100
_FLAT = 0.01
"""A split that leaves this part less than the best one cannot be told from it."""
_NORMAL = 1.959963984540054
"""Half a 95 % interval, in standard errors."""
_STEEPEST = (0.01, 0.99)
"""Ends of an interval for b are tried within these; at 0 and 1 there is no market."""


@dataclass(frozen=True, eq=False)
class DonationEstimate:
    """The donation function a study rests on.

    Attributes
    ----------
    donation : the function
    regression : what it was estimated by; None where there was too little for a regression
    why_not : why it is the document's and not the regression's; empty where it is the regression's
    """

    donation: PowerDonation
    regression: DonationFit | None
    why_not: str

    @property
    def at_ends(self) -> list[PowerDonation]:
        """The functions at the ends of the interval for b, through the means of the logarithms;
        none if b is not estimated.
        """
        if self.why_not or self.regression is None:
            return []
        regression = self.regression
        ends = np.clip(regression.b1_interval, *_STEEPEST)
        return [
            PowerDonation(
                math.exp(regression.b0 + (regression.b1 - end) * regression.mean_log_viewers),
                float(end),
            )
            for end in ends
        ]


def estimate_donation(
    viewers: npt.ArrayLike, serving: npt.ArrayLike, donated: npt.ArrayLike
) -> DonationEstimate:
    """The power law of equation 3 by location: donations per creator on viewers per creator, in
    logarithms.

    The document's own numbers stand in where fewer than 24 locations have viewers, creators and
    donations, where b is not strictly between 0 and 1 (assumption 1 would fail), or where its 95 %
    interval holds all of (0, 1) and so says nothing.

    Examples
    --------
    >>> n, m = np.arange(30.0, 60.0), np.linspace(50, 200, 30)
    >>> estimate = estimate_donation(m, n, 2 * (m / n) ** 0.5 * n)
    >>> round(estimate.donation.scale, 6), round(estimate.donation.exponent, 6), estimate.why_not
    (2.0, 0.5, '')
    >>> estimate_donation([5, 6], [1, 2], [3, 4]).why_not
    '2 locations have viewers, creators and donations, 24 are needed'
    """
    m, n, d = (np.asarray(values, dtype=np.float64) for values in (viewers, serving, donated))
    all_three = (m > 0) & (n > 0) & (d > 0)
    usable = int(all_three.sum())
    if usable < LEAST_LOCATIONS:
        why = (
            f"{usable} locations have viewers, creators and donations, {LEAST_LOCATIONS} are needed"
        )
        return DonationEstimate(TWITCH_DONATION, None, why)
    ratio = m[all_three] / n[all_three]
    if np.ptp(ratio) == 0:
        return DonationEstimate(
            TWITCH_DONATION, None, "viewers per creator are the same at every location"
        )
    regression = fit_donation(ratio, d[all_three] / n[all_three])
    low, high = regression.b1_interval
    if regression.donation is None:
        return DonationEstimate(
            TWITCH_DONATION, regression, f"b = {regression.b1:.3g} is not between 0 and 1"
        )
    if low <= 0 and high >= 1:
        return DonationEstimate(
            TWITCH_DONATION, regression, f"the interval of b, {low:.3g} to {high:.3g}, says nothing"
        )
    return DonationEstimate(regression.donation, regression, "")


@dataclass(frozen=True, eq=False)
class MarketStudy:
    """A market found in data, and what is known of its best split. Amounts in the money of the
    donations, per creator for costs.

    Attributes
    ----------
    estimate : the donation function that everything below rests on
    fit : preferences for every pair of costs; its costs are those of a whole window, in money
    window : K that was fitted with
    pair : the pair shown: it fits best, or alike (to 1 %) and has the largest costs of these, V
        before W
    preferences : (L,), creators who prefer each location, at that pair
    serving_today, serving_best : (L,), who serves each location there, under today's split and
        under the best
    donated_today, donated_best : what viewers donate there
    payoff_today, payoff_best : what that leaves the platform
    curve : (100,), what the splits .01, .02, ..., 1 leave it there
    alpha : the best split there
    alpha_range : the least and the largest split that may be the best: the best of all plausible
        pairs, and all hundredths that leave the platform within 1 % of the most for those ends and
        the pair, also with b at the ends of its 95 % interval; for pairs next to plausible ones,
        because costs between the two are not excluded; for the pair with each coefficient of the
        preferences at the ends of its interval, as far as they are finite; and, where V is not
        known from below, everything from 0 to today's share
    supported : whether the donation function is the data's own, and V is known from below: given,
        or every pair with the least V tried is excluded. If not, creators may stay for any pay, or
        leave at a little less than today's: a week in which they are paid alike shows neither
    gain_range : the least and the largest gain of the platform over today's split, of the same
        markets
    lower_bound, upper_bound : the best split of that pair lies between, by theorem
    """

    estimate: DonationEstimate
    fit: PreferenceFit
    window: int
    pair: tuple[int, int]
    preferences: Floats
    serving_today: Floats
    serving_best: Floats
    donated_today: float
    donated_best: float
    payoff_today: float
    payoff_best: float
    curve: Floats
    alpha: float
    alpha_range: tuple[float, float]
    supported: bool
    gain_range: tuple[float, float]
    lower_bound: float
    upper_bound: float


def study_market(
    viewers: npt.ArrayLike,
    serving: npt.ArrayLike,
    donated: npt.ArrayLike,
    *,
    alpha: float,
    window: int,
    opportunity_costs: npt.ArrayLike,
    deviation_costs: npt.ArrayLike,
    locations: int | None = None,
    opportunity_cost: float | None = None,
) -> MarketStudy:
    r"""What a platform's own viewers, creators and donations say of its best split.

    The donation function is estimated by location. Then preferences are fitted for every pair of
    costs V and W, which are given in units of what a creator earns today, :math:`\bar g = \alpha
    \sum_l D(M_l, \hat N_l) / P`, with :math:`P = \sum_l \hat N_l / K` creators: who takes part
    earns V at least, so V is at most about 1. The counts of a location share creators with those up
    to K away, so they are taken to be worth L / K independent ones.

    Parameters
    ----------
    viewers, serving, donated : (L,), M, N-hat and donations at each location
    alpha : the present split, in (0, 1)
    window : K, locations that a creator serves
    opportunity_costs, deviation_costs : V and W to try, in units of what a creator earns today
    locations : how many locations to fit with, a divisor of L: neighbours are then looked at as
        one, never more than K of them, and K is rounded to a multiple of that. A quarter of them
        takes about a tenth of the time, and moves the preferences: the equilibrium has kinks that
        it smooths
    opportunity_cost : V in the money of the donations, where it is known from elsewhere (a survey,
        an experiment); `opportunity_costs` are not tried then

    Raises
    ------
    ValueError
        as `fit_preferences`; `locations` that do not divide L; nobody serves where anybody watches

    Source: Tang and Huang, section VII.
    """
    m, n, d = (np.asarray(values, dtype=np.float64) for values in (viewers, serving, donated))
    if locations is not None and (locations < 4 or m.size % locations):
        raise ValueError(f"locations must be a divisor of {m.size}, at least 4, not {locations!r}")
    estimate = estimate_donation(m, n, d)
    together = m.size // (locations or m.size)
    merged = max(d for d in range(1, together + 1) if together % d == 0 and d <= window)
    coarse_m, coarse_n = (x.reshape(-1, merged).mean(axis=1) / merged for x in (m, n))
    seen = _Seen(coarse_m, coarse_n, round(window / merged))
    with np.errstate(divide="ignore", invalid="ignore"):
        money = float(
            np.where(
                seen.serving > 0, estimate.donation.value(seen.viewers, seen.serving), 0.0
            ).sum()
        )
    if money == 0:
        raise ValueError("no location has both viewers and creators")
    earned = alpha * money * seen.window / float(seen.serving.sum())
    costs = [
        earned * np.unique(np.asarray(units, dtype=np.float64))
        for units in (opportunity_costs, deviation_costs)
    ]
    if opportunity_cost is not None:
        costs[0] = np.array([opportunity_cost / merged])
    fit = fit_preferences(
        seen.serving,
        seen.viewers,
        alpha=alpha,
        window=seen.window,
        donation=estimate.donation,
        opportunity_costs=costs[0],
        deviation_costs=costs[1],
        independent=max(seen.viewers.size / seen.window, 1.0),
    )
    alike = fit.plausible & (
        fit.rmse <= _ALIKE * fit.rmse[fit.best] + 1e-6 * float(seen.serving.mean())
    )
    pair = max((int(row), int(column)) for row, column in np.argwhere(alike))
    best = seen.market(fit, pair, estimate.donation)
    today, split = best.equilibrium(alpha), best.optimal_split()
    then = best.equilibrium(split.alpha)

    # --- what else is possible: the best split is flat; b and each coefficient of the preferences
    # may lie at the ends of their intervals
    alphas, gains = list(fit.best_alpha[fit.plausible]), list(fit.gain[fit.plausible])
    telling = sorted(
        {
            pair,
            *(
                _at(pick(fit.best_alpha), fit.best_alpha.shape)
                for pick in (np.nanargmin, np.nanargmax)
            ),
        }
    )
    groups = [
        [seen.market(fit, at, donation) for at in telling]
        for donation in (estimate.donation, *estimate.at_ends)
    ]
    groups[0] += [
        seen.market(fit, (int(row), int(column)), estimate.donation)
        for row, column in np.argwhere(fit.next_to_plausible)
    ]
    half = _NORMAL * fit.errors[pair]
    groups[0] += [
        seen.market(fit, pair, estimate.donation, sign * half[k] * np.eye(3)[k])
        for k in np.flatnonzero(np.isfinite(half))
        for sign in (-1, 1)
    ]
    for group in groups:
        flat, more = flat_splits(group, alpha, _FLAT)
        alphas += np.concatenate(flat).tolist()
        gains += more[np.isfinite(more)].tolist()
    known = opportunity_cost is not None or not fit.plausible[0].any()
    supported = known and not estimate.why_not
    if not supported:
        alphas += [0.0, alpha]
        gains += [0.0]
    whole = (
        merged**2
    )  # `merged` times as many locations, with `merged` times as many creators and viewers each
    return MarketStudy(
        estimate=estimate,
        fit=replace(
            fit,
            opportunity_costs=merged * fit.opportunity_costs,
            deviation_costs=merged * fit.deviation_costs,
        ),
        window=merged * seen.window,
        pair=pair,
        preferences=sine_preferences(fit.coefficients[pair], m.size),
        serving_today=np.repeat(merged * today.serving, merged),
        serving_best=np.repeat(merged * then.serving, merged),
        donated_today=whole * float(today.total_donation),
        donated_best=whole * float(then.total_donation),
        payoff_today=whole * float(today.platform_payoff),
        payoff_best=whole * split.platform_payoff,
        curve=whole * best.equilibrium(_HUNDREDTHS).platform_payoff,
        alpha=split.alpha,
        alpha_range=(float(min(alphas)), float(max(alphas))),
        supported=supported,
        gain_range=(float(min(gains)), float(max(gains))),
        lower_bound=split.lower_bound,
        upper_bound=split.upper_bound,
    )


@dataclass(frozen=True, eq=False)
class _Seen:
    """What was counted, at the locations that are fitted with."""

    viewers: Floats
    serving: Floats
    window: int

    def market(
        self,
        fit: PreferenceFit,
        at: tuple[int, int],
        donation: PowerDonation,
        shift: npt.ArrayLike = 0.0,
    ) -> DonationMarket:
        """The market of one pair of costs, with the preferences fitted to it, or moved from
        there.
        """
        return DonationMarket(
            sine_preferences(fit.coefficients[at] + shift, self.viewers.size),
            self.viewers,
            window=self.window,
            opportunity_cost=fit.opportunity_costs[at[0]],
            deviation_cost=fit.deviation_costs[at[1]],
            donation=donation,
        )


def _at(flat: np.intp, shape: tuple[int, ...]) -> tuple[int, int]:
    row, column = np.unravel_index(flat, shape)
    return int(row), int(column)
