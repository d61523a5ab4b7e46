"""What a day was made from reaches beyond it: a correction of the oldest day of any input, and of
the policy, is seen on every day that it touches, and on no other.
"""

from __future__ import annotations

import csv
import gzip
import re
import shutil
from collections.abc import Callable
from datetime import date
from functools import cache
from pathlib import Path

import pytest

from pipelines.ledger.closing import ClosingError, close
from pipelines.remake.days import restate
from pipelines.schema import DAILY, LANDING
from pipelines.settings import Home
from pipelines.sources.simulator.simulate import simulate
from pipelines.status import day_statuses
from tests.cases.five_days import make_days, rows

DAYS = [date(2026, 3, n) for n in (1, 2, 3)]
FIRST, LAST = DAYS[0], DAYS[-1]
POLICY = (
    'name = "evidence"\neffective_from = 2020-01-01\n'
    "[quality]\nwindow_days = 2\n[quality.exponents]\n"
    "watch = 0.5\nengagement = 0.5\ndiversity = 0.0\nrewatch = 0.0\nsafety = 0.0\n"
    "[ads]\nplatform_share = {share}\n"
)
Row = dict[str, str]


def _unverified(row: Row) -> Row:
    half = int(row["viewer_id"][-1]) % 2
    return row | ({"verified": "false", "trust": "0.05"} if half else {})


def _one_identity(row: Row) -> Row:
    return row | {"identity_id": "everybody" if row["creator_id"] < "c000004" else ""}


def _refused(row: Row) -> Row:
    return row | {"compliant": "false" if row["creator_id"] < "c000003" else row["compliant"]}


def _unliked(row: Row) -> Row:
    return row | {"liked": "false", "shared": "true"}


def _dearer(row: Row) -> Row:
    return row | {"coins": str(3 * int(row["coins"]))}


def _nobodys(row: Row) -> Row:
    return row | {"category": "nobody's", "video_id": ""}


def _anothers(row: Row) -> Row:
    return row | {"party_id": "c000002"}


def _counts_again(row: Row) -> Row:
    return row | {"outcome": "restored"}


CORRECTIONS: dict[str, Callable[[Row], Row]] = {
    "viewers": _unverified,
    "creators": _one_identity,
    "videos": _refused,
    "shares": _anothers,
    "invalid_traffic": _counts_again,
    "viewer_events": _unliked,
    "gifts": _dearer,
    "ad_revenue": _nobodys,  # carried from day to day
}


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three days that have landed, not made; a score looks at two of them."""
    root = tmp_path_factory.mktemp("reach")
    (root / "settings.toml").write_text("publish = false\nthreads = 1\n")
    (root / "policies").mkdir()
    (root / "policies" / "p.toml").write_text(POLICY.format(share=0.5))
    simulate(
        root / "landing", first_day=FIRST, days=3, seed=3, late_share=0.0, rotten_share=0.0,
        events_per_day=150, viewers=40, creators=8, videos=16, format="csv.gz",
    )  # fmt: skip
    [videos] = (root / "landing" / "videos" / str(FIRST)).iterdir()
    with gzip.open(videos, "rt") as stream:
        ids = [row["video_id"] for row in csv.DictReader(stream)]
    [events] = (root / "landing" / "viewer_events" / str(FIRST)).iterdir()
    with gzip.open(events, "rt") as stream:
        viewers = sorted({row["viewer_id"] for row in csv.DictReader(stream)})[::2]
    (root / "landing" / "invalid_traffic" / str(FIRST)).mkdir(parents=True)
    decisions = root / "landing" / "invalid_traffic" / str(FIRST) / "decisions.csv.gz"
    with gzip.open(decisions, "wt") as stream:
        stream.write("what,id,decided_on,outcome,reason\n")
        stream.writelines(f"viewer,{name},{FIRST},deducted,bots\n" for name in viewers)
    (root / "landing" / "shares" / str(FIRST)).mkdir(parents=True)
    with gzip.open(root / "landing" / "shares" / str(FIRST) / "shares.csv.gz", "wt") as stream:
        stream.write("share_id,video_id,party_id,part,role\n")
        stream.writelines(f"s-{name},{name},c000001,1000000,claim\n" for name in ids)
    return root


@pytest.fixture(scope="module")
def made(platform: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with all days made; copied before anything is changed."""
    home = Home.at(shutil.copytree(platform, tmp_path_factory.mktemp("made") / "home"))
    make_days(home, DAYS)
    return home.root


