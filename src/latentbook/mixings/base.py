"""What all mixings share: a smooth, invertible, row-wise map, its Jacobian and the density it carries."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from latentbook import jacobian as differential
from latentbook.mixings.sources import Source, source_distribution


class Stackable(nn.Module):
    """Tensors that are given once, or stacked along a leading members axis."""

    def __init__(self) -> None:
        super().__init__()
        self._stacked: tuple[str, ...] = ()  # names of what has a members axis

    @property
    def members(self) -> int | None:
        """Number of stacked maps, or None for a single one."""
        parts = (part for part in self.modules() if isinstance(part, Stackable))
        return max((len(getattr(part, name)) for part in parts for name in part._stacked), default=None)

    @property
    def stacked_buffers(self) -> tuple[str, ...]:
        """The buffers that carry a members axis, for :func:`latentbook.nn.select`; one member goes with any number."""
        return tuple(name for name in self._stacked if len(self._buffers.get(name, ())) > 1)

    def _hold(self, name: str, value: object, dimensions: int) -> Tensor:
        """Keep ``value``, of so many dimensions or one more for members, as a parameter or a buffer of that name."""
        try:
            tensor = value if isinstance(value, Tensor) else torch.as_tensor(value, dtype=torch.float64)
        except (TypeError, ValueError, RuntimeError) as error:
            raise ValueError(f"{name} is {value!r}; expected numbers") from error
        if not tensor.is_floating_point() or tensor.dim() not in (dimensions, dimensions + 1):
            kind = f"{tensor.dtype} {tuple(tensor.shape)}"
            raise ValueError(f"{name} is {kind}; expected floating point with {dimensions} axes, or members in front")
        if not bool(torch.isfinite(tensor).all()):
            raise ValueError(f"{name} holds NaN or infinity; expected finite numbers only")
        if tensor.dim() > dimensions:
            self._check_members(name, len(tensor))
            self._stacked += (name,)
        if isinstance(tensor, nn.Parameter):
            self.register_parameter(name, tensor)
        else:
            self.register_buffer(name, tensor)
        return tensor

    def _check_members(self, name: str, members: int | None) -> None:
        """Raise unless a number of members agrees with what is held; one member goes with any number."""
        if members not in (None, 1) and self.members not in (None, 1, members):
            raise ValueError(f"{name} has {members} members; expected {self.members}, as the others have")


class Mixing(Stackable):
    """An invertible map from sources to observations, row by row: ``x = f(s)``.

    A mixing is a module whose parameters are given once, or stacked along a leading members axis. Then sources are
    (members, n, size), or (n, size) shared by all members; without members any leading axes will do. All rows are
    mapped at once: there is no need for ``torch.func.vmap``, under which the checks of the values cannot run.

    Parameters follow the type and device of their input. One given as ``nn.Parameter`` can be trained; all others are
    buffers.

    Attributes:
        size: number of sources and of observed features; None where the map takes any number.
    """

    size: int | None = None

    def forward(self, s: Tensor) -> Tensor:
        """Observations x, in the shape of ``s`` (with the members axis in front where the parameters have one)."""
        raise NotImplementedError

    def inverse(self, x: Tensor) -> Tensor:
        """The sources s that ``x`` comes from."""
        raise NotImplementedError

    def jacobian(self, s: Tensor) -> Tensor:
        """J at every row of ``s``, (..., size, size)."""
        return differential.jacobian(self.forward, self._rows("s", s))

    def log_abs_det(self, s: Tensor) -> Tensor:
        """log|det J| at every row of ``s``, (...)."""
        return differential.log_abs_det(self.jacobian(s))

    def log_prob(self, x: Tensor, source: Source = "normal") -> Tensor:
        r"""Log-density of noise-free observations whose sources are independent, (...), in nats.

        .. math:: \log p(x) = \sum_k \log p(s_k) - \log|\det J_f(s)|, \qquad s = f^{-1}(x)

        Args:
            x: observations, (..., size).
            source: law of every source: "normal", "uniform" (on -1/2 to 1/2), "laplace" (unit variance), or a
                distribution of one number.
        """
        s = self.inverse(x)
        return source_distribution(source).log_prob(s).to(s).sum(-1) - self.log_abs_det(s)

    def _rows(self, name: str, value: Tensor) -> Tensor:
        """``value`` after checking it, with a members axis where the map has one."""
        members = self.members
        fits = isinstance(value, Tensor) and value.is_floating_point() and value.dim() >= 1
        if fits and members is not None:
            fits = value.dim() == 2 or (value.dim() == 3 and (members == 1 or len(value) in (1, members)))
        if not fits or self.size not in (None, value.shape[-1]):
            kind = f"{value.dtype} {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
            size = "d" if self.size is None else self.size
            expected = f"(..., {size})" if members is None else f"(n, {size}) or ({members}, n, {size})"
            raise ValueError(f"{name} is {kind}; expected floating point {expected}")
        if members is None or (value.dim() == 3 and members == 1):
            return value
        return value.expand(members, *value.shape[-2:])

    def _row(self, name: str, like: Tensor) -> Tensor:
        """A held vector, of the type of ``like`` and shaped to broadcast against its rows."""
        vector = getattr(self, name).to(like)
        return vector[:, None] if vector.dim() == 2 else vector


class Elementwise(Mixing):
    """A mixing that maps every source by itself with one increasing function."""

    def _slope(self, s: Tensor) -> Tensor:
        s = self._rows("s", s).contiguous()
        return torch.func.jvp(self.forward, (s,), (torch.ones_like(s),))[1]

    def jacobian(self, s: Tensor) -> Tensor:
        """The diagonal J, (..., d, d)."""
        return torch.diag_embed(self._slope(s))

    def log_abs_det(self, s: Tensor) -> Tensor:
        """Sum of the logarithms of the slopes, (...)."""
        return self._slope(s).log().sum(-1)


class Inverse(Mixing):
    """A mixing turned round: its ``forward`` is the other's ``inverse``."""

    def __init__(self, mixing: Mixing) -> None:
        super().__init__()
        self.mixing, self.size = mixing, mixing.size

    def forward(self, s: Tensor) -> Tensor:
        """The other's inverse."""
        return self.mixing.inverse(self._rows("s", s))

    def inverse(self, x: Tensor) -> Tensor:
        """The other's forward."""
        return self.mixing(self._rows("x", x))

    def log_abs_det(self, s: Tensor) -> Tensor:
        """log|det J|, (...)."""
        return -self.mixing.log_abs_det(self.forward(s))


