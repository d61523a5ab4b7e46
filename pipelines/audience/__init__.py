"""Viewers in groups, how well each group is served, and the weights that follow from it."""
