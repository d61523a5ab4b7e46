"""Landing: every row ends in the table, the duplicates or quarantine; a file that cannot be read
stops the run by name.

`test_every_row_ends_in_one_place` writes random files in all formats and compares with a judge in
plain Python, whose knowledge of values is a hand-written list of texts and what they are worth. The
other tests each attack one thing.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import random
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.schema import LANDING, TABLES
from pipelines.settings import Home
from pipelines.sources import landing as landing_module
from pipelines.sources import records as records_module
from pipelines.sources.errors import SourceError
from pipelines.sources.landing import load_day
from pipelines.store.warehouse import DayWriter, Warehouse

DAY = date(2026, 3, 5)
NOON = datetime(2026, 3, 5, 12)
EVENTS = "viewer_events"
HEADER = "event_id,ts,viewer_id,video_id,watch_ms,liked,commented,shared,followed"
GOOD = "2026-03-05 12:00:00,u1,v1,12000,1,0,0,0"


@pytest.fixture(scope="module")
def prepared(tmp_path_factory, platform_at):
    """A folder to copy: making it takes longer than most tests."""
    platform = platform_at(tmp_path_factory.mktemp("prepared"))
    platform.settings(quarantine_limit=1.0, publish=False)
    platform.load_known()
    return platform.home.root


@pytest.fixture
def ready(platform, prepared):
    """A platform with videos v1, v2 known on DAY; a day may be all bad but one row."""
    shutil.copytree(prepared, platform.home.root, dirs_exist_ok=True)
    # Opening it takes longer than most of what is asked. By another home, for a test may still write
    # settings, which a home reads once.
    with Warehouse(Home.at(platform.home.root)).kept_open():
        yield platform


def bad_rows(platform, table=EVENTS) -> list[tuple[int, str]]:
    return platform.ask(
        "SELECT line, reason FROM quarantine WHERE table_name = ? ORDER BY file, line", table
    )


def csv_file(*lines: str, end: str = "\n") -> bytes:
    return (end.join((HEADER, *lines)) + end).encode()


# --------------------------------------------------------------------------------------------------
# The judge

MISSING, BAD = object(), object()
PLACEHOLDER, INVISIBLE = object(), object()

INTEGERS = {
    **{
        "7": 7,
        " 7 ": 7,
        "+5": 5,
        "-0": 0,
        "3.0": 3,
        "3.": 3,
        "0012": 12,
        "86400000": 86_400_000,
        "86400001": 86_400_001,
        "-1": -1,
    },
    **dict.fromkeys(
        [
            "1e3",
            "1.5",
            "0x10",
            "1_000",
            "1,000",
            "nan",
            "inf",
            "true",
            "seven",
            "\t7",
            "7\n",
            "７",
            "--1",
            ".",
        ],
        BAD,
    ),
    **dict.fromkeys(["9223372036854775808", "-99999999999999999999", "1e400"], BAD),
    **dict.fromkeys(["", " ", "   "], MISSING),
}
FLAGS = {
    "1": True,
    "0": False,
    "true": True,
    "FALSE": False,
    " True ": True,
    "yes": BAD,
    "2": BAD,
    "1.0": BAD,
    "t": True,
    "F": False,
    "y": BAD,
    "": MISSING,
}
TIMES = {
    "2026-03-05 12:00:00": NOON,
    "2026-03-05T12:00:00Z": NOON,
    "2026-03-05T20:00:00+08:00": NOON,
    "2026-03-05T07:00:00-05:00": NOON,
    "2026-03-05": datetime(2026, 3, 5),
    "2026-03-05T23:59:59.999999": datetime(2026, 3, 5, 23, 59, 59, 999999),
    "2026-03-05T23:59:59.9999999": datetime(2026, 3, 5, 23, 59, 59, 999999),
    "2026-03-06T00:00:00": datetime(2026, 3, 6),
    "2026-03-05T06:00:00+08:00": datetime(2026, 3, 4, 22),
    "2026-03-05 24:00:00": datetime(2026, 3, 6),
    "9999-12-31 23:59:59": datetime(9999, 12, 31, 23, 59, 59),
    **dict.fromkeys(
        [
            "2026-03-05T12:00Z",
            "2026-03-05t12:00:00z",
            "20260305T120000Z",
            "20260305T1200Z",
            "2026-03-05T20:00+08",
            "2026-03-05 20:00:00 +0800",
            "20260305T200000+0800",
            "2026-03-05 12:00:00 UTC",
            "2026-03-05T12:00:00,000Z",
            "1772712000",
            "1772712000000",
            "1772712000.000",
        ],
        NOON,
    ),
    "20260305": datetime(2026, 3, 5),
    "2026-03-05T12:00:00,123Z": NOON.replace(microsecond=123_000),
    "1772712000123": NOON.replace(microsecond=123_000),
    "1772712000.25": NOON.replace(microsecond=250_000),
    **dict.fromkeys(["infinity", "-infinity"], BAD),
    **dict.fromkeys(
        [
            "2026-03-05 12:00:00 EST",
            "2026-03-05 12:00:00 CET",
            "2026-03-05T12:00 Asia/Tokyo",
            "2026-03-05 12:00:00 GMT+5",
            "20260305120000",
            "17727120",
            "1772712000000000",
            "-1772712000",
        ],
        BAD,
    ),
    **dict.fromkeys(
        ["2026-03-05T23:59:60Z", "2026-02-30", "now", "noon", "12:00:00", "5.3.2026"],
        BAD,
    ),
    "": MISSING,
}
VIDEOS = {
    "v1": "v1",
    " v2 ": "v2",
    "v3": "unknown",
    "V1": "unknown",
    "v1\n": INVISIBLE,
    "NULL": PLACEHOLDER,
    "": MISSING,
}
VIEWERS = {
    "u1": "u1",
    "nobody": "nobody",
    " a b ": "a b",
    'say "hi", x': 'say "hi", x',
    "two\r\nlines": INVISIBLE,
    "u\u200b1": INVISIBLE,
    "é😀": "é😀",
    "nan": PLACEHOLDER,
    "\\N": MISSING,
    "": MISSING,
}
LENGTHS = {"30000": 30_000, "0": 0, "-7": -7, "": MISSING, "long": BAD}
SOURCES = {"": "landing", "modelled": "modelled", "two\r\nlines": "two\r\nlines"}
IDS = {
    "e1": "e1",
    "e2": "e2",
    " e2": "e2",
    "e3": "e3",
    'e"4,': 'e"4,',
    "e\n5": INVISIBLE,
    "0": PLACEHOLDER,
    "E1": "E1",
    "": MISSING,
}

POOLS: dict[str, dict[str, Any]] = {
    **{
        "event_id": IDS,
        "ts": TIMES,
        "viewer_id": VIEWERS,
        "video_id": VIDEOS,
        "watch_ms": INTEGERS,
    },
    **dict.fromkeys(("liked", "commented", "shared", "followed"), FLAGS),
    **{"length_ms": LENGTHS, "source": SOURCES},
}
NAMES = list(POOLS)
KINDS = {"ts": "a time", "watch_ms": "a whole number", "length_ms": "a whole number"}


def judge(row: dict[str, str]) -> str | tuple[Any, ...]:  # noqa: PLR0911 - a return per reason
    """Why the row is bad, or what it is worth."""
    worth = {name: POOLS[name][row[name]] for name in NAMES}
    for name in NAMES:
        value = worth[name]
        if value is MISSING and name != "length_ms":
            return f"{name}: missing"
        if value is PLACEHOLDER:
            return f"{name}: a placeholder"
        if value is INVISIBLE:
            return f"{name}: holds an invisible character"
        if value is BAD:
            return f"{name}: not {KINDS.get(name, 'true or false')}"
        if name == "watch_ms" and not 0 <= value <= 86_400_000:
            return "watch_ms: negative or longer than a day"
        if name == "length_ms" and value is not MISSING and value <= 0:
            return "length_ms: length <= 0"
    if worth["ts"].date() != DAY:
        return "ts: outside its day"
    if worth["video_id"] == "unknown":
        return "video_id: unknown, not in videos"
    return tuple(None if worth[name] is MISSING else worth[name] for name in NAMES)


def judge_all(rows: list[dict[str, str]]) -> tuple[list[tuple[Any, ...]], int, list[str | None]]:
    """Rows of the table, number of duplicates, and for each row its reason to be refused."""
    verdicts = [judge(row) for row in rows]
    contents: dict[str, list[tuple[Any, ...]]] = {}
    for verdict in verdicts:
        if isinstance(verdict, tuple):
            contents.setdefault(verdict[0], []).append(verdict)
    torn = {key for key, found in contents.items() if len(set(found)) > 1}
    table = sorted(found[0] for key, found in contents.items() if key not in torn)
    duplicates = sum(len(found) - 1 for key, found in contents.items() if key not in torn)
    conflict = "event_id: duplicate with different content"
    return (
        table,
        duplicates,
        [v if isinstance(v, str) else conflict if v[0] in torn else None for v in verdicts],
    )


def mostly_good(pool: dict[str, Any]) -> st.SearchStrategy[str]:
    refused = (BAD, MISSING, PLACEHOLDER, INVISIBLE)
    good = [text for text, worth in pool.items() if not any(worth is bad for bad in refused)]
    return st.one_of(
        st.just(good[0]),
        st.just(good[0]),
        st.just(good[0]),
        st.sampled_from(good),
        st.sampled_from(list(pool)),
    )


EVENT = st.fixed_dictionaries(
    {
        name: st.sampled_from(list(IDS)) if name == "event_id" else mostly_good(pool)
        for name, pool in POOLS.items()
    }
)


def write_rows(
    folder: Path, name: str, form: str, rows: list[dict[str, str]], rng: random.Random
) -> list[int]:
    """Write a file in a style of its own (order of columns, line ends, quotes, blank lines);
    returns the line of each row.
    """
    names = rng.sample(NAMES, len(NAMES))
    if form == "parquet":
        columns = {
            n: [row[n] if row[n] or rng.random() < 0.5 else None for row in rows] for n in names
        }
        pq.write_table(
            pa.table({n: pa.array(v, pa.string()) for n, v in columns.items()}),
            folder / f"{name}.parquet",
        )
        return list(range(1, len(rows) + 1))
    lines, records = [], []

    def end() -> str:
        return rng.choice(["\n", "\r\n"])

    def put(text: str) -> None:
        while rng.random() < 0.15:
            records.append(rng.choice(["", "  "]) + end())
        lines.append(1 + sum(len(re.findall("\r\n|\r|\n", record)) for record in records))
        records.append(text + end())

    if form == "jsonl":
        for row in rows:
            put(
                json.dumps(
                    {n: row[n] if row[n] or rng.random() < 0.5 else None for n in names},
                    ensure_ascii=rng.random() < 0.5,
                )
            )
    else:
        records.append(",".join(names) + end())
        for row in rows:
            put(
                ",".join(
                    (
                        '"' + row[n].replace('"', '""') + '"'
                        if rng.random() < 0.2 or set(row[n]) & set('",\r\n')
                        else row[n]
                    )
                    for n in names
                )
            )
    data = ("﻿" if rng.random() < 0.2 else "").encode() + "".join(records).encode()
    (folder / f"{name}.{form}").write_bytes(gzip.compress(data, 1) if form == "csv.gz" else data)
    return lines


@pytest.fixture(scope="module")
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    """All tables in memory, with v1 and v2 known; tests roll back what they load."""
    with duckdb.connect(config={"threads": 2}) as connection:
        connection.execute("SET TimeZone = 'UTC'")
        for table in TABLES.values():
            connection.execute(table.ddl())
        connection.execute(
            "INSERT INTO videos (day, video_id, creator_id, length_ms, categories, compliant,"
            " source) VALUES ('2026-03-01', 'v1', 'c1', 1000, [], true, 'x'), ('2026-03-05', 'v2',"
            " 'c1', 1000, [], true, 'x'), ('2026-03-06', 'v3', 'c1', 1000, [], true, 'x')"
        )
        yield connection


def load_in(
    con: duckdb.DuckDBPyConnection, landing: Path
) -> tuple[Any, list[tuple[Any, ...]], list[tuple[Any, ...]], list[tuple[Any, ...]]]:
    con.begin()
    try:
        report = load_day(DayWriter(con, DAY), landing, LANDING[EVENTS])
        table = con.execute(f"SELECT {', '.join(NAMES)} FROM {EVENTS}").fetchall()
        files = con.execute(
            "SELECT file, rows, loaded, duplicates, quarantined FROM landing_files ORDER BY file"
        ).fetchall()
        return (
            report,
            table,
            con.execute(
                "SELECT file, line, reason, raw FROM quarantine ORDER BY file, line"
            ).fetchall(),
            files,
        )
    finally:
        con.rollback()


def deliver(landing: Path, rows: list[dict[str, str]], rng: random.Random) -> list[tuple[str, int]]:
    """Deal rows out to up to three files of random forms; returns file and line of each row."""
    folder = landing / EVENTS / DAY.isoformat()
    folder.mkdir(parents=True)
    parts = rng.randint(1, 3)
    part_of = [rng.randrange(parts) for _ in rows]
    places: dict[int, tuple[str, int]] = {}
    for part in range(parts):
        mine = [n for n, p in enumerate(part_of) if p == part]
        form = rng.choice(["csv", "csv.gz", "jsonl", "parquet"])
        if form == "jsonl" and not mine:
            form = "csv"
        lines = write_rows(folder, f"part {part}", form, [rows[n] for n in mine], rng)
        places |= {
            n: (f"{EVENTS}/{DAY}/part {part}.{form}", line)
            for n, line in zip(mine, lines, strict=True)
        }
    return [places[n] for n in range(len(rows))]


@settings(max_examples=40, deadline=None)
@given(rows=st.lists(EVENT, max_size=12), seed=st.integers(0, 2**32))
def test_every_row_ends_in_one_place(con, rows, seed):
    rng = random.Random(seed)
    rows = rows + rng.sample(rows, rng.randint(0, min(2, len(rows))))
    table, duplicates, reasons = judge_all(rows)
    with tempfile.TemporaryDirectory() as folder:
        places = deliver(Path(folder), rows, rng)
        report, loaded, quarantine, files = load_in(con, Path(folder))
    assert sorted(loaded) == table
    assert [row[:3] for row in quarantine] == sorted(
        (*place, reason) for place, reason in zip(places, reasons, strict=True) if reason
    )
    assert (report.rows, report.loaded, report.duplicates) == (len(rows), len(table), duplicates)
    assert report.reasons == Counter(reason for reason in reasons if reason)
    assert {f[0]: f[1] for f in files} == {
        **{f[0]: 0 for f in files},
        **Counter(file for file, _ in places),
    }
    assert all(rows == loaded + again + bad for _, rows, loaded, again, bad in files)

    shuffled = rng.sample(rows, len(rows))
    with tempfile.TemporaryDirectory() as folder:
        deliver(Path(folder), shuffled, rng)
        again, loaded_again, quarantine_again, _ = load_in(con, Path(folder))
    assert loaded_again == loaded  # not even the order differs
    assert Counter(row[2] for row in quarantine_again) == Counter(row[2] for row in quarantine)
    assert again.duplicates == report.duplicates


@settings(max_examples=40, deadline=None)
@given(
    data=st.one_of(
        st.binary(max_size=200),
        st.text('",\n\r a1\0é', max_size=80).map(lambda t: (HEADER + "\n" + t).encode()),
    ),
    form=st.sampled_from(["csv", "csv.gz", "jsonl", "parquet"]),
)
def test_any_bytes_are_judged_or_refused_by_name(con, data, form):
    account_for(con, f"any.{form}", gzip.compress(data) if form == "csv.gz" else data)


def account_for(con: duckdb.DuckDBPyConnection, name: str, data: bytes) -> None:
    """Whatever a file holds, it either is split into rows that all have a place, or is a
    SourceError that names it.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / EVENTS / DAY.isoformat() / name
        path.parent.mkdir(parents=True)
        path.write_bytes(data)
        refusal = None
        try:
            report, loaded, quarantine, _ = load_in(con, Path(folder))
        except SourceError as error:
            refusal = str(error)
    if refusal is None:
        assert report.rows == len(loaded) + report.duplicates + len(quarantine)
    else:
        assert str(path) in refusal


