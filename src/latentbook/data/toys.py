"""Small generative processes whose latent factors are known exactly.

Each process takes a :class:`~latentbook.random.Generator` and a number of rows, and returns a :class:`Sample` of fresh
rows with the generator's leading ``members`` axis. So it serves as a data set, and as endless data for ``fit``, which
wants the observations alone::

    fit(model, ELBO(), lambda generator, n: toys.polar(generator, n).x, config)
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.distributions import Normal

from latentbook.distributions.logit_beta import LogitBeta
from latentbook.mixings import Polar
from latentbook.mixings.sources import Source, source_distribution
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

    The map is :class:`latentbook.mixings.Polar`. The columns of its Jacobian are orthogonal everywhere, and of unequal
    length: 0.4 and :math:`0.5\, r`.

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
    return Sample(Polar()(s), s)


Beta = tuple[str, float, float]


def mixed(
    generator: Generator,
    n: int,
    mixing: Callable[[Tensor], Tensor],
    sources: Source | Beta = "uniform",
    *,
    size: int | None = None,
    dtype: torch.dtype | None = None,
) -> Sample:
    r"""Draw independent sources and mix them without noise, :math:`x = f(s)`.

    Args:
        generator: one stream per member.
        n: rows for every member.
        mixing: f, one of :mod:`latentbook.mixings` or a function, (members, n, size) to (members, n, features).
        sources: the law of each source. "uniform" is U[-1/2, 1/2]; "normal" and "laplace" have zero mean and unit
            variance; ("beta", a, b) is Beta(a, b) less 1/2; or a torch distribution of one number that has ``icdf``.
        size: number of sources; by default ``mixing.size``.
        dtype: floating-point type of the samples; by default torch's default.

    Returns:
        ``x`` (members, n, features) and the sources s (members, n, size).

    Raises:
        TypeError: if ``generator`` is no Generator.
        ValueError: if ``n`` or ``size`` is below 1, ``size`` is not known, or ``sources`` is none of these.
    """
    _check(generator, n)
    size = getattr(mixing, "size", None) if size is None else size
    if size is None or size < 1:
        raise ValueError(f"size is {size}; expected the number of sources, at least 1 (this mixing does not tell it)")
    s = _draw(generator, sources, n, size, dtype=dtype)
    return Sample(mixing(s), s)


def blob(positions: Tensor, *, size: int = 12, width: float = 1.5, travel: float = 5.0) -> Tensor:
    r"""Pictures of a round, soft spot: at the centre c, a pixel at p is :math:`\exp(-\lVert p - c \rVert^2 / 2 w^2)`.

    The spot has no axes of its own. Up to what the frame and the pixels cut off, moving it by a small step changes the
    picture by the same amount in every direction, and orthogonal steps change it orthogonally. So pictures tell nothing
    about which two directions the positions were drawn along; only the law of the positions does.

    Args:
        positions: across and down, floating point (..., 2), in units of ``travel``, 0 in the middle of the frame.
        size: pixels on a side.
        width: w, in pixels.
        travel: pixels that a step of 1 in ``positions`` moves the spot.

    Returns:
        (..., size * size), from 0 to 1, row by row; differentiable in ``positions``.

    Raises:
        ValueError: if ``positions`` has another shape or type, or a number is not positive.

    Example:
        ``mixed(generator, n, blob, "uniform", size=2)`` draws pictures with the positions as sources.
    """
    if not isinstance(positions, Tensor) or not positions.is_floating_point() or positions.shape[-1:] != (2,):
        shape = tuple(positions.shape) if isinstance(positions, Tensor) else type(positions).__name__
        raise ValueError(f"positions is {shape}; expected a floating-point tensor (..., 2)")
    for name, value in (("size", size), ("width", width), ("travel", travel)):
        if not value > 0:
            raise ValueError(f"{name} is {value}; expected a positive number")
    pixel = torch.arange(size, dtype=positions.dtype, device=positions.device) - (size - 1) / 2
    across, down = (((pixel - travel * positions[..., None]) / width).square() / -2).exp().unbind(-2)
    return (down[..., :, None] * across[..., None, :]).flatten(-2)


def _draw(generator: Generator, sources: Source | Beta, *shape: int, dtype: torch.dtype | None) -> Tensor:
    """Independent sources of that law, ``(members, *shape)``."""
    if isinstance(sources, tuple):
        name, *parameters = sources
        if name != "beta" or len(parameters) != 2 or not all(0 < value < math.inf for value in parameters):
            raise ValueError(f"sources is {sources!r}; expected ('beta', a, b) with a and b positive and finite")
        return LogitBeta(*map(float, parameters)).icdf(generator.uniform(*shape, dtype=dtype)).sigmoid() - 0.5
    law = source_distribution(sources)
    if isinstance(law, Normal):
        return generator.normal(*shape, dtype=dtype) * law.scale + law.loc
    return law.icdf(generator.uniform(*shape, dtype=dtype))


def _check(generator: Generator, n: int) -> None:
    check_members(generator)
    if n < 1:
        raise ValueError(f"n is {n}; expected at least 1 row")
