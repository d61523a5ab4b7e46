"""Defaults that stand in, placeholders, copies and money in quarantine: counted and shown, never
silent; rows of money hold up their closing.
"""

from __future__ import annotations

import shutil
from datetime import date, timedelta

import pytest

from pipelines.ads.carried import carried_pools, nearest
from pipelines.quality.defaults import figures_of_scores
from pipelines.runs.figures import Figure, record_figures, warnings_of
from pipelines.schema import LANDING
from pipelines.schema.invariants import InvariantError, of_table
from pipelines.settings import Home
from pipelines.sources.landing import LONGEST_ID, PLACEHOLDERS
from pipelines.sources.quarantine import (
    MONEY,
    QuarantineError,
    accept,
    open_rows,
    require_decided,
)
from pipelines.store.warehouse import Warehouse

DAY = date(2026, 3, 5)
IDS = [(table.name, c.name) for table in LANDING.values() for c in table.columns if c.identifies]
INVISIBLE = ["\t", "\r", "\n", "\ufeff", "\u200b", "\u2060", "\x01", "\x7f", "\u00a0", "\u202e"]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory, platform_at):
    platform = platform_at(tmp_path_factory.mktemp("prepared"))
    platform.settings(publish=False)
    platform.load_known(creators=2)
    return platform.home.root


@pytest.fixture
def ready(platform, prepared):
    shutil.copytree(prepared, platform.home.root, dirs_exist_ok=True)
    # Opening it takes longer than most of what is asked. By another home, for a test may still write
    # settings, which a home reads once.
    with Warehouse(Home.at(platform.home.root)).kept_open():
        yield platform


def good(rows, table, key, **changes):
    build = {
        "viewers": rows.viewer,
        "creators": rows.creator,
        "videos": rows.video,
        "viewer_events": rows.event,
        "gifts": rows.gift,
        "ad_revenue": rows.ad,
        "shares": rows.share,
        "invalid_traffic": rows.decision,
    }[table]
    return {**build(key), **changes}


def figures(platform, table) -> dict[str, tuple[int, int | None, str | None]]:
    found = platform.ask(
        "SELECT figure, count, total, warning FROM figures WHERE table_name = ? AND day = ?",
        table,
        DAY,
    )
    return {row[0]: row[1:] for row in found}


@pytest.mark.parametrize(("table", "column"), IDS)
@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_no_id_is_a_placeholder_or_holds_what_nobody_sees(ready, rows, table, column, form):
    """Every id column of every table: words that stand for nothing, and characters nobody sees."""
    ready.settings(quarantine_limit=1.0)
    required = next(c for c in LANDING[table].columns if c.name == column).required
    key = LANDING[table].key[0]
    words = [*PLACEHOLDERS, "NULL", "NaN", "Undefined"]
    hidden = [f"a{mark}b" for mark in INVISIBLE if (form, mark) != ("csv", "\r")]  # a line end
    hidden += [f"{mark}b" for mark in INVISIBLE if mark not in ("\u00a0", "\r")]  # blanks
    long = "x" * (LONGEST_ID + 1)
    values = [*words, *hidden, long]
    ready.clear(table)
    delivered = [good(rows, table, f"k{n}", **{column: v}) for n, v in enumerate(values)]
    delivered.append(good(rows, table, "good"))
    ready.land(table, delivered, form=form)
    report = ready.load(table)
    expected = {f"{column}: holds an invisible character": len(hidden)}
    expected[f"{column}: longer than {LONGEST_ID} characters"] = 1
    if required:
        expected[f"{column}: a placeholder"] = len(words)
    assert report.reasons == expected
    if not required:
        assert figures(ready, table)["placeholders_as_empty"][0] == len(words)
        assert "count as empty" in figures(ready, table)["placeholders_as_empty"][2]
        empty = ready.ask(f"SELECT count(*) FROM {table} WHERE {column} IS NULL AND {key}[1] = 'k'")
        assert empty == [(len(words),)]


def test_a_placeholder_is_no_label(ready, rows):
    ready.land("videos", [rows.video("v1", categories=["null", "music"]), rows.video("v2")])
    ready.load("videos")
    assert ready.ask("SELECT categories FROM videos WHERE video_id = 'v1'") == [(["music"],)]
    assert figures(ready, "videos")["placeholders_as_empty"][:2] == (1, 2)


