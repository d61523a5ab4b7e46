"""The sums of the quality score on Spark, for days of events that one machine should not add up.

Belongs here: what Spark reads, handing its sums back to DuckDB, and the one session of a process.
Does not: any formula. Spark runs `quality/tier.sql`, transpiled, which reads events and ends in
integers; DuckDB makes the scores of them.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb

from pipelines.errors import ExpectedError
from pipelines.policy import Policy
from pipelines.quality.scoring import Query, parameters_of, score_of_sums, tier_query
from pipelines.settings import Home, Settings
from pipelines.sql import as_text
from pipelines.store.lake_files import is_lake, whole_files

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_READ = {
    "viewer_events": (
        "day",
        "video_id",
        "viewer_id",
        "watch_ms",
        "liked",
        "commented",
        "shared",
        "followed",
        "repeated",
    ),
    "viewers": ("day", "viewer_id", "verified", "trust"),
    "videos": ("day", "video_id", "creator_id", "length_ms", "compliant", "s_plus", "s_tox"),
}
_READ_UIR = {
    "viewer_groups": ("day", "viewer_id", "group_id", "arm"),
    "group_weights": ("day", "group_id", "weight"),
}


class SparkError(ExpectedError, RuntimeError):
    """Spark is not there, does not start or fails: says why and what to do. Nothing was written."""


@dataclass(frozen=True)
class _Source:
    """What Spark reads as a table: columns of Parquet files, and which of their rows."""

    columns: Sequence[str]
    condition: str
    paths: Sequence[str]


@contextmanager
def score_on_spark(
    con: duckdb.DuckDBPyConnection, day: date, policy: Policy, home: Home
) -> Iterator[duckdb.DuckDBPyRelation]:
    """Like `scoring.score_videos`, bit for bit, with the sums over events made by Spark.

    Of a lake Spark reads the Parquet files where they lie. What they do not hold as the connection
    sees it (rows in the catalogue, files with deleted rows) DuckDB writes to `spark.folder` for it,
    and so it does with all that the score reads where the warehouse is a file, which Spark cannot
    read. Deletes are not taken off in Spark, because small ones are in the catalogue only and those
    of an open transaction nowhere, while DuckDB knows them all; files with deletes are few, for a
    day is replaced whole. Spark's sums come back through the folder; nothing is left in it. Inside
    a transaction all of it is of that transaction's state.

    Raises
    ------
    SparkError
        pyspark or Java is missing, the session does not start, or Spark fails while it adds up.
    """
    scores = score_of_sums(day, policy)
    with sum_on_spark(con, day, policy, home) as tier:
        con.execute(f"CREATE OR REPLACE TEMP VIEW tier AS {tier}")
        try:
            con.execute(
                f"CREATE OR REPLACE TEMP TABLE scored AS {scores.sql}", dict(scores.parameters)
            )
            yield con.sql("FROM scored")
        finally:
            with suppress(
                duckdb.Error
            ):  # a transaction that failed takes nothing more, and what went wrong is to be heard
                con.execute("DROP TABLE IF EXISTS scored; DROP VIEW tier")


@contextmanager
def sum_on_spark(
    con: duckdb.DuckDBPyConnection, day: date, policy: Policy, home: Home
) -> Iterator[str]:
    """Spark's sums over events, as SQL that reads them; they are gone afterwards. Raises what
    `score_on_spark` raises.
    """
    sums = tier_query(day, policy)
    with _folder(home, day) as folder:
        _add_up(home.settings, folder, sums, _sources(con, folder, day, policy))
        parts = ", ".join(as_text(part) for part in sorted((folder / "tier").glob("*.parquet")))
        yield f"SELECT * FROM read_parquet([{parts}])"


@contextmanager
def _folder(home: Home, day: date) -> Iterator[Path]:
    parent = home.settings.spark.folder or home.root / ".spark"
    try:
        parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f"{day}-", dir=parent))
    except OSError as error:
        raise SparkError(
            f"{parent}: cannot be written: {error.strerror}. Set `folder` in section [spark] of"
            " settings.toml."
        ) from error
    folder.chmod(0o755)  # workers of a cluster may run as somebody else
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _sources(
    con: duckdb.DuckDBPyConnection, folder: Path, day: date, policy: Policy
) -> dict[str, _Source]:
    """The loaded rows, which leaves out quarantined ones and duplicates: events of the window,
    snapshots up to the day.
    """
    first = parameters_of(day, policy)["first_day"]
    lake = is_lake(con)
    sources = {}
    for table, columns in (_READ | (_READ_UIR if policy.epochs.mechanism == "uir" else {})).items():
        since = f"day >= DATE '{first}' AND " if table == "viewer_events" else ""
        condition = f"{since}day <= DATE '{day}'"
        files, elsewhere = whole_files(con, table, columns, condition) if lake else ((), None)
        if elsewhere != 0 or not files:
            _hand_over(
                con,
                folder / table,
                f"SELECT {', '.join(columns)} FROM {table} WHERE {_elsewhere(condition, files)}",
            )
            files = [*files, str(folder / table)]
        sources[table] = _Source(columns, condition, [_for_spark(path) for path in files])
    return sources


def _elsewhere(condition: str, files: Sequence[str]) -> str:
    return (
        f"{condition} AND filename NOT IN ({', '.join(map(as_text, files))})"
        if files
        else condition
    )


def _hand_over(con: duckdb.DuckDBPyConnection, folder: Path, rows: str) -> None:
    try:
        con.execute(f"COPY ({rows}) TO {as_text(folder)} (FORMAT parquet, PER_THREAD_OUTPUT true)")
    except duckdb.IOException as error:
        raise SparkError(
            f"{folder}: the events cannot be handed over to Spark: {str(error).splitlines()[0]}"
        ) from error


def _for_spark(path: str) -> str:
    """A path as Hadoop reads it, which takes some letters for patterns and knows S3 under another
    name.

    >>> _for_spark("/home/a [b]/x.parquet"), _for_spark("s3://bucket/x.parquet")
    ('file:///home/a \\\\[b\\\\]/x.parquet', 's3a://bucket/x.parquet')
    """
    where = path if "://" in path else f"file://{path}"
    return re.sub(r"([\\{}\[\]*?])", r"\\\1", re.sub("^s3://", "s3a://", where))


def _add_up(settings: Settings, folder: Path, sums: Query, sources: dict[str, _Source]) -> None:
    spark = session(settings)
    import sqlglot
    from py4j.protocol import Py4JError
    from pyspark.errors import PySparkException

    (sql,) = sqlglot.transpile(
        sums.sql, read="duckdb", write="spark", unsupported_level=sqlglot.ErrorLevel.RAISE
    )
    try:
        for table, source in sources.items():
            rows = spark.read.parquet(*source.paths).select(*source.columns).where(source.condition)
            rows.createOrReplaceTempView(table)
        spark.sql(sql, args=dict(sums.parameters)).write.parquet(f"file://{folder / 'tier'}")
    except (PySparkException, Py4JError) as error:
        reason = str(error).strip().splitlines()[0]
        raise SparkError(
            f"Spark failed: {reason}. Nothing was written. Its own log says more;"
            " docs/operations.md lists its settings."
        ) from error


def session(settings: Settings) -> SparkSession:
    """This process's Spark session, started when it is first needed and kept: a JVM takes seconds
    to start and warm up.

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
        raise SparkError(
            f"{error.name} is not installed. Install it (make spark), or set score_engine ="
            ' "duckdb".'
        ) from error
    if not (shutil.which("java") or os.environ.get("JAVA_HOME")):
        raise SparkError(
            "Spark needs Java 17 or 21, and there is no `java`. Install it (Debian:"
            ' default-jre-headless), or set score_engine = "duckdb".'
        )
    chosen = settings.spark
    options = {
        "spark.app.name": "creator-earnings",
        "spark.master": chosen.master,
        "spark.driver.memory": chosen.driver_memory,
        "spark.sql.shuffle.partitions": str(chosen.shuffle_partitions),
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.ansi.enabled": "true",  # an overflow is an error, not another number
        # Viewers too many to send to everybody are looked up in a table of each part, not found by
        # sorting all events by viewer.
        "spark.sql.adaptive.maxShuffledHashJoinLocalMapThreshold": "64m",
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
        raise SparkError(
            f"Spark does not start with master {chosen.master!r}:"
            f" {str(error).strip().splitlines()[0]}"
        ) from error
