"""Small generative processes whose latent factors are known exactly.

Each takes a :class:`~latentbook.random.Generator` and a number of rows, and returns a :class:`Sample` of fresh rows
with the generator's leading ``members`` axis. So it serves as a data set, and as endless data for ``fit``, which wants
the observations alone::

    fit(model, ELBO(), lambda generator, n: toys.polar(generator, n).x, config)
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from latentbook.random import Generator, check_members


class Sample(NamedTuple):
    """Observations and the sources that made them.

    Attributes:
        x: observations, (members, n, features).
        sources: the true latent factors, (members, n, latents).
    """

    x: Tensor
    sources: Tensor


def linear_gaussian(generator: Generator, n: int, weights: Tensor, noise_variance: float) -> Sample:
    r"""Draw from a linear Gaussian model, factor analysis with equal noise.

    .. math:: x = W z + \varepsilon, \quad z \sim N(0, I), \quad \varepsilon \sim N(0, \sigma^2 I),
        \qquad \text{hence } x \sim N(0, W W^\top + \sigma^2 I).

    Args:
        generator: one stream per member.
        n: rows for every member.
        weights: W, floating point (features, latents).
        noise_variance: :math:`\sigma^2`, zero or more.

    Returns:
        ``x`` (members, n, features) and the sources z (members, n, latents), of the type of ``weights``.

    Raises:
        TypeError: if ``generator`` is no Generator.
        ValueError: if ``n`` is below 1, ``weights`` is not a finite floating-point matrix, or ``noise_variance`` is
            negative or not finite.
    """
    _check(generator, n)
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
    return Sample(z @ weights.T.to(z.device) + math.sqrt(noise_variance) * noise, z)


def polar(generator: Generator, n: int, *, dtype: torch.dtype | None = None) -> Sample:
    r"""Draw from the book's running example, a polar map of two independent Gaussian sources.

    .. math:: x = r (\cos\varphi, \sin\varphi), \quad r = 3 + 0.4\, s_1, \quad \varphi = 0.5\, s_2,
        \quad s \sim N(0, I).

    The columns of its Jacobian are orthogonal everywhere, and of unequal length: 0.4 and :math:`0.5\, r`.

    Args:
        generator: one stream per member.
        n: rows for every member.
        dtype: floating-point type of the samples; by default torch's default.

    Returns:
        ``x`` and the sources s, each (members, n, 2).

    Raises:
        TypeError: if ``generator`` is no Generator.
        ValueError: if ``n`` is below 1.
    """
    _check(generator, n)
    s = generator.normal(n, 2, dtype=dtype)
    radius, angle = 3 + 0.4 * s[..., 0], 0.5 * s[..., 1]
    return Sample(torch.stack([radius * angle.cos(), radius * angle.sin()], dim=-1), s)


def _check(generator: Generator, n: int) -> None:
    check_members(generator)
    if n < 1:
        raise ValueError(f"n is {n}; expected at least 1 row")
