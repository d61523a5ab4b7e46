"""The policy: every number that decides who gets what, read from TOML, checked, hashed, and dated.

What belongs here: names, defaults, ranges and the choice of the policy in force on a day. No
formula is computed here.

A folder of policies holds one or more files; files with the same `name` are versions of one policy,
and the
version in force on a day is the one with the latest `effective_from` not after it.

Adding a field. A policy's hash stands in the ledger, and must be the same in every version of this
software; another hash means that other amounts are paid. So a field that is added to a section gets
as its default the value at which everything is as it was without it, and an entry with that value
in `LATER`; neither is changed or taken away afterwards (what ships may write another value in its
TOML). A section that is new gets its fields' entries and one of its own, `"section": {}`. No field
is ever removed, renamed or given another meaning.
`test_the_fields_that_are_hashed_are_those_of_the_first_version` says what was forgotten.
"""

from __future__ import annotations

import hashlib
import json
import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from fractions import Fraction
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from pipelines.errors import ExpectedError

Unit = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Rate = Annotated[float, Field(gt=0, lt=1)]
Micros = Annotated[int, Field(ge=0, le=10**18)]

# Fields that money was paid without, by path (lists add nothing to it: `ads.rules.maximum`), each
# with the value, as in JSON, at which everything is as it was before. Append; an entry that has
# been released is never edited.
LATER: dict[str, Any] = {
    "quality.prior": "mass",
    "quality.prior_actions": 10.0,
    "quality.history_days": 0,
    "quality.contrast": 1.0,
    "quality.unverified_evidence": 1.0,
    "quality.unverified_actions": 1.0,
    "quality.passing_cap": math.inf,
    "quality.reference": {},
    "quality.reference.watch": 0.3,
    "quality.reference.rewatch": 0.15,
    "quality.reference.like": 0.015,
    "quality.reference.comment": 0.0025,
    "quality.reference.share": 0.0007,
    "quality.reference.follow": 0.0013,
    "quality.reference.viewers": 20.0,
    "pulse.ranked_by": "quality",
    "ads.account_limit": math.inf,
    "ads.pool_weights": {},
    "ads.account_bound": math.inf,
    "coins.epsilon_of": "coin",
    "coins.quality": "value",
    "quality.confidence": 1.0,
    "quality.least_evidence": 10.0,
    "market.opportunity_cost": None,
    "epochs.percentile_edge": "above",
}


