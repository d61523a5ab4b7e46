"""What an experiment of the policy (`epochs.experiment`) did: one arm of viewers against the other,
by size of the group.

What belongs here: since when an experiment runs, and its gains with their intervals. Who is in
which arm is decided by the asset `viewer_groups`; what is said about the gains, in the web UI and
in the study, is said there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from pipelines.audience.weights import arms, mechanism_on
from pipelines.policy import Epochs, PolicyBook
from pipelines.settings import Home
from pipelines.sql import query
from pipelines.store.warehouse import Connection

PARTS = 4
"""Columns of the document's table: about a quarter of the sessions each."""
NORMAL_95 = 1.959963984540054


@dataclass(frozen=True)
class Gain:
    """One measure in one part of the groups: what it is under treatment and under control.

    Groups have ranks, 1 for the one with most viewers; part 0 is all groups. `error` is the
    standard error of the logarithm of the ratio of the two arms; it and the ratio are unknown
    (None) where an arm has nothing of the measure, or fewer than two viewers who count.
    """

    part: int
    first_rank: int
    last_rank: int
    treated: int
    controls: int
    sessions: int
    measure: str
    treatment: float | None
    control: float | None
    log_gain: float | None
    error: float | None

    @property
    def label(self) -> str:
        """Heading of its column: ranks of the groups, or TOTAL."""
        if self.part == 0:
            return "TOTAL"
        return (
            f"{self.first_rank}-{self.last_rank}"
            if self.first_rank < self.last_rank
            else f"{self.first_rank}"
        )

    @property
    def interval(self) -> tuple[float, float, float] | None:
        """Relative gain and the ends of its 95 % interval.

        >>> gain = Gain(0, 1, 4, 10, 10, 90, "ltr", 0.066, 0.06, math.log(1.1), 0.02)
        >>> tuple(round(x, 4) for x in gain.interval)
        (0.1, 0.0577, 0.144)
        """
        if self.log_gain is None or self.error is None:
            return None
        below, above = (self.log_gain + side * NORMAL_95 * self.error for side in (-1, 1))
        return math.expm1(self.log_gain), math.expm1(below), math.expm1(above)

    @property
    def text(self) -> str:
        """The gain in percent, with its interval.

        >>> Gain(0, 1, 4, 10, 10, 90, "ltr", 0.066, 0.06, math.log(1.1), 0.02).text
        '+10.00 % (+5.77 to +14.40)'
        """
        if self.interval is None:
            return "unknown"
        gain, low, high = (100 * x for x in self.interval)
        return f"{gain:+.2f} % ({low:+.2f} to {high:+.2f})"


def began(home: Home, policies: PolicyBook, day: date) -> date | None:
    """First day of the experiment that runs on `day`: since then the same arms under the same
    mechanism. None where there is none.
    """
    mechanism = mechanism_on(policies, day)
    experiment = policies.in_force(day).epochs.experiment if mechanism != "none" else None
    if not experiment:
        return None
    first, before = day, home.day_before(day)
    while (
        before
        and mechanism_on(policies, before) == mechanism
        and policies.in_force(before).epochs.experiment == experiment
    ):
        first, before = before, home.day_before(before)
    return first


def gains(con: Connection, epochs: Epochs, first: date, last: date) -> list[Gain]:
    """Table 2 of Yao et al. for the sessions of `first` to `last`: the policy's utility a session,
    sessions and topics a viewer.

    Groups and arms are those of `last`, which must be a day with an experiment.
    """
    parameters = {
        "day": last,
        "first_day": first,
        "metric": epochs.utility,
        "arms": list(arms(epochs)),
        "parts": PARTS,
    }
    return [Gain(*row) for row in con.execute(query("audience/arm_gains"), parameters).fetchall()]


def table_2(found: Sequence[Gain]) -> tuple[list[str], list[list[str]]]:
    """The gains as the document prints them: a row for each measure, a column for each part of the
    groups, the total last.
    """
    parts = sorted({g.part for g in found}, key=lambda part: (part == 0, part))
    measures = list(dict.fromkeys(g.measure for g in found))
    cell = {(g.measure, g.part): g for g in found}
    heads = [cell[measures[0], part].label for part in parts] if found else []
    return ["groups", *heads], [[m, *(cell[m, part].text for part in parts)] for m in measures]
