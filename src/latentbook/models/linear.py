r"""Factor analysis: the linear VAE, in which likelihood, posterior, free energy and gap all have closed forms.

.. math:: z \sim N(0, I), \qquad x \mid z \sim N(W z, \Psi), \qquad \Psi \text{ diagonal: the noise variances}.

The free energy with KL weight :math:`\beta`, at the best diagonal Gaussian :math:`q` for every data point, is the ELBO
at :math:`\beta = 1`. All values are in nats per data point. Every argument may carry leading batch axes (angles of a
slider, seeds, values of :math:`\beta`), which broadcast; Python numbers count as float64, tensors keep their type.

Source: J. Stühmer, R. E. Turner, S. Nowozin, *Independent Subspace Analysis for Unsupervised Learning of Disentangled
Representations*, arXiv:1909.05063, appendix B. As printed there, the reconstruction term is that of
:math:`F_\beta / \beta`, its first trace lacks a :math:`W`, and the posterior mean has the precision in the place of the
covariance; the forms below were checked against sampling.
"""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.distributions import MultivariateNormal, Normal

from latentbook.random import Generator


def floating(**arguments: object) -> list[Tensor]:
    """The arguments as finite floating-point tensors of one type and device, those of the tensors with axes among them.

    Where there is none, the type is that of the scalar tensors, and float64 where all are Python numbers or lists.

    Raises:
        ValueError: if one is not numeric, or holds NaN or infinity; its name is in the message.
    """
    tensors, typed = {}, [name for name, value in arguments.items() if hasattr(value, "dtype")]
    for name, value in arguments.items():
        try:
            tensor = torch.as_tensor(value) if name in typed else torch.as_tensor(value, dtype=torch.float64)
        except (TypeError, ValueError, RuntimeError) as error:
            raise ValueError(f"{name} is {value!r}; expected a number or a floating-point tensor") from error
        if not tensor.is_floating_point():
            if tensor.dim():
                raise ValueError(f"{name} is of type {tensor.dtype}; expected a number or a floating-point tensor")
            tensor = tensor.double()
        if not bool(torch.isfinite(tensor).all()):
            shown = f"is {value}" if tensor.dim() == 0 else "holds NaN or infinity"
            raise ValueError(f"{name} {shown}; expected finite numbers only")
        tensors[name] = tensor
    lead = [tensors[name] for name in typed if tensors[name].dim()] or [tensors[name] for name in typed]
    dtype = functools.reduce(torch.promote_types, [tensor.dtype for tensor in lead]) if lead else torch.float64
    device = lead[0].device if lead else None
    return [tensor.to(device=device, dtype=dtype) for tensor in tensors.values()]


def positive(name: str, value: Tensor) -> Tensor:
    """``value`` itself, when all of it is above zero; a ValueError that names it otherwise."""
    if not bool((value > 0).all()):
        verb = "is" if value.numel() == 1 else "holds"
        raise ValueError(f"{name} {verb} {float(value.min()):g}; expected positive, finite numbers")
    return value


def as_noise(noise_variance: Tensor, features: int) -> Tensor:
    """Noise variances as (..., features), from one number or one per feature.

    Raises:
        ValueError: if they are not positive or their number is not ``features``.
    """
    positive("noise_variance", noise_variance)
    if noise_variance.dim() and noise_variance.shape[-1] not in (1, features):
        shape = tuple(noise_variance.shape)
        raise ValueError(f"noise_variance has shape {shape}; expected a number or (..., {features}), as weights has")
    return noise_variance.expand(*noise_variance.shape[:-1], features)


def _as_beta(beta: float | Tensor, like: Tensor) -> Tensor:
    return positive("beta", floating(beta=beta)[0].to(like))


