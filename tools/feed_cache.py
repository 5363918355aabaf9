"""A pytest plugin: what nbval has just computed, the book need not compute again.

``pytest -p tools.feed_cache --nbval-lax --feed-cache=FOLDER book`` hands the outputs of every notebook whose cells all
passed to the jupyter-cache in FOLDER, together with the state of its widgets. The book's build then finds them there.
"""

from __future__ import annotations

import copy
import json
from pathlib import Path

import nbformat
import pytest

ASK_WIDGETS = """\
import json as _json, sys as _sys
_widgets = _sys.modules.get("ipywidgets")
print(_json.dumps(_widgets.Widget.get_manager_state(drop_defaults=True) if _widgets else {}))
"""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--feed-cache``."""
    parser.addoption("--feed-cache", metavar="FOLDER", help="hand passed notebooks to the jupyter-cache in FOLDER")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo):
    """Collect a passed cell's outputs; store the notebook after its last cell."""
    report = yield
    folder = item.config.getoption("feed_cache", None)
    if folder and call.when == "call" and hasattr(item.parent, "kernel"):
        passed = item.parent.__dict__.setdefault("passed_outputs", {})
        if report.passed:
            passed[item.cell_num] = copy.deepcopy(item.test_outputs)
        if len(passed) == sum(cell.cell_type == "code" for cell in item.parent.nb.cells):
            store(item.parent, passed, folder)
    return report


def store(notebook_file, outputs: dict[int, list], folder: str) -> None:
    """Write one executed notebook into the jupyter-cache."""
    from jupyter_cache import get_cache
    from jupyter_cache.base import CacheBundleIn

    notebook = copy.deepcopy(notebook_file.nb)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    for number, cell in enumerate(code):
        cell.outputs, cell.execution_count = [nbformat.from_dict(output) for output in outputs[number]], number + 1
        for output in cell.outputs:
            if output.output_type == "execute_result":
                output.execution_count = number + 1
    state = json.loads(ask(notebook_file.kernel, ASK_WIDGETS) or "{}")
    if state.get("state"):
        notebook.metadata["widgets"] = {"application/vnd.jupyter.widget-state+json": state}
    source = str(Path(notebook_file.path).with_suffix(".md"))
    get_cache(folder).cache_notebook_bundle(CacheBundleIn(notebook, source), check_validity=False, overwrite=True)


def ask(kernel, code: str) -> str:
    """Run code in nbval's kernel and return what it printed."""
    text, message_id = [], kernel.execute_cell_input(code, allow_stdin=False)
    kernel.await_reply(message_id, timeout=60)
    while True:
        message = kernel.get_message("iopub", timeout=10)
        if message["parent_header"].get("msg_id") != message_id:
            continue
        if message["msg_type"] == "status" and message["content"]["execution_state"] == "idle":
            return "".join(text)
        if message["msg_type"] == "stream":
            text.append(message["content"]["text"])
