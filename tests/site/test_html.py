"""The built site's HTML, read without a browser."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

FOREIGN = re.compile(r"""(?:src|srcset)\s*=\s*["'](?:https?:)?//|<link[^>]+href=["'](?:https?:)?//""", re.IGNORECASE)


class Reader(HTMLParser):
    """Collect images, the ids a page offers, and the addresses it links to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.images, self.drawings, self.ids, self.links = [], [], set(), []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note one tag."""
        given = dict(attrs)
        if tag == "img":
            self.images.append(given)
        if tag == "svg":
            self.drawings.append(given)
        if tag == "a" and given.get("href"):
            self.links.append(given["href"])
        self.ids |= {given[key] for key in ("id", "name") if given.get(key)}


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Reader]:
    """Parse every page of the book once."""
    files = [path for path in site.rglob("*.html") if "_static" not in path.parts and "_sources" not in path.parts]
    return {path: Reader(path.read_text(encoding="utf-8")) for path in files}


def test_every_image_has_alternative_text(pages: dict[Path, Reader], site: Path) -> None:
    bare = [
        f"{path.relative_to(site)}: {(image.get('src') or '')[:80]} has alt={image.get('alt')!r}"
        for path, reader in pages.items()
        for image in reader.images
        if not (image.get("alt") or "").strip() or image["alt"].startswith(("../", "data:", "_images"))
    ]
    assert not bare, "\n".join(bare)


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
