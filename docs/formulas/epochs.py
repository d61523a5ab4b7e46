"""Adaptive epochs: what a starved group gains.

Section 5 of docs/formulas.md.
"""

from __future__ import annotations

import numpy as np

from formulas.register import demonstration
from pipelines.lab.finding import Cell, Finding
from solvers.reweighting import update_weights


@demonstration("starved-group")
def starved_group() -> Finding:
    """Algorithm 1 on the level of LTR and on its change: five groups, one of them starved until day
    20, then served like the others.
    """
    rates: list[tuple[Cell, ...]] = []
    level, change = np.ones(5), np.ones(5)
    seen = [np.array([0.08, 0.08, 0.08, 0.08, 0.03])] * 2
    for day in range(1, 41):
        ltr = np.array([0.08, 0.08, 0.08, 0.08, 0.03 if day <= 20 else 0.08])
        level = update_weights(level, ltr, rate=2.0)
        change = update_weights(change, ltr / (seen[-1] + seen[-2]) * 2 - 1, rate=0.5)
        seen.append(ltr)
        if day in (1, 10, 20, 21, 22, 23, 40):
            rates.append((day, ltr[4], level[4], change[4]))
    return Finding(
        "on the level the weight rises until the group is served; the change sees only that service"
        " begins, and takes weight away for it",
        {
            "day": "d",
            "LTR of the starved group": ".2f",
            "its weight, level": ".3f",
            "its weight, relative": ".3f",
        },
        rates,
    )
