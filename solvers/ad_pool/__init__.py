"""Advertising pools: one pool of money among videos, fair and efficient, within bounds and rules;
and judges of what came out.

`allocate` solves a pool in memory, `chunks` one of any size, both by the search of `price_search`;
`rules` one with rules over groups (`rule_model` where that proves nothing, `contradiction` where
there is no answer); `response` answers what one row would have been paid at another share,
`buckets` what all would be, from a sketch. They share their statement of the `problem`.
`certificate` and `chunked_certificate` judge a split: they state the problem on their own, know no
solver, and share with them no more than the `inputs`.
"""

from solvers.ad_pool.allocate import PoolAllocation, allocate_pool
from solvers.ad_pool.buckets import paid_by_bucket
from solvers.ad_pool.certificate import Certificate, certify_pool
from solvers.ad_pool.chunked_certificate import certify_chunks
from solvers.ad_pool.chunks import ChunkedAllocation, allocate_chunks
from solvers.ad_pool.inputs import EachAtMost, PoolChunk, Rule
from solvers.ad_pool.response import ShareSketch, paid_at
from solvers.ad_pool.rules import RuledAllocation, allocate_with_rules

__all__ = [
    "Certificate",
    "ChunkedAllocation",
    "EachAtMost",
    "PoolAllocation",
    "PoolChunk",
    "Rule",
    "RuledAllocation",
    "ShareSketch",
    "allocate_chunks",
    "allocate_pool",
    "allocate_with_rules",
    "certify_chunks",
    "certify_pool",
    "paid_at",
    "paid_by_bucket",
]
