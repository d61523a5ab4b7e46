"""Money as integers: rounding, ties, and the ledger.

Section 4 of docs/formulas.md.
"""

from __future__ import annotations

import duckdb
import numpy as np

from formulas.register import demonstration
from formulas.world import DAY
from pipelines.lab.finding import Cell, Finding
from pipelines.policy import Policy
from pipelines.schema import TABLES
from solvers.ad_pool import allocate_pool
from solvers.apportion import apportion


@demonstration("rounding")
def rounding() -> Finding:
    """200 random pools with floors and caps: when the amounts become whole, do the sum and the
    bounds survive?
    """
    rng = np.random.default_rng(70)
    wrong = {
        name: [0, 0]
        for name in (
            "each row to the nearest",
            "largest remainder, then look at the bounds",
            "bounds made whole first (built)",
        )
    }
    for _ in range(200):
        n = int(rng.integers(5, 40))
        pool = int(rng.integers(10_000, 1_000_000))
        views = rng.lognormal(0, 2, n)
        floor, cap = pool / n * rng.uniform(0.1, 0.6, n), pool / n * rng.uniform(1.2, 4, n)
        real = allocate_pool(pool, views, floor=floor, cap=cap).payout
        whole_floor, whole_cap = np.ceil(floor).astype(np.int64), np.floor(cap).astype(np.int64)
        ahead = allocate_pool(
            pool, views, floor=whole_floor.astype(float), cap=whole_cap.astype(float)
        ).payout
        for name, paid in zip(
            wrong,
            (
                np.rint(real).astype(np.int64),
                apportion(real, pool),
                apportion(ahead, pool, floor=whole_floor, cap=whole_cap),
            ),
            strict=True,
        ):
            wrong[name][0] += int(paid.sum()) != pool
            wrong[name][1] += bool(np.any((paid < floor) | (paid > cap)))
    return Finding(
        "only whole bounds before the solver keep both the pool and every bound",
        {"rounding": "", "pools": "d", "sum is off": "d", "a bound is broken": "d"},
        [(name, 200, *counts) for name, counts in wrong.items()],
    )


@demonstration("ties")
def ties() -> Finding:
    """Equal remainders go by a hash of the id, so the order of rows decides nothing."""
    ids = [f"video{i}" for i in range(7)]
    rows: list[tuple[Cell, ...]] = []
    for seed in (0, 1, 2):
        order = [ids[i] for i in np.random.default_rng(seed).permutation(7)]
        paid = dict(zip(order, apportion(np.ones(7), 101, keys=order).tolist(), strict=True))
        winners = ", ".join(sorted(v for v, amount in paid.items() if amount == 15))
        rows.append((seed, ", ".join(sorted(order[:3])), winners, sum(paid.values())))
    return Finding(
        "101 micros among 7 equal videos: the same three get the odd micros whatever the order",
        {"order": "d", "first rows would get": "", "get 15 of 14.43": "", "sum": "d"},
        rows,
    )


@demonstration("ledger")
def ledger() -> Finding:
    """A day posted, posted again, and restated: every transaction sums to zero and nothing is
    overwritten.
    """
    from pipelines.ledger.entries import post_day

    con = duckdb.connect()
    for table in TABLES.values():
        con.execute(table.ddl())
    policy = Policy(name="demo", effective_from=DAY)
    con.execute(f"""INSERT INTO ad_pools BY NAME
            SELECT DATE '{DAY}' AS day, 'music' AS category, 1001 AS revenue_micros,
            551 AS platform_micros, 7 AS carry_in_micros,
                   0 AS spread_micros, 457 AS pool_micros, 0 AS carry_out_micros, 2 AS videos,
                   2 AS units,
                   'split' AS rule, '' AS policy_hash""")
    con.execute(f"""INSERT INTO ad_payouts BY NAME
            SELECT DATE '{DAY}' AS day, 'music' AS category, 'v' || i AS video_id,
            'c' || i AS creator_id, 'c' || i AS unit_id,
                   0.5 AS share, 228 + i AS payout_micros, 3 + i AS carried_micros,
                   '' AS policy_hash FROM range(2) AS t(i)""")
    con.execute(f"""INSERT INTO donation_splits BY NAME
            SELECT DATE '{DAY}' AS day, 'v0' AS video_id, 'c0' AS creator_id, true AS compliant,
            1 AS normal_coins, 1 AS premium_coins,
                   0.5 AS quality, 0.4 AS normal_share, 0.8 AS premium_share,
                   20000 AS revenue_micros, 12000 AS payout_micros,
                   '' AS policy_hash""")
    outcomes = [post_day(con, DAY, policy).outcome, post_day(con, DAY, policy).outcome]
    con.execute("UPDATE donation_splits SET payout_micros = 12500")
    outcomes.append(post_day(con, DAY, policy).outcome)
    sums = """count(*), sum(amount_micros)::BIGINT,
        sum(amount_micros) FILTER (account = 'creator:c0')::BIGINT,
              sum(amount_micros) FILTER (account = 'platform')::BIGINT,
              -sum(amount_micros) FILTER (starts_with(account, 'revenue:'))::BIGINT"""
    found = con.execute(f"""SELECT seq, t.kind, revision, {sums} FROM ledger_transactions t
            JOIN ledger_entries e USING (txn_id)
            GROUP BY ALL ORDER BY seq""").fetchall()
    balance = con.execute(f"SELECT {sums} FROM ledger_entries").fetchall()
    con.close()
    return Finding(
        f"posted three times: {', '.join(outcomes)}; a restated day is a reversal and a reissue",
        {
            "": "",
            "revision": "d",
            "entries": "d",
            "sum": "d",
            "creator c0": "d",
            "platform": "d",
            "gross": "d",
        },
        [*((f"{seq} {kind}", *rest) for seq, kind, *rest in found), ("balance", None, *balance[0])],
    )
