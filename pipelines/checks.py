"""Blocking asset checks: one per table, made from the invariants, for every day of the run.

A blocking check stops what comes after it in the same run. What must never be visible is checked before the commit too
(`warehouse.write_day`); the check looks again at what is really stored. Dagster 1.13 cannot run a check of a partitioned asset
by itself: materialise the day again instead, which changes nothing that is equal.
"""

import warnings
from collections.abc import Iterator
from datetime import date, timedelta

import dagster as dg
from dagster._core.definitions.asset_checks.asset_check_evaluation import AssetCheckEvaluationTargetMaterializationData as Target

from pipelines.assets.daily import POOL, WarehouseResource
from pipelines.invariants import INVARIANTS, of_table
from pipelines.partitions import DAYS
from pipelines.schema import TABLES


def _check(table: str) -> dg.AssetChecksDefinition:
    promises = {i.name: i for i in of_table(table) if i.checked}
    ahead = timedelta(days=TABLES[table].ahead)

    specs = [
        dg.AssetCheckSpec(name, asset=table, blocking=i.enforced, description=i.promise, partitions_def=DAYS)
        for name, i in promises.items()
    ]

    @dg.multi_asset_check(name=f"{table}_checks", specs=specs, pool=POOL)
    def check(context: dg.AssetCheckExecutionContext, warehouse: WarehouseResource) -> Iterator[dg.AssetCheckEvaluation | dg.Output[None]]:
        house = warehouse.warehouse()
        days = [date.fromisoformat(key) for key in context.partition_keys]
        targets = _newest_materializations(context, table)
        with house.open(read_only=True) as con:
            for spec in specs:
                # An evaluation a day: from an AssetCheckResult a run of several days gets one that belongs to no day,
                # and the UI then shows every day as skipped.
                for day in days:
                    rows = promises[spec.name].violations(con, day + ahead, quarantine_limit=house.home.settings.quarantine_limit)
                    yield dg.AssetCheckEvaluation(
                        asset_key=spec.asset_key,
                        check_name=spec.name,
                        passed=not rows,
                        metadata={"broken": dg.MetadataValue.text(repr({str(day + ahead): rows}))} if rows else {},
                        severity=dg.AssetCheckSeverity.ERROR if spec.blocking else dg.AssetCheckSeverity.WARN,
                        blocking=spec.blocking,
                        partition=day.isoformat(),
                        target_materialization_data=targets.get(day.isoformat()),
                    )
                yield dg.Output(None, output_name=spec.get_python_identifier())

    return check


def _newest_materializations(context: dg.AssetCheckExecutionContext, table: str) -> dict[str, Target]:
    """What the checks are about: each day's newest materialisation. Without it the UI calls the day's check missing."""
    wanted = dg.AssetRecordsFilter(asset_key=dg.AssetKey(table), asset_partitions=context.partition_keys)
    found: dict[str, Target] = {}
    cursor: str | None = None
    while len(found) < len(context.partition_keys):
        page = context.instance.fetch_materializations(wanted, limit=1000, cursor=cursor)
        for record in page.records:  # newest first
            if record.partition_key and record.partition_key not in found:
                found[record.partition_key] = Target(storage_id=record.storage_id, run_id=record.run_id, timestamp=record.timestamp)
        if not page.has_more:
            break
        cursor = page.cursor
    return found


with warnings.catch_warnings():
    warnings.simplefilter("ignore", dg.PreviewWarning)  # partitions_def of a check spec is new in 1.13, and pinned here
    CHECKS = [_check(table) for table in dict.fromkeys(i.table for i in INVARIANTS if i.checked)]
