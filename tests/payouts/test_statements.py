"""Statements that leave the house: of everybody at once, every line, in the reader's way of writing,
the same bytes again.
"""

from __future__ import annotations

import csv
import shutil
from collections import Counter
from datetime import date
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from pipelines.payouts.amounts import Amounts, known_locale
from pipelines.payouts.documents import (
    Document,
    as_html,
    as_pdf,
    document,
    file_name,
    write_statements,
)
from pipelines.payouts.issued import NoStatementsError, issued
from pipelines.payouts.runs import pay
from pipelines.payouts.settlement import settle
from pipelines.settings import Home
from pipelines.sources.errors import SourceError
from pipelines.store.warehouse import Warehouse
from tests.cases.five_days import DAYS, make_days, rows
from tests.payouts.conftest import ON, deliver, payee

LATER = date(2026, 3, 20)


@pytest.fixture(scope="module")
def paid_once(closed_once: Home, tmp_path_factory: pytest.TempPathFactory) -> Home:
    """Closed, with a payee of every kind; some are paid, one payment came back."""
    root = shutil.copytree(closed_once.root, tmp_path_factory.mktemp("statements") / "home")
    home = Home.at(root)
    stated = rows(home, "SELECT creator_id FROM statements WHERE paid_cents > 0 ORDER BY 1")
    creators = [creator for (creator,) in stated]
    deliver(home, [
        payee(creators[0], 1, locale="de-DE"),
        payee(creators[1], 2, hold_until="2026-06-01"),
        payee(creators[2], 3, minimum_cents=10**9),
        payee(creators[3], 4, reserve_percent=30, reserve_days=60, locale="xx_YY"),
    ])  # fmt: skip
    shown = pay(home, DAYS[-1], on=ON)
    done = pay(home, DAYS[-1], on=ON, expected=shown.digest)
    answers = home.root / "answers.csv"
    first, *others = sorted(done.payments, key=lambda p: p.owner)
    lines = [f"{first.payment_id},paid,2026-03-12,"]
    lines += [f"{p.payment_id},returned,2026-03-12,AC04 <closed>" for p in others]
    answers.write_text("\n".join(["payment_id,outcome,day,reason", *lines]) + "\n")
    settle(home, answers)
    return home


def write(home: Home, folder: Path, **how: Any) -> Any:
    with Warehouse(home).open(read_only=True) as con:
        return write_statements(con, home, through=None, on=LATER, folder=folder, **how)


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_every_line_of_every_creator_sums_to_what_the_ledger_says(
    paid_once: Home, tmp_path: Path
) -> None:
    written = write(paid_once, tmp_path, formats=["csv"])
    index = {row["creator_id"]: row for row in table(tmp_path / "index.csv")}
    stated = dict(rows(paid_once, "SELECT creator_id, paid_cents FROM statements"))
    assert {c: int(row["stated_cents"]) for c, row in index.items()} == stated
    assert written.statements == len(stated)
    assert written.stated_cents == sum(stated.values())
    assert written.unknown_locales == 1
    earned = Counter[str]()
    for creator, micros in rows(paid_once, "SELECT creator_id, total_micros FROM creator_earnings"):
        earned[creator] += micros
    accounts: dict[str, Counter[str]] = {creator: Counter() for creator in index}
    sql = """SELECT split_part(account, ':', 1), owner_of(account), sum(amount_micros)::BIGINT
             FROM ledger_entries WHERE account NOT LIKE 'pool:%' GROUP BY ALL"""
    for kind, creator, micros in rows(paid_once, sql):
        if creator in accounts:
            accounts[creator][kind] += micros
    for creator, row in index.items():
        lines = table(tmp_path / f"{row['file']}.csv")
        sums = Counter[str]()
        for line in lines:
            sums[line["section"]] += int(line["amount_micros"] or 0)
        assert sums["account"] == sums["left"] == earned[creator] - 10_000 * stated[creator]
        # what was stated is paid, with the bank, or waits with a reason
        there = accounts[creator]
        places = ("statement", "hold", "reserve", "returned")
        assert sums["not paid"] == sum(there[place] for place in places)
        assert sums["payment"] == there["paid"] + there["clearing"] + there["returned"]
        assert sum(there[p] for p in (*places, "paid", "clearing")) == 10_000 * stated[creator]


def test_years_by_payee_are_what_was_stated_and_paid(paid_once: Home, tmp_path: Path) -> None:
    write(paid_once, tmp_path, formats=["csv"])
    years = table(tmp_path / "year-2026.csv")
    stated = rows(paid_once, "SELECT sum(paid_cents) FROM statements")[0][0]
    assert sum(int(y["stated_cents"]) for y in years) == stated
    payments = rows(paid_once, "SELECT owner, amount_cents FROM payments ORDER BY owner")
    paid = {y["owner"]: (int(y["paid_cents"]), int(y["returned_cents"])) for y in years}
    (first, amount), *others = payments
    assert paid[first] == (amount, 0)
    assert all(paid[owner] == (0, cents) for owner, cents in others)


