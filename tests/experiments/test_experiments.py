"""Every experiment at tiny size, and the command line."""

from __future__ import annotations

import importlib

import pytest

from latentbook.experiments.__main__ import main, names

STORED = [name for name in names() if name != "bench"]


def test_the_papers_experiments_are_there():
    expected = {"self-consistency", "elbo-gap", "moebius-gamma", "moebius-linear-map", "prior-choice", "sprites-gamma"}
    assert expected <= set(STORED)


@pytest.mark.parametrize("name", STORED)
def test_every_experiment_runs_at_tiny_size_and_is_stored(name, tmp_path):
    module = importlib.import_module(f"latentbook.experiments.{name.replace('-', '_')}")
    table = module.run(module.Config("tiny", out=tmp_path))
    keys = table.attrs["manifest"]["keys"]
    assert {"method", "seed"} <= set(keys) and not table.duplicated(subset=keys).any()
    assert list(table["error"].unique()) == [""]
    assert table["elbo"].notna().all()
    assert "contrast" not in table or table["contrast"].ge(0).all()
    for column in {"mcc", "mcc_mean", "mcc_spearman"} & set(table):
        assert table[column].dropna().between(0, 1).all()
    assert {path.name for path in (tmp_path / name).iterdir()} == {"tiny.csv", "manifest.json"}


@pytest.mark.parametrize("name", STORED)
@pytest.mark.parametrize("scale", ["tiny", "live", "paper"])
def test_every_scale_fills_every_field_that_has_no_default(name, scale):
    module = importlib.import_module(f"latentbook.experiments.{name.replace('-', '_')}")
    config = module.Config(scale)
    assert set(config.scales["tiny"]) == set(config.scales["live"]) == set(config.scales["paper"])
    assert set(config.scales[scale]) <= set(config.plain())
    if scale == "live":
        assert config.seeds >= 5


def test_the_command_line_lists_explains_and_runs(capsys, tmp_path):
    assert main([]) == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in names())
    assert main(["bench", "--scale", "tiny", "--sections", "ensemble"]) == 0
    assert "small MLP, 2 seeds" in capsys.readouterr().out
    assert main(["no-such-thing"]) == 2
    assert "expected one of" in capsys.readouterr().err
    for name in ("bench", *STORED):
        with pytest.raises(SystemExit) as stop:
            main([name, "--help"])
        assert stop.value.code == 0
    capsys.readouterr()
    options = ["--scale", "tiny", "--methods", "optimum", "--gamma2", "10", "--out", str(tmp_path)]
    assert main(["elbo-gap", *options]) == 0
    assert "optimum" in capsys.readouterr().out
    assert (tmp_path / "elbo-gap" / "tiny.csv").exists()
