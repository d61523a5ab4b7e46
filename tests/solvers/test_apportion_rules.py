"""Whole units under rules: every bound is kept, and no more is moved than must be."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from solvers.apportion import GroupBounds, apportion, apportion_with_rules
from solvers.errors import InfeasibleError


def groups(n: int) -> st.SearchStrategy[list[GroupBounds]]:
    bound = st.none() | st.integers(0, 12)
    one = st.tuples(st.lists(st.booleans(), min_size=n, max_size=n), bound, bound)
    return st.lists(one, min_size=1, max_size=3).map(
        lambda drawn: [GroupBounds(f"r{i}", np.array(m), a, b) for i, (m, a, b) in enumerate(drawn)]
    )


@given(st.data())
def test_against_every_possible_split(data: st.DataObject) -> None:
    """All splits of a small total are tried: one is found exactly if there is one, and moving less
    is impossible.
    """
    n = data.draw(st.integers(1, 4))
    amounts = data.draw(st.lists(st.floats(0.01, 10), min_size=n, max_size=n))
    total, floor = data.draw(st.integers(0, 10)), data.draw(st.integers(0, 1))
    cap = data.draw(st.none() | st.integers(floor, 10))
    assume(n * floor <= total and (cap is None or n * cap >= total))
    rules = data.draw(groups(n))
    keys = [f"v{i}" for i in range(n)]

    def kept(split: tuple[int, ...]) -> bool:
        sums = [int(np.array(split)[r.members].sum()) for r in rules]
        return all(
            (r.least is None or s >= r.least) and (r.most is None or s <= r.most)
            for r, s in zip(rules, sums, strict=True)
        )

    highest = total if cap is None else min(cap, total)
    allowed = [
        s for s in product(range(floor, highest + 1), repeat=n) if sum(s) == total and kept(s)
    ]
    if not allowed:
        with pytest.raises(InfeasibleError):
            apportion_with_rules(amounts, total, rules, keys=keys, floor=floor, cap=cap)
        return
    found = apportion_with_rules(amounts, total, rules, keys=keys, floor=floor, cap=cap)
    assert tuple(found.tolist()) in allowed
    free = apportion(amounts, total, keys=keys, floor=floor, cap=cap)
    if kept(tuple(free.tolist())):
        assert found.tolist() == free.tolist()
    cells = np.column_stack([r.members for r in rules])
    moved = {c: [tuple(row) == c for row in cells] for c in map(tuple, cells)}
    distance = [
        sum(abs(int(np.array(s)[m].sum()) - int(free[m].sum())) for m in moved.values())
        for s in [*allowed, tuple(found.tolist())]
    ]
    assert distance[-1] == min(distance)


def test_amounts_far_beyond_doubles_stay_exact() -> None:
    amounts = np.array([1.0, 1.0, 1.0]) * 1e17
    total = 3 * 10**17 + 1
    rule = GroupBounds("two", np.array([True, True, False]), least=2 * 10**17 + 3)
    found = apportion_with_rules(amounts, total, [rule], keys=["a", "b", "c"])
    assert int(found.sum()) == total
    assert int(found[:2].sum()) == 2 * 10**17 + 3


def test_the_order_of_rows_decides_nothing() -> None:
    rng = np.random.default_rng(2)
    amounts, keys = rng.pareto(1.2, 50), [f"v{i}" for i in range(50)]
    members = rng.random(50) < 0.4
    total = 10_000
    exact = amounts / amounts.sum() * total
    rule = GroupBounds("some", members, least=int(np.ceil(exact[members].sum())) + 2)
    found = dict(
        zip(keys, apportion_with_rules(amounts, total, [rule], keys=keys).tolist(), strict=True)
    )
    order = rng.permutation(50)
    shuffled = [keys[i] for i in order]
    again = apportion_with_rules(
        amounts[order],
        total,
        [GroupBounds("some", members[order], least=rule.least)],
        keys=shuffled,
    )
    assert dict(zip(shuffled, again.tolist(), strict=True)) == found
