"""Blocking asset checks: one per table, made from the invariants, for every day of the run.

A blocking check stops what comes after it in the same run. What must never be visible is checked before the commit too
(`warehouse.write_day`); the check looks again at what is really stored, and can be run by itself from the UI.
"""

import warnings
from collections.abc import Iterator
from datetime import date

import dagster as dg

from pipelines.assets.daily import POOL, WarehouseResource
from pipelines.invariants import INVARIANTS, of_table
from pipelines.partitions import DAYS


def _check(table: str) -> dg.AssetChecksDefinition:
    promises = {i.name: i for i in of_table(table) if i.checked}

    @dg.multi_asset_check(
        name=f"{table}_checks",
        specs=[
            dg.AssetCheckSpec(name, asset=table, blocking=True, description=i.promise, partitions_def=DAYS) for name, i in promises.items()
        ],
        pool=POOL,
    )
    def check(context: dg.AssetCheckExecutionContext, warehouse: WarehouseResource) -> Iterator[dg.AssetCheckResult]:
        house = warehouse.warehouse()
        days = [date.fromisoformat(key) for key in context.partition_keys]
        with house.open(read_only=True) as con:
            for name, invariant in promises.items():
                broken = {
                    str(day): rows
                    for day in days
                    if (rows := invariant.violations(con, day, quarantine_limit=house.home.settings.quarantine_limit))
                }
                yield dg.AssetCheckResult(
                    passed=not broken,
                    check_name=name,
                    asset_key=table,
                    severity=dg.AssetCheckSeverity.ERROR,
                    metadata={"days": len(days), "broken": dg.MetadataValue.text(repr(broken))} if broken else {"days": len(days)},
                )

    return check


with warnings.catch_warnings():
    warnings.simplefilter("ignore", dg.PreviewWarning)  # partitions_def of a check spec is new in 1.13, and pinned here
    CHECKS = [_check(table) for table in dict.fromkeys(i.table for i in INVARIANTS if i.checked)]
