"""Grading one notebook: the tests are the instructor's, the answers are the student's, and each test cell counts whole.

A notebook to grade is put together anew. Every cell of the assignment stands in its place with the assignment's text;
only the answers are taken from what was handed in, found by their ``grade_id``, and cells that a student added stay
behind the cell that they followed. So edited, deleted or doubled test cells change nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nbformat
from nbformat import NotebookNode

from latentbook.classroom.assignment import MARK, grade_id, is_answer, kind_of
from latentbook.classroom.sandbox import Cell, Limits, Outcome, run_cells

HIDDEN = "a hidden check failed"
_SIZE = 20_000_000  # bytes of a submission
_ADDED = 100  # cells that a student may add
_RUNS = {"test": "test", "locked": "given"}


@dataclass(frozen=True)
class Verdict:
    """One test cell's result.

    Attributes:
        passed: whether its points are earned.
        kind: "passed", "visible" or "hidden" (which check failed), "error" (another exception), "timeout", "died", or
            "not run".
        message: for the student, without anything of the hidden tests.
    """

    passed: bool
    kind: str
    message: str


@dataclass
class Graded:
    """A submission that was graded.

    Attributes:
        notebook: the assignment's cells with the student's answers and what they printed, a verdict in each test's
            metadata.
        verdicts: of every test cell, by ``grade_id``.
        points: that each could earn.
        notes: what was out of the ordinary, in sentences.
        seconds: that it took, and cpu_seconds of processor.
        megabytes: of memory, at the most.
        missing: what the system did not guard against.
    """

    notebook: NotebookNode
    verdicts: dict[str, Verdict]
    points: dict[str, float]
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    megabytes: float = 0.0
    missing: list[str] = field(default_factory=list)

    @property
    def score(self) -> float:
        """Points of the tests that passed."""
        return sum(self.points[name] for name, verdict in self.verdicts.items() if verdict.passed)


def grade(source: NotebookNode, submission: NotebookNode | None, limits: Limits | None = None) -> Graded:
    """Run a submission's answers against the assignment's tests.

    Args:
        source: the instructor's notebook, with hidden tests.
        submission: what was handed in (:func:`read`), None for nothing that can be read: no points, and nothing runs.
        limits: of time and memory.
    """
    notebook, notes = assemble(source, submission)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    tests = [cell for cell in code if kind_of(cell) == "test"]
    points = {grade_id(cell): float(cell.metadata.nbgrader["points"]) for cell in tests}
    if submission is None:
        verdicts = {name: Verdict(False, "not run", "There is no notebook that could be run.") for name in points}
        return Graded(notebook, verdicts, points, notes)
    cells = [Cell(grade_id(cell) or cell["id"], cell.source, _RUNS.get(kind_of(cell), "own")) for cell in code]
    run = run_cells(cells, limits)
    verdicts = {}
    for number, (cell, outcome) in enumerate(zip(code, run.outcomes, strict=True), start=1):
        cell.outputs, cell.execution_count = _outputs(outcome), number
        notes.extend(_unusual(cell, outcome))
        if kind_of(cell) == "test":
            verdict = judge(cell.source, outcome)
            verdicts[grade_id(cell)] = verdict
            cell.metadata[MARK] = {"kind": verdict.kind, "message": verdict.message}
    return Graded(notebook, verdicts, points, notes, run.seconds, run.cpu_seconds, run.megabytes, run.missing)


def judge(source: str, outcome: Outcome) -> Verdict:
    """What a test cell's outcome means, in words that give no hidden test away."""
    if outcome.state == "passed":
        return Verdict(True, "passed", "")
    if outcome.state == "failed" and _hidden(source, outcome.error["line"]):
        return Verdict(False, "hidden", HIDDEN)
    if outcome.state == "failed":
        name, message = outcome.error["name"], outcome.error["message"]
        first = message.strip().splitlines()[0][:500] if message.strip() else ""
        if name == "AssertionError":
            return Verdict(False, "visible", first or "a check that you can see failed")
        return Verdict(False, "error", f"{name}: {first}" if first else name)
    words = {"timeout": "it ran too long", "died": "it ended the Python process", "not run": "there was no time left"}
    return Verdict(False, outcome.state, words[outcome.state])


def read(path: Path) -> NotebookNode:
    """Read a notebook that was handed in.

    Raises:
        ValueError: if it is too large, or no notebook.
    """
    if path.stat().st_size > _SIZE:
        raise ValueError(f"{path.name} has {path.stat().st_size} bytes; expected at most {_SIZE}")
    try:
        notebook = nbformat.reads(path.read_text(encoding="utf-8"), as_version=4)
        for cell in notebook.cells:
            if cell.cell_type not in ("code", "markdown", "raw") or not isinstance(cell.source, str):
                raise ValueError("a cell of no known type")
            cell.setdefault("metadata", NotebookNode())
    except RecursionError:
        raise ValueError(f"{path.name} cannot be read: it is nested too deeply") from None
    except Exception as error:
        raise ValueError(f"{path.name} cannot be read as a notebook: {str(error)[:200] or 'it is empty'}") from error
    return notebook


