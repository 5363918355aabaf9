"""One group of runs: computed in a process of a sweep, stored by it, and found again."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import sys
import tempfile
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import filelock
import torch

Row = dict[str, object]
TRIES = 3  # times that a group is begun in one sweep where its worker dies
DIED = f"its worker died {TRIES} times, as happens where memory runs out"


@dataclass(frozen=True)
class Group:
    """Runs that are trained together: the members of one fit.

    Attributes:
        name: of the group, the beginning of its files' names.
        settings: what tells each run from the others, such as method, parameters and seed; plain values.
        measure: called with the path of a checkpoint (None: keep nothing); trains, and returns the metrics of every
            run in the order of ``settings``. A run that failed has the entry "error" instead.
    """

    name: str
    settings: Sequence[Row]
    measure: Callable[[Path | None], Sequence[Row]]

    def rows(self, checkpoint: Path | None = None) -> list[Row]:
        """Settings, metrics and error of every run."""
        metrics = self.measure(checkpoint)
        return [{**s, **m, "error": m.get("error", "")} for s, m in zip(self.settings, metrics, strict=True)]


@dataclass(frozen=True)
class Result:
    """What became of a run.

    Attributes:
        row: its settings, metrics and error.
        seconds: its share of the time that its group took.
        raised: the traceback of an exception, or the death of a worker; empty for a run that came to its end. A sweep
            that is resumed tries such a run again; one that diverged has come to its end.
    """

    row: Row
    seconds: float
    raised: str = ""


def failed(group: Group, error: str, raised: str) -> list[Result]:
    """The results of a group that came to no end."""
    return [Result({**settings, "error": error}, 0.0, raised) for settings in group.settings]


def work(group: Group, folder: Path | None, threads: int, parent: int) -> tuple[str, list[Result]]:
    """Name and results of a group: those that are stored, or else computed and stored by this process.

    Args:
        group: what to compute.
        folder: for rows and checkpoints; None stores nothing.
        threads: torch threads.
        parent: the process whose sweep this is.
    """
    card = -1 if os.getpid() == parent else _settle(parent)[0]
    if results := stored(folder, group):
        return group.name, results
    if folder is not None and not _begin(mark(folder, group)):
        return group.name, keep(folder, group, failed(group, DIED, DIED))
    checkpoint, began = None if folder is None else _checkpoint(folder, group), time.perf_counter()
    try:
        with torch_threads(threads), torch.cuda.device(card):
            rows = group.rows(checkpoint)
        seconds = (time.perf_counter() - began) / max(1, len(rows))
        return group.name, keep(folder, group, [Result(row, seconds) for row in rows])
    except Exception as error:
        words = " ".join(f"{type(error).__name__}: {error}".split())
        return group.name, keep(folder, group, failed(group, words, traceback.format_exc()))


def keep(folder: Path | None, group: Group, results: list[Result]) -> list[Result]:
    """Store results, each in a file of its own, and remove what only an unfinished group needs."""
    if folder is None:
        return results
    for path, result in zip(_paths(folder, group), results, strict=True):
        entry = {"row": result.row, "seconds": result.seconds} | ({"raised": result.raised} if result.raised else {})
        write_atomically(path, json.dumps(entry))
    if not any(result.raised for result in results):
        _checkpoint(folder, group).unlink(missing_ok=True)
    mark(folder, group).unlink(missing_ok=True)
    return results


def stored(folder: Path | None, group: Group) -> list[Result] | None:
    """The results of a group, None where one is missing or must be computed again."""
    if folder is None:
        return None
    results = [_read(path, settings) for path, settings in zip(_paths(folder, group), group.settings, strict=True)]
    return None if any(result is None or result.raised for result in results) else results


def _read(path: Path, settings: Row) -> Result | None:
    if not path.exists():
        return None
    try:
        result = Result(**json.loads(path.read_text(encoding="utf-8")))
        same = settings.items() <= result.row.items() and result.seconds >= 0
    except (ValueError, TypeError, AttributeError):
        same = False
    if not same:
        warnings.warn(f"{path} is damaged or another run's; it is computed again", RuntimeWarning, stacklevel=4)
    return result if same else None


def _paths(folder: Path, group: Group) -> list[Path]:
    return [folder / f"{group.name}-{number:04d}.json" for number in range(len(group.settings))]


def _checkpoint(folder: Path, group: Group) -> Path:
    return folder / f"{group.name}.safetensors"


def mark(folder: Path, group: Group) -> Path:
    """A file as long as the number of times that the group was begun; it goes when the group comes to its end."""
    return folder / f"{group.name}.begun"


def _begin(path: Path) -> bool:
    """Count a beginning; False where there have been as many as there may be."""
    with open(path, "ab") as file:
        file.write(b".")
    return path.stat().st_size <= TRIES


@functools.cache
def _settle(parent: int) -> tuple[int, filelock.FileLock | None]:
    """What a worker process does once: show no bars, end with its parent, take a CUDA card that no other has."""
    sys.stderr = _NoTerminal(sys.stderr)
    if os.getppid() == parent:
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    cards = torch.cuda.device_count()
    for card in range(cards if cards > 1 else 0):
        path = Path(tempfile.gettempdir()) / f"latentbook-{os.getppid()}-{card}.lock"
        lock = filelock.FileLock(path, thread_local=False)
        with contextlib.suppress(filelock.Timeout):
            lock.acquire(blocking=False)  # it opens when this process ends, however it ends
            return card, lock
    return -1, None


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


class _NoTerminal:
    """A stream from which progress bars stay away."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def isatty(self) -> bool:
        return False


@contextlib.contextmanager
def torch_threads(number: int) -> Iterator[None]:
    """So many torch threads, and the setting found before put back."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def write_atomically(path: Path, text: str) -> None:
    """Write a file to a partial one beside it, flushed to disk, then renamed in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    try:
        with open(partial, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
