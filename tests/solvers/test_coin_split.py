"""Coins of one video: reference answers, every vertex and edge, CVXPY, and the traps of the
normalisation.
"""

from __future__ import annotations

import json
import math
from itertools import pairwise
from pathlib import Path
from typing import Any

import cvxpy
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from solvers.coin_split import split_videos

CASES = json.loads((Path(__file__).parents[1] / "cases" / "coin_split_video.json").read_text())
NAMES = {
    "theta": "theta",
    "normal_max": "xn_max",
    "premium_max": "xp_max",
    "min_gap": "delta",
    "max_gap": "Delta",
    "revenue_floor": "R_min",
    "lambda_rev": "lr",
    "lambda_util": "lu",
    "lambda_inc": "li",
    "epsilon": "eps",
}
DEFAULTS: dict[str, float] = {
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
    "epsilon": 1.0,
}


def arguments(case: dict[str, Any]) -> dict[str, Any]:
    return {
        "normal": case["Nn"],
        "premium": case["Np"],
        "quality": case["Q"],
        **{ours: case[theirs] for ours, theirs in NAMES.items()},
    }


def objective(v: dict[str, float], x_n: Any, x_p: Any, utility: str) -> Any:
    """The normalised objective of the document, term by term, with the terms dropped that its
    normalisation cannot have.
    """
    coins = v["normal"] + v["premium"]
    pay = x_n * v["normal"] + x_p * v["premium"]
    most = v["normal_max"] * v["normal"] + v["premium_max"] * v["premium"]
    total = 0 * pay
    if coins > v["revenue_floor"]:
        total = total + v["lambda_rev"] * (coins - pay - v["revenue_floor"]) / (
            coins - v["revenue_floor"]
        )
    if most > 0:
        u = (
            np.log1p(pay / v["epsilon"]) / np.log1p(most / v["epsilon"])
            if utility == "log"
            else pay / most
        )
        total = total + v["lambda_util"] * (1 + v["theta"] * v["quality"]) / (1 + v["theta"]) * u
    if v["max_gap"] > v["min_gap"]:
        total = total + v["lambda_inc"] * (x_p - x_n - v["min_gap"]) / (v["max_gap"] - v["min_gap"])
    return total


def polygon(v: dict[str, float]) -> list[tuple[float, float]]:
    """Corners of the feasible set in order: the box of shares, cut by one half-plane after another."""
    corners = [
        (0.0, 0.0),
        (v["normal_max"], 0.0),
        (v["normal_max"], v["premium_max"]),
        (0.0, v["premium_max"]),
    ]
    cuts = [(-1.0, 1.0, v["min_gap"]), (1.0, -1.0, -v["max_gap"])]
    cuts.append((-v["normal"], -v["premium"], v["revenue_floor"] - v["normal"] - v["premium"]))
    for a, b, least in cuts:
        kept = []
        for p, q in pairwise([*corners, *corners[:1]]):
            f, g = (a * x + b * y - least for x, y in (p, q))
            if f >= 0:
                kept.append(p)
            if (f > 0 > g) or (f < 0 < g):
                t = f / (f - g)
                kept.append((p[0] + t * (q[0] - p[0]), p[1] + t * (q[1] - p[1])))
        corners = kept
    return corners


def best_on_edges(v: dict[str, float], utility: str) -> float:
    """Largest objective on a fine grid of every edge; the optimum is there, since the gap grows
    across the pay's level lines.
    """
    grid = np.linspace(0, 1, 401)
    corners = polygon(v)
    return max(
        float(
            np.max(objective(v, p[0] + grid * (q[0] - p[0]), p[1] + grid * (q[1] - p[1]), utility))
        )
        for p, q in pairwise([*corners, *corners[:1]])
    )


def feasible(v: dict[str, float], x_n: float, x_p: float) -> bool:
    slack = 1e-12
    coins = v["normal"] + v["premium"]
    kept = (1 - x_n) * v["normal"] + (1 - x_p) * v["premium"]
    return bool(
        -slack <= x_n <= v["normal_max"] + slack
        and -slack <= x_p <= v["premium_max"] + slack
        and v["min_gap"] - slack <= x_p - x_n <= v["max_gap"] + slack
        and kept >= v["revenue_floor"] - slack * coins
    )


