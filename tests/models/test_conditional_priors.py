"""Priors that depend on u: their densities, draws and KL in closed form, for labels and for real vectors."""

from __future__ import annotations

import math

import pytest
import torch
from scipy import stats
from torch import Tensor
from torch.autograd import gradcheck
from torch.distributions import Normal

from latentbook.models import VAE, ConditionalLaplacePrior, ConditionalNormalPrior, NormalPrior
from latentbook.models.priors import kl_divergence, log_prob
from latentbook.nn import select
from latentbook.random import Generator

SEEDS = (0, 1, 2)
LAWS = {"normal": (ConditionalNormalPrior, stats.norm), "laplace": (ConditionalLaplacePrior, stats.laplace)}
every_law = pytest.mark.parametrize(("make", "law"), LAWS.values(), ids=LAWS)
LOCATION = Generator(SEEDS, stream="location").normal(4, 2)
SCALE = Generator(SEEDS, stream="scale").normal(4, 2).exp()
LABELS = torch.tensor([0, 3, 3, 1, 2])


def shaken(prior):
    """The prior with parameters that differ between members and from the start."""
    generator = Generator(SEEDS, stream="shake")
    with torch.no_grad():
        for parameter in prior.parameters():
            parameter.add_(0.5 * generator.normal(*parameter.shape[1:]))
    return prior


@every_law
def test_density_given_a_label_is_that_of_scipy(make, law):
    prior, z = make.known(LOCATION, SCALE), Generator(SEEDS).normal(5, 2)
    unit = 1 if law is stats.norm else math.sqrt(0.5)  # scale of a law of unit variance
    location, scale = LOCATION[:, LABELS], SCALE[:, LABELS]
    expected = law.logpdf(z.numpy(), location.numpy(), unit * scale.numpy()).sum(-1)
    assert torch.allclose(log_prob(prior(LABELS), z).double(), torch.from_numpy(expected).double(), atol=1e-4)
    assert torch.allclose(prior(LABELS).stddev, scale, rtol=1e-5)


@every_law
def test_draws_follow_the_law_of_their_label(make, law):
    prior = make.known(LOCATION, SCALE)
    u = torch.arange(4).repeat_interleave(2000)
    z = prior.sample((8000,), Generator(SEEDS), u)
    unit = 1 if law is stats.norm else math.sqrt(0.5)
    for label in (0, 3):
        for k in range(2):
            frozen = law(float(LOCATION[1, label, k]), unit * float(SCALE[1, label, k]))
            assert stats.kstest(z[1, u == label, k].numpy(), frozen.cdf).pvalue > 0.001
    assert prior.sample((6, 5), Generator(SEEDS), LABELS).shape == (3, 6, 5, 2)


def test_the_density_of_draws_has_the_entropy_of_the_law():
    prior, u = ConditionalNormalPrior.known(LOCATION, SCALE), torch.arange(4).repeat(5000)
    surprise = -log_prob(prior(u), prior.sample((20_000,), Generator(SEEDS), u))
    error = surprise.std(1) / math.sqrt(20_000)
    assert ((surprise.mean(1) - prior(u).entropy().sum(-1).mean(1)).abs() < 5 * error).all()


def test_kl_to_a_conditional_normal_prior_is_the_formula():
    prior, posterior = (
        ConditionalNormalPrior.known(LOCATION, SCALE),
        Normal(LOCATION[:, LABELS] + 0.3, torch.tensor(0.7)),
    )
    variance = SCALE[:, LABELS].square()
    expected = (0.5 * ((0.49 + 0.09) / variance - 1 - (0.49 / variance).log())).sum(-1)
    assert torch.allclose(kl_divergence(posterior, prior(LABELS)), expected, rtol=1e-4)


def test_kl_to_a_conditional_laplace_prior_is_the_mean_log_ratio():
    prior, posterior = ConditionalLaplacePrior.known(LOCATION, SCALE)(LABELS), Normal(LOCATION[:, LABELS] + 0.3, 0.7)
    z = posterior.mean + 0.7 * Generator(range(20_000)).normal(3, 5, 2)
    ratio = (posterior.log_prob(z) - prior.log_prob(z)).sum(-1)
    error = ratio.std(0) / math.sqrt(20_000)
    assert ((kl_divergence(posterior, prior) - ratio.mean(0)).abs() < 5 * error).all()


