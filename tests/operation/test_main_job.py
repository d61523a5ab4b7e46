"""The daily job through Dagster: same integers however it is run, nothing twice, nothing lost,
nothing half-written.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import date
from math import fsum
from pathlib import Path

import dagster as dg
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.definitions import build_definitions
from pipelines.operation.running import run_days
from pipelines.runs.figures import warnings_of
from pipelines.schema import TABLES
from pipelines.schema.invariants import INVARIANTS, NOTHING_TO_LOOK_AT
from pipelines.settings import CalendarError, Home
from pipelines.store.warehouse import Warehouse
from pipelines.unattended import UP_TO_DATE
from solvers import InfeasibleError
from tests.cases.three_days import FIRST, LAST, contents, rows

MakeHome = Callable[..., Home]


def test_every_invariant_holds_after_a_range_run(finished: Home) -> None:
    days = [FIRST, date(2026, 3, 2), LAST]
    with Warehouse(finished).open(read_only=True) as con:
        warned = {(found["day"], found["table"]) for found in warnings_of(con)}
        for invariant in INVARIANTS:
            for day in days:
                if invariant.name == NOTHING_TO_LOOK_AT:  # rotten rows are what this is for
                    found = invariant.violations(con, day, quarantine_limit=0.04, most=99)
                    assert (str(day), invariant.table) in warned or not found
                    continue
                assert invariant.violations(con, day, quarantine_limit=0.04) == [], (
                    invariant.table,
                    invariant.name,
                    day,
                )


def test_money_taken_in_is_money_owed(finished: Home) -> None:
    gross = rows(
        finished,
        """SELECT day, (SELECT sum(amount_micros) FROM ad_revenue a WHERE a.day = d.day)
                 + 10000 * (SELECT sum(coins) FROM gifts g WHERE g.day = d.day)
           FROM (SELECT DISTINCT day FROM ad_revenue) d ORDER BY day""",
    )
    owed = rows(
        finished,
        """SELECT day, sum(amount_micros) FROM ledger_entries
           WHERE account = 'platform' OR account LIKE 'creator:%' OR account LIKE 'carry:%'
           GROUP BY day ORDER BY day""",
    )
    assert owed == gross
    assert all(total > 0 for _, total in gross)


def test_pools_are_split_by_the_blend_formula(finished: Home) -> None:
    """Without bounds the optimum is p = P (lf w / sum w + le s); integers may differ from it by
    less than one micro a unit.
    """
    pools = rows(
        finished,
        "SELECT day, category, pool_micros FROM ad_pools WHERE rule = 'split' AND pool_micros > 0"
        " ORDER BY ALL",
    )
    assert len(pools) >= 3
    for day, category, pool in pools:
        units = rows(
            finished,
            """SELECT a.unit_id, sum(a.payout_micros), list(coalesce(w.effective_views,
                q.effective_views) ORDER BY q.video_id) FROM ad_payouts a
               JOIN video_quality q USING (day, video_id)
               LEFT JOIN ad_views w USING (day, video_id) WHERE a.day = ?
               AND a.category = ? GROUP BY a.unit_id ORDER BY a.unit_id""",
            day,
            category,
        )
        views = np.array([fsum(v) for _, _, v in units])
        s = views / views.sum()
        w = np.sqrt(s)
        expected = pool * (0.5 * w / w.sum() + 0.5 * s)
        assert (
            np.abs(np.array([paid for _, paid, _ in units], dtype=float) - expected).max()
            < 1 + 1e-6
        )


@pytest.mark.slow
def test_one_day_at_a_time_gives_the_same_integers(finished: Home, make_home: MakeHome) -> None:
    home = make_home()
    for n in range(3):
        outcome = run_days(home, date(2026, 3, 1 + n), date(2026, 3, 1 + n))
        assert outcome.success, outcome.failures
    assert contents(home) == contents(finished)


def test_row_order_files_and_threads_do_not_matter(finished: Home, make_home: MakeHome) -> None:
    home = make_home(settings="threads = 1\n")
    rng = np.random.default_rng(5)
    for path in sorted(home.landing.rglob("*.parquet")):
        table = pq.read_table(path)
        table = table.take(pa.array(rng.permutation(table.num_rows)))
        path.unlink()
        half = table.num_rows // 2
        pq.write_table(table.slice(half), path.with_name("a.parquet"))
        pq.write_table(table.slice(0, half), path.with_name("b.parquet"))
    outcome = run_days(home, FIRST, LAST)
    assert outcome.success, outcome.failures
    assert contents(home) == contents(finished)


def test_running_again_changes_nothing(finished: Home, copy_of: Callable[[Home], Home]) -> None:
    home = copy_of(finished)
    changes = "SELECT table_name, day, changed FROM written_days ORDER BY ALL"
    before, times = contents(home), rows(home, changes)
    outcome = run_days(home, FIRST, LAST)
    assert outcome.success, outcome.failures
    assert contents(home) == before
    assert rows(home, changes) == times
    assert rows(home, "SELECT max(revision), count(*) FROM ledger_transactions") == [(1, 3)]


@pytest.mark.slow
def test_late_data_reverse_and_reissue_and_end_as_if_they_had_been_there(
    finished: Home,
    three_days: Path,
    copy_of: Callable[[Home], Home],
    make_home: MakeHome,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Under a policy that scores a day by its own events: by evidence later days keep what they
    knew of earlier ones.
    """
    monkeypatch.setenv("EARNINGS_POLICY", "hardened")
    late, whole = copy_of(finished), make_home("whole")
    assert run_days(late, FIRST, LAST).success
    for home in (late, whole):
        shutil.copytree(three_days / "late", home.landing, dirs_exist_ok=True)
        outcome = run_days(home, FIRST, LAST)
        assert outcome.success, outcome.failures
    kinds = rows(late, "SELECT day, kind, revision FROM ledger_transactions ORDER BY seq")
    assert (FIRST, "reversal", 1) in kinds
    assert (FIRST, "payout", 2) in kinds
    assert contents(late)["creator_earnings"] == contents(whole)["creator_earnings"]
    assert contents(finished)["creator_earnings"] != contents(whole)["creator_earnings"]
    balances = (
        "SELECT account, sum(amount_micros) AS n FROM ledger_entries GROUP BY account HAVING n <> 0"
        " ORDER BY account"
    )
    assert rows(late, balances) == rows(whole, balances)


