"""What a shell is told when somebody presses Tab: ids and names that the home has."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path

import click

from pipelines.errors import ExpectedError
from pipelines.settings import Home

_MOST = 50
Completer = Callable[[click.Context, click.Parameter, str], list[str]]


def ids(*columns: tuple[str, str]) -> Completer:
    """Ids that begin as what was typed, from columns of tables as readers see them."""

    def complete(ctx: click.Context, _: click.Parameter, typed: str) -> list[str]:
        from pipelines.store.warehouse import Warehouse

        asked = " UNION ".join(
            f"SELECT {column} AS id FROM {table} WHERE starts_with({column}, $typed)"
            for table, column in columns
        )
        try:
            with Warehouse(_home(ctx)).read() as con:
                rows = con.execute(
                    f"{asked} ORDER BY id LIMIT {_MOST}", {"typed": typed}
                ).fetchall()
        except (ExpectedError, OSError):  # nothing was made yet: nothing to offer
            return []
        return [str(row[0]) for row in rows]

    return complete


def policies(ctx: click.Context, _: click.Parameter, typed: str) -> list[str]:
    """Names of the home's policies."""
    names = set()
    for path in sorted(_home(ctx).policy_folder.glob("*.toml")):
        try:
            names.add(str(tomllib.loads(path.read_text(encoding="utf-8"))["name"]))
        except (OSError, ValueError, KeyError):  # a run says what is wrong with it
            continue
    return sorted(name for name in names if name.startswith(typed))


def _home(ctx: click.Context) -> Home:
    """The home that the line on which Tab was pressed is about."""
    named: Path | None = ctx.find_root().params.get("home")
    return Home.at(named) if named else Home.here()
