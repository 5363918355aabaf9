"""The figures of the chapters as pictures, with captions and descriptions, for slides and handouts.

They come from executed notebooks: from the cache that the book's build leaves behind, else a chapter is run.
"""

from __future__ import annotations

import base64
import csv
import html
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import jupytext
from nbformat import NotebookNode

from latentbook.classroom.release import write

_WIDGET = "application/vnd.jupyter.widget"
_CACHE = Path("_build", ".jupyter_cache")


@dataclass(frozen=True)
class Figure:
    """One picture of a chapter.

    Attributes:
        name: the label, "fig-digits", or one made from the cell's number.
        caption: as the chapter has it, in MyST Markdown; empty where there is none.
        alt: what is to be seen, in words.
        png: the picture.
        cell: the number of its cell.
    """

    name: str
    caption: str
    alt: str
    png: bytes
    cell: int


def chapters(root: Path) -> list[str]:
    """The pages with code, as "part/name": those with a notebook beside them.

    Raises:
        FileNotFoundError: if ``root`` is no copy of the book.
    """
    found = sorted(path.relative_to(root / "book") for path in (root / "book").rglob("*.ipynb"))
    found = [path for path in found if not any(part.startswith(".") for part in path.parts)]
    if not found:
        raise FileNotFoundError(f"root is {root}; expected a copy of the book's repository")
    return [path.with_suffix("").as_posix() for path in found]


def executed(root: Path, chapter: str) -> NotebookNode:
    """A chapter with its outputs, from the build's cache where it has them.

    Raises:
        ValueError: if there is no such chapter.
    """
    path = root / "book" / f"{chapter}.md"
    if chapter not in chapters(root):
        raise ValueError(f"chapter is {chapter!r}; expected one of {chapters(root)}")
    notebook = jupytext.read(path, fmt="md:myst")
    cached = _from_cache(root / _CACHE, notebook)
    if cached is None:
        from nbclient import NotebookClient

        resources = {"metadata": {"path": str(path.parent)}}
        return NotebookClient(notebook, timeout=600, kernel_name="python3", resources=resources).execute()
    code = iter([cell for cell in cached.cells if cell.cell_type == "code"])
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = next(code).outputs
    notebook.metadata["widgets"] = cached.metadata.get("widgets", {})
    return notebook


def figures(notebook: NotebookNode) -> Iterator[Figure]:
    """The pictures of an executed notebook, in order; of a slider, the one at which it begins."""
    widgets = notebook.metadata.get("widgets", {}).get(f"{_WIDGET}-state+json", {}).get("state", {})
    for number, cell in enumerate(notebook.cells):
        shown = cell.metadata.get("mystnb", {})
        figure, image = shown.get("figure", {}), shown.get("image", {})
        pictures = []
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if "image/png" in data:
                pictures.append((data["image/png"], image.get("alt", "")))
            elif f"{_WIDGET}-view+json" in data:
                pictures.extend(_frames(widgets, data[f"{_WIDGET}-view+json"]["model_id"]))
        for index, (picture, alt) in enumerate(pictures):
            name = figure.get("name", f"cell-{number}") + (f"-{index + 1}" if len(pictures) > 1 else "")
            yield Figure(name, figure.get("caption", ""), alt, base64.b64decode(picture), number)


def _frames(widgets: dict, name: str) -> Iterator[tuple[str, str]]:
    """The picture that a slider shows first, and its description."""
    state = widgets.get(name, {}).get("state", {})
    children = state.get("children", [])
    if "selected_index" in state or widgets.get(name, {}).get("model_name") == "StackModel":
        children = children[state.get("selected_index") or 0 :][:1]
    for child in children:
        yield from _frames(widgets, child.removeprefix("IPY_MODEL_"))
    for tag in re.findall(r"<img [^>]*>", str(state.get("value", ""))):
        picture, alt = re.search(r"base64,([^\"]+)", tag), re.search(r'alt="([^"]*)"', tag)
        if picture:
            yield picture[1], html.unescape(alt[1]) if alt else ""


def export(root: Path, out: Path, names: Sequence[str] = ()) -> int:
    """Write every figure as PNG, a folder a chapter, with ``index.html`` and ``figures.csv``.

    Args:
        root: a copy of the book's repository.
        out: where to.
        names: chapters, such as "gap/the-elbo-gap"; all of them when empty.

    Returns:
        How many figures there are.
    """
    rows: list[tuple[str, str, str, str]] = []
    for chapter in names or chapters(root):
        for number, figure in enumerate(figures(executed(root, chapter)), start=1):
            file = f"{chapter.replace('/', '-')}/{number:02d}-{figure.name}.png"
            write(out / file, figure.png)
            rows.append((chapter, file, figure.caption, figure.alt))
    buffer = io.StringIO(newline="")
    csv.writer(buffer).writerows([("chapter", "file", "caption", "alt"), *rows])
    write(out / "figures.csv", buffer.getvalue().encode())
    write(out / "index.html", _index(rows).encode())
    return len(rows)


def _from_cache(folder: Path, notebook: NotebookNode) -> NotebookNode | None:
    if not (folder / "global.db").exists():
        return None
    from jupyter_cache import get_cache

    cache = get_cache(folder)
    try:
        return cache.get_cache_bundle(cache.match_cache_notebook(notebook).pk).nb
    except KeyError:
        return None


def _index(rows: Sequence[tuple[str, str, str, str]]) -> str:
    """A page that shows them all."""
    lines = [
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Figures</title>',
        "<style>body{font:16px/1.45 system-ui,sans-serif;max-width:50rem;margin:2rem auto;padding:0 1rem}",
        "img{max-width:100%}figure{margin:2rem 0}figcaption{color:#444}</style><h1>Figures</h1>",
    ]
    last = ""
    for chapter, file, caption, alt in rows:
        if chapter != last:
            lines.append(f"<h2>{html.escape(chapter)}</h2>")
            last = chapter
        shown = f'<img src="{html.escape(file)}" alt="{html.escape(alt)}">'
        lines.append(f"<figure>{shown}<figcaption>{html.escape(caption)}</figcaption></figure>")
    return "\n".join(lines) + "\n"
