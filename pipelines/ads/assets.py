"""Advertising money: Pulse, category pools, and what each video is paid from each pool
(docs/formulas.md section 2).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import dagster as dg
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipelines.ads.carried import figures_of_pools
from pipelines.ads.large_pools import split_large_pool
from pipelines.ads.manipulation import moved_by_accounts
from pipelines.ads.rules import PoolRule, UnitBounds, pool_rules, that_fit
from pipelines.ads.views import bounded_rows
from pipelines.errors import ExpectedError
from pipelines.plain import markdown_table
from pipelines.policy import Ads, exact
from pipelines.runs.daily import Day, Metadata, daily_asset
from pipelines.runs.figures import as_metadata, record_figures
from pipelines.schema import CERTIFICATE, arrow_columns
from pipelines.sql import parquet, query
from pipelines.store.file_store import delete_spilled, scratch_name
from solvers import InfeasibleError
from solvers.ad_pool import (
    EachAtMost,
    PoolAllocation,
    Rule,
    RuledAllocation,
    allocate_pool,
    allocate_with_rules,
    certify_pool,
)
from solvers.ad_pool.certificate import Certificate
from solvers.apportion import apportion, apportion_groups, apportion_with_rules
from solvers.arrays import Ints
from solvers.inequality import gini, top_share


@daily_asset(group="ads")
def pulse_payouts(run: Day) -> Metadata:
    """Pulse videos and the split of the revenue next to them. The creator's part is rounded down to
    the micro.
    """
    pulse = run.policy.pulse
    (compliant,) = run.con.execute(
        "SELECT count(*) FROM video_quality WHERE day = ? AND compliant", [run.day]
    ).fetchall()[0]
    share = exact(pulse.creator_share)
    parameters = {
        "day": run.day,
        "pulse_count": int(exact(pulse.top_fraction) * compliant),
        "min_safety": pulse.min_safety,
        "assured": pulse.ranked_by == "assured",
        "share_over": share.numerator,
        "share_under": share.denominator,
        "policy_hash": run.policy.hash,
    }
    with run.write() as writer:
        count = writer.replace("pulse_payouts", query("ads/pulse_payouts"), parameters)
    revenue, payout = run.con.execute(
        "SELECT coalesce(sum(revenue_micros), 0)::BIGINT, coalesce(sum(payout_micros), 0)::BIGINT"
        " FROM pulse_payouts WHERE day = ?",
        [run.day],
    ).fetchall()[0]
    return {"rows": count, "revenue_micros": revenue, "payout_micros": payout}


@dataclass(frozen=True)
class Pool:
    """One category's money of a day (micros) and what is done with it."""

    category: str
    revenue: int
    platform: int
    carry_in: int
    videos: int
    anybody_watched: bool
    rule: str
    pool: int
    carry_out: int = 0
    spread: int = 0

    def as_row(self) -> dict[str, Any]:
        """Its row of `ad_pools`."""
        return {
            "category": self.category,
            "revenue_micros": self.revenue,
            "platform_micros": self.platform,
            "carry_in_micros": self.carry_in,
            "spread_micros": self.spread,
            "pool_micros": self.pool,
            "carry_out_micros": self.carry_out,
            "videos": self.videos,
            "rule": self.rule,
        }


def size_pool(
    ads: Ads, category: str, revenue: int, carry_in: int, videos: int, anybody_watched: bool
) -> Pool:
    """What the platform keeps, and whether the rest is split, split equally, carried or spread.
    Creators' part is rounded down.

    >>> pool = size_pool(Ads(), "music", 100, 0, 3, True)
    >>> pool.platform, pool.pool, pool.rule
    (55, 45, 'split')
    >>> size_pool(Ads(), "music", 100, 7, 0, False).carry_out
    52
    """
    creators = int((1 - ads.platform_share_of(category)) * revenue)
    rule = "split" if anybody_watched else ads.empty_pool if not videos else ads.zero_quality
    money = creators + carry_in
    paid, carried = (money, 0) if rule in ("split", "equal") else (0, money)
    return Pool(
        category,
        revenue,
        revenue - creators,
        carry_in,
        videos,
        anybody_watched,
        rule,
        paid,
        carried,
    )


