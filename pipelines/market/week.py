"""A week of the platform as a donation market: what is counted, what
`solvers.donation_market.study` makes of it, and the rows that say so.

What belongs here: reading the week and naming what was found. Which day is paid by it is decided in
`market/floor.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import dagster as dg
import numpy as np

from pipelines.policy import Market
from pipelines.runs.pictures import picture
from pipelines.schema import arrow_columns
from pipelines.sql import query
from pipelines.store.warehouse import Connection
from solvers.donation_market import LEAST_LOCATIONS, MarketStudy, study_market

SLOTS = 96
"""Quarter hours of a day."""
DIGITS = 4
"""Decimals of a share that is published and paid by: the best split is known to no more."""


@dataclass(frozen=True)
class WeeklyMarket:
    """Rows of the week's tables, and the study they come from; None where there was nothing to
    study.
    """

    market: dict[str, Any]
    places: list[dict[str, Any]]
    profile: list[dict[str, Any]]
    study: MarketStudy | None

    def tables(self) -> dict[str, list[dict[str, Any]]]:
        """The rows of each table, without the day and the policy's hash."""
        return {
            "donation_market": [self.market],
            "donation_market_places": self.places,
            "donation_market_profile": self.profile,
        }

    def numbers(self) -> dict[str, float]:
        """What the web UI plots week by week."""
        return {
            name: value
            for name, value in self.market.items()
            if isinstance(value, float) and np.isfinite(value)
        }

    def plots(self) -> dg.MarkdownMetadataValue:
        """Creators by time of day, and what each split leaves the platform."""
        study = self.study
        assert study is not None

        def draw(axes: Any) -> None:
            hours = np.arange(SLOTS) / 4
            times = [place for place in self.places if place["attribute"] == "time"]
            axes[0].plot(
                hours,
                [place["creators"] for place in times],
                ".",
                color="C7",
                markersize=3,
                label="seen",
            )
            axes[0].plot(hours, study.serving_today, label="model, today's split")
            axes[0].plot(hours, study.serving_best, label="model, best split")
            axes[0].set(xlabel="hour (UTC)", ylabel="creators who serve")
            axes[1].plot(np.arange(1, 101) / 100, study.curve)
            axes[1].axvspan(*study.alpha_range, alpha=0.2, label="may be best")
            axes[1].axvline(self.market["alpha_today"], color="C3", linestyle="--", label="today")
            axes[1].set(xlabel="part that creators keep", ylabel="coins left to the platform a day")
            for axis in axes:
                axis.legend(fontsize=7)

        return picture(
            draw, "Creators by time of day, and what each split leaves the platform", columns=2
        )


def study_week(
    con: Connection, first: date, last: date, days: Sequence[date], market: Market
) -> WeeklyMarket:
    """Study the landed days of a week.

    The attribute is the time of day, in 96 quarter hours (UTC). A creator serves a quarter hour in
    which somebody watched one of the creator's videos. Categories are counted too; there is no
    distance between them, so they have no equilibrium.
    """
    parameters = {"first_day": first, "last_day": last, "days": len(days)}
    places = con.execute(query("market/market_places"), parameters).to_arrow_table().to_pylist()
    (everything,) = [place for place in places if place["attribute"] == "all"]
    times = [place for place in places if place["attribute"] == "time"]
    viewers, serving, coins = (
        np.array([place[name] for place in times]) for name in ("viewers", "creators", "coins")
    )
    revenue, payout = con.execute(
        """SELECT coalesce(sum(revenue_micros), 0)::BIGINT, coalesce(sum(payout_micros),
            0)::BIGINT FROM donation_splits
           WHERE day BETWEEN ? AND ?""",
        [first, last],
    ).fetchall()[0]
    today = payout / revenue if revenue else None
    row: dict[str, Any] = dict.fromkeys(arrow_columns("donation_market").names)
    row |= {name: everything[name] for name in ("viewers", "creators", "coins")}
    row |= {"days": len(days), "locations": market.locations, "alpha_today": today}
    try:
        if today is None or not 0 < today < 1:
            raise ValueError(
                "no coins were gifted"
                if today is None
                else f"creators keep {today:.0%} of the coins"
            )
        told = int(((viewers > 0) & (serving > 0) & (coins > 0)).sum())
        if told < LEAST_LOCATIONS:
            return WeeklyMarket(row | {"note": _too_little(told)}, places, [], None)
        row["served"] = market.window or max(
            1, round(float(serving.sum()) / everything["creators"])
        )
        study = study_market(
            viewers,
            serving,
            coins,
            alpha=today,
            window=row["served"],
            opportunity_costs=market.opportunity_costs,
            deviation_costs=market.deviation_costs,
            locations=market.locations,
            opportunity_cost=market.opportunity_cost,
        )
    except (ValueError, ArithmeticError) as error:
        return WeeklyMarket(row | {"note": f"no market: {error}"}, places, [], None)
    for place, preferred, now, then in zip(
        times, study.preferences, study.serving_today, study.serving_best, strict=True
    ):
        place |= {
            "preferred": float(preferred),
            "serving_today": float(now),
            "serving_best": float(then),
        }
    return WeeklyMarket(row | _found(study), places, _profile(study), study)


