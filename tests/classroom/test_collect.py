"""Downloads as learning platforms name them."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import pytest

pytest.importorskip("nbgrader")

from latentbook.classroom.collect import collect

PLACES = {
    "Jane Doe_123456_assignsubmission_file_/tiny.ipynb": "Jane-Doe",  # Moodle, folders
    "Jane Doe_123456_assignsubmission_file_tiny.ipynb": "Jane-Doe",  # Moodle, flat
    "doejane_12345_67890_tiny.ipynb": "doejane",  # Canvas
    "doejane_LATE_12345_67890_tiny-1.ipynb": "doejane",
    "Homework 1_jdoe_attempt_2026-11-28-10-00-00_tiny.ipynb": "jdoe",  # Blackboard
    "12345-67890 - Jane Doe - Nov 28, 2026 1000 AM/tiny.ipynb": "Jane-Doe",  # Brightspace
    "Doe, Jane(jdoe)/Submission attachment(s)/tiny.ipynb": "jdoe",  # Sakai
    "jdoe/tiny.ipynb": "jdoe",
    "jdoe/tiny/tiny.ipynb": "jdoe",  # nbgrader
    "jdoe_tiny.ipynb": "jdoe",
    "jdoe - tiny (2).ipynb": "jdoe",
    "jdoe/my work.ipynb": "jdoe",
}


def files(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return folder


@pytest.mark.parametrize("name", PLACES)
def test_a_student_is_found(tmp_path: Path, name: str) -> None:
    found = collect("tiny", files(tmp_path / "in", name), tmp_path / "out")
    assert found.placed == {PLACES[name]: name} and not found.unplaced
    assert (tmp_path / "out" / PLACES[name] / "tiny" / "tiny.ipynb").read_text() == name


def test_what_cannot_be_placed_is_said(tmp_path: Path) -> None:
    names = ("stray.ipynb", "ann/essay.pdf", "bob/a.ipynb", "bob/b.ipynb", "cy/tiny.ipynb", "cy/.DS_Store")
    found = collect("tiny", files(tmp_path / "in", *names), tmp_path / "out")
    assert list(found.placed) == ["cy"]
    assert len(found.unplaced) == 3
    for word in ("stray.ipynb", "ann: no notebook among essay.pdf", "bob: 2 notebooks, none of them named tiny"):
        assert word in " ".join(found.unplaced)


def test_the_last_attempt_counts(tmp_path: Path) -> None:
    names = ("doe_1_9_tiny.ipynb", "doe_1_10_tiny.ipynb")
    found = collect("tiny", files(tmp_path / "in", *names), tmp_path / "out")
    assert found.placed == {"doe": "doe_1_10_tiny.ipynb"} and "2 notebooks" in found.notes[0]
    files(tmp_path / "in2", "doe/tiny.ipynb", "doe/tiny-new.ipynb")
    os.utime(tmp_path / "in2" / "doe" / "tiny.ipynb", (2e9, 2e9))
    assert collect("tiny", tmp_path / "in2", tmp_path / "out").placed == {"doe": "doe/tiny.ipynb"}


def test_two_of_a_name_are_told_apart(tmp_path: Path) -> None:
    names = ("Jane Doe_1_assignsubmission_file_tiny.ipynb", "Jane Doe_2_assignsubmission_file_tiny.ipynb")
    found = collect("tiny", files(tmp_path / "in", *names), tmp_path / "out")
    assert sorted(found.placed) == ["Jane-Doe-1", "Jane-Doe-2"]


def test_names_lead_nowhere_else(tmp_path: Path) -> None:
    archive = tmp_path / "all.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("../../evil/tiny.ipynb", "x")
        file.writestr("ann/tiny.ipynb", "x")
        file.writestr("..hidden/tiny.ipynb", "x")
    found = collect("tiny", archive, tmp_path / "out")
    assert list(found.placed) == ["ann"]
    assert not (tmp_path.parent / "evil").exists()


def test_a_damaged_zip_is_said(tmp_path: Path) -> None:
    found = collect("tiny", files(tmp_path / "in", "ann/work.zip", "bob/tiny.ipynb"), tmp_path / "out")
    assert list(found.placed) == ["bob"] and "cannot be read" in found.unplaced[0]


def test_bad_arguments(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="expected a folder, or a zip, that exists"):
        collect("tiny", tmp_path / "none", tmp_path)
    with pytest.raises(ValueError, match="expected a folder, or a zip"):
        collect("tiny", files(tmp_path, "a.txt") / "a.txt", tmp_path)
