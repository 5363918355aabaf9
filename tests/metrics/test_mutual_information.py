"""Mutual information by histograms: tables by hand, a reference, bias, and the gap."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import mutual_info_score

from latentbook.metrics import averaged_mutual_information, histogram_mig, mutual_information_matrix
from latentbook.random import Generator

DOUBLE = torch.float64


def grid(*sizes: int) -> torch.Tensor:
    return torch.cartesian_prod(*(torch.arange(size) for size in sizes))


def test_it_agrees_with_numpy_and_scikit_learn():
    generator = Generator(1)
    factors = torch.stack([generator.integers(size, 600)[0] for size in (2, 7)], dim=1)
    codes = generator.normal(600, 3, dtype=DOUBLE)[0] + factors[:, 1:]
    found = mutual_information_matrix(codes, factors, bins=20)
    for j, code in enumerate(codes.T.numpy()):
        edges = np.histogram(code, 20)[1][:-1]
        cells = np.digitize(code, edges)
        expected = [mutual_info_score(cells, factor) for factor in factors.T.numpy()]
        assert found[j].tolist() == pytest.approx(expected, abs=1e-12)


def test_by_hand():
    """Sixteen points: one code is a factor, the other the sum of both, with counts 1 2 3 4 3 2 1."""
    factors = grid(4, 4)
    codes = torch.stack([factors[:, 0], factors.sum(1)], dim=1).to(DOUBLE)
    share = torch.tensor([1, 2, 3, 4, 3, 2, 1], dtype=DOUBLE) / 16
    told = float(-(share * share.log()).sum()) - math.log(4)
    found = mutual_information_matrix(codes, factors)
    assert found.flatten().tolist() == pytest.approx([math.log(4), 0, told, told], abs=1e-12)
    result = histogram_mig(codes, factors)
    assert result.per_factor.tolist() == pytest.approx([1 - told / math.log(4), told / math.log(4)], abs=1e-12)
    assert result.score == pytest.approx(0.5, abs=1e-12) and isinstance(result.score, float)


def test_perfect_constant_and_duplicated_codes():
    factors = grid(3, 5)
    codes = factors.to(DOUBLE)
    assert histogram_mig(codes, factors).score == pytest.approx(1, abs=1e-12)
    assert histogram_mig(torch.full((15, 3), 0.1), factors).score == 0
    twice = histogram_mig(codes[:, [0, 1, 1]], factors)
    assert twice.per_factor.tolist() == pytest.approx([1, 0], abs=1e-12)


def test_bins_that_are_too_few_lose_levels():
    factors = grid(40, 3)
    codes = factors.to(DOUBLE)
    found = mutual_information_matrix(codes, factors, bins=20)
    assert float(found[0, 0]) == pytest.approx(math.log(20), abs=1e-3)  # two levels a bin


def test_units_do_not_matter_and_a_bent_code_does():
    factors = grid(16, 4)
    codes = factors.to(DOUBLE) / 15
    plain = mutual_information_matrix(codes, factors)
    assert (mutual_information_matrix(-1e-9 * codes + 3, factors) - plain).abs().max() < 1e-12
    assert float(mutual_information_matrix((8 * codes).exp(), factors)[0, 0]) < float(plain[0, 0]) - 0.3


def test_the_bias_is_what_the_formula_says_and_the_correction_takes_it_off():
    n, bins, levels, draws = 4000, 8, 5, 60
    codes = Generator(range(draws)).uniform(n, 1, dtype=DOUBLE)
    factors = Generator(0, stream="factor").integers(levels, n)[0][:, None]
    plain = mutual_information_matrix(codes, factors, bins=bins).flatten()
    corrected = mutual_information_matrix(codes, factors, bins=bins, correction="miller-madow").flatten()
    error = float(plain.std()) / math.sqrt(draws)
    assert float(plain.mean()) == pytest.approx((bins - 1) * (levels - 1) / (2 * n), abs=4 * error)
    assert float(corrected.mean()) == pytest.approx(0, abs=4 * error)
    assert 4 * error < (bins - 1) * (levels - 1) / (2 * n) / 2


def test_the_bins_are_those_of_the_averaged_mutual_information():
    codes = Generator(2).normal(500, 2, dtype=DOUBLE)[0]
    low, high = codes[:, 1].min(), codes[:, 1].max()
    second = ((codes[:, 1] - low) / (high - low) * 20).floor().long().clamp(max=19)[:, None]
    assert float(mutual_information_matrix(codes, second)[0, 0]) == pytest.approx(
        averaged_mutual_information(codes), abs=1e-12
    )


def test_batched_is_the_loop_and_codes_that_are_not_finite_spoil_their_member_alone():
    codes = Generator(range(6)).normal(90, 3, dtype=DOUBLE).view(2, 3, 90, 3)
    codes[1, 2, 4, 0] = math.nan
    factors = grid(9, 10)
    result = histogram_mig(codes, factors)
    assert result.score.shape == (2, 3) and result.mutual_information.shape == (2, 3, 3, 2)
    assert float(result.score[0, 1]) == pytest.approx(histogram_mig(codes[0, 1], factors).score, abs=1e-12)
    assert result.score[1, 2].isnan() and int(result.score.isnan().sum()) == 1


FACTORS = torch.tensor([[0], [1], [0], [1]])


@pytest.mark.parametrize(
    ("codes", "factors", "options", "message"),
    [
        (torch.zeros(4), FACTORS, {}, "codes has shape"),
        (torch.zeros(5, 2), FACTORS, {}, "factors has shape"),
        (torch.zeros(4, 2), FACTORS.double(), {}, "expected integers"),
        (torch.zeros(4, 2), 0 * FACTORS, {}, "one level only"),
        (torch.zeros(4, 2), FACTORS, {"bins": 1}, "bins is 1"),
        (torch.zeros(4, 2), FACTORS, {"correction": "jackknife"}, "correction is 'jackknife'"),
    ],
)
def test_bad_input(codes, factors, options, message):
    with pytest.raises(ValueError, match=message):
        mutual_information_matrix(codes, factors, **options)
