"""Coins of the whole platform: reference answers, two peaks, every bound against points and grids,
CVXPY, and the edges.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import cvxpy
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import solvers.coin_split
from solvers import InfeasibleError
from solvers.coin_split import PlatformSplit, certify_platform_split, split_platform

FOLDER = Path(__file__).parents[1] / "cases"
CASES = json.loads((FOLDER / "coin_split_platform.json").read_text())
TWO_PEAKS = json.loads((FOLDER / "coin_split_platform_multimodal.json").read_text())
NAMES = {
    "normal": "Nn",
    "premium": "Np",
    "utility_weight": "b",
    "incentive_weight": "c",
    "efficiency_share": "s",
    "lambda_eff": "le",
    "normal_max": "xnm",
    "premium_max": "xpm",
    "min_gap": "d",
    "max_gap": "D",
    "revenue_floor": "Rmin",
    "payout_cap": "Pmax",
    "payout_min": "lo",
    "payout_max": "hi",
    "epsilon": "eps",
}
PER_VIDEO = (
    "normal",
    "premium",
    "utility_weight",
    "incentive_weight",
    "efficiency_share",
    "min_gap",
    "payout_min",
    "payout_max",
)
DEFAULTS: dict[str, Any] = {
    "normal": [100.0, 400.0, 30.0],
    "premium": [50.0, 10.0, 200.0],
    "utility_weight": [0.3, 0.4, 0.3],
    "incentive_weight": [0.05, 0.01, 0.2],
    "efficiency_share": [0.2, 0.3, 0.5],
    "lambda_eff": 1.0,
    "normal_max": 0.6,
    "premium_max": 0.8,
    "min_gap": 0.05,
    "max_gap": 0.4,
    "revenue_floor": 400.0,
}


def arguments(case: dict[str, Any]) -> dict[str, Any]:
    return {ours: case[theirs] for ours, theirs in NAMES.items() if theirs in case}


def solve(**case: Any) -> PlatformSplit:
    return split_platform(case.pop("normal"), case.pop("premium"), **case)


def proved(best: PlatformSplit, **case: Any) -> bool:
    """Whether the certificate, which knows no solver, finds nothing more to gain at any total, and
    bounds what can be had by what the solver bounds it by.
    """
    coins = case.pop("normal"), case.pop("premium")
    judged = certify_platform_split(best.normal_share, best.premium_share, *coins, **case)
    size = 1 + abs(best.value)
    return judged.gap < 1e-8 and abs(judged.upper_bound - best.upper_bound) < 1e-8 * size


def columns(case: dict[str, Any]) -> dict[str, Any]:
    """The case with every per-video number an array and every bound there."""
    n = np.size(case["normal"])
    full = {"payout_cap": None, "payout_min": None, "payout_max": None, "epsilon": 1.0} | case
    full["payout_min"] = 0.0 if full["payout_min"] is None else full["payout_min"]
    full["payout_max"] = math.inf if full["payout_max"] is None else full["payout_max"]
    return full | {
        name: np.broadcast_to(np.asarray(full[name], dtype=float), (n,))
        for name in (*PER_VIDEO, "normal_max", "premium_max", "max_gap")
    }


def objective(v: dict[str, Any], x_n: Any, x_p: Any) -> float:
    """The document's objective, term by term."""
    pay = x_n * v["normal"] + x_p * v["premium"]
    efficiency = (
        v["lambda_eff"] * (v["efficiency_share"] * pay).sum() / pay.sum() if pay.sum() > 0 else 0.0
    )
    return float(
        (v["utility_weight"] * np.log(v["epsilon"] + pay)).sum()
        + efficiency
        + (v["incentive_weight"] * (x_p - x_n)).sum()
    )


def room(v: dict[str, Any]) -> float:
    """The most that may be paid in all."""
    left = float((v["normal"] + v["premium"]).sum()) - v["revenue_floor"]
    return left if v["payout_cap"] is None else min(left, v["payout_cap"])


