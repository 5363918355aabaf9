"""Scikit-learn's handwritten digits: small, real, and shipped with the library, so nothing is downloaded.

The 1797 pictures are the test half of *Optical Recognition of Handwritten Digits* by E. Alpaydin and C. Kaynak (1998),
UCI Machine Learning Repository, data set 80; they were written by 13 people. Each is an 8 x 8 picture: a pixel counts
the inked points in a 4 x 4 block of a scan, 0 to 16. The copy comes with scikit-learn (BSD 3-Clause licence); the terms
of the original stand on its page, https://archive.ics.uci.edu/dataset/80.

Which digit was meant is the one factor that is known. Slant, thickness and hand are not: here recovery of the true
factors cannot be scored, and the book does not try.
"""

from __future__ import annotations

import torch
from sklearn.datasets import load_digits

from latentbook.data.dataset import Dataset

_DARKEST = 16  # inked points in a block


def load() -> Dataset:
    """The 1797 digits as a :class:`~latentbook.data.Dataset`.

    Returns:
        ``x`` float32 (1797, 64) in [0, 1], where 0 is paper and 1 is ink; ``factors`` int64 (1797, 1), the digit
        0 to 9; ``image_shape`` (8, 8).
    """
    bunch = load_digits()
    return Dataset(
        x=torch.tensor(bunch.data / _DARKEST, dtype=torch.float32),
        factors=torch.tensor(bunch.target, dtype=torch.int64)[:, None],
        factor_sizes=(10,),
        factor_names=("digit",),
        name="digits",
        image_shape=(8, 8),
    )
