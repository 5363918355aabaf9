"""The whole book as one PDF, printed from the built site and read again."""

from __future__ import annotations

import io
import re
import unicodedata
from pathlib import Path

import pytest
from pypdf import PdfReader

from tools import pdf

pytestmark = [pytest.mark.slow, pytest.mark.browser]


@pytest.fixture(scope="module")
def book(root: Path, site: Path, tmp_path_factory: pytest.TempPathFactory):
    """Print the book; the PDF, its text by page, and what its contents name."""
    text, entries = pdf.document(root, site)
    folder = tmp_path_factory.mktemp("build")
    (folder / "html").symlink_to(site)
    (folder / "pdf").mkdir()
    (folder / "pdf" / "book.html").write_text(text, encoding="utf-8")
    prints = pdf.print_leaves(folder / "pdf" / "book.html", pdf.find_tools(), entries, 300)
    reader = PdfReader(io.BytesIO(pdf.bind(prints, entries, "A title", "An author")))
    return reader, [page.extract_text() for page in reader.pages], entries


def outline(reader: PdfReader, items: list | None = None) -> list[tuple[str, int]]:
    """List the bookmarks: title and page, counted from 0."""
    found = []
    for item in reader.outline if items is None else items:
        here = (
            outline(reader, item)
            if isinstance(item, list)
            else [(item.title, reader.get_destination_page_number(item))]
        )
        found += here
    return found


def squeezed(text: str) -> str:
    """Keep the letters and digits of a text, with ligatures taken apart."""
    return re.sub(r"[\W_]+", "", unicodedata.normalize("NFKC", text))


def test_every_chapter_is_bookmarked_where_it_begins(book) -> None:
    reader, texts, entries = book
    marks = outline(reader)
    assert [title for title, _ in marks] == [entry.title for entry in entries]
    for (title, page), entry in zip(marks, entries, strict=True):
        if entry.level < 2:
            assert squeezed(title) in squeezed(texts[page]), title


def test_the_contents_give_the_pages_and_the_pages_their_numbers(book) -> None:
    reader, texts, entries = book
    first = dict(reversed(outline(reader)))["When does a VAE find the true factors, and why?"]
    contents = squeezed("".join(texts[:first]))
    for (title, page), entry in zip(outline(reader), entries, strict=True):
        if entry.level < 2:
            assert f"{squeezed(title)}{page + 1}" in contents, title
    numbered = [bool(re.search(rf"(?<!\d){n + 1}(?!\d)", texts[n])) for n in range(first, len(texts))]
    assert sum(numbered) > 0.9 * len(numbered)  # the first page of a chapter bears none


def test_statements_and_equations_are_numbered_and_nothing_is_raw(book) -> None:
    text = "\n".join(book[1])
    assert 150 < len(book[1]) < 900
    for wanted in ("Theorem 4.1", "Proposition 4.1", "Exercise 4.1", "Solution to Exercise 4.1", "(4.1)", "Fig. 4.1"):
        assert wanted in text, wanted
    raw = re.search(
        r":::\{|\{(?:prf:)?ref\}|\{(?:cite|glue|term)[:}]|\[\?\]|\?\?|Undefined|VBox\(|Math (?:input|output) error",
        text,
    )
    assert not raw, raw


def test_links_lead_to_their_places(book) -> None:
    reader, places = book[0], book[0].named_destinations
    targets = {
        str(link["/Dest"])
        for page in reader.pages
        for link in (reference.get_object() for reference in page.get("/Annots", []))
        if "/Dest" in link and isinstance(link["/Dest"], str)
    }
    assert len(targets) > 200
    assert not {name for name in targets if name not in places and name.removeprefix("/") not in places}
    assert not [link for page in reader.pages for link in page.get("/Annots", []) if "file:" in str(link.get_object())]


def test_figures_and_sliders_are_printed(book) -> None:
    reader = book[0]
    assert sum("/XObject" in page["/Resources"] for page in reader.pages[:150]) > 20
