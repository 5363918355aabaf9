"""A chapter downloaded alone: its first cell fetches the book, installs the package, and the rest runs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from tools import notebooks
from tools.notebooks import readable

import latentbook_notebooks  # isort: skip  (tools.notebooks has put book/assets on the path)

CHAPTER = "book/lab/reproducibility"  # it reads stored results, which come with the book alone


def download(root: Path, address: str | None) -> nbformat.NotebookNode:
    """Make the download of a chapter."""
    notebook = notebooks.from_source(root / f"{CHAPTER}.md")
    latentbook_notebooks.stand_alone(notebook, readable.Reader(readable.Book(root), CHAPTER, {}, ""), address)
    return notebook


def test_without_an_address_nothing_is_added(root: Path) -> None:
    assert download(root, None).cells[0].source.startswith("# ")
    assert download(root, "https://github.com/a/b").cells[0].source == latentbook_notebooks.INSTALL.format(
        address="https://github.com/a/b"
    )


@pytest.fixture
def bare_python(tmp_path: Path) -> tuple[Path, dict[str, str]]:
    """An environment with all libraries, seen through links, and without this package."""
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    libraries = tmp_path / "libraries"
    libraries.mkdir()
    for path in Path(nbformat.__file__).parents[1].iterdir():
        if "latentbook" not in path.name and not path.name.startswith(("pip", "_virtualenv")):
            (libraries / path.name).symlink_to(path)
    python = tmp_path / "venv" / "bin" / "python"
    hidden = {"PYTHONPATH": str(libraries), "HOME": str(tmp_path), "JUPYTER_PLATFORM_DIRS": "1"}
    return python, {key: value for key, value in os.environ.items() if key != "VIRTUAL_ENV"} | hidden


@pytest.mark.slow
def test_a_downloaded_notebook_runs_where_nothing_of_the_book_is(root: Path, tmp_path: Path, bare_python) -> None:
    python, settings = bare_python
    missing = subprocess.run(
        [python, "-c", "import latentbook"], env=settings, capture_output=True, text=True, check=False
    )
    assert "No module named 'latentbook'" in missing.stderr
    folder = tmp_path / "empty"
    folder.mkdir()
    nbformat.write(download(root, f"file://{root}"), folder / "chapter.ipynb")
    command = [python, "-m", "nbconvert", "--to", "notebook", "--execute", "--output", "done", "chapter.ipynb"]
    result = subprocess.run(command, cwd=folder, env=settings, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr[-3000:]
    assert {path.name for path in folder.iterdir()} == {"chapter.ipynb", "done.ipynb", "the-book"}
    assert (next((tmp_path / "venv").glob("lib/python*/site-packages/latentbook")) / "__init__.py").exists()
