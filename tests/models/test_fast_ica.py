"""FastICA over a stack: it finds sources, is not fooled by single precision, and refuses what it cannot do."""

from __future__ import annotations

import math

import pytest
import torch

from latentbook.metrics import mcc
from latentbook.models import fast_ica
from latentbook.random import Generator

DOUBLE = torch.float64


def uniform(n: int = 2000, size: int = 3, seeds=(0, 1)) -> torch.Tensor:
    return Generator(seeds).uniform(n, size, dtype=DOUBLE) - 0.5


def test_sources_of_every_data_set_are_found():
    s = uniform()
    x = s @ Generator((0, 1), stream="A").normal(3, 3, dtype=DOUBLE)
    found = fast_ica(x)
    assert found.shape == x.shape and found.dtype == DOUBLE
    assert float(mcc(found, s).score.min()) > 0.99
    assert torch.allclose(found.mean(-2), torch.zeros(2, 3, dtype=DOUBLE), atol=1e-10)
    assert torch.allclose(found.std(-2, correction=0), torch.ones(2, 3, dtype=DOUBLE), atol=1e-10)
    assert torch.equal(fast_ica(x[1]), found[1])  # alone as in the stack


def test_white_data_in_single_precision():
    s = uniform(seeds=range(5))
    turn = torch.linalg.qr(Generator(range(5), stream="turn").normal(3, 3, dtype=DOUBLE))[0]
    x = s @ turn
    x = x - x.mean(-2, keepdim=True)
    factor = torch.linalg.cholesky(x.mT @ x / x.shape[-2])
    white = torch.linalg.solve_triangular(factor.mT, x, upper=True, left=False)
    assert float(mcc(fast_ica(white.float()), s).score.min()) > 0.98


def test_units_do_not_matter():
    s = uniform(seeds=(4,))[0]
    x = s @ Generator(4, stream="A").normal(3, 3, dtype=DOUBLE)[0]
    scaled = x * torch.tensor([1e-6, 1.0, 1e6], dtype=DOUBLE) + 7
    assert float(mcc(fast_ica(scaled), s).score) > 0.99


def test_a_member_that_diverged_is_nan():
    x = uniform(200)
    x[0, 3, 1] = math.nan
    found = fast_ica(x)
    assert bool(found[0].isnan().all()) and bool(found[1].isfinite().all())


@pytest.mark.parametrize("shape", [(5,), (3, 3), (2, 4, 5)])
def test_too_few_points(shape):
    with pytest.raises(ValueError, match="expected .* with more points than features"):
        fast_ica(torch.zeros(shape))


def test_dependent_features():
    x = uniform(100)
    x[1, :, 2] = x[1, :, 0] - x[1, :, 1]
    with pytest.raises(ValueError, match="data set 1 of x has rank 2; expected 3"):
        fast_ica(x)
    with pytest.raises(ValueError, match="rank 2"):
        fast_ica(torch.cat([x[0, :, :2], torch.ones(100, 1, dtype=DOUBLE)], -1))
