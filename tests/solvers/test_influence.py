"""Bounded views: nobody whom nobody vouches for decides more than the bound, an honest audience is
worth on average what it was, and where an account is worth little nothing changes.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from solvers.influence import LEAST, bounded_views

ALPHA = 0.5
ACCOUNT = 0.8


def market(seed: int, videos: int = 60, pools: int = 4) -> dict[str, Any]:
    """Videos in one or two pools each, some of a creator who has several."""
    rng = np.random.default_rng(seed)
    places = [(v, c) for v in range(videos) for c in set(rng.integers(0, pools, 2).tolist())]
    creator = rng.integers(0, videos // 2, videos)
    video, pool = np.array(places).T
    _, unit = np.unique(creator[video] * pools + pool, return_inverse=True)
    audience = rng.geometric(0.2, videos)
    verified = rng.binomial(audience, 0.35)
    return {
        "money": rng.lognormal(3, 1.5, pools),
        "video": video,
        "unit": unit,
        "pool": pool,
        "verified": verified.astype(float),
        "unverified": 0.8 * (audience - verified),
        "quality": rng.uniform(0.2, 0.6, videos),
    }


def pay(m: dict[str, Any], views: np.ndarray) -> np.ndarray:
    """What the blend pays each video, restated: half by share, half by its root, creator by creator."""
    paid = np.zeros(len(m["quality"]))
    effective = views * m["quality"]
    for c, money in enumerate(m["money"]):
        rows = np.flatnonzero(m["pool"] == c)
        units = {u: effective[m["video"][rows[m["unit"][rows] == u]]] for u in m["unit"][rows]}
        total = sum(own.sum() for own in units.values())
        roots = sum(own.sum() ** ALPHA for own in units.values())
        for row in rows:
            own = units[m["unit"][row]].sum()
            if own:
                part = 0.5 * own / total + 0.5 * own**ALPHA / roots
                paid[m["video"][row]] += money * part * effective[m["video"][row]] / own
    return paid


@given(st.integers(0, 10_000), st.sampled_from([1, 2, 10]))
@settings(max_examples=25, deadline=None)
def test_accounts_bring_a_video_about_the_bound_at_most(seed: int, number: int) -> None:
    """Let loose on one video after the other, the whole market weighed again each time. Weights
    answer to sums that answer to weights; a few percent stay open, and where all views already
    count for the least there is nothing to take from.
    """
    m = market(seed)
    viewers = m["verified"].sum() + m["unverified"].sum() / 0.8
    worth = m["money"].sum() / viewers
    before = bounded_views(**m, account=ACCOUNT, worth=worth)
    for target in range(0, len(m["quality"]), 7):
        more = m["unverified"].copy()
        more[target] += ACCOUNT * number
        after = bounded_views(**m | {"unverified": more}, account=ACCOUNT, worth=worth)
        if min(before.weight[target], after.weight[target]) <= LEAST:
            continue
        one = pay(m, after.views)[target] - pay(m, before.views)[target]
        alone = set(m["unit"][m["video"] == target])
        if len([u for u in m["unit"] if u in alone]) == len(alone):
            assert one / number <= 1.6 * worth


def test_an_honest_audience_is_worth_on_average_what_it_was() -> None:
    """Verified viewers stand in for the others: nobody gains or loses by how dear a pool is."""
    ratios = []
    for seed in range(40):
        m = market(seed, videos=200)
        found = bounded_views(**m, account=ACCOUNT, worth=0.3 * m["money"].sum() / 1000)
        was = m["verified"] + m["unverified"]
        assert found.bounded.mean() > 0.3
        ratios.append(found.views.sum() / was.sum())
    assert np.mean(ratios) == pytest.approx(1.0, abs=0.05)


def test_where_an_account_is_worth_little_nothing_changes() -> None:
    m = market(3)
    for worth in (math.inf, 1e9):
        found = bounded_views(**m, account=ACCOUNT, worth=worth)
        assert not found.bounded.any()
        assert (found.views == m["verified"] + m["unverified"]).all()


def test_where_nobody_is_verified_everybody_counts() -> None:
    m = market(4)
    found = bounded_views(**m | {"verified": np.zeros(60)}, account=ACCOUNT, worth=1e-9)
    assert (found.weight == 1).all()


def test_a_lower_bound_never_gives_the_unverified_more_weight() -> None:
    m = market(5)
    weights = [
        bounded_views(**m, account=ACCOUNT, worth=worth).weight for worth in (8.0, 2.0, 0.5, 0.0)
    ]
    assert all((low <= high + 1e-3).all() for high, low in pairwise(weights))
    assert (weights[-1] == LEAST).all()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"verified": np.full(60, -1.0)}, "verified must be finite"),
        ({"quality": np.full(60, np.nan)}, "quality must be finite"),
        ({"unit": np.zeros(3, int)}, "one length"),
        ({"account": 0.0}, "account"),
        ({"worth": -1.0}, "worth"),
    ],
)
def test_what_is_no_market_is_refused(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        bounded_views(**{**market(1), "account": ACCOUNT, "worth": 1.0, **change})
