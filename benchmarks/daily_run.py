"""One day of the bundled sample, landing files to creator earnings, in a new process: how much of
it is work, how much overhead.

    python -m benchmarks.daily_run

The work is the time inside the assets' own functions; everything else (imports, Dagster, checks,
the command line) is overhead. The baseline is what it costs to start Python and import Dagster at
all.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from pipelines.schema import LANDING
from pipelines.settings import SAMPLE

DAY = "2026-03-01"


def one_run(days: int) -> tuple[float, float]:
    """Seconds of a whole `earnings run` on a fresh home, and of the work inside it."""
    with tempfile.TemporaryDirectory() as folder:
        for table in LANDING:
            shutil.copytree(SAMPLE / table, Path(folder, "landing", table))
        command = [
            str(Path(sys.executable).parent / "earnings"),
            "--home",
            folder,
            "run",
            "--from",
            DAY,
            "--to",
            f"2026-03-{days:02d}",
        ]
        began = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        whole = time.perf_counter() - began
    work = sum(
        float(s)
        for s in re.findall(
            r"^\w+ +\d{4}-\d\d-\d\d +\d+/\d+ +(\d+\.\d+) s", done.stdout, re.MULTILINE
        )
    )
    return whole, work


def import_dagster() -> float:
    """Seconds to start Python and import Dagster."""
    began = time.perf_counter()
    subprocess.run(
        [sys.executable, "-c", "import dagster"],
        check=True,
        env={**os.environ, "DAGSTER_DISABLE_TELEMETRY": "yes"},
    )
    return time.perf_counter() - began


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
        pairs = [one_run(days) for _ in range(options.runs)]
        whole = statistics.median(w for w, _ in pairs)
        work = statistics.median(w for _, w in pairs)
        results.append(
            {
                "days": days,
                "seconds": whole,
                "work": work,
                "overhead": whole - work,
                "ratio": (whole - work) / baseline,
            }
        )
    if options.json:
        print(json.dumps({"import_dagster_seconds": baseline, "runs": results}, indent=2))
        return
    print(f"import dagster: {baseline:.2f} s (the baseline)")
    for r in results:
        parts = f"work {r['work']:6.2f} s, overhead {r['overhead']:5.2f} s"
        print(
            f"{r['days']:>3} days: {r['seconds']:6.2f} s, {parts} = {r['ratio']:.1f} x import"
            " dagster"
        )


if __name__ == "__main__":
    main()
