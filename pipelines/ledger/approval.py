"""Two people: what closes or pays is done once a second one asks for exactly the same.

What belongs here: who asked for what, and whether somebody else did before. On where the settings
say `second_approver = true`.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Literal

from pipelines.actor import actor
from pipelines.store.warehouse import Connection, Warehouse


def asked_before(
    con: Connection, what: Literal["close", "pay"], day: date, digest: str
) -> str | None:
    """Who else asked for exactly this, the last of them; None if nobody did."""
    asked = con.execute(
        "SELECT actor FROM approvals WHERE what = ? AND day = ? AND digest = ? AND actor <> ?"
        " ORDER BY asked_at DESC LIMIT 1",
        [what, day, digest, actor()],
    ).fetchone()
    return asked[0] if asked else None


def ask(house: Warehouse, con: Connection, what: str, day: date, digest: str) -> None:
    """Keep that this person asked for it, in a transaction of its own."""
    with house.transaction(con, f"{what} {day}: asked for by {actor()}"):
        con.execute(
            "INSERT INTO approvals VALUES (?, ?, ?, ?, ?)",
            [day, what, digest, actor(), datetime.now(UTC).replace(tzinfo=None)],
        )
