r"""FactorVAE: the total correlation of the codes, measured by a discriminator that learns on the way.

Let D tell samples of the aggregate posterior :math:`q(z)` from samples of the product :math:`\prod_k q(z_k)`, which are
the same codes with each latent permuted over the batch by itself. The best D has the logit

.. math:: \log\frac{D(z)}{1 - D(z)} = \log\frac{q(z)}{\prod_k q(z_k)},

whose mean over :math:`q(z)` is the total correlation.

Source: H. Kim, A. Mnih, *Disentangling by Factorising*, ICML 2018.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from latentbook.knobs import Knob
from latentbook.models.vae import VAE
from latentbook.nn import MLP, Activation
from latentbook.objectives.loss import Batch, Loss, observations
from latentbook.objectives.sampling import check_kl, draw, one_sample
from latentbook.random import Generator, check_members


def permute_dims(z: Tensor, generator: Generator) -> Tensor:
    """Codes with each latent permuted over the batch by itself: samples of the product of the marginals.

    Args:
        z: codes (members, batch, latents).
        generator: one seed per member.

    Raises:
        ValueError: if z has another number of axes, or the generator another number of seeds.
    """
    if z.dim() != 3:
        raise ValueError(f"z has shape {tuple(z.shape)}; expected (members, batch, latents)")
    check_members(generator, len(z))
    order = generator.to(z.device).uniform(z.shape[2], z.shape[1], dtype=torch.float64).argsort(dim=2)
    return z.gather(1, order.mT)


class FactorVAE(nn.Module):
    r"""The negative ELBO plus the weighed total correlation of the codes, an objective for ``fit``.

    .. math:: -\mathrm{ELBO} + \gamma\, \mathbb E_{q(z)}\Big[\log\frac{D(z)}{1 - D(z)}\Big]

    Beside it the discriminator D, one for each member, learns to tell codes from permuted codes. ``fit`` saves it and
    takes its steps at the same time as those of the model. The batch is split: on the first half the loss is computed,
    codes of the second half are permuted. So ``batch_size`` is twice what it is for the other objectives.

    The discriminator wants Adam with less memory than the model, and often another learning rate; the paper has the
    decay rates (0.5, 0.9)::

        objective = FactorVAE(10, gamma=6.4, generator=Generator(seeds))
        config = TrainConfig(
            seeds=seeds,
            batch_size=128,
            learning_rate=1e-4,
            groups=(ParameterGroup("objective", betas=(0.5, 0.9), rate=1.0),),
        )

    The logit is one output of the network; two outputs, of which only the difference matters, are the same family.

    Args:
        latent_size: number of latents.
        gamma: weight of the total correlation; one number, or one per member. A knob, annealed by
            ``schedules={"gamma": Ramp(...)}``. It has nothing to do with the decoder's precision gamma^2.
        hidden: hidden units of the discriminator; the paper's five layers of 1000 have 4 million weights a member.
        activation: between its layers; the paper's has the slope 0.2 below zero.
        kl: "auto" uses the closed form where there is one, "monte-carlo" always the sample.
        generator: source of the discriminator's initial weights, one seed a member. It is made on its device.

    Raises:
        ValueError: for a negative gamma, a size below 1, or an unknown activation or ``kl``.
        TypeError: if ``generator`` is not a :class:`~latentbook.random.Generator`.
    """

    def __init__(
        self,
        latent_size: int,
        gamma: float | Sequence[float] | Tensor = 1.0,
        *,
        hidden: Sequence[int] = (1000,) * 5,
        activation: Activation = "leaky_relu",
        kl: str = "auto",
        generator: Generator,
    ) -> None:
        super().__init__()
        check_kl(kl)
        check_members(generator)
        if latent_size < 1:
            raise ValueError(f"latent_size is {latent_size}; expected at least 1")
        self.gamma, self.kl, self.latent_size = Knob(gamma, name="gamma"), kl, latent_size
        self.discriminator = MLP((latent_size, *hidden, 1), activation=activation, generator=generator)

    def density_ratio(self, z: Tensor) -> Tensor:
        """The learned log q(z) / prod_k q(z_k) of codes (members, ..., latents), in nats: (members, ...)."""
        return self.discriminator(z)[..., 0]

    def forward(self, model: VAE, batch: Batch, generator: Generator) -> Loss:
        """The losses of the model and of the discriminator, averaged over half the batch, of every member.

        Neither loss has a gradient with respect to what the other one trains.

        Raises:
            ValueError: for an odd batch, or one below 4; for a model with another number of members or latents.
        """
        (x, permuted_x), (u, permuted_u) = self._halves(batch)
        z, _, _, reconstruction, kl = one_sample(model, x, u, generator, self.kl)
        self._check(z)
        reconstruction, kl = reconstruction.mean(1), kl.mean(1)
        with torch.no_grad():
            permuted = draw(model.encode(permuted_x, permuted_u), generator, 1)[:, 0]
            permuted = permute_dims(permuted, generator)
        frozen = {name: parameter.detach() for name, parameter in self.discriminator.named_parameters()}
        tc = functional_call(self.discriminator, frozen, (z,)).mean((1, 2))
        value = kl - reconstruction + self.gamma(len(kl)) * tc
        true, false = self.density_ratio(torch.cat([z.detach(), permuted], dim=1)).chunk(2, dim=1)
        own = (functional.softplus(-true).mean(1) + functional.softplus(false).mean(1)) / 2
        right = ((true > 0).sum(1) + (false < 0).sum(1)) / (2 * true.shape[1])
        parts = {"reconstruction": reconstruction, "kl": kl, "tc": tc, "elbo": reconstruction - kl}
        parts |= {"discriminator": own, "accuracy": right.to(own.dtype)}
        return Loss(value, {name: term.detach() for name, term in parts.items()}, own)

    @staticmethod
    def _halves(batch: Batch) -> tuple[tuple[Tensor, Tensor], tuple[Tensor | None, Tensor | None]]:
        """The two halves of x, and those of u where there is one."""
        x, u = observations(batch)
        axis = x.dim() - 2
        if x.shape[axis] % 2 or x.shape[axis] < 4:
            found = x.shape[axis]
            raise ValueError(f"the batch has {found} data points; expected an even number of at least 4, to be halved")
        return x.chunk(2, dim=axis), (None, None) if u is None else u.chunk(2, dim=axis)

    def _check(self, z: Tensor) -> None:
        members = len(self.discriminator.last.weight)
        if (len(z), z.shape[2]) != (members, self.latent_size):
            found, wanted = f"{len(z)} members and {z.shape[2]} latents", f"{members} and {self.latent_size}"
            raise ValueError(f"model has {found}; expected {wanted}, as the discriminator")


__all__ = ["FactorVAE", "permute_dims"]
