"""Does an assignment grade as it says? Its reference, its untouched release and its planted errors are graded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass

from joblib import Parallel, delayed
from nbformat import NotebookNode

from latentbook.classroom.assignment import KINDS, Assignment, grade_id, header_points, kind_of
from latentbook.classroom.grading import Graded, grade
from latentbook.classroom.planted import Planted
from latentbook.classroom.release import instructor_version, student_version
from latentbook.classroom.sandbox import Limits

LIMITS = Limits(cell_seconds=120, seconds=400, gigabytes=4)  # a busy machine is no error of a notebook
BUDGET = {"cpu_seconds": 60.0, "megabytes": 1500.0}


@dataclass(frozen=True)
class Case:
    """One notebook that was graded to see whether the tests can tell.

    Attributes:
        name: "reference", "release", or the misconception that was planted.
        expected: the test cells that must fail.
        graded: what came out; None where it was not run.
        problems: in sentences; none when all is as expected.
    """

    name: str
    expected: tuple[str, ...]
    graded: Graded | None
    problems: tuple[str, ...]


def structure(assignment: Assignment) -> list[str]:
    """What is wrong with an assignment as it is written; nothing, when all is well."""
    found = []
    try:
        table = header_points(assignment.notebook)
    except ValueError as error:
        return [str(error)]
    sums = {kind: sum(assignment.cells(kind).values()) for kind in KINDS}
    for kind in KINDS:
        *rows, total = table[kind]
        if sum(rows) != total:
            found.append(f"the rows of the column {kind!r} add up to {sum(rows):g}; its total says {total:g}")
        if sums[kind] != total:
            found.append(f"the cells give {sums[kind]:g} {kind} points; the table says {total:g}")
    if sum(sums.values()) != 100:
        found.append(f"the cells give {sum(sums.values()):g} points in all; expected 100")
    cells = {grade_id(cell): cell for cell in assignment.notebook.cells if grade_id(cell)}
    if len(assignment.planted) < 5:
        found.append(f"{len(assignment.planted)} errors are planted; expected at least 5")
    for error in assignment.planted:
        if error.cell not in cells or kind_of(cells[error.cell]) != "answer":
            found.append(f"{error.name!r} is planted in {error.cell!r}; expected an autograded answer")
        for name in error.loses:
            if name not in assignment.cells("autograded"):
                found.append(f"{error.name!r} loses {name!r}; expected a test cell")
    return found


def check(
    assignment: Assignment, *, planted: Sequence[Planted] | None = None, jobs: int = 1, limits: Limits = LIMITS
) -> list[Case]:
    """Grade the reference, the release and planted errors.

    Args:
        assignment: one variant.
        planted: which errors; None for all.
        jobs: how many notebooks run at the same time.
        limits: of each.
    """
    planted = assignment.planted if planted is None else planted
    source = instructor_version(assignment)
    everything = tuple(assignment.cells("autograded"))
    todo = [("reference", (), source), ("release", everything, student_version(assignment))]
    todo += [(error.name, error.loses, with_error(source, error)) for error in planted]
    run = Parallel(n_jobs=jobs, prefer="threads")
    return list(run(delayed(_case)(name, lost, source, notebook, limits) for name, lost, notebook in todo))


def with_error(notebook: NotebookNode, error: Planted) -> NotebookNode:
    """The notebook with a wrong solution in it.

    Raises:
        ValueError: if it has no such cell.
    """
    notebook = deepcopy(notebook)
    for cell in notebook.cells:
        if grade_id(cell) == error.cell:
            cell.source = error.code
            return notebook
    raise ValueError(f"cell is {error.cell!r}; expected the grade_id of an autograded answer")


def table(cases: Sequence[Case]) -> str:
    """The cases as text: what was lost, and whether that was expected."""
    lines = []
    for case in cases:
        graded = case.graded
        lost = [name for name, verdict in graded.verdicts.items() if not verdict.passed]
        words = f"{graded.score:5g} points  {graded.cpu_seconds:5.1f} s  {graded.megabytes:5.0f} MB"
        lines.append(f"{'ok   ' if not case.problems else 'WRONG'}  {words}  {case.name}")
        if case.name not in ("reference", "release"):
            lines.append(f"{'':41}loses {', '.join(lost) or 'nothing'}")
        lines.extend(f"{'':41}! {problem}" for problem in case.problems)
    return "\n".join(lines)


def _case(name: str, expected: tuple[str, ...], source: NotebookNode, notebook: NotebookNode, limits: Limits) -> Case:
    graded = grade(source, notebook, limits)
    return Case(name, expected, graded, tuple(_problems(name, expected, graded)))


def _problems(name: str, expected: tuple[str, ...], graded: Graded) -> Iterator[str]:
    for cell, verdict in graded.verdicts.items():
        if verdict.passed == (cell in expected):
            wanted = "must fail" if cell in expected else f"must pass ({verdict.kind}: {_reason(graded, cell)})"
            yield f"{cell} {wanted}"
    if name == "reference":
        for cell in graded.notebook.cells:
            for output in cell.get("outputs", []):
                if output.output_type == "error" and kind_of(cell) != "test":
                    yield f"the cell {grade_id(cell) or cell['id']} fails: {output.traceback[-1]}"
        for unit, most in BUDGET.items():
            if getattr(graded, unit) > most:
                yield f"{getattr(graded, unit):.0f} {unit.replace('_', ' ')}; expected at most {most:g}"


def _reason(graded: Graded, name: str) -> str:
    """The last lines of what a test cell said, for the author."""
    for cell in graded.notebook.cells:
        if grade_id(cell) == name:
            return " / ".join("\n".join(o.traceback) for o in cell.outputs if o.output_type == "error")[-600:]
    return ""
