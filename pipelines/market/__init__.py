"""The weekly donation market, and the floor that a policy may take from it."""
