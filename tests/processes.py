"""Processes of their own, forked from one that has imported what others wrote and nothing of ours.

What our own modules need and do not import themselves is missing there, as in any new process; but
Dagster, pandas and the like are imported once, not once a process: of the two seconds of CPU that
`earnings status` of a small home takes most go into that.
"""

from __future__ import annotations

import atexit
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO

PROJECT = Path(__file__).parents[1]
COMMAND = "from pipelines.cli.main import main; main()"

_SERVER = """
import atexit, importlib, json, os, signal, socket, sys, traceback
for name in (
    "duckdb", "numpy", "scipy.optimize", "scipy.sparse", "scipy.special", "pandas",
    "pyarrow.compute", "pyarrow.parquet", "pydantic", "click", "rich.console", "jinja2",
    "dagster", "dagster._core.execution.execute_in_process", "dagster._core.storage.sqlite_storage",
    "dagster._core.run_coordinator.queued_run_coordinator", "alembic.command",
):
    importlib.import_module(name)
ours = [name for name in sys.modules if name.split(".")[0] in ("pipelines", "solvers", "tests")]
assert not ours, ours
calls = socket.socket(fileno=int(sys.argv[1]))
signal.signal(signal.SIGINT, signal.SIG_IGN)
signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those that wait

def child(asked):
    os.environ.clear()
    os.environ.update(asked["environment"])
    os.chdir(asked["folder"])
    sys.argv = asked["words"]
    sys.path[:] = asked["path"]
    sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w")
    ended = 0
    try:
        exec(compile(asked["code"], "<code>", "exec"), {"__name__": "__main__"})
    except SystemExit as error:
        ended = error.code if isinstance(error.code, int) else int(error.code is not None)
        if isinstance(error.code, str):
            print(error.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
        ended = 1
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(ended)

while True:
    message, given, _, _ = socket.recv_fds(calls, 1 << 20, 4)
    if not message:
        os._exit(0)
    if os.fork():
        for one in given:
            os.close(one)
        continue
    calls.close()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    pid = os.fork()
    if not pid:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for place, one in enumerate(given[:3]):
            os.dup2(one, place)
        for one in given:
            os.close(one)
        child(json.loads(message))
    for one in given[:3]:
        os.close(one)
    os.write(given[3], b"%d\\n" % pid)
    ended = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    os.write(given[3], b"%d\\n" % ended)
    os._exit(0)
"""


@cache
def _server() -> socket.socket:
    here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    environment = {
        k: v for k, v in os.environ.items() if not k.startswith(("EARNINGS_", "DAGSTER"))
    }
    subprocess.Popen(
        [sys.executable, "-c", _SERVER, str(there.fileno())],
        pass_fds=[there.fileno()],
        env={**environment, "DAGSTER_DISABLE_TELEMETRY": "yes"},
        stdin=subprocess.DEVNULL,
    )
    there.close()
    atexit.register(here.close)  # the server ends with it
    return here


@dataclass
class Process:
    """One that runs, as `subprocess.Popen` gives it. What it writes may be read while it runs."""

    pid: int
    stdin: IO[str]
    stdout: IO[str]
    stderr: IO[str]
    _status: IO[bytes]
    _ended: int | None = None

    def wait(self) -> int:
        if self._ended is None:
            self.stdin.close()
            self._ended = int(self._status.readline())
        return self._ended

    def send_signal(self, number: int) -> None:
        if self._ended is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def start(
    code: str,
    *words: str,
    environment: Mapping[str, str] | None = None,
    folder: Path = PROJECT,
) -> Process:
    """Run code in a process of its own; `words` are its arguments. Its standard output is a pipe,
    its errors a file.
    """
    inlet, stdin = os.pipe()
    stdout, outlet = os.pipe()
    status, told = os.pipe()
    errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - whoever asked closes it
    asked = {
        "code": code,
        "words": ["earnings", *words],
        "environment": dict(os.environ if environment is None else environment),
        "folder": str(folder),
        "path": [str(folder), *(p for p in sys.path if p)],
    }
    socket.send_fds(_server(), [json.dumps(asked).encode()], [inlet, outlet, errors.fileno(), told])
    for one in (inlet, outlet, told):
        os.close(one)
    said = os.fdopen(status, "rb")
    return Process(int(said.readline()), os.fdopen(stdin, "w"), os.fdopen(stdout), errors, said)


def run(
    code: str,
    *words: str,
    environment: Mapping[str, str] | None = None,
    said: str = "",
    folder: Path = PROJECT,
) -> subprocess.CompletedProcess[str]:
    """Run code to its end. `said` is what it reads from its standard input."""
    process = start(code, *words, environment=environment, folder=folder)
    with process.stdin as stdin:
        stdin.write(said)
    with process.stdout as stdout:
        output = stdout.read()
    ended = process.wait()
    with process.stderr as stderr:
        stderr.seek(0)
        return subprocess.CompletedProcess(words, ended, output, stderr.read())
