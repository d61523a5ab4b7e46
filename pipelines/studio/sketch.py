"""A day as a few thousand weighted buckets, and what a policy comes to on them while somebody drags
a slider.

What belongs here: the buckets and the answer. It is near, not exact: rows of a bucket are taken for
alike, fairness acts on units as they are, and what changes the score itself (sections `quality`,
`views`, `epochs`) is not in it. The exact amounts are those of `whatif/`; nobody is paid by a
sketch.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from itertools import product
from typing import Any

import numpy as np
import pyarrow as pa
from pydantic import ValidationError

from pipelines.ledger.counterfactual import coin_pay
from pipelines.policy import Coins, Policy, PolicyBook
from pipelines.settings import Home
from pipelines.store.warehouse import Connection, Warehouse
from pipelines.whatif.frontier import MOST_POINTS, Axis, VaryError, turned
from solvers import InfeasibleError
from solvers.ad_pool import paid_by_bucket
from solvers.arrays import Floats
from solvers.inequality import gini

SECTIONS = ("ads", "pulse", "coins")
"""Sections of the policy that a sketch answers for."""

_COINS_KEPT = 1_000

_CREATORS = """
    creator AS (
        SELECT creator_id, coalesce(arg_max_null(followers, day), 0) AS followers
        FROM creators WHERE day <= $day GROUP BY creator_id
    ),
    small AS (
        -- as a what-if: the half of those who earn anything
        SELECT creator_id, followers < (
            SELECT median(followers) FROM creator
            WHERE creator_id IN (SELECT creator_id FROM creator_earnings WHERE day = $day)
        ) AS small
        FROM creator
    )"""

# buckets of a sixteenth of an octave of a unit's effective views
_UNITS = f"""
WITH {_CREATORS},
unit AS (
    SELECT category, unit_id, any_value(p.creator_id) AS creator_id, sum(effective_views) AS views
    FROM ad_payouts AS p JOIN video_quality USING (day, video_id)
    WHERE p.day = $day GROUP BY category, unit_id
)
SELECT category, coalesce(small, true) AS small, count(*)::DOUBLE AS rows, avg(views) AS views
FROM unit LEFT JOIN small USING (creator_id)
GROUP BY category, coalesce(small, true), CASE WHEN views > 0 THEN floor(16 * log2(views)) END
ORDER BY category, views
"""

_REVENUE = """
SELECT category, sum(micros)::DOUBLE AS revenue, sum(carried)::DOUBLE AS carried FROM (
    SELECT category, amount_micros AS micros, 0 AS carried FROM ad_revenue WHERE day = $day
    UNION ALL SELECT category, 0, carry_in_micros FROM ad_pools WHERE day = $day)
