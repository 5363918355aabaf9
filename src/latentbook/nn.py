"""Layers with a leading members axis: one module holds K independent networks.

Parameters are stacked, ``(members, in, out)``, and a layer is one batched matrix product. An input without a members
axis, ``(batch, in)``, is shared by all members. Initial values come from a :class:`~latentbook.random.Generator`, so
that a member starts from the same weights whatever the size of the stack.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from itertools import pairwise

import torch
from torch import Tensor, nn

from latentbook.random import Generator

Activation = str | Callable[[], nn.Module]
ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "silu": nn.SiLU,
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "softplus": nn.Softplus,
    "leaky_relu": lambda: nn.LeakyReLU(0.2),
    "identity": nn.Identity,
}


def activation_module(activation: Activation) -> nn.Module:
    """The activation of that name, or the result of calling ``activation``."""
    if callable(activation):
        return activation()
    if activation not in ACTIVATIONS:
        raise ValueError(f"activation is {activation!r}; expected one of {sorted(ACTIVATIONS)} or a callable")
    return ACTIVATIONS[activation]()


def uniform_parameter(generator: Generator, bound: float, *shape: int) -> nn.Parameter:
    """A parameter, ``(members, *shape)``, that starts uniform between minus and plus ``bound``."""
    return nn.Parameter((generator.uniform(*shape) * 2 - 1) * bound)


def per_member(value: Tensor, dimensions: int) -> Tensor:
    """A scalar or a (members,) tensor shaped to broadcast against a tensor of that many ``dimensions``."""
    return value if value.dim() == 0 else value.view(-1, *(1,) * (dimensions - 1))


_PRODUCTS: ContextVar[torch.dtype | None] = ContextVar("products", default=None)


@contextmanager
def products_in(dtype: torch.dtype | None) -> Iterator[None]:
    """Let networks multiply in ``dtype``, such as bfloat16, within a ``with`` block; None leaves them their own type.

    The products of the layers are in this type and what lies between two layers is too. Parameters, and what a network
    gives out, keep the parameters' type, so that everything outside networks is computed as before. So is a layer for
    which :func:`keep_exact` was called.
    """
    token = _PRODUCTS.set(dtype)
    try:
        yield
    finally:
        _PRODUCTS.reset(token)


def keep_exact(network: nn.Module) -> None:
    """Let the last layer of a network multiply in the parameters' own type, whatever :func:`products_in` says.

    It is for outputs of which a rounding would matter, such as means and log-variances.
    """
    layers = [part for part in network.modules() if isinstance(part, Layer)]
    if layers:
        layers[-1].exact = True


class Layer(nn.Module):
    """What layers with a weight and a bias share: the type that they multiply in."""

    def __init__(self) -> None:
        super().__init__()
        self.exact = False

    def factors(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Input, weight and bias in the type of the product.

        Raises:
            TypeError: if x has neither the parameters' type nor that of the products around.
        """
        own = self.weight.dtype
        around = _PRODUCTS.get() or own
        if x.dtype not in (own, around):
            raise TypeError(f"x has dtype {x.dtype}; expected {own}, the model's own")
        dtype = own if self.exact else around
        if x.dtype == own == dtype:
            return x, self.weight, self.bias
        shared = len(x) > 1 and x.stride(0) == 0  # convert what members share once
        x = x[:1].to(dtype).expand_as(x) if shared else x.to(dtype)
        return x, self.weight.to(dtype), self.bias.to(dtype)


