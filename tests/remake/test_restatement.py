"""Restatement: a closed day is corrected in the open period, once, with a reason, and ends as if it
had been right from the start.
"""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from pipelines.ledger.closing import close
from pipelines.ledger.verification import verify
from pipelines.remake.days import Restatement, RestatementError, restate
from pipelines.settings import Home
from pipelines.store.warehouse import Warehouse
from tests.cases.five_days import DAYS, FIRST, balances, deliver_late, make_days, rows

MID, LAST = DAYS[2], DAYS[-1]
WHY = "events of a broken collector"


def applied(
    home: Home, first: date, last: date | None = None, *, neutral: bool = False
) -> Restatement:
    shown, _ = restate(home, first, last or first, reason=WHY, budget_neutral=neutral)
    done, _ = restate(
        home, first, last or first, reason=WHY, budget_neutral=neutral, expected=shown.digest
    )
    assert done.applied
    assert done.days == shown.days
    return done


def sound(home: Home) -> None:
    with Warehouse(home).open(read_only=True) as con:
        assert verify(con).findings == ()


def test_showing_writes_nothing(made: Home) -> None:
    close(made, MID)
    deliver_late(made)
    tables = (
        "ledger_transactions",
        "viewer_events",
        "creator_earnings",
        "written_days",
        "quarantine",
        "landing_files",
    )
    before = [rows(made, f"FROM {table} ORDER BY ALL") for table in tables]
    shown, _ = restate(made, FIRST, FIRST, reason=WHY)
    assert shown.changes
    assert not shown.applied
    assert [rows(made, f"FROM {table} ORDER BY ALL") for table in tables] == before


def test_a_restated_day_is_reversed_and_reissued_in_the_open_period(made: Home) -> None:
    close(made, MID)
    statements = rows(made, "FROM statements ORDER BY ALL")
    old_entries = rows(made, "FROM ledger_entries ORDER BY ALL")
    earned = dict(
        rows(made, "SELECT creator_id, total_micros FROM creator_earnings WHERE day = ?", FIRST)
    )
    deliver_late(made, [FIRST])
    done = applied(made, FIRST)
    new = rows(
        made,
        "SELECT kind, revision, booked_day, reason, link FROM ledger_transactions WHERE day = ?"
        " ORDER BY seq OFFSET 1",
        FIRST,
    )
    payout = f"{FIRST}/payout/1"
    assert new == [("reversal", 1, DAYS[3], WHY, payout), ("payout", 2, DAYS[3], WHY, payout)]
    assert rows(made, "FROM statements ORDER BY ALL") == statements
    assert set(old_entries) <= set(rows(made, "FROM ledger_entries"))
    now = dict(
        rows(made, "SELECT creator_id, total_micros FROM creator_earnings WHERE day = ?", FIRST)
    )
    assert {c.creator_id: c.gain for c in done.changes} == {
        c: now.get(c, 0) - earned.get(c, 0)
        for c in earned | now
        if now.get(c, 0) != earned.get(c, 0)
    }
    make_days(made, DAYS[3:])
    close(made, LAST)
    told = dict(
        rows(
            made,
            "SELECT creator_id, restated_micros FROM statements WHERE day = ? AND restated_micros"
            " <> 0",
            LAST,
        )
    )
    assert told == {c.creator_id: c.gain for c in done.changes}
    sound(made)


