"""Assets of a period longer than a day: one partition an ISO week or a calendar month. They run,
commit and are marked as days are.

A partition's key is the first day of the period; its rows are kept under the last one, the day from
which on they can be known. A period is made only when every landed day of it has been made, and
only whole periods of the calendar are offered.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date

import dagster as dg

from pipelines.periods import Span
from pipelines.policy import PolicyBook
from pipelines.runs.daily import Day, Metadata, partitioned_asset, plain_names
from pipelines.runs.partitions import PARTITIONS
from pipelines.store.file_store import EVERYTHING
from pipelines.store.warehouse import Connection, MissingDayError, Warehouse, unwritten


@dataclass(frozen=True, kw_only=True)
class Period(Day):
    """One week or month of one asset. `day` is its last day: rows carry it, `write()` replaces it,
    and `policy` is in force on it.
    """

    first: date

    @property
    def days(self) -> list[date]:
        """Its days that have landed, in order."""
        return [day for day in self.home.landed() if self.first <= day <= self.day]


@dataclass(frozen=True)
class PeriodicAsset:
    """A table of weeks or months: the function that makes one of them, and the daily tables all of
    its days need.
    """

    name: str
    span: Span
    function: Callable[[Period], Metadata]
    required: tuple[str, ...]
    definition: dg.AssetsDefinition

    def make(self, run: Period) -> Metadata:
        """Make one period, refusing if a landed day of it was not made, or if none has landed."""
        if not run.days:
            raise MissingDayError(
                f"{self.name} of {run.first} to {run.day}: no day of it has landed, so there is"
                " nothing to make it from"
            )
        for day, table in unwritten(run.con, self.required, run.days):
            raise MissingDayError(
                f"{self.name} of {run.first} to {run.day} needs every landed day of that"
                f" {self.span.name}, and {table} of {day} is not in the warehouse. Make the days"
                f" first: earnings run --from {day} --to {run.days[-1]}"
            )
        return self.function(run)


def periodic_asset(
    *,
    period: Span,
    group: str,
    deps: Sequence[str],
    other_deps: Sequence[dg.AssetDep] = (),
    extra_tables: Sequence[str] = (),
    afterwards: Callable[[Warehouse], object] | None = None,
) -> Callable[[Callable[[Period], Metadata]], PeriodicAsset]:
    """Make `function(period) -> metadata` an asset of weeks or months (`pipelines.periods.WEEK`,
    `MONTH`) of the same name.

    What it takes to add one:

    - a table in `schema.py` with `span="week"` or `"month"`, named like the asset, whose rows have
      `day` = `run.day`, the last day of the period; further tables it writes go into
      `extra_tables`. Kind `advice` if no amount was ever paid by it: then it may be written and
      changed after its days were closed. Any other kind is money, and `run.write()` refuses to
      change a closed day of it;
    - the function: read `run.con` between `run.first` and `run.day` (or the days in `run.days`),
      call one function of `solvers`, `with run.write() as writer: writer.replace(table, rows)`,
      return metadata. Invariants of its tables get `$day` = `run.day`;
    - its name in `definitions.PERIODIC`, and its edges in `status.PERIODIC`, so that `earnings run`
      and `earnings status` know it.

    `deps` are names of daily tables: every landed day of the period must have been written, and
    Dagster maps the period to its days. `other_deps` are edges to assets of the same span (e.g. to
    its own period before); the asset itself judges what it needs of those. `afterwards` is called
    once, when all periods of the run are committed and the warehouse is closed.
    """

    def decorate(function: Callable[[Period], Metadata]) -> PeriodicAsset:
        def make(
            con: Connection, key: date, house: Warehouse, policies: PolicyBook
        ) -> tuple[date, Metadata]:
            last = period.last(key)
            return last, made.make(Period(con, last, house, policies.in_force(last), first=key))

        definition = partitioned_asset(
            function,
            make,
            lambda _: EVERYTHING,
            group=group,
            deps=[*deps, *other_deps],
            extra_tables=extra_tables,
            partitions=PARTITIONS[period.name],
            afterwards=afterwards,
        )
        made = PeriodicAsset(function.__name__, period, function, plain_names(deps), definition)
        return made

    return decorate
