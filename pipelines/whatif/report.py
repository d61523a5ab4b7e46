"""What a what-if leaves in a folder: its tables as files, and one page to read.

What belongs here: writing. What is in the tables is in `comparison.py` and `frontier.py`.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from pipelines.errors import ExpectedError
from pipelines.files import replacing
from pipelines.money import money
from pipelines.plain import csv_cell, page_template
from pipelines.whatif.comparison import Comparison

Format = Literal["csv", "parquet", "xlsx"]
_MEANINGS = {
    "gini": "Gini coefficient of what creators get",
    "top_1_percent_share": "part of the top 1 % of creators",
    "small_creators_share": "part of the half with fewer followers",
    "creators_share": "part of all money that creators get",
    "platform_share": "part of all money that the platform keeps",
    "efficiency": "efficiency of pools: sum of s p over sum of p",
    "creators_paid": "creators who get anything",
}


def tables_of(found: Comparison) -> dict[str, pd.DataFrame]:
    """The tables of a comparison, by the name of their file. Amounts are whole micros."""
    return {
        "totals": found.totals,
        "parts": found.parts,
        "measures": found.measures,
        "creators": found.creators,
        "by_followers": found.by_followers,
        "by_size": found.by_size,
        "by_category": found.by_category,
        "lorenz": found.lorenz(),
    }


def write_tables(folder: Path, tables: dict[str, pd.DataFrame], kind: Format) -> list[Path]:
    """Write every table: a file each, or one workbook with a sheet each."""
    folder.mkdir(parents=True, exist_ok=True)
    if kind == "xlsx":
        path = folder / "whatif.xlsx"
        with replacing(path) as partial:
            try:
                with pd.ExcelWriter(partial, engine="openpyxl") as book:
                    for name, table in tables.items():
                        _cells(table).to_excel(book, sheet_name=name[:31], index=False)
            except ModuleNotFoundError as error:
                raise ExpectedError(
                    "a workbook needs openpyxl: pip install openpyxl, or take --format csv"
                ) from error
        return [path]
    paths = []
    for name, table in tables.items():
        path = folder / f"{name}.{kind}"
        with replacing(path) as partial:
            if kind == "csv":
                _cells(table).to_csv(partial, index=False)
            else:
                table.reset_index().to_parquet(partial, index=False)
        paths.append(path)
    return paths


def _cells(table: pd.DataFrame) -> pd.DataFrame:
    """The table with its index as a column, and no text in it that a spreadsheet would compute."""
    flat = table.reset_index()
    for name in flat.columns:
        if not pd.api.types.is_numeric_dtype(flat[name]):
            flat[name] = flat[name].map(csv_cell)
    return flat


def write_page(
    folder: Path,
    comparisons: Sequence[Comparison],
    points: pd.DataFrame | None = None,
    axes: Sequence[str] = (),
) -> Path:
    """`index.html`: everything on one page, with charts, that needs nothing else."""
    template = page_template(
        "whatif", "page.html.j2", amount=money, figure=lambda value: f"{value:,.4g}"
    )
    page = template.render(
        comparisons=[
            {
                "it": found,
                "first": found.a.days["day"][0].as_py(),
                "last": found.a.days["day"][-1].as_py(),
                "lorenz": _svg(_lorenz(found), "lorenz"),
                "sizes": _svg(_sizes(found), "sizes"),
            }
            for found in comparisons
        ],
        meanings=_MEANINGS,
        points=None if points is None else points.to_dict("records"),
        axes=list(axes),
        plane=None if points is None else _svg(_plane(points), "plane"),
    )
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "index.html"
    with replacing(path) as partial:
        partial.write_text(page, encoding="utf-8")
    return path


def _svg(draw: Callable[[Any], None], salt: str) -> str:
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    style: Any = {"svg.hashsalt": salt, "font.size": 9, "axes.grid": True, "grid.alpha": 0.3}
    with mpl.rc_context(style):
        figure = Figure(figsize=(5.2, 3.4), layout="constrained")
        FigureCanvasSVG(figure)
        draw(figure.subplots())
        content = io.StringIO()
        figure.savefig(content, format="svg", metadata={"Date": None})
    text = content.getvalue()
    return text[text.index("<svg") :]


def _lorenz(found: Comparison) -> Callable[[Any], None]:
    def draw(axes: Any) -> None:
        curves = found.lorenz()
        axes.plot(curves.index, curves["a"], label=found.a.name)
        axes.plot(curves.index, curves["b"], label=found.b.name)
        axes.plot([0, 1], [0, 1], color="0.7", linewidth=0.8)
        axes.set(xlabel="creators, the least paid first", ylabel="part of the money")
        axes.legend()

    return draw


def _sizes(found: Comparison) -> Callable[[Any], None]:
    def draw(axes: Any) -> None:
        table = found.by_size
        n = table["creators"].clip(lower=1)
        axes.bar(table.index, table["gain"] / n, label="gain", color="C0")
        axes.bar(table.index, -table["lose"] / n, label="lose", color="C1")
        axes.set(
            xlabel=f"tenths of creators by what {found.a.name} pays, the least first",
            ylabel="part that gains or loses 1 % or more",
            ylim=(-1, 1),
        )
        axes.legend()

    return draw


def _plane(points: pd.DataFrame) -> Callable[[Any], None]:
    def draw(axes: Any) -> None:
        paid = points[points["problem"] == ""]
        for dominated, colour, label in ((True, "0.75", "beaten"), (False, "C0", "not beaten")):
            part = paid[paid["dominated"] == dominated]
            axes.scatter(
                part["efficiency"], part["small_creators_share"], s=16, color=colour, label=label
            )
        now = paid.iloc[0]
        axes.plot([now["efficiency"]], [now["small_creators_share"]], "k*", label="as it is")
        axes.set(xlabel="efficiency", ylabel="part of the half with fewer followers")
        axes.legend()

    return draw
