"""Writes a simulated platform into a landing folder: good rows, late rows, repetitions and rotten
rows, and counts them.

What the platform is like is in `simulated_platform`; the ways a row can be rotten are in `defects`.
Rotten rows of the wrong type only fit in text, so beside Parquet they go to `simulated-rotten.csv`
in the same folder.
"""

from __future__ import annotations

import gzip
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from pipelines.files import replacing
from pipelines.schema import LANDING
from pipelines.sources.simulator.defects import CONFLICT, spoil
from pipelines.sources.simulator.market import LiveMarket, Truth
from pipelines.sources.simulator.niche import Niche
from pipelines.sources.simulator.platform import Array, Platform, Rates, Stream, generator, ids

Format = Literal["parquet", "csv.gz"]


@dataclass(frozen=True)
class TableCounts:
    """What was written of one table. `good` rows are distinct and valid and include the `late`
    ones.
    """

    good: int = 0
    rotten: Mapping[str, int] = field(default_factory=dict)
    duplicates: int = 0
    late: int = 0

    @property
    def rows(self) -> int:
        """All rows written, on time and late."""
        return self.good + self.duplicates + sum(self.rotten.values())

    @property
    def quarantined(self) -> int:
        """Rows the landing reader refuses. It cannot know which of two contradicting rows is right
        and refuses both.
        """
        return sum(self.rotten.values()) + self.rotten.get(CONFLICT, 0)

    @property
    def loaded(self) -> int:
        """Rows that end in the table once the late ones are delivered."""
        return self.good - self.rotten.get(CONFLICT, 0)


@dataclass(frozen=True)
class Simulation:
    """What `simulate` wrote, and what only the simulator knows: bots and the videos they push, the
    niche's creators, the market, the true quality of every video.
    """

    first_day: date
    days: int
    tables: Mapping[str, TableCounts]
    bots: int
    bot_events: int
    boosted_videos: tuple[str, ...]
    files: int
    bytes: int
    niche_creators: tuple[str, ...] = ()
    market: Truth | None = None
    quality: Mapping[str, float] = field(default_factory=dict)


def simulate(
    landing: Path,
    *,
    first_day: date,
    days: int,
    seed: int = 7,
    events_per_day: int = 2_200,
    viewers: int = 1_200,
    creators: int = 80,
    videos: int = 320,
    verified_share: float = 0.35,
    bot_share: float = 0.03,
    late_share: float = 0.01,
    rotten_share: float = 0.005,
    duplicate_share: float = 0.005,
    format: Format = "parquet",
    late: Path | None = None,
    late_days: Collection[date] | None = None,
    niche: Niche | None = None,
    live: LiveMarket | None = None,
    rates: Rates = "lively",
    pay: Callable[[date], Mapping[str, int]] | None = None,
    progress: Callable[[str], None] | None = None,
) -> Simulation:
    """Write `days` days of a made-up platform into `landing`.

    Parameters
    ----------
    landing
        Folder `<landing>/<table>/<day>/simulated.<format>`. Files an earlier simulation left in
        those days are replaced.
    first_day, days
        UTC days.
    seed
        Same seed and parameters, same bytes.
    events_per_day
        Good sessions a day on average; weekdays differ and there is 3 % of noise.
    viewers, creators, videos
        How many there are on the first day.
    verified_share, bot_share
        Fraction of viewers who are verified (bots never are); fraction of accounts, and of
        sessions, that are bots'.
    late_share
        Fraction of the good rows of a day's events, gifts and ads that are written below `late`
        instead.
    rotten_share, duplicate_share
        Rotten rows (every table) and exact repetitions (daily tables), as a fraction of the good
        rows. A table with fewer than 100 rows on a day gets none: there one bad row would pass for
        a broken delivery and stop the run.
    late
        Folder of the late delivery, laid out like `landing`: `cp -r late/. landing/` delivers it.
        Default: `late` beside `landing`.
    late_days
        Days that have late rows; None for all.
    niche
        A small group of viewers whom little content suits; None for none.
    live
        A donation market that decides when creators are live, who watches and what is given;
        `events_per_day` then counts for nothing. None for none.
    rates
        How often viewers act and how deep they watch: `kuairand`, as on a real platform, or
        `lively`, 7 to 60 times as often.
    pay
        Called with each day that is written, before the next one is: what the day paid each creator
        (micros). The niche's creators respond.
    progress
        Called with one line per day and table.

    Raises
    ------
    ValueError
        A parameter is out of range; names it.
    """
    shares = {
        "verified_share": verified_share,
        "bot_share": bot_share,
        "late_share": late_share,
        "rotten_share": rotten_share,
        "duplicate_share": duplicate_share,
    }
    for name, share in shares.items():
        if not 0 <= share <= 0.5 and not (name == "verified_share" and share <= 1):
            raise ValueError(
                f"{name} = {share:g} is outside [0, {1 if name == 'verified_share' else 0.5}]"
            )
    for name, count in {
        "days": days,
        "events_per_day": events_per_day,
        "viewers": viewers,
        "creators": creators,
        "videos": videos,
    }.items():
        if count < 1:
            raise ValueError(f"{name} = {count} is below 1")
    if seed < 0:
        raise ValueError(f"seed = {seed} is negative")
    if format not in ("parquet", "csv.gz"):
        raise ValueError(f"format = {format!r} is neither 'parquet' nor 'csv.gz'")

    platform = Platform(
        seed,
        first_day,
        viewers=viewers,
        creators=creators,
        videos=videos,
        verified_share=verified_share,
        bot_share=bot_share,
        niche=niche,
        live=live,
        rates=rates,
    )
    output = _Output(landing, late or landing.parent / "late", format)
    bot_events = 0
    for day in (first_day + timedelta(days=n) for n in range(days)):
        if day > first_day:
            if pay:
                platform.respond(day - timedelta(days=1), pay(day - timedelta(days=1)))
            platform.grow(day)
        tables = platform.snapshots()
        events = platform.sessions(day, events_per_day)
        bot_events += int(np.count_nonzero(events["bot"]))
        tables |= platform.daily(day, events)
        rng = generator(seed, day, Stream.DELIVERY)
        for name, good in tables.items():
            daily = LANDING[name].kind == "daily"
            delayed = daily and (late_days is None or day in late_days)
            is_late = rng.random(good.num_rows) < (late_share if delayed else 0.0)
            output.write(
                name,
                day,
                good,
                is_late,
                rng,
                rotten_share=rotten_share,
                duplicate_share=duplicate_share if daily else 0.0,
            )
            if progress:
                progress(f"{day} {name}: {good.num_rows:,} rows")
    return Simulation(
        first_day,
        days,
        output.tables,
        int(np.count_nonzero(platform.viewers["bot"])),
        bot_events,
        tuple(ids("v", platform.boosted, 7).to_pylist()),
        output.files,
        output.bytes,
        tuple(ids("c", platform.specialists, 6).to_pylist()),
        platform.schedule.truth if platform.schedule else None,
        dict(
            zip(
                ids("v", np.arange(len(platform.videos["quality"])), 7).to_pylist(),
                platform.videos["quality"].tolist(),
                strict=True,
            )
        ),
    )


