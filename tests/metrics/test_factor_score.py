"""The FactorVAE metric: codes whose answer is known, groups that share a level, dead latents."""

from __future__ import annotations

import math
import sys

import pytest
import torch

from latentbook.metrics import factor_score
from latentbook.random import Generator

DOUBLE = torch.float64
QUICK = {"votes": 400, "test_votes": 400, "points": 30}


def grid(*sizes: int) -> torch.Tensor:
    return torch.cartesian_prod(*(torch.arange(size) for size in sizes))


def test_a_perfect_code_scores_one_whatever_its_order_and_units():
    factors = grid(3, 5, 4)
    codes = factors[:, [2, 0, 1]] * torch.tensor([1e6, -1.0, 0.3], dtype=DOUBLE)
    score, votes = factor_score(codes, factors, **QUICK)
    assert score == 1 and isinstance(score, float)
    assert votes.argmax(0).tolist() == [1, 2, 0] and int(votes.sum()) == 400
    assert int((votes > 0).sum()) == 3


def test_constant_and_dead_latents_get_no_votes():
    factors = grid(4, 4)
    assert factor_score(torch.full((16, 2), 0.1), factors, **QUICK).score == 0
    codes = torch.cat([factors.to(DOUBLE), 0.01 * Generator(0).normal(16, 1, dtype=DOUBLE)[0]], dim=1)
    score, votes = factor_score(codes, factors, **QUICK)
    assert score == 1 and votes[2].tolist() == [0, 0]


def test_a_duplicated_and_a_split_factor_lose_nothing():
    factors = grid(6, 5)
    centred = factors.to(DOUBLE) - torch.tensor([2.5, 2.0])
    split = torch.cat([centred[:, :1].clamp(max=0), centred[:, :1].clamp(min=0), centred[:, 1:]], dim=1)
    for codes in (centred[:, [0, 0, 1]], split):
        assert factor_score(codes, factors, **QUICK).score == 1


def test_two_factors_in_one_latent_lose_one():
    """The latent wins every vote; of two equally frequent factors the classifier knows one."""
    factors = grid(4, 4)
    codes = torch.stack([4 * factors[:, 0] + factors[:, 1], 0 * factors[:, 0]], dim=1).to(DOUBLE)
    result = factor_score(codes, factors, votes=500, test_votes=4000, points=20)
    assert result.votes[1].tolist() == [0, 0]
    assert result.score == pytest.approx(0.5, abs=4 * math.sqrt(0.25 / 4000))


def test_unrelated_codes_score_one_over_the_number_of_factors():
    factors = grid(4, 5, 6, 4).repeat(4, 1)
    codes = Generator(range(6)).normal(len(factors), 4, dtype=DOUBLE)
    score = factor_score(codes, factors, votes=1000, test_votes=2000, generator=Generator(1)).score
    assert float(score.mean()) == pytest.approx(0.25, abs=0.06)


def test_groups_share_a_level_and_levels_are_as_frequent_as_in_the_data():
    factors = torch.stack([torch.arange(90) % 3 % 2, torch.arange(90) // 30], dim=1)  # level 0 twice as often as 1
    chosen, index = sys.modules["latentbook.metrics.factor_score"]._groups(factors, 6000, 5, Generator([0, 1]))
    level = factors[index, chosen[..., None]]
    assert index.shape == (2, 6000, 5) and bool((level == level[..., :1]).all())
    of_first = level[..., 0][chosen == 0].double()
    error = math.sqrt(2 / 9 / len(of_first))
    assert float(of_first.mean()) == pytest.approx(1 / 3, abs=4 * error)
    counts = index[(chosen == 1) & (level[..., 0] == 2)].flatten().bincount(minlength=90)
    assert int(counts[:60].sum()) == 0 and int(counts[60:].min()) > 0.7 * float(counts[60:].double().mean())
    assert float((chosen == 0).double().mean()) == pytest.approx(0.5, abs=4 * math.sqrt(0.25 / 12_000))


def test_the_score_is_on_votes_the_classifier_has_not_seen():
    """With one vote to learn from, a classifier of unrelated codes knows nothing, and must not score 1."""
    factors = grid(6, 6)
    codes = Generator(0).normal(36, 8, dtype=DOUBLE)[0]
    assert factor_score(codes, factors, votes=1, test_votes=2000, points=8).score < 0.75


def test_batched_is_the_loop_and_codes_that_are_not_finite_spoil_their_member_alone():
    factors = grid(5, 6)
    codes = Generator(range(3)).normal(30, 3, dtype=DOUBLE)
    codes[..., :2] += factors
    codes[1, 3, 1] = math.nan
    own = factor_score(codes, factors, **QUICK, generator=Generator([4, 5, 6]))
    shared = factor_score(codes, factors, **QUICK, generator=Generator(4))
    assert own.score.shape == (3,) and own.votes.shape == (3, 3, 2)
    assert own.score[1].isnan() and int(own.votes[1].sum()) == 0
    for k, seed in ((0, 4), (2, 6)):
        alone = factor_score(codes[k], factors, **QUICK, generator=Generator(seed))
        assert float(own.score[k]) == alone.score and torch.equal(own.votes[k], alone.votes)
    assert float(shared.score[2]) == factor_score(codes[2], factors, **QUICK, generator=Generator(4)).score


FACTORS = torch.tensor([[0], [1], [0], [1]])


@pytest.mark.parametrize(
    ("codes", "factors", "options", "message"),
    [
        (torch.zeros(4), FACTORS, {}, "codes has shape"),
        (torch.zeros(4, 2), FACTORS[:3], {}, "factors has shape"),
        (torch.zeros(4, 2), 0 * FACTORS, {}, "one level only"),
        (torch.zeros(4, 2), FACTORS, {"votes": 0}, "votes is 0"),
        (torch.zeros(4, 2), FACTORS, {"test_votes": 0}, "test_votes is 0"),
        (torch.zeros(4, 2), FACTORS, {"points": 1}, "points is 1"),
        (torch.zeros(4, 2), FACTORS, {"dead": math.nan}, "dead is nan"),
        (torch.zeros(4, 2), FACTORS, {"generator": Generator([1, 2])}, "2 seeds"),
    ],
)
def test_bad_input(codes, factors, options, message):
    with pytest.raises(ValueError, match=message):
        factor_score(codes, factors, **options)


def test_a_generator_is_one_of_ours():
    with pytest.raises(TypeError, match="generator"):
        factor_score(torch.zeros(4, 2), FACTORS, generator=torch.Generator())
