"""Networks on sprites of 64 x 64: a loop around a DataLoader, this package, and matrix products alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache, partial
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn
from torch.distributions import Normal
from torch.utils.data import DataLoader

from latentbook.data import sprites
from latentbook.experiments._bench import FIT, Comparison, FitTimer, PlainVAE, Timer, copied, needs, timed
from latentbook.models import VAE, BernoulliLikelihood
from latentbook.objectives import ELBO, TCVAE, minibatch_total_correlation
from latentbook.random import Generator
from latentbook.training import TrainConfig

LATENTS = 20
PIXELS = 4096
BETA = 4.0
_SIDE = 8192  # of the matrices whose product gives the peak of a card


def mlp(config) -> list[Comparison]:
    """A step of the usual fully connected pair, against a loop and against its own matrix products."""
    device, size = _device(config), config.batch_size
    ways: dict[str, Callable[[], Timer]] = {"DataLoader loop": partial(_loop, config, plain_mlp, _negative_elbo)}
    ways |= {way: partial(_fit, config, an_mlp, ELBO, **FIT[way]) for way in FIT}
    floors = {"float32": "products, float32", "bfloat16": "products, bfloat16"}
    ways |= {name: partial(_products, config, getattr(torch, kind)) for kind, name in floors.items()}
    if device.type == "cuda":
        ways["fit, TF32, compiled"] = partial(_fit, config, an_mlp, ELBO, compile=True, tf32=True)
        floors["bfloat16"] = "at the card's peak, bfloat16"
        ways[floors["bfloat16"]] = partial(_peak, config)
    roofs = {way: floors[options.get("precision", "float32")] for way, options in FIT.items()}
    lookup = {
        "float32 rows": lambda: timed(partial(_rows(config, size).__getitem__, _order(config)), device, size),
        "packed bits": lambda: timed(partial(_packed(size).to(device).batch, _order(config)), device, size),
    }
    return [
        Comparison("dSprites MLP", "us an image", 1e6, ways, roofs),
        Comparison("a batch of dSprites", "us an image", 1e6, lookup),
    ]


def tcvae(config) -> list[Comparison]:
    """The total correlation by itself, and a step of a beta-TCVAE, not compiled: at this size that takes minutes."""
    estimates = {"all pairs at once": broadcast_total_correlation, "in blocks": minibatch_total_correlation}
    alone = {way: partial(_slopes, config, estimate) for way, estimate in estimates.items()}
    ways = {"DataLoader loop": partial(_loop, config, plain_mlp, _negative_elbo_and_tc)}
    eager = [way for way in FIT if "compiled" not in way]
    ways |= {way: partial(_fit, config, an_mlp, partial(TCVAE, BETA), **FIT[way]) for way in eager}
    return [
        Comparison("total correlation and gradient", "ms", 1e3, alone),
        Comparison("dSprites MLP, beta-TCVAE", "us an image", 1e6, ways),
    ]


def conv(config) -> list[Comparison]:
    """A step of the usual convolutional pair, with an eighth of the images."""
    config = replace(config, batch_size=max(2, config.batch_size // 8))
    ways: dict[str, Callable[[], Timer]] = {"DataLoader loop": partial(_loop, config, plain_conv, _negative_elbo)}
    ways |= {way: partial(_fit, config, a_conv, ELBO, **FIT[way]) for way in FIT}
    return [Comparison("dSprites convolutions", "us an image", 1e6, ways)]


def an_mlp(config, seeds: Sequence[int] = (0,), device: torch.device | str = "cpu") -> VAE:
    """The untrained fully connected pair."""
    hidden = {"hidden": config.hidden, "decoder_hidden": (*config.hidden, config.hidden[-1])}
    kinds = {"activation": "relu", "decoder_activation": "tanh", "separate": False}
    options = {"likelihood": BernoulliLikelihood(), "generator": Generator(seeds, device=device)}
    return VAE.mlp(PIXELS, LATENTS, **hidden, **kinds, **options)


def a_conv(config, seeds: Sequence[int] = (0,), device: torch.device | str = "cpu") -> VAE:
    """The untrained convolutional pair."""
    generator = Generator(seeds, device=device)
    return VAE.conv((1, 64, 64), LATENTS, likelihood=BernoulliLikelihood(), generator=generator)


def plain_mlp(config) -> PlainVAE:
    """The fully connected pair in torch's own layers."""
    model = an_mlp(config)
    return PlainVAE(copied(model.encoder.network), copied(model.decoder), bernoulli=True)


def plain_conv(config) -> PlainVAE:
    """The convolutional pair in torch's own layers."""
    kinds = {"kernel_size": 4, "stride": 2, "padding": 1}
    down = [part for i in (1, 32, 32, 32) for part in (nn.Conv2d(i, 32, **kinds), nn.ReLU())]
    up = [part for o in (32, 32, 32, 1) for part in (nn.ReLU(), nn.ConvTranspose2d(32, o, **kinds))]
    inward = [part for i, o in ((512, 256), (256, 256)) for part in (nn.Linear(i, o), nn.ReLU())]
    outward = [part for i, o in ((LATENTS, 256), (256, 256)) for part in (nn.Linear(i, o), nn.ReLU())]
    encoder = nn.Sequential(nn.Unflatten(1, (1, 64, 64)), *down, nn.Flatten(), *inward, nn.Linear(256, 2 * LATENTS))
    decoder = nn.Sequential(*outward, nn.Linear(256, 512), nn.Unflatten(1, (32, 4, 4)), *up, nn.Flatten())
    return PlainVAE(encoder, decoder, bernoulli=True)


