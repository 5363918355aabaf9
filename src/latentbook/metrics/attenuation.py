r"""How sampling shrinks correlations: means against samples of the same latents, exactly.

A sample :math:`z_i = \mu_i + \sigma_i \varepsilon_i` adds noise that is independent across latents and of everything
else, so that

.. math::

    \operatorname{Cov}(z) = \operatorname{Cov}(\mu) + \operatorname{diag}(\mathbb E \sigma_i^2), \qquad
    \operatorname{corr}(z_i, z_j) = \operatorname{corr}(\mu_i, \mu_j) \sqrt{R_i R_j}, \qquad
    R_i = \frac{\operatorname{Var} \mu_i}{\operatorname{Var} \mu_i + \mathbb E \sigma_i^2} .

R is the *reliability* of a latent: near 1 where the posterior is sharp beside the movements of its mean, near 0 where
the latent is switched off. No correlation of samples exceeds that of means, in absolute value.

Source: C. Spearman, *The proof and measurement of association between two things*, American Journal of Psychology
15, 1904, for measurement errors.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from latentbook.metrics._codes import as_codes, as_covariance, as_numbers, correlation_of


def code_correlation(codes: Tensor) -> Tensor:
    """Correlation of every latent with every other, (..., latents, latents), float64.

    Args:
        codes: means or samples (..., n, latents) with more points than latents, or a covariance
            (..., latents, latents), such as that of :func:`sampled_covariance`.

    Returns:
        Ones on the diagonal; zeros beside it for a constant latent; NaN for a batch entry that is not finite.

    Raises:
        ValueError: if there are no more points than latents, or the shape does not fit.
    """
    covariance, finite = as_covariance("codes", codes)
    return correlation_of(covariance).where(finite[..., None, None], math.nan)


def reliability(means: Tensor, variances: Tensor) -> Tensor:
    """The share of a sampled latent's variance that its mean accounts for, R, (..., latents), float64, 0 to 1.

    Args:
        means: posterior means, (..., n, latents).
        variances: posterior variances, the same shape.

    Raises:
        ValueError: if shapes do not fit, variances are not positive, or there are no more points than latents.
    """
    moved, noise, finite = _moments(means, variances)
    moved = moved.diagonal(dim1=-2, dim2=-1)
    return (moved / (moved + noise)).where(finite[..., None], math.nan)


def sampled_covariance(means: Tensor, variances: Tensor) -> Tensor:
    """The covariance of samples z, without drawing one: Cov(mu) + diag(E sigma^2), (..., latents, latents), float64.

    Args:
        means: posterior means, (..., n, latents).
        variances: posterior variances, the same shape.

    Raises:
        ValueError: as :func:`reliability`.
    """
    moved, noise, finite = _moments(means, variances)
    return (moved + torch.diag_embed(noise)).where(finite[..., None, None], math.nan)


def attenuated(correlation: Tensor, reliabilities: Tensor) -> Tensor:
    """The correlations of samples from those of means: corr sqrt(R_i R_j), ones on the diagonal.

    Args:
        correlation: of means, (..., latents, latents).
        reliabilities: R, (..., latents), 0 to 1.

    Raises:
        ValueError: if shapes do not fit, or a reliability is outside [0, 1].
    """
    correlation, root = as_numbers("correlation", correlation), as_numbers("reliabilities", reliabilities)
    if correlation.dim() < 2 or correlation.shape[-2:] != 2 * root.shape[-1:]:
        shapes = f"correlation has shape {tuple(correlation.shape)} and reliabilities {tuple(root.shape)}"
        raise ValueError(f"{shapes}; expected (..., latents, latents) and (..., latents)")
    if bool(((root < 0) | (root > 1)).any()):
        raise ValueError(f"reliabilities run from {float(root.min()):g} to {float(root.max()):g}; expected 0 to 1")
    root = root.sqrt()
    shrunk = correlation * root[..., :, None] * root[..., None, :]
    return shrunk.masked_fill(torch.eye(root.shape[-1], dtype=torch.bool), 1.0)


def _moments(means: Tensor, variances: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Covariance of the means, mean of the variances, and which batch entries are finite."""
    means, finite = as_codes("means", means)
    variances = as_numbers("variances", variances)
    if variances.shape != means.shape:
        shapes = f"means has shape {tuple(means.shape)} and variances {tuple(variances.shape)}"
        raise ValueError(f"{shapes}; expected the same shape, (..., n, latents)")
    finite = finite & variances.isfinite().all(-1).all(-1)
    variances = variances.where(finite[..., None, None], 1)
    if not bool((variances > 0).all()):
        raise ValueError(f"variances holds {float(variances.min()):g}; expected positive numbers (no logarithms)")
    covariance, _ = as_covariance("means", means)
    return covariance, variances.mean(-2), finite


__all__ = ["attenuated", "code_correlation", "reliability", "sampled_covariance"]
