"""The Darmois construction: closed forms, quadrature and kernels against each other, and what it does to data."""

from __future__ import annotations

import math

import pytest
import scipy.stats
import torch

from latentbook.mixings import Compose, Darmois, FromNormal, Inverse, Linear, Polar
from latentbook.random import Generator

ROTATED = torch.tensor([[1.0, -2.0], [1.0, 2.0]], dtype=torch.float64) / math.sqrt(2)  # R(45 deg) diag(1, 2)
SLANTED = torch.tensor([[1.0, 0.5], [0.5, 1.0]], dtype=torch.float64)


def contrast(J):
    gram = J.mT @ J
    return 0.5 * (gram.diagonal(dim1=-2, dim2=-1).log().sum(-1) - torch.linalg.slogdet(gram).logabsdet)


def uniform(n, size, seed=0):
    return Generator([seed]).uniform(n, size, dtype=torch.float64)[0] - 0.5


@pytest.mark.parametrize("A, expected, truth", [(ROTATED, 0.153742, 0.0), (SLANTED, 0.247348, 0.510826)])
def test_normal_data_in_closed_form(A, expected, truth):
    C = A @ A.T
    s = uniform(50, 2)
    values = contrast(Darmois.gaussian(C).jacobian(s))
    assert (values - expected).abs().max() < 1e-6  # the same everywhere
    correlation = C[0, 1] ** 2 / (C[0, 0] * C[1, 1])
    assert values[0].item() == pytest.approx(0.5 * math.log(1 + correlation * C[1, 1] / C[0, 0]))
    assert contrast(A).item() == pytest.approx(truth, abs=1e-6)


@pytest.mark.parametrize("A", [ROTATED, SLANTED])
def test_quadrature_agrees_with_the_closed_form(A):
    exact = Darmois.gaussian(A @ A.T)
    numerical = Darmois.from_density(Linear(A).log_prob, [-10, -10], [10, 10])
    s = 0.99 * uniform(10, 2)
    x = exact(s)
    assert (numerical.inverse(x) - s).abs().max() < 1e-8
    assert (numerical(s) - x).abs().max() < 1e-6
    assert (contrast(numerical.jacobian(s)) - contrast(exact.jacobian(s))).abs().max() < 1e-6


def test_quadrature_in_three_dimensions():
    A = torch.tensor([[1.0, 0.3, 0.2], [0.0, 1.0, -0.5], [0.4, 0.0, 1.0]], dtype=torch.float64)
    numerical = Darmois.from_density(lambda x: Linear(A).log_prob(x) + 7, [-7, -7, -7], [7, 7, 7], nodes=24)
    s = 0.9 * uniform(4, 3)
    assert (numerical.inverse(Darmois.gaussian(A @ A.T)(s)) - s).abs().max() < 1e-5


def test_any_data_become_uniform_and_independent():
    x = Polar()(Generator([3]).normal(2000, 2, dtype=torch.float64)[0])
    mixing = Darmois.from_density(Polar().log_prob, [-3.5, -5.5], [5.5, 5.5], nodes=32)
    s = mixing.inverse(x)
    laws = scipy.stats.uniform(-0.5, 1), scipy.stats.triang(0.5, -1, 2)
    for law, values in ((laws[0], s[:, 0]), (laws[0], s[:, 1]), (laws[1], s.sum(-1)), (laws[1], s[:, 0] - s[:, 1])):
        assert scipy.stats.kstest(values.numpy(), law.cdf).pvalue > 1e-3
    J = Inverse(mixing).jacobian(x[:20])
    assert (J[:, 0, 1] == 0).all() and J[:, 1, 0].abs().median() > 0.05


def test_a_kernel_estimate_is_treated_exactly():
    samples, bandwidth = 2 * uniform(6, 2), torch.tensor([0.3, 0.5], dtype=torch.float64)
    kernel = torch.distributions.Independent(torch.distributions.Normal(samples, bandwidth), 1)
    choice = torch.distributions.Categorical(torch.ones(6, dtype=torch.float64))
    mixture = torch.distributions.MixtureSameFamily(choice, kernel)
    closed = Darmois.from_samples(samples, bandwidth)
    numerical = Darmois.from_density(mixture.log_prob, [-4, -6], [4, 6], nodes=64)
    x = 3 * uniform(10, 2, seed=1)
    assert (closed.inverse(x) - numerical.inverse(x)).abs().max() < 1e-8


def test_the_default_bandwidth_suits_normal_samples():
    A = SLANTED
    samples = Generator([3]).normal(2000, 2, dtype=torch.float64)[0] @ A.T
    s = 0.8 * uniform(200, 2)
    estimated, exact = Darmois.from_samples(samples), Darmois.gaussian(A @ A.T)
    assert (estimated.inverse(exact(s)) - s).abs().mean() < 0.03


def test_normal_sources_in_front():
    v = Generator([3]).normal(20, 2, dtype=torch.float64)[0]
    mixing = Compose(FromNormal("uniform"), Darmois.gaussian(SLANTED @ SLANTED.T))
    assert torch.allclose(mixing(v), v @ torch.linalg.cholesky(SLANTED @ SLANTED.T).T)


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: Darmois.gaussian([[1.0, 2.0], [2.0, 1.0]]), "covariance is .*; expected it symmetric and positive"),
        (lambda: Darmois.gaussian([[1.0, 0.5], [0.0, 1.0]]), "covariance is .*; expected it symmetric and positive"),
        (lambda: Darmois.from_samples(torch.ones(1, 2)), r"samples is \(1, 2\)"),
        (lambda: Darmois.from_samples(torch.ones(5, 2)), "bandwidth is .*; expected one positive"),
        (lambda: Darmois.from_samples(torch.rand(5, 2) / 0), "samples is .*; expected finite"),
        (lambda: Darmois.from_samples(torch.eye(3), torch.ones(2)), "bandwidth is .*; expected one positive"),
        (lambda: Darmois.from_density(Polar().log_prob, [0, 0], [1, -1]), "lower is .* and upper .*; expected"),
        (lambda: Darmois.from_density(Polar().log_prob, [0, 0], [1, 1], nodes=1), "nodes is 1"),
        (lambda: Darmois.from_samples(torch.eye(3))(torch.full((2, 3), 0.5)), "s holds 0.5 in size"),
    ],
)
def test_bad_input_is_refused_by_name(call, words):
    with pytest.raises(ValueError, match=words):
        call()
