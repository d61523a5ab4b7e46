"""What a pool is given besides numbers: rules over groups, and chunks of rows.

Belongs here: plain data as the caller states it, and whether it is data of the kind asked for; this
is all that solvers and certificates have in common. Does not: arithmetic of any kind. Weights,
bounds and matrices are made from it by each side on its own, so that an error in one of them cannot
pass in the other.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from solvers.arrays import refuse

Objective = Literal["blend", "linear"]


@dataclass(frozen=True, eq=False)
class PoolChunk:
    """Some rows of a pool: shares (n,), and bounds in money, one number or (n,) each."""

    share: npt.ArrayLike
    floor: npt.ArrayLike = 0.0
    cap: npt.ArrayLike = math.inf


@dataclass(frozen=True, eq=False)
class Rule:
    """A part of the pool that a group gets at least or at most: minimum <= sum(members * payout) /
    pool <= maximum.

    Attributes
    ----------
    name : how errors and multipliers call it
    members : (n,) who is in the group (bool), or a weight each (any finite numbers: 1 and -0.5
        compare two groups)
    minimum, maximum : parts of the pool, 0.2 for 20 %; None is no bound
    """

    name: str
    members: npt.ArrayLike
    minimum: float | None = None
    maximum: float | None = None


@dataclass(frozen=True, eq=False)
class EachAtMost:
    """Nobody gets more than a part of the pool: no unit, or no group of a grouping.

    Attributes
    ----------
    name : how errors and multipliers call it
    maximum : part of the pool, 0.03 for 3 %
    groups : (n,) labels, units with the same label count together; None counts every unit by itself
    """

    name: str
    maximum: float
    groups: npt.ArrayLike | None = None


def check_rules(rules: Sequence[Rule | EachAtMost], n: int) -> None:
    """Raise ValueError for the first rule over n units that is not one, and name it.

    >>> check_rules([Rule("small", [True, False])], 2)
    Traceback (most recent call last):
        ...
    ValueError: rule 'small' needs a minimum or a maximum, finite parts of the pool: []
    """
    for rule in rules:
        bounds = (
            [rule.maximum]
            if isinstance(rule, EachAtMost)
            else [x for x in (rule.minimum, rule.maximum) if x is not None]
        )
        if not bounds or not all(math.isfinite(x) for x in bounds):
            raise ValueError(
                f"rule {rule.name!r} needs a minimum or a maximum, finite parts of the pool:"
                f" {bounds}"
            )
        if isinstance(rule, EachAtMost) and rule.maximum < 0:
            raise ValueError(f"rule {rule.name!r}: nobody can get at most {rule.maximum!r}")
    names = [rule.name for rule in rules]
    if len(set(names)) < len(names):
        raise ValueError(f"every rule needs a name of its own: {names}")
    for rule in rules:
        what = "members" if isinstance(rule, Rule) else "groups"
        given = rule.members if isinstance(rule, Rule) else rule.groups
        if given is None:
            continue
        column = np.asarray(given)
        if column.shape != (n,):
            raise ValueError(
                f"{what} of rule {rule.name!r} must have shape ({n},), not {column.shape}"
            )
        if isinstance(rule, Rule) and column.dtype != np.bool_:
            weights = column.astype(np.float64)
            refuse(~np.isfinite(weights), f"members of rule {rule.name!r} must be finite", weights)
