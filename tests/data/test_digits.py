"""The real digits, as the chapters see them."""

from __future__ import annotations

import torch
from sklearn.datasets import load_digits

from latentbook.data import digits


def test_shapes_types_and_range():
    data = digits.load()
    assert data.x.shape == (1797, 64) and data.x.dtype == torch.float32
    assert float(data.x.min()) == 0.0 and float(data.x.max()) == 1.0
    assert data.factors.shape == (1797, 1)
    assert (data.factor_sizes, data.factor_names, data.image_shape) == ((10,), ("digit",), (8, 8))


def test_rows_and_labels_are_scikit_learns_in_its_order():
    data, reference = digits.load(), load_digits()
    assert torch.equal((data.images * 16).to(torch.int64), torch.tensor(reference.images, dtype=torch.int64))
    assert data.factors[:, 0].tolist() == reference.target.tolist()
