"""What real producers write, as they write it: endings, compression, times, flags and nulls."""

from __future__ import annotations

import gzip
import json
import shutil
from datetime import date, datetime

import pyarrow as pa
import pytest

from pipelines.sources.errors import SourceError
from pipelines.sources.landing import landing_files
from pipelines.sources.records import SUFFIXES

DAY = date(2026, 3, 5)
NOON = datetime(2026, 3, 5, 12)
EVENTS = "viewer_events"


@pytest.fixture(scope="module")
def prepared(tmp_path_factory, platform_at):
    platform = platform_at(tmp_path_factory.mktemp("prepared"))
    platform.load_known()
    return platform.home.root


@pytest.fixture
def ready(platform, prepared):
    shutil.copytree(prepared, platform.home.root, dirs_exist_ok=True)
    return platform


def packed(data: bytes, name: str) -> bytes:
    if name.endswith(".gz"):
        return gzip.compress(data)
    return bytes(pa.compress(data, "zstd")) if name.endswith(".zst") else data


HEADER = "event_id,ts,viewer_id,video_id,watch_ms,liked,commented,shared,followed\n"
ROW = {
    "event_id": "e1", "ts": "2026-03-05T12:00:00Z", "viewer_id": "u1", "video_id": "v1",
    "watch_ms": 7, "liked": True, "commented": False, "shared": False, "followed": False,
}  # fmt: skip

# name of the file and its text
PRODUCERS = {
    "Spark, CSV": (
        "part-00000-9f2c-c000.csv.gz",
        HEADER + "e1,2026-03-05T12:00:00.000Z,u1,v1,7,true,false,false,false\n",
    ),
    "Spark, JSON": (
        "part-00000-9f2c-c000.json",
        json.dumps({**ROW, "ts": "2026-03-05T12:00:00.000Z"}) + "\n",
    ),
    "Spark, zstd": ("part-00000-9f2c-c000.json.zst", json.dumps(ROW) + "\n"),
    "BigQuery, CSV": (
        "000000000000.csv",
        HEADER + "e1,2026-03-05 12:00:00 UTC,u1,v1,7,true,false,false,false\n",
    ),
    "BigQuery, JSON": (
        "000000000000.json.gz",
        json.dumps({**ROW, "ts": "2026-03-05 12:00:00 UTC", "watch_ms": "7"}) + "\n",
    ),
    "Snowflake, CSV": (
        "data_0_0_0.csv.gz",
        HEADER.upper()
        + '"e1","2026-03-05 12:00:00.000 +0000","u1","v1",7,true,false,false,false\n',
    ),
    "Snowflake, JSON": (
        "data_0_0_0.json.gz",
        json.dumps({name.upper(): value for name, value in ROW.items()}) + "\n",
    ),
    "Segment": (
        "1772712000000.ndjson.gz",
        json.dumps({**ROW, "context": {"ip": "::1"}, "type": "track"}) + "\n",
    ),
    "PostgreSQL, COPY": (
        "events.csv",
        HEADER.replace("\n", ",length_ms,source\n")
        + "e1,2026-03-05 12:00:00+00,u1,v1,7,t,f,f,f,\\N,\\N\n",
    ),
    "an event collector": (
        "events.jsonl.zst",
        json.dumps({**ROW, "ts": 1772712000000}) + "\n" + json.dumps({**ROW, "event_id": "e2"}),
    ),
}


@pytest.mark.parametrize(("name", "text"), PRODUCERS.values(), ids=PRODUCERS.keys())
def test_what_a_producer_writes_is_read(ready, name, text):
    ready.file(EVENTS, name, packed(text.encode(), name))
    ready.file(EVENTS, "_SUCCESS", b"")
    report = ready.load(EVENTS)
    assert report.reasons == {}
    found = ready.ask(f"SELECT ts, watch_ms, liked, shared, length_ms, source FROM {EVENTS}")
    assert found == [(NOON, 7, True, False, None, "landing")] * report.rows


@pytest.mark.parametrize("suffix", [suffix for suffix in SUFFIXES if suffix != ".parquet"])
def test_every_ending_is_read_in_every_compression(ready, suffix):
    row = ",".join(map(str, ROW.values()))
    text = f"{HEADER}{row}\n" if suffix.startswith(".csv") else json.dumps(ROW) + "\n"
    ready.file(EVENTS, f"x{suffix}", packed(text.encode(), suffix))
    assert ready.load(EVENTS).loaded == 1


def test_a_json_document_that_is_not_lines_is_refused(ready):
    """An array over many lines: not one of its lines is an object, and the last has no end."""
    ready.file(EVENTS, "x.json", json.dumps([ROW], indent=1).encode())
    with pytest.raises(SourceError, match=r"x\.json"):
        ready.load(EVENTS)


def test_a_long_text_in_a_column_that_nobody_reads_is_no_matter(ready):
    row = ",".join(str(value) for value in ROW.values())
    ready.file(EVENTS, "x.csv", f"{HEADER[:-1]},note\n{row},{'x' * 300_000}\n".encode())
    assert ready.load(EVENTS).loaded == 1


def test_folders_and_files_of_writers_are_nobodys(ready):
    for name in ("_SUCCESS", "_metadata", "_started_1", ".part.crc", "._x.csv"):
        ready.file(EVENTS, name, b"")
    (ready.home.landing / EVENTS / "_delta_log").mkdir()
    (ready.home.landing / "_tmp").mkdir()
    assert landing_files(ready.home.landing, EVENTS, DAY) == []
    assert ready.home.unread() == []


@pytest.mark.parametrize("table", ["gifts", "ad_revenue", "viewer_events"])
@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_control_totals_find_a_file_that_was_cut_between_two_rows(ready, rows, table, form):
    build, column, value = {
        "gifts": (rows.gift, "coins", 10),
        "ad_revenue": (rows.ad, "amount_micros", 1_000_000),
        "viewer_events": (rows.event, "watch_ms", 12_000),
    }[table]
    many = [build(f"x{n}") for n in range(3)]
    path = ready.land(table, many, form=form)
    for totals in ({}, {"rows": 3}, {"rows": 3, column: 3 * value}):
        ready.file(table, "_manifest.json", json.dumps({"files": {path.name: totals}}).encode())
        assert ready.load(table).loaded == 3
    ready.land(table, many[:2], form=form)
    for totals, message in (
        ({"rows": 3}, r"rows should be 3 by _manifest\.json, and is 2"),
        ({column: 3 * value}, f"{column} should be {3 * value}.*and is {2 * value}"),
    ):
        ready.file(table, "_manifest.json", json.dumps({"files": {path.name: totals}}).encode())
        with pytest.raises(SourceError, match=message):
            ready.load(table)


@pytest.mark.parametrize(
    ("manifest", "message"),
    [
        ('{"files": {"nowhere.csv": {"rows": 1}}}', "names nowhere.csv, which is not there"),
        ('{"files": {"part.csv": {"money": 1}}}', "part.csv: money = 1; totals are whole numbers"),
        ('{"files": {"part.csv": {"rows": 1.5}}}', "rows = 1.5"),
        ('{"rows": 1}', "not of the form"),
        ("{", "cannot be read"),
    ],
)
def test_a_manifest_that_says_nothing_is_refused(ready, rows, manifest, message):
    ready.land("gifts", [rows.gift()])
    ready.file("gifts", "_manifest.json", manifest.encode())
    with pytest.raises(SourceError, match=message):
        ready.load("gifts")
