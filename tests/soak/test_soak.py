"""Two minutes of the soak on two cores: seeds that always run, and that a failing story is shrunk to
what it fails by. `make soak SEEDS=...` runs as many as one likes.
"""

from __future__ import annotations

import os
from datetime import date
from pathlib import Path

import pytest

from pipelines.store.warehouse import Warehouse
from tests.soak import search
from tests.soak.platform import KINDS, Kind, Platform, Step, draw
from tests.soak.search import kind_of, main, play, shrink, try_seed

SEEDS = (0, 2, 3)
"""Chosen to take two minutes together on two busy cores: hardened as from scratch, evidence with
groups of viewers, and a weekly market that pays.
"""

EVERYTHING = {
    "day", "late", "correct", "withdraw", "rot", "snapshot", "share", "policy", "payees", "run",
    "run_one", "half", "close", "restate", "recommit", "remarket", "accept", "pay", "answer",
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_whatever_happens_every_micro_is_where_it_belongs(seed: int) -> None:
    outcome = try_seed(seed, shrinking=0)
    assert not outcome.failure, outcome.failure
    assert outcome.days > 5


def test_the_same_seed_tells_the_same_story() -> None:
    """And all that can happen happens somewhere, in one kind of platform or another."""
    stories = {seed: draw(kind_of(seed), seed) for seed in range(40)}
    assert stories == {seed: draw(kind_of(seed), seed) for seed in range(40)}
    told = {(step.name, step.trouble) for story in stories.values() for step in story}
    assert {name for name, _ in told} == EVERYTHING
    assert {trouble for _, trouble in told} == {"", "kill", "disk", "two"}
    assert {kind_of(seed) for seed in stories} == set(KINDS)


def test_a_failing_story_is_shrunk_to_what_it_fails_by(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fault: whoever withdraws a file after a late one was delivered finds the platform broken."""

    def broken(kind: Kind, story: list[Step], folder: Path) -> int:
        names = [step.name for step in story]
        assert not ("late" in names and "withdraw" in names[names.index("late") :])
        return 0

    monkeypatch.setattr(search, "play", broken)
    story = [*draw(KINDS[0], 3), Step("late", 1), Step("run"), Step("withdraw", 2), Step("run")]
    shorter = shrink(KINDS[0], story, tmp_path)
    assert [step.name for step in shorter] == ["late", "withdraw"]


def test_a_fault_is_found_and_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A micro goes from one creator to another when a day is made, in the book and the tables."""
    kind = Kind("hardened", date(2026, 3, 3), 1)
    story = [Step("day", 0, 5), Step("run"), Step("close", 0, 1)]
    assert play(kind, story, tmp_path / "good") > 0
    commit = Platform.check

    def stolen(platform: Platform, **how: bool) -> None:
        with Warehouse(platform.home).open() as con:
            con.execute(
                """UPDATE donation_splits SET payout_micros = payout_micros + 1,
                   revenue_micros = revenue_micros + 1 WHERE video_id = (SELECT max(video_id)
                   FROM donation_splits)"""
            )
        commit(platform, **how)

    monkeypatch.setattr(Platform, "check", stolen)
    with pytest.raises(AssertionError, match=r"step 1, Step\('run', 0, 0\).*donation_splits"):
        play(kind, story, tmp_path / "bad")
    assert "SEEDS" not in os.environ
    with pytest.raises(SystemExit):
        main(["--help"])
    assert "1-40" in capsys.readouterr().out