@settings(max_examples=40, deadline=None)
@given(
    form=st.sampled_from(["parquet", "csv.gz"]),
    flips=st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=3),
)
def test_a_file_with_flipped_bytes_is_judged_or_refused_by_name(con, form, flips):
    data = bytearray(
        parquet(event_columns(50))
        if form == "parquet"
        else gzip.compress(csv_file(*[f"e{i},{GOOD}" for i in range(50)]))
    )
    for place, byte in flips:
        data[place % len(data)] = byte
    account_for(con, f"flipped.{form}", bytes(data))


# --------------------------------------------------------------------------------------------------
# Files that cannot be read


def parquet(columns: dict[str, Any] | pa.Table, **options: Any) -> bytes:
    sink = io.BytesIO()
    pq.write_table(columns if isinstance(columns, pa.Table) else pa.table(columns), sink, **options)
    return sink.getvalue()


def corrupt_page() -> bytes:
    data = bytearray(
        parquet(
            {n: [f"{n}{i * 7919 % 9973}" for i in range(2000)] for n in HEADER.split(",")},
            compression="zstd",
            use_dictionary=False,
        )
    )
    data[200:400] = bytes(200)
    return bytes(data)


def event_columns(n: int = 2, **changes: Any) -> dict[str, Any]:
    return {
        "event_id": [f"e{i}" for i in range(n)],
        "ts": [NOON] * n,
        "viewer_id": ["u1"] * n,
        "video_id": ["v1"] * n,
        "watch_ms": [12_000] * n,
        **{name: [False] * n for name in ("liked", "commented", "shared", "followed")},
        **changes,
    }


