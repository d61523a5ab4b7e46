"""What a payout would have been: the functions whose values an explanation compares, and the parts they come to.

What belongs here: a pool's payout to one video as a function of its factors, a coin split as a function of its coins, and what decided it.
Which amounts are explained, and in which words, is in `explanation.py`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from pipelines.errors import ExpectedError
from pipelines.policy import Ads, Coins, exact
from solvers.ad_pool import allocate_pool
from solvers.attribution import shapley, whole_parts
from solvers.coin_split import split_videos
from solvers.gap_chain import gap_chain

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]


COMPONENTS = ("watch", "engagement", "diversity", "rewatch", "safety")
FACTORS = ("viewers", "trust", "group_weight", *COMPONENTS)
LABELS = {
    "pool": "category pool: a typical video in its place",
    "viewers": "viewers",
    "trust": "trust and watch minimum",
    "group_weight": "group weight of the viewers",
    "watch": "W, watch completion",
    "engagement": "E, engagement",
    "diversity": "D, diversity of engagement",
    "rewatch": "R, rewatching",
    "safety": "S, safety",
    "fairness": "fairness rule",
    "bounds": "floor or cap",
    "revenue": "ads next to the video",
    "platform": "platform's part",
    "normal": "normal coins kept",
    "premium": "premium coins kept",
    "typical": "a typical gifted video",
    "quality": "quality Q",
    "normal_coins": "normal coins gifted",
    "premium_coins": "premium coins gifted",
    "rules": "rules over groups, and rounding",
    "level": "the level that was reached",
    "overrun": "the month's budget, shared by all",
    "rounding": "rounding",
}


class NothingToExplainError(ExpectedError, LookupError):
    """There is no such amount: says what is wrong, and what there is."""


@dataclass(frozen=True)
class Part:
    """One part of an amount (micros); with the factor's own value and the typical one, where it has any."""

    name: str
    micros: int
    own: float | None = None
    typical: float | None = None

    @property
    def label(self) -> str:
        return LABELS.get(self.name, self.name)


# ------------------------------------------------------------------------------------------------------------- an ad pool


@dataclass(frozen=True, eq=False)
class Pool:
    """One category's pool as its videos see it; all arrays have a row a video, in order of unit, then of video.

    `columns` holds the factors of effective views; a component enters with its exponent. `ruled`: a rule over groups holds in it.
    """

    micros: int
    ads: Ads
    exponents: dict[str, float]
    views: Floats
    unit: npt.NDArray[np.intp]
    columns: dict[str, Floats]
    ruled: bool

    @cached_property
    def unit_views(self) -> Floats:
        return np.bincount(self.unit, weights=self.views).astype(np.float64)

    @cached_property
    def typical(self) -> dict[str, float]:
        """The median of every factor over the pool's videos."""
        return {name: float(np.median(column)) for name, column in self.columns.items()}

    @property
    def cap(self) -> int:
        most = self.ads.cap_micros if self.ads.cap_micros is not None else self.micros
        return min(most, int(exact(self.ads.cap_fraction) * self.micros))

    @property
    def bounded(self) -> bool:
        return self.ads.floor_micros > 0 or self.cap < self.micros

    def attribute(self, row: int, paid: int) -> tuple[Part, ...]:
        """What the video in `row` was paid, as parts that sum to it: the pool (a typical video), one a factor, rounding.

        Rules over groups tie units together, so they are not switched with the factors: their part is what they change in the end.

        Raises
        ------
        NothingToExplainError
            The pool does not pay this under its policy: some of the tables were made again since.
        """
        own = {name: float(column[row]) for name, column in self.columns.items()}
        on, off = ({name: x[name] ** self.exponents.get(name, 1.0) for name in FACTORS} for x in (own, self.typical))
        moved = [name for name in FACTORS if on[name] != off[name]]
        switches = [*moved, "fairness", *(["bounds"] if self.bounded else [])]

        def value(coalitions: Mask) -> Floats:
            views = np.full(len(coalitions), np.prod([on[name] for name in FACTORS if name not in moved]))
            for place, name in enumerate(moved):
                views *= np.where(coalitions[:, place], on[name], off[name])
            views[coalitions[:, : len(moved)].all(axis=1)] = self.views[row]  # the product may differ from it in the last digit
            bounded = coalitions[:, -1] if self.bounded else np.zeros(len(coalitions), dtype=np.bool_)
            return self.payout(row, views, fair=coalitions[:, len(moved)], bounded=bounded)

        amounts = shapley(value, len(switches))
        nobody, everybody = value(np.repeat([[False], [True]], len(switches), axis=1)).tolist()
        if not self.ruled and abs(paid - everybody) > 2 + 1e-9 * self.micros:
            raise NothingToExplainError(f"the pool pays {everybody:.1f} micros for these views, and {paid} were paid")
        whole = dict(zip(("pool", *switches), whole_next_to([nobody, *amounts]), strict=True))
        shown = [name for name in FACTORS if name != "group_weight" or (self.columns[name] != 1).any()]
        return (
            Part("pool", whole["pool"]),
            *(Part(name, whole.get(name, 0), own[name], self.typical[name]) for name in shown),
            *(Part(name, whole[name]) for name in switches[len(moved) :]),
            Part("rules" if self.ruled else "rounding", paid - sum(whole.values())),
        )

    def payout(self, row: int, views: Floats, *, fair: Mask, bounded: Mask) -> Floats:
        """Micros of the video in `row` if it had `views`, everybody else unchanged, before rounding.

        `fair`: by the policy's objective, otherwise in proportion to effective views; `bounded`: with its floor and cap.
        """
        unit = self.unit[row]
        mates = self.unit == unit
        mates[row] = False
        together = np.where(views == self.views[row], self.unit_views[unit], views + self.views[mates].sum())
        inside = np.where(together > 0, views / np.where(together > 0, together, 1.0), 1 / (1 + np.count_nonzero(mates)))
        others = np.delete(self.unit_views, unit)
        total = together + others.sum()
        watched = total > 0
        share: Floats = together / np.where(watched, total, 1.0)

        # --- a pool nobody could be paid from by views is carried, or split equally
        of_unit: Floats = np.where(watched, share, 1 / self.unit_views.size if self.ads.zero_quality == "equal" else 0.0) * self.micros

        # --- the policy's objective: closed form of the blend without bounds, the solver for everything else
        ads, closed = self.ads, fair & ~bounded & watched & (self.ads.objective == "blend")
        weight = together[closed] ** ads.alpha
        shaped = weight / (weight + (others**ads.alpha).sum())
        of_unit[closed] = self.micros * (ads.lambda_fair * shaped + ads.lambda_eff * share[closed]) / (ads.lambda_fair + ads.lambda_eff)
        solved = watched & (bounded | (fair & ~closed))
        problems = np.column_stack([together, fair, bounded])[solved]
        distinct, which = np.unique(problems, axis=0, return_inverse=True)
        of_unit[solved] = np.array([self._solve(unit, *problem) for problem in distinct.tolist()])[which.ravel()]
        return of_unit * inside

    def _solve(self, unit: int, together: float, fair: float, bounded: float) -> float:
        views = self.unit_views.copy()
        views[unit] = together
        ads = self.ads
        return float(
            allocate_pool(
                float(self.micros),
                views,
                alpha=ads.alpha,
                lambda_fair=ads.lambda_fair if fair else 0.0,
                lambda_eff=ads.lambda_eff if fair else 1.0,
                objective=ads.objective if fair else "blend",
                floor=float(ads.floor_micros) if bounded and ads.floor_micros else None,
                cap=float(self.cap) if bounded and self.cap < self.micros else None,
            ).payout[unit]
        )


