"""Objectives: what is maximised, and the bounds that measure how well."""

from latentbook.objectives.elbo import (
    ELBO,
    ElboParts,
    Gap,
    elbo_gap,
    evidence_lower_bound,
    importance_weighted_bound,
    three_entropies,
)
from latentbook.objectives.ima import IMALikelihood
from latentbook.objectives.loss import Loss
from latentbook.objectives.optimum import OptimalPosterior, optimal_posterior

__all__ = [
    "ELBO",
    "ElboParts",
    "Gap",
    "IMALikelihood",
    "Loss",
    "OptimalPosterior",
    "elbo_gap",
    "evidence_lower_bound",
    "importance_weighted_bound",
    "optimal_posterior",
    "three_entropies",
]
