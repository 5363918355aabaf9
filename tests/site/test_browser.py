"""The built site in a real browser that can reach no other host: each page is visited once, and many things asked."""

from __future__ import annotations

from pathlib import Path

import pytest
from selenium.webdriver.common.keys import Keys

from tests.site.conftest import Visitor

pytestmark = pytest.mark.browser

PHONE, DESK = (390, 844), (1300, 900)
QUESTIONS = ("opens", "complaint", "width", "picture", "formula", "slider", "barrier")
READY = """
  if (document.readyState !== 'complete') return false;
  const raw = document.querySelector('.bd-article span.math, .bd-article div.math');
  const formulas = !raw || document.querySelectorAll('.bd-article mjx-container').length > 0;
  const widgets = document.querySelectorAll('script[type="application/vnd.jupyter.widget-view+json"]').length;
  return formulas && document.querySelectorAll('.latentbook-slider').length >= widgets"""
UNFOLD = """
  document.querySelectorAll('details').forEach(fold => { fold.open = true });
  document.querySelectorAll('.toggle-hidden').forEach(fold => fold.classList.remove('toggle-hidden'))"""
SQUEEZED = """
  return [...document.querySelectorAll('.bd-article img')].filter(i => {
    if (!i.offsetParent || !i.naturalWidth) return false;
    const edge = parseFloat(getComputedStyle(i).paddingLeft) * 2;
    const shape = (i.clientWidth - edge) / (i.clientHeight - edge);
    return Math.abs(shape * i.naturalHeight / i.naturalWidth - 1) > 0.05;
  }).length"""
BARE = "return [...document.querySelectorAll('.jupyter-widgets img')].filter(i => !i.alt.trim()).length"
FRAMES = "[...document.querySelectorAll('.jupyter-widgets img')].filter(i => i.offsetParent).map(i => i.src).join()"
# Thousands of formulas, words of code and entries of the reference look alike: a few of each kind are enough
THIN = """
  const seen = {};
  for (const e of document.querySelectorAll('dl.py, mjx-container, .highlight span')) {
    const key = [e, e.parentElement, e.parentElement?.parentElement].map(x => x?.tagName + '.' + x?.className).join();
    seen[key] = (seen[key] ?? 0) + 1;
    if (seen[key] > 3) e.remove();
  }"""


def pages(site: Path) -> list[str]:
    """List the site's pages, the start page's redirect and the viewed sources left out."""
    found = [path.relative_to(site).as_posix() for path in sorted(site.rglob("*.html"))]
    left_out = ("_static/", "_sources/", "_modules/", "index.html")
    return [page for page in found if not page.startswith(left_out)]


@pytest.fixture(scope="module")
def answers(site: Path, visitor: Visitor) -> dict[str, list[str]]:
    """What was wrong on any page, by question."""
    wrong = {question: [] for question in QUESTIONS}
    visitor.complaints()
    for number, page in enumerate(pages(site)):
        modes = ("light", "dark") if number % 2 else ("dark", "light")
        for question, line in visit(visitor, page, modes):
            wrong[question].append(f"{page}: {line}")
    return wrong


def visit(visitor: Visitor, page: str, modes: tuple[str, str]):
    """Open a page as on a phone, then as on a desk, in one mode and in the other; give what is wrong with it."""
    script = visitor.driver.execute_script
    visitor.size(*PHONE)
    try:
        visitor.open(page, until=READY)
    except AssertionError as problem:
        yield "opens", str(problem)
        return
    script(UNFOLD)
    if (width := script("return document.documentElement.scrollWidth")) > PHONE[0]:
        yield "width", f"{width} px wide on a phone of {PHONE[0]} px"
    if squeezed := script(SQUEEZED):
        yield "picture", f"{squeezed} pictures out of proportion"
    if bare := script(BARE):
        yield "picture", f"{bare} pictures of a slider without alternative text"
    if broken := script("return document.querySelectorAll('mjx-merror').length"):
        yield "formula", f"{broken} formulas MathJax cannot read"
    visitor.size(*DESK)
    yield from (("slider", line) for line in stuck_sliders(visitor))
    yield from (("complaint", line) for line in visitor.complaints())
    script(THIN)
    for mode, size in zip(modes, (DESK, PHONE), strict=True):
        visitor.mode(mode)
        visitor.size(*size)
        yield from (("barrier", f"{mode}, {size[0]} px wide: {line}") for line in visitor.barriers())


def stuck_sliders(visitor: Visitor):
    """Move each slider of the page by an arrow key; give those that stand still or change no picture."""
    for number, slider in enumerate(visitor.driver.find_elements("css selector", ".widget-slider")):
        handle = slider.find_element("css selector", ".noUi-handle")
        told = [handle.get_attribute(f"aria-{what}") for what in ("valuenow", "valuemin", "valuetext")]
        visitor.driver.execute_script(f"window.framesBefore = {FRAMES}; arguments[0].focus()", handle)
        handle.send_keys(Keys.ARROW_RIGHT if float(told[0]) <= float(told[1]) else Keys.ARROW_LEFT)
        if handle.get_attribute("aria-valuenow") == told[0]:
            yield f"slider {number} does not move"
        if handle.get_attribute("aria-valuetext") == told[2]:
            yield f"slider {number} does not tell its value {told[2]!r}"
        if not visitor.driver.execute_script(f"return window.framesBefore !== {FRAMES}"):
            yield f"slider {number} moves and the picture does not"


@pytest.mark.parametrize("question", QUESTIONS)
def test_every_page(answers: dict[str, list[str]], question: str) -> None:
    assert not answers[question], "\n".join(answers[question])


def test_sliders_are_where_they_are_looked_for(site: Path) -> None:
    assert sum("SelectionSliderModel" in (site / page).read_text(encoding="utf-8") for page in pages(site)) > 10


def test_start_page_leads_to_the_book(visitor: Visitor) -> None:
    visitor.open("index.html", until="return location.pathname.endsWith('/book/index.html')")


def test_the_mode_can_be_switched_and_changes_the_page(visitor: Visitor) -> None:
    visitor.size(*DESK)
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


@pytest.mark.parametrize(
    ("term", "page"), [("Hadamard", "refreshers"), ("impostor", "auxiliary/ivae"), ("sprites", "lab/data")]
)
def test_search_finds_a_term_on_its_page(visitor: Visitor, term: str, page: str) -> None:
    found = f"[...document.querySelectorAll('ul.search a')].some(a => a.href.includes('/book/{page}.html'))"
    visitor.open(f"search.html?q={term}", until=f"return {found}")
