"""FactorVAE: the density ratio against a closed form, gradients that stay apart, permutations, kill and resume."""

from __future__ import annotations

import math
import pathlib
import warnings

import pytest
import torch
from torch.distributions import MultivariateNormal

from latentbook.models import VAE, BernoulliLikelihood, GaussianLikelihood, ISAPrior
from latentbook.nn import select
from latentbook.objectives import ELBO, FactorVAE, Loss, permute_dims
from latentbook.random import Generator
from latentbook.training import ParameterGroup, Ramp, TrainConfig, fit

SEEDS = (0, 1, 2)
SMALL = {"hidden": (8, 8)}


def stack(seeds=SEEDS, prior=None) -> VAE:
    options = {"hidden": (8,), "likelihood": BernoulliLikelihood(), "prior": prior, "generator": Generator(seeds)}
    return VAE.mlp(6, 3, **options)


def objective(gamma=2.0, seeds=SEEDS, **options) -> FactorVAE:
    return FactorVAE(3, gamma, generator=Generator(seeds, stream="discriminator"), **(SMALL | options))


def images(n: int = 20) -> torch.Tensor:
    return (Generator(8).normal(n, 6)[0] > 0).float()


def parameters(module: torch.nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().flatten(1) for p in module.parameters()], dim=1)


def test_the_density_ratio_of_correlated_gaussian_codes():
    """A model held fixed, whose codes are Gaussian with a known correlation; only the discriminator learns."""
    scale, seeds = 0.5, (0, 1)
    correlations = (0.8, -0.6)
    factors = torch.linalg.cholesky(torch.stack([torch.tensor([[1.0, r], [r, 1.0]]) for r in correlations]))
    model = VAE.mlp(2, 2, hidden=(), separate=False, generator=Generator(seeds))
    with torch.no_grad():
        layer = model.encoder.network.last
        layer.weight.zero_()
        layer.bias.zero_()
        layer.weight[:, :, :2] = torch.eye(2)
        layer.bias[..., 2:] = 2 * math.log(scale)
    before = parameters(model)
    found = FactorVAE(2, hidden=(24, 24), generator=Generator(seeds, stream="discriminator"))
    groups = (
        ParameterGroup("objective", betas=(0.5, 0.9)),
        ParameterGroup("encoder", rate=0),
        ParameterGroup("decoder", rate=0),
    )
    config = TrainConfig(seeds=seeds, steps=700, batch_size=512, learning_rate=1e-2, groups=groups)
    history = fit(model, found, lambda generator, n: generator.normal(n, 2) @ factors.mT, config, progress=False)
    assert torch.equal(parameters(model), before)
    assert bool((history.terms["accuracy"][-1] > 0.55).all())
    z = Generator(seeds, stream="test").normal(4000, 2) @ factors.mT
    z = z + scale * Generator(seeds, stream="noise of the test").normal(4000, 2)
    variance = 1 + scale**2
    for k, r in enumerate(correlations):
        covariance = torch.tensor([[variance, r], [r, variance]])
        joint, alone = (MultivariateNormal(torch.zeros(2), c) for c in (covariance, variance * torch.eye(2)))
        exact = joint.log_prob(z[k]) - alone.log_prob(z[k])
        learned = found.density_ratio(z)[k].detach()
        tc = -0.5 * math.log(1 - (r / variance) ** 2)
        assert float(learned.mean()) == pytest.approx(tc, abs=0.05)
        assert float(torch.corrcoef(torch.stack([learned, exact]))[0, 1]) > 0.95


@pytest.mark.parametrize("kl", ["auto", "monte-carlo"])
@pytest.mark.parametrize("prior", [None, lambda: ISAPrior((1, 2))], ids=["normal", "subspaces"])
def test_at_gamma_zero_it_is_the_elbo_of_the_first_half(kl, prior):
    model = stack(prior=prior and prior())
    ours = objective(0.0, kl=kl)(model, images(), Generator(SEEDS))
    theirs = ELBO(kl=kl)(model, images()[:10], Generator(SEEDS))
    assert torch.allclose(ours.value, theirs.value, atol=1e-5)
    assert all(torch.allclose(ours.terms[name], theirs.terms[name], atol=1e-5) for name in theirs.terms)
    assert list(ours.terms) == ["reconstruction", "kl", "tc", "elbo", "discriminator", "accuracy"]


def test_gradients_do_not_leak():
    model, factor = stack(), objective()
    loss = factor(model, images(), Generator(SEEDS))
    everything = [*model.parameters(), *factor.parameters()]
    count = len(list(model.parameters()))
    value, own = (
        torch.autograd.grad(part.sum(), everything, allow_unused=True, retain_graph=True)
        for part in (loss.value, loss.own)
    )
    assert all(g is not None and bool((g != 0).any()) for g in value[:count] + own[count:])
    assert all(g is None for g in value[count:] + own[:count])
    assert not any(term.requires_grad for term in loss.terms.values())


