"""Files of another layout: what a map says is done exactly, and no row is lost on the way."""

from __future__ import annotations

import csv
import gzip
import json
from datetime import UTC, date, datetime
from decimal import ROUND_FLOOR, ROUND_HALF_UP, Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import duckdb
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.cli.main import main
from pipelines.schema import LANDING
from pipelines.sources.errors import SourceError
from pipelines.sources.foreign import first_map, import_files
from pipelines.sources.mapping import DURATIONS, MONEY, ColumnMap
from pipelines.sources.trial import judge_files

EVENTS = {
    "event_id": {"hash": "row"},
    "ts": "at",
    "viewer_id": "user",
    "video_id": "clip",
    "watch_ms": {"column": "seen", "unit": "s"},
    "liked": {"column": "likes", "positive": True},
    "commented": {"value": False},
    "shared": {"column": "sent", "true": ["yes"], "false": ["no"]},
    "followed": {"value": False},
}


def mapped(table: str, columns: dict[str, object], **other: object) -> ColumnMap:
    return ColumnMap.model_validate({"table": table, "columns": columns, **other})


def write(path: Path, rows: list[dict[str, object]], delimiter: str = ",") -> Path:
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]), delimiter=delimiter)
        writer.writeheader()
        writer.writerows(rows)
    return path


def event(**changes: object) -> dict[str, object]:
    usual = {"at": "2026-03-05T12:00:00Z", "user": "u1", "clip": "v1"}
    return {**usual, "seen": "12.5", "likes": "2", "sent": "no", **changes}


def read(landing: Path, table: str) -> list[tuple[object, ...]]:
    pattern = f"{landing}/{table}/*/*.parquet"
    return duckdb.sql(f"FROM read_parquet('{pattern}', union_by_name = true)").fetchall()


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.decimals(0, 10**9, places=6, allow_nan=False).map(lambda d: d.normalize()),
        min_size=1,
        max_size=8,
    ),
    st.sampled_from(
        [*((u, "watch_ms") for u in DURATIONS), *((u, "amount_micros") for u in MONEY)]
    ),
    st.sampled_from([None, "down", "nearest"]),
)
def test_units_are_exact(tmp_path_factory, numbers, unit_of, rounding):
    """As by decimal arithmetic: to the whole unit, by the stated rule, or as it came."""
    unit, column = unit_of
    folder = tmp_path_factory.mktemp("units")
    source = {"column": "n", "unit": unit} | ({"round": rounding} if rounding else {})
    if column == "watch_ms":
        rows = [event(n=f"{n:f}") for n in numbers]
        columns = mapped("viewer_events", {**EVENTS, "watch_ms": source})
        factor = DURATIONS[unit]
    else:
        rows = [event(n=f"{n:f}", ad=str(i)) for i, n in enumerate(numbers)]
        named = {"ad_id": "ad", "ts": "at", "category": {"value": "a"}, "amount_micros": source}
        columns = mapped("ad_revenue", named)
        factor = MONEY[unit]
    import_files([write(folder / "x.csv", rows)], folder / "landing", columns)
    [place] = (folder / "landing").glob("*/*/*.parquet")
    found = [str(v) for (v,) in duckdb.sql(f"SELECT {column} FROM '{place}'").fetchall()]

    def expected(number: Decimal) -> str:
        exact = number * factor
        if exact == int(exact):
            return str(int(exact))
        if rounding is None:
            return f"{number:f}"
        how = {"down": ROUND_FLOOR, "nearest": ROUND_HALF_UP}[rounding]
        return str(int(exact.quantize(Decimal(1), how)))

    assert found == [expected(n) for n in numbers]


@settings(max_examples=20, deadline=None)
@given(st.lists(st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1)), min_size=1, max_size=6))
def test_times_of_a_zone(tmp_path_factory, times):
    """As the zone's rules say; the hours that are not clear are counted."""
    folder = tmp_path_factory.mktemp("zone")
    zone = ZoneInfo("Europe/Berlin")
    times = [t.replace(microsecond=0) for t in times]
    rows = [event(at=t.strftime("%d.%m.%Y %H:%M:%S")) for t in times]
    at = {"column": "at", "format": "%d.%m.%Y %H:%M:%S", "zone": "Europe/Berlin"}
    done = import_files(
        [write(folder / "x.csv", rows)],
        folder / "landing",
        mapped("viewer_events", {**EVENTS, "ts": at}),
    )
    moments = [t.replace(tzinfo=zone) for t in times]
    clear = [m for m in moments if m.replace(fold=1).utcoffset() == m.utcoffset()]
    found = {
        row[0] for row in duckdb.sql(f"SELECT ts FROM '{folder}/landing/*/*/*.parquet'").fetchall()
    }
    assert {m.astimezone(UTC).replace(tzinfo=None) for m in clear} <= found
    assert done.unclear_times == len(moments) - len(clear)
    assert sum(done.days.values()) == len(rows)


