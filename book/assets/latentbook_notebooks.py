"""Chapters as notebooks, and what they cost to run.

* Every chapter can be downloaded as an executed notebook, with words that any notebook can show. Where the repository's
  address is known, its first cell fetches the book and installs the package, unless it is there already.
* Colab's button opens these downloads on the branch that ``LATENTBOOK_NOTEBOOKS`` names; without it there is no button.
* ``{measured}`` prints what a chapter costs to run, ``{measured-table}`` what all of them cost: from ``measured.json``.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import nbformat
import readable
import yaml
from docutils import nodes
from docutils.parsers.rst import Directive
from docutils.statemachine import StringList
from latentbook_site import repository_address
from sphinx.util import logging

LOGGER = logging.getLogger(__name__)
MEASURED = Path(__file__).resolve().parent / "measured.json"
INSTALL = """\
# This notebook can stand alone: where the book is not installed, this fetches and installs it.
import importlib.util
from pathlib import Path

if importlib.util.find_spec("latentbook") is None:
    !git clone --quiet --depth 1 {address} the-book
    %pip install --quiet ./the-book myst-nb
if Path("the-book").is_dir():
    %cd -q the-book"""


def stand_alone(notebook: nbformat.NotebookNode, reader: readable.Reader, address: str | None) -> None:
    """Make a notebook fit to be opened without the book around it, in place.

    Args:
        notebook: an executed chapter with the text of its source.
        reader: what rewrites its text.
        address: where the book can be cloned from; None adds no cell.
    """
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = reader.text(cell.source)
    notebook.cells = [cell for cell in notebook.cells if cell.source.strip()]
    if address:
        first = nbformat.v4.new_code_cell(INSTALL.format(address=address), id="install-the-book")
        notebook.cells.insert(0, first)


def offer_download(app, page, template, context, doctree) -> None:
    """Let the download button offer the notebook of a page with code."""
    paired = Path(app.confdir) / f"{page}.ipynb"
    if doctree is not None and "kernelspec" in app.env.metadata.get(page, {}) and paired.exists():
        context["ipynb_source"] = f"{page}.ipynb"


def write_download(app, page, template, context, doctree) -> None:
    """Write that notebook beside the page's source, over the raw one that the theme copies there."""
    if not context.get("ipynb_source"):
        return
    root, executed = Path(app.confdir), Path(app.outdir).parent / "jupyter_execute" / f"{page}.ipynb"
    notebook, paired = (nbformat.read(path, as_version=4) for path in (executed, root / f"{page}.ipynb"))
    glued = paired.metadata.get("latentbook", {}).get("glued", {})
    reader = readable.Reader(readable.Book(root), page, glued, app.config.html_baseurl)
    stand_alone(notebook, reader, repository_address(root))
    target = Path(app.outdir) / "_sources" / f"{page}.ipynb"
    target.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, target)


def open_download_in_colab(app, page, template, context, doctree) -> None:
    """Let Colab's button open the notebook that can stand alone, where a branch holds it; drop it otherwise."""
    branch = os.environ.get("LATENTBOOK_NOTEBOOKS", "")
    for group in context.get("header_buttons", []):
        kept = []
        for button in group.get("buttons", []):
            if "colab.research" in button.get("url", ""):
                if not branch:
                    continue
                button["url"] = button["url"].replace("/blob/main/", f"/blob/{branch}/")
            kept.append(button)
        if "buttons" in group:
            group["buttons"] = kept


def costs(row: dict) -> tuple[str, str, str]:
    """Write a measurement: time, memory, and on what."""
    cores = f"{row['cores']} CPU core" + ("" if row["cores"] == 1 else "s")
    return f"{row['seconds']:.0f} s", f"{row['megabytes'] / 1000:.1f} GB", cores


class Measured(Directive):
    """``{measured}``: one line with the seconds and the memory this chapter took when it was measured."""

    def run(self) -> list[nodes.Node]:
        """Return the line, or warn and return nothing when the chapter was never measured."""
        env = self.state.document.settings.env
        row = read_measured(env).get(f"{env.docname}.md")
        if row is None:
            LOGGER.warning(
                "no measurement of %s.md: run `make notebooks`", env.docname, location=(env.docname, self.lineno)
            )
            return []
        seconds, memory, cores = costs(row)
        return [nodes.paragraph("", f"Runs in {seconds} and {memory} on {cores} (measured).", classes=["measured"])]


class MeasuredTable(Directive):
    """``{measured-table}``: what every chapter took, in the order of the contents."""

    def run(self) -> list[nodes.Node]:
        """Return the table."""
        env = self.state.document.settings.env
        toc, table = yaml.safe_load((Path(env.app.confdir) / "_toc.yml").read_text()), read_measured(env)
        pages = [chapter["file"] for part in toc.get("parts", [toc]) for chapter in part["chapters"]]
        rows = [(page, *costs(table[f"{page}.md"])) for page in pages if f"{page}.md" in table]
        lines = [f"| {{doc}}`/{page}` | {' | '.join(cells)} |" for page, *cells in rows]
        lines = ["| Chapter | Time | Memory | On |", "| :-- | --: | --: | :-- |", *lines]
        holder = nodes.container()
        self.state.nested_parse(StringList(lines, source=env.docname), self.content_offset, holder)
        return holder.children


def read_measured(env) -> dict[str, dict]:
    """Read the measurements; the page is built again when they change."""
    env.note_dependency(str(MEASURED))
    return json.loads(MEASURED.read_text()) if MEASURED.exists() else {}


def setup(app) -> dict[str, object]:
    """Connect the pieces."""
    app.add_directive("measured", Measured)
    app.add_directive("measured-table", MeasuredTable)
    app.connect("html-page-context", offer_download, priority=500)
    app.connect("html-page-context", write_download, priority=800)
    app.connect("html-page-context", open_download_in_colab, priority=800)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
