"""Commands in the documents are ones that exist, options included; `python docs/check.py` runs them
for real, which takes minutes.
"""

from __future__ import annotations

import importlib.util
import re
import shlex
import sys
from itertools import pairwise, takewhile
from pathlib import Path
from types import ModuleType

import click
import pytest

from pipelines.cli.main import main

PROJECT = Path(__file__).resolve().parent.parent
DOCUMENTS = sorted(
    path.relative_to(PROJECT).as_posix()
    for path in (*PROJECT.glob("*.md"), *PROJECT.glob("docs/**/*.md"))
    if path.parent.name != "reference"  # printed from the code
)


def _script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"docs_{name}", PROJECT / "docs" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


CHECK, SIZING = _script("check"), _script("sizing")


def _first_command(line: str) -> list[str]:
    """Its words, up to a pipe, a redirection or another command.

    >>> _first_command('earnings query "SELECT 2 > 1" > there && make test')
    ['earnings', 'query', 'SELECT 2 > 1']
    """
    words = shlex.shlex(line, posix=True, punctuation_chars="|>&")
    words.whitespace_split = True
    words.commenters = ""
    return list(takewhile(lambda word: set(word) - set("|>&"), words))


def _commands(document: str) -> list[str]:
    return list(CHECK.commands((PROJECT / document).read_text(encoding="utf-8")))


def _parsed(arguments: list[str]) -> None:
    """Parse down to the last subcommand, run nothing; click raises where a command, an option or a
    value is unknown.
    """
    command: click.Command = main
    context: click.Context | None = None
    while True:
        context = command.make_context(command.name or "earnings", arguments, parent=context)
        if not isinstance(command, click.Group):
            return
        _, found, arguments = command.resolve_command(
            context, [*context.protected_args, *context.args]
        )
        assert found is not None
        command = found


@pytest.mark.filterwarnings(
    "ignore:.protected_args. is deprecated"
)  # what takes its place comes with click 9
@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_command_of_a_document_exists(document: str) -> None:
    makefile = (PROJECT / "Makefile").read_text(encoding="utf-8")
    for command in _commands(document):
        words = _first_command(command)
        if words[0] == "earnings":
            try:
                _parsed(words[1:])
            except click.ClickException as error:
                if re.fullmatch(r"(Path|File) '.+' does not exist.", error.message):
                    continue  # a file that the reader brings
                pytest.fail(f"{document}: {command}: {error.format_message()}")
        elif words[0] == "make":
            assert re.search(rf"^{words[1]}:", makefile, re.MULTILINE), f"{document}: {command}"
        elif words[:2] == ["python", "-m"]:
            assert importlib.util.find_spec(words[2]), f"{document}: {command}"
        elif words[0] == "python" and words[1] != "-c":
            assert (PROJECT / words[1]).exists(), f"{document}: {command}"
        elif words[0].startswith("deploy/"):
            assert (PROJECT / words[0]).stat().st_mode & 0o100, f"{document}: {command}"


def test_the_documents_have_commands_to_check() -> None:
    without = {document for document in DOCUMENTS if not _commands(document)}
    assert without <= {"CHANGELOG.md", "docs/evidence.md"}


def test_the_map_names_every_room() -> None:
    """CONTRIBUTING has all of them, README those of the first level."""
    rooms = {
        f"{package}/{path.name}/"
        for package in ("pipelines", "solvers")
        for path in (PROJECT / package).iterdir()
        if (path / "__init__.py").exists()
    }
    contributing = (PROJECT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert {room for room in rooms if f"`{room}`" not in contributing} == set()
    readme = (PROJECT / "README.md").read_text(encoding="utf-8").split("| where | what |")[1]
    readme = readme[: readme.index("\n\n")]
    for room in rooms:
        assert f"{room.split('/')[1]}/`" in readme or f"`{room.split('/')[1]}`" in readme, room
    modules = {path.name for path in (PROJECT / "pipelines").glob("[a-z]*.py")}
    assert {name for name in modules if f"{name}`" not in contributing} == set()


def test_a_link_in_a_document_leads_somewhere() -> None:
    for document in DOCUMENTS:
        path = PROJECT / document
        for target in re.findall(r"\]\((?!https?:|#)([^)#]+)", path.read_text(encoding="utf-8")):
            assert (path.parent / target).exists(), f"{document}: {target}"


def test_what_the_sizing_computes_with_stands_in_the_measurements() -> None:
    measured = (PROJECT / "docs/performance.md").read_text(encoding="utf-8")
    for number in (
        "3.07",
        "1135014",
        "31.68",
        "138.00",
        "23.41",
        "3,557",
        "119.4",
        "0.084",
        "0.30 s",
        "48309",
        "480,706",
        "5.76",
        "18,231,895",
        "43,266,048",
    ):
        assert number in measured, number


def test_more_events_need_more_and_a_day_that_does_not_fit_says_so() -> None:
    assumed = SIZING.Assumed()
    sizes = [SIZING.size(events, assumed) for events in (1e6, 1e8, 1e9, 1e10, 1e11)]
    assert all(
        a.hours < b.hours and a.day_gb < b.day_gb and a.usd_day < b.usd_day
        for a, b in pairwise(sizes)
    )
    assert "TOO LONG" not in SIZING.report(sizes[2], assumed)
    assert "TOO LONG" in SIZING.report(sizes[-1], assumed)
    # Where only the score does not fit, Spark takes its sums on as many machines as make it fit.
    narrow = SIZING.Assumed(window_hours=1.05 * (sizes[3].load_hours + sizes[3].rest_hours))
    shared = SIZING.size(1e10, narrow)
    assert shared.spark_machines >= 1
    assert shared.hours <= narrow.window_hours + 1e-9
