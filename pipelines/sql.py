"""Named SQL queries, one file each beside the code that asks them; and values as text in SQL."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from pathlib import Path


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
