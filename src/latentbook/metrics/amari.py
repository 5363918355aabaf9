r"""The Amari distance: how far a matrix is from a scaled permutation.

Source: S. Amari, A. Cichocki, H. H. Yang, *A New Learning Algorithm for Blind Signal Separation*, NIPS 1995; with
squares in place of absolute values, as in L. Gresele et al., *Independent mechanism analysis, a new concept?*,
NeurIPS 2021.
"""

from __future__ import annotations

from torch import Tensor

from latentbook.metrics._matrices import matrices


def amari_distance(product: Tensor) -> Tensor:
    r"""The Amari distance of every matrix P, (..., d, d) -> (...).

    .. math:: \frac{1}{2d} \Big[ \sum_i \Big( \frac{\sum_j P_{ij}^2}{\max_j P_{ij}^2} - 1 \Big)
        + \sum_j \Big( \frac{\sum_i P_{ij}^2}{\max_i P_{ij}^2} - 1 \Big) \Big]

    P = W A is the unmixing W times the true mixing A; for nonlinear maps, the product of their Jacobians at one point,
    and the mean over points is taken of the distances. It is 0 if and only if P is a permutation times a diagonal
    matrix, and at most d - 1, where all entries have the same size.

    Args:
        product: P, (..., d, d); the leading axes are batch axes.

    Returns:
        (...); NaN for a matrix with a row or a column of zeros, where the distance is not defined.

    Raises:
        ValueError: if the shape is another.
    """
    product = matrices("product", product)
    if product.shape[-2] != product.shape[-1]:
        raise ValueError(f"product has shape {tuple(product.shape)}; expected square matrices (..., d, d)")
    magnitude = product.abs()
    excess = [(magnitude / magnitude.amax(axis, keepdim=True)).square().sum(axis).sub(1).sum(-1) for axis in (-1, -2)]
    return sum(excess) / (2 * product.shape[-1])
