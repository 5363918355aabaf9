r"""Roles of latents: active, passive or mixed, from the posterior variances over a data set.

A standard normal prior is assumed: then a latent that is off has the posterior variance 1. For another prior hand over
the variances *divided by the prior's*.

**The published criterion** looks at two numbers of each latent, the mean m and the variance s of
:math:`\sigma^2(x)` over the data:

======== ===========================================
passive  s < 0.1 and 0.9 <= m <= 1.1
active   s < 0.1 and m <= 0.1
mixed    everything else
======== ===========================================

Since variances lie between 0 and about 1, s < 0.1 asks for little. A latent that is on for one example in ten has
s = 0.09 and passes for passive; one that is off for one in ten passes for active. And one that sits at 0.3 for all
examples, half sharp for every one of them, is called mixed, though it has one way to be and not two.

**The sharper criterion** counts examples: a latent is active where all but a few examples have a variance of at most
0.1, passive where all but a few have one between 0.9 and 1.1, mixed where more than a few are of either kind, and
*intermediate* otherwise. See :func:`latent_roles_by_share`.

Neither looks at the means. :func:`latentbook.metrics.reliability` does, and has no threshold.

Source: L. Bonheme, M. Grzes, *Be More Active! Understanding the Differences Between Mean and Sampled Representations of
Variational Autoencoders*, JMLR 24, 2023, and its published code for the thresholds. P. Clapham, L. Bonheme, M. Grzes,
*Entropy-Based Characterisation of the Polarised Regime in Latent Variable Models*, arXiv:2605.15965, 2026, propose the
entropy of the mean instead, which needs no Gaussian prior and, as they say, cannot tell active from mixed by itself.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from torch import Tensor

from latentbook.metrics._codes import as_numbers

ROLES = ("active", "passive", "mixed")
"""What :func:`latent_roles` says."""

_ROUNDING = 1e-7  # so that 0.1 in single precision is 0.1
_SHARP, _FLAT_LOW, _FLAT_HIGH, _STEADY = 0.1 + _ROUNDING, 0.9 - _ROUNDING, 1.1 + _ROUNDING, 0.1

Roles = list  # of str, or of lists of them


class RoleShares(NamedTuple):
    """On which share of the examples a latent is in which state, each (..., latents); together they make 1.

    Attributes:
        active: the posterior variance is at most 0.1.
        passive: it is between 0.9 and 1.1.
        between: neither.
    """

    active: Tensor
    passive: Tensor
    between: Tensor


def latent_roles(variances: Tensor) -> Roles:
    """The role of each latent by the published criterion: "active", "passive" or "mixed".

    Args:
        variances: posterior variances over a data set, (n, latents), or with leading axes, (members, n, latents);
            relative to those of the prior, where that is not standard normal. Not standard deviations, not logarithms.

    Returns:
        A list with one word per latent; for (members, n, latents) a list of such lists, one per member.
        ``numpy.array(roles) == "passive"`` is a mask for either.

    Raises:
        ValueError: if a variance is not positive and finite, or the shape is another.

    Example:
        >>> latent_roles([[0.01, 1.0, 0.01], [0.02, 0.99, 1.0]])
        ['active', 'passive', 'mixed']
    """
    variances = _check(variances)
    return roles_from_moments(variances.mean(-2), variances.var(-2, correction=0))


def roles_from_moments(mean: Tensor, variance: Tensor) -> Roles:
    """The published criterion from the mean and the variance of the posterior variances, each (..., latents).

    This is what :func:`latentbook.training.variance_moments` records during training. A latent whose moments are NaN,
    as those of a diverged member, is called mixed.

    Raises:
        ValueError: if the shapes differ or have no axis.
    """
    mean, variance = as_numbers("mean", mean), as_numbers("variance", variance)
    if mean.shape != variance.shape or not mean.dim():
        shapes = f"mean has shape {tuple(mean.shape)} and variance {tuple(variance.shape)}"
        raise ValueError(f"{shapes}; expected the same shape, (..., latents)")
    steady = variance < _STEADY
    active = steady & (mean <= _SHARP)
    passive = steady & (mean >= _FLAT_LOW) & (mean <= _FLAT_HIGH)
    return _words([("active", active), ("passive", passive)], "mixed")


def example_roles(variances: Tensor) -> np.ndarray:
    """The state of every latent on every example: "active", "passive" or "between", an array of str (..., n, latents).

    Args:
        variances: as for :func:`latent_roles`.

    Raises:
        ValueError: as :func:`latent_roles`.
    """
    active, passive = _states(_check(variances))
    return np.where(active, "active", np.where(passive, "passive", "between"))


def role_shares(variances: Tensor) -> RoleShares:
    """The shares of examples on which each latent is active, passive, or in between.

    Args:
        variances: as for :func:`latent_roles`.

    Raises:
        ValueError: as :func:`latent_roles`.
    """
    active, passive = (state.double().mean(-2) for state in _states(_check(variances)))
    return RoleShares(active, passive, 1 - active - passive)


def latent_roles_by_share(variances: Tensor, *, most: float = 0.95) -> Roles:
    """The role of each latent by shares of examples: "active", "passive", "mixed" or "intermediate".

    A latent is active (passive) if it is so on a share of at least ``most`` of the examples, mixed if it is active on
    more than 1 - ``most`` of them and passive on more than 1 - ``most`` of them, and intermediate otherwise.

    Args:
        variances: as for :func:`latent_roles`.
        most: above 1/2 and at most 1.

    Returns:
        As :func:`latent_roles`.

    Raises:
        ValueError: as :func:`latent_roles`; if ``most`` is out of range.
    """
    if not 0.5 < most <= 1:
        raise ValueError(f"most is {most}; expected a share above 0.5 and at most 1")
    active, passive, _ = role_shares(variances)
    both = (active > 1 - most) & (passive > 1 - most)
    return _words([("active", active >= most), ("passive", passive >= most), ("mixed", both)], "intermediate")


def _states(variances: Tensor) -> tuple[Tensor, Tensor]:
    return variances <= _SHARP, (variances >= _FLAT_LOW) & (variances <= _FLAT_HIGH)


def _words(named: list[tuple[str, Tensor]], otherwise: str) -> Roles:
    words = np.select([mask.numpy() for _, mask in named], [name for name, _ in named], otherwise)
    return words.tolist()


def _check(variances: Tensor) -> Tensor:
    values = as_numbers("variances", variances)
    if values.dim() < 2 or 0 in values.shape:
        shape = tuple(values.shape)
        raise ValueError(f"variances has shape {shape}; expected (n, latents) or (members, n, latents), not empty")
    bad = int((~((values > 0) & values.isfinite())).sum())
    if bad:
        found = f"variances holds {bad} value(s) that are not positive and finite"
        raise ValueError(f"{found}; expected sigma^2, not its logarithm, and members that diverged left out")
    return values


__all__ = [
    "ROLES",
    "RoleShares",
    "example_roles",
    "latent_roles",
    "latent_roles_by_share",
    "role_shares",
    "roles_from_moments",
]
