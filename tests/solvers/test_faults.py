"""A fault in any solver that pays is seen by the certificate of what it paid: for a certificate
states the problem on its own and shares no line of arithmetic with a solver.

Faults are put into what the solvers share (how a share becomes a weight, how bounds and rules are
read), where a certificate that used the same lines would be wrong in the same way and say nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

import numpy as np
import pytest

import solvers
from solvers.ad_pool import (
    EachAtMost,
    PoolChunk,
    Rule,
    allocate_chunks,
    allocate_pool,
    allocate_with_rules,
    certify_chunks,
    certify_pool,
)
from solvers.ad_pool.rules import RuleModel
from solvers.coin_split import (
    certify_coin_split,
    certify_platform_split,
    split_platform,
    split_videos,
)

CERTAIN = 1e-9
"""What a day's certificate may be off by, see pipelines/schema/invariants.py."""
PROVEN = 1e-8
"""The same for the gap of coins of the platform, which a search over totals ends with."""
SEEN = 1e-3
"""What every fault below must be off by at least."""

Judged = tuple[float, float]
"""Largest violation of a constraint, and gap."""


# --- solvers that pay, each with a problem on which all of its constraints bind


def a_pool(seed: int = 5, n: int = 60) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    share = rng.pareto(1.2, n) + 0.01
    return {"pool": 1000.0, "share": share, "alpha": 0.5, "floor": 6.0, "cap": 33.0}


def in_memory(objective: str) -> Judged:
    problem = a_pool() | {"objective": objective}
    judged = certify_pool(allocate_pool(**problem).payout, **problem)
    return judged.primal_residual, judged.gap


def in_chunks(objective: str) -> Judged:
    problem = a_pool()
    share, bounds = problem["share"], (problem["floor"], problem["cap"])
    chunks = [PoolChunk(part, *bounds) for part in np.array_split(share, 4)]
    knobs: Any = {"alpha": problem["alpha"], "objective": objective}
    split = allocate_chunks(problem["pool"], chunks, **knobs)
    judged = certify_chunks(split.payout, problem["pool"], chunks, **knobs)
    return judged.primal_residual, judged.gap


def with_rules(objective: str, *, model: bool = False) -> Judged:
    n = 60
    odd = np.arange(n) % 2 == 1
    problem = a_pool(n=n) | {"objective": objective, "cap": np.where(odd, 30.0, 1000.0)}
    small = problem["share"] < np.median(problem["share"])
    rules = [
        Rule("small", small, minimum=0.35),
        EachAtMost("studios", 0.22, np.arange(n) % 5),
        EachAtMost("videos", 0.04),
    ]
    built = RuleModel(n, rules) if model else None
    split = allocate_with_rules(**problem, rules=rules, model=built)
    judged = certify_pool(split.payout, **problem, rules=rules)
    return judged.primal_residual, judged.gap


SPLITS: dict[str, Callable[[], Judged]] = {
    f"{name}, {objective}": lambda split=split, objective=objective: split(objective)
    for name, split in (
        ("allocate_pool", in_memory),
        ("allocate_chunks", in_chunks),
        ("allocate_with_rules", with_rules),
    )
    for objective in ("blend", "linear")
} | {"allocate_with_rules, model": lambda: with_rules("blend", model=True)}

# --- faults

Patch = pytest.MonkeyPatch


def bend_weights(patch: Patch) -> None:
    """Fairness counts the power .9 of what it should."""
    patch.setattr(
        "solvers.ad_pool.problem.fair_weight", lambda relative, alpha: relative ** (0.9 * alpha)
    )


def misread(patch: Patch, floor: float = 1.0, cap: float = 1.0) -> None:
    """Bounds are read as multiples of what was asked for, by every solver of pools."""
    from solvers.ad_pool import allocate, problem, rules

    rows, columns, ruled = problem.checked_rows, problem.columns, problem.ruled_pool

    def moved(share: Any, lo: Any, hi: Any) -> Any:
        return share, lo * floor, hi * cap

    patch.setattr(allocate, "checked_rows", lambda *given: moved(*rows(*given)))
    for module in ("problem", "chunks"):
        patch.setattr(f"solvers.ad_pool.{module}.columns", lambda chunk: moved(*columns(chunk)))
    patch.setattr(
        rules,
        "ruled_pool",
        lambda *given, **knobs: replace(
            stated := ruled(*given, **knobs), floor=stated.floor * floor, cap=stated.cap * cap
        ),
    )


