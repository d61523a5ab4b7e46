"""Pools split in chunks through files: the integers of the split in memory, whatever the chunks,
and the asset that takes either way.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.ads.assets import PoolTooLargeError, split_pool
from pipelines.ads.large_pools import _Reader, split_large_pool
from pipelines.policy import Ads
from pipelines.settings import PROJECT, Home
from pipelines.sources.simulator.simulate import simulate
from solvers import InfeasibleError
from tests.cases.five_days import make_days
from tests.cases.three_days import FIRST, SETTINGS, rows


def candidates(seed: int, *, videos: int = 90, same: bool = False) -> pa.Table:
    """Two categories; a unit with a third of the videos, units with one, ids that sort differently
    from how they are numbered.
    """
    rng = np.random.default_rng(seed)
    unit = np.where(rng.random(videos) < 1 / 3, 0, rng.integers(0, videos // 4, videos))
    views = (
        rng.choice([0.0, 1.0, 2.5], videos)
        if same
        else rng.pareto(1.2, videos) * (rng.random(videos) < 0.9)
    )
    columns = {
        "category": [("music", "it's")[int(x)] for x in rng.random(videos) < 0.2],
        "video_id": [f"v{int(x)}" for x in rng.permutation(videos)],
        "creator_id": [f"c{u}" for u in unit],
        "unit_id": [f"u{u}" for u in unit],
        "effective_views": views,
    }
    return pa.table(columns)


def both(
    found: pa.Table,
    pool: int,
    carry_in: int,
    ads: Ads,
    chunk: int,
    folder: Path,
    category: str = "music",
) -> list[dict[str, Any]]:
    """What each video is paid by the split in memory, and by the one in chunks; with the solution."""
    with duckdb.connect() as con:
        con.register("found", found)
        con.execute("CREATE TEMP TABLE ad_candidates AS FROM found")
        table = con.execute(
            "SELECT * FROM ad_candidates WHERE category = ? ORDER BY video_id", [category]
        ).to_arrow_table()
        in_memory = split_pool(table, pool, carry_in, ads)
        file, solution = split_large_pool(
            con, folder, category, pool, carry_in, ads, cap=ads.unit_cap(pool), chunk=chunk
        )
    assert isinstance(in_memory.rows, pa.Table)
    assert [path.name for path in folder.iterdir()] == [file.name]
    in_chunks = pq.read_table(file)
    assert set(in_chunks.column("category").to_pylist()) == {category}
    return [
        {"rows": in_memory.rows.sort_by("video_id"), **in_memory.solution},
        {"rows": in_chunks.drop_columns("category").sort_by("video_id"), **solution},
    ]


POLICIES = {
    "default": Ads(),
    "by video": Ads(fairness_unit="video"),
    "floors and caps": Ads(floor_micros=1_000, cap_fraction=0.08),
    "linear": Ads(objective="linear", lambda_fair=1e-6, lambda_eff=1, cap_fraction=0.15),
    "by share": Ads(lambda_fair=0, lambda_eff=1),
}


@pytest.mark.parametrize("chunk", [3, 1000])
@pytest.mark.parametrize("ads", POLICIES.values(), ids=POLICIES)
def test_chunks_pay_what_memory_pays(ads: Ads, chunk: int, tmp_path: Path) -> None:
    for seed, (pool, carry_in) in enumerate([(123_456_789, 0), (10**12 + 7, 1_234_567)]):
        memory, chunks = both(candidates(seed), pool, carry_in, ads, chunk, tmp_path / str(seed))
        for name in ("video_id", "creator_id", "unit_id", "payout_micros", "carried_micros"):
            assert chunks["rows"][name].equals(memory["rows"][name]), name
        np.testing.assert_allclose(chunks["rows"]["share"], memory["rows"]["share"], rtol=1e-14)
        assert pa.compute.sum(chunks["rows"]["payout_micros"]).as_py() == pool
        for name in (
            "units",
            "floor_micros",
            "cap_micros",
            "least_micros",
            "most_micros",
            "objective",
        ):
            assert chunks[name] == memory[name], name
        assert chunks["multiplier"] == pytest.approx(memory["multiplier"], rel=1e-12)
        assert (
            max(
                chunks["gap"],
                chunks["primal_residual"],
                chunks["stationarity_residual"],
                chunks["complementarity_residual"],
            )
            < 1e-12
        )


def test_ties_go_to_the_same_videos(tmp_path: Path) -> None:
    """Equal views everywhere: only hashes tell rows apart, and units of one video, many and none
    all tie.
    """
    ads = Ads(fairness_unit="video")
    for chunk in (3, 50):
        memory, chunks = both(
            candidates(5, same=True), 1_000_003, 101, ads, chunk, tmp_path / str(chunk)
        )
        assert chunks["rows"].drop_columns("share").equals(memory["rows"].drop_columns("share"))


@pytest.mark.parametrize("same", [False, True])
def test_a_unit_of_many_chunks_is_never_read_as_a_whole(
    same: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its third of 9,000 videos lies in several row groups; what is taken from the file at once is
    never more than a chunk.
    """
    most: list[int] = []
    take = _Reader.take
    monkeypatch.setattr(_Reader, "take", lambda self, n: most.append(n) or take(self, n))
    memory, chunks = both(
        candidates(7, videos=9_000, same=same), 10**10 + 3, 1_001, Ads(), 500, tmp_path / "pool"
    )
    assert chunks["rows"].drop_columns("share").equals(memory["rows"].drop_columns("share"))
    assert max(most) == 500