DUPLICATE_COLUMN = pa.Table.from_arrays(
    [pa.array(["e1"]), pa.array(["e2"])], names=["event_id", "Event_ID"]
)

UNREADABLE = {
    "truncated parquet": ("x.parquet", parquet(event_columns())[:-10], "cannot be read"),
    "parquet cut in the middle": (
        "x.parquet",
        parquet(event_columns(5000))[:2000],
        "cannot be read",
    ),
    "corrupt page": ("x.parquet", corrupt_page(), "cannot be read"),
    "empty parquet": ("x.parquet", b"", "cannot be read"),
    "csv called parquet": ("x.parquet", csv_file(), "cannot be read"),
    "truncated gz": (
        "x.csv.gz",
        gzip.compress(csv_file(*[f"e{i},{GOOD}" for i in range(5000)]))[:-200],
        r"line \d+: cannot be read",
    ),
    "gz without its checksum": (
        "x.csv.gz",
        gzip.compress(csv_file(f"e1,{GOOD}"))[:-4],
        "cannot be read",
    ),
    "gz with a wrong checksum": (
        "x.csv.gz",
        gzip.compress(csv_file(f"e1,{GOOD}"))[:-8] + b"\1\2\3\4\1\0\0\0",
        "cannot be read",
    ),
    "csv called gz": ("x.csv.gz", csv_file(), "line 1: cannot be read"),
    "empty gz": ("x.csv.gz", b"", "empty file"),
    "gz of nothing": ("x.csv.gz", gzip.compress(b""), "empty file"),
    "empty csv": ("x.csv", b"", "empty file"),
    "empty jsonl": ("x.jsonl", b"", "empty file"),
    "blank first line": ("x.csv", b"\n" + csv_file(), "line 1: blank"),
    "latin-1 header": (
        "x.csv",
        HEADER.encode() + ",gr\xfc\xdfe\n".encode("latin-1"),
        "line 1: not UTF-8",
    ),
    "utf-16": ("x.csv", csv_file().decode().encode("utf-16-le"), "line 1: holds a NUL"),
    "unterminated quote": (
        "x.csv",
        csv_file(f"e1,{GOOD}", f'"e2,{GOOD}', f"e3,{GOOD}"),
        "line 3: cannot be read: unexpected end",
    ),
    "stray quote": (
        "x.csv",
        csv_file(f"e1,{GOOD}", f'"e"2,{GOOD}'),
        "line 3: cannot be read: ',' expected",
    ),
    "endless field": (
        "x.csv",
        csv_file(f"e1,{GOOD}", "e" * 2_000_000 + f",{GOOD}"),
        "line 3: cannot be read: field larger",
    ),
    "column missing": ("x.csv", b"event_id,ts\n", "watch_ms.* missing .found: event_id, ts"),
    "column missing in parquet": (
        "x.parquet",
        parquet({"event_id": ["e1"]}),
        "watch_ms.* missing .found: event_id",
    ),
    "semicolons": ("x.csv", csv_file().replace(b",", b";"), "missing .found: event_id;ts"),
    "column twice": ("x.csv", (HEADER + ",watch_ms\n").encode(), "'watch_ms' appears twice"),
    "column twice but for case": (
        "x.csv",
        (HEADER + ", Watch_MS\n").encode(),
        "'watch_ms' appears twice",
    ),
    "column twice in parquet": ("x.parquet", parquet(DUPLICATE_COLUMN), "'event_id' appears twice"),
    "wide decimal": (
        "x.parquet",
        parquet(event_columns(1, watch_ms=pa.array([Decimal(1)], pa.decimal256(50, 2)))),
        "watch_ms: decimal256",
    ),
    "unknown ending": ("x.xlsx", b"{}", "not one of"),
    "csv cut in a row": ("x.csv", csv_file(f"e1,{GOOD}", f"e2,{GOOD}")[:-3], "line 3.*cut off"),
    "csv cut at a row's end": ("x.csv", csv_file(f"e1,{GOOD}")[:-1], "line 2.*cut off"),
    "csv cut in its header": ("x.csv", HEADER.encode(), "line 1.*cut off"),
    "gz of a csv that was cut": (
        "x.csv.gz",
        gzip.compress(csv_file(f"e1,{GOOD}")[:-4]),
        "line 2.*cut off",
    ),
    "json cut in a row": ("x.jsonl", b'{"event_id": "e1"}\n{"event_id": "e', "line 2.*cut off"),
    "truncated zst": (
        "x.csv.zst",
        bytes(pa.compress(csv_file(*[f"e{i},{GOOD}" for i in range(5000)]), "zstd"))[:-20],
        r"x\.csv\.zst: line \d+: cannot be read",
    ),
    "csv called zst": ("x.csv.zst", csv_file(), "cannot be read"),
    "upper-case ending": ("x.CSV", csv_file(), "not one of"),
    "unprintable name": ("x\n.csv", csv_file(), "unprintable"),
}


