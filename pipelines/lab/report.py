"""What a study leaves in its folder: tables as CSV, plots as SVG, and one page that says what was
claimed and what came out.

What belongs here: writing. What is computed, and what a document claims of it, is in the study's
own module.
"""

from __future__ import annotations

import csv
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
from pipelines.lab.finding import Finding
from pipelines.plain import Markdown, csv_cell, markdown_table

if TYPE_CHECKING:
    import pandas as pd

_F = TypeVar("_F", bound=Callable[..., Any])


class ReportError(ExpectedError, LookupError):
    """A folder that no study has filled: names it."""


@dataclass(frozen=True)
class Report:
    """A folder that fills up: `table` and `plot` write files and mention them on the page, `write`
    writes the page itself.
    """

    folder: Path
    title: str
    lines: list[str] = field(default_factory=list)
    claims: list[Finding] = field(default_factory=list)

    def say(self, text: str) -> None:
        """A paragraph of the page."""
        self.lines.extend([text, ""])

    def claim(self, says: str, holds: bool, shown: str) -> None:
        """A line of the table of claims."""
        self.claims.append(Finding(says, holds=bool(holds), shown=shown))

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
        self.lines.extend([f"**{caption}** ([{name}.csv]({name}.csv))", ""])
        if most:
            self.lines.extend(markdown_table(columns, rows[:most]))
            self.lines.extend(
                [f"and {len(rows) - most} more rows", ""] if len(rows) > most else [""]
            )

    @contextmanager
    def plot(self, name: str, caption: str, *, rows: int = 1, columns: int = 1) -> Iterator[Any]:
        """Axes (an array of them, if there are several) of a plot that becomes `name`.svg."""
        import matplotlib as mpl
        from matplotlib.backends.backend_svg import FigureCanvasSVG
        from matplotlib.figure import Figure

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
            yield figure.subplots(rows, columns)
            with replacing(self.folder / f"{name}.svg") as partial:
                figure.savefig(partial, format="svg", metadata={"Date": None})
        self.lines.extend([f"![{caption}]({name}.svg)", "", f"*{caption}*", ""])

    def write(self) -> Path:
        """`report.md`: the claims first, then everything in the order in which it was said."""
        head = [f"# {self.title}", ""]
        if self.claims:
            head += markdown_table(
                ("claim", "came out", "figures"),
                [
                    (Markdown(c.claim), Markdown("yes" if c.holds else "**no**"), Markdown(c.shown))
                    for c in self.claims
                ],
            )
            head.append("")
        path = self.folder / "report.md"
        with replacing(path) as partial:
            partial.write_text("\n".join(head + self.lines), encoding="utf-8")
        return path


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
        claims = [{"claim": c.claim, "holds": c.holds, "figures": c.shown} for c in report.claims]
        print_json({"title": report.title, "folder": str(report.folder), "claims": claims})
        return
    for c in report.claims:
        OUT.print(styled("yes", "green") if c.holds else styled("no ", "yellow"), f" {c.claim}")
        OUT.print(styled(f"     {c.shown}", "dim"))
    OUT.print(f"{short(page)}: the whole study, with tables and plots")


def progress(text: str) -> None:
    """One line on standard error."""
    ERR.print(styled(text, "dim"))
