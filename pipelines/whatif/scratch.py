"""Days in memory, paid by the pipeline's own assets under any policy: the integers that a run would
post, and nothing of it is written.

What belongs here: what is copied of a home, which tables a policy makes anew, and in which order.
What is made of the amounts is in `comparison.py`.

A run under another policy makes every table again. Most of them come out as they were, so only
those are made here that read a section of the policy that differs, and those made from them. A
policy that leaves the score alone does not score anew.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa

from pipelines.assets import ASSETS, PERIODIC
from pipelines.errors import ExpectedError
from pipelines.market.floor import in_turn
from pipelines.periods import DAY
from pipelines.policy import Policy, PolicyBook
from pipelines.runs.daily import Day
from pipelines.runs.periodic import Period
from pipelines.schema import LANDING, SHADOW, TABLES, VIEWER_EVENTS
from pipelines.schema.graph import MADE_FROM
from pipelines.settings import Home, Settings
from pipelines.status import days_of
from pipelines.store.aside import copy_rows, in_memory
from pipelines.store.warehouse import Connection, DayWriter, Warehouse

_SAME_CARRY = "ad_pools that carry what they carried"
_LEAST_WINDOW = 3  # how one day's utilities changed is told against the two days before
_BETWEEN = "day BETWEEN $first AND $last"
_SNAPSHOTS = tuple(t.name for t in LANDING.values() if t.kind == "snapshot")
# events are many, and are loaded where something is made of them; the rest decides nothing
_LEFT_OUT = (
    VIEWER_EVENTS.name,
    "quarantine",
    "landing_files",
    "statements",
    *(table.name for table in SHADOW),
)
# of these, days before the first are read where a month is made, and nowhere else
_OF_MONTHS = (
    "video_quality",
    "pulse_payouts",
    "ad_payouts",
    "ad_solutions",
    "ad_rules",
    "ad_views",
    "manipulation",
    "donation_splits",
    "coin_solutions",
    "creator_earnings",
)
_WHOLE = ("written_days", "policies", "weight_commits", "market_commits", "ledger_transactions")


class WhatIfError(ExpectedError, LookupError):
    """Days that cannot be paid again: says which, why, and the command that makes them."""


@dataclass(frozen=True)
class Paid:
    """What the days come to under one policy.

    Attributes
    ----------
    name, hashes : the policy, and the hashes of its versions that are in force on the days
    creators : a row a creator who earned anything: the parts of `creator_earnings`, summed over the
        days, in whole micros
    categories : a row an ad category: what its pools pay creators, `ads_micros`
    days : a row a day: gross_micros, creators_micros, platform_micros, carry_micros (what carry
        accounts gain, and what is disputed), and efficiency, the sum of s p over the sum of p of
        the pools that paid
    made : tables that were made anew, each with the number of days
    """

    name: str
    hashes: tuple[str, ...]
    creators: pa.Table
    categories: pa.Table
    days: pa.Table
    made: dict[str, int] = field(default_factory=dict)


TableDay = tuple[str, date]


@dataclass(frozen=True)
class Made:
    """Days of tables that were made anew: `fresh` holds those that others gave too."""

    fresh: set[TableDay]
    here: list[TableDay] = field(default_factory=list)

    def add(self, table: str, day: date) -> None:
        """Note one that was made."""
        self.fresh.add((table, day))
        self.here.append((table, day))

    def count(self) -> dict[str, int]:
        """How many days of each table were made."""
        return dict(Counter(table for table, _ in self.here))


@dataclass(frozen=True)
class _Under(Home):
    """A home as it would be under another policy: its files, and a folder of its own for
    scratch.
    """

    original: Home
    book: PolicyBook

    @property
    def landing(self) -> Path:
        return self.original.landing

    @property
    def policies(self) -> PolicyBook:
        return self.book

    @cached_property
    def settings(self) -> Settings:
        return self.original.settings


class _Trying(Period):
    """A week or month that a run would make, written into the transaction that is open."""

    def write(self, day: date | None = None) -> AbstractContextManager[DayWriter]:
        return self.warehouse.rewrite_day(self.con, day or self.day)


@dataclass(frozen=True)
class Scratch:
    """The days from `first` to `last` in memory, as they are; `pay` pays them under a policy."""

    con: Connection
    source: Connection
    home: Home
    first: date
    last: date
    stale: frozenset[date]
    periods: bool = True

    @cached_property
    def days(self) -> list[date]:
        """The days there are, in order."""
        return [day for day in self.home.landed() if self.first <= day <= self.last]

    @cached_property
    def _paid_by(self) -> dict[tuple[str, date], str]:
        """By table and day, the hash of the policy it was made under."""
        found: dict[tuple[str, date], str] = {}
        for name in MADE_FROM:
            if "policy_hash" in {c.name for c in TABLES[name].columns}:
                rows = self.con.execute(
                    f"SELECT day, min(policy_hash), max(policy_hash) FROM {name} GROUP BY day"
                ).fetchall()
                found |= {(name, day): low for day, low, high in rows if low == high}
        return found

    @cached_property
    def _kept(self) -> dict[str, Policy]:
        """Policies that money was paid under, by hash, as they are in the warehouse."""
        kept: dict[str, Policy] = {}
        for policy_hash, content in self.con.execute(
            "SELECT policy_hash, content FROM policies"
        ).fetchall():
            # one that this version would refuse is simply not known, and what it made is made anew
            try:
                kept[policy_hash] = Policy.model_validate_json(content)
            except ValueError:
                continue
        return kept

    def creators(self) -> pa.Table:
        """Followers of every creator, as the snapshots say on the last day."""
        return self.con.execute(
            "SELECT creator_id, coalesce(arg_max_null(followers, day), 0)::BIGINT AS followers"
            " FROM creators WHERE day <= ? GROUP BY creator_id ORDER BY creator_id",
            [self.last],
        ).to_arrow_table()

    def pay(self, book: PolicyBook, name: str, *, everything: bool = False) -> Paid:
        """The days under `book`; what it leaves in memory is taken back.

        `everything`: make every table anew, also those that cannot have changed; a test holds that
        it comes to the same.
        """
        with self.paying(book, everything=everything) as made:
            return self._outcome(book, name, made.count())

    @contextmanager
    def paying(
        self, book: PolicyBook, *, everything: bool = False, moved: Iterable[TableDay] = ()
    ) -> Iterator[Made]:
        """The days under `book` while it lasts: `con` has the tables as they are then. Afterwards
        they are as before.

        `moved`: days of tables that somebody changed in memory before, as what is made from them
        has to know.
        """
        self.con.begin()
        try:
            with TemporaryDirectory(prefix="whatif-") as folder:
                home = _Under(Path(folder), self.home, book)
                made = Made(set(moved))
                self._make_days(Warehouse(home), book, everything, made)
                yield made
        finally:
            self.con.rollback()

    def _make_days(self, house: Warehouse, book: PolicyBook, everything: bool, made: Made) -> None:
        """As a run does: asset by asset, the days in order inside each, cut where a week's market
        has to be made before the next day is paid by it; weeks and months after their days.
        """
        fresh = made.fresh
        for begin, end in in_turn(book, self.first, self.last):
            days = [day for day in self.days if begin <= day <= end]
            for asset in (a for a in ASSETS if a.name not in LANDING):
                for day in days:
                    policy = book.in_force(day)
                    if not (
                        everything
                        or day in self.stale
                        or self._differs(asset.name, day, policy)
                        or self._follows(asset.name, day, fresh)
                    ):
                        continue
                    with self._events(asset.name, day, policy.quality.window_days):
                        carried = self.carried(day) if asset.name == "ad_pools" else None
                        asset.make(Day(self.con, day, house, policy, "what if"))
                    made.add(asset.name, day)
                    if carried is not None and carried == self.carried(day):
                        fresh.add((_SAME_CARRY, day))
            for day in days if self.periods else ():
                self._make_periods(house, book, day, made)

    def _differs(self, table: str, day: date, policy: Policy) -> bool:
        """Whether the day of the table was made under other values of what it reads."""
        sections = MADE_FROM[table].policy
        if not sections:
            return False
        under = self._paid_by.get((table, day)) or self._paid_by.get(("creator_earnings", day))
        if under == policy.hash:
            return False
        made_under = self._kept.get(under or "")
        if made_under is None:
            return True
        return any(getattr(made_under, name) != getattr(policy, name) for name in sections)

    def _follows(self, table: str, day: date, fresh: set[tuple[str, date]]) -> bool:
        """Whether something that the table is made from was made anew."""
        made = MADE_FROM[table]
        if any((name, day) in fresh for name in (*made.needs, *made.looks_at)):
            return True
        if any(name in made.earlier and other < day for name, other in fresh):
            return True
        before = max((d for d in self.days if d < day), default=None)
        if before is None or (table == "ad_pools" and (_SAME_CARRY, before) in fresh):
            return False
        return any((name, before) in fresh for name in made.before)

    def _make_periods(
        self,
        house: Warehouse,
        book: PolicyBook,
        day: date,
        made: Made,
    ) -> None:
        """Weeks and months that end with the day, where a run would make them."""
        fresh = made.fresh
        for asset in PERIODIC:
            begin = asset.span.first(day)
            if asset.span.last(begin) != day:
                continue
            policy = book.in_force(day)
            if asset.name == "donation_market" and not any(
                version.coins.revenue_floor == "market" for version in book.versions
            ):
                continue  # advice that nobody is paid by
            # a market that days were paid by is kept by a run, and made anew by a restatement
            why = None if asset.name == "donation_market" else "what if"
            run = _Trying(self.con, day, house, policy, why, first=begin)
            whole = all(d >= self.first for d in run.days)
            if not whole or not (
                self._differs(asset.name, day, policy)
                or any((name, d) in fresh for name in MADE_FROM[asset.name].needs for d in run.days)
                or any((name, day) in fresh for name in MADE_FROM[asset.name].looks_at)
            ):
                continue
            with self._events(asset.name, day, (day - begin).days + 1):
                asset.make(run)
            made.add(asset.name, day)

    @contextmanager
    def _events(self, table: str, day: date, window: int) -> Iterator[None]:
        """Viewer events of the days that the table looks at, for as long as they are looked at."""
        if VIEWER_EVENTS.name not in MADE_FROM[table].needs:
            yield
            return
        reach = max(window, _LEAST_WINDOW) - 1
        self._copy(VIEWER_EVENTS.name, first=day - timedelta(days=reach), last=day)
        yield
        self.con.execute(f"DELETE FROM {VIEWER_EVENTS.name}")

    def _copy(self, table: str, condition: str = _BETWEEN, **parameters: Any) -> None:
        copy_rows(self.source, self.con, table, condition, **parameters)

    def carried(self, day: date) -> list[Any]:
        """What pools carry out of a day, by category."""
        return self.con.execute(
            "SELECT category, carry_out_micros FROM ad_pools WHERE day = ? AND"
            " carry_out_micros <> 0 ORDER BY ALL",
            [day],
        ).fetchall()

    def _outcome(self, book: PolicyBook, name: str, made: dict[str, int]) -> Paid:
        span = {"first": self.first, "last": self.last}
        creators, categories, days = (
            self.con.execute(sql, span).to_arrow_table() for sql in (_CREATORS, _CATEGORIES, _DAYS)
        )
        hashes = tuple(dict.fromkeys(book.in_force(day).hash for day in self.days))
        return Paid(name, hashes, creators, categories, days, made)


PARTS = ("ads", "pulse", "carry", "coins", "adjustment", "bonus", "shares")
"""What a creator's total is made of; columns `<part>_micros` of `creator_earnings`."""

