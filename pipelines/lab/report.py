"""What a study leaves in its folder: tables as CSV, plots as SVG, and one page that says what was
claimed and what came out.

What belongs here: writing. What is computed, and what a document claims of it, is in the study's
own module; how a claim is judged is in `finding`.
"""

from __future__ import annotations

import base64
import csv
import math
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from pipelines.console import ERR, OUT, option, print_json, short, styled
from pipelines.errors import ExpectedError
from pipelines.files import replacing
from pipelines.lab.finding import Finding, Side, Verdict, counted, judged, never, settled
from pipelines.plain import csv_cell, page_template, visible

if TYPE_CHECKING:
    import pandas as pd
    from markupsafe import Markup

_F = TypeVar("_F", bound=Callable[..., Any])

PAGE = "report.html"


class ReportError(ExpectedError, LookupError):
    """A folder that no study has filled: names it."""


@dataclass(frozen=True)
class Block:
    """One piece of the page: a "section", "text", "claim", "table" or "figure"."""

    kind: str
    text: str = ""
    claim: Finding | None = None
    columns: Sequence[str] = ()
    rows: Sequence[Sequence[Any]] = ()
    more: int = 0
    file: str = ""
    picture: str = ""


@dataclass(frozen=True)
class Report:
    """A folder that fills up: `table` and `plot` write files and show them on the page, a claim
    stands where it is made and in the list at the top, `write` writes the page itself.

    `mark` is what the page and the command say first of a run that is shorter than it should be.
    """

    folder: Path
    title: str
    blocks: list[Block] = field(default_factory=list)
    mark: str = ""

    @property
    def claims(self) -> list[Finding]:
        """Those that data or chance decide, and those that arithmetic settles, in order."""
        return [block.claim for block in self.blocks if block.claim is not None]

    def section(self, title: str) -> None:
        """A heading, which the table of contents lists."""
        self.blocks.append(Block("section", title))

    def say(self, text: str) -> None:
        """Paragraphs of the page, an empty line between two."""
        self.blocks.extend(Block("text", part) for part in text.split("\n\n"))

    def judge(self, says: str, *sides: Side, shown: str = "") -> None:
        """A claim that measurements decide, by their intervals."""
        self._claim(judged(says, *sides, shown=shown))

    def never(self, says: str, broken: int, n: int, of: str, shown: str) -> None:
        """A claim that something never happens, from a sample."""
        self._claim(never(says, broken, n, of, shown))

    def counted(self, says: str, holds: bool, shown: str) -> None:
        """A claim about these data, counted without error."""
        self._claim(counted(says, bool(holds), shown))

    def settled(self, says: str, holds: bool, shown: str) -> None:
        """A statement that arithmetic settles, in every run alike."""
        self._claim(settled(says, bool(holds), shown))

    def _claim(self, found: Finding) -> None:
        self.blocks.append(Block("claim", claim=found))

    def table(
        self,
        name: str,
        columns: Sequence[str],
        rows: Sequence[Sequence[Any]],
        caption: str,
        *,
        most: int = 40,
    ) -> None:
        """`name`.csv with all digits, and the first rows on the page (none: only what it is
        called).
        """
        with (
            replacing(self.folder / f"{name}.csv") as partial,
            partial.open("w", newline="", encoding="utf-8") as stream,
        ):
            writer = csv.writer(stream, lineterminator="\n")
            writer.writerow(columns)
            writer.writerows([csv_cell(value) for value in row] for row in rows)
        self.blocks.append(
            Block(
                "table",
                caption,
                columns=columns,
                rows=rows[:most],
                more=len(rows) - len(rows[:most]),
                file=f"{name}.csv",
            )
        )

    @contextmanager
    def plot(self, name: str, caption: str, *, rows: int = 1, columns: int = 1) -> Iterator[Any]:
        """Axes (an array of them, lettered, if there are several) of a plot that becomes
        `name`.svg.
        """
        import matplotlib as mpl
        import numpy as np
        from matplotlib.backends.backend_svg import FigureCanvasSVG
        from matplotlib.figure import Figure

        file = self.folder / f"{name}.svg"
        with mpl.rc_context(
            {
                "svg.hashsalt": name,
                "font.size": 9,
                "axes.grid": True,
                "grid.alpha": 0.3,
                "text.parse_math": False,  # a `$` in a name is a `$`
            }
        ):
            figure = Figure(figsize=(6.4 * columns, 4.0 * rows), layout="constrained")
            FigureCanvasSVG(figure)
            axes = figure.subplots(rows, columns)
            yield axes
            if rows * columns > 1:
                for letter, axis in zip("abcdefghijkl", np.ravel(axes), strict=False):
                    axis.set_title(f"({letter})", loc="left", fontweight="bold")
            with replacing(file) as partial:
                figure.savefig(partial, format="svg", metadata={"Date": None})
        picture = base64.b64encode(file.read_bytes()).decode("ascii")
        self.blocks.append(Block("figure", caption, file=file.name, picture=picture))

    def write(self) -> Path:
        """The page: what came out first, then everything in the order in which it was said. It
        needs nothing else, not even the other files of the folder.
        """
        template = page_template(
            "lab", "report.html.j2", shown=_shown, figure=_digits, emphasised=_emphasised
        )
        numbered = [(n, c) for n, c in enumerate(self.blocks) if c.claim is not None]
        page = template.render(
            title=self.title,
            mark=self.mark,
            blocks=list(enumerate(self.blocks)),
            sections=[(n, b.text) for n, b in enumerate(self.blocks) if b.kind == "section"],
            open_claims=[(n, b.claim) for n, b in numbered if b.claim and not b.claim.settled],
            settled_claims=[(n, b.claim) for n, b in numbered if b.claim and b.claim.settled],
            classes={verdict: verdict.name.lower() for verdict in Verdict},
        )
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / PAGE
        with replacing(path) as partial:
            partial.write_text(page, encoding="utf-8")
        return path