def change_rules(change: Callable[[list[Any]], list[Any]]) -> Callable[[Patch], None]:
    """The solver reads other rules than those that were given."""

    def fault(patch: Patch) -> None:
        from solvers.ad_pool import problem, rules

        original = problem.ruled_pool

        def bent(pool: float, share: Any, given: Any, **knobs: Any) -> Any:
            return original(pool, share, change(list(given)), **knobs)

        for module in (rules, "solvers.ad_pool.rule_model"):
            name = module if isinstance(module, str) else module.__name__
            patch.setattr(f"{name}.ruled_pool", bent)

    return fault


FAULTS: dict[str, Callable[[Patch], None]] = {
    "weights bent": bend_weights,
    "floors too low": lambda patch: misread(patch, floor=0.5),
    "floors too high": lambda patch: misread(patch, floor=1.5),
    "caps too low": lambda patch: misread(patch, cap=0.75),
    "caps too high": lambda patch: misread(patch, cap=1.25),
}
RULE_FAULTS: dict[str, Callable[[Patch], None]] = {
    "minimum dropped": change_rules(lambda rules: rules[1:]),
    "grouping dropped": change_rules(lambda rules: [rules[0], rules[2]]),
    "unit rule dropped": change_rules(lambda rules: rules[:2]),
    "minimum too low": change_rules(lambda rules: [replace(rules[0], minimum=0.33), *rules[1:]]),
    "minimum too high": change_rules(lambda rules: [replace(rules[0], minimum=0.37), *rules[1:]]),
    "maximum too high": change_rules(
        lambda rules: [rules[0], replace(rules[1], maximum=0.24), rules[2]]
    ),
    "members mixed up": change_rules(
        lambda rules: [replace(rules[0], members=~np.asarray(rules[0].members)), *rules[1:]]
    ),
}


def how_far_off(split: Callable[[], Judged]) -> float:
    """What the certificate says. Under rules the solver asks it before it answers, and refuses to
    pay what breaks a bound.
    """
    try:
        return max(split())
    except ArithmeticError as refused:
        if "breaks a bound by" not in str(refused):
            raise
        return math.inf


@pytest.mark.parametrize("split", SPLITS)
def test_an_honest_solver_passes(split):
    residual, gap = SPLITS[split]()
    assert residual < CERTAIN
    assert gap < (1e-6 if "model" in split else CERTAIN)


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_in_what_the_solvers_of_pools_share_is_seen(split, fault, monkeypatch):
    FAULTS[fault](monkeypatch)
    assert how_far_off(SPLITS[split]) > SEEN


@pytest.mark.parametrize("split", [name for name in SPLITS if "rules" in name])
@pytest.mark.parametrize("fault", RULE_FAULTS)
def test_a_fault_in_how_rules_are_read_is_seen(split, fault, monkeypatch):
    RULE_FAULTS[fault](monkeypatch)
    assert how_far_off(SPLITS[split]) > SEEN


# --- coins


def coins_of_videos(utility: str = "log") -> Judged:
    rng = np.random.default_rng(3)
    n = 200
    normal, premium = rng.pareto(1.2, n) * 100, rng.pareto(1.2, n) * 60
    knobs: Any = {
        "theta": 0.5,
        "normal_max": 0.6,
        "premium_max": 0.8,
        "min_gap": 0.05,
        "max_gap": 0.4,
        "revenue_floor": rng.choice([0.2, 0.6], n) * (normal + premium),
        "lambda_rev": 0.3,
        "lambda_util": rng.choice([0.1, 0.2, 0.6], n),
        "lambda_inc": 0.2,
        "utility": utility,
    }
    quality = rng.random(n)
    split = split_videos(normal, premium, quality, **knobs)
    judged = certify_coin_split(
        split.normal_share, split.premium_share, normal, premium, quality, **knobs
    )
    return float(judged.primal_residual.max()), float(judged.gap.max())


def misread_coins(patch: Patch, **change: Callable[[Any], Any]) -> None:
    """The solver of one video reads other arguments than those that were given."""
    from solvers.coin_split import video

    original = video._checked

    def bent(arguments: dict[str, Any], utility: str) -> Any:
        return original(
            {name: change.get(name, lambda x: x)(x) for name, x in arguments.items()}, utility
        )

    patch.setattr(video, "_checked", bent)


COIN_FAULTS: dict[str, Callable[[Any], Any]] = {
    "quality": lambda x: x**0.5,
    "theta": lambda x: 0.0,
    "normal_max": lambda x: x + 0.05,
    "premium_max": lambda x: x - 0.2,
    "min_gap": lambda x: 0.0,
    "max_gap": lambda x: x + 0.05,
    "revenue_floor": lambda x: 0.9 * x,
    "lambda_rev": lambda x: 1.5 * x,
    "lambda_util": lambda x: x**0.9,
    "lambda_inc": lambda x: 0.0,
}


@pytest.mark.parametrize("utility", ["log", "linear"])
def test_an_honest_split_of_coins_passes(utility):
    assert max(coins_of_videos(utility)) < CERTAIN


