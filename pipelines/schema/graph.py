"""What every table is made from: the edges of the asset graph, and the sections of the policy that
each asset reads.

One piece of data for all that must know it: Dagster's edges and what an asset refuses to run
without (`runs/`), what makes a day or week stale (`status/`), what follows from a changed policy
(`lab/trial.py`). It says nothing of how a table is made, so reading it does not load Dagster.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from pipelines.schema import DAILY, DECISIONS, LANDING, TABLES


@dataclass(frozen=True)
class Sources:
    """What a day, week or month of a table is made from.

    `needs`: tables of the same day, or of every landed day of the week or month; the asset refuses
    to run where one was not written. `looks_at`: of the same time too, but it may be missing; the
    asset itself says when. `beside`: of the same time, and no edge, because another source is made
    from them. `before`: tables of the day, week or month before. `windows`: tables of which earlier
    days are read too, and the section of the policy that says how many. `policy`: the sections of
    the policy that it reads. `earlier`: tables of days before the day as they were known on it, as
    many as the policy says and there are; where several processes make days, these are made first.
    Rows of snapshots and of groups of viewers hold until later ones take their place
    (`schema.HOLDING`): of those all days up to the day are read.
    """

    needs: tuple[str, ...] = ()
    looks_at: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()
    before: tuple[str, ...] = ()
    windows: Mapping[str, str] = field(default_factory=dict)
    policy: tuple[str, ...] = ()
    earlier: tuple[str, ...] = ()


# Landing tables first: each needs the snapshots that its rows refer to. Then in the order of the
# money. Two edges are not here, because with them the graph would have a circle, which Dagster
# refuses even through time: the weights of a day were made by the run of the day before (see
# `quality/assets.py`), and days are paid by the market of an earlier week (`market/floor.py`).
MADE_FROM: dict[str, Sources] = {
    **{
        table.name: Sources(
            needs=tuple(sorted({target for _, target in table.references}))
            + tuple(of.name for of in DECISIONS if table in DAILY)
        )
        for table in LANDING.values()
    },
    "viewer_groups": Sources(needs=("viewers",), policy=("epochs",)),
    "group_utility": Sources(
        needs=("viewer_events", "viewer_groups", "videos"),
        windows={"viewer_events": "epochs"},
        policy=("epochs",),
    ),
    "group_weights": Sources(
        needs=("group_utility",), before=("group_weights",), policy=("epochs",)
    ),
    "video_evidence": Sources(
        needs=("viewer_events", "viewers", "videos", "viewer_groups"),
        looks_at=("group_weights",),
        policy=("quality", "views", "epochs"),
    ),
    "video_quality": Sources(
        needs=("viewer_events", "viewers", "videos", "viewer_groups", "video_evidence"),
        looks_at=("group_weights",),
        windows={"viewer_events": "quality"},
        policy=("quality", "views", "epochs"),
        earlier=("video_evidence",),
    ),
    "pulse_payouts": Sources(needs=("video_quality", "ad_revenue"), policy=("pulse",)),
    "ad_pools": Sources(
        needs=("pulse_payouts", "video_quality", "videos", "creators", "ad_revenue"),
        before=("ad_pools",),
        policy=("ads", "pulse"),
    ),
    "ad_payouts": Sources(
        needs=("ad_pools",),
        beside=("pulse_payouts", "video_quality", "videos", "creators"),
        policy=("ads", "pulse"),
    ),
    "donation_splits": Sources(
        needs=("gifts", "video_quality", "videos"), policy=("coins", "market")
    ),
    "ledger_entries": Sources(
        needs=("pulse_payouts", "ad_pools", "ad_payouts", "donation_splits", "shares")
    ),
    "creator_earnings": Sources(needs=("ledger_entries",)),
    "donation_market": Sources(
        needs=("viewer_events", "gifts", "videos", "donation_splits"), policy=("market",)
    ),
    "reward_schedule": Sources(
        needs=("video_quality", "pulse_payouts", "ad_payouts"),
        windows=dict.fromkeys(("video_quality", "pulse_payouts", "ad_payouts"), "bonus"),
        policy=("bonus",),
    ),
    "creator_bonuses": Sources(
        needs=("video_quality",), looks_at=("creator_earnings",), before=("reward_schedule",)
    ),
}

LOOKING_ON: dict[str, Sources] = {"shadow_earnings": Sources(needs=("creator_earnings",))}
"""Assets that no day needs: a home has them if its settings ask for them."""


def sources_of(table: str) -> Sources:
    """What any asset's table is made from."""
    return MADE_FROM.get(table) or LOOKING_ON[table]


def periodic() -> dict[str, Sources]:
    """The part of it that is made a week or month at a time."""
    return {name: made for name, made in MADE_FROM.items() if TABLES[name].span != "day"}


def changes_with(section: str) -> list[str]:
    """Tables of a day that a section of the policy can change: those that read it, and all that is
    made from them; in order.

    >>> changes_with("coins")
    ['donation_splits', 'ledger_entries', 'creator_earnings']
    """
    readers = [name for name, made in MADE_FROM.items() if section in made.policy]
    return [
        name
        for name in MADE_FROM
        if TABLES[name].span == "day" and (name in readers or _is_made_from(name, readers))
    ]


def _is_made_from(name: str, sources: Iterable[str]) -> bool:
    made = MADE_FROM[name]
    return any(
        source in sources or _is_made_from(source, sources)
        for source in (*made.needs, *made.looks_at)
    )
