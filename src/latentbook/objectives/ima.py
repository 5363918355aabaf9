r"""Maximum likelihood with a preference for orthogonal columns: the IMA objective.

.. math:: \mathbb E\big[\log p(x)\big] - \lambda\, \mathbb E\big[c_{\mathrm{IMA}}(f, f^{-1}(x))\big]

With :math:`\lambda = 0` this is maximum likelihood. With :math:`\lambda = 1` it is what the ELBO of a VAE tends to when
its decoder's precision grows: there the preference comes for free, here it is added.

Source: L. Gresele, J. von Kügelgen, V. Stimper, B. Schölkopf, M. Besserve, *Independent mechanism analysis, a new
concept?*, NeurIPS 2021.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor, nn

from latentbook.knobs import Knob
from latentbook.metrics.ima import ima_contrast
from latentbook.objectives.loss import Batch, Loss, observations
from latentbook.random import Generator


class InvertibleModel(Protocol):
    """What the objective asks of a model: an invertible map f with its Jacobian, and the density of x = f(z)."""

    def inverse(self, x: Tensor) -> Tensor:
        """The latents z of every x, (members, n, latents)."""

    def jacobian(self, z: Tensor) -> Tensor:
        """The Jacobian of f at every z, (members, n, features, latents)."""

    def log_prob(self, x: Tensor) -> Tensor:
        """The log-density of every x, (members, n), in nats."""


class IMALikelihood(nn.Module):
    """The negative likelihood plus the weighted IMA contrast, an objective for ``fit``.

    Args:
        weight: lambda, how much a nat of contrast counts beside a nat of likelihood; one number, or one per member. A
            knob: ``schedules={"weight": Ramp(...)}`` warms it up.

    Raises:
        ValueError: if a weight is negative or not finite.
    """

    def __init__(self, weight: float | Sequence[float] | Tensor = 1.0) -> None:
        super().__init__()
        self.weight = Knob(weight, name="weight")

    def forward(self, model: InvertibleModel, batch: Batch, generator: Generator | None = None) -> Loss:
        """The loss ``-(log_likelihood - weight * contrast)``, averaged over the batch, of every member.

        Nothing is random here, so ``generator`` is not used.

        Raises:
            ValueError: if the weight was given per member, for another number of members.
        """
        x, _ = observations(batch)
        log_likelihood = model.log_prob(x).mean(-1)
        contrast = ima_contrast(model.jacobian(model.inverse(x))).mean(-1)
        weight = self.weight(len(log_likelihood))
        terms = {"log_likelihood": log_likelihood.detach(), "contrast": contrast.detach()}
        return Loss(weight * contrast - log_likelihood, terms)
