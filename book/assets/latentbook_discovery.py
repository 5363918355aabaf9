"""What search engines, link previews and bibliographies read: a Sphinx extension.

* every page has a description: the front matter's (``myst: html_meta: description``), or its first paragraph;
* where the site's address is known (``LATENTBOOK_SITE``), pages carry it, with a picture for link previews, and there
  are a ``sitemap.xml`` and a ``robots.txt``; elsewhere nothing is guessed;
* ``{citation}`` says how to cite the book, from ``CITATION.cff``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from html import escape
from html.entities import html5
from pathlib import Path
from urllib.parse import urlsplit
from xml.sax.saxutils import escape as xml_escape

import yaml
from docutils import nodes
from docutils.parsers.rst import Directive
from latentbook_site import repository_address
from sphinx.errors import ConfigError

CARD = "_static/card.png"
CARD_ALT = "Two models of equal likelihood: a VAE fits the upright posterior exactly, and the tilted one it does not"
SUPERSCRIPTS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")


def site_address(environment: Mapping[str, str]) -> str | None:
    """Give the address at which the site will stand, with a slash at its end, or None where it is not known.

    Raises:
        ConfigError: ``LATENTBOOK_SITE`` is set to something that is no web address.
    """
    given = environment.get("LATENTBOOK_SITE", "")
    if not given:
        return None
    parts = urlsplit(given)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ConfigError(f"LATENTBOOK_SITE={given!r}: expected a web address, such as https://HOST/BOOK/")
    return given.rstrip("/") + "/"


def plain(formula: str) -> str:
    r"""A short formula in letters: ``\gamma^2`` becomes γ²."""
    text = re.sub(r"\\([A-Za-z]+)\s?", lambda match: html5.get(match[1] + ";", ""), formula)
    text = re.sub(r"\^(\d)", lambda match: match[1].translate(SUPERSCRIPTS), text)
    text = re.sub(r"_(\d)", lambda match: match[1].translate(SUBSCRIPTS), text)
    return re.sub(r"[\\{}^_$]", "", text)


def summary(document: nodes.document, limit: int = 200) -> str:
    """The document's first paragraph, cut at a word when it is longer than ``limit`` characters."""
    paragraph = next(iter(document.findall(nodes.paragraph)), None)
    if paragraph is None:
        return ""
    pieces = (plain(t) if isinstance(t.parent, nodes.math) else t for t in paragraph.findall(nodes.Text))
    text = " ".join("".join(pieces).split())
    return text if len(text) <= limit else text[:limit].rsplit(" ", 1)[0].rstrip(" ,;:.") + " …"


def describe(app, page, template, context, doctree) -> None:
    """Add the description and what link previews read to a page's head."""
    title = re.sub(r"<[^>]+>", "", context.get("title") or app.config.html_title).strip()
    given = re.search(r'<meta [^>]*name="description"[^>]*>', context.get("metatags", ""))
    words = re.search(r'content="([^"]*)"', given[0])[1] if given else ""
    words = words or escape((doctree is not None and summary(doctree)) or app.config.html_title)
    tags = {"og:title": title, "og:description": words, "og:site_name": app.config.html_title, "og:locale": "en_GB"}
    tags["og:type"] = "website" if page == app.config.root_doc else "article"
    address = app.config.html_baseurl
    if address:
        tags |= {"og:url": address + app.builder.get_target_uri(page), "og:image": address + CARD}
        tags |= {"og:image:width": "1200", "og:image:height": "630", "og:image:alt": CARD_ALT}
    lines = [] if given else [f'<meta name="description" content="{words}" />']
    lines += [f'<meta property="{name}" content="{text}" />' for name, text in tags.items()]
    lines += ['<meta name="twitter:card" content="summary_large_image" />'] if address else []
    context["metatags"] = context.get("metatags", "") + "\n    ".join(["", *lines, ""])


def write_sitemap(app, problem) -> None:
    """Write the list of pages for search engines, where the site's address is known."""
    address = app.config.html_baseurl
    if problem or not address or app.builder.format != "html":
        return
    pages = sorted(app.builder.get_target_uri(page) for page in app.env.found_docs)
    rows = "".join(f"  <url><loc>{xml_escape(address + page)}</loc></url>\n" for page in pages)
    namespace = "http://www.sitemaps.org/schemas/sitemap/0.9"
    listed = f'<?xml version="1.0" encoding="utf-8"?>\n<urlset xmlns="{namespace}">\n{rows}</urlset>\n'
    Path(app.outdir, "sitemap.xml").write_text(listed, encoding="utf-8")
    Path(app.outdir, "robots.txt").write_text(f"User-agent: *\nAllow: /\nSitemap: {address}sitemap.xml\n")


def author(entry: Mapping[str, str]) -> str:
    """One author of a ``CITATION.cff``, a person or a group."""
    return entry.get("name") or f"{entry['given-names']} {entry['family-names']}"


def bibtex(cff: Mapping, year: str, address: str | None) -> str:
    """The BibTeX entry of a ``CITATION.cff``."""
    names = " and ".join(f"{{{author(a)}}}" if "name" in a else author(a) for a in cff["authors"])
    fields = {"author": names, "title": f"{{{cff['title']}}}", "year": year, "version": cff["version"]}
    fields |= {"url": address} if address else {}
    lines = ",\n".join(f"  {name:<7} = {{{text}}}" for name, text in fields.items())
    return f"@{cff['type']}{{{cff['title'].split(':')[0]},\n{lines}\n}}"


class Citation(Directive):
    """``{citation}``: how to cite the book, from ``CITATION.cff``."""

    def run(self) -> list[nodes.Node]:
        """Return the request, the reference, and its BibTeX entry."""
        env = self.state.document.settings.env
        source = Path(env.app.confdir) / "CITATION.cff"
        env.note_dependency(str(source))
        cff = yaml.safe_load(source.read_text(encoding="utf-8"))
        year = str(cff.get("date-released") or env.config.copyright)[:4]
        address = env.config.html_baseurl or repository_address(Path(env.app.confdir))
        names = ", ".join(author(entry) for entry in cff["authors"])
        reference = nodes.paragraph("", f"{names} ({year}). ")
        reference += [nodes.emphasis("", cff["title"]), nodes.Text(f". Version {cff['version']}.")]
        if address:
            reference += [nodes.Text(" "), nodes.reference("", address, refuri=address)]
        entry = bibtex(cff, year, address)
        return [nodes.paragraph("", cff["message"]), reference, nodes.literal_block(entry, entry, language="bibtex")]


def use_site(app, config) -> None:
    """Let the pages know the site's address, when and only when it is given."""
    config.html_baseurl = site_address(os.environ) or ""


def setup(app) -> dict[str, object]:
    """Connect the pieces."""
    app.add_directive("citation", Citation)
    app.connect("config-inited", use_site)
    app.connect("html-page-context", describe)
    app.connect("build-finished", write_sitemap)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
