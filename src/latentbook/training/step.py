"""One optimiser step of all members: a batch, its losses, and Adam."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from latentbook.objectives.loss import Batch
from latentbook.training.batches import Epochs, Fresh
from latentbook.training.config import TrainConfig
from latentbook.training.graph import Graph, worth_compiling
from latentbook.training.losses import Losses, rows
from latentbook.training.optimiser import Optimiser


class Step:
    """The step of a run, operation by operation or as one compiled graph.

    Args:
        losses: the objective on the model.
        source: where batches come from.
        optimiser: Adam over the parameters of both.
        config: how to train.

    Attributes:
        whole: whether the step is, or is to be, one graph.
    """

    def __init__(self, losses: Losses, source: Epochs | Fresh, optimiser: Optimiser, config: TrainConfig) -> None:
        self.losses, self.source, self.optimiser, self.config = losses, source, optimiser, config
        self.whole, self._graph = worth_compiling(config, optimiser.parameters), None

    def __call__(self, number: int) -> Tensor:
        """Take the step of that number and return the losses and terms before it, (1 + terms, members).

        Raises:
            ValueError: if the objective returns something else than before.
            RuntimeError: if ``compile`` is True and the step cannot be compiled.
        """
        drawn = self.source.draw(number)
        if self.whole and self._graph is None:
            self._compile(drawn)
        if self._graph is not None:
            return self._graph(drawn, number)
        loss = self.losses(self.source.look_up(drawn), number)
        self.optimiser.descend(loss)
        return rows(loss)

    def _compile(self, drawn: Batch) -> None:
        try:
            self._graph = Graph(self.losses, self.source, self.optimiser, drawn, patient=self.config.compile is True)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # whatever the compiler raises
            if self.config.compile is True:
                message = "compile is True and the step cannot be compiled; expected 'auto' or False here"
                raise RuntimeError(f"{message}: {error}") from error
            self.whole = False
            warnings.warn(f"the step is not compiled, so the run is slower: {error}", RuntimeWarning, stacklevel=4)


@contextmanager
def local_tf32(allowed: bool) -> Iterator[None]:
    """Whether CUDA may round the factors of float32 products and convolutions to TF32, within a ``with`` block."""
    settings = torch.backends.cuda.matmul, torch.backends.cudnn.conv
    before = [setting.fp32_precision for setting in settings]
    try:
        for setting in settings:
            setting.fp32_precision = "tf32" if allowed else "ieee"
        yield
    finally:
        for setting, value in zip(settings, before, strict=True):
            setting.fp32_precision = value
