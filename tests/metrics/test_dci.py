"""Disentanglement, completeness, informativeness: importances by hand, and codes whose answer is known."""

from __future__ import annotations

import math

import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.tree import DecisionTreeClassifier

from latentbook.metrics import dci, disentanglement_completeness
from latentbook.random import Generator

DOUBLE = torch.float64
QUICK = DecisionTreeClassifier(random_state=0)


def grid(*sizes: int) -> torch.Tensor:
    return torch.cartesian_prod(*(torch.arange(size) for size in sizes))


def test_importances_by_hand():
    """Latent 0 serves factor 0 alone, latent 1 both equally; shares of all importance are 1/2 each."""
    importance = torch.tensor([[2.0, 0.0], [1.0, 1.0]])
    disentanglement, completeness = disentanglement_completeness(importance)
    assert float(disentanglement) == pytest.approx(0.5, abs=1e-12)
    two_thirds = 1 + (2 / 3 * math.log(2 / 3) + 1 / 3 * math.log(1 / 3)) / math.log(2)
    assert float(completeness) == pytest.approx(0.75 * two_thirds + 0.25 * 1, abs=1e-12)


@pytest.mark.parametrize(
    ("importance", "disentanglement", "completeness"),
    [
        (torch.eye(3), 1, 1),
        (torch.eye(3)[:, [2, 0, 1]], 1, 1),
        (torch.ones(4, 3), 0, 0),
        (torch.zeros(4, 3), 0, 0),
        (torch.tensor([[1.0, 0], [1, 0], [0, 1], [0, 1]]), 1, 0.5),  # two latents a factor: log 2 / log 4
        (torch.tensor([[1.0, 1], [0, 0]]), 0, 1),  # two factors in one latent
        (torch.tensor([[1.0, 0, 0], [0, 1, 1], [0, 0, 0]]), 1 / 3 + (1 - math.log(2) / math.log(3)) * 2 / 3, 1),
        (torch.ones(1, 2), 0, 1),
    ],
)
def test_limits(importance, disentanglement, completeness):
    found = disentanglement_completeness(importance)
    assert [float(value) for value in found] == pytest.approx([disentanglement, completeness], abs=1e-7)


@pytest.mark.parametrize(("predictor", "close"), [("forest", 0.02), ("boosted_trees", 0.02), ("lasso", 0.02)])
def test_a_perfect_code(predictor, close):
    factors = grid(3, 4).repeat(12, 1)
    result = dci(factors.flip(1).to(DOUBLE), factors, predictor=predictor)
    assert isinstance(result.disentanglement, float)
    assert result[:3] == pytest.approx([1, 1, 1], abs=close)
    assert result.importance.argmax(0).tolist() == [1, 0]


@pytest.mark.parametrize("predictor", ["forest", "lasso", QUICK])
def test_a_constant_code_tells_nothing(predictor):
    result = dci(torch.full((60, 3), 0.1), grid(3, 4).repeat(5, 1), predictor=predictor)
    assert result.disentanglement == 0 and result.completeness == 0
    assert result.informativeness < 0.4 and bool((result.importance == 0).all())


def test_a_duplicated_latent_costs_completeness_alone():
    factors = grid(3, 4).repeat(20, 1)
    noise = 1e-3 * Generator(0).normal(240, 3, dtype=DOUBLE)[0]
    result = dci(factors[:, [0, 1, 1]].to(DOUBLE) + noise, factors)
    assert result.disentanglement > 0.98 and result.informativeness > 0.98
    assert result.completeness < 0.9


def test_two_factors_in_one_latent_cost_disentanglement_alone():
    factors = grid(3, 4).repeat(20, 1)
    codes = torch.stack([4 * factors[:, 0] + factors[:, 1], 0 * factors[:, 0]], dim=1).to(DOUBLE)
    result = dci(codes, factors)
    assert result.disentanglement < 0.02 and result.completeness == pytest.approx(1) and result.informativeness > 0.98


def test_lasso_sees_lines_alone_and_informativeness_is_r_squared():
    factors = grid(5, 4).repeat(15, 1)
    codes = factors.to(DOUBLE)
    centred = codes - codes.mean(0)
    bent = dci(centred.square(), factors, predictor="lasso")
    assert bent.informativeness < 0.1
    turned = dci(torch.stack([codes.sum(1), codes[:, 0] - codes[:, 1]], 1), factors, predictor="lasso")
    assert turned.informativeness > 0.98 and turned.disentanglement < 0.1


def test_units_do_not_matter():
    factors = grid(3, 4).repeat(12, 1)
    codes = Generator(3).normal(144, 2, dtype=DOUBLE)[0] * 0.3 + factors
    for predictor in ("lasso", QUICK):
        plain, scaled = (dci(value, factors, predictor=predictor) for value in (codes, 1e-6 * codes - 2))
        assert scaled[:3] == pytest.approx(plain[:3], abs=1e-6)


def test_an_estimator_of_ones_own_and_its_coefficients():
    factors = grid(2, 2).repeat(30, 1)
    result = dci(factors.to(DOUBLE), factors, predictor=LogisticRegression())
    assert result.informativeness == 1 and result.disentanglement > 0.7


def test_batched_is_the_loop_and_codes_that_are_not_finite_spoil_their_member_alone():
    factors = grid(3, 4).repeat(10, 1)
    codes = Generator(range(3)).normal(120, 3, dtype=DOUBLE) * 0.5
    codes[..., :2] += factors
    codes[1, 7, 2] = math.nan
    result = dci(codes, factors, predictor=QUICK, generator=Generator(4))
    assert result.informativeness.shape == (3,) and result.importance.shape == (3, 3, 2)
    alone = dci(codes[2], factors, predictor=QUICK, generator=Generator(4))
    assert [float(value[2]) for value in result[:3]] == pytest.approx(alone[:3], abs=1e-12)
    assert all(bool(value[1].isnan()) and not bool(value[[0, 2]].isnan().any()) for value in result[:3])


def test_bad_input():
    codes, factors = torch.arange(24.0).view(12, 2), grid(3, 4)
    for options, message in (
        ({"predictor": "svm"}, "predictor is 'svm'"),
        ({"held_out": 1.0}, "held_out is 1.0"),
        ({"generator": Generator([1, 2])}, "2 seeds"),
    ):
        with pytest.raises(ValueError, match=message):
            dci(codes, factors, **options)
    for wrong, message in (
        (factors[:, :1], "one column"),
        (factors / 2, "integers"),
        (factors[:5], "factors has shape"),
    ):
        with pytest.raises(ValueError, match=message):
            dci(codes, wrong)
    with pytest.raises(TypeError, match="predictor is a int"):
        dci(codes, factors, predictor=3)
    with pytest.raises(TypeError, match="expected one with importances"):
        dci(codes, factors, predictor=KNeighborsClassifier(2))
    with pytest.raises(ValueError, match="importance has shape"):
        disentanglement_completeness(torch.ones(3, 1))
    with pytest.raises(ValueError, match="importance goes down to -1"):
        disentanglement_completeness(-torch.ones(3, 2))
