"""Which of the pool, the floors, the caps and the rules cannot be kept together.

Belongs here: the search for a smallest set of them that contradicts itself, and how it is said.
Does not: the split (`rules`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations
from typing import Literal

import numpy as np

from solvers.ad_pool.inputs import EachAtMost, Rule
from solvers.ad_pool.problem import RuledPool
from solvers.arrays import Floats
from solvers.errors import InfeasibleError

_FEASIBLE = 1e-9
"""Relative violation up to which rules count as kept when a contradiction is looked for."""
_MOST_SUBSETS = 3_000


@dataclass(frozen=True, eq=False)
class _Member:
    """Something that must be kept: the pool, the floors, the caps, an `EachAtMost` by unit, or a
    bound of a rule (some of the sides).
    """

    kind: Literal["pool", "floors", "caps", "units", "rule"]
    text: str
    rule: int = -1
    sides: tuple[int, ...] = ()


class Contradiction:
    """Which of the pool, the floors, the caps and the rules cannot be kept together."""

    def __init__(
        self, problem: RuledPool, rules: Sequence[Rule | EachAtMost], lo: Floats, caps: Floats
    ) -> None:
        self.problem, self.rules, self.lo, self.caps = problem, rules, lo, caps
        self.money = problem.pool
        row, sign, _ = problem.sides()
        members = [_Member("pool", f"the pool of {self.money:.12g} is paid out")]
        if lo.any():
            members.append(_Member("floors", "the floors"))
        if np.isfinite(caps).any():
            members.append(_Member("caps", "the caps"))
        units = dict(problem.unit_caps)
        for index, rule in enumerate(rules):
            of_rule = problem.rule_of_row[row] == index
            if index in units:
                members.append(
                    _Member(
                        "units", f"{self._bound(rule, 'each unit at most', rule.maximum)}", index
                    )
                )
                continue
            who = "each group " if isinstance(rule, EachAtMost) else ""
            for side, words, bound in (
                (-1, "at least", getattr(rule, "minimum", None)),
                (1, f"{who}at most", rule.maximum),
            ):
                if bound is not None:
                    chosen = tuple(np.flatnonzero(of_rule & (sign == side)).tolist())
                    members.append(_Member("rule", self._bound(rule, words, bound), index, chosen))
        self.members = members
        self._feasible = cache(self._feasible_anew)
        self._patterns = cache(self._patterns_anew)

    def refuse(self) -> None:
        """Raise InfeasibleError if there is a contradiction."""
        everything = frozenset(range(len(self.members)))
        if self._feasible(everything):
            return
        core = everything
        for member in sorted(everything, reverse=True):
            if not self._feasible(core - {member}):
                core -= {member}
        size = 1
        while size < len(core) and math.comb(len(everything), size) <= _MOST_SUBSETS:
            smaller = (frozenset(x) for x in combinations(range(len(self.members)), size))
            core = next((x for x in smaller if not self._feasible(x)), core)
            size += 1
        raise InfeasibleError("these cannot all be kept: " + "; ".join(self._words(core)))

    def _bounds(self, kept: frozenset[int]) -> tuple[Floats, Floats]:
        """Least and largest payouts, in parts of the pool, that the floors, caps and unit rules
        among `kept` leave each unit.
        """
        lo, hi = np.zeros(self.lo.size), np.full(self.lo.size, math.inf)
        for member in (self.members[i] for i in kept):
            if member.kind == "floors":
                lo = self.lo / self.money
            elif member.kind == "caps":
                hi = np.minimum(hi, self.caps / self.money)
            elif member.kind == "units":
                hi = np.minimum(hi, self.rules[member.rule].maximum or 0.0)
        return lo, hi

    def _patterns_anew(self, kept: frozenset[int]) -> tuple[Floats, Floats] | None:
        """The same per pattern, None where a unit's floor is above its cap."""
        lo, hi = self._bounds(kept)
        if (lo > hi * (1 + _FEASIBLE)).any():
            return None
        size = self.problem.rows.shape[1]
        least, most = (
            np.asarray(np.bincount(self.problem.pattern, x, size), dtype=np.float64)
            for x in (lo, hi)
        )
        return least, np.maximum(least, most)

    def _feasible_anew(self, kept: frozenset[int]) -> bool:
        """Whether the smallest possible relative violation of the pool and the rules is 0, given
        the bounds.
        """
        from scipy import sparse
        from scipy.optimize import linprog

        bounds = self._patterns(
            frozenset(i for i in kept if self.members[i].kind in ("floors", "caps", "units"))
        )
        if bounds is None:
            return False
        least, most = bounds
        row, sign, limit = self.problem.sides()
        chosen = np.array([side for i in kept for side in self.members[i].sides], dtype=np.int64)
        left, right = (
            self.problem.rows[row[chosen]].multiply(sign[chosen][:, None]).tocsr(),
            limit[chosen],
        )
        if any(self.members[i].kind == "pool" for i in kept):
            ones = sparse.csr_array(np.ones((1, least.size)))
            left, right = sparse.vstack([left, ones, -ones]), np.append(right, [1.0, -1.0])
        size = np.where(right == 0, 1.0, np.abs(right))
        if not right.size or (left @ least - right <= _FEASIBLE * size).all():
            return True
        program = linprog(
            np.append(np.zeros(least.size), 1.0),
            A_ub=sparse.hstack([left, -size[:, None]]).tocsc(),
            b_ub=right,
            bounds=np.column_stack([np.append(least, 0.0), np.append(most, math.inf)]),
            options={"primal_feasibility_tolerance": 1e-10, "dual_feasibility_tolerance": 1e-10},
        )
        if not program.success:
            raise ArithmeticError(f"the search for a contradiction failed: {program.message}")
        return bool(program.fun <= _FEASIBLE)

    def _bound(self, rule: Rule | EachAtMost, words: str, bound: float | None) -> str:
        assert bound is not None
        return f"rule {rule.name!r}: {words} {bound:.12g} of the pool ({bound * self.money:.12g})"

    def _words(self, core: frozenset[int]) -> list[str]:
        """Every member with what follows from it for the others."""
        kinds = {self.members[i].kind for i in core}
        sign = self.problem.sides()[1]
        words = []
        for i in sorted(core):
            member, text = self.members[i], self.members[i].text
            if member.kind in ("floors", "caps", "units"):
                lo, hi = self._bounds(frozenset([i]))
                values, bound, against = (
                    (lo, "least", 1) if member.kind == "floors" else (hi, "most", -1)
                )
                follows = (
                    [f"together at {bound} {float(values.sum()) * self.money:.12g}"]
                    if "pool" in kinds
                    else []
                )
                for j in sorted(core):
                    other = self.members[j]
                    if (
                        other.kind == "rule"
                        and sign[other.sides[0]] == against
                        and isinstance(rule := self.rules[other.rule], Rule)
                    ):
                        reach = (
                            float(
                                np.asarray(rule.members, dtype=np.float64)
                                @ np.where(rule.members, values, 0.0)
                            )
                            * self.money
                        )
                        follows.append(f"so {rule.name!r} at {bound} {reach:.12g}")
                if kinds <= {"floors", "caps", "units"}:
                    bad = np.subtract(*self._bounds(core))
                    unit = int(np.argmax(bad))
                    follows.append(f"{float(values[unit]) * self.money:.12g} for row {unit}")
                text = ", ".join([text, *follows])
            elif isinstance(rule := self.rules[member.rule], EachAtMost) and member.kind == "rule":
                text += f", and there are {len(member.sides)}"
            elif isinstance(rule, Rule) and member.kind == "rule" and not np.any(rule.members):
                text += ", and it has no members"
            words.append(text)
        return words