def assemble(source: NotebookNode, submission: NotebookNode | None) -> tuple[NotebookNode, list[str]]:
    """The assignment's notebook with the submission's answers in it, and notes on what did not fit."""
    known = {grade_id(cell): cell for cell in source.cells if grade_id(cell)}
    answers: dict[str, NotebookNode] = {}
    added: dict[str | None, list[NotebookNode]] = {}
    notes: list[str] = []
    place: str | None = None
    taken = {cell.source.strip() for cell in source.cells}
    for cell in submission.cells if submission else ():
        name = grade_id(cell)
        if name in known:
            if name in answers:
                notes.append(f"The cell {name} is there twice; the first one counts.")
                continue
            answers[name], place = cell, name
        elif cell.source.strip() and cell.source.strip() not in taken and cell.cell_type != "raw":
            added.setdefault(place, []).append(cell)
    if submission is not None:
        notes.extend(_compared(known, answers))
        other = submission.metadata.get(MARK)
        if other and other != source.metadata.get(MARK):
            notes.append("It was written for another assignment or variant.")
    spare = _ADDED
    notebook = deepcopy(source)
    notebook.cells, cells = [], notebook.cells
    numbers = iter(range(10**9))
    for cell in [None, *cells]:
        if cell is not None:
            notebook.cells.append(_answered(cell, answers))
        if cell is None or grade_id(cell):
            extra = added.pop(grade_id(cell) if cell is not None else None, [])[:spare]
            spare -= len(extra)
            notebook.cells.extend(_own(extra, numbers))
    return notebook, notes


def _compared(known: dict[str, NotebookNode], answers: dict[str, NotebookNode]) -> Iterator[str]:
    for name, cell in known.items():
        if name not in answers:
            yield f"The cell {name} is missing{'' if is_answer(cell) else '; it was put back'}."
        elif is_answer(cell) and answers[name].cell_type != cell.cell_type:
            yield f"The cell {name} is no longer {cell.cell_type}; it counts as missing."
        elif kind_of(cell) == "test" and _edited(cell, answers[name]):
            yield f"The test {name} was edited; the original was run."


def _edited(cell: NotebookNode, submitted: NotebookNode) -> bool:
    return submitted.source.split() not in (visible(cell.source).split(), cell.source.split())


def visible(source: str) -> str:
    """A test cell as students see it, as nbgrader clears it."""
    kept, hidden = [], False
    for line in source.split("\n"):
        if "BEGIN HIDDEN TESTS" in line:
            hidden = True
        elif "END HIDDEN TESTS" in line:
            hidden = False
        elif not hidden:
            kept.append(line)
    return "\n".join(kept)


def _answered(cell: NotebookNode, answers: dict[str, NotebookNode]) -> NotebookNode:
    if is_answer(cell):
        answer = answers.get(grade_id(cell))
        fits = answer is not None and answer.cell_type == cell.cell_type
        cell.source = answer.source if fits else ""
    return cell


def _own(cells: list[NotebookNode], numbers: Iterator[int]) -> Iterator[NotebookNode]:
    """Cells that the student added, stripped of all but their text."""
    for cell in cells:
        make = nbformat.v4.new_code_cell if cell.cell_type == "code" else nbformat.v4.new_markdown_cell
        yield make(cell.source, id=f"added-{next(numbers):03d}")


def _hidden(source: str, line: int | None) -> bool:
    """Whether a line of a test cell is hidden from students; where it is not known, it may be."""
    lines = source.split("\n")
    if line is None or not 0 < line <= len(lines):
        return True
    before = "\n".join(lines[:line])
    return before.rfind("BEGIN HIDDEN TESTS") > before.rfind("END HIDDEN TESTS")


def _outputs(outcome: Outcome) -> list[NotebookNode]:
    found: list[dict[str, Any]] = list(outcome.outputs)
    if outcome.error is not None:
        error = outcome.error
        shown = error["traceback"].splitlines()
        found.append({"output_type": "error", "ename": error["name"], "evalue": error["message"], "traceback": shown})
    elif outcome.state != "passed":
        text = f"This cell has the state: {outcome.state}."
        found.append({"output_type": "error", "ename": outcome.state, "evalue": text, "traceback": [text]})
    return [nbformat.from_dict(item) for item in found]


def _unusual(cell: NotebookNode, outcome: Outcome) -> Iterator[str]:
    name = grade_id(cell) or "that the student added"
    words = {"timeout": "ran too long and was stopped", "died": "ended the Python process", "not run": "was not run"}
    if outcome.state in words:
        yield f"The cell {name} {words[outcome.state]}."
    if outcome.restored:
        yield f"Before the test {name}, functions were found replaced and put back: {', '.join(outcome.restored[:5])}."
