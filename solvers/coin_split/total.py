"""The split of all coins with one given total: every video in closed form, one multiplier.

Belongs here: the videos as the search over totals sees them, their answer to a price, and the price
at which their pay adds up. Does not: which total is best (`solvers.coin_split.search`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

import numpy as np

from solvers.arrays import Floats, Mask
from solvers.coin_split.gap_chain import GapChain, gap_chain
from solvers.errors import InfeasibleError

EPS = float(np.finfo(np.float64).eps)
ROUNDING = 4 * EPS
_NO_WEIGHT = 1e-200
"""Stand-in for a utility weight of 0: such a video takes all where its price is not above 0, else
nothing.
"""
ROWS_AT_ONCE = 10_000
"""Rows handled together: enough to keep numpy busy, few enough that the temporaries stay in the
processor's cache, and with the C library, which hands larger ones back to the system after every
operation.
"""
_MAX_PASSES = 400


@dataclass(frozen=True, eq=False)
class Rows:
    """The videos as the search sees them: pay y between y_lo and y_hi, with edges of the chain that
    meet at y_1 and y_2.

    The first edge is worth `rise` per coin, the second nothing, the third costs `fall`; the gap
    itself, times its weight, is the smallest of gap_0 + rise y, gap_1 and gap_2 - fall y. `deficit`
    is the largest efficiency share less one's own. q_lo >= q_1 >= q_2 >= q_hi is what the logarithm
    alone makes of the next coin at those four.
    """

    weight: Floats
    deficit: Floats
    rise: Floats
    fall: Floats
    y_lo: Floats
    y_1: Floats
    y_2: Floats
    y_hi: Floats
    q_lo: Floats
    q_1: Floats
    q_2: Floats
    q_hi: Floats
    gap_0: Floats
    gap_1: Floats
    gap_2: Floats
    least: float
    most: float
    epsilon: float
    top_share: float
    price_size: float
    deficit_size: float

    @property
    def size(self) -> int:
        return self.weight.size

    def only(self, part: slice | Mask) -> Rows:
        columns: dict[str, Any] = {
            name: values[part]
            for name, values in vars(self).items()
            if isinstance(values, np.ndarray)
        }
        return replace(self, **columns)

    @cached_property
    def chunks(self) -> tuple[tuple[slice, Rows], ...]:
        """The rows in pieces that fit the processor's cache, and where each belongs."""
        parts = [
            slice(start, start + ROWS_AT_ONCE)
            for start in range(0, max(self.size, 1), ROWS_AT_ONCE)
        ]
        return (
            tuple((part, self.only(part)) for part in parts)
            if len(parts) > 1
            else ((parts[0], self),)
        )


def chain_of(v: dict[str, Floats]) -> GapChain:
    return gap_chain(
        v["normal"],
        v["premium"],
        **{name: v[name] for name in ("normal_max", "premium_max", "min_gap", "max_gap")},
    )


