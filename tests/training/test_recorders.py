"""Recorders against what they measure."""

from __future__ import annotations

import torch
from torch.distributions import kl_divergence

from latentbook.models import VAE
from latentbook.objectives import elbo_gap, evidence_lower_bound
from latentbook.random import Generator
from latentbook.training import gap, latent_kl, negative_elbo

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
