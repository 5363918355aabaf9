"""An assignment's sources, and what a variant makes of them.

``assignment.md``, ``planted.py`` and ``marking.md`` are templates: ``<< expression >>`` and ``<% statement %>`` may
use what ``constants`` in ``variant.py`` returns. It is called with a generator that depends on the assignment's name
and the variant alone, so that the same variant is always the same assignment.
"""

from __future__ import annotations

import hashlib
import os
import re
import runpy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

import jinja2
import jupytext
import numpy as np
from nbformat import NotebookNode

from latentbook.checks import make_token
from latentbook.classroom.planted import Planted

BASE = "base"
KINDS = ("autograded", "manual")
MARK = "latentbook"  # the metadata of ours, of notebooks and of cells


@dataclass(frozen=True)
class Assignment:
    """One variant of an assignment.

    Attributes:
        name: the folder's, the notebook's and nbgrader's.
        variant: such as "base" or "2027".
        notebook: the whole notebook, with solutions and hidden tests and without outputs.
        planted: wrong solutions, rendered.
        marking: the instructor's notes, rendered, as Markdown.
    """

    name: str
    variant: str
    notebook: NotebookNode
    planted: tuple[Planted, ...]
    marking: str

    def cells(self, kind: str) -> dict[str, float]:
        """The points of every cell of one kind, "autograded" or "manual", by ``grade_id``."""
        if kind not in KINDS:
            raise ValueError(f"kind is {kind!r}; expected one of {KINDS}")
        found = {}
        for cell in self.notebook.cells:
            grading = cell.metadata.get("nbgrader", {})
            if kind_of(cell) == {"autograded": "test", "manual": "manual"}[kind]:
                found[grading["grade_id"]] = float(grading["points"])
        return found


def names(folder: Path) -> list[str]:
    """The assignments in a folder: the sub-folders that hold an ``assignment.md``."""
    return sorted(path.parent.name for path in Path(folder).glob("*/assignment.md"))


def home() -> Path:
    """Where the assignments are: $LATENTBOOK_ASSIGNMENTS, or ``assignments`` here, above, or beside the sources."""
    if os.environ.get("LATENTBOOK_ASSIGNMENTS"):
        return Path(os.environ["LATENTBOOK_ASSIGNMENTS"])
    here = Path.cwd()
    places = [place / "assignments" for place in (here, *here.parents, Path(__file__).resolve().parents[3])]
    found = next((place for place in places if names(place)), None)
    if found is None:
        raise ValueError(f"there is no folder assignments/ in {here} or above it; expected a copy of the repository")
    return found


def load(name: str, variant: str = BASE, *, folder: Path | None = None) -> Assignment:
    """Read and render one assignment.

    Args:
        name: its folder's name.
        variant: letters, digits, dots, hyphens and underscores, such as a year.
        folder: where the assignments are; None looks for them (:func:`home`).

    Raises:
        ValueError: if there is no such assignment, or the variant's name has other characters, or a template uses what
            ``constants`` does not give, or cells lack a ``grade_id`` of their own.
    """
    folder = home() if folder is None else Path(folder)
    if name not in names(folder):
        raise ValueError(f"name is {name!r}; expected one of {names(folder)}")
    if not re.fullmatch(r"[\w][\w.-]*", variant):
        raise ValueError(f"variant is {variant!r}; expected letters, digits, dots, hyphens and underscores")
    place = folder / name
    render = _renderer(place, name, variant)
    planted = runpy.run_path(str(place / "planted.py"))["PLANTED"] if (place / "planted.py").exists() else ()
    marking = (place / "marking.md").read_text(encoding="utf-8") if (place / "marking.md").exists() else ""
    return Assignment(
        name=name,
        variant=variant,
        notebook=_notebook(
            render((place / "assignment.md").read_text(encoding="utf-8"), "assignment.md"), name, variant
        ),
        planted=tuple(replace(error, code=render(error.code, "planted.py").strip("\n")) for error in planted),
        marking=render(marking, "marking.md"),
    )


def kind_of(cell: NotebookNode) -> str:
    """What nbgrader makes of a cell: "test", "manual" (also a task), "answer", "locked", or "free"."""
    grading = cell.metadata.get("nbgrader", {})
    if not grading:
        return "free"
    if grading.get("task") or (grading.get("grade") and grading.get("solution")):
        return "manual"
    if grading.get("grade"):
        return "test"
    if grading.get("solution"):
        return "answer"
    return "locked" if grading.get("locked") else "free"


