"""The quality score: reference cases, an independent implementation in exact fractions,
determinism, and what the knobs are for.
"""

from __future__ import annotations

import json
import math
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines import schema
from pipelines.policy import Epochs, Experiment, Policy, exact
from pipelines.quality.scoring import (
    score_engine,
    score_of_sums,
    score_query,
    score_videos,
    tier_query,
)
from pipelines.quality.spark import SparkError, score_on_spark
from pipelines.settings import Home, Settings, Spark

DAY = date(2026, 1, 10)
ACTIONS = ("liked", "commented", "shared", "followed")
CASES = json.loads(
    (Path(__file__).parents[1] / "cases" / "quality.json").read_text(encoding="utf-8")
)


@dataclass(frozen=True)
class Event:
    viewer: str
    video: str
    watch: int
    actions: tuple[bool, bool, bool, bool] = (False, False, False, False)
    day: date = DAY


@dataclass(frozen=True)
class Viewer:
    id: str
    verified: bool
    trust: float = 1.0
    day: date = date(2026, 1, 1)


@dataclass(frozen=True)
class Video:
    id: str
    length: int
    compliant: bool = True
    s_plus: float | None = 0.8
    s_tox: float | None = 0.2
    day: date = date(2026, 1, 1)


@dataclass(frozen=True)
class Platform:
    events: Sequence[Event]
    viewers: Sequence[Viewer]
    videos: Sequence[Video] = field(default_factory=lambda: [Video("v", 10_000)])


def policy(
    *, views: dict[str, Any] | None = None, epochs: dict[str, Any] | None = None, **quality: Any
) -> Policy:
    sections = {"quality": quality, "views": views or {}, "epochs": epochs or {}}
    return Policy.model_validate({"name": "test", "effective_from": date(2020, 1, 1), **sections})


PRINTED = policy()
HARDENED = policy(
    prior_mass=20,
    unverified_cap=1.5,
    unverified_allowance=2,
    views={"count": "trust", "min_watch_seconds": 2, "min_watch_fraction": 0.1},
)


@pytest.fixture
def con() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect(":memory:") as connection:
        tables = (
            schema.VIEWER_EVENTS,
            schema.VIEWERS,
            schema.VIDEOS,
            schema.VIDEO_QUALITY,
            schema.VIEWER_GROUPS,
            schema.GROUP_WEIGHTS,
        )
        for table in tables:
            connection.execute(table.ddl())
        yield connection


def insert(
    con: duckdb.DuckDBPyConnection, table: str, columns: str, rows: list[tuple[Any, ...]]
) -> None:
    con.execute(f"DELETE FROM {table}")
    if rows:
        values = ", ".join(["unnest(?)"] * len(rows[0]))
        con.execute(
            f"INSERT INTO {table} ({columns}) SELECT {values}",
            [list(column) for column in zip(*rows, strict=True)],
        )


def flag_repeats(con: duckdb.DuckDBPyConnection) -> None:
    """What the loader does: say of each session whether its viewer has another one on the video
    that day.
    """
    con.execute("""UPDATE viewer_events SET repeated = n > 1 FROM
           (SELECT day, video_id, viewer_id, count(*) AS n FROM viewer_events GROUP BY ALL) AS pair
           WHERE (viewer_events.day, viewer_events.video_id, viewer_events.viewer_id) = (pair.day,
           pair.video_id, pair.viewer_id)""")


def load(con: duckdb.DuckDBPyConnection, platform: Platform) -> None:
    insert(
        con,
        "viewer_events",
        "day, event_id, ts, viewer_id, video_id, watch_ms, liked, commented, shared, followed,"
        " source",
        [
            (e.day, f"e{i}", e.day, e.viewer, e.video, e.watch, *e.actions, "landing")
            for i, e in enumerate(platform.events)
        ],
    )
    flag_repeats(con)
    insert(
        con,
        "viewers",
        "day, viewer_id, verified, trust, source",
        [(v.day, v.id, v.verified, v.trust, "landing") for v in platform.viewers],
    )
    insert(
        con,
        "videos",
        "day, video_id, creator_id, length_ms, categories, compliant, s_plus, s_tox, source",
        [
            (v.day, v.id, f"c-{v.id}", v.length, [], v.compliant, v.s_plus, v.s_tox, "landing")
            for v in platform.videos
        ],
    )


def score(
    con: duckdb.DuckDBPyConnection, platform: Platform, how: Policy, day: date = DAY
) -> dict[str, dict[str, Any]]:
    load(con, platform)
    return scored(con, how, day)


def scored(
    con: duckdb.DuckDBPyConnection, how: Policy, day: date = DAY
) -> dict[str, dict[str, Any]]:
    relation = score_videos(con, day, how)
    rows = [dict(zip(relation.columns, row, strict=True)) for row in relation.fetchall()]
    assert len({row["video_id"] for row in rows}) == len(rows)
    return {row["video_id"]: row for row in rows}


def half_up(x: Fraction) -> int:
    return math.floor(x + Fraction(1, 2))


