"""The researcher's commands: studies that leave tables, plots and a page in a folder, and change
nothing.
"""

from __future__ import annotations

from importlib import import_module

import click


class _Studies(click.Group):
    """Finds a study when it is asked for: each brings heavy libraries of its own."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(STUDIES)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in STUDIES:
            return None
        command: click.Command = import_module(f"pipelines.lab.{cmd_name}").command
        return command


STUDIES = ("knobs", "market", "rewards", "competition", "arms", "gaming")


@click.group(cls=_Studies)
def lab() -> None:
    """Studies: what the documents claim, and what your platform's own data say. Nothing is paid or
    changed.
    """
