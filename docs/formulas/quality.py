"""The quality score: who counts, what bots do, what the knobs are for.

Section 1 of docs/formulas.md.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from formulas.register import demonstration
from formulas.world import DAY, HARDENED, PRINTED, ROOT, Array, Floats
from pipelines.lab.finding import Cell, Finding
from pipelines.policy import Ads, Policy, read_policy
from pipelines.quality.evidence import Priors, evidence_scores, fit, gather, sums_query
from pipelines.quality.scoring import score_videos
from pipelines.schema import TABLES
from solvers.ad_pool import allocate_pool
from solvers.influence import bounded_views

EVIDENCE = read_policy(ROOT / "assets_data/policies/evidence.toml")


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
    ads, pool, q = EVIDENCE.ads, 450_000.0, EVIDENCE.quality
    verified = np.array([2.0, 1.0])
    worth = ads.account_bound * pool / len(crowd.video)
    bounded = bounded_views(
        [pool],
        [0, 1],
        [0, 1],
        [0, 0],
        verified,
        scores["qualified_views"] - verified,
        scores["quality"],
        account=q.trust_unverified,
        worth=worth,
        alpha=ads.alpha,
        lambda_fair=ads.lambda_fair,
        lambda_eff=ads.lambda_eff,
    )
    effective = bounded.views * scores["quality"]
    share = effective / effective.sum()
    paid = allocate_pool(
        pool,
        share,
        alpha=ads.alpha,
        lambda_fair=ads.lambda_fair,
        lambda_eff=ads.lambda_eff,
        objective=ads.objective,
    ).payout
    prior = priors.of
    steps: list[tuple[str, str, Any]] = [
        (
            "stayed, viewers' worth",
            f"verified + {q.unverified_evidence:g} of the others (trust {q.trust_unverified:g} each)",
            facts["stayed"],
        ),
        ("left at once", "likewise", facts["passed"]),
        ("watched of it", "sum of min(1, t/L)", facts["watched"] + facts["glanced"]),
        (
            "prior of W: rate",
            "the platform's, 20 viewers of the reference among it",
            prior["watch"].rate,
        ),
        ("prior of W: viewers' worth", "10 to 100 actions over the rate", prior["watch"].strength),
        ("W", "(watched + prior) / (seen + prior)", scores["watch"]),
        ("likes of verified viewers", "", facts["liked"]),
        ("prior of likes: viewers' worth", "", prior["like"].strength),
        ("E", "sum of beta times shrunken rates", scores["engagement"]),
        ("R", "", scores["rewatch"]),
        ("Q", f"(W^.55 E^.2 R^.1 S^.15)^{q.contrast:g}", scores["quality"]),
        ("views", "trust that stayed, after the cap", scores["qualified_views"]),
        ("an account may bring", f"{ads.account_bound:g} of the pool over 5 viewers", worth),
        ("an unverified view counts", "the most by which it does not bring more", bounded.weight),
        ("a verified view counts", "1 + rho (1 - that)", bounded.speaks_for),
        ("views that count", "", bounded.views),
        ("M = views Q", "", effective),
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
