"""Embeddings from ratings: matrix factorisation by alternating least squares, and how well it
foretells ratings it has not seen.

Belongs here: the factorisation and its cross-validation. Does not: what is played with the
embeddings (`solvers.competition.settings`).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from solvers.arrays import Floats, Ints


def factorise(
    user: npt.ArrayLike,
    movie: npt.ArrayLike,
    rating: npt.ArrayLike,
    *,
    dimension: int = 32,
    ridge: float = 0.05,
    sweeps: int = 15,
    seed: int = 0,
) -> tuple[Floats, Floats]:
    r"""Embeddings whose dot products are close to the ratings: alternating least squares.

    .. math:: \min_{U, V} \sum_{(u, v)} (r_{uv} - U_u \cdot V_v)^2 + \rho \Big( \sum_u n_u |U_u|^2 +
              \sum_v n_v |V_v|^2 \Big)

    Parameters
    ----------
    user, movie : (R,) whole numbers from 0
    rating : (R,)
    dimension, ridge, sweeps, seed : d, rho, number of alternations, first embeddings

    Returns
    -------
    (users, d) and (movies, d) arrays; who has no ratings has the zero vector

    Notes
    -----
    Stands in for the deep matrix factorisation of Yao et al., section 5.1.2.

    Examples
    --------
    >>> u, v = factorise([0, 0, 1, 1], [0, 1, 0, 1], [2.0, 4.0, 1.0, 2.0], dimension=1, ridge=1e-9)
    >>> (u @ v.T).round(3).tolist()
    [[2.0, 4.0], [1.0, 2.0]]
    """
    who, what, value = _checked(user, movie, rating)
    rng = np.random.default_rng(seed)
    movies = 0.1 * rng.standard_normal((what.max() + 1, dimension))
    movies[:, 0] += 1.0
    users = np.zeros((who.max() + 1, dimension))
    by_user, by_movie = np.argsort(who, kind="stable"), np.argsort(what, kind="stable")
    of_user, of_movie = np.bincount(who), np.bincount(what)
    for _ in range(sweeps):
        _least_squares(users, of_user, movies, what[by_user], value[by_user], ridge)
        _least_squares(movies, of_movie, users, who[by_movie], value[by_movie], ridge)
    return users, movies


def cross_validated(
    user: npt.ArrayLike,
    movie: npt.ArrayLike,
    rating: npt.ArrayLike,
    *,
    folds: int = 5,
    dimension: int = 32,
    ridge: float = 0.05,
    sweeps: int = 15,
    seed: int = 0,
) -> Floats:
    """Mean squared error of `factorise` on each of `folds` random parts of the ratings, embedded
    from the others.

    Predictions are not clipped. A user or movie without a rating among the others is foretold their
    mean.

    Parameters
    ----------
    user, movie, rating, dimension, ridge, sweeps, seed : as in `factorise`; the seed also draws the
        folds
    folds : number of parts, 2 to the number of ratings

    Returns
    -------
    (folds,) array

    Notes
    -----
    Source: Yao et al., section 5.1.2: 5 folds, and a figure of 0.739, which is called a root.

    Examples
    --------
    >>> u, v = np.divmod(np.arange(600), 20)
    >>> bool(cross_validated(u, v, (1 + u % 3) * (1 + v % 2), dimension=2, ridge=1e-6).max() < 1e-6)
    True
    """
    who, what, value = _checked(user, movie, rating)
    if not 2 <= folds <= value.size:
        raise ValueError(f"{value.size} ratings cannot be cut into {folds} folds")
    fold = np.random.default_rng(seed).permutation(np.arange(value.size) % folds)
    error = np.empty(folds)
    for k in range(folds):
        test, rest = fold == k, fold != k
        users, movies = factorise(
            who[rest],
            what[rest],
            value[rest],
            dimension=dimension,
            ridge=ridge,
            sweeps=sweeps,
            seed=seed,
        )
        known = np.isin(who[test], who[rest]) & np.isin(what[test], what[rest])
        foretold = np.full(known.size, value[rest].mean())
        foretold[known] = (users[who[test][known]] * movies[what[test][known]]).sum(axis=1)
        error[k] = ((foretold - value[test]) ** 2).mean()
    return error


def _checked(
    user: npt.ArrayLike, movie: npt.ArrayLike, rating: npt.ArrayLike
) -> tuple[Ints, Ints, Floats]:
    who, what, value = (
        np.asarray(user, dtype=np.int64),
        np.asarray(movie, dtype=np.int64),
        np.asarray(rating, dtype=np.float64),
    )
    if not who.shape == what.shape == value.shape == (who.size,) or not who.size:
        raise ValueError(
            f"users, movies and ratings have shapes {who.shape}, {what.shape} and {value.shape},"
            " not one row a rating"
        )
    if min(who.min(), what.min()) < 0 or not np.isfinite(value).all():
        raise ValueError("users and movies are whole numbers from 0, ratings are finite")
    return who, what, value


def _least_squares(
    embedding: Floats, counts: Ints, others: Floats, partner: Ints, value: Floats, ridge: float
) -> None:
    """Ridge regression for each row of the embedding: the next counts[row] values, on the
    embeddings of their partners.
    """
    rated = np.flatnonzero(counts)
    d = embedding.shape[1]
    square, product = np.empty((rated.size, d, d)), np.empty((rated.size, d, 1))
    end = 0
    for r, count in enumerate(counts[rated].tolist()):
        begin, end = end, end + count
        x = others[partner[begin:end]]
        square[r], product[r, :, 0] = x.T @ x, x.T @ value[begin:end]
    square += ridge * counts[rated, None, None] * np.eye(d)
    embedding[rated] = np.linalg.solve(square, product)[:, :, 0]
