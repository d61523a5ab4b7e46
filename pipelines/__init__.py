"""Moves data: Dagster assets, the DuckDB warehouse, sources, policy, ledger and command line.

No optimisation lives here; every formula that needs more than one SQL query is a function of
`solvers`.
"""
