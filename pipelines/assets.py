"""The assets in the order of the money: what a run makes of a day, then of weeks and months.

What belongs here: the two lists, for all that walk them (Dagster's definitions, restatements, days
in memory). What a table is made from is in `schema/graph.py`.
"""

from __future__ import annotations

from pipelines.ads import assets as ads
from pipelines.audience import assets as audience
from pipelines.coins import assets as coins
from pipelines.ledger import assets as earnings
from pipelines.market import assets as market
from pipelines.quality import assets as quality
from pipelines.rewards import assets as rewards
from pipelines.runs.periodic import PeriodicAsset
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
