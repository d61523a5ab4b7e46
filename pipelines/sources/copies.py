"""Ids of money over all days: a gift or a booking counts once, whatever day it comes again with.

What belongs here: what becomes of a row whose id other days have too, and which days have to be
made again when that changed. Repetitions within a day are judged in `landing.py`.

At-least-once delivery brings a row again with the next day's file, under its id and with a new
time. What a row is worth is therefore a question to the files of all days, and the answer is the
same in whatever order they arrive:

- All copies say the same but for the time: the first day has it, the others refuse theirs.
- Two copies say different things: none can be trusted more than the others, all are refused, as
  within a day.
- A closed day keeps what it has, for it was paid, and all other days refuse theirs.

Every copy is noted in `id_copies`, also those that count. A day that was loaded before its copies
were known is called stale until it is loaded again.
"""

from __future__ import annotations

from collections.abc import Container
from datetime import date

from pipelines.schema import Table
from pipelines.sources.decisions import MONEY
from pipelines.store.warehouse import Connection, closed_through


def conflict_on_a_day(table: Table) -> str:
    """The reason for refusing rows of one day with one key that differ."""
    return f"{', '.join(table.key)}: duplicate with different content"


def judge_copies(con: Connection, table: Table, day: date) -> None:
    """Refuse the rows of the stage whose id another day has, or must have.

    One pass over the ids that other days hold: DuckDB probes them against those of the stage.
    """
    key, content = table.key[0], _content(table)
    delivered = _content(table, stored=True)
    con.execute(f"""CREATE OR REPLACE TEMP TABLE mine AS
            SELECT {key} AS id FROM stage
            WHERE verdict IS NULL OR verdict = '{conflict_on_a_day(table)}'""")
    con.execute(
        f"""CREATE OR REPLACE TEMP TABLE elsewhere AS
            SELECT t.day, {key} AS id, {delivered} AS content, true AS taken
            FROM {table.name} AS t WHERE t.day <> $day AND {key} IN (SELECT id FROM mine)
            UNION ALL
            SELECT c.day, c.id, c.content, false FROM id_copies AS c
            WHERE c.table_name = $table AND c.day <> $day AND NOT c.taken
            AND c.id IN (SELECT id FROM mine)""",
        {"day": day, "table": table.name},
    )
    con.execute("DROP TABLE mine")
    if not con.execute("SELECT count(*) FROM elsewhere").fetchall()[0][0]:
        return
    con.execute(
        f"""UPDATE stage SET verdict = CASE
                WHEN owner IS NOT NULL OR alike THEN
                '{key}: in the book already (' || coalesce(owner, first_day) || ')'
                ELSE '{key}: on another day too, with different content ('
                || first_day || ')' END
            FROM (
                SELECT id, min(e.day) AS first_day,
                    min(e.day) FILTER (taken AND e.day <= $closed) AS owner,
                    min(e.content) = max(e.content) AND min(e.content) = any_value(m.content)
                    AS alike
                FROM elsewhere AS e
                JOIN (SELECT {key} AS id, {content} AS content FROM stage WHERE verdict IS NULL)
                AS m USING (id) GROUP BY id
            ) AS other
            WHERE stage.{key} = other.id AND stage.verdict IS NULL
            AND NOT ($day <= $closed AND {key} IN (SELECT {key} FROM {table.name} WHERE day = $day))
            AND (owner IS NOT NULL OR NOT alike OR first_day < $day)""",
        {"day": day, "closed": closed_through(con) or date.min},
    )


def record_copies(con: Connection, table: Table, day: date) -> None:
    """Note every copy that `judge_copies` found, of this day and of others, and drop what it left.

    Also rows that conflict within the day: a copy that another day brings conflicts with them. They
    are noted with their time, which may be all that they differ in.
    """
    key, conflict = table.key[0], conflict_on_a_day(table)
    content = f"{_content(table)} || CASE WHEN verdict = '{conflict}' THEN ' ' || ts ELSE '' END"
    which = {"day": day, "table": table.name}
    (before,) = con.execute(
        "SELECT count(*) FROM id_copies WHERE table_name = $table AND day = $day", which
    ).fetchall()[0]
    if before:  # a lake takes deleting nothing from a table for a write that disturbs others
        con.execute("DELETE FROM id_copies WHERE table_name = $table AND day = $day", which)
    copies = con.execute(
        f"""SELECT DISTINCT $table, day, id, content, taken FROM (
                SELECT $day::DATE AS day, {key} AS id, {content} AS content,
                    bool_or(verdict IS NULL) AS taken
                FROM stage WHERE verdict = '{conflict}'
                OR {key} IN (SELECT id FROM elsewhere)
                AND (verdict IS NULL OR starts_with(verdict, '{key}: in the book')
                OR starts_with(verdict, '{key}: on another day'))
                GROUP BY ALL
                UNION ALL
                SELECT day, id, content, taken FROM elsewhere AS e
                WHERE taken AND NOT EXISTS (FROM id_copies AS c WHERE c.table_name = $table
                AND (c.day, c.id, c.content) = (e.day, e.id, e.content)))
            ORDER BY ALL""",
        which,
    ).fetchall()
    if copies:
        con.executemany("INSERT INTO id_copies VALUES (?, ?, ?, ?, ?)", copies)
    con.execute("DROP TABLE elsewhere")


def days_with_moved_ids(con: Connection, table: str | None = None) -> dict[date, str]:
    """Open days that have an id which is another day's, or lack one that is theirs, each with a
    note: loading them again puts that right.
    """
    rows = con.execute(
        """WITH copies AS (
               SELECT *, min(content) OVER same = max(content) OVER same AS alike,
                   min(day) OVER same AS first_day, max(day) OVER same AS last_day,
                   coalesce(bool_or(taken AND day <= $closed) OVER same, false) AS owned
               FROM id_copies WHERE $table IS NULL OR table_name = $table
               WINDOW same AS (PARTITION BY table_name, id))
           SELECT day, table_name, min(id),
               arg_min(CASE WHEN day > first_day THEN first_day ELSE last_day END, id), count(*)
           FROM copies
           WHERE day > $closed AND taken <> (NOT owned AND alike AND day = first_day)
           GROUP BY day, table_name ORDER BY day, table_name""",
        {"closed": closed_through(con) or date.min, "table": table},
    ).fetchall()
    notes: dict[date, str] = {}
    for day, name, copies, other, count in rows:
        more = f" and {count - 1} more" if count > 1 else ""
        other_day = f"is in {other} too" if other != day else "is in no other day any more"
        notes.setdefault(
            day, f"{name}: {copies}{more} {other_day}; earnings run --from {day} --to {day}"
        )
    return notes


def _content(table: Table, *, stored: bool = False) -> str:
    """SQL of what a row says but for its time, which a copy that comes again may have anew; of one
    that is `stored`, what it said when it was delivered. What a default says is left out, so that
    a column may come later.
    """
    said = {c.name: c.name for c in table.landing_columns if c.name != "ts"}
    if stored:
        money = MONEY[table.name]
        said[money.amount] = f"{money.amount} + {money.deducted}"
    by_default = {c.name: c.default for c in table.landing_columns if c.counted}

    def text(without: Container[str]) -> str:
        pairs = (f"{name} := {sql}" for name, sql in said.items() if name not in without)
        return f"to_json(struct_pack({', '.join(pairs)}))::VARCHAR"

    plain = " AND ".join(f"{name} = {default}" for name, default in by_default.items())
    return f"CASE WHEN {plain} THEN {text(by_default)} ELSE {text(())} END" if plain else text(())