def _too_little(told: int) -> str:
    return (
        f"cannot tell: {told} of {SLOTS} quarter hours have viewers, creators and coins, and a"
        f" market is read from at least {LEAST_LOCATIONS}; more viewers or more landed days of the"
        " week would decide it"
    )


def _found(study: MarketStudy) -> dict[str, Any]:
    """Columns of `donation_market` that the study fills."""
    fit, regression = study.fit, study.estimate.regression
    interval, shown = fit.interval().tolist(), fit.coefficients[study.pair].tolist()
    row: dict[str, Any] = {
        "served": study.window,
        "b0": float(np.log(study.estimate.donation.scale)),
        "b1": study.estimate.donation.exponent,
        "donation_source": "document" if study.estimate.why_not else "estimated",
        "alpha": round(study.alpha, DIGITS),
        "alpha_low": round(study.alpha_range[0], DIGITS),
        "alpha_high": round(study.alpha_range[1], DIGITS),
        "lower_bound": study.lower_bound,
        "upper_bound": study.upper_bound,
        "payoff_today": study.payoff_today,
        "payoff_best": study.payoff_best,
        "gain": study.payoff_best / study.payoff_today - 1,
        "gain_low": study.gain_range[0],
        "gain_high": study.gain_range[1],
    }
    if regression is not None and not study.estimate.why_not:
        for name, ends in (("b0", regression.b0_interval), ("b1", regression.b1_interval)):
            row |= {f"{name}_low": ends[0], f"{name}_high": ends[1]}
    for name, value, (low, high) in zip(("c1", "c2", "c3"), shown, interval, strict=True):
        row |= {name: value, f"{name}_low": low, f"{name}_high": high}
    for axis, name in enumerate(("opportunity_cost", "deviation_cost")):
        tried = (fit.opportunity_costs, fit.deviation_costs)[axis]
        fits = np.flatnonzero(fit.plausible.any(axis=1 - axis))
        around = np.concatenate(
            [[0.0], tried, [np.inf]]
        )  # the next ones tried on both sides are excluded, what lies between is not
        row |= {
            name: float(tried[study.pair[axis]]),
            f"{name}_low": float(around[fits[0]]),
            f"{name}_high": float(around[fits[-1] + 2]),
        }
    row["revenue_floor"] = round(1 - row["alpha_high"], DIGITS) if study.supported else None
    note = fit.identification()
    if not study.supported:
        note += (
            "; so today's share may be the best one, and no floor is supported: weeks with another"
            " share, or [market] opportunity_cost, would tell"
        )
    why = (
        f" The donation function is the document's, because {study.estimate.why_not}."
        if study.estimate.why_not
        else ""
    )
    row["note"] = f"{note[0].upper()}{note[1:]}.{why}"
    return row


def _profile(study: MarketStudy) -> list[dict[str, Any]]:
    fit = study.fit
    return [
        {
            "opportunity_cost": float(fit.opportunity_costs[v]),
            "deviation_cost": float(fit.deviation_costs[w]),
            "rmse": float(fit.rmse[v, w]),
            **dict(zip(("c1", "c2", "c3"), fit.coefficients[v, w].tolist(), strict=True)),
            "everyone_serves": bool(fit.everyone_serves[v, w]),
            "plausible": bool(fit.plausible[v, w]),
            "alpha": round(float(fit.best_alpha[v, w]), DIGITS) if fit.plausible[v, w] else None,
            "gain": float(fit.gain[v, w]) if fit.plausible[v, w] else None,
        }
        for v, w in np.ndindex(fit.rmse.shape)
    ]
