"""Pools under rules: the dual search against CVXPY and the plain pool, its certificate, and
contradictions against brute force.
"""

from __future__ import annotations

import math
import re
from itertools import combinations
from typing import Any

import cvxpy
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from solvers import InfeasibleError
from solvers.ad_pool import allocate_pool, allocate_with_rules, certify_pool
from solvers.ad_pool.rules import EachAtMost, Rule, RuleModel

OBJECTIVES = ("linear", "blend")


def random_problem(
    rng: np.random.Generator, n: int
) -> tuple[dict[str, Any], list[Rule | EachAtMost]]:
    """A feasible pool and rules, drawn around an interior point."""
    pool = 10.0 ** rng.uniform(-3, 9)
    inside = rng.dirichlet(np.ones(n))
    eff = float(rng.choice([0.0, 0.5, 0.9, rng.random()]))
    problem = {
        "pool": pool,
        "share": [
            rng.random(n) + 1e-3,
            rng.pareto(1.1, n) + 1e-3,
            rng.integers(1, 4, n).astype(float),
        ][rng.integers(3)],
        "alpha": float(rng.uniform(0.1, 1)),
        "lambda_fair": 1 - eff,
        "lambda_eff": eff,
        "floor": pool * inside * rng.choice([0.0, 0.5], n),
        "cap": pool * inside * rng.choice([1.5, 3.0, math.inf], n),
        "objective": OBJECTIVES[rng.integers(2)],
    }
    rules: list[Rule | EachAtMost] = []
    for i in range(rng.integers(1, 6)):
        kind = rng.integers(5)
        if kind < 3:
            members = (
                rng.random(n) < rng.choice([0.2, 0.5, 0.9])
                if kind < 2
                else rng.choice([0.0, 1.0, 2.0, -0.5], n)
            )
            total, width = float(members @ inside), float(rng.choice([0.01, 0.1, 0.5]))
            minimum = total - width * abs(total) if rng.random() < 0.6 else None
            maximum = total + width * abs(total) if minimum is None or rng.random() < 0.3 else None
            rules.append(Rule(f"rule {i}", members, minimum, maximum))
        elif kind == 3:
            rules.append(EachAtMost(f"unit {i}", float(inside.max() * rng.uniform(1.01, 1.5))))
        else:
            groups = rng.integers(0, max(2, n // 3), n)
            rules.append(
                EachAtMost(
                    f"group {i}",
                    float(np.bincount(groups, inside).max() * rng.uniform(1.01, 1.5)),
                    groups,
                )
            )
    return problem, rules


def solve(problem: dict[str, Any], rules: list[Rule | EachAtMost], **more: Any) -> Any:
    return allocate_with_rules(**problem, rules=rules, **more)


def best_value(problem: dict[str, Any], rules: list[Rule | EachAtMost]) -> float:
    """The optimum by CVXPY, written down anew: nothing here is shared with the code under test."""
    s = problem["share"] / problem["share"].sum()
    w, n = s ** problem["alpha"], s.size
    if problem["objective"] == "linear":
        a, b = problem["lambda_fair"] * w, problem["lambda_eff"] * s
    else:
        a, b = problem["lambda_fair"] * w / w.sum() + problem["lambda_eff"] * s, 0 * s
    z = cvxpy.Variable(n)
    cap = np.minimum(problem["cap"] / problem["pool"], 1)
    bounds = [cvxpy.sum(z) == n, z >= n * problem["floor"] / problem["pool"], z <= n * cap]
    for rule in rules:
        if isinstance(rule, Rule):
            total = np.asarray(rule.members, dtype=float) @ z
            bounds += [] if rule.minimum is None else [total >= n * rule.minimum]
            bounds += [] if rule.maximum is None else [total <= n * rule.maximum]
        elif rule.groups is None:
            bounds.append(z <= n * rule.maximum)
        else:
            bounds += [
                (np.asarray(rule.groups) == g).astype(float) @ z <= n * rule.maximum
                for g in np.unique(rule.groups)
            ]
    model = cvxpy.Problem(cvxpy.Maximize(a @ cvxpy.log(z / n) + b @ z / n), bounds)
    return float(
        model.solve(solver="CLARABEL", tol_feas=1e-10, tol_gap_abs=1e-10, tol_gap_rel=1e-10)
    )


# --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(60))
def test_objective_against_cvxpy(seed):
    rng = np.random.default_rng([seed, 1])
    problem, rules = random_problem(rng, int(rng.integers(3, 40)))
    found = solve(problem, rules)
    assert found.solver in ("dual", "closed form")
    assert found.status == "optimal"
    assert found.residual < 1e-12
    assert found.gap < 1e-9
    assert (found.payout >= problem["floor"]).all()
    assert (found.payout <= problem["cap"]).all()
    judged = certify_pool(found.payout, **problem, rules=rules)
    assert judged.value == pytest.approx(best_value(problem, rules), rel=1e-7, abs=1e-7)


@pytest.mark.parametrize("seed", range(20))
def test_model_and_dual_agree(seed):
    rng = np.random.default_rng([seed, 2])
    n = int(rng.integers(3, 40))
    problem, rules = random_problem(rng, n)
    dual, model = solve(problem, rules), solve(problem, rules, model=RuleModel(n, rules))
    assert model.solver in ("CLARABEL", "closed form")
    judged = [certify_pool(x.payout, **problem, rules=rules) for x in (dual, model)]
    assert judged[0].value == pytest.approx(judged[1].value, rel=1e-7, abs=1e-7)
    assert model.residual < 1e-6


def test_a_model_serves_every_pool_of_its_shape():
    rng = np.random.default_rng(3)
    rules: list[Rule | EachAtMost] = [Rule("small", rng.random(20) < 0.3, minimum=0.5)]
    model = RuleModel(20, rules)
    for minimum in (0.5, 0.6, 0.7):
        share, rule = rng.random(20), Rule("small", rules[0].members, minimum=minimum)
        found = allocate_with_rules(100.0, share, [rule], model=model)
        assert found.solver == "CLARABEL"
        np.testing.assert_allclose(
            found.payout, allocate_with_rules(100.0, share, [rule]).payout, rtol=1e-3
        )
    with pytest.raises(ValueError, match="other memberships"):
        allocate_with_rules(100.0, share, [Rule("small", share > 0.9, minimum=0.5)], model=model)


@pytest.mark.parametrize("seed", range(20))
def test_rules_that_do_not_bind_change_nothing(seed):
    rng = np.random.default_rng([seed, 4])
    problem, _ = random_problem(rng, 25)
    plain = allocate_pool(**problem)
    y, members, groups = (
        plain.payout / problem["pool"],
        rng.random(25) < 0.5,
        rng.integers(0, 5, 25),
    )
    part = float(y[members].sum())
    rules = [
        Rule("group", members, 0.99 * part, 1.01 * part),
        EachAtMost("groups", 1.01 * float(np.bincount(groups, y).max()), groups),
        EachAtMost("units", 1.01 * float(y.max())),
    ]
    found = solve(problem, rules)
    assert found.solver == "closed form"
    np.testing.assert_allclose(found.payout, plain.payout, rtol=1e-13)
    assert found.multiplier == pytest.approx(plain.multiplier, rel=1e-9)
    assert all(abs(x) < 1e-12 for x in found.rule_multipliers.values())


def test_a_binding_minimum_by_hand():
    # inside and outside the group payouts keep the proportions of the weights, 1 : 2 : 4
    found = allocate_with_rules(
        100.0, [1, 4, 16], [Rule("small", [True, True, False], minimum=0.6)], lambda_eff=0.0
    )
    np.testing.assert_allclose(found.payout, [20, 40, 40], rtol=1e-12)
    # d/dm of (3/7 log m + 4/7 log(1 - m)) / 2
    assert found.rule_multipliers["small"] == pytest.approx(
        0.5 * (3 / 7 / 0.6 - 4 / 7 / 0.4), rel=1e-9
    )
    assert found.multiplier == pytest.approx(0.5 * 4 / 7 / 0.4, rel=1e-9)


@pytest.mark.parametrize("seed", range(8))
def test_multipliers_are_slopes_of_the_best_value(seed):
    rng = np.random.default_rng([seed, 5])
    n = 30
    share, groups = rng.random(n) + 0.1, rng.integers(0, 6, n)
    y = np.sqrt(share) / np.sqrt(share).sum()
    members = rng.random(n) < 0.4
    part, top = float(y[members].sum()) * 1.3, float(np.bincount(groups, y).max()) * 0.9

    def best(part: float, top: float) -> Any:
        rules = [
            Rule("group", members, minimum=part),
            EachAtMost("groups", top, groups),
            EachAtMost("units", 1.2 * float(y.max())),
        ]
        found = allocate_with_rules(1.0, share, rules, alpha=0.5, lambda_fair=1.0, lambda_eff=0.0)
        return (
            found.rule_multipliers,
            certify_pool(found.payout, 1.0, share, lambda_fair=1.0, lambda_eff=0.0).value,
        )

    multipliers = best(part, top)[0]
    assert multipliers["group"] < 0
    step = 1e-6
    assert multipliers["group"] == pytest.approx(
        (best(part + step, top)[1] - best(part - step, top)[1]) / (2 * step), rel=1e-3, abs=1e-6
    )
    assert multipliers["groups"] == pytest.approx(
        (best(part, top + step)[1] - best(part, top - step)[1]) / (2 * step), rel=1e-3, abs=1e-6
    )


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([2.0**-20, 3.0, 1e6]))
def test_order_and_currency_do_not_matter(seed, k):
    rng = np.random.default_rng([seed, 6])
    n = int(rng.integers(3, 25))
    problem, rules = random_problem(rng, n)
    order = rng.permutation(n)
    money = {name: k * problem[name] for name in ("pool", "floor", "cap")}
    moved: list[Rule | EachAtMost] = []
    for rule in rules:
        if isinstance(rule, Rule):
            moved.append(
                Rule(rule.name, np.asarray(rule.members)[order], rule.minimum, rule.maximum)
            )
        else:
            moved.append(
                EachAtMost(
                    rule.name,
                    rule.maximum,
                    None if rule.groups is None else np.asarray(rule.groups)[order].astype(str),
                )
            )
    changed = {
        name: x[order] if isinstance(x, np.ndarray) else x for name, x in (problem | money).items()
    }
    expected, found = solve(problem, rules), solve(changed, moved)
    np.testing.assert_allclose(
        found.payout, k * expected.payout[order], rtol=1e-5, atol=1e-9 * changed["pool"]
    )


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6))
def test_a_unit_without_share_changes_nobody_s_pay(seed):
    rng = np.random.default_rng([seed, 7])
    problem, rules = random_problem(rng, int(rng.integers(3, 25)))
    new: list[Rule | EachAtMost] = []
    for rule in rules:
        if isinstance(rule, Rule):
            new.append(
                Rule(
                    rule.name,
                    np.append(np.asarray(rule.members, dtype=float), 0.0),
                    rule.minimum,
                    rule.maximum,
                )
            )
        else:
            new.append(
                EachAtMost(
                    rule.name,
                    rule.maximum,
                    None if rule.groups is None else np.append(rule.groups, -1),
                )
            )
    before = solve(problem, rules)
    # worth more than nothing: an idle unit would take money that costs the others value
    price = before.multiplier
    grown = solve(
        problem
        | {
            "share": np.append(problem["share"], 0.0),
            "floor": np.append(problem["floor"], 0.0),
            "cap": np.append(problem["cap"], math.inf if price > 0 else 0.0),
        },
        new,
    )
    assert grown.payout[-1] <= 1e-9 * problem["pool"]
    np.testing.assert_allclose(
        grown.payout[:-1], before.payout, rtol=1e-5, atol=1e-9 * problem["pool"]
    )


