"""What the workbench shows of a home: read from the published copy, a query a question.

What belongs here: questions and their rows as plain values; amounts are whole micros. What another
policy would pay is in `sketch.py` (about) and `whatif/` (exactly).
"""

from __future__ import annotations

from dataclasses import asdict
from datetime import date
from typing import Any, Literal

from pipelines.ledger.explanation import explain_creator
from pipelines.ledger.statement import creator_month
from pipelines.ledger.statement import html as statement_page
from pipelines.payouts.state import PLACES, money_state
from pipelines.settings import Home
from pipelines.sql import as_dicts
from pipelines.store.warehouse import Connection, closed_through

PAGE = 50
SORTS = ("creator_id", "followers", "ads", "pulse", "coins", "bonus", "total")
"""Columns that the table of creators can be sorted by."""

Order = Literal["asc", "desc"]


def days(con: Connection) -> list[dict[str, Any]]:
    """Every made day: what was taken in, where it went, under which policy; and in shadow, if it
    was.
    """
    rows = as_dicts(
        con.execute(
            """WITH money AS (
                 SELECT day,
                   -sum(amount_micros) FILTER (starts_with(account, 'revenue:')) AS gross,
                   sum(amount_micros) FILTER (starts_with(account, 'creator:')) AS creators,
                   sum(amount_micros) FILTER (account = 'platform') AS platform
                 FROM ledger_entries WHERE part <> 'statement' GROUP BY day),
               shadow AS (SELECT day, sum(total_micros) AS shadow FROM shadow_earnings GROUP BY day),
               paid AS (SELECT day, count(*) AS n, any_value(policy_hash) AS policy
                        FROM creator_earnings GROUP BY day),
               w AS (SELECT DISTINCT day FROM written_days WHERE table_name = 'creator_earnings')
               SELECT day, coalesce(gross, 0)::BIGINT AS gross, coalesce(creators, 0)::BIGINT AS creators,
                      coalesce(platform, 0)::BIGINT AS platform, shadow::BIGINT AS shadow,
                      coalesce(n, 0) AS paid, policy
               FROM w LEFT JOIN money USING (day) LEFT JOIN paid USING (day) LEFT JOIN shadow USING (day)
               ORDER BY day"""
        )
    )
    closed = closed_through(con)
    return [
        {**row, "day": str(row["day"]), "closed": closed is not None and row["day"] <= closed}
        for row in rows
    ]


def creators(
    con: Connection, first: date, last: date, *, search: str, sort: str, order: Order, offset: int
) -> dict[str, Any]:
    """A page of the creators who earned anything on the days, and how many there are."""
    if sort not in SORTS or order not in ("asc", "desc"):
        raise ValueError(f"sort by one of {', '.join(SORTS)}, asc or desc")
    parts = ", ".join(
        f"sum({part}_micros)::BIGINT AS {part}" for part in ("pulse", "coins", "bonus", "total")
    )
    asked = {"first": first, "last": last, "search": search.lower(), "offset": max(offset, 0)}
    rows = as_dicts(
        con.execute(
            f"""WITH earned AS (
                  SELECT creator_id, sum(ads_micros + carry_micros)::BIGINT AS ads, {parts}
                  FROM creator_earnings WHERE day BETWEEN $first AND $last
                    AND contains(lower(creator_id), $search) GROUP BY creator_id),
                known AS (SELECT creator_id, coalesce(arg_max_null(followers, day), 0)::BIGINT
                            AS followers FROM creators WHERE day <= $last GROUP BY creator_id)
                SELECT creator_id, coalesce(followers, 0)::BIGINT AS followers, ads, pulse, coins,
                       bonus, total, count(*) OVER () AS found
                FROM earned LEFT JOIN known USING (creator_id)
                ORDER BY {sort} {order}, creator_id LIMIT {PAGE} OFFSET $offset""",
            asked,
        )
    )
    found = rows[0]["found"] if rows else 0
    return {
        "found": found,
        "page": PAGE,
        "rows": [{k: v for k, v in row.items() if k != "found"} for row in rows],
    }


