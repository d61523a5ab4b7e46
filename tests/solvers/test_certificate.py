"""The judge: right splits pass, wrong ones show, whoever made them; its bounds against linear
programs, CVXPY and other splits.
"""

from __future__ import annotations

import math
from typing import Any

import cvxpy
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from solvers.ad_pool import EachAtMost, Rule, allocate_pool, certify_pool
from solvers.ad_pool.certificate import pool_problem
from solvers.coin_split import certify_coin_split, certify_platform_split, split_videos
from solvers.coin_split.video import split_platform

OBJECTIVES = ("linear", "blend")


def random_problem(rng: np.random.Generator, n: int) -> dict[str, Any]:
    """A feasible pool: bounds around an interior point, some units without share, sometimes a
    linear program.
    """
    pool = 10.0 ** rng.uniform(-3, 9)
    share = [rng.random(n), rng.pareto(1.1, n) + 1e-9, rng.integers(1, 4, n).astype(float)][
        rng.integers(3)
    ]
    share[rng.random(n) < rng.choice([0.0, 0.3])] = 0.0
    inside = pool * rng.dirichlet(np.ones(n))
    eff = float(rng.choice([0.0, 0.5, 0.99999, 1.0]))
    return {
        "pool": pool,
        "share": share,
        "alpha": float(rng.uniform(0.1, 1)),
        "lambda_fair": 1 - eff,
        "lambda_eff": eff,
        "floor": inside * rng.choice([0.0, 0.5, 0.9], n),
        "cap": inside * rng.choice([1.1, 2.0, math.inf], n),
        "objective": OBJECTIVES[rng.integers(2)],
    }


def value(y: Any, problem: dict[str, Any]) -> float:
    """The objective of the document, term by term, with payouts as parts of the pool."""
    live = np.asarray(problem["share"]) > 0
    s = np.asarray(problem["share"])[live] / np.sum(problem["share"])
    w, part = s ** problem["alpha"], np.asarray(y)[live]
    fair, eff = problem["lambda_fair"], problem["lambda_eff"]
    if problem["objective"] == "linear":
        return float((fair * w @ np.log(part) if fair else 0.0) + eff * s @ part)
    return float((fair * w / w.sum() + eff * s) @ np.log(part))


# --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(80))
def test_the_best_split_is_proved(seed):
    rng = np.random.default_rng([seed, 1])
    problem = random_problem(rng, int(rng.integers(1, 40)))
    found = allocate_pool(**problem)
    judged = certify_pool(found.payout, **problem)
    assert judged.primal_residual < 1e-13
    assert judged.stationarity_residual < 1e-12
    assert judged.complementarity_residual < 1e-13
    assert judged.gap < 1e-12
    assert judged.value == pytest.approx(
        value(found.payout / problem["pool"], problem), rel=1e-12, abs=1e-13
    )
    assert judged.upper_bound == pytest.approx(judged.value, rel=1e-11, abs=1e-13)


@pytest.mark.parametrize("seed", range(60))
def test_a_millionth_off_shows(seed):
    rng = np.random.default_rng([seed, 2])
    problem = random_problem(rng, 12) | {"share": rng.random(12) + 0.1, "floor": None, "cap": None}
    problem["lambda_fair"] = max(problem["lambda_fair"], 0.1)
    best = allocate_pool(**problem).payout
    off = best * (1 + 1e-6 * rng.choice([-1, 1], 12))
    off[0] += best.sum() - off.sum()
    judged = certify_pool(off, **problem)
    assert judged.primal_residual < 1e-14
    assert 1e-8 < judged.gap < 1e-4
    assert judged.stationarity_residual > 1e-8
    assert judged.upper_bound >= value(best / problem["pool"], problem) - 1e-13
    # the first-order gap is no smaller than the loss
    assert judged.gap * judged.scale >= judged.upper_bound - judged.value - 1e-13


