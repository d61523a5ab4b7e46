"""The donation market: when creators are live, who gives to them, and which share of gifts
maximises whose payoff.
"""

from solvers.donation_market.equilibrium import Donation, PowerDonation, SaturatingDonation
from solvers.donation_market.fit import (
    TWITCH_DONATION,
    DonationFit,
    PreferenceFit,
    fit_donation,
    fit_preferences,
    sine_preferences,
)
from solvers.donation_market.mechanism import (
    DonationMarket,
    Equilibrium,
    OptimalSplit,
    best_splits,
)
from solvers.donation_market.online import (
    ALPHAS,
    Loop,
    SplitBelief,
    learn_split,
    next_split,
    play_weeks,
)
from solvers.donation_market.study import (
    LEAST_LOCATIONS,
    DonationEstimate,
    MarketStudy,
    estimate_donation,
    study_market,
)

__all__ = [
    "ALPHAS",
    "LEAST_LOCATIONS",
    "TWITCH_DONATION",
    "Donation",
    "DonationEstimate",
    "DonationFit",
    "DonationMarket",
    "Equilibrium",
    "Loop",
    "MarketStudy",
    "OptimalSplit",
    "PowerDonation",
    "PreferenceFit",
    "SaturatingDonation",
    "SplitBelief",
    "best_splits",
    "estimate_donation",
    "fit_donation",
    "fit_preferences",
    "learn_split",
    "next_split",
    "play_weeks",
    "sine_preferences",
    "study_market",
]
