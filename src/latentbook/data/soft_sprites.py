r"""Soft sprites: pictures of one soft disc, smooth in all four of its factors.

The factors lie in [0, 1]. With the side of the picture as unit, the disc with centre (x, y) and radius r covers a pixel
at p by

.. math:: m(p) = \sigma\big((r - \lVert p - (x, y) \rVert) / w\big), \qquad w = 0.06,

and the picture is :math:`m(p)` times a colour. The colour runs a part of the wheel
:math:`c_j = (1 + \cos(2\pi (h - j/3)))/2`, a smooth stand-in for the hue of full saturation and value, so that hue is
an interval and no circle. Its length :math:`\sqrt{9/8}` does not depend on h. It follows that the picture, were its
pixels infinitely small, moves in orthogonal directions when one factor moves at a time: position by symmetry, hue since
a colour of constant length turns at right angles to itself. So this is an image-sized world whose mechanisms are
independent; what pixels and the frame do to that is small, a mean contrast below 1e-4 at 16 pixels on a side.

It stands in for the rendered sprites of P. Reizinger, L. Gresele, J. Brady et al., *Embrace the Gap: VAEs Perform
Independent Mechanism Analysis*, NeurIPS 2022, which have the same four factors with Beta laws.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from latentbook.data.toys import Sample
from latentbook.distributions.logit_beta import LogitBeta
from latentbook.random import Generator, check_members

FACTORS = ("x", "y", "scale", "hue")

_CENTRE = (0.3, 0.7)  # from left to right and from top to bottom, in units of the side
_RADIUS = (0.1, 0.25)
_HUE = (0.0, 2 / 3)  # red to blue, by way of green
_SOFTNESS = 0.06


def render(factors: Tensor, size: int = 32) -> Tensor:
    """Pictures of discs on black, differentiable in the factors.

    Args:
        factors: x, y, scale and hue, floating point (..., 4) in [0, 1]. x runs from left to right, y from top to
            bottom; scale is the radius, from a tenth to a quarter of the side; hue runs from red to blue.
        size: pixels on a side, at least 8.

    Returns:
        (..., 3, size, size) in [0, 1], red, green and blue.

    Raises:
        ValueError: if ``factors`` has another shape or type, leaves [0, 1], or ``size`` is below 8.
    """
    if not isinstance(factors, Tensor) or not factors.is_floating_point() or factors.shape[-1:] != (4,):
        kind = f"{factors.dtype} {tuple(factors.shape)}" if isinstance(factors, Tensor) else type(factors).__name__
        raise ValueError(f"factors is {kind}; expected a floating-point tensor (..., 4): {', '.join(FACTORS)}")
    if not bool(((factors >= 0) & (factors <= 1)).all()):
        raise ValueError(f"factors runs from {float(factors.min()):g} to {float(factors.max()):g}; expected 0 to 1")
    if size < 8:
        raise ValueError(f"size is {size}; expected at least 8 pixels on a side")
    like = {"dtype": factors.dtype, "device": factors.device}
    x, y, radius, hue = (
        low + (high - low) * factors[..., k] for k, (low, high) in enumerate((_CENTRE, _CENTRE, _RADIUS, _HUE))
    )
    pixel = (torch.arange(size, **like) + 0.5) / size
    across, down = (pixel - x[..., None]).square(), (pixel - y[..., None]).square()
    distance = (across[..., None, :] + down[..., :, None] + 1e-12).sqrt()
    mask = ((radius[..., None, None] - distance) / _SOFTNESS).sigmoid()
    colour = (1 + (2 * math.pi * (hue[..., None] - torch.arange(3, **like) / 3)).cos()) / 2
    return mask[..., None, :, :] * colour[..., None, None]


def soft_sprites(
    generator: Generator,
    n: int,
    *,
    size: int = 32,
    alpha: float | Sequence[float] = 1.0,
    beta: float | Sequence[float] = 1.0,
) -> Sample:
    """Draw pictures with independent Beta-distributed factors.

    Args:
        generator: one stream per member.
        n: pictures for every member.
        size: pixels on a side.
        alpha: first parameter of the Beta laws, one number or one per factor; 1 and 1 is the uniform law.
        beta: second parameter, the same.

    Returns:
        ``x`` (members, n, 3 size size), pictures (3, size, size) as rows, and ``sources``, the factors (members, n, 4).

    Raises:
        TypeError: if ``generator`` is no Generator.
        ValueError: if ``n`` is below 1, ``size`` below 8, or the parameters are not positive, one or four of each.
    """
    check_members(generator)
    if n < 1:
        raise ValueError(f"n is {n}; expected at least 1 picture")
    parameters = []
    for name, value in (("alpha", alpha), ("beta", beta)):
        value = torch.as_tensor(value, dtype=torch.get_default_dtype(), device=generator.device)
        if value.shape not in ((), (4,)) or not bool(((value > 0) & value.isfinite()).all()):
            raise ValueError(f"{name} is {value.tolist()}; expected one positive number, or one for each of {FACTORS}")
        parameters.append(value)
    factors = LogitBeta(*parameters).icdf(generator.uniform(n, 4)).sigmoid()
    return Sample(render(factors, size).flatten(-3), factors)


__all__ = ["FACTORS", "render", "soft_sprites"]
