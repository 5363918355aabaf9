"""What is released holds no answers, and is the same byte for byte."""

from __future__ import annotations

import zipfile
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import nbformat
import pytest

from latentbook.classroom.__main__ import main
from latentbook.classroom.assignment import Assignment, grade_id, load
from latentbook.classroom.release import build, leaks, secrets, student_version

from .conftest import FOLDER


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_secrets_are_what_students_must_not_see(tiny: Assignment) -> None:
    found = "\n".join(secrets(tiny.notebook))
    for words in ("* float(x)", "secret: not linear", "model answer", "Ten points for axes", "written_here(square)"):
        assert words in found
    for words in ("def square", "f(1) is", "import math", "Draw a picture"):
        assert words not in found


def test_the_release_holds_none_of_them(tiny: Assignment) -> None:
    notebook = student_version(tiny)
    text = nbformat.writes(notebook)
    assert not leaks(tiny.notebook, "\n".join(cell.source for cell in notebook.cells))
    for words in ("float(x)", "secret", "model answer", "Ten points"):
        assert words not in text
    assert "raise NotImplementedError" in text and "Draw a picture" in text


def test_a_leak_is_refused(tiny: Assignment) -> None:
    notebook = deepcopy(tiny.notebook)
    cell = next(cell for cell in notebook.cells if grade_id(cell) == "setup")
    cell.source += '\n"The model answer stands here, with its reasons."'
    with pytest.raises(ValueError, match="the release of tiny shows what it must hide"):
        student_version(replace(tiny, notebook=notebook))


def test_the_same_variant_is_the_same_byte_for_byte(tiny: Assignment, tmp_path: Path) -> None:
    for folder in ("a", "b"):
        build(load("tiny", folder=FOLDER), tmp_path / folder)
    build(load("tiny", "2027", folder=FOLDER), tmp_path / "c")
    first, again, other = (contents(tmp_path / folder) for folder in "abc")
    assert first == again
    assert set(first) == set(other) and all(first[name] != other[name] for name in first)


def test_a_release_does_not_name_its_variant() -> None:
    assert "wombat-17" not in nbformat.writes(student_version(load("tiny", "wombat-17", folder=FOLDER)))


def test_zips_hold_the_files(tiny: Assignment, tmp_path: Path) -> None:
    build(tiny, tmp_path)
    with zipfile.ZipFile(tmp_path / "tiny-student.zip") as archive:
        assert archive.namelist() == ["tiny.ipynb"]
    with zipfile.ZipFile(tmp_path / "tiny-instructor.zip") as archive:
        assert archive.namelist() == ["tiny/marking.md", "tiny/tiny.ipynb"]
        assert b"model answer" in archive.read("tiny/tiny.ipynb")


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["release", "--folder", str(FOLDER), "--out", str(tmp_path), "--variant", "2027"]
    assert main(arguments) == 0
    assert (tmp_path / "2027" / "student" / "tiny.ipynb").exists()
    assert main(["release", "none", "--folder", str(FOLDER)]) == 2
    assert "expected one of ['tiny']" in capsys.readouterr().err
