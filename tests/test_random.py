"""The counter-based generator: distribution, independence, and what a number depends on."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats

from latentbook.random import Generator, as_seeds, check_members


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_normal_numbers_are_standard_normal(dtype):
    z = Generator(range(10)).at(3).normal(20_000, dtype=dtype).double()
    assert stats.kstest(z.flatten().numpy(), "norm").pvalue > 1e-3
    n = z.numel()
    assert abs(z.mean()) < 4 / math.sqrt(n)
    assert abs(z.square().mean() - 1) < 4 * math.sqrt(2 / n)
    assert abs(z.pow(4).mean() - 3) < 4 * math.sqrt(96 / n)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_uniform_numbers_are_uniform_and_open(dtype):
    u = Generator(range(10)).uniform(20_000, dtype=dtype)
    assert stats.kstest(u.flatten().double().numpy(), "uniform").pvalue > 1e-3
    assert bool((u > 0).all() and (u < 1).all())


def test_integers_are_uniform():
    counts = torch.bincount(Generator(7).integers(10, 100_000)[0], minlength=10)
    assert stats.chisquare(counts.numpy()).pvalue > 1e-3


def test_permutation_visits_everything_once_and_is_uniform():
    orders = Generator(range(6000)).permutation(3)
    assert bool((orders.sort(1).values == torch.arange(3)).all())
    counts = np.unique(orders.numpy(), axis=0, return_counts=True)[1]
    assert len(counts) == 6
    assert stats.chisquare(counts).pvalue > 1e-3


@pytest.mark.parametrize(
    "pair",
    [
        lambda n: (Generator(1).at(0).normal(n), Generator(1).at(1).normal(n)),
        lambda n: (Generator(1).normal(n), Generator(2).normal(n)),
        lambda n: (Generator(1, stream="a").normal(n), Generator(1, stream="b").normal(n)),
        lambda n: _neighbours(Generator(1).normal(n + 1)),
    ],
    ids=["steps", "seeds", "streams", "neighbours"],
)
def test_streams_are_uncorrelated(pair):
    n = 200_000
    a, b = (value.flatten().double() for value in pair(n))
    for f in (lambda v: v, torch.square, torch.abs):
        x, y = f(a) - f(a).mean(), f(b) - f(b).mean()
        correlation = float((x * y).mean() / (x.square().mean() * y.square().mean()).sqrt())
        assert abs(correlation) < 4.5 / math.sqrt(n)


def _neighbours(z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    return z[:, :-1], z[:, 1:]


def test_a_member_draws_the_same_alone_and_in_a_stack():
    stack, alone = Generator([5, 9, 2]).at(4), Generator([9]).at(4)
    for draw in ("normal", "uniform"):
        assert torch.equal(getattr(stack, draw)(3, 4)[1:2], getattr(alone, draw)(3, 4))
    assert torch.equal(stack.integers(100, 8)[1:2], alone.integers(100, 8))
    assert torch.equal(stack.permutation(50)[1:2], alone.permutation(50))


def test_equal_seeds_draw_equal_numbers():
    first, second = Generator([3, 3]).normal(10)
    assert torch.equal(first, second)


def test_float32_and_float64_draw_the_same_numbers():
    single, double = (Generator(1).normal(1000, dtype=dtype) for dtype in (torch.float32, torch.float64))
    assert torch.allclose(single.double(), double, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_rounded_from_single(dtype):
    one, other = Generator(1), Generator(1)
    assert torch.equal(one.normal(100_000, dtype=dtype), other.normal(100_000).to(dtype))
    uniform = one.uniform(300_000, dtype=dtype)
    assert uniform.dtype == dtype
    assert bool((uniform > 0).all() and (uniform < 1).all())
    assert float(uniform.double().mean()) == pytest.approx(0.5, abs=5e-3)


def test_at_leaves_the_generator_where_it_is():
    generator = Generator([1, 2], stream="x")
    generator.normal(3)
    before = generator.state_dict()
    later = generator.at(7)
    later.normal(5)
    assert generator.state_dict() == before
    assert (later.step, later.seeds, later.stream) == (7, (1, 2), "x")
    assert torch.equal(generator.at(7).normal(2), Generator([1, 2], stream="x").at(7).normal(2))


def test_another_device_has_the_same_position():
    generator = Generator([1, 2])
    assert generator.to("cpu") is generator
    generator.normal(4)
    elsewhere = generator.to("meta")
    assert elsewhere.normal(6).shape == (2, 6)
    assert elsewhere.normal(6).device.type == elsewhere.device.type == "meta"
    assert generator.state_dict() == elsewhere.state_dict()  # what one draws, the other does not draw again
    assert elsewhere.at(0).state_dict() != generator.state_dict()


def test_state_continues_in_mid_step():
    generator = Generator([1, 2], stream="x").at(11)
    generator.normal(5)
    state, expected = generator.state_dict(), generator.normal(5)
    other = Generator(0)
    other.load_state_dict(state)
    assert torch.equal(other.normal(5), expected)


def test_the_global_random_state_is_untouched():
    before = torch.get_rng_state()
    Generator(range(3)).normal(10)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("seeds", [[], [-1], [1.5], [True], ["a"], [2**63]])
def test_bad_seeds(seeds):
    with pytest.raises(ValueError, match="seeds"):
        as_seeds(seeds)


@pytest.mark.parametrize("high", [0, -3, 2**31 + 1])
def test_bad_high(high):
    with pytest.raises(ValueError, match="high is"):
        Generator(0).integers(high, 2)


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.complex64])
@pytest.mark.parametrize("draw", ["normal", "uniform"])
def test_bad_dtype(draw, dtype):
    with pytest.raises(TypeError, match=f"dtype is {dtype}; expected float16"):
        getattr(Generator(0), draw)(3, dtype=dtype)


def test_what_is_no_generator():
    with pytest.raises(TypeError, match="generator is a int; expected a latentbook"):
        check_members(0, 1)


@pytest.mark.gpu
def test_cuda_draws_the_same_numbers():
    cpu, cuda = Generator(range(4)).at(9), Generator(range(4), device="cuda").at(9)
    assert torch.allclose(cpu.normal(1000), cuda.normal(1000).cpu(), atol=1e-5)
    assert torch.equal(cpu.integers(1000, 1000), cuda.integers(1000, 1000).cpu())
    moved = cpu.to("cuda")
    assert moved.to("cuda") is moved
    assert torch.allclose(moved.normal(1000).cpu(), cuda.normal(1000).cpu(), atol=1e-5)
