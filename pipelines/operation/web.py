"""Dagster's web UI and daemon on this machine."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

from pipelines.errors import ExpectedError
from pipelines.settings import PROJECT


class PortTakenError(ExpectedError, OSError):
    """The address is in use, or may not be listened on: says why, and what to try."""


def require_free_port(host: str, port: int) -> None:
    """Raise PortTakenError if nobody could listen there."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise PortTakenError(
                f"{host}:{port}: {error.strerror}. Choose another port: earnings ui --port"
                f" {port + 1}"
            ) from error


def ui_command(host: str, port: int) -> list[str]:
    """What to start, as a process of its own, once `prepare_dagster_home` was called."""
    dagster = str(Path(sys.executable).parent / "dagster")
    workspace = str(PROJECT / "workspace.yaml")
    return [
        *(dagster, "dev", "-w", workspace),
        *("-h", host, "-p", str(port)),
        *("--log-level", "warning"),
    ]
