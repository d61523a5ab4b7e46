"""What the bank answers: payments that were made, and money that comes back to the creator."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from io import BytesIO
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
import sepaxml
import xmlschema
from pycamt.parser import Camt053Parser

from pipelines.ledger.statement import creator_month, html, text
from pipelines.ledger.verification import verify
from pipelines.payouts.runs import Overrides, Payment, PayoutRun, pay
from pipelines.payouts.settlement import SettlementError, settle
from pipelines.payouts.state import creators_money, money_state
from pipelines.settings import Home
from pipelines.store.warehouse import Warehouse
from tests.cases.five_days import DAYS, rows
from tests.payouts.conftest import ON, deliver, iban, payee

LAST = DAYS[-1]


def paid(home: Home, on: date = ON, chosen: Overrides | None = None) -> PayoutRun:
    shown = pay(home, LAST, on=on, overrides=chosen)
    return pay(home, LAST, on=on, overrides=chosen, expected=shown.digest)


def everybody(home: Home) -> tuple[Payment, ...]:
    """Pay everybody."""
    creators = [row[0] for row in rows(home, "SELECT DISTINCT creator_id FROM statements")]
    deliver(home, [payee(c, n) for n, c in enumerate(sorted(creators), 1)])
    return paid(home).payments


def where(home: Home) -> dict[str, int]:
    """Cents by place of all money; the ledger verifies and everything adds up."""
    with Warehouse(home).open(read_only=True) as con:
        assert verify(con).findings == ()
        assert all(of.adds_up for of in creators_money(con))
        state = money_state(con, on=ON, clearing_days=10)
    return {name: micros // 10_000 for name, micros in state.places.items() if name != "owed"}


def csv_file(folder: Path, lines: Sequence[str], name: str = "answers.csv") -> Path:
    path = folder / name
    path.write_text("\n".join(["payment_id,outcome,day,amount_cents,reason", *lines]) + "\n")
    return path


def camt(
    folder: Path,
    made: Sequence[Payment],
    back: Sequence[Payment],
    on: date = ON,
    charge: int = 0,
    name: str = "camt053.xml",
) -> Path:
    """A bank's statement (version 8) with debits and returns, and an entry that is not ours."""

    def entry(payment_id: str, cents: int, debit: bool, reason: str = "") -> str:
        amount = f'<Amt Ccy="EUR">{cents // 100}.{cents % 100:02d}</Amt>'
        side = f"<CdtDbtInd>{'DBIT' if debit else 'CRDT'}</CdtDbtInd>"
        back = f"<RtrInf><Rsn><Cd>{reason}</Cd></Rsn><AddtlInf>no such account</AddtlInf></RtrInf>"
        return f"""<Ntry>{amount}{side}<Sts><Cd>BOOK</Cd></Sts><BookgDt><Dt>{on}</Dt></BookgDt>
          <BkTxCd/><NtryDtls><TxDtls><Refs><EndToEndId>{payment_id}</EndToEndId></Refs>{amount}
          {side}{back if reason else ""}</TxDtls></NtryDtls></Ntry>"""

    entries = [entry(p.payment_id, p.amount_cents, True) for p in made]
    entries += [entry(p.payment_id, p.amount_cents - charge, False, "AC01") for p in back]
    entries.append(entry("RENT-7", 50_000, True))
    path = folder / name
    path.write_text(f"""<?xml version="1.0"?>
      <Document xmlns="urn:iso:std:iso:20022:tech:xsd:camt.053.001.08"><BkToCstmrStmt>
      <GrpHdr><MsgId>1</MsgId><CreDtTm>{on}T20:00:00</CreDtTm></GrpHdr>
      <Stmt><Id>1</Id><Acct><Id><IBAN>{iban(1)}</IBAN></Id></Acct>{"".join(entries)}</Stmt>
      </BkToCstmrStmt></Document>""")
    return path


def test_the_bank_file_is_what_the_schema_and_another_writer_say(closed: Home) -> None:
    payments = everybody(closed)
    [path] = (closed.root / "payments").glob("*/pain.001.xml")
    schema = xmlschema.XMLSchema(Path(sepaxml.__file__).parent / "schemas" / "pain.001.001.09.xsd")
    schema.validate(path)
    other = sepaxml.SepaTransfer(
        {
            "name": "Platform AG",
            "IBAN": "DE89370400440532013000",
            "BIC": "COBADEFFXXX",
            "batch": True,
            "currency": "EUR",
        },
        schema="pain.001.001.09",
    )
    for p in sorted(payments, key=lambda p: p.payment_id):
        other.add_payment(
            {
                "name": p.name,
                "IBAN": p.account,
                "amount": p.amount_cents,
                "execution_date": ON,
                "description": f"Earnings {p.payment_id}",
                "endtoend_id": p.payment_id,
            }
        )
    assert gist(path.read_bytes()) == gist(other.export())


def gist(message: bytes) -> dict[str, list[str]]:
    """Everything two writers must agree on, by tag."""
    tags = ("NbOfTxs", "CtrlSum", "EndToEndId", "InstdAmt", "IBAN", "Nm", "Ustrd", "PmtMtd", "Dt")
    found: dict[str, list[str]] = {tag: [] for tag in tags}
    for element in ET.parse(BytesIO(message)).iter():
        tag = element.tag.rpartition("}")[2]
        if tag in found and (element.text or "").strip():
            found[tag].append(str(element.text))
    return found


