"""A policy that was put together on the screen: the TOML file it would be, how it differs, and
writing it.

What belongs here: the file of a base version with some values changed, its comments kept. Nothing
that is there is ever changed: a new file, or none.
"""

from __future__ import annotations

import difflib
import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import tomlkit

from pipelines.errors import ExpectedError
from pipelines.policy import Policy, read_policy
from pipelines.settings import Home


class DraftError(ExpectedError, ValueError):
    """A file that cannot be written: says why."""


@dataclass(frozen=True)
class Draft:
    """A policy file that is not written: its name and text, and how it differs from its base."""

    file: str
    text: str
    diff: str
    policy: Policy


def draft(home: Home, base: Policy, changes: Mapping[str, Any], name: str, since: date) -> Draft:
    """The file of `base` with `changes` (by `section.field`), as a policy called `name` from
    `since` on.

    Raises
    ------
    DraftError
        The name is none, or its file is there already.
    PolicyError
        The policy as a whole makes no sense; says which key and why.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_-]{0,60}", name):
        raise DraftError(f"{name!r}: a name is small letters, digits, - and _, a letter first")
    file = f"{name}-{since}.toml"
    if (home.root / "policies" / file).exists():
        raise DraftError(f"policies/{file} is there already: choose another name or day")
    before = _source(home, base)
    document = tomlkit.parse(before)
    document["name"] = name
    document["effective_from"] = tomlkit.date(str(since))
    for field, value in changes.items():
        section, _, key = field.partition(".")
        if section not in document:
            document[section] = tomlkit.table()
        document[section][key] = value
    text = tomlkit.dumps(document)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / file
        path.write_text(text, encoding="utf-8")
        policy = read_policy(path)
    lines = difflib.unified_diff(
        before.splitlines(), text.splitlines(), base.name, f"policies/{file}", lineterm="", n=1
    )
    return Draft(file, text, "\n".join(lines), policy)


def save(home: Home, found: Draft) -> Path:
    """Write the draft into the home's `policies/`. A home that has none of its own gets the folder
    with the policies that ship, as these would not be found any more otherwise.

    Raises
    ------
    DraftError
        The file came to be meanwhile.
    """
    own = home.root / "policies"
    if not own.is_dir():
        partial = Path(tempfile.mkdtemp(dir=home.root, prefix=".policies-"))
        for path in home.policy_folder.glob("*.toml"):
            shutil.copy(path, partial / path.name)
        partial.chmod(0o755)
        partial.rename(own)
    path = own / found.file
    try:
        with path.open("x", encoding="utf-8") as stream:
            stream.write(found.text)
    except FileExistsError as error:
        raise DraftError(f"policies/{found.file} is there already") from error
    return path


def _source(home: Home, base: Policy) -> str:
    for path in sorted(home.policy_folder.glob("*.toml")):
        if read_policy(path) == base:
            return path.read_text(encoding="utf-8")
    raise DraftError(f"no file of policy {base.name!r} is in {home.policy_folder}")
