"""The policy's rules over groups, made for one pool: who is in the group, and how many whole micros
it may get.

What belongs here: from `[[ads.rules]]` and a pool's units to the bounds that
`solvers.ad_pool.rules` and `solvers.apportion.rules` take. Solving is theirs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipelines.policy import AdRule, Ads, exact
from solvers import InfeasibleError
from solvers.ad_pool.rules import EachAtMost, Rule
from solvers.apportion import GroupBounds


@dataclass(frozen=True, eq=False)
class PoolRule:
    """One rule in one pool: what the solver keeps (`bound`), what whole micros keep, or a `note`
    that says why it is left alone.

    `alike` labels units that count together where the rule is about everyone alone.
    """

    name: str
    members: npt.NDArray[np.bool_]
    least: int | None = None
    most: int | None = None
    bound: Rule | EachAtMost | None = None
    alike: npt.NDArray[np.int64] | None = None
    note: str = ""

    @property
    def cap(self) -> int | None:
        """Most whole micros of every unit, where the rule is about each unit alone."""
        return (
            self.most if isinstance(self.bound, EachAtMost) and self.bound.groups is None else None
        )

    def whole_bounds(self, payout: npt.NDArray[np.float64]) -> list[GroupBounds]:
        """Bounds that rounding `payout` might break; of groups that are alike in a rule, those that
        are nearly full.
        """
        if self.bound is None or self.cap is not None:
            return []
        if self.alike is None:
            return [GroupBounds(self.name, self.members, self.least, self.most)]
        assert self.most is not None
        together, sizes = np.bincount(self.alike, weights=payout), np.bincount(self.alike)
        order, ends = np.argsort(self.alike, kind="stable"), np.cumsum(sizes)
        full = np.flatnonzero(together > self.most - sizes - 1)
        return [
            GroupBounds(self.name, order[ends[place] - sizes[place] : ends[place]], None, self.most)
            for place in full
        ]

    def outcome(
        self, by_unit: npt.NDArray[np.int64], multipliers: Mapping[str, float]
    ) -> dict[str, Any]:
        """The rule's row of `ad_rules`, without day, pool and policy."""
        if self.alike is None:
            paid = int(by_unit[self.members].sum())
        else:
            sums = np.zeros(int(self.alike.max()) + 1, dtype=np.int64)
            np.add.at(sums, self.alike, by_unit)
            paid = int(sums.max())
        return {
            "rule": self.name,
            "members": int(self.members.sum()),
            "minimum_micros": self.least,
            "maximum_micros": self.most,
            "paid_micros": paid,
            "multiplier": round(multipliers.get(self.name, 0.0), 12),
            "note": self.note,
        }


FLOOR, CAP = "[ads] floor_micros", "[ads] cap"
"""What the floor and the cap of every unit are called in `ad_rules`, where they are left alone."""


@dataclass(frozen=True)
class UnitBounds:
    """Floor and cap of every unit of one pool in whole micros; `left_alone`: those of the policy
    that no split of the pool could keep, each with why.
    """

    floor: int
    cap: int
    left_alone: Mapping[str, str]

    @classmethod
    def of(cls, ads: Ads, pool: int, units: int) -> UnitBounds:
        """The policy's bounds as far as a pool of so many micros and units can keep them.

        >>> bounds = UnitBounds.of(Ads(floor_micros=10), 25, 3)
        >>> bounds.floor, bounds.cap, bounds.left_alone[FLOOR]
        (0, 25, 'left alone: 3 units of at least 10 micros are more than the pool of 25')
        """
        floor, cap, why = ads.floor_micros, ads.unit_cap(pool), {}
        if cap * units < pool:
            why[CAP] = (
                f"left alone: {units} units of at most {cap} micros are less than the pool of"
                f" {pool}"
            )
            cap = pool
        if floor * units > pool:
            why[FLOOR] = (
                f"left alone: {units} units of at least {floor} micros are more than the pool of"
                f" {pool}"
            )
            floor = 0
        elif floor > cap:
            why[FLOOR] = (
                f"left alone: it is {floor} micros, and the cap in a pool of {pool} is {cap}"
            )
            floor = 0
        return cls(floor, cap, why)

    @classmethod
    def in_force(cls, ads: Ads, left_alone: Collection[str]) -> Ads:
        """The policy of a pool in which some bounds were left alone."""
        free: dict[str, Any] = {}
        if FLOOR in left_alone:
            free["floor_micros"] = 0
        if CAP in left_alone:
            free |= {"cap_micros": None, "cap_fraction": 1.0}
        return ads.model_copy(update=free)

    def outcomes(
        self, ads: Ads, pool: int, units: int, least: int, most: int
    ) -> list[dict[str, Any]]:
        """Rows of `ad_rules` for what was left alone, without day, pool and policy."""
        rows = []
        for name, note in self.left_alone.items():
            asked = (
                {"minimum_micros": ads.floor_micros, "maximum_micros": None, "paid_micros": least}
                if name == FLOOR
                else {
                    "minimum_micros": None,
                    "maximum_micros": ads.unit_cap(pool),
                    "paid_micros": most,
                }
            )
            rows.append({"rule": name, "members": units, **asked, "multiplier": 0.0, "note": note})
        return rows


