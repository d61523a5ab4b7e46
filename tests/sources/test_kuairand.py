"""The KuaiRand importer on made-up rows in the data set's own format."""

from __future__ import annotations

import hashlib
from datetime import date, datetime
from pathlib import Path
from typing import Any

import duckdb
import pytest

from pipelines.schema import LANDING
from pipelines.sources.errors import SourceError
from pipelines.sources.kuairand import import_kuairand

LOG = (
    "user_id,video_id,date,hourmin,time_ms,is_click,is_like,is_follow,is_comment,is_forward,is_hate,long_view,play_time_ms,duration_ms,"
    "profile_stay_time,comment_stay_time,is_profile_enter,is_rand,tab"
)
USERS = (
    "user_id,user_active_degree,is_live_streamer,follow_user_num_range,register_days,onehot_feat4"
)
VIDEOS = (
    "video_id,author_id,video_type,upload_dt,upload_type,visible_status,video_duration,music_id,tag"
)
EVE = 1650812741436  # 2022-04-24 15:05:41.436 UTC, which is 23:05 in China


def event(**changes: Any) -> str:
    row: dict[str, Any] = dict.fromkeys(LOG.split(","), 0)
    row |= {
        "user_id": 1,
        "video_id": 10,
        "date": 20220425,
        "hourmin": 2300,
        "time_ms": EVE,
        "play_time_ms": 61802,
        "duration_ms": 49866,
        "tab": 1,
    }
    return ",".join(str(value) for value in (row | changes).values())


