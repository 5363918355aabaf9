"""The files Binder reads, checked without conda: they agree with pyproject.toml and constraints.txt."""

from __future__ import annotations

import os
import re
import tomllib
from pathlib import Path

import pytest
import yaml


@pytest.fixture(scope="module")
def environment(root: Path) -> dict:
    """Read environment.yml."""
    return yaml.safe_load((root / "environment.yml").read_text())


@pytest.fixture(scope="module")
def project(root: Path) -> dict:
    """Read pyproject.toml's project table."""
    return tomllib.loads((root / "pyproject.toml").read_text())["project"]


@pytest.fixture(scope="module")
def constraints(root: Path) -> dict[str, str]:
    """Read constraints.txt: normalised name to version."""
    lines = [line for line in (root / "constraints.txt").read_text().splitlines() if line and not line.startswith("#")]
    pairs = [line.split("==") for line in lines]
    assert all(len(pair) == 2 for pair in pairs), "every line of constraints.txt pins one version"
    return {normalise(name): version for name, version in pairs}


def normalise(name: str) -> str:
    """Write a package's name as pip compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def requirement(text: str) -> str:
    """Take the name out of a requirement."""
    return normalise(re.match(r"[\w.-]+", text).group())


def test_binder_installs_the_pinned_python_torch_and_book(environment: dict, constraints: dict[str, str]) -> None:
    assert set(environment) == {"name", "channels", "dependencies"}
    plain = [line for line in environment["dependencies"] if isinstance(line, str)]
    (pip,) = [line["pip"] for line in environment["dependencies"] if isinstance(line, dict)]
    assert plain == ["python=3.11", "pip"]
    assert f"torch=={constraints['torch']}" in pip
    assert "--constraint constraints.txt" in pip
    assert pip[-1] == "-e .[book]"
    assert pip.index(f"torch=={constraints['torch']}") < pip.index("-e .[book]")


def test_everything_required_is_pinned(project: dict, constraints: dict[str, str]) -> None:
    wanted = project["dependencies"] + [line for group in project["optional-dependencies"].values() for line in group]
    assert not [line for line in wanted if requirement(line) not in constraints]


def test_classroom_tools_stay_out_of_the_book(project: dict) -> None:
    extras = project["optional-dependencies"]
    assert {"book", "test", "dev", "classroom"} <= set(extras)
    assert "nbgrader" not in {requirement(line) for line in extras["book"]}


def test_post_build_is_executable_and_opens_chapters_as_notebooks(root: Path) -> None:
    path = root / "postBuild"
    assert os.access(path, os.X_OK)
    assert "set -euo pipefail" in path.read_text()
    assert "jupytext-config set-default-viewer markdown myst" in path.read_text()


def test_no_file_of_the_house_names_a_repository(root: Path) -> None:
    names = ["README.md", "CONTRIBUTING.md", "_config.yml", "environment.yml", "Makefile", "CITATION.cff"]
    names += [str(path.relative_to(root)) for path in (root / ".github" / "workflows").glob("*.yml")]
    address = re.compile(r"(?:github|gitlab)\.(?:com|io)[/:][\w-]+/|\w+\.github\.io")
    assert not [name for name in names if address.search((root / name).read_text())]