def rows_of(per_video: dict[str, Floats], epsilon: float) -> Rows:
    """The arguments of `split_platform` as rows; raises InfeasibleError where the bounds of a video
    contradict each other.
    """
    n = per_video["normal"].size
    columns = {field.name: np.empty(n) for field in fields(Rows) if field.type == "Floats"}
    for start in range(0, max(n, 1), ROWS_AT_ONCE):
        part = slice(start, start + ROWS_AT_ONCE)
        v = {name: column[part] for name, column in per_video.items()}
        chain, c = chain_of(v), v["incentive_weight"]

        # --- bounds on the pay, refused where they contradict each other
        lo, hi = (
            np.maximum(chain.pay_least, v["payout_min"]),
            np.minimum(chain.pay_third, v["payout_max"]),
        )
        wrong = v["min_gap"] > chain.first
        if wrong.any():
            row = int(np.argmax(wrong))
            raise InfeasibleError(
                f"min_gap of row {start + row}, {float(v['min_gap'][row])!r}, is above max_gap"
                f" {float(v['max_gap'][row])!r} or premium_max {float(v['premium_max'][row])!r}",
                row=start + row,
            )
        wrong = lo > hi + ROUNDING * (v["normal"] + v["premium"])
        if wrong.any():
            row = int(np.argmax(wrong))
            raise InfeasibleError(
                f"row {start + row} must be paid at least {float(lo[row])!r} and at most"
                f" {float(hi[row])!r}: its shares allow {float(chain.pay_least[row])!r} to"
                f" {float(chain.pay_third[row])!r}, payout_min and payout_max"
                f" {float(v['payout_min'][row])!r} to {float(v['payout_max'][row])!r}",
                row=start + row,
            )
        lo = np.minimum(lo, hi)

        # --- the three edges; without incentive there is one, and without coins of a kind that kind
        # has none
        has_n, has_p, cares = v["normal"] > 0, v["premium"] > 0, c > 0
        rise, fall = (
            np.where(has_p & cares, c / v["premium"], 0.0),
            np.where(has_n & cares, c / v["normal"], 0.0),
        )
        weight, top = np.maximum(v["utility_weight"], _NO_WEIGHT), chain.premium_top
        y_1, y_2 = (
            np.where(cares, np.clip(y, lo, hi), lo) for y in (chain.pay_first, chain.pay_second)
        )
        for name, values in {
            "weight": weight,
            "deficit": v["efficiency_share"],
            "rise": rise,
            "fall": fall,
            "y_lo": lo,
            "y_1": y_1,
            "y_2": y_2,
            "y_hi": hi,
            "q_lo": weight / (lo + epsilon),
            "q_1": weight / (y_1 + epsilon),
            "q_2": weight / (y_2 + epsilon),
            "q_hi": weight / (hi + epsilon),
            "gap_0": np.where(has_p, 0.0, c * chain.first),
            "gap_1": c * chain.first,
            "gap_2": np.where(has_n, c * top + fall * top * v["premium"], c * chain.first),
        }.items():
            columns[name][part] = values
    top_share = float(columns["deficit"][columns["y_hi"] > 0].max(initial=0.0))
    columns["deficit"] = np.maximum(top_share - columns["deficit"], 0.0)
    return Rows(
        **columns,
        least=float(columns["y_lo"].sum()),
        most=float(columns["y_hi"].sum()),
        epsilon=epsilon,
        top_share=top_share,
        price_size=float((columns["q_lo"] + columns["rise"] + columns["fall"]).max(initial=0.0)),
        deficit_size=float(columns["deficit"].max(initial=0.0)),
    )


# --------------------------------------------------------------------------------------------------


def respond(rows: Rows, t: float, m: float, out: Floats | None = None) -> Floats:
    """Every video's answer to the price m + t deficit of a coin, as what its logarithm is then
    worth per coin: q = b / (epsilon + y).

    On the edges q is the price less `rise`, the price, and the price plus `fall`; at a corner it is
    the corner's q, exactly.
    """
    price = rows.deficit * t
    price += m
    q = np.add(price, rows.fall, out=out)
    np.minimum(q, rows.q_2, out=q)
    np.maximum(q, price, out=q)
    np.minimum(q, rows.q_1, out=q)
    price -= rows.rise
    np.maximum(q, price, out=q)
    np.maximum(q, rows.q_hi, out=q)
    return np.minimum(q, rows.q_lo, out=q)


def pay_at(rows: Rows, q: Floats) -> Floats:
    """The pay that q stands for: corners exactly, everything else less epsilon."""
    y = rows.weight / q
    y -= rows.epsilon
    np.putmask(y, q == rows.q_2, rows.y_2)
    np.putmask(y, q == rows.q_1, rows.y_1)
    np.putmask(y, q <= rows.q_hi, rows.y_hi)
    np.putmask(y, q >= rows.q_lo, rows.y_lo)
    np.maximum(y, rows.y_lo, out=y)
    return np.minimum(y, rows.y_hi, out=y)


def free(rows: Rows, q: Floats) -> Mask:
    """Which videos are inside an edge, so that a small change of the price changes their pay."""
    inside: Mask = q < rows.q_lo
    inside &= q > rows.q_hi
    inside &= q != rows.q_1
    inside &= q != rows.q_2
    return inside


def worth(rows: Rows, y: Floats) -> float:
    """Value of the pay y without what it does to the ratio: logarithms and gaps."""
    gain = rows.fall * y
    np.subtract(rows.gap_2, gain, out=gain)
    np.minimum(gain, rows.gap_1, out=gain)
    other = rows.rise * y
    other += rows.gap_0
    np.minimum(gain, other, out=gain)
    np.add(y, rows.epsilon, out=other)
    np.log(other, out=other)
    other *= rows.weight
    gain += other
    return float(gain.sum())


def slopes(rows: Rows, q: Floats) -> tuple[Floats, Floats]:
    """What the last coin of every video was worth to the concave part of the objective, and what
    the next one would be.
    """
    last = q + np.where(q >= rows.q_1, rows.rise, np.where(q >= rows.q_2, 0.0, -rows.fall))
    following = q + np.where(q > rows.q_1, rows.rise, np.where(q > rows.q_2, 0.0, -rows.fall))
    return np.where(q < rows.q_lo, last, math.inf), np.where(q > rows.q_hi, following, -math.inf)


