"""Linear mixings: matrices with a known contrast, random ones, rotations."""

from __future__ import annotations

import torch
from torch import Tensor

from latentbook.mixings.base import Mixing
from latentbook.random import Generator, check_members


class Linear(Mixing):
    r"""The linear mixing :math:`x = A s + b`.

    Args:
        matrix: A, (size, size) or (members, size, size).
        offset: b, (size,) or (members, size); zero when None.

    Raises:
        ValueError: if ``matrix`` is not square, singular up to rounding, or does not fit ``offset``.
    """

    def __init__(self, matrix: Tensor, offset: Tensor | None = None) -> None:
        super().__init__()
        matrix = self._hold("matrix", matrix, 2)
        self.size = check_matrix("matrix", matrix)
        offset = self._hold("offset", matrix.new_zeros(self.size) if offset is None else offset, 1)
        if offset.shape[-1] != self.size:
            raise ValueError(f"offset has {offset.shape[-1]} numbers; expected {self.size}, as many as matrix has rows")

    @classmethod
    def random(cls, generator: Generator, size: int, *, entries: str = "normal") -> Linear:
        """A random matrix per seed, (members, size, size), float64.

        Args:
            generator: one stream per member.
            size: number of sources.
            entries: "normal", "uniform" (each between 0 and 1), or "orthogonal" (uniform among orthogonal matrices).

        Raises:
            ValueError: for another name.
        """
        check_members(generator)
        if entries == "orthogonal":
            return cls(random_orthogonal(generator, size))
        if entries not in ("normal", "uniform"):
            raise ValueError(f"entries is {entries!r}; expected 'normal', 'uniform' or 'orthogonal'")
        return cls(getattr(generator, entries)(size, size, dtype=torch.float64))

    @classmethod
    def with_cosine(cls, size: int, cosine: float | Tensor, generator: Generator | None = None) -> Linear:
        r"""Unit columns any two of which meet at the same angle, of cosine t.

        .. math:: A^\top A = (1 - t) I + t\, 1 1^\top, \qquad
            c = -\tfrac12 \bigl[ (d - 1) \log(1 - t) + \log(1 + (d - 1) t) \bigr]

        Args:
            size: number of sources d.
            cosine: t, between -1/(d - 1) and 1, one number or (members,).
            generator: where given, a random rotation of the observations per seed, which leaves the contrast as it is.

        Raises:
            ValueError: if there are no such independent columns, or ``generator`` has another number of seeds.
        """
        t = torch.as_tensor(cosine, dtype=torch.float64)
        if t.dim() > 1 or not bool(((t < 1) & (1 + (size - 1) * t > 0)).all()):
            raise ValueError(f"cosine is {cosine}; expected above -1/{size - 1} and below 1, (members,) at most")
        if generator is not None:
            check_members(generator, len(t) if t.dim() and len(t) > 1 else None)
        small, large = (1 - t).sqrt(), (1 + (size - 1) * t).sqrt()
        mean = torch.full((size, size), 1 / size, dtype=torch.float64)
        matrix = torch.eye(size, dtype=torch.float64) * small[..., None, None] + mean * (large - small)[..., None, None]
        return cls(matrix if generator is None else random_orthogonal(generator, size) @ matrix)

    @classmethod
    def with_contrast(cls, size: int, contrast: float | Tensor, generator: Generator | None = None) -> Linear:
        """Unit columns at equal acute angles, chosen so that the IMA contrast is as asked; see :meth:`with_cosine`.

        Args:
            size: number of sources, at least 2.
            contrast: in nats, one number or (members,), from 0 to 10 times (size - 1).
            generator: where given, a random rotation of the observations per seed.

        Raises:
            ValueError: if ``size`` or ``contrast`` is outside its range.
        """
        target = torch.as_tensor(contrast, dtype=torch.float64)
        if size < 2 or not bool(((target >= 0) & (target <= 10 * (size - 1))).all()):
            raise ValueError(f"contrast is {contrast} for size {size}; expected 0 to 10 (size - 1), and size 2 or more")
        low, high = torch.zeros_like(target), torch.ones_like(target)
        for _ in range(60):
            t = (low + high) / 2
            below = -0.5 * ((size - 1) * torch.log1p(-t) + torch.log1p((size - 1) * t)) < target
            low, high = torch.where(below, t, low), torch.where(below, high, t)
        return cls.with_cosine(size, low, generator)

    def unit_determinant(self) -> Linear:
        """The same mixing rescaled to a determinant of 1 or -1; the contrast does not change."""
        scale = torch.exp(-torch.linalg.slogdet(self.matrix).logabsdet / self.size)
        return Linear(self.matrix * scale[..., None, None], self.offset)

    def forward(self, s: Tensor) -> Tensor:
        """``A s + b`` for every row."""
        s = self._rows("s", s)
        return s @ self.matrix.mT.to(s) + self._row("offset", s)

    def inverse(self, x: Tensor) -> Tensor:
        """``A^-1 (x - b)`` for every row."""
        x = self._rows("x", x)
        return (x - self._row("offset", x)) @ torch.linalg.inv(self.matrix).mT.to(x)

    def jacobian(self, s: Tensor) -> Tensor:
        """A itself at every row, (..., size, size)."""
        s = self._rows("s", s)
        matrix = self.matrix.to(s)
        matrix = matrix[:, None] if matrix.dim() == 3 else matrix
        return matrix.expand(*s.shape, self.size)

    def log_abs_det(self, s: Tensor) -> Tensor:
        """log|det A| at every row, (...)."""
        s = self._rows("s", s)
        value = torch.linalg.slogdet(self.matrix).logabsdet.to(s)
        value = value[:, None] if value.dim() == 1 else value
        return value.expand(s.shape[:-1])


