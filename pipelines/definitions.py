"""What Dagster loads: the assets in the order of the money, their checks, one job, one schedule, one resource."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import dagster as dg

from pipelines.assets import ads, audience, coins, earnings, quality, raw
from pipelines.assets.daily import WarehouseResource
from pipelines.checks import CHECKS
from pipelines.settings import Home

ASSETS = [
    *raw.RAW,
    audience.viewer_groups,
    audience.group_utility,
    audience.group_weights,
    quality.video_quality,
    ads.pulse_payouts,
    ads.ad_pools,
    ads.ad_payouts,
    coins.donation_splits,
    earnings.ledger_entries,
    earnings.creator_earnings,
]
FRESH = dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=36), warn_window=timedelta(hours=30))

daily_job = dg.define_asset_job(
    "daily",
    selection=dg.AssetSelection.all(),
    description="A day, or a range of days, from landing files to creator earnings.",
    executor_def=dg.in_process_executor,
)


def build_definitions(home: Home, *, resources: Mapping[str, Any] | None = None) -> dg.Definitions:
    """Everything of one home; tests swap resources."""
    assets = [asset.definition.map_asset_specs(lambda spec: spec.replace_attributes(freshness_policy=FRESH)) for asset in ASSETS]
    return dg.Definitions(
        assets=assets,
        asset_checks=CHECKS,
        jobs=[daily_job],
        schedules=[dg.build_schedule_from_partitioned_job(daily_job, name="every_day", hour_of_day=2, minute_of_hour=0)],
        resources={"warehouse": WarehouseResource(home=str(home.root)), **(resources or {})},
        executor=dg.in_process_executor,
    )


defs = build_definitions(Home.here())
