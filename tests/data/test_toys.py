"""Toy processes against their closed forms."""

from __future__ import annotations

import math

import pytest
import torch

from latentbook.data import toys
from latentbook.models import VAE
from latentbook.objectives import ELBO
from latentbook.random import Generator
from latentbook.training import TrainConfig, fit

WEIGHTS = torch.tensor([[2.0, 0.0], [1.0, 1.0], [0.0, -0.5]], dtype=torch.float64)


def test_linear_gaussian_has_its_covariance_within_five_standard_errors():
    n, variance = 40_000, 0.3
    x, z = toys.linear_gaussian(Generator([5]), n, WEIGHTS, variance)
    assert x.shape == (1, n, 3) and z.shape == (1, n, 2) and x.dtype == torch.float64
    expected = WEIGHTS @ WEIGHTS.T + variance * torch.eye(3, dtype=torch.float64)
    measured = x[0].T @ x[0] / n
    diagonal = expected.diagonal()
    error = ((diagonal[:, None] * diagonal + expected**2) / n).sqrt()
    assert ((measured - expected).abs() < 5 * error).all()


def test_linear_gaussian_without_noise_is_exactly_linear():
    x, z = toys.linear_gaussian(Generator([1, 2]), 7, WEIGHTS, 0.0)
    assert torch.allclose(x, z @ WEIGHTS.T)


def test_every_member_draws_what_it_draws_alone():
    both, alone = (toys.polar(Generator(seeds), 5).x for seeds in ([1, 2], [2]))
    assert torch.equal(both[1], alone[0])


def test_polar_radius_and_angle_give_the_sources_back():
    x, s = toys.polar(Generator([0]), 50, dtype=torch.float64)
    assert torch.allclose((x.norm(dim=-1) - 3) / 0.4, s[..., 0])
    assert torch.allclose(torch.atan2(x[..., 1], x[..., 0]) / 0.5, s[..., 1])


@pytest.mark.parametrize(
    "n, weights, variance, words",
    [
        (0, WEIGHTS, 1.0, "n is 0"),
        (5, WEIGHTS, -0.1, "noise_variance is -0.1"),
        (5, WEIGHTS, math.nan, "noise_variance is nan"),
        (5, WEIGHTS[0], 1.0, "weights is torch.float64"),
        (5, [[1.0]], 1.0, "weights is list"),
        (5, WEIGHTS * math.nan, 1.0, "weights holds NaN"),
    ],
)
def test_bad_input_is_refused_by_name(n, weights, variance, words):
    with pytest.raises(ValueError, match=words):
        toys.linear_gaussian(Generator([0]), n, weights, variance)


def test_arguments_in_the_wrong_order():
    with pytest.raises(TypeError, match="generator is a int"):
        toys.polar(5, Generator([0]))


def test_a_toy_feeds_fit():
    model = VAE.mlp(2, 2, hidden=(8,), generator=Generator([1, 2]))
    config = TrainConfig(seeds=(1, 2), steps=3, batch_size=16)
    history = fit(model, ELBO(), lambda generator, n: toys.polar(generator, n).x, config)
    assert torch.isfinite(torch.as_tensor(history.loss[-1])).all()
