"""What one account could have moved: a day's certificate, video by video, in micros.

What belongs here: the score and the pools stated once more, in closed form and for all videos at
once, with accounts added to one video and everybody else unchanged. It knows neither the query that
made the scores nor the solver that split the pools, and refuses to judge a day whose scores it does
not find again. Attackers on a day that is really paid again are in `lab/gaming.py`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipelines.policy import Policy
from pipelines.quality.evidence import gather
from pipelines.schema import arrow_columns
from pipelines.store.warehouse import Connection
from solvers.arrays import Floats, Ints, Mask

RATES = {"like": "liked", "comment": "commented", "share": "shared", "follow": "followed"}


class ManipulationError(ArithmeticError):
    """The scores of a day are not what its evidence and its priors give: says of which video."""


@dataclass(frozen=True)
class Manipulation:
    """The day's rows of `manipulation`, and its figures for the asset's page."""

    rows: pa.Table
    metadata: dict[str, Any]


@dataclass(frozen=True, eq=False)
class Evidence:
    """What is known of every video: columns of `known`, the day's priors, S and C."""

    known: Mapping[str, Floats]
    priors: Mapping[str, tuple[float, float]]
    safety: Floats
    compliant: Mask
    policy: Policy

    def with_accounts(self, number: int, *, stays: bool) -> Evidence:
        """So many more unverified accounts on each video: that watch twice and do everything, or
        that leave at once.
        """
        worth = number * self.policy.quality.trust_unverified
        views = worth if self.policy.views.count == "trust" else number
        if stays:
            more = dict.fromkeys(("u_today", "u_stayed", "u_watched", "u_rewatched"), worth)
            more |= {"u_counted": views} | {f"u_{done}": worth for done in RATES.values()}
        else:
            more = {"u_passed": worth}
        known = {name: column + more.get(name, 0.0) for name, column in self.known.items()}
        return replace(self, known=known)

    def _trusted(self, u: str, v: str, ratio: str) -> Floats:
        """What the cap leaves of unverified viewers."""
        q, x = self.policy.quality, self.known
        room = q.unverified_cap * x[ratio] * (x[v] + q.unverified_allowance * q.trust_verified)
        capped = np.minimum(1.0, room / np.where(x[u] > 0, x[u], 1.0))
        return np.where((x[u] > 0) & np.isfinite(x[ratio]), capped, 1.0)

    @property
    def views(self) -> tuple[Floats, Floats]:
        """Qualified views of verified and of unverified viewers."""
        capped = self._trusted("u_today", "v_today", "rho_today")
        return self.known["v_counted"], capped * self.known["u_counted"]

    @property
    def quality(self) -> Floats:
        """Q of every video."""
        q, x = self.policy.quality, self.known
        nobody = x["nobody_verified"] > 0
        half = np.where(
            nobody, 1.0, q.unverified_evidence * self._trusted("u_stayed", "v_stayed", "rho")
        )
        acting = half * np.where(nobody, 1.0, q.unverified_actions)
        some = q.unverified_allowance + 1
        left = np.where(x["u_passed"] > 0, x["u_passed"], 1.0)
        usual = np.minimum(1.0, q.passing_cap * x["odds"] * (x["u_stayed"] + some) / left)
        leaving = half * np.where(nobody | (x["u_passed"] <= 0), 1.0, usual)
        stayed = x["v_stayed"] + half * x["u_stayed"]
        seen = stayed + x["v_passed"] + leaving * x["u_passed"]
        completed = (
            x["v_watched"] + half * x["u_watched"] + x["v_glanced"] + leaving * x["u_glanced"]
        )
        actors = x["v_stayed"] + acting * x["u_stayed"]
        engagement = np.zeros_like(seen)
        entropy = np.zeros_like(seen)
        done = {
            name: self._shrunk(name, x[f"v_{column}"] + acting * x[f"u_{column}"], actors)
            for name, column in RATES.items()
        }
        everything = np.sum(list(done.values()), axis=0)
        for name, rate in done.items():
            engagement = engagement + getattr(q.action_weights, name) * rate
            entropy = entropy - rate / everything * np.log(rate / everything)
        power = q.powers
        product = (
            self._shrunk("watch", completed, seen) ** power["watch"]
            * np.minimum(1.0, engagement) ** power["engagement"]
            * np.clip(entropy / np.log(4), 0.0, 1.0) ** power["diversity"]
            * self._shrunk("rewatch", x["v_rewatched"] + half * x["u_rewatched"], stayed)
            ** power["rewatch"]
            * self.safety ** power["safety"]
        )
        return np.where(self.compliant, np.minimum(1.0, product), 0.0)

    def _shrunk(self, name: str, successes: Floats, trials: Floats) -> Floats:
        rate, strength = self.priors[name]
        return np.asarray((successes + strength * rate) / (trials + strength))

    @property
    def effective(self) -> Floats:
        """Effective views as they were counted, before accounts are bounded."""
        return np.add(*self.views) * self.quality