def as_second_moment(value: object, features: int | None = None) -> Tensor:
    """A second moment (..., features, features), checked.

    Raises:
        ValueError: if it is not square, not of the expected size, not symmetric or not positive semi-definite.
    """
    (moment,) = floating(second_moment=value)
    size = "(..., features, features)" if features is None else f"(..., {features}, {features})"
    if moment.dim() < 2 or moment.shape[-1] != moment.shape[-2] or features not in (None, moment.shape[-1]):
        raise ValueError(f"second_moment has shape {tuple(moment.shape)}; expected {size}")
    fixed = moment.detach()
    tolerance = math.sqrt(torch.finfo(moment.dtype).eps) * float(fixed.abs().max())
    asymmetry = float((fixed - fixed.mT).abs().max())
    if asymmetry > tolerance:
        raise ValueError(f"second_moment differs from its transpose by {asymmetry:.3g}; expected a symmetric matrix")
    smallest = float(torch.linalg.eigvalsh(fixed).min())
    if smallest < -tolerance:
        raise ValueError(f"second_moment has the eigenvalue {smallest:.3g}; expected it positive semi-definite")
    return moment


def _half_trace_and_log_det(covariance: Tensor, moment: Tensor) -> Tensor:
    """-1/2 tr(C^-1 S) and -1/2 log det C of a stack of covariances, added."""
    factor = torch.linalg.cholesky(covariance)
    shape = torch.broadcast_shapes(factor.shape, moment.shape)
    solved = torch.cholesky_solve(moment.expand(shape), factor.expand(shape))
    log_det = 2 * factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    return -0.5 * (solved.diagonal(dim1=-2, dim2=-1).sum(-1) + log_det)


class FreeEnergyTerms(NamedTuple):
    """The two terms of the free energy, in nats per data point: F = reconstruction - beta * kl."""

    reconstruction: Tensor
    kl: Tensor


