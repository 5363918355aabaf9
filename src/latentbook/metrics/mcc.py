r"""The mean correlation coefficient (MCC): do codes follow the true sources, one by one?

.. math:: \mathrm{MCC} = \max_\pi \frac1d \sum_{j=1}^d |\operatorname{corr}(z_{\pi(j)}, s_j)|

with the maximum over all ways to give each source a latent of its own. Several numbers are called MCC in print: codes
may be posterior means or samples (the caller passes either), and correlations may be Pearson's or Spearman's. Chance is
above zero, and rises as the number of points falls: see :func:`chance_mcc`.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from scipy.stats import rankdata
from torch import Tensor

from latentbook.random import Generator, check_members

_BLOCK = 2**21  # numbers drawn at once for the chance level


class MCC(NamedTuple):
    """Codes against sources; leading axes are batch axes, such as the members of a stack.

    Attributes:
        score: the MCC, 0 to 1; (...), a float where there are no batch axes.
        permutation: the latent matched with each source, int64 (..., sources), so that ``z[:, permutation]`` stands
            beside ``s``; -1 for a source without a latent.
        correlation: of every latent with every source, signed, (..., latents, sources), float64.
    """

    score: float | Tensor
    permutation: Tensor
    correlation: Tensor


def mcc(z: Tensor, s: Tensor, kind: str = "pearson", *, fit: tuple[Tensor, Tensor] | None = None) -> MCC:
    """The mean absolute correlation of sources with the latents matched to them one to one, as well as possible.

    The mean is over the *sources*. Where there are fewer latents than sources, a source that gets none counts as zero;
    where there are more, the latents left over do not count. A constant column, such as the mean of a collapsed latent,
    has the correlation zero with everything.

    Args:
        z: codes, (..., n, latents).
        s: sources, (..., n, sources); batch axes broadcast, so (n, sources) serves all members.
        kind: "pearson" (linear), or "spearman" (monotone: Pearson's of the ranks, ties averaged).
        fit: other codes and sources to find the matching on, which is then *held out*. Matching and scoring on the same
            few points flatters a code without meaning.

    Returns:
        Score, permutation and correlation, computed in float64, on the CPU. Where codes are not finite, as those of a
        member that diverged, correlations and score are NaN and the permutation is -1.

    Raises:
        ValueError: for an unknown ``kind``, shapes that do not fit, fewer than two points, or sources that are not
            finite.

    Example:
        >>> s = Generator(0).normal(1000, 2)[0]
        >>> score, permutation, _ = mcc(-3 * s.flip(-1), s)
        >>> round(score, 6), permutation.tolist()
        (1.0, [1, 0])
    """
    if kind not in ("pearson", "spearman"):
        raise ValueError(f"kind is {kind!r}; expected 'pearson' or 'spearman'")
    correlation = _correlations(z, s, kind)
    found = correlation if fit is None else _correlations(*fit, kind)
    permutation = _match(found, correlation)
    matched = correlation.abs().take_along_dim(permutation.clamp(min=0)[..., None, :], dim=-2).squeeze(-2)
    undefined = (found.sum((-2, -1)) + correlation.sum((-2, -1))).isnan()
    score = matched.where(permutation >= 0, 0).mean(-1).where(~undefined, math.nan)
    return MCC(score if score.dim() else float(score), permutation, correlation)


def chance_mcc(
    n: int, size: int, generator: Generator, *, sources: int | None = None, kind: str = "pearson", draws: int = 1000
) -> float:
    """The MCC to expect of Gaussian codes that have nothing to do with the sources, by Monte Carlo.

    Args:
        n: points that an MCC is computed from.
        size: latents.
        generator: of the draws; the mean is over all its members as well.
        sources: their number, by default ``size``.
        kind: as for :func:`mcc`. For "spearman" the level holds for all continuous distributions.
        draws: repetitions for each member; the standard error is below ``1 / sqrt(n draws)``.

    Raises:
        TypeError: if ``generator`` is no Generator.
        ValueError: if a size is not positive, or n is below 2.

    Example:
        ``chance_mcc(64, 3, Generator(0))`` is 0.15, which is what collapsed models score on batches of 64.
    """
    check_members(generator)
    sources = size if sources is None else sources
    for name, value, least in (("n", n, 2), ("size", size, 1), ("sources", sources, 1), ("draws", draws, 1)):
        if value < least:
            raise ValueError(f"{name} is {value}; expected at least {least}")
    block = max(1, _BLOCK // (n * (size + sources) * generator.members))
    total = 0.0
    for start in range(0, draws, block):
        both = generator.normal(min(block, draws - start), n, size + sources, dtype=torch.float64)
        total += float(mcc(both[..., :size], both[..., size:], kind).score.sum())
    return total / (draws * generator.members)


def _correlations(z: Tensor, s: Tensor, kind: str) -> Tensor:
    """Correlation of every code with every source, (..., latents, sources); 0 where one is constant."""
    z, s = (torch.as_tensor(value).detach().to("cpu", torch.float64) for value in (z, s))
    if z.dim() < 2 or s.dim() < 2 or z.shape[-2] != s.shape[-2] or 0 in (z.shape[-1], s.shape[-1]):
        found = f"z has shape {tuple(z.shape)} and s {tuple(s.shape)}"
        raise ValueError(f"{found}; expected (..., n, latents) and (..., n, sources) with the same n")
    if z.shape[-2] < 2:
        raise ValueError(f"z has {z.shape[-2]} point(s); expected at least 2, for a correlation")
    try:
        torch.broadcast_shapes(z.shape[:-2], s.shape[:-2])
    except RuntimeError:
        found = f"z has the batch axes {tuple(z.shape[:-2])} and s {tuple(s.shape[:-2])}"
        raise ValueError(f"{found}; expected axes that broadcast") from None
    if not bool(s.isfinite().all()):
        raise ValueError("s has values that are NaN or infinite; expected finite sources")
    finite = z.isfinite().all(-1).all(-1)[..., None, None]
    if kind == "spearman":
        z, s = (torch.from_numpy(rankdata(value.numpy(), axis=-2)) for value in (z, s))
    return (_standardise(z).mT @ _standardise(s)).where(finite, math.nan)


def _standardise(x: Tensor) -> Tensor:
    """Columns of zero mean and unit length; of zeros where they are constant, exactly."""
    x = x - x[..., :1, :]  # a constant column is zero from here on, without rounding
    scale = x.abs().amax(-2, keepdim=True)
    x = x / scale.where(scale > 0, 1)
    x = x - x.mean(-2, keepdim=True)
    length = x.norm(dim=-2, keepdim=True)
    return x / length.where(length > 0, 1)


def _match(found: Tensor, scored: Tensor) -> Tensor:
    """The best latent for each source by the correlations ``found``; -1 for none, and where nothing can be matched."""
    if found.shape[-2:] != scored.shape[-2:]:
        sizes = tuple(found.shape[-2:])
        raise ValueError(f"fit has {sizes} latents and sources; expected {tuple(scored.shape[-2:])}, as z and s have")
    batch = torch.broadcast_shapes(found.shape[:-2], scored.shape[:-2])
    weights = found.abs().expand(*batch, *found.shape[-2:]).reshape(-1, *found.shape[-2:]).numpy()
    permutation = np.full((len(weights), found.shape[-1]), -1)
    for row, matrix in zip(permutation, weights, strict=True):
        if np.isfinite(matrix).all():
            latents, sources = linear_sum_assignment(matrix, maximize=True)
            row[sources] = latents
    return torch.from_numpy(permutation).view(*batch, -1)
