"""A real PostgreSQL of the tests' own, and lakes in it; everything here is skipped where there is
none, and says how to get one.
"""

from __future__ import annotations

import getpass
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from pipelines.assets import ASSETS
from pipelines.ledger.verification import verify
from pipelines.runs.daily import Day
from pipelines.settings import Home
from pipelines.sources.simulator.simulate import simulate
from pipelines.store.file_store import Claim
from pipelines.store.warehouse import Warehouse
from tests.cases.five_days import FIRST, SETTINGS, deliver_late, make_days

PASSWORD = "a password that must be seen nowhere"
EXTENSIONS = ("ducklake", "postgres_scanner", "httpfs", "aws")
HOW = (
    "PostgreSQL's programs and the extra `lake` are needed: apt-get install postgresql; pip install"
    " -e '.[lake]'; pytest -m lake"
)
DAYS = [FIRST, FIRST.replace(day=2)]
LAST = ("ledger_entries", "creator_earnings")


def _programs() -> Path | None:
    """The folder with initdb: Debian keeps it off the path."""
    folders = [
        *sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True),
        *map(Path, os.environ.get("PATH", "").split(":")),
    ]
    return next(
        (
            folder
            for folder in folders
            if (folder / "initdb").exists() and (folder / "postgres").exists()
        ),
        None,
    )


@pytest.fixture(scope="session", autouse=True)
def lake_is_possible() -> Path:
    programs = _programs()
    if programs and all(find_spec(f"duckdb_extension_{name}") for name in EXTENSIONS):
        return programs
    if os.environ.get("EARNINGS_REQUIRE_LAKE"):
        pytest.fail(HOW)
    pytest.skip(HOW)


