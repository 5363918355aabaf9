"""Running a notebook's cells in a process that can do little harm, and never outlives its time.

The process (``_worker.py``) gets a folder of its own, limits of time, memory and size of files, no network and no right
to write, or to read assignments, elsewhere: as far as the system offers it, which :attr:`Run.missing` tells. A cell
that brings the process down is left out and the others are run again, so that it costs no more than its own points.
"""

from __future__ import annotations

import functools
import json
import os
import queue
import secrets
import shutil
import signal
import site
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

GUARDS = {
    "folders": "it may write outside its own folder and read what you can read",
    "network": "the network is not blocked (at most TCP is)",
    "memory": "memory is not limited",
    "files": "the size of files is not limited",
    "signals": "it may end other processes of yours",
}
_GRACE = 5.0  # seconds from the alarm in the process to its end from outside
_LONGEST = 2**26  # bytes of an answer


@dataclass(frozen=True)
class Limits:
    """What one notebook may use.

    Args:
        cell_seconds: for one cell.
        seconds: for the whole notebook, the start and what had to be run again included.
        gigabytes: of memory, each process.
        file_megabytes: of any one file.
    """

    cell_seconds: float = 60.0
    seconds: float = 300.0
    gigabytes: float = 4.0
    file_megabytes: float = 64.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not value > 0:
                raise ValueError(f"{name} is {value!r}; expected a positive number")


@dataclass(frozen=True)
class Cell:
    """Code to run.

    Args:
        name: for messages.
        code: Python, and what IPython adds to it.
        kind: "own" (a student's), "given" (tests see what it defines, whatever happens later), or "test" (plain Python,
            run after library functions that were replaced have been put back).
    """

    name: str
    code: str
    kind: str = "own"


@dataclass(frozen=True)
class Outcome:
    """What became of a cell.

    Attributes:
        state: "passed", "failed" (an error), "timeout", "died" (it ended the process), or "not run" (no time was left).
        error: name, message, line and traceback; None where there was none.
        outputs: as a notebook stores them.
        seconds: that it took.
        restored: names of library functions that were found replaced before a test.
    """

    state: str
    error: dict[str, Any] | None = None
    outputs: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0
    restored: tuple[str, ...] = ()


@dataclass(frozen=True)
class Run:
    """A notebook that was run: outcomes of its cells, the guards that held, what it took (processor: last start)."""

    outcomes: tuple[Outcome, ...]
    held: frozenset[str]
    seconds: float
    cpu_seconds: float
    megabytes: float

    @property
    def missing(self) -> list[str]:
        """What the system did not offer, in words."""
        return [words for guard, words in GUARDS.items() if guard not in self.held]


def run_cells(cells: Sequence[Cell], limits: Limits | None = None, *, restarts: int = 3) -> Run:
    """Run cells in order.

    Args:
        cells: the code.
        limits: of time, memory and files.
        restarts: how often to begin again, without the cells that ended the process, after it has died.
    """
    limits = Limits() if limits is None else limits
    begin = time.monotonic()
    outcomes: dict[int, Outcome] = {}
    fatal: dict[int, Outcome] = {}
    held: frozenset[str] = frozenset()
    megabytes = cpu = 0.0
    for _ in range(restarts + 1):
        with tempfile.TemporaryDirectory(prefix="latentbook-", ignore_cleanup_errors=True) as own:
            process = _Process(Path(own).resolve(), limits, begin + limits.seconds)
            try:
                held = process.held
                outcomes = dict(fatal)
                for index, cell in enumerate(cells):
                    if index in fatal:
                        continue
                    outcome = process.run(cell)
                    outcomes[index] = outcome
                    if outcome.state == "not run" or process.dead:
                        break
                megabytes, cpu = max(megabytes, process.megabytes), process.cpu_seconds
            finally:
                process.end()
        if not process.dead or time.monotonic() - begin > limits.seconds:
            break
        fatal[index] = outcome
    found = tuple(outcomes.get(index, Outcome("not run")) for index in range(len(cells)))
    return Run(found, held, time.monotonic() - begin, cpu, megabytes)


