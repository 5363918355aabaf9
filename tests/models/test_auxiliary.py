"""The auxiliary variable: labels and vectors, shared or of each member, and what is refused."""

from __future__ import annotations

import pytest
import torch

from latentbook.models import Auxiliary
from latentbook.random import Generator

LABELS = torch.tensor([2, 0, 1])


def test_labels_become_one_hot_rows_and_vectors_stay():
    classes, real = Auxiliary(Generator([0, 1]), classes=3), Auxiliary(Generator([0, 1]), u_size=2)
    assert (classes.width, real.width) == (3, 2)
    assert torch.equal(classes(LABELS, 2, torch.float64), torch.eye(3, dtype=torch.float64)[LABELS])
    assert classes(LABELS.expand(2, 3), 2, torch.float32).shape == (2, 3, 3)
    rows = torch.rand(3, 3, generator=torch.Generator().manual_seed(0))
    assert torch.equal(classes(rows, 2, torch.float32), rows)
    assert real(torch.ones(2, 5, 2), 2, torch.float64).dtype == torch.float64
    assert classes(LABELS[:0], 2, torch.float32).shape == (0, 3)


@pytest.mark.parametrize(
    ("u", "words"),
    [
        (None, "u is None; expected the auxiliary variable: labels 0 to 2"),
        (LABELS + 1, "labels from 1 to 3; expected 0 to 2"),
        (LABELS.expand(3, 3), r"\(3, 3\); expected .* with 2 member"),
        (torch.ones(3, 4), r"u is torch.float32 \(3, 4\)"),
        (torch.tensor(1), r"u is torch.int64 \(\)"),
    ],
)
def test_bad_input(u, words):
    with pytest.raises(ValueError, match=words):
        Auxiliary(Generator([0, 1]), classes=3).check(u, 2)
