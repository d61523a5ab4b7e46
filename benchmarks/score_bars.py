"""The bars of the score and of what accounts can move (docs/formulas.md 1.11), measured.

    python -m benchmarks.score_bars --kuairand DIR [--home HOME]     # on the KuaiRand days of DIR
    python -m benchmarks.score_bars --simulated [--days 28]          # on a made-up platform

The first imports the data set into a new home and runs it (or takes a home that was run), then reads
the daily certificates, pays every day again without the bound on accounts, scores days by random
halves of the viewers, and times a score that looks back 28 days against one that looks at its own.
The second knows the true quality of every video. Minutes; figures of the policy in force.
"""

from __future__ import annotations

import argparse
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path

import duckdb
import numpy as np
from scipy.stats import spearmanr

from pipelines.definitions import ASSETS
from pipelines.lab.trial import trial
from pipelines.policy import Policy
from pipelines.quality.evidence import evidence_scores, fit, gather
from pipelines.runs.daily import Day
from pipelines.schema import LANDING, TABLES
from pipelines.settings import Home
from pipelines.sources.kuairand import import_kuairand
from pipelines.sources.simulator.platform import Platform
from pipelines.sql import MACROS
from pipelines.store.warehouse import Connection, Warehouse

MAKES = {asset.name: asset for asset in ASSETS}


def run(home: Home) -> None:
    """`earnings run`, in a process of its own."""
    earnings = Path(sys.executable).parent / "earnings"
    subprocess.run([earnings, "--home", home.root, "run"], check=True, stdout=subprocess.DEVNULL)


def spread(values: Sequence[float]) -> str:
    """Middle, 99 % and end."""
    return "{:.2f} / {:.2f} / {:.2f}".format(*np.quantile(values, (0.5, 0.99, 1.0)))


def accounts(con: Connection) -> None:
    """What the certificates of the days say, creator by creator (each creator's best video)."""
    rows = con.execute(
        """SELECT day, max(account_micros) / any_value(viewer_day_micros) AS one,
               max(ten_micros) / 10 / any_value(viewer_day_micros) AS ten,
               max(taken_micros) / any_value(viewer_day_micros) AS taken
           FROM manipulation GROUP BY day, creator_id ORDER BY day"""
    ).fetchall()
    print("\nviewer-days an unverified account moves: median / 99 % / worst creator")
    print(f"{'day':12} {'one account':22} {'each of ten':22} {'a saboteur takes':22}")
    for day in sorted({row[0] for row in rows}):
        mine = [row[1:] for row in rows if row[0] == day]
        print(f"{day} ", *(f"{spread(column):22}" for column in zip(*mine, strict=True)))
    print("all days    ", *(f"{spread(column):22}" for column in list(zip(*rows, strict=True))[1:]))


def honest(home: Home, days: list[date]) -> None:
    """What the bound moves from creators whom it does not mean."""
    moved: list[float] = []
    paid, unbound = {}, {}
    for day in days:
        policy = home.policies.in_force(day)
        free = policy.with_fields({"ads.account_bound": math.inf})
        with trial(home, day, window_days=policy.quality.history_days + 1) as room:
            before, after = room.attacked(free), room.attacked(policy)
            many = room.con.execute(
                """SELECT v.creator_id FROM viewer_events AS e
                   JOIN (SELECT video_id, arg_max(creator_id, day) AS creator_id FROM videos
                         GROUP BY video_id) AS v USING (video_id)
                   WHERE e.day = ? GROUP BY v.creator_id HAVING count(DISTINCT viewer_id) >= 100""",
                [day],
            ).fetchall()
        moved += [
            after[creator] / before[creator] - 1 for (creator,) in many if before.get(creator)
        ]
        for pay, sums in ((before, unbound), (after, paid)):
            for creator, micros in pay.items():
                sums[creator] = sums.get(creator, 0) + micros
    total = sum(unbound.values())
    between = sum(abs(paid.get(c, 0) - micros) for c, micros in unbound.items()) / 2 / total
    print(f"\ncreators of 100 viewers a day and more: {len(moved)} creator-days")
    if moved:
        print(
            f"the bound takes from them at most {-min(moved):.2%}, in the middle"
            f" {-float(np.median(moved)):.2%}"
        )
    print(f"money it moves between all creators over the days: {between:.2%}")


def halves(home: Home, days: list[date]) -> None:
    """Rank correlation of Q between random halves of the viewers; videos that at least ten people of
    each half watched in the window.
    """
    found = []
    for day in days:
        policy = home.policies.in_force(day)
        back = policy.quality.history_days
        q: list[dict[str, float]] = []
        for half in (0, 1):
            with trial(home, day, window_days=back + 1) as room:
                con = room.con
                con.execute("DELETE FROM viewer_events WHERE hash(viewer_id) % 2 <> ?", [half])
                # else days would keep what they knew of both halves
                for kept in ("quality_priors", "evidence_history", "video_evidence"):
                    con.execute(f"DELETE FROM {kept}")
                seen = con.execute("SELECT DISTINCT day FROM viewer_events ORDER BY 1").fetchall()
                for (each,) in seen:
                    MAKES["video_evidence"].make(
                        Day(con, each, room.warehouse, policy, "a benchmark")
                    )
                MAKES["video_quality"].make(Day(con, day, room.warehouse, policy, "a benchmark"))
                q.append(
                    dict(
                        con.execute(
                            """SELECT video_id, quality FROM video_quality
                               WHERE day = ? AND compliant AND video_id IN (
                                   SELECT video_id FROM viewer_events GROUP BY video_id
                                   HAVING count(DISTINCT viewer_id) >= 10)""",
                            [day],
                        ).fetchall()
                    )
                )
        both = sorted(q[0].keys() & q[1].keys())
        found.append(spearmanr([q[0][v] for v in both], [q[1][v] for v in both]).statistic)
        print(f"halves of {day}: {len(both)} videos, rank correlation {found[-1]:.3f}")


