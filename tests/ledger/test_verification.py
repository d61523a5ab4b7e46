"""Verification: whatever is changed behind the ledger's back is found, wherever it is, and named."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import pytest
from click.testing import CliRunner

from pipelines.cli.main import main
from pipelines.ledger.closing import ClosingError, close
from pipelines.ledger.entries import Entries, entries_hashes
from pipelines.ledger.verification import Verification, verify
from pipelines.payouts.runs import pay
from pipelines.payouts.settlement import settle
from pipelines.schema import TABLES
from pipelines.settings import Home
from pipelines.store.warehouse import Connection, Warehouse, WarehouseError
from tests.cases.five_days import DAYS, EVERYTHING, SETTINGS, deliver_late, make_days, rows
from tests.payouts.conftest import ON, deliver, payee

# What is proven byte for byte. A day's `made_at` is a clock's, and what was read from files can be
# read again.
PROVEN = {
    "ledger_transactions": [
        c.name for c in TABLES["ledger_transactions"].columns if c.name != "approved_by"
    ],
    "ledger_entries": [c.name for c in TABLES["ledger_entries"].columns],
    "statements": [c.name for c in TABLES["statements"].columns],
    "payments": [c.name for c in TABLES["payments"].columns],
    "settlements": [c.name for c in TABLES["settlements"].columns],
    "policies": ["policy_hash", "name", "effective_from", "content"],
    "ad_pools": [
        "day",
        "category",
        *(c.name for c in TABLES["ad_pools"].columns if c.name.endswith("_micros")),
    ],
    "ad_payouts": ["day", "category", "creator_id", "payout_micros", "carried_micros"],
    "donation_splits": ["day", "creator_id", "revenue_micros", "payout_micros"],
    "creator_earnings": [c.name for c in TABLES["creator_earnings"].columns],
}


@pytest.fixture(scope="module")
def closed(made_once: Home, tmp_path_factory: pytest.TempPathFactory) -> Home:
    """Two closings with a reissued day between them. Do not write to it."""
    home = Home.at(shutil.copytree(made_once.root, tmp_path_factory.mktemp("closed") / "home"))
    close(home, DAYS[1])
    deliver_late(home, DAYS[2:])
    make_days(home, DAYS[2:])
    close(home, DAYS[3])
    return home


@pytest.fixture(scope="module")
def paid(closed: Home, tmp_path_factory: pytest.TempPathFactory) -> Home:
    """Everybody was paid, and the bank answered for one."""
    home = Home.at(shutil.copytree(closed.root, tmp_path_factory.mktemp("paid") / "home"))
    (home.root / "settings.toml").write_text(SETTINGS + 'currency = "EUR"\n')
    creators = sorted(row[0] for row in rows(home, "SELECT DISTINCT creator_id FROM statements"))
    deliver(home, [payee(c, n, bank="COBADEFFXXX") for n, c in enumerate(creators, 1)])
    digest = pay(home, DAYS[3], on=ON).digest
    first, *_ = pay(home, DAYS[3], on=ON, expected=digest).payments
    answer = home.root / "answer.csv"
    answer.write_text(
        f"payment_id,outcome,day,reason\n{first.payment_id},returned,{ON},no such account\n"
    )
    settle(home, answer)
    return home


def checked(home: Home, **how: Any) -> Verification:
    with Warehouse(home).open(read_only=True) as con:
        return verify(con, **how)


def test_entries_are_hashed_in_a_process_that_did_nothing_else() -> None:
    """As `earnings ledger verify` is: what tests have imported before must not be needed."""
    entries = "(SELECT 't' AS txn_id, 'platform' AS account, 'coins' AS part, 5 AS amount_micros)"
    code = (
        "import duckdb; from pipelines.ledger.entries import entries_hashes as h;"
        f' print(h(duckdb.connect(), "{entries}"))'
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.startswith("{'t': '"), done.stderr


def test_entries_are_hashed_as_one_text_would_be(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three rows at a time, against one expression in SQL; ids with every separator in them,
    transactions of one entry and of many.
    """
    one_text = """SELECT txn_id,
        sha256(string_agg(strlen(account) || ':' || account || strlen(part) || ':' || part || amount_micros,
                                      chr(10) ORDER BY account, part)) FROM entries
                                      GROUP BY txn_id"""
    with duckdb.connect() as con:
        con.execute("""CREATE TABLE entries AS
               SELECT 't' || (i * i % 7) AS txn_id, 'creator:' || ['a', 'ä:|', '',
               chr(10)][i % 4 + 1] || i AS account, 'ads' AS part,
                      (i - 20) * 1000000007 AS amount_micros
               FROM range(40) t(i)""")
        monkeypatch.setattr("pipelines.ledger.entries._AT_ONCE", 3)
        expected = dict(con.execute(one_text).fetchall())
        assert entries_hashes(con, "entries") == expected
        assert entries_hashes(con, "(FROM entries WHERE false)") == {}
        con.execute("DELETE FROM entries WHERE txn_id <> 't1'")
        assert Entries.of(con, "(SELECT * EXCLUDE txn_id FROM entries)").hash == expected["t1"]


