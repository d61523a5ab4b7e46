"""Donation markets: reference answers, the document's figures and where its statements fail, CVXPY,
(16) from its definition.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import cvxpy
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import spence

from solvers.donation_market import (
    TWITCH_DONATION,
    DonationMarket,
    fit_donation,
    fit_preferences,
    sine_preferences,
)
from solvers.donation_market.equilibrium import choose
from solvers.donation_market.mechanism import PowerDonation, SaturatingDonation

CASES = {
    case["name"]: case
    for case in json.loads(
        (Path(__file__).parents[1] / "cases" / "donation_market.json").read_text()
    )["instances"]
}
A, B = math.exp(-1.17), 0.6


def market_of(case: dict[str, Any]) -> DonationMarket:
    kind, p1, p2 = (case["donation"][key] for key in ("kind", "p1", "p2"))
    donation = PowerDonation(p1, p2) if kind == "pow" else SaturatingDonation(p1, p2)
    return market(case["N"], case["M"], K=case["K"], V=case["V"], W=case["W"], donation=donation)


def market(N, M, *, K=1, V=0.1, W=0.1, donation=TWITCH_DONATION):
    return DonationMarket(N, M, window=K, opportunity_cost=V, deviation_cost=W, donation=donation)


def figure7(V, W):
    angle = 2 * np.pi * np.arange(10) / 10
    return market(45 * (2 + np.cos(angle)), 45 * (2 + np.sin(angle)), V=V, W=W)


def violation(m: DonationMarket, alpha: float) -> float:
    """(16) and (5) as they are written, loops and all: the largest violation, relative to the
    largest unit price.
    """
    now = m.equilibrium(alpha)
    size = m.viewers.size
    served = np.zeros(size)
    for s in range(size):
        for k in range(m.window):
            served[(s + k) % size] += now.choice[:, s].sum()
    np.testing.assert_allclose(now.serving, served, rtol=1e-12, atol=1e-300)
    unit = np.array(
        [
            (
                alpha * m.donation.value(m.viewers, served)[i] / served[i]
                if served[i] > 0 and m.viewers[i] > 0
                else 0
            )
            for i in range(size)
        ]
    )
    worst = 0.0
    money = max(float(unit @ served), 1e-300)
    for p in range(size):
        gains = []
        for s in range(size):
            distance = min(abs(p - s), size - abs(p - s)) / size
            gains.append(
                sum(unit[(s + k) % size] for k in range(m.window))
                - m.opportunity_cost
                - m.deviation_cost * distance**2
            )
        mu = max(0.0, *gains)
        if (served[m.viewers > 0] > 0).all():
            assert now.payoff[p] == pytest.approx(mu, abs=1e-9 * unit.max())
        lost = sum((mu - gain) * mass for gain, mass in zip(gains, now.choice[p], strict=True))
        idle = m.creators[p] - now.choice[p].sum()
        # what is within rounding of the prices is no payoff
        worst = max(
            worst,
            lost / money,
            -idle / max(m.creators[p], 1e-300),
            (idle * mu / money) if mu > 1e-14 * unit.max() else 0.0,
        )
    assert now.choice.min() >= 0
    return worst


# --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CASES)
def test_reference_equilibria(name):
    case = CASES[name]
    now = market_of(case).equilibrium(case["alphas"])
    np.testing.assert_allclose(
        now.serving, case["Nhat"], rtol=1e-8, atol=1e-8 * np.max(case["Nhat"])
    )
    np.testing.assert_allclose(now.total_donation, case["total_donation"], rtol=1e-10)
    np.testing.assert_allclose(now.participation, case["participation_mass"], rtol=1e-8)
    np.testing.assert_allclose(now.payoff, case["producer_payoff_mu"], rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(now.platform_payoff, case["platform_payoff"], rtol=1e-10)
    if case["deviation_fraction_weighted"] is not None:
        np.testing.assert_allclose(
            now.deviation / sum(case["N"]),
            case["deviation_fraction_weighted"],
            rtol=1e-5,
            atol=1e-12,
        )
    assert now.gap.max() <= 1e-13
    assert now.residual.max() <= 1e-13


@pytest.mark.parametrize("name", [name for name in CASES if not name.startswith("case96")])
def test_reference_splits(name):
    case = CASES[name]
    best = market_of(case).optimal_split()
    assert best.alpha == pytest.approx(case["alpha_cont"], abs=1e-4)
    # the references stop at 1e-5 of alpha, which at a kink costs some of the payoff; none may be
    # above ours
    assert case["G_cont"] * (1 - 1e-7) <= best.platform_payoff <= case["G_cont"] * (1 + 1e-5)
    assert best.grid_alpha == pytest.approx(case["alpha_grid"])
    assert best.grid_payoff == pytest.approx(case["G_grid"], rel=1e-8)
    assert best.lower_bound - 1e-7 <= best.alpha <= best.upper_bound + 1e-7
    if case["donation"]["kind"] == "pow":
        assert best.lower_bound == pytest.approx(min(case["alpha1"], case["upper"]), rel=1e-6)
        assert best.upper_bound == pytest.approx(case["upper"])
        assert best.platform_payoff <= best.payoff_bound <= 1.001 * best.platform_payoff


# --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("creators", "alpha", "payoff"),
    [
        ((500, 500), 0.32220, 210.367),
        ((400, 600), 0.28182, 203.865),
        ((250, 350), 0.26012, 186.565),
        ((700, 700), 0.39428, 215.080),
    ],
)
def test_figure_6(creators, alpha, payoff):
    m = market(creators, [500, 500])
    best = m.optimal_split()
    assert best.alpha == pytest.approx(alpha, abs=1e-5)
    assert best.platform_payoff == pytest.approx(payoff, abs=1e-3)
    if min(creators) >= 400:
        assert m.equilibrium(best.alpha).deviation == pytest.approx(0, abs=1e-9)


def test_payoff_has_two_peaks_in_figure_6():
    best = market([350, 650], [500, 500]).optimal_split()
    first, second = best.peaks
    assert first == pytest.approx([0.2601, 199.10], rel=1e-4)
    assert second == pytest.approx([0.3565, 198.89], rel=1e-4)
    assert best.alpha == first[0]


def test_figure_7_threshold_of_the_opportunity_cost():
    m = figure7(0.1, 1.0)
    threshold = (1 - B) * A * float((m.viewers / m.creators).max()) ** B
    assert threshold == pytest.approx(0.19776, abs=1e-5)
    above, below = figure7(1.001 * threshold, 1.0), figure7(0.98 * threshold, 1.0)
    assert above.optimal_split().alpha == pytest.approx(1 - B, abs=1e-6)
    assert above.equilibrium(1 - B).payoff.max() == pytest.approx(0, abs=1e-12)
    assert below.equilibrium(1 - B).payoff.max() > 1e-3


def test_figure_7_threshold_of_the_deviation_cost():
    """From W = 4 on the best split on the document's grid is that of creators who never move."""
    for V in (0.05, 0.1, 0.15):
        grid = [figure7(V, W).equilibrium(np.arange(1, 101) / 100) for W in (4, 1e6)]
        near, never = (int(np.argmax(now.platform_payoff)) for now in grid)
        assert near == never
        assert grid[0].deviation[near] == pytest.approx(0, abs=1e-9)


