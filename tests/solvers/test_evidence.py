"""The strength of a prior: found again in what was drawn from it, and never so weak that one action
decides.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from solvers.evidence import fit_prior, shrunken

KNOBS = {"reference": 0.01, "reference_trials": 20.0, "least_successes": 10.0}


@pytest.mark.parametrize(("rate", "strength"), [(0.3, 8.0), (0.15, 40.0), (0.02, 200.0)])
def test_a_strength_is_found_again_in_what_was_drawn_from_it(rate: float, strength: float) -> None:
    rng = np.random.default_rng(5)
    trials = rng.integers(5, 400, 4000).astype(float)
    own = rng.beta(rate * strength, (1 - rate) * strength, 4000)
    found = fit_prior(
        rng.binomial(trials.astype(int), own), trials, **KNOBS | {"least_successes": 1e-3}
    )
    assert found.rate == pytest.approx(rate, rel=0.05)
    assert strength / 1.4 < found.strength < strength * 1.4
    assert found.strength == found.fitted


def test_one_wild_video_cannot_make_the_prior_weaker_than_its_floor() -> None:
    """It draws the likelihood away from the truth, which is no spread at all; the floor in actions
    is what holds.
    """
    rng = np.random.default_rng(6)
    trials = np.full(3000, 50.0)
    shares = rng.binomial(50, 0.002, 3000).astype(float)
    calm = fit_prior(shares, trials, **KNOBS)
    wild = fit_prior(np.append(shares, 50.0), np.append(trials, 50.0), **KNOBS)
    assert math.isinf(calm.fitted)
    assert wild.fitted < wild.strength == pytest.approx(10 / wild.rate)


def test_videos_that_do_not_differ_ask_for_an_infinite_prior() -> None:
    found = fit_prior([5.0] * 50, [10.0] * 50, **KNOBS)
    assert math.isinf(found.fitted)
    assert found.strength == 1e6


def test_what_nobody_did_is_rare_and_not_impossible() -> None:
    found = fit_prior([0.0, 0.0], [3.0, 2.0], **KNOBS)
    assert found.rate == pytest.approx(20 * 0.01 / 25)
    assert (shrunken([0.0, 0.0], [3.0, 2.0], found) > 0).all()


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1e4)), min_size=1, max_size=30),
    st.floats(1, 50),
)
def test_one_more_success_moves_a_rate_by_at_most_one_in_so_many(
    videos: list[tuple[float, float]], least: float
) -> None:
    trials = np.array([n for _, n in videos])
    successes = np.array([part * n for part, n in videos])
    prior = fit_prior(successes, trials, **KNOBS | {"least_successes": least})
    before = shrunken(successes, trials, prior)
    after = shrunken(successes + 1, trials + 1, prior)
    assert (after <= before * (1 + 1 / least) * (1 + 1e-9)).all()
    assert prior.rate * prior.strength >= least * (1 - 1e-9)


@settings(max_examples=30, deadline=None)
@given(st.permutations(range(12)))
def test_the_order_of_the_videos_does_not_matter(order: list[int]) -> None:
    trials = np.array([3.0, 8, 20, 1, 0.5, 7, 100, 42, 9, 9, 12, 1000])
    successes = trials * np.array([0, 0.1, 0.2, 1, 0, 0.5, 0.02, 0.1, 0.3, 0, 0.4, 0.1])
    assert fit_prior(successes[order], trials[order], **KNOBS) == fit_prior(
        successes, trials, **KNOBS
    )


@pytest.mark.parametrize(
    ("successes", "trials", "knobs"),
    [
        ([2.0], [1.0], {}),
        ([-1.0], [1.0], {}),
        ([1.0], [math.inf], {}),
        ([1.0, 1.0], [1.0], {}),
        ([0.5], [1.0], {"reference": 0.0}),
        ([0.5], [1.0], {"reference_trials": 0.0}),
        ([0.5], [1.0], {"least_successes": 0.0}),
    ],
)
def test_what_makes_no_sense_is_refused(
    successes: list[float], trials: list[float], knobs: dict[str, float]
) -> None:
    with pytest.raises(ValueError, match="must"):
        fit_prior(successes, trials, **KNOBS | knobs)
