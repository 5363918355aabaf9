"""The polar map, the book's running example."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from latentbook.mixings.base import Mixing


class Polar(Mixing):
    r"""A radius and an angle from two sources.

    .. math:: x = r (\cos\varphi, \sin\varphi), \qquad r = r_0 + \sigma_r s_1, \quad \varphi = \sigma_\varphi s_2

    The columns of its Jacobian are orthogonal everywhere and of unequal length, :math:`\sigma_r` and
    :math:`\sigma_\varphi r`: the local IMA contrast is zero, and the map is not conformal. It is one-to-one where the
    radius is positive and the angle between -pi and pi; with normal sources and the numbers below, it is outside with
    a probability of 3e-10.

    Args:
        radius: :math:`r_0`.
        radial: :math:`\sigma_r`.
        angular: :math:`\sigma_\varphi`, in radians.

    Raises:
        ValueError: if one of them is not positive; on use, if a row of the observations is the origin.
    """

    size = 2

    def __init__(self, radius: float = 3.0, radial: float = 0.4, angular: float = 0.5) -> None:
        super().__init__()
        for name, value in (("radius", radius), ("radial", radial), ("angular", angular)):
            if not 0 < value < math.inf:
                raise ValueError(f"{name} is {value}; expected a positive, finite number")
        self.radius, self.radial, self.angular = radius, radial, angular

    def forward(self, s: Tensor) -> Tensor:
        """The map at every row."""
        radius, angle = self._polar(self._rows("s", s))
        return torch.stack([radius * angle.cos(), radius * angle.sin()], dim=-1)

    def inverse(self, x: Tensor) -> Tensor:
        """The sources with a positive radius and an angle between -pi and pi."""
        x = self._rows("x", x)
        radius = torch.linalg.vector_norm(x, dim=-1)
        if bool((radius == 0).any()):
            raise ValueError("x has a row at the origin, where there is no angle; expected rows away from it")
        angle = torch.atan2(x[..., 1], x[..., 0])
        return torch.stack([(radius - self.radius) / self.radial, angle / self.angular], dim=-1)

    def log_abs_det(self, s: Tensor) -> Tensor:
        r""":math:`\log(\sigma_r \sigma_\varphi |r|)`, (...)."""
        radius, _ = self._polar(self._rows("s", s))
        return (self.radial * self.angular * radius.abs()).log()

    def _polar(self, s: Tensor) -> tuple[Tensor, Tensor]:
        return self.radius + self.radial * s[..., 0], self.angular * s[..., 1]