def test_table_3_where_nobody_earns():
    """V = 4: the gain over the split of .71 is the same for any creators, viewers and deviation
    cost.
    """
    rng = np.random.default_rng(0)
    for W in (2, 1000):
        m = market(rng.uniform(200, 300, 24), rng.uniform(500, 1500, 24), K=3, V=4, W=W)
        payoff = m.equilibrium([0.4, 0.71]).platform_payoff
        assert payoff[0] / payoff[1] - 1 == pytest.approx(0.4113, abs=5e-5)


# ------------------------------------------------------------------------------------------ where t


def test_deviation_can_fall_when_creators_keep_more():
    """Against proposition 1(2)."""
    m = market([1, 500, 200, 50, 100], [100, 200, 200, 500, 10], K=2, V=0.2, W=2)
    deviation = m.equilibrium([0.34, 0.41]).deviation / m.creators.sum()
    assert deviation == pytest.approx([0.002184, 0.001531], abs=5e-7)


def test_lower_bound_as_printed_is_above_the_best_split():
    """It wants every location served, and nobody serves 10 viewers below alpha = 8 V / 10."""
    m = market([400, 400], [1000, 10], V=1, W=0.1, donation=SaturatingDonation(4, 8))
    best = m.optimal_split()
    assert best.alpha == pytest.approx(0.0894, abs=5e-5)
    assert best.lower_bound == 0.06
    assert best.lower_bound <= best.alpha < 8 * m.opportunity_cost / m.viewers.min()
    assert m.equilibrium(best.alpha).serving[1] == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("seed", range(8))