def correct(home: Home, what: str) -> None:
    """Correct the oldest day of a table, or the policy."""
    if what == "policy":
        (home.root / "policies" / "p.toml").write_text(POLICY.format(share=0.3))
        return
    for path in (home.landing / what / str(FIRST)).iterdir():
        with gzip.open(path, "rt") as stream:
            found = [CORRECTIONS[what](row) for row in csv.DictReader(stream)]
        with gzip.open(path, "wt") as stream:
            writer = csv.DictWriter(stream, found[0].keys())
            writer.writeheader()
            writer.writerows(found)


def paid(home: Home) -> dict[date, list[tuple[str, int]]]:
    """What every account has of each day, money that is carried to the next one too."""
    found: dict[date, list[tuple[str, int]]] = {day: [] for day in DAYS}
    sql = """SELECT day, account || ' ' || part, sum(amount_micros)::BIGINT AS micros FROM ledger_entries
             WHERE part <> 'statement' GROUP BY ALL HAVING micros <> 0 ORDER BY ALL"""
    for day, *amount in rows(home, sql):
        found[day].append(tuple(amount))
    return found


@pytest.fixture(scope="module")
def fresh(
    platform: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], dict[date, list[tuple[str, int]]]]:
    """What a home pays that never knew anything but the corrected files."""

    @cache
    def pay(what: str) -> dict[date, list[tuple[str, int]]]:
        home = Home.at(shutil.copytree(platform, tmp_path_factory.mktemp("fresh") / "home"))
        correct(home, what)
        make_days(home, DAYS)
        return paid(home)

    return pay


