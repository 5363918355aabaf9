r"""Separated attribute predictability (SAP): how much better does the best latent predict a factor than the next best?

.. math:: \mathrm{SAP} = \frac1K \sum_k \left(S_{(1)k} - S_{(2)k}\right)

with a score ``S_jk`` of the prediction of factor ``k`` from latent ``j`` *alone*, in descending order for each factor.
A. Kumar, P. Sattigeri and A. Balakrishnan, *Variational Inference of Disentangled Latent Concepts from Unlabeled
Observations*, ICLR 2018, section 3.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from sklearn.metrics import balanced_accuracy_score
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier
from torch import Tensor

from latentbook.metrics._codes import as_codes, as_result
from latentbook.metrics._factors import factor_levels, gap, seed_of, split
from latentbook.random import Generator

_KINDS = ("r2", "threshold", "svm")


class SAP(NamedTuple):
    """Separated attribute predictability; leading axes are batch axes, such as the members of a stack.

    Attributes:
        score: the mean gap over factors, (...), a float where there are no batch axes.
        per_factor: the gap of each factor, (..., factors), float64.
        predictability: of every factor from every single latent, (..., latents, factors), float64.
    """

    score: float | Tensor
    per_factor: Tensor
    predictability: Tensor


def sap(
    codes: Tensor,
    factors: Tensor,
    *,
    kind: str = "r2",
    dead: float = 0.0,
    held_out: float = 1 / 3,
    generator: Generator | None = None,
) -> SAP:
    """Separated attribute predictability of codes.

    Args:
        codes: usually posterior means, (..., n, latents), with more points than latents.
        factors: integer levels, (n, factors).
        kind: how a factor is predicted from one latent.

            "r2", for ordered factors: the coefficient of determination of a straight line through the levels, the
            squared correlation. Nothing is held out.

            "threshold", for classes: thresholds on the latent, found by a decision tree with as many leaves as there
            are levels and equal weight for each level; balanced accuracy on points held out.

            "svm", for classes, as in disentanglement_lib: ``LinearSVC(C=0.01, class_weight="balanced")`` and plain
            accuracy on points held out. One linear function a class cannot single out a class in the middle of a line,
            so even a perfect code of a factor with many levels scores low.
        dead: latents with a variance up to this, and constants, score zero.
        held_out: fraction of the points to score on.
        generator: of the split, with one stream; by default that of seed 0.

    Returns:
        Score, gaps and predictabilities, on the CPU; NaN for a batch entry that is not finite.

    Raises:
        TypeError: if ``generator`` is no Generator.
        ValueError: for shapes that do not fit, factors that are not integers or have one level only (also among the
            points to learn from), an unknown ``kind``, a negative ``dead``, or a fraction that leaves no points.

    Example:
        >>> grid = torch.cartesian_prod(torch.arange(8), torch.arange(8))
        >>> round(sap(grid.double(), grid).score, 6)
        1.0
    """
    if kind not in _KINDS:
        raise ValueError(f"kind is {kind!r}; expected one of {_KINDS}")
    if not dead >= 0:
        raise ValueError(f"dead is {dead}; expected a variance that is not negative")
    codes, finite = as_codes("codes", codes)
    n, latents = codes.shape[-2:]
    levels = factor_levels(factors, n)
    generator = Generator(0, stream="sap") if generator is None else generator
    train, test = split(n, held_out, generator)
    alive = (codes.var(-2, correction=0) > dead) & (codes.amin(-2) < codes.amax(-2))
    if kind == "r2":
        scores = _squared_correlations(codes, levels)
    else:
        factor_levels(levels[train], len(train))  # every factor must vary among the points to learn from
        flat = codes.reshape(-1, n, latents)
        seed = seed_of(generator)
        parts = [_accuracies(entry, levels, train, test, kind, seed) for entry in flat]
        scores = torch.stack(parts).view(*codes.shape[:-2], latents, levels.shape[1])
    scores = scores.where(alive[..., None], 0).where(finite[..., None, None], math.nan)
    per_factor = gap(scores)
    return SAP(as_result(per_factor.mean(-1)), per_factor, scores)


def _squared_correlations(codes: Tensor, levels: Tensor) -> Tensor:
    """(..., latents, factors); zero for a constant latent."""
    codes, levels = (value.double() - value.double().mean(-2, keepdim=True) for value in (codes, levels))
    lengths = [value.norm(dim=-2, keepdim=True) for value in (codes, levels)]
    codes, levels = (
        value / length.where(length > 0, 1) for value, length in zip((codes, levels), lengths, strict=True)
    )
    return (codes.mT @ levels).square()


def _accuracies(codes: Tensor, levels: Tensor, train: Tensor, test: Tensor, kind: str, seed: int) -> Tensor:
    """Accuracy on the points held out, for every single latent and factor, (latents, factors)."""
    result = torch.zeros(codes.shape[1], levels.shape[1], dtype=torch.float64)
    for j, code in enumerate(codes.T.contiguous()):
        if code.min() == code.max():
            continue
        for k, level in enumerate(levels.T.contiguous()):
            if kind == "svm":
                model = LinearSVC(C=0.01, class_weight="balanced", random_state=seed)
            else:
                leaves = int(level.max()) + 1
                model = DecisionTreeClassifier(max_leaf_nodes=leaves, class_weight="balanced", random_state=seed)
            model.fit(code[train, None].numpy(), level[train].numpy())
            found, truth = model.predict(code[test, None].numpy()), level[test].numpy()
            result[j, k] = (found == truth).mean() if kind == "svm" else balanced_accuracy_score(truth, found)
    return result