def test_a_category_with_a_quote_and_nobody_who_watched(tmp_path: Path) -> None:
    found = candidates(1)
    nothing = found.set_column(4, "effective_views", pa.array(np.zeros(found.num_rows)))
    memory, chunks = both(nothing, 1_000, 7, Ads(), 10, tmp_path / "pool", "it's")
    assert chunks["rows"].equals(memory["rows"])


def test_floors_that_exceed_the_pool(tmp_path: Path) -> None:
    with duckdb.connect() as con:
        con.register("found", candidates(1))
        con.execute("CREATE TEMP TABLE ad_candidates AS FROM found")
        with pytest.raises(InfeasibleError, match="floors add up to"):
            split_large_pool(
                con, tmp_path / "pool", "music", 10, 0, Ads(floor_micros=1), cap=10, chunk=9
            )


def test_the_asset_pays_the_same_either_way(tmp_path: Path) -> None:
    """A day's pools in memory, then in chunks: no row of the payouts is another one, so that the
    ledger has nothing to reverse.
    """
    home, paid = (
        Home.at(tmp_path),
        "SELECT category, video_id, payout_micros, carried_micros FROM ad_payouts ORDER BY ALL",
    )
    simulate(
        home.landing,
        first_day=FIRST,
        days=1,
        seed=3,
        events_per_day=600,
        viewers=200,
        creators=20,
        videos=60,
    )
    (tmp_path / "settings.toml").write_text(SETTINGS)
    make_days(home, [FIRST])
    in_memory = rows(home, paid)
    (tmp_path / "settings.toml").write_text(SETTINGS + "chunked_from = 0\nchunk_rows = 7\n")
    make_days(
        Home.at(tmp_path), [FIRST], assets=["ad_payouts", "ledger_entries", "creator_earnings"]
    )
    assert rows(home, paid) == in_memory
    assert len(in_memory) > 40
    assert set(rows(home, "SELECT solver FROM ad_solutions")) == {("closed form in chunks",)}
    assert rows(home, "SELECT count(DISTINCT txn_id) FROM ledger_transactions") == [(1,)]
    assert not list(tmp_path.glob(".pools-*"))


def test_rules_keep_a_pool_in_memory_and_too_large_a_one_is_refused(tmp_path: Path) -> None:
    """A rule for one pool leaves the others in chunks; where it holds, more videos than the
    settings allow stop the day.
    """
    home, solvers = (
        Home.at(tmp_path),
        "SELECT category, solver = 'closed form in chunks' FROM ad_solutions ORDER BY ALL",
    )
    simulate(
        home.landing,
        first_day=FIRST,
        days=1,
        seed=3,
        events_per_day=600,
        viewers=200,
        creators=20,
        videos=60,
    )
    (tmp_path / "policies").mkdir()
    policy = (PROJECT / "assets_data/policies/evidence.toml").read_text()
    (tmp_path / "policies/evidence.toml").write_text(
        policy
        + '\n[[ads.rules]]\nname = "few followers"\nfollowers_below = 1000\nminimum = 0.01\npools ='
        ' ["beauty"]\n'
    )
    (tmp_path / "settings.toml").write_text(SETTINGS + "chunked_from = 0\nchunk_rows = 7\n")
    make_days(home, [FIRST])
    in_chunks = dict(rows(home, solvers))
    assert not in_chunks.pop("beauty")
    assert in_chunks
    assert all(in_chunks.values())
    (tmp_path / "settings.toml").write_text(
        SETTINGS + "chunked_from = 0\nchunk_rows = 7\nruled_up_to = 3\n"
    )
    with pytest.raises(
        PoolTooLargeError, match=r"pool 'beauty' .* this home stops at 3[.] Raise ruled_up_to"
    ):
        make_days(Home.at(tmp_path), [FIRST], assets=["ad_payouts"])
