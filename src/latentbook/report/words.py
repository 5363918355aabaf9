"""How results over seeds are put into words: a mean with its spread, and for how many seeds a claim holds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


def over_seeds(values: Tensor | Sequence[float], digits: int = 1) -> str:
    """Mean and standard deviation over seeds, as "1.4 ± 0.1" (with n - 1; the mean alone for a single seed).

    Args:
        values: one number per seed, (members,).
        digits: digits after the point.

    Raises:
        ValueError: if ``values`` is not a list of numbers.
    """
    values = _vector(values, "values").double()
    mean = f"{values.mean():.{digits}f}"
    return mean if len(values) == 1 else f"{mean} ± {values.std():.{digits}f}"


def tally(holds: Tensor | Sequence[bool]) -> str:
    """For how many seeds something holds, as "4 of 5".

    Args:
        holds: one truth value per seed, (members,).

    Raises:
        ValueError: if ``holds`` is not a list of truth values.
    """
    holds = _vector(holds, "holds")
    if holds.dtype != torch.bool:
        raise ValueError(f"holds has dtype {holds.dtype}; expected truth values, such as gap > 0")
    return f"{int(holds.sum())} of {len(holds)}"


def verdict(claim: str, holds: Tensor | Sequence[bool], of: str = "seeds") -> None:
    """Print a claim and for how many seeds it holds: output that is the same on any machine, so it can be compared.

    Args:
        claim: what is claimed, in words.
        holds: one truth value per seed, (members,).
        of: what is counted.
    """
    print(f"{claim}: {tally(holds)} {of}")


def _vector(values: Tensor | Sequence, name: str) -> Tensor:
    if not isinstance(values, Tensor) and hasattr(values, "__array__"):
        values = np.array(values)  # a copy: columns of a table may be read-only
    vector = torch.as_tensor(values).detach().cpu()
    if vector.dim() != 1 or len(vector) == 0:
        raise ValueError(f"{name} has shape {tuple(vector.shape)}; expected one entry per seed, (members,)")
    return vector


__all__ = ["over_seeds", "tally", "verdict"]
