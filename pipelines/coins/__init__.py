"""Gifted coins, split between creators and the platform."""
