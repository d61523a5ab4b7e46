"""Statements as files: a page to look at, one to print, a table with every line, and an index.

What belongs here: what a statement says and in which order, once, and the ways to write that down.
Reading the book is in `issued.py`. A file is a function of the ledger, the settings and the day it
is made for: made again it has the same bytes.

HTML has no script and needs nothing from the network. PDF is drawn by ReportLab, the font is
DejaVu Sans, which matplotlib brings along. Measured, CPU of one core for 10,000 statements of a
month: CSV 9 s, HTML 19 s, PDF 116 s. A page of 50 lines took ReportLab 9 ms, fpdf2 80 ms with an
embedded font.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache, partial
from pathlib import Path
from typing import Any, Literal

from pipelines.files import replacing
from pipelines.money import MICROS_PER_CENT
from pipelines.payouts.amounts import FALLBACK, Amounts, known_locale
from pipelines.payouts.issued import (
    Detail,
    Issued,
    NoStatementsError,
    closing_of,
    issued,
    year_totals,
)
from pipelines.plain import csv_cell, page_template, visible
from pipelines.settings import Home
from pipelines.store.warehouse import Connection

Format = Literal["html", "pdf", "csv"]
FORMATS: tuple[Format, ...] = ("html", "pdf", "csv")
_HISTORY = 12


@dataclass(frozen=True)
class Section:
    """A heading over a table; the last column is an amount. `total`: the last row is a sum."""

    title: str
    rows: tuple[tuple[str, ...], ...]
    columns: tuple[str, ...] = ()
    note: str = ""
    total: bool = False


@dataclass(frozen=True)
class Document:
    """Everything that a statement says, as text."""

    title: str
    creator_id: str
    facts: tuple[str, ...]
    boxes: tuple[tuple[str, str], ...]
    sections: tuple[Section, ...]
    locale: str


def document(of: Issued, amounts: Amounts, *, platform: str, on: date) -> Document:
    """What one statement says."""
    now, day, micros, cents = of.statement, amounts.day, amounts.micros, amounts.cents
    facts = [
        f"{day(now.first_day)} – {day(now.day)} (UTC)",
        f"Amounts in {amounts.currency_name}; days are closed and change only by later corrections.",
        f"Payments as of {day(on)}.",
    ]
    if of.estimates:
        facts.append(
            f"{micros(of.estimated_micros)} of this rests on estimated ad revenue: it is paid as it"
            " is, and corrected on a later statement when the revenue is final."
        )
    boxes = [
        ("stated", cents(now.paid_cents)),
        ("earned", micros(now.earned_micros)),
        *([("corrections", micros(now.restated_micros))] if now.restated_micros else []),
        ("left for the next statement", micros(now.carried_forward_micros)),
    ]
    title = f"Statement through {day(now.day)}"
    return Document(
        f"{platform}: {title}" if platform else title,
        of.creator_id,
        tuple(facts),
        tuple(boxes),
        tuple(section for section in _sections(of, amounts) if section.rows),
        amounts.locale,
    )


def _sections(of: Issued, amounts: Amounts) -> Iterator[Section]:
    now, day, micros, cents = of.statement, amounts.day, amounts.micros, amounts.cents
    yield Section(
        "Your account",
        (
            ("Left from before", micros(of.brought_forward_micros)),
            ("Earned", micros(now.earned_micros)),
            ("Corrections of days that were closed before", micros(now.restated_micros)),
            ("Stated, in whole cents", f"{micros(-MICROS_PER_CENT * now.paid_cents)}"),
            ("Left for the next statement", micros(now.carried_forward_micros)),
        ),
        total=True,
    )
    sources, days = Counter[str](), Counter[date]()
    for line in of.lines:
        if not line.correction:
            sources[source(line.part)] += line.micros
            days[line.booked_day] += line.micros
    by_source = sorted(sources.items(), key=lambda item: (-item[1], item[0]))
    yield Section("Where it came from", tuple((name, micros(sum_)) for name, sum_ in by_source))
    yield Section("Each day", tuple((day(on), micros(sum_)) for on, sum_ in sorted(days.items())))
    yield Section(
        "Estimated",
        tuple((day(on), micros(sum_)) for on, sum_ in of.estimates),
        note="Pay from pools and videos whose ad revenue is estimated, as the days stand now.",
    )
    corrected = Counter[tuple[date, str]]()
    for line in of.lines:
        if line.correction:
            corrected[line.day, line.reason] += line.micros
    yield Section(
        "Corrections",
        tuple(
            (day(on), why, micros(sum_)) for (on, why), sum_ in sorted(corrected.items()) if sum_
        ),
    )
    yield Section(
        "Corrections, video by video",
        tuple(
            (f"{d.video_id} {day(d.day)}", f"{source(d.what)}: {d.reason}",
             f"{micros(d.before_micros or 0)} → {micros((d.before_micros or 0) + (d.micros or 0))}",
             micros(d.micros or 0))
            for d in of.corrections
        ),
        ("video and day", "why", "was → is", "change"),
    )  # fmt: skip
    yield Section(
        "What does not count",
        tuple(
            (f"{d.video_id} {day(d.day)}", d.reason, d.what,
             micros(d.micros) if d.micros is not None else "")
            for d in of.taken_out
        ),
        note="Taken out by a decision. If you think it is wrong, appeal with the platform.",
    )  # fmt: skip
    shares = Counter[str]()
    for line in of.lines:
        if line.part.startswith("share:"):
            shares[line.part.removeprefix("share:")] += line.micros
    yield Section(
        "Parts in videos",
        tuple((video, micros(sum_)) for video, sum_ in sorted(shares.items())),
        note="From others' videos, less what others have in yours.",
    )
    yield Section("Your best videos", tuple((video, micros(sum_)) for video, sum_ in of.videos))
    yield Section(
        "Payments",
        tuple(
            (day(t.requested_on), _transfer(t.state, t.happened_on, t.reason, amounts),
             t.payment_id, micros(t.micros))
            for t in of.transfers
        ),
    )  # fmt: skip
    yield Section(
        "Not paid yet",
        tuple(
            (w.why + (f" until {day(w.until)}" if w.until else ""), micros(w.micros))
            for w in of.waiting
        ),
    )
    past = of.history[-_HISTORY:]
    yield Section(
        "Statements so far",
        tuple(
            (f"{day(p.first_day)} – {day(p.day)}", micros(p.earned_micros),
             micros(p.restated_micros), cents(p.paid_cents))
            for p in past
        ),
        ("closed days", "earned", "corrections", "stated"),
    )  # fmt: skip
    of_year = [p for p in of.history if p.day.year == now.day.year]
    paid = [t for t in of.transfers if t.state == "paid" and t.happened_on]
    in_year = sum(t.micros for t in paid if t.happened_on and t.happened_on.year == now.day.year)
    yield Section(
        f"{now.day.year} so far",
        (
            ("stated", cents(sum(p.paid_cents for p in of_year))),
            ("paid", cents(in_year // MICROS_PER_CENT)),
        ),
    )


def _transfer(state: str, happened_on: date | None, reason: str, amounts: Amounts) -> str:
    if happened_on is None:
        return "sent; the bank has not answered"
    word = "paid" if state == "paid" else "came back"
    return f"{word} {amounts.day(happened_on)}{f': {reason}' if reason else ''}"


def source(part: str) -> str:
    """A part of the ledger as creators read it.

    >>> source("ads:music"), source("share:v1"), source("pulse")
    ('ad pool music', 'parts in videos', 'Pulse')
    """
    kind, _, name = part.partition(":")
    match kind:
        case "ads":
            return f"ad pool {name}"
        case "carry":
            return f"ad pool {name}, carried in"
        case "bonus":
            return f"bonus for {name}"
        case "share":
            return "parts in videos"
    return {"pulse": "Pulse", "coins": "gifted coins"}.get(kind, kind)


# --------------------------------------------------------------------------------------------------


def as_html(of: Document) -> bytes:
    """One page; reads on a phone, prints on A4."""
    page: str = _template("issued.html.j2").render(of=of)
    return page.encode()


def as_pdf(of: Document) -> bytes:
    """Pages of A4. What the font has no sign for stands as its number, `<U+4E2D>`."""
    from reportlab.pdfgen.canvas import Canvas

    font, glyphs = _font()
    out = io.BytesIO()
    canvas = Canvas(out, pagesize=(595, 842), pageCompression=1, invariant=1)
    canvas.setTitle(_drawable(f"{of.title}, {of.creator_id}", glyphs))
    page = _Page(canvas, font, glyphs)
    page.text(of.title, size=15, gap=22)
    page.text(of.creator_id, size=11, gap=16)
    for fact in of.facts:
        page.text(fact, size=8.5, gap=12)
    page.columns(of.boxes)
    for box in of.boxes:
        page.row(box, bold=True)
    for section in of.sections:
        page.heading(section.title)
        if section.note:
            page.text(section.note, size=7.5, gap=11)
        page.columns([*([section.columns] if section.columns else []), *section.rows])
        if section.columns:
            page.row(section.columns, soft=True)
        for number, row in enumerate(section.rows, 1):
            page.row(row, bold=section.total and number == len(section.rows))
    canvas.save()
    return out.getvalue()


class _Page:
    """Draws from the top down, and begins a page where the last one ends."""

    LEFT, RIGHT, TOP, BOTTOM = 45, 550, 800, 45

    def __init__(self, canvas: Any, font: str, glyphs: frozenset[int]) -> None:
        self.canvas, self.font, self.glyphs = canvas, font, glyphs
        self.y: float = self.TOP
        self.share: list[float] = [1.0]

    def _room(self, gap: float) -> None:
        if self.y - gap < self.BOTTOM:
            self.canvas.showPage()
            self.y = self.TOP
        self.y -= gap

    def heading(self, text: str) -> None:
        """With room for a line below it."""
        if self.y - 50 < self.BOTTOM:
            self.canvas.showPage()
            self.y = self.TOP
        self.y -= 8
        self.text(text, size=10.5, gap=14)
        self.canvas.setLineWidth(0.5)
        self.canvas.line(self.LEFT, self.y - 3, self.RIGHT, self.y - 3)
        self.y -= 3

    def text(self, text: str, *, size: float, gap: float) -> None:
        for line in self._wrapped(text, size, self.RIGHT - self.LEFT):
            self._room(gap)
            self.canvas.setFont(self.font, size)
            self.canvas.drawString(self.LEFT, self.y, line)

    def columns(self, rows: Sequence[Sequence[str]]) -> None:
        """Share the page between the columns of words: each what its longest cell needs, and where
        that is too much, no column more than an even part of what the narrow ones leave.
        """
        words = [[_drawable(cell, self.glyphs) for cell in row[:-1]] for row in rows]
        wide = [
            max(self._width(cell, 8.0) for cell in column) + 8
            for column in zip(*words, strict=True)
        ]
        room = (
            self.RIGHT
            - self.LEFT
            - 12
            - max(self._width(_drawable(row[-1], self.glyphs), 9.0) for row in rows)
        )
        left, found = room, [0.0] * len(wide)
        for rest, place in enumerate(sorted(range(len(wide)), key=wide.__getitem__)):
            found[place] = min(wide[place], left / (len(wide) - rest))
            left -= found[place]
        found[-1] += max(0.0, left)
        self.share = [width / room for width in found]

    def row(self, cells: Sequence[str], *, bold: bool = False, soft: bool = False) -> None:
        """The last cell, an amount, on the right; the others in their columns, in as many lines
        as they need.
        """
        size = 9.0 if bold else 7.5 if soft else 8.0
        *words, amount = cells
        amount = _drawable(amount, self.glyphs)
        room = self.RIGHT - self.LEFT - self._width(amount, size) - 12
        share = self.share
        columns = [
            self._wrapped(word, size, room * part - 6)
            for word, part in zip(words, share, strict=True)
        ]
        for number in range(max(map(len, columns))):
            self._room(size + 4)
            self.canvas.setFont(self.font, size)
            x = float(self.LEFT)
            for lines, part in zip(columns, share, strict=True):
                if number < len(lines):
                    self.canvas.drawString(x, self.y, lines[number])
                x += room * part
            if number == 0:
                self.canvas.drawRightString(self.RIGHT, self.y, amount)

    def _width(self, text: str, size: float) -> float:
        return float(self.canvas.stringWidth(text, self.font, size))

    def _wrapped(self, text: str, size: float, room: float) -> list[str]:
        text = _drawable(text, self.glyphs)
        if self._width(text, size) <= room:
            return [text]
        lines = [""]
        for word in text.split(" "):
            for piece in self._pieces(word, size, room):
                longer = f"{lines[-1]} {piece}".strip()
                if self._width(longer, size) <= room:
                    lines[-1] = longer
                else:
                    lines.append(piece)
        return [line for line in lines if line] or [""]

    def _pieces(self, word: str, size: float, room: float) -> list[str]:
        """A word, in as many pieces as an id without blanks needs."""
        if self._width(word, size) <= room:
            return [word]
        most = max(1, int(room / size))  # no sign is wider than it is high
        return [word[begin : begin + most] for begin in range(0, len(word), most)]


@cache
def _font() -> tuple[str, frozenset[int]]:
    """The font's name for ReportLab, and the characters it has."""
    import matplotlib
    from reportlab.pdfbase import pdfmetrics
    from reportlab.pdfbase.ttfonts import TTFont

    font = TTFont("DejaVuSans", f"{matplotlib.get_data_path()}/fonts/ttf/DejaVuSans.ttf")
    pdfmetrics.registerFont(font)
    return "DejaVuSans", frozenset(font.face.charToGlyph)


