"""Recorders against what they measure."""

from __future__ import annotations

import math

import torch
from torch.distributions import kl_divergence

from latentbook.metrics import code_correlation, latent_roles, reliability, roles_from_moments, total_correlation
from latentbook.models import VAE
from latentbook.objectives import ELBO, elbo_gap, evidence_lower_bound
from latentbook.random import Generator
from latentbook.training import (
    TrainConfig,
    fit,
    gap,
    latent_kl,
    mean_correlation,
    negative_elbo,
    sampled_correlation,
    total_correlations,
    variance_moments,
)

SEEDS = (1, 2)
X = Generator(5).normal(30, 4)[0]
MODEL = VAE.mlp(4, 3, hidden=(8,), data=X, generator=Generator(SEEDS))


def test_recorders_measure_what_they_say():
    generator = Generator(SEEDS, stream="evaluation")
    expected = {
        negative_elbo(X): -evidence_lower_bound(MODEL, X, generator.child("negative_elbo"), samples=4).elbo.mean(1),
        gap(X): elbo_gap(MODEL, X, generator.child("gap"), samples=64).gap,
        latent_kl(X): kl_divergence(MODEL.encode(X), MODEL.prior()).mean(1),
    }
    for recorder, value in expected.items():
        assert torch.allclose(recorder(MODEL, generator), value)
        assert not recorder(MODEL, generator).requires_grad
    assert latent_kl(X)(MODEL, generator).shape == (2, 3)


def test_when_recorders_are_due():
    recorder = negative_elbo(X, every=20)
    assert [step for step in range(51) if recorder.due(step, 50)] == [0, 20, 40, 50]


def test_what_is_recorded_of_the_codes():
    generator, q = Generator(SEEDS, stream="evaluation"), MODEL.encode(X)
    moments = variance_moments(X)(MODEL, generator)
    assert moments.shape == (2, 2, 3)
    assert roles_from_moments(*moments.unbind(1)) == latent_roles(q.variance)
    correlation, sampled = mean_correlation(X)(MODEL, generator), sampled_correlation(X)(MODEL, generator)
    root = reliability(q.mean, q.variance).sqrt()
    assert torch.allclose(correlation, code_correlation(q.mean))
    expected = (correlation * root[..., :, None] * root[..., None, :])[:, 0, 1]
    assert torch.allclose(sampled[:, 0, 1], expected)
    dependence = total_correlations(X)(MODEL, generator)
    assert torch.allclose(dependence, torch.stack([total_correlation(m) for m in (correlation, sampled)], -1))
    assert bool((dependence[:, 1] < dependence[:, 0]).all())


def test_codes_are_recorded_during_training_and_change_nothing():
    def train(recorders):
        model = VAE.mlp(4, 3, hidden=(8,), data=X, generator=Generator(SEEDS))
        config = TrainConfig(seeds=SEEDS, steps=12, batch_size=10)
        return model, fit(model, ELBO(), X, config, recorders=recorders, progress=False)

    plain, _ = train(())
    model, history = train([r(X, every=5) for r in (variance_moments, mean_correlation, total_correlations)])
    assert all(torch.equal(*pair) for pair in zip(plain.parameters(), model.parameters(), strict=True))
    assert history.record_steps["variance_moments"].tolist() == [0, 5, 10, 12]
    assert history.records["mean_correlation"].shape == (4, 2, 3, 3)
    assert torch.allclose(history.records["mean_correlation"][-1], code_correlation(model.encode(X).mean))


def test_a_member_that_diverged_is_recorded_as_nan():
    model = VAE.mlp(4, 3, hidden=(8,), data=X, generator=Generator(SEEDS))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter[1] = math.nan
    for recorder in (variance_moments(X), mean_correlation(X), sampled_correlation(X), total_correlations(X)):
        value = recorder(model, Generator(SEEDS))
        assert value[0].isfinite().all() and value[1].isnan().all()
