"""The score with its sums made by Spark: the same bits as DuckDB's, and the same money. One JVM
serves all tests of a process.
"""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pytest

from pipelines import schema
from pipelines.operation.running import run_days
from pipelines.policy import Policy
from pipelines.quality.scoring import score_query, score_videos
from pipelines.quality.spark import SparkError, score_on_spark, session
from pipelines.settings import Home, Settings
from pipelines.sources.simulator.simulate import simulate
from tests.cases.three_days import SETTINGS, contents
from tests.quality.test_scoring import DAY, HARDENED, PRINTED, policy, put_in_groups

MISSING = [name for name in ("pyspark", "sqlglot") if not importlib.util.find_spec(name)] + [
    "java"
] * (not shutil.which("java"))
WITHOUT = pytest.mark.skipif(
    bool(MISSING),
    reason=f"{', '.join(MISSING)} not installed; `make test-spark` with Java 17 or 21 runs these",
)
pytestmark = [pytest.mark.spark, WITHOUT]

# The first compiler only: a JVM that lives for a minute does not win back what the second one
# costs.
SPARK = """[spark]
master = "local[2]"
driver_memory = "1g"
shuffle_partitions = 2
options = {"spark.driver.extraJavaOptions" = "-XX:TieredStopAtLevel=1"}
"""
REWEIGHTED = policy(
    prior_mass=20,
    unverified_cap=1.5,
    epochs={"mechanism": "uir", "experiment": {"salt": "a"}},
    views={"count": "trust"},
)
WEEKLY = policy(
    prior_mass=5,
    window_days=3,
    views={"count": "trust", "min_watch_seconds": 2, "min_watch_fraction": 0.1},
)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    (tmp_path / "settings.toml").write_text(SPARK)
    return Home.at(tmp_path)


@pytest.fixture(scope="module")
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    """Three days of a platform with everything that could go one way in one engine and another way
    in the other.

    Ids that differ only in case, blanks or accents, viewers nobody knows, trust that is no multiple
    of a millionth or none, snapshots that change, sessions with the flag for repeats missing, a
    video that everybody watches to the end, and one nobody likes.
    """
    rng = np.random.default_rng(7)
    n, viewers, videos = 6000, 400, 120
    names = [f"v{i}" for i in range(videos - 4)] + ["V0", "v0 ", "vé", "ve\u0301"]
    with duckdb.connect(":memory:") as connection:
        for table in (
            schema.VIEWER_EVENTS,
            schema.VIEWERS,
            schema.VIDEOS,
            schema.VIEWER_GROUPS,
            schema.GROUP_WEIGHTS,
        ):
            connection.execute(table.ddl())
        events = {
            "day": [DAY - timedelta(days=int(d)) for d in rng.integers(0, 3, n)],
            "viewer_id": [f"u{i}" for i in rng.integers(0, viewers + 60, n)],
            "video_id": [names[int(videos * x**2)] for x in rng.random(n)],
            "watch_ms": [int(x) for x in rng.integers(0, 60_000, n)],
            **{
                action: [bool(x) for x in rng.random(n) < p]
                for action, p in (
                    ("liked", 0.3),
                    ("commented", 0.1),
                    ("shared", 0.05),
                    ("followed", 0.03),
                )
            },
            "repeated": [[True, None][int(x)] for x in rng.integers(0, 2, n)],
        }
        columns = ", ".join(events)
        connection.execute(
            f"""INSERT INTO viewer_events BY NAME SELECT {columns},
                'e' || row_number() OVER () AS event_id, day::TIMESTAMP AS ts,
                'landing' AS source
                FROM (SELECT {", ".join(f"unnest(${c}) AS {c}" for c in events)})""",
            events,
        )
        connection.execute(
            "UPDATE viewer_events SET liked = false, commented = false, shared = false, followed ="
            " false WHERE video_id = 'v3'"
        )
        connection.execute("UPDATE viewer_events SET watch_ms = 86400000 WHERE video_id = 'v5'")
        for since, of in ((9, "i % 5 = 0"), (1, "i % 7 = 0")):
            connection.execute(
                f"""INSERT INTO viewers BY NAME SELECT DATE '{DAY - timedelta(days=since)}' AS day,
                    'u' || i AS viewer_id, {of} AS verified,
                    CASE WHEN i % 3 = 0 THEN 1 / (i + 2) WHEN i % 11 = 0 THEN 0 ELSE 1 END AS trust,
                    'landing' AS source
                    FROM range({viewers}) t(i) WHERE i % {10 - since} = 0"""
            )
        connection.execute(
            f"""INSERT INTO videos BY NAME SELECT DATE '{DAY - timedelta(days=9)}' AS day,
                name AS video_id, 'c' || (i // 3) AS creator_id,
                4000 + i * 377 AS length_ms, [] AS categories, i % 17 <> 1 AS compliant,
                CASE WHEN i % 9 <> 0 THEN i / 120 END AS s_plus, CASE WHEN i % 8 <> 0
                THEN 0.7 * i / 120 END AS s_tox, 'landing' AS source
                FROM (SELECT unnest($names) AS name, unnest(range({videos})) AS i)""",
            {"names": names},
        )
        groups = {
            f"u{i}": (f"g{i % 4}", "control" if i % 3 == 0 else "treatment")
            for i in range(0, viewers, 2)
        }
        put_in_groups(connection, groups, {f"g{i}": 0.1 + i / 3 for i in range(4)})
        yield connection


