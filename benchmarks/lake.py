"""The same days in a file and in lakes: by one process, by several workers, some of them killed,
with Spark. What they take, and whether any row differs.

    python -m benchmarks.lake "host=127.0.0.1 user=me"
    python -m benchmarks.lake "host=127.0.0.1 user=me" --landing kuairand/landing --workers 4
    --kills 3
    python -m benchmarks.lake "host=127.0.0.1 user=me" --month --ways file spark

Needs psql and pgrep. The DSN is that of a PostgreSQL in which databases may be made; each lake gets
one of its own, which is dropped. Without --landing it is the bundled sample; with --month a made-up
month with everything that touches days again: weekly markets that pay, weights of viewer groups,
monthly bonuses, a closing, late files, a restatement, weights committed anew, and the closing of
the month. After a kill the days are run again, as a person would.

Compared are the ledger's head, `earnings status`, and every row of every table but for clock times
and the running numbers of writes in `written_days`, which say who was first. Exits with 1 if
anything differs. CPU time is that of all processes but the server's; a worker that is killed does
not count.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.schema import LANDING, TABLES
from pipelines.settings import PROJECT, SAMPLE, Home
from pipelines.store.warehouse import Warehouse

EARNINGS = str(Path(sys.executable).parent / "earnings")
CLOCKS = ("made_at", "committed_at")
ORDER_OF_WORK = {"written_days": ("changed", "made")}
POLICY = {  # of the one that ships: everything on that is off there, at the size of a small platform
    'mechanism = "none"': 'mechanism = "uir"',
    "groups = 20": "groups = 4",
    "min_group_viewers = 50": "min_group_viewers = 20",
    "min_impressions = 100": "min_impressions = 20",
    "refresh_days = 28": "refresh_days = 14",
    "revenue_floor = 0.1": 'revenue_floor = "market"',
    "locations = 24": "locations = 12",
    "budget_micros = 0": "budget_micros = 50_000_000",
}
LATE_CLOSED, LATE_OPEN = "2026-03-05", "2026-03-20"
SIMULATED = [
    "--days", "31", "--events", "500", "--viewers", "300", "--creators", "20", "--videos", "80", "--late-share", "0.1",
    "--late-day", LATE_CLOSED, "--late-day", LATE_OPEN,
]  # fmt: skip
WAYS = ("file", "lake", "workers", "killed", "spark")
RUN = ("run",)
MONTH: list[tuple[str, ...]] = [
    RUN,
    ("close", "--through", "2026-03-07", "--yes"),
    ("late",),  # not a command: the files are put into landing/
    ("restate", "--day", LATE_CLOSED, "--reason", "late files", "--yes"),
    ("run", "--from", LATE_OPEN, "--to", "2026-03-31"),
    ("recommit", "--from", "2026-03-21", "--reason", "late files"),
    ("run", "--from", "2026-03-21", "--to", "2026-03-31"),
    ("close", "--through", "2026-03-31", "--yes"),
]


@dataclass(frozen=True)
class Way:
    """One way of making the same days."""

    name: str
    in_lake: bool
    workers: int = 1
    kills: int = 0
    engine: str = "duckdb"


@dataclass(frozen=True)
class Told:
    """What came of it."""

    seconds: dict[str, float]
    cpu_seconds: float  # of all processes but the server's
    killed: int
    transactions: int
    said: dict[str, Any]  # the ledger's head, status, a digest a table

    def differences(self, other: Told) -> list[str]:
        return sorted(
            name
            for name in self.said.keys() | other.said.keys()
            if self.said.get(name) != other.said.get(name)
        )


def run(home: Path, words: Sequence[str], way: Way, kills: int) -> int:
    """Run days until all are made; returns how many workers were killed on the way."""
    command = [
        EARNINGS,
        "--home",
        str(home),
        *words,
        "--json",
        *(["--workers", str(way.workers)] if way.workers > 1 else []),
    ]
    left = kills
    while True:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        ours = False
        while left and not ours and process.poll() is None:
            time.sleep(random.uniform(8, 20))
            children = subprocess.run(
                ["pgrep", "-P", str(process.pid), "-f", "spawn_main"],
                capture_output=True,
                text=True,
                check=False,
            )
            if found := children.stdout.split():
                os.kill(int(random.choice(found)), signal.SIGKILL)
                left, ours = left - 1, True
        _, complaint = process.communicate()
        if process.returncode == 0:
            return kills - left
        if not ours:
            raise SystemExit(f"{way.name}: {' '.join(words)}: {complaint}")


def answer(home: Path, *words: str) -> Any:
    done = subprocess.run(
        [EARNINGS, "--home", str(home), *words, "--json"],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(words)}: {done.stderr}")
    return json.loads(done.stdout)


def contents(home: Path) -> dict[str, tuple[Any, ...]]:
    """How many rows each table has, and two numbers that are equal for equal rows in any order."""
    with Warehouse(Home.at(home)).open(read_only=True) as con:
        found = {}
        for table in TABLES.values():
            kept = [
                c.name
                for c in table.columns
                if c.name not in (*CLOCKS, *ORDER_OF_WORK.get(table.name, ()))
            ]
            sql = (
                "SELECT count(*), bit_xor(hash(t)), sum(hash(t) % 4294967296) FROM (SELECT"
                f" {', '.join(kept)} FROM {table.name}) AS t"
            )
            found[table.name] = con.execute(sql).fetchall()[0]
    return found


def cpu_seconds() -> float:
    """Of all processes that were started and have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def tell(home: Path, late: Path, story: Sequence[tuple[str, ...]], way: Way) -> Told:
    """Go through the story; the kills fall into its first step."""
    seconds: dict[str, float] = {}
    killed, cpu = 0, cpu_seconds()
    for number, words in enumerate(story, 1):
        began = time.perf_counter()
        if words == ("late",):
            shutil.copytree(late, home / "landing", dirs_exist_ok=True)
        elif words[0] == "run":
            killed += run(home, words, way, way.kills if number == 1 else 0)
        else:
            answer(home, *words)
        seconds[f"{number} {words[0]}"] = time.perf_counter() - began
    cpu = cpu_seconds() - cpu
    verified, status = answer(home, "ledger", "verify"), answer(home, "status")
    said = {
        "head": verified["head"],
        "findings": verified["findings"],
        "days": status["days"],
        "periods": status["periods"],
    }
    return Told(seconds, cpu, killed, verified["transactions"], {**said, **contents(home)})