class PolicyError(ExpectedError, ValueError):
    """A policy file that cannot be used: says which file, which key and why."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ActionWeights(_Section):
    """beta of the ad revenue document, section 4: what each action adds to the engagement rate."""

    like: Unit = 0.1
    comment: Unit = 0.2
    share: Unit = 0.4
    follow: Unit = 0.3

    @model_validator(mode="after")
    def _sum(self) -> ActionWeights:
        if not math.isclose(
            total := self.like + self.comment + self.share + self.follow, 1, abs_tol=1e-9
        ):
            raise ValueError(f"must sum to 1, they sum to {total:g}")
        return self


class Exponents(_Section):
    """phi of the ad revenue document, section 4: exponents of the geometric aggregation."""

    watch: Unit = 0.35
    engagement: Unit = 0.25
    diversity: Unit = 0.15
    rewatch: Unit = 0.10
    safety: Unit = 0.15

    @model_validator(mode="after")
    def _sum(self) -> Exponents:
        total = self.watch + self.engagement + self.diversity + self.rewatch + self.safety
        if not math.isclose(total, 1, abs_tol=1e-9):
            raise ValueError(f"must sum to 1, they sum to {total:g}")
        return self


class Reference(_Section):
    """Rates of short-video platforms (KuaiRand's, docs/formulas.md section 1.5): what a platform is
    taken for as far as it has shown nothing itself, so that a kind of action that nobody took on a
    thin day is rare, not impossible.
    """

    watch: Rate = 0.3
    rewatch: Rate = 0.15
    like: Rate = 0.015
    comment: Rate = 0.0025
    share: Rate = 0.0007
    follow: Rate = 0.0013
    viewers: Positive = Field(20.0, description="viewers' worth that they count for")


class Quality(_Section):
    """The score Q of a video (the ad revenue document, section 4; docs/formulas.md section 1)."""

    window_days: Annotated[int, Field(ge=1, le=366)] = Field(
        1, description="trailing days that Q looks at"
    )
    trust_verified: Annotated[float, Field(gt=0, le=1)] = Field(1.0, description="alpha_ver")
    trust_unverified: Annotated[float, Field(gt=0, le=1)] = Field(0.8, description="alpha_unver")
    action_weights: ActionWeights = ActionWeights()
    exponents: Exponents = Exponents()
    toxicity_penalty: Unit = Field(0.5, description="tau")
    prior_mass: NonNegative = Field(
        0.0,
        description=(
            "m: how many viewers' worth of the platform's own rates is mixed in; 0 as printed"
        ),
    )
    unverified_cap: Annotated[float, Field(gt=0)] = Field(
        math.inf,
        description="kappa: unverified trust may be at most kappa rho (V + v0); inf as printed",
    )
    unverified_allowance: NonNegative = Field(
        2.0, description="v0: verified viewers' worth a video is granted before the cap bites"
    )
    prior: Literal["mass", "evidence"] = Field(
        "mass",
        description="what is mixed into a video's rates: prior_mass viewers, or as much as the"
        " platform's own spread between videos asks for (the fields from here to reference)",
    )
    prior_actions: Positive = Field(
        10.0,
        description="evidence: number of actions that a prior is worth at least, and at most ten times",
    )
    history_days: Annotated[int, Field(ge=0, le=366)] = Field(
        0, description="evidence: days before the day whose sums of a video count too"
    )
    contrast: Positive = Field(1.0, description="evidence: Q is the product to this power")
    unverified_evidence: Unit = Field(
        1.0, description="evidence: what an unverified viewer says counts for so much of a verified"
    )
    unverified_actions: Unit = Field(
        1.0, description="evidence: of that, what an unverified viewer's actions count for"
    )
    passing_cap: Annotated[float, Field(gt=0)] = Field(
        math.inf,
        description="evidence: viewers below the watch minimum count at most so many times as"
        " many as is usual",
    )
    confidence: NonNegative = Field(
        1.0, description="evidence: standard deviations taken off what is assured of Q"
    )
    least_evidence: NonNegative = Field(
        10.0, description="evidence: verified viewers' worth below which nothing is assured of Q"
    )
    reference: Reference = Reference()
    neutral_s_plus: Unit = Field(0.7, description="s_plus of a video nobody scored")
    neutral_s_tox: Unit = Field(0.0, description="s_tox of a video nobody scored")

    @model_validator(mode="after")
    def _tiers(self) -> Quality:
        if self.trust_unverified > self.trust_verified:
            raise ValueError(
                f"trust_unverified = {self.trust_unverified:g} is above trust_verified ="
                f" {self.trust_verified:g}"
            )
        if self.prior == "evidence" and self.window_days > 1:
            raise ValueError("prior = 'evidence' looks back by history_days: window_days must be 1")
        return self

    @property
    def powers(self) -> dict[str, float]:
        """The power with which each component stands in Q.

        >>> Quality(prior="evidence", contrast=2.0).powers["watch"]
        0.7
        """
        contrast = self.contrast if self.prior == "evidence" else 1.0
        return {name: value * contrast for name, value in self.exponents}


class Views(_Section):
    """What counts as a view (docs/formulas.md section 1)."""

    count: Literal["heads", "trust"] = Field(
        "heads", description="a qualified viewer counts as one, or as their trust"
    )
    min_watch_seconds: NonNegative = Field(
        0.0,
        description="least watch time of a qualified view, or the whole video if that is shorter",
    )
    min_watch_fraction: Unit = Field(0.0, description="least watched fraction of the video")


class Pulse(_Section):
    """Premium inventory (the ad revenue document, section 2; docs/formulas.md section 2)."""

    top_fraction: Unit = Field(0.04, description="share of compliant videos, best Q first")
    creator_share: Unit = Field(
        0.5, description="creator's part of the revenue next to a Pulse video"
    )
    min_safety: Unit = Field(0.5, description="least S of a Pulse video")
    ranked_by: Literal["quality", "assured"] = Field(
        "quality",
        description="by Q, or by what verified viewers leave no doubt about (the same unless"
        " [quality] prior = evidence)",
    )
    also_in_pools: bool = Field(True, description="Pulse videos compete in the category pools too")


class AdRule(_Section):
    """A rule over groups in ad pools that no floor or cap of a unit can say (docs/formulas.md
    section 2.8).

    Either a group gets at least or at most a part of each pool, or each unit, or each creator, gets
    at most a part.
    """

    name: Annotated[str, Field(min_length=1)]
    pools: tuple[str, ...] = Field(
        (), description="ad categories whose pools it holds in; none: all of them"
    )
    followers_below: Annotated[int, Field(ge=1)] | None = Field(
        None, description="the group: units with fewer followers (unknown: 0)"
    )
    followers_from: Annotated[int, Field(ge=1)] | None = Field(
        None, description="the group: units with at least as many followers"
    )
    label: str | None = Field(
        None,
        description="the group: videos that also carry this category; needs fairness_unit = video",
    )
    each: Literal["unit", "creator"] | None = Field(
        None, description="no group: everyone alone, by unit of fairness or by creator"
    )
    minimum: Unit | None = Field(None, description="part of the pool the group gets at least")
    maximum: Annotated[float, Field(gt=0, le=1)] | None = Field(
        None, description="part of the pool the group, or each, gets at most"
    )
    least_units: Annotated[int, Field(ge=1)] = Field(
        1, description="pools with fewer units are left alone"
    )

    def holds_in(self, category: str) -> bool:
        """Whether it is about the pool of that category."""
        return not self.pools or category in self.pools

    @model_validator(mode="after")
    def _says_something(self) -> AdRule:
        if (
            sum(
                (
                    self.followers_below is not None or self.followers_from is not None,
                    self.label is not None,
                    self.each is not None,
                )
            )
            != 1
        ):
            raise ValueError(
                "say whom it is about: followers_below and/or followers_from, or label, or each"
            )
        if self.minimum is None and self.maximum is None:
            raise ValueError("say what it asks for: minimum or maximum")
        if self.each and self.minimum is not None:
            raise ValueError(
                "each takes a maximum only; a minimum for everyone is [ads] floor_micros"
            )
        if self.minimum == 1:
            raise ValueError(
                "minimum = 1 leaves nothing to anybody else, and a payout of nothing has no"
                " logarithm: ask for less than all"
            )
        if self.minimum is not None and self.maximum is not None and self.minimum > self.maximum:
            raise ValueError(f"minimum = {self.minimum:g} is above maximum = {self.maximum:g}")
        return self


class Ads(_Section):
    """Category pools of non-Pulse revenue (the ad revenue document, section 3; docs/formulas.md
    section 2).
    """

    objective: Literal["blend", "linear"] = "blend"
    alpha: Annotated[float, Field(gt=0, le=1)] = Field(
        0.5, description="fairness shaping, w = s^alpha"
    )
    lambda_fair: NonNegative = 0.5
    lambda_eff: NonNegative = 0.5
    platform_share: Unit = 0.55
    platform_share_by_category: dict[str, Unit] = {}
    pool_weights: dict[str, NonNegative] = Field(
        {},
        description="by category (others: 1): pools get the day's money of creators in proportion to"
        " what came in times this; the sum stays",
    )
    account_limit: Annotated[float, Field(gt=0)] = Field(
        math.inf,
        description="viewer-days that one unverified account may at most move for a video; a check"
        " warns where it is more",
    )
    account_bound: Annotated[float, Field(gt=0)] = Field(
        math.inf,
        description="viewer-days that an unverified account may bring a video in the category pools:"
        " where it would be more, views of verified viewers stand in for them; inf as printed",
    )
    floor_micros: Micros = Field(0, description="least pay of a unit of fairness in a pool")
    cap_micros: Micros | None = Field(None, description="most pay of a unit of fairness in a pool")
    cap_fraction: Annotated[float, Field(gt=0, le=1)] = Field(
        1.0, description="most pay of a unit of fairness as a fraction of the pool"
    )
    fairness_unit: Literal["creator", "video"] = "creator"
    empty_pool: Literal["carry", "spread"] = Field(
        "carry", description="a pool with money and no eligible video"
    )
    zero_quality: Literal["carry", "equal"] = Field(
        "carry", description="a pool whose videos all have Q = 0"
    )
    rules: tuple[AdRule, ...] = Field(
        (), description="rules over groups, each an [[ads.rules]] of its own"
    )

    @model_validator(mode="after")
    def _consistent(self) -> Ads:
        if len({rule.name for rule in self.rules}) < len(self.rules):
            raise ValueError(
                f"two rules have the same name: {', '.join(rule.name for rule in self.rules)}"
            )
        for rule in self.rules:
            if rule.label is not None and self.fairness_unit != "video":
                raise ValueError(
                    f"rule {rule.name!r} is about videos (label), but fairness_unit ="
                    f" {self.fairness_unit}"
                )
        if self.lambda_fair + self.lambda_eff <= 0:
            raise ValueError("lambda_fair and lambda_eff are both 0: nothing is maximised")
        if self.cap_micros is not None and self.floor_micros > self.cap_micros:
            raise ValueError(
                f"floor_micros = {self.floor_micros} is above cap_micros = {self.cap_micros}"
            )
        return self

    def platform_share_of(self, category: str) -> Fraction:
        """Platform's share of a category as the exact decimal that stands in the file."""
        return exact(self.platform_share_by_category.get(category, self.platform_share))

    def unit_cap(self, pool: int) -> int:
        """The most a unit of fairness may get of a pool, both in micros.

        >>> Ads(cap_micros=700, cap_fraction=0.5).unit_cap(1001)
        500
        """
        most = pool if self.cap_micros is None else self.cap_micros
        return min(most, int(exact(self.cap_fraction) * pool))


class Coins(_Section):
    """Split of gifted coins (the donation document, sections 4 and 5; docs/formulas.md section 3).

    With `scope = "video"` every video is its own problem (lambda_rev, lambda_util, lambda_inc);
    with `"platform"` all videos of a day are one (lambda_fair, lambda_eff, lambda_inc), and
    revenue_floor is a part of the coins of all of them.
    """

    scope: Literal["video", "platform"] = "video"
    coin_micros: Annotated[int, Field(gt=0, le=10**9)] = Field(
        10_000, description="value of one coin in micros"
    )
    normal_max: Unit = Field(0.6, description="x_n max")
    premium_max: Unit = Field(0.8, description="x_p max")
    min_gap: Unit = Field(0.05, description="delta")
    max_gap: Unit = Field(0.4, description="Delta")
    theta: NonNegative = Field(0.5, description="f(Q) = 1 + theta Q")
    lambda_rev: NonNegative = 0.4
    lambda_util: NonNegative = 0.4
    lambda_inc: NonNegative = 0.2
    epsilon: Positive = Field(1.0, description="in epsilon_of; u = log(1 + pay/epsilon)")
    epsilon_of: Literal["coin", "video"] = Field(
        "coin",
        description="unit of epsilon: one coin, whatever a coin is, or the video's own coins (with"
        " platform scope the mean video's), so that the split depends on shares alone",
    )
    quality: Literal["value", "rank"] = Field(
        "value",
        description="what stands in f(Q): Q, or its rank among the day's compliant videos (0 to 1;"
        " the middle where nobody watched)",
    )
    utility: Literal["log", "linear"] = "log"
    revenue_floor: Unit | Literal["market"] = Field(
        0.1,
        description=(
            "R_min as a fraction of the coins, or `market`: what the latest week's donation market"
            " says ([market])"
        ),
    )
    lambda_fair: NonNegative = Field(
        0.4, description="platform scope: weight of sum w f(Q) log(epsilon + pay)"
    )
    lambda_eff: NonNegative = Field(
        0.4, description="platform scope: weight of sum s pay / sum pay"
    )
    weight: Literal["coins", "quality"] = Field(
        "coins",
        description="platform scope: w = (coins of the video / all coins)^alpha, or Q^alpha",
    )
    alpha: Annotated[float, Field(gt=0, le=1)] = Field(
        0.5, description="platform scope: exponent of w"
    )
    gap_by_quality: bool = Field(
        False, description="platform scope: least gap delta Q instead of delta"
    )
    payout_cap: Unit = Field(1.0, description="platform scope: P_max as a fraction of all coins")
    payout_min: Unit = Field(
        0.0, description="platform scope: least pay of a video as a fraction of its coins"
    )
    payout_max: Unit = Field(
        1.0, description="platform scope: most pay of a video as a fraction of its coins"
    )

    @model_validator(mode="after")
    def _feasible(self) -> Coins:
        if self.min_gap > min(self.premium_max, self.max_gap):
            raise ValueError(
                f"min_gap = {self.min_gap:g} is above premium_max = {self.premium_max:g} or max_gap"
                f" = {self.max_gap:g}"
            )
        floor = self.revenue_floor if self.revenue_floor != "market" else 0.0
        if self.min_gap > 1 - floor:
            raise ValueError(
                f"min_gap = {self.min_gap:g} leaves the platform less than revenue_floor ="
                f" {floor:g}"
            )
        if self.payout_min > min(self.payout_max, self.payout_cap, 1 - floor):
            raise ValueError(
                f"payout_min = {self.payout_min:g} is above payout_max, payout_cap or what"
                " revenue_floor leaves"
            )
        if self.lambda_fair + self.lambda_eff + self.lambda_inc <= 0:
            raise ValueError(
                "lambda_fair, lambda_eff and lambda_inc are all 0: nothing is maximised"
            )
        return self

    @property
    def floor(self) -> float:
        """R_min as a number. Where a market decides it, it is one only for a day:
        `pipelines.market.floor.floor_on`.
        """
        if self.revenue_floor == "market":
            raise ValueError(
                "the revenue floor is that of a day's market; put it in with at_floor first"
            )
        return self.revenue_floor

    def epsilon_for(self, coins: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Epsilon in coins, for videos with so many of them.

        >>> Coins(epsilon=0.1, epsilon_of="video").epsilon_for(np.array([0.0, 50.0])).tolist()
        [0.1, 5.0]
        """
        of_video = self.epsilon_of == "video"
        return self.epsilon * np.where(of_video & (coins > 0), coins, 1.0)

    def at_floor(self, floor: float) -> Coins:
        """These rules with R_min as a number; raises ValidationError where they then contradict
        each other.

        >>> Coins(revenue_floor="market").at_floor(0.25).floor
        0.25
        """
        return Coins.model_validate(self.model_dump() | {"revenue_floor": floor})


class Market(_Section):
    """The weekly study of the donation market (Tang and Huang; docs/formulas.md section 7), and a
    revenue floor taken from it.

    As long as [coins] revenue_floor is a number, nothing that is paid depends on it, and it is not
    part of the policy's hash.
    """

    window: Annotated[int, Field(ge=1, le=96)] | None = Field(
        None,
        description=(
            "K: quarter hours in a row that a creator serves; left out: as many as creators were"
            " seen in"
        ),
    )
    locations: Literal[12, 24, 48, 96] = Field(
        24,
        description="times of day that preferences are fitted at; 96 takes about ten times as long",
    )
    opportunity_costs: tuple[Positive, ...] = Field(
        (0.1, 0.5, 0.9), description="V to try, in what a creator earns from gifts a day today"
    )
    opportunity_cost: Positive | None = Field(
        None,
        description="V in coins a day, where it is known from elsewhere (a survey, an experiment);"
        " then opportunity_costs are not tried, and one week supports a floor",
    )
    deviation_costs: tuple[NonNegative, ...] = Field(
        (1.0, 10.0, 100.0), description="W to try, in what a creator earns from gifts a day today"
    )
    fallback_floor: Unit = Field(0.1, description="R_min of days before which no week has a market")
    floor_bounds: tuple[Unit, Unit] = Field(
        (0.0, 0.9), description="R_min of a market is kept within these"
    )

    @model_validator(mode="after")
    def _ordered(self) -> Market:
        if self.floor_bounds[0] > self.floor_bounds[1]:
            raise ValueError(f"floor_bounds = {list(self.floor_bounds)} must increase")
        if not self.opportunity_costs or not self.deviation_costs:
            raise ValueError("opportunity_costs and deviation_costs need at least one value each")
        return self


class Experiment(_Section):
    """Two arms of viewers, by a hash of the viewer's id: the mechanism acts on one, the other is
    what would have been without it.
    """

    treatment: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]*$")] = Field(
        "treatment", description="name of the arm under the mechanism"
    )
    control: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]*$")] = Field(
        "control", description="name of the arm whose weights are 1"
    )
    share: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.5, description="share of viewers under treatment"
    )
    salt: Annotated[str, Field(min_length=1)] = Field(
        description="another salt draws other arms; keep it while the experiment runs"
    )

    @model_validator(mode="after")
    def _two(self) -> Experiment:
        if self.treatment == self.control:
            raise ValueError(f"both arms are called {self.control!r}")
        return self


class Epochs(_Section):
    """Adaptive epochs (Yao et al., algorithm 1; docs/formulas.md section 5).

    As long as the mechanism is `none` nothing depends on the other values, and they are not part of
    the policy's hash.
    """

    mechanism: Literal["none", "uir", "smt", "hmt"] = Field(
        "none", description="what the weights do; `none` keeps every weight at 1"
    )
    groups: Annotated[int, Field(ge=1, le=1000)] = Field(
        20, description="L: number of viewer groups, before small ones are merged"
    )
    min_group_viewers: Annotated[int, Field(ge=1)] = Field(
        50, description="groups with fewer viewers are merged into the nearest"
    )
    refresh_days: Annotated[int, Field(ge=1)] = Field(
        28, description="a grouping holds for so many days, then a new version is made"
    )
    seed: Annotated[int, Field(ge=0)] = Field(7, description="seed of k-means")
    utility: Literal["ltr", "completion", "comments", "shares", "follows"] = Field(
        "ltr",
        description=(
            "utility of a group, per impression: likes (ltr), watched part of the video, comments,"
            " shares, follows"
        ),
    )
    relative: bool = Field(
        True, description="utility as its change over the mean of the previous two days"
    )
    min_impressions: Annotated[int, Field(ge=1)] = Field(
        100, description="groups with fewer on a day keep their weight"
    )
    rate: NonNegative = Field(0.5, description="alpha of Algorithm 1: step of the weights")
    rate_schedule: tuple[tuple[Annotated[int, Field(ge=1)], NonNegative], ...] = Field(
        (), description="alpha from a number of epochs on, e.g. [[14, 0.25], [28, 0.1]]"
    )
    clip: tuple[Annotated[float, Field(ge=0.001)], Annotated[float, Field(le=1000)]] = Field(
        (0.2, 5.0), description="weights stay within these"
    )
    stuck_days: Annotated[int, Field(ge=1)] = Field(
        7, description="days in a row at an end of the clip from which a check complains"
    )
    temperature: Positive = Field(0.1, description="beta that SMT multiplies by the weight")
    top_k: Annotated[int, Field(ge=1)] = Field(
        20, description="K that HMT multiplies by the weight"
    )
    percentiles: tuple[tuple[Positive, Unit], ...] = Field(
        ((1.0, 0.99), (1.19, 0.95), (1.79, 0.90), (2.13, 0.85), (2.36, 0.75), (2.68, 0.70)),
        description=(
            "HMT's cold-start percentile below each weight (Table 1); the first is what holds"
            " without HMT"
        ),
    )
    percentile_above: Unit = Field(
        0.10, description="HMT's cold-start percentile from the last weight on"
    )
    percentile_edge: Literal["below", "above"] = Field(
        "above",
        description="row of a weight on a bound of percentiles: below it, so that a group at weight"
        " 1 keeps what holds without HMT, or above it, as Table 1 is printed",
    )
    experiment: Experiment | None = Field(
        None, description="two arms of viewers; without it the mechanism acts on all"
    )

    @model_validator(mode="after")
    def _ordered(self) -> Epochs:
        if not self.clip[0] <= 1 <= self.clip[1]:
            raise ValueError(f"clip = {list(self.clip)} must hold 1 between its ends")
        weights = [weight for weight, _ in self.percentiles]
        if not weights or weights != sorted(set(weights)):
            raise ValueError(f"the weights of percentiles must increase, they are {weights}")
        epochs = [epoch for epoch, _ in self.rate_schedule]
        if epochs != sorted(set(epochs)):
            raise ValueError(f"the epochs of rate_schedule must increase, they are {epochs}")
        return self

    def rate_in(self, epoch: int) -> float:
        """Alpha of an epoch, counted from the first day on which all weights were 1.

        >>> [Epochs(rate=0.5, rate_schedule=((14, 0.1),)).rate_in(epoch) for epoch in (0, 13, 14)]
        [0.5, 0.5, 0.1]
        """
        return ([self.rate] + [rate for begin, rate in self.rate_schedule if begin <= epoch])[-1]


class Bonus(_Section):
    """Monthly bonuses for what creators produce, by a published step function (Chen et al.;
    docs/formulas.md section 6).

    As long as the budget is 0 nothing depends on the other values, and they are not part of the
    policy's hash.
    """

    budget_micros: Micros = Field(0, description="money for a month's bonuses; 0: none are paid")
    planned: Annotated[float, Field(gt=0, le=1)] = Field(
        1.0, description="part of it that the schedule is made for; the rest is a reserve"
    )
    exponent: Annotated[float, Field(gt=1, le=10)] = Field(
        2.0, description="k: producing x costs a creator its difficulty times x^k"
    )
    levels: Annotated[int, Field(ge=1, le=1000)] = Field(
        20, description="classes of like creators, and levels of the schedule, at most"
    )
    history_days: Annotated[int, Field(ge=2, le=366)] = Field(
        56, description="trailing days from which creators are judged"
    )
    prior_days: Positive = Field(
        7.0, description="m: how many days of a typical creator are mixed into each history"
    )


class Policy(_Section):
    """One version of a policy."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]*$")]
    effective_from: date
    description: str = ""
    quality: Quality = Quality()
    views: Views = Views()
    pulse: Pulse = Pulse()
    ads: Ads = Ads()
    coins: Coins = Coins()
    market: Market = Market()
    epochs: Epochs = Epochs()
    bonus: Bonus = Bonus()

    @model_validator(mode="after")
    def _accounts_are_told_apart(self) -> Policy:
        if math.isfinite(self.ads.account_bound) and self.quality.prior != "evidence":
            raise ValueError(
                f"[ads] account_bound = {self.ads.account_bound:g} needs what verified and"
                ' unverified viewers did apart: [quality] prior = "evidence"'
            )
        return self

    @model_validator(mode="after")
    def _market_leaves_room(self) -> Policy:
        if self.coins.revenue_floor == "market":
            highest = max(self.market.fallback_floor, self.market.floor_bounds[1])
            try:
                self.coins.at_floor(highest)
            except ValidationError as error:
                raise ValueError(
                    f"[market] lets revenue_floor be {highest:g}: {_reason(error.errors()[0])}"
                ) from error
        return self

    @property
    def content(self) -> str:
        """All of it as JSON that `Policy.model_validate_json` reads back (with `Infinity`, which
        strict JSON lacks).
        """
        return json.dumps(self.model_dump(mode="json"))

    def with_fields(self, values: Mapping[str, Any]) -> Policy:
        """The policy with some fields changed, each named `section.field`.

        Raises
        ------
        ValidationError
            The policy as a whole makes no sense any more.

        Examples
        --------
        >>> policy = Policy(name="a", effective_from=date(2026, 1, 1))
        >>> policy.with_fields({"ads.alpha": 1.0}).ads.alpha
        1.0
        """
        content = self.model_dump()
        for field, value in values.items():
            section, name = field.split(".")
            content[section][name] = value
        return Policy.model_validate(content)

    @property
    def hash(self) -> str:
        """Its `policy_hash`.

        >>> one = Policy(name="a", effective_from=date(2026, 1, 1))
        >>> one.hash == Policy(name="b", effective_from=date(2027, 1, 1)).hash
        True
        """
        return policy_hash(self.model_dump(mode="json"))