@pytest.mark.parametrize(("table", "column"), [("gifts", "coins"), ("ad_revenue", "amount_micros")])
@pytest.mark.parametrize("bad", ["9,000,000,000", "", "1e9", "-5"])
def test_money_that_is_refused_is_said_and_holds_up_its_day(ready, rows, table, column, bad):
    delivered = [good(rows, table, f"k{n}", **{column: 7}) for n in range(23)]
    ready.land(table, [*delivered, good(rows, table, "bad", **{column: bad})])
    assert ready.load(table).quarantined == 1  # one of 24 stops no day
    found = figures(ready, table)
    figure = "taken_back_rows" if bad.startswith("-") else "unknown_money_rows"
    assert found[figure][0] == 1
    assert "cannot be closed" in found[figure][2]
    with ready.warehouse.open() as con:
        (row,) = open_rows(con)
        with pytest.raises(QuarantineError, match=f"accept {row.name}"):
            require_decided(con, [DAY])
        require_decided(con, [DAY + timedelta(days=1)])
    with pytest.raises(QuarantineError, match="no row of money waits under that name"):
        accept(ready.home, ["nothing:1"], reason="x", actor="me")
    with pytest.raises(QuarantineError, match="reason is empty"):
        accept(ready.home, [row.name], reason=" ", actor="me")
    assert accept(ready.home, [row.name], reason="a test booking", actor="ann") == [row]
    with ready.warehouse.open() as con:
        require_decided(con, [DAY])
    kept = ready.ask("SELECT why_refused, reason, actor FROM quarantine_acceptances")
    assert kept == [(row.reason, "a test booking", "ann")]
    ready.load(table)  # loading again changes nothing about it; another row waits again
    with ready.warehouse.open() as con:
        require_decided(con, [DAY])
    ready.land(table, [*delivered, good(rows, table, "bad", **{column: "1.000.000"})])
    ready.load(table)
    with ready.warehouse.open() as con, pytest.raises(QuarantineError, match="is in quarantine"):
        require_decided(con, [DAY])


@pytest.mark.parametrize("table", MONEY)
def test_the_limit_knows_rows_money_and_creators(ready, rows, table):
    """Five bad rows of 200 are 2.5 % of the rows; what stops the day is what they are worth."""
    amount = {"gifts": "coins", "ad_revenue": "amount_micros"}[table]
    many = [good(rows, table, f"k{n}", video_id="v1", **{amount: 100}) for n in range(195)]
    cases = {
        "rows": (many[:100], {"video_id": "nobody", amount: 1}),
        "money": (many, {"video_id": "nobody", amount: 1_000}),
        "creators": (many, {"video_id": "v2", "ts": "2026-03-04", amount: 1}),
    }
    for bad_rows in (4, 5):
        for what, (fine, change) in cases.items():
            bad = [good(rows, table, f"b{n}", **change) for n in range(bad_rows)]
            ready.land(table, [*fine, *bad])
            if bad_rows == 5:
                with pytest.raises(InvariantError, match="rows, of money and of creators"):
                    ready.load(table)
            else:
                assert ready.load(table).quarantined == bad_rows, what
    ready.land(table, [good(rows, table, "b", video_id="nobody")])
    with pytest.raises(InvariantError):  # all of it
        ready.load(table)


def test_copies_of_a_session_and_of_an_id_are_counted(ready, rows):
    other = DAY + timedelta(days=1)
    ready.land("viewer_events", [rows.event("e1", day=other)], other)
    ready.load("viewer_events", other)
    sessions = [rows.event("e1"), rows.event("e2"), rows.event("e3"), rows.event("e4", watch_ms=1)]
    ready.land("viewer_events", [*sessions, rows.event("e5", video_id="v2", watch_ms=86_400_000)])
    ready.load("viewer_events")
    found = figures(ready, "viewer_events")
    assert found["events_of_other_days"][:2] == (1, 5)
    assert found["copied_sessions"][:2] == (2, 5)
    assert found["viewers_beyond_a_day"][0] == 1
    assert found["overlapping_sessions"][0] == 4
    assert all(found[name][2] for name in ("events_of_other_days", "copied_sessions"))
    assert "u1" in found["viewers_beyond_a_day"][2]