_CREATORS = f"""
SELECT creator_id, {", ".join(f"sum({part}_micros)::BIGINT AS {part}" for part in PARTS)},
       sum(total_micros)::BIGINT AS total
FROM creator_earnings WHERE {_BETWEEN} GROUP BY creator_id ORDER BY creator_id
"""

_CATEGORIES = f"""
SELECT category, sum(payout_micros - carried_micros)::BIGINT AS ads_micros FROM ad_payouts
WHERE {_BETWEEN} GROUP BY category ORDER BY category
"""

_DAYS = """
WITH money AS (
    SELECT day,
           coalesce(-sum(amount_micros) FILTER (starts_with(account, 'revenue:')), 0)::BIGINT
               AS gross_micros,
           coalesce(sum(amount_micros) FILTER (starts_with(account, 'creator:')), 0)::BIGINT
               AS creators_micros,
           coalesce(sum(amount_micros) FILTER (account = 'platform'), 0)::BIGINT AS platform_micros,
           coalesce(sum(amount_micros) FILTER (
               starts_with(account, 'carry:') OR starts_with(account, 'dispute:')
           ), 0)::BIGINT AS carry_micros
    FROM ledger_entries WHERE day BETWEEN $first AND $last AND part <> 'statement' GROUP BY day
),
share AS (
    SELECT p.day, p.payout_micros,
           q.effective_views / nullif(sum(q.effective_views) OVER (PARTITION BY p.day, p.category), 0)
               AS s
    FROM ad_payouts AS p JOIN video_quality AS q USING (day, video_id)
    WHERE p.day BETWEEN $first AND $last
)
SELECT day, gross_micros, creators_micros, platform_micros, carry_micros,
       (SELECT sum(s * payout_micros) / nullif(sum(payout_micros), 0) FROM share
        WHERE share.day = money.day) AS efficiency
FROM money ORDER BY day
"""


