"""Where the solvers' time goes: the functions of `solvers` that are busy, and how often they go
over all rows.

python -m benchmarks.profile --help
"""

from __future__ import annotations

import argparse
import cProfile
import json
import pstats
import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import solvers
from benchmarks import ad_pool, ad_rules, coin_platform, coin_split
from solvers.ad_pool import allocate_pool, allocate_with_rules
from solvers.coin_split import split_videos
from solvers.coin_split.total import ROWS_AT_ONCE
from solvers.coin_split.video import split_platform

HERE = str(Path(solvers.__file__).parent)


def _pool(rows: int, seed: int) -> Callable[[], Any]:
    share, floor, cap = ad_pool.problem(rows, seed)
    return lambda: allocate_pool(ad_pool.POOL, share, floor=floor, cap=cap)


def _rules(rows: int, seed: int) -> Callable[[], Any]:
    share, bounds, rules = ad_rules.problem(rows, seed)
    return lambda: allocate_with_rules(
        ad_rules.POOL, share, rules=rules, objective="blend", **bounds
    )


def _videos(rows: int, seed: int) -> Callable[[], Any]:
    normal, premium, quality = coin_split.coins(rows, seed)
    floor = 0.1 * (normal + premium)
    return lambda: split_videos(normal, premium, quality, revenue_floor=floor, **coin_split.POLICY)


def _platform(rows: int, seed: int) -> Callable[[], Any]:
    problem = coin_platform.platform(rows, seed, 1.0)
    normal, premium = problem.pop("normal"), problem.pop("premium")
    return lambda: split_platform(normal, premium, **problem)


SOLVERS = {
    "ad pool": _pool,
    "ad pool under five rules": _rules,
    "coin split, per video": _videos,
    "coin split, platform": _platform,
}


class Busy(NamedTuple):
    """What one function of `solvers` does by itself, numpy included."""

    name: str
    seconds: float
    calls: int


def where(call: Callable[[], Any]) -> list[Busy]:
    """The functions of `solvers` by their own time: what they and numpy for them need, without
    other functions of `solvers`.
    """
    profiler = cProfile.Profile()
    profiler.runcall(call)
    stats: dict[Any, Any] = pstats.Stats(profiler).stats  # type: ignore[attr-defined]
    own: dict[Any, float] = defaultdict(float)
    calls: dict[Any, int] = {}
    for function, (_, count, _, total, callers) in stats.items():
        if not function[0].startswith(HERE):
            continue
        own[function] += total
        calls[function] = count
        for caller, (_, _, _, inside) in callers.items():
            if caller != function:
                own[caller] -= inside
    found = [
        Busy(f"{Path(file).stem}.{name}", own[(file, line, name)], count)
        for (file, line, name), count in calls.items()
    ]
    return sorted(found, key=lambda busy: -busy.seconds)


def _passes(found: Any, busy: list[Busy], rows: int) -> float:
    """How often the videos were asked for their answer: what the solver counted, or how often it
    called what answers for some of them.
    """
    asked = [function.calls for function in busy if function.name == "coin_platform_total.respond"]
    return asked[0] / len(range(0, rows, ROWS_AT_ONCE)) if asked else getattr(found, "passes", 1)


def measure(solver: str, rows: int, seed: int, repeats: int) -> dict[str, Any]:
    call, times = SOLVERS[solver](rows, seed), []
    SOLVERS[solver](1000, 0)()  # what is imported late is imported here
    for _ in range(repeats):
        start = time.perf_counter()
        found = call()
        times.append(time.perf_counter() - start)
    busy = where(call)
    profiled = sum(function.seconds for function in busy)
    return {
        "solver": solver,
        "rows": rows,
        "seconds": statistics.median(times),
        "passes": _passes(found, busy, rows),
        "functions": [
            {"name": f.name, "part": f.seconds / profiled, "calls": f.calls} for f in busy
        ],
    }


def main(arguments: list[str] | None = None) -> None:
    """Print for every solver its CPU time, its passes over the rows, and its busiest functions."""
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--rows", type=int, nargs="+", default=[10**4, 10**6])
    parser.add_argument("--solvers", nargs="+", choices=SOLVERS, default=list(SOLVERS))
    parser.add_argument("--most", type=int, default=6, help="functions shown of each")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--json", action="store_true", help="one JSON object a line instead of the table"
    )
    options = parser.parse_args(arguments)
    for solver in options.solvers:
        for rows in options.rows:
            row = measure(solver, rows, options.seed, options.repeats)
            if options.json:
                print(json.dumps(row), flush=True)
                continue
            each = 1e9 * row["seconds"] / rows
            print(
                f"{solver}, {rows} rows: {1e3 * row['seconds']:.1f} ms, {each:.0f} ns a row,"
                f" {row['passes']:.0f} passes"
            )
            for function in row["functions"][: options.most]:
                print(
                    f"  {100 * function['part']:>5.1f} %  {function['calls']:>6} calls "
                    f" {function['name']}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
