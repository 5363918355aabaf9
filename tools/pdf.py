"""Print the built site as one PDF: contents with page numbers, every chapter, and the solutions at the end.

The pages are those of ``make book``, so theorems, equations and exercises bear the site's own numbers. Chromium sets
the formulas, shows each slider at the picture it starts with, and prints leaf by leaf (printed at once, the time grows
much faster than the pages): the chapters first, then the contents, whose page numbers are known by then. The document
that it prints stays in ``_build/pdf`` to be looked at.

    python tools/pdf.py                 # writes _build/html/latentbook.pdf
"""

from __future__ import annotations

import argparse
import base64
import dataclasses
import io
import os
import posixpath
import re
import shutil
import sys
import time
from html import escape
from pathlib import Path

import yaml
from bs4 import BeautifulSoup, Tag
from pypdf import PdfReader, PdfWriter
from pypdf.generic import ArrayObject, DictionaryObject, Fit, FloatObject, NameObject, NullObject

ROOT = Path(__file__).resolve().parent.parent
NAME = "latentbook.pdf"
SITE = "../html/"  # the site, seen from the document
LEFT_OUT = {"book/api"}  # the package's reference is for searching, not for paper
SOLUTIONS = "Solutions to the exercises"
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
OPTIONS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--allow-file-access-from-files",
    "--disable-background-networking", "--host-resolver-rules=MAP * ~NOTFOUND",
)  # fmt: skip
PRINT = {"printBackground": True, "preferCSSPageSize": True, "generateTaggedPDF": False}
READY = """
  const views = [...document.querySelectorAll('.lb-view')];
  return window.lbSet && views.every(view => view.querySelector('.jupyter-widgets'))
    && [...document.images].every(image => image.complete)"""
TURN = """
  document.querySelectorAll('.lb-leaf').forEach((leaf, number) => { leaf.hidden = number !== arguments[0]; });
  document.documentElement.style.counterReset = `page ${arguments[1]}`"""
NUMBER = """
  for (const link of document.querySelectorAll('nav.lb-contents a'))
    link.lastElementChild.textContent = arguments[0][link.hash.slice(1)]"""
HEAD = """<!DOCTYPE html>
<html lang="en" data-theme="light" data-mode="light">
<head>
<meta charset="utf-8">
<title>{title}</title>
{styles}
<style>{css}</style>
<script>window.MathJax = {{options: {{processHtmlClass: "tex2jax_process|mathjax_process|math|output_area"}}}}</script>
<script defer src="{site}_static/mathjax/tex-mml-chtml.js"></script>
{states}
<script src="{site}_static/html-manager/embed.js"></script>
<script src="{site}_static/widget-math.js"></script>
<script>addEventListener("load", () => MathJax.startup.promise.then(() => {{ window.lbSet = true; }}))</script>
</head>
<body>
<div class="lb-leaf">
<header><h1>{title}</h1><p>{author}</p><p>{licence}</p></header>
<nav class="lb-contents"><h1>Contents</h1>{lines}</nav>
</div>
"""
LICENCE = "Text and figures: CC BY 4.0. Code: MIT."


class NotReady(RuntimeError):
    """Something that the PDF is made with is missing; the message says what to do."""


def find_tools() -> tuple[str, str]:
    """Find Chromium and its driver.

    Raises:
        NotReady: one of them is not installed.
    """
    browser, driver = next(filter(None, map(shutil.which, BROWSERS)), None), shutil.which("chromedriver")
    missing = [name for name, found in (("chromium", browser), ("chromedriver", driver)) if not found]
    if missing:
        wanted = "On Debian or Ubuntu: apt-get install chromium chromium-driver"
        raise NotReady(f"{' and '.join(missing)} not found. {wanted}")
    return browser, driver


def parts(root: Path = ROOT) -> list[tuple[str, list[str]]]:
    """List the parts of ``_toc.yml`` in reading order: a caption and the pages below it."""
    toc = yaml.safe_load((root / "_toc.yml").read_text())
    listed = [(part["caption"], [chapter["file"] for chapter in part["chapters"]]) for part in toc["parts"]]
    return [("", [toc["root"]]), *((name, [page for page in pages if page not in LEFT_OUT]) for name, pages in listed)]


def place(page: str, name: str = "") -> str:
    """Name a place of one page within the one document."""
    return f"{page.replace('/', '-')}--{name}".rstrip("-")


