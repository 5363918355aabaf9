"""Training: one loop for one model and for a hundred."""

from latentbook.training._runs import Group, Result
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
from latentbook.training.sweep import run_groups, sweep

__all__ = [
    "CheckpointError",
    "EarlyStop",
    "Group",
    "History",
    "ParameterGroup",
    "Ramp",
    "Recorder",
    "Result",
    "TrainConfig",
    "fit",
    "gap",
    "latent_kl",
    "mean_correlation",
    "negative_elbo",
    "run_groups",
    "sampled_correlation",
    "sweep",
    "total_correlations",
    "variance_moments",
]
