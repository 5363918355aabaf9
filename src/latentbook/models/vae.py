"""The variational autoencoder: a stack of K of them, to be exact."""

from __future__ import annotations

import inspect
import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.distributions import Normal

from latentbook.conv import ConvDecoder, ConvEncoder
from latentbook.models.assembly import Parts, check_sizes, check_stack
from latentbook.models.encoders import FreePosterior, GaussianEncoder
from latentbook.models.likelihoods import BernoulliLikelihood
from latentbook.models.priors import Prior
from latentbook.nn import MLP, Activation, Affine, keep_exact, per_member
from latentbook.random import Generator, check_members


class VAE(nn.Module):
    """K variational autoencoders with a common architecture.

    Args:
        encoder: x -> posterior distribution, such as :class:`GaussianEncoder`. One whose ``forward`` has an argument
            ``u`` is given the auxiliary variable, where there is one.
        decoder: z (members, ..., latents) -> the likelihood's parameters (members, ..., features).
        prior: module whose ``forward(u=None)`` returns a distribution.
        likelihood: :class:`GaussianLikelihood` or :class:`BernoulliLikelihood`.
        column_norm2: expected squared norm c of a column of the decoder's Jacobian, one number or (members,), where
            known; the latents are measured in standard deviations of the prior. When gamma^2 is annealed the posterior
            variances then follow at once, as ``1 / (1 + gamma^2 c)``, instead of being relearned.

    Raises:
        ValueError: if the likelihood or the prior was made for another number of members.
    """

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module,
        prior: nn.Module,
        likelihood: nn.Module,
        *,
        column_norm2: float | Tensor | None = None,
    ) -> None:
        super().__init__()
        self.encoder, self.decoder, self.prior, self.likelihood = encoder, decoder, prior, likelihood
        if column_norm2 is not None:
            column_norm2 = torch.as_tensor(column_norm2, dtype=self.dtype, device=self.device)
        self.register_buffer("column_norm2", column_norm2)
        check_stack(self.members, likelihood=likelihood, prior=prior)
        if not isinstance(likelihood, BernoulliLikelihood):  # logits bear rounding; means in the units of x may not
            keep_exact(decoder)

    @property
    def stacked_buffers(self) -> tuple[str, ...]:
        """The buffers that carry a members axis, for :func:`latentbook.nn.select`."""
        return () if self.column_norm2 is None or self.column_norm2.dim() == 0 else ("column_norm2",)

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
        full = self.column_norm2 * gamma2.base()
        return per_member(((1 + full) / (1 + full * gamma2.multiplier)).log(), 3)

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
    def codes(self, x: Tensor, u: Tensor | None = None, generator: Generator | None = None) -> Tensor:
        """What the model takes the latents of x to be, (members, batch, latents), in the units of the prior.

        Args:
            x: data (batch, features), or (members, batch, features).
            u: auxiliary variable, as in :meth:`encode`.
            generator: None for mean codes, the posterior means; with a generator, one posterior sample each. For
                priors on the unit interval either is taken to [0, 1] by the sigmoid.

        Raises:
            ValueError: if ``generator`` has not one seed per member.
        """
        posterior = self.encode(x, u)
        z = posterior.mean
        if generator is not None:
            check_members(generator, self.members)
            z = z + posterior.stddev * generator.to(self.device).normal(*z.shape[1:], dtype=z.dtype)
        return self.prior.natural(z) if isinstance(self.prior, Prior) else z

    @torch.no_grad()
    def reconstruct(self, x: Tensor, u: Tensor | None = None) -> Tensor:
        """E[x | z = posterior mean], (members, batch, features)."""
        return self.likelihood.mean(self.decode(self.encode(x, u).mean))

    @torch.no_grad()
    def sample(self, n: int, generator: Generator, *, noise: bool = False, u: Tensor | None = None) -> Tensor:
        """Data points from the model, (members, n, features): E[x | z] at prior draws of z; with ``noise``, x.

        Args:
            n: data points of each member.
            generator: one seed per member.
            noise: draw x itself, not its mean.
            u: auxiliary variable of every data point, where the prior depends on one.

        Raises:
            ValueError: if ``generator`` has not one seed per member, or u is missing or has not n rows.
        """
        check_members(generator, self.members)
        generator = generator.to(self.device)
        given = (None if u is None else u.to(self.device),) if getattr(self.prior, "conditional", False) else ()
        decoded = self.decode(self.prior.sample((n,), generator, *given))
        return self.likelihood.sample(decoded, generator) if noise else self.likelihood.mean(decoded)

    @torch.no_grad()
    def traverse(self, z: Tensor, values: Tensor | Sequence[float], latents: Sequence[int] | None = None) -> Tensor:
        """E[x | z] while one latent at a time takes the given values and the others stay where they are in ``z``.

        Args:
            z: codes to start from, one each, (members, latents), or (latents,) for all members; in the model's latent
                variable, as ``encode`` gives it.
            values: what the latent takes, (values,).
            latents: which latents to move; all when None.

        Returns:
            (members, latents, values, features).

        Raises:
            ValueError: if ``z`` has another shape, ``values`` is no list of numbers, or a latent is out of range.
        """
        values = torch.as_tensor(values, dtype=self.dtype, device=self.device)
        size = self.prior.size
        moved = list(range(size)) if latents is None else list(latents)
        if z.shape not in ((size,), (self.members, size)):
            raise ValueError(f"z has shape {tuple(z.shape)}; expected ({size},) or ({self.members}, {size})")
        if values.dim() != 1 or not len(values):
            raise ValueError(f"values has shape {tuple(values.shape)}; expected a list of numbers, (values,)")
        if not moved or not all(0 <= j < size for j in moved):
            raise ValueError(f"latents is {moved}; expected indices from 0 to {size - 1}")
        start = z.to(values).expand(self.members, size)[:, None, None]
        codes = start.repeat(1, len(moved), len(values), 1)
        for row, j in enumerate(moved):
            codes[:, row, :, j] = values
        return self.likelihood.mean(self.decode(codes))

    @classmethod
    def mlp(
        cls,
        data_size: int,
        latent_size: int,
        *,
        hidden: Sequence[int] = (64, 64),
        activation: Activation = "silu",
        decoder_hidden: Sequence[int] | None = None,
        decoder_activation: Activation | None = None,
        likelihood: nn.Module | None = None,
        prior: nn.Module | None = None,
        separate: bool = True,
        data: Tensor | None = None,
        whiten: str | None = "standardise",
        initial_log_variance: float | Tensor | None = None,
        generator: Generator,
    ) -> VAE:
        """A VAE of multilayer perceptrons; unless told otherwise, the decoder mirrors the encoder.

        The pair for 64 x 64 images of sprites in R. T. Q. Chen et al., *Isolating Sources of Disentanglement in
        Variational Autoencoders*, NeurIPS 2018, and later in the work on independent subspaces, is::

            VAE.mlp(
                4096, 10, hidden=(1200, 1200), activation="relu", separate=False,
                decoder_hidden=(1200, 1200, 1200), decoder_activation="tanh",
                likelihood=BernoulliLikelihood(), generator=generator,
            )

        Args:
            data_size: number of features of x.
            latent_size: number of latents.
            hidden: hidden units from data to latents.
            activation: between the layers; a name in :data:`latentbook.nn.ACTIVATIONS` or a callable.
            decoder_hidden: hidden units of the decoder, from latents to data; None mirrors ``hidden``.
            decoder_activation: between the decoder's layers; None takes ``activation``.
            likelihood: by default Gaussian with gamma^2 = 1.
            prior: by default N(0, I). For one on the unit interval the decoder begins with a sigmoid.
            separate: separate networks for mean and log-variance (one shared network otherwise).
            data: data (n, data_size), or (members, n, data_size) where each member has data of its own, from which
                fixed input and output layers are computed: the encoder sees x whitened, and for a Gaussian likelihood
                the decoder's output is scaled to the data, so that both networks work with numbers of order one.
                gamma^2 keeps its meaning in the units of x.
            whiten: "zca", "standardise" or None (no input layer).
            initial_log_variance: where the posterior's log-variance starts, a number or (members,). None: at
                ``log v - log(1 + gamma^2 c)``, with v the prior's variance and c a guess of the squared column norms of
                the decoder's Jacobian, per prior standard deviation (no second term where the likelihood is not
                Gaussian). It is close to where training ends, and a start far from it costs most of a short run.
            generator: source of the initial weights, one seed a member. The model is made on its device.

        Raises:
            ValueError, TypeError: for sizes, data, a prior or a likelihood that do not fit together.
        """
        check_sizes(data_size=data_size, latent_size=latent_size, hidden=hidden)
        if decoder_hidden is not None:
            check_sizes(latent_size=latent_size, decoder_hidden=decoder_hidden)
        sizes = (data_size, *hidden, latent_size)
        outward = (latent_size, *(reversed(hidden) if decoder_hidden is None else decoder_hidden), data_size)
        parts = Parts(data_size, latent_size, likelihood, prior, data, generator)

        def net(*sizes: int, activation: Activation = activation) -> MLP:
            return MLP(sizes, activation=activation, generator=generator)

        input_layer = None if parts.data is None or whiten is None else Affine.whiten(parts.data, method=whiten)
        if separate:
            encoder = GaussianEncoder(net(*sizes), net(*sizes), whiten=input_layer)
        else:
            encoder = GaussianEncoder(net(*sizes[:-1], 2 * latent_size), whiten=input_layer)
        decoder = net(*outward, activation=activation if decoder_activation is None else decoder_activation)
        return parts.assemble(cls, encoder, decoder, initial_log_variance)

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

        The defaults on 64 x 64 images are the pair that most studies of disentanglement use, after C. P. Burgess et
        al., *Understanding disentangling in beta-VAE*, arXiv:1804.03599, 2018: four convolutions of 32 channels, which
        take the image to 4 x 4, and two layers of 256 units::

            VAE.conv((1, 64, 64), 10, likelihood=BernoulliLikelihood(), generator=generator)

        Args:
            image_shape: (channels, height, width), the sides divisible by two to the number of layers.
            latent_size: number of latents.
            channels: channels of the encoder's convolutions, each of which halves the image.
            hidden: hidden units from the last convolution to the latents.
            activation: between the layers; a name in :data:`latentbook.nn.ACTIVATIONS` or a callable.
            likelihood: by default Gaussian with gamma^2 = 1.
            prior: by default N(0, I). For one on the unit interval the decoder begins with a sigmoid.
            data: images (n, pixels), or (members, n, pixels); for a Gaussian likelihood the decoder's output is scaled
                to them.
            generator: source of the initial weights, one seed a member. The model is made on its device.

        Raises:
            ValueError, TypeError: for sizes, data, a prior or a likelihood that do not fit together.
        """
        check_sizes(latent_size=latent_size, image_shape=image_shape, channels=channels, hidden=hidden)
        parts = Parts(math.prod(image_shape), latent_size, likelihood, prior, data, generator)
        options = {"activation": activation, "generator": generator}
        network = ConvEncoder(image_shape, 2 * latent_size, channels=channels, hidden=hidden, **options)
        mirrored = {"channels": tuple(reversed(channels)), "hidden": tuple(reversed(hidden))}
        decoder = ConvDecoder(latent_size, image_shape, **mirrored, **options)
        return parts.assemble(cls, GaussianEncoder(network), decoder)


__all__ = ["VAE", "FreePosterior", "GaussianEncoder"]
