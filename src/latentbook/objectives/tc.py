r"""The beta-TCVAE: of the three parts of the KL, only the total correlation is weighed.

On average over the data, the KL of the ELBO is

.. math::

    \mathbb E_x\, \mathrm{KL}(q(z|x)\,\|\,p(z)) = \underbrace{I_q(x; z)}_{\text{index-code information}}
    + \underbrace{\mathrm{KL}\big(q(z)\,\|\,{\textstyle\prod_k} q(z_k)\big)}_{\text{total correlation}}
    + \underbrace{\mathbb E_q\big[\log {\textstyle\prod_k} q(z_k) - \log p(z)\big]}_{\text{dimension-wise KL}}

with the aggregate posterior :math:`q(z) = \frac1N \sum_n q(z|x_n)`. The last part is a sum of divergences
:math:`\mathrm{KL}(q(z_k)\|p(z_k))` where the prior factorises.

Source: R. T. Q. Chen, X. Li, R. Grosse, D. Duvenaud, *Isolating Sources of Disentanglement in Variational
Autoencoders*, NeurIPS 2018 (equation 2). The decomposition is due to M. D. Hoffman, M. J. Johnson, *ELBO Surgery*,
2016.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Normal

from latentbook.knobs import Knob
from latentbook.models.priors import log_prob
from latentbook.models.vae import VAE
from latentbook.objectives.aggregate import aggregate_log_densities, check_estimator, minibatch_total_correlation
from latentbook.objectives.loss import Batch, Loss, observations
from latentbook.objectives.sampling import check_kl, one_sample
from latentbook.random import Generator


class KLParts(NamedTuple):
    """The KL of a batch in three parts, each with the leading axes of the samples, in nats.

    Attributes:
        mutual_information: the index-code information, the mean of log q(z|x) - log q(z).
        total_correlation: the mean of log q(z) - sum_k log q(z_k).
        dimension_wise: the mean of sum_k log q(z_k) - log p(z).
    """

    mutual_information: Tensor
    total_correlation: Tensor
    dimension_wise: Tensor


@torch.no_grad()
def decompose_kl(
    z: Tensor, posterior: Normal, prior: Distribution, *, size: int | None = None, estimator: str = "mws"
) -> KLParts:
    """Index-code information, total correlation and dimension-wise KL, estimated from one batch.

    Whatever the estimator, the three add up to the Monte Carlo KL of the same samples, the mean of
    log q(z|x) - log p(z), up to rounding. What is estimated is how it divides. With "mws" and a ``size`` the first is
    log N higher, the second (latents - 1) log N higher and the third latents log N lower than without.

    Args:
        z: one sample for each data point, (..., batch, latents).
        posterior: its law, of the same shape.
        prior: a factorised law with batch shape (latents,), or (members, 1, latents); or a joint one.
        size: N, the number of data points; only "mws" does without.
        estimator: "mws", "mss" or "even", see :func:`minibatch_weights`.

    Raises:
        ValueError: as :func:`minibatch_total_correlation`.
    """
    joint, marginals = aggregate_log_densities(z, posterior, size=size, estimator=estimator)
    product = marginals.sum(-1)
    inner, outer = log_prob(posterior, z), log_prob(prior, z)
    return KLParts((inner - joint).mean(-1), (joint - product).mean(-1), (product - outer).mean(-1))


class TCVAE(nn.Module):
    r"""The negative ELBO with the total correlation weighed by ``beta``, an objective for ``fit``.

    .. math:: -\mathbb E\log p(x|z) + \mathrm{KL} + (\beta - 1)\, \mathrm{TC}

    Information about x and the fit of each latent to its prior keep the weight 1; a beta-VAE presses on all three. At
    beta 1 it is :class:`ELBO`, number for number, and so a common starting point of both.

    The KL is by default the closed form where there is one, as in :class:`ELBO`: less noise, and the same mean. The
    term "tc" of the history is in nats, without the constant (latents - 1) log N of "mws" that only the value of the
    published loss contains, and no gradient. It is still an estimate from one batch: biased, and
    sometimes negative.

    Args:
        beta: weight of the total correlation; one number, or one per member. A knob: ``schedules={"beta": Ramp(...)}``
            anneals it.
        estimator: "mws" (minibatch-weighted sampling, as in the paper's experiments), "mss" (minibatch-stratified
            sampling) or "even", see :func:`minibatch_weights`.
        size: number of data points; only "mws" does without.
        kl: "auto" uses the closed form where there is one, "monte-carlo" always the sample, so that the loss is the
            weighted sum of :func:`decompose_kl` exactly.

    Raises:
        ValueError: for a negative beta, an unknown estimator or ``kl``, or a missing size.
    """

    def __init__(
        self,
        beta: float | Sequence[float] | Tensor = 1.0,
        *,
        estimator: str = "mws",
        size: int | None = None,
        kl: str = "auto",
    ) -> None:
        super().__init__()
        check_kl(kl)
        check_estimator(estimator, size)
        self.beta = Knob(beta, name="beta")
        self.estimator, self.size, self.kl = estimator, size, kl

    def forward(self, model: VAE, batch: Batch, generator: Generator) -> Loss:
        """The loss ``-(reconstruction - kl) + (beta - 1) tc``, averaged over the batch, of every member.

        Raises:
            ValueError: if beta was given per member, for another number of members; for a batch of one data point, or
                larger than ``size``.
        """
        x, u = observations(batch)
        z, posterior, _, reconstruction, kl = one_sample(model, x, u, generator, self.kl)
        reconstruction, kl = reconstruction.mean(1), kl.mean(1)
        if self.size is not None and self.size < z.shape[1]:
            raise ValueError(f"size is {self.size}; expected at least {z.shape[1]}, the data points in the batch")
        size = None if self.estimator == "mws" else self.size
        tc = minibatch_total_correlation(z, posterior, size=size, estimator=self.estimator)
        value = kl - reconstruction + (self.beta(len(kl)) - 1) * tc
        parts = {"reconstruction": reconstruction, "kl": kl, "tc": tc, "elbo": reconstruction - kl}
        return Loss(value, {name: term.detach() for name, term in parts.items()})