def test_the_model_is_moved_by_gamma_times_the_slope_of_the_ratio():
    """Against the same terms written out."""
    model, factor, gamma = stack(), objective([0.5, 2.0, 7.0]), torch.tensor([0.5, 2.0, 7.0])
    loss = factor(model, images(), Generator(SEEDS))
    generator, half = Generator(SEEDS), images()[:10]
    posterior = model.encode(half)
    z = posterior.mean + posterior.stddev * generator.normal(10, 3)
    tc = factor.density_ratio(z).mean(1)
    expected = ELBO()(model, half, Generator(SEEDS)).value + gamma * tc
    assert torch.allclose(loss.value, expected, atol=1e-5)
    weight = model.encoder.network.last.weight
    slopes = [torch.autograd.grad(v.sum(), weight)[0] for v in (loss.value, expected)]
    assert torch.allclose(*slopes, atol=1e-6)
    other = model.encode(images()[10:])
    permuted = permute_dims(other.mean + other.stddev * generator.normal(10, 3), generator)
    likely = factor.density_ratio(z).sigmoid(), factor.density_ratio(permuted).sigmoid()
    own = -(likely[0].log().mean(1) + (1 - likely[1]).log().mean(1)) / 2
    assert torch.allclose(loss.own, own, atol=1e-6)
    right = ((likely[0] > 0.5).float().mean(1) + (likely[1] < 0.5).float().mean(1)) / 2
    assert torch.allclose(loss.terms["accuracy"], right)


def test_permuted_codes_keep_their_marginals_and_lose_their_pairs():
    z = Generator([1, 2]).normal(400, 1).expand(2, 400, 3) + torch.tensor([0.0, 10.0, 20.0])
    permuted = permute_dims(z, Generator([1, 2]))
    assert torch.equal(permuted.sort(1).values, z.sort(1).values)
    for member in permuted:
        correlation = torch.corrcoef(member.T) - torch.eye(3)
        assert float(correlation.abs().max()) < 4 / math.sqrt(400)
    assert not torch.equal(permuted[0].argsort(0), permuted[1].argsort(0))
    alone = permute_dims(z[1:], Generator([2]))
    assert torch.equal(alone[0], permuted[1])
    assert not torch.equal(permute_dims(z, Generator([1, 2]).at(1)), permuted)


def test_a_member_follows_its_solo_run():
    """In float64, model and discriminator alike."""

    def run(seeds, gammas):
        trained, factor = stack(seeds).double(), objective(gammas, seeds).double()
        config = TrainConfig(seeds=seeds, steps=30, batch_size=8, learning_rate=1e-2)
        fit(trained, factor, images(40).double(), config, progress=False)
        return torch.cat([parameters(trained), parameters(factor)], dim=1)

    whole = run(SEEDS, [0.5, 2.0, 7.0])
    for k, gamma in enumerate((0.5, 2.0, 7.0)):
        assert torch.allclose(run(SEEDS[k : k + 1], gamma)[0], whole[k], rtol=1e-9, atol=1e-11)


def test_x_and_u_are_halved_together():
    model, x = stack(), images()
    u, seen = torch.arange(20), []

    def encode(x, u=None):
        seen.append((x, u))
        return VAE.encode(model, x)

    model.encode = encode
    with_u = objective()(model, (x, u), Generator(SEEDS))
    for (part, aux), rows in zip(seen, (slice(0, 10), slice(10, 20)), strict=True):
        assert torch.equal(part, x[rows]) and torch.equal(aux, u[rows])
    each = objective()(model, (x.expand(3, 20, 6), u.expand(3, 20)), Generator(SEEDS))
    assert seen[-1][1].shape == (3, 10)
    assert torch.allclose(each.value, with_u.value)


def test_gamma_is_a_knob_that_schedules_move():
    seen = []

    class Watched(FactorVAE):
        def forward(self, *arguments):
            seen.append(self.gamma().tolist())
            return super().forward(*arguments)

    factor = Watched(3, [2.0, 4.0, 6.0], **SMALL, generator=Generator(SEEDS))
    config = TrainConfig(seeds=SEEDS, steps=5, batch_size=8, schedules={"gamma": Ramp(0.5, until=1.0)})
    fit(stack(), factor, images(), config, progress=False)
    assert seen[0] == [1, 2, 3] and seen[-1] == pytest.approx([2, 4, 6])


class Failing(FactorVAE):
    """The discriminator's loss of one member is not a number from some step on."""

    count, step = 0, 5

    def forward(self, model, batch, generator) -> Loss:
        loss = super().forward(model, batch, generator)
        factor = torch.ones_like(loss.own)
        factor[1] = math.nan if self.count == self.step else 1.0
        self.count += 1
        return Loss(loss.value, loss.terms, loss.own * factor)


