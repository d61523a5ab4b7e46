"""What decides money and what records it cannot be changed unseen: every column of every table, in
every way, after a story with everything switched on.

A table that is added to the schema is in here by itself. If nothing would see a change of it, the
test fails until the table is noted, chained, or listed here with the reason.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta

import duckdb
import pytest

from pipelines.assets import PERIODIC
from pipelines.ledger.closing import close
from pipelines.ledger.entries import post_bonuses
from pipelines.ledger.inputs import ChangedBehindError
from pipelines.ledger.verification import changed_contents, contradictions, verify
from pipelines.periods import SPANS
from pipelines.remake.days import restate
from pipelines.runs.periodic import Period
from pipelines.schema import TABLES
from pipelines.settings import Home
from pipelines.sources.simulator.simulate import simulate
from pipelines.store.contents import CHAINED, NOTED, content, rows_of
from pipelines.store.warehouse import Connection, Warehouse
from tests.cases.five_days import deliver_late, make_days

pytestmark = pytest.mark.slow

MONDAY, APRIL = date(2026, 3, 2), date(2026, 4, 30)
DAYS = [MONDAY + timedelta(days=n) for n in range(8)]
POLICY = """
name = "hardened"
effective_from = 2020-01-01
[coins]
revenue_floor = "market"
[market]
window = 16
locations = 12
opportunity_cost = 10.0
deviation_costs = [10.0]
fallback_floor = 0.2
floor_bounds = [0.0, 0.9]
[pulse]
top_fraction = 0.5
min_safety = 0.0
[epochs]
mechanism = "smt"
groups = 2
min_group_viewers = 5
min_impressions = 5
[bonus]
budget_micros = 50_000_000
levels = 10
[[ads.rules]]
name = "few followers"
followers_below = 1000
minimum = 0.01
"""
NOT_SEEN = {
    ("written_days", "made_at"): "a clock's; nothing follows from it",
    ("written_days", "code_version"): "of the last writer, for people; the ledger has its own",
    ("written_days", "changed"): "an order of writes: a day looks stale, and is made again",
    ("written_days", "made"): "an order of writes: as `changed`",
    ("weight_commits", "committed_at"): "a clock's",
    ("market_commits", "committed_at"): "a clock's",
    ("landing_files", "stamp"): "where a file lies on the disk; its content is hashed",
    ("written_days", "policy_hash"): "a day looks stale, and is made again; the ledger has its own",
}
ELSEWHERE = {
    "payees": "tests/payouts: where money goes, not how much",
    "payments": "tests/payouts: the chain has a hash of every run's rows",
    "settlements": "tests/payouts: the chain has a hash of every answer's rows",
    "snapshot_changes": "an order of writes: what looks stale, no amount",
    "figures": "counts and warnings of a day's input, which stop nothing",
    "quarantine_acceptances": "who left rows in quarantine; they and their reasons are noted there",
    "policy_confirmations": "who let a version pay that the guard held; no amount follows",
    "approvals": "tests/payouts: asked for, not given; what was approved is in the chain",
    "schema_versions": "versions of tables, no money; a wrong one is refused on opening",
}
NOT_IN_THE_STORY = {
    "video_evidence",
    "evidence_history",
    "quality_priors",
    "shares",
    "ad_views",
    "manipulation",
    "shadow_earnings",
    "shadow_ad_pools",
    "shadow_video_evidence",
}
"""Empty in it; noted like every other input and every other derived table."""
MONEY = [name for name in TABLES if name not in {*ELSEWHERE, *NOT_IN_THE_STORY}]
OTHER = {
    "BIGINT": "{0} + 1",
    "DOUBLE": "CASE WHEN isfinite({0}) THEN {0} * 1.001 + 1e-9 ELSE 0 END",
    "DATE": "{0} + 1",
    "TIMESTAMP": "{0} + INTERVAL 1 MICROSECOND",
    "BOOLEAN": "NOT {0}",
    "VARCHAR": "'x' || {0}",
    "VARCHAR[]": "list_append({0}, 'x')",
    "DOUBLE[]": "list_append({0}, 0.0)",
    "MAP(VARCHAR, BIGINT)": "map_concat({0}, MAP {{'x': 1::BIGINT}})",
    "MAP(VARCHAR, DOUBLE)": "map_concat({0}, MAP {{'x': 1::DOUBLE}})",
}

ANY = {
    **dict.fromkeys(OTHER, "NULL"),
    "BIGINT": "7",
    "DOUBLE": "7.5",
    "DATE": "DATE '2020-01-01'",
    "VARCHAR": "'x'",
    "BOOLEAN": "true",
}


def make_period(home: Home, name: str, first: date) -> None:
    asset = next(asset for asset in PERIODIC if asset.name == name)
    warehouse = Warehouse(home)
    last = SPANS[TABLES[name].span].last(first)
    with warehouse.open() as con:
        run = Period(con, last, warehouse, home.policies.in_force(last), first=first)
        asset.function(run)  # without asking for the days between, which nobody delivered


def everything(home: Home) -> None:
    """A week with its market, two days paid by it, a month's bonuses, a closing and a restatement
    that is budget neutral, with rows in quarantine: no table is empty.
    """
    (home.root / "policies").mkdir(parents=True)
    (home.root / "policies" / "hardened.toml").write_text(POLICY)
    since = POLICY.replace("2020-01-01", "2026-04-01").replace('"smt"', '"none"')
    since = since.replace('"market"', "0.2")
    (home.root / "policies" / "hardened-2.toml").write_text(since)
    (home.root / "settings.toml").write_text(
        'first_day = 2026-03-02\nlast_day = 2026-04-30\npublish = false\nthreads = 1\nquarantine_limit = 0.2\npolicy = "hardened"\n'
    )
    sizes = {"viewers": 60, "creators": 8, "videos": 25, "rotten_share": 0.02}
    simulate(home.landing, first_day=MONDAY, days=8, seed=5, late=home.root / "late",
             late_share=0.1, events_per_day=200, **sizes)  # fmt: skip
    simulate(home.landing, first_day=APRIL, days=1, seed=6, events_per_day=200, **sizes)
    again = next((home.landing / "gifts" / str(DAYS[0])).iterdir())
    with duckdb.connect() as con:  # a gift that is delivered again with the next day
        con.execute(
            f"COPY (SELECT * REPLACE (ts + INTERVAL 1 DAY AS ts) FROM '{again}' LIMIT 1) TO"
            f" '{home.landing / 'gifts' / str(DAYS[1]) / 'again.csv'}'"
        )
    make_days(home, DAYS[:7])
    make_period(home, "donation_market", MONDAY)
    make_days(home, DAYS[7:])
    make_period(home, "reward_schedule", date(2026, 3, 1))
    make_days(home, [APRIL])
    make_period(home, "creator_bonuses", date(2026, 4, 1))
    close(home, DAYS[1])
    deliver_late(home, DAYS[:1])
    events = min((home.landing / "viewer_events" / str(DAYS[0])).iterdir())
    decisions = home.landing / "invalid_traffic" / str(DAYS[0]) / "decisions.csv"
    decisions.parent.mkdir(parents=True)
    with duckdb.connect() as con:
        [(first, last)] = con.execute(
            f"SELECT min(viewer_id), max(viewer_id) FROM '{events}'"
        ).fetchall()
    decisions.write_text(
        f"what,id,decided_on,reason\nviewer,{first},2026-03-20,bots\nviewer,{last},2026-03-21,farm\n"
    )
    shown, _ = restate(home, DAYS[0], DAYS[0], reason="late", budget_neutral=True)
    restate(home, DAYS[0], DAYS[0], reason="late", budget_neutral=True, expected=shown.digest)


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Connection]:
    """A connection to the book after the story; what tests change in it they roll back."""
    home = Home.at(tmp_path_factory.mktemp("everything") / "home")
    everything(home)
    with Warehouse(home).open() as con:
        yield con


@contextmanager
def forged(con: Connection, table: str, *statements: str) -> Iterator[None]:
    """The table without its constraints, changed; put back afterwards."""
    con.begin()
    try:
        con.execute(f"CREATE TABLE forged AS FROM {table}")
        for sql in statements:
            con.execute(sql)
        con.execute(f"DROP TABLE {table}; ALTER TABLE forged RENAME TO {table}")
        yield
    finally:
        con.rollback()


def seen(con: Connection, table: str) -> bool:
    """Whether `verify` sees it. What does not depend on the changed table is left for last."""
    if table in NOTED and next(changed_contents(con, [table]), None):
        return True
    transactions = con.execute("SELECT * FROM ledger_transactions ORDER BY seq").fetchall()
    if next(contradictions(con, transactions), None):
        return True
    found = verify(con, every_table=True)
    return bool(found.findings or found.unbooked)


def test_the_story_has_rows_in_every_table_and_contradicts_nothing(book: Connection) -> None:
    empty = [name for name in MONEY if not book.execute(f"FROM {name} LIMIT 1").fetchall()]
    assert empty == []
    found = verify(book, every_table=True)
    assert (found.findings, found.unbooked, found.unproven) == ((), (), 0)


@pytest.mark.parametrize("table", MONEY)
def test_a_value_that_is_changed_is_seen(book: Connection, table: str) -> None:
    for column in TABLES[table].columns:
        if (table, column.name) in NOT_SEEN:
            continue
        change = OTHER[column.type].format(column.name)
        sql = (
            f"UPDATE forged SET {column.name} = coalesce({change}, {ANY[column.type]}) WHERE rowid"
            " = (SELECT max(rowid) FROM forged)"
        )
        with forged(book, table, sql):
            assert seen(book, table), column.name


@pytest.mark.parametrize("table", MONEY)
def test_values_that_are_swapped_are_seen(book: Connection, table: str) -> None:
    """But for what names a row: swapped, it is the other row with all else swapped."""
    names = {"day", *TABLES[table].key}
    for column in (c.name for c in TABLES[table].columns if c.name not in names):
        if (table, column) in NOT_SEEN or len(TABLES[table].columns) == len(names) + 1:
            continue
        values = book.execute(f"SELECT {column} FROM {table}").fetchall()
        other = next((n for n, value in enumerate(values) if value != values[0]), None)
        if other is None:
            continue
        swap = f"""WITH ends AS (SELECT min(rowid) AS a, min(rowid) + {other} AS b FROM forged)
            UPDATE forged SET {column} = was.{column} FROM (
            SELECT a + b - rowid AS id, {column} FROM forged, ends WHERE rowid IN (a, b)) AS was
            WHERE forged.rowid = was.id"""
        with forged(book, table, swap):
            assert seen(book, table), column


@pytest.mark.parametrize("table", MONEY)
def test_rows_that_are_doubled_deleted_or_one_for_the_other_are_seen(
    book: Connection, table: str
) -> None:
    last, first = ("(SELECT max(rowid) FROM forged)", "(SELECT min(rowid) FROM forged)")
    [(count,)] = book.execute(f"SELECT count(*) FROM {table}").fetchall()
    double = f"INSERT INTO forged FROM forged WHERE rowid = {last}"
    if table == "written_days":  # without the note of an empty day, it is made again
        first = "(SELECT min(rowid) FROM forged WHERE content NOT LIKE '0:%')"
    delete = f"DELETE FROM forged WHERE rowid = {first}"
    for statements in ((double,), (delete,), (double, delete), ("DELETE FROM forged",)):
        if statements == (double, delete) and count == 1:
            continue  # it is the same row
        with forged(book, table, *statements):
            assert seen(book, table), statements


def test_every_table_is_noted_chained_or_named() -> None:
    assert set(TABLES) <= {*NOTED, *CHAINED, "written_days", *ELSEWHERE}


@pytest.mark.parametrize("table", ["gifts", "ad_revenue", "viewers", "viewer_events"])
def test_an_input_that_is_changed_with_its_note_contradicts_the_chain(
    book: Connection, table: str
) -> None:
    with forged(book, table, "DELETE FROM forged WHERE rowid = (SELECT min(rowid) FROM forged)"):
        [message] = changed_contents(book, [table])
        day = date.fromisoformat(message[:10])
        now = content(book, table, day)
        book.execute(
            "UPDATE written_days SET content = ?, rows = ? WHERE table_name = ? AND day = ?",
            [now, rows_of(now), table, day],
        )
        assert not list(changed_contents(book, [table]))
        assert any("was not made from" in finding for finding in verify(book).findings)


def test_nothing_is_paid_by_a_schedule_that_was_changed(book: Connection) -> None:
    with (
        forged(book, "reward_schedule", "UPDATE forged SET bonus_micros = bonus_micros + 40280000"),
        pytest.raises(ChangedBehindError, match="reward_schedule of 2026-03-31 was changed"),
    ):
        post_bonuses(book, date(2026, 4, 1), APRIL, "")
