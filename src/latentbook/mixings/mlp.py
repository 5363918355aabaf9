"""Invertible multilayer perceptrons."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from latentbook.mixings.base import Compose, Elementwise
from latentbook.mixings.linear import Linear, random_orthogonal
from latentbook.random import Generator


class SmoothLeakyReLU(Elementwise):
    r"""The smooth leaky ReLU, whose slope grows from :math:`\alpha` on the far left to 1 on the far right.

    .. math:: h(s) = \alpha s + (1 - \alpha) \log(1 + e^s), \qquad h'(s) = \alpha + \frac{1 - \alpha}{1 + e^{-s}}

    Args:
        slope: :math:`\alpha`, above 0 and at most 1; at 1 the map is the identity.

    Raises:
        ValueError: if ``slope`` is outside this range, where h has no inverse or is not leaky.
    """

    def __init__(self, slope: float = 0.2) -> None:
        super().__init__()
        if not 0 < slope <= 1:
            raise ValueError(f"slope is {slope}; expected above 0, where the map is invertible, and at most 1")
        self.slope = float(slope)

    def forward(self, s: Tensor) -> Tensor:
        """h(s)."""
        s = self._rows("s", s)
        return self.slope * s + (1 - self.slope) * nn.functional.softplus(s, threshold=40)

    def inverse(self, x: Tensor) -> Tensor:
        """The root of h(s) = x by Newton's method, which falls monotonically to it from the kink's inverse."""
        x = self._rows("x", x)
        s, rounding = torch.minimum(x, x / self.slope).detach(), 8 * torch.finfo(x.dtype).eps
        for _ in range(60):
            before, s = s, self._newton(s, x.detach())
            if not bool((before - s > rounding * (1 + s.abs())).any()):
                break
        return self._newton(self._newton(s, x), x)  # each step doubles the order to which the derivatives are right

    def _newton(self, s: Tensor, x: Tensor) -> Tensor:
        return s - (self.forward(s) - x) / (self.slope + (1 - self.slope) * torch.sigmoid(s))

    def extra_repr(self) -> str:
        """The slope, for printing."""
        return f"slope={self.slope}"


class LeakyTanh(Elementwise):
    r"""The leaky hyperbolic tangent, whose slope falls from :math:`1 + \alpha` at zero to :math:`\alpha` far out.

    .. math:: h(s) = \tanh s + \alpha s, \qquad h'(s) = 1 - \tanh^2 s + \alpha

    Args:
        slope: :math:`\alpha`, positive.

    Raises:
        ValueError: if ``slope`` is not positive and finite, where h has no inverse.

    Source: the ``xtanh`` of the mixing networks in I. Khemakhem et al., *Variational Autoencoders and Nonlinear ICA*,
    AISTATS 2020 (published code), with a slope of 0.1.
    """

    def __init__(self, slope: float = 0.1) -> None:
        super().__init__()
        if not 0 < slope < float("inf"):
            raise ValueError(f"slope is {slope}; expected a positive, finite number, where the map is invertible")
        self.slope = float(slope)

    def forward(self, s: Tensor) -> Tensor:
        """h(s)."""
        s = self._rows("s", s)
        return s.tanh() + self.slope * s

    def inverse(self, x: Tensor) -> Tensor:
        """The root of h(s) = x by Newton's method: h bends away from zero, so steps from inside never overshoot."""
        x = self._rows("x", x)
        size, rounding = x.detach().abs(), 8 * torch.finfo(x.dtype).eps
        s = torch.maximum(size / (1 + self.slope), (size - 1) / self.slope)
        for _ in range(60):
            before, s = s, self._newton(s, size)
            if not bool((s - before > rounding * (1 + s)).any()):
                break
        s = s * x.detach().sign()
        return self._newton(self._newton(s, x), x)  # each step doubles the order to which the derivatives are right

    def _newton(self, s: Tensor, x: Tensor) -> Tensor:
        return s - (self.forward(s) - x) / (1 - s.tanh().square() + self.slope)

    def extra_repr(self) -> str:
        """The slope, for printing."""
        return f"slope={self.slope}"


class InvertibleMLP(Compose):
    r"""Layers of a smooth leaky ReLU followed by a matrix, :math:`s \mapsto M\, h(s)`.

    With orthogonal matrices the map is well conditioned, and its contrast comes from the activations alone: the first
    layer has orthogonal columns, deeper stacks do not. Triangular matrices give a triangular map.

    Args:
        matrices: M of every layer, first to last, each (size, size) or (members, size, size).
        slope: of :class:`SmoothLeakyReLU`. At 1 the whole map is linear.

    Raises:
        ValueError: if there is no matrix or one is singular, sizes differ, or the slope is not between 0 and 1.

    Source:
        The mixing of the self-consistency experiment in P. Reizinger et al., *Embrace the Gap*, arXiv:2206.02416.
    """

    def __init__(self, *matrices: Tensor, slope: float = 0.2) -> None:
        if not matrices:
            raise ValueError("matrices is empty; expected at least one layer")
        super().__init__(*(part for matrix in matrices for part in (SmoothLeakyReLU(slope), Linear(matrix))))

    @classmethod
    def random(cls, generator: Generator, size: int, *, layers: int = 3, slope: float = 0.2) -> InvertibleMLP:
        """Random orthogonal layers, one map per seed, float64.

        Raises:
            ValueError: if there is not at least one layer, or the slope is not between 0 and 1.
        """
        if layers < 1:
            raise ValueError(f"layers is {layers}; expected at least 1")
        return cls(*(random_orthogonal(generator, size) for _ in range(layers)), slope=slope)
