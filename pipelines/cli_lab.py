"""The researcher's commands: studies that leave tables, plots and a page in a folder, and change
nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

import click

from pipelines.console import ERR, OUT, option, print_json, short
from pipelines.lab.report import Report

_F = TypeVar("_F", bound=Callable[..., Any])


class _Studies(click.Group):
    """Finds a study when it is asked for: each brings heavy libraries of its own."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(STUDIES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in STUDIES:
            return None
        command: click.Command = import_module(f"pipelines.lab.{cmd_name}").command
        return command


STUDIES = ("knobs", "market", "rewards", "competition", "arms")


@click.group(cls=_Studies)
def lab() -> None:
    """Studies: what the documents claim, and what your platform's own data say. Nothing is paid or
    changed.
    """


def into_folder(name: str) -> Callable[[_F], _F]:
    """The option of every study: where its files go."""
    return option(
        "--out",
        "folder",
        type=click.Path(file_okay=False, path_type=Path),
        default=Path("lab") / name,
        help="Folder of the files.",
    )


def finish(report: Report, as_json: bool) -> None:
    """Write the page, and say what came out."""
    page = report.write()
    if as_json:
        claims = [{"claim": c.says, "holds": c.holds, "figures": c.shown} for c in report.claims]
        print_json({"title": report.title, "folder": str(report.folder), "claims": claims})
        return
    for c in report.claims:
        OUT.print(
            f"{'[green]yes[/]' if c.holds else '[yellow]no [/]'}  {c.says}\n     [dim]{c.shown}[/]"
        )
    OUT.print(f"{short(page)}: the whole study, with tables and plots")


def progress(text: str) -> None:
    """One line on standard error."""
    ERR.print(f"[dim]{text}[/]")