def on_server(dsn: str, sql: str) -> None:
    subprocess.run(["psql", "-X", "-q", "-d", dsn, "-c", sql], check=True)


def simulated(folder: Path) -> Path:
    """A home with a month's landing files, late ones beside them, and a policy under which
    everything happens.
    """
    text = (PROJECT / "assets_data" / "policies" / "evidence.toml").read_text(encoding="utf-8")
    for before, after in POLICY.items():
        assert text.count(f"\n{before}") == 1, before
        text = text.replace(f"\n{before}", f"\n{after}")
    (folder / "policies").mkdir(parents=True)
    (folder / "policies" / "evidence.toml").write_text(text, encoding="utf-8")
    answer(folder, "simulate", *SIMULATED)
    return folder


def main() -> None:
    """Print a line a way of making the days."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("dsn", help="libpq DSN without a database")
    parser.add_argument("--landing", type=Path, default=SAMPLE)
    parser.add_argument(
        "--month",
        action="store_true",
        help="a made-up month instead, with all that touches days again",
    )
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--kills", type=int, default=2, help="workers to kill on the way")
    parser.add_argument(
        "--ways",
        nargs="+",
        choices=WAYS,
        default=WAYS[:-1],
        help="compared with the first of them (default: all but spark)",
    )
    options = parser.parse_args()
    many = f"lake, {options.workers} workers"
    ways = {
        "file": Way("file", False),
        "lake": Way("lake", True),
        "workers": Way(many, True, options.workers),
        "killed": Way(f"{many}, killed", True, options.workers, options.kills),
        "spark": Way("lake, Spark", True, engine="spark"),
    }
    first: Told | None = None
    different = False
    with tempfile.TemporaryDirectory() as folder:
        source = simulated(Path(folder, "month")) if options.month else options.landing.parent
        landing = source / "landing" if options.month else options.landing
        for n, way in enumerate(ways[name] for name in options.ways):
            home = Path(folder, str(n))
            for table in LANDING:
                shutil.copytree(landing / table, home / "landing" / table)
            if options.month:
                shutil.copytree(source / "policies", home / "policies")
            database = f"earnings_benchmark_{os.getpid()}_{n}"
            if way.in_lake:
                on_server(f"{options.dsn} dbname=postgres", f"CREATE DATABASE {database}")
                address = f"ducklake:postgres:{options.dsn} dbname={database}?data=lake"
                (home / "settings.toml").write_text(
                    f'warehouse = "{address}"\nscore_engine = "{way.engine}"\n'
                )
            try:
                told = tell(home, source / "late", MONTH if options.month else [RUN], way)
            finally:
                if way.in_lake:
                    on_server(
                        f"{options.dsn} dbname=postgres", f"DROP DATABASE {database} WITH (FORCE)"
                    )
            first = first or told
            found = told.differences(first)
            different |= bool(found)
            costs = (
                f"{sum(told.seconds.values()):7.1f} s, cpu {told.cpu_seconds:6.1f} s  {told.killed}"
                " killed"
            )
            outcome = f"DIFFERENT: {', '.join(found)}" if found else "the same"
            print(
                f"{way.name:<28} {costs}  {told.transactions} transactions, head"
                f" {told.said['head'][:12]}  {outcome}",
                flush=True,
            )
            if options.month:
                print(
                    "    "
                    + ", ".join(
                        f"{step} {seconds:.0f} s" for step, seconds in told.seconds.items()
                    ),
                    flush=True,
                )
            shutil.rmtree(home)
    raise SystemExit(different)


if __name__ == "__main__":
    main()
