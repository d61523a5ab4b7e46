"""Months of payments at random, with processes that die at any write: what is earned is owed, to be
paid, held, with the bank, paid or returned, to the micro, and nobody is paid a cent twice.

Days are rows of gifted coins, posted by the code that posts every day; what must follow is computed
here from the raw tables, in plain Python.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from datetime import date, timedelta
from typing import Any

import pytest

from pipelines.ledger.assets import write_earnings
from pipelines.ledger.closing import close
from pipelines.ledger.entries import post_day
from pipelines.ledger.verification import verify
from pipelines.payouts.runs import Overrides, pay
from pipelines.payouts.settlement import SettlementError, settle
from pipelines.payouts.state import creators_money, money_state
from pipelines.schema import TABLES
from pipelines.schema.graph import MADE_FROM
from pipelines.settings import Home
from pipelines.store.warehouse import Warehouse
from tests.ledger.test_faults import Watched
from tests.payouts.conftest import deliver, iban, payee

FIRST = date(2026, 3, 1)
CREATORS = ("a", "b", "c:1", "d")
IDENTITY = {"c:1": "i1", "d": "i1"}
STAGES = [name for name in MADE_FROM if TABLES[name].span == "day" and name != "group_weights"]


class Died(BaseException):
    """The process is gone: no handler of errors sees it."""


class Month:
    """A platform, what a chance does with it, and the days that were made and closed."""

    def __init__(self, home: Home, chance: random.Random) -> None:
        self.home, self.chance, self.house = home, chance, Warehouse(home)
        self.made: list[date] = []
        self.closed: list[date] = []
        self.accounts = dict.fromkeys(CREATORS, 1)
        with self.house.open() as con:
            rows = [
                f"SELECT DATE '{FIRST}' AS day, '{creator}' AS creator_id, {who} AS identity_id,"
                " NULL AS followers, 'landing' AS source"
                for creator in CREATORS
                for who in [f"'{IDENTITY[creator]}'" if creator in IDENTITY else "NULL"]
            ]
            with (
                self.house.transaction(con, "creators"),
                self.house.rewrite_day(con, FIRST) as writer,
            ):
                writer.replace("creators", " UNION ALL ".join(rows))
                writer.written.clear()

    @property
    def today(self) -> date:
        return FIRST + timedelta(days=len(self.made) + 1)

    def earn(self, day: date, *, reason: str | None = None) -> None:
        policy = self.home.policies.in_force(day)
        rows = [
            f"SELECT DATE '{day}' AS day, 'v-{creator}' AS video_id, '{creator}' AS creator_id,"
            " true AS compliant, 0 AS normal_coins, 0 AS premium_coins, 0 AS quality,"
            f" 0 AS normal_share, 0 AS premium_share, {2 * micros} AS revenue_micros,"
            f" {micros} AS payout_micros, '' AS policy_hash"
            for creator in CREATORS
            for micros in [self.chance.choice([0, 3, 9_999, 10_000, 777_777, 5_000_000])]
        ]
        with (
            self.house.open() as con,
            self.house.transaction(con, "day"),
            self.house.rewrite_day(con, day) as writer,
        ):
            there = {
                "donation_splits",
                "ledger_entries",
                "creator_earnings",
                *(["creators"] if day == FIRST else []),
            }
            for stage in (s for s in STAGES if reason is None and s not in there):
                writer.replace(stage, f"FROM {stage} WHERE false")
            writer.replace("donation_splits", " UNION ALL ".join(rows))
            post_day(con, day, policy, reason=reason)
            writer.mark("ledger_entries", rows=0, changed=True)
            write_earnings(writer, policy.hash)
            writer.written.clear()  # invariants of tables that this platform does not have
        if day not in self.made:
            self.made.append(day)

    def payees(self) -> None:
        """Somebody gets a row, another account, a hold, a reserve or a minimum."""
        creator = self.chance.choice(CREATORS)
        owner = f"creator:{creator}"
        if creator in IDENTITY and self.chance.random() < 0.7:
            owner = f"identity:{IDENTITY[creator]}"
        self.accounts[creator] += self.chance.random() < 0.6
        row = payee(creator, self.accounts[creator], owner=owner)
        row["minimum_cents"] = self.chance.choice(["", 1, 200, 2000])
        row["hold_until"] = self.chance.choice(["", "", self.today + timedelta(days=3)])
        row["reserve_percent"] = self.chance.choice([0, 0, 30])
        row["reserve_days"] = 2
        deliver(self.home, [row], self.today)

    def restate(self) -> None:
        if self.closed:
            day = self.chance.choice([d for d in self.made if d <= self.closed[-1]])
            self.earn(day, reason="counted anew")

    def close(self) -> None:
        if self.made and (not self.closed or self.made[-1] > self.closed[-1]):
            close(self.home, self.made[-1])
            self.closed.append(self.made[-1])

    def pay(self) -> None:
        if not self.closed:
            return
        through = self.chance.choice(self.closed)
        shown = pay(self.home, through, on=self.today)
        owners = sorted({left.owner for left in shown.left if left.owner})
        chosen = None
        if owners and self.chance.random() < 0.3:
            chosen = Overrides(*(tuple(self.chance.sample(owners, 1)) for _ in range(3)), "so")
            shown = pay(self.home, through, on=self.today, overrides=chosen)
        pay(self.home, through, on=self.today, overrides=chosen, expected=shown.digest)

    def answer(self) -> None:
        """The bank answers for some payments, sometimes twice or late."""
        with self.house.open(read_only=True) as con:
            ids = [
                r[0] for r in con.execute("SELECT payment_id FROM payments ORDER BY 1").fetchall()
            ]
        lines = [
            f"{name},{self.chance.choice(['paid', 'paid', 'returned'])},{FIRST},because"
            for name in self.chance.sample(ids, min(len(ids), 2))
        ]
        path = self.home.root / "answer.csv"
        path.write_text("\n".join(["payment_id,outcome,day,reason", *lines]) + "\n")
        settle(self.home, path)

    def check(self) -> None:
        """Everything, from the raw tables."""
        with self.house.open(read_only=True) as con:
            assert verify(con).findings == ()
            state = money_state(con, on=self.today, clearing_days=0)
            money = {of.creator_id: of for of in creators_money(con)}

            def ask(sql: str) -> list[Any]:
                return con.execute(sql).fetchall()

            splits = ask("SELECT creator_id, payout_micros FROM donation_splits")
            stated = Counter(
                dict(ask("SELECT creator_id, sum(paid_cents) FROM statements GROUP BY 1"))
            )
            payments = ask("SELECT payment_id, owner, amount_cents, account FROM payments")
            outcomes = {name: "clearing" for name, *_ in payments}
            for name, outcome in ask(
                "SELECT payment_id, outcome FROM settlements s JOIN ledger_transactions t"
                " USING (txn_id) ORDER BY seq"
            ):
                assert (outcomes[name], outcome) in {
                    ("clearing", "paid"),
                    ("clearing", "returned"),
                    ("paid", "returned"),
                }
                outcomes[name] = outcome
        earned: Counter[str] = Counter()
        for creator, micros in splits:
            earned[creator] += micros
        for creator, of in money.items():
            assert of.adds_up
            assert of.earned == earned[creator]
            places = of.places
            assert min(v for k, v in places.items() if k != "owed") >= 0
            assert 10_000 * stated[creator] == of.earned - of.owed
        assert state.astray == ()
        went = Counter[str]()
        for name, _, cents, _ in payments:
            went[outcomes[name]] += cents
        assert state.places["clearing"] == 10_000 * went["clearing"]
        assert state.places["paid"] == 10_000 * went["paid"]
        assert state.places["returned"] <= 10_000 * went["returned"]
        # never more than was stated, whatever was sent twice
        assert went["clearing"] + went["paid"] <= sum(stated.values())


def survive(
    chance: random.Random, step: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Do it in a process that dies at one of its first writes, then again, as an operator would."""
    left = chance.randrange(1, 30)

    def tick() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            raise Died

    connect = Warehouse._connect
    with monkeypatch.context() as dying:
        dying.setattr(
            Warehouse, "_connect", lambda house, *how: Watched(connect(house, *how), tick)
        )
        with suppress(Died):
            step()


def test_every_cent_is_somewhere_and_nobody_is_paid_twice(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two days of it; whole platforms with payments among all else are in the soak."""
    (home.root / "settings.toml").write_text(
        "first_day = 2026-03-01\nlast_day = 2026-12-31\npublish = false\nthreads = 1\n"
        'currency = "EUR"\n'
    )
    chance = random.Random(0)
    month = Month(home, chance)
    deliver(home, [payee(c, n, account=iban(n)) for n, c in enumerate("ab", 50)], FIRST)
    for _ in range(2):
        month.earn(FIRST + timedelta(days=len(month.made)))
        month.payees()
        for step in chance.choices(
            [month.close, month.pay, month.answer, month.restate], [3, 4, 3, 1], k=5
        ):
            if chance.random() < 0.4 and step != month.restate:
                survive(chance, step, monkeypatch)
                with month.house.open(read_only=True) as con:
                    month.closed = [
                        r[0]
                        for r in con.execute(
                            "SELECT day FROM ledger_transactions WHERE kind = 'statement' ORDER BY 1"
                        ).fetchall()
                    ]
            with suppress(SettlementError):
                step()
        month.check()
