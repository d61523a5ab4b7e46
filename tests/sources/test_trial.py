"""`earnings check` says what a run would: the same counts and the same refusals."""

from __future__ import annotations

import json
from datetime import date

import pytest
from click.testing import CliRunner

from pipelines.cli.main import main
from pipelines.schema.invariants import InvariantError
from pipelines.sources.errors import SourceError
from pipelines.sources.trial import judge_files

DAY = date(2026, 3, 5)


def test_it_says_what_a_run_does(platform, rows):
    platform.known()
    platform.land(
        "viewer_events", [rows.event("e1"), rows.event("e1"), rows.event("e2", watch_ms=-1)]
    )
    platform.land("gifts", [rows.gift("g1"), rows.gift("g2", video_id="nobody")])
    platform.land("ad_revenue", [rows.ad("a1")])
    told = {one.table: one for one in judge_files([platform.home.landing], platform.home)}
    assert set(told) == {"viewers", "creators", "videos", "viewer_events", "gifts", "ad_revenue"}
    for table, one in told.items():
        assert one.report == platform.load(table), table
        assert one.refused is None
    [example] = told["viewer_events"].examples
    assert (example.reason, example.line) == ("watch_ms: negative or longer than a day", 4)


def test_what_stops_a_run_stops_a_check(platform, rows):
    platform.load_known()
    platform.land("viewer_events", [rows.event(f"e{n}", watch_ms=-1) for n in range(6)])
    platform.file("ad_revenue", "all.csv", b"ad_id,ts\na1,2026-03-05T12:00:00Z\n")
    told = {one.table: one.refused for one in judge_files([platform.home.landing], platform.home)}
    for table, error in (("viewer_events", InvariantError), ("ad_revenue", SourceError)):
        with pytest.raises(error) as refusal:
            platform.load(table)
        assert told[table] == str(refusal.value)


def test_a_loose_file_is_judged_by_the_snapshots_of_the_home(platform, rows, tmp_path):
    platform.known()
    loose = tmp_path / "out.jsonl"
    good, unknown = rows.event("e1"), rows.event("e2", video_id="v9")
    late = rows.event("e3", ts="2026-03-06T01:00:00Z")
    loose.write_text("".join(json.dumps(row, default=str) + "\n" for row in (good, unknown, late)))
    [one] = judge_files([loose], platform.home, table="viewer_events")
    assert one.day == DAY
    assert one.days == {DAY: 2, date(2026, 3, 6): 1}
    assert one.report
    assert one.report.reasons == {"ts: outside its day": 1, "video_id: unknown, not in videos": 1}


def test_what_cannot_be_told_is_said(home, rows, tmp_path):
    loose = tmp_path / "out.jsonl"
    loose.write_text(json.dumps(rows.event(), default=str) + "\n")
    [one] = judge_files([loose], home, table="viewer_events")
    assert one.not_judged == ("video_id",)
    assert one.report
    assert one.report.loaded == 1
    asked = CliRunner().invoke(main, ["--home", str(home.root), "check", str(loose)])
    assert asked.exit_code == 1
    assert "which table is it" in asked.output


def test_the_command_reads_and_writes_no_warehouse(platform, rows):
    platform.known()
    platform.land("viewer_events", [rows.event("e1"), rows.event("e2", watch_ms="x")])
    before = sorted(platform.home.root.rglob("*"))
    asked = CliRunner().invoke(
        main, ["--home", str(platform.home.root), "check", str(platform.home.landing)]
    )
    assert asked.exit_code == 0, asked.output
    assert "1 in quarantine: watch_ms: not a whole number" in asked.output
    assert sorted(platform.home.root.rglob("*")) == before