@pytest.mark.parametrize("argument", COIN_FAULTS)
def test_a_fault_in_the_split_of_a_videos_coins_is_seen(argument, monkeypatch):
    misread_coins(monkeypatch, **{argument: COIN_FAULTS[argument]})
    assert max(coins_of_videos()) > SEEN


def coins_of_the_platform(efficiency: float, utility: float) -> Judged:
    rng = np.random.default_rng(10)
    n = 30
    normal, premium = rng.pareto(1.2, n) * 100, rng.pareto(1.2, n) * 60
    coins = normal + premium
    knobs: Any = {
        "utility_weight": utility * rng.dirichlet(np.ones(n)),
        "incentive_weight": 0.02 * rng.dirichlet(np.ones(n)),
        "efficiency_share": rng.dirichlet(np.ones(n)),
        "lambda_eff": efficiency,
        "normal_max": 0.25,
        "premium_max": 0.5,
        "min_gap": 0.2,
        "max_gap": 0.4,
        "revenue_floor": 0.7 * float(coins.sum()),
        "payout_min": np.where(rng.random(n) < 0.5, 0.2, 0.0) * coins,
        "payout_max": 0.4 * coins,
    }
    split = split_platform(normal, premium, **knobs)
    judged = certify_platform_split(
        split.normal_share, split.premium_share, normal, premium, **knobs
    )
    return judged.primal_residual, judged.gap


def coins_of_two_platforms() -> Judged:
    """Of one where efficiency decides the total, and of one where the floor does."""
    efficient, fair = coins_of_the_platform(1.0, 0.4), coins_of_the_platform(0.2, 0.8)
    return max(efficient[0], fair[0]), max(efficient[1], fair[1])


PLATFORM_FAULTS: dict[str, Callable[[Any], Any]] = {
    "utility_weight": lambda x: x**0.9,
    "incentive_weight": lambda x: 0.0 * x,
    "efficiency_share": lambda x: x[::-1],
    "lambda_eff": lambda x: 0.0,
    "normal_max": lambda x: 0.2,
    "premium_max": lambda x: 0.48,
    "min_gap": lambda x: 0.3,
    "max_gap": lambda x: 0.5,
    "revenue_floor": lambda x: 0.99 * x,
    "payout_min": lambda x: 0.0 * x,
    "payout_max": lambda x: 1.1 * x,
}


def test_an_honest_split_of_the_platforms_coins_passes():
    assert max(coins_of_two_platforms()) < PROVEN
    assert max(coins_of_the_platform(0.0, 0.8)) < PROVEN


@pytest.mark.parametrize("argument", PLATFORM_FAULTS)
def test_a_fault_in_the_split_of_the_platforms_coins_is_seen(argument, monkeypatch):
    from solvers.coin_split import platform

    original, change = platform._checked, PLATFORM_FAULTS[argument]

    def bent(per_video: dict[str, Any], numbers: dict[str, float]) -> Any:
        changed = [
            {name: change(x) if name == argument else x for name, x in given.items()}
            for given in (per_video, numbers)
        ]
        return original(*changed)

    monkeypatch.setattr(platform, "_checked", bent)
    assert max(coins_of_two_platforms()) > 100 * PROVEN


def test_a_maximum_that_the_search_missed_is_seen():
    """Two local maxima: the lower one keeps every constraint and every first-order condition."""
    knobs: Any = {
        "utility_weight": 0.05,
        "incentive_weight": 0,
        "efficiency_share": [1, 0],
        "lambda_eff": 1,
        "normal_max": 0.8,
        "premium_max": 0.8,
        "min_gap": 0,
        "max_gap": 0.8,
        "revenue_floor": 0,
    }
    coins = ([100, 10000], [100, 10000])
    best = split_platform(*coins, **knobs)
    judged = certify_platform_split(best.normal_share, best.premium_share, *coins, **knobs)
    assert judged.gap < PROVEN
    lower = certify_platform_split([0.8, 0.8], [0.8, 0.8], *coins, **knobs)
    assert lower.value == pytest.approx(best.local_maxima[0][1])
    assert lower.primal_residual < CERTAIN
    assert lower.gap > 0.1
    assert lower.upper_bound == pytest.approx(judged.upper_bound, abs=1e-6)


def test_no_solver_that_pays_is_left_out():
    """Every function of a face that is named for splitting money is one of those above."""
    paying = {
        name
        for package in iter_modules(solvers.__path__)
        if package.ispkg
        for name in import_module(f"solvers.{package.name}").__all__
        if name.startswith(("allocate_", "split_"))
    }
    assert paying == {split.split(",")[0] for split in SPLITS} | {"split_videos", "split_platform"}
