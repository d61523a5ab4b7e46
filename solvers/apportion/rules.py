"""Whole units under rules over groups: a rounding that keeps every group's bounds.

Belongs here: moving single units between groups after `solvers.apportion` rounded as if there were
no rules. Does not: the real-valued optimum (`solvers.ad_pool.rules`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from solvers.apportion.quotas import apportion
from solvers.arrays import Ints
from solvers.errors import InfeasibleError


@dataclass(frozen=True, eq=False)
class GroupBounds:
    """What the members of a group get together, in whole units: least and most, None for no bound.

    `members` are marked, (n,) of bool, or numbered in ascending order: a grouping of all rows is
    then no larger than the rows are.
    """

    name: str
    members: npt.NDArray[np.bool_] | npt.NDArray[np.intp]
    least: int | None = None
    most: int | None = None


def apportion_with_rules(
    amounts: npt.ArrayLike,
    total: int,
    rules: Sequence[GroupBounds],
    *,
    keys: Sequence[str],
    floor: int = 0,
    cap: int | None = None,
) -> Ints:
    r"""Round `amounts` to integers that sum to `total` and keep the bounds of every group.

    Rows that belong to the same groups form a cell. Starting from the largest remainder, the fewest
    units
    :math:`\min \sum_c |d_c|` are moved between cells, :math:`\sum_c d_c = 0`, so that every rule
    holds; each cell is then rounded by largest remainder to its new total. Where the amounts keep
    the rules, so few have to move that no row is off by more than a few units.

    Parameters
    ----------
    amounts : (n,) at least 0; only their proportions count, as in `solvers.apportion.apportion`
    total : units to hand out
    rules : groups with whole bounds
    keys : (n,) ids, which decide ties
    floor, cap : whole bounds of every row

    Raises
    ------
    InfeasibleError
        no whole numbers keep all bounds; names the rules

    Examples
    --------
    Three equal rows share 100; the first two must get at least 68 together:

    >>> small = GroupBounds("small", np.array([True, True, False]), least=68)
    >>> apportion_with_rules([1, 1, 1], 100, [small], keys=["a", "b", "c"]).tolist()
    [34, 34, 32]
    """
    paid = apportion(amounts, total, keys=keys, floor=floor, cap=cap)
    if all(_kept(paid, rule) for rule in rules):
        return paid
    amounts = np.asarray(amounts, dtype=np.float64)
    ids = np.asarray(keys, dtype=object)
    cell = _cells([rule.members for rule in rules], amounts.size)
    order = np.argsort(cell, kind="stable")
    starts = np.flatnonzero(np.diff(cell[order], prepend=-1))
    have = np.add.reduceat(paid[order], starts).astype(object)
    size = np.bincount(cell)
    ceiling = total if cap is None else min(cap, total)
    moves = _moves(
        [(rule, np.unique(cell[rule.members])) for rule in rules],
        have,
        size * floor - have,
        size * ceiling - have,
        paid,
    )
    for c in np.flatnonzero(moves):
        rows = order[starts[c] : starts[c] + size[c]]
        paid[rows] = apportion(
            amounts[rows],
            int(have[c]) + int(moves[c]),
            keys=ids[rows].tolist(),
            floor=floor,
            cap=cap,
        )
    assert all(_kept(paid, rule) for rule in rules)
    return paid


def _cells(groups: Sequence[npt.NDArray[np.bool_] | npt.NDArray[np.intp]], n: int) -> Ints:
    """Rows of the same groups have the same number; those that are in an earlier group than others
    come after them.
    """
    cell, cells = np.zeros(n, dtype=np.int64), 1
    for members in reversed(groups):
        used, which = np.unique(cell[members], return_inverse=True)
        cell[members] = cells + which
        cells += used.size
    return np.unique(cell, return_inverse=True)[1].astype(np.int64)


def _kept(paid: Ints, rule: GroupBounds) -> bool:
    got = int(paid[rule.members].sum())
    return (rule.least is None or got >= rule.least) and (rule.most is None or got <= rule.most)


def _moves(
    rules: list[tuple[GroupBounds, Ints]], have: Any, least: Any, most: Any, paid: Ints
) -> Ints:
    """The fewest units to move into (or out of) each cell. They are few, so that the solver's
    doubles hold them exactly.
    """
    from scipy.optimize import Bounds, LinearConstraint, milp
    from scipy.sparse import csc_array

    n = have.size
    columns = [np.arange(n), *(cells for _, cells in rules)]
    low, high = [0.0], [0.0]
    for rule, _ in rules:
        got = int(paid[rule.members].sum())
        low.append(-np.inf if rule.least is None else float(rule.least - got))
        high.append(np.inf if rule.most is None else float(rule.most - got))
    reach = float(sum(abs(x) for x in [*low, *high] if np.isfinite(x))) + n
    place = np.concatenate(columns)
    row = np.repeat(np.arange(len(columns)), [column.size for column in columns])
    signs = np.repeat([1.0, -1.0], place.size)
    moved = csc_array(
        (signs, (np.tile(row, 2), np.concatenate([place, n + place]))), shape=(len(columns), 2 * n)
    )
    program = milp(
        np.ones(2 * n),
        integrality=np.ones(2 * n),
        bounds=Bounds(
            0,
            np.concatenate(
                [np.minimum(most.astype(float), reach), np.minimum(-least.astype(float), reach)]
            ),
        ),
        constraints=LinearConstraint(moved, np.array(low), np.array(high)),
    )
    if program.x is None:
        raise InfeasibleError(
            f"no whole amounts keep all of: {', '.join(repr(rule.name) for rule, _ in rules)}"
        )
    up, down = np.rint(program.x).astype(np.int64).reshape(2, n)
    return np.asarray(up - down, dtype=np.int64)
