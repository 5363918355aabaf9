"""From the download to the feedback: a course with honest, broken and hostile submissions."""

from __future__ import annotations

import csv
import html
import re
import zipfile
from copy import deepcopy
from pathlib import Path

import nbformat
import pytest
from nbformat import NotebookNode

from latentbook.classroom.__main__ import main
from latentbook.classroom.assignment import Assignment, grade_id, load
from latentbook.classroom.course import Course
from latentbook.classroom.feedback import feedback
from latentbook.classroom.overview import export, summary
from latentbook.classroom.release import instructor_version, secrets, student_version
from latentbook.classroom.sandbox import Limits

from .conftest import FOLDER, answer

SPY = """
import inspect, sys
kept = []
def square(x):
    frame = sys._getframe(1)
    kept.append(repr(frame.f_code.co_consts))
    print("seen", x)
    return -1.0
"""


@pytest.fixture(scope="module")
def course(tmp_path_factory: pytest.TempPathFactory) -> Course:
    """A course in which everybody has been graded."""
    assignment = load("tiny", folder=FOLDER)
    found = Course(tmp_path_factory.mktemp("course"))
    found.add(assignment)
    for student, text in submissions(assignment).items():
        path = found.path("submitted", "tiny", student)
        path.parent.mkdir(parents=True)
        path.write_text(text)
    reports = dict(found.autograde("tiny", limits=Limits(cell_seconds=2, seconds=60), jobs=2))
    assert set(reports) == set(SCORES)
    return found


SCORES = {"ada": 60, "bob": 20, "cy": 0, "dee": 0, "eve": 0, "broken": 0, "empty": 0, "outside": 60}


def submissions(assignment: Assignment) -> dict[str, str]:
    whole, released = instructor_version(assignment), student_version(assignment)
    right = next(cell.source for cell in whole.cells if grade_id(cell) == "square-solution")
    right = "\n".join(line for line in right.splitlines() if "SOLUTION" not in line)
    escape = right + "\nfor name in ('../ada.txt', '/etc/latentbook'):\n    open(name, 'w').write('x')"
    spy = answer(released, "square-solution", SPY)
    spy.cells.append(nbformat.v4.new_code_cell("print('for secret_' + 'input in (-3.0, 17.25):')"))
    spy.cells.append(nbformat.v4.new_code_cell("print(*kept)"))
    script = answer(released, "square-solution", assignment.planted[0].code)
    script = answer(script, "essay", "My essay, for $a<b$. <script>alert(1)</script>")
    table = "<table><tr><td>cell</td></tr></table><script>alert(2)</script><img src=x onerror=alert(3)>"
    script.cells.append(nbformat.v4.new_code_cell(f"from IPython.display import HTML\nHTML({table!r})"))
    notebooks = {
        "ada": answer(answer(released, "square-solution", right), "essay", "Because it is linear."),
        "bob": script,
        "cy": released,
        "dee": answer(released, "square-solution", "def square(x):\n    while True: pass"),
        "eve": spy,
        "outside": answer(released, "square-solution", escape),
    }
    return {name: nbformat.writes(notebook) for name, notebook in notebooks.items()} | {"broken": "{", "empty": ""}


def test_everybody_is_graded_and_right(course: Course) -> None:
    assert {student: course.report("tiny", student)["score"] for student in SCORES} == SCORES
    assert "cannot be read" in " ".join(course.report("tiny", "broken")["notes"])
    assert not (course.folder / "submitted" / "ada.txt").exists()


def test_what_has_not_changed_is_not_graded_again(course: Course) -> None:
    assert list(course.autograde("tiny", limits=Limits(cell_seconds=2, seconds=60))) == []
    with pytest.raises(ValueError, match=r"students holds \['zoe'\]; expected some of"):
        list(course.autograde("tiny", ["zoe"]))


def test_manual_points_wait_where_there_is_an_answer(course: Course) -> None:
    rows = {(row["student"], row["cell"]): row for row in course.points("tiny")}
    assert rows["ada", "essay"]["outstanding"] and not rows["cy", "essay"]["outstanding"]
    assert rows["bob", "open-task"]["outstanding"]
    assert rows["ada", "square-tests"]["score"] == 20 and rows["bob", "square-tests-2"]["verdict"] == "hidden"


def test_marks_given_by_hand_arrive_and_stay(course: Course) -> None:
    with course.gradebook() as book:
        submission = book.find_submission_notebook("tiny", "tiny", "ada")
        point = next(point for point in submission.grades if point.name == "essay")
        comment = next(comment for comment in submission.comments if comment.name == "essay")
        point.manual_score, point.needs_manual_grade, comment.manual_comment = 25.0, False, "Well *argued*."
        book.db.commit()
    list(course.autograde("tiny", ["ada"], limits=Limits(cell_seconds=2, seconds=60), again=True))
    feedback(course, "tiny", ["ada"])
    page = course.path("feedback", "tiny", "ada", ".html").read_text()
    assert "85 of 100 points" in page and "Well *argued*." in page and "25 of 30 points" in page


