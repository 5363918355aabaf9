r"""Disentanglement, completeness and informativeness (DCI): how important is each latent in predicting each factor?

A predictor of factor ``k`` from *all* latents gives importances ``R_jk >= 0``. With the shares of a latent's importance
among factors, ``p_j = R_j. / sum_k R_jk``, and of a factor's among latents, ``q_k = R_.k / sum_j R_jk``,

.. math:: D_j = 1 - H_K(p_j), \qquad C_k = 1 - H_L(q_k),

where ``H_K`` is the entropy with logarithms to the base of the number ``K`` of factors, and ``H_L`` to that of the
number ``L`` of latents. C. Eastwood and C. K. I. Williams, *A Framework for the Quantitative Evaluation of Disentangled
Representations*, ICLR 2018.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from sklearn.base import BaseEstimator, clone, is_classifier
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LassoCV
from torch import Tensor

from latentbook.metrics._codes import as_codes, as_result
from latentbook.metrics._factors import factor_levels, seed_of, split
from latentbook.random import Generator

_PREDICTORS = ("forest", "boosted_trees", "lasso")


class DCI(NamedTuple):
    """Disentanglement, completeness and informativeness; leading axes are batch axes, such as the members of a stack.

    Attributes:
        disentanglement: mean over latents, weighted by their share of all importance; (...), a float where there are no
            batch axes.
        completeness: mean over factors, weighted likewise.
        informativeness: mean over factors of the predictor's score on points held out: accuracy of a classifier, R² of
            a regression. Higher is better.
        importance: of every latent for every factor, (..., latents, factors), float64.
    """

    disentanglement: float | Tensor
    completeness: float | Tensor
    informativeness: float | Tensor
    importance: Tensor


def dci(
    codes: Tensor,
    factors: Tensor,
    *,
    predictor: str | BaseEstimator = "forest",
    held_out: float = 1 / 3,
    generator: Generator | None = None,
) -> DCI:
    """Disentanglement, completeness and informativeness of codes.

    The framework leaves the predictor open, and the numbers depend on it: name it beside them. Informativeness here is
    a score; where others print a prediction *error*, lower is better.

    Args:
        codes: usually posterior means, (..., n, latents), with more points than latents; each is standardised.
        factors: integer levels, (n, factors), at least two.
        predictor: "forest" is a random forest of 100 trees, each split of which sees all latents; "boosted_trees" the
            default ``GradientBoostingClassifier``, as in disentanglement_lib, much slower. Both are scikit-learn's,
            take levels as classes, and their importance is the decrease of impurity. "lasso" is a linear regression on
            the standardised levels with an L1 penalty chosen by five-fold cross-validation, and importance is the size
            of a coefficient. Any other estimator of scikit-learn with ``feature_importances_`` or ``coef_`` may be
            given: classifiers get levels, regressions standardised levels.
        held_out: fraction of the points to score on; those that remain are for the fit.
        generator: of the split and the predictor, with one stream; by default that of seed 0.

    Returns:
        The three scores and the importances, on the CPU; NaN for a batch entry that is not finite. Codes that are
        constant throughout have disentanglement and completeness zero.

    Raises:
        TypeError: if ``generator`` is no Generator, or the predictor is neither a name nor an estimator, or gives no
            importance.
        ValueError: for shapes that do not fit, factors that are not integers or have one level only (also among the
            points to learn from), a single factor, an unknown name, or a fraction that leaves no points.
    """
    codes, finite = as_codes("codes", codes)
    n, latents = codes.shape[-2:]
    levels = factor_levels(factors, n)
    if levels.shape[1] < 2:
        raise ValueError("factors has one column; expected at least two, or there is nothing to disentangle")
    generator = Generator(0, stream="dci") if generator is None else generator
    train, test = split(n, held_out, generator)
    factor_levels(levels[train], len(train))  # every factor must vary among the points to learn from
    model = _predictor(predictor, seed_of(generator))
    codes = codes - codes[..., :1, :]  # a constant column is zero from here on, without rounding
    scale = codes.std(-2, correction=0, keepdim=True)
    codes = (codes - codes.mean(-2, keepdim=True)) / scale.where(scale > 0, 1)
    fits = [_fit(model, entry.numpy(), levels.numpy(), train, test) for entry in codes.reshape(-1, n, latents)]
    importance = torch.stack([fit[0] for fit in fits]).view(*codes.shape[:-2], latents, -1)
    importance = importance.where(finite[..., None, None], math.nan)
    score = torch.stack([fit[1] for fit in fits]).view(codes.shape[:-2]).where(finite, math.nan)
    return DCI(*(as_result(value) for value in (*disentanglement_completeness(importance), score)), importance)


def disentanglement_completeness(importance: Tensor) -> tuple[Tensor, Tensor]:
    """Disentanglement and completeness of a matrix of importances, (...) each.

    A latent (or factor) without importance does not count; with none at all, both are zero.

    Args:
        importance: not negative, (..., latents, factors).

    Raises:
        ValueError: for another shape, a single factor, or a negative importance.

    Example:
        >>> disentanglement_completeness(torch.eye(3))
        (tensor(1., dtype=torch.float64), tensor(1., dtype=torch.float64))
    """
    importance = torch.as_tensor(importance).detach().to("cpu", torch.float64)
    if importance.dim() < 2 or importance.shape[-1] < 2:
        raise ValueError(f"importance has shape {tuple(importance.shape)}; expected (..., latents, factors), 2 or more")
    if bool((importance < 0).any()):
        raise ValueError(f"importance goes down to {float(importance.min())}; expected no negative numbers")
    return _focus(importance), _focus(importance.mT)


def _focus(importance: Tensor) -> Tensor:
    """One minus the entropy of each row's shares, averaged over rows by their share of the whole."""
    rows = importance.sum(-1)
    total = rows.sum(-1)
    shares = importance / rows.where(rows > 0, 1)[..., None]
    base = math.log(importance.shape[-1]) if importance.shape[-1] > 1 else 1.0
    focus = 1 - torch.special.entr(shares).sum(-1) / base
    return (focus * rows).sum(-1) / total.where(total > 0, 1).where(~total.isnan(), math.nan)


