"""Replays the ledger from its first transaction and compares everything that was written down with
what must follow.

What belongs here: finding what is wrong. Nothing is repaired. The chain covers every column of
every transaction and, through `entries_hash`, every entry; what the chain cannot see, a ledger cut
off at its end, is found by comparing its head with one that was noted elsewhere (`earnings close`
and statements print it), and by the tables that were made from the missing part.

What the chain does not record is compared with what was noted when it was written: the rows of
every day of every table (`store/contents.py`). The inputs among them are in the chain too
(`ledger/inputs.py`), so that rows and note together cannot be changed either.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from typing import Any

import duckdb

from pipelines.ledger.entries import (
    ENTRIES_OF,
    NO_ENTRIES,
    NOT_OF_A_POLICY,
    REVERSALS,
    Entries,
    entries_hashes,
    rows_hash,
    transaction_hash,
    transaction_id,
)
from pipelines.ledger.inputs import RECORDS, Inputs, Kind, Posted
from pipelines.money import MICROS_PER_CENT
from pipelines.periods import MONTH
from pipelines.policy import policy_hash
from pipelines.schema import DAILY, DECISIONS, LANDING, LEDGER_TRANSACTIONS, SNAPSHOTS, TABLES
from pipelines.schema.invariants import ASTRAY, STATED, of_table
from pipelines.sql import query
from pipelines.status.reach import half_made_days
from pipelines.store.contents import CHAINED, EMPTY, LOGGED_WITH, NOTED, contents, rows_of
from pipelines.store.warehouse import Connection

HEAD_DIGITS = 12
PAYMENT_ROWS = {  # what the input_hash of a payment or settlement is the hash of
    "payment": "SELECT * FROM payments WHERE txn_id = ? ORDER BY payment_id",
    "settlement": "SELECT * FROM settlements WHERE txn_id = ? ORDER BY payment_id",
}
_BIG = frozenset({"viewer_events", "viewers", "viewer_groups", "video_quality"})
SMALL = tuple(name for name in NOTED if name not in _BIG)
"""Noted tables without a row for each event, viewer or video; the others are read only on
demand.
"""


@dataclass(frozen=True)
class Verification:
    """What was replayed, the hash of the last transaction, and every contradiction found, in words.

    `unfinished`: what does not fit together yet, because a run of the day was interrupted between
    its payouts and its earnings; running the day again ends it. That is not wrong. `unbooked`: days
    with other inputs, changed in the open, than those they were posted from; running or restating
    them books it. `unproven`: how many days of tables an earlier version wrote without noting what
    they hold; running them again does.
    """

    transactions: int
    entries: int
    head: str
    findings: tuple[str, ...]
    unfinished: tuple[str, ...] = ()
    unproven: int = 0
    unbooked: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def verify(con: Connection, *, head: str | None = None, every_table: bool = False) -> Verification:
    """Replay the ledger and report every contradiction; an unreadable block of the file is one. A
    day that is half made is told apart: `unfinished`.

    Parameters
    ----------
    head
        Hash of a transaction that must be in the chain, e.g. the one a closing printed, or its
        first 12 digits or more.
    every_table
        Also read every other table whole, those of events and viewers too, which compares DuckDB's
        checksums and every row with what was noted of it; takes as long as reading the file.
    """
    try:
        transactions = con.execute("SELECT * FROM ledger_transactions ORDER BY seq").fetchall()
        wrong, unbooked = _inputs(con, transactions)
        findings = [
            *wrong,
            *contradictions(con, transactions, NOTED if every_table else SMALL),
        ]
        half_made = {f"{day}: " for day in half_made_days(con)}
        unfinished: list[str] = []
        for finding in _tables(con):
            (unfinished if finding[:12] in half_made else findings).append(finding)
        unproven = _unproven(con)
        (entries,) = con.execute("SELECT count(*) FROM ledger_entries").fetchall()[0]
        hashes = [row[-1] for row in transactions]
        if head is not None and not (
            len(head) >= HEAD_DIGITS and any(h.startswith(head) for h in hashes)
        ):
            findings.append(
                f"no transaction has the hash {head}: the ledger was rewritten, or cut off"
                " before it"
            )
        if every_table:
            for name in TABLES.keys() - set(NOTED):
                con.execute(f"SELECT bit_xor(hash(t)) FROM {name} AS t").fetchall()
    except duckdb.Error as error:
        return Verification(0, 0, "", (f"the file is damaged: {str(error).splitlines()[0]}",))
    return Verification(
        len(transactions),
        entries,
        hashes[-1] if hashes else "",
        tuple(findings),
        tuple(unfinished),
        unproven,
        tuple(unbooked),
    )


def contradictions(
    con: Connection, transactions: list[tuple[Any, ...]], noted: Iterable[str] = NOTED
) -> Iterator[str]:
    """Everything that `verify` calls a contradiction but for inputs and payout tables, found as it is asked for;
    `noted` are the tables to compare with their notes.
    """
    yield from _chain(transactions)
    yield from _order(transactions)
    yield from _policies(con, transactions)
    yield from changed_contents(con, noted)
    yield from _commits(con)
    yield from _entries(con, transactions)
    yield from _statements(con)
    yield from _payments(con, transactions)
    yield from _corrections(con)


_Row = dict[str, Any]


def _named(row: tuple[Any, ...]) -> _Row:
    return dict(zip((c.name for c in LEDGER_TRANSACTIONS.columns), row, strict=True))


def _chain(transactions: list[tuple[Any, ...]]) -> list[str]:
    """Numbers, ids, hashes and links of the chain."""
    findings = []
    before = ""
    for place, row in enumerate(transactions, 1):
        txn = _named(row)
        name = f"transaction {txn['seq']} ({txn['txn_id']})"
        if txn["seq"] != place:
            findings.append(f"{name}: number {place} is missing from the chain")
        if txn["txn_id"] != transaction_id(txn["day"], txn["kind"], txn["revision"]):
            findings.append(
                f"{name}: the id does not say {txn['day']}, {txn['kind']}, {txn['revision']}"
            )
        if txn["hash"] != transaction_hash(txn):
            findings.append(f"{name}: its hash is not that of its row")
        if txn["prev_hash"] != before:
            findings.append(f"{name}: does not carry the hash of the transaction before it")
        before = txn["hash"]
    return findings


def _entries(con: Connection, transactions: list[tuple[Any, ...]]) -> list[str]:
    """Every entry belongs to a transaction, is what was hashed, and balances in its part."""
    hashes = entries_hashes(con, "ledger_entries")
    findings = [
        f"transaction {txn['txn_id']}: its entries are not those that were hashed"
        for txn in map(_named, transactions)
        if hashes.pop(txn["txn_id"], NO_ENTRIES) != txn["entries_hash"]
    ]
    findings += [f"entries of {txn_id!r} belong to no transaction" for txn_id in hashes]
    findings += _rows(
        con,
        "transaction {}: an entry is of {}, the transaction of {}",
        "SELECT DISTINCT txn_id, e.day, t.day FROM ledger_entries e JOIN ledger_transactions t"
        " USING (txn_id) WHERE e.day <> t.day",
    )
    findings += _rows(
        con,
        "transaction {}: the entries of {} sum to {}, not 0",
        "SELECT txn_id, part, sum(amount_micros) AS off FROM ledger_entries GROUP BY txn_id, part"
        " HAVING off <> 0",
    )
    findings += _rows(
        con,
        "{}: the reversal is not the opposite of {}",
        """WITH taken_back AS (SELECT txn_id, link FROM ledger_transactions
            WHERE kind IN ('reversal', 'bonus-reversal')),
                legs AS (SELECT t.*, account, part, amount_micros FROM taken_back t
                JOIN ledger_entries e ON e.txn_id = t.txn_id
                         UNION ALL SELECT t.*, account, part, amount_micros FROM taken_back t
                         JOIN ledger_entries e ON e.txn_id = t.link)
           SELECT DISTINCT txn_id, link FROM (SELECT txn_id, link, account, part FROM legs
           GROUP BY ALL HAVING sum(amount_micros) <> 0)""",
    )
    return findings


def _order(  # noqa: PLR0912 - a case for each kind of transaction
    transactions: list[tuple[Any, ...]],
) -> list[str]:
    """Revisions follow each other, and nothing is booked in a period that was closed."""
    findings = []
    taken_back = {reversal: kind for kind, reversal in REVERSALS.items()}
    live: dict[tuple[date, str], int] = defaultdict(
        int
    )  # latest payout or bonus of a day; negative once it is reversed
    numbers: dict[tuple[date, str], int] = defaultdict(int)  # of payments and settlements
    recorded = {record: kind for kind, record in RECORDS.items()}
    records: dict[tuple[date, str], int] = defaultdict(int)
    closed: date | None = None
    for txn in map(_named, transactions):
        name, day, kind, revision = (
            f"transaction {txn['txn_id']}",
            txn["day"],
            txn["kind"],
            txn["revision"],
        )
        expected = max(day, closed + timedelta(days=1)) if closed else day
        match kind:
            case "statement":
                if closed and day <= closed:
                    findings.append(f"{name}: {day} was closed already")
                closed, expected = day, day
            case "inputs" | "bonus-inputs":
                of = recorded[kind]
                if live[day, of] < 1 or txn["link"] != transaction_id(day, of, live[day, of]):
                    findings.append(f"{name}: is not about the {of} that stands")
                if revision != records[day, kind] + 1 or txn["entries_hash"] != NO_ENTRIES:
                    findings.append(f"{name}: a record of inputs has no entries and no gap before")
                records[day, kind] += 1
            case "reversal" | "bonus-reversal":
                of = taken_back[kind]
                if live[day, of] != revision or txn["link"] != transaction_id(day, of, revision):
                    findings.append(
                        f"{name}: takes back {txn['link']}, which is not the day's {of}"
                    )
                live[day, of] = -revision
            case "payment" | "settlement":
                numbers[day, kind] += 1
                if revision != numbers[day, kind] or txn["link"] is not None:
                    findings.append(f"{name}: number {numbers[day, kind]} was to be the next")
                if not closed or day > closed:
                    findings.append(f"{name}: {day} was not closed when it was booked")
            case "decision":
                numbers[day, kind] += 1
                if revision != numbers[day, kind] or txn["link"] is not None:
                    findings.append(f"{name}: number {numbers[day, kind]} was to be the next")
                if txn["entries_hash"] != NO_ENTRIES:
                    findings.append(f"{name}: a decision moves no money")
            case _:
                replaced = transaction_id(day, kind, revision - 1) if revision > 1 else None
                if live[day, kind] != 1 - revision or txn["link"] != replaced:
                    findings.append(f"{name}: does not follow the reversal of the {kind} before it")
                live[day, kind] = revision
        if txn["booked_day"] != expected:
            findings.append(f"{name}: booked on {txn['booked_day']}, should be {expected}")
    return findings + [
        f"{day}: its {kind} was reversed and none was issued instead"
        for (day, kind), revision in live.items()
        if revision < 0
    ]


def _statements(con: Connection) -> list[str]:
    """Issuing every statement again from the entries alone gives the statements that stand there,
    and what was paid.
    """
    findings = []
    closings = con.execute(
        """SELECT day, coalesce(lag(day) OVER (ORDER BY seq) + 1, (SELECT min(day)
            FROM ledger_transactions e WHERE e.seq < t.seq))
           FROM ledger_transactions t WHERE kind = 'statement' ORDER BY seq"""
    ).fetchall()
    for through, first in closings:
        parameters = {"first_day": first, "through": through, "micros_per_cent": MICROS_PER_CENT}
        con.execute(
            f"CREATE OR REPLACE TEMP TABLE reissued AS {query('ledger/statements')}", parameters
        )
        findings += _rows(
            con,
            "the statement of {} through {} is not what the ledger says",
            "SELECT DISTINCT creator_id, day FROM (((FROM reissued) EXCEPT ALL (SELECT * FROM"
            " statements WHERE day = $day)) UNION ((SELECT * FROM statements WHERE day = $day)"
            " EXCEPT ALL (FROM reissued))) ORDER BY 1",
            {"day": through},
        )
        findings += _rows(
            con,
            "{}: the statement pays {} cents, the ledger {} micros",
            """SELECT creator_id, paid_cents, paid FROM (SELECT creator_id, paid_cents
                FROM statements WHERE day = $day)
               FULL JOIN (SELECT owner_of(account) AS creator_id, sum(amount_micros)::BIGINT AS paid
               FROM ledger_entries
                          WHERE day = $day AND part = 'statement' AND starts_with(account,
                          'statement:') GROUP BY ALL) USING (creator_id)
               WHERE coalesce(paid_cents, 0) * 10000 <> coalesce(paid, 0)""",
            {"day": through},
        )
    return findings + _rows(
        con,
        "there are statements of {} without a closing",
        """SELECT DISTINCT day FROM statements s
           WHERE NOT EXISTS (FROM ledger_transactions t WHERE t.kind = 'statement'
           AND t.day = s.day)""",
    )


def _payments(con: Connection, transactions: list[tuple[Any, ...]]) -> list[str]:
    """Instructions and the bank's answers are those that were booked, and every cent that was
    stated is in one of the accounts it may be in.
    """
    findings = []
    known: dict[str, set[str]] = {"payment": set(), "settlement": set()}
    for txn in map(_named, transactions):
        if txn["kind"] in known:
            known[txn["kind"]].add(txn["txn_id"])
            if rows_hash(con, PAYMENT_ROWS[txn["kind"]], [txn["txn_id"]]) != txn["input_hash"]:
                findings.append(
                    f"transaction {txn['txn_id']}: its rows in {txn['kind']}s are not those that"
                    " were booked"
                )
    for kind, there in known.items():
        rows = con.execute(f"SELECT DISTINCT txn_id FROM {kind}s").fetchall()
        findings += [
            f"{kind}s of {txn_id!r} belong to no transaction"
            for (txn_id,) in rows
            if txn_id not in there
        ]
    findings += _rows(
        con,
        "payment {}: {} cents are instructed, {} micros were booked",
        """SELECT payment_id, amount_cents, booked FROM payments FULL JOIN
             (SELECT part[9:] AS payment_id, txn_id, sum(amount_micros)::BIGINT AS booked
              FROM ledger_entries JOIN ledger_transactions USING (txn_id)
              WHERE kind = 'payment' AND starts_with(account, 'clearing:') GROUP BY ALL)
             USING (payment_id, txn_id)
           WHERE coalesce(10000 * amount_cents, 0) <> coalesce(booked, 0)""",
    )
    findings += _rows(
        con,
        "payment {}: its id is not that of the statement of {} and {}",
        """SELECT payment_id, day, owner FROM
             (SELECT *, row_number() OVER (PARTITION BY day, owner ORDER BY seq) AS number
              FROM payments JOIN (SELECT txn_id, seq FROM ledger_transactions) USING (txn_id))
           WHERE payment_id
           <> strftime(day, '%Y%m%d') || '-' || number || '-' || sha256(owner)[:20]""",
    )
    findings += _rows(con, "{}, {}: holds {} micros, which cannot be", ASTRAY)
    return findings + _rows(
        con,
        "{}: {} micros were moved by payments, which only move what was stated",
        f"""SELECT account, sum(amount_micros) AS moved FROM ledger_entries
            JOIN ledger_transactions USING (txn_id) WHERE kind IN ('payment', 'settlement')
            AND split_part(account, ':', 1) NOT IN {STATED} GROUP BY ALL""",
    )


def _corrections(con: Connection) -> list[str]:
    """What was noted video by video of a restatement is, creator by creator, what the payout that
    was issued changed. One that changed no creator's amount was not issued anew.
    """
    return _rows(
        con,
        "{}: its videos' corrections for {} come to {} micros, the ledger changed {}",
        """WITH noted AS (
              SELECT txn_id, creator_id, sum(after_micros - before_micros)::BIGINT AS micros
              FROM video_corrections GROUP BY ALL HAVING micros <> 0),
            booked AS (
              SELECT t.txn_id, owner_of(account) AS creator_id,
                sum(CASE WHEN e.txn_id = t.txn_id THEN amount_micros ELSE -amount_micros END)
                  ::BIGINT AS micros
              FROM ledger_transactions AS t JOIN ledger_entries AS e
                ON e.txn_id = t.txn_id OR e.txn_id = t.link
              WHERE t.txn_id IN (SELECT txn_id FROM noted) AND starts_with(account, 'creator:')
                AND (part IN ('pulse', 'coins') OR starts_with(part, 'ads:')
                  OR starts_with(part, 'carry:'))
              GROUP BY ALL HAVING micros <> 0)
           SELECT txn_id, creator_id, coalesce(noted.micros, 0), coalesce(booked.micros, 0)
           FROM noted FULL JOIN booked USING (txn_id, creator_id)
           WHERE coalesce(noted.micros, 0) <> coalesce(booked.micros, 0) ORDER BY ALL""",
    )


def _policies(con: Connection, transactions: list[tuple[Any, ...]]) -> list[str]:
    """Every policy that was paid under is kept as it was, in all that decides an amount."""
    kept = {}
    findings = []
    for noted, name, effective_from, content in con.execute(
        "SELECT policy_hash, name, effective_from, content FROM policies"
    ).fetchall():
        if noted in kept:
            findings.append(f"policy {noted} is kept twice")
        kept[noted] = content
        try:  # as text: what this version would accept does not matter
            values = json.loads(content)
            intact = (policy_hash(values), values["name"], values["effective_from"]) == (
                noted,
                name,
                str(effective_from),
            )
        except (ValueError, TypeError, KeyError, AttributeError):
            intact = False
        if not intact:
            findings.append(f"policy {noted}: what is kept of it has another hash, name or date")
    used = {
        txn["policy_hash"]
        for txn in map(_named, transactions)
        if txn["kind"] not in NOT_OF_A_POLICY
    }
    return findings + [
        f"policy {missing} was paid under and is not kept" for missing in sorted(used - kept.keys())
    ]


def _tables(con: Connection) -> list[str]:
    """The payout tables still say what was posted, and creators' earnings what is owed."""
    findings = []
    posted = con.execute(
        """SELECT day, kind, arg_max(entries_hash, revision) FROM ledger_transactions
            WHERE kind IN ('payout', 'bonus')
           GROUP BY day, kind ORDER BY day, kind DESC"""
    ).fetchall()
    for day, kind, entries_hash in posted:
        con.execute(
            f"CREATE OR REPLACE TEMP TABLE posting AS {query(ENTRIES_OF[kind])}", {"day": day}
        )
        if Entries.of(con, "posting").hash != entries_hash:
            findings.append(
                f"{day}: the {kind} tables do not say what was posted; run or restate the day"
            )
        for promise in of_table("creator_bonuses") if kind == "bonus" else ():
            broken = promise.violations(con, day, quarantine_limit=1.0)
            findings += [f"{day}: it does not hold that {promise.promise}: {row}" for row in broken]
    findings += _rows(
        con,
        "{}: the money of pool {} does not add up",
        """SELECT day, category FROM ad_pools
           WHERE revenue_micros + carry_in_micros + spread_micros
           <> platform_micros + pool_micros + carry_out_micros ORDER BY ALL""",
    )
    for day, policies in con.execute(
        "SELECT day, list(DISTINCT policy_hash) FROM creator_earnings GROUP BY day ORDER BY day"
    ).fetchall():
        if len(policies) > 1:
            findings.append(f"{day}: its earnings name {len(policies)} policies")
        earned = {"day": day, "policy_hash": policies[0]}
        con.execute(
            f"CREATE OR REPLACE TEMP TABLE owed AS {query('ledger/creator_earnings')}", earned
        )
        findings += _rows(
            con,
            "{}: the parts of {}'s earnings are not those the ledger owes",
            """SELECT DISTINCT day, creator_id
                FROM (((FROM owed) EXCEPT ALL (FROM creator_earnings WHERE day = $day))
               UNION ((FROM creator_earnings WHERE day = $day) EXCEPT ALL (FROM owed)))
               ORDER BY ALL""",
            {"day": day},
        )
    findings += _rows(
        con,
        "{}: earnings of {} are {} micros, the ledger owes {}",
        """SELECT day, creator_id, total_micros, owed FROM creator_earnings
           FULL JOIN (SELECT day, owner_of(account) AS creator_id,
           sum(amount_micros)::BIGINT AS owed FROM ledger_entries
                      WHERE starts_with(account, 'creator:') AND part <> 'statement'
                      GROUP BY ALL HAVING owed <> 0) USING (day, creator_id)
           WHERE coalesce(total_micros, 0) <> coalesce(owed, 0) ORDER BY ALL""",
    )
    findings += _rows(
        con,
        "{}: bonuses of {} micros, and the month's budget was {}",
        """SELECT day, paid, budget FROM
             (SELECT day, sum(amount_micros)::BIGINT AS paid FROM ledger_entries
              WHERE starts_with(part, 'bonus:') AND starts_with(account, 'creator:') GROUP BY day)
           LEFT JOIN (SELECT last_day(month) AS day, max(budget_micros) AS budget
           FROM reward_schedule GROUP BY ALL) USING (day)
           WHERE paid > coalesce(budget, 0) ORDER BY ALL""",
    )
    return findings + _rows(
        con,
        "{}: was posted, but the ledger has no payout of it",
        """SELECT day FROM written_days w WHERE table_name = 'ledger_entries'
           AND NOT EXISTS (FROM ledger_transactions t WHERE t.kind = 'payout' AND t.day = w.day)""",
    )