@pytest.mark.parametrize(
    "how", [PRINTED, HARDENED, REWEIGHTED, WEEKLY], ids=["printed", "hardened", "uir", "three days"]
)
def test_every_bit_is_the_one_duckdb_finds(
    con: duckdb.DuckDBPyConnection, home: Home, how: Policy
) -> None:
    alone = score_videos(con, DAY, how).order("video_id").fetchall()
    with score_on_spark(con, DAY, how, home) as scores:
        assert (scores.columns, scores.types) == (
            [c.name for c in schema.VIDEO_QUALITY.columns],
            score_videos(con, DAY, how).types,
        )
        assert scores.order("video_id").fetchall() == alone
    assert len(alone) > 100
    assert not list((home.root / ".spark").iterdir())


def test_the_whole_text_runs_on_spark_too(
    con: duckdb.DuckDBPyConnection, home: Home, tmp_path: Path
) -> None:
    """Logarithms and powers included, within 1e-10. That they are not the same bits everywhere is
    why the pipeline cuts before them.
    """
    import sqlglot

    spark, query = session(home.settings), score_query(DAY, REWEIGHTED)
    for table in ("viewer_events", "viewers", "videos", "viewer_groups", "group_weights"):
        con.execute(f"COPY {table} TO '{tmp_path / table}.parquet'")
        spark.read.parquet(f"{tmp_path / table}.parquet").createOrReplaceTempView(table)
    (sql,) = sqlglot.transpile(
        query.sql, read="duckdb", write="spark", unsupported_level=sqlglot.ErrorLevel.RAISE
    )
    there = spark.sql(sql, args=dict(query.parameters)).toArrow().sort_by("video_id")
    here = score_videos(con, DAY, REWEIGHTED).order("video_id").to_arrow_table()
    assert there.column_names == here.column_names
    for name, column in zip(here.column_names, here.columns, strict=True):
        if pa.types.is_floating(column.type):
            np.testing.assert_allclose(there[name], column, rtol=1e-10, atol=0, err_msg=name)
        else:
            assert there[name].to_pylist() == column.to_pylist(), name


def test_a_day_without_events(tmp_path: Path) -> None:
    """In a folder whose name Hadoop and DuckDB could take for a pattern or an address."""
    home = Home.at(tmp_path / "a [day] of {x}, 100%20")
    home.root.mkdir()
    (home.root / "settings.toml").write_text(SPARK)
    with duckdb.connect(":memory:") as connection:
        for table in (schema.VIEWER_EVENTS, schema.VIEWERS, schema.VIDEOS):
            connection.execute(table.ddl())
        with score_on_spark(connection, DAY, HARDENED, home) as scores:
            assert scores.fetchall() == []


def test_the_pipeline_pays_the_same_integers(tmp_path: Path) -> None:
    """A day through Dagster, rotten rows, duplicates and late rows among them: paid on Spark's
    sums, then again on DuckDB's.
    """
    home, day = Home.at(tmp_path), date(2026, 3, 1)
    simulate(
        home.landing,
        first_day=day,
        days=1,
        seed=5,
        events_per_day=800,
        viewers=300,
        creators=30,
        videos=100,
        late_share=0.05,
    )
    (tmp_path / "settings.toml").write_text(
        SETTINGS + 'score_engine = "auto"\n' + SPARK + "from_events = 1\n"
    )
    outcome = run_days(home, day, day)
    assert outcome.success, outcome.failures
    by_spark = contents(home)
    (tmp_path / "settings.toml").write_text(SETTINGS)
    outcome = run_days(
        Home.at(tmp_path),
        day,
        day,
        assets=["video_quality", "pulse_payouts", "ad_pools", "ad_payouts", "donation_splits"],
    )
    assert outcome.success, outcome.failures
    assert contents(home) == by_spark
    assert by_spark["quarantine"]
    assert by_spark["ad_payouts"]


def test_what_spark_cannot_do_is_said(con: duckdb.DuckDBPyConnection, home: Home) -> None:
    """More than 64 bits of trust: an error that names the overflow, nothing left behind, and the
    connection goes on.
    """
    con.execute("CREATE TEMP TABLE viewers AS SELECT * REPLACE (1e300 AS trust) FROM viewers")
    try:
        with (
            pytest.raises(SparkError, match=r"Spark failed: .*CAST_OVERFLOW"),
            score_on_spark(con, DAY, HARDENED, home),
        ):
            pass
    finally:
        con.execute("DROP TABLE temp.viewers")
    assert not list((home.root / ".spark").iterdir())


def test_a_folder_that_cannot_be_written(con: duckdb.DuckDBPyConnection, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "settings.toml").write_text(f'[spark]\nfolder = "{tmp_path}/file/below"\n')
    with (
        pytest.raises(SparkError, match=r"cannot be written.*section .spark. of settings.toml"),
        score_on_spark(con, DAY, HARDENED, Home.at(tmp_path)),
    ):
        pass


def test_without_java(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.delenv("JAVA_HOME", raising=False)
    with pytest.raises(SparkError, match=r"Java 17 or 21.*score_engine"):
        session(Settings())
