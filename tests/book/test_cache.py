"""Executed chapters are forgotten when the package, the assets or the results change, and only then."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools import cache


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A tree with a package, assets and a build."""
    for name in ("src/p/a.py", "src/p/style.mplstyle", "book/assets/x.css", "book/results/r.csv", "constraints.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("1")
    assert cache.refresh(tmp_path)
    (tmp_path / "_build" / ".jupyter_cache").mkdir()
    (tmp_path / "_build" / ".doctrees").mkdir()
    return tmp_path


def test_nothing_is_dropped_when_nothing_changed(tree: Path) -> None:
    (tree / "src" / "p" / "a.py").touch()
    (tree / "src" / "p" / "__pycache__").mkdir()
    (tree / "src" / "p" / "__pycache__" / "a.pyc").write_text("x")
    (tree / "book" / "assets" / "measured.json").write_text("{}")
    assert not cache.refresh(tree)
    assert (tree / "_build" / ".jupyter_cache").exists()


@pytest.mark.parametrize(
    "name",
    [
        "src/p/a.py",
        "src/p/style.mplstyle",
        "src/p/new.py",
        "book/assets/x.css",
        "book/results/r.csv",
        "constraints.txt",
    ],
)
def test_a_change_drops_cache_and_doctrees(tree: Path, name: str) -> None:
    (tree / name).write_text("2")
    assert cache.refresh(tree)
    assert not (tree / "_build" / ".jupyter_cache").exists()
    assert not (tree / "_build" / ".doctrees").exists()


def test_a_deleted_module_counts_as_a_change(tree: Path) -> None:
    (tree / "src" / "p" / "a.py").unlink()
    assert cache.refresh(tree)
