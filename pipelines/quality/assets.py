"""Viewer events into quality scores."""

from __future__ import annotations

from contextlib import nullcontext

from pipelines.audience.weights import require_weights
from pipelines.quality.scoring import score_engine, score_query
from pipelines.quality.spark import score_on_spark
from pipelines.runs.daily import Day, Metadata, daily_asset, window
from pipelines.store.warehouse import require_days


# The day's weights are made by group_weights of the day before. The edge is to that of the day
# itself, which depends on it: with one to yesterday a backfill in the UI takes twice as many runs.
@daily_asset(group="quality")
def video_quality(run: Day) -> Metadata:
    """Quality score and effective views of every video somebody watched in the window."""
    if run.policy.epochs.mechanism == "uir":
        require_weights(run.con, run.home, run.home.policies, run.day)
    landed = set(run.home.landing_days("viewer_events"))
    require_days(
        run.con,
        ["viewer_events"],
        [day for day in window(run.day, run.policy.quality.window_days) if day in landed],
    )
    engine = score_engine(run.con, run.day, run.policy, run.home.settings)
    alone = score_query(run.day, run.policy)
    scoring = (
        score_on_spark(run.con, run.day, run.policy, run.home)
        if engine == "spark"
        else nullcontext()
    )
    with scoring as scores, run.write() as writer:
        rows = (
            writer.replace("video_quality", scores)
            if scores is not None
            else writer.replace("video_quality", alone.sql, alone.parameters)
        )
    views, effective, mean, zeros = run.con.execute(
        """SELECT coalesce(sum(qualified_views), 0), coalesce(sum(effective_views), 0),
            coalesce(avg(quality), 0),
                  coalesce(avg((quality = 0)::INT), 0) FROM video_quality WHERE day = ?""",
        [run.day],
    ).fetchall()[0]
    return {
        "rows": rows,
        "qualified_views": float(views),
        "effective_views": float(effective),
        "mean_quality": float(mean),
        "share_with_zero_quality": float(zeros),
        "engine": engine,
        "policy": f"{run.policy.name} {run.policy.hash}",
    }
