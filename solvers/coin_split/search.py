"""The search over totals: branch and bound on how much is paid out in all, until no other total can
be better.

Belongs here: which total is solved next, the bound between two solved ones, and the proof that ends
the search. Does not: the split with one total (`solvers.coin_split.total`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from solvers.arrays import Floats
from solvers.coin_split.total import (
    EPS,
    ROUNDING,
    Rows,
    Solved,
    free,
    pay_at,
    respond,
    solve,
    worth,
)

_LEAST_TOTAL, _LEAST_PAY = 1e-12, 1e-13
"""Totals below these parts of what the videos with the largest efficiency share can get, and of
epsilon, are not searched: the upper bound covers them.
"""
_GAP = 1e-10
"""Where the search stops, as a part of the most that the objective can vary."""
_MAX_SOLVES, _MAX_POLISH = 400, 12


@dataclass(frozen=True, eq=False)
class _Interval:
    """Totals between two solved ones, or between 0 and one, and a bound on what they are worth.

    `peak` is the total at which the bound is reached, `refined` whether the videos were looked at
    for it, `slow` how often in a row a cut left more than half.
    """

    below: Solved | None
    above: Solved
    bound: float
    peak: float
    refined: bool
    slow: int

    @property
    def width(self) -> float:
        return math.inf if self.below is None else math.log(self.above.total / self.below.total)


@dataclass(frozen=True, eq=False)
class Peak:
    best: Solved
    q: Floats
    upper_bound: float
    span: float
    local_maxima: tuple[tuple[float, float], ...]
    solves: int


def search(rows: Rows, lambda_eff: float, largest: float) -> Peak:
    """Best-first branch and bound over the total; values leave out the constant lambda_eff
    max(s).
    """
    unequal = lambda_eff * float(rows.deficit[rows.y_hi > 0].max(initial=0.0))
    span = unequal + float(rows.weight @ np.log(rows.q_lo / rows.q_hi)) + float(rows.gap_1.sum())
    if largest <= 0:
        nothing = Solved(0.0, 0.0, 0.0, 0.0, -math.inf, 0.0, (0.0, 0.0, 0.0))
        return Peak(nothing, rows.q_lo, -math.inf, span, (), 0)
    leaders = float(rows.y_hi[rows.deficit == 0].sum())
    least = (
        max(_LEAST_TOTAL * min(largest, leaders), _LEAST_PAY * rows.epsilon)
        if lambda_eff * rows.top_share > 0
        else 0.0
    )
    least = max(rows.least, min(least, largest))

    # --- efficiency shares that do not differ: concave in the total, which is what the videos want
    # at the price 0
    if unequal == 0:
        wanted = _wanted(rows, 0.0, 0.0)
        best, q = solve(rows, min(max(wanted, least), largest), 0.0, 0.0)
        below = (
            max(-best.slope_right, 0.0) * (best.total - rows.least)
            if best.total == least > rows.least
            else 0.0
        )
        return Peak(best, q, best.value + below, span, (), 1)

    # --- the ends
    mean = float(rows.weight @ rows.deficit) / float(rows.weight.sum())
    guess = (
        float(rows.weight.sum()) / (largest + rows.size * rows.epsilon)
        - lambda_eff / largest * mean
    )
    best, q = solve(rows, largest, lambda_eff, guess)
    solved, start = [best], None
    if least == rows.least < largest:
        start, q_start = solve(rows, rows.least, lambda_eff, 0.0)
        solved.append(start)
        if start.value > best.value:
            best, q = start, q_start
    open_ = [_bounded(start, solved[0])] if rows.least < largest else []

    # --- always the interval with the largest bound: first a better bound, then a cut
    tolerance, bound = _GAP * span, -math.inf
    while open_:
        top = max(open_, key=lambda x: x.bound)
        if top.bound <= max(best.value + tolerance, bound) or len(solved) >= _MAX_SOLVES:
            bound = max(bound, top.bound)
            break
        open_.remove(top)
        if not top.refined:
            open_.append(_refined(rows, top))
            continue
        cut = _cut(rows, top, lambda_eff, (least, leaders), tolerance)
        if cut is None:
            bound = max(bound, top.bound)
            continue
        new, q_new = solve(rows, cut, lambda_eff, *_between(rows, top, lambda_eff / cut))
        if not (0.0 if top.below is None else top.below.total) < new.total < top.above.total:
            bound = max(bound, top.bound)  # no total in between can be told from the ends
            continue
        solved.append(new)
        if new.value > best.value:
            best, q = new, q_new
        parts = (_bounded(top.below, new), _bounded(new, top.above))
        open_ += [
            replace(x, slow=top.slow + 1 if 0.5 * top.width < x.width < math.inf else 0)
            for x in parts
        ]

    rough, solves = best, len(solved)
    best, q, more = _polished(rows, best, q, lambda_eff, least, largest, 1e-14 * span)
    others = [x for x in solved if x is not rough]
    local_maxima = _local_maxima(best, others, least, largest)
    return Peak(best, q, max(bound, best.value), span, local_maxima, solves + more)


def _local_maxima(
    best: Solved, others: list[Solved], least: float, largest: float
) -> tuple[tuple[float, float], ...]:
    """(total, value) of those that are worth more than both neighbours, best first."""
    solved = sorted([best, *others], key=lambda x: x.total)
    values = [-math.inf, *(x.value for x in solved), -math.inf]
    maxima = [
        x
        for i, x in enumerate(solved)
        if x is not best and (values[i] < x.value > values[i + 2] or _uphill_end(x, least, largest))
    ]
    return tuple((x.total, x.value) for x in sorted(maxima, key=lambda x: -x.value))


def _uphill_end(x: Solved, least: float, largest: float) -> bool:
    return (x.total >= largest and x.slope_left > 0) or (x.total <= least and x.slope_right < 0)


def _bounded(below: Solved | None, above: Solved) -> _Interval:
    """The interval with the bound that the two ends give, see the notes of `split_platform`."""
    m, at = above.m_left, above.total
    if below is None:
        return _Interval(
            None, above, *((above.value - m * at, 0.0) if m < 0 else (above.value, at)), True, 0
        )
    ray = (above.value + m * (below.total - at), below.total) if m < 0 else (above.value, at)
    chord = _highest(
        above.total, below.total, above.value, below.value, above.m_left, below.m_right, 0.0
    )
    return _Interval(below, above, *min(ray, chord), False, 0)


def _refined(rows: Rows, interval: _Interval) -> _Interval:
    """The same with what the videos tell: how far D bends below its chord, and a second line, on
    which D hardly bends.

    That line starts at the better end. The bend of a line, divided by x (1 - x), is at least that
    of the videos that are inside the same edge at both of its ends.
    """
    below, above = interval.below, interval.above
    assert below is not None
    high, low = (above.t, above.m_left), (below.t, below.m_right)
    from_low = below.value > above.value
    step = low[0] - high[0]
    third = (
        (high[0], low[1] + below.center * step)
        if from_low
        else (low[0], high[1] - above.center * step)
    )
    bend = bend_third = d_third = 0.0
    for _, some in rows.chunks:
        at_high, at_low, at_third = respond(some, *high), respond(some, *low), respond(some, *third)
        bend += _bend(some, at_high, at_low, step, low[1] - high[1])
        start, (t, m) = (at_low, low) if from_low else (at_high, high)
        bend_third += _bend(some, at_third, start, t - third[0], m - third[1])
        y = pay_at(some, at_third)
        d_third += worth(some, y) - third[0] * float(some.deficit @ y) - third[1] * float(y.sum())
    chord = _highest(above.total, below.total, above.value, below.value, high[1], low[1], bend)
    if from_low:
        line = _highest(
            above.total,
            below.total,
            d_third + third[1] * above.total,
            below.value,
            third[1],
            low[1],
            bend_third,
        )
    else:
        line = _highest(
            above.total,
            below.total,
            above.value,
            d_third + third[1] * below.total,
            high[1],
            third[1],
            bend_third,
        )
    bound, peak = min((interval.bound, interval.peak), chord, line)
    return replace(interval, bound=bound, peak=peak, refined=True)


def _bend(rows: Rows, q: Floats, other: Floats, t_step: float, m_step: float) -> float:
    """Least curvature along a line of the videos that are inside the same edge at both of its ends,
    where they answer q and other.
    """
    same = free(rows, q)
    same &= free(rows, other)
    same &= (q > rows.q_1) == (other > rows.q_1)
    same &= (q > rows.q_2) == (other > rows.q_2)
    step = t_step * rows.deficit
    step += m_step
    step /= np.maximum(q, other)
    step *= step
    step *= same
    return 0.5 * float(step @ rows.weight)


def _highest(
    t_above: float,
    t_below: float,
    v_above: float,
    v_below: float,
    m_above: float,
    m_below: float,
    bend: float,
) -> tuple[float, float]:
    """The largest value, and its total, of the chord of D less `bend` x (1 - x), plus m T.

    With x in [0, 1] the place of t between the ends and r the ratio of the totals less 1, that is
    (1 - x) V_above + x V_below + x (1 - x) (bump / (1 + r x) - bend), bump = r (m_below T_below -
    m_above T_above).
    """
    r = t_above / t_below - 1
    bump = r * (m_below * t_below - m_above * t_above)
    rise = v_below - v_above
    plain, bent = [0.0, 1.0], [0.0, 1.0]
    p, q = bump - bend, bump * r / (1 + r)
    if bump > 0:
        plain += _roots(r * (r * rise - bump), 2 * (r * rise - bump), rise + bump)
        bent += _roots(3 * q, -2 * (p + q), rise + p)
    value, x = min(
        max((v_above + x * rise + x * (1 - x) * max(bump, 0.0) / (1 + r * x), x) for x in plain),
        (
            max((v_above + x * rise + x * (1 - x) * (p - q * x), x) for x in bent)
            if bump > 0
            else (math.inf, 0.0)
        ),
    )
    return value, t_above / (1 + r * x)


def _roots(a: float, b: float, c: float) -> list[float]:
    """Roots of a x^2 + b x + c strictly between 0 and 1."""
    root = b * b - 4 * a * c
    if root < 0:
        return []
    half = -0.5 * (b + math.copysign(math.sqrt(root), b))
    return [x for x in (half / a if a else math.nan, c / half if half else math.nan) if 0 < x < 1]


def _between(rows: Rows, interval: _Interval, t: float) -> tuple[float, tuple[float, float]]:
    """A first guess of the multiplier, on the line between the ends, and two numbers that it lies
    between.

    Where the multiplier is so low that no price is above those of the larger total, more is paid
    than that; and the other way round.
    """
    below, above = interval.below, interval.above
    if below is None:
        return above.m_left, (-math.inf, math.inf)
    guess = above.m_left + (below.m_right - above.m_left) * (t - above.t) / (below.t - above.t)
    return guess, (
        above.m_left - (t - above.t) * rows.deficit_size,
        below.m_right + (below.t - t) * rows.deficit_size,
    )


def _cut(
    rows: Rows,
    interval: _Interval,
    lambda_eff: float,
    smallest: tuple[float, float],
    tolerance: float,
) -> float | None:
    """Where to solve next: at a maximum if there must be one inside, else where the bound is
    reached, not too near the ends.
    """
    (least, leaders), below, above = smallest, interval.below, interval.above
    if below is None:
        if above.total <= least:
            return None
        return leaders if least < leaders < 0.5 * above.total else max(least, above.total / 8)
    if interval.width < 8 * EPS:
        return None
    distance = above.total - below.total
    if interval.slow < 3 and min(below.slope_right, -above.slope_left) * distance > 0.1 * tolerance:
        total = _stationary(rows, max(below, above, key=lambda x: x.value), lambda_eff)
        if below.total < total < above.total:
            return total
    place = math.log(interval.peak / below.total) / interval.width
    if interval.slow >= 3:
        place = 0.5
    elif not 0.02 < place < 0.98:
        place = 0.25 if below.value > above.value else 0.75
    total = below.total * math.exp(min(max(place, 0.2), 0.8) * interval.width)
    return total if below.total < total < above.total else None


def _stationary(rows: Rows, near: Solved, lambda_eff: float) -> float:
    """A step towards the total where the value has slope 0: Newton's, then what the videos want at
    the price found there.

    The second half lands exactly on a maximum where every video is at a corner.
    """
    s_0, s_1, s_2 = near.spread
    total, t, deficit = near.total, near.t, near.deficit
    if s_0 > 0:
        m_slope = (t / total * s_1 - 1) / s_0
        deficit_slope = t / total * s_2 - m_slope * s_1
        bend = m_slope + t / total * (deficit_slope - 2 * deficit / total)
        if bend < 0:
            step = min(max(-near.slope_left / bend, -0.9 * total), 9 * total)
            total, deficit = total + step, deficit + deficit_slope * step
    t = lambda_eff / total
    m = -t * deficit / total
    return _wanted(rows, t, m)


def _wanted(rows: Rows, t: float, m: float) -> float:
    """What all videos together ask for at the price m + t deficit of a coin."""
    return sum(float(pay_at(some, respond(some, t, m)).sum()) for _, some in rows.chunks)


def _polished(
    rows: Rows,
    best: Solved,
    q: Floats,
    lambda_eff: float,
    least: float,
    largest: float,
    tolerance: float,
) -> tuple[Solved, Floats, int]:
    """The maximum found, to the last digits of its total: there the value is flat, its slope is
    not.
    """
    for solves in range(_MAX_POLISH):
        uphill = best.slope_right if best.slope_right > 0 else min(best.slope_left, 0.0)
        if (
            uphill == 0
            or (uphill > 0 and best.total >= largest)
            or (uphill < 0 and best.total <= least)
        ):
            return best, q, solves
        total = min(max(_stationary(rows, best, lambda_eff), least), largest)
        if abs(total - best.total) <= ROUNDING * total:
            return best, q, solves
        new, q_new = solve(rows, total, lambda_eff, best.m_left if uphill < 0 else best.m_right)
        if new.value < best.value - tolerance or (
            max(abs(new.slope_right), abs(new.slope_left)) > 0.5 * abs(uphill)
            and not new.slope_left >= 0 >= new.slope_right
        ):
            return best, q, solves + 1
        best, q = new, q_new
    return best, q, _MAX_POLISH
