"""What every metric of matrices asks of its argument."""

from __future__ import annotations

import torch
from torch import Tensor


def matrices(name: str, value: Tensor) -> Tensor:
    """``value`` as a floating-point tensor (..., d, k) with d >= k >= 1; integers become torch's default type.

    Raises:
        ValueError: if it has fewer axes, fewer rows than columns, or no columns.
    """
    value = torch.as_tensor(value)
    if value.dim() < 2 or not 1 <= value.shape[-1] <= value.shape[-2]:
        shape = tuple(value.shape)
        raise ValueError(f"{name} has shape {shape}; expected (..., d, k), with no more columns than rows")
    return value if value.is_floating_point() else value.to(torch.get_default_dtype())
