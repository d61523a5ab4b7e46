"""One policy against another over the same days: who gains and who loses, from what, and how the
platform as a whole moves.

What belongs here: sums and measures of what `scratch.py` paid. Amounts are whole micros throughout,
and every difference is one of integers, so tables add up to the micro.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from pipelines.whatif.scratch import PARTS, Paid
from solvers.inequality import gini, top_share

FOLLOWER_CLASSES = (0, 1_000, 10_000, 100_000, 1_000_000)
"""Lower ends of the classes that creators are looked at by."""

ALIKE = 0.01
"""A creator whose total moves by less than this part of it counts as unchanged."""


@dataclass(frozen=True, eq=False)
class Comparison:
    """Policy `b` against policy `a`; `known` says how many followers each creator has.

    Raises
    ------
    ValueError
        The two were not paid over the same days.
    """

    a: Paid
    b: Paid
    known: pa.Table

    def __post_init__(self) -> None:
        if self.a.days["day"].to_pylist() != self.b.days["day"].to_pylist():
            raise ValueError("policies are compared over the same days only")

    @cached_property
    def creators(self) -> pd.DataFrame:
        """A row a creator, largest gain first: what each part comes to under both policies, the
        difference, and the class by followers. Whole micros.
        """
        both = [paid.creators.to_pandas().set_index("creator_id") for paid in (self.a, self.b)]
        table = both[0].join(both[1], how="outer", suffixes=("_a", "_b"))
        table = table.fillna(0).astype("int64")
        for part in (*PARTS, "total"):
            table[f"{part}_change"] = table[f"{part}_b"] - table[f"{part}_a"]
        followers = self.known.to_pandas().set_index("creator_id")["followers"]
        table.insert(0, "followers", followers.reindex(table.index).fillna(0).astype("int64"))
        table = table.sort_index().sort_values("total_change", ascending=False, kind="stable")
        return table.rename_axis("creator_id")

    @cached_property
    def totals(self) -> pd.DataFrame:
        """A row a destination of the money (creators, platform, carried on) and their sum, what was
        taken in: under both policies, and the change. The rows add up to the micro.
        """
        rows = {}
        for name, column in (
            ("creators", "creators_micros"),
            ("platform", "platform_micros"),
            ("carried on", "carry_micros"),
            ("taken in", "gross_micros"),
        ):
            a, b = (sum(paid.days[column].to_pylist()) for paid in (self.a, self.b))
            rows[name] = {"a": a, "b": b, "change": b - a}
        return pd.DataFrame.from_dict(rows, orient="index").rename_axis("goes to")

    @cached_property
    def parts(self) -> pd.DataFrame:
        """What creators get together from each part; adds up to the row `creators` of `totals`."""
        rows = {
            part: {
                side: int(self.creators[f"{part}_{side}"].sum()) for side in ("a", "b", "change")
            }
            for part in (*PARTS, "total")
        }
        return pd.DataFrame.from_dict(rows, orient="index").rename_axis("part")

    @cached_property
    def measures(self) -> pd.DataFrame:
        """Figures that a policy is judged by, under both."""
        return pd.DataFrame({"a": self._measures(self.a, "a"), "b": self._measures(self.b, "b")})

    def _measures(self, paid: Paid, side: str) -> dict[str, float]:
        table = self.creators
        earned = np.maximum(table[f"total_{side}"].to_numpy(), 0)
        small = table["followers"].to_numpy() < np.median(table["followers"]) if len(table) else []
        everything = int(earned.sum())
        gross = sum(paid.days["gross_micros"].to_pylist())
        weighed = [
            (row["efficiency"], row["creators_micros"])
            for row in paid.days.to_pylist()
            if row["efficiency"] is not None
        ]
        weight = sum(w for _, w in weighed)
        return {
            "gini": gini(earned),
            "top_1_percent_share": top_share(earned),
            "small_creators_share": (
                float(earned[np.asarray(small, dtype=bool)].sum() / everything)
                if everything
                else 0.0
            ),
            "creators_share": sum(paid.days["creators_micros"].to_pylist()) / gross
            if gross
            else 0.0,
            "platform_share": sum(paid.days["platform_micros"].to_pylist()) / gross
            if gross
            else 0.0,
            "efficiency": sum(e * w for e, w in weighed) / weight if weight else 0.0,
            "creators_paid": float((earned > 0).sum()),
        }

    @cached_property
    def moved_share(self) -> float:
        """The part of what creators get under `a` that goes to somebody else under `b`: half of the
        sum of all changes, over the larger of the two totals.
        """
        table = self.creators
        largest = max(int(table["total_a"].sum()), int(table["total_b"].sum()))
        return float(table["total_change"].abs().sum() / 2 / largest) if largest else 0.0

    @cached_property
    def by_followers(self) -> pd.DataFrame:
        """Creators in classes by followers: how many, what they get, how many gain and lose."""
        edges = [*FOLLOWER_CLASSES, np.inf]
        names = [
            f"{low:,} to {int(high) - 1:,}" if np.isfinite(high) else f"{low:,} and more"
            for low, high in pairwise(edges)
        ]
        cut = pd.cut(self.creators["followers"], edges, right=False, labels=names)
        return self._grouped(cut.rename("followers"))

    @cached_property
    def by_size(self) -> pd.DataFrame:
        """Creators in ten classes of equal number by what they get under `a`, the least first."""
        rank = self.creators["total_a"].rank(method="first")
        tenth = np.ceil(rank * 10 / max(len(rank), 1)).clip(1, 10).astype(int)
        return self._grouped(tenth.rename("tenth by pay"))

    @cached_property
    def by_category(self) -> pd.DataFrame:
        """What pools of each ad category pay creators under both policies (money of the days)."""
        sides = [
            paid.categories.to_pandas().set_index("category")["ads_micros"]
            for paid in (self.a, self.b)
        ]
        table = pd.concat(sides, axis=1, keys=["a", "b"]).fillna(0).astype("int64").sort_index()
        table["change"] = table["b"] - table["a"]
        return table.rename_axis("category")

    def crossing(self, threshold_micros: int) -> pd.DataFrame:
        """Creators whose total of the days reaches the threshold under one policy and not under the
        other.
        """
        table = self.creators[["total_a", "total_b", "total_change"]]
        above = table[["total_a", "total_b"]] >= threshold_micros
        return table[above["total_a"] != above["total_b"]].assign(
            crosses=np.where(above["total_b"], "up", "down")[above["total_a"] != above["total_b"]]
        )

    def lorenz(self, points: int = 101) -> pd.DataFrame:
        """Lorenz curves: the part of the money that the least-paid part of creators gets."""
        part = np.linspace(0, 1, points)
        curves = {}
        for side in ("a", "b"):
            earned = np.sort(np.maximum(self.creators[f"total_{side}"].to_numpy(), 0))
            sums = np.concatenate([[0], np.cumsum(earned)])
            everything = sums[-1] if sums[-1] else 1
            curves[side] = np.interp(part, np.linspace(0, 1, sums.size), sums / everything)
        return pd.DataFrame(curves, index=pd.Index(part, name="creators"))

    def _grouped(self, by: pd.Series) -> pd.DataFrame:
        table = self.creators
        least = np.maximum(table["total_a"].abs() * ALIKE, 1)
        table = table.assign(
            gain=table["total_change"] >= least, lose=table["total_change"] <= -least
        )
        found = table.groupby(by, observed=True).agg(
            creators=("total_a", "size"),
            a=("total_a", "sum"),
            b=("total_b", "sum"),
            change=("total_change", "sum"),
            gain=("gain", "sum"),
            lose=("lose", "sum"),
        )
        return found

    def as_dict(self, *, most: int | None = None) -> dict[str, Any]:
        """Everything as plain values, for `--json`; `most` creators from either end, or all."""
        creators = self.creators.reset_index()
        if most is not None and len(creators) > 2 * most:
            creators = pd.concat([creators.head(most), creators.tail(most)])
        return {
            "against": {"policy": self.a.name, "hashes": list(self.a.hashes)},
            "policy": {"policy": self.b.name, "hashes": list(self.b.hashes)},
            "first_day": str(self.a.days["day"][0].as_py()),
            "last_day": str(self.a.days["day"][-1].as_py()),
            "moved_share": self.moved_share,
            **{
                name: getattr(self, name).reset_index().to_dict("records")
                for name in ("totals", "parts", "by_followers", "by_size", "by_category")
            },
            "measures": self.measures.to_dict(),
            "creators": creators.to_dict("records"),
            "made_anew": self.b.made,
        }


def reconciled(comparisons: Sequence[Comparison]) -> None:
    """Raise AssertionError where money would appear or vanish: all amounts are integers, so sums
    are equal or something is wrong.
    """
    for found in comparisons:
        for side in ("a", "b"):
            goes = found.totals[side]
            assert goes["creators"] + goes["platform"] + goes["carried on"] == goes["taken in"]
            assert found.parts.loc["total", side] == goes["creators"]
            assert found.parts.drop(index="total")[side].sum() == goes["creators"]
        assert found.totals.loc["taken in", "change"] == 0