def test_days_outside_the_calendar_are_refused(finished: Home) -> None:
    with pytest.raises(CalendarError, match="not within the calendar"):
        run_days(finished, date(2025, 1, 1), LAST)
    with pytest.raises(CalendarError, match="after"):
        run_days(finished, LAST, FIRST)
    with pytest.raises(CalendarError, match="no asset is called viedo_quality"):
        run_days(finished, FIRST, FIRST, assets=["viedo_quality"])


# --------------------------------------------------------------------------------------------------


def _unchanged_by_failure(home: Home, *reasons: str) -> None:
    before = contents(home)
    outcome = run_days(home, FIRST, FIRST)
    assert not outcome.success
    for reason in reasons:
        assert reason in " ".join(outcome.failures), outcome.failures
    assert contents(home) == before


def test_truncated_parquet_stops_the_run_with_its_name(
    finished: Home, copy_of: Callable[[Home], Home]
) -> None:
    home = copy_of(finished)
    path = next((home.landing / "gifts" / str(FIRST)).glob("*.parquet"))
    path.write_bytes(path.read_bytes()[:-100])
    _unchanged_by_failure(home, path.name, "gifts")


def test_missing_column_stops_the_run_with_file_and_column(
    finished: Home, copy_of: Callable[[Home], Home]
) -> None:
    home = copy_of(finished)
    path = home.landing / "viewer_events" / str(FIRST) / "extra.csv"
    path.write_text("event_id,ts,viewer_id,video_id,liked,commented,shared,followed\n")
    _unchanged_by_failure(home, "extra.csv", "watch_ms")


def test_too_many_broken_rows_refuse_the_day(
    finished: Home, copy_of: Callable[[Home], Home]
) -> None:
    home = copy_of(finished)
    header = "event_id,ts,viewer_id,video_id,watch_ms,liked,commented,shared,followed\n"
    bad = "".join(f"bad{n},{FIRST}T01:00:00Z,u1,v1,-5,0,0,0,0\n" for n in range(80))
    (home.landing / "viewer_events" / str(FIRST) / "bad.csv").write_text(header + bad)
    _unchanged_by_failure(home, "quarantine", "watch_ms: negative or longer than a day", "bad.csv")


