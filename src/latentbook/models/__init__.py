"""Models: variational autoencoders, their likelihoods and priors, and linear models with everything in closed form."""

from latentbook.models.likelihoods import BernoulliLikelihood, GaussianLikelihood
from latentbook.models.linear import FactorAnalysis, FreeEnergyTerms
from latentbook.models.linear_cases import overcomplete, overcomplete_gap, probabilistic_pca, rotated, rotation_gap
from latentbook.models.linear_ica import (
    ICAFit,
    directions,
    fit_linear_ica,
    linear_ica_log_likelihood,
    student_t_mixture,
)
from latentbook.models.priors import NormalPrior
from latentbook.models.vae import VAE, FreePosterior, GaussianEncoder

__all__ = [
    "VAE",
    "BernoulliLikelihood",
    "FreePosterior",
    "GaussianEncoder",
    "GaussianLikelihood",
    "NormalPrior",
    "FactorAnalysis",
    "FreeEnergyTerms",
    "probabilistic_pca",
    "rotated",
    "rotation_gap",
    "overcomplete",
    "overcomplete_gap",
    "ICAFit",
    "directions",
    "fit_linear_ica",
    "linear_ica_log_likelihood",
    "student_t_mixture",
]