def that_fit(
    rules: Sequence[PoolRule],
    try_with: Callable[[Sequence[PoolRule]], object],
    *,
    at_scale: Callable[[], bool],
) -> list[PoolRule]:
    """Rules that a pool can keep where not all of them together can, the others left alone with a
    note.

    A rule that cannot even be kept alone asks something impossible of those few units, or of so few
    micros. Where the rest fails together though a pool of more money could keep it (`at_scale`),
    rules are taken in the order of the policy as long as they fit. Anything else is a policy that
    contradicts itself.

    Raises
    ------
    InfeasibleError, ArithmeticError
        The rules contradict each other whatever the pool holds.
    """
    left = list(rules)
    for place, rule in enumerate(rules):
        if rule.bound is not None and (why := _fails(try_with, [rule])):
            left[place] = replace(rule, bound=None, note=f"left alone: {why}")
    if not (why := _fails(try_with, left)):
        return left
    if not at_scale():
        raise why
    kept: list[PoolRule] = []
    for rule in left:
        if rule.bound is not None and (why := _fails(try_with, [*kept, rule])):
            kept.append(replace(rule, bound=None, note=f"left alone beside those before it: {why}"))
        else:
            kept.append(rule)
    return kept


def _fails(
    try_with: Callable[[Sequence[PoolRule]], object], rules: Sequence[PoolRule]
) -> ArithmeticError | InfeasibleError | None:
    try:
        try_with(rules)
    except (InfeasibleError, ArithmeticError) as error:
        return error
    return None


def pool_rules(
    rules: Sequence[AdRule], category: str, pool: int, units: pa.Table
) -> list[PoolRule]:
    """The rules that hold in the pool of `category`; `units` has a row a unit of fairness (unit_id,
    creator_id, followers, labels).

    A rule that asks something for nobody, or for a pool with fewer units than its least_units, is
    left alone and says so.
    """
    return [_in_pool(rule, pool, units) for rule in rules if rule.holds_in(category)]


def _in_pool(rule: AdRule, pool: int, units: pa.Table) -> PoolRule:
    n = units.num_rows
    members = np.ones(n, dtype=np.bool_)
    if rule.label is not None:
        members = np.array(
            [rule.label in labels for labels in units["labels"].to_pylist()], dtype=np.bool_
        )
    elif rule.each is None:
        followers = units["followers"].to_numpy()
        members &= followers < (
            rule.followers_below if rule.followers_below is not None else math.inf
        )
        members &= followers >= (rule.followers_from or 0)
    least = math.ceil(exact(rule.minimum) * pool) if rule.minimum is not None else None
    most = math.floor(exact(rule.maximum) * pool) if rule.maximum is not None else None
    if why := _why_left_alone(rule, pool, members, least, most):
        return PoolRule(rule.name, members, least, most, note=f"left alone: {why}")
    if rule.each is None:
        low, high = (None if bound is None else bound / pool for bound in (least, most))
        return PoolRule(rule.name, members, least, most, Rule(rule.name, members, low, high))
    assert most is not None
    creators = units["creator_id"].to_numpy(zero_copy_only=False).astype(str)
    alike = np.arange(n) if rule.each == "unit" else np.unique(creators, return_inverse=True)[1]
    alone = int(alike.max()) + 1 == n
    return PoolRule(
        rule.name,
        members,
        None,
        most,
        EachAtMost(rule.name, most / pool, None if alone else alike),
        alike,
    )


def _why_left_alone(
    rule: AdRule, pool: int, members: npt.NDArray[np.bool_], least: int | None, most: int | None
) -> str:
    """Why nobody need ask a solver whether the pool can keep the rule; empty where one must."""
    if members.size < rule.least_units:
        return f"{members.size} units, it asks for {rule.least_units}"
    if not members.any():
        return "nobody is in the group"
    if pool == 0:
        return "the pool is empty"
    if least == pool and not members.all():
        return f"at least {least} micros would leave nobody else any of {pool}"
    if most == 0:
        return f"at most {rule.maximum:g} of {pool} micros would be nothing at all"
    return ""