def test_lower_bound_without_a_power(seed):
    """By theorem for a window of 1: below it, no split on a fine grid leaves as much as the best.
    Wider windows have none.
    """
    rng = np.random.default_rng(seed)
    size = int(rng.integers(2, 6))
    creators, viewers = rng.uniform(1, 200, size), rng.uniform(1, 1000, size)
    kinds = {"V": rng.uniform(0.1, 3), "W": rng.uniform(0, 5), "donation": SaturatingDonation(4, 8)}
    m = market(creators, viewers, **kinds)
    fine = np.linspace(0, 1, 2001)
    payoff = m.equilibrium(fine).platform_payoff
    assert payoff[fine < m.lower_bound()].max(initial=0) < payoff.max()
    assert m.lower_bound() <= fine[np.argmax(payoff)]
    assert market(creators, viewers, K=2, **kinds).lower_bound() == 0


def test_total_donation_can_fall_when_creators_keep_more():
    """Remark 1, for donations that saturate; the certificate for powers is not given out."""
    viewers = np.array([900.0, 100.0])
    most = np.sqrt(viewers) / np.sqrt(viewers).sum() * 100
    m = market(most, viewers, V=0, W=0.4, donation=SaturatingDonation(4, 8))
    donated = m.equilibrium([0.0, 0.05, 1.0]).total_donation
    assert donated[0] > donated[2]
    assert m.optimal_split().payoff_bound == math.inf


# --------------------------------------------------------------------------------------------------


def with_cvxpy(m: DonationMarket, alpha: float) -> tuple[float, np.ndarray]:
    size = m.viewers.size
    y = cvxpy.Variable((size, size), nonneg=True)
    unit = float(m.creators.sum())
    n = m.serves @ cvxpy.sum(y, axis=0)
    cost = m.opportunity_cost + m.deviation_cost * m.squared_distance
    if isinstance(m.donation, PowerDonation):
        b = m.donation.exponent
        weights = alpha * m.donation.scale * m.viewers**b * unit ** (1 - b) / (1 - b)
        gain = weights @ cvxpy.power(n, 1 - b)
    else:
        gain = (alpha * m.viewers / m.donation.a) @ cvxpy.log(
            1 + (m.donation.a * unit / m.donation.b) * n
        )
    problem = cvxpy.Problem(
        cvxpy.Maximize(gain - unit * cvxpy.sum(cvxpy.multiply(cost, y))),
        [cvxpy.sum(y, axis=1) <= m.creators / unit],
    )
    value = problem.solve(solver="CLARABEL")
    return float(value), m.serves @ y.value.sum(axis=0) * unit


@pytest.mark.filterwarnings("ignore:Power atom")
@pytest.mark.parametrize("seed", range(6))
def test_potential_against_cvxpy(seed):
    rng = np.random.default_rng(seed)
    size = int(rng.integers(3, 9))
    donation = (
        PowerDonation(rng.uniform(0.2, 1), rng.uniform(0.3, 0.7))
        if seed % 2
        else SaturatingDonation(4, 8)
    )
    m = market(
        rng.uniform(1, 50, size),
        rng.uniform(10, 100, size),
        K=int(rng.integers(1, size + 1)),
        V=0.2,
        W=3,
        donation=donation,
    )
    now = m.equilibrium(0.7)
    value, serving = with_cvxpy(m, 0.7)
    assert now.potential == pytest.approx(value, rel=1e-6)
    np.testing.assert_allclose(now.serving, serving, rtol=1e-3, atol=1e-3 * serving.max())


amounts = st.lists(st.one_of(st.just(0.0), st.floats(1e-3, 1e3)), min_size=1, max_size=7)


@st.composite
def markets(draw):
    creators = np.array(draw(amounts))
    viewers = np.array(
        draw(
            st.lists(
                st.one_of(st.just(0.0), st.floats(0.1, 1e3)),
                min_size=creators.size,
                max_size=creators.size,
            )
        )
    )
    power = st.builds(PowerDonation, st.floats(0.1, 5), st.floats(0.2, 0.9))
    donation = draw(
        st.one_of(power, st.builds(SaturatingDonation, st.floats(0.5, 8), st.floats(0.5, 8)))
    )
    window = draw(st.integers(1, creators.size))
    V, W = (
        draw(st.one_of(st.just(0.0), st.floats(0.01, 5))),
        draw(st.one_of(st.just(0.0), st.floats(0.01, 50))),
    )
    return market(creators, viewers, K=window, V=V, W=W, donation=donation)