def move_by_weight(pools: list[Pool], ads: Ads) -> list[Pool]:
    """Share what creators get of the day's own revenue anew among the pools that pay: in proportion
    to what came in for each times the policy's weight. The sum stays, to the micro; what was
    carried in stays where it is. Left alone where all weights of these pools are 0.

    >>> pools = [size_pool(Ads(), name, 100, 0, 3, True) for name in ("music", "news")]
    >>> moved = move_by_weight(pools, Ads(pool_weights={"music": 2.0}))
    >>> [(pool.pool, pool.spread) for pool in moved]
    [(60, 15), (30, -15)]
    """
    payers = [p for p in pools if p.rule in ("split", "equal") and p.pool > p.carry_in]
    own = [p.pool - p.carry_in for p in payers]
    weighed = [
        float(micros * exact(ads.pool_weights.get(p.category, 1.0)))
        for p, micros in zip(payers, own, strict=True)
    ]
    if not ads.pool_weights or not sum(weighed):
        return pools
    parts = apportion(weighed, sum(own), keys=[p.category for p in payers])
    gained = {
        p.category: int(part) - micros for p, part, micros in zip(payers, parts, own, strict=True)
    }
    return [
        replace(
            p,
            spread=p.spread + gained.get(p.category, 0),
            pool=p.pool + gained.get(p.category, 0),
        )
        for p in pools
    ]


def spread_empty(pools: list[Pool]) -> list[Pool]:
    """Give the money of pools with rule `spread` to the pools that pay, in proportion to them; with
    none that pays it is carried.
    """
    homeless = sum(p.carry_out for p in pools if p.rule == "spread")
    payers = [p for p in pools if p.rule in ("split", "equal") and p.pool > 0]
    if not homeless or not payers:
        return [replace(p, rule="carry") if p.rule == "spread" else p for p in pools]
    parts = apportion([p.pool for p in payers], homeless, keys=[p.category for p in payers])
    gained = {p.category: int(part) for p, part in zip(payers, parts, strict=True)}
    return [
        (
            replace(p, spread=p.spread - p.carry_out, carry_out=0)
            if p.rule == "spread"
            else replace(
                p,
                spread=p.spread + gained.get(p.category, 0),
                pool=p.pool + gained.get(p.category, 0),
            )
        )
        for p in pools
    ]


@daily_asset(group="ads", in_order=True, extra_tables=["ad_views"])
def ad_pools(run: Day) -> Metadata:
    """Money of each ad category: what came in, what the platform keeps, what is paid, what is
    carried to the next day.
    """
    _candidates(run, bounded=False)
    sizes = run.con.execute(
        query("ads/pool_sizes"), {"day": run.day, "day_before": run.home.day_before(run.day)}
    ).fetchall()
    sized = [size_pool(run.policy.ads, *row) for row in sizes]
    pools = spread_empty(move_by_weight(sized, run.policy.ads))
    units = dict(
        run.con.execute(
            "SELECT category, count(DISTINCT unit_id) FROM ad_candidates GROUP BY category"
        ).fetchall()
    )
    paying = [(p.category, p.pool) for p in pools if p.rule == "split"]
    views = bounded_rows(run.con, run.day, run.policy, paying)
    with run.write() as writer:
        rows = writer.write(
            "ad_pools",
            [pool.as_row() | {"units": units.get(pool.category, 0)} for pool in pools],
            policy_hash=run.policy.hash,
        )
        writer.write("ad_views", views, policy_hash=run.policy.hash)
        figures = figures_of_pools(run.con, run.day)
        record_figures(run.con, "ad_pools", run.day, figures)
    return {
        "rows": rows,
        "revenue_micros": sum(p.revenue for p in pools),
        "platform_micros": sum(p.platform for p in pools),
        "pool_micros": sum(p.pool for p in pools),
        "moved_micros": sum(max(p.spread, 0) for p in pools),
        "carry_in_micros": sum(p.carry_in for p in pools),
        "carry_out_micros": sum(p.carry_out for p in pools),
        "videos_with_bounded_accounts": views.num_rows,
        **as_metadata(figures),
    }


