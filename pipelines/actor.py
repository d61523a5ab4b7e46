"""Who does something that is kept for ever: closing, correcting, paying."""

from __future__ import annotations

import getpass
import os
import socket


def actor() -> str:
    """`EARNINGS_ACTOR`, which a server sets from its login; else the user and machine.

    >>> os.environ["EARNINGS_ACTOR"] = " ann@example.org "
    >>> actor()
    'ann@example.org'
    >>> del os.environ["EARNINGS_ACTOR"]
    """
    if named := os.environ.get("EARNINGS_ACTOR", "").strip():
        return named
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        user = f"uid {os.getuid()}"
    return f"{user}@{socket.gethostname()}"
