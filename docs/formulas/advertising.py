"""Advertising money: Pulse, pools, and what their split does.

Section 2 of docs/formulas.md.
"""

from __future__ import annotations

from typing import Any, Literal

import duckdb
import numpy as np
import pyarrow as pa

from formulas.register import demonstration
from formulas.world import DAY, HARDENED, PRINTED, Floats, assets
from pipelines.lab.finding import Cell, Finding
from pipelines.policy import Ads, exact
from pipelines.schema import TABLES
from pipelines.sql import query
from solvers import InfeasibleError
from solvers.ad_pool import allocate_pool


@demonstration("pulse")
def pulse() -> Finding:
    """How many Pulse videos there are: slots by exact arithmetic, the unsafe best one is not
    replaced.
    """
    rows: list[tuple[Cell, ...]] = []
    for fraction, n in ((0.04, 24), (0.04, 25), (0.04, 75), (0.29, 100)):
        con = duckdb.connect()
        for table in ("video_quality", "ad_revenue"):
            con.execute(TABLES[table].ddl())
        con.execute(f"""INSERT INTO video_quality BY NAME
                SELECT DATE '{DAY}' AS day, 'v' || i AS video_id, 'c' || i AS creator_id,
                true AS compliant, 1 AS viewers,
                       1 AS qualified_views, 1 AS trust_mass, 1 AS unverified_scale,
                       1 AS group_weight,
                       1 AS watch, 1 AS engagement, 1 AS diversity, 1 AS rewatch,
                       if(i = 0, 0.4, 0.9) AS safety, 1 - i / 1000 AS quality,
                       1 AS effective_views, 1 - i / 1000 AS assured,
                       'given' AS safety_source, '' AS policy_hash
                FROM range({n}) AS t(i)""")
        con.execute(
            f"""INSERT INTO ad_revenue BY NAME SELECT DATE '{DAY}' AS day, 'a' || i AS ad_id,
                TIMESTAMP '{DAY}' AS ts, 'music' AS category,
                'v' || i AS video_id, 101 AS amount_micros, 'final' AS status,
                0 AS deducted_micros, 'made up' AS source
                FROM range({n}) AS t(i)"""
        )
        slots = int(exact(fraction) * n)
        share = exact(PRINTED.pulse.creator_share)
        parameters = {
            "day": DAY,
            "pulse_count": slots,
            "min_safety": PRINTED.pulse.min_safety,
            "assured": PRINTED.pulse.ranked_by == "assured",
            "share_over": share.numerator,
            "share_under": share.denominator,
            "policy_hash": "",
        }
        paid = con.execute(query("ads/pulse_payouts"), parameters).fetchnumpy()
        con.close()
        each = paid["payout_micros"][0] if paid["video_id"].size else None
        rows.append((fraction, n, int(fraction * n), slots, paid["video_id"].size, each))
    return Finding(
        "under 25 compliant videos nobody is Pulse at 4 %; the best video here is unsafe and its"
        " slot stays empty",
        {
            "top_fraction": ".2f",
            "compliant": "d",
            "slots by float": "d",
            "slots": "d",
            "Pulse videos": "d",
            "creator's part of 101 micros": "d",
        },
        rows,
    )


@demonstration("platform-share")
def platform_share() -> Finding:
    """The platform's share is the decimal in the file, not its nearest double; creators' part is
    rounded down.
    """
    ads, _ = assets()
    rows: list[tuple[Cell, ...]] = []
    for share, revenue in (
        (0.55, 100),
        (0.55, 101),
        (0.55, 1_000_000),
        (0.9, 1_000_000),
        (0.0, 101),
        (1.0, 101),
    ):
        pool = ads.size_pool(Ads(platform_share=share), "music", revenue, 0, 3, True)
        rows.append(
            (
                share,
                revenue,
                int((1 - share) * revenue),
                pool.pool,
                pool.platform,
                pool.pool + pool.platform - revenue,
            )
        )
    return Finding(
        "with doubles, 1 - 0.55 of 100 is 44; exact arithmetic gives 45, and the platform takes"
        " whatever rounding down leaves",
        {
            "platform_share": ".2f",
            "revenue": "d",
            "pool by float": "d",
            "pool": "d",
            "platform": "d",
            "lost": "d",
        },
        rows,
    )


def _effective_views(seed: int, n: int) -> Floats:
    """Heavy-tailed effective views: lognormal views times a quality."""
    rng = np.random.default_rng(seed)
    return rng.lognormal(0, 2, n) * rng.beta(2, 3, n)