@pytest.mark.parametrize(("unit", "text"), [("s", "1772712000"), ("ms", "1772712000000"),
                                        ("us", "1772712000000000"), ("s", "1772712000.0")])  # fmt: skip
def test_times_that_are_numbers(tmp_path, unit, text):
    at = {"column": "at", "unit": unit}
    path = write(tmp_path / "x.csv", [event(at=text)])
    done = import_files([path], tmp_path / "l", mapped("viewer_events", {**EVENTS, "ts": at}))
    assert done.days == {date(2026, 3, 5): 1}


VALUES = st.sampled_from(["", "12", "1.5", "x", "2026-03-05T12:00:00Z", "2026-03-06T00:00:00+01:00",
                          "yes", "no", "-3", "1e2", "NaN", "u1", "\\N"])  # fmt: skip


@settings(max_examples=15, deadline=None)
@given(st.lists(st.fixed_dictionaries(dict.fromkeys(event(), VALUES)), min_size=1, max_size=10))
def test_no_row_is_lost(tmp_path_factory, rows):
    """Whatever stands in the cells: every row is loaded, counted as a copy, or in quarantine."""
    folder = tmp_path_factory.mktemp("rows")
    path = write(folder / "x.csv", [*rows, event(user="sure")])
    done = import_files([path], folder / "landing", mapped("viewer_events", EVENTS))
    assert done.rows == len(rows) + 1

    class NoHome:
        landing = folder / "landing"

        class settings:
            quarantine_limit = 1.0

        @staticmethod
        def landing_days(table):
            return []

    judged = judge_files([folder / "landing"], NoHome)
    reports = [one.report for one in judged]
    assert all(reports), judged
    assert sum(r.rows for r in reports) == done.rows
    bad = sum(r.quarantined for r in reports)
    assert sum(r.loaded + r.duplicates for r in reports) == done.rows - bad


def test_json_lines_and_parquet_say_the_same_as_csv(tmp_path):
    rows = [event(user=f"u{n}", seen=n + 0.5) for n in range(3)]
    columns = mapped("viewer_events", {**EVENTS, "event_id": "user"})
    csv_file = write(tmp_path / "a.csv", rows)
    (tmp_path / "b.jsonl.gz").write_bytes(
        gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode())
    )
    duckdb.sql(f"COPY (FROM read_csv('{csv_file}', all_varchar = true)) TO '{tmp_path}/c.parquet'")
    results = []
    for name in ("a.csv", "b.jsonl.gz", "c.parquet"):
        import_files([tmp_path / name], tmp_path / name[0], columns)
        results.append([tuple(map(str, row)) for row in read(tmp_path / name[0], "viewer_events")])
    assert results[0] == results[1] == results[2]
    assert len(results[0]) == 3


def test_a_snapshot_goes_to_the_first_day_and_says_what_stands_in(tmp_path):
    import_files(
        [write(tmp_path / "x.csv", [event()])], tmp_path / "l", mapped("viewer_events", EVENTS)
    )
    users = write(tmp_path / "users.csv", [{"id": "u1", "real": "Y"}])
    named = {"viewer_id": "id", "verified": {"column": "real", "true": ["y"], "false": ["n"]}}
    done = import_files([users], tmp_path / "l", mapped("viewers", named))
    assert done.days == {date(2026, 3, 5): 1}
    assert done.standing_in["trust"] == "1.0"
    assert done.standing_in["source"] == "landing"


def test_labels_are_split(tmp_path):
    clips = write(tmp_path / "clips.csv", [{"id": 0, "by": "c1", "kinds": "a | b", "sec": 30}])
    named = {
        "video_id": {"column": "id", "prefix": "clip_"},
        "creator_id": "by",
        "length_ms": {"column": "sec", "unit": "s"},
        "categories": {"column": "kinds", "separator": "|"},
        "compliant": {"value": True},
    }
    import_files([clips], tmp_path / "l", mapped("videos", named), day=date(2026, 3, 5))
    [row] = read(tmp_path / "l", "videos")
    assert row[:4] == ("clip_0", "c1", 30_000, ["a", "b"])


