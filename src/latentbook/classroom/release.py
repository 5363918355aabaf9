"""What goes to students, the notebook without answers, and to instructors, the whole of it; and zips of both."""

from __future__ import annotations

import io
import os
import shutil
import zipfile
from copy import deepcopy
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from nbgrader.preprocessors import (
    CheckCellMetadata,
    ClearHiddenTests,
    ClearMarkScheme,
    ClearOutput,
    ClearSolutions,
    ComputeChecksums,
    LockCells,
)

from latentbook.classroom.assignment import Assignment, kind_of

INSTRUCTOR = (LockCells, ClearOutput, CheckCellMetadata, ComputeChecksums)
STUDENT = (
    LockCells,
    ClearSolutions,
    ClearOutput,
    ClearHiddenTests,
    ClearMarkScheme,
    CheckCellMetadata,
    ComputeChecksums,
)
REGIONS = {"SOLUTION": "solution", "HIDDEN TESTS": "hidden test", "MARK SCHEME": "mark scheme"}
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time that a zip can hold


def student_version(assignment: Assignment) -> NotebookNode:
    """The notebook without solutions, hidden tests and mark schemes, as nbgrader clears them.

    Raises:
        ValueError: if a line of them is left.
    """
    notebook = _through(assignment.notebook, STUDENT)
    left = leaks(assignment.notebook, "\n".join(cell.source for cell in notebook.cells))
    if left:
        raise ValueError(f"the release of {assignment.name} shows what it must hide: {left[0]!r}")
    return notebook


def instructor_version(assignment: Assignment) -> NotebookNode:
    """The whole notebook, with nbgrader's locks and checksums."""
    return _through(assignment.notebook, INSTRUCTOR)


def secrets(notebook: NotebookNode) -> list[str]:
    """The lines that only instructors may see: those of solutions, hidden tests, mark schemes and model answers.

    Lines that students see elsewhere, and lines without letters, do not count.
    """
    hidden: list[str] = []
    seen: set[str] = set()
    for cell in notebook.cells:
        whole = kind_of(cell) in ("manual", "answer") and "BEGIN SOLUTION" not in cell.source
        whole = whole and "BEGIN MARK SCHEME" not in cell.source
        region = False
        for line in cell.source.splitlines():
            text = line.strip()
            edge = [part for part in REGIONS if f"BEGIN {part}" in text or f"END {part}" in text]
            region = f"BEGIN {edge[0]}" in text if edge else region
            if edge:
                hidden.append(text)
            elif region or whole:
                hidden.append(text)
            else:
                seen.add(text)
    return [line for line in dict.fromkeys(hidden) if line not in seen and sum(map(str.isalpha, line)) > 3]


def leaks(notebook: NotebookNode, text: str) -> list[str]:
    """The lines of ``notebook`` that only instructors may see and that stand in ``text``."""
    lines = {line.strip() for line in text.splitlines()}
    return [line for line in secrets(notebook) if line in lines or (len(line) > 30 and line in text)]


def build(assignment: Assignment, out: Path) -> Path:
    """Write both versions of an assignment and a zip of each.

    ::

        OUT/student/NAME.ipynb     OUT/NAME-student.zip
        OUT/instructor/NAME/...    OUT/NAME-instructor.zip     the whole notebook and marking.md

    Args:
        assignment: one variant.
        out: the folder, made where it is missing; what it holds of this assignment is replaced.

    Returns:
        The student's notebook. Every file is the same byte for byte whenever the variant is the same.
    """
    name = assignment.name
    student = {f"{name}.ipynb": _text(student_version(assignment))}
    teacher = {f"{name}/{name}.ipynb": _text(instructor_version(assignment)), f"{name}/marking.md": assignment.marking}
    shutil.rmtree(out / "instructor" / name, ignore_errors=True)
    for kind, files in {"student": student, "instructor": teacher}.items():
        for path, text in files.items():
            write(out / kind / path, text.encode())
        write(out / f"{name}-{kind}.zip", _zip(files))
    return out / "student" / f"{name}.ipynb"


def write(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    partial.write_bytes(content)
    os.replace(partial, path)


def _through(notebook: NotebookNode, preprocessors: tuple[type, ...]) -> NotebookNode:
    notebook = deepcopy(notebook)
    for preprocessor in preprocessors:
        notebook, _ = preprocessor().preprocess(notebook, {})
    nbformat.validate(notebook)
    return notebook


def _text(notebook: NotebookNode) -> str:
    return nbformat.writes(notebook) + "\n"


def _zip(files: dict[str, str]) -> bytes:
    """A zip that depends on names and contents alone."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in sorted(files):
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.compress_type, entry.create_system, entry.external_attr = zipfile.ZIP_DEFLATED, 3, 0o644 << 16
            archive.writestr(entry, files[name].encode())
    return buffer.getvalue()
