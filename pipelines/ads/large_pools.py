"""Ad pools with more videos than memory should hold: the same split, one chunk after the other,
through files.

What belongs here: sorting the candidates, feeding `solvers.chunked_*` from columns on disk, writing
payouts as Parquet. What does not: the split itself, and pools with rules over groups, which are
split in memory whatever their size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.policy import Ads
from pipelines.schema import CERTIFICATE, arrow_columns
from pipelines.sql import as_text
from pipelines.store.warehouse import Connection
from solvers.ad_pool import PoolChunk, allocate_chunks, certify_chunks
from solvers.apportion import AmountChunk, ChunkedRounding, apportion_chunks, apportion_groups
from solvers.arrays import Floats, Ints
from solvers.exact_sum import ExactSum

_ROW_GROUP = 122_880
"""DuckDB's own; smaller ones where a chunk is smaller."""


def split_large_pool(
    con: Connection,
    folder: Path,
    category: str,
    pool: int,
    carry_in: int,
    ads: Ads,
    *,
    cap: int,
    chunk: int,
    done: Callable[[str], None] = lambda _: None,
) -> tuple[Path, dict[str, Any]]:
    """Split `pool` micros over the candidates of a category with some `chunk` rows in memory: a
    Parquet file, and a row of `ad_solutions`.

    Integers are those of `assets.ads.split_pool`. Reads the table `ad_candidates` of `con`;
    `folder` takes some 150 bytes a video for a while. `done` hears of each step as it ends.

    Raises
    ------
    InfeasibleError
        The floors exceed the pool, or the caps do not exhaust it.
    """
    folder.mkdir()
    rows, floor = folder / "rows.parquet", ads.floor_micros
    con.execute(f"""COPY (SELECT unit_id, video_id, creator_id, effective_views FROM ad_candidates
            WHERE category = {as_text(category)}
                  ORDER BY unit_id, video_id) TO {as_text(rows)} (FORMAT parquet,
                  ROW_GROUP_SIZE {min(chunk, _ROW_GROUP)})""")
    done("sorted")
    units = _Units.of(rows, folder, chunk)
    done("units")
    chunks = _Pool(units.views, float(floor), float(cap) if cap < pool else np.inf)
    knobs: dict[str, Any] = {
        "alpha": ads.alpha,
        "lambda_fair": ads.lambda_fair,
        "lambda_eff": ads.lambda_eff,
        "objective": ads.objective,
    }
    found = allocate_chunks(float(pool), chunks, **knobs)
    done("multiplier")
    optimum = _Column(folder / "optimum", np.float64, chunk)
    optimum.write(found.payout(part) for part in chunks)
    judged = certify_chunks(found.payout, float(pool), chunks, **knobs)
    done("certificate")
    amounts = _Amounts(optimum, folder / "units.parquet", "unit_id")
    micros, least, most, rounding = _rounded(
        amounts, apportion_chunks(amounts, pool, floor=floor, cap=cap), folder / "micros", chunk
    )
    done("rounded")
    paid = _inside_units(rows, units, micros, folder / "paid.parquet", category)
    done("videos")
    if carry_in:
        amounts = _Amounts(_Column(folder / "paid", np.int64, chunk), paid, "video_id")
        paid = _with_carried(paid, amounts, apportion_chunks(amounts, carry_in))
    done("carried")
    for column in ("views", "sizes", "optimum", "micros", "paid", "units.parquet", "rows.parquet"):
        (folder / column).unlink()
    solution = {
        "objective": ads.objective,
        "units": found.rows,
        "multiplier": found.multiplier,
        "residual": found.residual,
        "passes": found.passes,
        "floor_micros": floor,
        "cap_micros": cap,
        "least_micros": least,
        "most_micros": most,
        "solver": "closed form in chunks",
        **{name: getattr(judged, name) for name in CERTIFICATE},
        "rounding_micros": rounding,
    }
    return paid, solution


# --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Column:
    """Numbers in a file, read in chunks: read, not mapped, so that the memory in use stays what a
    chunk takes.
    """

    path: Path
    kind: type[np.float64] | type[np.int64]
    chunk: int

    def write(self, parts: Iterator[npt.NDArray[Any]]) -> None:
        with self.path.open("wb") as file:
            for part in parts:
                part.astype(self.kind).tofile(file)

    def __iter__(self) -> Iterator[npt.NDArray[Any]]:
        with self.path.open("rb") as file:
            while (part := np.fromfile(file, dtype=self.kind, count=self.chunk)).size:
                yield part


@dataclass(frozen=True)
class _Pool:
    """A pool's units as the solver reads them."""

    views: _Column
    floor: float
    cap: float

    def __iter__(self) -> Iterator[PoolChunk]:
        return (PoolChunk(views, self.floor, self.cap) for views in self.views)


