"""Figures of a day's input, and the warnings among them: what somebody should look at, though it
stops nothing.

What belongs here: writing and reading the table `figures`. What is counted, and from where on it is
out of the ordinary, is said by the asset that counts it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from typing import Any

from pipelines.store.warehouse import Connection


@dataclass(frozen=True)
class Figure:
    """`count` of `total` (where there is one), and a sentence where somebody should look at it."""

    name: str
    count: int
    total: int | None = None
    warning: str | None = None


def record_figures(con: Connection, table: str, day: date, figures: Iterable[Figure]) -> None:
    """Make `figures` those of a table's day. Call it inside the transaction that writes the day."""
    (before,) = con.execute(
        "SELECT count(*) FROM figures WHERE table_name = ? AND day = ?", [table, day]
    ).fetchall()[0]
    if before:  # a lake takes deleting nothing from a table for a write that disturbs others
        con.execute("DELETE FROM figures WHERE table_name = ? AND day = ?", [table, day])
    rows = [(table, day, f.name, f.count, f.total, f.warning) for f in figures]
    if rows:
        con.executemany("INSERT INTO figures VALUES (?, ?, ?, ?, ?, ?)", rows)


def as_metadata(figures: Iterable[Figure]) -> dict[str, Any]:
    """What an asset's page plots: each figure, and its share where it is one of a total."""
    metadata: dict[str, Any] = {}
    for f in figures:
        metadata[f.name] = f.count
        if f.total:
            metadata[f"{f.name}_share"] = f.count / f.total
    return metadata


def warnings_of(con: Connection) -> list[dict[str, Any]]:
    """All warnings, by day and table."""
    rows = con.execute(
        "SELECT day, table_name, figure, warning FROM figures WHERE warning IS NOT NULL ORDER BY"
        " day, table_name, figure"
    ).fetchall()
    return [
        {"day": str(day), "table": table, "figure": figure, "warning": warning}
        for day, table, figure, warning in rows
    ]
