"""Reward schedules: which bonus for which quality buys most from creators of different ability,
within a budget.
"""

from solvers.reward_schedule.bonus import (
    BonusSchedule,
    OnTop,
    WholeBonuses,
    pot_on_top,
    price_on_top,
    schedule_on_top,
    whole_bonuses,
)
from solvers.reward_schedule.schedule import (
    Cost,
    LinearScheme,
    PiecewiseLinearCost,
    PowerCost,
    ProportionalEquilibrium,
    RewardSchedule,
    StepReward,
    incentive_violations,
    linear_scheme,
    optimal_schedule,
    proportional_equilibrium,
    whole_rewards,
)
from solvers.reward_schedule.types import Ability, Types, estimate_ability, explained, group_types

__all__ = [
    "Ability",
    "BonusSchedule",
    "Cost",
    "LinearScheme",
    "OnTop",
    "PiecewiseLinearCost",
    "PowerCost",
    "ProportionalEquilibrium",
    "RewardSchedule",
    "StepReward",
    "Types",
    "WholeBonuses",
    "estimate_ability",
    "explained",
    "group_types",
    "incentive_violations",
    "linear_scheme",
    "optimal_schedule",
    "pot_on_top",
    "price_on_top",
    "proportional_equilibrium",
    "schedule_on_top",
    "whole_bonuses",
    "whole_rewards",
]