# --------------------------------------------------------------------------------------------------


def test_units_without_share_where_a_rule_leaves_nobody_else():
    new = [False, False, True, True, True]
    found = allocate_with_rules(
        100.0, [3, 1, 0, 0, 0], [Rule("new", new, minimum=0.3)], cap=[math.inf] * 4 + [4.0]
    )
    np.testing.assert_allclose(found.payout[2:], [13, 13, 4], rtol=1e-5)
    np.testing.assert_allclose(found.payout[:2], allocate_pool(70.0, [3, 1]).payout, rtol=1e-9)
    assert found.gap < 1e-9
    assert found.solver == "dual"


def test_rules_that_leave_a_unit_with_share_nothing():
    rules: list[Rule | EachAtMost] = [
        Rule("pair", [True, True, False], maximum=0.6),
        Rule("one", [False, True, False], minimum=0.6),
    ]
    with pytest.raises(
        ArithmeticError, match=r"leave a unit with share nothing|no solver of the model"
    ):
        allocate_with_rules(1.0, [1, 1, 1], rules)


def test_linear_program_with_rules():
    found = allocate_with_rules(
        10.0,
        [5, 3, 2, 1],
        [Rule("last", [0, 0, 1, 1], minimum=0.3)],
        lambda_fair=0.0,
        lambda_eff=1.0,
        objective="linear",
        cap=6,
    )
    np.testing.assert_allclose(found.payout, [6, 1, 3, 0], atol=1e-9)
    assert found.solver == "HIGHS"
    assert found.gap < 1e-9


