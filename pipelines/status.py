"""What is there: days, weeks and months, money, quarantine, and what is missing or stale. Reads
only.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import date
from typing import Any, Literal

from pipelines.market.floor import moved_floors
from pipelines.periods import DAY, SPANS, Span
from pipelines.schema import DAILY, LANDING, TABLES
from pipelines.schema.graph import MADE_FROM, periodic
from pipelines.settings import Home
from pipelines.sources.copies import days_with_moved_ids
from pipelines.sources.landing import waiting_files
from pipelines.sql import as_dicts
from pipelines.store.warehouse import Connection, Warehouse, closed_through

State = Literal["closed", "complete", "partial", "stale", "landed"]

# What makes a day of a table stale: the tables it was made from, but no snapshot (judged by
# `waiting_files`) and no carry of yesterday's (`_broken_carries`). Not here: weights, which were
# committed before their day and do not follow it, and of which a day before the first has none.
_JUDGED_BY = {
    name: tuple(
        source for source in (*made.needs, *made.looks_at) if TABLES[source].kind != "snapshot"
    )
    for name, made in MADE_FROM.items()
    if name not in LANDING and TABLES[name].span == "day" and not TABLES[name].ahead
}
_STAGES = (*(t.name for t in DAILY), *_JUDGED_BY)


@dataclass(frozen=True)
class DayStatus:
    """One day. Money in micros."""

    day: date
    state: State
    note: str
    events: int
    duplicates: int
    quarantined: int
    creators: int
    gross_micros: int
    creators_micros: int
    platform_micros: int
    carry_micros: int
    revision: int
    policy_hash: str

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "day": self.day.isoformat()}


@dataclass(frozen=True)
class PeriodStatus:
    """One week or month of one asset. `due`: its days are made and it is not; `waiting`: a landed
    day of it is not made yet.
    """

    asset: str
    first: date
    last: date
    state: Literal["made", "due", "stale", "waiting"]
    note: str

    def as_dict(self) -> dict[str, Any]:
        return {**asdict(self), "first": self.first.isoformat(), "last": self.last.isoformat()}


def day_statuses(home: Home) -> list[DayStatus]:
    """Every day that has landed or is in the warehouse, in order."""
    if not Warehouse(home).exists():
        return [_status(day, {}, {}, {}, {}, None) for day in home.landed()]
    with Warehouse(home).open(read_only=True) as con:
        return days_of(con, home)


def days_of(con: Connection, home: Home) -> list[DayStatus]:
    """`day_statuses` on a connection that is open already."""
    written: dict[date, dict[str, Any]] = {}
    for table, day, changed, made in con.execute(
        "SELECT table_name, day, changed, made FROM written_days"
    ).fetchall():
        written.setdefault(day, {})[table] = (changed, made)
    loads = _by_day(
        con,
        """SELECT day, sum(duplicates)::BIGINT AS duplicates,
            sum(quarantined)::BIGINT AS quarantined,
           sum(loaded) FILTER (table_name = 'viewer_events')::BIGINT AS events FROM landing_files
           WHERE table_name IN ('viewer_events', 'gifts', 'ad_revenue') GROUP BY day""",
    )
    money = _by_day(
        con,
        """SELECT day, -sum(amount_micros) FILTER (starts_with(account,
            'revenue:'))::BIGINT AS gross,
           sum(amount_micros) FILTER (starts_with(account, 'creator:'))::BIGINT AS creators,
           sum(amount_micros) FILTER (account = 'platform')::BIGINT AS platform,
           sum(amount_micros) FILTER (starts_with(account, 'carry:'))::BIGINT AS carry
           FROM ledger_entries WHERE part <> 'statement' GROUP BY day""",
    )
    paid = _by_day(
        con,
        "SELECT day, count(*) AS n, any_value(policy_hash) AS policy FROM creator_earnings GROUP"
        " BY day",
    )
    revisions = _by_day(
        con,
        "SELECT day, max(revision) AS revision FROM ledger_transactions WHERE kind = 'payout' GROUP"
        " BY day",
    )
    waiting = waiting_files(con, home.landing)
    notes = {
        day: f"{files[0]}{' and others' if len(files) > 1 else ''}: not loaded as it is now"
        for day, files in waiting.items()
    }
    notes |= _broken_carries(con, home) | moved_floors(con) | days_with_moved_ids(con)
    notes |= _known_since(con)
    closed = closed_through(con)
    return [
        _status(
            day,
            written.get(day, {}),
            loads.get(day, {}),
            money.get(day, {}),
            paid.get(day, {}) | revisions.get(day, {}),
            notes.get(day),
            closed=closed is not None and day <= closed,
        )
        for day in sorted(set(home.landed()) | (written.keys() & (loads.keys() | money.keys())))
    ]


def period_statuses(home: Home) -> list[PeriodStatus]:
    """Every whole week and month of the calendar of which a day has landed, asset by asset."""
    if not Warehouse(home).exists():
        return []
    with Warehouse(home).open(read_only=True) as con:
        rows = con.execute("SELECT table_name, day, changed, made FROM written_days").fetchall()
    written = {(table, day): (changed, made) for table, day, changed, made in rows}
    found = []
    for asset, made_from in periodic().items():
        sources = made_from.needs
        span = SPANS[TABLES[asset].span]
        for first in span.within(*home.calendar()):
            last, made = span.last(first), written.get((asset, span.last(first)))
            days = [day for day in home.landed() if first <= day <= last]
            missing = [
                day for day in days if any((source, day) not in written for source in sources)
            ]
            changed = [
                (s, day)
                for s in sources
                for day in days
                if (s, day) in written and made and written[s, day][0] > made[1]
            ]
            again = f"earnings run --asset {asset} --from {first} --to {last}"
            if missing:
                found.append(
                    PeriodStatus(
                        asset,
                        first,
                        last,
                        "waiting",
                        f"earnings run --from {missing[0]} --to {days[-1]}",
                    )
                )
            elif changed:
                table, day = changed[0]
                found.append(
                    PeriodStatus(asset, first, last, "stale", f"changed: {table} of {day}; {again}")
                )
            elif days:
                found.append(
                    PeriodStatus(
                        asset, first, last, "made" if made else "due", "" if made else again
                    )
                )
    return found


def ready_periods(home: Home, span: Span, first: date, last: date) -> list[tuple[date, date]]:
    """First days of the first and last of the periods to make after the days from `first` to
    `last`, as runs of consecutive ones.

    These are the whole periods of the calendar whose last landed day is among those days and whose
    landed days are all made.
    """
    made = {d.day for d in day_statuses(home) if d.state not in ("landed", "partial")}
    runs: list[tuple[date, date]] = []
    for begin in span.within(*home.calendar()):
        days = [day for day in home.landed() if begin <= day <= span.last(begin)]
        if not days or not first <= days[-1] <= last or not made.issuperset(days):
            continue
        if runs and span.last(runs[-1][1]) + DAY == begin:
            runs[-1] = (runs[-1][0], begin)
        else:
            runs.append((begin, begin))
    return runs


def quarantine(home: Home) -> list[dict[str, Any]]:
    """Rows in quarantine by day, table and reason, with one example of where to look."""
    if not Warehouse(home).exists():
        return []
    with Warehouse(home).open(read_only=True) as con:
        cursor = con.execute(
            """SELECT day, table_name, reason, count(*) AS rows, arg_min(file, (file,
                line)) || ':' || arg_min(line, (file, line)) AS first
               FROM quarantine GROUP BY ALL ORDER BY day, table_name, rows DESC, reason"""
        )
        return [
            {"day": str(d), "table": t, "reason": r, "rows": n, "first": f}
            for d, t, r, n, f in cursor.fetchall()
        ]


def _status(
    day: date,
    written: dict[str, Any],
    loads: dict[str, Any],
    money: dict[str, Any],
    paid: dict[str, Any],
    stale: str | None,
    *,
    closed: bool = False,
) -> DayStatus:
    missing = [
        stage
        for stage in _STAGES
        if stage not in written
        # a day that an earlier version scored, which knew no evidence, lacks nothing
        and not (stage == "video_evidence" and "video_quality" in written)
    ]
    state: State
    if not written:
        state, note = "landed", f"earnings run --from {day} --to {day}"
    elif missing:
        state, note = "partial", f"lacks {', '.join(missing)}"
    elif newer := [
        f"{s} since {t} was made"
        for t, sources in _JUDGED_BY.items()
        for s in sources
        if s in written and t in written and written[s][0] > written[t][1]
    ]:
        state, note = "stale", f"changed: {', '.join(newer)}"
    elif stale:
        state, note = "stale", stale
    else:
        state, note = "closed" if closed else "complete", ""
    if closed and note:
        note += f"; it is closed: earnings restate --day {day} --reason '...'"
    return DayStatus(
        day=day,
        state=state,
        note=note,
        events=loads.get("events") or 0,
        duplicates=loads.get("duplicates") or 0,
        quarantined=loads.get("quarantined") or 0,
        creators=paid.get("n") or 0,
        gross_micros=money.get("gross") or 0,
        creators_micros=money.get("creators") or 0,
        platform_micros=money.get("platform") or 0,
        carry_micros=money.get("carry") or 0,
        revision=paid.get("revision") or 0,
        policy_hash=paid.get("policy") or "",
    )


def _known_since(con: Connection) -> dict[date, str]:
    """Days that were scored before a day of their history was made."""
    rows = con.execute(
        """WITH used AS (SELECT day, any_value(first_day) AS first_day,
                            any_value(history_days) AS used
                     FROM quality_priors GROUP BY day)
           SELECT used.day, used.used, count(w.day) AS there
           FROM used LEFT JOIN written_days AS w
             ON w.table_name = 'video_evidence' AND w.day < used.day AND w.day >= used.first_day
           GROUP BY ALL HAVING count(w.day) <> used.used"""
    ).fetchall()
    return {
        day: f"scored with {used} days of history, and there are {there} now"
        for day, used, there in rows
    }


def _broken_carries(con: Connection, home: Home) -> dict[date, str]:
    """Days whose carried-in money is not what the day before carries out now."""
    rows = con.execute(
        "SELECT day, sum(carry_in_micros)::BIGINT, sum(carry_out_micros)::BIGINT FROM ad_pools"
        " GROUP BY day ORDER BY day"
    ).fetchall()
    carried_out = {day: out for day, _, out in rows}
    broken = {}
    for day, carried_in, _ in rows:
        before = home.day_before(day)
        expected = carried_out.get(before, 0) if before else 0
        if carried_in != expected:
            broken[day] = (
                f"took {carried_in} micros over from {before}, which carries {expected} now"
            )
    return broken


def _by_day(con: Connection, sql: str) -> dict[date, dict[str, Any]]:
    return {row["day"]: row for row in as_dicts(con.execute(sql))}
