"""The median from counts of digits, against numpy's of all numbers at once."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from solvers.chunked_median import median_of_chunks

REALS = st.floats(0, allow_infinity=True, allow_nan=False) | st.sampled_from(
    [0.0, -0.0, 5e-324, 1.0, 1.0 + 2**-52]
)
WHOLES = st.integers(0, 2**53) | st.integers(0, 3)


@given(st.lists(REALS, min_size=1) | st.lists(WHOLES, min_size=1), st.integers(1, 5))
@settings(max_examples=60)
def test_it_is_numpys(numbers: list[float] | list[int], size: int) -> None:
    values = np.array(numbers)
    with np.errstate(over="ignore"):
        assert median_of_chunks(
            [values[i : i + size] for i in range(0, len(values), size)]
        ) == np.median(values)


@pytest.mark.parametrize(
    ("chunks", "words"),
    [
        ([], "no number"),
        ([np.array([1.0]), np.array([-1.0])], "at least 0, not -1.0"),
        ([np.array([np.nan])], "at least 0, not nan"),
        (iter([np.array([1.0])]), "again and again"),
    ],
)
def test_bad_input_is_refused(chunks: list[np.ndarray], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        median_of_chunks(chunks)