def _shown(value: object) -> object:
    return visible(value) if isinstance(value, str) and not hasattr(value, "__html__") else value


def _digits(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _emphasised(text: str) -> Markup:
    """Our own text, escaped, with *words* between asterisks emphasised."""
    from markupsafe import Markup, escape

    return Markup(re.sub(r"\*([\w ]+)\*", r"<em>\1</em>", str(escape(visible(text)))))


def read_tables(folder: str | PathLike[str]) -> dict[str, pd.DataFrame]:
    """The tables that a study left in a folder, by name, as data frames."""
    import pandas as pd

    def text(value: object) -> object:
        """As it was before it was made safe for spreadsheets."""
        return value[1:] if isinstance(value, str) and csv_cell(value[1:]) == value else value

    files = sorted(Path(folder).glob("*.csv"))
    if not files:
        raise ReportError(f"{folder}: no study has left its tables there; earnings lab --help")
    frames = {path.stem: pd.read_csv(path, dtype_backend="numpy_nullable") for path in files}
    return {name: frame.map(text) for name, frame in frames.items()}


def into_folder(name: str) -> Callable[[_F], _F]:
    """The option of every study: where its files go."""
    return option(
        "--out",
        "folder",
        type=click.Path(file_okay=False, path_type=Path),
        default=Path("lab") / name,
        help="Folder of the files.",
    )


def finish(report: Report, as_json: bool) -> None:
    """Write the page, and say what came out."""
    page = report.write()
    if as_json:
        print_json(
            {
                "title": report.title,
                "folder": str(report.folder),
                "page": str(page),
                "short_run": report.mark,
                "claims": [_record(c) for c in report.claims],
            }
        )
        return
    if report.mark:
        OUT.print(styled(report.mark, "yellow"))
    colours = {Verdict.YES: "green", Verdict.NO: "yellow", Verdict.CANNOT_TELL: "cyan"}
    for c in report.claims:
        OUT.print(styled(f"{c.verdict:<11}", colours[c.verdict]), f" {c.claim}")
        OUT.print(styled(f"             {c.shown}", "dim"))
        if c.decided_by:
            OUT.print(styled(f"             would decide it: {c.decided_by}", "dim"))
    OUT.print(f"{short(page)}: the whole study, with tables and plots")


def _record(c: Finding) -> dict[str, Any]:
    return {
        "claim": c.claim,
        "verdict": str(c.verdict),
        "holds": c.holds,
        "settled": c.settled,
        "figures": c.shown,
        "measured": [
            {
                "name": side.name,
                "value": _finite(side.measured.value),
                "low": _finite(side.measured.interval[0]),
                "high": _finite(side.measured.interval[1]),
                "n": side.measured.n,
                "of": side.measured.of,
                "unit": side.measured.unit,
            }
            for side in c.sides
        ],
        "decided_by": c.decided_by,
    }


def _finite(value: float) -> float | None:
    """JSON knows no other."""
    return value if math.isfinite(value) else None


def progress(text: str) -> None:
    """One line on standard error."""
    ERR.print(styled(text, "dim"))
