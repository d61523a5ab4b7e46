"""A market found again in what could be counted of it; intervals that say infinite where nothing is
known.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from solvers.donation_market import (
    TWITCH_DONATION,
    DonationMarket,
    estimate_donation,
    fit_preferences,
    sine_preferences,
    study_market,
)
from solvers.donation_market.fit import _standard_errors
from solvers.donation_market.mechanism import PowerDonation, best_splits, flat_splits

ALPHA, WINDOW, LOCATIONS = 0.5, 2, 24
DONATION = PowerDonation(20.0, 0.6)
COEFFICIENTS = (1.0, 1.8, 2.5)


def truth(relative_v=0.5, relative_w=20.0):
    """A day of 24 hours in which a creator is there for two hours; costs in units of what a creator
    would earn at home.
    """
    viewers = 60 * (1 + np.sin(2 * np.pi * np.arange(LOCATIONS) / LOCATIONS) / 2)
    creators = sine_preferences(COEFFICIENTS, LOCATIONS)
    free = DonationMarket(
        creators, viewers, window=WINDOW, opportunity_cost=0, deviation_cost=0, donation=DONATION
    )
    earned = ALPHA * float(DONATION.value(viewers, free.serves @ creators).sum() / creators.sum())
    costs = {"opportunity_cost": relative_v * earned, "deviation_cost": relative_w * earned}
    return DonationMarket(creators, viewers, window=WINDOW, donation=DONATION, **costs)


def study(market, noise=0.0, **changes):
    rng = np.random.default_rng(1)
    seen = market.equilibrium(ALPHA).serving * (1 + noise * rng.standard_normal(LOCATIONS))
    donated = DONATION.value(market.viewers, seen) * np.exp(noise * rng.standard_normal(LOCATIONS))
    problem = {"opportunity_costs": [0.1, 0.5, 1.2], "deviation_costs": [20]} | changes
    return study_market(market.viewers, seen, donated, alpha=ALPHA, window=WINDOW, **problem)


def test_what_is_true_lies_within_what_is_published():
    market = truth()
    found = study(market, noise=0.02)
    regression = found.estimate.regression
    assert found.estimate.why_not == ""
    assert regression.b0_interval[0] < np.log(20.0) < regression.b0_interval[1]
    assert regression.b1_interval[0] < 0.6 < regression.b1_interval[1]
    interval = found.fit.interval()
    assert np.all((interval[:, 0] < COEFFICIENTS) & (interval[:, 1] > COEFFICIENTS))
    best = market.optimal_split()
    assert found.alpha_range[0] < best.alpha < found.alpha_range[1]
    now = market.equilibrium(ALPHA)
    gain = best.platform_payoff / now.platform_payoff - 1
    assert found.gain_range[0] < gain < found.gain_range[1]
    assert found.payoff_today == pytest.approx(now.platform_payoff, rel=0.02)
    assert found.donated_today == pytest.approx(now.total_donation, rel=0.02)
    np.testing.assert_allclose(found.serving_today, now.serving, rtol=0.05)
    # everybody takes part under both costs below what is earned: V leaves no trace, and the shown
    # pair is the largest of those alike
    assert found.fit.plausible[:, 0].tolist() == [True, True, False]
    assert not found.fit.identified["opportunity_cost"]
    assert found.pair == (1, 0)
    assert found.fit.next_to_plausible[:, 0].tolist() == [False, False, True]
    assert not found.supported
    assert found.alpha == pytest.approx(best.alpha, rel=0.1)
    assert (
        found.lower_bound
        <= found.alpha
        <= found.upper_bound
        == 1 - found.estimate.donation.exponent
    )


@pytest.mark.parametrize("today", [0.7, 0.4, 0.2, 0.0433])
def test_a_week_does_not_echo_the_share_it_is_told(today):
    """The same counts under another share: costs are tried in units of pay, so the best split that
    fits follows the share told. Nobody knows V, so the share told may be the best one.
    """
    market = truth()
    now = market.equilibrium(ALPHA).serving
    problem = {"alpha": today, "window": WINDOW, "opportunity_costs": [0.1, 0.9]}
    problem |= {"deviation_costs": [20]}
    found = study_market(market.viewers, now, DONATION.value(market.viewers, now), **problem)
    assert not found.supported
    assert found.alpha_range[0] == 0
    assert found.alpha_range[1] >= today
    assert found.gain_range[0] <= 0
    known = study_market(
        market.viewers,
        now,
        DONATION.value(market.viewers, now),
        opportunity_cost=market.opportunity_cost,
        **problem,
    )
    assert known.supported
    assert known.fit.opportunity_costs.tolist() == pytest.approx([market.opportunity_cost])


def test_neighbours_looked_at_as_one_change_the_unit_and_nothing_else():
    """Without a wave all locations are alike, so that every resolution sees the same market."""
    flat = DonationMarket(
        np.full(96, 2.5),
        np.full(96, 60.0),
        window=8,
        opportunity_cost=30,
        deviation_cost=100,
        donation=TWITCH_DONATION,
    )
    seen, donated = (
        np.full(96, 20.0),
        np.full(96, float(TWITCH_DONATION.value(np.array(60.0), np.array(20.0)))),
    )
    found = [
        study_market(
            flat.viewers,
            seen,
            donated,
            alpha=0.5,
            window=8,
            opportunity_costs=0.8,
            deviation_costs=5,
            locations=count,
        )
        for count in (12, 24)
    ]
    for name in ("alpha", "payoff_today", "payoff_best", "donated_best"):
        first, second = (getattr(f, name) for f in found)
        assert first == pytest.approx(second, rel=1e-5), name
    assert found[0].donated_today == pytest.approx(donated.sum())
    assert found[0].fit.opportunity_costs == pytest.approx(0.8 * 0.5 * donated.sum() / 240)
    np.testing.assert_allclose(found[0].fit.opportunity_costs, found[1].fit.opportunity_costs)
    assert "the same at every location" in found[0].estimate.why_not


def test_neighbours_are_never_more_than_the_window():
    viewers = np.full(8, 10.0)
    found = study_market(
        viewers,
        np.full(8, 6.0),
        viewers,
        alpha=0.5,
        window=3,
        opportunity_costs=0.5,
        deviation_costs=1,
        locations=4,
    )
    assert found.fit.coefficients.shape == (1, 1, 3)
    assert found.window == 4  # K in twos: 1.5 of them, to the nearest even
    assert found.preferences == pytest.approx(1.5)
    assert found.fit.errors[0, 0, 1] == np.inf  # no wave, no phase, though the fit is exact
    with pytest.raises(ValueError, match="divisor of 8"):
        study_market(
            viewers,
            viewers,
            viewers,
            alpha=0.5,
            window=3,
            opportunity_costs=0.5,
            deviation_costs=1,
            locations=3,
        )
    with pytest.raises(ValueError, match="no location has both"):
        study_market(
            viewers * 0,
            viewers,
            viewers,
            alpha=0.5,
            window=3,
            opportunity_costs=0.5,
            deviation_costs=1,
        )


@pytest.mark.parametrize(
    ("slope", "noise", "says"),
    [(-0.3, 0.01, "b = -0.3"), (1.4, 0.01, "b = 1.4"), (0.5, 9.0, "says nothing")],
)
def test_a_regression_that_is_no_donation_function_is_not_used(slope, noise, says):
    rng = np.random.default_rng(0)
    serving, viewers = np.full(30, 10.0), rng.uniform(50, 100, 30)
    donated = serving * (viewers / serving) ** slope * np.exp(noise * rng.standard_normal(30))
    if noise > 1:  # put the slope itself back: what remains is that nothing is known of it
        x = np.log(viewers)
        donated /= (viewers / serving) ** (np.polyfit(x, np.log(donated), 1)[0] - slope)
    found = estimate_donation(viewers, serving, donated)
    assert found.donation == TWITCH_DONATION
    assert says in found.why_not
    assert found.regression is not None
    assert found.at_ends == []


def test_the_ends_of_an_interval_go_through_the_middle():
    rng = np.random.default_rng(0)
    viewers = rng.uniform(50, 1000, 60)
    found = estimate_donation(
        viewers, np.ones(60), 3 * viewers**0.5 * np.exp(0.3 * rng.standard_normal(60))
    )
    middle = np.exp(found.regression.mean_log_viewers)
    for end in found.at_ends:
        assert end.value(middle, np.ones(1)) == pytest.approx(
            found.donation.value(middle, np.ones(1))
        )
    assert [end.exponent for end in found.at_ends] == pytest.approx(found.regression.b1_interval)


# --------------------------------------------------------------------------------------------------


numbers = st.floats(-100, 100).map(lambda x: round(x, 3))


@settings(max_examples=200)
@given(
    arrays(float, (6, 3), elements=numbers), numbers, numbers, st.sampled_from([0.0, 1.0, 1e-300])
)
def test_errors_are_never_a_silent_nan(slopes, a, b, noise):
    errors = _standard_errors(slopes, a, b, noise)
    assert not np.isnan(errors).any()
    assert np.all(errors >= 0)
    assert np.isfinite(errors[2]) or not np.linalg.cond(slopes) < 1e4


def test_errors_are_those_of_the_inverse_where_there_is_one():
    slopes = np.random.default_rng(0).standard_normal((20, 3))
    a, b = 3.0, -4.0
    turn = np.array([[a / 5, b / 5, 0], [-b / 25, a / 25, 0], [0, 0, 1]])
    expected = np.sqrt(np.diag(turn @ np.linalg.inv(slopes.T @ slopes) @ turn.T))
    np.testing.assert_allclose(_standard_errors(slopes, a, b), expected, rtol=1e-12)


def test_what_cannot_be_seen_has_an_infinite_error():
    level = np.outer(np.arange(1.0, 7), [0, 0, 1])  # only c3 shows
    assert _standard_errors(level, 3.0, 4.0).tolist() == [
        np.inf,
        np.inf,
        pytest.approx(1 / np.sqrt(91)),
    ]
    assert np.isinf(_standard_errors(np.zeros((6, 3)), 1.0, 1.0)).all()
    assert _standard_errors(np.eye(3), 0.0, 0.0).tolist() == [1, np.inf, 1]
    # amplitude seen along the wave, the phase not: the direction that nothing moves along is the
    # one of the phase
    along = np.outer(np.arange(1.0, 7), [0.6, 0.8, 0.0]) + np.outer(np.ones(6), [0, 0, 1.0])
    errors = _standard_errors(along, 3.0, 4.0)
    assert np.isfinite(errors[[0, 2]]).all()
    assert errors[1] == np.inf


def test_counts_that_share_creators_are_worth_less():
    market = truth()
    seen = market.equilibrium(ALPHA).serving * (
        1 + 0.02 * np.random.default_rng(3).standard_normal(LOCATIONS)
    )
    problem = {
        "alpha": ALPHA,
        "window": WINDOW,
        "donation": DONATION,
        "opportunity_costs": market.opportunity_cost,
        "deviation_costs": market.deviation_cost,
    }
    every, few = (
        fit_preferences(seen, market.viewers, independent=count, **problem) for count in (None, 6)
    )
    np.testing.assert_allclose(few.errors, 2 * every.errors)
    with pytest.raises(ValueError, match="independent"):
        fit_preferences(seen, market.viewers, independent=0, **problem)


# --------------------------------------------------------------------------------------------------


def count_solves(monkeypatch):
    """Calls of the interior point method, and the markets solved in them."""
    from solvers.donation_market import equilibrium

    calls, inner = [], equilibrium._interior_point

    def counted(alpha, *rest, **named):
        calls.append(alpha.size)
        return inner(alpha, *rest, **named)

    monkeypatch.setattr(equilibrium, "_interior_point", counted)
    return calls


def few_places(relative_v, relative_w):
    """As `truth` on eight places of which a creator serves one: quick."""
    viewers = 60 * (1 + np.sin(2 * np.pi * np.arange(8) / 8) / 2)
    creators = sine_preferences(COEFFICIENTS, 8)
    earned = ALPHA * float(DONATION.value(viewers, creators).sum() / creators.sum())
    costs = {"opportunity_cost": relative_v * earned, "deviation_cost": relative_w * earned}
    return DonationMarket(creators, viewers, window=1, donation=DONATION, **costs)


def test_pairs_are_fitted_together(monkeypatch):
    """Twelve pairs take hardly more calls than one: it is the calls that cost, not the markets."""
    calls = count_solves(monkeypatch)
    market = few_places(0.5, 20)
    seen = market.equilibrium(ALPHA).serving * (1 + 0.02 * np.random.default_rng(1).normal(size=8))
    taken = []
    for V, W in (([0.5], [20]), ([0.1, 0.5, 0.7, 1.2], [5, 20, 80])):
        calls.clear()
        earned = market.opportunity_cost / 0.5
        fit_preferences(
            seen,
            market.viewers,
            alpha=ALPHA,
            window=1,
            donation=DONATION,
            opportunity_costs=earned * np.array(V),
            deviation_costs=earned * np.array(W),
        )
        taken.append(len(calls))
    assert taken[1] < 3 * taken[0]
    assert max(calls) > 50


def test_secants_pass_over_the_small_valleys():
    """On a day of 24 places with kinks, the tangent's search ends at 1.2 to 1.8 times the least
    error, depending on where it starts; by secants every start comes to the same place.
    """
    from solvers.donation_market.fit import _Curves

    market = truth(relative_v=0.5, relative_w=10.0)
    seen = market.equilibrium(ALPHA).serving * (
        1 + 0.05 * np.random.default_rng(0).standard_normal(LOCATIONS)
    )
    level = seen.mean() / WINDOW
    starts = level * np.array([(0.4 * np.cos(t), 0.4 * np.sin(t), 1) for t in range(4)])
    pairs = np.array([(market.opportunity_cost, market.deviation_cost)] * 4)
    curves = _Curves(market, seen, ALPHA, pairs)
    found = curves.rmse(curves.best_ends(starts))
    np.testing.assert_allclose(found, found.min(), rtol=0.03)


def test_costs_may_differ_from_market_to_market():
    market = truth()
    creators = np.stack([market.creators, 2 * market.creators])
    costs = np.array([(market.opportunity_cost, 5.0), (10.0, market.deviation_cost)])
    both = market.equilibria(np.array([0.3, 0.6]), creators, costs)
    for at, alpha in enumerate((0.3, 0.6)):
        alone = DonationMarket(
            creators[at],
            market.viewers,
            window=WINDOW,
            opportunity_cost=costs[at, 0],
            deviation_cost=costs[at, 1],
            donation=DONATION,
        ).equilibrium(alpha)
        np.testing.assert_allclose(both.serving[at], alone.serving, rtol=1e-6)


def test_flat_splits_are_those_of_the_whole_grid():
    """What is skipped by theorem could not have been within the one percent."""
    markets = [few_places(v, w) for v, w in ((0.1, 5.0), (0.9, 50.0), (1.5, 20.0))]
    found, gains = flat_splits(markets, ALPHA, 0.01)
    grid = np.arange(1, 101) / 100
    for market, flat, gain in zip(markets, found, gains, strict=True):
        payoff = market.equilibrium(np.append(grid, ALPHA)).platform_payoff
        expected = grid[payoff[:-1] >= 0.99 * payoff.max()]
        np.testing.assert_allclose(flat, expected)
        assert gain == pytest.approx(payoff.max() / payoff[-1] - 1, rel=1e-6)


def test_markets_searched_together_are_found_as_alone():
    markets = [few_places(v, w) for v, w in ((0.1, 5.0), (0.9, 50.0), (3.0, 20.0))]
    alphas, payoffs = best_splits(markets)
    for market, alpha, payoff in zip(markets, alphas, payoffs, strict=True):
        alone = market.optimal_split()
        assert alpha == pytest.approx(alone.alpha, abs=1e-4)
        assert payoff == pytest.approx(alone.platform_payoff, rel=1e-6)
    other = DonationMarket(
        markets[0].creators,
        markets[0].viewers,
        window=2,
        opportunity_cost=1,
        deviation_cost=1,
        donation=DONATION,
    )
    with pytest.raises(ValueError, match="the same viewers"):
        best_splits([markets[0], other])
