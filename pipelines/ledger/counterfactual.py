"""What a payout would have been: the functions whose values an explanation compares, and the parts
they come to.

What belongs here: a pool's payout to one video as a function of its factors, a coin split as a
function of its coins, and what decided it. Which amounts are explained, and in which words, is in
`explanation.py`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from pipelines.errors import ExpectedError
from pipelines.policy import Ads, Coins
from solvers.ad_pool import ShareSketch, paid_at
from solvers.arrays import Floats, Mask
from solvers.attribution import shapley, whole_parts
from solvers.coin_split import split_videos
from solvers.coin_split.gap_chain import gap_chain
from solvers.exact_sum import ExactSum

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
    """One part of an amount (micros); with the factor's own value and the typical one, where it has
    any.
    """

    name: str
    micros: int
    own: float | None = None
    typical: float | None = None

    @property
    def label(self) -> str:
        return LABELS.get(self.name, self.name)


# --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Place:
    """A video's place in a pool: its factors, its effective views, those of its unit, and of the
    other videos of the unit (`mates`).
    """

    factors: dict[str, float]
    views: float
    unit_views: float
    mates_views: float
    mates: int

    @classmethod
    def of(cls, factors: dict[str, float], views: float, unit: Floats) -> Place:
        """`unit`: the views of all videos of the unit, in the order in which they were added up
        when it was paid.
        """
        together, mates = (
            float(np.bincount(np.zeros(unit.size, dtype=np.intp), weights=unit)[0]),
            ExactSum(),
        )
        mates.add(np.append(unit, -views))
        return cls(factors, views, together, float(mates), unit.size - 1)


@dataclass(frozen=True, eq=False)
class Pool:
    """One category's pool as its videos see it: its units' views, and the median of every factor
    over its videos (`typical`).

    Components enter with their exponents. `reweighted`: groups of viewers weigh something in it;
    `ruled`: a rule over groups holds.
    """

    micros: int
    ads: Ads
    exponents: dict[str, float]
    units: ShareSketch
    typical: dict[str, float]
    reweighted: bool
    ruled: bool

    @property
    def cap(self) -> int:
        return self.ads.unit_cap(self.micros)

    @property
    def bounded(self) -> bool:
        return self.ads.floor_micros > 0 or self.cap < self.micros

    def attribute(self, place: Place, paid: int) -> tuple[Part, ...]:
        """What the video in `place` was paid, as parts that sum to it: the pool (a typical video),
        one a factor, rounding.

        Rules over groups tie units together, so they are not switched with the factors: their part
        is what they change in the end.

        Raises
        ------
        NothingToExplainError
            The pool does not pay this under its policy: some of the tables were made again since.
        """
        own = place.factors
        on, off = (
            {name: x[name] ** self.exponents.get(name, 1.0) for name in FACTORS}
            for x in (own, self.typical)
        )
        moved = [name for name in FACTORS if on[name] != off[name]]
        switches = [*moved, "fairness", *(["bounds"] if self.bounded else [])]

        def value(coalitions: Mask) -> Floats:
            views = np.full(
                len(coalitions), np.prod([on[name] for name in FACTORS if name not in moved])
            )
            for at, name in enumerate(moved):
                views *= np.where(coalitions[:, at], on[name], off[name])
            views[coalitions[:, : len(moved)].all(axis=1)] = (
                place.views
            )  # the product may differ from it in the last digit
            bounded = (
                coalitions[:, -1] if self.bounded else np.zeros(len(coalitions), dtype=np.bool_)
            )
            return self.payout(place, views, fair=coalitions[:, len(moved)], bounded=bounded)

        amounts = shapley(value, len(switches))
        nobody, everybody = value(np.repeat([[False], [True]], len(switches), axis=1)).tolist()
        if not self.ruled and abs(paid - everybody) > 2 + 1e-9 * self.micros:
            raise NothingToExplainError(
                f"the pool pays {everybody:.1f} micros for these views, and {paid} were paid"
            )
        whole = dict(zip(("pool", *switches), whole_next_to([nobody, *amounts]), strict=True))
        shown = [name for name in FACTORS if name != "group_weight" or self.reweighted]
        return (
            Part("pool", whole["pool"]),
            *(Part(name, whole.get(name, 0), own[name], self.typical[name]) for name in shown),
            *(Part(name, whole[name]) for name in switches[len(moved) :]),
            Part("rules" if self.ruled else "rounding", paid - sum(whole.values())),
        )

    def payout(self, place: Place, views: Floats, *, fair: Mask, bounded: Mask) -> Floats:
        """Micros of the video in `place` if it had `views`, everybody else unchanged, before
        rounding.

        `fair`: by the policy's objective, otherwise in proportion to effective views; `bounded`:
        with its floor and cap.
        """
        together = np.where(views == place.views, place.unit_views, views + place.mates_views)
        inside = np.where(
            together > 0, views / np.where(together > 0, together, 1.0), 1 / (1 + place.mates)
        )
        total = together + float(self.units.total - Fraction(place.unit_views))
        watched = total > 0
        share: Floats = together / np.where(watched, total, 1.0)

        # --- a pool nobody could be paid from by views is carried, or split equally
        of_unit: Floats = (
            np.where(
                watched, share, 1 / self.units.rows if self.ads.zero_quality == "equal" else 0.0
            )
            * self.micros
        )
        for fairly, within in ((True, True), (True, False), (False, True)):
            asked = watched & (fair == fairly) & (bounded == within)
            if not asked.any():
                continue
            distinct, which = np.unique(together[asked], return_inverse=True)
            of_unit[asked] = self._solve(place.unit_views, distinct, fair=fairly, bounded=within)[
                which
            ]
        return of_unit * inside

    def _solve(self, unit_views: float, together: Floats, *, fair: bool, bounded: bool) -> Floats:
        ads = self.ads
        return paid_at(
            float(self.micros),
            self.units,
            unit_views,
            together,
            alpha=ads.alpha,
            lambda_fair=ads.lambda_fair if fair else 0.0,
            lambda_eff=ads.lambda_eff if fair else 1.0,
            objective=ads.objective if fair else "blend",
            floor=float(ads.floor_micros) if bounded else 0.0,
            cap=float(self.cap) if bounded and self.cap < self.micros else math.inf,
        )


def whole_next_to(parts: Sequence[float]) -> list[int]:
    """Whole micros next to the parts, which sum to their sum rounded; what the payout is off that
    is the part called rounding.
    """
    whole: list[int] = whole_parts(parts, round(math.fsum(parts))).tolist()
    return whole


# --------------------------------------------------------------------------------------------------


def coin_pay(
    coins: Coins, normal: npt.ArrayLike, premium: npt.ArrayLike, quality: npt.ArrayLike
) -> Floats:
    """Micros a creator is paid for coins on a video that complies, before rounding."""
    n, p = np.asarray(normal, dtype=np.float64), np.asarray(premium, dtype=np.float64)
    rules = (
        "theta",
        "normal_max",
        "premium_max",
        "min_gap",
        "max_gap",
        "lambda_rev",
        "lambda_util",
        "lambda_inc",
        "utility",
    )
    split = split_videos(
        n,
        p,
        quality,
        revenue_floor=coins.floor * (n + p),
        epsilon=coins.epsilon_for(n + p),
        **{rule: getattr(coins, rule) for rule in rules},
    )
    return split.payout * coins.coin_micros


def coin_decision(coins: Coins, normal: int, premium: int, pay: float) -> tuple[str, str]:
    """What put a video's pay (coins) where it is, as a name and in words: a bound, a corner between
    two of them, or a balance.

    For every pay the best shares lie on a chain of three edges (`solvers.coin_split.gap_chain`), so
    a place on the chain is the whole reason.

    >>> coin_decision(Coins(), 0, 1000, 50.0)[0]
    'smallest gap'
    """
    rules = {
        rule: np.array([getattr(coins, rule)])
        for rule in ("normal_max", "premium_max", "min_gap", "max_gap")
    }
    chain = gap_chain(np.array([float(normal)]), np.array([float(premium)]), **rules)
    least, first, second, third = (
        float(x[0]) for x in (chain.pay_least, chain.pay_first, chain.pay_second, chain.pay_third)
    )
    room, tolerance = (1 - coins.floor) * (normal + premium), 1e-9 * (normal + premium)
    top, widest = float(chain.premium_top[0]), float(chain.first[0])
    if room < third - tolerance and pay >= room - tolerance:
        return (
            "platform floor",
            f"The platform keeps the least it may, {100 * coins.floor:.3g} % of the coins.",
        )
    if pay >= third - tolerance:
        return (
            "most allowed",
            (
                f"Both shares are the largest the policy allows: x_n = {float(chain.third[0]):g},"
                f" x_p = {top:g}."
            ),
        )
    if pay >= second - tolerance and pay <= second + tolerance:
        return (
            "largest premium share",
            (
                f"The premium share is the largest allowed beside x_n, {top:g}. A larger share of"
                " normal coins would narrow the gap between the two, and under the policy's"
                " weights that costs more than it is worth."
            ),
        )
    if first - tolerance <= pay <= first + tolerance:
        return (
            "largest gap",
            (
                f"The gap between the shares is the largest allowed, x_p = {widest:g} and x_n = 0."
                " More pay could not widen it, and without that the policy's weights count a"
                " further coin for more with the platform than with the creator."
            ),
        )
    if pay <= least + tolerance:
        return (
            "smallest gap",
            (
                f"The gap between the shares is the smallest allowed, x_p = {coins.min_gap:g} and"
                " x_n = 0: the policy's weights count every further coin for more with the"
                " platform."
            ),
        )
    edge = (
        "The platform keeps the normal coins, and the premium share grows"
        if pay < first
        else (
            "The gap between the shares is the largest allowed, and both grow together"
            if pay < second
            else "The premium share is the largest allowed, and the normal share grows"
        )
    )
    until = (
        "up to the point where a further coin is worth as much to the platform as to the creator"
        f" ({coins.utility} utility)"
    )
    return "balance", f"{edge} {until}."
