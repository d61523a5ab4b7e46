"""Rounding a pool to whole micros, against the definition in Python's fractions.

python -m benchmarks.apportion --help
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Iterator
from fractions import Fraction
from hashlib import blake2b
from typing import Any

import numpy as np
import numpy.typing as npt

from solvers.apportion import apportion


def by_definition(amounts: list[float], total: int, keys: list[str]) -> list[int]:
    """Largest remainder in rational arithmetic, ties by the same hash."""
    exact = [Fraction(x) for x in amounts]
    scale = total / sum(exact)
    quotas = [x * scale for x in exact]
    whole = [math.floor(x) for x in quotas]
    order = sorted(
        range(len(whole)),
        key=lambda i: (whole[i] - quotas[i], blake2b(keys[i].encode(), digest_size=16).digest()),
    )
    for i in order[: total - sum(whole)]:
        whole[i] += 1
    return whole


def instances(rows: int, seed: int) -> Iterator[tuple[str, npt.NDArray[Any], int]]:
    rng = np.random.default_rng(seed)
    heavy = rng.pareto(1.2, rows) * 1e6
    whole = rng.integers(0, 10**9, rows)
    yield "payouts", heavy, round(float(heavy.sum()))
    yield (
        "payouts, half at a whole floor",
        np.where(rng.random(rows) < 0.5, 1000.0, heavy),
        int(heavy.sum()),
    )
    yield "whole amounts, halved", whole, int(whole.sum()) // 2
    yield "whole amounts, total 9e18", whole, 9 * 10**18
    yield "all amounts equal", np.ones(rows), rows + rows // 2


def measure(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    for rows in options.rows:
        keys = [f"v{i}" for i in range(rows)]
        ids = np.array(keys, dtype=object)
        for name, amounts, total in instances(rows, options.seed):
            times = []
            for _ in range(options.repeats):
                start = time.perf_counter()
                paid = apportion(amounts, total, ids)
                times.append(time.perf_counter() - start)
            row: dict[str, Any] = {
                "rows": rows,
                "amounts": name,
                "seconds": min(times),
                "fractions_seconds": None,
                "same": None,
            }
            if rows <= options.fractions_up_to:
                start = time.perf_counter()
                expected = by_definition(amounts.tolist(), total, keys)
                row |= {
                    "fractions_seconds": time.perf_counter() - start,
                    "same": paid.tolist() == expected,
                }
            yield row


def main(arguments: list[str] | None = None) -> None:
    """Print one line per number of rows and kind of amounts."""
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--rows", type=int, nargs="+", default=[10**4, 10**5, 10**6])
    parser.add_argument(
        "--fractions-up-to",
        type=int,
        default=10**5,
        help="largest number of rows to give to the plain implementation",
    )
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--json", action="store_true", help="one JSON object a line instead of the table"
    )
    options = parser.parse_args(arguments)
    if not options.json:
        print(
            f"{'rows':>8}  {'amounts':<30} {'ms':>9} {'us/row':>7} {'fractions s':>12} {'ratio':>7}"
            "  same"
        )
    for row in measure(options):
        if options.json:
            print(json.dumps(row), flush=True)
            continue
        other = row["fractions_seconds"]
        against = (
            f"{other:>12.2f} {other / row['seconds']:>6.0f}x  {row['same']}"
            if other
            else f"{'-':>12} {'-':>7}  -"
        )
        print(
            f"{row['rows']:>8}  {row['amounts']:<30} {row['seconds'] * 1e3:>9.1f}"
            f" {row['seconds'] / row['rows'] * 1e6:>7.2f} {against}",
            flush=True,
        )


if __name__ == "__main__":
    main()
