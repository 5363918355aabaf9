"""Gamma variates from a counter-based generator."""

from __future__ import annotations

import pytest
import torch
from scipy.stats import gamma, kstest

from latentbook.distributions.noise import CounterNoise, GlobalNoise
from latentbook.random import Generator


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gamma_variates_follow_the_gamma_law(dtype):
    shapes = (1.0, 1.05, 1.5, 3.0, 41.0)
    draws = CounterNoise(Generator(0)).gamma(torch.tensor(shapes, dtype=dtype).expand(1, 100_000, 5))
    assert draws.dtype == dtype
    assert draws.shape == (1, 100_000, 5)
    for column, shape in zip(draws[0].double().T.numpy(), shapes, strict=True):
        assert kstest(column, gamma(shape).cdf).pvalue > 1e-3


def test_draws_depend_on_seed_and_step_alone():
    """Neither on the neighbours, whose proposals are rejected at other places, nor on their number."""
    shape = torch.full((1, 5_000, 3), 1.0)

    def draws(*seeds: int, step: int = 0) -> torch.Tensor:
        noise = CounterNoise(Generator(seeds).at(step))
        return torch.cat([noise.gamma(shape.expand(len(seeds), -1, -1)), noise.gamma(shape.expand(len(seeds), -1, -1))])

    alone, among = draws(3), draws(8, 3, 5)
    assert torch.equal(alone[0], among[1])
    assert torch.equal(alone[1], among[4])
    assert not torch.equal(alone[0], alone[1])
    assert torch.equal(alone, draws(3))
    assert not torch.isclose(alone, draws(3, step=1)).any(-1).all()
    assert not torch.isclose(among[0], among[1]).any(-1).all()


@pytest.mark.timeout(20)
@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
def test_a_member_that_diverged_stops_no_other(wrong):
    shape = torch.full((2, 50), 1.3)
    expected = CounterNoise(Generator([0, 1])).gamma(shape)
    found = CounterNoise(Generator([0, 1])).gamma(torch.stack([shape[0], shape[1].fill_(wrong)]))
    assert torch.equal(found[0], expected[0]) and not found[1].isfinite().any()


def test_consecutive_draws_are_independent():
    noise, shape = CounterNoise(Generator([0, 1])), torch.full((2, 100_000), 1.3)
    first, second, uniform = noise.gamma(shape), noise.gamma(shape), noise.uniform(shape)
    for k in range(2):
        table = torch.corrcoef(torch.stack([first[k], second[k], uniform[k], first[1 - k]]))
        assert (table - torch.eye(4)).abs().max() < 4 / 100_000**0.5


def test_the_logarithm_of_a_uniform_number_is_finite():
    like = torch.ones(1, 1_000_000)
    for noise in (GlobalNoise(), CounterNoise(Generator(0))):
        uniform = noise.uniform(like)
        assert 0 < uniform.min() < 1e-4
        assert 1 - 1e-4 < uniform.max() <= 1
