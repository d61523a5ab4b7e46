"""The incremental engine of the creator competition: what a move changes, found without looking at
what it leaves alone.

Belongs here: the loops over users that numba compiles (on first use, then cached on disk), and the
arrays they keep. Does not: the game, its readings and mechanisms (`solvers.competition`, which
imports this module only to simulate).

Of every user the engine keeps the best creators in order (score descending, index ascending), a few
more than are ever asked for. A move of creator i matters to a user only if i was, or gets, among
the first K; then all that changes is one term of the softmax.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from solvers.arrays import Floats, Ints, Mask
from solvers.competition.game import TIE, Competition, DotProduct, Euclidean

try:
    import numba
except ModuleNotFoundError as missing:
    raise ModuleNotFoundError(
        "the incremental engine of the creator competition needs numba, which is not installed:"
        " pip install 'creator-earnings[lab]'. The engine \"reference\" does without, far slower",
        name="numba",
    ) from missing

Kernel = TypeVar("Kernel", bound=Callable[..., Any])

# no reference counts (nrt): no kernel allocates, and counting every array of every call atomically
# took half of the time
_OPTIONS: dict[str, Any] = {"cache": True, "error_model": "numpy", "_nrt": False}


def _compiled(kernel: Kernel) -> Kernel:
    fast: Kernel = numba.njit(**_OPTIONS)(kernel)
    return fast


SPARE = 12
"""Creators kept beyond those that are asked for, so that a departure seldom means looking at
everybody.
"""
FAR = 30.0
"""Exponent that the leading score may drift from the reference of the stored exponentials before
they are taken anew.
"""
CERTAIN = 300.0
"""Exponent from which a creator has the user to itself."""

# columns of `record` (m, 5) and `count` (m, 6)
NEXT_SCORE, TOTAL, REFERENCE, RATE, IMPORTANCE = range(5)
CHOSEN, LENGTH, NEEDED, LIMIT, LAST, NEXT = range(6)


@_compiled
def euclidean_scores(
    points: Floats, coordinates: Floats, peak: float, scale: float, out: Floats
) -> None:
    """max(peak - |s - x| / scale, 0) of every point (N, d) at every user, whose coordinates come as
    (d, m).
    """
    d, m = coordinates.shape
    for i in range(points.shape[0]):
        row = out[i]
        for j in range(m):
            row[j] = 0.0
        for k in range(d):
            at = points[i, k]
            axis = coordinates[k]
            for j in range(m):
                gap = at - axis[j]
                row[j] += gap * gap
        for j in range(m):
            row[j] = max(peak - math.sqrt(row[j]) / scale, 0.0)


@_compiled
def dot_scores(points: Floats, coordinates: Floats, low: float, high: float, out: Floats) -> None:
    """(s.x - low) / (high - low), between 0 and 1, of every point (N, d) at every user, whose
    coordinates come as (d, m).
    """
    d, m = coordinates.shape
    for i in range(points.shape[0]):
        row = out[i]
        for j in range(m):
            row[j] = 0.0
        for k in range(d):
            at = points[i, k]
            axis = coordinates[k]
            for j in range(m):
                row[j] += at * axis[j]
        for j in range(m):
            row[j] = min(max((row[j] - low) / (high - low), 0.0), 1.0)


@_compiled
def _settle(
    j: int,
    n: int,
    theta: Floats,
    floor: Floats,
    record: Floats,
    count: Ints,
    who: Ints,
    value: Floats,
    e: Floats,
) -> None:
    """The figures of user j that depend on its list."""
    chosen, length = count[j, CHOSEN], count[j, LENGTH]
    total = 0.0
    for p in range(chosen):
        total += e[j, p]
    record[j, TOTAL] = total
    theta[j] = value[j, chosen - 1]
    count[j, LAST] = who[j, chosen - 1]
    record[j, NEXT_SCORE] = value[j, chosen] if chosen < length else -math.inf
    count[j, NEXT] = who[j, chosen] if chosen < length else n
    floor[j] = value[j, length - 1] if length < n else -math.inf


@_compiled
def _weigh(
    j: int,
    n: int,
    theta: Floats,
    floor: Floats,
    record: Floats,
    count: Ints,
    who: Ints,
    value: Floats,
    e: Floats,
) -> None:
    """The exponentials of user j's list, relative to its leading score."""
    record[j, REFERENCE] = value[j, 0]
    for p in range(count[j, LENGTH]):
        e[j, p] = math.exp((value[j, p] - value[j, 0]) * record[j, RATE])
    _settle(j, n, theta, floor, record, count, who, value, e)


