"""Small plots in an asset's metadata: a PNG inside Markdown, which the web UI shows as it is."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from typing import Any

import dagster as dg


def picture(
    draw: Callable[[Any], None], caption: str, *, columns: int = 1
) -> dg.MarkdownMetadataValue:
    """What `draw` puts on its axes (an array of them, if there are several columns)."""
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    content = io.BytesIO()
    with mpl.rc_context({"text.parse_math": False}):  # a `$` in a name is a `$`
        figure = Figure(figsize=(5.0 * columns, 3.2), layout="constrained", dpi=72)
        FigureCanvasAgg(figure)
        draw(figure.subplots(1, columns))
        figure.savefig(content, format="png")
    encoded = base64.b64encode(content.getvalue()).decode()
    return dg.MetadataValue.md(f"![{caption}](data:image/png;base64,{encoded})\n\n{caption}")