def test_nobody_over_three_percent_is_a_cap():
    share = np.random.default_rng(8).pareto(1.1, 500) + 0.01
    found = allocate_with_rules(100.0, share, [EachAtMost("nobody", 0.03)])
    assert found.solver == "closed form"
    np.testing.assert_allclose(
        found.payout, allocate_pool(100.0, share, cap=3.0).payout, rtol=1e-13
    )
    assert (found.payout == 3.0).sum() > 1
    assert found.rule_multipliers["nobody"] > 0


def test_many_groups_at_their_maximum():
    rng = np.random.default_rng(9)
    share, groups = rng.pareto(1.5, 5000) + 0.1, rng.integers(0, 500, 5000)
    found = allocate_with_rules(
        1.0,
        share,
        [EachAtMost("creators", 0.0021, groups), Rule("small", share < 0.5, minimum=0.6)],
    )
    totals = np.bincount(groups, found.payout)
    assert (totals > 0.0021 * (1 - 1e-9)).sum() > 200
    assert totals.max() <= 0.0021 * (1 + 1e-12)
    assert found.gap < 1e-9
    assert found.solver == "dual"


def test_nearly_a_linear_program():
    rng = np.random.default_rng(10)
    share, members = rng.random(50), rng.random(50) < 0.4
    found = allocate_with_rules(
        1.0,
        share,
        [Rule("group", members, minimum=0.7)],
        lambda_fair=1e-9,
        lambda_eff=1.0,
        objective="linear",
        cap=0.2,
    )
    assert found.gap < 1e-9
    assert found.residual < 1e-12
    assert found.payout[members].sum() == pytest.approx(0.7)


