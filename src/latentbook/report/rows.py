"""Rows to report on: data, auxiliary variable and factors side by side, and what codes tell about the factors."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from latentbook.data import Dataset
from latentbook.metrics import mcc, mutual_information_matrix
from latentbook.report.measure import every_so_many

ROWS = 5000
"""Rows that codes are computed for, at most."""


def as_rows(
    data: Dataset | Tensor | tuple[Tensor, Tensor] | None,
    u: Tensor | None,
    factors: Tensor | None,
    names: Sequence[str],
) -> tuple[Tensor | None, Tensor | None, Tensor | None, tuple[str, ...]]:
    """x, u, factors (..., n, k) and their names, of at most 5000 rows, evenly spread.

    Raises:
        ValueError: if a tuple is no pair, or factors or names do not fit.
    """
    if isinstance(data, tuple):
        if len(data) != 2 or u is not None:
            given = "" if u is None else ", and u is given as well"
            raise ValueError(f"data is a tuple of {len(data)}{given}; expected (x, u), or x with u beside it")
        data, u = data
    if isinstance(data, Dataset):
        factors = data.factors if factors is None else factors
        names = names or data.factor_names
        x = data.batch(every_so_many(torch.arange(len(data)), ROWS, 0))
        rows = len(data)
    else:
        x = every_so_many(data, ROWS, data.dim() - 2) if isinstance(data, Tensor) and data.dim() in (2, 3) else data
        rows = data.shape[-2] if isinstance(x, Tensor) and x.dim() in (2, 3) else None
    if u is not None:
        u = every_so_many(u, ROWS, x.dim() - 2 if isinstance(x, Tensor) else 0)
    if factors is None:
        return x, u, None, ()
    factors = torch.as_tensor(factors).detach().cpu()
    factors = factors[:, None] if factors.dim() == 1 else factors
    if factors.dim() not in (2, 3) or rows not in (None, factors.shape[-2]):
        wanted = "(n, k)" if rows is None else f"({rows}, k)"
        raise ValueError(f"factors has shape {tuple(factors.shape)}; expected {wanted}, a row for each of the data")
    names = tuple(names) or tuple(f"factor {j}" for j in range(factors.shape[-1]))
    if len(names) != factors.shape[-1]:
        raise ValueError(f"factor_names is {names}; expected {factors.shape[-1]} names, one per factor")
    return x, u, factors if rows is None else every_so_many(factors, ROWS, factors.dim() - 2), names


def information(means: Tensor, factors: Tensor, alive: Tensor) -> Tensor:
    """What every latent tells about every factor, (members, latents, factors); NaN for members that diverged.

    Mutual information in nats, with the mean in 20 bins of equal width, for classes; absolute correlation for amounts.

    Raises:
        ValueError: if there are not as many rows as codes, or a factor is not finite.
    """
    if factors.shape[-2] != means.shape[1] or factors.shape[:-2] not in ((), means.shape[:1]):
        shape = tuple(factors.shape)
        raise ValueError(f"factors has shape {shape}; expected ({means.shape[1]}, k), a row for each of the codes")
    if factors.is_floating_point():
        return mcc(means, factors).correlation.abs()
    told = torch.full((len(means), means.shape[-1], factors.shape[-1]), math.nan, dtype=torch.float64)
    factors = factors.expand(len(means), *factors.shape[-2:])
    for member in alive.nonzero()[:, 0].tolist():
        told[member] = mutual_information_matrix(means[member], factors[member])
    return told


__all__ = ["as_rows", "information"]
