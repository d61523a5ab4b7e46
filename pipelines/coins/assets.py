"""Gifted coins: the split between creators and platform, video by video or of all videos together
(docs/formulas.md section 3).
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipelines.market.floor import floor_on
from pipelines.policy import Coins, exact
from pipelines.runs.daily import Day, Metadata, daily_asset
from pipelines.sql import query
from solvers import InfeasibleError
from solvers.apportion import apportion
from solvers.coin_split import certify_coin_split, certify_platform_split, split_videos
from solvers.coin_split.video import split_platform
from solvers.errors import RowError

Floats = NDArray[np.float64]
Micros = NDArray[np.int64]


@daily_asset(group="coins", extra_tables=["coin_solutions"])
def donation_splits(run: Day) -> Metadata:
    """Coins gifted on each video, the shares x_n and x_p its creator keeps, and what that is in
    money.
    """
    floor = floor_on(run.con, run.home, run.policy, run.day)
    gifts = run.con.execute(
        query("coins/gifts_by_video"), {"day": run.day, "rank": run.policy.coins.quality == "rank"}
    ).to_arrow_table()
    try:
        split = split_coins(gifts, run.policy.coins.at_floor(floor.revenue_floor))
    except InfeasibleError as error:
        raise InfeasibleError(
            f"coins on {run.day} under policy {run.policy.name}: {error}"
        ) from error
    solution = split.solution | asdict(floor)
    with run.write() as writer:
        rows = writer.write("donation_splits", split.rows, policy_hash=run.policy.hash)
        writer.write("coin_solutions", [solution], policy_hash=run.policy.hash)
    revenue, payout = (
        int(np.sum(split.rows[name].to_numpy())) for name in ("revenue_micros", "payout_micros")
    )
    certificate = {
        name: split.solution[name] for name in ("scope", "gap", "primal_residual", "local_maxima")
    }
    return {
        "rows": rows,
        "revenue_micros": revenue,
        "payout_micros": payout,
        "creators_share": payout / revenue if revenue else 0.0,
        "revenue_floor": floor.revenue_floor,
        "revenue_floor_is": floor.words(),
        **certificate,
    }


@dataclass(frozen=True)
class CoinSplits:
    """A day's splits, a row a video, and how they were found and what they are worth."""

    rows: pa.Table
    solution: dict[str, Any]


@dataclass(frozen=True, eq=False)
class _RealSplit:
    """The real-valued split of the videos that comply, and the columns of `coin_solutions` that
    only its scope knows.
    """

    normal_share: Floats
    premium_share: Floats
    payout: Floats
    solution: dict[str, Any]


def split_coins(gifts: pa.Table, coins: Coins) -> CoinSplits:
    """Shares and payouts for rows of video_id, creator_id, compliant, normal_coins, premium_coins,
    quality.

    A video that does not comply pays its creator nothing and is in nobody's problem; the platform
    keeps its coins.

    Raises
    ------
    InfeasibleError
        With platform scope: the bounds of a video contradict each other, or all together ask for
        more than the floor leaves; or a video's coins cannot be told from rounding. Names the
        video.
    """
    compliant = gifts["compliant"].to_numpy(zero_copy_only=False).astype(bool)
    normal, premium, quality = (
        gifts[name].to_numpy()[compliant].astype(float)
        for name in ("normal_coins", "premium_coins", "quality")
    )
    revenue = (gifts["normal_coins"].to_numpy() + gifts["premium_coins"].to_numpy()) * np.int64(
        coins.coin_micros
    )
    videos = gifts["video_id"].filter(pa.array(compliant))
    try:
        real = (_each_video if coins.scope == "video" else _whole_platform)(
            normal, premium, quality, coins
        )
        whole = _whole_micros(real.payout, revenue[compliant], videos, coins)
    except (InfeasibleError, RowError) as error:
        of = "" if error.row is None else f"video {videos[error.row].as_py()!r}: "
        raise InfeasibleError(f"{of}{error}") from error
    table = gifts
    for name, of_compliant, dtype in (
        ("normal_share", real.normal_share, np.float64),
        ("premium_share", real.premium_share, np.float64),
        ("payout_micros", whole, np.int64),
    ):
        column = np.zeros(gifts.num_rows, dtype=dtype)
        column[compliant] = of_compliant
        table = table.append_column(name, pa.array(column))
    solution = {
        "scope": coins.scope,
        "videos": int(compliant.sum()),
        "coins": float((normal + premium).sum()),
        "total": float(real.payout.sum()),
        "rounding_micros": float(np.abs(whole - real.payout * coins.coin_micros).max(initial=0.0)),
        **real.solution,
    }
    return CoinSplits(table.append_column("revenue_micros", pa.array(revenue)), solution)