def test_an_untouched_ledger_verifies(closed: Home) -> None:
    found = checked(closed, every_table=True)
    assert found.findings == ()
    assert (found.transactions, len(found.head)) == (len(DAYS) + 2 * 3 + 2, 64)


def test_a_ledger_that_an_earlier_version_made_verifies_after_migration_and_goes_on(
    landed: Callable[..., Home], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EARNINGS_POLICY", "hardened")  # the default of that version
    closed = landed("closed")
    make_days(closed, DAYS)
    close(closed, DAYS[3])
    old = Home.at(
        shutil.copytree(
            closed.root, tmp_path / "old", ignore=shutil.ignore_patterns("warehouse.duckdb")
        )
    )
    with duckdb.connect(str(old.warehouse)) as con:
        con.execute((Path(__file__).parents[1] / "cases" / "tables_version_1.sql").read_text())
        con.execute(f"ATTACH '{closed.warehouse}' AS now (READ_ONLY)")
        for (name,) in con.execute(
            "SELECT table_name FROM duckdb_tables() WHERE database_name = current_database()"
        ).fetchall():
            columns = ", ".join(row[0] for row in con.execute(f"DESCRIBE {name}").fetchall())
            con.execute(f"INSERT INTO {name} BY NAME SELECT {columns} FROM now.{name}")
        head = _chained_as_in_version_1(con)
    before = replace(checked(closed), head=head)
    assert before.findings == ()
    migrated = checked(old, every_table=True)
    assert replace(migrated, unproven=0) == before
    assert migrated.unproven > 20 * len(DAYS)  # a table's day each: that version noted no contents
    make_days(old, DAYS)  # what was paid is recognised
    assert checked(old) == before
    close(old, DAYS[-1])
    assert checked(old).findings == ()


def _chained_as_in_version_1(con: duckdb.DuckDBPyConnection) -> str:
    """Hash the transactions anew as the first version did, which knew nobody who did them; returns
    the head.
    """
    before = ""
    for seq, *values in con.execute(
        "SELECT * EXCLUDE (prev_hash, hash) FROM ledger_transactions ORDER BY seq"
    ).fetchall():
        row = [str(v) if isinstance(v, date) else v for v in (seq, *values, before)]
        digest = hashlib.sha256(json.dumps(row).encode()).hexdigest()
        con.execute(
            "UPDATE ledger_transactions SET prev_hash = ?, hash = ? WHERE seq = ?",
            [before, digest, seq],
        )
        before = digest
    return before


@pytest.fixture(scope="module")
def open_ledger(paid: Home, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Connection]:
    """A connection to a copy of it. Tests change what they like in a transaction that they roll
    back.
    """
    home = Home.at(shutil.copytree(paid.root, tmp_path_factory.mktemp("open") / "home"))
    with Warehouse(home).open() as con:
        yield con


@pytest.mark.parametrize(
    ("table", "column"), [(t, c) for t, columns in PROVEN.items() for c in columns]
)
def test_any_changed_value_is_found(open_ledger: Connection, table: str, column: str) -> None:
    """One value of one row is changed by as little as its type allows, past every constraint of the
    database.
    """
    kind = next(c.type for c in TABLES[table].columns if c.name == column)
    changes = {
        "BIGINT": f"{column} + 1",
        "DATE": f"{column} + 1",
        "VARCHAR": f"chr(ascii({column}) + 1) || {column}[2:]",
        "MAP(VARCHAR, BIGINT)": (
            f"map(map_keys({column}), list_transform(map_values({column}), lambda micros: micros"
            " + 1))"
        ),
    }
    other = changes[kind]
    open_ledger.begin()
    open_ledger.execute(f"CREATE TABLE forged AS FROM {table}")
    open_ledger.execute(
        f"UPDATE forged SET {column} = {other} WHERE rowid = (SELECT max(rowid) FROM forged WHERE"
        f" {column} IS NOT NULL)"
    )
    open_ledger.execute(f"DROP TABLE {table}; ALTER TABLE forged RENAME TO {table}")
    found = verify(open_ledger)
    open_ledger.rollback()
    assert found.findings


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM ledger_entries WHERE rowid = (SELECT max(rowid) FROM ledger_entries)",
        "DELETE FROM ledger_transactions WHERE seq = 3",
        "DELETE FROM statements WHERE rowid = (SELECT min(rowid) FROM statements)",
        "DELETE FROM policies",
        (
            "INSERT INTO ledger_entries VALUES ('2026-03-01/payout/9', '2026-03-01', 'platform',"
            " 'coins', 5)"
        ),
        (
            "INSERT INTO ledger_entries SELECT txn_id, day, 'creator:new', part, 5 FROM"
            " ledger_entries LIMIT 1"
        ),
        # the end of the chain is cut off, entries and all
        """DELETE FROM ledger_entries WHERE txn_id IN (SELECT arg_max(txn_id, seq)
            FROM ledger_transactions);
           DELETE FROM ledger_transactions WHERE seq = (SELECT max(seq)
           FROM ledger_transactions)""",
        (
            "DELETE FROM ledger_entries; DELETE FROM ledger_transactions; DELETE FROM statements;"
            " DELETE FROM creator_earnings"
        ),
    ],
)
def test_a_missing_or_added_row_is_found(open_ledger: Connection, sql: str) -> None:
    open_ledger.begin()
    open_ledger.execute(sql)
    found = verify(open_ledger)
    open_ledger.rollback()
    assert found.findings


