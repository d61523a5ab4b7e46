"""What is noted of rows as they are written."""

import duckdb
import pytest

from pipelines.schema import TABLES
from pipelines.store.contents import line_of

WITH_FLOATS = [t.name for t in TABLES.values() if any(c.type == "DOUBLE" for c in t.columns)]


@pytest.mark.parametrize("name", WITH_FLOATS)
def test_a_zero_that_loses_its_sign_in_storage_is_the_same_content(name):
    table = TABLES[name]

    def line(zero: str) -> str:
        values = (
            f"{zero if c.type == 'DOUBLE' else 'NULL'}::{c.type} AS {c.name}" for c in table.columns
        )
        with duckdb.connect() as con:
            [(found,)] = con.execute(
                f"SELECT {line_of(table)} FROM (SELECT {', '.join(values)})"
            ).fetchall()
        return found

    assert line("'-0.0'") == line("'0.0'") != line("'0.5'")
