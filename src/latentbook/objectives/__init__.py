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
from latentbook.objectives.loss import Loss

__all__ = [
    "ELBO",
    "ElboParts",
    "Gap",
    "Loss",
    "elbo_gap",
    "evidence_lower_bound",
    "importance_weighted_bound",
    "three_entropies",
]
