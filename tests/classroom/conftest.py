"""A tiny assignment, and submissions of all kinds."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path

import pytest

pytest.importorskip("nbgrader", reason='the classroom needs pip install "latentbook[classroom]"')

from nbformat import NotebookNode

from latentbook.classroom.assignment import Assignment, grade_id, load
from latentbook.classroom.release import instructor_version, student_version

FOLDER = Path(__file__).parent / "assignments"


@pytest.fixture(scope="session")
def tiny() -> Assignment:
    return load("tiny", folder=FOLDER)


@pytest.fixture
def source(tiny: Assignment) -> NotebookNode:
    return instructor_version(tiny)


@pytest.fixture
def released(tiny: Assignment) -> NotebookNode:
    return student_version(tiny)


def answer(notebook: NotebookNode, name: str, text: str) -> NotebookNode:
    """A copy of the notebook with one cell's text replaced."""
    notebook = deepcopy(notebook)
    next(cell for cell in notebook.cells if grade_id(cell) == name)["source"] = text
    return notebook
