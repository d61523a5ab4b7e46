"""A day's payouts and a month's bonuses as transactions of balanced entries, chained by hash and
never updated.

What belongs here: turning the payout tables of a day or month into entries, recognising one that
was posted before, reversing and reissuing one that changed, and the chain. Statements are in
`closing.py`, proofs in `verification.py`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any, Literal

import numpy as np
import pyarrow.compute as pc

from pipelines.actor import actor
from pipelines.ledger.inputs import RECORDS, Kind, input_hash
from pipelines.policy import Policy
from pipelines.schema import LEDGER_TRANSACTIONS
from pipelines.sql import query
from pipelines.store.warehouse import CODE_VERSION, Connection, closed_through, in_batches

# Lengths before the texts: an id may hold any character, so no separator would tell ('a|b', 'c')
# from ('a', 'b|c').
_LINE = "strlen(account) || ':' || account || strlen(part) || ':' || part || amount_micros"
NO_ENTRIES = hashlib.sha256().hexdigest()

REVERSALS = {"payout": "reversal", "bonus": "bonus-reversal"}
ENTRIES_OF = {
    "payout": "ledger/ledger_entries",
    "bonus": "ledger/bonus_entries",
}  # the query that says what is owed
NOT_OF_A_POLICY = ("statement", "payment", "settlement", "decision")  # kinds that no policy decides
_AT_ONCE = 1 << 18
# Columns that came after the first chains were hashed: they count where they have a value.
_LATER = ("actor", "approved_by")
_FIRST = tuple(c.name for c in LEDGER_TRANSACTIONS.columns if c.name not in (*_LATER, "hash"))


@dataclass(frozen=True)
class Posting:
    """What posting a day or a month did. `unchanged`: the ledger already said so; `reissued`: the
    old transaction was reversed first.
    """

    txn_id: str
    revision: int
    outcome: Literal["posted", "unchanged", "reissued"]
    entries: int


def post_day(con: Connection, day: date, policy: Policy, *, reason: str | None = None) -> Posting:
    """Bring the ledger to what the payout tables say of `day`. Call it inside a transaction.

    A transaction's id is a function of day, kind and revision. If the entries equal those of the
    day's latest payout, nothing is written; if they differ, that payout is reversed and a new
    revision is issued. Both are booked on the day itself, or, if statements were issued for it, on
    the first day after them.
    """
    keep_policy(con, policy)
    return _post(con, day, "payout", day, policy.hash, reason)


def post_bonuses(
    con: Connection, first: date, last: date, policy_hash: str, *, reason: str | None = None
) -> Posting:
    """Bring the ledger to what `creator_bonuses` says of the month from `first` to `last`, as
    `post_day` does for a day.
    """
    return _post(con, last, "bonus", first, policy_hash, reason)


def keep_policy(con: Connection, policy: Policy) -> None:
    """Keep in full what amounts are, or will be, paid under."""
    con.execute(
        "INSERT INTO policies SELECT $1, $2, $3, $4 WHERE NOT EXISTS (FROM policies WHERE"
        " policy_hash = $1)",
        [policy.hash, policy.name, policy.effective_from, policy.content],
    )


def latest_revision(con: Connection, day: date, kind: Kind) -> tuple[Any, ...] | None:
    """Id, revision and hashes (entries, inputs, policy, code) of the last payout of a day, or
    bonuses of the month that ends on it.
    """
    return con.execute(
        """SELECT txn_id, revision, entries_hash, input_hash, policy_hash, code_version
            FROM ledger_transactions
           WHERE day = ? AND kind = ? ORDER BY revision DESC LIMIT 1""",
        [day, kind],
    ).fetchone()


def _post(
    con: Connection,
    day: date,
    kind: Kind,
    first: date,
    policy_hash: str,
    reason: str | None,
) -> Posting:
    con.execute(f"CREATE OR REPLACE TEMP TABLE posting AS {query(ENTRIES_OF[kind])}", {"day": day})
    posting = Entries.of(con, "posting")
    latest = latest_revision(con, day, kind)
    made_of = (input_hash(con, kind, first, day), policy_hash, CODE_VERSION)
    closed = closed_through(con)
    book = Book(con, day, max(day, closed + timedelta(days=1)) if closed else day, *made_of)
    if latest and latest[2] == posting.hash:
        _record_inputs(con, book, kind, latest, reason)
        return Posting(latest[0], latest[1], "unchanged", posting.count)
    if not latest:
        return Posting(
            book.append(
                posting, kind, 1, reason or f"first {kind}", None, actor=actor() if reason else None
            ),
            1,
            "posted",
            posting.count,
        )
    replaced, revision = latest[0], latest[1] + 1
    who = actor() if reason else None  # a person's reason, or files that changed
    why = reason or _what_changed(latest[3:], made_of)
    con.execute(
        """CREATE OR REPLACE TEMP TABLE undone AS
           SELECT account, part, -amount_micros AS amount_micros FROM ledger_entries
           WHERE txn_id = ? ORDER BY account, part""",
        [replaced],
    )
    undone = Entries.of(con, "undone")
    book.append(undone, REVERSALS[kind], latest[1], why, replaced, actor=who)
    txn_id = book.append(posting, kind, revision, why, replaced, actor=who)
    return Posting(txn_id, revision, "reissued", posting.count)


def _record_inputs(
    con: Connection, book: Book, kind: Kind, latest: tuple[Any, ...], reason: str | None
) -> None:
    """The same amounts from other inputs: a transaction without entries says which, so that what a
    day was last made from is always in the chain.
    """
    recorded, number = con.execute(
        """SELECT arg_max(input_hash, seq), count(*) FILTER (kind = $record)
           FROM ledger_transactions WHERE day = $day AND kind IN ($kind, $record)""",
        {"day": book.day, "kind": kind, "record": RECORDS[kind]},
    ).fetchall()[0]
    if recorded != book.input_hash:
        first_time = recorded == book.input_hash.partition(":")[0]  # an earlier version posted it
        changed = _what_changed((recorded, *latest[4:]), (book.input_hash, *latest[4:]))
        why = reason or ("what it was made from, noted afterwards" if first_time else changed)
        con.execute("CREATE OR REPLACE TEMP TABLE nothing AS FROM posting WHERE false")
        book.append(Entries.of(con, "nothing"), RECORDS[kind], number + 1, why, latest[0])


@dataclass(frozen=True)
class Entries:
    """A table of entries to be (account, part, amount_micros), in the order in which they will be
    stored, with their hash.
    """

    table: str
    hash: str
    count: int

    @classmethod
    def of(cls, con: Connection, table: str) -> Entries:
        hashes = entries_hashes(con, f"(SELECT '' AS txn_id, * FROM {table})")
        (count,) = con.execute(f"SELECT count(*) FROM {table}").fetchall()[0]
        return cls(table, hashes.get("", NO_ENTRIES), count)


def entries_hashes(con: Connection, entries: str) -> dict[str, str]:
    """Hash of the entries of every transaction in a table or query: SHA-256 of a line an entry, in
    the order of account and part.

    The lines are hashed as they come, so that a day of ten million creators need not be one text in
    memory.
    """
    digests: dict[str, Any] = {}
    sql = f"SELECT txn_id, chr(10) || {_LINE} AS line FROM {entries} ORDER BY txn_id, account, part"
    for batch in in_batches(con, sql, rows=_AT_ONCE):
        runs = pc.run_end_encode(batch["txn_id"])
        ends, lines = runs.run_ends.to_pylist(), batch["line"]
        for txn_id, begin, end in zip(runs.values.to_pylist(), [0, *ends], ends, strict=False):
            _, offsets, text = lines.buffers()
            places = np.frombuffer(offsets, dtype=np.int32)[lines.offset :]
            first = txn_id not in digests  # there is no line break before the first line
            digest = digests.setdefault(txn_id, hashlib.sha256())
            digest.update(memoryview(text)[int(places[begin]) + first : int(places[end])])
    return {txn_id: digest.hexdigest() for txn_id, digest in digests.items()}


@dataclass(frozen=True)
class Book:
    """Appends transactions of one day, made of one set of inputs, to the chain."""

    con: Connection
    day: date
    booked_day: date
    input_hash: str
    policy_hash: str
    code_version: str

    def append(
        self,
        entries: Entries,
        kind: str,
        revision: int,
        reason: str,
        link: str | None,
        *,
        actor: str | None = None,
        approved_by: str | None = None,
    ) -> str:
        """Append one transaction; returns its id."""
        txn_id = transaction_id(self.day, kind, revision)
        last = self.con.execute(
            "SELECT seq, hash FROM ledger_transactions ORDER BY seq DESC LIMIT 1"
        ).fetchone() or (0, "")
        row: dict[str, Any] = {
            "seq": last[0] + 1,
            "txn_id": txn_id,
            "day": self.day,
            "kind": kind,
            "revision": revision,
            "booked_day": self.booked_day,
            "reason": reason,
            "link": link,
            "input_hash": self.input_hash,
            "policy_hash": self.policy_hash,
            "code_version": self.code_version,
            "actor": actor,
            "approved_by": approved_by,
            "entries_hash": entries.hash,
            "prev_hash": last[1],
        }
        row["hash"] = transaction_hash(row)
        self.con.execute(
            f"INSERT INTO ledger_transactions ({', '.join(row)})"
            f" VALUES ({', '.join('?' * len(row))})",
            list(row.values()),
        )
        self.con.execute(
            "INSERT INTO ledger_entries BY NAME SELECT ? AS txn_id, ?::DATE AS day, account, part,"
            f" amount_micros FROM {entries.table}",
            [txn_id, self.day],
        )
        return txn_id


def next_number(con: Connection, day: date, kind: str) -> int:
    """Number of the next payment, settlement or decision of a day."""
    (last,) = con.execute(
        "SELECT coalesce(max(revision), 0) FROM ledger_transactions WHERE day = ? AND kind = ?",
        [day, kind],
    ).fetchall()[0]
    return int(last) + 1


def note_decision(con: Connection, day: date, what: str) -> str:
    """Chain what a person decided that moves no money by itself, and who; returns its id. Call it
    inside the transaction that does it.
    """
    con.execute(
        "CREATE OR REPLACE TEMP TABLE nothing AS SELECT account, part, amount_micros"
        " FROM ledger_entries LIMIT 0"
    )
    closed = closed_through(con)
    booked = max(day, closed + timedelta(days=1)) if closed else day
    book = Book(con, day, booked, "", "", CODE_VERSION)
    number = next_number(con, day, "decision")
    entries = Entries.of(con, "nothing")
    return book.append(entries, "decision", number, what, None, actor=actor())


def transaction_id(day: date, kind: str, revision: int) -> str:
    """Identity of a transaction.

    >>> transaction_id(date(2026, 3, 1), "payout", 1)
    '2026-03-01/payout/1'
    """
    return f"{day}/{kind}/{revision}"


def transaction_hash(row: Mapping[str, Any]) -> str:
    """Hash of a row of `ledger_transactions` without its own `hash`; JSON, so that no two rows read
    alike.

    Columns that the first chains did not have follow as an object, by name, and only those with a
    value: a row without them has the hash it always had.
    """
    values: list[Any] = [row[name] for name in _FIRST]
    if later := {name: row[name] for name in _LATER if row[name] is not None}:
        values.append(later)
    return hashlib.sha256(
        json.dumps([str(v) if isinstance(v, date) else v for v in values]).encode()
    ).hexdigest()


def rows_hash(con: Connection, rows: str, parameters: Sequence[Any] = ()) -> str:
    """Hash of the rows of a query in its order: SHA-256 of a line of JSON each."""
    digest = hashlib.sha256()
    for row in con.execute(rows, list(parameters)).fetchall():
        line = json.dumps([str(v) if isinstance(v, date) else v for v in row])
        digest.update(line.encode() + b"\n")
    return digest.hexdigest()


def _what_changed(before: Sequence[str], now: Sequence[str]) -> str:
    names = ("its landing files", "the policy", "the software")
    (files, _, rows), (files_now, _, rows_now) = (of[0].partition(":") for of in (before, now))
    changed = [
        name
        for name, old, new in zip(names, (files, *before[1:]), (files_now, *now[1:]), strict=True)
        if old != new
    ]
    if rows and rows != rows_now and files == files_now:
        changed.append("what was decided before it")
    return f"run again: {' and '.join(changed) or 'what earlier days left for it'} changed"
