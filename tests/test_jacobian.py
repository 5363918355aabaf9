"""Jacobians against finite differences, log-volumes against determinants, the Newton solver on what can go wrong."""

from __future__ import annotations

import pytest
import torch

from latentbook.jacobian import column_norms, invert, jacobian, log_abs_det
from latentbook.random import Generator

WEIGHTS = Generator([1, 2, 3]).normal(4, 2, dtype=torch.float64)  # three members, two numbers to four
SQUARE = Generator([4]).normal(3, 3, dtype=torch.float64)[0] + 3 * torch.eye(3, dtype=torch.float64)


def tall(z):
    """A stack of smooth maps from two numbers to four."""
    h = z @ WEIGHTS.mT
    return h + 0.3 * torch.sin(2 * h)


def bent(z):
    """A smooth invertible map of three numbers."""
    return z @ SQUARE.mT + torch.tanh(z.flip(-1))


def points(n, size, seeds=(7, 8, 9)):
    return Generator(list(seeds)).normal(n, size, dtype=torch.float64)


def central_differences(function, z, step=1e-5):
    axes = torch.eye(z.shape[-1], dtype=z.dtype) * step
    return torch.stack([(function(z + axis) - function(z - axis)) / (2 * step) for axis in axes], -1)


@pytest.mark.parametrize("z", [points(5, 2), points(5, 2)[0], points(1, 2)[0]], ids=["members", "shared", "one row"])
def test_jacobian_agrees_with_finite_differences(z):
    J = jacobian(tall, z)
    assert J.shape == (3, z.shape[-2], 4, 2)
    assert torch.allclose(J, central_differences(tall, z), atol=1e-8)


def test_a_single_point_needs_no_batch_axis():
    z = points(1, 3)[0, 0]
    assert torch.allclose(jacobian(bent, z), torch.func.jacrev(bent)(z))


def test_jacobian_can_be_differentiated_again():
    angle = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    z = points(4, 2)[0]

    def contrast(angle, z):
        J = jacobian(lambda z: torch.stack([z[..., 0] + angle.sin() * z[..., 1] ** 3, z[..., 1] * angle.exp()], -1), z)
        return column_norms(J).log().sum(-1) - log_abs_det(J)

    assert torch.autograd.gradcheck(contrast, (angle, z.requires_grad_()))


def test_column_norms():
    J = torch.tensor([[3.0, 0.0], [4.0, -2.0]])
    assert column_norms(J).tolist() == [5.0, 2.0]
    assert column_norms(J.expand(6, 5, 2, 2)).shape == (6, 5, 2)


def test_log_abs_det_of_square_and_of_tall_matrices():
    J = jacobian(bent, points(6, 3))
    assert torch.allclose(log_abs_det(J), torch.linalg.det(J).abs().log())
    J = jacobian(tall, points(6, 2))
    assert torch.allclose(log_abs_det(J), 0.5 * torch.linalg.det(J.mT @ J).log())


@pytest.mark.parametrize("J", [[[1.0, 0.0], [1.0, 0.0]], [[1.0, 0.0], [1.0, 0.0], [2.0, 0.0]]], ids=["square", "tall"])
def test_a_singular_jacobian_has_no_volume(J):
    assert log_abs_det(torch.tensor(J)).item() == -torch.inf


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: jacobian(lambda z: z, torch.arange(3)), r"z is torch.int64 \(3,\)"),
        (lambda: jacobian(lambda z: z, torch.tensor(1.0)), r"z is torch.float32 \(\)"),
        (lambda: jacobian(lambda z: z.sum(0), torch.ones(4, 2)), r"function maps \(4, 2\) to \(2,\)"),
        (lambda: jacobian(lambda z: z[:3], torch.ones(4, 2)), r"function maps \(4, 2\) to \(3, 2\)"),
        (lambda: log_abs_det(torch.ones(2, 3)), r"J has shape \(2, 3\); expected \(..., d, k\) with d at least k"),
        (lambda: column_norms(torch.ones(3)), r"J has shape \(3,\)"),
        (lambda: invert(bent, points(4, 2)[0], points(4, 3)[0]), r"x has shape \(4, 2\) and start \(4, 3\)"),
        (lambda: invert(bent, points(4, 3), torch.zeros(3, 4, 3, dtype=torch.int64)), "start is torch.int64"),
        (lambda: invert(bent, points(4, 3), points(4, 3), steps=0), "steps is 0"),
        (lambda: invert(bent, points(4, 3), points(4, 3), tolerance=-1.0), "tolerance is -1.0"),
    ],
)
def test_bad_input_is_refused_by_name(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def test_invert_finds_the_way_back():
    z = points(200, 3)
    assert (invert(bent, bent(z), torch.zeros_like(z)) - z).abs().max() < 1e-10
    z = z.float()
    single = invert(lambda z: z @ SQUARE.mT.float() + torch.tanh(z.flip(-1)), bent(z.double()).float(), z + 0.1)
    assert single.dtype == torch.float32 and (single - z).abs().max() < 1e-4


def test_invert_from_four_numbers_to_two_and_from_a_start_that_all_members_share():
    z = points(50, 2)
    assert (invert(tall, tall(z), 0.9 * z) - z).abs().max() < 1e-10
    shared = z[0]
    assert (invert(tall, tall(shared), 0.9 * shared) - shared).abs().max() < 1e-10


def test_off_the_surface_invert_is_least_squares():
    z = points(50, 2)
    x = tall(z) + 0.01 * points(50, 4)
    found = invert(tall, x, z, steps=200)
    J, residual = jacobian(tall, found), tall(found) - x
    assert residual.norm(dim=-1).min() > 1e-4
    assert (J.mT @ residual[..., None]).abs().max() < 1e-8


def test_damping_saves_what_a_full_step_would_lose():
    far = torch.tensor([[3.0], [-20.0], [50.0]], dtype=torch.float64)
    z = torch.tensor([[0.1], [0.2], [-0.5]], dtype=torch.float64)
    newton = far - (far.atan() - z.atan()) * (1 + far**2)
    assert (newton.abs() > 2 * far.abs()).all()  # a full step goes further away
    assert (invert(torch.atan, z.atan(), far) - z).abs().max() < 1e-10


def test_a_row_without_a_solution_is_nan_and_the_others_are_not():
    x = torch.tensor([[0.0], [5.0], [2.0]], dtype=torch.float64)
    z = invert(lambda z: z**2 + 1, x, torch.ones_like(x))
    assert z[0].isnan().all()
    assert torch.allclose(z[1:], (x[1:] - 1).sqrt())


def test_a_member_is_solved_as_it_is_alone():
    z = points(20, 2)
    both = invert(tall, tall(z), torch.zeros_like(z))
    alone = invert(lambda z: tall(z)[1], tall(z)[1], torch.zeros_like(z[1]))
    assert torch.allclose(both[1], alone, atol=1e-12)
