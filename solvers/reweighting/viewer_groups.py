"""Groups of viewers that are alike: k-means on static features, with groups that are too small
merged into the nearest.

Belongs here: standardising features, the clustering, and the nearest group of somebody new. Does
not: which features a platform has, when groups are made anew, and what a group's weight is
(`solvers.reweighting.groups`).
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from solvers.arrays import Floats

Labels = npt.NDArray[np.intp]
Features = Mapping[str, npt.NDArray[Any]]

_ITERATIONS = 30
_BLOCK = 65_536


@dataclass(frozen=True)
class Coordinate:
    """One axis of the space in which viewers are compared: a number, or whether a category has a
    level (`level` is None or the level).
    """

    feature: str
    level: str | None
    mean: float
    scale: float


@dataclass(frozen=True, eq=False)
class ViewerGroups:
    """Groups, largest first. `centres` are in units of the features: a mean, or the share of
    members whose category has the level.
    """

    coordinates: tuple[Coordinate, ...]
    centres: Floats
    sizes: Labels
    labels: Labels
    inertia: float

    def nearest(self, features: Features) -> Labels:
        """Group of each row, by the nearest centre; a number that is missing, or a level that is
        new, counts as average.
        """
        return nearest(self.coordinates, self.centres, features)


def group_viewers(
    features: Features, *, groups: int, min_size: int = 1, seed: int = 0, starts: int = 3
) -> ViewerGroups:
    r"""Split rows into at most `groups` groups that minimise the inertia :math:`\sum_i \min_l
    \lVert x_i - c_l \rVert^2`.

    Every feature, number or category, is scaled to a total variance of 1, so that a category with
    many levels counts no more than a number. The best of `starts` runs of k-means from seeded
    k-means++ starts is taken. Then, while a group has fewer than `min_size` rows, the smallest is
    merged into the nearest (its centre moves to the mean of both) and every row goes to its nearest
    centre again.

    Parameters
    ----------
    features : name -> (n,) array; floats are numbers (NaN: missing), anything else is a category
        (None: a level of its own)
    groups : L, at least 1; fewer come out when there are fewer distinct rows, or when small ones
        are merged
    min_size : least number of rows in a group
    seed, starts : the result depends on them and on the set of rows, not on the order of the rows

    Raises
    ------
    ValueError
        no row, columns of different lengths, a number that is infinite, or a count below 1

    Notes
    -----
    Source: Yao et al., section 4.3 ("pre-cluster users into L groups based on their static
    features") and 5.2.1 (small groups go).

    Examples
    --------
    >>> groups = group_viewers({"tenure": np.array([1.0, 2.0, 900.0, 901.0, 899.0])}, groups=2)
    >>> groups.sizes.tolist(), groups.centres.round(1).tolist(), groups.labels.tolist()
    ([3, 2], [[900.0], [1.5]], [1, 1, 0, 0, 0])
    >>> groups.nearest({"tenure": np.array([30.0, np.nan])}).tolist()
    [1, 0]
    """
    _checked(features)
    for name, count in {"groups": groups, "min_size": min_size, "starts": starts}.items():
        if count < 1:
            raise ValueError(f"{name} is {count}, it must be at least 1")
    coordinates = _coordinates(features)
    rows = _standardised(coordinates, features)
    rows = rows[np.lexsort(rows.T[::-1])] if rows.size else rows
    centres = _cluster(rows, groups, seed, starts)

    while True:
        sizes = np.bincount(_assigned(rows, centres), minlength=len(centres))
        if len(centres) == 1 or sizes.min() >= min_size:
            break
        centres = _without(centres, sizes, int(np.lexsort((*centres.T[::-1], sizes))[0]))

    order = np.lexsort((*centres.T[::-1], -sizes))
    centres, sizes = centres[order], sizes[order]
    inertia = float(((rows - centres[_assigned(rows, centres)]) ** 2).sum())
    natural = np.round(_means(coordinates) + centres * _scales(coordinates), 12)
    labels = nearest(coordinates, natural, features)
    return ViewerGroups(
        coordinates, natural, np.bincount(labels, minlength=len(natural)), labels, inertia
    )


def inertia_by_count(
    features: Features, counts: Sequence[int], *, seed: int = 0
) -> dict[int, float]:
    """Inertia that k-means leaves for each number of groups, as a share of that of one group: the
    evidence for a choice of L.

    Examples
    --------
    >>> inertia = inertia_by_count({"tenure": np.array([1.0, 2.0, 900.0, 901.0])}, [1, 2])
    >>> round(inertia[1], 3), inertia[2] < 1e-5
    (1.0, True)
    """
    alone = group_viewers(features, groups=1, starts=1).inertia
    return {
        k: group_viewers(features, groups=k, seed=seed, starts=1).inertia / alone if alone else 0.0
        for k in counts
    }


def nearest(
    coordinates: Sequence[Coordinate], centres: npt.ArrayLike, features: Features
) -> Labels:
    """Row of `centres` (in units of the features) that is nearest to each row of the features; the
    first of equals.
    """
    n = _checked(features)
    if not coordinates:
        return np.zeros(n, dtype=np.intp)
    middle, scale = _means(coordinates), _scales(coordinates)
    standard = (
        np.asarray(centres, dtype=np.float64).reshape(-1, len(coordinates)) - middle
    ) / scale
    label = np.empty(n, dtype=np.intp)
    for start in range(0, n, _BLOCK):
        block = {name: column[start : start + _BLOCK] for name, column in features.items()}
        label[start : start + _BLOCK] = _assigned(_standardised(coordinates, block), standard)
    return label


def _checked(features: Features) -> int:
    lengths = {name: len(column) for name, column in features.items()}
    if len(set(lengths.values())) != 1 or not min(lengths.values()):
        raise ValueError(
            f"features need columns of one length above 0, they have {lengths or 'none'}"
        )
    for name, column in features.items():
        if column.dtype.kind == "f" and np.isinf(column).any():
            raise ValueError(
                f"{name} of row {int(np.flatnonzero(np.isinf(column))[0])} is infinite"
            )
    return next(iter(lengths.values()))


def _coordinates(features: Features) -> tuple[Coordinate, ...]:
    """Axes of all features that vary."""
    coordinates: list[Coordinate] = []
    for name in sorted(features):
        column = features[name]
        if column.dtype.kind == "f":
            known = np.sort(column[~np.isnan(column)])
            if known.size and known[0] < known[-1]:
                coordinates.append(Coordinate(name, None, float(known.mean()), float(known.std())))
            continue
        levels, counts = np.unique(_levels(column), return_counts=True)
        shares = counts / counts.sum()
        scale = float(np.sqrt((shares * (1 - shares)).sum()))
        if len(levels) > 1:
            coordinates += [
                Coordinate(name, str(level), float(share), scale)
                for level, share in zip(levels, shares, strict=True)
            ]
    return tuple(coordinates)


def _levels(column: npt.NDArray[Any]) -> npt.NDArray[np.str_]:
    return np.array(
        ["" if value is None else str(value) for value in column.tolist()], dtype=np.str_
    )


def _standardised(coordinates: Sequence[Coordinate], features: Features) -> Floats:
    rows = np.zeros((_checked(features), len(coordinates)))
    levels = {c.feature: _levels(features[c.feature]) for c in coordinates if c.level is not None}
    for place, c in enumerate(coordinates):
        if c.level is None:
            number = features[c.feature].astype(np.float64)
            rows[:, place] = np.where(np.isnan(number), 0.0, (number - c.mean) / c.scale)
        else:
            rows[:, place] = ((levels[c.feature] == c.level) - c.mean) / c.scale
    for feature, values in levels.items():
        own = np.array([c.feature == feature for c in coordinates])
        unknown = ~np.isin(
            values, np.array([c.level for c in coordinates if c.feature == feature], dtype=np.str_)
        )
        rows[unknown[:, None] & own] = 0.0
    return rows


def _means(coordinates: Sequence[Coordinate]) -> Floats:
    return np.array([c.mean for c in coordinates], dtype=np.float64)


def _scales(coordinates: Sequence[Coordinate]) -> Floats:
    return np.array([c.scale for c in coordinates], dtype=np.float64)


def _cluster(rows: Floats, groups: int, seed: int, starts: int) -> Floats:
    distinct: Floats = np.unique(rows, axis=0)
    if len(distinct) <= groups:
        return distinct
    from scipy.cluster.vq import kmeans2

    best, least = distinct[:1], float(np.inf)
    for start in range(starts):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # a cluster ran empty: it is dropped below
            centres, label = kmeans2(
                rows, groups, iter=_ITERATIONS, minit="++", rng=np.random.default_rng([seed, start])
            )
        centres = centres[np.unique(label)]
        inertia = float(((rows - centres[_assigned(rows, centres)]) ** 2).sum())
        if inertia < least:
            best, least = np.asarray(centres, dtype=np.float64), inertia
    return best


def _assigned(rows: Floats, centres: Floats) -> Labels:
    # |x - c|^2 without |x|^2, which is the same for every centre
    nearest: Labels = np.argmin((centres**2).sum(axis=1) - 2 * rows @ centres.T, axis=1)
    return nearest


def _without(centres: Floats, sizes: Labels, small: int) -> Floats:
    """The centres after the group `small` was merged into the nearest one."""
    distance = ((centres - centres[small]) ** 2).sum(axis=1)
    distance[small] = np.inf
    into = int(np.argmin(distance))
    merged = centres.copy()
    merged[into] = np.average(
        centres[[into, small]], axis=0, weights=np.maximum(sizes[[into, small]], 1e-12)
    )
    return np.delete(merged, small, axis=0)
