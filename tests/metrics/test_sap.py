"""Separated attribute predictability: codes whose answer is known, for each kind of prediction."""

from __future__ import annotations

import math

import pytest
import torch

from latentbook.metrics import sap
from latentbook.random import Generator

DOUBLE = torch.float64
KINDS = ("r2", "threshold", "svm")


def grid(*sizes: int) -> torch.Tensor:
    return torch.cartesian_prod(*(torch.arange(size) for size in sizes))


@pytest.mark.parametrize("kind", KINDS)
def test_a_perfect_code_of_two_classes_each(kind):
    """On a grid of pairs a latent knows its factor; the other guesses, right half of the time."""
    factors = grid(2, 2).repeat(200, 1)
    score, per_factor, table = sap(factors.to(DOUBLE), factors, kind=kind)
    assert isinstance(score, float)
    assert table.diagonal().tolist() == pytest.approx([1, 1], abs=1e-9)
    chance = 0 if kind == "r2" else 0.5
    assert score == pytest.approx(1 - chance, abs=0.08)
    assert score == pytest.approx(float(per_factor.mean()), abs=1e-12)


def test_squared_correlations_by_hand():
    """The sum of two independent factors of variance 5/4 and 5/4: half of its variance is each factor's."""
    factors = grid(4, 4)
    codes = torch.stack([factors[:, 0], factors.sum(1)], dim=1).to(DOUBLE)
    score, per_factor, table = sap(codes, factors)
    assert table.flatten().tolist() == pytest.approx([1, 0, 0.5, 0.5], abs=1e-12)
    assert per_factor.tolist() == pytest.approx([0.5, 0.5], abs=1e-12) and score == pytest.approx(0.5, abs=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_constant_codes_score_zero(kind):
    score, _, table = sap(torch.full((40, 3), 0.1), grid(2, 2).repeat(10, 1), kind=kind)
    assert score == 0 and bool((table == 0).all())


@pytest.mark.parametrize("kind", KINDS)
def test_a_duplicated_latent_takes_the_gap_of_its_factor(kind):
    factors = grid(3, 3).repeat(30, 1)
    plain = sap(factors.to(DOUBLE), factors, kind=kind).per_factor
    twice = sap(factors[:, [0, 1, 1]].to(DOUBLE), factors, kind=kind).per_factor
    assert float(twice[0]) == pytest.approx(float(plain[0]), abs=1e-12) and float(twice[1]) == 0
    assert float(plain.min()) > 0.2


def test_thresholds_find_classes_that_a_line_cannot():
    """Middle classes of a line: thresholds separate eight levels, one linear function a class does not."""
    factors = grid(8, 2).repeat(30, 1)
    codes = factors.to(DOUBLE)
    assert float(sap(codes, factors, kind="threshold").predictability[0, 0]) == pytest.approx(1, abs=1e-12)
    assert float(sap(codes, factors, kind="svm").predictability[0, 0]) < 0.5


def test_units_do_not_matter_to_a_line_and_bending_does():
    factors = grid(6, 6)
    codes = factors.to(DOUBLE)
    assert sap(-1e-7 * codes + 4, factors).score == pytest.approx(1, abs=1e-9)
    assert sap(codes.exp(), factors).score < 0.8


def test_dead_latents_are_left_out():
    factors = grid(6, 6)
    codes = factors.to(DOUBLE) * torch.tensor([1.0, 0.01])
    assert sap(codes, factors).score == pytest.approx(1, abs=1e-9)
    assert sap(codes, factors, dead=0.05).per_factor.tolist() == pytest.approx([1, 0], abs=1e-9)


@pytest.mark.parametrize("kind", ["r2", "threshold"])
def test_batched_is_the_loop_and_codes_that_are_not_finite_spoil_their_member_alone(kind):
    factors = grid(5, 6).repeat(3, 1)
    codes = Generator(range(3)).normal(90, 2, dtype=DOUBLE) + factors
    codes[1, 5, 0] = math.inf
    result = sap(codes, factors, kind=kind, generator=Generator(8))
    assert result.score.shape == (3,) and result.predictability.shape == (3, 2, 2)
    for k in (0, 2):
        alone = sap(codes[k], factors, kind=kind, generator=Generator(8))
        assert float(result.score[k]) == pytest.approx(alone.score, abs=1e-12)
    assert result.score[1].isnan() and result.per_factor[1].isnan().all()


FACTORS = torch.tensor([[0], [1], [0], [1]])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "mlp"}, "kind is 'mlp'"),
        ({"dead": -1.0}, "dead is -1"),
        ({"held_out": 0.0}, "held_out is 0.0"),
        ({"held_out": 0.01}, "held_out is 0.01"),
        ({"generator": Generator([1, 2])}, "2 seeds"),
    ],
)
def test_bad_options(options, message):
    with pytest.raises(ValueError, match=message):
        sap(torch.zeros(4, 2), FACTORS, **options)


def test_bad_codes_and_factors():
    for codes, factors, message in (
        (torch.zeros(4), FACTORS, "codes has shape"),
        (torch.zeros(4, 2), FACTORS * 0, "one level only"),
        (torch.zeros(4, 2), FACTORS / 2, "expected integers"),
    ):
        with pytest.raises(ValueError, match=message):
            sap(codes, factors)
    rare = torch.zeros(30, 1, dtype=torch.int64)
    rare[3] = 1  # one point of its level: with most points held out, training may not see it
    with pytest.raises(ValueError, match="one level only"):
        for seed in range(20):
            sap(torch.arange(60.0).view(30, 2), rare, kind="svm", held_out=0.9, generator=Generator(seed))
    with pytest.raises(TypeError, match="generator"):
        sap(torch.zeros(4, 2), FACTORS, generator=3)
