"""A Sphinx extension: the assignments on the site.

``{assignments}`` prints a table of the assignments, made from their own headers: the title, which is a link to the
student release of the base variant, what it teaches, and the points. The releases are written beside the pages when
the site is built. Both need nbgrader; without it there are titles and no links.
"""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import nbformat
from docutils import nodes
from docutils.parsers.rst import Directive

from latentbook.classroom import assignment

FOLDER = "assignments"  # of the sources, and of the releases on the site
ORDER = (
    "elbo-and-gap",
    "pruning-and-beta",
    "self-consistency-and-ima",
    "lp-nested-priors",
    "identifiability",
    "reading-representations",
)


def ordered(folder: Path) -> list[str]:
    """The assignments in the order of the book's chapters; unknown ones last."""
    return sorted(assignment.names(folder), key=lambda name: (ORDER.index(name) if name in ORDER else len(ORDER), name))


def can_release() -> bool:
    """Whether nbgrader is here, which clears solutions and hidden tests away."""
    return importlib.util.find_spec("nbgrader") is not None


def goals(chosen: assignment.Assignment) -> str:
    """What an assignment says that one learns, as plain text."""
    text = "\n".join(cell.source for cell in chosen.notebook.cells[:3])
    found = re.search(r"\*\*(?:You|What you) will learn\.?\*\*\s+(.+)", text)
    return found[1][:1].upper() + found[1][1:].strip() if found else ""


def title(chosen: assignment.Assignment) -> str:
    """Its first heading."""
    return re.search(r"^# (.+)$", chosen.notebook.cells[0].source, re.MULTILINE)[1]


class Assignments(Directive):
    """``{assignments}``: the table."""

    def run(self) -> list[nodes.Node]:
        """Return it."""
        env = self.state.document.settings.env
        folder = Path(env.app.confdir) / FOLDER
        up = "../" * env.docname.count("/")
        env.note_dependency(__file__)
        rows = []
        for name in ordered(folder):
            chosen = assignment.load(name, folder=folder)
            env.note_dependency(str(folder / name / "assignment.md"))
            points = assignment.header_points(chosen.notebook)
            link = nodes.Text(title(chosen))
            if can_release():
                link = nodes.reference("", "", link, refuri=f"{up}{FOLDER}/{name}.ipynb", internal=False)
            learn, inlines = self.state.inline_text(goals(chosen), self.lineno)
            by = [f"{points[kind][-1]:g}" for kind in assignment.KINDS]
            rows.append([[link], [*learn, *inlines], [nodes.Text(by[0])], [nodes.Text(by[1])]])
        return [_table(("Assignment", "You will learn", "Points by tests", "Points by hand"), (28, 52, 10, 10), rows)]


def _table(heads: tuple[str, ...], widths: tuple[int, ...], rows: list[list[list[nodes.Node]]]) -> nodes.table:
    group = nodes.tgroup(cols=len(heads))
    group += [nodes.colspec(colwidth=width) for width in widths]
    body = [[[nodes.Text(head)] for head in heads], *rows]
    made = [nodes.row("", *(nodes.entry("", nodes.paragraph("", "", *cell)) for cell in row)) for row in body]
    group += nodes.thead("", made[0])
    group += nodes.tbody("", *made[1:])
    return nodes.table("", group, classes=["assignments"])


def write_releases(app, exception) -> None:
    """Put the student releases of the base variant into the site."""
    if exception is not None or app.builder.format != "html" or not can_release():
        return
    from latentbook.classroom import release

    folder = Path(app.confdir) / FOLDER
    for name in ordered(folder):
        notebook = release.student_version(assignment.load(name, folder=folder))
        release.write(Path(app.outdir) / FOLDER / f"{name}.ipynb", f"{nbformat.writes(notebook)}\n".encode())


def setup(app) -> dict[str, object]:
    """Connect the pieces."""
    app.add_directive("assignments", Assignments)
    app.connect("build-finished", write_releases)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
