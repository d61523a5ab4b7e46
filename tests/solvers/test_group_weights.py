"""Algorithm 1 with groups that cannot be measured, and weights of new groups, from their
definitions in exact fractions.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from solvers.reweighting import inherited_weights, update_observed_weights, update_weights

CLIP = (0.2, 5.0)
groups = st.lists(
    st.tuples(st.floats(0.2, 5.0), st.floats(-2, 2), st.booleans()), min_size=1, max_size=12
)


@given(groups, st.floats(0, 3))
def test_by_its_definition(found: list[tuple[float, float, bool]], rate: float) -> None:
    w, u, seen = (np.array(column) for column in zip(*found, strict=True))
    got = update_observed_weights(w, np.where(seen, u, np.nan), seen, rate=rate, clip=CLIP)
    assert np.array_equal(got[~seen], w[~seen])
    if seen.all():
        assert np.array_equal(got, update_weights(w, u, rate=rate, clip=CLIP))
    grown = {n: w[n] * math.exp(-rate * u[n]) for n in np.flatnonzero(seen)}
    part = len(w) * math.fsum(w[seen]) / math.fsum(w)
    for n, value in grown.items():
        assert got[n] == pytest.approx(
            min(max(part * value / math.fsum(grown.values()), 0.2), 5.0), rel=1e-12
        )


@given(groups)
def test_with_rate_zero_nobody_moves_relative_to_those_who_cannot(
    found: list[tuple[float, float, bool]],
) -> None:
    w, u, seen = (np.array(column) for column in zip(*found, strict=True))
    w = len(w) * w / w.sum()
    got = update_observed_weights(w, u, seen, rate=0.0, clip=(1e-3, 1e3))
    assert got == pytest.approx(w, rel=1e-12)


def test_nobody_was_observed() -> None:
    assert update_observed_weights(
        [0.3, 4.0], [np.nan, np.nan], [False, False], rate=1.0
    ).tolist() == [0.3, 4.0]


def test_new_groups_take_the_mean_of_their_members() -> None:
    got = inherited_weights([0.5, 1.0, 3.0], [[4, 0, 0], [1, 1, 2], [0, 0, 0]], clip=CLIP)
    mean = np.array([0.5, (0.5 + 1.0 + 6.0) / 4, 1.0])
    assert got == pytest.approx(3 * mean / mean.sum(), rel=1e-14)
    assert inherited_weights(
        [0.2, 5.0], [[1, 0]] * 9 + [[0, 1]], clip=CLIP
    ).tolist() == pytest.approx([0.2941176470588235] * 9 + [5.0])


def test_shapes_that_do_not_fit_are_named() -> None:
    with pytest.raises(ValueError, match="do not fit"):
        update_observed_weights([1.0, 1.0], [1.0], [True, True], rate=0.1)
    with pytest.raises(ValueError, match="2 old groups"):
        inherited_weights([1.0, 1.0], [[1, 2, 3]])