@settings(max_examples=60)
@given(markets(), st.floats(0.02, 1))
def test_equilibrium_conditions_hold(m, alpha):
    assert violation(m, alpha) <= 1e-9


@settings(max_examples=40)
@given(markets())
def test_participation_grows_and_power_donations_obey_remark_2(m):
    alpha = np.linspace(0.05, 1, 12)
    now = m.equilibrium(alpha)
    if m.opportunity_cost > 0:
        assert np.all(np.diff(now.participation) >= -1e-7 * now.participation.max())
    if isinstance(m.donation, PowerDonation):
        b = m.donation.exponent
        total = now.total_donation
        assert np.all(np.diff(total) >= -1e-8 * total.max())
        assert np.all(
            np.diff(total * alpha ** (-(1 - b) / b))
            <= 1e-8 * (total * alpha ** (-(1 - b) / b))[:-1]
        )


# --------------------------------------------------------------------------------------------------


def test_places_without_creators_or_viewers():
    m = market([0, 100, 0, 50], [10, 0, 80, 30], K=2)
    now = m.equilibrium(0.5)
    assert now.choice[[0, 2]].sum() == 0
    assert now.payoff[0] >= 0
    assert violation(m, 0.5) <= 1e-11
    assert market([0, 0], [10, 10]).equilibrium(0.5).total_donation == 0
    nothing = market([5, 5], [0, 0]).optimal_split()
    assert (nothing.alpha, nothing.platform_payoff, nothing.payoff_bound) == (0, 0, 0)


def test_no_opportunity_cost():
    m = market([30, 70], [50, 50], V=0, W=0.4)
    now = m.equilibrium([0.0, 1e-9, 0.5])
    np.testing.assert_allclose(now.participation, 100, rtol=1e-12)
    np.testing.assert_allclose(now.serving[:2], [[30, 70], [30, 70]], rtol=1e-6)
    assert now.payoff[0].tolist() == [0, 0]
    assert m.optimal_split().alpha == pytest.approx(0, abs=1e-6)


def test_no_deviation_cost_equalises_prices():
    m = market([30, 70, 1], [50, 10, 200], V=0.05, W=0)
    now = m.equilibrium([0.01, 0.9])
    np.testing.assert_allclose(
        now.serving / now.serving.sum(axis=1, keepdims=True),
        np.array([[50, 10, 200]] * 2) / 260,
        rtol=1e-9,
    )
    assert market([3, 4], [5, 6], V=0, W=0).equilibrium(0.0).participation == pytest.approx(7)


@pytest.mark.parametrize(("size", "window"), [(6, 6), (7, 3), (6, 4), (1, 1), (2, 2)])
def test_any_window(size, window):
    rng = np.random.default_rng(size)
    m = market(rng.uniform(1, 50, size), rng.uniform(1, 50, size), K=window, V=0.3, W=1.5)
    assert max(violation(m, alpha) for alpha in (0.1, 0.5, 1.0)) <= 1e-11
    if size == window:
        assert np.ptp(m.equilibrium(0.5).serving) <= 1e-9 * m.creators.sum()


@pytest.mark.parametrize("unit", [1e-9, 1.0, 1e9])
def test_masses_scale(unit):
    """A power market is the same in any unit of people."""
    case = CASES["sine24_5"]
    m = market(
        np.array(case["N"]) * unit,
        np.array(case["M"]) * unit,
        K=case["K"],
        V=case["V"],
        W=case["W"],
    )
    now = m.equilibrium(case["alphas"])
    np.testing.assert_allclose(now.serving / unit, case["Nhat"], rtol=1e-8)


def test_masses_of_very_different_size():
    m = market([1e-6, 1e6, 1], [1e6, 1, 1e-6], V=0.3, W=2)
    assert max(violation(m, alpha) for alpha in (0.01, 0.5, 1.0)) <= 1e-9


def test_ends_of_the_interval():
    m = market([300, 700], [500, 500])
    now = m.equilibrium([0.0, 1.0])
    assert (now.participation[0], now.total_donation[0], now.platform_payoff[0]) == (0, 0, 0)
    assert now.platform_payoff[1] == 0 < now.total_donation[1]
    # too dear for anybody, although prices are finite
    assert (
        market([5, 5], [8, 8], V=2, donation=SaturatingDonation(4, 8))
        .equilibrium(1.0)
        .participation
        == 0
    )


def test_one_alpha_and_several():
    m = market([300, 700], [500, 500])
    one, several = m.equilibrium(0.3), m.equilibrium([0.1, 0.3])
    assert one.serving.shape == (2,)
    assert several.serving.shape == (2, 2)
    np.testing.assert_allclose(several.serving[1], one.serving, rtol=1e-12)


