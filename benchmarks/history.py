"""What grows with the days a home has: `earnings status`, and a run of one more small day, after 14,
183 and 1,095 days.

    python -m benchmarks.history

Seven small days are made from landing files as any others. The days before them are copies: of all
rows, with their days and ids moved, and of the files, as links. Then one more day lands and is run.
`fixed` is a run of the one asset that has next to nothing to do. Seconds of CPU of the whole command,
Python's start and Dagster's import included; the ratio is to the shortest history.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from pipelines.definitions import ASSETS
from pipelines.runs.daily import Day
from pipelines.schema import LANDING, TABLES
from pipelines.settings import Home
from pipelines.sources.simulator.simulate import simulate
from pipelines.sql import as_text
from pipelines.store.warehouse import Connection, Warehouse

BLOCK = 7  # days that are made; all before them are copies
LAST = date(2026, 6, 28)
SLIGHT = "viewer_groups"  # makes no rows under the policy that ships
SMALL = {"events_per_day": 120, "viewers": 60, "creators": 8, "videos": 20}
MOVED = "event_id", "gift_id", "ad_id", "txn_id", "hash", "prev_hash"  # ids of one day
NUMBERS = {  # ever higher ones, and how far a block goes back
    ("written_days", "changed"): 10_000, ("written_days", "made"): 10_000,
    ("snapshot_changes", "changed"): 10_000, ("ledger_transactions", "seq"): 1_000,
}  # fmt: skip


def made(root: Path) -> Home:
    """A home with a block of days, and one more that has only landed."""
    home = Home.at(root)
    simulate(
        home.landing,
        first_day=LAST - timedelta(days=BLOCK - 1),
        days=BLOCK + 1,
        seed=5,
        rotten_share=0.0,
        duplicate_share=0.0,
        late_share=0.0,
        **SMALL,
    )
    days = [LAST - timedelta(days=n) for n in reversed(range(BLOCK))]
    house, policies = Warehouse(home), home.policies
    with house.open() as con:
        for asset in ASSETS:
            for day in days:
                asset.make(Day(con, day, house, policies.in_force(day)))
    return home


def copied(home: Home, root: Path, days: int) -> Home:
    """The home with copies of its block before it, so that there are so many days."""
    shutil.copytree(home.root, root)
    longer = Home.at(root)
    first = LAST - timedelta(days=days - 1)
    with Warehouse(longer).open() as con:
        blocks = 1
        while blocks * BLOCK < days:  # twice as many each time
            _link(longer.landing, blocks)
            con.begin()
            for table in TABLES:
                if any(c.name == "day" for c in TABLES[table].columns):
                    con.execute(_moved(table, blocks))
            con.commit()
            blocks *= 2
        for table in TABLES:
            if any(c.name == "day" for c in TABLES[table].columns):
                con.execute(f"DELETE FROM {table} WHERE day < ?", [first])
        _note_links(con, longer.landing)
        # of the copies, and of the block that has copies before it now
        con.execute("""UPDATE quality_priors SET history_days = (
            SELECT count(*) FROM written_days AS w WHERE table_name = 'video_evidence'
            AND w.day >= quality_priors.first_day AND w.day < quality_priors.day)""")
    for table in LANDING:
        for folder in (longer.landing / table).glob("*-*"):
            if date.fromisoformat(folder.name) < first:
                shutil.rmtree(folder)
    Warehouse(longer).publish()
    return longer


def _moved(table: str, blocks: int) -> str:
    days = blocks * BLOCK
    changed = []
    for column in TABLES[table].columns:
        name = column.name
        if column.type == "DATE" and name not in ("month", "effective_from"):
            changed.append(f"{name} - {days} AS {name}")
        elif name in MOVED and table not in ("settlements", "payments"):
            changed.append(f"{name} || '~{blocks}' AS {name}")
        elif (table, name) in NUMBERS:
            changed.append(f"{name} - {blocks * NUMBERS[table, name]} AS {name}")
        elif name == "file":
            # <table>/<day>/<name>
            moved = f"(split_part({name}, '/', 2)::DATE - {days})::VARCHAR"
            changed.append(
                f"split_part({name}, '/', 1) || '/' || {moved} || '/' || split_part({name}, '/', 3)"
                f" AS {name}"
            )
    return (
        f"INSERT INTO {table} BY NAME SELECT * REPLACE ({', '.join(changed)}) FROM {table}"
        f" WHERE day <= DATE '{LAST}'"
    )


def _link(landing: Path, blocks: int) -> None:
    for table in LANDING:
        for source in sorted((landing / table).glob("*-*")):
            day = date.fromisoformat(source.name)
            if day <= LAST:
                target = source.with_name(str(day - timedelta(days=blocks * BLOCK)))
                target.mkdir()
                for file in source.iterdir():
                    os.link(file, target / file.name)


def _note_links(con: Connection, landing: Path) -> None:
    """The copied files have other inodes than those that were loaded."""
    rows = con.execute("SELECT DISTINCT file FROM landing_files").fetchall()
    stamps = []
    for (file,) in rows:
        state = (landing / file).stat()
        stamps.append((file, f"{state.st_mtime_ns}:{state.st_ino}"))
    values = ", ".join(f"({as_text(f)}, {as_text(s)})" for f, s in stamps)
    con.execute(
        f"UPDATE landing_files SET stamp = s.stamp FROM (VALUES {values}) AS s(file, stamp)"
        " WHERE landing_files.file = s.file"
    )


def earnings(home: Home, *words: str) -> tuple[float, str]:
    """CPU seconds of a command, and what it printed."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "-c", "from pipelines.cli.main import main; main()",
         "--home", str(home.root), *words],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return cpu, done.stdout


def measured(home: Home, days: int) -> dict[str, Any]:
    """Status, and a run of the day that landed last."""
    status, shown = earnings(home, "status", "--json")
    states = [day["state"] for day in json.loads(shown)["days"]]
    if states != ["complete"] * days + ["landed"]:  # a home like any other
        raise AssertionError([d["note"] for d in json.loads(shown)["days"]])
    day = str(LAST + timedelta(days=1))
    run, _ = earnings(home, "run", "--from", day, "--to", day)
    fixed, _ = earnings(home, "run", "--asset", SLIGHT, "--from", day, "--to", day)
    after = json.loads(earnings(home, "status", "--json")[1])["days"]
    assert [found["state"] for found in after] == ["complete"] * (days + 1)
    return {"days": days, "status": status, "run": run, "fixed": fixed}


def results(lengths: list[int]) -> Iterator[dict[str, Any]]:
    """A row for each length of history."""
    with tempfile.TemporaryDirectory(prefix="history-") as folder:
        home = made(Path(folder, "block"))
        for days in lengths:
            root = Path(folder, str(days))
            yield measured(copied(home, root, days), days)
            shutil.rmtree(root)


def main() -> None:
    """Print a row for each length of history, with the ratio to the first."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--days", type=int, nargs="+", default=[14, 183, 1_095])
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.json:
        print(json.dumps(list(results(options.days)), indent=2))
        return
    print("  days   status  ratio      run  ratio    fixed  ratio   (seconds of CPU)")
    first: dict[str, Any] = {}
    for row in results(options.days):
        first = first or row
        cells = [f"{row[k]:8.2f} {row[k] / first[k]:6.2f}" for k in ("status", "run", "fixed")]
        print(f"{row['days']:6}", *cells, flush=True)


if __name__ == "__main__":
    main()
