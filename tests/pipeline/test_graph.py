"""The asset graph as a snapshot, so that a changed edge shows in review."""

from __future__ import annotations

import dagster as dg

from pipelines.definitions import PERIODIC, build_definitions
from pipelines.runs.partitions import PARTITIONS
from pipelines.schema import TABLES
from pipelines.settings import Home
from pipelines.status import MADE_FROM
from pipelines.status import PERIODIC as PERIODIC_MADE_FROM

EDGES = {
    "viewers": set(),
    "creators": set(),
    "videos": {"creators"},
    "viewer_events": {"videos"},
    "gifts": {"videos"},
    "ad_revenue": {"videos"},
    "viewer_groups": {"viewers"},
    "group_utility": {"viewer_events", "viewer_groups", "videos"},
    "group_weights": {"group_weights", "group_utility"},
    "video_quality": {"viewer_events", "viewers", "videos", "viewer_groups", "group_weights"},
    "pulse_payouts": {"video_quality", "ad_revenue"},
    "ad_pools": {"ad_pools", "pulse_payouts", "video_quality", "videos", "creators", "ad_revenue"},
    "ad_payouts": {"ad_pools"},
    "donation_splits": {"gifts", "video_quality", "videos"},
    "ledger_entries": {"pulse_payouts", "ad_pools", "ad_payouts", "donation_splits"},
    "creator_earnings": {"ledger_entries"},
}
PERIODIC_EDGES = {
    "donation_market": {"viewer_events", "gifts", "videos", "donation_splits"},
    "reward_schedule": {"video_quality", "pulse_payouts", "ad_payouts"},
    "creator_bonuses": {"video_quality", "creator_earnings", "reward_schedule"},
}
CHECKS = {
    "ad_payouts": {"bounds_kept", "certified", "compliance_gate", "pools_sum_exactly"},
    "ledger_entries": {
        "chain_unbroken",
        "entries_sum_to_zero",
        "gross_is_owed_to_somebody",
        "pools_are_emptied",
    },
    "viewer_events": {"known_video_id", "quarantine_share"},
    "group_weights": {"state_unbroken", "not_stuck_at_the_clip"},
    "creator_bonuses": {"bonuses_are_posted", "levels_reached", "never_above_the_budget"},
    "reward_schedule": {"expected_within_budget", "levels_rise", "nobody_prefers_another_level"},
    "donation_market": {"market_consistent"},
}
WARNINGS = {"not_stuck_at_the_clip"}


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


def test_status_knows_the_edges() -> None:
    """It keeps its own, because importing Dagster takes seconds; snapshots, yesterday's carry and
    committed weights are judged apart.
    """
    derived = {
        name: edges - {"viewers", "creators", "videos", name}
        for name, edges in EDGES.items()
        if edges - {"creators", "videos"}
    }
    del derived["group_weights"]
    assert {name: set(sources) for name, sources in MADE_FROM.items()} == derived
    assert {asset.name: asset.required for asset in PERIODIC} == PERIODIC_MADE_FROM


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
