"""Many policies over the same days: every combination of the values given for some fields, and
which of them no other one beats.

What belongs here: the grid, and dominance. A point is paid by `scratch.py` like any policy.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
import pandas as pd
from pydantic import ValidationError

from pipelines.errors import ExpectedError
from pipelines.policy import Policy, PolicyBook
from pipelines.whatif.comparison import Comparison
from pipelines.whatif.scratch import Scratch
from solvers import InfeasibleError

MOST_POINTS = 1_000
WANTED = {"small_creators_share": 1, "efficiency": 1, "gini": -1}
"""Measures by which points are held against each other: 1 where more is better, -1 where less."""


class VaryError(ExpectedError, ValueError):
    """A field or its values that cannot be varied: says which and how to write it."""


@dataclass(frozen=True)
class Axis:
    """A field of the policy, `section.field`, and the values to try."""

    field: str
    values: tuple[Any, ...]


def parse_axis(field: str, values: str) -> Axis:
    """An axis as it is written on the command line: `0:1:0.1` (from, to, step; both ends are in) or
    `0.1,0.5,1`.

    >>> parse_axis("ads.alpha", "0.25:1:0.25").values
    (0.25, 0.5, 0.75, 1.0)
    >>> parse_axis("ads.fairness_unit", "creator,video").values
    ('creator', 'video')
    """
    section, _, name = field.partition(".")
    sections = {n: f.annotation for n, f in Policy.model_fields.items()}
    fields = getattr(sections.get(section), "model_fields", {})
    if name not in fields:
        known = ", ".join(f"{section}.{n}" for n in fields) or ", ".join(
            n for n, kind in sections.items() if hasattr(kind, "model_fields")
        )
        raise VaryError(f"--vary {field}: a policy has no such field; there is {known}")
    try:
        if ":" in values:
            low, high, step = (float(x) for x in values.split(":"))
            if not (step > 0 and high >= low and math.isfinite(high - low)):
                raise ValueError
            count = math.floor((high - low) / step + 1e-9) + 1
            return Axis(field, tuple(round(low + n * step, 12) for n in range(count)))
        return Axis(field, tuple(_value(text.strip()) for text in values.split(",")))
    except ValueError as error:
        raise VaryError(
            f"--vary {field} {values}: write from:to:step, as in 0:1:0.1, or values with commas"
        ) from error


def turned(policy: Policy, changes: dict[str, Any]) -> Policy:
    """The policy with some fields changed. The two weights of the ad objective are parts of one:
    where only one of them is varied the other follows.

    Raises
    ------
    ValidationError
        The policy as a whole makes no sense any more.
    """
    others = {}
    for one, other in (("lambda_eff", "lambda_fair"), ("lambda_fair", "lambda_eff")):
        if f"ads.{one}" in changes and f"ads.{other}" not in changes:
            others[f"ads.{other}"] = round(1 - changes[f"ads.{one}"], 12)
    return policy.with_fields({**changes, **others})


def explore(room: Scratch, book: PolicyBook, axes: Sequence[Axis]) -> Iterator[dict[str, Any]]:
    """Pay the days at every point; yields the point's values, its measures and its problem, if it
    has one. The first row is the policy as it is.
    """
    count = math.prod(len(axis.values) for axis in axes)
    if count > MOST_POINTS:
        raise VaryError(f"{count} points are too many: at most {MOST_POINTS}. Take larger steps.")
    base, known = room.pay(book, "as it is"), room.creators()
    yield {**{axis.field: None for axis in axes}, **_measured(Comparison(base, base, known))}
    for values in product(*(axis.values for axis in axes)):
        changes = dict(zip((axis.field for axis in axes), values, strict=True))
        try:
            versions = tuple(turned(version, changes) for version in book.versions)
            paid = room.pay(PolicyBook(versions), "varied")
        except (ValidationError, InfeasibleError) as error:
            said = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
            yield {**changes, "problem": said.removeprefix("Value error, ")}
        else:
            yield {**changes, **_measured(Comparison(base, paid, known))}


def frontier(rows: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """The points as a table, with `dominated`: another point is at least as good in all of `WANTED`
    and better in one.
    """
    table = pd.DataFrame(list(rows))
    if "problem" not in table:
        table["problem"] = ""
    table["problem"] = table["problem"].fillna("")
    paid = table["problem"] == ""
    values = table.loc[paid, list(WANTED)].to_numpy() * np.array(list(WANTED.values()))
    # rounding of a sum of floats is no advantage
    rounded = np.round(values, 12)
    at_least = (rounded[None, :, :] >= rounded[:, None, :]).all(axis=2)
    better = (rounded[None, :, :] > rounded[:, None, :]).any(axis=2)
    table["dominated"] = False
    table.loc[paid, "dominated"] = (at_least & better).any(axis=1)
    return table


def _measured(found: Comparison) -> dict[str, Any]:
    return {
        **found.measures["b"].to_dict(),
        "moved_share": found.moved_share,
        "creators_micros": int(found.totals.loc["creators", "b"]),
        "problem": "",
    }


def _value(text: str) -> Any:
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError:
        return text
