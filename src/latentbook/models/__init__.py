"""Models: variational autoencoders, their likelihoods and priors."""

from latentbook.models.likelihoods import BernoulliLikelihood, GaussianLikelihood
from latentbook.models.priors import NormalPrior
from latentbook.models.vae import VAE, GaussianEncoder

__all__ = ["VAE", "BernoulliLikelihood", "GaussianEncoder", "GaussianLikelihood", "NormalPrior"]
