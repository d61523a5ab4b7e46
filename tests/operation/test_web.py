"""The web UI's address."""

from __future__ import annotations

import socket

import pytest

from pipelines.operation.web import PortTakenError, require_free_port, ui_command


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
