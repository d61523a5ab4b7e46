"""What simulated creators are live for: the part of the coins that the home's own policy pays.

What belongs here: one simulated day, paid in a folder of its own. The market that the creators
play is in `sources/simulator/market.py`.
"""

from __future__ import annotations

import shutil
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from pipelines.assets import ASSETS
from pipelines.runs.daily import Day
from pipelines.settings import Home
from pipelines.sources.simulator.market import LiveMarket
from pipelines.sources.simulator.simulate import simulate
from pipelines.store.warehouse import Warehouse

LEAST, MOST = 0.01, 0.99
"""A policy that pays nothing, or everything, has no market that creators could react to."""


def share_paid(home: Home, day: date, **sizes: Any) -> float:
    """The part of the coins that creators keep on such a day under the policy in force on it.

    A share of `LiveMarket` itself would be an assumption about a policy that nobody has: creators
    would react to pay that never comes, and a study could not find their costs again.
    """
    with TemporaryDirectory() as folder:
        root = Path(folder)
        shutil.copytree(home.policy_folder, root / "policies")
        (root / "settings.toml").write_text(
            f"first_day = {day}\nlast_day = {day}\npublish = false\nthreads = 1\n"
            f'policy = "{home.policies.in_force(day).name}"\n'
        )
        trial = Home.at(root)
        simulate(
            trial.landing,
            first_day=day,
            days=1,
            late_share=0.0,
            rotten_share=0.0,
            duplicate_share=0.0,
            live=LiveMarket(),
            **sizes,
        )
        house = Warehouse(trial)
        with house.open() as con:
            for asset in ASSETS:
                asset.make(Day(con, day, house, trial.policies.in_force(day)))
                if asset.name == "donation_splits":
                    break
            revenue, payout = con.execute(
                "SELECT sum(revenue_micros)::BIGINT, sum(payout_micros)::BIGINT FROM"
                " donation_splits WHERE day = ?",
                [day],
            ).fetchall()[0]
    return min(max(payout / revenue, LEAST), MOST) if revenue else LiveMarket().alpha
