r"""Are there enough segments? How much the law of the sources changes with an auxiliary variable.

If the law of every source given u is of one exponential family,

.. math:: \log p(s | u) = \sum_i \Big( \log Q_i(s_i) - \log Z_i(u) + \sum_j T_{ij}(s_i)\, \lambda_{ij}(u) \Big),

then the sources are identified, up to a linear map of the statistics T, where the differences of the natural parameters
:math:`\lambda(u_l) - \lambda(u_0)` span all directions.

Source: I. Khemakhem, D. P. Kingma, R. P. Monti, A. Hyvärinen, *Variational Autoencoders and Nonlinear ICA: A Unifying
Framework*, AISTATS 2020, theorem 1, assumption (iv).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class SegmentConditioning(NamedTuple):
    """How well segments tell sources apart; leading axes are batch axes.

    Attributes:
        differences: natural parameters less those of the first segment, (..., segments - 1, parameters).
        singular_values: of the parameters, centred over the segments and each brought to unit length, largest first,
            (..., min(segments, parameters)), float64.
        rank: number of singular values that are not zero up to the tolerance, int64 (...); the theorem asks for as many
            as there are parameters.
        condition: largest by smallest, (...); infinite where the rank is too low.
    """

    differences: Tensor
    singular_values: Tensor
    rank: Tensor
    condition: Tensor

    @property
    def sufficient(self) -> Tensor:
        """Whether the theorem's assumption holds, bool (...)."""
        return self.rank == self.differences.shape[-1]


def segment_conditioning(parameters: Tensor, *, tolerance: float = 1e-6) -> SegmentConditioning:
    """Whether segments vary the natural parameters in all directions, and how evenly.

    The differences have full rank exactly if the centred parameters have, so the choice of the first segment does not
    matter. Nor does, for Gaussians, the unit of a source, which multiplies its parameters by constants.

    Args:
        parameters: natural parameters of every segment, (..., segments, parameters), such as those that
            :func:`gaussian_parameters` gives. The number of parameters is that of sources times that of statistics.
        tolerance: singular values below this share of the largest count as zero.

    Returns:
        Differences, singular values, rank and condition number. With fewer segments than parameters + 1 the rank is
        always too low.

    Raises:
        ValueError: if the shape is another, there are fewer than two segments, or a number is not finite.

    Example:
        >>> one, two = torch.tensor([[1.0, 1.0], [2.0, 3.0]]), torch.tensor([[1.0, 1.0], [2.0, 2.0], [3.0, 3.0]])
        >>> [segment_conditioning(p).rank.item() for p in (one, two)]  # both need a rank of 2
        [1, 1]
    """
    parameters = torch.as_tensor(parameters)
    if parameters.dim() < 2 or parameters.shape[-2] < 2 or not parameters.shape[-1]:
        shape = tuple(parameters.shape)
        raise ValueError(f"parameters has shape {shape}; expected (..., segments, parameters) with 2 segments or more")
    if not 0 < tolerance < 1:
        raise ValueError(f"tolerance is {tolerance}; expected a share between 0 and 1")
    parameters = parameters.detach().double()
    if not bool(parameters.isfinite().all()):
        raise ValueError("parameters has values that are NaN or infinite; expected finite numbers")
    differences = parameters[..., 1:, :] - parameters[..., :1, :]
    whole = torch.cat([torch.zeros_like(differences[..., :1, :]), differences], -2)
    centred = whole - whole.mean(-2, keepdim=True)
    size = parameters.abs().amax(-2)
    length = centred.norm(dim=-2)
    varies = length > torch.finfo(torch.float64).eps * 16 * size
    unit = torch.where(varies[..., None, :], centred / length.where(varies, 1)[..., None, :], 0)
    values = torch.linalg.svdvals(unit)
    rank = (values > tolerance * values[..., :1].clamp(min=torch.finfo(torch.float64).tiny)).sum(-1)
    full = rank == parameters.shape[-1]
    condition = torch.where(full, values[..., 0] / values[..., -1].where(full, 1), torch.inf)
    return SegmentConditioning(differences, values, rank, condition)


