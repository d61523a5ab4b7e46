"""Turn real amounts into whole micros that add up to the total: largest remainder on exact
arithmetic.

Belongs here: rounding that keeps a sum, integer bounds and independence of row order. Does not:
what the amounts mean, or which account takes them.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from hashlib import blake2b

import numpy as np
import numpy.typing as npt

from solvers.arrays import Floats, Ints
from solvers.errors import InfeasibleError

Amounts = npt.NDArray[np.float64 | np.int64]
Rows = npt.NDArray[np.intp]

_LARGEST_TOTAL = 9_200_000_000_000_000_000
_BELOW_INT64 = 2.0**63 - 1024
_SPLITTER = float(2**27 + 1)
_QUOTA_ERROR = 2.0**-96
"""Bound on the relative error of a quota in double-double arithmetic, with room to spare (products
and sums lose below 2^-100).
"""
_REMAINDER_ERROR = 2.0**-51


def apportion(
    amounts: npt.ArrayLike,
    total: int,
    keys: Sequence[object] | npt.ArrayLike | None = None,
    *,
    floor: npt.ArrayLike | None = None,
    cap: npt.ArrayLike | None = None,
) -> Ints:
    r"""Whole numbers in proportion to `amounts` that sum to exactly `total`.

    With the exact rational quotas :math:`q_v = \text{total} \cdot \text{amount}_v / \sum_u
    \text{amount}_u`, the result solves

    .. math:: \min_x \sum_v (x_v - q_v)^2 \quad \text{s.t. } \sum_v x_v = \text{total}, \;
              \text{floor}_v \le x_v \le \text{cap}_v,
              \; x_v \text{ whole}

    which without bounds is the method of largest remainders: every row gets the whole part of its
    quota, and the units left go to the largest remainders. A float is the dyadic rational that it
    stores, so nothing is rounded before the comparison.

    Parameters
    ----------
    amounts : (n,) floats or integers, finite and at least 0; all zero counts as all equal
    total : whole number to give out, from 0 to 9.2e18
    keys : (n,) one id per row; equal remainders are ordered by a hash (blake2b) of the id, so that
        the outcome does not depend on the order of rows. None hashes the position instead.
    floor, cap : whole bounds, one number or (n,); None is no bound

    Returns
    -------
    (n,) int64 array that sums to `total`

    Raises
    ------
    InfeasibleError
        floors above the total, caps below it, a floor above its cap, or money and no row
    ValueError
        an amount that is NaN, infinite or negative (names the row), a total that is negative, too
        large or not whole, bounds that are not whole

    Notes
    -----
    Quotas are found in double-double arithmetic. Only rows whose quota is too close to a whole
    number, or whose remainder is too close to the last one served, are computed with Python's
    integers, once per distinct amount.

    Source: docs/formulas.md section 4 (integers by largest remainder, ties by a hash of the id,
    bounds never broken by rounding).

    Examples
    --------
    >>> apportion([1.5, 1.5, 4.0], 7, ["ann", "bob", "cy"]).tolist()
    [1, 2, 4]
    """
    values, total = _checked(amounts, total)
    n = values.size
    lo, hi = _bounds(floor, cap, n, total)
    ids = None if keys is None else np.asarray(keys, dtype=object)
    if ids is not None and ids.shape != (n,):
        raise ValueError(f"keys must have shape ({n},), not {ids.shape}")
    if total == 0 or n == 0:
        return np.zeros(n, dtype=np.int64)
    if not values.any():
        values = np.ones(n, dtype=np.int64)

    # --- whole part and remainder of every quota
    rule = _quota_rule(values, total)
    whole, remainder = _quotas(values, rule)

    # --- the shift that the bounds call for (0 without bounds): as large as it can be without
    # giving out too much
    shift = _shift(whole, lo, hi, total)
    given = _shifted(whole, shift, lo, hi)

    # --- the units left go to the largest remainders
    units = total - _sum(given)
    if units:
        able = np.flatnonzero(_shifted(whole, shift + 1, lo, hi) > given)
        error = _REMAINDER_ERROR + 2 * _QUOTA_ERROR * float(whole.max())
        given[_largest(remainder, able, units, error=error, values=values, rule=rule, ids=ids)] += 1
    return given


# --------------------------------------------------------------------------------------------------


def _checked(amounts: npt.ArrayLike, total: int) -> tuple[Amounts, int]:
    """Amounts as int64 where they are whole and fit, as float64 otherwise."""
    try:
        total = operator.index(total)
    except TypeError:
        raise ValueError(f"total must be a whole number, not {total!r}") from None
    if not 0 <= total <= _LARGEST_TOTAL:
        raise ValueError(f"total must lie between 0 and {_LARGEST_TOTAL}, not {total}")
    values = np.asarray(amounts)
    if values.ndim != 1:
        raise ValueError(f"amounts must be one-dimensional, not of shape {values.shape}")
    if values.dtype.kind == "u" and values.size and int(values.max()) > np.iinfo(np.int64).max:
        raise ValueError(f"amounts must fit in int64, and one is {int(values.max())}")
    if values.dtype.kind in "biu":
        values = values.astype(np.int64)
        bad = values < 0
    else:
        values = values.astype(np.float64)
        bad = ~(np.isfinite(values) & (values >= 0))
    if bad.any():
        row = int(np.argmax(bad))
        raise ValueError(
            f"amounts must be finite and at least 0: row {row} is {values[row].item()!r}"
        )
    if (
        values.dtype.kind == "f"
        and values.size
        and values.max() < 2.0**62
        and np.array_equal(values, np.floor(values))
    ):
        values = values.astype(np.int64)
    return values, total


def _bounds(
    floor: npt.ArrayLike | None, cap: npt.ArrayLike | None, n: int, total: int
) -> tuple[Ints, Ints]:
    lo, hi = (
        _whole_bound(x, name, n, default)
        for x, name, default in ((floor, "floor", 0), (cap, "cap", total))
    )
    if np.any(bad := (lo < 0) | (lo > hi)):
        row = int(np.argmax(bad))
        raise InfeasibleError(
            f"the floor of row {row}, {int(lo[row])}, is negative or above its cap, {int(hi[row])}",
            row=row,
        )
    if (least := _sum(lo)) > total:
        raise InfeasibleError(f"the floors add up to {least}, more than the total of {total}")
    hi = np.minimum(hi, total)
    if (most := _sum(hi)) < total:
        raise InfeasibleError(
            f"the caps of {n} rows add up to {most}, less than the total of {total}"
        )
    return lo, hi


def _whole_bound(bound: npt.ArrayLike | None, name: str, n: int, default: int) -> Ints:
    values = np.asarray(default if bound is None else bound)
    if values.dtype.kind == "f" and np.all(
        (values == np.floor(values)) & (np.abs(values) < 2.0**62)
    ):
        values = values.astype(np.int64)
    if values.dtype.kind not in "iu":
        raise ValueError(f"{name} must be whole numbers")
    if values.shape not in ((), (n,)):
        raise ValueError(f"{name} must be one number or have shape ({n},), not {values.shape}")
    return np.broadcast_to(values.astype(np.int64), (n,))


def _sum(values: Ints) -> int:
    """The exact sum, which need not fit in 64 bits."""
    return (int((values >> 32).sum()) << 32) + int((values & 0xFFFFFFFF).sum())


# --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _QuotaRule:
    """quota = amount * 2^bits * ratio, where amount * 2^bits is whole for every amount."""

    bits: int
    ratio: Fraction
    fits_int64: bool

    def divide(self, values: Amounts) -> tuple[list[int], list[int]]:
        """Whole part of each quota, and its remainder in units of 1 / ratio.denominator; exact."""
        p, q = self.ratio.numerator, self.ratio.denominator
        if self.fits_int64:
            wholes, rests = np.divmod(values.astype(np.int64) * p, q)
            return wholes.tolist(), rests.tolist()
        unit = 1 << self.bits
        pairs = [
            divmod(top * (unit // bottom) * p, q) for top, bottom in map(_as_ratio, values.tolist())
        ]
        return [whole for whole, _ in pairs], [rest for _, rest in pairs]


def _as_ratio(value: float) -> tuple[int, int]:
    return value.as_integer_ratio()


def _quota_rule(values: Amounts, total: int) -> _QuotaRule:
    if values.dtype.kind == "i":
        ratio = Fraction(total, _sum(values.astype(np.int64)))
        small = int(values.max()) * ratio.numerator < 2**63 and ratio.denominator < 2**63
        return _QuotaRule(0, ratio, small)
    mantissa, exponent = np.frexp(values[values > 0])
    lowest = int(exponent.min())
    place = exponent - lowest
    whole_mantissa = np.ldexp(mantissa, 53).astype(np.int64)
    # halves of 27 bits, so that their sums stay exact in the doubles of bincount
    upper = np.bincount(place, weights=whole_mantissa >> 27)
    lower = np.bincount(place, weights=whole_mantissa & (2**27 - 1))
    total_mantissa = sum(
        ((int(u) << 27) + int(v)) << i
        for i, (u, v) in enumerate(zip(upper, lower, strict=True))
        if u or v
    )
    bits = max(0, 53 - lowest)
    return _QuotaRule(bits, Fraction(total, total_mantissa << max(0, lowest - 53)), False)


def _quotas(values: Amounts, rule: _QuotaRule) -> tuple[Ints, Floats]:
    """Whole part (exact) and remainder (to about 2^-52) of every quota."""
    # --- double-double product of amount and ratio; amounts are scaled into reach first
    if values.dtype.kind == "i":
        high = np.minimum(values.astype(np.float64), _BELOW_INT64)
        low, scale = (values - high.astype(np.int64)).astype(np.float64), 0
    else:
        scale = int(np.frexp(values.max())[1])
        high, low = np.ldexp(values, -scale), np.zeros(())
    ratio = rule.ratio * Fraction(2) ** (rule.bits + scale)
    ratio_high = float(ratio)
    ratio_low = float(ratio - Fraction(ratio_high))
    product = high * ratio_high
    error = _product_error(high, ratio_high, product) + (high * ratio_low + low * ratio_high)
    quota = product + error
    error -= quota - product

    # --- whole part and remainder
    base = np.floor(quota)
    rest = (quota - base) + error
    carry = np.floor(rest)
    whole = base.astype(np.int64) + carry.astype(np.int64)
    remainder = rest - carry

    # --- rows too close to a whole number to tell
    unsure = np.flatnonzero((np.abs(rest - np.rint(rest)) <= _QUOTA_ERROR * quota) & (quota >= 0.5))
    if unsure.size:
        distinct, which = np.unique(values[unsure], return_inverse=True)
        wholes, rests = rule.divide(distinct)
        whole[unsure] = np.array(wholes, dtype=np.int64)[which]
        remainder[unsure] = np.array([x / rule.ratio.denominator for x in rests])[which]
    return whole, remainder


def _product_error(x: Floats, y: float, product: Floats) -> Floats:
    """x y - product, exactly (Dekker), for factors far from overflow."""
    shifted = _SPLITTER * x
    x_high = shifted - (shifted - x)
    x_low = x - x_high
    y_high = _SPLITTER * y - (_SPLITTER * y - y)
    y_low = y - y_high
    return x_low * y_low - (((product - x_high * y_high) - x_low * y_high) - x_high * y_low)


# --------------------------------------------------------------------------------------------------


def _shifted(whole: Ints, shift: int, lo: Ints, hi: Ints) -> Ints:
    """clip(whole + shift, lo, hi) without overflow."""
    if shift <= 0:
        return np.clip(whole + shift, lo, hi)
    return np.where(whole >= hi - shift, hi, np.maximum(whole + shift, lo))


def _shift(whole: Ints, lo: Ints, hi: Ints, total: int) -> int:
    """A shift t such that t gives out at most the total, and t + 1 at least that."""
    if _sum(_shifted(whole, 0, lo, hi)) <= total <= _sum(_shifted(whole, 1, lo, hi)):
        return 0
    low, high = -total, total
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (
            (middle, high) if _sum(_shifted(whole, middle, lo, hi)) <= total else (low, middle)
        )
    return low


def _largest(
    remainder: Floats,
    able: Rows,
    units: int,
    *,
    error: float,
    values: Amounts,
    rule: _QuotaRule,
    ids: npt.NDArray[np.object_] | None,
) -> Rows:
    """The `units` rows of `able` with the largest remainders; `error` is how far apart two equal
    ones can look.
    """
    ahead = remainder[able]
    ahead -= np.partition(ahead, able.size - units)[able.size - units]
    sure = able[ahead > error]
    close = able[np.abs(ahead) <= error]
    missing = units - sure.size
    if missing == close.size:
        return np.concatenate([sure, close])

    # --- exact remainders, once per distinct amount
    distinct, which = np.unique(values[close], return_inverse=True)
    _, rests = rule.divide(distinct)
    rank = {rest: i for i, rest in enumerate(sorted(set(rests), reverse=True))}
    level = np.array([rank[rest] for rest in rests])[which]
    last = int(np.searchsorted(np.cumsum(np.bincount(level)), missing))
    above, tied = close[level < last], close[level == last]

    # --- equal remainders, by hash
    missing -= above.size
    if missing < tied.size:
        digests = b"".join(map(_digest, tied.tolist() if ids is None else ids[tied].tolist()))
        high, low = np.frombuffer(digests, dtype=">u8").reshape(-1, 2).T
        tied = tied[np.lexsort((low, high))[:missing]]
    return np.concatenate([sure, above, tied])


def _digest(key: object) -> bytes:
    return blake2b(key if isinstance(key, bytes) else str(key).encode(), digest_size=16).digest()
