"""Whole micros for amounts that do not fit in memory: the same integers as `solvers.apportion`,
from passes over chunks.

Belongs here: finding the last remainder that is served, and the last hash among equal ones, by
counting. Does not: anything about pools.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from solvers.apportion.quotas import (
    _LARGEST_TOTAL,
    _QUOTA_ERROR,
    _REMAINDER_ERROR,
    _digest,
    _QuotaRule,
    _quotas,
    _shifted,
    _sum,
)
from solvers.arrays import Floats, Ints
from solvers.errors import InfeasibleError
from solvers.exact_sum import ExactSum

Amounts = npt.NDArray[np.float64 | np.int64]
Rows = npt.NDArray[np.intp]

_BINS = 1 << 18
_HASH_BINS = 1 << 16


@dataclass(frozen=True, eq=False)
class AmountChunk:
    """Some of the rows: amounts (n,), floats or int64, and the ids of given rows of the chunk,
    which are asked for where amounts tie.
    """

    amounts: Amounts
    keys: Callable[[Rows], Sequence[object]]


@dataclass(frozen=True, eq=False)
class ChunkedRounding:
    """Whole numbers, as a rule that says of any chunk what its rows get.

    Attributes
    ----------
    passes : how often all chunks were read
    """

    passes: int
    _rule: _QuotaRule | None = None
    _equal: bool = False
    _floor: int = 0
    _cap: int = 0
    _shift: int = 0
    _cut: _Cut | None = None

    def whole(self, chunk: AmountChunk) -> Ints:
        """(n,) whole numbers of the chunk's rows; over all chunks they add up to the total."""
        if self._rule is None:
            return np.zeros(chunk.amounts.size, dtype=np.int64)
        quotas = _Quotas.of(chunk, self._rule, self._equal, (self._floor, self._cap), self._shift)
        if self._cut:
            quotas.given[self._cut.served(quotas, chunk)] += 1
        return quotas.given


def apportion_chunks(
    chunks: Iterable[AmountChunk], total: int, *, floor: int = 0, cap: int | None = None
) -> ChunkedRounding:
    r"""Whole numbers in proportion to the amounts of all chunks that sum to exactly `total`.

    The rounding of :func:`solvers.apportion.apportion`, to the last unit: whole parts first, what
    is left to the largest remainders, equal ones by the hash of the id. The remainder of the last
    row served is found by counting remainders in ever narrower bins, and what doubles cannot tell
    apart is compared as fractions, once per distinct amount of a chunk.

    Parameters
    ----------
    chunks : can be iterated over again and again, and gives the same chunks each time; ids differ
        from each other
    total : whole number to give out, from 0 to 9.2e18
    floor, cap : whole bounds of every row

    Returns
    -------
    ChunkedRounding

    Raises
    ------
    InfeasibleError
        floors above the total, caps below it, or money and no row
    ValueError
        an amount that is NaN, infinite or negative, or a total that is not allowed

    Source: docs/formulas.md section 4.

    Examples
    --------
    >>> names = [["ann", "bob"], ["cy"]]
    >>> chunks = [
    ...     AmountChunk(np.array(a), lambda rows, n=n: [n[row] for row in rows])
    ...     for a, n in zip([[1.5, 1.5], [4.0]], names)
    ... ]
    >>> split = apportion_chunks(chunks, 7)
    >>> [split.whole(chunk).tolist() for chunk in chunks]
    [[1, 2], [4]]
    """
    total, floor = int(total), int(floor)
    if not 0 <= total <= _LARGEST_TOTAL:
        raise ValueError(f"total must lie between 0 and {_LARGEST_TOTAL}, not {total}")
    if iter(chunks) is chunks:
        raise ValueError(
            "chunks must be iterable again and again; this is an iterator, which ends after one"
            " pass"
        )
    rule, rows, equal = _rule(chunks, total)
    most = total if cap is None else min(int(cap), total)
    if floor < 0 or (cap is not None and floor > cap):
        raise InfeasibleError(f"the floor {floor} is negative or above the cap {cap}")
    if rows * floor > total:
        raise InfeasibleError(
            f"the floors add up to {rows * floor}, more than the total of {total}"
        )
    if rows * most < total:
        raise InfeasibleError(
            f"the caps of {rows} rows add up to {rows * most}, less than the total of {total}"
        )
    if total == 0 or rows == 0:
        return ChunkedRounding(1)
    search = _Search(chunks, rule, equal, (floor, most))

    # --- the shift that the bounds call for: as large as it can be without giving out too much
    shift = search.shift(total)

    # --- the units left go to the largest remainders
    units = total - search.given(shift)
    cut = search.cut(shift, units) if units else None
    return ChunkedRounding(1 + search.passes, rule, equal, floor, most, shift, cut)


