"""The variational autoencoder: a stack of K of them, to be exact."""

from __future__ import annotations

import inspect
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.distributions import Normal

from latentbook.conv import ConvDecoder, ConvEncoder
from latentbook.models.encoders import FreePosterior, GaussianEncoder
from latentbook.models.likelihoods import BernoulliLikelihood, GaussianLikelihood
from latentbook.models.priors import NormalPrior, prior_precision
from latentbook.nn import MLP, Activation, Affine, per_member
from latentbook.random import Generator, check_members


def _check_likelihood(likelihood: nn.Module, members: int) -> None:
    if likelihood.members not in (None, members):
        raise ValueError(f"likelihood is made for {likelihood.members} members; expected {members}, as in the networks")


def _check_sizes(*, latent_size: int, data_size: int = 1, **sequences: Sequence[int]) -> None:
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


def _check_data(data: Tensor | None, features: int, likelihood: nn.Module, device: torch.device) -> Tensor | None:
    """The data on ``device``, after checking shape, type and values."""
    if data is None:
        return None
    dtype = torch.get_default_dtype()
    if not isinstance(data, Tensor) or data.dtype != dtype:
        found = f"dtype {data.dtype}" if isinstance(data, Tensor) else f"type {type(data).__name__}"
        raise TypeError(f"data has {found}; expected a tensor of {dtype}, as the model has")
    if data.dim() != 2 or data.shape[1] != features or not len(data):
        raise ValueError(f"data has shape {tuple(data.shape)}; expected (n, {features}) with n at least 1")
    bad = int((~data.isfinite()).sum())
    if bad:
        raise ValueError(f"data has {bad} value(s) that are NaN or infinite; expected finite numbers")
    if isinstance(likelihood, BernoulliLikelihood) and not 0 <= float(data.min()) <= float(data.max()) <= 1:
        low, high = float(data.min()), float(data.max())
        raise ValueError(f"data runs from {low:g} to {high:g}; expected 0 to 1, since the likelihood is Bernoulli")
    return data.to(device)


class _Parts:
    """What every way of building a VAE begins with: likelihood, prior and data, checked and on one device."""

    def __init__(self, features: int, latents: int, likelihood, prior, data, generator: Generator) -> None:
        check_members(generator)
        device = generator.device
        self.likelihood = (GaussianLikelihood() if likelihood is None else likelihood).to(device)
        _check_likelihood(self.likelihood, generator.members)
        self.prior = (NormalPrior(latents) if prior is None else prior).to(device)
        size = getattr(self.prior, "size", latents)
        if size != latents:
            raise ValueError(f"prior has {size} latents; expected latent_size = {latents}")
        self.latents, self.data = latents, _check_data(data, features, self.likelihood, device)

    def assemble(
        self, kind: type[VAE], encoder: GaussianEncoder, decoder: nn.Module, initial: float | Tensor | None = None
    ) -> VAE:
        """The VAE: an output layer where data are given, and log-variances that start at ``initial`` or a guess."""
        column_norm2, precision = None, prior_precision(self.prior)
        if isinstance(self.likelihood, GaussianLikelihood):
            column_norm2 = 1.0
            if self.data is not None:
                decoder = nn.Sequential(decoder, Affine.rescale(self.data))
                column_norm2 = float(self.data.var(0, correction=0).sum()) / self.latents
            precision = precision + column_norm2 * per_member(self.likelihood.gamma2().detach(), 3)
        encoder.start_log_variance(-precision.log() if initial is None else initial)
        return kind(encoder, decoder, self.prior, self.likelihood, column_norm2=column_norm2)