def moved_by_accounts(con: Connection, day: date, policy: Policy) -> Manipulation:
    """Judge the day whose pools are sized and whose candidates are in `ad_candidates`.

    Raises
    ------
    ManipulationError
        Its scores are not those of its evidence and priors.
    """
    ads = policy.ads
    bounded = ads.floor_micros or ads.cap_micros is not None or ads.cap_fraction < 1 or ads.rules
    nothing = Manipulation(arrow_columns("manipulation").empty_table(), {})
    if policy.quality.prior != "evidence" or ads.objective != "blend" or bounded:
        return nothing
    evidence, scored, videos = _evidence(con, day, policy)
    if not len(scored) or not evidence.priors:
        return nothing
    again = evidence.effective
    if (off := np.abs(again - scored) > 1e-9 * np.maximum(scored, 1e-12)).any():
        at = int(np.argmax(off))
        raise ManipulationError(
            f"{videos[at]} has {scored[at]!r} effective views on {day}, and its evidence gives"
            f" {again[at]!r}"
        )
    (viewers,) = con.execute(
        "SELECT count(DISTINCT viewer_id) FROM viewer_events WHERE day = ?", [day]
    ).fetchall()[0]
    pools = _Pools.of(con, day, policy, len(videos))
    viewer_day = pools.money / viewers if viewers else 0.0
    bound = _Bound.of(con, day, videos, pools, viewer_day, evidence)
    bound.judge()
    before = bound.recorded
    one, ten = (
        pools.gain(before, bound.after(evidence.with_accounts(n, stays=True))) for n in (1, 10)
    )
    taken = -pools.gain(before, bound.after(evidence.with_accounts(1, stays=False)))
    verified, others = evidence.views
    verified, others = verified * bound.speaks_for, others * bound.weight
    paid = np.unique(pools.video)
    columns = {
        "video_id": videos[paid],
        "creator_id": pools.creators[paid],
        "account_micros": np.rint(one[paid]).astype(np.int64),
        "ten_micros": np.rint(ten[paid]).astype(np.int64),
        "taken_micros": np.rint(taken[paid]).astype(np.int64),
        "unverified_part": (others / np.maximum(verified + others, 1e-300))[paid],
        "viewer_day_micros": np.full(paid.size, round(viewer_day)),
        "account_limit": np.full(paid.size, ads.account_limit),
    }
    rows = pa.table(columns).cast(arrow_columns("manipulation"))
    if not paid.size or not viewer_day:
        return Manipulation(rows, {})
    by_views = (verified + others) * (scored > 0)
    moved = np.abs(pools.pay(before) - pools.pay(by_views)).sum() / 2
    return Manipulation(
        rows,
        {
            "account_worth_median (viewer-days)": float(np.median(one[paid])) / viewer_day,
            "account_worth_worst (viewer-days)": float(one[paid].max()) / viewer_day,
            "ten_accounts_worst (viewer-days each)": float(ten[paid].max()) / viewer_day / 10,
            "account_takes_worst (viewer-days)": float(taken[paid].max()) / viewer_day,
            "look_first_at": str(videos[paid[int(np.argmax(one[paid]))]]),
            "part of the money that quality moves": float(moved / pools.money),
        },
    )


