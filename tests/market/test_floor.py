"""A revenue floor that the donation market of the week before decides: taken, kept, explained,
restated, and changed only on purpose.
"""

from __future__ import annotations

import json
import shutil
import tomllib
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
from click.testing import CliRunner

from pipelines.cli.main import main
from pipelines.ledger.closing import close
from pipelines.ledger.explanation import explain_video
from pipelines.ledger.verification import verify
from pipelines.market.assets import donation_market
from pipelines.market.floor import Floor, floor_on, in_turn
from pipelines.policy import Policy, PolicyBook
from pipelines.remake.days import restate
from pipelines.remake.market import RemarketError, remarket
from pipelines.runs.periodic import Period
from pipelines.schema.invariants import InvariantError, enforce
from pipelines.settings import Home
from pipelines.sources.simulator.market import LiveMarket
from pipelines.sources.simulator.simulate import simulate
from pipelines.status import day_statuses, period_statuses
from pipelines.store.migrations import MIGRATIONS
from pipelines.store.warehouse import MissingDayError, Warehouse
from tests.cases.five_days import as_written, make_days, rows

MONDAY, SUNDAY, AFTER = date(2026, 3, 2), date(2026, 3, 8), date(2026, 3, 9)
WEEK = [MONDAY + timedelta(days=n) for n in range(7)]
POLICY = """
name = "evidence"
effective_from = 2020-01-01
[coins]
revenue_floor = "market"
[market]
window = {served}
locations = 12
opportunity_cost = 100.0
deviation_costs = [10.0]
fallback_floor = 0.2
floor_bounds = [0.0, {most}]
"""


def policy(served: int = 16, most: float = 0.9) -> Policy:
    return Policy.model_validate(tomllib.loads(POLICY.format(served=served, most=most)))


def study(home: Home, begin: date = MONDAY) -> dict[str, Any]:
    """Make the week's market as its asset does."""
    warehouse = Warehouse(home)
    with warehouse.open() as con:
        last = begin + timedelta(days=6)
        return dict(
            donation_market.make(
                Period(con, last, warehouse, home.policies.in_force(last), first=begin)
            )
        )


def floors(home: Home) -> dict[date, Floor]:
    sql = (
        "SELECT day, revenue_floor, floor_source, market_week, market_revision FROM coin_solutions"
        " ORDER BY day"
    )
    return {day: Floor(*rest) for day, *rest in rows(home, sql)}


