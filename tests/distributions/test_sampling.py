"""Samples against densities, for both ways to sample, and the gradients that samples carry."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
import torch
from scipy.stats import beta, gamma, gennorm, kstest

from latentbook.distributions import GeneralizedNormal, LpNested, LpTree
from latentbook.random import Generator

N = 100_000
TREE = LpTree(1.6, (LpTree(3.0, (2,)), LpTree(0.8, (LpTree(5.0, (2,)), 1)), 1))
SCALE = 0.7


@pytest.fixture(autouse=True)
def double_precision_and_fixed_draws():
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    with torch.random.fork_rng():
        torch.manual_seed(5)
        yield
    torch.set_default_dtype(before)


WAYS: dict[str, Callable] = {
    "sample": lambda law: law.sample((N,)),
    "rsample": lambda law: law.rsample((N,)),
    "sample_with": lambda law: law.sample_with(Generator(2), (N,))[0],
}


def agrees(draws: torch.Tensor, cdf: Callable) -> bool:
    return kstest(draws.numpy(), cdf).pvalue > 1e-3


def norm(power: float, *parts: torch.Tensor) -> torch.Tensor:
    return sum(part.abs() ** power for part in parts) ** (1 / power)


def tabulated(points: torch.Tensor, density: torch.Tensor) -> Callable:
    """The distribution function that belongs to a density on a fine grid."""
    total = torch.cumulative_trapezoid(density, points)
    return lambda x: np.interp(x, points[1:], total / total[-1])


@pytest.mark.parametrize("way", WAYS)
def test_radii_of_a_nested_law(way):
    z = WAYS[way](LpNested(TREE, SCALE)).unbind(-1)
    first, inner = norm(3.0, z[0], z[1]), norm(5.0, z[2], z[3])
    second = norm(0.8, inner, z[4])
    whole = norm(1.6, first, second, z[5])
    for radius, leaves in ((whole, 6), (first, 2), (second, 3), (z[5].abs(), 1)):
        assert agrees(radius**1.6 / SCALE, gamma(leaves / 1.6).cdf)
    assert agrees((inner / second) ** 0.8, beta(2 / 0.8, 1 / 0.8).cdf)
    assert agrees((z[3].abs() / inner) ** 5.0, beta(0.2, 0.2).cdf)
    assert agrees((z[0].abs() / first) ** 3.0, beta(1 / 3, 1 / 3).cdf)


@cache
def marginals() -> dict[int, Callable]:
    """Distribution functions of single coordinates of TREE, by quadrature of the density of their subspace."""
    grid, fine = torch.linspace(-6, 6, 601), torch.linspace(-6, 6, 181)
    pair = LpNested.isa([2], inner=3.0, outer=1.6, scale=SCALE)
    first = pair.log_prob(torch.cartesian_prod(grid, grid)).exp().view(601, 601).sum(1)
    triple = LpNested(LpTree(1.6, TREE.children[1:2]), SCALE)
    density = triple.log_prob(torch.cartesian_prod(fine, fine, fine)).exp().view(181, 181, 181)
    second, third = density.sum((1, 2)), density.sum((0, 1))
    return {0: tabulated(grid, first), 2: tabulated(fine, second), 4: tabulated(fine, third)}


@pytest.mark.parametrize("way", WAYS)
def test_angles_and_marginals_of_a_nested_law(way):
    z = WAYS[way](LpNested(TREE, SCALE))
    angle = torch.linspace(-torch.pi, torch.pi, 20_001)
    for a, b, power in ((0, 1, 3.0), (2, 3, 5.0)):
        density = (angle.cos().abs() ** power + angle.sin().abs() ** power) ** (-2 / power)
        assert agrees(torch.atan2(z[:, b], z[:, a]), tabulated(angle, density))
    assert agrees(z[:, 5], gennorm(beta=1.6, scale=SCALE ** (1 / 1.6)).cdf)
    for column, cdf in marginals().items():
        assert agrees(z[:, column], cdf)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("power", [0.5, 1.0, 2.2, 20.0])
def test_samples_of_the_generalised_normal_law(way, power):
    draws = WAYS[way](GeneralizedNormal(0.4, 1.3, power))
    assert agrees(draws, gennorm(beta=power, loc=0.4, scale=1.3).cdf)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("inner", [0.5, 2.2, 20.0])
@pytest.mark.parametrize("outer", [0.5, 2.1, 20.0])
def test_variance_and_entropy_against_samples(way, inner, outer):
    law = LpNested(LpTree(outer, (LpTree(inner, (2,)), LpTree(3.0, (LpTree(inner, (2,)), 1)))), 1.4)
    z = WAYS[way](law).detach()
    for estimate, exact in ((z.square(), law.variance), (-law.log_prob(z), law.entropy())):
        error = estimate.std(0) / N**0.5
        assert bool(((estimate.mean(0) - exact).abs() < 4.5 * error).all())


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("inner", [0.5, 20.0])
@pytest.mark.parametrize("outer", [0.5, 20.0])
def test_samples_in_single_precision_are_finite_and_spread(way, inner, outer):
    numbers = (torch.tensor(value, dtype=torch.float32) for value in (inner, outer))
    law = LpNested.isa([3, 1, 4], inner=next(numbers), outer=next(numbers))
    z = WAYS[way](law)
    assert z.dtype == torch.float32
    assert bool(z.isfinite().all())
    assert (z == 0).double().mean() < 1e-5
    assert bool(law.log_prob(z).isfinite().all())
    assert z.std(0).tolist() == pytest.approx(law.stddev.tolist(), rel=0.06)


def test_a_member_draws_the_same_alone_and_in_a_stack():
    inner = torch.tensor([0.8, 3.0, 6.0])

    def draws(members: list[int]) -> torch.Tensor:
        law = LpNested.isa([2, 2], inner=inner[members].view(-1, 1, 1), outer=2.0)
        return law.sample_with(Generator([10 + k for k in members]), (500,))

    assert torch.equal(draws([0, 1, 2])[1], draws([1])[0])
    assert not torch.equal(draws([0])[0], draws([1])[0])


def test_each_way_has_its_shape():
    law = LpNested.isa([2, 1], inner=torch.ones(4, 1, 2), outer=2.0)
    assert law.sample((7, 5)).shape == (7, 5, 4, 1, 3)
    assert law.sample_with(Generator(range(4)), (5,)).shape == (4, 5, 3)
    assert GeneralizedNormal(torch.zeros(3), 1.0, 2.0).sample_with(Generator([0, 1]), (6, 3)).shape == (2, 6, 3)
    assert law.has_rsample
    with pytest.raises(ValueError, match=r"expected one such that the batch shape \(4, 1\) broadcasts"):
        law.sample_with(Generator([0, 1]), (5,))
    with pytest.raises(TypeError, match="generator is a int"):
        law.sample_with(0, (5,))


def test_no_gradient_passes_where_none_is_promised():
    law = GeneralizedNormal(torch.zeros(3), torch.ones(3, requires_grad=True), 2.0)
    assert not law.sample((2,)).requires_grad
    assert not law.sample_with(Generator(0), (3,)).requires_grad
    assert law.rsample((2,)).requires_grad


def slope(mean: Callable, parameters: list[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """The gradient of a mean over N draws, with its standard error from 50 parts, (parameters,) each."""
    parts = [torch.stack(torch.autograd.grad(mean(N // 50), parameters)) for _ in range(50)]
    table = torch.stack(parts)
    return table.mean(0), table.std(0) / 50**0.5


def differences(value: Callable, parameters: list[torch.Tensor], step: float = 1e-4) -> torch.Tensor:
    """Central differences of a function of the parameters."""
    numbers = torch.stack(parameters).detach()
    shifts = step * torch.eye(len(numbers))
    return torch.stack([(value(*(numbers + d)) - value(*(numbers - d))) / (2 * step) for d in shifts])


def quadrature(law: torch.distributions.Distribution, function: Callable) -> torch.Tensor:
    """E[function(z)] of an even law on the line or the plane, by the rule z = exp(t - e^-t)."""
    t = torch.linspace(-3.4, 5.0, 700)
    z = (t - (-t).exp()).exp()
    weight = z * (1 + (-t).exp()) * (t[1] - t[0])
    if not law.event_shape:
        return 2 * (weight * law.log_prob(z).exp() * function(z)).sum()
    grid, area = torch.cartesian_prod(z, z), torch.cartesian_prod(weight, weight).prod(-1)
    return 4 * (area * law.log_prob(grid).exp() * function(grid)).sum()


@pytest.mark.parametrize("power", [0.8, 2.2, 6.0])
def test_rsample_gradients_of_the_generalised_normal_law(power):
    def function(z: torch.Tensor) -> torch.Tensor:
        return (3 * z).cos() + z.abs()

    def make(scale: torch.Tensor, power: torch.Tensor) -> GeneralizedNormal:
        return GeneralizedNormal(0.0, scale, power)

    parameters = [torch.tensor(value, requires_grad=True) for value in (1.2, power)]
    found, error = slope(lambda n: function(make(*parameters).rsample((n,))).mean(), parameters)
    exact = differences(lambda *p: quadrature(make(*p), function), parameters)
    assert bool(((found - exact).abs() < 4 * error + 2e-3 * exact.abs()).all())
    assert bool((exact.abs() > 5 * error).all())


@pytest.mark.parametrize("powers", [(2.1, 3.0), (4.0, 0.8), (1.3, 6.0)])
def test_rsample_gradients_of_a_nested_law(powers):
    def function(z: torch.Tensor) -> torch.Tensor:
        return (2 * z[..., 0]).cos() * (1 + z[..., 1].square()) + z.abs().prod(-1)

    def make(outer: torch.Tensor, inner: torch.Tensor, scale: torch.Tensor) -> LpNested:
        return LpNested(LpTree(outer, (LpTree(inner, (2,)),)), scale)

    parameters = [torch.tensor(value, requires_grad=True) for value in (*powers, 1.1)]
    found, error = slope(lambda n: function(make(*parameters).rsample((n,))).mean(), parameters)
    exact = differences(lambda *p: quadrature(make(*p), function), parameters)
    assert bool(((found - exact).abs() < 4 * error + 2e-3 * exact.abs()).all())
    assert bool((exact.abs() > 5 * error).all())


def test_rsample_gradients_of_a_deep_law_are_those_of_its_variance():
    parameters = [torch.tensor(value, requires_grad=True) for value in (1.6, 3.0, 0.8, 5.0, SCALE)]

    def law() -> LpNested:
        root, first, second, third, scale = parameters
        return LpNested(LpTree(root, (LpTree(first, (2,)), LpTree(second, (LpTree(third, (2,)), 1)), 1)), scale)

    weights = torch.tensor([1.0, 1.0, -2.0, 3.0, 1.0, 1.0])
    exact = torch.stack(torch.autograd.grad((law().variance * weights).sum(), parameters))
    found, error = slope(lambda n: (law().rsample((n,)).square() * weights).sum(-1).mean(), parameters)
    assert bool(((found - exact).abs() < 4 * error + 2e-3 * exact.abs()).all())
    assert bool((exact.abs() > 5 * error).all())
