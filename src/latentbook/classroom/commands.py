"""Assignments: build them, check them, and grade what comes back."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import tyro

from latentbook.classroom import assignment, checking, overview, release
from latentbook.classroom import collect as collecting
from latentbook.classroom import feedback as giving
from latentbook.classroom.course import Course
from latentbook.classroom.sandbox import Limits

Names = Annotated[tuple[str, ...], tyro.conf.Positional]
Name = Annotated[str, tyro.conf.Positional]


def build(
    names: Names = (),
    /,
    variant: str = assignment.BASE,
    out: Path = Path("dist/assignments"),
    folder: Path | None = None,
) -> int:
    """Write the students' and the instructor's versions, and zips of both, to OUT/VARIANT.

    Args:
        names: assignments; all of them when none is named.
        variant: such as a year; the same variant gives the same files byte for byte.
        out: where to.
        folder: where the assignments are, when not in ``assignments``.
    """
    for name in names or assignment.names(folder or assignment.home()):
        print(release.build(assignment.load(name, variant, folder=folder), out / variant))
    return 0


def check(
    name: Name, /, variant: str = assignment.BASE, planted: int | None = None, jobs: int = 1, folder: Path | None = None
) -> int:
    """Grade an assignment's reference (full marks), release (none) and planted errors (what they say).

    Args:
        name: the assignment.
        variant: which one.
        planted: how many of the planted errors, from the first; all when not given.
        jobs: notebooks that run at the same time.
        folder: where the assignments are, when not in ``assignments``.
    """
    chosen = assignment.load(name, variant, folder=folder)
    problems = checking.structure(chosen)
    cases = checking.check(chosen, planted=chosen.planted[:planted], jobs=jobs)
    print(checking.table(cases))
    for problem in problems:
        print(f"WRONG  {problem}")
    return int(bool(problems or any(case.problems for case in cases)))


def course(
    names: Names = (), /, course: Path = Path("course"), variant: str = assignment.BASE, folder: Path | None = None
) -> int:
    """Put assignments into a course folder, which nbgrader's formgrader opens as well.

    Args:
        names: assignments; all of them when none is named.
        course: the folder; made where it is missing.
        variant: such as a year.
        folder: where the assignments are, when not in ``assignments``.
    """
    for name in names or assignment.names(folder or assignment.home()):
        Course(course).add(assignment.load(name, variant, folder=folder))
        print(Course(course).path("release", name))
    return 0


def collect(name: Name, downloads: Annotated[Path, tyro.conf.Positional], /, course: Path = Path("course")) -> int:
    """Sort downloaded submissions by student, and say what could not be placed.

    Args:
        name: the assignment.
        downloads: a folder or a zip, as the learning platform gives it.
        course: the course folder.
    """
    Course(course).source(name)
    found = collecting.collect(name, downloads, Course(course).folder / "submitted")
    print(f"{len(found.placed)} submissions placed")
    for line in [*found.notes, *(f"not placed: {line}" for line in found.unplaced)]:
        print(f"  {line}")
    return int(bool(found.unplaced))


def autograde(
    name: Name,
    students: Names = (),
    /,
    course: Path = Path("course"),
    jobs: int = 2,
    again: bool = False,
    limits: Limits = Limits(),  # noqa: B008  it is frozen
) -> int:
    """Grade submissions, each in a process of its own with limits; changed ones only.

    Args:
        name: the assignment.
        students: whose; everybody's when none is named.
        course: the course folder.
        jobs: submissions at a time.
        again: grade unchanged ones anew.
        limits: of one submission.
    """
    missing: set[str] = set()
    for student, report in Course(course).autograde(name, students, limits=limits, jobs=jobs, again=again):
        print(f"{report['score']:6g}  {report['seconds']:6.1f} s  {student}", flush=True)
        for note in report["notes"]:
            print(f"{'':18}{note}")
        missing.update(report["missing"])
    for line in sorted(missing):
        print(f"On this system {line}. Grade in a container or a virtual machine if that matters.", file=sys.stderr)
    return 0


def feedback(name: Name, students: Names = (), /, course: Path = Path("course")) -> int:
    """Write feedback for students (HTML), without hidden tests, mark schemes and solutions.

    Args:
        name: the assignment.
        students: for whom; everybody graded when none is named.
        course: the course folder.
    """
    done = giving.feedback(Course(course), name, students)
    print(f"{len(done)} pages in {Course(course).folder / 'feedback'}")
    return 0


def export(name: Name, /, course: Path = Path("course"), out: Path | None = None) -> int:
    """Write points as CSV, a row a student, and a row a student and cell.

    Args:
        name: the assignment.
        course: the course folder.
        out: where to; the course folder when not given.
    """
    print(overview.export(Course(course), name, out or course).to_string(index=False))
    return 0


def summary(name: Name, /, course: Path = Path("course"), out: Path | None = None) -> int:
    """Write one page (HTML) on where the class struggled.

    Args:
        name: the assignment.
        course: the course folder.
        out: the folder to write to; the course folder when not given.
    """
    place = (out or course) / f"{name}-summary.html"
    release.write(place, overview.summary(Course(course), name).encode())
    print(place)
    return 0


def slides(names: Names = (), /, out: Path = Path("dist/slides"), root: Path = Path()) -> int:
    """Write slides of the chapters (HTML that needs no network), from the build's cache, else by running them.

    Args:
        names: chapters, such as "gap/the-elbo-gap"; all of them when none is named.
        out: where to.
        root: a copy of the book's repository.
    """
    from latentbook.classroom import slides as showing

    print(f"{len(showing.export(root, out, names))} chapters in {out}")
    return 0


def figures(names: Names = (), /, out: Path = Path("dist/figures"), root: Path = Path()) -> int:
    """Write the figures of the chapters (PNG) with captions and descriptions, from the build's cache, else by running.

    Args:
        names: chapters, such as "gap/the-elbo-gap"; all of them when none is named.
        out: where to.
        root: a copy of the book's repository.
    """
    from latentbook.classroom import figures as drawing

    print(f"{drawing.export(root, out, names)} figures in {out}")
    return 0


COMMANDS: dict[str, Callable[..., int]] = {
    "release": build,
    "check": check,
    "course": course,
    "collect": collect,
    "autograde": autograde,
    "feedback": feedback,
    "export": export,
    "summary": summary,
    "slides": slides,
    "figures": figures,
}
