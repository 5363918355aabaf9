"""The identifiable VAE: shapes, its special cases, training with u, and what it finds that a VAE does not."""

from __future__ import annotations

import pytest
import torch

from latentbook.data import Stacked, tcl
from latentbook.metrics import mcc
from latentbook.models import (
    VAE,
    BernoulliLikelihood,
    ConditionalLaplacePrior,
    ConditionalNormalPrior,
    GaussianLikelihood,
    NormalPrior,
    ivae_mlp,
)
from latentbook.nn import Linear, select
from latentbook.objectives import ELBO, elbo_gap, evidence_lower_bound, importance_weighted_bound, three_entropies
from latentbook.random import Generator
from latentbook.training import Ramp, TrainConfig, fit, gap, latent_kl, negative_elbo

SEEDS = (0, 1, 2)
X = Generator(99).normal(20, 4)[0]
LABELS = torch.arange(20) % 3
VECTORS = Generator(98).normal(20, 2)[0]
KINDS = {"classes": ({"classes": 3}, LABELS), "vector": ({"u_size": 2}, VECTORS)}
every_kind = pytest.mark.parametrize(("of", "u"), KINDS.values(), ids=KINDS)


def a_model(**options) -> VAE:
    of = {} if "u_size" in options else {"classes": 3}
    return ivae_mlp(4, 2, **(of | {"hidden": (8,), "generator": Generator(SEEDS)} | options))


@every_kind
@pytest.mark.parametrize("separate", [True, False])
@pytest.mark.parametrize("likelihood", [GaussianLikelihood(9.0), BernoulliLikelihood()])
def test_everything_a_vae_does_it_does_with_u(of, u, separate, likelihood):
    x = X.sigmoid()
    model = a_model(**of, separate=separate, likelihood=likelihood, data=x)
    for value, shape in (
        (model.encode(x, u).mean, (3, 20, 2)),
        (model.codes(x, u), (3, 20, 2)),
        (model.codes(x, u, Generator(SEEDS)), (3, 20, 2)),
        (model.reconstruct(x, u), (3, 20, 4)),
        (model.sample(20, Generator(SEEDS), noise=True, u=u), (3, 20, 4)),
        (evidence_lower_bound(model, x, Generator(SEEDS), u=u).elbo, (3, 20)),
    ):
        assert value.shape == shape and value.isfinite().all()
    alone = ivae_mlp(
        4, 2, **of, hidden=(8,), separate=separate, likelihood=likelihood, data=x, generator=Generator(SEEDS[1])
    )
    assert torch.allclose(model.reconstruct(x, u)[1], alone.reconstruct(x, u)[0], atol=1e-5)
    assert torch.allclose(select(model, [1]).codes(x, u), alone.codes(x, u), atol=1e-5)


def test_x_and_u_may_be_shared_or_of_each_member():
    model = a_model()
    expected = model.encode(X, LABELS).mean
    for x, u in ((X.expand(3, 20, 4), LABELS), (X, LABELS.expand(3, 20)), (X.expand(3, 20, 4), LABELS.expand(3, 20))):
        assert torch.allclose(model.encode(x, u).mean, expected, atol=1e-6)


def test_the_encoder_reads_a_label_as_a_one_hot_row():
    model = a_model()
    both = torch.cat([X, torch.eye(3)[LABELS]], dim=1)
    assert torch.equal(model.encode(X, LABELS).mean, model.encoder.network(both))


def test_the_controls_see_u_in_one_place_only():
    others = (LABELS + 1) % 3
    blind = a_model(encoder_sees_u=False)
    assert torch.equal(blind.encode(X, LABELS).mean, blind.encode(X).mean)
    with torch.no_grad():
        blind.prior.table.add_(Generator(SEEDS).normal(3, 4))
    assert not torch.allclose(blind.prior(LABELS).mean, blind.prior(others).mean)
    plain = a_model(prior=NormalPrior(2))
    assert not torch.allclose(plain.encode(X, LABELS).mean, plain.encode(X, others).mean)
    assert plain.sample(5, Generator(SEEDS)).shape == (3, 5, 4)  # its prior needs no u


@pytest.mark.parametrize(("of", "u"), [({"classes": 1}, 0 * LABELS), ({"u_size": 1}, torch.zeros(20, 1))], ids=KINDS)
def test_with_a_constant_u_it_is_the_plain_vae(of, u):
    """A one-hot row of a single class is a second bias of the encoder; the prior starts as the plain one."""
    conditional = ivae_mlp(4, 2, **of, hidden=(8,), data=X, generator=Generator(SEEDS))
    plain = VAE.mlp(4, 2, hidden=(8,), data=X, whiten="zca", generator=Generator(SEEDS))
    ours = {name: value.detach() for name, value in conditional.named_parameters()}
    with torch.no_grad():
        for name, parameter in plain.named_parameters():
            value = ours[name]
            if value.shape != parameter.shape:  # the first layer of the encoder: the last row belongs to u
                value = value[:, :4]
            parameter.copy_(value)
        for part in ("network", "log_variance"):
            extra = getattr(conditional.encoder, part)[0].weight[:, 4:]
            getattr(plain.encoder, part)[0].bias.add_(extra if "classes" in of else 0)
    generator = Generator(SEEDS)
    assert torch.allclose(plain.codes(X), conditional.codes(X, u), atol=1e-6)
    expected = evidence_lower_bound(plain, X, generator.at(0))
    found = evidence_lower_bound(conditional, X, generator.at(0), u=u)
    assert all(torch.allclose(a, b, atol=1e-4) for a, b in zip(found, expected, strict=True))
    losses = [ELBO()(m, batch, generator.at(0)).value for m, batch in ((plain, X), (conditional, (X, u)))]
    assert torch.allclose(*losses, atol=1e-4)


