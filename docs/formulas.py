"""Demonstrations for docs/formulas.md: what each formula does as printed and as built, computed by
the code that pays.

Every demonstration builds its own small world from a fixed seed, runs the project's solvers or its
scoring query on it, and returns a table with the claim that the table supports. Nothing is read but
the two shipped policies, and only `--refresh` writes: it puts the tables printed here into the
document.
"""

from __future__ import annotations

import json
import re
import sys
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any, Literal, TypeAlias

import click
import duckdb
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipelines.lab.competition_claims import slopes
from pipelines.policy import Ads, Coins, Policy, exact, read_policy
from pipelines.quality.evidence import Priors, evidence_scores, fit, gather, sums_query
from pipelines.quality.scoring import score_videos
from pipelines.schema import TABLES
from pipelines.sql import query
from solvers import InfeasibleError
from solvers.ad_pool import allocate_pool
from solvers.apportion import apportion
from solvers.coin_split import split_videos
from solvers.reward_schedule import (
    PowerCost,
    optimal_schedule,
    pot_on_top,
    price_on_top,
    schedule_on_top,
)
from solvers.reweighting import update_weights

Array: TypeAlias = NDArray[Any]
Floats: TypeAlias = NDArray[np.float64]
Cell: TypeAlias = str | int | float | None

ROOT = Path(__file__).resolve().parents[1]
DOCUMENT = Path(__file__).with_suffix(".md")
DAY = date(2026, 3, 1)
PRINTED = read_policy(ROOT / "assets_data/policies/printed.toml")
HARDENED = read_policy(ROOT / "assets_data/policies/hardened.toml")
EVIDENCE = read_policy(ROOT / "assets_data/policies/evidence.toml")


# --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Finding:
    """A table and what it shows. `columns` maps each heading to the format of its numbers."""

    claim: str
    columns: dict[str, str]
    rows: Sequence[tuple[Cell, ...]]

    def records(self) -> list[dict[str, Cell]]:
        """Rows as dictionaries with unrounded numbers."""
        return [
            dict(zip(self.columns, (_plain(cell) for cell in row), strict=True))
            for row in self.rows
        ]

    def text(self) -> str:
        """The table as printed, numbers right-aligned."""
        cells = [
            [_formatted(cell, form) for cell, form in zip(row, self.columns.values(), strict=True)]
            for row in self.rows
        ]
        widths = [max(map(len, column)) for column in zip(self.columns, *cells, strict=True)]
        left = [all(isinstance(row[i], str) for row in self.rows) for i in range(len(widths))]
        lines = [
            "  ".join(
                cell.ljust(width) if is_text else cell.rjust(width)
                for cell, width, is_text in zip(line, widths, left, strict=True)
            )
            for line in (list(self.columns), *cells)
        ]
        return "\n".join(line.rstrip() for line in (*lines, f"=> {self.claim}"))


def _formatted(cell: Cell, form: str) -> str:
    return "" if cell is None else cell if isinstance(cell, str) else format(cell, form)


def _plain(cell: Cell) -> Cell:
    return cell.item() if isinstance(cell, np.generic) else cell


DEMONSTRATIONS: dict[str, Callable[[], Finding]] = {}


def demonstration(name: str) -> Callable[[Callable[[], Finding]], Callable[[], Finding]]:
    """Register a demonstration; the first line of its docstring is what `--list` shows."""

    def register(function: Callable[[], Finding]) -> Callable[[], Finding]:
        DEMONSTRATIONS[name] = function
        return function

    return register


def summary(name: str) -> str:
    summary = (DEMONSTRATIONS[name].__doc__ or "").strip().split("\n\n")[0]
    return " ".join(summary.split())


# --------------------------------------------------------------------------------------------- a sm

LENGTH_MS = 30_000
ACTIONS = ("liked", "commented", "shared", "followed")
HONEST_RATES = {
    "liked": 0.10,
    "commented": 0.03,
    "shared": 0.02,
    "followed": 0.012,
    "rewatched": 0.08,
}
"""What the simulator's honest viewers do on a middling video."""


@dataclass(frozen=True)
class Crowd:
    """Sessions, one a row. Each row is a viewer of its own unless `viewer` says otherwise."""

    video: Array
    verified: Array
    trust: Array
    watch_ms: Array
    actions: Array
    viewer: Array | None = None

    def __add__(self, other: Crowd) -> Crowd:
        pairs = [
            (getattr(self, f), getattr(other, f))
            for f in ("video", "verified", "trust", "watch_ms", "actions")
        ]
        return Crowd(*(np.concatenate(pair) for pair in pairs))


def honest(
    seed: int, videos: Iterable[int], viewers: int, *, verified: float = 0.2, rates: float = 1.0
) -> Crowd:
    """`viewers` honest viewers for each video; `rates` multiplies how often they act and rewatch."""
    rng = np.random.default_rng(seed)
    video = np.repeat(np.fromiter(videos, dtype=np.int64), viewers)
    n = video.size
    again = rng.random(n) < rates * HONEST_RATES["rewatched"]
    fraction = np.where(again, 1.3, rng.beta(2, 1.5, n))
    actions = np.column_stack([rng.random(n) < rates * HONEST_RATES[name] for name in ACTIONS])
    return Crowd(
        video,
        rng.random(n) < verified,
        np.ones(n),
        np.rint(fraction * LENGTH_MS).astype(np.int64),
        actions,
    )


def bots(video: int, count: int, *, watch: float, actions: Sequence[str]) -> Crowd:
    """Unverified accounts that watch the fraction `watch` of one video and take the named actions."""
    took = np.tile([name in actions for name in ACTIONS], (count, 1))
    return Crowd(
        np.full(count, video),
        np.zeros(count, bool),
        np.ones(count),
        np.full(count, int(watch * LENGTH_MS)),
        took,
    )


def score(
    crowd: Crowd,
    *policies: Policy,
    length_ms: dict[int, int] | None = None,
    safety: dict[int, tuple[float | None, float | None]] | None = None,
) -> list[dict[str, Floats]]:
    """Run the project's scoring query under each policy; arrays in order of the video's number."""
    con = made_up(crowd, length_ms, safety)
    found = [score_videos(con, DAY, policy).order("video_id").fetchnumpy() for policy in policies]
    con.close()
    return found


