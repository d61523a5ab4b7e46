"""The simulator: same seed same bytes, counts as announced, and a platform on which scores can mean
something.
"""

from __future__ import annotations

import gzip
import hashlib
import shutil
from datetime import date, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines import schema
from pipelines.schema import ABSURD_WATCH_MS, LANDING
from pipelines.sources.simulator.defects import CONFLICT, DEFECTS, OUTSIDE, WRONG_TYPE
from pipelines.sources.simulator.platform import CPM, FARM, HONEST, MIMIC, Platform
from pipelines.sources.simulator.simulate import Simulation, simulate

FIRST = date(2026, 3, 1)
DAILY = [table.name for table in schema.DAILY]
SMALL: dict[str, Any] = {
    "first_day": FIRST,
    "days": 2,
    "seed": 3,
    "events_per_day": 400,
    "viewers": 150,
    "creators": 12,
    "videos": 40,
}


def run(folder: Path, **changes: Any) -> Simulation:
    return simulate(folder / "landing", **SMALL | changes)


def hashes(folder: Path) -> dict[str, str]:
    return {
        p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    }


def rows_of(folder: Path, table: str) -> duckdb.DuckDBPyRelation:
    """All rows of a table as text, with the day of the folder; CSV and Parquet alike."""
    con = duckdb.connect()
    con.execute("SET TimeZone = 'UTC'")
    parts = []
    # `status` is left to its default, final: nothing made up is an estimate
    columns = [c.name for c in LANDING[table].landing_columns if not c.counted]
    texts = ", ".join(
        f"array_to_string({c}, ';') AS {c}" if c == "categories" else f"{c}::VARCHAR AS {c}"
        for c in columns
    )
    for day in sorted(p.name for p in (folder / table).iterdir()):
        for path in sorted((folder / table / day).iterdir()):
            reader = (
                "read_parquet(?)"
                if path.suffix == ".parquet"
                else "read_csv(?, all_varchar = true)"
            )
            chosen = texts if path.suffix == ".parquet" else ", ".join(columns)
            parts.append(
                con.execute(
                    f"SELECT {chosen}, '{day}' AS day FROM {reader}", [str(path)]
                ).to_arrow_table()
            )
    everything = pa.concat_tables(parts)  # noqa: F841  DuckDB finds it by name
    return con.sql("FROM everything")


@pytest.mark.parametrize("format", ["parquet", "csv.gz"])
def test_same_seed_same_bytes_on_any_number_of_threads(tmp_path: Path, format: str) -> None:
    first = run(tmp_path / "a", format=format)
    threads = pa.cpu_count()
    pa.set_cpu_count(1)
    try:
        second = run(tmp_path / "b", format=format)
    finally:
        pa.set_cpu_count(threads)
    assert first == second
    assert hashes(tmp_path / "a") == hashes(tmp_path / "b")
    assert first.files == len(hashes(tmp_path / "a"))
    assert first.bytes == sum(p.stat().st_size for p in (tmp_path / "a").rglob("*") if p.is_file())
    run(tmp_path / "c", format=format, seed=4)
    assert hashes(tmp_path / "a") != hashes(tmp_path / "c")


def test_a_day_does_not_depend_on_the_days_after_it(tmp_path: Path) -> None:
    run(tmp_path / "short", days=2)
    run(tmp_path / "long", days=4)
    long = hashes(tmp_path / "long")
    assert {
        path: digest for path, digest in long.items() if path.split("/")[-2] < "2026-03-03"
    } == hashes(tmp_path / "short")


