"""The donation market: what its floor leaves.

Section 7 of docs/formulas.md.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from formulas.register import demonstration
from formulas.world import HARDENED, assets
from pipelines.lab.finding import Cell, Finding


@demonstration("market-floor")
def market_floor() -> Finding:
    """What creators keep under a revenue floor, video by video and of all videos together, under
    the shipped weights.
    """
    _, module = assets()

    rng = np.random.default_rng(7)
    count = 200
    gifts = pa.table(
        {
            "video_id": [f"v{n}" for n in range(count)],
            "creator_id": [f"c{n % 40}" for n in range(count)],
            "compliant": [True] * count,
            "normal_coins": rng.integers(1, 400, count),
            "premium_coins": rng.integers(1, 200, count),
            "quality": rng.uniform(0, 1, count),
        }
    )

    rows: list[tuple[Cell, ...]] = []
    for floor in (0.1, 0.5, 0.7, 0.8):
        kept = []
        for scope in ("video", "platform"):
            found = module.split_coins(
                gifts, HARDENED.coins.model_copy(update={"scope": scope}).at_floor(floor)
            ).rows
            kept.append(
                sum(found["payout_micros"].to_pylist()) / sum(found["revenue_micros"].to_pylist())
            )
        rows.append((floor, 1 - floor, *kept))
    return Finding(
        "of all videos together creators keep what the floor leaves, if it binds; video by video"
        " the floor also enters the weights: less",
        {"R_min / coins": ".1f", "left": ".1f", "kept, video": ".3f", "kept, platform": ".3f"},
        rows,
    )