@demonstration("lambda-knob")
def lambda_knob() -> Finding:
    """Share of the pool that the top 1 % of videos get as lambda_eff goes from 0 to 1."""
    small, large = _effective_views(50, 2_500), _effective_views(50, 250_000)
    s = large / large.sum()

    def top_share(views: Floats, le: float, objective: Literal["linear", "blend"]) -> float:
        top = views.size // 100
        payout = allocate_pool(
            1.0, views, lambda_fair=1 - le, lambda_eff=le, objective=objective
        ).payout
        return float(np.partition(payout, views.size - top)[views.size - top :].sum())

    rows: list[tuple[Cell, ...]] = []
    for le in (0.0, 0.5, 0.9, 0.99999, 1.0):
        shares = (
            top_share(small, le, "linear"),
            top_share(large, le, "linear"),
            top_share(large, le, "blend"),
        )
        rows.append((le, (1 - le) * float(np.sqrt(s).sum()), le * float(s.max()), *shares))
    return Finding(
        "the printed knob does nothing until sum w no longer outweighs the largest s, wherever that"
        " is; blend moves evenly",
        {
            "lambda_eff": ".5f",
            "lf sum w": ".4f",
            "le max s": ".4f",
            "linear, 2,500 videos": ".2%",
            "linear, 250,000": ".2%",
            "blend, 250,000": ".2%",
        },
        rows,
    )


@demonstration("proportional")
def proportional() -> Finding:
    """lambda_eff = 1: the document says p = P s; the printed objective is then a linear program."""
    views = np.array([50.0, 30.0, 15.0, 5.0])
    linear, blend = (
        allocate_pool(1000.0, views, lambda_fair=0.0, lambda_eff=1.0, objective=o).payout
        for o in ("linear", "blend")
    )
    fair = allocate_pool(1000.0, views, lambda_fair=1.0, lambda_eff=0.0).payout
    w = np.sqrt(views) / np.sqrt(views).sum()
    rows = [
        (s / 100, 10 * s, linear[i], blend[i], 1000 * w[i], fair[i]) for i, s in enumerate(views)
    ]
    return Finding(
        "as printed the largest share takes the pool; blend pays P s at lambda_eff = 1 and P w /"
        " sum w at lambda_fair = 1",
        {
            "s": ".2f",
            "P s": ".2f",
            "le = 1, linear": ".2f",
            "le = 1, blend": ".2f",
            "P w / sum w": ".2f",
            "lf = 1, blend": ".2f",
        },
        rows,
    )


@demonstration("multiplier")
def multiplier() -> Finding:
    """Why the search runs in d = nu - le max s: nu itself runs out of digits when lambda_fair is
    small.
    """
    s = np.arange(1.0, 1001.0) ** 3
    s /= s.sum()
    rows: list[tuple[Cell, ...]] = []
    for lf in (1e-2, 1e-8, 1e-12, 1e-14, 1e-16):
        w = lf * np.sqrt(s)
        low, high = float(s.max()), float(s.max() + w.sum())
        while (nu := (low + high) / 2) not in (low, high):
            low, high = (nu, high) if (w / (nu - s)).sum() > 1 else (low, nu)
        found = allocate_pool(1.0, s, lambda_fair=lf, lambda_eff=1.0, objective="linear")
        with np.errstate(divide="ignore"):
            # the better of the two neighbouring doubles
            off = min(abs(float((w / (x - s)).sum()) - 1) for x in (low, high))
        rows.append((f"{lf:.0e}", off, abs(float(found.payout.sum()) - 1), found.residual))
    return Finding(
        "the best double for nu misses the pool by more and more; in d the pool is always"
        " given out",
        {
            "lambda_fair": "",
            "pool off, nu bisected to the last bit": ".0e",
            "pool off, built": ".0e",
            "KKT residual, built": ".0e",
        },
        [(lf, _floored(a), _floored(b), _floored(c)) for lf, a, b, c in rows],
    )


def _floored(value: Any) -> Cell:
    """Errors under 1e-12 are the machine's, not the method's: they print alike on every machine."""
    return "< 1e-12" if float(value) < 1e-12 else float(value)


@demonstration("negative-clip")
def negative_clip() -> Finding:
    """Linear with caps: where nu <= le s the optimum is the cap; clip(lf w/(nu - le s)) taken
    literally gives the floor.
    """
    s = np.array([0.40, 0.30, 0.20, 0.06, 0.04])
    lf, le, cap = 0.01, 0.99, 0.35
    found = allocate_pool(1.0, s, lambda_fair=lf, lambda_eff=le, objective="linear", cap=cap)
    nu = found.multiplier
    literal = np.clip(lf * np.sqrt(s) / (nu - le * s), 0.0, cap)
    rows: list[tuple[Cell, ...]] = [
        (f"{share:.2f}", nu - le * share, literal[i], found.payout[i]) for i, share in enumerate(s)
    ]
    rows.append(("sum", None, literal.sum(), found.payout.sum()))
    return Finding(
        f"taken literally {1 - literal.sum():.0%} of this pool is never paid",
        {"s": "", "nu - le s": ".4f", "literal clip": ".4f", "built": ".4f"},
        rows,
    )