PREDICATES = {
    "trust outside [0, 1]": "TRY_CAST(trust AS DOUBLE) > 1",
    "negative followers": "TRY_CAST(followers AS BIGINT) < 0",
    "length <= 0": "TRY_CAST(length_ms AS BIGINT) <= 0",
    "unknown creator": "creator_id = 'c-nobody'",
    "score outside [0, 1]": "TRY_CAST(s_tox AS DOUBLE) > 1",
    "missing viewer": "viewer_id IS NULL",
    "missing category": "category IS NULL",
    "unknown video": "video_id = 'v-nowhere'",
    "negative watch": "TRY_CAST(watch_ms AS BIGINT) < 0",
    "absurd watch": f"TRY_CAST(watch_ms AS BIGINT) > {ABSURD_WATCH_MS}",
    "coins out of range": "TRY_CAST(coins AS BIGINT) < 1",
    "negative amount": "TRY_CAST(amount_micros AS BIGINT) < 0",
    OUTSIDE: "ts::DATE <> day::DATE",
}


@pytest.mark.parametrize("format", ["parquet", "csv.gz"])
def test_what_was_written_is_what_was_announced(tmp_path: Path, format: str) -> None:
    summary = run(
        tmp_path,
        format=format,
        events_per_day=3000,
        rotten_share=0.02,
        duplicate_share=0.01,
        late_share=0.1,
    )
    landing, late = tmp_path / "landing", tmp_path / "late"
    before = {table: len(rows_of(landing, table)) for table in DAILY}
    shutil.copytree(late, landing, dirs_exist_ok=True)
    for table, counts in summary.tables.items():
        rows = rows_of(landing, table)
        assert len(rows) == counts.rows
        if table in DAILY:
            assert len(rows) - before[table] == counts.late > 0
        key = LANDING[table].key[0]
        assert len(rows) - len(rows.distinct()) == counts.duplicates
        seen = {}
        for defect in DEFECTS[table]:
            if defect.kind == WRONG_TYPE:
                predicate = f"{defect.column} = '{defect.value}'"
            elif defect.kind == "missing key":
                predicate = f"{key} IS NULL"
            elif defect.kind != CONFLICT:
                predicate = PREDICATES[defect.kind]
            else:
                conflicts = (
                    rows.distinct()
                    .filter(f"{key} IS NOT NULL")
                    .aggregate(f"{key}, count(*) AS n")
                    .filter("n > 1")
                )
                assert all(n == 2 for _, n in conflicts.fetchall())
                seen[defect.kind] = len(conflicts)
                continue
            seen[defect.kind] = len(rows.filter(predicate))
        assert {kind: n for kind, n in seen.items() if n} == counts.rotten
        assert counts.loaded == counts.rows - counts.duplicates - counts.quarantined
    assert set(summary.tables["viewer_events"].rotten) == {d.kind for d in DEFECTS["viewer_events"]}


def test_files_late_on_time_and_of_another_format_never_collide(tmp_path: Path) -> None:
    landing = tmp_path / "landing"
    run(tmp_path, late_share=0.2)
    names = {p.relative_to(landing) for p in landing.rglob("*") if p.is_file()}
    assert not names & {
        p.relative_to(tmp_path / "late") for p in (tmp_path / "late").rglob("*") if p.is_file()
    }
    shutil.copytree(tmp_path / "late", landing, dirs_exist_ok=True)
    run(tmp_path, format="csv.gz", late_share=0.0)
    assert {p.name for p in landing.rglob("*") if p.is_file()} == {"simulated.csv.gz"}
    assert not [p for p in (tmp_path / "late").rglob("*") if p.is_file()]


def test_late_days_and_missing_shares(tmp_path: Path) -> None:
    day = FIRST + timedelta(days=1)
    summary = run(
        tmp_path,
        late_share=0.2,
        late_days=[day],
        rotten_share=0.0,
        duplicate_share=0.0,
        bot_share=0.0,
    )
    assert {p.parent.name for p in (tmp_path / "late").rglob("*") if p.is_file()} == {f"{day}"}
    assert all(not counts.rotten and not counts.duplicates for counts in summary.tables.values())
    assert summary.bots == summary.bot_events == len(summary.boosted_videos) == 0


