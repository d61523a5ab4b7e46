"""What views count for in the category pools, so that no unverified account brings a video more
than the policy's `account_bound` of viewer-days.

What belongs here: who competes for what, as arrays, and the rows of `ad_views`. The weights are
those of `solvers.influence`; the pools are sized in `assets.py`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import date

import numpy as np
import pyarrow as pa

from pipelines.policy import Policy
from pipelines.schema import arrow_columns
from pipelines.store.warehouse import Connection
from solvers.influence import bounded_views


def bounded_rows(
    con: Connection, day: date, policy: Policy, pools: Iterable[tuple[str, int]]
) -> pa.Table:
    """The day's rows of `ad_views`, from `ad_candidates` and what each category pays (micros):
    videos of which views do not count as they were counted. None without a bound.
    """
    ads, columns = policy.ads, arrow_columns("ad_views")
    micros = dict(pools)
    (viewers,) = con.execute(
        "SELECT count(DISTINCT viewer_id) FROM viewer_events WHERE day = ?", [day]
    ).fetchall()[0]
    if math.isinf(ads.account_bound) or not viewers or not sum(micros.values()):
        return columns.empty_table()
    videos = con.execute(
        """SELECT q.video_id, q.quality,
               coalesce(sum(e.counted) FILTER (e.verified), 0)::DOUBLE / 1e6 AS verified,
               any_value(q.unverified_scale) * (coalesce(sum(e.counted) FILTER (NOT e.verified), 0)::DOUBLE / 1e6)
                   AS unverified
           FROM video_quality AS q JOIN video_evidence AS e USING (day, video_id)
           WHERE q.day = $day AND q.video_id IN (SELECT video_id FROM ad_candidates)
           GROUP BY q.video_id, q.quality ORDER BY q.video_id""",
        {"day": day},
    ).fetchnumpy()
    places = con.execute(
        """SELECT row_number() OVER () - 1 AS place, * FROM (
               SELECT dense_rank() OVER (ORDER BY video_id) - 1 AS video,
                      dense_rank() OVER (ORDER BY category, unit_id) - 1 AS unit,
                      dense_rank() OVER (ORDER BY category) - 1 AS pool, category
               FROM ad_candidates ORDER BY video, pool)"""
    ).fetchnumpy()
    pool = places["pool"]
    money = np.zeros(int(pool.max(initial=-1)) + 1)
    for category, number in dict(zip(places["category"], pool, strict=True)).items():
        money[number] = micros.get(category, 0)
    worth = ads.account_bound * sum(micros.values()) / viewers
    found = bounded_views(
        money,
        places["video"],
        places["unit"],
        pool,
        videos["verified"],
        videos["unverified"],
        videos["quality"],
        account=policy.quality.trust_unverified if policy.views.count == "trust" else 1.0,
        worth=worth,
        alpha=ads.alpha,
        lambda_fair=ads.lambda_fair,
        lambda_eff=ads.lambda_eff,
    )
    bound = np.flatnonzero(found.bounded)
    return pa.table(
        {
            "video_id": videos["video_id"][bound],
            "verified_views": videos["verified"][bound],
            "unverified_views": videos["unverified"][bound],
            "unverified_weight": found.weight[bound],
            "speaks_for": found.speaks_for[bound],
            "views": found.views[bound],
            "effective_views": (found.views * videos["quality"])[bound],
            "worth_micros": np.full(bound.size, round(worth)),
        }
    ).cast(columns)
