"""A map held fixed in the place of a decoder."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from latentbook.jacobian import jacobian
from latentbook.mixings import InvertibleMLP, Linear, Moebius, Rotation
from latentbook.models import VAE, FixedDecoder, GaussianLikelihood
from latentbook.nn import MLP, select
from latentbook.objectives import ELBO
from latentbook.random import Generator
from latentbook.training import TrainConfig, fit

SEEDS = (0, 1, 2)
MAPS = {
    "one a member": lambda: InvertibleMLP.random(Generator(SEEDS), 2),
    "one for all": lambda: Linear([[2.0, 1.0], [0.0, -1.0]], [1.0, 5.0]),
    "a network": lambda: MLP((2, 5, 4), generator=Generator(SEEDS)),
    "a function": lambda: lambda z: torch.cat([z.sin(), z.square()], -1),
}
every_map = pytest.mark.parametrize("make", MAPS.values(), ids=MAPS)


def latents(*shape: int) -> torch.Tensor:
    return Generator(SEEDS, stream="latents").normal(*shape, 2)


def model(function, features: int = 2) -> VAE:
    vae = VAE.mlp(features, 2, hidden=(16,), likelihood=GaussianLikelihood(20.0), generator=Generator(SEEDS))
    vae.decoder = FixedDecoder(function, members=3)
    return vae


@every_map
def test_it_is_the_map_whatever_axes_lie_between(make):
    function, z = make(), latents(4, 5)
    decoder = FixedDecoder(function, members=3)
    expected = torch.stack([function(z[:, k]) for k in range(4)], dim=1)
    assert torch.allclose(decoder(z), expected)
    assert torch.equal(decoder(z[:, 0]), function(z[:, 0]))
    shared = z[0, 0]
    assert torch.equal(decoder(shared), function(shared.expand(3, 5, 2)))
    assert torch.allclose(jacobian(decoder, z), torch.stack([jacobian(function, z[:, k]) for k in range(4)], 1))


@every_map
def test_members_can_be_selected(make):
    decoder, z = FixedDecoder(make(), members=3), latents(5)
    assert torch.allclose(select(decoder, [2, 0])(z[[2, 0]]), decoder(z)[[2, 0]])


def test_a_vae_takes_its_members_type_and_device_from_it():
    vae = model(Moebius.random(Generator(SEEDS), 2))
    assert (vae.members, vae.dtype, vae.device) == (3, torch.float32, torch.device("cpu"))
    assert vae.double().dtype == torch.float64
    assert select(vae, [1]).members == 1
    assert vae.to("meta").device == torch.device("meta")


@pytest.mark.parametrize("make", [MAPS["a network"], lambda: Rotation(nn.Parameter(torch.tensor([0.1, 0.2, 0.3])))])
def test_training_moves_the_encoder_and_not_the_map(make):
    function = make()
    z = Generator(SEEDS).normal(500, 2)
    x, trainable = function(z).detach(), [p.requires_grad for p in function.parameters()]
    vae = model(function, x.shape[-1])
    before = vae.decoder(z)
    config = TrainConfig(seeds=SEEDS, steps=150, batch_size=64, learning_rate=1e-2, device="cpu")
    history = fit(vae, ELBO(), lambda g, n: function(g.normal(n, 2)).detach(), config, progress=False)
    assert torch.equal(vae.decoder(z), before) and not before.requires_grad
    assert bool((history.loss[-1] < history.loss[0] - 0.3).all())
    assert trainable and all(trainable) and all(p.requires_grad for p in function.parameters())


def test_bad_input():
    with pytest.raises(ValueError, match="members is 0; expected at least 1"):
        FixedDecoder(torch.tanh, members=0)
    decoder = FixedDecoder(torch.tanh, members=3)
    for shape in ((2,), (1, 5, 2), (2, 4, 5, 2)):
        with pytest.raises(ValueError, match=r"z has shape .*; expected \(n, 2\) or \(3, ..., 2\)"):
            decoder(torch.ones(shape))