def test_daily_tables_have_a_file_even_when_nothing_happens(tmp_path: Path) -> None:
    run(tmp_path, events_per_day=1, viewers=3, creators=1, videos=1, format="csv.gz")
    for table in DAILY:
        assert (tmp_path / "landing" / table / f"{FIRST}" / "simulated.csv.gz").exists()


def test_snapshots_are_full_once_and_then_hold_what_changed(tmp_path: Path) -> None:
    run(tmp_path, days=6, viewers=2000, creators=100, videos=300, rotten_share=0.0)
    landing = tmp_path / "landing"
    for table, size in (("viewers", 2000), ("creators", 100), ("videos", 300)):
        rows, key = rows_of(landing, table), LANDING[table].key[0]
        assert len(rows.filter(f"day = '{FIRST}'")) == size
        later = rows.filter(f"day > '{FIRST}'")
        assert 0 < len(later) < size
        ids = {row[0] for row in rows.filter(f"day = '{FIRST}'").select(key).fetchall()}
        assert {row[0] for row in later.select(key).fetchall()} - ids, "newcomers"
        assert {row[0] for row in later.select(key).fetchall()} & ids, "changes"
    videos, creators = rows_of(landing, "videos"), rows_of(landing, "creators")
    known = {row[0] for row in creators.select("creator_id").fetchall()}
    assert {row[0] for row in videos.select("creator_id").fetchall()} <= known
    assert {len(row[0].split(";")) for row in videos.select("categories").fetchall()} == {1, 2, 3}
    assert 0 < len(videos.filter("s_plus IS NULL")) < 100
    assert len(videos.filter("compliant = 'false'")) > 0
    first_seen = dict(videos.aggregate("video_id, min(day) AS day").fetchall())
    for video, day in (
        rows_of(landing, "viewer_events").select("video_id, day").distinct().fetchall()
    ):
        assert first_seen[video] <= day


@pytest.fixture(scope="module")
def platform() -> Platform:
    return Platform(
        5, FIRST, viewers=3000, creators=200, videos=400, verified_share=0.35, bot_share=0.04
    )


def test_bots_are_unverified_and_do_what_bots_do(platform: Platform) -> None:
    events = platform.sessions(FIRST, 40_000)
    bots = events["bot"] != HONEST
    assert abs(bots.mean() - 0.04) < 0.002
    assert not platform.viewers["verified"][events["viewer"][bots]].any()
    assert set(events["video"][bots]) == set(platform.boosted)
    assert len(set(platform.videos["creator"][platform.boosted])) <= 3
    length = platform.videos["length_ms"][events["video"]]
    farm, mimic = events["bot"] == FARM, events["bot"] == MIMIC
    assert events["liked"][farm].all()
    assert events["watch_ms"][farm].max() <= 1_500
    assert not events["shared"][farm].any()
    assert all(events[name][mimic].all() for name in ("liked", "commented", "shared", "followed"))
    assert (events["watch_ms"][mimic] > length[mimic]).all()


def test_latent_quality_shows_in_what_viewers_do(platform: Platform) -> None:
    events = platform.sessions(FIRST, 200_000)
    honest = events["bot"] == HONEST
    video, n = events["video"][honest], len(platform.videos["born"])
    views = np.bincount(video, minlength=n)
    seen = views >= 50
    watched = np.minimum(1, events["watch_ms"][honest] / platform.videos["length_ms"][video])
    again = events["watch_ms"][honest] > platform.videos["length_ms"][video]
    for signal in (
        watched,
        again,
        *(events[name][honest] for name in ("liked", "commented", "shared", "followed")),
    ):
        rate = np.bincount(video, signal, n)[seen] / views[seen]
        assert np.corrcoef(rate, platform.videos["quality"][seen])[0, 1] > 0.5