def reference(
    platform: Platform, how: Policy, day: date = DAY, weights: Mapping[str, Fraction] | None = None
) -> dict[str, dict[str, Any]]:
    """The same score from its definition: exact fractions up to the logarithms and powers, no SQL,
    no shared code.

    `weights` are those of the viewers' groups, under UIR.
    """
    q = how.quality
    first = day - timedelta(days=q.window_days - 1)
    viewers = {v.id: v for v in sorted(platform.viewers, key=lambda v: v.day) if v.day <= day}
    videos = {v.id: v for v in sorted(platform.videos, key=lambda v: v.day) if v.day <= day}
    sessions: dict[str, dict[str, list[Event]]] = defaultdict(lambda: defaultdict(list))
    for e in platform.events:
        if first <= e.day <= day and e.video in videos:
            sessions[e.video][e.viewer].append(e)

    names = ("mass", "watch", *ACTIONS, "rewatch", "views", "unweighted")
    tiers: dict[str, dict[bool, dict[str, Fraction]]] = {}
    for video, by_viewer in sessions.items():
        length = videos[video].length
        tiers[video] = {
            True: dict.fromkeys(names, Fraction(0)),
            False: dict.fromkeys(names, Fraction(0)),
        }
        for viewer, events in by_viewer.items():
            known = viewers.get(viewer)
            verified = known is not None and known.verified
            alpha = exact(q.trust_verified if verified else q.trust_unverified)
            w = Fraction(half_up(alpha * exact(known.trust if known else 1.0) * 10**6), 10**6)
            sums = tiers[video][verified]
            sums["mass"] += w
            sums["watch"] += w * min(Fraction(1), Fraction(max(e.watch for e in events), length))
            for i, action in enumerate(ACTIONS):
                sums[action] += w * any(e.actions[i] for e in events)
            sums["rewatch"] += w * (sum(e.watch for e in events) > length)
            today = [e.watch for e in events if e.day == day]
            least = min(exact(how.views.min_watch_seconds) * 1000, Fraction(length))
            if today and max(today) >= max(least, exact(how.views.min_watch_fraction) * length):
                counted = w if how.views.count == "trust" else Fraction(1)
                weight = (weights or {}).get(viewer, Fraction(1)) if known else Fraction(1)
                sums["unweighted"] += counted
                sums["views"] += Fraction(half_up(counted * weight * 10**6), 10**6)

    def total(name: str, verified: bool) -> Fraction:
        return sum((t[verified][name] for t in tiers.values()), Fraction(0))

    everything = total("mass", True) + total("mass", False)
    prior = {
        n: (total(n, True) + total(n, False)) / everything if everything else Fraction(0)
        for n in names
    }
    # the query sums completed viewing in billionths of a viewer
    completed = sum(half_up(sums["watch"] * 10**9) for t in tiers.values() for sums in t.values())
    prior["watch"] = Fraction(completed, 10**9) / everything if everything else Fraction(0)

    result = {}
    for video, t in tiers.items():
        v = videos[video]
        big_v, big_u, k = t[True]["mass"], t[False]["mass"], Fraction(1)
        if math.isfinite(q.unverified_cap) and big_u and total("mass", True):
            rho = total("mass", False) / total("mass", True)
            k = min(
                k,
                exact(q.unverified_cap)
                * rho
                * (big_v + exact(q.unverified_allowance) * exact(q.trust_verified))
                / big_u,
            )
        both = {n: t[True][n] + k * t[False][n] for n in names}
        m = exact(q.prior_mass)
        rate = {
            n: (both[n] + m * prior[n]) / (both["mass"] + m) if both["mass"] + m else Fraction(0)
            for n in names
        }
        beta = q.action_weights
        engagement = sum(
            (
                exact(b) * rate[a]
                for a, b in zip(
                    ACTIONS, (beta.like, beta.comment, beta.share, beta.follow), strict=True
                )
            ),
            Fraction(0),
        )
        acts = sum((rate[a] for a in ACTIONS), Fraction(0))
        shares = [float(rate[a] / acts) for a in ACTIONS if rate[a]]
        s_plus, s_tox = (
            (q.neutral_s_plus if v.s_plus is None else v.s_plus),
            (q.neutral_s_tox if v.s_tox is None else v.s_tox),
        )
        part = {
            "watch": float(rate["watch"]),
            "engagement": float(min(engagement, Fraction(1))),
            "diversity": math.fsum(-p * math.log(p) for p in shares) / math.log(4),
            "rewatch": float(rate["rewatch"]),
            "safety": float(
                max(Fraction(0), exact(s_plus) - exact(q.toxicity_penalty) * exact(s_tox))
            ),
        }
        quality = (
            min(1.0, math.prod(part[name] ** phi for name, phi in q.exponents))
            if v.compliant
            else 0.0
        )
        result[video] = {
            "day": day,
            "video_id": video,
            "creator_id": f"c-{video}",
            "compliant": v.compliant,
            "viewers": len(sessions[video]),
            "qualified_views": float(both["views"]),
            "trust_mass": float(both["mass"]),
            "unverified_scale": float(k),
            "group_weight": (
                float(both["views"] / both["unweighted"]) if both["unweighted"] else 1.0
            ),
            **part,
            "quality": quality,
            "effective_views": float(both["views"]) * quality,
            "safety_source": {
                (False, False): "given",
                (False, True): "only s_plus",
                (True, False): "only s_tox",
                (True, True): "neutral",
            }[v.s_plus is None, v.s_tox is None],
            "policy_hash": how.hash,
        }
    return result


