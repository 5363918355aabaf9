"""The files Binder reads, checked without conda: they agree with pyproject.toml and constraints.txt."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
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


def test_post_build_runs_in_an_empty_home(root: Path, tmp_path: Path) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    settings = os.environ | {"HOME": str(tmp_path), "PATH": path}
    result = subprocess.run([root / "postBuild"], env=settings, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "latentbook is ready" in result.stdout
    (overrides,) = tmp_path.rglob("default_setting_overrides.json")
    viewers = json.loads(overrides.read_text())["@jupyterlab/docmanager-extension:plugin"]["defaultViewers"]
    assert viewers["markdown"] == "Jupytext Notebook"


@pytest.mark.slow
def test_pip_resolves_what_binder_installs(root: Path, environment: dict, tmp_path: Path) -> None:
    skip_without_index()
    (pip,) = [line["pip"] for line in environment["dependencies"] if isinstance(line, dict)]
    kept = [line for line in pip if not line.startswith("--extra-index-url")]  # any build of torch will do
    listed = tmp_path / "requirements.txt"
    listed.write_text("\n".join(kept).replace("constraints.txt", str(root / "constraints.txt")) + "\n")
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--quiet", "-r", str(listed)]
    result = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


@pytest.mark.slow
def test_repo2docker_knows_what_to_build(root: Path, tmp_path: Path) -> None:
    skip_without_index()
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    tools = tmp_path / "venv" / "bin"
    command = [tools / "python", "-m", "pip", "install", "--quiet", "jupyter-repo2docker"]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("jupyter-repo2docker cannot be installed here")
    for name in ("environment.yml", "postBuild", "constraints.txt", "pyproject.toml"):
        shutil.copy2(root / name, tmp_path)
    command = [tools / "jupyter-repo2docker", "--no-build", "--no-run", "--debug", "."]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    dockerfile = result.stdout + result.stderr
    assert result.returncode == 0, dockerfile
    assert re.search(r"env update[\s\S]{0,200}environment\.yml", dockerfile)
    assert "conda environment for python=3.11" in dockerfile
    assert "./postBuild" in dockerfile


def skip_without_index() -> None:
    """Skip where pip reaches no package index."""
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--no-deps", "--ignore-installed", "--quiet", "pip"]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("pip reaches no package index")
