"""One day of the bundled sample, landing files to creator earnings, in a new process: how much of
it is work, how much overhead.

    python -m benchmarks.daily_run

The work is the time inside the assets' own functions; everything else (imports, Dagster, checks,
the command line) is overhead. The baseline is what it costs to start Python and import Dagster at
all. `without` is a process that calls the same functions for the same days, with no Dagster around
them, no checks, no copy for readers and nothing printed. All in seconds of CPU: a busy machine
stretches the clock, not so much these.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from pipelines.schema import LANDING
from pipelines.settings import SAMPLE

DAY = "2026-03-01"


WITHOUT = """
import sys
from datetime import date, timedelta
from pipelines.definitions import ASSETS
from pipelines.runs.daily import Day
from pipelines.settings import Home
from pipelines.store.warehouse import Warehouse
house = Warehouse(Home.at(sys.argv[1]))
with house.open() as con:
    for asset in ASSETS:
        for n in range(int(sys.argv[3])):
            day = date.fromisoformat(sys.argv[2]) + timedelta(days=n)
            asset.make(Day(con, day, house, house.home.policies.in_force(day)))
"""


def spent(command: list[str], **options: Any) -> tuple[float, str]:
    """CPU seconds of a command, and what it printed."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, capture_output=True, text=True, check=True, **options)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (
        after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
        done.stdout,
    )


def one_run(days: int) -> tuple[float, float, float]:
    """CPU seconds of a whole `earnings run` on a fresh home, and of the same functions without it;
    seconds of the work inside the run.
    """
    with tempfile.TemporaryDirectory() as folder:
        homes = [Path(folder, name) for name in ("with", "without")]
        for home in homes:
            for table in LANDING:
                if (SAMPLE / table).is_dir():
                    shutil.copytree(SAMPLE / table, home / "landing" / table)
        earnings = str(Path(sys.executable).parent / "earnings")
        words = ["run", "--from", DAY, "--to", f"2026-03-{days:02d}"]
        whole, printed = spent([earnings, "--home", str(homes[0]), *words])
        without, _ = spent([sys.executable, "-c", WITHOUT, str(homes[1]), DAY, str(days)])
    work = sum(
        float(s.replace(",", ""))
        for s in re.findall(r"^\w+ +[\d,]+ +([\d,]+\.\d+) s", printed, re.MULTILINE)
    )
    return whole, without, work


def import_dagster() -> float:
    """CPU seconds to start Python and import Dagster."""
    environment = {**os.environ, "DAGSTER_DISABLE_TELEMETRY": "yes"}
    return spent([sys.executable, "-c", "import dagster"], env=environment)[0]


def main() -> None:
    """Print medians over some runs."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument(
        "--days",
        type=int,
        nargs="+",
        default=[1, 14],
        help="lengths of the range that is run at once",
    )
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    baseline = statistics.median(import_dagster() for _ in range(options.runs))
    results = []
    for days in options.days:
        runs = [one_run(days) for _ in range(options.runs)]
        whole, without, work = (statistics.median(column) for column in zip(*runs, strict=True))
        results.append(
            {
                "days": days,
                "seconds": whole,
                "without": without,
                "ratio": whole / without,
                "work": work,
            }
        )
    if options.json:
        print(json.dumps({"import_dagster_seconds": baseline, "runs": results}, indent=2))
        return
    print(f"import dagster: {baseline:.2f} s (the baseline)")
    for r in results:
        print(
            f"{r['days']:>3} days: {r['seconds']:6.2f} s, without {r['without']:6.2f} s:"
            f" {r['ratio']:.2f} times; work {r['work']:6.2f} s by the clock"
        )


if __name__ == "__main__":
    main()
