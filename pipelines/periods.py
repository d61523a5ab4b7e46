"""Periods longer than a day: ISO weeks (Monday to Sunday) and calendar months, as plain dates;
their partitions are in `runs/partitions.py`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Literal

DAY = timedelta(days=1)


@dataclass(frozen=True)
class Span:
    """A length of period. A period is known by its first day to Dagster, and by its last day in the
    warehouse.
    """

    name: Literal["week", "month"]

    def first(self, day: date) -> date:
        """First day of the period that holds `day`.

        >>> WEEK.first(date(2026, 3, 5)), MONTH.first(date(2026, 3, 5))
        (datetime.date(2026, 3, 2), datetime.date(2026, 3, 1))
        """
        return day - timedelta(days=day.weekday()) if self.name == "week" else day.replace(day=1)

    def last(self, day: date) -> date:
        """Last day of the period that holds `day`.

        >>> WEEK.last(date(2026, 3, 5)), MONTH.last(date(2028, 2, 5))
        (datetime.date(2026, 3, 8), datetime.date(2028, 2, 29))
        """
        begin = self.first(day)
        return (
            begin + timedelta(days=6)
            if self.name == "week"
            else self.first(begin + timedelta(days=31)) - DAY
        )

    def within(self, first: date, last: date) -> list[date]:
        """First days of all periods that lie wholly between two days, both included.

        >>> [str(day) for day in WEEK.within(date(2026, 3, 1), date(2026, 3, 16))]
        ['2026-03-02', '2026-03-09']
        >>> MONTH.within(date(2026, 3, 2), date(2026, 4, 29))
        []
        """
        begin, found = first, []
        while (end := self.last(begin)) <= last:
            if self.first(begin) >= first:
                found.append(self.first(begin))
            begin = end + DAY
        return found


def runs_of_days(days: Iterable[date]) -> list[tuple[date, date]]:
    """First and last of each run of consecutive days, of days in order.

    >>> [(a.day, b.day) for a, b in runs_of_days(date(2026, 3, n) for n in (1, 2, 4))]
    [(1, 2), (4, 4)]
    """
    runs: list[tuple[date, date]] = []
    for day in days:
        if runs and day - runs[-1][1] == DAY:
            runs[-1] = (runs[-1][0], day)
        else:
            runs.append((day, day))
    return runs


def in_words(days: Iterable[date]) -> str:
    """Days in order, runs of them shortened.

    >>> in_words(date(2026, 3, n) for n in (1, 2, 4))
    '2026-03-01 to 2026-03-02, 2026-03-04'
    """
    return ", ".join(str(a) if a == b else f"{a} to {b}" for a, b in runs_of_days(days))


WEEK, MONTH = Span("week"), Span("month")
SPANS: dict[str, Span] = {span.name: span for span in (WEEK, MONTH)}
