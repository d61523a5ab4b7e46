"""Landing files into tables: the three snapshots and the three daily streams."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import dagster as dg

from pipelines.runs.daily import DailyAsset, Day, Metadata, daily_asset
from pipelines.schema import DAILY, SNAPSHOTS, Table
from pipelines.sources.copies import days_with_moved_ids
from pipelines.sources.errors import SourceError
from pipelines.sources.landing import LoadReport, load_day


def _metadata(report: LoadReport) -> Metadata:
    return {
        "rows": report.rows,
        "loaded": report.loaded,
        "duplicates": report.duplicates,
        "quarantined": report.quarantined,
        "quarantine_share": report.quarantined / report.rows if report.rows else 0.0,
        "files": report.files,
        "quarantine_reasons": dg.MetadataValue.json(report.reasons),
        "ignored_columns": dg.MetadataValue.json(list(report.ignored_columns)),
    }


def _asset(table: Table, load: Callable[[Day], Metadata], *, in_order: bool = False) -> DailyAsset:
    load.__name__, load.__doc__ = table.name, table.meaning
    moved = partial(days_with_moved_ids, table=table.name) if table.once else None
    return daily_asset(group="raw", in_order=in_order, moved=moved)(load)


def _stream(table: Table) -> DailyAsset:
    def load(run: Day) -> Metadata:
        with run.write() as writer:
            return _metadata(load_day(writer, run.home.landing, table))

    return _asset(table, load, in_order=table.once)


def _snapshot(table: Table) -> DailyAsset:
    """Loads the day's snapshot, and earlier ones that are not in the warehouse yet."""

    def load(run: Day) -> Metadata:
        landed = [day for day in run.home.landing_days(table.name) if day <= run.day]
        if not landed:
            folder = run.home.landing / table.name
            raise SourceError(
                f"{folder}: no snapshot of {table.name} on or before {run.day}; docs/data.md says"
                " how to make one"
            )
        known = {
            row[0]
            for row in run.con.execute(
                "SELECT DISTINCT day FROM landing_files WHERE table_name = ?", [table.name]
            ).fetchall()
        }
        for day in landed:
            if day < run.day and day not in known:
                with run.write(day) as writer:
                    load_day(writer, run.home.landing, table)
        with run.write() as writer:
            return {
                **_metadata(load_day(writer, run.home.landing, table)),
                "snapshot_in_force": landed[-1].isoformat(),
            }

    return _asset(table, load, in_order=True)


# Those that are made in order come first: several workers then wait for each other but once.
RAW = [
    *(_snapshot(t) for t in SNAPSHOTS),
    *(_stream(t) for t in sorted(DAILY, key=lambda table: not table.once)),
]
