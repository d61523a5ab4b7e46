"""What every command of `earnings` shares: consoles, options, and how a result is printed."""

from __future__ import annotations

import json
import shutil
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
from rich.console import Console

from pipelines.settings import PROJECT, Home

# A narrow terminal wraps a wide table; rich would cut digits off the amounts.
_WIDE = max(shutil.get_terminal_size().columns, 140) if sys.stdout.isatty() else 180
OUT = Console(highlight=False, width=_WIDE)
ERR = Console(stderr=True, highlight=False, width=_WIDE)
DAY = click.DateTime(formats=["%Y-%m-%d"])

_F = TypeVar("_F", bound=Callable[..., Any])


def option(*names: str, **keywords: Any) -> Callable[[_F], _F]:
    """`click.option` that shows its default, if it has one."""
    return click.option(*names, show_default="default" in keywords, **keywords)


class Command(click.Command):
    """Refuses an option that is given twice where one counts: click takes the last, and `restate`
    would correct one day of two.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        given = Counter(self.make_parser(ctx).parse_args(args=list(args))[2])
        for parameter, times in given.items():
            if (
                times > 1
                and isinstance(parameter, click.Option)
                and not (parameter.multiple or parameter.is_flag)
            ):
                raise click.UsageError(
                    f"{parameter.opts[0]} is given {times} times, and only one of them would count",
                    ctx,
                )
        return super().parse_args(ctx, args)


as_issued_option = option(
    "--as-issued",
    type=DAY,
    help=(
        "As the warehouse was when the statement that closes this day was issued. Only a lake keeps"
        " that."
    ),
)
as_json_option = click.option(
    "--json", "as_json", is_flag=True, help="One JSON document on standard output."
)


def print_json(value: Any) -> None:
    click.echo(json.dumps(value, indent=2, default=str))


def short(path: Path) -> str:
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def home_option(home: Home) -> str:
    return "" if home.root == PROJECT / "assets_data" else f" --home {short(home.root)}"
