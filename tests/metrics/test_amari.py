"""The Amari distance: zero for scaled permutations only, largest for equal entries."""

from __future__ import annotations

import pytest
import torch

from latentbook.metrics import amari_distance
from latentbook.random import Generator

DOUBLE = torch.float64


def normal(*shape: int) -> torch.Tensor:
    return Generator(0).normal(*shape, dtype=DOUBLE)[0]


def test_hand_computed_value():
    product = torch.tensor([[2.0, 1.0], [0.0, -4.0]], dtype=DOUBLE)
    assert float(amari_distance(product)) == pytest.approx((1 / 4 + 0 + 0 + 1 / 16) / 4, abs=1e-15)


def test_scaled_permutations_have_none_and_nothing_else():
    scaled = torch.diag(torch.tensor([1e-3, -2.0, 1e200], dtype=DOUBLE))[[2, 0, 1]]
    assert float(amari_distance(scaled)) == 0
    scaled[0, 0] = 1e-4
    assert float(amari_distance(scaled)) > 0


@pytest.mark.parametrize("size", [2, 3, 7])
def test_equal_sizes_are_the_worst(size):
    signs = normal(size, size).sign()
    assert float(amari_distance(signs)) == pytest.approx(size - 1)
    distance = amari_distance(normal(2000, size, size))
    assert bool((distance > 0).all() and (distance < size - 1).all())


def test_batches_permutations_and_signs():
    product = normal(4, 5, 3, 3)
    distance = amari_distance(product)
    assert distance.shape == (4, 5) and float(distance[2, 3]) == float(amari_distance(product[2, 3]))
    assert torch.allclose(amari_distance(-3 * product[..., [2, 0, 1], :]), distance)
    assert torch.allclose(amari_distance(product.mT), distance)


def test_a_row_of_zeros_is_undefined_and_rectangles_are_refused():
    assert amari_distance(torch.tensor([[1.0, 0.0], [0.0, 0.0]])).isnan()
    for shape in ((3, 2), (2, 3), (3,)):
        with pytest.raises(ValueError, match="product has shape"):
            amari_distance(torch.ones(shape))
