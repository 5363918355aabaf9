"""A course: a folder in nbgrader's layout, so that its formgrader serves for marking by hand.

::

    nbgrader_config.py   gradebook.db
    source/NAME/NAME.ipynb                  the whole notebook
    release/NAME/NAME.ipynb                 what students get
    submitted/STUDENT/NAME/NAME.ipynb       what they hand in
    autograded/STUDENT/NAME/NAME.ipynb      what became of it, with a report.json
    feedback/STUDENT/NAME/NAME.html         what they get back
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from unittest import mock

import nbformat
from joblib import Parallel, delayed
from nbformat import NotebookNode
from nbgrader.api import Gradebook, MissingEntry
from nbgrader.preprocessors import SaveCells

from latentbook.classroom.assignment import Assignment, grade_id, kind_of
from latentbook.classroom.grading import Graded, Verdict, grade, read
from latentbook.classroom.release import instructor_version, student_version, write
from latentbook.classroom.sandbox import Limits

CONFIG = """c = get_config()  # noqa: F821
c.CourseDirectory.course_id = {name!r}
c.CourseDirectory.root = __import__("os").path.dirname(__import__("os").path.abspath(__file__))
"""


class Course:
    """A course folder.

    Args:
        folder: it is made by :meth:`add`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)

    def path(self, step: str, name: str, student: str = "", suffix: str = ".ipynb") -> Path:
        """Where a step ("source", "release", "submitted", "autograded", "feedback") keeps an assignment."""
        return self.folder / step / student / name / f"{name}{suffix}"

    def gradebook(self) -> Gradebook:
        """The data base of points and comments, nbgrader's; use it in a ``with``."""
        programs = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
        with mock.patch.dict(os.environ, PATH=programs):  # it calls alembic by name
            return Gradebook(self.gradebook_url, self.folder.resolve().name)

    def add(self, assignment: Assignment) -> None:
        """Put an assignment into the course, or renew it.

        Raises:
            ValueError: if there are submissions already and its cells have changed.
        """
        source = instructor_version(assignment)
        self.folder.mkdir(parents=True, exist_ok=True)
        settings = self.folder / "nbgrader_config.py"
        if not settings.exists():
            write(settings, CONFIG.format(name=self.folder.resolve().name).encode())
        with self.gradebook() as book:
            book.update_or_create_assignment(assignment.name)
        resources = {"notebook": assignment.name, "assignment": assignment.name, "db_url": self.gradebook_url}
        try:
            SaveCells().preprocess(source, {"nbgrader": resources})
        except RuntimeError as error:
            raise ValueError(f"{assignment.name} has submissions, and other cells than before: {error}") from error
        for step, notebook in {"source": source, "release": student_version(assignment)}.items():
            write(self.path(step, assignment.name), (nbformat.writes(notebook) + "\n").encode())

    @property
    def gradebook_url(self) -> str:
        """Where the data base is, as SQLAlchemy writes it."""
        return f"sqlite:///{(self.folder / 'gradebook.db').resolve()}"

    def source(self, name: str) -> NotebookNode:
        """The whole notebook of an assignment.

        Raises:
            ValueError: if the course has no such assignment.
        """
        return self._notebook("source", name)

    def release(self, name: str) -> NotebookNode:
        """The students' notebook."""
        return self._notebook("release", name)

    def _notebook(self, step: str, name: str) -> NotebookNode:
        path = self.path(step, name)
        if not path.exists():
            known = sorted(place.parent.name for place in (self.folder / "source").glob("*/*.ipynb"))
            raise ValueError(f"the course {self.folder} has no assignment {name!r}; expected one of {known}")
        return nbformat.read(path, as_version=4)

    def students(self, name: str, step: str = "submitted") -> list[str]:
        """Who has handed in (or been graded for) an assignment."""
        return sorted(path.parents[1].name for path in (self.folder / step).glob(f"*/{name}/{name}.ipynb"))

    def report(self, name: str, student: str) -> dict:
        """What grading had to say about a submission."""
        path = self.path("autograded", name, student).with_name("report.json")
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}

    def autograde(
        self,
        name: str,
        students: Sequence[str] = (),
        *,
        limits: Limits | None = None,
        jobs: int = 1,
        again: bool = False,
    ) -> Iterator[tuple[str, dict]]:
        """Grade submissions; one that is as it was when it was last graded is left alone.

        Args:
            name: the assignment.
            students: whose; everybody's when empty.
            limits: of each submission.
            jobs: how many at a time.
            again: grade them all anew.

        Yields:
            Student and report, in the order in which they are done.
        """
        source, limits = self.source(name), Limits() if limits is None else limits
        unknown = set(students) - set(self.students(name))
        if unknown:
            raise ValueError(f"students holds {sorted(unknown)}; expected some of {self.students(name)}")
        text = self.path("source", name).read_bytes() + repr(limits).encode()
        todo = []
        for student in students or self.students(name):
            stamp = hashlib.sha256(text + self.path("submitted", name, student).read_bytes()).hexdigest()
            if again or self.report(name, student).get("stamp") != stamp:
                todo.append((student, stamp))
        stubs = {grade_id(cell): cell.source.split() for cell in self.release(name).cells if grade_id(cell)}
        run = Parallel(n_jobs=jobs, prefer="threads", return_as="generator_unordered")
        work = (delayed(self._grade)(source, name, student, limits) for student, _ in todo)
        stamps = dict(todo)
        for student, graded in run(work):
            yield student, self._store(name, student, graded, stubs, stamps[student])

    def _grade(self, source: NotebookNode, name: str, student: str, limits: Limits) -> tuple[str, Graded]:
        """Grade one submission. Whatever is wrong with it stays with it."""
        try:
            return student, grade(source, read(self.path("submitted", name, student)), limits)
        except Exception as error:
            graded = grade(source, None, limits)
            graded.notes.append(f"Nothing could be graded: {error}")
            return student, graded

    def _store(self, name: str, student: str, graded: Graded, stubs: dict[str, list[str]], stamp: str) -> dict:
        """Write notebook, points and report."""
        manual = {}
        for cell in graded.notebook.cells:
            if kind_of(cell) == "manual":
                task = bool(cell.metadata.nbgrader.get("task"))
                manual[grade_id(cell)] = task or cell.source.split() not in ([], stubs.get(grade_id(cell)))
        with self.gradebook() as book:
            book.update_or_create_student(student)
            with warnings.catch_warnings(action="ignore"):  # SQLAlchemy's, of how nbgrader makes its rows
                book.update_or_create_submission(name, student)
            submission = book.find_submission_notebook(name, name, student)
            for point in submission.grades:
                verdict: Verdict | None = graded.verdicts.get(point.name)
                if verdict is not None:
                    point.auto_score = point.max_score if verdict.passed else 0.0
                    point.needs_manual_grade = False
                elif manual.get(point.name):
                    point.auto_score, point.needs_manual_grade = None, point.manual_score is None
                else:
                    point.auto_score, point.needs_manual_grade = 0.0, False
            for comment in submission.comments:
                comment.auto_comment = None if manual.get(comment.name, True) else "No response."
            book.db.commit()
        path = self.path("autograded", name, student)
        write(path, (nbformat.writes(graded.notebook) + "\n").encode())
        report = {
            "stamp": stamp,
            "score": graded.score,
            "verdicts": {cell: vars(verdict) for cell, verdict in graded.verdicts.items()},
            "notes": graded.notes,
            "missing": graded.missing,
            "seconds": round(graded.seconds, 1),
            "megabytes": round(graded.megabytes),
        }
        write(path.with_name("report.json"), (json.dumps(report, indent=1) + "\n").encode())
        return report

    def points(self, name: str) -> list[dict]:
        """One row for every student and graded cell: points, what they could be, and how they came about.

        Returns:
            Rows with student, assignment, cell, kind ("autograded" or "manual"), score, max_score, outstanding (it
            waits to be marked by hand), comment, verdict and message.
        """
        source = self.source(name)
        kinds = {grade_id(cell): kind_of(cell) for cell in source.cells if kind_of(cell) in ("test", "manual")}
        rows = []
        with self.gradebook() as book:
            for student in self.students(name, "autograded"):
                try:
                    submission = book.find_submission_notebook(name, name, student)
                except MissingEntry:
                    continue
                verdicts = self.report(name, student).get("verdicts", {})
                comments = {comment.name: comment.comment or "" for comment in submission.comments}
                grades = {point.name: point for point in submission.grades}
                for cell, kind in kinds.items():
                    point, verdict = grades[cell], verdicts.get(cell, {})
                    rows.append(
                        {
                            "student": student,
                            "assignment": name,
                            "cell": cell,
                            "kind": "autograded" if kind == "test" else "manual",
                            "score": float(point.score or 0.0),
                            "max_score": float(point.max_score),
                            "outstanding": bool(point.needs_manual_grade),
                            "comment": comments.get(cell, ""),
                            "verdict": verdict.get("kind", ""),
                            "message": verdict.get("message", ""),
                        }
                    )
        return rows
