"""Small books built with the real configuration: what must fail does fail, and buttons open notebooks."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from tools import notebooks

pytestmark = pytest.mark.slow

TOC = """format: jb-book
root: book/index
chapters:
  - file: book/tiny
"""
CHAPTER = """---
jupytext:
  text_representation:
    extension: .md
    format_name: myst
kernelspec:
  display_name: Python 3 (ipykernel)
  language: python
  name: python3
---

# A tiny chapter

```{measured}
```

```{code-cell} ipython3
:tags: [nbval-check-output]

print("5 of 5 seeds")
```
"""


@pytest.fixture
def book(root: Path, tmp_path: Path) -> Path:
    """A book of one measured chapter with the real configuration and assets."""
    shutil.copytree(root / "book" / "assets", tmp_path / "book" / "assets")
    shutil.copy(root / "_config.yml", tmp_path)
    (tmp_path / "_toc.yml").write_text(TOC)
    (tmp_path / "book" / "references.bib").write_text("")
    (tmp_path / "book" / "index.md").write_text("# A small book\n")
    (tmp_path / "book" / "tiny.md").write_text(CHAPTER)
    notebooks.update(tmp_path / "book" / "tiny.md", tmp_path)
    return tmp_path


def build(book: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Build it as the Makefile does."""
    program = shutil.which("jupyter-book", path=str(Path(sys.executable).parent)) or "jupyter-book"
    command = [program, "build", ".", "-W", "-n", "--keep-going"]
    settings = os.environ | {"LATENTBOOK_REPOSITORY": ""} | environment
    return subprocess.run(command, cwd=book, capture_output=True, text=True, check=False, env=settings)


def test_without_an_address_there_is_no_button_and_the_notebook_can_be_downloaded(book: Path) -> None:
    result = build(book)
    assert result.returncode == 0, result.stdout + result.stderr
    page = (book / "_build" / "html" / "book" / "tiny.html").read_text()
    assert "mybinder" not in page
    assert "colab" not in page
    assert "github.com" not in page
    assert 'href="../_sources/book/tiny.ipynb"' in page
    assert "(measured)" in page
    notebook = nbformat.read(book / "_build" / "html" / "_sources" / "book" / "tiny.ipynb", as_version=4)
    assert [cell.cell_type for cell in notebook.cells] == ["markdown", "code"]
    assert notebook.cells[0].source == "# A tiny chapter"
    assert "5 of 5 seeds" in notebook.cells[1].outputs[0].text


def test_with_an_address_the_buttons_open_the_notebook(book: Path) -> None:
    result = build(book, LATENTBOOK_REPOSITORY="https://github.com/owner/name", LATENTBOOK_NOTEBOOKS="notebooks")
    assert result.returncode == 0, result.stdout + result.stderr
    page = (book / "_build" / "html" / "book" / "tiny.html").read_text()
    assert "https://mybinder.org/v2/gh/owner/name/main?urlpath=lab/tree/book/tiny.ipynb" in page
    assert "https://colab.research.google.com/github/owner/name/blob/notebooks/book/tiny.ipynb" in page
    assert "https://github.com/owner/name/issues/new" in page
    first, *rest = nbformat.read(book / "_build" / "html" / "_sources" / "book" / "tiny.ipynb", as_version=4).cells
    assert "git clone --quiet --depth 1 https://github.com/owner/name the-book" in first.source
    assert [cell.cell_type for cell in rest] == ["markdown", "code"]


def test_without_a_branch_of_notebooks_colab_has_no_button(book: Path) -> None:
    result = build(book, LATENTBOOK_REPOSITORY="https://github.com/owner/name", LATENTBOOK_NOTEBOOKS="")
    assert result.returncode == 0, result.stdout + result.stderr
    page = (book / "_build" / "html" / "book" / "tiny.html").read_text()
    assert "mybinder.org" in page
    assert "colab.research" not in page


@pytest.mark.parametrize(
    ("before", "after", "complaint"),
    [
        ('print("5 of 5 seeds")', "1 / 0", "ZeroDivisionError"),
        ("# A tiny chapter", "# A tiny chapter\n\nSee {ref}`nowhere`.", "undefined label"),
        ("# A tiny chapter", "# A tiny chapter\n\nSee {func}`latentbook.nothing`.", "reference target not found"),
    ],
)
def test_a_failing_cell_and_a_dead_reference_fail_the_build(
    book: Path, before: str, after: str, complaint: str
) -> None:
    path = book / "book" / "tiny.md"
    path.write_text(path.read_text().replace(before, after))
    result = build(book)
    assert result.returncode != 0
    assert complaint in result.stdout + result.stderr


def test_a_chapter_that_was_never_measured_fails_the_build(book: Path) -> None:
    (book / "book" / "assets" / "measured.json").unlink()
    result = build(book)
    assert result.returncode != 0
    assert "no measurement of book/tiny.md" in result.stdout + result.stderr