@dataclass(frozen=True, eq=False)
class _Pools:
    """Who competes where: a row a video and category, by number."""

    video: Ints
    unit: Ints
    category: Ints
    micros: Floats
    creators: npt.NDArray[np.object_]
    policy: Policy

    @classmethod
    def of(cls, con: Connection, day: date, policy: Policy, videos: int) -> _Pools:
        rows = con.execute(
            """SELECT n, dense_rank() OVER (ORDER BY category, unit_id) - 1 AS unit,
                      dense_rank() OVER (ORDER BY category) - 1 AS category, creator_id,
                      pool_micros
               FROM ad_candidates JOIN ad_pools AS p USING (category)
               JOIN (SELECT video_id, row_number() OVER (ORDER BY video_id) - 1 AS n FROM known)
                 USING (video_id)
               WHERE p.day = ? AND p.rule = 'split' ORDER BY n, category""",
            [day],
        ).fetchnumpy()
        video, unit, category = (rows[name].astype(np.intp) for name in ("n", "unit", "category"))
        micros = np.zeros(category.max(initial=-1) + 1)
        micros[category] = rows["pool_micros"]
        creators = np.full(videos, None, dtype=np.object_)
        creators[video] = rows["creator_id"]
        return cls(video, unit, category, micros, creators, policy)

    @property
    def money(self) -> float:
        return float(self.micros.sum())

    def shares(self, views: Floats) -> tuple[Floats, Floats, Floats]:
        """Of each row's unit its views, of its category the sums of views and of their powers."""
        of_unit: Floats = np.bincount(self.unit, views[self.video]).astype(np.float64)
        _, first = np.unique(self.unit, return_index=True)
        pools = self.category[first]
        total: Floats = np.bincount(pools, of_unit).astype(np.float64)
        powers: Floats = np.bincount(pools, of_unit**self.policy.ads.alpha).astype(np.float64)
        return of_unit[self.unit], total[self.category], powers[self.category]

    def paid(self, own: Floats, total: Floats, powers: Floats) -> Floats:
        ads = self.policy.ads
        fair = own**ads.alpha / np.where(powers > 0, powers, 1.0)
        efficient = own / np.where(total > 0, total, 1.0)
        part = (ads.lambda_fair * fair + ads.lambda_eff * efficient) / (
            ads.lambda_fair + ads.lambda_eff
        )
        return np.asarray(self.micros[self.category] * part)

    def pay(self, views: Floats) -> Floats:
        """Of every row, by its video's part of its unit."""
        if not len(self.video):
            return np.zeros(0)
        own, total, powers = self.shares(views)
        inside = views[self.video] / np.where(own > 0, own, 1.0)
        return np.asarray(self.paid(own, total, powers) * inside)

    def gain(self, before: Floats, after: Floats) -> Floats:
        """Of each video's unit, over its pools, if that video alone had `after`."""
        if not len(self.video):
            return np.zeros(len(self.creators))
        own, total, powers = self.shares(before)
        alpha, more = self.policy.ads.alpha, (after - before)[self.video]
        then = np.maximum(own + more, 0.0)
        moved = self.paid(then, total + more, powers - own**alpha + then**alpha)
        more_paid = moved - self.paid(own, total, powers)
        return np.asarray(np.bincount(self.video, more_paid, minlength=len(self.creators)))


