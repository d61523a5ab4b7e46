"""Fixtures every test file may use: a home in a temporary folder, and a platform whose landing
files are one call each.

`home`      an empty home (folder, default settings)
`platform`  the same home with helpers to write landing files and load them, see `Platform`
`rows`      builders of good landing rows, see `Rows`
`platform_at`  makes a platform in a given folder, for fixtures shared by several tests
`cases/three_days.py`, `cases/five_days.py`  small simulated platforms, landed and made once

Everything a fixture makes is a valid day of a tiny platform; a test changes the one thing it is
about.
"""

from __future__ import annotations

import atexit
import csv
import gzip
import io
import json
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory
from hypothesis import settings
from sqlalchemy import Engine, event

from pipelines.schema import LANDING
from pipelines.settings import Home
from pipelines.sources.landing import LoadReport, load_day
from pipelines.store.warehouse import Connection, Warehouse

# Partitions are read from the process's home when the assets are imported, so it must have a
# calendar that fits every test.
_CALENDAR = Path(tempfile.mkdtemp(prefix="earnings-calendar-"))
atexit.register(shutil.rmtree, _CALENDAR, ignore_errors=True)
(_CALENDAR / "settings.toml").write_text("first_day = 2026-02-01\nlast_day = 2026-12-31\n")
os.environ["EARNINGS_HOME"] = str(_CALENDAR)

# only now, because they import the assets; and as names, because pytest takes plugins in the
# conftest of its root only
pytest.register_assert_rewrite("tests.cases.three_days", "tests.cases.five_days")
from tests.cases.five_days import landed, made, made_once, small  # noqa: E402
from tests.cases.three_days import copy_of, finished, make_home, three_days  # noqa: E402

__all__ = [
    "copy_of",
    "finished",
    "landed",
    "made",
    "made_once",
    "make_home",
    "small",
    "three_days",
]

DAY = date(2026, 3, 5)
FORMATS = ("csv", "csv.gz", "jsonl", "parquet")

Row = dict[str, Any]


class Rows:
    """Good landing rows as dicts; keyword arguments change or add columns, `None` makes a value
    missing.
    """

    day = DAY

    @staticmethod
    def viewer(viewer_id: str = "u1", **changes: Any) -> Row:
        return {"viewer_id": viewer_id, "verified": True, "trust": 1.0, **changes}

    @staticmethod
    def creator(creator_id: str = "c1", **changes: Any) -> Row:
        return {"creator_id": creator_id, **changes}

    @staticmethod
    def video(video_id: str = "v1", **changes: Any) -> Row:
        return {
            "video_id": video_id,
            "creator_id": "c1",
            "length_ms": 30_000,
            "categories": ["music"],
            "compliant": True,
            "s_plus": 0.8,
            "s_tox": 0.1,
            **changes,
        }

    @staticmethod
    def share(share_id: str = "s1", **changes: Any) -> Row:
        return {
            "share_id": share_id,
            "video_id": "v1",
            "party_id": "c1",
            "part": 1_000_000,
            "role": "author",
            **changes,
        }

    @staticmethod
    def decision(id: str = "u1", **changes: Any) -> Row:
        return {"what": "viewer", "id": id, "decided_on": DAY, "reason": "bots", **changes}

    @staticmethod
    def event(event_id: str = "e1", *, day: date = DAY, **changes: Any) -> Row:
        return {
            "event_id": event_id,
            "ts": _noon(day),
            "viewer_id": "u1",
            "video_id": "v1",
            "watch_ms": 12_000,
            "liked": True,
            "commented": False,
            "shared": False,
            "followed": False,
            **changes,
        }

    @staticmethod
    def gift(gift_id: str = "g1", *, day: date = DAY, **changes: Any) -> Row:
        return {
            "gift_id": gift_id,
            "ts": _noon(day),
            "viewer_id": "u1",
            "video_id": "v1",
            "coins": 10,
            "premium": False,
            **changes,
        }

    @staticmethod
    def ad(ad_id: str = "a1", *, day: date = DAY, **changes: Any) -> Row:
        return {
            "ad_id": ad_id,
            "ts": _noon(day),
            "category": "music",
            "video_id": None,
            "amount_micros": 1_000_000,
            **changes,
        }


