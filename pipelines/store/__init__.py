"""Where tables are kept: one DuckDB file, or a lake; and the one way to write a day."""
