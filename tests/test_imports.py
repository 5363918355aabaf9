"""The package's floors, and that whatever is imported is in the repository."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

LINT = "from importlinter.cli import lint_imports; import sys; sys.exit(lint_imports(no_cache=True))"


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run import-linter on the configuration in a folder."""
    return subprocess.run([sys.executable, "-c", LINT], cwd=folder, capture_output=True, text=True, check=False)


def test_imports_only_go_down(root: Path) -> None:
    result = lint(root)
    assert result.returncode == 0, result.stdout + result.stderr


def test_an_import_upwards_is_found(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "latentbook"
    package.mkdir()
    for name, text in {"__init__": "", "nn": "import latentbook.training\n", "training": ""}.items():
        (package / f"{name}.py").write_text(text)
    settings = (root / "pyproject.toml").read_text()
    (tmp_path / "pyproject.toml").write_text(settings[settings.index("[tool.importlinter]") :])
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    result = lint(tmp_path)
    assert result.returncode != 0
    assert "latentbook.nn -> latentbook.training" in result.stdout


def test_importing_the_package_changes_no_global_state() -> None:
    code = """
import torch, numpy as np
before = torch.get_num_threads(), torch.get_default_dtype(), torch.initial_seed(), str(np.random.get_state()[1][:5])
import importlib, pkgutil, latentbook
for module in pkgutil.walk_packages(latentbook.__path__, "latentbook."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
after = torch.get_num_threads(), torch.get_default_dtype(), torch.initial_seed(), str(np.random.get_state()[1][:5])
assert before == after, (before, after)
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def imported(path: Path) -> set[str]:
    """Name every module a file imports, and every name it imports from one (it may be a module)."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def test_what_is_imported_is_tracked_by_git(root: Path) -> None:
    command = ["git", "-C", str(root), "ls-files", "-z"]
    listed = subprocess.run(command, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    tracked = set(listed.stdout.split("\0"))
    places = {"latentbook": root / "src", "tests": root, "tools": root}
    files = [path for folder in ("src", "tests", "tools", "book") for path in (root / folder).rglob("*.py")]
    missing = set()
    for file in files:
        for name in imported(file):
            if name.split(".")[0] in places:
                stem = places[name.split(".")[0]].joinpath(*name.split("."))
                for path in (stem.with_suffix(".py"), stem / "__init__.py"):
                    if path.exists() and path.relative_to(root).as_posix() not in tracked:
                        missing.add(f"{path.relative_to(root)}, imported by {file.relative_to(root)}")
    assert not missing, "not tracked by git: " + "; ".join(sorted(missing))
