"""What goes to the bank: ISO 20022 pain.001.001.09, a table of all payments, and control totals.

What belongs here: files as a function of the tables `payments` and the ledger, so that writing them
again gives the same bytes. Nothing is decided here.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

from pipelines.files import replacing
from pipelines.money import MICROS_PER_CENT
from pipelines.plain import csv_cell
from pipelines.settings import Home, Payouts
from pipelines.store.warehouse import Connection

NAMESPACE = "urn:iso:std:iso:20022:tech:xsd:pain.001.001.09"
COLUMNS = (
    "payment_id",
    "owner",
    "name",
    "method",
    "account",
    "bank",
    "country",
    "currency",
    "amount_cents",
    "requested_on",
)


class ControlError(AssertionError):
    """The instructions and the ledger name different totals: nothing is written."""


@dataclass(frozen=True)
class Instruction:
    """A row of `payments`."""

    payment_id: str
    owner: str
    name: str
    method: str
    account: str
    bank: str | None
    country: str
    currency: str
    amount_cents: int
    requested_on: date


def message_id(day: date, run: int) -> str:
    """Identity of a run's bank file: the bank refuses a second one with the same.

    >>> message_id(date(2026, 3, 7), 1)
    'PAY-20260307-1'
    """
    return f"PAY-{day:%Y%m%d}-{run}"


def write_files(con: Connection, home: Home, through: date, folder: Path) -> list[Path]:
    """Write the files of all runs for a closed day, `<folder>/<message id>/`; returns them.

    Raises
    ------
    ControlError
        The total of a run's instructions is not what the ledger moved into clearing.
    """
    written = []
    for txn_id, run, head, booked in con.execute(
        """SELECT t.txn_id, revision, t.hash,
                  sum(amount_micros) FILTER (starts_with(account, 'clearing:'))::BIGINT
           FROM ledger_transactions AS t JOIN ledger_entries AS e USING (txn_id)
           WHERE kind = 'payment' AND t.day = ? GROUP BY ALL ORDER BY revision""",
        [through],
    ).fetchall():
        found = con.execute(
            f"SELECT {', '.join(COLUMNS)} FROM payments WHERE txn_id = ? ORDER BY payment_id",
            [txn_id],
        ).fetchall()
        instructions = [Instruction(*row) for row in found]
        total = sum(i.amount_cents for i in instructions)
        if total * MICROS_PER_CENT != (booked or 0):
            raise ControlError(f"{txn_id}: {total} cents are instructed, {booked} micros booked")
        if instructions:
            name = message_id(through, run)
            written += _write(
                folder / name, name, txn_id, head, instructions, home.settings.payouts
            )
    return written


def _write(
    folder: Path,
    name: str,
    txn_id: str,
    head: str,
    instructions: Sequence[Instruction],
    payer: Payouts,
) -> list[Path]:
    contents = {"payments.csv": table(instructions).encode()}
    by_bank = [i for i in instructions if i.method == "iban"]
    if by_bank and payer.account:
        contents["pain.001.xml"] = pain_001(name, by_bank, payer)
    control: dict[str, Any] = {
        "message_id": name,
        "transaction": txn_id,
        "transaction_hash": head,
        "payments": len(instructions),
        "amount_cents": sum(i.amount_cents for i in instructions),
        "by_method": {
            method: {
                "payments": sum(i.method == method for i in instructions),
                "amount_cents": sum(i.amount_cents for i in instructions if i.method == method),
            }
            for method in sorted({i.method for i in instructions})
        },
        "sha256": {n: hashlib.sha256(content).hexdigest() for n, content in contents.items()},
    }
    contents["control.json"] = (json.dumps(control, indent=2) + "\n").encode()
    for file, content in contents.items():
        with replacing(folder / file) as partial:
            partial.write_bytes(content)
    return [folder / file for file in contents]


def table(instructions: Sequence[Instruction]) -> str:
    """All instructions as CSV, whatever their method; amounts are whole cents."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for i in instructions:  # a name is for people to read, an account for programs
        row = {name: getattr(i, name) for name in COLUMNS} | {"name": csv_cell(i.name)}
        writer.writerow(row.values())
    return text.getvalue()


def pain_001(name: str, instructions: Sequence[Instruction], payer: Payouts) -> bytes:
    """A customer credit transfer initiation with one batch, in the order of the instructions.

    In euro it is a SEPA credit transfer. The time of creation is midnight of the requested day, so
    that the same payments are the same bytes.
    """
    ET.register_namespace("", NAMESPACE)
    currency, on = instructions[0].currency, instructions[0].requested_on
    totals = {
        "NbOfTxs": str(len(instructions)),
        "CtrlSum": amount(sum(i.amount_cents for i in instructions)),
    }
    root = ET.Element(f"{{{NAMESPACE}}}Document")
    message = _add(root, "CstmrCdtTrfInitn")
    header = _add(message, "GrpHdr")
    _add(header, "MsgId", name)
    _add(header, "CreDtTm", f"{on}T00:00:00Z")
    for tag, value in totals.items():
        _add(header, tag, value)
    _add(header, "InitgPty/Nm", payer.name or payer.account)
    batch = _add(message, "PmtInf")
    _add(batch, "PmtInfId", name)
    _add(batch, "PmtMtd", "TRF")
    for tag, value in totals.items():
        _add(batch, tag, value)
    if currency == "EUR":
        _add(batch, "PmtTpInf/SvcLvl/Cd", "SEPA")
    _add(batch, "ReqdExctnDt/Dt", str(on))
    _add(batch, "Dbtr/Nm", payer.name or payer.account)
    _add(batch, "DbtrAcct/Id/IBAN", payer.account)
    if payer.bank:
        _add(batch, "DbtrAgt/FinInstnId/BICFI", payer.bank)
    else:
        _add(batch, "DbtrAgt/FinInstnId/Othr/Id", "NOTPROVIDED")
    _add(batch, "ChrgBr", "SLEV" if currency == "EUR" else "SHAR")
    for i in instructions:
        transfer = _add(batch, "CdtTrfTxInf")
        _add(transfer, "PmtId/EndToEndId", i.payment_id)
        _add(transfer, "Amt/InstdAmt", amount(i.amount_cents)).set("Ccy", i.currency)
        if i.bank:
            _add(transfer, "CdtrAgt/FinInstnId/BICFI", i.bank)
        payee = _add(transfer, "Cdtr")
        _add(payee, "Nm", i.name)
        _add(payee, "PstlAdr/Ctry", i.country)
        _add(transfer, "CdtrAcct/Id/IBAN", i.account)
        _add(transfer, "RmtInf/Ustrd", f"Earnings {i.payment_id}")
    ET.indent(root)
    text: str = ET.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n'.encode()


def amount(cents: int) -> str:
    """Cents as a decimal of the file.

    >>> amount(123405)
    '1234.05'
    """
    return f"{cents // 100}.{cents % 100:02d}"


def _add(parent: ET.Element, path: str, text: str | None = None) -> ET.Element:
    """A new element below `parent`, with the elements on the way to it."""
    for tag in path.split("/"):
        parent = ET.SubElement(parent, f"{{{NAMESPACE}}}{tag}")
    parent.text = text
    return parent
