"""The VAE that learns the angle of its latents."""

from __future__ import annotations

import math

import pytest
import torch

from latentbook.mixings import Compose, FromNormal, Moebius, Rotation
from latentbook.models import VAE, FactorAnalysis, NormalPrior, TurnedDecoder, TurnedVAE
from latentbook.nn import select
from latentbook.objectives import ELBO, evidence_lower_bound
from latentbook.random import Generator
from latentbook.training import TrainConfig, fit

seeds = (0, 1, 2)
angle = torch.tensor([0.0, 0.3, -1.2])


def world() -> Compose:
    """Standard normal latents through a conformal map of their uniform versions, one for each seed."""
    return Compose(FromNormal("uniform"), Moebius.random(Generator(seeds), 2))


def turned(gamma2: float | torch.Tensor = 100.0) -> TurnedVAE:
    return TurnedVAE(world(), angle, gamma2, hidden=(8,), generator=Generator(seeds))


def test_the_decoder_is_the_map_behind_a_rotation() -> None:
    z = Generator(seeds).normal(50, 2, dtype=torch.float64)
    decoder = TurnedDecoder(world(), angle.double())
    assert torch.allclose(decoder(z), Compose(Rotation(angle.double()), world())(z), atol=1e-12)
    assert torch.allclose(decoder.turn_back(decoder.turn(z)), z, atol=1e-12)


def test_a_samples_axis_changes_nothing() -> None:
    decoder = turned().decoder
    z = Generator(seeds).normal(4, 5, 2)
    each = torch.stack([decoder(z[:, k]) for k in range(4)], dim=1)
    assert torch.allclose(decoder(z), each)


def test_the_encoder_turns_with_the_decoder() -> None:
    """The decoder sees m(x) as the mean, whatever the angle."""
    model, x = turned(), Generator(seeds).normal(20, 2)
    before = model.decoder.turn(model.encode(x).mean)
    with torch.no_grad():
        model.angle.add_(0.7)
    assert not torch.allclose(model.encode(x).mean, before)
    assert torch.allclose(model.decoder.turn(model.encode(x).mean), before, atol=1e-6)


def test_variances_start_near_their_optimum_for_unit_columns() -> None:
    gamma2 = torch.tensor([10.0, 100.0, 1000.0])
    posterior = turned(gamma2).encode(Generator(seeds).normal(200, 2))
    away = posterior.variance.log().mean((1, 2)) + (1 + gamma2).log()
    assert bool((away.abs() < 0.7).all())


def test_its_elbo_is_that_of_a_plain_vae_with_the_same_posterior() -> None:
    model, x = turned(), Generator(seeds).normal(30, 2)
    with torch.no_grad():
        model.angle.zero_()
    plain = VAE(model.encoder, TurnedDecoder(world(), torch.zeros(3)), NormalPrior(2), model.likelihood)
    one, other = (evidence_lower_bound(m, x, Generator(seeds)).elbo for m in (model, plain))
    assert torch.allclose(one, other)


def test_training_turns_leaning_columns_upright() -> None:
    """A linear decoder with columns of lengths 2 and 1/2: only the turn of no cost is left."""
    lengths = torch.tensor([2.0, 0.5])
    model = TurnedVAE(lambda v: v * lengths, torch.full((3,), 0.5), 10.0, hidden=(16,), generator=Generator(seeds))
    config = TrainConfig(seeds=seeds, steps=400, batch_size=64, learning_rate=1e-2, device="cpu")
    fit(model, ELBO(antithetic=True), lambda g, n: g.normal(n, 2) * lengths, config)
    assert FactorAnalysis(lengths.diag() @ Rotation(0.5).matrix.float(), 0.1).gap() > 0.2
    assert bool((model.angle.abs() < math.radians(5)).all())


@pytest.mark.gpu
def test_it_is_made_where_its_generator_is() -> None:
    generator, x = Generator(seeds, device="cuda"), Generator(seeds).normal(20, 2)
    model = TurnedVAE(world(), angle, 10.0, hidden=(8,), generator=generator)
    assert {value.device.type for value in (*model.parameters(), *model.buffers())} == {"cuda"}
    assert model.reconstruct(x).is_cuda
    assert evidence_lower_bound(model, x, generator).elbo.isfinite().all()


@pytest.mark.parametrize("wrong", [torch.zeros(2), torch.zeros(3, 1), torch.zeros(3, dtype=torch.long)])
def test_angles_must_be_one_number_a_seed(wrong: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="angle is"):
        TurnedVAE(world(), wrong, 1.0, generator=Generator(seeds))


def test_a_selected_member_keeps_its_map_and_its_angle() -> None:
    model, x = turned(torch.tensor([1.0, 10.0, 100.0])), Generator(seeds).normal(20, 2)
    assert torch.allclose(select(model, [2, 0]).reconstruct(x[[2, 0]]), model.reconstruct(x)[[2, 0]], atol=1e-5)
