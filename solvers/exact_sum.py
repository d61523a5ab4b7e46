"""Sums of doubles without rounding, so that neither the order of the rows nor how they are cut into
chunks can move a bit.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import numpy.typing as npt

_SIGNS_AND_EXPONENTS = 4096
_LOWEST = 1074
"""The smallest double is 2^-1074; every double is a whole multiple of it."""
_MOST_AT_ONCE = 1 << 25


class ExactSum:
    """An accumulator: `add` arrays, read the sum as a fraction, or rounded once.

    Examples
    --------
    >>> total = ExactSum()
    >>> total.add(np.array([1e16, 1.0]))
    >>> total.add(np.array([-1e16, 2.0**-60]))
    >>> total.exact == 1 + Fraction(1, 2**60), float(total)
    (True, 1.0)
    """

    def __init__(self) -> None:
        self._upper = np.zeros(_SIGNS_AND_EXPONENTS, dtype=object)
        self._lower = np.zeros(_SIGNS_AND_EXPONENTS, dtype=object)

    def add(self, values: npt.NDArray[np.float64]) -> None:
        """Add finite doubles."""
        for start in range(0, values.size, _MOST_AT_ONCE):
            bits = np.ascontiguousarray(values[start : start + _MOST_AT_ONCE]).view(np.uint64)
            place = (bits >> np.uint64(52)).astype(np.intp)
            mantissa = bits & np.uint64(2**52 - 1)
            mantissa[(place & 2047) > 0] |= np.uint64(2**52)
            # halves of at most 27 bits, so that sums of 2^25 of them stay exact in the doubles of
            # bincount
            for half, part in (
                (self._upper, mantissa >> np.uint64(27)),
                (self._lower, mantissa & np.uint64(2**27 - 1)),
            ):
                sums = np.bincount(
                    place, weights=part.astype(np.float64), minlength=_SIGNS_AND_EXPONENTS
                )
                used = np.flatnonzero(sums)
                half[used] += [int(x) for x in sums[used].tolist()]

    @property
    def exact(self) -> Fraction:
        """The sum."""
        total = 0
        for place in np.flatnonzero((self._upper != 0) | (self._lower != 0)).tolist():
            part = ((int(self._upper[place]) << 27) + int(self._lower[place])) << max(
                0, (place & 2047) - 1
            )
            total += -part if place > 2047 else part
        return Fraction(total, 1 << _LOWEST)

    def __float__(self) -> float:
        return float(self.exact)

    @property
    def bits(self) -> int:
        """Every number that was added is a whole multiple of 2^-bits; at least 0."""
        used = np.flatnonzero((self._upper != 0) | (self._lower != 0))
        return max(0, _LOWEST + 1 - max(1, int((used & 2047).min()))) if used.size else 0
