"""An ad pool that does not fit in memory: the same split as `solvers.ad_pool`, from sums over
chunks of its rows.

Belongs here: the search for the multiplier when a step may only look at one chunk after the other,
and what a row is paid once it is found. Does not: rules over groups, whole micros
(`solvers.apportion.chunks`), or where chunks come from.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Literal

import numpy as np
import numpy.typing as npt

from solvers.ad_pool.allocate import checked_pool
from solvers.arrays import Floats, Mask
from solvers.errors import InfeasibleError
from solvers.exact_sum import ExactSum

Objective = Literal["blend", "linear"]

_EPS = float(np.finfo(np.float64).eps)
_ROUNDING = 4 * _EPS
_BARELY_A_NUMBER = 1e-290
_MAX_STEPS, _MAX_REFERENCES = 500, 40


@dataclass(frozen=True, eq=False)
class PoolChunk:
    """Some rows of a pool: shares (n,), and bounds in money, one number or (n,) each."""

    share: npt.ArrayLike
    floor: npt.ArrayLike = 0.0
    cap: npt.ArrayLike = math.inf


@dataclass(frozen=True)
class PoolTerms:
    """What turns a row's share into the terms of the objective, a log y + b s y: the pool's own
    sums and the policy's knobs.
    """

    alpha: float
    lambda_fair: float
    lambda_eff: float
    objective: Objective
    largest: float
    shares: float
    weights: float

    @classmethod
    def of(
        cls,
        chunks: Iterable[PoolChunk],
        *,
        alpha: float,
        lambda_fair: float,
        lambda_eff: float,
        objective: Objective,
    ) -> tuple[PoolTerms, int]:
        """The terms of a pool, which takes two passes, and how many rows it has. Rows with cap 0
        leave before anything is normalised.
        """
        largest, rows = 0.0, 0
        for share, _, hi in map(columns, chunks):
            largest = max(largest, float(np.where(hi > 0, share, 0.0).max(initial=0.0)))
            rows += share.size
        shares, weights = ExactSum(), ExactSum()
        if largest > 0:
            for share, _, hi in map(columns, chunks):
                relative = np.where(hi > 0, share, 0.0) / largest
                shares.add(relative)
                if objective == "blend":
                    weights.add(relative**alpha)
        return (
            cls(alpha, lambda_fair, lambda_eff, objective, largest, float(shares), float(weights)),
            rows,
        )

    @property
    def gain(self) -> float:
        """b, the weight of the linear term."""
        return self.lambda_eff if self.objective == "linear" and self.largest > 0 else 0.0

    def __call__(self, share: Floats, hi: Floats) -> tuple[Floats, Floats]:
        """Normalised share s and weight a of the logarithm of each row."""
        if self.largest == 0:
            return np.zeros_like(share), np.zeros_like(share)
        relative = np.where(hi > 0, share, 0.0) / self.largest
        s = relative / self.shares
        if self.objective == "linear":
            return s, self.lambda_fair * s**self.alpha if self.lambda_fair > 0 else np.zeros_like(s)
        return s, (self.lambda_fair / self.weights) * relative**self.alpha + self.lambda_eff * s


@dataclass(frozen=True)
class _Clip:
    """p = clip(factor a / (d + b (reference - s)), lo, hi); the factor spreads over the free rows
    what rounding left.
    """

    d: float
    reference: float
    factor: float = 1.0

    def __call__(self, rows: _Rows, b: float) -> Floats:
        payout, free = self.plain(rows, b)
        payout[free] *= self.factor
        return np.clip(payout, rows.lo, rows.hi)

    def plain(self, rows: _Rows, b: float) -> tuple[Floats, Mask]:
        distance = self.d + b * (self.reference - rows.s)
        with np.errstate(divide="ignore", over="ignore"):
            wish = np.where(distance > 0, rows.a / np.maximum(distance, 0.0), math.inf)
        return np.clip(wish, rows.lo, rows.hi), (rows.lo < wish) & (wish < rows.hi)


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
    _clip: _Clip | None = None
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
                if self._clip is None:
                    payout[clipped] = rows.hi
            case "search":
                payout, clipped = lo.copy(), earns
                rows = _Rows(self._pool * a, s, lo, hi).where(clipped)
        if self._clip is not None:
            payout[clipped] = self._clip(rows, b)
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
    others : as in `solvers.ad_pool.allocate_pool`

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
    >>> found = allocate_chunks(100.0, chunks, lambda_eff=0.0)
    >>> [found.payout(chunk).round(2).tolist() for chunk in chunks]
    [[14.29, 28.57], [57.14]]
    """
    pool, floors, caps, rows = _checked(pool, chunks, alpha, lambda_fair, lambda_eff, objective)
    terms, _ = PoolTerms.of(
        chunks, alpha=alpha, lambda_fair=lambda_fair, lambda_eff=lambda_eff, objective=objective
    )
    if floors > pool * (1 + _ROUNDING):
        raise InfeasibleError(
            f"the floors add up to {float(floors)!r}, more than the pool of {pool!r}"
        )
    if caps < pool * (1 - _ROUNDING):
        raise InfeasibleError(f"the caps add up to {float(caps)!r}, less than the pool of {pool!r}")
    if pool == 0 or rows == 0:
        return ChunkedAllocation(0.0, 0.0, 3, rows, pool, terms, "nothing")
    counted = _Counted(chunks)

    def finished(
        multiplier: float,
        kind: Literal["floors", "caps", "left over", "program", "search"],
        **rule: object,
    ) -> ChunkedAllocation:
        found = ChunkedAllocation(multiplier, 0.0, 0, rows, pool, terms, kind, **rule)  # type: ignore[arg-type]
        residual = _residual(found, counted, forced=kind in ("floors", "caps"))
        return replace(found, residual=residual, passes=3 + counted.passes)

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
    if floors >= pool * (1 - _ROUNDING):
        return finished(b_share.largest_at_floor, "floors")
    if caps <= pool * (1 + _ROUNDING):
        return finished(
            0.0 if any_idle or math.isinf(b_share.least_at_cap) else b_share.least_at_cap, "caps"
        )

    # --- money that only rows without share can take
    left_over = -math.inf if with_share else float(Fraction(pool) - without.exact)
    if left_over >= -_ROUNDING * pool:
        if left_over <= 0 or not any_idle:
            return finished(0.0, "left over")

        def idle() -> Iterator[_Rows]:
            for share, lo, hi in counted.columns():
                s, a = terms(share, hi)
                yield _Rows(np.ones(share.size), np.ones(share.size), lo, hi).where(
                    (hi > 0) & (a <= 0) & (b * s <= 0)
                )

        return finished(0.0, "left over", _clip=_search(idle, 0.0, left_over))

    # --- the rows with share divide the rest
    room = float(Fraction(pool) - floors)

    def earning() -> Iterator[_Rows]:
        for share, lo, hi in counted.columns():
            s, a = terms(share, hi)
            yield _Rows(pool * a, s, lo, hi).where((a > 0) | (b * s > 0))

    if any_weight:
        clip = _search(earning, b, room)
        return finished(clip.d + b * clip.reference, "search", _clip=clip)
    level, equal = _program(earning, room)
    return finished(b * level, "program", _level=level, _clip=equal)


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
    """Largest marginal worth where everybody is at the floor, least where everybody is at the cap."""

    def __init__(self) -> None:
        self.largest_at_floor, self.least_at_cap = 0.0, math.inf

    def look(self, at_floor: Floats, at_cap: Floats) -> None:
        self.largest_at_floor = max(self.largest_at_floor, float(at_floor.max(initial=0.0)))
        self.least_at_cap = min(self.least_at_cap, float(at_cap.min(initial=math.inf)))


