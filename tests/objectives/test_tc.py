"""The beta-TCVAE: its estimators by enumeration and by brute force, its decomposition, and its limits."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch.distributions import Normal

from latentbook.models import VAE, BernoulliLikelihood, GaussianLikelihood, ISAPrior
from latentbook.models.priors import log_prob
from latentbook.nn import select
from latentbook.objectives import (
    ELBO,
    TCVAE,
    aggregate_log_densities,
    decompose_kl,
    minibatch_total_correlation,
    minibatch_weights,
)
from latentbook.random import Generator
from latentbook.training import Ramp, TrainConfig, fit

DOUBLE = torch.float64
SEEDS = (0, 1, 2)
ESTIMATORS = [("mws", None), ("mws", 100), ("mss", 30), ("mss", 9), ("even", 30), ("even", 9)]


def codes(*shape: int, seed: int = 0, scale: float = 0.5) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Samples, means and scales, float64, with gradients."""
    noise = Generator(seed).normal(3, *shape, dtype=DOUBLE)[0]
    scales = (noise[2] * 0.3).exp() * scale
    return tuple(v.requires_grad_() for v in (noise[0] + scales * noise[1], noise[0] + 1, scales))


def pairs(mean: torch.Tensor, scale: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
    """The log q(z_ik | x_j), (..., i, j, k)."""
    return Normal(mean[..., None, :, :], scale[..., None, :, :]).log_prob(z[..., :, None, :])


def by_broadcast(z, mean, scale, weights: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The log q(z) and log q(z_k), from all pairs at once."""
    everything, logarithm = pairs(mean, scale, z), weights.log().to(z)
    return (everything.sum(-1) + logarithm).logsumexp(-1), (everything + logarithm[..., None]).logsumexp(-2)


def brute(z, mean, scale, weights: torch.Tensor) -> torch.Tensor:
    joint, marginals = by_broadcast(z, mean, scale, weights)
    return (joint - marginals.sum(-1)).mean(-1)


def by_stride(batch: int, size: int) -> torch.Tensor:
    """The matrix of "mss" as it is often filled: special entries every ``batch`` places instead of every batch + 1."""
    others = batch - 1
    weights = torch.full((batch, batch), 1 / others, dtype=DOUBLE)
    weights.view(-1)[::batch] = 1 / size
    weights.view(-1)[1::batch] = (size - others) / (size * others)
    weights[others - 1, 0] = (size - others) / (size * others)
    return weights


def enumerated(matrix: torch.Tensor, size: int, batch: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean estimate of q(z) by every row over all ordered batches without replacement, and the truth, (data points,).

    The rows are (data points, batch): a sample z_n that stands in that row of the batch.
    """
    z, mean, scale = (v.detach() for v in codes(size, 2, seed=4))
    density = pairs(mean, scale, z).sum(-1).exp()
    found = torch.zeros(size, batch, dtype=DOUBLE)
    count = torch.zeros(size, batch)
    for drawn in itertools.permutations(range(size), batch):
        chosen = torch.tensor(drawn)
        estimates = (matrix * density[chosen][:, chosen]).sum(1)
        found[chosen, torch.arange(batch)] += estimates
        count[chosen, torch.arange(batch)] += 1
    return found / count, density.mean(1)


@pytest.mark.parametrize("estimator", ["mss", "even"])
def test_stratified_weights_are_unbiased_by_enumeration(estimator):
    """All 120 ordered batches of 3 of 6 data points; every row of the matrix is unbiased for every sample."""
    found, exact = enumerated(minibatch_weights(3, 6, estimator), 6, 3)
    assert (found - exact[:, None]).abs().max() < 1e-12


def test_a_matrix_filled_with_the_wrong_stride_is_biased():
    """A sample's own posterior then has its weight in the first row alone."""
    found, exact = enumerated(by_stride(3, 6), 6, 3)
    error = (found / exact[:, None] - 1).abs().amax(0)
    assert error[0] < 1e-12
    assert bool((error[1:] > 0.1).all())
    assert by_stride(5, 100).sum(1).max() == pytest.approx(1.23, abs=0.005)


def test_weighted_sampling_is_about_q_over_n():
    """It gives a sample's own posterior as much as the others: 1 / (N B)."""
    found, exact = enumerated(minibatch_weights(3, 6), 6, 3)
    z, mean, scale = (v.detach() for v in codes(6, 2, seed=4))
    own = pairs(mean, scale, z).sum(-1).exp().diagonal()
    others = (6 * exact - own) / 5
    assert torch.allclose(6 * found, ((own + 2 * others) / 3)[:, None].expand(6, 3), atol=1e-12)
    assert torch.allclose(minibatch_weights(3, 6) * 6, minibatch_weights(3))


@pytest.mark.parametrize("batch", [2, 3, 7])
def test_stratified_weights_in_words(batch):
    size, weights = 20, minibatch_weights(batch, 20, "mss")
    others = batch - 1
    assert torch.allclose(weights.sum(1), torch.ones(batch, dtype=DOUBLE))
    assert torch.allclose(weights.diagonal(), torch.full((batch,), 1 / size, dtype=DOUBLE))
    special = torch.isclose(weights, torch.tensor((size - others) / (size * others), dtype=DOUBLE)).sum(1)
    assert special.tolist() == [1] * batch
    assert torch.isclose(weights, torch.tensor(1 / others, dtype=DOUBLE)).sum() == batch * (others - 1)


@pytest.fixture(params=[2**19, 40, 300], ids=["one block", "rows", "lines"])
def blocks(request, monkeypatch):
    monkeypatch.setattr("latentbook.objectives.aggregate._BLOCK", {"cpu": request.param})


@pytest.mark.parametrize(("estimator", "size"), ESTIMATORS)
def test_values_and_gradients_against_all_pairs_at_once(blocks, estimator, size):
    parts, weights = codes(2, 9, 3), minibatch_weights(9, size, estimator)
    found = minibatch_total_correlation(parts[0], Normal(*parts[1:]), size=size, estimator=estimator)
    exact = brute(*parts, weights)
    assert torch.allclose(found, exact, rtol=1e-12, atol=1e-12)
    coefficients = torch.tensor([1.0, -2.0], dtype=DOUBLE)
    for one, other in zip(*(torch.autograd.grad(v @ coefficients, parts) for v in (found, exact)), strict=True):
        assert torch.allclose(one, other, rtol=1e-11, atol=1e-12)
    joint, marginals = aggregate_log_densities(parts[0], Normal(*parts[1:]), size=size, estimator=estimator)
    for one, other in zip((joint, marginals), by_broadcast(*parts, weights), strict=True):
        assert torch.allclose(one, other, atol=1e-12)


@pytest.mark.parametrize(("estimator", "size"), ESTIMATORS)
def test_gradients_by_differences(estimator, size):
    def value(z, mean, scale):
        return minibatch_total_correlation(z, Normal(mean, scale), size=size, estimator=estimator)

    assert torch.autograd.gradcheck(value, codes(9, 2))


def test_even_weights_are_the_mean_of_stratified_ones():
    order = torch.tensor(list(itertools.permutations(range(4))))
    stratified = minibatch_weights(4, 11, "mss")
    shuffled = torch.stack([stratified[o][:, o] for o in order]).mean(0)
    assert torch.allclose(minibatch_weights(4, 11, "even"), shuffled)


def test_even_weights_are_exact_where_the_batch_is_all_the_data():
    parts, even = codes(9, 3), torch.full((9, 9), 1 / 9, dtype=DOUBLE)
    exact = brute(*parts, even)
    for estimator, size in (("mws", None), ("even", 9)):
        found = minibatch_total_correlation(parts[0], Normal(*parts[1:]), size=size, estimator=estimator)
        assert torch.allclose(found, exact)
    assert found.shape == ()
    stratified = minibatch_total_correlation(parts[0], Normal(*parts[1:]), size=9, estimator="mss")
    assert abs(float((stratified - exact).detach())) > 0.01


def test_the_size_moves_the_value_of_weighted_sampling_and_no_gradient():
    parts, values, gradients = codes(12, 3), [], []
    for size in (None, 12, 10_000):
        values.append(minibatch_total_correlation(parts[0], Normal(*parts[1:]), size=size))
        gradients.append(torch.autograd.grad(values[-1], parts))
    for size, value, gradient in zip((12, 10_000), values[1:], gradients[1:], strict=True):
        assert float((value - values[0]).detach()) == pytest.approx(2 * math.log(size), abs=1e-10)
        assert all(torch.allclose(a, b, atol=1e-12) for a, b in zip(gradient, gradients[0], strict=True))


@pytest.mark.parametrize("scale", [0.1, 1e-2, 1e-3])
def test_single_precision_is_enough_for_narrow_posteriors(scale):
    """The same float32 numbers, computed in float32 and in float64."""
    single = [v.detach().float().requires_grad_() for v in codes(2, 64, 5, scale=scale)]
    single[0] = (single[1] + scale * Generator([5, 6]).normal(64, 5)).detach().requires_grad_()
    double = [v.detach().double().requires_grad_() for v in single]
    found, exact = (minibatch_total_correlation(v[0], Normal(*v[1:])) for v in (single, double))
    assert found.dtype == torch.float32
    assert torch.allclose(found.double(), exact, rtol=1e-5)
    for one, other in zip(
        *(torch.autograd.grad(t.sum(), v) for t, v in ((found, single), (exact, double))), strict=True
    ):
        assert (one - other).abs().max() < 1e-3 * other.abs().max()


PRIORS = {"normal": None, "subspaces": lambda: ISAPrior((1, 2), scale=2.0)}


def stack(seeds=SEEDS, prior: str = "normal", dtype=DOUBLE) -> VAE:
    made = PRIORS[prior] and PRIORS[prior]()
    options = {"hidden": (8,), "likelihood": BernoulliLikelihood(), "prior": made, "generator": Generator(seeds)}
    return VAE.mlp(6, 3, **options).to(dtype)


def images(n: int = 20, dtype=DOUBLE) -> torch.Tensor:
    return (Generator(8).normal(n, 6)[0] > 0).to(dtype)


@pytest.mark.parametrize("prior", PRIORS)
@pytest.mark.parametrize(("estimator", "size"), [("mws", None), ("mws", 500), ("mss", 500), ("even", 500)])
def test_the_parts_add_up_to_the_kl(prior, estimator, size):
    model = stack(prior=prior)
    posterior, law = model.encode(images()), model.prior()
    z = posterior.mean + posterior.stddev * Generator(SEEDS).normal(20, 3, dtype=DOUBLE)
    parts = decompose_kl(z, posterior, law, size=size, estimator=estimator)
    kl = (log_prob(posterior, z) - log_prob(law, z)).mean(1)
    assert (sum(parts) - kl).abs().max() < 1e-10
    assert parts.total_correlation.shape == (3,)
    found = minibatch_total_correlation(z, posterior, size=size, estimator=estimator)
    assert torch.allclose(parts.total_correlation, found)


@pytest.mark.parametrize("prior", PRIORS)
@pytest.mark.parametrize("kl", ["auto", "monte-carlo"])
@pytest.mark.parametrize(("estimator", "size"), [("mws", None), ("mss", 50)])
def test_at_beta_one_it_is_the_elbo(prior, kl, estimator, size):
    model, generator = stack(prior=prior), Generator(SEEDS)
    ours = TCVAE(estimator=estimator, size=size, kl=kl)(model, images(), generator.at(3))
    theirs = ELBO(kl=kl)(model, images(), generator.at(3))
    assert torch.allclose(ours.value, theirs.value, rtol=0, atol=1e-10)
    for name in theirs.terms:
        assert torch.allclose(ours.terms[name], theirs.terms[name], atol=1e-10)
    gradients = [torch.autograd.grad(loss.value.sum(), list(model.parameters())) for loss in (ours, theirs)]
    assert all(torch.allclose(a, b, atol=1e-10) for a, b in zip(*gradients, strict=True))


@pytest.mark.parametrize("prior", PRIORS)
def test_the_loss_is_the_weighted_decomposition(prior):
    model, beta = stack(prior=prior), torch.tensor([0.5, 1.0, 6.0])
    loss = TCVAE(beta, kl="monte-carlo", estimator="mss", size=50)(model, images(), Generator(SEEDS))
    posterior = model.encode(images())
    z = posterior.mean + posterior.stddev * Generator(SEEDS).normal(20, 3, dtype=DOUBLE)
    parts = decompose_kl(z, posterior, model.prior(), size=50, estimator="mss")
    reconstruction = model.likelihood.log_prob(model.decode(z), images()).mean(1)
    expected = parts.mutual_information + beta * parts.total_correlation + parts.dimension_wise - reconstruction
    assert torch.allclose(loss.value, expected)
    assert torch.allclose(loss.terms["tc"], parts.total_correlation)
    assert not any(term.requires_grad for term in loss.terms.values())


def test_members_are_independent_and_each_has_its_beta():
    model, betas = stack(), (0.5, 2.0, 8.0)
    whole = TCVAE(betas)(model, images(), Generator(SEEDS))
    gradient = torch.autograd.grad(whole.value.sum(), model.decoder.last.weight)[0]
    for k, seed in enumerate(SEEDS):
        alone = select(model, [k])
        solo = TCVAE(betas[k])(alone, images(), Generator([seed]))
        assert torch.allclose(solo.value[0], whole.value[k])
        assert torch.allclose(torch.autograd.grad(solo.value.sum(), alone.decoder.last.weight)[0][0], gradient[k])
    poisoned = codes(3, 9, 2)
    values = minibatch_total_correlation(poisoned[0], Normal(*poisoned[1:]))
    hole = poisoned[0].detach().clone()
    hole[1, 4, 1] = math.nan
    again = minibatch_total_correlation(hole.requires_grad_(), Normal(*poisoned[1:]))
    assert torch.equal(again[[0, 2]], values[[0, 2]]) and bool(again[1].isnan())
    assert bool(torch.autograd.grad(again.sum(), hole)[0][[0, 2]].isfinite().all())


def test_shapes_on_another_device():
    """No numbers on "meta", but devices, shapes and blocks as on a GPU."""
    z, mean, scale = (v.detach().to("meta") for v in codes(3, 9, 2))
    posterior = Normal(mean, scale, validate_args=False)
    value = minibatch_total_correlation(z.requires_grad_(), posterior, size=9, estimator="mss")
    assert value.device.type == "meta" and value.shape == (3,)
    assert torch.autograd.grad(value.sum(), z)[0].shape == (3, 9, 2)


@pytest.mark.gpu
@pytest.mark.parametrize(("estimator", "size"), ESTIMATORS)
def test_cuda_agrees_with_the_cpu(estimator, size):
    found = []
    for device in ("cpu", "cuda"):
        parts = [v.detach().to(device).requires_grad_() for v in codes(3, 9, 2)]
        value = minibatch_total_correlation(parts[0], Normal(*parts[1:]), size=size, estimator=estimator)
        found.append([value, *torch.autograd.grad(value.sum(), parts)])
    assert all(torch.allclose(one, other.cpu(), atol=1e-10) for one, other in zip(*found, strict=True))


def test_the_term_is_in_nats_and_the_size_is_not_in_it():
    terms = [TCVAE(3.0, size=s)(stack(), images(), Generator(SEEDS)) for s in (None, 10**6)]
    assert torch.equal(terms[0].terms["tc"], terms[1].terms["tc"])
    assert torch.equal(terms[0].value, terms[1].value)


@pytest.mark.parametrize("estimator", ["mws", "mss", "even"])
def test_a_known_total_correlation(estimator):
    """Posterior means that are Gaussian with correlation r: TC = -1/2 log(1 - r^2) of the aggregate posterior.

    Batch and data are large and the posteriors wide, so that the bias of the logarithm is small.
    """
    n, scale, r = 1500, 0.6, 0.9
    noise = Generator(range(6)).normal(n, 2, dtype=DOUBLE)
    mean = math.sqrt(1 - scale**2) * torch.stack(
        [noise[..., 0], r * noise[..., 0] + math.sqrt(1 - r**2) * noise[..., 1]], -1
    )
    z = mean + scale * Generator(range(6), stream="z").normal(n, 2, dtype=DOUBLE)
    found = minibatch_total_correlation(z, Normal(mean, torch.full_like(mean, scale)), size=n, estimator=estimator)
    found = found - (math.log(n) if estimator == "mws" else 0)
    exact = -0.5 * math.log(1 - (r * (1 - scale**2)) ** 2)
    assert abs(float(found.mean()) - exact) < 4 * float(found.std()) / math.sqrt(6) + 0.01


def test_training_with_it_lowers_the_total_correlation():
    """Data on a circle, which two latents encode as a circle: uncorrelated, and far from independent."""
    angle = 2 * math.pi * Generator(3).uniform(512)[0]
    x = torch.stack([angle.cos(), angle.sin()], 1)
    model = VAE.mlp(2, 2, hidden=(32,), likelihood=GaussianLikelihood(30.0), data=x, generator=Generator(SEEDS * 2))
    config = TrainConfig(seeds=SEEDS * 2, steps=400, batch_size=128, learning_rate=1e-2)
    history = fit(model, TCVAE([1.0] * 3 + [6.0] * 3), x, config, progress=False)
    assert list(history.terms) == ["reconstruction", "kl", "tc", "elbo"]
    tc = history.terms["tc"][-1]
    assert bool((tc[3:] < 0.7 * tc[:3]).all())


def test_beta_is_a_knob_that_schedules_move():
    seen = []

    class Watched(TCVAE):
        def forward(self, *arguments):
            seen.append(self.beta().tolist())
            return super().forward(*arguments)

    schedules = {"beta": Ramp(0.5, until=1.0)}
    config = TrainConfig(seeds=SEEDS, steps=5, batch_size=8, schedules=schedules)
    fit(stack(dtype=torch.float32), Watched([2.0, 4.0, 6.0]), images(dtype=torch.float32), config, progress=False)
    assert seen[0] == [1, 2, 3] and seen[-1] == pytest.approx([2, 4, 6])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: TCVAE(-1.0), "beta is -1"),
        (lambda: TCVAE(estimator="naive"), "estimator is 'naive'; expected one of"),
        (lambda: TCVAE(estimator="mss"), "size is None; expected the number of data points"),
        (lambda: TCVAE(size=0), "size is 0; expected the number"),
        (lambda: TCVAE(size=2.5), "size is 2.5; expected the number"),
        (lambda: TCVAE(kl="exact"), "kl is 'exact'"),
        (
            lambda: TCVAE(estimator="mss", size=19)(stack(), images(), Generator(SEEDS)),
            "size is 19; expected at least 20",
        ),
        (lambda: TCVAE(size=19)(stack(), images(), Generator(SEEDS)), "size is 19; expected at least 20"),
        (lambda: TCVAE([1.0, 2.0])(stack(), images(), Generator(SEEDS)), "beta has 2 values; expected one number or 3"),
        (
            lambda: TCVAE()(stack(), images(1), Generator(SEEDS)),
            r"the batch has 1 data point\(s\); expected at least 2",
        ),
        (lambda: minibatch_weights(1, 5, "mss"), r"the batch has 1 data point\(s\)"),
        (lambda: minibatch_weights(6, 5, "mss"), "size is 5; expected at least 6"),
        (lambda: minibatch_total_correlation(torch.zeros(4), Normal(torch.zeros(4), 1.0)), r"z has shape \(4,\)"),
        (
            lambda: aggregate_log_densities(torch.zeros(4, 2), Normal(torch.zeros(4, 3), 1.0)),
            r"z has shape \(4, 2\) and posterior \(4, 3\)",
        ),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
