"""Equilibria of a donation market by the interior point method, against CVXPY with Clarabel on the
same potential.

python -m benchmarks.donation_market --help

Starts itself again with one thread for linear algebra, unless OMP_NUM_THREADS or
OPENBLAS_NUM_THREADS is set: the matrices are small, and threads that wait for each other on a busy
machine take several times as long as one.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import time
from collections.abc import Iterator
from importlib import import_module
from typing import Any

import numpy as np

from solvers.donation_market import DonationMarket
from solvers.donation_market.mechanism import PowerDonation

DONATION = PowerDonation(math.exp(-1.17), 0.6)


def instance(locations: int, opportunity_cost: float, deviation_cost: float) -> DonationMarket:
    """The case study's shape: creators and viewers waves around the day, streams of a twelfth of
    it.
    """
    angle = 2 * np.pi * np.arange(locations) / locations
    creators, viewers = 250 + 75 * np.sin(angle + 1.8), 3000 + 1000 * np.sin(angle)
    window = max(1, round(locations / 12))
    costs = {"opportunity_cost": opportunity_cost, "deviation_cost": deviation_cost}
    return DonationMarket(creators, viewers, window=window, **costs, donation=DONATION)


def with_cvxpy(
    market: DonationMarket, alpha: float
) -> tuple[float, np.ndarray[Any, np.dtype[np.float64]]]:
    """The potential as it stands, masses in shares of all creators; its maximum and who serves each
    location.
    """
    cvxpy: Any = import_module("cvxpy")
    size, everyone, b = market.viewers.size, float(market.creators.sum()), DONATION.exponent
    y = cvxpy.Variable((size, size), nonneg=True)
    weights = alpha * DONATION.scale * market.viewers**b * everyone ** (1 - b) / (1 - b)
    cost = everyone * (market.opportunity_cost + market.deviation_cost * market.squared_distance)
    served = market.serves @ cvxpy.sum(y, axis=0)
    scale = float(weights.sum())
    gain = (weights / scale) @ cvxpy.power(served, 1 - b) - cvxpy.sum(
        cvxpy.multiply(cost / scale, y)
    )
    problem = cvxpy.Problem(
        cvxpy.Maximize(gain), [cvxpy.sum(y, axis=1) <= market.creators / everyone]
    )
    value = scale * float(problem.solve(solver="CLARABEL"))
    return value, everyone * (market.serves @ y.value.sum(axis=0))


def measure(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    alphas = np.linspace(0.05, 1, options.alphas)
    with_cvxpy(instance(4, 1.0, 1.0), 0.5)  # CVXPY is imported here
    for locations in options.locations:
        market = instance(locations, options.opportunity_cost, options.deviation_cost)
        row: dict[str, Any] = {"locations": locations, "window": market.window}
        times = []
        for _ in range(options.repeats):
            start = time.perf_counter()
            batch = market.equilibrium(alphas)
            times.append(time.perf_counter() - start)
        row |= {
            "seconds": min(times) / alphas.size,
            "gap": float(batch.gap.max()),
            "residual": float(batch.residual.max()),
        }
        start = time.perf_counter()
        for alpha in alphas:
            market.equilibrium(float(alpha))
        row["one_by_one"] = (time.perf_counter() - start) / alphas.size
        if locations <= options.cvxpy_at_most:
            taken, value_off, serving_off = [], 0.0, 0.0
            for at in np.linspace(0, alphas.size - 1, options.cvxpy_alphas).astype(int):
                start = time.perf_counter()
                value, serving = with_cvxpy(market, float(alphas[at]))
                taken.append(time.perf_counter() - start)
                value_off = max(value_off, abs(value / float(batch.potential[at]) - 1))
                serving_off = max(serving_off, float(np.max(abs(serving / batch.serving[at] - 1))))
            row |= {
                "cvxpy_seconds": float(np.mean(taken)),
                "cvxpy_value": value_off,
                "cvxpy_serving": serving_off,
            }
            row["ratio"] = row["cvxpy_seconds"] / row["seconds"]
        if locations <= options.split_at_most:
            start = time.perf_counter()
            market.optimal_split()
            row["split_seconds"] = time.perf_counter() - start
        yield row


def main(arguments: list[str] | None = None) -> None:
    """Print the time of one equilibrium, in a batch over alpha and alone, and how many times longer
    CVXPY takes.
    """
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--locations", type=int, nargs="+", default=[10, 24, 96, 288])
    parser.add_argument("--alphas", type=int, default=20, help="splits from .05 to 1 in one batch")
    parser.add_argument("--opportunity-cost", type=float, default=2.0)
    parser.add_argument("--deviation-cost", type=float, default=10.0)
    parser.add_argument(
        "--cvxpy-alphas",
        type=int,
        default=2,
        help="how many of the splits CVXPY solves; its time is their mean",
    )
    parser.add_argument(
        "--cvxpy-at-most", type=int, default=96, help="largest number of locations given to CVXPY"
    )
    parser.add_argument(
        "--split-at-most",
        type=int,
        default=96,
        help="largest number of locations whose best split is looked for",
    )
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    if options.json:
        print(json.dumps(list(measure(options))))
        return
    heads = {
        "L": 4,
        "K": 3,
        "ms/alpha": 9,
        "alone": 8,
        "gap": 8,
        "CVXPY ms": 9,
        "ratio": 6,
        "value": 8,
        "serving": 8,
        "best split": 11,
    }
    print(*(f"{head:>{width}}" for head, width in heads.items()))
    for row in measure(options):
        line = (
            f"{row['locations']:>4} {row['window']:>3} {1e3 * row['seconds']:>9.2f}"
            f" {1e3 * row['one_by_one']:>8.2f} {row['gap']:>8.0e}"
        )
        if "ratio" in row:
            line += (
                f" {1e3 * row['cvxpy_seconds']:>9.1f} {row['ratio']:>5.0f}x"
                f" {row['cvxpy_value']:>8.0e} {row['cvxpy_serving']:>8.0e}"
            )
        else:
            line += f" {'':>9} {'':>6} {'':>8} {'':>8}"
        print(
            line + (f" {row['split_seconds']:>9.2f} s" if "split_seconds" in row else ""),
            flush=True,
        )


if __name__ == "__main__":
    threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    if not threads.keys() & os.environ.keys():
        os.execve(sys.executable, sys.orig_argv, os.environ | threads)
    main()