def test_a_pool_that_no_split_keeps_is_named_and_nothing_is_written(
    finished: Home, copy_of: Callable[[Home], Home], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What bounds are refused is tested with the pools (tests/ads); here, what a run makes of it."""

    def refuse(*_: object, **__: object) -> None:
        raise InfeasibleError("the floors add up to more than the pool")

    home = copy_of(finished)
    shipped = Path(__file__).parents[2] / "assets_data" / "policies" / "evidence.toml"
    (home.root / "policies").mkdir()
    greedy = shipped.read_text().replace("floor_micros = 0", "floor_micros = 1")
    (home.root / "policies" / "greedy.toml").write_text(greedy)
    before = contents(home)["ad_payouts"]
    monkeypatch.setattr("pipelines.ads.assets.split_pool", refuse)
    outcome = run_days(home, FIRST, FIRST)
    assert not outcome.success
    assert "the floors add up" in outcome.failures[0]
    assert str(FIRST) in outcome.failures[0]
    assert contents(home)["ad_payouts"] == before


def test_a_failure_in_the_middle_of_a_range_leaves_the_days_before_it_done(
    make_home: MakeHome,
) -> None:
    home = make_home()
    broken = next((home.landing / "viewer_events" / "2026-03-03").glob("*.parquet"))
    good = broken.read_bytes()
    broken.write_bytes(good[: len(good) // 2])
    outcome = run_days(home, FIRST, LAST)
    assert not outcome.success
    assert broken.name in outcome.failures[0]
    assert rows(home, "SELECT DISTINCT day FROM viewer_events ORDER BY 1") == [
        (FIRST,),
        (date(2026, 3, 2),),
    ]
    with dg.DagsterInstance.get() as instance:
        marked = instance.get_materialized_partitions(dg.AssetKey("viewer_events"))
    assert {"2026-03-01", "2026-03-02"} <= marked
    assert "2026-03-03" not in marked
    broken.write_bytes(good)
    assert run_days(home, FIRST, LAST).success


# --------------------------------------------------------------------------------------------------


def test_a_failing_check_blocks_what_comes_after(
    finished: Home, copy_of: Callable[[Home], Home], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ledger is changed behind its back; the check before the commit is switched off, so that
    only the asset check can see it.
    """
    home = copy_of(finished)
    with Warehouse(home).open() as con:
        con.execute(
            "UPDATE ledger_entries SET amount_micros = amount_micros + 1 WHERE day = ? AND account"
            " LIKE 'creator:%'",
            [FIRST],
        )
    before = contents(home)["creator_earnings"]
    monkeypatch.setattr("pipelines.store.warehouse.enforce", lambda *_, **__: None)
    outcome = run_days(home, FIRST, date(2026, 3, 2), assets=["ledger_entries", "creator_earnings"])
    assert not outcome.success
    failed = [
        failure for failure in outcome.failures if failure.startswith("check entries_sum_to_zero")
    ]
    assert len(failed) == 1
    assert str(FIRST) in failed[0]
    assert contents(home)["creator_earnings"] == before


def test_every_check_has_passed_for_every_day(finished: Home) -> None:
    with dg.DagsterInstance.from_config(str(finished.dagster)) as instance:
        keys = build_definitions(finished).resolve_asset_graph().asset_check_keys
        daily = [
            key
            for key in keys
            if TABLES[key.asset_key.to_user_string()].span == "day" and key.name != UP_TO_DATE
        ]  # three days hold no whole week or month
        assert len(daily) > 20
        with Warehouse(finished).open(read_only=True) as con:
            warned = {(found["day"], found["table"]) for found in warnings_of(con)}
        assert warned  # the platform has rotten rows of money
        for key in daily:
            records = instance.event_log_storage.get_asset_check_execution_history(key, limit=10)
            evaluations = [
                r.event.dagster_event.asset_check_evaluation_data for r in records if r.event
            ]
            looks = key.name == NOTHING_TO_LOOK_AT
            table = key.asset_key.to_user_string()
            bad = {day for day, name in warned if looks and name == table}
            assert {e.partition for e in evaluations if e.passed} == {
                "2026-03-01",
                "2026-03-02",
                "2026-03-03",
            } - bad, key
            assert {e.partition for e in evaluations if not e.passed} == bad, key
            assert all(e.severity == dg.AssetCheckSeverity.WARN for e in evaluations) or not looks


def test_an_asset_refuses_a_day_whose_input_was_never_written(make_home: MakeHome) -> None:
    home = make_home()
    outcome = run_days(home, FIRST, FIRST, assets=["video_quality"])
    assert not outcome.success
    assert "earnings run --from 2026-03-01 --to 2026-03-01" in outcome.failures[0]
