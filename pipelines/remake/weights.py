"""Committing weights anew, on purpose: the only way to change what was committed. Both states stay
on record.

A restated day never changes committed weights, because they were really used; this does, from a day
on. What was paid under the old weights is then stale: open days are run again, closed ones go
through `earnings restate`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any

from pipelines.audience.assets import group_utility, weights_metadata
from pipelines.audience.weights import (
    DAY,
    begins,
    next_state,
    publish_matching,
    state_on,
    write_state,
)
from pipelines.errors import ExpectedError
from pipelines.ledger.entries import note_decision
from pipelines.runs.daily import Day
from pipelines.settings import Home
from pipelines.store.warehouse import Warehouse, closed_through


class RecommitError(ExpectedError, RuntimeError):
    """Weights that cannot be committed anew: says which, and why."""


@dataclass(frozen=True)
class Recommitted:
    """One day's weights before and after."""

    day: date
    closed: bool
    replaced: str
    state_hash: str
    groups: int
    largest_change: float

    @property
    def changed(self) -> bool:
        return self.replaced != self.state_hash

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "day": str(self.day), "changed": self.changed}


Made = tuple[str, date, Mapping[str, Any]]


def recommit(home: Home, first: date, *, reason: str) -> tuple[list[Recommitted], list[Made]]:
    """Compute the weights that hold on `first` and all later committed days again, from the day
    before each as it is now.

    Utilities are measured again, for events may have been restated since; the groups of viewers
    stay. One transaction: all days or none.

    Returns
    -------
    what happened to each day, and what Dagster should be told was made

    Raises
    ------
    RecommitError
        No weights were committed for `first`, or all of them are 1 there by definition.
    """
    house, policies = Warehouse(home), home.policies
    recommitted: list[Recommitted] = []
    made: list[Made] = []
    with house.open() as con:
        days = [
            row[0]
            for row in con.execute(
                "SELECT DISTINCT day FROM group_weights WHERE day >= ? ORDER BY 1", [first]
            ).fetchall()
        ]
        if not days or days[0] != first:
            raise RecommitError(
                f"no weights were committed for {first}; see earnings query 'SELECT DISTINCT day"
                " FROM group_weights'"
            )
        if begins(home, policies, first):
            raise RecommitError(
                f"all weights are 1 on {first}, the first day of the mechanism; the earliest to"
                f" recommit is {first + DAY}"
            )
        closed = closed_through(con)
        with house.transaction(con, f"recommitted: {reason}"):
            for day in days:
                following = policies.in_force(day)
                if begins(home, policies, day) or following.epochs.mechanism == "none":
                    break
                run = Day(con, day - DAY, house, policies.in_force(day - DAY), reason)
                made.append(("group_utility", day - DAY, group_utility.make(run)))
                old, replaced = state_on(con, home, policies, day)
                after = next_state(con, *state_on(con, home, policies, day - DAY), following.epochs)
                table = after.table(con, following.epochs, following.hash)
                state_hash = table["state_hash"][0].as_py()
                if state_hash != replaced:
                    with run.write(day) as writer:
                        write_state(
                            writer,
                            after,
                            following.epochs,
                            following.hash,
                            f"recommitted: {reason}",
                        )
                before = {w.group_id: w.weight for w in old.rows}
                change = max(abs(w.weight - before.get(w.group_id, 0.0)) for w in after.rows)
                recommitted.append(
                    Recommitted(
                        day,
                        closed is not None and day <= closed,
                        replaced,
                        state_hash,
                        len(after.rows),
                        change,
                    )
                )
                made.append(("group_weights", day - DAY, weights_metadata(run, day)))
            note_decision(con, first, f"weights from {first} on committed anew: {reason}")
        for done in recommitted:
            if done.changed:
                publish_matching(con, home, done.day)
    house.publish()
    return recommitted, made
