"""Ids of money over all days: once in the book, whatever order days are loaded in, and shown."""

from __future__ import annotations

import random
from datetime import date, timedelta
from typing import Any

import duckdb
import pytest

from pipelines.operation.running import run_days
from pipelines.schema import LANDING, TABLES
from pipelines.sources.copies import days_with_moved_ids
from pipelines.sources.landing import load_day
from pipelines.status import day_statuses
from pipelines.store.warehouse import DayWriter

FIRST = date(2026, 3, 5)
DAYS = [FIRST + timedelta(days=n) for n in range(3)]
MONEY = [name for name, table in LANDING.items() if table.once]
AMOUNT = {"gifts": "coins", "ad_revenue": "amount_micros"}
COLUMNS = {
    "gifts": "gift_id,ts,viewer_id,video_id,coins,premium",
    "ad_revenue": "ad_id,ts,category,video_id,amount_micros",
}


def line(table: str, day: date, key: str, amount: int, hour: int = 12) -> str:
    time = f"{day}T{hour:02}:00:00Z"
    return (
        f"{key},{time},u1,v1,{amount},false"
        if table == "gifts"
        else f"{key},{time},music,v1,{amount}"
    )


Delivered = dict[date, list[tuple[Any, ...]]]  # ids, amounts and, if not 12, hours by day


def deliver(platform: Any, table: str, delivered: Delivered) -> None:
    for day, rows in delivered.items():
        lines = [line(table, day, *row) for row in rows]
        content = "\n".join([COLUMNS[table], *lines]) + "\n"
        platform.file(table, "all.csv", content.encode(), day)


def expected(delivered: Delivered) -> dict[date, dict[str, int]]:
    """What counts on which day, by the rule: alike copies on the first day, others nowhere. Within
    a day the time counts too: a row comes again as it was, or it is another one.
    """
    copies: dict[str, set[tuple[Any, ...]]] = {}
    for day, rows in delivered.items():
        for key, amount, *hour in rows:
            copies.setdefault(key, set()).add((day, amount, *(hour or [12])))
    counts: dict[date, dict[str, int]] = {day: {} for day in delivered}
    for key, found in copies.items():
        days = [day for day, _, _ in found]
        if len({amount for _, amount, _ in found}) == 1 and len(set(days)) == len(days):
            day, amount, _ = min(found)
            counts[day][key] = amount
    return counts


@pytest.fixture(scope="module")
def con():
    with duckdb.connect(config={"threads": 1}) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        for table in TABLES.values():
            connection.execute(table.ddl())
        connection.execute(
            "INSERT INTO videos (day, video_id, creator_id, length_ms, categories, compliant,"
            " source) VALUES ('2026-03-01', 'v1', 'c1', 1000, [], true, 'x')"
        )
        yield connection


def load(con: Any, platform: Any, table: str, day: date) -> None:
    load_day(DayWriter(con, day), platform.home.landing, LANDING[table])


def in_the_book(con: Any, table: str) -> dict[date, dict[str, int]]:
    key = LANDING[table].key[0]
    found: dict[date, dict[str, int]] = {day: {} for day in DAYS}
    for day, name, amount in con.execute(
        f"SELECT day, {key}, {AMOUNT[table]} FROM {table}"
    ).fetchall():
        assert name not in found[day]
        found[day][name] = amount
    return found


def settle(con: Any, platform: Any, table: str) -> None:
    """Load stale days again; each at most once, so that the rule cannot go round in circles."""
    for day in days_with_moved_ids(con):
        load(con, platform, table, day)
    assert days_with_moved_ids(con) == {}


@pytest.mark.parametrize("table", MONEY)
@pytest.mark.parametrize("seed", range(12))
def test_whatever_the_order_an_id_counts_once(con, platform, table, seed):
    """Days are loaded in random order, delivered anew, and loaded again in another."""
    rng = random.Random(seed)
    con.begin()
    try:
        for _ in range(2):
            rows = [
                [
                    (rng.choice("abcd"), rng.choice((1, 1, 2)), rng.choice((12, 12, 13)))
                    for _ in range(rng.randrange(4))
                ]
                for _ in DAYS
            ]
            delivered = dict(zip(DAYS, rows, strict=True))
            deliver(platform, table, delivered)
            for day in rng.sample(DAYS, len(DAYS)):
                load(con, platform, table, day)
            settle(con, platform, table)
            assert in_the_book(con, table) == expected(delivered)
            counted = con.execute(
                "SELECT sum(loaded) + sum(quarantined) + sum(duplicates), sum(rows)"
                " FROM landing_files"
            ).fetchall()
            assert counted == [(sum(map(len, rows)),) * 2]
    finally:
        con.rollback()


