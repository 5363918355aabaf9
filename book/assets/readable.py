"""A chapter's Markdown in words that any notebook can show: no directive and no role is left.

Jupyter, Colab and GitHub know plain Markdown only. There a theorem becomes a quotation with a heading, a folded
answer ``<details>``, a reference the title of what it leads to, a citation its authors and year, a glued number the one
that the chapter's last run gave. An unknown directive or role is an error, so that nothing is left raw by oversight.
"""

from __future__ import annotations

import ast
import dataclasses
import posixpath
import re
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

from pybtex.database import parse_file

FENCE = re.compile(r"^(?P<fence>:{3,}|`{3,})\{(?P<kind>[a-z:-]+)\} *(?P<title>.*)$")
OPTION = re.compile(r"^:[a-z-]+:.*$")
ROLE = re.compile(r"\{(?P<role>[a-z:]+)\}`(?P<text>[^`]*)`")
LINK = re.compile(r"(?<!!)\[(?P<text>[^][]*)\]\((?P<target>[^()\s]+)\)")
OPENING = r"^(?:`{3,}|:{3,})"
LABEL = r"(?::.*\n)*?:label: *(?P<label>\S+)"
TARGET = re.compile(rf"^\((?P<label>[\w-]+)\)=\n+(?:#+|{OPENING[1:]}\{{admonition\}}) +(?P<title>.*)$", re.MULTILINE)
STATEMENT = re.compile(OPENING + r"\{(?P<kind>prf:[a-z]+|exercise)\} *(?P<title>.*)\n" + LABEL, re.MULTILINE)
EQUATION = re.compile(rf"\$\$ *\((?P<after>[\w-]+)\) *$|{OPENING}\{{math\}}\n{LABEL}", re.MULTILINE)
TAGGED = re.compile(r"\s*\$\$ *\(([\w-]+)\) *$", re.MULTILINE)
DISPLAYED = re.compile(r"\$\$(.*?)\$\$", re.DOTALL)
RAW = re.compile(r"^(?::{3,}|`{3,}\{)|\{[a-z:]+\}`|^\([\w-]+\)=$", re.MULTILINE)
GLUED = "application/papermill.record/text/plain"


@dataclasses.dataclass(frozen=True)
class Place:
    """Something that a reference leads to: its page and what to call it."""

    page: str
    name: str
    title: str = ""


class Book:
    """What the references of the book lead to.

    Args:
        root: the folder with ``book``.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    @cached_property
    def places(self) -> dict[str, Place]:
        """Every label of the book."""
        found = {}
        for path in sorted((self.root / "book").rglob("*.md")):
            page, text = self.name(path), path.read_text(encoding="utf-8")
            heading = re.search(r"^# +(.*)$", text, re.MULTILINE)
            found[page] = Place(page, heading[1] if heading else page)
            found |= {match["label"]: Place(page, match["title"]) for match in TARGET.finditer(text)}
            for match in STATEMENT.finditer(text):
                found[match["label"]] = Place(page, kind_name(match["kind"]), match["title"].strip())
            for number, match in enumerate(EQUATION.finditer(text), start=1):
                found[match["after"] or match["label"]] = Place(page, f"({number})")
        return found

    @cached_property
    def notebooks(self) -> set[str]:
        """Every page with code, which has a notebook beside it."""
        pages = sorted((self.root / "book").rglob("*.md"))
        return {self.name(path) for path in pages if "\nkernelspec:\n" in path.read_text(encoding="utf-8")}

    def name(self, path: Path) -> str:
        """Name a page as Sphinx does: its path without ending."""
        return path.relative_to(self.root).with_suffix("").as_posix()

    @cached_property
    def works(self) -> dict[str, tuple[str, str]]:
        """Every work of the bibliography: authors as they are cited, and year."""
        entries = parse_file(str(self.root / "book" / "references.bib")).entries
        return {key: (authors(entry.persons.get("author", [])), entry.fields["year"]) for key, entry in entries.items()}


def kind_name(kind: str) -> str:
    """Write a directive's name as a heading: ``prf:theorem`` is a theorem."""
    return kind.removeprefix("prf:").capitalize()


def authors(persons: list) -> str:
    """Cite authors: one, two, or the first of many."""
    names = [re.sub("[{}]", "", " ".join([*one.prelast_names, *one.last_names])) for one in persons]
    return " and ".join(names) if len(names) < 3 else f"{names[0]} et al."


