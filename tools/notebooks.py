"""Keep the notebooks (book/**/*.ipynb) in step with the chapters (book/**/*.md), and measure what a chapter costs.

The MyST Markdown file is the source. The notebook beside it is generated: its text is what any notebook can show
(``book/assets/readable.py``), and it holds the reference outputs of the cells tagged ``nbval-check-output``, which
nbval compares, and no other output. Chapters are run as on a free machine of Binder: on one CPU, within 2 GB.

    python tools/notebooks.py --check            # in step? references there? measured, and within the budget?
    python tools/notebooks.py --update [PATH]    # run the chapter once, rewrite references and measurement
    python tools/notebooks.py --text [PATH]      # run nothing: rewrite the text, where the code has not changed
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path

import jupytext
import nbformat
import psutil
from nbclient import NotebookClient
from nbclient.exceptions import DeadKernelError
from nbformat import NotebookNode

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "book" / "assets"))
import readable  # noqa: E402

MEASURED = Path("book", "assets", "measured.json")
TAG = "nbval-check-output"
DROP = ("image/", "application/vnd.jupyter.widget")
BUDGET = {"seconds": 60.0, "megabytes": 1500.0}
LIMIT = {"seconds": 120.0, "megabytes": 2000.0}  # beyond this a run is stopped
# on Linux the kernel process itself is asked: ru_maxrss there begins at the peak of the process that started it
ASK_MEMORY = """\
import pathlib as _pathlib, re as _re, resource as _resource
_status = _pathlib.Path("/proc/self/status")
_peak = _re.search(r"VmHWM:\\s+(\\d+)", _status.read_text()) if _status.exists() else None
print(_peak[1] if _peak else _resource.getrusage(_resource.RUSAGE_SELF).ru_maxrss)
"""


def chapters(root: Path = ROOT) -> list[Path]:
    """List the MyST files below ``book`` that carry a kernelspec: those with code."""
    files = [path for path in sorted((root / "book").rglob("*.md")) if not hidden(path.relative_to(root))]
    return [path for path in files if "kernelspec" in jupytext.read(path, fmt="md:myst").metadata]


def hidden(path: Path) -> bool:
    """Tell whether a part of the path starts with a dot."""
    return any(part.startswith(".") for part in path.parts)


def marked(cell: NotebookNode) -> bool:
    """Tell whether a cell's output is compared with a reference."""
    return cell.cell_type == "code" and (
        TAG in cell.metadata.get("tags", []) or "# NBVAL_CHECK_OUTPUT" in cell.source.splitlines()
    )


def from_source(chapter: Path) -> NotebookNode:
    """Read a chapter as a notebook without outputs and with stable cell ids."""
    notebook = jupytext.read(chapter, fmt="md:myst")
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"{chapter.stem}-{number:03d}"[-64:]
    notebook.metadata.pop("jupytext", None)
    notebook.metadata["language_info"] = {"name": "python"}
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    return notebook


def code_hash(notebook: NotebookNode) -> str:
    """Hash the code cells: a measurement belongs to exactly this code."""
    code = [cell.source for cell in code_cells(notebook)]
    return hashlib.sha256(json.dumps(code).encode()).hexdigest()[:16]


def write_atomically(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)


class OneCPU:
    """Within it this process and what it starts share one CPU: the idlest, where the system can say and set it."""

    def __enter__(self) -> None:
        self.before = os.sched_getaffinity(0) if hasattr(os, "sched_setaffinity") else None
        if self.before:
            load = psutil.cpu_percent(interval=0.2, percpu=True)
            os.sched_setaffinity(0, {min(self.before, key=lambda cpu: load[cpu] if cpu < len(load) else 100.0)})

    def __exit__(self, *_: object) -> None:
        if self.before:
            os.sched_setaffinity(0, self.before)


