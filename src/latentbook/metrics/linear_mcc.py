r"""The MCC up to a linear map: canonical correlations of codes and sources.

.. math:: \frac1d \sum_{j=1}^d \rho_j, \qquad \rho_1 \ge \rho_2 \ge \dots \text{ the canonical correlations of } z, s

It asks whether codes *span* the sources, where :func:`latentbook.metrics.mcc` asks whether they follow them one by one.
Together they tell two failures apart: a model that found the right space and wrong axes scores high here and low there.
In the literature on identifiability the two are also called *weak* and *strong* MCC.

Source: H. Hotelling, *Relations Between Two Sets of Variates*, Biometrika 1936; used as a weak MCC by I. Khemakhem,
R. P. Monti, D. P. Kingma, A. Hyvärinen, *ICE-BeeM*, NeurIPS 2020.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

_TOLERANCE = 1e-10  # singular values below this share of the largest count as zero


class LinearMCC(NamedTuple):
    """Codes against sources, up to a linear map of each; leading axes are batch axes.

    Attributes:
        score: mean over the sources, 0 to 1; (...), a float where there are no batch axes.
        correlations: of the pairs of canonical variates, largest first, (..., pairs), float64.
    """

    score: float | Tensor
    correlations: Tensor


def linear_mcc(z: Tensor, s: Tensor, *, fit: tuple[Tensor, Tensor] | None = None) -> LinearMCC:
    """The mean canonical correlation of codes and sources: 1 exactly if each is an affine function of the other.

    Affine invertible maps of codes or of sources change nothing. With fewer latents than sources, a source without a
    partner counts as zero. Chance is higher than for the MCC: for unrelated codes and n points, the sum of the squared
    correlations has the mean ``latents * sources / (n - 1)``.

    Args:
        z: codes, (..., n, latents).
        s: sources, (..., n, sources); batch axes broadcast, so (n, sources) serves all members.
        fit: other codes and sources to find the linear maps on, which are then *held out*; the correlations are then
            those of the pairs found there, and may be negative.

    Returns:
        Score and correlations, computed in float64, on the CPU. Where codes are not finite, all are NaN.

    Raises:
        ValueError: for shapes that do not fit, sources that are not finite, or no more points than latents and sources
            together: then linear maps that make some correlations perfect always exist.

    Example:
        >>> s = Generator(0).normal(1000, 2)[0]
        >>> mixed = s @ torch.tensor([[1.0, 2.0], [0.5, -1.0]])
        >>> round(linear_mcc(mixed, s).score, 6)
        1.0
    """
    found = _pair(z, s, "z", "s")
    maps = _maps(*(found if fit is None else _pair(*fit, "fit[0]", "fit[1]")))
    if fit is not None and (maps[0].shape[-2], maps[1].shape[-2]) != (found[0].shape[-1], found[1].shape[-1]):
        sizes = found[0].shape[-1], found[1].shape[-1]
        raise ValueError(f"fit has {maps[0].shape[-2]} latents and {maps[1].shape[-2]} sources; expected {sizes}")
    first, second = (value @ matrix for value, matrix in zip(found, maps, strict=True))
    length = first.norm(dim=-2) * second.norm(dim=-2)
    product = (first * second).sum(-2)
    correlations = torch.where(length > 0, product / length.where(length > 0, 1), product * 0)
    correlations = correlations.clamp(-1, 1)
    score = correlations.sum(-1) / found[1].shape[-1]
    return LinearMCC(score if score.dim() else float(score), correlations)


def _pair(z: Tensor, s: Tensor, *names: str) -> tuple[Tensor, Tensor]:
    """Both centred, in float64, after checking them."""
    z, s = (torch.as_tensor(value).detach().to("cpu", torch.float64) for value in (z, s))
    if z.dim() < 2 or s.dim() < 2 or z.shape[-2] != s.shape[-2] or 0 in (z.shape[-1], s.shape[-1]):
        shapes = f"{names[0]} has shape {tuple(z.shape)} and {names[1]} {tuple(s.shape)}"
        raise ValueError(f"{shapes}; expected (..., n, latents) and (..., n, sources) with the same n")
    least = z.shape[-1] + s.shape[-1] + 1
    if z.shape[-2] < least:
        sizes = f"{z.shape[-1]} latents and {s.shape[-1]} sources"
        raise ValueError(f"{names[0]} has {z.shape[-2]} points; expected at least {least} for {sizes}")
    try:
        torch.broadcast_shapes(z.shape[:-2], s.shape[:-2])
    except RuntimeError:
        axes = f"{names[0]} has the batch axes {tuple(z.shape[:-2])} and {names[1]} {tuple(s.shape[:-2])}"
        raise ValueError(f"{axes}; expected axes that broadcast") from None
    if not bool(s.isfinite().all()):
        raise ValueError(f"{names[1]} has values that are NaN or infinite; expected finite sources")
    return _centred(z), _centred(s)


def _centred(value: Tensor) -> Tensor:
    """Columns of zero mean and of one size, so that units do not matter to what counts as zero."""
    value = value - value[..., :1, :]  # a constant column is zero from here on, without rounding
    value = value - value.mean(-2, keepdim=True)
    scale = value.abs().amax(-2, keepdim=True)
    return value / scale.where(scale > 0, 1)


def _maps(z: Tensor, s: Tensor) -> tuple[Tensor, Tensor]:
    """Linear maps of z and of s to canonical variates, (..., latents, pairs) and (..., sources, pairs)."""
    finite = z.isfinite().all(-1).all(-1)[..., None, None]
    whiteners = [_whitener(value.where(value.isfinite(), 0)) for value in (z, s)]
    left, _, right = torch.linalg.svd((z.where(finite, 0) @ whiteners[0]).mT @ (s @ whiteners[1]), full_matrices=False)
    return whiteners[0] @ left.where(finite, math.nan), whiteners[1] @ right.mT


def _whitener(value: Tensor) -> Tensor:
    """The map to columns of unit length and without correlation; zero along directions without variance."""
    _, scale, axes = torch.linalg.svd(value, full_matrices=False)
    kept = scale > _TOLERANCE * scale[..., :1]
    return axes.mT * torch.where(kept, 1 / scale.where(kept, 1), 0)[..., None, :]
