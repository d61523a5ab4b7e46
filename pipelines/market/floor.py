"""The revenue floor of a day: a number of the policy, or what the donation market of the latest
week before the day says.

What belongs here: which market a day is paid by, that it is there, and keeping one that money was
paid by. How a market is found is in `solvers.donation_market.study`, what becomes of the floor in
`coins/assets.py`. Like the weights of viewer groups, a market that was used is never changed by a
restated day; only `earnings remarket` does that (docs/formulas.md section 7).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, Literal

from pipelines.periods import DAY, WEEK
from pipelines.policy import Coins, Policy, PolicyBook
from pipelines.settings import Home
from pipelines.store.warehouse import (
    CODE_VERSION,
    Connection,
    DayWriter,
    MissingDayError,
    is_written,
)


@dataclass(frozen=True)
class Floor:
    """R_min of a day as a fraction of the coins, and where it came from: the columns of
    `coin_solutions`.
    """

    revenue_floor: float
    floor_source: Literal["policy", "market", "fallback"]
    market_week: date | None = None
    market_revision: int | None = None

    def words(self) -> str:
        """Where it came from, for people.

        >>> Floor(0.7, "market", date(2026, 3, 8), 1).words()
        '70 % of the coins: the donation market of the week to 2026-03-08 says so'
        """
        share = f"{100 * self.revenue_floor:.4g} % of the coins"
        match self.floor_source:
            case "market":
                again = (
                    f", revision {self.market_revision},"
                    if self.market_revision and self.market_revision > 1
                    else ""
                )
                return (
                    f"{share}: the donation market of the week to {self.market_week}{again} says so"
                )
            case "fallback":
                return (
                    f"{share}: the policy's fallback, for no week before had a donation market that"
                    " supports a floor"
                )
            case _:
                return f"{share}: the policy says so"


def floor_on(con: Connection, home: Home, policy: Policy, day: date) -> Floor:
    """The floor that holds on `day` under the policy.

    A market's is 1 - alpha_high, the least that a plausible market asks for, within the policy's
    bounds. It is that of the latest week that ended before the day and had one; a week that could
    not be studied (no gifts), or that does not say at which pay creators leave, passes the question
    on to the one before.

    Raises
    ------
    MissingDayError
        A week that ended before the day was never studied; names it and the command.
    """
    if policy.coins.revenue_floor != "market":
        return Floor(policy.coins.floor, "policy")
    require_market(con, home, day)
    latest = con.execute(
        """SELECT m.revenue_floor, m.day, (SELECT max(revision) FROM market_commits AS c
            WHERE c.day = m.day)
           FROM donation_market AS m WHERE m.day < ? AND m.revenue_floor IS NOT NULL
           ORDER BY m.day DESC LIMIT 1""",
        [day],
    ).fetchone()
    if latest is None:
        return Floor(policy.market.fallback_floor, "fallback")
    floor, week, revision = latest
    low, high = policy.market.floor_bounds
    return Floor(min(max(floor, low), high), "market", week, revision)


def require_market(con: Connection, home: Home, day: date) -> None:
    """Raise MissingDayError if the latest whole week of the calendar that ended before `day`, and
    has landed, was never studied.
    """
    first, _ = home.calendar()
    landed = set(home.landed())
    for begin in reversed(WEEK.within(first, day - DAY)):
        last = WEEK.last(begin)
        if landed.isdisjoint(begin + n * DAY for n in range(7)):
            continue
        if not is_written(con, "donation_market", last):
            raise MissingDayError(
                f"the revenue floor of {day} comes from the donation market of the week {begin} to"
                f" {last}, which is not in the warehouse. Make it first: earnings run --asset"
                f" donation_market --from {begin} --to {last}"
            )
        return


def in_turn(policies: PolicyBook, first: date, last: date) -> list[tuple[date, date]]:
    """The range cut after every week whose market pays the next day: that market has to be made
    before the run goes on.
    """
    ranges, begin = [], first
    while begin <= last:
        end = WEEK.last(begin)
        while end < last and policies.in_force(end + DAY).coins.revenue_floor != "market":
            end = WEEK.last(end + DAY)
        ranges.append((begin, min(end, last)))
        begin = end + DAY
    return ranges


def used_on(con: Connection, week: date) -> list[date]:
    """Days whose coins were split under the floor of the week that ends on `week`."""
    return [
        row[0]
        for row in con.execute(
            "SELECT day FROM coin_solutions WHERE market_week = ? ORDER BY day", [week]
        ).fetchall()
    ]


def commit(writer: DayWriter, policy_hash: str, reason: str) -> bool:
    """Record the week's market as it stands now, if it says something else than the latest record;
    returns whether it did.
    """
    now = writer.con.execute(
        "SELECT alpha, revenue_floor FROM donation_market WHERE day = ?", [writer.day]
    ).fetchone()
    before = writer.con.execute(
        "SELECT alpha, revenue_floor, revision FROM market_commits WHERE day = ? ORDER BY revision"
        " DESC LIMIT 1",
        [writer.day],
    ).fetchone()
    assert now is not None
    if before is not None and before[:2] == now:
        return False
    made_at = datetime.now(UTC).replace(tzinfo=None)
    row: list[Any] = [
        writer.day,
        before[2] + 1 if before else 1,
        *now,
        reason,
        policy_hash,
        CODE_VERSION,
        made_at,
    ]
    writer.con.execute(f"INSERT INTO market_commits VALUES ({', '.join('?' * len(row))})", row)
    return True


def paid_floor(con: Connection, day: date, coins: Coins) -> tuple[Coins, Floor]:
    """The rules that the day's coins were split under, with the floor that held then as a
    number.
    """
    row = con.execute(
        "SELECT revenue_floor, floor_source, market_week, market_revision FROM coin_solutions WHERE"
        " day = ?",
        [day],
    ).fetchone()
    floor = Floor(*row) if row and row[0] is not None else Floor(coins.floor, "policy")
    return coins.at_floor(floor.revenue_floor), floor


def moved_floors(con: Connection) -> dict[date, str]:
    """Days whose coins were split under another market than the one that holds for them now, with
    what that is.
    """
    rows = con.execute("""WITH market AS (SELECT day, max(revision) AS revision FROM market_commits
                           WHERE day IN (SELECT day FROM donation_market
                           WHERE revenue_floor IS NOT NULL) GROUP BY day)
           SELECT s.day, (s.market_week, s.market_revision), (m.day, m.revision)
           FROM coin_solutions AS s ASOF LEFT JOIN market AS m ON s.day > m.day
           WHERE s.floor_source <> 'policy'
             AND (s.market_week IS DISTINCT FROM m.day OR s.market_revision IS DISTINCT
             FROM m.revision) ORDER BY s.day""").fetchall()

    def market(week: date | None, revision: int | None) -> str:
        return f"revision {revision} of the market of the week to {week}" if week else "no market"

    return {
        day: f"coins were split under {market(*was)}, now it is {market(*now)}"
        for day, was, now in rows
    }
