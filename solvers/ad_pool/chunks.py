"""An ad pool that does not fit in memory: the same split as `allocate`, from sums over chunks of
its rows.

Belongs here: the sums that the search (`price_search`) asks for when only one chunk can be looked
at at a time, and what a row is paid once the price is found. Does not: rules over groups, whole
micros (`solvers.apportion.chunks`), or where chunks come from.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Literal

import numpy as np

from solvers.ad_pool.inputs import Objective, PoolChunk
from solvers.ad_pool.price_search import Price, halfway, search
from solvers.ad_pool.problem import (
    BARELY_A_NUMBER,
    ROUNDING,
    PoolTerms,
    checked_pool,
    columns,
)
from solvers.arrays import Floats, Mask
from solvers.errors import InfeasibleError
from solvers.exact_sum import ExactSum


@dataclass(frozen=True, eq=False)
class ChunkedAllocation:
    """The split of a pool, as a rule that says of any chunk what its rows are paid.

    Attributes
    ----------
    multiplier, residual : as in `solvers.ad_pool.PoolAllocation`
    passes : how often all chunks were read
    rows : how many there are
    """

    multiplier: float
    residual: float
    passes: int
    rows: int
    _pool: float
    _terms: PoolTerms
    _kind: Literal["nothing", "floors", "caps", "left over", "program", "search"]
    _price: Price | None = None
    _level: float = math.inf

    def payout(self, chunk: PoolChunk) -> Floats:
        """(n,) money of the chunk's rows; depends on nothing but the rows and the pool they belong
        to.
        """
        share, lo, hi = columns(chunk)
        s, a = self._terms(share, hi)
        b = self._terms.gain
        earns = (a > 0) | (b * s > 0)
        match self._kind:
            case "nothing":
                return np.zeros(share.size)
            case "floors" | "caps":
                return (lo if self._kind == "floors" else hi).copy()
            case "left over":
                payout, clipped = np.where(earns, hi, lo), (hi > 0) & ~earns
                rows, b = (
                    _Rows(np.ones(share.size), np.ones(share.size), lo, hi).where(clipped),
                    0.0,
                )
            case "program":
                payout, clipped = (
                    np.where(earns & (s > self._level), hi, lo),
                    earns & (s == self._level),
                )
                rows, b = (
                    _Rows(np.ones(share.size), np.ones(share.size), lo, hi).where(clipped),
                    0.0,
                )
                if self._price is None:
                    payout[clipped] = rows.hi
            case "search":
                payout, clipped = lo.copy(), earns
                rows = _Rows(self._pool * a, s, lo, hi).where(clipped)
        if self._price is not None:
            payout[clipped] = self._price.paid(rows.a, rows.s, rows.lo, rows.hi, b)
        return payout


def allocate_chunks(
    pool: float,
    chunks: Iterable[PoolChunk],
    *,
    alpha: float = 0.5,
    lambda_fair: float = 0.5,
    lambda_eff: float = 0.5,
    objective: Objective = "blend",
) -> ChunkedAllocation:
    r"""Split `pool` among the rows of all chunks: the problem of `solvers.ad_pool.allocate_pool`,
    for pools larger than memory.

    The multiplier is the root of :math:`\sum_v \text{clip}(a_v / (\nu - b s_v), lo_v, hi_v) = P`,
    and a step of the search needs no more than sums over the rows. A few dozen numbers are kept
    between passes, and one chunk is in memory at a time. Sums are exact, so the result depends
    neither on the order of the rows nor on the size of the chunks, in no bit.

    Parameters
    ----------
    pool : money to give out, any unit, at least 0
    chunks : can be iterated over again and again, and gives the same chunks each time
    alpha, lambda_fair, lambda_eff, objective : as in `solvers.ad_pool.allocate_pool`

    Returns
    -------
    ChunkedAllocation

    Raises
    ------
    InfeasibleError
        sum of floors above the pool, sum of caps below it, a floor above its cap, a negative floor
    ValueError
        anything else that is not a number of the kind asked for; names the row, counted through all
        chunks

    Notes
    -----
    In memory, rows that the bracket has decided leave the search, and medians of kinks guard it.
    Here none leave, and bisection does: 8 passes for the default policy, 15 to 40 with floors and
    caps, up to 80 for the linear program (lambda_fair = 0). Payouts agree with the other path's to
    the last digits of a double, which is less than a micro.

    Source: the ad revenue document, section 3; docs/formulas.md section 2.

    Examples
    --------
    >>> chunks = [PoolChunk([1, 4]), PoolChunk([16])]
    >>> split = allocate_chunks(100.0, chunks, lambda_eff=0.0)
    >>> [split.payout(chunk).round(2).tolist() for chunk in chunks]
    [[14.29, 28.57], [57.14]]
    """
    pool, floors, caps, rows = _checked(pool, chunks, alpha, lambda_fair, lambda_eff, objective)
    terms = PoolTerms.of(
        chunks, alpha=alpha, lambda_fair=lambda_fair, lambda_eff=lambda_eff, objective=objective
    )
    if floors > pool * (1 + ROUNDING):
        raise InfeasibleError(
            f"the floors add up to {float(floors)!r}, more than the pool of {pool!r}"
        )
    if caps < pool * (1 - ROUNDING):
        raise InfeasibleError(f"the caps add up to {float(caps)!r}, less than the pool of {pool!r}")
    if pool == 0 or rows == 0:
        return ChunkedAllocation(0.0, 0.0, 3, rows, pool, terms, "nothing")
    counted = _Counted(chunks)

    def finished(
        multiplier: float,
        kind: Literal["floors", "caps", "left over", "program", "search"],
        price: Price | None = None,
        level: float = math.inf,
    ) -> ChunkedAllocation:
        split = ChunkedAllocation(multiplier, 0.0, 0, rows, pool, terms, kind, price, level)
        residual = _residual(split, counted, forced=kind in ("floors", "caps"))
        return replace(split, residual=residual, passes=3 + counted.passes)

    # --- the feasible set is one point
    b, b_share = terms.gain, _Extremes()
    without, with_share, any_idle, any_weight = ExactSum(), 0.0, False, False
    for share, lo, hi in counted.columns():
        s, a = terms(share, hi)
        earns = (a > 0) | (b * s > 0)
        any_idle |= bool(((hi > 0) & ~earns).any())
        any_weight |= bool((a > 0).any())
        most = np.where(earns, hi, lo)
        if np.isinf(most).any():
            with_share = math.inf
        without.add(np.where(np.isinf(most), 0.0, most))
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            b_share.look(
                a[earns] / (lo[earns] / pool) + b * s[earns],
                a[earns] / (hi[earns] / pool) + b * s[earns],
            )
    if floors >= pool * (1 - ROUNDING):
        return finished(b_share.largest_at_floor, "floors")
    if caps <= pool * (1 + ROUNDING):
        return finished(
            0.0 if any_idle or math.isinf(b_share.least_at_cap) else b_share.least_at_cap, "caps"
        )

    # --- money that only rows without share can take
    left_over = -math.inf if with_share else float(Fraction(pool) - without.exact)
    if left_over >= -ROUNDING * pool:

        def idle() -> Iterator[_Rows]:
            for share, lo, hi in counted.columns():
                s, a = terms(share, hi)
                yield _Rows(np.ones(share.size), np.ones(share.size), lo, hi).where(
                    (hi > 0) & (a <= 0) & (b * s <= 0)
                )

        shared = _search(idle, 0.0, left_over) if left_over > 0 and any_idle else None
        return finished(0.0, "left over", price=shared)

    # --- the rows with share divide the rest
    room = float(Fraction(pool) - floors)

    def earning() -> Iterator[_Rows]:
        for share, lo, hi in counted.columns():
            s, a = terms(share, hi)
            yield _Rows(pool * a, s, lo, hi).where((a > 0) | (b * s > 0))

    if any_weight:
        price = _search(earning, b, room)
        return finished(price.multiplier(b), "search", price=price)
    level, equal = _program(earning, room)
    return finished(b * level, "program", level=level, price=equal)


# --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Rows:
    """Rows that the search divides money among: weights of the logarithm in money, normalised
    shares, bounds.
    """

    a: Floats
    s: Floats
    lo: Floats
    hi: Floats

    def where(self, kept: Mask) -> _Rows:
        return (
            self if kept.all() else _Rows(self.a[kept], self.s[kept], self.lo[kept], self.hi[kept])
        )


class _Counted:
    """Chunks, and how often they were read."""

    def __init__(self, chunks: Iterable[PoolChunk]) -> None:
        self._chunks = chunks
        self.passes = 0

    def __iter__(self) -> Iterator[PoolChunk]:
        self.passes += 1
        return iter(self._chunks)

    def columns(self) -> Iterator[tuple[Floats, Floats, Floats]]:
        return map(columns, self)


class _Extremes:
    """Largest marginal worth where everybody is at the floor, least where everybody is at the
    cap.
    """

    def __init__(self) -> None:
        self.largest_at_floor, self.least_at_cap = 0.0, math.inf

    def look(self, at_floor: Floats, at_cap: Floats) -> None:
        self.largest_at_floor = max(self.largest_at_floor, float(at_floor.max(initial=0.0)))
        self.least_at_cap = min(self.least_at_cap, float(at_cap.min(initial=math.inf)))


def _checked(
    pool: float,
    chunks: Iterable[PoolChunk],
    alpha: float,
    lambda_fair: float,
    lambda_eff: float,
    objective: str,
) -> tuple[float, Fraction, Fraction | float, int]:
    """The pool, and the sums of floors and caps."""
    pool = checked_pool(pool, alpha, lambda_fair, lambda_eff, objective)
    if iter(chunks) is chunks:
        raise ValueError(
            "chunks must be iterable again and again; this is an iterator, which ends after one"
            " pass"
        )
    rows, unlimited, floors, caps = 0, False, ExactSum(), ExactSum()
    for chunk in chunks:
        if np.asarray(chunk.share).ndim != 1:
            raise ValueError(
                f"share must be one-dimensional, not of shape {np.asarray(chunk.share).shape}"
            )
        share, lo, hi = columns(chunk)
        for bad, rule, values in (
            (~(np.isfinite(share) & (share >= 0)), "share must be finite and at least 0", share),
            (np.isnan(lo), "floor must not be NaN", lo),
            (np.isnan(hi), "cap must not be NaN", hi),
        ):
            if bad.any():
                row = int(np.argmax(bad))
                raise ValueError(f"{rule}: row {rows + row} is {float(values[row])!r}")
        if np.any(broken := (lo < 0) | (lo > hi)):
            row = int(np.argmax(broken))
            reason = "negative" if lo[row] < 0 else f"above its cap {float(hi[row])!r}"
            raise InfeasibleError(f"the floor of row {rows + row}, {float(lo[row])!r}, is {reason}")
        if np.isinf(lo).any():
            raise InfeasibleError(
                f"the floor of row {rows + int(np.argmax(np.isinf(lo)))} is infinite"
            )
        floors.add(lo)
        unlimited |= bool(np.isinf(hi).any())
        caps.add(np.where(np.isinf(hi), 0.0, hi))
        rows += share.size
    return pool, floors.exact, math.inf if unlimited else caps.exact, rows


# --------------------------------------------------------------------------------------------------

_Source = Callable[[], Iterator[_Rows]]


def _search(rows: _Source, b: float, room: float) -> Price:
    """p = clip(a / (nu - b s), lo, hi) with sum(p - lo) = room."""
    return search(_InChunks(rows, b, room))


@dataclass(frozen=True)
class _InChunks:
    """Rows that are read anew for every sum. Sums are exact."""

    rows: _Source
    gain: float
    room: float

    def largest_share(self) -> float:
        return max((float(r.s.max(initial=0.0)) for r in self.rows()), default=0.0)

    def about(self, reference: float) -> _Level:
        return _Level(self.rows, self.gain, reference, self.room)

    def unsettled(self, reference: float, least: float, largest: float) -> float | None:
        highest, any_unsettled = 0.0, False
        for r in self.rows():
            c = self.gain * (reference - r.s)
            with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
                unsettled = (r.a / r.hi - c <= largest) & ~(r.a / r.lo - c < least)
            any_unsettled |= bool(unsettled.any())
            highest = max(highest, float(r.s[unsettled].max(initial=0.0)))
        return highest if any_unsettled else None

    def between_bounds(self, price: Price) -> tuple[Fraction, Fraction]:
        have, settled, free_floor = ExactSum(), ExactSum(), ExactSum()
        for r in self.rows():
            payout, free = price.plain(r.a, r.s, r.lo, r.hi, self.gain)
            have.add(payout[free])
            settled.add((payout - r.lo)[~free])
            free_floor.add(r.lo[free])
        return have.exact, Fraction(self.room) - settled.exact + free_floor.exact


@dataclass(frozen=True)
class _Level:
    """The rows about one reference: none leave, and middles halve the bracket."""

    rows: _Source
    gain: float
    reference: float
    room: float

    def bracket(self) -> tuple[float, float]:
        lowest, unlimited, nearest, weights = math.inf, -math.inf, math.inf, ExactSum()
        for r in self.rows():
            c, most = self.gain * (self.reference - r.s), np.minimum(r.hi, r.lo + self.room)
            with np.errstate(divide="ignore", over="ignore"):
                leaves_cap = r.a / most - c
            lowest = min(lowest, float(leaves_cap.min(initial=math.inf)))
            unlimited = max(unlimited, float(leaves_cap[most < r.hi].max(initial=-math.inf)))
            nearest = min(nearest, float(c.min(initial=math.inf)))
            weights.add(r.a)
        return max(lowest, unlimited), float(weights) / self.room - nearest

    def at(self, d: float, left: float, right: float) -> _Sums:
        have, settled, free_floor, slope = ExactSum(), ExactSum(), ExactSum(), ExactSum()
        below = above = 0
        for r in self.rows():
            c, most = self.gain * (self.reference - r.s), np.minimum(r.hi, r.lo + self.room)
            with np.errstate(divide="ignore", over="ignore"):
                leaves_cap, meets_floor = r.a / most - c, r.a / r.lo - c
            capped, free = d <= leaves_cap, (d > leaves_cap) & (d < meets_floor)
            distance = d + c[free]
            with np.errstate(over="ignore"):
                p = r.a[free] / distance
                bend = np.minimum(p / distance, np.finfo(np.float64).max)
            have.add(p)
            slope.add(bend)
            settled.add((most - r.lo)[capped])
            free_floor.add(r.lo[free])
            for kink in (leaves_cap, meets_floor):
                below += int(np.count_nonzero((left < kink) & (kink < d)))
                above += int(np.count_nonzero((d < kink) & (kink < right)))
        want = Fraction(self.room) - settled.exact + free_floor.exact
        return _Sums(have.exact, want, slope.exact, below, above)

    def narrow(self, left: float, right: float, sums: _Sums) -> int:
        return sums.kinks_above if sums.gap > 0 else sums.kinks_below

    def middle(self, left: float, right: float) -> float:
        return halfway(left, right)


@dataclass(frozen=True)
class _Sums:
    """What free rows are paid at some d and ought to be, minus the slope of that, and the kinks
    between d and each end of the bracket.
    """

    have: Fraction
    want: Fraction
    slope: Fraction
    kinks_below: int
    kinks_above: int

    @property
    def gap(self) -> float:
        return float(self.have - self.want)

    def newton(self) -> float:
        if not (self.slope > 0 and self.want > 0):
            return math.nan
        return float(self.have / self.want * (Fraction(self.gap) / self.slope))


def _program(rows: _Source, room: float) -> tuple[float, Price | None]:
    """The linear program: the share above which rows are at their caps, and what those with just
    that share get, None for their caps.
    """

    def filled(level: float) -> Fraction:
        total = ExactSum()
        for r in rows():
            total.add(np.minimum(r.hi - r.lo, room)[r.s >= level])
        return total.exact

    # --- the largest level whose rows and all above can take the money; doubles of one sign are
    # ordered like their bits
    below, above = 0, int(np.float64(2.0).view(np.int64))
    while above - below > 1:
        middle = (below + above) // 2
        below, above = (
            (middle, above)
            if filled(float(np.int64(middle).view(np.float64))) >= room
            else (below, middle)
        )
    level = float(np.int64(below).view(np.float64))

    paid, able = ExactSum(), ExactSum()
    for r in rows():
        paid.add((r.hi - r.lo)[r.s > level])
        able.add(np.minimum(r.hi - r.lo, 2 * room)[r.s == level])
    left_over = float(Fraction(room) - paid.exact)
    if left_over <= 0:
        return math.nextafter(level, 1.0), None

    def tied() -> Iterator[_Rows]:
        for r in rows():
            yield _Rows(np.ones(r.s.size), np.ones(r.s.size), r.lo, r.hi).where(r.s == level)

    return level, None if left_over >= able.exact else _search(tied, 0.0, left_over)


# --------------------------------------------------------------------------------------------------


def _residual(split: ChunkedAllocation, chunks: _Counted, *, forced: bool) -> float:
    """Largest violation of the optimality conditions; see `ad_pool.PoolAllocation`."""
    pool, terms, nu = split._pool, split._terms, split.multiplier
    total, broken, worst = ExactSum(), 0.0, 0.0
    for chunk in chunks:
        share, lo, hi = columns(chunk)
        s, a = terms(share, hi)
        payout = split.payout(chunk)
        total.add(payout)
        broken = max(
            broken, float(np.max(lo - payout, initial=0.0)), float(np.max(payout - hi, initial=0.0))
        )
        if forced:
            continue
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            gradient = np.where(a > 0, a / (payout / pool), 0.0) + terms.gain * s
            off = (gradient - nu) / np.maximum(np.maximum(gradient, nu), np.finfo(np.float64).tiny)
        off[(a > 0) & ((a < BARELY_A_NUMBER) | (payout < BARELY_A_NUMBER))] = 0.0
        off[(payout <= lo) & (off < 0)] = 0.0
        off[(payout >= hi) & (off > 0)] = 0.0
        worst = max(worst, float(np.max(np.abs(off), initial=0.0)))
    return max(max(abs(float(total.exact - Fraction(pool))), broken) / pool, worst)
