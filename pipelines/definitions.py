"""What Dagster loads: the assets in the order of the money, their checks, a job and a schedule a
length of period, one resource.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
from pipelines.unattended import JOBS, UP_TO_DATE, schedules, sensors, up_to_date

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
MEANINGS = {
    "day": "A day, or a range of days, from landing files to creator earnings.",
    WEEK.name: "A week, or several, from days that are all made: advice with its evidence.",
    MONTH.name: "A month, or several, from days that are all made.",
}


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
            selection=dg.AssetSelection.assets(*(asset.key for asset in assets))
            - dg.AssetSelection.checks(
                dg.AssetCheckKey(dg.AssetKey("creator_earnings"), UP_TO_DATE)
            ),
            description=MEANINGS[span],
            executor_def=dg.in_process_executor,
        )
        for span, assets in by_span.items()
    }
    return dg.Definitions(
        assets=[asset for assets in by_span.values() for asset in assets],
        asset_checks=[*CHECKS, up_to_date(home)],
        jobs=list(jobs.values()),
        schedules=list(schedules(home, jobs)),
        sensors=sensors(home, jobs),
        resources={"warehouse": WarehouseResource(home=str(home.root)), **(resources or {})},
        executor=dg.in_process_executor,
    )


defs = build_definitions(Home.here())
