"""Diagnostics of segments: closed forms, invariances, and what is refused."""

from __future__ import annotations

import math

import pytest
import torch
from torch.distributions import Normal

from latentbook.metrics import gaussian_parameters, segment_conditioning, segment_moments
from latentbook.random import Generator

DOUBLE = torch.float64


def scales(segments: int, sources: int, seed: int = 0) -> torch.Tensor:
    return 0.1 * 30 ** Generator(seed).uniform(segments, sources, dtype=DOUBLE)[0]


def test_differences_are_those_of_the_natural_parameters():
    parameters = scales(4, 3)
    found = segment_conditioning(parameters).differences
    assert torch.equal(found, parameters[1:] - parameters[0])


@pytest.mark.parametrize(("segments", "rank"), [(2, 1), (3, 2), (4, 3), (10, 3)])
def test_rank_grows_with_segments_up_to_the_parameters(segments, rank):
    result = segment_conditioning(gaussian_parameters(torch.zeros(3), scales(segments, 3), statistics="scale"))
    assert int(result.rank) == rank
    assert bool(result.sufficient) == (rank == 3)
    assert math.isinf(result.condition) == (rank < 3)


def test_two_statistics_need_twice_as_many_segments():
    means = Generator(1).normal(7, 3, dtype=DOUBLE)[0]
    parameters = gaussian_parameters(means, scales(7, 3))
    assert parameters.shape == (7, 6)
    assert bool(segment_conditioning(parameters).sufficient)
    assert int(segment_conditioning(parameters[:6]).rank) == 5


def test_sources_modulated_together_are_not_told_apart():
    together = scales(20, 1) * torch.tensor([1.0, 2.0], dtype=DOUBLE)
    assert int(segment_conditioning(gaussian_parameters(torch.zeros(2), together, statistics="scale")).rank) == 1
    still = torch.cat([scales(20, 1), torch.ones(20, 1, dtype=DOUBLE)], -1)  # a source that never changes
    assert int(segment_conditioning(gaussian_parameters(torch.zeros(2), still, statistics="scale")).rank) == 1


def test_orthogonal_modulation_has_condition_one():
    plan = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]], dtype=DOUBLE)
    assert float(segment_conditioning(5 + plan).condition) == pytest.approx(1)
    lean = torch.tensor([[1.0, 1.0], [1.0, 1.0], [-1.0, -1.0], [-1.0, -0.9]], dtype=DOUBLE)
    centred = lean - lean.mean(0)
    cosine = float((centred / centred.norm(dim=0)).T.prod(0).sum())
    expected = math.sqrt((1 + cosine) / (1 - cosine))
    assert float(segment_conditioning(lean).condition) == pytest.approx(expected)


def test_order_of_segments_and_units_of_sources_do_not_matter():
    means, spread = Generator(1).normal(9, 2, dtype=DOUBLE)[0], scales(9, 2)
    result = segment_conditioning(gaussian_parameters(means, spread))
    unit = torch.tensor([1e-3, 40.0], dtype=DOUBLE)
    for other in (
        gaussian_parameters(means.flip(0), spread.flip(0)),
        gaussian_parameters(means * unit, spread * unit),
    ):
        assert torch.allclose(segment_conditioning(other).singular_values, result.singular_values, atol=1e-10)


def test_batch_axes():
    stack = torch.stack([scales(5, 2, seed) for seed in range(3)])
    result = segment_conditioning(stack)
    assert result.rank.shape == (3,) and result.differences.shape == (3, 4, 2)
    assert torch.allclose(result.condition[1], segment_conditioning(stack[1]).condition)
    assert int(segment_conditioning(torch.ones(4, 2)).rank) == 0


def test_gaussian_parameters_give_the_density():
    mean, scale = torch.tensor([[0.3, -1.0], [2.0, 0.0]], dtype=DOUBLE), scales(2, 2)
    s = Generator(5).normal(11, 1, 2, dtype=DOUBLE)[0]
    first, second = gaussian_parameters(mean, scale).chunk(2, -1)
    exponent = s * first + s.square() * second
    log_normaliser = (mean / scale).square() / 2 + scale.log() + 0.5 * math.log(2 * math.pi)
    assert torch.allclose(exponent - log_normaliser, Normal(mean, scale).log_prob(s))
    parts = [gaussian_parameters(mean, scale, statistics=name) for name in ("location", "scale")]
    assert torch.equal(torch.cat(parts, -1), gaussian_parameters(mean, scale))


def test_moments_of_every_segment():
    z, u = Generator([0, 1]).normal(50, 3, dtype=DOUBLE), Generator([0, 1]).integers(4, 50)
    mean, scale, count = segment_moments(z, u)
    assert mean.shape == scale.shape == (2, 4, 3) and count.sum(-1).tolist() == [50, 50]
    for member, segment in ((0, 0), (1, 3)):
        rows = z[member][u[member] == segment]
        assert torch.allclose(mean[member, segment], rows.mean(0))
        assert torch.allclose(scale[member, segment], rows.std(0, correction=0))
    shared = segment_moments(z, u[0])
    assert torch.allclose(shared.mean[1, 2], z[1][u[0] == 2].mean(0))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((torch.zeros(5),), "parameters has shape"),
        ((torch.zeros(1, 3),), "2 segments or more"),
        ((torch.full((3, 2), math.nan),), "NaN or infinite"),
    ],
)
def test_bad_parameters(arguments, message):
    with pytest.raises(ValueError, match=message):
        segment_conditioning(*arguments)
    with pytest.raises(ValueError, match="tolerance is 0"):
        segment_conditioning(torch.zeros(3, 2), tolerance=0)


def test_bad_gaussians():
    with pytest.raises(ValueError, match="scale has values that are not positive"):
        gaussian_parameters(torch.zeros(2), torch.tensor([1.0, 0.0]))
    with pytest.raises(ValueError, match="statistics is 'all'"):
        gaussian_parameters(torch.zeros(2), torch.ones(2), statistics="all")
    with pytest.raises(ValueError, match="expected shapes that broadcast"):
        gaussian_parameters(torch.zeros(3, 2), torch.ones(3, 4))


@pytest.mark.parametrize(
    ("u", "segments", "message"),
    [
        (torch.tensor([0, 0, 1, 1, 3, 3]), None, r"fewer than two points in segments \[2\]"),
        (torch.tensor([0, 0, 0, 1, 1, 2]), None, r"fewer than two points in segments \[2\]"),
        (torch.tensor([0, 0, 0, 1, 1, 1]), 3, r"fewer than two points in segments \[2\]"),
        (torch.tensor([0, 0, 1, 1, 2, 2]), 2, "u runs from 0 to 2; expected labels from 0 to 1"),
        (torch.tensor([-1, 0, 0, 1, 1, 1]), None, "u runs from -1"),
        (torch.tensor([0, 1]), None, "z has shape"),
    ],
)
def test_bad_labels(u, segments, message):
    with pytest.raises(ValueError, match=message):
        segment_moments(torch.zeros(6, 2), u, segments)


def test_labels_that_are_no_integers():
    with pytest.raises(TypeError, match="u has dtype torch.float32"):
        segment_moments(torch.zeros(6, 2), torch.zeros(6))