def assert_feasible(v: dict[str, Any], best: PlatformSplit) -> None:
    coins = v["normal"] + v["premium"]
    gap = best.premium_share - best.normal_share
    assert (best.normal_share >= 0).all()
    assert (best.premium_share >= 0).all()
    assert (best.normal_share <= v["normal_max"] + 1e-15).all()
    assert (best.premium_share <= v["premium_max"] + 1e-15).all()
    assert (gap >= v["min_gap"] - 1e-14).all()
    assert (gap <= v["max_gap"] + 1e-14).all()
    assert (best.payout >= v["payout_min"] - 1e-14 * coins).all()
    assert (best.payout <= v["payout_max"] + 1e-14 * coins).all()
    assert best.total <= room(v) + 1e-13 * coins.sum()
    pay = best.normal_share * v["normal"] + best.premium_share * v["premium"]
    np.testing.assert_allclose(best.payout, pay, rtol=1e-12, atol=1e-13 * coins.max(initial=0.0))
    assert best.total == pytest.approx(best.payout.sum(), rel=1e-14)
    assert best.value == pytest.approx(
        objective(v, best.normal_share, best.premium_share), rel=1e-12, abs=1e-12
    )


# --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "case", CASES, ids=lambda case: f"n={len(case['Nn'])} le={case['le']:g} eps={case['eps']:g}"
)
def test_reference_answers(case):
    best = solve(**arguments(case))
    assert (
        case["value"] - 1e-14 * abs(case["value"])
        <= best.value
        <= case["upper_bound"] * (1 + 1e-14)
    )
    assert best.upper_bound - best.value <= 1e-13 * best.value
    # the reference of one case is not certified to the last digit
    sharp = case["upper_bound"] - case["value"] <= 1e-13 * case["value"]
    np.testing.assert_allclose(best.payout, case["pay"], rtol=1e-13 if sharp else 5e-9, atol=1e-12)
    assert best.total == pytest.approx(case["T"], rel=1e-14 if sharp else 2e-9)
    np.testing.assert_allclose(best.normal_share, case["xn"], atol=1e-12 if sharp else 5e-9)
    np.testing.assert_allclose(best.premium_share, case["xp"], atol=1e-12 if sharp else 5e-9)
    assert proved(best, **arguments(case))


@pytest.mark.parametrize("case", TWO_PEAKS, ids=lambda case: f"T={case['T']:.6g}")
def test_the_higher_of_two_peaks(case):
    best = solve(**arguments(case))
    # never below the reference, which resolved its total to 1e-6: the value is flat there
    assert case["value"] - 1e-14 <= best.value <= case.get("ub", case["value"]) + 3e-11
    assert best.total == pytest.approx(case["T"], rel=1e-6)
    assert best.residual < 1e-11
    assert best.gap < 1e-9
    assert proved(best, **arguments(case))
    if "pay" in case:
        np.testing.assert_allclose(best.payout, case["pay"], rtol=5e-5)
    lower = min(
        case["local_maxima_T_V"] if "ub" in case else case["locals"], key=lambda peak: peak[1]
    )
    assert [value for _, value in best.local_maxima] == pytest.approx([lower[1]], abs=1e-5)


def test_same_function_under_the_name_next_to_the_other_split():
    assert solvers.coin_split.split_platform is split_platform


# --------------------------------------------------------------------------------------------------


@st.composite
def platforms(draw: st.DrawFn) -> dict[str, Any]:
    n = draw(st.integers(1, 7))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    with_zeros = lambda x, part: np.where(rng.random(n) < part, 0.0, x)  # noqa: E731
    zeros = draw(st.sampled_from([0.0, 0.0, 0.3, 1.0]))
    case: dict[str, Any] = {
        "normal": with_zeros(
            np.ceil(10 ** rng.uniform(0, 4, n)), draw(st.sampled_from([0.0, 0.2]))
        ),
        "premium": with_zeros(
            np.ceil(10 ** rng.uniform(0, 3, n)), draw(st.sampled_from([0.0, 0.2, 1.0]))
        ),
        "utility_weight": with_zeros(rng.random(n) / n, zeros),
        "incentive_weight": (
            with_zeros(rng.random(n) / n, draw(st.sampled_from([0.0, 0.3, 1.0])))
            * draw(st.sampled_from([0.05, 1.0]))
        ),
        "efficiency_share": with_zeros(rng.random(n), draw(st.sampled_from([0.0, 0.5]))),
        "lambda_eff": draw(st.sampled_from([0.0, 0.1, 1.0, 10.0])),
        "normal_max": draw(st.sampled_from([0.0, 0.2, 0.6, 1.0])),
        "premium_max": draw(st.sampled_from([0.3, 0.8, 1.0])),
        "min_gap": draw(st.sampled_from([0.0, 0.05])) * rng.random(n),
        "max_gap": draw(st.sampled_from([0.1, 0.4, 1.0])),
        "epsilon": draw(st.sampled_from([0.01, 1.0, 50.0])),
    }
    coins = case["normal"] + case["premium"]
    case["revenue_floor"] = draw(st.sampled_from([0.0, 0.5, 0.8])) * coins.sum()
    case["payout_cap"] = draw(st.sampled_from([None, 0.1, 0.3])) and 0.3 * coins.sum()
    if draw(st.booleans()):
        most = np.minimum(case["normal_max"], 1.0) * case["normal"]
        case["payout_min"] = 0.1 * rng.random(n) * most
        case["payout_max"] = (0.2 + rng.random(n)) * coins
    return case


