"""Monthly bonuses: what a budget buys, and who gets it."""