class Linear(Layer):
    """K affine maps ``x W + b`` in one batched product.

    Args:
        inputs: size of the input.
        outputs: size of the output.
        generator: source of the initial weights, uniform in ``+-1/sqrt(inputs)`` as in ``torch.nn.Linear``.

    Shapes:
        (batch, inputs) shared, or (members, ..., inputs), to (members, ..., outputs).
    """

    def __init__(self, inputs: int, outputs: int, *, generator: Generator) -> None:
        super().__init__()
        for name, size in (("inputs", inputs), ("outputs", outputs)):
            if size < 1:
                raise ValueError(f"{name} is {size}; expected a positive size")
        bound = 1.0 / math.sqrt(inputs)
        self.weight = uniform_parameter(generator, bound, inputs, outputs)
        self.bias = uniform_parameter(generator, bound, 1, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """``x W + b``, (members, ..., outputs)."""
        members, inputs, outputs = self.weight.shape
        if x.shape[-1] != inputs or x.dim() < 2 or (x.dim() > 2 and x.shape[0] != members):
            raise ValueError(
                f"x has shape {tuple(x.shape)}; expected (batch, {inputs}) or ({members}, ..., {inputs}): "
                f"{members} member(s), {inputs} feature(s)"
            )
        x, weight, bias = self.factors(x)
        if x.dim() == 2:
            return torch.baddbmm(bias, x.expand(members, *x.shape), weight)
        if x.dim() == 3:
            return torch.baddbmm(bias, x, weight)
        flat = torch.baddbmm(bias, x.reshape(members, -1, inputs), weight)
        return flat.view(*x.shape[:-1], outputs)

    @property
    def width(self) -> int:
        """Numbers that the output of one data point takes."""
        return self.weight.shape[-1]

    def extra_repr(self) -> str:
        """Sizes and members, for printing."""
        members, inputs, outputs = self.weight.shape
        return f"{inputs} -> {outputs}, members={members}"


class MLP(nn.Sequential):
    """A stack of multilayer perceptrons: affine maps with an activation between them, none after the last.

    Args:
        sizes: layer sizes from input to output, at least two.
        activation: name in :data:`ACTIVATIONS`, or a callable that returns a module.
        generator: source of the initial weights; its seeds are the members.
    """

    def __init__(self, sizes: Sequence[int], *, activation: Activation = "silu", generator: Generator) -> None:
        if len(sizes) < 2:
            raise ValueError(f"sizes is {tuple(sizes)}; expected at least an input and an output size")
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(sizes):
            layers += [Linear(inputs, outputs, generator=generator), activation_module(activation)]
        super().__init__(*layers[:-1])

    def forward(self, x: Tensor) -> Tensor:
        """The output of the last layer, in the parameters' type."""
        return super().forward(x).to(self.last.weight.dtype)

    @property
    def last(self) -> Linear:
        """The output layer."""
        return self[-1]


class Affine(nn.Module):
    """A fixed map ``(x - shift) matrix`` (or ``* matrix`` for a vector), then ``+ offset``: whitening and scaling.

    None of it is trained.

    Args:
        shift: (features,), shared by the members; or (members, features), one map each.
        matrix: (..., features) or (..., features, outputs), with the leading axis of ``shift``.
        offset: (..., outputs), by default zero.

    Shapes:
        (..., features) to (..., outputs); with a map for each member, (batch, features) or (members, ..., features)
        to (members, ..., outputs).
    """

    def __init__(self, shift: Tensor, matrix: Tensor, offset: Tensor | None = None) -> None:
        super().__init__()
        self.register_buffer("shift", shift)
        self.register_buffer("matrix", matrix)
        self.register_buffer("offset", torch.zeros_like(shift) if offset is None else offset)

    @property
    def stacked_buffers(self) -> tuple[str, ...]:
        """The buffers that carry a members axis, for :func:`select`."""
        return ("shift", "matrix", "offset") if self.shift.dim() == 2 else ()

    def forward(self, x: Tensor) -> Tensor:
        """The map applied to the last axis."""
        features = self.shift.shape[-1]
        members = len(self.shift) if self.shift.dim() == 2 else None
        if x.shape[-1] != features or (members is not None and x.dim() > 2 and len(x) != members):
            expected = f"(..., {features})" if members is None else f"(n, {features}) or ({members}, ..., {features})"
            raise ValueError(f"x has shape {tuple(x.shape)}; expected {expected}")
        if x.dtype != self.shift.dtype:
            raise TypeError(f"x has dtype {x.dtype}; expected {self.shift.dtype}, the model's own")
        rows = (1,) * max(1, x.dim() - 2)

        def aligned(part: Tensor) -> Tensor:
            return part if members is None else part.view(members, *rows, *part.shape[1:])

        centred, diagonal = x - aligned(self.shift), self.matrix.dim() == self.shift.dim()
        if diagonal:
            return centred * aligned(self.matrix) + aligned(self.offset)
        matrix = self.matrix if members is None else self.matrix.view(members, *rows[1:], *self.matrix.shape[1:])
        return centred @ matrix + aligned(self.offset)

    @classmethod
    def whiten(cls, x: Tensor, *, method: str = "zca", floor: float = 1e-6) -> Affine:
        """The map that gives data ``x`` zero mean and unit covariance.

        Args:
            x: data, (n, features); or (members, n, features), for a map of its own for each member.
            method: "zca" (symmetric, stays closest to the data) or "standardise" (unit variances only).
            floor: variances below this share of the largest count as this share, so that constant features
                stay small instead of being blown up.

        Raises:
            ValueError: for an unknown method or data without variance.
        """
        if method not in ("zca", "standardise"):
            raise ValueError(f"method is {method!r}; expected 'zca' or 'standardise'")
        mean, centred = x.mean(-2), (x - x.mean(-2, keepdim=True)).double()
        if method == "standardise":
            variance = centred.square().mean(-2)
        else:
            variance, axes = torch.linalg.eigh(centred.mT @ centred / x.shape[-2])
        largest = variance.amax(-1, keepdim=True)
        if not bool((largest > 0).all()):
            raise ValueError("x is constant; expected data with some variance")
        scale = variance.maximum(floor * largest).rsqrt()
        matrix = scale if method == "standardise" else (axes * scale[..., None, :]) @ axes.mT
        return cls(mean, matrix.to(x.dtype))

    @classmethod
    def rescale(cls, x: Tensor) -> Affine:
        """The map from a network's output of order one to the data's mean and overall standard deviation.

        One common scale, the root mean variance of the features, so that the geometry of the data is unchanged. Data
        are (n, features), or (members, n, features) for a map of its own for each member.
        """
        mean, scale = x.mean(-2), x.var(-2, correction=0).mean(-1, keepdim=True).sqrt()
        return cls(torch.zeros_like(mean), scale.expand_as(mean).clone(), mean)


def widest(module: nn.Module) -> int:
    """The most numbers that a layer within ``module`` gives out for one data point and member; 1 where none tells."""
    return max(getattr(part, "width", 1) for part in module.modules())


def stack_size(module: nn.Module) -> int | None:
    """Members of a stacked module by its parameters, else by its buffers; None where nothing has a members axis."""
    for parameter in module.parameters():
        return len(parameter)
    stacked = (getattr(part, name) for part in module.modules() for name in getattr(part, "stacked_buffers", ()))
    return next((len(buffer) for buffer in stacked), None)


def _as_index(members: Sequence[int] | Sequence[bool] | Tensor, size: int | None) -> Tensor:
    """Indices or a mask as indices, after checking them against the ``size`` of the stack."""
    index = torch.as_tensor(members)
    whole = not (index.is_floating_point() or index.is_complex())
    if index.dim() != 1 or not len(index) or not whole:
        raise ValueError(f"members is {members!r}; expected a list of indices, or of truth values, that is not empty")
    if index.dtype == torch.bool:
        if size is not None and len(index) != size:
            raise ValueError(f"members has {len(index)} truth values; expected {size}, one per member")
        index = index.nonzero().flatten()
        if not len(index):
            raise ValueError(f"members is {members!r}; expected at least one that is True")
    if size is not None and not bool(((index >= 0) & (index < size)).all()):
        raise ValueError(f"members is {index.tolist()}; expected indices from 0 to {size - 1}")
    return index


def select(module: nn.Module, members: Sequence[int] | Sequence[bool] | Tensor) -> nn.Module:
    """A copy of a stacked module with only the given members.

    Parameters carry a members axis. So do those buffers that a module names in ``stacked_buffers``.

    Args:
        module: K members.
        members: their indices, 0 to K - 1, in the order wanted; or K truth values.

    Raises:
        ValueError: if ``members`` is no such list, chooses nothing, or does not fit the stack.

    Example:
        ``select(model, history.alive)`` drops the members that diverged.
    """
    index = _as_index(members, stack_size(module))
    chosen = copy.deepcopy(module)
    for part in chosen.modules():
        for name, parameter in list(part.named_parameters(recurse=False)):
            kept = parameter.detach()[index.to(parameter.device)].clone()
            setattr(part, name, nn.Parameter(kept, parameter.requires_grad))
        for name in getattr(part, "stacked_buffers", ()):
            buffer = getattr(part, name)
            setattr(part, name, buffer[index.to(buffer.device)].clone())
    return chosen
