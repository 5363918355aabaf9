"""What a step evaluates: the objective on a batch, checked."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from latentbook.nn import products_in
from latentbook.objectives.loss import Batch, Loss
from latentbook.random import Generator


class Losses(nn.Module):
    """Model and objective as one module, ``(batch, number of the step) -> Loss``.

    Args:
        model: K members.
        objective: ``objective(model, batch, generator) -> Loss``, or a plain (members,) tensor.
        noise: the stream of the run.
        precision: "float32" or "bfloat16", the type in which networks multiply.

    Attributes:
        names: of the objective's terms, None before the first step.

    Raises:
        ValueError: if the precision does not fit the model's type.
    """

    def __init__(
        self, model: nn.Module, objective: Callable[..., Loss | Tensor], noise: Generator, precision: str
    ) -> None:
        super().__init__()
        self.model, self.objective, self.noise, self.names = model, objective, noise, None
        self.products = torch.bfloat16 if precision == "bfloat16" else None
        dtype = next(model.parameters()).dtype
        if self.products is not None and dtype != torch.float32:
            raise ValueError(f"precision is {precision!r} and the model's type {dtype}; expected float32")

    def forward(self, batch: Batch, number: int | Tensor) -> Loss:
        """The objective's answer as a Loss of the right shape, before anything is changed by it.

        Raises:
            ValueError: if the objective returns another shape than (members,), or other terms than before.
        """
        with products_in(self.products):
            loss = self.objective(self.model, batch, self.noise.at(number))
        loss = loss if isinstance(loss, Loss) else Loss(loss)
        expected = (self.noise.members,)
        if not isinstance(loss.value, Tensor) or loss.value.shape != expected:
            found = tuple(loss.value.shape) if isinstance(loss.value, Tensor) else type(loss.value).__name__
            raise ValueError(f"objective returned shape {found}; expected {expected}")
        self.names = list(loss.terms) if self.names is None else self.names
        if list(loss.terms) != self.names:
            raise ValueError(f"objective returned the terms {list(loss.terms)}; expected {self.names}, as before")
        return loss


def rows(loss: Loss) -> Tensor:
    """Loss and terms in one tensor, (1 + terms, members)."""
    return torch.stack([loss.value, *loss.terms.values()]).detach()