def test_reach_is_heavy_tailed_and_hours_differ_by_group(platform: Platform) -> None:
    events = platform.sessions(FIRST, 100_000)
    by_creator = np.sort(np.bincount(platform.videos["creator"][events["video"]]))[::-1]
    assert by_creator[: len(by_creator) // 10].sum() > 0.3 * by_creator.sum()
    group, hour = platform.viewers["group"][events["viewer"]], events["ms"] // 3_600_000
    peaks = {int(np.bincount(hour[group == g], minlength=24).argmax()) for g in range(6)}
    assert len(peaks) > 2
    assert (np.diff(events["ms"]) >= 0).all()
    assert events["ms"].min() >= 0
    assert events["ms"].max() < 86_400_000


def test_gifts_are_premium_exactly_when_verified_and_ads_have_the_category_of_their_video(
    platform: Platform,
) -> None:
    tables = platform.daily(FIRST, platform.sessions(FIRST, 5_000))
    gifts, ads = tables["gifts"].to_pydict(), tables["ad_revenue"].to_pydict()
    verified = [bool(platform.viewers["verified"][int(v[1:])]) for v in gifts["viewer_id"]]
    assert gifts["premium"] == verified
    assert {True, False} == set(verified)
    names = list(CPM)
    for category, video in zip(ads["category"], ads["video_id"], strict=True):
        assert (
            video is None or names.index(category) in platform.videos["categories"][int(video[1:])]
        )
    assert None in ads["video_id"]
    assert set(ads["category"]) == set(names)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"days": 0}, "days = 0"),
        ({"seed": -1}, "seed = -1"),
        ({"rotten_share": 0.6}, "rotten_share"),
        ({"verified_share": 1.1}, "verified_share"),
        ({"videos": 0}, "videos = 0"),
        ({"format": "xlsx"}, "xlsx"),
    ],
)
def test_impossible_parameters_are_named(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        run(tmp_path, **changes)
    assert not list(tmp_path.iterdir())


def test_the_bundled_sample_is_what_its_readme_says(tmp_path: Path) -> None:
    bundled = Path(__file__).parents[2] / "assets_data" / "sample"
    march = [date(2026, 3, 5), date(2026, 3, 6)]
    simulate(
        tmp_path,
        first_day=FIRST,
        days=14,
        seed=7,
        format="csv.gz",
        late=tmp_path / "late",
        late_share=0.1,
        late_days=march,
    )
    files = [p.relative_to(bundled) for p in sorted(bundled.rglob("*.csv.gz"))]
    assert files == [p.relative_to(tmp_path) for p in sorted(tmp_path.rglob("*.csv.gz"))]
    # What is in the files: compressors differ from one machine to the next.
    assert [
        p
        for p in files
        if gzip.decompress((bundled / p).read_bytes())
        != gzip.decompress((tmp_path / p).read_bytes())
    ] == []
    assert sum(p.stat().st_size for p in bundled.rglob("*")) < 1_600_000


_SHARE = st.floats(0, 0.5)
_PLATFORMS = st.fixed_dictionaries(
    {
        "seed": st.integers(0, 2**40),
        "events_per_day": st.integers(1, 400),
        "viewers": st.integers(4, 60),
        "creators": st.integers(1, 10),
        "videos": st.integers(1, 30),
        "verified_share": st.floats(0, 1),
        "bot_share": _SHARE,
        "late_share": _SHARE,
        "rotten_share": _SHARE,
        "duplicate_share": _SHARE,
    }
)


@settings(max_examples=15, deadline=None)
@given(_PLATFORMS)
def test_any_platform_can_be_written(parameters: dict[str, Any]) -> None:
    with TemporaryDirectory() as name:
        folder = Path(name)
        summary = run(folder, **parameters)
        if (folder / "late").exists():
            shutil.copytree(folder / "late", folder / "landing", dirs_exist_ok=True)
        for table in DAILY:
            assert len(rows_of(folder / "landing", table)) == summary.tables[table].rows
