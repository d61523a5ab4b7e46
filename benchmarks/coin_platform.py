"""The platform-wide coin split with its proof, and one problem with a fixed total against CVXPY.

python -m benchmarks.coin_platform --help
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import time
import warnings
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import numpy as np
import numpy.typing as npt

from solvers.coin_split.video import split_platform

Floats = npt.NDArray[np.float64]
POLICY: dict[str, float] = {"normal_max": 0.6, "premium_max": 0.8, "max_gap": 0.4, "epsilon": 1.0}


def platform(videos: int, seed: int, lambda_eff: float) -> dict[str, Any]:
    """Log-normal coins, a quarter of them premium; weights as the document suggests, normalised to
    sum 1.
    """
    rng = np.random.default_rng(seed)
    coins, part, quality = (
        10 ** rng.normal(2, 1, videos),
        rng.beta(1, 3, videos),
        rng.beta(2, 2, videos),
    )
    normal, premium = np.ceil(coins * (1 - part)), np.floor(coins * part)
    coins = normal + premium
    weight, share = np.sqrt(coins / coins.sum()), coins * quality
    return {
        "normal": normal,
        "premium": premium,
        "utility_weight": 0.4 * weight / weight.sum() * (1 + 0.5 * quality),
        "incentive_weight": 0.2 * premium / max(float(premium.sum()), 1.0),
        "efficiency_share": share / share.sum(),
        "lambda_eff": lambda_eff,
        "min_gap": 0.05 * quality,
        "revenue_floor": 0.1 * float(coins.sum()),
        **POLICY,
    }


def with_cvxpy(problem: dict[str, Any], total: float, solver: str) -> tuple[float, float, str]:
    """CPU seconds, value and status of the concave problem in which the payouts add up to `total`;
    NaN where the solver gives up.

    Everything is relative to the coins of the video: as it stands in the document, Clarabel fails
    from 1e3 videos on.
    """
    cvxpy: Any = import_module("cvxpy")
    start = time.process_time()
    n = problem["normal"].size
    unit = problem["epsilon"] + problem["normal"] + problem["premium"]
    x_n, x_p = cvxpy.Variable(n, nonneg=True), cvxpy.Variable(n, nonneg=True)
    pay, gap = (
        cvxpy.multiply(problem["normal"] / unit, x_n)
        + cvxpy.multiply(problem["premium"] / unit, x_p),
        x_p - x_n,
    )
    goal = (
        problem["utility_weight"] @ cvxpy.log(problem["epsilon"] / unit + pay)
        + problem["incentive_weight"] @ gap
    )
    goal += problem["lambda_eff"] * ((problem["efficiency_share"] * unit / total) @ pay)
    rules = [
        x_n <= problem["normal_max"],
        x_p <= problem["premium_max"],
        gap >= problem["min_gap"],
        gap <= problem["max_gap"],
    ]
    model = cvxpy.Problem(cvxpy.Maximize(goal), [*rules, (unit / total) @ pay == 1])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            value, status = float(model.solve(solver=solver)), str(model.status)
        except cvxpy.error.SolverError:
            value, status = math.nan, "failed"
    return (
        time.process_time() - start,
        value + float((problem["utility_weight"] * np.log(unit)).sum()),
        status,
    )


def measure(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    for videos in options.videos:
        for lambda_eff in options.lambda_eff:
            problem = platform(videos, options.seed, lambda_eff)
            arguments = {
                name: value for name, value in problem.items() if name not in ("normal", "premium")
            }
            others = [
                x
                for x, sizes in (("CLARABEL", options.cvxpy), ("SCS", options.scs))
                if videos in sizes
            ]
            times, rivals = [], {name: [] for name in others}  # type: ignore[var-annotated]
            for _ in range(options.rounds):
                for _ in range(options.repeats):
                    start = time.process_time()
                    best = split_platform(problem["normal"], problem["premium"], **arguments)
                    times.append(time.process_time() - start)
                for name in others:
                    rivals[name].append(with_cvxpy(problem, best.total, name))
            seconds = statistics.median(times)
            yield {
                "videos": videos,
                "lambda_eff": lambda_eff,
                "seconds": seconds,
                "inner_solves": best.inner_solves,
                "seconds_per_inner_solve": seconds / best.inner_solves,
                "gap": best.gap,
                "residual": best.residual,
                "others": {
                    name: {
                        "seconds": statistics.median(found[0] for found in runs),
                        "ratio": (
                            statistics.median(found[0] for found in runs)
                            * best.inner_solves
                            / seconds
                        ),
                        "above_ours": runs[0][1] - best.value,
                        "status": runs[0][2],
                    }
                    for name, runs in rivals.items()
                },
            }


def main(arguments: list[str] | None = None) -> None:
    """Print CPU time, inner solves and certified gap per size, and the ratio to CVXPY for one inner
    solve, set-up and proof included.
    """
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument(
        "--videos", type=int, nargs="+", default=[10**3, 10**4, 10**5, 10**6, 10**7]
    )
    parser.add_argument(
        "--lambda-eff",
        type=float,
        nargs="+",
        default=[1.0, 100.0],
        help="small: nearly concave; large: many maxima",
    )
    parser.add_argument(
        "--cvxpy",
        type=int,
        nargs="*",
        default=[10**3, 10**4],
        help="sizes that Clarabel solves too, for one total",
    )
    parser.add_argument(
        "--scs",
        type=int,
        nargs="*",
        default=[],
        help="the same for SCS, a first-order method: minutes at 1e3",
    )
    parser.add_argument(
        "--rounds", type=int, default=3, help="all methods take turns so often; medians are shown"
    )
    parser.add_argument("--repeats", type=int, default=3, help="runs of ours a round")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--json", action="store_true", help="one JSON object a line instead of the table"
    )
    options = parser.parse_args(arguments)
    if not options.json:
        print(
            f"{'videos':>8} {'lambda_eff':>10} {'seconds':>9} {'solves':>7} {'ms/solve':>9}"
            f" {'gap':>9}  CVXPY: s, ratio, above ours"
        )
    for row in measure(options):
        if options.json:
            print(json.dumps(row), flush=True)
            continue
        line = (
            f"{row['videos']:>8} {row['lambda_eff']:>10g} {row['seconds']:>9.4f}"
            f" {row['inner_solves']:>7}"
        )
        line += f" {1e3 * row['seconds_per_inner_solve']:>9.3f} {row['gap']:>9.1e}"
        for name, other in row["others"].items():
            line += (
                f"  {name} {other['seconds']:.2f} {other['ratio']:.0f}x {other['above_ours']:.0e}"
                f" {other['status']}"
            )
        print(line, flush=True)


if __name__ == "__main__":
    main()