@daily_asset(group="ads", extra_tables=["ad_solutions", "ad_rules", "manipulation"])
def ad_payouts(run: Day) -> Metadata:
    """What each video is paid from each pool: the optimum of the policy's objective, in integers
    that sum to the pool.
    """
    _candidates(run, bounded=True)
    columns = arrow_columns("ad_payouts")
    tables: list[pa.Table] = [columns.empty_table()]
    files: list[Path] = []
    solved: list[dict[str, Any]] = []
    ruled: list[dict[str, Any]] = []
    pools = run.con.execute(
        """SELECT category, pool_micros, carry_in_micros, videos, units FROM ad_pools
           WHERE day = ? AND rule IN ('split', 'equal') ORDER BY category""",
        [run.day],
    ).fetchall()
    delete_spilled(run.home, alone=not run.warehouse.store.many_writers)
    with TemporaryDirectory(prefix=scratch_name(), dir=run.home.root) as scratch:
        for number, (category, *amounts) in enumerate(pools):
            try:
                split = _split(run, Path(scratch) / str(number), category, *amounts)
            except (InfeasibleError, ArithmeticError) as error:
                raise InfeasibleError(
                    f"pool {category!r} on {run.day} under policy {run.policy.name}: {error}"
                ) from error
            if isinstance(split.rows, Path):
                files.append(split.rows)
            else:
                column = pa.repeat(pa.scalar(category), split.rows.num_rows)
                paid = split.rows.append_column("category", column)
                tables.append(paid.select(columns.names))
            solved.append({"category": category, **split.solution})
            ruled += [{"category": category, **rule} for rule in split.rules]
        with run.write() as writer:
            run.con.register("paid", pa.concat_tables(tables))
            sources = ["paid", *(parquet(file) for file in files)]
            count = writer.write(
                "ad_payouts",
                " UNION ALL BY NAME ".join(f"SELECT * FROM {source}" for source in sources),
                policy_hash=run.policy.hash,
            )
            run.con.unregister("paid")
            writer.write("ad_solutions", solved, policy_hash=run.policy.hash)
            writer.write("ad_rules", ruled, policy_hash=run.policy.hash)
            judged = moved_by_accounts(run.con, run.day, run.policy)
            writer.write("manipulation", judged.rows, policy_hash=run.policy.hash)
    by_creator = run.con.execute(
        "SELECT sum(payout_micros)::BIGINT AS micros FROM ad_payouts WHERE day = ? GROUP BY"
        " creator_id ORDER BY 1",
        [run.day],
    ).fetchnumpy()["micros"]
    return {
        "rows": count,
        "payout_micros": int(by_creator.sum()),
        "creators": len(by_creator),
        "gini": gini(by_creator),
        "top_1_percent_share": top_share(by_creator),
        "largest_gap": max((s["gap"] for s in solved), default=0.0),
        "largest_residual": max((s["residual"] for s in solved), default=0.0),
        **judged.metadata,
        "certificates": dg.MetadataValue.md(_certificates(solved)),
    }


class PoolTooLargeError(ExpectedError, RuntimeError):
    """A pool that must be split in memory has more videos than the settings allow: says which, and
    what to change.
    """


@dataclass(frozen=True)
class PoolSplit:
    """One pool's payouts, a row a video (a Parquet file where they were too many), how they were
    found, and what became of each rule.
    """

    rows: pa.Table | Path
    solution: dict[str, Any]
    rules: list[dict[str, Any]]