@pytest.mark.parametrize(("name", "data", "message"), UNREADABLE.values(), ids=UNREADABLE.keys())
def test_an_unreadable_file_stops_the_run_by_name(con, tmp_path, name, data, message):
    path = tmp_path / EVENTS / DAY.isoformat() / name
    path.parent.mkdir(parents=True)
    path.write_bytes(data)
    path.with_name("a.csv").write_bytes(csv_file(f"e0,{GOOD}"))
    with pytest.raises(SourceError, match=message) as error:
        load_in(con, tmp_path)
    assert str(path) in str(error.value) or repr(str(path)) in str(error.value)


def test_a_failed_load_leaves_the_day_as_it_was(ready):
    ready.file(EVENTS, "x.csv", csv_file(f"e1,{GOOD}", "e2"))
    ready.load(EVENTS)
    everything = [
        f"FROM {table} ORDER BY ALL"
        for table in (EVENTS, "quarantine", "landing_files", "written_days")
    ]
    before = [ready.ask(sql) for sql in everything]
    ready.file(
        EVENTS, "y.csv.gz", gzip.compress(csv_file(*[f"f{i},{GOOD}" for i in range(100)]))[:-9]
    )
    with pytest.raises(SourceError, match=r"y\.csv\.gz"):
        ready.load(EVENTS)
    assert [ready.ask(sql) for sql in everything] == before


@pytest.mark.parametrize("make", ["folder", "broken link", "pipe"])
def test_what_is_no_file_is_refused(con, tmp_path, make):
    path = tmp_path / EVENTS / DAY.isoformat() / "x.parquet"
    path.parent.mkdir(parents=True)
    if make == "folder":
        path.mkdir()
    elif make == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to(tmp_path / "nowhere")
    with pytest.raises(SourceError, match=r"x\.parquet: not a file"):
        load_in(con, tmp_path)


def test_a_link_to_a_file_is_followed(con, tmp_path):
    (tmp_path / "elsewhere").write_bytes(csv_file(f"e1,{GOOD}"))
    path = tmp_path / "landing" / EVENTS / DAY.isoformat() / "x.csv"
    path.parent.mkdir(parents=True)
    path.symlink_to(tmp_path / "elsewhere")
    assert load_in(con, tmp_path / "landing")[0].loaded == 1


@pytest.mark.parametrize(
    "name", ["2026-3-5", "20260305", "2026-W10-4", "2026-02-30", "old", "loose.csv"]
)
def test_what_no_run_would_read_is_refused(con, tmp_path, name):
    """A delivery into a misspelt folder would otherwise be lost without a word."""
    good = tmp_path / EVENTS / DAY.isoformat() / "x.csv"
    good.parent.mkdir(parents=True)
    good.write_bytes(csv_file(f"e1,{GOOD}"))
    (tmp_path / EVENTS / name).mkdir()
    with pytest.raises(SourceError, match=f"{name}: not a folder of a day"):
        load_in(con, tmp_path)


