"""Roles of latents: the published criterion's truth table, what slips through it, and what the sharper one says."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from latentbook.metrics import example_roles, latent_roles, latent_roles_by_share, role_shares, roles_from_moments
from latentbook.random import Generator

OFF, ON = 1.0, 1e-6


def column(share_off: float, n: int = 1000) -> torch.Tensor:
    """A latent that is off on a share of the examples and on for the rest."""
    return torch.where(torch.arange(n) < share_off * n, OFF, ON)


def steady(value: float, n: int = 1000) -> torch.Tensor:
    return torch.full((n,), value)


# mean and variance of sigma^2 -> the published role
TABLE = [
    ((1.0, 0.0), "passive"),
    ((0.9, 0.0), "passive"),
    ((1.1, 0.0), "passive"),
    ((1.11, 0.0), "mixed"),
    ((0.89, 0.0), "mixed"),
    ((0.05, 0.0), "active"),
    ((0.1, 0.0), "active"),
    ((0.11, 0.0), "mixed"),
    ((0.3, 0.0), "mixed"),
    ((0.5, 0.25), "mixed"),
    ((1.0, 0.1), "mixed"),
    ((0.05, 0.1), "mixed"),
    ((1.0, 0.0999), "passive"),
]


@pytest.mark.parametrize(("moments", "role"), TABLE)
def test_truth_table(moments, role):
    assert roles_from_moments(*torch.tensor(moments)[:, None]) == [role]


@pytest.mark.parametrize(
    ("latent", "published", "by_share"),
    [
        (steady(1.0), "passive", "passive"),
        (steady(0.05), "active", "active"),
        (steady(0.3), "mixed", "intermediate"),  # never passive anywhere
        (column(0.5), "mixed", "mixed"),
        (column(0.85), "mixed", "mixed"),  # s = 0.1275
        (column(0.91), "passive", "mixed"),  # s = 0.0819: slips through
        (column(0.09), "active", "mixed"),
        (column(0.97), "passive", "passive"),
    ],
)
def test_the_two_criteria_side_by_side(latent, published, by_share):
    assert latent_roles(latent[:, None]) == [published]
    assert latent_roles_by_share(latent[:, None]) == [by_share]


def test_the_variance_is_that_of_the_published_code():
    """numpy.var, which divides by n: with four examples the two conventions fall on different sides of 0.1."""
    latent = torch.tensor([0.45, 0.45, 1.05, 1.05])
    assert latent.var(correction=0) < 0.1 < latent.var(correction=1)
    wide = 1 + 0.31 * torch.tensor([-1.0, 1.0, -1.0, 1.0])
    assert wide.var(correction=0) < 0.1 < wide.var(correction=1)
    assert latent_roles(wide[:, None]) == ["passive"]


def test_members_are_lists_of_lists_and_equal_the_loop():
    variances = Generator(range(6)).uniform(50, 4) * 1.1
    variances[2, :, 1], variances[3, :, 0] = 1.0, 0.02
    for function in (latent_roles, latent_roles_by_share):
        roles = function(variances)
        assert roles == [function(member) for member in variances]
        assert np.array(roles).shape == (6, 4)
        assert roles[2][1] == "passive" and roles[3][0] == "active"
        nested = function(variances.view(2, 3, 50, 4))
        assert nested == [roles[:3], roles[3:]]


def test_shares_and_examples_agree():
    variances = torch.stack([column(0.25, 8), steady(0.5, 8), torch.linspace(0.05, 1.2, 8)], -1)
    shares, examples = role_shares(variances), example_roles(variances)
    for name in ("active", "passive", "between"):
        assert np.allclose(getattr(shares, name), (examples == name).mean(0))
    assert torch.allclose(sum(shares), torch.ones(3).double())
    assert shares.passive[0] == 0.25 and shares.between[1] == 1


def test_arrays_and_lists_serve_as_well():
    variances = torch.stack([column(0.5), steady(1.0)], -1)
    expected = latent_roles(variances)
    assert expected == latent_roles(variances.numpy()) == latent_roles(variances.tolist())
    assert all(type(role) is str for role in expected)


@pytest.mark.parametrize(
    "bad", [0.0, -0.5, math.inf, math.nan], ids=["zero", "negative, as a logarithm", "infinite", "NaN"]
)
@pytest.mark.parametrize("function", [latent_roles, latent_roles_by_share, role_shares, example_roles])
def test_variances_must_be_positive_and_finite(function, bad):
    variances = torch.ones(5, 2)
    variances[1, 1] = bad
    with pytest.raises(ValueError, match="variances holds 1 value"):
        function(variances)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: latent_roles(torch.ones(5)), "variances has shape"),
        (lambda: latent_roles(torch.ones(0, 5)), "variances has shape"),
        (lambda: latent_roles("variances"), "variances is a str"),
        (lambda: latent_roles_by_share(torch.ones(5, 2), most=0.5), "most is 0.5"),
        (lambda: latent_roles_by_share(torch.ones(5, 2), most=1.1), "most is 1.1"),
        (lambda: roles_from_moments(torch.ones(3), torch.ones(2)), "the same shape"),
        (lambda: roles_from_moments(1.0, 0.0), "the same shape"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()
