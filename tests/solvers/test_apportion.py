"""Whole micros: exactness against fractions, order, ties, bounds and refusals."""

from __future__ import annotations

import json
import math
from fractions import Fraction
from hashlib import blake2b
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from solvers import InfeasibleError
from solvers.apportion import apportion

CASES = json.loads((Path(__file__).parents[1] / "cases" / "apportion.json").read_text())
MOST = 9_000_000_000_000_000_000


def digest(key: object) -> bytes:
    return blake2b(str(key).encode(), digest_size=16).digest()


def quotas(amounts: list[float], total: int) -> list[Fraction]:
    exact = [Fraction(x) for x in amounts]
    if not any(exact):
        exact = [Fraction(1)] * len(exact)
    scale = total / sum(exact)
    return [x * scale for x in exact]


def by_definition(amounts: list[float], total: int, keys: list[Any]) -> list[int]:
    """Largest remainder in rational arithmetic."""
    shares = quotas(amounts, total)
    whole = [math.floor(x) for x in shares]
    order = sorted(range(len(shares)), key=lambda i: (whole[i] - shares[i], digest(keys[i])))
    for i in order[: total - sum(whole)]:
        whole[i] += 1
    return whole


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"total={case['total']}")
def test_reference_answers(case):
    paid = apportion(case["p"], case["total"], case["ids"])
    assert paid.sum() == case["total"]
    shares = quotas(case["p"], case["total"])
    if len({x - math.floor(x) for x in shares}) == len(shares):
        assert paid.tolist() == case["paid"]
    else:
        # which of two equal remainders is served depends on the hash: the pay per remainder does
        # not
        assert sorted(paid.tolist()) == sorted(case["paid"])


# --------------------------------------------------------------------------------------------------

numbers = st.one_of(
    st.lists(st.floats(0, 1e12), min_size=1, max_size=12),
    st.lists(st.floats(0, 1e300, allow_subnormal=True), min_size=1, max_size=12),
    st.lists(
        st.sampled_from([0.0, 5e-324, 1e-300, 1e-30, 1.0, 1 + 2**-52, 1.5, 3.0, 1e17, 1e300]),
        min_size=1,
        max_size=12,
    ),
    st.lists(st.integers(0, 12), min_size=1, max_size=12),
    st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=12),
    st.lists(st.integers(0, 40).map(lambda k: k / 8), min_size=1, max_size=12),
)
totals = st.one_of(st.integers(0, 30), st.integers(0, 10**12), st.integers(0, MOST))


@settings(max_examples=400, deadline=None)
@given(numbers, totals, st.randoms(use_true_random=False))
def test_exactly_the_largest_remainders(amounts, total, random):
    keys = [f"v{i}" for i in range(len(amounts))]
    random.shuffle(keys)
    paid = apportion(amounts, total, keys)
    assert paid.dtype == np.int64
    assert paid.tolist() == by_definition(amounts, total, keys)


@settings(max_examples=200, deadline=None)
@given(numbers, st.integers(1, 4), st.integers(-1, 1))
def test_totals_near_the_sum_of_the_amounts(amounts, multiple, off):
    total = max(0, min(MOST, math.floor(multiple * sum(Fraction(x) for x in amounts)) + off))
    assert apportion(amounts, total).tolist() == by_definition(
        amounts, total, list(range(len(amounts)))
    )


@settings(max_examples=150, deadline=None)
@given(numbers, totals, st.randoms(use_true_random=False))
def test_order_of_rows_does_not_matter_with_keys(amounts, total, random):
    keys = [f"creator-{i}" for i in range(len(amounts))]
    order = list(range(len(amounts)))
    random.shuffle(order)
    paid = apportion(amounts, total, keys)
    assert (
        apportion([amounts[i] for i in order], total, [keys[i] for i in order]).tolist()
        == paid[order].tolist()
    )


def test_many_rows_agree_with_the_definition():
    rng = np.random.default_rng(4)
    n = 1000
    keys = [f"v{i}" for i in range(n)]
    for amounts, total in (
        (rng.pareto(1.2, n) * 1e3, 10**12),
        (rng.integers(0, 10**9, n), 10**15 + 7),
        (rng.integers(0, 100, n), 12_345),
        (np.where(rng.random(n) < 0.5, 100.0, rng.pareto(1.2, n) * 1e3), 10**7),
        (rng.integers(0, 2**60, n), MOST),
    ):
        assert apportion(amounts, total, keys).tolist() == by_definition(
            amounts.tolist(), total, keys
        )


def test_halving_whole_amounts_is_all_ties():
    rng = np.random.default_rng(6)
    amounts = 2 * rng.integers(0, 10**15, 1000) + 1
    keys = [f"v{i}" for i in range(1000)]
    total = int(amounts.sum()) // 2
    assert apportion(amounts, total, keys).tolist() == by_definition(amounts.tolist(), total, keys)


