"""Ramps and the learning rate's course."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from latentbook.training.schedules import Ramp, learning_rate_multiplier


def test_a_ramp_holds_moves_and_stays():
    ramp = Ramp(0.0, 2.0, hold=0.2, until=0.6)
    assert [ramp(step, 11) for step in (0, 2, 4, 6, 10)] == pytest.approx([0.0, 0.0, 1.0, 2.0, 2.0])
    assert Ramp(1.0, 0.0, shape="cosine")(5, 11) == pytest.approx(0.5)
    assert Ramp(0.01, 1.0, shape="geometric")(5, 11) == pytest.approx(0.1)


def test_a_ramp_per_member():
    value = Ramp((0.01, 1.0), shape="geometric")(5, 11)
    assert torch.allclose(value, torch.tensor([0.1, 1.0], dtype=torch.float64))


def test_learning_rate():
    course = [learning_rate_multiplier(step, 100, 10, "cosine") for step in range(100)]
    assert course[0] == pytest.approx(0.1)
    assert max(course) == pytest.approx(1.0)
    assert course.index(max(course)) in (9, 10)
    assert 0 <= course[-1] < 0.01
    assert all(a >= b for a, b in pairwise(course[10:]))
    assert learning_rate_multiplier(99, 100, 10, "none") == 1.0
    assert learning_rate_multiplier(0, 1, 0, "cosine") == 1.0