def test_hidden_files_are_not_data(ready):
    ready.file(EVENTS, "x.csv", csv_file(f"e1,{GOOD}"))
    ready.file(EVENTS, ".x.csv.123.tmp", b"half")
    ready.file(EVENTS, "_SUCCESS", b"")
    ready.file(EVENTS, "_committed_123", b"x")
    (ready.home.landing / EVENTS / "_temporary").mkdir()
    (ready.home.landing / EVENTS / ".cache").mkdir()
    assert ready.load(EVENTS).files == 1


def test_a_daily_table_without_files_is_refused_and_one_with_a_header_is_empty(ready):
    (ready.home.landing / EVENTS / DAY.isoformat()).mkdir(parents=True)
    with pytest.raises(SourceError, match="no files for viewer_events on 2026-03-05"):
        ready.load(EVENTS)
    ready.file(EVENTS, "x.csv", csv_file())
    assert ready.load(EVENTS).rows == 0
    assert ready.ask("SELECT rows FROM written_days WHERE table_name = 'viewer_events'") == [(0,)]


def test_a_table_no_platform_delivers_is_empty(ready):
    assert ready.load("gifts").rows == 0


@pytest.mark.parametrize("what", ["day", "table"])
def test_files_that_were_loaded_and_are_gone_are_missed(ready, what):
    """An unmounted disk must not empty the day."""
    path = ready.file(EVENTS, "x.csv", csv_file(f"e1,{GOOD}"))
    ready.load(EVENTS)
    path.unlink()
    if what == "table":
        path.parent.rmdir()
        path.parent.parent.rmdir()
    with pytest.raises(SourceError, match=r"viewer_events/2026-03-05/x\.csv was loaded before"):
        ready.load(EVENTS)
    assert ready.ask("SELECT event_id FROM viewer_events") == [("e1",)]


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_a_file_that_vanishes_or_changes_meanwhile_stops_the_run(ready, rows, form, monkeypatch):
    path = ready.land(EVENTS, [rows.event()], form=form)
    scanning = landing_module.scanning

    def vanish(*args: Any) -> Any:
        path.unlink()
        return scanning(*args)

    monkeypatch.setattr(landing_module, "scanning", vanish)
    with pytest.raises(SourceError, match=f"{path}.*No such file"):
        ready.load(EVENTS)

    def replace(*args: Any) -> Any:
        path.unlink()
        ready.land(EVENTS, [rows.event("e2")], form=form)
        return scanning(*args)

    ready.land(EVENTS, [rows.event()], form=form)
    monkeypatch.setattr(landing_module, "scanning", replace)
    with pytest.raises(SourceError, match=f"{path}: changed while it was read"):
        ready.load(EVENTS)


ODD_NAMES = [
    "it's.parquet",
    'a "b".parquet',
    "a b.parquet",
    "a*.parquet",
    "[a].parquet",
    "a?.parquet",
    "100%s.parquet",
    "ab.parquet",
    "é😀.parquet",
]


def test_names_match_only_themselves(tmp_path, con):
    """Every name is read once, though some are patterns that match others, in a folder that is a
    pattern and a partition.
    """
    folder = tmp_path / "env=prod [x]*" / EVENTS / DAY.isoformat()
    folder.mkdir(parents=True)
    for n, name in enumerate(ODD_NAMES):
        (folder / name).write_bytes(parquet(event_columns(1, event_id=[f"e{n}"], watch_ms=[-n])))
        (folder / name.replace("parquet", "csv")).write_bytes(csv_file(f"f{n},{GOOD}"))
    report, table, quarantine, files = load_in(con, folder.parents[1])
    assert (report.loaded, report.duplicates, report.quarantined) == (
        len(ODD_NAMES) + 1,
        0,
        len(ODD_NAMES) - 1,
    )
    assert {row[0]: row[1] for row in files} == {
        f"{EVENTS}/{DAY}/{n}": 1
        for name in ODD_NAMES
        for n in (name, name.replace("parquet", "csv"))
    }
    assert {row[0] for row in quarantine} == {f"{EVENTS}/{DAY}/{name}" for name in ODD_NAMES[1:]}
    assert report.ignored_columns == ()
    assert {row[0] for row in table} == {"e0", *(f"f{n}" for n in range(len(ODD_NAMES)))}


# --------------------------------------------------------------------------------------------------
# Text files


def test_lines_are_those_an_editor_shows(ready):
    lines = [
        "",  # 2
        f"e1,{GOOD}",  # 3
        '"two',  # 4
        f'lines",{GOOD}',
        "   ",  # 6
        "short",  # 7
        f"e2,{GOOD},more",  # 8
        '"bad',  # 9
        "",
        f'row",{GOOD.replace("12000", "-1")}',
        f",{GOOD}",  # 12
        ",,,,,,,,",  # 13
        f"e3,{GOOD.replace('v1', 'v9')}",  # 14
    ]
    expected = [
        (4, "event_id: holds an invisible character"),
        (7, "too few columns"),
        (8, "too many columns"),
        (9, "event_id: holds an invisible character"),
        (12, "event_id: missing"),
        (13, "event_id: missing"),
        (14, "video_id: unknown, not in videos"),
    ]
    for end in ("\n", "\r\n", "\r"):
        ready.file(EVENTS, "x.csv", csv_file(*lines, end=end))
        report = ready.load(EVENTS)
        assert (report.rows, report.loaded) == (8, 1)
        assert bad_rows(ready) == expected
        raw = dict(ready.ask("SELECT line, raw FROM quarantine"))
        assert raw[7] == "short"
        assert raw[9] == end.join(lines[7:10])


def test_text_that_is_not_utf8_is_quarantined_with_its_bytes(ready):
    latin = f"e1,{GOOD}".replace("u1", "Jos\xe9").encode("latin-1")
    ready.file(
        EVENTS,
        "x.csv",
        csv_file(f"e0,{GOOD}") + latin + b"\ne2\0," + GOOD.encode() + b"\n" + b"\0" * 50 + b"\n",
    )
    ready.load(EVENTS)
    assert bad_rows(ready) == [
        (3, "not UTF-8"),
        (4, "holds a NUL character"),
        (5, "too few columns"),
    ]
    raw = [row[0] for row in ready.ask("SELECT raw FROM quarantine ORDER BY line")]
    assert "Jos\\xe9" in raw[0]
    assert raw[1].startswith("e2\0,")
    assert raw[2] == "\0" * 50


