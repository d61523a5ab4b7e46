"""Why a creator's month changed: each creator's month against the month before, taken apart into
whole micros that sum to the difference; all creators of a month at once.

What belongs here: the sums of a month that a payout follows from, and the attribution. What a
payout follows from within a day is in `ledger/explanation.py`.

What ad pools pay a creator in a category over a month is

    own views x own quality x money of the pool x what an effective view gets of it,

where quality is effective views a qualified view, and the last factor says how many others compete,
and how the policy's fairness rule weighs the creator's place among them. Each factor's part is its
Shapley value. Where another policy pays, its part is what it changes in either month, paid again
under the other one by `scratch.py`, and the factors' parts are the mean over both policies: the
value of Owen for the two groups {policy} and {factors}, so no order favours any of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import pandas as pd

from pipelines.ledger.counterfactual import NothingToExplainError
from pipelines.money import money
from pipelines.periods import DAY, MONTH
from pipelines.policy import Policy, PolicyBook
from pipelines.settings import Home
from pipelines.store.warehouse import Connection
from pipelines.whatif.scratch import copied
from solvers.arrays import Floats
from solvers.attribution import product_values, shapley_weights, whole_rows

FACTORS = ("views", "quality", "pool_money", "competition")
PARTS = (*FACTORS, "policy", "pulse", "coins", "bonus", "shares", "corrections")
"""What the change of a month is made of; columns of `month_changes`."""

LABELS: Mapping[str, tuple[str, str]] = {
    "views": ("more own views", "fewer own views"),
    "quality": ("better own quality", "lower own quality"),
    "pool_money": ("more money in the pools", "less money in the pools"),
    "competition": ("less competition for it", "more competition for it"),
    "policy": ("another policy", "another policy"),
    "pulse": ("more from Pulse", "less from Pulse"),
    "coins": ("more from gifted coins", "less from gifted coins"),
    "bonus": ("a larger bonus", "a smaller bonus"),
    "shares": ("parts in others' videos", "others' parts in these videos"),
    "corrections": ("corrections", "corrections"),
}

_EARNED = ("pulse", "coins", "bonus", "shares")


@dataclass(frozen=True, eq=False)
class _Sums:
    """What a month came to: by creator, by creator and category, by category."""

    creators: pd.DataFrame
    cells: pd.DataFrame
    pools: pd.DataFrame


def month_changes(con: Connection, home: Home, month: date) -> pd.DataFrame:
    """Every creator who earned anything in the month that begins on `month`, or in the one before:
    `before`, `after`, `change`, and a column for each of `PARTS`. All are whole micros, and the
    parts sum to the change.

    Raises
    ------
    NothingToExplainError
        No day of one of the two months is made.
    """
    spans = [(MONTH.first(first), MONTH.last(first)) for first in (MONTH.first(month) - DAY, month)]
    before, after = (_sums(con, *span) for span in spans)
    policies = [_policies(con, *span) for span in spans]
    real = _taken_apart(before, after)
    if policies[0].keys() == policies[1].keys() and len(policies[0]) == 1:
        parts = real
    else:
        # {policy} and {all else}: each joins first or last, and the mean is taken
        other = [
            _under(con, home, span, policy)
            for span, policy in zip(
                reversed(spans), (_latest(each) for each in policies), strict=True
            )
        ]
        after_under_old, before_under_new = other
        old, new = _taken_apart(before, after_under_old), _taken_apart(before_under_new, after)
        everybody = real.index.union(old.index).union(new.index)
        old, new = (each.reindex(everybody, fill_value=0.0) for each in (old, new))
        real = real.reindex(everybody, fill_value=0.0)
        parts = (old + new) / 2
        parts["policy"] = real["change"] - parts.drop(columns=["change", "policy"]).sum(axis=1)
        parts["change"] = real["change"]
    table = pd.DataFrame(index=parts.index.rename("creator_id"))
    for name, sums in (("before", before), ("after", after)):
        total = sums.creators["total"].reindex(parts.index, fill_value=0)
        table[name] = total.astype("int64")
    table["change"] = table["after"] - table["before"]
    amounts = parts[list(PARTS)].to_numpy(dtype=np.float64, copy=True)
    # sums of floats: what they are off the integer is far below a micro, and goes to the largest
    off = table["change"].to_numpy() - amounts.sum(axis=1)
    amounts[np.arange(len(amounts)), np.abs(amounts).argmax(axis=1)] += off
    whole = whole_rows(amounts, table["change"].to_numpy())
    for at, part in enumerate(PARTS):
        table[part] = whole[:, at]
    return table.sort_index()


def in_words(creator_id: str, row: Mapping[str, Any], month: date) -> str:
    """A creator's row of `month_changes` as a sentence; the largest parts first.

    >>> row = dict.fromkeys(PARTS, 0) | {"before": 5, "after": 9, "change": 4}
    >>> in_words("ann", row | {"views": 5, "coins": -1}, date(2026, 4, 1))[:53]
    'ann earned 0.000009 in April 2026, 0.000004 more than'
    """
    change = int(row["change"])
    than = f"{MONTH.first(month) - DAY:%B}"
    start = f"{creator_id} earned {money(int(row['after']))} in {month:%B %Y}"
    if not any(row[part] for part in PARTS):
        return f"{start}, as in {than}."
    moved = f"{money(abs(change))} {'more' if change >= 0 else 'less'} than in {than}"
    parts = sorted((p for p in PARTS if row[p]), key=lambda p: -abs(int(row[p])))
    each = (
        f"{LABELS[part][0 if row[part] > 0 else 1]}"
        f" {'+' if row[part] > 0 else ''}{money(int(row[part]))}"
        for part in parts
    )
    return f"{start}, {moved}: {', '.join(each)}."


def _sums(con: Connection, first: date, last: date) -> _Sums:
    span = {"first": first, "last": last}
    creators = con.execute(
        """SELECT creator_id, sum(ads_micros + carry_micros)::BIGINT AS pools,
                  sum(pulse_micros)::BIGINT AS pulse, sum(coins_micros)::BIGINT AS coins,
                  sum(bonus_micros)::BIGINT AS bonus, sum(shares_micros)::BIGINT AS shares,
                  sum(total_micros)::BIGINT AS total
           FROM creator_earnings WHERE day BETWEEN $first AND $last GROUP BY creator_id""",
        span,
    ).to_arrow_table()
    cells = con.execute(
        """SELECT category, p.creator_id, sum(payout_micros)::DOUBLE AS paid,
                  sum(qualified_views)::DOUBLE AS views, sum(effective_views)::DOUBLE AS effective
           FROM ad_payouts AS p JOIN video_quality USING (day, video_id)
           WHERE day BETWEEN $first AND $last GROUP BY ALL""",
        span,
    ).to_arrow_table()
    frame = cells.to_pandas().set_index(["category", "creator_id"]).sort_index()
    pools = frame.groupby(level="category")[["paid"]].sum()
    return _Sums(creators.to_pandas().set_index("creator_id").sort_index(), frame, pools)


def _taken_apart(before: _Sums, after: _Sums) -> pd.DataFrame:
    """The change of every creator in parts (floats, `policy` 0), with `change` itself."""
    cells = before.cells.join(after.cells, how="outer", suffixes=("_0", "_1")).fillna(0.0)
    categories = cells.index.get_level_values("category")
    sides = []
    for side, sums in (("0", before), ("1", after)):
        views, effective, paid = (
            cells[f"{n}_{side}"].to_numpy() for n in ("views", "effective", "paid")
        )
        pool = sums.pools["paid"].reindex(categories).fillna(0.0).to_numpy()
        with np.errstate(divide="ignore", invalid="ignore"):
            quality = effective / views
            got = paid / (effective * pool)
        sides.append([views, quality, pool, got])
    off, on = (np.stack(_filled(*pair), axis=1) for pair in (sides, sides[::-1]))
    parts = product_values(off, on) @ shapley_weights(len(FACTORS))
    moved = cells["paid_1"].to_numpy() - cells["paid_0"].to_numpy()
    parts[:, FACTORS.index("competition")] += moved - parts.sum(axis=1)  # pools split equally
    factors = pd.DataFrame(parts, index=cells.index, columns=list(FACTORS))
    table = factors.groupby(level="creator_id").sum()
    creators = before.creators.join(after.creators, how="outer", suffixes=("_0", "_1"))
    creators = creators.fillna(0)
    table = table.reindex(creators.index.union(table.index), fill_value=0.0)
    creators = creators.reindex(table.index, fill_value=0)
    table["policy"] = 0.0
    for name in _EARNED:
        table[name] = creators[f"{name}_1"] - creators[f"{name}_0"]
    table["change"] = creators["total_1"] - creators["total_0"]
    # what is booked beside the day's own payouts: adjustments, and days that were restated
    known = table[[*FACTORS, *_EARNED]].sum(axis=1)
    table["corrections"] = table["change"] - known
    small = table["corrections"].abs() < 1e-3  # rounding of sums of floats
    table.loc[small, "corrections"] = 0.0
    return table


def _filled(mine: list[Floats], other: list[Floats]) -> list[Floats]:
    """A month's factors; where one cannot be known, because nobody watched or a pool had no money,
    that of the other month, so that it moves nothing.
    """
    return [
        np.where(np.isfinite(here), here, np.where(np.isfinite(there), there, 0.0))
        for here, there in zip(mine, other, strict=True)
    ]


def _policies(con: Connection, first: date, last: date) -> dict[str, date]:
    """Hashes of the policies that the month was paid by, each with its last day."""
    rows = con.execute(
        "SELECT policy_hash, max(day) FROM written_days WHERE table_name = 'creator_earnings'"
        " AND day BETWEEN ? AND ? GROUP BY policy_hash",
        [first, last],
    ).fetchall()
    if not rows:
        raise NothingToExplainError(
            f"no day of {first:%B %Y} is made, so there is nothing to compare. Make it: earnings"
            f" run --from {first} --to {last}"
        )
    return dict(rows)


def _latest(policies: dict[str, date]) -> str:
    return max(policies, key=lambda policy_hash: (policies[policy_hash], policy_hash))


def _under(con: Connection, home: Home, span: tuple[date, date], policy_hash: str) -> _Sums:
    """A month as it would be under a policy that is kept."""
    content = con.execute(
        "SELECT content FROM policies WHERE policy_hash = ?", [policy_hash]
    ).fetchone()
    if content is None:
        raise NothingToExplainError(f"policy {policy_hash} is not in the table policies")
    policy = Policy.model_validate_json(content[0])
    book = PolicyBook((policy.model_copy(update={"effective_from": date.min}),))
    history = max(policy.quality.window_days, policy.quality.history_days)
    with (
        copied(con, home, *span, history_days=history, periods=False) as room,
        room.paying(book),
    ):
        return _sums(room.con, *span)
