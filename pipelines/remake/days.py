"""Correcting closed days: what was paid is reversed and reissued in the open period, with the
reason and who gains and loses.

What belongs here: which days are touched, making them again in one transaction, and the difference.
The difference is computed by doing it and rolling back, so what is shown is what will happen;
`digest` makes sure that nothing else is applied.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from typing import Any, Literal

import duckdb

from pipelines.assets import ASSETS
from pipelines.errors import ExpectedError
from pipelines.ledger.assets import creator_earnings, ledger_entries
from pipelines.ledger.entries import latest_revision
from pipelines.periods import MONTH
from pipelines.policy import PolicyBook
from pipelines.remake.corrections import Changes, Decisions, Step, decisions_on, steps
from pipelines.rewards.assets import creator_bonuses
from pipelines.runs.daily import DailyAsset, Day, Metadata
from pipelines.runs.periodic import Period
from pipelines.schema import DAILY, INVALID_TRAFFIC, LANDING, TABLES
from pipelines.schema.graph import MADE_FROM
from pipelines.settings import Home
from pipelines.sql import query
from pipelines.status.reach import days_back
from pipelines.store.warehouse import Connection, Warehouse, closed_through, is_written
from pipelines.store.warehouse import count as row_count
from solvers.apportion import apportion


class RestatementError(ExpectedError, RuntimeError):
    """Days that cannot be restated: says which, and why."""


@dataclass(frozen=True)
class Change:
    """One creator's money of a day before and after (micros)."""

    creator_id: str
    before: int
    after: int

    @property
    def gain(self) -> int:
        return self.after - self.before


@dataclass(frozen=True)
class RestatedDay:
    """One day's accounts before and after (micros); `accounts` are gross, creators, platform and
    carry.

    `of` is `bonus` for the bonuses of the month that ends on the day; they are no part of the day's
    own row.
    """

    day: date
    of: Literal["day", "bonus"]
    closed: bool
    outcome: str
    revision: int
    accounts: dict[str, tuple[int, int]]
    changes: tuple[Change, ...]


@dataclass(frozen=True)
class Restatement:
    """What a restatement does to every day it touches."""

    reason: str
    budget_neutral: bool
    booked_day: date
    days: tuple[RestatedDay, ...]
    applied: bool

    @property
    def digest(self) -> str:
        """Equal for restatements that change the same amounts."""
        return hashlib.sha256(json.dumps(self.as_dict()["days"]).encode()).hexdigest()

    @property
    def changes(self) -> tuple[Change, ...]:
        """Every creator's gain or loss over all days, largest gain first."""
        totals: dict[str, tuple[int, int]] = {}
        for change in (c for day in self.days for c in day.changes):
            before, after = totals.get(change.creator_id, (0, 0))
            totals[change.creator_id] = (before + change.before, after + change.after)
        changes = (Change(creator, *amounts) for creator, amounts in totals.items())
        return tuple(sorted(changes, key=lambda c: (-c.gain, c.creator_id)))

    def as_dict(self) -> dict[str, Any]:
        days = [{**asdict(d), "day": str(d.day)} for d in self.days]
        totals = [{**asdict(c), "gain": c.gain} for c in self.changes]
        return {**asdict(self), "booked_day": str(self.booked_day), "days": days, "changes": totals}


_STREAMS = [asset for asset in ASSETS if asset.name in {table.name for table in DAILY}]
_LOADED_FIRST = [a for a in ASSETS if a.name in LANDING and a not in _STREAMS]
_BOOKED = (ledger_entries, creator_earnings)
_PAYING = [a for a in ASSETS if a.name not in LANDING and a not in _BOOKED]

Made = tuple[str, date, Metadata]  # an asset, a day it made again, and what it has to say of it


