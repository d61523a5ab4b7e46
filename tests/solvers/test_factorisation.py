"""Embeddings from ratings: what is of low rank is recovered, the result is stationary, unseen
ratings are foretold as well as claimed.
"""

from __future__ import annotations

import numpy as np
import pytest

from solvers.competition import cross_validated, factorise


def test_factorisation_recovers_low_rank_and_leaves_out_who_rated_nothing():
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(20, 2)) @ rng.normal(size=(2, 15))
    seen = rng.random(truth.shape) < 0.7
    seen[4] = False
    user, movie = np.nonzero(seen)
    u, v = factorise(user, movie, truth[seen], dimension=2, ridge=1e-9, sweeps=200)
    rest = np.arange(20) != 4
    np.testing.assert_allclose((u @ v.T)[rest], truth[rest], atol=1e-3)
    assert (u[4] == 0).all()


def test_factorisation_is_stationary():
    rng = np.random.default_rng(1)
    user, movie, rating = (
        rng.integers(0, 8, 60),
        rng.integers(0, 6, 60),
        rng.integers(1, 6, 60).astype(float),
    )
    u, v = factorise(user, movie, rating, dimension=2, ridge=0.1, sweeps=1000)
    error = (u[user] * v[movie]).sum(axis=1) - rating
    for k in range(8):
        mine = user == k
        np.testing.assert_allclose(
            error[mine] @ v[movie[mine]] + 0.1 * mine.sum() * u[k], 0, atol=1e-6
        )


def test_cross_validation_finds_the_noise_and_not_what_was_fitted():
    rng = np.random.default_rng(2)
    truth = rng.normal(size=(80, 3)) @ rng.normal(size=(3, 60))
    user, movie = np.nonzero(rng.random(truth.shape) < 0.6)
    rating = truth[user, movie] + 0.5 * rng.normal(size=user.size)
    u, v = factorise(user, movie, rating, dimension=3, ridge=1e-3)
    fitted = (((u[user] * v[movie]).sum(axis=1) - rating) ** 2).mean()
    unseen = cross_validated(user, movie, rating, dimension=3, ridge=1e-3)
    assert unseen.shape == (5,)
    assert fitted < 0.25 < unseen.min()
    assert unseen.max() < 0.4


def test_cross_validation_by_hand():
    rng = np.random.default_rng(3)
    user, movie, rating = (
        rng.integers(0, 9, 40),
        rng.integers(0, 7, 40),
        rng.integers(1, 6, 40).astype(float),
    )
    fold = np.random.default_rng(5).permutation(np.arange(40) % 4)
    found = cross_validated(user, movie, rating, folds=4, dimension=2, seed=5)
    for k in range(4):
        rest = fold != k
        u, v = factorise(user[rest], movie[rest], rating[rest], dimension=2, seed=5)
        error = []
        for i in np.flatnonzero(fold == k):
            seen = user[i] in user[rest] and movie[i] in movie[rest]
            error.append((u[user[i]] @ v[movie[i]] if seen else rating[rest].mean()) - rating[i])
        assert found[k] == pytest.approx(np.mean(np.square(error)))


def test_a_user_without_other_ratings_is_foretold_their_mean():
    assert cross_validated([0, 1], [0, 1], [2.0, 4.0], folds=2, dimension=1).tolist() == [4.0, 4.0]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: factorise([0], [0, 1], [1.0]), "not one row a rating"),
        (lambda: factorise([-1], [0], [1.0]), "whole numbers from 0"),
        (lambda: cross_validated([0], [0], [np.nan]), "ratings are finite"),
        (lambda: cross_validated([0], [0], [1.0], folds=2), "1 ratings cannot be cut into 2 folds"),
    ],
)
def test_refusals(call, message):
    with pytest.raises(ValueError, match=message):
        call()
