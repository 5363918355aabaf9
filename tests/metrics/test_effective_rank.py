"""Effective rank: closed forms, and that sizes count."""

from __future__ import annotations

import math

import pytest
import torch

from latentbook.metrics import effective_rank
from latentbook.random import Generator


def test_closed_forms():
    assert effective_rank(torch.eye(5)) == pytest.approx(5)
    assert effective_rank(torch.diag(torch.tensor([3.0, 0.0, 0.0]))) == pytest.approx(1)
    p = torch.tensor([0.75, 0.25])
    assert effective_rank(torch.diag(4 * p)) == pytest.approx(math.exp(-float((p * p.log()).sum())), abs=1e-6)


def test_rotations_leave_it_and_sizes_do_not():
    z = Generator(1).normal(2000, 3, dtype=torch.float64)[0]
    turn = torch.linalg.qr(z[:3]).Q
    assert effective_rank(z @ turn) == pytest.approx(effective_rank(z), abs=1e-9)
    assert effective_rank(z) == pytest.approx(3, abs=0.01)
    assert effective_rank(z * torch.tensor([1.0, 1.0, 0.01])) == pytest.approx(2, abs=0.01)


def test_constant_duplicated_and_broken_members():
    z = Generator(1).normal(50, 2, dtype=torch.float64)[0]
    duplicated, constant, broken = z[:, [0, 0]], torch.ones(50, 2).double(), z / 0
    values = effective_rank(torch.stack([duplicated, constant, broken]))
    assert values[0] == pytest.approx(1, abs=1e-9) and values[1:].isnan().all()


@pytest.mark.parametrize("shape", [(3,), (3, 4), (0, 2)])
def test_bad_input(shape):
    with pytest.raises(ValueError, match="codes has"):
        effective_rank(torch.ones(shape))