def test_one_viewer_or_one_identity_that_is_too_much_is_named(ready, rows):
    ready.land(
        "creators", [rows.creator(f"c{n}", identity_id="p" if n < 5 else None) for n in range(9)]
    )
    ready.load("creators")
    assert "'p' stands behind 5 of 9" in figures(ready, "creators")["largest_identity_accounts"][2]
    viewers = ["u1"] * 20 + [f"w{n}" for n in range(79)]
    ready.land("viewer_events", [rows.event(f"e{n}", viewer_id=v) for n, v in enumerate(viewers)])
    ready.load("viewer_events")
    assert "'u1' has 20 of 99" in figures(ready, "viewer_events")["busiest_viewer_events"][2]


def test_what_a_default_stands_in_for_is_counted(ready, rows):
    ready.land(
        "videos",
        [
            rows.video("v1", categories=[], s_plus=None),
            rows.video("v2", s_tox=None),
            rows.video("v3"),
        ],
    )
    ready.load("videos")
    watched = [("u1.0", "v1"), ("u1", "v2"), ("u2", "v3")]
    ready.land(
        "viewer_events",
        [rows.event(f"e{n}", viewer_id=u, video_id=v) for n, (u, v) in enumerate(watched)],
    )
    ready.load("viewer_events")
    with ready.warehouse.open() as con:
        found = {f.name: f for f in figures_of_scores(con, DAY)}
    assert [(f.count, f.total) for f in found.values()] == [(1, 3), (2, 3), (1, 3)]
    assert "'u1.0'; viewers has ids such as 'u1'" in found["unknown_viewer_events"].warning
    assert found["videos_without_safety"].warning
    assert found["unlabelled_videos"].warning is None


def test_warnings_are_those_of_the_day_as_it_is_and_fail_a_check_that_stops_nothing(ready):
    with ready.warehouse.open() as con:
        figure = Figure("f", 1, 2, "look")
        record_figures(con, "viewer_events", DAY, [figure, Figure("g", 0)])
        assert warnings_of(con) == [
            {"day": str(DAY), "table": "viewer_events", "figure": "f", "warning": "look"}
        ]
        (check,) = [i for i in of_table("viewer_events") if i.name == "nothing_to_look_at"]
        assert not check.enforced
        assert check.violations(con, DAY, quarantine_limit=0.04)
        record_figures(con, "viewer_events", DAY, [])
        assert warnings_of(con) == []


def test_carried_pools_have_an_age_and_the_label_that_was_meant(ready):
    row = {"revenue_micros": 0, "platform_micros": 0, "carry_in_micros": 0, "spread_micros": 0}
    row |= {"pool_micros": 0, "videos": 0, "units": 0, "rule": "carry", "policy_hash": "x"}
    carried = {"Music": [5, 5, 5, 7], "music": [0, 3, 0, 4], "sport": [9, 9, 9, 0]}
    with ready.warehouse.open() as con:
        con.begin()
        for category, amounts in carried.items():
            for n, micros in enumerate(amounts):
                values = row | {
                    "day": DAY + timedelta(days=n),
                    "category": category,
                    "carry_out_micros": micros,
                }
                con.execute(
                    f"INSERT INTO ad_pools ({', '.join(values)}) VALUES"
                    f" ({', '.join('?' * len(values))})",
                    list(values.values()),
                )
        found = [(p.category, p.micros, p.days, p.labelled, p.nearest) for p in carried_pools(con)]
        assert found == [("Music", 7, 4, False, "music"), ("music", 4, 1, True, None)]
        through = carried_pools(con, DAY + timedelta(days=2))
        assert [(p.category, p.days) for p in through] == [("sport", 3), ("Music", 3)]
        assert "nearest label is 'music'" in through[1].sentence
        con.rollback()


@pytest.mark.parametrize(
    ("category", "label"), [("Music", "music"), ("musik", "music"), ("zebra", None)]
)
def test_the_nearest_label(category, label):
    assert nearest(category, {"music", "sports"}) == label