@pytest.mark.parametrize("seed", range(60))
def test_two_payouts_swapped_show(seed):
    rng = np.random.default_rng([seed, 3])
    problem = random_problem(rng, 8) | {"share": np.arange(1.0, 9.0), "floor": None, "cap": None}
    problem["lambda_fair"] = max(problem["lambda_fair"], 0.1)
    payout = allocate_pool(**problem).payout
    i, j = rng.choice(8, 2, replace=False)
    payout[[i, j]] = payout[[j, i]]
    judged = certify_pool(payout, **problem)
    assert judged.primal_residual < 1e-14
    assert judged.gap > 1e-4
    assert judged.upper_bound > judged.value


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 10**6))
def test_no_allowed_split_is_worth_more_than_either_bound(seed):
    rng = np.random.default_rng([seed, 4])
    problem = random_problem(rng, int(rng.integers(2, 10)))
    problem["share"][0] = 1.0
    some = allocate_pool(**problem | {"share": rng.random(problem["share"].size)}).payout
    best = allocate_pool(**problem).payout
    judged, top = certify_pool(some, **problem), certify_pool(best, **problem)
    assert judged.primal_residual < 1e-13
    assert judged.value == pytest.approx(
        value(some / problem["pool"], problem), rel=1e-12, abs=1e-12
    )
    assert top.value <= judged.upper_bound + 1e-12 * (1 + abs(top.value))
    assert top.value <= judged.value + judged.gap * judged.scale + 1e-12 * (1 + abs(top.value))


@pytest.mark.parametrize("seed", range(25))
def test_the_gap_of_a_split_is_the_best_linear_gain(seed):
    """With rules: the largest gradient @ (z - y) over all allowed z, by CVXPY; the certificate
    finds the same through its multipliers.
    """
    rng = np.random.default_rng([seed, 5])
    n = 10
    problem = random_problem(rng, n) | {"share": rng.random(n) + 0.1}
    problem["lambda_fair"] = max(problem["lambda_fair"], 0.1)
    y = allocate_pool(**problem | {"share": rng.random(n)}).payout / problem["pool"]
    members, groups = rng.random(n) < 0.5, rng.integers(0, 3, n)
    rules = [
        Rule(
            "group",
            members,
            minimum=float(y[members].sum()) * 0.9,
            maximum=float(y[members].sum()) * 1.1,
        ),
        EachAtMost("groups", float(np.bincount(groups, y).max()) * 1.05, groups),
        EachAtMost("units", float(y.max()) * 1.2),
    ]
    judged = certify_pool(y * problem["pool"], **problem, rules=rules)
    assert judged.primal_residual < 1e-12
    stated = pool_problem(**problem, rules=rules)
    gradient = stated.weight / y + stated.gain
    z = cvxpy.Variable(n)
    bounds = [
        cvxpy.sum(z) == 1,
        z >= problem["floor"] / problem["pool"],
        z <= np.minimum(problem["cap"] / problem["pool"], 1.2 * y.max()),
        members @ z >= rules[0].minimum,
        members @ z <= rules[0].maximum,
        *(((groups == g) @ z) <= rules[1].maximum for g in range(3)),
    ]
    gain = cvxpy.Problem(cvxpy.Maximize(gradient @ (z - y)), bounds).solve(solver="CLARABEL")
    assert judged.gap * judged.scale == pytest.approx(gain, rel=1e-5, abs=1e-6 * judged.scale)


def test_multipliers_are_worth_what_they_say():
    rng = np.random.default_rng(6)
    share = rng.random(30)
    small = share < 0.3

    def best(pool_part: float) -> tuple[float, np.ndarray[Any, Any]]:
        # inside a group and outside it, payouts keep the proportions of the weights
        weight = 0.5 * np.sqrt(share) / np.sqrt(share).sum() + 0.5 * share / share.sum()
        y = np.where(
            small,
            pool_part * weight / weight[small].sum(),
            (1 - pool_part) * weight / weight[~small].sum(),
        )
        return float(weight @ np.log(y)), y

    worth, y = best(0.4)
    judged = certify_pool(y, 1.0, share, rules=[Rule("small", small, minimum=0.4)])
    assert judged.gap < 1e-14
    assert judged.value == pytest.approx(worth, rel=1e-14)
    slope = (best(0.4 + 1e-6)[0] - best(0.4 - 1e-6)[0]) / 2e-6
    assert judged.rule_multipliers["small"] == pytest.approx(slope, rel=1e-7)


