"""A day with many videos, from events in the warehouse to creators' earnings: seconds and peak
memory of each step, in a file warehouse.

    python -m benchmarks.big_day --videos 1e6
    python -m benchmarks.big_day --videos 1e7 --folder /a/disk/with/30/GB --explain 3

Each asset is made by the function that Dagster calls, in a process of its own, so that peak memory
is that asset's; its invariants are in it. Then `publish`, and explanations of some videos and of
the creator with the most, one process each. Events are put into the warehouse as the loader stores
them, two a video on average and one at least (`events_to_scores` is the benchmark of many events a
video). With --drawn there are none: scores are drawn, and the day begins after `video_quality`.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

from pipelines.assets import ASSETS
from pipelines.ledger.counterfactual import COMPONENTS
from pipelines.ledger.explanation import explain
from pipelines.runs.daily import Day
from pipelines.settings import Home
from pipelines.store.warehouse import Connection, Warehouse

DAY = date(2026, 2, 1)
STEPS = (
    "video_quality",
    "pulse_payouts",
    "ad_pools",
    "ad_payouts",
    "donation_splits",
    "ledger_entries",
    "creator_earnings",
)
MADE = (
    "viewers",
    "creators",
    "videos",
    "viewer_events",
    "gifts",
    "ad_revenue",
    "viewer_groups",
    "group_weights",
)
POOL_MICROS = 10**13


def in_a_process(function: Callable[..., str], *arguments: Any) -> tuple[str, float, float]:
    """What `function` says, its seconds, and the most memory that its process ever had, in GB."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_measured, (function, *arguments))


def _measured(function: Callable[..., str], *arguments: Any) -> tuple[str, float, float]:
    began = time.perf_counter()
    says = function(*arguments)
    return (
        says,
        time.perf_counter() - began,
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
    )


def fill(root: str, videos: int, drawn: bool, bookings: int = 100) -> str:
    """Ten videos a creator on average and a few with very many, one category in five out of
    `music`; a gift on every tenth video.
    """
    house = Warehouse(Home.at(root))
    creator = f"'c' || floor({videos} / 10 * pow((hash(i + 7) % 1000003) / 1000003, 2))::BIGINT"
    with house.open() as con:
        tables = {
            "viewers": (
                f"""SELECT 'u' || i AS viewer_id, i % 5 = 0 AS verified, 1.0 AS trust
                    FROM range({max(1000, videos // 20)}) t(i)"""
            ),
            "creators": (
                f"SELECT 'c' || i AS creator_id, i AS followers FROM range({videos // 10 + 1}) t(i)"
            ),
            "videos": (
                f"""SELECT 'v' || i AS video_id, {creator} AS creator_id,
                    5000 + i * 37 % 55000 AS length_ms,
                          [if(hash(i + 2) % 5 = 0, 'dance', 'music')] AS categories,
                          i % 50 <> 0 AS compliant, 0.8 AS s_plus, 0.1 AS s_tox
                          FROM range({videos}) t(i)"""
            ),
            # the second half goes to some videos much more than to others
            "viewer_events": (
                f"""SELECT 'e' || i AS event_id,
                    TIMESTAMP '{DAY}' + INTERVAL (i % 86400) SECOND AS ts,
                          'u' || (hash(i * 3 + 1) % {max(1000, videos // 20)}) AS viewer_id,
                          'v' || if(i < {videos}, i,
                          floor({videos} * pow((hash(i + 77) % 1000003) / 1000003,
                          3))::BIGINT) AS video_id,
                          hash(i + 5) % 60000 AS watch_ms, hash(i + 6) % 10 = 0 AS liked,
                          hash(i + 7) % 50 = 0 AS commented,
                          hash(i + 8) % 60 = 0 AS shared, hash(i + 9) % 100 = 0 AS followed,
                          true AS repeated
                          FROM range({2 * videos}) t(i) ORDER BY video_id, viewer_id, event_id"""
            ),
            "gifts": (
                f"""SELECT 'g' || i AS gift_id, TIMESTAMP '{DAY}' AS ts, 'u1' AS viewer_id,
                    'v' || 10 * i AS video_id,
                          1 + i % 50 AS coins, i % 2 = 0 AS premium
                          FROM range({videos // 10}) t(i)"""
            ),
            "ad_revenue": (
                f"""SELECT 'a' || i AS ad_id, TIMESTAMP '{DAY}' AS ts, if(i % 5 = 0, 'dance',
                    'music') AS category,
                          if(i % 2 = 0, 'v' || i, NULL) AS video_id,
                          {POOL_MICROS // bookings} + i AS amount_micros
                          FROM range({bookings}) t(i)"""
            ),
        }
        if drawn:
            del tables["viewer_events"]
            policy = house.home.policies.in_force(DAY)
            powers = policy.quality.exponents
            product = " * ".join(f"{name} ** {getattr(powers, name)}" for name in COMPONENTS)
            parts = ", ".join(
                f"(hash(i + {n}) % 100003) / 100003 AS {name}" for n, name in enumerate(COMPONENTS)
            )
            con.execute(f"""INSERT INTO video_quality BY NAME
                    SELECT *, quality * qualified_views AS effective_views FROM (
                      SELECT *, if(compliant, {product}, 0) AS quality
                      FROM (SELECT DATE '{DAY}' AS day, 'v' || i AS video_id,
                      {creator} AS creator_id, i % 50 <> 0 AS compliant, {parts},
                                   1 + hash(i) % 1000 AS viewers,
                                   viewers * (1 + hash(i + 9) % 10) / 10 AS qualified_views,
                                   qualified_views AS trust_mass, 1.0 AS unverified_scale,
                                   1.0 AS group_weight, 'given' AS safety_source,
                                   '{policy.hash}' AS policy_hash
                            FROM range({videos}) t(i)))""")
        for table, rows in tables.items():
            con.execute(
                f"INSERT INTO {table} BY NAME SELECT DATE '{DAY}' AS day, *, 'modelled' AS source"
                f" FROM ({rows})"
            )
        con.executemany(
            "INSERT INTO written_days VALUES (?, ?, 1, 1, 1, TIMESTAMP '2026-02-02', '', NULL, NULL)",
            [[name, DAY] for name in (*MADE, *(["video_quality"] if drawn else []))],
        )
    return ""


