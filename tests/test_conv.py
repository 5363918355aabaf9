"""Stacked convolutions against torch's own, member by member."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from latentbook.conv import Conv2d, ConvDecoder, ConvEncoder, ConvTranspose2d
from latentbook.nn import select, widest
from latentbook.random import Generator

SEEDS = (4, 8, 15)


def generator() -> Generator:
    return Generator(SEEDS)


def data(*shape: int) -> torch.Tensor:
    return Generator(99).normal(*shape)[0]


def encoder(**options) -> ConvEncoder:
    return ConvEncoder((1, 16, 16), 6, **{"channels": (4, 8), "hidden": (10,), "generator": generator()} | options)


def decoder(**options) -> ConvDecoder:
    return ConvDecoder(3, (1, 16, 16), **{"channels": (8, 4), "hidden": (10,), "generator": generator()} | options)


@pytest.mark.parametrize(
    ("ours", "theirs"), [(Conv2d, functional.conv2d), (ConvTranspose2d, functional.conv_transpose2d)]
)
def test_convolutions_against_torch(ours, theirs):
    layer, x = ours(2, 5, kernel=4, stride=2, padding=1, generator=generator()), data(3, 6, 2, 8, 8)
    for k in range(3):
        expected = theirs(x[k], layer.weight[k], layer.bias[k], 2, 1)
        assert torch.allclose(layer(x)[k], expected, atol=1e-5)


def test_the_convolutional_pair_halves_and_doubles():
    assert encoder()(data(5, 256)).shape == (3, 5, 6)
    assert decoder()(data(3, 2, 5, 3)).shape == (3, 2, 5, 256)
    alone = encoder(generator=Generator(SEEDS[2]))
    assert torch.allclose(encoder()(data(5, 256))[2], alone(data(5, 256))[0], atol=1e-5)
    assert torch.allclose(select(encoder(), [2])(data(5, 256))[0], encoder()(data(5, 256))[2], atol=1e-5)


def test_the_widest_layer():
    assert widest(encoder()) == 4 * 8 * 8
    assert widest(decoder()) == 4 * 8 * 8
    assert widest(decoder(channels=(64, 1))) == 64 * 4 * 4
    assert widest(decoder(hidden=(5000,))) == 5000


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ConvEncoder((1, 10, 10), 4, channels=(2, 2), generator=generator()), "divisible by 4"),
        (lambda: ConvEncoder((10, 10), 4, channels=(2, 2), generator=generator()), "image_shape"),
        (lambda: encoder(channels=()), r"channels is \(\)"),
        (lambda: decoder(channels=(4, 0)), r"channels is \(4, 0\)"),
        (lambda: encoder()(data(5, 255)), r"x has shape \(5, 255\); expected \(batch, 256\)"),
        (lambda: encoder()(data(2, 5, 256)), r"x has shape \(2, 5, 256\); expected .*3 member"),
        (lambda: encoder()(data(5, 1, 16, 16)), r"x has shape \(5, 1, 16, 16\)"),
        (lambda: decoder()(data(3, 5, 4)), r"x has shape \(3, 5, 4\); expected"),
        (lambda: encoder().convolutions[0](data(2, 5, 1, 16, 16)), r"x has shape \(2, 5, 1, 16, 16\); expected \(3"),
        (lambda: encoder().convolutions[0](data(3, 5, 2, 16, 16)), r"x has shape .*; expected \(3, batch, 1,"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("network", [lambda: encoder()(data(5, 256).double()), lambda: decoder()(data(3, 5, 3).half())])
def test_wrong_dtype(network):
    with pytest.raises(TypeError, match=r"x has dtype .*; expected torch\.float32"):
        network()


@pytest.mark.gpu
def test_cuda_agrees():
    x, z = data(5, 256), data(3, 5, 3)
    for network, value in ((encoder(), x), (decoder(), z)):
        expected = network(value)
        assert torch.allclose(network.cuda()(value.cuda()).cpu(), expected, atol=1e-3)
