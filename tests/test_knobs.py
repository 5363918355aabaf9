"""Knobs: value times multiplier, always; and everything of it in the state."""

from __future__ import annotations

import math

import pytest
import torch

from latentbook.knobs import Knob
from latentbook.nn import select


def test_the_multiplier_is_always_in_force():
    knob = Knob([1.0, 2.0, 3.0])
    assert knob().tolist() == [1.0, 2.0, 3.0]
    knob.set_multiplier(0.5)
    assert knob().tolist() == [0.5, 1.0, 1.5]
    knob.set_multiplier(torch.tensor([1.0, 0.0, 2.0], dtype=torch.float64))
    assert knob().tolist() == [1.0, 0.0, 6.0]
    assert knob.base().tolist() == [1.0, 2.0, 3.0]


@pytest.mark.parametrize("options", [{}, {"learned": True}])
def test_the_state_carries_everything(options):
    knob, other = (Knob(value, members=2, **options) for value in (4.0, 1.0))
    knob.set_multiplier([0.5, 0.25])
    assert knob.moved and not other.moved
    other.load_state_dict(knob.state_dict())
    assert other.moved
    knob.set_multiplier(1.0)
    assert not knob.moved
    assert torch.allclose(other(), torch.tensor([2.0, 1.0]))


def test_a_learned_knob_learns_its_logarithm():
    knob = Knob(4.0, members=2, learned=True)
    assert torch.allclose(knob(), torch.full((2,), 4.0))
    assert [name for name, _ in knob.named_parameters()] == ["log_value"]
    knob.set_multiplier(0.5)
    knob().sum().backward()
    assert torch.allclose(knob.log_value.grad, torch.full((2,), 2.0))


def test_a_common_value_becomes_one_each():
    knob = Knob(2.0, name="beta")
    knob.set_multiplier(torch.tensor([1.0, 0.5]))
    assert knob().tolist() == [2.0, 1.0]
    assert knob.members == 2
    assert select(knob, [1])().tolist() == [1.0]
    with pytest.raises(ValueError, match=r"multiplier of beta has shape \(3,\); expected one number or \(2,\)"):
        knob.set_multiplier(torch.ones(3))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Knob(-1.0, name="beta"), "beta is -1"),
        (lambda: Knob(math.nan, name="beta"), "beta is nan"),
        (lambda: Knob([1.0, 2.0], members=3), "value has shape"),
        (lambda: Knob(1.0, learned=True), "members is None"),
        (lambda: Knob(1.0, name="beta").set_multiplier(-1.0), "multiplier of beta is -1"),
        (lambda: Knob(1.0, name="beta").set_multiplier(torch.tensor(math.nan)), "multiplier of beta is nan"),
        (lambda: Knob(1.0).set_multiplier(torch.ones(2, 2)), r"has shape \(2, 2\)"),
        (lambda: Knob(1.0, minimum=1e-30).set_multiplier(0.0), "is 0.0; expected finite numbers of more than 0"),
        (lambda: Knob(1.0, members=2, learned=True).set_multiplier(torch.ones(3)), r"expected one number or \(2,\)"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_values_per_member_must_be_as_many_as_the_members():
    assert Knob(2.0)(5).item() == 2.0 and Knob([1.0, 2.0])(2).tolist() == [1.0, 2.0]
    with pytest.raises(ValueError, match="beta has 2 values; expected one number or 3, one per member"):
        Knob([1.0, 2.0], name="beta")(3)
