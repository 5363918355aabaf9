"""The trade-off experiment: its methods, the paper's settings, its scores, and its way on after an interruption."""

from __future__ import annotations

import pytest
import torch

from latentbook.data import Dataset, sprites
from latentbook.data.byte_images import ByteImages
from latentbook.experiments import tradeoff
from latentbook.experiments._images import posteriors, scores
from latentbook.experiments.tradeoff import METHODS, Config, build_model, build_objective, build_prior
from latentbook.metrics import mig
from latentbook.objectives import ELBO, TCVAE, FactorVAE
from latentbook.random import Generator

TINY = Config("tiny")


def small(**changes) -> Config:
    return Config("tiny", methods=("isa-vae",), betas=(1.0, 2.0), subspaces=(2, 1), **changes)


def test_the_priors_differ_by_variance_and_shape_as_their_names_say():
    priors = {method: build_prior(method, TINY, 6) for method in METHODS}
    variance = {method: prior.variance().flatten()[0].item() for method, prior in priors.items()}
    assert variance["isa-vae"] == variance["isa-tcvae"] == pytest.approx(0.4843, abs=1e-4)
    assert variance["normal-matched"] == pytest.approx(variance["isa-vae"], rel=1e-6)
    for method in ("beta-vae", "beta-tcvae", "isa-unit", "factor-vae"):
        assert variance[method] == pytest.approx(1.0, abs=1e-5)
    normal = {method for method, prior in priors.items() if isinstance(prior(), torch.distributions.Normal)}
    assert normal == {"beta-vae", "beta-tcvae", "normal-matched", "factor-vae"}
    learned = priors["isa-learned"].inner()
    assert learned.shape == (6, 1, 5) and torch.allclose(learned, torch.tensor(2.0)) and learned.requires_grad


def test_the_objectives_are_those_of_the_methods():
    kinds = {method: type(build_objective(method, [1.0, 2.0], 4, TINY, Generator([0, 1]))) for method in METHODS}
    assert {method for method, kind in kinds.items() if kind is TCVAE} == {"beta-tcvae", "isa-tcvae"}
    assert {method for method, kind in kinds.items() if kind is FactorVAE} == {"factor-vae"}
    assert kinds["isa-learned"] is ELBO


def test_the_paper_scale_is_table_one():
    config = Config("paper")
    assert config.betas == (1, 1.5, 2, 2.5, 3, 3.5, 4, 5, 6) and config.gammas == tuple(range(1, 11))
    assert config.subspaces == (4,) * 5 and config.inner == 2.2 and config.seeds == 50 and config.anneal == 0
    assert (config.batch_size, config.learning_rate) == (2048, 1e-3)
    data = Dataset(torch.zeros(1, 4096), image_shape=(64, 64))
    model = build_model(data, tradeoff.SETTINGS["dsprites"].network, build_prior("isa-vae", config, 1), Generator(0))
    widths = [part.weight.shape[1:] for part in model.encoder.modules() if hasattr(part, "weight")]
    assert widths == [(4096, 1200), (1200, 1200), (1200, 40)]
    widths = [part.weight.shape[1:] for part in model.decoder.modules() if hasattr(part, "weight")]
    assert widths == [(20, 1200), (1200, 1200), (1200, 1200), (1200, 4096)]


