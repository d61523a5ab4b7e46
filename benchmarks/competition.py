"""One move of a creator by engine: the incremental one, the plain numpy one it is tested against,
and straight numpy; and a full run.

python -m benchmarks.competition --help
"""

from __future__ import annotations

import argparse
import json
import time
from typing import Any, Literal, TypeAlias

import numpy as np

from solvers.competition import CLUSTERS, Mechanism, Setting, simulate, synthetic

Engine: TypeAlias = Literal["incremental", "reference"]
BASE = {"users": 2000, "creators": 200, "candidates": 20, "dimension": 5}
SCALING = {"users": (500, 8000), "creators": (50, 800), "candidates": (5, 80), "dimension": (2, 32)}


def instance(size: dict[str, int], seed: int) -> Setting:
    """The synthetic population with another number of users, creators, candidates or dimensions."""
    sizes = [max(1, cluster * size["users"] // sum(CLUSTERS)) for cluster in CLUSTERS]
    return synthetic(
        seed,
        sizes=sizes,
        creators=size["creators"],
        candidates=size["candidates"],
        dimension=size["dimension"],
    )


def microseconds_a_move(
    setting: Setting, mechanism: Mechanism, steps: int, engine: Engine = "incremental"
) -> float:
    """Mean over `steps` steps in time of this process, set-up included; the first call compiles, so
    call it once before.
    """
    start = time.process_time()
    simulate(
        setting.game,
        steps=steps,
        epoch=1,
        groups=setting.groups,
        mechanism=mechanism,
        actions=setting.actions,
        engine=engine,
    )
    seconds = time.process_time() - start
    return float(seconds / (steps * setting.game.strategies.shape[0]) * 1e6)


def from_scratch(setting: Setting, moves: int) -> float:
    """Mean over some moves of the first step: the utility before and after from equations (1) and
    (5), as one would write it down.
    """
    game, rng = setting.game, np.random.default_rng(0)
    directions = rng.standard_normal(game.strategies.shape)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    tried, _ = setting.actions.moves(game.strategies, directions, 0.2)
    matching = game.matching

    def utility(strategies: Any, i: int) -> float:
        scores = game.relevance(strategies, game.users)
        return float((scores[i] * matching.shares(scores)[i]).mean())

    strategies = game.strategies.copy()
    start = time.process_time()
    for i in range(moves):
        trial = strategies.copy()
        trial[i] = tried[i]
        if utility(trial, i) >= utility(strategies, i):
            strategies = trial
    return (time.process_time() - start) / moves * 1e6


def measure(options: argparse.Namespace) -> list[dict[str, Any]]:
    rows = []
    microseconds_a_move(instance({**BASE, "users": 50, "creators": 10}, 0), "smt", 1)
    sizes = [("", BASE)]
    if options.scaling:
        sizes += [
            (f"{name} {value}", {**BASE, name: value})
            for name, values in SCALING.items()
            for value in values
        ]
    for label, size in sizes:
        setting = instance(size, options.seed)
        row: dict[str, Any] = {
            "instance": label or "base",
            **size,
            "numpy": from_scratch(setting, options.moves),
        }
        row["engine"] = microseconds_a_move(setting, "base", options.steps)
        if not label:
            row["reference"] = microseconds_a_move(setting, "base", 1, "reference")
        row["ratio"] = row["numpy"] / row["engine"]
        rows.append(row)
    for mechanism in options.full:
        start = time.process_time()
        run = instance(BASE, options.seed).simulate(mechanism, steps=3000, seed=options.seed)
        seconds = time.process_time() - start
        rows.append(
            {
                "instance": f"full run, {mechanism}",
                "seconds": seconds,
                "engine": seconds / 0.6,
                "welfare": run.welfare[-1],
            }
        )
    return rows


def main(arguments: list[str] | None = None) -> None:
    """Print CPU microseconds a move by engine, and how many times longer straight numpy takes than
    the incremental engine.
    """
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument(
        "--steps", type=int, default=50, help="steps of every creator by the incremental engine"
    )
    parser.add_argument("--moves", type=int, default=10, help="moves from scratch")
    parser.add_argument(
        "--scaling",
        action="store_true",
        help="also fewer and more users, creators, candidates, dimensions",
    )
    parser.add_argument(
        "--full",
        nargs="*",
        default=[],
        choices=["base", "uir", "smt", "hmt", "coordinated"],
        help="runs of 3000 steps",
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    rows = measure(options)
    if options.json:
        print(json.dumps(rows))
        return
    print(f"{'instance':>22} {'numpy us':>10} {'reference':>10} {'engine us':>10} {'ratio':>8}")
    for row in rows:
        if "ratio" in row:
            plain = f"{row['reference']:.0f}" if "reference" in row else ""
            print(
                f"{row['instance']:>22} {row['numpy']:>10.0f} {plain:>10} {row['engine']:>10.1f}"
                f" {row['ratio']:>7.0f}x"
            )
        else:
            print(
                f"{row['instance']:>22} {'':>10} {'':>10} {row['engine']:>10.1f}"
                f" {row['seconds']:>7.1f}s  welfare {row['welfare']:.4f}"
            )


if __name__ == "__main__":
    main()
