"""Explanations: parts sum to what was paid, by hand, on random platforms paid by the code that
pays, and on a whole simulated one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cache
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.ads.assets import split_pool
from pipelines.coins.assets import split_coins
from pipelines.ledger.counterfactual import COMPONENTS, NothingToExplainError, Place, coin_decision
from pipelines.ledger.explained import CreatorDay, Payout, VideoDay
from pipelines.ledger.explanation import DayBook, explain, explain_creator, explain_video
from pipelines.ledger.wording import text
from pipelines.policy import Ads, Coins, Exponents, Policy, Pulse, Quality
from pipelines.schema import TABLES
from pipelines.settings import Home
from pipelines.store.warehouse import Connection, Warehouse
from tests.cases.five_days import DAYS, make_days

DAY = date(2026, 3, 5)


@dataclass(frozen=True)
class Video:
    """A video of the day as `video_quality` measures it, and the coins it was given."""

    name: str
    creator: str = "ann"
    categories: tuple[str, ...] = ("music",)
    compliant: bool = True
    viewers: int = 10
    trust: float = 1.0
    group_weight: float = 1.0
    watch: float = 1.0
    engagement: float = 1.0
    diversity: float = 1.0
    rewatch: float = 1.0
    safety: float = 1.0
    coins: tuple[int, int] = (0, 0)
    revenue: int | None = None  # of ads next to it, where it is Pulse

    @property
    def views(self) -> float:
        return self.viewers * self.trust * self.group_weight

    def quality(self, policy: Policy) -> float:
        powers = policy.quality.exponents.model_dump()
        return (
            float(np.prod([getattr(self, c) ** powers[c] for c in COMPONENTS]))
            if self.compliant
            else 0.0
        )


def policy_of(**sections: Any) -> Policy:
    return Policy(
        name="tiny", effective_from=DAY, **{"quality": Quality(unverified_cap=1.5)} | sections
    )


@cache
def _empty() -> Connection:
    """All tables, made once: each platform takes the place of the one before it."""
    con = duckdb.connect()
    con.execute("SET threads = 1;" + ";".join(table.ddl() for table in TABLES.values()))
    return con


def platform(policy: Policy, videos: Sequence[Video], pools: dict[str, int]) -> Connection:
    """The tables of a day on which these videos were paid, by the functions that the assets call."""
    stamp = {"day": DAY, "policy_hash": policy.hash}
    tables: dict[str, list[dict[str, Any]]] = {
        "policies": [
            {
                "name": "tiny",
                "effective_from": DAY,
                "content": policy.content,
                "policy_hash": policy.hash,
            }
        ],
        "written_days": [
            {
                "table_name": "creator_earnings",
                "day": DAY,
                "rows": 1,
                "changed": 1,
                "made": 1,
                "code_version": "",
            }
        ],
        "creators": [
            {"day": DAY, "creator_id": c, "source": "x"}
            for c in sorted({v.creator for v in videos})
        ],
        **{
            name: []
            for name in (
                "videos",
                "video_quality",
                "pulse_payouts",
                "ad_pools",
                "ad_payouts",
                "donation_splits",
            )
        },
    }
    for v in videos:
        quality = v.quality(policy)
        who = {"video_id": v.name, "creator_id": v.creator}
        known = {
            "length_ms": 1000,
            "categories": list(v.categories),
            "compliant": v.compliant,
            "source": "x",
        }
        tables["videos"].append({"day": DAY, **who, **known})
        measured = {c: getattr(v, c) for c in ("compliant", "viewers", "group_weight", *COMPONENTS)}
        derived = {
            "qualified_views": v.views,
            "trust_mass": v.views,
            "quality": quality,
            "effective_views": v.views * quality,
            "assured": quality,
        }
        if v.viewers:
            tables["video_quality"].append(
                stamp
                | who
                | measured
                | derived
                | {
                    "unverified_scale": 1.0,
                    "safety_source": "given",
                }
            )
        if v.revenue is not None:
            paid = {
                "revenue_micros": v.revenue,
                "payout_micros": int(v.revenue * policy.pulse.creator_share),
            }
            tables["pulse_payouts"].append(
                stamp | who | {"quality": quality, "safety": v.safety} | paid
            )
    for category, money in pools.items():
        units = [
            (v, v.name if policy.ads.fairness_unit == "video" else v.creator)
            for v in competing(videos, category)
        ]
        split = any(v.quality(policy) > 0 for v, _ in units) or (
            units and policy.ads.zero_quality == "equal"
        )
        books = {
            "revenue_micros": money,
            "platform_micros": 0,
            "carry_in_micros": 0,
            "spread_micros": 0,
        }
        books |= {
            "pool_micros": money if split else 0,
            "carry_out_micros": 0 if split else money,
            "rule": "split" if split else "carry",
        }
        tables["ad_pools"].append(
            stamp
            | books
            | {
                "category": category,
                "videos": len(units),
                "units": len({u for _, u in units}),
            }
        )
        if split:
            rows = [
                {
                    "video_id": v.name,
                    "creator_id": v.creator,
                    "unit_id": unit,
                    "effective_views": v.views * v.quality(policy),
                }
                for v, unit in units
            ]
            paid_rows = split_pool(
                pa.Table.from_pylist(rows), money, 0, policy.ads
            ).rows.to_pylist()
            tables["ad_payouts"] += [stamp | {"category": category} | row for row in paid_rows]
    if gifted := [v for v in videos if sum(v.coins)]:
        columns = {
            "video_id": [v.name for v in gifted],
            "creator_id": [v.creator for v in gifted],
            "compliant": [v.compliant for v in gifted],
            "normal_coins": [v.coins[0] for v in gifted],
            "premium_coins": [v.coins[1] for v in gifted],
            "quality": [v.quality(policy) for v in gifted],
        }
        tables["donation_splits"] = [
            stamp | row for row in split_coins(pa.table(columns), policy.coins).rows.to_pylist()
        ]
    con = _empty()
    for name in TABLES:
        con.execute(f"DELETE FROM {name}")
    for name, content in tables.items():
        if content:
            incoming = pa.Table.from_pylist(content)
            extra = ", TIMESTAMP '2026-03-06' AS made_at" if name == "written_days" else ""
            con.register("incoming", incoming)
            con.execute(f"INSERT INTO {name} BY NAME SELECT *{extra} FROM incoming")
    con.execute(
        """INSERT INTO creator_earnings BY NAME
           SELECT ?::DATE AS day, creator_id, ? AS policy_hash, 0 AS carry_micros,
           0 AS adjustment_micros, 0 AS bonus_micros, 0 AS shares_micros,
               MAP {} AS ads_by_category,
                  sum(pulse) AS pulse_micros, sum(ads) AS ads_micros, sum(coins) AS coins_micros,
                  sum(pulse + ads + coins) AS total_micros
           FROM (SELECT creator_id, payout_micros AS pulse, 0 AS ads, 0 AS coins FROM pulse_payouts
                 UNION ALL SELECT creator_id, 0, payout_micros, 0 FROM ad_payouts
                 UNION ALL SELECT creator_id, 0, 0, payout_micros FROM donation_splits)
                 GROUP BY creator_id""",
        [DAY, policy.hash],
    )
    return con


def competing(videos: Sequence[Video], category: str) -> list[Video]:
    """Who competes in a pool, in the order of ids."""
    return sorted(
        (v for v in videos if category in v.categories and v.compliant and v.views > 0),
        key=lambda v: v.name,
    )


def only(con: Connection, video_id: str) -> Payout:
    (payout,) = explain_video(con, video_id, DAY).payouts
    return payout


def parts_of(payout: Payout) -> dict[str, int]:
    return {part.name: part.micros for part in payout.parts}


def adds_up(explained: VideoDay | CreatorDay) -> None:
    """Every integer of the explanation is the sum of its parts; a factor at its typical value has
    no part.
    """
    for video in explained.videos if isinstance(explained, CreatorDay) else [explained]:
        assert sum(payout.paid_micros for payout in video.payouts) == video.total_micros
        for payout in video.payouts:
            assert sum(part.micros for part in payout.parts) == payout.paid_micros
            assert abs(payout.parts[-1].micros) <= 2
            if payout.comparison:
                assert sum(part.micros for part in payout.comparison) == payout.paid_micros
            assert [
                p
                for p in (*payout.parts, *payout.comparison)
                if p.own is not None and p.own == p.typical and p.micros
            ] == []
    json.dumps(explained.as_dict())
    text(explained)


PLAIN = Ads(alpha=1.0, lambda_fair=0.0, lambda_eff=1.0)
W_ONLY = Quality(
    unverified_cap=1.5,
    exponents=Exponents(watch=1.0, engagement=0.0, diversity=0.0, rewatch=0.0, safety=0.0),
)


# --------------------------------------------------------------------------------------------------


def test_two_videos_by_hand() -> None:
    """a: 4 viewers, W = 1; b: 2 viewers, W = .5, one effective view. Typical: 3 and .75.

    With x effective views a gets 1000 x/(x + 1): 692.31 if typical (2.25), 750 with either its
    viewers or its W (3), 800 with both (4). Each of the two adds (57.69 + 50)/2 = 53.85.
    """
    con = platform(
        policy_of(ads=PLAIN, quality=W_ONLY),
        [Video("a", viewers=4), Video("b", "bob", viewers=2, watch=0.5)],
        {"music": 1000},
    )
    payout = only(con, "a")
    parts = parts_of(payout)
    assert payout.paid_micros == 800
    assert {name: micros for name, micros in parts.items() if micros} == {
        "pool": 692,
        "viewers": 54,
        "watch": 54,
    }
    assert [(p.own, p.typical) for p in payout.parts if p.name in ("viewers", "watch")] == [
        (4.0, 3.0),
        (1.0, 0.75),
    ]
    assert payout.facts["median_payout_micros"] == 500
    assert (
        payout.words
        == "A typical video in its place would get 0.000692 from music; more viewers than usual"
        " (+0.000054) added most: 0.000800."
    )


def test_the_fairness_rule_and_the_cap_by_hand() -> None:
    """9 and 1 views, both typical but for the viewers (5): proportional 5/6, 9/10; half square
    roots, 3/4 for (9, 1).
    """
    ads = Ads(alpha=0.5, lambda_fair=1.0, lambda_eff=0.0, cap_fraction=0.7)
    con = platform(
        policy_of(ads=ads),
        [Video("a", viewers=9), Video("b", "bob", viewers=1)],
        {"music": 1_000_000},
    )
    parts = parts_of(only(con, "a"))
    root = 5**0.5 / (5**0.5 + 1)
    typical, viewers, fair, both = 5 / 6, 9 / 10, root, 3 / 4
    # with the cap on, every one of them is 0.7 or below it
    worth = {(): typical, ("v",): viewers, ("f",): fair, ("v", "f"): both}
    capped = {key: min(0.7, value) for key, value in worth.items()}
    v = _average(worth, capped, lambda w, on: w[("v", *on)] - w[on], "f")
    f = _average(worth, capped, lambda w, on: w[(*on, "f")] - w[on], "v")
    assert parts["viewers"] == pytest.approx(v * 1e6, abs=1)
    assert parts["fairness"] == pytest.approx(f * 1e6, abs=1)
    assert (
        parts["bounds"]
        == 700_000 - parts["pool"] - parts["viewers"] - parts["fairness"] - parts["rounding"]
    )
    assert parts["pool"] == pytest.approx(typical * 1e6, abs=1)


def _average(
    free: dict[Any, float],
    capped: dict[Any, float],
    added: Callable[[dict[Any, float], Any], float],
    other: str,
) -> float:
    """Shapley value among three players from the four marginals of one: alone 1/3, after one 1/6
    each, after both 1/3.
    """
    return (
        added(free, ()) / 3
        + added(free, (other,)) / 6
        + added(capped, ()) / 6
        + added(capped, (other,)) / 3
    )


def test_pulse_by_hand() -> None:
    con = platform(
        policy_of(pulse=Pulse(creator_share=0.5)), [Video("a", categories=(), revenue=21)], {}
    )
    payout = only(con, "a")
    assert (payout.paid_micros, parts_of(payout)) == (
        10,
        {"revenue": 21, "platform": -10, "rounding": -1},
    )
    assert "of the 0.000021 from ads next to it, its creator gets 50 %" in payout.words


def test_coins_by_hand() -> None:
    """100 premium coins at Delta = .4 and a coin of 10,000 micros: 40 coins. The medians of the two
    are 50 normal and 150 premium coins.
    """
    con = platform(
        policy_of(), [Video("a", coins=(0, 100)), Video("b", "bob", coins=(100, 200))], {}
    )
    payout = only(con, "a")
    assert (payout.paid_micros, parts_of(payout)) == (
        400_000,
        {"normal": 0, "premium": 400_000, "rounding": 0},
    )
    assert payout.facts["decided_by"] == "largest gap"
    assert {p.name: (p.micros, p.own, p.typical) for p in payout.comparison} == {
        "typical": (600_000, None, None),
        "quality": (0, 1.0, 1.0),
        "normal_coins": (0, 0, 50.0),
        "premium_coins": (-200_000, 100, 150.0),
        "rounding": (0, None, None),
    }


@pytest.mark.parametrize(
    ("coins", "normal", "premium", "decided"),
    [
        ({"lambda_util": 2.0, "lambda_inc": 0.0}, 100, 100, "most allowed"),
        ({"lambda_rev": 0.0, "revenue_floor": 0.5}, 100, 100, "platform floor"),
        ({"lambda_util": 0.0, "lambda_inc": 0.0}, 100, 100, "smallest gap"),
        ({}, 100, 100, "largest gap"),
        ({"lambda_util": 3.0}, 100, 100, "largest premium share"),
        ({"lambda_util": 0.8}, 100, 100, "balance"),
        ({"lambda_util": 5.0}, 100, 100, "balance"),
        ({"lambda_inc": 0.0}, 100, 100, "balance"),
    ],
)
def test_what_decides_a_coin_split(
    coins: dict[str, float], normal: int, premium: int, decided: str
) -> None:
    con = platform(
        policy_of(coins=Coins(**coins)), [Video("a", categories=(), coins=(normal, premium))], {}
    )
    payout = only(con, "a")
    assert payout.facts["decided_by"] == decided
    adds_up(explain_video(con, "a", DAY))


def test_a_split_of_all_videos_together_is_not_explained_by_one_of_them() -> None:
    con = platform(
        policy_of(coins=Coins(scope="platform")), [Video("a", categories=(), coins=(0, 100))], {}
    )
    payout = only(con, "a")
    assert payout.comparison == ()
    assert "split together" in payout.words
    adds_up(explain_video(con, "a", DAY))


# --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("video", "says"),
    [
        (Video("a", compliant=False, coins=(5, 5)), "did not pass the compliance gate"),
        (Video("a", viewers=0), "Nobody watched it that day"),
        (Video("a", trust=0.0), "Nobody watched it for long enough"),
        (Video("a", categories=()), "has no category label"),
        (Video("a", categories=("news",)), "No money came into the ad pool news"),
        (Video("a", categories=("dance",), engagement=0.0), "The ad pool dance is carried"),
        (Video("a", engagement=0.0), "E, engagement is 0, so its quality is 0"),
    ],
)
def test_a_video_that_earns_nothing_says_why(video: Video, says: str) -> None:
    con = platform(policy_of(), [video, Video("b", "bob")], {"music": 1000, "dance": 10})
    explained = explain_video(con, "a", DAY)
    assert explained.total_micros == 0
    assert says in explained.words
    adds_up(explained)
    adds_up(explain_creator(con, "ann", DAY))


def test_a_pulse_video_that_may_not_compete_says_so() -> None:
    con = platform(
        policy_of(pulse=Pulse(also_in_pools=False)),
        [Video("a", categories=("dance",), revenue=0), Video("b", "bob")],
        {"music": 9},
    )
    assert any("those do not compete" in note for note in explain_video(con, "a", DAY).notes)


def test_a_video_of_two_categories_is_explained_in_each() -> None:
    con = platform(
        policy_of(),
        [Video("a", categories=("music", "dance")), Video("b", "bob")],
        {"music": 1000, "dance": 10},
    )
    payouts = explain_video(con, "a", DAY).payouts
    assert [(p.category, p.paid_micros) for p in payouts] == [("dance", 10), ("music", 500)]


def test_what_cannot_be_explained_says_what_there_is() -> None:
    con = platform(policy_of(), [Video("ann"), Video("b", "bob")], {"music": 1000})
    with pytest.raises(
        NothingToExplainError,
        match=f"{DAY + timedelta(1)} is not made: there are days from {DAY} to {DAY}",
    ):
        explain(con, "b", DAY + timedelta(1))
    with pytest.raises(
        NothingToExplainError,
        match=r"'x' on 2026-03-05; videos are called ann, b, [.]+; creators are called ann, bob",
    ):
        explain(con, "x", DAY)
    with pytest.raises(NothingToExplainError, match="both a video and a creator"):
        explain(con, "ann", DAY)
    with pytest.raises(NothingToExplainError, match="no creator is called 'b'"):
        explain(con, "b", DAY, kind="creator")
    assert isinstance(explain(con, "ann", DAY, kind="creator"), CreatorDay)
    assert isinstance(explain(con, "b", DAY), VideoDay)


def test_what_a_rule_over_groups_changes_is_a_part_of_its_own() -> None:
    """The tables say that a was paid 300 of the 500 it would get without rules; only a rule that
    held in the pool explains that.
    """
    con = platform(
        policy_of(), [Video("a", viewers=10), Video("b", "bob", viewers=10)], {"music": 1000}
    )
    con.execute("UPDATE ad_payouts SET payout_micros = 300 WHERE video_id = 'a'")
    with pytest.raises(
        NothingToExplainError,
        match=r"the pool pays 500\.0 micros for these views, and 300 were paid",
    ):
        explain_video(con, "a", DAY)
    con.execute("""INSERT INTO ad_rules BY NAME SELECT day, category, policy_hash, 'small' AS rule,
            1 AS members, 300 AS maximum_micros,
                  300 AS paid_micros, 0 AS multiplier, '' AS note FROM ad_payouts
                  WHERE video_id = 'a'""")
    payout = only(con, "a")
    assert {name: micros for name, micros in parts_of(payout).items() if micros} == {
        "pool": 500,
        "rules": -200,
    }
    assert "a rule over groups (-0.000200) took most away" in payout.words


def test_tables_that_do_not_fit_together_are_not_explained() -> None:
    con = platform(policy_of(), [Video("a"), Video("b", "bob")], {"music": 1000})
    con.execute("UPDATE video_quality SET effective_views = 3 WHERE video_id = 'a'")
    with pytest.raises(NothingToExplainError, match="make it whole: earnings run"):
        explain_video(con, "a", DAY)
    con.execute("DELETE FROM video_quality WHERE video_id = 'b'")
    with pytest.raises(NothingToExplainError, match="are not those that compete in it"):
        explain_video(con, "a", DAY)
    con.execute("DELETE FROM ad_payouts")
    con.execute("DELETE FROM policies")
    with pytest.raises(NothingToExplainError, match="which is not in the table policies"):
        explain_video(con, "a", DAY)


# --------------------------------------------------------------------------------------------------


UNIT = st.sampled_from([0.0, 0.25, 0.5, 1.0]) | st.floats(0.01, 1)


@st.composite
def platforms(draw: st.DrawFn) -> tuple[Policy, list[Video], dict[str, int]]:
    videos = [
        Video(
            f"v{n}",
            creator=draw(st.sampled_from(["ann", "bob", "cy"])),
            categories=draw(st.sampled_from([("music",), ("music", "dance"), ("dance",), ()])),
            compliant=draw(st.integers(0, 6)) > 0,
            viewers=draw(st.sampled_from([0, 1, 5, 30]) | st.integers(1, 10**6)),
            trust=draw(UNIT),
            group_weight=draw(st.sampled_from([1.0, 1.0, 0.5, 2.0])),
            coins=draw(
                st.sampled_from([(0, 0), (10, 0), (0, 7)])
                | st.tuples(st.integers(0, 10**6), st.integers(0, 10**6))
            ),
            revenue=draw(st.none() | st.integers(0, 10**9)),
            **{c: draw(UNIT) for c in COMPONENTS},
        )
        for n in range(draw(st.integers(1, 7)))
    ]
    pools = {
        name: draw(st.sampled_from([0, 100, 10**9]) | st.integers(1000, 10**13))
        for name in ("music", "dance")
    }
    ads = Ads(
        objective=draw(st.sampled_from(["blend", "linear"])),
        alpha=draw(st.sampled_from([0.3, 0.5, 1.0])),
        lambda_fair=draw(st.sampled_from([0.2, 0.5, 1.0])),
        lambda_eff=draw(st.sampled_from([0.0, 0.5, 1.0])),
        fairness_unit=draw(st.sampled_from(["video", "creator"])),
        zero_quality=draw(st.sampled_from(["carry", "equal"])),
    )
    units = [
        len({v.name if ads.fairness_unit == "video" else v.creator for v in competing(videos, c)})
        for c in pools
    ]
    floor = min(money // (2 * max(1, n)) for money, n in zip(pools.values(), units, strict=True))
    cap = 0.6 if 1 not in units else 1.0
    bounds = {
        "floor_micros": draw(st.sampled_from([0, floor])),
        "cap_fraction": draw(st.sampled_from([1.0, cap])),
    }
    coins = Coins(scope=draw(st.sampled_from(["video", "video", "platform"])))
    return policy_of(ads=ads.model_copy(update=bounds), coins=coins), videos, pools


@given(platforms())
@settings(max_examples=40)
def test_every_part_of_a_random_platform_adds_up(
    made: tuple[Policy, list[Video], dict[str, int]],
) -> None:
    policy, videos, pools = made
    con = platform(policy, videos, pools)
    for creator in sorted({v.creator for v in videos}):
        explained = explain_creator(con, creator, DAY)
        adds_up(explained)
        assert (
            explained.total_micros
            == sum(explained.sources.values())
            == sum(v.total_micros for v in explained.videos)
        )


@given(platforms(), st.floats(0, 2))
@settings(max_examples=25)
def test_a_counterfactual_is_what_the_paying_code_would_pay(
    made: tuple[Policy, list[Video], dict[str, int]], level: float
) -> None:
    """Pool.payout of other views, against split_pool on the table with these views."""
    policy, videos, pools = made
    con = platform(policy, videos, pools)
    table = con.execute(
        """SELECT video_id, p.creator_id, unit_id, effective_views FROM ad_payouts AS p
            JOIN video_quality AS q USING (day, video_id)
           WHERE category = 'music' ORDER BY video_id"""
    ).to_arrow_table()
    units = np.array(table["unit_id"].to_pylist())
    for at in range(table.num_rows):
        pool, _ = DayBook.of(con, DAY).pool("music", policy.hash)
        views = table["effective_views"].to_numpy().copy()
        place = Place.of({}, float(views[at]), views[units == units[at]])
        views[at] = level * (views[at] or 1.0)
        always = np.array([True])
        would = pool.payout(place, views[[at]], fair=always, bounded=always & pool.bounded)
        if views.any():
            paid = split_pool(
                table.set_column(3, "effective_views", pa.array(views)),
                pools["music"],
                0,
                policy.ads,
            ).rows
            assert float(would[0]) == pytest.approx(
                paid["payout_micros"][at].as_py(), abs=2, rel=1e-9
            )
        else:
            assert (would[0] > 0) == (policy.ads.zero_quality == "equal" and pools["music"] > 0)


@given(
    st.integers(0, 10**6),
    st.integers(0, 10**6),
    st.floats(0, 1),
    st.sampled_from([0.0, 0.2, 0.6, 1.5, 4.0]),
    st.booleans(),
)
def test_the_reason_of_a_coin_split_holds(
    normal: int, premium: int, quality: float, util: float, linear: bool
) -> None:
    coins = Coins(lambda_util=util, utility="linear" if linear else "log", revenue_floor=0.3)
    table = {
        "video_id": ["v"],
        "normal_coins": [normal],
        "premium_coins": [premium],
        "quality": [quality],
        "compliant": [True],
    }
    row = split_coins(pa.table(table), coins).rows.to_pylist()[0]
    x_n, x_p = row["normal_share"], row["premium_share"]
    pay = x_n * normal + x_p * premium
    decided, _ = coin_decision(coins, normal, premium, pay)
    gap, near = x_p - x_n, 1e-6
    holds = {
        "platform floor": pay >= 0.7 * (normal + premium) * (1 - near),
        "most allowed": (x_n >= 0.6 - near or not normal) and (x_p >= 0.8 - near or not premium),
        "largest premium share": x_p >= 0.8 - near,
        "largest gap": gap >= 0.4 - near and x_n <= near,
        "smallest gap": (gap <= 0.05 + near and x_n <= near) or not premium,
        "balance": not linear,
    }
    assert holds[decided]


# --------------------------------------------------------------------------------------------------


@pytest.fixture
def con(made_once: Home) -> Iterator[Connection]:
    with Warehouse(made_once).open(read_only=True) as connection:
        yield connection


def test_every_creator_of_a_simulated_platform(con: Connection) -> None:
    totals = {
        (day, creator): total
        for day, creator, total in con.execute(
            "SELECT day, creator_id, total_micros FROM creator_earnings"
        ).fetchall()
    }
    assert totals
    for (day, creator), total in totals.items():
        explained = explain_creator(con, creator, day)
        adds_up(explained)
        assert explained.total_micros == total


def test_the_printed_policy_is_explained_too(landed: Callable[..., Home]) -> None:
    home = landed()
    with (home.root / "settings.toml").open("a") as file:
        file.write('policy = "printed"\n')
    make_days(home, DAYS[:1])
    with Warehouse(home).open(read_only=True) as con:
        explained = [
            explain_creator(con, c, DAYS[0])
            for (c,) in con.execute("SELECT DISTINCT creator_id FROM creators").fetchall()
        ]
    assert any(creator.sources["ads"] for creator in explained)
    for creator in explained:
        adds_up(creator)


def test_explanations_do_not_depend_on_how_a_pool_is_read(
    con: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every column in a temporary file and read three numbers at a time, every share behind a point
    of its bin: the same micros.
    """
    creators = [
        c
        for (c,) in con.execute(
            "SELECT DISTINCT creator_id FROM creator_earnings WHERE day = ?", [DAYS[0]]
        ).fetchall()
    ]
    plain = [explain_creator(con, creator, DAYS[0]) for creator in creators]
    monkeypatch.setattr("pipelines.ledger.pool_sums._CHUNK", 3)
    monkeypatch.setattr("pipelines.ledger.pool_sums._IN_MEMORY", 8)
    monkeypatch.setattr("solvers.ad_pool.response._FEW", 0)
    assert [explain_creator(con, creator, DAYS[0]) for creator in creators] == plain
    assert (
        sum(
            len(payout.parts)
            for creator in plain
            for video in creator.videos
            for payout in video.payouts
        )
        > 100
    )


