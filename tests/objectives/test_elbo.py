"""The bounds against a linear-Gaussian model, in which log p(x), the posterior and the gap are known exactly."""

from __future__ import annotations

import math

import pytest
import torch
from torch.distributions import MultivariateNormal, Normal

from latentbook.models import VAE, BernoulliLikelihood, FreePosterior, GaussianEncoder, GaussianLikelihood, NormalPrior
from latentbook.nn import MLP, select
from latentbook.objectives import ELBO, elbo_gap, evidence_lower_bound, importance_weighted_bound, three_entropies
from latentbook.random import Generator
from latentbook.training import TrainConfig, fit

SEEDS = (0, 1)
GAMMA2 = 5.0
WEIGHTS = torch.tensor([[1.0, 1.0], [0.0, 1.0], [0.5, -0.3]], dtype=torch.float64)  # x = W z + noise


@pytest.fixture(autouse=True)
def double_precision():
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


def linear_model(weights: torch.Tensor = WEIGHTS) -> VAE:
    """A linear VAE with the best diagonal Gaussian posterior: mean exact, variances 1 / precision_kk."""
    generator = Generator(SEEDS)
    precision = torch.eye(2) + GAMMA2 * weights.T @ weights
    encoder, spread, decoder = (MLP(sizes, generator=generator) for sizes in ((3, 2), (3, 2), (2, 3)))
    with torch.no_grad():
        for network in (encoder, spread, decoder):
            for parameter in network.parameters():
                parameter.zero_()
        decoder.last.weight.copy_(weights.T)
        encoder.last.weight.copy_(GAMMA2 * weights @ precision.inverse())
        spread.last.bias.copy_(-precision.diag().log())
    return VAE(GaussianEncoder(encoder, spread), decoder, NormalPrior(2), GaussianLikelihood(GAMMA2))


def data(n: int) -> torch.Tensor:
    z, noise = Generator(7).normal(n, 2)[0], Generator(8).normal(n, 3)[0]
    return z @ WEIGHTS.T + noise / math.sqrt(GAMMA2)


def log_evidence(x: torch.Tensor, weights: torch.Tensor = WEIGHTS) -> torch.Tensor:
    return MultivariateNormal(torch.zeros(3), weights @ weights.T + torch.eye(3) / GAMMA2).log_prob(x)


def exact_gap(weights: torch.Tensor = WEIGHTS) -> float:
    """KL from the best diagonal Gaussian to the posterior: half of sum log precision_kk - log det precision."""
    precision = torch.eye(2) + GAMMA2 * weights.T @ weights
    return float(0.5 * (precision.diag().log().sum() - precision.logdet()))


def within(estimate: torch.Tensor, exact: torch.Tensor, standard_errors: float = 4.0) -> bool:
    """Whether the mean of independent estimates agrees with the exact mean."""
    error = (estimate - exact).std() / math.sqrt(estimate.numel())
    return bool(abs((estimate - exact).mean()) < standard_errors * error)


def test_elbo_is_log_evidence_minus_the_gap():
    x = data(2000)
    parts = evidence_lower_bound(linear_model(), x, Generator(SEEDS), samples=64)
    assert within(parts.elbo[0], log_evidence(x) - exact_gap())
    assert torch.allclose(parts.elbo, parts.reconstruction - parts.kl)


def test_importance_weighted_bound_rises_to_log_evidence():
    x = data(500)
    sizes = (1, 4, 32, 1024)
    bounds = [importance_weighted_bound(linear_model(), x, Generator(SEEDS), samples=s).mean() for s in sizes]
    assert bounds[0] < bounds[1] < bounds[2] < bounds[3]
    assert float(bounds[3]) == pytest.approx(float(log_evidence(x).mean()), abs=5e-3)


def test_the_gap_is_measured():
    gap = elbo_gap(linear_model(), data(2000), Generator(SEEDS), samples=512)
    assert exact_gap() > 0.1
    for estimate, error in zip(gap.gap, gap.standard_error, strict=True):
        assert abs(float(estimate) - exact_gap()) < 4 * float(error)
    assert torch.allclose(gap.gap, gap.bound - gap.elbo)


def test_no_gap_where_the_posterior_is_diagonal():
    weights = torch.tensor([[1.0, 0.0], [0.0, 2.0], [0.0, 0.0]], dtype=torch.float64)
    gap = elbo_gap(linear_model(weights), data(500), Generator(SEEDS), samples=64)
    assert exact_gap(weights) == pytest.approx(0.0, abs=1e-12)
    assert bool((gap.gap.abs() < 4 * gap.standard_error).all())


