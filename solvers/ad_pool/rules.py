"""Split one advertising pool under rules over groups of units: a part for the small, nobody over a
part.

Belongs here: the search for the rules' multipliers. Does not: the same problem as a CVXPY model
(`rule_model`), which rules contradict each other (`contradiction`), the proof of the answer
(`certificate`, which states the problem on its own), the pool without rules (`allocate`), and where
rules come from.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from solvers.ad_pool import certificate
from solvers.ad_pool.allocate import allocate_pool
from solvers.ad_pool.contradiction import Contradiction
from solvers.ad_pool.inputs import EachAtMost, Objective, Rule
from solvers.ad_pool.problem import EPS, RuledPool, ruled_pool
from solvers.ad_pool.rule_model import RuleModel
from solvers.arrays import Floats, Ints
from solvers.errors import InfeasibleError

__all__ = ["EachAtMost", "Rule", "RuleModel", "RuledAllocation", "allocate_with_rules"]

_PROVED = 1e-9
"""Gap and primal residual of an answer of the dual search; with more than that, the model is
asked.
"""
_ENDLESS = 1e10
"""Prices beyond this, as multiples of the size of prices, run away: the rules contradict each
other.
"""
_USELESS = 1e-4
"""Primal residual above which an answer of the model is none."""
_SETTLED = 1e-13
_LENT = (0.0, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8, 1e-9, 1e-10, 1e-11, 0.0)
"""Weights of the logarithm, as parts of all, lent to units that have less: none, and where that
fails ever less, down to none.
"""
_MAX_STEPS, _MAX_SEARCH, _MAX_ROUNDS, _MAX_PIVOTS, _DENSE = 60, 60, 60, 30, 100
_MOST_PATTERNS = 10_000


@dataclass(frozen=True, eq=False)
class RuledAllocation:
    """What every unit gets from the pool under the rules.

    Attributes
    ----------
    payout : (n,) array, in the unit of the pool
    multiplier : worth of the last unit of the normalised pool to a unit that no rule mentions
    rule_multipliers : by rule, how the best value moves when the rule's bound is raised, per whole
        pool: a maximum is worth that much (at least 0), a minimum costs that much (at most 0); 0
        where the rule does not bind
    residual : the certificate's primal residual
    gap : the certificate's; at most 1e-9 where the solver is "closed form" or "dual"
    solver : "closed form" (no rule binds), "dual", or the solver of the model that ran
    status : as the solver calls it; "optimal", or "optimal_inaccurate" where no solver of the model
        did better
    passes : sweeps over n units that the dual search took
    """

    payout: Floats
    multiplier: float
    rule_multipliers: dict[str, float]
    residual: float
    gap: float
    solver: str
    status: str
    passes: int


def allocate_with_rules(
    pool: float,
    share: npt.ArrayLike,
    rules: Sequence[Rule | EachAtMost],
    *,
    alpha: float = 0.5,
    lambda_fair: float = 0.5,
    lambda_eff: float = 0.5,
    objective: Objective = "blend",
    floor: npt.ArrayLike | None = None,
    cap: npt.ArrayLike | None = None,
    model: RuleModel | None = None,
) -> RuledAllocation:
    r"""Split `pool` as `solvers.ad_pool.allocate_pool` does, with rules on top.

    .. math:: \text{minimum}_r \le \sum_v A_{rv} p_v / P \le \text{maximum}_r

    The payouts that are best under multipliers nu of the pool and mu of the rules are in closed
    form, :math:`y_v = \text{clip}(a_v / (\nu + (A^T \mu)_v - b_v))`; the dual function of (nu, mu)
    is convex and as smooth as that, and has one variable more than rules that bind. Newton's method
    with an exact search along each direction minimises it; rules join when they are broken. At most
    1 / maximum groups of an `EachAtMost` can be full, so a grouping of a million units costs no
    more than the groups that are. One by unit is a cap.

    Parameters
    ----------
    pool, share, alpha, lambda_fair, lambda_eff, objective, floor, cap : as in `allocate_pool`
    rules : `Rule` and `EachAtMost`, bounds in parts of the pool
    model : solve with this instead of the dual search

    Returns
    -------
    RuledAllocation

    Raises
    ------
    InfeasibleError
        the rules, the bounds and the pool contradict each other; names a smallest set of them that
        does, with numbers
    ArithmeticError
        no solver of the model ended with a solution; names their statuses. Also where every allowed
        split pays a unit with share nothing
    ValueError
        anything that is not a number of the kind asked for

    Notes
    -----
    Where the dual search does not prove its answer within 1e-9 (see `certificate`), the
    model is solved. That is the limit: Clarabel takes two seconds at 1e4 units and grows faster
    than they do. With its tolerances at 1e-10 the objective is right to about 1e-10 there and the
    payouts to 1e-6; where it ends inaccurately, `status` and `gap` say so.

    Units without share get money only where a rule leaves nobody else to take it; they then share
    it equally within their bounds. "linear" with lambda_fair = 0 is a linear program: where rules
    bind HiGHS solves the model, and picks any of several best answers.

    A smallest contradiction is looked for among the pool, all floors, all caps and each bound of
    each rule: by trying all small subsets, up to 3,000; beyond that the set named is irreducible
    (every one of its members is needed) but perhaps not a smallest.

    Source: the ad revenue document, section 3; docs/formulas.md sections 2.3 to 2.5.

    Examples
    --------
    >>> shares = [1, 4, 16]
    >>> small = Rule("small", [True, False, False], minimum=0.2)
    >>> best = allocate_with_rules(100.0, shares, [small], lambda_eff=0.0)
    >>> best.payout.round(2).tolist(), round(best.rule_multipliers["small"], 3)
    ([20.0, 26.67, 53.33], -0.179)
    >>> nobody = EachAtMost("nobody", 0.4)
    >>> allocate_with_rules(100.0, shares, [nobody], lambda_eff=0.0).payout.round(2).tolist()
    [20.0, 40.0, 40.0]
    >>> allocate_with_rules(100.0, shares, [small], cap=[15, 90, 90])
    ... # doctest: +NORMALIZE_WHITESPACE
    Traceback (most recent call last):
        ...
    solvers.errors.InfeasibleError: these cannot all be kept: the caps, so 'small' at most 15; rule
    'small': at least 0.2 of the pool (20)
    """
    knobs: dict[str, Any] = {
        "alpha": alpha,
        "lambda_fair": lambda_fair,
        "lambda_eff": lambda_eff,
        "objective": objective,
    }
    problem = ruled_pool(pool, share, rules, **knobs, floor=floor, cap=cap)
    stated = certificate.pool_problem(pool, share, **knobs, floor=floor, cap=cap, rules=rules)
    n = problem.weight.size
    lo = np.broadcast_to(np.asarray(0.0 if floor is None else floor, dtype=np.float64), (n,))
    caps = np.broadcast_to(np.asarray(math.inf if cap is None else cap, dtype=np.float64), (n,))
    hi = caps
    for _, maximum in problem.unit_caps:
        hi = np.minimum(hi, maximum * problem.pool)

    def answer(payout: Floats, solver: str, status: str, passes: float) -> RuledAllocation:
        paid = np.clip(payout, lo, hi) + 0.0
        proof = certificate.judge(stated, paid)
        return RuledAllocation(
            paid,
            proof.multiplier,
            proof.rule_multipliers,
            proof.primal_residual,
            proof.gap,
            solver,
            status,
            math.ceil(passes),
        )

    # --- contradictions are named where that is quick; where it is not, only when something failed
    contradiction = Contradiction(problem, rules, lo, caps)
    nothing = problem.pool == 0 or n == 0
    if not nothing and problem.rows.shape[1] <= _MOST_PATTERNS:
        contradiction.refuse()
    try:
        free = allocate_pool(pool, share, **knobs, floor=lo, cap=hi)
    except InfeasibleError:
        if not nothing:
            contradiction.refuse()
        raise

    # --- the pool without rules, the dual, the model
    row, sign, limit = problem.sides()
    if (
        nothing
        or (
            limit - sign * problem.totals(free.payout / problem.pool)[row]
            >= -_SETTLED * np.abs(limit)
        ).all()
    ):
        return answer(free.payout, "closed form", "optimal", free.passes)
    if model is None and (problem.weight.any() or not problem.gain.any()):
        # where nobody has a share, everybody counts alike
        weight = problem.weight if problem.weight.any() else np.full(n, 1 / n)
        start, passes = (
            _Prices(free.multiplier - float(problem.gain.max()), np.zeros(limit.size)),
            float(free.passes),
        )
        for lent in _LENT:
            y, start, used = _dual(
                replace(problem, weight=np.maximum(weight, lent * problem.scale / n)), start
            )
            passes += used
            if lent in (_LENT[0], _LENT[-2], _LENT[-1]):
                proposed = answer(y * problem.pool, "dual", "optimal", passes)
                if max(proposed.gap, proposed.residual) <= _PROVED:
                    return proposed
                contradiction.refuse()
    if model is None:
        contradiction.refuse()
        model = RuleModel(n, rules)
    y, solver, status = model.solve(problem)
    modelled = answer(y * problem.pool, solver, status, 0)
    if modelled.residual > _USELESS:
        raise ArithmeticError(
            f"no split found: the one of {solver} ({status}) breaks a bound by"
            f" {modelled.residual:.1e}. Rules that leave a unit with share nothing at all, so that"
            " its logarithm has no value, end like this"
        )
    return modelled


# --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Prices:
    """The point of the dual: nu less the largest gain (which it may agree with in all its digits),
    and mu per side of a rule.
    """

    level: float
    mu: Floats


class _Dual:
    """The dual function over nu and the sides that have joined: its slope, its curvature, and the
    payouts at a point.
    """

    def __init__(self, problem: RuledPool, sides: Ints) -> None:
        from scipy import sparse

        row, sign, limit = problem.sides()
        ones = sparse.csr_array(np.ones((1, problem.rows.shape[1])))
        self.problem, self.passes = problem, 0
        self.columns = sparse.csr_array(
            sparse.vstack([ones, problem.rows[row[sides]].multiply(sign[sides][:, None])])
        )
        self.limit = np.append(1.0, limit[sides])
        self.deficit = float(problem.gain.max()) - problem.gain

    def payouts(self, x: Floats) -> Floats:
        """(n,) what is best at these prices."""
        self.passes += 1
        p = self.problem
        distance = self.deficit + (self.columns.T @ x)[p.pattern]
        wish = np.where(
            distance > 0,
            p.weight / distance,
            np.where((p.weight > 0) | (distance < 0), math.inf, 0.0),
        )
        return np.clip(wish, p.floor, p.cap)

    def slope(self, y: Floats) -> Floats:
        """The dual's derivative: what these payouts leave of the pool and of the sides."""
        return np.asarray(
            self.limit - self.columns @ np.bincount(self.problem.pattern, y, self.columns.shape[1])
        )

    def curvature(self, y: Floats) -> tuple[Floats, Any]:
        """What a unit gives up per unit of price, and the second derivative of the dual."""
        p = self.problem
        gives = np.where((p.floor < y) & (y < p.cap) & (p.weight > 0), y * y / p.weight, 0.0)
        per_pattern = np.bincount(p.pattern, gives, self.columns.shape[1])
        return gives, (self.columns.multiply(per_pattern) @ self.columns.T).tocsr()


