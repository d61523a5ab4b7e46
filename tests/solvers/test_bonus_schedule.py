"""Bonuses on top of a price: against CVXPY, against the schedule without a price, and in whole
money.
"""

from __future__ import annotations

import cvxpy as cp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from solvers import InfeasibleError
from solvers.reward_schedule import (
    PowerCost,
    linear_scheme,
    optimal_schedule,
    pot_on_top,
    price_on_top,
    proportional_equilibrium,
    schedule_on_top,
    whole_bonuses,
)

SEEDS = st.integers(0, 2**31)


def instance(seed: int, most: int = 12) -> tuple[np.ndarray, np.ndarray, float, float]:
    """Mass, difficulty, budget and price at random."""
    rng = np.random.default_rng(seed)
    m = int(rng.integers(1, most + 1))
    h = np.unique(rng.uniform(0.2, 10, m))[::-1]
    return (
        rng.integers(1, 9, h.size).astype(float),
        h,
        float(10 ** rng.uniform(-1, 4)),
        float(10 ** rng.uniform(-2, 2)),
    )


@given(SEEDS)
@settings(max_examples=40)
def test_against_cvxpy_with_quadratic_costs(seed: int) -> None:
    """With c = x^2, L_k = h_k (x - x0_k)_+^2, and a type's spend is convex in two pieces: below the
    next type's own output and above.
    """
    f, h, budget, price = instance(seed)
    own = price / (2 * h)
    tail = np.append(np.cumsum(f[::-1])[::-1], 0.0)
    first, rest = tail[:-1] * h, tail[1:] * np.append(h[1:], 0.0)
    gap = np.diff(own, append=np.inf)
    u, w = cp.Variable(f.size, nonneg=True), cp.Variable(f.size, nonneg=True)
    x = own + u + w
    rise = np.where(np.isfinite(gap), gap, 0.0)
    spend = cp.sum(
        cp.multiply(first, cp.square(u))
        + cp.multiply(2 * first * rise, w)
        + cp.multiply(first - rest, cp.square(w))
    )
    rules = [spend <= budget, w[-1] == 0]
    if f.size > 1:
        rules += [x[1:] >= x[:-1], u[:-1] <= gap[:-1]]
    best = cp.Problem(cp.Maximize(f @ x), rules).solve(solver="CLARABEL")
    found = schedule_on_top(f, h, budget, PowerCost(2), price)
    assert found.gross_product == pytest.approx(best, rel=2e-6)
    assert found.gross_product >= best * (1 - 2e-6)
    assert found.spend <= budget * (1 + 1e-12)
    assert found.budget_residual < 1e-9


@given(SEEDS, st.floats(1.1, 5))
@settings(max_examples=60)
def test_without_a_price_it_is_the_schedule_of_the_document(seed: int, exponent: float) -> None:
    f, h, budget, _ = instance(seed, 40)
    cost = PowerCost(exponent)
    found, document = schedule_on_top(f, h, budget, cost, 0.0), optimal_schedule(f, h, budget, cost)
    np.testing.assert_allclose(found.output, document.quality, rtol=1e-6)
    np.testing.assert_allclose(found.bonus, document.reward, rtol=1e-6)
    assert found.multiplier == pytest.approx(document.multiplier, rel=1e-6)
    linear = linear_scheme(f, h, budget, cost)
    assert price_on_top(f, h, budget, cost, 0.0).gross_product == pytest.approx(
        linear.gross_product, rel=1e-9
    )
    if f.sum() >= 2:
        pot = proportional_equilibrium(f, h, budget, cost)
        assert pot_on_top(f, h, budget, cost, 0.0).gross_product == pytest.approx(
            pot.gross_product, rel=1e-6
        )


@given(SEEDS, st.floats(1.1, 5))
@settings(max_examples=60)
def test_nobody_prefers_another_level_and_no_other_scheme_buys_more(
    seed: int, exponent: float
) -> None:
    f, h, budget, price = instance(seed, 40)
    cost = PowerCost(exponent)
    found = schedule_on_top(f, h, budget, cost, price)
    assert found.incentive_residual < 1e-9
    assert (np.diff(found.output) >= 0).all()
    assert (found.output >= found.unpaid_output * (1 - 1e-12)).all()
    assert (np.diff(found.bonus) >= -1e-9 * found.bonus[-1]).all()
    assert found.gross_product >= price_on_top(f, h, budget, cost, price).gross_product * (1 - 1e-9)
    if f.sum() >= 2:
        pot = pot_on_top(f, h, budget, cost, price)
        assert float(f @ pot.payment) == pytest.approx(budget)
        assert found.gross_product >= pot.gross_product * (1 - 1e-9)


