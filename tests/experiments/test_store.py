"""The store: rows survive a kill, tables say how they were made and notice when they are changed."""

from __future__ import annotations

import hashlib
import importlib
import json
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pandas as pd
import pytest

from latentbook.experiments import StoreError, load_results, tradeoff
from latentbook.experiments import _store as store
from latentbook.experiments.__main__ import names
from latentbook.experiments._config import Config
from latentbook.experiments._store import Group, collect
from latentbook.training import _runs


@dataclass(frozen=True)
class Toy(Config):
    """A config with one number that the scale decides."""

    steps: int | None = None
    power: float = 2.0
    scales: ClassVar = {"tiny": {"steps": 2}, "live": {"steps": 20}, "paper": {"steps": 200}}


class Runs:
    """Two groups of runs that count how often they are computed."""

    def __init__(self) -> None:
        self.computed: list[str] = []

    def groups(self) -> list[Group]:
        def group(name: str, factor: float) -> Group:
            settings = [{"method": name, "gamma2": 10.0**k, "seed": k} for k in range(3)]

            def measure(checkpoint: Path | None) -> list[dict]:
                self.computed.append(name)
                return [{"mcc": factor / (3 + s["seed"])} for s in settings]

            return Group(name, settings, measure)

        return [group("one", 1 / 3), group("two", 1e-17)]


