"""The mathematics of creator pay: arrays and numbers in, frozen result objects out.

What belongs here: one package a problem, solved and checked. What does not: files, tables, clocks,
policies, orchestration. Nothing in this package imports from `pipelines`, and scipy, cvxpy and
numba are only imported by the functions that need them.

    ad_pool          one pool of money among videos; judges of what came out
    apportion        real amounts to whole ones that add up
    coin_split       gifted coins between creators and the platform; judges
    donation_market  which share of gifts maximises whose payoff
    reward_schedule  which bonus for which quality
    reweighting      groups of viewers and their weights
    competition      creators chase reward, the platform reweights

The main functions can be had from here, and are loaded when they are asked for:

>>> from solvers import allocate_pool
>>> allocate_pool(100.0, [1, 4, 16], lambda_eff=0.0).payout.round(2).tolist()
[14.29, 28.57, 57.14]
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from solvers.errors import InfeasibleError

if TYPE_CHECKING:
    from solvers.ad_pool import allocate_pool, certify_pool
    from solvers.coin_split import split_platform, split_videos
    from solvers.competition import Competition, simulate
    from solvers.donation_market import DonationMarket
    from solvers.reward_schedule import optimal_schedule
    from solvers.reweighting import update_weights

__all__ = [
    "Competition",
    "DonationMarket",
    "InfeasibleError",
    "allocate_pool",
    "certify_pool",
    "optimal_schedule",
    "simulate",
    "split_platform",
    "split_videos",
    "update_weights",
]

_HOME = {
    "Competition": "competition",
    "DonationMarket": "donation_market",
    "allocate_pool": "ad_pool",
    "certify_pool": "ad_pool",
    "optimal_schedule": "reward_schedule",
    "simulate": "competition",
    "split_platform": "coin_split",
    "split_videos": "coin_split",
    "update_weights": "reweighting",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'solvers' has no attribute {name!r}")
    return getattr(import_module(f"solvers.{_HOME[name]}"), name)
