"""The workbench as a person uses it, in a real Chromium: dragging, choosing, searching, saving, with
a mouse and with a keyboard alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import expect

from pipelines.policy import read_policy
from tests.studio.conftest import Served

WAIT = 180_000


@pytest.fixture
def page(browser: Any, studio: Served) -> Iterator[Any]:
    """The first page, with its sketch; no script may have failed in the end."""
    context = browser.new_context(viewport={"width": 1200, "height": 900})
    made = context.new_page()
    failed: list[str] = []
    made.on("pageerror", lambda error: failed.append(str(error)))
    made.goto(studio.url)
    made.wait_for_selector("#sketch tr[data-measure=creators]", timeout=WAIT)
    yield made
    context.close()
    assert failed == []


def cells(page: Any, row: str) -> list[str]:
    return page.locator(f"{row} td").all_inner_texts()


def test_a_slider_answers_at_once_and_then_exactly(page: Any) -> None:
    page.select_option("#policy", label="base")
    page.wait_for_selector("#frontier circle", timeout=WAIT)
    slider = page.locator("[name='ads.platform_share']")
    slider.focus()
    for _ in range(10):
        page.keyboard.press("ArrowLeft")
    moved = page.locator("#sketch tr[data-measure=ads] td").nth(2)
    expect(moved).to_contain_text("+", timeout=WAIT)
    assert cells(page, "#sketch tr[data-measure=coins]")[2] == ""  # only what depends on it moves
    page.wait_for_selector("#exact tr[data-row=ads] td.gain", timeout=WAIT)
    a, b, change = (float(x.replace(",", "")) for x in cells(page, "#exact tr[data-row=ads]"))
    assert round(b - a, 6) == change > 0
    assert cells(page, "#exact tr[data-row=coins]")[2] == ""
    assert "to the micro" in page.inner_text("#exact-state")


def test_a_point_of_the_frontier_is_taken_by_keyboard(page: Any) -> None:
    page.wait_for_selector("#frontier circle", timeout=WAIT)
    point = page.locator("#frontier circle[role=button]").last
    point.focus()
    page.keyboard.press("Enter")
    assert "weight of efficiency 1, exponent 1" in page.inner_text("#point")
    assert page.input_value("[name='ads.lambda_eff']") == "1"
    assert page.input_value("[name='ads.alpha']") == "1"


def test_saving_shows_the_difference_and_writes_a_new_file(page: Any, studio: Served) -> None:
    page.select_option("#policy", label="base")
    page.locator("[name='ads.alpha']").fill("0.8")
    page.fill("#save-name", "from-the-screen")
    page.fill("#save-since", "2026-05-01")
    page.click("text=Show what changes")
    page.wait_for_selector("#diff:not([hidden])", timeout=WAIT)
    assert "+alpha = 0.8" in page.inner_text("#diff")
    path = studio.home.root / "policies" / "from-the-screen-2026-05-01.toml"
    assert not path.exists()
    page.click("#save-write")
    expect(page.locator("#saved")).to_contain_text("is written", timeout=WAIT)
    assert read_policy(path).ads.alpha == 0.8
    page.click("text=Show what changes")
    page.wait_for_selector("#problem:not([hidden])", timeout=WAIT)
    assert "there already" in page.inner_text("#problem")
    path.unlink()


def test_creators_are_found_sorted_and_explained(page: Any) -> None:
    page.click("nav >> text=Creators")
    page.wait_for_selector("#creators tbody tr", timeout=WAIT)
    first = page.inner_text("#creators tbody tr:first-child td:first-child")
    page.click("#creators thead >> text=total")
    page.wait_for_selector("#creators th[aria-sort=ascending]", timeout=WAIT)
    assert page.inner_text("#creators tbody tr:first-child td:first-child") != first
    page.fill("#search", first)
    expect(page.locator("#creators tbody tr")).to_have_count(1, timeout=WAIT)
    page.click("#creators tbody a")
    page.wait_for_selector("#explained p", timeout=WAIT)
    assert first in page.inner_text("#explained p >> nth=0")
    assert page.locator("#history canvas").count() == 1
    assert "null" not in page.inner_text("#explained")


def test_every_page_opens_and_has_a_name_for_everything(page: Any) -> None:
    for name in ("Policy", "Creators", "Days", "Quarantine", "Gaming", "Money"):
        page.click(f"nav >> text={name}")
        page.wait_for_selector(f"#page-{name.lower()}:not([hidden]) h2", timeout=WAIT)
        page.wait_for_load_state("networkidle")
        assert page.locator("nav a[aria-current=page]").inner_text() == name
        assert page.is_hidden("#problem"), page.inner_text("#problem")
        unnamed = page.evaluate(
            """[...document.querySelectorAll('main section:not([hidden]) :is(input, select, button)')]
               .filter((x) => !(x.labels && x.labels.length) && !x.textContent.trim()
                              && !x.getAttribute('aria-label')).length"""
        )
        assert unnamed == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_needs_no_sideways_scrolling_and_can_be_read(
    browser: Any, studio: Served, scheme: str
) -> None:
    context = browser.new_context(viewport={"width": 360, "height": 740}, color_scheme=scheme)
    phone = context.new_page()
    phone.goto(studio.url)
    phone.wait_for_selector("#exact tr", timeout=WAIT)
    assert phone.evaluate("document.documentElement.scrollWidth") <= 360
    contrast = phone.evaluate(
        """() => {
          const shine = (text) => {
            const [r, g, b] = text.match(/[\\d.]+/g).map(Number).map((x) => x / 255)
              .map((x) => x <= 0.03928 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4);
            return 0.2126 * r + 0.7152 * g + 0.0722 * b;
          };
          const back = shine(getComputedStyle(document.body).backgroundColor);
          return [...document.querySelectorAll('main p, main td, main label, nav a')].map((place) => {
            const front = shine(getComputedStyle(place).color);
            return (Math.max(front, back) + 0.05) / (Math.min(front, back) + 0.05);
          }).reduce((a, b) => Math.min(a, b));
        }"""
    )
    assert contrast >= 4.5
    context.close()
