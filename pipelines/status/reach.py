"""Which days were made from something that is not like that any more.

What belongs here: comparing when a table's day was made with when each thing it was made from last
changed, near or far: the same day, earlier days of a window, snapshots whose rows still hold,
carried money, the policy. What a table is made from is in `schema/graph.py`, how far a changed
snapshot reaches in `store/warehouse.py`. Reads only; the cost grows with the days there are, not
with their square.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import date, timedelta
from typing import NamedTuple

from pipelines.policy import Policy, PolicyBook, PolicyError
from pipelines.schema import DAILY, HOLDING, LANDING, TABLES
from pipelines.schema.graph import MADE_FROM, Sources
from pipelines.store.warehouse import Connection

Change = tuple[int, date]
"""Number of a write, and the day of the table that it changed."""

OF_A_DAY = tuple(
    name
    for name, made in MADE_FROM.items()
    if name not in LANDING and TABLES[name].span == "day" and not TABLES[name].ahead
)
"""Tables that a run makes of a day. Not weights: they were committed before their day and do not
follow what it is made from."""
STAGES = (*(table.name for table in DAILY), *OF_A_DAY)
"""Tables without which a day is half made."""

_HOLDING = {table.name for table in HOLDING}


class Write(NamedTuple):
    """A table's day as it was written last: numbers of writes, and the policy it was made under."""

    changed: int
    made: int
    policy_hash: str | None


class Writes:
    """What the warehouse knows of its writes, read once."""

    def __init__(self, con: Connection) -> None:
        self.of: dict[tuple[str, date], Write] = {}
        for table, day, *found in con.execute(
            "SELECT table_name, day, changed, made, policy_hash FROM written_days"
        ).fetchall():
            self.of[table, day] = Write(*found)
        self.days = sorted({day for _, day in self.of})
        self._seen: tuple[Policy | None, list[tuple[str, list[tuple[str, int]]]]] | None = None
        changes: dict[str, list[tuple[date, int, date | None]]] = {name: [] for name in _HOLDING}
        for table, day, changed, through in con.execute(
            "SELECT table_name, day, changed, through FROM snapshot_changes ORDER BY day"
        ).fetchall():
            changes[table].append((day, changed, through))
        self._holding = {name: _reaching(found, self.days) for name, found in changes.items()}

    def tables(self, day: date) -> set[str]:
        """Tables of which the day is written."""
        return {table for table in (*STAGES, *LANDING) if (table, day) in self.of}

    def latest(self, source: str, day: date, days_back: int = 1) -> Change | None:
        """The last change of what `day` sees of a table: of the day itself, of a window of so many
        days that ends on it, or of rows that still hold on it.
        """
        write = self.of.get((source, day))
        found = (write.changed, day) if write else None
        for n in range(1, days_back):
            on = day - timedelta(days=n)
            if (write := self.of.get((source, on))) and (not found or write.changed > found[0]):
                found = write.changed, on
        if source in _HOLDING and (reaching := self._holding[source].get(day)):
            return max(found, reaching) if found else reaching
        return found

    def newer(self, day: date, policy: Policy | None) -> list[str]:
        """What changed since something of the day was made from it, in words; each change once."""
        words: dict[Change, str] = {}
        if not self._seen or self._seen[0] is not policy:
            self._seen = policy, _seen(policy)
        for target, sources in self._seen[1]:
            write = self.of.get((target, day))
            for source, back in sources if write else ():
                change = self.latest(source, day, back)
                if write and change and change[0] >= write.made and change not in words:
                    of = "" if change[1] == day else f" of {change[1]}"
                    words[change] = f"{source}{of} since {target} was made"
        return list(words.values())


def _seen(policy: Policy | None) -> list[tuple[str, list[tuple[str, int]]]]:
    """What each table of a day is made from, and how many days of it."""
    found = []
    for target in (*LANDING, *OF_A_DAY):
        made = MADE_FROM[target]
        sources = (*made.needs, *made.looks_at, *made.beside)
        found.append((target, [(source, days_back(made, source, policy)) for source in sources]))
    return found


def half_made_days(con: Connection) -> set[date]:
    """Days whose payouts were made again and are not posted yet, or posted and not in creators'
    earnings: a run was interrupted there, and making the day again ends it.
    """
    writes = Writes(con)
    found = set()
    for day in writes.days:
        for target in ("ledger_entries", "creator_earnings"):
            write = writes.of.get((target, day))
            sources = [writes.of.get((source, day)) for source in MADE_FROM[target].needs]
            if any(s and s.changed >= (write.made if write else 0) for s in sources):
                found.add(day)
    return found


