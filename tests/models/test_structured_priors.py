"""Priors with exponents, in the VAE and its objectives."""

from __future__ import annotations

import pytest
import torch
from scipy.stats import gennorm

from latentbook.distributions import LpNested
from latentbook.models import VAE, GeneralizedNormalPrior, ISAPrior, NormalPrior
from latentbook.models.priors import kl_divergence, log_prob
from latentbook.nn import select
from latentbook.objectives import ELBO, evidence_lower_bound, importance_weighted_bound, three_entropies
from latentbook.random import Generator
from latentbook.training import TrainConfig, fit

SEEDS = (0, 1, 2)
PRIORS = {
    "generalised normal": lambda: GeneralizedNormalPrior(4, [1.0, 2.0, 4.0, 8.0]),
    "generalised normal, per member": lambda: GeneralizedNormalPrior(4, torch.tensor([[1.0], [2.2], [6.0]])),
    "generalised normal, learned": lambda: GeneralizedNormalPrior(4, 2.0, learned=True, members=3),
    "subspaces": lambda: ISAPrior((2, 2)),
    "subspaces, per member": lambda: ISAPrior((1, 3), inner=[[0.8, 4.0]] * 3, outer=[[2.0], [2.1], [5.0]]),
    "subspaces, learned": lambda: ISAPrior((2, 2), inner=2.0, learned=True, members=3),
    "subspaces, learned at unit variance": lambda: ISAPrior((3, 1), scale=None, learned=True, members=3),
}


def data(*shape: int) -> torch.Tensor:
    return Generator(99).normal(*shape)[0]


@pytest.fixture(params=PRIORS)
def prior(request: pytest.FixtureRequest) -> torch.nn.Module:
    return PRIORS[request.param]()


def model(prior: torch.nn.Module, seeds=SEEDS) -> VAE:
    return VAE.mlp(6, 4, hidden=(8,), prior=prior, data=data(64, 6), generator=Generator(seeds))


