"""The optimal reward schedule by ironing and a closed form or one bisection, against CVXPY with
Clarabel on the same program.

python -m benchmarks.reward_schedule --help
"""

from __future__ import annotations

import argparse
import json
import time
from importlib import import_module
from typing import Any

import numpy as np
import numpy.typing as npt

from solvers.reward_schedule import (
    Cost,
    PiecewiseLinearCost,
    PowerCost,
    linear_scheme,
    optimal_schedule,
    whole_rewards,
)

Floats = npt.NDArray[np.float64]


class Quadratic:
    """x + x^2 without its inverses: what any other convex cost takes."""

    def value(self, x: Floats) -> Floats:
        """Cost."""
        return x + x * x

    def derivative(self, x: Floats) -> Floats:
        """Marginal cost."""
        return 1 + 2 * x


COSTS: dict[str, Cost] = {
    "power": PowerCost(2),
    "linear": PowerCost(1),
    "kinked": PiecewiseLinearCost([0, 0.5, 1, 2], [0.5, 1, 2, 4]),
    "general": Quadratic(),
}


def instance(types: int, spread: str, seed: int) -> tuple[Floats, Floats]:
    """Mass and difficulty: "even" leaves nearly every type its own level, "random" irons nearly all
    of them together.
    """
    rng = np.random.default_rng(seed)
    if spread == "even":
        return np.ones(types), 1 + (np.arange(types, 0, -1) / types) ** 2
    return rng.random(types) + 0.01, np.sort(rng.uniform(0.5, 10, types))[::-1]


def with_cvxpy(mass: Floats, difficulty: Floats, budget: float) -> float:
    """Problem P2 for c = x^2 as it stands, objective and budget scaled to one."""
    cvxpy: Any = import_module("cvxpy")
    tail = np.append(np.cumsum(mass[::-1])[::-1][1:], 0.0)
    alpha = difficulty * mass + (difficulty - np.append(difficulty[1:], 0.0)) * tail
    x = cvxpy.Variable(mass.size, nonneg=True)
    rules = [cvxpy.sum_squares(cvxpy.multiply(np.sqrt(alpha / budget), x)) <= 1, cvxpy.diff(x) >= 0]
    problem = cvxpy.Problem(cvxpy.Maximize((mass / mass.sum()) @ x), rules)
    return float(problem.solve(solver="CLARABEL")) * float(mass.sum())


def measure(options: argparse.Namespace) -> list[dict[str, Any]]:
    rows = []
    optimal_schedule([1, 1], [2, 1], 1.0, PowerCost(2))  # scipy and CVXPY are imported here
    with_cvxpy(np.ones(2), np.array([2.0, 1.0]), 1.0)
    for types in options.types:
        for spread in ("even", "random"):
            mass, difficulty = instance(types, spread, options.seed)
            budget = float(types)
            for name in options.costs:
                if name == "general" and types > options.general_at_most:
                    continue
                times = []
                for _ in range(options.repeats):
                    start = time.perf_counter()
                    best = optimal_schedule(mass, difficulty, budget, COSTS[name])
                    times.append(time.perf_counter() - start)
                row: dict[str, Any] = {
                    "types": types,
                    "spread": spread,
                    "cost": name,
                    "seconds": min(times),
                    "blocks": best.blocks.size,
                }
                row |= {
                    "budget_residual": best.budget_residual,
                    "incentive_residual": best.incentive_residual,
                }
                if name == "power":
                    start = time.perf_counter()
                    linear = linear_scheme(mass, difficulty, budget, COSTS[name])
                    row["linear_scheme_seconds"] = time.perf_counter() - start
                    row["linear_scheme_buys"] = linear.gross_product / best.gross_product
                    start = time.perf_counter()
                    whole = whole_rewards(
                        optimal_schedule(mass, difficulty, 100 * budget, COSTS[name]),
                        mass,
                        difficulty,
                        100 * budget,
                        COSTS[name],
                    )
                    row["whole_rewards_seconds"] = time.perf_counter() - start
                    row["whole_rewards_incentive_residual"] = whole.incentive_residual
                if name == "power" and types <= options.cvxpy_at_most:
                    start = time.perf_counter()
                    value = with_cvxpy(mass, difficulty, budget)
                    row["cvxpy_seconds"] = time.perf_counter() - start
                    row["ratio"] = row["cvxpy_seconds"] / row["seconds"]
                    row["cvxpy_difference"] = value / best.gross_product - 1
                rows.append(row)
    return rows


def main(arguments: list[str] | None = None) -> None:
    """Print the time of each instance, and how many times longer CVXPY takes."""
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--types", type=int, nargs="+", default=[10**3, 10**4, 10**5, 10**6])
    parser.add_argument("--costs", nargs="+", choices=list(COSTS), default=list(COSTS))
    parser.add_argument(
        "--cvxpy-at-most", type=int, default=10**4, help="largest number of types given to CVXPY"
    )
    parser.add_argument(
        "--general-at-most",
        type=int,
        default=10**4,
        help="largest number of types with a cost known only by its values",
    )
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    rows = measure(options)
    if options.json:
        print(json.dumps(rows))
        return
    print(
        f"{'types':>8} {'spread':>7} {'cost':>8} {'blocks':>8} {'seconds':>9} {'cvxpy':>8}"
        f" {'ratio':>7} {'product':>8} {'budget':>8} off"
    )
    for row in rows:
        line = (
            f"{row['types']:>8} {row['spread']:>7} {row['cost']:>8} {row['blocks']:>8}"
            f" {row['seconds']:>9.4f}"
        )
        if "ratio" in row:
            line += (
                f" {row['cvxpy_seconds']:>8.2f} {row['ratio']:>6.0f}x"
                f" {row['cvxpy_difference']:>8.0e}"
            )
        else:
            line += f" {'':>8} {'':>7} {'':>8}"
        print(f"{line} {row['budget_residual']:>8.0e}")


if __name__ == "__main__":
    main()
