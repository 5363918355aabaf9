"""Where batches come from: data held in memory, drawn without replacement, or a sampler of fresh ones."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor, nn

from latentbook.objectives.loss import Batch
from latentbook.random import Generator
from latentbook.training.config import TrainConfig


class DataSet(Protocol):
    """What ``fit`` needs of a data set: a length, and a batch for indices of any shape.

    Where it has an attribute ``members``, the data differ between members, and ``index`` is (members, batch_size).
    """

    def __len__(self) -> int:
        """How many data points there are."""

    def batch(self, index: Tensor) -> Batch:
        """The data points at ``index``, any shape, followed by the features."""


Sampler = Callable[[Generator, int], Batch]
Data = Tensor | tuple[Tensor, ...] | DataSet | Sampler


def as_tuple(batch: Batch) -> tuple[Tensor, ...]:
    """The tensors of a batch."""
    return tuple(batch) if isinstance(batch, tuple | list) else (batch,)


def _move(batch: Batch, device: torch.device) -> Batch:
    for part in as_tuple(batch):
        if not isinstance(part, Tensor):
            raise TypeError(f"data gave a batch with a {type(part).__name__}; expected torch tensors")
    return tuple(part.to(device) for part in batch) if isinstance(batch, tuple | list) else batch.to(device)


def _check_values(tensors: tuple[Tensor, ...], dtype: torch.dtype) -> None:
    """Observations, the first tensor, have the model's dtype; nothing is NaN or infinite."""
    if tensors[0].dtype != dtype:
        raise TypeError(f"data has dtype {tensors[0].dtype}; expected {dtype}, the model's own")
    for tensor in tensors:
        bad = ~torch.isfinite(tensor)
        if bool(bad.any()):
            raise ValueError(f"data has {int(bad.sum())} value(s) that are NaN or infinite; expected finite numbers")


class _Tensors:
    """One tensor, or several of the same length (x, u, ...), as a data set."""

    def __init__(self, tensors: tuple[Tensor, ...]) -> None:
        if not tensors:
            raise ValueError("data is an empty tuple; expected at least one tensor (n, features)")
        for tensor in tensors:
            if not isinstance(tensor, Tensor):
                raise TypeError(f"data holds a {type(tensor).__name__}; expected torch tensors")
        if tensors[0].dim() < 2:
            raise ValueError(f"data has shape {tuple(tensors[0].shape)}; expected (n, features)")
        lengths = [len(tensor) for tensor in tensors]
        if len(set(lengths)) > 1:
            raise ValueError(f"data holds tensors of lengths {lengths}; expected the same length")
        self.tensors = tensors

    def __len__(self) -> int:
        return len(self.tensors[0])

    def batch(self, index: Tensor) -> Batch:
        """The rows at ``index``, of one tensor or of each."""
        batch = tuple(tensor[index] for tensor in self.tensors)
        return batch if len(batch) > 1 else batch[0]

    def to(self, device: torch.device) -> _Tensors:
        """The same on another device."""
        return _Tensors(tuple(tensor.to(device) for tensor in self.tensors))