def known(crowd: Crowd, policy: Policy) -> tuple[dict[str, Floats], dict[str, Floats], Priors]:
    """Under a policy that scores by evidence: what is known, the scores, and the priors."""
    con = made_up(crowd)
    sums = sums_query(DAY, policy)
    con.execute(f"INSERT INTO video_evidence BY NAME {sums.sql}", dict(sums.parameters))
    gather(con, DAY, policy)
    priors = fit(con, DAY, policy)
    scores = evidence_scores(DAY, policy, priors.of)
    facts = con.execute("FROM known ORDER BY video_id").fetchnumpy()
    found = con.execute(
        f"FROM ({scores.sql}) ORDER BY video_id", dict(scores.parameters)
    ).fetchnumpy()
    con.close()
    return facts, found, priors


def made_up(
    crowd: Crowd,
    length_ms: dict[int, int] | None = None,
    safety: dict[int, tuple[float | None, float | None]] | None = None,
) -> duckdb.DuckDBPyConnection:
    """A day of that crowd, in memory."""
    con = duckdb.connect()
    con.execute(";".join(table.ddl() for table in TABLES.values()))
    n = crowd.video.size
    viewer = np.arange(n) if crowd.viewer is None else crowd.viewer
    _, first = np.unique(viewer, return_index=True)
    names = pa.array(viewer).cast(pa.string())
    videos = np.unique(crowd.video)
    _insert(
        con,
        "viewers",
        viewer_id=names.take(pa.array(first)),
        verified=crowd.verified[first],
        trust=crowd.trust[first],
    )
    s_plus, s_tox = zip(*((safety or {}).get(int(v), (0.8, 0.0)) for v in videos), strict=True)
    _insert(
        con,
        "videos",
        video_id=_ids(videos),
        creator_id=_ids(videos),
        length_ms=np.array([(length_ms or {}).get(int(v), LENGTH_MS) for v in videos]),
        categories=pa.array([["music"]] * videos.size),
        compliant=np.ones(videos.size, bool),
        s_plus=pa.array(s_plus, pa.float64()),
        s_tox=pa.array(s_tox, pa.float64()),
    )
    _insert(
        con,
        "viewer_events",
        event_id=pa.array(np.arange(n)).cast(pa.string()),
        ts=pa.array(np.full(n, np.datetime64(DAY, "s"))),
        viewer_id=names,
        video_id=_ids(crowd.video),
        watch_ms=crowd.watch_ms,
        **{name: crowd.actions[:, i] for i, name in enumerate(ACTIONS)},
    )
    return con


def _ids(numbers: Array) -> pa.Array:
    return pa.compute.utf8_lpad(pa.array(numbers).cast(pa.string()), 9, "0")


def _insert(con: duckdb.DuckDBPyConnection, table: str, **columns: Any) -> None:
    con.register("incoming", pa.table({name: pa.array(values) for name, values in columns.items()}))
    con.execute(
        f"INSERT INTO {table} BY NAME SELECT DATE '{DAY}' AS day, *, 'made up' AS source FROM"
        " incoming"
    )
    con.unregister("incoming")


def changed(policy: Policy, **fields: Any) -> Policy:
    """The policy with fields of its sections replaced: `changed(PRINTED, quality_prior_mass=20)`."""
    for name, value in fields.items():
        section, field = name.split("_", 1)
        policy = policy.model_copy(
            update={section: getattr(policy, section).model_copy(update={field: value})}
        )
    return policy


