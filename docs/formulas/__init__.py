"""Demonstrations for docs/formulas.md: what each formula does as printed and as built, computed by the
code that pays; a file a section of the document.

Every demonstration builds its own small world from a fixed seed, runs the project's solvers or its
scoring query on it, and returns a table with the claim that the table supports. Nothing is read but
the shipped policies, and only `--refresh` writes: it puts the tables printed here into the
document.
"""

from formulas import advertising, bonuses, coins, competition, epochs, integers, market, quality
from formulas.command import block, main, refreshed
from formulas.register import DEMONSTRATIONS

__all__ = [
    "DEMONSTRATIONS",
    "advertising",
    "block",
    "bonuses",
    "coins",
    "competition",
    "epochs",
    "integers",
    "main",
    "market",
    "quality",
    "refreshed",
]