@pytest.mark.parametrize("modulates", ["location", "scale", "both"])
@pytest.mark.parametrize("of", [{"classes": 4}, {"u_size": 3}], ids=["classes", "vector"])
@every_law
def test_it_starts_as_the_plain_prior_and_moves_only_what_it_may(make, law, of, modulates):
    prior = make(2, **of, modulates=modulates, generator=Generator(SEEDS))
    u = LABELS if "classes" in of else Generator(9).normal(5, 3)[0]
    start = prior(u)
    assert start.batch_shape == (3, 5, 2) and prior.members == 3 and prior.conditional
    assert torch.equal(start.mean, torch.zeros(3, 5, 2))
    assert torch.allclose(start.variance, torch.ones(3, 5, 2))
    moved = shaken(prior)(u)
    assert bool((moved.mean == 0).all()) is (modulates == "scale")
    assert torch.allclose(moved.variance, torch.ones(3, 5, 2)) is (modulates == "location")


def test_labels_one_hot_rows_and_labels_of_each_member_agree():
    prior = shaken(ConditionalNormalPrior(2, classes=4, generator=Generator(SEEDS)))
    whole = prior(LABELS)
    for same in (LABELS.expand(3, 5), LABELS.int(), torch.eye(4)[LABELS], torch.eye(4)[LABELS].expand(3, 5, 4)):
        assert torch.allclose(prior(same).mean, whole.mean) and torch.allclose(prior(same).scale, whole.scale)
    own = torch.stack([LABELS, LABELS.flip(0), LABELS])
    assert torch.equal(prior(own).mean[1], whole.mean[1].flip(0))
    halves = torch.tensor([[0.5, 0.5, 0.0, 0.0]])
    both = prior(torch.tensor([0, 1]))
    assert torch.allclose(prior(halves).mean, both.mean.mean(1, keepdim=True))
    assert torch.allclose(prior(halves).scale.log(), both.scale.log().mean(1, keepdim=True), atol=1e-6)


def test_a_constant_u_gives_one_law_for_all_rows():
    for of, u in (({"classes": 1}, torch.zeros(5, dtype=torch.int64)), ({"u_size": 2}, torch.full((5, 2), 0.4))):
        law = shaken(ConditionalNormalPrior(2, **of, generator=Generator(SEEDS)))(u)
        assert torch.allclose(law.mean, law.mean[:, :1].expand(3, 5, 2))
        assert torch.allclose(law.scale, law.scale[:, :1].expand(3, 5, 2))
    posterior = Normal(LOCATION, SCALE)
    for start in (
        ConditionalNormalPrior(2, **of, generator=Generator(SEEDS)) for of in ({"classes": 1}, {"u_size": 1})
    ):
        u = torch.zeros(4, dtype=torch.int64) if start.auxiliary.classes else torch.ones(4, 1)
        assert torch.equal(kl_divergence(posterior, start(u)), kl_divergence(posterior, NormalPrior(2)()))


@every_law
def test_gradients_reach_only_the_labels_that_occur(make, law):
    prior = make(2, classes=4, generator=Generator(SEEDS))
    log_prob(prior(torch.tensor([1, 1, 3])), torch.full((3, 3, 2), 0.7)).sum().backward()
    touched = prior.table.grad.abs().sum((0, 2)) > 0
    assert touched.tolist() == [False, True, False, True]


def test_the_gradient_of_the_log_density_is_right():
    prior = ConditionalNormalPrior(2, classes=3, generator=Generator([0])).double()
    z = Generator([0]).normal(4, 2, dtype=torch.float64)

    def density(table: Tensor) -> Tensor:
        return torch.func.functional_call(_Density(prior), {"prior.table": table}, (torch.tensor([0, 2, 2, 1]), z))

    start = Generator([1]).normal(3, 4, dtype=torch.float64).requires_grad_()
    assert gradcheck(density, (start,))


