"""What the bank says of payments: pain.002, camt.053 or CSV read, judged and booked.

What belongs here: from a file to entries. clearing -> paid once the money left; clearing or paid ->
returned when it came back, with the bank's reason. Everything in a file is booked in one
transaction, and a file that was booked before changes nothing.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Literal
from xml.etree import ElementTree as ET

import pyarrow as pa

from pipelines.actor import actor
from pipelines.errors import ExpectedError
from pipelines.ledger.entries import Book, Entries, next_number, rows_hash
from pipelines.ledger.verification import PAYMENT_ROWS, verify
from pipelines.ledger.witness import tell_witness
from pipelines.payouts.bank_file import message_id
from pipelines.schema import SETTLEMENTS
from pipelines.schema.invariants import enforce
from pipelines.settings import Home
from pipelines.store.warehouse import CODE_VERSION, Connection, Warehouse, closed_through

Outcome = Literal["paid", "returned"]
_FINAL: dict[str, Outcome] = {
    "ACSC": "paid",
    "ACCC": "paid",
    "RJCT": "returned",
    "CANC": "returned",
}
# ISO 20022 external codes of a rejection because the bank has the message, batch or payment already:
# the second copy of a file is refused, the first one is on its way or made.
_REPEATED = frozenset({"AM05", "DU01", "DU02", "DU03", "DU04", "DU05", "DUPL"})


class SettlementError(ExpectedError, ValueError):
    """A bank's file that cannot be booked: says which, where and why; nothing was written."""


@dataclass(frozen=True)
class Answer:
    """What a file says of one payment, or of all payments of a batch (`batch`: its message id)."""

    payment_id: str
    batch: str
    outcome: Outcome
    happened_on: date
    amount_cents: int | None
    currency: str
    reason: str
    place: str

    @property
    def of_a_copy(self) -> bool:
        """It refuses a copy of what the bank had already, and says nothing of the payment."""
        codes = {said.partition(" ")[0] for said in self.reason.split("; ")}
        return self.outcome == "returned" and bool(codes) and codes <= _REPEATED


@dataclass(frozen=True)
class Settled:
    """One payment whose state a file changed."""

    payment_id: str
    owner: str
    outcome: Outcome
    amount_cents: int
    happened_on: date
    reason: str
    short_cents: int


