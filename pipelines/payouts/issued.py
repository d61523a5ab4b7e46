"""The statements of a closing, of all creators at once: what was stated, every line behind it, and
what became of it.

What belongs here: reading the book, a fixed number of queries for some thousand creators, never one
for each. How a statement is shown is in `documents.py`; why a pool paid what it paid, one creator
at a time, in `ledger/statement.py`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from pipelines.errors import ExpectedError
from pipelines.ledger.revenue import ESTIMATED, KINDS
from pipelines.ledger.whereabouts import PAYMENTS, TRANSFER, Transfer, Waiting
from pipelines.settings import Home
from pipelines.sql import as_dicts, query
from pipelines.store.warehouse import Connection

AT_ONCE = 5_000
"""Creators in memory at a time."""

TOP_VIDEOS = 10

WHY_NOT_PAID = {
    "no payee": "no account to pay to is known",
    "other currency": "the account is in another currency",
    "held": "held",
    "returned": "a payment came back; the account must be corrected",
    "debt": "kept against what was paid too much before",
    "below minimum": "below the minimum",
    "pay": "with the next run",
    "nothing": "nothing to pay",
}


class NoStatementsError(ExpectedError, LookupError):
    """There are no statements to show: says what there is."""


@dataclass(frozen=True)
class Line:
    """A line of the account (micros): what was earned on a day, or a correction of one."""

    day: date
    booked_day: date
    part: str
    correction: bool
    reason: str
    micros: int


@dataclass(frozen=True)
class Detail:
    """Something that is told beside the account: of a day or a video, with a reason and, where it
    has one, an amount (micros).
    """

    day: date
    what: str
    video_id: str
    reason: str
    micros: int | None
    before_micros: int | None = None


@dataclass(frozen=True)
class Past:
    """An earlier statement, or this one."""

    day: date
    first_day: date
    earned_micros: int
    restated_micros: int
    paid_cents: int
    carried_forward_micros: int


@dataclass(frozen=True)
class Issued:
    """One creator's statement. brought forward + earned + restated = 10,000 x stated cents +
    carried forward; `lines` sum to earned and restated. All of it but `transfers` and `waiting`,
    which are as things stand now, was fixed when the days were closed; `estimates`, `taken_out` and
    `videos` are the days as their tables stand now.
    """

    creator_id: str
    statement: Past
    brought_forward_micros: int
    lines: Sequence[Line]
    corrections: Sequence[Detail]
    taken_out: Sequence[Detail]
    estimates: Sequence[tuple[date, int]]
    videos: Sequence[tuple[str, int]]
    transfers: Sequence[Transfer]
    waiting: Sequence[Waiting]
    history: Sequence[Past]
    owner: str | None
    locale: str | None

    @property
    def estimated_micros(self) -> int:
        return sum(micros for _, micros in self.estimates)

    @property
    def state(self) -> str:
        """In a word or two where this creator's stated money is now."""
        words = [w.why for w in self.waiting]
        words += sorted({t.state for t in self.transfers if t.state != "returned"})
        return ", ".join(dict.fromkeys(words)) or "nothing stated"


@dataclass
class _Found:
    """Rows of some creators, by creator."""

    lines: dict[str, list[Line]] = field(default_factory=lambda: defaultdict(list))
    corrections: dict[str, list[Detail]] = field(default_factory=lambda: defaultdict(list))
    taken_out: dict[str, list[Detail]] = field(default_factory=lambda: defaultdict(list))
    estimates: dict[str, list[tuple[date, int]]] = field(default_factory=lambda: defaultdict(list))
    videos: dict[str, list[tuple[str, int]]] = field(default_factory=lambda: defaultdict(list))
    transfers: dict[str, list[Transfer]] = field(default_factory=lambda: defaultdict(list))
    waiting: dict[str, list[Waiting]] = field(default_factory=lambda: defaultdict(list))
    history: dict[str, list[Past]] = field(default_factory=lambda: defaultdict(list))
    payees: dict[str, tuple[str | None, str | None]] = field(default_factory=dict)


