r"""Log-density of a mixture of many axis-aligned normal laws, at points that were sampled from it.

The aggregate of an encoder, ``q(z) = 1/N sum_n q(z | x_n)``, is such a mixture, with a component for every data point.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

_BLOCK = {"cpu": 2**17}  # numbers in a block: small enough for a core's cache
_LARGE_BLOCK = 2**26  # on other devices
_COLUMNS = 2048
_FLOOR = {torch.float32: -120.0, torch.float64: -1000.0}  # smallest power of two: below it, exp2 is slow
_STEEP = 1e4  # distances in units of the narrowest scale from which float32 is not enough
_UNEVEN = 30.0  # spread of log weights from which float32 is not enough
_CELL = (0.05, 0.2)  # width of a cell in log scale, and in mean over scale


class Components(NamedTuple):
    """Components of a mixture in ``dims`` dimensions.

    Attributes:
        means: (n, dims).
        scales: standard deviations, (n, dims).
        counts: weight of each before normalisation, (n,).
    """

    means: Tensor
    scales: Tensor
    counts: Tensor


def log_density(z: Tensor, mixture: Components) -> Tensor:
    r"""``log sum_n w_n prod_d N(z_d; mean_nd, scale_nd)``, float64 (s,), for points that the mixture may have drawn.

    It takes blocks of points by components that fit a core's cache, and keeps nothing of the size of their product. The
    component that drew a point contributes a term that cannot underflow, so no maximum is taken first. A point farther
    than some twelve standard deviations from *all* components, which none of them draws, would get a floor instead.

    Args:
        z: points, (s, dims).
        mixture: its components.
    """
    means, scales, counts = (value.double() for value in mixture)
    centre = means.mean(0)
    means, z = means - centre, z.double() - centre
    log_weights = counts.log() - scales.log().sum(-1)
    peak = log_weights.max()
    steep = bool((z.abs().amax(0) / scales.amin(0)).max() > _STEEP) or bool(peak - log_weights.min() > _UNEVEN)
    dtype = torch.float64 if steep else torch.float32
    slopes = math.sqrt(0.5 / math.log(2)) / scales
    points, means, slopes = (value.T.to(dtype).contiguous() for value in (z, means, slopes))
    total = _sum(points, means, slopes, (log_weights - peak).exp().to(dtype))
    return total.log() + peak - counts.sum().log() - z.shape[1] * 0.5 * math.log(2 * math.pi)


def _sum(points: Tensor, means: Tensor, slopes: Tensor, weights: Tensor) -> Tensor:
    """``sum_n weights_n 2^(-sum_d (slopes_dn (points_ds - means_dn))^2)``, float64 (s,), block by block."""
    (dims, size), n, dtype = points.shape, weights.shape[0], points.dtype
    columns = min(n, _COLUMNS)
    rows = min(size, max(1, _BLOCK.get(points.device.type, _LARGE_BLOCK) // columns))
    total = points.new_zeros(size, dtype=torch.float64)
    zero = points.new_zeros(())
    first, second = points.new_empty(2, rows, columns)
    for top in range(0, size, rows):
        block = points[:, top : top + rows]
        for left in range(0, n, columns):
            part = slice(left, left + columns)
            height, width = block.shape[1], weights[part].shape[0]
            whole = (height, width) == (rows, columns)
            distance = first if whole else points.new_empty(height, width)
            exponent = second if whole else points.new_empty(height, width)
            for d in range(dims):
                torch.sub(block[d, :, None], means[d, part], out=distance).mul_(slopes[d, part])
                torch.addcmul(exponent if d else zero, distance, distance, value=-1, out=exponent)
            density = exponent.clamp_(min=_FLOOR[dtype]).exp2_()
            total[top : top + rows] += density.mv(weights[part])
    return total


def cells(means: Tensor, scales: Tensor) -> Tensor:
    """The cell of each component in a grid of log scale and mean over scale, int64 (n,), numbered from 0.

    Args:
        means: of the components in one dimension, (n,).
        scales: their standard deviations, (n,).
    """
    means, log_scales = means.double() - means.double().mean(), scales.double().log()
    step, width = _CELL
    row = (log_scales / step).floor()
    column = (means / (((row + 0.5) * step).exp() * width)).floor()
    row, column = (row - row.min()).long(), (column - column.min()).long()
    return (row * (column.max() + 1) + column).unique(return_inverse=True)[1]


def merge(means: Tensor, scales: Tensor, cell: Tensor) -> tuple[Components, Tensor]:
    """One component a cell, with the weight, the mean and the variance of those it stands for; and the cells met.

    In one dimension. What is lost is the third and higher moments within a cell.

    Args:
        means: of the components, (n,).
        scales: their standard deviations, (n,).
        cell: the cell of each, (n,).
    """
    found, index, counts = cell.unique(return_inverse=True, return_counts=True)
    centre = means.double().mean()
    means, counts = means.double() - centre, counts.double()
    middle = torch.bincount(index, means) / counts
    spread = torch.bincount(index, (means - middle[index]).square() + scales.double().square()) / counts
    return Components((middle + centre)[:, None], spread.sqrt()[:, None], counts), found