def test_a_statement_of_the_bank_settles_payments_once_and_returns_go_back_with_the_reason(
    closed: Home, tmp_path: Path
) -> None:
    payments = everybody(closed)
    total, (back, *most) = sum(p.amount_cents for p in payments), payments
    assert where(closed)["clearing"] == total
    path = camt(tmp_path, payments, [back], charge=3)
    # the file is one that another reader takes
    assert len(Camt053Parser(path.read_text()).get_transactions()) == len(payments) + 2
    done = settle(closed, path)
    assert (len(done.settled), done.known, done.others) == (len(payments), 0, 1)
    [returned] = [s for s in done.settled if s.outcome == "returned"]
    assert (returned.payment_id, returned.short_cents) == (back.payment_id, 3)
    assert returned.reason == "AC01 no such account"
    after = where(closed)
    assert after["clearing"] == 0
    assert (after["paid"], after["returned"]) == (total - back.amount_cents, back.amount_cents)
    again = settle(closed, path)
    assert (again.settled, again.txn_id, again.known) == ((), None, len(payments))
    # the same account is not tried again, unless somebody says so; another one is
    run = paid(closed, ON + timedelta(days=1))
    assert (run.payments, [left.state for left in run.left]) == ((), ["returned"])
    retry = pay(
        closed, LAST, on=ON, overrides=Overrides(pay_again=(back.owner,), reason="the bank erred")
    )
    assert [p.amount_cents for p in retry.payments] == [back.amount_cents]
    deliver(closed, [payee(back.owner[8:], 77)], DAYS[1])
    [corrected] = paid(closed, ON + timedelta(days=1)).payments
    assert (corrected.account, corrected.amount_cents) == (iban(77), back.amount_cents)
    assert corrected.payment_id != back.payment_id
    settle(closed, path)  # the old file, after the money went out again
    made = [f"{corrected.payment_id},paid,{ON},{corrected.amount_cents},"]
    settle(closed, csv_file(tmp_path, made))
    assert where(closed) == {**dict.fromkeys(after, 0), "paid": total}
    assert len(most) == len(payments) - 1
    with Warehouse(closed).open(read_only=True) as con:
        month = creator_month(con, back.owner[8:], LAST.year, LAST.month)
    assert [(t.state, t.micros) for t in month.transfers] == [
        ("returned", 10_000 * back.amount_cents),
        ("paid", 10_000 * back.amount_cents),
    ]
    assert month.waiting == ()
    for page in (text(month), html(month)):
        assert f"came back on {ON} ({back.payment_id}): AC01 no such account" in page
        assert f"paid on {ON} ({corrected.payment_id})" in page


def test_rejected_and_late_payments_and_files_that_cannot_be(closed: Home, tmp_path: Path) -> None:
    payments = everybody(closed)
    first, second, *_ = payments
    total = sum(p.amount_cents for p in payments)
    report = tmp_path / "pain002.xml"

    def status(of_all: str, *single: tuple[str, str]) -> Path:
        transfers = "".join(
            f"<TxInfAndSts><OrgnlEndToEndId>{name}</OrgnlEndToEndId><TxSts>{said}</TxSts>"
            "<StsRsnInf><Rsn><Cd>AC04</Cd></Rsn></StsRsnInf></TxInfAndSts>"
            for name, said in single
        )
        report.write_text(f"""<Document xmlns="urn:iso:std:iso:20022:tech:xsd:pain.002.001.03">
          <CstmrPmtStsRpt><GrpHdr><MsgId>9</MsgId><CreDtTm>{ON}T12:00:00+02:00</CreDtTm></GrpHdr>
          <OrgnlGrpInfAndSts><OrgnlMsgId>PAY-20260305-1</OrgnlMsgId>
          <OrgnlMsgNmId>pain.001.001.09</OrgnlMsgNmId><GrpSts>{of_all}</GrpSts></OrgnlGrpInfAndSts>
          <OrgnlPmtInfAndSts><OrgnlPmtInfId>PAY-20260305-1</OrgnlPmtInfId>{transfers}
          </OrgnlPmtInfAndSts></CstmrPmtStsRpt></Document>""")
        return report

    # accepted is not paid; one is rejected
    done = settle(closed, status("PART", (first.payment_id, "RJCT"), (second.payment_id, "ACSP")))
    assert [(s.payment_id, s.outcome, s.reason) for s in done.settled] == [
        (first.payment_id, "returned", "AC04")
    ]
    with Warehouse(closed).open(read_only=True) as con:
        soon = money_state(con, on=ON + timedelta(days=10), clearing_days=10)
        late = money_state(con, on=ON + timedelta(days=11), clearing_days=10)
    assert (soon.waiting, len(late.waiting)) == ((), len(payments) - 1)
    p = second.payment_id
    for line, complaint in {
        f"{p},lost,{ON},1,": "line 2: outcome 'lost'",
        f"{p},paid,{ON},1,": f"1 cents paid, but {second.amount_cents} were instructed",
        f"{p},paid,{ON},1.5,": "whole cents",
        f"{p},paid,yesterday,,": "'yesterday' is no day",
        f"x,paid,{ON},,": "there is no payment 'x'",
        f"{p},returned,{ON},{second.amount_cents + 1},": "returned, but",
        f"{first.payment_id},paid,{ON + timedelta(days=1)},,": "came back on",
    }.items():
        with pytest.raises(SettlementError, match=complaint):
            settle(closed, csv_file(tmp_path, [line]))
    (tmp_path / "x.xml").write_text("<Document><Other/></Document>")
    with pytest.raises(SettlementError, match="neither pain"):
        settle(closed, tmp_path / "x.xml")
    assert where(closed)["clearing"] == total - first.amount_cents
    assert len(settle(closed, status("RJCT")).settled) == len(payments) - 1  # the whole batch
    assert where(closed)["returned"] == total
