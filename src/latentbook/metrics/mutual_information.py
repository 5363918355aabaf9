r"""Mutual information of latents with factors by a histogram, and the gap that follows from it.

Each latent is cut into bins of equal width between its smallest and largest value, and

.. math:: \hat I(z_j; v_k) = \sum_{ab} \frac{n_{ab}}{n} \log \frac{n\, n_{ab}}{n_a n_b}

is the mutual information of the two-way table of bins and levels. It is an estimate of another quantity than
:func:`latentbook.metrics.mig` is: of the binned code, usually the posterior *mean*, not of a sample. A mean that moves
by a millionth fills twenty bins as well as any other.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from latentbook.metrics._codes import as_codes, as_result
from latentbook.metrics._factors import entropies, equal_width, factor_levels, gap


class HistogramMIG(NamedTuple):
    """A mutual information gap by histograms; leading axes are batch axes, such as the members of a stack.

    Attributes:
        score: the mean gap over factors, (...), a float where there are no batch axes.
        per_factor: the gap of each factor, (..., factors), float64.
        mutual_information: of every latent with every factor in nats, (..., latents, factors), float64.
    """

    score: float | Tensor
    per_factor: Tensor
    mutual_information: Tensor


def histogram_mig(codes: Tensor, factors: Tensor, *, bins: int = 20) -> HistogramMIG:
    """The mutual information gap of codes cut into bins, in the way of disentanglement_lib.

    F. Locatello et al., *Challenging Common Assumptions in the Unsupervised Learning of Disentangled Representations*,
    ICML 2019, in whose library the codes are posterior means at 10,000 points, in 20 bins, and every factor counts,
    shape included. The numbers are not those of Chen et al.: see :func:`latentbook.metrics.mig`.

    Args:
        codes: means or samples, (..., n, latents), with more points than latents.
        factors: integer levels, (n, factors). Every column is scored.
        bins: of equal width for every latent.

    Returns:
        Score, gaps and mutual information, on the CPU; NaN for a batch entry that is not finite.

    Raises:
        ValueError: for shapes that do not fit, factors that are not integers or have one level only, or fewer than two
            bins.
    """
    information = mutual_information_matrix(codes, factors, bins=bins)
    entropy = entropies(factor_levels(factors, torch.as_tensor(factors).shape[0]))
    per_factor = gap(information, entropy)
    return HistogramMIG(as_result(per_factor.mean(-1)), per_factor, information)


def mutual_information_matrix(codes: Tensor, factors: Tensor, *, bins: int = 20, correction: str = "none") -> Tensor:
    r"""Plug-in mutual information of every latent, cut into bins, with every factor, in nats.

    It is biased upwards: empty cells look like structure. For a latent that has nothing to do with the factor the bias
    is about :math:`(B - 1)(L - 1) / 2n` with ``B`` bins, ``L`` levels and ``n`` points, so long as the cells hold
    several points each.

    Args:
        codes: (..., n, latents), with more points than latents.
        factors: integer levels, (n, factors).
        bins: of equal width for every latent, at least 2.
        correction: "none", or "miller-madow", which takes off :math:`(K_{jk} - K_j - K_k + 1) / 2n` with the numbers K
            of cells, bins and levels that are not empty; the result may be below zero.

    Returns:
        (..., latents, factors), float64, on the CPU; NaN for a batch entry that is not finite.

    Raises:
        ValueError: as :func:`histogram_mig`, or for an unknown ``correction``.

    Example:
        >>> grid = torch.cartesian_prod(torch.arange(4), torch.arange(4))
        >>> code = torch.stack([grid[:, 0], grid.sum(1)], 1).double()
        >>> mutual_information_matrix(code, grid).round(decimals=3).tolist()
        [[1.386, 0.0], [0.454, 0.454]]
    """
    if correction not in ("none", "miller-madow"):
        raise ValueError(f"correction is {correction!r}; expected 'none' or 'miller-madow'")
    if isinstance(bins, bool) or not isinstance(bins, int) or bins < 2:
        raise ValueError(f"bins is {bins!r}; expected an integer of at least 2")
    codes, finite = as_codes("codes", codes)
    n, latents = codes.shape[-2:]
    levels = factor_levels(factors, n)
    result = torch.empty(*codes.shape[:-2], latents, levels.shape[1], dtype=torch.float64)
    labels = equal_width(codes, bins).reshape(-1, n, latents)
    for row, entry in zip(labels, result.view(-1, latents, levels.shape[1]), strict=True):
        for k, level in enumerate(levels.T):
            count = int(level.max()) + 1
            for j, cell in enumerate(row.T * count + level):
                table = cell.bincount(minlength=bins * count).view(bins, count).double() / n
                entry[j, k] = _information(table, n if correction == "miller-madow" else 0)
    return result.where(finite[..., None, None], math.nan)


def _information(table: Tensor, n: int) -> Tensor:
    """Mutual information of a table of frequencies, less the Miller-Madow bias where n is not zero."""
    rows, columns = table.sum(1), table.sum(0)
    entropy_rows, entropy_columns, joint = (torch.special.entr(value).sum() for value in (rows, columns, table))
    information = (entropy_rows + entropy_columns - joint).clamp(min=0)
    if not n:
        return information
    cells, used, met = ((value > 0).sum() for value in (table, rows, columns))
    return information - (cells - used - met + 1) / (2 * n)