@_compiled
def _rank(j: int, score: Floats, count: Ints, who: Ints, value: Floats) -> None:
    """User j's list from the scores of all creators."""
    limit, length = count[j, LIMIT], 0
    for i in range(score.shape[0]):
        s = score[i, j]
        if length == limit and s <= value[j, length - 1]:
            continue
        p = min(length, limit - 1)
        while p > 0 and value[j, p - 1] < s:
            value[j, p], who[j, p] = value[j, p - 1], who[j, p - 1]
            p -= 1
        value[j, p], who[j, p] = s, i
        length = min(length + 1, limit)
    count[j, LENGTH] = length


@_compiled
def rank_and_weigh(
    score: Floats,
    theta: Floats,
    floor: Floats,
    record: Floats,
    count: Ints,
    who: Ints,
    value: Floats,
    e: Floats,
) -> None:
    """Bring every list in line with a matching that has just changed (RATE, IMPORTANCE, CHOSEN,
    NEEDED, LIMIT).
    """
    n, m = score.shape
    for j in range(m):
        count[j, LENGTH] = min(count[j, LENGTH], count[j, LIMIT])
        if count[j, LENGTH] < count[j, NEEDED]:
            _rank(j, score, count, who, value)
        _weigh(j, n, theta, floor, record, count, who, value, e)


@_compiled
def _shares(
    i: int,
    j: int,
    a: float,
    b: float,
    theta: Floats,
    record: Floats,
    count: Ints,
    who: Ints,
    value: Floats,
    e: Floats,
) -> tuple[float, float]:
    """Probability that user j is matched with creator i, at its present score a and at score b."""
    total, reference, rate, chosen = (
        record[j, TOTAL],
        record[j, REFERENCE],
        record[j, RATE],
        count[j, CHOSEN],
    )
    before = 0.0
    if a > theta[j] or (a == theta[j] and i <= count[j, LAST]):
        leaving, who_leaves = math.exp((a - reference) * rate), i
        before = leaving / total
        if b < record[j, NEXT_SCORE] or (b == record[j, NEXT_SCORE] and i > count[j, NEXT]):
            return before, 0.0
    else:
        if b < theta[j] or (b == theta[j] and i > count[j, LAST]):
            return 0.0, 0.0
        leaving, who_leaves = e[j, chosen - 1], count[j, LAST]
    if leaving <= 0.5 * total:
        mine = math.exp(min((b - reference) * rate, CERTAIN))
        return before, mine / (total - leaving + mine)

    # total - leaving would cancel: add up the others, relative to the new leading score
    top = b
    for p in range(chosen):
        if who[j, p] != who_leaves:
            top = max(top, value[j, p])
    rest = 0.0
    for p in range(chosen):
        if who[j, p] != who_leaves:
            rest += math.exp((value[j, p] - top) * rate)
    mine = math.exp((b - top) * rate)
    return before, mine / (rest + mine)


@_compiled
def _utility_at(
    i: int, j: int, b: float, record: Floats, count: Ints, who: Ints, value: Floats
) -> float:
    """Expected relevance to user j of what it is matched with, when creator i has score b."""
    top = b
    if count[j, LENGTH] > 1 or who[j, 0] != i:
        top = max(b, value[j, 1] if who[j, 0] == i else value[j, 0])
    chosen, taken, total, served, placed = count[j, CHOSEN], 0, 0.0, 0.0, False
    p = 0
    while taken < chosen:
        if p < count[j, LENGTH] and who[j, p] == i:
            p += 1
        elif not placed and (
            p == count[j, LENGTH] or b > value[j, p] or (b == value[j, p] and i < who[j, p])
        ):
            weight = math.exp((b - top) * record[j, RATE])
            total += weight
            served += b * weight
            taken += 1
            placed = True
        else:
            weight = math.exp((value[j, p] - top) * record[j, RATE])
            total += weight
            served += value[j, p] * weight
            taken += 1
            p += 1
    return served / total