def test_training_with_a_u_that_never_varies_is_training_a_plain_vae():
    """With all zeros as a real u and a plain prior, the added weights never move."""
    options = {"hidden": (8,), "data": X, "generator": Generator(SEEDS)}
    conditional = ivae_mlp(4, 2, u_size=1, prior=NormalPrior(2), **options)
    plain = VAE.mlp(4, 2, whiten="zca", **options)
    with torch.no_grad():
        for ours, theirs in zip(conditional.parameters(), plain.parameters(), strict=True):
            theirs.copy_(ours[:, :4] if ours.shape != theirs.shape else ours)
    config = TrainConfig(seeds=SEEDS, steps=30, batch_size=10, learning_rate=0.01)
    fit(plain, ELBO(), X, config, progress=False)
    fit(conditional, ELBO(), (X, torch.zeros(20, 1)), config, progress=False)
    assert torch.allclose(plain.codes(X), conditional.codes(X, torch.zeros(20, 1)), atol=1e-4)


@every_kind
@pytest.mark.parametrize("prior", [ConditionalNormalPrior, ConditionalLaplacePrior])
def test_training_lowers_the_loss_whatever_form_the_data_have(of, u, prior):
    config = TrainConfig(seeds=SEEDS, steps=40, batch_size=20, learning_rate=0.02, log_every=10)
    x = X @ torch.diag(torch.tensor([3.0, 2.0, 0.1, 0.1]))

    def sampler(generator, n):
        index = generator.integers(20, n)
        return x[index], u[index]

    for data in ((x, u), sampler, Stacked(x.expand(3, 20, 4), u.expand(3, *u.shape))):
        model = a_model(**of, prior=prior(2, **of, generator=Generator(SEEDS)), data=x)
        before = [p.detach().clone() for p in model.prior.parameters()]
        history = fit(model, ELBO(), data, config, progress=False)
        assert (history.loss[-1] < history.loss[0]).all()
        moved = [(p - b).flatten(1).norm(dim=1) for p, b in zip(model.prior.parameters(), before, strict=True)]
        assert all((amount > 0.01).all() for amount in moved)


def test_stacked_data_train_a_member_as_its_own_data_do():
    x, u = Generator(SEEDS).normal(30, 4), Generator(SEEDS).integers(3, 30)
    config = TrainConfig(seeds=SEEDS, steps=10, batch_size=8, learning_rate=0.01)
    model, alone = a_model(), ivae_mlp(4, 2, classes=3, hidden=(8,), generator=Generator(SEEDS[1]))
    fit(model, ELBO(), Stacked(x, u), config, progress=False)
    fit(alone, ELBO(), (x[1], u[1]), TrainConfig(seeds=SEEDS[1:2], steps=10, batch_size=8, learning_rate=0.01))
    assert torch.allclose(model.codes(x, u)[1], alone.codes(x[1], u[1])[0], atol=1e-4)


@every_kind
def test_the_bounds_keep_their_order_and_the_gap_is_theirs(of, u):
    model = a_model(**of, data=X)
    lower = evidence_lower_bound(model, X, Generator(SEEDS), samples=128, u=u).elbo.mean(1)
    bound = importance_weighted_bound(model, X, Generator(SEEDS), samples=128, u=u).mean(1)
    measured = elbo_gap(model, X, Generator(SEEDS), u=u)
    assert (bound > lower).all() and (measured.gap > 0).all()
    assert three_entropies(model, X, u=u).shape == (3,)
    assert latent_kl(X, u=u)(model, Generator(SEEDS)).shape == (3, 2)
    generator = Generator(SEEDS).child("negative_elbo")
    expected = evidence_lower_bound(model, X, generator, samples=4, u=u).elbo.mean(1)
    assert torch.allclose(negative_elbo(X, u=u)(model, Generator(SEEDS)), -expected)
    expected = elbo_gap(model, X, Generator(SEEDS).child("gap"), samples=64, u=u).gap
    assert torch.allclose(gap(X, u=u)(model, Generator(SEEDS)), expected)


