"""The stored results are the ones their manifests describe, and every experiment they name is there to be rerun."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
import tyro

from latentbook.experiments import load_results
from latentbook.experiments.__main__ import _module, names

RESULTS = Path(__file__).resolve().parents[2] / "book" / "results"
TABLES = sorted(RESULTS.glob("*/*.csv"))


def test_there_is_nothing_but_tables_and_manifests():
    found = {path for path in RESULTS.rglob("*") if path.is_file() and ".partial" not in str(path)}
    assert found == {*TABLES, *(table.with_name("manifest.json") for table in TABLES)}


@pytest.mark.parametrize("path", TABLES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_table_and_manifest_agree(path):
    table = load_results(path.parent.name, path.stem, folder=RESULTS)  # checks the hashes
    story = table.attrs["manifest"]
    assert len(table) > 0 and table.columns[-1] == "error"
    assert "seed" in story["keys"] or path.parent.name == "bench"  # which times and does not train
    assert not table.duplicated(subset=story["keys"]).any()
    assert (story["experiment"], story["scale"]) == (path.parent.name, path.stem)
    assert "/" not in story["device"]


@pytest.mark.parametrize("path", TABLES, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_the_command_gives_the_config_that_was_run(path):
    story = json.loads(path.with_name("manifest.json").read_text())[path.stem]
    *_, module, name = shlex.split(story["command"])[:4]
    assert module == "latentbook.experiments" and name in names()
    config = tyro.cli(_module(name).Config, args=shlex.split(story["command"])[4:])
    assert story["config"].items() <= config.plain().items()  # a setting that is newer has its usual value
