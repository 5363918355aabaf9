"""Templates and variants, and what is wrong with an assignment as it is written."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from latentbook.checks import check as self_check
from latentbook.classroom import Planted
from latentbook.classroom.assignment import Assignment, grade_id, header_points, home, kind_of, load, names
from latentbook.classroom.checking import structure

from .conftest import FOLDER


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The tiny assignment, to be spoilt."""
    shutil.copytree(FOLDER, tmp_path / "assignments")
    return tmp_path / "assignments"


def spoil(folder: Path, file: str, old: str, new: str) -> None:
    path = folder / "tiny" / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_kinds_of_cells(tiny: Assignment) -> None:
    kinds = {grade_id(cell): kind_of(cell) for cell in tiny.notebook.cells if grade_id(cell)}
    assert kinds == {
        "setup": "locked",
        "square-solution": "answer",
        "square-tests": "test",
        "square-tests-2": "test",
        "essay": "manual",
        "open-task": "manual",
    }
    assert tiny.cells("autograded") == {"square-tests": 20, "square-tests-2": 40}
    assert tiny.cells("manual") == {"essay": 30, "open-task": 10}
    assert header_points(tiny.notebook) == {"autograded": (60, 0, 0, 60), "manual": (0, 30, 10, 40)}


def test_a_variant_is_always_the_same_and_others_differ(tiny: Assignment) -> None:
    assert load("tiny", folder=FOLDER) == tiny
    other = load("tiny", "2027", folder=FOLDER)
    assert other.notebook != tiny.notebook and other.marking != tiny.marking and other.planted != tiny.planted
    assert [cell["id"] for cell in other.notebook.cells] == [cell["id"] for cell in tiny.notebook.cells]


def test_tokens_confirm_the_answer_of_their_variant(capsys: pytest.CaptureFixture[str]) -> None:
    for variant in ("base", "2027"):
        assignment = load("tiny", variant, folder=FOLDER)
        slope = int(assignment.marking.split()[-1].strip("."))
        token = next(cell.source for cell in assignment.notebook.cells if "check(" in cell.source).split('"')[1]
        assert self_check(token, 2 * slope) and not self_check(token, 2 * slope + 1)


def test_it_is_well_made(tiny: Assignment) -> None:
    assert structure(tiny) == []


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("| square | 60 |", "| square | 50 |", "add up to 50; its total says 60"),
        ("points: 40", "points: 41", "the cells give 61 autograded points; the table says 60"),
        ("**Total**", "Sum", "no table of points"),
    ],
)
def test_points_that_do_not_add_up_are_found(copy: Path, old: str, new: str, words: str) -> None:
    spoil(copy, "assignment.md", old, new)
    assert any(words in problem for problem in structure(load("tiny", folder=copy)))


def test_planted_errors_that_miss_their_cells_are_found(tiny: Assignment) -> None:
    wrong = (Planted("a", "square-tests", "x", ("essay",)),)
    found = structure(replace(tiny, planted=wrong))
    for words in (
        "expected at least 5",
        "'square-tests'; expected an autograded answer",
        "'essay'; expected a test cell",
    ):
        assert any(words in problem for problem in found)


@pytest.mark.parametrize(
    ("file", "old", "new", "words"),
    [
        ("assignment.md", "<< slope >>x", "<< slop >>x", "assignment.md does not render: 'slop' is undefined"),
        ("assignment.md", "<< slope >>x", "<% if %>", "assignment.md does not render, line"),
        (
            "assignment.md",
            "grade_id: square-tests-2",
            "grade_id: square-tests",
            "grade_id 'square-tests'; expected one of its own",
        ),
        ("assignment.md", "<< slope >>x", "<< variant >>", "'variant' is undefined"),
        ("marking.md", "<< slope >>", "<< slop >>", "marking.md does not render"),
    ],
)
def test_templates_that_cannot_be_used(copy: Path, file: str, old: str, new: str, words: str) -> None:
    spoil(copy, file, old, new)
    with pytest.raises(ValueError, match=words):
        load("tiny", folder=copy)


def test_bad_names(tiny: Assignment) -> None:
    with pytest.raises(ValueError, match=r"name is 'none'; expected one of \['tiny'\]"):
        load("none", folder=FOLDER)
    with pytest.raises(ValueError, match=r"variant is '../x'; expected letters"):
        load("tiny", "../x", folder=FOLDER)
    with pytest.raises(ValueError, match="kind is 'oral'; expected one of"):
        tiny.cells("oral")


def test_the_folder_is_found(monkeypatch: pytest.MonkeyPatch, root: Path) -> None:
    monkeypatch.setenv("LATENTBOOK_ASSIGNMENTS", str(FOLDER))
    assert names(home()) == ["tiny"]
    monkeypatch.delenv("LATENTBOOK_ASSIGNMENTS")
    monkeypatch.chdir(root / "src")
    assert home() == root / "assignments"


def test_a_planted_error_is_whole() -> None:
    with pytest.raises(ValueError, match="name is ''; expected some text"):
        Planted("", "cell", "code", ("a",))
    with pytest.raises(TypeError, match="loses is 'abc'; expected a tuple"):
        Planted("a", "cell", "code", "abc")
    with pytest.raises(ValueError, match="loses is empty"):
        Planted("a", "cell", "code", ())
