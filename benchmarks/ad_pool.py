"""How the ad pool scales with the number of videos, against the same program in CVXPY with
Clarabel.

python -m benchmarks.ad_pool --help
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

import numpy as np
import numpy.typing as npt

from solvers.ad_pool import allocate_pool, certify_pool

Floats = npt.NDArray[np.float64]
POOL = 1e9


def problem(videos: int, seed: int) -> tuple[Floats, Floats, Floats]:
    """Log-normal shares, with floors under half of the videos and caps over a third of them."""
    rng = np.random.default_rng(seed)
    share = np.exp(rng.normal(0.0, 1.0, videos))
    share /= share.sum()
    fair = POOL * np.sqrt(share) / np.sqrt(share).sum()
    floor = fair * rng.uniform(0.1, 0.9, videos) * (rng.random(videos) < 0.5)
    cap = np.where(rng.random(videos) < 1 / 3, fair * rng.uniform(1.0, 3.0, videos), np.inf)
    return share, floor, cap


def best_time(call: Callable[[], object], repeats: int) -> float:
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)


def cvxpy_time(
    solver: str, objective: str, share: Floats, floor: Floats, cap: Floats, eff: float
) -> tuple[float, str, float]:
    """Seconds that CVXPY needs to build and solve the same program, with the mean payout as the
    unit, how it ended, and what is lost.

    Lost: how far the answer, put within its bounds, is from the best value, relative to the
    objective's scale.
    """
    cvxpy: Any = import_module("cvxpy")
    start, n = time.perf_counter(), share.size
    w = np.sqrt(share)
    a, b = (
        ((1 - eff) * w, eff * share)
        if objective == "linear"
        else ((1 - eff) * w / w.sum() + eff * share, 0 * share)
    )
    y, capped = cvxpy.Variable(n), np.flatnonzero(np.isfinite(cap))
    rules = [cvxpy.sum(y) == n, y >= floor * (n / POOL), y[capped] <= cap[capped] * (n / POOL)]
    model = cvxpy.Problem(cvxpy.Maximize(a @ cvxpy.log(y) + b @ y / n), rules)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            model.solve(solver=solver)
            status = str(model.status)
        except cvxpy.error.SolverError:
            status = "failed"
    seconds = time.perf_counter() - start
    if y.value is None:
        return seconds, status, np.nan
    paid = np.clip(np.asarray(y.value) * POOL / n, np.maximum(floor, 1e-12 * POOL / n), cap)
    judged = certify_pool(
        paid * POOL / paid.sum(),
        POOL,
        share,
        lambda_fair=1 - eff,
        lambda_eff=eff,
        objective=objective,
    )  # type: ignore[arg-type]
    best = allocate_pool(
        POOL, share, lambda_fair=1 - eff, lambda_eff=eff, objective=objective, floor=floor, cap=cap
    )  # type: ignore[arg-type]
    value = certify_pool(
        best.payout, POOL, share, lambda_fair=1 - eff, lambda_eff=eff, objective=objective
    ).value  # type: ignore[arg-type]
    return seconds, status, (value - judged.value) / judged.scale


def measure(arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    for videos in arguments.videos:
        share, floor, cap = problem(videos, arguments.seed)
        for objective in ("blend", "linear"):
            for eff in arguments.lambda_eff:

                def solve(
                    objective: str = objective,
                    eff: float = eff,
                    share: Floats = share,
                    floor: Floats = floor,
                    cap: Floats = cap,
                ) -> Any:
                    return allocate_pool(
                        POOL,
                        share,
                        lambda_fair=1 - eff,
                        lambda_eff=eff,
                        objective=objective,
                        floor=floor,
                        cap=cap,
                    )  # type: ignore[arg-type]

                found = solve()
                row = {
                    "videos": videos,
                    "objective": objective,
                    "lambda_eff": eff,
                    "passes": found.passes,
                    "residual": found.residual,
                }
                row["seconds"] = best_time(solve, arguments.repeats)
                compare = videos <= arguments.cvxpy_up_to and eff == arguments.lambda_eff[0]
                row["others"] = {
                    solver: dict(
                        zip(
                            ("seconds", "status", "lost"),
                            cvxpy_time(solver, objective, share, floor, cap, eff),
                            strict=True,
                        )
                    )
                    for solver, most in (
                        ("CLARABEL", arguments.cvxpy_up_to),
                        ("SCS", arguments.scs_up_to),
                    )
                    if compare and videos <= most
                }
                yield row


def main(arguments: list[str] | None = None) -> None:
    """Print one line per size, objective and weight."""
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
        default=[0.5, 0.99999],
        help="the first one is also given to CVXPY",
    )
    parser.add_argument(
        "--cvxpy-up-to", type=int, default=10**5, help="largest number of videos to give to CVXPY"
    )
    parser.add_argument(
        "--scs-up-to", type=int, default=10**4, help="the same for SCS, a first-order method"
    )
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--json", action="store_true", help="one JSON object a line instead of the table"
    )
    options = parser.parse_args(arguments)
    if not options.json:
        print(
            f"{'videos':>9} {'objective':>9} {'eff':>8} {'passes':>6} {'residual':>9} {'ms':>9}"
            f" {'ns/video':>9}  CVXPY: s, ratio, lost"
        )
    for row in measure(options):
        if options.json:
            print(json.dumps(row), flush=True)
            continue
        against = "  ".join(
            f"{name} {other['seconds']:.2f} {other['seconds'] / row['seconds']:.0f}x"
            f" {other['lost']:.0e} {other['status']}"
            for name, other in row["others"].items()
        )
        print(
            f"{row['videos']:>9} {row['objective']:>9} {row['lambda_eff']:>8g} {row['passes']:>6}"
            f" {row['residual']:>9.1e} {row['seconds'] * 1e3:>9.2f}"
            f" {row['seconds'] / row['videos'] * 1e9:>9.1f}  {against}",
            flush=True,
        )


if __name__ == "__main__":
    main()