@dataclass(frozen=True)
class _Amounts:
    """Amounts with the ids that stand in the row group of the same number, which is read only where
    amounts tie.
    """

    amounts: _Column
    ids: Path
    column: str

    def __iter__(self) -> Iterator[AmountChunk]:
        return (
            AmountChunk(amounts, partial(self._keys, group))
            for group, amounts in enumerate(self.amounts)
        )

    def _keys(self, group: int, rows: npt.NDArray[np.intp]) -> list[object]:
        with pq.ParquetFile(self.ids) as file:
            ids: list[object] = (
                file.read_row_group(group, columns=[self.column])[self.column]
                .take(pa.array(rows))
                .to_pylist()
            )
        return ids


class _Groups:
    """Writes a Parquet file in row groups of exactly `chunk` rows, the last one excepted."""

    def __init__(self, path: Path, schema: pa.Schema, chunk: int) -> None:
        # a dictionary of ids that are all different would only be thrown away
        repeating = [
            name
            for name in schema.names
            if pa.types.is_string(schema.field(name).type) and name != "video_id"
        ]
        self._writer, self._chunk = pq.ParquetWriter(path, schema, use_dictionary=repeating), chunk
        self._waiting = schema.empty_table()

    def add(self, rows: pa.Table) -> None:
        self._waiting = pa.concat_tables([self._waiting, rows])
        while self._waiting.num_rows >= self._chunk:
            self._writer.write_table(
                self._waiting.slice(0, self._chunk).combine_chunks(), row_group_size=self._chunk
            )
            self._waiting = self._waiting.slice(self._chunk)

    def close(self) -> None:
        if self._waiting.num_rows:
            self._writer.write_table(self._waiting.combine_chunks(), row_group_size=self._chunk)
        self._writer.close()


def _batches(path: Path, chunk: int, columns: list[str]) -> Iterator[pa.Table]:
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=chunk, columns=columns):
            yield pa.Table.from_batches([batch])


# --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Units:
    """Units of fairness in the order of their ids: views, and how many videos each has. Views add
    up in the order of the videos.
    """

    views: _Column
    sizes: _Column
    all_views: float

    @classmethod
    def of(cls, rows: Path, folder: Path, chunk: int) -> _Units:
        found = cls(
            _Column(folder / "views", np.float64, chunk),
            _Column(folder / "sizes", np.int64, chunk),
            0.0,
        )
        ids = _Groups(folder / "units.parquet", pa.schema([("unit_id", pa.string())]), chunk)
        total = ExactSum()
        with found.views.path.open("wb") as views_file, found.sizes.path.open("wb") as sizes_file:
            for names, views, sizes in whole_units(
                _batches(rows, chunk, ["unit_id", "effective_views"]), total
            ):
                views.tofile(views_file)
                sizes.tofile(sizes_file)
                ids.add(pa.table({"unit_id": names}))
        ids.close()
        return cls(found.views, found.sizes, float(total))


def whole_units(
    batches: Iterable[pa.Table], total: ExactSum | None = None
) -> Iterator[tuple[pa.Array, Floats, Ints]]:
    """Ids, views and numbers of videos of the units that end in each batch of videos, which come
    with those of a unit side by side.

    A unit's views add up one by one, in the order of its videos; `total` hears of each.
    """
    last, last_views, last_size = pa.array([], pa.string()), 0.0, 0
    for batch in batches:
        unit, views = batch["unit_id"].combine_chunks(), batch["effective_views"].to_numpy()
        if total is not None:
            total.add(views)
        begins = np.concatenate(
            [[True], pc.not_equal(unit[1:], unit[:-1]).to_numpy(zero_copy_only=False)]
        )
        names = unit.filter(pa.array(begins))
        # place 0 is the unit that the batch before ended with, whether it goes on here or not
        goes_on = bool(len(last)) and names[0].as_py() == last[0].as_py()
        place = np.cumsum(begins) - goes_on
        sums = np.bincount(
            np.concatenate([[0], place]), weights=np.concatenate([[last_views], views])
        )
        sizes = np.bincount(place, minlength=sums.size)
        sizes[0] += last_size
        names = pa.concat_arrays([last, names[1:] if goes_on else names])
        first = 0 if len(last) else 1
        yield names[:-1], sums[first:-1].astype(np.float64), sizes[first:-1].astype(np.int64)
        last, last_views, last_size = names[-1:], float(sums[-1]), int(sizes[-1])
    if len(last):
        yield last, np.array([last_views]), np.array([last_size])


def _rounded(
    amounts: _Amounts, rounding: ChunkedRounding, path: Path, chunk: int
) -> tuple[_Column, int, int, float]:
    """Whole micros of the units, the least and the most of them, and the largest difference to the
    optimum.
    """
    least, most, furthest = np.iinfo(np.int64).max, 0, 0.0
    with path.open("wb") as file:
        for part in amounts:
            whole = rounding.whole(part)
            whole.tofile(file)
            least, most = min(least, int(whole.min())), max(most, int(whole.max()))
            furthest = max(furthest, float(np.abs(whole - part.amounts).max()))
    return _Column(path, np.int64, chunk), int(least), most, furthest


