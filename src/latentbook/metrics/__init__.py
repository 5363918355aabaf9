"""Metrics: what a representation has in common with the true factors, and how a map mixes its inputs."""

from latentbook.metrics.amari import amari_distance
from latentbook.metrics.ima import ima_contrast, mean_jacobian_contrast
from latentbook.metrics.mcc import MCC, chance_mcc, mcc
from latentbook.metrics.mig import MIG, mig
from latentbook.metrics.self_consistency import predicted_variance

__all__ = [
    "MCC",
    "mcc",
    "chance_mcc",
    "MIG",
    "mig",
    "ima_contrast",
    "mean_jacobian_contrast",
    "amari_distance",
    "predicted_variance",
]