# --------------------------------------------------------------------------------------------------


class Logarithmic:
    """D = M log(1 + n): neither a power nor bounded; its integral is a dilogarithm."""

    def value(self, viewers, creators):
        return viewers * np.log1p(creators)

    def derivative(self, viewers, creators):
        return viewers / (1 + creators)

    def integral(self, viewers, creators):
        return -viewers * spence(1 + creators)


def test_any_donation_function():
    m = market([20, 60, 5, 0], [3, 10, 40, 8], K=2, V=1.0, W=4, donation=Logarithmic())
    assert max(violation(m, alpha) for alpha in (0.1, 0.4, 1.0)) <= 1e-11
    best = m.optimal_split()
    grid = m.equilibrium(np.linspace(0, 1, 401)).platform_payoff
    assert grid.max() <= best.platform_payoff * (1 + 1e-12)
    assert best.lower_bound <= best.alpha
    one = market([20, 60], [3, 10], V=1.0, W=4, donation=Logarithmic())
    # D' = V at n = M - 1, where n D'/D = n / (M log M)
    assert one.upper_bound() == pytest.approx(max((m - 1) / (m * math.log(m)) for m in (3, 10)))
    assert one.optimal_split().alpha <= one.upper_bound()


class Broken(Logarithmic):
    def __init__(self, **parts):
        vars(self).update(parts)


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        (
            Broken(value=lambda m, n: m * n**1.5, derivative=lambda m, n: 1.5 * m * n**0.5),
            r"\(ii\).*not concave.*location 1",
        ),
        (
            Broken(
                value=lambda m, n: m * (n + n**0.5 - 1),
                derivative=lambda m, n: m * (1 + 0.5 * n**-0.5),
            ),
            "not a finite number above 0",
        ),
        (
            Broken(
                value=lambda m, n: np.log1p(n) + 0 * m, derivative=lambda m, n: 1 / (1 + n) + 0 * m
            ),
            r"\(i\).*location 1",
        ),
        (Broken(derivative=lambda m, n: m * (0.5 - n / 1e9)), "derivative|elasticity|not increase"),
        (Broken(derivative=lambda m, n: 0.9 * m / (1 + n)), "derivative is not that of value"),
        (Broken(integral=lambda m, n: m * np.log1p(n)), "integral is not that of value / n"),
    ],
)
def test_assumption_1_is_checked(broken, says):
    with pytest.raises(ValueError, match=says):
        market([20, 60], [0, 10], donation=broken)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"N": [1, -2]}, "creators must be finite and at least 0: location 1 has -2.0"),
        ({"M": [math.nan, 2]}, "viewers must be finite and at least 0: location 0"),
        ({"M": [1, 2, 3]}, "of one length"),
        ({"K": 3}, "window must be a whole number from 1 to 2"),
        ({"V": -1}, "opportunity_cost"),
        ({"W": math.inf}, "deviation_cost"),
    ],
)
def test_wrong_inputs(change, says):
    with pytest.raises(ValueError, match=says):
        market(**({"N": [1, 2], "M": [1, 2]} | change))


def test_wrong_shares_and_exponents():
    with pytest.raises(ValueError, match="alpha must be"):
        market([1], [1]).equilibrium(1.1)
    with pytest.raises(ValueError, match="exponent"):
        PowerDonation(1, 1)
    with pytest.raises(ValueError, match="scale"):
        PowerDonation(0, 0.5)
    with pytest.raises(ValueError, match="a and b"):
        SaturatingDonation(4, 0)


def test_an_equilibrium_that_was_not_found_is_not_returned(monkeypatch):
    monkeypatch.setattr("solvers.donation_market.equilibrium._MAX_STEPS", 3)
    m = market([3, 7], [5, 5])
    cost = m.opportunity_cost + m.deviation_cost * m.squared_distance
    with pytest.raises(ArithmeticError, match=r"alpha = 0\.5"):
        choose(np.array([0.5]), m.creators[None], m.viewers, cost, m.serves, m.donation)


# --------------------------------------------------------------------------------------------------


def observed(size, window, V, W, coefficients=(75, 1.8, 250), alpha=1 / 1.4):
    viewers = 3000 + 1000 * np.sin(2 * np.pi * np.arange(size) / size)
    truth = market(sine_preferences(coefficients, size), viewers, K=window, V=V, W=W)
    return truth, truth.equilibrium(alpha)


