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
from solvers.donation_market.mechanism import DonationMarket, Equilibrium, OptimalSplit
from solvers.donation_market.study import (
    DonationEstimate,
    MarketStudy,
    estimate_donation,
    study_market,
)

__all__ = [
    "TWITCH_DONATION",
    "Donation",
    "DonationEstimate",
    "DonationFit",
    "DonationMarket",
    "Equilibrium",
    "MarketStudy",
    "OptimalSplit",
    "PowerDonation",
    "PreferenceFit",
    "SaturatingDonation",
    "estimate_donation",
    "fit_donation",
    "fit_preferences",
    "sine_preferences",
    "study_market",
]
