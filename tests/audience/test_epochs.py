"""Adaptive epochs through Dagster: a month in order, a crash in it, gaps, two at once, restated
days, recommits, new groups, two arms.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import dagster as dg
import duckdb
import numpy as np
import pytest
from click.testing import CliRunner

from pipelines.audience import assets as audience
from pipelines.cli.main import main
from pipelines.operation.running import RunOutcome, run_days
from pipelines.remake.weights import RecommitError, recommit
from pipelines.runs.daily import Day
from pipelines.schema.invariants import InvariantError, enforce
from pipelines.settings import Home
from pipelines.sources.assets import RAW
from pipelines.sources.simulator.niche import Niche
from pipelines.sources.simulator.simulate import simulate
from pipelines.status import day_statuses
from pipelines.store.warehouse import Warehouse
from tests.cases.five_days import EVERYTHING, make_days
from tests.cases.three_days import rows

FIRST, DAYS = date(2026, 3, 1), 30
SETTINGS = (
    "first_day = 2026-03-01\nlast_day = 2026-12-31\nlock_timeout_seconds = 60\nthreads = 1\npublish"
    " = false\npolicy = 'adaptive'\n"
)
ASSETS = ["viewer_groups", "group_utility", "group_weights"]
LOADED = [asset.name for asset in RAW]
SCORED = [*ASSETS, "video_evidence", "video_quality"]
DERIVED = [name for name in EVERYTHING if name not in LOADED]
EPOCHS: dict[str, Any] = {
    **{
        "mechanism": "uir",
        "groups": 3,
        "min_group_viewers": 5,
        "refresh_days": 14,
        "min_impressions": 10,
        "rate": 0.5,
    },
    **{"rate_schedule": [[10, 0.25]], "stuck_days": 3, "utility": "completion"},
}
STATES = (
    "SELECT day, group_id, weight, observed, utility, epoch, rate, made_from, state_hash, note FROM"
    " group_weights ORDER BY ALL"
)


def day(n: int) -> date:
    """The n-th day of the month."""
    return FIRST + timedelta(days=n - 1)


def set_policy(
    home: Home, *, since: date = date(2026, 1, 1), name: str = "adaptive.toml", **changes: Any
) -> None:
    lines = ["name = 'adaptive'", f"effective_from = {since}", "[quality]", "prior_mass = 20.0"]
    lines += ["[ads]", "lambda_fair = 0.0", "lambda_eff = 1.0", "[epochs]"]
    epochs = EPOCHS | changes
    experiment = epochs.pop("experiment", None)
    lines += [f"{key} = {json.dumps(value)}" for key, value in epochs.items()]
    lines += (
        [
            "[epochs.experiment]",
            *(f"{key} = {json.dumps(value)}" for key, value in experiment.items()),
        ]
        if experiment
        else []
    )
    folder = home.root / "policies"
    folder.mkdir(exist_ok=True)
    (folder / name).write_text("\n".join(lines) + "\n")


def run(home: Home, first: int, last: int) -> RunOutcome:
    return run_days(home, day(first), day(last), assets=ASSETS)


@pytest.fixture(scope="session")
def landing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("month")
    sizes = {"events_per_day": 160, "viewers": 80, "creators": 6, "videos": 15}
    simulate(
        root / "landing",
        first_day=FIRST,
        days=DAYS,
        seed=2,
        bot_share=0.0,
        late_share=0.2,
        rotten_share=0.0,
        **sizes,
    )
    return root


@pytest.fixture(scope="session")
def loaded(landing: Path) -> Home:
    """The month with its raw tables loaded, and nothing made of them. Copy it."""
    home = Home.at(landing)
    (home.root / "settings.toml").write_text(SETTINGS)
    set_policy(home)
    warehouse = Warehouse(home)
    with warehouse.open() as con:
        for asset in RAW:
            if asset.name in ("viewers", "creators", "videos", "invalid_traffic", "viewer_events"):
                for n in range(1, DAYS + 1):
                    asset.make(Day(con, day(n), warehouse, home.policies.in_force(day(n))))
    return home


@pytest.fixture
def copied(loaded: Home, tmp_path: Path) -> Callable[..., Home]:
    """Copies of the loaded month: `copied("name", mechanism="hmt")`."""

    def copy(name: str = "copied", **changes: Any) -> Home:
        home = Home.at(shutil.copytree(loaded.root, tmp_path / name))
        set_policy(home, **changes)
        return home

    return copy


@pytest.fixture(scope="session")
def begun(landing: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Home]:
    """Homes with the first days of the month in landing/ and in all raw tables, one for every
    number of days. Copy them.
    """

    @cache
    def make(days: int) -> Home:
        home = Home.at(tmp_path_factory.mktemp(f"begun-{days}") / "home")
        home.root.mkdir()
        (home.root / "settings.toml").write_text(SETTINGS)
        shutil.copytree(landing / "landing", home.landing)
        for folder in home.landing.glob("*/*"):
            if date.fromisoformat(folder.name) > day(days):
                shutil.rmtree(folder)
        set_policy(home)
        make_days(home, [day(n) for n in range(1, days + 1)], assets=LOADED)
        return home

    return make


@pytest.fixture
def landed(begun: Callable[[int], Home], tmp_path: Path) -> Callable[..., Home]:
    """Copies of such homes, raw tables loaded and nothing made of them: `landed(5,
    mechanism="hmt")`.
    """

    def copy(days: int, name: str = "home", **changes: Any) -> Home:
        home = Home.at(shutil.copytree(begun(days).root, tmp_path / name))
        set_policy(home, **changes)
        return home

    return copy


@dataclass(frozen=True)
class Month:
    """30 days in one range run that crashed on day 12 and was started again."""

    home: Home
    crashed: RunOutcome
    committed: list[tuple[Any, ...]]
    marked: set[str]
    resumed: RunOutcome


@pytest.fixture(scope="session")
def month(loaded: Home, tmp_path_factory: pytest.TempPathFactory) -> Month:
    home = Home.at(shutil.copytree(loaded.root, tmp_path_factory.mktemp("epochs") / "home"))
    with pytest.MonkeyPatch.context() as patch:
        real = audience.next_state

        def crash(con: Any, state: Any, *rest: Any) -> Any:
            if state.day == day(12):
                raise OSError("the power went out")
            return real(con, state, *rest)

        patch.setattr(audience, "next_state", crash)
        crashed = run(home, 1, DAYS)
    committed = rows(home, STATES)
    with dg.DagsterInstance.from_config(str(home.dagster)) as instance:
        marked = set(instance.get_materialized_partitions(dg.AssetKey("group_weights")))
    return Month(home, crashed, committed, marked, run(home, 1, DAYS))


# --------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_crash_on_day_12_leaves_days_1_to_11_and_the_run_goes_on(month: Month) -> None:
    assert not month.crashed.success
    assert "the power went out" in month.crashed.failures[0]
    assert month.marked == {str(day(n)) for n in range(1, 12)}
    assert max(row[0] for row in month.committed) == day(12)  # what the run of day 11 committed
    assert month.resumed.success, month.resumed.failures
    states = rows(month.home, STATES)
    assert states[: len(month.committed)] == month.committed
    assert {row[0] for row in states} == {day(n) for n in range(1, DAYS + 2)}
    assert rows(month.home, "SELECT count(*), max(revision) FROM weight_commits") == [(DAYS + 1, 1)]


@pytest.mark.slow
def test_every_weight_is_algorithm_1_of_the_day_before(month: Month) -> None:
    """Computed here from the stored utilities, without the solver: update, normalise, clip; alpha
    by schedule.
    """
    states: dict[date, dict[str, float]] = {}
    for held, group, weight in rows(month.home, "SELECT day, group_id, weight FROM group_weights"):
        states.setdefault(held, {})[group] = weight
    measured: dict[date, dict[str, float | None]] = {}
    for of, group, utility in rows(month.home, "SELECT day, group_id, utility FROM group_utility"):
        measured.setdefault(of, {})[group] = utility
    assert set(states[FIRST].values()) == {1.0}
    moved = 0
    for n in range(1, DAYS + 1):
        now, after, utility = states[day(n)], states[day(n + 1)], measured[day(n)]
        if now.keys() != after.keys():
            continue  # a new version of the groups
        if None in utility.values():
            assert all(after[g] == now[g] for g, u in utility.items() if u is None)
            continue
        alpha = 0.5 if n - 1 < 10 else 0.25
        grown = {g: now[g] * math.exp(-alpha * u) for g, u in utility.items() if u is not None}
        total = sum(grown.values())
        assert after == pytest.approx(
            {g: min(max(len(now) * w / total, 0.2), 5.0) for g, w in grown.items()}, rel=1e-12
        )
        moved += 1
    assert moved > 10


@pytest.mark.slow
def test_a_new_version_takes_over_the_weights_of_its_members(month: Month) -> None:
    versions = [
        row[0] for row in rows(month.home, "SELECT DISTINCT version FROM group_weights ORDER BY 1")
    ]
    assert versions == [day(1), day(15), day(29)]
    began = rows(
        month.home,
        "SELECT group_id, weight, note FROM group_weights WHERE day = ? ORDER BY 1",
        day(15),
    )
    assert all(
        note.startswith("new in version 2026-03-15: mean of the old weights of")
        for _, _, note in began
    )
    # the viewers' mean, from the tables: who was in which old group (updated weight), who is in
    # which new one
    old = dict(
        rows(month.home, "SELECT group_id, weight FROM group_weights WHERE day = ?", day(14))
    )
    utility = dict(
        rows(month.home, "SELECT group_id, utility FROM group_utility WHERE day = ?", day(14))
    )
    assert None not in utility.values()
    grown = {g: w * math.exp(-0.25 * utility[g]) for g, w in old.items()}
    updated = {g: min(max(len(old) * w / sum(grown.values()), 0.2), 5.0) for g, w in grown.items()}
    was, now = (
        dict(
            rows(
                month.home,
                "SELECT viewer_id, arg_max(group_id, day) FROM viewer_groups WHERE day <= ? GROUP"
                " BY 1",
                on,
            )
        )
        for on in (day(14), day(15))
    )
    members: dict[str, list[float]] = {}
    for viewer, group in was.items():
        members.setdefault(now[viewer], []).append(updated[group])
    mean = {group: sum(weights) / len(weights) for group, weights in members.items()}
    expected = {g: min(max(len(mean) * w / sum(mean.values()), 0.2), 5.0) for g, w in mean.items()}
    assert {group: weight for group, weight, _ in began} == pytest.approx(expected, rel=1e-9)


@pytest.mark.slow
def test_groups_are_versioned_snapshots_that_everybody_is_in(month: Month) -> None:
    known = rows(
        month.home, "SELECT count(DISTINCT viewer_id) FROM viewers WHERE day <= ?", day(20)
    )
    grouped = """SELECT count(*), min(version), max(version)
                 FROM (SELECT arg_max(version, day) AS version FROM viewer_groups
                 WHERE day <= ? GROUP BY viewer_id)"""
    assert rows(month.home, grouped, day(20)) == [(*known[0], day(15), day(15))]
    newcomers = rows(month.home, "SELECT count(*) FROM viewer_groups WHERE day = ?", day(3))
    assert newcomers == rows(month.home, "SELECT count(*) FROM viewers WHERE day = ?", day(3))
    assert rows(
        month.home,
        "SELECT min(n) >= 5 FROM (SELECT sum(size) AS n FROM group_centres GROUP BY group_id)",
    ) == [(True,)]
    with dg.DagsterInstance.from_config(str(month.home.dagster)) as instance:
        wanted = dg.AssetRecordsFilter(
            asset_key=dg.AssetKey("viewer_groups"), asset_partitions=[str(FIRST)]
        )
        found = instance.fetch_materializations(wanted, limit=1).records[0].asset_materialization
    assert found is not None
    evidence = found.metadata["evidence"].value
    assert isinstance(evidence, dict)
    assert set(evidence) == {
        "groups",
        "sizes",
        "features",
        "inertia",
        "inertia_left_by_number_of_groups",
    }
    assert list(evidence["inertia_left_by_number_of_groups"]) == ["1", "3", "6"]


@pytest.mark.slow
def test_the_checks_have_looked_at_every_day_and_say_what_is_wrong(
    month: Month, tmp_path: Path
) -> None:
    with dg.DagsterInstance.from_config(str(month.home.dagster)) as instance:
        key = dg.AssetCheckKey(dg.AssetKey("group_weights"), "state_unbroken")
        found = instance.event_log_storage.get_asset_check_execution_history(key, limit=200)
    events = [r.event.dagster_event for r in found if r.event and r.event.dagster_event]
    evaluations = [
        e.asset_check_evaluation_data
        for e in events
        if e.event_type_value == "ASSET_CHECK_EVALUATION"
    ]
    assert {e.partition for e in evaluations if e.passed} == {
        str(day(n)) for n in range(1, DAYS + 1)
    }

    home = Home.at(shutil.copytree(month.home.root, tmp_path / "copy"))
    broken = {
        "UPDATE group_weights SET weight = weight * 1.01 WHERE day = '2026-03-20'": (
            20,
            "not the hash of its weights",
        ),
        "UPDATE group_weights SET made_from = 'somewhere' WHERE day = '2026-03-20'": (
            20,
            "not made from the state of the day before",
        ),
        "DELETE FROM group_weights WHERE day = '2026-03-19'": (
            20,
            "not made from the state of the day before",
        ),
        "UPDATE group_weights SET observed = false WHERE day = '2026-03-20'": (
            20,
            "moved without data",
        ),
    }
    with Warehouse(home).open() as con:
        enforce(con, ["group_weights"], day(20), quarantine_limit=1.0)
        for sql, (n, reason) in broken.items():
            con.begin()
            con.execute(sql)
            with pytest.raises(InvariantError, match=reason):
                enforce(con, ["group_weights"], day(n), quarantine_limit=1.0)
            con.rollback()


def test_weights_at_the_clip_for_days_warn_and_stop_nothing(copied: Callable[..., Home]) -> None:
    home = copied(relative=False, rate=50.0, clip=[0.5, 1.5], stuck_days=3)
    outcome = run(home, 1, 5)
    assert outcome.success, outcome.failures
    assert [w.split(":")[0] for w in outcome.warnings] == [
        "check not_stuck_at_the_clip of group_weights"
    ] * 3
    assert rows(home, "SELECT min(day) FROM group_weights WHERE stuck") == [(day(4),)]


# -------------------------------------------------------------------------------------------- gaps,


def test_a_gap_is_refused_with_the_days_to_run(copied: Callable[..., Home]) -> None:
    home = copied()
    make_days(home, [day(1), day(2)], assets=ASSETS)
    outcome = run(home, 5, 6)
    assert not outcome.success
    assert (
        "group_weights: the weights of viewer groups on 2026-03-05 were never committed"
        in outcome.failures[0]
    )
    assert "earnings run --from 2026-03-03 --to 2026-03-04" in outcome.failures[0]
    assert rows(home, "SELECT max(day) FROM group_weights") == [(day(3),)]
    # scored by mass, the day's evidence is empty and needs no weights: its scores ask for them
    late = run_days(home, day(5), day(5), assets=["video_evidence", "video_quality"])
    assert not late.success
    assert "earnings run --from 2026-03-03 --to 2026-03-04" in late.failures[0]
    assert rows(home, "SELECT table_name FROM written_days WHERE day = ? AND table_name IN"
                " ('video_evidence', 'video_quality')", day(5)) == [("video_evidence",)]  # fmt: skip
    first = run(copied("fresh"), 3, 3)
    assert "earnings run --from 2026-03-01 --to 2026-03-02" in first.failures[0]


@pytest.mark.slow
def test_two_backfills_at_once_commit_every_day_once(
    copied: Callable[..., Home], month: Month
) -> None:
    home = copied()
    environment = {
        k: v for k, v in os.environ.items() if not k.startswith(("EARNINGS_", "DAGSTER_"))
    }
    command = [
        str(Path(sys.executable).parent / "earnings"),
        "--home",
        str(home.root),
        "run",
        "--from",
        str(day(1)),
        "--to",
        str(day(3)),
    ]
    command += [part for name in ASSETS for part in ("--asset", name)]
    both = [
        subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    for process in both:
        output, errors = process.communicate(timeout=240)
        assert process.returncode == 0, output + errors
    assert rows(home, "SELECT day, revision FROM weight_commits ORDER BY ALL") == [
        (day(n), 1) for n in range(1, 5)
    ]
    assert rows(home, STATES) == [row for row in rows(month.home, STATES) if row[0] <= day(4)]


# ------------------------------------------------------------------------------------------------ r


def deliver_late(landing: Path, home: Home, n: int) -> None:
    shutil.copytree(
        landing / "late" / "viewer_events" / str(day(n)),
        home.landing / "viewer_events" / str(day(n)),
        dirs_exist_ok=True,
    )


def test_a_restated_day_changes_no_committed_weight_but_a_recommit_does(
    landing: Path, landed: Callable[..., Home], monkeypatch: pytest.MonkeyPatch
) -> None:
    home = landed(4, relative=False)
    every_day = [day(n) for n in range(1, 5)]
    make_days(home, every_day, assets=DERIVED)
    before, utilities = rows(home, STATES), rows(home, "FROM group_utility ORDER BY ALL")
    deliver_late(landing, home, 2)
    make_days(home, [day(2)])
    make_days(home, every_day, assets=DERIVED)
    assert rows(home, STATES) == before
    assert rows(home, "FROM group_utility ORDER BY ALL") != utilities
    assert {s.state for s in day_statuses(home)} == {"complete"}

    monkeypatch.setenv("EARNINGS_HOME", str(home.root))
    printed = CliRunner().invoke(
        main,
        [
            "--home",
            str(home.root),
            "recommit",
            "--from",
            str(day(3)),
            "--reason",
            "late likes",
            "--json",
        ],
    )
    assert printed.exit_code == 0, printed.output
    done = json.loads(printed.stdout)
    assert [d["day"] for d in done] == [str(day(n)) for n in range(3, 6)]
    after = rows(home, STATES)
    assert [row for row in after if row[0] < day(3)] == [row for row in before if row[0] < day(3)]
    hashes = {str(row[0]): row[8] for row in before}
    assert all(d["changed"] and d["replaced"] == hashes[d["day"]] for d in done)
    records = rows(
        home,
        "SELECT revision, state_hash, replaced, reason, weights FROM weight_commits WHERE day = ?"
        " ORDER BY 1",
        day(3),
    )
    assert [(r[0], r[2], r[3]) for r in records] == [
        (1, None, "committed before its day"),
        (2, records[0][1], "recommitted: late likes"),
    ]
    assert records[0][4] == {row[1]: row[2] for row in before if row[0] == day(3)}
    assert records[1][4] == {row[1]: row[2] for row in after if row[0] == day(3)}

    # what was scored under the old weights is stale, and is as if they had always been so once it
    # is run again
    assert {s.day for s in day_statuses(home) if s.state == "stale"} == {day(3), day(4)}
    make_days(home, [day(3), day(4)], assets=DERIVED)
    assert {s.state for s in day_statuses(home)} == {"complete"}
    fresh = landed(4, "fresh", relative=False)
    deliver_late(landing, fresh, 2)
    make_days(fresh, [day(2)], assets=LOADED)
    make_days(fresh, every_day, assets=ASSETS)
    weights = "SELECT day, group_id, weight FROM group_weights ORDER BY ALL"
    assert rows(home, weights) == rows(fresh, weights)
    again, _ = recommit(home, day(3), reason="nothing new")
    assert not any(d.changed for d in again)


def test_what_cannot_be_recommitted_is_refused(landed: Callable[..., Home]) -> None:
    home = landed(2)
    make_days(home, [day(1), day(2)], assets=ASSETS)
    with pytest.raises(RecommitError, match="no weights were committed for 2026-03-09"):
        recommit(home, day(9), reason="x")
    with pytest.raises(
        RecommitError,
        match=r"all weights are 1 on 2026-03-01.*the earliest to recommit is 2026-03-02",
    ):
        recommit(home, day(1), reason="x")


# --------------------------------------------------------------------------------------------------


def test_none_writes_no_rows_and_a_later_policy_begins_at_1(landed: Callable[..., Home]) -> None:
    home = landed(4, mechanism="none")
    set_policy(home, since=day(3), name="later.toml", relative=False)
    make_days(home, [day(n) for n in range(1, 5)], assets=DERIVED)
    assert rows(
        home,
        "SELECT DISTINCT day FROM viewer_groups UNION SELECT day FROM group_utility ORDER BY 1",
    ) == [(day(3),), (day(4),)]
    assert rows(
        home,
        "SELECT day, min(weight) = 1 AND max(weight) = 1, min(made_from) FROM group_weights GROUP"
        " BY 1 ORDER BY 1",
    )[0] == (
        day(3),
        True,
        "",
    )
    assert rows(
        home, "SELECT DISTINCT day FROM video_quality WHERE group_weight <> 1 ORDER BY 1"
    ) == [(day(4),)]
    assert {s.state for s in day_statuses(home)} == {"complete"}


def test_uir_moves_money_between_creators_and_not_one_micro_more(
    landed: Callable[..., Home],
) -> None:
    plain, weighted = (
        landed(3, "plain", mechanism="none"),
        landed(3, "weighted", relative=False, rate=20.0),
    )
    for home in (plain, weighted):
        make_days(home, [day(1), day(2), day(3)], assets=DERIVED)
    pools = "SELECT day, category, revenue_micros, pool_micros FROM ad_pools ORDER BY ALL"
    assert rows(plain, pools) == rows(weighted, pools)
    earned = "SELECT creator_id, total_micros FROM creator_earnings WHERE day = ? ORDER BY 1"
    assert rows(plain, earned, FIRST) == rows(weighted, earned, FIRST)
    assert rows(plain, earned, day(3)) != rows(weighted, earned, day(3))
    paid = "SELECT day, category, sum(payout_micros) FROM ad_payouts GROUP BY ALL ORDER BY ALL"
    assert rows(plain, paid) == rows(weighted, paid)
    # a video's weight is the mean over its qualified viewers, by what each counts for
    expected = rows(
        weighted,
        """WITH member AS (SELECT viewer_id, arg_max(group_id, day) AS group_id
            FROM viewer_groups WHERE day <= $1 GROUP BY 1)
           SELECT video_id, avg(w.weight) FROM (SELECT DISTINCT video_id, viewer_id
           FROM viewer_events WHERE day = $1)
           JOIN member USING (viewer_id) JOIN group_weights w USING (group_id)
           WHERE w.day = $1 GROUP BY 1 ORDER BY 1""",
        day(3),
    )
    found = rows(
        weighted,
        "SELECT video_id, group_weight FROM video_quality WHERE day = ? AND qualified_views > 0"
        " ORDER BY 1",
        day(3),
    )
    assert dict(found) == pytest.approx({v: w for v, w in expected if v in dict(found)}, rel=1e-5)


@pytest.mark.parametrize("mechanism", ["smt", "hmt"])
def test_a_recommender_reads_its_policy_from_the_table_and_the_file(
    landed: Callable[..., Home], mechanism: str
) -> None:
    home = landed(
        2,
        mechanism=mechanism,
        relative=False,
        rate=5.0,
        min_impressions=5,
        experiment={"share": 0.5, "salt": "spring"},
    )
    make_days(home, [day(1), day(2)], assets=SCORED)
    found = rows(home, "FROM matching_policy WHERE day = ? ORDER BY ALL", day(3))
    path = home.root / "matching_policy" / "2026-03-03.parquet"
    assert duckdb.sql(f"FROM '{path}' ORDER BY ALL").fetchall() == found
    weights = dict(rows(home, "SELECT group_id, weight FROM group_weights WHERE day = ?", day(3)))
    assert len(set(weights.values())) > 1
    assert len(found) == 2 * len(weights)
    table = [
        (1.0, 0.99),
        (1.19, 0.95),
        (1.79, 0.90),
        (2.13, 0.85),
        (2.36, 0.75),
        (2.68, 0.70),
        (math.inf, 0.10),
    ]
    for _, group, arm, said, weight, temperature, candidates, percentile, _ in found:
        w = weights[group] if arm == "treatment" else 1.0
        assert (said, weight) == (mechanism, w)
        treated_by = {
            "smt": (0.1 * w, 20, 0.99),
            "hmt": (
                0.1,
                math.ceil(20 * w),
                next(p for bound, p in table if w < bound),
            ),
        }[mechanism]
        assert (temperature, candidates, percentile) == (
            treated_by if arm == "treatment" else (0.1, 20, 0.99)
        )
    # what is shown changes, what is paid does not
    assert rows(home, "SELECT count(*) FROM video_quality WHERE group_weight <> 1") == [(0,)]
    path.unlink()
    make_days(home, [day(2)], assets=ASSETS)
    assert path.exists()


def test_two_arms_are_drawn_by_hash_measured_apart_and_only_one_is_weighted(
    landed: Callable[..., Home],
) -> None:
    arms = {"share": 0.5, "salt": "spring", "control": "as-is"}
    home = landed(2, relative=False, utility="ltr", rate=20.0, min_impressions=5, experiment=arms)
    make_days(home, [day(1), day(2)], assets=SCORED)
    sizes = dict(
        rows(home, "SELECT arm, count(*) FROM viewer_groups WHERE day = ? GROUP BY 1", FIRST)
    )
    assert sizes.keys() == {"treatment", "as-is"}
    assert all(25 <= n <= 55 for n in sizes.values())
    measured = rows(
        home,
        """SELECT group_id, arm, steers, impressions, value, low, high, utility, enough
            FROM group_utility WHERE day = ?
           AND impressions >= 5 AND viewers > 1""",
        FIRST,
    )
    assert {(arm, steers) for _, arm, steers, *_ in measured} == {
        ("treatment", True),
        ("as-is", False),
    }
    for group, arm, _, impressions, value, low, high, _, _ in measured:
        sessions = rows(
            home,
            """SELECT count(*), sum(liked::INT) FROM viewer_events e JOIN viewer_groups g
                USING (viewer_id)
               WHERE e.day = $1 AND g.day = $1 AND group_id = $2 AND arm = $3 GROUP BY viewer_id""",
            FIRST,
            group,
            arm,
        )
        n, y = (np.array(column, dtype=float) for column in zip(*sessions, strict=True))
        ratio = y.sum() / n.sum()
        error = math.sqrt(len(n) / (len(n) - 1) * ((y - ratio * n) ** 2).sum()) / n.sum()
        assert (impressions, value) == (n.sum(), pytest.approx(ratio))
        assert (low, high) == (
            pytest.approx(max(0, ratio - 1.96 * error)),
            pytest.approx(ratio + 1.96 * error),
        )
    treated = rows(
        home,
        "SELECT group_id, utility FROM group_utility WHERE day = ? AND steers ORDER BY 1",
        FIRST,
    )
    moved_by = rows(
        home, "SELECT group_id, utility FROM group_weights WHERE day = ? ORDER BY 1", day(2)
    )
    assert treated == moved_by
    # a video that only the control arm watched counts as it is
    alone = rows(
        home,
        """SELECT q.video_id, group_weight FROM video_quality q WHERE q.day = $1 AND NOT EXISTS (
             FROM viewer_events e JOIN (SELECT viewer_id, arg_max(arm, day) AS arm
             FROM viewer_groups GROUP BY 1) USING (viewer_id)
             WHERE e.day = $1 AND e.video_id = q.video_id AND arm <> 'as-is')""",
        day(2),
    )
    assert all(weight == 1 for _, weight in alone)
    assert rows(
        home, "SELECT count(*) > 0 FROM video_quality WHERE day = ? AND group_weight <> 1", day(2)
    ) == [(True,)]


def test_relative_utility_is_the_change_over_the_mean_of_two_days(
    landed: Callable[..., Home],
) -> None:
    home = landed(4, utility="completion", min_impressions=1)
    make_days(home, [day(n) for n in range(1, 5)], assets=ASSETS)
    counts = rows(
        home,
        "SELECT day, count(utility) > 0, count(*) FILTER (NOT enough) > 0 FROM group_utility GROUP"
        " BY 1 ORDER BY 1",
    )
    assert counts == [
        (day(1), False, True),
        (day(2), False, True),
        (day(3), True, False),
        (day(4), True, False),
    ]
    for group, value, baseline, utility in rows(
        home, "SELECT group_id, value, baseline, utility FROM group_utility WHERE day = ?", day(4)
    ):
        past = [
            rows(
                home,
                """SELECT avg(1000000 * least(watch_ms, v.length_ms) // v.length_ms) / 1e6
                    FROM viewer_events e
                   JOIN (SELECT viewer_id, arg_max(group_id, day) AS group_id
                   FROM viewer_groups WHERE day <= ? GROUP BY 1)
                     USING (viewer_id)
                   JOIN (SELECT video_id, arg_max(length_ms, day) AS length_ms FROM videos
                   GROUP BY 1) v USING (video_id)
                   WHERE e.day = ? AND group_id = ?""",
                day(4),
                on,
                group,
            )[0][0]
            for on in (day(2), day(3), day(4))
        ]
        assert (value, baseline) == (pytest.approx(past[2]), pytest.approx((past[0] + past[1]) / 2))
        assert utility == pytest.approx(past[2] / ((past[0] + past[1]) / 2) - 1)


# --------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_starved_group_gains_weight_its_creators_gain_pay_and_it_stops_once_served(
    tmp_path: Path,
) -> None:
    """Creators respond to yesterday's pay, so every day is made before the next one is simulated."""
    home = Home.at(tmp_path / "home")
    home.root.mkdir()
    (home.root / "settings.toml").write_text(SETTINGS)
    set_policy(
        home,
        groups=10,
        min_group_viewers=10,
        min_impressions=30,
        relative=False,
        utility="ltr",
        rate=3.0,
        rate_schedule=[],
        refresh_days=60,
    )

    def pay(on: date) -> dict[str, int]:
        make_days(home, [on])
        return dict(
            rows(home, "SELECT creator_id, total_micros FROM creator_earnings WHERE day = ?", on)
        )

    sizes = {"events_per_day": 1200, "viewers": 400, "creators": 60, "videos": 400}
    shares = {"bot_share": 0.0, "late_share": 0.0, "rotten_share": 0.0, "duplicate_share": 0.0}
    made = simulate(
        home.landing,
        first_day=FIRST,
        days=28,
        seed=3,
        niche=Niche(0.08),
        pay=pay,
        **sizes,
        **shares,
    )
    pay(day(28))

    groups = rows(
        home,
        """SELECT group_id, count(*) FILTER (v.region = 'isles'), count(*) FROM viewer_groups
            JOIN viewers v USING (viewer_id)
           GROUP BY 1 ORDER BY 2 DESC""",
    )
    starved, members, everybody = groups[0]
    assert members == everybody  # found by features alone
    assert all(isles == 0 for _, isles, _ in groups[1:])
    weight = np.array(
        [
            w
            for (w,) in rows(
                home, "SELECT weight FROM group_weights WHERE group_id = ? ORDER BY day", starved
            )
        ]
    )
    liked = np.array(
        [
            v
            for (v,) in rows(
                home, "SELECT value FROM group_utility WHERE group_id = ? ORDER BY day", starved
            )
        ]
    )
    earned = rows(
        home,
        """SELECT coalesce(sum(total_micros) FILTER (list_contains(?, creator_id)),
            0) / sum(total_micros)
           FROM creator_earnings GROUP BY day ORDER BY day""",
        list(made.niche_creators),
    )
    share = np.array([float(s) for (s,) in earned])
    others = rows(home, "SELECT avg(value) FROM group_utility WHERE group_id <> ?", starved)[0][0]
    assert liked[:10].mean() < 0.65 * others  # starved
    assert weight[12] > 2  # its weight rises
    assert liked[-10:].mean() > 0.75 * others  # creators respond, it is served
    assert share[-8:].mean() > 3 * share[:8].mean()  # and they are paid
    assert np.abs(np.diff(np.log(weight[-10:]))).mean() < np.diff(np.log(weight[:12])).mean()
    assert weight[-1] < 1.25 * weight[-10:].mean()  # it has stopped rising
