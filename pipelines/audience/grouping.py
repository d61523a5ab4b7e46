"""Versions of the grouping of viewers: made from a snapshot of them, kept, and applied to whoever
is there on a day.

What belongs here: features of viewers in and out of the warehouse. The clustering itself is
`solvers.reweighting.viewer_groups`; when a new version is due is decided by the asset
(`audience/assets.py`), and what a group's weight is in `audience/weights.py`.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.policy import Epochs
from pipelines.sql import query
from pipelines.store.warehouse import Connection
from solvers.reweighting import (
    Coordinate,
    Features,
    ViewerGroups,
    group_viewers,
    inertia_by_count,
    nearest,
)

NUMBERS, CATEGORIES = ("tenure_days",), ("region", "device", "activity")
SAMPLE = 10_000


@dataclass(frozen=True)
class Grouping:
    """One version: its groups in order, largest first, and what is needed to find anybody's."""

    version: date
    groups: tuple[str, ...]
    centres: tuple[tuple[float, ...], ...]
    coordinates: tuple[Coordinate, ...]
    evidence: dict[str, Any]

    @classmethod
    def on(cls, con: Connection, day: date) -> Grouping | None:
        """The version in force on a day, if any was made yet."""
        rows = con.execute(
            """SELECT day, group_id, centre, coordinates, evidence FROM group_centres
               WHERE day = (SELECT max(day) FROM group_centres WHERE day <= ?) ORDER BY group_id""",
            [day],
        ).fetchall()
        if not rows:
            return None
        coordinates = tuple(Coordinate(**c) for c in json.loads(rows[0][3]))
        return cls(
            rows[0][0],
            tuple(r[1] for r in rows),
            tuple(tuple(r[2]) for r in rows),
            coordinates,
            json.loads(rows[0][4]),
        )

    def assign(self, con: Connection, day: date, *, changed_on: date | None = None) -> None:
        """Fill the temporary table `assigned` (viewer_id, group_id): all viewers known on `day`, or
        those whose row is of `changed_on`.
        """
        con.execute(
            f"CREATE OR REPLACE TEMP TABLE known AS {query('audience/known_viewers')}",
            {"day": day, "changed_on": changed_on},
        )
        columns = ", ".join((*CATEGORIES, *NUMBERS))
        kinds = con.execute(f"SELECT DISTINCT {columns} FROM known ORDER BY ALL").to_arrow_table()
        groups = (
            nearest(self.coordinates, self.centres, _features(kinds))
            if kinds.num_rows
            else np.zeros(0, dtype=np.intp)
        )
        con.register(
            "kinds",
            kinds.append_column(
                "group_id", pa.array(np.array(self.groups, dtype=object)[groups], pa.string())
            ),
        )
        same = " AND ".join(
            f"known.{c} IS NOT DISTINCT FROM kinds.{c}" for c in (*CATEGORIES, *NUMBERS)
        )
        con.execute(
            "CREATE OR REPLACE TEMP TABLE assigned AS SELECT viewer_id, group_id FROM known JOIN"
            f" kinds ON {same}"
        )
        con.unregister("kinds")


def make_version(
    con: Connection, version: date, seen_on: date, epochs: Epochs
) -> list[dict[str, Any]]:
    """Rows of `group_centres` for a version made from the viewers known on `seen_on`; none without
    viewers.
    """
    con.execute(
        f"CREATE OR REPLACE TEMP TABLE known AS {query('audience/known_viewers')}",
        {"day": seen_on, "changed_on": None},
    )
    (viewers,) = con.execute("SELECT count(*) FROM known").fetchall()[0]
    sample = con.execute(
        f"SELECT * EXCLUDE (viewer_id) FROM known ORDER BY md5(viewer_id), viewer_id LIMIT {SAMPLE}"
    ).to_arrow_table()
    if not viewers:
        return []
    features = _features(sample)
    least = max(1, -(-epochs.min_group_viewers * sample.num_rows // viewers))
    made = group_viewers(features, groups=epochs.groups, min_size=least, seed=epochs.seed)
    shared = {
        "inertia": made.inertia,
        "coordinates": json.dumps([asdict(c) for c in made.coordinates]),
        "evidence": json.dumps(_evidence(features, made, epochs)),
    }
    return [
        {**shared, "group_id": f"{version}/{n:03}", "size": size, "centre": centre}
        for n, (size, centre) in enumerate(
            zip(made.sizes.tolist(), made.centres.tolist(), strict=True)
        )
    ]


def _evidence(features: Features, made: ViewerGroups, epochs: Epochs) -> dict[str, Any]:
    """How much of the viewers' variety each number of groups leaves inside groups: what to look at
    before changing L.
    """
    counts = sorted(
        {
            1,
            max(1, epochs.groups // 4),
            max(1, epochs.groups // 2),
            epochs.groups,
            2 * epochs.groups,
        }
    )
    return {
        "groups": len(made.sizes),
        "sizes": made.sizes.tolist(),
        "features": sorted({c.feature for c in made.coordinates}),
        "inertia": made.inertia,
        "inertia_left_by_number_of_groups": {
            str(k): round(v, 4)
            for k, v in inertia_by_count(features, counts, seed=epochs.seed).items()
        },
    }


def _features(rows: pa.Table) -> Features:
    numbers = {
        name: np.array(
            [np.nan if v is None else v for v in rows[name].to_pylist()], dtype=np.float64
        )
        for name in NUMBERS
    }
    return numbers | {name: np.array(rows[name].to_pylist(), dtype=object) for name in CATEGORIES}