@pytest.fixture(scope="module")
def paid(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A week, its market, and the two days after it."""
    root = tmp_path_factory.mktemp("market")
    simulate(
        root / "landing",
        first_day=MONDAY,
        days=9,
        seed=5,
        events_per_day=900,
        viewers=300,
        creators=30,
        videos=90,
        late_share=0.1,
        rotten_share=0.0,
        live=LiveMarket(),
    )
    (root / "policies").mkdir()
    (root / "policies" / "evidence.toml").write_text(POLICY.format(served=16, most=0.9))
    (root / "settings.toml").write_text(
        "first_day = 2026-03-02\nlast_day = 2026-03-31\npublish = false\nthreads = 1\n"
    )
    home = Home.at(root)
    make_days(home, WEEK)
    assert study(home)["outcome"] == "made from its week"
    make_days(home, [AFTER, AFTER + timedelta(days=1)])
    return home


@pytest.fixture
def home(paid: Home, tmp_path: Path) -> Home:
    return Home.at(shutil.copytree(paid.root, tmp_path / "copy"))


def test_days_are_paid_by_the_week_before_them(paid: Home) -> None:
    found = floors(paid)
    (asked,) = rows(
        paid,
        "SELECT revenue_floor, 1 - alpha_high, alpha_low, alpha, alpha_high FROM donation_market",
    )
    assert asked[0] == pytest.approx(asked[1])
    assert asked[2] <= asked[3] <= asked[4]
    assert {found[day] for day in WEEK} == {Floor(0.2, "fallback")}
    assert {found[day] for day in found if day > SUNDAY} == {Floor(asked[0], "market", SUNDAY, 1)}
    kept = rows(
        paid,
        "SELECT 1 - sum(payout_micros) / sum(revenue_micros) FROM donation_splits WHERE day > ? AND"
        " compliant",
        SUNDAY,
    )
    assert kept[0][0] >= asked[0]
    assert rows(paid, "SELECT count(*) FROM donation_market_places WHERE attribute = 'time'") == [
        (96,)
    ]
    assert (
        rows(paid, "SELECT count(*) FROM donation_market_places WHERE attribute = 'category'")[0][0]
        == 6
    )


def test_what_is_counted_is_what_stands_in_the_events(paid: Home) -> None:
    """One quarter hour and one category, counted by other SQL."""
    ((place, viewers, creators, coins),) = rows(
        paid,
        "SELECT place, viewers, creators, coins FROM donation_market_places WHERE attribute ="
        " 'time' ORDER BY coins DESC LIMIT 1",
    )
    at = (
        f"strftime(ts, '%H:%M') >= '{place}' AND strftime(ts, '%H:%M') <"
        f" '{place[:3]}{int(place[3:]) + 15}'"
    )
    owner = (
        "(SELECT arg_max(creator_id, v.day) FROM videos v WHERE v.video_id = e.video_id AND v.day"
        " <= DATE '2026-03-08')"
    )
    seen = rows(
        paid,
        f"SELECT count(DISTINCT viewer_id || day), count(DISTINCT {owner} || day) FROM"
        f" viewer_events e WHERE day BETWEEN ? AND ? AND {at}",
        MONDAY,
        SUNDAY,
    )
    assert seen[0] == pytest.approx((7 * viewers, 7 * creators))
    given = rows(
        paid,
        f"SELECT sum(coins)::BIGINT FROM gifts WHERE day BETWEEN ? AND ? AND {at}",
        MONDAY,
        SUNDAY,
    )
    assert given[0][0] == pytest.approx(7 * coins)
    labels = owner.replace("creator_id", "categories")
    sql = (
        "SELECT count(DISTINCT viewer_id || day) FROM viewer_events e WHERE day BETWEEN ? AND ?"
        f" AND list_contains({labels}, 'sport')"
    )
    watched = rows(paid, sql, MONDAY, SUNDAY)
    ((viewers,),) = rows(paid, "SELECT viewers FROM donation_market_places WHERE place = 'sport'")
    assert watched[0][0] == pytest.approx(7 * viewers)


def test_an_explanation_says_where_the_floor_came_from(paid: Home) -> None:
    with Warehouse(paid).open(read_only=True) as con:
        for day, words in (
            (SUNDAY, "no week before had a donation market"),
            (AFTER, f"the donation market of the week to {SUNDAY} says so"),
        ):
            (video,) = con.execute(
                "SELECT video_id FROM donation_splits WHERE day = ? AND compliant ORDER BY"
                " revenue_micros DESC LIMIT 1",
                [day],
            ).fetchall()[0]
            (payout,) = [p for p in explain_video(con, video, day).payouts if p.source == "coins"]
            assert words in payout.facts["revenue_floor"]
            assert (
                sum(part.micros for part in payout.parts)
                == sum(part.micros for part in payout.comparison)
                == payout.paid_micros
            )


def test_a_missing_week_is_refused_by_name(home: Home) -> None:
    with Warehouse(home).open() as con:
        con.execute(
            "DELETE FROM donation_market; DELETE FROM written_days WHERE table_name ="
            " 'donation_market'"
        )
    with pytest.raises(
        MissingDayError,
        match=(
            r"2026-03-02 to 2026-03-08.*earnings run --asset donation_market --from 2026-03-02 --to"
            r" 2026-03"
        ),
    ):
        make_days(home, [AFTER])
    make_days(home, [SUNDAY])  # no whole week ended before it
    with Warehouse(home).open() as con:
        con.execute("DELETE FROM written_days WHERE day = DATE '2026-03-04'")
    with pytest.raises(
        MissingDayError,
        match="needs every landed day of that week, and viewer_events of 2026-03-04",
    ):
        study(home)


def test_late_data_do_not_change_a_market_that_was_used(home: Home) -> None:
    """Neither a run of its days, nor a restatement of them, nor a run of the week; only remarket
    does, and then the days are stale.
    """
    before, asked = floors(home), rows(home, "FROM donation_market")
    for table in ("viewer_events", "gifts"):
        shutil.copytree(
            home.root / "late" / table / str(SUNDAY),
            home.landing / table / str(SUNDAY),
            dirs_exist_ok=True,
        )
    make_days(home, [SUNDAY])
    assert next((p.state, p.note.split(":")[0]) for p in period_statuses(home)) == (
        "stale",
        "changed",
    )
    assert study(home)["outcome"].startswith(
        "kept: 2 days from 2026-03-09 were paid by it; earnings remarket --week 2026-03-02"
    )
    assert rows(home, "FROM donation_market") == asked
    assert next(p.state for p in period_statuses(home)) == "made"
    make_days(home, [AFTER, AFTER + timedelta(days=1)])  # pools carry the late data on
    assert floors(home) == before
    assert {s.day: s.state for s in day_statuses(home)}[AFTER] == "complete"

    close(home, SUNDAY + timedelta(days=1))
    done, made = remarket(home, AFTER - timedelta(days=3), reason="late data")
    assert made[:2] == ("donation_market", MONDAY)
    assert done.changed
    assert done.closed_days == (AFTER,)
    assert done.open_days == (AFTER + timedelta(days=1),)
    assert rows(home, "SELECT revision, reason FROM market_commits ORDER BY 1") == [
        (1, "made from its week"),
        (2, "made anew: late data"),
    ]
    notes = {s.day: (s.state, s.note) for s in day_statuses(home) if s.day > SUNDAY}
    assert all(
        state == "stale"
        and "revision 1 of the market of the week to 2026-03-08, now it is revision 2" in note
        for state, note in notes.values()
    )

    # the old market still pays the day until it is made again: then by the new one, closed days by
    # restatement
    make_days(home, [AFTER + timedelta(days=1)])
    shown, _ = restate(home, AFTER, AFTER, reason="market made anew")
    restate(home, AFTER, AFTER, reason="market made anew", expected=shown.digest)
    assert {floors(home)[day] for day in done.open_days + done.closed_days} == {
        Floor(done.after, "market", SUNDAY, 2)
    }
    assert {s.state for s in day_statuses(home) if s.day > SUNDAY} == {"closed", "complete"}
    with Warehouse(home).open(read_only=True) as con:
        assert verify(con).findings == ()


def test_a_restated_day_is_split_under_the_same_floor(home: Home) -> None:
    close(home, AFTER)
    shutil.copytree(
        home.root / "late" / "gifts" / str(AFTER),
        home.landing / "gifts" / str(AFTER),
        dirs_exist_ok=True,
    )
    before = floors(home)
    shown, _ = restate(home, AFTER, AFTER, reason="late data")
    restate(home, AFTER, AFTER, reason="late data", expected=shown.digest)
    assert shown.changes
    assert floors(home) == before
    with Warehouse(home).open(read_only=True) as con:
        assert verify(con).findings == ()


def test_a_week_without_gifts_passes_the_question_on(home: Home) -> None:
    """Its market says why there is none; the days after it take the one before, or the fallback."""
    with Warehouse(home).open() as con:
        con.execute("DELETE FROM coin_solutions WHERE market_week IS NOT NULL")
        con.execute("UPDATE donation_splits SET revenue_micros = 0, payout_micros = 0")
    outcome = study(home)
    assert outcome["note"] == "no market: no coins were gifted"
    with Warehouse(home).open() as con:
        assert floor_on(con, home, policy(), AFTER) == Floor(0.2, "fallback")
    assert rows(home, "SELECT revision, alpha FROM market_commits ORDER BY revision")[-1] == (
        2,
        None,
    )


def test_a_week_alone_that_does_not_show_at_which_pay_creators_leave_supports_no_floor(
    home: Home,
) -> None:
    """One cost in units of today's pay says nothing of another pay: no floor follows from it, so
    creators are not ratcheted down week by week.
    """
    with Warehouse(home).open() as con:
        con.execute("DELETE FROM coin_solutions WHERE market_week IS NOT NULL")
    echo = POLICY.format(served=16, most=0.9).replace(
        "opportunity_cost = 100.0", "opportunity_costs = [0.8]"
    )
    (home.root / "policies" / "evidence.toml").write_text(echo)
    outcome = study(home)
    assert "no floor is supported" in str(outcome["note"])
    ((floor, low, today, high),) = rows(
        home, "SELECT revenue_floor, alpha_low, alpha_today, alpha_high FROM donation_market"
    )
    assert floor is None
    assert low <= today <= high
    with Warehouse(home).open() as con:
        assert floor_on(con, home, policy(), AFTER) == Floor(0.2, "fallback")
        enforce(con, ["donation_market"], SUNDAY, quarantine_limit=0.04)


def test_a_week_with_too_few_coins_cannot_tell_and_says_so_quickly(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Coins in 4 of 96 quarter hours: no equilibrium is computed at all."""
    monkeypatch.setattr("solvers.donation_market.equilibrium._interior_point", None)
    with Warehouse(home).open() as con:
        con.execute("DELETE FROM coin_solutions WHERE market_week IS NOT NULL")
        con.execute("DELETE FROM gifts WHERE hour(ts) <> 20")
        as_written(con, "gifts")
    outcome = study(home)
    assert str(outcome["note"]).startswith("cannot tell: 4 of 96 quarter hours have")
    assert "at least 24" in str(outcome["note"])
    assert rows(home, "SELECT alpha, revenue_floor FROM donation_market") == [(None, None)]


def test_a_market_is_kept_within_the_policys_bounds(home: Home) -> None:
    with Warehouse(home).open(read_only=True) as con:
        assert floor_on(con, home, policy(most=0.3), AFTER).revenue_floor == 0.3
        assert floor_on(con, home, policy(), AFTER).revenue_floor > 0.3


@pytest.mark.parametrize(
    ("table", "day", "broken", "says"),
    [
        (
            "donation_market",
            SUNDAY,
            "UPDATE donation_market SET alpha_high = alpha_low - 0.01",
            "alpha_low <= alpha",
        ),
        (
            "donation_market",
            SUNDAY,
            "DELETE FROM donation_market_places WHERE place = '00:15'",
            "all 96 quarter hours",
        ),
        (
            "donation_market",
            SUNDAY,
            "UPDATE market_commits SET revenue_floor = 0.5",
            "the latest record",
        ),
        (
            "donation_splits",
            AFTER,
            "UPDATE coin_solutions SET revenue_floor = 0.999 WHERE day = DATE '2026-03-09'",
            "the revenue floor",
        ),
    ],
)
def test_what_is_written_is_checked(
    home: Home, table: str, day: date, broken: str, says: str
) -> None:
    with Warehouse(home).open() as con:
        enforce(con, [table], day, quarantine_limit=0.04)
        con.execute(broken)
        with pytest.raises(InvariantError, match=says):
            enforce(con, [table], day, quarantine_limit=0.04)


def test_remarket_from_the_command_line(home: Home) -> None:
    with pytest.raises(RemarketError, match="2026-03-09 to 2026-03-15 has no donation market yet"):
        remarket(home, AFTER, reason="none")
    runner = CliRunner()
    result = runner.invoke(
        main,
        [
            "--home",
            str(home.root),
            "remarket",
            "--week",
            "2026-03-04",
            "--reason",
            "to see",
            "--json",
        ],
    )
    assert result.exit_code == 0, result.output
    said = json.loads(result.stdout)
    assert (said["week"], said["changed"], said["before"]) == ("2026-03-08", False, said["after"])
    assert (
        runner.invoke(
            main, ["--home", str(home.root), "remarket", "--week", "2026-03-04", "--reason", " "]
        ).exit_code
        == 2
    )


def test_a_range_is_cut_where_a_market_has_to_be_made() -> None:
    market, number = policy(), Policy(name="evidence", effective_from=date(2020, 1, 1))
    assert in_turn(PolicyBook((number,)), MONDAY, date(2026, 3, 31)) == [
        (MONDAY, date(2026, 3, 31))
    ]
    later = market.model_copy(update={"effective_from": date(2026, 3, 20)})
    assert in_turn(PolicyBook((number, later)), date(2026, 3, 4), date(2026, 3, 24)) == [
        (date(2026, 3, 4), date(2026, 3, 22)),
        (date(2026, 3, 23), date(2026, 3, 24)),
    ]
    assert in_turn(PolicyBook((market,)), SUNDAY, AFTER) == [(SUNDAY, SUNDAY), (AFTER, AFTER)]


def test_an_older_warehouse_learns_the_floor_it_paid_under(home: Home) -> None:
    """Rows from before the floor stood there get that of the policy they were paid under."""
    (added,) = [m.tables["coin_solutions"] for m in MIGRATIONS if "coin_solutions" in m.tables]
    plain = Policy(name="plain", effective_from=MONDAY)
    with duckdb.connect() as con:
        con.execute("CREATE TABLE policies (policy_hash VARCHAR, content VARCHAR)")
        con.execute("INSERT INTO policies VALUES (?, ?)", [plain.hash, plain.content])
        con.execute(
            "CREATE TABLE kept_rows AS SELECT ? AS policy_hash UNION ALL SELECT 'unknown'",
            [plain.hash],
        )
        found = con.execute(
            f"SELECT {', '.join(added.values())} FROM kept_rows ORDER BY ALL"
        ).fetchall()
    assert sorted(found, key=str) == sorted(
        [(0.1, "policy", None, None), (None, "policy", None, None)], key=str
    )


def test_the_hash_of_a_policy_without_a_market_does_not_know_of_markets() -> None:
    plain = Policy(name="a", effective_from=MONDAY)
    other = plain.model_copy(
        update={"market": plain.market.model_copy(update={"fallback_floor": 0.5})}
    )
    assert plain.hash == other.hash
    taking = with_market(plain)
    assert taking.hash != plain.hash
    assert taking.hash != with_market(other).hash


def with_market(plain: Policy) -> Policy:
    return Policy.model_validate(
        plain.model_dump() | {"coins": plain.coins.model_dump() | {"revenue_floor": "market"}}
    )


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"coins": {"revenue_floor": "markt"}}, "market"),
        ({"coins": {"revenue_floor": "market", "min_gap": 0.2}}, r"lets revenue_floor be 0\.9"),
        ({"market": {"floor_bounds": [0.5, 0.4]}}, "must increase"),
        ({"market": {"opportunity_costs": []}}, "at least one value"),
        ({"market": {"locations": 7}}, "12"),
    ],
)
def test_a_market_that_makes_no_sense_is_refused(change: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Policy.model_validate({"name": "a", "effective_from": MONDAY, **change})


def test_words() -> None:
    assert "revision 2" in Floor(0.5, "market", SUNDAY, 2).words()
    assert Floor(0.5, "policy").words() == "50 % of the coins: the policy says so"