def test_the_exact_likelihood_of_a_linear_decoder_is_reached():
    """With x = W z + b + noise and a conditional normal prior, p(x|u) is normal."""
    location, scale = Generator([3]).normal(3, 2), Generator([4]).uniform(3, 2) + 0.5
    prior = ConditionalNormalPrior.known(location, scale)
    model = ivae_mlp(
        4, 2, classes=3, hidden=(16,), prior=prior, likelihood=GaussianLikelihood(2.0), generator=Generator([0])
    )
    model.decoder = Linear(2, 4, generator=Generator([5]))
    W, b = model.decoder.weight[0].detach(), model.decoder.bias[0, 0].detach()
    exact = torch.stack(
        [
            torch.distributions.MultivariateNormal(
                location[0, k] @ W + b, W.T @ torch.diag(scale[0, k] ** 2) @ W + 0.5 * torch.eye(4)
            ).log_prob(x)
            for x, k in zip(X, LABELS.tolist(), strict=True)
        ]
    )
    bounds = importance_weighted_bound(model, X, Generator([1]), samples=20_000, u=LABELS)[0]
    assert torch.allclose(bounds, exact, atol=0.1)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: ivae_mlp(4, 2, generator=Generator(0)), "classes is None and u_size is None"),
        (lambda: a_model().encode(X), "u is None; expected the auxiliary variable: labels 0 to 2"),
        (lambda: a_model().encode(X, LABELS[:5]), "u has 5 rows; expected 20, as x has"),
        (lambda: a_model().encode(X, LABELS + 1), "u has labels from 1 to 3; expected 0 to 2"),
        (lambda: a_model().encode(X, VECTORS), r"u is torch.float32 \(20, 2\); expected labels"),
        (lambda: a_model().sample(20, Generator(SEEDS)), "u is None"),
        (lambda: a_model().sample(19, Generator(SEEDS), u=LABELS), "u has 20 rows"),
        (lambda: ELBO()(a_model(), X, Generator(SEEDS)), "u is None"),
        (lambda: evidence_lower_bound(a_model(), X, Generator(SEEDS), u=LABELS[:3]), r"u has shape \(3,\); expected"),
        (lambda: a_model(prior=NormalPrior(3)), "prior has 3 latents"),
        (
            lambda: a_model(prior=ConditionalNormalPrior(2, classes=3, generator=Generator([0, 1]))),
            "prior is made for 2 members; expected 3",
        ),
        (lambda: a_model(data=X[:, :3]), r"data has shape \(20, 3\)"),
    ],
)
def test_bad_input(call, words):
    with pytest.raises(ValueError, match=words):
        call()


MEMBERS = tuple(range(5))
SMALL = {"segments": 20, "per_segment": 250, "size": 3, "scale": (0.1, 3.0), "spread": "log-uniform", "layers": 2}
RISE = Ramp(0.1, hold=0.3, until=0.6, shape="geometric")


def score(sample: tcl.Segments, modulates: str | None, *, steps: int = 800, width: int = 32) -> torch.Tensor:
    """MCC of the mean codes of an iVAE, or for None of a VAE that is built and trained alike."""
    size, classes = sample.x.shape[-1], sample.scale.shape[1]
    options = {"hidden": (width, width), "separate": False, "whiten": "zca", "data": sample.x}
    options |= {"likelihood": GaussianLikelihood(50.0), "generator": Generator(MEMBERS, stream="weights")}
    if modulates is None:
        model = VAE.mlp(size, size, **options)
    else:
        model = ivae_mlp(size, size, classes=classes, modulates=modulates, **options)
    rates = {"learning_rate": 1e-2, "batch_size": 256, "schedules": {"gamma2": RISE}, "device": "cpu"}
    config = TrainConfig(seeds=MEMBERS, steps=steps, **rates)
    fit(model, ELBO(), Stacked(sample.x, sample.u), config, progress=False)
    return mcc(model.codes(sample.x, sample.u), sample.sources).score


def test_it_finds_the_sources_of_a_nonlinear_mixing_and_a_vae_does_not():
    sample = tcl.segments(Generator(MEMBERS), whiten=True, **SMALL)
    found, plain = score(sample, "scale"), score(sample, None)
    assert found.mean() > 0.92 and found.min() > 0.9
    assert found.mean() - plain.mean() > 0.08


@pytest.mark.slow
def test_a_linear_mixing_is_solved_by_scales_and_not_by_locations():
    """Means that change leave a linear map undetermined, since T(z) = z is monotone; variances do not."""
    linear = SMALL | {"layers": 1}
    assert score(tcl.segments(Generator(MEMBERS), whiten=True, **linear), "scale").min() > 0.98
    located = tcl.segments(Generator(MEMBERS), whiten=True, modulates="location", **linear)
    assert score(located, "both").mean() < 0.92


@pytest.mark.slow
def test_five_sources_and_what_whitening_does():
    larger = SMALL | {"size": 5, "segments": 40}
    sample = tcl.segments(Generator(MEMBERS), whiten=True, **larger)
    found, plain = (score(sample, modulates, steps=1500, width=64) for modulates in ("scale", None))
    assert found.mean() > 0.92 and found.min() > plain.max() and found.mean() - plain.mean() > 0.06
    raw = tcl.segments(Generator(MEMBERS), **larger)
    raw = raw._replace(x=raw.x / raw.x.std(1, keepdim=True))
    assert score(raw, "scale", steps=1500, width=64).mean() < found.mean() - 0.1
