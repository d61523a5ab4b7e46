"""What Dagster loads: the assets in the order of the money, their checks, a job and a schedule a
length of period, one resource.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg

from pipelines.assets import ASSETS, PERIODIC
from pipelines.periods import MONTH, WEEK
from pipelines.runs.checks import CHECKS
from pipelines.runs.daily import DailyAsset, WarehouseResource
from pipelines.runs.periodic import PeriodicAsset
from pipelines.settings import Home
from pipelines.shadow.assets import shadow_earnings
from pipelines.unattended import JOBS, UP_TO_DATE, schedules, sensors, up_to_date

MEANINGS = {
    "day": "A day, or a range of days, from landing files to creator earnings.",
    WEEK.name: "A week, or several, from days that are all made: advice with its evidence.",
    MONTH.name: "A month, or several, from days that are all made.",
}


def daily_assets(home: Home) -> list[DailyAsset]:
    """What a run of the home makes of a day: all that others need, and the shadow if it has one."""
    return [*ASSETS, *([shadow_earnings] if home.settings.shadow.policy else [])]


def build_definitions(
    home: Home,
    *,
    periodic: Sequence[PeriodicAsset] = PERIODIC,
    resources: Mapping[str, Any] | None = None,
) -> dg.Definitions:
    """Everything of one home; tests swap resources and assets of weeks and months."""
    by_span = {"day": [asset.definition for asset in daily_assets(home)]}
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