def solved(case: dict[str, Any]) -> tuple[dict[str, Any], PlatformSplit]:
    try:
        return columns(case), solve(**case)
    except InfeasibleError:
        assume(False)
        raise


def another_split(
    v: dict[str, Any], best: PlatformSplit, rng: np.random.Generator, part: float
) -> tuple[Any, Any]:
    """A random feasible split, or one `part` of the way to it: where its total is too large, as
    near as the total allows.
    """
    gap = v["min_gap"] + rng.random(best.payout.size) ** rng.choice([0.2, 1.0]) * (
        np.minimum(v["premium_max"], v["max_gap"]) - v["min_gap"]
    )
    x_n = rng.random(best.payout.size) ** rng.choice([0.2, 1.0, 5.0]) * np.minimum(
        v["normal_max"], v["premium_max"] - gap
    )
    pay = x_n * v["normal"] + (x_n + gap) * v["premium"]
    inside = (pay >= v["payout_min"]) & (pay <= v["payout_max"])
    x_n, x_p = (
        np.where(inside, x_n, best.normal_share),
        np.where(inside, x_n + gap, best.premium_share),
    )
    total = float((x_n * v["normal"] + x_p * v["premium"]).sum())
    if total > best.total:
        part = min(part, max(room(v) - best.total, 0.0) / (total - best.total))
    return best.normal_share + part * (x_n - best.normal_share), best.premium_share + part * (
        x_p - best.premium_share
    )


@settings(max_examples=250, deadline=None)
@given(platforms(), st.integers(0, 2**32 - 1))
def test_feasible_and_no_other_split_is_better(case, seed):
    v, best = solved(case)
    assert_feasible(v, best)
    assert best.upper_bound >= best.value
    assert best.gap <= 1e-9
    rng = np.random.default_rng(seed)
    for part in (1.0, 1.0, 1.0, 0.3, 1e-2, 1e-4):
        for _ in range(8):
            assert objective(v, *another_split(v, best, rng, part)) <= best.upper_bound + 1e-12 * (
                1 + abs(best.value)
            )
    for total, value in best.local_maxima:
        assert value <= best.value + 1e-12 * (1 + abs(value))
        assert 0 < total <= room(v) * (1 + 1e-12)


@settings(max_examples=60, deadline=None)
@given(platforms(), st.integers(0, 2**32 - 1))
def test_rows_may_come_in_any_order(case, seed):
    _, best = solved(case)
    order = np.random.default_rng(seed).permutation(best.payout.size)
    other = solve(
        **{
            name: value[order] if isinstance(value, np.ndarray) else value
            for name, value in case.items()
        }
    )
    assert other.value == pytest.approx(best.value, rel=1e-9, abs=1e-9)
    if (np.asarray(case["utility_weight"]) > 0).all():
        np.testing.assert_allclose(
            other.payout, best.payout[order], rtol=1e-6, atol=1e-7 * best.total
        )


def widest_gap(v: dict[str, Any], row: int, pay: Any) -> Any:
    """By the definition: the smallest x_n that some x_p pays `pay` with; NaN where there is none.
    Needs premium coins.
    """
    normal, premium = v["normal"][row], v["premium"][row]
    lowest = (
        np.maximum((pay - v["premium_max"][row] * premium) / max(normal, 1e-9), 0.0)
        if normal > 0
        else np.zeros_like(pay)
    )
    lowest = np.maximum(lowest, (pay - v["max_gap"][row] * premium) / (normal + premium))
    highest = np.minimum(
        v["normal_max"][row], (pay - v["min_gap"][row] * premium) / (normal + premium)
    )
    x_n = np.where(lowest <= highest + 1e-12, lowest, np.nan)
    return (pay - x_n * normal) / premium - x_n


