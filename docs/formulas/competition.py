"""The creator competition: where theorem 2 has a sign.

Section 8 of docs/formulas.md.
"""

from __future__ import annotations

from formulas.register import demonstration
from pipelines.lab.competition_claims import slopes
from pipelines.lab.finding import Cell, Finding


@demonstration("theorem-2")
def theorem_2() -> Finding:
    """Theorem 2 of Yao et al., what its step does to welfare: creators who stay together, and
    creators who have specialised.
    """
    rows: list[tuple[Cell, ...]] = [
        (
            s.weights,
            s.creators,
            s.temperature,
            s.bound,
            s.slope,
            s.formula,
            "improves" if s.improves else "harms",
        )
        for s in slopes()
    ]
    return Finding(
        "where the temperature is at least max w / |w| the step never harms; in the sharp regime,"
        " which the proof assumes, it does",
        {
            "weights": "",
            "creators by user": "",
            "β": ".2f",
            "max w / |w|": ".2f",
            "dW/dη": ".2e",
            "formula": ".2e",
            "": "",
        },
        rows,
    )
