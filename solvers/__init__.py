"""The mathematics of creator pay: arrays and numbers in, frozen result objects out.

What belongs here: one problem per module, solved and checked. What does not: files, tables, clocks,
policies, orchestration. Nothing in this package imports from `pipelines`, and scipy and cvxpy are
only imported by the functions that need them.
"""

from solvers.errors import InfeasibleError

__all__ = ["InfeasibleError"]
