"""What one row of an ad pool would be paid if it had another share, everybody else unchanged: many
such questions at once.

Belongs here: a sketch of a pool's shares from which sums over all rows come, and the searches for
the multipliers of all questions together. Does not: the split itself (`solvers.ad_pool`), bounds
that differ from row to row, or rules over groups.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property

import numpy as np
import numpy.typing as npt

from solvers.ad_pool.inputs import Objective
from solvers.ad_pool.problem import ROUNDING, checked_pool
from solvers.arrays import Floats, Ints
from solvers.errors import InfeasibleError
from solvers.exact_sum import ExactSum

_SHIFT = 46
"""Bits of a double below its bin: sign, exponent and six bits of the mantissa are the bin, so a bin
is at most 1/64 wide.
"""
_BINS = 1 << (63 - _SHIFT)
_NODES = 8
_CLEAR = 21.0
"""Interpolation with 8 nodes is good to 1e-13 where a pole is this many times half a bin away, and
to 1e-17 for a power.
"""
_FEW = 1 << 12
_AT_ONCE = 1 << 21
_MAX_STEPS, _MAX_ROUNDS = 400, 40

_ANGLES = (2 * np.arange(_NODES) + 1) * np.pi / (2 * _NODES)
_PLACES = np.cos(_ANGLES)
_TO_WEIGHTS = 2 / _NODES * np.cos(np.outer(_ANGLES, np.arange(_NODES)))
_TO_WEIGHTS[:, 0] /= 2


class ShareSketch:
    """The shares of a pool as a few thousand weighted points: a sum over the points is the sum over
    all rows, to the last digits.

    Shares are sorted into bins less than 1/64 wide. A bin is kept as its Chebyshev moments, which
    come to weights of 8 points: sums of functions that are smooth across the bin are right to
    rounding. Where a function is not, the bin's own shares are read once (`open`) and take the
    place of the points.

    Parameters
    ----------
    chunks : (n,) arrays of shares, finite and at least 0; can be iterated over again and again

    Examples
    --------
    >>> shares = ShareSketch([np.array([1.0, 4.0]), np.array([16.0])])
    >>> shares.rows, float(shares.total), shares.points.without(4.0).power(0.5)
    (3, 21.0, 5.0)
    """

    def __init__(self, chunks: Iterable[Floats]) -> None:
        if iter(chunks) is chunks:
            raise ValueError(
                "chunks must be iterable again and again; this is an iterator, which ends after one"
                " pass"
            )
        self._chunks = chunks
        self._moments = np.zeros((_NODES, _BINS))
        self._open: dict[int, tuple[Floats, Floats]] = {}
        self.rows, self.zeros, self.largest, total = 0, 0, 0.0, ExactSum()
        for share in chunks:
            if not (np.isfinite(share) & (share >= 0)).all():
                row = int(np.argmin(np.isfinite(share) & (share >= 0)))
                raise ValueError(
                    f"share must be finite and at least 0: row {self.rows + row} is"
                    f" {float(share[row])!r}"
                )
            total.add(share)
            self.rows += share.size
            self.zeros += int(np.count_nonzero(share == 0))
            self.largest = max(self.largest, float(share.max(initial=0.0)))
            bins, polynomials = _polynomials(share)
            for order, polynomial in enumerate(polynomials):
                self._moments[order] += np.bincount(bins, weights=polynomial, minlength=_BINS)
        self.total: Fraction = total.exact
        used = np.flatnonzero(self._moments[0])
        self.open(
            used if self.rows <= _FEW else used[:1] if used.size and used[0] == 0 else used[:0]
        )

    def open(self, bins: Ints) -> None:
        """Read the shares of some bins, one pass over the chunks, and keep them as they are."""
        wanted = np.zeros(_BINS, dtype=np.bool_)
        wanted[[b for b in bins.tolist() if b not in self._open and self._moments[0, b]]] = True
        if not wanted.any():
            return
        by_chunk = [
            np.unique(share[wanted[_bin(share)]], return_counts=True) for share in self._chunks
        ]
        values, which = np.unique(np.concatenate([v for v, _ in by_chunk]), return_inverse=True)
        counts = np.bincount(which, weights=np.concatenate([c for _, c in by_chunk])).astype(
            np.float64
        )
        inside = _bin(values)
        for b in np.flatnonzero(wanted).tolist():
            part = slice(*np.searchsorted(inside, [b, b + 1]).tolist())
            self._open[b] = values[part], counts[part]
        self.__dict__.pop("points", None)

    @cached_property
    def points(self) -> _Points:
        """All shares, or what stands for them."""
        closed = np.array(
            [b for b in np.flatnonzero(self._moments[0]).tolist() if b not in self._open],
            dtype=np.int64,
        )
        middle, half = _middle(closed)
        values = [
            (middle[:, None] + half[:, None] * _PLACES).ravel(),
            *(v for v, _ in self._open.values()),
        ]
        weights = [
            (self._moments[:, closed].T @ _TO_WEIGHTS.T).ravel(),
            *(c for _, c in self._open.values()),
        ]
        return _Points(np.concatenate(values), np.concatenate(weights), closed)


@dataclass(frozen=True, eq=False)
class _Points:
    """Points and weights; `closed` are the bins that 8 points each stand for, which come first."""

    values: Floats
    weights: Floats
    closed: Ints

    def without(self, own: float) -> _Points:
        """The points of all rows above 0 but one with share `own`."""
        closed, weights, used = self.closed, self.weights.copy(), self.values > 0
        place, of_own = (
            int(np.searchsorted(closed, _bin(np.array([own]))[0])),
            int(_bin(np.array([own]))[0]),
        )
        if place < closed.size and closed[place] == of_own:
            at = slice(_NODES * place, _NODES * (place + 1))
            weights[at] -= _TO_WEIGHTS @ np.array([p[0] for p in _polynomials(np.array([own]))[1]])
            if weights[at].sum() < 0.5:
                used[at], closed = False, np.delete(closed, place)
        else:
            first = _NODES * closed.size
            here = first + np.flatnonzero((self.values[first:] == own) & (weights[first:] > 0))
            if not here.size:
                raise ValueError(f"no row has the share {own!r}")
            weights[here[0]] -= 1
            used[here[0]] &= weights[here[0]] > 0
        return _Points(self.values[used], weights[used], closed)

    def power(self, alpha: float) -> float:
        """The sum of share^alpha."""
        return math.fsum(self.weights * self.values**alpha)

    @property
    def ends(self) -> tuple[float, float, float]:
        """A share that no row is below, one that some row reaches, and one that no row exceeds."""
        middle, half = _middle(self.closed)
        alone = self.values[_NODES * self.closed.size :]
        low, high = middle - half, middle + half
        least, largest = (np.concatenate([alone, edge]) for edge in (low, high))
        return (
            float(least.min(initial=math.inf)),
            float(least.max(initial=0.0)),
            float(largest.max(initial=0.0)),
        )


def _bin(share: Floats) -> Ints:
    return (
        np.ascontiguousarray(share + 0.0).view(np.int64) >> _SHIFT
    )  # + 0.0: minus zero becomes zero


def _middle(bins: Ints) -> tuple[Floats, Floats]:
    """Middle of each bin, and half its width."""
    low, high = (np.ascontiguousarray(edge << _SHIFT).view(np.float64) for edge in (bins, bins + 1))
    return low + (high - low) / 2, (high - low) / 2


def _polynomials(share: Floats) -> tuple[Ints, list[Floats]]:
    """The bin of each share, and Chebyshev polynomials of its place in it."""
    bins = _bin(share)
    middle, half = _middle(bins)
    t = (share - middle) / half
    polynomials = [np.ones_like(t), t]
    while len(polynomials) < _NODES:
        polynomials.append(2 * t * polynomials[-1] - polynomials[-2])
    return bins, polynomials


def paid_at(
    pool: float,
    sketch: ShareSketch,
    own: float,
    shares: npt.ArrayLike,
    *,
    alpha: float = 0.5,
    lambda_fair: float = 0.5,
    lambda_eff: float = 0.5,
    objective: Objective = "blend",
    floor: float = 0.0,
    cap: float = math.inf,
) -> Floats:
    r"""What `solvers.ad_pool.allocate_pool` would pay the row with share `own` if that were each of
    `shares`, one after the other.

    .. math:: p_v = \text{clip}(a_v / (\nu - b s_v), lo, hi), \quad \sum_v p_v = P

    For each question the rows' terms :math:`a_v, b s_v` are the same function of the share, with
    other coefficients; so the sum is over the points of the sketch, and one Newton search finds all
    multipliers together. A bin in which a row leaves its floor or cap in any of the questions, or
    that the pole :math:`\nu = b s` is near to, is opened, and the search is run again.

    Parameters
    ----------
    pool : money to give out, any unit, at least 0
    sketch : the shares of all rows, the own one too
    own : the row's share now
    shares : (k,) other shares for it, finite and at least 0
    floor, cap : bounds of every row, in money
    alpha, lambda_fair, lambda_eff, objective : as in `solvers.ad_pool.allocate_pool`

    Returns
    -------
    (k,) money

    Raises
    ------
    InfeasibleError
        sum of floors above the pool, sum of caps below it, a floor above its cap
    ValueError
        anything else that is not a number of the kind asked for, or no row with the share `own`

    Source: the ad revenue document, section 3; docs/formulas.md section 2.

    Examples
    --------
    >>> sketch = ShareSketch([np.array([1.0, 4.0, 16.0])])
    >>> paid_at(100.0, sketch, 4.0, [4.0, 1.0], lambda_eff=0.0).round(2).tolist()
    [28.57, 16.67]
    """
    pool = checked_pool(pool, alpha, lambda_fair, lambda_eff, objective)
    x = np.asarray(shares, dtype=np.float64)
    if x.ndim != 1 or not (np.isfinite(x) & (x >= 0)).all():
        raise ValueError(f"shares must be (k,) finite numbers of at least 0, not {x!r}")
    n = sketch.rows
    if not 0 <= floor <= cap:
        raise InfeasibleError(f"the floor {floor!r} is negative or above its cap {cap!r}")
    if n * floor > pool * (1 + ROUNDING):
        raise InfeasibleError(f"the floors add up to {n * floor!r}, more than the pool of {pool!r}")
    if n * cap < pool * (1 - ROUNDING):
        raise InfeasibleError(f"the caps add up to {n * cap!r}, less than the pool of {pool!r}")
    if n * floor >= pool * (1 - ROUNDING) or n * cap <= pool * (1 + ROUNDING):
        return np.full(x.size, floor if n * floor >= pool * (1 - ROUNDING) else cap)

    # --- money that only rows without share can take
    idle = sketch.zeros - (own == 0) + (x == 0)
    left_over = (
        pool
        - np.where(idle < n, (n - idle) * cap if math.isfinite(cap) else math.inf, 0.0)
        - idle * floor
    )
    alone = (left_over >= -ROUNDING * pool) | (idle == n)
    with np.errstate(divide="ignore", invalid="ignore"):
        payout = np.where(
            x > 0, cap, np.clip(floor + np.maximum(left_over, 0.0) / idle, floor, cap)
        )
    payout[~alone & (x == 0)] = floor
    asked = ~alone & (x > 0)
    if not asked.any():
        return payout

    # --- the rows with share divide the rest
    total = float(sketch.total - Fraction(own)) + x[asked]
    if objective == "linear" and lambda_fair == 0:
        payout[asked] = _program(pool, sketch, own, x[asked], floor, cap)
        return payout
    weight = sketch.points.without(own).power(alpha) + x[asked] ** alpha
    fair = pool * lambda_fair * (total**-alpha if objective == "linear" else 1 / weight)
    shared = np.zeros_like(total) if objective == "linear" else pool * lambda_eff / total
    gain = lambda_eff / total if objective == "linear" else np.zeros_like(total)
    if objective == "blend" and floor == 0 and cap >= pool:
        payout[asked] = (fair * x[asked] ** alpha + shared * x[asked]) / (lambda_fair + lambda_eff)
        return payout
    payout[asked] = _solved(
        _Questions(pool, x[asked], alpha, fair, shared, gain, floor, cap, n, idle[asked]),
        sketch,
        own,
    )
    return payout


def _program(
    pool: float, sketch: ShareSketch, own: float, x: Floats, floor: float, cap: float
) -> Floats:
    """The linear program: the largest shares to their caps, the last level of equal shares as
    equally as its bounds allow.
    """
    sketch.open(np.unique(_bin(x)))
    others = sketch.points.without(own)
    room = pool - sketch.rows * floor
    takes = min(cap - floor, room)
    above = np.array([others.weights[others.values > v].sum() for v in x.tolist()]).round()
    equal = 1 + np.array([others.weights[others.values == v].sum() for v in x.tolist()])
    return np.asarray(floor + np.clip((room - above * takes) / equal, 0.0, takes))


@dataclass(frozen=True, eq=False)
class _Questions:
    """Pays p = clip((fair x^alpha + shared x) / (d + gain (reference - x)), floor, cap), one search
    a question.
    """

    pool: float
    x: Floats
    alpha: float
    fair: Floats
    shared: Floats
    gain: Floats
    floor: float
    cap: float
    rows: int
    idle: Ints

    def some(self, part: slice) -> _Questions:
        x, fair, shared, gain = (
            column[part] for column in (self.x, self.fair, self.shared, self.gain)
        )
        return replace(self, x=x, fair=fair, shared=shared, gain=gain, idle=self.idle[part])

    @property
    def room(self) -> float:
        return self.pool - self.rows * self.floor

    def terms(self, values: Floats) -> Floats:
        """(k, m) weights of the logarithm, in money."""
        return np.asarray(self.fair[:, None] * values**self.alpha + self.shared[:, None] * values)

    def wish(
        self, terms: Floats, values: Floats, d: Floats, reference: Floats
    ) -> tuple[Floats, Floats]:
        """(k, m) money without bounds, infinite at and behind the pole, and the distance from
        it.
        """
        distance = d[:, None] + self.gain[:, None] * (reference[:, None] - values)
        with np.errstate(divide="ignore", over="ignore"):
            return np.where(distance > 0, terms / np.maximum(distance, 0.0), math.inf), distance

    def leaves(self, most: float, value: Floats, reference: Floats) -> Floats:
        """The d at which a row with that share is paid `most`."""
        return np.asarray(
            (self.fair * value**self.alpha + self.shared * value) / most
            - self.gain * (reference - value)
        )


def _solved(questions: _Questions, sketch: ShareSketch, own: float) -> Floats:
    """Answers of all questions, after opening every bin that is not smooth for one of them."""
    for _ in range(_MAX_ROUNDS):
        others = sketch.points.without(own)
        step = max(1, _AT_ONCE // (others.values.size + 1))
        parts = [
            questions.some(slice(start, start + step)) for start in range(0, questions.x.size, step)
        ]
        answers = [_search(part, others) for part in parts]
        cut = np.unique(
            np.concatenate(
                [
                    _not_smooth(part, others.closed, a)
                    for part, a in zip(parts, answers, strict=True)
                ]
            )
        )
        if not cut.size:
            return np.concatenate([a.payout for a in answers])
        sketch.open(np.unique(np.concatenate([cut - 1, cut, cut + 1])))
    raise ArithmeticError(
        f"bins of shares that are not smooth did not settle in {_MAX_ROUNDS} rounds"
    )


@dataclass(frozen=True, eq=False)
class _Answers:
    payout: Floats
    d: Floats
    reference: Floats


def _not_smooth(q: _Questions, bins: Ints, answers: _Answers) -> Ints:
    """The bins in which a row leaves its floor or its cap, or that the pole is too near to."""
    middle, half = _middle(bins)
    low, high = middle - half, middle + half
    below, _ = q.wish(q.terms(low), low, answers.d, answers.reference)
    above, distance = q.wish(q.terms(high), high, answers.d, answers.reference)
    kinked = ((below < q.floor) & (above > q.floor)) | ((below < q.cap) & (above > q.cap))
    near = (above > q.floor) & (below < q.cap) & (distance < _CLEAR * q.gain[:, None] * half)
    return bins[(kinked | near).any(axis=0)]


def _search(q: _Questions, others: _Points) -> _Answers:
    """Newton's method on the reciprocal of what the free rows are paid, bracketed, for every
    question; see `price_search.search`.

    d is measured from the largest share. Where the caps hold that one down so far that digits
    cancel, the search is run again from the largest share that is not at its cap.
    """
    least, reached, largest = others.ends
    ends = (np.minimum(least, q.x), np.maximum(reached, q.x), np.maximum(largest, q.x))
    rows = _Rows(q, others, q.terms(others.values), q.terms(q.x[:, None]))
    reference, start = ends[2], np.full(q.x.size, math.nan)
    for _ in range(_MAX_ROUNDS):
        d, payout = _newton(rows, reference, ends, start)
        wish, mine, _, _ = rows.wish(d, reference)
        free = np.maximum(
            np.where(wish < q.cap, others.values, 0.0).max(axis=1, initial=0.0),
            np.where(mine < q.cap, q.x, 0.0),
        )
        following = np.where((d < 0) & (free > 0) & (free < reference), free, reference)
        if (following == reference).all():
            break
        start, reference = d - q.gain * (following - reference), following
    return _Answers(payout, d, reference)


@dataclass(frozen=True, eq=False)
class _Rows:
    """The rows of some questions: the others' points, and the own row of each."""

    q: _Questions
    others: _Points
    terms: Floats
    own_terms: Floats

    def wish(self, d: Floats, reference: Floats) -> tuple[Floats, Floats, Floats, Floats]:
        """Money without bounds of the others (k, m) and the own row (k,), and the distances from
        the pole.
        """
        theirs, distances = self.q.wish(self.terms, self.others.values, d, reference)
        mine, distance = self.q.wish(self.own_terms, self.q.x[:, None], d, reference)
        return theirs, mine[:, 0], distances, distance[:, 0]