def test_empty_pool_and_same_rule_twice():
    rule = Rule("a", [True, False], minimum=0.5)
    assert allocate_with_rules(0.0, [1, 2], [rule]).payout.tolist() == [0.0, 0.0]
    twice = allocate_with_rules(1.0, [1, 2], [rule, Rule("b", [1.0, 0.0], minimum=0.5)])
    np.testing.assert_allclose(twice.payout, 0.5, rtol=1e-12)
    assert twice.gap < 1e-12


@pytest.mark.parametrize("factor", [1 + 1e-6, 1 - 1e-6])
def test_the_certificate_refuses_an_answer_that_was_moved(factor):
    rng = np.random.default_rng(11)
    share = rng.random(20) + 0.1
    rules: list[Rule | EachAtMost] = [
        Rule("small", share < 0.4, minimum=0.5),
        EachAtMost("nobody", 0.1),
    ]
    payout = allocate_with_rules(1.0, share, rules).payout
    assert certify_pool(payout, 1.0, share, rules=rules).gap < 1e-12
    small = share < 0.4
    moved = np.where(small, payout * factor, payout)
    moved[np.argmax(np.where(small, 0, payout * (payout < 0.09)))] += 1 - moved.sum()
    judged = certify_pool(moved, 1.0, share, rules=rules)
    assert max(judged.gap, judged.primal_residual) > 1e-8
    i, j = np.flatnonzero(small)[:2]
    payout[[i, j]] = payout[[j, i]]
    assert certify_pool(payout, 1.0, share, rules=rules).gap > 1e-6


# --------------------------------------------------------------------------------------------------


def feasible(kept: tuple[tuple[str, Any], ...], n: int) -> bool:
    """Whether payouts of n units exist, by a linear program over all of them."""
    lo, hi, rows, limits, equal = np.zeros(n), np.full(n, np.inf), [], [], False
    for kind, what in kept:
        if kind == "pool":
            equal = True
        elif kind == "floors":
            lo = what
        elif kind in ("caps", "units"):
            hi = np.minimum(hi, what)
        else:
            rows.append(what[0])
            limits.append(what[1])
    if (lo > hi).any():
        return False
    found = linprog(
        np.zeros(n), A_ub=np.array(rows) if rows else None, b_ub=limits or None, bounds=np.column_stack([lo, hi]),
        A_eq=np.ones((1, n)) if equal else None, b_eq=[1.0] if equal else None, method="highs",
    )  # fmt: skip
    return found.status == 0


