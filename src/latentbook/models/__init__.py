"""Models: variational autoencoders, their likelihoods and priors, and linear models with everything in closed form."""

from latentbook.models.auxiliary import Auxiliary
from latentbook.models.conditional_priors import ConditionalLaplacePrior, ConditionalNormalPrior, ConditionalPrior
from latentbook.models.fast_ica import fast_ica
from latentbook.models.fixed import FixedDecoder
from latentbook.models.flow import CouplingFlow
from latentbook.models.ivae import ConditionalEncoder, ivae_mlp
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
from latentbook.models.pretrained import model_card, pretrained
from latentbook.models.priors import BetaPrior, LaplacePrior, NormalPrior, Prior, UniformPrior
from latentbook.models.structured_priors import GeneralizedNormalPrior, ISAPrior
from latentbook.models.tcl import TCL
from latentbook.models.turned import TurnedDecoder, TurnedVAE
from latentbook.models.vae import VAE, FreePosterior, GaussianEncoder

__all__ = [
    "VAE",
    "BernoulliLikelihood",
    "FixedDecoder",
    "FreePosterior",
    "GaussianEncoder",
    "GaussianLikelihood",
    "Prior",
    "NormalPrior",
    "LaplacePrior",
    "BetaPrior",
    "UniformPrior",
    "GeneralizedNormalPrior",
    "ISAPrior",
    "ConditionalPrior",
    "ConditionalNormalPrior",
    "ConditionalLaplacePrior",
    "Auxiliary",
    "ConditionalEncoder",
    "ivae_mlp",
    "CouplingFlow",
    "TCL",
    "fast_ica",
    "TurnedDecoder",
    "TurnedVAE",
    "pretrained",
    "model_card",
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