def assert_same(
    got: dict[str, dict[str, Any]], want: dict[str, dict[str, Any]], rel: float = 1e-12
) -> None:
    assert got.keys() == want.keys()
    for video, row in want.items():
        for name, value in row.items():
            if isinstance(value, float):
                # a component that is 0 must be 0: its root would not be small
                assert got[video][name] == pytest.approx(value, rel=rel, abs=0), (video, name)
            else:
                assert got[video][name] == value, (video, name)


# --- the document's formula
# -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES, ids=[c["name"] for c in CASES])
def test_reference_cases(con: duckdb.DuckDBPyConnection, case: dict[str, Any]) -> None:
    """Seconds are taken times 10^6, so that 10.000001 s is an integer; only ratios of times enter
    the score.
    """
    viewers, events = {}, []
    for i, e in enumerate(case["events"]):
        # "NOT deduped" shows what counting every row as a viewer would give: so give every row a
        # viewer
        name = e["viewer"] if case["dedupe"] else f"{e['viewer']}{i}"
        viewers[name] = Viewer(name, bool(e["verified"]))
        events.append(
            Event(
                name,
                "v",
                round(Fraction(str(e["t"])) * 10**6),
                (bool(e["l"]), bool(e["c"]), bool(e["s"]), bool(e["f"])),
            )
        )
    p = case["params"]
    how = policy(
        trust_verified=p["alpha_ver"],
        trust_unverified=p["alpha_unver"],
        toxicity_penalty=p["tau"],
        action_weights={
            "like": p["beta"]["l"],
            "comment": p["beta"]["c"],
            "share": p["beta"]["s"],
            "follow": p["beta"]["f"],
        },
        exponents={
            "watch": p["phi"]["W"],
            "engagement": p["phi"]["E"],
            "diversity": p["phi"]["D"],
            "rewatch": p["phi"]["R"],
            "safety": p["phi"]["S"],
        },
    )
    video = Video("v", case["length"] * 10**6, bool(case["C"]), case["s_pos"], case["s_tox"])
    row = score(con, Platform(events, list(viewers.values()), [video]), how)["v"]
    want = case["expected"]
    assert row["viewers"] == want["n_viewers"]
    names = {
        "W": "watch",
        "E": "engagement",
        "D": "diversity",
        "R": "rewatch",
        "S": "safety",
        "Q": "quality",
    }
    assert {s: row[n] for s, n in names.items()} == pytest.approx(
        {s: want[s] for s in names}, rel=1e-12, abs=0
    )
    assert row["effective_views"] == row["qualified_views"] * row["quality"]


def test_repeats_of_a_viewer_are_one_row(con: duckdb.DuckDBPyConnection) -> None:
    once = Event("a", "v", 6_000, (True, True, False, False))
    parts = [
        Event("a", "v", 6_000, (True, False, False, False)),
        Event("a", "v", 3_000, (True, True, False, False)),
        Event("a", "v", 0),
    ]
    viewers = [Viewer("a", True)]
    whole, split = (
        score(con, Platform([once], viewers), PRINTED)["v"],
        score(con, Platform(parts, viewers), PRINTED)["v"],
    )
    assert split == whole
    assert split["viewers"] == 1
    # 6 + 3 + 1 s is the length: not more, so no rewatch; a millisecond later it is one
    more = [*parts, Event("a", "v", 1_000)]
    assert score(con, Platform(more, viewers), PRINTED)["v"]["rewatch"] == 0
    assert score(con, Platform([*more, Event("a", "v", 1)], viewers), PRINTED)["v"]["rewatch"] == 1


def test_exponent_zero_makes_a_zero_component_one(con: duckdb.DuckDBPyConnection) -> None:
    how = policy(exponents={"watch": 1, "engagement": 0, "diversity": 0, "rewatch": 0, "safety": 0})
    row = score(con, Platform([Event("a", "v", 5_000)], [], [Video("v", 10_000, s_plus=0.0)]), how)[
        "v"
    ]
    assert (row["engagement"], row["diversity"], row["rewatch"], row["safety"]) == (0, 0, 0, 0)
    assert row["quality"] == 0.5


def test_safety_that_is_zero_on_paper_is_zero(con: duckdb.DuckDBPyConnection) -> None:
    assert 0.07 - 0.1 * 0.7 != 0
    platform = Platform([Event("a", "v", 5)], [], [Video("v", 5, s_plus=0.07, s_tox=0.7)])
    assert score(con, platform, policy(toxicity_penalty=0.1))["v"]["safety"] == 0