@settings(max_examples=40, deadline=None)
@given(platforms())
def test_two_videos_against_a_grid_of_payouts(case):
    case = {
        name: value[:2] if isinstance(value, np.ndarray) else value for name, value in case.items()
    }
    assume(case["normal"].size == 2)
    case["premium"] = np.maximum(case["premium"], 1.0)
    case["revenue_floor"] = min(
        case["revenue_floor"], 0.5 * float((case["normal"] + case["premium"]).sum())
    )
    v, best = solved(case)
    pays, worths = [], []
    for row in range(2):
        largest = (
            v["normal_max"][row] * v["normal"][row] + v["premium_max"][row] * v["premium"][row]
        )
        pay = np.concatenate([largest * np.linspace(0, 1, 500) ** 3, [best.payout[row]]])
        worth = v["utility_weight"][row] * np.log(v["epsilon"] + pay) + v["incentive_weight"][
            row
        ] * widest_gap(v, row, pay)
        worth[(pay < v["payout_min"][row]) | (pay > v["payout_max"][row])] = np.nan
        pays.append(pay)
        worths.append(worth)
    total = pays[0][:, None] + pays[1]
    share = v["efficiency_share"]
    with np.errstate(invalid="ignore", divide="ignore"):
        efficiency = np.where(
            total > 0, (share[0] * pays[0][:, None] + share[1] * pays[1]) / total, 0.0
        )
    value = worths[0][:, None] + worths[1] + v["lambda_eff"] * efficiency
    value[total > room(v)] = np.nan
    if np.isfinite(value).any():
        assert np.nanmax(value) <= best.upper_bound + 1e-10


# --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(6))
def test_the_problem_with_this_total_against_cvxpy(seed):
    rng = np.random.default_rng([seed, 8])
    n = 12
    case = {
        "normal": np.ceil(10 ** rng.uniform(0.5, 3, n)),
        "premium": np.ceil(10 ** rng.uniform(0, 2.5, n)),
        "utility_weight": rng.random(n) / n,
        "incentive_weight": 0.5 * rng.random(n) / n,
        "efficiency_share": rng.random(n),
        "lambda_eff": [0.0, 1.0, 5.0][seed % 3],
        "normal_max": 0.6,
        "premium_max": 0.8,
        "min_gap": 0.05 * rng.random(n),
        "max_gap": 0.4,
        "payout_min": 0.1 * rng.random(n),
    }
    case["revenue_floor"] = 0.55 * float((case["normal"] + case["premium"]).sum())
    v, best = columns(case), solve(**case)

    def with_total(total: float) -> float:
        x_n, x_p = cvxpy.Variable(n, nonneg=True), cvxpy.Variable(n, nonneg=True)
        pay = cvxpy.multiply(v["normal"], x_n) + cvxpy.multiply(v["premium"], x_p)
        goal = v["utility_weight"] @ cvxpy.log(1 + pay) + v["incentive_weight"] @ (x_p - x_n)
        goal += v["lambda_eff"] / total * (v["efficiency_share"] @ pay)
        rules = [
            x_n <= 0.6,
            x_p <= 0.8,
            x_p - x_n >= v["min_gap"],
            x_p - x_n <= 0.4,
            pay >= v["payout_min"],
        ]
        return float(
            cvxpy.Problem(cvxpy.Maximize(goal), [*rules, cvxpy.sum(pay) == total]).solve(
                solver="CLARABEL"
            )
        )

    assert best.value == pytest.approx(with_total(best.total), abs=1e-6)
    least = float(np.maximum(v["min_gap"] * v["premium"], v["payout_min"]).sum())
    for total in np.linspace(least * 1.01, room(v), 12):
        assert with_total(float(total)) <= best.upper_bound + 1e-6


# --------------------------------------------------------------------------------------------------