def assets() -> tuple[Any, Any]:
    """The modules that size and split money. Imported late: dagster takes seconds."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pipelines.ads import assets as ads
        from pipelines.coins import assets as coins
    return ads, coins


# --------------------------------------------------------------------------------------------------


@demonstration("trust-views")
def trust_views() -> Finding:
    """Trust weights are normalised inside every component, so they cancel: views must carry the
    trust.
    """
    one = replace(honest(1, [0], 1000), verified=np.ones(1000, bool))
    doubted = replace(one, video=one.video + 2, verified=~one.verified, trust=np.full(1000, 0.5))
    crowd = one + replace(one, video=one.video + 1, verified=~one.verified) + doubted
    heads, trust = score(crowd, PRINTED, changed(PRINTED, views_count="trust"))
    names = ("all verified", "all unverified", "all unverified, own trust 0.5")
    rows = [
        (name, heads["quality"][i], heads["effective_views"][i], trust["effective_views"][i])
        for i, name in enumerate(names)
    ]
    return Finding(
        "the same 1000 viewers score the same and earn the same whoever they are, unless a view"
        " counts as its viewer's trust",
        {
            "audience": "",
            "Q": ".4f",
            "M, views = heads (printed)": ".1f",
            "M, views = trust": ".1f",
        },
        rows,
    )


@demonstration("sessions")
def sessions() -> Finding:
    """Several sessions of one viewer: the longest is t, the total decides rewatching, an action
    counts once.
    """
    cases = {
        "1 of 30 s": [30],
        "3 of 10 s": [10] * 3,
        "2 of 15 s": [15] * 2,
        "2 of 16 s": [16] * 2,
        "1 of 31 s": [31],
    }
    watch = np.concatenate([np.array(seconds) for seconds in cases.values()]) * 1000
    video = np.repeat(np.arange(len(cases)), [len(seconds) for seconds in cases.values()])
    n = video.size
    actions = np.tile([True, False, False, False], (n, 1))
    (found,) = score(
        Crowd(video, np.ones(n, bool), np.ones(n), watch, actions, viewer=video), PRINTED
    )
    rows = [
        (
            name,
            min(1.0, sum(s) / 30),
            found["watch"][i],
            found["rewatch"][i],
            found["engagement"][i],
        )
        for i, (name, s) in enumerate(cases.items())
    ]
    return Finding(
        "restarting a video three times is not watching it; exactly one loop is not a rewatch;"
        " three likes are one like",
        {"sessions, a like in each": "", "W if summed": ".3f", "W": ".3f", "R": ".0f", "E": ".1f"},
        rows,
    )


@demonstration("engagement")
def engagement() -> Finding:
    """E and D of one audience of 10: what one missing action costs, printed and with the prior."""
    crowd = honest(2, range(100, 400), 100)
    cases = {
        "none": (0, 0, 0, 0),
        "10 likes": (10, 0, 0, 0),
        "10 likes, 1 share": (10, 0, 1, 0),
        "10 of each": (10, 10, 10, 10),
    }
    for i, counts in enumerate(cases.values()):
        actions = np.column_stack([np.arange(10) < count for count in counts])
        watch = np.where(np.arange(10) < 2, 40_000, 20_000)
        crowd += Crowd(np.full(10, i), np.ones(10, bool), np.ones(10), watch, actions)
    printed, prior = score(crowd, PRINTED, changed(PRINTED, quality_prior_mass=20))
    rows = [
        (
            name,
            printed["engagement"][i],
            printed["diversity"][i],
            printed["quality"][i],
            prior["quality"][i],
        )
        for i, name in enumerate(cases)
    ]
    return Finding(
        "a video that everybody only likes has D = 0 and so Q = 0 as printed; E never needs the"
        " printed min(1, .)",
        {
            "actions of 10 viewers": "",
            "E": ".3f",
            "D": ".3f",
            "Q, m = 0 (printed)": ".3f",
            "Q, m = 20": ".3f",
        },
        rows,
    )


@demonstration("safety")
def safety() -> Finding:
    """S = max(0, s_plus - tau s_tox), and what stands in when nobody scored the video."""
    cases: list[tuple[float | None, float | None]] = [
        (1.0, 0.0),
        (0.7, 0.0),
        (0.7, 0.8),
        (0.3, 0.8),
        (None, None),
        (None, 0.8),
    ]
    one = honest(3, [0], 1000)
    crowd = one
    for i in range(1, len(cases)):
        crowd += replace(one, video=one.video + i)
    (found,) = score(crowd, PRINTED, safety=dict(enumerate(cases)))
    rows = [
        (
            "missing" if plus is None else f"{plus}",
            "missing" if tox is None else f"{tox}",
            found["safety"][i],
            found["quality"][i],
            str(found["safety_source"][i]),
        )
        for i, (plus, tox) in enumerate(cases)
    ]
    return Finding(
        "S = 0 makes Q = 0; a missing score is replaced by the policy's neutral value and the row"
        " says so",
        {"s_plus": "", "s_tox": "", "S": ".2f", "Q": ".4f", "safety_source": ""},
        rows,
    )


@demonstration("prior-mass")
def prior_mass() -> Finding:
    """Share of honest small videos with Q = 0, and mean Q against its true value, at m = 0 and m =
    20.
    """
    kinds = {"weak": 0.5, "middling": 1.0, "strong": 1.5}
    sizes, copies, many = (10, 30, 100), 200, 20_000
    crowd, seed = honest(10, [0], many, rates=0.5), 10
    for k, rates in enumerate(kinds.values()):
        for j, size in enumerate((many, *sizes)):
            seed += 1
            first = 10_000 * k + 1_000 * (j + 1)
            crowd += honest(
                seed, range(first, first + (1 if size == many else copies)), size, rates=rates
            )
    printed, prior = score(crowd, PRINTED, changed(PRINTED, quality_prior_mass=20))
    number = np.unique(crowd.video)
    rows: list[tuple[Cell, ...]] = []
    for k, kind in enumerate(kinds):
        true = float(printed["quality"][number == 10_000 * k + 1_000][0])
        for j, size in enumerate(sizes):
            here = number // 1_000 == 10 * k + j + 2
            a, b = printed["quality"][here], prior["quality"][here]
            rows.append((kind, size, true, np.mean(a == 0), np.mean(b == 0), a.mean(), b.mean()))
    return Finding(
        "m = 20 leaves no honest video at 0; the price is that weak and strong small videos are"
        " pulled towards the platform's mean",
        {
            "video": "",
            "viewers": "d",
            "true Q": ".3f",
            "Q = 0, m = 0": ".1%",
            "Q = 0, m = 20": ".1%",
            "mean Q, m = 0": ".3f",
            "mean Q, m = 20": ".3f",
        },
        rows,
    )


PLATFORM = honest(20, range(1, 201), 100)
"""200 ordinary videos of 100 viewers; the demonstrations with bots add a video 0 to them."""
TARGET = replace(honest(21, [0], 100), verified=np.arange(100) % 5 == 0)


def _pays(found: dict[str, Floats], ads: Ads) -> float:
    """What video 0 gets of a pool of 1000 units."""
    split = allocate_pool(
        1000.0,
        found["effective_views"],
        alpha=ads.alpha,
        lambda_fair=ads.lambda_fair,
        lambda_eff=ads.lambda_eff,
        objective=ads.objective,
    )
    return float(split.payout[0])


@demonstration("like-bots")
def like_bots() -> Finding:
    """1000 bots that like and do not watch: lowering alpha_unver alone, as printed, makes them pay
    more.
    """
    attack = bots(0, 1000, watch=0.0, actions=["liked"])
    policies = [
        changed(policy, quality_trust_unverified=alpha)
        for policy in (PRINTED, HARDENED)
        for alpha in (0.8, 0.4, 0.1)
    ]
    rows: list[tuple[Cell, ...]] = []
    for policy, before, after in zip(
        policies,
        score(PLATFORM + TARGET, *policies),
        score(PLATFORM + TARGET + attack, *policies),
        strict=True,
    ):
        change = _pays(after, policy.ads) / _pays(before, policy.ads)
        quality, views, m = (
            float(after[name][0]) for name in ("quality", "qualified_views", "effective_views")
        )
        rows.append(
            (
                policy.name,
                policy.quality.trust_unverified,
                before["quality"][0],
                quality,
                views,
                m,
                change,
            )
        )
    return Finding(
        "printed, bots count fully as views and a lower alpha_unver only stops them from diluting"
        " Q; hardened, they lower the video's pay",
        {
            "policy": "",
            "alpha_unver": ".1f",
            "Q before": ".3f",
            "Q with bots": ".3f",
            "views": ".1f",
            "M": ".1f",
            "pay, no bots = 1": ".2f",
        },
        rows,
    )


@demonstration("mimic-bots")
def mimic_bots() -> Finding:
    """Bots that watch to the end and copy every action, on a video of 100 honest viewers."""
    rows: list[tuple[Cell, ...]] = []
    policies = (PRINTED, HARDENED)
    before = score(PLATFORM + TARGET, *policies)
    for count in (10, 100, 1000):
        attacked = score(PLATFORM + TARGET + bots(0, count, watch=1.2, actions=ACTIONS), *policies)
        for policy, base, found in zip(policies, before, attacked, strict=True):
            mass, q, m = (
                float(found[x][0] / base[x][0])
                for x in ("trust_mass", "quality", "effective_views")
            )
            rows.append(
                (
                    policy.name,
                    count,
                    found["unverified_scale"][0],
                    mass,
                    q,
                    m,
                    (m - 1) * 100 / count,
                )
            )
    rows.sort(key=lambda row: str(row[0]), reverse=True)
    return Finding(
        "printed, a mimic earns what several real viewers do, without end; hardened, the mass is"
        " bounded, M less so: Q rises too",
        {
            "policy": "",
            "bots": "d",
            "k": ".3f",
            "mass, no bots = 1": ".2f",
            "Q": ".2f",
            "M": ".2f",
            "M per bot, real viewer = 1": ".2f",
        },
        rows,
    )


@demonstration("unverified-cap")
def unverified_cap() -> Finding:
    """Honest trust mass kept by the relative cap and by an absolute one, and what 1000 bots count
    for.
    """
    rows: list[tuple[Cell, ...]] = []
    for share in (0.05, 0.2, 0.5):
        sizes = {10: 120, 100: 120, 1000: 24}
        crowd = honest(30, [0], 10, verified=share)
        for i, (size, copies) in enumerate(sizes.items()):
            crowd += honest(
                31 + i, range(1000 * i + 1, 1000 * i + copies + 1), size, verified=share
            )
        number = np.unique(crowd.video)
        kept = score(crowd, HARDENED)[0]["trust_mass"]
        verified, unverified = (
            np.bincount(np.searchsorted(number, crowd.video), weights=tier)
            for tier in (crowd.verified, ~crowd.verified)
        )
        all_of_it = verified + 0.8 * unverified
        absolute = verified + np.minimum(all_of_it - verified, 0.25 * verified)
        attacked = crowd
        for i, size in enumerate(sizes):
            # as many verified viewers as the share says, exactly: the cap depends on them
            victim = honest(40 + i, [9000 + i], size)
            attacked += replace(victim, verified=np.arange(size) < round(share * size)) + bots(
                9000 + i, 1000, watch=1.2, actions=ACTIONS
            )
        found = score(attacked, HARDENED)[0]["trust_mass"]
        for i, size in enumerate(sizes):
            here = (number > 1000 * i) & (number <= 1000 * i + 999)
            real = round(share * size) + 0.8 * (size - round(share * size))
            extra = (float(found[np.unique(attacked.video) == 9000 + i][0]) - real) / (real / size)
            rows.append(
                (
                    share,
                    size,
                    kept[here].sum() / all_of_it[here].sum(),
                    absolute[here].sum() / all_of_it[here].sum(),
                    extra,
                    extra / size,
                )
            )
    return Finding(
        "the relative cap hardly touches honest mass, an absolute one takes most of it; the fewer"
        " are verified, the more bots count",
        {
            "verified": ".0%",
            "viewers": "d",
            "honest mass kept": ".1%",
            "kept by U <= 0.25 V": ".1%",
            "1000 bots count as viewers": ".1f",
            "of the audience": ".0%",
        },
        rows,
    )


@demonstration("cap-drift")
def cap_drift() -> Finding:
    """rho is measured with the bots in it: a farm that is large beside the platform raises the cap
    for itself.
    """
    crowd = PLATFORM + TARGET
    base = float(score(crowd, HARDENED)[0]["trust_mass"][0])
    rows: list[tuple[Cell, ...]] = []
    for elsewhere in (0, 3_000, 20_000):
        farm = bots(0, 1000, watch=1.2, actions=ACTIONS)
        if elsewhere:
            spread = bots(0, elsewhere, watch=1.2, actions=ACTIONS)
            farm += replace(spread, video=1001 + np.arange(elsewhere) % 100)
        (found,) = score(crowd + farm, HARDENED)
        verified = int(crowd.verified.sum())
        unverified = 0.8 * (int((~crowd.verified).sum()) + farm.video.size)
        rows.append(
            (
                1000 + elsewhere,
                0.8 * farm.video.size / unverified,
                unverified / verified,
                found["unverified_scale"][0],
                found["trust_mass"][0] / base - 1,
            )
        )
    return Finding(
        "the cap is relative to the day's own ratio: it bounds a farm that is small beside the"
        " platform, not one that is most of it",
        {
            "bots": "d",
            "of unverified mass": ".1%",
            "rho": ".2f",
            "k": ".3f",
            "1000 bots add to a video of 100": ".0%",
        },
        rows,
    )


@demonstration("watch-minimum")
def watch_minimum() -> Finding:
    """Least watch time of a view that counts, by length of the video."""
    lengths = dict(enumerate((1_500, 10_000, 20_000, 30_000, 120_000)))
    step, most = 100, 15_000
    grid = np.arange(0, most + 1, step)
    n = len(lengths) * grid.size
    video, watch = np.repeat(list(lengths), grid.size), np.tile(grid, len(lengths))
    crowd = Crowd(video, np.ones(n, bool), np.ones(n), watch, np.zeros((n, 4), bool))
    printed, hardened = (
        found["qualified_views"] for found in score(crowd, PRINTED, HARDENED, length_ms=lengths)
    )
    rows = [
        (
            ms / 1000,
            *((most + step - step * float(views[i])) / 1000 for views in (printed, hardened)),
        )
        for i, ms in lengths.items()
    ]
    return Finding(
        "printed, an impression that was never watched is a view; hardened, it takes 2 s or a"
        " tenth, or the whole of a shorter video",
        {
            "length (s)": ".1f",
            "least watch, printed (s)": ".1f",
            "least watch, hardened (s)": ".1f",
        },
        rows,
    )


# --------------------------------------------------------------------------------------------------


@demonstration("five-events")
def five_events() -> Finding:
    """Five events under the default policy, from what was seen to micros, step by step."""
    crowd = Crowd(
        video=np.array([0, 0, 0, 1, 1]),
        verified=np.array([True, True, False, True, False]),
        trust=np.ones(5),
        watch_ms=np.array([LENGTH_MS, LENGTH_MS // 2, LENGTH_MS, LENGTH_MS // 5, 0]),
        actions=np.array([[True, False, False, False], *[[False] * 4] * 4]),
    )
    facts, scores, priors = known(crowd, EVIDENCE)
    share = scores["effective_views"] / scores["effective_views"].sum()
    ads = EVIDENCE.ads
    paid = allocate_pool(
        450_000.0,
        share,
        alpha=ads.alpha,
        lambda_fair=ads.lambda_fair,
        lambda_eff=ads.lambda_eff,
        objective=ads.objective,
    ).payout
    prior = priors.of
    steps: list[tuple[str, str, Any]] = [
        ("stayed, viewers' worth", "verified + 0.5 of the others (trust .8 each)", facts["stayed"]),
        ("left at once", "likewise", facts["passed"]),
        ("watched of it", "sum of min(1, t/L)", facts["watched"] + facts["glanced"]),
        (
            "prior of W: rate",
            "the platform's, 20 viewers of the reference among it",
            prior["watch"].rate,
        ),
        ("prior of W: viewers' worth", "10 actions over the rate", prior["watch"].strength),
        ("W", "(watched + prior) / (seen + prior)", scores["watch"]),
        ("likes of verified viewers", "", facts["liked"]),
        ("prior of likes: viewers' worth", "", prior["like"].strength),
        ("E", "sum of beta times shrunken rates", scores["engagement"]),
        ("R", "", scores["rewatch"]),
        ("Q", "(W^.55 E^.2 R^.1 S^.15)^2.2", scores["quality"]),
        ("views", "trust that stayed, after the cap", scores["qualified_views"]),
        ("M = views Q", "", scores["effective_views"]),
        ("share of the pool", "M over the sum of M", share),
        ("micros of 450,000", "half by share, half by its root", paid),
    ]
    rows: list[tuple[Cell, ...]] = [
        (name, how, *(np.broadcast_to(np.asarray(value), (2,)).tolist()))
        for name, how, value in steps
    ]
    return Finding(
        "a like and two full views among three are hardly evidence yet: Q differs by a few percent,"
        " and most of the difference in pay is views",
        {"": "", "how": "", "video a": ".6g", "video b": ".6g"},
        rows,
    )


@demonstration("one-account")
def one_account() -> Finding:
    """What one account that watches twice and does everything adds to a video, by policy."""
    rng = np.random.default_rng(3)
    sizes, rows = (10, 100, 1000), []
    base = Crowd(
        video=np.repeat(np.arange(23), [*sizes, *[300] * 20]),
        verified=rng.random(7110) < 0.3,
        trust=np.ones(7110),
        watch_ms=(LENGTH_MS * np.minimum(rng.exponential(0.45, 7110), 1.5)).astype(int),
        actions=rng.random((7110, 4)) < np.array([0.015, 0.0025, 0.0007, 0.0013]),
    )
    for at, size in enumerate(sizes):
        mimic = bots(at, 1, watch=2.02, actions=ACTIONS)
        cells: list[Cell] = [size]
        for policy in (PRINTED, HARDENED, EVIDENCE):
            before, after = (
                known(crowd, policy)[1] if policy is EVIDENCE else score(crowd, policy)[0]
                for crowd in (base, base + mimic)
            )
            was, now = before["effective_views"][at], after["effective_views"][at]
            cells.append((now / was - 1) * size if was else None)
        rows.append(tuple(cells))
    return Finding(
        "at real rates of actions an account that does everything is worth tens of viewers as"
        " printed and hardened, and one to three by evidence",
        {
            "viewers": "d",
            "worth in viewers, printed": ".1f",
            "hardened": ".1f",
            "evidence": ".1f",
        },
        rows,
    )


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
                       1 AS effective_views, 'given' AS safety_source, '' AS policy_hash
                FROM range({n}) AS t(i)""")
        con.execute(
            f"""INSERT INTO ad_revenue BY NAME SELECT DATE '{DAY}' AS day, 'a' || i AS ad_id,
                TIMESTAMP '{DAY}' AS ts, 'music' AS category,
                'v' || i AS video_id, 101 AS amount_micros, 'made up' AS source
                FROM range({n}) AS t(i)"""
        )
        slots = int(exact(fraction) * n)
        share = exact(PRINTED.pulse.creator_share)
        parameters = {
            "day": DAY,
            "pulse_count": slots,
            "min_safety": PRINTED.pulse.min_safety,
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


# --------------------------------------------------------------------------------------------------


def _coins(normal: Any, premium: Any, quality: Any, coins: Coins, **change: Any) -> Any:
    arguments: dict[str, Any] = {
        **{
            name: getattr(coins, name)
            for name in (
                "theta",
                "normal_max",
                "premium_max",
                "min_gap",
                "max_gap",
                "lambda_rev",
                "lambda_util",
                "lambda_inc",
            )
        },
        "epsilon": coins.epsilon,
        "utility": coins.utility,
        "revenue_floor": coins.floor * (np.asarray(normal, float) + np.asarray(premium, float)),
        **change,
    }
    return split_videos(normal, premium, quality, **arguments)


def _grid_best(
    normal: float,
    premium: float,
    coins: Coins,
    utility: Callable[[Floats], Floats],
    *,
    steps: tuple[int, int] = (600, 800),
) -> tuple[float, float, float, float]:
    """Best (x_n, x_p, pay, objective) on a grid; `utility` is the normalised term U_norm as a
    function of pay.
    """
    x_n, x_p = np.meshgrid(
        np.linspace(0, coins.normal_max, steps[0] + 1),
        np.linspace(0, coins.premium_max, steps[1] + 1),
        indexing="ij",
    )
    total = normal + premium
    floor = coins.floor * total
    pay = x_n * normal + x_p * premium
    gap = x_p - x_n
    value = (
        coins.lambda_rev * (total - pay - floor) / (total - floor)
        + coins.lambda_util * utility(pay)
        + coins.lambda_inc * (gap - coins.min_gap) / (coins.max_gap - coins.min_gap)
    )
    allowed = (
        (gap >= coins.min_gap - 1e-12)
        & (gap <= coins.max_gap + 1e-12)
        & (total - pay >= floor - 1e-9)
    )
    best = np.unravel_index(np.argmax(np.where(allowed, value, -np.inf)), value.shape)
    return float(x_n[best]), float(x_p[best]), float(pay[best]), float(value[best])


def _log1p_utility(
    normal: float, premium: float, quality: float, coins: Coins
) -> Callable[[Floats], Floats]:
    most = coins.normal_max * normal + coins.premium_max * premium
    scale = (1 + coins.theta * quality) / (1 + coins.theta) / np.log1p(most / coins.epsilon)
    return lambda pay: scale * np.log1p(pay / coins.epsilon)


@demonstration("coin-chain")
def coin_chain() -> Finding:
    """The closed form against a grid search of the objective, on random policies and gifts."""
    rows: list[tuple[Cell, ...]] = []
    for steps in (50, 100, 200):
        rng = np.random.default_rng(60)
        beaten, behind = 0, 0.0
        for _ in range(60):
            weights = rng.dirichlet([1, 1, 1])
            least = rng.uniform(0, 0.2)
            coins = Coins(
                normal_max=rng.uniform(0.3, 0.8),
                premium_max=rng.uniform(0.4, 1),
                min_gap=least,
                max_gap=least + rng.uniform(0.05, 0.4),
                lambda_rev=weights[0],
                lambda_util=weights[1],
                lambda_inc=weights[2],
                revenue_floor=rng.uniform(0, 0.3),
                theta=rng.uniform(0, 2),
            )
            normal, premium, quality = (
                float(rng.lognormal(4, 2)),
                float(rng.lognormal(4, 2)),
                float(rng.random()),
            )
            best = _coins([normal], [premium], [quality], coins)
            utility = _log1p_utility(normal, premium, quality, coins)
            *_, grid = _grid_best(normal, premium, coins, utility, steps=(steps, steps))
            pay, gap = best.payout, best.premium_share - best.normal_share
            total, floor = normal + premium, coins.floor * (normal + premium)
            built = float(
                coins.lambda_rev * (total - pay[0] - floor) / (total - floor)
                + coins.lambda_util * utility(pay)[0]
                + coins.lambda_inc * (gap[0] - coins.min_gap) / (coins.max_gap - coins.min_gap)
            )
            beaten += grid > built + 1e-12
            behind = max(behind, built - grid)
        rows.append((f"{steps + 1} x {steps + 1}", 60, beaten, behind))
    return Finding(
        "no grid point beats the closed form, and a finer grid comes closer to it",
        {"grid": "", "problems": "d", "closed form beaten": "d", "grid behind by at most": ".4f"},
        rows,
    )


@demonstration("coin-quality")
def coin_quality() -> Finding:
    """U_max = f(Q) u(max), as printed, cancels Q; with f(1) the creator of the better video keeps
    more.
    """
    coins, normal, premium = HARDENED.coins, 2000.0, 200.0
    most = coins.normal_max * normal + coins.premium_max * premium
    rows: list[tuple[Cell, ...]] = []
    for quality in (0.0, 0.25, 0.5, 0.75, 1.0):
        f = 1 + coins.theta * quality

        def printed(pay: Floats, f: float = f) -> Floats:
            return np.asarray(f * np.log(coins.epsilon + pay) / (f * np.log(coins.epsilon + most)))

        _, _, literal, _ = _grid_best(normal, premium, coins, printed)
        built = _coins([normal], [premium], [quality], coins)
        gifts = np.random.default_rng(61).lognormal(4, 1.5, (2, 2000))
        many = _coins(gifts[0], gifts[1], np.full(2000, quality), coins).payout.sum() / gifts.sum()
        rows.append((quality, literal, built.payout[0], built.payout[0] / (normal + premium), many))
    return Finding(
        "as printed every quality is paid the same; under the shipped policy a creator keeps more"
        " the better the video",
        {
            "Q": ".2f",
            "pay, printed U_max (grid)": ".1f",
            "pay, f(1)": ".1f",
            "share of 2200 coins": ".1%",
            "of 2000 mixed videos' coins": ".1%",
        },
        rows,
    )


@demonstration("coin-size")
def coin_size() -> Finding:
    """What a creator keeps as a video is given more coins, and if the same gifts were spread over
    ten videos.
    """
    rows: list[tuple[Cell, ...]] = []
    for coins in (10, 100, 1_000, 10_000, 100_000):
        normal, premium = 0.8 * coins, 0.2 * coins
        one, tenth = (
            float(_coins([normal / k], [premium / k], [0.5], HARDENED.coins).payout[0]) * k
            for k in (1, 10)
        )
        rows.append((coins, one / coins, tenth / coins, tenth / one))
    return Finding(
        "log utility is normalised video by video, so much-gifted videos keep a smaller share, and"
        " the same gifts on ten videos earn more",
        {
            "coins (20 % premium)": "d",
            "kept on one video": ".1%",
            "kept on ten": ".1%",
            "gain": ".2f",
        },
        rows,
    )


@demonstration("coin-log-sign")
def coin_log_sign() -> Finding:
    """log(eps + pay) is negative for small pay; divided by a negative U_max it pays less for more
    utility weight.
    """
    coins = HARDENED.coins.model_copy(
        update={"epsilon": 0.01, "lambda_rev": 0.1, "lambda_util": 0.8, "lambda_inc": 0.1}
    )
    rows: list[tuple[Cell, ...]] = []
    for normal, premium in ((1.0, 0.2), (1.0, 1.0), (10.0, 2.0), (1000.0, 200.0)):
        most = coins.normal_max * normal + coins.premium_max * premium
        u_max = float(np.log(coins.epsilon + most))
        _, _, literal, _ = _grid_best(
            normal, premium, coins, lambda pay, u_max=u_max: np.log(coins.epsilon + pay) / u_max
        )  # type: ignore[misc]
        _, _, grid, _ = _grid_best(
            normal, premium, coins, _log1p_utility(normal, premium, 1.0, coins)
        )
        built = float(_coins([normal], [premium], [1.0], coins).payout[0])
        total = normal + premium
        rows.append(
            (
                total,
                u_max,
                float(np.log(coins.epsilon) / u_max),
                literal / total,
                grid / total,
                built / total,
            )
        )
    return Finding(
        "at eps = 0.01 the printed term pays next to nothing for one coin, too much for a few: its"
        " range is not [0, 1] anywhere",
        {
            "coins": ".1f",
            "U_max": ".3f",
            "U_norm at pay 0": ".2f",
            "kept, printed (grid)": ".1%",
            "kept, log1p (grid)": ".1%",
            "kept, built": ".1%",
        },
        rows,
    )


def _active_constraints(
    found: Any, normal: Floats, premium: Floats, floor: Floats, bounds: dict[str, Any]
) -> NDArray[np.int64]:
    """How many of the seven bounds hold with equality at each optimum."""
    x_n, x_p, total = found.normal_share, found.premium_share, normal + premium
    off = [
        x_n,
        bounds["normal_max"] - x_n,
        x_p,
        bounds["premium_max"] - x_p,
        x_p - x_n - bounds["min_gap"],
        bounds["max_gap"] - (x_p - x_n),
        (total - found.payout - floor) / total,
    ]
    return np.asarray(np.sum([np.abs(x) < 1e-9 for x in off], axis=0), dtype=np.int64)


@demonstration("coin-corners")
def coin_corners() -> Finding:
    """ "The log term prevents corner solutions": how many optima are corners all the same."""
    rng = np.random.default_rng(62)
    n = 20_000
    rows: list[tuple[Cell, ...]] = []
    for name in ("shipped policy", "random policies"):
        normal, premium, quality = rng.lognormal(4, 1.5, n), rng.lognormal(4, 1.5, n), rng.random(n)
        shipped = HARDENED.coins
        bounds: dict[str, Any] = {
            field: getattr(shipped, field)
            for field in ("normal_max", "premium_max", "min_gap", "max_gap")
        }
        change: dict[str, Any] = {}
        if name == "random policies":
            weights = rng.dirichlet([1, 1, 1], n)
            least = rng.uniform(0, 0.2, n)
            bounds = {
                "normal_max": rng.uniform(0.3, 0.8, n),
                "premium_max": rng.uniform(0.4, 1, n),
                "min_gap": least,
                "max_gap": least + rng.uniform(0.05, 0.4, n),
            }
            change = {
                **bounds,
                "lambda_rev": weights[:, 0],
                "lambda_util": weights[:, 1],
                "lambda_inc": weights[:, 2],
            }
        floor = shipped.floor * (normal + premium)
        for utility in ("log", "linear"):
            found = _coins(normal, premium, quality, shipped, utility=utility, **change)
            active = _active_constraints(found, normal, premium, floor, bounds)
            rows.append(
                (
                    name,
                    utility,
                    *(float(np.mean(there)) for there in (active >= 2, active == 1, active == 0)),
                )
            )
    return Finding(
        "with the log most optima under random policies are still corners, and none lies inside:"
        " the incentive always pushes to an edge",
        {
            "drawn from": "",
            "utility": "",
            "at a corner": ".1%",
            "on an edge": ".1%",
            "inside": ".1%",
        },
        rows,
    )


@demonstration("coin-edges")
def coin_edges() -> Finding:
    """Coin splits where the printed normalisation divides by zero, and where nothing is feasible."""
    coins = HARDENED.coins
    cases: list[tuple[str, float, float, dict[str, Any]]] = [
        ("ordinary", 100, 50, {}),
        ("Delta = delta: no incentive term", 100, 50, {"max_gap": 0.05}),
        ("N = R_min: no revenue term", 100, 0, {"revenue_floor": 100}),
        ("no premium coins", 100, 0, {}),
        ("no normal coins", 0, 50, {}),
        ("no coins", 0, 0, {}),
        ("delta above Delta", 100, 50, {"min_gap": 0.5}),
        ("delta N_p above N - R_min", 100, 50, {"revenue_floor": 149}),
    ]
    rows: list[tuple[Cell, ...]] = []
    for name, normal, premium, change in cases:
        best = _coins([normal], [premium], [0.5], coins, **change)
        if best.feasible[0]:
            rows.append(
                (
                    name,
                    f"{best.normal_share[0]:.3f}",
                    f"{best.premium_share[0]:.3f}",
                    f"{best.payout[0]:.2f}",
                )
            )
        else:
            rows.append((name, "-", "-", "infeasible"))
    return Finding(
        "a term whose range is empty is dropped; infeasible rows say so and are never paid",
        {"case": "", "x_n": "", "x_p": "", "pay": ""},
        rows,
    )


@demonstration("coin-floor")
def coin_floor() -> Finding:
    """The platform's revenue floor in whole micros: ceiled, so that rounding the creator's pay
    cannot break it.
    """
    _, module = assets()
    rows: list[tuple[Cell, ...]] = []
    for normal, share in ((1, 0.25), (10, 0.25), (1, 1 / 3), (7, 0.1)):
        coins = Coins(
            coin_micros=1,
            normal_max=1.0,
            premium_max=1.0,
            min_gap=0.0,
            max_gap=0.0,
            lambda_rev=0.0,
            lambda_util=1.0,
            lambda_inc=0.0,
            revenue_floor=share,
        )
        gifts = pa.table(
            {
                "video_id": ["v"],
                "creator_id": ["c"],
                "compliant": [True],
                "normal_coins": [normal],
                "premium_coins": [0],
                "quality": [1.0],
            }
        )
        paid = int(module.split_coins(gifts, coins).rows["payout_micros"][0].as_py())
        nearest = int(np.rint((1 - share) * normal))
        rows.append((normal, share, share * normal, normal - nearest, paid, normal - paid))
    banned = pa.table(
        {
            "video_id": ["v"],
            "creator_id": ["c"],
            "compliant": [False],
            "normal_coins": [100],
            "premium_coins": [50],
            "quality": [0.0],
        }
    )
    paid = int(module.split_coins(banned, HARDENED.coins).rows["payout_micros"][0].as_py())
    rows.append(
        (
            "150, C = 0",
            HARDENED.coins.floor,
            None,
            None,
            paid,
            150 * HARDENED.coins.coin_micros - paid,
        )
    )
    return Finding(
        "the nearest micro alone can leave the platform less than R_min; a video that does not"
        " comply pays its creator nothing",
        {
            "coins": "",
            "revenue_floor": ".3f",
            "R_min": ".2f",
            "kept, nearest": "d",
            "creator": "d",
            "platform keeps": "d",
        },
        rows,
    )


# --------------------------------------------------------------------------------------------------


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


@demonstration("starved-group")
def starved_group() -> Finding:
    """Algorithm 1 on the level of LTR and on its change: five groups, one of them starved until day
    20, then served like the others.
    """
    rates: list[tuple[Cell, ...]] = []
    level, change = np.ones(5), np.ones(5)
    seen = [np.array([0.08, 0.08, 0.08, 0.08, 0.03])] * 2
    for day in range(1, 41):
        ltr = np.array([0.08, 0.08, 0.08, 0.08, 0.03 if day <= 20 else 0.08])
        level = update_weights(level, ltr, rate=2.0)
        change = update_weights(change, ltr / (seen[-1] + seen[-2]) * 2 - 1, rate=0.5)
        seen.append(ltr)
        if day in (1, 10, 20, 21, 22, 23, 40):
            rates.append((day, ltr[4], level[4], change[4]))
    return Finding(
        "on the level the weight rises until the group is served; the change sees only that service"
        " begins, and takes weight away for it",
        {
            "day": "d",
            "LTR of the starved group": ".2f",
            "its weight, level": ".3f",
            "its weight, relative": ".3f",
        },
        rates,
    )


def _answers(
    h: Floats, price: float, cost: PowerCost, x: Floats, r: Floats
) -> tuple[Floats, Floats]:
    """What types do and are paid on top, whom `price` a unit is paid anyway and r from output x on."""
    alone = cost.inverse_derivative(price / h)
    outputs = np.maximum(np.append(0.0, x)[None, :], alone[:, None])
    bonus = np.append(0.0, r)[None, :]
    best = np.argmax(
        price * outputs + bonus - h[:, None] * cost.value(outputs) + 1e-9 * outputs, axis=1
    )
    rows = np.arange(h.size)
    return outputs[rows, best], np.append(0.0, r)[best]


@demonstration("bonus-on-top")
def bonus_on_top() -> Finding:
    """Bonuses for creators who are paid a unit price already: the document's schedule, which does
    not know that, and the one built.
    """
    f, h, price, cost = np.full(10, 10.0), np.linspace(10, 1, 10), 2.0, PowerCost(2)
    alone = cost.inverse_derivative(price / h)
    pay = price * float(f @ alone)
    rows: list[tuple[Cell, ...]] = []
    for part in (0.1, 0.5, 1.0, 4.0):
        budget = part * pay
        printed = optimal_schedule(f, h, budget, cost)
        output, bonus = _answers(h, price, cost, printed.steps.threshold, printed.steps.reward)
        built = schedule_on_top(f, h, budget, cost, price)
        others = [
            scheme(f, h, budget, cost, price).gross_product for scheme in (price_on_top, pot_on_top)
        ]
        bought = [float(f @ x) / float(f @ alone) - 1 for x in (output, built.output)]
        rows.append(
            (part, *bought, *(x / float(f @ alone) - 1 for x in others), float(f @ bonus) / budget)
        )
    return Finding(
        "a schedule that ignores the pay there is pays for what creators do anyway, and overspends;"
        " the one built buys more than any other",
        {
            "budget / pay": ".1f",
            "bought, printed": ".1%",
            "bought, built": ".1%",
            "higher price": ".1%",
            "shared pot": ".1%",
            "printed spends of its budget": ".2f",
        },
        rows,
    )


@demonstration("theorem-2")
def theorem_2() -> Finding:
    """Theorem 2 of Yao et al., what its step does to welfare: creators who stay together, and
    creators who have specialised.
    """
    rows: list[tuple[Cell, ...]] = [
        (
            s.weights,
            s.creators,
            s.temperature,
            s.bound,
            s.slope,
            s.formula,
            "improves" if s.improves else "harms",
        )
        for s in slopes()
    ]
    return Finding(
        "where the temperature is at least max w / |w| the step never harms; in the sharp regime,"
        " which the proof assumes, it does",
        {
            "weights": "",
            "creators by user": "",
            "β": ".2f",
            "max w / |w|": ".2f",
            "dW/dη": ".2e",
            "formula": ".2e",
            "": "",
        },
        rows,
    )


@demonstration("bonus-overrun")
def bonus_overrun() -> Finding:
    """Months that come out otherwise than planned: how far promises exceed the budget, and what
    sharing it then does to incentives.
    """
    f, h, price, cost = np.full(10, 10.0), np.linspace(10, 1, 10), 2.0, PowerCost(2)
    budget = price * float(f @ cost.inverse_derivative(price / h))
    built = schedule_on_top(f, h, budget, cost, price)
    threshold, first = np.unique(built.output, return_index=True)
    reward = built.bonus[first]
    aims = np.repeat(built.output, 10)
    rng = np.random.default_rng(1)
    rows: list[tuple[Cell, ...]] = []
    for luck, rise in ((0.0, 0.0), (0.3, 0.0), (0.3, 0.5), (0.3, 1.0), (0.3, 2.0)):
        produced = aims * (1 + rise) * np.exp(rng.normal(-(luck**2) / 2, luck, (400, aims.size)))
        promised = np.append(0.0, reward)[
            np.searchsorted(threshold, produced * (1 + 1e-12), side="right")
        ].sum(axis=1)
        part = min(1.0, budget / float(promised.mean()) * (1 + 1e-12))
        moved, _ = _answers(h, price, cost, threshold, part * reward)
        lost = 1 - float(f @ moved) / built.gross_product
        over = float((promised > budget * (1 + 1e-9)).mean())
        rows.append(
            (
                luck,
                rise,
                float(promised.mean()) / budget,
                over,
                part,
                int((moved < built.output * (1 - 1e-9)).sum()),
                lost,
            )
        )
    return Finding(
        "luck alone rather leaves money, for who aims at a threshold misses it half the time; a"
        " rise that all share runs over, and as steps were just worth it, any cut that is expected"
        " makes everybody aim lower",
        {
            "luck, sd of log": ".1f",
            "more views for all": ".0%",
            "promised / budget": ".2f",
            "months over": ".0%",
            "part paid": ".2f",
            "types of 10 that would aim lower": "d",
            "output lost if all knew": ".1%",
        },
        rows,
    )


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


# --------------------------------------------------------------------------------------------------

_BLOCK = re.compile(r"```text\n\$ python docs/formulas\.py (\S+)\n.*?```", re.DOTALL)


def block(name: str) -> str:
    """The table as it stands in the document."""
    return f"```text\n$ python docs/formulas.py {name}\n{DEMONSTRATIONS[name]().text()}\n```"


def refreshed(document: str) -> str:
    """The document with every table computed anew."""
    return _BLOCK.sub(lambda found: block(found[1]), document)


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.argument("names", nargs=-1, metavar="[NAME]... | all")
@click.option("--list", "show_list", is_flag=True, help="Names, and what each one shows.")
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="One JSON document with unrounded numbers instead of tables.",
)
@click.option(
    "--refresh",
    is_flag=True,
    help="Compute every table in docs/formulas.md anew and write it there.",
)
def main(names: tuple[str, ...], show_list: bool, as_json: bool, refresh: bool) -> None:
    """Show in numbers what a formula does as printed and as built.

    Every NAME builds a small seeded world, runs the project's own solvers or scoring query on it,
    and prints a table and the claim it supports. docs/formulas.md explains the formulas and shows
    the same tables.

    \b
    python docs/formulas.py --list                   what there is
    python docs/formulas.py lambda-knob              one table
    python docs/formulas.py like-bots mimic-bots     two
    python docs/formulas.py all --json | jq '."prior-mass".rows'

    A changed policy file or formula changes the tables: look at `all`, then `--refresh` the
    document.
    """
    if show_list or not (names or refresh):
        if as_json:
            click.echo(json.dumps({name: summary(name) for name in DEMONSTRATIONS}, indent=2))
            return
        width = max(map(len, DEMONSTRATIONS))
        for name in DEMONSTRATIONS:
            click.echo(f"{name:{width}}  {summary(name)}")
        return
    if refresh:
        DOCUMENT.write_text(refreshed(DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")
    chosen = list(DEMONSTRATIONS) if "all" in names else list(names)
    if unknown := [name for name in chosen if name not in DEMONSTRATIONS]:
        raise click.UsageError(
            f"no demonstration is called {', '.join(unknown)}; --list shows what there is"
        )
    if as_json:
        found = {name: DEMONSTRATIONS[name]() for name in chosen}
        click.echo(
            json.dumps(
                {
                    n: {"shows": summary(n), "claim": f.claim, "rows": f.records()}
                    for n, f in found.items()
                },
                indent=2,
            )
        )
        return
    for i, name in enumerate(chosen):
        heading = f"{name}: {summary(name)}\n\n" if sys.stdout.isatty() or len(chosen) > 1 else ""
        click.echo(("\n" if i else "") + heading + DEMONSTRATIONS[name]().text())


if __name__ == "__main__":
    main()
