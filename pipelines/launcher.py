"""Runs as processes of the code server, as Dagster's default launcher starts them; this one can
also tell that a run is gone.

A code server that lives reports the run whose process died. Nobody does when the server died with
it (a container that ran out of memory, a machine that was switched off): to Dagster such a run goes
on for ever and keeps its place among those that may run at once. Here the daemon's `run_monitoring`
asks the server, and the run of a server that does not know it is marked as failed.
"""

from __future__ import annotations

from dagster import DagsterRun, DefaultRunLauncher
from dagster._core.errors import DagsterUserCodeUnreachableError
from dagster._core.launcher.base import CheckRunHealthResult, WorkerStatus
from dagster._grpc.types import CanCancelExecutionRequest, CanCancelExecutionResult
from dagster._serdes import deserialize_value

PATIENCE = 30  # seconds for an answer


class WatchedRunLauncher(DefaultRunLauncher):
    """The default launcher, with the question that `run_monitoring` asks."""

    @property
    def supports_check_run_worker_health(self) -> bool:
        return True

    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        server = self._get_grpc_client_for_termination(run.run_id)  # type: ignore[no-untyped-call]
        if server is None:
            return CheckRunHealthResult(
                WorkerStatus.RUNNING, "started by `earnings run`, not from here"
            )
        try:
            answer = server.can_cancel_execution(
                CanCancelExecutionRequest(run_id=run.run_id), timeout=PATIENCE
            )
        except DagsterUserCodeUnreachableError:
            if (
                server.socket
            ):  # a file that a server of `earnings ui` made for itself: the next one has another
                return CheckRunHealthResult(
                    WorkerStatus.NOT_FOUND, "the code server that ran it is gone"
                )
            return CheckRunHealthResult(
                WorkerStatus.RUNNING, "the code server does not answer; asked again when it does"
            )
        if deserialize_value(answer, CanCancelExecutionResult).can_cancel:
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        return CheckRunHealthResult(
            WorkerStatus.NOT_FOUND, "the code server was started anew, and what ran in it is gone"
        )
