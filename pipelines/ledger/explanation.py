"""Why a video or a creator got this amount on a day: the paid integer taken apart into integers
that sum to it.

What belongs here: reading a day's amounts and taking them apart. What is told is in `explained.py`,
its words in `wording.py`, what a payout would be without a factor in `counterfactual.py`, the
attribution itself in `solvers.attribution`, a creator's month in `statement.py`. Reads only;
amounts are explained under the policy they were paid under.

A video in an ad pool is compared with a *typical* video in its place: one that has the median of
every factor over the videos of that pool and is paid in proportion to effective views. Each
factor's part is its Shapley value: what switching it from typical to the video's own adds to the
payout, averaged over all orders of switching, everybody else unchanged. The factor "trust" is
qualified views a viewer: what trust, the cap on unverified viewers, the watch minimum and, with a
window, the day itself leave of a viewer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from itertools import groupby
from operator import itemgetter
from typing import Any, Literal

import numpy as np

from pipelines.ads.rules import UnitBounds
from pipelines.ledger.counterfactual import (
    FACTORS,
    NothingToExplainError,
    Part,
    Place,
    Pool,
    coin_decision,
    coin_pay,
    whole_next_to,
)
from pipelines.ledger.explained import SOURCES, BonusMonth, CreatorDay, Payout, VideoDay
from pipelines.ledger.pool_sums import COMPETING, FACTORS_SQL, pool_sums, views_of_units
from pipelines.ledger.wording import (
    bonus_in_words,
    creator_in_words,
    pool_in_words,
    video_in_words,
)
from pipelines.market.floor import paid_floor
from pipelines.money import money
from pipelines.policy import Coins, Policy, exact
from pipelines.sql import as_dicts
from pipelines.store.warehouse import Connection
from solvers.arrays import Floats, Mask
from solvers.attribution import shapley


def explain(
    con: Connection, name: str, day: date, *, kind: Literal["video", "creator"] | None = None
) -> VideoDay | CreatorDay:
    """The day of the video or creator called `name`; `kind` says which, where both exist.

    Raises
    ------
    NothingToExplainError
        The day is not made, nothing has that name, or a video and a creator both have.
    """
    return DayBook.of(con, day).explain(name, kind)


def explain_video(con: Connection, video_id: str, day: date) -> VideoDay:
    """What a video was paid on a day, from every source, taken apart. Raises
    NothingToExplainError.
    """
    return DayBook.of(con, day).video(video_id)


def explain_creator(con: Connection, creator_id: str, day: date) -> CreatorDay:
    """What a creator earned on a day: every source and every video. Raises
    NothingToExplainError.
    """
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
        apart = sources["adjustment"] + sources["bonus"] + sources["shares"]
        if sum(v.total_micros for v in videos) + apart != total:
            raise self._stale(
                f"the ledger owes {creator_id} {total} micros, which is not what the payouts of the"
                " videos sum to"
            )
        policy = self.policy(earned[0]["policy_hash"]) if earned else None
        return CreatorDay(
            day=self.day,
            creator_id=creator_id,
            policy=f"{policy.name} {policy.hash}" if policy else "",
            total_micros=total,
            words=creator_in_words(creator_id, self.day, total, sources, videos),
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
                JOIN {COMPETING} USING (day, video_id)
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
        found, shared = [], self._shared()
        for row in known:
            video_id = row["video_id"]
            payouts = ads.get(video_id, [])
            payouts += [self._from_pulse(pulse[video_id])] if video_id in pulse else []
            payouts += [self._from_coins(coins[video_id])] if video_id in coins else []
            seen = quality.get(video_id)
            paid_from = {p.category for p in payouts}
            missing = [c for c in row["categories"] if c not in paid_from]
            notes = self._why_not(row["categories"], missing, seen, is_pulse=video_id in pulse)
            notes += shared.get(video_id, [])
            total = sum(p.paid_micros for p in payouts)
            policy = self.policy(seen["policy_hash"]) if seen else None
            found.append(
                VideoDay(
                    day=self.day,
                    video_id=video_id,
                    creator_id=row["creator_id"],
                    policy=f"{policy.name} {policy.hash}" if policy else "",
                    total_micros=total,
                    words=video_in_words(video_id, self.day, total, payouts, notes),
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
                    pool_in_words(category, paid, parts, facts),
                ),
                row,
            )

    def _from_pulse(self, row: dict[str, Any]) -> Payout:
        policy = self.policy(row["policy_hash"])
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
        coins, floor = paid_floor(self.con, self.day, self.policy(row["policy_hash"]).coins)
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
            policy = self.policy(policy_hash)
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

    def _shared(self) -> dict[str, list[str]]:
        """Who has a part in what a video earned that day, in words."""
        found: dict[str, list[str]] = {}
        for row in self._rows(
            """SELECT part[7:] AS video_id, account, sum(amount_micros)::BIGINT AS micros
               FROM ledger_entries WHERE day = $day AND starts_with(part, 'share:')
               GROUP BY ALL HAVING micros <> 0 ORDER BY ALL"""
        ):
            kind, _, owner = row["account"].partition(":")
            words = (
                f"{money(row['micros'])} of it is in dispute and held."
                if kind == "dispute"
                else f"{owner} has a part in it: {money(row['micros'])}."
                if row["micros"] > 0
                else f"{owner} gives {money(-row['micros'])} of it to others."
            )
            found.setdefault(row["video_id"], []).append(words)
        return found

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
        if is_pulse and not self.policy(seen["policy_hash"]).pulse.also_in_pools:
            return [
                "It is a Pulse video, and under this policy those do not compete in the ad pools."
            ]
        notes = self._evidence_notes(seen)
        if seen["unverified_scale"] < 1:
            notes += [
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

    def _evidence_notes(self, seen: dict[str, Any]) -> list[str]:
        """How much of a score by evidence is the video's own, and what its views count for."""
        if self.policy(seen["policy_hash"]).quality.prior != "evidence":
            return []
        notes = []
        prior = self._rows(
            "SELECT strength, history_days FROM quality_priors WHERE day = $day AND component ="
            " 'watch'"
        )
        if prior:
            own, usual = seen["trust_mass"], prior[0]["strength"]
            notes.append(
                f"Its score rests on what {own:,.3g} viewers' worth did on the day and in the"
                f" {prior[0]['history_days']} days before; {usual:,.3g} more are counted who watch"
                " as viewers of the platform do on average, so that a few people cannot decide it:"
                f" {own / (own + usual):.0%} of its watch time is its own."
            )
        bounded = self._rows(
            "FROM ad_views WHERE day = $day AND video_id = $video_id", video_id=seen["video_id"]
        )
        return notes + [
            "In its ad pools one more view would bring more than an account may"
            f" ({money(row['worth_micros'])}), so an unverified viewer's view counts for"
            f" {row['unverified_weight']:.3g} there, and a verified one's for"
            f" {row['speaks_for']:.3g}: they stand in for the others."
            for row in bounded
        ]

    def policy(self, policy_hash: str) -> Policy:
        """The policy with that hash, as it is kept."""
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
    return BonusMonth(last.replace(day=1), last, paid, parts, facts, bonus_in_words(last, facts))


# --------------------------------------------------------------------------------------------------
