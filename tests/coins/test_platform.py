"""One coin split over all videos of a day, in whole micros."""

from __future__ import annotations

from fractions import Fraction
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.coins.assets import split_coins
from pipelines.policy import Coins
from solvers import InfeasibleError


def gifts(
    normal: list[int], premium: list[int], quality: list[float], compliant: list[bool] | None = None
) -> pa.Table:
    return pa.table(
        {
            "video_id": [f"v{i}" for i in range(len(normal))],
            "creator_id": [f"c{i}" for i in range(len(normal))],
            "compliant": compliant or [True] * len(normal),
            "normal_coins": pa.array(normal, pa.int64()),
            "premium_coins": pa.array(premium, pa.int64()),
            "quality": pa.array(quality, pa.float64()),
        }
    )


def coins(**changes: Any) -> Coins:
    return Coins(scope="platform", **changes)


def test_the_revenue_floor_is_the_real_lever() -> None:
    table = gifts([100, 2000], [10, 900], [0.2, 0.4])
    shares = []
    for floor in (0.5, 0.7, 0.9):
        split = split_coins(table, coins(revenue_floor=floor))
        paid, revenue = (
            sum(split.rows[name].to_pylist()) for name in ("payout_micros", "revenue_micros")
        )
        shares.append(Fraction(paid, revenue))
        assert revenue - paid == Fraction(str(floor)) * revenue
        assert split.solution["multiplier"] > 0
    assert shares == [Fraction(1, 2), Fraction(3, 10), Fraction(1, 10)]


def test_both_weights_and_the_optional_constraints() -> None:
    table = gifts([500, 500, 40], [100, 100, 300], [0.1, 0.9, 0.5])
    plain = split_coins(table, coins(revenue_floor=0.6)).rows
    by_quality = split_coins(table, coins(revenue_floor=0.6, weight="quality")).rows
    assert by_quality["payout_micros"][1].as_py() > by_quality["payout_micros"][0].as_py()
    assert by_quality["payout_micros"].to_pylist() != plain["payout_micros"].to_pylist()
    capped = split_coins(table, coins(payout_cap=0.25)).rows
    assert (
        sum(capped["payout_micros"].to_pylist()) == sum(capped["revenue_micros"].to_pylist()) // 4
    )
    bounded = split_coins(table, coins(revenue_floor=0.5, payout_min=0.4, payout_max=0.55)).rows
    for paid, revenue in zip(
        bounded["payout_micros"].to_pylist(), bounded["revenue_micros"].to_pylist(), strict=True
    ):
        assert Fraction(2, 5) <= Fraction(paid, revenue) <= Fraction(11, 20)
    aware = split_coins(
        table,
        coins(min_gap=0.3, max_gap=0.4, gap_by_quality=True, lambda_inc=0.0, revenue_floor=0.4),
    ).rows
    gaps = np.array(aware["premium_share"].to_pylist()) - np.array(
        aware["normal_share"].to_pylist()
    )
    assert (gaps >= 0.3 * np.array([0.1, 0.9, 0.5]) - 1e-12).all()


def test_a_video_that_does_not_comply_is_in_nobodys_problem() -> None:
    with_it = split_coins(
        gifts([100, 900, 300], [0, 50, 300], [0.2, 0.5, 0.4], [True, False, True]),
        coins(revenue_floor=0.5),
    )
    without = split_coins(gifts([100, 300], [0, 300], [0.2, 0.4]), coins(revenue_floor=0.5))
    paid = with_it.rows["payout_micros"].to_pylist()
    assert paid[1] == 0
    assert [paid[0], paid[2]] == without.rows["payout_micros"].to_pylist()
    assert with_it.solution == without.solution
    nobody = split_coins(gifts([10], [10], [0.5], [False]), coins())
    assert nobody.rows["payout_micros"].to_pylist() == [0]
    assert split_coins(gifts([], [], []), coins()).solution["videos"] == 0