def closing_of(con: Connection, through: date | None) -> tuple[date, date]:
    """First and last day of a closing: of the one that ends on `through`, or of the last.

    Raises
    ------
    NoStatementsError
        Nothing is closed, or no closing ends there.
    """
    closings = dict(
        con.execute(
            "SELECT day, min(first_day) FROM statements GROUP BY day ORDER BY day"
        ).fetchall()
    )
    if not closings:
        raise NoStatementsError("no statement is issued yet: earnings close")
    last = through or max(closings)
    if last not in closings:
        raise NoStatementsError(
            f"no closing ends on {last}; the last ones end on"
            f" {', '.join(str(day) for day in sorted(closings)[-5:])}"
        )
    return closings[last], last


def issued(
    con: Connection, home: Home, through: date, *, on: date, creators: Sequence[str] | None = None
) -> Iterator[Issued]:
    """Every statement of the closing that ends on `through`, by creator; or those of `creators`.

    `on`: the day as of which holds and reserves are judged.
    """
    first, last = closing_of(con, through)
    ids = [
        creator
        for (creator,) in con.execute(
            "SELECT creator_id FROM statements WHERE day = ? ORDER BY creator_id", [last]
        ).fetchall()
    ]
    if creators is not None:
        if missing := sorted(set(creators) - set(ids)):
            raise NoStatementsError(
                f"the closing through {last} has no statement of {', '.join(missing)}"
            )
        ids = sorted(set(creators))
    con.execute(
        f"CREATE OR REPLACE TEMP TABLE plan_now AS {query('payouts/plan')}",
        {
            "through": last,
            "on": on,
            "currency": home.settings.currency or "",
            "minimum_cents": home.settings.payouts.minimum_cents,
            "released": [],
            "waived": [],
            "retried": [],
        },
    )
    for begin in range(0, len(ids), AT_ONCE):
        some = ids[begin : begin + AT_ONCE]
        con.execute("CREATE OR REPLACE TEMP TABLE chosen AS SELECT unnest(?) AS creator_id", [some])
        yield from _put_together(con, some, _read(con, first, last, on), last)


def _put_together(
    con: Connection, creators: Iterable[str], found: _Found, last: date
) -> Iterator[Issued]:
    brought = dict(
        con.execute(
            "SELECT creator_id, brought_forward_micros FROM statements"
            " WHERE day = ? AND creator_id IN (FROM chosen)",
            [last],
        ).fetchall()
    )
    for creator in creators:
        now = next(past for past in found.history[creator] if past.day == last)
        owner, locale = found.payees.get(creator, (None, None))
        lines = found.lines[creator]
        sums = [sum(li.micros for li in lines if li.correction is which) for which in (False, True)]
        if sums != [now.earned_micros, now.restated_micros]:
            raise AssertionError(
                f"{creator}: lines come to {sums}, the statement through {last} to"
                f" {[now.earned_micros, now.restated_micros]}"
            )
        yield Issued(
            creator,
            now,
            brought[creator],
            lines,
            found.corrections[creator],
            found.taken_out[creator],
            found.estimates[creator],
            found.videos[creator],
            found.transfers[creator],
            found.waiting[creator],
            found.history[creator],
            owner,
            locale,
        )


