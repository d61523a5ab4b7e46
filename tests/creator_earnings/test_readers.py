"""What readers get: data frames and files, with every amount whole."""

from __future__ import annotations

import csv
import json
from datetime import date
from pathlib import Path

import duckdb
import pandas as pd
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

import creator_earnings
from pipelines.cli.main import main
from pipelines.lab.report import Report, ReportError
from pipelines.schema import TABLES
from pipelines.settings import Home
from pipelines.store.warehouse import Warehouse, WarehouseError

LARGE = 9_007_199_254_740_993  # the first whole number that a float cannot hold
ROWS = f"""SELECT * FROM (VALUES
    (DATE '2026-03-01', 'c1', {LARGE}::BIGINT, true, ['a', 'b'], MAP {{'music': 1::BIGINT}}),
    (DATE '2026-03-02', '=1+1', NULL, NULL, NULL, NULL)
) AS t(day, creator_id, micros, good, labels, by_category)"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A warehouse with some rows, published."""
    home = Home.at(tmp_path_factory.mktemp("readers"))
    house = Warehouse(home)
    with house.open() as con:
        for day in (3, 1, 2):
            con.execute(
                "INSERT INTO adjustments VALUES (?, 'c2', 1), (?, 'c1', -1)",
                [date(2026, 3, day)] * 2,
            )
    house.publish()
    return home


@pytest.fixture
def frame(home: Home) -> pd.DataFrame:
    return creator_earnings.open(home.root).query(ROWS)


def query(home: Home, *words: str) -> str:
    result = CliRunner().invoke(main, ["--home", str(home.root), "query", *words])
    assert result.exit_code == 0, result.output
    return result.stdout


def test_an_amount_stays_whole_also_beside_a_gap(frame: pd.DataFrame) -> None:
    assert str(frame.micros.dtype) == "Int64"
    assert frame.micros[0] == LARGE
    assert frame.micros[1] is pd.NA
    joined = frame.set_index("creator_id").micros.reindex(["c1", "nobody"])
    assert joined["c1"] == LARGE


def test_a_sum_of_amounts_is_whole(home: Home) -> None:
    platform = creator_earnings.open(home.root)
    found = platform.query("SELECT sum(i) AS s FROM (VALUES (?), (1)) AS t(i)", [LARGE])
    assert (str(found.s.dtype), found.s[0]) == ("Int64", LARGE + 1)
    huge = platform.query("SELECT sum(i) AS s FROM (VALUES (?), (?)) AS t(i)", [2**63 - 1] * 2)
    assert int(huge.s[0]) == 2**64 - 2


def test_days_lists_and_maps(frame: pd.DataFrame) -> None:
    assert frame.day.dt.day.tolist() == [1, 2]
    assert list(frame.labels[0]) == ["a", "b"]
    assert frame.by_category[0] == {"music": 1}
    assert str(frame.good.dtype) == "boolean"


def test_a_table_comes_in_order_and_by_days(home: Home) -> None:
    platform = creator_earnings.open(home.root)
    found = platform.table("adjustments")
    assert found.day.dt.day.tolist() == [1, 1, 2, 2, 3, 3]
    assert found.creator_id.tolist() == ["c1", "c2"] * 3
    some = platform.table("adjustments", first="2026-03-02", last=date(2026, 3, 2))
    assert some.day.dt.day.tolist() == [2, 2]


@pytest.mark.parametrize("name", TABLES)
def test_every_table_can_be_had(home: Home, name: str) -> None:
    platform = creator_earnings.open(home.root)
    assert list(platform.table(name).columns) == list(platform.columns(name).column)
    assert name in set(platform.tables().table)


def test_what_is_not_there_is_said(home: Home, tmp_path: Path) -> None:
    platform = creator_earnings.open(home.root)
    with pytest.raises(creator_earnings.UnknownTableError, match="did you mean adjustments"):
        platform.table("adjustment")
    with pytest.raises(creator_earnings.UnknownTableError, match="has no days"):
        platform.table("policies", first="2026-03-01")
    with pytest.raises(WarehouseError):
        creator_earnings.open(tmp_path).table("gifts")
    with pytest.raises(ValueError, match="not both"):
        creator_earnings.open(as_of=pd.Timestamp("2026-03-01"), as_issued="2026-03-01")


def test_the_home_is_the_one_that_commands_would_take(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EARNINGS_HOME", str(home.root))
    assert creator_earnings.open().home == home


def test_csv_has_every_digit_and_no_formula(home: Home) -> None:
    rows = list(csv.reader(query(home, ROWS, "--format", "csv").splitlines()))
    assert rows == [
        ["day", "creator_id", "micros", "good", "labels", "by_category"],
        ["2026-03-01", "c1", str(LARGE), "True", '["a", "b"]', '{"music": 1}'],
        ["2026-03-02", "'=1+1", "", "", "", ""],
    ]


def test_json_is_the_same_by_either_name(home: Home) -> None:
    said = query(home, ROWS, "--format", "json")
    assert said == query(home, ROWS, "--json")
    assert json.loads(said)[0]["micros"] == LARGE


def test_a_parquet_file_has_the_types(home: Home, tmp_path: Path) -> None:
    path = tmp_path / "deep" / "result.parquet"
    assert query(home, ROWS, "--out", str(path)) == ""
    there = duckdb.connect().execute(f"FROM '{path}'").fetchall()
    with Warehouse(home).read() as con:
        assert there == con.execute(ROWS).fetchall()
    assert str(pq.read_schema(path).field("day").type) == "date32[day]"


def test_a_worksheet_has_no_formula_and_every_digit(home: Home, tmp_path: Path) -> None:
    openpyxl = pytest.importorskip("openpyxl")
    path = tmp_path / "result.xlsx"
    query(
        home,
        f"{ROWS} UNION ALL BY NAME SELECT 'c3' AS creator_id, 12 AS micros",
        "--out",
        str(path),
    )
    head, *rows = openpyxl.load_workbook(path).active.iter_rows()
    assert [cell.value for cell in head][:3] == ["day", "creator_id", "micros"]
    assert [row[2].value for row in rows] == [str(LARGE), None, 12]
    assert (rows[1][1].value, rows[1][1].data_type) == ("=1+1", "s")
    assert rows[0][0].value.date() == date(2026, 3, 1)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--format", "parquet"), "add --out FILE"),
        (("--out", "result.txt"), "add --format"),
        (("--format", "csv", "--json"), "not both"),
    ],
)
def test_what_cannot_be_is_wrong_usage(home: Home, words: tuple[str, ...], says: str) -> None:
    result = CliRunner().invoke(main, ["--home", str(home.root), "query", "SELECT 1", *words])
    assert result.exit_code == 2
    assert says in result.output


def test_a_query_that_fails_leaves_no_file(home: Home, tmp_path: Path) -> None:
    path = tmp_path / "result.csv"
    wrong = ["--home", str(home.root), "query", "SELECT error('boom')", "--out", str(path)]
    assert CliRunner().invoke(main, wrong).exit_code == 1
    assert not list(tmp_path.iterdir())


def test_the_tables_of_a_study_are_frames(tmp_path: Path) -> None:
    report = Report(tmp_path, "A study")
    report.table("steps", ("creator", "micros"), [("=c1", 12), ("c2", None)], "Steps")
    frames = creator_earnings.study(tmp_path)
    assert list(frames) == ["steps"]
    assert frames["steps"].creator.tolist() == ["=c1", "c2"]
    assert frames["steps"].micros.tolist() == [12, pd.NA]
    with pytest.raises(ReportError, match="no study"):
        creator_earnings.study(tmp_path / "nothing")
