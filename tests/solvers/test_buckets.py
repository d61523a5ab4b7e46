"""A pool known as buckets is split as the pool itself."""

from __future__ import annotations

import math

import numpy as np
import pytest

from solvers import InfeasibleError
from solvers.ad_pool import allocate_pool, paid_by_bucket

SHARES = np.array([1.0, 1.0, 1.0, 2.0, 2.0, 5.0, 30.0, 30.0])
VALUES, ROWS = np.unique(SHARES, return_counts=True)


@pytest.mark.parametrize("objective", ["blend", "linear"])
@pytest.mark.parametrize(
    ("floor", "cap"), [(0.0, math.inf), (2.0, math.inf), (0.0, 30.0), (3.0, 25.0)]
)
@pytest.mark.parametrize("weights", [(0.5, 0.5), (1.0, 0.0), (0.01, 5.0), (0.0, 1.0)])
def test_buckets_are_paid_as_their_rows(objective, floor, cap, weights) -> None:
    knobs = {"alpha": 0.4, "lambda_fair": weights[0], "lambda_eff": weights[1]}
    whole = allocate_pool(100.0, SHARES, objective=objective, **knobs, floor=floor,
                          cap=None if math.isinf(cap) else cap)  # fmt: skip
    found = paid_by_bucket(100.0, VALUES, ROWS, objective=objective, **knobs, floor=floor, cap=cap)
    by_row = found[np.searchsorted(VALUES, SHARES)]
    assert by_row == pytest.approx(whole.payout, rel=1e-8, abs=1e-8)
    assert float(ROWS @ found) == pytest.approx(100.0)


def test_rows_without_share_are_paid_what_their_floor_says() -> None:
    assert paid_by_bucket(10.0, [0.0, 1.0], [5, 1], floor=1.0) == pytest.approx([1.0, 5.0])
    assert paid_by_bucket(10.0, [0.0], [5]).tolist() == [2.0]


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(InfeasibleError, match="cannot share"):
        paid_by_bucket(10.0, [1.0], [5], floor=3.0)
    with pytest.raises(ValueError, match="as many numbers above 0"):
        paid_by_bucket(10.0, [1.0, 2.0], [5])