class _Output:
    """Files of the landing and late folders, and the count of what went into them."""

    def __init__(self, landing: Path, late: Path, format: Format) -> None:
        self.landing, self.late, self.format = landing, late, format
        self.tables: dict[str, TableCounts] = {}
        self.files = self.bytes = 0

    def write(
        self,
        name: str,
        day: date,
        good: pa.Table,
        is_late: Array,
        rng: np.random.Generator,
        *,
        rotten_share: float,
        duplicate_share: float,
    ) -> None:
        """Write one day of one table, and clear away what an earlier simulation left there under
        other names.
        """
        on_time, late = good.filter(pa.array(~is_late)), good.filter(pa.array(is_late))
        bad = spoil(
            name,
            on_time,
            day,
            rng,
            rotten_share=rotten_share,
            duplicate_share=duplicate_share,
            text=_text,
        )
        rows = pa.concat_tables([on_time, bad.repeated, bad.rotten])
        folder, late_folder = self.landing / name / f"{day}", self.late / name / f"{day}"
        files: dict[Path, pa.Table] = {}
        if self.format == "csv.gz":
            files[folder / "simulated.csv.gz"] = pa.concat_tables([_text(rows), bad.misfits])
            files[late_folder / "simulated-late.csv.gz"] = _text(late)
        else:
            files[folder / "simulated.parquet"] = rows
            files[folder / "simulated-rotten.csv"] = bad.misfits
            files[late_folder / "simulated-late.parquet"] = late
        # A day without gifts is a day all the same, and needs its file; a snapshot without changes
        # does not.
        needed = {next(iter(files))} if LANDING[name].kind == "daily" else set()
        files = {
            path: content for path, content in files.items() if content.num_rows or path in needed
        }
        for path, content in files.items():
            self._write(path, content)
        for stale in {*folder.glob("simulated*"), *late_folder.glob("simulated*")} - files.keys():
            stale.unlink()
        before = self.tables.get(name, TableCounts())
        self.tables[name] = TableCounts(
            before.good + good.num_rows,
            {
                kind: before.rotten.get(kind, 0) + bad.counts.get(kind, 0)
                for kind in sorted({*before.rotten, *bad.counts})
            },
            before.duplicates + bad.repeated.num_rows,
            before.late + late.num_rows,
        )

    def _write(self, path: Path, rows: pa.Table) -> None:
        with replacing(path) as temporary:
            if path.suffix == ".parquet":
                pq.write_table(rows, temporary, compression="zstd", compression_level=3)
            else:
                with (
                    temporary.open("wb") as raw,
                    (
                        gzip.GzipFile("", "wb", 6, raw, mtime=0) if path.suffix == ".gz" else raw
                    ) as sink,
                ):
                    sink.write((",".join(rows.column_names) + "\n").encode())
                    # In one chunk: after an empty one, write_csv writes whatever lay in its buffer
                    # (apache/arrow#36889).
                    pacsv.write_csv(
                        rows.combine_chunks(),
                        sink,
                        pacsv.WriteOptions(include_header=False, quoting_style="none"),
                    )
            self.files += 1
            self.bytes += temporary.stat().st_size


def _text(rows: pa.Table) -> pa.Table:
    """The rows as strings, the way CSV has them: ISO 8601 with Z, lists separated by `;`."""
    columns = {}
    for name, column in zip(rows.column_names, rows.columns, strict=True):
        if pa.types.is_timestamp(column.type):
            columns[name] = pc.strftime(column, format="%Y-%m-%dT%H:%M:%SZ")
        elif pa.types.is_list(column.type):
            columns[name] = pc.binary_join(column, ";")
        else:
            columns[name] = column.cast(pa.string())
    return pa.table(columns)
