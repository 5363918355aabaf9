"""The document that the PDF is printed from: places, links, and what is folded, on pages small enough to see."""

from __future__ import annotations

from pathlib import Path

import pytest
from bs4 import BeautifulSoup

from tools import pdf

PAGE = """<html><head><link rel="stylesheet" href="../_static/a.css"/></head><body>
<script type="application/vnd.jupyter.widget-state+json">{{"state": {{}}}}</script>
<article class="bd-article"><section id="one"><h1>One<a class="headerlink" href="#one">#</a></h1>
<p class="lb-pdf" hidden></p>
<section id="deep"><h2>Deep</h2><a href="two.html#there">there</a> <a href="#one">here</a> <a href="api.html#f">f</a>
<a href="https://example.org/x">out</a></section>
<details class="hide"><pre>code of a picture</pre></details>
<details class="sd-dropdown"><summary>Answer</summary>Yes.</details>
<script type="application/vnd.jupyter.widget-view+json">{{"model_id": "m"}}</script><script>alert(1)</script>
<svg><g id="tip"></g><path marker-end="url(#tip)"></path></svg><img src="../_images/p.png"/>
<div class="solution" id="sol"><p>Solved.</p></div>{more}</section></article></body></html>"""
TOC = """format: jb-book
root: book/one
parts:
  - caption: Further & on
    chapters: [{file: book/two}, {file: book/api}]
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A book of two pages, built."""
    for name in ("book/assets", "_build/html/book"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "_toc.yml").write_text(TOC)
    (tmp_path / "_config.yml").write_text("title: A <book>\nauthor: Nobody\n")
    (tmp_path / "book" / "assets" / "pdf.css").write_text("p {}")
    site = tmp_path / "_build" / "html" / "book"
    (site / "one.html").write_text(PAGE.format(more=""))
    (site / "two.html").write_text(PAGE.format(more="").replace("One<", "Two<"))
    return tmp_path


@pytest.fixture
def document(root: Path) -> tuple[BeautifulSoup, list[pdf.Entry]]:
    """The whole book as one document, parsed, and its contents."""
    text, entries = pdf.document(root, root / "_build" / "html")
    return BeautifulSoup(text, "html.parser"), entries


def test_contents_name_parts_chapters_sections_and_solutions(document) -> None:
    soup, entries = document
    assert [(entry.level, entry.title) for entry in entries] == [
        (1, "One"), (2, "Deep"), (0, "Further & on"), (1, "Two"), (2, "Deep"), (0, pdf.SOLUTIONS),
    ]  # fmt: skip
    places = {tag["id"] for tag in soup.select("[id]")}
    assert {entry.place for entry in entries} <= places
    assert [link["href"][1:] for link in soup.select("nav a")] == [entry.place for entry in entries]


def test_every_place_is_there_once(document) -> None:
    names = [tag["id"] for tag in document[0].select("[id]") if tag["id"] != "tip"]
    assert len(names) == len(set(names))


def test_links_stay_within_leave_or_become_text(document) -> None:
    links = [tag.get("href") for tag in document[0].select("#book-one a")]
    assert links == ["#book-two--there", "#book-one--one", None, "https://example.org/x"]


def test_folded_text_is_open_and_the_code_of_pictures_left_out(document) -> None:
    soup, _ = document
    assert "code of a picture" not in soup.get_text()
    assert all(tag.has_attr("open") for tag in soup.select("details"))
    assert len(soup.select("details")) == 2
    assert not soup.select("article script:not([type])")
    assert len(soup.select(".lb-view > script")) == 2


def test_pictures_and_drawings_are_found(document) -> None:
    soup, _ = document
    assert {tag["src"] for tag in soup.select("img")} == {"../html/_images/p.png"}
    assert soup.select_one("svg g")["id"] == "tip"
    assert soup.select_one("link")["href"] == "../html/_static/a.css"


def test_solutions_stand_at_the_end_under_their_chapter(document) -> None:
    last = document[0].select(".lb-leaf")[-1]
    assert [tag.get_text() for tag in last.select("h1, h2, .solution")] == [
        pdf.SOLUTIONS,
        "One",
        "Solved.",
        "Two",
        "Solved.",
    ]
    assert len(document[0].select(".solution")) == 2


def test_the_title_is_escaped(document) -> None:
    assert document[0].title.get_text() == "A <book>"


def test_a_site_that_is_not_built_is_an_error(root: Path) -> None:
    (root / "_build" / "html" / "book" / "two.html").unlink()
    with pytest.raises(pdf.NotReady, match=r"two\.html does not exist: run `make book` first"):
        pdf.document(root, root / "_build" / "html")


def test_missing_tools_are_named(monkeypatch, capsys) -> None:
    monkeypatch.setattr(pdf.shutil, "which", lambda name: None)
    assert pdf.main([]) == 1
    assert "chromium and chromedriver not found. On Debian or Ubuntu: apt-get install" in capsys.readouterr().err


def test_the_site_offers_the_pdf_where_there_is_a_place_for_it(root: Path) -> None:
    page = root / "_build" / "html" / "book" / "one.html"
    for pages in (9, 10):
        pdf.offer(page, pages, 2.4)
    (link,) = BeautifulSoup(page.read_text(), "html.parser").select("p.lb-pdf a")
    assert link["href"] == "../latentbook.pdf"
    assert "10 pages, 2 MB" in page.read_text()
    assert "hidden" not in page.read_text()
