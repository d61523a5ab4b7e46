"""The life of revenue, read: what is estimated, what was taken out and why, and what that changed
for videos whose pay was stated before.

What belongs here: reading `ad_revenue`, `deductions`, `invalid_traffic` and `video_corrections`,
for one creator or for a period. What a decision takes out is decided in `sources/decisions.py`, the
correction of a closed day in `remake/`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import date
from typing import Any

from pipelines.money import money
from pipelines.sql import as_dicts
from pipelines.store.warehouse import Connection

KINDS = {
    "finalised": "estimated revenue became final",
    "deducted": "deducted",
    "restored": "counts again",
    "restated": "counted anew",
    "follows": "follows from another day",
}


@dataclass(frozen=True)
class VideoCorrection:
    """What one reason changed in what a video was paid for a day that was closed (micros)."""

    day: date
    kind: str
    reason: str
    decided_on: date | None
    video_id: str
    part: str
    before_micros: int
    after_micros: int

    @property
    def micros(self) -> int:
        return self.after_micros - self.before_micros

    @property
    def words(self) -> str:
        """One line for the creator."""
        decided = f", decided on {self.decided_on}" if self.decided_on else ""
        source = self.part.removeprefix("ads:") if ":" in self.part else self.part
        return (
            f"{self.video_id} on {self.day}, {source}: {KINDS[self.kind]} ({self.reason}{decided}):"
            f" {money(self.before_micros)} became {money(self.after_micros)}"
        )


@dataclass(frozen=True)
class TakenOut:
    """What does not count of a video's day, by one reason: `rows` sessions, bookings or gifts,
    `amount` of them (sessions, micros, coins).
    """

    day: date
    video_id: str
    table: str
    reason: str
    decided_on: date
    rows: int
    amount: int

    @property
    def words(self) -> str:
        """One line for the creator."""
        match self.table:
            case "ad_revenue":
                what = f"{money(self.amount)} of ads next to it"
            case "gifts":
                what = f"{self.amount:,} gifted coins"
            case _:
                what = f"{self.amount:,} session{'s' if self.amount > 1 else ''}"
        return (
            f"{self.video_id} on {self.day}: {what} ({self.reason}, decided on {self.decided_on})"
        )


@dataclass(frozen=True)
class Estimate:
    """A day of which a creator's pay rests on estimated ad revenue (micros): `micros` is what comes
    from pools and videos with estimated bookings.
    """

    day: date
    micros: int


def video_corrections(
    con: Connection, creator_id: str, first: date, last: date
) -> tuple[VideoCorrection, ...]:
    """Those booked from `first` to `last`, in the order in which they were made."""
    rows = con.execute(
        """SELECT c.day, c.kind, c.reason, decided_on, video_id, part, before_micros, after_micros
           FROM video_corrections AS c JOIN ledger_transactions AS t USING (txn_id)
           WHERE creator_id = ? AND c.booked_day BETWEEN ? AND ?
           ORDER BY c.day, seq, number, video_id, part""",
        [creator_id, first, last],
    ).fetchall()
    return tuple(VideoCorrection(*row) for row in rows)


def taken_out(con: Connection, creator_id: str, first: date, last: date) -> tuple[TakenOut, ...]:
    """What does not count of the days from `first` to `last` on the creator's videos."""
    rows = con.execute(
        """WITH mine AS (SELECT video_id FROM videos WHERE creator_id = $creator AND day <= $last)
           SELECT day, video_id, table_name, reason, decided_on, count(*), sum(amount)::BIGINT
           FROM deductions AS d WHERE day BETWEEN $first AND $last
             AND video_id IN (FROM mine) AND $creator = (
               SELECT arg_max(creator_id, day) FROM videos AS v
               WHERE v.video_id = d.video_id AND v.day <= d.day)
           GROUP BY ALL ORDER BY ALL""",
        {"creator": creator_id, "first": first, "last": last},
    ).fetchall()
    return tuple(TakenOut(*row) for row in rows)


ESTIMATED = """SELECT day, creator_id, sum(micros)::BIGINT AS micros FROM (
      SELECT p.day, creator_id, payout_micros AS micros FROM ad_payouts AS p
      WHERE EXISTS (FROM ad_revenue AS r WHERE r.day = p.day AND r.category = p.category
        AND status = 'estimated' AND (r.video_id IS NULL OR r.video_id NOT IN (
          SELECT video_id FROM pulse_payouts AS u WHERE u.day = r.day)))
      UNION ALL
      SELECT p.day, creator_id, payout_micros FROM pulse_payouts AS p
      WHERE EXISTS (FROM ad_revenue AS r WHERE r.day = p.day AND r.video_id = p.video_id
        AND status = 'estimated'))
    WHERE day BETWEEN $first AND $last AND ($creator IS NULL OR creator_id = $creator)
    GROUP BY ALL HAVING micros > 0 ORDER BY ALL"""