class FactorAnalysis:
    """Factor analysis, the VAE with a linear decoder, with everything about it exact.

    Args:
        weights: W, (..., features, latents).
        noise_variance: the diagonal of Psi, one number or (..., features). With equal noise it is ``1 / gamma^2``.

    Attributes:
        weights: as given, (..., features, latents).
        noise_variance: (..., features), of the type of the weights.

    Raises:
        ValueError: if ``weights`` is not a matrix or a stack of them, if noise variances are not positive, if the two
            differ in their numbers of features, or if a number is not finite.

    Example:
        >>> model = FactorAnalysis([[2.0, 1.0], [0.0, 1.0]], 0.5)
        >>> gap = model.log_likelihood(model.covariance) - model.free_energy(model.covariance)
        >>> bool(torch.isclose(gap, model.gap()))
        True
    """

    def __init__(self, weights: Tensor, noise_variance: float | Tensor) -> None:
        weights, noise = floating(weights=weights, noise_variance=noise_variance)
        if weights.dim() < 2 or 0 in weights.shape:
            raise ValueError(f"weights has shape {tuple(weights.shape)}; expected (..., features, latents), not empty")
        self.weights, self.noise_variance = weights, as_noise(noise, weights.shape[-2])
        try:
            self.batch_shape = torch.broadcast_shapes(weights.shape[:-2], self.noise_variance.shape[:-1])
        except RuntimeError as error:
            batch = tuple(weights.shape[:-2])
            raise ValueError(
                f"noise_variance has shape {tuple(noise.shape)}; expected leading axes that go with those of "
                f"weights, {batch}"
            ) from error

    def __repr__(self) -> str:
        features, latents = self.weights.shape[-2:]
        return f"FactorAnalysis(features={features}, latents={latents}, batch_shape={tuple(self.batch_shape)})"

    @property
    def covariance(self) -> Tensor:
        """Covariance of x under the model, W W^T + Psi, (..., features, features)."""
        return self.weights @ self.weights.mT + torch.diag_embed(self.noise_variance)

    @property
    def precision(self) -> Tensor:
        r"""Precision of the exact posterior, :math:`\Lambda = I + W^\top \Psi^{-1} W`, (..., latents, latents)."""
        return self.tempered_precision(1.0)

    def tempered_precision(self, beta: float | Tensor) -> Tensor:
        r"""Precision of the best Gaussian with a full covariance at KL weight beta, (..., latents, latents).

        .. math:: \Lambda_\beta = I + W^\top \Psi^{-1} W / \beta,

        the exact posterior's where the likelihood is raised to the power 1 / beta.
        """
        beta = _as_beta(beta, self.weights)[..., None, None]
        explained = (self.weights / self.noise_variance[..., None]).mT @ self.weights
        return torch.eye(explained.shape[-1]).to(explained) + explained / beta

    def _recognition(self, beta: float | Tensor) -> tuple[Tensor, Tensor]:
        """Recognition weights R (..., latents, features), the same for either posterior, and the precision."""
        precision = self.tempered_precision(beta)
        scaled = (self.weights / self.noise_variance[..., None]).mT
        return torch.linalg.solve(precision, scaled / _as_beta(beta, self.weights)[..., None, None]), precision

    def _mean(self, x: Tensor, recognition: Tensor) -> Tensor:
        (x,) = floating(x=x)
        features = self.weights.shape[-2]
        if x.dim() < 2 or x.shape[-1] != features:
            raise ValueError(f"x has shape {tuple(x.shape)}; expected (..., n, {features})")
        return x.to(recognition) @ recognition.mT

    def posterior(self, x: Tensor, beta: float | Tensor = 1.0) -> MultivariateNormal:
        """The exact posterior p(z | x), event shape (latents,), batch shape (..., n), for x (..., n, features).

        With another ``beta`` it is the best Gaussian with a full covariance for the free energy with that weight.
        """
        recognition, precision = self._recognition(beta)
        mean = self._mean(x, recognition)
        factor = torch.linalg.cholesky(torch.linalg.inv(precision))
        return MultivariateNormal(mean, scale_tril=factor[..., None, :, :].expand(*mean.shape, -1))

    def mean_field(self, x: Tensor, beta: float | Tensor = 1.0) -> Normal:
        """The best diagonal Gaussian q(z | x), batch shape (..., n, latents), for x (..., n, features).

        It has the mean of the exact one, and its precisions are the diagonal of the exact precision.
        """
        recognition, precision = self._recognition(beta)
        scale = precision.diagonal(dim1=-2, dim2=-1).rsqrt()[..., None, :]
        return Normal(*torch.broadcast_tensors(self._mean(x, recognition), scale))

    def log_likelihood(self, second_moment: Tensor) -> Tensor:
        r"""Mean log-likelihood of the data, (...), nats per data point.

        .. math:: -\tfrac12 \log\det(2\pi C) - \tfrac12 \operatorname{tr}(C^{-1} S), \qquad C = W W^\top + \Psi.

        Args:
            second_moment: S, the mean of x x^T without subtraction of the mean, (..., features, features).
        """
        features = self.weights.shape[-2]
        moment = as_second_moment(second_moment, features).to(self.weights)
        return _half_trace_and_log_det(self.covariance, moment) - 0.5 * features * math.log(2 * math.pi)

    def free_energy(self, second_moment: Tensor, beta: float | Tensor = 1.0) -> Tensor:
        r"""The beta-weighted free energy at the best diagonal Gaussians, (...), nats per data point.

        .. math::
            F_\beta &= \mathbb E_q \log p(x|z) - \beta\,\mathrm{KL}(q\,\|\,p(z)) \\
            &= -\tfrac12 \log\det(2\pi \Psi) - \tfrac12 \operatorname{tr}\big[(\Psi + W W^\top/\beta)^{-1} S\big]
            - \tfrac\beta2 \sum_k \log (\Lambda_\beta)_{kk}.

        Args:
            second_moment: S, the mean of x x^T without subtraction of the mean, (..., features, features).
            beta: weight of the KL, a number or (...).
        """
        features = self.weights.shape[-2]
        moment = as_second_moment(second_moment, features).to(self.weights)
        beta = _as_beta(beta, self.weights)
        covariance = torch.diag_embed(self.noise_variance) + self.weights @ self.weights.mT / beta[..., None, None]
        log_det = torch.linalg.cholesky(covariance).diagonal(dim1=-2, dim2=-1).log().sum(-1)
        trace = _half_trace_and_log_det(covariance, moment) + log_det
        noise = -0.5 * (features * math.log(2 * math.pi) + self.noise_variance.log().sum(-1))
        diagonal = self.tempered_precision(beta).diagonal(dim1=-2, dim2=-1)
        return noise + trace - 0.5 * beta * diagonal.log().sum(-1)

    def free_energy_terms(self, second_moment: Tensor, beta: float | Tensor = 1.0) -> FreeEnergyTerms:
        r"""The two terms of the free energy at the best diagonal Gaussians, each (...), nats per data point.

        .. math::
            \mathbb E_q \log p(x|z) &= -\tfrac12 \log\det(2\pi \Psi)
            - \tfrac12 \operatorname{tr}(W^\top \Psi^{-1} W \Sigma_q) \\
            &\quad - \tfrac12 \operatorname{tr}\big[(I - W R)^\top \Psi^{-1} (I - W R) S\big], \\
            \mathrm{KL} &= \tfrac12 \big[\operatorname{tr} \Sigma_q - d - \log\det \Sigma_q
            + \operatorname{tr}(R^\top R S)\big],

        with :math:`R = \Lambda_\beta^{-1} W^\top \Psi^{-1} / \beta` and
        :math:`\Sigma_q^{-1} = \operatorname{diag} \Lambda_\beta`.
        """
        features, latents = self.weights.shape[-2:]
        moment = as_second_moment(second_moment, features).to(self.weights)
        recognition, precision = self._recognition(beta)
        variance = precision.diagonal(dim1=-2, dim2=-1).reciprocal()
        noise = self.noise_variance
        residual = torch.eye(features).to(moment) - self.weights @ recognition
        squared = ((residual @ moment) * residual).sum(-1)
        explained = (self.weights.square() / noise[..., None]).sum(-2)
        reconstruction = -0.5 * ((2 * math.pi * noise).log() + squared / noise).sum(-1)
        reconstruction = reconstruction - 0.5 * (explained * variance).sum(-1)
        means = ((recognition @ moment) * recognition).sum((-2, -1))
        kl = 0.5 * ((variance - variance.log()).sum(-1) - latents + means)
        return FreeEnergyTerms(reconstruction, kl)

    def gap(self, beta: float | Tensor = 1.0) -> Tensor:
        r"""What the diagonal posterior costs, (...), nats per data point, the same for any data.

        .. math:: \tfrac\beta2 \Big[\sum_k \log (\Lambda_\beta)_{kk} - \log\det \Lambda_\beta\Big] \ge 0,

        by Hadamard's inequality; zero exactly when :math:`W^\top \Psi^{-1} W` is diagonal. At beta = 1 it is
        log-likelihood less free energy; otherwise it is the loss of free energy against the best Gaussian with a full
        covariance.
        """
        precision = self.tempered_precision(beta)
        log_det = 2 * torch.linalg.cholesky(precision).diagonal(dim1=-2, dim2=-1).log().sum(-1)
        beta = _as_beta(beta, self.weights)
        return 0.5 * beta * (precision.diagonal(dim1=-2, dim2=-1).log().sum(-1) - log_det)

    def sample(self, n: int, generator: Generator) -> tuple[Tensor, Tensor]:
        """Draw ``x`` (members, n, features) and the latents ``z`` (members, n, latents) that made it.

        Raises:
            ValueError: if ``n`` is below 1, or the model has batch axes other than one per member.
        """
        if n < 1:
            raise ValueError(f"n is {n}; expected at least 1 row")
        if self.batch_shape not in ((), (1,), (generator.members,)):
            raise ValueError(f"weights has the leading axes {tuple(self.batch_shape)}; expected ({generator.members},)")
        features, latents = self.weights.shape[-2:]
        z = generator.normal(n, latents, dtype=self.weights.dtype)
        noise = generator.normal(n, features, dtype=self.weights.dtype)
        return z @ self.weights.mT + noise * self.noise_variance.sqrt()[..., None, :], z