def test_the_steps_follow_from_the_epochs():
    assert sum(1 for _ in range(20 * (737_280 // 2048))) == 7200
    setting = tradeoff.SETTINGS["hearts"]
    assert setting.epochs * (len(sprites.hearts()) // setting.batch_size) == 3000


def test_what_an_interrupted_run_has_is_not_computed_again(tmp_path, monkeypatch):
    config = Config("tiny", methods=("beta-vae", "isa-vae"), betas=(1.0,), out=tmp_path)
    original, trained = tradeoff.train, []

    def breaks(config, data, members, **options):
        if members[0]["method"] == "isa-vae" and len(trained) == 1:
            raise KeyboardInterrupt
        trained.append(members[0]["method"])
        return original(config, data, members, **options)

    monkeypatch.setattr(tradeoff, "train", breaks)
    with pytest.raises(KeyboardInterrupt):
        tradeoff.run(config)
    assert trained == ["beta-vae"] and not (tmp_path / "tradeoff" / "tiny.csv").exists()
    monkeypatch.setattr(tradeoff, "train", lambda *a, **k: trained.append(a[2][0]["method"]) or original(*a, **k))
    table = tradeoff.run(config)
    assert trained == ["beta-vae", "isa-vae"] and len(table) == 4 and list(table["error"].unique()) == [""]
    assert table.equals(tradeoff.run(config))


def test_beta_one_is_one_model_under_both_objectives():
    table = tradeoff.run(Config("tiny", methods=("beta-vae", "beta-tcvae"), betas=(1.0,)))
    plain, weighed = (table[table["method"] == method].reset_index() for method in ("beta-vae", "beta-tcvae"))
    assert plain["elbo"].tolist() == pytest.approx(weighed["elbo"].tolist(), rel=1e-5)


def test_annealing_moves_the_weight():
    tables = [tradeoff.run(small(anneal=anneal)) for anneal in (0.0, 1.0)]
    assert tables[0]["elbo"].tolist() != tables[1]["elbo"].tolist()
    factor = Config("tiny", methods=("factor-vae",), gammas=(2.0,), anneal=0.5)
    assert tradeoff.run(factor)["elbo"].notna().all()


def test_images_are_encoded_in_blocks_and_scored(monkeypatch):
    data = sprites.squares()
    model = build_model(data, "small", build_prior("isa-vae", small(), 2), Generator([0, 1]))
    whole = model.encode(data.x)
    monkeypatch.setattr("latentbook.experiments._images._ROWS", 100)
    means, scales = posteriors(model, data)
    assert torch.allclose(means, whole.mean, atol=1e-5) and torch.allclose(scales, whole.stddev, atol=1e-5)
    found = scores(model, data, data.factors, [0, 1], images=50, samples=200)
    expected = mig(means, scales, data.factors, samples=200, generator=Generator([0, 1], stream="evaluation/mig"))
    assert torch.equal(found["mig"], expected.score)
    assert found["reconstruction"].shape == found["active"].shape == (2,) and found["mig_of"].shape == (2, 2)
    assert torch.allclose(found["elbo"], found["reconstruction"] - found["kl"], atol=1e-3)


def test_official_files_go_through_the_same_experiment(monkeypatch, tmp_path):
    factors = torch.cartesian_prod(torch.arange(2), torch.arange(3), torch.arange(2))
    images = Generator(0).integers(256, len(factors), 3 * 16 * 16)[0].to(torch.uint8)
    cars = ByteImages(
        images, factors, (2, 3, 2), ("elevation", "azimuth", "model"), name="cars", image_shape=(16, 16, 3)
    )
    asked = []
    monkeypatch.setattr(tradeoff.loaders, "load", lambda name, path: asked.append((name, path)) or cars)
    config = Config("tiny", dataset="cars3d", path=tmp_path, methods=("isa-vae",), betas=(1.0,), batch_size=4)
    table = tradeoff.run(config)
    assert asked == [("cars3d", tmp_path)] and {"mig_elevation", "mig_azimuth"} <= set(table)
    assert config.inner == 1.9 and sum(config.subspaces) == 10


@pytest.mark.parametrize(
    "options, words",
    [
        ({"betas": (-1.0,)}, "betas is"),
        ({"gammas": (float("nan"),)}, "gammas is"),
        ({"anneal": 1.5}, "anneal is 1.5"),
    ],
)
def test_bad_settings_are_refused_by_name(options, words):
    with pytest.raises(ValueError, match=words):
        Config("tiny", **options)


def test_official_files_need_a_path():
    with pytest.raises(ValueError, match="path is None"):
        Config("tiny", dataset="faces3d", methods=("beta-vae",))
