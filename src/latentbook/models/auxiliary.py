"""The auxiliary variable u, as the parts of a conditional model take it: class labels, or real vectors."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch._subclasses import FakeTensor

from latentbook.random import Generator, check_members


class Auxiliary(nn.Module):
    """Checks u, and turns it into a vector.

    A u of **classes** is given as integer labels 0 to classes - 1, (n,) or (members, n), or as rows that weigh the
    classes, such as one-hot rows, (n, classes) or (members, n, classes). A **real** u is given as (n, u_size) or
    (members, n, u_size). Without a members axis it is shared by the members.

    Args:
        generator: its seeds are the members.
        classes: number of classes; None where u is a real vector.
        u_size: number of entries of a real vector; None where u is a class.

    Raises:
        ValueError: unless exactly one of ``classes`` and ``u_size`` is given, a positive integer.
    """

    def __init__(self, generator: Generator, *, classes: int | None = None, u_size: int | None = None) -> None:
        super().__init__()
        check_members(generator)
        if (classes is None) == (u_size is None):
            raise ValueError(f"classes is {classes} and u_size is {u_size}; expected exactly one of them")
        for name, value in (("classes", classes), ("u_size", u_size)):
            if value is not None and (isinstance(value, bool) or not hasattr(value, "__index__") or value < 1):
                raise ValueError(f"{name} is {value!r}; expected a positive integer")
        self.classes, self.u_size = classes, u_size

    @property
    def width(self) -> int:
        """Entries of the vector."""
        return self.u_size if self.classes is None else self.classes

    @property
    def expected(self) -> str:
        """What u has to be, for error messages."""
        if self.classes is None:
            return f"real vectors (n, {self.u_size}) or (members, n, {self.u_size})"
        return f"labels 0 to {self.classes - 1}, (n,) or (members, n), or rows of {self.classes} weights"

    def check(self, u: Tensor | None, members: int) -> Tensor:
        """``u`` itself, if it is valid for that many members.

        Raises:
            TypeError: if it is no tensor.
            ValueError: if it is missing, has another shape or kind, or a label is out of range.
        """
        if u is None:
            raise ValueError(f"u is None; expected the auxiliary variable: {self.expected}")
        if not isinstance(u, Tensor):
            raise TypeError(f"u is a {type(u).__name__}; expected a tensor: {self.expected}")
        labels = not u.is_floating_point()
        sets = u.shape[:-1] if labels else u.shape[:-2]
        shaped = u.dim() >= 1 if labels else u.dim() >= 2 and u.shape[-1] == self.width
        if not shaped or sets not in ((), (members,)) or (labels and (self.classes is None or u.is_complex())):
            raise ValueError(f"u is {u.dtype} {tuple(u.shape)}; expected {self.expected}, with {members} member(s)")
        if labels and isinstance(u, FakeTensor):  # being traced: the check becomes a part of the graph
            torch._assert_async(((u >= 0) & (u < self.classes)).all(), f"u has other labels; expected {self.expected}")
        elif labels and u.numel():
            low, high = (int(value) for value in u.aminmax())
            if low < 0 or high >= self.classes:
                raise ValueError(f"u has labels from {low} to {high}; expected 0 to {self.classes - 1}")
        return u

    def forward(self, u: Tensor | None, members: int, dtype: torch.dtype) -> Tensor:
        """The vector, (n, width) or (members, n, width): one-hot rows for labels, else u itself."""
        u = self.check(u, members)
        if u.is_floating_point():
            return u.to(dtype)
        return (u[..., None] == torch.arange(self.classes, device=u.device)).to(dtype)

    def extra_repr(self) -> str:
        """What u is, for printing."""
        return f"u_size={self.u_size}" if self.classes is None else f"classes={self.classes}"


__all__ = ["Auxiliary"]
