"""What a column and a table are, and the columns that many tables share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["daily", "snapshot", "derived", "advice", "log"]

ABSURD_WATCH_MS = 86_400_000

ABSURD_COINS = 1_000_000_000

ABSURD_MICROS = 1_000_000_000_000_000


@dataclass(frozen=True)
class Column:
    """One column.

    `rule` is SQL that must hold for a landing row; the row is quarantined with `name: complaint` if
    it does not. `computed` is SQL over the rows of the day that are loaded; such a column is not
    read from a file. One that `identifies` something holds no placeholder and nothing invisible.
    How often the default of a `counted` one stood in is a figure of the day.
    """

    name: str
    type: str
    meaning: str
    required: bool = True
    default: str | None = None
    rule: str | None = None
    complaint: str | None = None
    computed: str | None = None
    identifies: bool = False
    counted: bool = False


@dataclass(frozen=True)
class Table:
    """One table.

    `key` identifies a row within a day; `references` maps a column to the snapshot table that must
    know it; a loaded day is stored in the order of `stored_by`, then of the key. `constraints` are
    the database's own, for tables that only grow: DuckDB keeps the index of a key too strictly for
    rows that one transaction deletes and inserts again. A lake has none, so each is an invariant
    too, held with those of the table `written_with` it. `ahead`: the run of a day makes the rows of
    so many days later. `once`: an id counts once over all days, not only within its own
    (`sources/copies.py`). `optional`: a table that a platform may not have at all. `span`: what
    a run makes at a time; rows of a week or month have its last day.

    A table of kind `advice` says what could be paid. It is made after its days are over, so closing
    them, which fixes what was paid, does not fix it; what an amount was paid by is of another kind,
    or looks after itself.
    """

    name: str
    kind: Kind
    meaning: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    references: tuple[tuple[str, str], ...] = ()
    stored_by: tuple[str, ...] = ()
    constraints: tuple[str, ...] = ()
    written_with: str = ""
    ahead: int = 0
    once: bool = False
    optional: bool = False
    span: Literal["day", "week", "month"] = "day"

    @property
    def landing_columns(self) -> tuple[Column, ...]:
        """Columns a landing file may have (the day comes from the folder)."""
        return tuple(c for c in self.columns if c.name != "day" and not c.computed)

    def ddl(self, *, constraints: bool = True) -> str:
        """`CREATE TABLE IF NOT EXISTS` for this table."""
        lines = [f"{c.name} {c.type}{' NOT NULL' if c.required else ''}" for c in self.columns]
        lines += self.constraints if constraints else ()
        return f"CREATE TABLE IF NOT EXISTS {self.name} (\n    " + ",\n    ".join(lines) + "\n)"


def _source() -> Column:
    return Column(
        "source",
        "VARCHAR",
        "who says so: `landing` unless the file says otherwise; `modelled` marks made-up values",
        default="'landing'",
    )


def _day(meaning: str = "UTC day") -> Column:
    return Column("day", "DATE", meaning)


def _id(name: str, meaning: str) -> Column:
    return Column(name, "VARCHAR", meaning, identifies=True)


def _flag(name: str, meaning: str) -> Column:
    return Column(name, "BOOLEAN", meaning)


def _micros(name: str, meaning: str) -> Column:
    return Column(name, "BIGINT", meaning + " (micros: millionths of the currency unit)")


def _real(name: str, meaning: str) -> Column:
    return Column(name, "DOUBLE", meaning)


def _count(name: str, meaning: str) -> Column:
    return Column(name, "BIGINT", meaning)


def _sum(name: str, meaning: str) -> Column:
    return Column(name, "DECIMAL(38,0)", meaning)


def _unit(name: str, meaning: str, *, required: bool = False, default: str | None = None) -> Column:
    return Column(
        name, "DOUBLE", meaning, required, default, f"{name} BETWEEN 0 AND 1", "outside [0, 1]"
    )


_POLICY_HASH = Column("policy_hash", "VARCHAR", "policy that was in force, see `earnings policy`")

_CERTIFIED = (
    _real("primal_residual", "certificate: largest violation of a constraint, relative"),
    _real(
        "stationarity_residual",
        "certificate: largest relative difference between marginal worth and price",
    ),
    _real(
        "complementarity_residual",
        "certificate: largest multiplier times slack, in the unit of the gap",
    ),
    _real(
        "gap",
        "certificate: how much better any other split can be at most, relative to the objective's"
        " scale",
    ),
    _real("value", "the objective"),
    _real("upper_bound", "certificate: no allowed split is worth more"),
)

CERTIFICATE = tuple(c.name for c in _CERTIFIED)

_INTERVAL = "of its 95 % interval; empty where there is none, infinite where nothing is known"


def _maybe(name: str, meaning: str, type: str = "DOUBLE") -> Column:
    return Column(name, type, meaning, required=False)