def _each_video(normal: Floats, premium: Floats, quality: Floats, coins: Coins) -> _RealSplit:
    knobs: dict[str, Any] = {
        "theta": coins.theta,
        "normal_max": coins.normal_max,
        "premium_max": coins.premium_max,
        "min_gap": coins.min_gap,
        "max_gap": coins.max_gap,
        "revenue_floor": coins.floor * (normal + premium),
        "lambda_rev": coins.lambda_rev,
        "lambda_util": coins.lambda_util,
        "lambda_inc": coins.lambda_inc,
        "epsilon": coins.epsilon_for(normal + premium),
        "utility": coins.utility,
    }
    split = split_videos(normal, premium, quality, **knobs)
    assert split.feasible.all(), "policy.Coins admits no bounds that a video cannot keep"
    judged = certify_coin_split(
        split.normal_share, split.premium_share, normal, premium, quality, **knobs
    )
    solution = {
        "multiplier": 0.0,
        "local_maxima": 0,
        "primal_residual": float(judged.primal_residual.max(initial=0.0)),
        "gap": float(judged.gap.max(initial=0.0)),
        "value": math.fsum(judged.value),
        "upper_bound": math.fsum(judged.upper_bound),
    }
    return _RealSplit(split.normal_share, split.premium_share, split.payout, solution)


def _whole_platform(normal: Floats, premium: Floats, quality: Floats, coins: Coins) -> _RealSplit:
    """The donation document, section 5: w and omega sum to 1, s is each video's part of the
    quality-weighted coins.
    """
    gifted = normal + premium
    everything = math.fsum(gifted)
    weight = (
        gifted / everything if coins.weight == "coins" and everything else quality
    ) ** coins.alpha
    knobs: dict[str, Any] = {
        "utility_weight": coins.lambda_fair * _parts(weight) * (1 + coins.theta * quality),
        "incentive_weight": coins.lambda_inc * _parts(premium),
        "efficiency_share": _parts(gifted * quality),
        "lambda_eff": coins.lambda_eff,
        "normal_max": coins.normal_max,
        "premium_max": coins.premium_max,
        "min_gap": coins.min_gap * (quality if coins.gap_by_quality else np.ones_like(quality)),
        "max_gap": coins.max_gap,
        "revenue_floor": coins.floor * everything,
        "payout_cap": coins.payout_cap * everything,
        "payout_min": coins.payout_min * gifted,
        "payout_max": coins.payout_max * gifted,
        "epsilon": float(coins.epsilon_for(np.array(everything / max(len(gifted), 1)))),
    }
    split = split_platform(normal, premium, **knobs)
    judged = certify_platform_split(
        split.normal_share, split.premium_share, normal, premium, **knobs
    )
    solution = {
        "multiplier": split.multiplier,
        "local_maxima": len(split.local_maxima),
        "primal_residual": judged.primal_residual,
        "gap": judged.gap,
        "value": judged.value,
        "upper_bound": judged.upper_bound,
    }
    return _RealSplit(split.normal_share, split.premium_share, split.payout, solution)


def _parts(amounts: Floats) -> Floats:
    total = math.fsum(amounts)
    return np.asarray(amounts / total if total > 0 else np.zeros_like(amounts), dtype=np.float64)


def _whole_micros(payout: Floats, revenue: Micros, videos: pa.ChunkedArray, coins: Coins) -> Micros:
    """Whole micros that keep the platform's floor: each to the nearest, or with platform scope by
    largest remainder of the total.
    """
    micros = payout * coins.coin_micros
    if coins.scope == "video":
        most_each = revenue - _ceiled(exact(coins.floor), revenue)
        return np.asarray(np.minimum(np.rint(micros).astype(np.int64), most_each), dtype=np.int64)
    gross = int(revenue.sum())
    most = min(
        gross - math.ceil(exact(coins.floor) * gross), math.floor(exact(coins.payout_cap) * gross)
    )
    total = min(round(math.fsum(micros)), most)
    least, kept = (
        _ceiled(share, revenue) for share in (exact(coins.payout_min), 1 - exact(coins.payout_max))
    )
    return apportion(micros, total, keys=videos.to_pylist(), floor=least, cap=revenue - kept)


def _ceiled(share: Fraction, revenue: Micros) -> Micros:
    """Least whole micros of each amount that are at least the share of it, in exact arithmetic."""
    return np.array(
        [-(-amount * share.numerator // share.denominator) for amount in revenue.tolist()],
        dtype=np.int64,
    )
