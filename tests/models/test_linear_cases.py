"""Worked cases of factor analysis: rotation, over-complete weights, and the optimum over the weights."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from latentbook.models import (
    FactorAnalysis,
    overcomplete,
    overcomplete_gap,
    probabilistic_pca,
    rotated,
    rotation_gap,
)
from latentbook.random import Generator

DOUBLE = torch.float64
EXAMPLE = (math.sqrt(2), math.sqrt(0.5))  # column norms; noise variance 0.1
BETAS = torch.tensor([0.5, 1.0, 2.0, 3.0, 5.0, 10.0, 20.0, 100.0], dtype=DOUBLE)


def approx(value: float | list[float], tolerance: float = 1e-5):
    return pytest.approx(value, rel=0, abs=tolerance)


def angles(n: int = 9) -> Tensor:
    return torch.linspace(0, math.pi, n, dtype=DOUBLE)


def test_the_rotated_example():
    model = rotated(*EXAMPLE, torch.tensor([0, math.pi / 8, math.pi / 4, math.pi / 2], dtype=DOUBLE), 0.1)
    moment = rotated(*EXAMPLE, 0.0, 0.1).covariance
    likelihood, energy = model.log_likelihood(moment), model.free_energy(moment)
    assert likelihood.tolist() == approx([-2.953433] * 4)
    assert energy[0].item() == approx(-2.953433)
    assert (energy[0] - energy).tolist() == approx([0, 0.100741, 0.184549, 0])


@pytest.mark.parametrize("beta", BETAS.tolist())
def test_drop_in_free_energy_of_a_rotation_has_a_closed_form(beta):
    model, moment = rotated(*EXAMPLE, angles(), 0.1), torch.tensor([[2.0, 0.4], [0.4, 1.0]], dtype=DOUBLE)
    energy, expected = model.free_energy(moment, beta), rotation_gap(*EXAMPLE, angles(), 0.1, beta)
    assert torch.allclose(model.gap(beta), expected, atol=1e-12)
    assert not torch.allclose(energy, energy[:1])
    assert torch.allclose(energy[0] - energy, expected, atol=1e-10)


def test_amplitude_of_the_gap_first_grows_with_beta_and_falls_when_divided_by_it():
    amplitude = rotation_gap(*EXAMPLE, math.pi / 4, 0.1, BETAS[1:])
    assert amplitude.tolist() == approx([0.1846, 0.3113, 0.4001, 0.5074, 0.5889, 0.547, 0.223], 5e-4)
    assert bool(((amplitude / BETAS[1:]).diff() < 0).all())


def test_right_rotation_keeps_the_likelihood_and_left_rotation_does_not():
    moment = rotated(*EXAMPLE, 0.0, 0.1).covariance
    right, left = (rotated(*EXAMPLE, angles(), 0.1, side=side) for side in ("right", "left"))
    assert torch.allclose(right.covariance, moment.expand(9, 2, 2), atol=1e-12)
    assert left.log_likelihood(moment)[2].item() == approx(-3.400, 1e-3)
    assert torch.allclose(left.gap(), torch.zeros(9, dtype=DOUBLE), atol=1e-12)


def test_equal_column_norms_leave_no_gap_at_any_angle():
    model = rotated(1.3, 1.3, angles(), 0.1)
    assert torch.allclose(model.gap(), torch.zeros(9, dtype=DOUBLE), atol=1e-12)
    assert torch.equal(rotation_gap(1.3, 1.3, angles(), 0.1), torch.zeros(9, dtype=DOUBLE))


def test_overcomplete_example():
    alpha = torch.tensor([0, 0.1, 0.25, 0.5, math.sqrt(0.5)], dtype=DOUBLE)
    expected = [0, 0.043089, 0.213506, 0.497467, 0.592812]
    assert overcomplete(alpha, 0.1).gap().tolist() == approx(expected)
    assert overcomplete_gap(alpha, 0.1).tolist() == approx(expected)
    likelihood = overcomplete(alpha, 0.1).log_likelihood(torch.eye(2, dtype=DOUBLE))
    assert torch.allclose(likelihood, likelihood[:1].expand(5), atol=1e-12)


@pytest.mark.parametrize("rho", [0.0, 0.5, 2.0])
def test_overcomplete_gap_for_every_beta_whatever_rho(rho):
    alpha = torch.linspace(0, 1, 7, dtype=DOUBLE)
    gap = overcomplete(alpha, 0.3, rho).gap(BETAS[:, None])
    assert torch.allclose(gap, overcomplete_gap(alpha, 0.3, BETAS[:, None]), atol=1e-11)


def best_by_search(moment: Tensor, latents: int, beta: float, noise: float | None) -> FactorAnalysis:
    """The model of the greatest free energy that L-BFGS finds, from a random start."""
    start = Generator(4, stream="start").normal(len(moment), latents, dtype=DOUBLE)[0]
    weights, log_noise = start.clone().requires_grad_(), torch.zeros((), dtype=DOUBLE).requires_grad_()
    parameters = [weights, log_noise] if noise is None else [weights]
    search = torch.optim.LBFGS(
        parameters, max_iter=2000, tolerance_grad=1e-10, tolerance_change=0, line_search_fn="strong_wolfe"
    )

    def model() -> FactorAnalysis:
        return FactorAnalysis(weights, log_noise.exp() if noise is None else noise)

    def loss() -> Tensor:
        search.zero_grad()
        value = -model().free_energy(moment, beta)
        value.backward()
        return value

    search.step(loss)
    return FactorAnalysis(weights.detach(), model().noise_variance.detach())


@pytest.mark.parametrize(
    ("beta", "norms2"), [(1, (2.7, 0.7, 0)), (2, (2.4, 0.4, 0)), (3, (2.1, 0.1, 0)), (5, (1.5, 0, 0)), (12, (0, 0, 0))]
)
def test_pruning_a_search_over_the_weights_finds_the_closed_form(beta, norms2):
    turn = rotated(1.0, 1.0, 0.4, 1.0).weights
    moment = turn @ torch.diag(torch.tensor([3.0, 1.0], dtype=DOUBLE)) @ turn.T
    exact, found = probabilistic_pca(moment, 3, 0.3, beta), best_by_search(moment, 3, beta, 0.3)
    assert exact.weights.square().sum(0).tolist() == approx(list(norms2), 1e-12)
    assert sorted(found.weights.square().sum(0).tolist(), reverse=True) == approx(list(norms2), 1e-3)
    assert torch.allclose(found.covariance, exact.covariance, atol=1e-3)
    assert found.free_energy(moment, beta).item() == approx(exact.free_energy(moment, beta).item(), 1e-6)
    if beta < 12:
        assert torch.nn.functional.cosine_similarity(exact.weights[:, 0], turn[:, 0], dim=0).abs().item() == approx(1.0)


@pytest.mark.parametrize("beta", [0.5, 1.0, 1.5, 2.0, 3.0, 8.0])
def test_learned_noise_is_the_one_a_search_finds(beta):
    basis = torch.linalg.qr(Generator(6).normal(6, 6, dtype=DOUBLE)[0]).Q
    moment = basis @ torch.diag(torch.tensor([6.0, 3.0, 1.5, 0.5, 0.3, 0.2], dtype=DOUBLE)) @ basis.T
    exact, found = probabilistic_pca(moment, 3, beta=beta), best_by_search(moment, 3, beta, None)
    assert exact.noise_variance[0].item() == approx(found.noise_variance[0].item(), 1e-4)
    assert exact.free_energy(moment, beta).item() == approx(found.free_energy(moment, beta).item(), 1e-7)
    if beta == 1.0:
        assert exact.noise_variance.tolist() == approx([1 / 3] * 6, 1e-12)


def test_probabilistic_pca_of_a_stack_and_its_limits():
    moments = torch.stack([torch.diag(torch.tensor(d, dtype=DOUBLE)) for d in ([3.0, 2.0, 1.0], [1.0, 5.0, 0.5])])
    model = probabilistic_pca(moments, 2, beta=torch.tensor([1.0, 1.2], dtype=DOUBLE))
    assert model.weights.shape == (2, 3, 2) and model.noise_variance.shape == (2, 3)
    single = probabilistic_pca(moments[1], 2, beta=1.2)
    assert torch.allclose(model.weights[1], single.weights) and torch.allclose(
        model.noise_variance[1], single.noise_variance
    )
    assert torch.allclose(model.gap(), torch.zeros(2, dtype=DOUBLE), atol=1e-12)
    sweep = probabilistic_pca(moments[0], 2, 0.5, beta=torch.tensor([1.0, 3.0, 5.0, 7.0], dtype=DOUBLE))
    assert (sweep.weights.norm(dim=-2) > 0).sum(-1).tolist() == [2, 2, 1, 0]
    full = probabilistic_pca(moments[0], 5)
    assert full.noise_variance[0].item() == approx(1.0, 1e-12)
    assert torch.allclose(full.covariance, moments[0], atol=1e-12)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: probabilistic_pca(torch.eye(3), 0), "latents is 0; expected an integer of at least 1"),
        (lambda: probabilistic_pca(torch.eye(3), 2, -1.0), "noise_variance is -1; expected positive"),
        (lambda: probabilistic_pca(torch.eye(3), 2, 0.1, beta=0), "beta is 0; expected positive"),
        (lambda: probabilistic_pca(-torch.eye(3), 2), "positive semi-definite"),
        (lambda: probabilistic_pca(torch.ones(3, 3), 1), "latents=1 explain the data without noise"),
        (lambda: probabilistic_pca(torch.eye(3), 3, beta=0.5), "latents=3 explain the data without noise"),
        (lambda: rotated(1.0, 2.0, 0.1, 0.0), "noise_variance is 0; expected positive"),
        (lambda: rotated(1.0, 2.0, math.nan, 0.1), "angle is nan; expected finite"),
        (lambda: rotated(1.0, 2.0, 0.1, 0.1, side="up"), "side is 'up'; expected 'right' or 'left'"),
        (lambda: rotation_gap(1.0, 2.0, 0.1, -0.1), "noise_variance is -0.1"),
        (lambda: rotation_gap(1.0, 2.0, 0.1, 0.1, beta=-2), "beta is -2"),
        (lambda: overcomplete(1.5, 0.1), "alpha is 1.5; expected 0 to 1"),
        (lambda: overcomplete_gap(-0.5, 0.1), "alpha is -0.5; expected 0 to 1"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
