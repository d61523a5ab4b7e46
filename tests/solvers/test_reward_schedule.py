"""Reward schedules: reference answers, the document's own examples, CVXPY and linear programs,
incentives checked from their definition.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cvxpy
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from solvers import InfeasibleError
from solvers.reward_schedule import (
    PiecewiseLinearCost,
    PowerCost,
    incentive_violations,
    linear_scheme,
    optimal_schedule,
    proportional_equilibrium,
    whole_rewards,
)

CASES = json.loads((Path(__file__).parents[1] / "cases" / "reward_schedule.json").read_text())


def cost_of(case: dict[str, Any]) -> Any:
    return (
        PiecewiseLinearCost(case["breaks"], case["slopes"])
        if case["cost"] == "pwl"
        else PowerCost(float(case["cost"][3:]))
    )


@dataclass
class Plain:
    """Another cost without its inverses: what is left is bisection."""

    of: Any

    def value(self, x):
        return self.of.value(x)

    def derivative(self, x):
        return self.of.derivative(x)


class Exponential:
    def value(self, x):
        with np.errstate(over="ignore"):
            return np.expm1(x)

    def derivative(self, x):
        with np.errstate(over="ignore"):
            return np.exp(x)


class FlatThenSteep:
    """Linear up to 1, then quadratic, with a kink between: neither strictly convex nor smooth."""

    def value(self, x):
        return np.where(x <= 1, 0.5 * x, 0.5 + 2 * (x - 1) + (x - 1) ** 2)

    def derivative(self, x):
        return np.where(x < 1, 0.5, 2 + 2 * (x - 1))


COSTS = [
    PowerCost(1),
    PowerCost(1.2),
    PowerCost(2),
    PowerCost(7),
    PiecewiseLinearCost([0], [0.7]),
    PiecewiseLinearCost([0, 0.5, 2], [0.2, 1, 3]),
    PiecewiseLinearCost([0, 1, 2], [1, 1, 2]),
    Exponential(),
    FlatThenSteep(),
]


def alpha(f, h):
    """Equation 3 as printed."""
    tail = np.cumsum(f[::-1])[::-1]
    return h * tail - np.append(h[1:], 0) * np.append(tail[1:], 0)


def types(draw_mass, draw_difficulty):
    f = np.array(draw_mass)
    return f, np.sort(np.array(draw_difficulty[: f.size]))[::-1]


masses = st.lists(st.floats(0.01, 10), min_size=1, max_size=8)
difficulties = st.lists(st.floats(0.05, 10), min_size=8, max_size=8)
budgets = st.floats(1e-3, 1e3)
costs = st.sampled_from(COSTS)

# --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("plain", [False, True], ids=["own inverse", "bisection"])
@pytest.mark.parametrize(
    "case", CASES, ids=lambda case: f"{case['cost']} m={len(case['f'])} B={case['B']:.3g}"
)
def test_reference_answers(case, plain):
    cost = Plain(cost_of(case)) if plain else cost_of(case)
    best = optimal_schedule(case["f"], case["h"], case["B"], cost)
    assert best.gross_product == pytest.approx(case["gross_product"], rel=1e-12)
    np.testing.assert_allclose(best.quality, case["x"], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(best.reward, case["R"], rtol=1e-9, atol=1e-12)
    assert best.multiplier == pytest.approx(case["lam"], rel=1e-9)
    assert best.blocks.tolist() == case["block_starts"]
    assert linear_scheme(case["f"], case["h"], case["B"], cost).gross_product == pytest.approx(
        case["linear_scheme_product"], rel=1e-11
    )


# --------------------------------------------------------------------------------------------------


def printed_algorithm(f, h, budget, *, repaired_bracket):
    """Algorithm 2 for c = x^2, line by line, types and indices from 1 as printed; x_1 is never set,
    as k_0 starts at 1.
    """
    m, a = len(f), alpha(f, h)
    avg = {
        k: max(f[i - 1 : k - 1].sum() / a[i - 1 : k - 1].sum() for i in range(1, k))
        for k in range(2, m + 2)
    }
    gamma = {
        k: max(i for i in range(1, k) if f[i - 1 : k - 1].sum() / a[i - 1 : k - 1].sum() == avg[k])
        for k in avg
    }
    s_b = {m + 1}
    while min(s_b) > 1:
        s_b.add(gamma[min(s_b)])
    top = avg[m + 1] if repaired_bracket else max(s_b - {m + 1})
    low, high = (
        top / (2 * math.sqrt(budget / a[-1])),
        top / (2 * math.sqrt(budget / (a.sum() if repaired_bracket else m * a[-1]))),
    )
    x = np.zeros(m)
    for _ in range(200):
        lam = (low + high) / 2
        chosen = {k for k in s_b if k > 1 and lam * 0 >= avg[k]}
        if chosen != s_b:
            chosen |= {max(s_b - chosen)}
        start = 1
        for k in sorted(chosen):
            x[start : k - 1] = avg[k] / lam / 2
            start = k
        low, high = (lam, high) if a @ x**2 > budget else (low, lam)
    return float(f @ x)


def test_the_printed_algorithm_falls_short_of_the_optimum():
    f, h = np.ones(4), np.array([4, 2, 1.5, 1])
    best = optimal_schedule(f, h, 1.0, PowerCost(2))
    assert best.gross_product == pytest.approx(math.sqrt(0.1 + 1 / 3 + 0.5 + 1), rel=1e-14)
    assert best.gross_product == pytest.approx(1.3904, abs=5e-5)
    assert printed_algorithm(f, h, 1.0, repaired_bracket=True) == pytest.approx(1.2247, abs=5e-5)
    assert printed_algorithm(f, h, 1.0, repaired_bracket=False) == pytest.approx(0.75)


@pytest.mark.parametrize(
    ("eps", "ratio"), [(0.5, 0.75), (0.1, 0.55), (0.01, 0.505), (0.0001, 0.50005)]
)
def test_half_is_tight_for_the_linear_scheme(eps, ratio):
    cost = PiecewiseLinearCost([0, 1], [eps, 1 + eps])
    best, linear = optimal_schedule([1], [1], 1.0, cost), linear_scheme([1], [1], 1.0, cost)
    assert best.quality[0] == pytest.approx(2 / (1 + eps))
    assert (linear.price, linear.quality[0]) == pytest.approx((1.0, 1.0))
    assert linear.gross_product / best.gross_product == pytest.approx(ratio, rel=1e-12)


@pytest.mark.parametrize(
    ("hard", "ratio"), [(1, 0.5), (10, 0.091), (100, 0.0099), (10_000, 0.0001)]
)
def test_the_pot_is_arbitrarily_bad(hard, ratio):
    pot, best = (
        solve([1, 1], [hard, 1], 1.0, PowerCost(1))
        for solve in (proportional_equilibrium, optimal_schedule)
    )
    assert pot.gross_product / best.gross_product == pytest.approx(1 / (1 + hard), rel=1e-12)
    assert pot.gross_product / best.gross_product == pytest.approx(ratio, rel=0.02)


# --------------------------------------------------------------------------------------------------


@settings(max_examples=250, deadline=None)
@given(masses, difficulties, budgets, costs)
def test_budget_met_qualities_rise_and_no_type_prefers_another_quality(
    mass, difficulty, budget, cost
):
    f, h = types(mass, difficulty)
    best = optimal_schedule(f, h, budget, cost)
    assert f @ best.reward == pytest.approx(budget, rel=1e-11)
    assert alpha(f, h) @ cost.value(best.quality) == pytest.approx(budget, rel=1e-11)
    assert best.budget_residual < 1e-11
    assert best.incentive_residual < 1e-13
    assert (np.diff(best.quality) >= 0).all()
    assert (np.diff(best.reward) >= 0).all()
    assert incentive_violations(best.quality, best.reward, h, cost).size == 0
    # straight from problem P1: any quality, not only the published ones
    anything = np.concatenate([[0.0], best.quality, np.linspace(0, 1.5 * best.quality[-1], 200)])
    own = best.reward - h * cost.value(best.quality)
    other = best.steps(anything) - h[:, None] * cost.value(anything)
    assert (own >= other.max(axis=1) - 1e-12 * best.reward[-1]).all()


@settings(max_examples=80, deadline=None)
@given(masses, difficulties, budgets, costs, st.integers(0, 2**32 - 1))
def test_no_feasible_schedule_buys_more(mass, difficulty, budget, cost, seed):
    f, h = types(mass, difficulty)
    best, a = optimal_schedule(f, h, budget, cost), alpha(f, h)
    rng = np.random.default_rng(seed)
    for i in range(20):
        near = (
            best.quality * (1 + 0.1 * rng.standard_normal(f.size))
            if i % 2
            else rng.random(f.size) ** 3
        )
        x = np.sort(np.maximum(near, 0))
        low, high = 0.0, 1.0
        while a @ cost.value(high * x) < budget:
            high *= 2
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (middle, high) if a @ cost.value(middle * x) <= budget else (low, middle)
        assert low * (f @ x) <= best.gross_product * (1 + 1e-10)


@settings(max_examples=150, deadline=None)
@given(
    masses,
    difficulties,
    budgets,
    st.sampled_from([c for c in COSTS if isinstance(c, PiecewiseLinearCost)]),
)
def test_product_against_a_linear_program(mass, difficulty, budget, cost):
    f, h = types(mass, difficulty)
    m, width = f.size, np.append(np.diff(cost.breaks), np.inf)
    # one variable per type and piece: the convex cost fills the pieces in order by itself
    rises = np.kron(np.eye(m)[:-1] - np.eye(m)[1:], np.ones(width.size))
    rows, most = (
        np.vstack([np.outer(alpha(f, h), cost.slopes).reshape(1, -1), rises]),
        np.append(budget, np.zeros(m - 1)),
    )
    answer = linprog(
        -np.repeat(f, width.size),
        rows,
        most,
        bounds=[(0, w) for w in np.tile(width, m)],
        method="highs",
    )
    assert optimal_schedule(f, h, budget, cost).gross_product == pytest.approx(
        -answer.fun, rel=1e-7
    )


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize(
    "cost",
    [PowerCost(1.5), PowerCost(2), PowerCost(3), Exponential()],
    ids=["1.5", "2", "3", "exp"],
)
def test_product_against_cvxpy(cost, seed):
    rng = np.random.default_rng(seed)
    m = int(rng.integers(1, 12))
    f, h, budget = (
        rng.random(m) + 0.01,
        np.sort(rng.uniform(0.2, 3, m))[::-1],
        float(rng.uniform(0.1, 5)),
    )
    x = cvxpy.Variable(m, nonneg=True)
    c = cvxpy.power(x, cost.k) if isinstance(cost, PowerCost) else cvxpy.exp(x) - 1
    model = cvxpy.Problem(
        cvxpy.Maximize(f @ x),
        [alpha(f, h) @ c <= budget, cvxpy.diff(x) >= 0] if m > 1 else [alpha(f, h) @ c <= budget],
    )
    assert optimal_schedule(f, h, budget, cost).gross_product == pytest.approx(
        model.solve(solver="CLARABEL"), rel=1e-6
    )


@settings(max_examples=40, deadline=None)
@given(masses, difficulties, budgets, costs)
def test_bisection_agrees_with_the_inverses_of_the_cost(mass, difficulty, budget, cost):
    f, h = types(mass, difficulty)
    for solve in (optimal_schedule, linear_scheme):
        assert solve(f, h, budget, Plain(cost)).gross_product == pytest.approx(
            solve(f, h, budget, cost).gross_product, rel=1e-11
        )


@settings(max_examples=100, deadline=None)
@given(masses, difficulties, budgets, costs)
def test_the_multiplier_is_what_more_budget_buys(mass, difficulty, budget, cost):
    f, h = types(mass, difficulty)
    best = optimal_schedule(f, h, budget, cost)
    less, more = (
        optimal_schedule(f, h, budget * (1 + step), cost).gross_product for step in (-1e-4, 1e-4)
    )
    slack = 1e-6 * best.multiplier
    assert (more - best.gross_product) / (1e-4 * budget) <= best.multiplier + slack
    assert (best.gross_product - less) / (1e-4 * budget) >= best.multiplier - slack


# --------------------------------------------------------------------------------------------------


def test_one_type_gets_its_cost():
    best = optimal_schedule([5.0], [2.0], 40.0, PowerCost(2))
    assert (best.quality[0], best.reward[0], best.gross_product) == pytest.approx((2.0, 8.0, 10.0))


@pytest.mark.parametrize("cost", COSTS, ids=lambda cost: type(cost).__name__)
def test_equal_types_and_types_without_mass_change_nothing(cost):
    one = optimal_schedule([1.0, 3.0, 0.5], [4.0, 2.0, 1.0], 10.0, cost)
    split = optimal_schedule(
        [0, 1, 0, 1, 2, 0, 0.25, 0.25, 0], [9, 4, 3, 2, 2, 2, 1, 1, 0.5], 10.0, cost
    )
    np.testing.assert_allclose(
        split.quality, np.insert(one.quality, 0, 0)[[0, 1, 1, 2, 2, 2, 3, 3, 3]], rtol=1e-12
    )
    assert split.incentive_residual <= 1e-15
    assert split.gross_product == pytest.approx(one.gross_product, rel=1e-12)


def test_all_types_equal_is_one_type():
    best = optimal_schedule(np.full(1000, 0.1), np.full(1000, 3.0), 50.0, PowerCost(3))
    assert best.blocks.tolist() == [0]
    np.testing.assert_allclose(best.reward, 0.5, rtol=1e-12)


@pytest.mark.parametrize("cost", COSTS, ids=lambda cost: type(cost).__name__)
def test_no_budget_buys_nothing(cost):
    f, h = [1, 2], [2, 1]
    best = optimal_schedule(f, h, 0.0, cost)
    assert (best.quality.tolist(), best.reward.tolist(), best.gross_product) == ([0, 0], [0, 0], 0)
    assert (best.budget_residual, best.incentive_residual, best.steps.threshold.size) == (0, 0, 0)
    assert best.steps([0, 5]).tolist() == [0, 0]
    assert (
        linear_scheme(f, h, 0.0, cost).gross_product
        == proportional_equilibrium(f, h, 0.0, cost).gross_product
        == 0
    )
    assert best.multiplier == (
        math.inf
        if isinstance(cost, PowerCost) and cost.k > 1
        else 1 / float(cost.derivative(np.zeros(1))[0])
    )


@pytest.mark.parametrize("budget", [1e-200, 1e-12, 1e12, 1e200])
@pytest.mark.parametrize("cost", COSTS, ids=lambda cost: type(cost).__name__)
def test_tiny_and_huge_budgets(cost, budget):
    best = optimal_schedule([1, 2, 1], [3, 2, 1], budget, cost)
    assert best.budget_residual < 1e-12
    assert 0 < best.gross_product < math.inf
    assert linear_scheme([1, 2, 1], [3, 2, 1], budget, cost).gross_product <= best.gross_product * (
        1 + 1e-9
    )


def test_linear_cost_pays_only_the_most_able():
    best = optimal_schedule([5, 3, 2], [3, 2, 0.5], 10.0, PowerCost(1))
    assert best.quality.tolist() == [0, 0, 10.0]
    assert best.steps.table()["threshold"].tolist() == [10.0]
    assert best.reward.tolist() == [0, 0, 5.0]


def test_kinks_hold_several_blocks_at_one_quality():
    best = optimal_schedule(
        [1, 1, 1, 1], [4, 2, 1.5, 1], 2.0, PiecewiseLinearCost([0, 0.5], [0.1, 100.0])
    )
    assert best.quality.tolist()[:3] == [0.5] * 3
    assert best.steps.threshold.size == 2


def test_the_published_function_is_a_step_to_the_right():
    steps = optimal_schedule([1, 1, 1, 1], [4, 2, 1.5, 1], 1.0, PowerCost(2)).steps
    assert steps(steps.threshold).tolist() == steps.reward.tolist()
    assert steps(np.nextafter(steps.threshold, 0)).tolist() == [0, *steps.reward.tolist()[:-1]]
    assert {name: len(column) for name, column in steps.table().items()} == {
        "level": 4,
        "threshold": 4,
        "reward": 4,
    }


# --------------------------------------------------------------------------------------------------


@settings(max_examples=250, deadline=None)
@given(masses, difficulties, st.integers(0, 10**9), costs)
def test_whole_rewards_stay_within_the_budget_and_tempt_nobody(mass, difficulty, budget, cost):
    f, h = types(mass, difficulty)
    exact = optimal_schedule(f, h, budget, cost)
    whole = whole_rewards(exact, f, h, budget, cost)
    assert whole.reward.dtype == np.int64
    assert f @ whole.reward <= budget
    assert f @ whole.reward > budget - f.sum() * (1 + 1e-9)
    assert (np.diff(whole.quality) >= 0).all()
    assert incentive_violations(whole.quality, whole.reward, h, cost).size == 0
    assert whole.gross_product <= exact.gross_product * (1 + 1e-9)
    assert whole.steps.reward.dtype == np.int64


def test_whole_rewards_where_rounding_to_cents_breaks_hundreds_of_incentives():
    rng = np.random.default_rng(4)
    f, h, cost, budget = (
        rng.integers(1, 50, 3000).astype(float),
        np.linspace(5, 0.5, 3000),
        PowerCost(2),
        1e7,
    )
    exact = optimal_schedule(f, h, budget, cost)
    assert incentive_violations(exact.quality, np.round(exact.reward), h, cost).size > 300
    whole = whole_rewards(exact, f, h, budget, cost)
    assert incentive_violations(whole.quality, whole.reward, h, cost, tolerance=1e-14).size == 0
    assert whole.gross_product > 0.998 * exact.gross_product
    assert budget - f.sum() < f @ whole.reward <= budget


def test_a_budget_that_divides_is_paid_in_full():
    for people in (1, 3, 7, 49):
        best = optimal_schedule([people], [0.3], 100.0 * people, PowerCost(1.7))
        assert whole_rewards(
            best, [people], [0.3], 100.0 * people, PowerCost(1.7)
        ).reward.tolist() == [100]


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 12), st.integers(0, 2**32 - 1))
def test_violations_are_those_found_by_trying_every_level(m, seed):
    rng = np.random.default_rng(seed)
    x, r, h = rng.integers(0, 6, m) / 2, rng.integers(0, 20, m), rng.integers(1, 16, m) / 4
    utility = np.append(r, 0) - h[:, None] * np.append(x, 0) ** 2
    expected = np.flatnonzero(utility.max(axis=1) > np.diag(utility) + 1e-9)
    assert incentive_violations(x, r, h, PowerCost(2)).tolist() == expected.tolist()


# --------------------------------------------------------------------------------------------------


@settings(max_examples=150, deadline=None)
@given(masses, difficulties, budgets, costs)
def test_linear_scheme_is_an_answer_to_its_price_and_buys_at_least_half(
    mass, difficulty, budget, cost
):
    f, h = types(mass, difficulty)
    best, linear = optimal_schedule(f, h, budget, cost), linear_scheme(f, h, budget, cost)
    assert f @ linear.reward == pytest.approx(budget, rel=1e-11)
    assert linear.budget_residual < 1e-11
    assert 0.5 * (1 - 1e-11) <= linear.gross_product / best.gross_product <= 1 + 1e-11
    anything = np.concatenate([np.linspace(0, 2 * linear.quality[-1], 500), linear.quality])
    own = linear.price * linear.quality - h * cost.value(linear.quality)
    other = linear.price * anything - h[:, None] * cost.value(anything)
    assert (own >= other.max(axis=1) - 1e-11 * linear.price * linear.quality[-1]).all()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 5), min_size=1, max_size=8), difficulties, budgets, costs)
def test_the_pot_in_equilibrium(mass, difficulty, budget, cost):
    f, h = types([*mass, 2], [*difficulty, 0.01])
    pot, best = proportional_equilibrium(f, h, budget, cost), optimal_schedule(f, h, budget, cost)
    assert f @ pot.reward == pytest.approx(budget, rel=1e-11)
    assert pot.residual < 1e-11
    assert pot.gross_product == pytest.approx(f @ pot.quality, rel=1e-11)
    # nobody gains by another quality while the others stay
    for k in np.flatnonzero(f):
        others = pot.gross_product - pot.quality[k]
        x = np.concatenate(
            [
                [0.0],
                pot.quality[k] * np.linspace(0.9, 1.1, 101),
                np.linspace(0, pot.gross_product, 300),
            ]
        )
        utility = budget * x / (x + others) - h[k] * cost.value(x)
        own = (
            budget * pot.quality[k] / pot.gross_product
            - h[k] * cost.value(pot.quality[k : k + 1])[0]
        )
        assert own >= utility.max() - 1e-10 * budget
    # theorem 9: a step function gets the same for less
    assert pot.gross_product <= best.gross_product * (1 + 1e-11)
    assert pot.schedule_cost == pytest.approx(f @ pot.schedule_reward, rel=1e-11)
    assert pot.schedule_cost <= budget * (1 + 1e-11)
    assert (
        incentive_violations(pot.quality[f > 0], pot.schedule_reward[f > 0], h[f > 0], cost).size
        == 0
    )


def test_a_pot_needs_two_whole_creators():
    with pytest.raises(InfeasibleError, match="single creator"):
        proportional_equilibrium([0, 1], [2, 1], 1.0, PowerCost(2))
    with pytest.raises(ValueError, match=r"whole creators: mass adds up to 1\.5"):
        proportional_equilibrium([1.5, 2], [2, 1], 1.0, PowerCost(2))


# --------------------------------------------------------------------------------------------------


class Concave:
    def value(self, x):
        return np.sqrt(x)

    def derivative(self, x):
        return 0.5 / np.sqrt(np.maximum(x, 1e-300))


class Offset(Exponential):
    def value(self, x):
        return np.exp(x)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"mass": [1, -1]}, "mass must be finite and at least 0: row 1 is -1.0"),
        ({"mass": [1, math.nan]}, "mass must be finite"),
        ({"mass": [0, 0]}, "mass must not be 0 for every type"),
        ({"mass": [], "difficulty": []}, "m >= 1"),
        ({"mass": [1, 2, 3]}, "one shape"),
        ({"difficulty": [2, 0]}, "difficulty must be finite and above 0: row 1 is 0.0"),
        (
            {"difficulty": [1, 2]},
            "difficulty must be in falling order, the most able type last: row 1 is 2.0",
        ),
        ({"difficulty": [math.inf, 2]}, "difficulty must be finite"),
        ({"difficulty": [1e308, 2], "mass": [9, 9]}, "no number any more"),
        ({"budget": -1.0}, "budget must be finite and at least 0, not -1.0"),
        ({"budget": math.inf}, "budget must be finite"),
        ({"budget": math.nan}, "budget must be finite"),
        ({"cost": 2.0}, "cost must have methods value and derivative"),
        ({"cost": Offset()}, r"cost.value\(0\) must be 0, not 1.0"),
        ({"cost": Concave()}, "not convex and increasing"),
    ],
)
@pytest.mark.parametrize("solve", [optimal_schedule, linear_scheme, proportional_equilibrium])
def test_bad_input_is_refused(solve, change, words):
    with pytest.raises(ValueError, match=words):
        solve(
            **{"mass": [1, 2], "difficulty": [2, 1], "budget": 1.0, "cost": PowerCost(2)} | change
        )


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: PowerCost(0.5), "at least 1, not 0.5"),
        (lambda: PowerCost(math.nan), "finite and at least 1"),
        (lambda: PiecewiseLinearCost([0, 1], [1]), "one length"),
        (lambda: PiecewiseLinearCost([], []), "one length"),
        (lambda: PiecewiseLinearCost([1, 2], [1, 2]), "breaks must rise from 0"),
        (lambda: PiecewiseLinearCost([0, 0], [1, 2]), "breaks must rise from 0"),
        (lambda: PiecewiseLinearCost([0, 1], [2, 1]), "not convex"),
        (lambda: PiecewiseLinearCost([0, 1], [0, 1]), "slopes must be positive"),
        (lambda: incentive_violations([1.0], [1, 2], [1.0], PowerCost(2)), "one shape"),
        (lambda: incentive_violations([math.nan], [1], [1.0], PowerCost(2)), "must be finite"),
        (
            lambda: whole_rewards(
                optimal_schedule([1], [1], 9, PowerCost(2)), [1, 1], [1, 1], 9, PowerCost(2)
            ),
            "for 1 types",
        ),
        (
            lambda: whole_rewards(
                optimal_schedule([1], [1], 1e20, PowerCost(2)), [1], [1], 1e20, PowerCost(2)
            ),
            "64-bit",
        ),
    ],
)
def test_bad_costs_and_shapes_are_refused(make, words):
    with pytest.raises(ValueError, match=words):
        make()