@pytest.mark.parametrize("step", [5, 19], ids=["midway", "last update"])
def test_a_discriminator_that_fails_takes_no_other_member_with_it(step):
    results = []
    for kind in (FactorVAE, Failing):
        trained, factor = stack(), kind(3, 2.0, **SMALL, generator=Generator(SEEDS))
        factor.step = step
        config = TrainConfig(seeds=SEEDS, steps=20, batch_size=8, log_every=10)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            history = fit(trained, factor, images(), config, progress=False)
        results.append(torch.cat([parameters(trained), parameters(factor)], dim=1))
    assert history.diverged == {1: min(step + 1, 19)}
    assert torch.equal(results[0][[0, 2]], results[1][[0, 2]])
    assert bool(results[1][1].isnan().all()), "the model and the discriminator of the member are erased"
    assert bool(select(factor, history.alive).density_ratio(torch.zeros(2, 4, 3)).isfinite().all())


def test_interrupted_and_resumed_it_ends_bit_for_bit_the_same(tmp_path: pathlib.Path, monkeypatch):
    class Interrupted(Exception):
        pass

    def run(path, stop=None):
        trained, factor, count = stack(), objective([0.5, 2.0, 7.0]), [0]
        forward = FactorVAE.forward

        def counted(self, *arguments):
            count[0] += 1
            if count[0] == stop:
                raise Interrupted
            return forward(self, *arguments)

        settings = {"checkpoint": path, "checkpoint_every": 4, "log_every": 3, "learning_rate": 1e-2}
        groups = (ParameterGroup("objective", betas=(0.5, 0.9), rate=0.5),)
        schedules = {"gamma": Ramp(0.1, until=0.5)}
        config = TrainConfig(seeds=SEEDS, steps=20, batch_size=8, groups=groups, schedules=schedules, **settings)
        with monkeypatch.context() as patch:
            patch.setattr(FactorVAE, "forward", counted)
            history = fit(trained, factor, images(40), config, resume=path is not None, progress=False)
        return torch.cat([parameters(trained), parameters(factor)], dim=1), history

    reference, history = run(None)
    path = tmp_path / "run.safetensors"
    for stop in (3, 7, 10):
        with pytest.raises(Interrupted):
            run(path, stop)
    found, resumed = run(path)
    assert torch.equal(found, reference)
    assert torch.equal(resumed.loss, history.loss)
    assert all(torch.equal(resumed.terms[name], history.terms[name]) for name in history.terms)


def test_training_with_it_lowers_the_total_correlation():
    """Data on a circle, as in the test of the beta-TCVAE."""
    angle = 2 * math.pi * Generator(3).uniform(512)[0]
    x = torch.stack([angle.cos(), angle.sin()], 1)
    seeds = SEEDS * 2
    model = VAE.mlp(2, 2, hidden=(32,), likelihood=GaussianLikelihood(30.0), data=x, generator=Generator(seeds))
    factor = FactorVAE(2, [0.0] * 3 + [6.0] * 3, hidden=(32, 32), generator=Generator(seeds, stream="discriminator"))
    groups = (ParameterGroup("objective", betas=(0.5, 0.9)),)
    config = TrainConfig(seeds=seeds, steps=400, batch_size=128, learning_rate=1e-2, groups=groups)
    tc = fit(model, factor, x, config, progress=False).terms["tc"][-1]
    assert bool((tc[3:] < 0.7 * tc[:3]).all())


@pytest.mark.parametrize(
    ("error", "message", "call"),
    [
        (ValueError, "gamma is -1", lambda: objective(-1.0)),
        (ValueError, "kl is 'exact'", lambda: objective(kl="exact")),
        (ValueError, "latent_size is 0", lambda: FactorVAE(0, generator=Generator(0))),
        (ValueError, "outputs is 0", lambda: objective(hidden=(4, 0))),
        (ValueError, "activation is 'sine'", lambda: objective(activation="sine")),
        (TypeError, "generator is a int", lambda: FactorVAE(3, generator=3)),
        (
            ValueError,
            "the batch has 7 data points; expected an even",
            lambda: objective()(stack(), images(7), Generator(SEEDS)),
        ),
        (
            ValueError,
            "the batch has 2 data points; .* at least 4",
            lambda: objective()(stack(), images(2), Generator(SEEDS)),
        ),
        (
            ValueError,
            "gamma has 2 values; expected one number or 3",
            lambda: objective([1.0, 2.0])(stack(), images(), Generator(SEEDS)),
        ),
        (
            ValueError,
            "model has 3 members and 3 latents; expected 2 and 3, as the discriminator",
            lambda: objective(seeds=(1, 2))(stack(), images(), Generator(SEEDS)),
        ),
        (
            ValueError,
            "model has 3 members and 3 latents; expected 3 and 4",
            lambda: FactorVAE(4, generator=Generator(SEEDS), **SMALL)(stack(), images(), Generator(SEEDS)),
        ),
        (ValueError, r"z has shape \(4, 2\); expected", lambda: permute_dims(torch.zeros(4, 2), Generator(0))),
        (
            ValueError,
            "generator has 2 seeds; expected 3",
            lambda: permute_dims(torch.zeros(3, 4, 2), Generator([0, 1])),
        ),
    ],
)
def test_bad_input(error, message, call):
    with pytest.raises(error, match=message):
        call()