def test_hardly_any_quality_does_not_end_the_search_for_the_multiplier() -> None:
    # video 2 answers so steeply to the price that Newton's steps vanish long before the last video
    # takes what is left
    table = gifts(
        [0, 0, 0, 0, 0, 1, 53415],
        [24, 1, 2, 8250, 3, 20, 117],
        [1.0, 1.0, 1.175494351e-38, 1.0, 0.0, 0.0, 0.0],
    )
    split = split_coins(table, coins(revenue_floor=0.0, weight="quality"))
    assert split.solution["value"] == pytest.approx(2.953672338376755, rel=1e-13)
    assert split.solution["total"] == pytest.approx(6627.1, rel=1e-13)
    assert split.solution["gap"] <= 1e-10
    assert split.solution["local_maxima"] == 0


@settings(max_examples=60)
@given(st.data())
def test_whole_micros_keep_the_floor_and_nobody_is_paid_more_than_was_gifted(
    data: st.DataObject,
) -> None:
    n = data.draw(st.integers(1, 12))
    number = st.integers(0, 10**5)
    normal, premium = (data.draw(st.lists(number, min_size=n, max_size=n)) for _ in range(2))
    quality = data.draw(st.lists(st.floats(0, 1), min_size=n, max_size=n))
    floor = data.draw(st.floats(0, 0.9).map(lambda x: round(x, 3)))
    table = gifts(normal, premium, quality)
    split = split_coins(
        table, coins(revenue_floor=floor, weight=data.draw(st.sampled_from(["coins", "quality"])))
    )
    paid, revenue = (
        split.rows["payout_micros"].to_pylist(),
        split.rows["revenue_micros"].to_pylist(),
    )
    assert all(0 <= p <= r for p, r in zip(paid, revenue, strict=True))
    assert sum(revenue) - sum(paid) >= Fraction(str(floor)) * sum(revenue)
    assert split.solution["gap"] <= 1e-8
    assert split.solution["primal_residual"] <= 1e-9
    assert split.solution["rounding_micros"] <= 1.001
    order = data.draw(st.permutations(range(n)))
    shuffled = split_coins(table.take(order), coins(revenue_floor=floor))
    same = split_coins(table, coins(revenue_floor=floor))
    by_id = [
        dict(zip(s.rows["video_id"].to_pylist(), s.rows["payout_micros"].to_pylist(), strict=True))
        for s in (shuffled, same)
    ]
    assert by_id[0] == pytest.approx(by_id[1], abs=1)


@pytest.mark.parametrize("scope", ["video", "platform"])
@pytest.mark.parametrize("weight", ["coins", "quality"])
def test_pay_never_falls_in_ones_own_quality(
    scope: Literal["video", "platform"], weight: Literal["coins", "quality"]
) -> None:
    rng = np.random.default_rng(7)
    for _ in range(12):
        n = int(rng.integers(2, 6))
        normal, premium = (rng.integers(0, 2000, n).tolist() for _ in range(2))
        quality, policy = (
            rng.random(n),
            Coins(scope=scope, weight=weight, revenue_floor=float(rng.choice([0.1, 0.5, 0.7]))),
        )
        better = np.append(min(quality[0] + 0.2, 1.0), quality[1:])
        before, after = (
            split_coins(gifts(normal, premium, q.tolist()), policy).rows["payout_micros"][0].as_py()
            for q in (quality, better)
        )
        assert after >= before - 1


@pytest.mark.parametrize(
    ("rules", "why"),
    [
        # a gap that quality raises above what this video's premium coins may bring
        (coins(min_gap=0.5, max_gap=0.5, premium_max=0.8, payout_min=0.7, payout_max=0.7), "paid"),
        (coins(epsilon=1e9, epsilon_of="coin"), "lost in the rounding"),
        (coins(coin_micros=1, payout_min=0.5, payout_max=0.5), "negative or above its cap"),
    ],
)
def test_an_error_names_the_video_and_not_its_row(rules: Coins, why: str) -> None:
    """Rows are those of videos that comply: the first one here does not."""
    table = gifts([7, 1, 1], [7, 0, 0], [0.5, 0.5, 0.9], [False, True, True])
    with pytest.raises(InfeasibleError, match=f"^video 'v[12]': .*{why}"):
        split_coins(table, rules)