def test_neutral_safety(con: duckdb.DuckDBPyConnection) -> None:
    videos = [
        Video("both", 9),
        Video("plus", 9, s_tox=None),
        Video("tox", 9, s_plus=None),
        Video("none", 9, s_plus=None, s_tox=None),
    ]
    got = score(
        con,
        Platform([Event("a", v.id, 5) for v in videos], [], videos),
        policy(neutral_s_plus=0.6, neutral_s_tox=0.4),
    )
    assert {v: (r["safety"], r["safety_source"]) for v, r in got.items()} == {
        "both": (0.7, "given"),
        "plus": (0.6, "only s_plus"),
        "tox": (0.5, "only s_tox"),
        "none": (0.4, "neutral"),
    }


# --- against the definition, on platforms hypothesis draws
# ------------------------------------------------------------

days = st.integers(0, 4).map(lambda n: DAY + timedelta(days=1 - n))
viewer_ids = st.sampled_from([f"u{i}" for i in range(6)])
video_ids = st.sampled_from(["v0", "v1", "v2"])
scores = st.none() | st.sampled_from([0.0, 0.07, 0.35, 0.7, 0.8, 1.0])


@st.composite
def platforms(draw: st.DrawFn) -> Platform:
    events = draw(
        st.lists(
            st.builds(
                Event,
                viewer_ids,
                video_ids,
                st.integers(0, 40) | st.just(10**8),
                st.tuples(*[st.booleans()] * 4),
                days | st.just(DAY),
            ),
            max_size=24,
        )
    )
    viewers = draw(
        st.lists(
            st.builds(
                Viewer,
                viewer_ids,
                st.booleans(),
                st.sampled_from([0.0, 0.25, 0.333, 0.9, 1.0]),
                days,
            ),
            max_size=8,
            unique_by=lambda v: (v.id, v.day),
        )
    )
    videos = draw(
        st.lists(
            st.builds(
                Video,
                video_ids,
                st.integers(1, 30) | st.just(10**7),
                st.booleans() | st.just(True),
                scores,
                scores,
                days,
            ),
            max_size=6,
            unique_by=lambda v: (v.id, v.day),
        )
    )
    return Platform(events, viewers, videos)


def policies() -> st.SearchStrategy[Policy]:
    quality = st.fixed_dictionaries(
        {
            "window_days": st.integers(1, 3),
            "trust_verified": st.sampled_from([1.0, 0.95]),
            "trust_unverified": st.sampled_from([0.8, 0.125]),
            "toxicity_penalty": st.sampled_from([0.0, 0.1, 0.5, 1.0]),
            "prior_mass": st.sampled_from([0.0, 0.3, 20.0]),
            "unverified_cap": st.sampled_from([math.inf, 0.2, 1.5]),
            "unverified_allowance": st.sampled_from([0.0, 2.0]),
            "action_weights": st.sampled_from(
                [{}, {"like": 1.0, "comment": 0.0, "share": 0.0, "follow": 0.0}]
            ),
            "exponents": st.sampled_from(
                [
                    {},
                    {
                        "watch": 0.5,
                        "engagement": 0.5,
                        "diversity": 0.0,
                        "rewatch": 0.0,
                        "safety": 0.0,
                    },
                ]
            ),
        }
    )
    views = st.fixed_dictionaries(
        {
            "count": st.sampled_from(["heads", "trust"]),
            "min_watch_seconds": st.sampled_from([0.0, 0.0041, 0.01, 3.1]),
            "min_watch_fraction": st.sampled_from([0.0, 0.1, 0.3, 0.5, 1.0]),
        }
    )
    return st.builds(lambda q, v: policy(views=v, **q), quality, views)


@settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(platforms(), policies())
def test_every_number_matches_the_definition(
    con: duckdb.DuckDBPyConnection, platform: Platform, how: Policy
) -> None:
    assert_same(score(con, platform, how), reference(platform, how))


