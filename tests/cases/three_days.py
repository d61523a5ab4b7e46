"""A small simulated platform, runs of the daily job on copies of it, and everything a run wrote,
for comparison.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from pipelines.schema import DERIVED, LANDING
from pipelines.settings import Home
from pipelines.sources.simulator.simulate import simulate
from pipelines.store.warehouse import Warehouse

FIRST, LAST = date(2026, 3, 1), date(2026, 3, 3)
SETTINGS = "last_day = 2026-12-31\nlock_timeout_seconds = 0.5\n"


@pytest.fixture(scope="session")
def three_days(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A landing folder of three days, with bots, duplicates and rotten rows, and a late delivery
    beside it.
    """
    root = tmp_path_factory.mktemp("platform")
    simulate(
        root / "landing",
        first_day=FIRST,
        days=3,
        seed=11,
        events_per_day=1500,
        viewers=500,
        creators=40,
        videos=150,
        late_share=0.05,
    )
    return root


@pytest.fixture
def make_home(three_days: Path, tmp_path: Path) -> Callable[..., Home]:
    """Makes homes with a copy of the platform's landing folder: `make_home("name",
    settings="threads = 1")`.
    """

    def make(name: str = "home", *, settings: str = "", landing: bool = True) -> Home:
        root = tmp_path / name
        root.mkdir()
        (root / "settings.toml").write_text(SETTINGS + settings)
        if landing:
            shutil.copytree(three_days / "landing", root / "landing")
        return Home.at(root)

    return make


@pytest.fixture(scope="session")
def finished(three_days: Path, tmp_path_factory: pytest.TempPathFactory) -> Home:
    """The platform after one range run of all its days. Do not write to it; `copy_of` makes one
    that may be written to.
    """
    from pipelines.operation.running import run_days

    root = tmp_path_factory.mktemp("finished")
    (root / "settings.toml").write_text(SETTINGS)
    shutil.copytree(three_days / "landing", root / "landing")
    outcome = run_days(Home.at(root), FIRST, LAST)
    assert outcome.success, outcome.failures
    return Home.at(root)


@pytest.fixture
def copy_of(tmp_path: Path) -> Callable[[Home], Home]:
    """Copies a home, Dagster's records included."""

    def copy(home: Home) -> Home:
        return Home.at(shutil.copytree(home.root, tmp_path / "copy"))

    return copy


def contents(home: Home) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table that a run makes, sorted, without times and file hashes."""
    tables = [*LANDING.values(), *DERIVED]
    with Warehouse(home).open(read_only=True) as con:
        found = {
            t.name: con.execute(f"SELECT * FROM {t.name} ORDER BY ALL").fetchall() for t in tables
        }
        found["ledger_entries"] = con.execute(
            "SELECT * FROM ledger_entries ORDER BY ALL"
        ).fetchall()
        found["quarantine"] = con.execute(
            "SELECT table_name, day, reason, count(*) FROM quarantine GROUP BY ALL ORDER BY ALL"
        ).fetchall()
        found["written_days"] = con.execute(
            "SELECT table_name, day, rows FROM written_days WHERE table_name <> 'landing_files'"
            " ORDER BY ALL"
        ).fetchall()
        found["ledger"] = con.execute(
            "SELECT seq, txn_id, day, entries_hash FROM ledger_transactions ORDER BY seq"
        ).fetchall()
    return found


def rows(home: Home, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
    """Result of a query on the home's warehouse."""
    with Warehouse(home).open(read_only=True) as con:
        return con.execute(sql, list(parameters)).fetchall()