@demonstration("edges")
def edges() -> Finding:
    """Pools at the edge: nothing to give, bounds that contradict, videos nobody watched."""
    cases: list[tuple[str, float, list[float], dict[str, Any]]] = [
        ("P = 0", 0, [3, 1], {}),
        ("floors above the pool", 100, [3, 1], {"floor": 60}),
        ("caps below the pool", 100, [3, 1], {"cap": 40}),
        ("floor above its cap", 100, [3, 1], {"floor": [0, 50], "cap": [100, 40]}),
        ("s = 0, floor 5", 100, [3, 1, 0], {"floor": 5}),
        ("s = 0, the others are capped", 100, [3, 1, 0, 0], {"cap": [40, 40, 100, 100]}),
        ("all s = 0", 100, [0, 0, 0, 0], {}),
        ("cap 0 leaves the problem", 100, [3, 1, 4], {"cap": [100, 100, 0]}),
    ]
    rows: list[tuple[Cell, ...]] = []
    for name, pool, share, bounds in cases:
        try:
            paid = ", ".join(f"{p:.2f}" for p in allocate_pool(pool, share, **bounds).payout)
        except InfeasibleError as error:
            paid = f"refused: {error}"
        rows.append((name, ", ".join(f"{x:g}" for x in share), paid))
    return Finding(
        "bounds that contradict are an error that names the numbers; without views, beyond a floor,"
        " only what nobody else can take",
        {"case": "", "views": "", "pays": ""},
        rows,
    )


@demonstration("carry")
def carry() -> Finding:
    """A category with revenue and nobody to pay: carried to the next day, or spread over the pools
    that pay.
    """
    ads, _ = assets()
    rows: list[tuple[Cell, ...]] = []
    for rule in ("carry", "spread"):
        policy = Ads(empty_pool=rule)
        day = [
            ads.size_pool(policy, "beauty", 3_000, 0, 12, True),
            ads.size_pool(policy, "gaming", 1_001, 7, 0, False),
            ads.size_pool(policy, "sport", 1_000, 0, 5, False),
            ads.size_pool(policy, "travel", 2_000, 0, 8, True),
        ]
        fields = (
            "category",
            "videos",
            "rule",
            "revenue",
            "platform",
            "carry_in",
            "spread",
            "pool",
            "carry_out",
        )
        rows += [
            (rule, *(getattr(pool, field) for field in fields)) for pool in ads.spread_empty(day)
        ]
    return Finding(
        "revenue + carried in + spread = platform + pool + carried out in every row; sport has"
        " videos, but all have Q = 0",
        {
            "empty_pool": "",
            "category": "",
            "videos": "d",
            "rule": "",
            "revenue": "d",
            "platform": "d",
            "carry in": "d",
            "spread": "d",
            "pool": "d",
            "carry out": "d",
        },
        rows,
    )


@demonstration("splitting")
def splitting() -> Finding:
    """One video cut into k equal parts: what all the parts are paid, by objective and unit of
    fairness.
    """
    ads, _ = assets()
    others, views = 2000, 5.0
    rest = _effective_views(52, others)
    policies = {
        "linear, video (printed)": (PRINTED.ads, "video"),
        "blend, video": (HARDENED.ads.model_copy(update={"fairness_unit": "video"}), "video"),
        "blend, creator (built)": (HARDENED.ads, "creator"),
        "blend, creator, k accounts": (HARDENED.ads, "accounts"),
    }
    paid: dict[int, list[float]] = {}
    for k in (1, 2, 4, 16):
        videos = [f"mine{i:02}" for i in range(k)] + [f"other{i:04}" for i in range(others)]
        creators = ["me"] * k + videos[k:]
        for policy, unit in policies.values():
            rows = pa.table(
                {
                    "video_id": videos,
                    "creator_id": creators,
                    "unit_id": creators if unit == "creator" else videos,
                    "effective_views": np.concatenate([np.full(k, views / k), rest]),
                }
            )
            payout = ads.split_pool(rows, 1_000_000_000, 0, policy).rows["payout_micros"].to_numpy()
            paid.setdefault(k, []).append(float(payout[:k].sum()))
    table = [
        (k, *(now / before for now, before in zip(row, paid[1], strict=True)))
        for k, row in paid.items()
    ]
    return Finding(
        "printed, four parts earn twice the pay; with the creator as the unit nothing changes,"
        " unless the parts lie in several accounts",
        {"parts": "d", **dict.fromkeys(policies, ".3f")},
        table,
    )


@demonstration("categories")
def categories() -> Finding:
    """A video labelled with k categories competes in k pools and is paid from each."""
    rows: list[tuple[Cell, ...]] = []
    for k in (1, 2, 5):
        pays = 0.0
        for pool in range(5):
            views = np.ones(100 + (0 < pool < k))
            # video 0 lives in pool 0 with 99 others like it; the other pools have 100 each, and
            # video 0 where it is labelled so
            if pool < k:
                pays += float(allocate_pool(1000.0, views).payout[0])
        rows.append((k, pays, pays / 10.0))
    return Finding(
        "labels are money: they must come from a classifier, not from whoever uploads",
        {"labels": "d", "paid": ".2f", "one label = 1": ".2f"},
        rows,
    )
