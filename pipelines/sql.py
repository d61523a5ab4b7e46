"""Named SQL queries, one file each beside the code that asks them; values as text in SQL, and rows
as mappings.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import duckdb

# what every connection knows: whose an account is, which is what comes after its kind (an id may
# hold any character, a colon too)
MACROS = "CREATE OR REPLACE TEMP MACRO owner_of(account) AS account[strpos(account, ':') + 1:]"


@cache
def query(name: str) -> str:
    """Text of `<name>.sql`, a path from this package on, e.g. `quality/video_quality`."""
    return files("pipelines").joinpath(f"{name}.sql").read_text(encoding="utf-8")


def as_text(value: str | Path) -> str:
    """The value as a text in SQL, for statements that take no parameters.

    >>> as_text("Ann's")
    "'Ann''s'"
    """
    return "'" + str(value).replace("'", "''") + "'"


def as_dicts(asked: duckdb.DuckDBPyConnection) -> list[dict[str, Any]]:
    """The rows of a query that was executed, each by column name.

    >>> as_dicts(duckdb.connect().execute("SELECT 1 AS n, 'a' AS id"))
    [{'n': 1, 'id': 'a'}]
    """
    names = [column[0] for column in asked.description or ()]
    return [dict(zip(names, row, strict=True)) for row in asked.fetchall()]


def parquet(path: Path) -> str:
    """SQL that reads one Parquet file, wherever it lies: `*`, `?` and `[` in a path would match
    other files, and `x=1` would become a column.

    >>> parquet(Path("/data/x=1/what?.parquet"))
    "read_parquet('/data/x=1/what[?].parquet', hive_partitioning = false)"
    """
    pattern = "".join(f"[{c}]" if c in "*?[" else c for c in str(path))
    return f"read_parquet({as_text(pattern)}, hive_partitioning = false)"