class Epochs:
    """Batches without replacement: every epoch a new order for every seed, a function of (seed, epoch) alone.

    Data points left over at the end of an epoch wait for a later one. Members with the same seed have the same batch,
    which is looked up once; if all have the same, it is handed out as a view without copies, to be read only. Data that
    can be moved to the device stay there, in the form in which they are stored (packed bits, say).
    """

    def __init__(self, data: DataSet, config: TrainConfig, device: torch.device) -> None:
        if len(data) == 0:
            raise ValueError("data is empty; expected at least one data point")
        if config.batch_size > len(data):
            raise ValueError(f"batch_size is {config.batch_size}; expected at most {len(data)}, the number of data")
        self.resident, self.device = hasattr(data, "to"), device
        self.data = data.to(device) if self.resident else data
        self.size, self.per_epoch = config.batch_size, len(data) // config.batch_size
        seeds = list(config.seeds) if hasattr(data, "members") else list(dict.fromkeys(config.seeds))
        self.generator = Generator(seeds, device=device, stream="batches")
        own = range(len(seeds)) if len(seeds) == len(config.seeds) else map(seeds.index, config.seeds)
        self._members = torch.tensor(list(own), device=device)
        self._epoch, self._order = -1, torch.empty(0)

    def draw(self, step: int) -> Batch:
        """The indices of the batch of ``step``, (different seeds, batch_size); the rows themselves where they move."""
        epoch, position = divmod(step, self.per_epoch)
        if epoch != self._epoch:
            self._epoch, self._order = epoch, self.generator.at(epoch).permutation(len(self.data))
        index = self._order[:, position * self.size : (position + 1) * self.size]
        return index if self.resident else _move(self.data.batch(index.cpu()), self.device)

    def look_up(self, drawn: Batch) -> Batch:
        """The batch that was drawn, (members, batch_size, ...)."""
        batch = self.data.batch(drawn) if self.resident else drawn
        return tuple(map(self._for_all, batch)) if isinstance(batch, tuple | list) else self._for_all(batch)

    def _for_all(self, part: Tensor) -> Tensor:
        """One part of the batches of the different seeds, (seeds, batch_size, ...), for every member."""
        if len(part) != self.generator.members or len(part) == len(self._members):
            return part
        return part.expand(len(self._members), *part.shape[1:]) if len(part) == 1 else part[self._members]


class Fresh:
    """Batches made anew at every step by ``sampler(generator, n) -> (members, n, ...)``."""

    def __init__(self, sampler: Sampler, config: TrainConfig, device: torch.device) -> None:
        self.sampler, self.size, self.device = sampler, config.batch_size, device
        self.generator = Generator(config.seeds, device=device, stream="batches")

    def draw(self, step: int) -> Batch:
        """The batch of ``step``, (members, batch_size, ...)."""
        return _move(self.sampler(self.generator.at(step), self.size), self.device)

    def look_up(self, drawn: Batch) -> Batch:
        """The same."""
        return drawn


def batches(data: Data, config: TrainConfig, model: nn.Module, device: torch.device) -> Epochs | Fresh:
    """The batch of every step on ``device``, tensors (members, batch_size, ...): ``look_up(draw(step))``.

    The two are apart since a recorded step on CUDA holds the second and is given what the first returns.

    Raises:
        TypeError: for data of a kind or dtype that cannot be used.
        ValueError: for empty data, a wrong shape, values that are not finite, or a batch larger than the data.
    """
    dtype = next(model.parameters()).dtype
    if isinstance(data, Tensor | tuple | list):
        data = _Tensors(tuple(data) if isinstance(data, tuple | list) else (data,))
        if len(data):
            _check_values(data.tensors, dtype)
    if hasattr(data, "batch") and hasattr(data, "__len__"):
        source: Epochs | Fresh = Epochs(data, config, device)
    elif callable(data):
        source = Fresh(data, config, device)
    else:
        raise TypeError(
            f"data is a {type(data).__name__}; expected tensors, a data set with batch(index), or a sampler"
        )
    expected = (len(config.seeds), config.batch_size)
    first = as_tuple(source.look_up(source.draw(0)))
    for number, tensor in enumerate(first):
        if tuple(tensor.shape[:2]) != expected or (number == 0 and tensor.dim() < 3):
            raise ValueError(
                f"data gave a batch of shape {tuple(tensor.shape)}; expected {expected} followed by the features"
            )
    _check_values(first, dtype)
    return source


def signature(data: Data) -> str:
    """A fingerprint of the data that a resumed run is checked against: every tensor's shape, dtype and bytes."""
    if callable(data) and not hasattr(data, "batch"):
        return f"sampler {getattr(data, '__qualname__', type(data).__name__)}"
    parts = tuple(data) if isinstance(data, tuple | list) else getattr(data, "tensors", (getattr(data, "x", data),))
    words = [type(data).__name__]
    for part in parts:
        if isinstance(part, Tensor):
            content = part.detach().cpu().contiguous().view(torch.uint8).numpy()
            words.append(f"{tuple(part.shape)} {part.dtype} {hashlib.sha256(content).hexdigest()[:16]}")
        elif hasattr(part, "__len__"):
            words.append(str(len(part)))
    return ", ".join(words)
