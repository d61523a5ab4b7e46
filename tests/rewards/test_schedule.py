"""The monthly reward schedule: made from the days before its month, proven in whole money, and
fixed once creators work for it.
"""

from __future__ import annotations

import shutil
from datetime import date
from pathlib import Path

import pytest

from pipelines.periods import MONTH
from pipelines.rewards.assets import reward_schedule
from pipelines.runs.daily import Metadata
from pipelines.runs.periodic import Period
from pipelines.schema.invariants import INVARIANTS, InvariantError
from pipelines.settings import Home
from pipelines.sources.simulator.simulate import simulate
from pipelines.store.warehouse import MissingDayError, Warehouse
from tests.cases.five_days import make_days, rows

DAYS = [
    date(2026, 3, 28),
    date(2026, 3, 29),
    date(2026, 3, 30),
    date(2026, 3, 31),
    date(2026, 4, 1),
    date(2026, 4, 2),
    date(2026, 4, 3),
]
MARCH, APRIL = DAYS[:4], DAYS[4:]
MADE = date(2026, 3, 31)  # the day under which April's schedule is kept
BUDGET = 30_000_000
SETTINGS = (
    "first_day = 2026-03-01\nlast_day = 2026-04-30\nlock_timeout_seconds = 5\npublish ="
    " false\nthreads = 1\n"
)


def policy(home: Home, **bonus: float) -> None:
    """Give the home a policy of its own, with a bonus section."""
    (home.root / "policies").mkdir(exist_ok=True)
    lines = [
        f"{key} = {value}" for key, value in {"budget_micros": BUDGET, "levels": 6, **bonus}.items()
    ]
    text = 'name = "evidence"\neffective_from = 2020-01-01\n[bonus]\n' + "\n".join(lines) + "\n"
    (home.root / "policies" / "evidence.toml").write_text(text)


def make_schedule(home: Home, first: date = date(2026, 3, 1)) -> Metadata:
    warehouse, last = Warehouse(home), MONTH.last(first)
    with warehouse.open() as con:
        return reward_schedule.make(
            Period(con, last, warehouse, home.policies.in_force(last), first=first)
        )


