"""The MCC up to a linear map: closed forms, invariances, chance, references and bad input."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from latentbook.metrics import linear_mcc, mcc
from latentbook.random import Generator

DOUBLE = torch.float64


def points(*shape: int, stream: str = "") -> torch.Tensor:
    return Generator(3, stream=stream).normal(*shape, dtype=DOUBLE)[0]


@pytest.mark.parametrize("size", [1, 2, 5])
def test_any_invertible_affine_map_scores_one(size):
    s = points(200, size)
    z = s.exp() @ points(size, size, stream="A") + points(size, stream="b")
    assert linear_mcc(s @ points(size, size, stream="A") - 3, s).score == pytest.approx(1, abs=1e-12)
    assert linear_mcc(z, s.exp()).score == pytest.approx(1, abs=1e-12)


def test_affine_maps_of_either_side_change_nothing():
    s, noise = points(300, 3), points(300, 4, stream="noise")
    z = torch.cat([s, s[:, :1]], -1) + noise
    score, correlations = linear_mcc(z, s)
    other = linear_mcc(1e6 * z @ points(4, 4, stream="A") + 5, 1e-5 * s @ points(3, 3, stream="B") - 1)
    assert 0.5 < score < 0.9
    assert torch.allclose(other.correlations, correlations, atol=1e-10)
    assert torch.equal(correlations, correlations.sort(descending=True).values)
    assert linear_mcc(s, z).correlations.allclose(correlations, atol=1e-10)  # symmetric


def test_one_of_each_is_the_correlation():
    z, s = points(50, 1), points(50, 1, stream="s")
    z = z + 0.4 * s
    assert linear_mcc(z, s).score == pytest.approx(abs(np.corrcoef(z[:, 0], s[:, 0])[0, 1]), abs=1e-12)


def test_correlations_are_those_of_a_generalised_eigenproblem():
    s = points(400, 3)
    z = s[:, :2] @ points(2, 4, stream="A") + points(400, 4, stream="noise")
    both = np.cov(torch.cat([z, s], -1).T.numpy())
    cross = np.linalg.solve(both[:4, :4], both[:4, 4:]) @ np.linalg.solve(both[4:, 4:], both[4:, :4])
    squared = np.sort(np.linalg.eigvals(cross).real)[::-1][:3]
    assert np.allclose(linear_mcc(z, s).correlations.square(), squared, atol=1e-10)


def test_noise_of_a_known_size():
    s, noise = points(200_000, 3), points(200_000, 3, stream="noise")
    scale = torch.tensor([0.1, 1.0, 3.0], dtype=DOUBLE)
    expected = (1 + scale.square()).rsqrt()
    found = linear_mcc((s + scale * noise) @ points(3, 3, stream="A"), s).correlations
    assert torch.allclose(found, expected, atol=5 / math.sqrt(200_000))


def test_chance_level():
    n, latents, sources = 100, 4, 3
    z = Generator(range(400), stream="z").normal(n, latents, dtype=DOUBLE)
    s = Generator(range(400), stream="s").normal(n, sources, dtype=DOUBLE)
    squares = linear_mcc(z, s).correlations.square().sum(-1)
    error = squares.std() / math.sqrt(len(squares))
    assert abs(squares.mean() - latents * sources / (n - 1)) < 5 * error
    held_out = linear_mcc(z[:, 50:], s[:, 50:], fit=(z[:, :50], s[:, :50])).score
    assert abs(held_out.mean()) < 5 * held_out.std() / math.sqrt(len(held_out))


def test_right_space_and_wrong_axes():
    s = points(5000, 2)
    turn = torch.tensor([[1.0, -1.0], [1.0, 1.0]], dtype=DOUBLE) / math.sqrt(2)
    assert linear_mcc(s @ turn, s).score == pytest.approx(1, abs=1e-12)
    assert mcc(s @ turn, s).score < 0.75


def test_perfect_constant_and_duplicated_codes():
    s = points(100, 2)
    assert linear_mcc(s, s).score == pytest.approx(1, abs=1e-12)
    assert linear_mcc(torch.full_like(s, 3.0), s).score == 0
    assert linear_mcc(s[:, :1], s).score == pytest.approx(0.5, abs=1e-12)
    doubled = s[:, :1] + 1 - torch.tensor([0.0, 1.0], dtype=DOUBLE)
    score, correlations = linear_mcc(doubled, s)
    assert score == pytest.approx(0.5, abs=1e-9) and correlations.tolist() == pytest.approx([1, 0], abs=1e-9)


def test_held_out_points_use_maps_of_the_others():
    s, noise = points(400, 2), points(400, 2, stream="noise")
    z = s @ points(2, 2, stream="A") + 0.3 * noise
    first, second = linear_mcc(z[:200], s[:200], fit=(z[200:], s[200:])), linear_mcc(z[:200], s[:200])
    assert 0.8 < first.score < 1
    assert abs(first.score - second.score) < 0.05
    same = linear_mcc(z, s, fit=(z, s))
    assert torch.allclose(same.correlations, linear_mcc(z, s).correlations)


def test_batch_axes_and_members_that_diverged():
    s, z = points(60, 2), points(3, 60, 2, stream="z")
    z[1] = math.nan
    score, correlations = linear_mcc(z, s)
    assert score.shape == (3,) and correlations.shape == (3, 2)
    assert score.isnan().tolist() == [False, True, False]
    assert float(score[2]) == pytest.approx(linear_mcc(z[2], s).score, abs=1e-12)


@pytest.mark.parametrize(
    ("z", "s", "message"),
    [
        (torch.zeros(5), torch.zeros(5, 1), "z has shape"),
        (torch.zeros(9, 2), torch.zeros(8, 2), "same n"),
        (torch.zeros(9, 0), torch.zeros(9, 2), "z has shape"),
        (torch.zeros(4, 2), torch.zeros(4, 2), "z has 4 points; expected at least 5 for 2 latents and 2 sources"),
        (torch.zeros(2, 9, 2), torch.zeros(3, 9, 2), "broadcast"),
        (torch.zeros(9, 2), torch.full((9, 2), math.inf), "s has values that are NaN or infinite"),
    ],
)
def test_bad_input(z, s, message):
    with pytest.raises(ValueError, match=message):
        linear_mcc(z, s)


def test_fit_of_another_size():
    z, s = points(20, 2), points(20, 2, stream="s")
    with pytest.raises(ValueError, match="fit has 3 latents and 2 sources; expected"):
        linear_mcc(z, s, fit=(points(20, 3), s))
    with pytest.raises(ValueError, match=r"fit\[0\] has 4 points"):
        linear_mcc(z, s, fit=(z[:4], s[:4]))