def absolute(page: str, address: str) -> str:
    """Write an address that is relative to a page as one relative to the site's root."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(page), address))


@dataclasses.dataclass(frozen=True)
class Entry:
    """One line of the contents: 0 a part, 1 a chapter, 2 a section."""

    level: int
    title: str
    place: str

    def line(self) -> str:
        """Write it as HTML; the page number comes later."""
        return f'<p class="lb-{self.level}"><a href="#{self.place}"><span>{escape(self.title)}</span><b></b></a></p>'


@dataclasses.dataclass(frozen=True)
class Chapter:
    """One page of the site, ready to stand in one document with all others."""

    title: str
    sections: list[tuple[str, str]]  # title and place
    body: str
    solutions: str
    states: str  # what the widgets' manager draws them from
    styles: list[str]  # the addresses of the style sheets


def chapter(site: Path, page: str, pages: set[str]) -> Chapter:
    """Read one page of the site.

    Args:
        site: the folder of the built site.
        page: the page's name, without ``.html``.
        pages: all pages of the document; links to these stay within it, links to other pages become plain text.

    Raises:
        NotReady: the site is not built.
    """
    path = site / f"{page}.html"
    if not path.exists():
        raise NotReady(f"{path} does not exist: run `make book` first")
    soup = BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")
    states = "".join(str(tag.extract()) for tag in soup.select('script[type$="widget-state+json"]'))
    styles = [SITE + absolute(page, tag["href"]) for tag in soup.select('link[rel="stylesheet"]')]
    body = soup.select_one("article.bd-article")
    unfold(soup, body)
    for tag in body.find_all(True):
        if tag.get("id") and not tag.find_parent("svg"):  # the names within a drawing are its own
            tag["id"] = place(page, tag["id"])
        if tag.get("src") and not tag["src"].startswith("data:"):
            tag["src"] = SITE + absolute(page, tag["src"])
        if tag.name == "a" and tag.get("href"):
            link(tag, page, pages)
    for tag in body.find_all(re.compile("^h[1-5]$")):  # the parts stand above the chapters
        tag.name = f"h{int(tag.name[1]) + 1}"
    sections = [(tag.get_text(), tag.parent["id"]) for tag in body.select("section[id] > h3")]
    solutions = "".join(str(tag.extract()) for tag in body.select("div.solution"))
    return Chapter(body.h2.get_text(), sections, body.decode_contents(), solutions, states, styles)


def unfold(soup: BeautifulSoup, body: Tag) -> None:
    """Open what is folded; leave out what only a screen can use, and the code that the site folds."""
    for tag in body.select("a.headerlink, details.hide, .sd-summary-state-marker"):
        tag.decompose()
    for tag in body.select("details"):
        tag["open"] = ""
    for tag in body.select("script"):
        if tag.get("type", "").endswith("widget-view+json"):
            tag.wrap(soup.new_tag("div", attrs={"class": "lb-view"}))
        else:
            tag.decompose()


def link(tag: Tag, page: str, pages: set[str]) -> None:
    """Lead a link to its place in the document, or drop it where its page is not in there."""
    file, _, name = tag["href"].partition("#")
    if re.match("[a-z]+:|//", file):
        return
    target = absolute(page, file).removesuffix(".html") if file else page
    if target in pages:
        tag["href"] = f"#{place(target, name)}"
    else:
        del tag["href"]


def document(root: Path, site: Path) -> tuple[str, list[Entry]]:
    """Put the whole book into one page of HTML, and list what its contents name."""
    listed = parts(root)
    pages = {page for _, names in listed for page in names}
    entries, leaves, answers, states = [], [], [], []
    for caption, names in listed:
        for number, page in enumerate(names):
            found = chapter(site, page, pages)
            heading = ""
            if caption and not number:
                entries.append(Entry(0, caption, place(page)))
                heading = f'<h1 class="lb-part">{escape(caption)}</h1>'
            entries.append(Entry(1, found.title, place(page)))
            entries += [Entry(2, title, name) for title, name in found.sections]
            leaves.append(leaf(place(page), heading + found.body))
            states.append(found.states)
            if found.solutions:
                answers.append(f"<h2>{escape(found.title)}</h2>{found.solutions}")
    if answers:
        entries.append(Entry(0, SOLUTIONS, "lb-solutions"))
        leaves.append(leaf("lb-solutions", f'<h1 class="lb-part">{SOLUTIONS}</h1>{"".join(answers)}'))
    config = yaml.safe_load((root / "_config.yml").read_text())
    head = HEAD.format(
        title=escape(config["title"]),
        author=escape(config["author"]),
        licence=LICENCE,
        styles="".join(f'<link rel="stylesheet" href="{address}">' for address in found.styles),
        css=(root / "book" / "assets" / "pdf.css").read_text(),
        states="".join(states),
        site=SITE,
        lines="".join(map(Entry.line, entries)),
    )
    return head + "".join(leaves) + "</body></html>\n", entries


def leaf(name: str, body: str) -> str:
    """Wrap what is printed in one go."""
    return f'<article class="lb-leaf bd-article" id="{name}">{body}</article>\n'


def print_leaves(path: Path, tools: tuple[str, str], entries: list[Entry], seconds: float) -> list[bytes]:
    """Let Chromium print the document: the contents, then every chapter.

    Raises:
        TimeoutError: formulas, pictures or sliders were not ready in time.
    """
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = tools[0]
    for option in OPTIONS:
        options.add_argument(option)
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(tools[1]))

    def one(number: int, before: int) -> bytes:
        driver.execute_script(TURN, number, before)
        return base64.b64decode(driver.execute_cdp_cmd("Page.printToPDF", PRINT)["data"])

    try:
        driver.set_page_load_timeout(seconds)
        driver.get(path.as_uri())
        end = time.monotonic() + seconds
        while not driver.execute_script(READY):
            if time.monotonic() > end:
                raise TimeoutError(f"{path}: formulas, pictures or sliders are not ready after {seconds:g} s")
            time.sleep(0.5)
        prints = [one(0, 0)]
        for number in range(1, driver.execute_script("return document.querySelectorAll('.lb-leaf').length")):
            prints.append(one(number, sum(map(count, prints))))
        places = find_places(prints)
        driver.execute_script(NUMBER, {entry.place: places[entry.place][0] + 1 for entry in entries})
        return [one(0, 0), *prints[1:]]
    finally:
        driver.quit()


def count(pdf: bytes) -> int:
    """Count the pages of a PDF."""
    return len(PdfReader(io.BytesIO(pdf)).pages)


def find_places(prints: list[bytes]) -> dict[str, tuple[int, float]]:
    """Find every place that a link leads to: its page, counted from 0 over all prints, and its height on the page."""
    found, before = {}, 0
    for pdf in prints:
        reader = PdfReader(io.BytesIO(pdf))
        for name, target in reader.named_destinations.items():
            found[name.removeprefix("/")] = before + reader.get_destination_page_number(target), float(target.top or 0)
        before += len(reader.pages)
    return found


def bind(prints: list[bytes], entries: list[Entry], title: str, author: str) -> bytes:
    """Bind the prints into one PDF, with links from each to all, and bookmarks."""
    writer, places = PdfWriter(), find_places(prints)
    for pdf in prints:
        writer.append(io.BytesIO(pdf), import_outline=False)
    targets = DictionaryObject()
    for name, (page, top) in places.items():
        height = [NameObject("/XYZ"), NullObject(), FloatObject(top), NullObject()]
        targets[NameObject(f"/{name}")] = ArrayObject([writer.pages[page].indirect_reference, *height])
    writer.root_object[NameObject("/Dests")] = writer._add_object(targets)
    above = [None, None, None]
    for entry in entries:
        page, top = places[entry.place]
        parent = above[entry.level - 1] if entry.level else None
        above[entry.level] = writer.add_outline_item(
            title=entry.title, page_number=page, parent=parent, fit=Fit.xyz(top=top)
        )
        above[entry.level + 1 :] = [above[entry.level]] * (2 - entry.level)
    writer.add_metadata({"/Title": title, "/Author": author})
    writer.compress_identical_objects()
    bound = io.BytesIO()
    writer.write(bound)
    return bound.getvalue()


def write(path: Path, data: bytes) -> None:
    """Write a file whole or not at all."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    partial.write_bytes(data)
    os.replace(partial, path)


