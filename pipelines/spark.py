"""The sums of the quality score on Spark, for days of events that one machine should not add up.

Belongs here: handing events over to Spark and its sums back to DuckDB, and the one session of a process. Does not: any formula. Spark runs
the part of `queries/video_quality.sql` that reads events, transpiled, and it ends in integers; DuckDB makes the scores of them.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb

from pipelines.errors import ExpectedError
from pipelines.policy import Policy
from pipelines.queries import as_text
from pipelines.scoring import Query, score_query
from pipelines.settings import Home, Settings

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_HANDED_OVER = {
    "viewer_events": "day, video_id, viewer_id, watch_ms, liked, commented, shared, followed, repeated",
    "viewers": "day, viewer_id, verified, trust",
    "videos": "day, video_id, creator_id, length_ms, compliant, s_plus, s_tox",
}
_HANDED_OVER_UIR = {"viewer_groups": "day, viewer_id, group_id, arm", "group_weights": "day, group_id, weight"}


class SparkError(ExpectedError, RuntimeError):
    """Spark is not there, does not start or fails: says why and what to do. Nothing was written."""


@contextmanager
def score_on_spark(con: duckdb.DuckDBPyConnection, day: date, policy: Policy, home: Home) -> Iterator[duckdb.DuckDBPyRelation]:
    """Like `scoring.score_videos`, bit for bit, with the sums over events made by Spark.

    The rows that the score reads go to Parquet files in `spark.folder`, Spark's sums come back the same way; both are gone afterwards.

    Raises
    ------
    SparkError
        pyspark or Java is missing, the session does not start, or Spark fails while it adds up.
    """
    sums, scores = score_query(day, policy).cut()
    with _folder(home, day) as folder:
        _hand_over(con, folder, day, policy)
        _add_up(home.settings, folder, sums)
        con.execute(f"CREATE OR REPLACE TEMP VIEW tier AS FROM read_parquet({as_text(folder / 'tier' / '*.parquet')})")
        try:
            yield con.sql(scores.sql, params=dict(scores.parameters))
        finally:
            con.execute("DROP VIEW tier")


@contextmanager
def _folder(home: Home, day: date) -> Iterator[Path]:
    parent = home.settings.spark.folder or home.root / ".spark"
    try:
        parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f"{day}-", dir=parent))
    except OSError as error:
        raise SparkError(f"{parent}: cannot be written: {error.strerror}. Set `folder` in section [spark] of settings.toml.") from error
    folder.chmod(0o755)  # workers of a cluster may run as somebody else
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _hand_over(con: duckdb.DuckDBPyConnection, folder: Path, day: date, policy: Policy) -> None:
    """The loaded rows, which leaves out quarantined ones and duplicates: events of the window, snapshots up to the day."""
    first = score_query(day, policy).parameters["first_day"]
    tables = _HANDED_OVER | (_HANDED_OVER_UIR if policy.epochs.mechanism == "uir" else {})
    try:
        for table, columns in tables.items():
            since = f"day >= DATE '{first}' AND " if table == "viewer_events" else ""
            con.execute(
                f"COPY (SELECT {columns} FROM {table} WHERE {since}day <= DATE '{day}') TO {as_text(folder / table)}"
                " (FORMAT parquet, PER_THREAD_OUTPUT true)"
            )
    except duckdb.IOException as error:
        raise SparkError(f"{folder}: the events cannot be handed over to Spark: {str(error).splitlines()[0]}") from error


def _add_up(settings: Settings, folder: Path, sums: Query) -> None:
    spark = session(settings)
    import sqlglot
    from py4j.protocol import Py4JError
    from pyspark.errors import PySparkException

    (sql,) = sqlglot.transpile(sums.sql, read="duckdb", write="spark", unsupported_level=sqlglot.ErrorLevel.RAISE)
    try:
        for table in (path for path in folder.iterdir() if path.is_dir()):
            spark.read.parquet(table.as_uri()).createOrReplaceTempView(table.name)
        spark.sql(sql, args=dict(sums.parameters)).write.parquet((folder / "tier").as_uri())
    except (PySparkException, Py4JError) as error:
        reason = str(error).strip().splitlines()[0]
        raise SparkError(
            f"Spark failed: {reason}. Nothing was written. Its own log says more; docs/operations.md lists its settings."
        ) from error


def session(settings: Settings) -> SparkSession:
    """This process's Spark session, started when it is first needed and kept: a JVM takes seconds to start and warm up.

    Raises
    ------
    SparkError
        pyspark or Java is missing, or the session does not start.
    """
    try:
        import sqlglot  # noqa: F401
        from pyspark.errors import PySparkException
        from pyspark.sql import SparkSession
    except ImportError as error:
        raise SparkError(f'{error.name} is not installed. Install it (make spark), or set score_engine = "duckdb".') from error
    if not (shutil.which("java") or os.environ.get("JAVA_HOME")):
        raise SparkError(
            'Spark needs Java 17 or 21, and there is no `java`. Install it (Debian: default-jre-headless), or set score_engine = "duckdb".'
        )
    chosen = settings.spark
    options = {
        "spark.app.name": "creator-earnings",
        "spark.master": chosen.master,
        "spark.driver.memory": chosen.driver_memory,
        "spark.sql.shuffle.partitions": str(chosen.shuffle_partitions),
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.ansi.enabled": "true",  # an overflow is an error, not another number
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.log.level": "ERROR",
    }
    if chosen.master.startswith("local"):
        os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")  # nobody else is to talk to it
    builder = SparkSession.builder
    for key, value in (options | chosen.options).items():
        builder = builder.config(key, value)
    try:
        return builder.getOrCreate()
    except (PySparkException, OSError) as error:
        raise SparkError(f"Spark does not start with master {chosen.master!r}: {str(error).strip().splitlines()[0]}") from error
