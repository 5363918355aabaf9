r"""Sources whose law changes from segment to segment, mixed by a network: the data of nonlinear ICA.

In segment u source i is :math:`s_i = \mu_i(u) + \sigma_i(u)\, \varepsilon_i`, with independent :math:`\varepsilon_i` of
zero mean and unit variance, and :math:`x = f(s)` plus noise. Parameters, network, sources and noise are all drawn anew
for every seed.

Sources: A. Hyvärinen, H. Morioka, *Unsupervised Feature Extraction by Time-Contrastive Learning and Nonlinear ICA*,
NIPS 2016; I. Khemakhem et al., *Variational Autoencoders and Nonlinear ICA*, AISTATS 2020. The defaults are those of
the latter's published code, but for the networks: there one matrix is used in all layers (``reuse=True`` here).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Self

import torch
from torch import Tensor

from latentbook.jacobian import log_abs_det
from latentbook.mixings import Mixing, random_network, source_distribution
from latentbook.nn import Affine
from latentbook.random import Generator, check_members

FAMILIES = ("normal", "laplace", "hypsecant")
MODULATES = ("scale", "location", "both")
SPREADS = ("uniform", "log-uniform")
_STEP = 3.0  # by which the first source's mean moves from step to step of a staircase


class Segments(NamedTuple):
    """Data of segments, and all that made them.

    Attributes:
        x: observations, (members, n, features), one segment after the other.
        sources: the true sources, (members, n, size).
        u: the segment of every row, int64 (members, n).
        location: mean of every source in every segment, (members, segments, size).
        scale: standard deviation, (members, segments, size).
        process: draws more of the same: ``process.draw(generator, per_segment)``.
    """

    x: Tensor
    sources: Tensor
    u: Tensor
    location: Tensor
    scale: Tensor
    process: SegmentProcess


@dataclass(frozen=True, eq=False)
class SegmentProcess:
    """Where data of segments come from: the law of the sources in every segment, and the mixing.

    Attributes:
        location: mean of every source in every segment, (members, segments, size).
        scale: standard deviation, of the same shape.
        mixing: f, of at least as many observations as sources; surplus inputs are zero.
        family: law of a source, "normal", "laplace" or "hypsecant" (hyperbolic secant).
        noise: standard deviation of the noise on x, before whitening.
        whitening: applied last, None for none.
    """

    location: Tensor
    scale: Tensor
    mixing: Mixing
    family: str = "normal"
    noise: float = 0.0
    whitening: Affine | None = None

    @classmethod
    def random(
        cls,
        generator: Generator,
        *,
        segments: int = 40,
        size: int = 5,
        features: int | None = None,
        family: str = "normal",
        modulates: str = "scale",
        scale: tuple[float, float] = (0.5, 3.0),
        spread: str = "uniform",
        location: tuple[float, float] = (-5.0, 5.0),
        staircase: bool = False,
        layers: int = 3,
        activation: str = "leaky_tanh",
        slope: float = 0.1,
        reuse: bool = False,
        noise: float = 0.0,
    ) -> Self:
        """A random process for every seed.

        Args:
            generator: one seed per member.
            segments: number of segments.
            size: number of sources.
            features: number of observations, ``size`` or more; by default ``size``.
            family: as above.
            modulates: what changes between segments: "scale" (means are 0), "location" (deviations are 1), or "both".
            scale: range of the standard deviations.
            spread: their law on that range, "uniform" or "log-uniform", which makes small ones as common as large.
            location: range of the means, uniform on it.
            staircase: add to the first source's mean 3 times a random rank of the segment, from 0 up.
            layers: of the mixing network; 1 is a linear mixing.
            activation: as for :func:`latentbook.mixings.random_network`.
            slope: as for :func:`latentbook.mixings.random_network`.
            reuse: as for :func:`latentbook.mixings.random_network`.
            noise: as above.

        Raises:
            TypeError: if ``generator`` is no Generator.
            ValueError: for an unknown name, a number or range that is not valid, or fewer features than sources.
        """
        check_members(generator)
        features = size if features is None else features
        _check(segments=segments, size=size, layers=layers)
        if features < size:
            raise ValueError(
                f"features is {features}; expected at least size = {size}, or else x cannot tell all sources"
            )
        for name, value, known in (("modulates", modulates, MODULATES), ("spread", spread, SPREADS)):
            if value not in known:
                raise ValueError(f"{name} is {value!r}; expected one of {known}")
        low, high = _range("scale", scale, positive=True)
        laws = generator.child("segments")
        uniform = laws.uniform(segments, size, dtype=torch.float64)
        scales = low + (high - low) * uniform if spread == "uniform" else low * (high / low) ** uniform
        low, high = _range("location", location)
        means = low + (high - low) * laws.uniform(segments, size, dtype=torch.float64)
        if modulates == "location":
            scales = torch.ones_like(scales)
        if modulates == "scale":
            means = torch.zeros_like(means)
        if staircase:
            means[..., 0] += _STEP * laws.permutation(segments)
        options = {"layers": layers, "activation": activation, "slope": slope, "reuse": reuse}
        return cls(means, scales, random_network(generator.child("mixing"), features, **options), family, noise)

    def __post_init__(self) -> None:
        if self.family not in FAMILIES:
            raise ValueError(f"family is {self.family!r}; expected one of {FAMILIES}")
        if not 0 <= self.noise < math.inf:
            raise ValueError(f"noise is {self.noise}; expected a finite number, zero or more")

    def draw(self, generator: Generator, per_segment: int, *, dtype: torch.dtype | None = None) -> Segments:
        """Fresh rows, ``per_segment`` of each segment in turn.

        Args:
            generator: one seed per member.
            per_segment: rows of each segment.
            dtype: floating-point type of the rows; by default torch's default.

        Raises:
            TypeError: if ``generator`` is no Generator.
            ValueError: if it has another number of seeds, or there are no rows.
        """
        members, segments, size = self.location.shape
        check_members(generator, members)
        _check(per_segment=per_segment)
        dtype = torch.get_default_dtype() if dtype is None else dtype
        standard = _standard(generator, self.family, segments, per_segment, size, dtype=torch.float64)
        s = self.location[:, :, None] + self.scale[:, :, None] * standard
        s = s.flatten(1, 2)
        x = self.mix(s)
        if self.noise:
            x = x + self.noise * generator.normal(*x.shape[1:], dtype=x.dtype)
        if self.whitening is not None:
            x = self.whitening(x)
        u = torch.arange(segments, device=s.device).repeat_interleave(per_segment).repeat(members, 1)
        parts = (part.to(dtype) for part in (x, s, self.location, self.scale))
        x, s, location, scale = parts
        return Segments(x, s, u, location, scale, self)

    def mix(self, sources: Tensor) -> Tensor:
        """The map f of the sources, without noise or whitening: (members, n, size) to (members, n, features)."""
        return self.mixing(self._padded(sources))

    def jacobian(self, sources: Tensor) -> Tensor:
        """The Jacobian of f, whitened where x is: (members, n, size) to (members, n, features, size)."""
        J = self.mixing.jacobian(self._padded(sources))[..., : sources.shape[-1]]
        return J if self.whitening is None else self.whitening.matrix.mT.to(J)[:, None] @ J

    def log_likelihood(self, data: Segments) -> Tensor:
        r"""The exact :math:`\log p(x | u)` of data that this process made, (members, n), in nats.

        Raises:
            ValueError: if there is noise, or more observations than sources: x then has no such density.
        """
        if self.noise or data.x.shape[-1] != data.sources.shape[-1]:
            found = f"noise is {self.noise}, for {data.sources.shape[-1]} sources and {data.x.shape[-1]} features"
            raise ValueError(f"{found}; expected no noise, and as many of one as of the other")
        s = data.sources.double()
        rows = data.u[..., None].expand_as(s)
        scale = self.scale.gather(1, rows)
        standard = (s - self.location.gather(1, rows)) / scale
        return (_log_density(self.family, standard) - scale.log()).sum(-1) - log_abs_det(self.jacobian(s))

    def _padded(self, sources: Tensor) -> Tensor:
        surplus = (self.mixing.size or sources.shape[-1]) - sources.shape[-1]
        return torch.nn.functional.pad(sources, (0, surplus)) if surplus else sources


def segments(
    generator: Generator,
    *,
    per_segment: int = 1000,
    whiten: bool = False,
    dtype: torch.dtype | None = None,
    **options: object,
) -> Segments:
    """Draw a random process and data from it, for every seed.

    Args:
        generator: one seed per member.
        per_segment: rows of each segment.
        whiten: give the x of every member zero mean and unit covariance, see :func:`whitening`; ``process`` then
            keeps the map, so that more data of it are in the same coordinates.
        dtype: floating-point type of the rows; by default torch's default.
        options: of :meth:`SegmentProcess.random`.

    Raises:
        TypeError, ValueError: for bad options, as :meth:`SegmentProcess.random` and :func:`whitening`.

    Example:
        >>> data = segments(Generator([0, 1]), segments=4, per_segment=10, size=3)
        >>> data.x.shape, data.u.shape, data.scale.shape
        (torch.Size([2, 40, 3]), torch.Size([2, 40]), torch.Size([2, 4, 3]))
    """
    process = SegmentProcess.random(generator, **options)
    rows = generator.child("rows")
    if whiten:
        process = replace(process, whitening=whitening(process.draw(rows.at(0), per_segment, dtype=torch.float64).x))
    return process.draw(rows, per_segment, dtype=dtype)


def whitening(x: Tensor, *, least: float = 1e-6) -> Affine:
    """The map that gives the data of every member zero mean and unit covariance.

    The noise of a Gaussian likelihood is then equally small, or large, against all directions of the data. Without
    it the network's weak directions drown.

    Args:
        x: data (n, features), or (members, n, features).
        least: smallest variance, as a share of the largest, for which a direction counts as one.

    Raises:
        ValueError: if x has another shape, or a direction has no variance.
    """
    if not isinstance(x, Tensor) or x.dim() not in (2, 3) or not x.is_floating_point() or 0 in x.shape:
        found = f"{x.dtype} {tuple(x.shape)}" if isinstance(x, Tensor) else type(x).__name__
        raise ValueError(f"x is {found}; expected floating-point data (n, features) or (members, n, features)")
    centred = x.double() - x.double().mean(-2, keepdim=True)
    variance = torch.linalg.eigvalsh(centred.mT @ centred / x.shape[-2])
    flat = variance < least * variance[..., -1:].clamp(min=torch.finfo(torch.float64).tiny)
    if bool(flat.any()):
        number, features = int(flat.sum(-1).max()), x.shape[-1]
        raise ValueError(
            f"x has no variance in {number} of {features} directions; expected data of full rank: "
            "add noise, drop features, or use latentbook.nn.Affine.whiten, which leaves such directions small"
        )
    return Affine.whiten(x, floor=least)


def check_segments(x: Tensor, u: Tensor, segments: int | None = None) -> int:
    """The number of segments, after checking that every row has a label and every segment a row.

    Args:
        x: observations (n, features), or (members, n, features).
        u: labels, integers (n,) or (members, n).
        segments: their number; by default one more than the largest label.

    Raises:
        TypeError: if u is not an integer tensor.
        ValueError: if x and u differ in length, a label is out of range, or a segment has no row.
    """
    if not isinstance(u, Tensor) or u.is_floating_point() or u.is_complex() or u.dtype == torch.bool:
        found = u.dtype if isinstance(u, Tensor) else type(u).__name__
        raise TypeError(f"u is {found}; expected an integer tensor of labels (n,) or (members, n)")
    fits = u.dim() in (1, 2) and u.numel() and u.shape[-1] == x.shape[-2]
    if not fits or (u.dim() == 2 and x.dim() == 3 and len(u) != len(x)):
        raise ValueError(f"u has shape {tuple(u.shape)}; expected one label for each of the {x.shape[-2]} rows of x")
    low, high = (int(value) for value in u.aminmax())
    number = high + 1 if segments is None else segments
    if low < 0 or high >= number:
        raise ValueError(f"u has labels from {low} to {high}; expected 0 to {number - 1}")
    counts = torch.zeros(*u.shape[:-1], number, dtype=torch.int64, device=u.device)
    counts.scatter_add_(-1, u.long(), torch.ones_like(u, dtype=torch.int64))
    empty = (counts == 0).nonzero()
    if len(empty):
        raise ValueError(f"u has no row of segment {int(empty[0, -1])}; expected some of each of {number} segments")
    return number


def _standard(generator: Generator, family: str, *shape: int, dtype: torch.dtype) -> Tensor:
    """Draws of zero mean and unit variance, ``(members, *shape)``."""
    if family == "normal":
        return generator.normal(*shape, dtype=dtype)
    uniform = generator.uniform(*shape, dtype=dtype)
    if family == "laplace":
        return source_distribution("laplace").icdf(uniform)
    return (uniform * math.pi / 2).tan().log() * (2 / math.pi)


def _log_density(family: str, standard: Tensor) -> Tensor:
    """Log-densities of the laws that :func:`_standard` draws from."""
    if family == "hypsecant":  # sech(pi z / 2) / 2, written so that nothing overflows
        return -torch.logaddexp(math.pi / 2 * standard, -math.pi / 2 * standard)
    return source_distribution(family).log_prob(standard)


def _check(**numbers: int) -> None:
    for name, value in numbers.items():
        if isinstance(value, bool) or not hasattr(value, "__index__") or value < 1:
            raise ValueError(f"{name} is {value!r}; expected a positive integer")


def _range(name: str, ends: Sequence[float], *, positive: bool = False) -> tuple[float, float]:
    low, high = ends if isinstance(ends, Sequence) and len(ends) == 2 else (math.nan, math.nan)
    if not (-math.inf < low <= high < math.inf) or (positive and low <= 0):
        raise ValueError(f"{name} is {ends!r}; expected two {'positive ' * positive}numbers, the lower one first")
    return float(low), float(high)


__all__ = ["SegmentProcess", "Segments", "check_segments", "segments", "whitening"]