def whole_next_to(parts: Sequence[float]) -> list[int]:
    """Whole micros next to the parts, which sum to their sum rounded; what the payout is off that is the part called rounding."""
    whole: list[int] = whole_parts(parts, round(math.fsum(parts))).tolist()
    return whole


# ---------------------------------------------------------------------------------------------------------------- gifted coins


def coin_pay(coins: Coins, normal: npt.ArrayLike, premium: npt.ArrayLike, quality: npt.ArrayLike) -> Floats:
    """Micros a creator is paid for coins on a video that complies, before rounding."""
    n, p = np.asarray(normal, dtype=np.float64), np.asarray(premium, dtype=np.float64)
    rules = ("theta", "normal_max", "premium_max", "min_gap", "max_gap", "lambda_rev", "lambda_util", "lambda_inc", "epsilon", "utility")
    found = split_videos(n, p, quality, revenue_floor=coins.floor * (n + p), **{rule: getattr(coins, rule) for rule in rules})
    return found.payout * coins.coin_micros


def coin_decision(coins: Coins, normal: int, premium: int, pay: float) -> tuple[str, str]:
    """What put a video's pay (coins) where it is, as a name and in words: a bound, a corner between two of them, or a balance.

    For every pay the best shares lie on a chain of three edges (`solvers.gap_chain`), so a place on the chain is the whole reason.

    >>> coin_decision(Coins(), 0, 1000, 50.0)[0]
    'smallest gap'
    """
    rules = {rule: np.array([getattr(coins, rule)]) for rule in ("normal_max", "premium_max", "min_gap", "max_gap")}
    chain = gap_chain(np.array([float(normal)]), np.array([float(premium)]), **rules)
    least, first, second, third = (float(x[0]) for x in (chain.pay_least, chain.pay_first, chain.pay_second, chain.pay_third))
    room, tolerance = (1 - coins.floor) * (normal + premium), 1e-9 * (normal + premium)
    top, widest = float(chain.premium_top[0]), float(chain.first[0])
    if room < third - tolerance and pay >= room - tolerance:
        return "platform floor", f"The platform keeps the least it may, {100 * coins.floor:.3g} % of the coins."
    if pay >= third - tolerance:
        return "most allowed", f"Both shares are the largest the policy allows: x_n = {float(chain.third[0]):g}, x_p = {top:g}."
    if pay >= second - tolerance and pay <= second + tolerance:
        return (
            "largest premium share",
            f"The premium share is the largest allowed beside x_n, {top:g}. A larger share of normal coins would narrow the gap between the"
            " two, and under the policy's weights that costs more than it is worth.",
        )
    if first - tolerance <= pay <= first + tolerance:
        return (
            "largest gap",
            f"The gap between the shares is the largest allowed, x_p = {widest:g} and x_n = 0. More pay could not widen it, and"
            " without that the policy's weights count a further coin for more with the platform than with the creator.",
        )
    if pay <= least + tolerance:
        return (
            "smallest gap",
            f"The gap between the shares is the smallest allowed, x_p = {coins.min_gap:g} and x_n = 0:"
            " the policy's weights count every further coin for more with the platform.",
        )
    edge = (
        "The platform keeps the normal coins, and the premium share grows"
        if pay < first
        else "The gap between the shares is the largest allowed, and both grow together"
        if pay < second
        else "The premium share is the largest allowed, and the normal share grows"
    )
    until = f"up to the point where a further coin is worth as much to the platform as to the creator ({coins.utility} utility)"
    return "balance", f"{edge} {until}."
