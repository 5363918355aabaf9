"""What an objective returns to ``fit``: a loss for each member, and named parts of it for the record."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

Batch = Tensor | tuple[Tensor, ...]


@dataclass(frozen=True)
class Loss:
    """The outcome of one objective on one batch.

    Attributes:
        value: loss of each member, (members,); ``fit`` minimises it over the model's parameters.
        terms: named parts, each (members,), recorded in the history; detached.
        own: loss of the objective's own parameters (a discriminator's, say), (members,), if it has any.
    """

    value: Tensor
    terms: dict[str, Tensor] = field(default_factory=dict)
    own: Tensor | None = None


def observations(batch: Batch) -> tuple[Tensor, Tensor | None]:
    """A batch as (x, u): the observations and, where the batch is a tuple, the auxiliary variable."""
    if isinstance(batch, tuple):
        return batch[0], batch[1] if len(batch) > 1 else None
    return batch, None
