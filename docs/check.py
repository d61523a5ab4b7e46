"""Run the commands of a document literally, one after the other, in a copy of the repository: what
a newcomer would do.

    python docs/check.py README.md docs/operations.md

Runs the lines of blocks marked `sh`, and of indented blocks whose lines all begin with a command of
this project. What does not end, changes this environment or needs what is not here is left out, and
printed. One shell a document, so that variables hold; the first command that fails ends it.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
COMMANDS = ("earnings", "python", "cp", "deploy/", "make")
LEFT_OUT = re.compile(
    r"^make |earnings .*\b(ui|studio|shadow confirm)\b|import kuairand|python -m"
    r" benchmarks|/tmp/million|my_landing|/srv/|deploy/\.env|deploy/tls"
    r"|--refresh|--movielens"
)
COPIED = (
    "assets_data",
    "docs",
    "deploy",
    "benchmarks",
    "workspace.yaml",
    "dagster.yaml",
    "pipelines",
    "solvers",
    "creator_earnings",
    "tests",
)


def commands(text: str) -> Iterator[str]:
    r"""Commands of a document in its order; comments after two spaces and a # are cut off.

    >>> list(commands("    earnings run      # all\n\nor\n```sh\necho 1\n```\n```text\nls\n```\n    SELECT 1\n"))
    ['earnings run', 'echo 1']
    """
    for found in re.finditer(
        r"^```(\w*)\n(.*?)^```|(?:^ {4}\S[^\n]*\n)+", text, re.MULTILINE | re.DOTALL
    ):
        lines = [
            re.sub(r"\s{2,}#.*$", "", line.strip())
            for line in (found[2] or found[0]).split("\n")
            if line.strip()
        ]
        if found[1] == "sh" or (
            found[2] is None and all(line.startswith(COMMANDS) for line in lines)
        ):
            yield from lines


# What a reader has done before the first command that is run here.
_FIRST_DAY = tuple(
    command
    for command in commands((PROJECT / "docs/tutorial/first-day.md").read_text(encoding="utf-8"))
    if "import" in command or "export" in command or command == "earnings run"
)
BEFORE = {
    "README.md": ("earnings demo",),
    "docs/data.md": ("earnings demo",),
    "docs/tutorial/first-payment.md": _FIRST_DAY,
    "docs/tutorial/first-policy.md": _FIRST_DAY,
}


def run(document: Path) -> bool:
    """Run a document's commands in a copy; True if all of them end with exit code 0."""
    with tempfile.TemporaryDirectory() as folder:
        for name in COPIED:
            source = PROJECT / name
            if source.is_dir():
                shutil.copytree(
                    source,
                    Path(folder, name),
                    ignore=shutil.ignore_patterns(
                        "landing", ".dagster", "*.duckdb*", "__pycache__"
                    ),
                )
            else:
                shutil.copy(source, folder)
        environment = os.environ | {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "EARNINGS_HOME": f"{folder}/assets_data",
        }
        with subprocess.Popen(
            ["bash"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=folder,
            env=environment,
        ) as shell:
            assert shell.stdin is not None
            assert shell.stdout is not None
            for command in (
                *BEFORE.get(str(document.relative_to(PROJECT)), ()),
                *commands(document.read_text(encoding="utf-8")),
            ):
                if LEFT_OUT.search(command):
                    print(f"  left out         {command}")
                    continue
                began = time.monotonic()
                answer = (
                    "yes | "
                    if " restate " in command and "--yes" not in command and "--json" not in command
                    else ""
                )
                shell.stdin.write(f"{{ {answer}{command}; }} > output.log 2>&1; echo $?\n")
                shell.stdin.flush()
                code = shell.stdout.readline().strip()
                print(
                    f"  {'ok' if code == '0' else 'FAILED ' + code:<9}{time.monotonic() - began:5.1f}"
                    f" s  {command}",
                    flush=True,
                )
                if code != "0":
                    print(Path(folder, "output.log").read_text(encoding="utf-8"))
                    shell.kill()
                    return False
            shell.stdin.close()
    return True


def main() -> int:
    documents = [PROJECT / name for name in sys.argv[1:] or ("README.md", "docs/operations.md")]
    results = []
    for document in documents:
        print(document.relative_to(PROJECT))
        results.append(run(document))
    return 0 if all(results) else 1


if __name__ == "__main__":
    raise SystemExit(main())
