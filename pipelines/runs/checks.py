"""Blocking asset checks: one per table, made from the invariants, for every day, week or month of
the run.

A blocking check stops what comes after it in the same run. What must never be visible is checked
before the commit too (`warehouse.write_day`); the check looks again at what is really stored.
Dagster 1.13 cannot run a check of a partitioned asset by itself: materialise the day again instead,
which changes nothing that is equal.
"""

import warnings
from collections.abc import Iterator
from datetime import date, timedelta

import dagster as dg
from dagster._core.definitions.asset_checks.asset_check_evaluation import (
    AssetCheckEvaluationTargetMaterializationData as Target,
)

from pipelines.periods import SPANS
from pipelines.runs.daily import POOL, WarehouseResource
from pipelines.runs.partitions import PARTITIONS
from pipelines.schema import TABLES
from pipelines.schema.invariants import INVARIANTS, of_table


def _check(table: str) -> dg.AssetChecksDefinition:
    promises = {i.name: i for i in of_table(table) if i.checked}
    partitions = PARTITIONS[TABLES[table].span]

    specs = [
        dg.AssetCheckSpec(
            name, asset=table, blocking=i.enforced, description=i.promise, partitions_def=partitions
        )
        for name, i in promises.items()
    ]

    @dg.multi_asset_check(name=f"{table}_checks", specs=specs, pool=POOL)
    def check(
        context: dg.AssetCheckExecutionContext, warehouse: WarehouseResource
    ) -> Iterator[dg.AssetCheckEvaluation | dg.Output[None]]:
        house = warehouse.warehouse()
        kept = {key: _kept_under(table, date.fromisoformat(key)) for key in context.partition_keys}
        targets = _newest_materializations(context, table)
        with house.open(read_only=True) as con:
            for spec in specs:
                # An evaluation a partition: from an AssetCheckResult a run of several days gets one
                # that belongs to no day,
                # and the UI then shows every day as skipped.
                for key, day in kept.items():
                    rows = promises[spec.name].violations(
                        con, day, quarantine_limit=house.home.settings.quarantine_limit
                    )
                    yield dg.AssetCheckEvaluation(
                        asset_key=spec.asset_key,
                        check_name=spec.name,
                        passed=not rows,
                        metadata=(
                            {"broken": dg.MetadataValue.text(repr({str(day): rows}))}
                            if rows
                            else {}
                        ),
                        severity=(
                            dg.AssetCheckSeverity.ERROR
                            if spec.blocking
                            else dg.AssetCheckSeverity.WARN
                        ),
                        blocking=spec.blocking,
                        partition=key,
                        target_materialization_data=targets.get(key),
                    )
                yield dg.Output(None, output_name=spec.get_python_identifier())

    return check


def _kept_under(table: str, key: date) -> date:
    """The day that the rows of a partition have."""
    span = SPANS.get(TABLES[table].span)
    return span.last(key) if span else key + timedelta(days=TABLES[table].ahead)


def _newest_materializations(
    context: dg.AssetCheckExecutionContext, table: str
) -> dict[str, Target]:
    """What the checks are about: each day's newest materialisation. Without it the UI calls the
    day's check missing.
    """
    wanted = dg.AssetRecordsFilter(
        asset_key=dg.AssetKey(table), asset_partitions=context.partition_keys
    )
    targets: dict[str, Target] = {}
    cursor: str | None = None
    while len(targets) < len(context.partition_keys):
        page = context.instance.fetch_materializations(wanted, limit=1000, cursor=cursor)
        for record in page.records:  # newest first
            if record.partition_key and record.partition_key not in targets:
                targets[record.partition_key] = Target(
                    storage_id=record.storage_id, run_id=record.run_id, timestamp=record.timestamp
                )
        if not page.has_more:
            break
        cursor = page.cursor
    return targets


with warnings.catch_warnings():
    warnings.simplefilter(
        "ignore", dg.PreviewWarning
    )  # partitions_def of a check spec is new in 1.13, and pinned here
    CHECKS = [_check(table) for table in dict.fromkeys(i.table for i in INVARIANTS if i.checked)]
