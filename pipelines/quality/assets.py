"""Viewer events into quality scores."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

from pipelines.audience.weights import require_weights
from pipelines.quality.defaults import figures_of_scores
from pipelines.quality.evidence import (
    as_evidence,
    evidence_scores,
    fit,
    gather,
    known_to_later_days,
    sums_query,
)
from pipelines.quality.scoring import score_engine, score_query
from pipelines.quality.spark import score_on_spark, sum_on_spark
from pipelines.runs.daily import Day, Metadata, daily_asset, window
from pipelines.runs.figures import as_metadata, record_figures
from pipelines.store.warehouse import require_days


# The day's weights are made by group_weights of the day before. The edge is to that of the day
# itself, which depends on it: with one to yesterday a backfill in the UI takes twice as many runs.
@daily_asset(group="quality", extra_tables=["evidence_history"])
def video_evidence(run: Day) -> Metadata:
    """What the day's viewers did on each video, as sums that later days add up. Empty unless the
    policy scores by evidence."""
    if run.policy.quality.prior != "evidence":
        with run.write() as writer:
            writer.replace("video_evidence", "FROM video_evidence WHERE false")
        return {"rows": 0, "prior": run.policy.quality.prior}
    if run.policy.epochs.mechanism == "uir":
        require_weights(run.con, run.home, run.home.policies, run.day)
    engine = score_engine(run.con, run.day, run.policy, run.home.settings)
    alone = sums_query(run.day, run.policy)
    adding = (
        sum_on_spark(run.con, run.day, run.policy, run.home) if engine == "spark" else nullcontext()
    )
    known = known_to_later_days(run.con, run.day, run.policy)
    if known:
        run.con.execute(
            "CREATE OR REPLACE TEMP TABLE evidence_before AS FROM video_evidence WHERE day = ?",
            [run.day],
        )
    with adding as tier, run.write() as writer:
        rows = (
            writer.replace("video_evidence", as_evidence(tier, run.day, run.policy))
            if tier is not None
            else writer.replace("video_evidence", alone.sql, alone.parameters)
        )
        kept_aside = known and "video_evidence" in writer.changed
        if kept_aside:
            writer.replace("evidence_history", "FROM evidence_before")
    viewers, unverified = run.con.execute(
        """SELECT coalesce(sum(mass) / 1e6, 0), coalesce(sum(mass) FILTER (NOT verified) / 1e6, 0)
           FROM video_evidence WHERE day = ?""",
        [run.day],
    ).fetchall()[0]
    return {
        "rows": rows,
        "viewers_worth": float(viewers),
        "unverified_part": float(unverified) / float(viewers) if viewers else 0.0,
        "later_days_keep_what_they_knew": bool(kept_aside),
        "engine": engine,
    }


@daily_asset(group="quality", extra_tables=["quality_priors"])
def video_quality(run: Day) -> Metadata:
    """Quality score and effective views of every video somebody watched in the window."""
    if run.policy.epochs.mechanism == "uir":
        require_weights(run.con, run.home, run.home.policies, run.day)
    by_evidence = run.policy.quality.prior == "evidence"
    made = _by_evidence(run) if by_evidence else _by_mass(run)
    views, effective, mean, zeros = run.con.execute(
        """SELECT coalesce(sum(qualified_views), 0), coalesce(sum(effective_views), 0),
            coalesce(avg(quality), 0),
                  coalesce(avg((quality = 0)::INT), 0) FROM video_quality WHERE day = ?""",
        [run.day],
    ).fetchall()[0]
    return {
        "rows": made.pop("rows"),
        "qualified_views": float(views),
        "effective_views": float(effective),
        "mean_quality": float(mean),
        "share_with_zero_quality": float(zeros),
        **made,
        "policy": f"{run.policy.name} {run.policy.hash}",
    }


def _by_evidence(run: Day) -> dict[str, Any]:
    """From sums of the day and of those before it, with the priors that their spread asks for."""
    gather(run.con, run.day, run.policy)
    priors = fit(run.con, run.day, run.policy)
    scores = evidence_scores(run.day, run.policy, priors.of)
    with run.write() as writer:
        rows = writer.replace("video_quality", scores.sql, scores.parameters)
        writer.replace("quality_priors", priors.rows(run.day, run.policy))
        figures = _figures(run)
    return {
        "rows": rows,
        "history_days": priors.history_days,
        **figures,
        **{f"prior of {name} (viewers)": prior.strength for name, prior in priors.of.items()},
        **{f"platform's {name}": prior.rate for name, prior in priors.of.items()},
    }


def _by_mass(run: Day) -> dict[str, Any]:
    """From the events of the window at once, with prior_mass viewers of the platform's rates."""
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
        writer.replace("quality_priors", "FROM quality_priors WHERE false")
        figures = _figures(run)
    return {"rows": rows, "engine": engine, **figures}


def _figures(run: Day) -> Metadata:
    """Defaults that stood in, recorded with the day."""
    figures = figures_of_scores(run.con, run.day)
    record_figures(run.con, "video_quality", run.day, figures)
    return as_metadata(figures)
