"""The optimal posterior of every data point: exact in the linear case, and sharp in a smooth one."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.distributions import Laplace, MultivariateNormal, Normal

from latentbook.distributions import LogitBeta
from latentbook.jacobian import column_norms, jacobian
from latentbook.models import VAE, BetaPrior, FreePosterior, GaussianLikelihood, NormalPrior, UniformPrior
from latentbook.nn import select
from latentbook.objectives import evidence_lower_bound, optimal_posterior
from latentbook.random import Generator

A = torch.tensor([[1.0, 1.0], [0.0, 1.0]], dtype=torch.float64)
STANDARD = Normal(torch.zeros(2, dtype=torch.float64), 1.0)


def data(*shape: int) -> Tensor:
    return Generator(7).normal(*shape, dtype=torch.float64)[0]


def linear(z: Tensor) -> Tensor:
    return z @ A.T


def bent(z: Tensor) -> Tensor:
    """A smooth invertible map with contrast 1/2 log((1 + b^2) 1.25 / (1 - b / 2)^2), b = 0.3 (1 - tanh^2 z1)."""
    return torch.stack([z[..., 0] + z[..., 1] / 2, z[..., 1] + 0.3 * z[..., 0].tanh()], dim=-1)


@pytest.mark.parametrize("gamma2", [1.0, 10.0, 1e3, 1e5])
def test_a_linear_decoder_has_the_closed_form_posterior(gamma2):
    x, eye = data(5, 2), torch.eye(2, dtype=torch.float64)
    best = optimal_posterior(linear, x, STANDARD, gamma2, start=x)
    precision = eye + gamma2 * A.T @ A
    assert torch.allclose(best.mean, x @ A @ torch.linalg.inv(precision) * gamma2, atol=1e-9)
    assert torch.allclose(best.log_variance.exp(), 1 / precision.diagonal().expand(5, 2), rtol=1e-9)


@pytest.mark.parametrize(("gamma2", "gap"), [(1.0, 0.091161), (10.0, 0.283610), (100.0, 0.339215), (1e3, 0.345825)])
def test_the_gap_of_a_linear_decoder(gamma2, gap):
    x, covariance = data(4, 2), A @ A.T + torch.eye(2, dtype=torch.float64) / gamma2
    marginal = MultivariateNormal(torch.zeros(2, dtype=torch.float64), covariance).log_prob(x)
    found = marginal - optimal_posterior(linear, x, STANDARD, gamma2, start=x).elbo
    assert torch.allclose(found, torch.full_like(found, gap), atol=1e-6)


@pytest.mark.parametrize("gamma2", [1e4, 1e5])
def test_the_gap_approaches_the_contrast_as_one_over_gamma2(gamma2):
    x, covariance = data(4, 2), A @ A.T + torch.eye(2, dtype=torch.float64) / gamma2
    marginal = MultivariateNormal(torch.zeros(2, dtype=torch.float64), covariance).log_prob(x)
    gap = marginal - optimal_posterior(linear, x, STANDARD, gamma2, start=x).elbo
    assert ((0.5 * math.log(2) - gap) * gamma2 - 0.75).abs().max() < 2e-3


@pytest.mark.parametrize(
    ("gamma2", "gap", "distance", "variance_error"),
    [
        (1e1, 0.253474, 1.526, 3e-3),
        (1e2, 0.231088, 1.801, 1e-4),
        (1e3, 0.229591, 1.832, 1e-5),
        (1e4, 0.229450, 1.835, 1e-5),
        (1e5, 0.229436, 1.836, 1e-5),
    ],
)
def test_sharpness_in_a_smooth_case(gamma2, gap, distance, variance_error):
    z = torch.tensor([[0.7, -0.4]], dtype=torch.float64)
    J = jacobian(bent, z)
    log_p = STANDARD.log_prob(z).sum() - torch.linalg.slogdet(J).logabsdet
    best = optimal_posterior(bent, bent(z), STANDARD, gamma2, start=z)
    assert (log_p - best.elbo).item() == pytest.approx(gap, abs=1e-6)
    assert (best.mean - z).norm().item() * gamma2 == pytest.approx(distance, abs=1e-3)
    predicted = 1 / (1 + gamma2 * column_norms(J) ** 2)
    assert torch.allclose(best.log_variance.exp(), predicted, rtol=variance_error)
    assert best.remaining.max() < 1e-9


@pytest.mark.parametrize(
    "prior", [STANDARD, Laplace(torch.zeros(2).double(), 1.0), LogitBeta(torch.ones(2).double(), 3.0)]
)
def test_nothing_near_it_is_better_and_the_elbo_is_that_of_sampling(prior):
    x, gamma2 = bent(data(3, 2)), 20.0
    best = optimal_posterior(bent, x, prior, gamma2, start=torch.zeros(3, 2), nodes=31)

    def elbo(mean: Tensor, log_variance: Tensor) -> tuple[Tensor, Tensor]:
        posterior = Normal(mean, (log_variance / 2).exp())
        z = mean + posterior.stddev * Generator(1).normal(200_000, 1, 2, dtype=torch.float64)[0]
        squared = (x - bent(z)).square().sum(-1)
        likelihood = math.log(gamma2 / (2 * math.pi)) - 0.5 * gamma2 * squared
        terms = likelihood + (prior.log_prob(z) - posterior.log_prob(z)).sum(-1)
        return terms.mean(0), terms.std(0) / math.sqrt(len(z))

    found, error = elbo(best.mean, best.log_variance)
    assert ((found - best.elbo).abs() < 5 * error + 1e-3).all()
    for move, turn in ((0.1, 0.0), (-0.1, 0.0), (0.0, 0.3), (0.0, -0.3)):  # the same noise: differences are exact
        worse, _ = elbo(best.mean + move * (best.log_variance / 2).exp(), best.log_variance + turn)
        assert (worse < found).all()


def test_a_far_start_finds_the_same_optimum():
    z = data(20, 2)
    near = optimal_posterior(bent, bent(z), STANDARD, 1e3, start=z)
    far = optimal_posterior(bent, bent(z), STANDARD, 1e3, start=torch.zeros_like(z))
    assert torch.allclose(near.elbo, far.elbo, atol=1e-7)
    assert not torch.allclose(optimal_posterior(bent, bent(z), STANDARD, 1e3, start=0 * z, steps=1).elbo, far.elbo)


def test_no_encoder_does_better_and_a_free_posterior_comes_close():
    x, generator = data(30, 2).float(), Generator([0, 1])
    model = VAE.mlp(2, 2, hidden=(8,), likelihood=GaussianLikelihood([5.0, 50.0]), data=x, generator=generator)
    model = model.double()
    start = model.encode(x.double())
    best = optimal_posterior(model.decode, x, model.prior(), model.likelihood.gamma2(), start=start.mean)
    amortised = evidence_lower_bound(model, x.double(), generator, samples=4000).elbo
    assert best.elbo.shape == (2, 30) and best.mean.shape == best.log_variance.shape == (2, 30, 2)
    assert (best.elbo.mean(1) > amortised.mean(1)).all()
    model.encoder = FreePosterior(Normal(best.mean, (best.log_variance / 2).exp()))
    free = evidence_lower_bound(model, x.double(), generator, samples=4000).elbo
    assert torch.allclose(free.mean(1), best.elbo.mean(1), atol=0.02)


def test_stacked_decoders_are_those_one_by_one():
    x, gamma2 = data(7, 2), torch.tensor([2.0, 300.0])
    scale = torch.tensor([1.0, 2.0], dtype=torch.float64).view(2, 1, 1)
    start = torch.stack([x, x / 2])
    both = optimal_posterior(lambda z: bent(scale * z), x, STANDARD, gamma2, start=start)
    for k in range(2):
        alone = optimal_posterior(lambda z, k=k: bent(scale[k] * z), x, STANDARD, float(gamma2[k]), start=start[k])
        assert torch.allclose(both.elbo[k], alone.elbo, atol=1e-8)
        assert torch.allclose(both.mean[k], alone.mean, atol=1e-4)


def test_many_points_go_in_pieces(monkeypatch):
    x = data(40, 2)
    whole = optimal_posterior(bent, x, STANDARD, 10.0, start=x)
    monkeypatch.setattr("latentbook.objectives.optimum._BLOCK", 500)
    pieces = optimal_posterior(bent, x, STANDARD, 10.0, start=x)
    assert torch.allclose(whole.elbo, pieces.elbo, atol=1e-8)


def test_priors_of_the_unit_interval():
    prior = UniformPrior(2).double()
    z = data(6, 2)
    best = optimal_posterior(lambda v: linear(v.sigmoid()), linear(z.sigmoid()), prior(), 1e4, start=z)
    assert (best.mean - z).abs().max() < 0.2 and best.remaining.max() < 1e-9


def test_a_learned_prior_gives_each_member_its_own_optimum_and_no_gradient():
    prior = BetaPrior(2, 2.0, 3.0, learned=True, members=2).double()
    with torch.no_grad():
        prior.log_alpha[1] += 1
    x = data(4, 2)
    best = optimal_posterior(linear, x, prior(), 10.0, start=torch.stack([x, x]))
    assert not any(part.requires_grad for part in best)
    for k, member in enumerate((0, 1)):
        alone = optimal_posterior(linear, x, select(prior, [member])(), 10.0, start=x[None])
        assert torch.allclose(best.elbo[k], alone.elbo[0], atol=1e-8)
    assert not torch.allclose(best.elbo[0], best.elbo[1], atol=0.1)


def test_a_prior_in_float32_will_do():
    x = data(6, 2)
    single = optimal_posterior(linear, x, NormalPrior(2)(), 10.0, start=x)
    assert torch.allclose(single.elbo, optimal_posterior(linear, x, STANDARD, 10.0, start=x).elbo)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"gamma2": 0.0}, "gamma2 is 0.0; expected positive"),
        ({"gamma2": torch.ones(3)}, r"gamma2 has shape \(3,\); expected one number or \(members,\)"),
        ({"start": torch.zeros(4, 2)}, r"x has shape \(5, 2\) and start \(4, 2\)"),
        ({"x": torch.zeros(3, 5, 2)}, r"x has shape \(3, 5, 2\) and start \(5, 2\)"),
        ({"start": torch.zeros(2)}, r"start \(2,\)"),
        ({"nodes": 0}, "nodes is 0"),
        ({"steps": 0}, "steps is 0"),
    ],
)
def test_bad_input(options, message):
    arguments = {"x": torch.zeros(5, 2), "gamma2": 1.0, "start": torch.zeros(5, 2)} | options
    with pytest.raises(ValueError, match=message):
        optimal_posterior(linear, arguments.pop("x"), STANDARD, arguments.pop("gamma2"), **arguments)