def test_whole_amounts_come_back_unchanged():
    amounts = np.random.default_rng(7).integers(0, 10**13, 1000)
    np.testing.assert_array_equal(apportion(amounts, int(amounts.sum())), amounts)
    np.testing.assert_array_equal(
        apportion(amounts.astype(np.float64), int(amounts.sum())), amounts
    )


def test_nothing_to_go_by_is_as_equal_as_possible():
    paid = apportion([0.0, 0.0, 0.0, 0.0], 10, ["a", "b", "c", "d"])
    served = sorted("abcd", key=digest)[:2]
    assert paid.tolist() == [3 if key in served else 2 for key in "abcd"]


def test_a_key_is_its_text():
    assert (
        apportion([1, 1, 1], 1, [7, 8, 9]).tolist()
        == apportion([1, 1, 1], 1, ["7", "8", "9"]).tolist()
    )
    assert (
        apportion([1, 1, 1], 1, np.array([7, 8, 9])).tolist()
        == apportion([1, 1, 1], 1, np.array([b"7", b"8", b"9"])).tolist()
    )


# --------------------------------------------------------------------------------------------------


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_bounded_result_is_the_nearest_in_whole_numbers(data):
    n = data.draw(st.integers(1, 4))
    caps = data.draw(st.lists(st.integers(0, 6), min_size=n, max_size=n))
    floors = [data.draw(st.integers(0, cap)) for cap in caps]
    total = data.draw(st.integers(sum(floors), sum(caps)))
    amounts = data.draw(
        st.lists(st.one_of(st.integers(0, 9), st.floats(0, 9)), min_size=n, max_size=n)
    )
    paid = apportion(np.array(amounts, dtype=float), total, floor=floors, cap=caps).tolist()
    shares = quotas(amounts, total)

    def distance(x):
        return sum((a - b) ** 2 for a, b in zip(x, shares, strict=True))

    every = [
        x
        for x in product(*(range(a, b + 1) for a, b in zip(floors, caps, strict=True)))
        if sum(x) == total
    ]
    assert tuple(paid) in every
    assert distance(paid) == min(distance(x) for x in every)


def test_rounding_never_breaks_a_bound():
    rng = np.random.default_rng(8)
    for _ in range(200):
        n = int(rng.integers(2, 40))
        floors, width = rng.integers(0, 50, n), rng.integers(0, 4, n)
        amounts = floors + width * rng.choice([0.0, 1e-15, 0.3, 0.5, 1.0 - 1e-12, 1.0], n)
        total = round(amounts.sum())
        if not floors.sum() <= total <= (floors + width).sum():
            continue
        paid = apportion(amounts, total, floor=floors, cap=floors + width)
        assert paid.sum() == total
        assert (paid >= floors).all()
        assert (paid <= floors + width).all()


def test_large_bounds_do_not_overflow():
    assert apportion([1, 1, 2], MOST, floor=[0, MOST // 2, 0], cap=[1, MOST, MOST]).sum() == MOST
    assert apportion([0, 5], MOST, floor=[MOST - 1, 0], cap=2**63 - 1).tolist() == [MOST - 1, 1]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"floor": [5, 6, 0]}, "floors add up to 11, more than the total of 10"),
        ({"cap": 3}, "add up to 9, less than the total of 10"),
        ({"floor": [0, 3, 0], "cap": [9, 2, 9]}, "floor of row 1, 3,"),
        ({"floor": -1}, "floor of row 0, -1,"),
        ({"amounts": []}, "0 rows"),
    ],
)
def test_infeasible_names_the_numbers(arguments, words):
    with pytest.raises(InfeasibleError, match=words):
        apportion(**{"amounts": [1, 2, 3], "total": 10} | arguments)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"amounts": [1.0, math.nan, 2.0]}, "row 1 is nan"),
        ({"amounts": [1.0, -2.0]}, "row 1 is -2.0"),
        ({"amounts": [1, -2]}, "row 1 is -2"),
        ({"amounts": [math.inf]}, "row 0 is inf"),
        ({"amounts": [[1, 2]]}, "one-dimensional"),
        ({"total": -1}, "total must lie between 0"),
        ({"total": 2**63}, "total must lie between 0"),
        ({"total": 1.5}, "total must be a whole number"),
        ({"keys": ["a"]}, "keys must have shape"),
        ({"floor": 0.5}, "floor must be whole"),
    ],
)
def test_bad_input_is_refused(arguments, words):
    with pytest.raises(ValueError, match=words):
        apportion(**{"amounts": [1, 2, 3], "total": 10} | arguments)


def test_total_of_zero():
    assert apportion([1.0, 2.0], 0).tolist() == [0, 0]
    assert apportion([], 0).tolist() == []