@dataclass(frozen=True, eq=False)
class _Bound:
    """The weights of views that the day was paid with, and what they answer to more accounts."""

    weight: Floats
    speaks_for: Floats
    ratio: float
    worth: float
    videos: npt.NDArray[np.object_]
    pools: _Pools
    evidence: Evidence

    @classmethod
    def of(
        cls,
        con: Connection,
        day: date,
        videos: npt.NDArray[np.object_],
        pools: _Pools,
        viewer_day: float,
        evidence: Evidence,
    ) -> _Bound:
        weight = np.ones(len(videos))
        rows = con.execute(
            """SELECT n, unverified_weight, speaks_for, verified_views, unverified_views
               FROM ad_views JOIN (SELECT video_id, row_number() OVER (ORDER BY video_id) - 1 AS n
                                   FROM known) USING (video_id)
               WHERE day = ? ORDER BY n""",
            [day],
        ).fetchnumpy()
        weight[rows["n"].astype(np.intp)] = rows["unverified_weight"]
        (ratio,) = con.execute(
            """SELECT coalesce(sum(k * u_counted) / nullif(sum(v_counted), 0), 0) FROM known
               WHERE video_id IN (SELECT video_id FROM ad_candidates)"""
        ).fetchall()[0]
        worth = pools.policy.ads.account_bound * viewer_day
        return cls(weight, 1 + ratio * (1 - weight), ratio, worth, videos, pools, evidence)

    def views(self, evidence: Evidence, weight: Floats) -> Floats:
        verified, others = evidence.views
        return np.asarray(verified * (1 + self.ratio * (1 - weight)) + weight * others)

    @cached_property
    def recorded(self) -> Floats:
        """Effective views at the weights that were paid by."""
        return self.views(self.evidence, self.weight) * self.evidence.quality

    @cached_property
    def _sums(self) -> tuple[Floats, Floats, Floats]:
        """Of every row, at those: what the unit has besides, the pool's sums."""
        own, total, powers = self.pools.shares(self.recorded)
        return np.maximum(own - self.recorded[self.pools.video], 0), total, powers

    def judge(self) -> None:
        """Unverified viewers bring no video much more than they may, except where no view can count
        for less. Sums over a pool answer to the weights, and these to the sums; in pools where
        most views count for the least, single videos are some percent beyond.
        """
        brings, may = self._brings(self.evidence, self.weight), self._may(self.evidence)
        least = self.weight.min(initial=1.0)
        wrong = (brings > 1.25 * may) & (self.weight > least) & (self.weight < 1)
        if math.isfinite(self.worth) and wrong.any():
            at = int(np.argmax(np.where(wrong, brings / may, 0)))
            raise ManipulationError(
                f"{self.videos[at]}: at a weight of {self.weight[at]:g} its unverified viewers"
                f" bring it {brings[at]:.0f} micros, and may bring {may[at]:.0f}"
            )

    def after(self, after: Evidence) -> Floats:
        """Effective views of each video if it alone had changed, its weight answering to that."""
        before = self.evidence
        was = self.views(before, self._answer(before)) * before.quality
        now = self.views(after, self._answer(after)) * after.quality
        return np.asarray(self.recorded * now / np.where(was > 0, was, 1.0))

    def _answer(self, evidence: Evidence) -> Floats:
        """The weight that each video would have, the sums over its pools as they are."""
        if not math.isfinite(self.worth) or not self.ratio:
            return np.ones_like(self.weight)
        may = self._may(evidence)
        low = np.full_like(self.weight, self.weight.min(initial=1.0))
        high = np.ones_like(low)
        fits = self._brings(evidence, high) <= may
        for _ in range(16):
            middle = np.sqrt(low * high)
            over = self._brings(evidence, middle) > may
            low, high = np.where(over, low, middle), np.where(over, middle, high)
        return np.where(fits, 1.0, low)

    @property
    def _account(self) -> float:
        policy = self.pools.policy
        return policy.quality.trust_unverified if policy.views.count == "trust" else 1.0

    def _may(self, evidence: Evidence) -> Floats:
        return np.asarray(self.worth * (evidence.views[1] / self._account + 1))

    def _brings(self, evidence: Evidence, weight: Floats) -> Floats:
        """What the unverified viewers of a video and one more bring it, by the pools' prices."""
        pools, quality = self.pools, evidence.quality
        rest, total, powers = self._sums
        verified = evidence.views[0] * (1 + self.ratio * (1 - weight)) * quality
        everybody = (verified + weight * (evidence.views[1] + self._account) * quality)[pools.video]
        less, more = rest + verified[pools.video], rest + everybody
        brings = pools.paid(more, total, powers) - pools.paid(less, total, powers)
        return np.bincount(pools.video, brings, minlength=weight.size).astype(np.float64)


def _evidence(
    con: Connection, day: date, policy: Policy
) -> tuple[Evidence, Floats, npt.NDArray[np.object_]]:
    gather(con, day, policy)
    found = con.execute("SELECT * EXCLUDE (video_id) FROM known ORDER BY video_id").fetchnumpy()
    scores = con.execute(
        """SELECT k.video_id, q.effective_views, q.safety, q.compliant
           FROM known AS k JOIN video_quality AS q ON q.day = ? AND q.video_id = k.video_id
           ORDER BY k.video_id""",
        [day],
    ).fetchnumpy()
    known = {  # a ratio that is missing is one to nobody: no cap
        name: np.ma.filled(
            np.ma.asarray(column).astype(np.float64), np.inf if name.startswith("rho") else 0.0
        )
        for name, column in found.items()
    }
    priors = {
        name: (rate, strength)
        for name, rate, strength in con.execute(
            "SELECT component, rate, strength FROM quality_priors WHERE day = ?", [day]
        ).fetchall()
    }
    evidence = Evidence(
        known, priors, scores["safety"], scores["compliant"].astype(np.bool_), policy
    )
    return evidence, scores["effective_views"], scores["video_id"]
