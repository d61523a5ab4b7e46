"""Posting and verifying, in entries a second; the baseline is DuckDB inserting the same entries
without hash, chain or constraint.

python -m benchmarks.ledger --help
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from pipelines.ledger.entries import post_day
from pipelines.ledger.verification import verify
from pipelines.policy import Policy
from pipelines.settings import Home
from pipelines.sql import query
from pipelines.store.warehouse import Connection, Warehouse, transaction

FIRST = date(2026, 1, 1)
POLICY = Policy(name="benchmark", effective_from=FIRST)


def payouts(con: Connection, day: date, creators: int) -> None:
    """A day on which every creator is paid from one pool and from gifts: three entries each, and
    the other side of them.
    """
    stamp = f"DATE '{day}' AS day, '{POLICY.hash}' AS policy_hash"
    con.execute(f"""INSERT INTO ad_payouts BY NAME SELECT {stamp}, 'music' AS category,
            'v' || i AS video_id, 'c' || i AS creator_id,
            'c' || i AS unit_id, 0.0 AS share, 1000 + i % 97 AS payout_micros,
            1 + i % 7 AS carried_micros FROM range({creators}) AS t(i)""")
    con.execute(f"""INSERT INTO ad_pools BY NAME SELECT {stamp}, 'music' AS category,
            paid - carried + paid AS revenue_micros,
            paid AS platform_micros, carried AS carry_in_micros, 0 AS spread_micros,
            paid AS pool_micros, 0 AS carry_out_micros,
            {creators} AS videos, {creators} AS units, 'split' AS rule
            FROM (SELECT sum(payout_micros) AS paid, sum(carried_micros) AS carried
            FROM ad_payouts WHERE day = '{day}')""")
    con.execute(f"""INSERT INTO donation_splits BY NAME SELECT {stamp}, 'v' || i AS video_id,
            'c' || i AS creator_id, true AS compliant,
            1 AS normal_coins, 1 AS premium_coins, 0.5 AS quality, 0.4 AS normal_share,
            0.8 AS premium_share,
            20000 AS revenue_micros, 12000 + i % 89 AS payout_micros
            FROM range({creators}) AS t(i)""")
    con.execute(
        """INSERT INTO creator_earnings BY NAME SELECT day, creator_id, 0 AS pulse_micros,
            a.payout_micros - carried_micros AS ads_micros,
           carried_micros AS carry_micros, d.payout_micros AS coins_micros, 0 AS adjustment_micros,
           0 AS bonus_micros,
           a.payout_micros + d.payout_micros AS total_micros,
           MAP {'music': a.payout_micros - carried_micros} AS ads_by_category, a.policy_hash
           FROM ad_payouts a JOIN donation_splits d USING (day, video_id, creator_id)
           WHERE day = ?""",
        [day],
    )


def measure(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    for entries in options.entries:
        with tempfile.TemporaryDirectory() as folder:
            home = Home.at(Path(folder))
            creators = entries // options.days // 3
            days = [FIRST + timedelta(days=n) for n in range(options.days)]
            with Warehouse(home).open() as con:
                for day in days:
                    payouts(con, day, creators)
                con.execute(
                    "CREATE TABLE plain (txn_id VARCHAR, day DATE, account VARCHAR, part VARCHAR,"
                    " amount_micros BIGINT)"
                )
                plain = _seconds(lambda day: _plain(con, day), days)
                posting = _seconds(lambda day: _post(con, day), days)
                (count,) = con.execute("SELECT count(*) FROM ledger_entries").fetchall()[0]
                start = time.perf_counter()
                found = verify(con)
                verifying = time.perf_counter() - start
                if found.findings:
                    raise AssertionError(found.findings)
            yield {
                "entries": count,
                "transactions": found.transactions,
                "plain_per_second": count / plain,
                "posted_per_second": count / posting,
                "verified_per_second": count / verifying,
            }


def _plain(con: Connection, day: date) -> None:
    with transaction(con):
        con.execute(
            f"INSERT INTO plain SELECT '{day}', DATE '{day}', * FROM"
            f" ({query('ledger/ledger_entries')})",
            {"day": day},
        )


def _post(con: Connection, day: date) -> None:
    with transaction(con):
        post_day(con, day, POLICY)


def _seconds(work: Any, days: list[date]) -> float:
    start = time.perf_counter()
    for day in days:
        work(day)
    return time.perf_counter() - start


def main(arguments: list[str] | None = None) -> None:
    """Print one line per number of entries."""
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n\n")[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("--entries", type=int, nargs="+", default=[10**4, 10**5, 10**6, 10**7])
    parser.add_argument(
        "--days", type=int, default=10, help="days, and so transactions, the entries belong to"
    )
    parser.add_argument(
        "--json", action="store_true", help="one JSON object a line instead of the table"
    )
    options = parser.parse_args(arguments)
    if not options.json:
        print(
            f"{'entries':>10} {'transactions':>12}  {'plain/s':>10} {'posted/s':>10}"
            f" {'of plain':>8} {'verified/s':>10} {'of posted':>9}"
        )
    for row in measure(options):
        if options.json:
            print(json.dumps(row), flush=True)
            continue
        plain, posted, verified = (
            row[f"{name}_per_second"] for name in ("plain", "posted", "verified")
        )
        print(
            f"{row['entries']:>10,} {row['transactions']:>12}  {plain:>10,.0f} {posted:>10,.0f}"
            f" {posted / plain:>8.2f} {verified:>10,.0f} {verified / posted:>9.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
