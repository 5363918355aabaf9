r"""The objective of time-contrastive learning: tell segments apart.

.. math:: -\mathbb E \log \frac{\exp h_u(x)}{\sum_v \exp h_v(x)}

Source: A. Hyvärinen, H. Morioka, *Unsupervised Feature Extraction by Time-Contrastive Learning and Nonlinear ICA*,
NIPS 2016.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from latentbook.objectives.loss import Batch, Loss, observations
from latentbook.random import Generator


class SegmentCrossEntropy(nn.Module):
    """The cross-entropy of segment labels under a classifier, an objective for ``fit``, in nats.

    Batches are ``(x, u)`` with integer labels u from 0 to segments - 1. With S segments of equal size a classifier that
    knows nothing has a cross-entropy of log S.
    """

    def forward(self, model: nn.Module, batch: Batch, generator: Generator | None = None) -> Loss:
        """The loss of every member, averaged over the batch; the accuracy is a term of it.

        Nothing is random here, so ``generator`` is not used.

        Raises:
            TypeError: if the batch holds no labels, or labels that are not integers.
            ValueError: if a label is not from 0 to segments - 1.
        """
        x, u = observations(batch)
        logits = model(x)
        u = self._labels(u, logits)
        value = functional.cross_entropy(logits.flatten(0, 1), u.flatten(), reduction="none").view_as(u).mean(-1)
        accuracy = (logits.argmax(-1) == u).to(logits.dtype).mean(-1)
        return Loss(value, {"accuracy": accuracy.detach()})

    @staticmethod
    def _labels(u: Tensor | None, logits: Tensor) -> Tensor:
        if u is None:
            raise TypeError("the batch holds x alone; expected (x, u) with the segment u of every row")
        if u.is_floating_point() or u.is_complex() or u.dtype == torch.bool:
            raise TypeError(f"u has dtype {u.dtype}; expected integer labels of segments")
        segments = logits.shape[-1]
        if u.shape[-1:] != logits.shape[1:2] or u.dim() > 2:
            raise ValueError(f"u has shape {tuple(u.shape)}; expected {tuple(logits.shape[:2])}, a label for each row")
        if not bool(((u >= 0) & (u < segments)).all()):
            low, high = int(u.min()), int(u.max())
            raise ValueError(f"u runs from {low} to {high}; expected labels from 0 to {segments - 1}")
        return u.long().to(logits.device).expand(logits.shape[:2])
