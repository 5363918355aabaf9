"""Sorting a folder of downloaded submissions by student, as learning platforms export them.

Known: Moodle, Canvas, Blackboard, Brightspace and Sakai, with a folder a student or flat names, zips in zips, and plain
folders named after students. What cannot be placed is reported, never guessed.
"""

from __future__ import annotations

import io
import re
import shutil
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from latentbook.classroom.release import write

_PATTERNS = (  # of a path's part: who, and which attempt
    r"(?P<who>.+?)_(?P<number>\d+)_assignsubmission_(?:file|onlinetext)_?",  # Moodle
    r"(?P<who>[^_/]+)(?:_LATE)?_(?P<number>\d+)_(?P<attempt>\d+)_.+",  # Canvas
    r".+_(?P<who>[^_/]+)_attempt_(?P<attempt>[\d-]+)(?:_.*)?",  # Blackboard
    r"(?P<number>\d+)-\d+ - (?P<who>[^/]+?) - (?P<attempt>.+)",  # Brightspace
    r"(?P<last>[^,/]+), ?(?P<first>[^(/]+?) ?\((?P<who>[^)/]+)\)",  # Sakai
)
_WASTE = ("__MACOSX", ".ipynb_checkpoints")
_INNER = ("submission attachment(s)", "attachments", "files")
_MOST_BYTES = 2_000_000_000  # of everything in the zips together
_DEPTH = 3  # of zips in zips


@dataclass
class Collected:
    """Where submissions went.

    Attributes:
        placed: the path in the download, by student.
        notes: choices that were made, in sentences.
        unplaced: what is left, with reasons.
    """

    placed: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    unplaced: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _File:
    path: PurePosixPath
    content: bytes
    age: float

    @property
    def is_notebook(self) -> bool:
        return self.path.suffix.lower() == ".ipynb"


def collect(name: str, downloads: Path, submitted: Path) -> Collected:
    """Copy every student's notebook to ``submitted/STUDENT/NAME/NAME.ipynb``, nbgrader's place for it.

    Args:
        name: the assignment.
        downloads: a folder, or a zip.
        submitted: the folder to sort into; what it holds of these students' NAME is replaced.

    Raises:
        FileNotFoundError: if there is no such folder or zip.
        ValueError: if it is neither.
    """
    if not downloads.exists():
        raise FileNotFoundError(f"downloads is {downloads}; expected a folder, or a zip, that exists")
    if downloads.is_file() and downloads.suffix.lower() != ".zip":
        raise ValueError(f"downloads is {downloads}; expected a folder, or a zip")
    found = Collected()
    students: dict[tuple[str, str], list[tuple[str, _File]]] = {}
    for file in _files(downloads, found):
        who = _student(file.path, name)
        if who is None:
            if file.is_notebook:
                found.unplaced.append(f"{file.path}: it does not say whose it is")
            continue
        students.setdefault(who[:2], []).append((who[2], file))
    shared = [student for student, _ in students]
    for (student, number), files in sorted(students.items()):
        label = f"{student}-{number}" if shared.count(student) > 1 else student
        chosen = _choose(name, label, files, found)
        if chosen is not None:
            place = submitted / label / name
            shutil.rmtree(place, ignore_errors=True)
            write(place / f"{name}.ipynb", chosen.content)
            found.placed[label] = str(chosen.path)
    return found


def _files(place: Path, found: Collected) -> Iterator[_File]:
    """All files, those in zips included."""
    paths = [place] if place.is_file() else sorted(path for path in place.rglob("*") if path.is_file())
    room = [_MOST_BYTES]
    for path in paths:
        inside = PurePosixPath(path.relative_to(place).as_posix()) if path != place else PurePosixPath(path.name)
        if path.is_symlink() or _is_waste(inside):
            continue
        yield from _unpacked(_File(inside, path.read_bytes(), path.stat().st_mtime), found, room, path == place)


def _unpacked(file: _File, found: Collected, room: list[int], whole: bool, depth: int = 0) -> Iterator[_File]:
    if file.path.suffix.lower() != ".zip":
        yield file
        return
    base = PurePosixPath() if whole else file.path.with_suffix("")
    try:
        with zipfile.ZipFile(io.BytesIO(file.content)) as archive:
            for entry in archive.infolist():
                inside = PurePosixPath(entry.filename.replace("\\", "/"))
                if entry.is_dir() or _is_waste(inside):
                    continue
                room[0] -= entry.file_size
                if depth >= _DEPTH or room[0] < 0 or inside.is_absolute() or ".." in inside.parts:
                    found.unplaced.append(f"{file.path}/{inside}: too large, too deep, or outside its folder")
                    continue
                age = sum(part * 60**power for power, part in enumerate(reversed(entry.date_time[2:])))
                inner = _File(base / inside, archive.read(entry), float(age))
                yield from _unpacked(inner, found, room, False, depth + 1)
    except (zipfile.BadZipFile, RuntimeError, NotImplementedError, OSError, ValueError, EOFError) as error:
        found.unplaced.append(f"{file.path}: a zip that cannot be read ({error})")


def _is_waste(path: PurePosixPath) -> bool:
    return any(part in _WASTE or (part.startswith(".") and len(part) > 1) for part in path.parts)


def _student(path: PurePosixPath, name: str) -> tuple[str, str, str] | None:
    """Who handed a file in, the platform's number for them, and which attempt it is."""
    for part in path.parts:
        for pattern in _PATTERNS:
            match = re.match(pattern, part)
            if match:
                known = match.groupdict("")
                return _plain(known["who"]), known.get("number", ""), known.get("attempt", "")
    folders = [part for part in path.parts[:-1] if part != name and part.lower() not in _INNER]
    if folders:
        return _plain(folders[-1]), "", ""
    flat = re.match(rf"(?P<who>.+?)[-_ .]+{re.escape(name)}\b", path.stem)
    return (_plain(flat["who"]), "", "") if flat else None


def _plain(who: str) -> str:
    """A student's name as a folder's."""
    return re.sub(r"[^\w.@+-]+", "-", who.strip()).strip("-.") or "unnamed"


def _choose(name: str, student: str, files: list[tuple[str, _File]], found: Collected) -> _File | None:
    """The notebook to grade: the last attempt's, by its name."""
    notebooks = [(attempt, file) for attempt, file in files if file.is_notebook]
    if not notebooks:
        others = ", ".join(sorted(file.path.name for _, file in files)[:5])
        found.unplaced.append(f"{student}: no notebook among {others}")
        return None
    named = [pair for pair in notebooks if name in pair[1].path.name]
    candidates = named or notebooks
    if not named and len(notebooks) > 1:
        names = ", ".join(sorted(file.path.name for _, file in notebooks)[:5])
        found.unplaced.append(f"{student}: {len(notebooks)} notebooks, none of them named {name}.ipynb ({names})")
        return None
    chosen = max(candidates, key=lambda pair: (_natural(pair[0]), pair[1].age, _natural(pair[1].path.name)))[1]
    if len(candidates) > 1:
        found.notes.append(f"{student}: {len(candidates)} notebooks; the last one counts, {chosen.path.name}")
    if not named:
        found.notes.append(f"{student}: the notebook is named {chosen.path.name}")
    return chosen


def _natural(text: str) -> list[tuple[int, int, str]]:
    """Order by the numbers in a text, not their digits."""
    parts = re.findall(r"\d+|\D+", text)
    return [(1, int(part), "") if part.isdigit() else (0, 0, part) for part in parts]
