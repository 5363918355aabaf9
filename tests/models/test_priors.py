"""Every prior: its density, its draws, its map to the natural latents, and the bounds of a VAE that has it."""

from __future__ import annotations

import math

import pytest
import torch
from scipy import stats
from torch import Tensor, nn
from torch.distributions import Beta, Normal

from latentbook.models import (
    VAE,
    BetaPrior,
    GaussianLikelihood,
    LaplacePrior,
    NormalPrior,
    UniformPrior,
)
from latentbook.nn import MLP, select
from latentbook.objectives import ELBO, evidence_lower_bound, importance_weighted_bound
from latentbook.random import Generator
from latentbook.training import TrainConfig, fit

SEEDS = (0, 1, 2)
ALPHA, BETA = torch.tensor([0.7, 4.0]), torch.tensor([2.0, 3.0])

# a prior of two latents, and the laws of its natural latents in scipy
PRIORS = {
    "normal": (lambda: NormalPrior(2, torch.tensor([1.0, 4.0])), [stats.norm(0, 1), stats.norm(0, 2)]),
    "laplace": (lambda: LaplacePrior(2, 2.0), [stats.laplace(0, 1)] * 2),
    "uniform": (lambda: UniformPrior(2), [stats.uniform()] * 2),
    "beta": (lambda: BetaPrior(2, ALPHA, BETA), [stats.beta(0.7, 2), stats.beta(4, 3)]),
    "learned beta": (
        lambda: BetaPrior(2, ALPHA, BETA, learned=True, members=3),
        [stats.beta(0.7, 2), stats.beta(4, 3)],
    ),
}
every_prior = pytest.mark.parametrize(("make", "laws"), PRIORS.values(), ids=PRIORS)


def a_model(prior: nn.Module, **options) -> VAE:
    return VAE.mlp(4, 2, **{"hidden": (8,), "prior": prior, "generator": Generator(SEEDS)} | options)


def data(n: int) -> Tensor:
    return Generator(99).normal(n, 4)[0]


@every_prior
def test_value_and_gradient_at_the_origin_are_finite(make, laws):
    v = torch.zeros(3, 1, 2, requires_grad=True)
    value = make()().log_prob(v)
    assert value.isfinite().all()
    assert torch.autograd.grad(value.sum(), v)[0].isfinite().all()


@every_prior
def test_draws_follow_the_law_and_the_density(make, laws):
    prior = make()
    v = prior.sample((4000,), Generator(SEEDS))
    assert v.shape == (3, 4000, 2)
    for k, law in enumerate(laws):
        assert stats.kstest(prior.natural(v[1, :, k]).numpy(force=True), law.cdf).pvalue > 0.001
    entropy = prior().log_prob(v).mean(1).neg()  # a mean of draws, which says that draws and density are of one law
    error = prior().log_prob(v).std(1) / math.sqrt(4000)
    assert ((entropy - prior().entropy().view(-1, 2)).abs() < 5 * error).all()


@every_prior
def test_a_member_draws_what_it_draws_alone(make, laws):
    prior = make()
    drawn = prior.sample((3, 4), Generator(SEEDS))
    assert drawn.shape == (3, 3, 4, 2)
    assert torch.equal(select(prior, [1]).sample((3, 4), Generator(SEEDS[1]))[0], drawn[1])


@every_prior
def test_variance_and_natural_latents(make, laws):
    prior = make()
    v = prior.sample((20_000,), Generator(SEEDS))
    assert torch.allclose(v.var(1).mean(0), prior.variance().view(-1, 2)[0], rtol=0.05)
    z = prior.natural(v)
    assert torch.equal(z, v.sigmoid() if prior.on_unit_interval else v)