def _split(
    run: Day, folder: Path, category: str, pool: int, carry_in: int, videos: int, units: int
) -> PoolSplit:
    ads, settings = run.policy.ads, run.home.settings
    ruled = any(rule.holds_in(category) for rule in ads.rules)
    if ruled and videos > settings.ruled_up_to:
        raise PoolTooLargeError(
            f"pool {category!r} on {run.day} has {videos} videos, and rules over groups hold in it"
            f" under policy {run.policy.name}: such a pool is split in memory, some 700 bytes a"
            f" video, and this home stops at {settings.ruled_up_to}. Raise ruled_up_to in"
            " settings.toml on a machine with room, or say in each rule which pools it is for"
            " (pools)."
        )
    if videos > settings.chunked_from and not ruled:
        bounds = UnitBounds.of(ads, pool, units)
        kept, chunk = UnitBounds.in_force(ads, bounds.left_alone), settings.chunk_rows
        file, solution = split_large_pool(
            run.con, folder, category, pool, carry_in, kept, cap=bounds.cap, chunk=chunk
        )
        extremes = solution["least_micros"], solution["most_micros"]
        return PoolSplit(file, solution, bounds.outcomes(ads, pool, units, *extremes))
    rows = run.con.execute(
        "SELECT video_id, creator_id, unit_id, effective_views, followers, labels FROM"
        " ad_candidates WHERE category = ? ORDER BY video_id",
        [category],
    ).to_arrow_table()
    return split_pool(rows, pool, carry_in, ads, category)


def split_pool(rows: pa.Table, pool: int, carry_in: int, ads: Ads, category: str = "") -> PoolSplit:
    """Split `pool` micros over videos (columns video_id, creator_id, unit_id, effective_views;
    sorted by video_id).

    Rules about groups, which may hold in some categories only, also look at the columns followers
    and labels.

    The solver decides what each unit of fairness gets; inside a unit the money follows effective
    views. Floors, caps and the bounds of rules are whole micros before the solver sees them, and
    rounding its answer keeps them. A floor, cap or rule that no split of so small a pool could keep
    is left alone, with a note in `rules`. What was found is then judged by
    `solvers.ad_pool.certificate`, which does not know it.

    Raises
    ------
    InfeasibleError
        Rules contradict each other, and would in a pool of any size.
    """
    views = rows["effective_views"].to_numpy()
    videos = rows["video_id"].to_pylist()
    units, first, unit_of = np.unique(
        rows["unit_id"].to_numpy(zero_copy_only=False).astype(str),
        return_index=True,
        return_inverse=True,
    )
    unit_views = np.bincount(unit_of, weights=views, minlength=units.size)
    unit_bounds = UnitBounds.of(ads, pool, units.size)
    candidates = rows.take(pa.array(first))
    problem: dict[str, Any] = {
        "alpha": ads.alpha,
        "lambda_fair": ads.lambda_fair,
        "lambda_eff": ads.lambda_eff,
        "objective": ads.objective,
    }

    def by_unit_under(rules: Sequence[PoolRule]) -> _UnitSplit:
        bounded = {
            **problem,
            "floor": float(unit_bounds.floor) if unit_bounds.floor else None,
            "cap": float(unit_bounds.cap) if unit_bounds.cap < pool else None,
        }
        bounds = [rule.bound for rule in rules if rule.bound is not None]
        found = _allocate(pool, unit_views, bounds, bounded)
        judged = certify_pool(found.payout, float(pool), unit_views, rules=bounds, **bounded)
        groups = [group for rule in rules for group in rule.whole_bounds(found.payout)]
        cap = min([unit_bounds.cap, *(rule.cap for rule in rules if rule.cap is not None)])
        whole = apportion_with_rules(
            found.payout, pool, groups, keys=units.tolist(), floor=unit_bounds.floor, cap=cap
        )
        return _UnitSplit(found, judged, whole, cap)

    def could_with_more_money() -> bool:
        plenty = max(pool, 1) * 10**9
        rules = pool_rules(ads.rules, category, plenty, candidates)
        bounds = [rule.bound for rule in rules if rule.bound is not None]
        bounds = [b for b in bounds if _can_be_kept(plenty, unit_views, [b], problem)]
        return _can_be_kept(plenty, unit_views, bounds, problem)

    rules = pool_rules(ads.rules, category, pool, candidates)
    try:
        split = by_unit_under(rules)
    except (InfeasibleError, ArithmeticError):
        rules = that_fit(rules, by_unit_under, at_scale=could_with_more_money)
        split = by_unit_under(rules)
    found, judged, by_unit = split.found, split.judged, split.whole
    payout = apportion_groups(views, by_unit, unit_of, keys=videos)
    carried = apportion(payout, carry_in, keys=videos) if carry_in else np.zeros_like(payout)
    total_views = views.sum()
    paid = rows.select(["video_id", "creator_id", "unit_id"])
    for name, values in (
        ("share", views / total_views if total_views > 0 else np.zeros_like(views)),
        ("payout_micros", payout),
        ("carried_micros", carried),
    ):
        paid = paid.append_column(name, pa.array(values))
    solution = {
        "objective": ads.objective,
        "units": int(units.size),
        "multiplier": float(found.multiplier),
        "residual": float(found.residual),
        "passes": int(found.passes),
        "floor_micros": unit_bounds.floor,
        "cap_micros": split.cap,
        "least_micros": int(by_unit.min()),
        "most_micros": int(by_unit.max()),
        "solver": found.solver if isinstance(found, RuledAllocation) else "closed form",
        **{name: getattr(judged, name) for name in CERTIFICATE},
        "rounding_micros": float(np.abs(by_unit - found.payout).max()),
    }
    extremes = solution["least_micros"], solution["most_micros"]
    return PoolSplit(
        paid,
        solution,
        [
            *(rule.outcome(by_unit, judged.rule_multipliers) for rule in rules),
            *unit_bounds.outcomes(ads, pool, units.size, *extremes),
        ],
    )


