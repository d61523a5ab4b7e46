"""Events to quality scores: the queries that add up the day's events and score videos by mass, and
their parameters.

The formulas are SQL and stand there once: `video.sql`, `reward.sql`, `tier.sql`, `score.sql`, each
a part of one WITH that is joined here. What belongs here: which parts a policy takes, and turning
it into their parameters. What does not: scores by evidence (`evidence.py`), creating or writing
tables (`store/warehouse.py`), paying anybody.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Literal

import duckdb

from pipelines.policy import Policy, exact
from pipelines.settings import Settings
from pipelines.sql import query

Parameter = date | float | int | str | bool | Decimal | None

_NO_REWARD = """reward AS (
    SELECT CAST(NULL AS VARCHAR) AS viewer_id, CAST(NULL AS BIGINT) AS weight WHERE FALSE
)"""
"""Without a mechanism: no group has a weight of its own, so every view counts once."""


@dataclass(frozen=True)
class Query:
    """One statement and its named parameters: `con.execute("INSERT INTO video_quality BY NAME " +
    q.sql, dict(q.parameters))`.
    """

    sql: str
    parameters: Mapping[str, Parameter]

    @classmethod
    def of(cls, *parts: str, parameters: Mapping[str, Parameter]) -> Query:
        """One WITH of the parts, the last of which ends with what is asked; those of the parameters
        that they name, because DuckDB refuses others.

        >>> made = Query.of("a AS (SELECT $n)", "b AS (FROM a) FROM b", parameters={"n": 1, "m": 2})
        >>> made.sql.split(), dict(made.parameters)
        (['WITH', 'a', 'AS', '(SELECT', '$n),', 'b', 'AS', '(FROM', 'a)', 'FROM', 'b'], {'n': 1})
        """
        sql = "WITH\n" + ",\n\n".join(part.rstrip() for part in parts)
        wanted = set(re.findall(r"\$(\w+)", sql))
        return cls(sql, {name: value for name, value in parameters.items() if name in wanted})


def tier_query(day: date, policy: Policy) -> Query:
    """The sums over the events of the window, a row per video and tier of viewers: whole numbers.

    An engine that adds these up hands exact numbers on, so logarithms and powers, whose last digit
    differs from one library to the next, are taken by DuckDB only (`score_of_sums`, `evidence`).
    """
    return Query.of(
        query("quality/video"),
        _reward(policy),
        query("quality/tier") + "SELECT * FROM tier",
        parameters=parameters_of(day, policy),
    )


def score_of_sums(day: date, policy: Policy) -> Query:
    """The scores by mass, made of a table `tier` of the sums that `tier_query` gives."""
    return Query.of(
        query("quality/video"), query("quality/score"), parameters=parameters_of(day, policy)
    )


def score_query(day: date, policy: Policy) -> Query:
    r"""The query that scores every video watched in the window `[day - window_days + 1, day]`.

    With one row per viewer $i$ of video $v$ ($t_i$ longest session, actions OR-ed, $r_i = 1$ where
    the total exceeds the length $L$), trust $w_i = \alpha \cdot \text{trust}_i$, and $w_i$ of the
    unverified scaled by $k$:

    $$ W = \frac{\sum w_i \min(1, t_i/L) + m W_0}{\sum w_i + m}, \quad
       A_a = \frac{\sum w_i 1_a + m A_{0a}}{\sum w_i + m}, \quad
       R = \frac{\sum w_i r_i + m R_0}{\sum w_i + m} $$
    $$ E = \sum_a \beta_a A_a, \quad D = -\sum_a p_a \log p_a / \log 4,\; p_a = A_a / \sum_b A_b,
    \quad
       S = \max(0, s^+ - \tau s^{tox}) $$
    $$ Q = C \min(1, W^{\phi_W} E^{\phi_E} D^{\phi_D} R^{\phi_R} S^{\phi_S}), \quad M = \text{views}
    \cdot Q $$
    $$ k = \min\bigl(1, \kappa \rho (V + v_0 \alpha_{ver}) / U\bigr) $$

    $V$, $U$ are the video's verified and unverified trust in viewers' worth, $\rho$ the platform's
    $\sum U / \sum V$, and $W_0, A_0, R_0$ the platform's rates, all over the window and before the
    cap. Source: the ad revenue document, section 4; the four knobs $m$, $\kappa$, trust-weighted
    views and the watch minimum: docs/formulas.md section 1. Under UIR a view of the day counts
    times the weight of its viewer's group (Yao et al., algorithm 3), rounded to the millionth;
    without it every view counts once.

    Units: trust is rounded to millionths, watch time is integer milliseconds; results are viewers'
    worth and rates in [0, 1]. Same rows in any order and on any number of threads: the same bits.

    >>> window = {"window_days": 7}
    >>> weekly = Policy(name="weekly", effective_from=date(2026, 1, 1), quality=window)
    >>> q = score_query(date(2026, 1, 7), weekly)
    >>> q.parameters["first_day"], q.parameters["unverified_cap"]
    (datetime.date(2026, 1, 1), None)
    """
    return Query.of(
        query("quality/video"),
        _reward(policy),
        query("quality/tier"),
        query("quality/score"),
        parameters=parameters_of(day, policy),
    )


def _reward(policy: Policy) -> str:
    return query("quality/reward") if policy.epochs.mechanism == "uir" else _NO_REWARD


def parameters_of(day: date, policy: Policy) -> dict[str, Parameter]:
    """All that the queries of scores take from a policy, by name."""
    q, views, epochs = policy.quality, policy.views, policy.epochs
    return {
        "day": day,
        "first_day": day - timedelta(days=q.window_days - 1),
        "by_evidence": q.prior == "evidence",
        "trust_verified": q.trust_verified,
        "trust_unverified": q.trust_unverified,
        "unknown_trust": round(q.trust_unverified * 1e6),
        "prior_mass": q.prior_mass,
        # NULL, not infinity: infinity times a video without verified viewers is not a number
        "unverified_cap": None if math.isinf(q.unverified_cap) else q.unverified_cap,
        "unverified_allowance": q.unverified_allowance,
        "toxicity_penalty": q.toxicity_penalty,
        "neutral_s_plus": q.neutral_s_plus,
        "neutral_s_tox": q.neutral_s_tox,
        "min_watch_ms": math.ceil(exact(views.min_watch_seconds) * 1000),
        "min_watch_fraction": Decimal(repr(views.min_watch_fraction)),
        "views_by_trust": views.count == "trust",
        **{f"beta_{name}": value for name, value in q.action_weights},
        **{f"phi_{name}": value for name, value in q.exponents},
        "policy_hash": policy.hash,
        "control": epochs.experiment.control if epochs.experiment else "",
    }


def score_engine(
    con: duckdb.DuckDBPyConnection, day: date, policy: Policy, settings: Settings
) -> Literal["duckdb", "spark"]:
    """Who adds up the day's events: as `score_engine` says; `auto` is Spark from
    `spark.from_events` events in the window on.
    """
    if settings.score_engine != "auto":
        return settings.score_engine
    if day in settings.spark.days:
        return "spark"
    since = day - timedelta(days=policy.quality.window_days - 1)
    (events,) = con.execute(
        "SELECT count(*) FROM viewer_events WHERE day BETWEEN ? AND ?", [since, day]
    ).fetchall()[0]
    return "spark" if events >= settings.spark.from_events else "duckdb"


def score_videos(
    con: duckdb.DuckDBPyConnection, day: date, policy: Policy
) -> duckdb.DuckDBPyRelation:
    """Score the videos watched in the window that ends on `day`; the columns are those of
    `schema.VIDEO_QUALITY`.

    Reads `viewer_events`, `viewers` and `videos` of `con`, under UIR `viewer_groups` and
    `group_weights` too; writes nothing. See `score_query` for the mathematics.
    """
    scoring = score_query(day, policy)
    return con.sql(scoring.sql, params=dict(scoring.parameters))
