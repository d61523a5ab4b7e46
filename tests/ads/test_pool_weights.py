"""Pools whose sizes a policy moves: the sum stays to the micro, and the transfer is on the ledger and
in the explanation.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.ads.assets import move_by_weight, size_pool, spread_empty
from pipelines.ledger.explanation import explain_creator
from pipelines.policy import Ads, Policy
from pipelines.settings import Home
from pipelines.store.warehouse import Warehouse
from tests.cases.five_days import DAYS, make_days

NAMES = ("music", "news", "games", "sports")


@given(
    revenue=st.lists(st.integers(0, 10**15), min_size=4, max_size=4),
    weights=st.dictionaries(st.sampled_from(NAMES), st.floats(0, 1e6), max_size=4),
    videos=st.lists(st.integers(0, 2), min_size=4, max_size=4),
    empty=st.sampled_from(["carry", "spread"]),
)
def test_what_pools_get_sums_to_what_they_would_have_got(revenue, weights, videos, empty) -> None:
    ads = Ads(pool_weights=weights, empty_pool=empty)
    pools = [
        size_pool(ads, name, micros, 7, count, count > 0)
        for name, micros, count in zip(NAMES, revenue, videos, strict=True)
    ]
    moved = spread_empty(move_by_weight(pools, ads))
    assert sum(p.spread for p in moved) == 0
    assert sum(p.pool + p.carry_out for p in moved) == sum(p.pool + p.carry_out for p in pools)
    for before, after in zip(pools, moved, strict=True):
        assert after.pool >= 0
        assert after.revenue + 7 + after.spread == after.platform + after.pool + after.carry_out
        if not before.pool:
            assert not after.pool
    alike = Ads(pool_weights=dict.fromkeys(NAMES, 3.0), empty_pool=empty)
    assert spread_empty(move_by_weight(pools, alike)) == spread_empty(pools)


@pytest.fixture(scope="module")
def homes(small: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Home, Home, str]:
    """A day paid without weights and with one; and the category that weighs."""
    made = []
    category = ""
    for name in ("plain", "weighed"):
        home = Home.at(shutil.copytree(small, tmp_path_factory.mktemp(name) / "home"))
        (home.root / "policies").mkdir()
        weights = f'[ads.pool_weights]\n"{category}" = 3.0\n' if category else ""
        (home.root / "policies" / "p.toml").write_text(
            f'name = "evidence"\neffective_from = 2020-01-01\n{weights}'
        )
        make_days(home, DAYS[:1])
        with Warehouse(home).open(read_only=True) as con:
            ((category,),) = con.execute(
                "SELECT category FROM ad_pools WHERE pool_micros > 0 ORDER BY category LIMIT 1"
            ).fetchall()
        made.append(home)
    return made[0], made[1], category


def test_the_transfer_is_on_the_ledger_and_in_the_explanation(homes) -> None:
    plain, weighed, category = homes
    pools = []
    for home in (plain, weighed):
        with Warehouse(home).open(read_only=True) as con:
            pools.append(con.execute(
                "SELECT category, pool_micros, spread_micros, revenue_micros, platform_micros"
                " FROM ad_pools ORDER BY 1"
            ).fetchall())  # fmt: skip
    assert sum(row[1] for row in pools[0]) == sum(row[1] for row in pools[1])
    assert [row[3:] for row in pools[0]] == [row[3:] for row in pools[1]]
    moved = {row[0]: row[2] for row in pools[1]}
    assert moved[category] > 0
    assert all(micros <= 0 for name, micros in moved.items() if name != category)
    with Warehouse(weighed).open(read_only=True) as con:
        booked = dict(con.execute(
            "SELECT account[6:], amount_micros FROM ledger_entries WHERE part = 'spread'"
        ).fetchall())  # fmt: skip
        assert booked == {name: micros for name, micros in moved.items() if micros}
        who, = con.execute(
            "SELECT creator_id FROM ad_payouts WHERE category = ? ORDER BY payout_micros DESC"
            " LIMIT 1",
            [category],
        ).fetchall()[0]  # fmt: skip
        told = explain_creator(con, who, DAYS[0])
    facts = [p.facts for v in told.videos for p in v.payouts if p.category == category]
    assert {f["spread_micros"] for f in facts} == {moved[category]}


def test_no_weights_are_the_policy_that_was() -> None:
    one = Policy(name="a", effective_from=DAYS[0])
    assert one.with_fields({"ads.pool_weights": {}}).hash == one.hash
    assert one.with_fields({"ads.pool_weights": {"music": 1.0}}).hash != one.hash