def restate(
    home: Home,
    first: date,
    last: date,
    *,
    reason: str,
    budget_neutral: bool = False,
    expected: str | None = None,
) -> tuple[Restatement, list[Made]]:
    """Make closed days again from what is in `landing/` and the policy in force now; all of it in
    one transaction.

    Later days that depend on them follow: by carried money, a score's window, a changed snapshot as
    far as it reaches. Their own files are loaded again only where rows refer to what the snapshot
    brought or took away.
    So do bonuses of their months that were paid. Closed days are reversed and reissued in the open
    period, open ones on their own day.

    Parameters
    ----------
    budget_neutral
        Creators together keep exactly what they were paid for each closed day: the new amounts are
        scaled to the old total by largest remainder, and the platform bears the difference. Bonuses
        follow their schedule, which has a budget of its own.
    expected
        None: only show what would change. The `digest` of what was shown: do that.

    Raises
    ------
    RestatementError
        A day is open or has not landed; or the restatement would not do what `expected` says,
        because something changed since.
    """
    house = Warehouse(home)
    with house.open() as con:
        con.begin()
        try:
            closed, asked = _closed_and_asked(con, house.home, first, last)
            work = _Restating(
                con, house, first, asked, closed, reason=reason, neutral=budget_neutral
            )
            days = tuple(work.days(last))
            booked = closed + timedelta(days=1)
            restatement = Restatement(reason, budget_neutral, booked, days, expected is not None)
            if expected is None:
                con.rollback()
            elif restatement.digest != expected:
                raise RestatementError(
                    "files, policies or the warehouse changed since the difference was shown;"
                    " nothing was written"
                )
            else:
                house.store.before_commit(con, f"restated {first} to {last}: {reason}", None)
                con.commit()
        except BaseException:
            with suppress(
                duckdb.TransactionException
            ):  # none is open any more: the commit itself failed
                con.rollback()
            raise
    if expected is not None:
        house.publish()
    return restatement, work.made