@pytest.mark.parametrize("options", [{}, {"antithetic": True}, {"samples": 4}, {"kl": "monte-carlo", "samples": 64}])
def test_the_objective_estimates_the_negative_elbo(options):
    x, objective, model = data(4000), ELBO(**options), linear_model()
    exact = log_evidence(x).mean() - exact_gap()
    losses = torch.stack([objective(model, x, Generator(SEEDS).at(step)).value[0] for step in range(50)])
    error = losses.std() / math.sqrt(len(losses))
    assert abs((losses.mean() + exact).item()) < 4 * error.item()


def test_antithetic_pairs_cancel_odd_terms():
    """The gradient of the decoder's bias is linear in z: mirrored pairs leave no noise in it, independent ones do."""
    x, model = data(20), linear_model()

    def spread(objective: ELBO) -> float:
        gradients = []
        for step in range(10):
            loss = objective(model, x, Generator(SEEDS).at(step)).value.sum()
            gradients.append(torch.autograd.grad(loss, model.decoder.last.bias)[0])
        return torch.stack(gradients).std(0).max().item()

    assert spread(ELBO(antithetic=True)) < 1e-12
    assert spread(ELBO(samples=2)) > 1e-3


def test_beta_weighs_the_kl_of_each_member():
    x, model = data(50), linear_model()
    loss = ELBO([0.5, 4.0])(model, x, Generator([3, 3]))
    terms = loss.terms
    assert torch.allclose(loss.value, torch.tensor([0.5, 4.0]) * terms["kl"] - terms["reconstruction"])
    assert torch.allclose(terms["elbo"], terms["reconstruction"] - terms["kl"])


def test_estimates_do_not_depend_on_neighbours():
    x, model = data(100), linear_model()
    whole = importance_weighted_bound(model, x, Generator([1, 2]), samples=8)
    assert torch.allclose(importance_weighted_bound(model, x, Generator([5, 2]), samples=8)[1], whole[1])
    alone = importance_weighted_bound(select(model, [1]), x, Generator([2]), samples=8)
    assert torch.allclose(alone[0], whole[1])


def test_what_is_split_for_all_members_together_changes_nothing(monkeypatch):
    x, model = data(100), linear_model()
    whole = evidence_lower_bound(model, x, Generator([1, 2]), samples=8)
    bound = importance_weighted_bound(model, x, Generator([1, 2]), samples=8)
    monkeypatch.setattr("latentbook.objectives.sampling._TOTAL", 2 * 3 * 30)  # thirty data points at once
    assert torch.allclose(importance_weighted_bound(model, x, Generator([1, 2]), samples=8), bound)
    parts = evidence_lower_bound(model, x, Generator([1, 2]), samples=8)
    assert all(torch.allclose(one, other) for one, other in zip(parts, whole, strict=True))


@pytest.mark.parametrize("block", [3 * 3 * 100, 3 * 30])  # blocks of three samples; pieces of thirty data points
def test_blocks_of_noise_change_the_draws_alone(monkeypatch, block):
    x, model = data(100), linear_model()
    whole = importance_weighted_bound(model, x, Generator([1, 2]), samples=8)
    monkeypatch.setattr("latentbook.objectives.sampling._BLOCK", block)
    pieces = importance_weighted_bound(model, x, Generator([1, 2]), samples=8)
    assert pieces.shape == whole.shape
    assert not torch.allclose(pieces, whole)
    assert within(pieces[0], whole[0])
    parts = evidence_lower_bound(model, x, Generator([1, 2]), samples=8)
    assert within(parts.elbo[0], log_evidence(x) - exact_gap())


@pytest.mark.parametrize(("members", "samples"), [(20, 256), (300, 2)])
def test_memory_is_bounded(monkeypatch, members, samples):
    seeds, width, seen = range(members), 64, []
    model = VAE.mlp(64, 2, hidden=(width,), generator=Generator(seeds)).float()
    x = Generator(0).normal(2000, 64, dtype=torch.float32)[0]
    decode, encode = model.decode, model.encode

    def spy(z):
        seen.append(z.shape[:-1].numel() * width)
        return decode(z)

    def spy_encode(x, u=None):
        seen.append(members * len(x) * width)
        return encode(x, u)

    monkeypatch.setattr(model, "decode", spy)
    monkeypatch.setattr(model, "encode", spy_encode)
    importance_weighted_bound(model, x, Generator(seeds), samples=samples)
    assert max(seen) * 4 <= 2**25  # bytes of one activation
    assert sum(seen) >= members * 2000 * (samples + 1) * width


