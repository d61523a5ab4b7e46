"""The calendar: one partition a UTC day. The home's settings and landing folder say where it begins and ends."""

from __future__ import annotations

from datetime import datetime, timedelta

import dagster as dg

from pipelines.settings import Home


def daily_partitions(home: Home) -> dg.DailyPartitionsDefinition:
    """One partition a day from the first to the last day of the home's calendar; open-ended where the settings say so."""
    first, last = home.calendar()
    start = datetime.combine(first, datetime.min.time())
    if home.settings.last_day == "open":
        return dg.DailyPartitionsDefinition(start_date=start)
    return dg.DailyPartitionsDefinition(start_date=start, end_date=datetime.combine(last, datetime.min.time()) + timedelta(days=1))


DAYS = daily_partitions(Home.here())