def gaussian_parameters(mean: Tensor, scale: Tensor, *, statistics: str = "both") -> Tensor:
    r"""Natural parameters of Gaussian sources in every segment, for :math:`T = (s, s^2)`, :math:`s^2` or :math:`s`.

    .. math:: \lambda_{i1} = \mu_i / \sigma_i^2, \qquad \lambda_{i2} = -1 / (2 \sigma_i^2)

    Args:
        mean: :math:`\mu`, (..., segments, sources).
        scale: standard deviations :math:`\sigma`, of a shape that broadcasts with ``mean``.
        statistics: "both", all first and then all second parameters; "scale", the second alone, for means that do not
            change; "location", the first alone, for scales that do not change.

    Returns:
        (..., segments, 2 sources), or (..., segments, sources).

    Raises:
        ValueError: for unknown statistics, scales that are not positive, or shapes that do not fit.
    """
    if statistics not in ("both", "scale", "location"):
        raise ValueError(f"statistics is {statistics!r}; expected 'both', 'scale' or 'location'")
    mean, scale = torch.as_tensor(mean), torch.as_tensor(scale)
    if not bool((scale > 0).all()):
        raise ValueError("scale has values that are not positive; expected standard deviations")
    try:
        mean, scale = torch.broadcast_tensors(mean, scale)
    except RuntimeError:
        shapes = f"mean has shape {tuple(mean.shape)} and scale {tuple(scale.shape)}"
        raise ValueError(f"{shapes}; expected shapes that broadcast to (..., segments, sources)") from None
    precision = scale.square().reciprocal()
    parts = {"location": [mean * precision], "scale": [-0.5 * precision]}
    parts["both"] = parts["location"] + parts["scale"]
    return torch.cat(parts[statistics], -1)


class SegmentMoments(NamedTuple):
    """Means and standard deviations of columns in every segment, each (..., segments, columns), and counts."""

    mean: Tensor
    scale: Tensor
    count: Tensor


def segment_moments(z: Tensor, u: Tensor, segments: int | None = None) -> SegmentMoments:
    """Mean and standard deviation (with n) of every column of ``z`` in every segment: what u changes about them.

    Args:
        z: sources or codes, (..., n, columns).
        u: integer labels of segments, (n,) or with the leading axes of ``z``, (..., n).
        segments: their number; by default one more than the largest label.

    Returns:
        Moments in float64, and the number of points of every segment, int64 (..., segments).

    Raises:
        TypeError: if ``u`` does not hold integers.
        ValueError: if shapes do not fit, a label is out of range, or a segment has fewer than two points.
    """
    z, u = torch.as_tensor(z).detach().double(), torch.as_tensor(u)
    if u.is_floating_point() or u.is_complex() or u.dtype == torch.bool:
        raise TypeError(f"u has dtype {u.dtype}; expected integer labels of segments")
    if z.dim() < 2 or u.shape not in (z.shape[-2:-1], z.shape[:-1]) or not z.shape[-1] or not z.shape[-2]:
        shapes = f"z has shape {tuple(z.shape)} and u {tuple(u.shape)}"
        raise ValueError(f"{shapes}; expected (..., n, columns), and (n,) or (..., n)")
    segments = int(u.max()) + 1 if segments is None else segments
    low, high = int(u.min()), int(u.max())
    if low < 0 or high >= segments:
        raise ValueError(f"u runs from {low} to {high}; expected labels from 0 to {segments - 1}")
    u = u.long().to(z.device).expand(z.shape[:-1])
    count = torch.zeros(*z.shape[:-2], segments, dtype=torch.int64, device=z.device)
    count.scatter_add_(-1, u, torch.ones_like(u))
    if bool((count < 2).any()):
        place = (count < 2).reshape(-1, segments).any(0).nonzero().flatten().tolist()
        raise ValueError(f"u has fewer than two points in segments {place}; expected at least 2 in each")
    index = u[..., None].expand_as(z)
    zeros = z.new_zeros(*z.shape[:-2], segments, z.shape[-1])
    mean = zeros.scatter_add(-2, index, z) / count[..., None]
    deviation = z - mean.take_along_dim(index, dim=-2)
    variance = zeros.scatter_add(-2, index, deviation.square()) / count[..., None]
    return SegmentMoments(mean, variance.sqrt(), count)