@given(SEEDS, st.floats(1.5, 4), st.sampled_from([1, 10, 1000]))
@settings(max_examples=80)
def test_whole_money_tempts_nobody_and_stays_in_the_budget(
    seed: int, exponent: float, units: int
) -> None:
    f, h, budget, price = instance(seed, 60)
    cost, budget, price = PowerCost(exponent), budget * 100, price * 10
    exact = schedule_on_top(f, h, budget, cost, price)
    whole = whole_bonuses(exact, f, h, cost, price, units=units)
    assert whole.spend <= budget
    assert whole.spend == sum(
        int(n) * ([0, *whole.bonus.tolist()][level])
        for n, level in zip(f, whole.level, strict=True)
    )
    assert (np.diff(whole.threshold) > 0).all()
    assert (np.diff(whole.bonus) > 0).all()
    assert (np.diff(whole.level) >= 0).all()
    # every type against every level, from the definition
    offers = [(0.0, 0), *zip((whole.threshold / units).tolist(), whole.bonus.tolist(), strict=True)]
    for k, level in enumerate(whole.level.tolist()):
        alone = float(cost.inverse_derivative(np.asarray(price / h[k])))
        costs = [price * max(x, alone) - h[k] * max(x, alone) ** exponent for x, _ in offers]
        worth = [cost + bonus for cost, (_, bonus) in zip(costs, offers, strict=True)]
        assert worth[level] >= max(worth) - 1e-9 * max(abs(c) for c in costs)
    assert whole.incentive_residual * max(whole.bonus.max(initial=1), 1) <= 1e-9 * budget


def test_much_money_in_fine_units_loses_next_to_nothing() -> None:
    f, h, cost = np.full(20, 50.0), np.linspace(5, 0.5, 20), PowerCost(2)
    exact = schedule_on_top(f, h, 1e9, cost, 1000.0)
    whole = whole_bonuses(exact, f, h, cost, 1000.0, units=1000)
    assert whole.level.max() == exact.blocks.size
    assert whole.gross_product == pytest.approx(exact.gross_product, rel=1e-5)
    assert 1e9 - whole.spend < 1000


@pytest.mark.parametrize(("f", "h"), [([3.0], [2.0]), ([1.0], [1.0])])
def test_one_type_gets_the_budget_and_goes_where_it_is_indifferent(
    f: list[float], h: list[float]
) -> None:
    found = schedule_on_top(f, h, 12.0, PowerCost(2), 4.0)
    own = 4.0 / (2 * h[0])
    assert found.bonus[0] * f[0] == pytest.approx(12.0)
    assert h[0] * (found.output[0] - own) ** 2 == pytest.approx(12.0 / f[0])


def test_no_budget_and_a_huge_one() -> None:
    f, h = [2.0, 1.0], [3.0, 1.0]
    nothing = schedule_on_top(f, h, 0.0, PowerCost(2), 4.0)
    assert nothing.bought == 0
    assert nothing.spend == 0
    assert whole_bonuses(nothing, f, h, PowerCost(2), 4.0).threshold.size == 0
    np.testing.assert_allclose(
        pot_on_top(f, h, 0.0, PowerCost(2), 4.0).output, nothing.unpaid_output
    )
    huge = schedule_on_top(f, h, 1e15, PowerCost(2), 4.0)
    assert huge.spend == pytest.approx(1e15)
    assert huge.incentive_residual < 1e-9


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mass": [1.0, 0.0]}, "mass must be finite and above 0: row 1"),
        (
            {"difficulty": [1.0, 1.0]},
            "difficulty must be strictly falling, the most able type last: row 1",
        ),
        ({"difficulty": [1.0, np.nan]}, "row 1 is nan"),
        ({"budget": -1.0}, "budget must be finite and at least 0"),
        ({"price": np.inf}, "price must be finite and at least 0"),
        ({"cost": PowerCost(1)}, "the exponent of the cost must be above 1"),
        ({"mass": [1.0]}, "one shape"),
    ],
)
def test_bad_numbers_are_named(change: dict[str, object], message: str) -> None:
    good: dict[str, object] = {
        "mass": [1.0, 2.0],
        "difficulty": [2.0, 1.0],
        "budget": 1.0,
        "cost": PowerCost(2),
        "price": 1.0,
    }
    for solve in (schedule_on_top, price_on_top, pot_on_top):
        with pytest.raises(ValueError, match=message):
            solve(**(good | change))  # type: ignore[operator]


def test_a_pot_needs_two_whole_creators() -> None:
    with pytest.raises(InfeasibleError, match="single creator"):
        pot_on_top([1.0], [1.0], 1.0, PowerCost(2), 1.0)
    with pytest.raises(ValueError, match="whole creators"):
        pot_on_top([1.5], [1.0], 1.0, PowerCost(2), 1.0)
    exact = schedule_on_top([1.5], [1.0], 10.0, PowerCost(2), 1.0)
    with pytest.raises(ValueError, match="whole creators"):
        whole_bonuses(exact, [1.5], [1.0], PowerCost(2), 1.0)