def test_larger_platform_is_certified_and_stationary():
    rng = np.random.default_rng(5)
    n = 30_000
    normal, premium, quality = (
        np.floor(10 ** rng.normal(2, 1, n)),
        np.floor(10 ** rng.normal(1, 1, n)),
        rng.random(n),
    )
    coins = normal + premium
    weight, share = np.sqrt(coins) / np.sqrt(coins).sum(), coins * quality
    case = DEFAULTS | {
        "normal": normal,
        "premium": premium,
        "utility_weight": weight * (1 + quality) * 0.4,
        "lambda_eff": 300.0,
    }
    case |= {
        "incentive_weight": 0.2 * premium / premium.sum(),
        "efficiency_share": share / share.sum(),
        "min_gap": 0.05 * quality,
    }
    case["revenue_floor"] = 0.1 * coins.sum()
    best = solve(**case)
    assert_feasible(columns(case), best)
    assert best.gap <= 1e-9
    assert best.residual <= 1e-9


def test_the_multiplier_is_what_one_more_coin_is_worth():
    less, more = (solve(**DEFAULTS | {"revenue_floor": 600.0 + x}) for x in (0.5, -0.5))
    assert less.multiplier > 0
    assert more.value - less.value == pytest.approx(
        solve(**DEFAULTS | {"revenue_floor": 600.0}).multiplier, rel=1e-4
    )
    assert solve(**DEFAULTS | {"revenue_floor": 0.0}).multiplier == 0


def test_cap_and_floor_are_the_same_limit():
    coins = sum(DEFAULTS["normal"]) + sum(DEFAULTS["premium"])
    by_floor, by_cap = (
        solve(**DEFAULTS | {"revenue_floor": coins - 150.0}),
        solve(**DEFAULTS | {"revenue_floor": 0.0, "payout_cap": 150.0}),
    )
    np.testing.assert_allclose(by_floor.payout, by_cap.payout, rtol=1e-13)
    assert by_cap.total == pytest.approx(150.0, rel=1e-15)


def test_coins_in_another_unit_change_no_share():
    scale = 1000.0
    one = solve(**DEFAULTS)
    other = solve(
        **DEFAULTS
        | {
            "normal": scale * np.array(DEFAULTS["normal"]),
            "premium": scale * np.array(DEFAULTS["premium"]),
        }
        | {"revenue_floor": scale * DEFAULTS["revenue_floor"], "epsilon": scale}
    )
    np.testing.assert_allclose(one.normal_share, other.normal_share, atol=1e-9)
    assert other.value == pytest.approx(
        one.value + math.log(scale) * sum(DEFAULTS["utility_weight"]), rel=1e-12
    )


def test_equal_videos_are_paid_equally():
    one = DEFAULTS | {
        name: [DEFAULTS[name][0]] * 4 for name in PER_VIDEO if isinstance(DEFAULTS.get(name), list)
    }
    best = solve(**one)
    assert np.ptp(best.payout) == 0
    assert best.gap <= 1e-12
    # without any utility their pay is a tie, and still equal
    assert np.ptp(solve(**one | {"utility_weight": 0.0, "payout_cap": 77.0}).payout) <= 1e-12


def test_one_video():
    best = split_platform(
        100,
        50,
        **{
            name: np.ravel(value)[0]
            for name, value in DEFAULTS.items()
            if name not in ("normal", "premium", "revenue_floor")
        },
        revenue_floor=60,
    )
    assert best.payout.tolist() == pytest.approx([90.0])
    assert best.value == best.upper_bound


def test_no_coins_and_no_videos():
    nothing = solve(**DEFAULTS | {"normal": [0.0] * 3, "premium": [0.0] * 3, "revenue_floor": 0.0})
    assert (nothing.total, nothing.payout.tolist(), nothing.gap) == (0.0, [0.0] * 3, 0.0)
    assert nothing.value == pytest.approx(0.4 * 0.26)
    assert (nothing.premium_share - nothing.normal_share).tolist() == [0.4] * 3
    empty = split_platform(
        [],
        [],
        utility_weight=[],
        incentive_weight=[],
        efficiency_share=[],
        lambda_eff=1,
        normal_max=0.6,
        premium_max=0.8,
        min_gap=0,
        max_gap=0.4,
        revenue_floor=0,
    )
    assert (empty.payout.shape, empty.value, empty.upper_bound) == ((0,), 0.0, 0.0)


def test_no_premium_coins_leave_the_gap_as_wide_as_allowed():
    best = solve(**DEFAULTS | {"premium": 0.0, "revenue_floor": 250.0})
    np.testing.assert_allclose(
        best.premium_share - best.normal_share, np.minimum(0.4, 0.8 - best.normal_share), atol=1e-15
    )


