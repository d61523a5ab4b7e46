"""Groups handed on at once must equal groups apportioned one by one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from solvers import InfeasibleError
from solvers.apportion import apportion, apportion_groups

GROUPS = st.lists(
    st.tuples(
        st.lists(
            st.one_of(st.integers(0, 5).map(float), st.floats(0, 1e9, allow_subnormal=False)),
            min_size=1,
            max_size=7,
        ),
        st.one_of(st.integers(0, 60), st.integers(0, 10**15), st.integers(0, 9 * 10**18)),
    ),
    min_size=1,
    max_size=12,
)


@settings(max_examples=300, deadline=None)
@given(GROUPS, st.randoms(use_true_random=False))
def test_equals_one_group_at_a_time(
    groups: list[tuple[list[float], int]], random: np.random.RandomState
) -> None:
    rows = [
        (g, amount, f"v{g}-{n}")
        for g, (amounts, _) in enumerate(groups)
        for n, amount in enumerate(amounts)
    ]
    random.shuffle(rows)
    index, amounts, keys = (list(column) for column in zip(*rows, strict=True))
    totals = [total for _, total in groups]
    paid = dict(zip(keys, apportion_groups(amounts, totals, index, keys).tolist(), strict=True))
    for g, (members, total) in enumerate(groups):
        ids = [f"v{g}-{n}" for n in range(len(members))]
        expected = apportion(members, total, ids).tolist()
        assert [paid[i] for i in ids] == expected
        assert sum(expected) == total


def test_many_groups_sum_exactly() -> None:
    rng = np.random.default_rng(3)
    group = rng.integers(0, 3000, 20_000)
    totals = np.where(np.bincount(group, minlength=3000) > 0, rng.integers(0, 10**9, 3000), 0)
    paid = apportion_groups(rng.pareto(1.5, 20_000), totals, group)
    sums = np.zeros(3000, dtype=np.int64)
    np.add.at(sums, group, paid)
    assert (sums == totals).all()
    assert (paid >= 0).all()


def test_refuses_what_cannot_be() -> None:
    with pytest.raises(InfeasibleError):
        apportion_groups([1.0], [1, 5], [0])
    with pytest.raises(ValueError, match="one length"):
        apportion_groups([1.0, 2.0], [1], [0])
    with pytest.raises(ValueError, match="names 3 groups"):
        apportion_groups([1.0, 2.0], [1, 2], [0, 2])
    with pytest.raises(ValueError, match="amounts must be finite"):
        apportion_groups([1.0, -2.0], [5], [0, 0])
    with pytest.raises(ValueError, match="totals must not be negative"):
        apportion_groups([1.0], [-5], [0])


def test_no_rows() -> None:
    assert apportion_groups([], [0, 0], []).tolist() == []
