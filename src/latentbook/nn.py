"""Layers with a leading members axis: one module holds K independent networks.

Parameters are stacked, ``(members, in, out)``, and a layer is one batched matrix product. An input without a members
axis, ``(batch, in)``, is shared by all members. Initial values come from a :class:`~latentbook.random.Generator`, so
that a member starts from the same weights whatever the size of the stack.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

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


def _uniform(generator: Generator, bound: float, *shape: int) -> nn.Parameter:
    return nn.Parameter((generator.uniform(*shape) * 2 - 1) * bound)


class Knob(nn.Module):
    """A number that steers training (``beta``, ``gamma2``): fixed or learned, one for all members or one each.

    Calling a knob returns ``value * multiplier``. Schedules (:class:`~latentbook.training.Ramp`) move the multiplier;
    ``fit`` finds a knob by the name of the attribute that holds it.

    Args:
        value: positive number, or a tensor (members,).
        members: give every member its own copy of a common ``value``; needed for a learned one.
        learned: optimise the logarithm of the value together with the other parameters.
        name: what error messages call it.
        minimum: smallest admissible value; itself admissible.

    Raises:
        ValueError: if a value is not finite, is below ``minimum``, or does not fit ``members``.
    """

    def __init__(
        self,
        value: float | Sequence[float] | Tensor,
        *,
        members: int | None = None,
        learned: bool = False,
        name: str = "value",
        minimum: float = 0.0,
    ) -> None:
        super().__init__()
        tensor = torch.as_tensor(value, dtype=torch.get_default_dtype()).detach().clone()
        if tensor.dim() > 1 or (members is not None and tensor.dim() == 1 and len(tensor) != members):
            raise ValueError(f"{name} has shape {tuple(tensor.shape)}; expected one number or {members or 'members'}")
        if not bool(torch.isfinite(tensor).all() and (tensor >= minimum).all()):
            raise ValueError(f"{name} is {value}; expected finite values of at least {minimum:g}")
        if learned and not bool((tensor > 0).all()):
            raise ValueError(f"{name} is {value}; expected positive values, since its logarithm is learned")
        if members is not None:
            tensor = tensor.expand(members).clone()
        self.learned = learned
        if learned:
            if members is None and tensor.dim() == 0:
                raise ValueError(f"members is None; expected the number of members, since {name} is learned")
            self.log_value = nn.Parameter(tensor.log())
        else:
            self.register_buffer("value", tensor)
        self.register_buffer("multiplier", torch.ones_like(tensor))
        self.scheduled = False

    @property
    def members(self) -> int | None:
        """Number of members, None where one value serves all."""
        return None if self.multiplier.dim() == 0 else len(self.multiplier)

    def base(self) -> Tensor:
        """The value before the multiplier, () or (members,)."""
        return self.log_value.exp() if self.learned else self.value

    def forward(self) -> Tensor:
        """The value in force, () or (members,)."""
        return self.base() * self.multiplier if self.scheduled else self.base()


def per_member(value: Tensor, dimensions: int) -> Tensor:
    """A scalar or a (members,) tensor shaped to broadcast against a tensor of that many ``dimensions``."""
    return value if value.dim() == 0 else value.view(-1, *(1,) * (dimensions - 1))


class Linear(nn.Module):
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
        self.weight = _uniform(generator, bound, inputs, outputs)
        self.bias = _uniform(generator, bound, 1, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """``x W + b``, (members, ..., outputs)."""
        members, inputs, outputs = self.weight.shape
        if x.shape[-1] != inputs or x.dim() < 2 or (x.dim() > 2 and x.shape[0] != members):
            raise ValueError(
                f"x has shape {tuple(x.shape)}; expected (batch, {inputs}) or ({members}, ..., {inputs}): "
                f"{members} member(s), {inputs} feature(s)"
            )
        if x.dtype != self.weight.dtype:
            raise TypeError(f"x has dtype {x.dtype}; expected {self.weight.dtype}, the model's own")
        if x.dim() == 2:
            return torch.baddbmm(self.bias, x.expand(members, *x.shape), self.weight)
        if x.dim() == 3:
            return torch.baddbmm(self.bias, x, self.weight)
        flat = torch.baddbmm(self.bias, x.reshape(members, -1, inputs), self.weight)
        return flat.view(*x.shape[:-1], outputs)

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

    @property
    def last(self) -> Linear:
        """The output layer."""
        return self[-1]


class _Convolution(nn.Module):
    """K convolutions as one grouped convolution; the members become channel groups."""

    def __init__(self, inputs: int, outputs: int, *, kernel: int, stride: int, padding: int, generator: Generator):
        super().__init__()
        bound = 1.0 / math.sqrt(inputs * kernel**2)
        self.weight = _uniform(generator, bound, *self._weight_shape(inputs, outputs), kernel, kernel)
        self.bias = _uniform(generator, bound, outputs)
        self.stride, self.padding = stride, padding

    def forward(self, x: Tensor) -> Tensor:
        """(members, batch, channels, height, width) to the same with new channels and size."""
        members, batch = x.shape[:2]
        stacked = x.transpose(0, 1).reshape(batch, members * x.shape[2], *x.shape[3:])
        out = self._apply_stacked(stacked, members)
        return out.view(batch, members, -1, *out.shape[2:]).transpose(0, 1)


class Conv2d(_Convolution):
    """K two-dimensional convolutions."""

    @staticmethod
    def _weight_shape(inputs: int, outputs: int) -> tuple[int, int]:
        return outputs, inputs

    def _apply_stacked(self, x: Tensor, members: int) -> Tensor:
        return functional.conv2d(
            x, self.weight.flatten(0, 1), self.bias.flatten(), self.stride, self.padding, groups=members
        )


class ConvTranspose2d(_Convolution):
    """K two-dimensional transposed convolutions."""

    @staticmethod
    def _weight_shape(inputs: int, outputs: int) -> tuple[int, int]:
        return inputs, outputs

    def _apply_stacked(self, x: Tensor, members: int) -> Tensor:
        return functional.conv_transpose2d(
            x, self.weight.flatten(0, 1), self.bias.flatten(), self.stride, self.padding, groups=members
        )


def _feature_size(image_shape: tuple[int, ...], layers: int) -> tuple[int, int]:
    if len(image_shape) != 3:
        raise ValueError(f"image_shape is {tuple(image_shape)}; expected (channels, height, width)")
    if any(side % 2**layers for side in image_shape[1:]):
        raise ValueError(f"image_shape is {tuple(image_shape)}; expected sides divisible by {2**layers}")
    return image_shape[1] // 2**layers, image_shape[2] // 2**layers


class ConvEncoder(nn.Module):
    """Strided 4 x 4 convolutions, each halving the image, then an MLP.

    The defaults are those of the usual disentanglement studies on 64 x 64 images: four convolutions of 32 channels and
    two hidden layers of 256 units.

    Args:
        image_shape: (channels, height, width).
        outputs: size of the output.
        channels: channels of each convolution.
        hidden: hidden units of the MLP.

    Shapes:
        (batch, pixels) or (members, batch, pixels), images flattened, to (members, batch, outputs).
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        outputs: int,
        *,
        channels: Sequence[int] = (32, 32, 32, 32),
        hidden: Sequence[int] = (256, 256),
        activation: Activation = "relu",
        generator: Generator,
    ) -> None:
        super().__init__()
        height, width = _feature_size(image_shape, len(channels))
        self.image_shape, self.members = tuple(image_shape), generator.members
        layers: list[nn.Module] = []
        for inner, outer in zip((image_shape[0], *channels[:-1]), channels, strict=True):
            layers.append(Conv2d(inner, outer, kernel=4, stride=2, padding=1, generator=generator))
            layers.append(activation_module(activation))
        self.convolutions = nn.Sequential(*layers)
        sizes = (channels[-1] * height * width, *hidden, outputs)
        self.mlp = MLP(sizes, activation=activation, generator=generator)

    @property
    def last(self) -> Linear:
        """The output layer."""
        return self.mlp.last

    def forward(self, x: Tensor) -> Tensor:
        """Images to outputs, (members, batch, outputs)."""
        x = x.expand(self.members, *x.shape) if x.dim() == 2 else x
        return self.mlp(self.convolutions(x.reshape(*x.shape[:2], *self.image_shape)).flatten(2))


