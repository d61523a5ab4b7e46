"""Landing files into tables: the snapshots and the three daily streams."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from functools import partial

import dagster as dg

from pipelines.runs.daily import DailyAsset, Day, Metadata, daily_asset
from pipelines.runs.figures import as_metadata
from pipelines.schema import DAILY, DECISIONS, SNAPSHOTS, Table
from pipelines.sources.copies import days_with_moved_ids
from pipelines.sources.currency import refuse_other_currency
from pipelines.sources.errors import SourceError
from pipelines.sources.landing import LoadReport, load_day, waiting_files
from pipelines.store.warehouse import closed_through


def _metadata(report: LoadReport) -> Metadata:
    return {
        "rows": report.rows,
        "loaded": report.loaded,
        "duplicates": report.duplicates,
        "quarantined": report.quarantined,
        "taken_out": report.taken_out,
        "quarantine_share": report.quarantined / report.rows if report.rows else 0.0,
        "files": report.files,
        "quarantine_reasons": dg.MetadataValue.json(report.reasons),
        "ignored_columns": dg.MetadataValue.json(list(report.ignored_columns)),
        **as_metadata(report.figures),
    }


def _asset(table: Table, load: Callable[[Day], Metadata], *, in_order: bool = False) -> DailyAsset:
    load.__name__, load.__doc__ = table.name, table.meaning
    moved = partial(days_with_moved_ids, table=table.name) if table.once else None
    return daily_asset(group="raw", in_order=in_order, moved=moved)(load)


def _stream(table: Table) -> DailyAsset:
    def load(run: Day) -> Metadata:
        if table.once:
            refuse_other_currency(run.con, run.home, table, run.day)
        with run.write() as writer:
            return _metadata(load_day(writer, run.home.landing, table))

    return _asset(table, load, in_order=table.once)


def _snapshot(table: Table) -> DailyAsset:
    """Loads the day's snapshot, and earlier ones that are not in the warehouse yet or that no run
    of a day of their own would load again.
    """

    def load(run: Day) -> Metadata:
        landed = [day for day in run.home.landing_days(table.name) if day <= run.day]
        if not landed and not table.optional:
            folder = run.home.landing / table.name
            raise SourceError(
                f"{folder}: no snapshot of {table.name} on or before {run.day}; docs/data.md says"
                " how to make one"
            )
        for day in _to_load(run, table, [day for day in landed if day < run.day]):
            with run.write(day) as writer:
                load_day(writer, run.home.landing, table)
        with run.write() as writer:
            return {
                **_metadata(load_day(writer, run.home.landing, table)),
                "snapshot_in_force": landed[-1].isoformat() if landed else "none",
            }

    return _asset(table, load, in_order=True)


def _to_load(run: Day, table: Table, earlier: list[date]) -> list[date]:
    """Earlier days whose snapshot is not loaded; also those that changed since on days that have
    nothing but snapshots, which nobody would run (closed ones only when days are restated).
    """
    known = {
        row[0]
        for row in run.con.execute(
            "SELECT DISTINCT day FROM landing_files WHERE table_name = ?", [table.name]
        ).fetchall()
    }
    closed = None if run.restating else closed_through(run.con)
    alone = set(earlier) & known - set(run.home.landed())
    if closed:
        alone = {day for day in alone if day > closed}
    changed = (
        waiting_files(run.con, run.home.landing, tables=[table.name], days=alone) if alone else {}
    )
    return [day for day in earlier if day not in known or day in changed]


# Those that are made in order come first: several workers then wait for each other but once.
RAW = [
    *(_snapshot(t) for t in SNAPSHOTS),
    *(_stream(t) for t in DECISIONS),
    *(_stream(t) for t in sorted(DAILY, key=lambda table: not table.once)),
]
