"""What a run does in turn."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

from pipelines.operation.plan import PlanError, Step, steps
from pipelines.periods import MONTH, WEEK
from pipelines.settings import Home
from pipelines.status import days

FIRST, LAST = date(2026, 3, 1), date(2026, 3, 31)


def day(of_march: int) -> date:
    return date(2026, 3, of_march)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """March has landed, and nothing is made."""
    for n in range(31):
        (tmp_path / "landing" / "viewer_events" / str(FIRST + timedelta(n))).mkdir(parents=True)
    return Home.at(tmp_path)


def carried_out(
    home: Home,
    ranges: Sequence[tuple[date, date]],
    assets: Sequence[str] = (),
    *,
    monkeypatch: pytest.MonkeyPatch,
    fails: frozenset[date] = frozenset(),
) -> list[Step]:
    """The steps, each done before the next one is asked for; days in `fails` are not made."""
    made: set[date] = set()

    def statuses(home: Home) -> list[SimpleNamespace]:
        return [
            SimpleNamespace(day=d, state="complete" if d in made else "landed")
            for d in home.landed()
        ]

    monkeypatch.setattr(days, "day_statuses", statuses)
    done = []
    for step in steps(home, ranges, assets):
        done.append(step)
        if not step.span:
            length = (step.last - step.first).days + 1
            made |= {step.first + timedelta(n) for n in range(length)} - fails
    return done


def write_policy(home: Home, text: str) -> None:
    (home.root / "policies").mkdir()
    (home.root / "policies" / "mine.toml").write_text(
        "name = 'evidence'\neffective_from = 2020-01-01\n" + text
    )


def test_weeks_and_months_follow_the_days_that_they_end_with(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert carried_out(home, [(FIRST, LAST)], monkeypatch=monkeypatch) == [
        Step(FIRST, LAST),
        Step(day(2), day(23), WEEK),
        Step(FIRST, FIRST, MONTH),
    ]


def test_a_period_with_a_day_that_is_not_made_is_left_out(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    lacking = frozenset({day(11)})
    assert carried_out(home, [(FIRST, LAST)], monkeypatch=monkeypatch, fails=lacking) == [
        Step(FIRST, LAST),
        Step(day(2), day(2), WEEK),
        Step(day(16), day(23), WEEK),
    ]


def test_a_range_gets_no_period_that_ends_outside(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    ranges = [(day(2), day(7)), (day(8), day(10))]
    assert carried_out(home, ranges, monkeypatch=monkeypatch) == [
        Step(day(2), day(7)),
        Step(day(8), day(10)),
        Step(day(2), day(2), WEEK),
    ]


def test_a_week_whose_market_pays_the_next_day_comes_before_it(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_policy(home, '[coins]\nrevenue_floor = "market"\n')
    assert carried_out(home, [(day(2), day(17))], monkeypatch=monkeypatch) == [
        Step(day(2), day(8)),
        Step(day(2), day(2), WEEK),
        Step(day(9), day(15)),
        Step(day(9), day(9), WEEK),
        Step(day(16), day(17)),
    ]


def test_what_is_asked_for_by_name_is_days_then_weeks_then_months(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_policy(home, '[coins]\nrevenue_floor = "market"\n')
    names = ["reward_schedule", "donation_market", "video_quality"]
    assert carried_out(home, [(FIRST, LAST)], names, monkeypatch=monkeypatch) == [
        Step(FIRST, LAST, None, ("video_quality",)),
        Step(day(2), day(23), WEEK, ("donation_market",)),
        Step(FIRST, FIRST, MONTH, ("reward_schedule",)),
    ]


def test_an_asset_of_weeks_that_no_whole_week_holds_is_refused(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    ranges = [(day(9), day(14))]
    with pytest.raises(PlanError, match=r"no whole week .* from 2026-03-09 to 2026-03-14,"):
        carried_out(home, ranges, ["donation_market"], monkeypatch=monkeypatch)


def test_a_step_knows_its_last_day() -> None:
    assert Step(day(2), day(9), WEEK).end == day(15)
    assert Step(day(2), day(9)).end == day(9)
