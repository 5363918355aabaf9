"""Lp-nested symmetric laws, among them those of independent subspace analysis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Distribution, constraints

from latentbook.distributions.base import (
    LOG2,
    Numbers,
    StructuredDistribution,
    as_tensors,
    check_positive,
    common_shape,
    magnitude,
)
from latentbook.distributions.lp_tree import Level, LpTree, levels
from latentbook.distributions.noise import Noise


class LpNested(StructuredDistribution):
    r"""The law on R^n whose density falls with a nested norm f of z.

    .. math::

        p(z) = \frac1Z \exp\Big(-\frac{f(z)^{p_0}}{s}\Big), \qquad
        f_i(z) = \Big(\sum_{c\ \text{child of}\ i} f_c(z)^{p_i}\Big)^{1/p_i}, \qquad f_{\text{leaf}\ j}(z) = |z_j|,

    where f is that of the root. With :math:`n_i` leaves under node i and :math:`h(k, p) = \log\Gamma(k/p) - \log p`,

    .. math::

        \log Z = n \log 2 + \frac{n}{p_0} \log s + \sum_{c \ne \text{root}} h(n_c, p_{\text{above}\ c})
            - \sum_{\text{inner}\ i \ne \text{root}} h(n_i, p_i).

    The children of the root span independent subspaces. Within one, nothing can be separated unless its exponent is
    :math:`p_0`: if all exponents are equal, the coordinates are independent and generalised normal with the scale
    :math:`s^{1/p_0}`. With all exponents 2 and s = 2, it is N(0, I).

    Density, gradients and samples are computed in logarithms, and the power :math:`f^{n-1}` of the radial law, which
    cancels against the surface of the f-sphere, is never formed. So all is finite for exponents from 0.5 to 20 in
    float32 and float64, at z = 0 and where a subspace is zero (with the subgradient 0 there).

    Args:
        tree: the exponents, numbers or tensors whose shapes broadcast to the batch shape.
        scale: s, positive, broadcasts against the exponents. Mind that it is the scale of :math:`f^{p_0}`, not of z.
        validate_args: check arguments and values, as everywhere in torch.distributions.

    Attributes:
        tree: as given.
        exponents: all exponents from the root down, each node before its children, ``(*batch_shape, inner nodes)``.
        scale: s, ``batch_shape``.

    Raises:
        TypeError: if ``tree`` is not an :class:`LpTree`.
        ValueError: if an exponent or the scale is not positive and finite, or the shapes do not broadcast.

    Source: F. Sinz, M. Bethge, *Lp-Nested Symmetric Distributions*, JMLR 11, 2010; J. Stühmer, R. E. Turner,
    S. Nowozin, *Independent Subspace Analysis for Unsupervised Learning of Disentangled Representations*,
    arXiv:1909.05063, 2019 (equations 8, 9 and 11).
    """

    arg_constraints: ClassVar[dict] = {
        "exponents": constraints.independent(constraints.positive, 1),
        "scale": constraints.positive,
    }
    support = constraints.real_vector

    def __init__(self, tree: LpTree, scale: Numbers = 1.0, *, validate_args: bool | None = None) -> None:
        if not isinstance(tree, LpTree):
            raise TypeError(f"tree is {tree!r}; expected an LpTree")
        named = {f"exponent {number}": power for number, power in enumerate(tree.powers())}
        scale, *powers = as_tensors(scale=scale, **named)
        shape = common_shape(scale=scale.shape, **{n: p.shape for n, p in zip(named, powers, strict=True)})
        self.tree, self.scale = tree, scale.expand(shape)
        self.exponents = torch.stack([power.expand(shape) for power in powers], dim=-1)
        self._levels = levels(tree.structure, self.exponents.dtype, self.exponents.device)
        if self._validates(validate_args):
            check_positive(exponents=self.exponents, scale=scale)
        super().__init__(shape, torch.Size([tree.leaves]), validate_args=validate_args)

    @classmethod
    def isa(
        cls,
        sizes: Sequence[int],
        *,
        inner: Numbers,
        outer: float | Tensor,
        scale: Numbers = 1.0,
        validate_args: bool | None = None,
    ) -> LpNested:
        """Independent subspaces: a root with one node per subspace.

        Args:
            sizes: coordinates of each subspace.
            inner: exponent within the subspaces, one number or one per subspace (the last axis of a tensor).
            outer: exponent of the root, any shape that broadcasts to the batch shape.
            scale: s, as in :class:`LpNested`.
            validate_args: as in :class:`LpNested`.

        Raises:
            ValueError: if there is no subspace, a size is below 1, or ``inner`` has another number of exponents.
        """
        sizes = tuple(sizes)
        if not sizes:
            raise ValueError("sizes is empty; expected the size of at least one subspace")
        if isinstance(inner, (Tensor, np.ndarray)):
            inner = torch.atleast_1d(torch.as_tensor(inner)).unbind(-1)
        powers = tuple(inner) if isinstance(inner, Sequence) else (inner,)
        if len(powers) not in (1, len(sizes)):
            raise ValueError(f"inner has {len(powers)} exponents; expected one number or {len(sizes)}, as in sizes")
        powers *= len(sizes) // len(powers)
        nodes = tuple(LpTree(power, (size,)) for power, size in zip(powers, sizes, strict=True))
        return cls(LpTree(outer, nodes), scale, validate_args=validate_args)

    def __repr__(self) -> str:
        single = self.exponents.dim() == 1
        exponents = [round(p, 4) for p in self.exponents.tolist()] if single else tuple(self.exponents.shape)
        scale = round(float(self.scale), 4) if single else tuple(self.scale.shape)
        return f"LpNested({_sketch(self.tree)}, exponents: {exponents}, scale: {scale})"

    def expand(self, batch_shape: Sequence[int], _instance: Distribution | None = None) -> LpNested:
        """The same law with its parameters expanded to ``batch_shape``."""
        new, shape = self._get_checked_instance(LpNested, _instance), torch.Size(batch_shape)
        new.tree, new._levels = self.tree, self._levels
        new.exponents = self.exponents.expand(*shape, self.exponents.shape[-1])
        new.scale = self.scale.expand(shape)
        super(LpNested, new).__init__(shape, self.event_shape, validate_args=False)
        new._validate_args = self._validate_args
        return new

    @property
    def _root(self) -> Tensor:
        return self.exponents[..., 0]

    def _with_powers(self) -> list[tuple[Level, Tensor]]:
        return [(level, level.powers(self.exponents)) for level in self._levels]

    def _log_normaliser(self) -> Tensor:
        n = self.event_shape[0]
        total = n * LOG2 + n / self._root * self.scale.log()
        for depth, (level, powers) in enumerate(self._with_powers()):
            above = level.share(powers)
            total = total + ((level.leaves / above).lgamma() - above.log()).sum(-1)
            if depth:
                total = total - ((level.own / powers).lgamma() - powers.log()).sum(-1)
        return total

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-density of whole vectors, (..., n) -> (...), in nats.

        Raises:
            ValueError: if the last axis of ``value`` has not n entries; if one is not finite.
        """
        if value.shape[-1:] != self.event_shape:
            raise ValueError(f"value has shape {tuple(value.shape)}; expected (..., {self.event_shape[0]})")
        if self._validate_args:
            self._validate_sample(value)
        logarithms = magnitude(value).log()
        root, *inner = self._with_powers()
        for level, powers in reversed(inner):
            logarithms = level.log_norm(logarithms, powers)
        energies = (root[1] * logarithms - self.scale.log()[..., None]).exp()
        return -energies.sum(-1) - self._log_normaliser()

    def _draw(self, lead: torch.Size, noise: Noise) -> Tensor:
        r"""Radii from the root down.

        The children of the root have independent radii, :math:`v_c^{p_0} = s\, G_c` with
        :math:`G_c \sim \mathrm{Gamma}(n_c / p_0)`. Below, :math:`(v_c / v_i)^{p_i}` are Dirichlet with parameters
        :math:`n_c / p_i`: gamma variates, divided by their sum. All in logarithms, by
        :math:`\mathrm{Gamma}(a) = \mathrm{Gamma}(a + 1)\, U^{1/a}`, since for small a they underflow.
        """
        radii = (self.scale.log() / self._root)[..., None]
        for depth, (level, powers) in enumerate(self._with_powers()):
            above = level.share(powers)
            shape = (level.leaves / above).expand(*lead, -1)
            steps = noise.gamma(shape + 1).log() / above + noise.uniform(shape).log() / level.leaves
            if depth:
                radii = radii - level.log_norm(steps, powers)
            radii = level.share(radii) + steps
        return torch.where(noise.uniform(radii) < 0.5, -1.0, 1.0).to(radii.dtype) * radii.exp()

    def _log_absolute_moment(self, order: float) -> Tensor:
        """``log E|z_j|^order``, ``(*batch_shape, n)``."""

        def ratio(leaves: Tensor, powers: Tensor) -> Tensor:
            return ((leaves + order) / powers).lgamma() - (leaves / powers).lgamma()

        total = (order / self._root * self.scale.log())[..., None]
        for depth, (level, powers) in enumerate(self._with_powers()):
            if depth:
                total = total - ratio(level.own, powers)
            total = level.share(total) + ratio(level.leaves, level.share(powers))
        return total

    @property
    def mean(self) -> Tensor:
        """Zero, ``(*batch_shape, n)``."""
        return self.exponents.new_zeros(self._extended_shape())

    @property
    def mode(self) -> Tensor:
        """Zero, ``(*batch_shape, n)``."""
        return self.mean

    @property
    def variance(self) -> Tensor:
        r"""Variances of the coordinates, ``(*batch_shape, n)``; all covariances are 0.

        With :math:`g(k, p) = \log\Gamma(\frac{k+2}{p}) - \log\Gamma(\frac kp)`,
        :math:`\log \operatorname{Var} z_j = \frac2{p_0} \log s + \sum_c g(n_c, p_{\text{above}\ c})
        - \sum_i g(n_i, p_i)`, the sums over the nodes c and the inner nodes i from below the root to leaf j.
        """
        return self._log_absolute_moment(2).exp()

    @property
    def kurtosis(self) -> Tensor:
        """The coordinates' fourth moments by their squared variances, ``(*batch_shape, n)``; 3 for a normal law."""
        return (self._log_absolute_moment(4) - 2 * self._log_absolute_moment(2)).exp()

    def entropy(self) -> Tensor:
        r"""Differential entropy :math:`n / p_0 + \log Z`, in nats: :math:`f^{p_0} / s` is a Gamma(n / p_0) variate."""
        return self.event_shape[0] / self._root + self._log_normaliser()

    def with_variance(self, variance: Numbers = 1.0) -> LpNested:
        """The same law with the scale s at which the coordinates' mean variance is this.

        In subspaces of unequal size the single variances still differ.

        Raises:
            ValueError: if ``variance`` is not positive and finite.
        """
        target = self._target(variance)
        scale = self.scale * (target / self.variance.mean(-1)).pow(self._root / 2)
        return LpNested(self.tree, scale, validate_args=self._validate_args)


def _sketch(tree: LpTree) -> str:
    """The tree's form alone, such as (4, (2, 1))."""
    parts = [str(child) if isinstance(child, int) else _sketch(child) for child in tree.children]
    return f"({', '.join(parts)})"


__all__ = ["LpNested"]
