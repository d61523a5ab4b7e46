"""Named SQL queries, one file each, read by name."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from pathlib import Path


@cache
def query(name: str) -> str:
    """Text of `queries/<name>.sql`."""
    return files(__name__).joinpath(f"{name}.sql").read_text(encoding="utf-8")


def as_text(value: str | Path) -> str:
    """The value as a text in SQL, for statements that take no parameters.

    >>> as_text("Ann's")
    "'Ann''s'"
    """
    return "'" + str(value).replace("'", "''") + "'"