class Compose(Mixing):
    """Mixings one after the other, the first one first.

    Args:
        parts: mixings, at least one.

    Raises:
        ValueError: if there is none, or their sizes or numbers of members differ.

    Example:
        The family ``Moebius(Phi(R u) - 1/2)``, with standard normal latents u and a rotation R to be learned, is
        ``Compose(Rotation(angle), FromNormal("uniform"), moebius)``. Its density of x is the same for every angle.
    """

    def __init__(self, *parts: Mixing) -> None:
        super().__init__()
        if not parts:
            raise ValueError("parts is empty; expected at least one mixing")
        self.parts = nn.ModuleList()
        for i, part in enumerate(parts):
            if part.size is not None:
                if self.size not in (None, part.size):
                    raise ValueError(f"part {i} takes {part.size} sources; expected {self.size}, as those before it")
                self.size = part.size
            self._check_members(f"part {i}", part.members)
            self.parts.append(part)

    def forward(self, s: Tensor) -> Tensor:
        """All parts in turn."""
        s = self._rows("s", s)
        for part in self.parts:
            s = part(s)
        return s

    def inverse(self, x: Tensor) -> Tensor:
        """All inverses in reverse order."""
        x = self._rows("x", x)
        for part in reversed(self.parts):
            x = part.inverse(x)
        return x

    def jacobian(self, s: Tensor) -> Tensor:
        """The product of the parts' Jacobians, (..., size, size)."""
        s, product = self._rows("s", s), None
        for part in self.parts:
            J = part.jacobian(s)
            product = J if product is None else J @ product
            s = part(s)
        return product

    def log_abs_det(self, s: Tensor) -> Tensor:
        """The sum over the parts, (...)."""
        s, total = self._rows("s", s), 0.0
        for part in self.parts:
            total = total + part.log_abs_det(s)
            s = part(s)
        return total