def columns(chunk: PoolChunk) -> tuple[Floats, Floats, Floats]:
    """Share, floor and cap of a chunk's rows."""
    share = np.asarray(chunk.share, dtype=np.float64)
    lo, hi = (
        np.broadcast_to(np.asarray(x, dtype=np.float64), share.shape)
        for x in (chunk.floor, chunk.cap)
    )
    return share, lo, hi


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


def _search(rows: _Source, b: float, room: float) -> _Clip:
    """p = clip(a / (nu - b s), lo, hi) with sum(p - lo) = room; needs a > 0 and 0 < room < sum(hi -
    lo). See `ad_pool._search`.
    """
    reference = max((float(r.s.max(initial=0.0)) for r in rows()), default=0.0)
    probes: list[float] = []
    for _ in range(_MAX_REFERENCES):
        d, least, largest = _bracketed_newton(rows, b, reference, room, probes)
        if d > 0 or b == 0:
            break
        settled, least, largest = (
            least == largest,
            least - 8 * _EPS * abs(least),
            largest + 8 * _EPS * abs(largest),
        )
        highest, any_unsettled = 0.0, False
        for r in rows():
            c = b * (reference - r.s)
            with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
                unsettled = (r.a / r.hi - c <= largest) & ~(r.a / r.lo - c < least)
            any_unsettled |= bool(unsettled.any())
            highest = max(highest, float(r.s[unsettled].max(initial=0.0)))
        shift = b * (reference - highest)
        if shift <= 0 or not any_unsettled or (settled and d + shift > 1e-3 * shift):
            break
        reference, probes = highest, [least + shift, largest + shift]

    # --- what rounding left is spread over the free rows in proportion
    clip = _Clip(d, reference)
    have, settled_gain, free_floor = ExactSum(), ExactSum(), ExactSum()
    for r in rows():
        payout, free = clip.plain(r, b)
        have.add(payout[free])
        settled_gain.add((payout - r.lo)[~free])
        free_floor.add(r.lo[free])
    want = Fraction(room) - settled_gain.exact + free_floor.exact
    difference = abs(float(want - have.exact))
    if have.exact > 0 and (difference <= 1e-9 * float(have) or difference > _ROUNDING * room):
        return _Clip(d, reference, float(want / have.exact))
    return clip


