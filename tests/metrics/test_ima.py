"""The IMA contrast: what leaves it alone, what does not, and where it is infinite."""

from __future__ import annotations

import math

import pytest
import torch

from latentbook.metrics import ima_contrast, mean_jacobian_contrast
from latentbook.mixings import Moebius
from latentbook.random import Generator

DOUBLE = torch.float64


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = DOUBLE) -> torch.Tensor:
    return Generator(seed).normal(*shape, dtype=dtype)[0]


def orthogonal(*batch: int, size: int) -> torch.Tensor:
    return torch.linalg.qr(normal(*batch, size, size, seed=5)).Q


def test_hand_computed_values():
    shear = torch.tensor([[1.0, 1.0], [0.0, 1.0]], dtype=DOUBLE)
    assert float(ima_contrast(shear)) == pytest.approx(math.log(2) / 2, abs=1e-15)
    assert float(ima_contrast(torch.tensor([[1, 1], [0, 1]]))) == pytest.approx(math.log(2) / 2, abs=1e-6)
    angle = torch.deg2rad(torch.tensor([30.0, 60.0, 90.0], dtype=DOUBLE))
    first, second = torch.tensor([1.0, 0.0], dtype=DOUBLE).expand(3, 2), torch.stack([angle.cos(), angle.sin()], -1)
    columns = torch.stack([first, second], -1)
    assert ima_contrast(columns).tolist() == pytest.approx((-angle.sin().log()).tolist(), abs=1e-14)
    assert ima_contrast(columns).tolist() == pytest.approx([0.6931, 0.1438, 0], abs=1e-4)
    rows = torch.tensor([[1.0, 0.0], [math.cos(math.pi / 6), math.sin(math.pi / 6)]], dtype=DOUBLE)
    assert float(ima_contrast(rows)) == pytest.approx(0.2798, abs=1e-4)


@pytest.mark.parametrize("shape", [(4, 4), (7, 4)])
def test_rotations_permutations_and_scales_leave_it_alone(shape):
    J = normal(100, *shape)
    left = orthogonal(size=shape[0])
    scales = normal(4, seed=9).exp() * torch.tensor([1, -1, 1e3, 1e-3], dtype=DOUBLE)
    moved = 5 * left @ J[..., [2, 0, 3, 1]] * scales
    assert float((ima_contrast(moved) - ima_contrast(J)).abs().max()) < 1e-10
    general = ima_contrast(normal(shape[0], shape[0], seed=3) @ J)
    assert float((general - ima_contrast(J)).abs().min()) > 1e-5


@pytest.mark.parametrize("shape", [(2, 2), (3, 3), (6, 3), (1, 1)])
def test_it_is_the_formula_and_never_negative(shape):
    J = normal(10_000, *shape)
    gram = J.mT @ J
    expected = 0.5 * (gram.diagonal(dim1=-2, dim2=-1).log().sum(-1) - gram.logdet())
    contrast = ima_contrast(J)
    assert float(contrast.min()) >= 0
    assert torch.allclose(contrast, expected, atol=1e-6)
    assert shape[1] == 1 or float(contrast.median()) > 0.1


@pytest.mark.parametrize("dtype", [torch.float32, DOUBLE])
def test_orthogonal_columns_have_none(dtype):
    J = (orthogonal(1000, size=5) * normal(5).exp())[..., :3].to(dtype)
    contrast = ima_contrast(J)
    assert contrast.dtype == dtype
    assert 0 <= float(contrast.min()) and float(contrast.max()) < 20 * torch.finfo(dtype).eps


@pytest.mark.parametrize("lengths", [(1e-15, 1e15), (1e-30, 1.0), (1e30, 1e-30)])
def test_columns_of_extreme_length(lengths):
    J = torch.tensor([[1.0, 1.0], [0.0, 1.0]]) * torch.tensor(lengths)  # in float32, which has no square of 1e30
    assert float(ima_contrast(J)) == pytest.approx(math.log(2) / 2, abs=1e-6)


def test_singular_jacobians_are_infinite_and_nan_stays_nan():
    singular = torch.stack([torch.ones(2, 2), torch.zeros(2, 2), torch.tensor([[1.0, 0.0], [2.0, 0.0]])])
    assert ima_contrast(singular).tolist() == [math.inf] * 3
    assert ima_contrast(torch.full((2, 2), math.nan)).isnan()


@pytest.mark.parametrize("shape", [(3, 3), (5, 3)])
def test_gradient(shape):
    J = normal(4, *shape).requires_grad_()
    assert torch.autograd.gradcheck(ima_contrast, J)


def test_contrast_of_the_mean_is_another_thing():
    J = normal(6, 50, 3, 3) + 2 * torch.eye(3, dtype=DOUBLE)
    mean = mean_jacobian_contrast(J)
    assert mean.shape == (6,)
    assert torch.equal(mean[2], ima_contrast(J[2].mean(0)))
    assert bool((ima_contrast(J).mean(-1) > mean + 0.2).all())  # here it hides nearly all of it
    conformal = orthogonal(50, size=3) * normal(50, 1, 1).exp()
    assert float(ima_contrast(conformal).max()) < 1e-12 and float(mean_jacobian_contrast(conformal)) > 1e-3


def test_floor_of_the_mean_jacobian_for_moebius_maps():
    s = Generator(0).uniform(200, 64, 3, dtype=DOUBLE)[0] - 0.5
    J = Moebius.published().jacobian(s)
    assert float(ima_contrast(J).max()) < 1e-10
    assert float(mean_jacobian_contrast(J).mean()) == pytest.approx(5.4e-4, abs=2e-5)
    plane = Moebius.random(Generator(range(20)), 2).jacobian(s[..., :2].flatten(0, 1))
    assert float(mean_jacobian_contrast(plane).max()) < 1e-10


def test_bad_input():
    for shape in ((3,), (2, 3), (4, 2, 3), (2, 0)):
        with pytest.raises(ValueError, match=r"jacobian has shape .*no more columns than rows"):
            ima_contrast(torch.ones(shape))
    for shape in ((3, 3), (0, 3, 3)):
        with pytest.raises(ValueError, match="n at least 1"):
            mean_jacobian_contrast(torch.ones(shape))
