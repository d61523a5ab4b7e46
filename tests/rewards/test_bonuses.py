"""Bonuses of a month through the ledger: what the schedule says, never above the budget, once, and
corrected like any payout.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator
from datetime import date
from fractions import Fraction
from itertools import accumulate
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.ledger.closing import close
from pipelines.ledger.entries import Posting, post_bonuses
from pipelines.ledger.explanation import explain_creator
from pipelines.ledger.statement import creator_month, html
from pipelines.ledger.statement import text as statement_text
from pipelines.ledger.verification import verify
from pipelines.ledger.wording import text
from pipelines.periods import MONTH
from pipelines.remake.days import restate
from pipelines.rewards.assets import creator_bonuses, reward_schedule
from pipelines.rewards.month import award
from pipelines.runs.daily import Metadata
from pipelines.runs.periodic import Period, PeriodicAsset
from pipelines.schema import TABLES
from pipelines.schema.invariants import INVARIANTS, InvariantError
from pipelines.settings import Home
from pipelines.sources.simulator.simulate import simulate
from pipelines.sql import MACROS
from pipelines.status import day_statuses, period_statuses
from pipelines.store.migrations import migrate
from pipelines.store.warehouse import ClosedDayError, MissingDayError, Warehouse
from tests.cases.five_days import (
    as_written,
    balances,
    deliver_late,
    deliver_nothing,
    make_days,
    rows,
)

HISTORY, QUIET, MONTHS_DAYS, MAY = (
    [date(2026, 3, 30), date(2026, 3, 31)],
    [date(2026, 4, n) for n in range(1, 29)],
    [date(2026, 4, 29), date(2026, 4, 30)],
    [date(2026, 5, 1)],
)
DAYS = [*HISTORY, *QUIET, *MONTHS_DAYS, *MAY]
MARCH, APRIL, END = date(2026, 3, 1), date(2026, 4, 1), date(2026, 4, 30)
SETTINGS = (
    "first_day = 2026-03-30\nlast_day = 2026-05-31\nlock_timeout_seconds = 5\npublish ="
    " false\nthreads = 1\n"
)
PLENTY, LITTLE = 50_000_000, 20_000


def set_budget(home: Home, micros: int) -> None:
    (home.root / "policies").mkdir(exist_ok=True)
    text = (
        f'name = "evidence"\neffective_from = 2020-01-01\n[bonus]\nbudget_micros = {micros}\nlevels'
        " = 10\n"
    )
    (home.root / "policies" / "evidence.toml").write_text(text)


def make(home: Home, asset: PeriodicAsset, first: date) -> Metadata:
    warehouse, last = Warehouse(home), MONTH.last(first)
    with warehouse.open() as con:
        return asset.make(Period(con, last, warehouse, home.policies.in_force(last), first=first))


def sound(home: Home) -> None:
    with Warehouse(home).open(read_only=True) as con:
        assert verify(con).findings == ()


@pytest.fixture(scope="session")
def landed_months(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """The last two days of March and of April and the first of May, with a late delivery beside
    them; on the other days of April nothing happened. Nothing made.
    """
    home = Home.at(tmp_path_factory.mktemp("months") / "home")
    home.root.mkdir()
    (home.root / "settings.toml").write_text(SETTINGS)
    sizes = {"events_per_day": 120, "viewers": 50, "creators": 10, "videos": 25}
    for first, days in ((HISTORY[0], 2), (MONTHS_DAYS[0], 3)):
        simulate(home.landing, first_day=first, days=days, seed=3, late=home.root / "late", late_share=0.4, rotten_share=0.0,
                 format="csv.gz", **sizes)  # fmt: skip
    deliver_nothing(home, QUIET)
    return home


def _made(landed: Home, folder: Path, budget: int) -> Home:
    home = Home.at(shutil.copytree(landed.root, folder / "home"))
    set_budget(home, budget)
    make_days(home, HISTORY)
    make(home, reward_schedule, MARCH)
    # so small a month that the schedule of a whole one is out of its reach: what is promised is
    # scaled with the days that have landed
    with Warehouse(home).open() as con:
        con.execute(
            "UPDATE reward_schedule SET threshold_milliviews = greatest(threshold_milliviews // 40,"
            " level)"
        )
        as_written(con, "reward_schedule")
    make_days(home, [*QUIET, *MONTHS_DAYS, *MAY])
    return home


@pytest.fixture(scope="session")
def plenty_once(landed_months: Home, tmp_path_factory: pytest.TempPathFactory) -> Home:
    return _made(landed_months, tmp_path_factory.mktemp("plenty"), PLENTY)


@pytest.fixture
def april(plenty_once: Home, tmp_path: Path) -> Home:
    """All days made, April under a schedule, its bonuses not paid yet."""
    return Home.at(shutil.copytree(plenty_once.root, tmp_path / "april"))


def test_every_creator_gets_what_the_level_it_reached_pays(april: Home) -> None:
    before = balances(april)
    paid = make(april, creator_bonuses, APRIL)
    levels = rows(
        april, "SELECT threshold_milliviews, bonus_micros FROM reward_schedule ORDER BY level"
    )
    views = rows(
        april,
        "SELECT creator_id, effective_views FROM video_quality WHERE day BETWEEN ? AND ?",
        APRIL,
        END,
    )
    produced: dict[str, int] = {}
    for creator, effective in views:
        produced[creator] = produced.get(creator, 0) + round(1000 * effective)
    expected = {
        creator: max((bonus for threshold, bonus in levels if threshold <= milli), default=0)
        for creator, milli in produced.items()
    }
    assert len(set(expected.values())) >= 3
    assert dict(rows(april, "SELECT creator_id, paid_micros FROM creator_bonuses")) == expected
    assert paid["paid_micros"] == paid["promised_micros"] == sum(expected.values()) <= PLENTY
    after = balances(april)
    gained = {
        account.removeprefix("creator:"): after[account] - before.get(account, 0)
        for account in after
        if account.startswith("creator:")
    }
    assert {creator: micros for creator, micros in gained.items() if micros} == {
        c: m for c, m in expected.items() if m
    }
    assert before["platform"] - after["platform"] == sum(expected.values())
    assert rows(
        april, "SELECT kind, booked_day, link FROM ledger_transactions ORDER BY seq DESC LIMIT 1"
    ) == [("bonus", END, None)]
    sound(april)


def test_everything_taken_in_is_still_owed_to_somebody(april: Home) -> None:
    make(april, creator_bonuses, APRIL)
    with Warehouse(april).open(read_only=True) as con:
        for invariant in INVARIANTS:
            if invariant.table in ("creator_bonuses", "creator_earnings", "ledger_entries"):
                assert invariant.violations(con, END, quarantine_limit=1) == [], invariant.name
    for day in day_statuses(april):
        assert (day.state, day.revision) == ("complete", 1)
        assert day.creators_micros + day.platform_micros + day.carry_micros == day.gross_micros
    assert [(p.asset, p.state) for p in period_statuses(april) if p.last == END] == [
        ("reward_schedule", "due"),
        ("creator_bonuses", "made"),
    ]


def test_again_adds_nothing(april: Home) -> None:
    make(april, creator_bonuses, APRIL)
    ledger, earnings = (
        rows(april, "FROM ledger_transactions ORDER BY seq"),
        rows(april, "FROM creator_earnings ORDER BY ALL"),
    )
    assert make(april, creator_bonuses, APRIL)["outcome"] == "unchanged"
    make_days(april, DAYS)
    assert make(april, creator_bonuses, APRIL)["outcome"] == "unchanged"
    assert rows(april, "FROM ledger_transactions ORDER BY seq") == ledger
    assert rows(april, "FROM creator_earnings ORDER BY ALL") == earnings


def test_a_month_that_runs_over_shares_its_budget(april: Home) -> None:
    with Warehouse(april).open() as con:
        con.execute("UPDATE reward_schedule SET budget_micros = ?", [LITTLE])
        as_written(con, "reward_schedule")
    paid = make(april, creator_bonuses, APRIL)
    assert paid["promised_micros"] > LITTLE == paid["paid_micros"]
    for promised, micros in rows(april, "SELECT promised_micros, paid_micros FROM creator_bonuses"):
        assert abs(Fraction(promised * LITTLE, paid["promised_micros"]) - micros) < 1
    sound(april)
    [(creator,)] = rows(
        april, "SELECT creator_id FROM creator_bonuses ORDER BY paid_micros DESC LIMIT 1"
    )
    with Warehouse(april).open(read_only=True) as con:
        assert (
            "more than the month's budget of 0.020000, so everybody gets that part of it"
            in text(explain_creator(con, creator, END))
        )


def test_late_data_of_an_open_month_reverse_and_reissue_the_bonuses(
    april: Home, landed_months: Home, tmp_path: Path
) -> None:
    make(april, creator_bonuses, APRIL)
    before = rows(april, "SELECT creator_id, paid_micros FROM creator_bonuses ORDER BY 1")
    deliver_late(april, MONTHS_DAYS)
    make_days(april, MONTHS_DAYS + MAY)
    assert [
        p.state for p in period_statuses(april) if (p.asset, p.last) == ("creator_bonuses", END)
    ] == ["stale"]
    assert make(april, creator_bonuses, APRIL)["outcome"] == "reissued"
    assert rows(april, "SELECT creator_id, paid_micros FROM creator_bonuses ORDER BY 1") != before
    kinds = rows(
        april,
        "SELECT kind, revision, link FROM ledger_transactions WHERE kind LIKE 'bonus%' ORDER"
        " BY seq",
    )
    assert kinds == [
        ("bonus", 1, None),
        ("bonus-reversal", 1, f"{END}/bonus/1"),
        ("bonus", 2, f"{END}/bonus/1"),
    ]
    sound(april)
    whole = Home.at(shutil.copytree(landed_months.root, tmp_path / "whole"))
    deliver_late(whole, MONTHS_DAYS)
    assert balances(_made_whole(whole)) == balances(april)


def _made_whole(home: Home) -> Home:
    """Late files were there from the start."""
    home = _made(home, home.root.parent / "again", PLENTY)
    make(home, creator_bonuses, APRIL)
    return home


def test_a_month_that_was_closed_first_is_booked_in_the_open_period(april: Home) -> None:
    close(april, END)
    statements = rows(april, "FROM statements ORDER BY ALL")
    paid = make(april, creator_bonuses, APRIL)
    assert rows(april, "SELECT day, booked_day FROM ledger_transactions WHERE kind = 'bonus'") == [
        (END, MAY[0])
    ]
    assert rows(april, "FROM statements ORDER BY ALL") == statements
    close(april, MAY[0])
    earned = rows(
        april,
        "SELECT sum(earned_micros)::BIGINT, sum(abs(restated_micros))::BIGINT FROM statements WHERE"
        " day = ?",
        MAY[0],
    )[0]
    of_day = rows(
        april, "SELECT sum(total_micros)::BIGINT FROM creator_earnings WHERE day = ?", MAY[0]
    )[0][0]
    assert earned == (of_day + paid["paid_micros"], 0)
    sound(april)
    [(creator, micros)] = rows(
        april,
        "SELECT creator_id, paid_micros FROM creator_bonuses ORDER BY paid_micros DESC LIMIT 1",
    )
    with Warehouse(april).open(read_only=True) as con:
        month = creator_month(con, creator, 2026, 5)
    assert month.sources["bonus for 2026-04"] == micros
    assert month.corrections == ()
    assert sum(month.sources.values()) == month.earned_micros == sum(month.days.values())
    assert [bonus.paid_micros for bonus in month.bonuses] == [micros]
    assert "bonus for April 2026" in statement_text(month)
    assert "Your bonus for April 2026" in html(month)


def test_restating_a_day_takes_the_bonuses_of_its_month_along(
    april: Home, landed_months: Home, tmp_path: Path
) -> None:
    make(april, creator_bonuses, APRIL)
    close(april, END)
    deliver_late(april, MONTHS_DAYS[:1])
    shown, _ = restate(april, MONTHS_DAYS[0], MONTHS_DAYS[0], reason="late")
    assert [(d.day, d.of, d.outcome) for d in shown.days][-1] == (END, "bonus", "reissued")
    done, made = restate(
        april, MONTHS_DAYS[0], MONTHS_DAYS[0], reason="late", expected=shown.digest
    )
    assert done.days == shown.days
    assert [(name, key) for name, key, _ in made][-1] == ("creator_bonuses", APRIL)
    bonus = shown.days[-1]
    assert (
        sum(change.gain for change in bonus.changes)
        == bonus.accounts["creators"][1] - bonus.accounts["creators"][0]
    )
    assert rows(
        april,
        "SELECT DISTINCT booked_day FROM ledger_transactions WHERE kind LIKE 'bonus%' AND link IS"
        " NOT NULL",
    ) == [(MAY[0],)]
    sound(april)
    make_days(april, MAY)
    close(april, MAY[0])
    sound(april)
    whole = Home.at(shutil.copytree(landed_months.root, tmp_path / "whole"))
    deliver_late(whole, MONTHS_DAYS[:1])
    assert balances(_made_whole(whole)) == balances(april)


def test_bonuses_of_a_closed_month_change_only_by_a_restatement(april: Home) -> None:
    make(april, creator_bonuses, APRIL)
    close(april, END)
    before = rows(april, "FROM creator_bonuses ORDER BY ALL")
    with Warehouse(april).open() as con:
        con.execute(
            "UPDATE video_quality SET effective_views = effective_views / 3 WHERE day = ?", [END]
        )
    with pytest.raises(ClosedDayError, match="earnings restate --day 2026-04-30"):
        make(april, creator_bonuses, APRIL)
    assert rows(april, "FROM creator_bonuses ORDER BY ALL") == before
    sound(april)


def test_a_budget_neutral_restatement_keeps_the_days_and_leaves_bonuses_to_their_schedule(
    april: Home,
) -> None:
    make(april, creator_bonuses, APRIL)
    close(april, END)
    deliver_late(april, MONTHS_DAYS)
    shown, _ = restate(april, MONTHS_DAYS[0], END, reason="late", budget_neutral=True)
    restate(april, MONTHS_DAYS[0], END, reason="late", budget_neutral=True, expected=shown.digest)
    for day in (d for d in shown.days if d.of == "day" and d.closed):
        assert day.accounts["creators"][0] == day.accounts["creators"][1]
    sound(april)


def test_an_explained_day_has_the_bonus_as_parts_that_sum_to_it(april: Home) -> None:
    make(april, creator_bonuses, APRIL)
    with Warehouse(april).open(read_only=True) as con:
        for creator, micros in rows(april, "SELECT creator_id, paid_micros FROM creator_bonuses"):
            day = explain_creator(con, creator, END)
            assert day.bonus is not None
            assert (
                sum(part.micros for part in day.bonus.parts)
                == day.bonus.paid_micros
                == day.sources["bonus"]
                == micros
            )
            assert sum(day.sources.values()) == day.total_micros
            assert "effective views" in text(day)
        assert explain_creator(con, creator, MONTHS_DAYS[0]).bonus is None


def test_a_month_without_a_schedule_pays_nothing_and_one_without_its_last_day_is_refused(
    april: Home,
) -> None:
    assert make(april, creator_bonuses, MARCH)["outcome"].startswith("no bonuses")
    with Warehouse(april).open() as con:
        con.execute(
            "DELETE FROM written_days WHERE table_name = 'creator_earnings' AND day = ?", [END]
        )
    with pytest.raises(MissingDayError, match="creator_earnings of 2026-04-30"):
        make(april, creator_bonuses, APRIL)
    assert rows(april, "SELECT count(*) FROM ledger_transactions WHERE kind = 'bonus'") == [(0,)]


@pytest.mark.parametrize(
    ("forged", "promises"),
    [
        (
            "UPDATE creator_bonuses SET paid_micros = paid_micros + 1 WHERE level > 0",
            {"never_above_the_budget", "bonuses_are_posted"},
        ),
        ("UPDATE creator_bonuses SET level = level + 1", {"levels_reached"}),
        (
            "UPDATE creator_bonuses SET promised_micros = 0, paid_micros = 0",
            {"levels_reached", "bonuses_are_posted"},
        ),
        ("DELETE FROM creator_bonuses WHERE level > 0", {"bonuses_are_posted"}),
    ],
)
def test_forged_bonuses_are_found(april: Home, forged: str, promises: set[str]) -> None:
    make(april, creator_bonuses, APRIL)
    checks = [i for i in INVARIANTS if i.table == "creator_bonuses"]
    with Warehouse(april).open() as con:
        con.execute(forged)
        assert {i.name for i in checks if i.violations(con, END, quarantine_limit=1)} == promises
        if "bonuses_are_posted" in promises:
            assert any(
                "bonus tables do not say what was posted" in finding
                for finding in verify(con).findings
            )
        with pytest.raises(InvariantError), Warehouse(april).write_day(con, END) as writer:
            writer.mark("creator_bonuses", rows=1, changed=True)


@pytest.mark.parametrize(
    "column",
    [
        "creator_id",
        "level",
        "threshold_milliviews",
        "promised_micros",
        "paid_micros",
        "budget_micros",
    ],
)
def test_any_changed_value_of_a_bonus_is_found(april: Home, column: str) -> None:
    make(april, creator_bonuses, APRIL)
    other = f"{column} || 'x'" if column == "creator_id" else f"{column} + 1"
    with Warehouse(april).open() as con:
        con.execute(
            f"UPDATE creator_bonuses SET {column} = {other} WHERE paid_micros = (SELECT"
            " max(paid_micros) FROM creator_bonuses)"
        )
        assert verify(con).findings


def test_the_ledger_itself_is_held_against_the_budget(april: Home) -> None:
    make(april, creator_bonuses, APRIL)
    with Warehouse(april).open() as con:
        con.execute("UPDATE reward_schedule SET budget_micros = 5")
        assert any("the month's budget was 5" in finding for finding in verify(con).findings)


# --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def book() -> Iterator[duckdb.DuckDBPyConnection]:
    """An empty warehouse in memory."""
    with duckdb.connect() as con:
        con.execute(MACROS)
        migrate(con, "")
        yield con


Produced = list[tuple[int, int, float]]  # creator, day of the month, effective views of a video


def _land(con: duckdb.DuckDBPyConnection, produced: Produced) -> None:
    """Scores of the month; columns that bonuses do not look at are 0, false or empty."""
    empty = {"DOUBLE": "0.0", "BIGINT": "0", "BOOLEAN": "true", "VARCHAR": "''"}
    con.execute("DELETE FROM video_quality")
    for place, (creator, day, views) in enumerate(produced):
        own = {
            "day": f"DATE '2026-04-{day:02}'",
            "video_id": f"'v{place}'",
            "creator_id": f"'c{creator}'",
            "effective_views": str(views),
        }
        values = ", ".join(
            f"{own.get(c.name, empty.get(c.type))} AS {c.name}"
            for c in TABLES["video_quality"].columns
        )
        con.execute(f"INSERT INTO video_quality BY NAME SELECT {values}")


def _award_and_post(con: duckdb.DuckDBPyConnection) -> tuple[list[tuple[Any, ...]], Posting]:
    rows = award(con, APRIL, END)
    con.register("awarded", rows)
    con.execute("DELETE FROM creator_bonuses")
    con.execute(
        f"INSERT INTO creator_bonuses BY NAME SELECT DATE '{END}' AS day, 'p' AS policy_hash, *"
        " FROM awarded"
    )
    posting = post_bonuses(con, APRIL, END, "p")
    return con.execute("FROM creator_bonuses ORDER BY creator_id").fetchall(), posting


@given(
    produced=st.lists(
        st.tuples(st.integers(1, 9), st.integers(1, 30), st.floats(0, 50)), min_size=1, max_size=25
    ),
    later=st.lists(st.tuples(st.integers(1, 9), st.integers(1, 30), st.floats(0, 50)), max_size=6),
    steps=st.lists(
        st.tuples(st.integers(1, 40_000), st.integers(1, 10**9)), min_size=1, max_size=6
    ),
    budget=st.integers(0, 4 * 10**9),
    shuffled=st.randoms(use_true_random=False),
)
@settings(max_examples=60)
def test_sums_budget_order_and_repetition(
    book: duckdb.DuckDBPyConnection,
    produced: Produced,
    later: Produced,
    steps: list[tuple[int, int]],
    budget: int,
    shuffled: random.Random,
) -> None:
    thresholds, bonuses = (list(accumulate(column)) for column in zip(*steps, strict=True))
    book.begin()
    try:
        for level, (threshold, bonus) in enumerate(zip(thresholds, bonuses, strict=True), 1):
            row = [MONTH.last(MARCH), APRIL, level, threshold, bonus, 1, budget, "p"]
            book.execute(f"INSERT INTO reward_schedule VALUES ({', '.join('?' * len(row))})", row)
        for rows, outcome in (
            (produced, "posted"),
            (produced, "unchanged"),
            (produced + later, None),
        ):
            shuffled.shuffle(rows)
            _land(book, rows)
            paid, posting = _award_and_post(book)
            assert outcome in (None, posting.outcome)
            for invariant in (i for i in INVARIANTS if i.table == "creator_bonuses"):
                assert invariant.violations(book, END, quarantine_limit=1) == []
            promised, micros = (sum(row[column] for row in paid) for column in (5, 6))
            assert micros == min(promised, budget)
            assert len({row[5] for row in paid}) >= len(
                {row[6] for row in paid if promised <= budget}
            )
            assert (
                book.execute(
                    "SELECT txn_id FROM ledger_entries GROUP BY txn_id HAVING sum(amount_micros)"
                    " <> 0"
                ).fetchall()
                == []
            )
        assert book.execute(
            "SELECT coalesce(-sum(amount_micros), 0) FROM ledger_entries WHERE account = 'platform'"
        ).fetchall() == [(micros,)]
        before = book.execute("SELECT count(*) FROM ledger_transactions").fetchall()
        shuffled.shuffle(rows)
        _land(book, rows)
        assert _award_and_post(book)[0] == paid
        assert book.execute("SELECT count(*) FROM ledger_transactions").fetchall() == before
    finally:
        book.rollback()