@every_prior
def test_everything_a_vae_does(make, laws):
    x = data(20)
    model = a_model(make(), data=x)
    natural = model.prior.natural(model.encode(x).mean)
    assert torch.equal(model.codes(x), natural)
    for value, shape in (
        (model.codes(x, generator=Generator(SEEDS)), (3, 20, 2)),
        (model.reconstruct(x), (3, 20, 4)),
        (model.sample(7, Generator(SEEDS), noise=True), (3, 7, 4)),
    ):
        assert value.shape == shape and value.isfinite().all()
    if model.prior.on_unit_interval:
        drawn = model.codes(x, generator=Generator(SEEDS))
        assert bool(((drawn > 0) & (drawn < 1) & (natural > 0) & (natural < 1)).all())


@every_prior
def test_training_lowers_the_loss_and_bounds_keep_their_order(make, laws):
    x = data(300) @ torch.diag(torch.tensor([3.0, 2.0, 0.1, 0.1]))
    model = a_model(make(), data=x, likelihood=GaussianLikelihood(1.0))
    config = TrainConfig(seeds=SEEDS, steps=60, batch_size=64, learning_rate=0.02)
    history = fit(model, ELBO(), x, config, progress=False)
    assert (history.loss[-1] < history.loss[0]).all()
    lower = evidence_lower_bound(model, x, Generator(SEEDS), samples=64).elbo.mean(1)
    bound = importance_weighted_bound(model, x, Generator(SEEDS), samples=64).mean(1)
    assert (bound > lower).all()


@every_prior
def test_log_variances_start_at_those_of_the_prior_shrunk_by_the_data(make, laws):
    x = 5 * data(50)
    for gamma2 in (1e-6, 1e3):
        model = a_model(make(), data=x, likelihood=GaussianLikelihood(gamma2))
        expected = model.prior.variance().view(-1, 1, 2) / (1 + gamma2 * model.column_norm2)
        assert torch.allclose(model.encoder.log_variance.last.bias.exp(), expected.expand(3, 1, 2), rtol=1e-5)


@every_prior
def test_annealing_moves_the_variances(make, laws):
    model = a_model(make(), likelihood=GaussianLikelihood(100.0), data=data(50))
    full = model.encode(data(5)).variance
    model.likelihood.gamma2.set_multiplier(0.01)
    ratio = model.encode(data(5)).variance / full
    expected = (1 + 100 * model.column_norm2) / (1 + model.column_norm2)
    assert torch.allclose(ratio, expected.expand_as(ratio), rtol=1e-4)


def test_a_learned_beta_finds_the_law_of_its_samples():
    prior = BetaPrior(2, learned=True, members=2)
    v = BetaPrior(2, ALPHA, BETA).sample((4000,), Generator([5, 6]))
    adam = torch.optim.Adam(prior.parameters(), lr=0.05)
    for _ in range(120):
        adam.zero_grad()
        prior().log_prob(v).mean(1).sum().neg().backward()
        adam.step()
    assert prior.log_alpha.shape == (2, 1, 2)
    assert torch.allclose(prior.log_alpha.exp().squeeze(1), ALPHA.expand(2, 2), rtol=0.1)
    assert torch.allclose(prior.log_beta.exp().squeeze(1), BETA.expand(2, 2), rtol=0.1)


def test_fit_learns_the_parameters_of_a_beta_prior_of_each_member():
    model = a_model(BetaPrior(2, 2.0, 2.0, learned=True, members=3), data=data(200))
    fit(model, ELBO(), data(200), TrainConfig(seeds=SEEDS, steps=20, learning_rate=0.01), progress=False)
    learned = model.prior.log_alpha.squeeze(1)
    assert (learned - math.log(2)).abs().min() > 1e-4
    assert not torch.allclose(learned[0], learned[1], atol=1e-4)
    chosen = select(model, [2]).prior
    assert torch.equal(chosen.log_alpha, model.prior.log_alpha[2:])
    assert (model.prior.members, chosen.members, BetaPrior(2).members) == (3, 1, None)


def test_the_decoder_of_a_unit_interval_prior_sees_the_interval():
    model = a_model(UniformPrior(2))
    v = Generator(SEEDS).normal(5, 2)
    assert torch.equal(model.decode(v), model.decoder[1](v.sigmoid()))
    plain = a_model(NormalPrior(2))
    assert torch.equal(plain.decode(v), plain.decoder(v))


