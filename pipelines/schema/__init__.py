"""Every table: its columns with meaning, unit and rule. One file a part of the money's way; this
page is the list of them all.

What does not belong here: reading files (`sources/landing.py`), writing tables
(`store/warehouse.py`).
"""

from __future__ import annotations

from collections.abc import Container

import pyarrow as pa

from pipelines.schema.ads import (
    AD_PAYOUTS,
    AD_POOLS,
    AD_RULES,
    AD_SOLUTIONS,
    AD_VIEWS,
    MANIPULATION,
    PULSE_PAYOUTS,
)
from pipelines.schema.audience import (
    EVIDENCE_HISTORY,
    GROUP_CENTRES,
    GROUP_UTILITY,
    GROUP_WEIGHTS,
    MATCHING_POLICY,
    QUALITY_PRIORS,
    VIDEO_EVIDENCE,
    VIDEO_QUALITY,
    VIEWER_GROUPS,
    WEIGHT_COMMITS,
)
from pipelines.schema.coins import (
    ADJUSTMENTS,
    COIN_SOLUTIONS,
    DONATION_MARKET,
    DONATION_MARKET_PLACES,
    DONATION_MARKET_PROFILE,
    DONATION_SPLITS,
    MARKET_COMMITS,
)
from pipelines.schema.columns import (
    ABSURD_COINS,
    ABSURD_MICROS,
    ABSURD_WATCH_MS,
    CERTIFICATE,
    Column,
    Kind,
    Table,
)
from pipelines.schema.ledger import (
    CREATOR_EARNINGS,
    LEDGER_ENTRIES,
    LEDGER_TRANSACTIONS,
    POLICIES,
    SCHEMA_VERSIONS,
    SNAPSHOT_CHANGES,
    STATEMENTS,
    WRITTEN_DAYS,
)
from pipelines.schema.payouts import APPROVALS, PAYEES, PAYMENTS, SETTLEMENTS
from pipelines.schema.platform import (
    AD_REVENUE,
    CREATORS,
    FIGURES,
    GIFTS,
    ID_COPIES,
    LANDING_FILES,
    QUARANTINE,
    QUARANTINE_ACCEPTANCES,
    VIDEOS,
    VIEWER_EVENTS,
    VIEWERS,
)
from pipelines.schema.revenue import DEDUCTIONS, INVALID_TRAFFIC, VIDEO_CORRECTIONS
from pipelines.schema.rewards import (
    CREATOR_BONUSES,
    CREATOR_TYPES,
    REWARD_FORECAST,
    REWARD_SCHEDULE,
)
from pipelines.schema.shadow import (
    POLICY_CONFIRMATIONS,
    SHADOW_AD_POOLS,
    SHADOW_EARNINGS,
    SHADOW_EVIDENCE,
)
from pipelines.schema.shares import SHARES

SNAPSHOTS = (VIEWERS, CREATORS, VIDEOS, SHARES)

DAILY = (VIEWER_EVENTS, GIFTS, AD_REVENUE)

# About days that were delivered, and perhaps long after them: none makes a day landed.
DECISIONS = (INVALID_TRAFFIC,)

HOLDING = (*SNAPSHOTS, VIEWER_GROUPS)
"""Tables whose row of an id holds until a later day has another one of the id."""

AUDIENCE = (VIEWER_GROUPS, GROUP_CENTRES, GROUP_UTILITY, GROUP_WEIGHTS, MATCHING_POLICY)

EVIDENCE = (VIDEO_EVIDENCE, EVIDENCE_HISTORY, QUALITY_PRIORS)

ADS = (PULSE_PAYOUTS, AD_POOLS, AD_VIEWS, AD_PAYOUTS, AD_SOLUTIONS, AD_RULES, MANIPULATION)

REWARDS = (REWARD_SCHEDULE, CREATOR_TYPES, REWARD_FORECAST)

MARKET = (DONATION_MARKET, DONATION_MARKET_PLACES, DONATION_MARKET_PROFILE)

SHADOW = (SHADOW_EARNINGS, SHADOW_AD_POOLS, SHADOW_EVIDENCE)

DERIVED = (
    *AUDIENCE,
    *EVIDENCE,
    VIDEO_QUALITY,
    *ADS,
    DONATION_SPLITS,
    COIN_SOLUTIONS,
    CREATOR_EARNINGS,
    *MARKET,
    *REWARDS,
    CREATOR_BONUSES,
    *SHADOW,
)

BOOK = (
    POLICIES,
    ADJUSTMENTS,
    VIDEO_CORRECTIONS,
    LEDGER_TRANSACTIONS,
    LEDGER_ENTRIES,
    STATEMENTS,
    PAYMENTS,
    SETTLEMENTS,
    APPROVALS,
)

