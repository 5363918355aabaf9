"""Descriptions, link previews, the list of pages, and how to cite."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import pytest
import yaml
from docutils import nodes
from docutils.utils import new_document
from sphinx.errors import ConfigError


@pytest.fixture(scope="module")
def extension(root: Path):
    """The extension as a module, found as Sphinx finds it."""
    sys.path.insert(0, str(root / "book" / "assets"))
    yield importlib.import_module("latentbook_discovery")
    sys.path.remove(str(root / "book" / "assets"))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, None),
        ({"LATENTBOOK_SITE": ""}, None),
        ({"LATENTBOOK_SITE": "https://book.example"}, "https://book.example/"),
        ({"LATENTBOOK_SITE": "http://book.example/vae/"}, "http://book.example/vae/"),
    ],
)
def test_the_site_stands_where_the_environment_says(extension, given, expected) -> None:
    assert extension.site_address(given) == expected


@pytest.mark.parametrize("given", ["book.example", "ftp://book.example", "https://", "https://book.example/?a=1"])
def test_a_wrong_address_is_an_error_that_names_it(extension, given: str) -> None:
    with pytest.raises(ConfigError, match="LATENTBOOK_SITE='.*': expected a web address"):
        extension.site_address({"LATENTBOOK_SITE": given})


@pytest.mark.parametrize(
    ("formula", "letters"),
    [(r"\gamma^2 = 10", "γ² = 10"), (r"z_1", "z₁"), (r"\beta", "β"), (r"\mathcal N(0, I)", "N(0, I)")],
)
def test_formulas_are_written_in_letters(extension, formula: str, letters: str) -> None:
    assert extension.plain(formula) == letters


def page(*paragraphs: nodes.Node) -> nodes.document:
    """A document with a title and paragraphs."""
    document = new_document("page")
    document += nodes.title("", "A title")
    for paragraph in paragraphs:
        document += paragraph
    return document


def test_a_description_is_the_first_paragraph_cut_at_a_word(extension) -> None:
    first = nodes.paragraph("", "What ", nodes.math("", r"\beta"), nodes.Text(" does,\nand does not"))
    document = page(first, nodes.paragraph("", "Another."))
    assert extension.summary(document) == "What β does, and does not"
    assert extension.summary(document, limit=14) == "What β does …"
    assert extension.summary(page()) == ""


def head(extension, *, baseurl: str = "", metatags: str = "", text: str = 'Say "yes" & go') -> str:
    """The tags a page gets."""
    config = SimpleNamespace(html_title="The book", html_baseurl=baseurl, root_doc="book/index")
    app = SimpleNamespace(config=config, builder=SimpleNamespace(get_target_uri=lambda name: f"{name}.html"))
    context = {"title": "A <em>title</em>", "metatags": metatags}
    extension.describe(app, "book/page", "page.html", context, page(nodes.paragraph("", text)))
    return context["metatags"]


def test_without_an_address_there_is_a_description_and_no_address(extension) -> None:
    tags = head(extension)
    assert '<meta name="description" content="Say &quot;yes&quot; &amp; go" />' in tags
    assert '<meta property="og:title" content="A title" />' in tags
    assert "og:url" not in tags and "og:image" not in tags


def test_with_an_address_links_have_a_picture(extension, root: Path) -> None:
    tags = head(extension, baseurl="https://book.example/vae/")
    assert '<meta property="og:url" content="https://book.example/vae/book/page.html" />' in tags
    assert '<meta property="og:image" content="https://book.example/vae/_static/card.png" />' in tags
    card = (root / "book" / "assets" / "static" / "card.png").read_bytes()
    assert [int.from_bytes(card[at : at + 4], "big") for at in (16, 20)] == [1200, 630]


def test_a_description_in_the_front_matter_comes_first(extension) -> None:
    tags = head(extension, metatags='<meta content="By hand." name="description" />')
    assert tags.count('name="description"') == 1
    assert '<meta property="og:description" content="By hand." />' in tags


@pytest.mark.parametrize("address", ["", "https://book.example/vae/"])
def test_pages_are_listed_where_the_address_is_known(extension, tmp_path: Path, address: str) -> None:
    builder = SimpleNamespace(format="html", get_target_uri=lambda name: f"{name}.html")
    env = SimpleNamespace(found_docs={"book/b", "book/a"})
    app = SimpleNamespace(config=SimpleNamespace(html_baseurl=address), builder=builder, env=env, outdir=tmp_path)
    extension.write_sitemap(app, None)
    assert (tmp_path / "sitemap.xml").exists() is (tmp_path / "robots.txt").exists() is bool(address)
    if address:
        listed = [place.text for place in ElementTree.parse(tmp_path / "sitemap.xml").iterfind("{*}url/{*}loc")]
        assert listed == [f"{address}book/a.html", f"{address}book/b.html"]
        assert f"Sitemap: {address}sitemap.xml" in (tmp_path / "robots.txt").read_text()


def test_the_citation_says_what_the_file_says(extension, root: Path) -> None:
    cff = yaml.safe_load((root / "CITATION.cff").read_text())
    entry = extension.bibtex(cff, "2026", "https://book.example/")
    assert entry.startswith("@software{latentbook,\n")
    for text in (cff["title"], cff["version"], "2026", "https://book.example/", cff["authors"][0]["name"]):
        assert f"{{{text}}}" in entry
    assert "url" not in extension.bibtex(cff, "2026", None)


def test_persons_are_named_in_order_and_groups_kept_together(extension) -> None:
    authors = [{"given-names": "Ada", "family-names": "Byron"}, {"name": "The group and others"}]
    entry = extension.bibtex({"authors": authors, "title": "t", "version": "1", "type": "software"}, "2026", None)
    assert "author  = {Ada Byron and {The group and others}}" in entry
