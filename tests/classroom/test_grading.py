"""Points are those of the instructor's tests, whatever comes in."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path

import nbformat
import pytest
from nbformat import NotebookNode

from latentbook.classroom.assignment import grade_id, load
from latentbook.classroom.grading import HIDDEN, grade, judge, read
from latentbook.classroom.release import instructor_version
from latentbook.classroom.sandbox import Limits, Outcome

from .conftest import FOLDER, answer

QUICK = Limits(cell_seconds=2, seconds=60)


def code(source: NotebookNode, name: str) -> str:
    return next(cell.source for cell in source.cells if grade_id(cell) == name)


def test_the_reference_earns_everything_and_the_release_nothing(source: NotebookNode, released: NotebookNode) -> None:
    full, empty = grade(source, source, QUICK), grade(source, released, QUICK)
    assert (full.score, full.notes) == (60, [])
    assert (empty.score, empty.notes) == (0, [])
    assert "NotImplementedError" in empty.verdicts["square-tests"].message


def test_failures_are_told_by_kind_and_give_nothing_away(source: NotebookNode, released: NotebookNode) -> None:
    graded = grade(source, answer(released, "square-solution", "def square(x):\n    return 1.0"), QUICK)
    assert graded.verdicts["square-tests"].message.startswith("f(1) is")
    assert (graded.verdicts["square-tests-2"].kind, graded.verdicts["square-tests-2"].message) == ("hidden", HIDDEN)


def test_edited_deleted_and_doubled_cells_change_nothing(source: NotebookNode, released: NotebookNode) -> None:
    wrong = answer(released, "square-solution", "def square(x):\n    return 1.0")
    edited = answer(answer(wrong, "square-tests", "pass"), "square-tests-2", "pass")
    deleted, doubled, moved = deepcopy(wrong), deepcopy(wrong), deepcopy(wrong)
    deleted.cells = [cell for cell in deleted.cells if "tests" not in (grade_id(cell) or "")]
    doubled.cells += [deepcopy(cell) for cell in edited.cells]
    moved.cells.reverse()
    for notebook, word in ((edited, "edited"), (deleted, "put back"), (doubled, "twice"), (moved, "")):
        graded = grade(source, notebook, QUICK)
        assert graded.score == 0
        assert any(word in note for note in graded.notes) or not word


def test_another_variant_is_noted(source: NotebookNode) -> None:
    other = instructor_version(load("tiny", "2027", folder=FOLDER))
    graded = grade(source, other, QUICK)
    assert graded.score == 0 and "It was written for another assignment or variant." in graded.notes


def test_points_and_kinds_of_cells_are_the_assignments(source: NotebookNode, released: NotebookNode) -> None:
    forged = answer(released, "square-solution", "def square(x):\n    return 1.0")
    for cell in forged.cells:
        if "nbgrader" in cell.metadata:
            cell.metadata.nbgrader.update(points=1000, locked=False, solution=True, grade=False)
    assert grade(source, forged, QUICK).score == 0


def test_added_cells_run_where_they_were(source: NotebookNode, released: NotebookNode) -> None:
    own = answer(released, "square-solution", "def square(x):\n    return slope(float(x))")
    slope = code(source, "square-solution").split("return ")[1].split(" *")[0]
    own.cells.insert(2, nbformat.v4.new_code_cell(f"def slope(x):\n    return {slope} * x"))
    assert grade(source, own, QUICK).score == 60


@pytest.mark.parametrize(
    ("name", "line", "score"),
    [
        ("endless", "\nwhile True:\n    pass", 60),
        ("ends Python", "\nimport os\nos._exit(0)", 0),
        ("endless function", None, 0),
        ("huge", "\nx = bytearray(10**12)", 60),
        ("output", "\nfor _ in range(10**5):\n    print('x' * 1000)", 60),
        ("fake grade", '\nprint(\'{"passed": true, "score": 100}\')', 60),
    ],
)
def test_hostile_answers(source: NotebookNode, name: str, line: str | None, score: float) -> None:
    right = code(source, "square-solution")
    text = "def square(x):\n    while True: pass" if line is None else right + line
    graded = grade(source, answer(source, "square-solution", text), QUICK)
    assert graded.score == score
    if name.startswith("end"):
        assert graded.notes


def test_a_test_whose_function_ends_python_costs_itself_alone(source: NotebookNode) -> None:
    right = code(source, "square-solution")
    text = right + "\n_square = square\ndef square(x):\n    import os\n    return _square(x) if x == 1 else os._exit(0)"
    graded = grade(source, answer(source, "square-solution", text), QUICK)
    assert [verdict.kind for verdict in graded.verdicts.values()] == ["passed", "died"]
    assert graded.score == 20


def test_nothing_to_read_earns_nothing(source: NotebookNode) -> None:
    graded = grade(source, None)
    assert graded.score == 0 and len(graded.verdicts) == 2


@pytest.mark.parametrize("text", ["", "no JSON", "[]", "{}", '{"cells": 3, "nbformat": 4}', "[" * 100_000])
def test_what_is_no_notebook_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.ipynb"
    path.write_text(text)
    with pytest.raises(ValueError, match="cannot be read"):
        read(path)


def test_too_large_a_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.ipynb"
    path.write_bytes(b" " * 20_000_001)
    with pytest.raises(ValueError, match="bytes; expected at most"):
        read(path)


def test_a_line_that_is_not_known_counts_as_hidden() -> None:
    error = {"name": "ValueError", "message": "secret", "line": None, "traceback": ""}
    assert judge("assert square(1)", Outcome("failed", error)).message == HIDDEN