class _Density(torch.nn.Module):
    def __init__(self, prior):
        super().__init__()
        self.prior = prior

    def forward(self, u, z):
        return log_prob(self.prior(u), z)


def test_the_variance_over_all_u_adds_that_of_the_means():
    prior = ConditionalNormalPrior.known(LOCATION, SCALE)
    expected = SCALE.square().mean(1) + LOCATION.var(1, correction=0)
    assert torch.allclose(prior.variance()[:, 0], expected, rtol=1e-5)
    assert torch.equal(ConditionalNormalPrior(2, u_size=3, generator=Generator(SEEDS)).variance(), torch.ones(3, 1, 2))
    z = prior.sample((40_000,), Generator(SEEDS), torch.arange(4).repeat(10_000))
    assert torch.allclose(z.var(1), expected, rtol=0.1)


@every_law
@pytest.mark.parametrize("of", [{"classes": 4}, {"u_size": 3}], ids=["classes", "vector"])
def test_a_member_is_what_it_is_alone(make, law, of):
    u = LABELS if "classes" in of else Generator(9).normal(5, 3)[0]
    prior = shaken(make(2, **of, generator=Generator(SEEDS)))
    alone = select(prior, [1])
    assert alone.members == 1 and torch.allclose(alone(u).mean[0], prior(u).mean[1], atol=1e-6)
    drawn = prior.sample((5,), Generator(SEEDS), u)[1]
    assert torch.allclose(alone.sample((5,), Generator(SEEDS[1]), u)[0], drawn, atol=1e-6)


def test_known_parameters_are_held_fixed():
    prior = ConditionalNormalPrior.known(LOCATION, SCALE)
    model = VAE.mlp(4, 2, hidden=(8,), prior=prior, generator=Generator(SEEDS))
    assert [name for name, p in model.named_parameters() if not p.requires_grad] == ["prior.table"]


def a_prior(**of):
    return ConditionalNormalPrior(2, **({"classes": 4} | of), generator=Generator(SEEDS))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: a_prior(u_size=3), "classes is 4 and u_size is 3; expected exactly one"),
        (lambda: a_prior(classes=None), "classes is None and u_size is None"),
        (lambda: a_prior(classes=0), "classes is 0; expected a positive integer"),
        (lambda: a_prior(classes=None, u_size=2.5), "u_size is 2.5"),
        (lambda: a_prior(modulates="mean"), "modulates is 'mean'; expected one of"),
        (lambda: ConditionalNormalPrior(0, classes=2, generator=Generator(0)), "latent_size has the size 0"),
        (lambda: a_prior()(), "u is None; expected the auxiliary variable: labels 0 to 3"),
        (lambda: a_prior(classes=None, u_size=3)(None), r"u is None; expected .* real vectors \(n, 3\)"),
        (lambda: a_prior()(LABELS + 1), "u has labels from 1 to 4; expected 0 to 3"),
        (lambda: a_prior()(LABELS - 1), "u has labels from -1 to 2"),
        (lambda: a_prior()(LABELS.expand(2, 5)), r"u is torch.int64 \(2, 5\).* with 3 member"),
        (lambda: a_prior()(torch.zeros(5, 3)), r"u is torch.float32 \(5, 3\); expected labels"),
        (lambda: a_prior(classes=None, u_size=3)(LABELS), "u is torch.int64"),
        (lambda: a_prior().sample((4,), Generator(SEEDS), LABELS), "u has 5 rows; expected as many as the last entry"),
        (lambda: a_prior().sample((5,), Generator(SEEDS)), "u is None"),
        (lambda: ConditionalNormalPrior.known(LOCATION, -SCALE), "a scale is not positive"),
        (lambda: ConditionalNormalPrior.known(LOCATION, SCALE[:, :2]), r"expected \(members, classes, latents\)"),
    ],
)
def test_bad_input(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def test_u_of_another_type():
    with pytest.raises(TypeError, match="u is a list; expected a tensor"):
        a_prior()([0, 1])
