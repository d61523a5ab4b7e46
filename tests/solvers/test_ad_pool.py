"""The ad pool: reference answers, the document's special cases, optimality against CVXPY, and the
rules at the edges.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import cvxpy
import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from solvers import InfeasibleError
from solvers.ad_pool import PoolAllocation, allocate_pool

CASES = Path(__file__).parents[1] / "cases"
OBJECTIVES = ("linear", "blend")
ANSWER = {"linear": "printed", "blend": "blend"}


def load(name: str) -> list[dict[str, Any]]:
    return json.loads((CASES / name).read_text())


def solve(case: dict[str, Any], objective: str) -> PoolAllocation:
    cap = None if case.get("hi") is None else [math.inf if x is None else x for x in case["hi"]]
    return allocate_pool(
        case["P"],
        case["s"],
        alpha=case["alpha"],
        lambda_fair=case["lf"],
        lambda_eff=case["le"],
        objective=objective,
        floor=case.get("lo"),
        cap=cap,
    )


def value(payout, pool, share, alpha, lambda_fair, lambda_eff, objective) -> float:
    """The objective itself, on rows with share."""
    s = np.asarray(share) / np.sum(share)
    p, s = np.asarray(payout)[s > 0], s[s > 0]
    w = s**alpha
    if objective == "linear":
        return float(lambda_fair * w @ np.log(p / pool) + lambda_eff * s @ (p / pool))
    return float((lambda_fair * w / w.sum() + lambda_eff * s) @ np.log(p / pool))


def random_problem(rng: np.random.Generator, n: int) -> dict[str, Any]:
    """A feasible problem: bounds drawn around an interior point."""
    pool = 10.0 ** rng.uniform(-3, 9)
    share = [
        rng.random(n),
        rng.pareto(1.1, n) + 1e-9,
        10.0 ** rng.uniform(-12, 0, n),
        rng.integers(1, 4, n).astype(float),
    ][rng.integers(4)]
    inside = pool * rng.dirichlet(np.ones(n))
    eff = float(rng.choice([0.0, 0.5, 0.9, 0.99999, rng.random()]))
    return {
        "pool": pool,
        "share": share,
        "alpha": float(rng.choice([0.5, 1.0, rng.uniform(0.1, 1)])),
        "lambda_fair": 1 - eff,
        "lambda_eff": eff,
        "floor": inside * rng.choice([0.0, 0.5, 0.9], n),
        "cap": inside * rng.choice([1.1, 2.0, math.inf], n),
    }


# --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("case", load("ad_pool.json"), ids=lambda case: f"n={len(case['s'])}")
def test_reference_answers(case, objective):
    found, expected = solve(case, objective), case[ANSWER[objective]]
    np.testing.assert_allclose(found.payout, expected["p"], rtol=1e-13)
    assert found.residual < 1e-14


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("case", load("ad_pool_edges.json"), ids=lambda case: case["name"][:30])
def test_reference_edges(case, objective):
    expected = case[ANSWER[objective]]
    if isinstance(expected, dict):
        with pytest.raises(InfeasibleError):
            solve(case, objective)
    else:
        np.testing.assert_allclose(solve(case, objective).payout, expected, rtol=1e-14)


def test_multiplier_is_the_worth_of_the_normalised_pool():
    case = load("ad_pool.json")[0]
    assert solve(case, "linear").multiplier == pytest.approx(case["printed"]["mult"], rel=1e-14)
    # the reference states the level 1 / nu for the blend
    assert 1 / solve(case, "blend").multiplier == pytest.approx(case["blend"]["mult"], rel=1e-14)


# -------------------------------------------------------------------------------------------------


def test_blend_with_efficiency_alone_pays_by_share():
    share = np.random.default_rng(1).pareto(1.2, 1000)
    found = allocate_pool(500.0, share, lambda_fair=0.0, lambda_eff=1.0)
    np.testing.assert_allclose(found.payout, 500.0 * share / share.sum(), rtol=1e-13)


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("alpha", [0.3, 0.5, 1.0])
def test_fairness_alone_pays_by_weight(objective, alpha):
    share = np.random.default_rng(2).pareto(1.2, 1000)
    found = allocate_pool(
        500.0, share, alpha=alpha, lambda_fair=1.0, lambda_eff=0.0, objective=objective
    )
    np.testing.assert_allclose(
        found.payout, 500.0 * share**alpha / np.sum(share**alpha), rtol=1e-12
    )


def test_linear_knob_does_little_and_then_jumps():
    share = np.random.default_rng(3).pareto(1.2, 20_000)

    def top_percent(eff: float, objective: str) -> float:
        payout = allocate_pool(
            1.0, share, lambda_fair=1 - eff, lambda_eff=eff, objective=objective
        ).payout
        return float(np.sort(payout)[-200:].sum())

    linear = [top_percent(eff, "linear") for eff in (0.0, 0.5, 0.9, 1.0)]
    assert linear[2] - linear[0] < 0.01
    assert linear[3] == pytest.approx(1.0)
    blend = np.diff([top_percent(eff, "blend") for eff in (0.0, 0.25, 0.5, 0.75, 1.0)])
    np.testing.assert_allclose(blend, blend.mean(), rtol=0.2)


def test_caps_below_the_multiplier_pole_are_paid_in_full():
    # nu <= lambda_eff s for the first row: a literal clip of the negative quotient would leave it
    # unpaid
    found = allocate_pool(
        100.0,
        [98.0, 1.0, 1.0],
        lambda_fair=0.01,
        lambda_eff=0.99,
        objective="linear",
        cap=[30.0, 40.0, 50.0],
    )
    assert found.payout[0] == 30.0
    assert found.payout.sum() == pytest.approx(100.0, rel=1e-15)
    assert found.multiplier < 0.99 * 0.98


# --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("seed", range(12))
def test_objective_against_cvxpy(objective, seed):
    rng = np.random.default_rng([seed, 7])
    problem = random_problem(rng, int(rng.integers(2, 30)))
    problem["share"] = problem["share"] / problem["share"].sum()
    found = allocate_pool(**problem, objective=objective)
    pool, s, floor, cap = problem["pool"], problem["share"], problem["floor"], problem["cap"]
    w = s ** problem["alpha"]
    if objective == "linear":
        a, b = problem["lambda_fair"] * w, problem["lambda_eff"] * s
    else:
        a, b = problem["lambda_fair"] * w / w.sum() + problem["lambda_eff"] * s, 0 * s
    y = cvxpy.Variable(s.size)
    bounds = [
        cvxpy.sum(y) == 1,
        y >= floor / pool,
        y[np.isfinite(cap)] <= cap[np.isfinite(cap)] / pool,
    ]
    model = cvxpy.Problem(cvxpy.Maximize(a @ cvxpy.log(y) + b @ y), bounds)
    model.solve(solver="CLARABEL", tol_feas=1e-11, tol_gap_abs=1e-11, tol_gap_rel=1e-11)
    knobs = {name: problem[name] for name in ("alpha", "lambda_fair", "lambda_eff")}
    assert value(found.payout, pool, s, objective=objective, **knobs) == pytest.approx(
        model.value, rel=1e-8, abs=1e-8
    )


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("seed", range(40))
def test_no_pair_of_videos_can_trade_for_the_better(objective, seed):
    rng = np.random.default_rng([seed, 11])
    problem = random_problem(rng, 6)
    found = allocate_pool(**problem, objective=objective)
    knobs = {
        name: problem[name] for name in ("pool", "share", "alpha", "lambda_fair", "lambda_eff")
    }
    best = value(found.payout, objective=objective, **knobs)
    for giver in range(6):
        for taker in range(6):
            moved = found.payout.copy()
            amount = 1e-3 * min(
                moved[giver] - problem["floor"][giver],
                problem["cap"][taker] - moved[taker],
                moved[giver],
            )
            if giver == taker or amount <= 0:
                continue
            moved[giver] -= amount
            moved[taker] += amount
            assert value(moved, objective=objective, **knobs) <= best + 1e-12 * (1 + abs(best))


@pytest.mark.parametrize("eff", [1 - 1e-6, 1 - 1e-9, 1 - 1e-12])
@pytest.mark.parametrize("seed", range(10))
def test_linear_tends_to_its_linear_program(eff, seed):
    rng = np.random.default_rng([seed, 13])
    share, cap = rng.random(50), rng.uniform(1, 4, 50)
    near = allocate_pool(
        40.0, share, lambda_fair=1 - eff, lambda_eff=eff, objective="linear", cap=cap
    )
    limit = allocate_pool(40.0, share, lambda_fair=0.0, lambda_eff=eff, objective="linear", cap=cap)
    assert near.residual < 1e-13
    s = share / share.sum()
    lost = eff * s @ (limit.payout - near.payout) / 40
    assert -1e-15 <= lost <= (1 - eff) * 50 * np.sqrt(s).max()


def test_linear_program_shares_its_last_level_equally():
    found = allocate_pool(
        10.0,
        [3, 2, 2, 2, 1],
        lambda_fair=0.0,
        lambda_eff=1.0,
        objective="linear",
        cap=[4, 1, 9, 9, 9],
    )
    np.testing.assert_allclose(found.payout, [4, 1, 2.5, 2.5, 0], rtol=1e-15)
    assert found.residual == 0


# --------------------------------------------------------------------------------------------------

amounts = st.lists(
    st.one_of(st.just(0.0), st.floats(1e-12, 1.0), st.floats(1e-300, 1e-200)),
    min_size=1,
    max_size=30,
)
knobs = st.fixed_dictionaries(
    {
        "alpha": st.floats(0.01, 1.0),
        "lambda_fair": st.sampled_from([0.0, 1e-12, 1e-5, 0.1, 0.5, 1.0]),
        "lambda_eff": st.sampled_from([0.0, 0.5, 0.9, 0.99999, 1.0]),
        "objective": st.sampled_from(OBJECTIVES),
    }
).filter(lambda knob: knob["lambda_fair"] + knob["lambda_eff"] > 0)


@st.composite
def bounded(draw) -> dict[str, Any]:
    share = draw(amounts)
    n = len(share)
    pool = draw(st.sampled_from([1e-6, 1.0, 12345.678, 1e18]))
    inside = np.array(draw(st.lists(st.floats(1e-3, 1.0), min_size=n, max_size=n)))
    inside *= pool / inside.sum()
    low = draw(st.lists(st.sampled_from([0.0, 0.3, 0.999999, 1.0]), min_size=n, max_size=n))
    high = draw(st.lists(st.sampled_from([1.0, 1.000001, 3.0, math.inf]), min_size=n, max_size=n))
    return {
        "pool": pool,
        "share": np.array(share),
        "floor": inside * low,
        "cap": inside * high,
        **draw(knobs),
    }


OVERFLOWING_SLOPE = {
    "pool": 1e18,
    "share": np.array([0.5, 1e-290]),
    "floor": np.zeros(2),
    "cap": np.array([3e17, 8e17]),
    "alpha": 1.0,
    "lambda_fair": 0.0,
    "lambda_eff": 0.5,
    "objective": "blend",
}


@settings(max_examples=400, deadline=None)
@given(bounded())
@example(OVERFLOWING_SLOPE)
def test_pool_is_paid_out_within_bounds_and_optimally(problem):
    found = allocate_pool(**problem)
    assert math.fsum(found.payout) == pytest.approx(problem["pool"], rel=1e-14)
    assert (found.payout >= problem["floor"]).all()
    assert (found.payout <= problem["cap"]).all()
    assert found.residual < 1e-12


@settings(max_examples=100, deadline=None)
@given(bounded(), st.randoms(use_true_random=False))
def test_order_of_rows_does_not_matter(problem, random):
    order = list(range(problem["share"].size))
    random.shuffle(order)
    moved = {name: x[order] if isinstance(x, np.ndarray) else x for name, x in problem.items()}
    expected = allocate_pool(**problem).payout[order]
    np.testing.assert_allclose(
        allocate_pool(**moved).payout, expected, rtol=1e-6, atol=1e-12 * problem["pool"]
    )


@settings(max_examples=100, deadline=None)
@given(bounded(), st.sampled_from([2.0**-20, 3.0, 1e6]))
def test_scaling_the_money_scales_the_payout(problem, k):
    scaled = problem | {
        "pool": k * problem["pool"],
        "floor": k * problem["floor"],
        "cap": k * problem["cap"],
    }
    expected = k * allocate_pool(**problem).payout
    np.testing.assert_allclose(
        allocate_pool(**scaled).payout, expected, rtol=1e-6, atol=1e-12 * scaled["pool"]
    )


@settings(max_examples=100, deadline=None)
@given(bounded())
def test_a_video_without_views_changes_nobody_s_pay(problem):
    assume(problem["share"].any())
    before = allocate_pool(**problem)
    assume(before.multiplier > 0)
    new = {"share": 0.0, "floor": 0.0, "cap": math.inf}
    grown = allocate_pool(
        **problem | {name: np.append(problem[name], x) for name, x in new.items()}
    )
    assert grown.payout[-1] <= 1e-13 * problem["pool"]
    np.testing.assert_allclose(
        grown.payout[:-1], before.payout, rtol=1e-9, atol=1e-13 * problem["pool"]
    )


@settings(max_examples=100, deadline=None)
@given(bounded(), st.floats(1e-6, 1e12))
def test_shares_need_not_sum_to_one(problem, k):
    expected = allocate_pool(**problem).payout
    other = allocate_pool(**problem | {"share": problem["share"] * k}).payout
    np.testing.assert_allclose(other, expected, rtol=1e-6, atol=1e-12 * problem["pool"])


@settings(max_examples=100, deadline=None)
@given(bounded(), st.data())
def test_more_views_of_one_s_own_never_lower_one_s_pay(problem, data):
    """All else equal: so neither does a better quality, which enters as effective views."""
    row = data.draw(st.integers(0, problem["share"].size - 1))
    share = problem["share"].copy()
    share[row] = max(
        share[row] * data.draw(st.sampled_from([1.0001, 1.5, 100.0])),
        data.draw(st.sampled_from([0.0, 1e-9, 0.5])),
    )
    before, after = (
        allocate_pool(**problem | {"share": x}).payout[row] for x in (problem["share"], share)
    )
    assert after >= before * (1 - 1e-9) - 1e-12 * problem["pool"]


# --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_bounds_that_add_up_to_the_pool_are_the_answer(objective):
    tenths = np.full(10, 0.1)
    found = allocate_pool(1.0, np.arange(10), objective=objective, floor=tenths)
    np.testing.assert_array_equal(found.payout, tenths)
    found = allocate_pool(1.0, np.arange(10), objective=objective, cap=tenths)
    np.testing.assert_array_equal(found.payout, tenths)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_cap_of_zero_takes_a_row_out_of_the_problem(objective):
    found = allocate_pool(
        90.0, [5.0, 1.0, 4.0, 2.0], objective=objective, cap=[math.inf, 0.0, math.inf, 33.0]
    )
    without = allocate_pool(
        90.0, [5.0, 4.0, 2.0], objective=objective, cap=[math.inf, math.inf, 33.0]
    )
    assert found.payout[1] == 0
    np.testing.assert_array_equal(np.delete(found.payout, 1), without.payout)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_no_share_at_all_is_an_equal_split_within_bounds(objective):
    found = allocate_pool(
        10.0, [0, 0, 0, 0], objective=objective, floor=[4, 0, 0, 0], cap=[9, 1, 9, 9]
    )
    np.testing.assert_allclose(found.payout, [4, 1, 2.5, 2.5], rtol=1e-15)


def test_equal_videos_are_paid_equally():
    found = allocate_pool(
        7.0, np.ones(1000), objective="linear", lambda_fair=1e-5, lambda_eff=0.99999, cap=0.0071
    )
    np.testing.assert_allclose(found.payout, 0.007, rtol=1e-13)


def test_number_of_passes_stays_small():
    rng = np.random.default_rng(5)
    share = rng.pareto(1.2, 200_000)
    base = np.sqrt(share) / np.sqrt(share).sum()
    for objective in OBJECTIVES:
        for eff in (0.0, 0.5, 0.99999, 1.0):
            found = allocate_pool(
                1.0,
                share,
                lambda_fair=1 - eff,
                lambda_eff=eff,
                objective=objective,
                floor=0.5 * base,
                cap=base * rng.uniform(1, 3, share.size),
            )
            assert found.passes <= 40
            assert found.residual < 1e-13


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"floor": [0.6, 0.6]}, "floors add up to 1.2, more than the pool of 1.0"),
        ({"cap": 0.25}, "caps add up to 0.5, less than the pool of 1.0"),
        ({"floor": [0, 0.5], "cap": [1, 0.25]}, "floor of row 1, 0.5, is above its cap 0.25"),
        ({"floor": -1.0}, "floor of row 0, -1.0, is negative"),
    ],
)
def test_infeasible_names_the_numbers(arguments, words):
    with pytest.raises(InfeasibleError, match=words):
        allocate_pool(1.0, [1, 2], **arguments)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"share": [1, math.nan]}, "row 1 is nan"),
        ({"share": [-1, 1]}, "row 0 is -1.0"),
        ({"share": [[1, 1]]}, "one-dimensional"),
        ({"pool": -1.0}, "pool must be"),
        ({"pool": math.inf}, "pool must be"),
        ({"alpha": 0.0}, "alpha"),
        ({"alpha": 1.5}, "alpha"),
        ({"lambda_eff": -0.1}, "lambda_eff"),
        ({"lambda_fair": 0, "lambda_eff": 0}, "both 0"),
        ({"objective": "fair"}, "objective"),
        ({"floor": [0.0]}, "shape"),
        ({"cap": [math.nan, 1]}, "cap must not be NaN: row 0"),
    ],
)
def test_bad_input_is_refused(arguments, words):
    with pytest.raises(ValueError, match=words):
        allocate_pool(**{"pool": 1.0, "share": [1, 2]} | arguments)


def test_money_without_videos_is_infeasible():
    with pytest.raises(InfeasibleError):
        allocate_pool(1.0, [])
    assert allocate_pool(0.0, []).payout.shape == (0,)
