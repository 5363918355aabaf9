"""Data of its own for every member: tensors that already carry the members axis."""

from __future__ import annotations

import torch
from torch import Tensor


class Stacked:
    """Observations, and where there are any auxiliary variables, of each member by itself, as a data set for ``fit``.

    A tensor that is handed to ``fit`` directly is shared by the members; where each seed has a process of its own,
    this takes the place of it. Every member sees its rows in an order of its own.

    Args:
        tensors: x (members, n, features), then u (members, n) or (members, n, entries), and so on.

    Raises:
        TypeError: for what is no tensor.
        ValueError: if there is no tensor, x has not three axes, or members or rows differ.

    Example:
        >>> data = Stacked(torch.zeros(2, 10, 3), torch.zeros(2, 10, dtype=torch.int64))
        >>> [part.shape for part in data.batch(torch.tensor([[0, 1, 2, 3], [9, 8, 7, 6]]))]
        [torch.Size([2, 4, 3]), torch.Size([2, 4])]
    """

    def __init__(self, *tensors: Tensor) -> None:
        for tensor in tensors:
            if not isinstance(tensor, Tensor):
                raise TypeError(f"tensors holds a {type(tensor).__name__}; expected torch tensors")
        if not tensors or tensors[0].dim() != 3:
            found = tuple(tensors[0].shape) if tensors else "no tensor"
            raise ValueError(f"tensors begins with {found}; expected x (members, n, features)")
        members, n = tensors[0].shape[:2]
        for tensor in tensors[1:]:
            if tensor.shape[:2] != (members, n):
                raise ValueError(f"tensors has the shape {tuple(tensor.shape)}; expected ({members}, {n}) first, as x")
        bad = int((~tensors[0].isfinite()).sum())
        if bad:
            raise ValueError(f"x has {bad} value(s) that are NaN or infinite; expected finite numbers")
        self.tensors = tensors

    @property
    def members(self) -> int:
        """Number of members."""
        return len(self.tensors[0])

    def __len__(self) -> int:
        return self.tensors[0].shape[1]

    def batch(self, index: Tensor) -> Tensor | tuple[Tensor, ...]:
        """The rows at ``index`` (members, ...), each member's of its own data.

        Raises:
            ValueError: if ``index`` is for another number of members.
        """
        if not index.dim() or len(index) != self.members:
            raise ValueError(f"index has shape {tuple(index.shape)}; expected ({self.members}, ...): one row a member")
        member = torch.arange(self.members, device=index.device).view(-1, *(1,) * (index.dim() - 1))
        rows = tuple(tensor[member, index] for tensor in self.tensors)
        return rows if len(rows) > 1 else rows[0]

    def to(self, device: torch.device | str) -> Stacked:
        """The same on another device."""
        return Stacked(*(tensor.to(device) for tensor in self.tensors))


__all__ = ["Stacked"]
