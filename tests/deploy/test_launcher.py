"""A run that is gone with its code server is found out, by Dagster's own monitoring; real servers,
and one that is killed.
"""

from __future__ import annotations

import json
import logging
import runpy
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.storage.tags import GRPC_INFO_TAG
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import GrpcServerTarget
from dagster._daemon.monitoring.run_monitoring import execute_run_monitoring_iteration
from dagster._grpc.client import DagsterGrpcClient

CODE = """
import time
import dagster as dg

@dg.op
def work():
    time.sleep(120)

@dg.job
def days():
    work()
"""
SETTINGS = """
run_launcher: {module: pipelines.launcher, class: WatchedRunLauncher}
run_monitoring: {enabled: true}
telemetry: {enabled: false}
"""


@contextmanager
def code_server(folder: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    command = [
        sys.executable,
        "-m",
        "dagster",
        "api",
        "grpc",
        "-f",
        str(folder / "made_days.py"),
        "-p",
        str(port),
    ]
    with subprocess.Popen(
        command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as server:
        try:
            yield server
        finally:
            server.kill()


def wait_for(port: int) -> None:
    deadline = time.monotonic() + 60
    while DagsterGrpcClient(port=port).health_check_query() != "SERVING":
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.slow
def test_a_run_that_went_with_its_server_is_marked_as_failed(tmp_path: Path) -> None:
    (tmp_path / "made_days.py").write_text(CODE)
    (tmp_path / "dagster.yaml").write_text(SETTINGS)
    days = runpy.run_path(str(tmp_path / "made_days.py"))["days"]
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:

        def watched(run: dg.DagsterRun) -> dg.DagsterRunStatus:
            with WorkspaceProcessContext(instance, None) as nobody:
                assert (
                    list(
                        filter(None, execute_run_monitoring_iteration(nobody, logging.getLogger()))
                    )
                    == []
                )
            found = instance.get_run_by_id(run.run_id)
            assert found
            return found.status

        with code_server(tmp_path, port):
            wait_for(port)
            with WorkspaceProcessContext(
                instance,
                GrpcServerTarget(host="localhost", port=port, socket=None, location_name="l"),
            ) as process:
                workspace = process.create_request_context()
                (repository,) = workspace.get_code_location("l").get_repositories().values()
                job = repository.get_full_job("days")
                run = instance.create_run_for_job(
                    days,
                    remote_job_origin=job.get_remote_origin(),
                    job_code_origin=job.get_python_origin(),
                )
                instance.launch_run(run.run_id, workspace)
            while watched(run) == dg.DagsterRunStatus.STARTING:
                time.sleep(0.1)
            assert watched(run) == dg.DagsterRunStatus.STARTED  # the server knows it
        assert (
            watched(run) == dg.DagsterRunStatus.STARTED
        )  # nobody answers: the server may be there again in a moment
        with code_server(tmp_path, port):
            wait_for(port)
            assert watched(run) == dg.DagsterRunStatus.FAILURE


def test_a_server_of_the_ui_does_not_come_back_and_a_command_has_none(tmp_path: Path) -> None:
    (tmp_path / "dagster.yaml").write_text(SETTINGS)

    @dg.job
    def days() -> None: ...

    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        server = json.dumps({"host": "localhost", "socket": str(tmp_path / "of the last one")})
        from_ui = instance.create_run_for_job(
            days, status=dg.DagsterRunStatus.STARTED, tags={GRPC_INFO_TAG: server}
        )
        from_command = instance.create_run_for_job(days, status=dg.DagsterRunStatus.STARTED)
        with WorkspaceProcessContext(instance, None) as nobody:
            list(execute_run_monitoring_iteration(nobody, logging.getLogger()))
        found = [instance.get_run_by_id(run.run_id) for run in (from_ui, from_command)]
        assert [run.status.value for run in found if run] == ["FAILURE", "STARTED"]
