"""Closing: statements in cents, remainders that carry, and days that can no longer change."""

from __future__ import annotations

from datetime import date

import pytest

from pipelines.ledger.closing import Closing, ClosingError, close, preview
from pipelines.ledger.verification import verify
from pipelines.settings import Home
from pipelines.store.warehouse import ClosedDayError, Warehouse
from tests.cases.five_days import DAYS, FIRST, balances, deliver_late, make_days, rows

MID, LAST = DAYS[2], DAYS[-1]


def test_whole_cents_are_paid_and_the_rest_is_in_the_next_statement(made: Home) -> None:
    before = balances(made)
    first, second = close(made, MID), close(made, LAST)
    assert (first.first_day, first.through, second.first_day, second.through) == (
        FIRST,
        MID,
        DAYS[3],
        LAST,
    )
    statements = rows(
        made,
        "SELECT creator_id, day, brought_forward_micros, earned_micros, paid_cents,"
        " carried_forward_micros FROM statements",
    )
    assert len({creator for creator, *_ in statements}) >= 8
    carried = {}
    for creator, day, brought, earned, paid, left in sorted(statements, key=lambda row: row[1]):
        assert brought == carried.get(creator, 0)
        span = (FIRST, MID) if day == MID else (DAYS[3], LAST)
        total = (
            "SELECT coalesce(sum(total_micros), 0) FROM creator_earnings WHERE creator_id = ? AND"
            " day BETWEEN ? AND ?"
        )
        assert [(earned,)] == rows(made, total, creator, *span)
        assert 0 <= left < 10_000
        assert brought + earned == 10_000 * paid + left
        carried[creator] = left
    assert first.paid_cents + second.paid_cents == sum(paid for *_, paid, _ in statements)
    assert balances(made) == before
    assert any(carried.values())


def test_closing_again_changes_nothing(made: Home) -> None:
    first = close(made, MID)
    again = close(made, MID)
    assert again.outcome == "already closed"
    assert {**again.as_dict(), "outcome": ""} == {**first.as_dict(), "outcome": ""}
    assert close(made, FIRST).through == MID
    assert rows(made, "SELECT count(*) FROM ledger_transactions WHERE kind = 'statement'") == [(1,)]


def test_a_closed_day_may_be_run_again_if_nothing_changes(made: Home) -> None:
    close(made, MID)
    before = rows(made, "FROM ledger_transactions")
    make_days(made, DAYS)
    assert rows(made, "FROM ledger_transactions") == before


def test_a_backfill_of_a_closed_day_that_would_change_it_is_refused_with_the_command(
    made: Home,
) -> None:
    close(made, MID)
    before = rows(made, "FROM viewer_events ORDER BY ALL")
    deliver_late(made)
    with pytest.raises(
        ClosedDayError, match=r"2026-03-0. is closed.*earnings restate --day 2026-03-0. --reason"
    ):
        make_days(made, [FIRST])
    assert rows(made, "FROM viewer_events ORDER BY ALL") == before
    make_days(made, DAYS[3:])  # open days take their late files
    assert rows(made, "SELECT max(revision) FROM ledger_transactions WHERE day > ?", MID) == [(2,)]


def test_a_policy_that_changed_does_not_touch_a_closed_day(made: Home) -> None:
    close(made, MID)
    made.root.joinpath("policies").mkdir()
    text = 'name = "evidence"\neffective_from = 2020-01-01\n[ads]\nplatform_share = 0.1\n'
    made.root.joinpath("policies", "generous.toml").write_text(text)
    before = rows(made, "FROM creator_earnings ORDER BY ALL")
    with pytest.raises(ClosedDayError, match=r"video_\w+ would change"):
        make_days(made, [MID])
    assert rows(made, "FROM creator_earnings ORDER BY ALL") == before


@pytest.mark.parametrize("what", ["not landed", "not run", "late files", "policy", "ledger"])
def test_days_that_are_not_ready_are_not_closed(made: Home, landed, what: str) -> None:
    home, through, message = made, MID, ""
    match what:
        case "not landed":
            through, message = (
                date(2026, 3, 9),
                "2026-03-09 has not landed.*last day before it is 2026-03-05",
            )
        case "not run":
            home = landed()
            make_days(home, DAYS[:2])
            message = r"2026-03-03 is landed.*earnings run --from 2026-03-03"
        case "late files":
            gifts = next((home.landing / "gifts" / str(FIRST)).iterdir())
            content = gifts.read_bytes()
            gifts.write_bytes(
                content[:9] + bytes([content[9] ^ 1]) + content[10:]
            )  # as long as it was: only its content tells
            message = (
                r"2026-03-01 has files that were not loaded as they are now: gifts/2026-03-01/"
            )
        case "policy":
            home.root.joinpath("policies").mkdir()
            home.root.joinpath("policies", "p.toml").write_text(
                'name = "evidence"\neffective_from = 2020-01-01\n'
            )
            message = r"2026-03-01 was paid under policy .*in force is evidence"
        case "ledger":
            with Warehouse(home).open() as con:
                con.execute(
                    "UPDATE ledger_entries SET amount_micros = amount_micros + 1 WHERE account ="
                    " 'platform'"
                )
            message = "the ledger does not verify"
    with pytest.raises(ClosingError, match=message):
        close(home, through)
    assert rows(home, "SELECT count(*) FROM statements") == [(0,)]


def test_the_ledger_verifies_after_every_step(made: Home) -> None:
    heads = []
    for step in (lambda: None, lambda: close(made, MID), lambda: close(made, LAST)):
        step()
        with Warehouse(made).open(read_only=True) as con:
            found = verify(con, head=heads[-1] if heads else None)
        assert found.findings == ()
        heads.append(found.head)
    assert len(set(heads)) == 3


def test_two_people_close_where_the_settings_want_two(
    made: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = made.root / "settings.toml"
    settings.write_text("second_approver = true\n" + settings.read_text())
    home = Home.at(made.root)

    def ask(who: str, day: date = DAYS[1]) -> Closing:
        monkeypatch.setenv("EARNINGS_ACTOR", who)
        return close(home, day, expected=preview(home, day))

    assert ask("ann").waits_for_approval
    assert ask("ann").waits_for_approval  # twice the same person
    assert ask("bob", DAYS[0]).waits_for_approval  # not what ann asked for
    assert rows(home, "FROM statements") == []
    make_days(home, DAYS[2:3])  # nothing changes, nothing that was asked for changes
    closed = ask("bob")
    assert (closed.outcome, closed.through) == ("closed", DAYS[1])
    sql = "SELECT actor, approved_by FROM ledger_transactions WHERE kind = 'statement'"
    assert rows(home, sql) == [("ann", "bob")]
    assert ask("cem").outcome == "already closed"
    with Warehouse(home).open() as con:
        assert verify(con).findings == ()


def test_what_changed_since_the_first_person_asked_is_asked_for_anew(
    made: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = made.root / "settings.toml"
    settings.write_text("second_approver = true\n" + settings.read_text())
    home = Home.at(made.root)
    monkeypatch.setenv("EARNINGS_ACTOR", "ann")
    assert close(home, DAYS[0]).waits_for_approval
    deliver_late(home, DAYS[:1])
    make_days(home, DAYS)
    monkeypatch.setenv("EARNINGS_ACTOR", "bob")
    assert close(home, DAYS[0]).waits_for_approval
    assert rows(home, "FROM statements") == []
