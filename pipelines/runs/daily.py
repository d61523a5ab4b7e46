"""What every daily asset shares: how a range of days runs, commits, is marked, and is reported.
Weeks and months: `periodic.py`.

Dagster gives a single-run backfill one call with a range of days. Each day here commits by itself,
in order, and is marked as materialised even if a later one fails: a failure on day 12 leaves days 1
to 11 done and known to be done.
"""

import logging
import time
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property, partial
from itertools import chain
from typing import Any

import dagster as dg

from pipelines.actor import TAG, acting_as
from pipelines.errors import ExpectedError
from pipelines.policy import Policy, PolicyBook
from pipelines.runs.partitions import DAYS
from pipelines.schema import TABLES
from pipelines.schema.graph import sources_of
from pipelines.settings import Home
from pipelines.store.file_store import AwayError, Claim, DisturbedError, WarehouseLockedError
from pipelines.store.warehouse import (
    CODE_VERSION,
    ByDay,
    Connection,
    DayWriter,
    Warehouse,
    require_days,
)
from solvers import InfeasibleError

warnings.filterwarnings(
    "ignore", message="Parameter `backfill_policy`", category=dg.BetaWarning
)  # beta in 1.13, which is pinned

POOL = "warehouse"
UNATTENDED = "earnings/unattended"  # tag of a run that nobody waits for
RETRIES, PAUSE = 5, 60  # of what may come right by itself, and seconds between
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
        own = day is None or day == self.day
        return write(self.con, day or self.day, self.policy.hash if own else None)


class PartitionedAsset(ABC):
    """A table of the pipeline as an asset: one partition a day, week or month, each made and
    committed by itself.

    What a kind of asset decides: which partitions there are, how one is made, and what of the
    warehouse nobody else may write meanwhile. What it is made from is in `schema/graph.py`.
    """

    def __init__(
        self,
        name: str,
        meaning: str | None,
        *,
        group: str,
        extra_tables: Sequence[str],
        moved: Callable[[Connection], Collection[date]] | None = None,
        afterwards: Callable[[Warehouse], object] | None,
    ) -> None:
        self.name = name
        self.meaning = meaning
        self.group = group
        self.tables = (name, *extra_tables)
        self.moved = moved
        self.afterwards = afterwards

    @property
    def required(self) -> tuple[str, ...]:
        """The tables without which it refuses to run."""
        return sources_of(self.name).needs

    @property
    @abstractmethod
    def partitions(self) -> dg.TimeWindowPartitionsDefinition:
        """The days, weeks or months there are."""

    @abstractmethod
    def claim(self, key: date) -> Claim:
        """What of the warehouse nobody else may write while the partition is made."""

    @abstractmethod
    def make_partition(
        self, con: Connection, house: Warehouse, policies: PolicyBook, key: date
    ) -> tuple[date, Metadata]:
        """Make the partition with a key; also says under which day its rows are kept."""

    @cached_property
    def definition(self) -> dg.AssetsDefinition:
        """What it is to Dagster."""

        @dg.asset(
            name=self.name,
            description=self.meaning,
            deps=edges_of(self.name),
            group_name=self.group,
            partitions_def=self.partitions,
            backfill_policy=dg.BackfillPolicy.single_run(),
            pool=POOL,
            code_version=CODE_VERSION,
            kinds={"duckdb"},
            metadata={
                "tables": ", ".join(self.tables),
                "dagster/column_schema": columns_of(self.name),
            },
        )
        def asset(context: dg.AssetExecutionContext, warehouse: WarehouseResource) -> None:
            with acting_as(context.run.tags.get(TAG)):
                self._run(context, warehouse.warehouse())

        return asset

    def _run(self, context: dg.AssetExecutionContext, house: Warehouse) -> None:
        done: dict[str, Metadata] = {}
        try:
            with house.by_day() as by_day:
                self._make_all(context, house, by_day, done)
            if self.afterwards:
                self.afterwards(house)
        except BaseException as error:
            # when the asset returns, Dagster marks its partitions itself
            for key, metadata in done.items():
                context.log_event(
                    dg.AssetMaterialization(self.name, partition=key, metadata=metadata)
                )
            may_come_right = isinstance(error, WarehouseLockedError | DisturbedError | AwayError)
            if may_come_right and UNATTENDED in context.run.tags:
                raise dg.RetryRequested(RETRIES, PAUSE) from error
            if isinstance(error, ExpectedError | InfeasibleError):
                # the run's page shows the message, not a stack
                raise dg.Failure(str(error), allow_retries=False) from error
            raise

    def _make_all(
        self,
        context: dg.AssetExecutionContext,
        house: Warehouse,
        by_day: ByDay,
        done: dict[str, Metadata],
    ) -> None:
        policies, keys = house.home.policies, context.partition_keys

        def stale() -> Iterator[str]:
            if self.moved and len(keys) > 1:
                days = by_day.work(self.claim(date.fromisoformat(keys[-1])), self.moved)
                yield from (key for key in keys if date.fromisoformat(key) in days)

        for n, key in enumerate(chain(keys, stale()), 1):
            began, first = time.monotonic(), date.fromisoformat(key)
            make = partial(self.make_partition, house=house, policies=policies, key=first)
            day, metadata = by_day.work(self.claim(first), make)
            done[key] = metadata
            progress = {
                "asset": self.name,
                "day": day,
                "n": n,
                "of": max(n, len(keys)),
                "seconds": time.monotonic() - began,
                "metadata": metadata,
            }
            PROGRESS.info("%s %s", self.name, day, extra=progress)
        for key, metadata in done.items():
            context.add_asset_metadata(metadata, partition_key=key)


