"""What is wrong with simulated rows: one entry for every way `pipelines.schema` has of refusing a
row.

Rows are spoilt as copies of good ones under ids of their own, so a platform is the same with and
without its rotten rows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

WRONG_TYPE = "wrong type"
CONFLICT = "same id, other content"
OUTSIDE = "outside its day"
LEAST_ROWS = 100


@dataclass(frozen=True)
class Defect:
    """One way of being refused: `column` gets `value`, or what `value` makes of the good column."""

    kind: str
    column: str
    value: str | int | float | Callable[[Any], Any] | None


def _one_more(column: Any) -> Any:
    return pc.add(column, 1)


def _other_day(column: Any) -> Any:
    return pc.add(column, pa.scalar(timedelta(days=1), pa.duration("ms")))


DEFECTS: dict[str, tuple[Defect, ...]] = {
    "viewers": (
        Defect("trust outside [0, 1]", "trust", 1.5),
        Defect(WRONG_TYPE, "verified", "perhaps"),
    ),
    "creators": (
        Defect("negative followers", "followers", -1),
        Defect(WRONG_TYPE, "followers", "many"),
    ),
    "videos": (
        Defect("length <= 0", "length_ms", 0),
        Defect("unknown creator", "creator_id", "c-nobody"),
        Defect("score outside [0, 1]", "s_tox", 2.0),
        Defect(WRONG_TYPE, "length_ms", "short"),
    ),
    "viewer_events": (
        Defect(WRONG_TYPE, "watch_ms", "twelve"),
        Defect("missing key", "event_id", None),
        Defect("missing viewer", "viewer_id", None),
        Defect("unknown video", "video_id", "v-nowhere"),
        Defect("negative watch", "watch_ms", -5_000),
        Defect("absurd watch", "watch_ms", 90_000_000),
        Defect("length <= 0", "length_ms", 0),
        Defect(OUTSIDE, "ts", _other_day),
        Defect(CONFLICT, "watch_ms", _one_more),
    ),
    "gifts": (
        Defect("missing key", "gift_id", None),
        Defect("coins out of range", "coins", 0),
        Defect("unknown video", "video_id", "v-nowhere"),
        Defect(OUTSIDE, "ts", _other_day),
        Defect(CONFLICT, "coins", _one_more),
        Defect(WRONG_TYPE, "coins", "lots"),
    ),
    "ad_revenue": (
        Defect("negative amount", "amount_micros", -1),
        Defect("missing category", "category", None),
        Defect("unknown video", "video_id", "v-nowhere"),
        Defect(OUTSIDE, "ts", _other_day),
        Defect(CONFLICT, "amount_micros", _one_more),
        Defect(WRONG_TYPE, "amount_micros", "1.50 EUR"),
    ),
}


@dataclass(frozen=True)
class Spoilt:
    """Rows to be written beside the good ones; `misfits` are text, since no typed file can hold
    them.
    """

    repeated: pa.Table
    rotten: pa.Table
    misfits: pa.Table
    counts: dict[str, int] = field(default_factory=dict)


def spoil(
    name: str,
    good: pa.Table,
    day: date,
    rng: np.random.Generator,
    *,
    rotten_share: float,
    duplicate_share: float,
    text: Callable[[pa.Table], pa.Table],
) -> Spoilt:
    """Choose rows of `good` to repeat and to spoil.

    Parameters
    ----------
    name, good
        Table of the schema and its good rows; the first column is its id.
    rotten_share, duplicate_share
        Expected number of such rows, as a fraction of the good ones. Rounded at random, so a small
        table has some on some days; one with fewer than LEAST_ROWS has none.
    text
        Turns a table into one of strings, as CSV has it.
    """
    base = good.num_rows if good.num_rows >= LEAST_ROWS else 0
    repetitions, spoilt = (
        int(share * base + rng.random()) if base else 0 for share in (duplicate_share, rotten_share)
    )
    # Disjoint choices: a repeated row that also has a contradiction would be counted twice over.
    chosen = rng.choice(good.num_rows, min(repetitions + spoilt, good.num_rows), replace=False)
    repeated, rotten = chosen[:repetitions], chosen[repetitions:]
    defects = DEFECTS[name]
    # Start where the day says: over some days even a table with one rotten row a day shows every
    # kind.
    turn = (day.toordinal() + np.arange(len(rotten))) % len(defects)
    typed, misfits, counts = [good.slice(0, 0)], [text(good.slice(0, 0))], {}
    for number, defect in enumerate(defects):
        rows = good.take(np.sort(rotten[turn == number]))
        if not rows.num_rows:
            continue
        counts[defect.kind] = rows.num_rows
        if defect.kind != CONFLICT:
            rows = rows.set_column(0, rows.column_names[0], _fresh_ids(rows, day, number))
        if defect.kind == WRONG_TYPE:
            misfits.append(_with(text(rows), defect))
        else:
            typed.append(_with(rows, defect))
    return Spoilt(
        good.take(np.sort(repeated)), pa.concat_tables(typed), pa.concat_tables(misfits), counts
    )


def _fresh_ids(rows: pa.Table, day: date, number: int) -> pa.Array:
    letter = rows.column(0)[0].as_py()[0]
    return pa.array([f"{letter}x{day:%Y%m%d}-{number}-{row:05d}" for row in range(rows.num_rows)])


def _with(rows: pa.Table, defect: Defect) -> pa.Table:
    at = rows.column_names.index(defect.column)
    column = rows.column(at)
    value = (
        defect.value(column)
        if callable(defect.value)
        else pa.repeat(pa.scalar(defect.value, column.type), rows.num_rows)
    )
    return rows.set_column(at, rows.field(at), value)
