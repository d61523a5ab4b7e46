"""How an ad pool with rules over groups scales, against the same problem as a CVXPY model with
Clarabel.

python -m benchmarks.ad_rules --help
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from solvers.ad_pool import allocate_pool, allocate_with_rules, certify_pool
from solvers.ad_pool.rules import EachAtMost, Rule, RuleModel

Floats = npt.NDArray[np.float64]
POOL = 1e9


def problem(units: int, seed: int) -> tuple[Floats, dict[str, Floats], list[Rule | EachAtMost]]:
    """Log-normal shares, floors under half of the units, caps over a third, and five rules that
    bind.
    """
    rng = np.random.default_rng(seed)
    share = np.exp(rng.normal(0.0, 1.0, units))
    fair = np.sqrt(share) / np.sqrt(share).sum()
    bounds = {
        "floor": POOL * fair * rng.uniform(0.1, 0.9, units) * (rng.random(units) < 0.5),
        "cap": np.where(
            rng.random(units) < 1 / 3, POOL * fair * rng.uniform(1.0, 3.0, units), np.inf
        ),
    }
    followers, home = rng.random(units), rng.random(units) < 0.3
    creators = np.minimum(
        rng.integers(0, max(units // 20, 1), units), rng.integers(0, max(units // 20, 1), units)
    )
    per_creator = np.sort(np.bincount(creators, fair))[::-1]
    return share, bounds, [
        Rule("small creators", followers < 0.2, minimum=0.3),
        Rule("home market", home, maximum=0.25),
        EachAtMost("each unit", 1.5 * float(fair.max())),
        Rule("small at home", (followers < 0.4) & home, minimum=0.13),
        EachAtMost("each creator", 1.3 * float(per_creator[min(20, per_creator.size - 1)]), creators),
    ]  # fmt: skip


def measure(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    warm = problem(100, 0)
    allocate_with_rules(POOL, warm[0], warm[2][:1])  # scipy is imported here
    for units in options.units:
        share, bounds, rules = problem(units, options.seed)
        for objective in ("blend", "linear"):
            start = time.perf_counter()
            allocate_pool(POOL, share, objective=objective, **bounds)  # type: ignore[arg-type]
            plain = time.perf_counter() - start
            for count in options.rules:
                chosen: dict[str, Any] = {"rules": rules[:count], "objective": objective, **bounds}
                times = []
                for _ in range(options.repeats):
                    start = time.perf_counter()
                    found = allocate_with_rules(POOL, share, **chosen)
                    times.append(time.perf_counter() - start)
                start = time.perf_counter()
                judged = certify_pool(found.payout, POOL, share, **chosen)
                row: dict[str, Any] = {
                    "units": units,
                    "objective": objective,
                    "rules": count,
                    "solver": found.solver,
                }
                row |= {
                    "passes": found.passes,
                    "gap": found.gap,
                    "seconds": min(times),
                    "certificate_seconds": time.perf_counter() - start,
                }
                row["plain_ratio"] = row["seconds"] / plain
                if units <= options.cvxpy_up_to and (
                    count == options.rules[0] or count == options.rules[-1]
                ):
                    start = time.perf_counter()
                    model = RuleModel(units, rules[:count])
                    other = allocate_with_rules(POOL, share, **chosen, model=model)
                    row["cvxpy_seconds"] = time.perf_counter() - start
                    start = time.perf_counter()
                    allocate_with_rules(POOL, share, **chosen, model=model)
                    row["cvxpy_again_seconds"] = time.perf_counter() - start
                    row |= {
                        "cvxpy_status": other.status,
                        "ratio": row["cvxpy_again_seconds"] / row["seconds"],
                        "cvxpy_gap": other.gap,
                    }
                    row["cvxpy_loss"] = (
                        judged.value - certify_pool(other.payout, POOL, share, **chosen).value
                    )
                yield row


def main(arguments: list[str] | None = None) -> None:
    """Print one line per size, objective and number of rules; ratios to the plain pool, and of the
    model's second solve to this.
    """
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--units", type=int, nargs="+", default=[10**4, 10**5, 10**6])
    parser.add_argument(
        "--rules",
        type=int,
        nargs="+",
        default=[1, 2, 3, 4, 5],
        help="how many of the five rules; CVXPY gets first and last",
    )
    parser.add_argument(
        "--cvxpy-up-to", type=int, default=10**4, help="largest number of units to give to CVXPY"
    )
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--json", action="store_true", help="one JSON object a line instead of the table"
    )
    options = parser.parse_args(arguments)
    if not options.json:
        print(
            f"{'units':>8} {'objective':>9} {'rules':>5} {'solver':>11} {'passes':>6} {'gap':>8}"
            f" {'seconds':>8} {'x plain':>7} {'judged':>7} {'CVXPY s':>8} {'again':>6} {'ratio':>6}"
            f" {'its gap':>8} {'its loss':>8}"
        )
    for row in measure(options):
        if options.json:
            print(json.dumps(row), flush=True)
            continue
        line = (
            f"{row['units']:>8} {row['objective']:>9} {row['rules']:>5} {row['solver']:>11}"
            f" {row['passes']:>6} {row['gap']:>8.0e}"
        )
        line += (
            f" {row['seconds']:>8.3f} {row['plain_ratio']:>7.1f} {row['certificate_seconds']:>7.3f}"
        )
        if "ratio" in row:
            line += (
                f" {row['cvxpy_seconds']:>8.2f} {row['cvxpy_again_seconds']:>6.2f}"
                f" {row['ratio']:>5.0f}x"
            )
            line += f" {row['cvxpy_gap']:>8.0e} {row['cvxpy_loss']:>8.0e}  {row['cvxpy_status']}"
        print(line, flush=True)


if __name__ == "__main__":
    main()
