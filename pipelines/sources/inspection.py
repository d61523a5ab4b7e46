"""What is out of the ordinary in a day's input: counted when the day is loaded, while it is at
hand.

What belongs here: figures about rows of one landing table. None of them changes what becomes of a
row; that is decided in `landing.py` and `copies.py`. Figures about two tables (viewers that no
snapshot knows, labels that no video has) are counted by the asset that joins them.
"""

from __future__ import annotations

from datetime import date

from pipelines.money import money
from pipelines.runs.figures import Figure
from pipelines.schema import Table
from pipelines.sources.decisions import MONEY, TAKEN_OUT
from pipelines.store.warehouse import Connection

NEAR_DAYS = 7  # events are compared with those of so many days before and after
DAY_MS = 86_400_000
TOO_MUCH, TOO_MANY = 0.2, 20  # one viewer: share of a day's events, and how many
ACCOUNTS = 5  # one identity: accounts, and the same share of all

IN_THE_BOOK = "%: in the book already (%"
"""Reasons (LIKE) of rows whose money counts on another day: refusing them loses nothing."""


def inspect(con: Connection, table: Table, day: date) -> list[Figure]:
    """Figures of the stage and of the loaded day."""
    figures = [*_emptied(con, table), *_assumed(con, table), *_lost_creators(con, table, day)]
    match table.name:
        case "gifts" | "ad_revenue":
            figures += _refused_money(con, table)
        case "creators":
            figures += _identities(con)
        case "viewer_events":
            figures += _sessions(con, day)
    return figures


def _emptied(con: Connection, table: Table) -> list[Figure]:
    """Placeholders where nothing need stand, which count as empty."""
    if not any(_may_be_emptied(c.name, table) for c in table.landing_columns):
        return []
    count, total, columns = con.execute(
        "SELECT count(*) FILTER (emptied <> ''), count(*), string_agg(DISTINCT emptied, ', ')"
        " FILTER (emptied <> '') FROM stage WHERE verdict IS NULL"
    ).fetchall()[0]
    warning = count and (
        f"{count} of {total} rows have a placeholder such as null as {columns}; they count as empty"
    )
    return [Figure("placeholders_as_empty", count, total, warning or None)]


def _assumed(con: Connection, table: Table) -> list[Figure]:
    """How often the default of a column stood in that decides something."""
    names = [c.name for c in table.landing_columns if c.counted]
    if not names:
        return []
    assumed, total = con.execute(
        "SELECT count(*) FILTER (assumed), count(*) FROM stage WHERE verdict IS NULL"
    ).fetchall()[0]
    return [Figure(f"{'_'.join(names)}_by_default", assumed, total)]


def _may_be_emptied(name: str, table: Table) -> bool:
    column = next(c for c in table.columns if c.name == name)
    return (column.identifies and not column.required) or column.type == "VARCHAR[]"


def _lost_creators(con: Connection, table: Table, day: date) -> list[Figure]:
    """Creators of whom every row was refused, among those who have a row."""
    columns = {c.name for c in table.landing_columns}
    if "creator_id" in columns:
        known = "SELECT file, line, verdict, creator_id FROM stage WHERE creator_id IS NOT NULL"
    elif "video_id" in columns:
        known = """SELECT s.file, s.line, s.verdict, v.creator_id FROM stage AS s
            JOIN (SELECT video_id, arg_max(creator_id, day) AS creator_id FROM videos
                  WHERE day <= $day GROUP BY video_id) AS v USING (video_id)"""
    else:
        return []
    refused = (
        f"verdict IS NOT NULL AND verdict NOT IN ('duplicate', '{TAKEN_OUT}')"
        f" AND verdict NOT LIKE '{IN_THE_BOOK}'"
    )
    if not con.execute(f"SELECT count(*) FROM stage WHERE {refused}").fetchall()[0][0]:
        return []
    lost, total, example = con.execute(
        f"""SELECT count(*) FILTER (kept = 0), count(*), min(creator_id) FILTER (kept = 0)
            FROM (SELECT creator_id, count(*) FILTER (NOT coalesce({refused}, false)) AS kept
                  FROM ({known}) GROUP BY creator_id)""",
        {"day": day} if "$day" in known else None,
    ).fetchall()[0]
    warning = lost and (
        f"every row of {lost} of {total} creators is in quarantine ({example}"
        f"{' and others' if lost > 1 else ''})"
    )
    return [Figure("quarantined_creators", lost, total, warning or None)]


