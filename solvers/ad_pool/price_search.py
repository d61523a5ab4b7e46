"""The search for the price at which a pool is used up: one algorithm, whoever holds the rows.

Belongs here: every decision of the search, and what a row is paid at the price found. Does not: how
sums over the rows come about. `allocate` has them in memory, `chunks` reads them a chunk at a time;
both are back ends of the two protocols below.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Protocol, TypeVar

import numpy as np

from solvers.ad_pool.problem import EPS, ROUNDING
from solvers.arrays import Floats, Mask

_MAX_STEPS, _MAX_REFERENCES = 500, 40

Number = float | Fraction


@dataclass(frozen=True)
class Price:
    """p = clip(factor a / (d + b (reference - s)), lo, hi); the factor spreads over the free rows
    what rounding left.
    """

    d: float
    reference: float
    factor: float = 1.0

    def multiplier(self, b: float) -> float:
        """nu, the worth of the last unit of the normalised pool."""
        return self.d + b * self.reference

    def paid(self, a: Floats, s: Floats, lo: Floats, hi: Floats, b: float) -> Floats:
        """(n,) money."""
        payout, free = self.plain(a, s, lo, hi, b)
        return self.spread(payout, free, lo, hi)

    def plain(self, a: Floats, s: Floats, lo: Floats, hi: Floats, b: float) -> tuple[Floats, Mask]:
        """(n,) money without the factor, and which rows are free, that is between their bounds."""
        distance = self.d + b * (self.reference - s)
        with np.errstate(divide="ignore", over="ignore"):
            wish = np.where(distance > 0, a / np.maximum(distance, 0.0), math.inf)
        return np.clip(wish, lo, hi), (lo < wish) & (wish < hi)

    def spread(self, payout: Floats, free: Mask, lo: Floats, hi: Floats) -> Floats:
        """What `plain` paid, with the factor."""
        if self.factor == 1:
            return payout
        payout[free] *= self.factor
        return np.clip(payout, lo, hi)


class Sums(Protocol):
    """What the rows are paid at some d, against what there is."""

    @property
    def gap(self) -> float:
        """Money paid too much."""

    def newton(self) -> float:
        """Newton's step on the reciprocal of what the free rows are paid; NaN where there is
        none.
        """


S = TypeVar("S", bound=Sums)


class Level(Protocol[S]):
    """The rows about one reference share, and the money `room` that they divide above their
    floors.
    """

    @property
    def room(self) -> float: ...

    def bracket(self) -> tuple[float, float]:
        """Two d between which the root lies."""

    def at(self, d: float, left: float, right: float) -> S:
        """Value and slope at d, which lies inside the bracket."""

    def narrow(self, left: float, right: float, sums: S) -> int:
        """The bracket is now this one, cut where `sums` were taken: how many kinks are left inside?
        Rows that it decides may leave.
        """

    def middle(self, left: float, right: float) -> float:
        """A d that leaves kinks, or the bracket, about halved."""


class Rows(Protocol[S]):
    """Rows that divide money: weights a > 0 of the logarithm or gain b > 0, shares s, bounds."""

    @property
    def room(self) -> float: ...

    @property
    def gain(self) -> float:
        """b."""

    def largest_share(self) -> float: ...

    def about(self, reference: float) -> Level[S]:
        """The same rows with prices counted from b * reference."""

    def unsettled(self, reference: float, least: float, largest: float) -> float | None:
        """The largest share of a row that no d in [least, largest] places at a bound; None where
        there is none.
        """

    def between_bounds(self, price: Price) -> tuple[Number, Number]:
        """What the free rows are paid, and what the others leave them."""


def search(rows: Rows[S]) -> Price:
    """The price with sum(p - lo) = room; needs a > 0 and 0 < room < sum(hi - lo).

    Works in d = nu - b s_ref: nu itself agrees with b s_ref in nearly all digits when b is large.
    The reference is the largest share. Where the caps hold that one down and d + b s_ref cancels,
    the search is run again about the largest share that the digits left cannot place at a bound.
    """
    b, reference = rows.gain, rows.largest_share()
    probes: list[float] = []
    for _ in range(_MAX_REFERENCES):
        d, least, largest = _root(rows.about(reference), probes)
        if d > 0 or b == 0:
            break
        settled, least, largest = (
            least == largest,
            least - 8 * EPS * abs(least),
            largest + 8 * EPS * abs(largest),
        )
        highest = rows.unsettled(reference, least, largest)
        if highest is None:
            break
        shift = b * (reference - highest)
        if shift <= 0 or (settled and d + shift > 1e-3 * shift):
            break
        reference, probes = highest, [least + shift, largest + shift]

    # --- what rounding left is spread over the free rows in proportion
    price = Price(d, reference)
    have, want = rows.between_bounds(price)
    difference = abs(float(want - have))
    if have > 0 and (difference <= 1e-9 * float(have) or difference > ROUNDING * rows.room):
        return replace(price, factor=float(want / have))
    return price


def _root(level: Level[S], probes: list[float]) -> tuple[float, float, float]:
    """The d with sum(clip(a / (d + c), lo, hi) - lo) = room, c = b (reference - s), and a bracket
    around it.

    The sum falls in d; its kinks are where a row leaves its cap and where it reaches its floor.
    Between kinks 1 / sum(a / (d + c)) is concave, so Newton's method on it never jumps over the
    root, and for c = 0 it is exact. Where Newton does not bring the gap down by a factor of 4,
    middles take over; the more often Newton fails, the more of them. `probes` are tried first, last
    one first.

    Below 0 the reference is capped and digits cancel: there, where Newton leaves a bracket without
    kinks, the bracket is the answer.
    """
    left, right = level.bracket()
    probes = [left, *(x for x in probes if left < x < right)]
    d = probes.pop() if len(probes) > 1 else right
    best, newton, middles, patience = math.inf, False, 0, 1
    for _ in range(_MAX_STEPS):
        sums = level.at(d, left, right)
        gap = sums.gap
        if abs(gap) <= ROUNDING * level.room:
            return d, d, d
        left, right = (d, right) if gap > 0 else (left, d)
        kinks = level.narrow(left, right, sums)
        if newton and abs(gap) > best / 4:
            middles = patience = 2 * patience
        best = min(best, abs(gap))
        step = sums.newton()
        if abs(step) <= ROUNDING * abs(d):
            return d, d, d

        # --- next point
        following, newton = d + step, False
        if len(probes) > 1:
            following = probes.pop()
        elif following <= left == probes[0]:
            following, probes = left, [math.nan]
        elif kinks and (middles > 0 or not left < following < right):
            following = level.middle(left, right)
            middles -= 1
        elif left < following < right:
            newton = True
        elif right <= 0:
            return d, left, right
        else:
            following = halfway(left, right)
        if not left <= following < right or following == d:
            return d, d, d
        d = following
    raise ArithmeticError(
        f"the multiplier search did not settle in {_MAX_STEPS} steps: between {left!r} and"
        f" {right!r}"
    )


def halfway(left: float, right: float) -> float:
    """The middle of a bracket: of the logarithms where it is above 0.

    >>> halfway(1.0, 16.0), halfway(-1.0, 16.0), halfway(-3.0, -1.0), halfway(0.0, 1.0)
    (4.0, 0.0, -2.0, 1e-09)
    """
    if left < 0:
        return 0.0 if right > 0 else left / 2 + right / 2
    return math.sqrt(left) * math.sqrt(right) if left > 0 else 1e-9 * right
