"""Making a week's donation market anew, on purpose: the only way to change one that days were paid
by. All of them stay on record.

Days that were paid by it are then stale: open ones are run again, closed ones go through `earnings
restate`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any

from pipelines.errors import ExpectedError
from pipelines.ledger.entries import note_decision
from pipelines.market.assets import donation_market
from pipelines.market.floor import used_on
from pipelines.periods import WEEK
from pipelines.runs.periodic import Period
from pipelines.settings import Home
from pipelines.store.warehouse import Connection, Warehouse, closed_through, is_written


class RemarketError(ExpectedError, RuntimeError):
    """A market that cannot be made anew: says which, and why."""


@dataclass(frozen=True)
class Remarketed:
    """The floor that a week's market asks for, before and after, and the days that were paid
    by it.
    """

    week: date
    before: float | None
    after: float | None
    changed: bool
    open_days: tuple[date, ...]
    closed_days: tuple[date, ...]

    def as_dict(self) -> dict[str, Any]:
        return {
            **asdict(self),
            "week": str(self.week),
            **{
                name: [str(day) for day in getattr(self, name)]
                for name in ("open_days", "closed_days")
            },
        }


Made = tuple[str, date, Mapping[str, Any]]


def remarket(home: Home, day: date, *, reason: str) -> tuple[Remarketed, Made]:
    """Study the week that holds `day` again, from what its days are now.

    Returns
    -------
    what became of its floor, and what Dagster should be told was made

    Raises
    ------
    RemarketError
        The week was never studied.
    MissingDayError
        A landed day of it is not in the warehouse.
    """
    house, first, last = Warehouse(home), WEEK.first(day), WEEK.last(day)
    with house.open() as con:
        if not is_written(con, "donation_market", last):
            raise RemarketError(
                f"the week {first} to {last} has no donation market yet: earnings run --asset"
                f" donation_market --from {first} --to {last}"
            )
        was = _floor(con, last)
        with house.transaction(con, f"made anew: {reason}"):
            made = donation_market.make(
                Period(con, last, house, home.policies.in_force(last), reason, first=first)
            )
            note_decision(con, last, f"market of {first} to {last} made anew: {reason}")
        closed, days = closed_through(con), used_on(con, last)
        done = Remarketed(
            last,
            was,
            _floor(con, last),
            bool(made["changed"]),
            tuple(day for day in days if closed is None or day > closed),
            tuple(day for day in days if closed is not None and day <= closed),
        )
    house.publish()
    return done, ("donation_market", first, made)


def _floor(con: Connection, week: date) -> float | None:
    row = con.execute("SELECT revenue_floor FROM donation_market WHERE day = ?", [week]).fetchone()
    return row[0] if row else None