def _bracketed_newton(
    rows: _Source, b: float, reference: float, room: float, probes: list[float]
) -> tuple[float, float, float]:
    """The d with sum(clip(a / (d + c), lo, hi) - lo) = room, c = b (reference - s), and a bracket
    around it.

    As in `ad_pool._bracketed_newton`; where Newton does not bring the gap down by a factor of 4,
    the bracket is halved instead.
    """
    lowest, unlimited, nearest, weights = math.inf, -math.inf, math.inf, ExactSum()
    for r in rows():
        c, most = b * (reference - r.s), np.minimum(r.hi, r.lo + room)
        with np.errstate(divide="ignore", over="ignore"):
            leaves_cap = r.a / most - c
        lowest = min(lowest, float(leaves_cap.min(initial=math.inf)))
        unlimited = max(unlimited, float(leaves_cap[most < r.hi].max(initial=-math.inf)))
        nearest = min(nearest, float(c.min(initial=math.inf)))
        weights.add(r.a)
    left, right = max(lowest, unlimited), float(weights) / room - nearest
    probes = [left, *(x for x in probes if left < x < right)]
    d = probes.pop() if len(probes) > 1 else right
    best, newton, halvings, patience = math.inf, False, 0, 1

    for _ in range(_MAX_STEPS):
        at = _at(rows, b, reference, room, d, (left, right))
        gap = float(at.have - at.want)
        if abs(gap) <= _ROUNDING * room:
            break
        left, right, kinks = (d, right, at.kinks_above) if gap > 0 else (left, d, at.kinks_below)
        if newton and abs(gap) > best / 4:
            halvings = patience = 2 * patience
        best = min(best, abs(gap))
        step = (
            float(at.have / at.want * (Fraction(gap) / at.slope))
            if at.slope > 0 and at.want > 0
            else math.nan
        )
        if abs(step) <= _ROUNDING * abs(d):
            break
        following, newton = d + step, False
        if len(probes) > 1:
            following = probes.pop()
        elif following <= left == probes[0]:
            following, probes = left, [math.nan]
        elif kinks and (halvings > 0 or not left < following < right):
            following = _middle(left, right)
            halvings -= 1
        elif left < following < right:
            newton = True
        elif right <= 0:
            return d, left, right
        else:
            following = _middle(left, right)
        if not left <= following < right or following == d:
            break
        d = following
    else:
        raise ArithmeticError(
            f"the multiplier search did not settle in {_MAX_STEPS} steps: between {left!r} and"
            f" {right!r}"
        )
    return d, d, d


@dataclass(frozen=True)
class _At:
    """What free rows are paid at some d and ought to be, minus the slope of that, and the kinks
    between d and each end of the bracket.
    """

    have: Fraction
    want: Fraction
    slope: Fraction
    kinks_below: int
    kinks_above: int


def _at(
    rows: _Source, b: float, reference: float, room: float, d: float, bracket: tuple[float, float]
) -> _At:
    have, settled, free_floor, slope = ExactSum(), ExactSum(), ExactSum(), ExactSum()
    below = above = 0
    for r in rows():
        c, most = b * (reference - r.s), np.minimum(r.hi, r.lo + room)
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
            below += int(np.count_nonzero((bracket[0] < kink) & (kink < d)))
            above += int(np.count_nonzero((d < kink) & (kink < bracket[1])))
    return _At(
        have.exact, Fraction(room) - settled.exact + free_floor.exact, slope.exact, below, above
    )


def _middle(left: float, right: float) -> float:
    if left < 0:
        return 0.0 if right > 0 else left / 2 + right / 2
    return math.sqrt(left) * math.sqrt(right) if left > 0 else 1e-9 * right


def _program(rows: _Source, room: float) -> tuple[float, _Clip | None]:
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


def _residual(found: ChunkedAllocation, chunks: _Counted, *, forced: bool) -> float:
    """Largest violation of the optimality conditions; see `ad_pool.PoolAllocation`."""
    pool, terms, nu = found._pool, found._terms, found.multiplier
    total, broken, worst = ExactSum(), 0.0, 0.0
    for chunk in chunks:
        share, lo, hi = columns(chunk)
        s, a = terms(share, hi)
        payout = found.payout(chunk)
        total.add(payout)
        broken = max(
            broken, float(np.max(lo - payout, initial=0.0)), float(np.max(payout - hi, initial=0.0))
        )
        if forced:
            continue
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            gradient = np.where(a > 0, a / (payout / pool), 0.0) + terms.gain * s
            off = (gradient - nu) / np.maximum(np.maximum(gradient, nu), np.finfo(np.float64).tiny)
        off[(a > 0) & ((a < _BARELY_A_NUMBER) | (payout < _BARELY_A_NUMBER))] = 0.0
        off[(payout <= lo) & (off < 0)] = 0.0
        off[(payout >= hi) & (off > 0)] = 0.0
        worst = max(worst, float(np.max(np.abs(off), initial=0.0)))
    return max(max(abs(float(total.exact - Fraction(pool))), broken) / pool, worst)
