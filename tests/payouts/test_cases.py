"""What creators live through, case by case: a file that is sent twice, six months below the minimum,
money paid and then taken back, two identities, accounts that became one.
"""

from __future__ import annotations

import random
from datetime import date, timedelta
from pathlib import Path

import pytest

from pipelines.ledger.closing import close
from pipelines.ledger.verification import verify
from pipelines.payouts.issued import issued
from pipelines.payouts.runs import PayoutRun, pay
from pipelines.payouts.settlement import settle
from pipelines.payouts.state import creators_money, money_state
from pipelines.settings import Home
from pipelines.store.warehouse import Warehouse
from tests.cases.five_days import rows
from tests.payouts.conftest import PAYER, deliver, iban, payee
from tests.payouts.test_months import CREATORS, FIRST, Month

CENTS = 10_000
SETTINGS = "first_day = 2026-03-01\nlast_day = 2026-12-31\npublish = false\nthreads = 1\n"


class Given(random.Random):
    """What the days of a test earn, creator by creator, in the order of CREATORS."""

    def choice(self, seq: object) -> int:  # type: ignore[override]
        return self.amounts.pop(0)

    amounts: list[int]


@pytest.fixture
def month(tmp_path: Path) -> Month:
    root = tmp_path / "home"
    root.mkdir()
    (root / "settings.toml").write_text(SETTINGS + PAYER)
    return Month(Home.at(root), Given())


def earn(month: Month, day: date, *, reason: str | None = None, **cents: int) -> None:
    month.chance.amounts = [CENTS * cents.get(c.replace(":", ""), 0) for c in CREATORS]  # type: ignore[attr-defined]
    month.earn(day, reason=reason)


def close_and_pay(month: Month, day: date, **identity: str) -> PayoutRun:
    """`identity`: who stands behind accounts from that day on, known when it was closed already."""
    close(month.home, day)
    if identity:
        identify(month, day, **identity)
    shown = pay(month.home, day, on=day)
    return pay(month.home, day, on=day, expected=shown.digest)


