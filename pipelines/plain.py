"""Data made safe to show. Ids, names, reasons and file names are any text, so wherever people read
them they pass through here: on a terminal, on a page in Markdown, in a cell of a spreadsheet.

HTML is escaped by the template engine, after `visible`: `page_template` sets it up, for every page.
What does not belong here: JSON, which has an escape of its own for everything.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Template

# Control characters, invisible ones and those that turn the direction of writing, halves of a
# character, separators of lines and paragraphs.
_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
_SIMPLE = re.compile(r"\w[\w ,.%+/()'-]*|[-+\d.,eE%\[\]; ]*\d[-+\d.,eE%\[\]; ]*")
_ADDRESS = re.compile(r"www\.", re.IGNORECASE)
_NUMBER = re.compile(r"[-+]?[\d.,]+(e[-+]?\d+)?%?", re.IGNORECASE)


def visible(value: object, *, lines: bool = False) -> str:
    r"""A value as text in which nothing is hidden: characters that are not seen, or that a terminal
    would obey, are shown as Python writes them.

    Parameters
    ----------
    lines
        Keep line ends. Only for text of our own: in data they would make up lines.

    Examples
    --------
    >>> print(visible("c1\x1b[31m\u202etxt"), visible("a\nb"), visible(12), visible("Zoë 😀"))
    c1\x1b[31m\u202etxt a\nb 12 Zoë 😀
    """
    text = str(value)
    if (text.replace("\n", "") if lines else text).isprintable():
        return text
    return "".join(
        repr(c)[1:-1] if unicodedata.category(c) in _UNSEEN and not (lines and c == "\n") else c
        for c in text
    )


class Markdown(str):
    """Text of a table that is Markdown of our own; any other is shown as it stands."""

    __slots__ = ()


def markdown_cell(value: object) -> str:
    r"""A value for a cell of a Markdown table. What is more than words and numbers becomes code, in
    which nothing is read as a link, a picture, HTML, or the end of the cell.

    >>> for value in (0.123456789, "music", Markdown("**no**"), "a|b", "<b>`x`", "a_b_c"):
    ...     print(markdown_cell(value))
    0.123457
    music
    **no**
    `a\|b`
    `` <b>`x` ``
    `a_b_c`
    """
    if isinstance(value, Markdown):
        return value
    text = visible(f"{value:.6g}" if isinstance(value, float) else value)
    if not text or (_SIMPLE.fullmatch(text) and "_" not in text and not _ADDRESS.search(text)):
        return text
    if r"\|" in text or text.isspace():  # would end the cell, even as code
        return "".join(c if c.isalnum() else f"&#{ord(c)};" for c in text)
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", text)), default=0))
    space = " " if text[0] in "` " or text[-1] in "` " else ""
    return f"{fence}{space}{text}{space}{fence}".replace("|", r"\|")


def markdown_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """The lines of a Markdown table.

    >>> print("\\n".join(markdown_table(("pool", "micros"), [("a*b*", 12)])))
    | pool | micros |
    | --- | --- |
    | `a*b*` | 12 |
    """
    head, *body = ([markdown_cell(value) for value in row] for row in (columns, *rows))
    return [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *body)]


def csv_cell(value: object) -> object:
    """A value for a CSV file that somebody opens in a spreadsheet: text that would be read as a
    formula gets an apostrophe before it, as spreadsheets write such text themselves.

    >>> [csv_cell(value) for value in ("=1+1", "@x", "-c1", "-0.5", -0.5, "c1", "\\ta")]
    ["'=1+1", "'@x", "'-c1", '-0.5', -0.5, 'c1', "'\\ta"]
    """
    if isinstance(value, str) and value.startswith(
        ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
    ):
        return value if _NUMBER.fullmatch(value) else f"'{value}"
    return value


def _seen(value: Any) -> Any:
    return visible(value) if type(value) is str else value


def page_template(
    room: str, name: str, *, shown: Callable[[Any], Any] = _seen, **filters: Callable[..., Any]
) -> Template:
    """A page's template that lies in a room of `pipelines/`. Whatever it shows is escaped, and a
    name that it does not get is an error.

    Parameters
    ----------
    shown
        What a value is shown as, before it is escaped; text as `visible` has it.
    filters
        By the names under which the template calls them.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("pipelines", room),
        autoescape=True,
        finalize=shown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= filters
    return environment.get_template(name)
