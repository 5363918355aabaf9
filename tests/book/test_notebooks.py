"""The pairing of chapters and notebooks: references are there, compared, and measured."""

from __future__ import annotations

import json
import multiprocessing
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest

from tools import notebooks

HEAD = """---
jupytext:
  text_representation:
    extension: .md
    format_name: myst
kernelspec:
  display_name: Python 3 (ipykernel)
  language: python
  name: python3
---

# A tiny chapter

```{code-cell} ipython3
seeds = 5
```
"""
MARKED = """
```{code-cell} ipython3
:tags: [nbval-check-output]

print(f"{seeds} of 5 seeds, gap 0.37 nats")
```
"""


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A book of one chapter, run once."""
    root = tmp_path_factory.mktemp("book")
    (root / "book").mkdir()
    (root / "book" / "tiny.md").write_text(HEAD + MARKED)
    (root / "book" / "prose.md").write_text("# No code here\n")
    notebooks.update(root / "book" / "tiny.md", root)
    return root


@pytest.fixture
def copy(tree: Path, tmp_path: Path) -> Path:
    """A copy of that book, to be spoilt."""
    for path in tree.rglob("*"):
        if path.is_file():
            target = tmp_path / path.relative_to(tree)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    return tmp_path


def check(root: Path) -> str:
    """Join the complaints about the tiny chapter."""
    return "\n".join(notebooks.problems(root / "book" / "tiny.md", root))


def nbval(root: Path) -> subprocess.CompletedProcess[str]:
    """Compare the tiny chapter with its references, with the options of the Makefile."""
    options = ["--nbval-lax", "--nbval-current-env", "-p", "no:cacheprovider", "tiny.ipynb"]
    command = [sys.executable, "-m", "pytest", *options]
    return subprocess.run(command, cwd=root / "book", capture_output=True, text=True, check=False)


def spoil(root: Path, before: str, after: str) -> None:
    """Replace a text in the stored notebook."""
    path = root / "book" / "tiny.ipynb"
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after))


def test_only_files_with_code_are_chapters(tree: Path) -> None:
    assert [path.name for path in notebooks.chapters(tree)] == ["tiny.md"]


def test_a_fresh_pair_has_no_problem_and_keeps_marked_outputs_only(tree: Path) -> None:
    assert check(tree) == ""
    cells = nbformat.read(tree / "book" / "tiny.ipynb", as_version=4).cells
    assert [len(cell.get("outputs", [])) for cell in cells] == [0, 0, 1]


def test_the_measurement_is_complete_and_plausible(tree: Path) -> None:
    row = json.loads((tree / notebooks.MEASURED).read_text())["book/tiny.md"]
    assert 0 < row["seconds"] < 60
    assert 20 < row["megabytes"] < 1500
    assert row["cores"] == (1 if hasattr(notebooks.os, "sched_setaffinity") else notebooks.usable_cores())
    assert row["code"] == notebooks.code_hash(notebooks.from_source(tree / "book" / "tiny.md"))


@pytest.mark.parametrize(
    ("code", "limit", "complaint"),
    [
        ("data = bytearray(400_000_000)\nimport time\ntime.sleep(60)", {"megabytes": 300}, "more than 300 megabytes"),
        ("import subprocess, sys\nsubprocess.run([sys.executable, '-c', 'import time; data = bytearray(400_000_000); "
         "time.sleep(60)'])", {"megabytes": 400}, "more than 400 megabytes"),
        ("import time\ntime.sleep(60)", {"seconds": 3}, "more than 3 seconds"),
    ],
)  # fmt: skip
def test_a_run_beyond_its_limit_is_stopped(tmp_path: Path, code: str, limit: dict[str, float], complaint: str) -> None:
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    cores = notebooks.usable_cores()
    with pytest.raises(ResourceWarning, match=complaint):
        notebooks.execute(notebook, tmp_path, limit)
    assert len(notebook.cells) == 1
    assert notebooks.usable_cores() == cores


def test_memory_counts_what_the_kernel_starts(tmp_path: Path) -> None:
    code = "import subprocess, sys\nrun = 'import time; data = bytearray(300_000_000); time.sleep(1)'\n"
    code += "subprocess.run([sys.executable, '-c', run])"
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    assert notebooks.execute(notebook, tmp_path)["megabytes"] > 350


@pytest.mark.skipif(sys.platform != "linux", reason="forks")
def test_a_process_that_has_yet_to_begin_its_program_is_not_watched() -> None:
    watch = notebooks.Watch({"seconds": 60.0, "megabytes": 1.0})
    copy = multiprocessing.get_context("fork").Process(target=time.sleep, args=(0.8,), daemon=True)
    copy.start()  # with all of this process's memory
    watch.start()
    copy.join()
    watch.done.set()
    watch.join()
    assert (watch.peak, watch.over, copy.exitcode) == (0.0, "", 0)


def test_text_is_renewed_without_running_and_numbers_are_kept(copy: Path) -> None:
    path, stored = copy / "book" / "tiny.md", copy / "book" / "tiny.ipynb"
    before = nbformat.read(stored, as_version=4)
    before.metadata["latentbook"]["glued"] = {"gap": "0.37"}
    nbformat.write(before, stored)
    path.write_text(path.read_text().replace("A tiny chapter", "A gap of {glue:text}`gap`"))
    notebooks.renew_text(path, copy)
    after = nbformat.read(stored, as_version=4)
    assert after.cells[0].source == "# A gap of 0.37"
    assert after.cells[2].outputs == before.cells[2].outputs
    assert check(copy) == ""


def test_text_is_not_renewed_when_the_code_has_changed(copy: Path) -> None:
    path = copy / "book" / "tiny.md"
    path.write_text(path.read_text().replace("seeds = 5", "seeds = 6"))
    with pytest.raises(ValueError, match=r"its code has changed; expected .* --update"):
        notebooks.renew_text(path, copy)


def test_a_directive_nobody_knows_is_found(copy: Path) -> None:
    path = copy / "book" / "tiny.md"
    path.write_text(path.read_text().replace("# A tiny chapter", "# A tiny chapter\n\n:::{mermaid}\n:::"))
    assert "the directive 'mermaid' is not known here" in check(copy)


def test_one_changed_digit_makes_nbval_fail(tree: Path, copy: Path) -> None:
    assert nbval(tree).returncode == 0
    spoil(copy, 'gap 0.37 nats\\n"', 'gap 0.38 nats\\n"')
    assert check(copy) == ""  # it is still in step: only running it can tell
    result = nbval(copy)
    assert result.returncode == 1
    assert "0.38" in result.stdout


def test_a_marked_cell_without_reference_is_found(copy: Path) -> None:
    path = copy / "book" / "tiny.ipynb"
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[-1].outputs = []
    nbformat.write(notebook, path)
    assert "has no reference output" in check(copy)


def test_a_null_execution_count_is_found(copy: Path) -> None:
    path = copy / "book" / "tiny.ipynb"
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[-1].execution_count = None  # nbval would compare nothing and pass
    nbformat.write(notebook, path)
    assert "has no reference output" in check(copy)


def test_changed_code_puts_notebook_and_measurement_out_of_step(copy: Path) -> None:
    path = copy / "book" / "tiny.md"
    path.write_text(path.read_text().replace("seeds = 5", "seeds = 6"))
    assert "out of step" in check(copy)
    assert "belongs to other code cells" in check(copy)


def test_changed_prose_leaves_the_measurement_valid(copy: Path) -> None:
    path = copy / "book" / "tiny.md"
    path.write_text(path.read_text().replace("A tiny chapter", "A small chapter"))
    assert check(copy) == "book/tiny.md: its notebook is out of step"


def test_a_chapter_that_checks_nothing_is_found(copy: Path) -> None:
    (copy / "book" / "tiny.md").write_text(HEAD)
    assert "nothing of it is compared" in check(copy)


@pytest.mark.parametrize(("key", "value"), [("seconds", 61.0), ("megabytes", 1501)])
def test_a_chapter_over_its_budget_is_found(copy: Path, key: str, value: float) -> None:
    table = json.loads((copy / notebooks.MEASURED).read_text())
    table["book/tiny.md"][key] = value
    (copy / notebooks.MEASURED).write_text(json.dumps(table))
    assert f"{key}, over the budget" in check(copy)


def test_missing_notebook_and_missing_measurement_are_found(copy: Path) -> None:
    (copy / notebooks.MEASURED).unlink()
    assert "not measured" in check(copy)
    (copy / "book" / "tiny.ipynb").unlink()
    assert "notebook is missing" in check(copy)


def test_a_notebook_without_chapter_is_found(copy: Path) -> None:
    (copy / "book" / "tiny.md").unlink()
    assert notebooks.orphans(copy) == ["book/tiny.ipynb: no chapter beside it"]


def test_a_failing_cell_leaves_the_old_files_untouched(copy: Path) -> None:
    path = copy / "book" / "tiny.md"
    before = (copy / "book" / "tiny.ipynb").read_bytes(), (copy / notebooks.MEASURED).read_bytes()
    path.write_text(path.read_text().replace("seeds = 5", "seeds = 5 / 0"))
    with pytest.raises(Exception, match="ZeroDivisionError"):
        notebooks.update(path, copy)
    assert before == ((copy / "book" / "tiny.ipynb").read_bytes(), (copy / notebooks.MEASURED).read_bytes())
    assert not list(copy.rglob("*.partial"))


def test_the_books_own_chapters_are_in_step(root: Path) -> None:
    found = [line for path in notebooks.chapters(root) for line in notebooks.problems(path, root)]
    assert not found + notebooks.orphans(root)
