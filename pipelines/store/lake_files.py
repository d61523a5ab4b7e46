"""The Parquet files of a lake, for engines that read them where they lie.

What belongs here: telling which files hold exactly the rows that a connection sees. A file alone
does not tell: rows are deleted in files beside it or in the catalogue, small writes stay in the
catalogue, a file written before a column was added or renamed lacks it, and what an open
transaction did is in no list of files.
"""

from __future__ import annotations

from collections.abc import Sequence

import duckdb

from pipelines.store.lake import META


def is_lake(con: duckdb.DuckDBPyConnection) -> bool:
    """Whether the connection's tables are a lake's."""
    (kind,) = con.execute(
        "SELECT type FROM duckdb_databases() WHERE database_name = current_database()"
    ).fetchall()[0]
    return bool(kind == "ducklake")


def whole_files(
    con: duckdb.DuckDBPyConnection, table: str, columns: Sequence[str], condition: str
) -> tuple[list[str], int]:
    """Files whose rows that meet the condition are those of the table, all of them; and how many
    rows of the table are elsewhere.

    The lake says in which file each row is that the connection sees, and a lake only ever takes
    rows away from a file. So a file that holds as many rows as are seen of it holds just these;
    where fewer are seen, the file is not whole, and none of it counts. The columns must be in the
    file under the names, the field ids and the types that they have in the table.
    """
    seen = dict(
        con.execute(
            f"SELECT filename, count(*) FROM {table} WHERE {condition} GROUP BY filename"
        ).fetchall()
    )
    files = [
        name for name in seen if name.endswith(".parquet")
    ]  # rows in the catalogue have a name of another kind
    fitting = _with_columns(con, table, columns, files) if files else []
    held: dict[str, int] = {}
    if fitting:
        counted = (
            f"SELECT filename, count(*) FROM read_parquet(?, filename => true) WHERE {condition}"
            " GROUP BY filename"
        )
        held = dict(con.execute(counted, [fitting]).fetchall())
    whole = sorted(name for name in fitting if held.get(name) == seen[name])
    return whole, sum(seen.values()) - sum(seen[name] for name in whole)


def _with_columns(
    con: duckdb.DuckDBPyConnection, table: str, columns: Sequence[str], files: Sequence[str]
) -> list[str]:
    found = con.execute(
        f"""SELECT file_name FROM parquet_schema($files) AS f
            JOIN {META}.ducklake_column AS c ON c.column_name = f.name
            AND c.column_id = f.field_id AND c.end_snapshot IS NULL
            JOIN {META}.ducklake_table AS t ON t.table_id = c.table_id AND t.table_name = $table
            AND t.end_snapshot IS NULL
            JOIN duckdb_columns() AS d ON d.database_name = current_database()
            AND d.table_name = $table AND d.column_name = f.name
            WHERE list_contains($columns, f.name) AND d.data_type = f.duckdb_type
            GROUP BY file_name HAVING count(*) = len($columns)""",
        {"files": list(files), "table": table, "columns": list(columns)},
    ).fetchall()
    return [name for (name,) in found]
