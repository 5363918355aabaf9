"""Toy processes against their closed forms."""

from __future__ import annotations

import math

import pytest
import torch
from scipy import stats
from torch.distributions import Uniform

from latentbook.data import toys
from latentbook.jacobian import jacobian
from latentbook.mixings import Moebius
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


LAWS = {
    "uniform": ("uniform", stats.uniform(-0.5)),
    "normal": ("normal", stats.norm()),
    "laplace": ("laplace", stats.laplace(scale=math.sqrt(0.5))),
    "beta": (("beta", 2, 5.0), stats.beta(2, 5, loc=-0.5)),
    "distribution": (Uniform(torch.tensor(2.0), torch.tensor(3.0)), stats.uniform(2)),
}


@pytest.mark.parametrize(("sources", "law"), LAWS.values(), ids=LAWS)
def test_sources_have_their_law_and_are_independent(sources, law):
    _, s = toys.mixed(Generator([3, 4]), 4000, lambda s: s, sources, size=2)
    assert s.shape == (2, 4000, 2)
    for member in s:
        for column in member.T:
            assert stats.kstest(column.numpy(), law.cdf).pvalue > 0.001
        assert abs(float(torch.corrcoef(member.T)[0, 1])) < 5 / math.sqrt(4000)
    assert abs(float(torch.corrcoef(s[..., 0])[0, 1])) < 5 / math.sqrt(4000)


def test_sources_are_mixed_by_a_mixing_or_a_function():
    weights = torch.tensor([[2.0, 1.0, 0.0], [0.0, 1.0, 3.0]], dtype=torch.float64)
    x, s = toys.mixed(Generator([1, 2]), 7, lambda s: s @ weights, size=2, dtype=torch.float64)
    assert x.shape == (2, 7, 3) and torch.allclose(x, s @ weights)
    mixing = Moebius.random(Generator([5, 6]), 3)
    x, s = toys.mixed(Generator([1, 2]), 7, mixing, dtype=torch.float64)
    assert torch.allclose(x, mixing(s)) and s.shape == (2, 7, 3)
    alone = toys.mixed(Generator([2]), 7, Moebius.random(Generator([6]), 3), dtype=torch.float64)
    assert torch.allclose(alone.x[0], x[1])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"n": 0}, "n is 0"),
        ({"size": None}, "size is None; expected the number of sources"),
        ({"size": 0}, "size is 0"),
        ({"sources": "cauchy"}, "source is 'cauchy'"),
        ({"sources": ("beta", 0.0, 1.0)}, "sources is"),
        ({"sources": ("gamma", 1.0, 1.0)}, "sources is"),
        ({"sources": ("beta", 1.0)}, "sources is"),
    ],
)
def test_mixed_refuses_bad_input_by_name(options, words):
    arguments = {"n": 5, "sources": "uniform", "size": 2} | options
    with pytest.raises(ValueError, match=words):
        toys.mixed(Generator([0]), arguments.pop("n"), lambda s: s, **arguments)


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


def test_blob_is_a_round_spot_at_its_position():
    position = torch.tensor([[0.2, -0.1]], dtype=torch.float64)
    (picture,) = toys.blob(position, size=13, width=1.5, travel=10.0)
    down, across = torch.meshgrid(*[torch.arange(13.0, dtype=torch.float64)] * 2, indexing="ij")
    squared = (across - 8).square() + (down - 5).square()  # two pixels right of the middle, one above it
    assert torch.allclose(picture.view(13, 13), (-squared / 4.5).exp())


def test_blob_moves_alike_in_all_directions():
    places = torch.cartesian_prod(*[torch.linspace(-0.5, 0.5, 5, dtype=torch.float64)] * 2)
    columns = jacobian(toys.blob, places)
    metric = columns.mT @ columns
    expected = metric[:, 0, 0].max() * torch.eye(2, dtype=torch.float64)
    assert ((metric - expected).abs() < 0.01 * expected.max()).all()


@pytest.mark.parametrize(
    ("positions", "options", "name"),
    [
        (torch.zeros(3), {}, "positions"),
        (torch.zeros(2, dtype=torch.int64), {}, "positions"),
        ([0.0, 0.0], {}, "positions"),
        (torch.zeros(2), {"size": 0}, "size"),
        (torch.zeros(2), {"width": 0.0}, "width"),
        (torch.zeros(2), {"travel": -1.0}, "travel"),
    ],
)
def test_blob_rejects_what_it_cannot_draw(positions, options, name):
    with pytest.raises(ValueError, match=f"^{name}"):
        toys.blob(positions, **options)
