"""What nobody needs any more."""

from __future__ import annotations

from datetime import datetime

from pipelines.operation.running import dagster_instance, prepare_dagster_home
from pipelines.settings import Home


def forget_runs(home: Home, before: datetime, *, dry_run: bool) -> int:
    """Delete Dagster's record of runs that began before then and are over, with their logs; returns
    how many those are. No table loses a row.
    """
    prepare_dagster_home(home)
    import dagster as dg

    over = [
        dg.DagsterRunStatus.SUCCESS,
        dg.DagsterRunStatus.FAILURE,
        dg.DagsterRunStatus.CANCELED,
    ]
    with dagster_instance(home) as instance:
        runs = instance.get_runs(filters=dg.RunsFilter(statuses=over, created_before=before))
        for run in () if dry_run else runs:
            instance.delete_run(run.run_id)
    return len(runs)
