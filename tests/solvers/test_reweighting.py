"""Algorithm 1 in 20 digits, table 1 at its boundaries, and what every update must keep."""

from __future__ import annotations

import json
import math
from decimal import Decimal, localcontext
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from solvers.reweighting import (
    cold_start_percentile,
    matching_candidates,
    matching_temperature,
    update_weights,
)

CASES = json.loads((Path(__file__).parents[1] / "cases" / "competition.json").read_text())
groups = st.integers(1, 12).flatmap(
    lambda n: st.tuples(
        st.lists(st.floats(0.2, 5), min_size=n, max_size=n),
        st.lists(st.floats(-2, 2), min_size=n, max_size=n),
    )
)


@pytest.mark.parametrize("case", CASES["algorithm1"], ids=lambda case: case["name"])
def test_reference_arithmetic(case):
    weights, utility = [float(w) for w in case["w"]], [float(u) for u in case["pibar"]]
    rate = float(case["alpha"])
    normalised = update_weights(weights, utility, rate=rate, clip=(1e-300, 1e300))
    np.testing.assert_allclose(normalised, [float(w) for w in case["after_norm"]], rtol=1e-14)
    clipped = update_weights(weights, utility, rate=rate)
    np.testing.assert_allclose(clipped, [float(w) for w in case["after_clip"]], rtol=1e-14)
    assert matching_candidates(clipped, candidates=20).tolist() == case["K_of_w_K20"]


@pytest.mark.parametrize(("weight", "percentile"), CASES["table1"]["tests"])
def test_table_1(weight, percentile):
    assert cold_start_percentile([float(weight)])[0] == percentile


@given(groups, st.floats(0, 50))
def test_against_exact_arithmetic(pair, rate):
    weights, utility = pair
    with localcontext(prec=50):
        grown = [
            Decimal(w) * (-Decimal(rate) * Decimal(u)).exp()
            for w, u in zip(weights, utility, strict=True)
        ]
        expected = [
            min(max(len(grown) * g / sum(grown), Decimal("0.2")), Decimal(5)) for g in grown
        ]
    np.testing.assert_allclose(
        update_weights(weights, utility, rate=rate), [float(e) for e in expected], rtol=1e-12
    )


@given(groups, st.floats(0, 3), st.floats(-100, 100))
def test_only_differences_of_utility_count(pair, rate, shift):
    weights, utility = pair
    shifted = update_weights(weights, np.add(utility, shift), rate=rate)
    np.testing.assert_allclose(shifted, update_weights(weights, utility, rate=rate), rtol=1e-11)


@given(groups, st.floats(0, 1000))
def test_bounds_and_direction(pair, rate):
    weights, utility = pair
    result = update_weights(weights, utility, rate=rate)
    assert ((result >= 0.2) & (result <= 5)).all()
    order = np.argsort(utility, kind="stable")
    assert (
        np.diff(update_weights(np.ones(len(weights)), utility, rate=rate)[order]) <= 1e-12
    ).all()


def test_clip_comes_last_so_the_mean_is_not_one():
    assert update_weights([1] * 8, [0] + [1] * 7, rate=5).mean() == pytest.approx(0.8)


def test_rates_that_would_overflow():
    assert update_weights([1, 1], [-800, 800], rate=1).tolist() == [2.0, 0.2]
    assert update_weights([1, 1, 1], [-1e300, 0, 1e300], rate=1).tolist() == [3.0, 0.2, 0.2]


def test_no_groups_and_one_group():
    assert update_weights([], [], rate=0.5).size == 0
    assert update_weights([3.0], [0.4], rate=0.5).tolist() == [1.0]


def test_the_arguments_are_left_alone():
    weights = np.array([1.0, 2.0])
    update_weights(weights, [1.0, 0.0], rate=0.5)
    assert weights.tolist() == [1.0, 2.0]


@given(st.integers(1, 100), st.integers(1, 500))
def test_candidates_of_whole_products(candidates, wanted):
    assert matching_candidates([wanted / candidates], candidates=candidates)[0] == wanted


@given(st.integers(1, 100), st.floats(0.2, 5), st.integers(1, 300))
def test_candidates_round_up(candidates, weight, available):
    (k,) = matching_candidates([weight], candidates=candidates, available=available)
    assert 1 <= k <= available
    assert k == min(max(1, math.ceil(candidates * weight - 1e-9)), available)


def test_temperature():
    np.testing.assert_allclose(
        matching_temperature([0.2, 1, 5], temperature=0.1), [0.02, 0.1, 0.5], rtol=1e-15
    )


def test_a_group_at_its_start_keeps_what_holds_without_hmt():
    """Table 1 to the letter gives weight 1, where all groups begin, the next row: .95 for .99."""
    bounds = [1.0, 1.19, 1.79, 2.13, 2.36, 2.68]
    near = [x for bound in bounds for x in (bound * (1 - 1e-6), bound, bound * (1 + 1e-6))]
    above, below = (
        cold_start_percentile(near, edge=edge).reshape(-1, 3) for edge in ("above", "below")
    )
    assert (below[:, 1] == below[:, 0]).all()
    assert (above[:, 1] == above[:, 2]).all()
    assert (above[:, [0, 2]] == below[:, [0, 2]]).all()
    assert cold_start_percentile([1.0 + 2**-52], edge="below")[0] == 0.99
    with pytest.raises(ValueError, match="edge must be"):
        cold_start_percentile([1.0], edge="left")


def test_another_map():
    assert cold_start_percentile(
        [0.4, 0.5, 2.0], bounds=[0.5], percentiles=[1.0, 0.25]
    ).tolist() == [1.0, 0.25, 0.25]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: update_weights([1, 0], [1, 1], rate=1), "the weight of group 1 is 0.0"),
        (lambda: update_weights([1, math.nan], [1, 1], rate=1), "the weight of group 1 is nan"),
        (lambda: update_weights([1, 1], [1], rate=1), "2 weights but utilities of shape"),
        (lambda: update_weights([1, 1], [1, math.inf], rate=1), "the utility of group 1 is inf"),
        (lambda: update_weights([1], [1], rate=-1), "rate is -1"),
        (lambda: update_weights([1], [1], rate=1, clip=(2, 1)), "clip is"),
        (lambda: update_weights([[1]], [[1]], rate=1), "weights have shape"),
        (lambda: matching_temperature([1], temperature=0), "temperature is 0"),
        (lambda: matching_candidates([1], candidates=0), "candidates is 0"),
        (lambda: matching_candidates([1], candidates=1, available=0), "available is 0"),
        (lambda: cold_start_percentile([-1]), "the weight of group 0 is -1.0"),
        (
            lambda: cold_start_percentile([1], bounds=[1], percentiles=[1]),
            "1 bounds need 2 percentiles",
        ),
        (lambda: cold_start_percentile([1], bounds=[1, 1], percentiles=[1, 1, 1]), "do not ascend"),
        (
            lambda: cold_start_percentile([1], bounds=[1], percentiles=[1, 2]),
            "not all between 0 and 1",
        ),
    ],
)
def test_refusals(call, message):
    with pytest.raises(ValueError, match=message):
        call()