def creator(con: Connection, creator_id: str) -> dict[str, Any]:
    """A creator's days: what was paid by part, and what it would be in shadow."""
    rows = as_dicts(
        con.execute(
            """SELECT c.day, c.ads_micros + c.carry_micros AS ads, c.pulse_micros AS pulse,
                      c.coins_micros AS coins, c.bonus_micros AS bonus, c.total_micros AS total,
                      s.total_micros AS shadow
               FROM creator_earnings AS c LEFT JOIN shadow_earnings AS s USING (day, creator_id)
               WHERE creator_id = ? ORDER BY c.day""",
            [creator_id],
        )
    )
    return {"creator_id": creator_id, "days": [{**row, "day": str(row["day"])} for row in rows]}


def explained(con: Connection, creator_id: str, day: date) -> dict[str, Any]:
    """Why the creator got this amount on the day: words, sources and videos."""
    found = explain_creator(con, creator_id, day)
    return {
        "words": found.words,
        "total": found.total_micros,
        "sources": [
            {"source": name, "micros": micros} for name, micros in found.sources.items() if micros
        ],
        "videos": [
            {
                "video_id": video.video_id,
                "total": video.total_micros,
                "words": video.words,
                "payouts": [
                    {
                        "title": payout.title,
                        "paid": payout.paid_micros,
                        "words": payout.words,
                        "parts": [
                            {"part": part.label, "micros": part.micros}
                            for part in payout.parts
                            if part.micros
                        ],
                    }
                    for payout in video.payouts
                ],
            }
            for video in found.videos[:20]
        ],
        "more_videos": max(len(found.videos) - 20, 0),
    }


def statement(con: Connection, creator_id: str, month: date) -> str:
    """The creator's statement of the month, as the page that is sent."""
    return statement_page(creator_month(con, creator_id, month.year, month.month))


def quarantine(con: Connection) -> list[dict[str, Any]]:
    """Rows in quarantine by day, table and reason, with where the first is."""
    rows = con.execute(
        """SELECT day, table_name, reason, count(*) AS rows,
                  arg_min(file, (file, line)) || ':' || arg_min(line, (file, line)) AS first
           FROM quarantine GROUP BY ALL ORDER BY day DESC, rows DESC, table_name LIMIT 500"""
    ).fetchall()
    names = ("day", "table", "reason", "rows", "first")
    return [dict(zip(names, (str(row[0]), *row[1:]), strict=True)) for row in rows]


def gaming(con: Connection) -> list[dict[str, Any]]:
    """By day, what one account or ten could have moved for a video, in a viewer's pay: median, 99
    of 100, and the most; days on which it was judged.
    """
    rows = as_dicts(
        con.execute(
            """SELECT day, count(*) AS videos,
                      median(account_micros / nullif(viewer_day_micros, 0)) AS median_account,
                      quantile_cont(account_micros / nullif(viewer_day_micros, 0), 0.99)
                        AS account_99,
                      max(account_micros / nullif(viewer_day_micros, 0)) AS most_account,
                      max(ten_micros / nullif(viewer_day_micros, 0)) AS most_ten,
                      arg_max(video_id, account_micros) AS video_id
               FROM manipulation GROUP BY day ORDER BY day"""
        )
    )
    return [{**row, "day": str(row["day"])} for row in rows]


def money(con: Connection, home: Home, today: date) -> dict[str, Any] | None:
    """Where creators' money is, place by place; payments that the bank did not answer in time, and
    creators whose money is astray. None before anything was stated.
    """
    if closed_through(con) is None:
        return None
    days = home.settings.payouts.clearing_days
    found = money_state(con, on=today, clearing_days=days)
    return {
        "earned": found.earned,
        "places": [
            {"place": name, "meaning": PLACES[name], "micros": micros}
            for name, micros in found.places.items()
        ],
        "waiting": [
            {**asdict(payment), "requested_on": str(payment.requested_on)}
            for payment in found.waiting
        ],
        "astray": list(found.astray),
    }