@dataclass
class Server:
    """A PostgreSQL that listens on the loopback address only."""

    programs: Path
    folder: Path
    port: int
    user: str

    def _run(
        self, program: str, *arguments: str, user: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PGPASSWORD": PASSWORD, "LC_ALL": "C.UTF-8"}
        return subprocess.run(
            [str(self.programs / program), *arguments],
            check=True,
            text=True,
            capture_output=True,
            user=user,
            env=environment,
            cwd="/",
        )

    def make(self) -> None:
        (self.folder / "password").write_text(PASSWORD)
        for path in (self.folder, self.folder / "password"):
            shutil.chown(path, self.user)
        self._run(
            "initdb", "-D", f"{self.folder}/data", "-U", "owner", "-A", "scram-sha-256", f"--pwfile={self.folder}/password", "-N",
            "-E", "UTF8", "--locale=C.UTF-8", user=self.user,
        )  # fmt: skip
        self.start()

    def start(self) -> None:
        # Without fsync: these servers are stopped and killed, but the machine under them is not.
        options = (
            f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c"
            " fsync=off -c max_connections=60"
        )
        self._run(
            "pg_ctl",
            "-D",
            f"{self.folder}/data",
            "-w",
            "-l",
            f"{self.folder}/log",
            "-o",
            options,
            "start",
            user=self.user,
        )

    def stop(self) -> None:
        """At once, without the politeness of ending sessions: as when it crashes."""
        self._run(
            "pg_ctl", "-D", f"{self.folder}/data", "-w", "-m", "immediate", "stop", user=self.user
        )

    def ask(self, sql: str, database: str = "postgres", role: str = "owner") -> str:
        """What psql prints."""
        return self._run(
            "psql", "-X", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", sql, self.dsn(database, role)
        ).stdout.strip()

    def dsn(self, database: str, role: str = "owner") -> str:
        return f"host=127.0.0.1 port={self.port} dbname={database} user={role}"


@pytest.fixture(scope="session")
def server(lake_is_possible: Path) -> Iterator[Server]:
    """Stopped at the end, whatever happened."""
    root = getpass.getuser() == "root"  # as root it will not run
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folder = Path(tempfile.mkdtemp(prefix="earnings-postgres-"))
    names = {entry.pw_name for entry in pwd.getpwall()}
    found = Server(
        lake_is_possible,
        folder,
        port,
        "postgres" if root and "postgres" in names else "nobody" if root else getpass.getuser(),
    )
    try:
        found.make()
        yield found
    finally:
        with suppress(subprocess.CalledProcessError):  # it was never started
            found.stop()
        shutil.rmtree(folder, ignore_errors=True)


@dataclass
class Lakes:
    """Makes homes whose warehouse is a lake of their own."""

    server: Server
    root: Path
    numbers: Iterator[int]

    def new(
        self, landed: Path | None = None, *, like: Home | None = None, data: str = "lake"
    ) -> Home:
        """An empty lake, with the landing folder of a home; or a copy of the lake `like` as it is
        now.
        """
        name = f"lake_{os.getpid()}_{next(self.numbers)}"
        home = Home.at(self.root / name)
        if like:
            shutil.copytree(like.root, home.root)
            self.server.ask(f"CREATE DATABASE {name} TEMPLATE {like.root.name}")
            self.server.ask(
                f"UPDATE ducklake_metadata SET value = '{home.root}/lake/' WHERE key = 'data_path'",
                name,
            )
        else:
            home.root.mkdir()
            for folder in ("landing", "late") if landed else ():
                shutil.copytree(landed / folder, home.root / folder)
            self.server.ask(f"CREATE DATABASE {name}")
        address = (
            f"ducklake:postgres:{self.server.dsn(name)} password=${{LAKE_PASSWORD}}?data={data}"
        )
        (home.root / "settings.toml").write_text(
            f"{SETTINGS.replace('seconds = 5', 'seconds = 20')}quarantine_limit = 0.5\nwarehouse ="
            f' "{address}"\n'
        )
        return home


@pytest.fixture(scope="session")
def lakes(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Lakes:
    os.environ["LAKE_PASSWORD"] = PASSWORD
    return Lakes(server, tmp_path_factory.mktemp("lakes"), count(1))


@pytest.fixture(scope="session")
def landed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two small landed days, and a late delivery beside them."""
    root = tmp_path_factory.mktemp("landed")
    sizes = {"events_per_day": 60, "viewers": 30, "creators": 5, "videos": 10}
    simulate(
        root / "landing",
        first_day=FIRST,
        days=len(DAYS),
        seed=5,
        late_share=0.1,
        rotten_share=0.0,
        format="csv.gz",
        **sizes,
    )
    rotten = b"gift_id,ts,viewer_id,video_id,coins,premium\nbad\x00id,never,u0000001,v0000001,-1,perhaps\n"
    (root / "landing" / "gifts" / FIRST.isoformat() / "rotten.csv").write_bytes(
        rotten
    )  # PostgreSQL's texts hold no such byte
    return root


@pytest.fixture(scope="session")
def file_home(landed: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Home]:
    """Homes with the same landing folder, whose warehouse is a file."""

    def make(name: str) -> Home:
        root = shutil.copytree(landed, tmp_path_factory.mktemp("file") / name)
        (root / "settings.toml").write_text(f"{SETTINGS}quarantine_limit = 0.5\n")
        return Home.at(root)

    return make


@pytest.fixture(scope="session")
def undisturbed(file_home: Callable[..., Home]) -> str:
    """The ledger's head after both days, made one after the other in one file."""
    home = file_home("undisturbed")
    make_days(home, DAYS)
    return head(home)


@pytest.fixture(scope="session")
def before_ledger(lakes: Lakes, landed: Path) -> Home:
    """A lake in which the first day is made up to the payouts; nothing is in the ledger. Do not
    write to it; `lakes.new(like=...)`.
    """
    home = lakes.new(landed)
    make(home, [FIRST], without=LAST)
    return home


def make(
    home: Home, days: Iterable[Any], *, only: Iterable[str] = (), without: Iterable[str] = ()
) -> None:
    """Make days asset by asset, each with the claim that the pipeline takes for it, done again when
    somebody got in between.
    """
    house = Warehouse(home)
    with house.kept_open(), house.by_day() as by_day:
        for asset in (a for a in ASSETS if a.name not in without and (not only or a.name in only)):
            for day in days:
                claim = Claim(day, asset.name if asset.in_order else None)
                by_day.work(
                    claim,
                    lambda con, asset=asset, day=day: asset.make(
                        Day(con, day, house, home.policies.in_force(day))
                    ),
                )


def head(home: Home) -> str:
    with Warehouse(home).open(read_only=True) as con:
        found = verify(con)
    assert found.findings == ()
    return found.head


__all__ = ["DAYS", "LAST", "PASSWORD", "Lakes", "Server", "deliver_late", "head", "make"]
