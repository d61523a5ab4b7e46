"""The daily certificate of what an account could have moved: it is what the account does move, and
it does not judge scores that its evidence does not give.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest

from pipelines.ads.manipulation import ManipulationError, moved_by_accounts
from pipelines.lab.gaming import (
    ATTACKERS,
    Attacker,
    Blow,
    Target,
    accounts,
    at_most,
    crime_does_not_pay,
    many_are_worth_no_more,
    no_account_is_worth_more,
    no_sabotage_beyond,
)
from pipelines.lab.trial import Trial, trial
from pipelines.operation.running import run_days
from pipelines.settings import Home
from pipelines.sources.simulator.simulate import simulate

DAY = date(2026, 3, 1)
KINDS = {attacker.name: attacker for attacker in ATTACKERS}


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trial]:
    """A made-up day under the policy that pays by default, in memory."""
    root: Path = tmp_path_factory.mktemp("manipulation")
    home = Home.at(root)
    simulate(
        home.landing, first_day=DAY, days=1, seed=4, events_per_day=900, viewers=300,
        creators=25, videos=80,
    )  # fmt: skip
    (root / "settings.toml").write_text("quarantine_limit = 0.5\n")
    outcome = run_days(home, DAY, DAY)
    assert outcome.success, outcome.failures
    with trial(home, DAY) as room:
        room.keep(home.policies.in_force(DAY))
        yield room


def test_what_the_certificate_says_is_what_an_account_moves(room: Trial) -> None:
    """The day is paid again with the account among its rows. The certificate leaves the platform's
    rates as they are, which one account in three hundred moves by a few percent of its gain.
    """
    policy = Home.at(room.warehouse.home.root).policies.in_force(DAY)
    rows = moved_by_accounts(room.con, DAY, policy).rows.to_pylist()
    ranked = sorted(rows, key=lambda row: row["account_micros"])
    before = room.attacked(policy)
    for row in (ranked[-1], ranked[len(ranked) // 2]):
        for kind, column in (("mimic", "account_micros"), ("silent saboteur", "taken_micros")):
            target = Target(row["creator_id"], row["video_id"], 0)
            after = room.attacked(policy, accounts(KINDS[kind], [target], 1, DAY))
            moved = after[row["creator_id"]] - before[row["creator_id"]]
            claimed = row[column] if kind == "mimic" else -row[column]
            assert moved == pytest.approx(claimed, abs=0.05 * row["account_micros"] + 2), kind


def test_an_account_is_worth_about_a_viewer(room: Trial) -> None:
    policy = Home.at(room.warehouse.home.root).policies.in_force(DAY)
    figures = moved_by_accounts(room.con, DAY, policy).metadata
    assert figures["account_worth_median (viewer-days)"] < 1
    assert figures["account_worth_worst (viewer-days)"] < 2
    assert figures["account_takes_worst (viewer-days)"] < 1
    assert 0 < figures["part of the money that quality moves"] < 1


def test_scores_that_the_evidence_does_not_give_are_refused(room: Trial) -> None:
    policy = Home.at(room.warehouse.home.root).policies.in_force(DAY)
    room.con.begin()
    try:
        (video,) = room.con.execute(
            "SELECT video_id FROM video_quality WHERE effective_views > 0 ORDER BY 1 LIMIT 1"
        ).fetchall()[0]
        room.con.execute(
            "UPDATE video_quality SET effective_views = effective_views * 1.001 WHERE video_id = ?",
            [video],
        )
        with pytest.raises(ManipulationError, match=video):
            moved_by_accounts(room.con, DAY, policy)
    finally:
        room.con.rollback()


def test_the_axioms_judge_what_was_found() -> None:
    def blow(kind: str, each: float, number: int = 1) -> Blow:
        attacker: Attacker = KINDS[kind]
        moved = -each if attacker.hurts else each
        micros = round(moved * 1000 * number)
        return Blow("any", attacker, number, Target("c", "v", 1), micros, 1000.0)

    worth = [blow("mimic", 0.9), blow("mimic", 3.0, 10), blow("silent saboteur", 0.5)]
    assert no_account_is_worth_more(worth) == "yes"
    assert many_are_worth_no_more(worth) == "no"
    assert no_sabotage_beyond(worth) == "yes"
    assert no_sabotage_beyond([*worth, blow("silent saboteur", 1.5)]) == "no"
    assert no_account_is_worth_more([]) == "cannot tell"
    # a verified account that is worth a hundred viewer-days breaks no axiom about unverified ones
    assert no_account_is_worth_more([*worth, blow("aged account", 100.0)]) == "yes"
    assert crime_does_not_pay(worth) == "yes"
    assert crime_does_not_pay([blow("mimic", 20_000.0)]) == "no"
    assert at_most([0.1] * 50, 1.0, share=0.99) == "cannot tell"
