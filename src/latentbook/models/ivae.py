r"""The identifiable VAE: an auxiliary variable u in the prior, and in the encoder.

.. math:: p(x, z | u) = p(x | z)\, p(z | u), \qquad
    \mathrm{ELBO}(x, u) = \mathbb E_{q(z|x, u)}[\log p(x | z)] - \mathrm{KL}(q(z | x, u) \,\|\, p(z | u)).

It is the VAE of this book with a :class:`ConditionalNormalPrior` (or another) and a :class:`ConditionalEncoder`; its
batches are pairs (x, u). With a constant u it is the plain VAE.

Source: I. Khemakhem, D. P. Kingma, R. P. Monti, A. Hyvärinen, *Variational Autoencoders and Nonlinear ICA: A Unifying
Framework*, AISTATS 2020.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.distributions import Normal

from latentbook.models.assembly import Parts, check_sizes
from latentbook.models.auxiliary import Auxiliary
from latentbook.models.conditional_priors import ConditionalNormalPrior
from latentbook.models.encoders import GaussianEncoder
from latentbook.models.vae import VAE
from latentbook.nn import MLP, Activation, Affine
from latentbook.random import Generator


class ConditionalEncoder(GaussianEncoder):
    """x and u -> the diagonal Gaussian posterior q(z|x, u); the networks see u beside x, labels as one-hot rows.

    Args:
        network: as for :class:`GaussianEncoder`, of inputs (features + ``auxiliary.width``).
        log_variance: as for :class:`GaussianEncoder`.
        whiten: a fixed map applied to x first.
        auxiliary: what u is.
    """

    def __init__(
        self,
        network: nn.Module,
        log_variance: nn.Module | None = None,
        *,
        whiten: nn.Module | None = None,
        auxiliary: Auxiliary,
    ) -> None:
        super().__init__(network, log_variance, whiten=whiten)
        self.auxiliary = auxiliary

    def forward(self, x: Tensor, shift: Tensor | float = 0.0, u: Tensor | None = None) -> Normal:
        """The posterior of x (batch, features) or (members, batch, features) with u, which has as many rows.

        Raises:
            TypeError, ValueError: if u is missing, is not what the encoder was made for, or has other rows than x.
        """
        x = x if self.whiten is None else self.whiten(x)
        members = next(self.network.parameters()).shape[0]
        vector = self.auxiliary(u, members, x.dtype)
        if vector.shape[-2] != x.shape[-2]:
            raise ValueError(f"u has {vector.shape[-2]} rows; expected {x.shape[-2]}, as x has")
        rows = torch.broadcast_shapes(x.shape[:-1], vector.shape[:-1])
        both = torch.cat([x.expand(*rows, x.shape[-1]), vector.expand(*rows, vector.shape[-1])], dim=-1)
        if self.log_variance is None:
            mean, log_variance = self.network(both).chunk(2, dim=-1)
        else:
            mean, log_variance = self.network(both), self.log_variance(both)
        return Normal(mean, ((log_variance + shift) / 2).exp(), validate_args=False)


def ivae_mlp(
    data_size: int,
    latent_size: int,
    *,
    classes: int | None = None,
    u_size: int | None = None,
    modulates: str = "both",
    encoder_sees_u: bool = True,
    hidden: Sequence[int] = (64, 64),
    activation: Activation = "silu",
    likelihood: nn.Module | None = None,
    prior: nn.Module | None = None,
    separate: bool = True,
    data: Tensor | None = None,
    whiten: str | None = "zca",
    initial_log_variance: float | Tensor | None = None,
    generator: Generator,
) -> VAE:
    """An identifiable VAE of multilayer perceptrons, or one of its two controls; the decoder never sees u.

    The controls say which of the two places of u does the work: with ``prior=NormalPrior(latent_size)`` only the
    encoder sees u, and with ``encoder_sees_u=False`` only the prior does. Without either it is :meth:`VAE.mlp`.

    Args:
        data_size: number of features of x.
        latent_size: number of latents.
        classes: number of classes that u labels; None where u is a real vector.
        u_size: number of entries of u where it is a real vector.
        modulates: what of the prior depends on u, "location", "scale" or "both"; where ``prior`` is None.
        encoder_sees_u: whether the posterior is q(z|x, u) or q(z|x).
        hidden: hidden units from data to latents.
        activation: between the layers; a name in :data:`latentbook.nn.ACTIVATIONS` or a callable.
        likelihood: by default Gaussian with gamma^2 = 1.
        prior: by default a :class:`ConditionalNormalPrior` of the given u.
        separate: separate networks for mean and log-variance (one shared network otherwise).
        data: as for :meth:`VAE.mlp`: data for the fixed layers. They give the networks numbers of order one, and leave
            the noise of the likelihood round in the units of x; data that one has whitened oneself are another model.
        whiten: of the encoder's input, "zca", "standardise" or None.
        initial_log_variance: as for :meth:`VAE.mlp`.
        generator: source of the initial weights, one seed a member. The model is made on its device.

    Raises:
        ValueError, TypeError: for sizes, data, a prior or a likelihood that do not fit together, and unless one of
            ``classes`` and ``u_size`` is given.

    Example:
        >>> model = ivae_mlp(3, 2, classes=4, generator=Generator(0))
        >>> model.encode(torch.zeros(5, 3), torch.tensor([0, 1, 2, 3, 3])).mean.shape
        torch.Size([1, 5, 2])
    """
    check_sizes(data_size=data_size, latent_size=latent_size, hidden=hidden)
    auxiliary = Auxiliary(generator, classes=classes, u_size=u_size)
    if prior is None:
        of = {"classes": classes, "u_size": u_size, "modulates": modulates}
        prior = ConditionalNormalPrior(latent_size, **of, activation=activation, generator=generator.child("prior"))
    parts = Parts(data_size, latent_size, likelihood, prior, data, generator)

    def net(*sizes: int) -> MLP:
        return MLP(sizes, activation=activation, generator=generator)

    inputs = data_size + (auxiliary.width if encoder_sees_u else 0)
    outputs = latent_size if separate else 2 * latent_size
    networks = [net(inputs, *hidden, outputs) for _ in range(2 if separate else 1)]
    input_layer = None if parts.data is None or whiten is None else Affine.whiten(parts.data, method=whiten)
    if encoder_sees_u:
        encoder = ConditionalEncoder(*networks, whiten=input_layer, auxiliary=auxiliary)
    else:
        encoder = GaussianEncoder(*networks, whiten=input_layer)
    return parts.assemble(VAE, encoder, net(latent_size, *reversed(hidden), data_size), initial_log_variance)


__all__ = ["ConditionalEncoder", "ivae_mlp"]
