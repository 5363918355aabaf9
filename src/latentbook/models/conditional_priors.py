r"""Priors that depend on an observed auxiliary variable u: what makes the VAE of Khemakhem et al. identifiable.

Given u the latents are independent, each with a density of a common exponential family,

.. math:: p(z | u) = \prod_k \frac{Q(z_k)}{Z(\lambda_k(u))} \exp\Big(\sum_j T_j(z_k)\, \lambda_{kj}(u)\Big).

For a normal law T is :math:`(z, z^2)` if location and scale both depend on u, z alone if only the location does, and
:math:`z^2` alone if only the scale does. A monotone T, such as z, leaves a linear map of the latents undetermined.

Source: I. Khemakhem, D. P. Kingma, R. P. Monti, A. Hyvärinen, *Variational Autoencoders and Nonlinear ICA: A Unifying
Framework*, AISTATS 2020.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Self

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Laplace, Normal

from latentbook.models.assembly import check_sizes
from latentbook.models.auxiliary import Auxiliary
from latentbook.models.priors import Prior
from latentbook.nn import MLP, Activation
from latentbook.random import Generator

MODULATES = ("location", "scale", "both")


class ConditionalPrior(Prior):
    """Independent latents whose location, scale or both depend on u; each member learns its own dependence.

    For classes the parameters are a table, one row a class: the same as a linear map of one-hot rows, and rows that
    weigh several classes get the weighted mean of their locations and of their log-variances. For real vectors they
    are given by a multilayer perceptron. Either way the prior starts with zero means and unit variances whatever u
    is, as the plain prior.

    Args:
        size: number of latents.
        classes: number of classes that u labels; None where u is a real vector.
        u_size: number of entries of u where it is a real vector.
        modulates: what depends on u: "location" (the variance stays 1), "scale" (the mean stays 0), or "both".
        hidden: hidden units of the perceptron for real vectors; not used for classes.
        activation: between its layers.
        generator: its seeds are the members; source of the perceptron's initial weights.

    Raises:
        TypeError, ValueError: for sizes that are no positive integers, unless one of ``classes`` and ``u_size`` is
            given, and for another ``modulates``.
    """

    conditional = True

    def __init__(
        self,
        size: int,
        *,
        classes: int | None = None,
        u_size: int | None = None,
        modulates: str = "both",
        hidden: Sequence[int] = (32,),
        activation: Activation = "silu",
        generator: Generator,
    ) -> None:
        check_sizes(latent_size=size, hidden=hidden)
        if modulates not in MODULATES:
            raise ValueError(f"modulates is {modulates!r}; expected one of {MODULATES}")
        super().__init__(size)
        self.modulates = modulates
        self.auxiliary = Auxiliary(generator, classes=classes, u_size=u_size)
        outputs = size * (2 if modulates == "both" else 1)
        if classes is not None:
            start = torch.zeros(generator.members, classes, outputs, device=generator.device)
            self.table = nn.Parameter(start)
        else:
            self.network = MLP((u_size, *hidden, outputs), activation=activation, generator=generator)
            nn.init.zeros_(self.network.last.weight)
            nn.init.zeros_(self.network.last.bias)

    @classmethod
    def known(cls, location: Tensor, scale: Tensor) -> Self:
        """The prior with these locations and standard deviations, held fixed: no training changes them.

        Args:
            location: of every class and latent, (members, classes, latents).
            scale: standard deviations, of the same shape.

        Raises:
            ValueError: if the shapes are others, a number is not finite, or a scale is not positive.
        """
        if location.dim() != 3 or location.shape != scale.shape or 0 in location.shape:
            shapes = f"location has shape {tuple(location.shape)} and scale {tuple(scale.shape)}"
            raise ValueError(f"{shapes}; expected (members, classes, latents) for both")
        if not bool(location.isfinite().all() and scale.isfinite().all() and (scale > 0).all()):
            raise ValueError("location or scale is not finite, or a scale is not positive; expected valid parameters")
        members, classes, size = location.shape
        prior = cls(size, classes=classes, generator=Generator(range(members), device=location.device))
        table = torch.cat([location, 2 * scale.log()], dim=-1)
        prior.table = nn.Parameter(table.to(torch.get_default_dtype()), requires_grad=False)
        return prior

    def parameters_at(self, u: Tensor | None) -> tuple[Tensor, Tensor]:
        """Locations and log-variances given u, each (members, n, latents).

        Raises:
            TypeError, ValueError: if u is missing or is not what the prior was made for.
        """
        if self.auxiliary.classes is None:
            dtype = self.network.last.weight.dtype
            values = self.network(self.auxiliary(u, self.members, dtype))
        else:
            u = self.auxiliary.check(u, self.members)
            if u.is_floating_point():
                values = u.to(self.table.dtype) @ self.table
            else:
                rows = u.long().expand(self.members, u.shape[-1])[..., None]
                values = self.table.gather(1, rows.expand(*rows.shape[:2], self.table.shape[-1]))
        if self.modulates == "both":
            location, log_variance = values.chunk(2, dim=-1)
            return location, log_variance
        zero = torch.zeros_like(values)
        return (values, zero) if self.modulates == "location" else (zero, values)

    def variance(self) -> Tensor:
        """Variances of the latents over all u, (members, 1, latents).

        For classes that are equally likely; for real vectors, of which no law is known here, those of the start, 1.
        """
        if self.auxiliary.classes is None:
            return self.network.last.bias.new_ones(self.members, 1, self.size)
        law = self(torch.arange(self.auxiliary.classes, device=self.table.device))
        return law.variance.mean(1, keepdim=True) + law.mean.var(1, correction=0, keepdim=True)

    def sample(self, shape: tuple[int, ...], generator: Generator, u: Tensor | None = None) -> Tensor:
        """Draws of z given u, ``(members, *shape, latents)``.

        Args:
            shape: draws of one member; its last entry is the number of rows of u.
            generator: one seed per member.
            u: labels (n,) or (members, n), or vectors with one more axis.

        Raises:
            TypeError, ValueError: if u is missing, or does not fit the prior or ``shape``.
        """
        law = self(u)
        if not shape or shape[-1] != law.mean.shape[1]:
            raise ValueError(f"u has {law.mean.shape[1]} rows; expected as many as the last entry of shape, {shape}")
        rows = (law.mean.shape[0], *(1,) * (len(shape) - 1), *law.mean.shape[1:])
        location, scale = law.mean.view(rows), law.stddev.view(rows)
        return location + scale * self._noise(generator, (*shape, self.size), location.dtype)

    def _noise(self, generator: Generator, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """Draws of zero mean and unit variance, ``(members, *shape)``."""
        raise NotImplementedError

    def forward(self, u: Tensor | None = None) -> Distribution:
        """The distribution given u, batch shape (members, n, latents)."""
        raise NotImplementedError


class ConditionalNormalPrior(ConditionalPrior):
    """Independent normal latents given u; the arguments are those of :class:`ConditionalPrior`."""

    def forward(self, u: Tensor | None = None) -> Normal:
        """The distribution given u, batch shape (members, n, latents).

        Raises:
            TypeError, ValueError: if u is missing or is not what the prior was made for.
        """
        location, log_variance = self.parameters_at(u)
        return Normal(location, (log_variance / 2).exp(), validate_args=False)

    def _noise(self, generator: Generator, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        return generator.normal(*shape, dtype=dtype)


class ConditionalLaplacePrior(ConditionalPrior):
    """Independent Laplace latents given u; the arguments are those of :class:`ConditionalPrior`."""

    def forward(self, u: Tensor | None = None) -> Laplace:
        """The distribution given u, batch shape (members, n, latents).

        Raises:
            TypeError, ValueError: if u is missing or is not what the prior was made for.
        """
        location, log_variance = self.parameters_at(u)
        return Laplace(location, (log_variance / 2).exp() / math.sqrt(2), validate_args=False)

    def _noise(self, generator: Generator, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        standard = torch.tensor(math.sqrt(0.5), dtype=dtype, device=generator.device)
        return Laplace(torch.zeros_like(standard), standard).icdf(generator.uniform(*shape, dtype=dtype))


__all__ = ["ConditionalLaplacePrior", "ConditionalNormalPrior", "ConditionalPrior"]