def put_in_groups(
    con: duckdb.DuckDBPyConnection,
    groups: Mapping[str, tuple[str, str]],
    weights: Mapping[str, float],
) -> None:
    """Groups and arms of viewers, and the weights that hold on the day, next to those of yesterday,
    which do not.
    """
    con.execute("DELETE FROM viewer_groups; DELETE FROM group_weights")
    before = DAY - timedelta(days=1)
    for viewer, (group, arm) in groups.items():
        con.execute(
            "INSERT INTO viewer_groups VALUES (?, ?, 'elsewhere', ?, 'all')",
            [before, viewer, before],
        )
        con.execute(
            "INSERT INTO viewer_groups VALUES (?, ?, ?, ?, ?)", [DAY, viewer, group, before, arm]
        )
    for day, factor in ((before, 3.0), (DAY, 1.0)):
        for group, weight in weights.items():
            row = [
                day,
                group,
                before,
                weight * factor,
                True,
                None,
                1,
                0.5,
                0,
                False,
                "",
                "",
                "",
                "",
            ]
            con.execute(
                "INSERT INTO group_weights VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", row
            )


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    platforms(),
    policies(),
    st.dictionaries(
        viewer_ids,
        st.tuples(st.sampled_from(["g", "h"]), st.sampled_from(["treatment", "control"])),
    ),
    st.tuples(st.sampled_from([0.2, 1 / 3, 1.0, 5.0]), st.floats(0.2, 5.0)),
)
def test_under_uir_a_view_counts_times_the_weight_of_its_viewers_group(
    con: duckdb.DuckDBPyConnection,
    platform: Platform,
    how: Policy,
    groups: dict[str, tuple[str, str]],
    weights: tuple[float, float],
) -> None:
    by_group = dict(zip("gh", weights, strict=True))
    weighted = how.model_copy(
        update={"epochs": Epochs(mechanism="uir", experiment=Experiment(salt="a"))}
    )
    put_in_groups(con, groups, by_group)
    treated = {
        v: Fraction(half_up(Fraction(by_group[g]) * 10**6), 10**6)
        for v, (g, arm) in groups.items()
        if arm == "treatment"
    }
    assert_same(score(con, platform, weighted), reference(platform, weighted, weights=treated))
    # without a mechanism, and under those that only change what is shown, nobody looks at weights
    plain = reference(platform, how)
    for mechanism in ("none", "smt", "hmt"):
        other = how.model_copy(update={"epochs": Epochs(mechanism=mechanism)})
        found = scored(con, other)
        assert_same(
            found, {video: {**row, "policy_hash": other.hash} for video, row in plain.items()}
        )


def test_without_a_mechanism_the_query_does_not_mention_weights() -> None:
    plain, weighted = (score_query(DAY, policy(epochs={"mechanism": m})) for m in ("none", "uir"))
    assert "group_weights" not in plain.sql
    assert "control" not in plain.parameters
    assert "group_weights" in weighted.sql


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(platforms())
def test_neutral_knobs_leave_the_printed_formula(
    con: duckdb.DuckDBPyConnection, platform: Platform
) -> None:
    """As printed: weights normalised per video, no prior, no cap, heads counted. Written out once
    more, in floats.
    """
    for video, row in score(con, platform, PRINTED).items():
        known = {v.id: v for v in sorted(platform.viewers, key=lambda v: v.day) if v.day <= DAY}
        length = max(
            (v for v in platform.videos if v.id == video and v.day <= DAY), key=lambda v: v.day
        ).length
        mine = [e for e in platform.events if e.video == video and e.day == DAY]
        audience = sorted({e.viewer for e in mine})
        raw = [
            (1.0 if known[i].verified else 0.8) * known[i].trust if i in known else 0.8
            for i in audience
        ]
        if not sum(raw):
            continue
        w = [x / sum(raw) for x in raw]
        watch = math.fsum(
            x * min(1, max(e.watch for e in mine if e.viewer == i) / length)
            for i, x in zip(audience, w, strict=True)
        )
        assert row["watch"] == pytest.approx(watch, rel=1e-12)
        assert row["qualified_views"] == row["viewers"] == len(audience)
        assert row["unverified_scale"] == 1


# --- windows and snapshots
# --------------------------------------------------------------------------------------------


def test_window_looks_back_but_counts_the_day(con: duckdb.DuckDBPyConnection) -> None:
    before, early = DAY - timedelta(days=2), DAY - timedelta(days=3)
    events = [
        Event("a", "v", 4_000, (True, False, False, False), before),
        Event("a", "v", 7_000, (False, False, True, False)),
        Event("b", "old", 5_000, day=before),
        Event("c", "v", 9_000, day=early),
        Event("d", "v", 9_000, day=DAY + timedelta(days=1)),
    ]
    platform = Platform(events, [Viewer("a", True)], [Video("v", 10_000), Video("old", 10_000)])
    got = score(con, platform, policy(window_days=3))
    assert (got["v"]["viewers"], got["v"]["watch"], got["v"]["rewatch"], got["v"]["diversity"]) == (
        1,
        0.7,
        1,
        0.5,
    )
    assert (got["v"]["qualified_views"], got["old"]["qualified_views"], got["old"]["viewers"]) == (
        1,
        0,
        1,
    )
    assert score(con, platform, PRINTED).keys() == {"v"}
    assert_same(got, reference(platform, policy(window_days=3)))


def test_longest_session_of_the_day_decides_a_qualified_view(
    con: duckdb.DuckDBPyConnection,
) -> None:
    how = policy(window_days=2, views={"min_watch_seconds": 5})
    events = [
        Event("a", "v", 9_000, day=DAY - timedelta(days=1)),
        Event("a", "v", 3_000),
        Event("a", "v", 3_000),
    ]
    assert score(con, Platform(events, []), how)["v"]["qualified_views"] == 0
    assert (
        score(con, Platform([*events, Event("a", "v", 5_000)], []), how)["v"]["qualified_views"]
        == 1
    )
    # a video shorter than the minimum is a view when it was watched whole
    assert (
        score(con, Platform([Event("a", "v", 3_000)], [], [Video("v", 3_000)]), how)["v"][
            "qualified_views"
        ]
        == 1
    )


