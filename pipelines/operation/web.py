"""Dagster's web UI and daemon on this machine: one for a home, with the days as they are."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import date
from pathlib import Path
from typing import IO

from pipelines.errors import ExpectedError
from pipelines.operation.running import LOCATION
from pipelines.settings import PROJECT, Home

LOOK_EVERY = 10  # seconds between two looks at the calendar


class PortTakenError(ExpectedError, OSError):
    """The address is in use, or may not be listened on: says why, and what to try."""


class UiRunningError(ExpectedError, RuntimeError):
    """The home has a web UI already: says where."""


@contextmanager
def only_one(home: Home, address: str) -> Iterator[IO[str]]:
    """The home's place for a web UI: two daemons on one home would start every run twice.

    Yields the open file that is the lock; whoever inherits it holds the place too.

    Raises
    ------
    UiRunningError
        Another one has it.
    """
    with (home.dagster / ".ui").open("a+", encoding="utf-8") as place:
        try:
            fcntl.flock(place, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            place.seek(0)
            raise UiRunningError(
                f"{home.root}: its web UI runs already, {place.read().strip() or 'somewhere'}. Use"
                " that one, or stop it first: two would start every scheduled run twice."
            ) from error
        place.truncate(0)
        place.write(f"{address} (process {os.getpid()})")
        place.flush()
        yield place


def serve(home: Home, host: str, port: int, place: IO[str]) -> int:
    """Run the web UI and the daemon until they end; the code of their end.

    Days that land meanwhile are seen: when the calendar has changed, the UI is told to load the
    assets again.
    """
    process = subprocess.Popen(ui_command(host, port), cwd=home.dagster, pass_fds=[place.fileno()])
    signal.signal(signal.SIGTERM, lambda *_: process.terminate())
    known = _calendar(home)
    while process.poll() is None:
        try:
            with suppress(subprocess.TimeoutExpired):
                process.wait(LOOK_EVERY)
            now = _calendar(home)
            if now != known and process.poll() is None and reload_assets(host, port):
                known = now
        except KeyboardInterrupt:  # the terminal tells the other process too
            continue
    return process.returncode


def _calendar(home: Home) -> tuple[date, date | None] | None:
    """What the assets' partitions are made from; an open calendar grows by itself. None while the
    settings cannot be read.
    """
    fresh = Home.at(home.root)  # settings may have changed
    try:
        first, last = fresh.calendar()
        return first, None if fresh.settings.last_day == "open" else last
    except ExpectedError:
        return None


def reload_assets(host: str, port: int) -> bool:
    """Tell the web UI to load the assets again; whether it did."""
    mutation = (
        "mutation { reloadRepositoryLocation(repositoryLocationName: "
        f'"{LOCATION}") {{ __typename }} }}'
    )
    request = urllib.request.Request(
        f"http://{host}:{port}/graphql",
        json.dumps({"query": mutation}).encode(),
        {"Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            answered = json.load(answer)
    except (OSError, ValueError):  # it is starting, or ending; asked again
        return False
    return bool(
        answered.get("data", {}).get("reloadRepositoryLocation", {}).get("__typename")
        == "WorkspaceLocationEntry"
    )


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