class Rotation(Linear):
    r"""The rotation of two sources, :math:`x = (s_1 \cos\theta - s_2 \sin\theta,\; s_1 \sin\theta + s_2 \cos\theta)`.

    Args:
        angle: :math:`\theta` in radians, one number or (members,); an ``nn.Parameter`` can be trained.
    """

    def __init__(self, angle: float | Tensor) -> None:
        Mixing.__init__(self)
        self._hold("angle", angle, 0)
        self.register_buffer("offset", torch.zeros(2, dtype=self.angle.dtype))
        self.size = 2

    @property
    def matrix(self) -> Tensor:
        """R, (2, 2) or (members, 2, 2)."""
        cosine, sine = self.angle.cos(), self.angle.sin()
        return torch.stack([torch.stack([cosine, -sine], -1), torch.stack([sine, cosine], -1)], -2)


def random_orthogonal(generator: Generator, size: int) -> Tensor:
    """A uniformly distributed (Haar) orthogonal matrix per seed, (members, size, size), float64."""
    check_members(generator)
    q, r = torch.linalg.qr(generator.normal(size, size, dtype=torch.float64))
    return q * r.diagonal(dim1=-2, dim2=-1).sign()[..., None, :]


def check_matrix(name: str, matrix: Tensor, *, orthogonal: bool = False) -> int:
    """The size of a square and regular matrix, or of each of a stack.

    Raises:
        ValueError: if it is not square, is singular up to rounding, or not orthogonal where that is demanded.
    """
    matrix = matrix.detach()
    size = matrix.shape[-1]
    if matrix.shape[-2] != size or not size:
        raise ValueError(f"{name} has shape {tuple(matrix.shape)}; expected square matrices")
    precision = torch.finfo(matrix.dtype).eps
    if orthogonal:
        error = float((matrix.mT @ matrix - torch.eye(size).to(matrix)).abs().max())
        if error > 100 * size * precision:
            raise ValueError(f"{name} is not orthogonal: {name}^T {name} differs from the identity by {error:.2g}")
        return size
    values = torch.linalg.svdvals(matrix)
    ratio = float((values[..., -1] / values[..., 0]).nan_to_num(0).min())
    if ratio <= size * precision:
        raise ValueError(f"{name} is singular: its smallest singular value is {ratio:.2g} of its largest")
    return size