def policy_hash(values: Mapping[str, Any]) -> str:
    """First 16 hex digits of the SHA-256 of everything in a policy that decides an amount.

    Name, date and prose are left out, sections that are not in use, and `LATER` fields at the value
    that changes nothing. It takes a policy as JSON and needs no `Policy`, so that one that was kept
    has the hash it had when money was paid under it, whatever fields came since and whatever is
    refused since.
    """
    off = {
        "epochs": values.get("epochs", {}).get("mechanism", "none") == "none",
        "market": values["coins"]["revenue_floor"] != "market",
        "bonus": not values.get("bonus", {}).get("budget_micros", 0),
    }
    idle = {name for name, unused in off.items() if unused}
    deciding = {
        name: found
        for name, found in values.items()
        if name not in {"name", "effective_from", "description"} | idle
    }
    return hashlib.sha256(
        json.dumps(_without_later(deciding), sort_keys=True).encode()
    ).hexdigest()[:16]


def _without_later(values: Any, path: tuple[str, ...] = ()) -> Any:
    if isinstance(values, list):
        return [_without_later(value, path) for value in values]
    if not isinstance(values, dict):
        return values
    kept = {(*path, name): _without_later(value, (*path, name)) for name, value in values.items()}
    return {
        at[-1]: value
        for at, value in kept.items()
        if not (".".join(at) in LATER and LATER[".".join(at)] == value)
    }


