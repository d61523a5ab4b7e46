"""What became of a creator's stated money: every transfer, and what waits, with why and until when.

What belongs here: reading the ledger's accounts and the payments of one creator as they are now.
What was stated is in `statement.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from pipelines.store.warehouse import Connection

_WAITS = {
    "statement": "to be paid with the next run that reaches the minimum",
    "hold": "held",
    "reserve": "kept back",
    "returned": "came back; a corrected account is needed",
}


@dataclass(frozen=True)
class Transfer:
    """This creator's part of one payment (micros): asked for on a day; what the bank said and
    when.
    """

    payment_id: str
    requested_on: date
    state: str
    happened_on: date | None
    reason: str
    micros: int

    @property
    def words(self) -> str:
        """One line for the creator."""
        if self.state == "sent":
            return f"sent on {self.requested_on}, the bank has not answered ({self.payment_id})"
        why = f": {self.reason}" if self.reason else ""
        done = "paid" if self.state == "paid" else "came back"
        return f"{done} on {self.happened_on} ({self.payment_id}){why}"


@dataclass(frozen=True)
class Waiting:
    """Stated money that is in no transfer (micros): why, and until when where that is known."""

    why: str
    until: date | None
    micros: int

    @property
    def words(self) -> str:
        """One line for the creator."""
        return f"{self.why} until {self.until}" if self.until else self.why


TRANSFER = """p.payment_id, p.requested_on, coalesce(outcome, 'sent'), happened_on,
    coalesce(s.reason, ''), sum(amount_micros)::BIGINT"""
"""Columns of a `Transfer`, and where they are from: what went out, with what was answered last."""
PAYMENTS = """ledger_entries AS e JOIN payments AS p
      ON e.txn_id = p.txn_id AND e.part = 'payment:' || p.payment_id
    LEFT JOIN (SELECT payment_id, arg_max(outcome, seq) AS outcome,
                      arg_max(s.happened_on, seq) AS happened_on,
                      arg_max(s.reason, seq) AS reason
               FROM settlements AS s JOIN ledger_transactions USING (txn_id)
               GROUP BY payment_id) AS s ON s.payment_id = p.payment_id"""


def transfers(con: Connection, creator_id: str) -> tuple[Transfer, ...]:
    """Every payment that the creator had a part in, oldest first."""
    rows = con.execute(
        f"""SELECT {TRANSFER} FROM {PAYMENTS}
            WHERE e.account = 'clearing:' || ? GROUP BY ALL
            ORDER BY p.requested_on, p.payment_id""",
        [creator_id],
    ).fetchall()
    return tuple(Transfer(*row) for row in rows)


def waiting(con: Connection, creator_id: str) -> tuple[Waiting, ...]:
    """What is in no transfer, by why and until when."""
    rows = con.execute(
        """WITH held AS (
             SELECT split_part(account, ':', 1) AS kind,
                    CASE WHEN starts_with(account, 'reserve:') THEN part[9:]::DATE END AS until,
                    sum(amount_micros)::BIGINT AS micros
             FROM ledger_entries
             WHERE account IN ('statement:' || $creator, 'hold:' || $creator,
                               'reserve:' || $creator, 'returned:' || $creator)
             GROUP BY ALL HAVING micros <> 0),
           identity AS (
             SELECT arg_max(identity_id, day) AS id FROM creators WHERE creator_id = $creator),
           payee AS (
             SELECT hold_until FROM payees
             WHERE owner IN ('creator:' || $creator, 'identity:' || (SELECT id FROM identity))
             QUALIFY row_number() OVER (ORDER BY owner, day DESC) = 1)
           SELECT kind, coalesce(until, CASE WHEN kind = 'hold' THEN (FROM payee) END), micros
           FROM held ORDER BY kind, until""",
        {"creator": creator_id},
    ).fetchall()
    return tuple(Waiting(_WAITS[kind], until, micros) for kind, until, micros in rows)
