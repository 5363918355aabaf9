"""Objectives: what is maximised, and the bounds that measure how well."""

from latentbook.objectives.aggregate import (
    AggregateDensities,
    aggregate_log_densities,
    minibatch_total_correlation,
    minibatch_weights,
)
from latentbook.objectives.elbo import (
    ELBO,
    ElboParts,
    Gap,
    elbo_gap,
    evidence_lower_bound,
    importance_weighted_bound,
    three_entropies,
)
from latentbook.objectives.factor import FactorVAE, permute_dims
from latentbook.objectives.flow import FlowLikelihood
from latentbook.objectives.ima import IMALikelihood
from latentbook.objectives.loss import Loss
from latentbook.objectives.optimum import OptimalPosterior, optimal_posterior
from latentbook.objectives.tc import TCVAE, KLParts, decompose_kl
from latentbook.objectives.tcl import SegmentCrossEntropy

__all__ = [
    "ELBO",
    "TCVAE",
    "AggregateDensities",
    "ElboParts",
    "FactorVAE",
    "FlowLikelihood",
    "Gap",
    "IMALikelihood",
    "KLParts",
    "Loss",
    "OptimalPosterior",
    "SegmentCrossEntropy",
    "aggregate_log_densities",
    "decompose_kl",
    "elbo_gap",
    "evidence_lower_bound",
    "importance_weighted_bound",
    "minibatch_total_correlation",
    "minibatch_weights",
    "optimal_posterior",
    "permute_dims",
    "three_entropies",
]
