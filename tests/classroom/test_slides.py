"""Figures and slides, from a small book of one chapter and from notebooks made by hand."""

from __future__ import annotations

import base64
import csv
import re
from pathlib import Path

import jupytext
import nbformat
import pytest

from latentbook.classroom import figures, slides
from latentbook.classroom.__main__ import main

HEAD = """---
kernelspec:
  display_name: Python 3 (ipykernel)
  language: python
  name: python3
---

"""
CHAPTER = (
    HEAD
    + """
# A chapter

:::{admonition} In short
:class: chapter-box
Not on a slide.
:::

## The question

Prose that stays in the book.

:::{admonition} Predict
:class: predict
Is {term}`it <something>` {glue:text}`answer:.1f`?
:::

```{code-cell} ipython3
---
mystnb:
  figure:
    name: fig-line
    caption: A line for $n < 3$.
  image:
    alt: "A line that rises."
---
import base64
from IPython.display import Image, display

display(Image(data=base64.b64decode("PNG"), format="png"))
```

:::{prf:theorem} A law
:label: thm-law

$$
a_1 < b_1.
$$ (eq-law)
:::

## Summary

- One point.
- Another.

**Further reading.** Not here.
"""
)
PNG = base64.b64encode(b"\x89PNG not really").decode()


@pytest.fixture
def book(tmp_path: Path) -> Path:
    """A book of one chapter whose notebook has not been run."""
    place = tmp_path / "book" / "part"
    place.mkdir(parents=True)
    (place / "one.md").write_text(CHAPTER.replace("PNG", PNG))
    (place / "one.ipynb").write_text("{}")
    (tmp_path / "book" / "assets" / "static" / "mathjax").mkdir(parents=True)
    return tmp_path


def run() -> nbformat.NotebookNode:
    """The chapter as if it had been run."""
    notebook = jupytext.reads(CHAPTER, fmt="md:myst")
    cell = next(cell for cell in notebook.cells if cell.cell_type == "code")
    glued = nbformat.v4.new_output("display_data", {"application/papermill.record/text/plain": "0.25"})
    glued.metadata["scrapbook"] = {"name": "answer"}
    cell.outputs = [nbformat.v4.new_output("display_data", {"image/png": PNG}), glued]
    return notebook


def test_figures_have_name_caption_and_words() -> None:
    (figure,) = figures.figures(run())
    assert (figure.name, figure.caption, figure.alt) == ("fig-line", "A line for $n < 3$.", "A line that rises.")
    assert figure.png == base64.b64decode(PNG)


def test_a_slider_gives_the_picture_at_which_it_begins() -> None:
    def frame(text: str) -> dict:
        value = f'<img src="data:image/png;base64,{PNG}" alt="{text}">'
        return {"model_name": "HTMLModel", "state": {"value": value}}

    children = {"children": ["IPY_MODEL_a", "IPY_MODEL_b"], "selected_index": 1}
    state = {
        "box": {"model_name": "VBoxModel", "state": {"children": ["IPY_MODEL_stack"]}},
        "stack": {"model_name": "StackModel", "state": children},
        "a": frame("first"),
        "b": frame("second &amp; last"),
    }
    notebook = run()
    notebook.metadata["widgets"] = {"application/vnd.jupyter.widget-state+json": {"state": state}}
    view = {"application/vnd.jupyter.widget-view+json": {"model_id": "box"}}
    next(cell for cell in notebook.cells if cell.cell_type == "code").outputs = [
        nbformat.v4.new_output("display_data", view)
    ]
    assert [figure.alt for figure in figures.figures(notebook)] == ["second & last"]


def test_slides_hold_questions_statements_figures_and_the_summary() -> None:
    page = slides.page(run(), "A chapter")
    found = re.findall(r"<section>(.*?)</section>", page, re.DOTALL)
    assert len(found) == 5
    title, question, picture, law, summary = found
    assert "A chapter" in title
    assert "The question" in question and "Is it 0.2?" in question
    assert 'alt="A line that rises."' in picture and "$n &lt; 3$" in picture
    assert "A law" in law and "a_1 &lt; b_1." in law and "eq-law" not in law
    assert "<li>Another.</li>" in summary and "Further" not in summary
    assert "Prose" not in page and "Not on a slide" not in page
    assert "http://" not in page and "https://" not in page


def test_commands_run_a_chapter_that_was_not_built(book: Path, tmp_path: Path) -> None:
    where = ["--root", str(book)]
    assert main(["figures", "--out", str(tmp_path / "figures"), *where]) == 0
    with (tmp_path / "figures" / "figures.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert row["file"] == "part-one/01-fig-line.png" and (tmp_path / "figures" / row["file"]).exists()
    assert "A line that rises." in (tmp_path / "figures" / "index.html").read_text()
    assert main(["slides", "part/one", "--out", str(tmp_path / "slides"), *where]) == 0
    assert (tmp_path / "slides" / "part-one.html").exists() and (tmp_path / "slides" / "mathjax").exists()


def test_what_is_not_there_is_said(book: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["slides", "part/none", "--root", str(book), "--out", str(tmp_path)]) == 2
    assert "chapter is 'part/none'; expected one of ['part/one']" in capsys.readouterr().err
    assert main(["figures", "--root", str(tmp_path / "none")]) == 2
    assert "expected a copy of the book's repository" in capsys.readouterr().err