def test_linear_program_and_capped_leaders_are_judged_right():
    # lambda_fair = 0: all to the largest share, up to its cap; ties are as good as each other
    case: dict[str, Any] = {
        "pool": 10.0,
        "share": [3, 2, 2, 1],
        "lambda_fair": 0.0,
        "lambda_eff": 1.0,
        "objective": "linear",
    }
    caps = [4.0, 9.0, 9.0, 9.0]
    for payout in ([4, 6, 0, 0], [4, 0, 6, 0], [4, 2.5, 3.5, 0]):
        assert certify_pool(payout, **case, cap=caps).gap == 0
    assert certify_pool([3, 7, 0, 0], **case, cap=caps).gap == pytest.approx(
        0.1 * (3 - 2) / 8 / (3 / 8)
    )
    assert certify_pool([4, 5, 0, 1], **case, cap=caps).gap == pytest.approx(
        0.1 * (2 - 1) / 8 / (3 / 8)
    )
    # nu <= lambda_eff s for the first unit: its optimum is the cap
    case = {
        "pool": 100.0,
        "share": [98.0, 1.0, 1.0],
        "lambda_fair": 0.01,
        "lambda_eff": 0.99,
        "objective": "linear",
        "cap": [30, 40, 50],
    }
    judged = certify_pool(allocate_pool(**case).payout, **case)
    assert judged.gap < 1e-15
    assert judged.multiplier < 0.99 * 0.98
    assert certify_pool([0.0, 50.0, 50.0], **case).gap == math.inf


def test_units_without_share_get_only_what_is_left():
    case: dict[str, Any] = {"pool": 10.0, "share": [1, 1, 0, 0], "cap": [3, 3, 9, 9]}
    for payout in ([3, 3, 2, 2], [3, 3, 4, 0]):
        judged = certify_pool(payout, **case)
        assert judged.gap == judged.multiplier == 0
    assert certify_pool([2, 3, 3, 2], **case).gap == pytest.approx(0.5 / 0.2 * 0.1)
    assert certify_pool([5, 5, 0, 0], **case).primal_residual == pytest.approx(2 / 3)


def test_one_allowed_split_is_the_best_one():
    tenths = np.full(10, 0.1)
    for bounds in ({"floor": tenths}, {"cap": tenths}):
        judged = certify_pool(tenths, 1.0, np.arange(10), **bounds)
        assert judged.gap < 1e-15
        assert judged.primal_residual < 1e-15
        assert certify_pool(np.arange(10) / 45, 1.0, np.arange(10), **bounds).primal_residual > 0.5


def test_a_cap_of_zero_leaves_before_anything_is_normalised():
    payout = allocate_pool(90.0, [5.0, 4.0, 2.0]).payout
    judged = certify_pool(
        np.insert(payout, 1, 0.0),
        90.0,
        [5.0, 1.0, 4.0, 2.0],
        cap=[math.inf, 0.0, math.inf, math.inf],
    )
    assert judged.gap < 1e-15
    assert judged.multiplier == pytest.approx(1.0)


def test_every_kind_of_violation_is_measured():
    case: dict[str, Any] = {"pool": 10.0, "share": [1, 1]}
    assert certify_pool([5.0, 4.0], **case).primal_residual == pytest.approx(0.1)
    assert certify_pool([5.0, 5.0], **case, floor=[5.5, 0.0]).primal_residual == pytest.approx(
        0.5 / 5.5
    )
    assert certify_pool([6.0, 4.0], **case, cap=[5.5, 9.0]).primal_residual == pytest.approx(
        0.5 / 5.5
    )
    rule = Rule("first", [True, False], 0.2, 0.4)
    assert certify_pool([5.0, 5.0], **case, rules=[rule]).primal_residual == pytest.approx(0.25)
    assert certify_pool([1.0, 9.0], **case, rules=[rule]).primal_residual == pytest.approx(0.5)
    assert certify_pool([-1.0, 11.0], **case).primal_residual == pytest.approx(0.2)
    assert certify_pool([0.0, 0.0], 0.0, [1, 1]).primal_residual == 0
    assert certify_pool([0.0, 1.0], 0.0, [1, 1]).primal_residual == math.inf


