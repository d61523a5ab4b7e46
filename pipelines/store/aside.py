"""Rows of a warehouse on another connection, where days are made without touching it: a study's
memory, a replay's temporary home.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import duckdb

from pipelines.schema import TABLES
from pipelines.sql import MACROS
from pipelines.store.file_store import Connection


@contextmanager
def in_memory() -> Iterator[Connection]:
    """A connection to all tables, empty, that are gone with it."""
    with closing(duckdb.connect(config={"autoinstall_known_extensions": False})) as con:
        con.execute(f"SET TimeZone = 'UTC'; {MACROS}")
        con.execute(";\n".join(table.ddl() for table in TABLES.values()))
        yield con


def copy_rows(
    source: Connection, target: Connection, name: str, condition: str = "true", **parameters: Any
) -> None:
    """Add a table's rows that meet a condition of SQL, with its named parameters, to the table of
    the same name. They go from one to the other in batches.
    """
    rows = source.execute(f"SELECT * FROM {name} WHERE {condition}", parameters).to_arrow_reader()
    target.register("arriving", rows)
    try:
        target.execute(f"INSERT INTO {name} BY NAME FROM arriving")
    finally:
        target.unregister("arriving")
