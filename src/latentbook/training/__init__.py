"""Training: one loop for one model and for a hundred."""

from latentbook.training.checkpoint import CheckpointError
from latentbook.training.config import EarlyStop, ParameterGroup, TrainConfig
from latentbook.training.fit import fit
from latentbook.training.history import History
from latentbook.training.recorders import (
    Recorder,
    gap,
    latent_kl,
    mean_correlation,
    negative_elbo,
    sampled_correlation,
    total_correlations,
    variance_moments,
)
from latentbook.training.schedules import Ramp

__all__ = [
    "CheckpointError",
    "EarlyStop",
    "History",
    "ParameterGroup",
    "Ramp",
    "Recorder",
    "TrainConfig",
    "fit",
    "gap",
    "latent_kl",
    "mean_correlation",
    "negative_elbo",
    "sampled_correlation",
    "total_correlations",
    "variance_moments",
]