@pytest.mark.parametrize("table", MONEY)
@pytest.mark.parametrize("order", [(0, 1), (1, 0)], ids=str)
@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_the_copy_is_shown_with_its_row_and_the_day_that_has_it(platform, rows, table, order, form):
    platform.settings(quarantine_limit=1.0)
    platform.load_known()
    build = {"gifts": rows.gift, "ad_revenue": rows.ad}[table]
    key = LANDING[table].key[0]
    for day in DAYS[:2]:
        changed = {AMOUNT[table]: 7 if day == DAYS[1] else 8}
        platform.land(
            table,
            [build("x", day=day), build("q9", day=day, **changed), build(f"z{day}", day=day)],
            day,
            form=form,
        )
    for n in order:
        platform.load(table, DAYS[n])
    with platform.warehouse.open() as con:
        stale = days_with_moved_ids(con)
    assert set(stale) == {DAYS[order[0]]}
    assert f"earnings run --from {DAYS[order[0]]}" in stale[DAYS[order[0]]]
    platform.load(table, DAYS[order[0]])
    assert platform.ask(f"SELECT day, {key} FROM {table} WHERE {key} < 'z'") == [(DAYS[0], "x")]
    bad = platform.ask("SELECT day, reason, raw FROM quarantine ORDER BY ALL")
    different = "on another day too, with different content"
    assert [row[:2] for row in bad] == [
        (DAYS[0], f"{key}: {different} ({DAYS[1]})"),
        (DAYS[1], f"{key}: in the book already ({DAYS[0]})"),
        (DAYS[1], f"{key}: {different} ({DAYS[0]})"),
    ]
    assert ["q9" in row[2] for row in bad] == [True, False, True]


def closed(con: Any, day: date) -> None:
    columns = [c.name for c in TABLES["ledger_transactions"].columns]
    values = {
        "seq": "1",
        "day": f"'{day}'",
        "booked_day": f"'{day}'",
        "kind": "'statement'",
        "revision": "1",
        "link": "NULL",
    }
    con.execute(
        f"INSERT INTO ledger_transactions SELECT {', '.join(values.get(c, chr(39) * 2) for c in columns)}"
    )


@pytest.mark.parametrize("table", MONEY)
@pytest.mark.parametrize("other", [1, 2], ids=["alike", "different"])
def test_a_closed_day_keeps_what_was_paid(con, platform, table, other):
    """The later day refuses its copy; the closed day never changes, and nothing is stale."""
    con.begin()
    try:
        deliver(platform, table, {DAYS[0]: [("a", 1)]})
        load(con, platform, table, DAYS[0])
        closed(con, DAYS[0])
        deliver(platform, table, {DAYS[0]: [("a", 1)], DAYS[1]: [("a", other), ("b", 1)]})
        for day in (DAYS[1], DAYS[0], DAYS[1]):
            load(con, platform, table, day)
            assert days_with_moved_ids(con) == {}
            assert in_the_book(con, table)[DAYS[0]] == {"a": 1}
        assert in_the_book(con, table)[DAYS[1]] == {"b": 1}
        reasons = con.execute("SELECT reason FROM quarantine").fetchall()
        assert reasons == [(f"{LANDING[table].key[0]}: in the book already ({DAYS[0]})",)]
    finally:
        con.rollback()


@pytest.mark.parametrize("table", MONEY)
@pytest.mark.parametrize("order", [(0, 1), (1, 0)], ids=str)
def test_a_booking_that_a_correction_moves_to_another_day_is_there_once(
    con, platform, table, order
):
    con.begin()
    try:
        deliver(platform, table, {DAYS[0]: [("a", 1), ("b", 1)], DAYS[1]: [("c", 1)]})
        for day in DAYS[:2]:
            load(con, platform, table, day)
        moved: Delivered = {DAYS[0]: [("a", 1)], DAYS[1]: [("b", 1), ("c", 1)]}
        deliver(platform, table, moved)
        for n in order:
            load(con, platform, table, DAYS[n])
        settle(con, platform, table)
        assert in_the_book(con, table) == {**expected(moved), DAYS[2]: {}}
        assert con.execute("SELECT count(*) FROM quarantine").fetchall() == [(0,)]
    finally:
        con.rollback()


def test_a_run_over_days_leaves_none_that_has_an_id_of_another(platform, rows):
    """Day 1 is loaded before the conflict on day 2 is known; the same run puts it right."""
    platform.settings(quarantine_limit=1.0)
    platform.known()
    for day in DAYS[:2]:
        platform.land(
            "gifts", [rows.gift("x", day=day, coins=day.day), rows.gift(f"y{day}", day=day)], day
        )
        platform.land("viewer_events", [rows.event(f"e{day}", day=day)], day)
        platform.land("ad_revenue", [rows.ad(f"a{day}", day=day)], day)
    outcome = run_days(platform.home, DAYS[0], DAYS[1])
    assert outcome.success, outcome.failures
    assert platform.ask("SELECT gift_id FROM gifts ORDER BY 1") == [
        (f"y{day}",) for day in DAYS[:2]
    ]
    assert [(d.day, d.state, d.quarantined) for d in day_statuses(platform.home)] == [
        (day, "complete", 1) for day in DAYS[:2]
    ]
