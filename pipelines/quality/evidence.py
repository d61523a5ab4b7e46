"""Scores by evidence: what is known of every video of a day, the day's priors, and the queries that
make scores of both (docs/formulas.md section 1).

What belongs here: which sums are added to which, and which parameters the queries take. The fit of
a prior is in `solvers.evidence`; sums over events are those of `scoring.tier_query`.

**What a day was scored with is kept.** Sums of a day, video and tier add up, so a window of 28 days
costs what its rows cost and no event is read twice. A late event changes the sums of its own day,
and that day's scores. Days that were scored with the sums as they were keep them: these are put
aside in `evidence_history`, once, when they change. Otherwise one late event would make four weeks
of days stale and move everybody's pay by a few micros each; and evidence of earlier days is a
judgement about a video, not money that was promised. Days that were never made before a later one
was scored are another matter: then that one is stale, and `earnings run` makes it again.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import pyarrow as pa

from pipelines.policy import Policy
from pipelines.quality.scoring import Query, parameters_of, tier_query
from pipelines.schema import TABLES
from pipelines.sql import query
from pipelines.store.warehouse import Connection
from solvers.arrays import Floats
from solvers.evidence import BetaPrior, fit_prior

RATES = {
    "watch": ("seen", "completed"),
    "rewatch": ("stayed", "rewatched"),
    "like": ("acting", "liked"),
    "comment": ("acting", "commented"),
    "share": ("acting", "shared"),
    "follow": ("acting", "followed"),
}
"""Each rate: the columns of its trials and of its successes."""

_MOST = 10
"""A prior is worth at most so many times the least it may be worth: no spread may just be a
thin day.
"""

_SUMS = tuple(
    c.name for c in TABLES["video_evidence"].columns if c.name not in ("day", "policy_hash")
)


@dataclass(frozen=True)
class Priors:
    """What a day is scored with besides its own evidence."""

    of: Mapping[str, BetaPrior]
    videos: int
    viewers: float
    first_day: date
    history_days: int

    def rows(self, day: date, policy: Policy) -> pa.Table:
        """The day's rows of `quality_priors`."""
        return pa.Table.from_pylist(
            [
                {
                    "day": day,
                    "component": name,
                    "rate": prior.rate,
                    "strength": prior.strength,
                    "fitted": prior.fitted if math.isfinite(prior.fitted) else None,
                    "videos": self.videos,
                    "viewers": self.viewers,
                    "first_day": self.first_day,
                    "history_days": self.history_days,
                    "policy_hash": policy.hash,
                }
                for name, prior in self.of.items()
            ],
            schema=pa.schema(
                [
                    ("day", pa.date32()),
                    ("component", pa.string()),
                    *((name, pa.float64()) for name in ("rate", "strength", "fitted")),
                    ("videos", pa.int64()),
                    ("viewers", pa.float64()),
                    ("first_day", pa.date32()),
                    ("history_days", pa.int64()),
                    ("policy_hash", pa.string()),
                ]
            ),
        )


def sums_query(day: date, policy: Policy) -> Query:
    """The day's rows of `video_evidence`, from its events: integers."""
    sums = tier_query(day, policy)
    return Query(as_evidence(sums.sql, day, policy), sums.parameters)


def as_evidence(tier: str, day: date, policy: Policy) -> str:
    """Rows of `video_evidence` from SQL that gives `tier`."""
    return (
        f"SELECT DATE '{day}' AS day, {', '.join(_SUMS)}, '{policy.hash}' AS policy_hash"
        f" FROM ({tier}) ORDER BY video_id, verified"
    )


def since(day: date, policy: Policy) -> date:
    """The first day whose evidence counts on `day`."""
    return day - timedelta(days=policy.quality.history_days)


def history_days(con: Connection, day: date, policy: Policy) -> int:
    """Earlier days of which there is evidence to score `day` with."""
    (days,) = con.execute(
        "SELECT count(*) FROM written_days WHERE table_name = 'video_evidence' AND day >= ? AND"
        " day < ?",
        [since(day, policy), day],
    ).fetchall()[0]
    return int(days)


def known_to_later_days(con: Connection, day: date, policy: Policy) -> bool:
    """Whether a later day was scored with this day's evidence as it is, and nothing was put aside
    for it yet. Evidence under another policy is not kept: days under it are to be made again.
    """
    return bool(
        con.execute(
            """SELECT 1 FROM quality_priors AS mine
               WHERE mine.day = $day AND mine.policy_hash = $policy
                 AND EXISTS (FROM quality_priors AS later
                             WHERE later.day > $day AND later.first_day <= $day)
                 AND NOT EXISTS (FROM written_days
                                 WHERE table_name = 'evidence_history' AND day = $day)
               LIMIT 1""",
            {"day": day, "policy": policy.hash},
        ).fetchall()
    )


def gather(con: Connection, day: date, policy: Policy) -> None:
    """Make the temporary table `known`: a row a video that was watched on the day."""
    q = policy.quality
    known = Query.of(
        query("quality/video"),
        query("quality/known"),
        parameters=parameters_of(day, policy)
        | {
            "since": since(day, policy),
            "unverified_evidence": q.unverified_evidence,
            "unverified_actions": q.unverified_actions,
            "passing_cap": None if math.isinf(q.passing_cap) else q.passing_cap,
        },
    )
    con.execute(f"CREATE OR REPLACE TEMP TABLE known AS {known.sql}", dict(known.parameters))


def fit(con: Connection, day: date, policy: Policy) -> Priors:
    """The day's priors, from `known`."""
    q = policy.quality
    known = con.execute(
        """SELECT stayed, stayed + passed AS seen, watched + glanced AS
           completed, rewatched, acting, liked, commented, shared, followed
           FROM known ORDER BY video_id"""
    ).fetchnumpy()
    columns: dict[str, Floats] = {
        name: np.asarray(column, dtype=np.float64) for name, column in known.items()
    }
    priors = {
        name: fit_prior(
            np.minimum(columns[successes], columns[trials]),
            columns[trials],
            reference=getattr(q.reference, name),
            reference_trials=q.reference.viewers,
            least_successes=q.prior_actions,
            most_successes=_MOST * q.prior_actions,
        )
        for name, (trials, successes) in RATES.items()
    }
    return Priors(
        priors,
        len(columns["seen"]),
        math.fsum(columns["stayed"]),
        since(day, policy),
        history_days(con, day, policy),
    )


def evidence_scores(day: date, policy: Policy, priors: Mapping[str, BetaPrior]) -> Query:
    """The day's rows of `video_quality`, from `known` and its priors.

    With x the sum and n the viewers' worth of a rate on a video, p and m the day's prior:

    $$ \\hat r = \\frac{x + m p}{n + m}, \\quad E = \\sum_a \\beta_a \\hat r_a, \\quad
       Q = C \\bigl(W^{\\phi_W} E^{\\phi_E} D^{\\phi_D} R^{\\phi_R} S^{\\phi_S}\\bigr)^\\gamma $$

    `assured` is the same product of what verified viewers say, lowered by `confidence` standard
    deviations of its logarithm (delta method), and 0 below `least_evidence` of them.
    """
    return Query.of(
        query("quality/video"),
        query("quality/evidence_score"),
        parameters=parameters_of(day, policy)
        | {
            "contrast": policy.quality.contrast,
            "confidence": policy.quality.confidence,
            "least_evidence": policy.quality.least_evidence,
            **{f"rate_{name}": prior.rate for name, prior in priors.items()},
            **{f"prior_{name}": prior.strength for name, prior in priors.items()},
        },
    )
