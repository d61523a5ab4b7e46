"""Heads leave the house: after each closing and payment the hash of its transaction goes to a place
that the warehouse's own users cannot rewrite, and verification reads it back.

What belongs here: writing to the witness and comparing with it. A chain proves that nothing inside
it was changed; that it was not rewritten as a whole, or cut off, only somebody else can tell.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pipelines.errors import ExpectedError
from pipelines.settings import Home
from pipelines.store.warehouse import Connection, Warehouse

_KINDS = ("statement", "payment", "settlement")
_SECONDS = 60


class WitnessError(ExpectedError, RuntimeError):
    """The witness cannot be told or asked: says why. What was committed stays."""


@dataclass(frozen=True)
class Head:
    """One line of the witness: a transaction, its place in the chain, and its hash."""

    txn_id: str
    seq: int
    hash: str
    actor: str | None

    def as_line(self) -> str:
        return json.dumps(
            {"txn_id": self.txn_id, "seq": self.seq, "hash": self.hash, "actor": self.actor}
        )


def tell(con: Connection, home: Home) -> list[Head]:
    """Append what the witness does not know yet; returns it. Nothing where the home has none.

    What a process that died did not tell is told by the next closing or payment, or by `earnings
    ledger witness`.

    Raises
    ------
    WitnessError
        The file or the command refuses, or it knows another chain: that is never added to.
    """
    if not home.settings.witness.configured:
        return []
    known = witnessed(home)
    if contradictions := compare(con, known):
        raise WitnessError(f"{contradictions[0]}. See all of it: earnings ledger verify")
    names = {head.txn_id for head in known}
    new = [head for head in _heads(con) if head.txn_id not in names]
    if not new:
        return []
    lines = "".join(head.as_line() + "\n" for head in new)
    file = _file(home)
    if file:
        try:
            with file.open("a", encoding="utf-8") as stream:
                stream.write(lines)
                stream.flush()
                os.fsync(stream.fileno())
        except OSError as error:
            raise WitnessError(
                f"{file}: the witness cannot be written: {error.strerror}. What was done is"
                " committed; when it can be written again: earnings ledger witness"
            ) from error
    else:
        _run(home.settings.witness.command, lines)
    return new


def tell_witness(house: Warehouse) -> None:
    """`tell` once everything is committed and published, with a connection of its own."""
    if house.home.settings.witness.configured:
        with house.open(read_only=True) as con:
            tell(con, house.home)


def witnessed(home: Home) -> list[Head]:
    """What the witness says.

    Raises
    ------
    WitnessError
        It cannot be read, or a line of it is none.
    """
    file, ask = _file(home), home.settings.witness.read
    if file:
        try:
            text = file.read_text(encoding="utf-8") if file.exists() else ""
        except (OSError, UnicodeDecodeError) as error:
            raise WitnessError(f"{file}: the witness cannot be read: {error}") from error
    else:
        text = _run(ask, "")
    return list(_parsed(str(file or ask), text))


def compare(con: Connection, known: list[Head]) -> list[str]:
    """Every transaction that the witness knows otherwise than the ledger has it."""
    there = {head.txn_id: head for head in _heads(con)}
    findings = []
    for head in known:
        found = there.get(head.txn_id)
        if found is None:
            findings.append(
                f"the witness knows {head.txn_id}, which the ledger has not: it was cut off or"
                " rewritten"
            )
        elif (found.seq, found.hash) != (head.seq, head.hash):
            findings.append(
                f"the witness knows {head.txn_id} as number {head.seq} with hash {head.hash[:12]},"
                f" the ledger as {found.seq} with {found.hash[:12]}: it was rewritten"
            )
    return findings


def findings(con: Connection, home: Home) -> list[str]:
    """What the witness knows otherwise, and what it was not told."""
    if not home.settings.witness.configured:
        return []
    known = witnessed(home)
    names = {head.txn_id for head in known}
    return compare(con, known) + [
        f"the witness was not told of {head.txn_id}; tell it: earnings ledger witness"
        for head in _heads(con)
        if head.txn_id not in names
    ]


def _heads(con: Connection) -> list[Head]:
    rows = con.execute(
        f"SELECT txn_id, seq, hash, actor FROM ledger_transactions WHERE kind IN {_KINDS}"
        " ORDER BY seq"
    ).fetchall()
    return [Head(*row) for row in rows]


def _file(home: Home) -> Path | None:
    name = home.settings.witness.file
    return home.root / name if name else None


def _parsed(source: str, text: str) -> Iterator[Head]:
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            try:
                said = json.loads(line)
                yield Head(
                    str(said["txn_id"]), int(said["seq"]), str(said["hash"]), said.get("actor")
                )
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise WitnessError(
                    f"{source}: line {number} of the witness is none of ours: {line[:80]!r}"
                ) from error


def _run(command: str, text: str) -> str:
    try:
        done = subprocess.run(
            shlex.split(command),
            input=text,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        raise WitnessError(
            f"witness: {command}: {error}. What was done is committed; when it answers again:"
            " earnings ledger witness"
        ) from error
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise WitnessError(
            f"witness: {command}: ended with {done.returncode}{': ' + said[-1] if said else ''}."
            " What was done is committed; when it answers again: earnings ledger witness"
        )
    return done.stdout