class Fixed(nn.Module):
    """An encoder whose posteriors are given."""

    def __init__(self, mean: Tensor, scale: Tensor) -> None:
        super().__init__()
        self.mean, self.scale = mean, scale

    def forward(self, x: Tensor) -> Normal:
        return Normal(self.mean.expand(1, len(x), 1), self.scale.expand(1, len(x), 1))


def one_latent(prior: nn.Module, mean: float, scale: float) -> tuple[VAE, Tensor]:
    """A VAE in float64 with two features and one latent, whose posterior is given, and a data point."""
    decoder = nn.Sequential(
        nn.Sigmoid() if prior.on_unit_interval else nn.Identity(), MLP((1, 8, 2), generator=Generator(4))
    )
    encoder = Fixed(torch.tensor(mean).double(), torch.tensor(scale).double())
    return VAE(encoder, decoder, prior, GaussianLikelihood(20.0)).double(), torch.tensor([[0.3, -0.2]]).double()


def test_the_elbo_of_a_uniform_prior_is_that_of_a_logistic_normal_posterior_in_z():
    model, x = one_latent(UniformPrior(1), 0.4, 0.8)
    z = (0.4 + 0.8 * Generator(8).normal(200_000, 1, dtype=torch.float64)).sigmoid()
    likelihood = model.likelihood.log_prob(model.decoder[1](z), x)
    posterior = Normal(0.4, 0.8).log_prob(z.logit()) - (z * (1 - z)).log()
    terms = likelihood + Beta(1.0, 1.0).log_prob(z)[..., 0] - posterior[..., 0]
    found = evidence_lower_bound(model, x, Generator(9), samples=200_000).elbo.item()
    assert abs(found - terms.mean().item()) < 5 * terms.std().item() * math.sqrt(2 / 200_000)


@pytest.mark.parametrize("name", ["normal", "laplace", "uniform", "beta"])
def test_the_importance_weighted_bound_reaches_the_exact_log_likelihood(name):
    prior = {"beta": lambda: BetaPrior(1, 0.7, 2.0), "uniform": lambda: UniformPrior(1)}.get(
        name, lambda: {"normal": NormalPrior, "laplace": LaplacePrior}[name](1)
    )()
    model, x = one_latent(prior, 0.0, 2.0)
    v = torch.linspace(-60, 60, 60_001, dtype=torch.float64)[:, None]
    joint = model.likelihood.log_prob(model.decode(v), x)[0] + model.prior().log_prob(v)[:, 0]
    exact = torch.trapezoid(joint.exp(), v[:, 0]).log().item()
    bounds = importance_weighted_bound(model, x.expand(50, 2), Generator(1), samples=4000)
    error = bounds.std().item() / math.sqrt(50)
    assert abs(bounds.mean().item() - exact) < 5 * error + 1e-3
    assert error < 0.01
    assert evidence_lower_bound(model, x, Generator(2), samples=4000).elbo.item() < exact - 0.02


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: LaplacePrior(2, 0.0), "variance is 0"),
        (lambda: UniformPrior(0), "size is 0"),
        (lambda: BetaPrior(2, -1.0), "alpha is -1"),
        (lambda: BetaPrior(2, 1.0, math.inf), "beta is inf"),
        (lambda: BetaPrior(2, torch.ones(3)), r"alpha has shape \(3,\); expected one number or 2"),
        (lambda: BetaPrior(2, learned=True), "members is None; expected the number of members"),
        (lambda: a_model(UniformPrior(3)), "prior has 3 latents; expected latent_size = 2"),
        (lambda: a_model(BetaPrior(2, learned=True, members=2)), "prior is made for 2 members; expected 3"),
        (lambda: a_model(UniformPrior(2)).codes(data(3), generator=Generator(0)), "generator has 1 seeds; expected 3"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
