"""Metrics: what a representation has in common with the true factors, and how a map mixes its inputs."""

from latentbook.metrics.amari import amari_distance
from latentbook.metrics.attenuation import attenuated, code_correlation, reliability, sampled_covariance
from latentbook.metrics.averaged_mutual_information import (
    NullLevel,
    averaged_mutual_information,
    pairwise_mutual_information,
    shuffled_mutual_information,
)
from latentbook.metrics.dci import DCI, dci, disentanglement_completeness
from latentbook.metrics.effective_rank import effective_rank
from latentbook.metrics.factor_score import FactorScore, factor_score
from latentbook.metrics.ima import ima_contrast, mean_jacobian_contrast
from latentbook.metrics.latent_roles import (
    RoleShares,
    example_roles,
    latent_roles,
    latent_roles_by_share,
    role_shares,
    roles_from_moments,
)
from latentbook.metrics.linear_mcc import LinearMCC, linear_mcc
from latentbook.metrics.mcc import MCC, chance_mcc, mcc
from latentbook.metrics.mig import MIG, mig
from latentbook.metrics.mutual_information import HistogramMIG, histogram_mig, mutual_information_matrix
from latentbook.metrics.sap import SAP, sap
from latentbook.metrics.segments import (
    SegmentConditioning,
    SegmentMoments,
    gaussian_parameters,
    segment_conditioning,
    segment_moments,
)
from latentbook.metrics.self_consistency import predicted_variance
from latentbook.metrics.total_correlation import total_correlation

__all__ = [
    "MCC",
    "mcc",
    "chance_mcc",
    "MIG",
    "mig",
    "HistogramMIG",
    "histogram_mig",
    "mutual_information_matrix",
    "DCI",
    "dci",
    "disentanglement_completeness",
    "SAP",
    "sap",
    "FactorScore",
    "factor_score",
    "LinearMCC",
    "linear_mcc",
    "SegmentConditioning",
    "SegmentMoments",
    "segment_conditioning",
    "segment_moments",
    "gaussian_parameters",
    "ima_contrast",
    "mean_jacobian_contrast",
    "amari_distance",
    "predicted_variance",
    "RoleShares",
    "latent_roles",
    "roles_from_moments",
    "example_roles",
    "role_shares",
    "latent_roles_by_share",
    "code_correlation",
    "reliability",
    "sampled_covariance",
    "attenuated",
    "total_correlation",
    "effective_rank",
    "NullLevel",
    "averaged_mutual_information",
    "pairwise_mutual_information",
    "shuffled_mutual_information",
]