def days_back(made: Sources, source: str, policy: Policy | None) -> int:
    """How many days of a source are read, the day itself among them.

    >>> days_back(MADE_FROM["video_quality"], "viewer_events", None)
    1
    """
    if source not in made.windows or policy is None:
        return 1
    return {
        "quality": policy.quality.window_days,
        "epochs": 3 if policy.epochs.relative and policy.epochs.mechanism != "none" else 1,
        "bonus": policy.bonus.history_days,
    }[made.windows[source]]


def stale_days(
    con: Connection,
    writes: Writes,
    policies: PolicyBook,
    days: Iterable[date],
    landed: Sequence[date],
    *,
    closed: date | None = None,
) -> dict[date, str]:
    """Days that are made and would come out another way if they were made now, each with why.

    `landed`: days of the calendar that were delivered, in order; money is carried from one to the
    next. `closed`: days up to that one keep the policy they were made under.
    """
    notes: dict[date, str] = {}
    hashes: dict[int, str] = {}
    broken = _broken_carries(con, landed)
    for day in days:
        try:
            policy = policies.in_force(day)
        except PolicyError as error:
            notes |= {day: str(error)} if closed is None or day > closed else {}
            continue
        if newer := writes.newer(day, policy):
            notes[day] = f"changed: {', '.join(newer)}"
            continue
        if id(policy) not in hashes:
            hashes[id(policy)] = policy.hash
        now = hashes[id(policy)]
        under = {
            write.policy_hash
            for target in OF_A_DAY
            if (write := writes.of.get((target, day))) and write.policy_hash
        }
        other = sorted(under - {now}) if closed is None or day > closed else []
        if other:
            notes[day] = f"was made under policy {other[0]}; in force is {policy.name} {now}"
        elif day in broken:
            notes[day] = broken[day]
    return notes


def _reaching(
    changes: Sequence[tuple[date, int, date | None]], days: Sequence[date]
) -> dict[date, Change]:
    """The latest change that reaches each day, of changes in the order of their days.

    >>> first, second, third = (date(2026, 3, n) for n in (1, 2, 3))
    >>> found = _reaching([(first, 7, first), (second, 5, None)], [first, second, third])
    >>> [number for number, _ in found.values()]
    [7, 5, 5]
    """
    found: dict[date, Change] = {}
    alive: list[tuple[int, date, date]] = []  # the latest on top; what has ended goes when met
    place = 0
    for day in days:
        while place < len(changes) and changes[place][0] <= day:
            begin, number, through = changes[place]
            heapq.heappush(alive, (-number, begin, through or date.max))
            place += 1
        while alive and alive[0][2] < day:
            heapq.heappop(alive)
        if alive:
            found[day] = (-alive[0][0], alive[0][1])
    return found


def _broken_carries(con: Connection, landed: Sequence[date]) -> dict[date, str]:
    """Days whose carried-in money is not, pool by pool, what the day before carries out now."""
    taken: dict[date, dict[str, int]] = {}
    left: dict[date, dict[str, int]] = {}
    for day, category, carry_in, carry_out in con.execute(
        "SELECT day, category, carry_in_micros, carry_out_micros FROM ad_pools"
        " WHERE carry_in_micros <> 0 OR carry_out_micros <> 0"
    ).fetchall():
        for side, micros in ((taken, carry_in), (left, carry_out)):
            pools = side.setdefault(day, {})
            if micros:
                pools[category] = micros
    made = con.execute("SELECT day FROM written_days WHERE table_name = 'ad_pools'").fetchall()
    before = dict(zip(landed[1:], landed, strict=False))
    broken = {}
    for (day,) in made:
        last = before.get(day)
        carried, expected = taken.get(day, {}), left.get(last, {}) if last else {}
        if carried == expected:
            continue
        sums = sum(carried.values()), sum(expected.values())
        if sums[0] == sums[1]:
            pool = min(c for c in carried.keys() | expected if carried.get(c) != expected.get(c))
            sums = carried.get(pool, 0), expected.get(pool, 0)
            broken[day] = f"pool {pool!r} took {sums[0]} micros over from {last}, which carries"
        else:
            broken[day] = f"took {sums[0]} micros over from {last}, which carries"
        broken[day] += f" {sums[1]} now"
    return broken


def unloaded_snapshots(
    waiting: Mapping[date, Collection[str]], days: Sequence[date]
) -> dict[date, str]:
    """Days that a snapshot of an earlier day may reach which is not loaded as it is now, with the
    first such file. How far it reaches is known once it is loaded.
    """
    snapshots = sorted(
        (day, file)
        for day, files in waiting.items()
        for file in files
        if TABLES[file.split("/")[0]].kind == "snapshot"
    )
    if not snapshots:
        return {}
    first, file = snapshots[0]
    return {
        day: f"{file}, a snapshot that may reach this day: not loaded as it is now"
        for day in days
        if day > first
    }
