"""The researcher's tools: what a run needs besides the mathematics."""