class Text(HTMLParser):
    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.words: list[str] = []
        self.tags = Counter[str]()
        self.feed(page.decode())

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags[tag] += 1

    def handle_data(self, data: str) -> None:
        self.words.append(data.strip())


def everything(of: Document) -> list[str]:
    said = [of.title, of.creator_id, *of.facts, *(cell for box in of.boxes for cell in box)]
    for section in of.sections:
        said += [section.title, *(c for row in section.rows for c in row)]
    return [text for text in said if text]


def test_page_and_print_say_the_same_and_everything(
    paid_once: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    from reportlab.pdfgen.canvas import Canvas

    drawn: list[str] = []
    for name in ("drawString", "drawRightString"):
        draw = getattr(Canvas, name)

        def kept(canvas: Any, x: float, y: float, text: str, draw: Any = draw) -> None:
            assert 0 < x < 595
            assert 0 < y < 842
            drawn.append(text)
            draw(canvas, x, y, text)

        monkeypatch.setattr(Canvas, name, kept)
    with Warehouse(paid_once).open(read_only=True) as con:
        found = list(issued(con, paid_once, DAYS[-1], on=LATER))
    states = {of.creator_id: of.state for of in found}
    assert {"held", "below the minimum", "no account to pay to is known"} <= set(states.values())
    for of in found:
        amounts = Amounts(known_locale(of.locale) or "en", "EUR")
        page = document(of, amounts, platform="P <&> Q", on=LATER)
        words = Text(as_html(page))
        assert words.tags["script"] == 0
        said = "\n".join(words.words)
        drawn.clear()
        as_pdf(page)
        printed = "".join("".join(drawn).split())
        for text in everything(page):
            assert text in said
            assert all(word in printed for word in text.split())


def test_amounts_are_written_as_the_payee_reads_them_and_again_with_the_same_bytes(
    paid_once: Home, tmp_path: Path
) -> None:
    write(paid_once, tmp_path / "a")
    write(paid_once, tmp_path / "b")
    files = sorted(p.relative_to(tmp_path / "a") for p in (tmp_path / "a").rglob("*.*"))
    for file in files:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes(), file
    (creator,) = [o for (o,) in rows(paid_once, "SELECT owner FROM payees WHERE locale = 'de-DE'")]
    page = tmp_path / "a" / f"{file_name(creator.removeprefix('creator:'))}.html"
    assert "05.03.2026" in page.read_text()
    assert "\xa0€" in page.read_text()
    write(paid_once, tmp_path / "c", formats=["html"], locale="fr_FR", creators=["c000001"])
    assert len(list((tmp_path / "c").rglob("*.html"))) == 2
    with pytest.raises(NoStatementsError, match="no locale"):
        write(paid_once, tmp_path / "d", locale="klingon")
    with pytest.raises(NoStatementsError, match="nobody"):
        write(paid_once, tmp_path / "d", creators=["nobody"])


def test_the_book_is_read_once_whatever_the_number_of_creators(paid_once: Home) -> None:
    def asked(creators: list[str] | None) -> int:
        with Warehouse(paid_once).open(read_only=True) as con:
            count = 0

            class Counting:
                def execute(self, *args: Any) -> Any:
                    nonlocal count
                    count += 1
                    return con.execute(*args)

            list(issued(Counting(), paid_once, DAYS[-1], on=LATER, creators=creators))  # type: ignore[arg-type]
        return count

    assert asked(None) == asked(["c000001"])


@pytest.mark.parametrize("setting", ["", 'currency = "EUR"\n'])
def test_a_file_in_another_currency_is_refused(made: Home, setting: str) -> None:
    (made.root / "settings.toml").write_text((made.root / "settings.toml").read_text() + setting)
    home = Home.at(made.root)
    path = home.landing / "ad_revenue" / str(DAYS[0]) / "more.csv"
    head = "ad_id,ts,category,amount_micros,currency\n"
    line = f"x,{DAYS[0]}T01:00:00,music,5,"
    path.write_text(f"{head}{line}USD\n")
    with pytest.raises(SourceError, match="amounts in USD"):
        make_days(home, DAYS[:1], assets=["ad_revenue"])
    path.write_text(f"{head}{line}eur\n")
    if setting:
        make_days(home, DAYS[:1], assets=["ad_revenue"])
        assert rows(home, "SELECT amount_micros FROM ad_revenue WHERE ad_id = 'x'") == [(5,)]
    else:
        with pytest.raises(SourceError, match="does not say"):
            make_days(home, DAYS[:1], assets=["ad_revenue"])