def is_answer(cell: NotebookNode) -> bool:
    """Whether a cell's text is the student's."""
    return kind_of(cell) in ("answer", "manual") and not cell.metadata.nbgrader.get("task")


def grade_id(cell: NotebookNode) -> str | None:
    """The name that nbgrader knows a cell by, None where it has none."""
    grading = cell.metadata.get("nbgrader", {})
    name = grading.get("grade_id") if isinstance(grading, dict) else None
    return name if isinstance(name, str) else None


def header_points(notebook: NotebookNode) -> dict[str, tuple[float, ...]]:
    """The first table of the notebook: for "autograded" and "manual" the points of every row, the total last.

    Raises:
        ValueError: if there is no table with these columns and a last row that begins with "Total".
    """
    for cell in notebook.cells:
        rows = [_row(line) for line in cell.source.splitlines() if line.strip().startswith("|")]
        if cell.cell_type != "markdown" or len(rows) < 4:
            continue
        columns = {kind: i for kind in KINDS for i, title in enumerate(rows[0]) if kind in title.lower()}
        if set(columns) == set(KINDS) and rows[-1][0].lower().startswith("total"):
            return {kind: tuple(_points(row[i]) for row in rows[2:]) for kind, i in columns.items()}
    raise ValueError('no table of points; expected the columns "autograded" and "manual", and a last row "Total"')


def _row(line: str) -> list[str]:
    return [part.strip().strip("*") for part in line.strip().strip("|").split("|")]


def _points(text: str) -> float:
    number = re.search(r"\d+(\.\d+)?", text)
    return float(number.group()) if number else 0.0


def _renderer(place: Path, name: str, variant: str) -> Callable[[str, str], str]:
    """What fills in the templates of one variant."""
    seed = int.from_bytes(hashlib.sha256(f"{name}/{variant}".encode()).digest()[:16])
    constants = runpy.run_path(str(place / "variant.py"))["constants"](np.random.default_rng(seed))
    environment = jinja2.Environment(
        variable_start_string="<<",
        variable_end_string=">>",
        block_start_string="<%",
        block_end_string="%>",
        comment_start_string="<#",
        comment_end_string="#>",
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )

    def render(text: str, file: str) -> str:
        names = {**constants, "token": _tokens(f"{name}/{variant}/{file}")}
        if file == "marking.md":  # a release does not name its variant: who knows it can make the solutions
            names["variant"] = variant
        try:
            return environment.from_string(text).render(names)
        except jinja2.TemplateError as error:
            line = getattr(error, "lineno", None)
            raise ValueError(f"{place / file} does not render{f', line {line}' if line else ''}: {error}") from error

    return render


def _tokens(salt: str) -> Callable[..., str]:
    """Tokens of self-checks with a salt that depends on the place alone, so that a release is always the same."""
    number: Iterator[int] = count()

    def token(answer: Any, tolerance: float | None = None) -> str:
        return make_token(answer, tolerance, hashlib.sha256(f"{salt}/{next(number)}".encode()).digest()[:6])

    return token


def _notebook(text: str, name: str, variant: str) -> NotebookNode:
    """The notebook of rendered Markdown, with an id for every cell that stays the same."""
    notebook = jupytext.reads(text, fmt="md:myst")
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    notebook.metadata.pop("jupytext", None)
    notebook.metadata["language_info"] = {"name": "python"}
    tag = hashlib.sha256(f"{name}/{variant}".encode()).hexdigest()[:12]  # the variant's name may be a secret
    notebook.metadata[MARK] = {"assignment": name, "variant": tag}
    seen: set[str] = set()
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"{name[:50]}-{number:03d}"
        identity = grade_id(cell)
        if kind_of(cell) == "free":
            continue
        if identity is None or not re.fullmatch(r"[\w-]{1,64}", identity) or identity in seen:
            raise ValueError(f"cell {number} of {name} has the grade_id {identity!r}; expected one of its own")
        if kind_of(cell) == "test" and cell.cell_type != "code":
            raise ValueError(f"cell {identity} of {name} is a test; expected code")
        seen.add(identity)
    return notebook
