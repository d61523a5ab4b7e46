"""Who does something that is kept for ever: closing, correcting, paying."""

from __future__ import annotations

import getpass
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

TAG = "earnings/actor"
"""Tag of a run that somebody started in the web UI: the proxy's login."""

_acting: ContextVar[str | None] = ContextVar("_acting", default=None)


@contextmanager
def acting_as(login: str | None) -> Iterator[None]:
    """Whatever is done inside is done by `login`; None: by whoever `actor` says anyway.

    >>> with acting_as("ben@example.org"):
    ...     actor()
    'ben@example.org'
    """
    token = _acting.set(login or _acting.get())
    try:
        yield
    finally:
        _acting.reset(token)


def actor() -> str:
    """The login of whoever started the run in the web UI; else `EARNINGS_ACTOR`, else the user and
    machine.

    >>> os.environ["EARNINGS_ACTOR"] = " ann@example.org "
    >>> actor()
    'ann@example.org'
    >>> del os.environ["EARNINGS_ACTOR"]
    """
    if login := _acting.get():
        return login
    if named := os.environ.get("EARNINGS_ACTOR", "").strip():
        return named
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        user = f"uid {os.getuid()}"
    return f"{user}@{socket.gethostname()}"
