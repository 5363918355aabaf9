"""The built site's HTML, read without a browser."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
import yaml

FOREIGN = re.compile(r"""(?:src|srcset)\s*=\s*["'](?:https?:)?//|<link[^>]+href=["'](?:https?:)?//""", re.IGNORECASE)


VAGUE = re.compile(
    r"(click )?here|this( page| link| chapter)?|that|link|read more|more|see|page|chapter", re.IGNORECASE
)
NO_WORDS = re.compile(r"\S*[/\\]\S*|\S+\.(png|svg|jpe?g|gif)|image|figure|picture|plot|alt|untitled", re.IGNORECASE)


class Reader(HTMLParser):
    """Collect a page's title, description and images, the ids it offers, and its links with their words."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.images, self.drawings, self.ids, self.links, self.anchors = [], [], set(), [], []
        self.title, self.meta, self._inside = "", {}, None
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note one tag."""
        given = dict(attrs)
        if tag == "img":
            self.images.append(given)
            self.handle_data(given.get("alt") or "")
        if tag == "svg":
            self.drawings.append(given)
        if tag == "meta":
            self.meta[given.get("name") or given.get("property")] = given.get("content")
        if tag == "title" and not self.title:
            self._inside = "title"
        if tag == "a" and given.get("href"):
            self.links.append(given["href"])
            self.anchors.append([given["href"], given.get("aria-label") or given.get("title") or ""])
            self._inside = "a"
        self.ids |= {given[key] for key in ("id", "name") if given.get(key)}

    def handle_endtag(self, tag: str) -> None:
        """Note the end of a link or of the title."""
        if tag == self._inside:
            self._inside = None

    def handle_data(self, data: str) -> None:
        """Note the words of a link or of the title."""
        if self._inside == "title":
            self.title += data
        elif self._inside == "a":
            self.anchors[-1][1] += data


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Reader]:
    """Parse every page of the book once."""
    files = [path for path in site.rglob("*.html") if "_static" not in path.parts and "_sources" not in path.parts]
    return {path: Reader(path.read_text(encoding="utf-8")) for path in files}


@pytest.fixture(scope="module")
def written(pages: dict[Path, Reader], site: Path) -> dict[Path, Reader]:
    """The pages that someone wrote: no index, no search."""
    return {path: reader for path, reader in pages.items() if path.is_relative_to(site / "book")}


def test_every_image_says_in_words_what_it_shows(pages: dict[Path, Reader], site: Path) -> None:
    bare = [
        f"{path.relative_to(site)}: {(image.get('src') or '')[:80]} has alt={image.get('alt')!r}"
        for path, reader in pages.items()
        for image in reader.images
        if not (image.get("alt") or "").strip() or NO_WORDS.fullmatch(image["alt"].strip())
    ]
    assert not bare, "\n".join(bare)


@pytest.mark.parametrize(
    ("alt", "says_something"),
    [("", False), ("figure", False), ("../_images/a.png", False), ("a.png", False), ("A bar / line plot", True)],
)
def test_a_file_name_is_no_description(alt: str, says_something: bool) -> None:
    assert (alt != "" and NO_WORDS.fullmatch(alt) is None) is says_something


def test_every_link_says_where_it_goes(written: dict[Path, Reader], site: Path) -> None:
    vague = [
        f"{path.relative_to(site)}: {words.strip()!r} leads to {address}"
        for path, reader in written.items()
        for address, words in reader.anchors
        if not words.strip() or VAGUE.fullmatch(words.strip())
    ]
    assert not vague, "\n".join(vague)


def test_every_page_has_a_title_and_a_description_of_its_own(written: dict[Path, Reader], site: Path) -> None:
    wrong, seen = [], {}
    for path, reader in written.items():
        name, words = path.relative_to(site).as_posix(), reader.meta.get("description") or ""
        for what, text in (("title", reader.title.strip()), ("description", words)):
            if seen.setdefault((what, text), name) != name:
                wrong.append(f"{name}: the {what} of {seen[what, text]}")
        if not 40 <= len(words) <= 300 or re.search(r"[\\{}$]", words):
            wrong.append(f"{name}: description {words!r}")
        if reader.meta.get("og:description") != words or not reader.meta.get("og:title"):
            wrong.append(f"{name}: a link preview that says something else")
    assert not wrong, "\n".join(wrong)


def test_every_chapter_begins_with_its_box(root: Path, site: Path) -> None:
    chapters = [
        entry["file"]
        for part in yaml.safe_load((root / "_toc.yml").read_text())["parts"]
        for entry in part["chapters"]
        if part.get("numbered")
    ]
    assert len(chapters) > 10
    box = re.compile(r"</h1>\s*<div class=\"chapter-box admonition\">.*?<p class=\"measured\">", re.DOTALL)
    assert not [chapter for chapter in chapters if not box.search((site / f"{chapter}.html").read_text())]


def test_no_page_weighs_more_than_three_megabytes(written: dict[Path, Reader], site: Path) -> None:
    heavy = {}
    for path, reader in written.items():
        sources = {image["src"] for image in reader.images if not image["src"].startswith("data:")}
        weight = path.stat().st_size + sum((path.parent / source).stat().st_size for source in sources)
        if weight > 3e6:
            heavy[path.relative_to(site).as_posix()] = f"{weight / 1e6:.2f} MB"
    assert not heavy


def test_every_inline_drawing_has_a_name_or_is_hidden(pages: dict[Path, Reader], site: Path) -> None:
    bare = [
        f"{path.relative_to(site)}: {drawing}"
        for path, reader in pages.items()
        for drawing in reader.drawings
        if drawing.get("aria-hidden") != "true" and not (drawing.get("aria-label") or drawing.get("aria-labelledby"))
    ]
    assert not bare, "\n".join(bare)


def test_no_page_names_a_file_of_another_host(pages: dict[Path, Reader], site: Path) -> None:
    foreign = [
        f"{path.relative_to(site)}: {match.group()}"
        for path in pages
        for match in FOREIGN.finditer(path.read_text(encoding="utf-8"))
        if 'rel="canonical"' not in match.group()
    ]
    assert not foreign, "\n".join(foreign)


def test_every_inner_link_leads_somewhere(pages: dict[Path, Reader], site: Path) -> None:
    ids, dead = {path.resolve(): reader.ids for path, reader in pages.items()}, []
    for path, reader in pages.items():
        for link in reader.links:
            if re.match(r"[a-z]+:|//", link):
                continue
            address, _, anchor = link.partition("#")
            target = (path.parent / address.partition("?")[0]).resolve() if address else path.resolve()
            if "_modules" in path.parts:  # viewcode names re-exported functions loosely; the page is the right one
                anchor = ""
            if not target.exists() or (anchor and target in ids and anchor not in ids[target]):
                dead.append(f"{path.relative_to(site)}: {link}")
    assert not dead, "\n".join(dead)


def test_no_script_stands_twice(pages: dict[Path, Reader], site: Path) -> None:
    for path in pages:
        text = path.read_text(encoding="utf-8")
        assert text.count("const THEBE_JS_URL") <= 1, path.relative_to(site)


def test_no_directive_or_role_is_left_raw(pages: dict[Path, Reader], site: Path) -> None:
    raw = re.compile(r"\{(?:prf:)?(?:ref|numref|eq|cite|cite:t|cite:p|term|func|class)\}<code|>:::\{|glue:[a-z]+\}")
    left = [path.relative_to(site) for path in pages if raw.search(path.read_text(encoding="utf-8"))]
    assert not left
