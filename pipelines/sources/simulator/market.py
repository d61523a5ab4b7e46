"""Creators who are live for two hours a day at a time they choose, in the equilibrium of a donation
market; gifts follow equation 3.

Part of the simulated platform, off by default. Everything that a study of the market has to find is
chosen here, so it can be compared: preferences are a wave around the day, viewers another; creators
who would lose by taking part stay away, and others move to where there are more viewers for each of
them (`solvers.donation_market`). Nobody grows into or out of the market, and bots stay away from
it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from solvers.donation_market import DonationMarket, sine_preferences
from solvers.donation_market.mechanism import PowerDonation

Array = NDArray[Any]

SLOTS = 96
SLOT_MS = 900_000


@dataclass(frozen=True)
class LiveMarket:
    """The truth. Costs are in units of what a creator would earn a day if everybody stayed where
    they prefer to be.

    `amplitude` and `phase` are of creators' preferences, relative to their mean;
    `viewers_amplitude` of the viewers, whose phase is 0. `noise` is the standard deviation of the
    logarithm of a gift, which is right on average.
    """

    alpha: float = 0.5
    opportunity_cost: float = 0.5
    deviation_cost: float = 20.0
    scale: float = 20.0
    exponent: float = 0.6
    window: int = 8
    amplitude: float = 0.4
    phase: float = 1.8
    viewers_amplitude: float = 0.5
    noise: float = 0.3


@dataclass(frozen=True)
class Truth:
    """What a study of the market should find: amounts in coins, coefficients of c1 sin(2 pi l / 96
    + c2) + c3.
    """

    alpha: float
    b0: float
    b1: float
    opportunity_cost: float
    deviation_cost: float
    c1: float
    c2: float
    c3: float
    window: int
    taking_part: int


class Schedule:
    """Who is live and who watches in each quarter hour, the same every day."""

    def __init__(
        self, live: LiveMarket, creators: Array, viewers: Array, rng: np.random.Generator
    ) -> None:
        angle = 2 * np.pi * np.arange(SLOTS) / SLOTS
        mean = len(creators) / SLOTS
        coefficients = (live.amplitude * mean, live.phase, mean)
        preferred = sine_preferences(coefficients, SLOTS)
        watching = _whole(len(viewers) / SLOTS * (1 + live.viewers_amplitude * np.sin(angle)))
        donation = PowerDonation(live.scale, live.exponent)
        served = preferred[(np.arange(SLOTS)[:, None] - np.arange(live.window)) % SLOTS].sum(axis=1)
        earned = (
            live.alpha * float(donation.value(watching.astype(float), served).sum()) / len(creators)
        )
        self.live = live
        self.market = DonationMarket(
            preferred,
            watching,
            window=live.window,
            opportunity_cost=live.opportunity_cost * earned,
            deviation_cost=live.deviation_cost * earned,
            donation=donation,
        )
        starting = _whole(self.market.equilibrium(live.alpha).choice.sum(axis=0))
        begins = np.repeat(np.arange(SLOTS), starting)
        cast = rng.permutation(creators)[: len(begins)]
        begins = begins[: len(cast)]
        covered = (begins[:, None] + np.arange(live.window)) % SLOTS
        order = np.argsort(covered.ravel(), kind="stable")
        self.serving = np.split(
            np.repeat(cast, live.window)[order],
            np.cumsum(np.bincount(covered.ravel(), minlength=SLOTS))[:-1],
        )
        self.watching = np.split(rng.permutation(viewers), np.cumsum(watching)[:-1])
        self.truth = Truth(
            live.alpha,
            float(np.log(live.scale)),
            live.exponent,
            self.market.opportunity_cost,
            self.market.deviation_cost,
            *coefficients,
            live.window,
            len(cast),
        )

    def sessions(self, rng: np.random.Generator) -> tuple[Array, Array, Array]:
        """Viewer, creator and milliseconds after midnight of a day: every viewer once, and once
        more where a creator would see nobody.
        """
        viewers, creators, slots = [], [], []
        for slot, (here, live) in enumerate(zip(self.watching, self.serving, strict=True)):
            if len(here) and len(live):
                n = max(len(here), len(live))
                viewers.append(np.resize(rng.permutation(here), n))
                creators.append(np.resize(rng.permutation(live), n))
                slots.append(np.full(n, slot))
        at = np.concatenate(slots)
        return (
            np.concatenate(viewers),
            np.concatenate(creators),
            at * SLOT_MS + rng.integers(0, SLOT_MS, len(at)),
        )

    def gifts(self, creator: Array, ms: Array, rng: np.random.Generator) -> tuple[Array, Array]:
        """Of a day's sessions those in which coins are given, and how many: one a creator and
        quarter hour, by equation 3.
        """
        slot = ms // SLOT_MS
        _, first = np.unique(slot * (creator.max() + 1) + creator, return_index=True)
        given = np.sort(first)
        watching, serving = (
            np.array([len(each) for each in by_slot], dtype=np.float64)
            for by_slot in (self.watching, self.serving)
        )
        ratio = watching[slot[given]] / serving[slot[given]]
        noise = np.exp(self.live.noise * rng.standard_normal(len(given)) - self.live.noise**2 / 2)
        coins = self.live.scale * ratio**self.live.exponent * noise
        return given, np.maximum(1, np.floor(coins + rng.random(len(given)))).astype(np.int64)


def _whole(masses: Array) -> Array:
    """Whole numbers whose running sums are those of the masses, rounded: so also what serves a
    window is right to 1.
    """
    return np.diff(np.rint(np.cumsum(masses)).astype(np.int64), prepend=0)
