"""How large a machine, how many, how much disk, at what price: a day of so many events, computed
from what was measured.

    python docs/sizing.py --events 1e9

Each constant names the command that measured it and stands in docs/performance.md with it; what is
an assumption says so, and is an option. The measurements are of two cores; what is extrapolated is
extrapolated in a straight line, which a test run at a tenth of the size should confirm before
anything is bought.
"""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Measured:
    """A number somebody can measure again."""

    value: float
    unit: str
    what: str
    source: str


DAILY = (
    "earnings simulate --days 1 --events 1000000 ... && earnings run (docs/performance.md, A daily"
    " run)"
)
LOAD = Measured(
    2 * 3.07 / 1_135_014,
    "core-s an event",
    "loading landed events, all checks, both cores counted as busy",
    DAILY,
)
SCORE = Measured(
    31.68 / 1e8,
    "core-s an event",
    "events to scores",
    "python -m benchmarks.events_to_scores --events 1e8",
)
SPARK = Measured(
    138.00 / 23.41,
    "core-s / core-s",
    "scores with sums on Spark, for one of DuckDB",
    "python -m benchmarks.events_to_scores --events 1e8 --rounds 0 --spark --lake lakes/",
)
MEMORY = Measured(
    3_557e6 / 1e8, "B an event", "peak of the score, with memory_limit = 3500MB", SCORE.source
)
POOL = Measured(
    120e-9, "core-s a video", "ad pools with floors and caps", "python -m benchmarks.ad_pool"
)
COINS = Measured(0.084e-6, "core-s a video", "coin splits", "python -m benchmarks.coin_split")
PAYOUTS = Measured(2 * 0.30 / 60_000, "core-s a video", "from pools to rows of ad_payouts", DAILY)
ENTRIES = Measured(48_309 / 8_000, "entries a creator", "ledger entries of a day", DAILY)
LEDGER = Measured(
    1 / 480_706, "core-s an entry", "posting, hash chain included", "python -m benchmarks.ledger"
)
OVERHEAD = Measured(
    5.76, "s a run", "Dagster: import, events, checks", "python -m benchmarks.daily_run"
)
LANDED = Measured(
    18_231_895 / 1_135_014, "B an event", "landing files, Parquet", DAILY + ", then du -sb landing"
)
STORED = Measured(
    43_266_048 / 1_135_014,
    "B an event",
    "the warehouse after the run, every table",
    DAILY + ", then ls -l warehouse.duckdb",
)
MEASURED = (
    LOAD,
    SCORE,
    SPARK,
    MEMORY,
    POOL,
    COINS,
    PAYOUTS,
    ENTRIES,
    LEDGER,
    OVERHEAD,
    LANDED,
    STORED,
)


@dataclass(frozen=True)
class Assumed:
    """What was not measured and no benchmark can tell; every field is an option of the command."""

    events_a_video: float = 200.0  # a day, of videos with at least one event
    videos_a_creator: float = 5.0
    cores: int = 32  # of one machine
    memory_gb: float = 128.0
    window_hours: float = 6.0  # from the last landed file to payouts
    efficiency: float = (
        0.6  # what many cores do, of what they would do if each were as fast as one of our two
    )
    usd_core_hour: float = 0.05
    usd_gb_month: float = 0.023
    keep_days: int = 400  # of events in the warehouse and of landing files


@dataclass(frozen=True)
class Size:
    """What a day needs. Hours are wall-clock."""

    events: float
    videos: float
    creators: float
    entries: float
    load_hours: float
    score_hours: float
    rest_hours: float
    spark_machines: int
    memory_gb: float
    day_gb: float
    kept_tb: float
    usd_day: float
    usd_month: float

    @property
    def hours(self) -> float:
        return self.load_hours + self.score_hours + self.rest_hours


def size(events: float, assumed: Assumed) -> Size:
    """A day on one machine; where its scores would not be ready within the window, their sums go to
    Spark on as many as it takes.

    Loading, and all that follows the scores, is one process on one machine. Pools, coins and the
    ledger are counted as one core's.
    """
    videos = events / assumed.events_a_video
    creators = videos / assumed.videos_a_creator
    entries = ENTRIES.value * creators
    machine = 3600 * assumed.cores * assumed.efficiency  # core-seconds it does in an hour
    load = events * LOAD.value / machine
    score = events * SCORE.value / machine
    rest = videos * PAYOUTS.value / machine
    rest += (videos * (POOL.value + COINS.value) + entries * LEDGER.value + OVERHEAD.value) / 3600
    machines = 0
    if load + score + rest > assumed.window_hours and load + rest < assumed.window_hours:
        machines = math.ceil(score * SPARK.value / (assumed.window_hours - load - rest))
        score *= SPARK.value / machines
    hours = (load + rest) + score * max(1, machines)
    day_gb = events * (LANDED.value + STORED.value) / 1e9
    return Size(
        events=events,
        videos=videos,
        creators=creators,
        entries=entries,
        load_hours=load,
        score_hours=score,
        rest_hours=rest,
        spark_machines=machines,
        memory_gb=events * MEMORY.value / 1e9,
        day_gb=day_gb,
        kept_tb=day_gb * assumed.keep_days / 1e3,
        usd_day=hours * assumed.cores * assumed.usd_core_hour,
        usd_month=day_gb * assumed.keep_days * assumed.usd_gb_month,
    )


def report(found: Size, assumed: Assumed) -> str:
    """The size in words."""

    def time(hours: float) -> str:
        return f"{hours:.1f} h" if hours >= 1 else f"{60 * hours:.1f} min"

    where = f"{found.spark_machines} more for Spark" if found.spark_machines else "no Spark"
    verdict = (
        ""
        if found.hours <= assumed.window_hours
        else f": TOO LONG by {found.hours - assumed.window_hours:.1f} h, one day is one process"
    )
    spills = (
        f", {assumed.memory_gb:g} GB and the rest spilled to disk"
        if found.memory_gb > 0.8 * assumed.memory_gb
        else ""
    )
    return "\n".join(
        (
            f"{found.events:,.0f} events a day",
            (
                f"  makes      {found.videos:,.0f} videos, {found.creators:,.0f} creators,"
                f" {found.entries:,.0f} ledger entries"
            ),
            f"  machines   1 x {assumed.cores} cores, {where}",
            f"  time       {time(found.hours)} of {assumed.window_hours:g} h{verdict}",
            (
                f"             load {time(found.load_hours)}, score {time(found.score_hours)}, pools,"
                f" coins, ledger {time(found.rest_hours)}"
            ),
            f"  memory     {found.memory_gb:,.1f} GB for the sums of a day{spills}",
            (
                f"  disk       {found.day_gb:,.1f} GB a day, {found.kept_tb:,.2f} TB for"
                f" {assumed.keep_days} days"
            ),
            (
                f"  price      {found.usd_day:,.2f} USD a day to compute, {found.usd_month:,.0f} USD a"
                " month to keep"
            ),
        )
    )


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument(
        "--events", type=float, nargs="+", default=[1e6, 1e8, 1e9, 1e11], help="events a day"
    )
    parser.add_argument(
        "--constants", action="store_true", help="what was measured, by which command"
    )
    for name, value in vars(Assumed()).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(value), default=value)
    options = vars(parser.parse_args(arguments))
    events, constants = options.pop("events"), options.pop("constants")
    if constants:
        print(
            "\n".join(
                f"{m.value:12.4g} {m.unit:<18} {m.what}\n{'':31} {m.source}" for m in MEASURED
            )
        )
        return 0
    assumed = Assumed(**options)
    print("\n".join(report(size(one, assumed), assumed) for one in events))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
