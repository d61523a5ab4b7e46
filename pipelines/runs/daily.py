"""What every daily asset shares: how a range of days runs, commits, is marked, and is reported.
Weeks and months: `periodic.py`.

Dagster gives a single-run backfill one call with a range of days. Each day here commits by itself,
in order, and is marked as materialised even if a later one fails: a failure on day 12 leaves days 1
to 11 done and known to be done.
"""

import logging
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from functools import partial
from typing import Any, Protocol

import dagster as dg

from pipelines.errors import ExpectedError
from pipelines.policy import Policy, PolicyBook
from pipelines.runs.partitions import DAYS
from pipelines.schema import TABLES
from pipelines.settings import Home
from pipelines.store.file_store import Claim
from pipelines.store.warehouse import CODE_VERSION, Connection, DayWriter, Warehouse, require_days
from solvers import InfeasibleError

warnings.filterwarnings(
    "ignore", message="Parameter `backfill_policy`", category=dg.BetaWarning
)  # beta in 1.13, which is pinned

POOL = "warehouse"
PROGRESS = logging.getLogger("earnings.progress")

Metadata = Mapping[str, Any]


class WarehouseResource(dg.ConfigurableResource["WarehouseResource"]):
    """Hands out the warehouse of a home, which the steps of a run open one after the other."""

    home: str

    def warehouse(self) -> Warehouse:
        return Warehouse(Home.at(self.home))

    @contextmanager
    def yield_for_execution(self, context: dg.InitResourceContext) -> Iterator["WarehouseResource"]:
        with self.warehouse().kept_open():
            yield self


@dataclass(frozen=True)
class Day:
    """One day of one asset: an open connection, the policy in force, and the transaction to write
    in.

    `restating` is the reason of a restatement, which writes all its days in one transaction that is
    already open.
    """

    con: Connection
    day: date
    warehouse: Warehouse
    policy: Policy
    restating: str | None = None

    @property
    def home(self) -> Home:
        return self.warehouse.home

    def write(self, day: date | None = None) -> AbstractContextManager[DayWriter]:
        """The transaction that makes this asset's day (or another day of it) visible."""
        write = self.warehouse.rewrite_day if self.restating else self.warehouse.write_day
        return write(self.con, day or self.day)


@dataclass(frozen=True)
class DailyAsset:
    """A table of the pipeline: the function that makes a day of it, and what it needs to have been
    written before.

    `in_order`: a day needs the one before, or adds to what all days share, so no two are ever made
    at once.
    """

    name: str
    function: Callable[[Day], Metadata]
    required: tuple[str, ...]
    in_order: bool
    definition: dg.AssetsDefinition

    def make(self, run: Day) -> Metadata:
        """Make one day, refusing to go on from a table whose day was never written."""
        require_days(run.con, self.required, [run.day])
        return self.function(run)


def daily_asset(
    *,
    group: str,
    deps: Sequence[str | dg.AssetDep] = (),
    extra_tables: Sequence[str] = (),
    in_order: bool = False,
    afterwards: Callable[[Warehouse], object] | None = None,
) -> Callable[[Callable[[Day], Metadata]], DailyAsset]:
    """Make `function(day) -> metadata` a daily asset of the same name, with the one backfill policy
    all of them have.

    `deps` that are plain names must have been written for the day; the asset refuses to run
    otherwise. `in_order`: no two days of it are made at once. `afterwards` is called once, when all
    days of the run are committed and the warehouse is closed.
    """

    def decorate(function: Callable[[Day], Metadata]) -> DailyAsset:
        def make(
            con: Connection, key: date, house: Warehouse, policies: PolicyBook
        ) -> tuple[date, Metadata]:
            return key, made.make(Day(con, key, house, policies.in_force(key)))

        def claim(key: date) -> Claim:
            return Claim(key, function.__name__ if in_order else None)

        definition = partitioned_asset(
            function,
            make,
            claim,
            group=group,
            deps=deps,
            extra_tables=extra_tables,
            partitions=DAYS,
            afterwards=afterwards,
        )
        made = DailyAsset(function.__name__, function, plain_names(deps), in_order, definition)
        return made

    return decorate


def plain_names(deps: Sequence[str | dg.AssetDep]) -> tuple[str, ...]:
    """The tables among `deps` that must have been written first."""
    return tuple(name for name in deps if isinstance(name, str))


class Make(Protocol):
    def __call__(
        self, con: Connection, key: date, house: Warehouse, policies: PolicyBook
    ) -> tuple[date, Metadata]: ...


def partitioned_asset(
    function: Callable[..., Metadata],
    make: Make,
    claim: Callable[[date], Claim],
    *,
    group: str,
    deps: Sequence[str | dg.AssetDep],
    extra_tables: Sequence[str],
    partitions: dg.TimeWindowPartitionsDefinition,
    afterwards: Callable[[Warehouse], object] | None,
) -> dg.AssetsDefinition:
    """What assets of days, weeks and months are to Dagster; `make` makes the partition with a key,
    and says under which day it is kept.

    `claim` says what of the warehouse nobody else may write meanwhile.
    """
    name = function.__name__

    @dg.asset(
        name=name,
        description=function.__doc__,
        deps=list(deps),
        group_name=group,
        partitions_def=partitions,
        backfill_policy=dg.BackfillPolicy.single_run(),
        pool=POOL,
        code_version=CODE_VERSION,
        kinds={"duckdb"},
        metadata={
            "tables": ", ".join((name, *extra_tables)),
            "dagster/column_schema": columns_of(name),
        },
    )
    def asset(context: dg.AssetExecutionContext, warehouse: WarehouseResource) -> None:
        keys = context.partition_keys
        house = warehouse.warehouse()
        done: dict[str, Metadata] = {}
        try:
            policies = house.home.policies
            with house.by_day() as by_day:
                for n, key in enumerate(keys, 1):
                    began, first = time.monotonic(), date.fromisoformat(key)
                    day, metadata = by_day.work(
                        claim(first), partial(make, key=first, house=house, policies=policies)
                    )
                    done[key] = metadata
                    seconds = time.monotonic() - began
                    progress = {
                        "asset": name,
                        "day": day,
                        "n": n,
                        "of": len(keys),
                        "seconds": seconds,
                        "metadata": metadata,
                    }
                    PROGRESS.info("%s %s", name, day, extra=progress)
                    context.add_asset_metadata(metadata, partition_key=key)
            if afterwards:
                afterwards(house)
        except BaseException as error:
            for (
                key,
                metadata,
            ) in done.items():  # when the asset returns, Dagster marks its partitions itself
                context.log_event(dg.AssetMaterialization(name, partition=key, metadata=metadata))
            if isinstance(
                error, ExpectedError | InfeasibleError
            ):  # the run's page shows the message, not a stack
                raise dg.Failure(str(error), allow_retries=False) from error
            raise

    return asset


def columns_of(table: str) -> dg.TableSchema:
    """The columns of a table as an asset's page lists them, with their meaning and units."""
    return dg.TableSchema(
        columns=[dg.TableColumn(c.name, c.type, c.meaning) for c in TABLES[table].columns]
    )


def yesterday_of(name: str) -> dg.AssetDep:
    """The same asset one day earlier."""
    return dg.AssetDep(
        name, partition_mapping=dg.TimeWindowPartitionMapping(start_offset=-1, end_offset=-1)
    )


def window(day: date, days: int) -> list[date]:
    """The trailing window of `days` days that ends on `day`."""
    return [day - timedelta(days=n) for n in reversed(range(days))]