def _refused_money(con: Connection, table: Table) -> list[Figure]:
    amount = MONEY[table.name].amount
    refused = f"verdict <> 'duplicate' AND verdict NOT LIKE '{IN_THE_BOOK}'"
    known, unknown, example, back, taken_back, loaded, copies = con.execute(
        f"""SELECT coalesce(sum({amount}) FILTER ({refused} AND {amount} > 0), 0)::HUGEINT,
                count(*) FILTER ({refused} AND {amount} IS NULL),
                arg_min(file || ':' || line || ' ' || verdict, (file, line))
                FILTER ({refused} AND {amount} IS NULL),
                count(*) FILTER ({refused} AND {amount} < 0),
                coalesce(sum({amount}) FILTER ({refused} AND {amount} < 0), 0)::HUGEINT,
                coalesce(sum({amount}) FILTER (verdict IS NULL), 0)::HUGEINT,
                count(*) FILTER (verdict LIKE '{IN_THE_BOOK}') FROM stage"""
    ).fetchall()[0]

    def say(value: int) -> str:
        return f"{value} coins" if amount == "coins" else money(value)

    total = known + loaded
    share = f", {known / total:.1%} of the day" if total else ""
    held = "The day cannot be closed before it is mended or accepted"
    return [
        Figure(
            "unknown_money_rows",
            unknown,
            None,
            f"{unknown} row{'s' * (unknown > 1)} with no amount that can be read ({example}): how"
            f" much money is missing is unknown. {held}"
            if unknown
            else None,
        ),
        Figure(
            f"quarantined_{amount}",
            min(known, 2**63 - 1),
            min(total, 2**63 - 1),
            f"{say(known)}{share}, is in quarantine. {held}" if known else None,
        ),
        Figure(
            "taken_back_rows",
            back,
            None,
            f"{back} row{'s' * (back > 1)} with {say(-taken_back)} less than nothing: money is taken"
            f" back by a decision about its booking (invalid_traffic, docs/data.md). {held}"
            if back
            else None,
        ),
        Figure(
            "copies_of_other_days",
            copies,
            None,
            f"{copies} row{'s' * (copies > 1)} came again that count on another day already"
            if copies
            else None,
        ),
    ]


def _identities(con: Connection) -> list[Figure]:
    accounts, total, identity = con.execute(
        """SELECT coalesce(max(n), 0), coalesce(any_value(all_accounts), 0), arg_max(identity_id, n)
           FROM (SELECT identity_id, count(*) AS n, (SELECT count(*) FROM stage
                 WHERE verdict IS NULL) AS all_accounts
                 FROM stage WHERE verdict IS NULL AND identity_id IS NOT NULL GROUP BY identity_id)"""
    ).fetchall()[0]
    much = accounts >= ACCOUNTS and accounts >= TOO_MUCH * total
    return [
        Figure(
            "largest_identity_accounts",
            accounts,
            total,
            f"identity {identity!r} stands behind {accounts} of {total} accounts, which are paid as"
            " one person"
            if much
            else None,
        )
    ]


def _sessions(con: Connection, day: date) -> list[Figure]:
    which = {"day": day, "near": NEAR_DAYS}
    (elsewhere,) = con.execute(
        """SELECT count(*) FROM viewer_events WHERE day <> $day
           AND day BETWEEN $day::DATE - $near AND $day::DATE + $near
           AND event_id IN (SELECT event_id FROM viewer_events WHERE day = $day)""",
        which,
    ).fetchall()[0]
    (copied,) = con.execute(
        """SELECT coalesce(sum(n - 1), 0)::BIGINT FROM (SELECT count(*) AS n FROM viewer_events
           WHERE day = $day AND repeated GROUP BY viewer_id, video_id, ts, watch_ms)""",
        {"day": day},
    ).fetchall()[0]
    total, most, busiest, overlong, overlong_example = con.execute(
        f"""SELECT coalesce(sum(n), 0)::BIGINT, coalesce(max(n), 0), arg_max(viewer_id, n),
                count(*) FILTER (watched > {DAY_MS}), arg_max(viewer_id, watched)
            FROM (SELECT viewer_id, count(*) AS n, sum(watch_ms) AS watched FROM viewer_events
                  WHERE day = $day GROUP BY viewer_id)""",
        {"day": day},
    ).fetchall()[0]
    (overlapping,) = con.execute(
        """SELECT count(*) FROM (SELECT ts + to_milliseconds(watch_ms) > lead(ts) OVER
               (PARTITION BY viewer_id ORDER BY ts) AS met FROM viewer_events WHERE day = $day)
           WHERE met""",
        {"day": day},
    ).fetchall()[0]
    much = most >= TOO_MANY and most >= TOO_MUCH * total
    return [
        Figure(
            "events_of_other_days",
            elsewhere,
            total,
            f"{elsewhere} events are on another day too, under the same id; both count"
            if elsewhere
            else None,
        ),
        Figure(
            "copied_sessions",
            copied,
            total,
            f"{copied} sessions repeat another under a new id: same viewer, video, start and time"
            " watched; all count"
            if copied
            else None,
        ),
        Figure(
            "busiest_viewer_events",
            most,
            total,
            f"viewer {busiest!r} has {most} of {total} events" if much else None,
        ),
        Figure(
            "viewers_beyond_a_day",
            overlong,
            None,
            f"{overlong} viewers watched longer than a day has ({overlong_example} most)"
            if overlong
            else None,
        ),
        Figure("overlapping_sessions", overlapping, total),
    ]
