"""What every data set of this book looks like: rows to learn from, and the factors that made them where known."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Dataset:
    """Rows ``x``, and for each row the true factors where they are known.

    A data set never changes: :meth:`to` and :meth:`split` return new ones. A data set that stores its rows in
    another form (packed bits, say) overrides :meth:`batch`, ``features`` and ``_check_x``.

    Args:
        x: the observations, a floating-point tensor (n, features).
        factors: the class of every factor of every row, int64 (n, k), or None where the factors are unknown.
        factor_sizes: how many classes each factor has, k integers; factor ``j`` lies in ``0 .. factor_sizes[j] - 1``.
        factor_names: a name for each factor, k strings.
        name: what the data set is called.
        image_shape: (height, width) or (height, width, channels) of a row seen as a picture, else None.

    Raises:
        TypeError: if ``x`` or ``factors`` is not a tensor of the type named above.
        ValueError: if ``x`` is empty, not two-dimensional, or holds NaN or infinity; if the factors, their sizes or
            names, or the image shape do not fit.

    Example:
        >>> data = Dataset(torch.rand(6, 4), image_shape=(2, 2))
        >>> len(data), data.batch(torch.tensor([[0, 1, 2], [3, 4, 5]])).shape
        (6, torch.Size([2, 3, 4]))
    """

    x: Tensor
    factors: Tensor | None = None
    factor_sizes: tuple[int, ...] = ()
    factor_names: tuple[str, ...] = ()
    name: str = ""
    image_shape: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        self._check_x()
        self._check_factors()

    def _check_x(self) -> None:
        if not isinstance(self.x, Tensor):
            raise TypeError(f"x is a {type(self.x).__name__}; expected a floating-point tensor (n, features)")
        if not self.x.is_floating_point():
            raise TypeError(f"x has dtype {self.x.dtype}; expected a floating-point tensor, such as x.float()")
        if self.x.ndim != 2:
            raise ValueError(f"x has shape {tuple(self.x.shape)}; expected two dimensions, (n, features)")
        if self.x.numel() == 0:
            raise ValueError(f"x has shape {tuple(self.x.shape)}; expected at least one row and one feature")
        bad = int((~torch.isfinite(self.x)).sum())
        if bad:
            raise ValueError(f"x holds {bad} values that are NaN or infinite; expected finite numbers only")
        self._check_image_shape()

    def _check_image_shape(self) -> None:
        if self.image_shape is not None and math.prod(self.image_shape) != self.features:
            raise ValueError(f"image_shape is {self.image_shape}; expected {self.features} pixels, one per feature")

    def _check_factors(self) -> None:
        if self.factors is None:
            if self.factor_sizes or self.factor_names:
                raise ValueError("factors is None; expected a tensor, since factor_sizes or factor_names is given")
            return
        if not isinstance(self.factors, Tensor) or self.factors.dtype != torch.int64:
            kind = getattr(self.factors, "dtype", type(self.factors).__name__)
            raise TypeError(f"factors is {kind}; expected an int64 tensor (n, k) of classes")
        if self.factors.ndim != 2 or len(self.factors) != len(self):
            shape = tuple(self.factors.shape)
            raise ValueError(f"factors has shape {shape}; expected (n, k) with n = {len(self)} rows, as x has")
        k = self.factors.shape[1]
        if len(self.factor_sizes) != k:
            raise ValueError(f"factor_sizes is {self.factor_sizes}; expected {k} integers, one per column of factors")
        if self.factor_names and len(self.factor_names) != k:
            raise ValueError(f"factor_names is {self.factor_names}; expected {k} names, one per column of factors")
        for j, size in enumerate(self.factor_sizes):
            low, high = int(self.factors[:, j].min()), int(self.factors[:, j].max())
            if low < 0 or high >= size:
                raise ValueError(f"factors[:, {j}] runs from {low} to {high}; expected 0 to {size - 1}")

    def __len__(self) -> int:
        return len(self.x)

    def __repr__(self) -> str:
        known = ", ".join(self.factor_names) or ("unknown" if self.factors is None else f"{self.factors.shape[1]}")
        return f"Dataset({self.name or 'unnamed'}: {len(self)} rows, {self.features} features, factors: {known})"

    def batch(self, index: Tensor) -> Tensor:
        """Return the rows at ``index``, an int64 tensor of any shape ``s``: a tensor (s, features)."""
        return self.x[index]

    @property
    def features(self) -> int:
        """How many numbers a row of :meth:`batch` has."""
        return self.x.shape[1]

    @property
    def images(self) -> Tensor:
        """The rows as pictures, (n, height, width) or (n, height, width, channels).

        Raises:
            ValueError: if the rows are no pictures.
        """
        return self.pictures(self.x)

    def pictures(self, rows: Tensor) -> Tensor:
        """Rows, from this data set or from a model of it, as pictures.

        Args:
            rows: (..., features).

        Returns:
            (..., height, width) or (..., height, width, channels).

        Raises:
            ValueError: if the rows are no pictures, or have another number of features than this data set.
        """
        if self.image_shape is None:
            raise ValueError(f"image_shape is None; the rows of {self!r} are no pictures")
        if rows.shape[-1:] != (self.features,):
            raise ValueError(f"rows has shape {tuple(rows.shape)}; expected (..., {self.features}), as x has")
        return rows.reshape(*rows.shape[:-1], *self.image_shape)

    def to(self, device: torch.device | str) -> Self:
        """The same data set on ``device``."""
        return self if self.x.device == torch.device(device) else self._with(lambda rows: rows.to(device))

    def split(self, fraction: float, seed: int) -> tuple[Self, Self]:
        """A training and a test set: the rows in an order drawn from ``seed``, cut in two.

        Args:
            fraction: the share of rows for training, between 0 and 1; both parts keep at least one row.
            seed: fixes which rows go where; the same on every machine.

        Returns:
            The training set and the test set. They share no row, and together hold every row.

        Raises:
            ValueError: if ``fraction`` is not inside (0, 1) or there are fewer than two rows.
        """
        if not 0 < fraction < 1:
            raise ValueError(f"fraction is {fraction}; expected a number between 0 and 1, such as 0.8")
        if len(self) < 2:
            raise ValueError(f"the data set has {len(self)} row; expected at least 2 to split")
        order = torch.from_numpy(np.random.default_rng(seed).permutation(len(self))).to(self.x.device)
        cut = min(max(round(fraction * len(self)), 1), len(self) - 1)
        return self._with(lambda rows: rows[order[:cut]]), self._with(lambda rows: rows[order[cut:]])

    def _with(self, change) -> Self:
        """The same data set with ``change`` applied to its rows and its factors."""
        return replace(self, x=change(self.x), factors=None if self.factors is None else change(self.factors))
