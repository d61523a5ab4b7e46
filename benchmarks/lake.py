"""The same days in a file, in a lake, and in a lake by several workers, some of them killed: seconds, and whether the ledger is the same.

    python -m benchmarks.lake "host=127.0.0.1 user=me"
    python -m benchmarks.lake "host=127.0.0.1 user=me" --landing kuairand/landing --workers 4 --kills 3

Needs psql and pgrep. The DSN is that of a PostgreSQL in which databases may be made; each lake gets one of its own, which is dropped.
Without --landing it is the bundled sample. After a kill the days are run again, as a person would.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from pipelines.schema import LANDING
from pipelines.settings import SAMPLE

EARNINGS = str(Path(sys.executable).parent / "earnings")


def run(home: Path, workers: int, kills: int) -> tuple[float, int]:
    """Seconds until all days are made, and how many workers were killed on the way."""
    command = [EARNINGS, "--home", str(home), "run", "--json", *(["--workers", str(workers)] if workers > 1 else [])]
    began, left = time.perf_counter(), kills
    while True:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        ours = False
        while left and not ours and process.poll() is None:
            time.sleep(random.uniform(8, 20))
            children = subprocess.run(["pgrep", "-P", str(process.pid), "-f", "spawn_main"], capture_output=True, text=True, check=False)
            if found := children.stdout.split():
                os.kill(int(random.choice(found)), signal.SIGKILL)
                left, ours = left - 1, True
        _, complaint = process.communicate()
        if process.returncode == 0:
            return time.perf_counter() - began, kills - left
        if not ours:
            raise SystemExit(complaint)


def on_server(dsn: str, sql: str) -> None:
    subprocess.run(["psql", "-X", "-q", "-d", dsn, "-c", sql], check=True)


def answer(home: Path, *words: str) -> Any:
    return json.loads(subprocess.run([EARNINGS, "--home", str(home), *words, "--json"], check=True, capture_output=True, text=True).stdout)


def main() -> None:
    """Print a line a way of making the days."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dsn", help="libpq DSN without a database")
    parser.add_argument("--landing", type=Path, default=SAMPLE)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--kills", type=int, default=2, help="workers to kill in the last way")
    options = parser.parse_args()
    ways = [("file", 0, 1, 0), ("lake", 1, 1, 0), (f"lake, {options.workers} workers", 1, options.workers, 0)]
    ways += [(f"lake, {options.workers} workers, killed", 1, options.workers, options.kills)]
    heads: set[str] = set()
    with tempfile.TemporaryDirectory() as folder:
        for n, (name, in_lake, workers, kills) in enumerate(ways):
            home = Path(folder, str(n))
            for table in LANDING:
                shutil.copytree(options.landing / table, home / "landing" / table)
            database = f"earnings_benchmark_{os.getpid()}_{n}"
            if in_lake:
                on_server(f"{options.dsn} dbname=postgres", f"CREATE DATABASE {database}")
                (home / "settings.toml").write_text(f'warehouse = "ducklake:postgres:{options.dsn} dbname={database}?data=lake"\n')
            try:
                seconds, killed = run(home, workers, kills)
                verified = answer(home, "ledger", "verify")
                heads.add(verified["head"])
                print(
                    f"{name:<28} {seconds:7.1f} s  {killed} killed  {verified['transactions']} transactions, head {verified['head'][:12]}",
                    flush=True,
                )
            finally:
                if in_lake:
                    on_server(f"{options.dsn} dbname=postgres", f"DROP DATABASE {database} WITH (FORCE)")
    print("the same ledger" if len(heads) == 1 else "DIFFERENT LEDGERS")
    raise SystemExit(len(heads) != 1)


if __name__ == "__main__":
    main()
