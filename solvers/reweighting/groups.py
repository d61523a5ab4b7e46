"""Algorithm 1 among groups of which some cannot be measured, and weights of groups that did not
exist yesterday.

Belongs here: what happens to a group without data, and what a new group takes over from the old
ones. Does not: algorithm 1 itself and what a recommender makes of a weight (`solvers.reweighting`),
how groups are found (`solvers.reweighting.viewer_groups`), and where weights are kept.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from solvers.arrays import Floats
from solvers.reweighting.update import update_weights

_ANY = (float(np.nextafter(0, 1)), np.inf)


def update_observed_weights(
    weights: npt.ArrayLike,
    utility: npt.ArrayLike,
    observed: npt.ArrayLike,
    *,
    rate: float,
    clip: tuple[float, float] = (0.2, 5.0),
) -> Floats:
    r"""One update of algorithm 1 in which a group that was not observed keeps its weight to the
    bit.

    With all groups observed this is `solvers.reweighting.update_weights`. Otherwise the observed
    groups :math:`A` together keep their part of the L units, :math:`L \sum_A w / \sum w`, instead
    of all of it: or a group would move because another one could not be measured.

    Parameters
    ----------
    weights : (L,) weights in force, above 0
    utility : (L,) utility of each group; that of a group that was not observed is not looked at
    observed : (L,) whether the utility is known
    rate, clip : as in `update_weights`

    Notes
    -----
    Source: Yao et al., algorithm 1, lines 7 to 9; groups without data are not in it.

    Examples
    --------
    >>> update_observed_weights([1.0, 1.0, 2.0], [0.2, 0.4, np.nan], [True, True, False],
    ...     rate=0.5).round(4).tolist()
    [0.7875, 0.7125, 2.0]
    >>> update_observed_weights([1.0, 1.0], [0.2, 0.4], [True, True], rate=0.5).round(4).tolist()
    [1.05, 0.95]
    """
    before, seen = np.asarray(weights, dtype=np.float64), np.asarray(observed, dtype=np.bool_)
    u = np.asarray(utility, dtype=np.float64)
    if u.shape != before.shape or seen.shape != before.shape:
        raise ValueError(
            f"{before.shape} weights, {u.shape} utilities and {seen.shape} marks of what was"
            " observed do not fit"
        )
    if seen.all():
        return update_weights(before, u, rate=rate, clip=clip)
    after = before.copy()
    if seen.any():
        moved = update_weights(before[seen], u[seen], rate=rate, clip=_ANY)
        part = before.size * before[seen].sum() / before.sum() / np.count_nonzero(seen)
        after[seen] = np.clip(moved * part, *clip)
    return after


def inherited_weights(
    weights: npt.ArrayLike, members: npt.ArrayLike, *, clip: tuple[float, float] = (0.2, 5.0)
) -> Floats:
    """Weights of new groups: the mean of their members' old weights, then normalised and clipped as
    in algorithm 1.

    Parameters
    ----------
    weights : (L,) weights of the old groups, above 0
    members : (M, L) how many viewers of each new group were in each old group; a new group without
        any starts from 1
    clip : smallest and largest weight

    Examples
    --------
    >>> inherited_weights([0.5, 1.5], [[10, 0], [5, 5], [0, 0]]).round(4).tolist()
    [0.6, 1.2, 1.2]
    """
    old, counts = np.asarray(weights, dtype=np.float64), np.asarray(members, dtype=np.float64)
    if counts.ndim != 2 or counts.shape[1] != old.size:
        raise ValueError(
            f"members has shape {counts.shape}, not (new groups, {old.size} old groups)"
        )
    total = counts.sum(axis=1)
    mean = np.where(total > 0, counts @ old / np.where(total > 0, total, 1.0), 1.0)
    return update_weights(mean, np.zeros(mean.size), rate=0.0, clip=clip)
