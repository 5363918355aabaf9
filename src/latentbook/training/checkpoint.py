"""Atomic checkpoints: one safetensors file, tensors and a JSON header, no pickle."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

import safetensors
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

FORMAT = "latentbook-checkpoint-1"
_PLAIN = (bool, int, float, str, type(None))
_MOVING = {"multiplier"}  # buffers that schedules change


class CheckpointError(ValueError):
    """A checkpoint that cannot be read, is not ours, or belongs to another run."""


def writable(path: Path) -> None:
    """Create the directory of ``path`` and make sure that a file can be written there.

    Raises:
        PermissionError: if it cannot, naming the path.
        IsADirectoryError: if ``path`` is a directory.
    """
    if path.is_dir():
        raise IsADirectoryError(f"checkpoint is {path}, a directory; expected the path of a file")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=_partial(path).name):
            pass
    except OSError as error:
        raise PermissionError(f"checkpoint is {path}; expected a path in a directory that can be written") from error


def _partial(path: Path) -> Path:
    """Where a checkpoint is written before it is renamed: one name, so that a killed run leaves at most one."""
    return path.with_name(f".{path.name}.partial")


def save(path: Path, tensors: dict[str, Tensor], header: dict[str, object]) -> None:
    """Write a checkpoint: to a partial file beside it, flushed to disk, then renamed in one step."""
    flat = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    partial = _partial(path)
    try:
        save_file(flat, partial, metadata={"format": FORMAT, "header": json.dumps(header)})
        with open(partial, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def load(path: Path) -> tuple[dict[str, Tensor], dict[str, object]]:
    """Tensors (on the CPU) and header of a checkpoint.

    Raises:
        CheckpointError: if the file is truncated, damaged, or not a checkpoint of this package.
    """
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != FORMAT:
                found = metadata.get("format", "a safetensors file of another kind")
                raise CheckpointError(f"checkpoint {path} is {found!r}; expected {FORMAT!r}")
            tensors = {name: file.get_tensor(name) for name in file.keys()}
            header = json.loads(metadata["header"])
    except (safetensors.SafetensorError, KeyError, json.JSONDecodeError) as error:
        raise CheckpointError(f"checkpoint {path} is truncated, damaged or not safetensors: {error}") from error
    if not isinstance(header, dict):
        raise CheckpointError(f"checkpoint {path} has a header that is {header!r}; expected the state of a run")
    return tensors, header


def describe(module: object) -> dict[str, object]:
    """What a module is besides its trained values: classes, plain attributes, and fingerprints of its buffers."""
    if not isinstance(module, nn.Module):
        return {"": getattr(module, "__qualname__", type(module).__name__)}
    parts: dict[str, object] = {}
    for name, part in module.named_modules():
        plain = {k: v for k, v in vars(part).items() if not k.startswith("_") and isinstance(v, _PLAIN)}
        plain.pop("training", None)
        shapes = {k: [list(p.shape), p.requires_grad] for k, p in part.named_parameters(recurse=False)}
        buffers = {k: _fingerprint(b) for k, b in part.named_buffers(recurse=False) if k not in _MOVING}
        parts[name] = [type(part).__name__, plain, shapes, buffers]
    return parts


def _fingerprint(tensor: Tensor) -> str:
    dense = torch.empty(tensor.shape, dtype=tensor.dtype).copy_(tensor.detach())  # whatever strides it came with
    content = dense.flatten().view(torch.uint8).numpy()
    return f"{list(tensor.shape)} {hashlib.sha256(content).hexdigest()[:16]}"


def check_same(path: Path, saved: object, current: Mapping[str, object], what: str) -> None:
    """Raise a CheckpointError that names the first entry in which ``saved`` and ``current`` differ."""
    current = json.loads(json.dumps(current))
    saved = saved if isinstance(saved, dict) else {}
    for name in sorted(set(saved) | set(current)):
        if saved.get(name) != current.get(name):
            raise CheckpointError(
                f"checkpoint {path} has {what} {name} = {saved.get(name)!r}; expected {current.get(name)!r}"
            )


def under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose names begin with ``prefix``, without it."""
    return {name[len(prefix) :]: tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def restore_module(path: Path, module: nn.Module, state: dict[str, Tensor], what: str) -> None:
    """Load ``state`` into ``module``.

    Raises:
        CheckpointError: if names or shapes differ.
    """
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        raise CheckpointError(f"checkpoint {path} was written for another {what}: {error}") from error


def optimiser_tensors(optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimiser's state by flat names."""
    states = optimiser.state_dict()["state"]
    return {f"{number}.{key}": torch.as_tensor(v) for number, state in states.items() for key, v in state.items()}


def restore_optimiser(path: Path, optimiser: torch.optim.Optimizer, tensors: dict[str, Tensor], step: int) -> None:
    """Load :func:`optimiser_tensors` back.

    Raises:
        CheckpointError: if a moment is missing or has another shape than its parameter.
    """
    parameters = [p for group in optimiser.param_groups for p in group["params"]]
    states: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        number, _, key = name.partition(".")
        states.setdefault(int(number), {})[key] = tensor
    for number, state in states.items():
        shapes = {key: tuple(state[key].shape) for key in ("exp_avg", "exp_avg_sq") if key in state}
        if number >= len(parameters) or set(shapes.values()) != {tuple(parameters[number].shape)} or len(shapes) < 2:
            raise CheckpointError(f"checkpoint {path} has Adam moments {shapes}; expected those of the parameters")
    if step > 0 and not states:
        raise CheckpointError(f"checkpoint {path} has no Adam moments; expected those of {len(parameters)} parameters")
    optimiser.load_state_dict({"state": states, "param_groups": optimiser.state_dict()["param_groups"]})
