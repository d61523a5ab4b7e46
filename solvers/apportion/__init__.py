"""Real amounts to whole ones that add up: by largest remainder, within bounds, in groups, under
rules, and in chunks.
"""

from solvers.apportion.chunks import AmountChunk, ChunkedRounding, apportion_chunks
from solvers.apportion.groups import apportion_groups
from solvers.apportion.quotas import apportion
from solvers.apportion.rules import GroupBounds, apportion_with_rules

__all__ = [
    "AmountChunk",
    "ChunkedRounding",
    "GroupBounds",
    "apportion",
    "apportion_chunks",
    "apportion_groups",
    "apportion_with_rules",
]