def test_feedback_shows_points_and_no_secret(course: Course) -> None:
    assert set(feedback(course, "tiny")) == set(SCORES)
    hidden = secrets(course.source("tiny"))
    assert any("float(x)" in line for line in hidden) and any("axes" in line for line in hidden)
    for student in SCORES:
        page = course.path("feedback", "tiny", student, ".html").read_text()
        page = html.unescape(re.sub("<[^>]+>", "", page))
        for line in hidden:
            if not (line.startswith("return") and student in ("ada", "outside")):  # their own answer
                assert line not in page, (student, line)
        assert "secret: not linear" not in page
    bob = course.path("feedback", "tiny", "bob", ".html").read_text()
    assert "a hidden check failed" in bob
    assert "<td>cell</td>" in bob and "<p>" in bob and "&lt;p&gt;" not in bob
    assert "<script>alert" not in bob and "<img src=x" not in bob
    assert course.path("feedback", "tiny", "eve", ".html").read_text().count("it is left out") == 2


def test_tables(course: Course, tmp_path: Path) -> None:
    table = export(course, "tiny", tmp_path).set_index("student")
    assert table.loc["bob", "autograded"] == 20 and table.loc["bob", "outstanding"] == 2
    assert (table["max_score"] == 100).all()
    with (tmp_path / "tiny-cells.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 4 * len(SCORES)


def test_the_summary_says_where_the_class_struggled(course: Course) -> None:
    page = summary(course, "tiny")
    assert f"{len(SCORES)} submissions graded" in page
    assert page.index("square-tests-2") < page.index("square-tests<")
    assert "a hidden check failed" in page and "too slow" in page


def test_a_spreadsheet_takes_no_formula(course: Course, tmp_path: Path) -> None:
    with course.gradebook() as book:
        book.db.commit()
    path = course.path("submitted", "tiny", "=1+1")
    path.parent.mkdir(parents=True)
    path.write_text("")
    list(course.autograde("tiny", ["=1+1"]))
    export(course, "tiny", tmp_path)
    assert "'=1+1" in (tmp_path / "tiny-students.csv").read_text()


def test_commands(course: Course, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    downloads = tmp_path / "downloads"
    downloads.mkdir()
    (downloads / "doejane_12_345_tiny.ipynb").write_text(course.path("submitted", "tiny", "ada").read_text())
    (downloads / "stray.ipynb").write_text("{}")
    where = ["--course", str(course.folder)]
    assert main(["collect", "tiny", str(downloads), *where]) == 1
    assert "1 submissions placed" in (out := capsys.readouterr().out) and "not placed: stray.ipynb" in out
    assert main(["autograde", "tiny", "doejane", *where]) == 0
    assert "doejane" in capsys.readouterr().out
    for command in ("feedback", "export", "summary"):
        assert main([command, "tiny", *where]) == 0
    assert (course.folder / "tiny-summary.html").exists()
    assert main(["autograde", "unknown", *where]) == 2
    assert "no assignment 'unknown'; expected one of ['tiny']" in capsys.readouterr().err


def test_other_cells_are_refused_once_there_are_submissions(course: Course) -> None:
    other = load("tiny", folder=FOLDER)
    notebook: NotebookNode = deepcopy(other.notebook)
    notebook.cells = [cell for cell in notebook.cells if grade_id(cell) != "square-tests"]
    with pytest.raises(ValueError, match="tiny has submissions, and other cells than before"):
        course.add(Assignment("tiny", "base", notebook, (), ""))


def test_the_formgrader_finds_its_files(course: Course) -> None:
    from nbgrader.apps.api import NbGraderAPI
    from nbgrader.coursedir import CourseDirectory
    from traitlets.config import Config

    settings: dict[str, Config] = {"get_config": Config}
    exec(
        (course.folder / "nbgrader_config.py").read_text().replace("__file__", repr(str(course.folder / "x"))), settings
    )
    api = NbGraderAPI(CourseDirectory(config=settings["c"]))
    assert {row["name"] for row in api.get_assignments()} == {"tiny"}
    row = next(row for row in api.get_submissions("tiny") if row["student"] == "bob")
    assert row["autograded"] and row["needs_manual_grade"]
    assert (row["code_score"], row["max_score"]) == (20, 100)


def test_zips_of_zips(course: Course, tmp_path: Path) -> None:
    inner, outer = tmp_path / "inner.zip", tmp_path / "all.zip"
    with zipfile.ZipFile(inner, "w") as archive:
        archive.writestr("tiny.ipynb", "{}")
    with zipfile.ZipFile(outer, "w") as archive:
        archive.write(inner, "Ann Lee_99_assignsubmission_file_/work.zip")
    assert main(["collect", "tiny", str(outer), "--course", str(course.folder)]) == 0
    assert course.path("submitted", "tiny", "Ann-Lee").exists()
