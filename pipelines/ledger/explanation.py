"""Why a video or a creator got this amount on a day: the paid integer taken apart into integers
that sum to it.

What belongs here: reading a day's amounts, the reasons in words, and the text for people. What a
payout would be without a factor is in `counterfactual.py`, the attribution itself in
`solvers.attribution`, a creator's month in `statement.py`. Reads only; amounts are explained under
the policy they were paid under.

A video in an ad pool is compared with a *typical* video in its place: one that has the median of
every factor over the videos of that pool and is paid in proportion to effective views. Each
factor's part is its Shapley value: what switching it from typical to the video's own adds to the
payout, averaged over all orders of switching, everybody else unchanged. The factor "trust" is
qualified views a viewer: what trust, the cap on unverified viewers, the watch minimum and, with a
window, the day itself leave of a viewer.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import date
from itertools import groupby
from operator import itemgetter
from textwrap import wrap
from typing import Any, Literal

import numpy as np

from pipelines.ads.rules import UnitBounds
from pipelines.ledger.counterfactual import (
    COMPONENTS,
    FACTORS,
    LABELS,
    NothingToExplainError,
    Part,
    Place,
    Pool,
    coin_decision,
    coin_pay,
    whole_next_to,
)
from pipelines.ledger.pool_sums import FACTORS_SQL, pool_sums, views_of_units
from pipelines.market.floor import paid_floor
from pipelines.money import money
from pipelines.plain import visible
from pipelines.policy import Coins, Policy, exact
from pipelines.sql import as_dicts
from pipelines.store.warehouse import Connection
from solvers.arrays import Floats, Mask
from solvers.attribution import shapley

_IN_WORDS = {
    "viewers": ("more viewers than usual", "fewer viewers than usual"),
    "trust": ("an audience that counts for more", "an audience that counts for less"),
    "group_weight": ("viewers of groups with a high weight", "viewers of groups with a low weight"),
    "watch": ("longer watching", "shorter watching"),
    "engagement": ("more engagement", "less engagement"),
    "diversity": ("more varied engagement", "less varied engagement"),
    "rewatch": ("more rewatching", "less rewatching"),
    "safety": ("a better safety score", "a worse safety score"),
    "fairness": ("the fairness rule for small earners", "the fairness rule for small earners"),
    "bounds": ("the floor or cap", "the floor or cap"),
    "rules": ("a rule over groups", "a rule over groups"),
    "quality": ("better quality", "lower quality"),
    "normal_coins": ("more normal coins", "fewer normal coins"),
    "premium_coins": ("more premium coins", "fewer premium coins"),
}
SOURCES = {
    "pulse": "Pulse",
    "ads": "ad pools",
    "carry": "ad pools (money carried in)",
    "coins": "gifted coins",
    "adjustment": "an adjustment",
    "bonus": "the month's bonus",
}
_FACTS = {
    "pool_micros": "the pool",
    "revenue_micros": "revenue",
    "platform_micros": "of which the platform keeps",
    "carry_in_micros": "carried in",
    "spread_micros": "taken over from other pools",
    "units": "units of fairness",
    "median_payout_micros": "median payout of its videos",
    "rules": "rules over groups",
    "floor_micros": "floor of a unit",
    "cap_micros": "cap of a unit",
    "share": "share of the pool's effective views",
    "carried_micros": "of this payout carried in",
    "unit_id": "unit of fairness",
    "unit_videos": "videos of this unit",
    "effective_view_micros": "an effective view earned",
    "normal_share": "x_n",
    "premium_share": "x_p",
    "quality": "Q",
    "safety": "S",
    "revenue_floor": "the platform keeps at least",
}
ORDER_FREE = (
    "A factor's part is what it adds when factors are switched one by one from typical to this"
    " video's own, averaged over all orders of switching; so no order of listing them favours any"
    " of them."
)


@dataclass(frozen=True)
class Payout:
    """What a video was paid from one source. `parts` sum to `paid_micros`; so does `comparison`,
    where there is one.
    """

    source: Literal["ads", "pulse", "coins"]
    category: str | None
    paid_micros: int
    parts: tuple[Part, ...]
    comparison: tuple[Part, ...]
    facts: dict[str, Any]
    words: str

    @property
    def title(self) -> str:
        return (
            f"ad pool {self.category}"
            if self.source == "ads"
            else {"pulse": "Pulse", "coins": "gifted coins"}[self.source]
        )


@dataclass(frozen=True)
class VideoDay:
    """A video's day: the sum of its payouts, what was measured of it, and why it is not paid from
    elsewhere.
    """

    day: date
    video_id: str
    creator_id: str
    policy: str
    total_micros: int
    words: str
    payouts: tuple[Payout, ...]
    notes: tuple[str, ...]
    measured: dict[str, Any]

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "day": self.day.isoformat()}


@dataclass(frozen=True)
class BonusMonth:
    """A creator's bonus of the month from `first_day` to `last_day`. `parts` sum to `paid_micros`;
    `facts` are what it was decided by.
    """

    first_day: date
    last_day: date
    paid_micros: int
    parts: tuple[Part, ...]
    facts: dict[str, Any]
    words: str

    def as_dict(self) -> dict[str, Any]:
        return {
            **asdict(self),
            "first_day": self.first_day.isoformat(),
            "last_day": self.last_day.isoformat(),
        }


@dataclass(frozen=True)
class CreatorDay:
    """A creator's day: `sources` sum to the total of `creator_earnings`, and so do the videos, the
    adjustment and the month's bonus.
    """

    day: date
    creator_id: str
    policy: str
    total_micros: int
    words: str
    sources: dict[str, int]
    videos: tuple[VideoDay, ...]
    bonus: BonusMonth | None

    def as_dict(self) -> dict[str, Any]:
        videos, bonus = [v.as_dict() for v in self.videos], self.bonus and self.bonus.as_dict()
        return {**asdict(self), "day": self.day.isoformat(), "videos": videos, "bonus": bonus}


def explain(
    con: Connection, name: str, day: date, *, kind: Literal["video", "creator"] | None = None
) -> VideoDay | CreatorDay:
    """The day of the video or creator called `name`; `kind` says which, where both exist.

    Raises
    ------
    NothingToExplainError
        The day is not made, nothing is called so, or a video and a creator are.
    """
    return DayBook.of(con, day).explain(name, kind)


def explain_video(con: Connection, video_id: str, day: date) -> VideoDay:
    """What a video was paid on a day, from every source, taken apart. Raises NothingToExplainError."""
    return DayBook.of(con, day).video(video_id)


def explain_creator(con: Connection, creator_id: str, day: date) -> CreatorDay:
    """What a creator earned on a day: every source and every video. Raises NothingToExplainError."""
    return DayBook.of(con, day).creator(creator_id)


# --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class DayBook:
    """Explains amounts of one day; pools and policies are read once."""

    con: Connection
    day: date
    _policies: dict[str, Policy] = field(default_factory=dict, init=False, repr=False)
    _pools: dict[str, tuple[Pool, dict[str, Any]]] = field(
        default_factory=dict, init=False, repr=False
    )

    @classmethod
    def of(cls, con: Connection, day: date) -> DayBook:
        """Raises NothingToExplainError if the day is not made."""
        first, last, made = con.execute(
            "SELECT min(day), max(day), coalesce(bool_or(day = ?), false) FROM written_days WHERE"
            " table_name = 'creator_earnings'",
            [day],
        ).fetchall()[0]
        if not made:
            there = f"there are days from {first} to {last}" if first else "no day is made yet"
            raise NothingToExplainError(
                f"{day} is not made: {there}. Make it: earnings run --from {day} --to {day}"
            )
        return cls(con, day)

    def explain(self, name: str, kind: Literal["video", "creator"] | None) -> VideoDay | CreatorDay:
        known = [
            what
            for what in ("video", "creator")
            if self._rows(
                f"SELECT 1 FROM {what}s WHERE {what}_id = $name AND day <= $day LIMIT 1", name=name
            )
        ]
        if kind is None and len(known) == 2:
            raise NothingToExplainError(f"{name!r} is both a video and a creator: say which")
        if not known and kind is None:
            raise NothingToExplainError(
                f"no video and no creator is called {name!r} on {self.day};"
                f" {self._examples('video', 'creator')}"
            )
        return self.video(name) if (kind or known[0]) == "video" else self.creator(name)

    def video(self, video_id: str) -> VideoDay:
        found = self.videos([video_id])
        if not found:
            raise NothingToExplainError(
                f"no video is called {video_id!r} on {self.day}; {self._examples('video')}"
            )
        return found[0]

    def creator(self, creator_id: str) -> CreatorDay:
        earned = self._rows(
            "SELECT * FROM creator_earnings WHERE day = $day AND creator_id = $creator",
            creator=creator_id,
        )
        if not earned and not self._rows(
            "SELECT 1 FROM creators WHERE creator_id = $creator AND day <= $day LIMIT 1",
            creator=creator_id,
        ):
            raise NothingToExplainError(
                f"no creator is called {creator_id!r} on {self.day}; {self._examples('creator')}"
            )
        tables = ("video_quality", "pulse_payouts", "ad_payouts", "donation_splits")
        of_creator = " UNION ".join(
            f"SELECT video_id FROM {table} WHERE day = $day AND creator_id = $creator"
            for table in tables
        )
        videos = self.videos(
            [row["video_id"] for row in self._rows(of_creator, creator=creator_id)]
        )
        sources = {name: earned[0][f"{name}_micros"] if earned else 0 for name in SOURCES}
        total = earned[0]["total_micros"] if earned else 0
        bonus = bonus_month(self.con, creator_id, self.day)
        if (bonus.paid_micros if bonus else 0) != sources["bonus"]:
            raise self._stale(
                f"the ledger owes {creator_id} a bonus of {sources['bonus']} micros, which is not"
                " what the month's table says"
            )
        if sum(v.total_micros for v in videos) + sources["adjustment"] + sources["bonus"] != total:
            raise self._stale(
                f"the ledger owes {creator_id} {total} micros, which is not what the payouts of the"
                " videos sum to"
            )
        policy = self._policy(earned[0]["policy_hash"]) if earned else None
        return CreatorDay(
            day=self.day,
            creator_id=creator_id,
            policy=f"{policy.name} {policy.hash}" if policy else "",
            total_micros=total,
            words=_creator_in_words(creator_id, self.day, total, sources, videos),
            sources=sources,
            videos=tuple(sorted(videos, key=lambda v: (-v.total_micros, v.video_id))),
            bonus=bonus,
        )

    def videos(self, ids: Sequence[str]) -> list[VideoDay]:
        """Those of `ids` that are known on the day."""
        mine = "WHERE day = $day AND video_id IN (SELECT unnest($ids))"
        quality = {
            row["video_id"]: row for row in self._rows(f"FROM video_quality {mine}", ids=ids)
        }
        pulse = {row["video_id"]: row for row in self._rows(f"FROM pulse_payouts {mine}", ids=ids)}
        coins = {
            row["video_id"]: row for row in self._rows(f"FROM donation_splits {mine}", ids=ids)
        }
        ads: dict[str, list[Payout]] = {}
        paid = self._rows(
            f"""SELECT p.*, effective_views, {FACTORS_SQL} FROM ad_payouts AS p LEFT
                JOIN video_quality USING (day, video_id)
                {mine} ORDER BY category, video_id""",
            ids=ids,
        )
        for category, rows in groupby(paid, key=itemgetter("category")):
            for payout, row in self._from_pool(category, list(rows)):
                ads.setdefault(row["video_id"], []).append(payout)
        known = self._rows(
            """SELECT video_id, arg_max(creator_id, day) AS creator_id, arg_max(categories,
                day) AS categories FROM videos
               WHERE day <= $day AND video_id IN (SELECT unnest($ids)) GROUP BY video_id
               ORDER BY video_id""",
            ids=ids,
        )
        found = []
        for row in known:
            video_id = row["video_id"]
            payouts = ads.get(video_id, [])
            payouts += [self._from_pulse(pulse[video_id])] if video_id in pulse else []
            payouts += [self._from_coins(coins[video_id])] if video_id in coins else []
            seen = quality.get(video_id)
            paid_from = {p.category for p in payouts}
            missing = [c for c in row["categories"] if c not in paid_from]
            notes = self._why_not(row["categories"], missing, seen, is_pulse=video_id in pulse)
            total = sum(p.paid_micros for p in payouts)
            policy = self._policy(seen["policy_hash"]) if seen else None
            found.append(
                VideoDay(
                    day=self.day,
                    video_id=video_id,
                    creator_id=row["creator_id"],
                    policy=f"{policy.name} {policy.hash}" if policy else "",
                    total_micros=total,
                    words=_video_in_words(video_id, self.day, total, payouts, notes),
                    payouts=tuple(payouts),
                    notes=tuple(notes),
                    measured=(
                        {
                            k: v
                            for k, v in seen.items()
                            if k not in ("day", "video_id", "creator_id", "policy_hash")
                        }
                        if seen
                        else {}
                    ),
                )
            )
        return found

    # --- one payout

    def _from_pool(
        self, category: str, rows: list[dict[str, Any]]
    ) -> Iterator[tuple[Payout, dict[str, Any]]]:
        """What some videos were paid from one pool, each with its row."""
        pool, facts = self.pool(category, rows[0]["policy_hash"])
        units = views_of_units(self.con, self.day, category, [row["unit_id"] for row in rows])
        for row in rows:
            paid, views, unit = row["payout_micros"], row["effective_views"], units[row["unit_id"]]
            place = Place.of({name: row[name] for name in FACTORS}, views, unit)
            try:
                parts = pool.attribute(place, paid)
            except NothingToExplainError as error:
                raise self._stale(f"{row['video_id']} in {category}: {error}") from error
            own = {
                "effective_views": views,
                "share": row["share"],
                "carried_micros": row["carried_micros"],
                "unit_id": row["unit_id"],
                "unit_videos": unit.size,
                "effective_view_micros": round(paid / views) if views else 0,
            }
            yield (
                Payout(
                    "ads",
                    category,
                    paid,
                    parts,
                    (),
                    facts | own,
                    _pool_in_words(category, paid, parts, facts),
                ),
                row,
            )

    def _from_pulse(self, row: dict[str, Any]) -> Payout:
        policy = self._policy(row["policy_hash"])
        revenue, paid = row["revenue_micros"], row["payout_micros"]
        kept = int((1 - exact(policy.pulse.creator_share)) * revenue)
        pulse = (
            f"It is a Pulse video (among the best {100 * policy.pulse.top_fraction:.3g} % by"
            " quality, and safe enough)"
        )
        share = (
            f"of the {money(revenue)} from ads next to it, its creator gets"
            f" {100 * policy.pulse.creator_share:.3g} %"
        )
        words = f"{pulse}: {share}." if revenue else f"{pulse}, but no ads ran next to it."
        parts = (
            Part("revenue", revenue),
            Part("platform", -kept),
            Part("rounding", paid - revenue + kept),
        )
        facts = {
            "revenue_micros": revenue,
            "creator_share": policy.pulse.creator_share,
            "quality": row["quality"],
            "safety": row["safety"],
        }
        return Payout("pulse", None, paid, parts, (), facts, words)

    def _from_coins(self, row: dict[str, Any]) -> Payout:
        coins, floor = paid_floor(self.con, self.day, self._policy(row["policy_hash"]).coins)
        paid = row["payout_micros"]
        gifted = {name: row[name] for name in ("quality", "normal_coins", "premium_coins")}
        keep = (
            row["normal_share"] * row["normal_coins"],
            row["premium_share"] * row["premium_coins"],
        )
        normal, premium = whole_next_to([coins_kept * coins.coin_micros for coins_kept in keep])
        parts = (
            Part("normal", normal),
            Part("premium", premium),
            Part("rounding", paid - normal - premium),
        )
        facts = (
            gifted
            | {name: row[name] for name in ("normal_share", "premium_share", "revenue_micros")}
            | {"revenue_floor": floor.words()}
        )
        value = f"Coins worth {money(row['revenue_micros'])} were gifted"
        if not row["compliant"]:
            words = (
                f"{value}, but the video did not pass the compliance gate, so its creator gets none"
                " of it."
            )
            return Payout("coins", None, paid, parts, (), facts, words)
        if coins.scope == "platform":
            decided_by, why = (
                "all videos",
                (
                    "The coins of all videos of the day are split together: these are the best"
                    " shares for all at once."
                ),
            )
            comparison: tuple[Part, ...] = ()
        else:
            decided_by, why = coin_decision(
                coins, row["normal_coins"], row["premium_coins"], sum(keep)
            )
            comparison = self._coin_comparison(coins, gifted, paid)
        words = (
            f"{value}; its creator keeps {row['normal_share']:.3g} of the normal coins"
            f" ({row['normal_coins']:,}) and {row['premium_share']:.3g} of the premium coins"
            f" ({row['premium_coins']:,}). {why}"
        )
        return Payout(
            "coins", None, paid, parts, comparison, facts | {"decided_by": decided_by}, words
        )

    def _coin_comparison(self, coins: Coins, own: dict[str, float], paid: int) -> tuple[Part, ...]:
        """Shapley parts against the median of quality and coins over the day's gifted videos that
        comply.
        """
        medians = ", ".join(f"median({name}) AS {name}" for name in own)
        (typical,) = self._rows(
            f"SELECT {medians} FROM donation_splits WHERE day = $day AND compliant"
        )

        def value(on: Mask) -> Floats:
            quality, normal, premium = (
                np.where(on[:, i], own[name], typical[name]) for i, name in enumerate(own)
            )
            return coin_pay(coins, normal, premium, quality)

        amounts = shapley(value, len(own))
        (nobody,) = value(np.zeros((1, len(own)), dtype=np.bool_)).tolist()
        base, *whole = whole_next_to([nobody, *amounts])
        factors = [
            Part(name, micros, own[name], typical[name])
            for name, micros in zip(own, whole, strict=True)
        ]
        return (Part("typical", base), *factors, Part("rounding", paid - base - sum(whole)))

    # --- reading

    def pool(self, category: str, policy_hash: str) -> tuple[Pool, dict[str, Any]]:
        """The pool and its facts."""
        if category not in self._pools:
            found = self._rows(
                """SELECT pool_micros, revenue_micros, platform_micros, carry_in_micros,
                    spread_micros, videos, units, rule FROM ad_pools
                   WHERE day = $day AND category = $category""",
                category=category,
            )
            policy = self._policy(policy_hash)
            sums = pool_sums(self.con, self.day, category, policy.ads)
            if not found or found[0]["videos"] != sums.videos:
                raise self._stale(
                    f"the videos paid from the ad pool {category} are not those that compete in it"
                )
            rules = self._rows(
                "SELECT rule FROM ad_rules WHERE day = $day AND category = $category AND note = ''"
                " ORDER BY rule",
                category=category,
            )
            left_alone = self._rows(
                "SELECT rule FROM ad_rules WHERE day = $day AND category = $category"
                " AND note <> ''",
                category=category,
            )
            facts = found[0]
            ads = UnitBounds.in_force(policy.ads, {row["rule"] for row in left_alone})
            pool = Pool(
                micros=facts["pool_micros"],
                ads=ads,
                exponents=policy.quality.powers,
                units=sums.units,
                typical=sums.typical,
                reweighted=sums.reweighted,
                ruled=bool(rules),
            )
            facts |= {"rules": ", ".join(row["rule"] for row in rules)} if rules else {}
            facts["median_payout_micros"] = round(sums.median_payout)
            if pool.bounded:
                facts |= {"floor_micros": ads.floor_micros, "cap_micros": pool.cap}
            self._pools[category] = (pool, facts)
        return self._pools[category]

    def _why_not(
        self,
        labels: Sequence[str],
        missing: Sequence[str],
        seen: dict[str, Any] | None,
        *,
        is_pulse: bool,
    ) -> list[str]:
        """Why a video competes in no pool at all, or not in those labelled `missing`; and why its
        views count for less.
        """
        if seen is None:
            return ["Nobody watched it that day, so it competes in no ad pool."]
        if not seen["compliant"]:
            return [
                "It did not pass the compliance gate: its quality counts as 0, and no ad money is"
                " paid for it."
            ]
        if seen["qualified_views"] == 0:
            return [
                "Nobody watched it for long enough that day to count as a view, so it competes in"
                " no ad pool."
            ]
        if not labels:
            return ["It has no category label, so it competes in no ad pool."]
        if is_pulse and not self._policy(seen["policy_hash"]).pulse.also_in_pools:
            return [
                "It is a Pulse video, and under this policy those do not compete in the ad pools."
            ]
        notes = []
        if seen["unverified_scale"] < 1:
            notes = [
                "It has so many unverified viewers that each of them counts for only"
                f" {seen['unverified_scale']:.3g} of their trust."
            ]
        pools = (
            self._rows("SELECT category, rule FROM ad_pools WHERE day = $day") if missing else []
        )
        rules = {row["category"]: row["rule"] for row in pools}
        because = {
            None: "No money came into the ad pool {}.",
            "carry": (
                "The ad pool {} is carried to the next day: no video in it has quality above 0."
            ),
            "spread": "The ad pool {} was spread over the others: no video could be paid from it.",
        }
        other = "It is not among the videos of the ad pool {}."
        return notes + [because.get(rules.get(label), other).format(label) for label in missing]

    def _policy(self, policy_hash: str) -> Policy:
        if policy_hash not in self._policies:
            found = self._rows(
                "SELECT content FROM policies WHERE policy_hash = $policy_hash",
                policy_hash=policy_hash,
            )
            if not found:
                raise NothingToExplainError(
                    f"{self.day} was paid under policy {policy_hash}, which is not in the table"
                    f" policies; make the day again: earnings run --from {self.day} --to {self.day}"
                )
            self._policies[policy_hash] = Policy.model_validate_json(found[0]["content"])
        return self._policies[policy_hash]

    def _stale(self, found: str) -> NothingToExplainError:
        return NothingToExplainError(
            f"{self.day}: {found}. Some tables of the day were made again and others not; make it"
            f" whole: earnings run --from {self.day} --to {self.day}"
        )

    def _examples(self, *kinds: str) -> str:
        there = []
        for kind in kinds:
            ids = self._rows(
                f"SELECT DISTINCT {kind}_id AS id FROM {kind}s WHERE day <= $day ORDER BY id"
                " LIMIT 3"
            )
            there.append(
                f"{kind}s are called {', '.join(row['id'] for row in ids)}, ..."
                if ids
                else f"there are no {kind}s"
            )
        return "; ".join(there)

    def _rows(self, sql: str, **parameters: Any) -> list[dict[str, Any]]:
        parameters["day"] = self.day
        used = {name: value for name, value in parameters.items() if f"${name}" in sql}
        return as_dicts(self.con.execute(sql, used))


def bonus_month(con: Connection, creator_id: str, last: date) -> BonusMonth | None:
    """The bonus of the month that ends on `last`; None where that month had no schedule, or the
    creator produced nothing in it.
    """
    found = as_dicts(
        con.execute(
            """SELECT b.*, next.threshold_milliviews AS next_milliviews,
            next.bonus_micros AS next_micros,
                  (SELECT sum(promised_micros)::BIGINT FROM creator_bonuses
                  WHERE day = $day) AS all_promised_micros
           FROM creator_bonuses AS b
           LEFT JOIN reward_schedule AS next ON next.month = date_trunc('month', b.day)
           AND next.level = b.level + 1
           WHERE b.day = $day AND creator_id = $creator""",
            {"day": last, "creator": creator_id},
        )
    )
    if not found:
        return None
    facts = {
        name: value
        for name, value in found[0].items()
        if name not in ("day", "creator_id", "policy_hash")
    }
    promised, paid = facts["promised_micros"], facts["paid_micros"]
    parts = (Part("level", promised), Part("overrun", paid - promised))
    return BonusMonth(last.replace(day=1), last, paid, parts, facts, _bonus_in_words(last, facts))


# --------------------------------------------------------------------------------------------------


def _bonus_in_words(last: date, facts: dict[str, Any]) -> str:
    made = (
        f"In {last:%B %Y} the videos had {_views(facts['production_milliviews'])} effective views"
    )
    if facts["level"]:
        words = (
            f"{made}: level {facts['level']}, which begins at"
            f" {_views(facts['threshold_milliviews'])} and pays"
        )
        words += f" {money(facts['promised_micros'])}."
    else:
        words = f"{made}, less than the first level of the bonus schedule."
    if facts["paid_micros"] < facts["promised_micros"]:
        words += (
            f" The levels that all creators reached come to {money(facts['all_promised_micros'])},"
            f" more than the month's budget of {money(facts['budget_micros'])}, so everybody gets"
            f" that part of it: {money(facts['paid_micros'])}."
        )
    if facts["next_micros"] is not None:
        words += (
            f" The next level begins at {_views(facts['next_milliviews'])} and pays"
            f" {money(facts['next_micros'])}."
        )
    return words


def _views(milliviews: int) -> str:
    return f"{milliviews // 1000:,}.{milliviews % 1000:03}"


def phrase(part: Part) -> str:
    """A factor's part in words.

    >>> phrase(Part("viewers", -2_000_000, 3.0, 5.0))
    'fewer viewers than usual (-2.000000)'
    """
    more, less = _IN_WORDS[part.name]
    rising = (
        part.micros > 0 if part.own is None or part.typical is None else part.own > part.typical
    )
    return f"{more if rising else less} ({'+' if part.micros > 0 else ''}{money(part.micros)})"


def strongest(parts: Iterable[Part]) -> tuple[Part | None, Part | None]:
    """The factor that added most and the one that took most away."""
    factors = [p for p in parts if p.name in _IN_WORDS]
    most, least = (
        max(factors, key=lambda p: p.micros, default=None),
        min(factors, key=lambda p: p.micros, default=None),
    )
    return most if most and most.micros > 0 else None, least if least and least.micros < 0 else None


def _pool_in_words(category: str, paid: int, parts: Sequence[Part], facts: dict[str, Any]) -> str:
    zero = [p for p in parts if p.name in COMPONENTS and p.own == 0]
    if paid == 0 and zero:
        return (
            f"Nothing: {LABELS[zero[0].name]} is 0, so its quality is 0 and the pool {category}"
            " pays it nothing."
        )
    if facts["rule"] == "equal":
        return (
            f"No video in {category} had quality above 0, so its pool was split equally:"
            f" {money(paid)}."
        )
    most, least = strongest(parts)
    moved = " and ".join(
        f"{phrase(part)} {did}"
        for part, did in ((most, "added most"), (least, "took most away"))
        if part
    )
    start = f"A typical video in its place would get {money(parts[0].micros)} from {category}"
    return (
        f"{start}; {moved}: {money(paid)}." if moved else f"{start}, and so does it: {money(paid)}."
    )


def _video_in_words(
    video_id: str, day: date, total: int, payouts: Sequence[Payout], notes: Sequence[str]
) -> str:
    sources = ", ".join(f"{money(p.paid_micros)} from {p.title}" for p in payouts if p.paid_micros)
    if not sources:
        return (
            f"{video_id} earned nothing on {day}. {' '.join([*notes, *(p.words for p in payouts)])}"
        )
    return f"{video_id} earned {money(total)} on {day}: {sources}."


def _creator_in_words(
    creator_id: str, day: date, total: int, sources: dict[str, int], videos: Sequence[VideoDay]
) -> str:
    parts = ", ".join(
        f"{money(micros)} from {SOURCES[name]}" for name, micros in sources.items() if micros
    )
    if not parts:
        return f"{creator_id} earned nothing on {day}." + (
            "" if videos else " Nobody watched a video or gave a coin."
        )
    best = max(videos, key=lambda v: v.total_micros, default=None)
    most = (
        f" Most came from {best.video_id}, {money(best.total_micros)}."
        if best and len(videos) > 1
        else ""
    )
    return f"{creator_id} earned {money(total)} on {day}: {parts}.{most}"


def text(explained: VideoDay | CreatorDay) -> str:
    """The explanation for people: words first, then the parts of every payout, in currency units to
    the micro.
    """
    if isinstance(explained, VideoDay):
        return as_lines([*_video_lines(explained), "", *wrap(ORDER_FREE, 120)])
    lines = [
        f"creator {explained.creator_id}, {explained.day}, policy {explained.policy}",
        "",
        explained.words,
        "",
    ]
    lines += summed(
        [(SOURCES[name], money(micros)) for name, micros in explained.sources.items() if micros],
        explained.total_micros,
    )
    if explained.bonus:
        lines += [
            "",
            f"bonus: {money(explained.bonus.paid_micros)}",
            *wrap(explained.bonus.words, 120, initial_indent="  ", subsequent_indent="  "),
        ]
        lines += summed(
            [(p.label, money(p.micros)) for p in explained.bonus.parts if p.micros],
            explained.bonus.paid_micros,
        )
    for video in explained.videos:
        lines += ["", *_video_lines(video)]
    return as_lines([*lines, "", *wrap(ORDER_FREE, 120)])


def as_lines(lines: Sequence[str]) -> str:
    """A line stays one line whatever ids and reasons are in it."""
    return "\n".join(visible(line) for line in lines)


def _video_lines(video: VideoDay) -> list[str]:
    lines = [
        f"video {video.video_id} of creator {video.creator_id}, {video.day}, policy {video.policy}",
        "",
        *wrap(video.words, 120),
    ]
    lines += [note for note in video.notes if note not in video.words]
    for payout in video.payouts:
        lines += [
            "",
            f"{payout.title}: {money(payout.paid_micros)}",
            *wrap(payout.words, 120, initial_indent="  ", subsequent_indent="  "),
        ]
        lines += summed(
            [(p.label, money(p.micros), *figures(p)) for p in payout.parts], payout.paid_micros
        )
        facts = "; ".join(f"{name} {value}" for name, value in facts_of(payout))
        lines += wrap(facts, 120, initial_indent="  ", subsequent_indent="  ")
        if payout.comparison:
            lines += ["  compared with the median of the day's gifted videos:"]
            lines += summed(
                [(p.label, money(p.micros), *figures(p)) for p in payout.comparison],
                payout.paid_micros,
            )
    return lines


def figures(part: Part) -> tuple[str, str]:
    """A factor's own value and the typical one, as people read them."""
    return (
        f"{part.own:,.4g}" if part.own is not None else "",
        f"typical {part.typical:,.4g}" if part.typical is not None else "",
    )


def facts_of(payout: Payout) -> list[tuple[str, str]]:
    """The facts behind a payout as people read them: name and value."""
    return [
        (_FACTS.get(name, name.replace("_", " ")), _readable(name, value))
        for name, value in payout.facts.items()
    ]


def _readable(name: str, value: Any) -> str:
    if name.endswith("_micros"):
        return money(value)
    return (
        f"{value:,.4g}"
        if isinstance(value, float)
        else f"{value:,}"
        if isinstance(value, int)
        else str(value)
    )


def summed(rows: Sequence[tuple[str, ...]], total: int) -> list[str]:
    """Lines of an indented table whose second column adds up to `total`."""
    lines = [*rows, ("=", money(total))]
    widths = [max((len(row[i]) for row in lines if i < len(row)), default=0) for i in range(4)]
    return ["    " + "  ".join(_aligned(row, widths)).rstrip() for row in lines]


def _aligned(row: tuple[str, ...], widths: Sequence[int]) -> list[str]:
    return [
        row[0].ljust(widths[0]),
        *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=False)),
    ]
