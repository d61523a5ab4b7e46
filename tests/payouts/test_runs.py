"""Payout runs: who is paid, who is not and why; the same run twice is one payment."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from pipelines.ledger.statement import creator_month
from pipelines.ledger.verification import verify
from pipelines.payouts.runs import Overrides, PayoutError, PayoutRun, pay
from pipelines.payouts.state import creators_money
from pipelines.settings import Home
from pipelines.store.warehouse import Warehouse
from tests.cases.five_days import DAYS, rows
from tests.payouts.conftest import ON, deliver, payee

LAST = DAYS[-1]


def paid(home: Home, on: date = ON, **how: object) -> PayoutRun:
    """Look, then pay; the ledger verifies and every creator's money adds up afterwards."""
    shown = pay(home, LAST, on=on, **how)  # type: ignore[arg-type]
    done = pay(home, LAST, on=on, expected=shown.digest, **how)  # type: ignore[arg-type]
    with Warehouse(home).open(read_only=True) as con:
        assert verify(con).findings == ()
        assert all(of.adds_up for of in creators_money(con))
    assert (done.payments, done.left) == (shown.payments, shown.left)
    return done


def stated(home: Home) -> dict[str, int]:
    """Cents of the statements."""
    return dict(rows(home, "SELECT creator_id, paid_cents FROM statements WHERE paid_cents > 0"))


def test_everybody_with_a_payee_is_paid_what_was_stated_once(closed: Home) -> None:
    owed = stated(closed)
    *most, without = sorted(owed)
    deliver(closed, [payee(c, n) for n, c in enumerate(most, 1)])
    shown = pay(closed, LAST, on=ON)
    assert rows(closed, "SELECT count(*) FROM payees, payments") == [(0,)]  # only looked
    run = paid(closed)
    assert run.digest == shown.digest
    assert {p.owner: p.amount_cents for p in run.payments} == {
        f"creator:{c}": owed[c] for c in most
    }
    assert [(left.creator_id, left.state, left.cents) for left in run.left] == [
        (without, "no payee", owed[without])
    ]
    files = {name: (closed.root / name).read_bytes() for name in run.files}
    again = paid(closed)
    assert (again.payments, again.txn_id) == ((), None)
    assert {name: (closed.root / name).read_bytes() for name in again.files} == files
    deliver(closed, [payee(without, 99)], LAST)
    late = paid(closed, ON + timedelta(days=1))
    assert {p.owner: p.amount_cents for p in late.payments} == {f"creator:{without}": owed[without]}
    assert rows(closed, "SELECT sum(amount_cents) FROM payments") == [(sum(owed.values()),)]


def test_holds_reserves_and_minimums_go_to_accounts_of_their_own_and_come_back(
    closed: Home,
) -> None:
    owed = stated(closed)
    held, kept, small, *_ = sorted(owed, key=owed.__getitem__, reverse=True)
    until = ON + timedelta(days=5)
    deliver(
        closed,
        [
            payee(held, 1, hold_until=until),
            payee(kept, 2, reserve_percent=25, reserve_days=7),
            payee(small, 3, minimum_cents=owed[small] + 1),
        ],
    )
    first = paid(closed)
    reserve = owed[kept] * 25 // 100
    assert {p.owner: p.amount_cents for p in first.payments} == {
        f"creator:{kept}": owed[kept] - reserve
    }
    assert first.reserved_cents == reserve
    states = {left.creator_id: (left.state, left.hold_until) for left in first.left}
    assert (states[held], states[small]) == (("held", until), ("below minimum", None))
    where = places(closed)
    assert (where[held]["hold"], where[held]["statement"]) == (owed[held], 0)
    assert (where[kept]["reserve"], where[kept]["clearing"]) == (reserve, owed[kept] - reserve)
    assert where[small]["statement"] == owed[small]
    with Warehouse(closed).open(read_only=True) as con:
        told = {c: creator_month(con, c, LAST.year, LAST.month) for c in (held, kept, small)}
    assert [(w.words, w.micros) for w in told[held].waiting] == [
        (f"held until {until}", 10_000 * owed[held])
    ]
    assert told[kept].waiting[0].until == ON + timedelta(days=7)
    assert told[kept].transfers[0].state == "sent"
    assert told[small].waiting[0].micros == 10_000 * owed[small]
    assert paid(closed, until - timedelta(days=1)).payments == ()
    second = paid(closed, until)
    assert {p.owner: p.amount_cents for p in second.payments} == {f"creator:{held}": owed[held]}
    third = paid(closed, ON + timedelta(days=7))  # what was a reserve is not kept back again
    assert {p.owner: p.amount_cents for p in third.payments} == {f"creator:{kept}": reserve}
    assert {p.payment_id[:11] for p in third.payments} == {f"{LAST:%Y%m%d}-2-"}


