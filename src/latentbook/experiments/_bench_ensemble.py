"""Many seeds of a small VAE: a loop over seeds, torch's own vmap, and this package's stack."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, stack_module_state, vmap

from latentbook.experiments._bench import FIT, Comparison, FitTimer, PlainVAE, Timer, copied, needs, timed
from latentbook.models import VAE
from latentbook.objectives import ELBO
from latentbook.random import Generator
from latentbook.training import TrainConfig

SIZE, HIDDEN, BATCH = 3, (30, 30), 64  # those of the published runs on three factors
WIDE = (256, 256)
STACKS = (1, 2, 5, 10, 20, 50, 100)  # as far as the config's members go


def comparisons(config) -> list[Comparison]:
    """The cost of a step of one seed."""
    device = TrainConfig(device=config.device).resolve_device()
    x = Generator(0, device=device, stream="data").normal(4096, SIZE)[0]
    ways = {
        "plain loop": partial(_loop, x, config.steps, False),
        "plain loop, compiled": partial(_loop, x, config.steps, True),
        "vmap": partial(_vmap, x, config.members, config.steps, False),
        "vmap, compiled": partial(_vmap, x, config.members, config.steps, True),
        "fit, one seed": partial(_fit, x, 1, config.steps, compile=False),
        **{way: partial(_fit, x, config.members, config.steps, **FIT[way]) for way in ("fit", "fit, compiled")},
    }
    return [Comparison(f"small MLP, {config.members} seeds", "us a step and seed", 1e6, ways)]


def stacks(config) -> list[Comparison]:
    """The cost of a step of one seed in stacks of several sizes: a small network, and a wide one."""
    device = TrainConfig(device=config.device).resolve_device()
    sizes = [size for size in STACKS if size <= config.members]
    found = []
    for what, hidden, steps in (("small MLP", HIDDEN, config.steps), ("wide MLP", WIDE, -(-config.steps // 5))):
        x = Generator(0, device=device, stream="data").normal(4096, SIZE)[0]
        ways = {
            f"{size} seed{'s' * (size > 1)}": partial(_fit, x, size, steps, hidden, compile=False) for size in sizes
        }
        found.append(Comparison(f"stack, {what}", "us a step and seed", 1e6, ways))
    return found


def a_model(seeds: Sequence[int], device: torch.device | str = "cpu", hidden: tuple[int, ...] = HIDDEN) -> VAE:
    """The untrained stack."""
    generator = Generator(seeds, device=device)
    return VAE.mlp(SIZE, SIZE, hidden=hidden, separate=False, initial_log_variance=0.0, generator=generator)


def plain(model: VAE, member: int = 0) -> PlainVAE:
    """The same model, one member of it, without the stack."""
    networks = (copied(network, member) for network in (model.encoder.network, model.decoder))
    return PlainVAE(*networks, bernoulli=False)


def _fit(x: Tensor, members: int, steps: int, hidden: tuple[int, ...] = HIDDEN, **options: object) -> Timer:
    seeds = tuple(range(members))
    options |= {"seeds": seeds, "batch_size": BATCH, "device": x.device.type}
    return FitTimer(a_model(seeds, x.device, hidden), ELBO(), x, steps, members, **options)


def _loop(x: Tensor, steps: int, compiled: bool) -> Timer:
    needs(x.device, compiler=compiled)
    model, generator = plain(a_model([0], x.device)), torch.Generator(x.device)
    adam = torch.optim.Adam(model.parameters(), lr=1e-3, fused=True)
    loss = torch.compile(model) if compiled else model

    def run() -> None:
        order = torch.randperm(len(x), generator=generator, device=x.device)
        for step in range(steps):
            index = order[(step * BATCH + torch.arange(BATCH, device=x.device)) % len(x)]
            noise = torch.randn(BATCH, SIZE, generator=generator, device=x.device)
            adam.zero_grad()
            loss(x[index], noise).backward()
            adam.step()

    return timed(run, x.device, steps)


def _vmap(x: Tensor, members: int, steps: int, compiled: bool) -> Timer:
    needs(x.device, compiler=compiled)
    models, generator = [plain(a_model([seed], x.device)) for seed in range(members)], torch.Generator(x.device)
    stacked, _ = stack_module_state(models)
    adam = torch.optim.Adam(stacked.values(), lr=1e-3, fused=True)
    slopes = vmap(grad(partial(_loss, models[0])))
    slopes = torch.compile(slopes) if compiled else slopes

    def run() -> None:
        orders = torch.rand(members, len(x), generator=generator, device=x.device).argsort(1)
        for step in range(steps):
            index = orders[:, (step * BATCH + torch.arange(BATCH, device=x.device)) % len(x)]
            noise = torch.randn(members, BATCH, SIZE, generator=generator, device=x.device)
            found = slopes({name: value.detach() for name, value in stacked.items()}, x[index], noise)
            for name, value in stacked.items():
                value.grad = found[name]
            adam.step()

    return timed(run, x.device, steps * members)


def _loss(model: nn.Module, parameters: dict[str, Tensor], x: Tensor, noise: Tensor) -> Tensor:
    return functional_call(model, parameters, (x, noise))