def test_whole_units_of_money_lose_little_and_say_so():
    share = np.random.default_rng(7).pareto(1.2, 1000) + 0.1
    payout = np.round(allocate_pool(1e6, share).payout)
    judged = certify_pool(payout, payout.sum(), share)
    assert judged.gap > 1e-5
    assert 0 < judged.upper_bound - judged.value < 1e-6


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"payout": [1.0]}, "payout must have shape"),
        ({"payout": [1.0, math.nan]}, "payout must be finite: row 1 is nan"),
        ({"pool": -1.0}, "pool must be"),
        ({"share": [1.0, -1.0]}, "row 1 is -1.0"),
        ({"floor": [0.0, -1.0]}, "floor must be at least 0: row 1"),
        ({"cap": [1.0]}, "cap must be one number"),
        ({"alpha": 0.0}, "alpha"),
        ({"lambda_fair": 0, "lambda_eff": 0}, "not both 0"),
        ({"objective": "fair"}, "objective"),
        ({"rules": [Rule("a", [True, False])]}, "rule 'a' needs a minimum or a maximum"),
        ({"rules": [Rule("a", [True], 0.1)]}, "members of rule 'a' must have shape"),
        ({"rules": [Rule("a", [1.0, math.nan], 0.1)]}, "members of rule 'a' must be finite: row 1"),
        ({"rules": [Rule("a", [True, False], 0.1), EachAtMost("a", 0.1)]}, "a name of its own"),
        ({"rules": [EachAtMost("a", 0.1, ["x"])]}, "groups of rule 'a' must have shape"),
    ],
)
def test_bad_input_is_refused(change, words):
    with pytest.raises(ValueError, match=words):
        certify_pool(**{"payout": [5.0, 5.0], "pool": 10.0, "share": [1.0, 1.0]} | change)


# --------------------------------------------------------------------------------------------------


def random_videos(rng: np.random.Generator, n: int) -> dict[str, Any]:
    """Coins and policies of every kind, with ties, empty kinds and rows that nobody can split."""
    coins = rng.choice([0.0, 1.0, 100.0, 5000.0], (2, n)) * rng.choice([1.0, rng.random()], (2, n))
    return {
        "normal": coins[0],
        "premium": coins[1],
        "quality": rng.random(n),
        "theta": 0.5,
        "normal_max": rng.random(n),
        "premium_max": rng.random(n),
        "min_gap": 0.3 * rng.random(n),
        "max_gap": rng.choice([0.1, 0.4, 1.0], n),
        "revenue_floor": rng.choice([0.0, 0.1, 0.8], n) * coins.sum(axis=0),
        "lambda_rev": rng.choice([0.0, 0.4], n),
        "lambda_util": rng.choice([0.0, 0.4], n),
        "lambda_inc": rng.choice([0.0, 0.2], n),
        "epsilon": rng.choice([0.01, 1.0], n),
    }


@pytest.mark.parametrize("utility", ["log", "linear"])
def test_closed_form_is_proved_and_neighbours_are_not(utility):
    rng = np.random.default_rng(8)
    videos = random_videos(rng, 20_000)
    best = split_videos(**videos, utility=utility)
    judged = certify_coin_split(best.normal_share, best.premium_share, **videos, utility=utility)
    np.testing.assert_array_equal(judged.feasible, best.feasible)
    assert 0.1 < best.feasible.mean() < 1
    assert judged.gap.max() < 1e-12
    assert judged.primal_residual.max() < 1e-12
    assert (judged.upper_bound[~best.feasible] == -math.inf).all()

    # any other feasible pair is worth no more than its own bound, and its bound is above the best
    # value
    t = rng.random(20_000)
    with np.errstate(invalid="ignore"):
        other = split_videos(
            **videos | {"lambda_rev": rng.random(20_000), "lambda_util": 0.1, "lambda_inc": 0.0},
            utility=utility,
        )
    x_n = best.normal_share + t * (other.normal_share - best.normal_share)
    x_p = best.premium_share + t * (other.premium_share - best.premium_share)
    middle = certify_coin_split(x_n, x_p, **videos, utility=utility)
    ok = best.feasible
    assert middle.primal_residual[ok].max() < 1e-12
    assert (middle.upper_bound[ok] >= judged.value[ok] - 1e-12).all()
    worse = ok & (judged.value - middle.value > 1e-9)
    assert worse.sum() > 1000
    assert (middle.gap[worse] > 1e-10).all()


