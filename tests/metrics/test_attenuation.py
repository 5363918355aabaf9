"""Attenuation: the identity against sampling, closed forms, and that correlations only shrink."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from latentbook.metrics import attenuated, code_correlation, reliability, sampled_covariance
from latentbook.random import Generator

DOUBLE = torch.float64


def posteriors(n: int, size: int = 4, members: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    """Correlated means of very different sizes, and variances that depend on them."""
    generator = Generator(range(members), stream="posteriors")
    means = generator.normal(n, size, dtype=DOUBLE) @ generator.normal(size, size, dtype=DOUBLE)
    means = means * torch.tensor([1.0, 0.3, 0.1, 0.02], dtype=DOUBLE)[:size]
    return means, 0.05 + means.abs() + generator.uniform(n, size, dtype=DOUBLE)


def test_correlations_agree_with_numpy():
    means, _ = posteriors(40)
    for member, matrix in zip(means, code_correlation(means), strict=True):
        assert np.allclose(matrix, np.corrcoef(member.numpy(), rowvar=False), atol=1e-12)


def test_reliability_in_closed_form():
    means = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [1.0, 0.0], [-1.0, 0.0]], dtype=DOUBLE)
    variances = torch.tensor([[1 / 3, 1.0]], dtype=DOUBLE).expand(4, 2)
    assert reliability(means, variances).tolist() == pytest.approx([0.8, 0.0])  # 4/3 over 4/3 + 1/3


def test_the_identity_holds_between_covariances():
    means, variances = posteriors(60)
    exact = code_correlation(sampled_covariance(means, variances))
    by_formula = attenuated(code_correlation(means), reliability(means, variances))
    assert torch.allclose(exact, by_formula, atol=1e-12)


def test_the_identity_holds_for_samples_within_their_error():
    n = 100_000
    means, variances = posteriors(n)
    z = means + variances.sqrt() * Generator(range(3), stream="noise").normal(n, 4, dtype=DOUBLE)
    error = code_correlation(z) - attenuated(code_correlation(means), reliability(means, variances))
    assert float(error.abs().max()) < 5 / math.sqrt(n)
    assert float(error.abs().max()) > 1e-6  # a sample, not the formula again


@settings(max_examples=100, deadline=None)
@given(
    means=arrays(np.float64, (9, 3), elements=st.floats(-5, 5, allow_nan=False, width=32)),
    variances=arrays(np.float64, (9, 3), elements=st.floats(2**-10, 9, allow_nan=False, width=32)),
)
def test_no_correlation_grows(means, variances):
    of_means = code_correlation(means).abs()
    assert bool((code_correlation(sampled_covariance(means, variances)).abs() <= of_means + 1e-12).all())


def test_constant_and_broken_codes():
    means, variances = posteriors(30, members=2)
    means[0, :, 1], variances[1, 4, 0] = 0.7, math.nan
    correlation, reliable = code_correlation(means), reliability(means, variances)
    assert correlation[0, 1].tolist() == [0, 1, 0, 0] and reliable[0, 1] == 0
    assert reliable[1].isnan().all() and sampled_covariance(means, variances)[1].isnan().all()
    assert not reliable[0].isnan().any()


def test_a_tiny_mean_correlates_as_well_as_a_large_one():
    s = Generator(0).normal(500, 1, dtype=DOUBLE)[0]
    means = torch.cat([s, 1e-3 * s], 1)
    variances = torch.tensor([0.01, 1.0], dtype=DOUBLE).expand(500, 2)
    assert code_correlation(means)[0, 1] == pytest.approx(1)
    assert code_correlation(sampled_covariance(means, variances))[0, 1] < 2e-3


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: reliability(torch.rand(5, 2), torch.ones(5, 3)), "expected the same shape"),
        (lambda: reliability(torch.rand(5, 2), -torch.ones(5, 2)), "variances holds -1"),
        (lambda: reliability(torch.rand(2, 2), torch.ones(2, 2)), "more points than latents"),
        (lambda: sampled_covariance(torch.rand(5), torch.ones(5)), "means has shape"),
        (lambda: code_correlation(torch.rand(2, 3)), "more points than latents"),
        (lambda: attenuated(torch.eye(2), torch.ones(3)), "expected \\(..., latents, latents\\)"),
        (lambda: attenuated(torch.eye(2), torch.tensor([0.5, 1.5])), "reliabilities run from 0.5 to 1.5"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