def kill_after(monkeypatch: pytest.MonkeyPatch, writes: int) -> None:
    """Let the process die at the moment when it would put one more file in its place."""
    left, original = [writes], _runs.write_atomically

    def dying(path: Path, text: str) -> None:
        if not left[0]:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.with_name(f".{path.name}.partial").write_text(text[: len(text) // 2])
            raise KeyboardInterrupt
        left[0] -= 1
        original(path, text)

    for module in (store, _runs):
        monkeypatch.setattr(module, "write_atomically", dying)


def test_a_scale_fills_what_is_not_given_and_nothing_else():
    assert (Toy().steps, Toy("tiny").steps, Toy("paper", steps=7).steps) == (20, 2, 7)
    assert Toy("tiny").options() == "--scale tiny"
    assert Toy("paper", steps=7, power=3.0, out=Path("/tmp/x")).options() == "--scale paper --steps 7 --power 3.0"
    with pytest.raises(ValueError, match="scale is 'huge'; expected one of"):
        Toy("huge")


def test_without_out_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    table = collect("toy", Toy("tiny"), Runs().groups())
    assert list(table.columns) == ["method", "gamma2", "seed", "mcc", "error"]
    assert len(table) == 6 and not list(tmp_path.iterdir())


@pytest.mark.parametrize("writes", range(9))
def test_killed_at_any_write_and_resumed_it_is_as_if_never_killed(tmp_path, monkeypatch, writes):
    whole = collect("toy", Toy("tiny", out=tmp_path / "whole"), Runs().groups())
    pd.testing.assert_frame_equal(whole, collect("toy", Toy("tiny"), Runs().groups()), check_exact=True)
    config = Toy("tiny", out=tmp_path / "killed")
    with monkeypatch.context() as patch:
        kill_after(patch, writes)
        with pytest.raises(KeyboardInterrupt):
            collect("toy", config, Runs().groups())
    assert load_results("toy", "tiny", folder=config.out) is None
    runs = Runs()
    resumed = collect("toy", config, runs.groups())
    finished = max(0, writes - 1) // 3  # one write claims the folder, three are the rows of a group
    assert runs.computed == ["one", "two"][finished:]
    pd.testing.assert_frame_equal(resumed, whole, check_exact=True)
    names = {path.name for path in (config.out / "toy").iterdir()}
    assert names == {"tiny.csv", "manifest.json"}
    one, two = ((tmp_path / name / "toy" / "tiny.csv").read_bytes() for name in ("whole", "killed"))
    assert one == two


def test_a_finished_table_is_not_computed_again_unless_asked(tmp_path):
    config = Toy("tiny", out=tmp_path)
    first = collect("toy", config, Runs().groups())
    again, afresh = Runs(), Runs()
    pd.testing.assert_frame_equal(collect("toy", config, again.groups()), first, check_exact=True)
    collect("toy", Toy("tiny", out=tmp_path, resume=False), afresh.groups())
    assert (again.computed, afresh.computed) == ([], ["one", "two"])


def test_results_of_another_config_are_not_mixed_in(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        kill_after(patch, 2)
        with pytest.raises(KeyboardInterrupt):
            collect("toy", Toy("tiny", out=tmp_path), Runs().groups())
    other = Toy("tiny", steps=3, out=tmp_path)
    with pytest.raises(StoreError, match=r"config.json has steps = 2; expected 3, or --no-resume"):
        collect("toy", other, Runs().groups())
    collect("toy", Toy("tiny", out=tmp_path), Runs().groups())
    with pytest.raises(StoreError, match=r"manifest.json has steps = 2; expected 3, or --no-resume"):
        collect("toy", other, Runs().groups())
    collect("toy", Toy("tiny", steps=3, out=tmp_path, resume=False), Runs().groups())
    assert load_results("toy", "tiny", folder=tmp_path).attrs["manifest"]["config"]["steps"] == 3


def test_a_setting_newer_than_the_results_had_its_usual_value(tmp_path):
    collect("toy", Toy("tiny", out=tmp_path), Runs().groups())
    path = tmp_path / "toy" / "manifest.json"
    story = json.loads(path.read_text())
    del story["tiny"]["config"]["power"]
    path.write_text(json.dumps(story))
    assert len(collect("toy", Toy("tiny", out=tmp_path), Runs().groups())) == 6
    with pytest.raises(StoreError, match=r"manifest.json has power = 2.0; expected 3.0"):
        collect("toy", Toy("tiny", power=3.0, out=tmp_path), Runs().groups())


@pytest.mark.parametrize("content", ["", "{", "[]", '{"row": {"method": "one"}, "seconds": 1}', '{"seconds": 1}'])
def test_a_damaged_row_is_computed_again(tmp_path, monkeypatch, content):
    whole = collect("toy", Toy("tiny", out=tmp_path / "whole"), Runs().groups())
    config = Toy("tiny", out=tmp_path / "damaged")
    with monkeypatch.context() as patch:
        kill_after(patch, 4)
        with pytest.raises(KeyboardInterrupt):
            collect("toy", config, Runs().groups())
    (config.out / "toy" / "tiny.partial" / "one-0001.json").write_text(content)
    runs = Runs()
    with pytest.warns(RuntimeWarning, match=r"one-0001.json is damaged or another run's"):
        repaired = collect("toy", config, runs.groups())
    assert runs.computed == ["one", "two"]
    pd.testing.assert_frame_equal(repaired, whole, check_exact=True)


def test_a_failed_run_is_a_row_with_its_error(tmp_path):
    group = Group("g", [{"seed": 0}, {"seed": 1}], lambda checkpoint: [{"mcc": 0.5}, {"error": "diverged at step 3"}])
    for config in (Toy("tiny"), Toy("tiny", out=tmp_path)):
        table = collect("toy", config, [group])
        assert list(table["error"]) == ["", "diverged at step 3"]
        assert table["mcc"].isna().tolist() == [False, True]


def test_the_manifest_tells_how_to_make_the_table_again(tmp_path):
    collect("toy", Toy("tiny", power=3.0, out=tmp_path), Runs().groups())
    collect("toy", Toy("live", out=tmp_path), Runs().groups())
    manifest = json.loads((tmp_path / "toy" / "manifest.json").read_text())
    assert list(manifest) == ["tiny", "live"]
    story = manifest["tiny"]
    assert story["config"] == {"scale": "tiny", "steps": 2, "power": 3.0}
    assert story["command"] == ("python -m latentbook.experiments toy --scale tiny --power 3.0 --out book/results")
    assert (story["experiment"], story["scale"], story["schema"]) == ("toy", "tiny", 1)
    assert story["keys"] == ["method", "gamma2", "seed"]
    assert {"package", "commit", "device", "threads", "finished", "seconds"} <= set(story)
    assert {"python", "torch", "numpy", "scipy", "pandas"} == set(story["libraries"])
    content = (tmp_path / "toy" / "tiny.csv").read_bytes()
    assert story["files"] == {"tiny.csv": hashlib.sha256(content).hexdigest()}
    assert str(tmp_path) not in json.dumps(manifest)


def test_a_table_that_was_changed_is_refused(tmp_path):
    collect("toy", Toy("tiny", out=tmp_path), Runs().groups())
    path = tmp_path / "toy" / "tiny.csv"
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))  # a checkout may do this
    assert len(load_results("toy", "tiny", folder=tmp_path)) == 6
    path.write_text(path.read_text().replace("two", "six"))
    with pytest.raises(StoreError, match=r"tiny.csv has the hash .*; expected .*, as in the manifest"):
        load_results("toy", "tiny", folder=tmp_path)
    path.unlink()
    with pytest.raises(StoreError, match=r"tiny.csv has the hash no file"):
        load_results("toy", "tiny", folder=tmp_path)
    (tmp_path / "toy" / "manifest.json").write_text("{")
    with pytest.raises(StoreError, match=r"manifest.json is damaged"):
        load_results("toy", "tiny", folder=tmp_path)


def test_results_are_found_from_a_chapter_and_may_be_absent(tmp_path, monkeypatch):
    book = tmp_path / "book"
    collect("toy", Toy("live", out=book / "results"), Runs().groups())
    for folder in (tmp_path, book, book / "gap"):
        folder.mkdir(exist_ok=True)
        monkeypatch.chdir(folder)
        assert len(load_results("toy", "live")) == 6
        assert load_results("toy", "paper") is None
        assert load_results("no-such-experiment", "live") is None


@pytest.mark.parametrize("name", [name for name in names() if not name.startswith("bench")])
def test_the_groups_of_every_experiment_can_be_sent_to_other_processes(name, monkeypatch):
    module, sent = importlib.import_module(f"latentbook.experiments.{name.replace('-', '_')}"), []
    if not hasattr(module, "collect"):
        pytest.skip("it keeps to one process")
    monkeypatch.setattr(module, "collect", lambda experiment, config, groups: sent.extend(groups))
    module.run(module.Config("tiny"))
    assert sent and all(pickle.loads(pickle.dumps(group)).settings == group.settings for group in sent)


@pytest.mark.slow
def test_two_processes_store_the_table_that_one_does(tmp_path):
    for jobs in (1, 2):
        tradeoff.run(tradeoff.Config("tiny", out=tmp_path / str(jobs), jobs=jobs))
    one, two = (tmp_path / str(jobs) / "tradeoff" / "tiny.csv" for jobs in (1, 2))
    assert one.read_bytes() == two.read_bytes()


def test_a_group_that_raises_is_stored_as_rows_and_tried_again(tmp_path):
    config, lucky = Toy("tiny", out=tmp_path), []

    def measure(checkpoint: Path | None) -> list[dict]:
        if not lucky:
            raise RuntimeError("no luck")
        return [{"mcc": 0.5}]

    groups = [*Runs().groups(), Group("three", [{"method": "three", "seed": 0}], measure)]
    with pytest.warns(RuntimeWarning, match="no luck"):
        table = collect("toy", config, groups)
    assert list(table["error"]) == [""] * 6 + ["RuntimeError: no luck"]
    assert len(load_results("toy", "tiny", folder=tmp_path)) == 7
    lucky.append(True)
    again = Runs()
    table = collect("toy", config, [*again.groups(), groups[-1]])
    assert list(table["error"]) == [""] * 7 and again.computed == []
    assert not (tmp_path / "toy" / "tiny.partial").exists()
