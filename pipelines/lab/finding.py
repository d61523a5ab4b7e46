"""A claim with the figures that say whether it came out: what studies and docs/formulas.md tell.

A claim about data or chance is judged by its interval, never by its middle: yes, no, or cannot
tell, with n and what would decide it. What belongs here: measurements with intervals, and that
judgement. What a document claims is in the study's own module.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Cell: TypeAlias = str | int | float | None

CONFIDENCE = 0.95
RARE = 0.05
"""What never happens may, as far as a sample can tell, happen this often."""


class Verdict(StrEnum):
    """What became of a claim."""

    YES = "yes"
    NO = "no"
    CANNOT_TELL = "cannot tell"


@dataclass(frozen=True)
class Measured:
    """A number and how well it is known: `ends` gives its interval at any confidence, `n` of what
    (`of`) it is from.
    """

    value: float
    n: int
    of: str
    ends: Callable[[float], tuple[float, float]]
    unit: str = ""

    @property
    def interval(self) -> tuple[float, float]:
        """At 95 %."""
        return self.ends(CONFIDENCE)

    def text(self) -> str:
        """The number with its interval and n."""
        low, high = self.interval
        unit = f" {self.unit}" if self.unit else ""
        if not (math.isfinite(low) or math.isfinite(high)):
            return f"{self.value:+.4g}{unit} (no interval from {self.n} {self.of})"
        return f"{self.value:+.4g}{unit} ({low:+.4g} to {high:+.4g}; {self.n} {self.of})"


def mean(values: npt.ArrayLike, of: str = "seeds", unit: str = "") -> Measured:
    """The mean of independent values, by Student's t; one value has no interval.

    >>> mean([1.0, 2.0, 3.0, 4.0]).text()
    '+2.5 (+0.4457 to +4.554; 4 seeds)'
    >>> mean([1.0]).interval
    (-inf, inf)
    """
    from scipy.special import stdtrit

    x = np.asarray(values, dtype=np.float64)
    middle = float(x.mean()) if x.size else math.nan
    error = float(x.std(ddof=1)) / math.sqrt(x.size) if x.size > 1 else math.inf

    def ends(confidence: float) -> tuple[float, float]:
        if not math.isfinite(error):
            return -math.inf, math.inf
        half = float(stdtrit(x.size - 1, (1 + confidence) / 2)) * error
        return middle - half, middle + half

    return Measured(middle, x.size, of, ends, unit)


def normal(value: float | None, error: float | None, n: int, of: str, unit: str = "") -> Measured:
    """A number with a standard error from many; None where either is unknown."""
    from scipy.special import ndtri

    def ends(confidence: float) -> tuple[float, float]:
        if value is None or error is None or not math.isfinite(error):
            return -math.inf, math.inf
        half = float(ndtri((1 + confidence) / 2)) * error
        return value - half, value + half

    return Measured(math.nan if value is None else value, n, of, ends, unit)


def share(hits: int, n: int, of: str = "runs") -> Measured:
    """How often something happens, by Clopper and Pearson: right for any n.

    >>> [round(x, 3) for x in share(4, 10).interval]
    [0.122, 0.738]
    >>> share(0, 0).interval
    (0.0, 1.0)
    """
    from scipy.special import betaincinv

    def ends(confidence: float) -> tuple[float, float]:
        tail = (1 - confidence) / 2
        low = float(betaincinv(hits, n - hits + 1, tail)) if hits > 0 else 0.0
        high = float(betaincinv(hits + 1, n - hits, 1 - tail)) if hits < n else 1.0
        return low, high

    return Measured(hits / n if n else math.nan, n, of, ends)


def spread_ratio(a: npt.ArrayLike, b: npt.ArrayLike, of: str = "seeds") -> Measured:
    """Logarithm of the standard deviation of a over that of b, by Fisher's F."""
    from scipy.special import fdtri

    x, y = (np.asarray(values, dtype=np.float64) for values in (a, b))
    n = min(x.size, y.size)
    known = n > 1 and x.std() > 0 and y.std() > 0
    ratio = math.log(x.std(ddof=1) / y.std(ddof=1)) if known else math.nan

    def ends(confidence: float) -> tuple[float, float]:
        if not known:
            return -math.inf, math.inf
        low, high = (
            float(fdtri(x.size - 1, y.size - 1, (1 + side * confidence) / 2)) for side in (-1, 1)
        )
        return ratio - math.log(high) / 2, ratio - math.log(low) / 2

    return Measured(ratio, n, of, ends)


