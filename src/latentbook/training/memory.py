"""What to do when a stack does not fit on the device: say how many members would."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch._subclasses import FakeTensorMode
from torch.func import functional_call

if TYPE_CHECKING:
    from latentbook.training.step import Step

_ROOM = 0.85  # of the device's memory, the rest being for data and for what is held for a moment


@contextmanager
def explained(step: Step) -> Iterator[None]:
    """Within a ``with`` block, give an out-of-memory error of the device the number of members, and how many fit.

    Raises:
        torch.OutOfMemoryError: in the place of the device's own.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        members, device = step.losses.noise.members, step.losses.noise.device
        room, each = available(device), bytes_per_member(step)
        fitting = int(_ROOM * room / each)
        advice = f"about {fitting} would fit in {room / 2**30:.1f} GiB"
        if fitting >= members:
            advice += ", were nothing else there"
        raise torch.OutOfMemoryError(
            f"{members} members do not fit on {device}: a step takes about {each / 2**20:.0f} MiB for each; {advice}. "
            "Train fewer members at a time or a smaller batch."
        ) from error


def available(device: torch.device) -> int:
    """Bytes on the device that are free or held by this process."""
    free, _ = torch.cuda.mem_get_info(device)
    return free + torch.cuda.memory_reserved(device)


def bytes_per_member(step: Step) -> int:
    """Bytes that a step takes for each member: parameters, gradients, moments, and what is kept for the gradient.

    The last is counted by running the objective on tensors without content, which takes no memory.
    """
    state = 4 * sum(parameter.nbytes for parameter in step.optimiser.trained)
    try:
        state += _kept(step)
    except Exception:  # an estimate without it is better than none
        pass
    return max(1, state // step.losses.noise.members)


def _kept(step: Step) -> int:
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage._cdata] = storage.nbytes()
        return tensor

    losses = step.losses
    named = dict(losses.named_parameters()) | dict(losses.named_buffers())
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        fakes = {name: mode.from_tensor(tensor) for name, tensor in named.items()}
        batch = step.source.look_up(step.source.draw(0))
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            loss = functional_call(losses, fakes, (batch, 0))
    own = {fake.untyped_storage()._cdata for fake in fakes.values()}
    del loss
    return sum(size for storage, size in kept.items() if storage not in own)