def test_minimum_fraction_is_decimal(con: duckdb.DuckDBPyConnection) -> None:
    """0.1 * 30 is 3.0000000000000004 in binary; three of thirty milliseconds are a tenth all the
    same.
    """
    for length, watch in [(30, 3), (10**7, 10**6)]:
        platform = Platform(
            [Event("a", "v", watch), Event("b", "v", watch - 1)], [], [Video("v", length)]
        )
        assert (
            score(con, platform, policy(views={"min_watch_fraction": 0.1}))["v"]["qualified_views"]
            == 1
        )


def test_snapshot_in_force(con: duckdb.DuckDBPyConnection) -> None:
    later = DAY + timedelta(days=1)
    viewers = [
        Viewer("a", True, 1.0, date(2026, 1, 1)),
        Viewer("a", False, 0.5, DAY),
        Viewer("a", True, 1.0, later),
    ]
    platform = Platform(
        [Event("a", "v", 10), Event("a", "w", 10)],
        viewers,
        [Video("v", 10), Video("v", 20, day=DAY), Video("w", 10, day=later)],
    )
    got = score(con, platform, PRINTED)
    assert got.keys() == {"v"}
    assert (got["v"]["watch"], got["v"]["trust_mass"]) == (0.5, 0.4)


def test_nothing_watched(con: duckdb.DuckDBPyConnection) -> None:
    assert score(con, Platform([], [Viewer("a", True)]), HARDENED) == {}


def test_viewers_without_trust(con: duckdb.DuckDBPyConnection) -> None:
    """A video nobody trusted watched scores 0 without a prior, and the platform's own rates with
    one.
    """
    platform = Platform(
        [Event("a", "v", 10_000, (True,) * 4), Event("b", "w", 20_000, (True,) * 4)],
        [Viewer("a", True, 0.0), Viewer("b", True)],
        [Video("v", 10_000, s_plus=1.0, s_tox=0.0), Video("w", 10_000)],
    )
    assert score(con, platform, PRINTED)["v"]["quality"] == 0
    assert score(con, platform, policy(prior_mass=20))["v"]["quality"] == 1


# --- determinism and engines
# ------------------------------------------------------------------------------------------


def synthetic(con: duckdb.DuckDBPyConnection, events: int, seed: str) -> None:
    con.execute(
        """INSERT INTO viewers BY NAME SELECT DATE '2026-01-01' AS day, 'u' || i AS viewer_id,
            i % 5 = 0 AS verified,
           (hash(i) % 1000) / 1000.0 AS trust, 'landing' AS source FROM range(3000) t(i)"""
    )
    con.execute("""INSERT INTO videos BY NAME SELECT DATE '2026-01-01' AS day, 'v' || i AS video_id,
            'c' AS creator_id, 5000 + 37 * i AS length_ms,
           [] AS categories, true AS compliant, 'landing' AS source FROM range(500) t(i)""")
    con.execute(
        f"""INSERT INTO viewer_events BY NAME SELECT $day AS day, 'e' || i AS event_id,
            CAST($day AS TIMESTAMP) AS ts,
            'u' || (hash(i * 3) % 3300) AS viewer_id, 'v' || (hash(i * 5) % 500) AS video_id,
            hash(i * 7) % 40000 AS watch_ms,
            hash(i * 11) % 9 = 0 AS liked, hash(i * 13) % 50 = 0 AS commented,
            hash(i * 17) % 60 = 0 AS shared,
            hash(i * 19) % 99 = 0 AS followed, 'landing' AS source
            FROM range({events}) t(i) ORDER BY hash(i || $seed)""",
        {"day": DAY, "seed": seed},
    )


def test_row_order_and_threads_do_not_move_a_bit(con: duckdb.DuckDBPyConnection) -> None:
    tables = []
    for threads, seed in [(1, "a"), (2, "a"), (2, "b")]:
        con.execute(
            "DELETE FROM viewer_events; DELETE FROM viewers; DELETE FROM videos; SET threads ="
            f" {threads}"
        )
        synthetic(con, 300_000, seed)
        frame = score_videos(con, DAY, HARDENED).df().sort_values("video_id").reset_index(drop=True)
        assert frame["unverified_scale"].between(0, 1).all()
        tables.append(frame)
    pd.testing.assert_frame_equal(tables[0], tables[1], check_exact=True)
    pd.testing.assert_frame_equal(tables[0], tables[2], check_exact=True)


def test_result_fits_the_table(con: duckdb.DuckDBPyConnection) -> None:
    load(con, Platform([Event("a", "v", 5_000)], []))
    relation = score_videos(con, DAY, HARDENED)
    assert [(c, str(t)) for c, t in zip(relation.columns, relation.types, strict=True)] == [
        (c.name, c.type) for c in schema.VIDEO_QUALITY.columns
    ]
    query = score_query(DAY, HARDENED)
    con.execute("INSERT INTO video_quality BY NAME " + query.sql, dict(query.parameters))
    assert con.sql("SELECT count(*) FROM video_quality").fetchone() == (1,)


