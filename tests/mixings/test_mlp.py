"""The invertible network: its slope acts, its inverse is exact, its contrast is as computed elsewhere."""

from __future__ import annotations

import math

import pytest
import torch

from latentbook.mixings import InvertibleMLP, LeakyTanh, SmoothLeakyReLU
from latentbook.random import Generator


@pytest.mark.parametrize("slope", [0.01, 0.2, 0.5])
def test_the_slope_is_that_of_the_far_left(slope):
    activation = SmoothLeakyReLU(slope)
    s = torch.tensor([[-1000.0], [-30.0], [0.0], [30.0], [1000.0]], dtype=torch.float64)
    steepness = activation.jacobian(s).flatten().tolist()
    assert steepness == pytest.approx([slope, slope, (1 + slope) / 2, 1.0, 1.0], abs=1e-12)
    expected = [slope * -1000, slope * -30, (1 - slope) * math.log(2), 30, 1000]
    assert activation(s).flatten().tolist() == pytest.approx(expected, abs=1e-10)
    assert torch.allclose(activation.inverse(activation(s)), s, rtol=1e-12)


def test_the_slope_bends_the_whole_map():
    s = Generator([0]).normal(100, 3, dtype=torch.float64)
    for slope, linear in ((1.0, True), (0.9, False), (0.2, False)):
        mixing = InvertibleMLP.random(Generator([1]), 3, slope=slope)
        J = mixing.jacobian(s)
        assert torch.allclose(J, J[:, :1].expand_as(J), atol=1e-10) is linear


def test_inverse_of_a_steep_kink_and_its_derivatives():
    activation = SmoothLeakyReLU(1e-3)
    x = torch.linspace(-5, 5, 11, dtype=torch.float64)[:, None].requires_grad_()
    assert (activation(activation.inverse(x)) - x).abs().max() < 1e-12
    assert torch.autograd.gradcheck(SmoothLeakyReLU(0.3).inverse, (x,))
    assert torch.autograd.gradgradcheck(SmoothLeakyReLU(0.3).inverse, (x,))


@pytest.mark.parametrize("slope", [1e-3, 0.1, 2.0])
def test_the_leaky_tangent_its_slope_and_its_inverse(slope):
    activation = LeakyTanh(slope)
    s = torch.tensor([[-1000.0], [-3.0], [0.0], [1e-3], [0.5], [7.0]], dtype=torch.float64)
    assert activation(s).flatten().tolist() == pytest.approx([math.tanh(v) + slope * v for v in s.flatten().tolist()])
    steepness = activation.jacobian(s).flatten()
    assert steepness[0] == pytest.approx(slope) and steepness[2] == pytest.approx(1 + slope)
    assert torch.allclose(activation.inverse(activation(s)), s, rtol=1e-9)
    x = torch.linspace(-5, 5, 12, dtype=torch.float64)[:, None].requires_grad_()
    assert torch.autograd.gradcheck(LeakyTanh(0.3).inverse, (x,))
    assert torch.autograd.gradgradcheck(LeakyTanh(0.3).inverse, (x,))


def test_triangular_layers_make_a_triangular_map():
    lower = torch.tensor([[1.0, 0.0, 0.0], [2.0, 1.5, 0.0], [0.5, -1.0, 0.7]], dtype=torch.float64)
    J = InvertibleMLP(lower, lower, slope=0.5).jacobian(Generator([0]).normal(20, 3, dtype=torch.float64))
    assert torch.equal(J, J.tril()) and J[..., 1, 0].abs().min() > 0.1


def test_one_orthogonal_layer_has_no_contrast_and_three_have_some():
    s = Generator([0]).normal(500, 3, dtype=torch.float64)

    def contrast(layers):
        J = InvertibleMLP.random(Generator(range(400)), 3, layers=layers).jacobian(s)
        gram = J.mT @ J
        local = 0.5 * (gram.diagonal(dim1=-2, dim2=-1).log().sum(-1) - torch.linalg.slogdet(gram).logabsdet)
        return local.mean(-1)

    assert contrast(1).abs().max() < 1e-10
    assert contrast(3).mean().item() == pytest.approx(0.168, abs=0.04)  # of 20 draws, so 0.02 is its standard error


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: SmoothLeakyReLU(0.0), "slope is 0.0; expected above 0"),
        (lambda: SmoothLeakyReLU(-0.2), "slope is -0.2"),
        (lambda: SmoothLeakyReLU(1.5), "slope is 1.5"),
        (lambda: LeakyTanh(0.0), "slope is 0.0; expected a positive"),
        (lambda: LeakyTanh(math.inf), "slope is inf"),
        (lambda: InvertibleMLP.random(Generator([1]), 3, slope=math.nan), "slope is nan"),
        (lambda: InvertibleMLP.random(Generator([1]), 3, layers=0), "layers is 0"),
        (lambda: InvertibleMLP(), "matrices is empty"),
        (lambda: InvertibleMLP(torch.eye(2), torch.ones(2, 2)), "matrix is singular"),
        (lambda: InvertibleMLP(torch.eye(2), torch.eye(3)), "part 3 takes 3 sources; expected 2"),
    ],
)
def test_bad_input_is_refused_by_name(call, words):
    with pytest.raises(ValueError, match=words):
        call()