def _read(con: Connection, first: date, last: date, on: date) -> _Found:
    found, which = _Found(), {"first": first, "last": last}

    def ask(sql: str, **more: Any) -> list[tuple[Any, ...]]:
        names = {**which, **more}
        used = {name: value for name, value in names.items() if f"${name}" in sql}
        return con.execute(sql, used).fetchall()

    for creator, *line in ask(
        """SELECT owner_of(account) AS creator_id, t.day, booked_day, part,
                NOT (t.day >= $first OR (kind = 'bonus' AND revision = 1)) AS correction,
                CASE WHEN correction THEN reason ELSE '' END AS why, sum(amount_micros)::BIGINT
           FROM ledger_entries AS e JOIN ledger_transactions AS t USING (txn_id)
           WHERE booked_day BETWEEN $first AND $last AND kind <> 'statement'
             AND starts_with(account, 'creator:') AND owner_of(account) IN (FROM chosen)
           GROUP BY ALL HAVING sum(amount_micros) <> 0 ORDER BY ALL"""
    ):
        found.lines[creator].append(Line(*line))
    for creator, day, kind, video, reason, decided, part, before, after in ask(
        """SELECT creator_id, c.day, c.kind, video_id, c.reason, decided_on, part,
                before_micros, after_micros
           FROM video_corrections AS c JOIN ledger_transactions AS t USING (txn_id)
           WHERE c.booked_day BETWEEN $first AND $last AND creator_id IN (FROM chosen)
           ORDER BY creator_id, c.day, seq, number, video_id, part"""
    ):
        why = f"{KINDS[kind]}: {reason}" + (f", decided on {decided}" if decided else "")
        change = after - before
        found.corrections[creator].append(Detail(day, part, video, why, change, before))
    for creator, day, what, video, reason, decided, amount in ask(
        """SELECT arg_max(v.creator_id, v.day) AS creator_id, d.day, table_name, d.video_id, reason,
                decided_on, any_value(d.amount)
           FROM (SELECT day, table_name, video_id, reason, decided_on, sum(amount)::BIGINT AS amount
                 FROM deductions WHERE day BETWEEN $first AND $last GROUP BY ALL) AS d
           JOIN videos AS v ON v.video_id = d.video_id AND v.day <= d.day
           GROUP BY d.day, table_name, d.video_id, reason, decided_on
           HAVING creator_id IN (FROM chosen) ORDER BY ALL"""
    ):
        micros = amount if what == "ad_revenue" else None
        named = {"ad_revenue": "ads next to it", "gifts": f"{amount:,} coins"}
        words = named.get(what, f"{amount:,} sessions")
        found.taken_out[creator].append(
            Detail(day, words, video, f"{reason}, decided on {decided}", micros)
        )
    for day, creator, micros in ask(
        f"SELECT * FROM ({ESTIMATED.replace('$creator', 'NULL')}) WHERE creator_id IN (FROM chosen)"
    ):
        found.estimates[creator].append((day, micros))
    for creator, video, micros in ask(
        f"""FROM (
              SELECT creator_id, video_id, sum(micros)::BIGINT AS micros FROM (
                SELECT day, creator_id, video_id, payout_micros AS micros FROM ad_payouts
                UNION ALL SELECT day, creator_id, video_id, payout_micros FROM pulse_payouts
                UNION ALL SELECT day, creator_id, video_id, payout_micros FROM donation_splits)
              WHERE day BETWEEN $first AND $last AND creator_id IN (FROM chosen)
              GROUP BY ALL HAVING sum(micros) > 0)
            QUALIFY row_number() OVER (PARTITION BY creator_id ORDER BY micros DESC, video_id)
              <= {TOP_VIDEOS}
            ORDER BY creator_id, micros DESC, video_id"""
    ):
        found.videos[creator].append((video, micros))
    for creator, *transfer in ask(
        f"""SELECT owner_of(e.account) AS creator_id, {TRANSFER} FROM {PAYMENTS}
            WHERE starts_with(e.account, 'clearing:') AND owner_of(e.account) IN (FROM chosen)
            GROUP BY ALL ORDER BY creator_id, p.requested_on, p.payment_id"""
    ):
        found.transfers[creator].append(Transfer(*transfer))
    for creator, kind, until, micros, state, hold in ask(
        """SELECT held.*, state, hold_until FROM (
             SELECT owner_of(account) AS creator_id, split_part(account, ':', 1) AS kind,
               CASE WHEN starts_with(account, 'reserve:') THEN part[9:]::DATE END AS until,
               sum(amount_micros)::BIGINT AS micros
             FROM ledger_entries
             WHERE split_part(account, ':', 1) IN ('statement', 'hold', 'reserve', 'returned')
               AND owner_of(account) IN (FROM chosen)
             GROUP BY ALL HAVING sum(amount_micros) <> 0) AS held
           LEFT JOIN plan_now USING (creator_id) ORDER BY creator_id, kind, until"""
    ):
        match kind:
            case "reserve":
                waits = Waiting("kept back", until, micros)
            case "returned":
                waits = Waiting(WHY_NOT_PAID["returned"], None, micros)
            case "hold":
                waits = Waiting(WHY_NOT_PAID["held"], hold, micros)
            case _:
                held = hold if state == "held" else None
                waits = Waiting(WHY_NOT_PAID[state or "no payee"], held, micros)
        found.waiting[creator].append(waits)
    for creator, *past in ask(
        """SELECT creator_id, day, first_day, earned_micros, restated_micros, paid_cents,
                carried_forward_micros
           FROM statements WHERE day <= $last AND creator_id IN (FROM chosen)
           ORDER BY creator_id, day"""
    ):
        found.history[creator].append(Past(*past))
    found.payees = {
        creator: (owner, locale)
        for creator, owner, locale in ask(
            """WITH payee AS (SELECT owner, locale FROM payees WHERE day <= $on
                   QUALIFY row_number() OVER (PARTITION BY owner ORDER BY day DESC) = 1),
                 identity AS (SELECT creator_id, identity_id FROM creators WHERE day <= $on
                   QUALIFY row_number() OVER (PARTITION BY creator_id ORDER BY day DESC) = 1)
               SELECT c.creator_id, coalesce(own.owner, shared.owner),
                 CASE WHEN own.owner IS NULL THEN shared.locale ELSE own.locale END
               FROM chosen AS c LEFT JOIN identity USING (creator_id)
               LEFT JOIN payee AS own ON own.owner = 'creator:' || c.creator_id
               LEFT JOIN payee AS shared ON shared.owner = 'identity:' || identity_id""",
            on=on,
        )
    }
    return found


