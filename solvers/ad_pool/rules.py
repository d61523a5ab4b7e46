"""Split one advertising pool under rules over groups of units: a part for the small, nobody over a
part.

Belongs here: the search for the rules' multipliers, the same problem as a CVXPY model, and which
rules contradict each other. Does not: the statement of the problem and the proof of its answer
(`solvers.ad_pool.certificate`), the pool without rules (`solvers.ad_pool`), and where rules come from.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib import import_module
from itertools import combinations
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from solvers.ad_pool.allocate import allocate_pool
from solvers.ad_pool.certificate import EachAtMost, PoolProblem, Rule, judge, pool_problem
from solvers.arrays import Floats, Ints
from solvers.errors import InfeasibleError

__all__ = ["EachAtMost", "Rule", "RuleModel", "RuledAllocation", "allocate_with_rules"]

_EPS = float(np.finfo(np.float64).eps)
_PROVED = 1e-9
"""Gap and primal residual of an answer of the dual search; with more than that, the model is asked.
"""
_ENDLESS = 1e10
"""Prices beyond this, as multiples of the size of prices, run away: the rules contradict each
other.
"""
_USELESS = 1e-4
"""Primal residual above which an answer of the model is none."""
_FEASIBLE = 1e-9
"""Relative violation up to which rules count as kept when a contradiction is looked for."""
_SETTLED = 1e-13
_LENT = (0.0, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8, 1e-9, 1e-10, 1e-11, 0.0)
"""Weights of the logarithm, as parts of all, lent to units that have less: none, and where that
fails ever less, down to none.
"""
_MAX_STEPS, _MAX_SEARCH, _MAX_ROUNDS, _MAX_PIVOTS, _DENSE = 60, 60, 60, 30, 100
_MOST_PATTERNS, _MOST_SUBSETS = 10_000, 3_000


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
    objective: Literal["blend", "linear"] = "blend",
    floor: npt.ArrayLike | None = None,
    cap: npt.ArrayLike | None = None,
    model: RuleModel | None = None,
) -> RuledAllocation:
    r"""Split `pool` as `solvers.ad_pool.allocate_pool` does, with rules on top.

    .. math:: \text{minimum}_r \le \sum_v A_{rv} p_v / P \le \text{maximum}_r

    The payouts that are best under multipliers nu of the pool and mu of the rules are in closed
    form,
    :math:`y_v = \text{clip}(a_v / (\nu + (A^T \mu)_v - b_v))`; the dual function of (nu, mu) is
    convex and as smooth as that, and has one variable more than rules that bind. Newton's method
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
    Where the dual search does not prove its answer within 1e-9 (see `solvers.ad_pool.certificate`), the
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
    >>> shares, small = [1, 4, 16], [True, False, False]
    >>> best = allocate_with_rules(100.0, shares, [Rule("small", small, minimum=0.2)], lambda_eff=0.0)
    >>> best.payout.round(2).tolist(), round(best.rule_multipliers["small"], 3)
    ([20.0, 26.67, 53.33], -0.179)
    >>> allocate_with_rules(100.0, shares, [EachAtMost("nobody", 0.4)], lambda_eff=0.0).payout.round(2).tolist()
    [20.0, 40.0, 40.0]
    >>> allocate_with_rules(100.0, shares, [Rule("small", small, minimum=0.2)], cap=[15, 90, 90])
    Traceback (most recent call last):
        ...
    solvers.errors.InfeasibleError: these cannot all be kept: the caps, so 'small' at most 15; rule 'small': at least 0.2 of the pool (20)
    """
    problem = pool_problem(
        pool,
        share,
        alpha=alpha,
        lambda_fair=lambda_fair,
        lambda_eff=lambda_eff,
        objective=objective,
        floor=floor,
        cap=cap,
        rules=rules,
    )
    names, n = [rule.name for rule in rules], problem.weight.size
    lo = np.broadcast_to(np.asarray(0.0 if floor is None else floor, dtype=np.float64), (n,))
    caps = np.broadcast_to(np.asarray(math.inf if cap is None else cap, dtype=np.float64), (n,))
    hi = caps
    for _, maximum in problem.unit_caps:
        hi = np.minimum(hi, maximum * problem.pool)

    def answer(payout: Floats, solver: str, status: str, passes: float) -> RuledAllocation:
        paid = np.clip(payout, lo, hi) + 0.0
        proof = judge(problem, paid, names)
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
    contradiction = _Contradiction(problem, rules, lo, caps)
    nothing = problem.pool == 0 or n == 0
    if not nothing and problem.rows.shape[1] <= _MOST_PATTERNS:
        contradiction.refuse()
    try:
        free = allocate_pool(
            pool,
            share,
            alpha=alpha,
            lambda_fair=lambda_fair,
            lambda_eff=lambda_eff,
            objective=objective,
            floor=lo,
            cap=hi,
        )
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
                found = answer(y * problem.pool, "dual", "optimal", passes)
                if max(found.gap, found.residual) <= _PROVED:
                    return found
                contradiction.refuse()
    if model is None:
        contradiction.refuse()
        model = RuleModel(n, rules)
    y, solver, status = model.solve(problem)
    found = answer(y * problem.pool, solver, status, 0)
    if found.residual > _USELESS:
        raise ArithmeticError(
            f"no split found: the one of {solver} ({status}) breaks a bound by"
            f" {found.residual:.1e}. Rules that leave a unit with share nothing at all, so that its"
            " logarithm has no value, end like this"
        )
    return found


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

    def __init__(self, problem: PoolProblem, sides: Ints) -> None:
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


def _dual(problem: PoolProblem, start: _Prices) -> tuple[Floats, _Prices, int]:
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
        found = _along(dual, x, direction, float(slope @ direction), max(longest, 1.0))
        if found is None or (np.abs(found[0] - x) <= 4 * _EPS * np.abs(x)).all():
            break
        x, y = found
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


# --------------------------------------------------------------------------------------------------


class RuleModel:
    """The same problem for CVXPY, built once for a number of units and their memberships;
    everything else is a parameter.

    Payouts are counted in mean payouts. Clarabel first (HiGHS where there is no logarithm), with
    tolerances of 1e-10; SCS where it fails.

    Examples
    --------
    >>> rules = [Rule("small", [True, False, False], minimum=0.2)]
    >>> best = allocate_with_rules(100.0, [1, 4, 16], rules, lambda_eff=0.0, model=RuleModel(3, rules))
    >>> best.payout.round(2).tolist(), best.solver, best.status
    ([20.0, 26.67, 53.33], 'CLARABEL', 'optimal')
    """

    def __init__(self, units: int, rules: Sequence[Rule | EachAtMost]) -> None:
        cvxpy: Any = import_module("cvxpy")
        shape = pool_problem(
            1.0,
            np.ones(units),
            alpha=1.0,
            lambda_fair=1.0,
            lambda_eff=0.0,
            objective="blend",
            rules=rules,
        )
        row, sign, limit = shape.sides()
        self._shape, self._z = shape, cvxpy.Variable(units)
        parameters = {
            "weight": units,
            "gain": units,
            "idle": units,
            "floor": units,
            "cap": units,
            "limit": limit.size,
        }
        self._parameter = {
            name: cvxpy.Parameter(size, nonneg=name in ("weight", "idle"))
            for name, size in parameters.items()
        }
        p, z = self._parameter, self._z
        bounds = [cvxpy.sum(z) == units, z >= p["floor"], z <= p["cap"]]
        if limit.size:
            bounds.append(
                shape.rows[row].multiply(sign[:, None]).tocsc()[:, shape.pattern] @ z <= p["limit"]
            )
        self._smooth = cvxpy.Problem(
            cvxpy.Maximize(p["weight"] @ cvxpy.log(z + p["idle"]) + p["gain"] @ z), bounds
        )
        self._linear = cvxpy.Problem(cvxpy.Maximize(p["gain"] @ z), bounds)

    def solve(self, problem: PoolProblem) -> tuple[Floats, str, str]:
        """Parts of the pool, the solver that ran, and its status."""
        cvxpy: Any = import_module("cvxpy")
        units, same = problem.weight.size, self._shape
        if (
            not np.array_equal(problem.pattern, same.pattern)
            or problem.rows.shape != same.rows.shape
            or (problem.rows != same.rows).nnz
        ):
            raise ValueError(
                f"this model was built for {same.weight.size} units with other memberships"
            )
        values = {
            "weight": problem.weight / problem.scale,
            "gain": problem.gain / (problem.scale * units),
            "idle": (problem.weight == 0).astype(np.float64),
            "floor": problem.floor * units,
            "cap": problem.cap * units,
            "limit": problem.sides()[2] * units,
        }
        for name, value in values.items():
            self._parameter[name].value = value
        tight: dict[str, dict[str, float]] = {
            "HIGHS": {"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10},
            "CLARABEL": {"tol_feas": 1e-10, "tol_gap_abs": 1e-10, "tol_gap_rel": 1e-10},
            "SCS": {"eps_abs": 1e-9, "eps_rel": 1e-9},
        }
        model, solvers = (
            (self._smooth, ("CLARABEL", "SCS"))
            if problem.weight.any()
            else (self._linear, ("HIGHS", "CLARABEL"))
        )
        statuses, inaccurate = {}, None
        for solver in solvers:
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # the status says it, and is passed on
                    model.solve(solver=solver, **tight[solver])
                statuses[solver] = str(model.status)
            except cvxpy.error.SolverError as error:
                statuses[solver] = str(error)
            if statuses[solver] == "optimal":
                return np.asarray(self._z.value) / units, solver, "optimal"
            if statuses[solver] == "optimal_inaccurate" and inaccurate is None:
                inaccurate = np.asarray(self._z.value) / units, solver, "optimal_inaccurate"
        if inaccurate is None:
            raise ArithmeticError(f"no solver of the model ended with a solution: {statuses}")
        return inaccurate


# --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Member:
    """Something that must be kept: the pool, the floors, the caps, an `EachAtMost` by unit, or a
    bound of a rule (some of the sides).
    """

    kind: Literal["pool", "floors", "caps", "units", "rule"]
    text: str
    rule: int = -1
    sides: tuple[int, ...] = ()


class _Contradiction:
    """Which of the pool, the floors, the caps and the rules cannot be kept together."""

    def __init__(
        self, problem: PoolProblem, rules: Sequence[Rule | EachAtMost], lo: Floats, caps: Floats
    ) -> None:
        self.problem, self.rules, self.lo, self.caps = problem, rules, lo, caps
        self.money = problem.pool
        row, sign, _ = problem.sides()
        members = [_Member("pool", f"the pool of {self.money:.12g} is paid out")]
        if lo.any():
            members.append(_Member("floors", "the floors"))
        if np.isfinite(caps).any():
            members.append(_Member("caps", "the caps"))
        units = dict(problem.unit_caps)
        for index, rule in enumerate(rules):
            of_rule = problem.rule_of_row[row] == index
            if index in units:
                members.append(
                    _Member(
                        "units", f"{self._bound(rule, 'each unit at most', rule.maximum)}", index
                    )
                )
                continue
            who = "each group " if isinstance(rule, EachAtMost) else ""
            for side, words, bound in (
                (-1, "at least", getattr(rule, "minimum", None)),
                (1, f"{who}at most", rule.maximum),
            ):
                if bound is not None:
                    chosen = tuple(np.flatnonzero(of_rule & (sign == side)).tolist())
                    members.append(_Member("rule", self._bound(rule, words, bound), index, chosen))
        self.members = members
        self._feasible = cache(self._feasible_anew)
        self._patterns = cache(self._patterns_anew)

    def refuse(self) -> None:
        """Raise InfeasibleError if there is a contradiction."""
        everything = frozenset(range(len(self.members)))
        if self._feasible(everything):
            return
        core = everything
        for member in sorted(everything, reverse=True):
            if not self._feasible(core - {member}):
                core -= {member}
        size = 1
        while size < len(core) and math.comb(len(everything), size) <= _MOST_SUBSETS:
            smaller = (frozenset(x) for x in combinations(range(len(self.members)), size))
            core = next((x for x in smaller if not self._feasible(x)), core)
            size += 1
        raise InfeasibleError("these cannot all be kept: " + "; ".join(self._words(core)))

    def _bounds(self, kept: frozenset[int]) -> tuple[Floats, Floats]:
        """Least and largest payouts, in parts of the pool, that the floors, caps and unit rules
        among `kept` leave each unit.
        """
        lo, hi = np.zeros(self.lo.size), np.full(self.lo.size, math.inf)
        for member in (self.members[i] for i in kept):
            if member.kind == "floors":
                lo = self.lo / self.money
            elif member.kind == "caps":
                hi = np.minimum(hi, self.caps / self.money)
            elif member.kind == "units":
                hi = np.minimum(hi, self.rules[member.rule].maximum or 0.0)
        return lo, hi

    def _patterns_anew(self, kept: frozenset[int]) -> tuple[Floats, Floats] | None:
        """The same per pattern, None where a unit's floor is above its cap."""
        lo, hi = self._bounds(kept)
        if (lo > hi * (1 + _FEASIBLE)).any():
            return None
        size = self.problem.rows.shape[1]
        least, most = (
            np.asarray(np.bincount(self.problem.pattern, x, size), dtype=np.float64)
            for x in (lo, hi)
        )
        return least, np.maximum(least, most)

    def _feasible_anew(self, kept: frozenset[int]) -> bool:
        """Whether the smallest possible relative violation of the pool and the rules is 0, given
        the bounds.
        """
        from scipy import sparse
        from scipy.optimize import linprog

        bounds = self._patterns(
            frozenset(i for i in kept if self.members[i].kind in ("floors", "caps", "units"))
        )
        if bounds is None:
            return False
        least, most = bounds
        row, sign, limit = self.problem.sides()
        chosen = np.array([side for i in kept for side in self.members[i].sides], dtype=np.int64)
        left, right = (
            self.problem.rows[row[chosen]].multiply(sign[chosen][:, None]).tocsr(),
            limit[chosen],
        )
        if any(self.members[i].kind == "pool" for i in kept):
            ones = sparse.csr_array(np.ones((1, least.size)))
            left, right = sparse.vstack([left, ones, -ones]), np.append(right, [1.0, -1.0])
        size = np.where(right == 0, 1.0, np.abs(right))
        if not right.size or (left @ least - right <= _FEASIBLE * size).all():
            return True
        found = linprog(
            np.append(np.zeros(least.size), 1.0),
            A_ub=sparse.hstack([left, -size[:, None]]).tocsc(),
            b_ub=right,
            bounds=np.column_stack([np.append(least, 0.0), np.append(most, math.inf)]),
            options={"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10},
        )
        if not found.success:
            raise ArithmeticError(f"the search for a contradiction failed: {found.message}")
        return bool(found.fun <= _FEASIBLE)

    def _bound(self, rule: Rule | EachAtMost, words: str, bound: float | None) -> str:
        assert bound is not None
        return f"rule {rule.name!r}: {words} {bound:.12g} of the pool ({bound * self.money:.12g})"

    def _words(self, core: frozenset[int]) -> list[str]:
        """Every member with what follows from it for the others."""
        kinds = {self.members[i].kind for i in core}
        sign = self.problem.sides()[1]
        words = []
        for i in sorted(core):
            member, text = self.members[i], self.members[i].text
            if member.kind in ("floors", "caps", "units"):
                lo, hi = self._bounds(frozenset([i]))
                values, bound, against = (
                    (lo, "least", 1) if member.kind == "floors" else (hi, "most", -1)
                )
                follows = (
                    [f"together at {bound} {float(values.sum()) * self.money:.12g}"]
                    if "pool" in kinds
                    else []
                )
                for j in sorted(core):
                    other = self.members[j]
                    if (
                        other.kind == "rule"
                        and sign[other.sides[0]] == against
                        and isinstance(rule := self.rules[other.rule], Rule)
                    ):
                        reach = (
                            float(
                                np.asarray(rule.members, dtype=np.float64)
                                @ np.where(rule.members, values, 0.0)
                            )
                            * self.money
                        )
                        follows.append(f"so {rule.name!r} at {bound} {reach:.12g}")
                if kinds <= {"floors", "caps", "units"}:
                    bad = np.subtract(*self._bounds(core))
                    unit = int(np.argmax(bad))
                    follows.append(f"{float(values[unit]) * self.money:.12g} for row {unit}")
                text = ", ".join([text, *follows])
            elif isinstance(rule := self.rules[member.rule], EachAtMost) and member.kind == "rule":
                text += f", and there are {len(member.sides)}"
            elif isinstance(rule, Rule) and member.kind == "rule" and not np.any(rule.members):
                text += ", and it has no members"
            words.append(text)
        return words
