"""Groups of viewers: what k-means must do, whatever the order of the rows, and against brute force
where that is possible.
"""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from solvers.reweighting import ViewerGroups, group_viewers, inertia_by_count, nearest

rows = st.lists(
    st.tuples(
        st.integers(0, 9) | st.none(),
        st.sampled_from(["north", "south", None]),
        st.sampled_from(["ios", "web"]),
    ),
    min_size=1,
    max_size=30,
)


def features(found: list[tuple[Any, ...]]) -> dict[str, np.ndarray[Any, Any]]:
    return {
        "tenure": np.array([np.nan if r[0] is None else float(r[0]) for r in found]),
        "region": np.array([r[1] for r in found], dtype=object),
        "device": np.array([r[2] for r in found], dtype=object),
    }


def inertia(found: ViewerGroups, columns: dict[str, Any], labels: np.ndarray[Any, Any]) -> float:
    """From the definition: every feature scaled to a variance of 1, distances to the group's mean."""
    parts = []
    for column in columns.values():
        if column.dtype.kind == "f":
            filled = np.where(np.isnan(column), np.nanmean(column), column)
            block = filled[:, None] / np.nanstd(column)
        else:
            texts = np.array([str(v) for v in column])
            block = (texts[:, None] == np.unique(texts)).astype(float)
            block /= np.sqrt(block.var(axis=0).sum())
        parts.append(block)
    x = np.hstack(parts)
    return float(
        sum(((x[labels == g] - x[labels == g].mean(axis=0)) ** 2).sum() for g in np.unique(labels))
    )


def test_the_best_split_of_a_few_rows_is_found() -> None:
    columns = features(
        [
            (1, "north", "ios"),
            (2, "north", "ios"),
            (8, "south", "web"),
            (9, "south", "web"),
            (1, "south", "ios"),
            (9, None, "ios"),
        ]
    )
    found = group_viewers(columns, groups=3, starts=10)
    splits = (np.array(s) for s in product(range(3), repeat=6) if len(set(s)) == 3)
    assert found.inertia == pytest.approx(min(inertia(found, columns, s) for s in splits))
    assert found.inertia == pytest.approx(inertia(found, columns, found.labels))


@settings(max_examples=60)
@given(rows, st.integers(1, 6), st.integers(1, 5), st.randoms(use_true_random=False))
def test_the_order_of_the_rows_does_not_matter(
    found: list[Any], groups: int, least: int, random: Any
) -> None:
    shuffled = list(range(len(found)))
    random.shuffle(shuffled)
    one = group_viewers(features(found), groups=groups, min_size=least, seed=3)
    other = group_viewers(
        features([found[n] for n in shuffled]), groups=groups, min_size=least, seed=3
    )
    assert np.array_equal(one.centres, other.centres)
    assert np.array_equal(one.labels[shuffled], other.labels)
    # what a group is made of
    assert len(one.sizes) <= min(groups, len(set(found)))
    assert one.sizes.sum() == len(found)
    assert len(one.sizes) == 1 or one.sizes.min() >= least
    assert one.sizes.tolist() == sorted(one.sizes.tolist(), reverse=True)
    assert np.array_equal(one.nearest(features(found)), one.labels)
    # somebody with the same features is in the same group
    assert len(
        {(row, label) for row, label in zip(found, one.labels.tolist(), strict=True)}
    ) == len(set(found))


def test_a_small_group_goes_to_the_nearest() -> None:
    columns = {"tenure": np.array([0.0] * 20 + [10.0] * 20 + [13.0] * 2)}
    assert group_viewers(columns, groups=3).sizes.tolist() == [20, 20, 2]
    merged = group_viewers(columns, groups=3, min_size=5)
    assert merged.sizes.tolist() == [22, 20]
    assert merged.labels[-1] == merged.labels[20]
    assert merged.centres[0, 0] == pytest.approx((20 * 10 + 2 * 13) / 22)


def test_everybody_alike_is_one_group() -> None:
    found = group_viewers(
        {"region": np.array(["north"] * 4, dtype=object), "tenure": np.full(4, np.nan)}, groups=5
    )
    assert (found.sizes.tolist(), found.labels.tolist(), found.inertia) == ([4], [0, 0, 0, 0], 0.0)
    assert found.nearest(
        {"region": np.array(["south"], dtype=object), "tenure": np.array([3.0])}
    ).tolist() == [0]


def test_a_new_level_counts_as_average() -> None:
    found = group_viewers(features([(1, "north", "ios")] * 5 + [(9, "south", "web")] * 4), groups=2)
    assert found.nearest(
        features([(2, "moon", "ios"), (8, "moon", "web"), (None, "north", "tv")])
    ).tolist() == [0, 1, 0]


def test_many_rows_are_assigned_in_blocks() -> None:
    found = group_viewers({"tenure": np.array([0.0, 1.0, 100.0])}, groups=2)
    tenure = np.where(np.arange(140_000) % 2 == 0, 0.0, 99.0)
    labels = nearest(found.coordinates, found.centres, {"tenure": tenure})
    assert np.array_equal(labels, np.arange(140_000) % 2)


def test_inertia_falls_with_the_number_of_groups() -> None:
    rng = np.random.default_rng(1)
    left = inertia_by_count(
        {"a": rng.normal(size=200), "b": rng.normal(size=200)}, [1, 2, 4, 8, 200]
    )
    assert list(left.values()) == sorted(left.values(), reverse=True)
    assert left[1] == pytest.approx(1)
    assert left[200] == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(
    ("columns", "arguments", "message"),
    [
        ({"a": np.array([1.0])}, {"groups": 0}, "groups is 0"),
        ({"a": np.array([1.0])}, {"groups": 1, "min_size": 0}, "min_size is 0"),
        ({"a": np.array([1.0]), "b": np.array([1.0, 2.0])}, {"groups": 1}, "one length"),
        ({"a": np.array([])}, {"groups": 1}, "one length above 0"),
        ({}, {"groups": 1}, "none"),
        ({"a": np.array([1.0, np.inf])}, {"groups": 1}, "a of row 1 is infinite"),
    ],
)
def test_what_is_wrong_is_named(columns: Any, arguments: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        group_viewers(columns, **arguments)