def _price_range(rows: Rows, q: Floats, t: float) -> tuple[float, float]:
    """The multipliers at which q is every video's best response."""
    least, largest = -math.inf, math.inf
    for part, some in rows.chunks:
        last, following = slopes(some, q[part])
        shift = t * some.deficit
        largest = min(largest, float((last - shift).min(initial=math.inf)))
        least = max(least, float((following - shift).max(initial=-math.inf)))
    return least, largest


# --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Solved:
    """The best split with one total.

    `value` leaves out the constant lambda_eff max(s), `deficit` is the sum of deficit times pay.
    The multiplier of the total is unique unless every video is at a corner; `m_left` is the
    largest, `m_right` the least. `spread` is the sum of (1, deficit, deficit^2) times the response
    to the price.
    """

    total: float
    t: float
    m_left: float
    m_right: float
    value: float
    deficit: float
    spread: tuple[float, float, float]

    @property
    def center(self) -> float:
        """Mean deficit of a coin more or less in the total."""
        return self.spread[1] / self.spread[0] if self.spread[0] > 0 else self.deficit / self.total

    @property
    def slope_left(self) -> float:
        """Derivative of the value by the total, from the left."""
        return self.m_left + (self.t * self.deficit / self.total if self.t > 0 else 0.0)

    @property
    def slope_right(self) -> float:
        return self.m_right + (self.t * self.deficit / self.total if self.t > 0 else 0.0)


def solve(
    rows: Rows,
    total: float,
    lambda_eff: float,
    guess: float,
    bracket: tuple[float, float] = (-math.inf, math.inf),
) -> tuple[Solved, Floats]:
    """The best split of exactly `total` and its q: one multiplier, near `guess` and, up to
    rounding, inside `bracket`.
    """
    t = lambda_eff / total if lambda_eff > 0 else 0.0
    target = total + rows.size * rows.epsilon
    if total >= rows.most:
        q, m = rows.q_hi, 0.0
    elif total <= rows.least:
        q, m = rows.q_lo, 0.0
    else:
        q, m = _multiplier(rows, target, t, guess, bracket)
    pay, paid = _paid(rows, q)
    if abs(paid - total) > 1e-9 * target:
        # the bracket is as exact as the multipliers that it is made of
        q, m = _multiplier(rows, target, t, guess, (-math.inf, math.inf))
        pay, paid = _paid(rows, q)
    if abs(paid - total) > 1e-9 * target:
        raise ArithmeticError(
            f"the payouts add up to {paid!r}, not to the {total!r} that was to be split"
        )
    q = _cornered(rows, q, 4 * ROUNDING * target)
    if paid > 0 and abs(paid - total) > ROUNDING * total:
        # below the rounding of epsilon + y no total can be hit; the price found is that of what is
        # paid
        total, t = paid, lambda_eff / paid
    value = deficit = s_0 = s_1 = s_2 = 0.0
    for part, some in rows.chunks:
        value += worth(some, pay[part])
        deficit += float(some.deficit @ pay[part])
        response = (pay[part] + rows.epsilon) / q[part]
        response *= free(some, q[part])
        s_0 += float(response.sum())
        response *= some.deficit
        s_1 += float(response.sum())
        s_2 += float(response @ some.deficit)
    m_right, m_left = (m, m) if s_0 > 0 else _price_range(rows, q, t)
    if m_right > m_left:
        m_right = m_left = m
    return Solved(total, t, m_left, m_right, value - t * deficit, deficit, (s_0, s_1, s_2)), q


def _paid(rows: Rows, q: Floats) -> tuple[Floats, float]:
    pay = np.empty(rows.size)
    for part, some in rows.chunks:
        pay[part] = pay_at(some, q[part])
    return pay, float(pay.sum())


