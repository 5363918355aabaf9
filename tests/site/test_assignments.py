"""The assignments on the site: a table that is whole, and releases that keep their secrets."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest

from latentbook.classroom import assignment

release = pytest.importorskip("latentbook.classroom.release", reason="needs nbgrader")


@pytest.mark.parametrize("name", assignment.names(assignment.home()))
def test_the_release_is_there_linked_and_keeps_its_secrets(site: Path, name: str) -> None:
    chosen = assignment.load(name)
    path = site / "assignments" / f"{name}.ipynb"
    notebook = nbformat.read(path, as_version=4)
    assert len(notebook.cells) == len(chosen.notebook.cells)
    assert not release.leaks(chosen.notebook, "\n".join(cell.source for cell in notebook.cells))
    assert f'href="../../assignments/{name}.ipynb"' in (site / "book/lab/assignments.html").read_text("utf-8")


def test_every_assignment_says_what_one_learns(site: Path) -> None:
    page = (site / "book/lab/assignments.html").read_text("utf-8")
    table = page[page.index('class="assignments') :].split("</table>")[0]
    cells = [cell.split("</td>")[0].removeprefix("<p>").removesuffix("</p>") for cell in table.split("<td>")[1:]]
    assert len(cells) == 4 * len(assignment.names(assignment.home()))
    assert all(len(cells[row]) > 100 for row in range(1, len(cells), 4))