@_compiled
def _move(
    i: int,
    j: int,
    b: float,
    score: Floats,
    theta: Floats,
    floor: Floats,
    record: Floats,
    count: Ints,
    who: Ints,
    value: Floats,
    e: Floats,
) -> None:
    """User j's list when creator i's score, in `score` already, has become b."""
    n, length, limit = score.shape[0], count[j, LENGTH], count[j, LIMIT]
    # out of the list
    p = 0
    while p < length and who[j, p] != i:
        p += 1
    if p < length:
        length -= 1
        for q in range(p, length):
            value[j, q], who[j, q], e[j, q] = value[j, q + 1], who[j, q + 1], e[j, q + 1]
    # and in again
    everybody = length == n - 1 and length < limit
    if (
        everybody
        or b > value[j, length - 1]
        or (b == value[j, length - 1] and i < who[j, length - 1])
    ):
        p = min(length, limit - 1)
        length = p + 1
        while p > 0 and (value[j, p - 1] < b or (value[j, p - 1] == b and who[j, p - 1] > i)):
            value[j, p], who[j, p], e[j, p] = value[j, p - 1], who[j, p - 1], e[j, p - 1]
            p -= 1
        value[j, p], who[j, p] = b, i
        e[j, p] = math.exp(min((b - record[j, REFERENCE]) * record[j, RATE], CERTAIN))
    count[j, LENGTH] = length
    if length < count[j, NEEDED]:
        _rank(j, score, count, who, value)
        _weigh(j, n, theta, floor, record, count, who, value, e)
    elif abs(value[j, 0] - record[j, REFERENCE]) * record[j, RATE] > FAR:
        _weigh(j, n, theta, floor, record, count, who, value, e)
    else:
        _settle(j, n, theta, floor, record, count, who, value, e)


@_compiled
def play(
    order: Ints,
    tried: Floats,
    landed: Floats,
    elsewhere: Mask,
    traffic: bool,
    coordinated: bool,
    score: Floats,
    theta: Floats,
    floor: Floats,
    record: Floats,
    count: Ints,
    who: Ints,
    value: Floats,
    e: Floats,
    accepted: Mask,
) -> None:
    """One step: creators in `order` compare their score rows in `score` and `tried`; who does no
    worse moves (to `landed` if elsewhere).
    """
    m = score.shape[1]
    for i in order:
        before, after = 0.0, 0.0
        for j in range(m):
            a, b = score[i, j], tried[i, j]
            if a < theta[j] and b < theta[j]:
                continue
            if coordinated:
                before += _utility_at(i, j, a, record, count, who, value)
                after += _utility_at(i, j, b, record, count, who, value)
                continue
            old, new = _shares(i, j, a, b, theta, record, count, who, value, e)
            importance = record[j, IMPORTANCE]
            before += importance * old if traffic else importance * a * old
            after += importance * new if traffic else importance * b * new
        accepted[i] = after >= before - TIE * (m if coordinated else before)
        if accepted[i]:
            row = landed[i] if elsewhere[i] else tried[i]
            for j in range(m):
                a, b = score[i, j], row[j]
                score[i, j] = b
                if a >= floor[j] or b >= floor[j]:
                    _move(i, j, b, score, theta, floor, record, count, who, value, e)


@_compiled
def deployed_utilities(record: Floats, count: Ints, value: Floats, e: Floats, out: Floats) -> None:
    """Expected relevance of what each user is matched with."""
    for j in range(out.size):
        served = 0.0
        for p in range(count[j, CHOSEN]):
            served += value[j, p] * e[j, p]
        out[j] = served / record[j, TOTAL]