JSON_LINES = {
    "[1, 2]": "not a JSON object",
    "null": "not a JSON object",
    '{"event_id": "e1"': "not JSON",
    "e1;e2": "not JSON",
    "{}": "event_id: missing",
    '{"event_id": null}': "event_id: missing",
    '{"event_id": {"id": "e1"}}': "event_id: not text",
    '{"event_id": ["e1"]}': "event_id: not text",
    '{"event_id": "e1", "event_id": "e2"}': "a key appears twice",
    '{"event_id": "e1", "EVENT_ID": "e2"}': "a key appears twice",
    '{"event_id": "e1", "more": {"a": 1, "a": 2}}': "a key appears twice",
    '{"event_id": "a\\u0000b"}': "holds a NUL character",
    '{"event_id": "a\\ud800"}': "not UTF-8",
    '{"more": ' + "[" * 100_000 + "]" * 100_000 + "}": "nested too deeply",
}


def test_a_json_line_is_an_object_with_one_value_a_key(ready):
    good = json.loads(json.dumps(event_columns(), default=str))
    good = {name: values[0] for name, values in good.items()}
    good_line = json.dumps(
        {**good, "event_id": 17, "weird \"$.[]*' key": {"nested": [1]}, "": None, "\ud800": 1}
    )
    ready.file(EVENTS, "x.jsonl", "\r\n".join([good_line, "", *JSON_LINES]).encode())
    report = ready.load(EVENTS)
    assert bad_rows(ready) == list(enumerate(JSON_LINES.values(), 3))
    assert [row[0] for row in ready.ask("SELECT raw FROM quarantine ORDER BY line")] == list(
        JSON_LINES
    )
    assert ready.ask("SELECT event_id, ts, liked FROM viewer_events") == [("17", NOON, False)]
    assert report.ignored_columns == ("", "\\ud800", "weird \"$.[]*' key")


@pytest.mark.parametrize(
    ("number", "reason"),
    [
        ("9223372036854775808", "watch_ms: not a whole number"),
        ("9007199254740993.5", "watch_ms: not a whole number"),
        ("1e3", "watch_ms: not a whole number"),
        ("NaN", "watch_ms: not a whole number"),
        ("true", "watch_ms: not a whole number"),
        ("[7]", "watch_ms: not a whole number"),
        ('"0x10"', "watch_ms: not a whole number"),
        ("12345678901234567", "watch_ms: negative or longer than a day"),
        ('"7"', None),
        ("7.0", None),
    ],
)
def test_json_numbers_are_taken_to_the_letter(ready, number, reason):
    values = {name: json.dumps(v[0], default=str) for name, v in event_columns().items()} | {
        "watch_ms": number
    }
    ready.file(
        EVENTS,
        "x.jsonl",
        ("{" + ", ".join(f'"{n}": {v}' for n, v in values.items()) + "}").encode(),
    )
    ready.file(EVENTS, "y.csv", csv_file(f"e9,{GOOD}"))
    ready.load(EVENTS)
    assert [row[1] for row in bad_rows(ready)] == ([reason] if reason else [])


def test_column_names_count_without_case_and_blanks(ready):
    header = HEADER.upper().replace(",", " , ").replace("LIKED ", "Liked\t") + ',"more, ""of"" it",'
    ready.file(EVENTS, "x.csv", f"{header}\ne1,{GOOD},z,\n".encode())
    ready.file(
        EVENTS,
        "y.parquet",
        parquet(
            {
                n.title(): v
                for n, v in event_columns(1, event_id=["e2"], line=[5], File_Row=["x"]).items()
            }
        ),
    )
    row = {n.upper(): v[0] for n, v in event_columns(1, event_id=["e3"], verdict=["x"]).items()}
    ready.file(EVENTS, "z.jsonl", json.dumps(row, default=str).encode())
    report = ready.load(EVENTS)
    assert (report.loaded, report.quarantined) == (3, 0)
    assert report.ignored_columns == ("", "File_Row", "Line", "VERDICT", 'more, "of" it')
    assert ready.ask(
        "SELECT file[26:], ignored_columns FROM landing_files WHERE table_name = 'viewer_events'"
        " ORDER BY file"
    ) == [
        ("x.csv", ["", 'more, "of" it']),
        ("y.parquet", ["File_Row", "Line"]),
        ("z.jsonl", ["VERDICT"]),
    ]


def test_a_day_column_must_say_the_day_of_the_folder(ready, rows):
    viewers = [
        rows.viewer("u1", day=""),
        rows.viewer("u2", day="2026-03-05"),
        rows.viewer("u3", day="2026-03-04"),
        rows.viewer("u4", day="x"),
    ]
    for form in ("csv", "jsonl"):
        ready.clear("viewers")
        ready.land("viewers", viewers, form=form)
        report = ready.load("viewers")
        assert (report.loaded, report.reasons) == (2, {"day: not the day of its folder": 2})
        assert report.ignored_columns == ()


# --------------------------------------------------------------------------------------------------
# Parquet types

