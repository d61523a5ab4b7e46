"""What a day or month was paid from, as one hash that its transaction carries: files, the rows that
were loaded from them, and the decisions made before it.

What belongs here: what counts as an input of a posting, its hash at the time of posting and at any
time after, and the refusal to pay from what was changed behind the warehouse's back.

The hash has two parts with a colon between. The first is of the landing files alone, as in every
version; the second, since contents are noted (`store/contents.py`), of the rows of the day's
streams and of every snapshot up to it, the weights that held, the market whose floor held, or the
schedule of the month. Derived tables have no part in it: their last digits may differ from machine
to machine, the ledger's must not. Their money is in the entries, the rest in the notes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Literal

from pipelines.errors import ExpectedError
from pipelines.schema import DAILY, DECISIONS, LANDING, SNAPSHOTS
from pipelines.store.contents import EMPTY, contents, rows_of
from pipelines.store.warehouse import Connection

Kind = Literal["payout", "bonus"]
RECORDS = {"payout": "inputs", "bonus": "bonus-inputs"}
"""Kind of the transaction that says: other inputs, the same amounts."""

_STREAMS = [table.name for table in (*DECISIONS, *DAILY)]
_SNAPSHOTS = [table.name for table in SNAPSHOTS]
_HEALED = {
    "invalid_traffic": "earnings run --from {day} --to {day}",
    "ad_revenue": "earnings run --from {day} --to {day}",
    "gifts": "earnings run --from {day} --to {day}",
    "group_weights": "earnings recommit --from {day} --reason '...'",
    "weight_commits": "restore the warehouse from a backup",
    "market_commits": "restore the warehouse from a backup",
    "donation_market": "earnings remarket --week {day} --reason '...'",
    "reward_schedule": "restore the warehouse from a backup",
}


class ChangedBehindError(ExpectedError, RuntimeError):
    """Rows that a posting would pay from are not those that were written: says which."""


@dataclass(frozen=True)
class Posted:
    """One day or month that is posted: `first` to `last` are the days whose files count."""

    kind: Kind
    first: date
    last: date


def input_hash(con: Connection, kind: Kind, first: date, last: date) -> str:
    """What the posting is made from now.

    Raises
    ------
    ChangedBehindError
        Money or a decision that it is made from is not what was noted when it was written.
    """
    of = Posted(kind, first, last)
    inputs = Inputs.of(con, [of])
    _refuse_changed(con, [key for key in inputs.sources(of) if key[0] in _HEALED])
    return inputs.hash(of)


@dataclass(frozen=True)
class Inputs:
    """What some postings are made from, as far as it is noted."""

    noted: dict[tuple[str, date], str]
    files: dict[Posted, str]
    states: dict[date, str]
    markets: dict[date, tuple[date, str]]
    schedules: dict[date, date]
    _snapshot_days: list[date] = field(default_factory=list)

    @classmethod
    def of(cls, con: Connection, postings: Sequence[Posted]) -> Inputs:
        """Read what they need."""
        schedules = dict(
            con.execute(
                "SELECT month, max(day) FROM reward_schedule WHERE month IN (SELECT unnest($months))"
                " GROUP BY month",
                {"months": [p.first for p in postings if p.kind == "bonus"]},
            ).fetchall()
        )
        days = sorted({p.last for p in postings if p.kind == "payout"})
        noted = _noted(con, days, schedules.values())
        states = dict(
            con.execute(
                """SELECT day, string_agg(DISTINCT state_hash, ' ' ORDER BY state_hash)
                   FROM group_weights WHERE day IN (SELECT unnest($days)) GROUP BY day""",
                {"days": days},
            ).fetchall()
        )
        markets = {
            day: (week, f"{revision}|{alpha!r}|{floor!r}")
            for day, week, revision, alpha, floor in con.execute(
                """SELECT s.day, market_week, market_revision, c.alpha, c.revenue_floor
                   FROM coin_solutions AS s LEFT JOIN market_commits AS c
                     ON c.day = market_week AND c.revision = market_revision
                   WHERE market_week IS NOT NULL AND s.day IN (SELECT unnest($days))
                   ORDER BY ALL""",
                {"days": days},
            ).fetchall()
        }
        return cls(
            noted,
            _files(con, postings),
            states,
            markets,
            schedules,
            sorted({day for table, day in noted if table in _SNAPSHOTS}),
        )

    def sources(self, of: Posted) -> list[tuple[str, date]]:
        """Tables and days that the posting is made from, as they are noted."""
        if of.kind == "bonus":
            schedule = ("reward_schedule", self.schedules.get(of.first, date.min))
            return [schedule] * (schedule in self.noted)
        day = of.last
        sources = [(table, day) for table in _STREAMS]
        sources += [(t, s) for s in self._snapshot_days if s <= day for t in _SNAPSHOTS]
        if day in self.states:
            sources += [("group_weights", day), ("weight_commits", day)]
        if day in self.markets:
            week = self.markets[day][0]
            sources += [("market_commits", week)]
        return [key for key in sources if key in self.noted]

    def hash(self, of: Posted) -> str:
        """The hash of all of it."""
        lines = []
        for table, day in self.sources(of):
            content = self.noted[table, day]
            if table in LANDING or table == "reward_schedule":
                lines += [f"{table}|{day}|{content}"] * (content != EMPTY)
        if of.kind == "payout":
            if of.last in self.states:
                lines.append(f"group_weights|{self.states[of.last]}")
            if of.last in self.markets:
                week, market = self.markets[of.last]
                lines.append(f"market|{week}|{market}")
        rows = hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()
        return f"{self.files[of]}:{rows}"


def _noted(
    con: Connection, days: Sequence[date], schedules: Iterable[date]
) -> dict[tuple[str, date], str]:
    """Notes of the days' own tables, of snapshots up to the last of them, of markets up to it, and
    of schedules; what an earlier version wrote is read now.
    """
    rows = con.execute(
        """SELECT table_name, day, content FROM written_days
           WHERE (table_name IN (SELECT unnest($daily)) AND day IN (SELECT unnest($days)))
              OR (table_name IN (SELECT unnest($snapshots)) AND day <= $last)
              OR (table_name = 'market_commits' AND day < $last)
              OR (table_name = 'reward_schedule' AND day IN (SELECT unnest($schedules)))""",
        {
            "daily": [*_STREAMS, "group_weights", "weight_commits"],
            "days": list(days),
            "snapshots": _SNAPSHOTS,
            "last": max(days, default=date.min),
            "schedules": list(schedules),
        },
    ).fetchall()
    noted = {(table, day): content for table, day, content in rows if content is not None}
    unnoted: dict[str, list[date]] = {}
    for table, day, content in rows:
        if content is None:
            unnoted.setdefault(table, []).append(day)
    for table, of in unnoted.items():
        there = contents(con, table, of)
        noted.update({(table, day): there.get(day, EMPTY) for day in of})
    return noted


def _files(con: Connection, postings: Sequence[Posted]) -> dict[Posted, str]:
    """Hash of the landing files that each was made from: of its own days, and every snapshot up to
    them.
    """
    numbered = list(enumerate(postings))
    rows = con.execute(
        """WITH posted AS (SELECT unnest($n) AS n, unnest($first)::DATE AS first,
                                  unnest($last)::DATE AS last)
           SELECT n, sha256(coalesce(string_agg(f.table_name || '|' || f.file || '|' || f.sha256,
                                                chr(10) ORDER BY f.table_name, f.file), ''))
           FROM posted LEFT JOIN landing_files AS f
             ON f.table_name <> 'payees' AND (f.day BETWEEN first AND last
                OR (f.day < first AND f.table_name IN ('viewers', 'creators', 'videos', 'shares')))
           GROUP BY n""",
        {
            "n": [n for n, _ in numbered],
            "first": [p.first for p in postings],
            "last": [p.last for p in postings],
        },
    ).fetchall()
    hashes = dict(rows)
    return {posting: hashes[n] for n, posting in numbered}


def _refuse_changed(con: Connection, sources: Sequence[tuple[str, date]]) -> None:
    for table, day in sources:
        (noted,) = con.execute(
            "SELECT content FROM written_days WHERE table_name = ? AND day = ?", [table, day]
        ).fetchone() or (None,)
        now = contents(con, table, [day]).get(day, EMPTY)
        if noted not in (None, now):
            what = f"{rows_of(now)} rows, {rows_of(noted)} were written"
            raise ChangedBehindError(
                f"{table} of {day} was changed behind the warehouse's back ({what}; their content"
                " differs), and money would be paid from it. Nothing was posted. Put it right"
                f" first: {_HEALED[table].format(day=day)}; what else was changed: earnings ledger"
                " verify --all"
            )