@dataclass(frozen=True)
class Settlement:
    """What a file changed, what it said that was known, how many of its entries are not ours, and
    how many refuse a copy of a file that the bank had already (`copies`), which changes nothing.
    """

    file: str
    txn_id: str | None
    settled: tuple[Settled, ...]
    known: int
    others: int
    copies: int = 0

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def settle(home: Home, path: Path) -> Settlement:
    """Book what a bank's file says of our payments.

    Raises
    ------
    SettlementError
        The file cannot be read, names another amount or currency than was instructed, says of a
        payment that it was made after it came back, or (CSV) names a payment that there is not.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise SettlementError(f"{path}: cannot be read: {error.strerror}") from error
    answers = list(read(path, content))
    house = Warehouse(home)
    with house.open() as con:
        if findings := verify(con).findings:
            raise SettlementError(
                f"the ledger does not verify: {findings[0]}. See all of it: earnings ledger verify"
            )
        with house.transaction(con, f"settlement of {path.name}"):
            settlement = _book(con, home, path, hashlib.sha256(content).hexdigest(), answers)
    house.publish()
    tell_witness(house)
    return settlement


@dataclass(frozen=True)
class _State:
    owner: str
    day: date
    run: int
    method: str
    currency: str
    cents: int
    where: str
    returned_on: date | None


def _book(  # noqa: PLR0912 - what an answer can mean, case by case
    con: Connection, home: Home, path: Path, digest: str, answers: list[Answer]
) -> Settlement:
    states = _states(con)
    by_batch: dict[str, list[str]] = {}
    for payment_id, state in states.items():
        if state.method == "iban":
            by_batch.setdefault(message_id(state.day, state.run), []).append(payment_id)
    # a payment that left and came back in one file has come back
    final: dict[str, Answer] = {}
    others = copies = 0
    for answer in answers:
        if answer.of_a_copy and path.suffix.lower() != ".csv":
            copies += 1
            continue
        ours = by_batch.get(answer.batch, []) if answer.batch else [answer.payment_id]
        if not ours or (not answer.batch and answer.payment_id not in states):
            if path.suffix.lower() == ".csv":
                raise SettlementError(
                    f"{path}: {answer.place}: there is no payment {answer.payment_id!r}"
                )
            others += 1
            continue
        instructed = sum(states[payment_id].cents for payment_id in ours)
        _check_amount(path, answer, instructed, states[ours[0]].currency)
        for payment_id in ours:
            if payment_id not in final or answer.outcome == "returned":
                final[payment_id] = answer
    settled, known = [], 0
    for payment_id, answer in sorted(final.items()):
        state = states[payment_id]
        if state.where == answer.outcome:
            known += 1
        elif state.where == "returned":
            if state.returned_on is None or answer.happened_on > state.returned_on:
                raise SettlementError(
                    f"{path}: {answer.place}: {payment_id} was paid on {answer.happened_on}, but it"
                    f" came back on {state.returned_on}. Ask the bank; nothing was written."
                )
            known += 1
        else:
            of_all = bool(answer.batch) or answer.amount_cents is None
            named = state.cents if of_all else answer.amount_cents or 0
            settled.append(
                Settled(
                    payment_id,
                    state.owner,
                    answer.outcome,
                    named,
                    answer.happened_on,
                    answer.reason,
                    state.cents - named,
                )
            )
    closed = closed_through(con)
    if not settled or closed is None:
        return Settlement(path.name, None, (), known, others, copies)
    txn_id = f"{closed}/settlement/{next_number(con, closed, 'settlement')}"
    _insert(con, txn_id, closed, path.name, digest, settled)
    con.execute(
        """CREATE OR REPLACE TEMP TABLE answered AS
           WITH held AS (
             SELECT split_part(account, ':', 1) AS kind, account, part,
                    owner_of(account) AS creator_id, outcome,
                    sum(amount_micros) AS micros
             FROM ledger_entries JOIN (SELECT 'payment:' || payment_id AS part, outcome
                                       FROM settlements WHERE txn_id = ?) USING (part)
             WHERE split_part(account, ':', 1) IN ('clearing', 'paid') GROUP BY ALL)
           SELECT account, part, CAST(sum(micros) AS BIGINT) AS amount_micros FROM (
             SELECT account, part, -micros AS micros FROM held
             UNION ALL SELECT outcome || ':' || creator_id, part, micros FROM held)
           GROUP BY ALL HAVING sum(micros) <> 0 ORDER BY account, part""",
        [txn_id],
    )
    made_of = rows_hash(con, PAYMENT_ROWS["settlement"], [txn_id])
    book = Book(con, closed, closed + timedelta(days=1), made_of, "", CODE_VERSION)
    booked = book.append(
        Entries.of(con, "answered"),
        "settlement",
        next_number(con, closed, "settlement"),
        f"the bank's answer: {path.name}",
        None,
        actor=actor(),
    )
    assert booked == txn_id
    limit = home.settings.quarantine_limit
    enforce(con, ["payments", "settlements", "ledger_entries"], closed, quarantine_limit=limit)
    return Settlement(path.name, txn_id, tuple(settled), known, others, copies)


def _states(con: Connection) -> dict[str, _State]:
    """Every payment and the account its money is in."""
    rows = con.execute(
        """SELECT p.payment_id, p.owner, p.day, t.revision, p.method, p.currency, p.amount_cents,
                  w.kind, r.happened_on
           FROM payments AS p JOIN ledger_transactions AS t USING (txn_id)
           LEFT JOIN (SELECT part[9:] AS payment_id, any_value(kind) AS kind FROM (
                        SELECT split_part(account, ':', 1) AS kind, part FROM ledger_entries
                        WHERE starts_with(part, 'payment:')
                        AND split_part(account, ':', 1) IN ('clearing', 'paid', 'returned')
                        GROUP BY ALL HAVING sum(amount_micros) > 0) GROUP BY part) AS w
             USING (payment_id)
           LEFT JOIN (SELECT payment_id, max(happened_on) AS happened_on FROM settlements
                      WHERE outcome = 'returned' GROUP BY ALL) AS r USING (payment_id)"""
    ).fetchall()
    # money that came back and went out again under another id is in none of them: it was returned
    return {
        payment_id: _State(owner, day, run, method, currency, amount, where or "returned", back_on)
        for payment_id, owner, day, run, method, currency, amount, where, back_on in rows
    }


def _check_amount(path: Path, answer: Answer, instructed: int, currency: str) -> None:
    if answer.currency and answer.currency != currency:
        raise SettlementError(
            f"{path}: {answer.place}: {answer.currency}, but the payment was in {currency}"
        )
    if answer.amount_cents is None:
        return
    wrong = answer.amount_cents != instructed
    if answer.outcome == "returned" and not answer.batch:  # the bank may have taken a charge off
        wrong = not 0 < answer.amount_cents <= instructed
    if wrong:
        raise SettlementError(
            f"{path}: {answer.place}: {answer.amount_cents} cents {answer.outcome}, but"
            f" {instructed} were instructed. Ask the bank; nothing was written."
        )


def _insert(
    con: Connection, txn_id: str, day: date, file: str, digest: str, settled: list[Settled]
) -> None:
    rows = [
        {
            "txn_id": txn_id,
            "day": day,
            "payment_id": s.payment_id,
            "outcome": s.outcome,
            "amount_cents": s.amount_cents,
            "happened_on": s.happened_on,
            "reason": s.reason,
            "file": file,
            "sha256": digest,
        }
        for s in settled
    ]
    types = {"VARCHAR": pa.string(), "DATE": pa.date32(), "BIGINT": pa.int64()}
    schema = pa.schema([(c.name, types[c.type]) for c in SETTLEMENTS.columns])
    con.register("settled_rows", pa.Table.from_pylist(rows, schema))
    con.execute("INSERT INTO settlements BY NAME FROM settled_rows")
    con.unregister("settled_rows")


# --------------------------------------------------------------------------------------------------
# Files


def read(path: Path, content: bytes) -> Iterator[Answer]:
    """What a file says, by its kind: CSV by its name, else the XML message in it, of any
    version.
    """
    if path.suffix.lower() == ".csv":
        yield from _csv(path, content)
        return
    try:
        if b"<!DOCTYPE" in content:
            raise SettlementError(f"{path}: has a DTD, which no bank's message has")
        root = ET.fromstring(content)
    except ET.ParseError as error:
        raise SettlementError(f"{path}: not XML: {error}") from error
    for element in root.iter():  # versions differ in the namespace alone, as far as is read here
        element.tag = element.tag.rpartition("}")[2]
    if (report := root.find("CstmrPmtStsRpt")) is not None:
        yield from _pain_002(path, report)
    elif (statements := root.find("BkToCstmrStmt")) is not None:
        yield from _camt_053(path, statements)
    else:
        raise SettlementError(f"{path}: neither pain.002 nor camt.053, nor CSV by its name")


def _csv(path: Path, content: bytes) -> Iterator[Answer]:
    try:
        rows = csv.DictReader(io.StringIO(content.decode("utf-8-sig")), strict=True)
        names = {"payment_id", "outcome", "day"}
        if missing := names - set(rows.fieldnames or ()):
            raise SettlementError(
                f"{path}: line 1: column {', '.join(sorted(missing))} is missing; columns are"
                " payment_id, outcome, day, and where known amount_cents, reason"
            )
        for row in rows:
            place = f"line {rows.line_num}"
            outcome, cents = (row["outcome"] or "").strip(), (row.get("amount_cents") or "").strip()
            if outcome not in ("paid", "returned"):
                raise SettlementError(f"{path}: {place}: outcome {outcome!r}: paid or returned")
            if cents and not cents.isdigit():
                raise SettlementError(f"{path}: {place}: amount_cents {cents!r}: whole cents")
            yield Answer(
                (row["payment_id"] or "").strip(),
                "",
                "paid" if outcome == "paid" else "returned",
                _day(path, place, row["day"] or ""),
                int(cents) if cents else None,
                "",
                (row.get("reason") or "").strip(),
                place,
            )
    except (UnicodeDecodeError, csv.Error) as error:
        raise SettlementError(f"{path}: cannot be read: {error}") from error


def _pain_002(path: Path, report: ET.Element) -> Iterator[Answer]:
    on = _day(path, "GrpHdr", _text(report, "GrpHdr/CreDtTm"))
    group = report.find("OrgnlGrpInfAndSts")
    if group is not None and (outcome := _FINAL.get(_text(group, "GrpSts"))):
        batch = _text(group, "OrgnlMsgId")
        yield Answer("", batch, outcome, on, None, "", _reasons(group), f"message {batch}")
    for batch_report in report.findall("OrgnlPmtInfAndSts"):
        single = batch_report.findall("TxInfAndSts")
        outcome = _FINAL.get(_text(batch_report, "PmtInfSts"))
        if outcome and not single:
            batch = _text(batch_report, "OrgnlPmtInfId")
            yield Answer("", batch, outcome, on, None, "", _reasons(batch_report), f"batch {batch}")
        for transfer in single:
            if said := _FINAL.get(_text(transfer, "TxSts")):
                name = _text(transfer, "OrgnlEndToEndId")
                yield Answer(name, "", said, on, None, "", _reasons(transfer), f"payment {name}")


def _camt_053(path: Path, statements: ET.Element) -> Iterator[Answer]:
    for entry in statements.findall("Stmt/Ntry"):
        booked = entry.find("Sts")
        if booked is None or (booked.text or "").strip() + _text(booked, "Cd") != "BOOK":
            continue
        debit = _text(entry, "CdtDbtInd") == "DBIT"
        back = _text(entry, "RvslInd") == "true"
        place = f"entry {_text(entry, 'NtryRef') or _text(entry, 'AcctSvcrRef')}".strip()
        on = _day(path, place, _text(entry, "BookgDt/Dt") or _text(entry, "BookgDt/DtTm"))
        transfers = entry.findall("NtryDtls/TxDtls")
        for transfer in transfers:
            name = _text(transfer, "Refs/EndToEndId")
            came_back = back or transfer.find("RtrInf") is not None
            if debit == came_back or not name:
                continue  # money that came in, or a return of what came in: not ours
            value = transfer.find("Amt")
            if value is None:
                value = transfer.find("AmtDtls/TxAmt/Amt")
            if value is None and len(transfers) == 1:
                value = entry.find("Amt")
            cents, currency = _cents(path, place, value)
            reason = _reasons(transfer, "RtrInf") if came_back else ""
            outcome: Outcome = "returned" if came_back else "paid"
            yield Answer(name, "", outcome, on, cents, currency, reason, f"{place}, payment {name}")
        batch = _text(entry, "NtryDtls/Btch/PmtInfId") or _text(entry, "NtryDtls/Btch/MsgId")
        if batch and not transfers and debit != back:
            outcome = "returned" if back else "paid"
            cents, currency = _cents(path, place, entry.find("Amt"))
            yield Answer("", batch, outcome, on, cents, currency, "", f"{place}, batch {batch}")


def _reasons(element: ET.Element, inside: str = "StsRsnInf") -> str:
    """The bank's code and words, e.g. `AC04 account closed`."""
    found = []
    for reason in element.findall(inside):
        code = _text(reason, "Rsn/Cd") or _text(reason, "Rsn/Prtry")
        words = " ".join((e.text or "").strip() for e in reason.findall("AddtlInf"))
        found.append(f"{code} {words}".strip())
    return "; ".join(r for r in found if r)


def _text(element: ET.Element, path: str) -> str:
    return (element.findtext(path) or "").strip()


def _day(path: Path, place: str, text: str) -> date:
    try:
        if len(text) <= len("2026-03-07"):
            return date.fromisoformat(text.strip())
        moment = datetime.fromisoformat(text.strip())
    except ValueError as error:
        raise SettlementError(f"{path}: {place}: {text!r} is no day") from error
    return (moment.astimezone(UTC) if moment.tzinfo else moment).date()


def _cents(path: Path, place: str, value: ET.Element | None) -> tuple[int | None, str]:
    if value is None:
        return None, ""
    whole, _, rest = (value.text or "").strip().partition(".")
    rest = rest.rstrip("0").ljust(2, "0")
    if not whole.isdigit() or not rest.isdigit() or len(rest) != 2:
        raise SettlementError(f"{path}: {place}: {value.text!r} is no amount in cents")
    return int(whole) * 100 + int(rest), value.get("Ccy", "")
