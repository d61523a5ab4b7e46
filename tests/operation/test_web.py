"""The web UI's address."""

from __future__ import annotations

import json
import socket
import sys
import threading
import time
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from pipelines.operation import web
from pipelines.operation.web import (
    PortTakenError,
    UiRunningError,
    only_one,
    reload_assets,
    require_free_port,
    serve,
    ui_command,
)
from tests.conftest import DAY, Platform


def test_a_port_that_somebody_listens_on_is_refused() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(PortTakenError, match=rf"127.0.0.1:{port}: .* --port {port + 1}"):
            require_free_port("127.0.0.1", port)
    require_free_port("127.0.0.1", port)


def test_the_ui_reads_the_workspace_that_ships() -> None:
    command = ui_command("127.0.0.1", 3000)
    assert command[1:3] == ["dev", "-w"]
    with open(command[3]) as workspace:
        assert "pipelines.definitions" in workspace.read()


def test_a_second_ui_of_a_home_is_refused(platform: Platform) -> None:
    platform.home.dagster.mkdir(parents=True)
    with (
        only_one(platform.home, "http://127.0.0.1:3000"),
        pytest.raises(UiRunningError, match=r"already, http://127.0.0.1:3000 \(process \d+\)"),
        only_one(platform.home, "http://127.0.0.1:3001"),
    ):
        pass
    with only_one(platform.home, "http://127.0.0.1:3001"):
        pass


class _Ui(BaseHTTPRequestHandler):
    asked: list[str] = []  # noqa: RUF012

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.asked.append(body["query"])
        self.send_response(200)
        self.end_headers()
        answer = {"data": {"reloadRepositoryLocation": {"__typename": "WorkspaceLocationEntry"}}}
        self.wfile.write(json.dumps(answer).encode())

    def log_message(self, *_: object) -> None:
        pass


def test_days_that_land_while_the_ui_runs_are_loaded(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    platform.home.dagster.mkdir(parents=True)
    platform.known(DAY)
    platform.land("gifts", [], DAY)
    server = HTTPServer(("127.0.0.1", 0), _Ui)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    waiting = [sys.executable, "-c", "import time; time.sleep(4)"]
    monkeypatch.setattr(web, "ui_command", lambda *_: waiting)
    monkeypatch.setattr(web, "LOOK_EVERY", 0.1)
    monkeypatch.setattr(web.signal, "signal", lambda *_: None)

    def land() -> None:
        time.sleep(1)
        assert _Ui.asked == []
        platform.land("gifts", [], DAY + timedelta(days=1))

    landing = threading.Thread(target=land)
    landing.start()
    with only_one(platform.home, "x") as place:
        assert serve(platform.home, "127.0.0.1", server.server_port, place) == 0
    landing.join()
    server.shutdown()
    assert len(_Ui.asked) == 1
    assert "reloadRepositoryLocation" in _Ui.asked[0]
    assert not reload_assets("127.0.0.1", 1)