class Shifted(NormalPrior):
    """A prior that is moved by u."""

    def forward(self, u=None):
        return Normal(u, torch.ones(2)) if u is not None else super().forward()


def test_an_auxiliary_variable_moves_the_prior(monkeypatch):
    """N(u, I) and x shifted by W u is the same model, shifted: a gap that does not depend on u."""
    model, u = linear_model(), Generator(3).normal(60, 2)[0]
    plain, x = data(60), data(60) + u @ WEIGHTS.T
    shifted = VAE(ShiftedEncoder(model.encoder), model.decoder, Shifted(2), model.likelihood)
    both = (shifted, x, u), (model, plain, None)
    one, other = (evidence_lower_bound(m, y, Generator(SEEDS), u=v).elbo for m, y, v in both)
    assert torch.allclose(one, other)
    assert torch.allclose(three_entropies(shifted, x, u=u), three_entropies(model, plain))
    monkeypatch.setattr("latentbook.objectives.sampling._BLOCK", 3 * 7)
    monkeypatch.setattr("latentbook.objectives.sampling._TOTAL", 2 * 3 * 2)
    options = {"generator": Generator(SEEDS), "samples": 8}
    assert torch.allclose(elbo_gap(shifted, x, u=u, **options).gap, elbo_gap(model, plain, **options).gap)
    each = [value.expand(2, *value.shape) for value in (x, u)]
    assert torch.allclose(elbo_gap(shifted, each[0], u=each[1], **options).gap, elbo_gap(model, plain, **options).gap)
    one, other = ELBO()(shifted, (x, u), Generator(SEEDS)), ELBO()(model, plain, Generator(SEEDS))
    assert torch.allclose(one.value, other.value)
    with pytest.raises(ValueError, match=r"u has shape \(59, 2\); expected \(60,\) first"):
        elbo_gap(shifted, x, u=u[1:], **options)


class ShiftedEncoder(GaussianEncoder):
    """The encoder of a model whose latents are moved by u."""

    def __init__(self, inner):
        super().__init__(inner.network, inner.log_variance)

    def forward(self, x, shift=0.0, u=None):
        posterior = super().forward(x - u @ WEIGHTS.T, shift)
        return Normal(posterior.mean + u, posterior.stddev)


def test_everything_moves_to_the_device_of_the_model():
    """No numbers on "meta", but devices and shapes as on a GPU."""
    x, generator = data(20), Generator(SEEDS)
    model = linear_model().to("meta")
    parts = evidence_lower_bound(model, x, generator)
    gap = elbo_gap(model, x, generator, samples=4)
    for value in (parts.elbo, importance_weighted_bound(model, x, generator, samples=4), three_entropies(model, x)):
        assert value.device.type == "meta"
    assert parts.elbo.shape == (2, 20)
    assert gap.gap.shape == gap.standard_error.shape == (2,)


@pytest.mark.gpu
def test_bounds_on_cuda_are_those_on_the_cpu():
    x, cpu, cuda = data(200), linear_model(), linear_model().cuda()
    for function in (
        lambda m: evidence_lower_bound(m, x, Generator(SEEDS)).elbo,
        lambda m: importance_weighted_bound(m, x, Generator(SEEDS), samples=32),
        lambda m: elbo_gap(m, x, Generator(SEEDS), samples=32).gap,
        lambda m: three_entropies(m, x),
    ):
        assert function(cuda).device.type == "cuda"
        assert torch.allclose(function(cuda).cpu(), function(cpu), atol=1e-8)