def _dual(problem: RuledPool, start: _Prices) -> tuple[Floats, _Prices, int]:
    """Payouts, prices and passes; payouts keep the bounds, and the pool and the binding rules as
    nearly as it got.
    """
    row, sign, limit = problem.sides()
    level, mu, passes = start.level, start.mu.copy(), 0
    sides = np.flatnonzero(mu > 0)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        for _ in range(_MAX_ROUNDS):
            dual = _Dual(problem, sides)
            x, y = _newton(dual, np.append(level, mu[sides]))
            y = _exactly(dual, x, y)
            level, mu[sides] = float(x[0]), x[1:]
            passes += dual.passes
            slack = limit - sign * problem.totals(y)[row]
            broken = np.setdiff1d(np.flatnonzero(slack < -_SETTLED * np.abs(limit)), sides)
            if not broken.size:
                break
            sides = np.sort(np.append(sides, broken))
    return y, _Prices(level, mu), passes


def _newton(dual: _Dual, x: Floats) -> tuple[Floats, Floats]:
    """The minimum over x with x[1:] >= 0, each step to the minimum of the quadratic model over the
    same x.
    """
    from scipy import sparse

    y = dual.payouts(x)
    for _ in range(_MAX_STEPS):
        slope = dual.slope(y)
        wrong = np.where((x > 0) | (slope < 0) | (np.arange(x.size) == 0), np.abs(slope), 0.0)
        if (
            float((wrong / np.maximum(np.abs(dual.limit), 1e-12)).max()) <= _SETTLED
            or np.abs(x).max() > _ENDLESS * dual.problem.scale
        ):
            break
        # a group whose units all sit at bounds has no curvature: it moves by at most ten times the
        # size of prices
        _, bend = dual.curvature(y)
        own = bend.diagonal()
        bend = (
            bend
            + sparse.diags_array(
                wrong / (10 * max(dual.problem.scale, abs(float(x[0])))) + 1e-15 * own + 1e-300
            )
        ).tocsr()
        direction = _quadratic(bend, slope, x)
        shrinking = (direction < 0) & (np.arange(x.size) > 0)
        longest = float((x[shrinking] / -direction[shrinking]).min(initial=math.inf))
        lower = _along(dual, x, direction, float(slope @ direction), max(longest, 1.0))
        if lower is None or (np.abs(lower[0] - x) <= 4 * EPS * np.abs(x)).all():
            break
        x, y = lower
    return x, y


