"""What Dagster loads: the assets in the order of the money, their checks, a job and a schedule a
length of period, one resource.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import dagster as dg

from pipelines.ads import assets as ads
from pipelines.audience import assets as audience
from pipelines.coins import assets as coins
from pipelines.ledger import assets as earnings
from pipelines.market import assets as market
from pipelines.periods import MONTH, WEEK
from pipelines.quality import assets as quality
from pipelines.rewards import assets as rewards
from pipelines.runs.checks import CHECKS
from pipelines.runs.daily import WarehouseResource
from pipelines.runs.periodic import PeriodicAsset
from pipelines.settings import Home
from pipelines.sources import assets as raw

ASSETS = [
    *raw.RAW,
    audience.viewer_groups,
    audience.group_utility,
    audience.group_weights,
    quality.video_evidence,
    quality.video_quality,
    ads.pulse_payouts,
    ads.ad_pools,
    ads.ad_payouts,
    coins.donation_splits,
    earnings.ledger_entries,
    earnings.creator_earnings,
]
PERIODIC: list[PeriodicAsset] = [
    market.donation_market,
    rewards.reward_schedule,
    rewards.creator_bonuses,
]
JOBS = {"day": "daily", WEEK.name: "weekly", MONTH.name: "monthly"}
MEANINGS = {
    "day": "A day, or a range of days, from landing files to creator earnings.",
    WEEK.name: "A week, or several, from days that are all made: advice with its evidence.",
    MONTH.name: "A month, or several, from days that are all made.",
}


def _fresh(days: int) -> dg.FreshnessPolicy:
    return dg.FreshnessPolicy.time_window(
        fail_window=timedelta(days=days, hours=12), warn_window=timedelta(days=days, hours=6)
    )


FRESH = {"day": _fresh(1), WEEK.name: _fresh(7), MONTH.name: _fresh(31)}


def build_definitions(
    home: Home,
    *,
    periodic: Sequence[PeriodicAsset] = PERIODIC,
    resources: Mapping[str, Any] | None = None,
) -> dg.Definitions:
    """Everything of one home; tests swap resources and assets of weeks and months."""
    by_span: dict[str, list[dg.AssetsDefinition]] = {"day": [asset.definition for asset in ASSETS]}
    for asset in periodic:
        by_span.setdefault(asset.span.name, []).append(asset.definition)
    jobs = {
        span: dg.define_asset_job(
            JOBS[span],
            selection=dg.AssetSelection.assets(*(asset.key for asset in assets)),
            description=MEANINGS[span],
            executor_def=dg.in_process_executor,
        )
        for span, assets in by_span.items()
    }
    return dg.Definitions(
        assets=[
            _with_freshness(asset, FRESH[span])
            for span, assets in by_span.items()
            for asset in assets
        ],
        asset_checks=CHECKS,
        jobs=list(jobs.values()),
        schedules=[
            # at night, when the partition is over; weeks and months after the last day they need
            dg.build_schedule_from_partitioned_job(
                job,
                name=f"every_{span}",
                hour_of_day=2 if span == "day" else 4,
                minute_of_hour=0,
                day_of_week=1 if span == WEEK.name else None,
                day_of_month=1 if span == MONTH.name else None,
            )
            for span, job in jobs.items()
        ],
        resources={"warehouse": WarehouseResource(home=str(home.root)), **(resources or {})},
        executor=dg.in_process_executor,
    )


def _with_freshness(asset: dg.AssetsDefinition, fresh: dg.FreshnessPolicy) -> dg.AssetsDefinition:
    return asset.map_asset_specs(lambda spec: spec.replace_attributes(freshness_policy=fresh))


defs = build_definitions(Home.here())