class Watch(threading.Thread):
    """Watches the resident memory and the time of all processes started after it, and stops them beyond a limit.

    Args:
        limit: the most ``seconds`` and ``megabytes``.

    Attributes:
        peak: the most megabytes seen, all these processes together.
        over: what was exceeded, ``""`` while nothing was.
    """

    def __init__(self, limit: Mapping[str, float]) -> None:
        super().__init__(daemon=True)
        self.limit, self.peak, self.over, self.program = limit, 0.0, "", psutil.Process().cmdline()
        self.others, self.begin, self.done = set(self.children()), time.perf_counter(), threading.Event()

    def children(self) -> list[psutil.Process]:
        """List this process's descendants."""
        return psutil.Process().children(recursive=True)

    def counts(self, process: psutil.Process) -> bool:
        """Whether a process is to be watched; one that has yet to begin its own program still has our memory."""
        try:
            return process not in self.others and process.cmdline() != self.program
        except psutil.Error:  # it has just ended
            return False

    def run(self) -> None:
        """Look ten times a second."""
        while not self.done.wait(0.1):
            mine, memory = list(filter(self.counts, self.children())), 0
            for one in mine:
                try:
                    memory += one.memory_info().rss
                except psutil.Error:  # it has just ended
                    continue
            self.peak = max(self.peak, memory / 1e6)
            found = {"seconds": time.perf_counter() - self.begin, "megabytes": self.peak}
            self.over = next((f"more than {most:g} {key}" for key, most in self.limit.items() if found[key] > most), "")
            if self.over:
                for one in mine:
                    one.kill()
                return


def execute(notebook: NotebookNode, folder: Path, limit: Mapping[str, float] = LIMIT) -> dict[str, float]:
    """Run a notebook in place, in a fresh kernel, on one CPU.

    Args:
        notebook: what to run; its outputs are written into it.
        folder: where it runs.
        limit: the most ``seconds`` and ``megabytes`` of resident memory it may take.

    Returns:
        seconds: wall time, the kernel's start included; megabytes: peak resident memory, of the kernel and of what it
        starts; cores.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell failed.
        ResourceWarning: it was stopped, since it took more than it may.
    """
    question = nbformat.v4.new_code_cell(ASK_MEMORY)
    notebook.cells.append(question)
    watch = Watch(limit)
    watch.start()
    try:
        with OneCPU():
            resources = {"metadata": {"path": str(folder)}}
            NotebookClient(notebook, timeout=600, kernel_name="python3", resources=resources).execute()
            cores = usable_cores()
    except DeadKernelError as error:
        raise ResourceWarning(f"stopped: it took {watch.over}") if watch.over else error from None
    finally:
        seconds = time.perf_counter() - watch.begin
        watch.done.set()
        watch.join()
        notebook.cells.remove(question)
    unit = 1 if sys.platform == "darwin" else 1024  # ru_maxrss: bytes on macOS, kibibytes on Linux
    peak = max(watch.peak, int(question.outputs[0]["text"]) * unit / 1e6)
    return {"seconds": round(seconds, 1), "megabytes": round(peak), "cores": cores}