def _rule(chunks: Iterable[AmountChunk], total: int) -> tuple[_QuotaRule, int, bool]:
    """How a quota is made of an amount, the number of rows, and whether all amounts are 0, which
    counts as all equal.
    """
    rows, reals, wholes, largest = 0, ExactSum(), 0, 0
    kinds: set[str] = set()
    for chunk in chunks:
        values = chunk.amounts
        if values.ndim != 1 or values.dtype.kind not in "fi":
            raise ValueError(
                f"amounts must be one-dimensional floats or integers, not {values.dtype} of shape"
                f" {values.shape}"
            )
        if (bad := ~(np.isfinite(values) & (values >= 0))).any():
            row = int(np.argmax(bad))
            raise ValueError(
                f"amounts must be finite and at least 0: row {rows + row} is {values[row].item()!r}"
            )
        kinds.add(values.dtype.kind)
        if values.dtype.kind == "i":
            wholes += _sum(values.astype(np.int64))
            largest = max(largest, int(values.max(initial=0)))
        else:
            reals.add(values.astype(np.float64))
        rows += values.size
    if len(kinds) > 1:
        raise ValueError("amounts of all chunks must be of one type")
    if wholes or kinds == {"i"} or not reals.exact:
        equal = not wholes
        ratio = Fraction(total, wholes or max(rows, 1))
        return (
            _QuotaRule(
                0, ratio, max(largest, 1) * ratio.numerator < 2**63 and ratio.denominator < 2**63
            ),
            rows,
            equal,
        )
    return _QuotaRule(reals.bits, total / (reals.exact * (1 << reals.bits)), False), rows, False


@dataclass(frozen=True, eq=False)
class _Quotas:
    """Of one chunk: amounts, what its rows are given before the last units, their remainders, and
    who could take one more.
    """

    values: Amounts
    given: Ints
    remainder: Floats
    able: Rows
    highest: int

    @classmethod
    def of(
        cls, chunk: AmountChunk, rule: _QuotaRule, equal: bool, bounds: tuple[int, int], shift: int
    ) -> _Quotas:
        values: Amounts = np.ones(chunk.amounts.size, dtype=np.int64) if equal else chunk.amounts
        if not values.size:
            return cls(
                values, np.zeros(0, dtype=np.int64), np.zeros(0), np.zeros(0, dtype=np.intp), 0
            )
        whole, remainder = _quotas(values, rule)
        lo, hi = (np.full(values.size, bound, dtype=np.int64) for bound in bounds)
        given = _shifted(whole, shift, lo, hi)
        return cls(
            values,
            given,
            remainder,
            np.flatnonzero(_shifted(whole, shift + 1, lo, hi) > given),
            int(whole.max()),
        )


@dataclass(frozen=True)
class _Cut:
    """Served: remainders above `high`; between `low` and `high` those whose exact one is above
    `rest`, or equal and of a small hash.
    """

    rule: _QuotaRule
    low: float
    high: float
    rest: int
    last_hash: bytes | None

    def served(self, quotas: _Quotas, chunk: AmountChunk) -> Rows:
        ahead = quotas.remainder[quotas.able]
        close = quotas.able[(self.low <= ahead) & (ahead <= self.high)]
        rests = _rests(quotas.values[close], self.rule)
        tied = close[rests == self.rest]
        if self.last_hash is not None and tied.size:
            tied = tied[[_digest(key) <= self.last_hash for key in chunk.keys(tied)]]
        return np.concatenate([quotas.able[ahead > self.high], close[rests > self.rest], tied])


def _rests(values: Amounts, rule: _QuotaRule) -> npt.NDArray[np.object_]:
    """Exact remainders, whole numbers in units of 1 / rule.ratio.denominator."""
    distinct, which = np.unique(values, return_inverse=True)
    rests = np.empty(distinct.size, dtype=object)
    rests[:] = rule.divide(distinct)[1]
    return rests[which]