class ConvDecoder(nn.Module):
    """The mirror image of :class:`ConvEncoder`: an MLP, then transposed convolutions that double the image.

    Shapes:
        (members, ..., inputs) to (members, ..., pixels), images flattened.
    """

    def __init__(
        self,
        inputs: int,
        image_shape: tuple[int, int, int],
        *,
        channels: Sequence[int] = (32, 32, 32, 32),
        hidden: Sequence[int] = (256, 256),
        activation: Activation = "relu",
        generator: Generator,
    ) -> None:
        super().__init__()
        height, width = _feature_size(image_shape, len(channels))
        self.feature_shape = (channels[0], height, width)
        self.mlp = MLP((inputs, *hidden, channels[0] * height * width), activation=activation, generator=generator)
        layers: list[nn.Module] = []
        for inner, outer in zip(channels, (*channels[1:], image_shape[0]), strict=True):
            layers.append(activation_module(activation))
            layers.append(ConvTranspose2d(inner, outer, kernel=4, stride=2, padding=1, generator=generator))
        self.convolutions = nn.Sequential(*layers)

    def forward(self, z: Tensor) -> Tensor:
        """Codes to images, (members, ..., pixels)."""
        features = self.mlp(z)
        members = features.shape[0]
        images = self.convolutions(features.reshape(members, -1, *self.feature_shape))
        return images.flatten(2).reshape(*features.shape[:-1], -1)


