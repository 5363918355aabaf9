"""Moebius maps: conformal, and the published one as published."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
import torch

from latentbook.mixings import Moebius
from latentbook.random import Generator


def contrast(J):
    gram = J.mT @ J
    return 0.5 * (gram.diagonal(dim1=-2, dim2=-1).log().sum(-1) - torch.linalg.slogdet(gram).logabsdet)


def cube(seeds, n, size):
    return Generator(seeds, stream="cube").uniform(n, size, dtype=torch.float64) - 0.5


@pytest.mark.parametrize("size", [2, 3, 5, 10])
def test_columns_are_orthogonal_and_equally_long(size):
    mixing = Moebius.random(Generator(range(20)), size)
    s = cube(range(20), 50, size)
    J = mixing.jacobian(s)
    assert contrast(J).abs().max() < 1e-10
    scale = (s - mixing.pole[:, None]).norm(dim=-1).pow(-4)
    unit = J.mT @ J / scale[..., None, None]
    assert (unit - torch.eye(size).double()).abs().max() < 1e-10
    assert (mixing.inverse(mixing(s)) - s).abs().max() < 1e-10


def test_random_poles_lie_outside_the_cube_and_follow_the_truncated_normal_law():
    pole = Moebius.random(Generator(range(4000)), 3).pole.flatten().numpy()
    assert np.abs(pole).min() > 0.5
    tail = scipy.stats.truncnorm(0.5, np.inf)
    assert scipy.stats.kstest(np.abs(pole), tail.cdf).pvalue > 1e-3
    assert abs((pole > 0).mean() - 0.5) < 5 * 0.5 * len(pole) ** -0.5


def test_the_published_map():
    mixing = Moebius.published()
    s = cube([0], 200_000, 3)[0]
    x, J = mixing(s), mixing.jacobian(s)
    assert contrast(J).abs().max() < 1e-10
    assert x.var(0).mean().item() == pytest.approx(0.00255, abs=2e-5)
    assert mixing.log_prob(x, "uniform").mean().item() == pytest.approx(5.2934, abs=0.01)
    assert J.square().sum(-2).mean().item() == pytest.approx(0.0332, abs=2e-4)
    assert 5.2e-4 < contrast(J.mean(0)).item() < 5.5e-4  # not zero, although every local contrast is
    assert mixing.pole.tolist() == pytest.approx([1.74481, -0.76121, 1.46211], abs=1e-5)


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: Moebius([1.0, 1.0], [[1.0, 0.1], [0.0, 1.0]]), r"matrix is not orthogonal: .* by 0.1"),
        (lambda: Moebius([1.0, 1.0], torch.zeros(2, 2)), "matrix is not orthogonal"),
        (lambda: Moebius([1.0, 1.0, 1.0], torch.eye(2)), "pole has 3 numbers; expected 2"),
        (lambda: Moebius([1.0, 1.0], torch.eye(2), offset=[1.0]), "offset has 1 numbers; expected 2"),
        (lambda: Moebius([1.0, 1.0], torch.eye(2), scale=0.0), "scale is 0.0"),
        (lambda: Moebius([1.0, math.inf], torch.eye(2)), "pole holds NaN or infinity"),
        (lambda: Moebius([1.0, 1.0], torch.eye(2))(torch.tensor([[0.0, 0.0], [1.0, 1.0]])), "s has a row at the pole"),
        (
            lambda: Moebius([1.0, 1.0], torch.eye(2)).jacobian(torch.tensor([[1.0, 1.0]], dtype=torch.float64)),
            "s has a row at the pole",
        ),
        (
            lambda: Moebius([1.0, 1.0], torch.eye(2), offset=[3.0, 4.0]).inverse(torch.tensor([[3.0, 4.0]])),
            "x has a row at offset, the image of infinity",
        ),
    ],
)
def test_bad_input_is_refused_by_name(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def test_a_number_that_is_not_finite_stays_visible():
    assert Moebius.published()(torch.tensor([[math.nan, 0.0, 0.0]])).isnan().all()