def exact(value: float) -> Fraction:
    """The decimal a person wrote, not the nearest double.

    >>> exact(0.55)
    Fraction(11, 20)
    """
    return Fraction(repr(value))


def read_policy(path: Path) -> Policy:
    """Read one TOML file.

    Raises
    ------
    PolicyError
        The file cannot be read or parsed, or has an unknown key or an impossible value; names file,
        key and reason.
    """
    try:
        return _parsed(path, path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise PolicyError(f"{path}: {error}") from error


@lru_cache(maxsize=64)  # every asset of a run asks for the same few
def _parsed(path: Path, text: str) -> Policy:
    data = tomllib.loads(text)
    try:
        # As JSON, because strict JSON is what TOML is: no `alpha = true` or `alpha = "0.5"`, but
        # lists where tuples are meant.
        policy = Policy.model_validate_json(json.dumps(data, default=str), strict=True)
    except ValidationError as error:
        lines = [
            f"{path}: {'.'.join(map(str, e['loc'])) or 'policy'}: {_reason(e)}"
            for e in error.errors()
        ]
        raise PolicyError("\n".join(lines)) from error
    if broken := _empty_promises(policy.coins):
        raise PolicyError("\n".join(f"{path}: coins: {words}" for words in broken))
    return policy


_PLATFORM_ONLY = (
    "lambda_fair", "lambda_eff", "weight", "alpha", "gap_by_quality", "payout_cap", "payout_min",
    "payout_max",
)  # fmt: skip


def _empty_promises(coins: Coins) -> list[str]:
    """What a file may not say of coins: fields without effect, and payouts that a day's gifts could
    make impossible. Not part of `Coins`, for what money was paid under stays readable.
    """
    if coins.scope == "video":
        return [
            f"{name} = {getattr(coins, name)!r} has no effect under scope = 'video': leave it out,"
            " or set scope = 'platform'"
            for name in _PLATFORM_ONLY
            if getattr(coins, name) != Coins.model_fields[name].default
        ]
    found = []
    most = min(coins.normal_max, coins.premium_max - coins.min_gap)
    if coins.payout_min > most:
        found.append(
            f"payout_min = {coins.payout_min:g} cannot be paid of a video with normal coins only:"
            f" normal_max, premium_max and min_gap leave {most:g}"
        )
    return [
        *found,
        *(
            f"{name} = {getattr(coins, name):g} is less than min_gap = {coins.min_gap:g}, which a"
            " video with premium coins only gets at least"
            for name in ("payout_max", "payout_cap")
            if getattr(coins, name) < coins.min_gap
        ),
    ]


def _reason(error: Mapping[str, object]) -> str:
    if error["type"] == "extra_forbidden":
        return "unknown key"
    message, given = str(error["msg"]).removeprefix("Value error, "), error["input"]
    if error["type"] in ("missing", "value_error"):
        return message
    if (
        error["type"] == "less_than_equal"
        and error["ctx"] == {"le": 1.0}
        and isinstance(given, int | float)
        and given <= 100
    ):
        return (
            f"{message} (it is {given!r}): it is a part of one, so {given:g} % is {given / 100:g}"
        )
    return f"{message} (it is {given!r})"


@dataclass(frozen=True)
class PolicyBook:
    """Versions of one policy, oldest first."""

    versions: tuple[Policy, ...]

    @classmethod
    def read(cls, folder: Path, name: str) -> PolicyBook:
        """All versions called `name` in `folder`. Every file there is checked, so a typo is found
        before it is needed.
        """
        policies = {path: read_policy(path) for path in sorted(folder.glob("*.toml"))}
        chosen = sorted(
            (p for p in policies.values() if p.name == name), key=lambda p: p.effective_from
        )
        if not chosen:
            known = ", ".join(sorted({p.name for p in policies.values()})) or "none"
            raise PolicyError(f"{folder}: no policy is called {name!r}; there is {known}")
        for before, after in pairwise(chosen):
            if before.effective_from == after.effective_from:
                files = ", ".join(str(path) for path, p in policies.items() if p in (before, after))
                raise PolicyError(
                    f"{files}: two versions of {name!r} with effective_from ="
                    f" {after.effective_from}"
                )
        return cls(tuple(chosen))

    def in_force(self, day: date) -> Policy:
        """The version in force on `day`."""
        for policy in reversed(self.versions):
            if policy.effective_from <= day:
                return policy
        first = self.versions[0]
        raise PolicyError(
            f"policy {first.name!r}: no version is in force on {day}; the first has effective_from"
            f" = {first.effective_from}"
        )
