"""The process that runs a notebook's cells, one by one, as its parent sends them (see ``sandbox.py``).

It is no Jupyter kernel: there are no sockets, and a cell is sent only when its turn comes, so that code before it
cannot read the hidden tests after it. Requests come in lines of JSON on standard input, answers go out on standard
output; the code that runs gets neither of the two.
"""

from __future__ import annotations

import ast
import builtins
import io
import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

from latentbook.classroom._confine import confine

GUARDED = ("builtins", "math", "numpy", "scipy", "torch", "latentbook")
MOST_TEXT = 20_000  # characters of printed output that a cell may keep
MOST_BYTES = 4_000_000  # of pictures and the like


class CellTimeout(BaseException):
    """A cell ran too long. No ``except Exception`` of a student's catches it."""


class _Capped(io.TextIOBase):
    """Keeps the beginning of what is printed."""

    def __init__(self) -> None:
        self.parts, self.room = [], MOST_TEXT

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        if self.room > 0:
            self.parts.append(text[: self.room])
            self.room -= len(text)
            if self.room <= 0:
                self.parts.append("\n... (more was printed than is kept)\n")
        return len(text)

    def text(self) -> str:
        return "".join(self.parts)


class _Cells:
    """An IPython shell that runs cells and tells what became of them."""

    def __init__(self) -> None:
        from IPython.core.displaypub import CapturingDisplayPublisher
        from IPython.core.interactiveshell import InteractiveShell
        from traitlets.config import Config

        config = Config()
        config.HistoryManager.enabled = False
        self.shell = InteractiveShell.instance(config=config, colors="nocolor")
        self.shell.display_pub = self.published = CapturingDisplayPublisher(parent=self.shell)
        self.shell.display_trap.hook = self.displayed
        self.shell.showtraceback = lambda *_, **__: None
        self.shell.showsyntaxerror = lambda *_, **__: None
        self.shell.showindentationerror = lambda *_, **__: None
        self.originals: dict[tuple[str, str], Any] = {}
        self.given: dict[str, Any] = {}

    def displayed(self, value: Any) -> None:
        """The value of a cell's last line."""
        if value is not None:
            data, metadata = self.shell.display_formatter.format(value)
            self.published.publish(data, metadata)
            self.shell.user_ns["_"] = value

    def run(self, code: str, name: str, *, kind: str, seconds: float) -> dict[str, Any]:
        """Run one cell; what it printed and showed, and the error that it ended with."""
        self.published.outputs.clear()
        restored = self.restore() if kind == "test" else []
        before = dict(self.shell.user_ns)
        sent, out = sys.stdout, _Capped()
        begin, error = time.perf_counter(), None
        sys.stdout = sys.stderr = out
        try:
            with _alarm(seconds):
                error = self.test(code, name) if kind == "test" else self.plain(code)
        except CellTimeout as late:
            error = late
        finally:
            sys.stdout = sys.stderr = sent
        if kind == "given":
            fresh = {name: value for name, value in self.shell.user_ns.items() if before.get(name) is not value}
            self.given.update((name, value) for name, value in fresh.items() if _is_tool(value))
        if kind != "test":
            self.remember()
        return {
            "error": error and _describe(error, name),
            "outputs": _outputs(out.text(), self.published.outputs),
            "seconds": round(time.perf_counter() - begin, 2),
            "restored": restored,
        }

    def plain(self, code: str) -> BaseException | None:
        result = self.shell.run_cell(code, store_history=False)
        return result.error_before_exec or result.error_in_exec

    def test(self, code: str, name: str) -> BaseException | None:
        """Run a test as plain Python, which leaves no source behind for later cells to read.

        It sees functions, classes and modules of given cells as these left them, and the builtins as they are, whatever
        the notebook has made of their names since.
        """
        own = self.shell.user_ns
        names = {name: value for name, value in own.items() if name not in vars(builtins)} | self.given
        known = set(names)
        try:
            exec(compile(ast.parse(code), f"<{name}>", "exec"), names)
        except CellTimeout:
            raise
        except BaseException as error:
            return error
        finally:
            own.update((name, value) for name, value in names.items() if name not in known and name != "__builtins__")
            self.shell.events.trigger("post_execute")
        return None

    def remember(self) -> None:
        """Note the functions and classes of the libraries that tests lean on, when they are first seen."""
        for module in _guarded():
            for name, value in list(vars(module).items()):
                if callable(value):
                    self.originals.setdefault((module.__name__, name), value)

    def restore(self) -> list[str]:
        """Put back those that were replaced since; their names."""
        found = []
        for module in _guarded():
            for name, value in list(vars(module).items()):
                original = self.originals.get((module.__name__, name), value)
                if original is not value:
                    setattr(module, name, original)
                    found.append(f"{module.__name__}.{name}")
        return found


