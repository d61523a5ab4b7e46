"""Groups of viewers, and the weights by which under-served groups gain from epoch to epoch."""

from solvers.reweighting.groups import inherited_weights, update_observed_weights
from solvers.reweighting.update import (
    TABLE_1_BOUNDS,
    TABLE_1_PERCENTILES,
    cold_start_percentile,
    matching_candidates,
    matching_temperature,
    update_weights,
)
from solvers.reweighting.viewer_groups import (
    Coordinate,
    Features,
    ViewerGroups,
    group_viewers,
    inertia_by_count,
    nearest,
)

__all__ = [
    "TABLE_1_BOUNDS",
    "TABLE_1_PERCENTILES",
    "Coordinate",
    "Features",
    "ViewerGroups",
    "cold_start_percentile",
    "group_viewers",
    "inertia_by_count",
    "inherited_weights",
    "matching_candidates",
    "matching_temperature",
    "nearest",
    "update_observed_weights",
    "update_weights",
]
