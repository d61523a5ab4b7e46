"""The plan of a run: which days, weeks and months are made, and in which order.

What belongs here: the order. Doing a step is in `running.py`; what a week or month still waits for
is in `status/`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date

from pipelines.errors import ExpectedError
from pipelines.market.floor import in_turn
from pipelines.periods import DAY, SPANS, Span
from pipelines.schema import TABLES
from pipelines.schema.graph import periodic
from pipelines.settings import Home
from pipelines.status import ready_periods

Range = tuple[date, date]


class PlanError(ExpectedError, LookupError):
    """Nothing of what was asked for can be made: says why."""


@dataclass(frozen=True)
class Step:
    """One run of Dagster's: consecutive days, or weeks or months by the first day of the first and
    of the last. `assets`: only these; all of them when empty.
    """

    first: date
    last: date
    span: Span | None = None
    assets: tuple[str, ...] = ()

    @property
    def end(self) -> date:
        """Its last day."""
        return self.span.last(self.last) if self.span else self.last


def steps(home: Home, ranges: Sequence[Range], assets: Sequence[str] = ()) -> Iterator[Step]:
    """What a run of some ranges of days does in turn.

    Do a step before asking for the next one, and ask for none after one that failed: which weeks
    and months come next depends on what has been made.

    Where a policy is in shadow, the days before a version of the paying policy begins are made to
    the end first: what the shadow moved on them decides whether it may pay.

    Without names, weeks and months follow the days that they end with, as soon as all their days
    are made; and a week whose market pays the next day is made before the run goes on. Assets asked
    for by name are made as asked: all days, then weeks, then months; the asset itself says what is
    missing.

    Raises
    ------
    PlanError
        An asset of weeks or months is asked for, and none of them ends in the ranges.
    """
    if assets:
        yield from _by_name(home, ranges, assets)
        return
    policies = home.policies
    for piece in (
        piece
        for each in ranges
        for part in _by_version(home, *each)
        for piece in in_turn(policies, *part)
    ):
        yield Step(*piece)
        for span in SPANS.values():
            if any(TABLES[name].span == span.name for name in periodic()):
                for begin, end in ready_periods(home, span, *piece):
                    yield Step(begin, end, span)


def _by_version(home: Home, first: date, last: date) -> Iterator[Range]:
    """The range, cut where a version of the policy begins if one is in shadow."""
    begins = [v.effective_from for v in home.policies.versions if first < v.effective_from <= last]
    for begin in begins if home.settings.shadow.policy else ():
        yield first, begin - DAY
        first = begin
    yield first, last


def _by_name(home: Home, ranges: Sequence[Range], assets: Sequence[str]) -> Iterator[Step]:
    daily = tuple(name for name in assets if name not in periodic())
    if daily:
        for first, last in ranges:
            yield Step(first, last, assets=daily)
    for span in SPANS.values():
        names = tuple(n for n in assets if n in periodic() and TABLES[n].span == span.name)
        for first, last in ranges if names else ():
            begins = [
                begin
                for begin in span.within(*home.calendar())
                if first <= span.last(begin) <= last
            ]
            if not begins:
                raise PlanError(
                    f"no whole {span.name} of the calendar ends from {first} to {last}, so there is"
                    f" no {names[0]}"
                )
            yield Step(begins[0], begins[-1], span, names)
