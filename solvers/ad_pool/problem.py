"""The pool as its solvers see it: what is asked, and the terms of the objective.

Belongs here: what `allocate`, `chunks`, `rules` and `response` share. Does not: the searches, and
nothing that a certificate uses; `certificate` and `chunked_certificate` state the same problem on
their own.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from solvers.ad_pool.inputs import EachAtMost, Objective, PoolChunk, Rule, check_rules
from solvers.arrays import Floats, Ints, column_of, refuse
from solvers.errors import InfeasibleError
from solvers.exact_sum import ExactSum

EPS = float(np.finfo(np.float64).eps)
ROUNDING = 4 * EPS
BARELY_A_NUMBER = 1e-290
"""Below this a quotient of floats loses digits to underflow, so its stationarity says nothing."""
_MOST_PATTERNS = 1 << 20


# --------------------------------------------------------------------------------------------------


def checked_pool(
    pool: float, alpha: float, lambda_fair: float, lambda_eff: float, objective: str
) -> float:
    """The pool as a float; ValueError names the number that is outside its range. For pools in
    memory and in chunks.

    >>> checked_pool(100, alpha=0.5, lambda_fair=0.5, lambda_eff=0.5, objective="blend")
    100.0
    """
    pool = float(pool)
    if not (math.isfinite(pool) and pool >= 0):
        raise ValueError(f"pool must be finite and at least 0, not {pool!r}")
    if not 0 < alpha <= 1:
        raise ValueError(f"alpha must lie in (0, 1], not {alpha!r}")
    for name, value in (("lambda_fair", lambda_fair), ("lambda_eff", lambda_eff)):
        if not (math.isfinite(value) and value >= 0):
            raise ValueError(f"{name} must be finite and at least 0, not {value!r}")
    if lambda_fair == lambda_eff == 0:
        raise ValueError("lambda_fair and lambda_eff are both 0: nothing to maximise")
    if objective not in ("blend", "linear"):
        raise ValueError(f"objective must be 'blend' or 'linear', not {objective!r}")
    return pool


def checked_rows(
    share: npt.ArrayLike, floor: npt.ArrayLike | None, cap: npt.ArrayLike | None
) -> tuple[Floats, Floats, Floats]:
    """(n,) shares, floors and caps; refuses numbers of the wrong kind, and bounds that contradict
    each other in one row.
    """
    shares = np.asarray(share, dtype=np.float64)
    if shares.ndim != 1:
        raise ValueError(f"share must be one-dimensional, not of shape {shares.shape}")
    refuse(~(np.isfinite(shares) & (shares >= 0)), "share must be finite and at least 0", shares)
    lo, hi = _bound(floor, "floor", 0.0, shares.size), _bound(cap, "cap", math.inf, shares.size)
    if np.any(bad := (lo < 0) | (lo > hi)):
        row = int(np.argmax(bad))
        reason = "negative" if lo[row] < 0 else f"above its cap {float(hi[row])!r}"
        raise InfeasibleError(f"the floor of row {row}, {float(lo[row])!r}, is {reason}")
    return shares, lo, hi


def _bound(bound: npt.ArrayLike | None, name: str, default: float, n: int) -> Floats:
    values = column_of(default if bound is None else bound, name, n)
    refuse(np.isnan(values), f"{name} must not be NaN", values)
    return values


def sum_near(values: Floats, target: float) -> float:
    """The sum; exactly rounded where the comparison with `target` would otherwise hang on
    rounding.

    >>> sum_near(np.full(10, 0.1), 1.0)
    1.0
    """
    with np.errstate(over="ignore"):
        total = float(values.sum())
    return math.fsum(values) if abs(total - target) <= 1e-9 * target else total


# --------------------------------------------------------------------------------------------------


def fair_weight(relative: Floats, alpha: float) -> Floats:
    """What fairness counts of each share: its power alpha.

    >>> fair_weight(np.array([0.25, 1.0]), 0.5).tolist()
    [0.5, 1.0]
    """
    return np.asarray(relative**alpha)


@dataclass(frozen=True)
class PoolTerms:
    """What turns a row's share into the terms of the objective, a log y + b s y: the pool's own
    sums and the policy's knobs.

    Attributes
    ----------
    alpha, lambda_fair, lambda_eff, objective : as in `solvers.ad_pool.allocate_pool`
    largest : share of any row; 0 where nobody has one
    shares, weights : sums of the shares and of their fair weights, shares in parts of the largest
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
    ) -> PoolTerms:
        """The terms of a pool in chunks, which takes two passes. Rows with cap 0 leave before
        anything is normalised.
        """
        largest = 0.0
        for share, _, hi in map(columns, chunks):
            largest = max(largest, float(np.where(hi > 0, share, 0.0).max(initial=0.0)))
        shares, weights = ExactSum(), ExactSum()
        if largest > 0:
            for share, _, hi in map(columns, chunks):
                relative = np.where(hi > 0, share, 0.0) / largest
                shares.add(relative)
                if objective == "blend":
                    weights.add(fair_weight(relative, alpha))
        return cls(
            alpha, lambda_fair, lambda_eff, objective, largest, float(shares), float(weights)
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
        fair = fair_weight(relative, self.alpha) if self.objective == "blend" else relative
        return self.weighed(relative, fair)

    def weighed(self, relative: Floats, fair: Floats) -> tuple[Floats, Floats]:
        """The same from shares in parts of the largest and their fair weights, which only "blend"
        looks at.
        """
        s = relative / self.shares
        if self.objective == "blend":
            return s, (self.lambda_fair / self.weights) * fair + self.lambda_eff * s
        return s, (
            self.lambda_fair * fair_weight(s, self.alpha)
            if self.lambda_fair > 0
            else np.zeros_like(s)
        )


def terms(
    share: Floats, alpha: float, lambda_fair: float, lambda_eff: float, objective: Objective
) -> tuple[Floats, Floats, float]:
    """Normalised share s, weight a of the logarithm, and b, the weight of the linear term s p /
    pool, of a pool in memory.
    """
    top = float(share.max())
    if top == 0:
        return share, np.zeros_like(share), 0.0
    relative = share / top
    fair = fair_weight(relative, alpha) if objective == "blend" else relative
    pool_terms = PoolTerms(
        alpha,
        lambda_fair,
        lambda_eff,
        objective,
        top,
        float(relative.sum()),
        float(fair.sum()),
    )
    return *pool_terms.weighed(relative, fair), pool_terms.gain


def columns(chunk: PoolChunk) -> tuple[Floats, Floats, Floats]:
    """Share, floor and cap of a chunk's rows."""
    share = np.asarray(chunk.share, dtype=np.float64)
    lo, hi = (
        np.broadcast_to(np.asarray(x, dtype=np.float64), share.shape)
        for x in (chunk.floor, chunk.cap)
    )
    return share, lo, hi


# --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class RuledPool:
    r"""A pool with rules in parts of the pool, y = p / P: max sum(weight log y) + gain y, sum(y) =
    1, floor <= y <= cap, lower <= R y <= upper.

    Units that every rule treats alike share a pattern, so R is stored with one column a pattern.
    Row i of R belongs to the rule `rule_of_row[i]`; an `EachAtMost` by unit is part of the caps and
    has no row.

    Attributes
    ----------
    pool : money
    weight, gain : (n,) what the logarithm and the linear term count
    floor, cap : (n,) parts of the pool; caps are at most 1
    pattern : (n,) column of R of each unit
    rows : (k, patterns) sparse R
    lower, upper : (k,) parts of the pool, infinite where there is no bound
    rule_of_row : (k,) index into the rules
    unit_caps : (rule, maximum) of each `EachAtMost` by unit
    scale : sum(weight) + max(gain), the size of the objective's prices; 1 where both are 0
    """

    pool: float
    weight: Floats
    gain: Floats
    floor: Floats
    cap: Floats
    pattern: Ints
    rows: Any
    lower: Floats
    upper: Floats
    rule_of_row: Ints
    unit_caps: tuple[tuple[int, float], ...]
    scale: float

    def totals(self, y: Floats) -> Floats:
        """(k,) what the rows of R add up to."""
        return np.asarray(
            self.rows @ np.bincount(self.pattern, weights=y, minlength=self.rows.shape[1]),
            dtype=np.float64,
        )

    def sides(self) -> tuple[Ints, Floats, Floats]:
        """Every finite bound as sign * (R y)[row] <= limit: rows, signs (1 for a maximum, -1 for a
        minimum) and limits.
        """
        above, below = (
            np.flatnonzero(np.isfinite(self.upper)),
            np.flatnonzero(np.isfinite(self.lower)),
        )
        sign = np.concatenate([np.ones(above.size), -np.ones(below.size)])
        return (
            np.concatenate([above, below]),
            sign,
            np.concatenate([self.upper[above], -self.lower[below]]),
        )


def ruled_pool(
    pool: float,
    share: npt.ArrayLike,
    rules: Sequence[Rule | EachAtMost],
    *,
    alpha: float,
    lambda_fair: float,
    lambda_eff: float,
    objective: Objective,
    floor: npt.ArrayLike | None = None,
    cap: npt.ArrayLike | None = None,
) -> RuledPool:
    """The problem of `solvers.ad_pool.allocate_with_rules`, stated in parts of the pool.

    Whether bounds and rules contradict each other is not looked at. Raises ValueError for anything
    that is not a number of the kind asked for, and names it.

    Source: the ad revenue document, section 3; docs/formulas.md sections 2.3 to 2.5.

    Examples
    --------
    >>> knobs = dict(alpha=0.5, lambda_fair=1.0, lambda_eff=0.0, objective="blend")
    >>> small = Rule("small", [True, True, False], minimum=0.5)
    >>> problem = ruled_pool(100.0, [1, 4, 16], [small], **knobs)
    >>> problem.weight.round(3).tolist(), problem.totals(problem.weight).round(3).tolist()
    ([0.143, 0.286, 0.571], [0.429])
    """
    pool = checked_pool(pool, alpha, lambda_fair, lambda_eff, objective)
    shares = np.asarray(share, dtype=np.float64)
    if shares.ndim != 1:
        raise ValueError(f"share must be one-dimensional, not of shape {shares.shape}")
    n = shares.size
    refuse(~((shares >= 0) & (shares < math.inf)), "share must be finite and at least 0", shares)
    lo, hi = (
        column_of(0.0 if floor is None else floor, "floor", n),
        column_of(math.inf if cap is None else cap, "cap", n),
    )
    refuse(np.isnan(lo) | (lo < 0), "floor must be at least 0", lo)
    refuse(np.isnan(hi) | (hi < 0), "cap must be at least 0", hi)
    check_rules(rules, n)

    # --- rows with cap 0 leave before anything is normalised
    shares = np.where(hi > 0, shares, 0.0)
    top = float(shares.max(initial=0.0))
    weight = gain = np.zeros(n)
    if top > 0:
        relative = shares / top
        s = relative / relative.sum()
        if objective == "blend":
            w = fair_weight(relative, alpha)
            weight = lambda_fair * w / w.sum() + lambda_eff * s
        else:
            weight, gain = lambda_fair * fair_weight(s, alpha), lambda_eff * s
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        lo, hi = (lo / pool, np.minimum(hi / pool, 1.0)) if pool > 0 else (np.zeros(n), np.zeros(n))

    # --- rules
    by_unit: list[npt.NDArray[Any]] = []
    for rule in rules:
        if isinstance(rule, Rule):
            by_unit.append(_members(rule))
        elif rule.groups is None:
            hi = np.minimum(hi, rule.maximum)
        else:
            by_unit.append(np.unique(np.asarray(rule.groups), return_inverse=True)[1])
    pattern, first = _patterns(by_unit, n)
    rows, lower, upper, rule_of_row = _rule_rows(rules, [column[first] for column in by_unit])
    scale = float(weight.sum()) + float(gain.max(initial=0.0))
    unit_caps = tuple(
        (i, rule.maximum)
        for i, rule in enumerate(rules)
        if isinstance(rule, EachAtMost) and rule.groups is None
    )
    return RuledPool(
        pool,
        weight,
        gain,
        lo,
        hi,
        pattern,
        rows,
        lower,
        upper,
        rule_of_row,
        unit_caps,
        scale if scale > 0 else 1.0,
    )


def _members(rule: Rule) -> npt.NDArray[Any]:
    members = np.asarray(rule.members)
    return members if members.dtype == np.bool_ else members.astype(np.float64)


def _patterns(by_unit: list[npt.NDArray[Any]], n: int) -> tuple[Ints, Ints]:
    """Which units have the same value in every column: the number of the pattern of each, and a
    unit of each pattern.
    """
    code, size = np.zeros(n, dtype=np.int64), 1
    for column in by_unit:
        values = column if column.dtype != np.float64 else np.unique(column, return_inverse=True)[1]
        count = int(values.max(initial=0)) + 1
        if size * count > _MOST_PATTERNS:
            code = np.unique(code, return_inverse=True)[1].astype(np.int64)
            size = int(code.max(initial=0)) + 1
        code, size = code * count + values, size * count
    if size > 4 * max(n, _MOST_PATTERNS):
        first, pattern = np.unique(code, return_index=True, return_inverse=True)[1:]
        return pattern.astype(np.int64), first.astype(np.int64)
    unit = np.full(size, -1, dtype=np.int64)
    unit[code] = np.arange(n)
    used = unit >= 0
    return (np.cumsum(used) - 1)[code], unit[used]


def _rule_rows(
    rules: Sequence[Rule | EachAtMost], of_patterns: list[npt.NDArray[Any]]
) -> tuple[Any, Floats, Floats, Ints]:
    """R with one column a pattern, its bounds, and the rule of each of its rows."""
    from scipy import sparse

    blocks: list[Any] = []
    lower, upper, owner = [], [], []
    with_rows = [
        i for i, rule in enumerate(rules) if isinstance(rule, Rule) or rule.groups is not None
    ]
    for index, column in zip(with_rows, of_patterns, strict=True):
        rule, k = rules[index], 1
        if isinstance(rule, Rule):
            blocks.append(sparse.csr_array(column.astype(np.float64)[None, :]))
            least, most = rule.minimum, rule.maximum
        else:
            k, least, most = int(column.max(initial=-1)) + 1, None, rule.maximum
            blocks.append(
                sparse.csr_array(
                    (np.ones(column.size), (column, np.arange(column.size))), shape=(k, column.size)
                )
            )
        lower.append(np.full(k, -math.inf if least is None else least))
        upper.append(np.full(k, math.inf if most is None else most))
        owner.append(np.full(k, index))
    if not blocks:
        return sparse.csr_array((0, 1)), np.empty(0), np.empty(0), np.empty(0, dtype=np.int64)
    return (
        sparse.csr_array(sparse.vstack(blocks)),
        np.concatenate(lower),
        np.concatenate(upper),
        np.concatenate(owner),
    )
