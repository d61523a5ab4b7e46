"""The median of numbers that do not fit in memory, exactly, by counting their leading digits in
four passes over chunks.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.float64 | np.int64]

_DIGIT = 16


def median_of_chunks(chunks: Iterable[Numbers]) -> float:
    """The median of all chunks, to the bit what `numpy.median` says of them in one array.

    Numbers of one sign are ordered as their bits are, so each pass narrows both middle numbers down
    by 16 bits.

    Parameters
    ----------
    chunks : (n,) arrays, all of doubles or all of int64, at least 0; can be iterated over again and
        again, and gives the same each time

    Raises
    ------
    ValueError
        no number at all, a negative one or NaN, or chunks that end after one pass

    Examples
    --------
    >>> median_of_chunks([np.array([3.0, 1.0]), np.array([10.0, 2.0])])
    2.5
    """
    if iter(chunks) is chunks:
        raise ValueError(
            "chunks must be iterable again and again; this is an iterator, which ends after one"
            " pass"
        )
    prefixes: list[int] = [0, 0]
    rows, ranks = 0, list[int]()
    kind: type[np.float64 | np.int64] = np.int64
    for shift in range(64 - _DIGIT, -1, -_DIGIT):
        counts = [np.zeros(1 << _DIGIT, dtype=np.int64) for _ in prefixes]
        for chunk in chunks:
            kind = np.float64 if chunk.dtype.kind == "f" else np.int64
            if not (chunk >= 0).all():
                raise ValueError(
                    f"numbers must be at least 0, not {chunk[~(chunk >= 0)][0].item()!r}"
                )
            bits = np.ascontiguousarray(chunk + kind(0)).view(
                np.uint64
            )  # + 0.0: minus zero becomes zero
            for which, prefix in enumerate(prefixes):
                inside = (
                    bits
                    if shift + _DIGIT == 64
                    else bits[bits >> np.uint64(shift + _DIGIT) == prefix]
                )
                counts[which] += np.bincount(
                    (inside >> np.uint64(shift) & np.uint64(0xFFFF)).astype(np.intp),
                    minlength=1 << _DIGIT,
                )
        if not ranks:
            rows = int(counts[0].sum())
            if not rows:
                raise ValueError("there is no number to take the median of")
            ranks = [(rows - 1) // 2, rows // 2]
        for which, count in enumerate(counts):
            upto = np.cumsum(count)
            digit = int(np.searchsorted(upto, ranks[which], side="right"))
            ranks[which] -= int(upto[digit] - count[digit])
            prefixes[which] = prefixes[which] << _DIGIT | digit
    middle = np.array(prefixes, dtype=np.uint64).view(kind)
    return float(middle[0] if rows % 2 else middle.mean())
