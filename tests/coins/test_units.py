"""What creators keep of coins under the policy that pays by default: about half, by quality, and
the same whatever a coin is.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import spearmanr

from pipelines.coins.assets import split_coins
from pipelines.policy import read_policy
from pipelines.settings import PROJECT
from solvers.arrays import Floats

COINS = read_policy(PROJECT / "assets_data/policies/evidence.toml").coins
counts = st.integers(0, 10**6)


def kept(
    normal: list[int], premium: list[int], quality: list[float], scope: str = "video"
) -> Floats:
    """The part of each video's coins that its creator keeps."""
    rows = len(normal)
    gifts = pa.table(
        {
            "video_id": [f"v{n}" for n in range(rows)],
            "creator_id": [f"c{n}" for n in range(rows)],
            "compliant": [True] * rows,
            "normal_coins": pa.array(normal, pa.int64()),
            "premium_coins": pa.array(premium, pa.int64()),
            "quality": pa.array(quality, pa.float64()),
        }
    )
    found = split_coins(gifts, COINS.model_copy(update={"scope": scope})).rows
    return np.asarray(found["payout_micros"].to_numpy() / found["revenue_micros"].to_numpy())


@pytest.mark.parametrize("premium", [0.0, 0.25, 0.5, 0.75, 1.0])
def test_the_middle_keeps_about_half_and_quality_moves_it(premium: float) -> None:
    quality = np.linspace(0, 1, 41)
    coins = [round(10_000 * premium)] * 41
    share = kept([10_000 - coins[0]] * 41, coins, quality.tolist())
    assert share[20] == pytest.approx(0.5, abs=0.03)
    assert spearmanr(share, quality).statistic >= 0.9
    assert share[-1] - share[0] > 0.15


@settings(max_examples=100, deadline=None)
@given(counts, counts, st.floats(0, 1), st.integers(2, 1000))
def test_a_coin_may_be_anything(normal: int, premium: int, quality: float, unit: int) -> None:
    """Coins counted in another unit, or gifts spread over so many videos: the same part is kept."""
    normal, premium = normal + 10, premium + 10
    one = kept([normal], [premium], [quality])
    assert kept([normal * unit], [premium * unit], [quality]) == pytest.approx(one, abs=6e-6)


@pytest.mark.parametrize("unit", [1, 100, 10_000])
def test_all_videos_together_do_not_know_the_unit_either(unit: int) -> None:
    coins = np.array([3, 40, 500, 12, 90, 7, 1]) * unit
    share = kept(
        coins.tolist(), coins[::-1].tolist(), [0.1, 0.9, 0.5, 0.3, 0.7, 0.2, 0.8], "platform"
    )
    first = kept(
        [3, 40, 500, 12, 90, 7, 1],
        [1, 7, 90, 12, 500, 40, 3],
        [0.1, 0.9, 0.5, 0.3, 0.7, 0.2, 0.8],
        "platform",
    )
    assert share == pytest.approx(first, abs=1e-3)
