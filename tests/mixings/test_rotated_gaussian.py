"""The rotated-Gaussian automorphism: it keeps the sources' law, and has the contrast of its closed form."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
import torch

from latentbook.mixings import Compose, FromNormal, Linear, Moebius, RotatedGaussian, random_orthogonal
from latentbook.random import Generator


def contrast(J):
    return J.norm(dim=-2).log().sum(-1) - torch.linalg.slogdet(J).logabsdet


def quadrature(source="uniform", nodes=160, reach=6.5):
    """Points in the plane of the sources and their weights: Gauss-Legendre in the normal numbers."""
    v, weight = (torch.from_numpy(part) for part in np.polynomial.legendre.leggauss(nodes))
    v, weight = v * reach, weight * reach * torch.exp(-0.5 * (v * reach) ** 2) / math.sqrt(2 * math.pi)
    points = torch.cartesian_prod(v, v)
    return FromNormal(source)(points), torch.cartesian_prod(weight, weight).prod(-1)


@pytest.mark.parametrize(
    "degrees, expected",
    [(0, 0.0), (5, 0.05538), (15, 0.16404), (22.5, 0.22867), (30, 0.275656), (45, 0.313567), (60, 0.275656), (90, 0.0)],
)
def test_contrast_for_uniform_sources(degrees, expected):
    s, weight = quadrature()
    assert weight.sum().item() == pytest.approx(1.0, abs=1e-9)
    mixing = RotatedGaussian(math.radians(degrees))
    assert (weight * contrast(mixing.jacobian(s))).sum().item() == pytest.approx(expected, abs=1e-4)


def test_a_conformal_map_after_it_changes_nothing():
    s, _ = quadrature(nodes=20, reach=3)
    mixing = RotatedGaussian(0.7)
    for seed in range(3):
        J = Compose(mixing, Moebius.random(Generator([seed]), 2)).jacobian(s)
        assert torch.allclose(contrast(J), contrast(mixing.jacobian(s)), atol=1e-9)


def test_for_normal_sources_it_is_the_rotation_itself():
    s = Generator([1]).normal(20, 2, dtype=torch.float64)
    turned = RotatedGaussian(0.7, torch.distributions.Normal(0.0, 1.0))
    cosine, sine = math.cos(0.7), math.sin(0.7)
    assert torch.allclose(turned(s), s @ torch.tensor([[cosine, sine], [-sine, cosine]], dtype=torch.float64))
    assert contrast(turned.jacobian(s)).abs().max() < 1e-12


@pytest.mark.parametrize(
    "source, law",
    [
        ("uniform", scipy.stats.uniform(-0.5, 1)),
        ("laplace", scipy.stats.laplace(0, math.sqrt(0.5))),
        (torch.distributions.Exponential(torch.tensor(2.0).double()), scipy.stats.expon(0, 0.5)),
        ("normal", scipy.stats.norm()),
    ],
)
def test_it_keeps_the_law_of_the_sources(source, law):
    n = 20_000
    s = torch.from_numpy(law.ppf(Generator([3]).uniform(n, 2, dtype=torch.float64)[0].numpy()))
    t = RotatedGaussian(math.radians(35), source)(s)
    assert (t - s).abs().mean() > 0.1
    for k in range(2):
        assert scipy.stats.kstest(t[:, k].numpy(), law.cdf).pvalue > 1e-3
    u = torch.from_numpy(law.cdf(t.numpy()))  # independent: uniform on the square, so along any line across it
    for direction in (u[:, 0] + u[:, 1], u[:, 0] - u[:, 1] + 1):
        assert scipy.stats.kstest(direction.numpy(), scipy.stats.triang(0.5, 0, 2).cdf).pvalue > 1e-3
    assert torch.allclose(RotatedGaussian(math.radians(35), source).log_prob(t, source), sum_log(law, t), atol=1e-8)


def sum_log(law, t):
    return torch.from_numpy(law.logpdf(t.numpy())).sum(-1)


def test_more_than_two_sources_take_an_orthogonal_matrix():
    s = Generator([1, 2]).uniform(3000, 4, dtype=torch.float64) - 0.5
    mixing = RotatedGaussian(random_orthogonal(Generator([1, 2]), 4))
    t = mixing(s)
    assert mixing.size == 4 and mixing.members == 2
    for member in t.numpy():
        assert all(scipy.stats.kstest(column, scipy.stats.uniform(-0.5, 1).cdf).pvalue > 1e-4 for column in member.T)


def test_the_contrast_pulls_a_trained_angle_back():
    angle = torch.tensor([0.2, 0.5], dtype=torch.float64, requires_grad=True)
    s = 0.98 * (Generator([5, 6]).uniform(200, 2, dtype=torch.float64) - 0.5)

    def mean_contrast(angle):
        return contrast(RotatedGaussian(angle).jacobian(s)).mean(-1)

    assert torch.autograd.gradcheck(mean_contrast, (angle,))
    (gradient,) = torch.autograd.grad(mean_contrast(angle).sum(), angle)
    assert (gradient > 0.1).all()


def test_maps_of_the_one_parameter_family_have_the_same_density():
    truth, family = (
        Compose(RotatedGaussian(angle, "normal"), FromNormal("uniform"), Moebius.random(Generator([4]), 2))
        for angle in (0.0, torch.linspace(-3, 3, 7, dtype=torch.float64))
    )
    x = truth(Generator([8]).normal(100, 2, dtype=torch.float64))
    assert (family.log_prob(x) - truth.log_prob(x)).abs().max() < 1e-11
    assert (family.inverse(x)[0] - truth.inverse(x)).abs().max() > 1


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: RotatedGaussian(torch.ones(2, 2)), "rotation is not orthogonal"),
        (lambda: RotatedGaussian([[1.0, 0.5], [0.0, 1.0]]), "rotation is not orthogonal"),
        (lambda: RotatedGaussian(0.3, "beta"), "source is 'beta'"),
        (lambda: RotatedGaussian(0.3, torch.distributions.Gamma(2.0, 1.0)), "without cdf or icdf"),
        (lambda: RotatedGaussian(0.3)(torch.tensor([[0.0, 0.6]])), "a source is 0.6.*inside the support"),
        (lambda: RotatedGaussian(0.3)(torch.tensor([[-0.5, 0.0]])), "a source is -0.5"),
        (lambda: FromNormal("uniform").inverse(torch.tensor([[0.5, 0.0]])), "a source is 0.5"),
    ],
)
def test_bad_input_is_refused_by_name(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def test_linear_mixing_of_rotated_sources_has_more_contrast_than_the_mixing():
    s, weight = quadrature(nodes=60)
    mixing = Linear(torch.diag(torch.tensor([1.0, 3.0], dtype=torch.float64)))
    turned = Compose(RotatedGaussian(math.pi / 4), mixing)
    assert contrast(mixing.jacobian(s)).max() < 1e-12
    assert (weight * contrast(turned.jacobian(s))).sum() > 0.3