def _is_tool(value: Any) -> bool:
    return callable(value) or isinstance(value, ModuleType)


def _guarded() -> list[ModuleType]:
    found = [builtins]
    for name, module in list(sys.modules.items()):
        if name.split(".")[0] in ("numpy", "latentbook") or name in GUARDED:
            found.append(module)
    return [module for module in dict.fromkeys(found) if isinstance(module, ModuleType)]


@contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    """Raise CellTimeout after some seconds, where the system has alarms; the parent ends what does not heed it."""
    if not hasattr(signal, "setitimer"):
        yield
        return

    def ring(_: int, __: FrameType | None) -> None:
        signal.setitimer(signal.ITIMER_REAL, 1.0)  # again, for code that swallows it
        raise CellTimeout(f"stopped after {seconds:g} s")

    signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, signal.SIG_IGN)


def _describe(error: BaseException, name: str) -> dict[str, Any]:
    """Name, message and line in the cell of an error, and its traceback."""
    steps = traceback.extract_tb(error.__traceback__)
    own = [step.lineno for step in steps if step.filename == f"<{name}>"]
    line = own[-1] if own else getattr(error, "lineno", None) if isinstance(error, SyntaxError) else None
    kept = [step for step in steps if "/IPython/" not in step.filename and not step.filename.endswith("_worker.py")]
    text = ["Traceback (most recent call last):\n", *traceback.format_list(kept[-12:])]
    try:
        message = str(error)[:2000]
    except BaseException:
        message = ""
    last = f"{type(error).__name__}: {message}"
    return {"name": type(error).__name__, "message": message, "line": line, "traceback": "".join(text)[-6000:] + last}


def _outputs(printed: str, displayed: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What a notebook stores."""
    found: list[dict[str, Any]] = []
    if printed:
        found.append({"output_type": "stream", "name": "stdout", "text": printed})
    room = MOST_BYTES
    for item in displayed:
        data = {kind: _plain(value) for kind, value in item["data"].items() if "widget" not in kind}
        room -= sum(map(len, map(str, data.values())))
        if room >= 0 and data:
            found.append({"output_type": "display_data", "data": data, "metadata": {}})
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        import base64

        return base64.b64encode(value).decode()
    return value


def serve(requests: Any, answer: Callable[[dict[str, Any]], None]) -> None:
    """Confine this process as the first request says, then run a cell a request."""
    settings = json.loads(requests.readline())
    own = Path(settings["own"])
    held = confine(
        own,
        [Path(path) for path in settings["readable"]],
        gigabytes=settings["gigabytes"],
        file_megabytes=settings["file_megabytes"],
    )
    os.chdir(own)
    import numpy.testing  # noqa: F401  what tests lean on is noted before a student's code runs

    cells = _Cells()
    cells.remember()
    answer({"held": held})
    for line in requests:
        request = json.loads(line)
        answer(cells.run(request["code"], request["name"], kind=request["kind"], seconds=request["seconds"]))


def main() -> None:
    """Take standard input and output away from the code that will run, and serve."""
    requests = os.fdopen(os.dup(0), "r", encoding="utf-8")
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nothing, stream)
    key = requests.readline().strip()

    def answer(content: dict[str, Any]) -> None:
        content["megabytes"], content["cpu_seconds"] = _peak(), time.process_time()
        answers.write(json.dumps({"key": key, **content}, default=str) + "\n")
        answers.flush()

    serve(requests, answer)


def _peak() -> float:
    try:
        import resource
    except ImportError:
        return 0.0
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


if __name__ == "__main__":
    main()