def test_late_events_end_as_if_they_had_been_there_from_the_start(
    landed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under a policy that scores a day by its own events. By evidence later days keep what they
    knew of earlier ones (`pipelines/quality/evidence.py`).
    """
    monkeypatch.setenv("EARNINGS_POLICY", "hardened")
    made, scratch = landed("made"), landed("scratch", late=True)
    make_days(made, DAYS)
    make_days(scratch, DAYS)
    close(made, MID)
    deliver_late(made)
    applied(made, FIRST, MID)
    make_days(made, DAYS[3:])
    close(made, LAST)
    assert balances(made) == balances(scratch)
    earnings = "SELECT * FROM creator_earnings ORDER BY ALL"
    assert rows(made, earnings) == rows(scratch, earnings)
    sound(made)


def test_retracted_rows_and_a_second_correction(made: Home) -> None:
    """Late files come and go again: the totals are the old ones, and the ledger tells all of it."""
    before = balances(made)
    close(made, MID)
    deliver_late(made, [FIRST])
    applied(made, FIRST)
    for path in made.landing.glob(f"*/{FIRST}/*-late*"):
        path.unlink()
    applied(made, FIRST)
    assert balances(made) == before
    assert rows(made, "SELECT max(revision) FROM ledger_transactions WHERE day = ?", FIRST) == [
        (3,)
    ]
    sound(made)


def test_a_policy_corrected_backwards(made: Home) -> None:
    close(made, MID)
    made.root.joinpath("policies").mkdir()
    shipped = Path(__file__).parents[2] / "assets_data" / "policies" / "evidence.toml"
    generous = shipped.read_text().replace("platform_share = 0.55", "platform_share = 0.25")
    made.root.joinpath("policies", "evidence.toml").write_text(generous)
    done = applied(made, MID)
    [day] = done.days
    gross, creators, platform, carry = day.accounts.values()
    assert gross[0] == gross[1]
    assert creators[1] > creators[0]
    assert creators[1] - creators[0] == platform[0] - platform[1] - (carry[1] - carry[0])
    assert rows(made, "SELECT count(*) FROM policies") == [(2,)]
    sound(made)


@pytest.mark.parametrize("late", [True, False])
def test_a_budget_neutral_restatement_moves_money_only_between_creators(
    made: Home, late: bool
) -> None:
    close(made, MID)
    platform = balances(made)["platform"]
    deliver_late(made, [FIRST])
    done = applied(made, FIRST, neutral=True)
    [day] = done.days
    assert day.accounts["creators"][0] == day.accounts["creators"][1]
    assert sum(c.gain for c in done.changes) == 0
    assert any(c.gain for c in done.changes)
    new_money = day.accounts["gross"][1] - day.accounts["gross"][0]
    assert balances(made)["platform"] == platform + new_money
    assert rows(
        made, "SELECT sum(adjustment_micros) <> 0 FROM creator_earnings WHERE day = ?", FIRST
    ) == [(True,)]
    sound(made)
    make_days(made, [FIRST])  # the adjustment stays when the day is run again
    assert rows(made, "SELECT max(revision) FROM ledger_transactions WHERE day = ?", FIRST) == [
        (2,)
    ]
    if not late:  # a later restatement without the option pays what the day is worth
        after = applied(made, FIRST).days[0].accounts["creators"]
        assert after[1] > after[0]
        assert rows(made, "SELECT count(*) FROM adjustments") == [(0,)]
        sound(made)


def test_carried_money_takes_later_days_along(landed) -> None:
    """A category nobody has a video in carries; restating the day it began reissues every day that
    passed the money on.
    """
    home: Home = landed()
    days, closed = DAYS[:3], DAYS[1]
    for day in days:
        path = home.landing / "ad_revenue" / str(day) / "orphan.csv"
        path.write_text(
            f"ad_id,ts,category,amount_micros\norphan-{day},{day}T10:00:00Z,nobody,1000\n"
        )
    make_days(home, days)
    close(home, closed)
    (home.landing / "ad_revenue" / str(FIRST) / "orphan.csv").write_text(
        f"ad_id,ts,category,amount_micros\norphan-{FIRST},{FIRST}T10:00:00Z,nobody,5000\n"
    )
    done = applied(home, FIRST)
    assert [(d.day, d.closed) for d in done.days] == [(day, day <= closed) for day in days]
    carried = [(450 * n + 1800,) for n in range(1, len(days) + 1)]
    assert (
        rows(home, "SELECT carry_out_micros FROM ad_pools WHERE category = 'nobody' ORDER BY day")
        == carried
    )
    assert rows(
        home, "SELECT DISTINCT booked_day FROM ledger_transactions WHERE kind = 'reversal'"
    ) == [(days[2],)]
    sound(home)


def test_a_changed_snapshot_takes_every_later_day_along(made: Home) -> None:
    close(made, MID)
    for path in (made.landing / "videos" / str(FIRST)).iterdir():
        path.unlink()
    source = rows(
        made,
        "SELECT video_id, creator_id, length_ms, list_first(categories), compliant, s_plus, s_tox"
        " FROM videos WHERE day = ?",
        FIRST,
    )
    header = "video_id,creator_id,length_ms,categories,compliant,s_plus,s_tox"
    lines = [",".join("" if v is None else str(v) for v in row) for row in source]
    (made.landing / "videos" / str(FIRST) / "corrected.csv").write_text(
        "\n".join([header, *lines]) + "\n"
    )
    assert {d.day for d in applied(made, FIRST).days} == set(DAYS)
    sound(made)


def test_what_cannot_be_restated_is_refused(made: Home) -> None:
    with pytest.raises(
        RestatementError,
        match=r"2026-03-01 is open: no day is closed.*earnings run --from 2026-03-01",
    ):
        restate(made, FIRST, FIRST, reason=WHY)
    close(made, MID)
    with pytest.raises(
        RestatementError, match="2026-03-05 is open: closed is what lies through 2026-03-03"
    ):
        restate(made, MID, LAST, reason=WHY)
    with pytest.raises(RestatementError, match="no day from 2026-02-01 to 2026-02-02 has landed"):
        restate(made, date(2026, 2, 1), date(2026, 2, 2), reason=WHY)
    shown, _ = restate(made, FIRST, FIRST, reason=WHY)
    deliver_late(made, [FIRST])
    with pytest.raises(RestatementError, match="changed since the difference was shown"):
        restate(made, FIRST, FIRST, reason=WHY, expected=shown.digest)
    assert rows(made, "SELECT max(revision) FROM ledger_transactions") == [(1,)]