def _drawable(text: str, glyphs: frozenset[int]) -> str:
    text = visible(text)
    if text.isascii():
        return text
    return "".join(c if ord(c) in glyphs else f"<U+{ord(c):04X}>" for c in text)


def as_csv(of: Issued) -> bytes:
    """Every line. Rows of `account` sum to what is left for the next statement (`left`)."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(("section", "day", "booked_day", "what", "video_id", "reason", "amount_micros"))

    def line(section: str, day: date, what: str, micros: int | None, **more: Any) -> None:
        cells = (
            section,
            day,
            more.get("booked", ""),
            what,
            more.get("video", ""),
            more.get("reason", ""),
            "" if micros is None else micros,
        )
        writer.writerow(map(csv_cell, cells))

    now = of.statement
    line("account", now.first_day, "left from before", of.brought_forward_micros)
    for row in of.lines:
        line("account", row.day, row.part, row.micros, booked=row.booked_day, reason=row.reason)
    line("account", now.day, "stated", -MICROS_PER_CENT * now.paid_cents)
    line("left", now.day, "left for the next statement", now.carried_forward_micros)
    details: tuple[tuple[str, Sequence[Detail]], ...] = (
        ("correction", of.corrections),
        ("does not count", of.taken_out),
    )
    for name, found in details:
        for d in found:
            line(name, d.day, d.what, d.micros, video=d.video_id, reason=d.reason)
    for day, micros in of.estimates:
        line("estimated", day, "from estimated revenue", micros)
    for t in of.transfers:
        what, when = f"{t.state} {t.payment_id}", t.happened_on or t.requested_on
        line("payment", when, what, t.micros, booked=t.requested_on, reason=t.reason)
    for w in of.waiting:
        line("not paid", w.until or now.day, w.why, w.micros)
    return out.getvalue().encode()


_template = cache(partial(page_template, "payouts"))  # the same one for thousands of statements


# --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Written:
    """What was written: the folder, how many statements, what they state, and readers whose locale
    there is not (they got the home's).
    """

    folder: Path
    first_day: date
    through: date
    statements: int
    stated_cents: int
    files: int
    unknown_locales: int

    def as_dict(self) -> dict[str, Any]:
        return {
            "folder": str(self.folder),
            "first_day": str(self.first_day),
            "through": str(self.through),
            "statements": self.statements,
            "stated_cents": self.stated_cents,
            "files": self.files,
            "unknown_locales": self.unknown_locales,
        }


def file_name(creator_id: str) -> str:
    """A name for files of a creator, whatever the id holds, in one of 256 folders.

    >>> file_name("a/../b")
    '90/900ea8b7e0d8fe30857c'
    """
    name = hashlib.sha256(creator_id.encode()).hexdigest()[:20]
    return f"{name[:2]}/{name}"


def write_statements(
    con: Connection,
    home: Home,
    *,
    through: date | None,
    on: date,
    folder: Path,
    formats: Iterable[Format] = FORMATS,
    locale: str | None = None,
    creators: Sequence[str] | None = None,
) -> Written:
    """Write every statement of a closing, an index, and the year's totals by payee.

    Parameters
    ----------
    through
        Last day of the closing; None: of the last one.
    on
        Day as of which holds and reserves are judged.
    locale
        For everybody, instead of the payee's own and the home's (`locale` in settings.toml).

    Raises
    ------
    NoStatementsError
        Nothing is closed, no closing ends there, or it has no statement of one of `creators`.
    """
    first, last = closing_of(con, through)
    wanted, settings = tuple(dict.fromkeys(formats)), home.settings
    if locale and not known_locale(locale):
        raise NoStatementsError(f"there is no locale {locale!r}; write it as de_DE")
    usual = known_locale(locale) or known_locale(settings.locale) or FALLBACK
    entries: list[tuple[Any, ...]] = []
    files = unknown = 0
    for of in issued(con, home, last, on=on, creators=creators):
        own = known_locale(of.locale)
        unknown += bool(of.locale and not own)
        amounts = Amounts(usual if locale else own or usual, settings.currency)
        name = file_name(of.creator_id)
        made: dict[str, bytes] = {}
        if "html" in wanted or "pdf" in wanted:
            page = document(of, amounts, platform=settings.payouts.name or "", on=on)
            made |= {"html": as_html(page)} if "html" in wanted else {}
            made |= {"pdf": as_pdf(page)} if "pdf" in wanted else {}
        made |= {"csv": as_csv(of)} if "csv" in wanted else {}
        for ending, content in made.items():
            _write(folder / f"{name}.{ending}", content)
            files += 1
        now = of.statement
        entries.append(
            (of.creator_id, of.owner or "", name, now.earned_micros, now.restated_micros,
             of.estimated_micros, now.paid_cents, now.carried_forward_micros, of.state)
        )  # fmt: skip
    columns = (
        "creator_id", "payee", "file", "earned_micros", "restated_micros", "estimated_micros",
        "stated_cents", "carried_forward_micros", "state",
    )  # fmt: skip
    _write(folder / "index.csv", _table(columns, entries))
    years = year_totals(con, last.year, last)
    names = ("year", "owner", "name", "country", "creators", "stated_cents", "paid_cents",
             "returned_cents", "sent_cents")  # fmt: skip
    _write(
        folder / f"year-{last.year}.csv", _table(names, [tuple(y[n] for n in names) for y in years])
    )
    amounts = Amounts(usual, settings.currency)
    index = _template("index.html.j2").render(
        title=f"{settings.payouts.name or 'Statements'}: {first} to {last}",
        locale=usual,
        on=on,
        endings=wanted,
        year=last.year,
        rows=[(e[0], e[1], e[2], amounts.cents(e[6]), amounts.micros(e[5]) if e[5] else "", e[8])
              for e in entries],
        years=[(y["owner"], y["name"], *(amounts.cents(y[n]) for n in names[5:])) for y in years],
    )  # fmt: skip
    _write(folder / "index.html", index.encode())
    stated = sum(e[6] for e in entries)
    return Written(folder, first, last, len(entries), stated, files + 3, unknown)


def _write(path: Path, content: bytes) -> None:
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def _table(names: Sequence[str], rows: Iterable[Sequence[Any]]) -> bytes:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(names)
    writer.writerows(map(csv_cell, row) for row in rows)
    return out.getvalue().encode()
