"""Rows of a warehouse on another connection, where days are made without touching it: a study's
memory, a replay's temporary home.
"""

from __future__ import annotations

from typing import Any

from pipelines.store.warehouse import Connection


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
