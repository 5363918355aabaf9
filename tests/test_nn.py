"""Stacked layers against torch's own, member by member."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from latentbook.nn import MLP, Affine, Linear, select, widest
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


@pytest.mark.parametrize("make", [Affine.whiten, lambda x: Affine.whiten(x, method="standardise"), Affine.rescale])
def test_a_map_of_its_own_for_each_member(make):
    x = torch.stack([data(50, 3) @ data(3, 3), 4 * data(50, 3) - 2])
    stacked, alone = make(x), [make(x[0]), make(x[1])]
    shared = data(7, 3)
    deep = torch.stack([shared, shared])[:, None].expand(2, 5, 7, 3)
    for k in range(2):
        assert torch.allclose(stacked(x)[k], alone[k](x[k]), atol=1e-5)
        assert torch.allclose(stacked(shared)[k], alone[k](shared), atol=1e-5)
        assert torch.allclose(stacked(deep)[k], alone[k](deep[k]), atol=1e-5)
    assert torch.equal(select(stacked, [1])(shared)[0], stacked(shared)[1])
    assert torch.equal(select(alone[0], [0])(shared), alone[0](shared))


def test_select_by_mask_and_by_index():
    network = MLP((2, 4, 1), generator=generator())
    expected = network(data(5, 2))
    for members, order in (([True, False, True], [0, 2]), (torch.tensor([2, 0]), [2, 0]), (range(1), [0])):
        assert torch.allclose(select(network, members)(data(5, 2)), expected[order], atol=1e-6)


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
        (lambda: select(Linear(3, 2, generator=generator()), 1), "members is 1; expected a list of indices"),
        (lambda: select(Linear(3, 2, generator=generator()), []), r"members is \[\]"),
        (lambda: select(Linear(3, 2, generator=generator()), [[0], [1]]), r"members is \[\[0\], \[1\]\]"),
        (lambda: select(Linear(3, 2, generator=generator()), [0.0]), r"members is \[0.0\]"),
        (lambda: select(Linear(3, 2, generator=generator()), [0, 3]), "expected indices from 0 to 2"),
        (lambda: select(Linear(3, 2, generator=generator()), [-1]), "expected indices from 0 to 2"),
        (lambda: select(Linear(3, 2, generator=generator()), [True, False]), "has 2 truth values; expected 3"),
        (lambda: select(Linear(3, 2, generator=generator()), [False] * 3), "expected at least one that is True"),
        (lambda: Affine.whiten(torch.ones(5, 2)), "x is constant"),
        (lambda: Affine.whiten(torch.stack([data(5, 2), torch.ones(5, 2)])), "x is constant"),
        (lambda: Affine.rescale(data(2, 5, 3))(data(3, 5, 3)), r"expected \(n, 3\) or \(2, ..., 3\)"),
        (lambda: Affine.rescale(data(5, 3))(data(5, 2)), r"expected \(..., 3\)"),
        (lambda: Affine.whiten(data(5, 2), method="pca2"), "method is 'pca2'"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_wrong_dtype():
    with pytest.raises(TypeError, match=r"expected torch\.float32"):
        Linear(3, 2, generator=generator())(data(5, 3).double())
    with pytest.raises(TypeError, match=r"expected torch\.float32"):
        Affine.whiten(data(5, 3))(torch.ones(5, 3, dtype=torch.int64))


def test_the_widest_layer():
    assert widest(MLP((3, 70, 20, 2), generator=generator())) == 70
    assert widest(nn.ReLU()) == 1
