"""The closed form of the per-video coin split, against one general solver call per video (CVXPY,
and scipy's SLSQP).

python -m benchmarks.coin_split --help
"""

from __future__ import annotations

import argparse
import json
import math
import time
from importlib import import_module
from typing import Any

import numpy as np
import numpy.typing as npt

from solvers.coin_split import split_videos

Floats = npt.NDArray[np.float64]
POLICY: dict[str, float] = {
    "theta": 0.5,
    "normal_max": 0.6,
    "premium_max": 0.8,
    "min_gap": 0.05,
    "max_gap": 0.4,
    "lambda_rev": 0.4,
    "lambda_util": 0.4,
    "lambda_inc": 0.2,
    "epsilon": 1.0,
}


def coins(videos: int, seed: int) -> tuple[Floats, Floats, Floats]:
    rng = np.random.default_rng(seed)
    return 10 ** rng.uniform(0, 5, videos), 10 ** rng.uniform(0, 5, videos), rng.random(videos)


def weights(normal: float, premium: float, quality: float) -> tuple[float, float, float, float]:
    """Revenue floor, and the weights of -pay, log1p(pay) and the gap in the normalised objective."""
    total = normal + premium
    floor = 0.1 * total
    top = math.log1p(POLICY["normal_max"] * normal + POLICY["premium_max"] * premium)
    utility = POLICY["lambda_util"] * (1 + POLICY["theta"] * quality) / (1 + POLICY["theta"]) / top
    return (
        floor,
        POLICY["lambda_rev"] / (total - floor),
        utility,
        POLICY["lambda_inc"] / (POLICY["max_gap"] - POLICY["min_gap"]),
    )


def with_cvxpy(normal: float, premium: float, quality: float) -> float:
    cvxpy: Any = import_module("cvxpy")
    floor, a, b, c = weights(normal, premium, quality)
    x = cvxpy.Variable(2, nonneg=True)
    pay, gap = x[0] * normal + x[1] * premium, x[1] - x[0]
    rules = [
        x[0] <= POLICY["normal_max"],
        x[1] <= POLICY["premium_max"],
        gap >= POLICY["min_gap"],
        gap <= POLICY["max_gap"],
    ]
    goal = cvxpy.Maximize(-a * pay + b * cvxpy.log(1 + pay) + c * gap)
    return float(
        cvxpy.Problem(goal, [*rules, normal + premium - pay >= floor]).solve(solver="CLARABEL")
    )


def with_scipy(normal: float, premium: float, quality: float) -> float:
    from scipy.optimize import LinearConstraint, minimize

    floor, a, b, c = weights(normal, premium, quality)

    def cost(x: Floats) -> float:
        pay = x[0] * normal + x[1] * premium
        return float(a * pay - b * math.log1p(max(pay, 0.0)) - c * (x[1] - x[0]))

    rules = LinearConstraint(
        [[-1, 1], [normal, premium]],
        [POLICY["min_gap"], -np.inf],
        [POLICY["max_gap"], normal + premium - floor],
    )
    bounds = [(0, POLICY["normal_max"]), (0, POLICY["premium_max"])]
    return -float(
        minimize(
            cost,
            [0.0, POLICY["min_gap"]],
            bounds=bounds,
            constraints=rules,
            method="SLSQP",
            options={"ftol": 1e-12},
        ).fun
    )


def measure(options: argparse.Namespace) -> dict[str, Any]:
    normal, premium, quality = coins(options.videos, options.seed)
    arguments: dict[str, Any] = {**POLICY, "revenue_floor": 0.1 * (normal + premium)}
    times = []
    for _ in range(options.repeats):
        start = time.perf_counter()
        best = split_videos(normal, premium, quality, **arguments)
        times.append(time.perf_counter() - start)
    result: dict[str, Any] = {
        "videos": options.videos,
        "seconds": min(times),
        "microseconds_per_video": min(times) / options.videos * 1e6,
    }
    solvers = {"cvxpy": with_cvxpy, "scipy": with_scipy}
    for name, solver in solvers.items():
        solver(float(normal[0]), float(premium[0]), float(quality[0]))
        excess = 0.0
        start = time.perf_counter()
        values = [
            solver(float(normal[i]), float(premium[i]), float(quality[i]))
            for i in range(options.sample)
        ]
        seconds = (time.perf_counter() - start) / options.sample
        for i, theirs in enumerate(values):
            _, a, b, c = weights(normal[i], premium[i], quality[i])
            gap = best.premium_share[i] - best.normal_share[i]
            excess = max(
                excess,
                theirs - float(-a * best.payout[i] + b * math.log1p(best.payout[i]) + c * gap),
            )
        result[name] = {
            "seconds_per_video": seconds,
            "ratio": seconds * options.videos / min(times),
            "largest_excess": excess,
        }
    return result


def main(arguments: list[str] | None = None) -> None:
    """Print the time per video of the closed form and of each general solver."""
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--videos", type=int, default=10**6)
    parser.add_argument(
        "--sample", type=int, default=100, help="videos given to the general solvers, one call each"
    )
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    result = measure(options)
    if options.json:
        print(json.dumps(result))
        return
    print(
        f"{'':>12} {'us/video':>10} {'ratio':>9} {'objective above the closed form by at most':>44}"
    )
    print(
        f"{'closed form':>12} {result['microseconds_per_video']:>10.3f} {'1x':>9}  "
        f" ({options.videos} videos in {result['seconds']:.2f} s)"
    )
    for name in ("cvxpy", "scipy"):
        other = result[name]
        print(
            f"{name:>12} {other['seconds_per_video'] * 1e6:>10.0f} {other['ratio']:>8.0f}x"
            f" {other['largest_excess']:>44.1e}"
        )


if __name__ == "__main__":
    main()
