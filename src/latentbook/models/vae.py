"""The variational autoencoder: a stack of K of them, to be exact."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.distributions import Normal

from latentbook.models.likelihoods import GaussianLikelihood
from latentbook.models.priors import NormalPrior
from latentbook.nn import MLP, Activation, Affine, Linear, per_member
from latentbook.random import Generator


class GaussianEncoder(nn.Module):
    """x -> the diagonal Gaussian posterior q(z|x) = N(mean, diag exp(log variance)).

    Args:
        network: gives means and log-variances side by side, (members, batch, 2 latents), when ``log_variance`` is
            None; else the means alone.
        log_variance: a network of its own for the log-variances (separate nets fit better, a shared one is cheaper).
        whiten: a fixed map applied to x first.
    """

    def __init__(
        self, network: nn.Module, log_variance: nn.Module | None = None, *, whiten: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.network, self.log_variance, self.whiten = network, log_variance, whiten

    def forward(self, x: Tensor, shift: Tensor | float = 0.0) -> Normal:
        """The posterior of x (batch, features) or (members, batch, features); ``shift`` is added to log-variances."""
        x = x if self.whiten is None else self.whiten(x)
        if self.log_variance is None:
            mean, log_variance = self.network(x).chunk(2, dim=-1)
        else:
            mean, log_variance = self.network(x), self.log_variance(x)
        return Normal(mean, ((log_variance + shift) / 2).exp(), validate_args=False)

    @torch.no_grad()
    def start_log_variance(self, value: Tensor | float) -> None:
        """Set the output bias of the log-variance to ``value``, a number or (members,)."""
        last: Linear = (self.network if self.log_variance is None else self.log_variance).last
        bias = last.bias[..., last.bias.shape[-1] // 2 :] if self.log_variance is None else last.bias
        bias.copy_(per_member(torch.as_tensor(value, dtype=bias.dtype), 3).expand_as(bias))


class FreePosterior(nn.Module):
    """A posterior of its own for every data point, in the place of an encoder: no amortisation.

    Trained with the decoder held fixed, it gives the best diagonal Gaussian for each data point, and so separates the
    approximation gap from the amortisation gap (C. Cremer, X. Li, D. Duvenaud, *Inference Suboptimality in Variational
    Autoencoders*, ICML 2018).

    Args:
        start: posteriors to start from, batch shape (members, n, latents), such as ``model.encode(x)``.
    """

    def __init__(self, start: Normal) -> None:
        super().__init__()
        self.mean = nn.Parameter(start.mean.detach().clone())
        self.log_variance = nn.Parameter(2 * start.stddev.detach().log())

    def forward(self, x: Tensor, shift: Tensor | float = 0.0) -> Normal:
        """The posteriors; ``x`` must be all the data points, in their order."""
        if x.shape[-2] != self.mean.shape[1]:
            raise ValueError(f"x has {x.shape[-2]} data points; expected all {self.mean.shape[1]} at once, in order")
        return Normal(self.mean, ((self.log_variance + shift) / 2).exp(), validate_args=False)


def _check_members(likelihood: nn.Module, members: int) -> None:
    if likelihood.members not in (None, members):
        raise ValueError(f"likelihood is made for {likelihood.members} members; expected {members}, as in the networks")


class VAE(nn.Module):
    """K variational autoencoders with a common architecture.

    Args:
        encoder: x -> posterior distribution, such as :class:`GaussianEncoder`.
        decoder: z (members, ..., latents) -> the likelihood's parameters (members, ..., features).
        prior: module whose ``forward(u=None)`` returns a distribution.
        likelihood: :class:`GaussianLikelihood` or :class:`BernoulliLikelihood`.
        column_norm2: expected squared norm of a column of the decoder's Jacobian, where known. When gamma^2 is
            annealed the posterior variances then follow at once, as ``1 / (1 + gamma^2 column_norm2)``, instead of
            being relearned.

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
        _check_members(likelihood, self.members)

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

    def _annealing_shift(self) -> Tensor | float:
        gamma2 = getattr(self.likelihood, "gamma2", None)
        if gamma2 is None or not gamma2.scheduled or self.column_norm2 is None:
            return 0.0
        full, now = 1 + self.column_norm2 * gamma2.base(), 1 + self.column_norm2 * gamma2()
        return per_member((full / now).log(), 3)

    def encode(self, x: Tensor) -> Normal:
        """The posterior q(z|x): batch shape (members, batch, latents)."""
        shift = self._annealing_shift()
        return self.encoder(x) if isinstance(shift, float) else self.encoder(x, shift)

    def decode(self, z: Tensor) -> Tensor:
        """The likelihood's parameters at z: (members, ..., latents) -> (members, ..., features)."""
        return self.decoder(z)

    @torch.no_grad()
    def reconstruct(self, x: Tensor) -> Tensor:
        """E[x | z = posterior mean], (members, batch, features)."""
        return self.likelihood.mean(self.decode(self.encode(x).mean))

    @torch.no_grad()
    def sample(self, n: int, generator: Generator, *, noise: bool = False) -> Tensor:
        """Data points from the model, (members, n, features): E[x | z] at prior draws of z; with ``noise``, x."""
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
            initial_log_variance: where the posterior's log-variance starts. None: at ``-log(1 + gamma^2 c)``, with
                c a guess of the squared column norms of the decoder's Jacobian. It is close to where training ends,
                and a start far from it costs most of a short run.
            generator: source of the initial weights, one seed a member.
        """
        likelihood = GaussianLikelihood() if likelihood is None else likelihood
        _check_members(likelihood, generator.members)
        gaussian = isinstance(likelihood, GaussianLikelihood)
        sizes = (data_size, *hidden, latent_size)

        def net(*sizes: int) -> MLP:
            return MLP(sizes, activation=activation, generator=generator)

        input_layer = None
        if data is not None:
            if data.dim() != 2 or data.shape[1] != data_size:
                raise ValueError(f"data has shape {tuple(data.shape)}; expected (n, {data_size})")
            input_layer = None if whiten is None else Affine.whiten(data, method=whiten)
        if separate:
            encoder = GaussianEncoder(net(*sizes), net(*sizes), whiten=input_layer)
        else:
            encoder = GaussianEncoder(net(*sizes[:-1], 2 * latent_size), whiten=input_layer)
        decoder: nn.Module = net(*reversed(sizes))
        column_norm2 = None
        if gaussian:
            column_norm2 = 1.0
            if data is not None:
                decoder = nn.Sequential(decoder, Affine.rescale(data))
                column_norm2 = float(data.var(0, correction=0).sum()) / latent_size
            if initial_log_variance is None:
                initial_log_variance = -(1 + column_norm2 * likelihood.gamma2().detach()).log()
        encoder.start_log_variance(0.0 if initial_log_variance is None else initial_log_variance)
        prior = NormalPrior(latent_size) if prior is None else prior
        return cls(encoder, decoder, prior, likelihood, column_norm2=column_norm2)
