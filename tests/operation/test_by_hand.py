"""A platform small enough to follow by hand: every integer of two days is known beforehand."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest

from pipelines.ads.assets import Pool, size_pool, spread_empty
from pipelines.operation.running import run_days
from pipelines.policy import Ads
from pipelines.settings import Home
from tests.cases.three_days import rows

D1, D2 = date(2026, 5, 1), date(2026, 5, 2)

# Every viewer is verified, watches 10 s of 10 s once and does all four actions: W = E = D = 1.
# Nobody rewatches and its exponent is 0, safety is 1: Q = 1 and effective views are heads. alpha =
# 1 and lambda_eff = 1 split pools in proportion to views.
POLICY = """
name = "plain"
effective_from = 2026-01-01
[quality]
exponents = { watch = 0.4, engagement = 0.25, diversity = 0.15, rewatch = 0.0, safety = 0.2 }
[pulse]
top_fraction = 0.25
creator_share = 0.5
min_safety = 0.9
also_in_pools = true
[ads]
alpha = 1.0
lambda_fair = 0.0
lambda_eff = 1.0
platform_share = 0.5
platform_share_by_category = { music = 0.3333 }
"""
CREATORS = "creator_id\nann\nbob\n"
VIDEOS = """video_id,creator_id,length_ms,categories,compliant,s_plus,s_tox
a1,ann,10000,music;games,true,1,0
a2,ann,10000,music,true,1,0
b1,bob,10000,games,true,1,0
b2,bob,10000,music;news,false,1,0
"""
EVENTS = "event_id,ts,viewer_id,video_id,watch_ms,liked,commented,shared,followed\n"
ADS = "ad_id,ts,category,video_id,amount_micros\n"
GIFTS = "gift_id,ts,viewer_id,video_id,coins,premium\n"


@pytest.fixture
def home(make_home: Callable[..., Home]) -> Home:
    home = make_home("by_hand", settings='policy = "plain"\n', landing=False)
    _put(home.root / "policies" / "plain.toml", POLICY)
    _land(home, "creators", D1, CREATORS)
    _land(home, "viewers", D1, "viewer_id,verified\n" + "".join(f"u{n},true\n" for n in range(9)))
    _land(home, "videos", D1, VIDEOS)
    _land(home, "viewer_events", D1, EVENTS + _views(D1, a1=4, a2=1, b1=2, b2=5))
    _land(
        home,
        "ad_revenue",
        D1,
        ADS
        + f"1,{D1}T10:00,music,a2,101\n2,{D1}T10:00,music,,1000\n3,{D1}T10:00,games,b1,11\n4,{D1}T10:00,news,,77\n",
    )
    _land(home, "gifts", D1, GIFTS + f"1,{D1}T10:00,u1,b2,3,true\n")
    return home


def test_day_one(home: Home) -> None:
    """A quarter of three compliant videos is none: no Pulse. News has only a video that does not
    comply: carried.
    """
    outcome = run_days(home, D1, D1)
    assert outcome.success, outcome.failures
    assert rows(
        home, "SELECT video_id, quality, effective_views FROM video_quality ORDER BY 1"
    ) == [
        ("a1", 1.0, 4.0),
        ("a2", 1.0, 1.0),
        ("b1", 1.0, 2.0),
        ("b2", 0.0, 0.0),
    ]
    assert rows(home, "FROM pulse_payouts") == []
    pools = (
        "SELECT category, revenue_micros, platform_micros, pool_micros, carry_out_micros, rule FROM"
        " ad_pools ORDER BY 1"
    )
    assert rows(home, pools) == [
        ("games", 11, 6, 5, 0, "split"),  # half of 11, the creators' part rounded down
        ("music", 1101, 367, 734, 0, "split"),  # (1 - .3333) 1101 = 734.04
        ("news", 77, 39, 0, 38, "carry"),
    ]
    assert rows(home, "SELECT category, video_id, payout_micros FROM ad_payouts ORDER BY ALL") == [
        ("games", "a1", 3),  # 5 * 4/6 = 3.33
        ("games", "b1", 2),  # 5 * 2/6 = 1.67, the largest remainder
        ("music", "a1", 587),  # 734 * 4/5 = 587.2
        ("music", "a2", 147),  # 146.8
    ]
    assert rows(
        home, "SELECT video_id, premium_coins, revenue_micros, payout_micros FROM donation_splits"
    ) == [("b2", 3, 30_000, 0)]
    assert rows(
        home,
        "SELECT creator_id, pulse_micros, ads_micros, carry_micros, coins_micros, total_micros FROM"
        " creator_earnings ORDER BY 1",
    ) == [
        ("ann", 0, 737, 0, 0, 737),
        ("bob", 0, 2, 0, 0, 2),
    ]
    assert rows(
        home,
        "SELECT account, sum(amount_micros) AS n FROM ledger_entries GROUP BY account HAVING n <> 0"
        " ORDER BY 1",
    ) == [
        ("carry:news", 38),
        ("creator:ann", 737),
        ("creator:bob", 2),
        ("platform", 6 + 367 + 39 + 30_000),
        ("revenue:ads", -1189),
        ("revenue:coins", -30_000),
    ]


def test_day_two_pays_what_day_one_carried_and_pulse_its_half(home: Home) -> None:
    """Four compliant videos now: the best one is Pulse, by a hash where all have Q = 1. b2 complies
    and is the only news video.
    """
    _land(home, "videos", D2, VIDEOS.splitlines()[0] + "\nb2,bob,10000,music;news,true,1,0\n")
    _land(home, "viewer_events", D2, EVENTS + _views(D2, a1=1, a2=1, b1=1, b2=1))
    adjacent = "".join(f"{v},{D2}T10:00,games,{v},21\n" for v in ("a1", "a2", "b1", "b2"))
    _land(home, "ad_revenue", D2, ADS + adjacent + f"5,{D2}T10:00,news,,3\n")
    _land(home, "gifts", D2, GIFTS)
    assert run_days(home, D1, D2).success
    ((pulse, revenue, payout),) = rows(
        home, "SELECT video_id, revenue_micros, payout_micros FROM pulse_payouts"
    )
    assert (revenue, payout) == (21, 10)
    owner = {"a": "ann", "b": "bob"}[pulse[0]]
    news = (
        "SELECT carry_in_micros, pool_micros, carry_out_micros FROM ad_pools WHERE category ="
        " 'news' AND day = '2026-05-02'"
    )
    assert rows(home, news) == [(38, 39, 0)]  # 38 carried in, and 1 of 3
    earned = {
        creator: (pulse, ads, carried, total)
        for creator, pulse, ads, carried, total in rows(
            home,
            "SELECT creator_id, pulse_micros, ads_micros, carry_micros, total_micros FROM"
            " creator_earnings WHERE day = '2026-05-02'",
        )
    }
    assert earned[owner][0] == 10
    assert earned["bob"][2] == 38
    # games: (84 - 21) // 2 = 31 to a1 and b1 alike; news: 1 to bob
    assert sorted((earned["ann"][1], earned["bob"][1] - 1)) == [15, 16]
    assert sum(total for *_, total in earned.values()) == 10 + 31 + 39
    assert rows(
        home, "SELECT sum(amount_micros) FROM ledger_entries WHERE account LIKE 'carry:%'"
    ) == [(0,)]


def test_without_yesterday_the_day_runs_and_is_stale_once_yesterday_carries(home: Home) -> None:
    _land(home, "viewer_events", D2, EVENTS + _views(D2, a1=1))
    _land(home, "ad_revenue", D2, ADS + f"5,{D2}T10:00,music,,3\n")
    _land(home, "gifts", D2, GIFTS)
    from pipelines.status import day_statuses

    assert run_days(home, D2, D2).success
    assert run_days(home, D1, D1).success
    states = {s.day: (s.state, s.note) for s in day_statuses(home)}
    assert states[D1][0] == "complete"
    assert states[D2][0] == "stale"
    assert "carries 38" in states[D2][1]
    assert run_days(home, D2, D2).success
    assert {s.state for s in day_statuses(home)} == {"complete"}
    assert rows(home, "SELECT sum(carry_out_micros) FROM ad_pools WHERE day = '2026-05-02'") == [
        (38,)
    ]


def test_accounts_of_one_identity_are_one_unit_until_a_snapshot_parts_them(home: Home) -> None:
    _land(home, "creators", D1, "creator_id,identity_id\nann,same\nbob,same\n")
    _land(home, "creators", D2, "creator_id,identity_id\nann,\n")
    _land(home, "viewer_events", D2, EVENTS + _views(D2, a1=1, b1=1))
    _land(home, "ad_revenue", D2, ADS + f"5,{D2}T10:00,games,,20\n")
    _land(home, "gifts", D2, GIFTS)
    assert run_days(home, D1, D2).success
    assert rows(
        home, "SELECT DISTINCT day, unit_id FROM ad_payouts WHERE category = 'games' ORDER BY ALL"
    ) == [
        (D1, "same"),
        (D2, "ann"),
        (D2, "same"),
    ]


def test_empty_pools_spread_in_proportion_or_are_carried_when_nobody_is_paid() -> None:
    ads = Ads(empty_pool="spread", platform_share=0.0)
    music, games, news = (
        size_pool(ads, *row)
        for row in (("music", 30, 0, 2, True), ("games", 10, 0, 1, True), ("news", 6, 4, 0, False))
    )
    assert [
        (p.category, p.spread, p.pool, p.carry_out, p.rule)
        for p in spread_empty([music, games, news])
    ] == [
        ("music", 7, 37, 0, "split"),  # 7.5 and 2.5: one unit goes by hash
        ("games", 3, 13, 0, "split"),
        ("news", -10, 0, 0, "spread"),
    ]
    (alone,) = spread_empty([news])
    assert (alone.rule, alone.carry_out) == ("carry", 10)


def test_a_pool_without_quality_is_carried_or_split_equally() -> None:
    assert size_pool(Ads(), "music", 100, 1, 3, False) == Pool(
        "music", 100, 55, 1, 3, False, "carry", 0, 46
    )
    assert size_pool(Ads(zero_quality="equal"), "music", 100, 1, 3, False) == Pool(
        "music", 100, 55, 1, 3, False, "equal", 46
    )


def _views(day: date, **viewers: int) -> str:
    return "".join(
        f"{day}-{video}-{n},{day}T09:00:00Z,u{n},{video},10000,1,1,1,1\n"
        for video, count in viewers.items()
        for n in range(count)
    )


def _land(home: Home, table: str, day: date, text: str) -> None:
    _put(home.landing / table / str(day) / "a.csv", text)


def _put(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