PA_TYPES: dict[str, tuple[str, pa.Array, list[Any]]] = {
    "int8": (
        "watch_ms",
        pa.array([7, -1], pa.int8()),
        [7, "watch_ms: negative or longer than a day"],
    ),
    "int32": ("watch_ms", pa.array([7, None], pa.int32()), [7, "watch_ms: missing"]),
    "uint64": (
        "watch_ms",
        pa.array([7, 2**64 - 1], pa.uint64()),
        [7, "watch_ms: not a whole number"],
    ),
    "float": ("watch_ms", pa.array([7.0, 1.5], pa.float32()), [7, "watch_ms: not a whole number"]),
    "double": (
        "watch_ms",
        pa.array([float("nan"), float("inf"), -0.0]),
        ["watch_ms: not a whole number"] * 2 + [0],
    ),
    "decimal": (
        "watch_ms",
        pa.array([Decimal("7.00"), Decimal("7.50")]),
        [7, "watch_ms: not a whole number"],
    ),
    "text for a number": ("watch_ms", pa.array(["7", "x"]), [7, "watch_ms: not a whole number"]),
    "bool for a number": ("watch_ms", pa.array([True]), ["watch_ms: not a whole number"]),
    "list for a number": ("watch_ms", pa.array([[7]]), ["watch_ms: not a whole number"]),
    "null": ("watch_ms", pa.nulls(2), ["watch_ms: missing"] * 2),
    "dictionary": (
        "viewer_id",
        pa.array(["u1", ""]).dictionary_encode(),
        ["u1", "viewer_id: missing"],
    ),
    "large string": ("viewer_id", pa.array(["u1"], pa.large_string()), ["u1"]),
    "binary": (
        "viewer_id",
        pa.array(["é".encode(), b"\xff", b""]),
        ["é", "viewer_id: not text", "viewer_id: missing"],
    ),
    "NUL": ("viewer_id", pa.array(["a\0b"]), ["viewer_id: not text"]),
    "integer id": ("viewer_id", pa.array([17]), ["17"]),
    "float id": (
        "viewer_id",
        pa.array([17.0, None]),
        ["viewer_id: not text", "viewer_id: missing"],
    ),
    "nested id": ("viewer_id", pa.array([{"a": 1}]), ["viewer_id: not text"]),
    "list id": ("viewer_id", pa.array([["u1"]]), ["viewer_id: not text"]),
    "bool": ("liked", pa.array([True, None]), [True, "liked: missing"]),
    "int for a bool": ("liked", pa.array([1, 0, 2]), [True, False, "liked: not true or false"]),
    "float for a bool": ("liked", pa.array([1.0]), ["liked: not true or false"]),
    "ms": ("ts", pa.array([NOON], pa.timestamp("ms")), [NOON]),
    "ns": ("ts", pa.array([NOON], pa.timestamp("ns")), [NOON]),
    "zone": ("ts", pa.array([NOON.replace(tzinfo=UTC)], pa.timestamp("us", "Asia/Tokyo")), [NOON]),
    "zone, other day": (
        "ts",
        pa.array(
            [NOON.replace(tzinfo=UTC) + timedelta(hours=12)], pa.timestamp("ns", "Asia/Tokyo")
        ),
        ["ts: outside its day"],
    ),
    "date": ("ts", pa.array([DAY]), [datetime(2026, 3, 5)]),
    "epoch": ("ts", pa.array([1772712000, 17727120]), [NOON, "ts: not a time"]),
    "time text": ("ts", pa.array(["2026-03-05T20:00:00+08:00"]), [NOON]),
}


@pytest.mark.parametrize(("column", "values", "expected"), PA_TYPES.values(), ids=PA_TYPES.keys())
def test_every_parquet_type(con, tmp_path, column, values, expected):
    path = tmp_path / EVENTS / DAY.isoformat() / "x.parquet"
    path.parent.mkdir(parents=True)
    path.write_bytes(parquet(event_columns(len(values), **{column: values})))
    _, table, quarantine, _ = load_in(con, tmp_path)
    became = {int(row[0][1:]): row[NAMES.index(column)] for row in table} | {
        row[1] - 1: row[2] for row in quarantine
    }
    assert [became[n] for n in range(len(values))] == expected
    for row in quarantine:
        assert json.loads(row[3])["event_id"] == f"e{row[1] - 1}"


LISTS = {
    "csv": ["", "b;a", " a ;; b;a", '["b","a"]', '["a",null]', '["a",["b"]]', "[a", "{a}"],
    "jsonl": [
        [],
        ["b", "a"],
        ["a", " b", "", "a"],
        '["b","a"]',
        ["a", None],
        ["a", {"b": 1}],
        "[a",
        ["{a}"],
    ],
    "parquet": [
        [],
        ["b", "a"],
        [" a ", "", "b"],
        ["a", "b"],
        ["a", None],
        ["a", "[b]"],
        ["[a"],
        ["{a}"],
    ],
}


@pytest.mark.parametrize("form", LISTS)
def test_lists_are_sets_of_texts_in_every_format(ready, rows, form):
    ready.clear("videos")
    ready.land(
        "videos",
        [rows.video(f"v{n}", categories=value) for n, value in enumerate(LISTS[form])],
        form=form,
    )
    ready.load("videos")
    assert ready.ask("SELECT video_id, categories FROM videos ORDER BY video_id") == [
        ("v0", []),
        *((f"v{n}", ["a", "b"]) for n in (1, 2, 3)),
    ]
    assert bad_rows(ready, "videos") == [
        (n, "categories: not a list") for n in (range(6, 10) if form == "csv" else range(5, 9))
    ]


@pytest.mark.parametrize(
    ("text", "trust"),
    [("1e-1", 0.1), (".5", 0.5), ("-0", 0.0), ("1.", 1.0), (" 1 ", 1.0), ("", 1.0)],
)
def test_reals(ready, rows, text, trust):
    ready.land("viewers", [rows.viewer("u1", trust=text)])
    ready.load("viewers")
    assert str(ready.ask("SELECT trust FROM viewers")) == str([(trust,)])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("nan", "not a number"),
        ("inf", "not a number"),
        ("1e999", "not a number"),
        ("1_0", "not a number"),
        ("0x1", "not a number"),
        ("1.01", "outside [0, 1]"),
    ],
)
def test_what_is_no_real(ready, rows, text, reason):
    for form in ("csv", "jsonl", "parquet"):
        ready.clear("viewers")
        ready.land(
            "viewers", [rows.viewer("u1", trust="1"), rows.viewer("u2", trust=text)], form=form
        )
        ready.load("viewers")
        assert [row[1] for row in bad_rows(ready, "viewers")] == [f"trust: {reason}"]


# --------------------------------------------------------------------------------------------------
# Repeats, and loading again


def test_the_same_row_in_every_format_is_one_row(ready, rows):
    for form in ("csv", "csv.gz", "jsonl", "parquet"):
        ready.land(EVENTS, [rows.event("e1"), rows.event("e2", watch_ms=7)], form=form)
        ready.land("videos", [rows.video("v1", categories=["b", "a"], s_plus=None)], form=form)
    for table, loaded, duplicates in ((EVENTS, 2, 6), ("videos", 1, 4)):
        if table == "videos":
            ready.land(
                "videos",
                [rows.video("v1", categories=["a", "b", "a"], s_plus=None)],
                form="parquet",
                name="again",
            )
        report = ready.load(table)
        assert (report.loaded, report.duplicates, report.quarantined) == (loaded, duplicates, 0)


@pytest.mark.parametrize("form", ["csv", "csv.gz", "jsonl", "parquet"])
def test_all_rows_of_a_conflict_are_quarantined_with_what_they_said(ready, rows, form):
    ready.land(
        EVENTS, [rows.event("e1", note="first"), rows.event("e2", note="")], form=form, name="a"
    )
    ready.land(
        EVENTS,
        [
            rows.event("e3", note=""),
            rows.event("e1", watch_ms=7, note="other"),
            rows.event("e1", note="again"),
        ],
        form=form,
        name="b",
    )
    report = ready.load(EVENTS)
    assert (report.loaded, report.duplicates) == (2, 0)
    found = ready.ask("SELECT file, line, reason, raw FROM quarantine ORDER BY file, line")
    first = 2 if form.startswith("csv") else 1
    assert [(row[0][-len(form) - 2 :][0], row[1]) for row in found] == [
        ("a", first),
        ("b", first + 1),
        ("b", first + 2),
    ]
    assert {row[2] for row in found} == {"event_id: duplicate with different content"}
    assert all(note in row[3] for note, row in zip(("first", "other", "again"), found, strict=True))


