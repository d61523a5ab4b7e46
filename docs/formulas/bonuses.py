"""Bonuses: what they buy, and what an overrun does.

Section 6 of docs/formulas.md.
"""

from __future__ import annotations

import numpy as np

from formulas.register import demonstration
from formulas.world import Floats
from pipelines.lab.finding import Cell, Finding
from solvers.reward_schedule import (
    PowerCost,
    optimal_schedule,
    pot_on_top,
    price_on_top,
    schedule_on_top,
)


def _answers(
    h: Floats, price: float, cost: PowerCost, x: Floats, r: Floats
) -> tuple[Floats, Floats]:
    """What types do and are paid on top, whom `price` a unit is paid anyway and r from output x on."""
    alone = cost.inverse_derivative(price / h)
    outputs = np.maximum(np.append(0.0, x)[None, :], alone[:, None])
    bonus = np.append(0.0, r)[None, :]
    best = np.argmax(
        price * outputs + bonus - h[:, None] * cost.value(outputs) + 1e-9 * outputs, axis=1
    )
    rows = np.arange(h.size)
    return outputs[rows, best], np.append(0.0, r)[best]


@demonstration("bonus-on-top")
def bonus_on_top() -> Finding:
    """Bonuses for creators who are paid a unit price already: the document's schedule, which does
    not know that, and the one built.
    """
    f, h, price, cost = np.full(10, 10.0), np.linspace(10, 1, 10), 2.0, PowerCost(2)
    alone = cost.inverse_derivative(price / h)
    pay = price * float(f @ alone)
    rows: list[tuple[Cell, ...]] = []
    for part in (0.1, 0.5, 1.0, 4.0):
        budget = part * pay
        printed = optimal_schedule(f, h, budget, cost)
        output, bonus = _answers(h, price, cost, printed.steps.threshold, printed.steps.reward)
        built = schedule_on_top(f, h, budget, cost, price)
        others = [
            scheme(f, h, budget, cost, price).gross_product for scheme in (price_on_top, pot_on_top)
        ]
        bought = [float(f @ x) / float(f @ alone) - 1 for x in (output, built.output)]
        rows.append(
            (part, *bought, *(x / float(f @ alone) - 1 for x in others), float(f @ bonus) / budget)
        )
    return Finding(
        "a schedule that ignores the pay there is pays for what creators do anyway, and overspends;"
        " the one built buys more than any other",
        {
            "budget / pay": ".1f",
            "bought, printed": ".1%",
            "bought, built": ".1%",
            "higher price": ".1%",
            "shared pot": ".1%",
            "printed spends of its budget": ".2f",
        },
        rows,
    )


@demonstration("bonus-overrun")
def bonus_overrun() -> Finding:
    """Months that come out otherwise than planned: how far promises exceed the budget, and what
    sharing it then does to incentives.
    """
    f, h, price, cost = np.full(10, 10.0), np.linspace(10, 1, 10), 2.0, PowerCost(2)
    budget = price * float(f @ cost.inverse_derivative(price / h))
    built = schedule_on_top(f, h, budget, cost, price)
    threshold, first = np.unique(built.output, return_index=True)
    reward = built.bonus[first]
    aims = np.repeat(built.output, 10)
    rng = np.random.default_rng(1)
    rows: list[tuple[Cell, ...]] = []
    for luck, rise in ((0.0, 0.0), (0.3, 0.0), (0.3, 0.5), (0.3, 1.0), (0.3, 2.0)):
        produced = aims * (1 + rise) * np.exp(rng.normal(-(luck**2) / 2, luck, (400, aims.size)))
        promised = np.append(0.0, reward)[
            np.searchsorted(threshold, produced * (1 + 1e-12), side="right")
        ].sum(axis=1)
        part = min(1.0, budget / float(promised.mean()) * (1 + 1e-12))
        moved, _ = _answers(h, price, cost, threshold, part * reward)
        lost = 1 - float(f @ moved) / built.gross_product
        over = float((promised > budget * (1 + 1e-9)).mean())
        rows.append(
            (
                luck,
                rise,
                float(promised.mean()) / budget,
                over,
                part,
                int((moved < built.output * (1 - 1e-9)).sum()),
                lost,
            )
        )
    return Finding(
        "luck alone rather leaves money, for who aims at a threshold misses it half the time; a"
        " rise that all share runs over, and as steps were just worth it, any cut that is expected"
        " makes everybody aim lower",
        {
            "luck, sd of log": ".1f",
            "more views for all": ".0%",
            "promised / budget": ".2f",
            "months over": ".0%",
            "part paid": ".2f",
            "types of 10 that would aim lower": "d",
            "output lost if all knew": ".1%",
        },
        rows,
    )
