"""Averaged mutual information: against scikit-learn, its bias, the null level that belongs to it."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn.metrics import mutual_info_score

from latentbook.metrics import averaged_mutual_information, pairwise_mutual_information, shuffled_mutual_information
from latentbook.random import Generator

DOUBLE = torch.float64


def gaussians(n: int, size: int = 4, seed: int = 0, members: int = 1) -> torch.Tensor:
    return Generator(range(seed, seed + members), stream="codes").normal(n, size, dtype=DOUBLE)


def published(z: np.ndarray, bins: int = 20) -> float:
    """The published estimator, by scikit-learn: histogram edges, labels, mutual_info_score, mean over pairs."""
    labels = np.stack([np.digitize(column, np.histogram(column, bins)[1][:-1]) for column in z.T], 1)
    pairs = [(i, j) for i in range(z.shape[1]) for j in range(z.shape[1]) if i != j]
    return float(np.mean([mutual_info_score(labels[:, i], labels[:, j]) for i, j in pairs]))


@pytest.mark.parametrize("bins", [5, 20])
def test_agrees_with_the_published_estimator(bins):
    z = gaussians(300)[0]
    z[:, 1] += z[:, 0]
    assert averaged_mutual_information(z, bins=bins) == pytest.approx(published(z.numpy(), bins), abs=1e-9)


@pytest.mark.parametrize(("n", "expected", "tolerance"), [(1797, 0.083, 0.01), (10_000, 0.015, 0.003)])
def test_independent_gaussians_do_not_score_zero(n, expected, tolerance):
    z = gaussians(n, members=3)
    values = averaged_mutual_information(z)
    assert float((values - expected).abs().max()) < tolerance
    null = shuffled_mutual_information(z, Generator(range(3)), draws=6)
    assert float((values - null.mean).abs().max()) < 0.1 * expected
    assert float((averaged_mutual_information(z, correction="miller-madow")).abs().max()) < 0.6 * expected


def test_the_correction_works_where_cells_are_full():
    """Four bins and many points: the bias is (4 - 1)^2 / 2n, and the correction takes it off."""
    z = Generator(range(200)).uniform(2000, 2, dtype=DOUBLE)
    plain, corrected = (averaged_mutual_information(z, bins=4, correction=c) for c in ("none", "miller-madow"))
    error = float(plain.std()) / math.sqrt(200)
    assert float(plain.mean()) == pytest.approx(9 / 4000, abs=4 * error)
    assert float(corrected.mean()) == pytest.approx(0, abs=4 * error)


def test_constant_duplicated_and_dependent_codes():
    z = gaussians(1000, 3)[0]
    assert averaged_mutual_information(torch.ones(1000, 3)) == 0
    pair = pairwise_mutual_information(z[:, [0, 0, 1]])
    assert pair[0, 1] == pytest.approx(float(pair[0, 0])) and torch.allclose(pair, pair.mT)
    z[:, 2] = z[:, 0].square()  # no correlation, all dependence
    assert pairwise_mutual_information(z)[0, 2] > 1


def test_a_known_amount():
    """Two uniform variables that agree in their quarter and in nothing else share log 4."""
    generator = Generator(5)
    quarter = generator.integers(4, 50_000)[0].double()
    z = torch.stack([quarter + generator.uniform(50_000, dtype=DOUBLE)[0] for _ in range(2)], 1)
    assert averaged_mutual_information(z, bins=4) == pytest.approx(math.log(4), abs=0.01)


def test_subsets_and_members():
    z = gaussians(200, 4, members=3)
    values = averaged_mutual_information(z)
    assert values.tolist() == pytest.approx([averaged_mutual_information(member) for member in z])
    part = averaged_mutual_information(z[1], [0, 3])
    masks = torch.tensor([[True] * 4, [True, False, False, True], [True, False, False, False]])
    own = averaged_mutual_information(z, masks)
    assert own[0] == pytest.approx(float(values[0])) and own[1] == pytest.approx(part) and own[2].isnan()
    z[0, 0, 0] = math.nan
    assert averaged_mutual_information(z)[0].isnan() and not averaged_mutual_information(z)[1:].isnan().any()


def test_the_null_level_belongs_to_a_stream():
    z = gaussians(200, 3, members=2)
    for seeds in (Generator(3), Generator([3, 4])):
        first, again = (shuffled_mutual_information(z, seeds, draws=3) for _ in range(2))
        assert first.mean.shape == (2,) and torch.equal(first.mean, again.mean)
    alone = shuffled_mutual_information(z[1], Generator(4), draws=3)
    stacked = shuffled_mutual_information(z, Generator([3, 4]), draws=3)
    assert isinstance(alone.mean, float) and alone.mean == pytest.approx(float(stacked.mean[1]))
    assert alone.deviation > 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: averaged_mutual_information(torch.rand(50, 1)), "expected at least 2"),
        (lambda: averaged_mutual_information(torch.rand(3, 3)), "more points than latents"),
        (lambda: averaged_mutual_information(torch.rand(50)), "codes has shape"),
        (lambda: averaged_mutual_information(torch.rand(50, 2), bins=1), "bins is 1"),
        (lambda: averaged_mutual_information(torch.rand(50, 2), correction="magic"), "correction is 'magic'"),
        (lambda: averaged_mutual_information(torch.rand(50, 2), [0]), "fewer than two"),
        (lambda: shuffled_mutual_information(torch.rand(50, 2), Generator(0), draws=1), "draws is 1"),
        (lambda: shuffled_mutual_information(torch.rand(50, 2), Generator([0, 1])), "generator has 2 seeds"),
    ],
)
def test_bad_input(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_bad_generator():
    with pytest.raises(TypeError, match="generator"):
        shuffled_mutual_information(torch.rand(50, 2), 0)