def _quadratic(bend: Any, slope: Floats, x: Floats) -> Floats:
    """The d that minimises slope d + d bend d / 2 with x[1:] + d[1:] >= 0: whichever variables are
    on the wrong side change it.
    """
    least = np.append(-math.inf, -x[1:])
    held = (x == 0) & (slope > 0)
    held[0] = False
    for _ in range(_MAX_PIVOTS):
        d, free = np.where(held, least, 0.0), np.flatnonzero(~held)
        d[free] = _solved(bend[free][:, free], -(slope + bend @ d)[free])
        wrong = np.where(held, bend @ d + slope < 0, d < least)
        if not wrong.any():
            break
        held ^= wrong
    return np.asarray(np.maximum(d, least))


def _solved(matrix: Any, right: Floats) -> Floats:
    """The least solution of a symmetric system; sparse where it is large, for groups that share no
    unit leave it nearly diagonal.
    """
    from scipy.sparse.linalg import spsolve

    unit = 1 / np.sqrt(np.maximum(matrix.diagonal(), 1e-300))
    if right.size <= _DENSE:
        return np.asarray(
            np.linalg.lstsq(matrix.toarray() * np.outer(unit, unit), right * unit)[0] * unit
        )
    return np.asarray(
        spsolve(matrix.multiply(unit).multiply(unit[:, None]).tocsc(), right * unit) * unit
    )