def _newton(
    rows: _Rows, reference: Floats, ends: tuple[Floats, Floats, Floats], start: Floats
) -> tuple[Floats, Floats]:
    """The d of every question, and what its row is paid."""
    q, others, (least, reached, largest) = rows.q, rows.others, ends
    most = min(q.cap, q.floor + q.room)
    left = q.leaves(most, reached if most < q.cap else least, reference)
    everything = q.fair * (others.power(q.alpha) + q.x**q.alpha) + q.shared * (
        others.power(1.0) + q.x
    )
    right = everything / q.room + q.gain * (largest - reference)
    d = np.where((left < start) & (start < right), start, right)
    best, done = np.full(d.size, math.inf), np.zeros(d.size, dtype=np.bool_)
    payout = np.zeros(d.size)
    for _ in range(_MAX_STEPS):
        wish, mine, distance, my_distance = rows.wish(d, reference)
        free, i_am = (q.floor < wish) & (wish < q.cap), (q.floor < mine) & (mine < q.cap)
        paid = np.where(free, wish, 0.0)
        settled = np.where(free, 0.0, np.clip(wish, q.floor, most)) @ others.weights + np.where(
            i_am, 0.0, np.clip(mine, q.floor, most)
        )
        have = paid @ others.weights + np.where(i_am, mine, 0.0)
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            slope = np.where(free, paid / distance, 0.0) @ others.weights + np.where(
                i_am, mine / my_distance, 0.0
            )
            want = q.pool - q.idle * q.floor - settled
            gap = have - want
            step = have / want * (gap / slope)
            factor = np.where(
                (have > 0) & (want > 0) & (np.abs(gap) <= 1e-9 * have), want / have, 1.0
            )
        payout = np.where(
            i_am, np.clip(mine * factor, q.floor, q.cap), np.clip(mine, q.floor, q.cap)
        )

        # --- next point
        left, right = np.where(gap > 0, d, left), np.where(gap > 0, right, d)
        done |= (np.abs(gap) <= 4 * ROUNDING * q.pool) | (np.abs(step) <= 4 * ROUNDING * np.abs(d))
        with np.errstate(invalid="ignore"):
            halved = np.where(
                left > 0, np.sqrt(np.abs(left)) * np.sqrt(np.abs(right)), left / 2 + right / 2
            )
        stalled = np.abs(gap) > best / 4
        best = np.minimum(best, np.abs(gap))
        newton = np.isfinite(step) & (left < d + step) & (d + step < right) & ~stalled
        best = np.where(stalled, math.inf, best)
        following = np.where(newton, d + step, halved)
        done |= (following <= left) | (following >= right)
        if done.all():
            return d, payout
        d = np.where(done, d, following)
    raise ArithmeticError(
        f"the multiplier search did not settle in {_MAX_STEPS} steps: between {left.tolist()} and"
        f" {right.tolist()}"
    )