def money(month: Month, creator: str) -> dict[str, int]:
    """Where a creator's money is, in cents; adds up, and the ledger verifies."""
    with Warehouse(month.home).open(read_only=True) as con:
        assert verify(con).findings == ()
        [of] = creators_money(con, creator)
        assert of.adds_up
        return {place: micros // CENTS for place, micros in of.places.items() if micros}


def state(month: Month, creator: str, through: date) -> str:
    """What the creator's statement says of its money."""
    with Warehouse(month.home).open(read_only=True) as con:
        [of] = issued(con, month.home, through, on=through, creators=[creator])
        return of.state


def answer(month: Month, *lines: str) -> None:
    path = month.home.root / "answer.csv"
    path.write_text("\n".join(["payment_id,outcome,day,reason", *lines]) + "\n")
    settle(month.home, path)


def days(count: int) -> list[date]:
    return [FIRST + timedelta(days=n) for n in range(count)]


def test_six_months_below_the_minimum_are_one_payment_in_the_seventh(month: Month) -> None:
    deliver(month.home, [payee("a", 1, minimum_cents=500)], FIRST)
    *below, seventh = days(7)
    for number, day in enumerate(below, 1):
        earn(month, day, a=80)
        assert close_and_pay(month, day).payments == ()
        assert money(month, "a") == {"statement": 80 * number}
        assert state(month, "a", day) == "below the minimum"
    earn(month, seventh, a=80)
    [payment] = close_and_pay(month, seventh).payments
    assert payment.amount_cents == 7 * 80
    assert money(month, "a") == {"clearing": 560}
    answer(month, f"{payment.payment_id},paid,{seventh},")
    assert money(month, "a") == {"paid": 560}


def test_what_was_paid_and_then_taken_back_comes_off_later_earnings_once(month: Month) -> None:
    """Overpaid, restated to less after the bank had paid: a negative balance that is never asked
    for twice, and never below what was earned in the end.
    """
    first, second, third, fourth = days(4)
    deliver(month.home, [payee("a", 1)], FIRST)
    earn(month, first, a=1000)
    [payment] = close_and_pay(month, first).payments
    answer(month, f"{payment.payment_id},paid,{first},")
    earn(month, first, reason="advertiser did not pay", a=300)
    assert money(month, "a") == {"owed": -700, "paid": 1000}
    earn(month, second, a=200)
    assert close_and_pay(month, second).payments == ()
    assert money(month, "a") == {"owed": -500, "paid": 1000}
    [(stated, carried)] = rows(
        month.home,
        "SELECT paid_cents, carried_forward_micros FROM statements WHERE creator_id = 'a'"
        " AND day = ?",
        second,
    )
    assert (stated, carried) == (0, -500 * CENTS)
    earn(month, third, a=800)
    [rest] = close_and_pay(month, third).payments
    assert rest.amount_cents == 300  # 300 + 200 + 800 earned, 1000 paid before
    answer(month, f"{rest.payment_id},paid,{third},")
    assert money(month, "a") == {"paid": 1300}
    earn(month, fourth, a=100)
    [after] = close_and_pay(month, fourth).payments
    assert after.amount_cents == 100  # nothing is taken a second time


def test_money_restated_away_while_the_bank_has_it_and_then_returned_is_kept_against_the_debt(
    month: Month,
) -> None:
    first, second = days(2)
    deliver(month.home, [payee("a", 1)], FIRST)
    earn(month, first, a=1000)
    [payment] = close_and_pay(month, first).payments
    earn(month, first, reason="bots", a=0)
    answer(month, f"{payment.payment_id},returned,{first},AC04")
    assert money(month, "a") == {"owed": -1000, "returned": 1000}
    earn(month, second, a=100)
    deliver(month.home, [payee("a", 2)], second)
    assert [p.amount_cents for p in close_and_pay(month, second).payments] == [100]


def test_a_payment_file_that_the_bank_gets_twice_pays_once(month: Month, tmp_path: Path) -> None:
    """The same bytes; and the bank's refusal of the copy is no return."""
    [day, later] = days(2)
    deliver(month.home, [payee("a", 1), payee("b", 2)], FIRST)
    earn(month, day, a=500, b=700)
    done = close_and_pay(month, day)
    [bank_file] = [Path(f) for f in done.files if f.endswith("pain.001.xml")]
    sent = bank_file.read_bytes()
    bank_file.unlink()
    again = pay(month.home, day, on=later, expected=pay(month.home, day, on=later).digest)
    assert again.payments == ()
    assert bank_file.read_bytes() == sent
    before = money(month, "a")
    for code in ("AM05", "DUPL", "DU01"):
        for level in ("group", "payment"):
            refused = tmp_path / f"{code}-{level}.xml"
            refused.write_text(refusal(done, code, level))
            said = settle(month.home, refused)
            assert (said.settled, said.copies > 0) == ((), True)
    assert money(month, "a") == before == {"clearing": 500}
    answer(month, *(f"{p.payment_id},paid,{day}," for p in done.payments))
    real = tmp_path / "closed.xml"
    real.write_text(refusal(done, "AC04", "payment"))
    assert len(settle(month.home, real).settled) == 2  # another reason is a return, after all


def refusal(done: PayoutRun, code: str, level: str) -> str:
    """pain.002 that rejects the whole message, or each payment."""
    why = f"<StsRsnInf><Rsn><Cd>{code}</Cd></Rsn></StsRsnInf>"
    message = f"PAY-{done.through:%Y%m%d}-1"
    group = f"<GrpSts>RJCT</GrpSts>{why}" if level == "group" else ""
    transfers = "".join(
        f"<TxInfAndSts><OrgnlEndToEndId>{p.payment_id}</OrgnlEndToEndId><TxSts>RJCT</TxSts>{why}"
        "</TxInfAndSts>"
        for p in (done.payments if level == "payment" else ())
    )
    return f"""<Document xmlns="urn:iso:std:iso:20022:tech:xsd:pain.002.001.03"><CstmrPmtStsRpt>
      <GrpHdr><MsgId>{code}{level}</MsgId><CreDtTm>2026-03-09T12:00:00</CreDtTm></GrpHdr>
      <OrgnlGrpInfAndSts><OrgnlMsgId>{message}</OrgnlMsgId>{group}</OrgnlGrpInfAndSts>
      <OrgnlPmtInfAndSts><OrgnlPmtInfId>{message}</OrgnlPmtInfId>{transfers}</OrgnlPmtInfAndSts>
      </CstmrPmtStsRpt></Document>"""


def identify(month: Month, day: date, **identity: str) -> None:
    """Another snapshot of creators: who stands behind which account from a day on."""
    named = [
        f"SELECT DATE '{day}' AS day, '{creator}' AS creator_id,"
        f" '{who}' AS identity_id,"
        " NULL::BIGINT AS followers, 'landing' AS source"
        for creator, who in identity.items()
    ]
    house = Warehouse(month.home)
    with house.open() as con, house.transaction(con, "creators"):
        others = f"FROM creators WHERE day = DATE '{day}' AND creator_id NOT IN {*identity, ''}"
        with house.rewrite_day(con, day) as writer:
            writer.replace("creators", " UNION ALL ".join([*named, others]))
            writer.written.clear()


def test_a_creator_with_two_identities_is_paid_by_the_one_that_holds_on_the_day(
    month: Month,
) -> None:
    first, second, third = days(3)
    deliver(month.home, [
        payee("a", 1, owner="identity:old"), payee("a", 2, owner="identity:new"),
    ], FIRST)  # fmt: skip
    earn(month, first, a=100)
    assert [p.owner for p in close_and_pay(month, first, a="old").payments] == ["identity:old"]
    earn(month, second, a=40)
    [payment] = close_and_pay(month, second, a="new").payments
    assert (payment.owner, payment.account, payment.amount_cents) == ("identity:new", iban(2), 40)
    # a row of its own counts before any identity
    deliver(month.home, [payee("a", 3)], third)
    earn(month, third, a=7)
    assert [p.owner for p in close_and_pay(month, third).payments] == ["creator:a"]
    assert money(month, "a") == {"clearing": 147}


def test_accounts_that_became_one_take_what_was_left_on_the_old_one_along(month: Month) -> None:
    first, second = days(2)
    deliver(month.home, [payee("a", 1, minimum_cents=500), payee("b", 2)], FIRST)
    earn(month, first, a=120, b=300)
    assert [p.owner for p in close_and_pay(month, first).payments] == ["creator:b"]
    assert money(month, "a") == {"statement": 120}
    # a is merged into the identity of b; its own row in payees is gone for good
    deliver(month.home, [payee("b", 2, owner="identity:person", minimum_cents=500)], second)
    (month.home.landing / "payees" / str(FIRST) / "payees.csv").write_text(
        "owner,name,method,account,currency,country\n"
    )
    earn(month, second, b=400)
    [payment] = close_and_pay(month, second, a="person", b="person").payments
    assert (payment.owner, payment.amount_cents) == ("identity:person", 520)
    assert money(month, "a") == {"clearing": 120}
    answer(month, f"{payment.payment_id},paid,{second},")
    assert money(month, "a") == {"paid": 120}
    with Warehouse(month.home).open(read_only=True) as con:
        assert money_state(con, on=second, clearing_days=30).places["statement"] == 0
