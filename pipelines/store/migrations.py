"""Bringing a warehouse that an earlier version made to the tables of this one, in one transaction
and without losing a row.

What belongs here: one entry in `MIGRATIONS` for every change of a table that was there before. A
table that is only added needs none; it is created when the warehouse is opened. What the tables
look like now is in `schema.py`. Columns of `ledger_transactions` and `ledger_entries` are what the
chain hashes: none ever goes or changes its meaning; one that comes counts in the hash of a row only
where it has a value (`ledger/entries.py`). Their constraints may change.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import duckdb

from pipelines.errors import ExpectedError
from pipelines.schema import SCHEMA_VERSIONS, TABLES, Table


class MigrationError(ExpectedError, RuntimeError):
    """A warehouse that cannot be brought to this version's tables: says what is in the way; nothing
    was changed.
    """


@dataclass(frozen=True)
class Migration:
    """What one version of the tables changed in those that were there.

    `tables` maps a changed table to its added columns, each with the SQL over the table's other
    columns that rows already there get; to an empty mapping where only types or constraints
    changed.
    """

    what: str
    tables: Mapping[str, Mapping[str, str]]


# Version n is the n-th entry. Append; an entry that has been released is never edited.
MIGRATIONS: tuple[Migration, ...] = (
    Migration("the tables of creator-earnings 0.1.0", {}),
    Migration(
        "monthly bonuses",
        {"ledger_transactions": {}, "creator_earnings": {"bonus_micros": "CAST(0 AS BIGINT)"}},
    ),
    Migration(
        "the revenue floor that held stands with the day's coin splits",
        {
            "coin_solutions": {
                "revenue_floor": (
                    "(SELECT CAST(content ->> '$.coins.revenue_floor' AS DOUBLE) FROM policies AS p"
                    " WHERE p.policy_hash = kept_rows.policy_hash)"
                ),
                "floor_source": "'policy'",
                "market_week": "NULL",
                "market_revision": "NULL",
            }
        },
    ),
    Migration("what Pulse ranks by stands beside Q", {"video_quality": {"assured": "quality"}}),
    Migration(
        "payments, and who did what",
        {"ledger_transactions": {"actor": "NULL", "approved_by": "NULL"}},
    ),
    Migration("decisions in the chain", {"ledger_transactions": {}}),
    Migration(
        "the policy that each day of each table was made under; time and inode of landing files",
        {
            "written_days": {
                "policy_hash": (
                    "(SELECT any_value(e.policy_hash) FROM creator_earnings AS e"
                    " WHERE e.day = kept_rows.day)"
                )
            },
            "landing_files": {"stamp": "NULL"},
        },
    ),
    Migration("parts in videos", {"creator_earnings": {"shares_micros": "CAST(0 AS BIGINT)"}}),
    Migration(
        "what a day of a table holds is noted, and what it was paid from chained; one statement a"
        " creator and closing",
        {"written_days": {"content": "NULL"}, "ledger_transactions": {}, "statements": {}},
    ),
    Migration(
        "estimated and final revenue, and what was taken out of it",
        {
            "ad_revenue": {"status": "'final'", "deducted_micros": "CAST(0 AS BIGINT)"},
            "gifts": {"deducted_coins": "CAST(0 AS BIGINT)"},
            "landing_files": {"taken_out": "CAST(0 AS BIGINT)"},
        },
    ),
    Migration("payees read statements in their locale", {"payees": {"locale": "NULL"}}),
)


def is_current(
    con: duckdb.DuckDBPyConnection,
    *,
    tables: Mapping[str, Table] = TABLES,
    migrations: Sequence[Migration] = MIGRATIONS,
) -> bool:
    """Whether `migrate` has nothing to do.

    Raises
    ------
    MigrationError
        The tables are newer than this software.
    """
    return _version(con, migrations) == len(migrations) and tables.keys() <= _existing(con)


def migrate(
    con: duckdb.DuckDBPyConnection,
    code_version: str,
    *,
    tables: Mapping[str, Table] = TABLES,
    migrations: Sequence[Migration] = MIGRATIONS,
    constraints: bool = True,
) -> None:
    """Create the tables that are missing and make those that changed again, with their rows. Call
    it inside a transaction.

    A changed table is made again from its definition, because DuckDB adds no column that must have
    a value and changes no constraint; so a migrated warehouse has the tables of a new one, down to
    the order of columns.

    `constraints`: whether the database can keep any.

    Raises
    ------
    MigrationError
        The tables are newer than this software, or rows that are there do not fit the table as it
        is now.
    """
    version, existing = _version(con, migrations), _existing(con)
    changed: dict[str, dict[str, str]] = {}
    for migration in migrations[version:]:
        for name, added in migration.tables.items():
            changed.setdefault(name, {}).update(added)
    for name, added in changed.items():
        if name in existing:
            _remake(con, tables[name], added, constraints)
    con.execute(";\n".join(table.ddl(constraints=constraints) for table in tables.values()))
    for number, migration in list(enumerate(migrations, 1))[_recorded(con) :]:
        con.execute(
            f"INSERT INTO {SCHEMA_VERSIONS.name} VALUES (?, ?, ?)",
            [number, migration.what, code_version],
        )


def _remake(
    con: duckdb.DuckDBPyConnection, table: Table, added: Mapping[str, str], constraints: bool
) -> None:
    con.execute(f"CREATE OR REPLACE TEMP TABLE kept_rows AS FROM {table.name}")
    con.execute(f"DROP TABLE {table.name}")
    con.execute(table.ddl(constraints=constraints))
    values = "".join(f", {sql} AS {column}" for column, sql in added.items())
    try:
        con.execute(f"INSERT INTO {table.name} BY NAME SELECT *{values} FROM kept_rows")
    except duckdb.Error as error:
        raise MigrationError(
            f"table {table.name} cannot be brought to this version: {str(error).splitlines()[0]}."
            " Nothing was changed; go on with the version that made it."
        ) from error
    con.execute("DROP TABLE kept_rows")


def _version(con: duckdb.DuckDBPyConnection, migrations: Sequence[Migration]) -> int:
    """0 for an empty file; 1 for tables from before versions were recorded."""
    existing = _existing(con)
    version = _recorded(con) if SCHEMA_VERSIONS.name in existing else int(bool(existing))
    if version > len(migrations):
        (made_by,) = con.execute(
            f"SELECT code_version FROM {SCHEMA_VERSIONS.name} ORDER BY version DESC LIMIT 1"
        ).fetchall()[0]
        raise MigrationError(
            f"the warehouse has tables of version {version} (made by creator-earnings {made_by});"
            f" this software knows them up to {len(migrations)}. Nothing was changed; use that"
            " version or a newer one."
        )
    return version


def _recorded(con: duckdb.DuckDBPyConnection) -> int:
    (version,) = con.execute(
        f"SELECT coalesce(max(version), 0) FROM {SCHEMA_VERSIONS.name}"
    ).fetchall()[0]
    return int(version)


def _existing(con: duckdb.DuckDBPyConnection) -> set[str]:
    # Not duckdb_tables(): it also counts rows, for which a lake asks its catalogue twice a table.
    sql = (
        "SELECT DISTINCT table_name FROM duckdb_columns() WHERE database_name = current_database()"
        " AND NOT internal"
    )
    return {name for (name,) in con.execute(sql).fetchall()}
