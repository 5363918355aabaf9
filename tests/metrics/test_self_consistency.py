"""The variances that a decoder's Jacobian predicts, against posteriors known in closed form."""

from __future__ import annotations

import pytest
import torch

from latentbook.metrics import predicted_variance
from latentbook.models import FactorAnalysis
from latentbook.random import Generator

DOUBLE = torch.float64


def normal(*shape: int) -> torch.Tensor:
    return Generator(0).normal(*shape, dtype=DOUBLE)[0]


def test_exact_for_a_linear_decoder():
    weights, gamma2 = normal(5, 3), 7.0
    model = FactorAnalysis(weights, torch.full((5,), 1 / gamma2, dtype=DOUBLE))
    best_diagonal = 1 / model.tempered_precision(1.0).diagonal()  # of the true posterior's precision
    assert torch.allclose(predicted_variance(weights, gamma2), best_diagonal, atol=1e-14)


def test_axes_of_members_points_and_latents():
    J, gamma2 = normal(3, 10, 4, 2), torch.tensor([1.0, 10.0, 100.0], dtype=DOUBLE)
    curvature = normal(10, 2).square()
    variance = predicted_variance(J, gamma2, curvature)
    assert variance.shape == (3, 10, 2)
    expected = 1 / (curvature[4, 1] + 100 * J[2, 4, :, 1].square().sum())
    assert float(variance[2, 4, 1]) == pytest.approx(float(expected), rel=1e-12)
    assert torch.allclose(predicted_variance(J[1], 10.0, curvature), variance[1])
    assert torch.allclose(predicted_variance(J, 0.0), torch.ones(3, 10, 2, dtype=DOUBLE))


def test_bad_input():
    J = normal(3, 10, 4, 2)
    with pytest.raises(ValueError, match="gamma2 has shape"):
        predicted_variance(J, torch.ones(4))
    with pytest.raises(ValueError, match="gamma2 has shape"):
        predicted_variance(J[0, 0], torch.ones(2))
    for wrong in (-1.0, float("nan")):
        with pytest.raises(ValueError, match="gamma2 is"):
            predicted_variance(J, wrong)
    with pytest.raises(ValueError, match="jacobian has shape"):
        predicted_variance(J[0, 0, 0], 1.0)
