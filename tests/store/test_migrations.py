"""A warehouse that an earlier version made has the tables of a new one when it is next opened, with
its rows; or stays as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import duckdb
import pytest

from pipelines.schema import SCHEMA_VERSIONS, Column, Table
from pipelines.store.migrations import MIGRATIONS, Migration, MigrationError, is_current, migrate
from pipelines.store.warehouse import WarehouseError, transaction

VERSION_1 = Path(__file__).parents[1] / "cases" / "tables_version_1.sql"

NUMBER, TEXT = Column("number", "BIGINT", ""), Column("text", "VARCHAR", "")
SHOUT = Column("shout", "VARCHAR", "")
BEFORE = Table(
    "things",
    "log",
    "",
    (NUMBER, TEXT),
    ("number",),
    constraints=("PRIMARY KEY (number)", "CHECK (number < 10)"),
)
AFTER = Table(
    "things",
    "log",
    "",
    (NUMBER, SHOUT, TEXT),
    ("number",),
    constraints=("PRIMARY KEY (number)", "CHECK (number < 100)"),
)
OTHER = Table("others", "log", "", (NUMBER,), ("number",))
FIRST, LOUDER = Migration("first", {}), Migration("shout", {"things": {"shout": "upper(text)"}})
WIDER = Migration("more things, and others", {"things": {}})


def tables(*those: Table) -> Mapping[str, Table]:
    return {table.name: table for table in (*those, SCHEMA_VERSIONS)}


def structure(con: duckdb.DuckDBPyConnection) -> list[tuple[Any, ...]]:
    """Columns in their order, types, and constraints of all tables."""
    return [
        *con.execute(
            "SELECT table_name, column_name, column_index, data_type, is_nullable FROM"
            " duckdb_columns() WHERE NOT internal ORDER BY ALL"
        ).fetchall(),
        *con.execute(
            "SELECT table_name, constraint_text FROM duckdb_constraints() ORDER BY ALL"
        ).fetchall(),
    ]


@pytest.fixture
def con():
    """A warehouse of two things, of the version that knew only those."""
    with duckdb.connect() as con:
        con.execute(BEFORE.ddl())
        con.execute("INSERT INTO things VALUES (2, 'two'), (1, 'one')")
        yield con


def test_every_change_of_a_table_has_its_migration(platform):
    """Fails where schema.py changed a table that was there: append to MIGRATIONS what its rows get."""
    with duckdb.connect(str(platform.home.warehouse)) as con:
        con.execute(VERSION_1.read_text())
    with platform.warehouse.open() as con, duckdb.connect() as new:
        migrate(new, "")
        assert structure(con) == structure(new)
        assert con.execute("SELECT version, what FROM schema_versions ORDER BY 1").fetchall() == [
            (number, migration.what) for number, migration in enumerate(MIGRATIONS, 1)
        ]


def test_a_reader_finds_an_old_warehouse_migrated(platform):
    with duckdb.connect(str(platform.home.warehouse)) as con:
        con.execute(VERSION_1.read_text())
        con.execute("INSERT INTO adjustments VALUES (DATE '2026-03-01', 'c', 7)")
    with platform.warehouse.open(read_only=True) as con:
        assert is_current(con)
        assert con.execute("SELECT creator_id, amount_micros FROM adjustments").fetchall() == [
            ("c", 7)
        ]


def test_columns_are_added_where_they_belong_with_values_for_rows_that_are_there(con):
    with transaction(con):
        migrate(con, "9", tables=tables(AFTER), migrations=(FIRST, LOUDER))
    assert con.execute("FROM things").fetchall() == [(2, "TWO", "two"), (1, "ONE", "one")]
    assert con.execute("FROM schema_versions").fetchall() == [(1, "first", "9"), (2, "shout", "9")]
    for broken in ("(1, 'X', 'x')", "(100, 'X', 'x')", "(3, NULL, 'x')"):
        with pytest.raises(duckdb.ConstraintException):
            con.execute(f"INSERT INTO things VALUES {broken}")
    con.execute("INSERT INTO things VALUES (99, 'X', 'x')")


def test_step_by_step_and_at_once_end_alike_and_a_second_time_does_nothing(con):
    def go(con: duckdb.DuckDBPyConnection, *migrations: Migration) -> None:
        migrate(con, "9", tables=tables(AFTER, OTHER), migrations=migrations)

    with duckdb.connect() as other:
        other.execute(BEFORE.ddl())
        other.execute("INSERT INTO things VALUES (2, 'two'), (1, 'one')")
        go(other, FIRST, LOUDER, WIDER)
        go(con, FIRST, LOUDER)
        con.execute("UPDATE things SET shout = 'CHANGED SINCE' WHERE number = 1")
        go(con, FIRST, LOUDER)
        go(con, FIRST, LOUDER, WIDER)
        assert structure(con) == structure(other)
        assert (
            con.execute("FROM schema_versions").fetchall()
            == other.execute("FROM schema_versions").fetchall()
        )
    assert con.execute("SELECT shout FROM things ORDER BY number").fetchall() == [
        ("CHANGED SINCE",),
        ("TWO",),
    ]
    assert is_current(con, tables=tables(AFTER, OTHER), migrations=(FIRST, LOUDER, WIDER))
    assert not is_current(
        con, tables=tables(AFTER, OTHER), migrations=(FIRST, LOUDER, WIDER, FIRST)
    )


def test_a_table_that_is_only_added_needs_no_version(con):
    migrate(con, "9", tables=tables(BEFORE), migrations=(FIRST,))
    assert not is_current(con, tables=tables(BEFORE, OTHER), migrations=(FIRST,))
    migrate(con, "9", tables=tables(BEFORE, OTHER), migrations=(FIRST,))
    assert is_current(con, tables=tables(BEFORE, OTHER), migrations=(FIRST,))


FORGETFUL = Table("things", "log", "", (NUMBER, SHOUT), ("number",))
STRICT = Table(
    "things", "log", "", (NUMBER, TEXT), ("number",), constraints=("CHECK (number < 2)",)
)


@pytest.mark.parametrize(
    ("table", "migration", "why"),
    [
        (FORGETFUL, LOUDER, "text"),
        (STRICT, WIDER, "CHECK"),
        (AFTER, Migration("", {"things": {"shout": "NULL"}}), "NOT NULL"),
        (AFTER, Migration("", {"things": {"shout": "no_such_column"}}), "no_such_column"),
    ],
    ids=[
        "a column is gone",
        "rows break a new constraint",
        "a value is missing",
        "an expression is wrong",
    ],
)
def test_rows_that_do_not_fit_leave_everything_as_it_was(con, table, migration, why):
    before = structure(con)
    with (
        pytest.raises(
            MigrationError, match=rf"table things cannot be brought to this version: .*{why}"
        ),
        transaction(con),
    ):
        migrate(con, "9", tables=tables(OTHER, table), migrations=(FIRST, migration))
    assert structure(con) == before
    assert con.execute("FROM things").fetchall() == [(2, "two"), (1, "one")]


def test_a_newer_warehouse_is_refused_by_readers_and_writers(platform):
    with platform.warehouse.open() as con:
        con.execute(
            "INSERT INTO schema_versions VALUES (?, 'unheard of', '7.0')", [len(MIGRATIONS) + 1]
        )
    for read_only in (False, True):
        with (
            pytest.raises(
                MigrationError,
                match=rf"version {len(MIGRATIONS) + 1} \(made by creator-earnings 7\.0\)",
            ),
            platform.warehouse.open(read_only=read_only),
        ):
            pass


def test_columns_of_no_version_are_still_refused(platform):
    with platform.warehouse.open() as con:
        con.execute("ALTER TABLE gifts ADD COLUMN odd BIGINT")
    with pytest.raises(WarehouseError, match=r"table gifts .*odd"), platform.warehouse.open():
        pass
