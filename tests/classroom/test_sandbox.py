"""Cells run one by one; what they do to their process, the system or each other costs nobody else anything."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from latentbook.classroom.sandbox import Cell, Limits, Run, run_cells

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="the guards of Linux")
QUICK = Limits(cell_seconds=1.5, seconds=60, gigabytes=2, file_megabytes=1)


def states(*codes: str, limits: Limits = QUICK) -> tuple[list[str], Run]:
    run = run_cells([Cell(f"cell-{number}", code) for number, code in enumerate(codes)], limits)
    return [outcome.state for outcome in run.outcomes], run


def test_outputs_errors_and_what_is_kept() -> None:
    found, run = states("x = 2\nprint('hello')\nx + 1", "x / 0", "y = (", "print(x)", "import sys; sys.exit()")
    assert found == ["passed", "failed", "failed", "passed", "failed"]
    printed, shown = run.outcomes[0].outputs
    assert printed["text"] == "hello\n" and shown["data"]["text/plain"] == "3"
    assert run.outcomes[1].error["name"] == "ZeroDivisionError"
    assert run.outcomes[3].outputs[0]["text"] == "2\n"


def test_figures_are_shown() -> None:
    found, run = states("import matplotlib.pyplot as plt\n_ = plt.plot([1, 2])", limits=Limits(cell_seconds=30))
    assert found == ["passed"]
    assert "image/png" in run.outcomes[0].outputs[0]["data"]


def test_a_cell_that_ends_the_process_is_left_out_and_the_others_run() -> None:
    found, _ = states("a = 1", "import os; os._exit(0)", "import os, signal; os.kill(os.getpid(), 11)", "print(a)")
    assert found[0] == "passed" and found[1] == "died" and found[3] == "passed"


def test_endless_loops_are_stopped() -> None:
    found, run = states("while True:\n    try:\n        pass\n    except Exception:\n        pass", "1")
    assert found == ["timeout", "passed"]
    stubborn = "while True:\n    try:\n        while True: pass\n    except BaseException: pass"
    found, run = states(stubborn, "1")
    assert found == ["timeout", "passed"]
    assert run.seconds < 40


def test_the_whole_notebook_has_a_limit_too() -> None:
    found, run = states("import time", *["time.sleep(1.2)"] * 9, limits=Limits(cell_seconds=2, seconds=4))
    assert found[0] == "passed" and found[-1] == "not run"
    assert run.seconds < 20


def test_much_output_is_cut() -> None:
    found, run = states("print('x' * 10**7)")
    assert found == ["passed"]
    assert len(run.outcomes[0].outputs[0]["text"]) < 30_000


def test_tests_see_given_functions_and_builtins_as_they_were() -> None:
    cells = [
        Cell("given", "import numpy as np\ndef reference(x):\n    return x", "given"),
        Cell("evil", "import builtins\nreference = lambda x: 5\nbuiltins.max = min\nabs = lambda x: 0\n"),
        Cell(
            "eviler", "np.allclose = lambda *_: True\nimport latentbook.classroom as c\nc.written_here = lambda f: None"
        ),
        Cell("test", "assert (reference(1), max(1, 2), abs(-3)) == (1, 2, 3) and not np.allclose(1, 2)", "test"),
        Cell("asked", "from latentbook.classroom import written_here\nwritten_here(sum)", "test"),
        Cell("own", "assert reference(1) == 5"),
    ]
    run = run_cells(cells, QUICK)
    assert [outcome.state for outcome in run.outcomes] == ["passed"] * 4 + ["failed", "passed"]
    assert {"builtins.max", "numpy.allclose", "latentbook.classroom.written_here"} <= set(run.outcomes[3].restored)


def test_tests_leave_no_source_behind() -> None:
    find = "import linecache, sys\nprint('sec' 'ret' in str(linecache.cache) + str(get_ipython().user_ns.get('In')))"
    run = run_cells([Cell("t", "assert 1 == 2, 'secret'", "test"), Cell("own", find)], QUICK)
    assert run.outcomes[0].error["line"] == 1
    assert run.outcomes[1].outputs[0]["text"] == "False\n"


def test_answers_cannot_be_forged_by_printing() -> None:
    forged = """
import os
for stream in range(64):
    try:
        os.write(stream, b'{"error": null}\\n')
    except OSError:
        pass
"""
    run = run_cells([Cell("evil", forged), Cell("test", "assert False", "test")], QUICK)
    assert run.outcomes[1].state == "failed"


@LINUX
def test_memory_and_files_are_limited() -> None:
    found, run = states(
        "x = bytearray(10**11)", "open('large', 'wb').write(b'x' * 10**8)", "open('small', 'w').write('x')"
    )
    assert found == ["failed", "failed", "passed"]
    assert {"memory", "files"} <= run.held


@LINUX
def test_nothing_is_written_or_read_elsewhere(tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("hidden")
    codes = [
        f"open({str(secret)!r}).read()",
        f"open({str(tmp_path / 'new')!r}, 'w')",
        f"import os; os.remove({str(secret)!r})",
    ]
    found, run = states(*codes)
    if "folders" not in run.held:
        assert any("folder" in line for line in run.missing)
        pytest.skip("no Landlock here")
    assert found == ["failed"] * 3
    assert secret.read_text() == "hidden" and not (tmp_path / "new").exists()


@LINUX
def test_no_network_and_no_signals_to_others() -> None:
    parent = os.getpid()
    connect = "import socket\nsocket.create_connection(('127.0.0.1', 9), timeout=1)"
    found, run = states(connect, f"import os\nos.kill({parent}, 9)")
    if "network" in run.held:
        assert found[0] == "failed"
    if "signals" in run.held:
        assert found[1] == "failed"


def test_the_environment_is_not_handed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_KEY", "1234")
    _, run = states("import os\nprint('SECRET_KEY' in os.environ)")
    assert run.outcomes[0].outputs[0]["text"] == "False\n"


def test_limits_are_positive() -> None:
    with pytest.raises(ValueError, match="seconds is 0; expected a positive number"):
        Limits(seconds=0)
