"""Closing days: what every creator is owed through a day becomes a statement in cents, and the days
can no longer change.

What belongs here: the conditions, the amounts, and the one transaction of a closing. What a creator
reads is in `statement.py`; how a closed day is corrected afterwards is in `restatement.py`.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, replace
from datetime import date, timedelta
from typing import Any

from pipelines.actor import actor
from pipelines.errors import ExpectedError
from pipelines.ledger.approval import ask, asked_before
from pipelines.ledger.entries import Book, Entries, rows_hash
from pipelines.ledger.verification import verify
from pipelines.ledger.witness import tell_witness
from pipelines.money import MICROS_PER_CENT
from pipelines.periods import in_words
from pipelines.policy import PolicyBook
from pipelines.schema.invariants import enforce
from pipelines.settings import Home
from pipelines.sources.landing import waiting_files
from pipelines.sources.quarantine import require_decided
from pipelines.sql import query
from pipelines.status import days_of
from pipelines.store.warehouse import CODE_VERSION, Connection, Warehouse, closed_through

_WAITS = "waits for approval"
_NAMED = 20  # days that a refusal names one by one


class ClosingError(ExpectedError, RuntimeError):
    """Days that cannot be closed: says which, why, and the command that helps."""


@dataclass(frozen=True)
class Closing:
    """What a closing paid, and the hash of its transaction: note it elsewhere, and no later
    rewriting of the ledger goes unseen. `outcome`: `would close`, `closed`, `already closed`, or
    `waits for approval`: nothing is closed before somebody else asks for exactly this.
    """

    first_day: date
    through: date
    statements: int
    paid_cents: int
    carried_forward_micros: int
    head: str
    outcome: str

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "first_day": str(self.first_day), "through": str(self.through)}

    @property
    def waits_for_approval(self) -> bool:
        return self.outcome == _WAITS


def preview(home: Home, through: date) -> Closing:
    """What `close` would pay, with the ledger's head as it is; nothing is changed.

    Raises
    ------
    ClosingError
        As `close`.
    """
    with Warehouse(home).open(read_only=True) as con:
        closed = closed_through(con)
        if closed and through <= closed:
            return _closing(con, closed, "already closed")
        first, head = _ready(con, home, closed, through)
        _issue(con, first, through)
        return _sums(con, "issued", first, through, head, "would close")


def close(home: Home, through: date, *, expected: Closing | None = None) -> Closing:
    """Issue statements for all days up to and with `through` that are not closed yet.

    Each creator is paid the whole cents of what the ledger owes; the rest, and a debt that a
    restatement left, stays on the account and is in the creator's next statement. Closing again
    through the same day changes nothing. Where the settings want two people, the first who asks is
    noted, and a second one who asks for exactly the same (days, amounts, head of the ledger)
    closes.

    Parameters
    ----------
    expected
        What `preview` showed: nothing is closed if it is not that any more.

    Raises
    ------
    ClosingError
        A day is not complete, has files that were not loaded, or was paid under another policy than
        the one in force; or the ledger does not verify.
    """
    house = Warehouse(home)
    with house.open() as con:
        closed = closed_through(con)
        if closed and through <= closed:
            return _closing(con, closed, "already closed")
        first, head = _ready(con, home, closed, through)
        _issue(con, first, through)
        shown = _sums(con, "issued", first, through, head, "would close")
        if expected and expected != shown:
            raise ClosingError(
                "the ledger changed since the closing was shown; look at it again:"
                f" earnings close --through {through}"
            )
        asked = None
        if home.settings.second_approver:
            rows = rows_hash(con, "FROM issued ORDER BY creator_id")
            digest = hashlib.sha256(f"{json.dumps(shown.as_dict())}{rows}".encode()).hexdigest()
            asked = asked_before(con, "close", through, digest)
            if asked is None:
                ask(house, con, "close", through, digest)
                return replace(shown, outcome=_WAITS)
        with house.transaction(con, f"statements of {first} to {through}", closing=through):
            con.execute(f"""CREATE OR REPLACE TEMP TABLE paid_out AS
                    SELECT kind || creator_id AS account, 'statement' AS part,
                    sign * {MICROS_PER_CENT} * paid_cents AS amount_micros
                    FROM issued, (VALUES ('creator:', -1), ('statement:', 1)) AS side(kind,
                    sign) WHERE paid_cents > 0
                    ORDER BY account""")
            book = Book(con, through, through, "", "", CODE_VERSION)
            book.append(
                Entries.of(con, "paid_out"),
                "statement",
                1,
                f"statements of {first} to {through}",
                None,
                actor=asked or actor(),
                approved_by=actor() if asked else None,
            )
            con.execute("INSERT INTO statements BY NAME SELECT * FROM issued ORDER BY creator_id")
            enforce(
                con,
                ["statements", "ledger_entries"],
                through,
                quarantine_limit=home.settings.quarantine_limit,
            )
        closing = _closing(con, through, "closed")
    house.publish()
    tell_witness(house)
    return closing


def _ready(con: Connection, home: Home, closed: date | None, through: date) -> tuple[date, str]:
    """The first day to close and the head of the ledger, if it may be closed."""
    _refuse_unfinished(con, home, home.policies, closed, through)
    proven = verify(con)
    if proven.findings:
        raise ClosingError(
            f"the ledger does not verify: {proven.findings[0]}. See all of it: earnings ledger"
            " verify"
        )
    return closed + timedelta(days=1) if closed else _first_day(con), proven.head


def _issue(con: Connection, first: date, through: date) -> None:
    con.execute(
        f"CREATE OR REPLACE TEMP TABLE issued AS {query('ledger/statements')}",
        {"first_day": first, "through": through, "micros_per_cent": MICROS_PER_CENT},
    )


def _closing(con: Connection, through: date, outcome: str) -> Closing:
    (head,) = con.execute(
        "SELECT hash FROM ledger_transactions WHERE kind = 'statement' AND day = ?", [through]
    ).fetchall()[0]
    return _sums(con, "statements", through, through, head, outcome)


def _sums(
    con: Connection, statements: str, first: date, through: date, head: str, outcome: str
) -> Closing:
    first, count, paid, carried = con.execute(
        f"""SELECT coalesce(min(first_day), $first), count(*),
                   coalesce(sum(paid_cents), 0)::BIGINT,
                   coalesce(sum(carried_forward_micros), 0)::BIGINT
            FROM {statements} WHERE day = $day""",
        {"first": first, "day": through},
    ).fetchall()[0]
    return Closing(first, through, count, paid, carried, head, outcome)


def _first_day(con: Connection) -> date:
    (first,) = con.execute("SELECT min(day) FROM ledger_transactions").fetchall()[0]
    return first  # type: ignore[no-any-return]


def _refuse_unfinished(
    con: Connection, home: Home, policies: PolicyBook, closed: date | None, through: date
) -> None:
    """Raise ClosingError with every day that is not ready, in order; nothing where all are."""
    days = [d for d in days_of(con, home) if d.day <= through and not (closed and d.day <= closed)]
    if not days or days[-1].day < through:
        last = f"the last day before it is {days[-1].day}" if days else "no day before it is open"
        raise ClosingError(f"{through} has not landed and cannot be closed; {last}.")
    waiting = waiting_files(con, home.landing, days={d.day for d in days}, read=True)
    missing: list[date] = []
    wrong: dict[date, str] = {}
    for d in days:
        policy = None if d.state == "missing" else policies.in_force(d.day)
        if d.state == "missing":
            missing.append(d.day)
        elif policy and d.policy_hash not in ("", policy.hash):
            wrong[d.day] = (
                f"was paid under policy {d.policy_hash}; in force is {policy.name} {policy.hash}"
            )
        elif d.state in ("complete", "stale") and (files := waiting.get(d.day)):
            wrong[d.day] = f"has files that were not loaded as they are now: {', '.join(files)}"
        elif d.state != "complete":
            wrong[d.day] = f"is {d.state} ({d.note})"
    reasons = [f"{day} {why}" for day, why in wrong.items()]
    if len(reasons) > _NAMED:
        reasons = [*reasons[:_NAMED], f"{len(reasons) - _NAMED} more days up to {max(wrong)} are not"
                 " ready either: earnings status"]  # fmt: skip
    if wrong:
        reasons.append(f"Run them first: earnings run --from {min(wrong)} --to {max(wrong)}")
    if missing:
        reasons.append(
            f"No table has files for {in_words(missing)}: deliver them; if nothing happened on such"
            " a day, put a CSV file with only the header line there for each daily table"
            " (docs/data.md)"
        )
    if reasons:
        raise ClosingError(". ".join(reasons) + ".")
    require_decided(con, [d.day for d in days])
