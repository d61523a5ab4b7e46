"""Money of ad pools that nobody could be paid from: how much, since when, and what it may be called
instead.

What belongs here: looking at `ad_pools`. What is carried is decided in `assets.py`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import date
from difflib import get_close_matches
from typing import Any

from pipelines.money import money
from pipelines.runs.figures import Figure
from pipelines.store.warehouse import Connection

TOO_LONG = 7  # days a pool is carried on end before somebody should look at it


@dataclass(frozen=True)
class CarriedPool:
    """One pool whose money goes on to the next day. `labelled`: a video has its label; `nearest` is
    a label that looks like it where none has.
    """

    category: str
    micros: int
    since: date
    through: date
    labelled: bool
    nearest: str | None

    @property
    def days(self) -> int:
        return (self.through - self.since).days + 1

    @property
    def sentence(self) -> str:
        """What somebody should know of it."""
        text = f"pool {self.category!r} carries {money(self.micros)} since {self.since}"
        if self.labelled:
            return text
        hint = f" The nearest label is {self.nearest!r}." if self.nearest else ""
        return f"{text}: no video has that label, so nobody can ever be paid from it.{hint}"

    def as_dict(self) -> dict[str, Any]:
        return {
            **asdict(self),
            "since": str(self.since),
            "through": str(self.through),
            "days": self.days,
        }


def carried_pools(con: Connection, through: date | None = None) -> list[CarriedPool]:
    """Pools that the last day with pools (up to `through`) carries on, largest first."""
    rows = con.execute(
        """WITH pools AS (FROM ad_pools WHERE $through IS NULL OR day <= $through),
                last AS (SELECT max(day) AS day FROM pools),
                empty AS (SELECT category, max(day) AS day FROM pools WHERE carry_out_micros = 0
                          GROUP BY category)
           SELECT category, any_value(carry_out_micros) FILTER (pools.day = last.day),
               min(pools.day), any_value(last.day)
           FROM pools LEFT JOIN empty USING (category) CROSS JOIN last
           WHERE carry_out_micros > 0 AND (empty.day IS NULL OR pools.day > empty.day)
           GROUP BY category HAVING max(pools.day) = any_value(last.day)
           ORDER BY 2 DESC, 1""",
        {"through": through},
    ).fetchall()
    if not rows:
        return []
    labels = labels_in_force(con, rows[0][3])
    return [
        CarriedPool(category, micros, since, last, category in labels, nearest(category, labels))
        for category, micros, since, last in rows
    ]


def labels_in_force(con: Connection, day: date) -> set[str]:
    """Every label that a video has on the day."""
    rows = con.execute(
        """SELECT DISTINCT unnest(labels) FROM (SELECT arg_max(categories, day) AS labels
           FROM videos WHERE day <= ? GROUP BY video_id)""",
        [day],
    ).fetchall()
    return {label for (label,) in rows}


def nearest(category: str, labels: Iterable[str]) -> str | None:
    """The label that looks most like a category, whatever the case.

    >>> nearest("Music", ["music", "sports"]), nearest("auto", ["music"])
    ('music', None)
    """
    by_form = {label.casefold(): label for label in sorted(labels) if label != category}
    alike = get_close_matches(category.casefold(), by_form, n=1)
    return by_form[alike[0]] if alike else None


def figures_of_pools(con: Connection, day: date) -> list[Figure]:
    """Pools that are carried, and those whose label nobody has. Call it when the day is written."""
    (pools,) = con.execute("SELECT count(*) FROM ad_pools WHERE day = ?", [day]).fetchall()[0]
    carried = carried_pools(con, day)
    nobody = [pool for pool in carried if not pool.labelled]
    old = [pool for pool in carried if pool.labelled and pool.days >= TOO_LONG]
    return [
        Figure(
            "carried_pools",
            len(carried),
            pools,
            "; ".join(pool.sentence for pool in old) or None,
        ),
        Figure("carried_micros", sum(pool.micros for pool in carried)),
        Figure(
            "labels_nobody_has",
            len(nobody),
            pools,
            " ".join(pool.sentence for pool in nobody) or None,
        ),
    ]