def fit(truth, serving, V, W, alpha=1 / 1.4):
    return fit_preferences(
        serving,
        truth.viewers,
        alpha=alpha,
        window=truth.window,
        donation=truth.donation,
        opportunity_costs=V,
        deviation_costs=W,
    )


def test_preferences_come_back_and_the_opportunity_cost_does_not():
    truth, now = observed(12, 1, 0.2, 100)
    assert now.participation == pytest.approx(truth.creators.sum())
    found = fit(truth, now.serving, [0.1, 0.2], [100, 400])
    assert found.best[1] == 0
    np.testing.assert_allclose(found.coefficients[0, 0], [75, 1.8, 250], rtol=1e-6)
    np.testing.assert_allclose(found.coefficients[1, 0], [75, 1.8, 250], rtol=1e-6)
    assert found.everyone_serves[:, 0].all()
    assert found.plausible[:, 0].all()
    assert not found.identified["opportunity_cost"]
    assert "the opportunity cost is not identified: 0.1, 0.2 fit alike" in found.statement()
    low, high = found.alpha_range
    assert low < truth.optimal_split().alpha + 1e-5
    assert high > low + 0.05
    assert found.gain[1, 0] == pytest.approx(
        truth.optimal_split().platform_payoff / now.platform_payoff - 1, rel=1e-5
    )


def test_a_fit_does_not_end_in_a_valley_of_its_own():
    """Everyone serves at every V, so all fit alike; from its own start V = .5 ends at four times
    the error.
    """
    size = 24
    viewers = 750 + 250 * np.sin(2 * np.pi * np.arange(size) / size)
    truth = market(sine_preferences((75, 1.8, 250), size), viewers, K=2, V=0.5, W=2.5)
    seen = truth.equilibrium(0.71).serving * (
        1 + 0.02 * np.random.default_rng(0).standard_normal(size)
    )
    found = fit(truth, seen, [0.05, 0.25, 0.5], 2.5, alpha=0.71)
    assert found.everyone_serves.all()
    np.testing.assert_allclose(found.rmse, found.rmse.min(), rtol=1e-4)
    assert found.plausible.all()
    assert "0.05, 0.25, 0.5 fit alike" in found.statement()


def test_preferences_do_not_show_when_creators_abound():
    """Nobody earns, so more creators would change nothing."""
    truth, now = observed(12, 1, 3.0, 10)
    assert now.payoff.max() == pytest.approx(0, abs=1e-12)
    found = fit(truth, now.serving, 3.0, 10)
    assert found.rmse[0, 0] <= 1e-4 * now.serving.mean()
    assert not found.identified["preferences"]
    assert "the preferences are not identified" in found.statement()
    assert "was taken to be 3" in found.statement()


def test_noise_in_what_is_observed():
    """Half hours, streams of two hours, 2 % noise: the preferences are right to their standard
    errors.
    """
    truth, now = observed(48, 4, 0.5, 10)
    noise = 1 + 0.02 * np.random.default_rng(0).standard_normal(48)
    found = fit(truth, now.serving * noise, 0.5, 10)
    error = found.coefficients[0, 0] - [75, 1.8, 250]
    assert np.all(abs(error) <= 5 * found.errors)
    assert found.coefficients[0, 0] == pytest.approx([75, 1.8, 250], rel=0.1)


def test_wrong_observations():
    truth, now = observed(12, 1, 0.2, 100)
    with pytest.raises(ValueError, match="serving must be"):
        fit(truth, -now.serving, 1, 1)
    with pytest.raises(ValueError, match="alpha must lie"):
        fit(truth, now.serving, 1, 1, alpha=1.0)


def test_donations_regressed_on_viewers():
    rng = np.random.default_rng(1)
    viewers = rng.lognormal(3, 1, 400)
    found = fit_donation(
        np.append(viewers, 0), np.append(A * viewers**B * rng.lognormal(0, 0.3, 400), 5)
    )
    assert found.b1_interval[0] < B < found.b1_interval[1]
    assert found.b0_interval[0] < -1.17 < found.b0_interval[1]
    # against numpy's own regression
    reference = np.polyfit(np.log(viewers), np.log(A * viewers**B), 1)
    assert reference == pytest.approx([B, -1.17])
    assert found.donation is not None
    assert found.donation.exponent == found.b1
    assert fit_donation([1, 2, 4], [1, 4, 16]).donation is None
    with pytest.raises(ValueError, match="at least 3 and 2"):
        fit_donation([1, 1, 1], [1, 2, 3])
