"""A payout run: of what was stated through a closed day, instructions for every payee at or above
the minimum; holds, reserves and the rest on accounts of their own.

What belongs here: the conditions, and the one transaction of a run. Who gets what is decided in
`plan.sql`, how it is booked in `moves.sql`; the bank's file is in `bank_file.py`, what the bank
answers in `settlement.py`.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb

from pipelines.actor import actor
from pipelines.errors import ExpectedError
from pipelines.ledger.approval import ask, asked_before
from pipelines.ledger.entries import Book, Entries, next_number, rows_hash
from pipelines.ledger.verification import PAYMENT_ROWS, verify
from pipelines.ledger.witness import tell_witness
from pipelines.payouts.bank_file import write_files
from pipelines.schema import PAYEES
from pipelines.schema.invariants import enforce
from pipelines.settings import Home
from pipelines.sources.landing import landing_files, load_day
from pipelines.sources.records import Delivery
from pipelines.sql import query
from pipelines.store.warehouse import CODE_VERSION, Connection, Warehouse, closed_through

_REASONS = {
    "no payee": "no row in payees",
    "other currency": "the payee's account is in another currency",
    "held": "held until a day",
    "returned": "the last payment came back: the payee's account must be corrected",
    "debt": "was paid too much before, which comes off first",
    "below minimum": "below the minimum",
    "nothing": "nothing to pay",
}


class PayoutError(ExpectedError, RuntimeError):
    """A payout run that cannot be made: says why, and what helps."""


@dataclass(frozen=True)
class Overrides:
    """What a person decides against the rule, for which payees, and why. It stands in the
    ledger.
    """

    release_hold: tuple[str, ...] = ()
    below_minimum: tuple[str, ...] = ()
    pay_again: tuple[str, ...] = ()
    reason: str = ""

    @property
    def any(self) -> bool:
        return bool(self.release_hold or self.below_minimum or self.pay_again)

    def in_words(self) -> str:
        words = (
            ("hold released", self.release_hold),
            ("paid below the minimum", self.below_minimum),
            ("paid again after a return", self.pay_again),
        )
        return "; ".join(f"{what}: {', '.join(sorted(who))}" for what, who in words if who)


@dataclass(frozen=True)
class Payment:
    """One instruction."""

    payment_id: str
    owner: str
    name: str
    method: str
    account: str
    amount_cents: int


@dataclass(frozen=True)
class Left:
    """A creator who is not paid everything by this run (cents): why, and until when."""

    creator_id: str
    owner: str | None
    state: str
    why: str
    cents: int
    hold_until: date | None


@dataclass(frozen=True)
class PayoutRun:
    """What a run pays, and what it does not. `digest` is equal for runs that do the same."""

    through: date
    on: date
    currency: str
    txn_id: str | None
    payments: tuple[Payment, ...]
    left: tuple[Left, ...]
    reserved_cents: int
    digest: str
    applied: bool
    files: tuple[str, ...] = ()
    waits_for_approval: bool = False

    @property
    def paid_cents(self) -> int:
        return sum(p.amount_cents for p in self.payments)

    def by_state(self) -> dict[str, tuple[int, int]]:
        """Creators and cents that are left, by why."""
        creators = Counter(left.state for left in self.left)
        amounts = Counter[str]()
        for left in self.left:
            amounts[left.state] += left.cents
        return {state: (creators[state], amounts[state]) for state in creators}

    def as_dict(self) -> dict[str, Any]:
        return {
            **asdict(self),
            "paid_cents": self.paid_cents,
            "left": [{**asdict(item)} for item in self.left],
        }


def pay(
    home: Home,
    through: date,
    *,
    on: date | None = None,
    overrides: Overrides | None = None,
    expected: str | None = None,
    folder: Path | None = None,
) -> PayoutRun:
    """Pay what was stated through a closed day: instructions, ledger entries and the bank's files.

    One transaction. Doing it again pays nothing again, since the money is then in another account;
    it writes the day's files anew, with the same bytes.

    Parameters
    ----------
    on
        Day on which the bank is asked to pay; holds and reserves are judged by it. Default: today
        (UTC).
    expected
        None: only show what would be done. The `digest` of what was shown: do that; where the
        settings want two people, once somebody else asked for the same.
    folder
        Where the files go. Default: `payments/` of the home.

    Raises
    ------
    PayoutError
        The day is not closed, the home has no currency, the ledger does not verify, an override
        lacks its reason or names nobody; or the run would not do what `expected` says.
    """
    on, chosen = on or datetime.now(UTC).date(), overrides or Overrides()
    currency = home.settings.currency
    if not currency:
        raise PayoutError(
            f"{home.root / 'settings.toml'}: no currency. Say which one all amounts are in, e.g."
            ' currency = "EUR"'
        )
    if chosen.any and not chosen.reason.strip():
        raise PayoutError("an override needs a reason: it stands in the ledger")
    house = Warehouse(home)
    with house.open() as con:
        _refuse_open(con, through)
        if expected is not None and (findings := verify(con).findings):
            raise PayoutError(
                f"the ledger does not verify: {findings[0]}. See all of it: earnings ledger verify"
            )
        con.begin()
        try:
            load_payees(con, house, on)
            run, anything = _plan(con, home, currency, through, on, chosen)
            if expected is not None and run.digest != expected:
                raise PayoutError(
                    "payees or the ledger changed since the payments were shown; nothing was"
                    " written. Look again, then pay."
                )
            first = asked_before(con, "pay", through, run.digest)
            alone = home.settings.second_approver and anything and first is None
            if expected is None or alone:
                con.rollback()
            else:
                run = _book(
                    con, home, run, chosen, first if home.settings.second_approver else None
                )
                house.store.before_commit(con, f"payments through {through}", None)
                con.commit()
        except BaseException:
            with suppress(duckdb.Error):  # none is open any more: the commit itself failed
                con.rollback()
            raise
        if expected is not None and alone:
            ask(house, con, "pay", through, run.digest)
            return replace(run, waits_for_approval=True)
        if run.applied:
            written = write_files(con, home, through, folder or home.root / "payments")
            run = replace(run, files=tuple(str(path) for path in written))
    if run.applied:
        house.publish()
        tell_witness(house)
    return run


def load_payees(con: Connection, house: Warehouse, on: date) -> None:
    """Load every delivery of payees up to a day that is not in the warehouse as it is now.

    Their days may be closed: no amount that is owed follows from them.
    """
    landing = house.home.landing
    loaded: dict[date, dict[str, str]] = {}
    for day, file, digest in con.execute(
        "SELECT day, file, sha256 FROM landing_files WHERE table_name = ?", [PAYEES.name]
    ).fetchall():
        loaded.setdefault(day, {})[file] = digest
    for day in sorted({*loaded, *house.home.landing_days(PAYEES.name)}):
        if day > on:
            continue
        found = [Delivery.of(p, landing) for p in landing_files(landing, PAYEES.name, day)]
        if {d.name: d.sha256 for d in found} != loaded.get(day, {}):
            with house.rewrite_day(con, day) as writer:
                load_day(writer, landing, PAYEES)


def _refuse_open(con: Connection, through: date) -> None:
    closings = [
        row[0]
        for row in con.execute(
            "SELECT day FROM ledger_transactions WHERE kind = 'statement' ORDER BY day"
        ).fetchall()
    ]
    if through not in closings:
        there = f"the last one is {closings[-1]}" if closings else "nothing is closed yet"
        raise PayoutError(
            f"{through} is not the last day of a closing, and only closed money is paid; {there}."
            f" Close it first: earnings close --through {through}"
        )


def _plan(
    con: Connection, home: Home, currency: str, through: date, on: date, chosen: Overrides
) -> tuple[PayoutRun, bool]:
    """The run, and whether it moves anything."""
    con.execute(
        f"CREATE OR REPLACE TEMP TABLE plan AS {query('payouts/plan')}",
        {
            "through": through,
            "on": on,
            "currency": currency,
            "minimum_cents": home.settings.payouts.minimum_cents,
            "released": list(chosen.release_hold),
            "waived": list(chosen.below_minimum),
            "retried": list(chosen.pay_again),
        },
    )
    con.execute(f"CREATE OR REPLACE TEMP TABLE moved AS {query('payouts/moves')}", {"on": on})
    _refuse_nobody(con, chosen)
    con.execute(
        """CREATE OR REPLACE TEMP TABLE instructed AS
           SELECT payment_id, $through::DATE AS day, '' AS txn_id, owner, any_value(name) AS name,
                  any_value(method) AS method, any_value(account) AS account,
                  any_value(bank) AS bank, any_value(country) AS country,
                  any_value(currency) AS currency, CAST(sum(cents) AS BIGINT) AS amount_cents,
                  $on::DATE AS requested_on
           FROM plan WHERE payment_id IS NOT NULL GROUP BY payment_id, owner ORDER BY payment_id""",
        {"through": through, "on": on},
    )
    payments = tuple(
        Payment(*row)
        for row in con.execute(
            "SELECT payment_id, owner, name, method, account, amount_cents FROM instructed ORDER BY"
            " amount_cents DESC, payment_id"
        ).fetchall()
    )
    left = tuple(
        Left(creator, owner, state, _REASONS[state], cents, until)
        for creator, owner, state, cents, until in con.execute(
            "SELECT creator_id, owner, state, stated + held + due + came_back, hold_until FROM plan"
            " WHERE state <> 'pay' ORDER BY creator_id"
        ).fetchall()
    )
    (reserved,) = con.execute("SELECT coalesce(sum(kept), 0)::BIGINT FROM plan").fetchall()[0]
    moved = Entries.of(con, "moved")
    made_of = [
        moved.hash,
        rows_hash(con, "FROM instructed ORDER BY payment_id"),
        chosen.in_words(),
        chosen.reason,
    ]
    digest = hashlib.sha256(json.dumps(made_of).encode()).hexdigest()
    run = PayoutRun(through, on, currency, None, payments, left, reserved, digest, applied=False)
    return run, moved.count > 0


def _refuse_nobody(con: Connection, chosen: Overrides) -> None:
    named = {*chosen.release_hold, *chosen.below_minimum, *chosen.pay_again}
    known = {row[0] for row in con.execute("SELECT DISTINCT owner FROM plan").fetchall()}
    if strangers := sorted(named - known):
        raise PayoutError(
            f"{', '.join(strangers)}: no payee of that name has money to be paid; payees are"
            " written creator:<id> or identity:<id>"
        )


def _book(
    con: Connection, home: Home, run: PayoutRun, chosen: Overrides, first: str | None
) -> PayoutRun:
    """`first`: who asked for it before, where two people are needed."""
    entries = Entries.of(con, "moved")
    if not entries.count:
        return replace(run, applied=True)
    number = next_number(con, run.through, "payment")
    closed = closed_through(con)
    assert closed is not None
    txn_id = f"{run.through}/payment/{number}"
    con.execute(
        "INSERT INTO payments BY NAME SELECT * REPLACE (? AS txn_id) FROM instructed", [txn_id]
    )
    why = f"payments of statements through {run.through}"
    if chosen.any:
        why += f"; {chosen.in_words()}: {chosen.reason}"
    made_of = rows_hash(con, PAYMENT_ROWS["payment"], [txn_id])
    book = Book(con, run.through, closed + timedelta(days=1), made_of, "", CODE_VERSION)
    who = {"actor": first or actor(), "approved_by": actor() if first else None}
    booked = book.append(entries, "payment", number, why, None, **who)
    assert booked == txn_id
    enforce(
        con,
        ["payments", "ledger_entries"],
        run.through,
        quarantine_limit=home.settings.quarantine_limit,
    )
    return replace(run, txn_id=txn_id, applied=True)
