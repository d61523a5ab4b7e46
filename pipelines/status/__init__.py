"""What is there, missing or stale: `days` tells it of days, weeks and months, `reach` finds which
were made from something that is not like that any more. Reads only.
"""

from pipelines.status.days import (
    DayStatus,
    PeriodStatus,
    State,
    day_statuses,
    days_of,
    is_closed,
    overview,
    period_statuses,
    quarantine,
    ready_periods,
    warnings_and_carried,
    what_accounts_move,
)

__all__ = [
    "DayStatus",
    "PeriodStatus",
    "State",
    "day_statuses",
    "days_of",
    "is_closed",
    "overview",
    "period_statuses",
    "quarantine",
    "ready_periods",
    "warnings_and_carried",
    "what_accounts_move",
]
