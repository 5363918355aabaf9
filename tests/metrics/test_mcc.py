"""The mean correlation coefficient: perfect, constant and duplicated codes, chance, matching held out."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats

from latentbook.metrics import chance_mcc, mcc
from latentbook.random import Generator

DOUBLE = torch.float64
KINDS = ("pearson", "spearman")


def sources(n: int = 500, size: int = 3, seed: int = 7) -> torch.Tensor:
    return Generator(seed).normal(n, size, dtype=DOUBLE)[0]


@pytest.mark.parametrize("kind", KINDS)
def test_a_perfect_code_is_found_through_permutation_sign_scale_and_offset(kind):
    s, order = sources(), torch.tensor([2, 0, 1])
    z = torch.empty_like(s)
    z[:, order] = s * torch.tensor([-1e-6, 2.0, 1e6], dtype=DOUBLE) + 1e3
    score, permutation, correlation = mcc(z, s, kind)
    assert isinstance(score, float) and score == pytest.approx(1, abs=1e-9)
    assert torch.equal(permutation, order)
    assert correlation[order, torch.arange(3)].tolist() == pytest.approx([-1, 1, 1], abs=1e-9)


def test_spearman_sees_monotone_maps_as_perfect_and_pearson_does_not():
    s = sources()
    assert mcc(s.exp(), s, "spearman").score == pytest.approx(1, abs=1e-12)
    assert mcc(s.exp(), s, "pearson").score < 0.9


@pytest.mark.parametrize("dtype", [torch.float32, DOUBLE])
@pytest.mark.parametrize("kind", KINDS)
def test_constant_columns_correlate_with_nothing(kind, dtype):
    s = sources().to(dtype)
    z = s.clone()
    z[:, 1] = 0.1
    score, permutation, correlation = mcc(z, s, kind)
    assert score == pytest.approx(2 / 3, abs=1e-6)
    assert sorted(permutation.tolist()) == [0, 1, 2] and permutation[[0, 2]].tolist() == [0, 2]
    assert correlation[1].tolist() == [0, 0, 0]
    assert mcc(torch.full_like(s, 0.1), s, kind).score == 0


def test_duplicated_codes_count_once():
    s = sources(20_000)
    z = s[:, [0, 0, 1]]
    score, permutation, _ = mcc(z, s)
    assert score == pytest.approx(2 / 3, abs=0.01)
    assert permutation[0] in (0, 1) and permutation[1] == 2


def test_fewer_latents_than_sources_leave_a_source_at_zero():
    s = sources()
    score, permutation, correlation = mcc(-s[:, [2, 0]], s)
    assert score == pytest.approx(2 / 3, abs=1e-12)
    assert permutation.tolist() == [1, -1, 0] and correlation.shape == (2, 3)


def test_latents_left_over_do_not_count():
    s = sources()
    z = torch.cat([sources(seed=8)[:, :2], s.flip(-1)], dim=-1)
    score, permutation, _ = mcc(z, s)
    assert score == pytest.approx(1, abs=1e-12) and permutation.tolist() == [4, 3, 2]


def test_the_matching_is_the_best_one_not_the_greedy_one():
    both = sources(400, 4)
    both = torch.linalg.qr(both - both.mean(0)).Q  # exactly uncorrelated
    s, noise = both[:, :2], both[:, 2:]
    wanted = torch.tensor([[0.6, 0.59], [0.5, 0.0]], dtype=DOUBLE)  # greedy: 0.6 + 0
    score, permutation, correlation = mcc(s @ wanted.T + noise * (1 - wanted.square().sum(1)).sqrt(), s)
    assert torch.allclose(correlation, wanted, atol=1e-12)
    assert permutation.tolist() == [1, 0] and score == pytest.approx((0.59 + 0.5) / 2)


@pytest.mark.parametrize(("kind", "reference"), [("pearson", stats.pearsonr), ("spearman", stats.spearmanr)])
def test_correlations_agree_with_scipy_ties_included(kind, reference):
    z = (sources(80, 4) * 2).round()  # many ties
    s = (sources(80, 3, seed=3) + 0.5 * z[:, :3]).round()
    correlation = mcc(z, s, kind).correlation
    expected = [[reference(z[:, i].numpy(), s[:, j].numpy())[0] for j in range(3)] for i in range(4)]
    assert np.abs(correlation.numpy() - np.array(expected)).max() < 1e-12


@pytest.mark.parametrize("kind", KINDS)
def test_batched_is_the_loop(kind):
    generator = Generator(range(6))
    z, s = (generator.normal(50, size).view(2, 3, 50, size) for size in (4, 3))
    batched, shared = mcc(z, s, kind), mcc(z, s[1, 2], kind)
    assert batched.score.shape == (2, 3) and batched.permutation.shape == (2, 3, 3)
    assert batched.correlation.shape == shared.correlation.shape == (2, 3, 4, 3)
    for i in range(2):
        for j in range(3):
            for stack, target in ((batched, s[i, j]), (shared, s[1, 2])):
                alone = mcc(z[i, j], target, kind)
                assert float(stack.score[i, j]) == pytest.approx(alone.score, abs=1e-12)
                assert torch.equal(stack.permutation[i, j], alone.permutation)


def test_a_matching_held_out_takes_the_flattery_from_noise():
    z, s = Generator(range(200)).normal(2, 30, 3), Generator(range(200), stream="s").normal(2, 30, 3)
    flattered = mcc(z[:, 0], s[:, 0])
    held_out = mcc(z[:, 0], s[:, 0], fit=(z[:, 1], s[:, 1]))
    error = float(held_out.score.std()) / math.sqrt(200)
    expected = math.gamma(14.5) / (math.sqrt(math.pi) * math.gamma(15))  # E|r| of 30 independent normal pairs
    assert float(held_out.score.mean()) == pytest.approx(expected, abs=4 * error)
    assert float(flattered.score.mean()) > expected + 10 * error
    assert torch.equal(held_out.permutation, mcc(z[:, 1], s[:, 1]).permutation)
    perfect = sources()
    assert mcc(perfect, perfect, fit=(perfect[:50], perfect[:50])).score == pytest.approx(1, abs=1e-12)


def test_codes_that_are_not_finite_spoil_their_member_alone():
    s = sources()
    z = torch.stack([s, s, s])
    z[1, 4, 0] = math.nan
    for result in (mcc(z, s), mcc(s.expand(3, -1, -1), s, fit=(z, s))):
        assert result.score[[0, 2]].tolist() == pytest.approx([1, 1], abs=1e-12)
        assert result.score[1].isnan() and result.permutation[1].tolist() == [-1, -1, -1]


@pytest.mark.parametrize(("n", "size", "published"), [(64, 2, 0.130), (64, 3, 0.151), (64, 10, 0.214), (512, 4, 0.058)])
def test_chance_level(n, size, published):
    assert chance_mcc(n, size, Generator(0)) == pytest.approx(published, abs=0.003)


def test_chance_level_of_other_kinds_and_sizes():
    assert chance_mcc(64, 3, Generator(0), kind="spearman", draws=500) == pytest.approx(0.151, abs=0.006)
    more = chance_mcc(64, 6, Generator([0, 1]), sources=3, draws=500)
    assert more > chance_mcc(64, 3, Generator(0)) + 0.02
    one = math.gamma(31.5) / (math.sqrt(math.pi) * math.gamma(32))  # E|r| of 64 independent normal pairs
    assert chance_mcc(64, 1, Generator(1), draws=4000) == pytest.approx(one, abs=0.005)


@pytest.mark.parametrize(("size", "expected"), [(2, 2 * math.sqrt(2) / math.pi), (3, 0.828), (4, 0.773)])
def test_a_random_rotation_scores_high(size, expected):
    s = sources(40, size)
    s = torch.linalg.qr(s - s.mean(0)).Q
    q, r = torch.linalg.qr(Generator(0).normal(8000, size, size, dtype=DOUBLE)[0])
    rotations = q * r.diagonal(dim1=-2, dim2=-1).sign()[:, None]
    assert float(mcc(s @ rotations, s).score.mean()) == pytest.approx(expected, abs=0.005)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((torch.ones(4, 2), torch.ones(4, 2), "kendall"), "kind is 'kendall'"),
        ((torch.ones(4, 2), torch.ones(5, 2)), "same n"),
        ((torch.ones(4), torch.ones(4)), "same n"),
        ((torch.ones(4, 0), torch.ones(4, 2)), "same n"),
        ((torch.ones(1, 2), torch.ones(1, 2)), "1 point"),
        ((torch.ones(3, 4, 2), torch.ones(2, 4, 2)), "expected axes that broadcast"),
        ((torch.ones(4, 2), torch.full((4, 2), math.inf)), "s has values"),
    ],
)
def test_bad_input(arguments, message):
    with pytest.raises(ValueError, match=message):
        mcc(*arguments)


def test_bad_sizes():
    with pytest.raises(ValueError, match="fit has"):
        mcc(torch.ones(4, 2), torch.ones(4, 2), fit=(torch.ones(4, 3), torch.ones(4, 2)))
    for options in ({"n": 1}, {"size": 0}, {"draws": 0}, {"sources": 0}):
        with pytest.raises(ValueError, match=f"{next(iter(options))} is"):
            chance_mcc(**{"n": 64, "size": 3, "generator": Generator(0)} | options)
    with pytest.raises(TypeError, match="generator"):
        chance_mcc(64, 3, 0)
