"""One search, two back ends: every decision as it was when the search stood twice.

tests/cases/price_search.json was written by the two searches before they became one. Rows are few
and made without powers, and sums are of fewer than eight numbers or exact, so that every processor
gives the same bits.
"""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from solvers.ad_pool import allocate, chunks
from solvers.ad_pool.price_search import halfway

CASES = json.loads((Path(__file__).parents[1] / "cases" / "price_search.json").read_text())


def problem(seed: list[int], largest: int) -> tuple[Any, ...]:
    """Weights, weight of the linear term, shares, floors, caps and room of a few rows."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, largest))
    a = np.ldexp(rng.random(n), rng.integers(-10, 10, n))
    s = rng.random(n)
    lo = np.where(rng.random(n) < 0.4, rng.random(n), 0.0)
    width = np.ldexp(rng.random(n), rng.integers(-7, 7, n))
    hi = np.where(rng.random(n) < 0.6, lo + width, math.inf)
    room = math.fsum(np.minimum(hi - lo, 100.0)) * rng.uniform(0.01, 0.99)
    return a, float(rng.choice([0.0, 0.0, 1.0, 1e3, 1e9])) * room, s, lo, hi, room


def in_memory(seed: int) -> list[Any]:
    *rows, room = problem([seed, 1], 8)
    split = allocate._search(*rows, room=room)
    paid = hashlib.sha256(split.payout.tobytes()).hexdigest()[:16]
    return [split.multiplier.hex(), math.ceil(split.passes), paid]


def in_chunks(seed: int) -> list[Any]:
    a, b, s, lo, hi, room = problem([seed, 2], 40)
    parts = [chunks._Rows(a[k::3], s[k::3], lo[k::3], hi[k::3]) for k in range(3)]
    price = chunks._search(lambda: iter(parts), b, room)
    return [price.d.hex(), price.reference.hex(), price.factor.hex()]


def test_every_bit_is_that_of_the_search_in_memory():
    assert [in_memory(seed) for seed in range(200)] == CASES["in memory"]


def test_every_bit_is_that_of_the_search_in_chunks():
    assert [in_chunks(seed) for seed in range(40)] == CASES["in chunks"]


@pytest.mark.parametrize("seed", range(20))
def test_both_back_ends_find_the_same_price(seed):
    a, b, s, lo, hi, room = problem([seed, 3], 30)
    paid = allocate._search(a, b, s, lo, hi, room=room).payout
    price = chunks._search(lambda: iter([chunks._Rows(a, s, lo, hi)]), b, room)
    np.testing.assert_allclose(price.paid(a, s, lo, hi, b), paid, rtol=1e-12, atol=1e-13 * room)
    assert float((paid - lo).sum()) == pytest.approx(room, rel=1e-13)


def test_a_bracket_is_halved_by_orders_of_magnitude_where_it_can_be():
    assert halfway(1e-6, 1e6) == pytest.approx(1.0)
    assert halfway(-5.0, 5.0) == 0.0