@dataclass(frozen=True)
class Side:
    """One of the things a claim says: that a measured number lies between `least` and `most`."""

    name: str
    measured: Measured
    least: float = -math.inf
    most: float = math.inf

    def holds(self) -> bool:
        """Whether all of the interval does."""
        low, high = self.measured.interval
        return self.least <= low and high <= self.most

    def fails(self, confidence: float) -> bool:
        """Whether none of the interval at this confidence does."""
        low, high = self.measured.ends(confidence)
        return high < self.least or low > self.most

    def decided_by(self) -> str:
        """What would decide it, if the number stayed where it is: more of what it is from."""
        m = self.measured
        low, high = m.interval
        edge = min(
            (e for e in (self.least, self.most) if math.isfinite(e)),
            key=lambda e: abs(e - m.value),
            default=math.nan,
        )
        away = abs(m.value - edge)
        half = m.value - low if m.value > edge else high - m.value
        if not (math.isfinite(half) and math.isfinite(away)):
            return f"{self.name}: at least {max(2, m.n + 1)} {m.of} (there are {m.n})"
        if away == 0 or half / away > 100:
            return f"{self.name}: it lies at the edge, and hardly any number of {m.of} would tell"
        needed = math.ceil(max(m.n, 1) * (half / away) ** 2)
        return f"{self.name}: about {max(needed, m.n + 1)} {m.of} instead of {m.n}, if it stays"


@dataclass(frozen=True)
class Finding:
    """One sentence of a document (or of ours), whether it came out, and its figures: in a line
    (`shown`), or as a table. `columns` maps each heading to the format of its numbers.

    `sides` are the measurements it was judged by. A claim without any is `settled`: arithmetic that
    no run can change, which tests hold.
    """

    claim: str
    columns: Mapping[str, str] = field(default_factory=dict)
    rows: Sequence[tuple[Cell, ...]] = ()
    verdict: Verdict = Verdict.YES
    shown: str = ""
    sides: Sequence[Side] = ()
    decided_by: str = ""
    settled: bool = True

    @property
    def holds(self) -> bool | None:
        """The verdict for programs; None where nobody can tell."""
        return {Verdict.YES: True, Verdict.NO: False, Verdict.CANNOT_TELL: None}[self.verdict]

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


def judged(claim: str, *sides: Side, shown: str = "") -> Finding:
    """The claim that every side holds.

    Yes if each does over all of its 95 % interval. No if one cannot, at a confidence that all
    together are wrong in at most one case of twenty (Bonferroni). Else nobody can tell, and it says
    what would decide it.

    >>> judged("it gains", Side("gain", mean([0.5, 1.0, 0.8, 0.9]), least=0)).verdict
    <Verdict.YES: 'yes'>
    >>> found = judged("it gains", Side("gain", mean([-9.0, 9.0, 0.0]), least=0))
    >>> found.verdict, found.decided_by
    (<Verdict.CANNOT_TELL: 'cannot tell'>, 'gain: it lies at the edge, and hardly any number of seeds would tell')
    """
    if not sides:
        raise ValueError(f"nothing was measured for the claim {claim!r}")
    refuted = 1 - (1 - CONFIDENCE) / len(sides)
    if all(side.holds() for side in sides):
        verdict, decided_by = Verdict.YES, ""
    elif any(side.fails(refuted) for side in sides):
        verdict, decided_by = Verdict.NO, ""
    else:
        verdict = Verdict.CANNOT_TELL
        decided_by = "; ".join(side.decided_by() for side in sides if not side.holds())
    figures = shown or "; ".join(f"{side.name} {side.measured.text()}" for side in sides)
    return Finding(claim, {}, (), verdict, figures, sides, decided_by, settled=False)


def never(claim: str, broken: int, n: int, of: str, shown: str = "") -> Finding:
    """The claim that something never happens, from a sample: a single case is a no. None in so many
    that it happens in less than one of twenty is a yes; in fewer, nobody can tell.

    >>> never("falls", 0, 100, "markets").verdict, never("falls", 0, 4, "markets").verdict
    (<Verdict.YES: 'yes'>, <Verdict.CANNOT_TELL: 'cannot tell'>)
    >>> never("falls", 1, 4, "markets").verdict
    <Verdict.NO: 'no'>
    """
    side = Side("how often not", share(broken, n, of), most=RARE)
    least = math.ceil(math.log((1 - CONFIDENCE) / 2) / math.log(1 - RARE))
    verdict, decided_by = Verdict.CANNOT_TELL, f"about {least} {of} without one; there are {n}"
    if broken or side.holds():
        verdict, decided_by = (Verdict.NO if broken else Verdict.YES), ""
    return Finding(claim, {}, (), verdict, shown, (side,), decided_by, settled=False)


def counted(claim: str, holds: bool, shown: str) -> Finding:
    """A claim about these very data, counted without error; others might say otherwise."""
    return Finding(claim, verdict=Verdict.YES if holds else Verdict.NO, shown=shown, settled=False)


def settled(claim: str, holds: bool, shown: str) -> Finding:
    """A statement that arithmetic settles: it comes out the same in every run, and tests hold
    it.
    """
    return Finding(claim, verdict=Verdict.YES if holds else Verdict.NO, shown=shown)


def _formatted(cell: Cell, form: str) -> str:
    return "" if cell is None else cell if isinstance(cell, str) else format(cell, form)


def _plain(cell: Cell) -> Cell:
    return cell.item() if isinstance(cell, np.generic) else cell
