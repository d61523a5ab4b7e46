"""The calendar: one partition a UTC day, one a week, one a month. The home's settings and landing
folder say where it begins and ends.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta

import dagster as dg

from pipelines.periods import DAY, MONTH, WEEK, Span
from pipelines.settings import Home


def daily_partitions(home: Home) -> dg.DailyPartitionsDefinition:
    """One partition a day from the first to the last day of the home's calendar; open-ended where
    the settings say so.
    """
    first, last = home.calendar()
    start = _midnight(first)
    if home.settings.last_day == "open":
        return dg.DailyPartitionsDefinition(start_date=start)
    return dg.DailyPartitionsDefinition(
        start_date=start, end_date=_midnight(last) + timedelta(days=1)
    )


def span_partitions(home: Home, span: Span) -> dg.TimeWindowPartitionsDefinition:
    """One partition a week or month that the calendar holds wholly; its key is the first day of it.

    A period that the calendar cuts off at an end is not offered: it would look like a week or month
    with less in it.
    """
    first, last = home.calendar()
    start = span.first(first) if span.first(first) == first else span.last(first) + DAY
    # Dagster offers a period that is not over if the end lies before the end of the first one, so
    # the end is put on a border.
    over = [span.last(begin) + DAY for begin in span.within(first, last)]
    end = None if home.settings.last_day == "open" else _midnight(over[-1] if over else start)
    if span == WEEK:
        return dg.WeeklyPartitionsDefinition(
            start_date=_midnight(start), end_date=end, day_offset=1
        )
    return dg.MonthlyPartitionsDefinition(start_date=_midnight(start), end_date=end)


def _midnight(day: date) -> datetime:
    return datetime.combine(day, datetime.min.time())


DAYS = daily_partitions(Home.here())
PARTITIONS: dict[str, dg.TimeWindowPartitionsDefinition] = {
    "day": DAYS,
    **{span.name: span_partitions(Home.here(), span) for span in (WEEK, MONTH)},
}
