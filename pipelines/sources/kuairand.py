"""KuaiRand (Gao et al., CIKM 2022; CC BY-SA 4.0) as its owners publish it, into the landing folder.

Reads, from the folder or its `data/`, `log_standard*.csv` (one or several), `user_features*.csv`
and `video_features_basic*.csv` of KuaiRand-Pure, -1K or -27K; the logs of random exposure
(`log_random*.csv`) are left out. What the data set lacks is made up in `modelled` and nowhere else.

It drops nothing and repairs nothing: rows the payout cannot use (no length, an unknown video) go to
landing as they are and end in quarantine, counted. What was decided:

- A day is the UTC day of `time_ms`. The columns `date` and `hourmin` are not used: `date` is a
  Chinese day that disagrees with `time_ms` in places, and the minutes of `hourmin` are always 00.
  The 14 days of the Pure log (25 April to 8 May 2022) are 15 in UTC, from 24 April.
- An event's id is the MD5 of its whole source row: exact repetitions keep one id and are dropped
  downstream as duplicates; rows of one user, video and time that differ in anything stay distinct
  events.
- is_like, is_comment, is_forward and is_follow are liked, commented, shared and followed;
  play_time_ms is watch_ms; duration_ms is length_ms, 0 included.
- Categories are the tags (`39,68` is tag_39 and tag_68), `untagged` where there is none.
  `compliant` is video_type = NORMAL: adverts (AD) and UNKNOWN earn nothing.
- An id 0 is a real one here, and a placeholder for landing: it goes on as user_0, video_0, author_0.
- `upload_dt` is kept in the files of videos as it is; landing ignores it.
- Every author is a creator; followers are unknown (author ids are not user ids), and so are regions
  and devices.
- An empty cell goes on as an empty cell. A cell that is not what its column holds stops the import,
  with file, line and column.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory

import duckdb

from pipelines.files import replacing
from pipelines.sources.errors import SourceError
from pipelines.sources.simulator import modelled
from pipelines.sql import as_text

_TEXT, _WHOLE, _FLAG, _TIME = "text", "a whole number", "0 or 1", "milliseconds since 1970"
_IS = {
    _TEXT: "true",
    _WHOLE: "regexp_full_match({0}, '[+-]?[0-9]{{1,18}}([.]0*)?')",
    _FLAG: "{0} IN ('0', '1')",
    _TIME: "regexp_full_match({0}, '[0-9]{{1,15}}')",
}
_DIALECT = """auto_detect = false, header = true, delim = ',', quote = '"', escape = '"'"""
_LOG = {
    "user_id": _TEXT,
    "video_id": _TEXT,
    "time_ms": _TIME,
    "play_time_ms": _WHOLE,
    "duration_ms": _WHOLE,
    "is_like": _FLAG,
    "is_comment": _FLAG,
    "is_forward": _FLAG,
    "is_follow": _FLAG,
}
_USERS = {"user_id": _TEXT, "user_active_degree": _TEXT, "register_days": _WHOLE}
_VIDEOS = {
    "video_id": _TEXT,
    "author_id": _TEXT,
    "video_type": _TEXT,
    "upload_dt": _TEXT,
    "video_duration": _WHOLE,
    "tag": _TEXT,
}


@dataclass(frozen=True)
class KuaiRandImport:
    """What was written: rows by table, and what downstream will make of some of them."""

    first_day: date
    last_day: date
    days: int
    rows: dict[str, int]
    repeated_events: int
    events_without_length: int
    videos_without_length: int
    videos_not_compliant: int


def import_kuairand(
    folder: Path, landing: Path, *, seed: int = 7, progress: Callable[[str], None] | None = None
) -> KuaiRandImport:
    """Write the KuaiRand files of `folder` as `<landing>/<table>/<UTC day>/kuairand.parquet`.

    Snapshots (viewers, creators, videos) go to the folder of the first day. Importing again
    replaces the files.

    Parameters
    ----------
    seed
        Of what `modelled` makes up.
    progress
        Called with one line per table and day.

    Raises
    ------
    SourceError
        A file or column is missing or a file cannot be read; names the file, and the line or
        column.
    """
    landing.mkdir(parents=True, exist_ok=True)
    with (
        TemporaryDirectory(prefix=".kuairand-", dir=landing) as scratch,
        duckdb.connect(f"{scratch}/import.duckdb") as con,
    ):
        con.execute("SET TimeZone = 'UTC'")
        _read(con, "users", _find(folder, "user_features*.csv"), _USERS)
        _read(con, "clips", _find(folder, "video_features_basic*.csv"), _VIDEOS)
        _read(con, "log", _find(folder, "log_standard*.csv"), _LOG, row_id="event_id")
        _create_tables(con, seed)
        days = [
            row[0]
            for row in con.execute(
                "SELECT DISTINCT ts::DATE FROM viewer_events ORDER BY 1"
            ).fetchall()
        ]
        if not days:
            raise SourceError(f"{folder}: log_standard*.csv has no rows")
        rows: dict[str, int] = {}
        for table in ("viewers", "creators", "videos"):
            rows[table] = _write(
                con, _path(landing, table, days[0]), f"FROM {table} ORDER BY ALL", progress
            )
        for table, key in (
            ("viewer_events", "event_id"),
            ("gifts", "gift_id"),
            ("ad_revenue", "ad_id"),
        ):
            rows[table] = sum(
                _write(
                    con,
                    _path(landing, table, day),
                    f"FROM {table} WHERE ts::DATE = '{day}' ORDER BY ts, {key}",
                    progress,
                )
                for day in days
            )
        return KuaiRandImport(
            days[0],
            days[-1],
            len(days),
            rows,
            _number(con, "SELECT count(*) - count(DISTINCT event_id) FROM viewer_events"),
            _number(con, "SELECT count(*) FROM viewer_events WHERE length_ms <= 0"),
            _number(con, "SELECT count(*) FROM videos WHERE length_ms IS NULL"),
            _number(con, "SELECT count(*) FROM videos WHERE NOT compliant"),
        )


def _find(folder: Path, pattern: str) -> list[Path]:
    for place in (folder, folder / "data"):  # the archives hold a folder data/
        if paths := sorted(place.glob(pattern)):
            return paths
    raise SourceError(
        f"{folder}: no file {pattern}; unpack KuaiRand there (Zenodo record 10439422)"
    )


def _read(
    con: duckdb.DuckDBPyConnection,
    table: str,
    paths: Sequence[Path],
    columns: dict[str, str],
    row_id: str | None = None,
) -> None:
    """Append the files to `table`, checked; with `row_id`, a column of that name identifies the
    whole source row.
    """
    for path in paths:
        header = _header(path, columns)
        names = ", ".join(f"'{name}': 'VARCHAR'" for name in header)
        source = f"read_csv({as_text(path)}, columns = {{{names}}}, {_DIALECT})"
        cells = [f"{_checked(name, kind)} AS {name}" for name, kind in columns.items()]
        if row_id:
            whole = ", ".join(f"""coalesce("{name}", '')""" for name in header)
            cells.append(f"md5(concat_ws(chr(31), {whole})) AS {row_id}")
        create = f"CREATE TABLE {table} AS" if path == paths[0] else f"INSERT INTO {table} BY NAME"
        try:
            con.execute(f"{create} SELECT {', '.join(cells)} FROM {source}")
        except duckdb.Error as error:
            raise _explained(con, path, source, columns, error) from error


def _header(path: Path, columns: dict[str, str]) -> list[str]:
    try:
        with path.open("rb") as lines:
            header = next(csv.reader([lines.readline().decode("utf-8-sig")]), [])
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SourceError(f"{path}: cannot be read: {error}") from error
    if missing := [name for name in columns if name not in header]:
        raise SourceError(
            f"{path}: line 1: column {', '.join(missing)} is missing (found:"
            f" {', '.join(header) or 'none'})"
        )
    if twice := sorted({name for name in header if header.count(name) > 1}):
        raise SourceError(f"{path}: line 1: column {', '.join(twice)} appears twice")
    return header


def _checked(name: str, kind: str) -> str:
    if kind == _TEXT:
        kind_of_id = name.removesuffix("_id")
        zero = f"CASE WHEN {name} = '0' THEN '{kind_of_id}_0' ELSE {name} END"
        return name if name == kind_of_id else zero
    typed = {
        _WHOLE: f"{name}::BIGINT",
        _FLAG: f"{name} = '1'",
        _TIME: f"make_timestamp({name}::BIGINT * 1000)",
    }[kind]
    absent = "false" if kind == _TIME else f"{name} IS NULL"
    return (
        f"CASE WHEN {absent} THEN NULL WHEN {_IS[kind].format(name)} THEN {typed} ELSE"
        " error('cell') END"
    )


def _explained(
    con: duckdb.DuckDBPyConnection,
    path: Path,
    source: str,
    columns: dict[str, str],
    error: duckdb.Error,
) -> SourceError:
    """Find the first bad cell; this reads the file once more, which only a failure has to pay
    for.
    """
    for name, kind in columns.items():
        fits = f"coalesce({_IS[kind].format(name)}, {'false' if kind == _TIME else 'true'})"
        query = (
            f"SELECT line, {name} FROM (SELECT {name}, row_number() OVER () + 1 AS line FROM"
            f" {source}) WHERE NOT {fits} ORDER BY 1 LIMIT 1"
        )
        try:
            row = con.execute(query).fetchone()
        except duckdb.Error:
            break
        if row:
            return SourceError(
                f"{path}: line {row[0]}: column {name} is {row[1] or ''!r}, not {kind}"
            )
    message = str(error).splitlines()
    return SourceError(f"{path}: cannot be read: {' '.join(message[:3])}")


def _create_tables(con: duckdb.DuckDBPyConnection, seed: int) -> None:
    con.execute(
        """CREATE TABLE viewer_events AS SELECT event_id, time_ms AS ts, user_id AS viewer_id,
            video_id, play_time_ms AS watch_ms,
             is_like AS liked, is_comment AS commented, is_forward AS shared, is_follow AS followed,
             duration_ms AS length_ms,
             'kuairand' AS source FROM log;
           DROP TABLE log;
           CREATE TABLE creators AS SELECT DISTINCT author_id AS creator_id,
           NULL::VARCHAR AS identity_id, NULL::BIGINT AS followers,
             'kuairand' AS source FROM clips WHERE author_id IS NOT NULL"""
    )
    viewers = con.sql(
        """SELECT user_id AS viewer_id, NULL::VARCHAR AS region, NULL::VARCHAR AS device,
            user_active_degree AS activity,
           register_days AS tenure_days FROM users"""
    )
    modelled.with_trust(viewers, seed).to_table("viewers")
    videos = con.sql("""SELECT video_id, author_id AS creator_id, video_duration AS length_ms,
           CASE WHEN tag IS NULL THEN ['untagged']
           ELSE list_sort(list_distinct(['tag_' || trim(t) FOR t IN string_split(tag, ',')])) END
             AS categories,
           coalesce(video_type = 'NORMAL', false) AS compliant, upload_dt FROM clips""")
    modelled.with_safety(videos, seed).to_table("videos")
    earning = con.sql(
        """SELECT e.*, v.categories FROM viewer_events AS e JOIN videos AS v USING (video_id)
           WHERE v.compliant AND v.length_ms > 0 AND e.length_ms > 0"""
    )
    modelled.gifts(earning, seed).to_table("gifts")
    modelled.ad_revenue(earning, seed).to_table("ad_revenue")


def _write(
    con: duckdb.DuckDBPyConnection, path: Path, query: str, progress: Callable[[str], None] | None
) -> int:
    with replacing(path) as temporary:
        rows = con.execute(
            f"COPY ({query}) TO {as_text(temporary)} (FORMAT parquet, COMPRESSION zstd)"
        ).fetchone()
    assert rows is not None
    if progress:
        progress(f"{path.parent.name} {path.parent.parent.name}: {rows[0]:,} rows")
    return int(rows[0])


def _path(landing: Path, table: str, day: date) -> Path:
    return landing / table / day.isoformat() / "kuairand.parquet"


def _number(con: duckdb.DuckDBPyConnection, query: str) -> int:
    row = con.execute(query).fetchone()
    assert row is not None
    return int(row[0])