def spread_of_quality(home: Home) -> None:
    """sd ln Q of the videos of a day, and how much money Q moves."""
    with Warehouse(home).read() as con:
        rows = con.execute(
            """SELECT day, stddev(ln(quality)) FROM video_quality WHERE quality > 0
               GROUP BY day HAVING count(*) >= 10 ORDER BY day"""
        ).fetchall()
    print("\nsd ln Q, day by day:", *(f"{value:.2f}" for _, value in rows))


def timing(home: Home, day: date) -> None:
    """Seconds of a score that looks back 28 days, and of one that looks at its own day."""
    policy = home.policies.in_force(day)
    seconds: dict[int, float] = {}
    with trial(home, day, window_days=29) as room:
        for back in (28, 1):
            other: Policy = policy.with_fields({"quality.history_days": back})
            runs = []
            for _ in range(5):
                began = time.perf_counter()
                MAKES["video_evidence"].make(
                    Day(room.con, day, room.warehouse, other, "a benchmark")
                )
                gather(room.con, day, other)
                scores = evidence_scores(day, other, fit(room.con, day, other).of)
                room.con.execute(scores.sql, dict(scores.parameters)).fetchall()
                runs.append(time.perf_counter() - began)
            seconds[back] = min(runs)
    print(
        f"\nscore of {day}: window 28 {seconds[28]:.2f} s, window 1 {seconds[1]:.2f} s,"
        f" {seconds[28] / seconds[1]:.2f} times"
    )


def simulated(folder: Path, days: int, events: int, policy: Policy | None = None) -> None:
    """Spearman of Q with the truth, and its spread, on a platform at the rates of a real one; what
    accounts move there. Everything in memory, by the pipeline's own assets.
    """
    home, first = Home.at(folder), date(2026, 3, 1)
    policy = policy or home.policies.in_force(first)
    platform = Platform(
        7, first, viewers=3_000, creators=80, videos=500, verified_share=0.35, bot_share=0.03,
        rates="kuairand",
    )  # fmt: skip
    con = duckdb.connect(config={"autoinstall_known_extensions": False})
    con.execute(f"SET TimeZone = 'UTC'; {MACROS}")
    con.execute(";\n".join(table.ddl() for table in TABLES.values()))
    day = first
    for n in range(days):
        day = first + timedelta(days=n)
        if n:
            platform.grow(day)
        for name in (*LANDING, "viewer_groups"):
            con.execute(
                f"""INSERT INTO written_days BY NAME SELECT '{name}' AS table_name, '{day}' AS day,
                    0 AS rows, 0 AS changed, 0 AS made, now() AS made_at, '' AS code_version"""
            )
        for name, rows in (
            platform.snapshots() | platform.daily(day, platform.sessions(day, events))
        ).items():
            con.register("rows", rows)
            extra = {
                "viewer_events": ", FALSE AS repeated",
                "gifts": ", 0 AS deducted_coins",
                "ad_revenue": ", 0 AS deducted_micros",
            }.get(name, "")
            con.execute(
                f"INSERT INTO {name} BY NAME SELECT *, DATE '{day}' AS day{extra} FROM rows"
            )
        for table in ("video_evidence", "video_quality", "pulse_payouts", "ad_pools", "ad_payouts"):
            MAKES[table].make(Day(con, day, Warehouse(home), policy, "a benchmark"))
    pushed = [f"v{v:07}" for v in platform.boosted]
    rows = con.execute(
        """SELECT q.video_id[2:]::BIGINT, q.quality, n FROM video_quality AS q
           JOIN (SELECT video_id, count(DISTINCT viewer_id) AS n FROM viewer_events
                 WHERE day > ?::DATE - 29 GROUP BY video_id) USING (video_id)
           WHERE q.day = ? AND q.compliant AND NOT q.video_id IN (SELECT unnest(?))
           ORDER BY q.video_id""",
        [day, day, pushed],
    ).fetchall()
    for least in (1, 10, 50):
        q, truth = np.array(
            [(q, platform.videos["quality"][v]) for v, q, n in rows if n >= least]
        ).T
        print(
            f"{day}, videos of {least} viewers and more in 28 days: {q.size}; Spearman with true"
            f" quality {spearmanr(q, truth).statistic:.3f}, sd ln Q {np.std(np.log(q)):.3f}"
        )
    accounts(con)


def main() -> None:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kuairand", type=Path, help="folder of the KuaiRand files")
    parser.add_argument("--home", type=Path, help="a home that was run, instead")
    parser.add_argument("--simulated", action="store_true")
    parser.add_argument("--days", type=int, default=28, help="of the simulation")
    parser.add_argument("--events", type=int, default=6_000, help="of the simulation, a day")
    parser.add_argument("--halves", type=int, default=3, help="days that are scored by halves")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if args.simulated:
            simulated(Path(folder), args.days, args.events)
            return
        home = Home.at(args.home or Path(folder))
        if not args.home:
            import_kuairand(args.kuairand, home.landing)
            run(home)
        with Warehouse(home).read() as con:
            found = con.execute("SELECT DISTINCT day FROM ad_payouts ORDER BY 1").fetchall()
            accounts(con)
        days = [day for (day,) in found]
        spread_of_quality(home)
        timing(home, days[-1])
        honest(home, days)
        halves(home, days[:: -(-len(days) // args.halves)][::-1] if args.halves else [])


if __name__ == "__main__":
    main()