@pytest.fixture(scope="module")
def begun_late(platform: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same made from its second day on, before the first one landed; copied before anything is
    changed.
    """
    home = Home.at(shutil.copytree(platform, tmp_path_factory.mktemp("late") / "home"))
    for table in DAILY:
        (home.landing / table.name / str(FIRST)).rename(home.root / table.name)
    make_days(home, DAYS[1:])
    for table in DAILY:
        (home.root / table.name).rename(home.landing / table.name / str(FIRST))
    return home.root


def named(error: ClosingError) -> set[date]:
    """Days that a refusal names."""
    said = str(error).split("Run them first")[0]
    return {date.fromisoformat(day) for day in re.findall(r"(2026-03-\d\d) (?:is|was|has)", said)}


def test_every_input_has_its_correction() -> None:
    assert CORRECTIONS.keys() == LANDING.keys()


@pytest.mark.parametrize("what", [*CORRECTIONS, "policy"])
def test_closing_pays_what_a_fresh_home_pays_or_names_every_day_that_it_does_not(
    made: Path, tmp_path: Path, what: str, fresh: Callable[[str], dict[date, list[tuple[str, int]]]]
) -> None:
    home, expected = Home.at(shutil.copytree(made, tmp_path / "home")), fresh(what)
    before = paid(home)
    correct(home, what)
    make_days(home, [FIRST])
    assert paid(home)[FIRST] == expected[FIRST] != before[FIRST]
    seen = run_what_closing_names(home, expected)
    assert seen or what == "gifts"  # the one input without a reach
    assert {s.state for s in day_statuses(home)} == {"complete"}
    close(home, LAST)
    assert paid(home) == expected


def run_what_closing_names(home: Home, expected: dict[date, list[tuple[str, int]]]) -> set[date]:
    """Run the days that closing names until every day pays what it should; returns them. Money that
    a day carries on makes the next one stale once the day was run, so that may take a few rounds.
    """
    seen: set[date] = set()
    while wrong := {day for day in DAYS if paid(home)[day] != expected[day]}:
        with pytest.raises(ClosingError) as refused:
            close(home, LAST)
        stale = named(refused.value)
        assert min(wrong) in stale
        assert stale == {s.day for s in day_statuses(home) if s.state == "stale"}
        assert not stale & seen
        make_days(home, sorted(stale))
        seen |= stale
    return seen


@pytest.mark.parametrize("what", ["videos", "viewer_events", "ad_revenue"])
def test_an_oldest_day_that_comes_last_is_seen_too(
    begun_late: Path,
    tmp_path: Path,
    what: str,
    fresh: Callable[[str], dict[date, list[tuple[str, int]]]],
) -> None:
    home = Home.at(shutil.copytree(begun_late, tmp_path / "home"))
    correct(home, what)
    make_days(home, [FIRST])
    assert run_what_closing_names(home, fresh(what))
    close(home, LAST)


@pytest.mark.parametrize("what", ["viewers", "creators", "videos"])
def test_a_snapshot_that_says_the_same_makes_nothing_stale(
    made: Path, tmp_path: Path, what: str
) -> None:
    """Written anew, in another order: other bytes, equal rows."""
    home = Home.at(shutil.copytree(made, tmp_path / "home"))
    for path in (home.landing / what / str(FIRST)).iterdir():
        head, *lines = gzip.decompress(path.read_bytes()).splitlines(keepends=True)
        path.write_bytes(gzip.compress(head + b"".join(reversed(lines)), mtime=0))
    assert day_statuses(home)[0].state == "stale"  # until it is loaded nobody knows
    make_days(home, [FIRST])
    assert {s.state for s in day_statuses(home)} == {"complete"}


def test_a_change_reaches_to_the_day_before_the_next_row_of_the_id(
    made: Path, tmp_path: Path
) -> None:
    home = Home.at(shutil.copytree(made, tmp_path / "home"))
    source = home.landing / "videos" / str(FIRST)
    shutil.copytree(source, home.landing / "videos" / str(LAST), dirs_exist_ok=True)
    make_days(home, DAYS)
    correct(home, "videos")
    make_days(home, [FIRST])
    states = {s.day: s.state for s in day_statuses(home)}
    assert states == {FIRST: "complete", DAYS[1]: "stale", LAST: "complete"}
    changes = rows(home, "SELECT day, through FROM snapshot_changes WHERE table_name = 'videos'")
    assert changes[-1] == (FIRST, DAYS[1])


def test_a_snapshot_of_a_day_that_has_nothing_else_is_loaded_by_the_next_run(
    platform: Path, tmp_path: Path
) -> None:
    """Nobody would ever run its day."""
    home = Home.at(shutil.copytree(platform, tmp_path / "home"))
    for table in ("creators", "videos"):
        (home.landing / table / str(FIRST)).rename(home.landing / table / "2026-02-20")
    early = home.landing / "videos" / "2026-02-20"
    make_days(home, DAYS)
    assert {s.state for s in day_statuses(home)} == {"complete"}
    (path,) = early.iterdir()
    text = gzip.decompress(path.read_bytes()).decode().replace("true", "false")
    path.write_bytes(gzip.compress(text.encode(), mtime=0))
    assert {(s.state, s.note.split(",")[0]) for s in day_statuses(home)} == {
        ("stale", path.relative_to(home.landing).as_posix())
    }
    make_days(home, [FIRST])
    assert [s.state for s in day_statuses(home)] == ["complete", "stale", "stale"]
    make_days(home, DAYS[1:])
    assert rows(home, "SELECT sum(payout_micros) FROM donation_splits") == [(0,)]


def test_a_restatement_follows_a_snapshot_as_far_as_it_reaches(
    made: Path, tmp_path: Path, fresh: Callable[[str], dict[date, list[tuple[str, int]]]]
) -> None:
    home = Home.at(shutil.copytree(made, tmp_path / "home"))
    close(home, DAYS[1])
    correct(home, "videos")
    shown, _ = restate(home, FIRST, FIRST, reason="corrected")
    assert [d.day for d in shown.days] == DAYS
    restate(home, FIRST, FIRST, reason="corrected", expected=shown.digest)
    assert paid(home) == fresh("videos")
    assert [s.state for s in day_statuses(home)] == ["closed", "closed", "complete"]