def test_sums_do_not_overflow(con: duckdb.DuckDBPyConnection) -> None:
    """120,000 viewers who watch a whole day: more than 2^63 millionths of a millisecond."""
    con.execute(
        f"""INSERT INTO viewer_events BY NAME SELECT $day AS day, 'e' || i AS event_id,
            CAST($day AS TIMESTAMP) AS ts,
            'u' || i AS viewer_id, 'v' AS video_id, {schema.ABSURD_WATCH_MS} AS watch_ms,
            true AS liked, true AS commented,
            true AS shared, true AS followed, 'landing' AS source FROM range(120000) t(i)""",
        {"day": DAY},
    )
    con.execute(
        f"""INSERT INTO videos BY NAME SELECT $day AS day, 'v' AS video_id, 'c' AS creator_id,
            {schema.ABSURD_WATCH_MS} AS length_ms,
            [] AS categories, true AS compliant, 'landing' AS source""",
        {"day": DAY},
    )
    row = scored(con, policy(trust_unverified=1.0))["v"]
    assert (row["watch"], row["trust_mass"], row["rewatch"]) == (1.0, 120_000.0, 0.0)


@pytest.mark.parametrize("mechanism", ["none", "uir"])
def test_the_query_in_two_gives_the_same_bits(
    con: duckdb.DuckDBPyConnection, mechanism: str
) -> None:
    """Sums first, scores of them afterwards; what goes from one to the other is whole numbers only."""
    events, viewers = zip(*(crowd(f"v{n}", 20 + n) for n in range(9)), strict=True)
    videos = [Video(f"v{n}", 7_000 + 13 * n) for n in range(9)]
    load(
        con,
        Platform(
            [e for some in events for e in some], [v for some in viewers for v in some], videos
        ),
    )
    how = HARDENED.model_copy(update={"epochs": Epochs(mechanism=mechanism)})
    query, sums, scores = (make(DAY, how) for make in (score_query, tier_query, score_of_sums))
    at_once = con.sql(query.sql, params=dict(query.parameters)).order("video_id").fetchall()
    tier = con.sql(sums.sql, params=dict(sums.parameters))
    assert {str(t).split("(")[0] for t in tier.types} == {
        "VARCHAR",
        "BOOLEAN",
        "BIGINT",
        "HUGEINT",
        "DECIMAL",
    }
    assert all(str(t).endswith(",0)") for t in tier.types if "DECIMAL" in str(t))
    tier.create("tier")
    con.execute("DELETE FROM viewer_events")
    assert (
        con.sql(scores.sql, params=dict(scores.parameters)).order("video_id").fetchall() == at_once
    )
    assert len(at_once) == 9


def test_who_adds_up(con: duckdb.DuckDBPyConnection) -> None:
    before = DAY - timedelta(days=1)
    load(con, Platform([Event("u", "v", 1), Event("w", "v", 1, day=before)], []))
    weekly = policy(window_days=7)
    assert score_engine(con, DAY, PRINTED, Settings()) == "duckdb"
    assert score_engine(con, DAY, PRINTED, Settings(score_engine="spark")) == "spark"
    by_size = Settings(score_engine="auto", spark=Spark(from_events=2))
    assert [score_engine(con, DAY, how, by_size) for how in (PRINTED, weekly)] == [
        "duckdb",
        "spark",
    ]
    by_day = Settings(score_engine="auto", spark=Spark(days=(before,)))
    assert [score_engine(con, day, PRINTED, by_day) for day in (before, DAY)] == ["spark", "duckdb"]