GROUP BY category ORDER BY category
"""

# the best videos one by one as far as 2,000 go, then in thousandths
_RANKS = f"""
WITH {_CREATORS},
ranked AS (
    SELECT video_id, creator_id, safety, assured, quality,
           row_number() OVER (ORDER BY CASE WHEN $assured THEN assured ELSE quality END DESC,
                              video_id) AS place,
           count(*) OVER () AS videos
    FROM video_quality
    WHERE day = $day AND compliant AND CASE WHEN $assured THEN assured ELSE quality END > 0
),
money AS (
    SELECT video_id, category, sum(amount_micros) AS micros FROM ad_revenue
    WHERE day = $day AND video_id IS NOT NULL GROUP BY ALL
)
SELECT least(place, 2000 + place * 1000 // videos) AS bucket, max(place) AS place, category,
       coalesce(small, true) AS small, sum(micros)::DOUBLE AS revenue
FROM ranked JOIN money USING (video_id) LEFT JOIN small USING (creator_id)
WHERE safety >= $min_safety
GROUP BY bucket, category, coalesce(small, true) ORDER BY place
"""

_COINS = f"""
WITH {_CREATORS}
SELECT coalesce(small, true) AS small, count(*)::DOUBLE AS rows, avg(normal_coins) AS normal,
       avg(premium_coins) AS premium, avg(quality) AS quality
FROM donation_splits LEFT JOIN small USING (creator_id) WHERE day = $day AND compliant
GROUP BY coalesce(small, true), round(6 * log2(1 + normal_coins)), round(6 * log2(1 + premium_coins)),
         round(10 * quality)
"""


@dataclass(frozen=True, eq=False)
class _Pool:
    """Units of one category: how many rows and views each bucket has, and whose they are."""

    views: Floats
    rows: Floats
    small: Floats


@dataclass(frozen=True, eq=False)
class DaySketch:
    """A day in buckets. Money in micros, as floats: a sketch is no account."""

    day: date
    pools: dict[str, _Pool]
    revenue: dict[str, tuple[float, float]]
    compliant: int
    ranks: pa.Table
    coins: pa.Table
    coins_paid: float
    coins_gross: float
    coins_small: float
    buckets: int
    _coins_by: dict[str, tuple[float, float]] = field(default_factory=dict)

    @classmethod
    def of(cls, con: Connection, day: date, policy: Policy) -> DaySketch:
        """Read a day that is made; `policy` says by what Pulse ranks."""
        asked = {"day": day}
        units = con.execute(_UNITS, asked).to_arrow_table()
        pools: dict[str, _Pool] = {}
        names = np.asarray(units["category"].to_pylist(), dtype=object)
        for category in dict.fromkeys(names.tolist()):
            here = names == category
            pools[category] = _Pool(
                units["views"].to_numpy()[here],
                units["rows"].to_numpy()[here],
                np.asarray(units["small"].to_pylist())[here].astype(np.float64),
            )
        ranks = con.execute(
            _RANKS,
            asked
            | {
                "assured": policy.pulse.ranked_by == "assured",
                "min_safety": policy.pulse.min_safety,
            },
        ).to_arrow_table()
        coins = con.execute(_COINS, asked).to_arrow_table()
        ((compliant,),) = con.execute(
            "SELECT count(*) FROM video_quality WHERE day = $day AND compliant", asked
        ).fetchall()
        ((paid, gross, small),) = con.execute(
            f"""WITH {_CREATORS} SELECT coalesce(sum(payout_micros), 0)::DOUBLE,
                coalesce(sum(revenue_micros), 0)::DOUBLE,
                coalesce(sum(payout_micros) FILTER (coalesce(small, true)), 0)::DOUBLE
                FROM donation_splits LEFT JOIN small USING (creator_id) WHERE day = $day""",
            asked,
        ).fetchall()
        revenue = {c: (r, k) for c, r, k in con.execute(_REVENUE, asked).fetchall()}
        rows = units.num_rows + ranks.num_rows + coins.num_rows
        return cls(day, pools, revenue, compliant, ranks, coins, paid, gross, small, rows)

    def answer(self, policy: Policy) -> dict[str, float]:
        """What the day comes to, about: where the money goes (micros), and the measures a policy is
        judged by.

        Raises
        ------
        InfeasibleError
            A floor or cap of the policy that no split of a pool can keep.
        """
        ads, pulse = policy.ads, policy.pulse
        best = int(pulse.top_fraction * self.compliant)
        chosen = self.ranks["place"].to_numpy() <= best
        beside = self.ranks["revenue"].to_numpy() * chosen
        of_small = np.asarray(self.ranks["small"].to_pylist(), dtype=np.float64)
        to_pulse: dict[str, float] = {}
        for category, micros in zip(self.ranks["category"].to_pylist(), beside, strict=True):
            to_pulse[category] = to_pulse.get(category, 0.0) + float(micros)
        pulse_pay = pulse.creator_share * float(beside.sum())
        small = pulse.creator_share * float(beside @ of_small) if beside.size else 0.0
        platform = (1 - pulse.creator_share) * float(beside.sum())
        paid = carried = weighed = 0.0
        pays: list[Floats] = []
        counts: list[Floats] = []
        own: dict[str, float] = {}
        for category, (revenue, _) in self.revenue.items():
            left = revenue - to_pulse.get(category, 0.0)
            kept = left * float(ads.platform_share_of(category))
            platform += kept
            own[category] = left - kept
        payers = [category for category in own if category in self.pools]
        weights = {category: ads.pool_weights.get(category, 1.0) for category in payers}
        weighed_sum = sum(own[category] * weights[category] for category in payers)
        if ads.pool_weights and weighed_sum > 0:
            scale = sum(own[category] for category in payers) / weighed_sum
            own |= {category: own[category] * weights[category] * scale for category in payers}
        for category, (_, carry_in) in self.revenue.items():
            money = own[category] + carry_in
            pool = self.pools.get(category)
            if pool is None or money <= 0:
                carried += money - carry_in
                continue
            cap = float(ads.unit_cap(round(money)))
            pay = paid_by_bucket(
                money,
                pool.views,
                pool.rows,
                alpha=ads.alpha,
                lambda_fair=ads.lambda_fair,
                lambda_eff=ads.lambda_eff,
                objective=ads.objective,
                floor=float(ads.floor_micros),
                cap=cap if cap < money else np.inf,
            )
            carried -= carry_in
            paid += money
            small += float((pool.rows * pay) @ pool.small)
            total = float(pool.rows @ pool.views)
            weighed += float(pool.rows @ (pay * pool.views)) / total if total else 0.0
            pays.append(pay)
            counts.append(pool.rows)
        coins, coins_small = self._coins(policy.coins)
        creators = paid + pulse_pay + coins
        return {
            "creators": creators,
            "platform": platform + self.coins_gross - coins,
            "carried": carried,
            "ads": paid,
            "pulse": pulse_pay,
            "coins": coins,
            "small_creators_share": (small + coins_small) / creators if creators else 0.0,
            "efficiency": weighed / paid if paid else 0.0,
            "gini": _gini(pays, counts),
        }

    def _coins(self, rules: Coins) -> tuple[float, float]:
        """What creators keep of gifts, in all and those with few followers. Most questions leave
        the rules of coins as they are.
        """
        asked = rules.model_dump_json()
        if asked not in self._coins_by:
            if len(self._coins_by) > _COINS_KEPT:
                self._coins_by.clear()
            self._coins_by[asked] = self._kept(rules)
        return self._coins_by[asked]

    def _kept(self, rules: Coins) -> tuple[float, float]:
        if rules.scope != "video" or rules.revenue_floor == "market":
            return self.coins_paid, self.coins_small  # as it was paid
        if not self.coins.num_rows:
            return 0.0, 0.0
        normal, premium, quality, rows = (
            self.coins[name].to_numpy() for name in ("normal", "premium", "quality", "rows")
        )
        pay = coin_pay(rules, normal, premium, quality) * rows
        of_small = np.asarray(self.coins["small"].to_pylist(), dtype=np.float64)
        return float(pay.sum()), float(pay @ of_small)

    def plane(
        self, policy: Policy, lambdas: Sequence[float], alphas: Sequence[float]
    ) -> list[dict[str, Any]]:
        """The frontier of the two knobs of fairness: every pair of weights of efficiency and
        exponents, and whether another point is at least as good in all and better in one.
        """
        points: list[dict[str, Any]] = []
        for lambda_eff in lambdas:
            for alpha in alphas:
                changes = {
                    "ads.lambda_eff": lambda_eff,
                    "ads.lambda_fair": round(1 - lambda_eff, 12),
                    "ads.alpha": alpha,
                }
                try:
                    found = self.answer(policy.with_fields(changes))
                except InfeasibleError:
                    continue
                points.append({"lambda_eff": lambda_eff, "alpha": alpha, **found})
        worth = [
            tuple(round(x, 12) for x in (p["efficiency"], p["small_creators_share"], -p["gini"]))
            for p in points
        ]
        for point, own in zip(points, worth, strict=True):
            point["dominated"] = any(
                other != own and all(o >= mine for o, mine in zip(other, own, strict=True))
                for other in worth
            )
        return points


def _gini(pays: Sequence[Floats], counts: Sequence[Floats]) -> float:
    """Gini coefficient of what units of pools get, from buckets: each stands for its rows."""
    if not pays:
        return 0.0
    pay, rows = np.concatenate(pays), np.concatenate(counts)
    order = np.argsort(pay, kind="stable")
    pay, rows = pay[order], rows[order]
    if rows.sum() <= 100_000:
        return float(gini(np.repeat(pay, rows.astype(np.int64))))
    n, money = np.cumsum(rows) / rows.sum(), np.cumsum(rows * pay)
    if money[-1] <= 0:
        return 0.0
    curve = money / money[-1]
    area = np.diff(n, prepend=0.0) @ (curve + np.concatenate([[0.0], curve[:-1]])) / 2
    return float(1 - 2 * area)


def explore_about(
    home: Home, book: PolicyBook, days: Sequence[date], axes: Sequence[Axis]
) -> Iterator[dict[str, Any]]:
    """As `whatif.frontier.explore`, from sketches: the values of each point, its measures over the
    days, about, and its problem if it has one. The first row is the policy as it is.

    Raises
    ------
    VaryError
        A field that a sketch does not see, or too many points.
    """
    unseen = [axis.field for axis in axes if axis.field.split(".")[0] not in SECTIONS]
    if unseen:
        raise VaryError(
            f"--about {unseen[0]}: a sketch sees {', '.join(SECTIONS)} only; leave out --about"
        )
    count = math.prod(len(axis.values) for axis in axes)
    if count > MOST_POINTS:
        raise VaryError(f"{count} points are too many: at most {MOST_POINTS}. Take larger steps.")
    with Warehouse(home).read_current() as con:
        sketches = [DaySketch.of(con, day, book.in_force(day)) for day in days]
    yield {axis.field: None for axis in axes} | _over_days(sketches, book, {})
    for values in product(*(axis.values for axis in axes)):
        changes = dict(zip((axis.field for axis in axes), values, strict=True))
        try:
            yield changes | _over_days(sketches, book, changes)
        except (ValidationError, InfeasibleError) as error:
            said = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
            yield {**changes, "problem": said.removeprefix("Value error, ")}


def _over_days(
    sketches: Sequence[DaySketch], book: PolicyBook, changes: dict[str, Any]
) -> dict[str, Any]:
    varied = PolicyBook(tuple(turned(version, changes) for version in book.versions))
    answers = [each.answer(varied.in_force(each.day)) for each in sketches]
    creators = sum(found["creators"] for found in answers)
    everything = sum(found["creators"] + found["platform"] for found in answers)

    def weighed(name: str, by: str) -> float:
        total = sum(found[by] for found in answers)
        return sum(found[name] * found[by] for found in answers) / total if total else 0.0

    return {
        "efficiency": weighed("efficiency", "ads"),
        "small_creators_share": weighed("small_creators_share", "creators"),
        "gini": weighed("gini", "ads"),
        "creators_share": creators / everything if everything else 0.0,
        "creators_micros": round(creators),
        "problem": "",
    }
