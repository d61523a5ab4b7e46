"""Scores whose sums Spark makes of a lake's own files: the same rows and the same ledger as
DuckDB's on a file. One JVM serves all.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import duckdb
import pytest

from pipelines.quality.scoring import score_videos
from pipelines.quality.spark import score_on_spark, session
from pipelines.schema import TABLES
from pipelines.settings import PROJECT, Home
from pipelines.store.warehouse import Warehouse
from tests.lake.conftest import DAYS, Lakes, deliver_late, head, make
from tests.lake.test_lake import contents
from tests.quality.test_spark import SPARK, WITHOUT

pytestmark = [
    pytest.mark.lake,
    pytest.mark.spark,
    pytest.mark.slow,
    WITHOUT,
    pytest.mark.xdist_group("lake"),
]


CHANGED = {
    "window_days = 1": "window_days = 2",
    'mechanism = "none"': 'mechanism = "uir"',
    "groups = 20": "groups = 3",
    "min_group_viewers = 50": "min_group_viewers = 2",
    "min_impressions = 100": "min_impressions = 1",
    "relative = true": "relative = false",
}
TABLES_READ = ("viewer_events", "videos", "viewers", "viewer_groups", "group_weights")


def with_policy(home: Home, more: str = "") -> Home:
    """Weights of viewer groups, and scores over two days."""
    # a window of events: scores by evidence look back by sums instead
    text = (PROJECT / "assets_data" / "policies" / "hardened.toml").read_text(encoding="utf-8")
    text = text.replace('name = "hardened"', 'name = "evidence"', 1)
    for old, new in CHANGED.items():
        assert old in text
        text = text.replace(old, new)
    (home.root / "policies").mkdir()
    (home.root / "policies" / "evidence.toml").write_text(text, encoding="utf-8")
    with (home.root / "settings.toml").open("a", encoding="utf-8") as settings:
        settings.write(more)
    return Home.at(home.root)


def late_day(home: Home) -> None:
    """Two days made, and the second again with what arrived late."""
    make(home, DAYS)
    deliver_late(home, DAYS[1:])
    make(home, DAYS[1:])


def scored(scores: duckdb.DuckDBPyRelation) -> list[tuple[Any, ...]]:
    return scores.order("video_id").fetchall()


@pytest.fixture(scope="module")
def told(lakes: Lakes, landed: Path) -> Home:
    """A lake whose scores were made on Spark and whose viewers, few videos and weights are in the
    catalogue. Do not write to it.
    """
    home = with_policy(lakes.new(landed), f'score_engine = "spark"\n{SPARK}')
    with Warehouse(home).open() as con:
        con.execute(
            "CALL warehouse.set_option('data_inlining_row_limit', 1000, table_name => 'viewers')"
        )
    late_day(home)
    return home


def test_every_row_is_the_one_duckdb_makes_in_a_file(
    told: Home, file_home: Callable[..., Home]
) -> None:
    in_file = with_policy(file_home("on duckdb"))
    late_day(in_file)
    of_lake, of_file = contents(told), contents(in_file)
    for clock in (of_lake, of_file):
        clock["weight_commits"] = [row[:-1] for row in clock["weight_commits"]]
    assert {name for name in of_file if of_file[name] != of_lake[name]} == set()
    assert {
        row[[c.name for c in TABLES["video_quality"].columns].index("group_weight")]
        for row in of_lake["video_quality"]
    } > {1.0}
    assert head(told) == head(in_file)
    assert not list((told.root / ".spark").iterdir())


def test_the_lakes_files_are_read_where_they_lie(told: Home) -> None:
    policy = told.policies.in_force(DAYS[1])
    with Warehouse(told).open() as con:
        alone = scored(score_videos(con, DAYS[1], policy))
        with score_on_spark(con, DAYS[1], policy, told) as scores:
            assert scored(scores) == alone
            assert read_from(told) == {
                "viewer_events": {"lake"},
                "videos": {".spark"},
                "viewers": {".spark"},
                "viewer_groups": {"lake"},
                "group_weights": {".spark"},
            }
            (folder,) = (told.root / ".spark").iterdir()
            assert {path.name for path in folder.iterdir()} == {
                "viewers",
                "videos",
                "group_weights",
                "tier",
            }


def read_from(home: Home) -> dict[str, set[str]]:
    """The folders of the home from which Spark took each table."""
    files = {table: session(home.settings).table(table).inputFiles() for table in TABLES_READ}
    return {
        table: {Path(unquote(urlsplit(file).path)).relative_to(home.root).parts[0] for file in of}
        for table, of in files.items()
    }


def test_what_a_transaction_did_counts(told: Home) -> None:
    """A file of which a row is deleted, and rows that are in no file, are handed over; the other
    files are read.
    """
    policy = told.policies.in_force(DAYS[1])
    with Warehouse(told).open() as con:
        before = scored(score_videos(con, DAYS[1], policy))
        con.begin()
        try:
            con.execute(
                "DELETE FROM viewer_events WHERE event_id = (SELECT min(event_id) FROM"
                " viewer_events WHERE day = ?)",
                [DAYS[1]],
            )
            con.execute(
                """INSERT INTO viewer_events BY NAME
                   SELECT * REPLACE (event_id || '+' AS event_id, NOT liked AS liked,
                   TRUE AS repeated)
                   FROM viewer_events WHERE day = ? LIMIT 3""",
                [DAYS[0]],
            )
            alone = scored(score_videos(con, DAYS[1], policy))
            with score_on_spark(con, DAYS[1], policy, told) as scores:
                assert scored(scores) == alone != before
                assert read_from(told)["viewer_events"] == {"lake", ".spark"}
        finally:
            con.rollback()