def test_what_was_rolled_back_leaves_no_trace(open_ledger: Connection) -> None:
    assert verify(open_ledger).findings == ()


@pytest.mark.parametrize(
    "sql",
    [
        (
            "INSERT INTO ledger_transactions SELECT * REPLACE (99 AS seq) FROM ledger_transactions"
            " LIMIT 1"
        ),
        (
            "INSERT INTO ledger_transactions SELECT * REPLACE ('x' AS txn_id) FROM"
            " ledger_transactions LIMIT 1"
        ),
        "UPDATE ledger_transactions SET kind = 'gift' WHERE seq = 1",
        "UPDATE ledger_transactions SET booked_day = day - 1 WHERE seq = 1",
        "UPDATE ledger_entries SET amount_micros = 0",
        "UPDATE ledger_entries SET amount_micros = NULL",
        "UPDATE statements SET paid_cents = paid_cents + 1",
    ],
)
def test_what_the_database_can_hold_it_refuses_itself(open_ledger: Connection, sql: str) -> None:
    with pytest.raises(duckdb.ConstraintException):
        open_ledger.execute(sql)


def test_a_ledger_that_was_rewritten_from_the_start_lacks_the_noted_head(
    closed: Home, made: Home
) -> None:
    noted = checked(closed).head
    assert checked(closed, head=noted).findings == checked(closed, head=noted[:12]).findings == ()
    for wrong in (noted[:11], noted[:12] + "x", ""):
        assert "no transaction has the hash" in checked(closed, head=wrong).findings[0]
    assert "no transaction has the hash" in checked(made, head=noted).findings[0]


def test_a_flipped_byte_of_the_file_never_passes_for_another_ledger(
    closed: Home, tmp_path: Path
) -> None:
    """Bytes at random places of the file: each flip is found, or lies where nothing is stored and
    the ledger reads the same.
    """
    original = closed.warehouse.read_bytes()
    head = checked(closed).head
    home = Home.at(tmp_path / "home")
    shutil.copytree(closed.root, home.root)
    chance = random.Random(3)
    found = 0
    for _ in range(40):
        place = chance.randrange(len(original))
        home.warehouse.write_bytes(
            original[:place]
            + bytes([original[place] ^ (1 << chance.randrange(8))])
            + original[place + 1 :]
        )
        try:
            verdict = checked(home, every_table=True)
        except WarehouseError:
            found += 1
            continue
        if verdict.findings:
            found += 1
        else:
            assert verdict.head == head
    assert found >= 10


def test_a_day_that_is_half_made_is_not_wrong_and_stops_no_other_day(made: Home) -> None:
    """Late gifts were loaded and paid for, and the run was killed before it posted them."""
    deliver_late(made, DAYS[3:4])
    before_posting = [
        name for name in EVERYTHING if name not in ("ledger_entries", "creator_earnings")
    ]
    half, other = DAYS[3], DAYS[1]
    make_days(made, [half], assets=before_posting)
    with Warehouse(made).open() as con:
        found = verify(con)
        assert found.findings == ()
        assert [finding[:10] for finding in found.unfinished] == [str(half)]
    assert exit_code(made) == 3
    close(made, other)
    with pytest.raises(ClosingError, match=rf"{half} is stale"):
        close(made, half)
    make_days(made, [half], assets=["ledger_entries"])
    assert exit_code(made) == 3  # posted, and creators' earnings do not say so yet
    make_days(made, [half])
    assert exit_code(made) == 0
    with Warehouse(made).open() as con:
        con.execute("UPDATE ad_payouts SET payout_micros = payout_micros + 1 WHERE day = ?", [half])
    assert exit_code(made) == 1


def exit_code(home: Home) -> int:
    return CliRunner().invoke(main, ["--home", str(home.root), "ledger", "verify"]).exit_code
