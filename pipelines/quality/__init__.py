"""Events to quality scores: the query, its parameters, and who runs it."""