@pytest.mark.parametrize(
    ("columns", "complaint"),
    [
        ({"viewer_id": "id"}, "verified must come from somewhere"),
        ({"viewer_id": "id", "verified": "v", "watched": "w"}, "no column 'watched'"),
        ({"viewer_id": {"column": "id", "unit": "s"}, "verified": "v"}, "unit says nothing"),
        ({"viewer_id": {"column": "a", "value": "b"}, "verified": "v"}, "just one of"),
        ({"viewer_id": {"colum": "a"}, "verified": "v"}, "Extra inputs"),
    ],
)
def test_a_map_that_makes_no_sense_is_refused(tmp_path, columns, complaint):
    text = "[columns]\n" + "".join(
        f"{k} = {json.dumps(v) if isinstance(v, str) else inline(v)}\n" for k, v in columns.items()
    )
    (tmp_path / "m.toml").write_text(text)
    with pytest.raises(SourceError, match=complaint):
        ColumnMap.read(tmp_path / "m.toml", "viewers")


def inline(value: dict[str, object]) -> str:
    return "{ " + ", ".join(f"{k} = {json.dumps(v)}" for k, v in value.items()) + " }"


def test_records_that_are_no_rows_stop_it_or_are_set_aside(tmp_path):
    path = write(tmp_path / "x.csv", [event(), event(user="u2")])
    with path.open("a") as stream:
        stream.write("too,few\n")
    with pytest.raises(SourceError, match=r"line 4: too few columns.*--rejects"):
        import_files([path], tmp_path / "l", mapped("viewer_events", EVENTS))
    assert not list((tmp_path / "l").glob("*/*/*"))
    aside = tmp_path / "bad.csv"
    done = import_files([path], tmp_path / "l", mapped("viewer_events", EVENTS), rejects=aside)
    assert (done.rows, done.rejected) == (2, 1)
    assert aside.read_text() == "too,few\n"


def test_a_column_that_is_not_there_is_named(tmp_path):
    path = write(tmp_path / "x.csv", [{"user": 1, "at": 2}])
    with pytest.raises(SourceError, match=r"x\.csv: column clip, seen, likes, sent is missing"):
        import_files([path], tmp_path / "l", mapped("viewer_events", EVENTS))


def test_from_a_guess_to_files_that_load(tmp_path):
    """What a guess says of a usual header is a map as it stands, and its rows load."""
    rows = [
        {"userId": "u1", "videoId": "v1", "timestamp": "1772712000", "watch_time_s": "7.25",
         "like": "1", "comment": "0", "share": "0", "follow": "no"}
    ]  # fmt: skip
    path = write(tmp_path / "log.csv", rows, ";")
    run = CliRunner()
    home, a_map = str(tmp_path / "home"), str(tmp_path / "m.toml")
    command = ["--home", home, "import", "table", "viewer_events", str(path), "--map", a_map]
    guessed = run.invoke(main, [*command, "--guess", "--delimiter", ";"])
    assert guessed.exit_code == 0, guessed.output
    again = run.invoke(main, [*command, "--guess", "--delimiter", ";"])
    assert again.exit_code == 2
    done = run.invoke(main, [*command, "--json"])
    assert json.loads(done.stdout)["days"] == {"2026-03-05": 1}, done.output
    told = run.invoke(main, ["--home", home, "check", f"{home}/landing", "--json"])
    [one] = json.loads(told.stdout)
    assert (one["report"]["loaded"], one["not_judged"]) == (1, ["video_id"])


def test_a_guess_of_every_table_is_read_again(tmp_path):
    """A file with the table's own columns needs no change of the guess."""
    for name, table in LANDING.items():
        path = write(
            tmp_path / f"{name}.csv", [dict.fromkeys((c.name for c in table.landing_columns), "")]
        )
        (tmp_path / "m.toml").write_text(first_map(table, [path]))
        columns = ColumnMap.read(tmp_path / "m.toml", name)
        assert {k: v.column for k, v in columns.columns.items()} == {k: k for k in columns.columns}
        assert not columns.standing_in


def test_money_that_went_through_a_float_needs_a_rule(tmp_path):
    path = write(tmp_path / "ads.csv", [{"id": 1, "at": "2026-03-05", "eur": 0.1 + 0.2}])
    named = {"ad_id": "id", "ts": "at", "category": {"value": "a"}}
    for rule, expected in (({}, "0.30000000000000004"), ({"round": "nearest"}, "300000")):
        amount = {"column": "eur", "unit": "units", **rule}
        import_files(
            [path], tmp_path / "l", mapped("ad_revenue", {**named, "amount_micros": amount})
        )
        [row] = read(tmp_path / "l", "ad_revenue")
        assert str(row[-1]) == expected
