"""Trees of exponents, and the same trees level by level, as tensors work through them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate, count, pairwise

import torch
from torch import Tensor
from torch.nn.functional import pad

from latentbook.distributions.base import Numbers

Structure = tuple["Structure", ...]


@dataclass(frozen=True, eq=False)
class LpTree:
    """An inner node of a tree: an exponent, and children that are nodes or leaves.

    Leaves are numbered from left to right, as the coordinates of z.

    Args:
        power: exponent, positive; a tensor holds one exponent per member of a batch.
        children: a tuple that may mix trees and integers; an integer k stands for k leaves.

    Raises:
        TypeError: if ``children`` is not a tuple of trees and integers.
        ValueError: if there is no child, or an integer is below 1.

    Example:
        >>> LpTree(2.1, (LpTree(2.2, (4,)), LpTree(1.9, (2,)), 1)).leaves
        7
    """

    power: float | Tensor
    children: tuple[LpTree | int, ...]

    def __post_init__(self) -> None:
        if not isinstance(self.children, (tuple, list)):
            raise TypeError(f"children is {self.children!r}; expected a tuple of trees and integers, such as (4,)")
        object.__setattr__(self, "children", tuple(self.children))
        if not self.children:
            raise ValueError("children is empty; expected at least one tree or integer")
        for child in self.children:
            if isinstance(child, bool) or not isinstance(child, (LpTree, int)):
                raise TypeError(f"children contains {child!r}; expected trees and integers")
            if isinstance(child, int) and child < 1:
                raise ValueError(f"children contains {child}; expected a number of leaves of at least 1")

    @property
    def leaves(self) -> int:
        """The number of leaves n."""
        return sum(child if isinstance(child, int) else child.leaves for child in self.children)

    @property
    def structure(self) -> Structure:
        """The tree without exponents, where a node is the tuple of its children, and a leaf the empty one."""
        parts = [((),) * child if isinstance(child, int) else (child.structure,) for child in self.children]
        return tuple(node for part in parts for node in part)

    def powers(self) -> Iterator[Numbers]:
        """The exponents from the root down, each node before its children."""
        yield self.power
        for child in self.children:
            if isinstance(child, LpTree):
                yield from child.powers()


@dataclass(frozen=True, eq=False)
class Level:
    """The inner nodes at one depth, called groups, and their children, called columns.

    A leaf that is not at the greatest depth is carried down by nodes with one child. These change nothing: the p-norm
    of one number is its magnitude, and in every formula the two terms of such a node cancel.

    Attributes:
        exponent: number of each group's exponent, int64 (groups,).
        own: leaves under each group, (groups,).
        parent: number of each column's group, int64 (columns,).
        leaves: leaves under each column, (columns,).
        width: the most columns of a group.
        padding: the columns of each group, int64 (groups, width), filled up with the number of columns; None where all
            groups have as many.
    """

    exponent: Tensor
    own: Tensor
    parent: Tensor
    leaves: Tensor
    width: int
    padding: Tensor | None

    def powers(self, exponents: Tensor) -> Tensor:
        """The groups' exponents (..., groups) out of all exponents (..., inner nodes)."""
        return exponents.index_select(-1, self.exponent)

    def share(self, values: Tensor) -> Tensor:
        """What is known of the groups for each column: (..., groups) -> (..., columns)."""
        return values.index_select(-1, self.parent)

    def log_norm(self, logarithms: Tensor, powers: Tensor) -> Tensor:
        r"""The groups' p-norms, :math:`\frac1p \log \sum_c e^{p L_c}`: (..., columns) -> (..., groups).

        In logarithms no power overflows, and none of a small number is lost.
        """
        if self.padding is None:
            terms = logarithms.unflatten(-1, (-1, self.width)) * powers[..., None]
        else:
            terms = pad(logarithms * self.share(powers), (0, 1), value=-torch.inf)
            terms = terms.index_select(-1, self.padding.flatten()).unflatten(-1, self.padding.shape)
        return terms.logsumexp(-1) / powers


Node = tuple[int, tuple["Node", ...]]


def _number(structure: Structure, above: int, counter: Iterator[int]) -> Node:
    """Each node with the number of its exponent, a leaf with that of the node above it."""
    if not structure:
        return above, ()
    number = next(counter)
    return number, tuple(_number(child, number, counter) for child in structure)


def _leaves(node: Node) -> int:
    return sum(map(_leaves, node[1])) if node[1] else 1


@lru_cache(maxsize=256)
@torch.inference_mode(False)  # what is kept must serve autograd, too
def levels(structure: Structure, dtype: torch.dtype, device: torch.device) -> tuple[Level, ...]:
    """The levels of a tree from the root down; the columns of the last are the leaves in order."""
    groups, found = [_number(structure, 0, count())], []
    while any(children for _, children in groups):
        families = [children or ((number, ()),) for number, children in groups]
        sizes = [len(family) for family in families]
        ends, widest = [0, *accumulate(sizes)], max(sizes)
        columns = [child for family in families for child in family]
        places = [[*range(a, b), *[len(columns)] * (widest - b + a)] for a, b in pairwise(ends)]
        found.append(
            Level(
                exponent=torch.tensor([number for number, _ in groups], device=device),
                own=torch.tensor([_leaves(node) for node in groups], dtype=dtype, device=device),
                parent=torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes)).to(device),
                leaves=torch.tensor([_leaves(node) for node in columns], dtype=dtype, device=device),
                width=widest,
                padding=torch.tensor(places, device=device) if min(sizes) < widest else None,
            )
        )
        groups = columns
    return tuple(found)


__all__ = ["Level", "LpTree", "Structure", "levels"]
