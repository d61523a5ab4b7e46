"""What creators earned, as data frames: for notebooks and reports. Reads only.

    import creator_earnings

    platform = creator_earnings.open("my_platform")
    platform.table("creator_earnings", first="2026-03-01", last="2026-03-07")
    platform.query("SELECT day, sum(total_micros) AS micros FROM creator_earnings GROUP BY day")

It reads what readers see (`earnings query` does too): no run is disturbed. Amounts are whole
micros, millionths of the currency unit, in columns of type `Int64`. What every table and column
means is in docs/data.md, and in `platform.columns(table)`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from difflib import get_close_matches
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.errors import ExpectedError
from pipelines.schema import TABLES
from pipelines.settings import Home
from pipelines.store.results import as_frame
from pipelines.store.warehouse import Past, Warehouse

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Platform", "UnknownTableError", "open", "study"]


class UnknownTableError(ExpectedError, LookupError):
    """No table has that name: says the nearest, or all."""


@dataclass(frozen=True)
class Platform:
    """One home, as it is now, or as it was (a lake keeps that)."""

    home: Home
    past: Past | None = None

    def tables(self) -> pd.DataFrame:
        """Every table, with its kind, its meaning, and the columns that identify a row of a day."""
        import pandas as pd

        rows = [(t.name, t.kind, t.meaning, ", ".join(t.key)) for t in TABLES.values()]
        return pd.DataFrame(rows, columns=["table", "kind", "meaning", "key"])

    def columns(self, table: str) -> pd.DataFrame:
        """The columns of a table, with type, meaning and unit."""
        import pandas as pd

        columns = TABLES[_known(table)].columns
        rows = [(c.name, c.type, c.meaning) for c in columns]
        return pd.DataFrame(rows, columns=["column", "type", "meaning"])

    def table(
        self, name: str, *, first: date | str | None = None, last: date | str | None = None
    ) -> pd.DataFrame:
        """A table, or some days of it, in the order of day and key.

        Parameters
        ----------
        first, last
            First and last day, both included; a date or `2026-03-01`.

        Raises
        ------
        UnknownTableError
            There is no such table.
        WarehouseError
            Nothing was published yet.
        """
        known = TABLES[_known(name)]
        order = list(known.key)
        where = ""
        if any(column.name == "day" for column in known.columns):
            order = ["day", *(column for column in order if column != "day")]
            where = "WHERE day >= coalesce($first, day) AND day <= coalesce($last, day)"
        elif first or last:
            raise UnknownTableError(f"{name} has no days to choose from")
        days = {"first": _day(first), "last": _day(last)} if where else None
        return self.query(f"SELECT * FROM {known.name} {where} ORDER BY {', '.join(order)}", days)

    def query(
        self, sql: str, parameters: Mapping[str, Any] | Sequence[Any] | None = None
    ) -> pd.DataFrame:
        """What any SQL on the published tables finds; `$name` or `?` for parameters."""
        with Warehouse(self.home).read(self.past) as con:
            return as_frame(con.execute(sql, parameters))


def open(
    home: str | PathLike[str] | None = None,
    *,
    as_of: datetime | None = None,
    as_issued: date | str | None = None,
) -> Platform:
    """The platform in a folder.

    Parameters
    ----------
    home
        Its folder. Default: what `EARNINGS_HOME` says, else the default home.
    as_of, as_issued
        As it was at a time (UTC), or when the statement that closes this day was issued: one of
        them, and of a lake only.
    """
    if as_of and as_issued:
        raise ValueError("as_of or as_issued, not both")
    past = Past(at=as_of, issued=_day(as_issued)) if as_of or as_issued else None
    return Platform(Home.at(Path(home)) if home is not None else Home.here(), past)


def study(folder: str | PathLike[str]) -> dict[str, pd.DataFrame]:
    """The tables that a study of `earnings lab` left in its folder, by name."""
    from pipelines.lab.report import read_tables

    return read_tables(folder)


def _known(table: str) -> str:
    if table in TABLES:
        return table
    near = get_close_matches(table, TABLES, n=3)
    raise UnknownTableError(
        f"no table is called {table}; {'did you mean' if near else 'there is'}"
        f" {', '.join(near or TABLES)}"
    )


def _day(day: date | str | None) -> date | None:
    return date.fromisoformat(day) if isinstance(day, str) else day