def _commits(con: Connection) -> list[str]:
    """The latest record of weights and markets is what stands in their tables."""
    return [
        *_rows(
            con,
            "{}: its weights are not those that were committed last",
            """SELECT day FROM (SELECT day, any_value(state_hash) AS state,
                 map_from_entries(list((group_id, weight) ORDER BY group_id)) AS weights
               FROM group_weights GROUP BY day)
               FULL JOIN (SELECT day, arg_max(state_hash, revision) AS committed,
                 arg_max(weights, revision) AS of FROM weight_commits GROUP BY day) USING (day)
               WHERE state IS DISTINCT FROM committed OR weights IS DISTINCT FROM of
               ORDER BY day""",
        ),
        *_rows(
            con,
            "{}: its donation market is not the one that was recorded last",
            """SELECT day FROM donation_market AS m FULL JOIN (SELECT day,
                 arg_max({'a': alpha, 'f': revenue_floor}, revision) AS last
                 FROM market_commits GROUP BY day) USING (day)
               WHERE last IS DISTINCT FROM {'a': m.alpha, 'f': m.revenue_floor} ORDER BY day""",
        ),
    ]


def _inputs(con: Connection, transactions: list[tuple[Any, ...]]) -> tuple[list[str], list[str]]:
    """Contradictions between what the chain says that days were made from and what is there; and
    days for which it is only not booked yet.
    """
    latest: dict[tuple[Kind, date], str] = {}
    kinds: dict[str, Kind] = {"payout": "payout", "bonus": "bonus"}
    kinds |= {record: kinds[kind] for kind, record in RECORDS.items()}
    for txn in map(_named, transactions):
        if txn["kind"] in kinds:
            latest[kinds[txn["kind"]], txn["day"]] = txn["input_hash"]
    chained = {
        Posted(kind, day if kind == "payout" else MONTH.first(day), day): noted
        for (kind, day), noted in latest.items()
        if ":" in noted  # earlier versions had only the files
    }
    inputs = Inputs.of(con, list(chained))
    off = [posted for posted, noted in chained.items() if inputs.hash(posted) != noted]
    if not off:
        return [], []
    changes = con.execute(
        "SELECT table_name, day, changed, made FROM written_days WHERE table_name IN"
        " (SELECT unnest($tables))",
        {
            "tables": [
                *(t for t in LANDING),
                *LOGGED_WITH,
                "group_weights",
                "reward_schedule",
                "ledger_entries",
            ]
        },
    ).fetchall()
    posted_at = {day: made for table, day, _, made in changes if table == "ledger_entries"}
    of_day = {t.name for t in (*DECISIONS, *DAILY)} | {"landing_files", "group_weights"}
    reaching = {t.name for t in SNAPSHOTS} | {"landing_files", "market_commits"}
    wrong, unbooked = [], []
    for posted in off:
        since = posted_at.get(posted.last, 0)
        newer = sorted(
            f"{table} of {day}"
            for table, day, changed, _ in changes
            if changed > since
            and (
                (posted.kind == "bonus" and table in {"reward_schedule", "landing_files"})
                or (table in of_day and day == posted.last)
                or (table in reaching and day <= posted.last)
            )
        )
        if newer:
            unbooked.append(f"{posted.last}: {newer[0]} changed since its {posted.kind} was posted")
        else:
            wrong.append(
                f"{posted.last}: its {posted.kind} was not made from the files, rows and decisions"
                " that are there"
            )
    return wrong, unbooked