def test_every_payout_of_a_simulated_platform_is_in_exactly_one_explanation(
    con: Connection,
) -> None:
    day = DAYS[1]
    found = [
        (video.video_id, payout.source, payout.category, payout.paid_micros)
        for (creator,) in con.execute("SELECT DISTINCT creator_id FROM videos").fetchall()
        for video in explain_creator(con, creator, day).videos
        for payout in video.payouts
    ]
    paid = con.execute(
        """SELECT video_id, 'ads', category, payout_micros FROM ad_payouts WHERE day = $day
           UNION ALL SELECT video_id, 'pulse', NULL, payout_micros FROM pulse_payouts
           WHERE day = $day
           UNION ALL SELECT video_id, 'coins', NULL, payout_micros FROM donation_splits
           WHERE day = $day""",
        {"day": day},
    ).fetchall()
    assert sorted(found, key=str) == sorted(paid, key=str)


def test_the_text_shows_every_part(con: Connection) -> None:
    creator, day = con.execute(
        "SELECT creator_id, day FROM creator_earnings ORDER BY total_micros DESC LIMIT 1"
    ).fetchall()[0]
    shown = text(explain(con, creator, day))
    for label in (
        "viewers",
        "trust and watch minimum",
        "W, watch completion",
        "fairness rule",
        "rounding",
        "averaged over all",
        "typical",
    ):
        assert label in shown
