"""Tables of a policy that pays beside the books: what creators would get, and what its next day
needs of it. No amount is owed by them.
"""

from __future__ import annotations

from dataclasses import replace

from pipelines.schema.ads import AD_POOLS
from pipelines.schema.audience import VIDEO_EVIDENCE
from pipelines.schema.columns import _POLICY_HASH, Column, Table, _count, _day, _id, _micros, _real

SHADOW_EARNINGS = Table(
    "shadow_earnings",
    "advice",
    "What each creator would have earned on the day under the policy in shadow (settings:"
    " `[shadow]`), part by part as in `creator_earnings`. Never in the ledger.",
    (
        _day(),
        _id("creator_id", "creator"),
        _micros("pulse_micros", "Pulse"),
        _micros("ads_micros", "ad pools, without carried money"),
        _micros("carry_micros", "ad pools, money carried in"),
        _micros("coins_micros", "gifted coins"),
        _micros("adjustment_micros", "adjustments, as they were paid"),
        _micros("bonus_micros", "the month's bonus, as it was paid"),
        _micros("shares_micros", "parts in others' videos, less others' parts in these"),
        _micros("total_micros", "all of it"),
        _POLICY_HASH,
    ),
    key=("creator_id",),
)

SHADOW_AD_POOLS = replace(
    AD_POOLS,
    name="shadow_ad_pools",
    kind="advice",
    meaning="`ad_pools` under the policy in shadow: its next day takes over what they carry.",
)

SHADOW_EVIDENCE = replace(
    VIDEO_EVIDENCE,
    name="shadow_video_evidence",
    kind="advice",
    meaning="`video_evidence` under the policy in shadow, where it differs: the history of its"
    " next days.",
)

POLICY_CONFIRMATIONS = Table(
    "policy_confirmations",
    "log",
    "Append-only. Versions of a policy that somebody let pay although the shadow moved more than"
    " the guard allows, or nothing was in shadow.",
    (
        Column("policy_hash", "VARCHAR", "the version that may pay"),
        _day("first day that it was asked for"),
        Column("before_hash", "VARCHAR", "the version that paid before"),
        _count("days", "days in shadow that were compared; 0: none"),
        _real("moved_share", "part of the creators' money that went to somebody else on them"),
        _real("largest_loss", "largest part that a creator lost"),
        Column("reason", "VARCHAR", "why it may pay all the same"),
        Column("actor", "VARCHAR", "who says so"),
        Column("confirmed_at", "TIMESTAMP", "when, UTC"),
    ),
    key=("policy_hash", "confirmed_at"),
)
