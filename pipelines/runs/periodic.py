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
from functools import partial
from typing import Any

import dagster as dg

from pipelines.periods import Span, in_words
from pipelines.policy import PolicyBook
from pipelines.runs.daily import Day, Metadata, PartitionedAsset
from pipelines.runs.partitions import PARTITIONS
from pipelines.store.file_store import EVERYTHING, Claim
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


class PeriodicAsset(PartitionedAsset):
    """A table of weeks or months, and the function that makes one of them."""

    def __init__(
        self, function: Callable[[Period], Metadata], *, span: Span, **shared: Any
    ) -> None:
        super().__init__(function.__name__, function.__doc__, **shared)
        self.function = function
        self.span = span

    @property
    def partitions(self) -> dg.TimeWindowPartitionsDefinition:
        return PARTITIONS[self.span.name]

    def claim(self, key: date) -> Claim:
        return EVERYTHING

    def make_partition(
        self, con: Connection, house: Warehouse, policies: PolicyBook, key: date
    ) -> tuple[date, Metadata]:
        last = self.span.last(key)
        return last, self.make(Period(con, last, house, policies.in_force(last), first=key))

    def make(self, run: Period) -> Metadata:
        """Make one period, refusing if a landed day of it was not made, or if none has landed."""
        if not run.days:
            raise MissingDayError(
                f"{self.name} of {run.first} to {run.day}: no day of it has landed, so there is"
                " nothing to make it from"
            )
        begin = run.home.landed()[0]
        if missing := [d for d in run.home.missing() if run.first <= d <= run.day and d > begin]:
            raise MissingDayError(
                f"{self.name} of {run.first} to {run.day} needs every day of that"
                f" {self.span.name}, and no table has files for {in_words(missing)}: deliver them,"
                " if only with header lines (docs/data.md)"
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
    - what it is made from in `schema/graph.py`, and its name in `assets.PERIODIC`.

    Of the daily tables that it `needs`, every landed day of the period must have been written;
    Dagster maps the period to its days. `afterwards` is called once, when all periods of the run
    are committed and the warehouse is closed.
    """
    return partial(
        PeriodicAsset,
        span=period,
        group=group,
        extra_tables=extra_tables,
        afterwards=afterwards,
    )