def _multiplier(
    rows: Rows, target: float, t: float, guess: float, bracket: tuple[float, float]
) -> tuple[Floats, float]:
    """q with sum(epsilon + y) = target and the multiplier m to which it is the response.

    The sum falls in m. Newton's method on 1 / sum over the free videos is exact where they share
    one price; where it does not halve the miss, the bracket is halved, and now and then the videos
    on which both of its ends agree leave. Videos with hardly any utility weight answer so steeply
    that the step vanishes although the sum is far off: m then moves by its rounding. Those without
    weight jump: there the bracket shrinks to neighbouring numbers, and y is the mixture of the
    responses at both that has the right sum.
    """
    left, right = bracket
    if not (math.isfinite(left) and math.isfinite(right)):
        right, left = (
            max(_price_range(rows, rows.q_lo, t)[0], left),
            min(_price_range(rows, rows.q_hi, t)[1], right),
        )
    beyond = 4 * ROUNDING * (rows.price_size + t * rows.deficit_size)
    left, right = left - beyond, right + beyond
    q, answers, undecided = np.empty(rows.size), np.empty(rows.size), None
    m, best, halve = (
        guess if left < guess < right else _halfway(left, right, t * rows.deficit_size),
        math.inf,
        False,
    )
    for passes in range(1, _MAX_PASSES):
        # --- sum and slope at m
        everything = have = slope = 0.0
        for part, some in rows.chunks:
            answer = respond(some, t, m, answers[part])
            w, inside = some.weight / answer, free(some, answer).astype(np.float64)
            everything += float(w.sum())
            have += float(w @ inside)
            w /= answer
            slope += float(w @ inside)
        miss = everything - target
        left, right = (m, right) if miss > 0 else (left, m)

        # --- next point
        want = have - miss
        step = (miss / slope * (have / want if want > 0 else 1.0)) if slope > 0 else math.nan
        if abs(miss) <= ROUNDING * target:
            left = right = m
            break
        if right - left <= ROUNDING * max(abs(left), abs(right)):
            break
        if abs(step) < ROUNDING * abs(m):
            step = math.copysign(ROUNDING * m, step)
        halve = not (left < m + step < right) or (not halve and abs(miss) > best / 2)
        best = min(best, abs(miss))
        following = _halfway(left, right, t * rows.deficit_size) if halve else m + step
        if not left < following < right:
            break
        m = following

        # --- videos that the bracket has decided leave
        if passes % 8 == 0:
            at_left, at_right = respond(rows, t, left), respond(rows, t, right)
            open_ = at_left != at_right
            if np.count_nonzero(open_) < 0.5 * rows.size:
                decided = ~open_ if undecided is None else undecided[~open_]
                undecided = np.flatnonzero(open_) if undecided is None else undecided[open_]
                q[decided] = at_left[~open_]
                target -= float((rows.weight[~open_] / at_left[~open_]).sum())
                rows, answers = rows.only(open_), np.empty(np.count_nonzero(open_))
    else:
        raise ArithmeticError(
            f"the multiplier search did not settle in {_MAX_PASSES} passes: between {left!r} and"
            f" {right!r}"
        )

    rest = _mixture(rows, target, t, left, right) if left < right else answers
    if undecided is None:
        return rest, m
    q[undecided] = rest
    return q, m


def _mixture(rows: Rows, target: float, t: float, left: float, right: float) -> Floats:
    """The mixture of the answers at both ends of a bracket without a number inside that has the
    right sum.
    """
    mixed, missing, step = np.empty(rows.size), target - rows.size * rows.epsilon, 0.0
    for part, some in rows.chunks:
        fewer, more = pay_at(some, respond(some, t, right)), pay_at(some, respond(some, t, left))
        missing -= float(fewer.sum())
        mixed[part] = more - fewer
        step += float(mixed[part].sum())
    ratio = min(max(missing / step, 0.0), 1.0) if step > 0 else 0.0
    for part, some in rows.chunks:
        q = respond(some, t, right)
        moved = mixed[part] > 0
        mixed[part] = np.where(
            moved, some.weight / (pay_at(some, q) + ratio * mixed[part] + some.epsilon), q
        )
    return mixed


def _cornered(rows: Rows, q: Floats, slack: float) -> Floats:
    """q with every video on the corner whose pay it is within `slack` of, if that leaves no video
    inside an edge; else q.
    """
    snapped = q
    for part, some in rows.chunks:
        inside = np.flatnonzero(free(some, q[part]))
        if not inside.size:
            continue
        for some_inside in (inside[:1], inside):
            at_corner = np.stack(
                [x[some_inside] for x in (some.q_lo, some.q_1, some.q_2, some.q_hi)]
            )
            weight = some.weight[some_inside]
            miss = np.abs(weight / at_corner - weight / q[part][some_inside])
            if (miss.min(axis=0) > slack).any():
                return q
        snapped = q.copy() if snapped is q else snapped
        snapped[part][inside] = at_corner[miss.argmin(axis=0), np.arange(inside.size)]
    return snapped


def _halfway(left: float, right: float, alike: float) -> float:
    """The middle of a bracket: of the logarithms where it spans orders of magnitude, unless it is
    about as wide as `alike`.
    """
    small, large = sorted((abs(left), abs(right)))
    if right - left <= 0.75 * large or EPS * alike < right - left <= 4 * alike:
        return 0.5 * (left + right)
    if left < 0 < right:
        return 0.0
    return math.copysign(math.sqrt(max(small, 1e-18 * large)) * math.sqrt(large), left + right)