@dataclasses.dataclass
class Reader:
    """Rewrites the Markdown of one page.

    Args:
        book: what references lead to.
        page: the page's name below the root, without its ending.
        glued: the value of every glued number.
        site: the address of the book's site, ``""`` where it is not known; links then become plain text.
            None leads links to the notebooks of this folder.
    """

    book: Book
    page: str
    glued: Mapping[str, str]
    site: str | None = None

    def text(self, markdown: str) -> str:
        """Rewrite one cell.

        Raises:
            ValueError: it holds a directive, a role or a label that is not known here.
        """
        markdown = re.sub(r"^\([\w-]+\)=\n+", "", markdown, flags=re.MULTILINE)
        markdown = TAGGED.sub(lambda match: "\n".join(["", *self.tag(match[1])]), markdown)
        markdown = ROLE.sub(self.role, LINK.sub(self.linked, markdown))
        text = "\n".join(self.blocks(markdown.split("\n"))).strip("\n")
        left = RAW.search(text)
        if left:
            raise ValueError(f"{self.page}: {left.group()!r} is left as it was; expected what is known here")
        return re.sub(r"\n{3,}", "\n\n", text)

    def tag(self, label: str) -> list[str]:
        """Close a displayed formula with its number."""
        return [rf"\tag{{{self.place(label).name[1:-1]}}}", "$$"]

    def blocks(self, lines: list[str]) -> list[str]:
        """Rewrite the directives among some lines."""
        done, rest = [], list(lines)
        while rest:
            line = rest.pop(0)
            match = FENCE.match(line)
            fence = match["fence"] if match else re.match("`{3,}|", line).group()
            if not fence:
                done.append(line)
                continue
            end = next((number for number, one in enumerate(rest) if one.rstrip() == fence), None)
            if end is None:
                raise ValueError(f"{self.page}: {line!r} is never closed; expected {fence!r} on a line of its own")
            inner, rest = rest[:end], rest[end + 1 :]
            if not match:
                done += [line, *inner, fence]
            elif match["kind"] == "solution-start":  # what follows in this cell is the solution's text
                done, rest = [*done, *folded(f"Solution: {self.place(match['title']).title}", self.blocks(rest))], []
            else:
                options = [one for one in inner if OPTION.match(one)]
                while inner and (OPTION.match(inner[0]) or not inner[0].strip()):
                    inner.pop(0)
                done += self.directive(match["kind"], match["title"].strip(), options, inner)
        return done

    def directive(self, kind: str, title: str, options: list[str], inner: list[str]) -> list[str]:
        """Rewrite one directive."""
        if kind in ("measured", "solution-end"):
            return []
        if kind == "math":
            label = next((option.split()[1] for option in options if option.startswith(":label:")), None)
            return ["$$", *inner, *(self.tag(label) if label else ["$$"])]
        if kind == "table":
            return [*([f"**{title}**", ""] if title else []), *inner]
        if kind == "dropdown":
            return folded(title, self.blocks(inner))
        if kind == "admonition":
            return quoted(title, self.blocks(inner))
        if kind.startswith("prf:") or kind == "exercise":
            return quoted(f"{kind_name(kind)}: {title}" if title else kind_name(kind), self.blocks(inner))
        raise ValueError(f"{self.page}: the directive {kind!r} is not known here")

    def role(self, match: re.Match) -> str:
        """Rewrite one role."""
        kind, text = match["role"], match["text"]
        named = re.fullmatch(r"(.*?)\s*<(.*)>", text, re.DOTALL)
        name, target = named.groups() if named else ("", text)
        if kind == "glue:text":
            return self.glued.get(text, "…")
        if kind == "math":
            return f"${text}$"
        if kind in ("term", "class", "func"):
            return name or target if kind == "term" else f"`{target.removeprefix('~').split('.')[-1]}`"
        if kind.startswith("cite:"):
            works = [self.work(key.strip()) for key in text.split(",")]
            if kind == "cite:t":
                return " and ".join(f"{who} ({year})" for who, year in works)
            return f"({'; '.join(f'{who}, {year}' for who, year in works)})"
        if kind == "numref":
            before = match.string[: match.start()]
            return "The figure" if not before or before.endswith(("\n", ". ")) else "the figure"
        if kind in ("ref", "prf:ref", "eq"):
            return self.reference(name, self.place(target))
        raise ValueError(f"{self.page}: the role {kind!r} is not known here")

    def reference(self, text: str, place: Place) -> str:
        """Call a place by its name, and link to its page when that is another one."""
        if place.name.startswith("("):  # an equation
            here = place.page == self.page
            return place.name if here else f"{place.name} of {self.reference('', self.place(place.page))}"
        text = text or (f"{place.name} “{place.title}”" if place.title else place.name)
        if place.page == self.page or self.site == "":
            return f"*{text}*"
        if self.site is not None:
            return f"[{text}]({self.site.rstrip('/')}/{place.page}.html)"
        ending = ".ipynb" if place.page in self.book.notebooks else ".md"
        return f"[{text}]({posixpath.relpath(place.page, posixpath.dirname(self.page))}{ending})"

    def linked(self, match: re.Match) -> str:
        """Rewrite one Markdown link, where it leads to a place of the book."""
        target = match["target"]
        if re.match(r"[a-z]+:|#", target):
            return match.group()
        file = target.partition("#")[0]
        known = posixpath.normpath(posixpath.join(posixpath.dirname(self.page), file)).removesuffix(".md")
        return self.reference(match["text"], self.place(known if file.endswith(".md") else target))

    def place(self, label: str) -> Place:
        """Find what a label belongs to."""
        if label not in self.book.places:
            raise ValueError(f"{self.page}: nothing in the book is labelled {label!r}")
        return self.book.places[label]

    def work(self, key: str) -> tuple[str, str]:
        """Find a work of the bibliography."""
        if key not in self.book.works:
            raise ValueError(f"{self.page}: the bibliography has no {key!r}")
        return self.book.works[key]


def quoted(title: str, lines: list[str]) -> list[str]:
    """Set a heading and some lines as a quotation; formulas go on one line, or their ``>`` would be shown."""
    text = DISPLAYED.sub(lambda match: f"$${' '.join(match[1].split())}$$", "\n".join(lines))
    return ["", *(f"> {line}".rstrip() for line in (f"**{title}**", "", *text.strip("\n").split("\n"))), ""]


def folded(title: str, lines: list[str]) -> list[str]:
    """Fold some lines below a heading; without lines there is the heading alone."""
    if not "".join(lines).strip():
        return [f"**{title}**"]
    return ["", f"<details><summary>{title}</summary>", "", *lines, "", "</details>", ""]


def glued_values(notebook: Mapping) -> dict[str, str]:
    """Collect what the cells of an executed notebook have glued as text."""
    found = {}
    for cell in notebook["cells"]:
        for output in cell.get("outputs", []):
            name, value = output.get("metadata", {}).get("scrapbook", {}).get("name"), output.get("data", {}).get(GLUED)
            if name and value is not None:
                found[name] = str(ast.literal_eval(value)) if value[:1] in "'\"" else value
    return found