def test_a_coin_split_a_millionth_off_shows():
    case: dict[str, Any] = {
        "normal": 100.0,
        "premium": 50.0,
        "quality": 0.5,
        "theta": 0.5,
        "normal_max": 0.6,
        "premium_max": 0.8,
        "min_gap": 0.05,
        "max_gap": 0.4,
        "revenue_floor": 15.0,
        "lambda_rev": 0.4,
        "lambda_util": 0.4,
        "lambda_inc": 0.2,
    }
    best = split_videos(**case)
    assert 0 < best.normal_share[0] < 0.6
    along = certify_coin_split(
        best.normal_share * (1 + 1e-6), best.normal_share * (1 + 1e-6) + 0.4, **case
    )
    assert along.gap[0] > 1e-9
    narrow = certify_coin_split(best.normal_share, best.premium_share * (1 - 1e-6), **case)
    assert narrow.gap[0] > 1e-9
    wide = certify_coin_split(best.normal_share, best.premium_share * (1 + 1e-6), **case)
    assert wide.primal_residual[0] == pytest.approx(1e-6 * best.premium_share[0])


def test_a_missing_coin_split_is_right_only_where_there_is_none():
    videos = {
        "normal": [100.0, 100.0],
        "premium": [50.0, 50.0],
        "quality": 0.5,
        "min_gap": [0.05, 0.9],
    }
    policy = {
        "theta": 0.5,
        "normal_max": 0.6,
        "premium_max": 0.8,
        "max_gap": 0.4,
        "revenue_floor": 15.0,
    }
    weights = {"lambda_rev": 0.4, "lambda_util": 0.4, "lambda_inc": 0.2}
    judged = certify_coin_split([math.nan] * 2, [math.nan] * 2, **videos, **policy, **weights)
    assert judged.gap.tolist() == [math.inf, 0.0]
    assert judged.primal_residual.tolist() == [math.inf, 0.0]
    assert certify_coin_split(
        [0.1] * 2, [0.3] * 2, **videos, **policy, **weights
    ).primal_residual.tolist() == pytest.approx([0.0, 0.7])


def test_platform_split_is_measured_as_its_solver_does():
    rng = np.random.default_rng(9)
    n = 200
    videos: dict[str, Any] = {
        "normal": rng.pareto(1.2, n) * 100,
        "premium": rng.pareto(1.2, n) * 20,
        "utility_weight": rng.dirichlet(np.ones(n)),
        "incentive_weight": rng.dirichlet(np.ones(n)),
        "efficiency_share": rng.dirichlet(np.ones(n)),
        "lambda_eff": 1.0,
        "normal_max": 0.6,
        "premium_max": 0.8,
        "min_gap": 0.05,
        "max_gap": 0.4,
        "revenue_floor": 1000.0,
        "payout_cap": 5000.0,
    }
    best = split_platform(**videos)
    judged = certify_platform_split(best.normal_share, best.premium_share, **videos)
    assert judged.primal_residual < 1e-12
    assert judged.value == pytest.approx(best.value, rel=1e-12)
    assert judged.total == pytest.approx(best.total, rel=1e-12)
    half = certify_platform_split(
        0.5 * best.normal_share, best.premium_share - 0.5 * best.normal_share, **videos
    )
    assert half.primal_residual < 1e-12
    assert half.value < best.upper_bound
    limited = certify_platform_split(
        best.normal_share, best.premium_share, **videos | {"payout_cap": 0.5 * best.total}
    )
    assert limited.primal_residual == pytest.approx(
        0.5 * best.total / (videos["normal"].sum() + videos["premium"].sum())
    )
    assert (
        certify_platform_split(
            best.normal_share, best.premium_share, **videos, payout_max=0.0
        ).primal_residual
        > 0.01
    )
    with pytest.raises(ValueError, match="shares must be numbers: row 0"):
        certify_platform_split(np.full(n, math.nan), best.premium_share, **videos)
