"""What a restatement of a closed day changes for each video, reason by reason: kept in
`video_corrections`, because payout tables only hold what a day comes to now.

What belongs here: the steps that lead from the old inputs to the new ones, one for each reason, and
what each changed. Decisions are added one reason after another, in the order in which they were
made, everything else first; the amounts of a step are what the day pays with it less what it paid
without, so they sum to the whole correction whatever depends on what.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from itertools import groupby
from typing import Any, Literal

from pipelines.schema import INVALID_TRAFFIC
from pipelines.sql import as_dicts
from pipelines.store.warehouse import Connection

PER_VIDEO = """SELECT video_id, creator_id, part, sum(micros)::BIGINT AS micros FROM (
      SELECT video_id, creator_id, 'ads:' || category AS part, payout_micros AS micros
      FROM ad_payouts WHERE day = $day
      UNION ALL SELECT video_id, creator_id, 'pulse', payout_micros FROM pulse_payouts
      WHERE day = $day
      UNION ALL SELECT video_id, creator_id, 'coins', payout_micros FROM donation_splits
      WHERE day = $day)
    GROUP BY ALL HAVING sum(micros) <> 0"""

Decisions = tuple[Mapping[str, Any], ...]


@dataclass(frozen=True)
class Step:
    """Decisions that hold after it, and why it is taken."""

    decisions: Decisions
    kind: Literal["finalised", "deducted", "restored", "restated", "follows"]
    reason: str
    decided_on: date | None = None


@dataclass(frozen=True)
class Standing:
    """What a day was made from before it is made again, as far as a reason depends on it."""

    decisions: Decisions
    estimates: frozenset[str]

    @classmethod
    def of(cls, con: Connection, day: date) -> Standing:
        estimates = con.execute(
            "SELECT ad_id FROM ad_revenue WHERE day = ? AND status = 'estimated'", [day]
        ).fetchall()
        return cls(decisions_on(con, day), frozenset(row[0] for row in estimates))


def decisions_on(con: Connection, day: date) -> Decisions:
    """Rows of `invalid_traffic`, without their day."""
    names = ", ".join(c.name for c in INVALID_TRAFFIC.columns if c.name != "day")
    sql = f"SELECT {names} FROM invalid_traffic WHERE day = ? ORDER BY ALL"
    return tuple(as_dicts(con.execute(sql, [day])))


def steps(before: Decisions, now: Decisions, reason: str) -> Iterator[Step]:
    """From what a day was made from to what it is made from now; the last one is where it is."""
    kept = tuple(d for d in now if d in before)
    new = [d for d in now if d not in before]
    yield Step(kept, "restated", reason)

    def why(decision: Mapping[str, Any]) -> tuple[date, str, str]:
        return decision["decided_on"], decision["outcome"], decision["reason"]

    for (decided_on, outcome, words), group in groupby(sorted(new, key=why), why):
        kept += tuple(group)
        yield Step(kept, "restored" if outcome == "restored" else "deducted", words, decided_on)


class Changes:
    """Collects, step by step, what changes for the videos of a day; `keep` writes it down."""

    def __init__(self, con: Connection, day: date) -> None:
        self.con, self.day = con, day
        self.before = Standing.of(con, day)
        self._remember("paid_before")
        con.execute(
            "CREATE OR REPLACE TEMP TABLE video_changes AS SELECT number, kind, reason, decided_on,"
            " video_id, creator_id, part, before_micros, after_micros FROM video_corrections LIMIT 0"
        )
        self.steps = 0

    def note(self, step: Step) -> None:
        """Note what the day's payout tables say otherwise since the step before."""
        self._remember("paid_now")
        self.steps += 1
        final = self.before.estimates - Standing.of(self.con, self.day).estimates
        kind = "finalised" if step.kind == "restated" and final else step.kind
        self.con.execute(
            """INSERT INTO video_changes SELECT ?, ?, ?, ?, video_id, creator_id, part,
                   coalesce(b.micros, 0), coalesce(n.micros, 0)
               FROM paid_before AS b FULL JOIN paid_now AS n USING (video_id, creator_id, part)
               WHERE coalesce(b.micros, 0) <> coalesce(n.micros, 0) ORDER BY ALL""",
            [self.steps, kind, step.reason, step.decided_on],
        )
        self.con.execute("CREATE OR REPLACE TEMP TABLE paid_before AS FROM paid_now")

    def keep(self, txn_id: str, booked_day: date) -> int:
        """Write down what was noted, under the payout that stands since; how many rows it is."""
        (count,) = self.con.execute("SELECT count(*) FROM video_changes").fetchall()[0]
        if count:
            self.con.execute(
                """INSERT INTO video_corrections BY NAME
                   SELECT $day::DATE AS day, $txn AS txn_id, $booked::DATE AS booked_day,
                       c.* REPLACE (c.number + (SELECT coalesce(max(number), 0)
                           FROM video_corrections WHERE txn_id = $txn) AS number)
                   FROM video_changes AS c""",
                {"day": self.day, "txn": txn_id, "booked": booked_day},
            )
        return int(count)

    def _remember(self, name: str) -> None:
        self.con.execute(f"CREATE OR REPLACE TEMP TABLE {name} AS {PER_VIDEO}", {"day": self.day})
