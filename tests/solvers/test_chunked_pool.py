"""Pools in chunks: the same bits however the rows are cut, what the path in memory pays, the same
whole micros, and its certificate.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from solvers.ad_pool import (
    ChunkedAllocation,
    PoolChunk,
    allocate_chunks,
    allocate_pool,
    certify_chunks,
    certify_pool,
)
from solvers.apportion import AmountChunk, apportion, apportion_chunks
from solvers.errors import InfeasibleError
from solvers.exact_sum import ExactSum

KNOBS = ("alpha", "lambda_fair", "lambda_eff", "objective")


def random_problem(rng: np.random.Generator, n: int) -> dict[str, Any]:
    """A pool with bounds around an interior point, some that are it, ties, rows without share,
    sometimes none with; sometimes an LP.
    """
    pool = 10.0 ** rng.uniform(-3, 9)
    share = [rng.random(n), rng.pareto(1.1, n) + 1e-9, rng.integers(1, 4, n).astype(float)][
        rng.integers(3)
    ]
    share[rng.random(n) < rng.choice([0.0, 0.3, 1.0], p=[0.45, 0.45, 0.1])] = 0.0
    inside = pool * rng.dirichlet(np.ones(n))
    eff = float(rng.choice([0.0, 0.5, 0.99999, 1.0]))
    return {
        "pool": pool,
        "share": share,
        "alpha": float(rng.choice([0.5, 1.0, rng.uniform(0.1, 1)])),
        "lambda_fair": 1 - eff,
        "lambda_eff": eff,
        "floor": inside * rng.choice([0.0, 0.5, 0.9, 1.0], n) * (rng.random() < 0.6),
        "cap": (
            inside * rng.choice([1.0, 1.1, 2.0, math.inf], n)
            if rng.random() < 0.6
            else np.full(n, math.inf)
        ),
        "objective": ("linear", "blend")[rng.integers(2)],
    }


def cut(problem: dict[str, Any], size: int) -> list[PoolChunk]:
    columns = [problem[name] for name in ("share", "floor", "cap")]
    return [
        PoolChunk(*(column[i : i + size] for column in columns))
        for i in range(0, problem["share"].size, size)
    ]


def solve(problem: dict[str, Any], size: int) -> tuple[ChunkedAllocation, np.ndarray]:
    chunks = cut(problem, size)
    found = allocate_chunks(problem["pool"], chunks, **{name: problem[name] for name in KNOBS})
    return found, np.concatenate([found.payout(chunk) for chunk in chunks])


@pytest.mark.parametrize("block", range(4))
def test_memory_pays_the_same(block: int) -> None:
    """To the last digits of the pool; the same bits for any size of chunk and any order of rows;
    whole micros equal.
    """
    for seed in range(12 * block, 12 * block + 12):
        rng = np.random.default_rng(seed)
        n = int(rng.integers(1, 60))
        problem = random_problem(rng, n)
        expected = allocate_pool(**problem)
        (found, payout), (again, in_threes) = solve(problem, n), solve(problem, 3)
        assert in_threes.tobytes() == payout.tobytes()
        assert (again.multiplier, again.residual, again.passes) == (
            found.multiplier,
            found.residual,
            found.passes,
        )
        order = rng.permutation(n)
        shuffled = {
            name: x[order] if isinstance(x, np.ndarray) else x for name, x in problem.items()
        }
        assert solve(shuffled, 5)[1].tobytes() == payout[order].tobytes()
        np.testing.assert_allclose(payout, expected.payout, rtol=0, atol=1e-13 * problem["pool"])
        assert found.multiplier == pytest.approx(expected.multiplier, rel=1e-11)
        assert found.residual < 1e-12
        assert found.rows == n
        micros, chunk = 10**9 + seed, AmountChunk(payout, lambda rows: rows.tolist())
        whole, wanted = (
            apportion_chunks([chunk], micros).whole(chunk),
            apportion(expected.payout, micros, keys=range(n)),
        )
        # small whole shares: remainders that are equal in the mathematics differ in memory by the
        # rounding of its sums
        assert np.abs(whole - wanted).max() <= (problem["share"].max() in (1.0, 2.0, 3.0))


@pytest.mark.parametrize("block", range(4))
def test_the_certificate_is_the_one_of_memory(block: int) -> None:
    """For what the solver found, and for any other split: a bound that holds, and is the same proof
    where the split is optimal.
    """
    for seed in range(100 + 6 * block, 106 + 6 * block):
        rng = np.random.default_rng(seed)
        problem = random_problem(rng, int(rng.integers(2, 40)))
        rest = {name: problem[name] for name in (*KNOBS, "floor", "cap")}
        chunks = cut(problem, 4)
        found, payout = solve(problem, 4)
        judged = certify_chunks(
            found.payout, problem["pool"], chunks, **{name: problem[name] for name in KNOBS}
        )
        known = certify_pool(payout, problem["pool"], problem["share"], **rest)
        assert judged.gap < 1e-12
        assert judged.primal_residual == pytest.approx(known.primal_residual, abs=1e-14)
        assert max(judged.stationarity_residual, judged.complementarity_residual) < 1e-11
        assert judged.value == pytest.approx(known.value, rel=1e-12, abs=1e-12 * known.scale)
        assert judged.upper_bound == pytest.approx(
            known.upper_bound, rel=1e-9, abs=1e-9 * known.scale
        )
        assert judged.scale == pytest.approx(known.scale, rel=1e-12)

        # --- another split that is allowed: worse, by no more than the proof says, which is no
        # better than the best there is
        other = np.clip(
            payout * rng.uniform(0.5, 1.5, payout.size), problem["floor"], problem["cap"]
        )
        other *= problem["pool"] / other.sum()
        places = iter(np.split(other, range(4, other.size, 4)) * 20)
        worse = certify_chunks(
            lambda _, places=places: next(places),
            problem["pool"],
            chunks,
            **{name: problem[name] for name in KNOBS},
        )
        best = certify_pool(other, problem["pool"], problem["share"], **rest)
        assert worse.primal_residual == pytest.approx(best.primal_residual, abs=1e-13)
        if best.primal_residual < 1e-12 and math.isfinite(worse.value):
            assert worse.gap >= best.gap * (1 - 1e-9)
            assert judged.value - worse.value <= (worse.gap + 1e-12) * worse.scale


def keyed(amounts: np.ndarray, keys: Sequence[str], size: int) -> list[AmountChunk]:
    return [
        AmountChunk(
            amounts[i : i + size], lambda rows, i=i: [keys[i + row] for row in rows.tolist()]
        )
        for i in range(0, amounts.size, size)
    ]


amounts = st.one_of(
    st.lists(st.floats(0, 1e12), min_size=1, max_size=40).map(lambda x: np.array(x, dtype=float)),
    st.lists(st.sampled_from([0.0, 0.5, 1.0, 1.5, 7.25, 1e-300]), min_size=1, max_size=60).map(
        lambda x: np.array(x, dtype=float)
    ),
    st.lists(st.integers(0, 2**62 // 60), min_size=1, max_size=40).map(
        lambda x: np.array(x, dtype=np.int64)
    ),
    st.integers(1, 60).map(lambda n: np.full(n, 1.1)),
    st.integers(1, 60).map(np.zeros),
)


@settings(max_examples=60)
@given(amounts, st.integers(0, 10**4) | st.integers(0, 9 * 10**18), st.data())
def test_whole_numbers_are_those_of_memory(
    values: np.ndarray, total: int, data: st.DataObject
) -> None:
    """To the unit, ties by the hash of the id included, with bounds and without, for any size of
    chunk.
    """
    n = values.size
    floor = data.draw(st.sampled_from([0, total // n, total // n // 2]))
    cap = data.draw(st.sampled_from([None, total // n + 1, max(floor, total // n) + 3]))
    keys = [f"k{i}" for i in data.draw(st.permutations(range(n)))]
    expected = apportion(values, total, keys, floor=floor, cap=cap)
    for size in (3, n):
        chunks = keyed(values, keys, size)
        found = apportion_chunks(chunks, total, floor=floor, cap=cap)
        assert (
            np.concatenate([found.whole(chunk) for chunk in chunks]).tolist() == expected.tolist()
        )


@given(st.lists(st.floats(-1e300, 1e300), max_size=50), st.integers(1, 50))
def test_sums_are_exact(values: list[float], size: int) -> None:
    total = ExactSum()
    for i in range(0, len(values), size):
        total.add(np.array(values[i : i + size]))
    assert total.exact == sum(map(Fraction, values), Fraction())
    assert float(total) == math.fsum(values)
    assert all((Fraction(x) * 2**total.bits).denominator == 1 for x in values)


@pytest.mark.parametrize(
    ("chunks", "words"),
    [
        ([PoolChunk([1, 2], floor=0.6)], "floors add up to 1.2, more than the pool of 1.0"),
        (
            [PoolChunk([1], cap=0.25), PoolChunk([1], cap=0.25)],
            "caps add up to 0.5, less than the pool of 1.0",
        ),
        (
            [PoolChunk([1], cap=1), PoolChunk([1, 1], floor=[0, 0.5], cap=0.25)],
            "floor of row 2, 0.5, is above its cap 0.25",
        ),
        ([PoolChunk([1], floor=-1.0)], "floor of row 0, -1.0, is negative"),
        ([PoolChunk([1], floor=math.inf)], "floor of row 0 is infinite"),
        ([], "caps add up to 0.0"),
    ],
)
def test_infeasible_names_the_numbers(chunks: list[PoolChunk], words: str) -> None:
    with pytest.raises(InfeasibleError, match=words):
        allocate_chunks(1.0, chunks)


@pytest.mark.parametrize(
    ("chunks", "words"),
    [
        ([PoolChunk([1]), PoolChunk([1, math.nan])], "row 2 is nan"),
        ([PoolChunk([[1]])], "one-dimensional"),
        (iter([PoolChunk([1])]), "an iterator, which ends after one pass"),
        ([PoolChunk([1], cap=math.nan)], "cap must not be NaN: row 0"),
    ],
)
def test_bad_input_is_refused(chunks: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        allocate_chunks(1.0, chunks)


def test_bad_amounts_are_refused() -> None:
    good = AmountChunk(np.ones(2), lambda rows: rows.tolist())
    for bad, words in (
        (np.array([1, math.nan]), "row 3 is nan"),
        (np.array([1, 2]), "of one type"),
        (np.ones((1, 1)), "one-dimensional"),
    ):
        with pytest.raises(ValueError, match=words):
            apportion_chunks([good, AmountChunk(bad, good.keys)], 5)
    cases = (
        (1, {"floor": 1}, "floors add up to 2"),
        (9, {"cap": 4}, "add up to 8"),
        (9, {"floor": 5, "cap": 4}, "above the cap"),
    )
    for total, bounds, words in cases:
        with pytest.raises(InfeasibleError, match=words):
            apportion_chunks([good], total, **bounds)