def test_premium_maximum_below_the_normal_one():
    case = DEFAULTS | {"premium_max": 0.3, "normal_max": 0.9, "revenue_floor": 0.0}
    best = solve(**case)
    assert_feasible(columns(case), best)
    assert (best.normal_share <= 0.25 + 1e-15).all()


def test_without_utility_the_largest_share_takes_all():
    case = DEFAULTS | {
        "utility_weight": 0.0,
        "incentive_weight": 0.0,
        "min_gap": 0.0,
        "lambda_eff": 2.0,
    }
    best = solve(**case)
    assert best.value == pytest.approx(1.0)
    assert best.payout[:2].tolist() == pytest.approx([0.0, 0.0], abs=1e-9)
    assert best.total > 0


def test_nothing_to_gain_but_the_ratio_still_pays_a_little():
    # every coin narrows the gap: best is the least total above 0, which the document leaves as 0/0
    best = split_platform(
        [100.0],
        [0.0],
        utility_weight=0,
        incentive_weight=1,
        efficiency_share=1,
        lambda_eff=1,
        normal_max=0.6,
        premium_max=0.4,
        min_gap=0,
        max_gap=0.4,
        revenue_floor=0,
    )
    assert best.value == pytest.approx(1.4)
    assert 0 < best.total < 1e-9
    assert best.gap <= 1e-10
    # without efficiency there is no ratio, and nothing is paid
    best = split_platform(
        [100.0],
        [0.0],
        utility_weight=0,
        incentive_weight=1,
        efficiency_share=1,
        lambda_eff=0,
        normal_max=0.6,
        premium_max=0.4,
        min_gap=0,
        max_gap=0.4,
        revenue_floor=0,
    )
    assert (best.total, best.value, best.upper_bound) == (0.0, 0.4, 0.4)


def test_forced_payouts():
    case = DEFAULTS | {"payout_min": [30.0, 100.0, 80.0], "payout_max": [30.0, 100.0, 80.0]}
    best = solve(**case)
    assert best.payout.tolist() == [30.0, 100.0, 80.0]
    assert best.value == pytest.approx(best.upper_bound, rel=1e-15)
    tight = solve(**case | {"payout_max": None, "payout_cap": 210.0})
    assert tight.payout.tolist() == pytest.approx([30.0, 100.0, 80.0])


def test_a_nearly_weightless_crowd_is_no_trap():
    rng = np.random.default_rng(3)
    n = 2000
    case = DEFAULTS | {
        "normal": np.ceil(10 ** rng.uniform(0, 4, n)),
        "premium": np.ceil(10 ** rng.uniform(0, 4, n)),
    }
    case |= {
        "utility_weight": np.where(rng.random(n) < 0.9, 0.0, 1e-12),
        "incentive_weight": 0.0,
        "efficiency_share": np.round(rng.random(n), 2),
    }
    best = solve(**case)
    assert_feasible(columns(case), best)
    assert best.gap <= 1e-9


def extreme(seed: int) -> dict[str, Any]:
    """Weights, shares and coins that are zero, tiny or huge beside their neighbours."""
    rng = np.random.default_rng([seed, 4])
    n = int(rng.integers(1, 8))

    def spread(x: Any) -> Any:
        part = rng.choice([0.0, 0.4, 1.0])
        return np.where(
            rng.random(n) < part,
            rng.choice([0.0, 1.0]) * x * 10.0 ** rng.uniform(-300 * part, 5, n),
            x,
        )

    case: dict[str, Any] = {
        "normal": np.where(
            rng.random(n) < 0.3, 0.0, np.ceil(10 ** rng.uniform(0, rng.choice([0.1, 4.0, 12.0]), n))
        ),
        "premium": np.where(
            rng.random(n) < 0.3, 0.0, np.ceil(10 ** rng.uniform(0, rng.choice([0.1, 4.0, 12.0]), n))
        ),
        "utility_weight": spread(rng.random(n) / n) * rng.choice([1.0, 1.0, 0.0]),
        "incentive_weight": spread(rng.random(n) / n) * rng.choice([1.0, 1.0, 0.0]),
        "efficiency_share": spread(rng.random(n)),
        "lambda_eff": float(rng.choice([0.0, 1e-9, 0.4, 1.0, 1e3])),
        "normal_max": rng.choice([0.0, 0.6, 1.0]),
        "premium_max": rng.choice([0.3, 0.8, 1.0]),
        "min_gap": rng.choice([0.0, 0.05]) * rng.random(n),
        "max_gap": rng.choice([0.1, 0.4, 1.0]),
        "epsilon": float(rng.choice([1e-3, 1.0, 50.0])),
    }
    case["revenue_floor"] = rng.choice([0.0, 0.0, 0.5]) * float(
        (case["normal"] + case["premium"]).sum()
    )
    return case


