"""A month's worth of shapes on a platform small enough to be made in a fraction of a second,
without Dagster around it.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection, Iterable
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from pipelines.assets import ASSETS
from pipelines.runs.daily import Day
from pipelines.schema import DAILY
from pipelines.settings import Home
from pipelines.sources.simulator.simulate import simulate
from pipelines.store.contents import contents, rows_of
from pipelines.store.warehouse import Connection, Warehouse

FIRST = date(2026, 3, 1)
DAYS = [date(2026, 3, n) for n in range(1, 6)]
EVERYTHING = [asset.name for asset in ASSETS]
SETTINGS = (
    "first_day = 2026-03-01\nlast_day = 2026-03-31\nlock_timeout_seconds = 5\npublish ="
    " false\nthreads = 1\n"
)


def make_days(home: Home, days: Iterable[date], *, assets: Collection[str] = EVERYTHING) -> None:
    """Make days (of some assets) as a range run does: asset by asset, every day in a transaction of
    its own.
    """
    warehouse, policies = Warehouse(home), home.policies
    with warehouse.open() as con:
        for asset in (a for a in ASSETS if a.name in assets):
            for day in days:
                asset.make(Day(con, day, warehouse, policies.in_force(day)))


def rows(home: Home, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
    with Warehouse(home).open(read_only=True) as con:
        return con.execute(sql, list(parameters)).fetchall()


def balances(home: Home) -> dict[str, int]:
    """What every account holds in the end; what creators were paid counts as theirs."""
    sql = """SELECT CASE WHEN starts_with(account, 'statement:')
        THEN 'creator:' || account[11:] ELSE account END AS owner,
                    sum(amount_micros)::BIGINT AS micros FROM ledger_entries
                    GROUP BY owner HAVING micros <> 0"""
    return dict(rows(home, sql))


def as_written(con: Connection, table: str) -> None:
    """Note what the table holds now as if runs had written it: for tests that change rows to see
    what is paid from them, which is refused of rows that nobody wrote.
    """
    for day, now in contents(con, table).items():
        con.execute(
            "UPDATE written_days SET content = ?, rows = ? WHERE table_name = ? AND day = ?",
            [now, rows_of(now), table, day],
        )


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with five landed days, not run, and a late delivery beside it."""
    root = tmp_path_factory.mktemp("small")
    (root / "settings.toml").write_text(SETTINGS)
    sizes = {"events_per_day": 120, "viewers": 60, "creators": 8, "videos": 20}
    simulate(
        root / "landing",
        first_day=FIRST,
        days=len(DAYS),
        seed=5,
        late_share=0.1,
        rotten_share=0.0,
        format="csv.gz",
        **sizes,
    )
    return root


@pytest.fixture
def landed(small: Path, tmp_path: Path) -> Callable[..., Home]:
    """Copies of the small platform: `landed("name")`, or with the late files already there:
    `landed("name", late=True)`.
    """

    def copy(name: str = "home", *, late: bool = False) -> Home:
        root = shutil.copytree(small, tmp_path / name)
        if late:
            deliver_late(Home.at(root))
        return Home.at(root)

    return copy


@pytest.fixture(scope="session")
def made_once(small: Path, tmp_path_factory: pytest.TempPathFactory) -> Home:
    """The small platform with all days made. Do not write to it; `made` copies it."""
    home = Home.at(shutil.copytree(small, tmp_path_factory.mktemp("made") / "home"))
    make_days(home, DAYS)
    return home


@pytest.fixture
def made(made_once: Home, tmp_path: Path) -> Home:
    """The small platform with all days made and none closed."""
    return Home.at(shutil.copytree(made_once.root, tmp_path / "made"))


def deliver_nothing(home: Home, days: Iterable[date]) -> None:
    """Say of some days that nothing happened on them: a file with only a header, table by table."""
    for day in days:
        for table in DAILY:
            folder = home.landing / table.name / str(day)
            folder.mkdir(parents=True)
            (folder / "nothing.csv").write_text(
                ",".join(c.name for c in table.landing_columns) + "\n"
            )


def deliver_late(home: Home, days: Iterable[date] = DAYS) -> None:
    """Put the late files of some days into the landing folder."""
    for day in days:
        for path in sorted((home.root / "late").glob(f"*/{day}/*")):
            target = home.landing / path.relative_to(home.root / "late")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