def year_totals(con: Connection, year: int, through: date) -> list[dict[str, Any]]:
    """Of every payee and year (cents): what was stated through a day, and what was paid, returned
    or is with the bank of what was asked for in the year; accounts without a payee are their own.

    What was paid counts in the year in which the bank did it.
    """
    return as_dicts(
        con.execute(
            """WITH identity AS (SELECT creator_id, identity_id FROM creators
                 QUALIFY row_number() OVER (PARTITION BY creator_id ORDER BY day DESC) = 1),
               payee AS (SELECT owner, name, country FROM payees
                 QUALIFY row_number() OVER (PARTITION BY owner ORDER BY day DESC) = 1),
               owned AS (
                 SELECT creator_id, coalesce(own.owner, shared.owner, 'creator:' || creator_id)
                   AS owner
                 FROM (SELECT DISTINCT creator_id FROM statements) AS s
                 LEFT JOIN identity USING (creator_id)
                 LEFT JOIN payee AS own ON own.owner = 'creator:' || creator_id
                 LEFT JOIN payee AS shared ON shared.owner = 'identity:' || identity_id),
               told AS (
                 SELECT owner, string_agg(DISTINCT creator_id, ' ' ORDER BY creator_id)
                     AS creators, sum(paid_cents)::BIGINT AS stated_cents
                 FROM statements JOIN owned USING (creator_id)
                 WHERE year(day) = $year AND day <= $through GROUP BY owner),
               answers AS (
                 SELECT payment_id, arg_max(outcome, seq) AS outcome,
                   arg_max(happened_on, seq) AS happened_on
                 FROM settlements JOIN ledger_transactions USING (txn_id) GROUP BY payment_id),
               sent AS (
                 SELECT owner,
                   coalesce(sum(amount_cents) FILTER (outcome = 'paid'
                     AND year(happened_on) = $year), 0)::BIGINT AS paid_cents,
                   coalesce(sum(amount_cents) FILTER (outcome = 'returned'
                     AND year(happened_on) = $year), 0)::BIGINT AS returned_cents,
                   coalesce(sum(amount_cents) FILTER (outcome IS NULL
                     AND year(requested_on) = $year), 0)::BIGINT AS sent_cents
                 FROM payments LEFT JOIN answers USING (payment_id) GROUP BY owner)
               SELECT $year AS year, owner, coalesce(name, '') AS name,
                 coalesce(country, '') AS country, coalesce(creators, '') AS creators,
                 coalesce(stated_cents, 0) AS stated_cents, coalesce(paid_cents, 0) AS paid_cents,
                 coalesce(returned_cents, 0) AS returned_cents,
                 coalesce(sent_cents, 0) AS sent_cents
               FROM told FULL JOIN sent USING (owner) LEFT JOIN payee USING (owner)
               WHERE coalesce(stated_cents, 0) + coalesce(paid_cents, 0)
                 + coalesce(returned_cents, 0) + coalesce(sent_cents, 0) > 0
               ORDER BY owner""",
            {"year": year, "through": through},
        )
    )
