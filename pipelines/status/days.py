"""What is there: days, weeks and months, money, quarantine, and what is missing or stale. Reads
only.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Collection
from dataclasses import dataclass
from datetime import date
from typing import Any, Literal

from pipelines.ads.carried import CarriedPool, carried_pools
from pipelines.market.floor import moved_floors
from pipelines.periods import DAY, SPANS, Span, in_words
from pipelines.policy import Policy, PolicyBook, PolicyError
from pipelines.runs.figures import warnings_of
from pipelines.schema import TABLES
from pipelines.schema.graph import MADE_FROM, periodic
from pipelines.settings import Home
from pipelines.sources.copies import days_with_moved_ids
from pipelines.sources.landing import waiting_files
from pipelines.sql import as_dicts
from pipelines.status.reach import STAGES, Writes, days_back, stale_days, unloaded_snapshots
from pipelines.store.warehouse import Connection, Warehouse, closed_through

State = Literal["closed", "complete", "partial", "stale", "landed", "missing"]
PeriodState = Literal["made", "due", "stale", "waiting"]


@dataclass(frozen=True)
class DayStatus:
    """One day. Money in micros. `missing`: the calendar has it, and nobody delivered it."""

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
        return {**vars(self), "day": self.day.isoformat()}


@dataclass(frozen=True)
class PeriodStatus:
    """One week or month of one asset. `due`: its days are made and it is not; `waiting`: a landed
    day of it is not made yet.
    """

    asset: str
    first: date
    last: date
    state: PeriodState
    note: str

    def as_dict(self) -> dict[str, Any]:
        return {**vars(self), "first": self.first.isoformat(), "last": self.last.isoformat()}


_CLOSED = "; it is closed: "


def is_closed(status: DayStatus) -> bool:
    """Whether a statement was issued for the day, in whatever state it is."""
    return status.state == "closed" or _CLOSED in status.note


def overview(home: Home) -> tuple[list[DayStatus], list[PeriodStatus]]:
    """`day_statuses` and `period_statuses`, of one look at the folder and at the warehouse."""
    if not Warehouse(home).exists():
        return day_statuses(home), []
    landed = home.landed()
    with Warehouse(home).look() as con:
        writes = Writes(con)
        return _days_of(con, home, landed, writes), _periods_of(home, landed, writes)


def day_statuses(home: Home) -> list[DayStatus]:
    """Every day that has landed, is in the warehouse, or ought to have landed by now, in order."""
    if not Warehouse(home).exists():
        landed = home.landed()
        there = set(landed)
        return [
            _status(day, set(), {}, {}, {}, None, delivered=day in there)
            for day in sorted({*landed, *home.due(landed)})
        ]
    with Warehouse(home).look() as con:
        return days_of(con, home)


def days_of(con: Connection, home: Home) -> list[DayStatus]:
    """`day_statuses` on a connection that is open already."""
    return _days_of(con, home, home.landed(), Writes(con))


def _days_of(con: Connection, home: Home, landed: list[date], writes: Writes) -> list[DayStatus]:
    there = set(landed)
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
           sum(amount_micros) FILTER (starts_with(account, 'carry:')
             OR starts_with(account, 'dispute:'))::BIGINT AS carry
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
    closed = closed_through(con)
    made = {day for day in writes.days if day in loads or day in money}
    days = sorted({*landed, *made, *home.due(landed)})
    waiting = waiting_files(con, home.landing)
    first, _ = home.calendar(landed)
    in_calendar = [day for day in landed if day >= first]
    notes = (
        unloaded_snapshots(waiting, days)
        | {
            day: f"{files[0]}{' and others' if len(files) > 1 else ''}: not loaded as it is now"
            for day, files in waiting.items()
        }
        | moved_floors(con)
        | days_with_moved_ids(con)
        | _known_since(con)
        | stale_days(con, writes, home.policies, days, in_calendar, closed=closed)
    )
    return [
        _status(
            day,
            writes.tables(day),
            loads.get(day, {}),
            money.get(day, {}),
            paid.get(day, {}) | revisions.get(day, {}),
            notes.get(day),
            closed=closed is not None and day <= closed,
            delivered=day in made or day in there,
        )
        for day in days
    ]


def period_statuses(home: Home) -> list[PeriodStatus]:
    """Every whole week and month of the calendar of which a day has landed, asset by asset."""
    if not Warehouse(home).exists():
        return []
    with Warehouse(home).look() as con:
        return _periods_of(home, home.landed(), Writes(con))


def _periods_of(home: Home, landed: list[date], writes: Writes) -> list[PeriodStatus]:
    policies, calendar, missing = home.policies, home.calendar(landed), home.missing(landed)
    found = []
    for asset in periodic():
        span = SPANS[TABLES[asset].span]
        for first in span.within(*calendar):
            last = span.last(first)
            days = _between(landed, first, last)
            if not days:
                continue
            lacking = [day for day in _between(missing, first, last) if day > landed[0]]
            state, note = _period(asset, first, last, days, writes, policies)
            if lacking:
                state, note = "waiting", f"no files for {in_words(lacking)}"
            found.append(PeriodStatus(asset, first, last, state, note))
    return found


def _period(
    asset: str, first: date, last: date, days: list[date], writes: Writes, policies: PolicyBook
) -> tuple[PeriodState, str]:
    made_from, made = MADE_FROM[asset], writes.of.get((asset, last))
    for day in days:
        if any((source, day) not in writes.of for source in made_from.needs):
            return "waiting", f"earnings run --from {day} --to {days[-1]}"
    again = f"earnings run --asset {asset} --from {first} --to {last}"
    if made is None:
        return "due", again
    policy = _in_force(policies, last + DAY if made_from.windows else last)
    seen = [
        *((s, day, days_back(made_from, s, policy)) for s in made_from.needs for day in days),
        *((source, first - DAY, 1) for source in made_from.before),
    ]
    for source, day, back in seen:
        change = writes.latest(source, day, back)
        if change and change[0] >= made.made:
            return "stale", f"changed: {source} of {change[1]}; {again}"
    return "made", ""


def _between(days: list[date], first: date, last: date) -> list[date]:
    """Those of days in order that lie in a period."""
    return days[bisect_left(days, first) : bisect_right(days, last)]


def _in_force(policies: PolicyBook, day: date) -> Policy | None:
    try:
        return policies.in_force(day)
    except PolicyError:
        return None


def ready_periods(home: Home, span: Span, first: date, last: date) -> list[tuple[date, date]]:
    """First days of the first and last of the periods to make after the days from `first` to
    `last`, as runs of consecutive ones.

    These are the whole periods of the calendar whose last landed day is among those days and whose
    landed days are all made.
    """
    made = {d.day for d in day_statuses(home) if d.state not in ("missing", "landed", "partial")}
    landed = home.landed()
    missing = home.missing(landed)
    runs: list[tuple[date, date]] = []
    for begin in span.within(*home.calendar(landed)):
        days = _between(landed, begin, span.last(begin))
        if not days or not first <= days[-1] <= last or not made.issuperset(days):
            continue
        if any(day > landed[0] for day in _between(missing, begin, span.last(begin))):
            continue
        if runs and span.last(runs[-1][1]) + DAY == begin:
            runs[-1] = (runs[-1][0], begin)
        else:
            runs.append((begin, begin))
    return runs


def warnings_and_carried(home: Home) -> tuple[list[dict[str, Any]], list[CarriedPool]]:
    """What somebody should look at: warnings of days, and pools whose money nobody could be paid
    from so far.
    """
    if not Warehouse(home).exists():
        return [], []
    with Warehouse(home).look() as con:
        return warnings_of(con), carried_pools(con)


def what_accounts_move(home: Home) -> dict[str, Any] | None:
    """What one unverified account could have moved on the newest day that was judged, what ten
    could each, in viewer-days, and how far apart the day's scores are; None before there is one.
    """
    if not Warehouse(home).exists():
        return None
    with Warehouse(home).look() as con:
        found = con.execute(
            """WITH newest AS (FROM manipulation WHERE viewer_day_micros > 0
                               QUALIFY day = max(day) OVER ())
               SELECT day, max(account_micros / viewer_day_micros),
                   max(ten_micros / 10 / viewer_day_micros),
                   max(taken_micros / viewer_day_micros), any_value(account_limit),
                   arg_max(video_id, (account_micros, video_id)),
                   (SELECT count(*) FROM ad_views WHERE ad_views.day = newest.day), count(*),
                   (SELECT stddev(ln(quality)) FROM video_quality AS q
                    WHERE q.day = newest.day AND quality > 0)
               FROM newest GROUP BY day"""
        ).fetchall()
    names = (
        *("day", "one_account", "each_of_ten", "taken_by_one", "limit", "look_first_at"),
        *("bounded_videos", "videos", "sd_ln_quality"),
    )
    return dict(zip(names, (str(found[0][0]), *found[0][1:]), strict=True)) if found else None


def quarantine(home: Home) -> list[dict[str, Any]]:
    """Rows in quarantine by day, table and reason, with one example of where to look."""
    if not Warehouse(home).exists():
        return []
    with Warehouse(home).look() as con:
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
    written: Collection[str],
    loads: dict[str, Any],
    money: dict[str, Any],
    paid: dict[str, Any],
    stale: str | None,
    *,
    closed: bool = False,
    delivered: bool = True,
) -> DayStatus:
    lacking = [
        stage
        for stage in STAGES
        if stage not in written
        # a day that an earlier version scored, which knew no evidence, lacks nothing
        and not (stage == "video_evidence" and "video_quality" in written)
    ]
    state: State
    if not delivered:
        state, note = "missing", "no files: deliver it, if only with header lines"
    elif not written:
        state, note = "landed", f"earnings run --from {day} --to {day}"
    elif lacking:
        state, note = "partial", f"lacks {', '.join(lacking)}"
    elif stale:
        state, note = "stale", stale
    else:
        state, note = "closed" if closed else "complete", ""
    if closed and note:
        note += f"{_CLOSED}earnings restate --day {day} --reason '...'"
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


def _by_day(con: Connection, sql: str) -> dict[date, dict[str, Any]]:
    return {row["day"]: row for row in as_dicts(con.execute(sql))}
