"""The package imports without nbgrader, and the commands say what to install."""

from __future__ import annotations

import subprocess
import sys

import pytest

BLOCK = """
import sys
for name in ("IPython", "jinja2", "jupytext", "nbconvert", "nbformat", "nbgrader", "torch"):
    sys.modules[name] = None
"""


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", BLOCK + code], capture_output=True, text=True, check=False)


def test_what_tests_need_imports_without_extras() -> None:
    code = "from latentbook.classroom import Planted, written_here\nwritten_here(lambda x: x)"
    result = run(code)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("command", ["check", "release", "--help"])
def test_commands_say_what_to_install(command: str) -> None:
    result = run(f"from latentbook.classroom.__main__ import main\nsys.exit(main([{command!r}]))")
    assert result.returncode == 2
    assert 'pip install "latentbook[classroom]"' in result.stderr


def test_help_lists_the_commands() -> None:
    command = [sys.executable, "-m", "latentbook.classroom", "--help"]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    for name in (
        "release",
        "check",
        "course",
        "collect",
        "autograde",
        "feedback",
        "export",
        "summary",
        "slides",
        "figures",
    ):
        assert name in result.stdout
