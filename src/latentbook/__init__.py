"""The package behind the book: models, priors, metrics and training for stacks of variational autoencoders."""

__version__ = "0.1.0"