def _predictor(predictor: str | BaseEstimator, seed: int) -> BaseEstimator:
    """The estimator that is cloned for each factor."""
    named = {
        "forest": RandomForestClassifier(max_features=None, random_state=seed),
        "boosted_trees": GradientBoostingClassifier(random_state=seed),
        "lasso": LassoCV(cv=5, random_state=seed),
    }
    if isinstance(predictor, str):
        if predictor not in named:
            raise ValueError(f"predictor is {predictor!r}; expected one of {_PREDICTORS} or an estimator")
        return named[predictor]
    if not isinstance(predictor, BaseEstimator):
        raise TypeError(f"predictor is a {type(predictor).__name__}; expected a name or an estimator of scikit-learn")
    return predictor


def _fit(
    model: BaseEstimator, codes: np.ndarray, levels: np.ndarray, train: Tensor, test: Tensor
) -> tuple[Tensor, Tensor]:
    """Importances (latents, factors) and the mean score on the points held out."""
    importance, scores = [], []
    for level in levels.T:
        target = level if is_classifier(model) else (level - level.mean()) / level.std()
        fitted = clone(model).fit(codes[train], target[train])
        found = getattr(fitted, "feature_importances_", getattr(fitted, "coef_", None))
        if found is None:
            raise TypeError(f"predictor is a {type(model).__name__}; expected one with importances or coefficients")
        importance.append(torch.from_numpy(np.atleast_2d(np.abs(found)).sum(0).astype(float)))
        scores.append(float(fitted.score(codes[test], target[test])))
    return torch.stack(importance, dim=1), torch.tensor(scores, dtype=torch.float64).mean()