def changed_contents(con: Connection, tables: Iterable[str] = NOTED) -> Iterator[str]:
    """Days of tables that do not hold what was noted when they were written."""
    notes: dict[str, dict[date, str | None]] = {name: {} for name in NOTED}
    first: int | None = None  # write that was noted first; none after it may lack a note
    for table, day, rows, content, made in con.execute(
        "SELECT table_name, day, rows, content, made FROM written_days ORDER BY made"
    ).fetchall():
        if table in CHAINED:
            continue
        if table not in notes or day in notes[table]:
            yield f"{day}: {table} is noted twice, or is no table"
            continue
        notes[table][day] = content
        if content is not None:
            first = made if first is None else first
            if content.partition(":")[0] != str(rows):
                yield f"{day}: {table} is noted with {rows} rows, and as {content}"
        elif first is not None:
            yield f"{day}: what {table} held when it was written is not noted any more"
    for name in tables:
        there, noted = contents(con, name), notes[name]
        for day in sorted(there.keys() | noted.keys()):
            now, then = there.get(day, EMPTY), noted.get(day, "")
            if then == "":
                if first is None and name in LOGGED_WITH:
                    continue  # earlier versions did not note logs
                yield f"{day}: {name} has rows that no run has written"
            elif then is not None and then != now:
                yield (
                    f"{day}: {name} does not hold what was written:"
                    f" {then.partition(':')[0]} rows then, {rows_of(now)} now, and they differ"
                )
        if None in noted.values():
            key = ", ".join(dict.fromkeys(("day", *TABLES[name].key)))
            yield from _rows(
                con,
                f"{{}}: {name} has a row twice",
                f"SELECT DISTINCT day FROM (SELECT {key}, count(*) AS n FROM {name} GROUP BY ALL"
                " HAVING n > 1) ORDER BY day",
            )


def _unproven(con: Connection) -> int:
    """How many days of tables have no note of what they hold."""
    (count,) = con.execute(
        "SELECT count(*) FROM written_days WHERE content IS NULL AND table_name IN"
        " (SELECT unnest($noted))",
        {"noted": list(NOTED)},
    ).fetchall()[0]
    return int(count)


def _rows(
    con: Connection, words: str, sql: str, parameters: dict[str, Any] | None = None, most: int = 20
) -> list[str]:
    """One finding a row, the first `most` of them."""
    return [
        words.format(*row)
        for row in con.execute(f"FROM ({sql}) LIMIT {most}", parameters).fetchall()
    ]