class DailyAsset(PartitionedAsset):
    """A table of days, and the function that makes one of them.

    `in_order`: a day needs the one before, or adds to what all days share, so no two are ever made
    at once.
    """

    def __init__(
        self,
        function: Callable[[Day], Metadata],
        *,
        in_order: bool = False,
        **shared: Any,
    ) -> None:
        super().__init__(function.__name__, function.__doc__, **shared)
        self.function = function
        self.in_order = in_order

    @property
    def partitions(self) -> dg.TimeWindowPartitionsDefinition:
        return DAYS

    def claim(self, key: date) -> Claim:
        return Claim(key, self.name if self.in_order else None)

    def make_partition(
        self, con: Connection, house: Warehouse, policies: PolicyBook, key: date
    ) -> tuple[date, Metadata]:
        return key, self.make(Day(con, key, house, policies.in_force(key)))

    def make(self, run: Day) -> Metadata:
        """Make one day, refusing to go on from a table whose day was never written."""
        require_days(run.con, self.required, [run.day])
        return self.function(run)


def daily_asset(
    *,
    group: str,
    extra_tables: Sequence[str] = (),
    in_order: bool = False,
    moved: Callable[[Connection], Collection[date]] | None = None,
    afterwards: Callable[[Warehouse], object] | None = None,
) -> Callable[[Callable[[Day], Metadata]], DailyAsset]:
    """Make `function(day) -> metadata` a daily asset of the same name, with the one backfill policy
    all of them have.

    What it is made from is in `schema/graph.py`; tables that it `needs` must have been written for
    the day, or the asset refuses to run. `extra_tables`: what it writes besides. `in_order`: no two
    days of it are made at once. `moved`: days that a later one made stale; those of the run are
    made once more before anything is made from them. `afterwards` is called once, when all days of
    the run are committed and the warehouse is closed.
    """
    return partial(
        DailyAsset,
        group=group,
        extra_tables=extra_tables,
        in_order=in_order,
        moved=moved,
        afterwards=afterwards,
    )


def edges_of(table: str) -> list[dg.AssetDep]:
    """An asset's edges, as Dagster wants them."""
    made = sources_of(table)
    before = dg.TimeWindowPartitionMapping(start_offset=-1, end_offset=-1)
    return [
        *(dg.AssetDep(name) for name in (*made.needs, *made.looks_at)),
        *(dg.AssetDep(name, partition_mapping=before) for name in made.before),
    ]


def columns_of(table: str) -> dg.TableSchema:
    """The columns of a table as an asset's page lists them, with their meaning and units."""
    return dg.TableSchema(
        columns=[dg.TableColumn(c.name, c.type, c.meaning) for c in TABLES[table].columns]
    )


def window(day: date, days: int) -> list[date]:
    """The trailing window of `days` days that ends on `day`."""
    return [day - timedelta(days=n) for n in reversed(range(days))]
