"""Pages of reference, printed from the code: commands, policy fields, tables, Python.

    python docs/reference.py FOLDER

They are made anew whenever the site is, so they cannot be behind the code.
"""

from __future__ import annotations

import importlib
import json
import pkgutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from pydantic import BaseModel

import solvers
from pipelines.cli.main import main as earnings
from pipelines.policy import Policy
from pipelines.schema import TABLES, as_markdown

Page = Iterator[str]


def command_line() -> Page:
    """Every command with its help, as a terminal shows it."""
    yield "# Command line"
    yield "Printed from the code. Exit codes: 0 done, 1 the data, the policy or the run is at fault, 2 wrong usage."
    yield from _command(earnings, "earnings", 2)


def _command(command: click.Command, name: str, level: int) -> Page:
    context = click.Context(command, info_name=name, max_content_width=100, terminal_width=100)
    yield f"{'#' * min(level, 4)} `{name}`"
    yield f"```text\n{command.get_help(context)}\n```"
    if isinstance(command, click.Group):
        for inner in sorted(command.commands):
            yield from _command(command.commands[inner], f"{name} {inner}", level + 1)


def policy() -> Page:
    """Every field of a policy, by section."""
    yield "# Policy fields"
    yield "Printed from the code. A policy is a TOML file; a field that is left out has its default."
    yield from _section(Policy, "")


def _section(model: type[BaseModel], name: str) -> Page:
    inner: dict[str, type[BaseModel]] = {}
    rows = ["| field | default | meaning |", "| --- | --- | --- |"]
    for field, about in model.model_fields.items():
        if isinstance(about.annotation, type) and issubclass(about.annotation, BaseModel):
            inner[f"{name}.{field}".strip(".")] = about.annotation
            continue
        default = (
            "needed"
            if about.is_required()
            else f"`{_as_json(about.get_default(call_default_factory=True))}`"
        )
        meaning = (about.description or "").replace("|", "\\|").replace("\n", " ")
        rows.append(f"| `{field}` | {default} | {meaning} |")
    yield f"## `[{name}]`" if name else "## At the top"
    if model.__doc__ and name:
        yield model.__doc__.strip()
    yield "\n".join(rows)
    for section, of in inner.items():
        yield from _section(of, section)


def _as_json(value: Any) -> str:
    return json.dumps(value, default=str).replace("|", "\\|")


def tables() -> Page:
    """Every table of the warehouse, with its columns."""
    yield "# Tables"
    yield "Printed by `earnings schema`."
    yield from map(as_markdown, TABLES.values())


def python() -> Page:
    """The readers' entry and the solvers, from their docstrings (mkdocstrings fills them in)."""
    yield "# Python"
    yield "::: creator_earnings"
    for package in pkgutil.iter_modules(solvers.__path__, "solvers."):
        face = importlib.import_module(package.name)
        if public := getattr(face, "__all__", None):
            yield f"## `{package.name}`"
            yield from (f"::: {package.name}.{name}" for name in sorted(public))


PAGES = {"command-line": command_line, "policy": policy, "tables": tables, "python": python}


def main() -> int:
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name, page in PAGES.items():
        (folder / f"{name}.md").write_text("\n\n".join(page()) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