def estimates(con: Connection, creator_id: str, first: date, last: date) -> tuple[Estimate, ...]:
    """Days on which the creator's pay rests on estimated revenue, as they stand now."""
    rows = con.execute(ESTIMATED, {"creator": creator_id, "first": first, "last": last}).fetchall()
    return tuple(Estimate(day, micros) for day, _, micros in rows)


@dataclass(frozen=True)
class RevenueReport:
    """Revenue of a period by category (micros; `delivered` = final + estimated + deducted), coins
    likewise, what was taken out by category and reason, appeals that were granted, and what
    changed for closed days.
    """

    first_day: date
    last_day: date
    categories: tuple[dict[str, Any], ...]
    coins: dict[str, int]
    deductions: tuple[dict[str, Any], ...]
    restored: tuple[dict[str, Any], ...]
    corrections: tuple[dict[str, Any], ...]

    def as_dict(self) -> dict[str, Any]:
        return {
            **asdict(self),
            "first_day": str(self.first_day),
            "last_day": str(self.last_day),
        }


def revenue_report(con: Connection, first: date, last: date) -> RevenueReport:
    """What became of the revenue of the days from `first` to `last`, as it stands now."""
    which = {"first": first, "last": last}

    def ask(sql: str) -> tuple[dict[str, Any], ...]:
        return tuple(as_dicts(con.execute(sql, which)))

    categories = ask(
        """SELECT category,
             coalesce(sum(amount_micros) FILTER (status = 'final'), 0)::BIGINT AS final_micros,
             coalesce(sum(amount_micros) FILTER (status = 'estimated'), 0)::BIGINT
               AS estimated_micros,
             sum(deducted_micros)::BIGINT AS deducted_micros,
             sum(amount_micros + deducted_micros)::BIGINT AS delivered_micros,
             count(DISTINCT day) FILTER (status = 'estimated') AS estimated_days
           FROM ad_revenue WHERE day BETWEEN $first AND $last GROUP BY category ORDER BY category"""
    )
    (coins,) = ask(
        """SELECT coalesce(sum(coins), 0)::BIGINT AS final,
             coalesce(sum(deducted_coins), 0)::BIGINT AS deducted
           FROM gifts WHERE day BETWEEN $first AND $last"""
    )
    deductions = ask(
        """SELECT CASE table_name WHEN 'ad_revenue' THEN 'ads' WHEN 'gifts' THEN 'coins'
               ELSE 'sessions' END AS of, category, what, reason, count(DISTINCT about) AS things,
             count(*) AS rows, sum(amount)::BIGINT AS amount, count(DISTINCT day) AS days,
             min(decided_on)::VARCHAR AS first_decided, max(decided_on)::VARCHAR AS last_decided
           FROM deductions WHERE day BETWEEN $first AND $last
           GROUP BY ALL ORDER BY of, category NULLS FIRST, reason, what"""
    )
    restored = ask(
        """SELECT what, reason, count(*) AS decisions, count(DISTINCT day) AS days FROM (
             FROM invalid_traffic WHERE day BETWEEN $first AND $last
             QUALIFY row_number() OVER (PARTITION BY day, what, id ORDER BY decided_on DESC) = 1)
           WHERE outcome = 'restored' GROUP BY ALL ORDER BY ALL"""
    )
    corrections = ask(
        """SELECT kind, reason, decided_on::VARCHAR AS decided_on, count(DISTINCT day) AS days,
             count(DISTINCT video_id) AS videos, count(DISTINCT creator_id) AS creators,
             coalesce(sum(after_micros - before_micros) FILTER (after_micros > before_micros), 0)
               ::BIGINT AS given_micros,
             coalesce(sum(before_micros - after_micros) FILTER (after_micros < before_micros), 0)
               ::BIGINT AS taken_micros
           FROM video_corrections WHERE day BETWEEN $first AND $last
           GROUP BY ALL ORDER BY kind, decided_on, reason"""
    )
    return RevenueReport(first, last, categories, coins, deductions, restored, corrections)