class _Restating:
    """Days made again inside one open transaction, one after the other: `remake` makes one and says
    how it differs, `reaches` tells how far that goes on, `bonuses` makes those of a month again.
    """

    def __init__(
        self,
        con: Connection,
        house: Warehouse,
        first: date,
        asked: Sequence[date],
        closed: date,
        *,
        reason: str,
        neutral: bool,
    ) -> None:
        self.con, self.house, self.policies = con, house, house.home.policies
        self.first, self.asked, self.closed = first, asked, closed
        self.reason, self.neutral = reason, neutral
        self.made: list[Made] = []

    def days(self, last: date) -> list[RestatedDay]:
        """The days asked for, those that depend on them, and bonuses of their months."""
        complete = _complete_days(self.con)
        reach = last  # the last day that what changed so far can touch
        restated: list[RestatedDay] = []
        for day in sorted({*self.asked, *(d for d in complete if d >= self.first)}):
            if day > reach:
                break
            clock, carried_out = _clock(self.con), _carried_out(self.con, day)
            restated.append(self.remake(day))
            carries = _carried_out(self.con, day) != carried_out
            reach = max(reach, self.reaches(day, clock, carries, complete))
        months = sorted({MONTH.first(one.day) for one in restated})
        return restated + [bonus for begin in months if (bonus := self.bonuses(begin))]

    def remake(self, day: date) -> RestatedDay:
        """Make all tables of a day again; files of a day that was not asked for are loaded only if
        a snapshot changed what becomes of them.
        """
        asked, closed = day in self.asked, day <= self.closed
        before = _balances(self.con, day)
        changes = Changes(self.con, day)
        why = self.reason if asked else self._follows(self.first)
        run = Day(self.con, day, self.house, self.policies.in_force(day), why)
        loaded = self._load(run, _LOADED_FIRST, asked=asked)
        made: list[Made] = []
        on_the_way = self._steps(run, changes.before.decisions, asked=asked)
        for step in on_the_way:
            if len(on_the_way) > 1:
                with run.write() as writer:
                    writer.write(INVALID_TRAFFIC.name, step.decisions)
            made = self._load(run, _STREAMS, asked=asked)
            made += [(asset.name, day, asset.make(run)) for asset in _PAYING]
            changes.note(step)
        self.made += [*loaded, *made]
        if closed and (self.neutral or asked):
            _adjust(self.con, day, neutral=self.neutral)
        posting = ledger_entries.make(run)
        if closed:
            self._keep(run, changes, posting["transaction"])
        self.made += [
            (ledger_entries.name, day, posting),
            (creator_earnings.name, day, creator_earnings.make(run)),
        ]
        after = _balances(self.con, day)
        return _difference(day, "day", day <= self.closed, posting, before, after)

    def _load(self, run: Day, assets: Sequence[DailyAsset], *, asked: bool) -> list[Made]:
        return [
            (asset.name, run.day, asset.make(run))
            for asset in assets
            if asked or not _is_as_loaded(run, asset.name)
        ]

    def _steps(self, run: Day, before: Decisions, *, asked: bool) -> list[Step]:
        """Reason by reason where somebody is to read them: of a closed day that was asked for."""
        now = decisions_on(self.con, run.day)
        if not asked:
            return [Step(now, "follows", run.restating or "")]
        if run.day > self.closed:
            return [Step(now, "restated", self.reason)]
        return list(steps(before, now, self.reason))

    def _keep(self, run: Day, changes: Changes, txn_id: str) -> None:
        with run.write() as writer:
            if changes.keep(txn_id, self.closed + timedelta(days=1)):
                rows = row_count(self.con, "ledger_entries", run.day)
                writer.mark("ledger_entries", rows=rows, changed=False)

    def reaches(self, day: date, clock: int, carries: bool, complete: Sequence[date]) -> date:
        """The last day that what making this one wrote, since `clock`, can touch: by a changed
        snapshot, by events in a later day's window, by money carried into the next day.
        """
        touched = [day]
        changed = {
            row[0]
            for row in self.con.execute(
                "SELECT table_name FROM written_days WHERE changed > ?", [clock]
            ).fetchall()
        }
        touched += [
            through or date.max
            for (through,) in self.con.execute(
                "SELECT through FROM snapshot_changes WHERE changed > ?", [clock]
            ).fetchall()
        ]
        if "viewer_events" in changed:
            touched.append(day + _widest_window(self.policies))
        if carries:
            touched.append(min((later for later in complete if later > day), default=day))
        return max(touched)

    def bonuses(self, begin: date) -> RestatedDay | None:
        """Make the bonuses of a month again, if any were paid."""
        end = MONTH.last(begin)
        if not latest_revision(self.con, end, "bonus"):
            return None
        before = _balances(self.con, end, "bonus")
        policy = self.policies.in_force(end)
        why = self._follows(self.asked[0])
        run = Period(self.con, end, self.house, policy, why, first=begin)
        posting = creator_bonuses.make(run)
        self.made.append(("creator_bonuses", begin, posting))
        after = _balances(self.con, end, "bonus")
        return _difference(end, "bonus", end <= self.closed, posting, before, after)

    def _follows(self, day: date) -> str:
        return f"follows from the restatement of {day}: {self.reason}"


def _closed_and_asked(
    con: Connection, home: Home, first: date, last: date
) -> tuple[date, list[date]]:
    """The last closed day, and the landed days to restate. Raises RestatementError."""
    closed = closed_through(con)
    if closed is None or last > closed:
        upto = f"closed is what lies through {closed}" if closed else "no day is closed"
        raise RestatementError(
            f"{last} is open: {upto}. An open day is simply run again: earnings run --from {first}"
            f" --to {last}"
        )
    asked = [day for day in home.landed() if first <= day <= last]
    if not asked:
        raise RestatementError(f"no day from {first} to {last} has landed")
    return closed, asked


def _complete_days(con: Connection) -> list[date]:
    return [
        row[0]
        for row in con.execute(
            "SELECT day FROM written_days WHERE table_name = 'creator_earnings'"
        ).fetchall()
    ]


def _clock(con: Connection) -> int:
    """The number of the last write."""
    (clock,) = con.execute("SELECT coalesce(max(made), 0) FROM written_days").fetchall()[0]
    return int(clock)


def _widest_window(policies: PolicyBook) -> timedelta:
    """How much later a day can be that looks back at a day's events, under any version."""
    widest = max(
        days_back(made, source, policy)
        for made in MADE_FROM.values()
        for source in made.windows
        if source == "viewer_events"
        for policy in policies.versions
    )
    return timedelta(days=widest - 1)