class _Search:
    """Passes over the chunks that count."""

    def __init__(
        self, chunks: Iterable[AmountChunk], rule: _QuotaRule, equal: bool, bounds: tuple[int, int]
    ) -> None:
        self._chunks, self._rule, self._equal, self._bounds = chunks, rule, equal, bounds
        self.passes = 0

    def _quotas(self, shift: int) -> Iterator[tuple[_Quotas, AmountChunk]]:
        self.passes += 1
        for chunk in self._chunks:
            yield _Quotas.of(chunk, self._rule, self._equal, self._bounds, shift), chunk

    def given(self, shift: int) -> int:
        return self._given_and_able(shift)[0]

    def _given_and_able(self, shift: int) -> tuple[int, int]:
        """What a shift gives out, and how many rows get one more with the next."""
        given = able = 0
        for quotas, _ in self._quotas(shift):
            given += _sum(quotas.given)
            able += quotas.able.size
        return given, able

    def shift(self, total: int) -> int:
        """A shift t such that t gives out at most the total, and t + 1 at least that."""
        given, able = self._given_and_able(0)
        if given <= total <= given + able:
            return 0
        low, high = -total, total
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self.given(middle) <= total else (low, middle)
        return low

    def cut(self, shift: int, units: int) -> _Cut:
        """Where service ends when `units` rows are served, largest remainders first."""
        low, width = 0.0, 1.0
        highest = above = 0
        for _ in range(2):
            bins = np.zeros(_BINS, dtype=np.int64)
            for quotas, _chunk in self._quotas(shift):
                place = np.floor((quotas.remainder[quotas.able] - low) * (_BINS / width)).astype(
                    np.int64
                )
                inside = (
                    (place >= 0) & (place < _BINS) if width < 1 else np.ones(place.size, dtype=bool)
                )
                bins += np.bincount(np.clip(place[inside], 0, _BINS - 1), minlength=_BINS)
                highest = max(highest, quotas.highest)
            from_above = above + np.cumsum(bins[::-1])
            last = int(np.searchsorted(from_above, units))
            above = int(from_above[last] - bins[::-1][last])
            width /= _BINS
            low += (_BINS - 1 - last) * width

        # --- what doubles cannot tell apart
        error = _REMAINDER_ERROR + 2 * _QUOTA_ERROR * highest
        low, high = low - error, low + width + error
        sure, counted = 0, Counter[int]()
        for quotas, _chunk in self._quotas(shift):
            ahead = quotas.remainder[quotas.able]
            sure += int(np.count_nonzero(ahead > high))
            counted.update(
                _rests(
                    quotas.values[quotas.able[(low <= ahead) & (ahead <= high)]], self._rule
                ).tolist()
            )
        missing = units - sure
        for rest in sorted(counted, reverse=True):
            if missing <= counted[rest]:
                break
            missing -= counted[rest]
        last_hash = (
            None
            if missing == counted[rest]
            else self._last_hash(shift, missing, _Cut(self._rule, low, high, rest, None))
        )
        return _Cut(self._rule, low, high, rest, last_hash)

    def _last_hash(self, shift: int, missing: int, cut: _Cut) -> bytes:
        """The `missing`-th smallest hash of the rows whose remainder is exactly the last one
        served.
        """

        def hashes() -> Iterator[npt.NDArray[np.bytes_]]:
            for quotas, chunk in self._quotas(shift):
                ahead = quotas.remainder[quotas.able]
                close = quotas.able[(cut.low <= ahead) & (ahead <= cut.high)]
                tied = close[_rests(quotas.values[close], self._rule) == cut.rest]
                if tied.size:
                    yield np.frombuffer(
                        b"".join(map(_digest, chunk.keys(tied))), dtype=">u2"
                    ).reshape(tied.size, 8)

        bins = np.zeros(_HASH_BINS, dtype=np.int64)
        for hashed in hashes():
            bins += np.bincount(hashed[:, 0].astype(np.int64), minlength=_HASH_BINS)
        first = int(np.searchsorted(np.cumsum(bins), missing))
        missing -= int(bins[:first].sum())
        candidates = sorted(
            row.tobytes() for hashed in hashes() for row in hashed[hashed[:, 0] == first]
        )
        return bytes(candidates[missing - 1])
