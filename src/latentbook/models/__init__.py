"""Models: variational autoencoders, their likelihoods and priors."""

from latentbook.models.likelihoods import BernoulliLikelihood, GaussianLikelihood
from latentbook.models.priors import NormalPrior
from latentbook.models.vae import VAE, FreePosterior, GaussianEncoder

__all__ = ["VAE", "BernoulliLikelihood", "FreePosterior", "GaussianEncoder", "GaussianLikelihood", "NormalPrior"]
