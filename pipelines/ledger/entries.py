"""A day's payouts as transactions of balanced entries, chained by hash and never updated.

What belongs here: turning the payout tables of a day into entries, recognising a day that was posted before, reversing and
reissuing one that changed. What a creator sees of it is in `assets/earnings.py`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import date
from typing import Literal

from pipelines.queries import query
from pipelines.warehouse import CODE_VERSION, Connection

_ENTRIES_HASH = "sha256(coalesce(string_agg(account || '|' || part || '|' || amount_micros, chr(10) ORDER BY account, part), ''))"


@dataclass(frozen=True)
class Posting:
    """What posting a day did. `unchanged`: the ledger already said so; `reissued`: the old transaction was reversed first."""

    txn_id: str
    revision: int
    outcome: Literal["posted", "unchanged", "reissued"]
    entries: int


def post_day(con: Connection, day: date, policy_hash: str) -> Posting:
    """Bring the ledger to what the payout tables say of `day`. Call it inside a transaction.

    A transaction's id is a function of day, kind and revision. If the entries equal those of the day's latest payout,
    nothing is written; if they differ, that payout is reversed and a new revision is issued.
    """
    con.execute(f"CREATE OR REPLACE TEMP TABLE posting AS {query('ledger_entries')}", {"day": day})
    entries_hash, entries = con.execute(f"SELECT {_ENTRIES_HASH}, count(*) FROM posting").fetchall()[0]
    latest = con.execute(
        "SELECT txn_id, revision, entries_hash FROM ledger_transactions WHERE day = ? AND kind = 'payout' ORDER BY revision DESC LIMIT 1",
        [day],
    ).fetchone()
    if latest and latest[2] == entries_hash:
        return Posting(latest[0], latest[1], "unchanged", entries)
    inputs = _input_hash(con, day)
    revision = 1
    if latest:
        revision = latest[1] + 1
        con.execute(
            """CREATE OR REPLACE TEMP TABLE undone AS
               SELECT account, part, -amount_micros AS amount_micros FROM ledger_entries WHERE txn_id = ?""",
            [latest[0]],
        )
        _append(con, "undone", day, "reversal", latest[1], inputs, policy_hash)
    txn_id = _append(con, "posting", day, "payout", revision, inputs, policy_hash)
    return Posting(txn_id, revision, "reissued" if latest else "posted", entries)


def transaction_id(day: date, kind: str, revision: int) -> str:
    """Identity of a transaction.

    >>> transaction_id(date(2026, 3, 1), "payout", 1)
    '2026-03-01/payout/1'
    """
    return f"{day}/{kind}/{revision}"


def _append(con: Connection, entries: str, day: date, kind: str, revision: int, inputs: str, policy_hash: str) -> str:
    txn_id = transaction_id(day, kind, revision)
    (entries_hash,) = con.execute(f"SELECT {_ENTRIES_HASH} FROM {entries}").fetchall()[0]
    last = con.execute("SELECT seq, hash FROM ledger_transactions ORDER BY seq DESC LIMIT 1").fetchone() or (0, "")
    row = [last[0] + 1, txn_id, day, kind, revision, inputs, policy_hash, CODE_VERSION, entries_hash, last[1]]
    digest = hashlib.sha256("\n".join(map(str, row)).encode()).hexdigest()
    con.execute("INSERT INTO ledger_transactions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", [*row, digest])
    con.execute(
        f"""INSERT INTO ledger_entries BY NAME
            SELECT ? AS txn_id, ?::DATE AS day, account, part, amount_micros FROM {entries} ORDER BY account, part""",
        [txn_id, day],
    )
    return txn_id


def _input_hash(con: Connection, day: date) -> str:
    """Hash of the landing files a day was made from: its own, and every snapshot up to it."""
    (digest,) = con.execute(
        """SELECT sha256(coalesce(string_agg(table_name || '|' || file || '|' || sha256, chr(10) ORDER BY table_name, file), ''))
           FROM landing_files WHERE day = $day OR (day < $day AND table_name IN ('viewers', 'creators', 'videos'))""",
        {"day": day},
    ).fetchall()[0]
    return str(digest)