def write(folder: Path, name: str, header: str, *rows: str) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text("\n".join((header, *rows)) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "kuairand"
    write(
        folder,
        "log_standard_4_25_to_5_08_pure.csv",
        LOG,
        event(),
        event(),  # repeated exactly
        event(play_time_ms=1),  # same user, video and time, but another row
        event(video_id=11, duration_ms=0, time_ms=EVE + 1),
        event(
            user_id=2,
            video_id=12,
            time_ms=EVE + 86_400_000,
            is_like=1,
            is_comment=1,
            is_forward=1,
            is_follow=1,
        ),
        event(user_id="", time_ms=EVE + 86_400_001),
        event(video_id=999, time_ms=EVE + 86_400_002),
    )
    write(
        folder,
        "user_features_pure.csv",
        USERS,
        '1,full_active,1,"(250,500]",799,1.0',
        "2,high_active,-124,500+,14,",
    )
    write(
        folder,
        "video_features_basic_pure.csv",
        VIDEOS,
        '10,500,NORMAL,2022-04-10,LongImport,0.0,49866.0,9155697141,"68,39"',
        "11,500,NORMAL,2022-04-10,Kmovie,0.0,,9155697141,2",
        "12,501,AD,2022-04-10,Kmovie,0.0,1000.0,,",
        "13,502,UNKNOWN,2022-04-10,Kmovie,0.0,1000.0,,7",
    )
    return folder


def rows(landing: Path, table: str, columns: str, day: str = "*") -> list[tuple[Any, ...]]:
    return (
        duckdb.connect()
        .execute(
            f"SELECT {columns} FROM read_parquet('{landing}/{table}/{day}/*.parquet') ORDER BY ALL"
        )
        .fetchall()
    )


def test_columns_days_and_counts(source: Path, tmp_path: Path) -> None:
    landing = tmp_path / "landing"
    lines: list[str] = []
    summary = import_kuairand(source, landing, progress=lines.append)
    assert (summary.first_day, summary.last_day, summary.days) == (
        date(2022, 4, 24),
        date(2022, 4, 25),
        2,
    )
    assert {t: summary.rows[t] for t in ("viewers", "creators", "videos", "viewer_events")} == {
        "viewers": 2,
        "creators": 3,
        "videos": 4,
        "viewer_events": 7,
    }
    assert (summary.repeated_events, summary.events_without_length) == (1, 1)
    assert (summary.videos_without_length, summary.videos_not_compliant) == (1, 2)
    assert "2022-04-24 viewer_events: 4 rows" in lines
    for table in (name for name, table in LANDING.items() if not table.optional):
        described = (
            duckdb.connect()
            .execute(f"DESCRIBE FROM read_parquet('{landing}/{table}/2022-04-24/*.parquet')")
            .fetchall()
        )
        assert {row[0]: row[1] for row in described} == {
            c.name: c.type for c in LANDING[table].landing_columns
        } | ({"upload_dt": "VARCHAR"} if table == "videos" else {})
    assert rows(
        landing,
        "viewer_events",
        "ts, viewer_id, video_id, watch_ms, liked, commented, shared, followed, length_ms, source",
        "2022-04-25",
    ) == [
        (
            datetime(2022, 4, 25, 15, 5, 41, 436000),
            "2",
            "12",
            61802,
            True,
            True,
            True,
            True,
            49866,
            "kuairand",
        ),
        (
            datetime(2022, 4, 25, 15, 5, 41, 437000),
            None,
            "10",
            61802,
            False,
            False,
            False,
            False,
            49866,
            "kuairand",
        ),
        (
            datetime(2022, 4, 25, 15, 5, 41, 438000),
            "1",
            "999",
            61802,
            False,
            False,
            False,
            False,
            49866,
            "kuairand",
        ),
    ]
    assert rows(
        landing, "videos", "video_id, creator_id, length_ms, categories, compliant, source"
    ) == [
        ("10", "500", 49866, ["tag_39", "tag_68"], True, "kuairand+modelled"),
        ("11", "500", None, ["tag_2"], True, "kuairand+modelled"),
        ("12", "501", 1000, ["untagged"], False, "kuairand+modelled"),
        ("13", "502", 1000, ["tag_7"], False, "kuairand+modelled"),
    ]
    assert rows(landing, "viewers", "viewer_id, region, device, activity, tenure_days") == [
        ("1", None, None, "full_active", 799),
        ("2", None, None, "high_active", 14),
    ]
    assert rows(landing, "creators", "*") == [
        (c, None, None, "kuairand") for c in ("500", "501", "502")
    ]
    assert not [p for p in landing.rglob("*") if p.name.startswith(".")], "no scratch files"


def test_exact_repetitions_keep_one_id_and_other_rows_their_own(
    source: Path, tmp_path: Path
) -> None:
    import_kuairand(source, tmp_path / "landing")
    ids = rows(tmp_path / "landing", "viewer_events", "event_id, watch_ms", "2022-04-24")
    assert len(ids) == 4
    assert len({i for i, _ in ids}) == 3
    whole = event().replace(",", chr(31))
    assert (hashlib.md5(whole.encode()).hexdigest(), 61802) in ids


def test_same_files_same_bytes_and_importing_again_replaces(source: Path, tmp_path: Path) -> None:
    def hashes(folder: Path) -> dict[str, bytes]:
        return {
            p.relative_to(folder).as_posix(): p.read_bytes()
            for p in folder.rglob("*")
            if p.is_file()
        }

    import_kuairand(source, tmp_path / "a")
    import_kuairand(source, tmp_path / "a")
    import_kuairand(source, tmp_path / "b")
    assert hashes(tmp_path / "a") == hashes(tmp_path / "b")
    import_kuairand(source, tmp_path / "c", seed=8)
    a, c = hashes(tmp_path / "a"), hashes(tmp_path / "c")
    assert {path for path in a if path.startswith("viewer_events")} <= {
        path for path in a if a[path] == c[path]
    }
    assert a["videos/2022-04-24/kuairand.parquet"] != c["videos/2022-04-24/kuairand.parquet"]


def test_made_up_money_only_where_a_video_can_earn(tmp_path: Path) -> None:
    folder = tmp_path / "kuairand"
    write(folder, "user_features_1k.csv", USERS, "1,full_active,1,500+,799,1.0")
    write(
        folder,
        "video_features_basic_1k.csv",
        VIDEOS,
        *(
            f"{v},5,{k},d,u,0.0,{n},9,1"
            for v, k, n in ((1, "NORMAL", "9.0"), (2, "AD", "9.0"), (3, "NORMAL", ""))
        ),
    )
    write(
        folder,
        "log_standard_4_08_to_4_21_1k.csv",
        LOG,
        *(event(video_id=1 + i % 3, time_ms=EVE + i, is_like=1) for i in range(900)),
    )
    summary = import_kuairand(folder, tmp_path / "landing")
    assert {v for (v,) in rows(tmp_path / "landing", "gifts", "video_id")} == {"1"}
    assert {v for (v,) in rows(tmp_path / "landing", "ad_revenue", "video_id")} == {"1", None}
    assert 40 < summary.rows["ad_revenue"] < 110
    assert {s for (s,) in rows(tmp_path / "landing", "ad_revenue", "source")} == {"modelled"}


def test_several_logs_are_one(source: Path, tmp_path: Path) -> None:
    write(
        source, "log_standard_4_08_to_4_24_pure.csv", LOG, event(time_ms=EVE - 86_400_000), event()
    )
    write(source, "log_random_4_22_to_5_08_pure.csv", LOG, event(time_ms=1))
    summary = import_kuairand(source, tmp_path / "landing")
    assert summary.first_day == date(2022, 4, 23)
    assert summary.rows["viewer_events"] == 9
    assert summary.repeated_events == 2
    assert (tmp_path / "landing/viewers/2022-04-23/kuairand.parquet").exists()


EVENTS, PEOPLE, CLIPS = (
    "log_standard_4_25_to_5_08_pure.csv",
    "user_features_pure.csv",
    "video_features_basic_pure.csv",
)
BROKEN = {  # message: file, header, line 4
    "pure.csv: line 4: column play_time_ms is 'long', not a whole number": (
        EVENTS,
        LOG,
        event(play_time_ms="long"),
    ),
    "line 4: column is_like is '-124', not 0 or 1": (EVENTS, LOG, event(is_like=-124)),
    "line 4: column time_ms is '', not milliseconds": (EVENTS, LOG, event(time_ms="")),
    "pure.csv: line 1: column time_ms is missing": (
        EVENTS,
        LOG.replace("time_ms", "time", 1),
        event(),
    ),
    "pure.csv: cannot be read: .*Line: 4.*5,6": (EVENTS, LOG, event() + ",5,6"),
    "pure.csv: cannot be read: .*Line: 4.*1,2": (EVENTS, LOG, "1,2"),
    "line 1: column user_id": (EVENTS, "", ""),
    "user_features_pure.csv: line 1: column register_days": (
        PEOPLE,
        USERS.replace("register_days", "user_id"),
        "1,2,3,4,5,6",
    ),
    "user_features_pure.csv: line 1: column user_id appears twice": (
        PEOPLE,
        USERS + ",user_id",
        "1,2,3,4,5,6,7",
    ),
    "line 4: column video_duration is '12.5', not a whole number": (
        CLIPS,
        VIDEOS,
        "1,2,NORMAL,d,u,0.0,12.5,m,3",
    ),
}


@pytest.mark.parametrize("message", BROKEN)
def test_unreadable_files_are_named(source: Path, tmp_path: Path, message: str) -> None:
    name, header, last = BROKEN[message]
    good = {LOG: event(), USERS: "1,2,3,4,5,6", VIDEOS: "1,2,NORMAL,d,u,0.0,12.0,m,3"}.get(
        header, ""
    )
    write(source, name, header, good, good, last)
    with pytest.raises(SourceError, match=message):
        import_kuairand(source, tmp_path / "landing")
    assert not list((tmp_path / "landing").rglob("*")), "nothing is left behind"


def test_windows_line_ends_and_a_byte_order_mark_change_nothing(
    source: Path, tmp_path: Path
) -> None:
    import_kuairand(source, tmp_path / "unix")
    for path in source.iterdir():
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    import_kuairand(source, tmp_path / "windows")
    for table in (name for name, table in LANDING.items() if not table.optional):
        assert rows(tmp_path / "unix", table, "*") == rows(tmp_path / "windows", table, "*")


@pytest.mark.parametrize("pattern", ["log_standard", "user_features", "video_features_basic"])
def test_a_missing_file_is_named(source: Path, tmp_path: Path, pattern: str) -> None:
    next(source.glob(f"{pattern}*")).unlink()
    with pytest.raises(SourceError, match=pattern):
        import_kuairand(source, tmp_path / "landing")


def test_a_folder_that_does_not_exist_and_a_log_without_rows(source: Path, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="nowhere"):
        import_kuairand(tmp_path / "nowhere", tmp_path / "landing")
    write(source, "log_standard_4_25_to_5_08_pure.csv", LOG)
    with pytest.raises(SourceError, match="no rows"):
        import_kuairand(source, tmp_path / "landing")


def test_files_that_are_not_text(source: Path, tmp_path: Path) -> None:
    (source / "user_features_pure.csv").write_bytes(USERS.encode() + b"\n1,\xff\xfe,1,x,3,4\n")
    with pytest.raises(SourceError, match=r"user_features_pure.csv: cannot be read: .*Line: 2"):
        import_kuairand(source, tmp_path / "landing")


def test_a_folder_data_and_ids_that_are_0(source: Path, tmp_path: Path) -> None:
    """As the archives unpack, and with ids that count from 0: landing takes a 0 for no id."""
    for path in list(source.iterdir()):
        text = path.read_text()
        for name, zero in (("1,full_active", "0,full_active"), ("10,500,", "0,0,")):
            text = text.replace(f"\n{name}", f"\n{zero}")
        (tmp_path / "data").mkdir(exist_ok=True)
        (tmp_path / "data" / path.name).write_text(text)
    import_kuairand(tmp_path, tmp_path / "landing")
    videos = rows(tmp_path / "landing", "videos", "video_id, creator_id, upload_dt")
    assert "video_0" in {video for video, *_ in videos}
    assert "author_0" in {creator for _, creator, _ in videos}
    assert all(uploaded for *_, uploaded in videos)
    assert ("user_0",) in rows(tmp_path / "landing", "viewers", "viewer_id")
