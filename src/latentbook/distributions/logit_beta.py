r"""The logit of a Beta variable: a law on [0, 1], carried to the whole line."""

from __future__ import annotations

import numpy as np
import torch
from scipy.special import betaincinv
from torch import Tensor
from torch.distributions import Distribution, constraints
from torch.distributions.utils import broadcast_all
from torch.nn.functional import logsigmoid


class LogitBeta(Distribution):
    r"""The law of :math:`v = \log\frac{z}{1-z}` for :math:`z \sim \mathrm{Beta}(\alpha, \beta)`.

    .. math:: p(v) = \frac{\sigma(v)^\alpha\, \sigma(-v)^\beta}{B(\alpha, \beta)}, \qquad
        -(\log p)''(v) = (\alpha + \beta)\, \sigma(v)\, \sigma(-v) \ge 0.

    With ``alpha = beta = 1``, z is uniform and v logistic. The density is computed from logarithms alone, so that it is
    exact far out in the tails in float32, too. It is log-concave for all parameters.

    Args:
        alpha: positive, any shape.
        beta: positive, broadcasts against ``alpha``.

    Raises:
        ValueError: if ``alpha`` or ``beta`` is not positive (unless ``validate_args`` is False).

    Source: the change of variables :math:`dz = \sigma(v) \sigma(-v)\, dv`; moments in N. L. Johnson, S. Kotz,
    N. Balakrishnan, *Continuous Univariate Distributions*, volume 2, chapter 23 (type IV logistic).
    """

    arg_constraints = {"alpha": constraints.positive, "beta": constraints.positive}  # noqa: RUF012 torch's own form
    support = constraints.real

    def __init__(self, alpha: float | Tensor, beta: float | Tensor, validate_args: bool | None = None) -> None:
        self.alpha, self.beta = broadcast_all(alpha, beta)
        super().__init__(self.alpha.shape, validate_args=validate_args)

    def expand(self, batch_shape: tuple[int, ...], _instance: Distribution | None = None) -> LogitBeta:
        """The same law with its parameters expanded to ``batch_shape``."""
        alpha, beta = self.alpha.expand(batch_shape), self.beta.expand(batch_shape)
        return LogitBeta(alpha, beta, validate_args=self._validate_args)

    def _log_normaliser(self) -> Tensor:
        return self.alpha.lgamma() + self.beta.lgamma() - (self.alpha + self.beta).lgamma()

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-density at v, in nats."""
        if self._validate_args:
            self._validate_sample(value)
        return self.alpha * logsigmoid(value) + self.beta * logsigmoid(-value) - self._log_normaliser()

    @property
    def mean(self) -> Tensor:
        """E[v], the digamma function of alpha less that of beta."""
        return self.alpha.digamma() - self.beta.digamma()

    @property
    def variance(self) -> Tensor:
        """Var[v], the sum of the trigamma functions."""
        return self.alpha.polygamma(1) + self.beta.polygamma(1)

    def entropy(self) -> Tensor:
        """Differential entropy of v, in nats."""
        total = self.alpha + self.beta
        mean_log = [part * (part.digamma() - total.digamma()) for part in (self.alpha, self.beta)]
        return self._log_normaliser() - mean_log[0] - mean_log[1]

    @torch.no_grad()
    def icdf(self, value: Tensor) -> Tensor:
        """The quantile at ``value`` in (0, 1), without gradients; each half from its own tail, so that none is lost."""
        alpha, beta, u = (part.detach().cpu().double().numpy() for part in (self.alpha, self.beta, value))
        smallest = np.finfo(np.float64).tiny
        z = np.maximum(betaincinv(alpha, beta, u), smallest)
        rest = np.maximum(betaincinv(beta, alpha, 1 - u), smallest)  # 1 - z, exact where z is close to 1
        return torch.as_tensor(np.log(z) - np.log(rest)).to(value)


__all__ = ["LogitBeta"]
