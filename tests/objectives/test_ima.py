"""Maximum likelihood with a weighted contrast: the terms, the gradient through the Jacobian, and what it chooses."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from latentbook.data import toys
from latentbook.metrics import ima_contrast, mcc
from latentbook.mixings import Compose, FromNormal, Moebius, Rotation
from latentbook.models import CouplingFlow
from latentbook.objectives import IMALikelihood
from latentbook.random import Generator
from latentbook.training import Ramp, TrainConfig, fit

DOUBLE = torch.float64
WEIGHTS = (0.0, 0.5, 1.0)


def bent_flow(size: int = 2) -> CouplingFlow:
    """Three members with the same parameters, in double precision."""
    model = CouplingFlow(size, layers=2, hidden=(5,), generator=Generator([4] * 3)).double()
    noise = Generator([4] * 3, stream="weights")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.5 * noise.normal(*parameter.shape[1:], dtype=DOUBLE))
    return model


def points(*shape: int) -> torch.Tensor:
    return Generator(1).normal(*shape, dtype=DOUBLE)[0]


def test_value_and_terms():
    model, x = bent_flow(), points(30, 2)
    loss = IMALikelihood(WEIGHTS)(model, x, Generator([4] * 3))
    likelihood = model.log_prob(x)[0].mean().detach()
    contrast = ima_contrast(model.jacobian(model.inverse(x)))[0].mean().detach()
    assert float(contrast) > 0.01
    assert torch.allclose(loss.value.detach(), torch.tensor(WEIGHTS, dtype=DOUBLE) * contrast - likelihood)
    assert torch.allclose(loss.terms["log_likelihood"], likelihood.expand(3))
    assert torch.allclose(loss.terms["contrast"], contrast.expand(3))
    assert not any(term.requires_grad for term in loss.terms.values())
    assert torch.allclose(IMALikelihood()(model, (x, x)).value, loss.value[2].expand(3))


@pytest.mark.parametrize("size", [2, 3])
def test_gradient_against_finite_differences(size):
    model, x, objective = bent_flow(size), points(20, size), IMALikelihood(WEIGHTS)
    parameters = list(model.parameters())
    gradients = torch.autograd.grad(objective(model, x).value.sum(), parameters)
    direction = [Generator([4] * 3, stream="way").normal(*p.shape[1:], dtype=DOUBLE) for p in parameters]
    exact = sum((g * d).flatten(1).sum(1) for g, d in zip(gradients, direction, strict=True))
    values, step = [], 1e-5
    with torch.no_grad():
        for sign in (1, -2):
            for parameter, d in zip(parameters, direction, strict=True):
                parameter += sign * step * d
            values.append(objective(model, x).value)
    assert torch.allclose(exact, (values[0] - values[1]) / (2 * step), atol=1e-7)
    assert float((exact[0] - exact[2]).abs()) > 1e-3  # the contrast has a say in it


def family(angles: torch.Tensor) -> Compose:
    """Moebius maps after a rotated-Gaussian automorphism: one density of x, whatever the angle."""
    moebius = Moebius.random(Generator(range(3, 3 + len(angles))), 2)
    return Compose(Rotation(nn.Parameter(angles)), FromNormal("uniform"), moebius)


def test_likelihood_does_not_see_the_angle_and_the_contrast_does():
    model = family(torch.deg2rad(torch.tensor([30.0] * 4, dtype=DOUBLE)))
    x = model(Generator(range(4)).normal(500, 2, dtype=DOUBLE)).detach()
    gradients = []
    for weight in (0.0, 1.0):
        value = IMALikelihood(weight)(model, x).value
        gradients.append(torch.autograd.grad(value.sum(), model.parameters())[0])
    assert float(gradients[0].abs().max()) < 1e-9
    assert float(gradients[1].min()) > 0.1  # it pulls the angle down, to 0


def test_maximum_likelihood_stays_and_the_contrast_finds_the_sources():
    angles = torch.deg2rad(torch.tensor([30.0, 30.0], dtype=DOUBLE))
    moebius = Moebius.random(Generator(3), 2)
    model = Compose(Rotation(nn.Parameter(angles)), FromNormal("uniform"), moebius)

    def observations(generator: Generator, n: int) -> torch.Tensor:
        return moebius(generator.uniform(n, 2, dtype=DOUBLE) - 0.5)

    config = TrainConfig(seeds=(0, 0), steps=120, batch_size=64, learning_rate=5e-2)
    history = fit(model, IMALikelihood((0.0, 1.0)), observations, config, progress=False)
    stayed, found = torch.rad2deg(model.parts[0].angle.detach()).tolist()
    assert stayed == pytest.approx(30, abs=1e-3) and found == pytest.approx(0, abs=2)
    assert float(history.terms["contrast"][0, 0]) > 0.2 > 0.02 > float(history.terms["contrast"][-1, 1])
    s = Generator(9).uniform(4000, 2, dtype=DOUBLE)[0] - 0.5
    score = mcc(model.inverse(moebius(s)), s, "spearman").score
    assert float(score[0]) < 0.9 and float(score[1]) > 0.99


def test_weight_is_a_knob_that_schedules_move():
    model, objective, seen = bent_flow(), IMALikelihood(WEIGHTS), []

    class Watched(IMALikelihood):
        def forward(self, *arguments):
            seen.append(self.weight().tolist())
            return super().forward(*arguments)

    config = TrainConfig(seeds=(0, 1, 2), steps=5, batch_size=4, schedules={"weight": Ramp(0.0, until=1.0)})
    fit(model, Watched(WEIGHTS), points(40, 2), config, progress=False)
    assert seen[0] == [0, 0, 0] and seen[-1] == pytest.approx(list(WEIGHTS))
    assert 0 < seen[2][2] < 1 and objective.weight().tolist() == list(WEIGHTS)


def test_on_the_polar_map_both_fit_and_only_the_contrast_finds_the_sources():
    seeds = (0, 1, 2)
    test = toys.polar(Generator(seeds * 2, stream="test"), 1000)
    model = CouplingFlow(2, data=test.x, generator=Generator(seeds * 2))
    objective = IMALikelihood([0.0] * 3 + [1.0] * 3)
    config = TrainConfig(seeds=seeds * 2, steps=200, batch_size=64, learning_rate=2e-2)
    fit(model, objective, lambda generator, n: toys.polar(generator, n).x, config, progress=False)
    likelihood = model.log_prob(test.x).mean(1).detach()
    score = mcc(model.inverse(test.x), test.sources).score
    assert float((likelihood[:3] - likelihood[3:]).abs().max()) < 0.03
    assert float(score[3:].min()) > 0.98 and float(score[:3].mean()) < 0.96


def test_bad_weights():
    for weight in (-1.0, math.nan, [1.0, -1.0]):
        with pytest.raises(ValueError, match="weight is"):
            IMALikelihood(weight)
    with pytest.raises(ValueError, match="weight has 2 values; expected one number or 3"):
        IMALikelihood([0.0, 1.0])(bent_flow(), points(5, 2))
