"""Convolutions with a leading members axis, and the encoder and decoder of images made of them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from latentbook.nn import MLP, Activation, Layer, Linear, activation_module, uniform_parameter
from latentbook.random import Generator


class _Convolution(Layer):
    """K convolutions as one grouped convolution; the members become channel groups."""

    def __init__(self, inputs: int, outputs: int, *, kernel: int, stride: int, padding: int, generator: Generator):
        super().__init__()
        bound = 1.0 / math.sqrt(inputs * kernel**2)
        self.weight = uniform_parameter(generator, bound, *self._weight_shape(inputs, outputs), kernel, kernel)
        self.bias = uniform_parameter(generator, bound, outputs)
        self.stride, self.padding = stride, padding

    def forward(self, x: Tensor) -> Tensor:
        """(members, batch, channels, height, width) to the same with new channels and size."""
        members, channels = len(self.weight), self.inputs
        if x.dim() != 5 or x.shape[0] != members or x.shape[2] != channels:
            raise ValueError(f"x has shape {tuple(x.shape)}; expected ({members}, batch, {channels}, height, width)")
        x, weight, bias = self.factors(x)
        stacked = x.transpose(0, 1).flatten(1, 2)
        if x.device.type == "cpu":
            stacked = stacked.contiguous(memory_format=torch.channels_last)  # a fifth to two fifths faster there
        options = {"stride": self.stride, "padding": self.padding, "groups": members}
        out = self._convolve(stacked, weight.flatten(0, 1), bias.flatten(), **options)
        return out.unflatten(1, (members, -1)).transpose(0, 1)


class Conv2d(_Convolution):
    """K two-dimensional convolutions."""

    _convolve = staticmethod(functional.conv2d)

    @staticmethod
    def _weight_shape(inputs: int, outputs: int) -> tuple[int, int]:
        return outputs, inputs

    @property
    def inputs(self) -> int:
        """Channels of the input."""
        return self.weight.shape[2]


class ConvTranspose2d(_Convolution):
    """K two-dimensional transposed convolutions."""

    _convolve = staticmethod(functional.conv_transpose2d)

    @staticmethod
    def _weight_shape(inputs: int, outputs: int) -> tuple[int, int]:
        return inputs, outputs

    @property
    def inputs(self) -> int:
        """Channels of the input."""
        return self.weight.shape[1]


def _feature_size(image_shape: Sequence[int], channels: Sequence[int]) -> tuple[int, int]:
    """Height and width of the smallest feature maps, after checking the sizes."""
    if len(image_shape) != 3 or min(image_shape) < 1:
        raise ValueError(f"image_shape is {tuple(image_shape)}; expected positive (channels, height, width)")
    if not len(channels) or min(channels) < 1:
        raise ValueError(f"channels is {tuple(channels)}; expected a positive number for each of at least one layer")
    layers = len(channels)
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
        height, width = _feature_size(image_shape, channels)
        self.image_shape = tuple(image_shape)
        area = math.prod(image_shape[1:])
        self.width = max(c * area // 4**i for i, c in enumerate((image_shape[0], *channels)))
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
        members, pixels = len(self.last.weight), math.prod(self.image_shape)
        if x.dim() not in (2, 3) or x.shape[-1] != pixels or (x.dim() == 3 and x.shape[0] != members):
            raise ValueError(
                f"x has shape {tuple(x.shape)}; expected (batch, {pixels}) or ({members}, batch, {pixels}): "
                f"{members} member(s), {pixels} pixels of images {self.image_shape}"
            )
        x = x.expand(members, *x.shape) if x.dim() == 2 else x
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
        height, width = _feature_size(image_shape, channels)
        self.feature_shape = (channels[0], height, width)
        self.width = max(c * height * width * 4**i for i, c in enumerate((*channels, image_shape[0])))
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
        images = self.convolutions(features.reshape(members, -1, *self.feature_shape)).to(features.dtype)
        return images.flatten(2).reshape(*features.shape[:-1], -1)
