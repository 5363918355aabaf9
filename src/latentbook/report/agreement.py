"""How far several runs agree on their latents: stability, which needs no factors, and proves nothing about them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from latentbook.metrics import mcc


def agreement(codes: Tensor | Sequence[Tensor], kind: str = "pearson") -> Tensor:
    """The MCC of every run's codes with those of every other, on the same rows.

    Latents are matched one to one, in any order and with any sign. Where one run has more latents than the other, the
    mean is over the larger number, so that a latent without a partner counts as zero. The runs may stem from models
    of different kinds.

    If the codes of two runs have Pearson MCCs m and m' with the same true factors, as many as there are latents, their
    agreement is at least ``cos(arccos m + arccos m')``. There is no bound the other way: runs may agree and be wrong.

    Args:
        codes: (members, n, latents), or a list with (n, latents) for each run, such as
            :func:`~latentbook.report.select` returns; tensors or arrays.
        kind: "pearson" or "spearman", as for :func:`~latentbook.metrics.mcc`.

    Returns:
        (members, members), symmetric, float64, with ones on the diagonal; NaN where a run has no latent, or codes that
        are not finite.

    Raises:
        ValueError: if there is no run, or the runs have different numbers of rows, or other shapes.

    Example:
        >>> z = Generator(0).normal(100, 2)[0]
        >>> agreement([z, -z.flip(-1)])[0, 1].round(decimals=6).item()
        1.0
    """
    runs = [torch.as_tensor(run).detach().to("cpu", torch.float64) for run in codes]
    shapes = [tuple(run.shape) for run in runs]
    if not runs or any(len(shape) != 2 for shape in shapes) or len({shape[0] for shape in shapes}) != 1:
        raise ValueError(f"codes has runs of the shapes {shapes}; expected (n, latents) for each, with the same n")
    good = [run.shape[1] > 0 and bool(run.isfinite().all()) for run in runs]
    matrix = torch.full((len(runs), len(runs)), math.nan, dtype=torch.float64)
    for i in range(len(runs)):
        for j in range(i + 1):
            if good[i] and good[j]:
                fewer, more = sorted((runs[i], runs[j]), key=lambda run: run.shape[1])
                matrix[i, j] = matrix[j, i] = 1.0 if i == j else mcc(fewer, more, kind).score
    return matrix


__all__ = ["agreement"]
