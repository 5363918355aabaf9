"""Next year's variant, and a class of thirty: the long tests of the assignments."""

from __future__ import annotations

import json
import time
from pathlib import Path

import nbformat
import pytest

from latentbook.classroom import checking
from latentbook.classroom.assignment import Assignment, grade_id, is_answer, load
from latentbook.classroom.course import Course
from latentbook.classroom.feedback import feedback
from latentbook.classroom.grading import grade
from latentbook.classroom.release import instructor_version, secrets, student_version

from .conftest import answer
from .test_assignments import FOLDER, NAMES, VARIANTS, problems

pytestmark = pytest.mark.timeout(900)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_other_variants_pass_and_last_years_answers_do_not(name: str) -> None:
    last, this = (load(name, variant, folder=FOLDER) for variant in VARIANTS)
    assert problems(checking.check(this, planted=this.planted[:2], jobs=2)) == []
    old = {grade_id(cell): cell.source for cell in last.notebook.cells if is_answer(cell)}
    handed_in = instructor_version(this)
    for cell in handed_in.cells:
        if is_answer(cell):
            cell.source = old[grade_id(cell)]
    graded = grade(instructor_version(this), handed_in)
    assert graded.score < sum(graded.points.values()) / 2


HOSTILE = {
    "endless": "while True:\n    pass",
    "greedy": "x = bytearray(10**12)",
    "quitter": "import os\nos._exit(1)",
    "escaper": "open('/tmp/latentbook-was-here', 'w').write('x')",
    "babbler": "while True:\n    print('x' * 10000)",
    "forger": "print('{\"passed\": true}')\nimport builtins\nbuiltins.abs = lambda x: 0\n"
    "import latentbook.classroom\nlatentbook.classroom.written_here = lambda *_, **__: None",
}


def thirty(assignment: Assignment) -> tuple[dict[str, str], dict[str, float]]:
    """Notebooks of a class of thirty, ten of them bad, and what each must earn."""
    whole, released = instructor_version(assignment), student_version(assignment)
    points = assignment.cells("autograded")
    full, texts, scores = sum(points.values()), {}, {}
    for number in range(20):
        student = f"student-{number:02d}"
        if number % 4 == 0:
            texts[student], scores[student] = nbformat.writes(whole), full
        elif number % 4 == 1:
            texts[student], scores[student] = nbformat.writes(released), 0.0
        else:
            error = assignment.planted[number % len(assignment.planted)]
            texts[student] = nbformat.writes(checking.with_error(whole, error))
            scores[student] = full - sum(points[name] for name in error.loses)
    cell = assignment.planted[0].cell
    for student, code in HOSTILE.items():
        texts[student] = nbformat.writes(answer(released, cell, code))
        scores[student] = 0.0
    edited = answer(released, cell, "x = 1")
    for test in points:
        edited = answer(edited, test, "pass")
    deleted = student_version(assignment)
    deleted.cells = [cell for cell in deleted.cells if grade_id(cell) not in points]
    texts |= {"editor": nbformat.writes(edited), "deleter": nbformat.writes(deleted), "no-json": "{", "empty": ""}
    return texts, scores | dict.fromkeys(("editor", "deleter", "no-json", "empty"), 0.0)


@pytest.mark.slow
@pytest.mark.skipif(not NAMES, reason="no assignments")
def test_a_class_of_thirty_is_graded(tmp_path: Path) -> None:
    assignment, course = load(NAMES[0], folder=FOLDER), Course(tmp_path)
    course.add(assignment)
    texts, scores = thirty(assignment)
    assert len(texts) == 30
    for student, text in texts.items():
        path = course.path("submitted", assignment.name, student)
        path.parent.mkdir(parents=True)
        path.write_text(text)
    begin = time.monotonic()
    reports = dict(course.autograde(assignment.name, jobs=2, limits=checking.LIMITS))
    seconds = time.monotonic() - begin
    assert {student: report["score"] for student, report in reports.items()} == scores
    assert seconds < 900
    assert not Path("/tmp/latentbook-was-here").exists()
    feedback(course, assignment.name)
    hidden = secrets(assignment.notebook)
    page = course.path("feedback", assignment.name, "student-01", ".html").read_text()
    assert not [line for line in hidden if len(line) > 20 and line in page]
    print(json.dumps({"seconds": round(seconds)}))