def test_a_bad_row_makes_no_conflict(ready):
    """The bad one is refused for its own reason; the good one is paid, whichever comes first."""
    for lines in (
        [f"e1,{GOOD}", f"e1,{GOOD.replace('12000', '-1')}"],
        [f"e1,{GOOD.replace('12000', '-1')}", f"e1,{GOOD}"],
    ):
        ready.file(EVENTS, "x.csv", csv_file(*lines))
        report = ready.load(EVENTS)
        assert (report.loaded, report.reasons) == (
            1,
            {"watch_ms: negative or longer than a day": 1},
        )


def test_loading_twice_changes_nothing_and_a_corrected_file_replaces_its_day(ready, rows):
    ready.land(EVENTS, [rows.event("e1"), rows.event("e2", watch_ms=-1)])
    other = DAY + timedelta(days=1)
    ready.land(EVENTS, [rows.event("f1", day=other)], other)
    ready.load(EVENTS, other)
    first = ready.load(EVENTS)
    state = [
        "FROM viewer_events ORDER BY ALL",
        "FROM quarantine ORDER BY ALL",
        "FROM landing_files ORDER BY ALL",
    ]
    before = [ready.ask(sql) for sql in state]
    assert ready.load(EVENTS) == first
    assert [ready.ask(sql) for sql in state] == before
    ready.land(EVENTS, [rows.event("e2", watch_ms=1)])
    corrected = ready.load(EVENTS)
    assert (corrected.rows, corrected.quarantined) == (1, 0)
    assert ready.ask("SELECT event_id FROM viewer_events ORDER BY 1") == [("e2",), ("f1",)]
    assert ready.ask("FROM quarantine") == []


def test_rewriting_a_file_within_one_connection_is_noticed(ready, rows):
    """DuckDB may cache what it read of a file; a corrected file of the same size in the same second
    must still be read.
    """
    with ready.warehouse.open() as con:
        for watched in (111, 222, 333):
            path = ready.land(EVENTS, [rows.event("e1", watch_ms=watched)], form="parquet")
            os.utime(path, (1_772_712_000, 1_772_712_000))
            ready.load(EVENTS, con=con)
            assert con.execute("SELECT watch_ms FROM viewer_events").fetchall() == [(watched,)]


def test_many_rows_over_many_batches_keep_their_lines(ready, monkeypatch):
    """Records cross the borders of batches, and an error after some batches still says its line."""
    monkeypatch.setattr(records_module, "BATCH_ROWS", 7)
    lines = [f"e{n},{GOOD if n % 10 else GOOD.replace('12000', '-1')}" for n in range(100)]
    ready.file(EVENTS, "x.csv", csv_file(*lines))
    assert ready.load(EVENTS).loaded == 90
    assert [line for line, _ in bad_rows(ready)] == list(range(2, 102, 10))
    ready.file(EVENTS, "x.csv", csv_file(*lines, '"open'))
    with pytest.raises(SourceError, match=r"x\.csv: line 102: cannot be read"):
        ready.load(EVENTS)


def test_references_know_only_what_was_known_by_the_day(ready, rows):
    later = DAY + timedelta(days=1)
    ready.land("videos", [rows.video("v9")], later)
    ready.load("videos", later)
    ready.land("gifts", [rows.gift("g1"), rows.gift("g2", video_id="v9")])
    ready.land(
        "ad_revenue", [rows.ad("a1"), rows.ad("a2", video_id="v9"), rows.ad("a3", video_id="v1")]
    )
    for table in ("gifts", "ad_revenue"):
        assert ready.load(table).reasons == {"video_id: unknown, not in videos": 1}
    ready.land("videos", [rows.video("v1"), rows.video("v2", creator_id="c9")])
    assert ready.load("videos").reasons == {"creator_id: unknown, not in creators": 1}


COINS = (
    "coins: not between 1 and 1000000000 (a refund is a decision about the gift it takes back:"
    " invalid_traffic)"
)
MICROS = (
    "amount_micros: not between 0 and 1000000000000000 (a correction is a decision about the"
    " booking it takes from: invalid_traffic)"
)


@pytest.mark.parametrize(("table", "change", "reason"), [
    ("gifts", {"coins": 0}, COINS),
    ("gifts", {"coins": 1_000_000_001}, COINS),
    ("gifts", {"premium": "maybe"}, "premium: not true or false"),
    ("ad_revenue", {"amount_micros": -1}, MICROS),
    ("ad_revenue", {"category": " "}, "category: missing"),
    ("ad_revenue", {"amount_micros": "1.50 EUR"}, "amount_micros: not a whole number"),
    ("creators", {"followers": -1}, "followers: negative"),
    ("viewers", {"tenure_days": -1}, "tenure_days: negative"),
    ("viewers", {"verified": None}, "verified: missing"),
    ("videos", {"length_ms": 0}, "length_ms: length <= 0"),
    ("videos", {"s_tox": 1.5}, "s_tox: outside [0, 1]"),
    ("videos", {"compliant": "perhaps"}, "compliant: not true or false"),
])  # fmt: skip
@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_rules_of_the_other_tables(ready, rows, table, change, reason, form):
    build = {
        "gifts": rows.gift,
        "ad_revenue": rows.ad,
        "creators": rows.creator,
        "viewers": rows.viewer,
        "videos": rows.video,
    }[table]
    ready.clear(table)
    ready.land(table, [build("x1"), build("x2", **change)], form=form)
    report = ready.load(table)
    assert (report.loaded, report.reasons) == (1, {reason: 1})


def test_sessions_of_one_viewer_on_one_video_are_flagged(ready, rows):
    events = [("a", "u1", "v1"), ("b", "u1", "v1"), ("c", "u1", "v2"), ("d", "u2", "v1")]
    ready.land(EVENTS, [rows.event(e, viewer_id=u, video_id=v) for e, u, v in events])
    ready.load(EVENTS)
    assert ready.ask("SELECT event_id, repeated FROM viewer_events ORDER BY 1") == [
        ("a", True),
        ("b", True),
        ("c", False),
        ("d", False),
    ]
