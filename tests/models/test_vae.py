"""The VAE, its likelihoods and its prior, against torch.distributions."""

from __future__ import annotations

import pytest
import torch
from torch.distributions import Bernoulli, Normal, kl_divergence

from latentbook.models import VAE, BernoulliLikelihood, GaussianEncoder, GaussianLikelihood, NormalPrior
from latentbook.models import priors as prior_functions
from latentbook.nn import ConvDecoder, ConvEncoder, select
from latentbook.random import Generator

SEEDS = (0, 1, 2)


def data(*shape: int) -> torch.Tensor:
    return Generator(99).normal(*shape)[0]


def test_gaussian_likelihood_is_a_normal_density_with_precision_gamma2():
    gamma2 = torch.tensor([0.5, 2.0, 30.0])
    likelihood, decoded, x = GaussianLikelihood(gamma2), data(3, 4, 6, 5), data(6, 5)
    expected = Normal(decoded, gamma2.rsqrt().view(3, 1, 1, 1)).log_prob(x).sum(-1)
    assert torch.allclose(likelihood.log_prob(decoded, x), expected, atol=1e-4)
    assert torch.allclose(likelihood.entropy(5), Normal(0.0, gamma2.rsqrt()).entropy() * 5, atol=1e-5)


def test_bernoulli_likelihood():
    likelihood, logits, x = BernoulliLikelihood(), data(3, 6, 5), (data(6, 5) > 0).float()
    expected = Bernoulli(logits=logits).log_prob(x.expand_as(logits)).sum(-1)
    assert torch.allclose(likelihood.log_prob(logits, x), expected, atol=1e-5)


def test_samples_of_the_likelihoods_have_their_moments():
    decoded, generator = torch.zeros(2, 40_000, 1) + 0.7, Generator([0, 1])
    gaussian = GaussianLikelihood(torch.tensor([4.0, 0.25])).sample(decoded, generator)
    assert gaussian.std(1).flatten().tolist() == pytest.approx([0.5, 2.0], rel=0.02)
    bernoulli = BernoulliLikelihood().sample(decoded, generator)
    assert bernoulli.mean(1).flatten().tolist() == pytest.approx([torch.tensor(0.7).sigmoid().item()] * 2, abs=0.01)


def test_prior_and_closed_form_kl():
    prior, posterior = NormalPrior(2, torch.tensor([1.0, 4.0])), Normal(data(3, 5, 2), data(3, 5, 2).exp())
    expected = kl_divergence(posterior, Normal(torch.zeros(2), torch.tensor([1.0, 2.0]))).sum(-1)
    assert torch.allclose(prior_functions.kl_divergence(posterior, prior()), expected)
    z = prior.sample((50_000,), Generator([0, 1]))
    assert z.shape == (2, 50_000, 2)
    assert z.var(1)[0].tolist() == pytest.approx([1.0, 4.0], rel=0.05)
    joint = torch.distributions.MultivariateNormal(torch.zeros(2), torch.diag(torch.tensor([1.0, 4.0])))
    points = data(3, 5, 2)
    assert torch.allclose(prior_functions.log_prob(joint, points), prior_functions.log_prob(prior(), points), atol=1e-5)
    assert prior_functions.kl_divergence(posterior, torch.distributions.Laplace(0.0, 1.0).expand((2,))) is not None
    assert prior_functions.kl_divergence(posterior, torch.distributions.StudentT(3.0).expand((2,))) is None


@pytest.mark.parametrize("separate", [True, False])
@pytest.mark.parametrize("likelihood", [GaussianLikelihood(9.0), BernoulliLikelihood()])
def test_shapes_and_a_member_alone(separate, likelihood):
    x = data(20, 6)
    options = {"hidden": (8,), "separate": separate, "likelihood": likelihood, "data": x}
    stack = VAE.mlp(6, 2, **options, generator=Generator(SEEDS))
    alone = VAE.mlp(6, 2, **options, generator=Generator(SEEDS[1]))
    assert stack.members == 3
    assert stack.encode(x).mean.shape == (3, 20, 2)
    assert stack.reconstruct(x).shape == (3, 20, 6)
    assert stack.sample(4, Generator(SEEDS), noise=True).shape == (3, 4, 6)
    assert torch.allclose(stack.reconstruct(x)[1], alone.reconstruct(x)[0], atol=1e-5)
    assert torch.allclose(select(stack, [1]).reconstruct(x), alone.reconstruct(x), atol=1e-5)


def test_log_variance_starts_where_training_ends():
    x, gamma2 = data(100, 6) * 2, torch.tensor([1.0, 100.0, 1e4])
    model = VAE.mlp(6, 2, hidden=(8,), likelihood=GaussianLikelihood(gamma2), data=x, generator=Generator(SEEDS))
    expected = 1 / (1 + gamma2 * x.var(0, correction=0).sum() / 2)
    assert torch.allclose(model.encode(x).variance.mean((1, 2)).log(), expected.log(), atol=1.0)
    other = VAE.mlp(6, 2, initial_log_variance=-3.0, generator=Generator(SEEDS))
    assert torch.allclose(other.encode(x).variance.log().mean(), torch.tensor(-3.0), atol=0.5)


def test_annealed_precision_moves_the_posterior_variance_with_it():
    x = data(50, 6)
    model = VAE.mlp(6, 2, likelihood=GaussianLikelihood(1e4, members=3), data=x, generator=Generator(SEEDS))
    full = model.encode(x).variance
    model.likelihood.gamma2.scheduled = True
    model.likelihood.gamma2.multiplier.fill_(1e-4)
    ratio = model.encode(x).variance / full
    c = model.column_norm2
    assert torch.allclose(ratio, torch.full_like(ratio, (1 + c * 1e4) / (1 + c)), rtol=1e-3)


def test_a_convolutional_vae():
    generator = Generator(SEEDS)
    encoder = ConvEncoder((1, 8, 8), 4, channels=(4, 4), hidden=(8,), generator=generator)
    decoder = ConvDecoder(2, (1, 8, 8), channels=(4, 4), hidden=(8,), generator=generator)
    model = VAE(GaussianEncoder(encoder), decoder, NormalPrior(2), BernoulliLikelihood())
    assert model.reconstruct(data(5, 64)).shape == (3, 5, 64)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: GaussianLikelihood(-1.0), "precision is -1"),
        (lambda: GaussianLikelihood(0.0), "precision is 0"),
        (lambda: GaussianLikelihood(1.0, learned=True), "members is None"),
        (lambda: NormalPrior(2, -1.0), "variance is -1"),
        (lambda: NormalPrior(2, torch.ones(3)), "variance has shape"),
        (lambda: NormalPrior(0), "size is 0"),
        (lambda: VAE.mlp(6, 2, data=data(5, 4), generator=Generator(0)), r"data has shape \(5, 4\)"),
        (
            lambda: VAE.mlp(6, 2, likelihood=GaussianLikelihood(1.0, members=4), generator=Generator(SEEDS)),
            "likelihood is made for 4 members; expected 3",
        ),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
