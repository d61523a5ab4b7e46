"""Runs carry the name of whoever started them in the web UI: the proxy's login.

What belongs here: reading the header that the proxy sets (`deploy/Caddyfile`) when a run is put
into the queue. The web server has no login, so the name is as good as the proxy in front of it,
which takes away what a browser sends under that name.
"""

from __future__ import annotations

from dagster import DagsterRun
from dagster._core.run_coordinator import QueuedRunCoordinator, SubmitRunContext

from pipelines.actor import TAG

HEADER = "X-Earnings-User"


class NamedRunCoordinator(QueuedRunCoordinator):
    """The queue of runs, which tags a run with the login it was started under."""

    def submit_run(self, context: SubmitRunContext) -> DagsterRun:
        login = (context.get_request_header(HEADER) or "").strip()
        if login:
            self._instance.add_run_tags(context.dagster_run.run_id, {TAG: login})
        return super().submit_run(context)
