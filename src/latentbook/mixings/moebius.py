"""Moebius maps: conformal, so that their Jacobians have orthogonal columns of equal length everywhere."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from latentbook.mixings.base import Mixing
from latentbook.mixings.linear import check_matrix, random_orthogonal
from latentbook.random import Generator

_PUBLISHED_MATRIX = [
    [0.8952980622220605, 0.07969352563354992, 0.4382810990146826],
    [-0.33718465539720005, 0.7641959729595551, 0.5498281759577892],
    [-0.2911149050565686, -0.6400417618284708, 0.7110546077267281],
]


class Moebius(Mixing):
    r"""The Moebius map, an inversion in a sphere around its pole and then a similarity.

    .. math:: x = b + \alpha A \frac{s - a}{\lVert s - a \rVert^2}, \qquad
        J = \frac{\alpha}{r^2} A (I - 2 u u^\top), \quad r = \lVert s - a \rVert, \; u = (s - a)/r

    So :math:`J^\top J = \alpha^2 r^{-4} I`: the local IMA contrast is zero everywhere.

    Args:
        pole: a, which is sent to infinity, (size,) or (members, size).
        matrix: A, orthogonal, (size, size) or (members, size, size).
        scale: :math:`\alpha`, positive.
        offset: b, (size,) or (members, size); zero when None.

    Raises:
        ValueError: if sizes disagree, ``matrix`` is not orthogonal or ``scale`` not positive; on use, if a row of the
            sources is the pole, or a row of the observations is b, the image of infinity.

    Source:
        L. Gresele et al., *Independent mechanism analysis, a new concept?*, arXiv:2106.05200, where it mixes uniform
        sources on the cube from -1/2 to 1/2.
    """

    def __init__(self, pole: Tensor, matrix: Tensor, *, scale: float = 1.0, offset: Tensor | None = None) -> None:
        super().__init__()
        pole = self._hold("pole", pole, 1)
        self.size = check_matrix("matrix", self._hold("matrix", matrix, 2), orthogonal=True)
        offset = self._hold("offset", pole.new_zeros(pole.shape[-1]) if offset is None else offset, 1)
        for name, vector in (("pole", pole), ("offset", offset)):
            if vector.shape[-1] != self.size:
                raise ValueError(f"{name} has {vector.shape[-1]} numbers; expected {self.size}, the size of matrix")
        if not 0 < scale < math.inf:
            raise ValueError(f"scale is {scale}; expected a positive, finite number")
        self.scale = float(scale)

    @classmethod
    def random(cls, generator: Generator, size: int) -> Moebius:
        r"""A random map per seed, float64: A is any orthogonal matrix, a is normal, given that :math:`|a_k| > 1/2`.

        The pole lies outside the cube of the sources, but possibly just outside: some maps are nearly linear there,
        others stretch one corner of the cube a hundred times as much as another.
        """
        matrix = random_orthogonal(generator, size)
        signed = 2 * generator.uniform(size, dtype=torch.float64) - 1
        half = torch.special.ndtr(torch.tensor(-0.5, dtype=torch.float64))
        return cls(-signed.sign() * torch.special.ndtri(signed.abs() * half), matrix)

    @classmethod
    def published(cls) -> Moebius:
        """The three-dimensional map behind the published sweep over gamma^2, float64.

        Reconstructed from the random numbers of the authors' code, seed 1, for P. Reizinger et al., *Embrace the Gap*,
        arXiv:2206.02416. With uniform sources the observations have a variance of 0.00255 per feature.
        """
        return cls([1.74481176421648, -0.7612069008951028, 1.462107937044974], _PUBLISHED_MATRIX)

    def forward(self, s: Tensor) -> Tensor:
        """The map at every row."""
        s = self._rows("s", s)
        inverted = _invert_in_sphere("s", s - self._row("pole", s), "the pole of the map")
        return self.scale * inverted @ self.matrix.mT.to(s) + self._row("offset", s)

    def inverse(self, x: Tensor) -> Tensor:
        r""":math:`s = a + A^\top w / \lVert w \rVert^2` with :math:`w = (x - b)/\alpha`."""
        x = self._rows("x", x)
        inverted = _invert_in_sphere("x", (x - self._row("offset", x)) / self.scale, "offset, the image of infinity")
        return inverted @ self.matrix.to(x) + self._row("pole", x)

    def log_abs_det(self, s: Tensor) -> Tensor:
        r""":math:`d \log(\alpha / r^2)`, (...)."""
        s = self._rows("s", s)
        square = (s - self._row("pole", s)).square().sum(-1)
        return self.size * (math.log(self.scale) - square.log())


def _invert_in_sphere(name: str, difference: Tensor, place: str) -> Tensor:
    square = difference.square().sum(-1, keepdim=True)
    if bool((square < torch.finfo(square.dtype).tiny).any()):
        raise ValueError(f"{name} has a row at {place}; expected rows away from it")
    return difference / square
