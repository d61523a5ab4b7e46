"""Why a month changed: whole parts that sum to the difference, of all creators at once."""

from __future__ import annotations

import json
import shutil
from datetime import date
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from pipelines.cli.main import main
from pipelines.ledger.counterfactual import NothingToExplainError
from pipelines.ledger.explained_day import explained_day
from pipelines.ledger.explanation import DayBook
from pipelines.settings import Home
from pipelines.sources.simulator.simulate import simulate
from pipelines.store.warehouse import Warehouse
from pipelines.whatif.months import PARTS, _Sums, _taken_apart, in_words, month_changes
from pipelines.whatif.scratch import scratch
from solvers.attribution import shapley
from tests.cases.five_days import make_days
from tests.whatif.test_whatif import BASE, policy

DAYS = [date(2026, 3, 30), date(2026, 3, 31), date(2026, 4, 1), date(2026, 4, 2)]
APRIL = date(2026, 4, 1)
OTHER = "[ads]\nplatform_share = 0.3\nalpha = 1.0\n[coins]\nmax_gap = 0.1\n"


@pytest.fixture(scope="module")
def paid(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """Two days of March and two of April under one policy. Not to be written to."""
    home = Home.at(tmp_path_factory.mktemp("months") / "home")
    simulate(home.landing, first_day=DAYS[0], days=4, seed=3, rotten_share=0.0, late_share=0.0,
             late=home.root / "l", events_per_day=150, viewers=70, creators=9, videos=24)  # fmt: skip
    (home.root / "settings.toml").write_text(
        "first_day = 2026-03-30\nlast_day = 2026-04-30\nthreads = 1\npolicy = 'base'\n"
    )
    (home.root / "policies").mkdir()
    (home.root / "policies" / "base.toml").write_text(BASE)
    make_days(home, DAYS)
    return home


def changes(home: Home) -> pd.DataFrame:
    with Warehouse(home).open(read_only=True) as con:
        return month_changes(con, home, APRIL)


def earned(home: Home) -> pd.DataFrame:
    with Warehouse(home).open(read_only=True) as con:
        return con.execute(
            "SELECT creator_id, month(day) AS m, sum(total_micros)::BIGINT AS total,"
            " sum(coins_micros)::BIGINT AS coins FROM creator_earnings GROUP BY ALL"
        ).df()


def test_parts_are_whole_and_sum_to_the_difference(paid: Home) -> None:
    found = changes(paid)
    totals = earned(paid).pivot_table(
        index="creator_id", columns="m", values=["total", "coins"], fill_value=0
    )
    assert (found["before"] == totals["total"][3]).all()
    assert (found["after"] == totals["total"][4]).all()
    assert (found[list(PARTS)].sum(axis=1) == found["after"] - found["before"]).all()
    assert set(found.dtypes) == {np.dtype("int64")}
    assert (found["coins"] == (totals["coins"][4] - totals["coins"][3])).all()
    assert (found[["policy", "bonus", "shares", "corrections"]] == 0).all(axis=None)
    for part in ("views", "quality", "pool_money", "competition"):
        assert found[part].abs().sum() > 0


def test_another_policy_is_what_it_changes_in_both_months(paid: Home, tmp_path: Path) -> None:
    home = Home.at(shutil.copytree(paid.root, tmp_path / "home"))
    (home.root / "policies" / "next.toml").write_text(
        f'name = "base"\neffective_from = 2026-04-01\n{OTHER}'
    )
    make_days(home, DAYS[2:])
    Warehouse(home).publish()
    found, same = changes(home), changes(paid)
    totals = {}
    for first, last in ((DAYS[0], DAYS[1]), (DAYS[2], DAYS[3])):
        with scratch(home, first, last) as room:
            for name, text in (("old", ""), ("new", OTHER)):
                by_creator = room.pay(policy(text), name).creators.to_pandas()
                totals[name, first] = by_creator.set_index("creator_id")["total"]
    moved = [totals["new", first] - totals["old", first] for first in (DAYS[0], DAYS[2])]
    expected = (moved[0].add(moved[1], fill_value=0)) / 2
    assert (found["policy"] - expected).abs().max() <= 1
    assert (found[list(PARTS)].sum(axis=1) == found["change"]).all()
    assert (same["policy"] == 0).all()


def test_parts_of_one_pool_are_shapley_values_of_the_product() -> None:
    """A creator who is alone in a category and leaves another; by the definition."""
    index = pd.MultiIndex.from_tuples([("music", "a"), ("music", "b")], names=["category", "creator_id"])  # fmt: skip
    months = []
    for paid, views, effective in (
        ([40.0, 60.0], [10.0, 30.0], [5.0, 15.0]),
        ([90.0, 30.0], [20.0, 20.0], [16.0, 10.0]),
    ):
        cells = pd.DataFrame({"paid": paid, "views": views, "effective": effective}, index=index)
        creators = pd.DataFrame(
            {"pools": paid, "pulse": 0, "coins": 0, "bonus": 0, "shares": 0, "total": paid},
            index=pd.Index(["a", "b"], name="creator_id"),
        )
        months.append(_Sums(creators, cells, cells.groupby(level="category")[["paid"]].sum()))
    found = _taken_apart(*months).loc["a"]
    off, on = [10, 0.5, 100, 40 / 500], [20, 0.8, 120, 90 / (16 * 120)]
    by_hand = shapley(lambda inside: np.where(inside, on, off).prod(axis=1), 4)
    assert found[["views", "quality", "pool_money", "competition"]].to_numpy() == pytest.approx(
        by_hand, abs=1e-9
    )
    assert found["change"] == pytest.approx(by_hand.sum())


def test_the_command_tells_one_creator_and_writes_all(paid: Home, tmp_path: Path) -> None:
    runner, base = CliRunner(), ["--home", str(paid.root), "explain"]
    whole = changes(paid)
    who = str(whole["change"].abs().idxmax())
    told = runner.invoke(main, [*base, who, "--month", "2026-04"])
    assert told.exit_code == 0, told.output
    assert in_words(who, whole.loc[who].to_dict(), APRIL) in told.output.replace("\n", " ")
    row = json.loads(runner.invoke(main, [*base, who, "--month", "2026-04", "--json"]).output)
    assert {key: row[key] for key in whole.columns} == whole.loc[who].to_dict()
    out = tmp_path / "all.parquet"
    wrote = runner.invoke(main, [*base, "--all", "--month", "2026-04", "--out", str(out)])
    assert wrote.exit_code == 0, wrote.output
    assert duckdb.sql(f"SELECT count(*) FROM '{out}' WHERE words <> ''").fetchall() == [
        (len(whole),)
    ]
    wrong = runner.invoke(main, [*base, who, "--month", "2026-04", "--day", "2026-04-01"])
    assert wrong.exit_code == 2
    none = runner.invoke(main, [*base, who, "--month", "2026-03"])
    assert none.exit_code == 1
    assert "no day of February 2026 is made" in none.stderr


def test_a_month_without_days_says_what_to_run(paid: Home) -> None:
    with (
        Warehouse(paid).open(read_only=True) as con,
        pytest.raises(NothingToExplainError, match="earnings run --from 2026-05-01"),
    ):
        month_changes(con, paid, date(2026, 5, 1))


@pytest.mark.parametrize("text", ["", "[ads]\ncap_fraction = 0.3\nfloor_micros = 10\n"])
def test_all_payouts_of_a_day_are_taken_apart_as_each_is(
    paid: Home, tmp_path: Path, text: str
) -> None:
    """Pools whose split is a closed form, and those with a floor and a cap."""
    home = Home.at(shutil.copytree(paid.root, tmp_path / "home")) if text else paid
    if text:
        (home.root / "policies" / "base.toml").write_text(BASE + text)
        make_days(home, DAYS[:1])
    with Warehouse(home).open(read_only=True) as con:
        table = explained_day(con, DAYS[0]).to_pandas()
        videos = DayBook.of(con, DAYS[0]).videos(sorted(set(table["video_id"])))
        paid_all = con.execute(
            "SELECT creator_id, sum(total_micros)::BIGINT FROM creator_earnings WHERE day = ?"
            " GROUP BY ALL",
            [DAYS[0]],
        ).fetchall()
    each = {
        (video.video_id, payout.source, payout.category or "", part.name): part.micros
        for video in videos
        for payout in video.payouts
        for part in payout.parts
    }
    table["category"] = table["category"].fillna("")
    keys = ["video_id", "source", "category", "part"]
    assert table.set_index(keys)["micros"].to_dict() == each
    sums = table.groupby("creator_id")["micros"].sum()
    assert sums[sums != 0].to_dict() == {who: micros for who, micros in paid_all if micros}
