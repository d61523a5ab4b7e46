"""Types of creators from their histories: the prior, the classes, and the difficulty that explains
them.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from solvers.reward_schedule import PowerCost, estimate_ability, explained, group_types

SEEDS = st.integers(0, 2**31)


@given(SEEDS, st.floats(0.1, 100))
def test_production_is_output_times_quality_between_ones_own_and_the_typical(
    seed: int, prior: float
) -> None:
    rng = np.random.default_rng(seed)
    days = rng.integers(1, 60, 9).astype(float)
    views = rng.pareto(1.5, 9) * days + 0.1
    effective = views * rng.random(9)
    found = estimate_ability(views, effective, days, prior)
    np.testing.assert_allclose(found.output * found.quality, found.production, rtol=1e-12)
    typical = np.median(views / days) * effective.sum() / views.sum()
    own = effective / days
    assert (found.production >= np.minimum(own, typical) * (1 - 1e-12)).all()
    assert (found.production <= np.maximum(own, typical) * (1 + 1e-12)).all()
    longer = estimate_ability(views * 50, effective * 50, days * 50, prior)
    assert (
        np.abs(longer.production - own) <= np.abs(found.production - own) * (1 + 1e-9) + 1e-12
    ).all()


def test_without_a_prior_everybody_is_judged_by_their_own_history() -> None:
    np.testing.assert_allclose(
        estimate_ability([4.0, 9.0], [2.0, 3.0], [2, 3], 0.0).production, [1.0, 1.0]
    )


@given(SEEDS, st.integers(1, 30), st.floats(1.1, 5))
def test_classes_hold_everybody_once_and_explain_what_they_produce(
    seed: int, levels: int, exponent: float
) -> None:
    rng = np.random.default_rng(seed)
    x = np.round(rng.lognormal(0, 1, int(rng.integers(1, 80))), 1) + 0.1
    cost, price = PowerCost(exponent), float(rng.uniform(0.1, 9))
    found = group_types(x, levels, cost, price)
    assert found.mass.sum() == x.size
    assert found.mass.size <= levels
    assert (found.mass > 0).all()
    assert (np.diff(found.production) > 0).all()
    assert (np.diff(found.difficulty) < 0).all()
    np.testing.assert_allclose(found.mass @ found.production, x.sum())
    np.testing.assert_allclose(
        cost.inverse_derivative(price / found.difficulty), found.production
    )  # their best answer to the price
    for value in np.unique(x):
        assert np.unique(found.member[x == value]).size == 1
    order = np.argsort(x, kind="stable")
    assert (np.diff(found.member[order]) >= 0).all()


def test_a_difficulty_comes_back_from_what_it_makes_creators_produce() -> None:
    h, cost, price = np.linspace(9, 1, 7), PowerCost(2.5), 12.0
    found = group_types(cost.inverse_derivative(price / h), 7, cost, price)
    np.testing.assert_allclose(found.difficulty, h)


def test_the_prior_predicts_better_where_histories_are_short() -> None:
    """Creators with an ability of their own, few days and much luck: next week is nearer to what
    the prior leaves of the first.
    """
    rng = np.random.default_rng(4)
    ability = rng.lognormal(0, 0.5, 400)
    days = rng.integers(1, 6, 400)
    views = np.array(
        [rng.poisson(3 * a, d).sum() + 0.5 for a, d in zip(ability, days, strict=True)]
    )
    later = 3 * ability
    with_prior, alone = (
        explained(estimate_ability(views, views, days, prior).production, later)
        for prior in (2.0, 0.0)
    )
    assert with_prior > alone > 0


@pytest.mark.parametrize(
    ("views", "effective", "days", "prior", "message"),
    [
        ([1.0, 0.0], [0.5, 0.0], [1, 1], 1.0, "views of row 1"),
        ([1.0], [2.0], [1], 1.0, "effective views of row 0"),
        ([1.0], [1.0], [0], 1.0, "days of row 0"),
        ([1.0], [1.0], [1], -1.0, "prior_days"),
        ([], [], [], 1.0, "one shape"),
    ],
)
def test_bad_histories_are_named(
    views: list[float], effective: list[float], days: list[int], prior: float, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        estimate_ability(views, effective, days, prior)


@pytest.mark.parametrize(
    ("x", "levels", "price", "k"),
    [([0.0], 1, 1.0, 2.0), ([1.0], 0, 1.0, 2.0), ([1.0], 1, 0.0, 2.0), ([1.0], 1, 1.0, 1.0)],
)
def test_types_that_cannot_be_are_refused(
    x: list[float], levels: int, price: float, k: float
) -> None:
    with pytest.raises(ValueError, match="above 0"):
        group_types(x, levels, PowerCost(k), price)
