"""An ad pool in chunks from disk: passes, seconds and peak memory of each step, from candidates in
DuckDB to whole micros in Parquet.

    python -m benchmarks.big_pool --videos 1e6 1e7
    python -m benchmarks.big_pool --videos 1e8 --folder /a/disk/with/40/GB

Each size runs in a process of its own, so that peak memory is that size's. `in memory` is
`assets.ads.split_pool` on the same candidates, up to --memory-up-to videos: its payouts must be
equal to the micro, and the benchmark stops if they are not. Pools with rules over groups are split
in memory only.

    python -m benchmarks.big_pool --videos 1e6 1e7 --policies rules "rules, by video" --memory-up-to
    1e7
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from pipelines.ads.assets import split_pool
from pipelines.ads.large_pools import split_large_pool
from pipelines.policy import AdRule, Ads

POOL, CARRIED = 10**13 + 7, 10**9 + 1
RULES = (
    AdRule(name="small", followers_below=20_000, minimum=0.3),
    AdRule(name="each", each="creator", maximum=2e-4),
)
POLICIES = {
    "default": Ads(),
    "by video, bounds": Ads(fairness_unit="video", floor_micros=10_000, cap_fraction=2e-6),
    "rules": Ads(rules=RULES),
    "rules, by video": Ads(fairness_unit="video", rules=RULES),
}
IN_CHUNKS = [name for name, ads in POLICIES.items() if not ads.rules]


def peak() -> float:
    """Most memory the process ever had, in GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def measure(
    videos: int, name: str, folder: str, chunk: int, memory_limit: str, with_memory: bool
) -> dict[str, Any]:
    ads = POLICIES[name]
    with (
        tempfile.TemporaryDirectory(dir=folder) as scratch,
        duckdb.connect(str(Path(scratch) / "pool.duckdb")) as con,
    ):
        con.execute(
            f"SET memory_limit = '{memory_limit}'; SET threads = 2; SET enable_progress_bar = false"
        )
        # log-normal views, ten videos a creator on average and a few with very many
        creator = f"'c' || floor({videos} / 10 * pow((hash(i + 7) % 1000003) / 1000003, 2))::BIGINT"
        unit = "video_id" if ads.fairness_unit == "video" else "creator_id"
        con.execute(
            f"""CREATE TABLE ad_candidates AS SELECT 'music' AS category, 'v' || i AS video_id,
                {creator} AS creator_id,
                {unit} AS unit_id, hash({creator}) % 100000 AS followers, ['music'] AS labels,
                exp(sqrt(-2 * ln((hash(i) % 1000000 + 1) / 1000001)) * cos(pi() * (hash(i + 3) % 1000000) / 500000)) AS effective_views
                FROM range({videos}) t(i)"""
        )
        con.execute("CHECKPOINT")
        found: dict[str, Any] = {"videos": videos, "policy": name, "steps": []}
        if not ads.rules:
            found |= split_from_disk(con, Path(scratch) / "split", ads, chunk)
        if with_memory:
            began = time.perf_counter()
            table = con.execute("SELECT * FROM ad_candidates ORDER BY video_id").to_arrow_table()
            split = split_pool(table, POOL, CARRIED, ads, "music")
            found = (
                split.solution
                | found
                | {
                    "memory_seconds": time.perf_counter() - began,
                    "memory_peak": peak(),
                }
            )
            assert isinstance(split.rows, pa.Table)
            found["different"] = (
                other_payouts(con, found["file"], split.rows) if "file" in found else ""
            )
    return found


def split_from_disk(
    con: duckdb.DuckDBPyConnection, folder: Path, ads: Ads, chunk: int
) -> dict[str, Any]:
    began = time.perf_counter()
    steps: list[tuple[str, float]] = []

    def done(step: str) -> None:
        steps.append((step, time.perf_counter()))
        print(
            f"{step} after {steps[-1][1] - began:.0f} s, peak {peak():.2f} GB",
            file=sys.stderr,
            flush=True,
        )

    file, solution = split_large_pool(
        con,
        folder,
        "music",
        POOL,
        CARRIED,
        ads,
        cap=ads.unit_cap(POOL),
        chunk=chunk,
        done=done,
    )
    seconds, most = time.perf_counter() - began, peak()
    taken = [
        (step, at - before)
        for (step, at), before in zip(steps, [began, *(at for _, at in steps)], strict=False)
    ]
    paid, carried = con.execute(
        f"SELECT sum(payout_micros), sum(carried_micros) FROM read_parquet('{file}')"
    ).fetchall()[0]
    if (paid, carried) != (POOL, CARRIED):
        raise SystemExit(f"{paid} and {carried} were paid of {POOL} and {CARRIED}")
    return {**solution, "seconds": seconds, "peak": most, "steps": taken, "file": file}


def other_payouts(con: duckdb.DuckDBPyConnection, file: Path, in_memory: pa.Table) -> int:
    """How many videos the split in memory pays another amount."""
    con.register("in_memory", in_memory)
    (other,) = con.execute(
        f"""SELECT count(*) FROM read_parquet('{file}') AS a FULL JOIN in_memory AS b
            USING (video_id)
            WHERE (a.payout_micros, a.carried_micros) IS DISTINCT FROM (b.payout_micros,
            b.carried_micros)"""
    ).fetchall()[0]
    return int(other)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--videos", type=lambda s: int(float(s)), nargs="+", default=[10**6, 10**7])
    parser.add_argument("--policies", nargs="+", choices=POLICIES, default=IN_CHUNKS)
    parser.add_argument(
        "--folder", default=tempfile.gettempdir(), help="where candidates, columns and payouts go"
    )
    parser.add_argument("--chunk", type=lambda s: int(float(s)), default=10**6)
    parser.add_argument(
        "--memory-limit", default="4GB", help="DuckDB's, for sorting the candidates"
    )
    parser.add_argument("--memory-up-to", type=lambda s: int(float(s)), default=10**6)
    options = parser.parse_args()
    columns = (
        f"{'videos':>12} {'policy':>17} {'units':>11} {'passes':>6} {'gap':>8} {'seconds':>8}"
        f" {'peak GB':>8}"
    )
    print(f"{columns} {'in memory: s, GB, different':>28}")
    for videos in options.videos:
        for name in options.policies:
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                compare = videos <= options.memory_up_to
                found = pool.apply(
                    measure,
                    (videos, name, options.folder, options.chunk, options.memory_limit, compare),
                )
            memory = (
                f"{found['memory_seconds']:>15.1f} {found['memory_peak']:>6.1f}"
                f" {found['different']:>5}"
                if compare
                else ""
            )
            chunks = (
                f"{found['seconds']:>8.1f} {found['peak']:>8.2f}"
                if "seconds" in found
                else " " * 17
            )
            print(
                f"{videos:>12,} {name:>17} {found['units']:>11,} {found['passes']:>6}"
                f" {found['gap']:>8.0e} {chunks} {memory}",
                flush=True,
            )
            if found["steps"]:
                print(
                    " " * 13
                    + ", ".join(f"{step} {seconds:.1f} s" for step, seconds in found["steps"]),
                    flush=True,
                )


if __name__ == "__main__":
    main()