def make(root: str, name: str) -> str:
    (asset,) = (asset for asset in ASSETS if asset.name == name)
    house = Warehouse(Home.at(root))
    with house.open() as con:
        metadata = asset.make(Day(con, DAY, house, house.home.policies.in_force(DAY)))
    return f"{metadata.get('rows', metadata.get('entries')):,} rows"


def publish(root: str) -> str:
    return (
        f"{Warehouse(Home.at(root)).home.warehouse.stat().st_size / 1e9:.1f} GB"
        f" {'' if Warehouse(Home.at(root)).publish() else 'off'}"
    )


def explained(root: str, name: str) -> str:
    with Warehouse(Home.at(root)).open(read_only=True) as con:
        found = explain(con, name, DAY)
    return f"{name}: {found.total_micros:,} micros"


def _names(con: Connection, videos: int) -> list[str]:
    """The creator with the most videos, and videos spread over what they were paid."""
    (creator,) = con.execute(
        "SELECT creator_id FROM video_quality GROUP BY creator_id ORDER BY count(*) DESC,"
        " creator_id LIMIT 1"
    ).fetchall()[0]
    (n,) = con.execute("SELECT count(*) FROM ad_payouts").fetchall()[0]
    places = ", ".join(str(1 + (n - 1) * k // max(1, videos - 1)) for k in range(videos))
    ranked = (
        "SELECT video_id, row_number() OVER (ORDER BY payout_micros, video_id) AS place FROM"
        " ad_payouts"
    )
    return (
        [
            *(
                v
                for (v,) in con.execute(
                    f"SELECT video_id FROM ({ranked}) WHERE place IN ({places})"
                ).fetchall()
            ),
            creator,
        ]
        if videos
        else []
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--videos", type=lambda s: int(float(s)), nargs="+", default=[10**6])
    parser.add_argument(
        "--folder", default=tempfile.gettempdir(), help="where the home goes; 2 GB a million videos"
    )
    parser.add_argument(
        "--settings",
        default='memory_limit = "4GB"\nthreads = 2\n',
        help="settings.toml of the home",
    )
    parser.add_argument(
        "--steps", nargs="+", choices=[*STEPS, "publish"], default=[*STEPS, "publish"]
    )
    parser.add_argument("--drawn", action="store_true", help="no events: scores are drawn")
    parser.add_argument(
        "--explain", type=int, default=0, help="how many videos, besides the creator with the most"
    )
    options = parser.parse_args()
    for videos in options.videos:
        with tempfile.TemporaryDirectory(dir=options.folder) as root:
            Path(root, "settings.toml").write_text(options.settings)
            print(f"{videos:,} videos\n{'':>20} {'seconds':>8} {'peak GB':>8}", flush=True)

            def show(step: str, found: tuple[str, float, float]) -> None:
                says, seconds, peak = found
                print(f"{step:>20} {seconds:>8.1f} {peak:>8.2f}  {says}", flush=True)

            show("(filling)", in_a_process(fill, root, videos, options.drawn))
            for step in options.steps[int(options.drawn and options.steps[0] == STEPS[0]) :]:
                show(
                    step,
                    (
                        in_a_process(publish, root)
                        if step == "publish"
                        else in_a_process(make, root, step)
                    ),
                )
            if options.explain:
                with Warehouse(Home.at(root)).open(read_only=True) as con:
                    names = _names(con, options.explain)
                for name in names:
                    show("explain", in_a_process(explained, root, name))


if __name__ == "__main__":
    main()