def test_spark_that_is_not_installed(
    con: duckdb.DuckDBPyConnection, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ["pyspark", *(name for name in sys.modules if name.startswith("pyspark."))]:
        monkeypatch.setitem(sys.modules, name, None)
    with (
        pytest.raises(SparkError, match=r"is not installed.*make spark.*score_engine"),
        score_on_spark(con, DAY, PRINTED, Home.at(tmp_path)),
    ):
        pass
    assert not list((tmp_path / ".spark").iterdir())


# --- what the knobs are for (docs/formulas.md section 1)
# ------------------------------------------------------------------------


def crowd(video: str, n: int, *, verified_every: int = 5) -> tuple[list[Event], list[Viewer]]:
    """Honest viewers, one in `verified_every` verified; actions at fixed strides, so that the
    sample has no luck in it.
    """
    events = [
        Event(
            f"{video}-{i}",
            video,
            3_000 + 1_000 * (i % 10),
            (i % 4 == 1, i % 10 == 2, i % 14 == 3, i % 20 == 4),
        )
        for i in range(n)
    ]
    return events, [Viewer(f"{video}-{i}", i % verified_every == 0) for i in range(n)]


def bots(
    video: str, n: int, actions: tuple[bool, bool, bool, bool], watch: int = 20_000
) -> list[Event]:
    return [Event(f"bot-{i}", video, watch, actions) for i in range(n)]


def attacked(attack: list[Event]) -> Platform:
    events, viewers = [], []
    for v in range(20):
        e, u = crowd(f"v{v}", 100)
        events += e
        viewers += u
    return Platform(events + attack, viewers, [Video(f"v{v}", 10_000) for v in range(20)])


def gain(con: duckdb.DuckDBPyConnection, attack: list[Event], how: Policy) -> float:
    """What the attack multiplies the effective views of video v0 by."""
    before, after = (score(con, attacked(a), how)["v0"]["effective_views"] for a in ([], attack))
    return float(after / before)


def test_lower_unverified_trust_pays_like_bots_more_as_printed(
    con: duckdb.DuckDBPyConnection,
) -> None:
    likes = bots("v0", 100, (True, False, False, False))
    assert (
        gain(con, likes, policy(trust_unverified=0.2))
        > gain(con, likes, policy(trust_unverified=0.8))
        > 1
    )


def test_hardened_takes_the_profit_out_of_bots(con: duckdb.DuckDBPyConnection) -> None:
    full = (True, True, True, True)
    for actions in (full, (True, False, False, False)):
        attack = bots("v0", 300, actions)
        assert gain(con, attack, HARDENED) < gain(con, attack, PRINTED) / 2
    assert gain(con, bots("v0", 300, full), PRINTED) > 8
    # bots that do not watch are no views, and only dilute
    assert (
        gain(con, bots("v0", 300, full, watch=0), policy(views={"min_watch_seconds": 2}))
        < gain(con, bots("v0", 300, full, 0), PRINTED) / 3
    )


def test_cap_bounds_bots_and_spares_honest_videos(con: duckdb.DuckDBPyConnection) -> None:
    how = policy(unverified_cap=1.5, unverified_allowance=2)
    honest = score(con, attacked([]), how)
    assert {row["unverified_scale"] for row in honest.values()} == {1.0}
    real = honest["v0"]["trust_mass"]
    bot = score(con, attacked(bots("v0", 1000, (True,) * 4)), how)
    assert bot["v0"]["unverified_scale"] < 0.2
    assert bot["v0"]["trust_mass"] < 2.5 * real  # without the cap: 9.5 times
    assert all(bot[f"v{v}"]["trust_mass"] == real for v in range(1, 20))


def test_prior_mass_spares_small_videos_from_zero(con: duckdb.DuckDBPyConnection) -> None:
    events, viewers = [], []
    for v in range(30):
        e, u = crowd(f"v{v}", 200)
        events += [
            Event(x.viewer, x.video, x.watch * 2 if i % 7 == 0 else x.watch, x.actions)
            for i, x in enumerate(e)
        ][v * 6 : v * 6 + 6]
        viewers += u
    platform = Platform(events, viewers, [Video(f"v{v}", 10_000) for v in range(30)])
    printed, with_prior = score(con, platform, PRINTED), score(con, platform, policy(prior_mass=20))
    assert sum(row["quality"] == 0 for row in printed.values()) > 30 / 4
    assert all(row["quality"] > 0 for row in with_prior.values())


def test_repeated_sessions_need_not_be_flagged(con: duckdb.DuckDBPyConnection) -> None:
    """An event nobody flagged is rolled up with the others: the flag saves time and decides
    nothing.
    """
    con.execute(
        """INSERT INTO viewers BY NAME SELECT DATE '2026-01-01' AS day, 'u' || i AS viewer_id,
            i % 3 = 0 AS verified, 1 AS trust,
           'landing' AS source FROM range(40) t(i)"""
    )
    con.execute("""INSERT INTO videos BY NAME SELECT DATE '2026-01-01' AS day, 'v' || i AS video_id,
            'c' AS creator_id, 20000 AS length_ms,
           [] AS categories, true AS compliant, 'landing' AS source FROM range(5) t(i)""")
    con.execute(
        """INSERT INTO viewer_events BY NAME SELECT DATE '2026-01-01' AS day, 'e' || i AS event_id,
            TIMESTAMP '2026-01-01' AS ts,
           'u' || (hash(i) % 40) AS viewer_id, 'v' || (hash(i + 7) % 5) AS video_id,
           hash(i + 3) % 30000 AS watch_ms,
           i % 4 = 0 AS liked, i % 9 = 0 AS commented, i % 11 = 0 AS shared, i % 13 = 0 AS followed,
           'landing' AS source
           FROM range(500) t(i)"""
    )
    policy = Policy(name="default", effective_from=date(2026, 1, 1))
    unflagged = score_videos(con, date(2026, 1, 1), policy).order("video_id").fetchall()
    flag_repeats(con)
    assert con.execute("SELECT count(DISTINCT repeated) FROM viewer_events").fetchall() == [(2,)]
    assert score_videos(con, date(2026, 1, 1), policy).order("video_id").fetchall() == unflagged