# --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "case", CASES, ids=lambda case: f"{case['util']} Nn={case['Nn']:.3g} Np={case['Np']:.3g}"
)
def test_reference_answers(case):
    best = split_videos(**arguments(case), utility={"log": "log", "lin": "linear"}[case["util"]])
    assert best.feasible.tolist() == [case["feasible"]]
    found = [best.normal_share[0], best.premium_share[0], best.payout[0]]
    expected = [case[name] for name in ("xn", "xp", "pay")] if case["feasible"] else [math.nan] * 3
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-13)


def test_rows_are_independent_of_each_other():
    for name, utility in (("log", "log"), ("lin", "linear")):
        rows = [arguments(case) for case in CASES if case["util"] == name]
        together = split_videos(
            **{key: [row[key] for row in rows] for key in rows[0]}, utility=utility
        )
        for i, row in enumerate(rows):
            alone = split_videos(**row, utility=utility)
            for column in ("normal_share", "premium_share", "payout", "feasible"):
                np.testing.assert_array_equal(
                    getattr(together, column)[i], getattr(alone, column)[0]
                )


# --------------------------------------------------------------------------------------------------

coins = st.one_of(st.just(0.0), st.floats(1e-3, 1e6))
unit = st.one_of(st.just(0.0), st.floats(1e-6, 1.0))
videos = st.fixed_dictionaries(
    {
        "normal": coins,
        "premium": coins,
        "quality": unit,
        "theta": st.floats(0, 3),
        "normal_max": unit,
        "premium_max": unit,
        "min_gap": st.one_of(st.just(0.0), st.floats(1e-6, 0.3)),
        "max_gap": unit,
        "revenue_floor": unit,
        "lambda_rev": unit,
        "lambda_util": unit,
        "lambda_inc": unit,
        "epsilon": st.sampled_from([1e-3, 1.0, 10.0]),
    }
)


def with_floor_as_part(v: dict[str, float]) -> dict[str, float]:
    return v | {"revenue_floor": v["revenue_floor"] * (v["normal"] + v["premium"])}


@settings(max_examples=500, deadline=None)
@given(videos.map(with_floor_as_part), st.sampled_from(["log", "linear"]))
def test_at_least_as_good_as_every_point_of_every_edge(v, utility):
    best = split_videos(**v, utility=utility)
    x_n, x_p, pay = float(best.normal_share[0]), float(best.premium_share[0]), float(best.payout[0])
    possible = v["min_gap"] <= min(v["premium_max"], v["max_gap"])
    if possible:
        room = v["normal"] + v["premium"] - v["revenue_floor"] - v["min_gap"] * v["premium"]
        possible = room >= -1e-15 * (v["normal"] + v["premium"])
    assert bool(best.feasible[0]) == possible
    if not possible:
        assert math.isnan(x_n)
        assert math.isnan(x_p)
        assert math.isnan(pay)
        return
    assert feasible(v, x_n, x_p)
    assert pay == pytest.approx(
        x_n * v["normal"] + x_p * v["premium"], rel=1e-12, abs=1e-12 * (v["normal"] + v["premium"])
    )
    if polygon(v):
        assert float(objective(v, x_n, x_p, utility)) >= best_on_edges(v, utility) - 1e-10


@pytest.mark.parametrize("seed", range(25))
def test_objective_against_cvxpy(seed):
    rng = np.random.default_rng([seed, 3])
    v = {
        **DEFAULTS,
        "normal": 10 ** rng.uniform(0, 3),
        "premium": 10 ** rng.uniform(0, 3),
        "quality": rng.random(),
        "lambda_rev": rng.random(),
        "lambda_util": rng.random(),
        "lambda_inc": 0.3 * rng.random(),
    }
    v["revenue_floor"] = 0.2 * (v["normal"] + v["premium"])
    best = split_videos(**v)
    x = cvxpy.Variable(2, nonneg=True)
    total = v["normal"] + v["premium"]
    pay = x[0] * v["normal"] + x[1] * v["premium"]
    top = math.log1p(
        (v["normal_max"] * v["normal"] + v["premium_max"] * v["premium"]) / v["epsilon"]
    )
    goal = (
        v["lambda_rev"] * (total - pay - v["revenue_floor"]) / (total - v["revenue_floor"])
        + v["lambda_util"]
        * (1 + v["theta"] * v["quality"])
        / (1 + v["theta"])
        * cvxpy.log(1 + pay / v["epsilon"])
        / top
        + v["lambda_inc"] * (x[1] - x[0] - v["min_gap"]) / (v["max_gap"] - v["min_gap"])
    )
    rules = [
        x[0] <= v["normal_max"],
        x[1] <= v["premium_max"],
        x[1] - x[0] >= v["min_gap"],
        x[1] - x[0] <= v["max_gap"],
    ]
    model = cvxpy.Problem(cvxpy.Maximize(goal), [*rules, total - pay >= v["revenue_floor"]])
    model.solve(solver="CLARABEL")
    ours = float(objective(v, best.normal_share[0], best.premium_share[0], "log"))
    assert ours == pytest.approx(model.value, abs=1e-6)


