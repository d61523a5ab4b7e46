"""Gifted coins: each video's split between creator and platform (docs/formulas.md section 3)."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipelines.assets.daily import Day, Metadata, daily_asset
from pipelines.policy import Coins, exact
from pipelines.queries import query
from solvers.coin_split import split_videos


@daily_asset(group="coins", deps=["gifts", "video_quality", "videos"])
def donation_splits(run: Day) -> Metadata:
    """Coins gifted on each video, the shares x_n and x_p its creator keeps, and what that is in money."""
    gifts = run.con.execute(query("gifts_by_video"), {"day": run.day}).to_arrow_table()
    splits = split_coins(gifts, run.policy.coins)
    run.con.register("splits", splits)
    with run.write() as writer:
        rows = writer.replace("donation_splits", f"SELECT DATE '{run.day}' AS day, '{run.policy.hash}' AS policy_hash, * FROM splits")
    revenue, payout = (int(np.sum(splits[name].to_numpy())) for name in ("revenue_micros", "payout_micros"))
    return {"rows": rows, "revenue_micros": revenue, "payout_micros": payout, "creators_share": payout / revenue if revenue else 0.0}


def split_coins(gifts: pa.Table, coins: Coins) -> pa.Table:
    """Shares and payouts for rows of video_id, creator_id, compliant, normal_coins, premium_coins, quality.

    The payout is rounded to the nearest micro, then lowered where it would leave the platform less than its floor.
    A video that does not comply pays its creator nothing.
    """
    normal, premium = (gifts[name].to_numpy().astype(float) for name in ("normal_coins", "premium_coins"))
    compliant = gifts["compliant"].to_numpy(zero_copy_only=False).astype(bool)
    found = split_videos(
        normal,
        premium,
        gifts["quality"].to_numpy(),
        theta=coins.theta,
        normal_max=coins.normal_max,
        premium_max=coins.premium_max,
        min_gap=coins.min_gap,
        max_gap=coins.max_gap,
        revenue_floor=coins.revenue_floor * (normal + premium),
        lambda_rev=coins.lambda_rev,
        lambda_util=coins.lambda_util,
        lambda_inc=coins.lambda_inc,
        epsilon=coins.epsilon,
        utility=coins.utility,
    )
    if not found.feasible.all():
        worst = int(np.argmin(found.feasible))
        raise AssertionError(f"video {gifts['video_id'][worst]}: no split keeps the policy's bounds; policy.Coins admits none such")
    revenue = (gifts["normal_coins"].to_numpy() + gifts["premium_coins"].to_numpy()) * np.int64(coins.coin_micros)
    payout = np.minimum(np.rint(found.payout * coins.coin_micros).astype(np.int64), revenue - _floor_micros(revenue, coins))
    table = gifts
    for name, values in (
        ("normal_share", np.where(compliant, found.normal_share, 0.0)),
        ("premium_share", np.where(compliant, found.premium_share, 0.0)),
        ("revenue_micros", revenue),
        ("payout_micros", np.where(compliant, payout, 0)),
    ):
        table = table.append_column(name, pa.array(values))
    return table


def _floor_micros(revenue: NDArray[np.int64], coins: Coins) -> NDArray[np.int64]:
    """Least whole micros the platform keeps: ceil(R_min), in exact arithmetic."""
    share = exact(coins.revenue_floor)
    over, under = share.numerator, share.denominator
    return np.array([-(-amount * over // under) for amount in revenue.tolist()], dtype=np.int64)
