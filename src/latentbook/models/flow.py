r"""A small normalising flow: an exact likelihood, an exact inverse and an exact Jacobian.

.. math:: \log p(x) = \log p_0(f^{-1}(x)) - \log |\det J_f(f^{-1}(x))|

A coupling layer keeps some coordinates, and stretches and shifts the others by amounts that depend on those it keeps.
So both directions are explicit, and the layer's Jacobian is triangular.

With a prior that depends on an auxiliary variable u, :math:`p_0(z | u)`, the flow is a nonlinear ICA model whose
likelihood is exact: what iVAE bounds, it computes.

Sources: L. Dinh, J. Sohl-Dickstein, S. Bengio, *Density estimation using Real NVP*, ICLR 2017; I. Khemakhem,
D. P. Kingma, R. P. Monti, A. Hyvärinen, *Variational Autoencoders and Nonlinear ICA: A Unifying Framework*, AISTATS
2020, which names flows as a special case.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid

from latentbook.models import priors
from latentbook.models.assembly import check_stack
from latentbook.nn import MLP, Linear
from latentbook.random import Generator, check_members

_MOST = 2.0  # that one layer may add to the logarithm of a scale
_SOFTNESS = 0.02  # scale of the logistic noise at the edges of the uniform base


class CouplingFlow(nn.Module):
    """K smooth invertible maps f: z -> x, built of affine coupling layers.

    A member starts as a rotation of its own, drawn at random, followed by the data's shift and scale: no latent is
    near a direction of the data from the start, and what a trained flow finds there is not due to where it began. All
    else is trained, the rotation is not.

    Args:
        size: number of latents and of features, at least 2.
        layers: number of coupling layers; each transforms what the one before has kept, and swaps their places.
        hidden: hidden units of each layer's network, which has SiLU activations.
        base: distribution of z. "normal" is N(0, I); "uniform" is uniform on [-1/2, 1/2] with soft edges, namely with
            logistic noise of scale 0.02 added, so that its density is smooth and positive everywhere. Or a prior, a
            module whose ``forward(u=None)`` returns a distribution; it is trained with the flow.
        data: data (n, size) or (members, n, size), at whose means and standard deviations the last shift and scale
            start; by default 0 and 1.
        generator: source of the initial weights, one seed a member. The model is made on its device.

    Raises:
        TypeError: if ``generator`` is no Generator.
        ValueError: for a size or a number of layers that is too small, an unknown base, a prior of another size or
            number of members, or data that do not fit; on use, for rows of another size or number of members
            (TypeError: of another type).
    """

    stacked_buffers = ("directions",)

    def __init__(
        self,
        size: int,
        layers: int = 4,
        hidden: Sequence[int] = (24,),
        base: str | nn.Module = "normal",
        *,
        data: Tensor | None = None,
        generator: Generator,
    ) -> None:
        super().__init__()
        check_members(generator)
        if size < 2 or layers < 1:
            raise ValueError(f"size is {size} and layers is {layers}; expected at least 2 coordinates and 1 layer")
        if base not in ("normal", "uniform") and not isinstance(base, nn.Module):
            raise ValueError(f"base is {base!r}; expected 'normal', 'uniform' or a prior")
        self.size, self.base, self.kept = size, base if isinstance(base, str) else "prior", size // 2
        self.prior = self._checked(base, generator) if isinstance(base, nn.Module) else None
        self.register_buffer("directions", generator.normal(size, size))
        sizes = (self.kept, *hidden, 2 * (size - self.kept))
        self.networks = nn.ModuleList(MLP(sizes, activation="silu", generator=generator) for _ in range(layers))
        for network in self.networks:
            nn.init.zeros_(network.last.weight)
            nn.init.zeros_(network.last.bias)
        mean, deviation = _moments(data, generator, size)
        self.location, self.log_scale = nn.Parameter(mean), nn.Parameter(deviation.log())

    @property
    def members(self) -> int:
        """Number of members K."""
        return len(self.location)

    @property
    def rotation(self) -> Tensor:
        """The orthogonal matrix that every member applies to z first, (members, size, size)."""
        q, r = torch.linalg.qr(self.directions)
        return q * r.diagonal(dim1=-2, dim2=-1).sign()[:, None]  # with these signs uniform over all of them

    def forward(self, z: Tensor) -> Tensor:
        """The map f: z (n, size) shared or (members, n, size) -> x (members, n, size)."""
        h = self._rows("z", z) @ self.rotation
        for network in self.networks:
            kept, moved = h[..., : self.kept], h[..., self.kept :]
            stretch, shift = _amounts(network, kept)
            h = torch.cat([moved * stretch.exp() + shift, kept], dim=-1)
        return h * self.log_scale.exp() + self.location

    def inverse(self, x: Tensor) -> Tensor:
        """The inverse map: x (n, size) shared or (members, n, size) -> z (members, n, size), exact."""
        return self._inverse(x)[0]

    def log_prob(self, x: Tensor, u: Tensor | None = None) -> Tensor:
        """The exact log-density: x (n, size) or (members, n, size) -> (members, n), in nats.

        Args:
            x: where.
            u: auxiliary variable of every row, for a prior that depends on it; others do not look at it.
        """
        z, log_det = self._inverse(x)
        if self.prior is not None:
            return priors.log_prob(self.prior(u), z) + log_det
        return self._log_base(z).sum(-1) + log_det

    def jacobian(self, z: Tensor) -> Tensor:
        """The Jacobian of f: z (n, size) or (members, n, size) -> (members, n, size, size).

        The chain rule, layer by layer: several times faster than :func:`latentbook.jacobian.jacobian`, which gives the
        same, and so fit for training on it.
        """
        rotation = self.rotation
        h = self._rows("z", z) @ rotation
        tangents = rotation[:, :, None].expand(-1, -1, h.shape[1], -1)  # (members, latents, n, coordinates)
        for network in self.networks:
            (kept, moved), (dkept, dmoved) = ((v[..., : self.kept], v[..., self.kept :]) for v in (h, tangents))
            (stretch, dstretch), (shift, dshift) = _amounts_and_tangents(network, kept, dkept)
            scale = stretch.exp()
            h = torch.cat([moved * scale + shift, kept], dim=-1)
            dmoved = (dmoved + moved[:, None] * dstretch) * scale[:, None] + dshift
            tangents = torch.cat([dmoved, dkept], dim=-1)
        return (tangents * self.log_scale.exp()[:, None]).permute(0, 2, 3, 1)

    @torch.no_grad()
    def sample(self, n: int, generator: Generator, *, u: Tensor | None = None) -> Tensor:
        """Draws of x, (members, n, size).

        Args:
            n: draws of each member.
            generator: one seed per member.
            u: auxiliary variable of every draw, for a prior that depends on it.

        Raises:
            ValueError: if ``generator`` has not one seed per member, or u is missing or has not n rows.
        """
        check_members(generator, self.members)
        device, dtype = self.location.device, self.location.dtype
        generator = generator.to(device)
        if self.prior is not None:
            given = (None if u is None else u.to(device),) if getattr(self.prior, "conditional", False) else ()
            return self(self.prior.sample((n,), generator, *given))
        if self.base == "normal":
            return self(generator.normal(n, self.size, dtype=dtype))
        noise = generator.uniform(n, self.size, dtype=dtype).logit() * _SOFTNESS
        return self(generator.uniform(n, self.size, dtype=dtype) - 0.5 + noise)

    def _checked(self, prior: nn.Module, generator: Generator) -> nn.Module:
        """The prior on the generator's device, if its size and members fit."""
        check_stack(generator.members, base=prior)
        found = getattr(prior, "size", self.size)
        if found != self.size:
            raise ValueError(f"base has {found} latents; expected size = {self.size}")
        return prior.to(generator.device)

    def _rows(self, name: str, value: Tensor) -> Tensor:
        """``value`` itself if it is a valid input."""
        if value.shape[-1:] != (self.size,) or value.dim() < 2 or value.shape[:-2] not in ((), (self.members,)):
            expected = f"(n, {self.size}) or ({self.members}, n, {self.size})"
            raise ValueError(f"{name} has shape {tuple(value.shape)}; expected {expected}")
        if value.dtype != self.location.dtype:
            raise TypeError(f"{name} has dtype {value.dtype}; expected {self.location.dtype}, the model's own")
        return value

    def _inverse(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """z, and the log-determinant of the inverse map, (members, n)."""
        h = (self._rows("x", x) - self.location) * (-self.log_scale).exp()
        log_det = -self.log_scale.sum(-1)
        for network in reversed(self.networks):
            moved, kept = h[..., : -self.kept], h[..., -self.kept :]
            stretch, shift = _amounts(network, kept)
            h = torch.cat([kept, (moved - shift) * (-stretch).exp()], dim=-1)
            log_det = log_det - stretch.sum(-1)
        return h @ self.rotation.mT, log_det

    def _log_base(self, z: Tensor) -> Tensor:
        """Log-density of each latent alone."""
        if self.base == "normal":
            return -0.5 * (z.square() + math.log(2 * math.pi))
        # the difference of two logistic distribution functions, as a product; a factor of 1 - e^-50 is left out
        return logsigmoid((z + 0.5) / _SOFTNESS) + logsigmoid((0.5 - z) / _SOFTNESS)


def _amounts(network: MLP, kept: Tensor) -> tuple[Tensor, Tensor]:
    """By how much (in logarithms) a layer stretches what it moves, and shifts it."""
    stretch, shift = network(kept).chunk(2, dim=-1)
    return _MOST * torch.tanh(stretch / _MOST), shift


def _amounts_and_tangents(network: MLP, kept: Tensor, tangents: Tensor) -> tuple[tuple[Tensor, Tensor], ...]:
    """The same, each with its derivatives along ``tangents``, (members, latents, n, coordinates)."""
    h = kept
    for layer in network:
        if isinstance(layer, Linear):
            h = layer(h)
            tangents = (tangents.flatten(1, 2) @ layer.weight).unflatten(1, tangents.shape[1:3])
        else:  # SiLU
            gate = h.sigmoid()
            h = h * gate
            tangents = tangents * (gate + h * (1 - gate))[:, None]
    (stretch, shift), (dstretch, dshift) = h.chunk(2, dim=-1), tangents.chunk(2, dim=-1)
    bent = torch.tanh(stretch / _MOST)
    return (_MOST * bent, (1 - bent.square())[:, None] * dstretch), (shift, dshift)


def _moments(data: Tensor | None, generator: Generator, size: int) -> tuple[Tensor, Tensor]:
    """Means and standard deviations that every member starts from, each (members, 1, size)."""
    shape = (generator.members, 1, size)
    if data is None:
        return torch.zeros(shape, device=generator.device), torch.ones(shape, device=generator.device)
    if not isinstance(data, Tensor) or data.dim() not in (2, 3) or data.shape[-1] != size:
        found = tuple(data.shape) if isinstance(data, Tensor) else type(data).__name__
        raise ValueError(f"data is {found}; expected a tensor (n, {size}) or (members, n, {size})")
    if data.dim() == 3 and len(data) != generator.members:
        raise ValueError(f"data has {len(data)} members; expected {generator.members}, one per seed of generator")
    data = data.detach().to(generator.device, torch.get_default_dtype())
    mean, deviation = data.mean(-2, keepdim=True), data.std(-2, correction=0, keepdim=True)
    if not bool((mean.isfinite() & (deviation > 0) & deviation.isfinite()).all()):
        raise ValueError("data has a feature that is constant or not finite; expected finite data that vary")
    return mean.expand(shape).clone(), deviation.expand(shape).clone()
