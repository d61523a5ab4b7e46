"""What every command of `earnings` shares: consoles, options, and how a result is printed.

Whatever is printed goes through `OUT` or `ERR`, which read no markup and no emoji out of a text and
show characters that a terminal would obey; a style is put on with `styled`. So no id, reason or
file name can break a table, end a command with a traceback or repaint a terminal.
"""

from __future__ import annotations

import json
import logging
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click
import rich.console
import rich.progress
import rich.table
from rich.text import Text

from pipelines.errors import ExpectedError
from pipelines.plain import visible
from pipelines.settings import Home

# A narrow terminal wraps a wide table; rich would cut digits off the amounts.
_WIDE = max(shutil.get_terminal_size().columns, 140) if sys.stdout.isatty() else 180


class Console(rich.console.Console):
    """Prints text as it is."""

    def __init__(self, *, stderr: bool = False) -> None:
        super().__init__(stderr=stderr, highlight=False, markup=False, emoji=False, width=_WIDE)

    def print(self, *objects: Any, **how: Any) -> None:
        """As rich prints, but a text is not broken where the console ends: a command in it must
        be there whole to be copied.
        """
        if not any(isinstance(thing, rich.table.Table) for thing in objects):
            how.setdefault("soft_wrap", True)
        super().print(*objects, **how)

    def render_str(self, text: str, **how: Any) -> Text:
        """What rich asks for whenever it meets a plain string, in a table too."""
        return Text(
            visible(text, lines=True),
            how.get("style", ""),
            justify=how.get("justify"),
            overflow=how.get("overflow"),
        )


OUT = Console()
ERR = Console(stderr=True)


class Table(rich.table.Table):
    """A table without lines; every cell is data unless it is `styled`."""

    def __init__(self, *columns: str, title: str | None = None) -> None:
        super().__init__(*columns, title=title, title_justify="left", box=None, pad_edge=False)

    def add_row(self, *cells: object, **how: Any) -> None:
        super().add_row(
            *(cell if isinstance(cell, Text) else Text(visible(cell)) for cell in cells), **how
        )


class CommandError(ExpectedError):
    """A command that cannot do what it was asked for: says why, and what to do."""


def in_order(first: Any, last: Any, names: str = "--from is after --to") -> None:
    """Raise click's error for wrong usage if two days are the wrong way round."""
    if first and last and first > last:
        raise click.UsageError(f"{names}: {first:%Y-%m-%d} and {last:%Y-%m-%d}; swap them")


def confirmed(question: str, *, yes: bool) -> None:
    """Ask before what cannot be undone. Where nobody can be asked, --yes must have said it.

    Raises
    ------
    click.UsageError
        There is no terminal, and no --yes.
    click.Abort
        The answer is no.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise click.UsageError(
            "this cannot be undone, and there is no terminal to ask at: look at what is shown, and"
            " add --yes"
        )
    click.confirm(visible(question), abort=True)


def styled(value: object, style: str) -> Text:
    """A value in a style of rich, e.g. `bold red`."""
    return Text(visible(value), style)


def print_text(text: str) -> None:
    """Print lines that are laid out already; a terminal may break them, nothing else does."""
    click.echo(visible(text, lines=True))


def print_error(error: object, word: str = "error", style: str = "bold red") -> None:
    """Print an error (or a warning) on standard error. Lines after its first are set in, so that
    none of them can be taken for a message of its own.
    """
    ERR.print(styled(f"{word}:", style), str(error).replace("\n", "\n  "))


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


class _Progress(logging.Handler):
    """Counts what the assets log: on a terminal one bar, elsewhere a line an asset."""

    def __init__(self, console: Console, partitions: int) -> None:
        super().__init__()
        self.console = console
        self.on_terminal = console.is_terminal  # the bar takes standard output for itself
        self.rows = 0
        self.began = time.monotonic()
        self.counts: Counter[str] = Counter()
        self.bar = rich.progress.Progress(
            rich.progress.TextColumn("{task.description}", markup=False),
            rich.progress.BarColumn(bar_width=30),
            rich.progress.MofNCompleteColumn(),
            rich.progress.TextColumn("{task.fields[speed]}", markup=False),
            rich.progress.TimeRemainingColumn(compact=True),
            console=console,
            transient=True,
            disable=not self.on_terminal,
        )
        self.task = self.bar.add_task("starting", total=partitions, speed="")

    def emit(self, record: logging.LogRecord) -> None:
        data = record.__dict__
        metadata, name = data["metadata"], data["asset"]
        rows = metadata.get("rows", metadata.get("entries", 0)) or 0
        self.rows += rows
        speed = self.rows / max(time.monotonic() - self.began, 1e-3)
        done = self.bar.tasks[0].completed + 1
        self.bar.update(
            self.task,
            completed=done,
            total=max(done, self.bar.tasks[0].total or 0),
            description=f"{name} {data['day']}",
            speed=f"{speed:,.0f} rows/s",
        )
        self.counts.update(
            {
                "rows": rows,
                "seconds": round(1000 * data["seconds"]),
                **{kind: metadata.get(kind) or 0 for kind in ("quarantined", "duplicates")},
            }
        )
        if data["n"] < data["of"]:
            return
        if not self.on_terminal:
            notes = [f"{self.counts['rows']:,} rows"]
            notes += [
                f"{self.counts[kind]:,} {kind}"
                for kind in ("quarantined", "duplicates")
                if self.counts[kind]
            ]
            self.console.print(
                styled(
                    f"{name:<18}{data['of']:>4}  {self.counts['seconds'] / 1000:7.2f} s "
                    f" {', '.join(notes)}",
                    "dim",
                )
            )
        self.counts.clear()


@contextmanager
def progress(console: Console, partitions: int, *, quiet: bool = False) -> Iterator[None]:
    """While a run goes on in this process: what is made now, rows a second, time left.

    Parameters
    ----------
    partitions
        How many days (weeks, months) of assets there are to make.
    quiet
        Show nothing.
    """
    logger = logging.getLogger("earnings.progress")
    logger.setLevel(logging.INFO)
    logger.propagate = False
    if quiet:
        yield
        return
    handler = _Progress(console, partitions)
    logger.addHandler(handler)
    try:
        with handler.bar:
            yield
    finally:
        logger.removeHandler(handler)


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
    """One JSON document, in ASCII: nothing in it is obeyed by a terminal."""
    click.echo(json.dumps(value, indent=2, default=str))


def short(path: Path) -> str:
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def home_option(home: Home) -> str:
    return "" if home.root == Home.default().resolve() else f" --home {short(home.root)}"


def print_summary(summary: dict[str, Any], as_json: bool) -> None:
    """Print figures by name, a line each."""
    if as_json:
        print_json(summary)
        return
    for key, value in summary.items():
        OUT.print(f"{key}: {value}")
