"""Scores by evidence, through Dagster: the stated formula, what a late event may touch, and what an
account can and cannot move.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pytest

from pipelines.operation.running import run_days
from pipelines.policy import Policy, read_policy
from pipelines.quality.evidence import evidence_scores, fit, gather, sums_query
from pipelines.schema import TABLES
from pipelines.settings import PROJECT, Home
from pipelines.sources.simulator.simulate import simulate
from pipelines.status import day_statuses
from pipelines.store.warehouse import Warehouse
from tests.conftest import Platform, Rows

FIRST = date(2026, 3, 1)
DAYS = [FIRST + timedelta(days=n) for n in range(4)]
POLICY = read_policy(PROJECT / "assets_data/policies/evidence.toml")
SETTINGS = (
    f'first_day = {FIRST}\nlast_day = 2026-03-31\npolicy = "evidence"\nquarantine_limit = 0.5\n'
)
ACTIONS = ("like", "comment", "share", "follow")
DONE = {"like": "liked", "comment": "commented", "share": "shared", "follow": "followed"}


def ask(home: Home, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
    with Warehouse(home).open(read_only=True) as con:
        return con.execute(sql, list(parameters)).fetchall()


def run(home: Home, first: date = FIRST, last: date = DAYS[-1]) -> None:
    outcome = run_days(home, first, last)
    assert outcome.success, outcome.failures


def simulated(root: Path) -> Home:
    home = Home.at(root)
    simulate(
        home.landing,
        late=root / "late",
        first_day=FIRST,
        days=len(DAYS),
        seed=11,
        events_per_day=500,
        viewers=200,
        creators=20,
        videos=60,
        late_share=0.03,
        late_days=[DAYS[0]],
    )
    (root / "settings.toml").write_text(SETTINGS)
    return home


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """Four days under the policy. Do not write to it."""
    home = simulated(tmp_path_factory.mktemp("evidence"))
    run(home)
    return home


# --------------------------------------------------------------------------------------------------
# The formula, written out once more


def scores_by_hand(home: Home, day: date, policy: Policy) -> dict[str, tuple[float, float]]:
    """Q and qualified views of every video, from events, viewers and videos, in floats."""
    q, tau = policy.quality, policy.quality.toxicity_penalty
    videos = {
        row[0]: row[1:]
        for row in ask(
            home,
            """SELECT video_id, arg_max(length_ms, day), arg_max(compliant, day),
               arg_max(coalesce(s_plus, ?), day), arg_max(coalesce(s_tox, ?), day)
               FROM videos WHERE day <= ? GROUP BY 1""",
            q.neutral_s_plus,
            q.neutral_s_tox,
            day,
        )
    }
    sums: dict[tuple[str, bool, bool], dict[str, float]] = {}
    views = ask(
        home,
        """SELECT day, video_id, viewer_id, max(watch_ms), sum(watch_ms), bool_or(liked),
           bool_or(commented), bool_or(shared), bool_or(followed)
           FROM viewer_events WHERE day BETWEEN ? AND ? GROUP BY ALL""",
        day - timedelta(days=q.history_days),
        day,
    )
    trusted = {
        when: {
            row[0]: row[1:]
            for row in ask(
                home,
                "SELECT viewer_id, arg_max(verified, day), arg_max(trust, day) FROM viewers WHERE"
                " day <= ? GROUP BY 1",
                when,
            )
        }
        for when in {v[0] for v in views}
    }
    for when, video, viewer, longest, total, *did in views:
        length = videos[video][0]
        verified, trust = trusted[when].get(viewer, (False, 1.0))
        w = trust * (q.trust_verified if verified else q.trust_unverified)
        stayed = longest >= max(min(2000, length), math.ceil(0.1 * length))
        tally = sums.setdefault(
            (video, verified, when == day),
            dict.fromkeys(("stayed", "passed", "watched", "glanced", "rewatched", *ACTIONS), 0.0),
        )
        tally["stayed" if stayed else "passed"] += w
        tally["watched" if stayed else "glanced"] += w * min(longest, length) / length
        if stayed:
            tally["rewatched"] += w * (total > length)
            for name, done in zip(ACTIONS, did, strict=True):
                tally[name] += w * done
    seen = sorted({video for video, _, today in sums if today})

    def total(video: str, verified: bool, name: str, *, today: bool = False) -> float:
        wanted = [True] if today else [True, False]
        return sum(sums.get((video, verified, when), {}).get(name, 0.0) for when in wanted)

    def everywhere(verified: bool, name: str, *, today: bool = False) -> float:
        return sum(total(video, verified, name, today=today) for video in seen)

    rho = everywhere(False, "stayed") / everywhere(True, "stayed")
    rho_today = everywhere(False, "stayed", today=True) / everywhere(True, "stayed", today=True)
    odds = (everywhere(True, "passed") + 1) / (everywhere(True, "stayed") + 1)

    def cap(u: float, v: float, ratio: float) -> float:
        return min(1.0, q.unverified_cap * ratio * (v + q.unverified_allowance) / u) if u else 1.0

    known: dict[str, dict[str, float]] = {}
    for video in seen:
        k = cap(
            total(video, False, "stayed", today=True),
            total(video, True, "stayed", today=True),
            rho_today,
        )
        e = q.unverified_evidence * cap(
            total(video, False, "stayed"), total(video, True, "stayed"), rho
        )
        some = q.unverified_allowance + 1
        usual = (total(video, True, "passed") + some * odds) / (total(video, True, "stayed") + some)
        left, stayed = total(video, False, "passed"), total(video, False, "stayed")
        leaving = min(1.0, q.passing_cap * usual * (stayed + some) / left) if left else 1.0
        of = {"passed": e * leaving, "glanced": e * leaving}
        both = {
            n: total(video, True, n) + of.get(n, e) * total(video, False, n)
            for n in ("stayed", "passed", "watched", "glanced", "rewatched")
        }
        known[video] = {
            "qualified": total(video, True, "stayed", today=True)
            + k * total(video, False, "stayed", today=True),
            "watch": both["watched"] + both["glanced"],
            "watch of": both["stayed"] + both["passed"],
            "rewatch": both["rewatched"],
            "rewatch of": both["stayed"],
            **{a: total(video, True, a) for a in ACTIONS},
            **{f"{a} of": total(video, True, "stayed") for a in ACTIONS},
        }
    priors = {
        name: (strength, rate)
        for name, strength, rate in ask(
            home, "SELECT component, strength, rate FROM quality_priors WHERE day = ?", day
        )
    }
    for name, (_, rate) in priors.items():
        n = sum(row[f"{name} of"] for row in known.values()) + q.reference.viewers
        x = sum(row[name] for row in known.values()) + q.reference.viewers * getattr(
            q.reference, name
        )
        assert rate == pytest.approx(x / n, rel=1e-9), name
    found = {}
    for video, row in known.items():
        r = {n: (row[n] + m * p) / (row[f"{n} of"] + m) for n, (m, p) in priors.items()}
        engagement = sum(getattr(q.action_weights, a) * r[a] for a in ACTIONS)
        _, compliant, s_plus, s_tox = videos[video]
        safety = max(0.0, s_plus - tau * s_tox)
        power = q.powers
        product = (
            r["watch"] ** power["watch"]
            * engagement ** power["engagement"]
            * r["rewatch"] ** power["rewatch"]
            * safety ** power["safety"]
        )
        found[video] = (min(1.0, product) if compliant else 0.0, row["qualified"])
    return found


@pytest.mark.parametrize("day", [DAYS[0], DAYS[3]])
def test_scores_are_the_formula_written_out_once_more(made: Home, day: date) -> None:
    by_hand = scores_by_hand(made, day, POLICY)
    found = ask(
        made, "SELECT video_id, quality, qualified_views FROM video_quality WHERE day = ?", day
    )
    assert {row[0] for row in found} == by_hand.keys()
    for video, *scores in found:
        assert scores == pytest.approx(by_hand[video], rel=1e-9), video


def test_a_prior_is_worth_at_least_the_actions_the_policy_says(made: Home) -> None:
    rows = ask(made, "SELECT rate * strength FROM quality_priors")
    assert len(rows) == 6 * len(DAYS)
    assert min(actions for (actions,) in rows) >= POLICY.quality.prior_actions * (1 - 1e-12)


# --------------------------------------------------------------------------------------------------
# What a late event touches


def test_a_late_event_makes_its_own_day_stale_and_no_other(tmp_path: Path) -> None:
    home = simulated(tmp_path)
    run(home)
    before = ask(home, "SELECT * FROM video_quality WHERE day > ? ORDER BY ALL", FIRST)
    sums = ask(home, "SELECT * FROM video_evidence WHERE day = ? ORDER BY ALL", FIRST)
    for path in (tmp_path / "late").rglob("*.parquet"):
        target = home.landing / path.relative_to(tmp_path / "late")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    assert {d.state for d in day_statuses(home) if d.day == FIRST} == {"stale"}
    run(home, FIRST, FIRST)
    assert ask(home, "SELECT * FROM video_evidence WHERE day = ? ORDER BY ALL", FIRST) != sums
    assert ask(home, "SELECT * FROM evidence_history ORDER BY ALL") == sums
    run(home, DAYS[1], DAYS[-1])
    assert ask(home, "SELECT * FROM video_quality WHERE day > ? ORDER BY ALL", FIRST) == before
    assert {d.state for d in day_statuses(home)} == {"complete"}


def test_a_day_that_was_scored_before_its_history_is_stale_until_it_is_made_again(
    made: Home, tmp_path: Path
) -> None:
    home = simulated(tmp_path)
    run(home, DAYS[2], DAYS[3])
    run(home, DAYS[0], DAYS[1])
    states = {d.day: (d.state, d.note) for d in day_statuses(home)}
    assert states[DAYS[3]] == ("stale", "scored with 1 days of history, and there are 3 now")
    run(home, DAYS[2], DAYS[3])
    assert {d.state for d in day_statuses(home)} == {"complete"}
    everything = "SELECT * FROM video_quality ORDER BY ALL"
    assert ask(home, everything) == ask(made, everything)


# --------------------------------------------------------------------------------------------------
# What an account can move


@pytest.fixture
def crowd() -> Callable[..., dict[str, tuple[float, float, float]]]:
    """Q, qualified views and what is assured of six videos that 40 verified and 40 other viewers
    saw, and whatever accounts are added.
    """
    rng = np.random.default_rng(8)
    names = ("u", "v", "ms", *DONE.values())
    seen = [
        (f"u{viewer}", f"v{video}", int(rng.integers(0, 40_000)), *map(bool, rng.random(4) < 0.1))
        for viewer in range(80)
        for video in range(1, 7)
        if rng.random() < 0.5
    ]

    def score(*more: tuple[str, str, int, bool]) -> dict[str, tuple[float, float, float]]:
        events = [*seen, *((*who, did, did, did, did) for *who, did in more)]
        rows_of_events = pa.table(
            dict(zip(names, map(list, zip(*events, strict=True)), strict=True))
        )
        with duckdb.connect() as con:
            con.execute(";".join(t.ddl() for t in TABLES.values()))
            con.register("happened", rows_of_events)
            con.execute(
                """INSERT INTO viewer_events BY NAME SELECT $day AS day, u || v AS event_id,
                   $day::TIMESTAMP AS ts, u AS viewer_id, v AS video_id, ms AS watch_ms, liked,
                   commented, shared, followed, false AS repeated, 'x' AS source FROM happened""",
                {"day": FIRST},
            )
            con.execute(
                """INSERT INTO viewers BY NAME SELECT $day AS day, 'u' || i AS viewer_id,
                   i < 40 AS verified, 1.0 AS trust, 'x' AS source FROM range(80) AS r(i);""",
                {"day": FIRST},
            )
            con.execute(
                """INSERT INTO videos BY NAME SELECT $day AS day, 'v' || i AS video_id, 'c' || i AS
                   creator_id, 30000 AS length_ms, ['music'] AS categories, true AS compliant,
                   'x' AS source FROM range(1, 7) AS r(i)""",
                {"day": FIRST},
            )
            sums = sums_query(FIRST, POLICY)
            con.execute(f"INSERT INTO video_evidence BY NAME {sums.sql}", dict(sums.parameters))
            gather(con, FIRST, POLICY)
            scores = evidence_scores(FIRST, POLICY, fit(con, FIRST, POLICY).of)
            rows = con.execute(
                f"SELECT video_id, quality, qualified_views, assured FROM ({scores.sql})",
                dict(scores.parameters),
            ).fetchall()
        return {video: (quality, views, assured) for video, quality, views, assured in rows}

    return score


Crowd = Callable[..., dict[str, tuple[float, float, float]]]


def test_what_unverified_accounts_do_moves_no_score_only_what_they_watch(crowd: Crowd) -> None:
    watched = [(f"x{n}", "v1", 30_000, False) for n in range(9)]
    assert crowd(*((*account[:3], True) for account in watched)) == crowd(*watched)


def test_an_account_is_worth_a_view_and_little_more(crowd: Crowd) -> None:
    """One that does everything, watching twice among it: it is a view, of trust .8, and moves Q by
    what one of some sixty viewers says of watching and rewatching.
    """
    before, after = crowd(), crowd(("x", "v1", 61_000, True))
    assert after["v1"][1] - before["v1"][1] == pytest.approx(0.8)
    assert 1 < after["v1"][0] / before["v1"][0] < 1.05
    assert after["v1"][2] == pytest.approx(before["v1"][2], rel=0.01)


def test_accounts_that_leave_at_once_take_away_a_bounded_part(crowd: Crowd) -> None:
    """However many they are, and whatever they like: no view, and nothing of Q beyond what twice
    the usual number would take.
    """
    before = crowd()["v1"]
    found = [crowd(*((f"x{i}", "v1", 0, True) for i in range(n)))["v1"] for n in (10, 100, 10_000)]
    assert [views for _, views, _ in found] == [before[1]] * 3
    assert found[2][0] > 0.95 * before[0]
    assert found[2][0] == pytest.approx(found[1][0], rel=1e-4)


def test_a_day_of_five_events_without_any_action_is_paid(
    platform_at: Callable[[Path], Platform], tmp_path: Path
) -> None:
    platform = platform_at(tmp_path / "thin")
    platform.settings(first_day=FIRST, last_day=date(2026, 3, 31), policy="evidence")
    platform.known(FIRST, videos=3, creators=3, viewers=3)
    quiet = dict.fromkeys(DONE.values(), False)
    platform.land(
        "viewer_events",
        [
            Rows.event(
                f"e{n}", day=FIRST, viewer_id=f"u{n % 3 + 1}", video_id=f"v{n % 2 + 1}", **quiet
            )
            for n in range(5)
        ],
        FIRST,
    )
    platform.land("ad_revenue", [Rows.ad("a1", day=FIRST)], FIRST)
    run(platform.home, FIRST, FIRST)
    paid = ask(platform.home, "SELECT creator_id, total_micros FROM creator_earnings ORDER BY 1")
    assert [creator for creator, _ in paid] == ["c1", "c2"]
    assert sum(micros for _, micros in paid) == 450_000


def test_pulse_goes_to_what_verified_viewers_assure(made: Home) -> None:
    sure = "SELECT count(*) FROM video_quality WHERE assured > 0 AND {}"
    assert ask(made, sure.format("NOT compliant")) == [(0,)]
    assert ask(made, sure.format("assured > quality * 1.5")) == [(0,)]
    unsure = """SELECT count(*) FROM pulse_payouts JOIN video_quality USING (day, video_id)
                WHERE assured = 0"""
    assert ask(made, unsure) == [(0,)]
    assert ask(made, "SELECT count(*) > 0 FROM pulse_payouts") == [(True,)]