@settings(max_examples=250, deadline=None)
@given(st.integers(0, 10**6))
def test_weights_and_coins_of_all_sizes(seed):
    case = extreme(seed)
    v, best = columns(case), solve(**case)
    assert_feasible(v, best)
    assert best.gap <= 1e-9
    assert all(value <= best.value + 1e-9 * abs(value) for _, value in best.local_maxima)
    rng = np.random.default_rng(seed)
    for part in (1.0, 1.0, 0.3, 1e-2):
        assert objective(v, *another_split(v, best, rng, part)) <= best.upper_bound + 1e-11 * (
            1 + abs(best.value)
        )


def test_best_at_hardly_any_total():
    # paying the first video alone is best, and each of its coins narrows its gap; epsilon hides
    # almost all of what it is paid
    case = DEFAULTS | {
        "normal": [3.0, 5.0, 2.0],
        "premium": 0.0,
        "utility_weight": 0.0,
        "efficiency_share": [0.9, 0.0, 0.0],
        "min_gap": 0.0,
    }
    best = solve(
        **case | {"premium_max": 0.3, "epsilon": 1e6, "revenue_floor": 5.0, "lambda_eff": 10.0}
    )
    assert 0 < best.total < 1e-6
    assert best.value == pytest.approx(9 + 0.3 * 0.26, rel=1e-6)
    assert best.gap <= 1e-8


# --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            {"min_gap": [0.05, 0.5, 0.05]},
            r"min_gap of row 1, 0.5, is above max_gap 0.4 or premium_max 0.8",
        ),
        (
            {"revenue_floor": 780.0},
            (
                r"the least payouts add up to 13.0, more than the 10.0 that revenue_floor 780.0"
                r" leaves of 790.0 coins"
            ),
        ),
        ({"payout_cap": 12.0}, r"the least payouts add up to 13.0, more than payout_cap 12.0"),
        (
            {"payout_min": [0.0, 0.0, 500.0]},
            r"row 2 must be paid at least 500.0 and at most 178.0: its shares allow 10.0 to 178.0",
        ),
        ({"payout_max": [1.0, 99.0, 99.0]}, r"row 0 must be paid at least 2.5 and at most 1.0"),
        (
            {"payout_min": 20.0, "payout_max": 10.0},
            r"row 0 must be paid at least 20.0 and at most 10.0",
        ),
    ],
)
def test_infeasible_input_names_the_numbers(change, words):
    with pytest.raises(InfeasibleError, match=words):
        solve(**DEFAULTS | change)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"normal": [1.0, -1.0, 1.0]}, "normal must be finite and at least 0: row 1 is -1.0"),
        ({"premium": math.nan}, "premium must be finite"),
        (
            {"normal": [1.0, 1e-7, 0.0]},
            r"normal must be 0 or at least 1e-06, 1e-06 epsilon, .*: row 1 is 1e-07",
        ),
        ({"utility_weight": -1.0}, "utility_weight must be finite and at least 0"),
        ({"premium_max": 1.1}, r"premium_max must be in \[0, 1\]: row 0 is 1.1"),
        ({"epsilon": 0.0}, "epsilon must be finite and above 0"),
        ({"lambda_eff": math.inf}, "lambda_eff must be finite and at least 0"),
        ({"revenue_floor": math.nan}, "revenue_floor must be finite and at least 0"),
        ({"payout_cap": -1.0}, "payout_cap must be finite and at least 0"),
        ({"payout_max": math.nan}, "payout_max must be at least 0: row 0 is nan"),
        (
            {"efficiency_share": [0.1, 0.2]},
            r"efficiency_share must be one number or have shape \(3,\), not \(2,\)",
        ),
    ],
)
def test_bad_input_is_refused(change, words):
    with pytest.raises(ValueError, match=words) as caught:
        solve(**DEFAULTS | change)
    assert not isinstance(caught.value, InfeasibleError)
