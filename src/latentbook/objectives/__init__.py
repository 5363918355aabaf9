"""Objectives: what is maximised, and the bounds that measure how well."""

from latentbook.objectives.elbo import ELBO, ElboParts, Gap, elbo, elbo_gap, importance_weighted_bound
from latentbook.objectives.loss import Loss

__all__ = ["ELBO", "ElboParts", "Gap", "Loss", "elbo", "elbo_gap", "importance_weighted_bound"]