def test_samples_have_the_moments_of_the_density(prior):
    n, law = 40_000, prior()
    z = prior.sample((n // 2, 2), Generator(SEEDS))
    assert z.shape == (3, n // 2, 2, 4)
    z = z.detach().view(3, n, 4)
    variance, entropy = (part.detach() for part in (prior.variance(), law.entropy()))
    entropy = entropy if law.event_shape else entropy.sum(-1)
    for estimate, exact in ((z.square(), variance), (-log_prob(law, z).detach(), entropy)):
        error = estimate.std(1) / n**0.5
        exact = exact.expand_as(estimate[:, :1])[:, 0]
        assert bool(((estimate.mean(1) - exact).abs() < 4.5 * error).all())


def test_every_objective_takes_them(prior):
    vae, x, objective = model(prior), data(64, 6), ELBO()
    loss = objective(vae, x, Generator(SEEDS)).value
    assert loss.shape == (3,)
    parameters = [p for p in vae.parameters() if p.requires_grad]
    gradients = torch.autograd.grad(loss.sum(), parameters)
    assert all(bool(g.isfinite().all()) and bool((g != 0).any()) for g in gradients)
    lower = evidence_lower_bound(vae, x, Generator(SEEDS), samples=64).elbo.mean(1)
    upper = importance_weighted_bound(vae, x, Generator(SEEDS), samples=64).mean(1)
    assert bool((lower < upper).all())
    assert three_entropies(vae, x).shape == (3,)
    assert vae.sample(5, Generator(SEEDS)).shape == (3, 5, 6)


def test_there_is_no_closed_form_kl(prior):
    posterior = torch.distributions.Normal(data(3, 5, 4), torch.ones(3, 5, 4))
    assert kl_divergence(posterior, prior()) is None


def test_a_member_is_what_it_is_alone():
    x, train = data(64, 6), {"steps": 20, "batch_size": 16, "device": "cpu"}
    stack, alone = (
        model(ISAPrior((2, 2), inner=2.0, learned=True, members=len(seeds)), seeds) for seeds in (SEEDS, SEEDS[1:2])
    )
    for vae, seeds in ((stack, SEEDS), (alone, SEEDS[1:2])):
        fit(vae, ELBO(), x, TrainConfig(seeds=seeds, **train), progress=False)
    exponents = stack.prior.inner().detach()
    assert exponents.shape == (3, 1, 2)
    assert bool((exponents != 2.0).all())
    assert torch.allclose(exponents[1], alone.prior.inner().detach()[0], atol=1e-4)
    assert torch.equal(stack.prior.outer(), torch.tensor([2.1]))
    draws = stack.prior.sample((5,), Generator(SEEDS))
    assert torch.allclose(draws[1], alone.prior.sample((5,), Generator(SEEDS[1:2]))[0], atol=1e-3)


def test_selected_members_keep_their_exponents():
    powers = torch.tensor([[1.0], [2.2], [6.0]])
    chosen = select(model(GeneralizedNormalPrior(4, powers)), [2, 0])
    assert torch.equal(chosen.prior.powers()[:, 0, 0], torch.tensor([6.0, 1.0]))
    assert VAE(chosen.encoder, chosen.decoder, chosen.prior, chosen.likelihood).members == 2


def test_members_are_those_that_were_selected(prior):
    vae = model(prior)
    expected = None if prior.members is None else 2
    assert prior.members in (None, 3) and select(vae, [2, 0]).prior.members == expected


def test_exponents_of_two_estimate_the_closed_form():
    x = data(2000, 6)
    exact = evidence_lower_bound(model(NormalPrior(4)), x, Generator(SEEDS), samples=16).elbo
    for prior in (GeneralizedNormalPrior(4, 2.0), ISAPrior((2, 2), inner=2.0, outer=2.0, scale=2.0)):
        estimate = evidence_lower_bound(model(prior), x, Generator(SEEDS), samples=16).elbo
        error = (estimate - exact).std(1) / len(x) ** 0.5
        assert bool(((estimate - exact).mean(1).abs() < 4 * error).all())
        assert bool((error > 0).all())


def test_the_laws_meant():
    z = data(7, 4)
    prior = GeneralizedNormalPrior(4, 3.0, variance=0.5)
    scale = (0.5 / gennorm(beta=3.0).var()) ** 0.5
    expected = torch.as_tensor(gennorm(beta=3.0, scale=scale).logpdf(z), dtype=z.dtype).sum(-1)
    assert torch.allclose(log_prob(prior(), z), expected, atol=1e-5)
    paper = ISAPrior((2, 2))
    assert torch.allclose(log_prob(paper(), z), LpNested.isa((2, 2), inner=2.2, outer=2.1).log_prob(z))
    assert ISAPrior((2,) * 5, scale=None)().scale.item() == pytest.approx(2.14094, abs=1e-4)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: GeneralizedNormalPrior(0), "size is 0"),
        (lambda: GeneralizedNormalPrior(2, -1.0), "power is -1.0; expected positive"),
        (lambda: GeneralizedNormalPrior(2, [1.0, 2.0, 3.0]), r"power has shape \(3,\)"),
        (lambda: GeneralizedNormalPrior(2, variance=float("nan")), "variance is nan"),
        (lambda: GeneralizedNormalPrior(2, learned=True), "members is None; expected the number"),
        (lambda: GeneralizedNormalPrior(2, torch.ones(3, 2), members=4), r"expected one number, \(2,\) or \(4, 2\)"),
        (lambda: ISAPrior(()), "sizes is empty"),
        (lambda: ISAPrior((2, 0)), "contains 0"),
        (lambda: ISAPrior((2, 2), inner=[2.0] * 3), r"inner has shape \(3,\)"),
        (lambda: ISAPrior((2, 2), outer=float("inf")), "outer is inf"),
        (lambda: ISAPrior((2, 2), scale=0.0), "scale is 0.0"),
        (lambda: ISAPrior((2, 2), learned=True), "members is None"),
        (lambda: ISAPrior((2, 2), inner=torch.ones(3, 2), outer=torch.ones(4, 1)), r"members is given as \[3, 4\]"),
        (lambda: model(ISAPrior((2, 2), inner=torch.ones(2, 2))), "prior is made for 2 members; expected 3"),
        (lambda: model(ISAPrior((2, 2, 2))), "prior has 6 latents; expected latent_size = 4"),
    ],
)
def test_bad_input(make, message):
    with pytest.raises(ValueError, match=message):
        make()
