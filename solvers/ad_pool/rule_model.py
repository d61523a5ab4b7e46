"""The pool with rules as a CVXPY model, for where the dual search does not prove its answer.

Belongs here: the model, its solvers and their tolerances. Does not: when it is asked (`rules`).
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import numpy as np

from solvers.ad_pool.inputs import EachAtMost, Rule
from solvers.ad_pool.problem import RuledPool, ruled_pool
from solvers.arrays import Floats


class RuleModel:
    """The same problem for CVXPY, built once for a number of units and their memberships;
    everything else is a parameter.

    Payouts are counted in mean payouts. Clarabel first (HiGHS where there is no logarithm), with
    tolerances of 1e-10; SCS where it fails.

    Examples
    --------
    >>> from solvers.ad_pool import allocate_with_rules
    >>> rules = [Rule("small", [True, False, False], minimum=0.2)]
    >>> best = allocate_with_rules(100.0, [1, 4, 16], rules, lambda_eff=0.0,
    ...     model=RuleModel(3, rules))
    >>> best.payout.round(2).tolist(), best.solver, best.status
    ([20.0, 26.67, 53.33], 'CLARABEL', 'optimal')
    """

    def __init__(self, units: int, rules: Sequence[Rule | EachAtMost]) -> None:
        cvxpy: Any = import_module("cvxpy")
        shape = ruled_pool(
            1.0,
            np.ones(units),
            rules,
            alpha=1.0,
            lambda_fair=1.0,
            lambda_eff=0.0,
            objective="blend",
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

    def solve(self, problem: RuledPool) -> tuple[Floats, str, str]:
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