def offer(page: Path, pages: int, megabytes: float) -> None:
    """Link the PDF where a page of the site has a place for it: ``<p class="lb-pdf" hidden></p>``."""
    link = f'<a href="../{NAME}">The whole book as one PDF</a>'
    text = f'<p class="lb-pdf">{link}: {pages} pages, {megabytes:.0f} MB.</p>'
    html = re.sub(r'<p class="lb-pdf".*?</p>', text, page.read_text(encoding="utf-8"), flags=re.DOTALL)
    write(page, html.encode())


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", type=Path, default=ROOT / "_build", help="the folder with the built site in html/")
    parser.add_argument("--seconds", type=float, default=300, help="how long the browser may take to set the pages")
    given = parser.parse_args(arguments)
    build = given.build.resolve()
    try:
        tools = find_tools()
        text, entries = document(ROOT, build / "html")
    except NotReady as error:
        print(error, file=sys.stderr)
        return 1
    (build / "pdf").mkdir(exist_ok=True)
    write(build / "pdf" / "book.html", text.encode())
    prints = print_leaves(build / "pdf" / "book.html", tools, entries, given.seconds)
    config = yaml.safe_load((ROOT / "_config.yml").read_text())
    target, pages = build / "html" / NAME, sum(map(count, prints))
    write(target, bind(prints, entries, config["title"], config["author"]))
    megabytes = target.stat().st_size / 1e6
    offer(build / "html" / "book" / "how-to-use.html", pages, megabytes)
    print(f"{target}: {pages} pages, {megabytes:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
