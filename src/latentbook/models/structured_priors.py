"""Priors with exponents: generalised normal (ICA) and independent subspaces (ISA), fixed or learned.

A normal prior looks the same from all directions, so it cannot tell the axes of the latents apart. These can, unless
all exponents are 2. There is no closed-form KL from a normal posterior to them: objectives estimate it from samples.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from latentbook.distributions import GeneralizedNormal, LpNested
from latentbook.models.priors import Prior
from latentbook.random import Generator

Positive = float | Sequence[float] | Tensor


class PositiveNumbers(nn.Module):
    """Exponents, a scale or variances: fixed or learned, shared by the members or one set for each.

    Learned ones are kept as logarithms, so that they stay positive; a step of size r in the logarithm moves an exponent
    p by about p r.

    Args:
        name: what error messages call them.
        value: one number, one per place (size,), or one set per member, (members, size) or (members, 1).
        size: number of places.
        members: number of members; needed for learned ones, each member then having its own.
        learned: optimise them with the other parameters.

    Raises:
        ValueError: for values that are not positive and finite, another shape, or a missing ``members``.
    """

    def __init__(
        self, name: str, value: Positive, size: int, *, members: int | None = None, learned: bool = False
    ) -> None:
        super().__init__()
        value = torch.as_tensor(value, dtype=torch.get_default_dtype()).detach()
        sets = value.shape[:-1]
        if len(sets) > 1 or value.shape[-1:] not in ((), (1,), (size,)) or (sets and members not in (None, *sets)):
            expected = f"one number, ({size},) or ({members or 'members'}, {size})"
            raise ValueError(f"{name} has shape {tuple(value.shape)}; expected {expected}")
        if not bool(((value > 0) & value.isfinite()).all()):
            raise ValueError(f"{name} is {value.tolist()}; expected positive, finite values")
        if learned and not (sets or members):
            raise ValueError(f"members is {members}; expected the number of members, since {name} is learned")
        self.learned = learned
        if learned:
            self.log_value = nn.Parameter(value.log().expand(*(sets or (members,)), size).clone())
        else:
            self.register_buffer("value", value.expand(*sets, size).clone())

    @property
    def members(self) -> int | None:
        """Number of members, None where one set serves all."""
        value = self.log_value if self.learned else self.value
        return len(value) if value.dim() == 2 else None

    @property
    def stacked_buffers(self) -> tuple[str, ...]:
        """The buffers that carry a members axis, for :func:`latentbook.nn.select`."""
        return () if self.learned or self.members is None else ("value",)

    def forward(self) -> Tensor:
        """The numbers, (size,) or (members, 1, size), to broadcast against a batch of latents."""
        value = self.log_value.exp() if self.learned else self.value
        return value[:, None] if value.dim() == 2 else value

    def extra_repr(self) -> str:
        """Kind and members, for printing."""
        return f"{'learned' if self.learned else 'fixed'}, members={self.members}"


def _check_members(*parts: PositiveNumbers) -> None:
    """Raise if the parts were made for different numbers of members."""
    found = {part.members for part in parts} - {None}
    if len(found) > 1:
        raise ValueError(f"members is given as {sorted(found)}; expected one number of members")


class GeneralizedNormalPrior(Prior):
    r"""Independent generalised normal latents, the prior of independent component analysis.

    .. math:: p(z) \propto \prod_k \exp\Big(-\Big|\frac{z_k}{s_k}\Big|^{p_k}\Big), \qquad
        s_k^2 = \operatorname{Var}(z_k)\, \frac{\Gamma(1/p_k)}{\Gamma(3/p_k)}.

    The scale follows the exponent, so that the variance stays what it is when exponents are compared or learned. An
    exponent of 2 gives the normal prior, 1 the Laplace prior; above 2 the tails are lighter than normal.

    Args:
        size: number of latents.
        power: exponents; one number, one per latent, or one set per member, (members, size) or (members, 1).
        variance: as ``power``, but never learned.
        learned: learn the exponents (their logarithms) with the other parameters, each member its own.
        members: number of members; needed when they are learned.

    Raises:
        ValueError: if a number is not positive and finite, has another shape, or ``members`` is missing.
    """

    def __init__(
        self,
        size: int,
        power: Positive = 2.0,
        *,
        variance: Positive = 1.0,
        learned: bool = False,
        members: int | None = None,
    ) -> None:
        if size < 1:
            raise ValueError(f"size is {size}; expected at least one latent")
        powers = PositiveNumbers("power", power, size, members=members, learned=learned)
        variances = PositiveNumbers("variance", variance, size)
        _check_members(powers, variances)
        super().__init__(size)
        self.powers, self.variances = powers, variances

    def forward(self, u: Tensor | None = None) -> GeneralizedNormal:
        """The distribution, batch shape (latents,) or (members, 1, latents); there is no dependence on ``u``."""
        return GeneralizedNormal(0.0, 1.0, self.powers(), validate_args=False).with_variance(self.variances())

    def sample(self, shape: tuple[int, ...], generator: Generator) -> Tensor:
        """Draws of z, ``(members, *shape, latents)``."""
        draws = self().sample_with(generator, (math.prod(shape), self.size))
        return draws.view(generator.members, *shape, self.size)


class ISAPrior(Prior):
    r"""Independent subspaces of latents, the prior of ISA-VAE.

    .. math:: p(z) \propto \exp\Big(-\frac1s \sum_k \Big(\sum_{j \in V_k} |z_j|^{p_k}\Big)^{p_0 / p_k}\Big).

    Subspaces are independent. Within one, the latents depend on each other unless :math:`p_k = p_0`; then the prior
    is that of ICA. With all exponents 2 it is a normal prior, of variance s / 2.

    Args:
        sizes: latents in each subspace.
        inner: exponents :math:`p_k`; one number, one per subspace, or one set per member, (members, subspaces).
        outer: exponent :math:`p_0`, one number or one per member, (members, 1); never learned.
        scale: s, as ``outer``. None solves for the s at which the mean variance of the latents is 1, whatever the
            exponents.
        learned: learn the inner exponents (their logarithms) with the other parameters, each member its own.
        members: number of members; needed when they are learned.

    Raises:
        ValueError: if a number is not positive and finite, has another shape, or ``members`` is missing.

    Source: J. Stühmer, R. E. Turner, S. Nowozin, *Independent Subspace Analysis for Unsupervised Learning of
    Disentangled Representations*, arXiv:1909.05063, 2019; there :math:`p_0` = 2.1 and s is not given.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        *,
        inner: Positive = 2.2,
        outer: Positive = 2.1,
        scale: Positive | None = 1.0,
        learned: bool = False,
        members: int | None = None,
    ) -> None:
        sizes = tuple(sizes)
        size = LpNested.isa(sizes, inner=2.0, outer=2.0).event_shape[0]  # checks the sizes
        inner = PositiveNumbers("inner", inner, len(sizes), members=members, learned=learned)
        outer = PositiveNumbers("outer", outer, 1)
        fixed = PositiveNumbers("scale", 1.0 if scale is None else scale, 1)
        _check_members(inner, outer, fixed)
        super().__init__(size)
        self.sizes, self.standardised = sizes, scale is None
        self.inner, self.outer, self.scale = inner, outer, fixed

    def forward(self, u: Tensor | None = None) -> LpNested:
        """The distribution, event shape (latents,), batch shape () or (members, 1); no dependence on ``u``."""
        parts = {"inner": self.inner(), "outer": self.outer()[..., 0], "scale": self.scale()[..., 0]}
        law = LpNested.isa(self.sizes, **parts, validate_args=False)
        return law.with_variance(1.0) if self.standardised else law

    def sample(self, shape: tuple[int, ...], generator: Generator) -> Tensor:
        """Draws of z, ``(members, *shape, latents)``."""
        return self().sample_with(generator, (math.prod(shape),)).view(generator.members, *shape, self.size)


__all__ = ["GeneralizedNormalPrior", "ISAPrior", "PositiveNumbers"]
