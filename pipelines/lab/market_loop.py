"""The outlook of Tang and Huang: a platform that finds its best split week by week, in front of
rational creators whose costs it does not know.

What belongs here: random markets, the table, the plot and the claims. How the split is chosen is in
`solvers.donation_market.online`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from pipelines.lab.finding import Side, mean
from pipelines.lab.report import Report
from solvers.donation_market import ALPHAS, DonationMarket, Loop, play_weeks
from solvers.donation_market.mechanism import PowerDonation

WEEKS = 16
BUDGET = 0.1
"""Part of a week's payoff that an exploring week may be expected to lose."""
PLACES = 12
LATER, BY = 4, 12
"""After so many weeks no choice leaves less than 95 %; by this week 99 % is left."""


def random_market(seed: int) -> tuple[DonationMarket, float]:
    """A market drawn at random, and the split it has today: b from .3 to .8, waves of up to .8
    whose phases differ, streams of 1 to 3 of 12 places, V from .05 to 1.5 and W from 1 to 100 of
    what a creator earns at home today.
    """
    rng = np.random.default_rng(seed)
    angle = 2 * np.pi * np.arange(PLACES) / PLACES
    donation = PowerDonation(20.0, rng.uniform(0.3, 0.8))
    viewers = 100 * (1 + rng.uniform(0, 0.8) * np.sin(angle))
    creators = 10 * (1 + rng.uniform(0, 0.8) * np.sin(angle + rng.uniform(0, 2 * np.pi)))
    window, today = int(rng.integers(1, 4)), float(rng.uniform(0.2, 0.8))
    served = np.sum([np.roll(creators, n) for n in range(window)], axis=0)
    earned = today * float(donation.value(viewers, served).sum() / creators.sum())
    market = DonationMarket(
        creators,
        viewers,
        window=window,
        opportunity_cost=earned * rng.uniform(0.05, 1.5),
        deviation_cost=earned * float(np.exp(rng.uniform(0, np.log(100)))),
        donation=donation,
    )
    return market, today


def played(seed: int) -> Loop:
    """The weeks of one random market; its donations under each split are computed once."""
    market, today = random_market(seed)
    creators = np.broadcast_to(market.creators, (ALPHAS.size, PLACES))
    curve = np.log(market.equilibria(ALPHAS, creators, enough=1e-9).total_donation)

    def told(alpha: float) -> float:
        return float(np.exp(np.interp(np.log(alpha), np.log(ALPHAS), curve)))

    return play_weeks(market, first=today, weeks=WEEKS, seed=seed, budget=BUDGET, told=told)


def closed_loop(
    report: Report, loops: int, each: Callable[[Callable[[Any], Any], Iterable[Any]], Iterator[Any]]
) -> None:
    """Every random market played, and what came out."""
    report.say(
        f"A platform starts with its split of today and sees what is given each week, with noise of"
        f" 2 %. Three weeks after the first explore, each expected to lose at most {BUDGET:.0%};"
        " then it keeps to splits that leave 95 % of the best payoff but for one case of twenty."
        " Creators are in the equilibrium of the split that was chosen."
    )
    found = list(each(played, range(loops)))
    parts = np.array([loop.parts for loop in found])
    report.table(
        "online",
        ("market", "week", "alpha", "part of the best payoff"),
        [
            (n, week, alpha, part)
            for n, loop in enumerate(found)
            for week, (alpha, part) in enumerate(
                zip(loop.alphas.tolist(), loop.parts.tolist(), strict=True), 1
            )
        ],
        "Every week of every market",
        most=WEEKS,
    )
    with report.plot(
        "online",
        f"What the chosen split leaves, {loops} random markets; regret is what is missing to the"
        " best, added up",
        columns=2,
    ) as axes:
        weeks = np.arange(1, WEEKS + 1)
        axes[0].plot(weeks, parts.T, color="C7", linewidth=0.6)
        axes[0].plot(weeks, parts.mean(axis=0), color="C0", label="mean")
        axes[0].axhline(0.95, color="C3", linestyle="--", label="95 %")
        axes[0].set(xlabel="week", ylabel="part of the best payoff")
        axes[0].legend(fontsize=7)
        axes[1].plot(weeks, (1 - parts).cumsum(axis=1).T, color="C7", linewidth=0.6)
        axes[1].plot(weeks, (1 - parts).cumsum(axis=1).mean(axis=0), color="C0")
        axes[1].set(xlabel="week", ylabel="regret so far (weeks of the best payoff)")
    least = parts[:, LATER:].min(axis=1)
    report.never(
        f"online: after week {LATER} no choice leaves less than 95 % (ours)",
        int((least < 0.95).sum()),
        loops,
        "markets",
        f"the least is {least.min():.1%}",
    )
    late = parts[:, BY - 1]
    report.judge(
        f"online: by week {BY} it leaves 99 % on average (ours)",
        Side(f"part in week {BY}", mean(late, "markets"), least=0.99),
        shown=f"{late.mean():.2%} on average, at least 99 % in {int((late >= 0.99).sum())} of"
        f" {loops} markets, the least {late.min():.1%}",
    )
    last = 1 - parts[:, -4:].mean(axis=1)
    report.judge(
        "online: regret flattens, in the last four weeks to under 1 % of a week each (ours)",
        Side("regret a week", mean(last, "markets"), most=0.01),
        shown=f"{last.mean():.2%} of a week's best payoff a week; in the first four weeks"
        f" {(1 - parts[:, :4]).mean():.1%}",
    )