@contextmanager
def scratch(home: Home, first: date, last: date, *, history_days: int = 0) -> Iterator[Scratch]:
    """Copy what the days from `first` to `last` are made from and what they came to into memory;
    reads what readers see, so that it neither waits for a run nor stops one.

    `history_days`: how far back policies look (a score's window, the history of a bonus).

    Raises
    ------
    WhatIfError
        A day of the range was not delivered or not made.
    WarehouseError
        Nothing was published yet.
    """
    with Warehouse(home).read_current() as source:
        stale = _check(source, home, first, last)
        with copied(source, home, first, last, history_days=history_days, stale=stale) as room:
            yield room


@contextmanager
def copied(
    source: Connection,
    home: Home,
    first: date,
    last: date,
    *,
    history_days: int = 0,
    stale: frozenset[date] = frozenset(),
    periods: bool = True,
) -> Iterator[Scratch]:
    """`scratch` of a connection that is open, without asking how the days stand. Without `periods`
    no week and no month is made, and less of the days before is copied.
    """
    with in_memory() as con:
        room = Scratch(con, source, home, first, last, stale, periods)
        since = first - timedelta(days=max(history_days, 31))
        for name, table in TABLES.items():
            if name in _LEFT_OUT:
                continue
            if name in _WHOLE or "day" not in {c.name for c in table.columns}:
                room._copy(name, "true")
            elif name in _SNAPSHOTS:
                room._copy(name, "day <= $last", last=last)
            elif name == "ledger_entries" or (name in _OF_MONTHS and not periods):
                room._copy(name, first=first, last=last)
            else:
                room._copy(name, first=since, last=last + DAY)
        yield room


def made_days(home: Home) -> list[date]:
    """Days that readers see as made, in order. Raises WhatIfError where there is none."""
    with Warehouse(home).read_current() as source:
        rows = source.execute(
            "SELECT DISTINCT day FROM written_days WHERE table_name = 'creator_earnings'"
            " ORDER BY day"
        ).fetchall()
    if not rows:
        raise WhatIfError("no day is made yet. Make some first: earnings run")
    return [row[0] for row in rows]


def _check(source: Connection, home: Home, first: date, last: date) -> frozenset[date]:
    """Days that are not as a run would leave them now; raises where one was never made."""
    states = {s.day: s.state for s in days_of(source, home) if first <= s.day <= last}
    if not states:
        raise WhatIfError(f"no day from {first} to {last} has landed")
    if missing := sorted(day for day, state in states.items() if state in ("landed", "partial")):
        raise WhatIfError(
            f"{missing[0]} is not made, or not published, and so cannot be paid again. Make it"
            f" first: earnings run --from {missing[0]} --to {missing[-1]}"
        )
    return frozenset(day for day, state in states.items() if state == "stale")
