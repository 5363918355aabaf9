"""The rotated-Gaussian automorphism: a rotation in disguise, which no marginal of the sources can see."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributions import Normal

from latentbook.mixings.base import Compose, Elementwise, Inverse
from latentbook.mixings.linear import Linear, Rotation, check_matrix
from latentbook.mixings.sources import Source, source_distribution


class FromNormal(Elementwise):
    r"""Standard normal numbers turned into sources of another law, one by one: :math:`s = F^{-1}(\Phi(v))`.

    Args:
        source: the law: "uniform" (on -1/2 to 1/2), "normal", "laplace" (unit variance), or a torch distribution of one
            number with ``cdf`` and ``icdf``.

    Raises:
        ValueError: if the law has no ``cdf`` or ``icdf``; on use of the inverse, if a number lies outside the support,
            or so far out that its distribution function rounds to 0 or 1.
    """

    def __init__(self, source: Source = "uniform") -> None:
        super().__init__()
        self.source = source_distribution(source)
        try:
            self.source.cdf(self.source.icdf(torch.tensor(0.5, dtype=torch.float64)))
        except NotImplementedError as error:
            raise ValueError(f"source is {source}, without cdf or icdf; expected a law that has both") from error

    def forward(self, s: Tensor) -> Tensor:
        """Sources from standard normal numbers."""
        s = self._rows("s", s)
        if isinstance(self.source, Normal):
            return self.source.loc + self.source.scale * s
        return self.source.icdf(torch.special.ndtr(s))

    def inverse(self, x: Tensor) -> Tensor:
        """Standard normal numbers from sources."""
        x = self._rows("x", x)
        if isinstance(self.source, Normal):
            return (x - self.source.loc) / self.source.scale
        probability = self.source.cdf(x)
        outside = (probability <= 0) | (probability >= 1)
        if bool(outside.any()):
            value = float(x[outside][0])
            raise ValueError(f"a source is {value}; expected numbers inside the support of {self.source}")
        return torch.special.ndtri(probability)

    def extra_repr(self) -> str:
        """The law, for printing."""
        return str(self.source)


class RotatedGaussian(Compose):
    r"""A map that mixes independent sources and keeps their joint law: a measure-preserving automorphism.

    .. math:: a^R = F^{-1} \circ \Phi \circ R \circ \Phi^{-1} \circ F

    Every source is made standard normal, the normal vector is rotated, and made into sources again. If
    :math:`x = f(s)`, then :math:`f \circ (a^R)^{-1}` explains x just as well with the sources :math:`a^R(s)`. For
    uniform sources in two dimensions its contrast, and that of every conformal map after it, is
    :math:`\mathbb E \log\cosh(v_1 v_2) = 0.3136` nats at 45 degrees, and zero at multiples of 90 degrees.

    Args:
        rotation: R: the angle in radians of a rotation of two sources, one number or (members,); or an orthogonal
            matrix, (size, size) or (members, size, size). An ``nn.Parameter`` as angle can be trained.
        source: the law of every source, see :class:`FromNormal`.

    Raises:
        ValueError: if the matrix is not orthogonal; on use, if a source lies outside the support of the law.

    Source:
        A. Hyvärinen and P. Pajunen, *Nonlinear independent component analysis: existence and uniqueness results*, 1999;
        L. Gresele et al., *Independent mechanism analysis, a new concept?*, arXiv:2106.05200.
    """

    def __init__(self, rotation: float | Tensor, source: Source = "uniform") -> None:
        rotation = rotation if isinstance(rotation, Tensor) else torch.tensor(rotation, dtype=torch.float64)
        if rotation.dim() > 1:
            check_matrix("rotation", rotation, orthogonal=True)
            turn = Linear(rotation)
        else:
            turn = Rotation(rotation)
        to_sources = FromNormal(source)
        super().__init__(Inverse(to_sources), turn, to_sources)