@dataclass(frozen=True, eq=False)
class _UnitSplit:
    """What each unit of a pool gets, as it was found, judged and made whole."""

    found: PoolAllocation | RuledAllocation
    judged: Certificate
    whole: Ints
    cap: int


def _allocate(
    pool: int,
    unit_views: npt.ArrayLike,
    bounds: Sequence[Rule | EachAtMost],
    problem: dict[str, Any],
) -> PoolAllocation | RuledAllocation:
    if bounds:
        return allocate_with_rules(float(pool), unit_views, bounds, **problem)
    return allocate_pool(float(pool), unit_views, **problem)


def _can_be_kept(
    pool: int,
    unit_views: npt.ArrayLike,
    bounds: Sequence[Rule | EachAtMost],
    problem: dict[str, Any],
) -> bool:
    try:
        _allocate(pool, unit_views, bounds, problem)
    except (InfeasibleError, ArithmeticError):
        return False
    return True


def _certificates(solved: list[dict[str, Any]]) -> str:
    """The day's certificates as the web UI shows them."""
    figures = ("primal", "stationarity", "complementarity")
    rows = [
        [
            s["category"],
            s["solver"],
            *(f"{s[f'{name}_residual']:.1e}" for name in figures),
            s["gap"],
        ]
        for s in solved
    ]
    return "\n".join(markdown_table(("pool", "solver", *figures, "gap"), rows))


def _candidates(run: Day, *, bounded: bool) -> None:
    run.con.execute(
        f"CREATE OR REPLACE TEMP TABLE ad_candidates AS {query('ads/ad_candidates')}",
        {
            "day": run.day,
            "fairness_unit": run.policy.ads.fairness_unit,
            "pulse_in_pools": run.policy.pulse.also_in_pools,
            "bounded": bounded,
        },
    )
