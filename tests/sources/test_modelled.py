"""What is made up for KuaiRand: deterministic per id, marked, in range, and as the docstring says."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import duckdb
import pytest

from pipelines.sources.simulator import modelled

EVENTS = """SELECT md5(i::VARCHAR) AS event_id, TIMESTAMP '2022-04-25' + INTERVAL (i) SECOND AS ts,
    (i % 97)::VARCHAR AS viewer_id,
            (i % 31)::VARCHAR AS video_id, 1000 * (i % 5) AS watch_ms, i % 10 = 0 AS liked,
            ['tag_1', 'tag_2'] AS categories
            FROM range({n}) t(i)"""


@pytest.fixture
def con() -> duckdb.DuckDBPyConnection:
    return duckdb.connect()


def test_uniform_is_uniform_and_depends_on_every_part(con: duckdb.DuckDBPyConnection) -> None:
    one, other, seeded = (
        modelled.uniform(1, "a", "i::VARCHAR"),
        modelled.uniform(1, "b", "i::VARCHAR"),
        modelled.uniform(2, "a", "i::VARCHAR"),
    )
    low, high, mean, with_other, with_seed = con.sql(
        f"SELECT min({one}), max({one}), avg({one}), corr({one}, {other}), corr({one}, {seeded})"
        " FROM range(20000) t(i)"
    ).fetchall()[0]
    assert 0 <= low < 0.001
    assert 0.999 < high < 1
    assert abs(mean - 0.5) < 0.01
    assert abs(with_other) < 0.03
    assert abs(with_seed) < 0.03


def test_the_numbers_of_one_id_are_pinned(con: duckdb.DuckDBPyConnection) -> None:
    """Another DuckDB must not change what was paid: MD5 is MD5."""
    number = int.from_bytes(hashlib.md5(b"7:verified:42").digest()[8:], "little")
    assert con.sql(f"""SELECT {modelled.uniform(7, "verified", "'42'")}""").fetchall() == [
        ((number >> 11) / 2**53,)
    ]


@pytest.mark.parametrize("make", [modelled.gifts, modelled.ad_revenue])
def test_a_row_depends_neither_on_order_nor_on_other_rows(
    con: duckdb.DuckDBPyConnection,
    make: Callable[[duckdb.DuckDBPyRelation, int], duckdb.DuckDBPyRelation],
) -> None:
    events = con.sql(EVENTS.format(n=4000))
    whole = set(make(events, 7).fetchall())
    reverse = set(make(events.order("event_id DESC"), 7).fetchall())
    part = set(make(events.filter("event_id < '8'"), 7).fetchall())
    assert whole == reverse
    assert part < whole
    assert part == {row for row in whole if row[0].split("-")[1] < "8"}
    assert set(make(events.union(events), 7).fetchall()) == whole
    assert len(make(events.union(events), 7)) == len(whole), "repeated impressions count once"
    assert set(make(events, 8).fetchall()) != whole


def test_gifts_are_premium_exactly_when_the_viewer_is_verified(
    con: duckdb.DuckDBPyConnection,
) -> None:
    viewers = con.sql("SELECT i::VARCHAR AS viewer_id FROM range(97) t(i)")
    verified = dict(modelled.with_trust(viewers, 7).select("viewer_id, verified").fetchall())
    gifts = modelled.gifts(con.sql(EVENTS.format(n=20_000)), 7)
    rows = gifts.select("viewer_id, premium, coins, source").fetchall()
    assert rows
    assert all(premium == verified[viewer] for viewer, premium, _, _ in rows)
    assert {coins for _, _, coins, _ in rows} == {1, 5, 20, 100, 500}
    assert {source for *_, source in rows} == {"modelled"}
    assert dict(zip(gifts.columns, map(str, gifts.types), strict=True))["coins"] == "BIGINT"


def test_shares_and_prices_are_those_of_the_docstring(con: duckdb.DuckDBPyConnection) -> None:
    n = 40_000
    ads = modelled.ad_revenue(con.sql(EVENTS.format(n=n)), 7)
    shown, near, low, high, categories = ads.aggregate(
        "count(*), count(video_id) / count(*), min(amount_micros), max(amount_micros),"
        " count(DISTINCT category)"
    ).fetchall()[0]
    assert abs(shown / n - 0.25) < 0.01
    assert abs(near - 0.4) < 0.02
    assert low >= 5_000
    assert high <= 90_000
    assert categories == 2
    assert dict(zip(ads.columns, map(str, ads.types), strict=True))["amount_micros"] == "BIGINT"

    viewers = modelled.with_trust(
        con.sql(f"SELECT i::VARCHAR AS viewer_id FROM range({n}) t(i)"), 7
    )
    share, least, most, of_verified = viewers.aggregate(
        "avg(verified::INT), min(trust), max(trust), min(trust) FILTER (WHERE verified)"
    ).fetchall()[0]
    assert abs(share - 0.3) < 0.01
    assert (least, most, of_verified) == (0.6, 1.0, 1.0)

    videos = modelled.with_safety(con.sql(f"SELECT i::VARCHAR AS video_id FROM range({n}) t(i)"), 7)
    scored, toxic, low, high, top = videos.aggregate(
        "count(s_plus) / count(*), avg((s_tox >= 0.4)::INT), min(s_plus), max(s_plus), max(s_tox)"
    ).fetchall()[0]
    assert abs(scored - 0.9) < 0.01
    assert abs(toxic - 0.02) < 0.005
    assert low >= 0.5
    assert high <= 1
    assert top <= 0.9
    assert (
        videos.filter(
            "(s_plus IS NULL) <> (s_tox IS NULL) OR source <> 'kuairand+modelled'"
        ).fetchall()
        == []
    )
