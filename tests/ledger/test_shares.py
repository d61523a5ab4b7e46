"""Parts in what a video earns: whole micros by largest remainder, after the optimum; a part in
dispute is held, and what is held comes out again when the dispute ends.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from datetime import date
from itertools import pairwise
from typing import Any

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.ledger.closing import close
from pipelines.ledger.explanation import explain
from pipelines.ledger.statement import creator_month
from pipelines.ledger.verification import verify
from pipelines.ledger.wording import text
from pipelines.remake.days import restate
from pipelines.schema import TABLES
from pipelines.schema.shares import WHOLE
from pipelines.settings import Home
from pipelines.sql import query
from pipelines.store.warehouse import Warehouse
from solvers.apportion import apportion
from tests.cases.five_days import DAYS, FIRST, make_days, rows

PAYOUTS = ("pulse_payouts", "ad_pools", "ad_payouts", "donation_splits")


def deliver(home: Home, shares: list[Mapping[str, Any]], day: date = FIRST) -> None:
    path = home.landing / "shares" / f"{day}" / "shares.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    names = list(dict.fromkeys(name for row in shares for name in row))
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, names)
        writer.writeheader()
        writer.writerows(shares)


def share(number: int, video: str, party: str, part: int, **more: Any) -> dict[str, Any]:
    return {
        "share_id": f"s{number}",
        "video_id": video,
        "party_id": party,
        "part": part,
        "role": "music",
        **more,
    }


def best_video(home: Home) -> tuple[str, str, int, list[str]]:
    """The video that earns most on the first day, its creator, its micros; and two others."""
    [(video, creator, micros)] = rows(
        home,
        "SELECT video_id, creator_id, sum(payout_micros)::BIGINT AS m FROM (SELECT day, video_id,"
        " creator_id, payout_micros FROM ad_payouts UNION ALL SELECT day, video_id, creator_id,"
        " payout_micros FROM pulse_payouts UNION ALL SELECT day, video_id, creator_id,"
        " payout_micros FROM donation_splits) WHERE day = ? GROUP BY ALL ORDER BY m DESC LIMIT 1",
        FIRST,
    )
    others = rows(
        home, "SELECT DISTINCT creator_id FROM creators WHERE creator_id <> ? ORDER BY 1", creator
    )
    return video, creator, micros, [row[0] for row in others[:2]]


def of_video(home: Home, video: str, day: date = FIRST) -> dict[str, int]:
    sql = (
        "SELECT account, sum(amount_micros)::BIGINT AS m FROM ledger_entries WHERE day = ? AND"
        " part = ? GROUP BY ALL HAVING m <> 0"
    )
    return dict(rows(home, sql, day, f"share:{video}"))


def test_a_split_moves_what_the_video_earned_and_nothing_else(made: Home) -> None:
    video, creator, micros, (one, other) = best_video(made)
    before = [rows(made, f"FROM {table} ORDER BY ALL") for table in PAYOUTS]
    parts = [600_001, 333_333, 66_666]
    deliver(
        made,
        [
            share(n, video, party, part)
            for n, (party, part) in enumerate(zip((creator, one, other), parts, strict=True))
        ],
    )
    make_days(made, DAYS)
    # no pool, no optimum and no fairness rule knows of it
    assert [rows(made, f"FROM {table} ORDER BY ALL") for table in PAYOUTS] == before
    kept, first, second = apportion(parts, micros, keys=["s0", "s1", "s2"]).tolist()
    assert of_video(made, video) == {
        f"creator:{creator}": kept - micros,
        f"creator:{one}": first,
        f"creator:{other}": second,
    }
    assert rows(made, "SELECT sum(shares_micros)::BIGINT FROM creator_earnings") == [(0,)]
    with Warehouse(made).open(read_only=True) as con:
        assert verify(con).findings == ()
        words = text(explain(con, video, FIRST, kind="video"))
        assert f"{one} has a part in it" in words
        explain(con, one, FIRST, kind="creator")  # adds up, or it would refuse
        month = creator_month(con, one, FIRST.year, FIRST.month)
    assert month.sources[f"part in video {video}"] >= first


def test_what_is_disputed_or_not_whole_is_held_until_a_corrected_file_ends_it(made: Home) -> None:
    video, creator, micros, (one, _) = best_video(made)
    mine = share(1, video, creator, 700_000)
    deliver(made, [mine, share(2, video, one, 300_000, disputed="true")])
    make_days(made, DAYS)
    kept, claimed = apportion([700_000, 300_000], micros, keys=["s1", "s2"]).tolist()
    assert of_video(made, video) == {f"creator:{creator}": -claimed, f"dispute:{video}": claimed}
    close(made, DAYS[1])
    # the other party is right; the day is closed, so it goes through the ledger in the open period
    deliver(made, [mine, share(2, video, one, 300_000)])
    shown, _ = restate(made, FIRST, FIRST, reason="the claim was upheld")
    restate(made, FIRST, FIRST, reason="the claim was upheld", expected=shown.digest)
    assert of_video(made, video) == {f"creator:{creator}": kept - micros, f"creator:{one}": claimed}
    held = "SELECT sum(amount_micros) FROM ledger_entries WHERE starts_with(account, 'dispute:')"
    assert rows(made, held) == [(0,)]
    # parts that are not the whole: everything the video earns on an open day is held
    deliver(made, [share(1, video, creator, 700_000), share(2, video, one, 299_999)], DAYS[3])
    make_days(made, DAYS[3:])
    accounts = of_video(made, video, DAYS[3])
    if accounts:
        assert accounts.keys() == {f"creator:{creator}", f"dispute:{video}"}
    with Warehouse(made).open(read_only=True) as con:
        assert verify(con).findings == ()


@pytest.fixture(scope="module")
def empty():
    with duckdb.connect() as con:
        for table in (*PAYOUTS, "shares", "adjustments"):
            con.execute(TABLES[table].ddl(constraints=False))
        yield con


@given(
    micros=st.integers(0, 10**15),
    cuts=st.lists(st.integers(1, WHOLE - 1), max_size=6, unique=True),
    last=st.sampled_from([None, FIRST, DAYS[1]]),
)
def test_any_split_is_whole_micros_by_largest_remainder(
    empty: duckdb.DuckDBPyConnection, micros: int, cuts: list[int], last: date | None
) -> None:
    """Against the apportionment that the pools use."""
    edges = [0, *sorted(cuts), WHOLE]
    parts = [b - a for a, b in pairwise(edges)]
    empty.execute("DELETE FROM shares; DELETE FROM donation_splits")
    empty.execute(
        "INSERT INTO donation_splits BY NAME SELECT DATE '2026-03-02' AS day, 'v' AS video_id, 'c'"
        " AS creator_id, true AS compliant, 0 AS normal_coins, 0 AS premium_coins, 0 AS quality, 0"
        " AS normal_share, 0 AS premium_share, $m::BIGINT AS revenue_micros, $m::BIGINT AS"
        " payout_micros, '' AS policy_hash",
        {"m": micros},
    )
    for n, part in enumerate(parts):
        empty.execute(
            "INSERT INTO shares VALUES (?, ?, 'v', ?, ?, 'x', NULL, ?, false, '')",
            [FIRST, f"s{n}", f"p{n}", part, last],
        )
    found = dict(
        empty.execute(
            f"SELECT account, sum(amount_micros)::BIGINT FROM ({query('ledger/ledger_entries')})"
            " WHERE starts_with(account, 'creator:') GROUP BY ALL",
            {"day": DAYS[1]},
        ).fetchall()
    )
    found = {account: amount for account, amount in found.items() if amount}
    if last == FIRST:  # over
        expected = {"creator:c": micros}
    else:
        split = apportion(parts, micros, keys=[f"s{n}" for n in range(len(parts))]).tolist()
        expected = {f"creator:p{n}": amount for n, amount in enumerate(split)}
    assert found == {account: amount for account, amount in expected.items() if amount}
