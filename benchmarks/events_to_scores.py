"""Events to quality scores, against DuckDB's own scan + one group-by-sum per video of the same
columns, pandas and Spark.

    python -m benchmarks.events_to_scores --events 1e6 1e7 5e7 --memory-limit 4GB --json scores.json
    python -m benchmarks.events_to_scores --events 1e6 1e7 --rounds 1 --spark
    python -m benchmarks.events_to_scores --events 1e8 --rounds 0 --spark --lake lake/
    --memory-limit 3500MB

Each size runs in its own process, so that peak memory is that size's own. Contestants take turns
within a run, and a ratio is between medians of one run: on a shared machine only ratios mean
something. CPU seconds are given beside wall-clock seconds because other work on the machine moves
them less. Data: honest audience with Zipf-like popularity, 7 in 100 sessions are repeats.

The warehouse stores a day's events by video and viewer, which makes every scan of them faster, the
baseline's too. So there are two baselines: the events as they arrive (in random order), and as the
warehouse stores them. Ratios are given against both.

`--spark` adds the pipeline's own way to the same scores: sums in Spark's local mode, scores of them
in DuckDB. The session starts before anything is timed and its seconds are printed; a first call,
which gives the peak of memory, warms the JVM up, unless `--rounds 0` takes the time of that first
call, as a run that scores one day does. Its CPU seconds and memory are those of this process and of
the JVM together. `--lake` keeps the events in a lake (its catalogue in a file), where Spark reads
the Parquet files that DuckDB reads too; otherwise they are in a DuckDB file, which hands them over
to Spark. A folder that holds the lake of an earlier call is used as it is. A lake of 1e8 events is
ten platforms of 1e7 side by side, because making one of that size takes longer than measuring it.
What does not belong here: checking the numbers (`tests/test_scoring.py`).
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import resource
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import date
from pathlib import Path
from typing import Any

import duckdb

from pipelines import schema
from pipelines.policy import Policy, read_policy
from pipelines.quality.scoring import score_query
from pipelines.quality.spark import SparkError, score_on_spark
from pipelines.quality.spark import session as spark_session
from pipelines.settings import Home
from pipelines.store.lake import load_extensions

DAY = date(2026, 2, 1)
POLICIES = Path(__file__).parent.parent / "assets_data" / "policies"

PART = 10_000_000  # events of a lake that are made at a time
ARRIVED, STORED, SCORE, PANDAS, SPARK = "sum, arrived", "sum, stored", "score", "pandas", "spark"
BASELINE = """CREATE OR REPLACE TEMP TABLE baseline AS
SELECT video_id, count(viewer_id), sum(watch_ms), sum(liked::INT), sum(commented::INT),
sum(shared::INT), sum(followed::INT)
FROM {table} WHERE day = DATE '2026-02-01' GROUP BY video_id"""


def make_in_lake(con: duckdb.DuckDBPyConnection, events: int) -> None:
    """Parts of ten million events side by side, each with viewers and videos of its own: one is
    made and sorted, the others are copies.
    """
    parts = max(1, events // PART)
    make(con, events // parts, in_lake=True)
    for table, ids in {
        "viewers": ["viewer_id"],
        "videos": ["video_id"],
        "viewer_events": ["event_id", "viewer_id", "video_id"],
    }.items():
        con.execute(f"CREATE OR REPLACE TEMP TABLE part AS FROM {table}")
        for number in range(1, parts):
            own = ", ".join(f"{name} || '/{number}' AS {name}" for name in ids)
            con.execute(f"INSERT INTO {table} SELECT * REPLACE ({own}) FROM part")
    con.execute("DROP TABLE part")


def make(con: duckdb.DuckDBPyConnection, events: int, *, in_lake: bool = False) -> None:
    """`events` sessions of one day: 50 a viewer, 200 a video on average; as the loader stores them,
    and as they `arrived`.
    """
    for table in (schema.VIEWERS, schema.VIDEOS, schema.VIEWER_EVENTS):
        con.execute(table.ddl(constraints=not in_lake))
    viewers, videos, first = max(1000, events // 50), max(200, events // 200), events * 93 // 100
    con.execute(
        f"""INSERT INTO viewers BY NAME SELECT DATE '2026-01-01' AS day, 'u' || i AS viewer_id,
            i % 5 = 0 AS verified,
            CASE WHEN i % 3 = 0 THEN (i % 100) / 100.0 ELSE 1 END AS trust,
            'modelled' AS source FROM range({viewers}) t(i)"""
    )
    con.execute(
        f"""INSERT INTO videos BY NAME SELECT DATE '2026-01-01' AS day, 'v' || i AS video_id,
            'c' || (i // 10) AS creator_id,
            5000 + i * 37 % 55000 AS length_ms, [] AS categories, i % 50 <> 0 AS compliant,
            0.8 AS s_plus, 0.1 AS s_tox,
            'modelled' AS source FROM range({videos}) t(i)"""
    )
    # the last 7 % of the sessions repeat the pairs of the first; a multiplier coprime to the count
    # shuffles without sorting
    con.execute(f"""CREATE {"TEMP VIEW" if in_lake else "TABLE"} arrived AS
            WITH shuffled AS (SELECT (i * 7919) % {events} AS i FROM range({events}) t(i)),
            pair AS (SELECT i, CASE WHEN i < {first} THEN i ELSE i - {first} END AS p FROM shuffled)
            SELECT DATE '2026-02-01' AS day, 'e' || i AS event_id,
            TIMESTAMP '2026-02-01' + INTERVAL (i % 86400) SECOND AS ts,
                   'u' || (hash(p * 3 + 1) % {viewers}) AS viewer_id,
                   'v' || CAST(floor({videos} * pow((hash(p + 77) % 1000003) / 1000003.0,
                   3)) AS BIGINT) AS video_id,
                   hash(i + 5) % 60000 AS watch_ms, hash(i + 6) % 10 = 0 AS liked,
                   hash(i + 7) % 50 = 0 AS commented,
                   hash(i + 8) % 60 = 0 AS shared, hash(i + 9) % 100 = 0 AS followed,
                   'modelled' AS source
            FROM pair""")
    events_table = schema.VIEWER_EVENTS
    computed = ", ".join(f"{c.computed} AS {c.name}" for c in events_table.columns if c.computed)
    order = ", ".join([*events_table.stored_by, *events_table.key])
    con.execute(
        f"INSERT INTO viewer_events BY NAME SELECT *, {computed} FROM arrived ORDER BY {order}"
    )


def in_pandas(con: duckdb.DuckDBPyConnection) -> Callable[[], Any]:
    """The roll-up and the trust-weighted sums in pandas; reading the frame is not timed."""
    frame = con.sql(
        "SELECT video_id, viewer_id, watch_ms, liked, commented, shared, followed FROM"
        " viewer_events"
    ).df()
    viewers = con.sql(
        "SELECT viewer_id, (CASE WHEN verified THEN 1.0 ELSE 0.8 END) * trust AS w, verified FROM"
        " viewers"
    ).df()
    videos = con.sql("SELECT video_id, length_ms FROM videos").df()
    flags = ["liked", "commented", "shared", "followed"]

    def run() -> Any:
        pairs = frame.groupby(["video_id", "viewer_id"], sort=False).agg(
            longest=("watch_ms", "max"), total=("watch_ms", "sum"), **{f: (f, "max") for f in flags}
        )
        pairs = (
            pairs.reset_index()
            .merge(viewers, on="viewer_id", how="left")
            .merge(videos, on="video_id")
        )
        parts = {f: pairs["w"] * pairs[f] for f in flags}
        parts["watched"] = pairs["w"] * (pairs["longest"] / pairs["length_ms"]).clip(upper=1)
        parts["rewatched"] = pairs["w"] * (pairs["total"] > pairs["length_ms"])
        return (
            pairs.assign(**parts).groupby(["video_id", "verified"], sort=False)[["w", *parts]].sum()
        )

    return run


@contextmanager
def opened(
    folder: Path, events: int, settings: str, in_lake: bool
) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection to the data in the folder; they are made if they are not there."""
    where = folder / ("catalogue.duckdb" if in_lake else "events.duckdb")
    there = where.exists()
    for making in (
        (False,) if there else (True, False)
    ):  # made and measured by two connections, so that nothing is left in memory
        with duckdb.connect(":memory:" if in_lake else str(where)) as con:
            con.execute(f"SET temp_directory = '{folder}/spilled'; {settings}")
            if in_lake:
                load_extensions(con, "ducklake")
                con.execute(
                    f"ATTACH 'ducklake:{where}' AS warehouse (DATA_PATH '{folder}/data'); USE"
                    " warehouse"
                )
            if making:
                make_in_lake(con, events) if in_lake else make(con, events)
            else:
                yield con


def on_spark(con: duckdb.DuckDBPyConnection, policy: Policy, home: Home) -> Callable[[], Any]:
    """The scores as the pipeline makes them with `score_engine = "spark"`."""

    def run() -> None:
        with score_on_spark(con, DAY, policy, home) as scores:
            con.execute("DROP TABLE IF EXISTS scored_on_spark")
            scores.create("scored_on_spark")

    return run


def started() -> list[Path]:
    """The processes that this one started, and those that they did (Linux): Spark's JVM is one of
    them.
    """
    parents: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it may have ended
            # the second field is a name in parentheses, the fourth the parent
            parents[int(stat.parent.name)] = int(
                stat.read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()[1]
            )
    found = [os.getpid()]
    for process in found:
        found += [child for child, parent in parents.items() if parent == process]
    return [Path("/proc", str(process)) for process in found[1:]]


def resident(with_started: bool = False) -> int:
    """Bytes this process has in memory now (Linux)."""
    pages = 0
    for process in [Path("/proc/self"), *(started() if with_started else ())]:
        with suppress(OSError):
            pages += int((process / "statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGESIZE")


def peak_during(call: Callable[[], Any], with_started: bool = False) -> int:
    """Largest resident size while `call` runs, sampled every 20 ms; with other processes, which
    take longer to find, twice a second.
    """
    peak, done = resident(with_started), threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.5 if with_started else 0.02):
            peak = max(peak, resident(with_started))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        call()
    finally:
        done.set()
        thread.join()
    return max(peak, resident(with_started))


def cpu(with_started: bool = False) -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    ticks = 0
    for process in started() if with_started else ():
        with suppress(OSError):
            # user and system time, the 14th and 15th field; the second is a name in parentheses
            ticks += sum(
                map(
                    int,
                    (process / "stat")
                    .read_text(encoding="ascii")
                    .rpartition(")")[2]
                    .split()[11:13],
                )
            )
    return usage.ru_utime + usage.ru_stime + ticks / os.sysconf("SC_CLK_TCK")


def measure(
    events: int,
    rounds: int,
    threads: int,
    memory_limit: str,
    with_pandas: bool,
    with_spark: bool,
    lake: Path | None,
) -> dict[str, Any]:
    """One size, in this process."""
    policy = read_policy(POLICIES / "hardened.toml")
    query = score_query(DAY, policy)
    settings = f"""SET threads = {threads}; SET memory_limit = '{memory_limit}';
                   SET preserve_insertion_order = false; SET enable_progress_bar = false"""
    wall: dict[str, list[float]] = {}
    busy: dict[str, list[float]] = {}
    peaks: dict[str, int] = {}

    def call(name: str, contestant: Callable[[], Any]) -> None:
        before, began = cpu(name == SPARK), time.perf_counter()
        contestant()
        wall.setdefault(name, []).append(time.perf_counter() - began)
        busy.setdefault(name, []).append(cpu(name == SPARK) - before)

    def first_call(name: str, contestant: Callable[[], Any]) -> None:
        peaks[name] = peak_during(lambda: call(name, contestant), with_started=name == SPARK)
        if rounds:  # it was for warming up: files, and a JVM
            del wall[name], busy[name]

    with tempfile.TemporaryDirectory() as temporary:
        folder = lake / f"{events}" if lake else Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        with opened(folder, events, settings, in_lake=bool(lake)) as con:
            contestants: dict[str, Callable[[], Any]] = {
                ARRIVED: lambda: con.execute(BASELINE.format(table="arrived")),
                STORED: lambda: con.execute(BASELINE.format(table="viewer_events")),
                SCORE: lambda: con.execute(
                    "CREATE OR REPLACE TEMP TABLE scored_by_duckdb AS " + query.sql,
                    dict(query.parameters),
                ),
            }
            if lake:
                del contestants[ARRIVED]
            start = resident()
            for name, contestant in contestants.items():
                first_call(name, contestant)
            start_spark: float | str | None = None
            if with_spark:
                home, began = Home.at(temporary), time.perf_counter()
                (home.root / "settings.toml").write_text(
                    f'[spark]\nmaster = "local[{threads}]"\n', encoding="utf-8"
                )
                try:
                    spark_session(home.settings)
                except SparkError as error:
                    start_spark = str(error)
                else:
                    start_spark = time.perf_counter() - began
                    contestants[SPARK] = on_spark(con, policy, home)
                    first_call(SPARK, contestants[SPARK])
            if with_pandas:
                contestants[PANDAS] = in_pandas(con)
                first_call(PANDAS, contestants[PANDAS])
            for _ in range(rounds):
                for name, contestant in contestants.items():
                    if name != PANDAS or not wall.get(PANDAS):
                        call(name, contestant)
            videos = con.sql("SELECT count(*) FROM scored_by_duckdb").fetchall()[0][0]
            same = (
                SPARK not in contestants
                or not con.sql("FROM scored_by_duckdb EXCEPT FROM scored_on_spark").fetchall()
            )
    seconds = {name: statistics.median(times) for name, times in wall.items()}
    cpu_seconds = {name: statistics.median(times) for name, times in busy.items()}

    def to(baseline: str, of: dict[str, float]) -> dict[str, float]:
        return {name: s / of[baseline] for name, s in of.items()} if baseline in of else {}

    return {
        "events": events,
        "videos": videos,
        "same_scores": same,
        "threads": threads,
        "memory_limit": memory_limit,
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "cpu_ratio_arrived": to(ARRIVED, cpu_seconds),
        "cpu_ratio_stored": to(STORED, cpu_seconds),
        "ratio_arrived": to(ARRIVED, seconds),
        "ratio_stored": to(STORED, seconds),
        "peak_mb": {name: round(p / 2**20) for name, p in peaks.items()},
        "start_spark": start_spark,
        "start_mb": round(start / 2**20),
    }


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--events", type=lambda s: int(float(s)), nargs="+", default=[10**6, 10**7])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--memory-limit", default="4GB", help="DuckDB's memory_limit; it spills to disk above it"
    )
    parser.add_argument(
        "--pandas-up-to",
        type=lambda s: int(float(s)),
        default=10**7,
        help="pandas needs about 200 bytes an event",
    )
    parser.add_argument(
        "--spark",
        action="store_true",
        help="Spark too; left out with a message where pyspark or Java is missing",
    )
    parser.add_argument(
        "--lake",
        type=Path,
        help=(
            "keep the events in lakes in this folder, one for each size, instead of in a DuckDB"
            " file"
        ),
    )
    parser.add_argument("--json", type=Path, help="write the measurements here too")
    options = parser.parse_args(argv)
    results = []
    print(
        f"{'events':>12} {'what':>13} {'seconds':>8} {'x arr.':>6} {'x sto.':>6} {'cpu s':>8}"
        f" {'x arr.':>6} {'x sto.':>6} {'peak MB':>8}"
    )
    for events in options.events:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            arguments = (
                options.rounds,
                options.threads,
                options.memory_limit,
                events <= options.pandas_up_to,
                options.spark,
                options.lake,
            )
            result = pool.apply(measure, (events, *arguments))
        results.append(result)
        for name, seconds in result["seconds"].items():
            x = {
                key: f"{result[key][name]:.2f}" if result[key] else "-"
                for key in result
                if "ratio" in key
            }
            print(
                f"{events:>12,} {name:>13} {seconds:>8.2f} {x['ratio_arrived']:>6}"
                f" {x['ratio_stored']:>6} {result['cpu_seconds'][name]:>8.2f}"
                f" {x['cpu_ratio_arrived']:>6} {x['cpu_ratio_stored']:>6}"
                f" {result['peak_mb'][name]:>8,}",
                flush=True,
            )
        if isinstance(result["start_spark"], str):
            print(f"{events:>12,} {SPARK:>13} left out: {result['start_spark']}", flush=True)
        elif options.spark:
            same = "the same scores" if result["same_scores"] else "OTHER SCORES"
            print(
                f"{events:>12,} {SPARK:>13} {same}; session started in {result['start_spark']:.1f}"
                " s, not counted above",
                flush=True,
            )
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