class VAE(nn.Module):
    """K variational autoencoders with a common architecture.

    Args:
        encoder: x -> posterior distribution, such as :class:`GaussianEncoder`. One whose ``forward`` has an argument
            ``u`` is given the auxiliary variable, where there is one.
        decoder: z (members, ..., latents) -> the likelihood's parameters (members, ..., features).
        prior: module whose ``forward(u=None)`` returns a distribution.
        likelihood: :class:`GaussianLikelihood` or :class:`BernoulliLikelihood`.
        column_norm2: expected squared norm c of a column of the decoder's Jacobian, where known. When gamma^2 is
            annealed the posterior variances then follow at once, as ``1 / (1/v + gamma^2 c)`` with the prior's
            variance v, instead of being relearned.

    Raises:
        ValueError: if the likelihood was made for another number of members.
    """

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        prior: nn.Module,
        likelihood: nn.Module,
        *,
        column_norm2: float | None = None,
    ) -> None:
        super().__init__()
        self.encoder, self.decoder, self.prior, self.likelihood = encoder, decoder, prior, likelihood
        self.column_norm2 = column_norm2
        _check_likelihood(likelihood, self.members)

    @property
    def members(self) -> int:
        """Number of members K."""
        return next(self.decoder.parameters()).shape[0]

    @property
    def dtype(self) -> torch.dtype:
        """Floating-point type of the parameters."""
        return next(self.decoder.parameters()).dtype

    @property
    def device(self) -> torch.device:
        """Where the parameters live."""
        return next(self.decoder.parameters()).device

    @torch.no_grad()
    def _annealing_shift(self) -> Tensor:
        """What annealing adds to the log-variances: exactly 0 where the multiplier of gamma^2 is 1."""
        gamma2 = self.likelihood.gamma2
        precision, full = prior_precision(self.prior), per_member(self.column_norm2 * gamma2.base(), 3)
        return ((precision + full) / (precision + full * per_member(gamma2.multiplier, 3))).log()

    def encode(self, x: Tensor, u: Tensor | None = None) -> Normal:
        """The posterior q(z|x), or q(z|x, u): batch shape (members, batch, latents), on the model's device."""
        device = self.device
        inputs = (x.to(device),)
        gamma2 = getattr(self.likelihood, "gamma2", None)
        if self.column_norm2 is not None and gamma2 is not None and gamma2.moved:
            inputs += (self._annealing_shift(),)
        if u is not None and "u" in inspect.signature(self.encoder.forward).parameters:
            return self.encoder(*inputs, u=u.to(device))
        return self.encoder(*inputs)

    def decode(self, z: Tensor) -> Tensor:
        """The likelihood's parameters at z: (members, ..., latents) -> (members, ..., features)."""
        return self.decoder(z.to(self.device))

    @torch.no_grad()
    def reconstruct(self, x: Tensor, u: Tensor | None = None) -> Tensor:
        """E[x | z = posterior mean], (members, batch, features)."""
        return self.likelihood.mean(self.decode(self.encode(x, u).mean))

    @torch.no_grad()
    def sample(self, n: int, generator: Generator, *, noise: bool = False) -> Tensor:
        """Data points from the model, (members, n, features): E[x | z] at prior draws of z; with ``noise``, x.

        Raises:
            ValueError: if ``generator`` has not one seed per member.
        """
        check_members(generator, self.members)
        generator = generator.to(self.device)
        decoded = self.decode(self.prior.sample((n,), generator))
        return self.likelihood.sample(decoded, generator) if noise else self.likelihood.mean(decoded)

    @classmethod
    def mlp(
        cls,
        data_size: int,
        latent_size: int,
        *,
        hidden: Sequence[int] = (64, 64),
        activation: Activation = "silu",
        likelihood: nn.Module | None = None,
        prior: nn.Module | None = None,
        separate: bool = True,
        data: Tensor | None = None,
        whiten: str | None = "standardise",
        initial_log_variance: float | Tensor | None = None,
        generator: Generator,
    ) -> VAE:
        """A VAE of multilayer perceptrons; the decoder mirrors the encoder.

        Args:
            data_size: number of features of x.
            latent_size: number of latents.
            hidden: hidden units from data to latents.
            activation: between the layers; a name in :data:`latentbook.nn.ACTIVATIONS` or a callable.
            likelihood: by default Gaussian with gamma^2 = 1.
            prior: by default N(0, I).
            separate: separate networks for mean and log-variance (one shared network otherwise).
            data: data (n, data_size), from which fixed input and output layers are computed: the encoder sees x
                whitened, and for a Gaussian likelihood the decoder's output is scaled to the data, so that both
                networks work with numbers of order one. gamma^2 keeps its meaning in the units of x.
            whiten: "zca", "standardise" or None (no input layer).
            initial_log_variance: where the posterior's log-variance starts, a number or (members,). None: at
                ``-log(1/v + gamma^2 c)``, with v the prior's variance and c a guess of the squared column norms of
                the decoder's Jacobian (no second term where the likelihood is not Gaussian). It is close to where
                training ends, and a start far from it costs most of a short run.
            generator: source of the initial weights, one seed a member. The model is made on its device.

        Raises:
            ValueError, TypeError: for sizes, data, a prior or a likelihood that do not fit together.
        """
        _check_sizes(data_size=data_size, latent_size=latent_size, hidden=hidden)
        sizes = (data_size, *hidden, latent_size)
        parts = _Parts(data_size, latent_size, likelihood, prior, data, generator)

        def net(*sizes: int) -> MLP:
            return MLP(sizes, activation=activation, generator=generator)

        input_layer = None if parts.data is None or whiten is None else Affine.whiten(parts.data, method=whiten)
        if separate:
            encoder = GaussianEncoder(net(*sizes), net(*sizes), whiten=input_layer)
        else:
            encoder = GaussianEncoder(net(*sizes[:-1], 2 * latent_size), whiten=input_layer)
        return parts.assemble(cls, encoder, net(*reversed(sizes)), initial_log_variance)

    @classmethod
    def conv(
        cls,
        image_shape: Sequence[int],
        latent_size: int,
        *,
        channels: Sequence[int] = (32, 32, 32, 32),
        hidden: Sequence[int] = (256, 256),
        activation: Activation = "relu",
        likelihood: nn.Module | None = None,
        prior: nn.Module | None = None,
        data: Tensor | None = None,
        generator: Generator,
    ) -> VAE:
        """A VAE of convolutions for flattened images; the decoder mirrors the encoder, one network encodes.

        Args:
            image_shape: (channels, height, width), the sides divisible by two to the number of layers.
            latent_size: number of latents.
            channels: channels of the encoder's convolutions, each of which halves the image.
            hidden: hidden units from the last convolution to the latents.
            activation: between the layers; a name in :data:`latentbook.nn.ACTIVATIONS` or a callable.
            likelihood: by default Gaussian with gamma^2 = 1.
            prior: by default N(0, I).
            data: images (n, pixels); for a Gaussian likelihood the decoder's output is scaled to them.
            generator: source of the initial weights, one seed a member. The model is made on its device.

        Raises:
            ValueError, TypeError: for sizes, data, a prior or a likelihood that do not fit together.
        """
        _check_sizes(latent_size=latent_size, image_shape=image_shape, channels=channels, hidden=hidden)
        parts = _Parts(math.prod(image_shape), latent_size, likelihood, prior, data, generator)
        options = {"activation": activation, "generator": generator}
        network = ConvEncoder(image_shape, 2 * latent_size, channels=channels, hidden=hidden, **options)
        mirrored = {"channels": tuple(reversed(channels)), "hidden": tuple(reversed(hidden))}
        decoder = ConvDecoder(latent_size, image_shape, **mirrored, **options)
        return parts.assemble(cls, GaussianEncoder(network), decoder)


__all__ = ["VAE", "FreePosterior", "GaussianEncoder"]