def broadcast_total_correlation(z: Tensor, posterior: Normal) -> Tensor:
    """The same estimate as :func:`~latentbook.objectives.minibatch_total_correlation`, as it is usually written.

    All pairs of a sample and a posterior, in each latent, are held at once, and several times for the gradient.

    Args:
        z: one sample for each data point, (batch, latents).
        posterior: its law, of the same shape.
    """
    scaled = (z[:, None] - posterior.mean) / posterior.stddev
    density = -0.5 * scaled.square() - posterior.stddev.log() - 0.5 * math.log(2 * math.pi)
    joint, marginals = density.sum(2).logsumexp(1), density.logsumexp(1).sum(1)
    return (joint - marginals).mean() + (z.shape[1] - 1) * math.log(len(z))


def _negative_elbo(model: PlainVAE, x: Tensor, noise: Tensor) -> Tensor:
    return model(x, noise)


def _negative_elbo_and_tc(model: PlainVAE, x: Tensor, noise: Tensor) -> Tensor:
    z, mean, log_variance, reconstruction, kl = model.parts(x, noise)
    posterior = Normal(mean, (log_variance / 2).exp(), validate_args=False)
    return kl - reconstruction + (BETA - 1) * broadcast_total_correlation(z, posterior)


def _device(config) -> torch.device:
    return TrainConfig(device=config.device).resolve_device()


@cache
def _packed(count: int) -> sprites.Sprites:
    """Sprites with random factors."""
    uniform = Generator(0, stream="factors").uniform(count, 5)[0]
    factors = (uniform * torch.tensor(sprites.SIZES)).long()
    return sprites.Sprites(torch.from_numpy(np.packbits(sprites.render(factors).flatten(1).numpy(), axis=1)))


def _rows(config, count: int) -> Tensor:
    return _packed(count).batch(torch.arange(count)).to(_device(config))


def _order(config) -> Tensor:
    return Generator(0, device=_device(config)).permutation(config.batch_size)[0]


class _Items(torch.utils.data.Dataset):
    """Pictures one at a time, as bytes that become floats when they are asked for."""

    def __init__(self, images: np.ndarray) -> None:
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Tensor:
        return torch.from_numpy(self.images[index].astype(np.float32))


def _loop(config, build: Callable[..., PlainVAE], loss: Callable[..., Tensor]) -> Timer:
    """One model, a DataLoader that collects single pictures, Adam as it comes, and the loss looked at every step."""
    device, size = _device(config), config.batch_size
    model, images = build(config).to(device), _packed(size).batch(torch.arange(size)).byte().numpy()
    loader = DataLoader(_Items(images), size, shuffle=True, generator=torch.Generator())
    adam, generator = torch.optim.Adam(model.parameters(), lr=1e-3), torch.Generator(device)

    def run() -> None:
        for batch in loader:
            x = batch.to(device)
            noise = torch.randn(len(x), LATENTS, generator=generator, device=device)
            adam.zero_grad()
            value = loss(model, x, noise)
            value.backward()
            adam.step()
            value.item()

    return timed(run, device, size)


def _fit(config, build: Callable[..., VAE], objective: Callable[[], nn.Module], **options: object) -> Timer:
    device, seeds, size = _device(config), _seeds(config), config.batch_size
    options |= {"seeds": seeds, "batch_size": size, "device": device.type}
    steps = 1 if device.type == "cpu" else 10
    return FitTimer(build(config, seeds, device), objective(), _packed(size), steps, size * len(seeds), **options)


def _seeds(config) -> tuple[int, ...]:
    """One model on a CPU, where it fills the core; on a card the whole stack."""
    return tuple(range(config.members if _device(config).type == "cuda" else 1))


def _products(config, dtype: torch.dtype) -> Timer:
    """The matrix products of a step and nothing else: forward, weights' gradient, and input's but for the first."""
    device, members, size = _device(config), len(_seeds(config)), config.batch_size
    needs(device, bfloat16=dtype == torch.bfloat16)
    layers = [
        tuple(torch.ones(members, *shape, dtype=dtype, device=device) for shape in ((size, i), (i, o), (size, o)))
        for network in _networks(config)
        for i, o in pairwise(network)
    ]

    def run() -> None:
        for number, (x, weight, slope) in enumerate(layers):
            x @ weight
            x.mT @ slope
            if number:
                slope @ weight.mT

    return timed(run, device, size * members)


def _networks(config) -> tuple[tuple[int, ...], tuple[int, ...]]:
    inward = (PIXELS, *config.hidden, 2 * LATENTS)
    return inward, (LATENTS, *config.hidden, config.hidden[-1], PIXELS)


def flops(config) -> int:
    """Floating-point operations of one image's matrix products: six a weight, four where no input has a gradient."""
    weights = [i * o for network in _networks(config) for i, o in pairwise(network)]
    return 6 * sum(weights) - 2 * weights[0]


def _peak(config) -> Timer:
    """Seconds that a step's operations would take at the rate of one large product, an image."""
    device = _device(config)
    square = torch.ones(_SIDE, _SIDE, dtype=torch.bfloat16, device=device)
    return timed(lambda: square @ square, device, 2 * _SIDE**3 / flops(config))


def _slopes(config, estimate: Callable[[Tensor, Normal], Tensor]) -> Timer:
    codes = some_codes(config.batch_size, LATENTS, _device(config))
    return timed(
        lambda: torch.autograd.grad(estimate(codes[0], Normal(*codes[1:], validate_args=False)), codes),
        _device(config),
    )


def some_codes(n: int, latents: int, device: torch.device | str = "cpu") -> tuple[Tensor, Tensor, Tensor]:
    """Samples, means and scales of a batch, each (n, latents)."""
    noise = Generator([0, 1, 2], device=device).normal(n, latents)
    scale = 0.1 * (0.3 * noise[2]).exp()
    return tuple(part.requires_grad_() for part in (noise[0] + scale * noise[1], noise[0], scale))
