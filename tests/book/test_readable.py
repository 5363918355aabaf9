"""Chapters in words that any notebook can show: each directive and role, and the book's own pages."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest

from tools import notebooks
from tools.notebooks import readable

PAGE = """---
kernelspec:
  name: python3
---
(start)=
# A start

:::{prf:theorem} All is well
:label: thm-well

If so, $x = 1$, and
$$
a &= b \\\\
c &= d
$$ (eq-well)
:::

(box)=
:::{admonition} A box
:class: note
What is in it.
:::
"""
BIBLIOGRAPHY = """
@article{one, author = {von Kügelgen, J.}, title = {T}, year = {2021}}
@article{two, author = {Ada, A. and Bob, B.}, title = {T}, year = {2022}}
@article{three, author = {Ada, A. and Bob, B. and Cid, C.}, title = {T}, year = {2023}}
"""


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> readable.Book:
    """A book of two pages, one of them without code, and three references."""
    root = tmp_path_factory.mktemp("book")
    (root / "book" / "part").mkdir(parents=True)
    (root / "book" / "part" / "start.md").write_text(PAGE)
    (root / "book" / "words.md").write_text("# Words\n\n:::{exercise} Try\n:label: ex-try\nDo it.\n:::\n")
    (root / "book" / "references.bib").write_text(BIBLIOGRAPHY)
    return readable.Book(root)


@pytest.fixture
def read(book: readable.Book):
    """Rewrite a text of the page with the theorem."""
    return readable.Reader(book, "book/part/start", {"gap": "0.37"}).text


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("The gap is {glue:text}`gap` nats.", "The gap is 0.37 nats."),
        ("{glue:text}`new`", "…"),
        ("{math}`x` and {term}`seeds <seed>` of {term}`gap`", "$x$ and seeds of gap"),
        ("{class}`~latentbook.data.Images`", "`Images`"),
        ("{cite:t}`one` and {cite:p}`two,three`", "von Kügelgen (2021) and (Ada and Bob, 2022; Ada et al., 2023)"),
        ("{cite:t}`two`", "Ada and Bob (2022)"),
        ("See {prf:ref}`thm-well`, {eq}`eq-well`.", "See *Theorem “All is well”*, (1)."),
        ("{ref}`ex-try`", "[Exercise “Try”](../words.md)"),
        ("{ref}`that <ex-try>`, [](../words.md#x)", "[that](../words.md), [Words](../words.md)"),
        ("[a box](box), [](start)", "*a box*, *A start*"),
        ("[out](https://example.org) [in](#below)", "[out](https://example.org) [in](#below)"),
        ("{numref}`f` shows it, as {numref}`f` does.", "The figure shows it, as the figure does."),
        ("(a)=\n## B", "## B"),
        ("```{measured}\n```\nx", "x"),
        (":::{solution-end}\n:::", ""),
        ("```{table} T\n:class: c\n\n| a |\n| - |\n```", "**T**\n\n| a |\n| - |"),
        ("```{math}\n:label: eq-well\nx\n```", "$$\nx\n\\tag{1}\n$$"),
        ("$$\nx\n$$ (eq-well)", "$$\nx\n\\tag{1}\n$$"),
        (":::{dropdown} Why\nSo.\n:::", "<details><summary>Why</summary>\n\nSo.\n\n</details>"),
        (
            ":::{solution-start} ex-try\n:class: dropdown\n:::\n\nThus.",
            "<details><summary>Solution: Try</summary>\n\nThus.\n\n</details>",
        ),
        (":::{solution-start} ex-try\n:::", "**Solution: Try**"),
        (":::{prf:proof}\nClear.\n:::", "> **Proof**\n>\n> Clear."),
        ("```python\nkept\n```", "```python\nkept\n```"),
    ],
)
def test_each_directive_and_role(read, source: str, expected: str) -> None:
    assert read(source) == expected


def test_a_box_within_a_box_and_formulas_on_one_line(read) -> None:
    source = "::::{admonition} Outer\n:class: c\n\n```{dropdown} Inner\n$$\na \\\\\nb\n$$ (eq-well)\n```\n::::"
    lines = [
        "> **Outer**",
        ">",
        "> <details><summary>Inner</summary>",
        ">",
        r"> $$a \\ b \tag{1}$$",
        ">",
        "> </details>",
    ]
    assert read(source) == "\n".join(lines)


@pytest.mark.parametrize(
    ("site", "expected"),
    [
        (None, "[Words](../words.md)"),
        ("https://example.org/b/", "[Words](https://example.org/b/book/words.html)"),
        ("", "*Words*"),
    ],
)
def test_links_follow_where_the_notebook_is_read(book: readable.Book, site: str | None, expected: str) -> None:
    assert readable.Reader(book, "book/part/start", {}, site).text("[](../words.md)") == expected


def test_a_page_with_code_is_linked_as_a_notebook(book: readable.Book) -> None:
    assert readable.Reader(book, "book/words", {}).text("{eq}`eq-well`") == "(1) of [A start](part/start.ipynb)"


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        (":::{mermaid}\n:::", "directive 'mermaid' is not known"),
        ("{unknown}`x`", "role 'unknown' is not known"),
        ("{ref}`nowhere`", "nothing in the book is labelled 'nowhere'"),
        ("{cite:t}`nobody`", "the bibliography has no 'nobody'"),
        (":::{dropdown} Open\nx", "is never closed"),
        ("x\n:::", "is left as it was"),
    ],
)
def test_what_is_not_known_is_an_error_that_names_it(read, source: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        read(source)


def test_no_chapter_leaves_a_directive_a_role_or_a_missing_number(root: Path) -> None:
    for path in notebooks.chapters(root):
        if not path.with_suffix(".ipynb").exists():  # another test says so
            continue
        notebook = nbformat.read(path.with_suffix(".ipynb"), as_version=4)
        for cell in notebook.cells:
            if cell.cell_type == "markdown":
                found = readable.RAW.search(cell.source)
                assert not found, f"{path.name}: {found and found.group()}"
        sources = "".join(cell.source for cell in notebooks.from_source(path).cells if cell.cell_type == "markdown")
        names = {match["text"] for match in readable.ROLE.finditer(sources) if match["role"] == "glue:text"}
        assert names <= set(notebook.metadata["latentbook"]["glued"]), path.name


def test_glued_values_are_read_as_they_are_printed() -> None:
    def output(name: str, value: str) -> dict:
        return {"metadata": {"scrapbook": {"name": name}}, "data": {readable.GLUED: value}}

    cells = [{"outputs": [output("a", "'0.1'"), output("b", "3"), {"data": {}}]}, {}]
    assert readable.glued_values({"cells": cells}) == {"a": "0.1", "b": "3"}