# --------------------------------------------------------------------------------------------------


def test_quality_raises_the_pay():
    # with U_max at f(Q), as printed, all of these would be paid the same
    payout = split_videos(
        **DEFAULTS
        | {
            "quality": np.linspace(0, 1, 5),
            "lambda_rev": 1.0,
            "lambda_inc": 0.0,
            "theta": 2.0,
        }
    ).payout
    assert (np.diff(payout) > 0).all()


def test_scale_of_the_coins_keeps_the_sign_of_the_utility():
    # log(eps + pay) is negative below one coin: more utility would then mean less pay
    small = DEFAULTS | {"normal": 1e-3, "premium": 5e-4, "revenue_floor": 0.0}
    less, more = (
        split_videos(**small | {"lambda_util": x, "lambda_inc": 0.0}).payout[0] for x in (0.1, 0.9)
    )
    assert more > less


def test_equal_gaps_drop_the_incentive():
    tied = DEFAULTS | {"min_gap": 0.2, "max_gap": 0.2}
    one, other = (
        split_videos(**tied | {"lambda_inc": 0.0}),
        split_videos(**tied | {"lambda_inc": 5.0}),
    )
    np.testing.assert_array_equal(one.payout, other.payout)
    assert one.premium_share[0] - one.normal_share[0] == pytest.approx(0.2)


def test_floor_at_all_coins_drops_the_revenue_and_pays_nothing():
    best = split_videos(**DEFAULTS | {"revenue_floor": 150.0, "min_gap": 0.0})
    assert best.feasible[0]
    assert best.payout[0] == 0


def test_infeasible_rows_are_marked_and_nothing_else():
    best = split_videos(
        **DEFAULTS | {"min_gap": [0.05, 0.9, 0.05, 0.5], "revenue_floor": [15.0, 15.0, 148.0, 0.0]}
    )
    assert best.feasible.tolist() == [True, False, False, False]
    for column in (best.normal_share, best.premium_share, best.payout):
        assert np.isnan(column).tolist() == [False, True, True, True]


def test_no_premium_coins_leave_the_gap_as_wide_as_allowed():
    best = split_videos(**DEFAULTS | {"premium": 0.0, "lambda_rev": 0.0})
    assert best.normal_share[0] == pytest.approx(0.4)
    assert best.premium_share[0] == pytest.approx(0.8)
    assert best.premium_share[0] - best.normal_share[0] == pytest.approx(0.4)


def test_no_coins_at_all():
    best = split_videos(**DEFAULTS | {"normal": 0.0, "premium": 0.0, "revenue_floor": 0.0})
    assert (best.normal_share[0], best.premium_share[0], best.payout[0]) == (0.0, 0.4, 0.0)


def test_normal_maximum_far_below_the_premium_one_still_caps_the_gap():
    best = split_videos(
        **DEFAULTS | {"normal_max": 0.1, "premium_max": 0.9, "max_gap": 0.3, "lambda_rev": 0.0}
    )
    assert (best.normal_share[0], best.premium_share[0]) == pytest.approx((0.1, 0.4))


def test_no_rows():
    assert split_videos(**DEFAULTS | {"normal": [], "premium": [], "quality": []}).payout.shape == (
        0,
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"normal": [1.0, -1.0]}, "normal must be finite and at least 0: row 1 is -1.0"),
        ({"premium": math.nan}, "premium must be finite"),
        ({"premium": math.inf}, "premium must be finite"),
        ({"quality": 1.5}, r"quality must be in \[0, 1\]: row 0 is 1.5"),
        ({"premium_max": 1.1}, "premium_max must be in"),
        ({"epsilon": 0.0}, "epsilon must be above 0"),
        ({"theta": -1.0}, "theta must be finite and at least 0"),
        ({"normal": [1.0, 2.0], "premium": [1.0, 2.0, 3.0]}, "shape"),
        ({"utility": "sqrt"}, "utility must be 'log' or 'linear'"),
    ],
)
def test_bad_input_is_refused(change, words):
    with pytest.raises(ValueError, match=words):
        split_videos(**DEFAULTS | change)