class _Process:
    """One process, its pipes, and the clock that ends it."""

    def __init__(self, own: Path, limits: Limits, deadline: float) -> None:
        self.limits, self.deadline, self.key = limits, deadline, secrets.token_hex(16)
        self.dead, self.held, self.megabytes, self.cpu_seconds = False, frozenset(), 0.0, 0.0
        prefix = _namespaces()
        self.process = subprocess.Popen(
            [*prefix, sys.executable, "-m", "latentbook.classroom._worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=_environment(own),
            cwd=own,
            start_new_session=True,
        )
        self.answers: queue.Queue[bytes | None] = queue.Queue(maxsize=100)
        threading.Thread(target=self._read, daemon=True).start()
        settings = {"own": str(own), "readable": _readable(), **vars(limits)}
        self._send(self.key)
        self._send(json.dumps(settings))
        first = self._answer(60.0)
        if first is None:
            self.dead = True
            self.end()
            raise RuntimeError("the process that runs notebooks did not start; expected ipython to be installed")
        self.held = frozenset(first["held"] + ["network", "signals"] * bool(prefix))

    def run(self, cell: Cell) -> Outcome:
        """One cell; ``dead`` tells whether it was the last."""
        seconds = min(self.limits.cell_seconds, self.deadline - time.monotonic())
        if seconds <= 0:
            return Outcome("not run")
        begin = time.monotonic()
        self._send(json.dumps({"name": cell.name, "code": cell.code, "kind": cell.kind, "seconds": seconds}))
        found = self._answer(seconds + _GRACE)
        taken = time.monotonic() - begin
        if found is None:
            self.dead = True
            late = self.process.poll() is None
            return Outcome("timeout" if late else "died", seconds=round(taken, 2))
        error = found["error"]
        state = "passed" if error is None else "timeout" if error["name"] == "CellTimeout" else "failed"
        return Outcome(state, error, found["outputs"], found["seconds"], tuple(found["restored"]))

    def end(self) -> None:
        """End the process and all that it has started."""
        if hasattr(os, "killpg"):
            try:
                os.killpg(self.process.pid, signal.SIGKILL)
            except (ProcessLookupError, PermissionError):
                pass
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            try:
                stream.close()
            except OSError:
                pass

    def _send(self, line: str) -> None:
        try:
            self.process.stdin.write(line.encode() + b"\n")
            self.process.stdin.flush()
        except OSError:
            pass  # it is gone; no answer will come

    def _read(self) -> None:
        while line := self.process.stdout.readline(_LONGEST):
            self.answers.put(line)
        self.answers.put(None)

    def _answer(self, seconds: float) -> dict[str, Any] | None:
        """The next answer that bears the key; None when the process ends or the time is up."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            try:
                line = self.answers.get(timeout=left)
            except queue.Empty:
                return None
            if line is None:
                self.process.wait()
                return None
            try:
                found = json.loads(line)
            except ValueError:
                continue
            if isinstance(found, dict) and found.get("key") == self.key:
                self.megabytes, self.cpu_seconds = float(found["megabytes"]), float(found["cpu_seconds"])
                return found
        return None


@functools.lru_cache
def _namespaces() -> tuple[str, ...]:
    """The command that cuts off network and other processes, empty where it may not be used."""
    program = shutil.which("unshare")
    for rights in (("--user", "--map-root-user"), ()):
        command = (program, *rights, "--net", "--pid", "--fork", "--kill-child")
        if program and not subprocess.run([*command, "true"], capture_output=True, check=False, timeout=20).returncode:
            return command
    return ()


def _environment(own: Path) -> dict[str, str]:
    """Little of ours: no keys, tokens or folders of the instructor's."""
    keep = ("PATH", "LANG", "LC_ALL", "SYSTEMROOT", "LD_LIBRARY_PATH", "VIRTUAL_ENV")
    one = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "MKL", "OPENBLAS", "NUMEXPR")}
    places = {name: str(own) for name in ("HOME", "USERPROFILE", "TMPDIR", "TMP", "TEMP", "IPYTHONDIR", "MPLCONFIGDIR")}
    package = str(Path(__file__).resolve().parents[2])
    _fonts(own)
    return {
        **{name: os.environ[name] for name in keep if name in os.environ},
        **one,
        **places,
        "PYTHONPATH": package,
        "PYTHONUSERBASE": site.getuserbase(),
        "PYTHONDONTWRITEBYTECODE": "1",
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
        "CUDA_VISIBLE_DEVICES": "",
        "LATENTBOOK_CACHE": str(_cache()),
    }


def _cache() -> Path:
    """Where the book keeps its data, as ``latentbook.data`` has it, which takes seconds to import."""
    usual = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "latentbook"
    return Path(os.environ.get("LATENTBOOK_CACHE") or usual).resolve()


def _fonts(own: Path) -> None:
    """Hand over matplotlib's list of fonts: to make it takes seconds."""
    import matplotlib

    for file in Path(matplotlib.get_cachedir()).glob("fontlist-*.json"):
        shutil.copy(file, own)


@functools.lru_cache
def _readable() -> list[str]:
    """What Python, its libraries and the book's data need."""
    package = Path(__file__).resolve().parents[1]
    places = [sys.prefix, sys.base_prefix, *site.getsitepackages(), site.getusersitepackages(), package, _cache()]
    system = ("/usr", "/lib", "/lib64", "/bin", "/etc", "/proc", "/sys", "/dev", "/opt", "/nix", "/run/current-system")
    return sorted({str(Path(place).resolve()) for place in places} | set(system))
