"""The published copy of the warehouse, which a study reads: it neither waits for a run nor stops one.

What belongs here: opening it, and saying so when there is none. Copying a day out of it to pay it again is in `trial`.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import duckdb

from pipelines.errors import ExpectedError
from pipelines.settings import Home
from pipelines.warehouse import Connection


class NothingPublishedError(ExpectedError, LookupError):
    """There is no published copy: says where, and the command that makes it."""


@contextmanager
def reading(home: Home) -> Iterator[Connection]:
    """A connection to the home's published copy that cannot write."""
    if not home.published.exists():
        raise NothingPublishedError(f"{home.published}: there is no published copy yet. Make it first: earnings run")
    con = duckdb.connect(str(home.published), read_only=True)
    try:
        yield con
    finally:
        con.close()
