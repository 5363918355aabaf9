"""What the experiments share: members keep to their seeds, failures become rows, an interrupted group continues."""

from __future__ import annotations

import math

import pandas as pd
import pytest
import torch

from latentbook.data import toys
from latentbook.experiments import moebius_gamma
from latentbook.experiments._ima import Plain, Recipe, decoder_jacobian, grid, held_out, rows, scores, train
from latentbook.jacobian import jacobian
from latentbook.mixings import Moebius
from latentbook.models import NormalPrior, UniformPrior
from latentbook.random import Generator
from latentbook.training import _runs


def draw(generator: Generator, n: int) -> toys.Sample:
    return toys.mixed(generator, n, Moebius.published(), "uniform")


def test_the_grid_is_every_combination_in_order():
    assert grid(a=(1, 2), b="xy") == [{"a": 1, "b": "x"}, {"a": 1, "b": "y"}, {"a": 2, "b": "x"}, {"a": 2, "b": "y"}]


@pytest.mark.parametrize("recipe", [Recipe(5), Plain(5)])
def test_a_member_does_not_depend_on_the_others(recipe):
    together, alone = grid(gamma2=[1e2, 1e4], seed=[3, 4]), grid(gamma2=[1e4], seed=[4])
    results = []
    for settings in (together, alone):
        start = [2.0] * len(settings)
        model, history = train(settings, draw, recipe, UniformPrior(3), start=start, device="cpu")
        seeds = [setting["seed"] for setting in settings]
        metrics = scores(model, held_out(settings, draw, 50, model.device), seeds, jacobians=20)
        results.append(rows(metrics, history)[-1])
    for name, value in results[1].items():
        assert results[0][name] == pytest.approx(value, rel=1e-3), name


def test_annealing_moves_gamma2_and_ends_at_its_value():
    settings = grid(gamma2=[1e4], seed=[0])
    model, history = train(settings, draw, Recipe(40), UniformPrior(3), start=[2.0], device="cpu")
    direct, plain = train(settings, draw, Recipe(40), UniformPrior(3), start=[math.inf], device="cpu")
    assert float(model.likelihood.gamma2()) == float(direct.likelihood.gamma2()) == 1e4
    assert float(history.loss[0, 0]) != float(plain.loss[0, 0])


def test_a_diverged_member_is_a_row_with_its_error_and_harms_no_other():
    def spoilt(generator: Generator, n: int) -> toys.Sample:
        sample = draw(generator, n)
        if generator.stream == "batches" and generator.step == 3:
            sample.x[1] = math.nan
        return sample

    settings = grid(gamma2=[1e3], seed=[0, 1])
    with pytest.warns(RuntimeWarning, match="member 1 .* diverged"):
        model, history = train(settings, spoilt, Recipe(10), UniformPrior(3), device="cpu")
    metrics = scores(model, held_out(settings, draw, 50, model.device), [0, 1])
    good, bad = rows(metrics, history)
    assert bad == {"error": "diverged at step 3"}
    assert "error" not in good and all(math.isfinite(value) for value in good.values())


@pytest.mark.parametrize("prior", [NormalPrior(3), UniformPrior(3)])
def test_jacobians_are_by_the_latents_in_the_priors_units(prior):
    settings = grid(gamma2=[1e3], seed=[0])
    model, _ = train(settings, draw, Recipe(5), prior, device="cpu")
    x = held_out(settings, draw, 10, model.device).x
    model = model.double()
    inverse = torch.logit if prior.on_unit_interval else (lambda z: z)
    expected = jacobian(lambda z: model.decode(inverse(z)), model.codes(x.double()))
    torch.testing.assert_close(decoder_jacobian(model.float(), x), expected, rtol=1e-3, atol=1e-5)


def test_a_group_killed_while_training_continues_from_its_checkpoint(tmp_path, monkeypatch):
    options = {"methods": ("whitened",), "gamma2": (1e3,), "seeds": 2, "steps": 1010}
    whole = moebius_gamma.run(moebius_gamma.Config("tiny", **options, out=tmp_path / "whole"))
    calls = [0]

    def dying(*arguments: object) -> toys.Sample:
        calls[0] += 1
        if calls[0] > 1008:
            raise KeyboardInterrupt
        return toys.mixed(*arguments)

    config = moebius_gamma.Config("tiny", **options, out=tmp_path / "killed")
    with monkeypatch.context() as patch:
        patch.setattr(moebius_gamma, "toys", type("Dying", (), {"mixed": staticmethod(dying)}))
        with pytest.raises(KeyboardInterrupt):
            moebius_gamma.run(config)
    assert (config.out / "moebius-gamma" / "tiny.partial" / "whitened.safetensors").exists()
    calls[0] = -10_000
    monkeypatch.setattr(moebius_gamma, "toys", type("Counting", (), {"mixed": staticmethod(dying)}))
    resumed = moebius_gamma.run(config)
    assert calls[0] < -10_000 + 100  # ten steps were left
    pd.testing.assert_frame_equal(resumed, whole, check_exact=True)


def test_a_group_killed_between_its_rows_is_not_trained_again(tmp_path, monkeypatch):
    options = {"methods": ("whitened",), "gamma2": (1e3,), "seeds": 2}
    whole = moebius_gamma.run(moebius_gamma.Config("tiny", **options, out=tmp_path / "whole"))
    config, original = moebius_gamma.Config("tiny", **options, out=tmp_path / "killed"), _runs.write_atomically

    def dying(path, text):
        if path.name == "whitened-0001.json":
            raise KeyboardInterrupt
        original(path, text)

    with monkeypatch.context() as patch:
        patch.setattr(_runs, "write_atomically", dying)
        with pytest.raises(KeyboardInterrupt):
            moebius_gamma.run(config)
    partial = config.out / "moebius-gamma" / "tiny.partial"
    assert {path.name for path in partial.iterdir()} == {
        "config.json",
        "whitened-0000.json",
        "whitened.begun",
        "whitened.safetensors",
    }
    pd.testing.assert_frame_equal(moebius_gamma.run(config), whole, check_exact=True)