@pytest.fixture(scope="session")
def march_once(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """Four days of March made, three of April landed. Do not write to it; `march` copies it."""
    home = Home.at(tmp_path_factory.mktemp("rewards") / "home")
    home.root.mkdir()
    (home.root / "settings.toml").write_text(SETTINGS)
    sizes = {"events_per_day": 150, "viewers": 60, "creators": 12, "videos": 30}
    simulate(
        home.landing,
        first_day=DAYS[0],
        days=len(DAYS),
        seed=3,
        late_share=0.0,
        rotten_share=0.0,
        format="csv.gz",
        **sizes,
    )
    policy(home)
    make_days(home, MARCH)
    return home


@pytest.fixture
def march(march_once: Home, tmp_path: Path) -> Home:
    return Home.at(shutil.copytree(march_once.root, tmp_path / "march"))


def test_the_schedule_is_proven_and_buys_more_than_the_same_money_otherwise(march: Home) -> None:
    made = make_schedule(march)
    levels = rows(
        march,
        "SELECT level, threshold_milliviews, bonus_micros, creators, month FROM reward_schedule"
        " ORDER BY level",
    )
    assert len(levels) >= 3
    assert {month for *_, month in levels} == {date(2026, 4, 1)}
    with Warehouse(march).open(read_only=True) as con:
        for invariant in (
            i
            for i in INVARIANTS
            if i.table in ("reward_schedule", "creator_types", "reward_forecast")
        ):
            assert invariant.violations(con, MADE, quarantine_limit=1) == [], invariant.name
    expected = sum(bonus * creators for _, _, bonus, creators, _ in levels)
    assert BUDGET - len(levels) * 12 <= expected <= BUDGET
    assert made["expected_micros"] == expected
    bought = dict(rows(march, "SELECT scheme, bought FROM reward_forecast"))
    assert bought["optimal"] >= bought["published"] > bought["linear"] > 0 == bought["none"]
    assert bought["published"] == pytest.approx(bought["optimal"], rel=1e-3)
    assert bought["optimal"] > bought["proportional"]


def test_types_are_what_the_tables_of_the_days_say(march: Home) -> None:
    make_schedule(march)
    price = rows(
        march,
        """SELECT sum(pulse_micros + ads_micros + carry_micros) / (SELECT sum(effective_views)
            FROM video_quality) FROM creator_earnings""",
    )[0][0]
    assert rows(march, "SELECT DISTINCT price_micros FROM reward_forecast")[0][0] == pytest.approx(
        price, rel=1e-4
    )
    known = rows(
        march,
        "SELECT creator_id FROM video_quality GROUP BY creator_id HAVING sum(qualified_views) >"
        " 0.0005 ORDER BY 1",
    )
    assert rows(march, "SELECT creator_id FROM creator_types ORDER BY 1") == known
    for own, h in rows(march, "SELECT DISTINCT type_production, difficulty FROM creator_types"):
        assert 2 * h * own == pytest.approx(
            price, rel=1e-4
        )  # c = x^2: nobody would rather produce more or less at today's price
    total, expected = rows(
        march,
        "SELECT sum(production), (SELECT production FROM reward_forecast WHERE scheme = 'none')"
        " FROM creator_types",
    )[0]
    assert total == pytest.approx(expected)


def test_making_it_again_changes_nothing_and_a_made_day_of_its_month_fixes_it(march: Home) -> None:
    make_schedule(march)
    before = rows(march, "FROM reward_schedule ORDER BY ALL")
    changes = rows(
        march, "SELECT table_name, changed FROM written_days WHERE day = ? ORDER BY 1", MADE
    )
    make_schedule(march)
    assert (
        rows(march, "SELECT table_name, changed FROM written_days WHERE day = ? ORDER BY 1", MADE)
        == changes
    )
    policy(march, budget_micros=2 * BUDGET)
    make_schedule(march)
    doubled = rows(march, "FROM reward_schedule ORDER BY ALL")
    assert doubled != before
    policy(march)
    make_days(march, APRIL[:1])
    assert make_schedule(march)["outcome"].startswith("fixed")
    assert rows(march, "FROM reward_schedule ORDER BY ALL") == doubled


def test_a_backfill_makes_the_schedule_after_its_month_from_days_before_it(march: Home) -> None:
    make_days(march, APRIL)
    assert make_schedule(march)["outcome"] == "made after its month began"
    late = rows(march, "FROM reward_schedule ORDER BY ALL")
    with Warehouse(march).open() as con:
        con.execute(
            "DELETE FROM written_days WHERE table_name = 'creator_earnings' AND day > ?", [MADE]
        )
    assert make_schedule(march)["outcome"] == "made"
    assert rows(march, "FROM reward_schedule ORDER BY ALL") == late


def test_without_a_budget_nothing_is_published(march: Home) -> None:
    policy(march, budget_micros=0)
    assert make_schedule(march)["outcome"] == "no bonuses: the policy has no budget"
    assert rows(
        march, "SELECT (SELECT count(*) FROM reward_schedule), (SELECT count(*) FROM creator_types)"
    ) == [(0, 0)]


def test_a_reserve_is_not_planned_for(march: Home) -> None:
    policy(march, planned=0.6)
    assert 0.59 * BUDGET < make_schedule(march)["expected_micros"] <= 0.6 * BUDGET
    assert rows(march, "SELECT DISTINCT budget_micros FROM reward_schedule") == [(BUDGET,)]


def test_a_history_with_a_hole_is_refused_by_its_day(march: Home) -> None:
    with Warehouse(march).open() as con:
        con.execute(
            "DELETE FROM written_days WHERE table_name = 'video_quality' AND day = ?", [MARCH[1]]
        )
    with pytest.raises(
        MissingDayError, match="video_quality of 2026-03-29 is not in the warehouse"
    ):
        make_schedule(march)


@pytest.mark.parametrize(
    ("forged", "promise"),
    [
        (
            "UPDATE reward_schedule SET bonus_micros = bonus_micros + 1000 WHERE level = 2",
            "nobody_prefers_another_level",
        ),
        (
            (
                "UPDATE reward_schedule SET threshold_milliviews = threshold_milliviews - 1000"
                " WHERE level = 3"
            ),
            "nobody_prefers_another_level",
        ),
        ("UPDATE reward_schedule SET level = level + 1", "levels_rise"),
        ("UPDATE reward_schedule SET bonus_micros = 0 WHERE level = 2", "levels_rise"),
        ("UPDATE reward_schedule SET budget_micros = 1000", "expected_within_budget"),
    ],
)
def test_a_forged_schedule_is_found(march: Home, forged: str, promise: str) -> None:
    make_schedule(march)
    found = {i.name: i for i in INVARIANTS if i.table == "reward_schedule"}[promise]
    with Warehouse(march).open() as con:
        con.execute(forged)
        assert found.violations(con, MADE, quarantine_limit=1)
        with pytest.raises(InvariantError), Warehouse(march).write_day(con, MADE) as writer:
            writer.mark("reward_schedule", rows=1, changed=True)