def _along(
    dual: _Dual, x: Floats, direction: Floats, down: float, longest: float
) -> tuple[Floats, Floats] | None:
    """A point on the ray where the dual falls at most half as steeply as at its start; None where
    rounding leaves no progress.
    """
    if not down < 0:
        return None
    left, right, t = 0.0, math.inf, min(1.0, longest)
    at_left, at_right = down, math.nan
    for _ in range(_MAX_SEARCH):
        point = x + t * direction
        point[1:] = np.maximum(point[1:], 0.0)
        if t == longest:
            point[1:][(x[1:] + t * direction[1:]) <= 1e-15 * x[1:]] = 0.0
        y = dual.payouts(point)
        steep = float(dual.slope(y) @ direction)
        if abs(steep) <= -0.5 * down or (steep < 0 and t >= longest):
            return point, y
        if steep < 0:
            left, at_left = t, steep
        else:
            right, at_right = t, steep
        if right == math.inf:
            t = min(4 * t, longest)
        else:
            t = left + (right - left) * min(
                max(at_left / (at_left - at_right), 0.1 if left > 0 else 1e-3), 0.5
            )
        if right - left <= 1e-15 * right:
            break
    return point, y


def _exactly(dual: _Dual, x: Floats, y: Floats) -> Floats:
    """The rounding and what Newton left over, spread over the units between their bounds at the
    least cost to the objective.
    """
    binds = np.append(0, 1 + np.flatnonzero(x[1:] > 0))
    for _ in range(6):
        slope = dual.slope(y)[binds]
        if float(np.abs(slope).max()) <= 1e-16:
            break
        gives, bend = dual.curvature(y)
        step = np.zeros_like(x)
        step[binds] = _solved(bend[binds][:, binds], slope)
        y = np.clip(
            y + gives * (dual.columns.T @ step)[dual.problem.pattern],
            dual.problem.floor,
            dual.problem.cap,
        )
        dual.passes += 1
    return y