def _inside_units(rows: Path, units: _Units, micros: _Column, path: Path, category: str) -> Path:
    """Hand each unit's micros on to its videos, by views; writes the payouts, and beside them a
    column of the micros alone.
    """
    chunk = micros.chunk
    written, read = _Groups(path, arrow_columns("ad_payouts"), chunk), _Reader(rows, chunk)

    def parts() -> Iterator[tuple[pa.Table, Ints]]:
        for sizes, totals in zip(units.sizes, micros, strict=True):
            for block in _blocks(sizes, chunk):
                videos = int(sizes[block].sum())
                if videos > chunk:
                    yield from _inside_large_unit(
                        _Unit(rows, read.taken, videos, chunk), read, int(totals[block][0])
                    )
                    continue
                part = read.take(videos)
                unit = np.repeat(np.arange(sizes[block].size), sizes[block])
                views = part["effective_views"].to_numpy()
                yield (
                    part,
                    apportion_groups(views, totals[block], unit, part["video_id"].to_pylist()),
                )

    with path.with_suffix("").open("wb") as file:
        for part, paid in parts():
            paid.tofile(file)
            views = part["effective_views"].to_numpy()
            columns = {
                **{name: part[name] for name in ("video_id", "creator_id", "unit_id")},
                "share": views / units.all_views if units.all_views > 0 else np.zeros_like(views),
                "payout_micros": paid,
                "carried_micros": np.zeros_like(paid),
                "category": pa.repeat(category, paid.size),
            }
            written.add(pa.table(columns, schema=arrow_columns("ad_payouts")))
    written.close()
    return path


@dataclass(frozen=True)
class _Unit:
    """The videos of one unit that has more than a chunk of them, as rounding reads them: again and
    again, a chunk at a time.
    """

    rows: Path
    first: int
    videos: int
    chunk: int

    def __iter__(self) -> Iterator[AmountChunk]:
        for begin in range(self.first, self.first + self.videos, self.chunk):
            end = min(begin + self.chunk, self.first + self.videos)
            views = self._column("effective_views", begin, end).to_numpy()
            yield AmountChunk(views, partial(self._keys, begin, end))

    def _keys(self, begin: int, end: int, rows: npt.NDArray[np.intp]) -> list[object]:
        ids: list[object] = self._column("video_id", begin, end).take(pa.array(rows)).to_pylist()
        return ids

    def _column(self, name: str, begin: int, end: int) -> pa.ChunkedArray:
        with pq.ParquetFile(self.rows) as file:
            ends = np.cumsum(
                [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
            )
            groups = range(
                int(np.searchsorted(ends, begin, side="right")),
                int(np.searchsorted(ends, end, side="left")) + 1,
            )
            before = int(ends[groups[0] - 1]) if groups[0] else 0
            return file.read_row_groups(list(groups), columns=[name])[name].slice(
                begin - before, end - begin
            )


def _inside_large_unit(unit: _Unit, read: _Reader, total: int) -> Iterator[tuple[pa.Table, Ints]]:
    rounding = apportion_chunks(unit, total)
    for part in unit:
        yield read.take(part.amounts.size), rounding.whole(part)


def _blocks(sizes: Ints, chunk: int) -> Iterator[slice]:
    """Runs of units with at most `chunk` videos together, or of one unit that has more."""
    ends = np.cumsum(sizes)
    begin = 0
    while begin < sizes.size:
        before = int(ends[begin - 1]) if begin else 0
        end = max(begin + 1, int(np.searchsorted(ends, before + chunk, side="right")))
        yield slice(begin, end)
        begin = end


class _Reader:
    """Hands out the rows of a Parquet file in order, as many at a time as asked for."""

    def __init__(self, path: Path, chunk: int) -> None:
        self._batches = _batches(
            path, chunk, ["unit_id", "video_id", "creator_id", "effective_views"]
        )
        self._waiting: pa.Table | None = None
        self.taken = 0

    def take(self, rows: int) -> pa.Table:
        self.taken += rows
        while self._waiting is None or self._waiting.num_rows < rows:
            batch = next(self._batches)
            self._waiting = (
                batch if self._waiting is None else pa.concat_tables([self._waiting, batch])
            )
        taken, self._waiting = self._waiting.slice(0, rows), self._waiting.slice(rows)
        return taken


def _with_carried(paid: Path, amounts: _Amounts, rounding: ChunkedRounding) -> Path:
    """The payouts with the part of each that was carried in."""
    path = paid.with_name("carried.parquet")
    with pq.ParquetFile(paid) as file, pq.ParquetWriter(path, file.schema_arrow) as written:
        for group, part in enumerate(amounts):
            rows = file.read_row_group(group)
            place = rows.schema.get_field_index("carried_micros")
            written.write_table(
                rows.set_column(place, "carried_micros", pa.array(rounding.whole(part)))
            )
    paid.unlink()
    return path
