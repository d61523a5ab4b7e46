"""Where creators' money is: earned = owed + to be paid + held + reserved + with the bank + paid +
returned, of everybody together and of each creator.

What belongs here: reading the ledger's accounts. Nothing is written.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import date, timedelta
from typing import Any

from pipelines.schema.invariants import STATED
from pipelines.sql import query
from pipelines.store.warehouse import Connection

PLACES = {
    "owed": "not stated yet: open days and what is left of a cent; below 0: paid too much",
    "statement": "to be paid: below the minimum, without a payee, or in the next run",
    "hold": "held until a day",
    "reserve": "kept back from payments until a day",
    "clearing": "with the bank, which has not answered",
    "paid": "paid",
    "returned": "came back; goes out again to a corrected account",
}


@dataclass(frozen=True)
class CreatorMoney:
    """Where the money of one creator is (micros)."""

    creator_id: str
    earned: int
    owed: int
    statement: int
    hold: int
    reserve: int
    clearing: int
    paid: int
    returned: int

    @property
    def places(self) -> dict[str, int]:
        return {name: getattr(self, name) for name in PLACES}

    @property
    def adds_up(self) -> bool:
        return self.earned == sum(self.places.values())


@dataclass(frozen=True)
class Waiting:
    """A payment that the bank did not answer in time."""

    payment_id: str
    owner: str
    amount_cents: int
    requested_on: date


@dataclass(frozen=True)
class MoneyState:
    """Where all money is (micros), and payments that wait for the bank for too long."""

    earned: int
    places: dict[str, int]
    waiting: tuple[Waiting, ...]
    astray: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def creators_money(con: Connection, creator_id: str | None = None) -> list[CreatorMoney]:
    """Where the money of every creator, or of one, is."""
    only = "" if creator_id is None else "WHERE creator_id = $creator"
    rows = con.execute(
        f"SELECT * FROM ({query('payouts/money')}) {only} ORDER BY creator_id",
        {} if creator_id is None else {"creator": creator_id},
    ).fetchall()
    return [CreatorMoney(*row) for row in rows]


def money_state(con: Connection, *, on: date, clearing_days: int) -> MoneyState:
    """Where all money is, as of a day.

    `astray` names creators whose money is not where it should be: never, unless somebody wrote to
    the ledger behind its back.
    """
    totals = con.execute(
        f"SELECT {', '.join(f'coalesce(sum({n}), 0)::BIGINT' for n in ('earned', *PLACES))}"
        f" FROM ({query('payouts/money')})"
    ).fetchall()[0]
    waiting = con.execute(
        """SELECT payment_id, owner, amount_cents, requested_on FROM payments
           WHERE requested_on < ? AND 'payment:' || payment_id IN (
             SELECT part FROM ledger_entries WHERE starts_with(account, 'clearing:')
             GROUP BY part HAVING sum(amount_micros) <> 0)
           ORDER BY requested_on, payment_id""",
        [on - timedelta(days=clearing_days)],
    ).fetchall()
    astray = con.execute(
        f"""SELECT creator_id FROM ({query("payouts/money")})
            WHERE earned <> {" + ".join(("owed", *STATED))} ORDER BY creator_id LIMIT 20"""
    ).fetchall()
    return MoneyState(
        totals[0],
        dict(zip(PLACES, totals[1:], strict=True)),
        tuple(Waiting(*row) for row in waiting),
        tuple(row[0] for row in astray),
    )
