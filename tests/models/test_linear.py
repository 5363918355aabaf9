"""Factor analysis: closed forms against sampling, autograd, torch.distributions and the published example."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch.distributions import MultivariateNormal, Normal, kl_divergence

from latentbook.models import FactorAnalysis, rotated
from latentbook.random import Generator

BETAS = (0.5, 1.0, 2.0, 5.0)
SIZES = ((4, 3), (2, 2), (3, 5))  # features, latents
DOUBLE = torch.float64


def random_model(features: int, latents: int, seed: int) -> FactorAnalysis:
    generator = Generator(seed, stream="weights")
    weights = generator.normal(features, latents, dtype=DOUBLE)[0]
    return FactorAnalysis(weights, 0.2 + generator.uniform(features, dtype=DOUBLE)[0])


def random_data(features: int, n: int = 40) -> torch.Tensor:
    return 0.5 + Generator(7, stream="data").normal(n, features, dtype=DOUBLE)[0].cumsum(-1)


def second_moment(x: torch.Tensor) -> torch.Tensor:
    return x.T @ x / len(x)


def close(a: torch.Tensor, b: torch.Tensor, tolerance: float = 1e-10) -> bool:
    return torch.allclose(a, torch.as_tensor(b, dtype=a.dtype), rtol=0, atol=tolerance)


@pytest.mark.parametrize("beta", BETAS)
@pytest.mark.parametrize(("features", "latents"), SIZES)
def test_free_energy_agrees_with_sampling(features, latents, beta):
    model, x, samples = random_model(features, latents, seed=features), random_data(features), 4000
    q = model.mean_field(x, beta)
    z = q.mean + q.stddev * Generator(1).normal(samples, *q.mean.shape, dtype=DOUBLE)[0]
    explained = Normal(z @ model.weights.T, model.noise_variance.sqrt()).log_prob(x).sum(-1)
    divergence = (q.log_prob(z) - Normal(0, 1).log_prob(z)).sum(-1)
    terms = model.free_energy_terms(second_moment(x), beta)
    estimates = {
        explained: terms.reconstruction,
        divergence: terms.kl,
        explained - beta * divergence: model.free_energy(second_moment(x), beta),
    }
    for sampled, exact in estimates.items():
        per_draw = sampled.mean(-1)
        assert abs(per_draw.mean() - exact) < 4 * per_draw.std() / math.sqrt(samples)


@pytest.mark.parametrize("beta", BETAS)
@pytest.mark.parametrize(("features", "latents"), SIZES)
def test_term_by_term_form_equals_the_compact_one(features, latents, beta):
    model, moment = random_model(features, latents, seed=3), second_moment(random_data(features))
    terms = model.free_energy_terms(moment, beta)
    assert close(terms.reconstruction - beta * terms.kl, model.free_energy(moment, beta))
    q = model.mean_field(random_data(features), beta)
    assert close(terms.kl, kl_divergence(q, Normal(torch.zeros(1, dtype=DOUBLE), 1.0)).sum(-1).mean())


@pytest.mark.parametrize("beta", BETAS)
def test_no_other_diagonal_gaussian_has_a_higher_free_energy(beta):
    model, x = random_model(4, 3, seed=5), random_data(4)
    q = model.mean_field(x, beta)
    mean, log_scale = q.mean.clone().requires_grad_(), q.stddev.log().requires_grad_()
    residual, spread = x - mean @ model.weights.T, (2 * log_scale).exp() @ model.weights.T.square()
    explained = -0.5 * (
        (residual.square() + spread) / model.noise_variance + (2 * math.pi * model.noise_variance).log()
    )
    kl = kl_divergence(Normal(mean, log_scale.exp()), Normal(torch.zeros(1, dtype=DOUBLE), 1.0))
    value = (explained.sum(-1) - beta * kl.sum(-1)).mean()
    assert close(value.detach(), model.free_energy(second_moment(x), beta))
    for gradient in torch.autograd.grad(value, (mean, log_scale)):
        assert close(gradient, 0.0)


@pytest.mark.parametrize(("features", "latents"), SIZES)
def test_likelihood_posterior_and_gap(features, latents):
    model, x = random_model(features, latents, seed=9), random_data(features)
    moment = second_moment(x)
    marginal = MultivariateNormal(torch.zeros(features, dtype=DOUBLE), model.covariance)
    assert close(model.log_likelihood(moment), marginal.log_prob(x).mean())
    posterior, q = model.posterior(x), model.mean_field(x)
    assert close(posterior.precision_matrix, model.precision.expand(len(x), -1, -1))
    diagonal = MultivariateNormal(q.mean, scale_tril=torch.diag_embed(q.stddev))
    assert close(kl_divergence(diagonal, posterior).mean(), model.gap())
    assert close(model.log_likelihood(moment) - model.free_energy(moment), model.gap())
    z = Generator(2).normal(len(x), latents, dtype=DOUBLE)[0]
    bayes = Normal(z @ model.weights.T, model.noise_variance.sqrt()).log_prob(x).sum(-1) + Normal(0, 1).log_prob(z).sum(
        -1
    )
    assert close(posterior.log_prob(z), bayes - marginal.log_prob(x))


@pytest.mark.parametrize("beta", BETAS)
def test_gap_at_any_beta_is_the_price_of_a_diagonal_posterior(beta):
    model, x = random_model(4, 3, seed=11), random_data(4)
    full = model.posterior(x, beta)
    prior = MultivariateNormal(torch.zeros(3, dtype=DOUBLE), torch.eye(3, dtype=DOUBLE))
    residual = x - full.mean @ model.weights.T
    spread = ((model.weights @ full.covariance_matrix) * model.weights).sum(-1)
    explained = -0.5 * (
        (residual.square() + spread) / model.noise_variance + (2 * math.pi * model.noise_variance).log()
    )
    best = (explained.sum(-1) - beta * kl_divergence(full, prior)).mean()
    assert close(best - model.free_energy(second_moment(x), beta), model.gap(beta))


def test_gap_is_zero_exactly_where_scaled_columns_are_orthogonal():
    weights = [[2.0, 0.5], [0.0, 0.0], [1.0, -0.25]]
    assert close(FactorAnalysis(weights, [1.0, 3.0, 0.25]).gap(torch.tensor(BETAS)), torch.zeros(4), 1e-14)
    assert bool((FactorAnalysis(weights, 1.0).gap(torch.tensor(BETAS)) > 0.02).all())


def test_leading_axes_broadcast():
    angles, betas = torch.linspace(0, 1, 5, dtype=DOUBLE), torch.tensor(BETAS, dtype=DOUBLE)
    models, moment = rotated(2.0, 1.0, angles, 0.3), second_moment(random_data(2))
    energy, gap = models.free_energy(moment, betas[:, None]), models.gap(betas[:, None])
    terms = models.free_energy_terms(moment, betas[:, None])
    assert energy.shape == gap.shape == terms.kl.shape == (4, 5)
    assert models.log_likelihood(moment).shape == (5,)
    for i, beta in enumerate(BETAS):
        for j, angle in enumerate(angles):
            single = rotated(2.0, 1.0, angle, 0.3)
            assert close(single.free_energy(moment, beta), energy[i, j])
            assert close(single.gap(beta), gap[i, j])
    assert models.posterior(random_data(2)).mean.shape == (5, 40, 2)
    assert models.mean_field(random_data(2), betas[:, None]).mean.shape == (4, 5, 40, 2)
    assert close(
        models.mean_field(random_data(2), 2.0).variance[3, 0], 1 / models.tempered_precision(2.0)[3].diagonal()
    )


def test_types_follow_the_input_and_gradients_flow():
    weights = Generator(0).normal(3, 2)[0].requires_grad_()
    energy = FactorAnalysis(weights, 0.5).free_energy(torch.eye(3, dtype=DOUBLE), beta=2)
    assert energy.dtype == torch.float32
    energy.backward()
    assert bool(weights.grad.isfinite().all())
    assert FactorAnalysis([[1.0]], 0.5).gap().dtype == DOUBLE
    single = FactorAnalysis(torch.ones(3, 2), np.float64(0.5))
    assert single.gap(np.int64(2)).dtype == single.noise_variance.dtype == torch.float32


def test_samples_have_the_models_covariance():
    model = random_model(3, 2, seed=1)
    x, z = model.sample(100_000, Generator([0, 1]))
    assert x.shape == (2, 100_000, 3) and z.shape == (2, 100_000, 2)
    for member in x:
        assert close(second_moment(member), model.covariance, 0.05 * float(model.covariance.max()))
    assert rotated(1.0, 2.0, torch.zeros(2), 1.0).sample(5, Generator([0, 1]))[0].shape == (2, 5, 2)
    with pytest.raises(ValueError, match=r"leading axes \(3,\); expected \(2,\)"):
        rotated(1.0, 2.0, torch.zeros(3), 1.0).sample(5, Generator([0, 1]))
    with pytest.raises(ValueError, match="n is 0"):
        model.sample(0, Generator(0))


@pytest.mark.parametrize(
    ("weights", "noise", "message"),
    [
        (torch.ones(3), 1.0, r"weights has shape \(3,\); expected"),
        (torch.ones(3, 0), 1.0, "not empty"),
        (torch.ones(3, 2, dtype=torch.int64), 1.0, "weights is of type torch.int64"),
        ("W", 1.0, "weights is 'W'"),
        (torch.tensor([[1.0, math.nan]]), 1.0, "weights holds NaN"),
        (torch.ones(3, 2), [1.0, 1.0], r"noise_variance has shape \(2,\); expected a number or \(..., 3\)"),
        (torch.ones(4, 3, 2), torch.ones(5, 3), "expected leading axes that go with those of weights"),
        (torch.ones(3, 2), 0.0, "noise_variance is 0; expected positive"),
        (torch.ones(3, 2), [1.0, -0.5, 1.0], "noise_variance holds -0.5; expected positive"),
        (torch.ones(3, 2), math.nan, "noise_variance is nan; expected finite"),
    ],
)
def test_bad_models(weights, noise, message):
    with pytest.raises(ValueError, match=message):
        FactorAnalysis(weights, noise)


@pytest.mark.parametrize(
    ("moment", "message"),
    [
        (torch.eye(2), r"second_moment has shape \(2, 2\); expected \(..., 3, 3\)"),
        (torch.ones(3), r"second_moment has shape \(3,\)"),
        (torch.tensor([[1.0, 0.5, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]]), "differs from its transpose by 0.5"),
        (torch.diag(torch.tensor([1.0, 1.0, -0.1])), "eigenvalue -0.1; expected it positive semi-definite"),
        (torch.eye(3) * math.nan, "second_moment holds NaN"),
    ],
)
@pytest.mark.parametrize("method", ["log_likelihood", "free_energy", "free_energy_terms"])
def test_bad_second_moments(method, moment, message):
    with pytest.raises(ValueError, match=message):
        getattr(FactorAnalysis(torch.ones(3, 2), 1.0), method)(moment)


def test_bad_beta_and_data():
    model = FactorAnalysis(torch.ones(3, 2), 1.0)
    for beta, message in ((0.0, "beta is 0; expected positive"), (-1.0, "beta is -1"), (math.nan, "beta is nan")):
        for call in (model.gap, model.tempered_precision, lambda beta: model.free_energy(torch.eye(3), beta)):
            with pytest.raises(ValueError, match=message):
                call(beta)
    for x in (torch.ones(5, 2), torch.ones(3)):
        with pytest.raises(ValueError, match=r"x has shape .*; expected \(..., n, 3\)"):
            model.posterior(x)
    with pytest.raises(ValueError, match="x holds NaN or infinity"):
        model.mean_field(torch.full((2, 3), math.inf))


def test_a_singular_second_moment_is_fine():
    x = torch.tensor([[1.0, 2.0, 3.0]], dtype=DOUBLE)
    assert bool(FactorAnalysis(torch.ones(3, 2, dtype=DOUBLE), 1.0).log_likelihood(second_moment(x)).isfinite())