def _is_as_loaded(run: Day, table: str) -> bool:
    """Whether loading the day's files again would give what is there: rows go into quarantine, and
    come out of it, with the snapshots they refer to. If so it is on record that it was looked at.
    """
    count = 0
    for column, target in TABLES[table].references:
        (affected,) = run.con.execute(
            f"""SELECT count(*) FROM (
                  SELECT 1 FROM {table} WHERE day = $day AND {column} IS NOT NULL
                  AND {column} NOT IN (SELECT {column} FROM {target} WHERE day <= $day)
                  UNION ALL
                  SELECT 1 FROM quarantine WHERE day = $day AND table_name = $table
                  AND starts_with(reason, $column || ': unknown'))""",
            {"day": run.day, "table": table, "column": column},
        ).fetchall()[0]
        count += affected
    if count or not is_written(run.con, table, run.day):
        return not count
    with run.write() as writer:
        writer.mark(table, rows=row_count(run.con, table, run.day), changed=False)
    return True


def _adjust(con: Connection, day: date, *, neutral: bool) -> None:
    """Replace the day's adjustments by those that give creators together what the ledger gives them
    now, or by none.
    """
    con.execute("DELETE FROM adjustments WHERE day = ?", [day])
    if not neutral:
        return
    rows = con.execute(
        f"""SELECT owner_of(account) AS creator_id, sum(amount_micros)::BIGINT AS micros
            FROM ({query("ledger/ledger_entries")})
            WHERE starts_with(account, 'creator:') GROUP BY account ORDER BY account""",
        {"day": day},
    ).fetchall()
    budget = sum(
        micros for creator, micros in _balances(con, day).items() if creator.startswith("creator:")
    )
    if budget and not any(micros for _, micros in rows):
        raise RestatementError(
            f"{day}: nobody would earn anything, so {budget} micros cannot be kept for creators"
        )
    creators, amounts = [row[0] for row in rows], [row[1] for row in rows]
    kept = apportion(amounts, budget, keys=creators).tolist() if rows else []
    changes = [
        (day, creator, k - amount)
        for creator, amount, k in zip(creators, amounts, kept, strict=True)
        if k != amount
    ]
    if changes:
        con.executemany("INSERT INTO adjustments VALUES (?, ?, ?)", changes)


def _balances(con: Connection, day: date, of: Literal["day", "bonus"] = "day") -> dict[str, int]:
    """What the ledger says of the day, or of the bonuses kept under it, by account (micros);
    reversed payouts cancel out.
    """
    return dict(
        con.execute(
            """SELECT account, sum(amount_micros)::BIGINT AS micros FROM ledger_entries
               WHERE day = ? AND part <> 'statement' AND starts_with(part, 'bonus:') = ?
               GROUP BY account HAVING micros <> 0""",
            [day, of == "bonus"],
        ).fetchall()
    )


def _carried_out(con: Connection, day: date) -> dict[str, int]:
    return dict(
        con.execute(
            "SELECT category, carry_out_micros FROM ad_pools WHERE day = ? AND"
            " carry_out_micros > 0",
            [day],
        ).fetchall()
    )


def _difference(
    day: date,
    of: Literal["day", "bonus"],
    closed: bool,
    posting: Metadata,
    before: dict[str, int],
    after: dict[str, int],
) -> RestatedDay:
    def total(balances: dict[str, int], prefix: str | tuple[str, ...]) -> int:
        return sum(micros for account, micros in balances.items() if account.startswith(prefix))

    sides: tuple[tuple[str, str | tuple[str, ...], int], ...] = (
        ("gross", "revenue:", -1),
        ("creators", "creator:", 1),
        ("platform", "platform", 1),
        ("carry", ("carry:", "dispute:"), 1),
    )
    accounts = {
        name: (sign * total(before, prefix), sign * total(after, prefix))
        for name, prefix, sign in sides
    }
    creators = sorted(
        account for account in before.keys() | after.keys() if account.startswith("creator:")
    )
    changes = (
        Change(a.removeprefix("creator:"), before.get(a, 0), after.get(a, 0)) for a in creators
    )
    return RestatedDay(
        day,
        of,
        closed,
        posting["outcome"],
        posting["revision"],
        accounts,
        tuple(c for c in changes if c.gain),
    )
