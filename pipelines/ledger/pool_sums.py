"""What an explanation needs of all videos of an ad pool, read in one stream each: units' views and
medians, whatever the pool's size.

What belongs here: reading. What a payout would be without a factor is in `counterfactual.py`.
Columns stay in memory while they are few and go to a temporary file (TMPDIR) when they are many: 80
bytes a video while medians are found, 8 a unit as long as the pool is explained.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from tempfile import SpooledTemporaryFile
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipelines.ads.large_pools import whole_units
from pipelines.ledger.counterfactual import COMPONENTS, FACTORS
from pipelines.policy import Ads
from pipelines.store.warehouse import Connection, in_batches
from solvers.ad_pool import ShareSketch
from solvers.chunked_median import median_of_chunks

_CHUNK = 1 << 20
_IN_MEMORY = 8 << 20

FACTORS_SQL = (
    "viewers::DOUBLE AS viewers, qualified_views / (viewers * group_weight) AS trust,"
    f" group_weight, {', '.join(COMPONENTS)}"
)
COMPETING = """(
    SELECT q.* REPLACE (coalesce(w.views, q.qualified_views) AS qualified_views,
                        coalesce(w.effective_views, q.effective_views) AS effective_views)
    FROM video_quality AS q LEFT JOIN ad_views AS w USING (day, video_id)
)"""
"""`video_quality` with views as they count in the pools; see `ads/views.py`."""
_OF_POOL = (
    f"FROM ad_payouts JOIN {COMPETING} USING (day, video_id) WHERE day = $day AND category ="
    " $category"
)


@dataclass(frozen=True)
class PoolSums:
    """How many videos a pool has, its units' views, the median of every factor and of the payouts,
    and whether groups weighed anything.
    """

    videos: int
    units: ShareSketch
    typical: dict[str, float]
    median_payout: float
    reweighted: bool


def pool_sums(con: Connection, day: date, category: str, ads: Ads) -> PoolSums:
    """Read a pool; views of a unit add up in the order of its videos, as when it was paid."""
    pool = {"day": day, "category": category}
    views = _Spool(np.float64)
    order = "" if ads.fairness_unit == "video" else "ORDER BY unit_id, video_id"
    for _, of_unit, _ in whole_units(
        _stream(con, f"SELECT unit_id, effective_views {_OF_POOL} {order}", pool)
    ):
        views.add(of_unit)
    columns = {name: _Spool(np.float64) for name in FACTORS} | {"payout_micros": _Spool(np.int64)}
    videos, reweighted = 0, False
    for batch in _stream(con, f"SELECT payout_micros, {FACTORS_SQL} {_OF_POOL}", pool):
        videos += batch.num_rows
        for name, column in columns.items():
            column.add(batch[name].to_numpy())
        reweighted |= bool((batch["group_weight"].to_numpy() != 1).any())
    medians = {
        name: median_of_chunks(column) if videos else 0.0 for name, column in columns.items()
    }
    return PoolSums(
        videos,
        ShareSketch(views),
        {name: medians[name] for name in FACTORS},
        medians["payout_micros"],
        reweighted,
    )


def views_of_units(
    con: Connection, day: date, category: str, units: list[str]
) -> dict[str, npt.NDArray[np.float64]]:
    """The effective views of the videos of some units, in the order of the videos."""
    sums = con.execute(
        f"""SELECT unit_id, list(effective_views ORDER BY video_id) AS views {_OF_POOL}
            AND unit_id IN (SELECT unnest($units))
            GROUP BY unit_id""",
        {"day": day, "category": category, "units": units},
    ).to_arrow_table()
    return {
        unit.as_py(): views.values.to_numpy()
        for unit, views in zip(sums["unit_id"], sums["views"], strict=True)
    }


def _stream(con: Connection, sql: str, parameters: dict[str, Any]) -> Iterator[pa.Table]:
    for batch in in_batches(con, sql, parameters, rows=_CHUNK):
        if batch.num_rows:
            yield pa.Table.from_batches([batch])


@dataclass(frozen=True, eq=False)
class _Spool:
    """A column of numbers that is written once and read again and again."""

    kind: type[np.float64] | type[np.int64]
    _file: SpooledTemporaryFile[bytes] = field(
        default_factory=lambda: SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115
    )

    def add(self, values: npt.NDArray[Any]) -> None:
        self._file.write(values.astype(self.kind).tobytes())

    def __iter__(self) -> Iterator[npt.NDArray[Any]]:
        self._file.seek(0)
        while part := self._file.read(_CHUNK * np.dtype(self.kind).itemsize):
            yield np.frombuffer(part, dtype=self.kind)
