"""Operating a home from outside Dagster: what a run does in turn, doing it, and housekeeping."""
