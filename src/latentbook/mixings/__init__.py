"""Mixings: invertible maps from sources to observations, with their Jacobians.

Every mixing has ``forward(s)``, ``inverse(x)``, ``jacobian(s)``, ``log_abs_det(s)`` and ``log_prob(x, source)``.
"""

from latentbook.mixings.base import Compose, Elementwise, Inverse, Mixing
from latentbook.mixings.darmois import Darmois
from latentbook.mixings.linear import Linear, Rotation, random_orthogonal
from latentbook.mixings.mlp import InvertibleMLP, LeakyTanh, SmoothLeakyReLU
from latentbook.mixings.moebius import Moebius
from latentbook.mixings.networks import random_network, well_conditioned
from latentbook.mixings.polar import Polar
from latentbook.mixings.rotated_gaussian import FromNormal, RotatedGaussian
from latentbook.mixings.sources import source_distribution

__all__ = [
    "Mixing",
    "Elementwise",
    "Compose",
    "Inverse",
    "Linear",
    "Rotation",
    "random_orthogonal",
    "InvertibleMLP",
    "SmoothLeakyReLU",
    "LeakyTanh",
    "random_network",
    "well_conditioned",
    "Moebius",
    "Polar",
    "FromNormal",
    "RotatedGaussian",
    "Darmois",
    "source_distribution",
]