def usable_cores() -> int:
    """Count the cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def rewrite(notebook: NotebookNode, chapter: Path, root: Path, glued: Mapping[str, str]) -> NotebookNode:
    """Put a chapter's text into words that any notebook can show, in place; keep the glued numbers it holds.

    Raises:
        ValueError: the text holds a directive, a role or a label that is not known.
    """
    book = readable.Book(root)
    reader = readable.Reader(book, book.name(chapter), glued)
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = reader.text(cell.source)
    notebook.cells = [cell for cell in notebook.cells if cell.source.strip()]
    notebook.metadata["latentbook"] = {"glued": dict(sorted(glued.items()))}
    return notebook


def keep_references(notebook: NotebookNode) -> None:
    """Drop every output but the comparable part of marked cells."""
    notebook.metadata.pop("widgets", None)
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code" and not marked(cell):
            cell.outputs, cell.execution_count = [], None
        elif cell.cell_type == "code":
            for output in cell.outputs:
                for mime in [mime for mime in output.get("data", {}) if mime.startswith(DROP)]:
                    del output["data"][mime]


def read_measured(root: Path) -> dict[str, dict]:
    """Read the table of measurements, empty when there is none yet."""
    path = root / MEASURED
    return json.loads(path.read_text()) if path.exists() else {}


def update(chapter: Path, root: Path = ROOT) -> dict[str, float]:
    """Run one chapter; rewrite its notebook and its measurement. Nothing is written when a cell fails."""
    notebook = from_source(chapter)
    row = execute(notebook, chapter.parent) | {"code": code_hash(notebook)}
    glued = readable.glued_values(notebook)
    keep_references(notebook)
    store(rewrite(notebook, chapter, root, glued), chapter)
    table = read_measured(root) | {chapter.relative_to(root).as_posix(): row}
    table = {name: table[name] for name in sorted(table) if (root / name).exists()}
    write_atomically(root / MEASURED, json.dumps(table, indent=1) + "\n")
    return row


def store(notebook: NotebookNode, chapter: Path) -> None:
    """Write the notebook beside a chapter."""
    nbformat.validate(notebook)
    write_atomically(chapter.with_suffix(".ipynb"), nbformat.writes(notebook) + "\n")


def renew_text(chapter: Path, root: Path = ROOT) -> None:
    """Rewrite the text of a chapter's notebook and keep its outputs.

    Raises:
        ValueError: the code has changed, so that the outputs are those of other cells.
    """
    notebook, old = from_source(chapter), nbformat.read(chapter.with_suffix(".ipynb"), as_version=4)
    if code_hash(notebook) != code_hash(old):
        raise ValueError(f"{chapter}: its code has changed; expected the code of its notebook, or --update")
    for new, kept in zip(code_cells(notebook), code_cells(old), strict=True):
        new.outputs, new.execution_count = kept.outputs, kept.execution_count
    store(rewrite(notebook, chapter, root, glued_numbers(old)), chapter)


def code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    """List the cells with code."""
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def glued_numbers(notebook: NotebookNode) -> dict[str, str]:
    """Read the glued numbers that a stored notebook keeps."""
    return notebook.metadata.get("latentbook", {}).get("glued", {})


def problems(chapter: Path, root: Path = ROOT) -> list[str]:
    """Say what is wrong with a chapter's notebook and measurement; nothing, when all is well."""
    name = chapter.relative_to(root).as_posix()
    path, source = chapter.with_suffix(".ipynb"), from_source(chapter)
    if not any(marked(cell) for cell in source.cells):
        return [f"{name}: no cell is tagged {TAG}, so nothing of it is compared"]
    if not path.exists():
        return [f"{name}: its notebook is missing"]
    notebook, found = nbformat.read(path, as_version=4), []
    try:
        rewrite(source, chapter, root, glued_numbers(notebook))
    except ValueError as error:
        return [str(error)]
    parts = [[(c.cell_type, c.source, dict(c.metadata)) for c in n.cells] for n in (notebook, source)]
    if parts[0] != parts[1] or notebook.metadata.get("kernelspec") != source.metadata.get("kernelspec"):
        found.append(f"{name}: its notebook is out of step")
    for number, cell in enumerate(notebook.cells):
        if marked(cell) and (cell.execution_count is None or not cell.outputs):  # nbval would compare nothing
            found.append(f"{name}: cell {number} is marked but has no reference output")
    row = read_measured(root).get(name)
    if row is None:
        return [*found, f"{name}: not measured"]
    if row["code"] != code_hash(source):
        found.append(f"{name}: its measurement belongs to other code cells")
    for key, most in BUDGET.items():
        if row[key] > most:
            found.append(f"{name}: {row[key]} {key}, over the budget of {most:g}")
    return found


def orphans(root: Path = ROOT) -> list[str]:
    """Name the notebooks below ``book`` that no chapter stands beside."""
    files = [path for path in sorted((root / "book").rglob("*.ipynb")) if not hidden(path.relative_to(root))]
    alone = [path.relative_to(root).as_posix() for path in files if not path.with_suffix(".md").exists()]
    return [f"{name}: no chapter beside it" for name in alone]


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--check", action="store_true", help="say what is out of step; change nothing")
    what.add_argument("--update", action="store_true", help="run the chapters and rewrite references and measurements")
    what.add_argument("--text", action="store_true", help="rewrite the text of the notebooks; run nothing")
    parser.add_argument("paths", nargs="*", type=Path, help="chapters (.md); all of them when none is named")
    given = parser.parse_args(arguments)
    files = [path.resolve().with_suffix(".md") for path in given.paths] or chapters()
    for path in files:
        if not path.exists():
            parser.error(f"no such chapter: {path}")
    if given.update:
        for path in files:
            row = update(path)
            print(f"{path.relative_to(ROOT)}: {row['seconds']} s, {row['megabytes']} MB", flush=True)
    if given.text:
        for path in files:
            renew_text(path)
    found = [line for path in files for line in problems(path)] + ([] if given.paths else orphans())
    for line in found:
        print(line, file=sys.stderr)
    if found:
        print("`make notebooks` runs the chapters and rewrites all; after a change of text alone,", file=sys.stderr)
        print("`python tools/notebooks.py --text` is enough", file=sys.stderr)
    else:
        print(f"{len(files)} notebooks in step")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
