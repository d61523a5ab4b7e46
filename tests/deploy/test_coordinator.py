"""A run knows who started it in the web UI: the login of the proxy, by the header that it sets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import dagster as dg
import pytest
from dagster._core.remote_origin import (
    InProcessCodeLocationOrigin,
    RemoteJobOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.test_utils import create_run_for_test
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin

from pipelines.actor import TAG, acting_as, actor
from pipelines.coordinator import HEADER, NamedRunCoordinator

ORIGIN = RemoteJobOrigin(
    RemoteRepositoryOrigin(
        InProcessCodeLocationOrigin(
            LoadableTargetOrigin(module_name="pipelines.definitions"), location_name="earnings"
        ),
        "__repository__",
    ),
    "days",
)


@dataclass
class Request:
    """What the queue is told of a run that is put into it."""

    dagster_run: Any
    headers: dict[str, str]

    def get_request_header(self, name: str) -> str | None:
        return self.headers.get(name)


@pytest.mark.parametrize(
    ("headers", "login"), [({HEADER: " ann "}, "ann"), ({}, None), ({"X-Other": "eve"}, None)]
)
def test_a_run_carries_the_login_it_was_started_under(
    headers: dict[str, str], login: str | None
) -> None:
    place = {"module": "pipelines.coordinator", "class": "NamedRunCoordinator"}
    with dg.instance_for_test(overrides={"run_coordinator": place}) as instance:
        coordinator = instance.run_coordinator
        assert isinstance(coordinator, NamedRunCoordinator)
        run = create_run_for_test(instance, job_name="days", remote_job_origin=ORIGIN)
        coordinator.submit_run(Request(run, headers))  # type: ignore[arg-type]
        found = instance.get_run_by_id(run.run_id)
        assert found is not None
        assert found.tags.get(TAG) == login
        assert found.status == dg.DagsterRunStatus.QUEUED


def test_what_a_run_does_is_done_by_that_login(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EARNINGS_ACTOR", "the server")
    with acting_as("ann"):
        assert actor() == "ann"
        with acting_as(None):
            assert actor() == "ann"
    assert actor() == "the server"
