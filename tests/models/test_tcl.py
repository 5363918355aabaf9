"""Time-contrastive learning: shapes, log-odds that are linear in s^2, training, and bad input."""

from __future__ import annotations

import math

import pytest
import torch
from torch.distributions import Normal

from latentbook.metrics import linear_mcc, mcc
from latentbook.models import TCL
from latentbook.models.tcl import Maxout
from latentbook.nn import select
from latentbook.objectives import SegmentCrossEntropy
from latentbook.random import Generator
from latentbook.training import TrainConfig, fit

SEEDS = (0, 1, 2)


def data(segments: int = 12, each: int = 200) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A linear mixture x of two sources s whose scales change with the segment u."""
    scale = 0.1 * 30 ** Generator(7).uniform(segments, 2)[0]
    u = torch.arange(segments).repeat_interleave(each)
    s = Generator(7, stream="s").normal(len(u), 2)[0] * scale[u]
    return s @ torch.tensor([[1.0, 0.6], [-0.4, 1.0]]), s, u


def model(**options) -> TCL:
    return TCL(2, 2, 12, **{"hidden": (8,), "generator": Generator(SEEDS)} | options)


@pytest.mark.parametrize("activation", ["maxout", "leaky_relu"])
@pytest.mark.parametrize("feature", ["square", "abs", "identity"])
def test_shapes_and_features(activation, feature):
    x, _, _ = data()
    tcl = model(activation=activation, feature=feature, data=x)
    features = tcl.features(x)
    assert tcl.members == 3 and features.shape == (3, len(x), 2) and tcl(x).shape == (3, len(x), 12)
    assert bool((features >= 0).all()) == (feature != "identity")
    assert torch.allclose(tcl(x), tcl.classifier(features))
    one = select(tcl, [1])
    assert torch.allclose(one(x)[0], tcl(x)[1], atol=1e-6)


def test_maxout_is_the_largest_of_its_maps():
    layer, x = Maxout(3, 4, 2, generator=Generator(SEEDS)), Generator(0).normal(5, 3)[0]
    maps = layer.linear(x).view(3, 5, 4, 2)
    assert torch.equal(layer(x), torch.maximum(maps[..., 0], maps[..., 1]))


def test_log_odds_of_segments_are_linear_in_the_squares():
    _, s, u = data()
    scale = torch.stack([s[u == v].double().std(0) for v in range(12)])
    logits = Normal(torch.zeros(2, dtype=torch.float64), scale).log_prob(s.double()[:, None]).sum(-1)
    design = torch.cat([s.double().square(), torch.ones(len(s), 1)], -1)
    odds = logits - logits[:, :1]
    fitted = design @ torch.linalg.lstsq(design, odds).solution
    assert torch.allclose(fitted, odds, atol=1e-8)


def test_training_finds_the_squares_up_to_a_linear_map():
    x, s, u = data()
    tcl = model(data=x, hidden=())  # features are squares of linear maps: enough for this mixture
    config = TrainConfig(seeds=SEEDS, steps=300, batch_size=256, learning_rate=2e-2)
    history = fit(tcl, SegmentCrossEntropy(), (x, u), config, progress=False)
    assert float(history.loss[-1].max()) < math.log(12) - 0.5
    assert float(history.terms["accuracy"][-1].min()) > 2 / 12
    assert float(linear_mcc(tcl.features(x), s.square()).score.min()) > 0.97
    assert float(mcc(tcl.components(x), s.square()).score.min()) > 0.9
    assert torch.equal(tcl.components(x, seed=1), tcl.components(x, seed=1))


def test_cross_entropy_of_a_classifier_that_knows_nothing():
    x, _, u = data()
    tcl = model()
    with torch.no_grad():
        tcl.classifier.weight.zero_(), tcl.classifier.bias.zero_()
    loss = SegmentCrossEntropy()(tcl, (x.expand(3, *x.shape), u.expand(3, -1)))
    assert torch.allclose(loss.value, torch.full((3,), math.log(12)))
    assert torch.allclose(SegmentCrossEntropy()(tcl, (x, u)).value, loss.value)  # labels shared by the members


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"segments": 1}, "segments is 1"),
        ({"feature": "cube"}, "feature is 'cube'"),
        ({"activation": "sine"}, "activation is 'sine'"),
        ({"hidden": (0,)}, "hidden has the size 0"),
        ({"latent_size": 0}, "latent_size has the size 0"),
        ({"data": torch.ones(5, 3)}, "data has shape"),
        ({"whiten": "pca", "data": torch.eye(2)}, "method is 'pca'"),
    ],
)
def test_bad_input(options, message):
    arguments = {"data_size": 2, "latent_size": 2, "segments": 4, "generator": Generator(SEEDS)}
    with pytest.raises(ValueError, match=message):
        TCL(**arguments | options)


def test_wrong_types():
    with pytest.raises(TypeError, match="generator is a int"):
        TCL(2, 2, 4, generator=0)
    with pytest.raises(ValueError, match="segments is 2.5"):
        TCL(2, 2, 2.5, generator=Generator(SEEDS))


@pytest.mark.parametrize(
    ("u", "error", "message"),
    [
        (None, TypeError, "the batch holds x alone"),
        (torch.zeros(4), TypeError, "u has dtype torch.float32"),
        (torch.tensor([0, 1, 2, 12]), ValueError, "u runs from 0 to 12; expected labels from 0 to 11"),
        (torch.tensor([-1, 1, 2, 3]), ValueError, "u runs from -1"),
        (torch.tensor([0, 1, 2]), ValueError, r"u has shape \(3,\)"),
    ],
)
def test_bad_labels(u, error, message):
    x = torch.zeros(4, 2)
    with pytest.raises(error, match=message):
        SegmentCrossEntropy()(model(), x if u is None else (x, u))
