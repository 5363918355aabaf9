"""Small generative processes whose latent factors are known exactly.

Each takes a :class:`~latentbook.random.Generator` and returns fresh samples with its leading ``members`` axis, so that
it serves as a sampler of endless data as well as a data set.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from latentbook.random import Generator


def linear_gaussian(n: int, weights: Tensor, noise_variance: float, generator: Generator) -> tuple[Tensor, Tensor]:
    r"""Draw from a linear Gaussian model, factor analysis with equal noise.

    .. math:: x = W z + \varepsilon, \quad z \sim N(0, I), \quad \varepsilon \sim N(0, \sigma^2 I),
        \qquad \text{hence } x \sim N(0, W W^\top + \sigma^2 I).

    Args:
        n: rows for every member.
        weights: W, floating point (features, latents).
        noise_variance: :math:`\sigma^2`, zero or more.
        generator: one stream per member.

    Returns:
        ``x`` (members, n, features) and ``z`` (members, n, latents), of the type of ``weights``.

    Raises:
        ValueError: if ``n`` is below 1, ``weights`` is not a finite floating-point matrix, or ``noise_variance`` is
            negative or not finite.
    """
    _check_count(n)
    if not isinstance(weights, Tensor) or weights.ndim != 2 or not weights.is_floating_point():
        kind = f"{weights.dtype} {tuple(weights.shape)}" if isinstance(weights, Tensor) else type(weights).__name__
        raise ValueError(f"weights is {kind}; expected a floating-point tensor (features, latents)")
    if not torch.isfinite(weights).all():
        raise ValueError("weights holds NaN or infinity; expected finite numbers only")
    if not 0 <= noise_variance < math.inf:
        raise ValueError(f"noise_variance is {noise_variance}; expected a finite number, zero or more")
    features, latents = weights.shape
    z = generator.normal(n, latents, dtype=weights.dtype)
    noise = generator.normal(n, features, dtype=weights.dtype)
    return z @ weights.T + math.sqrt(noise_variance) * noise, z


def polar(n: int, generator: Generator, *, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    r"""Draw from the book's running example, a polar map of two independent Gaussian sources.

    .. math:: x = r (\cos\varphi, \sin\varphi), \quad r = 3 + 0.4\, s_1, \quad \varphi = 0.5\, s_2,
        \quad s \sim N(0, I).

    The columns of its Jacobian are orthogonal everywhere, and of unequal length: 0.4 and :math:`0.5\, r`.

    Args:
        n: rows for every member.
        generator: one stream per member.
        dtype: floating-point type of the samples.

    Returns:
        ``x`` and ``s``, each (members, n, 2).

    Raises:
        ValueError: if ``n`` is below 1.
    """
    _check_count(n)
    s = generator.normal(n, 2, dtype=dtype)
    radius, angle = 3 + 0.4 * s[..., 0], 0.5 * s[..., 1]
    return torch.stack([radius * angle.cos(), radius * angle.sin()], dim=-1), s


def _check_count(n: int) -> None:
    if n < 1:
        raise ValueError(f"n is {n}; expected at least 1 row")