LOGS = (
    QUARANTINE,
    LANDING_FILES,
    ID_COPIES,
    DEDUCTIONS,
    FIGURES,
    QUARANTINE_ACCEPTANCES,
    POLICY_CONFIRMATIONS,
    WRITTEN_DAYS,
    SNAPSHOT_CHANGES,
    SCHEMA_VERSIONS,
    WEIGHT_COMMITS,
    MARKET_COMMITS,
    *BOOK,
)

# Snapshots that no day is made from: `earnings pay` loads them.
PAYING = (PAYEES,)

TABLES: dict[str, Table] = {
    t.name: t for t in (*SNAPSHOTS, *DECISIONS, *DAILY, *PAYING, *DERIVED, *LOGS)
}

# What the run of a day reads, and all that may lie in the landing folder.
LANDING: dict[str, Table] = {t.name: t for t in (*SNAPSHOTS, *DECISIONS, *DAILY)}
DELIVERED: dict[str, Table] = {**LANDING, **{t.name: t for t in PAYING}}


def arrow_columns(name: str, *, without: Container[str] = ("day", "policy_hash")) -> pa.Schema:
    """Arrow columns of a derived table, without the two that every row of a day shares."""
    types = {
        "VARCHAR": pa.string(),
        "BIGINT": pa.int64(),
        "DOUBLE": pa.float64(),
        "DATE": pa.date32(),
        "BOOLEAN": pa.bool_(),
        "DOUBLE[]": pa.list_(pa.float64()),
        "DECIMAL(38,0)": pa.decimal128(38, 0),
    }
    return pa.schema(
        [(c.name, types[c.type]) for c in TABLES[name].columns if c.name not in without]
    )


def as_markdown(table: Table) -> str:
    """The table's section of docs/data.md."""
    lines = [f"### `{table.name}`", "", table.meaning, ""]
    lines += ["| column | type | required | meaning | rule |", "| --- | --- | --- | --- | --- |"]
    for c in table.columns:
        required = (
            "computed"
            if c.computed
            else (
                f"no, {c.default.strip(chr(39))}"
                if c.default
                else "yes"
                if c.required
                else "no, may be empty"
            )
        )
        rule = f"`{c.rule}`" if c.rule else ""
        lines.append(f"| `{c.name}` | {c.type} | {required} | {c.meaning} | {rule} |")
    lines += ["", f"Key within a day: {', '.join(f'`{k}`' for k in table.key)}.", ""]
    return "\n".join(lines)


__all__ = [
    "ABSURD_COINS",
    "ABSURD_MICROS",
    "ABSURD_WATCH_MS",
    "ADJUSTMENTS",
    "ADS",
    "AD_PAYOUTS",
    "AD_POOLS",
    "AD_REVENUE",
    "AD_RULES",
    "AD_SOLUTIONS",
    "AD_VIEWS",
    "APPROVALS",
    "AUDIENCE",
    "BOOK",
    "CERTIFICATE",
    "COIN_SOLUTIONS",
    "CREATORS",
    "CREATOR_BONUSES",
    "CREATOR_EARNINGS",
    "CREATOR_TYPES",
    "DAILY",
    "DECISIONS",
    "DEDUCTIONS",
    "DELIVERED",
    "DERIVED",
    "DONATION_MARKET",
    "DONATION_MARKET_PLACES",
    "DONATION_MARKET_PROFILE",
    "DONATION_SPLITS",
    "FIGURES",
    "GIFTS",
    "GROUP_CENTRES",
    "GROUP_UTILITY",
    "GROUP_WEIGHTS",
    "HOLDING",
    "ID_COPIES",
    "INVALID_TRAFFIC",
    "LANDING",
    "LANDING_FILES",
    "LEDGER_ENTRIES",
    "LEDGER_TRANSACTIONS",
    "LOGS",
    "MARKET",
    "MARKET_COMMITS",
    "MATCHING_POLICY",
    "PAYEES",
    "PAYING",
    "PAYMENTS",
    "POLICIES",
    "POLICY_CONFIRMATIONS",
    "PULSE_PAYOUTS",
    "QUARANTINE",
    "QUARANTINE_ACCEPTANCES",
    "REWARDS",
    "REWARD_FORECAST",
    "REWARD_SCHEDULE",
    "SCHEMA_VERSIONS",
    "SETTLEMENTS",
    "SHADOW",
    "SHADOW_AD_POOLS",
    "SHADOW_EARNINGS",
    "SHADOW_EVIDENCE",
    "SHARES",
    "SNAPSHOTS",
    "SNAPSHOT_CHANGES",
    "STATEMENTS",
    "TABLES",
    "VIDEOS",
    "VIDEO_CORRECTIONS",
    "VIDEO_QUALITY",
    "VIEWERS",
    "VIEWER_EVENTS",
    "VIEWER_GROUPS",
    "WEIGHT_COMMITS",
    "WRITTEN_DAYS",
    "Column",
    "Kind",
    "Table",
    "arrow_columns",
    "as_markdown",
]
