"""Matrices with a known contrast, and random ones."""

from __future__ import annotations

import math

import pytest
import torch

from latentbook.mixings import Linear, Rotation, random_orthogonal
from latentbook.random import Generator


def contrast(A):
    gram = A.mT @ A
    return 0.5 * (gram.diagonal(dim1=-2, dim2=-1).log().sum(-1) - torch.linalg.slogdet(gram).logabsdet)


@pytest.mark.parametrize("size, cosine, expected", [(3, 0.3, 0.1217), (3, 0.9, 1.7877), (2, 0.6, -math.log(0.8))])
def test_columns_at_one_angle(size, cosine, expected):
    mixing = Linear.with_cosine(size, cosine, Generator([1, 2]))
    A = mixing.matrix
    cosines = torch.full((size, size), cosine).double().fill_diagonal_(1.0)
    assert torch.allclose(A.mT @ A, cosines)
    assert contrast(A).tolist() == pytest.approx([expected] * 2, abs=1e-4)
    assert not torch.allclose(A[0], A[1], atol=0.1)
    scaled = mixing.unit_determinant().matrix
    assert torch.allclose(torch.linalg.det(scaled).abs(), torch.ones(2).double())
    assert torch.allclose(contrast(scaled), contrast(A))


def test_columns_of_a_given_contrast():
    wanted = torch.tensor([0.0, 0.5, 5.0, 20.0], dtype=torch.float64)
    A = Linear.with_contrast(3, wanted).matrix
    assert torch.allclose(-torch.linalg.slogdet(A).logabsdet, wanted, atol=1e-6)
    assert torch.allclose(A.norm(dim=-2), torch.ones(4, 3).double())


@pytest.mark.parametrize("degrees, between_rows, between_columns", [(30, 0.2798, 0.6931), (60, 0.1116, 0.1438)])
def test_an_angle_between_rows_is_not_one_between_columns(degrees, between_rows, between_columns):
    t = math.radians(degrees)
    A = torch.tensor([[1.0, 0.0], [math.cos(t), math.sin(t)]], dtype=torch.float64)
    by_rows, by_columns = Linear(A), Linear(A.T)
    s = torch.zeros(1, 2).double()
    assert contrast(by_rows.jacobian(s)).item() == pytest.approx(between_rows, abs=1e-4)
    assert contrast(by_rows.jacobian(s)).item() == pytest.approx(0.5 * math.log(1 + math.cos(t) ** 2))
    assert contrast(by_columns.jacobian(s)).item() == pytest.approx(between_columns, abs=1e-4)
    assert contrast(by_columns.jacobian(s)).item() == pytest.approx(-math.log(math.sin(t)))


def test_contrast_of_random_entries():
    values = contrast(Linear.random(Generator(range(100_000)), 3, entries="uniform").matrix)
    quartiles = values.quantile(torch.tensor([0.25, 0.5, 0.75], dtype=torch.float64))
    assert quartiles.tolist() == pytest.approx([1.43, 2.07, 2.91], abs=0.03)


def test_random_entries_and_rotations_follow_their_laws():
    many = Generator(range(20_000))
    normal = Linear.random(many, 2).matrix.flatten()
    assert abs(normal.mean()) < 5 * len(normal) ** -0.5 and abs(normal.var() - 1) < 5 * (2 / len(normal)) ** 0.5
    Q = Linear.random(many, 3, entries="orthogonal").matrix
    assert torch.allclose(Q @ Q.mT, torch.eye(3).double().expand_as(Q), atol=1e-12)
    error = 5 * 20_000**-0.5
    assert (Q.mean(0).abs() < error).all()  # Haar: mean 0, E q^2 = 1/3, E q^4 = 1/5, both signs of the determinant
    assert ((Q.square().mean(0) - 1 / 3).abs() < error).all() and ((Q.pow(4).mean(0) - 1 / 5).abs() < error).all()
    assert abs(torch.linalg.det(Q).mean()) < error


def test_rotation_turns_counter_clockwise():
    x = Rotation(math.pi / 2)(torch.tensor([[1.0, 0.0], [0.0, 2.0]], dtype=torch.float64))
    assert torch.allclose(x, torch.tensor([[0.0, 1.0], [-2.0, 0.0]], dtype=torch.float64))


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: Linear([[1.0, 2.0], [2.0, 4.0]]), "matrix is singular"),
        (lambda: Linear(torch.stack([torch.eye(2), torch.ones(2, 2)])), "matrix is singular"),
        (lambda: Linear(torch.zeros(2, 2)), "matrix is singular"),
        (lambda: Linear(torch.ones(2, 3)), r"matrix has shape \(2, 3\); expected square"),
        (lambda: Linear(torch.ones(3)), r"matrix is torch.float32 \(3,\)"),
        (lambda: Linear(torch.eye(2, dtype=torch.int64)), "matrix is torch.int64"),
        (lambda: Linear([[1.0, math.nan], [0.0, 1.0]]), "matrix holds NaN"),
        (lambda: Linear("eye"), "matrix is 'eye'; expected numbers"),
        (lambda: Linear(torch.eye(2), torch.ones(3)), "offset has 3 numbers; expected 2"),
        (lambda: Linear(torch.eye(2).expand(2, 2, 2), torch.ones(3, 2)), "offset has 3 members; expected 2"),
        (lambda: Linear.random(Generator([1]), 2, entries="cauchy"), "entries is 'cauchy'"),
        (lambda: Linear.with_cosine(3, 1.0), "cosine is 1.0"),
        (lambda: Linear.with_cosine(3, -0.5), "cosine is -0.5"),
        (lambda: Linear.with_cosine(3, torch.tensor([0.1, 0.2]), Generator([1, 2, 3])), "generator has 3 seeds"),
        (lambda: Linear.with_contrast(2, -0.1), "contrast is -0.1"),
        (lambda: Linear.with_contrast(1, 0.1), "contrast is 0.1 for size 1"),
        (lambda: Linear.with_contrast(2, 11.0), "contrast is 11.0"),
    ],
)
def test_bad_input_is_refused_by_name(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def test_randomness_comes_from_a_generator_alone():
    with pytest.raises(TypeError, match="generator is a int"):
        random_orthogonal(1, 3)