@dataclass(frozen=True)
class Platform:
    """A home with helpers: write landing files, load them, look at tables."""

    home: Home

    @property
    def warehouse(self) -> Warehouse:
        return Warehouse(self.home)

    def settings(self, **values: Any) -> None:
        """Write settings.toml. Call it before anything reads `home.settings`."""
        lines = [
            f"{key} ="
            f" {str(v).lower() if isinstance(v, bool) else v if isinstance(v, date) else json.dumps(v)}"
            for key, v in values.items()
        ]
        self.home.root.mkdir(parents=True, exist_ok=True)
        (self.home.root / "settings.toml").write_text("\n".join(lines) + "\n", encoding="utf-8")

    def file(self, table: str, name: str, content: bytes, day: date = DAY) -> Path:
        """Write the bytes of one landing file."""
        path = self.home.landing / table / day.isoformat() / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return path

    def land(
        self,
        table: str,
        rows: Sequence[Row],
        day: date = DAY,
        *,
        form: str = "csv",
        name: str = "part",
        columns: Sequence[str] = (),
    ) -> Path:
        """Write rows as the landing file `<name>.<form>`; columns are those of the rows, or of the
        table when there are none.
        """
        return self.file(
            table,
            f"{name}.{form}",
            encode(rows, form, columns or [c.name for c in LANDING[table].landing_columns]),
            day,
        )

    def clear(self, table: str, day: date = DAY) -> None:
        """Remove the landing files of a table's day."""
        for path in (self.home.landing / table / day.isoformat()).glob("*"):
            path.unlink()

    def known(
        self, day: date = DAY, *, videos: int = 2, creators: int = 1, viewers: int = 2
    ) -> None:
        """Land snapshots of viewers u1.., creators c1.., videos v1.. (dealt out to the creators in
        turn).
        """
        self.land("viewers", [Rows.viewer(f"u{n}") for n in range(1, viewers + 1)], day)
        self.land("creators", [Rows.creator(f"c{n}") for n in range(1, creators + 1)], day)
        self.land(
            "videos",
            [
                Rows.video(f"v{n}", creator_id=f"c{(n - 1) % creators + 1}")
                for n in range(1, videos + 1)
            ],
            day,
        )

    def load(self, table: str, day: date = DAY, *, con: Connection | None = None) -> LoadReport:
        """Load a table's day in a transaction of its own, as its asset does; without `con` the
        warehouse is opened and closed.
        """
        if con is None:
            with self.warehouse.open() as own:
                return self.load(table, day, con=own)
        with self.warehouse.write_day(con, day) as writer:
            return load_day(writer, self.home.landing, LANDING[table])

    def load_known(self, day: date = DAY, **sizes: int) -> None:
        """Land and load snapshots, so that daily tables can be loaded."""
        self.known(day, **sizes)
        with self.warehouse.open() as con:
            for table in ("viewers", "creators", "videos"):
                self.load(table, day, con=con)

    def ask(self, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Rows of a query on the warehouse."""
        with self.warehouse.open() as con:
            return con.execute(sql, parameters or None).fetchall()


def encode(rows: Sequence[Mapping[str, Any]], form: str, columns: Iterable[str] = ()) -> bytes:
    """The bytes of a landing file with these rows, in one of FORMATS; `columns` counts only when
    there are no rows.
    """
    names = list(dict.fromkeys(name for row in rows for name in row)) or list(columns)
    if form == "parquet":
        sink = io.BytesIO()
        pq.write_table(
            pa.table({name: pa.array([row.get(name) for row in rows]) for name in names}), sink
        )
        return sink.getvalue()
    if form == "jsonl":
        return "".join(json.dumps(row, default=str) + "\n" for row in rows).encode()
    if form not in ("csv", "csv.gz"):
        raise ValueError(f"{form}: not one of {FORMATS}")
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    writer.writerows([[_text(row.get(name)) for name in names] for row in rows])
    data = text.getvalue().encode()
    return data if form == "csv" else gzip.compress(data, mtime=0)


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return ";".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def _noon(day: date) -> datetime:
    return datetime.combine(day, datetime.min.time()) + timedelta(hours=12)


@event.listens_for(Engine, "connect")
def _without_waiting_for_the_disk(connection: object, _: object) -> None:
    """Dagster commits some hundred times a run; its records in these homes need not outlive a power
    cut.
    """
    if isinstance(connection, sqlite3.Connection):
        connection.execute("PRAGMA synchronous = OFF")


_SCRIPTS: dict[str | None, ScriptDirectory] = {}
_scripts_of = ScriptDirectory.from_config


def _read_once(config: Config) -> ScriptDirectory:
    """Dagster's migrations are files that it reads six times for each new home."""
    place = config.get_main_option("script_location")
    if place not in _SCRIPTS:
        _SCRIPTS[place] = _scripts_of(config)
    return _SCRIPTS[place]


ScriptDirectory.from_config = staticmethod(_read_once)  # type: ignore[method-assign,assignment]


# The same examples every time, so that a build never fails by luck; HYPOTHESIS_PROFILE=explore
# looks for new ones.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.register_profile("explore", deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """An empty home in a folder of its own."""
    root = tmp_path / "home"
    root.mkdir()
    return Home.at(root)


@pytest.fixture
def platform(home: Home) -> Platform:
    """The home with helpers around it."""
    return Platform(home)


@pytest.fixture(scope="session")
def platform_at() -> Callable[[Path], Platform]:
    """Makes a platform in a folder of the caller's choice, for fixtures that live longer than a
    test.
    """
    return lambda root: Platform(Home.at(root))


@pytest.fixture
def rows() -> type[Rows]:
    """Builders of good rows."""
    return Rows