@pytest.mark.parametrize("seed", range(40))
def test_the_contradiction_named_is_a_smallest_one(seed):
    rng = np.random.default_rng([seed, 12])
    n = 6
    floor, cap = rng.choice([0.0, 0.1, 0.2], n), rng.choice([0.2, 0.3, 1.0], n)
    members: dict[str, tuple[str, Any]] = {"the pool of": ("pool", None)}
    if floor.any():
        members["the floors"] = ("floors", floor)
    members["the caps"] = ("caps", cap)
    rules: list[Rule | EachAtMost] = []
    for i in range(4):
        group, part = rng.random(n) < 0.5, float(rng.choice([0.12, 0.31, 0.57])) + 0.001 * i
        if rng.random() < 0.5:
            rules.append(Rule(f"r{i}", group, minimum=part))
            members[f"rule 'r{i}': at least"] = ("rule", (-group.astype(float), -part))
        else:
            rules.append(Rule(f"r{i}", group, maximum=part))
            members[f"rule 'r{i}': at most"] = ("rule", (group.astype(float), part))
    rules.append(EachAtMost("unit", 0.25))
    members["rule 'unit': each unit at most"] = ("units", 0.25)

    def call() -> Any:
        return allocate_with_rules(1.0, rng.random(n) + 0.1, rules, floor=floor, cap=cap)

    if feasible(tuple(members.values()), n):
        assert call().residual < 1e-9
        return
    with pytest.raises(InfeasibleError) as raised:
        call()
    named = [name for name in members if re.search(rf"(: |; ){name}", str(raised.value))]
    assert not feasible(tuple(members[name] for name in named), n)
    for size in range(1, len(named)):
        for some in combinations(members, size):
            assert feasible(tuple(members[name] for name in some), n), (some, str(raised.value))


SMALL = [True, True, True, False, False]


@pytest.mark.parametrize(
    ("rules", "bounds", "message"),
    [
        (
            [Rule("small", SMALL, minimum=0.4), Rule("large", [not x for x in SMALL], minimum=0.7)],
            {},
            (
                "the pool of 100 is paid out; rule 'small': at least 0.4 of the pool (40); rule"
                " 'large': at least 0.7 of the pool (70)"
            ),
        ),
        (
            [Rule("small", SMALL, minimum=30)],
            {},
            "the pool of 100 is paid out; rule 'small': at least 30 of the pool (3000)",
        ),
        (
            [Rule("nobody there", [False] * 5, minimum=0.1)],
            {},
            "rule 'nobody there': at least 0.1 of the pool (10), and it has no members",
        ),
        (
            [Rule("small", SMALL, minimum=0.4, maximum=0.2)],
            {},
            (
                "rule 'small': at least 0.4 of the pool (40); rule 'small': at most 0.2 of the pool"
                " (20)"
            ),
        ),
        (
            [EachAtMost("nobody", 0.15)],
            {},
            (
                "the pool of 100 is paid out; rule 'nobody': each unit at most 0.15 of the pool"
                " (15), together at most 75"
            ),
        ),
        (
            [EachAtMost("creators", 0.3, list("aabbc"))],
            {},
            (
                "the pool of 100 is paid out; rule 'creators': each group at most 0.3 of the pool"
                " (30), and there are 3"
            ),
        ),
        (
            [
                Rule("small", SMALL, minimum=0.5),
                EachAtMost("nobody", 0.03),
                Rule("other", SMALL, maximum=0.9),
            ],
            {},
            (
                "the pool of 100 is paid out; rule 'nobody': each unit at most 0.03 of the pool"
                " (3), together at most 15"
            ),
        ),
        (
            [Rule("small", SMALL, minimum=0.5)],
            {"cap": [10, 10, 10, 100, 100]},
            "the caps, so 'small' at most 30; rule 'small': at least 0.5 of the pool (50)",
        ),
        (
            [Rule("small", SMALL, maximum=0.1)],
            {"floor": [5, 5, 5, 0, 0]},
            "the floors, so 'small' at least 15; rule 'small': at most 0.1 of the pool (10)",
        ),
        (
            [Rule("small", SMALL, maximum=0.9)],
            {"floor": 30},
            "the pool of 100 is paid out; the floors, together at least 150",
        ),
        (
            [EachAtMost("nobody", 0.25)],
            {"floor": [30, 0, 0, 0, 0]},
            (
                "the floors, 30 for row 0; rule 'nobody': each unit at most 0.25 of the pool (25),"
                " 25 for row 0"
            ),
        ),
    ],
)
def test_contradictions_in_words(rules, bounds, message):
    with pytest.raises(InfeasibleError) as raised:
        allocate_with_rules(100.0, [1, 2, 3, 4, 5], rules, **bounds)
    assert str(raised.value) == f"these cannot all be kept: {message}"


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        ([Rule("a", [True], minimum=0.1)], "members of rule 'a' must have shape"),
        ([Rule("a", [True, False])], "needs a minimum or a maximum"),
        ([EachAtMost("a", -0.1)], "nobody can get at most"),
        ([Rule("a", [True, False], maximum=math.nan)], "needs a minimum or a maximum, finite"),
    ],
)
def test_bad_rules_are_refused(rules, words):
    with pytest.raises(ValueError, match=words):
        allocate_with_rules(1.0, [1, 2], rules)