def places(home: Home) -> dict[str, dict[str, int]]:
    """Cents of every creator by place; what is not stated left out."""
    with Warehouse(home).open(read_only=True) as con:
        found = creators_money(con)
    return {
        of.creator_id: {k: v // 10_000 for k, v in of.places.items() if k != "owed"} for of in found
    }


def test_a_person_may_decide_otherwise_with_a_reason_that_stands_in_the_ledger(
    closed: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    owed = stated(closed)
    held, small, *_ = sorted(owed, key=owed.__getitem__, reverse=True)
    deliver(
        closed,
        [
            payee(held, 1, hold_until=ON + timedelta(days=5)),
            payee(small, 2, minimum_cents=10**9),
        ],
    )
    paid(closed)
    chosen = {"release_hold": (f"creator:{held}",), "below_minimum": (f"creator:{small}",)}
    with pytest.raises(PayoutError, match="needs a reason"):
        pay(closed, LAST, on=ON, overrides=Overrides(**chosen))
    with pytest.raises(PayoutError, match="creator:x: no payee"):
        pay(closed, LAST, on=ON, overrides=Overrides(("creator:x",), reason="why"))
    monkeypatch.setenv("EARNINGS_ACTOR", "ann@example.org")
    run = paid(closed, overrides=Overrides(**chosen, reason="rent is due"))
    assert {p.owner: p.amount_cents for p in run.payments} == {
        f"creator:{held}": owed[held],
        f"creator:{small}": owed[small],
    }
    [(who, why)] = rows(
        closed, "SELECT actor, reason FROM ledger_transactions WHERE txn_id = ?", run.txn_id
    )
    assert who == "ann@example.org"
    assert why.endswith("rent is due")
    assert f"hold released: creator:{held}" in why


def test_only_closed_money_is_paid_and_only_as_it_was_shown(closed: Home, made: Home) -> None:
    (made.root / "settings.toml").write_text((closed.root / "settings.toml").read_text())
    with pytest.raises(PayoutError, match="nothing is closed yet"):
        pay(Home.at(made.root), LAST, on=ON)
    with pytest.raises(PayoutError, match=f"the last one is {LAST}"):
        pay(closed, LAST - timedelta(days=1), on=ON)
    [creator, *_] = stated(closed)
    deliver(closed, [payee(creator, 1)])
    shown = pay(closed, LAST, on=ON)
    deliver(closed, [payee(creator, 2)])  # another account than was shown
    with pytest.raises(PayoutError, match="changed since the payments were shown"):
        pay(closed, LAST, on=ON, expected=shown.digest)
    assert rows(closed, "SELECT count(*) FROM payments, payees") == [(0,)]
    deliver(closed, [payee(creator, 1, currency="USD")])
    assert {left.state for left in pay(closed, LAST, on=ON).left} == {"other currency", "no payee"}


def test_accounts_of_one_identity_are_one_payment_unless_they_have_a_row_of_their_own(
    closed: Home,
) -> None:
    owed = stated(closed)
    one, other, own, *_ = sorted(owed)
    house, later = Warehouse(closed), LAST + timedelta(days=1)
    with house.open() as con, house.write_day(con, later) as writer:
        writer.replace(
            "creators",
            """SELECT * REPLACE ($later::DATE AS day, 'i:1' AS identity_id) FROM creators
               WHERE creator_id IN (SELECT unnest($those)) AND day <= $last
               QUALIFY row_number() OVER (PARTITION BY creator_id ORDER BY day DESC) = 1""",
            {"later": later, "last": LAST, "those": [one, other, own]},
        )
    deliver(
        closed,
        [
            payee("x", 1, owner="identity:i:1", minimum_cents=max(owed[one], owed[other]) + 1),
            payee(own, 2),
        ],
    )
    run = paid(closed)
    assert {p.owner: p.amount_cents for p in run.payments} == {
        "identity:i:1": owed[one] + owed[other],
        f"creator:{own}": owed[own],
    }


def test_two_people_have_to_ask_for_the_same(closed: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = (closed.root / "settings.toml").read_text()
    (closed.root / "settings.toml").write_text("second_approver = true\n" + settings)
    home = Home.at(closed.root)
    one, other, *_ = stated(home)
    deliver(home, [payee(one, 1)])

    def ask(who: str) -> PayoutRun:
        monkeypatch.setenv("EARNINGS_ACTOR", who)
        return pay(home, LAST, on=ON, expected=pay(home, LAST, on=ON).digest)

    assert ask("ann").waits_for_approval
    assert ask("ann").waits_for_approval  # twice the same person
    deliver(home, [payee(one, 1), payee(other, 2)])
    assert ask("bob").waits_for_approval  # not what ann asked for
    assert rows(home, "SELECT count(*) FROM payments") == [(0,)]
    assert ask("cem").applied
    assert rows(
        home, "SELECT actor, approved_by FROM ledger_transactions WHERE kind = 'payment'"
    ) == [("bob", "cem")]
    assert not ask("dia").waits_for_approval  # nothing is left to pay
    with Warehouse(home).open() as con:
        assert verify(con).findings == ()
        con.execute("UPDATE ledger_transactions SET approved_by = 'x' WHERE kind = 'payment'")
        assert verify(con).findings
