"""Stacked layers against torch's own, member by member."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from latentbook.nn import MLP, Affine, Conv2d, ConvDecoder, ConvEncoder, ConvTranspose2d, Knob, Linear, select
from latentbook.random import Generator

SEEDS = (4, 8, 15)


def generator() -> Generator:
    return Generator(SEEDS)


def data(*shape: int) -> torch.Tensor:
    return Generator(99).normal(*shape)[0]


def test_linear_is_one_affine_map_a_member():
    layer, x = Linear(3, 5, generator=generator()), data(7, 3)
    for k in range(3):
        assert torch.allclose(layer(x)[k], functional.linear(x, layer.weight[k].T, layer.bias[k, 0]), atol=1e-6)
    stacked = data(3, 2, 7, 3)
    assert torch.allclose(layer(stacked)[1, 0], layer(stacked[:, 0])[1], atol=1e-6)


@pytest.mark.parametrize("inputs", [1, 10, 100])
def test_linear_starts_as_torch_does(inputs):
    layer = Linear(inputs, 2000, generator=generator())
    reference = nn.Linear(inputs, 2000)
    for ours, theirs in ((layer.weight, reference.weight), (layer.bias, reference.bias)):
        assert ours.abs().max().item() <= inputs**-0.5
        assert ours.std().item() == pytest.approx(theirs.std().item(), rel=0.1)


def test_a_member_starts_the_same_alone_and_in_a_stack():
    stack, alone = MLP((3, 8, 2), generator=generator()), MLP((3, 8, 2), generator=Generator(SEEDS[1]))
    x = data(6, 3)
    assert torch.allclose(stack(x)[1], alone(x)[0], atol=1e-6)
    assert not torch.allclose(stack(x)[0], stack(x)[1])


@pytest.mark.parametrize(
    ("ours", "theirs"), [(Conv2d, functional.conv2d), (ConvTranspose2d, functional.conv_transpose2d)]
)
def test_convolutions_against_torch(ours, theirs):
    layer, x = ours(2, 5, kernel=4, stride=2, padding=1, generator=generator()), data(3, 6, 2, 8, 8)
    for k in range(3):
        expected = theirs(x[k], layer.weight[k], layer.bias[k], 2, 1)
        assert torch.allclose(layer(x)[k], expected, atol=1e-5)


def test_the_convolutional_pair_halves_and_doubles():
    encoder = ConvEncoder((1, 16, 16), 6, channels=(4, 8), hidden=(10,), generator=generator())
    decoder = ConvDecoder(3, (1, 16, 16), channels=(8, 4), hidden=(10,), generator=generator())
    assert encoder(data(5, 256)).shape == (3, 5, 6)
    assert decoder(data(3, 2, 5, 3)).shape == (3, 2, 5, 256)
    alone = ConvEncoder((1, 16, 16), 6, channels=(4, 8), hidden=(10,), generator=Generator(SEEDS[2]))
    assert torch.allclose(encoder(data(5, 256))[2], alone(data(5, 256))[0], atol=1e-5)
    assert torch.allclose(select(encoder, [2])(data(5, 256))[0], encoder(data(5, 256))[2], atol=1e-5)


@pytest.mark.parametrize("method", ["zca", "standardise"])
def test_whitening(method):
    x = (data(500, 4) @ data(4, 4) + 3).double()
    white = Affine.whiten(x, method=method)(x)
    covariance = torch.cov(white.T, correction=0)
    assert torch.allclose(white.mean(0), torch.zeros(4, dtype=torch.float64), atol=1e-6)
    target = torch.eye(4, dtype=torch.float64)
    assert torch.allclose(covariance if method == "zca" else covariance.diag().diag(), target, atol=1e-5)


def test_whitening_keeps_constant_features_small():
    x = torch.cat([data(100, 2), torch.ones(100, 1)], dim=1)
    for method in ("zca", "standardise"):
        white = Affine.whiten(x, method=method)(x)
        assert torch.isfinite(white).all()
        assert float(white[:, 2].abs().max()) < 1e-2


def test_rescale_has_mean_and_overall_spread_of_the_data():
    x = data(1000, 4) * 7 + 2
    out = Affine.rescale(x)(data(1000, 4))
    assert torch.allclose(out.mean(0), x.mean(0), atol=0.8)
    assert float(out.std()) == pytest.approx(float(x.std()), rel=0.1)


def test_knobs_multiply_learn_and_select():
    knob = Knob(torch.tensor([1.0, 2.0, 3.0]))
    knob.multiplier.fill_(0.5)
    assert knob().tolist() == [1.0, 2.0, 3.0]
    knob.scheduled = True
    assert knob().tolist() == [0.5, 1.0, 1.5]
    assert select(knob, torch.tensor([True, False, True]))().tolist() == [0.5, 1.5]
    learned = Knob(4.0, members=2, learned=True)
    assert torch.allclose(learned(), torch.full((2,), 4.0))
    assert [name for name, _ in learned.named_parameters()] == ["log_value"]


def test_select_copies():
    network = MLP((2, 4, 1), generator=generator())
    chosen = select(network, [2, 0])
    assert torch.allclose(chosen(data(5, 2)), network(data(5, 2))[[2, 0]], atol=1e-6)
    with torch.no_grad():
        chosen[0].weight.zero_()
    assert float(network[0].weight.abs().sum().detach()) > 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Linear(0, 3, generator=generator()), "inputs is 0"),
        (lambda: MLP((3,), generator=generator()), "sizes is"),
        (lambda: MLP((3, 2), activation="gelu2", generator=generator()), "activation is 'gelu2'"),
        (lambda: Linear(3, 2, generator=generator())(data(5, 4)), r"x has shape \(5, 4\); expected"),
        (lambda: Linear(3, 2, generator=generator())(data(2, 5, 3)), r"x has shape \(2, 5, 3\); expected"),
        (lambda: Knob(-1.0, name="beta"), "beta is -1"),
        (lambda: Knob(float("nan"), name="beta"), "beta is nan"),
        (lambda: Knob([1.0, 2.0], members=3), "value has shape"),
        (lambda: Knob(1.0, learned=True), "members is None"),
        (lambda: Affine.whiten(torch.ones(5, 2)), "x is constant"),
        (lambda: Affine.whiten(data(5, 2), method="pca2"), "method is 'pca2'"),
        (lambda: ConvEncoder((1, 10, 10), 4, channels=(2, 2), generator=generator()), "divisible by 4"),
        (lambda: ConvEncoder((10, 10), 4, channels=(2, 2), generator=generator()), "image_shape"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_wrong_dtype():
    with pytest.raises(TypeError, match=r"expected torch\.float32"):
        Linear(3, 2, generator=generator())(data(5, 3).double())
