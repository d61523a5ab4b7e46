"""The command: shows demonstrations, and puts their tables into the document."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import click

from formulas.register import DEMONSTRATIONS

DOCUMENT = Path(__file__).resolve().parents[1] / "formulas.md"


def summary(name: str) -> str:
    summary = (DEMONSTRATIONS[name].__doc__ or "").strip().split("\n\n")[0]
    return " ".join(summary.split())


_BLOCK = re.compile(r"```text\n\$ python docs/formulas\.py (\S+)\n.*?```", re.DOTALL)


def block(name: str) -> str:
    """The table as it stands in the document."""
    return f"```text\n$ python docs/formulas.py {name}\n{DEMONSTRATIONS[name]().text()}\n```"


def refreshed(document: str) -> str:
    """The document with every table computed anew."""
    return _BLOCK.sub(lambda found: block(found[1]), document)


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.argument("names", nargs=-1, metavar="[NAME]... | all")
@click.option("--list", "show_list", is_flag=True, help="Names, and what each one shows.")
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="One JSON document with unrounded numbers instead of tables.",
)
@click.option(
    "--refresh",
    is_flag=True,
    help="Compute every table in docs/formulas.md anew and write it there.",
)
def main(names: tuple[str, ...], show_list: bool, as_json: bool, refresh: bool) -> None:
    """Show in numbers what a formula does as printed and as built.

    Every NAME builds a small seeded world, runs the project's own solvers or scoring query on it,
    and prints a table and the claim it supports. docs/formulas.md explains the formulas and shows
    the same tables.

    \b
    python docs/formulas.py --list                   what there is
    python docs/formulas.py lambda-knob              one table
    python docs/formulas.py like-bots mimic-bots     two
    python docs/formulas.py all --json | jq '."prior-mass".rows'

    A changed policy file or formula changes the tables: look at `all`, then `--refresh` the
    document.
    """
    if show_list or not (names or refresh):
        if as_json:
            click.echo(json.dumps({name: summary(name) for name in DEMONSTRATIONS}, indent=2))
            return
        width = max(map(len, DEMONSTRATIONS))
        for name in DEMONSTRATIONS:
            click.echo(f"{name:{width}}  {summary(name)}")
        return
    if refresh:
        DOCUMENT.write_text(refreshed(DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")
    chosen = list(DEMONSTRATIONS) if "all" in names else list(names)
    if unknown := [name for name in chosen if name not in DEMONSTRATIONS]:
        raise click.UsageError(
            f"no demonstration is called {', '.join(unknown)}; --list shows what there is"
        )
    if as_json:
        found = {name: DEMONSTRATIONS[name]() for name in chosen}
        click.echo(
            json.dumps(
                {
                    n: {"shows": summary(n), "claim": f.claim, "rows": f.records()}
                    for n, f in found.items()
                },
                indent=2,
            )
        )
        return
    for i, name in enumerate(chosen):
        heading = f"{name}: {summary(name)}\n\n" if sys.stdout.isatty() or len(chosen) > 1 else ""
        click.echo(("\n" if i else "") + heading + DEMONSTRATIONS[name]().text())
