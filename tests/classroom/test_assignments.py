"""The book's own assignments grade as they say: reference, release, and planted errors."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest

from latentbook.classroom import checking
from latentbook.classroom.assignment import load, names
from latentbook.classroom.release import build, leaks, student_version

FOLDER = Path(__file__).resolve().parents[2] / "assignments"
NAMES = names(FOLDER)
VARIANTS = ("2027", "2028")

pytestmark = pytest.mark.timeout(900)


def problems(cases: list[checking.Case]) -> list[str]:
    return [f"{case.name}: {problem}" for case in cases for problem in case.problems]


@pytest.mark.parametrize("name", NAMES)
def test_it_is_well_made(name: str, tmp_path: Path) -> None:
    base, again, *others = (load(name, variant, folder=FOLDER) for variant in ("base", "base", *VARIANTS))
    for assignment in (base, *others):
        assert checking.structure(assignment) == []
        student = student_version(assignment)
        assert not leaks(assignment.notebook, "\n".join(cell.source for cell in student.cells))
        assert assignment.marking.strip()
    first, second = build(base, tmp_path / "a"), build(again, tmp_path / "b")
    assert first.read_bytes() == second.read_bytes()
    texts = [nbformat.writes(student_version(assignment)) for assignment in (base, *others)]
    assert len(set(texts)) == len(texts)


@pytest.mark.parametrize("name", NAMES)
def test_it_tells_right_from_wrong(name: str) -> None:
    assignment = load(name, folder=FOLDER)
    assert problems(checking.check(assignment, planted=assignment.planted[:2], jobs=2)) == []


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_it_tells_every_planted_error(name: str) -> None:
    assignment = load(name, folder=FOLDER)
    assert problems(checking.check(assignment, planted=assignment.planted[2:], jobs=2)) == []