def test_free_posteriors_close_the_amortisation_gap():
    """Started at a bad encoder and trained with the decoder held fixed, they end at the best diagonal Gaussians."""
    x, model = data(40), linear_model()
    bad = torch.distributions.Normal(model.encode(x).mean + 0.5, 2 * model.encode(x).stddev)
    free = VAE(FreePosterior(bad), model.decoder.requires_grad_(False), model.prior, model.likelihood)
    config = TrainConfig(seeds=SEEDS, steps=400, batch_size=40, learning_rate=3e-2)
    before = elbo_gap(free, x, Generator(SEEDS), samples=64).gap
    fit(free, ELBO(antithetic=True, samples=32), lambda generator, n: x.expand(2, n, 3), config)
    assert bool((before > 1).all())
    after = elbo_gap(free, x, Generator(SEEDS), samples=512)
    assert bool(((after.gap - exact_gap()).abs() < 4 * after.standard_error).all())
    assert torch.allclose(free.encode(x).mean, model.encode(x).mean, atol=1e-6)  # mirrored pairs: no noise in it
    ratio = (free.encode(x).variance / model.encode(x).variance).log()
    assert abs(ratio.mean().item()) < 0.01
    assert ratio.abs().max().item() < 0.15
    with pytest.raises(ValueError, match="x has 5 data points; expected all 40"):
        free.encode(x[:5])


def test_three_entropies_at_the_optimum_of_probabilistic_pca():
    """The maximum of the likelihood is stationary and has no gap: ELBO = log p(x) = the sum of entropies."""
    x = data(500) - data(500).mean(0)
    values, axes = torch.linalg.eigh(x.T @ x / len(x))
    noise = values[0]  # two latents, three features: one eigenvalue is left to the noise
    weights = axes[:, 1:] * (values[1:] - noise).sqrt()
    model = linear_model(weights)
    model.likelihood = GaussianLikelihood(1 / noise)
    precision = torch.eye(2) + weights.T @ weights / noise
    with torch.no_grad():
        model.encoder.network.last.weight.copy_(weights / noise @ precision.inverse())
        model.encoder.log_variance.last.bias.copy_(-precision.diag().log())
    marginal = MultivariateNormal(torch.zeros(3), weights @ weights.T + noise * torch.eye(3))
    assert torch.allclose(three_entropies(model, x), marginal.log_prob(x).mean(), atol=1e-10)
    model.likelihood = GaussianLikelihood(2 / noise)
    assert (three_entropies(model, x) - evidence_lower_bound(model, x, Generator(SEEDS)).elbo.mean(1)).abs().min() > 0.1


def test_three_entropies_needs_a_gaussian_likelihood():
    model = linear_model()
    model.likelihood = BernoulliLikelihood()
    with pytest.raises(TypeError, match="expected a GaussianLikelihood"):
        three_entropies(model, data(5))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ELBO(-1.0), "beta is -1"),
        (lambda: ELBO(samples=3, antithetic=True), "samples is 3"),
        (lambda: ELBO(samples=0), "samples is 0"),
        (lambda: ELBO(kl="exact"), "kl is 'exact'"),
        (lambda: evidence_lower_bound(linear_model(), data(5), Generator(0)), "generator has 1 seeds; expected 2"),
        (lambda: evidence_lower_bound(linear_model(), data(5), Generator(SEEDS), samples=0), "samples is 0"),
        (lambda: ELBO([1.0, 2.0, 3.0])(linear_model(), data(5), Generator(SEEDS)), "beta has 3 values; expected one"),
        (lambda: evidence_lower_bound(linear_model(), data(5)[:0], Generator(SEEDS)), r"x has shape \(0, 3\)"),
        (lambda: elbo_gap(linear_model(), data(5)[:0], Generator(SEEDS)), r"x has shape \(0, 3\)"),
        (lambda: three_entropies(linear_model(), data(5)[:0]), r"x has shape \(0, 3\)"),
        (lambda: evidence_lower_bound(linear_model(), data(5) / 0, Generator(SEEDS)), "x has 15 value"),
        (lambda: importance_weighted_bound(linear_model(), data(5) * math.nan, Generator(SEEDS)), "x has 15 value"),
        (lambda: elbo_gap(linear_model(), data(1), Generator(SEEDS)), "x has 1 data point"),
        (lambda: evidence_lower_bound(linear_model(), data(5)[:, :2], Generator(SEEDS)), r"x has shape \(5, 2\)"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: evidence_lower_bound(linear_model(), data(5).float(), Generator(SEEDS)),
            r"x has dtype torch\.float32",
        ),
        (lambda: evidence_lower_bound(linear_model(), [[1.0]], Generator(SEEDS)), "x is a list"),
        (lambda: elbo_gap(linear_model(), data(5), 0), "generator is a int"),
    ],
)
def test_bad_types(call, message):
    with pytest.raises(TypeError, match=message):
        call()
