"""How the columns of foreign files become the columns of a landing table: a map, and a first guess.

What belongs here: what a map may say, and reading and guessing one. `foreign.py` does what it says.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator, model_validator

from pipelines.schema import LANDING, Column, Table
from pipelines.sources.errors import SourceError
from pipelines.sources.records import normal

DURATIONS = {
    "ns": Decimal("0.000001"),
    "us": Decimal("0.001"),
    "ms": Decimal(1),
    "s": Decimal(1_000),
    "min": Decimal(60_000),
    "h": Decimal(3_600_000),
}
MONEY = {"micros": Decimal(1), "cents": Decimal(10_000), "units": Decimal(1_000_000)}
TIMES = {"s": 1_000_000_000, "ms": 1_000_000, "us": 1_000, "ns": 1}  # nanoseconds


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class From(_Strict):
    """Where the values of one column come from: `column`, `value` or `hash`, just one of them."""

    column: str | None = None
    value: str | int | bool | list[str] | None = None
    hash: Literal["row"] | tuple[str, ...] | None = None
    unit: str | None = None
    times: Decimal | None = None
    round: Literal["down", "nearest"] | None = None
    format: str | None = None
    zone: str | None = None
    separator: str | None = None
    positive: bool = False
    true: tuple[str, ...] = ()
    false: tuple[str, ...] = ()
    prefix: str = ""
    empty: tuple[str, ...] = ()

    @field_validator("column")
    @classmethod
    def _lower(cls, name: str | None) -> str | None:
        return name if name is None else normal(name)

    @field_validator("hash")
    @classmethod
    def _lower_all(cls, names: Any) -> Any:
        return tuple(map(normal, names)) if isinstance(names, tuple) else names

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if sum(thing is not None for thing in (self.column, self.value, self.hash)) != 1:
            raise ValueError("needs just one of column, value and hash")
        if self.unit and self.times:
            raise ValueError("unit and times: a unit is a factor, so say only one of them")
        return self

    @property
    def source_columns(self) -> tuple[str, ...]:
        """Columns of the files that it reads; with hash = "row" all of them are read."""
        if isinstance(self.hash, tuple):
            return self.hash
        return (self.column,) if self.column is not None else ()


class ColumnMap(_Strict):
    """A map: for every column of `table` that the files can fill, where it comes from."""

    table: str
    columns: dict[str, From]
    delimiter: str = ","

    @field_validator("columns", mode="before")
    @classmethod
    def _short_form(cls, columns: Any) -> Any:
        if not isinstance(columns, Mapping):
            return columns
        return {k: {"column": v} if isinstance(v, str) else v for k, v in columns.items()}

    @field_validator("table")
    @classmethod
    def _is_table(cls, name: str) -> str:
        if name not in LANDING:
            raise ValueError(f"{name!r} is no landing table; there are {', '.join(LANDING)}")
        return name

    @field_validator("delimiter")
    @classmethod
    def _one_character(cls, text: str) -> str:
        if len(text) != 1:
            raise ValueError("must be one character")
        return text

    @model_validator(mode="after")
    def _fits(self) -> Self:
        targets = {c.name: c for c in LANDING[self.table].landing_columns}
        for name, source in self.columns.items():
            if name not in targets:
                raise ValueError(
                    f"{self.table} has no column {name!r}; it has {', '.join(targets)}"
                )
            if complaint := _complaint(targets[name], source):
                raise ValueError(f"columns.{name}: {complaint}")
        needed = [c for c in targets.values() if c.required and c.default is None]
        if missing := [c.name for c in needed if c.name not in self.columns]:
            raise ValueError(
                f"columns: {', '.join(missing)} must come from somewhere: a column of the files, or"
                " a value that holds for every row"
            )
        return self

    @property
    def source_columns(self) -> tuple[str, ...]:
        """Columns of the files that are read by name."""
        return tuple(
            dict.fromkeys(n for source in self.columns.values() for n in source.source_columns)
        )

    @property
    def standing_in(self) -> dict[str, str]:
        """Columns that nothing is mapped to, each with what stands in for it in every row."""
        return {
            c.name: (c.default or "empty").strip("'")
            for c in LANDING[self.table].landing_columns
            if c.name not in self.columns
        }

    @classmethod
    def read(cls, path: Path, table: str) -> ColumnMap:
        """A map from a TOML file.

        Raises
        ------
        SourceError
            It is not TOML, not a map, or one for another table; names the file and the field.
        """
        try:
            content = tomllib.loads(path.read_text(encoding="utf-8"))
            found = cls.model_validate({"table": table, **content})
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise SourceError(f"{path}: cannot be read: {error}") from error
        except ValidationError as error:
            raise SourceError(f"{path}: {'; '.join(_told(error))}") from error
        if found.table != table:
            raise SourceError(f"{path}: a map for {found.table}, not for {table}")
        return found


def units_of(column: Column) -> Mapping[str, Any]:
    """The units that a column can be given in."""
    if column.type == "TIMESTAMP":
        return TIMES
    if column.name.endswith("_ms"):
        return DURATIONS
    return MONEY if column.name.endswith("_micros") else {}


def _complaint(column: Column, source: From) -> str | None:
    """What a map asks of a column that makes no sense there."""
    whole = column.type == "BIGINT"
    allowed = {
        "unit": bool(units_of(column)),
        "times": whole,
        "round": whole,
        "format": column.type == "TIMESTAMP",
        "zone": column.type == "TIMESTAMP",
        "separator": column.type == "VARCHAR[]",
        "positive": column.type == "BOOLEAN",
        "true": column.type == "BOOLEAN",
        "false": column.type == "BOOLEAN",
        "prefix": column.type == "VARCHAR",
        "hash": column.identifies,
    }
    for field, fits in allowed.items():
        if getattr(source, field) and not fits:
            return f"{field} says nothing about a column of type {column.type}"
    if source.unit and source.unit not in units_of(column):
        return f"unit {source.unit!r} is none of {', '.join(units_of(column))}"
    if source.column is None and any(
        getattr(source, field) for field in (*allowed, "empty") if field != "hash"
    ):
        return "a value or hash stands as it is: nothing else can be said with it"
    return None


def _told(error: ValidationError) -> Iterator[str]:
    for e in error.errors():
        where = ".".join(str(part) for part in e["loc"])
        what = e["msg"].removeprefix("Value error, ")
        yield f"{where}: {what}" if where else what


# --------------------------------------------------------------------------------------------------
# A first guess, from the names of columns and a sample of values

_NAMES = {
    "event_id": ("event", "id", "view", "session", "log", "play", "impression", "uuid"),
    "gift_id": ("gift", "id", "donation", "tip", "transaction", "order", "payment", "uuid"),
    "ad_id": ("ad", "id", "impression", "booking", "campaign", "uuid"),
    "viewer_id": ("viewer", "id", "user", "uid", "member", "account", "customer", "watcher", "donor",
                  "sender", "anonymous"),
    "video_id": ("video", "id", "vid", "item", "photo", "clip", "content", "post", "movie", "stream"),
    "creator_id": ("creator", "id", "author", "channel", "publisher", "owner", "streamer", "uploader",
                   "artist", "broadcaster"),
    "identity_id": ("identity", "person", "legalentity"),
    "ts": ("timestamp", "time", "datetime", "date", "createdat", "starttime", "eventtime",
           "occurredat", "startedat", "started", "begin", "start", "at"),
    "watch_ms": ("watch", "watched", "watchtime", "playtime", "playduration", "viewtime", "dwell",
                 "dwelltime", "timespent", "watchduration", "viewduration"),
    "length_ms": ("length", "duration", "videoduration", "videolength", "runtime"),
    "liked": ("like", "islike", "isliked", "likes", "thumbsup"),
    "commented": ("comment", "iscomment", "comments"),
    "shared": ("share", "isshare", "forward", "isforward", "shares", "retweet"),
    "followed": ("follow", "isfollow", "follows", "subscribed", "subscribe"),
    "categories": ("category", "genre", "genres", "tag", "tags", "topic", "topics", "label"),
    "category": ("genre", "tag", "topic", "label", "vertical"),
    "compliant": ("iscompliant", "approved", "monetizable", "eligible", "safe"),
    "followers": ("follower", "fans", "subscribers", "followercount", "followerscount"),
    "verified": ("isverified", "kyc"),
    "coins": ("coin", "amount", "bits", "diamonds", "quantity", "value"),
    "amount_micros": ("amount", "revenue", "price", "cost", "spend", "value", "payout", "earnings"),
    "tenure_days": ("registerdays", "accountage", "age"),
}  # fmt: skip
_UNIT_NAMES = {
    "ns": "ns", "nanos": "ns", "us": "us", "micros": "us", "ms": "ms", "millis": "ms",
    "milliseconds": "ms", "msec": "ms", "s": "s", "sec": "s", "secs": "s", "second": "s",
    "seconds": "s", "min": "min", "mins": "min", "minutes": "min", "h": "h", "hours": "h",
}  # fmt: skip
_MONEY_NAMES = {"micros": "micros", "cents": "cents", "cent": "cents"} | dict.fromkeys(
    ("usd", "eur", "gbp", "dollars", "euros"), "units"
)
_DIGITS = {10: "s", 13: "ms", 16: "us", 19: "ns"}  # of a time that is a number: 2001 to 2286
_YES, _NO = ("yes", "y"), ("no", "n")
_SHOWN = 3


def guess(table: Table, sample: Mapping[str, Sequence[str]], delimiter: str = ",") -> str:
    """A first map as TOML, from a sample of the files: names of columns, each with some values.

    Every line says what it was guessed from. Where nothing fits, a comment says what is wanted.

    Examples
    --------
    >>> from pipelines.schema import LANDING
    >>> print(guess(LANDING["creators"], {"Author": ["a1", "a2"], "fans": ["10", "20"]}))
    # A first guess for creators: look at every line before you use it.
    <BLANKLINE>
    [columns]
    creator_id = "Author"  # a1, a2
    # identity_id: verified identity behind the account; accounts that share one are one unit of fairness; empty if nothing is mapped
    followers = "fans"  # 10, 20
    # source: who says so: `landing` unless the file says otherwise; `modelled` marks made-up values; landing if nothing is mapped
    """
    free = list(sample)
    lines = [f"# A first guess for {table.name}: look at every line before you use it.", ""]
    if delimiter != ",":
        lines += [f"delimiter = {json.dumps(delimiter)}", ""]
    lines.append("[columns]")
    for c in table.landing_columns:
        name = _best(c, free, is_key=c.name == table.key[0])
        if name is not None:
            free.remove(name)
            values = [value for value in sample[name] if value.strip()]
            shown = ", ".join(_plain(value) for value in values[:_SHOWN])
            lines.append(f"{c.name} = {_entry(c, name, values)}  # {shown}")
        elif not c.required or c.default is not None:
            stands = (c.default or "empty").strip("'")
            lines.append(f"# {c.name}: {c.meaning}; {stands} if nothing is mapped")
        elif c.type == "BOOLEAN":
            lines.append(f"# {c.name} = {{ value = false }}  # needed: {c.meaning}")
        elif c.name == table.key[0]:
            lines.append(f'{c.name} = {{ hash = "row" }}  # no such column: the row names itself')
        else:
            lines.append(f'# {c.name} = "?"  # needed: {c.meaning}')
    if free:
        lines += ["", f"# not used: {', '.join(map(_plain, free))}"]
    return "\n".join(lines)


def _plain(text: str) -> str:
    """A value as it may stand in a comment of one line."""
    return "".join(c if c.isprintable() else "?" for c in text[:40])


def _words(name: str) -> list[str]:
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name)
    return [word for word in re.split(r"[^a-z0-9]+", spaced.lower()) if word]


def _best(column: Column, free: Sequence[str], *, is_key: bool) -> str | None:
    """The column whose name says what this one says: the same, without its unit, or a usual
    other word for it.
    """
    units = {*_UNIT_NAMES, *_MONEY_NAMES, "id", "key", "utc"}
    wanted = "".join(w for w in _words(column.name) if w not in units)
    others = [n for n in _NAMES.get(column.name, ()) if n != "id" or is_key]
    ranked = []
    for name in free:
        words = _words(name)
        bare = "".join(w for w in words if w not in units) or "".join(words)
        if normal(name) == column.name:
            ranked.append((0, name))
        elif bare == wanted or "".join(words) == wanted:
            ranked.append((1, name))
        elif bare in others:
            ranked.append((2 + others.index(bare), name))
    return min(ranked, key=lambda pair: pair[0])[1] if ranked else None


def _entry(column: Column, name: str, values: Sequence[str]) -> str:
    entry: dict[str, Any] = {"column": name}
    last = _words(name)[-1] if _words(name) else ""
    numbers = [v for v in values if re.fullmatch(r"[0-9]+([.][0-9]+)?", v.strip())]
    if column.type == "TIMESTAMP" and values and len(numbers) == len(values):
        digits = {len(v.strip().split(".")[0]) for v in values}
        if len(digits) == 1 and (unit := _DIGITS.get(digits.pop())):
            entry["unit"] = unit
    elif units_of(column) is DURATIONS:
        # whole seconds and milliseconds look alike, so without a word only fractions tell
        fractions = any("." in v for v in numbers)
        unit = _UNIT_NAMES.get(last, "s" if fractions else "ms")
        entry |= {"unit": unit} if unit != "ms" else {}
        entry |= {"round": "nearest"} if fractions else {}
    elif units_of(column) is MONEY:
        unit = _MONEY_NAMES.get(last, "units" if any("." in v for v in numbers) else "micros")
        entry |= {"unit": unit} if unit != "micros" else {}
    elif column.type == "BOOLEAN" and {v.strip() for v in numbers} - {"0", "1"}:
        entry["positive"] = True
    elif column.type == "BOOLEAN" and {v.strip().lower() for v in values} & {*_YES, *_NO}:
        entry |= {"true": [*_YES, "true", "1"], "false": [*_NO, "false", "0"]}
    elif column.type == "VARCHAR[]" and values and not values[0].startswith("["):
        found = next((s for s in "|,;/" if any(s in v for v in values)), None)
        entry |= {"separator": found} if found and found != ";" else {}
    if len(entry) == 1:
        return json.dumps(name, ensure_ascii=False)
    inner = ", ".join(f"{k} = {json.dumps(v, ensure_ascii=False)}" for k, v in entry.items())
    return f"{{ {inner} }}"
