"""What every way of building a variational autoencoder begins with: its parts, checked, and put together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from latentbook.models.encoders import GaussianEncoder
from latentbook.models.likelihoods import BernoulliLikelihood, GaussianLikelihood
from latentbook.models.priors import NormalPrior, Prior
from latentbook.nn import Affine, per_member
from latentbook.random import Generator, check_members

if TYPE_CHECKING:
    from latentbook.models.vae import VAE


def check_stack(members: int, **parts: nn.Module) -> None:
    """Raise if a likelihood or prior was made for another number of members."""
    for name, part in parts.items():
        found = getattr(part, "members", None)
        if found not in (None, members):
            raise ValueError(f"{name} is made for {found} members; expected {members}, as in the networks")


def check_sizes(*, latent_size: int, data_size: int = 1, **sequences: Sequence[int]) -> None:
    """Raise unless all sizes are positive integers, and ``sequences`` (hidden, channels, ...) hold nothing else."""
    named = [("latent_size", latent_size), ("data_size", data_size)]
    for name, sizes in sequences.items():
        if not isinstance(sizes, Sequence) or isinstance(sizes, str):
            raise TypeError(f"{name} is {sizes!r}; expected a sequence of sizes, such as (64, 64)")
        named += [(name, size) for size in sizes]
    for name, size in named:
        if isinstance(size, bool) or not hasattr(size, "__index__"):
            raise TypeError(f"{name} has the size {size!r}; expected an integer")
        if size < 1:
            raise ValueError(f"{name} has the size {size}; expected at least 1")


def check_data(data: Tensor | None, features: int, likelihood: nn.Module | None, generator: Generator) -> Tensor | None:
    """The data on the generator's device, after checking shape, type and values."""
    if data is None:
        return None
    dtype = torch.get_default_dtype()
    if not isinstance(data, Tensor) or data.dtype != dtype:
        found = f"dtype {data.dtype}" if isinstance(data, Tensor) else f"type {type(data).__name__}"
        raise TypeError(f"data has {found}; expected a tensor of {dtype}, as the model has")
    members = generator.members
    if data.shape[:-2] not in ((), (members,)) or data.shape[-1] != features or 0 in data.shape or data.dim() < 2:
        expected = f"(n, {features}) or ({members}, n, {features}) with n at least 1"
        raise ValueError(f"data has shape {tuple(data.shape)}; expected {expected}")
    bad = int((~data.isfinite()).sum())
    if bad:
        raise ValueError(f"data has {bad} value(s) that are NaN or infinite; expected finite numbers")
    if isinstance(likelihood, BernoulliLikelihood) and not 0 <= float(data.min()) <= float(data.max()) <= 1:
        low, high = float(data.min()), float(data.max())
        raise ValueError(f"data runs from {low:g} to {high:g}; expected 0 to 1, since the likelihood is Bernoulli")
    return data.to(generator.device)


class Parts:
    """Likelihood, prior and data of a VAE, checked and on one device.

    Args:
        features: number of features of x.
        latents: number of latents.
        likelihood: by default Gaussian with gamma^2 = 1.
        prior: by default N(0, I).
        data: data that the fixed layers are computed from, or None.
        generator: its seeds are the members, its device is the model's.
    """

    def __init__(
        self,
        features: int,
        latents: int,
        likelihood: nn.Module | None,
        prior: nn.Module | None,
        data: Tensor | None,
        generator: Generator,
    ) -> None:
        check_members(generator)
        self.device = device = generator.device
        self.likelihood = (GaussianLikelihood() if likelihood is None else likelihood).to(device)
        self.prior = (NormalPrior(latents) if prior is None else prior).to(device)
        check_stack(generator.members, likelihood=self.likelihood, prior=self.prior)
        size = getattr(self.prior, "size", latents)
        if size != latents:
            raise ValueError(f"prior has {size} latents; expected latent_size = {latents}")
        self.latents, self.data = latents, check_data(data, features, self.likelihood, generator)

    @torch.no_grad()
    def assemble(
        self, kind: type[VAE], encoder: GaussianEncoder, decoder: nn.Module, initial: float | Tensor | None = None
    ) -> VAE:
        """The VAE: fixed layers around the decoder, and log-variances that start at ``initial`` or a guess."""
        layers, column_norm2, variance = [decoder], None, torch.ones(1, 1, self.latents, device=self.device)
        if isinstance(self.prior, Prior):
            variance = self.prior.variance().reshape(-1, 1, self.latents)
            layers = [nn.Sigmoid(), decoder] if self.prior.on_unit_interval else layers
        if isinstance(self.likelihood, GaussianLikelihood):
            column_norm2 = torch.ones((), device=self.device)
            if self.data is not None:
                layers.append(Affine.rescale(self.data))
                column_norm2 = self.data.var(-2, correction=0).sum(-1) / self.latents
            variance = variance / (1 + per_member(column_norm2 * self.likelihood.gamma2(), 3))
        encoder.start_log_variance(variance.log() if initial is None else initial)
        decoder = decoder if len(layers) == 1 else nn.Sequential(*layers)
        return kind(encoder, decoder, self.prior, self.likelihood, column_norm2=column_norm2)
