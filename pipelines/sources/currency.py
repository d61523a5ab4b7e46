"""One home, one currency: files of money that say another are refused.

What belongs here: reading the column `currency` of a file, where it has one. Amounts have none.
"""

from __future__ import annotations

from datetime import date

from pipelines.schema import Table
from pipelines.settings import Home
from pipelines.sources.errors import SourceError
from pipelines.sources.landing import landing_files
from pipelines.sources.records import Delivery, normal, scanning
from pipelines.store.warehouse import Connection

COLUMN = "currency"


def refuse_other_currency(con: Connection, home: Home, table: Table, day: date) -> None:
    """Raise SourceError if a file of the day says another currency than the home's settings, or
    one where the settings say none. A file without the column is in the home's.
    """
    for path in landing_files(home.landing, table.name, day):
        with scanning(con, table, Delivery.of(path, home.landing)) as scan:
            places = [place for name, place in scan.columns.items() if normal(name) == COLUMN]
            if not places:
                continue
            value = f"upper(trim({places[0][1]}::VARCHAR))"
            found = con.execute(
                f"""SELECT DISTINCT {value} FROM {scan.relation}
                    WHERE coalesce({value}, '') NOT IN ('', coalesce($currency, '')) ORDER BY 1""",
                {"currency": home.settings.currency},
            ).fetchall()
        if found:
            named = ", ".join(str(row[0]) for row in found[:3])
            ours = home.settings.currency
            raise SourceError(
                f"{path}: amounts in {named}; this home is in {ours}. One home has one currency:"
                " deliver these to a home of their own."
                if ours
                else f"{path}: amounts in {named}, and {home.root / 'settings.toml'} does not say"
                f' which currency this home is in. Say it, e.g. currency = "{named[:3]}"'
            )
