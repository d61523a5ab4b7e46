"""The asset graph as a snapshot, so that a changed edge shows in review."""

from __future__ import annotations

import dagster as dg
import pytest
from pydantic import BaseModel

from pipelines.assets import ASSETS, PERIODIC
from pipelines.definitions import build_definitions
from pipelines.policy import Policy
from pipelines.runs.partitions import PARTITIONS
from pipelines.schema import TABLES
from pipelines.schema.graph import MADE_FROM, changes_with, periodic
from pipelines.settings import Home

EDGES = {
    "viewers": set(),
    "creators": set(),
    "videos": {"creators"},
    "shares": {"creators", "videos"},
    "invalid_traffic": set(),
    "viewer_events": {"invalid_traffic", "videos"},
    "gifts": {"invalid_traffic", "videos"},
    "ad_revenue": {"invalid_traffic", "videos"},
    "viewer_groups": {"viewers"},
    "group_utility": {"viewer_events", "viewer_groups", "videos"},
    "group_weights": {"group_weights", "group_utility"},
    "video_evidence": {"viewer_events", "viewers", "videos", "viewer_groups", "group_weights"},
    "video_quality": {
        "viewer_events",
        "viewers",
        "videos",
        "viewer_groups",
        "group_weights",
        "video_evidence",
    },
    "pulse_payouts": {"video_quality", "ad_revenue"},
    "ad_pools": {"ad_pools", "pulse_payouts", "video_quality", "videos", "creators", "ad_revenue"},
    "ad_payouts": {"ad_pools"},
    "donation_splits": {"gifts", "video_quality", "videos"},
    "ledger_entries": {"pulse_payouts", "ad_pools", "ad_payouts", "donation_splits", "shares"},
    "creator_earnings": {"ledger_entries"},
}
PERIODIC_EDGES = {
    "donation_market": {"viewer_events", "gifts", "videos", "donation_splits"},
    "reward_schedule": {"video_quality", "pulse_payouts", "ad_payouts"},
    "creator_bonuses": {"video_quality", "creator_earnings", "reward_schedule"},
}
READ_FROM = {
    "quality": [
        "video_evidence",
        "video_quality",
        "pulse_payouts",
        "ad_pools",
        "ad_payouts",
        "donation_splits",
    ],
    "views": [
        "video_evidence",
        "video_quality",
        "pulse_payouts",
        "ad_pools",
        "ad_payouts",
        "donation_splits",
    ],
    "pulse": ["pulse_payouts", "ad_pools", "ad_payouts", "ledger_entries"],
    "ads": ["ad_pools", "ad_payouts", "ledger_entries", "creator_earnings"],
    "coins": ["donation_splits", "ledger_entries", "creator_earnings"],
}
CHECKS = {
    "ad_payouts": {
        "bounds_kept",
        "certified",
        "compliance_gate",
        "no_account_moves_more",
        "pools_sum_exactly",
    },
    "ledger_entries": {
        "chain_unbroken",
        "entries_sum_to_zero",
        "gross_is_owed_to_somebody",
        "policy_within_guard",
        "pools_are_emptied",
    },
    "viewer_events": {"known_video_id", "quarantine_share", "nothing_to_look_at"},
    "group_weights": {"state_unbroken", "not_stuck_at_the_clip"},
    "creator_bonuses": {"bonuses_are_posted", "levels_reached", "never_above_the_budget"},
    "reward_schedule": {"expected_within_budget", "levels_rise", "nobody_prefers_another_level"},
    "donation_market": {"market_consistent"},
}
WARNINGS = {"no_account_moves_more", "not_stuck_at_the_clip", "nothing_to_look_at"}


def _graph() -> dg.AssetGraph:
    return build_definitions(Home.here()).resolve_asset_graph()


def test_edges() -> None:
    graph = _graph()
    found = {
        node.key.to_user_string(): {p.to_user_string() for p in node.parent_keys}
        for node in graph.asset_nodes
    }
    assert found == EDGES | PERIODIC_EDGES


def test_an_assets_page_lists_its_columns_with_their_meaning() -> None:
    for node in _graph().asset_nodes:
        found = node.metadata["dagster/column_schema"]
        assert isinstance(found, dg.TableSchema)
        table = TABLES[node.key.to_user_string()]
        assert [(c.name, c.type, c.description) for c in found.columns] == [
            (c.name, c.type, c.meaning) for c in table.columns
        ]


def test_what_a_table_is_made_from_is_dagsters_edges() -> None:
    """Everything that reads the graph reads one piece of data, and every asset has its place."""
    assert MADE_FROM.keys() == {asset.name for asset in (*ASSETS, *PERIODIC)}
    assert {
        name: {*made.needs, *made.looks_at, *made.before} for name, made in MADE_FROM.items()
    } == EDGES | PERIODIC_EDGES
    assert {asset.name for asset in PERIODIC} == periodic().keys()


def test_sources_stand_before_what_is_made_from_them() -> None:
    """The order of the money: for those that make a day table by table."""
    for names in ([asset.name for asset in ASSETS], list(MADE_FROM)):
        for place, name in enumerate(names):
            made = MADE_FROM[name]
            assert {*made.needs, *made.looks_at} <= set(names[:place])


@pytest.mark.parametrize("section", READ_FROM)
def test_what_a_section_of_the_policy_can_change_is_all_that_it_changes(section: str) -> None:
    assert changes_with(section)[: len(READ_FROM[section])] == READ_FROM[section]


def test_every_section_of_the_policy_is_read_by_an_asset() -> None:
    read = {section for made in MADE_FROM.values() for section in made.policy}
    assert read == {
        name
        for name, field in Policy.model_fields.items()
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
    }


def test_every_asset_has_the_partitions_of_its_table_one_backfill_policy_and_one_pool() -> None:
    graph = _graph()
    assert (
        {name for name, table in TABLES.items() if table.span != "day"}
        >= {asset.name for asset in PERIODIC}
        == PERIODIC_EDGES.keys()
    )
    for node in graph.asset_nodes:
        assert node.partitions_def == PARTITIONS[TABLES[node.key.to_user_string()].span]
    assert {node.backfill_policy for node in graph.asset_nodes} == {dg.BackfillPolicy.single_run()}
    assert {tuple(node.pools or ()) for node in graph.asset_nodes} == {("warehouse",)}


def test_checks_block() -> None:
    graph = _graph()
    for asset, names in CHECKS.items():
        keys = [key for key in graph.asset_check_keys if key.asset_key == dg.AssetKey(asset)]
        assert {key.name for key in keys} == names
        assert {
            key.name for key in keys if not graph.get_check_spec(key).blocking
        } == names & WARNINGS


def test_jobs_and_schedules_load() -> None:
    definitions = build_definitions(Home.here())
    dg.Definitions.validate_loadable(definitions)
    assert definitions.resolve_schedule_def("every_day").job_name == "daily"
