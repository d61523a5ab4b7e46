"""A made-up short-video platform, seeded: creators, videos, viewers with tastes, gifts, advertising
and bots.

How it behaves, in one place:

- **creators** are heavy-tailed: reach is Pareto with exponent 2. One account in twenty shares its
  verified identity with another, three in ten have none.
- **videos** carry one to three of six ad categories and a latent quality q ~ Beta(2, 2) that nobody
  downstream sees. It drives completion, rewatching, likes, comments, shares, follows and gifts, so
  a score that works ranks videos by it. A moderation service has scored most of them; 3 % do not
  comply.
- **how lively viewers are**: `kuairand` acts at the rates of a real platform, `lively` 7 to 60
  times as often, so that a thin made-up day shows something of everything (the bundled sample's).
  KuaiRand's standard log of 25 April to 8 May 2022 (219,301 viewings of known length): 1.7 % like,
  .26 % comment, .086 % share, .13 % follow; viewers watch .31 of a video in the mean, 47 % stay for
  two seconds and a tenth of it, 18 % watch nine tenths, 14 % watch more than all of it. Likes a
  viewing differ between videos of 200 viewings and more by as much as their mean (.015).
- **viewers** belong to one of six groups with a taste (a distribution over categories) and hours of
  day. Some are verified.
- **advertising**: one view in two shows an ad, at the price of its category; part of it is booked
  next to a video, by video and category, the rest by category and hour.
- **bots** are unverified accounts that hit a few videos of three small creators: half are like
  farms (a like, no watching), half mimics (watch to the end, copy every action). Nothing in the
  data marks them; the summary names the videos they push.
- **a niche**, on request: a small group of viewers whom little content suits (`simulated_niche`).
- **a donation market**, on request: creators are live at times of their choosing, and gifts follow
  from it (`simulated_market`).
- **the platform grows**: every day brings new viewers, creators and videos, verifications,
  followers and moderation scores. The first day's snapshots are full, later ones hold what is new
  or has changed.

Every random number comes from a generator named by (seed, day, stream): a day's bytes depend on the
seed, the first day and the parameters, not on how many days follow. The bytes are those of one
version of numpy, pyarrow and zlib.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime
from enum import IntEnum
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipelines.sources.simulator.market import LiveMarket, Schedule
from pipelines.sources.simulator.niche import (
    FEATURES,
    LIKES_OTHER,
    LIKES_OWN,
    Niche,
    Supply,
    freshness,
)

Array = NDArray[Any]
Rates = Literal["lively", "kuairand"]
Frame = dict[str, Array]

CPM = {"beauty": 60, "comedy": 18, "cooking": 32, "education": 45, "gaming": 26, "sport": 22}
"""Ad categories and what a thousand ads cost, in currency units."""
AD_LOAD = 0.5
NEAR_SHARE = 0.4
GROUPS = 6
GROWTH = {"viewers": 0.01, "creators": 0.005, "videos": 0.02}
"""Newcomers a day, as a fraction of those who are there."""
WEEK = (0.94, 0.93, 0.95, 0.97, 1.02, 1.1, 1.09)
"""Sessions of Monday to Sunday, over the average."""
DAY_MS = 86_400_000
HONEST, FARM, MIMIC = 0, 1, 2
CHANCES: dict[Rates, dict[str, tuple[float, float]]] = {
    "lively": {
        "liked": (0.03, 0.22),
        "commented": (0.01, 0.06),
        "shared": (0.005, 0.05),
        "followed": (0.003, 0.03),
    },
    "kuairand": {
        "liked": (0.012, 0.11),
        "commented": (0.002, 0.016),
        "shared": (0.0006, 0.0055),
        "followed": (0.001, 0.008),
    },
}
"""Chance of an action of somebody who watched more than .3 of a video: a + b q^2."""


class Stream(IntEnum):
    """What a generator is for."""

    (
        TASTES,
        VIEWERS,
        CREATORS,
        VIDEOS,
        CHANGES,
        BOTS,
        EVENTS,
        GIFTS,
        ADS,
        DELIVERY,
        NICHE,
        FINDS,
        MARKET,
    ) = range(13)


class Platform:
    """Everybody and everything on the platform as of the last day that was grown, as arrays by row
    number.
    """

    def __init__(
        self,
        seed: int,
        first_day: date,
        *,
        viewers: int,
        creators: int,
        videos: int,
        verified_share: float,
        bot_share: float,
        niche: Niche | None = None,
        live: LiveMarket | None = None,
        rates: Rates = "lively",
    ) -> None:
        self.rates: Rates = rates
        self.seed, self.first_day, self.verified_share, self.bot_share = (
            seed,
            first_day,
            verified_share,
            bot_share,
        )
        rng = generator(seed, first_day, Stream.TASTES)
        self.taste = rng.dirichlet(np.full(len(CPM), 0.6), GROUPS) + 0.05
        peak = rng.integers(0, 24, GROUPS)
        self.hours = 0.2 + np.exp(2.0 * np.cos((np.arange(24) - peak[:, None]) * (np.pi / 12)))
        self.viewers = self._new_viewers(first_day, viewers)
        self.creators = self._new_creators(first_day, creators)
        self.joined = np.arange(creators)
        self.videos = self._new_videos(first_day, videos)
        self.new_or_changed = {
            name: np.arange(n)
            for name, n in (("viewers", viewers), ("creators", creators), ("videos", videos))
        }

        rng = generator(seed, first_day, Stream.BOTS)
        bots = rng.permutation(viewers)[: round(bot_share * viewers)]
        self.viewers["bot"][bots] = np.where(np.arange(len(bots)) % 2, MIMIC, FARM)
        self.viewers["weight"][bots] = 0
        self.viewers["verified"][bots] = False
        if not self.viewers["weight"].any():
            raise ValueError(f"viewers = {viewers} leaves nobody but bots")
        owners = np.unique(self.videos["creator"])
        reach = self.creators["reach"][owners]
        pushed = rng.permutation(owners[reach <= np.median(reach)])[:3]
        self.boosted = (
            np.concatenate([np.flatnonzero(self.videos["creator"] == c)[:2] for c in pushed])
            if len(bots)
            else np.zeros(0, int)
        )
        self.supply = Supply(niche) if niche else None
        self.specialists = np.zeros(0, int)
        if niche:
            others = np.setdiff1d(np.arange(creators), self.videos["creator"][self.boosted])
            self.specialists = others[: niche.creators]
            own = np.flatnonzero(np.isin(self.videos["creator"], self.specialists))
            self.videos["niche"][own[: niche.creators]] = True
            self.videos["creator"][own] = self._generalists(self.videos["creator"][own])
            self.videos["creator"][self.videos["niche"]] = self.specialists[
                : np.count_nonzero(self.videos["niche"])
            ]
            self._settle_niche(
                np.flatnonzero(self.viewers["bot"] == HONEST),
                generator(seed, first_day, Stream.NICHE),
            )

        self.schedule: Schedule | None = None
        if live:
            self.first_video = np.full(creators, -1)
            self.first_video[self.videos["creator"][::-1]] = np.arange(videos)[::-1]
            self.schedule = Schedule(
                live,
                np.flatnonzero(self.first_video >= 0),
                np.flatnonzero(self.viewers["bot"] == HONEST),
                generator(seed, first_day, Stream.MARKET),
            )

    def _settle_niche(self, rows: Array, rng: np.random.Generator) -> None:
        """Make some of these viewers members of the niche."""
        assert self.supply is not None
        chosen = rows[rng.random(len(rows)) < self.supply.niche.share]
        self.viewers["niche"][chosen] = True
        for feature, level in FEATURES.items():
            self.viewers[feature][chosen] = level

    def _generalists(self, owners: Array) -> Array:
        """Creators who do not work for the niche, in the place of others."""
        general = np.setdiff1d(np.arange(len(self.creators["reach"])), self.specialists)
        return np.asarray(general[owners % len(general)])

    def respond(self, day: date, pay: Mapping[str, int]) -> None:
        """Let the creators of the niche see what `day` paid each creator (micros)."""
        if self.supply:
            fresh, own = (
                freshness(self.videos["born"], (day - self.first_day).days),
                self.videos["niche"],
            )
            self.supply.respond(
                pay,
                set(ids("c", self.specialists, 6).to_pylist()),
                float(fresh[own].sum()),
                float(fresh[~own].sum()),
            )

    def _new_viewers(self, day: date, n: int) -> Frame:
        rng = generator(self.seed, day, Stream.VIEWERS)
        verified = rng.random(n) < self.verified_share
        newcomer = day > self.first_day
        return {
            "verified": verified,
            "trust": np.where(verified, 1.0, np.round(1 - 0.4 * rng.random(n) ** 2, 2)),
            "region": np.array(["north", "south", "east", "west"])[
                rng.choice(4, n, p=[0.4, 0.3, 0.2, 0.1])
            ],
            "device": np.array(["android", "ios", "web"])[rng.choice(3, n, p=[0.6, 0.3, 0.1])],
            "activity": np.array(["low", "middle", "high"])[rng.choice(3, n, p=[0.5, 0.3, 0.2])],
            "tenure_days": (
                np.zeros(n, int)
                if newcomer
                else np.minimum(rng.exponential(500, n), 3000).astype(int)
            ),
            "group": rng.integers(0, GROUPS, n),
            "weight": rng.lognormal(0, 1, n),
            "bot": np.full(n, HONEST),
            "niche": np.zeros(n, bool),
        }

    def _new_creators(self, day: date, n: int) -> Frame:
        rng = generator(self.seed, day, Stream.CREATORS)
        reach = 1 + rng.pareto(2, n)
        identity = np.arange(n) + (len(self.creators["reach"]) if day > self.first_day else 0)
        shared = (rng.random(n) < 0.05) & (np.arange(n) > 0)
        identity[shared] = identity[(rng.random(n) * np.arange(n)).astype(int)][shared]
        identity[rng.random(n) < 0.3] = -1
        return {
            "reach": reach,
            "followers": (50 * reach**2 * rng.lognormal(0, 1, n)).astype(int),
            "identity": identity,
        }

    def _new_videos(self, day: date, n: int) -> Frame:
        rng = generator(self.seed, day, Stream.VIDEOS)
        # Whoever reaches more does not upload more: reach and number together would make one
        # creator the platform.
        owner = rng.integers(0, len(self.creators["reach"]), n)
        # Whoever has just joined has something to show.
        owner[: min(n, len(self.joined))] = self.joined[:n]
        quality = rng.beta(2, 2, n)
        others = len(CPM) - 1
        first = rng.integers(0, len(CPM), n)
        step = rng.integers(0, others, n)
        second, third = (
            first + 1 + step,
            first + 1 + (step + 1 + rng.integers(0, others - 1, n)) % others,
        )
        number = 1 + (rng.random(n) < 0.35) + (rng.random(n) < 0.1)
        categories = np.stack([first, second, third], axis=1) % len(CPM)
        age = np.zeros(n) if day > self.first_day else rng.exponential(10, n)
        toxic = rng.random(n) < 0.04
        return {
            "creator": owner,
            "length_ms": np.clip(rng.lognormal(np.log(25_000), 0.7, n), 3_000, 300_000).astype(int),
            "categories": np.where(np.arange(3) < number[:, None], categories, -1),
            "compliant": rng.random(n) >= 0.03,
            "s_plus": np.round(np.clip(0.55 + 0.35 * quality + rng.normal(0, 0.1, n), 0, 1), 3),
            "s_tox": np.round(
                np.where(toxic, rng.uniform(0.5, 1, n), np.minimum(rng.exponential(0.04, n), 0.3)),
                3,
            ),
            "scored": rng.random(n) < 0.85,
            "quality": quality,
            "appeal": rng.lognormal(0, 0.8, n) * (0.3 + 0.7 * quality),
            "born": (day - self.first_day).days - age,
            "niche": np.zeros(n, bool),
        }

    def grow(self, day: date) -> None:
        """Let one day pass: newcomers, and changes to those who are there."""
        rng = generator(self.seed, day, Stream.CHANGES)
        changed = {
            "viewers": (
                (rng.random(len(self.viewers["bot"])) < 0.003)
                & ~self.viewers["verified"]
                & (self.viewers["bot"] == HONEST)
            ),
            "creators": rng.random(len(self.creators["reach"])) < 0.05,
            "videos": (rng.random(len(self.videos["born"])) < 0.1) & ~self.videos["scored"],
        }
        self.viewers["verified"] |= changed["viewers"]
        self.creators["followers"][changed["creators"]] += 1 + (
            20 * self.creators["reach"][changed["creators"]]
        ).astype(int)
        self.videos["scored"] |= changed["videos"]
        withdrawn = (rng.random(len(self.videos["born"])) < 0.001) & self.videos["compliant"]
        self.videos["compliant"] &= ~withdrawn
        changed["videos"] |= withdrawn
        newcomers = {
            name: int(growth * len(changed[name]) + rng.random()) for name, growth in GROWTH.items()
        }
        joined = {name: len(changed[name]) + np.arange(n) for name, n in newcomers.items()}
        self.viewers = _joined(self.viewers, self._new_viewers(day, newcomers["viewers"]))
        self.creators = _joined(self.creators, self._new_creators(day, newcomers["creators"]))
        self.joined = joined["creators"]
        if self.supply:
            self._settle_niche(joined["viewers"], generator(self.seed, day, Stream.NICHE))
            uploads = self.supply.today()
            newcomers["videos"] += uploads
            joined["videos"] = len(changed["videos"]) + np.arange(newcomers["videos"])
        new = self._new_videos(day, newcomers["videos"])
        if self.supply:
            new["creator"] = np.where(
                np.isin(new["creator"], self.specialists),
                self._generalists(new["creator"]),
                new["creator"],
            )
            new["niche"] = np.arange(newcomers["videos"]) >= newcomers["videos"] - uploads
            new["creator"][new["niche"]] = self.specialists[
                np.arange(uploads) % len(self.specialists)
            ]
        self.videos = _joined(self.videos, new)
        self.new_or_changed = {
            name: np.concatenate([np.flatnonzero(changed[name]), joined[name]]) for name in GROWTH
        }

    def snapshots(self) -> dict[str, pa.Table]:
        """Rows of the snapshot tables that are new or have changed today."""
        u, c, v = (self.new_or_changed[name] for name in GROWTH)
        viewers, creators, videos = self.viewers, self.creators, self.videos
        identity = creators["identity"][c]
        labels, unscored = videos["categories"][v], ~videos["scored"][v]
        offsets = np.concatenate([[0], np.cumsum((labels >= 0).sum(axis=1))])
        return {
            "viewers": _table(
                {"viewer_id": ids("u", u, 7)}
                | {
                    name: pa.array(viewers[name][u])
                    for name in ("verified", "trust", "region", "device", "activity", "tenure_days")
                }
            ),
            "creators": _table(
                {
                    "creator_id": ids("c", c, 6),
                    "identity_id": pc.if_else(
                        pa.array(identity >= 0), ids("i", identity, 6), pa.scalar(None, pa.string())
                    ),
                    "followers": pa.array(creators["followers"][c]),
                }
            ),
            "videos": _table(
                {
                    "video_id": ids("v", v, 7),
                    "creator_id": ids("c", videos["creator"][v], 6),
                    "length_ms": pa.array(videos["length_ms"][v]),
                    "categories": pa.ListArray.from_arrays(
                        pa.array(offsets, pa.int32()), pa.array(list(CPM)).take(labels[labels >= 0])
                    ),
                    "compliant": pa.array(videos["compliant"][v]),
                    "s_plus": pa.array(videos["s_plus"][v], mask=unscored),
                    "s_tox": pa.array(videos["s_tox"][v], mask=unscored),
                }
            ),
        }

    def sessions(self, day: date, events_per_day: int) -> Frame:
        """Who watched what on `day`, when and how, in order of time."""
        rng = generator(self.seed, day, Stream.EVENTS)
        viewer, video, ms = (
            self._live(rng) if self.schedule else self._wander(rng, day, events_per_day)
        )
        n = len(ms)
        order = np.argsort(ms, kind="stable")
        viewer, video, ms = viewer[order], video[order], ms[order]

        bot, q = self.viewers["bot"][viewer], self.videos["quality"][video]
        depth, fraction = self._watching(rng, q)
        fraction = np.choose(bot, [fraction, 0.0 * depth, 1.01 + 0.3 * depth])
        watch = (fraction * self.videos["length_ms"][video]).astype(np.int64) + np.where(
            bot == FARM, (1_500 * depth).astype(int), 0
        )
        engaged = (fraction > 0.3) & (bot == HONEST)
        chances = {name: least + more * q**2 for name, (least, more) in CHANCES[self.rates].items()}
        if self.supply:
            member, own = self.viewers["niche"][viewer], self.videos["niche"][video]
            chances["liked"] = chances["liked"] * np.where(
                member, np.where(own, LIKES_OWN, LIKES_OTHER), 1.0
            )
        actions = {
            name: (engaged & (rng.random(n) < chance)) | (bot == MIMIC)
            for name, chance in chances.items()
        }
        actions["liked"] |= bot == FARM
        return {
            "viewer": viewer,
            "video": video,
            "ms": ms,
            "bot": bot,
            "watch_ms": watch,
            **actions,
        }

    def _watching(self, rng: np.random.Generator, q: Array) -> tuple[Array, Array]:
        """How deep each session goes: a uniform number, and the part of the video that is
        watched.
        """
        n = len(q)
        if self.rates == "lively":
            finished = rng.random(n) < 0.15 + 0.7 * q
            again = finished & (rng.random(n) < 0.05 + 0.35 * q**2)
            depth = rng.random(n)
            return depth, np.where(
                again, 1.05 + 1.2 * depth, np.where(finished, 0.85 + 0.15 * depth, 0.8 * depth**2)
            )
        leaves = rng.random(n) < 0.85 - 0.6 * q
        finished = ~leaves & (rng.random(n) < 0.15 + 0.5 * q)
        again = finished & (rng.random(n) < 0.55 + 0.4 * q)
        depth = rng.random(n)
        some = np.where(leaves, 0.08 * depth, 0.1 + 0.75 * depth)
        return depth, np.where(
            again, 1.02 + 0.8 * depth, np.where(finished, 0.9 + 0.1 * depth, some)
        )

    def _live(self, rng: np.random.Generator) -> tuple[Array, Array, Array]:
        """Viewer, video and time of the sessions of a day of the donation market."""
        assert self.schedule is not None
        viewer, creator, ms = self.schedule.sessions(rng)
        return viewer, self.first_video[creator], ms

    def _wander(
        self, rng: np.random.Generator, day: date, events_per_day: int
    ) -> tuple[Array, Array, Array]:
        """Viewer, video and time of the sessions of a day on which everybody watches what they like
        when they like, and bots their own.
        """
        n = max(1, round(events_per_day * WEEK[day.weekday()] * (1 + 0.03 * rng.standard_normal())))
        bot_accounts = np.flatnonzero(self.viewers["bot"])
        bots = int(self.bot_share * n + rng.random()) if len(self.boosted) else 0
        honest = n - bots
        reach = np.cumsum(self.viewers["weight"])
        viewer = np.minimum(
            np.searchsorted(reach, rng.random(honest) * reach[-1], side="right"), len(reach) - 1
        )
        group = self.viewers["group"][viewer]
        video = self._choose_videos(rng, group, (day - self.first_day).days)
        if self.supply:
            video = self._find_niche(day, viewer, video)
        hours = np.cumsum(self.hours / self.hours.sum(axis=1, keepdims=True), axis=1)[:, :-1]
        hour = (rng.random(honest)[:, None] >= hours[group]).sum(axis=1)
        if bots:
            viewer = np.concatenate([viewer, rng.choice(bot_accounts, bots)])
            video = np.concatenate([video, rng.choice(self.boosted, bots)])
            hour = np.concatenate([hour, rng.integers(0, 24, bots)])
        return viewer, video, hour * 3_600_000 + rng.integers(0, 3_600_000, n)

    def _choose_videos(self, rng: np.random.Generator, group: Array, age: int) -> Array:
        """A category by the group's taste, then a video of it by reach, appeal and freshness."""
        videos = self.videos
        weight = (
            self.creators["reach"][videos["creator"]]
            * videos["appeal"]
            * (0.15 + np.exp((videos["born"] - age) / 6))
            * ~videos["niche"]
        )
        order = np.argsort(videos["categories"][:, 0], kind="stable")
        edges = np.searchsorted(videos["categories"][order, 0], np.arange(len(CPM) + 1))
        reach = np.concatenate([[0.0], np.cumsum(weight[order])])
        taste = self.taste * (np.diff(edges) > 0)
        taste = np.cumsum(taste / taste.sum(axis=1, keepdims=True), axis=1)
        category = (rng.random(len(group))[:, None] * taste[group][:, -1:] >= taste[group]).sum(
            axis=1
        )
        low, high = edges[category], edges[category + 1]
        at = reach[low] + rng.random(len(group)) * (reach[high] - reach[low])
        return np.asarray(
            order[np.clip(np.searchsorted(reach, at, side="right") - 1, low, high - 1)]
        )

    def _find_niche(self, day: date, viewer: Array, video: Array) -> Array:
        """What is watched, where members of the niche find something of their own."""
        assert self.supply is not None
        rng = generator(self.seed, day, Stream.FINDS)
        own = np.flatnonzero(self.videos["niche"])
        fresh = np.cumsum(freshness(self.videos["born"][own], (day - self.first_day).days))
        stock = fresh[-1] if len(fresh) else 0.0
        found = self.viewers["niche"][viewer] & (
            rng.random(len(viewer)) < stock / (stock + self.supply.niche.scarcity)
        )
        which = np.searchsorted(fresh, rng.random(len(viewer)) * stock, side="right")
        return np.asarray(
            np.where(found, own[np.minimum(which, len(own) - 1)] if len(own) else video, video)
        )

    def daily(self, day: date, events: Frame) -> dict[str, pa.Table]:
        """The three daily tables; gifts and ads happen in the sessions."""
        n, videos, viewers = len(events["ms"]), self.videos, self.viewers
        stamp = f"{day:%Y%m%d}-"
        viewer_ids, video_ids = (
            ids(p, np.arange(len(f[c])), 7)
            for p, f, c in (("u", viewers, "bot"), ("v", videos, "born"))
        )
        names = ("liked", "commented", "shared", "followed")
        sessions = _table(
            {
                "event_id": ids("e" + stamp, np.arange(n), 8),
                "ts": moments(day, events["ms"]),
                "viewer_id": viewer_ids.take(events["viewer"]),
                "video_id": video_ids.take(events["video"]),
                "watch_ms": pa.array(events["watch_ms"]),
                **{name: pa.array(events[name]) for name in names},
                "length_ms": pa.array(videos["length_ms"][events["video"]]),
            }
        )
        rng = generator(self.seed, day, Stream.GIFTS)
        verified = viewers["verified"][events["viewer"]]
        chance = (
            (0.025 + 0.4 * videos["quality"][events["video"]] * events["liked"])
            * (1 + verified)
            * (events["bot"] == HONEST)
        )
        gave = np.flatnonzero(rng.random(n) < chance)
        coins = np.minimum(1 + 5 * rng.pareto(1.3, len(gave)), 10_000).astype(np.int64)
        given_at = np.minimum(events["ms"][gave] + events["watch_ms"][gave], DAY_MS - 1)
        if self.schedule:
            gave, coins = self.schedule.gifts(videos["creator"][events["video"]], events["ms"], rng)
            given_at = events["ms"][gave]
        gifts = _table(
            {
                "gift_id": ids("g" + stamp, np.arange(len(gave)), 7),
                "ts": moments(day, given_at),
                "viewer_id": viewer_ids.take(events["viewer"][gave]),
                "video_id": video_ids.take(events["video"][gave]),
                "coins": pa.array(coins),
                "premium": pa.array(verified[gave]),
            }
        )
        return {
            "viewer_events": sessions,
            "gifts": gifts,
            "ad_revenue": self._ads(day, events, video_ids, stamp),
        }

    def _ads(self, day: date, events: Frame, video_ids: pa.Array, stamp: str) -> pa.Table:
        rng = generator(self.seed, day, Stream.ADS)
        shown = np.flatnonzero(rng.random(len(events["ms"])) < AD_LOAD)
        video, labels = events["video"][shown], self.videos["categories"]
        slot = (rng.random(len(shown)) * (labels[video] >= 0).sum(axis=1)).astype(int)
        category = labels[video, slot]
        price = np.array([cpm * 1000 for cpm in CPM.values()])[category]
        micros = np.floor(price * (0.5 + rng.random(len(shown))))
        near = rng.random(len(shown)) < NEAR_SHARE
        # Whole numbers far below 2^53: the sums are exact.
        by_video = np.bincount((video * len(CPM) + category)[near], micros[near]).astype(np.int64)
        by_hour = np.bincount(
            (events["ms"][shown] // 3_600_000 * len(CPM) + category)[~near], micros[~near]
        ).astype(np.int64)
        v, h = np.flatnonzero(by_video), np.flatnonzero(by_hour)
        ms = np.concatenate([np.full(len(v), DAY_MS - 1), h // len(CPM) * 3_600_000 + 3_599_999])
        near_ids = video_ids.take(v // len(CPM))
        return _table(
            {
                "ad_id": ids("a" + stamp, np.arange(len(v) + len(h)), 6),
                "ts": moments(day, ms),
                "category": pa.array(list(CPM)).take(np.concatenate([v, h]) % len(CPM)),
                "video_id": pa.concat_arrays([near_ids, pa.nulls(len(h), pa.string())]),
                "amount_micros": pa.array(np.concatenate([by_video[v], by_hour[h]])),
            }
        )


def generator(seed: int, day: date, stream: Stream) -> np.random.Generator:
    """The generator of one purpose on one day."""
    return np.random.default_rng(np.random.SeedSequence([seed, day.toordinal(), stream]))


def ids(prefix: str, numbers: Array, width: int) -> pa.Array:
    """Ids like `v0000042`."""
    return pc.binary_join_element_wise(
        prefix, pc.utf8_lpad(pa.array(numbers).cast(pa.string()), width, "0"), ""
    )


def moments(day: date, ms: Array) -> pa.Array:
    """Timestamps from milliseconds after midnight UTC."""
    midnight = int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * 1000
    return pa.array(midnight + ms.astype(np.int64)).cast(pa.timestamp("ms"))


def _joined(before: Frame, new: Frame) -> Frame:
    return {name: np.concatenate([column, new[name]]) for name, column in before.items()}


def _table(columns: dict[str, Any]) -> pa.Table:
    rows = len(next(iter(columns.values())))
    return pa.table(columns | {"source": pa.repeat(pa.scalar("simulated"), rows)})
