"""Which of a lake's Parquet files can be read in place of its table: whatever was done to them, no
row too many and none too few.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.store.lake import load_extensions
from pipelines.store.lake_files import is_lake, whole_files

pytestmark = [pytest.mark.lake, pytest.mark.xdist_group("lake")]

COLUMNS = ("day", "id", "n")
WINDOW = "day >= DATE '2026-01-01' AND day <= DATE '2026-01-02'"


@pytest.fixture(scope="module")
def con(tmp_path_factory: pytest.TempPathFactory) -> Iterator[duckdb.DuckDBPyConnection]:
    """A lake with its catalogue in memory: what is asked here does not depend on where it is."""
    with duckdb.connect(config={"autoinstall_known_extensions": False}) as con:
        load_extensions(con, "ducklake")
        con.execute(
            "ATTACH 'ducklake::memory:' AS warehouse (DATA_PATH"
            f" '{tmp_path_factory.mktemp('data')}'); USE warehouse"
        )
        yield con


@contextmanager
def table(con: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """An empty table `t`, gone afterwards with everything that was done to it."""
    con.execute("CREATE TABLE t (day DATE NOT NULL, id VARCHAR, n BIGINT)")
    try:
        yield
    finally:
        with suppress(duckdb.TransactionException):  # none is open
            con.rollback()
        con.execute("DROP TABLE t")


def add(day: int, rows: int, first: int = 0) -> str:
    """DuckLake keeps up to ten rows in the catalogue."""
    return (
        f"INSERT INTO t BY NAME SELECT DATE '2026-01-{day:02}' AS day, 'a' || i AS id, i AS n FROM"
        f" range({first}, {first + rows}) r(i)"
    )


def check(con: duckdb.DuckDBPyConnection) -> tuple[int, int]:
    """How many files are whole and how many rows elsewhere, after they were found to be the table
    together.
    """
    whole, elsewhere = whole_files(con, "t", COLUMNS, WINDOW)
    columns = ", ".join(COLUMNS)

    def rows(of: str, **given: Sequence[str]) -> list[tuple[Any, ...]]:
        return con.execute(
            f"SELECT {columns} FROM {of} AND {WINDOW} ORDER BY ALL", given
        ).fetchall()

    in_files = rows("read_parquet($whole) WHERE true", whole=whole) if whole else []
    others = rows("t WHERE NOT list_contains($whole, filename)", whole=whole)
    assert len(others) == elsewhere
    assert sorted(in_files + others, key=str) == sorted(rows("t WHERE true"), key=str)
    return len(whole), elsewhere


BOTH = add(2, 20) + " UNION ALL " + add(9, 20).partition("BY NAME ")[2]
CASES: dict[str, tuple[list[str], tuple[int, int]]] = {
    "nothing": ([], (0, 0)),
    "files": ([add(1, 50), add(2, 60)], (2, 0)),
    "other days": ([add(1, 50), add(3, 50)], (1, 0)),
    "several days in a file, one of them of the window": ([BOTH], (1, 0)),
    "a few rows, in the catalogue": ([add(1, 50), add(2, 10)], (1, 10)),
    "a few rows deleted, in the catalogue": (
        [add(1, 50), add(2, 50), "DELETE FROM t WHERE n = 7 AND day = '2026-01-02'"],
        (1, 49),
    ),
    "many rows deleted, in a file beside it": (
        [add(1, 50), add(2, 50), "DELETE FROM t WHERE n < 30 AND day = '2026-01-02'"],
        (1, 20),
    ),
    "rows deleted that are not asked for": (
        [BOTH, "DELETE FROM t WHERE day = '2026-01-09' AND n < 15"],
        (1, 0),
    ),
    "a day made again": (
        [
            add(1, 50),
            add(2, 50),
            "BEGIN",
            "DELETE FROM t WHERE day = '2026-01-02'",
            add(2, 70),
            "COMMIT",
        ],
        (2, 0),
    ),
    "a row changed": ([add(1, 50), "UPDATE t SET id = 'b' WHERE n = 3"], (0, 50)),
    "flushed from the catalogue, one deleted there": (
        [
            add(1, 50),
            add(2, 9),
            "DELETE FROM t WHERE n = 4 AND day = '2026-01-02'",
            "CALL ducklake_flush_inlined_data('warehouse')",
        ],
        (1, 8),
    ),
    "files merged": (
        [add(1, 50), add(2, 60), "CALL ducklake_merge_adjacent_files('warehouse')"],
        (1, 0),
    ),
    "an open transaction": (
        [
            add(1, 50),
            add(2, 50),
            "BEGIN",
            "DELETE FROM t WHERE day = '2026-01-02'",
            add(2, 70),
            add(1, 5),
        ],
        (2, 5),
    ),
    "an open transaction that deletes a few": (
        [add(1, 50), add(2, 50), "BEGIN", "DELETE FROM t WHERE n = 7 AND day = '2026-01-02'"],
        (1, 49),
    ),
    "an older file without a column": (
        [
            "ALTER TABLE t DROP COLUMN n",
            add(1, 50).replace(", i AS n", ""),
            "ALTER TABLE t ADD COLUMN n BIGINT DEFAULT 5",
            add(2, 50),
        ],
        (1, 50),
    ),
    "columns of an older file whose names were swapped": (
        [
            add(1, 50),
            "ALTER TABLE t RENAME n TO m",
            "ALTER TABLE t RENAME id TO n",
            "ALTER TABLE t RENAME m TO id",
        ],
        (0, 50),
    ),
    "a column dropped and added again": (
        [
            add(1, 50),
            "ALTER TABLE t DROP COLUMN n",
            "ALTER TABLE t ADD COLUMN n BIGINT",
            add(2, 50),
        ],
        (1, 50),
    ),
    "a wider type": (
        [
            "ALTER TABLE t DROP COLUMN n",
            "ALTER TABLE t ADD COLUMN n INTEGER",
            add(1, 50),
            "ALTER TABLE t ALTER n TYPE BIGINT",
            add(2, 50),
        ],
        (1, 50),
    ),
    "a column that is not read": (
        [
            "ALTER TABLE t ADD COLUMN more BIGINT",
            add(1, 50),
            "ALTER TABLE t DROP COLUMN more",
            add(2, 50),
        ],
        (2, 0),
    ),
    "partitions": (["ALTER TABLE t SET PARTITIONED BY (day)", add(1, 50), add(2, 50)], (2, 0)),
    "a table made again": (
        [
            *(add(1, 50), "BEGIN", "CREATE OR REPLACE TEMP TABLE kept AS FROM t", "DROP TABLE t"),
            *(
                "CREATE TABLE t (day DATE, id VARCHAR, n BIGINT)",
                "INSERT INTO t FROM kept",
                "COMMIT",
                add(2, 50),
            ),
        ],
        (2, 0),
    ),
}


@pytest.mark.parametrize(("statements", "expected"), CASES.values(), ids=list(CASES))
def test_files_and_what_is_elsewhere_are_the_table(
    con: duckdb.DuckDBPyConnection, statements: list[str], expected: tuple[int, int]
) -> None:
    with table(con):
        for statement in statements:
            con.execute(statement)
        assert check(con) == expected


days, ends = st.integers(1, 4), st.integers(0, 6)
STATEMENTS = st.one_of(
    st.builds(add, days, st.sampled_from([3, 12, 40]), st.integers(0, 20)),
    st.builds("DELETE FROM t WHERE n % 7 = {} AND day <= '2026-01-0{}'".format, ends, days),
    st.builds("DELETE FROM t WHERE day = '2026-01-0{}'".format, days),
    st.builds("UPDATE t SET id = 'changed' WHERE n % 7 = {}".format, ends),
    st.sampled_from(
        [
            "BEGIN",
            "COMMIT",
            "CALL ducklake_flush_inlined_data('warehouse')",
            "CALL ducklake_merge_adjacent_files('warehouse')",
        ]
    ),
)


@settings(max_examples=15)
@given(statements=st.lists(STATEMENTS, min_size=2, max_size=9))
def test_whatever_was_done_to_the_table(
    con: duckdb.DuckDBPyConnection, statements: list[str]
) -> None:
    with table(con):
        inside = False
        for statement in statements:
            if (
                statement == "COMMIT"
                if not inside
                else statement == "BEGIN" or statement.startswith("CALL")
            ):
                continue
            inside = statement == "BEGIN" or (inside and statement != "COMMIT")
            con.execute(statement)
        check(con)


def test_a_file_is_no_lake(con: duckdb.DuckDBPyConnection) -> None:
    assert is_lake(con)
    with duckdb.connect() as other:
        assert not is_lake(other)