class Affine(nn.Module):
    """A fixed map ``(x - shift) matrix`` (or ``* matrix`` for a vector), then ``+ offset``: whitening and scaling.

    None of it is trained. Buffers carry no members axis: data are shared by the members.
    """

    def __init__(self, shift: Tensor, matrix: Tensor, offset: Tensor | None = None) -> None:
        super().__init__()
        self.register_buffer("shift", shift)
        self.register_buffer("matrix", matrix)
        self.register_buffer("offset", torch.zeros_like(shift) if offset is None else offset)

    def forward(self, x: Tensor) -> Tensor:
        """The map applied to the last axis."""
        if x.shape[-1] != len(self.shift):
            raise ValueError(f"x has shape {tuple(x.shape)}; expected (..., {len(self.shift)})")
        centred = x - self.shift
        return (centred * self.matrix if self.matrix.dim() == 1 else centred @ self.matrix) + self.offset

    @classmethod
    def whiten(cls, x: Tensor, *, method: str = "zca", floor: float = 1e-6) -> Affine:
        """The map that gives data ``x`` (n, features) zero mean and unit covariance.

        Args:
            x: data, (n, features).
            method: "zca" (symmetric, stays closest to the data) or "standardise" (unit variances only).
            floor: variances below this share of the largest count as this share, so that constant features
                stay small instead of being blown up.

        Raises:
            ValueError: for an unknown method or data without variance.
        """
        if method not in ("zca", "standardise"):
            raise ValueError(f"method is {method!r}; expected 'zca' or 'standardise'")
        mean, centred = x.mean(0), (x - x.mean(0)).double()
        if method == "standardise":
            variance = centred.square().mean(0)
        else:
            variance, axes = torch.linalg.eigh(centred.T @ centred / len(x))
        if not float(variance.max()) > 0:
            raise ValueError("x is constant; expected data with some variance")
        scale = variance.clamp(min=floor * float(variance.max())).rsqrt()
        matrix = scale if method == "standardise" else (axes * scale) @ axes.T
        return cls(mean, matrix.to(x.dtype))

    @classmethod
    def rescale(cls, x: Tensor) -> Affine:
        """The map from a network's output of order one to the data's mean and overall standard deviation.

        One common scale, the root mean variance of the features, so that the geometry of the data is unchanged.
        """
        mean, scale = x.mean(0), x.var(0, correction=0).mean().sqrt()
        return cls(torch.zeros_like(mean), scale.expand_as(mean).clone(), mean)


def select(module: nn.Module, members: Sequence[int] | Tensor) -> nn.Module:
    """A copy of a stacked module with only the given members (indices, or a boolean mask).

    Example:
        ``select(model, history.alive)`` drops the members that diverged.
    """
    index = torch.as_tensor(members)
    index = index.nonzero().flatten() if index.dtype == torch.bool else index
    chosen = copy.deepcopy(module)
    for part in chosen.modules():
        for name, parameter in list(part.named_parameters(recurse=False)):
            setattr(part, name, nn.Parameter(parameter.detach()[index].clone(), parameter.requires_grad))
        if isinstance(part, Knob) and part.members is not None:
            for name, buffer in list(part.named_buffers(recurse=False)):
                part.register_buffer(name, buffer[index].clone())
        if isinstance(getattr(part, "members", None), int) and "members" in part.__dict__:
            part.members = len(index)
    return chosen
