"""The workbench of a small home, served; and a real browser, where there is one."""

from __future__ import annotations

import json
import os
import shutil
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from pipelines.settings import Home
from pipelines.sources.simulator.simulate import simulate
from pipelines.store.warehouse import Warehouse
from pipelines.studio.app import build
from tests.cases.five_days import make_days
from tests.whatif.test_whatif import BASE

FIRST = date(2026, 3, 2)
DAYS = [FIRST, FIRST + timedelta(days=1)]


@dataclass(frozen=True)
class Served:
    """A home's workbench at an address."""

    home: Home
    url: str

    def ask(self, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        """Status and JSON of an answer."""
        data = None if body is None else json.dumps(body).encode()
        kind = {"Content-Type": "application/json"} if data else {}
        request = urllib.request.Request(self.url + path, data, kind | headers)
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                return response.status, json.loads(response.read())
        except urllib.error.HTTPError as error:
            found = error.read()
            return error.code, json.loads(found) if found.startswith(b"{") else found.decode()


@pytest.fixture(scope="session")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Two days under a base policy, another one beside it, and the workbench on a free port."""
    home = Home.at(tmp_path_factory.mktemp("studio") / "home")
    simulate(home.landing, first_day=FIRST, days=2, seed=5, events_per_day=200, viewers=70,
             creators=60, videos=80, rotten_share=0.02)  # fmt: skip
    (home.root / "settings.toml").write_text(
        "first_day = 2026-03-02\nlast_day = 2026-03-31\nthreads = 1\nquarantine_limit = 0.5\n"
        'policy = "base"\n'
    )
    (home.root / "policies").mkdir()
    (home.root / "policies" / "base.toml").write_text(
        BASE + "# a remark\n[quality]\nprior_mass = 20.0\n[ads]\nalpha = 0.5\n"
    )
    (home.root / "policies" / "other.toml").write_text(
        'name = "other"\neffective_from = 2020-01-01\n[quality]\nprior_mass = 20.0\n[ads]\nplatform_share = 0.3\n'
    )
    make_days(home, DAYS)
    Warehouse(home).publish()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = uvicorn.Server(
        uvicorn.Config(build(home), host="127.0.0.1", port=port, log_level="error")
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    for _ in range(200):
        if server.started:
            break
        time.sleep(0.05)
    yield Served(home, f"http://127.0.0.1:{port}")
    server.should_exit = True
    thread.join(timeout=20)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Debian's Chromium. EARNINGS_REQUIRE_BROWSER forbids to do without, as in CI."""
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None and not os.environ.get("EARNINGS_REQUIRE_BROWSER"):
        pytest.skip("no chromium: apt-get install chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        chromium = play.chromium.launch(
            executable_path=found and Path(found), args=["--no-sandbox"]
        )
        yield chromium
        chromium.close()
