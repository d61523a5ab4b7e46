"""What one row of a pool would be paid for many other shares: one search on a sketch of the pool,
against solving it again for each.

python -m benchmarks.pool_response --rows 1e5 1e6
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np

from solvers.ad_pool import ShareSketch, allocate_pool, paid_at

POOL = 1e13


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=lambda s: int(float(s)), nargs="+", default=[10**5])
    parser.add_argument("--questions", type=int, default=128)
    parser.add_argument(
        "--solved",
        type=int,
        default=5,
        help="how many of them are solved one by one; their mean counts for all",
    )
    options = parser.parse_args()
    asked = f"{'together s':>10} {'one by one s':>12} {'ratio':>6} {'off, micros':>11}"
    print(f"{'rows':>11} {'problem':>15} {'sketch s':>8} {'points':>7} {asked}")
    for n in options.rows:
        rng = np.random.default_rng(n)
        share = np.exp(rng.normal(0, 2, n)) * (rng.random(n) < 0.9)
        began = time.perf_counter()
        sketch = ShareSketch(np.array_split(share, -(-n // 10**6)))
        sketched, points = time.perf_counter() - began, sketch.points.values.size
        row = int(np.argsort(share)[7 * n // 10])
        other = share[row] * np.exp(rng.normal(0, 1, options.questions))
        bounds = {"floor": 0.3 * POOL / n, "cap": 30 * POOL / n}
        problems: dict[str, dict[str, Any]] = {
            "blend": {},
            "blend, bounds": bounds,
            "linear": {"objective": "linear"},
            "linear, bounds": {"objective": "linear", **bounds},
        }
        for name, knobs in problems.items():
            began = time.perf_counter()
            found = paid_at(POOL, sketch, float(share[row]), other, **knobs)
            together, changed, off = time.perf_counter() - began, share.copy(), 0.0
            began = time.perf_counter()
            for value, payout in zip(other[: options.solved], found, strict=False):
                changed[row] = value
                off = max(
                    off, abs(float(allocate_pool(POOL, changed, **knobs).payout[row] - payout))
                )
            alone = (time.perf_counter() - began) * options.questions / options.solved
            print(
                f"{n:>11,} {name:>15} {sketched:>8.2f} {points:>7,} {together:>10.3f}"
                f" {alone:>12.2f} {alone / together:>6.0f} {off:>11.0e}",
                flush=True,
            )


if __name__ == "__main__":
    main()