@_compiled
def default_utilities(candidates: int, rate: float, value: Floats, out: Floats) -> None:
    """The same under one number of candidates and one inverse temperature for all."""
    for j in range(out.size):
        served, total = 0.0, 0.0
        for p in range(candidates):
            weight = math.exp((value[j, p] - value[j, 0]) * rate)
            total += weight
            served += value[j, p] * weight
        out[j] = served / total


class Incremental:
    """The arrays of one run, and what `solvers.competition.simulate` asks of an engine."""

    def __init__(self, game: Competition) -> None:
        n, m = game.strategies.shape[0], game.users.shape[0]
        self.coordinates = np.ascontiguousarray(game.users.T)
        self.game = game
        self.tried, self.landed = np.empty((n, m)), np.empty((n, m))
        self.score = game.scores.copy()
        self.theta, self.floor, self.record = np.empty(m), np.empty(m), np.empty((m, 5))
        self.count = np.zeros((m, 6), dtype=np.int64)
        self.who, self.value, self.e = (
            np.zeros((m, 0), dtype=np.int64),
            np.empty((m, 0)),
            np.empty((m, 0)),
        )
        self.deploy(game)

    @property
    def lists(self) -> tuple[Floats, Floats, Floats, Floats, Ints, Ints, Floats, Floats]:
        return (
            self.score,
            self.theta,
            self.floor,
            self.record,
            self.count,
            self.who,
            self.value,
            self.e,
        )

    def deploy(self, game: Competition) -> None:
        """Match users as this game does from now on."""
        self.game, n = game, game.strategies.shape[0]
        deployed, default = game.matching, game.default_matching
        self.record[:, RATE] = 1 / deployed.temperature
        self.record[:, IMPORTANCE] = deployed.importance
        self.count[:, CHOSEN] = deployed.candidates
        # one more than either matching asks for
        self.count[:, NEEDED] = np.minimum(
            np.maximum(deployed.candidates, default.candidates) + 1, n
        )
        self.count[:, LIMIT] = np.minimum(self.count[:, NEEDED] + SPARE, n)
        width, m = int(self.count[:, LIMIT].max()), self.theta.size
        if width > self.who.shape[1]:
            self.who, self.value, self.e = (
                np.zeros((m, width), dtype=np.int64),
                np.empty((m, width)),
                np.empty((m, width)),
            )
            self.count[:, LENGTH] = 0
        rank_and_weigh(*self.lists)

    def step(self, order: Ints, tried: Floats, landed: Floats) -> Mask:
        """Offer each creator in turn its move; who moved."""
        self._scores(tried, self.tried)
        elsewhere = (tried != landed).any(axis=1)
        if elsewhere.any():
            self.landed[elsewhere] = self._scores(
                landed[elsewhere], np.empty((int(elsewhere.sum()), self.theta.size))
            )
        moved = np.zeros(tried.shape[0], dtype=np.bool_)
        traffic, coordinated = self.game.reward == "traffic", self.game.mechanism == "coordinated"
        play(order, self.tried, self.landed, elsewhere, traffic, coordinated, *self.lists, moved)
        return moved

    def user_utilities(self) -> tuple[Floats, Floats]:
        """Utility of every user, under the deployed matching and under the default one."""
        deployed = np.empty(self.theta.size)
        deployed_utilities(self.record, self.count, self.value, self.e, deployed)
        if self.game.mechanism in ("base", "uir", "coordinated"):
            return deployed, deployed
        default = np.empty(self.theta.size)
        default_utilities(
            int(self.game.default_matching.candidates[0]),
            1 / self.game.temperature,
            self.value,
            default,
        )
        return deployed, default

    def _scores(self, points: Floats, out: Floats) -> Floats:
        relevance = self.game.relevance
        if isinstance(relevance, Euclidean):
            euclidean_scores(
                points, self.coordinates, float(relevance.peak), float(relevance.scale), out
            )
        elif isinstance(relevance, DotProduct):
            dot_scores(points, self.coordinates, float(relevance.low), float(relevance.high), out)
        else:
            out[:] = relevance(points, self.game.users)
        return out
