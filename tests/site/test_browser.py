"""The built site in a real browser that can reach no other host."""

from __future__ import annotations

from pathlib import Path

import pytest
from selenium.webdriver.common.keys import Keys

from tests.site.conftest import Visitor

pytestmark = pytest.mark.browser

RENDERED = """
  if (document.readyState !== 'complete') return false;
  const raw = document.querySelector('.bd-article span.math, .bd-article div.math');
  return !raw || document.querySelectorAll('.bd-article mjx-container').length > 0"""
SQUEEZED = """
  return [...document.querySelectorAll('.bd-article img')].filter(i => {
    if (!i.offsetParent || !i.naturalWidth) return false;
    const edge = parseFloat(getComputedStyle(i).paddingLeft) * 2;
    const shape = (i.clientWidth - edge) / (i.clientHeight - edge);
    return Math.abs(shape * i.naturalHeight / i.naturalWidth - 1) > 0.05;
  }).length"""
BARE = "return [...document.querySelectorAll('.jupyter-widgets img')].filter(i => !i.alt.trim()).length"


def pages(site: Path) -> list[str]:
    """List the site's pages, the start page's redirect and the viewed sources left out."""
    found = [path.relative_to(site).as_posix() for path in sorted(site.rglob("*.html"))]
    left_out = ("_static/", "_sources/", "_modules/", "index.html")
    return [page for page in found if not page.startswith(left_out)]


def test_every_page_loads_without_a_complaint_and_fits_a_phone(site: Path, visitor: Visitor) -> None:
    visitor.complaints()
    visitor.size(390, 844)
    wrong = []
    for page in pages(site):
        visitor.open(page, until=RENDERED)
        wrong += [f"{page}: {line}" for line in visitor.complaints()]
        width = visitor.driver.execute_script("return document.documentElement.scrollWidth")
        if width > 390:
            wrong.append(f"{page}: {width} px wide on a phone of 390 px")
        squeezed = visitor.driver.execute_script(SQUEEZED)
        if squeezed:
            wrong.append(f"{page}: {squeezed} pictures out of proportion")
        broken = visitor.driver.execute_script("return document.querySelectorAll('mjx-merror').length")
        if broken:
            wrong.append(f"{page}: {broken} formulas MathJax cannot read")
    assert not wrong, "\n".join(wrong)


def test_start_page_leads_to_the_book(visitor: Visitor) -> None:
    visitor.open("index.html", until="return location.pathname.endsWith('/book/index.html')")


def test_the_mode_can_be_switched_and_changes_the_page(visitor: Visitor) -> None:
    visitor.size(1300, 900)
    visitor.open("book/index.html")
    colours = {}
    for _ in range(3):
        visitor.driver.execute_script("document.querySelector('.theme-switch-button').click()")
        mode, colour = visitor.driver.execute_script(
            "return [document.documentElement.dataset.theme, getComputedStyle(document.body).backgroundColor]"
        )
        colours[mode] = colour
    assert set(colours) == {"light", "dark"}
    assert colours["light"] != colours["dark"]


def test_search_finds_a_term(visitor: Visitor) -> None:
    visitor.open("search.html?q=posterior", until="return document.querySelectorAll('ul.search li').length > 0")


def test_sliders_move_under_the_keyboard(site: Path, visitor: Visitor) -> None:
    visitor.size(1300, 900)
    with_slider = [page for page in pages(site) if "SelectionSliderModel" in (site / page).read_text(encoding="utf-8")]
    if not with_slider:
        pytest.skip("no page has a slider")
    for page in with_slider:
        visitor.open(page, until="return document.querySelectorAll('.noUi-handle').length > 0")
        bare = visitor.driver.execute_script(BARE)
        assert not bare, f"{page}: {bare} pictures of a slider without alternative text"
        sliders = visitor.driver.find_elements("css selector", ".widget-slider")
        for number, slider in enumerate(sliders):
            handle = slider.find_element("css selector", ".noUi-handle")
            before = visible_frames(visitor)
            value = handle.get_attribute("aria-valuenow")
            first = float(value) <= float(handle.get_attribute("aria-valuemin"))
            visitor.driver.execute_script("arguments[0].focus()", handle)
            handle.send_keys(Keys.ARROW_RIGHT if first else Keys.ARROW_LEFT)
            assert handle.get_attribute("aria-valuenow") != value, f"{page}: slider {number} does not move"
            assert visible_frames(visitor) != before, f"{page}: slider {number} moves and the picture does not"


def visible_frames(visitor: Visitor) -> str:
    """Give a fingerprint of the widgets' visible pictures and texts."""
    return visitor.driver.execute_script(
        """
        const all = [...document.querySelectorAll('.widget-html-content, .jupyter-widgets img')];
        const seen = all.filter(e => e.offsetParent);
        return seen.map(e => e.tagName === 'IMG' ? e.src : e.innerHTML).join('|')"""
    )
