"""Decisions that something does not count (`invalid_traffic`): what they take out of a day when it
is loaded.

What belongs here: which decision holds, the rows it is about, and the record of what was taken out.
Sessions leave the table; a booking or a gift stays with what is left of its amount, so that its id
is in the book and a copy of it is still known for one. That a day is made again because of a late
decision is nobody's business here: its file lies in the day's folder, like any correction.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from pipelines.runs.figures import Figure
from pipelines.schema import DECISIONS, Table
from pipelines.store.warehouse import Connection

TAKEN_OUT = "taken out"
"""Verdict of an event that does not count."""


@dataclass(frozen=True)
class Money:
    """What decisions call a row of money; the columns of its amount, and of what was taken out."""

    what: str
    amount: str
    deducted: str


MONEY = {
    "ad_revenue": Money("ad", "amount_micros", "deducted_micros"),
    "gifts": Money("gift", "coins", "deducted_coins"),
}

IN_FORCE = """SELECT what, id, amount, reason, decided_on FROM (
      SELECT * FROM invalid_traffic WHERE day = $day
      QUALIFY row_number() OVER (PARTITION BY what, id ORDER BY decided_on DESC) = 1)
    WHERE outcome = 'deducted'"""


def take_out(con: Connection, table: Table, day: date) -> list[Figure]:
    """Take out of the stage what decisions in force say of the table, and note it in `deductions`;
    figures of what was done, and of decisions about nothing that is there.
    """
    if table.kind != "daily" or table in DECISIONS:
        return []
    which = {"table": table.name, "day": day}
    (noted,) = con.execute(
        "SELECT count(*) FROM deductions WHERE table_name = $table AND day = $day", which
    ).fetchall()[0]
    if noted:  # deleting nothing would disturb other writers of a lake
        con.execute("DELETE FROM deductions WHERE table_name = $table AND day = $day", which)
    whats = [MONEY[table.name].what] if table.name in MONEY else ["viewer", "video"]
    con.execute(
        f"CREATE OR REPLACE TEMP TABLE in_force AS SELECT * FROM ({IN_FORCE})"
        " WHERE list_contains($whats, what)",
        {"day": day, "whats": whats},
    )
    (count,) = con.execute("SELECT count(*) FROM in_force").fetchall()[0]
    figures = _take_out(con, table, day, count) if count else []
    con.execute("DROP TABLE in_force")
    return figures


def _take_out(con: Connection, table: Table, day: date, decisions: int) -> list[Figure]:
    key = table.key[0]
    if table.name in MONEY:
        amount = MONEY[table.name].amount
        category = "category" if table.name == "ad_revenue" else "NULL"
        con.execute(
            f"""UPDATE stage SET deducted = least(coalesce(d.amount, {amount}), {amount})
                FROM in_force AS d WHERE stage.{key} = d.id AND verdict IS NULL"""
        )
        sql = f"""SELECT {key} AS id, video_id, {category} AS category, deducted AS amount,
                d.what, d.id AS about, decided_on, reason
            FROM stage JOIN in_force AS d ON {key} = d.id WHERE verdict IS NULL AND deducted > 0"""
    else:
        sql = f"""SELECT {key} AS id, video_id, NULL AS category, 1 AS amount, what, about,
                decided_on, reason FROM (
              SELECT s.*, d.what, d.id AS about, d.decided_on, d.reason
              FROM stage AS s JOIN in_force AS d ON s.viewer_id = d.id AND d.what = 'viewer'
              UNION ALL
              SELECT s.*, d.what, d.id AS about, d.decided_on, d.reason
              FROM stage AS s JOIN in_force AS d ON s.video_id = d.id AND d.what = 'video')
            WHERE verdict IS NULL
            QUALIFY row_number() OVER (PARTITION BY {key} ORDER BY decided_on, what, about) = 1"""
    con.execute(
        f"""INSERT INTO deductions BY NAME SELECT $table AS table_name, $day::DATE AS day, *
            FROM ({sql}) ORDER BY id""",
        {"table": table.name, "day": day},
    )
    found = "FROM deductions WHERE table_name = $table AND day = $day"
    which = {"table": table.name, "day": day}
    if table.name in MONEY:
        beyond, example = con.execute(
            f"""SELECT count(*), min(d.id) FROM stage JOIN in_force AS d ON {key} = d.id
                WHERE verdict IS NULL AND d.amount > {MONEY[table.name].amount}"""
        ).fetchall()[0]
        matched = f"SELECT {key} FROM stage WHERE verdict IS NULL"
    else:
        con.execute(
            f"UPDATE stage SET verdict = '{TAKEN_OUT}' WHERE verdict IS NULL AND {key} IN"
            f" (SELECT id {found})",
            which,
        )
        beyond, example = 0, None
        matched = """SELECT CASE what WHEN 'viewer' THEN viewer_id ELSE video_id END FROM stage
            WHERE verdict IS NULL OR starts_with(verdict, 'taken out')"""
    rows, amount_out = con.execute(
        f"SELECT count(*), coalesce(sum(amount), 0)::BIGINT {found}", which
    ).fetchall()[0]
    missed, missing = con.execute(
        f"""SELECT count(*), min(what || ' ' || id) FROM in_force AS d
            WHERE id NOT IN (SELECT x FROM ({matched}) AS m(x) WHERE x IS NOT NULL)"""
    ).fetchall()[0]
    return [
        Figure("taken_out_rows", rows),
        Figure("taken_out_amount", amount_out),
        Figure(
            "decisions_about_nothing",
            missed,
            decisions,
            f"{missed} decisions of invalid_traffic are about nothing that counts on the day"
            f" ({missing}{' and others' if missed > 1 else ''}): is the file in the folder of the"
            " right day?"
            if missed
            else None,
        ),
        Figure(
            "decisions_beyond_the_booking",
            beyond,
            decisions,
            f"{beyond} decisions take back more than was booked ({example}"
            f"{' and others' if beyond > 1 else ''}); all of it is taken, and no more"
            if beyond
            else None,
        ),
    ]
