"""A creator's month: the account adds up to the micro, corrections and payments are in it, and the
page is one file.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import date, timedelta
from html.parser import HTMLParser
from itertools import pairwise

import pytest

from pipelines.ledger.closing import close
from pipelines.ledger.counterfactual import NothingToExplainError, Part
from pipelines.ledger.explanation import explain_creator
from pipelines.ledger.statement import CreatorMonth, creator_month, html, text
from pipelines.money import MICROS_PER_CENT, money
from pipelines.remake.days import restate
from pipelines.settings import Home
from pipelines.store.warehouse import Warehouse
from tests.cases.five_days import DAYS, deliver_late, make_days, rows

MARCH = (2026, 3)


def months(home: Home) -> list[CreatorMonth]:
    """March of some creators: who earned most, least, and one between."""
    creators = [
        c
        for (c,) in rows(
            home,
            "SELECT creator_id FROM creator_earnings GROUP BY 1 ORDER BY sum(total_micros) DESC, 1",
        )
    ]
    with Warehouse(home).open(read_only=True) as con:
        return [
            creator_month(con, creator, *MARCH)
            for creator in (creators[0], creators[len(creators) // 2], creators[-1])
        ]


@pytest.fixture(scope="module")
def march(made_once: Home) -> list[CreatorMonth]:
    """The months of an open, simulated platform."""
    return months(made_once)


def adds_up(home: Home, month: CreatorMonth) -> None:
    """Opening + earned + corrections + adjustments - paid = closing = what the ledger holds."""
    account = f"creator:{month.creator_id}"
    held = (
        "SELECT coalesce(sum(amount_micros), 0)::BIGINT FROM ledger_entries JOIN"
        " ledger_transactions t USING (txn_id) WHERE account = ?"
    )
    assert rows(home, f"{held} AND booked_day < ?", account, month.first_day) == [
        (month.opening_micros,)
    ]
    assert rows(home, f"{held} AND booked_day <= ?", account, month.last_day) == [
        (month.closing_micros,)
    ]
    changes = (
        month.earned_micros
        + month.corrected_micros
        + month.adjusted_micros
        - month.paid_cents * MICROS_PER_CENT
    )
    assert month.opening_micros + changes == month.closing_micros
    assert month.earned_micros == sum(month.days.values()) == sum(month.sources.values())
    assert month.corrected_micros == sum(
        c.after_micros - c.before_micros for c in month.corrections
    )
    assert month.adjusted_micros == sum(a.micros for a in month.adjustments)
    assert month.paid_cents == sum(p.cents for p in month.payments)
    json.dumps(month.as_dict())


def test_the_account_of_an_open_month(made_once: Home, march: list[CreatorMonth]) -> None:
    for month in march:
        adds_up(made_once, month)
        assert month.opening_micros == month.paid_cents == 0
        assert not month.corrections
        totals = dict(
            rows(
                made_once,
                "SELECT day, total_micros FROM creator_earnings WHERE creator_id = ?",
                month.creator_id,
            )
        )
        assert month.days == {day: totals.get(day, 0) for day in DAYS}


def test_factors_and_videos_are_sums_over_the_days(
    made_once: Home, march: list[CreatorMonth]
) -> None:
    month = max(march, key=lambda m: m.earned_micros)
    with Warehouse(made_once).open(read_only=True) as con:
        videos = [
            video for day in DAYS for video in explain_creator(con, month.creator_id, day).videos
        ]
    ads = [payout for video in videos for payout in video.payouts if payout.source == "ads"]
    assert month.pools_micros == sum(payout.paid_micros for payout in ads)
    for part in month.factors:
        assert part.micros == sum(
            p.micros for payout in ads for p in payout.parts if p.name == part.name
        )
    assert [v.micros for v in month.videos] == sorted(
        (v.micros for v in month.videos), reverse=True
    )
    gifted = [payout for video in videos for payout in video.payouts if payout.source == "coins"]
    assert sum(part.micros for part in month.coins) == sum(payout.paid_micros for payout in gifted)
    assert month.coins[0].own == sum(payout.facts["normal_coins"] for payout in gifted)
    for line in month.videos:
        assert line.micros == sum(
            video.total_micros for video in videos if video.video_id == line.video_id
        )


@pytest.mark.parametrize("neutral", [False, True])
def test_a_closed_and_restated_month(made: Home, neutral: bool) -> None:
    close(made, DAYS[2])
    before = {m.creator_id: m for m in months(made)}
    deliver_late(made, DAYS[:2])
    shown, _ = restate(made, DAYS[0], DAYS[1], reason="late files", budget_neutral=neutral)
    restate(
        made, DAYS[0], DAYS[1], reason="late files", budget_neutral=neutral, expected=shown.digest
    )
    after = months(made)
    gains = {change.creator_id.removeprefix("creator:"): change.gain for change in shown.changes}
    assert any(month.corrections for month in after)
    assert any(month.adjustments for month in after) == neutral
    for month in after:
        adds_up(made, month)
        assert month.corrected_micros + month.adjusted_micros == gains.get(month.creator_id, 0)
        assert (month.earned_micros, month.days) == (
            before[month.creator_id].earned_micros,
            before[month.creator_id].days,
        )
        paid = rows(
            made,
            "SELECT paid_cents FROM statements WHERE creator_id = ? AND paid_cents > 0",
            month.creator_id,
        )
        assert [(p.cents,) for p in month.payments] == paid
        assert all((c.reason, c.booked_day) == ("late files", DAYS[3]) for c in month.corrections)
        text(month)
        html(month)


def test_a_second_correction_starts_where_the_first_one_ended(made: Home) -> None:
    close(made, DAYS[2])
    for late in (
        DAYS[0],
        DAYS[1],
    ):  # the first day is made twice, the second time because a late file of its own came
        deliver_late(made, [late])
        shown, _ = restate(made, DAYS[0], DAYS[1], reason=f"late files of {late}")
        restate(made, DAYS[0], DAYS[1], reason=f"late files of {late}", expected=shown.digest)
    for month in months(made):
        adds_up(made, month)
        for day in DAYS[:2]:
            steps = [c for c in month.corrections if c.day == day]
            assert all(
                first.after_micros == second.before_micros for first, second in pairwise(steps)
            )
            total = rows(
                made,
                "SELECT total_micros FROM creator_earnings WHERE creator_id = ? AND day = ?",
                month.creator_id,
                day,
            )
            if steps:
                assert [(steps[-1].after_micros,)] == total


def test_a_month_without_days_or_creator_says_what_there_is(made_once: Home) -> None:
    with Warehouse(made_once).open(read_only=True) as con:
        with pytest.raises(
            NothingToExplainError,
            match=f"no day of 2026-04 is made; there are days from {DAYS[0]} to {DAYS[-1]}",
        ):
            creator_month(con, "c", 2026, 4)
        with pytest.raises(NothingToExplainError, match="no creator is called 'nobody'"):
            creator_month(con, "nobody", *MARCH)


def test_a_creator_who_came_in_the_middle_of_the_month_has_a_month(
    landed: Callable[..., Home],
) -> None:
    home = landed()
    (home.landing / "creators" / str(DAYS[3])).mkdir(parents=True, exist_ok=True)
    (home.landing / "creators" / str(DAYS[3]) / "new.csv").write_text("creator_id\nnewcomer\n")
    make_days(home, DAYS[2:])
    with Warehouse(home).open(read_only=True) as con:
        month = creator_month(con, "newcomer", *MARCH)
    assert month.words == (
        "In March 2026 you earned nothing.",
        "Nothing is left for the next statement.",
    )
    adds_up(home, month)


# --------------------------------------------------------------------------------------------------


def month_of(**changes: object) -> CreatorMonth:
    values: dict[str, object] = {
        "creator_id": "ann <b>&",
        "first_day": date(2026, 3, 1),
        "last_day": date(2026, 3, 31),
        "policies": ("tiny 0123",),
        "opening_micros": 0,
        "earned_micros": 3_000_000,
        "corrected_micros": 0,
        "adjusted_micros": 0,
        "paid_cents": 0,
        "closing_micros": 3_000_000,
        "days": {date(2026, 3, 1): 1_000_000, date(2026, 3, 2): 2_000_000},
        "corrections": (),
        "adjustments": (),
        "payments": (),
        "sources": {"ad pool music": 2_500_000, "gifted coins": 500_000},
        "factors": (
            Part("pool", 1_000_000),
            Part("viewers", 2_000_000),
            Part("fairness", -500_000),
            Part("rounding", 0),
        ),
        "coins": (
            Part("normal", 0, own=1200),
            Part("premium", 500_000, own=100),
            Part("rounding", 0),
        ),
        "coin_words": "The most came for v1.",
        "bonuses": (),
        "estimates": (),
        "taken_out": (),
        "transfers": (),
        "waiting": (),
        "videos": (),
        "words": ("In March 2026 you earned 3.",),
    }
    return CreatorMonth(**(values | changes))  # type: ignore[arg-type]


class Page(HTMLParser):
    """Tags and attributes of a page; refuses tags that are closed in the wrong order."""

    def __init__(self, content: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.feed(content)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_is_one_file_without_scripts_or_network(march: list[CreatorMonth]) -> None:
    for month in (month_of(), *march):
        content = html(month)
        page = Page(content)
        assert not {tag for tag, _ in page.seen} & {"script", "link", "img", "iframe", "object"}
        assert not [
            a
            for _, attributes in page.seen
            for a in attributes
            if a.startswith("on") or a in ("src", "href")
        ]
        assert not re.findall(r"https?:|@import|url\(", content)
        assert "@media print" in content


def test_the_page_escapes_names_and_shows_every_amount() -> None:
    content = html(month_of())
    assert "ann &lt;b&gt;&amp;" in content
    for amount in (2_500_000, 500_000, 2_000_000):
        assert money(amount) in content
    assert "1,200" in content
    assert '<span class="u">0000</span>' in content


def test_the_waterfall_ends_at_what_was_paid() -> None:
    """1, then 2 more, then half less: the bars meet where they should, at the same scale."""
    bars = [a for tag, a in Page(html(month_of())).seen if tag == "rect"][-5:]
    x, width = ([float(str(bar[name])) for bar in bars] for name in ("x", "width"))
    scale = (x[1] + width[1] - x[0]) / 3
    assert width == pytest.approx([scale, 2 * scale, scale / 2, 0, 2.5 * scale], abs=0.2)
    assert x[1] == pytest.approx(x[0] + width[0], abs=0.2)
    assert x[2] + width[2] == pytest.approx(x[1] + width[1], abs=0.2)
    assert x[4] == x[0]
    assert [bar["class"] for bar in bars] == ["total", "more", "less", "more", "total"]


def test_columns_are_as_high_as_the_days_earned() -> None:
    heights = [
        float(str(a["height"]))
        for tag, a in Page(html(month_of())).seen
        if tag == "rect" and a["height"] != "20"
    ]
    assert len(heights) == 31
    assert heights[1] == pytest.approx(2 * heights[0], abs=0.2)
    assert set(heights[2:]) == {0.0}


@pytest.mark.parametrize("micros", [0, 1, 7, 999, 10**6, 123_456_789_012])
def test_any_amount_can_be_drawn(micros: int) -> None:
    first = date(2026, 3, 1)
    days = {first + timedelta(n): micros * (n == 0) for n in range(31)}
    html(
        month_of(
            days=days, earned_micros=micros, sources={"Pulse": micros} if micros else {}, factors=()
        )
    )


def test_the_text_is_the_account_line_by_line(march: list[CreatorMonth]) -> None:
    for month in march:
        shown = text(month)
        assert f"= {money(month.closing_micros)}" in re.sub(" +", " ", shown)
        assert all(source in shown for source in month.sources)
