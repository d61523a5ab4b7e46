"""A claim with the figures that say whether it came out: what studies and docs/formulas.md tell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

Cell: TypeAlias = str | int | float | None


@dataclass(frozen=True)
class Finding:
    """One sentence of a document (or of ours), whether it came out, and its figures: in a line
    (`shown`), or as a table. `columns` maps each heading to the format of its numbers.
    """

    claim: str
    columns: Mapping[str, str] = field(default_factory=dict)
    rows: Sequence[tuple[Cell, ...]] = ()
    holds: bool = True
    shown: str = ""

    def records(self) -> list[dict[str, Cell]]:
        """Rows as dictionaries with unrounded numbers."""
        return [
            dict(zip(self.columns, (_plain(cell) for cell in row), strict=True))
            for row in self.rows
        ]

    def text(self) -> str:
        """The table as printed, numbers right-aligned.

        >>> print(Finding("it doubles", {"x": "d", "y": ".1f"}, [(1, 2.0), (10, 20.0)]).text())
         x     y
         1   2.0
        10  20.0
        => it doubles
        """
        cells = [
            [_formatted(cell, form) for cell, form in zip(row, self.columns.values(), strict=True)]
            for row in self.rows
        ]
        widths = [max(map(len, column)) for column in zip(self.columns, *cells, strict=True)]
        left = [all(isinstance(row[i], str) for row in self.rows) for i in range(len(widths))]
        lines = [
            "  ".join(
                cell.ljust(width) if is_text else cell.rjust(width)
                for cell, width, is_text in zip(line, widths, left, strict=True)
            )
            for line in (list(self.columns), *cells)
        ]
        return "\n".join(line.rstrip() for line in (*lines, f"=> {self.claim}"))


def _formatted(cell: Cell, form: str) -> str:
    return "" if cell is None else cell if isinstance(cell, str) else format(cell, form)


def _plain(cell: Cell) -> Cell:
    return cell.item() if isinstance(cell, np.generic) else cell
