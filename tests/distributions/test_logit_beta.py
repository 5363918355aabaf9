"""The logit of a Beta variable against scipy's Beta and logistic laws."""

from __future__ import annotations

import math

import pytest
import torch
from scipy import stats
from torch import Tensor

from latentbook.distributions import LogitBeta
from latentbook.random import Generator

PARAMETERS = [(1.0, 1.0), (0.5, 3.0), (7.0, 2.5), (40.0, 60.0)]
POINTS = torch.tensor([-30.0, -4.0, -0.5, 0.0, 1.0, 12.0], dtype=torch.float64)


def law(alpha: float, beta: float, dtype: torch.dtype = torch.float64) -> LogitBeta:
    return LogitBeta(torch.tensor(alpha, dtype=dtype), torch.tensor(beta, dtype=dtype))


def integral(values: Tensor, points: Tensor) -> float:
    return float(torch.trapezoid(values, points))


@pytest.mark.parametrize(("alpha", "beta"), PARAMETERS)
def test_density_is_that_of_beta_times_the_derivative_of_the_sigmoid(alpha, beta):
    z = POINTS.sigmoid()
    expected = torch.as_tensor(stats.beta(alpha, beta).logpdf(z)) + (z * (-POINTS).sigmoid()).log()
    assert torch.allclose(law(alpha, beta).log_prob(POINTS), expected, rtol=1e-6)


@pytest.mark.parametrize(("alpha", "beta"), PARAMETERS)
def test_mass_moments_and_entropy_by_quadrature(alpha, beta):
    prior, v = law(alpha, beta), torch.linspace(-80, 80, 400_001, dtype=torch.float64)
    log_density = prior.log_prob(v)
    density = log_density.exp()
    mean = integral(v * density, v)
    assert integral(density, v) == pytest.approx(1, abs=1e-9)
    assert prior.mean.item() == pytest.approx(mean, abs=1e-8)
    assert prior.variance.item() == pytest.approx(integral((v - mean) ** 2 * density, v), rel=1e-8)
    assert prior.entropy().item() == pytest.approx(-integral(density * log_density, v), rel=1e-8)


def test_uniform_is_logistic():
    expected = torch.as_tensor(stats.logistic.logpdf(POINTS))
    assert torch.allclose(law(1, 1).log_prob(POINTS), expected)
    assert law(1, 1).variance.item() == pytest.approx(math.pi**2 / 3)
    u = torch.tensor([1e-12, 0.2, 0.5, 1 - 1e-12], dtype=torch.float64)
    assert torch.allclose(law(1, 1).icdf(u), u.logit(), rtol=1e-6)


@pytest.mark.parametrize("v", [-1e4, -200.0, -20.0, 0.0, 20.0, 200.0, 1e4])
def test_float32_is_as_good_as_float64_far_out(v):
    values = []
    for dtype in (torch.float32, torch.float64):
        at = torch.tensor(v, dtype=dtype, requires_grad=True)
        value = law(2.5, 0.7, dtype).log_prob(at)
        values += [value.item(), torch.autograd.grad(value, at)[0].item()]
    assert values[:2] == pytest.approx(values[2:], rel=1e-5, abs=1e-7)


@pytest.mark.parametrize(("alpha", "beta"), PARAMETERS)
def test_quantiles_follow_the_law(alpha, beta):
    v = law(alpha, beta).icdf(Generator([3]).uniform(20_000, dtype=torch.float64)[0])
    assert stats.kstest(v.sigmoid().numpy(), stats.beta(alpha, beta).cdf).pvalue > 0.01
    tails = torch.tensor([1e-9, 1 - 1e-9], dtype=torch.float64)
    low, high = law(alpha, beta).icdf(tails).tolist()
    assert stats.beta(alpha, beta).cdf(1 / (1 + math.exp(-low))) == pytest.approx(1e-9, rel=1e-6)
    assert stats.beta(beta, alpha).cdf(1 / (1 + math.exp(high))) == pytest.approx(1e-9, rel=1e-6)


def test_shapes_types_and_gradients_of_the_parameters():
    alpha = torch.tensor([[[1.5, 2.0]], [[3.0, 0.8]]], dtype=torch.float64, requires_grad=True)
    prior = LogitBeta(alpha, 2.0)
    assert prior.batch_shape == (2, 1, 2)
    assert prior.log_prob(torch.zeros(2, 7, 2, dtype=torch.float64)).shape == (2, 7, 2)
    assert prior.expand((2, 5, 2)).mean.shape == (2, 5, 2)
    assert prior.icdf(torch.full((2, 9, 2), 0.5)).dtype == torch.float32
    assert torch.autograd.gradcheck(lambda a: LogitBeta(a, 2 * a).log_prob(POINTS[:2]), alpha)


@pytest.mark.parametrize(("alpha", "beta"), [(0.0, 1.0), (1.0, -2.0), (math.nan, 1.0)])
def test_bad_parameters(alpha, beta):
    with pytest.raises(ValueError, match="alpha|beta"):
        LogitBeta(alpha, beta)


def test_bad_values():
    for checked in (law(1, 1), law(1, 1).expand((2,))):
        with pytest.raises(ValueError, match="value"):
            checked.log_prob(torch.tensor([0.0, math.nan]))
    assert LogitBeta(1.0, 1.0, validate_args=False).expand((2,)).log_prob(torch.full((2,), math.nan)).isnan().all()
